//! More SIP than is good for all: floods of one source and of forged ones, malformed requests, and
//! requests made to have much sent to a stranger. Calls of others go on as if there were none, memory
//! stays within its bounds, and what is not handled is counted.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::net::SocketAddr;

use common::{Caller, Flight, START, Sent, addr, datagram, ms, secs};
use proptest::prelude::*;
use voxplane::{
    shard::{
        Outbox, Shard, ShardConfig,
        admission::SipLimits,
        health::{ShardHealth, Shed},
    },
    time::Timestamp,
    wire::{Datagram, Transport},
};

const GOOD: &str = "198.51.100.1:5060";
const BAD: &str = "203.0.113.66:5060";

/// A shard and the time. Answers to `GOOD` are kept, those to others only measured.
struct Net {
    shard: Shard,
    out: Outbox,
    now: Timestamp,
    kept: Vec<Sent>,
    /// Datagrams and bytes that others were sent.
    others: (u64, u64),
}

impl Net {
    fn new(config: ShardConfig) -> Self {
        let (shard, out) = (Shard::new(config), Outbox::default());
        Self { shard, out, now: START, kept: Vec::new(), others: (0, 0) }
    }

    fn deliver(&mut self, src: SocketAddr, text: &str) {
        let flight = Flight { src, dst: addr(common::US), bytes: text.into() };
        self.shard.handle(&[datagram(&flight, self.now)], &mut self.out);
    }

    /// Lets the shard do what is due, and takes what it has sent.
    fn turn(&mut self) {
        while self.shard.poll(self.now, &mut self.out).is_some_and(|next| next <= self.now) {}
        for (transmit, bytes) in self.out.transmits() {
            if transmit.dst.ip() == addr(GOOD).ip() {
                let (src, dst, bytes) = (transmit.src, transmit.dst, bytes.to_vec());
                self.kept.push(Sent { at: self.now, src, dst, bytes });
            } else {
                self.others.0 += 1;
                self.others.1 += bytes.len() as u64;
            }
        }
        self.out.clear();
    }

    fn exchange(&mut self, src: SocketAddr, text: &str) -> Vec<u16> {
        self.deliver(src, text);
        self.turn();
        self.kept.drain(..).map(|sent| sent.status()).collect()
    }

    /// One call of `GOOD` from INVITE to BYE; how much of it was answered.
    fn call(&mut self, name: &str) -> bool {
        let mut caller = Caller::new(GOOD, name);
        self.deliver(caller.addr, &caller.invite());
        self.turn();
        let answers = core::mem::take(&mut self.kept);
        let Some(answer) = answers.iter().find(|sent| sent.status() == 200) else { return false };
        caller.to_tag = answer.to_tag();
        self.deliver(caller.addr, &caller.request("ACK", 1, ""));
        self.exchange(caller.addr, &caller.request("BYE", 2, "")) == [200]
    }

    fn health(&self) -> ShardHealth {
        self.shard.health()
    }

    fn shed(&self) -> Shed {
        self.health().shed
    }
}

fn config() -> ShardConfig {
    ShardConfig { seed: 7, ..ShardConfig::default() }
}

/// 100,000 INVITEs a second for two seconds from sources that `source` makes up, with 100 good calls
/// among them. Gives back how many of the good ones came about.
fn flood(net: &mut Net, mut source: impl FnMut(u32) -> SocketAddr) -> usize {
    let mut answered = 0;
    for step in 0..2000 {
        net.now = START + secs(10) + ms(step);
        for index in 0..100 {
            let number = u32::try_from(step).unwrap() * 100 + index;
            let src = source(number);
            net.deliver(src, &Caller::new(&src.to_string(), &format!("bad-{number}")).invite());
        }
        net.turn();
        if step % 20 == 0 {
            answered += usize::from(net.call(&format!("good-{step}")));
        }
    }
    answered
}

/// Of one source that answers nothing only half of what all strangers may send comes through, and of
/// that no more calls than its share of the table. Callers that are known notice nothing, and there
/// is room for those that are not.
#[test]
fn of_one_source() {
    let mut net = Net::new(ShardConfig { dialogs_max: 4000, ..config() });
    assert!(net.call("before"));
    assert_eq!(flood(&mut net, |_| addr(BAD)), 100);
    // A burst of 1,000, and one for each millisecond after the first.
    let Shed { source, unverified, calls, .. } = net.shed();
    assert_eq!((source, unverified), (0, 197_001), "{:?}", net.shed());
    assert_eq!((calls, net.health().calls_active), (1999, 1000));
    assert_eq!((net.health().calls_refused, net.health().own_drops()), (0, 0));
    let newcomer = Caller::new("198.51.100.1:7000", "newcomer");
    assert_eq!(net.exchange(newcomer.addr, &newcomer.invite()), [100, 180, 200]);
}

