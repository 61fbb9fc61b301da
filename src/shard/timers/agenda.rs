//! What is due when, soonest first.
//!
//! Most waits are of a few lengths, and those of one length end in the order in which they began:
//! they stand in lines. What would have to push in goes into a heap, which stays small by that.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::time::Timestamp;

/// Deadlines, each with what is due then.
#[derive(Debug)]
pub(in crate::shard) struct Agenda<T> {
    lines: [VecDeque<(Timestamp, T)>; LINES],
    rest: BinaryHeap<Reverse<(Timestamp, T)>>,
    /// The first deadline of all; [`Timestamp::MAX`] if there is none.
    next: Timestamp,
}

impl<T: Copy + Ord> Agenda<T> {
    /// Adds a deadline.
    pub(in crate::shard) fn push(&mut self, at: Timestamp, what: T) {
        let entry = (at, what);
        self.next = self.next.min(at);
        let fits = |line: &&mut VecDeque<_>| line.back().is_none_or(|last| *last <= entry);
        // Where it lets the fewest of those that follow push in.
        match self.lines.iter_mut().filter(fits).max_by_key(|line| line.back().copied()) {
            Some(line) => line.push_back(entry),
            None => self.rest.push(Reverse(entry)),
        }
    }

    /// Adds a deadline that shall not take memory if one of its kind has just been taken out.
    pub(in crate::shard) fn push_to_heap(&mut self, at: Timestamp, what: T) {
        self.next = self.next.min(at);
        self.rest.push(Reverse((at, what)));
    }

    /// When the first is due, if there is one.
    pub(in crate::shard) fn next(&self) -> Option<Timestamp> {
        Some(self.next).filter(|&next| next < Timestamp::MAX)
    }

    /// Takes out what is due by `now`, the first of it; of what is due at the same time, the least.
    pub(in crate::shard) fn pop_due(&mut self, now: Timestamp) -> Option<T> {
        if self.next > now {
            return None;
        }
        let lines = self.lines.iter().enumerate();
        let first = lines.filter_map(|(index, line)| Some((*line.front()?, index))).min();
        let rest = self.rest.peek().map(|&Reverse(entry)| entry);
        let popped = match first {
            Some((entry, index)) if rest.is_none_or(|rest| entry <= rest) => {
                self.lines[index].pop_front()
            }
            _ => self.rest.pop().map(|Reverse(entry)| entry),
        };
        let fronts = self.lines.iter().filter_map(VecDeque::front);
        let rest = self.rest.peek().map(|Reverse(entry)| entry);
        self.next = fronts.chain(rest).map(|&(at, _)| at).min().unwrap_or(Timestamp::MAX);
        popped.map(|(_, what)| what)
    }
}

impl<T: Ord> Default for Agenda<T> {
    fn default() -> Self {
        Self { lines: Default::default(), rest: BinaryHeap::default(), next: Timestamp::MAX }
    }
}

/// Lengths of waits that are common at the same time: of what comes again, of reports, of what is
/// over, of what is given up.
const LINES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits of a few lengths and of any, taken out as time goes by, against a sorted list.
    #[test]
    fn all_come_in_the_order_of_one_list() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut agenda, mut list) = (Agenda::default(), Vec::new());
        let mut now = Timestamp::from_secs(1);
        for what in 0..20_000_u32 {
            let wait = if rng.bool() { [1, 7, 40][rng.usize(..3)] } else { rng.u64(..20) };
            let at = now + core::time::Duration::from_secs(wait);
            agenda.push(at, what);
            list.push((at, what));
            if rng.u8(..8) == 0 {
                now = now + core::time::Duration::from_secs(rng.u64(..3));
                list.sort_unstable();
                assert_eq!(agenda.next(), list.first().map(|&(at, _)| at));
                let due = list.iter().take_while(|&&(at, _)| at <= now).count();
                for (_, what) in list.drain(..due) {
                    assert_eq!(agenda.pop_due(now), Some(what));
                }
                assert_eq!(agenda.pop_due(now), None);
            }
        }
        assert!(agenda.rest.len() < list.len() / 2, "{} of {}", agenda.rest.len(), list.len());
    }
}
