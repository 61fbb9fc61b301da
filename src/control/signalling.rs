//! The figures of SIP as they are shown: those of RFC 6076 and what else signalling tells, of all
//! calls and of one. It follows no message.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::shard::{
    report::SignallingReport,
    signalling::figures::{AgentCounts, RegisterCounts, SessionCounts, SipFigures, Times},
};

/// What a call's signalling tells about itself. Times are from the place of measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CallSignalling {
    /// Session request delay, milliseconds (RFC 6076 section 4.3): from the first INVITE to the
    /// first response that says what becomes of it, which a 100 does not.
    pub srd_ms: Option<f64>,
    /// From the first INVITE to the first 180, 183 or 2xx, milliseconds.
    pub post_dial_delay_ms: Option<f64>,
    /// From the first INVITE to the first 100, milliseconds.
    pub time_to_100_ms: Option<f64>,
    /// Session disconnect delay, milliseconds (RFC 6076 section 4.4): from the first BYE to its
    /// 2xx.
    pub sdd_ms: Option<f64>,
    /// Its messages that came or went before.
    pub retransmissions: u32,
    /// The cause of ITU-T Q.850 that it ended with (RFC 3326), 0 to 127.
    pub q850_cause: Option<u8>,
}

impl CallSignalling {
    /// What a report says.
    #[must_use]
    pub fn of(report: &SignallingReport) -> Self {
        let ms = |us: Option<u32>| us.map(|us| f64::from(us) / 1e3);
        Self {
            srd_ms: ms(report.srd_us),
            post_dial_delay_ms: ms(report.post_dial_delay_us),
            time_to_100_ms: ms(report.time_to_100_us),
            sdd_ms: ms(report.sdd_us),
            retransmissions: report.retransmissions,
            q850_cause: report.cause,
        }
    }
}

/// Where signalling is measured. RFC 6076 defines RRD, IRA, SRD, SER and SEER at the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// At the called side, which is the appliance.
    #[default]
    Callee,
    /// In between.
    Probe,
}

/// The figures of SIP since the start, or of all of a capture. Ratios are percentages, and `None`
/// where nothing counts yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SipRecord {
    /// Where they are measured.
    pub measured_at: Place,
    /// Messages that were understood, retransmissions among them.
    pub messages: u64,
    /// Datagrams that were to be SIP and could not be read.
    pub malformed: u64,
    /// Messages that came or went before: the same bytes on the same way within 32 s.
    pub retransmissions: u64,
    /// Of these, those received; `None` at a probe.
    pub retransmissions_received: Option<u64>,
    /// Of these, those sent; `None` at a probe.
    pub retransmissions_sent: Option<u64>,
    /// Requests by method.
    pub requests: BTreeMap<&'static str, u64>,
    /// Responses by status code, 100 to 999.
    pub responses: BTreeMap<u16, u64>,
    /// What became of sessions that were asked for.
    pub sessions: SessionRecord,
    /// What became of registrations.
    pub registrations: RegistrationRecord,
    /// Registration request delay (RFC 6076 section 4.1).
    pub rrd_ms: TimesRecord,
    /// Ineffective registration attempts (section 4.2).
    pub ira_percentage: Option<f64>,
    /// Session request delay of sessions that were answered (section 4.3.1).
    pub srd_ms: TimesRecord,
    /// The same of those that failed (section 4.3.2).
    pub srd_failed_ms: TimesRecord,
    /// Session disconnect delay (section 4.4).
    pub sdd_ms: TimesRecord,
    /// The same of BYEs that were refused.
    pub sdd_failed_ms: TimesRecord,
    /// Session duration (section 4.5), seconds.
    pub sdt_s: TimesRecord,
    /// The same of sessions whose BYE was not answered, until it was given up.
    pub sdt_failed_s: TimesRecord,
    /// Session establishment ratio (section 4.6).
    pub ser_percentage: Option<f64>,
    /// Session establishment effectiveness ratio (section 4.7).
    pub seer_percentage: Option<f64>,
    /// Ineffective session attempts (section 4.8).
    pub isa_percentage: Option<f64>,
    /// Session completion ratio (section 4.9).
    pub scr_percentage: Option<f64>,
    /// From the first INVITE to the first 180, 183 or 2xx.
    pub post_dial_delay_ms: TimesRecord,
    /// From the first INVITE to the first 100.
    pub time_to_100_ms: TimesRecord,
    /// Causes of ITU-T Q.850 that sessions ended with, by value.
    pub q850_causes: BTreeMap<u8, u64>,
    /// Who asks most, most first.
    pub user_agents: Vec<AgentRecord>,
}

/// What became of sessions that an INVITE asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionRecord {
    /// Asked for: one that is challenged and comes again with credentials is one, one that is
    /// redirected or tried once more is another one each time.
    pub attempts: u64,
    /// Of these, those of which the outcome is not known yet. They are in no ratio.
    pub pending: u64,
    /// Answered with a 2xx.
    pub answered: u64,
    /// Answered with a 3xx.
    pub redirected: u64,
    /// Answered with 480, 486, 600 or 603.
    pub declined: u64,
    /// Answered with 408, 500, 503 or 504.
    pub ineffective: u64,
    /// Answered with 487.
    pub cancelled: u64,
    /// Challenged, and not asked for again.
    pub challenged: u64,
    /// Of which no final response came.
    pub unanswered: u64,
    /// Answered with any other failure.
    pub failed: u64,
    /// Answered, and ended by a BYE that was answered.
    pub completed: u64,
    /// Answered, and ended without an answer to a BYE.
    pub incomplete: u64,
    /// Hung up by the caller.
    pub ended_by_caller: u64,
    /// Hung up by the callee.
    pub ended_by_callee: u64,
    /// Not followed, as too many others were.
    pub untracked: u64,
}

