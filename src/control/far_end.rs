//! What the far end of a stream says of it by extended RTCP reports (RFC 3611), as the API shows
//! it: its word stands beside what is measured here and never enters that.

use serde::Serialize;

use crate::{
    shard::report::FarEndReport,
    time::Timestamp,
    wire::rtcp::{Concealment, JitterBufferKind, StatisticsSummary, VoipMetrics},
};

/// The view of one who receives a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FarEndView {
    /// When it said so last.
    pub time: Timestamp,
    /// Lost since reception began, percent, in steps of 0.39.
    pub loss_percentage: Option<f64>,
    /// Discarded by its jitter buffer, percent, in steps of 0.39.
    pub discard_percentage: Option<f64>,
    /// Lost or discarded inside bursts, percent.
    pub burst_density: Option<f64>,
    /// Lost or discarded inside gaps, percent.
    pub gap_density: Option<f64>,
    /// Mean duration of bursts, milliseconds; 0 if there was none.
    pub burst_duration_ms: Option<u16>,
    /// Mean duration of gaps, milliseconds; 0 if there was none.
    pub gap_duration_ms: Option<u16>,
    /// Packets in a row that must be good to end a burst.
    pub gmin: Option<u8>,
    /// The last round trip that it has measured, milliseconds.
    pub round_trip_ms: Option<u16>,
    /// Delay within it, both directions together, milliseconds.
    pub end_system_delay_ms: Option<u16>,
    /// Level of speech, dBm0.
    pub signal_level_dbm: Option<i8>,
    /// Level of noise, dBm0.
    pub noise_level_dbm: Option<i8>,
    /// Residual echo return loss, dB.
    pub rerl_db: Option<u8>,
    /// Its R, 0 to 100.
    pub r_factor: Option<u8>,
    /// Its R of what lies beyond it, 0 to 100.
    pub external_r_factor: Option<u8>,
    /// Its MOS for listening.
    pub mos_lq: Option<f64>,
    /// Its MOS for conversing.
    pub mos_cq: Option<f64>,
    /// How it conceals loss: `disabled`, `standard` or `enhanced`.
    pub concealment: Option<&'static str>,
    /// Its jitter buffer: `fixed` or `adaptive`.
    pub jitter_buffer: Option<&'static str>,
    /// Delay of a packet that comes on time, milliseconds.
    pub jitter_buffer_nominal_ms: Option<u16>,
    /// Delay of the earliest packet that is not discarded, milliseconds.
    pub jitter_buffer_maximum_ms: Option<u16>,
    /// What that may grow to, milliseconds.
    pub jitter_buffer_absolute_maximum_ms: Option<u16>,
    /// Its last statistics summary.
    pub summary: Option<SummaryView>,
}

/// What the far end counts over a range of sequence numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryView {
    /// The first sequence number.
    pub begin_sequence: u16,
    /// One more than the last.
    pub end_sequence: u16,
    /// Packets lost.
    pub packets_lost: Option<u32>,
    /// Packets that came again.
    pub packets_duplicate: Option<u32>,
    /// Least difference of transit times, milliseconds.
    pub jitter_min_ms: Option<f64>,
    /// Their mean, milliseconds.
    pub jitter_mean_ms: Option<f64>,
    /// Greatest one, milliseconds.
    pub jitter_max_ms: Option<f64>,
    /// Their standard deviation, milliseconds.
    pub jitter_deviation_ms: Option<f64>,
    /// Fewest hops left, by TTL or hop limit.
    pub hops_min: Option<u8>,
    /// Most hops left.
    pub hops_max: Option<u8>,
}

impl FarEndView {
    /// What a report says of a stream with this RTP clock, Hz; 0 if that is unknown.
    pub(super) fn new(report: &FarEndReport, clock_rate: u32) -> Self {
        let metrics = report.metrics.as_ref().map(Self::of_metrics);
        Self {
            time: report.at,
            summary: report.summary.map(|summary| SummaryView::new(&summary, clock_rate)),
            ..metrics.unwrap_or_default()
        }
    }

    fn of_metrics(metrics: &VoipMetrics) -> Self {
        Self {
            time: Timestamp::MIN,
            loss_percentage: Some(metrics.loss_rate() * 100.0),
            discard_percentage: Some(metrics.discard_rate() * 100.0),
            burst_density: Some(metrics.burst_density() * 100.0),
            gap_density: Some(metrics.gap_density() * 100.0),
            burst_duration_ms: Some(metrics.burst_duration_ms()),
            gap_duration_ms: Some(metrics.gap_duration_ms()),
            gmin: metrics.gmin(),
            round_trip_ms: metrics.round_trip_ms(),
            end_system_delay_ms: metrics.end_system_delay_ms(),
            signal_level_dbm: metrics.signal_level_dbm0(),
            noise_level_dbm: metrics.noise_level_dbm0(),
            rerl_db: metrics.rerl_db(),
            r_factor: metrics.r_factor(),
            external_r_factor: metrics.external_r_factor(),
            mos_lq: metrics.mos_lq(),
            mos_cq: metrics.mos_cq(),
            concealment: metrics.concealment().map(|concealment| match concealment {
                Concealment::Disabled => "disabled",
                Concealment::Standard => "standard",
                Concealment::Enhanced => "enhanced",
            }),
            jitter_buffer: metrics.jitter_buffer_kind().map(|kind| match kind {
                JitterBufferKind::Fixed => "fixed",
                JitterBufferKind::Adaptive => "adaptive",
            }),
            jitter_buffer_nominal_ms: Some(metrics.jitter_buffer_nominal_ms()),
            jitter_buffer_maximum_ms: Some(metrics.jitter_buffer_maximum_ms()),
            jitter_buffer_absolute_maximum_ms: Some(metrics.jitter_buffer_absolute_maximum_ms()),
            summary: None,
        }
    }
}

impl SummaryView {
    fn new(summary: &StatisticsSummary, clock_rate: u32) -> Self {
        let ms =
            |ticks: u32| (clock_rate > 0).then(|| 1e3 * f64::from(ticks) / f64::from(clock_rate));
        let (jitter, hops) = (summary.jitter(), summary.hops());
        Self {
            begin_sequence: summary.begin_sequence(),
            end_sequence: summary.end_sequence(),
            packets_lost: summary.lost(),
            packets_duplicate: summary.duplicates(),
            jitter_min_ms: jitter.and_then(|jitter| ms(jitter.min)),
            jitter_mean_ms: jitter.and_then(|jitter| ms(jitter.mean)),
            jitter_max_ms: jitter.and_then(|jitter| ms(jitter.max)),
            jitter_deviation_ms: jitter.and_then(|jitter| ms(jitter.deviation)),
            hops_min: hops.map(|hops| hops.min),
            hops_max: hops.map(|hops| hops.max),
        }
    }
}
