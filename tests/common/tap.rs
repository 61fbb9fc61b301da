//! A tap between phones: what passes it, in order of time, and what an observing shard and control
//! make of that.
//!
//! Never answers, and fails the test if the shard does. Messages are templates of text.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]

use core::time::Duration;
use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use fastrand::Rng;
use voxplane::{
    control::{
        Calls,
        record::{CallRecord, Snapshot, StreamRecord},
    },
    shard::{Outbox, Role, Shard, ShardConfig, health::ShardHealth},
    time::Timestamp,
};

use crate::common::{Flight, START, addr, datagram, ms, offer, rtp};

/// What passes the tap.
#[derive(Clone, Debug, Default)]
pub struct Tap {
    /// By time since the start, in the order in which they were told.
    passing: Vec<(Duration, Flight)>,
}

/// What is known once all has passed.
#[derive(Debug)]
pub struct Seen {
    pub snapshot: Snapshot,
    pub health: ShardHealth,
    pub shard: Shard,
}

impl Tap {
    /// Lets a datagram pass, so long after the start.
    pub fn see(&mut self, at: Duration, flight: Flight) {
        self.passing.push((at, flight));
    }

    /// Lets any bytes pass.
    pub fn raw(&mut self, at: Duration, src: SocketAddr, dst: SocketAddr, bytes: &[u8]) {
        self.see(at, Flight { src, dst, bytes: bytes.to_vec() });
    }

    /// Lets an unimpaired stream pass.
    pub fn speech(&mut self, at: Duration, speech: &Speech) {
        for (index, (after, flight)) in speech.packets().into_iter().enumerate() {
            if !speech.gaps.contains(&u32::try_from(index).expect("few")) {
                self.see(at + after, flight);
            }
        }
    }

    /// Lets a stream pass behind a network that loses, repeats and holds back, and says what
    /// it did.
    pub fn impaired(&mut self, at: Duration, speech: &Speech, rng: &mut Rng, by: Harm) -> Truth {
        let mut arrivals = Vec::new();
        for (index, (after, flight)) in speech.packets().into_iter().enumerate() {
            if rng.f64() < by.loss {
                continue;
            }
            let copies = 1 + u32::from(rng.f64() < by.duplicate);
            for _ in 0..copies {
                let held = if rng.f64() < by.reorder { ms(45) } else { Duration::ZERO };
                arrivals.push((at + after + held + ms(rng.u64(0..8)), index, flight.clone()));
            }
        }
        arrivals.sort_by_key(|(at, ..)| *at);
        let truth = Truth::of(arrivals.iter().map(|(_, index, _)| *index));
        self.passing.extend(arrivals.into_iter().map(|(at, _, flight)| (at, flight)));
        truth
    }

    /// INVITE, 100, 180 after 100 ms, 200 after 500 ms, ACK.
    pub fn set_up(&mut self, at: Duration, talk: &Talk) {
        self.see(at, talk.invite());
        self.see(at + ms(2), talk.reply(100, "INVITE", 1, ""));
        self.see(at + ms(100), talk.reply(180, "INVITE", 1, ""));
        self.see(at + ms(500), talk.reply(200, "INVITE", 1, &talk.answer));
        self.see(at + ms(520), talk.forth("ACK", 1, ""));
    }

    /// BYE of the caller, and its 200.
    pub fn hang_up(&mut self, at: Duration, talk: &Talk) {
        self.see(at, talk.forth("BYE", 9, ""));
        self.see(at + ms(10), talk.reply(200, "BYE", 9, ""));
    }

    /// Speech both ways, between the addresses of the session descriptions.
    pub fn talk(&mut self, at: Duration, talk: &Talk, count: u32) {
        self.speech(at, &talk.speech_forth(count));
        self.speech(at + ms(7), &talk.speech_back(count));
    }

    /// What passes, in no order.
    pub fn passing(&self) -> &[(Duration, Flight)] {
        &self.passing
    }

    /// What is known at the end.
    pub fn run(&self) -> Seen {
        self.run_in(64)
    }

