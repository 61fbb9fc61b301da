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
    /// big; what was old then is handed out.
    pub(super) fn turn(
        &mut self,
        now: Timestamp,
        age_max: Duration,
        len_max: usize,
    ) -> Option<Table<K, V>> {
        let is_due = now.since(self.turned_at) >= age_max || self.young.len() >= len_max;
        if !is_due || (self.young.is_empty() && self.old.is_empty()) {
            return None;
        }
        self.turned_at = now;
        let young = core::mem::take(&mut self.young);
        Some(core::mem::replace(&mut self.old, young))
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

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: Table::default(), old: Table::default(), turned_at: Timestamp::MIN }
    }
}
