//! From records to frames: decodes packets, and brings together what came in pieces.
//!
//! It knows no file; records reach it in the order in which their frames are to leave.

use super::{
    chunk::{Addressed, Chunk, Frame},
    clock::Clock,
    fragments::Fragments,
    records::Record,
    streams::Streams,
    totals::Ignored,
};
use crate::{
    time::Timestamp,
    wire::{
        Transport,
        frame::{self, Packet, Reason, UdpDatagram},
    },
};

#[derive(Debug, Default)]
pub(super) struct Decoder {
    fragments: Fragments,
    streams: Streams,
    messages: Messages,
    clock: Clock,
    pub(super) ignored: Ignored,
}

impl Decoder {
    /// Takes a record whose bytes are in the chunk.
    #[inline]
    pub(super) fn take(&mut self, chunk: &mut Chunk, record: &Record) {
        let bytes = &chunk.bytes()[record.start..record.start + record.len];
        match frame::decode_plain(record.link, bytes) {
            Some(datagram) => {
                let frame = in_place(chunk.bytes(), record.time, &datagram);
                self.deliver(chunk, frame);
            }
            None => self.take_any(chunk, record),
        }
    }

    #[inline(never)]
    fn take_any(&mut self, chunk: &mut Chunk, record: &Record) {
        let bytes = &chunk.bytes()[record.start..record.start + record.len];
        match frame::decode(record.link, bytes) {
            Packet::Udp(datagram) => {
                let frame = in_place(chunk.bytes(), record.time, &datagram);
                self.deliver(chunk, frame);
            }
            Packet::Ignored(reason) => self.ignored.add(reason, 1),
            packet => {
                self.take_piece(record.time, packet, 0);
                self.deliver_messages(chunk, record.time);
            }
        }
    }

    #[inline]
    fn deliver(&mut self, chunk: &mut Chunk, frame: Frame) {
        if let Some(now) = self.clock.reach(frame.received_at) {
            chunk.tick(now);
        }
        chunk.push(frame);
    }

    fn deliver_messages(&mut self, chunk: &mut Chunk, time: Timestamp) {
        if !self.messages.ends.is_empty()
            && let Some(now) = self.clock.reach(time)
        {
            chunk.tick(now);
        }
        self.messages.deliver(chunk, time);
    }

    /// The time that the capture has reached.
    pub(super) const fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Delivers what is whole after all, and gives up the rest.
    pub(super) fn finish(&mut self, chunk: &mut Chunk, now: Timestamp) {
        self.fragments.finish(&mut self.ignored);
        self.streams.finish(&mut self.messages, &mut self.ignored);
        self.deliver_messages(chunk, now);
    }

    #[cold]
    fn take_piece(&mut self, time: Timestamp, packet: Packet<'_>, nested: usize) {
        match packet {
            Packet::Udp(datagram) => {
                self.messages.push(addressed(&datagram), datagram.payload);
            }
            Packet::Tcp(segment) => {
                self.streams.take(time, &segment, &mut self.messages, &mut self.ignored);
            }
            Packet::Fragment(_) if nested == NESTED_MAX => {
                self.ignored.add(Reason::TunnelTooDeep, 1);
            }
            Packet::Fragment(fragment) => {
                if let Some(whole) = self.fragments.take(time, &fragment, &mut self.ignored) {
                    let packet = frame::decode_reassembled(&fragment.key, &whole);
                    self.take_piece(time, packet, nested + 1);
                }
            }
            Packet::Ignored(reason) => self.ignored.add(reason, 1),
        }
    }
}

/// The frame of a datagram that is among the bytes of a chunk.
#[inline]
fn in_place(bytes: &[u8], received_at: Timestamp, datagram: &UdpDatagram<'_>) -> Frame {
    let start = datagram.payload.as_ptr().addr() - bytes.as_ptr().addr();
    Frame::new(addressed(datagram), received_at, start, datagram.payload.len())
}

#[inline]
const fn addressed(datagram: &UdpDatagram<'_>) -> Addressed {
    let UdpDatagram { src, dst, marks, .. } = *datagram;
    Addressed { src, dst, transport: Transport::Udp, marks }
}

/// What was put together of one record and those before it, on its way into a chunk.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    ends: Vec<(Addressed, usize)>,
}

impl Messages {
    pub(super) fn push(&mut self, addressed: Addressed, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push((addressed, self.bytes.len()));
    }

    fn deliver(&mut self, chunk: &mut Chunk, time: Timestamp) {
        let mut start = 0;
        for (addressed, end) in self.ends.drain(..) {
            chunk.append(&addressed, time, &self.bytes[start..end]);
            start = end;
        }
        self.bytes.clear();
    }
}

/// Fragments in tunnels in fragments.
const NESTED_MAX: usize = 8;
