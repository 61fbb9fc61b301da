//! What a shard wants done: datagrams to send, reports to pass on. It only collects.

use core::ops::Range;
use std::net::SocketAddr;

use super::report::Report;
use crate::wire::Transport;

/// Datagrams and reports of one turn. Cleared and used again, it stops allocating once it has
/// seen a busy turn.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    transmits: Vec<Transmit>,
    reports: Vec<Report>,
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

impl Outbox {
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

    /// Adds a report.
    pub(crate) fn report(&mut self, report: Report) {
        self.reports.push(report);
    }
}