/// What became of REGISTER requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegistrationRecord {
    /// Requests; one sent again is none.
    pub requests: u64,
    /// Answered with a 2xx.
    pub accepted: u64,
    /// Answered with 401, 402 or 407.
    pub challenged: u64,
    /// Answered with another failure, or not within 32 s.
    pub failed: u64,
}

/// How long something took; `None` where there is no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TimesRecord {
    /// Samples.
    pub count: u64,
    /// Arithmetic mean, exact.
    pub mean: Option<f64>,
    /// Median; quantiles and the highest are within 1 %.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Highest.
    pub max: Option<f64>,
}

/// What one kind of User-Agent has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AgentRecord {
    /// Its name as far as it is told apart; empty where there is none, `None` of all others.
    pub user_agent: Option<String>,
    /// Sessions.
    pub sessions: u64,
    /// REGISTER requests.
    pub registers: u64,
}

impl SipRecord {
    /// What figures come to.
    #[must_use]
    pub fn of(found: &SipFigures, measured_at: Place) -> Self {
        let is_ours = measured_at == Place::Callee;
        let SipFigures { sessions, registers, times, .. } = found;
        let percent = |ratio: Option<f64>| ratio.map(|ratio| ratio * 100.0);
        Self {
            measured_at,
            messages: found.messages,
            malformed: found.malformed,
            retransmissions: found.retransmissions(),
            retransmissions_received: is_ours.then_some(found.retransmissions_received),
            retransmissions_sent: is_ours.then_some(found.retransmissions_sent),
            requests: found.requests().collect(),
            responses: found.responses().collect(),
            sessions: SessionRecord::of(sessions),
            registrations: RegistrationRecord::of(registers),
            rrd_ms: TimesRecord::of(&times.rrd),
            ira_percentage: percent(registers.ineffective_ratio()),
            srd_ms: TimesRecord::of(&times.srd),
            srd_failed_ms: TimesRecord::of(&times.srd_failed),
            sdd_ms: TimesRecord::of(&times.sdd),
            sdd_failed_ms: TimesRecord::of(&times.sdd_failed),
            sdt_s: TimesRecord::of(&times.sdt),
            sdt_failed_s: TimesRecord::of(&times.sdt_failed),
            ser_percentage: percent(sessions.establishment_ratio()),
            seer_percentage: percent(sessions.effectiveness_ratio()),
            isa_percentage: percent(sessions.ineffective_ratio()),
            scr_percentage: percent(sessions.completion_ratio()),
            post_dial_delay_ms: TimesRecord::of(&times.post_dial_delay),
            time_to_100_ms: TimesRecord::of(&times.time_to_100),
            q850_causes: found.causes.clone(),
            user_agents: agents(found),
        }
    }
}

/// Those that ask most by name, and all others together.
fn agents(found: &SipFigures) -> Vec<AgentRecord> {
    let mut known: Vec<_> = found.agents.known().collect();
    let asked = |counts: &AgentCounts| counts.sessions + counts.registers;
    known.sort_by(|a, b| asked(&b.1).cmp(&asked(&a.1)).then_with(|| a.0.cmp(b.0)));
    let shown = known.iter().take(AGENTS_SHOWN).map(|(name, counts)| AgentRecord {
        user_agent: Some(String::from_utf8_lossy(name).into_owned()),
        sessions: counts.sessions,
        registers: counts.registers,
    });
    let mut others = AgentRecord {
        sessions: found.agents.others.sessions,
        registers: found.agents.others.registers,
        ..AgentRecord::default()
    };
    for (_, counts) in known.iter().skip(AGENTS_SHOWN) {
        others.sessions += counts.sessions;
        others.registers += counts.registers;
    }
    let mut agents: Vec<_> = shown.collect();
    agents.extend(Some(others).filter(|others| *others != AgentRecord::default()));
    agents
}

impl SessionRecord {
    const fn of(counts: &SessionCounts) -> Self {
        Self {
            attempts: counts.attempts,
            pending: counts.attempts.saturating_sub(counts.decided + counts.untracked),
            answered: counts.answered,
            redirected: counts.redirected,
            declined: counts.declined,
            ineffective: counts.ineffective,
            cancelled: counts.cancelled,
            challenged: counts.challenged,
            unanswered: counts.unanswered,
            failed: counts.failed,
            completed: counts.completed,
            incomplete: counts.incomplete,
            ended_by_caller: counts.by_caller,
            ended_by_callee: counts.by_callee,
            untracked: counts.untracked,
        }
    }
}

impl RegistrationRecord {
    const fn of(counts: &RegisterCounts) -> Self {
        Self {
            requests: counts.requests,
            accepted: counts.accepted,
            challenged: counts.challenged,
            failed: counts.failed,
        }
    }
}

impl TimesRecord {
    /// Times in units of which a thousand are one that is shown.
    #[expect(clippy::cast_precision_loss, reason = "sums stay far below 2^53")]
    fn of(times: &Times) -> Self {
        let count = times.histogram.len();
        let shown = |units: u64| (count > 0).then_some(units as f64 / 1e3);
        Self {
            count,
            mean: (count > 0).then(|| times.sum as f64 / count as f64 / 1e3),
            p50: shown(times.histogram.value_at_quantile(0.5)),
            p95: shown(times.histogram.value_at_quantile(0.95)),
            p99: shown(times.histogram.value_at_quantile(0.99)),
            max: shown(times.histogram.max()),
        }
    }
}

/// User-Agents that are shown by name.
const AGENTS_SHOWN: usize = 20;
