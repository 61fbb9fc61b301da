//! The dialog table: calls by Call-ID and caller's tag, and by the media address they agreed on.

use core::hash::{BuildHasher, Hasher};
use std::{collections::VecDeque, net::SocketAddr};

use arrayvec::ArrayVec;

use super::{
    dialog::{Dialog, DialogId, Phase, Text},
    index::{INDEX_MIN, Index},
    seen::{ENDPOINTS_MAX, Seen},
};
use crate::{
    id::ShardId,
    time::Timestamp,
    wire::sip::{call_id, registered_uri, write_address_of_record},
};

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
    /// Calls that a newer one has just taken an address from.
    outdone: Vec<u32>,
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
            outdone: Vec::new(),
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

    /// The observed call that media between two addresses belong to: the receiver's, who has said
    /// where it wants to receive. Where that call knows both its sides and neither is the sender,
    /// it is the sender's, if that one knows the receiver too: a relay may use one address in two
    /// calls.
    pub(crate) fn find_between(&self, src: SocketAddr, dst: SocketAddr) -> Option<u32> {
        let seen = |slot| self.get(slot).and_then(|dialog| dialog.seen.as_deref());
        let knows = |slot, address| seen(slot).is_some_and(|seen| seen.knows(address));
        let of = |address| {
            self.by_media.find(self.media_hash(address, NO_PORT), |slot| knows(slot, address))
        };
        let (to, from) = (of(dst), of(src));
        let (Some(receivers), Some(senders)) = (to, from) else { return to.or(from) };
        let is_anothers = seen(receivers).is_some_and(Seen::is_described)
            && !knows(receivers, src)
            && knows(senders, dst);
        if is_anothers { from } else { to }
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
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let Some(hash) = place.as_ref().map(|dialog| dialog.hash) else { return };
        *place = None;
        self.by_name.remove(hash, slot);
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

    /// Ends a call that is up. The media of one that was answered here may now be another's; one
    /// that is only observed keeps its stragglers until another call names their address.
    pub(crate) fn end(&mut self, slot: u32, phase: Phase) {
        self.unindex_media(slot);
        if let Some(dialog) = self.get_mut(slot) {
            let was_up = dialog.is_up();
            dialog.phase = phase;
            let ended = dialog.seen.is_some().then_some(dialog.id);
            self.up -= usize::from(was_up);
            self.lingering.extend(ended);
        }
        self.index_media(slot);
    }

    /// Puts a call that is only observed into a phase in which it is up, even if it seemed over.
    pub(crate) fn reopen(&mut self, slot: u32, phase: Phase) {
        if let Some(dialog) = self.get_mut(slot) {
            let was_up = dialog.is_up();
            dialog.phase = phase;
            self.up += usize::from(!was_up);
        }
    }

    /// The observed call that has been over for longest and is still in the table.
    pub(crate) fn pop_ended(&mut self) -> Option<u32> {
        while let Some(id) = self.lingering.pop_front() {
            if self.by_id(id).is_some_and(|dialog| !dialog.is_up()) {
                return Some(id.slot);
            }
        }
        None
    }

    /// The calls that newer ones have taken addresses from, for the caller to take away.
    pub(crate) const fn outdone(&mut self) -> &mut Vec<u32> {
        &mut self.outdone
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

    /// The slots of all calls that are over, in order of their opening.
    pub(crate) fn slots_ended(&self) -> Vec<u32> {
        let mut over: Vec<_> = self.iter().filter(|dialog| !dialog.is_up()).collect();
        over.sort_by_key(|dialog| dialog.id.serial);
        over.into_iter().map(|dialog| dialog.id.slot).collect()
    }

    /// Makes a dialog findable by its media addresses. An address that another call already
    /// expects media from at the same port stays that call's: nothing in a packet could tell the
    /// two apart, and callers must not be able to make one long chain of the index.
    ///
    /// Of calls that are only observed the newest has the address: the others are over and their
    /// end was not seen, or are legs of the same call on the same media.
    fn index_media(&mut self, slot: u32) {
        let Some(dialog) = self.get(slot) else { return };
        let (serial, is_observed) = (dialog.id.serial, dialog.seen.is_some());
        for hash in self.media_hashes(slot) {
            let holder = self.by_media.find(hash, |_| true);
            let Some(other) = holder else {
                self.by_media.insert(hash, slot);
                continue;
            };
            let is_older = |dialog: &Dialog| dialog.id.serial < serial;
            if is_observed && self.get(other).is_some_and(is_older) {
                self.by_media.remove(hash, other);
                self.by_media.insert(hash, slot);
                if !self.outdone.contains(&other) {
                    self.outdone.push(other);
                }
            }
        }
    }

    fn unindex_media(&mut self, slot: u32) {
        for hash in self.media_hashes(slot) {
            self.by_media.remove(hash, slot);
        }
    }

    /// The hashes of the addresses by which media find a call.
    fn media_hashes(&self, slot: u32) -> ArrayVec<u64, ADDRESSES_MAX> {
        let Some(dialog) = self.get(slot) else { return ArrayVec::new() };
        let mut hashes = ArrayVec::new();
        match &dialog.seen {
            Some(seen) => {
                let all = seen.addresses().map(|address| self.media_hash(address, NO_PORT));
                hashes.extend(all.take(ADDRESSES_MAX));
            }
            None if dialog.is_up() => {
                let port = dialog.media.local.port();
                hashes.extend(dialog.media.sources().map(|src| self.media_hash(src, port)));
            }
            None => {}
        }
        hashes
    }

    fn media_hash(&self, src: SocketAddr, rtp_port: u16) -> u64 {
        use core::hash::Hash;
        let mut hasher = self.hasher.build_hasher();
        src.hash(&mut hasher);
        hasher.write_u16(rtp_port);
        hasher.finish()
    }
}

/// Which shard a SIP message belongs to: the same on all shards of one appliance (`seed`). Those of
/// a call go by their Call-ID; a REGISTER goes by its address of record, so that all of one user
/// meet.
#[must_use]
pub fn owner(message: &[u8], shards: u16, seed: u64) -> ShardId {
    if let Some(uri) = registered_uri(message) {
        let mut address = Vec::with_capacity(uri.len() + 1);
        write_address_of_record(&mut address, uri);
        return owner_of(&address, shards, seed);
    }
    owner_of(call_id(message).unwrap_or_default(), shards, seed)
}

/// Which shard owns what has this key.
fn owner_of(key: &[u8], shards: u16, seed: u64) -> ShardId {
    let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
    hasher.write(key);
    let share = (hasher.finish() >> 32) * u64::from(shards.max(1));
    ShardId(u16::try_from(share >> 32).unwrap_or(0))
}

/// Media addresses by which one call is found: RTP and RTCP of all that is remembered.
const ADDRESSES_MAX: usize = 2 * ENDPOINTS_MAX;

/// Stands for the local port where there is none: the address of an observed call is its own.
const NO_PORT: u16 = 0;

/// Dialogs looked at for one unknown source.
const AWAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_spread_evenly_over_the_shards() {
        let mut calls = [0; 4];
        for index in 0..4000 {
            let owner = owner_of(format!("{index}-1@192.0.2.1").as_bytes(), 4, 99);
            calls[usize::from(owner.0)] += 1;
        }
        assert!(calls.iter().all(|&count| (850..1150).contains(&count)), "{calls:?}");
    }
}
