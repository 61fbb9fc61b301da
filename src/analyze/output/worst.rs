//! The worst of many: a bound on how many are kept, and the count of all.
//!
//! Never knows what makes one worse than another; the rank says it.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Keeps what has the lowest ranks.
#[derive(Debug)]
pub(super) struct Worst<R, T> {
    /// The highest rank of the kept is at the top, the first to go.
    kept: BinaryHeap<Entry<R, T>>,
    limit: usize,
    total: u64,
}

impl<R: Ord, T> Worst<R, T> {
    /// Nothing yet; at most `limit` are kept, all if that is 0.
    pub(super) const fn new(limit: usize) -> Self {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Self { kept: BinaryHeap::new(), limit, total: 0 }
    }

    /// Counts one, and makes and keeps it if it is among the worst so far.
    pub(super) fn push(&mut self, rank: R, make: impl FnOnce() -> T) {
        self.total += 1;
        if self.kept.len() < self.limit {
            self.kept.push(Entry { rank, value: make() });
        } else if let Some(mut best) = self.kept.peek_mut()
            && best.rank > rank
        {
            *best = Entry { rank, value: make() };
        }
    }

    /// How many there were.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// The kept ones, worst first.
    pub(super) fn into_sorted(self) -> Vec<T> {
        self.kept.into_sorted_vec().into_iter().map(|entry| entry.value).collect()
    }
}

#[derive(Debug)]
struct Entry<R, T> {
    rank: R,
    value: T,
}

impl<R: Ord, T> Ord for Entry<R, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<R: Ord, T> PartialOrd for Entry<R, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Ord, T> PartialEq for Entry<R, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<R: Ord, T> Eq for Entry<R, T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(limit: usize, ranks: &[u32]) -> (u64, Vec<u32>) {
        let mut worst = Worst::new(limit);
        ranks.iter().for_each(|&rank| worst.push(rank, || rank));
        (worst.total(), worst.into_sorted())
    }

    #[test]
    fn the_lowest_stay_and_all_count() {
        let ranks = [5, 3, 9, 1, 7, 3];
        assert_eq!(worst(3, &ranks), (6, vec![1, 3, 3]));
        assert_eq!(worst(1, &ranks), (6, vec![1]));
        assert_eq!(worst(6, &ranks), (6, vec![1, 3, 3, 5, 7, 9]));
        assert_eq!(worst(0, &ranks), (6, vec![1, 3, 3, 5, 7, 9]));
        assert_eq!(worst(3, &[]), (0, vec![]));
    }
}
