//! The rings between threads: shard to control, control to shard, shard to shard.
//!
//! Lock-free, of fixed size, never waited for: when one is full, what does not fit is dropped
//! and the caller is told, so that it can be counted and shown.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::{
    limits::{COMMANDS_MAX, LADDER_RING_BYTES, REGISTERED_RING_SLOTS},
    shard::{
        Command, Passed, distributions::Distributions, registrar::RegisteredUser, report::Report,
    },
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport},
};

/// A shard's end of the rings to control.
#[derive(Debug)]
pub struct ShardEnd {
    reports: Producer<Report>,
    filled: Producer<Box<Distributions>>,
    emptied: Consumer<Box<Distributions>>,
    passed: Producer<u8>,
    registered: Producer<RegisteredUser>,
}

/// Control's end of the rings to one shard.
#[derive(Debug)]
pub struct ControlEnd {
    reports: Consumer<Report>,
    filled: Consumer<Box<Distributions>>,
    emptied: Producer<Box<Distributions>>,
    passed: Consumer<u8>,
    bytes: Vec<u8>,
    registered: Consumer<RegisteredUser>,
}

/// The rings between one shard and control, with room for `slots` reports.
#[must_use]
pub fn shard_to_control(slots: usize) -> (ShardEnd, ControlEnd) {
    let (report_in, report_out) = RingBuffer::new(slots);
    let (filled_in, filled_out) = RingBuffer::new(SPARE_DISTRIBUTIONS);
    let (mut emptied_in, emptied_out) = RingBuffer::new(SPARE_DISTRIBUTIONS);
    let (passed_in, passed_out) = RingBuffer::new(LADDER_RING_BYTES);
    let (registered_in, registered_out) = RingBuffer::new(REGISTERED_RING_SLOTS);
    // Nobody else has the other end yet, and there is room for one.
    let _ = emptied_in.push(Box::default());
    (
        ShardEnd {
            reports: report_in,
            filled: filled_in,
            emptied: emptied_out,
            passed: passed_in,
            registered: registered_in,
        },
        ControlEnd {
            reports: report_out,
            filled: filled_out,
            emptied: emptied_in,
            passed: passed_out,
            bytes: Vec::new(),
            registered: registered_out,
        },
    )
}

impl ShardEnd {
    /// Passes reports on and says how many did not fit.
    pub fn publish(&mut self, reports: &[Report]) -> u64 {
        let (_, rest) = self.reports.push_partial_slice(reports);
        rest.len() as u64
    }

    /// How many reports wait to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.reports.buffer().capacity() - self.reports.slots()
    }

    /// Passes on messages of calls and says how many did not fit.
    pub fn pass<'a>(&mut self, messages: impl Iterator<Item = (&'a Passed, &'a [u8])>) -> u64 {
        let mut lost = 0;
        for (message, bytes) in messages {
            let bytes = &bytes[..bytes.len().min(PASSED_BYTES_MAX)];
            let head = PassedHead::of(message, bytes.len());
            let has_room = self.passed.slots() >= PASSED_HEAD + bytes.len();
            // Both fit, as was seen. Control waits for the bytes that a head announces.
            let is_passed = has_room
                && self.passed.push_entire_slice(&head.0).is_ok()
                && self.passed.push_entire_slice(bytes).is_ok();
            lost += u64::from(!is_passed);
        }
        lost
    }

    /// Tells of a user whose contacts have changed; false if that did not fit.
    #[must_use]
    pub fn tell_registered(&mut self, user: RegisteredUser) -> bool {
        self.registered.push(user).is_ok()
    }

    /// Exchanges filled distributions for empty ones, if control has sent some back: `swap`
    /// takes the empty set and gives the filled one.
    pub fn exchange(&mut self, swap: impl FnOnce(Box<Distributions>) -> Box<Distributions>) {
        if let Ok(empty) = self.emptied.pop() {
            // As many sets as places: there is room.
            let _ = self.filled.push(swap(empty));
        }
    }
}

impl ControlEnd {
    /// Takes what has come, up to `max` reports, and says how many it was.
    pub fn drain(&mut self, max: usize, mut take: impl FnMut(&Report)) -> usize {
        let count = self.reports.slots().min(max);
        let Ok(chunk) = self.reports.read_chunk(count) else { return 0 };
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(&mut take);
        chunk.commit_all();
        count
    }

