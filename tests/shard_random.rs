//! Random requests, packets and bytes in any order: the shard never panics, its tables keep to
//! their bounds, and every call that opens ends exactly once.

mod common;

use std::collections::{BTreeMap, HashSet};

use common::{Caller, Sent, World, ms, offer, phone::ok, rtp, secs};
use fastrand::Rng;
use voxplane::{
    id::CallRef,
    shard::{
        ShardConfig,
        report::{CallEvent, Report},
    },
    wire::sip::{Method, NameAddr, SipMessage, StartLine},
};

const RUNS: u64 = if cfg!(debug_assertions) { 400 } else { 5000 };
const STEPS: usize = 250;
const DIALOGS_MAX: usize = 6;
const STREAMS_MAX: usize = 12;

/// Which calls are up, by nothing but what the appliance sends.
#[derive(Default)]
struct Model {
    up: HashSet<(Vec<u8>, Vec<u8>)>,
}

impl Model {
    fn see(&mut self, sent: &Sent) {
        if sent.src.port() != 5060 {
            return;
        }
        let message = SipMessage::parse(&sent.bytes).expect("SIP");
        let is_ours = matches!(message.start_line(), StartLine::Request { .. });
        // In our own requests the far end is in To.
        let far = if is_ours { message.to() } else { message.from() };
        let tag = far.and_then(|far| NameAddr::parse(far).tag()).unwrap_or_default();
        let call = (message.call_id().unwrap_or_default().to_vec(), tag.to_vec());
        match (message.start_line(), message.method()) {
            (StartLine::Response { code: 180, .. }, _) => {
                self.up.insert(call);
            }
            (StartLine::Response { code: 200, .. }, Some(Method::Bye))
            | (StartLine::Response { code: 487 | 503, .. }, Some(Method::Invite))
            | (StartLine::Request { method: Method::Bye, .. }, _) => {
                self.up.remove(&call);
            }
            _ => {}
        }
    }
}

struct Run {
    rng: Rng,
    world: World,
    model: Model,
    callers: Vec<Caller>,
    /// The last requests, to be repeated or bent.
    said: Vec<String>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let world = World::new(ShardConfig {
            dialogs_max: DIALOGS_MAX,
            streams_max: STREAMS_MAX,
            rtp_ports: vec![20_000, 20_002],
            answer_delay: ms(if rng.bool() { 0 } else { 1500 }),
            idle_timeout: secs(rng.u64(1..40)),
            seed,
            ..ShardConfig::default()
        });
        let caller = |index: u16| {
            let mut caller = Caller::new("198.51.100.1:5070", &format!("c{index}"));
            // Some share a media address, some an IP address.
            caller.addr.set_port(6000 + index);
            caller.media.set_port(4000 + 2 * (index % 5));
            caller.user = if index.is_multiple_of(2) { "echo" } else { "sink" };
            caller
        };
        let callers = (0..10).map(caller).collect();
        Self { rng, world, model: Model::default(), callers, said: Vec::new() }
    }

    fn step(&mut self) {
        let index = self.rng.usize(..self.callers.len());
        let cseq = self.rng.u32(1..5);
        let mut caller = self.callers[index].clone();
        let method = match self.rng.u8(..20) {
            0..5 => return self.send_media(&caller),
            5..8 => return self.world.run_for(ms(self.rng.u64(..4000))),
            8 => return self.send_bytes(&caller),
            9..12 => "INVITE",
            12..14 => "ACK",
            14..16 => "BYE",
            16 => "CANCEL",
            _ => ["OPTIONS", "REGISTER", "INFO", "UPDATE", "DANCE"][self.rng.usize(..5)],
        };
        if self.rng.u8(..4) == 0 {
            caller.to_tag = None;
        }
        let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
        caller.media.set_port(4000 + 2 * self.rng.u16(..5));
        let body = match (method, self.rng.u8(..4)) {
            ("INVITE" | "ACK", 0..3) => offer(caller.media, directions[self.rng.usize(..4)]),
            _ => String::new(),
        };
        let request = caller.request(method, cseq, &body);
        self.said.push(request.clone());
        self.world.send(caller.addr, caller.us, request);
    }

    fn send_media(&mut self, caller: &Caller) {
        let mut src = caller.media;
        src.set_port(4000 + self.rng.u16(..14));
        let mut dst = caller.us;
        dst.set_port(20_000 + self.rng.u16(..4));
        let first = self.rng.u16(..);
        for sequence in first..first.saturating_add(self.rng.u16(1..6)) {
            let mut packet = rtp(0, false, sequence, u32::from(sequence) * 160, self.rng.u32(..4));
            if self.rng.u8(..4) == 0 {
                self.rng.fill(&mut packet[..12]);
                packet[0] = packet[0] & 0x3F | 0x80;
            }
            packet.truncate(self.rng.usize(..200));
            self.world.send(src, dst, packet);
        }
    }

    /// Repeats, bends or makes up a message.
    fn send_bytes(&mut self, caller: &Caller) {
        let mut bytes = match self.rng.choice(&self.said) {
            Some(said) if self.rng.u8(..8) > 0 => said.clone().into_bytes(),
            _ => (0..self.rng.usize(..100)).map(|_| self.rng.u8(..)).collect(),
        };
        for _ in 0..self.rng.usize(..4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.rng.usize(..bytes.len());
            match self.rng.u8(..4) {
                0 => bytes[at] = self.rng.u8(..),
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..(at + self.rng.usize(..20)).min(bytes.len()))),
                _ => drop(bytes.splice(at..at, *b"\r\n ")),
            }
        }
        self.world.send(caller.addr, caller.us, bytes);
    }

    /// Looks at what the appliance has done; answers some of its BYEs.
    fn observe(&mut self) {
        for sent in self.world.take() {
            self.model.see(&sent);
            let is_known = |caller: &&mut Caller| caller.addr == sent.dst;
            let Some(caller) = self.callers.iter_mut().find(is_known) else { continue };
            let message = SipMessage::parse(&sent.bytes).expect("SIP");
            match message.start_line() {
                StartLine::Request { .. } if self.rng.bool() && message.check().is_ok() => {
                    self.world.send(caller.addr, caller.us, ok(&sent));
                }
                StartLine::Response { code: 180, .. } => caller.to_tag = sent_tag(&message),
                _ => {}
            }
        }
        let health = self.world.shard.health();
        assert_eq!(self.world.shard.calls_up(), self.model.up.len());
        assert_eq!(health.calls_active as usize, self.model.up.len());
        assert!(self.model.up.len() <= DIALOGS_MAX);
        assert!(health.streams_active as usize <= STREAMS_MAX);
    }
}

