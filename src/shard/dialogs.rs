//! The dialog table: calls by Call-ID and caller's tag, and by the media address they agreed on.

use core::hash::{BuildHasher, Hasher};
use std::{collections::VecDeque, net::SocketAddr};

use super::{
    dialog::{Dialog, DialogId, Phase, SOURCES, Text},
    index::{INDEX_MIN, Index},
};
use crate::{id::ShardId, time::Timestamp};

/// All dialogs of one shard.
#[derive(Debug)]
pub(crate) struct Dialogs {
    by_name: Index,
    by_media: Index,
    slots: Vec<Option<Dialog>>,
    free: Vec<u32>,
    dialogs_max: usize,
    serial: u64,
    /// Calls that are up.
    up: usize,
    /// Those that only linger, oldest first; some may be gone.
    lingering: VecDeque<DialogId>,
    /// The last calls that named an address for media, newest last.
    awaiting: VecDeque<DialogId>,
    hasher: foldhash::quality::FixedState,
}

impl Dialogs {
    /// A table for at most `dialogs_max` dialogs; see [`super::streams::Streams::new`].
    pub(crate) fn new(dialogs_max: usize, seed: u64) -> Self {
        Self {
            by_name: Index::new(INDEX_MIN),
            by_media: Index::new(INDEX_MIN),
            slots: Vec::with_capacity(dialogs_max),
            free: Vec::new(),
            dialogs_max,
            serial: 0,
            up: 0,
            lingering: VecDeque::new(),
            awaiting: VecDeque::with_capacity(AWAITING_MAX),
            hasher: foldhash::quality::FixedState::with_seed(seed),
        }
    }

    pub(crate) fn hash(&self, call_id: &[u8], remote_tag: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(call_id);
        hasher.write(remote_tag);
        hasher.finish()
    }

    pub(crate) fn find(&self, call_id: &[u8], remote_tag: &[u8]) -> Option<u32> {
        self.by_name.find(self.hash(call_id, remote_tag), |slot| {
            self.get(slot).is_some_and(|dialog| {
                dialog.texts.get(Text::CallId) == call_id
                    && dialog.texts.get(Text::RemoteTag) == remote_tag
            })
        })
    }

    /// The call that expects media from `src` at this local RTP port.
    pub(crate) fn find_media(&self, src: SocketAddr, rtp_port: u16) -> Option<u32> {
        self.by_media.find(self.media_hash(src, rtp_port), |slot| {
            self.get(slot).is_some_and(|dialog| {
                dialog.media.local.port() == rtp_port && dialog.media.expects(src)
            })
        })
    }

    /// A call that is up, has its signalling at the address of `src` and its RTP at this local
    /// port, and awaits media: behind address translation, its media may come from an address
    /// that it does not know itself. One that named the same port goes first, since translation
    /// often keeps it; then the newest.
    pub(crate) fn find_unlatched(&self, src: SocketAddr, rtp_port: u16) -> Option<u32> {
        let is_it = |dialog: &&Dialog| {
            dialog.is_up()
                && dialog.media.is_awaited
                && dialog.peer_ip() == src.ip()
                && dialog.media.local.port() == rtp_port
        };
        let alive = |&id: &DialogId| self.get(id.slot).filter(|dialog| dialog.id == id);
        let mut found = self.awaiting.iter().rev().filter_map(alive).filter(is_it);
        let names_port = |dialog: &&Dialog| {
            dialog.media.remote_rtp.is_some_and(|remote| remote.port() == src.port())
        };
        let newest = found.clone().next();
        found.find(names_port).or(newest).map(|dialog| dialog.id.slot)
    }

