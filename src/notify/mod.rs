//! Tells people and systems of alerts: webhooks, chats, pagers, syslog, commands.
//!
//! ```text
//!            ┌▶ line ──▶ worker ──▶ sender ──▶ webhook, slack, teams, pagerduty, …
//! handle ────┼▶ line ──▶ worker ──▶ sender ──▶ …
//!   never    └▶ …
//!   waits       queue,   a thread   one try
//!               retries  each
//! ```
//!
//! Each recipient has a line and a thread of its own: one that is slow or gone holds up nobody
//! else, and each hears of things in their order. Every queue has a bound. Nothing here judges a
//! call or raises an alert, and no output shows a secret.

mod chat;
mod command;
mod incident;
mod line;
mod notification;
mod post;
mod secret;
mod sender;
pub mod settings;
mod status;
mod syslog;
mod url;
mod webhook;
mod worker;

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::{
    line::{Job, Line, Retry},
    sender::Sender,
    worker::Desk,
};
pub use self::{
    notification::{Notification, State},
    secret::{Env, Secret},
    settings::{Kind, RawSettings, Settings, SettingsError, complete},
    status::Status,
    syslog::{Facility, Server},
    url::{Endpoint, Url},
};
pub use crate::alerts::Severity;
use crate::time::Timestamp;

/// How the notifiers are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom to tell.
    pub notifiers: Vec<Settings>,
    /// What this box is called.
    pub host: String,
    /// What tells the time.
    pub clock: fn() -> Timestamp,
}

/// The running notifiers. Dropping them leaves them to themselves; [`stop`](Self::stop) ends them.
#[derive(Debug)]
pub struct Notifiers {
    handle: Handle,
    ended: mpsc::Receiver<()>,
}

/// A handle to tell the notifiers with, and to see how they are. Cloning it gives another one.
#[derive(Clone, Debug)]
pub struct Handle {
    desks: Arc<[Desk]>,
    clock: fn() -> Timestamp,
}

impl Notifiers {
    /// Starts a thread for each recipient. None is reached before there is something to tell.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let Options { notifiers, host, clock } = options;
        let desk = |settings: &Settings| {
            let resend = match settings.kind {
                Kind::Alertmanager { resend, .. } => Some(resend),
                _ => None,
            };
            let line = Line::new(settings, resend, fastrand::u64(..));
            Desk::new(settings.name.clone(), settings.kind.name(), line)
        };
        let desks: Arc<[Desk]> = notifiers.iter().map(desk).collect();
        let (tell_end, ended) = mpsc::channel();
        for (index, settings) in notifiers.iter().enumerate() {
            let (desks, sender) = (Arc::clone(&desks), Sender::new(settings, &host));
            let tell_end = tell_end.clone();
            let work = move || {
                desks[index].work(sender, clock);
                // Nobody may be waiting.
                let _ = tell_end.send(());
            };
            thread::Builder::new().name(format!("notify-{}", settings.name)).spawn(work)?;
        }
        Ok(Self { handle: Handle { desks, clock }, ended })
    }

    /// A handle to tell them with.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Tries once more to deliver what waits and ends the threads. One that is not done within
    /// `patience` is left behind: it ends with the process.
    pub fn stop(self, patience: Duration) {
        let clock = self.handle.clock;
        let until = clock() + patience;
        self.handle.desks.iter().for_each(|desk| desk.tell(Line::close));
        for _ in self.handle.desks.iter() {
            // A clock that was set back does not make it longer.
            let left = until.since(clock()).min(patience);
            // Over: all have ended, or one has not.
            if self.ended.recv_timeout(left).is_err() {
                break;
            }
        }
        for Status { name, queued, .. } in self.handle.status() {
            if queued > 0 {
                tracing::warn!(notifier = name, queued, "ends with notifications undelivered");
            }
        }
    }
}

impl Handle {
    /// Tells all whom it is for. Never waits for a recipient.
    pub fn notify(&self, notification: Notification) {
        let notification = Arc::new(notification);
        let now = (self.clock)();
        self.desks.iter().for_each(|desk| desk.tell(|line| line.push(&notification, now)));
    }

    /// How each is doing, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.desks.iter().map(Desk::status).collect()
    }
}

/// Sends a test to one recipient, past its filters, once; what holds alerts is told of its end as
/// well. Gives what the other side said.
///
/// # Errors
/// Why it was not delivered.
pub fn test(
    settings: &Settings,
    host: &str,
    clock: fn() -> Timestamp,
) -> Result<String, TestError> {
    let mut sender = Sender::new(settings, host);
    let firing = Notification::test(State::Firing, clock());
    let resolved = Notification { state: State::Resolved, ..firing.clone() };
    let mut deliver = |notification: Notification| {
        sender
            .deliver(&Job::One(Arc::new(notification)), clock())
            .map_err(|failure| TestError(failure.reason))
    };
    let said = deliver(firing)?;
    if matches!(settings.kind, Kind::PagerDuty { .. } | Kind::Alertmanager { .. }) {
        deliver(Notification { time: clock(), ..resolved })?;
    }
    Ok(said)
}

/// A test was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TestError(String);

/// Why an attempt failed, without secrets, and when there may be another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    reason: String,
    retry: Retry,
}

/// What every notification says of us.
#[derive(Clone, Debug)]
struct About {
    host: String,
    link: Option<String>,
}

impl About {
    /// Where to look at what a notification is about.
    fn link_to(&self, notification: &Notification) -> Option<String> {
        let link = self.link.as_ref()?;
        Some(match &notification.call_id {
            Some(call_id) => {
                format!("{link}/api/qos/call/{}", utf8_percent_encode(call_id, NON_ALPHANUMERIC))
            }
            None => format!("{link}/api/qos/alerts"),
        })
    }
}
