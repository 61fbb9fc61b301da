//! The stream table: streams by source, destination and SSRC, of a bounded number.

use core::{
    hash::{BuildHasher, Hasher},
    hint::black_box,
    ops::Range,
};

use super::{
    index::{INDEX_MIN, Index},
    stream::{State, Stream, StreamKey},
};

/// All streams of one shard. Slots are stable while their stream lasts.
#[derive(Debug)]
pub(crate) struct Streams {
    index: Index,
    slots: Vec<Stream>,
    free: Vec<u32>,
    slots_max: usize,
    hasher: foldhash::quality::FixedState,
}

impl Streams {
    /// A table for at most `slots_max` streams. `seed` is secret in a live appliance: senders
    /// choose the keys.
    pub(crate) fn new(slots_max: usize, seed: u64) -> Self {
        Self {
            index: Index::new(INDEX_MIN),
            // Address space only, until a slot is used: growing would copy and stall.
            slots: Vec::with_capacity(slots_max),
            free: Vec::with_capacity(slots_max),
            slots_max,
            hasher: foldhash::quality::FixedState::with_seed(seed),
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &StreamKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        key.hash_with(&mut hasher);
        hasher.finish()
    }

    #[inline]
    pub(crate) fn find(&self, key: &StreamKey, hash: u64) -> Option<u32> {
        self.index.find(hash, |slot| self.slots[slot as usize].has_key(key))
    }

    /// Brings in what [`likely`](Self::likely) reads.
    #[inline]
    pub(crate) fn touch_index(&self, hash: u64) {
        black_box(self.index.touched(hash));
    }

    /// The slot that `find` will most likely give, read without a look at any stream.
    #[inline]
    pub(crate) fn likely(&self, hash: u64) -> Option<u32> {
        self.index.find(hash, |_| true)
    }

    /// Brings the cache lines of streams in; which of the buckets are needed only the lines before
    /// them tell.
    #[inline]
    pub(crate) fn touch(&self, slots: &[u32]) {
        for &slot in slots {
            black_box(self.slots[slot as usize].touched());
        }
        for &slot in slots {
            black_box(self.slots[slot as usize].touched_buckets());
        }
    }

    /// Adds a stream; `None` if the table is full.
    pub(crate) fn insert(&mut self, hash: u64, stream: Stream) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = stream;
                slot
            }
            None if self.slots.len() < self.slots_max => {
                let slot = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(stream);
                slot
            }
            None => return None,
        };
        self.index.insert(hash, slot);
        Some(slot)
    }

    /// Takes a stream out.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(stream) = self.at_mut(slot) else { return };
        let key = stream.key();
        stream.vacate();
        self.index.remove(self.hash(&key), slot);
        self.free.push(slot);
    }

    /// The stream in a slot, if there is one.
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> Option<&Stream> {
        self.slots.get(slot as usize).filter(|stream| stream.state != State::Vacant)
    }

    /// The stream in a slot, if there is one.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize).filter(|stream| stream.state != State::Vacant)
    }

    /// The stream in a slot, if it is still the one with this serial.
    pub(crate) fn get_mut(&mut self, slot: u32, serial: u64) -> Option<&mut Stream> {
        self.at_mut(slot).filter(|stream| stream.serial == serial)
    }

    /// The memory in which streams to come will lie.
    pub(crate) fn memory(&mut self) -> Range<*const u8> {
        let Range { start, end } = self.slots.spare_capacity_mut().as_ptr_range();
        start.cast()..end.cast()
    }

    /// The slots of all streams.
    pub(crate) fn slots(&self) -> Vec<u32> {
        let all = (0..).zip(&self.slots);
        all.filter(|(_, stream)| stream.state != State::Vacant).map(|(slot, _)| slot).collect()
    }

    /// How many streams there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