    /// The same, in batches of at most so many datagrams.
    pub fn run_in(&self, batch_max: usize) -> Seen {
        self.follow(batch_max, None)
    }

    /// What is known at a moment, when nothing later has passed.
    pub fn run_until(&self, until: Duration) -> Seen {
        self.follow(64, Some(until))
    }

    fn follow(&self, batch_max: usize, until: Option<Duration>) -> Seen {
        let mut passing = self.passing.clone();
        passing.sort_by_key(|(at, _)| *at);
        passing.retain(|(at, _)| until.is_none_or(|until| *at <= until));
        let mut observer = Observer::new();
        for part in passing.chunk_by(|(a, _), (b, _)| tick_after(*a) == tick_after(*b)) {
            for batch in part.chunks(batch_max) {
                observer.take_in(batch);
            }
        }
        match until {
            Some(until) => observer.run_until(until),
            None => observer.finish(passing.last().map_or(Duration::ZERO, |(at, _)| *at)),
        }
        let snapshot = observer.calls.snapshot(START + observer.now);
        Seen { snapshot, health: observer.shard.health(), shard: observer.shard }
    }
}

/// The first tick that is not before a moment.
const fn tick_after(at: Duration) -> u128 {
    at.as_nanos().div_ceil(TICK.as_nanos())
}

/// An observing shard with control behind it, driven as a capture is.
struct Observer {
    shard: Shard,
    calls: Calls,
    out: Outbox,
    now: Duration,
    ticks: u32,
}

impl Observer {
    fn new() -> Self {
        let config = ShardConfig { role: Role::Observe, ..ShardConfig::default() };
        Self {
            shard: Shard::new(config),
            calls: Calls::new(START, 100_000),
            out: Outbox::default(),
            now: Duration::ZERO,
            ticks: 0,
        }
    }

    /// Hands over datagrams that pass between two ticks.
    fn take_in(&mut self, batch: &[(Duration, Flight)]) {
        let (first, last) = (batch[0].0, batch[batch.len() - 1].0);
        self.tick_before(first);
        let batch: Vec<_> =
            batch.iter().map(|(at, flight)| datagram(flight, START + *at)).collect();
        self.shard.handle(&batch, &mut self.out);
        self.now = last;
        self.collect();
    }

    /// Polls at all ticks before a moment.
    fn tick_before(&mut self, until: Duration) {
        while TICK * self.ticks < until {
            let now = TICK * self.ticks;
            self.poll(START + now);
            self.ticks += 1;
        }
    }

    fn poll(&mut self, now: Timestamp) {
        for _ in 0..POLLS_MAX {
            let deadline = self.shard.poll(now, &mut self.out);
            if deadline.is_none_or(|deadline| deadline > now) {
                self.collect();
                return;
            }
        }
        panic!("the shard never rests");
    }

    fn run_until(&mut self, until: Duration) {
        self.tick_before(until);
        self.now = until;
    }

    fn finish(&mut self, at: Duration) {
        self.run_until(at);
        self.shard.finish(START + at, &mut self.out);
        self.collect();
    }

    fn collect(&mut self) {
        assert_eq!(self.out.transmits().len(), 0, "who observes says nothing");
        for report in self.out.reports() {
            self.calls.apply(report);
        }
        self.out.clear();
    }
}

impl Seen {
    /// All calls, finished ones first.
    pub fn calls(&self) -> Vec<Arc<CallRecord>> {
        self.snapshot.history.iter().chain(&self.snapshot.active).cloned().collect()
    }

    /// The one call with a Call-ID.
    pub fn call(&self, call_id: &str) -> Arc<CallRecord> {
        let mut calls = self.calls();
        calls.retain(|call| call.call_id == call_id);
        assert_eq!(calls.len(), 1, "calls {call_id}: {calls:#?}");
        calls.remove(0)
    }

    /// The one call there is.
    pub fn only_call(&self) -> Arc<CallRecord> {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:#?}");
        calls.remove(0)
    }