    /// Takes messages of calls, up to `max`: of each the call's serial, what passed and its bytes.
    pub fn drain_passed(&mut self, max: usize, mut take: impl FnMut(u64, Datagram<'_>, bool)) {
        for _ in 0..max {
            let mut head = [0; PASSED_HEAD];
            {
                let Ok(chunk) = self.passed.read_chunk(PASSED_HEAD) else { return };
                let (first, second) = chunk.as_slices();
                head[..first.len()].copy_from_slice(first);
                head[first.len()..].copy_from_slice(second);
            }
            let head = PassedHead(head);
            if self.passed.slots() < PASSED_HEAD + head.len() {
                return;
            }
            let mut skipped = [0; PASSED_HEAD];
            self.bytes.resize(head.len(), 0);
            if self.passed.pop_entire_slice(&mut skipped).is_err()
                || self.passed.pop_entire_slice(&mut self.bytes).is_err()
            {
                return;
            }
            take(head.call(), head.datagram(&self.bytes), head.is_again());
        }
    }

    /// Takes users whose contacts have changed, up to `max`.
    pub fn drain_registered(&mut self, max: usize, take: impl FnMut(RegisteredUser)) {
        let count = self.registered.slots().min(max);
        // So many are there.
        let chunk = self.registered.read_chunk(count).into_iter().flatten();
        chunk.for_each(take);
    }

    /// Has filled distributions merged and sends them back empty.
    pub fn drain_distributions(&mut self, mut merge: impl FnMut(&Distributions)) {
        while let Ok(mut filled) = self.filled.pop() {
            merge(&filled);
            filled.clear();
            let _ = self.emptied.push(filled);
        }
    }

    /// Whether the shard is gone and all it said has been taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.reports.is_abandoned() && self.reports.is_empty()
    }
}

/// The ring of orders to one shard.
#[must_use]
pub fn commands() -> (Producer<Command>, Consumer<Command>) {
    RingBuffer::new(COMMANDS_MAX)
}

/// What one shard has for another.
#[derive(Clone, Copy, Debug)]
pub enum Handed<'a> {
    /// A message that its owner is to handle.
    Received(Datagram<'a>),
    /// A message from `src` to `dst` for a connection that the other shard holds.
    ToSend(Datagram<'a>),
    /// A source that has shown to be where it says.
    Verified(IpAddr),
}

/// What stands before the bytes of a message on its way to control: its call, its time, its
/// addresses, its transport and whether it came again, its length.
struct PassedHead([u8; PASSED_HEAD]);

impl PassedHead {
    fn of(message: &Passed, len: usize) -> Self {
        let mut head = [0; PASSED_HEAD];
        head[..8].copy_from_slice(&message.call.to_le_bytes());
        head[8..16].copy_from_slice(&message.at.as_nanos().to_le_bytes());
        head[16..34].copy_from_slice(&pack(message.src));
        head[34..52].copy_from_slice(&pack(message.dst));
        head[52] = u8::from(message.is_again);
        head[53] = transport_number(message.transport);
        head[54..].copy_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes());
        Self(head)
    }

    fn call(&self) -> u64 {
        u64::from_le_bytes(array(&self.0[..8]))
    }

    const fn is_again(&self) -> bool {
        self.0[52] != 0
    }

    fn len(&self) -> usize {
        u16::from_le_bytes(array(&self.0[54..])).into()
    }

    fn datagram<'a>(&self, payload: &'a [u8]) -> Datagram<'a> {
        Datagram {
            received_at: Timestamp::from_nanos(u64::from_le_bytes(array(&self.0[8..16]))),
            src: unpack(&self.0[16..34]),
            dst: unpack(&self.0[34..52]),
            transport: TRANSPORTS[usize::from(self.0[53]) % TRANSPORTS.len()],
            marks: IpMarks::UNKNOWN,
            payload,
        }
    }
}

/// The sending end of a ring of datagrams to another shard.
#[derive(Debug)]
pub struct HandoffSender(Producer<u8>);

/// The receiving end of a ring of datagrams from another shard.
#[derive(Debug)]
pub struct HandoffReceiver {
    bytes: Consumer<u8>,
    payload: Vec<u8>,
}

/// A ring of datagrams from one shard to another.
#[must_use]
pub fn handoff(capacity_bytes: usize) -> (HandoffSender, HandoffReceiver) {
    let (sender, receiver) = RingBuffer::new(capacity_bytes);
    let payload = Vec::with_capacity(usize::from(u16::MAX));
    (HandoffSender(sender), HandoffReceiver { bytes: receiver, payload })
}

