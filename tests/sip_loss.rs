//! Signalling over a network that loses one message in twenty, either way: every call still comes
//! to the end that was meant for it, and the figures of RFC 6076 and all counts are those of what
//! passed, at the appliance and at the phones.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;
#[path = "common/signalling.rs"]
mod signalling;

use core::time::Duration;
use std::collections::BTreeMap;

use common::{Caller, Flight, START, Sent, World, ms, secs};
use fastrand::Rng;
use signalling::{Truth, observed};
use voxplane::{
    control::{
        record::{CallState, EndedBy},
        signalling::{Place, SipRecord},
    },
    shard::ShardConfig,
    time::Timestamp,
    wire::sip::{HeaderName, Method, StartLine},
};

/// What a caller means to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    /// Answered, changed by UPDATE, ended by the caller.
    Talk,
    /// Given up while it rings.
    GiveUp,
    /// To a number that is busy.
    Busy,
    /// Answered; we hang up after the idle time.
    Silent,
}

const AIMS: [Aim; 4] = [Aim::Talk, Aim::GiveUp, Aim::Busy, Aim::Silent];

/// A request on its way again and again until it is answered (timers A, B, E and F).
#[derive(Clone)]
struct Pending {
    text: String,
    wait: Duration,
    until: Timestamp,
    is_invite: bool,
}

struct Phone {
    caller: Caller,
    aim: Aim,
    /// By method.
    pending: BTreeMap<&'static str, Pending>,
    cseq: u32,
    confirmed: Vec<String>,
    is_answered: bool,
    final_status: Option<u16>,
}