    /// All streams, of calls and of none.
    pub fn streams(&self) -> Vec<StreamRecord> {
        let calls = self.calls();
        let of_calls = calls.iter().flat_map(|call| call.streams.records());
        of_calls.chain(self.snapshot.orphans.iter().map(|stream| (**stream).clone())).collect()
    }

    /// Streams of a source, of calls and of none.
    pub fn streams_of(&self, ssrc: u32) -> Vec<StreamRecord> {
        self.streams().into_iter().filter(|stream| stream.ssrc.0 == ssrc).collect()
    }

    /// Fails unless every stream belongs to a call.
    pub fn assert_no_orphans(&self) {
        assert!(self.snapshot.orphans.is_empty(), "{:#?}", self.snapshot.orphans);
    }

    /// Fails if there is any stream.
    pub fn assert_no_streams(&self) {
        let streams = self.streams();
        assert!(streams.is_empty(), "{streams:#?}");
    }
}

/// The streams of a call from one source.
pub fn from_source(call: &CallRecord, ssrc: u32) -> Vec<StreamRecord> {
    call.streams.records().filter(|stream| stream.ssrc.0 == ssrc).collect()
}

/// The one stream of a call from a source.
pub fn one_stream(call: &CallRecord, ssrc: u32) -> StreamRecord {
    let mut streams = from_source(call, ssrc);
    assert_eq!(streams.len(), 1, "0x{ssrc:08x} in {call:#?}");
    streams.remove(0)
}

/// Counts of streams together: received, expected, duplicate, out of order.
pub fn sum(streams: &[StreamRecord]) -> Truth {
    let of = |value: fn(&StreamRecord) -> Option<u64>| -> u64 {
        streams.iter().map(|stream| value(stream).expect("a count")).sum()
    };
    let truth = Truth {
        received: of(|stream| stream.packets_received),
        expected: of(|stream| stream.packets_expected),
        duplicate: of(|stream| stream.packets_duplicate),
        out_of_order: of(|stream| stream.packets_out_of_order),
    };
    assert_eq!(of(|stream| stream.packets_lost), truth.expected - truth.received);
    truth
}

/// Fails unless a call has one stream of a source, with all of `count` packets received.
pub fn assert_whole(call: &CallRecord, ssrc: u32, count: u32) {
    let stream = one_stream(call, ssrc);
    assert_eq!(sum(core::slice::from_ref(&stream)), Truth::whole(count), "{stream:#?}");
}

/// One call as two phones make it, or one hop of it.
#[derive(Clone, Debug)]
pub struct Talk {
    pub call_id: String,
    /// SIP addresses.
    pub caller: SocketAddr,
    pub callee: SocketAddr,
    /// Addresses of the session descriptions.
    pub caller_media: SocketAddr,
    pub callee_media: SocketAddr,
    pub from_tag: String,
    pub to_tag: String,
    pub offer: String,
    pub answer: String,
    /// Via lines below those that the sender adds.
    pub below: String,
    /// Header lines that every message has besides the usual ones.
    pub more: String,
    /// Makes branches differ where all else is the same.
    pub salt: u32,
    /// Source of the caller's media; that of the callee is one more.
    pub ssrc: u32,
}

impl Talk {
    /// A call from 198.51.100.1 to 203.0.113.2 with PCMU from port 4000 to port 6000.
    pub fn new(call_id: &str) -> Self {
        Self::between(
            call_id,
            ["198.51.100.1:5060", "203.0.113.2:5060"],
            ["198.51.100.1:4000", "203.0.113.2:6000"],
        )
    }

    /// A call between SIP addresses and media addresses, caller's first.
    pub fn between(call_id: &str, sip: [&str; 2], media: [&str; 2]) -> Self {
        let [caller_media, callee_media] = media.map(addr);
        Self {
            call_id: call_id.to_owned(),
            caller: addr(sip[0]),
            callee: addr(sip[1]),
            caller_media,
            callee_media,
            from_tag: format!("f-{call_id}"),
            to_tag: format!("t-{call_id}"),
            offer: offer(caller_media, "sendrecv"),
            answer: offer(callee_media, "sendrecv"),
            below: String::new(),
            more: String::new(),
            salt: 0,
            ssrc: 0xA000_0000,
        }
    }

