//! The [`Report`] of a run, for people and for programs.
//!
//! It sums up; it never decides what a number should be. `text` lays it out for people.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use voxplane::time::millis;

use crate::{
    call::CallResult,
    engine::{Generator, Route, RunResult},
    histogram::{Histogram, Quantiles},
    options::{AudioCodec, Scenario},
    uac::Outcome,
    verify::{Polled, Verification},
};

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub scenario: ScenarioReport,
    /// What became of the calls.
    pub calls: CallsReport,
    /// RTP sent.
    pub sent: SentReport,
    /// RTP received.
    pub received: ReceivedReport,
    /// Round trips that RTCP told.
    pub round_trip: Option<Quantiles>,
    /// Whether the generator itself kept up.
    pub generator: GeneratorReport,
    /// How the appliance's API answered meanwhile.
    pub api: Option<Polled>,
    /// Injected against measured.
    pub verification: Option<Verification>,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// Where calls went.
    pub target: String,
    /// User part.
    pub user: String,
    /// Calls.
    pub calls: u32,
    /// New calls per second.
    pub rate: f64,
    /// Media time of a call, seconds.
    pub duration_seconds: f64,
    /// Codec.
    pub codec: AudioCodec,
    /// Seed.
    pub seed: u64,
}

/// What became of the calls.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CallsReport {
    /// INVITEs begun.
    pub attempted: usize,
    /// Of these, answered with a 2xx.
    pub answered: usize,
    /// Of these, held for their time and ended by our BYE.
    pub completed: usize,
    /// All others.
    pub failed: usize,
    /// Failed calls by reason.
    pub failures: BTreeMap<String, usize>,
    /// INVITE to 2xx.
    pub setup: Option<Quantiles>,
    /// INVITEs sent again.
    pub invite_retransmissions: u64,
    /// BYEs sent again.
    pub bye_retransmissions: u64,
    /// CANCELs sent again.
    pub cancel_retransmissions: u64,
    /// 2xx that came again and were acknowledged again.
    pub repeated_answers: u64,
}

/// RTP sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SentReport {
    /// Packets handed to the network, repetitions included.
    pub packets: u64,
    /// Packets withheld.
    pub lost: u64,
    /// Withheld of generated, percent.
    pub loss_percentage: f64,
    /// Packets sent again.
    pub duplicate: u64,
    /// Packets sent after a later one.
    pub out_of_order: u64,
    /// Mean over the calls of the mean A.8 jitter, milliseconds.
    pub jitter_mean_ms: Option<f64>,
    /// Highest A.8 jitter of any call, milliseconds.
    pub jitter_max_ms: Option<f64>,
}

/// RTP received.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ReceivedReport {
    /// Packets, each counted once.
    pub packets: u64,
    /// Packets that sequence numbers say are missing.
    pub lost: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets that came after a later one.
    pub out_of_order: u64,
    /// Mean over the calls of the mean A.8 jitter, milliseconds.
    pub jitter_mean_ms: Option<f64>,
    /// Highest A.8 jitter of any call, milliseconds.
    pub jitter_max_ms: Option<f64>,
    /// Packets of sources beyond the first of a call, not measured.
    pub strangers: u64,
}

/// Whether the generator itself kept up.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratorReport {
    /// From a packet's planned time to its sending.
    pub pacing_lag: Option<Quantiles>,
    /// From the first start to the last end, seconds.
    pub wall_seconds: f64,
    /// CPU time spent on the calls, seconds.
    pub cpu_seconds: f64,
    /// CPU time of wall time, percent; 100 is one core.
    pub cpu_percent: f64,
    /// CPU time per RTP packet sent, SIP and what is received included, microseconds.
    pub cpu_us_per_packet: Option<f64>,
    /// Times that a socket had no room.
    pub send_waits: u64,
    /// Packets that the system refused.
    pub send_errors: u64,
    /// Datagrams that our own sockets dropped.
    pub own_drops: u64,
}

impl Report {
    /// Sums a run up.
    #[must_use]
    pub fn new(
        scenario: &Scenario,
        route: &Route,
        result: &RunResult,
        api: Option<Polled>,
        verification: Option<Verification>,
    ) -> Self {
        let sent = SentReport::new(&result.calls);
        let generator = GeneratorReport::new(&result.generator, sent.packets);
        Self {
            scenario: ScenarioReport {
                target: route.target.to_string(),
                user: scenario.user.clone(),
                calls: scenario.calls,
                rate: scenario.rate,
                duration_seconds: scenario.duration.as_secs_f64(),
                codec: scenario.codec,
                seed: scenario.seed,
            },
            calls: CallsReport::new(&result.calls),
            sent,
            received: ReceivedReport::new(&result.calls),
            round_trip: result.generator.round_trip.quantiles(),
            warnings: warnings(&generator, result.generator.socket_error.as_deref()),
            generator,
            api,
            verification,
        }
    }

    /// Whether every call asked for completed, and agrees with what the appliance measured.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.calls.completed == self.scenario.calls as usize
            && self.verification.as_ref().is_none_or(Verification::is_success)
    }
}

