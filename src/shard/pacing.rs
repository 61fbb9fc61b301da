//! Who has to send media next: a queue for each packet time, in which calls take turns.
//!
//! Calls of one packet time come in the same order for ever, so that whoever has sent goes to the
//! end of the queue and nothing is sorted. Never knows what is sent.

use core::time::Duration;
use std::collections::VecDeque;

use super::dialog::DialogId;
use crate::time::Timestamp;

/// The calls of one shard that send media.
#[derive(Debug, Default)]
pub(crate) struct Pacing(Vec<Queue>);

/// Calls of one packet time, soonest first.
#[derive(Debug)]
struct Queue {
    ptime: Duration,
    turns: VecDeque<Turn>,
}

/// A call's next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) due: Timestamp,
    pub(crate) dialog: DialogId,
}

impl Pacing {
    /// Has a call send when it is due.
    pub(crate) fn push(&mut self, ptime: Duration, turn: Turn) {
        let known = self.0.iter().position(|queue| queue.ptime == ptime);
        let at = known.unwrap_or_else(|| {
            self.0.push(Queue { ptime, turns: VecDeque::new() });
            self.0.len() - 1
        });
        let turns = &mut self.0[at].turns;
        if turns.back().is_none_or(|last| last.due <= turn.due) {
            turns.push_back(turn);
        } else {
            // After a delay those that have caught up come in another order, once.
            turns.insert(turns.partition_point(|other| other.due <= turn.due), turn);
        }
    }

    /// The call whose packet is due for longest, with its packet time.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(Duration, Turn)> {
        let first = |queue: &&mut Queue| queue.turns.front().map(|turn| turn.due);
        let is_due = |queue: &&mut Queue| first(queue).is_some_and(|due| due <= now);
        let queue = self.0.iter_mut().filter(is_due).min_by_key(first)?;
        Some((queue.ptime, queue.turns.pop_front()?))
    }

    /// When the next packet is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(|queue| queue.turns.front()).map(|turn| turn.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn turn(due: u64, slot: u32) -> Turn {
        Turn { due: at(due), dialog: DialogId { slot, serial: 1 } }
    }

    #[test]
    fn who_is_due_for_longest_comes_first_whatever_the_packet_time() {
        let mut pacing = Pacing::default();
        let (short, long) = (Duration::from_millis(20), Duration::from_millis(30));
        for (ptime, due, slot) in
            [(short, 100, 0), (long, 105, 1), (short, 110, 2), (short, 90, 3), (long, 95, 4)]
        {
            pacing.push(ptime, turn(due, slot));
        }
        assert_eq!(pacing.next(), Some(at(90)));
        assert_eq!(pacing.pop_due(at(89)), None);
        let due = core::iter::from_fn(|| pacing.pop_due(at(105)));
        let slots: Vec<_> = due.map(|(_, turn)| turn.dialog.slot).collect();
        assert_eq!(slots, [3, 4, 0, 1]);
        assert_eq!(pacing.next(), Some(at(110)));
    }
}
