//! How the notifiers are doing, for health and metrics. It holds no secret.

use serde::Serialize;

use crate::time::Timestamp;

/// One notifier's figures since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What it is called.
    pub name: String,
    /// What it is, as in the configuration.
    pub kind: &'static str,
    /// Whether its last attempt was well; `true` before the first.
    pub is_well: bool,
    /// Notifications delivered.
    pub sent: u64,
    /// Attempts that failed and were, or will be, made again.
    pub retried: u64,
    /// Notifications that were not delivered: refused, or tried for too long.
    pub gave_up: u64,
    /// Notifications that found no room.
    pub dropped: u64,
    /// Times that all that fires was said again (Alertmanager).
    pub resent: u64,
    /// Notifications that wait.
    pub queued: usize,
    /// When something was last delivered.
    pub last_sent: Option<Timestamp>,
    /// Why the last attempt that failed did so. Not for health, which needs no token: it names
    /// hosts.
    #[serde(skip)]
    pub last_error: Option<String>,
}

/// What a line counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) retried: u64,
    pub(super) gave_up: u64,
    pub(super) dropped: u64,
    pub(super) resent: u64,
    last_sent: Option<Timestamp>,
    last_error: Option<String>,
    is_failing: bool,
}

impl Counts {
    pub(super) const fn delivered(&mut self, now: Timestamp) {
        self.last_sent = Some(now);
        self.is_failing = false;
    }

    pub(super) fn failed(&mut self, reason: String) {
        self.last_error = Some(reason);
        self.is_failing = true;
    }

    pub(super) fn status(&self, name: &str, kind: &'static str, queued: usize) -> Status {
        Status {
            name: name.to_owned(),
            kind,
            is_well: !self.is_failing,
            sent: self.sent,
            retried: self.retried,
            gave_up: self.gave_up,
            dropped: self.dropped,
            resent: self.resent,
            queued,
            last_sent: self.last_sent,
            last_error: self.last_error.clone(),
        }
    }
}
