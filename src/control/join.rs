//! What one direction of a call adds up to, and the records of its streams.
//!
//! The one place where counts become loss, jitter and scores, for whoever shows them.

use super::{
    buffers::{AssumedBuffer, Buffers, EmulatedBuffers},
    record::{
        BurstRecord, CallScore, CloseupRecord, Direction, Figures, LossRuns, RttFigures,
        StreamRecord,
    },
};
use crate::{
    quality::{
        Rating,
        score::{DEFAULT_PTIME_MS, Score, ScoreInput, Scoring},
    },
    shard::{
        buffer::BufferMode,
        report::{Closeup, DelayVariation, RemoteReport, RoundTrip, StreamReport, ptime_ms, ratio},
    },
    wire::codec::Codec,
};

/// What is counted of a direction of media, or of one interval of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) codec: Codec,
    /// Hz; 0 where it is unknown.
    pub(super) clock_rate: u32,
    pub(super) ptime_ms: Option<f64>,
    pub(super) received: u64,
    pub(super) expected: u64,
    pub(super) lost: u64,
    pub(super) duplicate: u64,
    pub(super) out_of_order: u64,
    pub(super) discarded: u64,
    pub(super) burst_ratio: Option<f64>,
    pub(super) jitter_samples: u64,
    pub(super) jitter_sum_us: u64,
    pub(super) jitter_max_us: u32,
    /// What the emulated jitter buffers did; `None` where there are none.
    pub(super) buffers: Option<Buffers>,
}

impl Tally {
    /// The counts of a received stream.
    pub(super) fn of_stream(report: &StreamReport) -> Self {
        let counts = report.counts;
        Self {
            codec: report.codec,
            clock_rate: report.clock_rate,
            ptime_ms: ptime_ms(report.ptime_ticks, report.clock_rate),
            received: counts.received,
            expected: counts.expected,
            lost: counts.lost(),
            duplicate: counts.duplicate,
            out_of_order: counts.out_of_order,
            discarded: counts.discarded,
            burst_ratio: report.known_burst_ratio(),
            jitter_samples: report.jitter_samples.into(),
            jitter_sum_us: report.jitter_sum_us,
            jitter_max_us: report.jitter_max_us,
            buffers: Some(Buffers::of(report)),
        }
    }

    /// The counts of a sent stream, as the far end reports them; `None` while it does not.
    pub(super) fn of_remote(report: &RemoteReport) -> Option<Self> {
        let reported = report.reported?;
        let expected = u64::from(reported.expected);
        let lost = u64::try_from(reported.lost).unwrap_or(0).min(expected);
        Some(Self {
            codec: report.codec,
            clock_rate: report.clock_rate,
            ptime_ms: ptime_ms(report.ptime_ticks, report.clock_rate),
            received: expected - lost,
            expected,
            lost,
            jitter_samples: reported.reports.into(),
            jitter_sum_us: reported.jitter_sum_us,
            jitter_max_us: reported.jitter_max_us,
            ..Self::default()
        })
    }

    /// Both together: streams that followed each other in one direction. What cannot be added,
    /// such as the codec, is that of the one with more packets of speech.
    pub(super) fn and(self, other: Self) -> Self {
        let weight = |tally: &Self| (tally.codec.is_speech(), tally.expected);
        let main = if weight(&other) > weight(&self) { other } else { self };
        Self {
            received: self.received + other.received,
            expected: self.expected + other.expected,
            lost: self.lost + other.lost,
            duplicate: self.duplicate + other.duplicate,
            out_of_order: self.out_of_order + other.out_of_order,
            discarded: self.discarded + other.discarded,
            jitter_samples: self.jitter_samples + other.jitter_samples,
            jitter_sum_us: self.jitter_sum_us + other.jitter_sum_us,
            jitter_max_us: self.jitter_max_us.max(other.jitter_max_us),
            buffers: self.buffers.map_or(other.buffers, |own| {
                Some(other.buffers.map_or(own, |buffers| own.and(&buffers)))
            }),
            ..main
        }
    }

