//! What signalling comes to: counts, and times as distributions that merge exactly. It knows no
//! session.

use std::collections::{BTreeMap, HashMap};

use hdrhistogram::Histogram;

use crate::wire::sip::Method;

/// Figures of SIP, those of RFC 6076 among them: sums and distributions, so that those of several
/// shards and of several spans of time add up to those of all.
#[derive(Clone, Debug)]
pub struct SipFigures {
    /// Messages that were understood, in both directions.
    pub messages: u64,
    /// Messages that were not.
    pub malformed: u64,
    /// Of those received, or seen, the ones that came before: the same bytes on the same way
    /// within 32 s.
    pub retransmissions_received: u64,
    /// Messages that the appliance has sent again.
    pub retransmissions_sent: u64,
    requests: [u64; METHODS.len()],
    /// By code, from 100 on.
    responses: Box<[u64; CODES]>,
    /// Sessions.
    pub sessions: SessionCounts,
    /// Registrations.
    pub registers: RegisterCounts,
    /// Times of sessions and registrations.
    pub times: Box<SipTimes>,
    /// Causes of ITU-T Q.850 that ended sessions or attempts (RFC 3326), by value.
    pub causes: BTreeMap<u8, u64>,
    /// Sessions and registrations asked for, by User-Agent.
    pub agents: Agents,
}

/// What became of sessions that an INVITE asked for. One that was challenged and comes again with
/// credentials is one session; one that was redirected is another one each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Asked for.
    pub attempts: u64,
    /// Of these, those of which the outcome is known.
    pub decided: u64,
    /// Answered with a 2xx.
    pub answered: u64,
    /// Answered with a 3xx.
    pub redirected: u64,
    /// Answered with 480, 486, 600 or 603: the far end was reached.
    pub declined: u64,
    /// Answered with 408, 500, 503 or 504: the network failed.
    pub ineffective: u64,
    /// Answered with 487: the caller had taken it back.
    pub cancelled: u64,
    /// Challenged with 401, 402 or 407, and not asked for again.
    pub challenged: u64,
    /// Of which nothing more was heard: no final response came.
    pub unanswered: u64,
    /// Answered with any other failure.
    pub failed: u64,
    /// Answered, and ended by a BYE that was answered.
    pub completed: u64,
    /// Answered, and ended without an answer to a BYE.
    pub incomplete: u64,
    /// Hung up by the caller.
    pub by_caller: u64,
    /// Hung up by the callee.
    pub by_callee: u64,
    /// Not followed, as too many others were.
    pub untracked: u64,
}

/// What became of REGISTER requests; those sent again are not counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterCounts {
    /// Requests.
    pub requests: u64,
    /// Of these, those that were answered with a final response, or for which none came in 32 s.
    pub decided: u64,
    /// Answered with a 2xx.
    pub accepted: u64,
    /// Answered with 401, 402 or 407.
    pub challenged: u64,
    /// Answered with another 4xx, a 5xx or 6xx, or not at all (RFC 6076 section 4.2).
    pub failed: u64,
}

/// Times that RFC 6076 asks for, and some more.
#[derive(Clone, Debug, Default)]
pub struct SipTimes {
    /// From the first REGISTER to the 200 (section 4.1), µs.
    pub rrd: Times,
    /// From the first INVITE to the first status-indicative response: the first provisional one
    /// but 100, or the 200; of sessions that were answered (section 4.3.1), one for each dialog
    /// of a forked INVITE, µs.
    pub srd: Times,
    /// The same, or until the failure, of those that failed (section 4.3.2), µs.
    pub srd_failed: Times,
    /// From the first INVITE to the first 180, 183 or 2xx, µs.
    pub post_dial_delay: Times,
    /// From the first INVITE to the first 100, µs.
    pub time_to_100: Times,
    /// From the first BYE to its 2xx (section 4.4), µs.
    pub sdd: Times,
    /// The same to a final response of another kind, µs.
    pub sdd_failed: Times,
    /// From the 2xx to the BYE (section 4.5), ms.
    pub sdt: Times,
    /// From the 2xx to the time when a BYE has been without an answer for 32 s, ms.
    pub sdt_failed: Times,
}