impl HandoffSender {
    /// Passes a received datagram on to its owner; false if it did not fit.
    #[must_use]
    pub fn send(&mut self, datagram: &Datagram<'_>) -> bool {
        self.push(datagram, 0)
    }

    /// Passes on what the shard that holds the connection is to send, from `src` to `dst`; false if
    /// it did not fit.
    #[must_use]
    pub fn send_out(&mut self, datagram: &Datagram<'_>) -> bool {
        self.push(datagram, OUTGOING)
    }

    /// Tells of a source that has shown to be where it says; false if it did not fit.
    #[must_use]
    pub fn tell_verified(&mut self, source: IpAddr) -> bool {
        let src = SocketAddr::new(source, 0);
        let (received_at, transport) = (Timestamp::MIN, Transport::Udp);
        let marks = IpMarks::UNKNOWN;
        self.push(&Datagram { received_at, src, dst: src, transport, marks, payload: &[] }, NEWS)
    }

    fn push(&mut self, datagram: &Datagram<'_>, direction: u8) -> bool {
        let Ok(len) = u32::try_from(datagram.payload.len()) else { return false };
        if self.0.slots() < HEAD + datagram.payload.len() {
            return false;
        }
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&datagram.received_at.as_nanos().to_le_bytes());
        head[8..26].copy_from_slice(&pack(datagram.src));
        head[26..44].copy_from_slice(&pack(datagram.dst));
        head[44..48].copy_from_slice(&len.to_le_bytes());
        head[48] = direction | transport_number(datagram.transport);
        // Both fit, as was seen above. The receiver waits for the payload that a head announces.
        self.0.push_entire_slice(&head).is_ok()
            && self.0.push_entire_slice(datagram.payload).is_ok()
    }
}

impl HandoffReceiver {
    /// The next datagram, if one has come whole.
    pub fn receive(&mut self) -> Option<Handed<'_>> {
        let mut head = [0; HEAD];
        {
            let chunk = self.bytes.read_chunk(HEAD).ok()?;
            let (first, second) = chunk.as_slices();
            head[..first.len()].copy_from_slice(first);
            head[first.len()..].copy_from_slice(second);
        }
        let len = u32::from_le_bytes(array(&head[44..48])) as usize;
        if self.bytes.slots() < HEAD + len {
            return None;
        }
        self.bytes.pop_entire_slice(&mut head).ok()?;
        self.payload.resize(len, 0);
        self.bytes.pop_entire_slice(&mut self.payload).ok()?;
        let datagram = Datagram {
            received_at: Timestamp::from_nanos(u64::from_le_bytes(array(&head[..8]))),
            src: unpack(&head[8..26]),
            dst: unpack(&head[26..44]),
            transport: TRANSPORTS[usize::from(head[48] & !(OUTGOING | NEWS)) % TRANSPORTS.len()],
            marks: IpMarks::UNKNOWN,
            payload: &self.payload,
        };
        Some(if head[48] & NEWS != 0 {
            Handed::Verified(datagram.src.ip())
        } else if head[48] & OUTGOING == 0 {
            Handed::Received(datagram)
        } else {
            Handed::ToSend(datagram)
        })
    }
}

fn transport_number(transport: Transport) -> u8 {
    let number = TRANSPORTS.iter().position(|&known| known == transport);
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
}

/// An address as 16 bytes of IPv6, mapped if need be, and 2 of port.
fn pack(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_le_bytes());
    bytes
}