    /// What has been added since an earlier state of the same stream.
    pub(super) fn since(self, earlier: &Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            expected: self.expected.saturating_sub(earlier.expected),
            lost: self.lost.saturating_sub(earlier.lost),
            duplicate: self.duplicate.saturating_sub(earlier.duplicate),
            out_of_order: self.out_of_order.saturating_sub(earlier.out_of_order),
            discarded: self.discarded.saturating_sub(earlier.discarded),
            burst_ratio: None,
            jitter_samples: self.jitter_samples.saturating_sub(earlier.jitter_samples),
            jitter_sum_us: self.jitter_sum_us.saturating_sub(earlier.jitter_sum_us),
            buffers: self
                .buffers
                .map(|own| earlier.buffers.map_or(own, |before| own.since(&before))),
            ..self
        }
    }

    /// Scores these counts. Whoever shows a score has it from here.
    pub(super) fn score(&self, rtt: &RoundTrip, scoring: &Scoring) -> Score {
        self.score_with(self.discarded, self.buffer(scoring).delay_ms, rtt, scoring)
    }

    /// The jitter buffer that the score assumes: the emulated one, or where there is none, as in
    /// front of a far end, a fixed one of which only the delay counts.
    pub(super) fn buffer(&self, scoring: &Scoring) -> AssumedBuffer {
        self.buffers.as_ref().map_or(
            AssumedBuffer {
                mode: BufferMode::Fixed,
                delay_ms: scoring.far_end_buffer_ms,
                late: None,
                early: None,
            },
            Buffers::assumed,
        )
    }

    /// Both emulated buffers, with the scores that listeners with them would have. How bursty loss
    /// and discards are is known only for the one that scores assume, and taken for both.
    fn emulated(&self, rtt: &RoundTrip, scoring: &Scoring) -> Option<EmulatedBuffers> {
        let score = |discarded, delay_ms| {
            let score = self.score_with(discarded, delay_ms, rtt, scoring);
            (score.mos_lq, score.mos_cq)
        };
        self.buffers.map(|buffers| buffers.emulated(self.expected, score))
    }

    fn score_with(
        &self,
        discarded: u64,
        jitter_buffer_ms: f64,
        rtt: &RoundTrip,
        scoring: &Scoring,
    ) -> Score {
        scoring.score(&ScoreInput {
            codec: self.codec,
            clock_rate: self.clock_rate,
            ptime_ms: self.ptime_ms.unwrap_or(DEFAULT_PTIME_MS),
            expected: self.expected,
            lost: self.lost,
            discarded,
            burst_ratio: self.burst_ratio,
            rtt_ms: rtt.mean_ms(),
            jitter_buffer_ms,
            // Without the clock a time stamp says nothing.
            jitter_ms: self.jitter_mean_ms().filter(|_| self.clock_rate > 0),
        })
    }

    /// Lost of expected, percent.
    pub(super) fn loss_percentage(&self) -> Option<f64> {
        percentage(self.lost, self.expected)
    }

    /// Mean of the jitter estimate, milliseconds.
    pub(super) fn jitter_mean_ms(&self) -> Option<f64> {
        ratio(self.jitter_sum_us, self.jitter_samples).map(|us| us / 1e3)
    }

    /// Highest jitter estimate, milliseconds.
    pub(super) fn jitter_max_ms(&self) -> Option<f64> {
        (self.jitter_samples > 0).then(|| f64::from(self.jitter_max_us) / 1e3)
    }

    /// The counts as a call shows them.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            packets_received: Some(self.received),
            packets_lost: Some(self.lost),
            packet_loss_percentage: self.loss_percentage(),
            packets_out_of_order: Some(self.out_of_order),
            packets_duplicate: Some(self.duplicate),
            packets_discarded: Some(self.discarded),
        }
    }
}

/// The record of a measured stream.
pub(super) fn measured_record(
    report: &StreamReport,
    rtt: &RoundTrip,
    scoring: &Scoring,
    call_id: Option<&str>,
) -> StreamRecord {
    let tally = Tally::of_stream(report);
    let deltas = report.counts.received.saturating_sub(1);
    let lasted_us = report.last_at.since(report.first_at).as_micros();
    let mut record = StreamRecord {
        direction: report.direction,
        first_time: Some(report.first_at),
        last_time: Some(report.last_at),
        packets_out_of_order: Some(tally.out_of_order),
        packets_duplicate: Some(tally.duplicate),
        packets_discarded: Some(tally.discarded),
        jitter_p95_ms: tally.jitter_max_ms().map(|_| f64::from(report.jitter_p95_us) / 1e3),
        max_delta_ms: (deltas > 0).then(|| f64::from(report.delta_max_us) / 1e3),
        mean_delta_ms: ratio(u64::try_from(lasted_us).unwrap_or(u64::MAX), deltas)
            .map(|us| us / 1e3),
        burst_ratio: tally.burst_ratio,
        burst_density: Some(report.burst_density.into()),
        gap_density: Some(report.gap_density.into()),
        bursts: burst_record(report, tally.ptime_ms),
        discard_percentage: percentage(tally.discarded, tally.expected),
        closeup: closeup_record(&report.closeup),
        // Without the clock no packet is late.
        buffers: tally.emulated(rtt, scoring).filter(|_| report.clock_rate > 0),
        ..measured(&tally, rtt, scoring)
    };
    (record.src, record.dst, record.ssrc) = (report.src, report.dst, report.ssrc);
    record.payload_type = Some(report.payload_type);
    record.clock_rate = (report.clock_rate > 0).then_some(report.clock_rate);
    record.rtcp_bye = Some(report.has_left);
    record.call_id = call_id.map(str::to_owned);
    if record.clock_rate.is_none() {
        // Without the clock a time stamp says nothing.
        (record.jitter_mean_ms, record.jitter_max_ms, record.jitter_p95_ms) = (None, None, None);
    } else if report.jitter_samples > 0 {
        let DelayVariation { p50_us, p95_us, p99_us, max_us, skew_ppm } = report.variation;
        let [p50, p95, p99, max] =
            [p50_us, p95_us, p99_us, max_us].map(|us| Some(f64::from(us) / 1e3));
        (record.pdv_p50_ms, record.pdv_p95_ms, record.pdv_p99_ms) = (p50, p95, p99);
        (record.pdv_max_ms, record.skew_ppm) = (max, skew_ppm.map(f64::from));
    }
    record
}

