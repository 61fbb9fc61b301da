//! TCP streams that may hold SIP: segments brought into order, messages framed out of them.
//!
//! A stream of anything else is not followed beyond its beginning, and nothing grows without a
//! bound: neither streams, nor what they hold.

use core::time::Duration;
use std::net::SocketAddr;

use super::{chunk::Addressed, decoder::Messages, generations::Generations, totals::Ignored};
use crate::{
    source::sip_framing::{SipFraming, Verdict},
    time::Timestamp,
    wire::{
        IpMarks, Transport,
        frame::{Reason, TcpSegment},
    },
};

/// Both directions of all connections.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Generations<StreamKey, Stream>,
    /// Bytes that all streams hold.
    held: usize,
}

/// Source and destination.
type StreamKey = (SocketAddr, SocketAddr);

#[derive(Debug)]
enum Stream {
    /// A SYN was seen; this sequence number comes next.
    Opened(u32),
    NotSip,
    Followed(Box<Assembly>),
}

impl Streams {
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        segment: &TcpSegment<'_>,
        messages: &mut Messages,
        ignored: &mut Ignored,
    ) {
        if let Some(old) = self.streams.turn(now, IDLE_MAX, STREAMS_MAX / 2) {
            self.give_up(old.into_iter().collect(), messages, ignored);
        }
        let key = (segment.src, segment.dst);
        if segment.flags.syn() {
            self.open(key, segment.sequence, messages, ignored);
        }
        if segment.payload.is_empty() {
            ignored.add(Reason::TcpNoData, 1);
            return;
        }
        // A SYN has a sequence number of its own, before that of the first octet.
        let sequence = segment.sequence.wrapping_add(u32::from(segment.flags.syn()));
        if let Some(Stream::NotSip) = self.streams.renew(key) {
            ignored.add(Reason::TcpNotSip, 1);
            return;
        }
        let mut assembly = match self.streams.remove(&key) {
            Some(Stream::Followed(assembly)) => assembly,
            Some(Stream::Opened(next)) => {
                Box::new(Assembly::new(key, next, SipFraming::from_start()))
            }
            _ => Box::new(Assembly::new(key, sequence, SipFraming::from_middle())),
        };
        self.held -= assembly.held();
        let verdict = assembly.take(now, sequence, segment.payload, messages, ignored);
        if verdict == Verdict::NotSip {
            assembly.refuse(ignored);
            self.streams.insert(key, Stream::NotSip);
            return;
        }
        if self.held + assembly.held() > HELD_MAX {
            assembly.release(messages, ignored);
            assembly.framing.lose();
        }
        self.held += assembly.held();
        self.streams.insert(key, Stream::Followed(assembly));
    }

    /// Delivers what gaps held back, and gives up the rest.
    pub(super) fn finish(&mut self, messages: &mut Messages, ignored: &mut Ignored) {
        let all = self.streams.drain().collect();
        self.give_up(all, messages, ignored);
    }

    /// A SYN: of this connection, seen again, or of another one with the same ports.
    fn open(
        &mut self,
        key: StreamKey,
        sequence: u32,
        messages: &mut Messages,
        ignored: &mut Ignored,
    ) {
        let next = sequence.wrapping_add(1);
        match self.streams.remove(&key) {
            Some(Stream::Followed(assembly)) if assembly.began_at == next => {
                self.streams.insert(key, Stream::Followed(assembly));
                return;
            }
            Some(Stream::Followed(assembly)) => {
                self.held -= assembly.held();
                assembly.finish(messages, ignored);
            }
            _ => {}
        }
        self.streams.insert(key, Stream::Opened(next));
    }

    /// In the order of their addresses, so that the same capture gives the same frames.
    fn give_up(
        &mut self,
        mut old: Vec<(StreamKey, Stream)>,
        messages: &mut Messages,
        ignored: &mut Ignored,
    ) {
        old.sort_unstable_by_key(|(key, _)| *key);
        for (_, stream) in old {
            if let Stream::Followed(assembly) = stream {
                self.held -= assembly.held();
                assembly.finish(messages, ignored);
            }
        }
    }
}

/// One direction of a connection that may be SIP.
#[derive(Debug)]
struct Assembly {
    addressed: Addressed,
    began_at: u32,
    /// The sequence number of the octet that comes next.
    next: u32,
    framing: SipFraming,
    /// Segments behind a gap, in order.
    waiting: Vec<(u32, Box<[u8]>)>,
    waiting_bytes: usize,
    /// Since when there has been a gap.
    gap_since: Timestamp,
    /// Segments taken before it was known what they are.
    undecided: u64,
}

impl Assembly {
    const fn new(key: StreamKey, next: u32, framing: SipFraming) -> Self {
        Self {
            addressed: Addressed {
                src: key.0,
                dst: key.1,
                transport: Transport::Tcp,
                marks: IpMarks::UNKNOWN,
            },
            began_at: next,
            next,
            framing,
            waiting: Vec::new(),
            waiting_bytes: 0,
            gap_since: Timestamp::MIN,
            undecided: 0,
        }
    }

    const fn held(&self) -> usize {
        self.waiting_bytes + self.framing.waiting()
    }

    fn take(
        &mut self,
        now: Timestamp,
        sequence: u32,
        payload: &[u8],
        messages: &mut Messages,
        ignored: &mut Ignored,
    ) -> Verdict {
        if self.distance(sequence).unsigned_abs() > DISTANCE_MAX {
            // Another connection, or the same after much that was not captured.
            self.release(messages, ignored);
            self.framing.lose();
            self.next = sequence;
        }
        if self.distance(sequence) > 0 {
            self.wait(now, sequence, payload, ignored);
            return self.bound_gaps(now, messages, ignored);
        }
        let verdict = self.append(sequence, payload, messages, ignored);
        self.catch_up(verdict, messages, ignored)
    }

