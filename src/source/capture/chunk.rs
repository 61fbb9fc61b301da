//! A chunk of a capture: bytes, and the frames that were found in them.
//!
//! It does not grow with the capture: it is filled, read, and filled again.

use std::net::SocketAddr;

use crate::{
    time::Timestamp,
    wire::{
        Datagram, IpMarks, Transport,
        classify::{Kind, classify},
    },
};

/// Some of the datagrams of a capture with the bytes that they point into.
///
/// They lie in lanes, one for each of those who share the work: the RTP of a flow is in one of
/// them; signalling, RTCP and all else is in every one. It owns what it holds and does not change
/// while it is read, so that several threads may read one.
#[derive(Debug)]
pub struct Chunk {
    /// First what was read of a file, then what had to be put together.
    bytes: Vec<u8>,
    lanes: Vec<Lane>,
    is_empty: bool,
}

/// What one of those who share a chunk looks at, in the order of the capture.
#[derive(Debug, Default)]
struct Lane {
    frames: Vec<Frame>,
    ticks: Vec<Tick>,
}

/// Where among frames time goes on to what.
type Tick = (usize, Timestamp);

/// What is next in a lane.
#[derive(Debug)]
pub enum Step<'a> {
    /// These frames.
    Frames(&'a [Frame]),
    /// Time has gone on, in all lanes alike.
    Tick(Timestamp),
}

/// A UDP datagram, or a SIP message out of a TCP stream.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// When it was captured; of what was put together, its last piece.
    pub received_at: Timestamp,
    /// Where it came from.
    pub src: SocketAddr,
    /// Where it went.
    pub dst: SocketAddr,
    start: u32,
    len: u32,
    /// What carried it.
    pub transport: Transport,
    marks: IpMarks,
}

impl Chunk {
    /// An empty one with so many lanes, at least one.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        let lanes = (0..lanes.max(1)).map(|_| Lane::default()).collect();
        Self { bytes: Vec::new(), lanes, is_empty: true }
    }

    /// Whether there is nothing in any lane.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// What was found, in the order of the capture; of several lanes, what is in the first.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.lanes[0].frames
    }

    /// What there is in a lane, with the time that passes, in order; nothing if there is no such
    /// lane.
    pub fn steps(&self, lane: usize) -> impl Iterator<Item = Step<'_>> {
        let (frames, ticks): (&[_], &[_]) =
            self.lanes.get(lane).map_or((&[], &[]), |lane| (&lane.frames, &lane.ticks));
        let places = ticks.iter().map(|&(place, _)| place);
        let starts = core::iter::once(0).chain(places.clone());
        let ends = places.chain([frames.len()]);
        let ticks = ticks.iter().map(|&(_, at)| Some(Step::Tick(at))).chain([None]);
        starts.zip(ends).zip(ticks).flat_map(|((start, end), tick)| {
            core::iter::once(Step::Frames(&frames[start..end])).chain(tick)
        })
    }

    /// A frame of this chunk with its bytes.
    #[inline]
    #[must_use]
    pub fn datagram(&self, frame: &Frame) -> Datagram<'_> {
        frame.datagram(&self.bytes)
    }

    /// Forgets the frames. Their bytes are left for whoever fills the chunk to write over.
    pub(super) fn clear(&mut self) {
        self.is_empty = true;
        for lane in &mut self.lanes {
            lane.frames.clear();
            lane.ticks.clear();
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Adds a frame whose payload is among the chunk's bytes already.
    #[inline]
    pub(super) fn push(&mut self, frame: Frame) {
        self.is_empty = false;
        let [lane] = &mut self.lanes[..] else { return self.push_shared(frame) };
        lane.frames.push(frame);
    }

    #[inline]
    fn push_shared(&mut self, frame: Frame) {
        if classify(frame.datagram(&self.bytes).payload) == Kind::Rtp {
            let lane = frame.lane(self.lanes.len());
            self.lanes[lane].frames.push(frame);
        } else {
            self.lanes.iter_mut().for_each(|lane| lane.frames.push(frame));
        }
    }

    /// Adds a frame with its payload.
    pub(super) fn append(&mut self, addressed: &Addressed, received_at: Timestamp, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.push(Frame::new(*addressed, received_at, start, bytes.len()));
    }

    /// Time goes on.
    #[cold]
    pub(super) fn tick(&mut self, at: Timestamp) {
        self.lanes.iter_mut().for_each(|lane| lane.ticks.push((lane.frames.len(), at)));
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Frame {
    #[inline]
    pub(super) fn new(
        addressed: Addressed,
        received_at: Timestamp,
        start: usize,
        len: usize,
    ) -> Self {
        let Addressed { src, dst, transport, marks } = addressed;
        #[expect(clippy::cast_possible_truncation, reason = "a chunk has some megabytes at most")]
        let (start, len) = (start as u32, len as u32);
        Self { received_at, src, dst, start, len, transport, marks }
    }

    /// Which of so many lanes its flow goes through. Nothing but balance depends on it.
    #[inline]
    fn lane(&self, lanes: usize) -> usize {
        let fold = |address: &SocketAddr| match address {
            SocketAddr::V4(address) => {
                u64::from(address.ip().to_bits()) << 16 | u64::from(address.port())
            }
            #[expect(clippy::cast_possible_truncation, reason = "two halves of 128 bits")]
            SocketAddr::V6(address) => {
                let ip = address.ip().to_bits();
                (ip >> 64) as u64 ^ (ip as u64) << 16 ^ u64::from(address.port())
            }
        };
        let both = fold(&self.src) ^ fold(&self.dst).rotate_left(32);
        let hash = both.wrapping_mul(ODD) >> 32;
        ((hash * lanes as u64) >> 32) as usize
    }

    #[inline]
    fn datagram<'a>(&self, bytes: &'a [u8]) -> Datagram<'a> {
        let start = self.start as usize;
        Datagram {
            received_at: self.received_at,
            src: self.src,
            dst: self.dst,
            transport: self.transport,
            marks: self.marks,
            payload: &bytes[start..start + self.len as usize],
        }
    }
}

/// From where, to where, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addressed {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) transport: Transport,
    pub(super) marks: IpMarks,
}

/// Any odd number with bits all over: 2^64 over the golden ratio.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