/// The record of a stream that the far end reports about.
pub(super) fn reported_record(
    report: &RemoteReport,
    scoring: &Scoring,
    call_id: Option<&str>,
) -> StreamRecord {
    let tally = Tally::of_remote(report);
    let mut record = tally.map_or_else(
        || StreamRecord { mos_reason: Some(NOT_REPORTED), ..StreamRecord::empty(Direction::Tx) },
        |tally| StreamRecord { direction: Direction::Tx, ..measured(&tally, &report.rtt, scoring) },
    );
    (record.src, record.dst, record.ssrc) = (report.src, report.dst, report.ssrc);
    record.payload_type = Some(report.payload_type);
    record.codec = report.codec.name();
    record.clock_rate = (report.clock_rate > 0).then_some(report.clock_rate);
    record.ptime_ms = ptime_ms(report.ptime_ticks, report.clock_rate);
    record.first_time = Some(report.first_at);
    record.last_time = Some(report.last_at);
    record.rtt_ms = report.rtt.mean_ms();
    record.rtt = RttFigures::new(&report.rtt);
    record.call_id = call_id.map(str::to_owned);
    record
}

/// The scores of a call's worst direction.
pub(super) fn call_score(score: &Score, buffer: AssumedBuffer) -> CallScore {
    CallScore {
        mos_score: score.mos(),
        mos_lq: score.mos_lq,
        r_factor: score.r_factor,
        mos_basis: score.basis,
        mos_reason: score.reason,
        quality_rating: score.mos().map(Rating::from_mos),
        jitter_buffer: score.mos().map(|_| buffer),
    }
}

/// Bursts and gaps, by the time that their packets take.
fn burst_record(report: &StreamReport, ptime_ms: Option<f64>) -> BurstRecord {
    let bursts = report.bursts;
    let duration_ms = |packets: Option<f64>| Some(packets? * ptime_ms?);
    let longest = (bursts.longest > 0).then_some(bursts.longest);
    BurstRecord {
        bursts: Some(bursts.count),
        burst_duration_ms: duration_ms(bursts.mean_burst()),
        gap_duration_ms: duration_ms(bursts.mean_gap(report.counts.expected)),
        longest_burst_packets: longest,
        longest_burst_time: longest.map(|_| bursts.longest_at),
        loss_runs: LossRuns::NONE,
    }
}

fn closeup_record(closeup: &Closeup) -> CloseupRecord {
    CloseupRecord {
        dscp: closeup.dscp,
        dscp_changes: closeup.dscp.map(|_| closeup.dscp_changes),
        ttl: closeup.ttl,
        silence_percentage: percentage(closeup.silent.into(), closeup.sampled.into()),
    }
}

/// What both directions have in common.
fn measured(tally: &Tally, rtt: &RoundTrip, scoring: &Scoring) -> StreamRecord {
    let score = tally.score(rtt, scoring);
    StreamRecord {
        codec: tally.codec.name(),
        ptime_ms: tally.ptime_ms,
        packets_received: Some(tally.received),
        packets_expected: Some(tally.expected),
        packets_lost: Some(tally.lost),
        loss_percentage: tally.loss_percentage(),
        jitter_mean_ms: tally.jitter_mean_ms(),
        jitter_max_ms: tally.jitter_max_ms(),
        rtt_ms: rtt.mean_ms(),
        rtt: RttFigures::new(rtt),
        mos_cq: score.mos_cq,
        mos_lq: score.mos_lq,
        r_factor: score.r_factor,
        mos_basis: score.basis,
        mos_reason: score.reason,
        impairments: score.impairments,
        jitter_buffer: score.mos().map(|_| tally.buffer(scoring)),
        ..StreamRecord::empty(Direction::Rx)
    }
}

/// A share in percent; `None` of nothing.
pub(super) fn percentage(part: u64, whole: u64) -> Option<f64> {
    ratio(part, whole).map(|share| share * 100.0)
}

/// Why a sent stream has no figures.
const NOT_REPORTED: &str = "no RTCP report from the far end";
