//! Deadlines of dialogs and streams, soonest first.
//!
//! A deadline is never taken back: whoever is woken looks at the time it keeps itself and
//! ignores a call that is too early.

mod agenda;

pub(super) use agenda::Agenda;

use crate::time::Timestamp;

/// The deadlines of one shard.
#[derive(Debug, Default)]
pub(crate) struct Timers(Agenda<Timer>);

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
            match timer {
                // Nothing is allocated for a stream that goes on.
                Timer::Stream { .. } => self.0.push_to_heap(at, timer),
                Timer::Dialog { .. } | Timer::Registrar => self.0.push(at, timer),
            }
        }
    }

    /// The next one that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        self.0.pop_due(now)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.next()
    }
}