/// The same with another source on every datagram: all of them together have a bound.
#[test]
fn of_many_forged_sources() {
    let mut net = Net::new(ShardConfig { dialogs_max: 4000, ..config() });
    assert!(net.call("before"));
    let mut rng = fastrand::Rng::with_seed(1);
    let source = |_| SocketAddr::new((0x0A00_0000 | rng.u32(..1 << 24)).to_be_bytes().into(), 5060);
    assert_eq!(flood(&mut net, source), 100);
    let Shed { source, unverified, calls, .. } = net.shed();
    assert_eq!((source, unverified), (0, 194_002), "{:?}", net.shed());
    assert_eq!((calls, net.health().calls_active), (4998, 1000));
    // Calls that never get an ACK end, and make room.
    net.now = net.now + secs(40);
    (0..100).for_each(|_| net.turn());
    assert_eq!(net.health().calls_active, 0);
    assert!(net.call("after"));
}

/// A caller that goes over its own limit is held to it and nobody else is; what belongs to its calls
/// still comes through.
#[test]
fn of_a_source_that_is_known() {
    let sip_limits = SipLimits { source_per_s: 100, source_burst: 100, ..SipLimits::default() };
    let mut net = Net::new(ShardConfig { sip_limits, ..config() });
    let mut caller = Caller::new(GOOD, "kept");
    net.deliver(caller.addr, &caller.invite());
    net.turn();
    caller.to_tag = net.kept.last().unwrap().to_tag();
    net.deliver(caller.addr, &caller.request("ACK", 1, ""));
    net.now = net.now + secs(5);
    for number in 0..1000 {
        net.deliver(addr(GOOD), &Caller::new(GOOD, &format!("more-{number}")).invite());
    }
    net.turn();
    net.kept.clear();
    assert_eq!(net.shed(), Shed { source: 900, ..Shed::default() });
    assert_eq!(net.exchange(caller.addr, &caller.request("BYE", 2, "")), [200]);
    assert_eq!(net.shed().source, 900);
    let other = Caller::new("192.0.2.200:5060", "other");
    net.deliver(other.addr, &other.invite());
    net.turn();
    assert_eq!(net.shed().source, 900);
}

/// A tag of ours that was sent to one address shows nothing about another, though what has it belongs
/// to a call and comes through a flood.
#[test]
fn with_a_tag_that_was_sent_to_another_address() {
    let mut net = Net::new(config());
    let mut caller = Caller::new(GOOD, "call");
    net.deliver(caller.addr, &caller.invite());
    net.turn();
    caller.to_tag = net.kept.pop().unwrap().to_tag();
    let elsewhere = addr("192.0.2.77:5060");
    for number in 0..5000 {
        net.deliver(elsewhere, &Caller::new("192.0.2.77:5060", &format!("n{number}")).invite());
    }
    let shed = net.shed().unverified;
    assert_eq!(shed, 4000, "half of what strangers may send");
    net.deliver(elsewhere, &caller.request("ACK", 1, ""));
    assert_eq!(net.shed().unverified, shed, "the ACK is let in");
    net.deliver(elsewhere, &Caller::new("192.0.2.77:5060", "one-more").invite());
    assert_eq!(net.shed().unverified, shed + 1, "and shows nothing");
}

/// Malformed requests are told what is wrong with them at a bounded rate, whoever sends them.
#[test]
fn of_malformed_requests() {
    let mut net = Net::new(config());
    let malformed = Caller::new(GOOD, "bad").invite().replace("CSeq: 1", "CSeq: many");
    for _ in 0..500 {
        net.deliver(addr(GOOD), &malformed);
    }
    net.turn();
    assert_eq!(net.kept.len(), 100);
    assert!(net.kept.drain(..).all(|sent| sent.text().starts_with("SIP/2.0 400 ")));
    assert_eq!(net.shed(), Shed { answers: 400, ..Shed::default() });
    net.now = net.now + ms(500);
    for _ in 0..500 {
        net.deliver(addr(GOOD), &malformed);
    }
    net.turn();
    assert_eq!(net.kept.len(), 50);
    // What is no SIP is not answered at all, and counts as much.
    for number in 0..10_000 {
        net.deliver(addr(BAD), &format!("no SIP {number}"));
    }
    net.turn();
    assert_eq!((net.others, net.shed().unverified), ((0, 0), 9000));
}

/// Who comes by TCP is where it says; it has the limit of one source.
#[test]
fn over_a_connection() {
    let sip_limits = SipLimits { source_per_s: 50, source_burst: 50, ..SipLimits::default() };
    let mut net = Net::new(ShardConfig { sip_limits, ..config() });
    for number in 0..200 {
        let text = Caller::new(BAD, &format!("tcp-{number}")).invite();
        let flight = Flight { src: addr(BAD), dst: addr(common::US), bytes: text.into() };
        let received = Datagram { transport: Transport::Tcp, ..datagram(&flight, net.now) };
        net.shard.handle(&[received], &mut net.out);
    }
    assert_eq!(net.shed(), Shed { source: 150, ..Shed::default() });
    assert_eq!(net.health().calls_active, 50);
}

