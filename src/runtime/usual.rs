//! Has the alerts learn what is usual, once a minute, in a thread of its own: it reads the disk.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use crate::{alerts::Alerts, source::clock};

/// Starts the thread. It ends when what this returns is dropped.
///
/// # Errors
/// No thread can be started.
pub(super) fn start(alerts: Alerts) -> io::Result<Sender<()>> {
    let (life, end) = channel();
    thread::Builder::new().name("usual".to_owned()).spawn(move || {
        while end.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = alerts.refresh_baselines(clock::now()) {
                tracing::warn!(%error, "what is usual is not known");
            }
        }
    })?;
    Ok(life)
}

/// Rollups are by the minute.
const INTERVAL: Duration = Duration::from_secs(60);
