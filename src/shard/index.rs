//! An index from hashes to slots: open addressing in one flat array, one cache line a look-up.
//!
//! It holds no keys. Whoever asks says which slot has the right one, so one index serves tables
//! of any kind.

/// An index that grows with what it holds and never shrinks.
#[derive(Debug)]
pub(crate) struct Index {
    /// `EMPTY`, or the upper half of the hash and the slot.
    entries: Box<[u64]>,
    mask: usize,
    count: usize,
}

impl Index {
    /// An empty index, at most half full with `slots` slots; it grows past that.
    pub(crate) fn new(slots: usize) -> Self {
        let capacity = (slots.max(8) * 2).next_power_of_two();
        Self { entries: vec![EMPTY; capacity].into(), mask: capacity - 1, count: 0 }
    }

    /// The slot whose key is the one asked for, among those with this hash.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = home(hash) & self.mask;
        loop {
            let entry = self.entries[at];
            if entry == EMPTY {
                return None;
            }
            if entry & TAG == hash & TAG && is_key(slot(entry)) {
                return Some(slot(entry));
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Reads where the search for a hash begins, which brings its cache line in.
    #[inline]
    pub(crate) fn touched(&self, hash: u64) -> u64 {
        self.entries[home(hash) & self.mask]
    }

    /// Adds a slot.
    pub(crate) fn insert(&mut self, hash: u64, slot: u32) {
        if self.count * 2 >= self.entries.len() {
            self.grow();
        }
        self.put(entry(hash, slot));
        self.count += 1;
    }

    /// Takes out a slot that was put in under this hash, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, gone: u32) {
        let wanted = entry(hash, gone);
        let mut hole = home(hash) & self.mask;
        while self.entries[hole] != EMPTY && self.entries[hole] != wanted {
            hole = (hole + 1) & self.mask;
        }
        if self.entries[hole] == EMPTY {
            return;
        }
        // Close the hole: move back each entry that a search would otherwise miss.
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let entry = self.entries[at];
            if entry == EMPTY {
                break;
            }
            let from_home = at.wrapping_sub(home(entry)) & self.mask;
            if from_home >= at.wrapping_sub(hole) & self.mask {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = EMPTY;
        self.count -= 1;
    }

    fn put(&mut self, entry: u64) {
        let mut at = home(entry) & self.mask;
        while self.entries[at] != EMPTY {
            at = (at + 1) & self.mask;
        }
        self.entries[at] = entry;
    }

    /// Doubles the room. A small index touches few pages, so it is not made for the worst case;
    /// at 100,000 slots this takes about a millisecond.
    #[cold]
    fn grow(&mut self) {
        let capacity = self.entries.len() * 2;
        let old = core::mem::replace(&mut self.entries, vec![EMPTY; capacity].into());
        self.mask = capacity - 1;
        old.iter().filter(|&&entry| entry != EMPTY).for_each(|&entry| self.put(entry));
    }
}

/// Where the search for a hash begins, before the mask. Of the hash only the upper half is kept,
/// so it must tell both the place and the key.
const fn home(hash: u64) -> usize {
    (hash >> 32) as usize
}

const fn entry(hash: u64, slot: u32) -> u64 {
    hash & TAG | slot as u64
}

const fn slot(entry: u64) -> u32 {
    (entry & 0xFFFF_FFFF) as u32
}

const TAG: u64 = 0xFFFF_FFFF_0000_0000;

/// Slots that an index begins with.
pub(crate) const INDEX_MIN: usize = 1024;

/// No slot has this number: tables are bounded far below it.
const EMPTY: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn agrees_with_a_map_under_random_use() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut index = Index::new(8);
        // Few hashes and many collisions, so that runs form and holes are closed.
        let hashes: Vec<u64> = (0..64).map(|_| rng.u64(..) & 0x00FF_001F_0000_0000).collect();
        let mut model: HashMap<u32, u64> = HashMap::new();
        for _ in 0..100_000 {
            let slot = rng.u32(..64);
            let hash = hashes[slot as usize];
            assert_eq!(
                index.find(hash, |found| found == slot).is_some(),
                model.contains_key(&slot)
            );
            if model.remove(&slot).is_some() {
                index.remove(hash, slot);
            } else {
                index.insert(hash, slot);
                model.insert(slot, hash);
            }
        }
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut index = Index::new(8);
        index.insert(5 << 32, 1);
        index.remove(5 << 32, 2);
        assert_eq!(index.find(5 << 32, |_| true), Some(1));
    }
}