#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    user: &'static str,
    more: Vec<&'static str>,
    is_compact: bool,
    has_offer: bool,
    has_addresses: bool,
}

impl Request {
    fn text(&self) -> String {
        let Self { method, user, is_compact, .. } = self;
        let name = |long, short| if *is_compact { short } else { long };
        let (via, from, to, id) =
            (name("Via", "v"), name("From", "f"), name("To", "t"), name("Call-ID", "i"));
        let mut text = format!("{method} sip:{user}@a SIP/2.0\r\n{via}:SIP/2.0/UDP a\r\n");
        if self.has_addresses {
            text += &format!("{from}:sip:a\r\n{to}:sip:b\r\n{id}:a\r\nCSeq:1 {method}\r\n");
        }
        self.more.iter().for_each(|line| text += line);
        text += "\r\n";
        if self.has_offer {
            text += "v=0\r\nc=IN IP4 203.0.113.66\r\nm=audio 4000 RTP/AVP 0 8 9 18\r\n";
        }
        text
    }
}

fn request() -> impl Strategy<Value = Request> {
    let methods = prop::sample::select(vec![
        "INVITE",
        "OPTIONS",
        "REGISTER",
        "BYE",
        "CANCEL",
        "SUBSCRIBE",
        "REFER",
        "MESSAGE",
        "X",
        "ACK",
    ]);
    let users = prop::sample::select(vec![
        "sink", "tone", "ring", "early", "slow", "busy", "code-481", "code-504", "code-302",
    ]);
    let lines = prop::sample::select(vec![
        "Require: 100rel\r\n",
        "Require: x\r\n",
        "Supported: 100rel,timer\r\n",
        "Session-Expires: 1\r\n",
        "Session-Expires: 90\r\n",
        "Contact: <sip:a@a>\r\n",
        "Record-Route: <sip:p;lr>\r\n",
        "Max-Forwards: x\r\n",
        "Expires: 1\r\n",
        "Content-Type: text/plain\r\n",
    ]);
    let more = prop::collection::vec(lines, 0..3);
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.9));
    (methods, users, more, flags).prop_map(|(method, user, more, flags)| {
        let (is_compact, has_offer, has_addresses) = flags;
        Request { method, user, more, is_compact, has_offer, has_addresses }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    /// Nothing that a stranger sends, however small, has more than three times as much sent in
    /// answer, at once or later, or for its being sent again in fewer bytes.
    #[test]
    fn no_answer_to_a_stranger_is_longer_than_three_requests(
        first in request(),
        again in request(),
    ) {
        let mut net = Net::new(config());
        let mut longest = 0;
        for text in [first.text(), again.text()] {
            longest = longest.max(text.len());
            net.deliver(addr(GOOD), &text);
            net.turn();
            for sent in net.kept.drain(..) {
                prop_assert!(sent.bytes.len() <= 3 * text.len(), "{text} {sent:?}");
            }
            // What comes later may be for what came first.
            for _ in 0..8 {
                net.now = net.now + secs(5);
                net.turn();
            }
            for sent in net.kept.drain(..) {
                let is_response = sent.bytes.starts_with(b"SIP/2.0 ");
                prop_assert!(!is_response || sent.bytes.len() <= 3 * longest, "{text} {sent:?}");
            }
        }
    }
}

/// An INVITE as phones send it is answered with all that there is to say.
#[test]
fn an_ordinary_call_of_a_stranger_loses_nothing() {
    let mut net = Net::new(config());
    let caller = Caller::new(GOOD, "first");
    net.deliver(caller.addr, &caller.invite());
    net.turn();
    let answer = net.kept.last().unwrap();
    for header in ["Allow: ", "Supported: ", "Server: ", "Contact: "] {
        assert!(answer.text().contains(header), "{header} is not in {}", answer.text());
    }
    assert_eq!(net.shed(), Shed::default());
}

/// One so short that its answer would be three times as long is refused, not left without an end.
#[test]
fn a_call_too_short_to_be_answered_is_refused() {
    let mut net = Net::new(config());
    let text = "INVITE sip:a SIP/2.0\r\nv:SIP/2.0/UDP a\r\nf:sip:a\r\nt:sip:b\r\ni:a\r\n\
         CSeq:1 INVITE\r\n\r\n";
    let statuses = net.exchange(addr(GOOD), text);
    assert_eq!(statuses.last(), Some(&503), "{statuses:?}");
    assert_eq!((net.health().calls_active, net.shed().answers), (0, 1));
}
