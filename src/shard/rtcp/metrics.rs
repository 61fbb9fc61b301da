//! VoIP metrics (RFC 3611 section 4.7) of a stream that is received here.
//!
//! Measures nothing: all of it stands in the stream's report, and its scores come from where
//! those of the API come from.

use super::super::{
    buffer::BufferMode,
    report::{RoundTrip, StreamReport, ptime_ms, ratio},
};
use crate::{
    quality::{
        Scale, delay,
        score::{DEFAULT_PTIME_MS, ScoreInput, Scoring},
    },
    wire::{
        codec::Codec,
        rtcp::{Concealment, JitterBufferKind, VoipMetricsValues},
    },
};

/// What is said to the far end about a stream that it sends.
///
/// R goes with delay by definition and has a scale of 0 to 100: without a round trip, and for a
/// wideband codec, none is said.
pub(super) fn voip_metrics(
    report: &StreamReport,
    rtt: &RoundTrip,
    scoring: &Scoring,
) -> VoipMetricsValues {
    let counts = report.counts;
    let input = score_input(report, rtt);
    let score = scoring.score(&input);
    // Without a burst there is none that lasts (RFC 3611 section 4.7.2).
    let duration_ms = |packets: Option<f64>| packets.unwrap_or(0.0) * input.ptime_ms;
    let has_r = score.mos_cq.is_some() && score.basis.is_some_and(|it| it.scale == Scale::Nb);
    let jitter_buffer_ms = input.jitter_buffer_ms;
    let terminal_ms =
        delay::terminal_ms(input.codec, input.ptime_ms, jitter_buffer_ms, scoring.g711_plc);
    VoipMetricsValues {
        ssrc: report.ssrc,
        loss_rate: share(counts.lost(), counts.expected),
        discard_rate: share(counts.discarded, counts.expected),
        burst_density: f64::from(report.burst_density) / 100.0,
        gap_density: f64::from(report.gap_density) / 100.0,
        burst_duration_ms: duration_ms(report.bursts.mean_burst()),
        gap_duration_ms: duration_ms(report.bursts.mean_gap(counts.expected)),
        round_trip_ms: (rtt.count > 0).then(|| f64::from(rtt.last_us) / 1e3),
        end_system_delay_ms: Some(terminal_ms),
        r_factor: score.r_factor.filter(|_| has_r),
        mos_lq: score.mos_lq,
        mos_cq: score.mos_cq,
        concealment: concealment(report.codec, scoring),
        jitter_buffer_kind: Some(match report.buffers.mode {
            BufferMode::Fixed => JitterBufferKind::Fixed,
            BufferMode::Adaptive => JitterBufferKind::Adaptive,
        }),
        jitter_buffer_nominal_ms: jitter_buffer_ms,
        jitter_buffer_maximum_ms: jitter_buffer_ms,
        ..VoipMetricsValues::default()
    }
}

/// What the stream's score is made from, as `control` makes it.
fn score_input(report: &StreamReport, rtt: &RoundTrip) -> ScoreInput {
    let counts = report.counts;
    let ptime_ms = ptime_ms(report.ptime_ticks, report.clock_rate);
    ScoreInput {
        codec: report.codec,
        clock_rate: report.clock_rate,
        ptime_ms: ptime_ms.unwrap_or(DEFAULT_PTIME_MS),
        expected: counts.expected,
        lost: counts.lost(),
        discarded: counts.discarded,
        burst_ratio: report.known_burst_ratio(),
        rtt_ms: rtt.mean_ms(),
        jitter_buffer_ms: report.buffers.assumed_delay_ms(report.jitter_samples),
        jitter_ms: report.jitter_mean_ms().filter(|_| report.clock_rate > 0),
    }
}

/// How a receiver of this codec conceals loss, as its score assumes it; of other codecs than
/// G.711 nothing is said.
const fn concealment(codec: Codec, scoring: &Scoring) -> Option<Concealment> {
    match codec {
        Codec::Pcmu | Codec::Pcma if scoring.g711_plc => Some(Concealment::Standard),
        Codec::Pcmu | Codec::Pcma => Some(Concealment::Disabled),
        _ => None,
    }
}

fn share(part: u64, whole: u64) -> f64 {
    ratio(part, whole).unwrap_or(0.0)
}
