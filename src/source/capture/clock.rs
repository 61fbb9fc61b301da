//! The time of a capture, which goes on with its packets and never back.

use crate::time::Timestamp;

/// Tells when so much time has passed that what is due must be done.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The latest time seen, to the tick.
    now: Timestamp,
    next_tick: Timestamp,
}

impl Clock {
    /// Takes in the time of a packet; gives the time that it is, if that is a tick on.
    #[inline]
    pub(super) fn reach(&mut self, at: Timestamp) -> Option<Timestamp> {
        (at >= self.next_tick).then(|| self.tick(at))
    }

    #[cold]
    fn tick(&mut self, at: Timestamp) -> Timestamp {
        self.now = self.now.max(at);
        let ticks = self.now.as_nanos() / TICK_NANOS + 1;
        self.next_tick = Timestamp::from_nanos(ticks.saturating_mul(TICK_NANOS));
        self.now
    }

    /// The time that has been reached.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }
}

/// How often it ticks: every 50 ms.
const TICK_NANOS: u64 = 50_000_000;
