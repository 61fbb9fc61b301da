//! IP packets put together from their fragments.
//!
//! Memory is bounded whatever comes; where fragments overlap, the first to come has it (as
//! RFC 5722 section 3 has hosts drop such packets, what a host did is not known).

use core::time::Duration;

use super::{generations::Generations, totals::Ignored};
use crate::{
    time::Timestamp,
    wire::frame::{Fragment, FragmentKey, Reason},
};

#[derive(Debug, Default)]
pub(super) struct Fragments {
    packets: Generations<FragmentKey, Partial>,
    /// Bytes held for the young generation, about.
    bytes: usize,
}

impl Fragments {
    /// Takes a fragment; gives the payload of its packet if that is whole now.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        fragment: &Fragment<'_>,
        ignored: &mut Ignored,
    ) -> Option<Vec<u8>> {
        self.turn(now, ignored);
        let start = usize::from(fragment.offset);
        let end = start + fragment.payload.len();
        if !fragment.is_whole || fragment.payload.is_empty() || end > PACKET_MAX {
            ignored.add(Reason::FragmentIncomplete, 1);
            return None;
        }
        if self.packets.find(&fragment.key).is_none() {
            self.packets.insert(fragment.key, Partial::default());
        }
        let packet = self.packets.find(&fragment.key)?;
        let added = packet.add(start, fragment.payload, fragment.has_more);
        self.bytes += added + FRAGMENT_COST;
        if added == 0 {
            ignored.add(Reason::Duplicate, 1);
            return None;
        }
        packet.fragments += 1;
        if !packet.is_whole() {
            return None;
        }
        let packet = self.packets.remove(&fragment.key)?;
        self.bytes = self.bytes.saturating_sub(packet.bytes);
        Some(packet.into_bytes())
    }

    /// Gives up what is not whole yet.
    pub(super) fn finish(&mut self, ignored: &mut Ignored) {
        let lost = self.packets.drain().map(|(_, packet)| packet.fragments).sum();
        ignored.add(Reason::FragmentIncomplete, lost);
        self.bytes = 0;
    }

    fn turn(&mut self, now: Timestamp, ignored: &mut Ignored) {
        let packets_max = if self.bytes < BYTES_MAX / 2 { PACKETS_MAX / 2 } else { 0 };
        if let Some(old) = self.packets.turn(now, LIFETIME, packets_max) {
            let lost = old.values().map(|packet| packet.fragments).sum();
            ignored.add(Reason::FragmentIncomplete, lost);
            self.bytes = 0;
        }
    }
}

/// A packet some of whose fragments have come.
#[derive(Debug, Default)]
struct Partial {
    /// In order, and none overlaps another.
    pieces: Vec<(usize, Box<[u8]>)>,
    bytes: usize,
    /// Known once the last fragment has come.
    len: Option<usize>,
    fragments: u64,
}

impl Partial {
    /// Adds what is new in a fragment; says how many bytes that was.
    fn add(&mut self, start: usize, payload: &[u8], has_more: bool) -> usize {
        let end = start + payload.len();
        let reached = self.pieces.last().map_or(0, |(at, piece)| at + piece.len());
        let is_beyond = self.len.is_some_and(|len| end > len) || (!has_more && reached > end);
        if is_beyond || self.pieces.len() >= PIECES_MAX {
            return 0;
        }
        if !has_more {
            self.len = Some(end);
        }
        let before = self.bytes;
        let mut at = start;
        let mut index = self.pieces.partition_point(|(at, piece)| at + piece.len() <= start);
        while at < end {
            let next = self.pieces.get(index).map(|(start, piece)| (*start, start + piece.len()));
            let (gap_end, resume) = next.map_or((end, end), |(start, end_of)| (start, end_of));
            if at < gap_end.min(end) {
                let gap = &payload[at - start..gap_end.min(end) - start];
                self.bytes += gap.len();
                self.pieces.insert(index, (at, gap.into()));
                index += 1;
            }
            at = resume.max(at);
            index += 1;
        }
        self.bytes - before
    }

    /// Pieces do not overlap, so that as many bytes as there are to be leave no gap.
    fn is_whole(&self) -> bool {
        self.len == Some(self.bytes)
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes);
        for (_, piece) in self.pieces {
            bytes.extend_from_slice(&piece);
        }
        bytes
    }
}

/// How long the rest is waited for at least, as Linux does; at most twice as long (RFC 1122
/// section 3.3.2 has 60 s to 120 s).
const LIFETIME: Duration = Duration::from_secs(30);
/// Packets that are waited for.
const PACKETS_MAX: usize = 4096;
/// Bytes that are held for them.
const BYTES_MAX: usize = 8 << 20;
/// What a fragment takes beside its bytes.
const FRAGMENT_COST: usize = 64;
/// The longest IP packet.
const PACKET_MAX: usize = 65_535;
/// Of the smallest fragments that hosts send, 576 bytes, the longest packet has 119.
const PIECES_MAX: usize = 256;