    /// The same call with media on other ports.
    #[must_use]
    pub fn on_ports(mut self, caller: u16, callee: u16) -> Self {
        self.caller_media.set_port(caller);
        self.callee_media.set_port(callee);
        self.offer = offer(self.caller_media, "sendrecv");
        self.answer = offer(self.callee_media, "sendrecv");
        self
    }

    /// The hops before and behind a proxy that records its route.
    pub fn through(&self, proxy: &str) -> [Self; 2] {
        let proxy = addr(proxy);
        let before = Self { callee: proxy, ..self.clone() };
        let via = format!("Via: SIP/2.0/UDP {};branch=z9hG4bK-below\r\n", self.caller);
        let more = format!("{}Record-Route: <sip:{proxy};lr>\r\n", self.more);
        let behind = Self { caller: proxy, below: via, more, salt: self.salt + 1, ..self.clone() };
        [before, behind]
    }

    /// The first INVITE.
    pub fn invite(&self) -> Flight {
        let text = self.text(&start_of("INVITE"), Way::Forth, false, "INVITE", 1, &self.offer);
        flight(self.caller, self.callee, &text)
    }

    /// A first INVITE with another CSeq, such as one with credentials.
    pub fn invite_again(&self, cseq: u32) -> Flight {
        let text = self.text(&start_of("INVITE"), Way::Forth, false, "INVITE", cseq, &self.offer);
        flight(self.caller, self.callee, &text)
    }

    pub fn cancel(&self) -> Flight {
        let text = self.text(&start_of("CANCEL"), Way::Forth, false, "CANCEL", 1, "");
        flight(self.caller, self.callee, &text)
    }

    /// A request of the caller within the dialog.
    pub fn forth(&self, method: &str, cseq: u32, body: &str) -> Flight {
        let text = self.text(&start_of(method), Way::Forth, true, method, cseq, body);
        flight(self.caller, self.callee, &text)
    }

    /// A request of the callee within the dialog.
    pub fn back(&self, method: &str, cseq: u32, body: &str) -> Flight {
        let text = self.text(&start_of(method), Way::Back, true, method, cseq, body);
        flight(self.callee, self.caller, &text)
    }

    /// The callee's response to a request of the caller.
    pub fn reply(&self, status: u16, method: &str, cseq: u32, body: &str) -> Flight {
        let start = format!("SIP/2.0 {status} Words");
        let text = self.text(&start, Way::Forth, status > 100, method, cseq, body);
        flight(self.callee, self.caller, &text)
    }

    /// The caller's response to a request of the callee.
    pub fn reply_back(&self, status: u16, method: &str, cseq: u32, body: &str) -> Flight {
        let start = format!("SIP/2.0 {status} Words");
        let text = self.text(&start, Way::Back, true, method, cseq, body);
        flight(self.caller, self.callee, &text)
    }

    /// Speech of the caller.
    pub fn speech_forth(&self, count: u32) -> Speech {
        Speech::new(self.caller_media, self.callee_media, self.ssrc, count)
    }

    /// Speech of the callee.
    pub fn speech_back(&self, count: u32) -> Speech {
        Speech::new(self.callee_media, self.caller_media, self.ssrc + 1, count)
    }

    /// The source of the callee's media.
    pub const fn ssrc_back(&self) -> u32 {
        self.ssrc + 1
    }

