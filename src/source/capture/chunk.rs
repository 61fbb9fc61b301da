//! A chunk of a capture: bytes, and the frames that were found in them.
//!
//! It does not grow with the capture: it is filled, read, and filled again.

use std::net::SocketAddr;

use crate::{
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport},
};

/// Some of the datagrams of a capture with the bytes that they point into.
///
/// It owns what it holds and does not change while it is read, so that several threads may read
/// one.
#[derive(Debug, Default)]
pub struct Chunk {
    /// First what was read of a file, then what had to be put together.
    bytes: Vec<u8>,
    frames: Vec<Frame>,
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
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was found, in the order of the capture.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// One of [`frames`](Self::frames) with its bytes.
    #[inline]
    #[must_use]
    pub fn datagram(&self, frame: &Frame) -> Datagram<'_> {
        frame.datagram(&self.bytes)
    }

    /// Forgets the frames. Their bytes are left for whoever fills the chunk to write over.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
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
        self.frames.push(frame);
    }

    /// Adds a frame with its payload.
    pub(super) fn append(&mut self, addressed: &Addressed, received_at: Timestamp, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.push(Frame::new(*addressed, received_at, start, bytes.len()));
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