/// All times of a [`SipTimes`], borrowed as that is.
macro_rules! all_times {
    ($times:expr) => {
        all_times!($times; rrd srd srd_failed post_dial_delay time_to_100 sdd sdd_failed sdt
            sdt_failed)
    };
    ($times:expr; $($time:ident)+) => {{
        let SipTimes { $($time),+ } = $times;
        [$($time),+]
    }};
}

/// A distribution of times, and their exact sum.
#[derive(Clone, Debug)]
pub struct Times {
    /// Within 1 %: 1 to 2^32 units.
    pub histogram: Histogram<u64>,
    /// Their sum, units.
    pub sum: u64,
}

/// Who asks for sessions and registrations, by User-Agent: the first ones met by name, all others
/// together.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    known: HashMap<Box<[u8]>, AgentCounts, foldhash::fast::FixedState>,
    /// Who does not say; `None` until one was met.
    nameless: Option<AgentCounts>,
    /// All that there was no room for.
    pub others: AgentCounts,
}

/// What was asked for by one kind of User-Agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounts {
    /// Sessions.
    pub sessions: u64,
    /// REGISTER requests.
    pub registers: u64,
}

impl SipFigures {
    /// Requests by method, those that there were; those of unknown methods together as `other`.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = METHODS.iter().zip(self.requests);
        all.filter(|&(_, count)| count > 0)
            .map(|(method, count)| (method.name().unwrap_or(OTHER), count))
    }

    /// Responses by status, those that there were.
    pub fn responses(&self) -> impl Iterator<Item = (u16, u64)> {
        (FIRST_CODE..).zip(*self.responses).filter(|&(_, count)| count > 0)
    }

    /// Messages that came or went before.
    #[must_use]
    pub const fn retransmissions(&self) -> u64 {
        self.retransmissions_received + self.retransmissions_sent
    }

    pub(super) const fn count_request(&mut self, method: Method) {
        self.messages += 1;
        self.requests[method as usize] += 1;
    }

    pub(super) fn count_response(&mut self, code: u16) {
        self.messages += 1;
        if let Some(count) = self.responses.get_mut(usize::from(code.wrapping_sub(FIRST_CODE))) {
            *count += 1;
        }
    }

    /// Adds all of others.
    pub fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.malformed += other.malformed;
        self.retransmissions_received += other.retransmissions_received;
        self.retransmissions_sent += other.retransmissions_sent;
        add(&mut self.requests, &other.requests);
        add(&mut *self.responses, &*other.responses);
        self.sessions.merge(&other.sessions);
        self.registers.merge(&other.registers);
        let theirs = all_times!(&*other.times);
        for (ours, theirs) in all_times!(&mut *self.times).into_iter().zip(theirs) {
            ours.merge(theirs);
        }
        for (&cause, count) in &other.causes {
            *self.causes.entry(cause).or_default() += count;
        }
        self.agents.merge(&other.agents);
    }

    /// Empties them, keeping their memory.
    pub fn clear(&mut self) {
        self.messages = 0;
        self.malformed = 0;
        self.retransmissions_received = 0;
        self.retransmissions_sent = 0;
        self.requests = Default::default();
        self.responses.fill(0);
        self.sessions = SessionCounts::default();
        self.registers = RegisterCounts::default();
        all_times!(&mut *self.times).into_iter().for_each(Times::clear);
        self.causes.clear();
        self.agents.clear();
    }
}

impl Default for SipFigures {
    fn default() -> Self {
        Self {
            messages: 0,
            malformed: 0,
            retransmissions_received: 0,
            retransmissions_sent: 0,
            requests: Default::default(),
            responses: Box::new([0; CODES]),
            sessions: SessionCounts::default(),
            registers: RegisterCounts::default(),
            times: Box::default(),
            causes: BTreeMap::new(),
            agents: Agents::default(),
        }
    }
}