#[derive(Clone)]
enum Event {
    ToAppliance(Flight),
    ToPhone(usize, Sent),
    Again(usize, &'static str, u32),
    Begin(usize, &'static str),
}

struct Sim {
    world: World,
    phones: Vec<Phone>,
    queue: BTreeMap<(Timestamp, u64), Event>,
    order: u64,
    rng: Rng,
    lost: u64,
    /// All that the appliance has received or sent, and all that phones have.
    at_us: Vec<(Timestamp, Flight)>,
    at_phones: Vec<(Timestamp, Flight)>,
}

impl Sim {
    fn push(&mut self, after: Duration, event: Event) {
        self.order += 1;
        self.queue.insert((self.world.now + after, self.order), event);
    }

    fn loses(&mut self) -> bool {
        let loses = self.rng.f64() < LOSS;
        self.lost += u64::from(loses);
        loses
    }

    fn carry(&mut self, phone: usize, text: &str) {
        let Caller { addr, us, .. } = self.phones[phone].caller;
        let flight = Flight { src: addr, dst: us, bytes: text.into() };
        self.at_phones.push((self.world.now, flight.clone()));
        if !self.loses() {
            let delay = ms(20 + self.rng.u64(..20));
            self.push(delay, Event::ToAppliance(flight));
        }
    }

    fn request(&mut self, phone: usize, method: &'static str, more: &str, body: &str) {
        let it = &mut self.phones[phone];
        it.cseq += u32::from(method != "CANCEL");
        // A CANCEL has the number of its INVITE, and is as little within a dialog.
        let is_cancel = method == "CANCEL";
        let number = if is_cancel { 1 } else { it.cseq };
        let mut caller = Caller { more: more.to_owned(), ..it.caller.clone() };
        caller.to_tag = caller.to_tag.filter(|_| !is_cancel);
        let text = caller.request(method, number, body);
        let until = self.world.now + secs(32);
        let pending = Pending { text, wait: ms(500), until, is_invite: method == "INVITE" };
        it.pending.insert(method, pending);
        self.send_again(phone, method, number);
    }

    fn send_again(&mut self, phone: usize, method: &'static str, number: u32) {
        let now = self.world.now;
        let it = &mut self.phones[phone];
        let Some(pending) = it.pending.get_mut(method) else { return };
        if pending.until <= now || !pending.text.contains(&format!("CSeq: {number} ")) {
            return;
        }
        let (text, wait) = (pending.text.clone(), pending.wait);
        let longest = if pending.is_invite { secs(64) } else { secs(4) };
        pending.wait = (wait * 2).min(longest);
        self.carry(phone, &text);
        self.push(wait, Event::Again(phone, method, number));
    }

    fn begin(&mut self, phone: usize, method: &'static str) {
        let it = &self.phones[phone];
        let offer = it.caller.offer();
        match method {
            "INVITE" => self.request(phone, method, "Supported: 100rel\r\n", &offer),
            "UPDATE" if it.is_answered => self.request(phone, method, "", &offer),
            "BYE" if it.is_answered => self.request(phone, method, "", ""),
            "CANCEL" if !it.is_answered => self.request(phone, method, "", ""),
            // Not answered yet: a little later.
            "UPDATE" | "BYE" if it.final_status.is_none() => {
                self.push(secs(5), Event::Begin(phone, method));
            }
            _ => {}
        }
    }

    fn receive(&mut self, phone: usize, sent: &Sent) {
        let message = sent.message();
        let method = message.method();
        let StartLine::Response { code, .. } = message.start_line() else {
            let ok = common::phone::ok(sent);
            self.carry(phone, &ok);
            return;
        };
        let Some(name) = method.and_then(Method::name) else { return };
        let it = &mut self.phones[phone];
        if method != Some(Method::Invite) {
            it.pending.remove(name);
            return;
        }
        it.pending.remove("INVITE");
        it.caller.to_tag = sent.to_tag().or_else(|| it.caller.to_tag.clone());
        if code >= 200 {
            let is_first = it.final_status.replace(code).is_none();
            it.is_answered = code < 300;
            let acknowledgement = it.caller.request("ACK", 1, "");
            let talks = is_first && it.is_answered && it.aim == Aim::Talk;
            self.carry(phone, &acknowledgement);
            if talks {
                self.push(secs(4), Event::Begin(phone, "UPDATE"));
                self.push(secs(60), Event::Begin(phone, "BYE"));
            }
            return;
        }
        let Some(rseq) = sent.values(HeaderName::Rseq).pop() else { return };
        if !it.confirmed.contains(&rseq) {
            it.confirmed.push(rseq.clone());
            self.request(phone, "PRACK", &format!("RAck: {rseq} 1 INVITE\r\n"), "");
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToAppliance(flight) => {
                self.at_us.push((self.world.now, flight.clone()));
                self.world.deliver(&[flight]);
            }
            Event::ToPhone(phone, sent) => {
                let Sent { src, dst, ref bytes, .. } = sent;
                self.at_phones.push((self.world.now, Flight { src, dst, bytes: bytes.clone() }));
                self.receive(phone, &sent);
            }
            Event::Again(phone, method, number) => self.send_again(phone, method, number),
            Event::Begin(phone, method) => self.begin(phone, method),
        }
    }

    fn run(&mut self) {
        for _ in 0..1_000_000 {
            let event = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let Some(next) = event.into_iter().chain(self.world.deadline).min() else { return };
            self.world.now = self.world.now.max(next);
            if event == Some(next) {
                let (_, event) = self.queue.pop_first().unwrap();
                self.happen(event);
            } else {
                self.world.poll();
            }
            for sent in self.world.take() {
                let of = |phone: &Phone| phone.caller.addr == sent.dst;
                // RTCP has no phone here.
                let Some(phone) = self.phones.iter().position(of) else { continue };
                let Sent { at, src, dst, ref bytes } = sent;
                self.at_us.push((at, Flight { src, dst, bytes: bytes.clone() }));
                if !self.loses() {
                    let delay = ms(20 + self.rng.u64(..20));
                    self.push(delay, Event::ToPhone(phone, sent));
                }
            }
        }
        panic!("the appliance never rests");
    }
}

#[test]
fn every_call_comes_to_its_end_though_one_message_in_twenty_is_lost() {
    let (mut ended, mut lost) = ([0; AIMS.len()], 0);
    for seed in 0..25 {
        let config = ShardConfig {
            answer_delay: secs(3),
            idle_timeout: secs(120),
            ..ShardConfig::default()
        };
        let mut sim = Sim {
            world: World::new(config),
            phones: Vec::new(),
            queue: BTreeMap::new(),
            order: 0,
            rng: Rng::with_seed(seed),
            lost: 0,
            at_us: Vec::new(),
            at_phones: Vec::new(),
        };
        for index in 0..40_usize {
            let aim = AIMS[index % AIMS.len()];
            let address = format!("198.51.100.1:{}", 6000 + index);
            let user = if aim == Aim::Busy { "busy" } else { "sink" };
            let caller = Caller { user, ..Caller::new(&address, &format!("{seed}-{index}")) };
            sim.phones.push(Phone {
                caller,
                aim,
                pending: BTreeMap::new(),
                cseq: 0,
                confirmed: Vec::new(),
                is_answered: false,
                final_status: None,
            });
            let start = ms(100 * index as u64);
            sim.push(start, Event::Begin(index, "INVITE"));
            if aim == Aim::GiveUp {
                // Far from the answer: the CANCEL comes before it, though it may come again.
                sim.push(start + ms(600), Event::Begin(index, "CANCEL"));
            }
        }
        sim.run();
        lost += sim.lost;
        assert_eq!(sim.world.shard.calls_up(), 0, "seed {seed}");
        assert!(sim.world.shard.is_quiet(), "seed {seed}: nothing is sent any more");
        assert_figures(&mut sim);
        let totals = sim.world.snapshot().totals;
        assert_eq!(totals.calls, 40, "seed {seed}: no call was taken for two");
        for index in 0..40 {
            let call = sim.world.finished(&format!("{seed}-{index}"));
            let phone = &sim.phones[index];
            let context = format!("seed {seed}, call {index}, {:?}: {call:#?}", phone.aim);
            let outcome = (call.state, call.ended_by, call.status_code);
            // A CANCEL that the network kept until after the answer has come too late, and whoever
            // does not know that he is answered is silent.
            let is_late = phone.aim == Aim::GiveUp && call.state == CallState::Ended;
            let expected = match phone.aim {
                Aim::Talk => (CallState::Ended, Some(EndedBy::Caller), Some(200)),
                Aim::GiveUp if !is_late => (CallState::Failed, Some(EndedBy::Caller), Some(487)),
                Aim::Busy => (CallState::Failed, Some(EndedBy::Callee), Some(486)),
                Aim::Silent | Aim::GiveUp => (CallState::Ended, Some(EndedBy::Timeout), Some(200)),
            };
            assert_eq!(outcome, expected, "{context}");
            assert!(!is_late || call.answer_time.unwrap() >= START + secs(3), "{context}");
            // Both sides have it the same way.
            assert_eq!(phone.final_status, call.status_code, "{context}");
            let place = AIMS.iter().position(|&aim| aim == phone.aim).unwrap();
            ended[place] += u32::from(!is_late);
        }
    }
    assert_eq!(ended[0], 250);
    assert!(ended[1] > 240 && lost > 400, "{ended:?}, {lost}");
}

/// Where RFC 6076 measures, and here.
fn assert_figures(sim: &mut Sim) {
    // For the last transaction to be given up.
    sim.world.run_for(secs(70));
    let found = SipRecord::of(sim.world.shard.sip_figures(), Place::Callee);
    Truth::of(&sim.at_us).assert(&found);
    let there = core::mem::take(&mut sim.at_phones);
    Truth::of(&there).assert(&observed(there, sim.world.now));
}

/// Of messages.
const LOSS: f64 = 0.05;
