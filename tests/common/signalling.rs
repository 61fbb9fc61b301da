//! What signalling is known to have done where its messages passed, worked out by no code of the
//! appliance but the views, and what the appliance makes of the same messages.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
};

use voxplane::{
    control::signalling::{Place, SessionRecord, SipRecord},
    shard::{Outbox, Role, Shard, ShardConfig},
    time::Timestamp,
    wire::sip::{SipMessage, StartLine},
};

use crate::common::{Flight, datagram};

#[track_caller]
pub fn close(got: Option<f64>, wanted: f64) {
    let got = got.unwrap();
    assert!((got - wanted).abs() < 0.01, "{got} is not {wanted}");
}

/// What a shard that observes makes of messages in the order of their times.
pub fn observed(mut passing: Vec<(Timestamp, Flight)>, until: Timestamp) -> SipRecord {
    passing.sort_by_key(|&(at, _)| at);
    let config = ShardConfig { role: Role::Observe, ..ShardConfig::default() };
    let (mut shard, mut out) = (Shard::new(config), Outbox::default());
    for (at, flight) in &passing {
        shard.poll(*at, &mut out);
        shard.handle(&[datagram(flight, *at)], &mut out);
        out.clear();
    }
    shard.poll(until, &mut out);
    SipRecord::of(shard.sip_figures(), Place::Callee)
}

/// What the simulation knows of messages that passed somewhere, worked out by no code of the
/// appliance but the views.
#[derive(Debug, Default)]
pub struct Truth {
    attempts: u64,
    answered: u64,
    completed: u64,
    /// Those that were refused as busy, and those that were given up.
    declined: u64,
    cancelled: u64,
    /// Whose BYE it was that came first.
    ended_by_caller: u64,
    ended_by_callee: u64,
    srd_ms: Vec<f64>,
    srd_failed_ms: Vec<f64>,
    sdd_ms: Vec<f64>,
    sdt_s: Vec<f64>,
    time_to_100_ms: Vec<f64>,
    post_dial_delay_ms: Vec<f64>,
    retransmissions: u64,
    messages: u64,
    requests: BTreeMap<&'static str, u64>,
    responses: BTreeMap<u16, u64>,
}

/// The first message of its kind in a call.
#[derive(Clone, Copy, Debug)]
struct First {
    /// Where it stands among all that passed.
    place: usize,
    at: Timestamp,
    src: SocketAddr,
    /// Of a response.
    code: u16,
}

impl Truth {
    pub fn of(passing: &[(Timestamp, Flight)]) -> Self {
        let mut truth = Self::default();
        let mut before = HashSet::new();
        let mut first: BTreeMap<(String, String), First> = BTreeMap::new();
        for (place, (at, flight)) in passing.iter().enumerate() {
            let Ok(message) = SipMessage::parse(&flight.bytes) else { continue };
            truth.messages += 1;
            let again = !before.insert((flight.src, flight.dst, flight.bytes.clone()));
            truth.retransmissions += u64::from(again);
            let (what, code) = match message.start_line() {
                StartLine::Request { method, .. } => {
                    *truth.requests.entry(method.name().unwrap()).or_default() += 1;
                    (method.name().unwrap().to_owned(), 0)
                }
                StartLine::Response { code, .. } => {
                    *truth.responses.entry(code).or_default() += 1;
                    let is_of = message.cseq().unwrap().method;
                    let kind = match code {
                        100 => "100",
                        101..200 => "18x",
                        _ => "final",
                    };
                    (format!("{kind} {}", is_of.name().unwrap()), code)
                }
            };
            let call_id = String::from_utf8(message.call_id().unwrap().to_vec()).unwrap();
            let this = First { place, at: *at, src: flight.src, code };
            first.entry((call_id, what)).or_insert(this);
        }
        let calls: HashSet<_> = first.keys().map(|(call_id, _)| call_id.clone()).collect();
        for call_id in calls {
            truth.add(|what| first.get(&(call_id.clone(), what.to_owned())).copied());
        }
        truth
    }

    /// Adds a call, of whose messages `when` gives the first of each kind.
    fn add(&mut self, when: impl Fn(&str) -> Option<First>) {
        let ms = |end: First, start: First| end.at.since(start.at).as_secs_f64() * 1e3;
        let Some(invite) = when("INVITE") else { return };
        self.attempts += 1;
        let end = when("final INVITE");
        // What comes after the outcome says nothing any more.
        let before =
            |what: &str| when(what).filter(|it| end.is_none_or(|end| it.place < end.place));
        self.time_to_100_ms.extend(before("100 INVITE").map(|it| ms(it, invite)));
        let ringing = before("18x INVITE");
        let answer = end.filter(|end| end.code == 200);
        self.post_dial_delay_ms.extend(ringing.or(answer).map(|it| ms(it, invite)));
        let Some(end) = end else { return };
        let srd_ms = ms(ringing.unwrap_or(end), invite);
        match end.code {
            200 => self.answered += 1,
            486 => self.declined += 1,
            487 => self.cancelled += 1,
            code => panic!("{code}"),
        }
        if answer.is_none() {
            self.srd_failed_ms.push(srd_ms);
            return;
        }
        self.srd_ms.push(srd_ms);
        let Some(bye) = when("BYE") else { return };
        let by = if bye.src == invite.src {
            &mut self.ended_by_caller
        } else {
            &mut self.ended_by_callee
        };
        *by += 1;
        if let Some(gone) = when("final BYE") {
            self.completed += 1;
            self.sdd_ms.push(ms(gone, bye));
            self.sdt_s.push(ms(bye, end) / 1e3);
        }
    }

    #[track_caller]
    pub fn assert(&self, found: &SipRecord) {
        let context = format!("{found:#?}\n{self:#?}");
        assert_eq!(found.messages, self.messages, "{context}");
        assert_eq!(found.requests, self.requests, "{context}");
        assert_eq!(found.responses, self.responses, "{context}");
        assert_eq!(found.retransmissions, self.retransmissions, "{context}");
        let sessions = SessionRecord {
            attempts: self.attempts,
            answered: self.answered,
            declined: self.declined,
            cancelled: self.cancelled,
            completed: self.completed,
            incomplete: self.answered - self.completed,
            ended_by_caller: self.ended_by_caller,
            ended_by_callee: self.ended_by_callee,
            ..SessionRecord::default()
        };
        assert_eq!(found.sessions, sessions, "{context}");
        let times = [
            (&found.srd_ms, &self.srd_ms),
            (&found.srd_failed_ms, &self.srd_failed_ms),
            (&found.sdd_ms, &self.sdd_ms),
            (&found.time_to_100_ms, &self.time_to_100_ms),
            (&found.post_dial_delay_ms, &self.post_dial_delay_ms),
            (&found.sdt_s, &self.sdt_s),
        ];
        for (found, truth) in times {
            assert_eq!(found.count, truth.len() as u64, "{context}");
            if truth.is_empty() {
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let mean = truth.iter().sum::<f64>() / truth.len() as f64;
            // Microseconds, cut.
            assert!((found.mean.unwrap() - mean).abs() <= 0.001, "{mean}: {context}");
            let most = truth.iter().copied().fold(0.0, f64::max);
            assert!((found.max.unwrap() - most).abs() <= most * 0.01 + 0.001, "{context}");
        }
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let percent = |part: u64| 100.0 * part as f64 / self.attempts as f64;
        close(found.ser_percentage, percent(self.answered));
        close(found.seer_percentage, percent(self.answered + self.declined));
        close(found.scr_percentage, percent(self.completed));
        close(found.isa_percentage, 0.0);
    }
}
