//! What systemd is told (sd_notify(3)): that the appliance is ready, that it lives, that it ends.
//! Without systemd it tells nobody.
//!
//! That a timer runs is no life: the watchdog is fed when the control thread and every shard have
//! each got further since it was last fed.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The line to systemd.
#[derive(Debug)]
pub struct Systemd {
    line: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Watchdog>,
}

impl Systemd {
    /// The line that the environment names: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    ///
    /// # Errors
    /// A socket is named that cannot be used.
    pub fn from_env() -> io::Result<Self> {
        let line = match env::var("NOTIFY_SOCKET") {
            Ok(name) => Some((UnixDatagram::unbound()?, address(&name)?)),
            Err(_) => None,
        };
        let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let limit = number("WATCHDOG_USEC").filter(|&limit_us| is_ours && limit_us > 0);
        let watchdog = limit.map(|limit_us| Watchdog::new(Duration::from_micros(limit_us)));
        Ok(Self { line, watchdog })
    }

    /// Everything runs; `status` is one line for `systemctl status`.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=hanging up");
    }

    /// Feeds the watchdog if it is time and all have got further. To be called more often than
    /// the watchdog needs it.
    #[expect(clippy::disallowed_methods, reason = "a step of the clock must not starve it")]
    pub fn feed(&mut self, beats: impl Iterator<Item = u64>) {
        let is_due = self.watchdog.as_mut().is_some_and(|dog| dog.is_fed(beats, Instant::now()));
        if is_due {
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.line else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, state, "systemd cannot be told");
        }
    }
}

/// Counts how far a thread has got; on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Beat(AtomicU64);

impl Beat {
    /// The thread has got further.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Decides when to feed.
#[derive(Debug)]
struct Watchdog {
    interval: Duration,
    fed_at: Option<Instant>,
    seen: Vec<u64>,
}

impl Watchdog {
    /// One that bites after `limit`.
    fn new(limit: Duration) -> Self {
        // A third: one that comes late and is missed does no harm.
        Self { interval: limit / 3, fed_at: None, seen: Vec::new() }
    }

    fn is_fed(&mut self, beats: impl Iterator<Item = u64>, now: Instant) -> bool {
        if self.fed_at.is_some_and(|at| now.saturating_duration_since(at) < self.interval) {
            return false;
        }
        let beats: Vec<_> = beats.collect();
        let lives =
            beats.iter().enumerate().all(|(index, beat)| self.seen.get(index) != Some(beat));
        if lives {
            self.seen = beats;
            self.fed_at = Some(now);
        }
        lives
    }
}

/// A path, or a name in the abstract namespace after an `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an origin for times that are made up")]
    fn one_that_stands_still_lets_the_watchdog_starve() {
        let origin = Instant::now();
        let mut dog = Watchdog::new(Duration::from_secs(30));
        let mut fed = |secs, beats: [u64; 3]| {
            dog.is_fed(beats.into_iter(), origin + Duration::from_secs(secs))
        };
        assert!(fed(0, [1, 1, 1]));
        assert!(!fed(9, [2, 2, 2]), "it is not time yet");
        assert!(fed(10, [2, 2, 2]));
        // The last one, which is control, stands still; then a shard.
        assert!(!fed(20, [9, 9, 2]));
        assert!(!fed(39, [99, 99, 2]));
        assert!(fed(40, [99, 99, 3]));
        assert!(!fed(50, [99, 100, 4]));
        assert!(!fed(500, [99, 1000, 1000]));
    }
}
