//! A table that forgets: entries live in two generations, and the old one is dropped whole when
//! the young one has grown up, by time or by size.
//!
//! It never looks for the oldest entry, and never holds more than two generations.

use core::{hash::Hash, time::Duration};
use std::collections::HashMap;

use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: Table<K, V>,
    old: Table<K, V>,
    turned_at: Timestamp,
}

/// Keys come from whoever sent the packets.
pub(super) type Table<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

impl<K: Eq + Hash, V> Generations<K, V> {
    /// The young generation becomes the old one if it has lived this long or has become this
    /// big; what was old then is handed out, with the young if that is as old by now.
    pub(super) fn turn(
        &mut self,
        now: Timestamp,
        age_max: Duration,
        len_max: usize,
    ) -> Option<Table<K, V>> {
        let age = now.since(self.turned_at);
        if self.young.is_empty() && self.old.is_empty() {
            self.turned_at = now;
            return None;
        }
        if age < age_max && self.young.len() < len_max {
            return None;
        }
        self.turned_at = now;
        let mut dropped = core::mem::take(&mut self.old);
        if age >= age_max * 2 {
            dropped.extend(self.young.drain());
        }
        self.old = core::mem::take(&mut self.young);
        Some(dropped)
    }

    /// An entry where it is.
    pub(super) fn find(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    /// An entry, young again.
    pub(super) fn renew(&mut self, key: K) -> Option<&mut V>
    where
        K: Copy,
    {
        if let Some(value) = self.old.remove(&key) {
            self.young.insert(key, value);
        }
        self.young.get_mut(&key)
    }

    /// Adds an entry, or puts another in its place.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = (K, V)> + '_ {
        self.old.drain().chain(self.young.drain())
    }
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: Table::default(), old: Table::default(), turned_at: Timestamp::MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(30);

    #[test]
    fn an_entry_lives_one_generation_at_least_and_two_at_most() {
        let at = Timestamp::from_secs;
        let mut table: Generations<u32, u32> = Generations::default();
        assert!(table.turn(at(1_000_000), AGE, 100).is_none());
        table.insert(1, 1);
        assert!(table.turn(at(1_000_029), AGE, 100).is_none());
        table.insert(2, 2);
        assert!(table.turn(at(1_000_030), AGE, 100).is_some_and(|dropped| dropped.is_empty()));
        assert_eq!(table.find(&1), Some(&mut 1));
        assert_eq!(table.renew(2), Some(&mut 2));
        let dropped = table.turn(at(1_000_060), AGE, 100).unwrap();
        assert_eq!(dropped.into_keys().collect::<Vec<_>>(), [1]);
        let dropped = table.turn(at(1_000_120), AGE, 100).unwrap();
        assert_eq!(dropped.into_keys().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn no_more_entries_than_two_generations_have() {
        let mut table: Generations<u32, u32> = Generations::default();
        for key in 0..1_000 {
            table.turn(Timestamp::from_secs(1), AGE, 10);
            table.insert(key, key);
            assert!(table.young.len() <= 10 && table.old.len() <= 10);
        }
        assert_eq!(table.drain().count(), 20);
    }
}