    fn text(
        &self,
        start: &str,
        way: Way,
        is_tagged: bool,
        method: &str,
        cseq: u32,
        body: &str,
    ) -> String {
        let Self { call_id, below, more, salt, from_tag, to_tag, .. } = self;
        // The ACK of a failure and a CANCEL share the INVITE's branch (RFC 3261 section 17.1.1.3);
        // that of a 2xx has its own, which nothing here depends on.
        let of = if matches!(method, "CANCEL" | "ACK") { "INVITE" } else { method };
        let sender = if way == Way::Forth { self.caller } else { self.callee };
        let (alice, bob) = (format!("\"Alice\" <{ALICE}>"), format!("<{BOB}>"));
        let is_request = !start.starts_with("SIP/2.0");
        let (from, from_tag, to, to_tag) = match way {
            Way::Forth => (alice, from_tag, bob, to_tag),
            Way::Back => (bob, to_tag, alice, from_tag),
        };
        let is_from_caller = is_request == (way == Way::Forth);
        let agent = match (is_request, is_from_caller) {
            (true, true) => "User-Agent: Alice phone 1.0\r\n",
            (true, false) => "User-Agent: Bob phone 2.0\r\n",
            (false, _) => "Server: Some server\r\n",
        };
        let contact = if is_from_caller { self.caller } else { self.callee };
        let mut text = format!(
            "{start}\r\n\
             Via: SIP/2.0/UDP {sender};rport;branch=z9hG4bK-{call_id}-{of}-{cseq}-{way:?}-{salt}\r\n\
             {below}Max-Forwards: 70\r\n\
             From: {from};tag={from_tag}\r\n\
             To: {to}"
        );
        if is_tagged {
            write!(text, ";tag={to_tag}").expect("memory");
        }
        write!(
            text,
            "\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{contact}>\r\n\
             {agent}{more}"
        )
        .expect("memory");
        if !body.is_empty() && !more.contains("Content-Type") {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        write!(text, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("memory");
        text
    }
}

/// Who sent the request that a message is or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forth,
    Back,
}

fn start_of(method: &str) -> String {
    format!("{method} {BOB} SIP/2.0")
}

pub fn flight(src: SocketAddr, dst: SocketAddr, text: &str) -> Flight {
    Flight { src, dst, bytes: text.as_bytes().to_vec() }
}

/// A session description of one audio stream with formats such as `96 opus/48000/2`.
pub fn sdp(media: SocketAddr, formats: &[&str]) -> String {
    let (ip, family) = (media.ip(), if media.is_ipv4() { "IP4" } else { "IP6" });
    let mut text =
        format!("v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n");
    text.push_str(&media_lines("audio", media.port(), "RTP/AVP", formats));
    text
}

/// One media description.
pub fn media_lines(kind: &str, port: u16, protocol: &str, formats: &[&str]) -> String {
    let numbers: Vec<_> =
        formats.iter().map(|format| format.split(' ').next().expect("a number")).collect();
    let mut text = format!("m={kind} {port} {protocol} {}\r\n", numbers.join(" "));
    for format in formats {
        write!(text, "a=rtpmap:{format}\r\n").expect("memory");
    }
    text
}

/// A stream as it is sent: from one address to another, from one source.
#[derive(Clone, Debug)]
pub struct Speech {
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub ssrc: u32,
    pub payload_type: u8,
    pub first: u16,
    pub rtp_time: u32,
    /// RTP clock ticks of a packet of 20 ms.
    pub ticks: u32,
    pub count: u32,
    /// Indices of packets that are lost before the tap.
    pub gaps: Vec<u32>,
}

impl Speech {
    pub const fn new(src: SocketAddr, dst: SocketAddr, ssrc: u32, count: u32) -> Self {
        Self {
            src,
            dst,
            ssrc,
            payload_type: 0,
            first: 65_500,
            rtp_time: 0xFFFF_F000,
            ticks: 160,
            count,
            gaps: Vec::new(),
        }
    }

    /// The same stream in another format.
    #[must_use]
    pub const fn with_format(mut self, payload_type: u8, ticks: u32) -> Self {
        (self.payload_type, self.ticks) = (payload_type, ticks);
        self
    }

    /// What the same source sends next.
    #[must_use]
    pub fn going_on(&self, count: u32) -> Self {
        let mut next = self.clone();
        next.first = self.first.wrapping_add(u16::try_from(self.count).expect("few"));
        next.rtp_time = self.rtp_time.wrapping_add(self.count * self.ticks);
        next.count = count;
        next
    }