impl SessionCounts {
    /// Session establishment ratio (RFC 6076 section 4.6), 0 to 1; `None` without a session that
    /// counts. Sessions count once their outcome is known.
    #[must_use]
    pub fn establishment_ratio(&self) -> Option<f64> {
        ratio(self.answered, self.decided - self.redirected)
    }

    /// Session establishment effectiveness ratio (section 4.7), 0 to 1.
    #[must_use]
    pub fn effectiveness_ratio(&self) -> Option<f64> {
        ratio(self.answered + self.declined, self.decided - self.redirected)
    }

    /// Ineffective session attempts (section 4.8), 0 to 1.
    #[must_use]
    pub fn ineffective_ratio(&self) -> Option<f64> {
        ratio(self.ineffective, self.decided)
    }

    /// Session completion ratio (section 4.9), 0 to 1. Sessions that are up do not count yet.
    #[must_use]
    pub fn completion_ratio(&self) -> Option<f64> {
        let up = self.answered.saturating_sub(self.completed + self.incomplete);
        ratio(self.completed, self.decided.saturating_sub(up))
    }

    fn merge(&mut self, other: &Self) {
        let Self {
            attempts,
            decided,
            answered,
            redirected,
            declined,
            ineffective,
            cancelled,
            challenged,
            unanswered,
            failed,
            completed,
            incomplete,
            by_caller,
            by_callee,
            untracked,
        } = *other;
        self.attempts += attempts;
        self.decided += decided;
        self.answered += answered;
        self.redirected += redirected;
        self.declined += declined;
        self.ineffective += ineffective;
        self.cancelled += cancelled;
        self.challenged += challenged;
        self.unanswered += unanswered;
        self.failed += failed;
        self.completed += completed;
        self.incomplete += incomplete;
        self.by_caller += by_caller;
        self.by_callee += by_callee;
        self.untracked += untracked;
    }
}

impl RegisterCounts {
    /// Ineffective registration attempts (RFC 6076 section 4.2), 0 to 1.
    #[must_use]
    pub fn ineffective_ratio(&self) -> Option<f64> {
        ratio(self.failed, self.decided)
    }

    fn merge(&mut self, other: &Self) {
        let Self { requests, decided, accepted, challenged, failed } = *other;
        self.requests += requests;
        self.decided += decided;
        self.accepted += accepted;
        self.challenged += challenged;
        self.failed += failed;
    }
}

impl Times {
    /// Takes in a time.
    pub(super) fn record(&mut self, value: u64) {
        // What is below a unit counts as one in the distribution, as what is beyond does as the
        // highest; the sum has it as it is.
        self.histogram.saturating_record(value.max(1));
        self.sum = self.sum.saturating_add(value);
    }

    fn merge(&mut self, other: &Self) {
        // The same bounds: nothing is out of range.
        let _ = self.histogram.add(&other.histogram);
        self.sum = self.sum.saturating_add(other.sum);
    }

    fn clear(&mut self) {
        if self.sum > 0 || !self.histogram.is_empty() {
            self.histogram.reset();
            self.sum = 0;
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST, DIGITS);
        Self { histogram: histogram.expect("constant bounds that the type allows"), sum: 0 }
    }
}

impl Agents {
    /// All that were met by name, in no order.
    pub fn known(&self) -> impl Iterator<Item = (&[u8], AgentCounts)> {
        let nameless = self.nameless.map(|counts| (&b""[..], counts));
        self.known.iter().map(|(name, counts)| (&**name, *counts)).chain(nameless)
    }

    /// The counts of one, of which no more than a part of the name is kept.
    pub(super) fn of(&mut self, name: &[u8]) -> &mut AgentCounts {
        let name = &name[..name.len().min(AGENT_LEN_MAX)];
        if name.is_empty() {
            return self.nameless.get_or_insert_default();
        }
        if !self.known.contains_key(name) {
            if self.known.len() >= AGENTS_MAX {
                return &mut self.others;
            }
            self.known.insert(name.into(), AgentCounts::default());
        }
        self.known.get_mut(name).unwrap_or(&mut self.others)
    }

    fn merge(&mut self, other: &Self) {
        for (name, counts) in other.known() {
            if counts != AgentCounts::default() {
                self.of(name).merge(counts);
            }
        }
        self.others.merge(other.others);
    }

