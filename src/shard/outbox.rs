//! What a shard wants done: datagrams to send, reports to pass on. It only collects.

use core::ops::Range;
use std::net::SocketAddr;

use super::report::Report;
use crate::{
    time::Timestamp,
    wire::{Datagram, Transport},
};

/// Datagrams and reports of one turn. Cleared and used again, it stops allocating once it has
/// seen a busy turn.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    transmits: Vec<Transmit>,
    reports: Vec<Report>,
    passed: Vec<Passed>,
}

/// A datagram to send; its bytes are the outbox's.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Local address to send from; its port tells the socket.
    pub src: SocketAddr,
    /// Where it goes.
    pub dst: SocketAddr,
    /// What carries it. Over a stream it goes through the connection between the two addresses, or
    /// nowhere.
    pub transport: Transport,
    range: Range<usize>,
}

/// A SIP message of a call as it came or went, for who shows its ladder; its bytes are the
/// outbox's.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The call, by its serial.
    pub call: u64,
    /// When it came, or was sent.
    pub at: Timestamp,
    /// Where it came from.
    pub src: SocketAddr,
    /// Where it went.
    pub dst: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// Whether the same bytes went the same way before.
    pub is_again: bool,
    range: Range<usize>,
}

impl Outbox {
    /// The SIP messages of calls that have passed, in order.
    pub fn passed(&self) -> impl ExactSizeIterator<Item = (&Passed, &[u8])> {
        self.passed.iter().map(|passed| (passed, &self.bytes[passed.range.clone()]))
    }

    /// The datagrams to send, in order.
    pub fn transmits(&self) -> impl ExactSizeIterator<Item = (&Transmit, &[u8])> {
        self.transmits.iter().map(|transmit| (transmit, &self.bytes[transmit.range.clone()]))
    }

    /// The reports to pass on, in order.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.transmits.clear();
        self.reports.clear();
        self.passed.clear();
    }

    /// Adds a datagram that `write` appends to the bytes; gives back what it appended.
    pub(crate) fn send(
        &mut self,
        src: SocketAddr,
        dst: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &mut [u8] {
        self.send_by(Transport::Udp, src, dst, write)
    }

    /// The same over any transport.
    pub(crate) fn send_by(
        &mut self,
        transport: Transport,
        src: SocketAddr,
        dst: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &mut [u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let range = start..self.bytes.len();
        self.transmits.push(Transmit { src, dst, transport, range });
        &mut self.bytes[start..]
    }

    /// Takes back the datagram that was added last.
    pub(crate) fn withdraw(&mut self) {
        if let Some(last) = self.transmits.pop() {
            self.bytes.truncate(last.range.start);
        }
    }

    /// Adds a message that was received.
    pub(crate) fn pass_received(&mut self, call: u64, datagram: &Datagram<'_>, is_again: bool) {
        let Datagram { received_at: at, src, dst, transport, payload, .. } = *datagram;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        let range = start..self.bytes.len();
        self.passed.push(Passed { call, at, src, dst, transport, is_again, range });
    }

    /// Adds one that is to be sent, by its place among all.
    pub(crate) fn pass_sent(&mut self, call: u64, at: Timestamp, place: usize, is_again: bool) {
        let Some(sent) = self.transmits.get(place).cloned() else { return };
        let Transmit { src, dst, transport, range } = sent;
        self.passed.push(Passed { call, at, src, dst, transport, is_again, range });
    }

    /// Adds a report.
    pub(crate) fn report(&mut self, report: Report) {
        self.reports.push(report);
    }
}