fn unpack(bytes: &[u8]) -> SocketAddr {
    let ip = IpAddr::V6(Ipv6Addr::from(array::<16>(&bytes[..16]))).to_canonical();
    SocketAddr::new(ip, u16::from_le_bytes(array(&bytes[16..18])))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

/// Time stamp, source, destination, length, and transport with direction of a datagram in a handoff
/// ring.
const HEAD: usize = 8 + 18 + 18 + 4 + 1;

/// Beside the number of the transport: it is to be sent.
const OUTGOING: u8 = 0x80;

/// Stands for a source that is where it says, and no message.
const NEWS: u8 = 0x40;

/// Transports by the numbers that they have in a ring.
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// Bytes before those of a message on its way to control.
const PASSED_HEAD: usize = 8 + 8 + 18 + 18 + 1 + 1 + 2;

/// Bytes of a message that a ladder may show.
const PASSED_BYTES_MAX: usize = 8192;

/// Sets of distributions under way between a shard and control.
const SPARE_DISTRIBUTIONS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(payload: &[u8]) -> Datagram<'_> {
        Datagram {
            received_at: Timestamp::from_secs(5),
            src: "192.0.2.1:5060".parse().unwrap(),
            dst: "[2001:db8::1]:5061".parse().unwrap(),
            transport: Transport::Udp,
            marks: IpMarks::UNKNOWN,
            payload,
        }
    }

    #[test]
    fn datagrams_come_out_as_they_went_in_around_the_end_of_the_ring() {
        let (mut sender, mut receiver) = handoff(200);
        for round in 0..50_usize {
            let payload = vec![7; 60 + round];
            assert!(sender.send(&datagram(&payload)));
            let Some(Handed::Received(received)) = receiver.receive() else { panic!() };
            assert_eq!(received.payload, payload);
            assert_eq!(received.src, datagram(&[]).src);
            assert_eq!(received.dst, datagram(&[]).dst);
            assert_eq!(received.received_at, Timestamp::from_secs(5));
            assert!(receiver.receive().is_none());
        }
    }

    fn payload(handed: Option<Handed<'_>>) -> Vec<u8> {
        match handed {
            Some(Handed::Received(Datagram { payload, .. })) => payload.to_vec(),
            _ => panic!("nothing was received"),
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_whole() {
        let (mut sender, mut receiver) = handoff(100);
        assert!(sender.send(&datagram(&[1; 40])));
        assert!(!sender.send(&datagram(&[2; 10])));
        assert_eq!(payload(receiver.receive()), [1; 40]);
        assert!(sender.send(&datagram(&[])));
        assert_eq!(payload(receiver.receive()), b"");
    }

    #[test]
    fn what_is_to_be_sent_keeps_its_transport() {
        let (mut sender, mut receiver) = handoff(200);
        for transport in TRANSPORTS {
            assert!(sender.send_out(&Datagram { transport, ..datagram(b"x") }));
            let Some(Handed::ToSend(sent)) = receiver.receive() else { panic!() };
            assert_eq!((sent.transport, sent.payload), (transport, &b"x"[..]));
        }
    }

    #[test]
    fn a_source_that_is_verified_is_told_of() {
        let (mut sender, mut receiver) = handoff(200);
        for source in ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()) {
            assert!(sender.tell_verified(source));
            assert!(matches!(receiver.receive(), Some(Handed::Verified(ip)) if ip == source));
        }
    }

    #[test]
    fn messages_come_to_control_as_they_passed_or_are_counted() {
        let (mut shard, mut control) = shard_to_control(4);
        let mut out = crate::shard::Outbox::default();
        let mut messages = 0;
        for round in 0..200_u64 {
            out.clear();
            let payload = vec![b'x'; 100 * usize::try_from(round).unwrap()];
            out.pass_received(round, &datagram(&payload), round % 2 == 0);
            assert_eq!(shard.pass(out.passed()), 0);
            control.drain_passed(9, |call, passed, is_again| {
                assert_eq!((call, is_again), (round, round % 2 == 0));
                assert_eq!(passed.payload, &payload[..payload.len().min(PASSED_BYTES_MAX)]);
                assert_eq!((passed.src, passed.dst), (datagram(&[]).src, datagram(&[]).dst));
                assert_eq!(passed.received_at, Timestamp::from_secs(5));
                messages += 1;
            });
        }
        assert_eq!(messages, 200);
        out.clear();
        (0..500).for_each(|call| out.pass_received(call, &datagram(&[1; 8192]), false));
        let lost = shard.pass(out.passed());
        let mut taken = 0;
        control.drain_passed(1000, |_, _, _| taken += 1);
        assert_eq!(lost + taken, 500);
        assert!(taken > 100 && lost > 100);
    }

    #[test]
    fn distributions_change_places_without_loss() {
        let (mut shard, mut control) = shard_to_control(4);
        let mut current = Box::<Distributions>::default();
        let mut all = Distributions::new();
        for value in 1..100 {
            current.rtt_us.saturating_record(value);
            shard.exchange(|empty| std::mem::replace(&mut current, empty));
            if value % 3 == 0 {
                control.drain_distributions(|filled| all.merge(filled));
            }
        }
        control.drain_distributions(|filled| all.merge(filled));
        assert_eq!(all.rtt_us.len() + current.rtt_us.len(), 99);
    }
}
