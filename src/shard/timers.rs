//! Deadlines of dialogs and streams, soonest first.
//!
//! A deadline is never taken back: whoever is woken looks at the time it keeps itself and
//! ignores a call that is too early.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::time::Timestamp;

/// The deadlines of one shard.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Timestamp, Timer)>>);

/// Whom a deadline wakes. The serial tells a slot's owner from the one it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Something of a call is due: a retransmission, a report, its end.
    Dialog { slot: u32, serial: u64 },
    /// A registration may be over.
    Registrar,
    /// A stream's report is due.
    Stream { slot: u32, serial: u64 },
}

impl Timers {
    /// Wakes `timer` at `at`; never, for [`Timestamp::MAX`].
    pub(crate) fn wake(&mut self, at: Timestamp, timer: Timer) {
        if at < Timestamp::MAX {
            self.0.push(Reverse((at, timer)));
        }
    }

    /// The next one that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, timer))| timer)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|&Reverse((at, _))| at)
    }
}