fn sent_tag(message: &SipMessage<'_>) -> Option<String> {
    let tag = NameAddr::parse(message.to()?).tag()?;
    Some(String::from_utf8_lossy(tag).into_owned())
}

/// Opened first, Answered at most once and only then Ended, one end, nothing after it.
fn assert_lives(reports: &[Report]) {
    let mut lives: BTreeMap<u64, Vec<CallEvent>> = BTreeMap::new();
    let mut over: HashSet<CallRef> = HashSet::new();
    for report in reports {
        let call = match report {
            Report::Call(report) => report.call,
            Report::Text(report) => report.call,
            Report::Remote(report) => report.call,
            Report::FarEnd(report) => report.call,
            Report::RoundTrip(report) => report.call,
            Report::Flow(report) => report.call,
            Report::Signalling(report) => report.call,
            // A stream that its call has forgotten may outlive it.
            Report::Stream(_) | Report::LossRuns(_) | Report::Phone(_) | Report::Health(_) => {
                continue;
            }
        };
        assert!(!over.contains(&call), "{report:?} after its end");
        if let Report::Call(report) = report {
            lives.entry(call.serial).or_default().push(report.event);
            if let CallEvent::Ended(_) | CallEvent::Failed(..) = report.event {
                over.insert(call);
            }
        }
    }
    for events in lives.values() {
        match &events[..] {
            [CallEvent::Opened, CallEvent::Progressed(180), CallEvent::Failed(..)]
            | [
                CallEvent::Opened,
                CallEvent::Progressed(180),
                CallEvent::Answered(200),
                CallEvent::Ended(_),
            ] => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_call_that_opens_ends_once_whatever_comes() {
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..RUNS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
            run.observe();
        }
        if seed % 4 == 0 {
            run.world.close();
            run.observe();
            assert_eq!(run.world.shard.calls_up(), 0);
        }
        for _ in 0..400 {
            run.world.run_for(secs(1));
            run.observe();
        }
        // The longest that a registration lasts.
        run.world.run_for(secs(7200));
        run.observe();
        let health = run.world.shard.health();
        assert_eq!((health.calls_active, health.streams_active), (0, 0), "seed {seed}");
        assert_eq!(health.registrations.active, 0, "seed {seed}");
        assert_eq!(run.world.deadline, None, "seed {seed}: nothing is waited for");
        assert!(run.world.shard.is_quiet());
        assert_lives(&run.world.reports);
        assert!(run.world.snapshot().active.is_empty());
        opened += health.calls_total;
        refused += health.calls_refused;
    }
    assert!(opened > RUNS * 5 && refused > RUNS, "{opened} {refused}");
}
