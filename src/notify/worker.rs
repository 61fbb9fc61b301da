//! The thread of one notifier: takes from its line, delivers, says how it went.
//!
//! It decides nothing: what and when is the line's business, and whom it reaches the sender's.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    line::{Line, Next},
    sender::Sender,
    status::Status,
};
use crate::time::Timestamp;

/// A line that two threads share: who tells it something never waits for a delivery.
#[derive(Debug)]
pub(super) struct Desk {
    name: String,
    kind: &'static str,
    line: Mutex<Line>,
    news: Condvar,
    has_ended: Mutex<bool>,
    end: Condvar,
}

impl Desk {
    pub(super) const fn new(name: String, kind: &'static str, line: Line) -> Self {
        Self {
            name,
            kind,
            line: Mutex::new(line),
            news: Condvar::new(),
            has_ended: Mutex::new(false),
            end: Condvar::new(),
        }
    }

    /// Changes the line and has the thread look at it.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.line());
        self.news.notify_one();
    }

    pub(super) fn status(&self) -> Status {
        let line = self.line();
        line.counts().status(&self.name, self.kind, line.len())
    }

    /// Waits until the line is closed and all is said, or for so long.
    pub(super) fn wait_for_end(&self, patience: Duration) {
        let has_ended = self.has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.end.wait_timeout_while(has_ended, patience, |has_ended| !*has_ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Delivers until the line is closed and has nothing more to say.
    pub(super) fn work(&self, sender: Sender, clock: fn() -> Timestamp) {
        self.deliver(sender, clock);
        *self.has_ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
    }

    fn deliver(&self, mut sender: Sender, clock: fn() -> Timestamp) {
        let mut line = self.line();
        let mut was_well = true;
        loop {
            let job = match line.next(clock()) {
                Next::Deliver(job) => job,
                Next::Wait(pause) => {
                    line = self.wait(line, pause);
                    continue;
                }
                Next::End => return,
            };
            drop(line);
            let result = sender.deliver(&job, clock());
            line = self.line();
            if let Err(failure) = &result
                && was_well
            {
                tracing::warn!(notifier = self.name, reason = failure.reason, "not delivered");
            }
            if result.is_ok() && !was_well {
                tracing::info!(notifier = self.name, "delivers again");
            }
            was_well = result.is_ok();
            line.done(&job, result.map(drop), clock());
        }
    }

    fn wait<'a>(&self, line: MutexGuard<'a, Line>, pause: Duration) -> MutexGuard<'a, Line> {
        let waited = self.news.wait_timeout(line, pause);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