    /// Where a sequence number is, seen from the one that comes next (RFC 9293 section 3.4:
    /// numbers wrap).
    const fn distance(&self, sequence: u32) -> i32 {
        sequence.wrapping_sub(self.next).cast_signed()
    }

    /// Gives the framing what a segment has that is new.
    fn append(
        &mut self,
        sequence: u32,
        payload: &[u8],
        messages: &mut Messages,
        ignored: &mut Ignored,
    ) -> Verdict {
        let known = self.next.wrapping_sub(sequence) as usize;
        let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) else {
            ignored.add(Reason::Duplicate, 1);
            return Verdict::Undecided;
        };
        #[expect(clippy::cast_possible_truncation, reason = "a segment is shorter than 4 GiB")]
        let len = new.len() as u32;
        self.next = self.next.wrapping_add(len);
        let addressed = self.addressed;
        let verdict = self.framing.take(new, |message| messages.push(addressed, message));
        ignored.add(Reason::SipTooLong, self.framing.take_too_long());
        self.undecided = if verdict == Verdict::Sip { 0 } else { self.undecided + 1 };
        verdict
    }

    /// Appends the segments that no gap holds back any more.
    fn catch_up(
        &mut self,
        mut verdict: Verdict,
        messages: &mut Messages,
        ignored: &mut Ignored,
    ) -> Verdict {
        while verdict != Verdict::NotSip {
            let Some((sequence, _)) = self.waiting.first() else { break };
            if self.distance(*sequence) > 0 {
                break;
            }
            let (sequence, payload) = self.waiting.remove(0);
            self.waiting_bytes -= payload.len();
            verdict = self.append(sequence, &payload, messages, ignored);
        }
        verdict
    }

    /// Puts a segment among those behind a gap.
    fn wait(&mut self, now: Timestamp, sequence: u32, payload: &[u8], ignored: &mut Ignored) {
        let distance = self.distance(sequence);
        let index = self.waiting.partition_point(|(other, _)| self.distance(*other) < distance);
        let known = self.waiting.get(index).filter(|(other, _)| *other == sequence);
        if known.is_some_and(|(_, known)| known.len() >= payload.len()) {
            ignored.add(Reason::Duplicate, 1);
            return;
        }
        if self.waiting.is_empty() {
            self.gap_since = now;
        }
        self.waiting_bytes += payload.len();
        self.waiting.insert(index, (sequence, payload.into()));
    }

    /// Passes over gaps that too much, or for too long, has waited behind.
    fn bound_gaps(
        &mut self,
        now: Timestamp,
        messages: &mut Messages,
        ignored: &mut Ignored,
    ) -> Verdict {
        let mut verdict = Verdict::Undecided;
        let is_late = now.since(self.gap_since) > GAP_MAX;
        while verdict != Verdict::NotSip
            && (self.waiting.len() > WAITING_MAX
                || self.waiting_bytes > WAITING_BYTES_MAX
                || (is_late && !self.waiting.is_empty()))
        {
            verdict = self.pass_gap(messages, ignored);
            self.gap_since = now;
        }
        verdict
    }

    fn pass_gap(&mut self, messages: &mut Messages, ignored: &mut Ignored) -> Verdict {
        let Some((sequence, _)) = self.waiting.first() else { return Verdict::Undecided };
        self.next = *sequence;
        if self.framing.waiting() > 0 {
            ignored.add(Reason::TcpIncomplete, 1);
        }
        self.framing.lose();
        self.catch_up(Verdict::Undecided, messages, ignored)
    }

    /// Delivers what waits behind gaps, without what is missing in them.
    fn release(&mut self, messages: &mut Messages, ignored: &mut Ignored) {
        while !self.waiting.is_empty() {
            if self.pass_gap(messages, ignored) == Verdict::NotSip {
                break;
            }
        }
        self.waiting_bytes = 0;
        ignored.add(Reason::TcpNotSip, self.waiting.drain(..).count() as u64);
    }

    /// Counts what was taken before it was known not to be SIP.
    fn refuse(&mut self, ignored: &mut Ignored) {
        let segments = self.undecided + self.waiting.drain(..).count() as u64;
        ignored.add(Reason::TcpNotSip, segments);
    }

    fn finish(mut self: Box<Self>, messages: &mut Messages, ignored: &mut Ignored) {
        self.release(messages, ignored);
        if !self.framing.is_sip() {
            self.refuse(ignored);
        } else if self.framing.waiting() > 0 {
            ignored.add(Reason::TcpIncomplete, 1);
        }
    }
}

/// Directions of connections that are known at once, some 100 bytes each.
const STREAMS_MAX: usize = 65_536;
/// A connection without a segment for this long is forgotten within twice that. Keep-alives come
/// every 120 s at the latest (RFC 5626 section 4.4.1).
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Bytes that all streams together hold.
const HELD_MAX: usize = 16 << 20;
/// How far ahead or back a segment of the same connection is: the largest usual window.
const DISTANCE_MAX: u32 = 1 << 20;
/// What waits behind a gap: some round trips' worth of what a sender does not repeat.
const WAITING_MAX: usize = 128;
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// How long a gap is waited for: several retransmissions (RFC 6298 has the first after 1 s).
const GAP_MAX: Duration = Duration::from_secs(5);