    /// Remembers that a call awaits media from a new address.
    pub(crate) fn await_media(&mut self, id: DialogId) {
        if self.awaiting.len() == AWAITING_MAX {
            self.awaiting.pop_front();
        }
        self.awaiting.push_back(id);
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Dialog> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Dialog> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The dialog of this name, if it still is.
    pub(crate) fn by_id(&mut self, id: DialogId) -> Option<&mut Dialog> {
        self.get_mut(id.slot).filter(|dialog| dialog.id == id)
    }

    /// Lets a call that is over linger until then, or until its room is needed.
    pub(crate) fn linger(&mut self, slot: u32, until: Timestamp) {
        let Some(dialog) = self.get_mut(slot) else { return };
        dialog.phase = Phase::Lingering { until };
        let id = dialog.id;
        self.lingering.push_back(id);
    }

    /// Takes out the call that has lingered longest, if the table is full: a caller turned away
    /// is worse than a retransmission not recognized.
    pub(crate) fn make_room(&mut self) {
        while self.reserve().is_none() {
            let Some(id) = self.lingering.pop_front() else { return };
            if self.by_id(id).is_some() {
                self.remove(id.slot);
            }
        }
    }

    /// Forgets those that have ceased to linger.
    fn tidy_lingering(&mut self) {
        while let Some(&id) = self.lingering.front()
            && self.by_id(id).is_none()
        {
            self.lingering.pop_front();
        }
    }

    /// Room for one more dialog; `None` if the table is full.
    pub(crate) fn reserve(&self) -> Option<DialogId> {
        let slot = match self.free.last() {
            Some(&slot) => slot,
            None if self.slots.len() < self.dialogs_max => u32::try_from(self.slots.len()).ok()?,
            None => return None,
        };
        Some(DialogId { slot, serial: self.serial + 1 })
    }

    /// Puts a dialog where [`reserve`](Self::reserve) said.
    pub(crate) fn insert(&mut self, dialog: Dialog) {
        let (slot, hash) = (dialog.id.slot, dialog.hash);
        self.await_media(dialog.id);
        self.serial = dialog.id.serial;
        self.up += usize::from(dialog.is_up());
        match self.slots.get_mut(slot as usize) {
            Some(place) => {
                self.free.pop();
                *place = Some(dialog);
            }
            None => self.slots.push(Some(dialog)),
        }
        self.by_name.insert(hash, slot);
        self.index_media(slot);
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        self.unindex_media(slot);
        let Some(dialog) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.by_name.remove(dialog.hash, slot);
        self.free.push(slot);
        self.tidy_lingering();
    }

    /// Changes the media addresses of a dialog and keeps it findable by them.
    pub(crate) fn change_media(&mut self, slot: u32, change: impl FnOnce(&mut Dialog)) {
        self.unindex_media(slot);
        if let Some(dialog) = self.get_mut(slot) {
            let was_awaited = dialog.media.is_awaited;
            change(dialog);
            let id = dialog.id;
            if dialog.media.is_awaited && !was_awaited {
                self.await_media(id);
            }
        }
        self.index_media(slot);
    }

    /// Ends a call that is up; its media may now be another's.
    pub(crate) fn end(&mut self, slot: u32, phase: Phase) {
        self.unindex_media(slot);
        if let Some(dialog) = self.get_mut(slot) {
            let was_up = dialog.is_up();
            dialog.phase = phase;
            self.up -= usize::from(was_up);
        }
    }

    /// How many calls are up.
    pub(crate) const fn up(&self) -> usize {
        self.up
    }

    /// All dialogs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Dialog> {
        self.slots.iter().flatten()
    }

    /// The slots of all calls that are up.
    pub(crate) fn slots_up(&self) -> Vec<u32> {
        let up = self.iter().filter(|dialog| dialog.is_up());
        up.map(|dialog| dialog.id.slot).collect()
    }

    /// Makes a dialog findable by its media addresses. An address that another call already
    /// expects media from at the same port stays that call's: nothing in a packet could tell the
    /// two apart, and callers must not be able to make one long chain of the index.
    fn index_media(&mut self, slot: u32) {
        for hash in self.media_hashes(slot).into_iter().flatten() {
            if self.by_media.find(hash, |_| true).is_none() {
                self.by_media.insert(hash, slot);
            }
        }
    }

    fn unindex_media(&mut self, slot: u32) {
        for hash in self.media_hashes(slot).into_iter().flatten() {
            self.by_media.remove(hash, slot);
        }
    }

    /// The hashes of the media addresses of a call that is up.
    fn media_hashes(&self, slot: u32) -> [Option<u64>; SOURCES] {
        let Some(dialog) = self.get(slot).filter(|dialog| dialog.is_up()) else {
            return [None; SOURCES];
        };
        let media = &dialog.media;
        media.sources().map(|src| src.map(|src| self.media_hash(src, media.local.port())))
    }

    fn media_hash(&self, src: SocketAddr, rtp_port: u16) -> u64 {
        use core::hash::Hash;
        let mut hasher = self.hasher.build_hasher();
        src.hash(&mut hasher);
        hasher.write_u16(rtp_port);
        hasher.finish()
    }
}

/// Which shard owns a call: the same on all shards of one appliance (`seed`).
#[must_use]
pub fn owner(call_id: &[u8], shards: u16, seed: u64) -> ShardId {
    let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
    hasher.write(call_id);
    let share = (hasher.finish() >> 32) * u64::from(shards.max(1));
    ShardId(u16::try_from(share >> 32).unwrap_or(0))
}

/// Dialogs looked at for one unknown source.
const AWAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_spread_evenly_over_the_shards() {
        let mut calls = [0; 4];
        for index in 0..4000 {
            let owner = owner(format!("{index}-1@192.0.2.1").as_bytes(), 4, 99);
            calls[usize::from(owner.0)] += 1;
        }
        assert!(calls.iter().all(|&count| (850..1150).contains(&count)), "{calls:?}");
    }
}
