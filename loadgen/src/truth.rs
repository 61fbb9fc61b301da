//! The [`Truth`] of a call: what was really handed to the network, packet by packet.
//!
//! It counts what a perfect receiver would, from the sender's side, and never from a plan: a
//! packet that the system refused is a lost one.

use std::time::Duration;

use voxplane::time::Timestamp;

use crate::jitter::Jitter;

/// What was sent of one call's media.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    sent: u32,
    duplicates: u32,
    reordered: u32,
    first: Option<u32>,
    highest: u32,
    jitter: Jitter,
}

impl Truth {
    /// A packet of the call, counted from 0, was handed over at `at`.
    pub fn on_sent(&mut self, at: Timestamp, index: u32, rtp_time: u32, duplicate: bool) {
        if duplicate {
            self.duplicates += 1;
            return;
        }
        self.sent += 1;
        if self.first.is_none() {
            (self.first, self.highest) = (Some(index), index);
        } else if index < self.highest {
            self.reordered += 1;
        } else {
            self.highest = index;
        }
        self.jitter.update(at, rtp_time);
    }

    /// Packets sent, repetitions not counted.
    #[must_use]
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// Packets between the first and the highest that were never sent.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.first.map_or(0, |first| self.highest - first + 1 - self.sent)
    }

    /// Packets sent again.
    #[must_use]
    pub const fn duplicates(&self) -> u32 {
        self.duplicates
    }

    /// Packets sent after a later one.
    #[must_use]
    pub const fn reordered(&self) -> u32 {
        self.reordered
    }

    /// Mean of the A.8 estimate over the packets as they were sent.
    #[must_use]
    pub fn jitter_mean(&self) -> Option<Duration> {
        self.jitter.mean()
    }

    /// Highest A.8 estimate.
    #[must_use]
    pub fn jitter_max(&self) -> Option<Duration> {
        self.jitter.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_a_perfect_receiver() {
        let mut truth = Truth::default();
        let order = [(0, false), (2, false), (1, false), (2, true), (5, false), (4, false)];
        for (step, (index, duplicate)) in order.into_iter().enumerate() {
            let at = Timestamp::from_nanos(step as u64 * 20_000_000);
            truth.on_sent(at, index, index * 160, duplicate);
        }
        assert_eq!((truth.sent(), truth.lost()), (5, 1));
        assert_eq!((truth.duplicates(), truth.reordered()), (1, 2));
    }
}