    /// The packets with their times, in the order of sending.
    pub fn packets(&self) -> Vec<(Duration, Flight)> {
        let packet = |index: u32| {
            let sequence = self.first.wrapping_add(u16::try_from(index).expect("few"));
            let time = self.rtp_time.wrapping_add(index.wrapping_mul(self.ticks));
            let bytes = rtp(self.payload_type, index == 0, sequence, time, self.ssrc);
            (ms(20) * index, Flight { src: self.src, dst: self.dst, bytes })
        };
        (0..self.count).map(packet).collect()
    }
}

/// Probabilities of what a network does to a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Harm {
    pub loss: f64,
    pub duplicate: f64,
    /// Share of packets that are held back by 45 ms.
    pub reorder: f64,
}

/// What became of a stream before the tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub received: u64,
    pub expected: u64,
    pub duplicate: u64,
    pub out_of_order: u64,
}

impl Truth {
    /// Everything came, once and in order.
    pub const fn whole(count: u32) -> Self {
        let count = count as u64;
        Self { received: count, expected: count, duplicate: 0, out_of_order: 0 }
    }

    /// From the packets' places in the order of sending, in their order of arrival.
    fn of(arrivals: impl Iterator<Item = usize>) -> Self {
        let mut truth = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        for index in arrivals {
            let highest = seen.last().copied();
            if !seen.insert(index) {
                truth.duplicate += 1;
                continue;
            }
            truth.received += 1;
            truth.out_of_order += u64::from(highest.is_some_and(|highest| index < highest));
        }
        if let (Some(first), Some(last)) = (seen.first(), seen.last()) {
            truth.expected = (last - first + 1) as u64;
        }
        truth
    }
}

/// An RTCP sender report of a source, sent at a time of its own clock, with blocks about others.
pub fn sender_report(ssrc: u32, ntp: u64, blocks: &[Block]) -> Vec<u8> {
    let mut bytes = rtcp_header(200, 6 + 6 * blocks.len(), blocks.len(), ssrc);
    bytes.extend(ntp.to_be_bytes());
    bytes.extend([0; 12]);
    blocks.iter().for_each(|block| block.write(&mut bytes));
    with_cname(bytes, ssrc)
}

/// An RTCP receiver report of a source.
pub fn receiver_report(ssrc: u32, blocks: &[Block]) -> Vec<u8> {
    let mut bytes = rtcp_header(201, 1 + 6 * blocks.len(), blocks.len(), ssrc);
    blocks.iter().for_each(|block| block.write(&mut bytes));
    with_cname(bytes, ssrc)
}

/// A report block: about whom, its last sender report, and how long ago that came, in units of
/// 1/65536 s.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub about: u32,
    pub lsr: u32,
    pub dlsr: u32,
}

impl Block {
    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.about.to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend(self.lsr.to_be_bytes());
        bytes.extend(self.dlsr.to_be_bytes());
    }
}

/// The middle 32 bits of an NTP time.
#[expect(clippy::cast_possible_truncation, reason = "the middle is the point")]
pub const fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A duration in units of 1/65536 s.
pub fn ntp_units(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros() * 65_536 / 1_000_000).expect("less than a day")
}

fn rtcp_header(kind: u8, words: usize, count: usize, ssrc: u32) -> Vec<u8> {
    let mut bytes = vec![0x80 | u8::try_from(count).expect("few"), kind, 0];
    bytes.push(u8::try_from(words).expect("few"));
    bytes.extend(ssrc.to_be_bytes());
    bytes
}

fn with_cname(mut bytes: Vec<u8>, ssrc: u32) -> Vec<u8> {
    bytes.extend([0x81, 202, 0, 3]);
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(*b"\x01\x04cnam\0\0");
    bytes
}

/// The URIs of all callers and callees.
pub const ALICE: &str = "sip:alice@a.example";
pub const BOB: &str = "sip:bob@b.example";

/// How often the driver of a capture polls.
const TICK: Duration = ms(50);

/// More than any turn here needs.
const POLLS_MAX: u32 = 1000;