    /// Sets all to nothing; the names stay.
    fn clear(&mut self) {
        let named = self.known.values_mut();
        named.chain(&mut self.nameless).for_each(|counts| *counts = AgentCounts::default());
        self.others = AgentCounts::default();
    }
}

impl AgentCounts {
    fn merge(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.registers += other.registers;
    }
}

fn add(ours: &mut [u64], theirs: &[u64]) {
    ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// All methods, in the order in which [`Method`] has them.
const METHODS: [Method; 15] = [
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Cancel,
    Method::Options,
    Method::Register,
    Method::Prack,
    Method::Update,
    Method::Info,
    Method::Notify,
    Method::Message,
    Method::Subscribe,
    Method::Refer,
    Method::Publish,
    Method::Other,
];

const OTHER: &str = "other";

/// The least status code.
const FIRST_CODE: u16 = 100;

/// Status codes, 100 to 999.
const CODES: usize = 900;

/// More than an hour in microseconds, a month in milliseconds.
const HIGHEST: u64 = 1 << 32;

/// Within 1 %, in 27 KiB a distribution.
const DIGITS: u8 = 2;

/// User-Agents that are told apart, at most 128 bytes each: what a trunk's phones are is seen by
/// fewer, and a flood of made-up ones must not grow.
const AGENTS_MAX: usize = 256;

/// Bytes of a User-Agent that tell it from others.
const AGENT_LEN_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 attempts with known outcomes, and what the formulas of RFC 6076 make of them.
    #[test]
    fn ratios_are_those_of_the_formulas() {
        let counts = SessionCounts {
            attempts: 100,
            decided: 100,
            answered: 70,
            redirected: 2,
            declined: 10 + 5 + 1 + 1,
            ineffective: 3 + 2,
            cancelled: 2,
            completed: 68,
            incomplete: 2,
            ..SessionCounts::default()
        };
        let close = |got: Option<f64>, wanted: f64| (got.unwrap() - wanted).abs() < 1e-12;
        assert!(close(counts.establishment_ratio(), 70.0 / 98.0));
        assert!(close(counts.effectiveness_ratio(), 87.0 / 98.0));
        assert!(close(counts.ineffective_ratio(), 0.05));
        assert!(close(counts.completion_ratio(), 0.68));
        assert_eq!(SessionCounts::default().establishment_ratio(), None);
        assert_eq!(RegisterCounts::default().ineffective_ratio(), None);
    }

    #[test]
    fn methods_stand_in_their_own_order() {
        for (index, method) in METHODS.into_iter().enumerate() {
            assert_eq!(method as usize, index);
        }
    }

    #[test]
    fn figures_add_up() {
        let mut all = SipFigures::default();
        let mut part = SipFigures::default();
        for round in 1..=3 {
            part.count_request(Method::Invite);
            part.count_response(200);
            part.count_response(1000);
            part.times.sdd.record(1000 * round);
            *part.causes.entry(16).or_default() += 1;
            part.agents.of(b"phone").sessions += 1;
            all.merge(&part);
            part.clear();
        }
        assert_eq!(all.messages, 9);
        assert_eq!(all.requests().collect::<Vec<_>>(), [("INVITE", 3)]);
        assert_eq!(all.responses().collect::<Vec<_>>(), [(200, 3)]);
        assert_eq!((all.times.sdd.histogram.len(), all.times.sdd.sum), (3, 6000));
        assert_eq!(all.causes, BTreeMap::from([(16, 3)]));
        assert_eq!(all.agents.of(b"phone").sessions, 3);
    }

    #[test]
    fn made_up_agents_do_not_grow() {
        let mut agents = Agents::default();
        for number in 0..10_000 {
            agents.of(format!("agent {number}").as_bytes()).sessions += 1;
        }
        agents.of(&[b'x'; 5000]).sessions += 1;
        assert_eq!(agents.known().count(), AGENTS_MAX);
        assert_eq!(agents.others.sessions, 10_001 - 256);
    }
}