impl CallsReport {
    fn new(calls: &[CallResult]) -> Self {
        let mut report = Self { attempted: calls.len(), ..Self::default() };
        let mut setups = Histogram::default();
        for call in calls {
            if let Some(setup) = call.setup {
                report.answered += 1;
                setups.record(setup);
            }
            match call.outcome {
                Outcome::Completed => report.completed += 1,
                outcome => *report.failures.entry(reason(outcome)).or_default() += 1,
            }
            report.invite_retransmissions += call.repeats.invites;
            report.bye_retransmissions += call.repeats.byes;
            report.cancel_retransmissions += call.repeats.cancels;
            report.repeated_answers += call.repeats.acks;
        }
        report.failed = report.attempted - report.completed;
        report.setup = setups.quantiles();
        report
    }
}

impl SentReport {
    fn new(calls: &[CallResult]) -> Self {
        let mut report = Self::default();
        let mut unique = 0;
        for truth in calls.iter().map(|call| &call.truth) {
            unique += u64::from(truth.sent());
            report.lost += u64::from(truth.lost());
            report.duplicate += u64::from(truth.duplicates());
            report.out_of_order += u64::from(truth.reordered());
        }
        report.packets = unique + report.duplicate;
        report.loss_percentage = ratio(report.lost, unique + report.lost).unwrap_or(0.0) * 100.0;
        report.jitter_mean_ms = mean_ms(calls.iter().filter_map(|c| c.truth.jitter_mean()));
        report.jitter_max_ms = calls.iter().filter_map(|c| c.truth.jitter_max()).max().map(millis);
        report
    }
}

impl ReceivedReport {
    fn new(calls: &[CallResult]) -> Self {
        let mut report = Self::default();
        for received in calls.iter().map(|call| &call.received) {
            report.packets += received.packets;
            report.lost += received.lost;
            report.duplicate += received.duplicates;
            report.out_of_order += received.reordered;
            report.strangers += received.strangers;
        }
        report.jitter_mean_ms = mean_ms(calls.iter().filter_map(|c| c.received.jitter_mean));
        report.jitter_max_ms = calls.iter().filter_map(|c| c.received.jitter_max).max().map(millis);
        report
    }
}

impl GeneratorReport {
    fn new(generator: &Generator, packets: u64) -> Self {
        let (wall, cpu) = (generator.wall.as_secs_f64(), generator.cpu.as_secs_f64());
        let micros = u64::try_from(generator.cpu.as_micros()).unwrap_or(u64::MAX);
        Self {
            pacing_lag: generator.lag.quantiles(),
            wall_seconds: wall,
            cpu_seconds: cpu,
            cpu_percent: if wall > 0.0 { cpu / wall * 100.0 } else { 0.0 },
            cpu_us_per_packet: ratio(micros, packets),
            send_waits: generator.send_waits,
            send_errors: generator.send_errors,
            own_drops: generator.own_drops,
        }
    }
}

fn warnings(generator: &GeneratorReport, socket_error: Option<&str>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(lag) = generator.pacing_lag.filter(|lag| lag.p99_ms > LAG_P99_MAX_MS) {
        warnings.push(format!(
            "1 % of the packets left {:.1} ms late or more: this generator was the bottleneck",
            lag.p99_ms
        ));
    }
    if generator.send_errors > 0 {
        let count = generator.send_errors;
        warnings.push(format!("the system refused {count} datagrams; lost packets count as lost"));
    }
    if generator.own_drops > 0 {
        let count = generator.own_drops;
        warnings.push(format!("{count} received datagrams were dropped here, not on the way"));
    }
    if let Some(error) = socket_error {
        warnings.push(format!(
            "no media sockets: {error} (a call takes two; `ulimit -n` raises the limit)"
        ));
    }
    warnings
}

/// An end as reports name it: its status code, or some words.
#[must_use]
pub fn reason(outcome: Outcome) -> String {
    match outcome {
        Outcome::Completed => "completed".into(),
        Outcome::Rejected(code) => code.to_string(),
        Outcome::NoResponse => "no response".into(),
        Outcome::NoAnswer => "no answer".into(),
        Outcome::NoAudio => "no audio in the answer".into(),
        Outcome::EndedByCallee => "ended by the callee".into(),
        Outcome::ByeUnanswered => "BYE not answered".into(),
        Outcome::ByeRejected(code) => format!("BYE answered {code}"),
        Outcome::Interrupted => "interrupted".into(),
        Outcome::NoSocket => "no socket".into(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of packets fit 53 bits")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean_ms(values: impl Iterator<Item = Duration>) -> Option<f64> {
    let (count, sum) = values.fold((0_u32, 0.0), |(n, sum), value| (n + 1, sum + millis(value)));
    (count > 0).then(|| sum / f64::from(count))
}

/// A quarter of a packet interval: what an impaired stream shows is then still its impairment.
const LAG_P99_MAX_MS: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_about_a_busy_host_fits_a_terminal() {
        let late = 99_999.9;
        let lag = Quantiles { count: 1, p50_ms: late, p95_ms: late, p99_ms: late, max_ms: late };
        let generator = GeneratorReport {
            pacing_lag: Some(lag),
            wall_seconds: 1.0,
            cpu_seconds: 1.0,
            cpu_percent: 100.0,
            cpu_us_per_packet: None,
            send_waits: 0,
            send_errors: u64::MAX,
            own_drops: u64::MAX,
        };
        let warnings = warnings(&generator, None);
        assert_eq!(warnings.len(), 3);
        for warning in warnings {
            assert!("warning: ".len() + warning.chars().count() <= 100, "{warning}");
        }
    }
}
