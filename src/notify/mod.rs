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
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
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
pub struct Notifiers(Handle);

/// A handle to tell the notifiers with, and to see how they are. Cloning it gives another one.
#[derive(Clone, Debug)]
pub struct Handle {
    recipients: Arc<RwLock<Vec<Recipient>>>,
    host: Arc<str>,
    clock: fn() -> Timestamp,
}

/// Somebody who is told.
#[derive(Clone, Debug)]
struct Recipient {
    settings: Settings,
    desk: Arc<Desk>,
}

impl Notifiers {
    /// Starts a thread for each recipient. None is reached before there is something to tell.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let Options { notifiers, host, clock } = options;
        let handle = Handle { recipients: Arc::default(), host: host.into(), clock };
        handle.replace(&notifiers)?;
        Ok(Self(handle))
    }

    /// A handle to tell them with.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.clone()
    }

    /// Tries once more to deliver what waits and ends the threads. One that is not done within
    /// `patience` is left behind: it ends with the process.
    pub fn stop(self, patience: Duration) {
        let Handle { clock, .. } = self.0;
        let all = self.0.recipients();
        let until = clock() + patience;
        all.iter().for_each(|recipient| recipient.desk.tell(Line::close));
        for Recipient { desk, .. } in all.iter() {
            // A clock that was set back does not make it longer.
            desk.wait_for_end(until.since(clock()).min(patience));
        }
        for Status { name, queued, .. } in all.iter().map(|recipient| recipient.desk.status()) {
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
        let tell = |recipient: &Recipient| {
            recipient.desk.tell(|line| line.push(&notification, now));
        };
        self.recipients().iter().for_each(tell);
    }

    /// How each is doing, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.recipients().iter().map(|recipient| recipient.desk.status()).collect()
    }

    /// From now on tells these. Who is told as before keeps what waits for him; who is told no
    /// more, or otherwise, gets one more try of it.
    ///
    /// # Errors
    /// The system refuses a thread; nothing has changed.
    pub fn replace(&self, notifiers: &[Settings]) -> io::Result<()> {
        let mut recipients = self.recipients.write().unwrap_or_else(PoisonError::into_inner);
        let known = |settings: &Settings| {
            let mut all = recipients.iter();
            all.find(|known| known.settings == *settings).map(|known| Arc::clone(&known.desk))
        };
        let mut all = Vec::with_capacity(notifiers.len());
        for settings in notifiers {
            let desk = match known(settings) {
                Some(desk) => desk,
                None => match self.open(settings) {
                    Ok(desk) => desk,
                    Err(error) => {
                        close_others(&all, &recipients);
                        return Err(error);
                    }
                },
            };
            all.push(Recipient { settings: settings.clone(), desk });
        }
        close_others(&recipients, &all);
        *recipients = all;
        Ok(())
    }

    /// A desk with a thread of its own.
    fn open(&self, settings: &Settings) -> io::Result<Arc<Desk>> {
        let resend = match settings.kind {
            Kind::Alertmanager { resend, .. } => Some(resend),
            _ => None,
        };
        let line = Line::new(settings, resend, fastrand::u64(..));
        let desk = Arc::new(Desk::new(settings.name.clone(), settings.kind.name(), line));
        let (worker, sender) = (Arc::clone(&desk), Sender::new(settings, &self.host));
        let clock = self.clock;
        let thread = thread::Builder::new().name(format!("notify-{}", settings.name));
        thread.spawn(move || worker.work(sender, clock))?;
        Ok(desk)
    }

    fn recipients(&self) -> RwLockReadGuard<'_, Vec<Recipient>> {
        self.recipients.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the desks of those who are not among the others.
fn close_others(some: &[Recipient], others: &[Recipient]) {
    let is_other = |desk| others.iter().any(|other| Arc::ptr_eq(&other.desk, desk));
    for Recipient { desk, .. } in some.iter().filter(|some| !is_other(&some.desk)) {
        desk.tell(Line::close);
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
