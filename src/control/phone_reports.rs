//! What phones say of their calls (RFC 6035), by Call-ID: beside what is measured here, and scored
//! by the same rules. It changes nothing about a call.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use serde::Serialize;

use crate::{
    quality::{
        MosBasis,
        score::{ScoreInput, Scoring},
    },
    shard::report::{PhoneReport, Side},
    time::Timestamp,
    wire::{
        codec::Codec,
        vq_rtcpxr::{VqFigures, VqKind},
    },
};

/// The last reports of a bounded number of calls. Cloning it copies handles.
#[derive(Clone, Debug, Default)]
pub struct PhoneReports {
    by_call: HashMap<Arc<str>, Vec<Arc<PhoneView>>>,
    /// Calls in the order of their first report.
    order: VecDeque<Arc<str>>,
}

/// One direction of one report of a phone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhoneView {
    /// When it came.
    pub time: Timestamp,
    /// Whom it came from.
    pub source: IpAddr,
    /// `session`, `interval` or `alert`.
    pub kind: &'static str,
    /// Whether it was made at the end of the call.
    pub is_final: bool,
    /// `local`: what the phone received; `remote`: what it was told of what it sent.
    pub side: &'static str,
    /// The codec's encoding name.
    pub codec: Option<&'static str>,
    /// Packet interval, milliseconds.
    pub ptime_ms: Option<f64>,
    /// Lost, percent.
    pub loss_percentage: Option<f64>,
    /// Discarded by its jitter buffer, percent.
    pub discard_percentage: Option<f64>,
    /// Lost or discarded inside bursts, percent.
    pub burst_density: Option<f64>,
    /// Mean burst, milliseconds.
    pub burst_duration_ms: Option<f64>,
    /// Lost or discarded inside gaps, percent.
    pub gap_density: Option<f64>,
    /// Mean gap, milliseconds.
    pub gap_duration_ms: Option<f64>,
    /// Packets in a row that must be good to end a burst.
    pub gmin: Option<f64>,
    /// Round trip of the network, milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Delay within it, milliseconds.
    pub end_system_delay_ms: Option<f64>,
    /// One way, mouth to ear, milliseconds.
    pub one_way_delay_ms: Option<f64>,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: Option<f64>,
    /// Mean absolute jitter, milliseconds.
    pub absolute_jitter_ms: Option<f64>,
    /// Nominal delay of its jitter buffer, milliseconds.
    pub jitter_buffer_nominal_ms: Option<f64>,
    /// Its R for listening.
    pub r_lq: Option<f64>,
    /// Its R for conversing.
    pub r_cq: Option<f64>,
    /// Its MOS for listening, as said.
    pub mos_lq: Option<f64>,
    /// Its MOS for conversing, as said.
    pub mos_cq: Option<f64>,
    /// What our rules make of its figures.
    pub scored: Scored,
}

/// What our rules make of the loss, discards and delay that a phone reports; losses count as
/// random, since its densities do not tell the burst ratio of G.107.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scored {
    /// For listening.
    pub mos_lq: Option<f64>,
    /// For conversing; `null` where it reports no round trip.
    pub mos_cq: Option<f64>,
    /// The rating behind them.
    pub r_factor: Option<f64>,
    /// What they are based on.
    pub mos_basis: Option<MosBasis>,
    /// Why one is missing.
    pub mos_reason: Option<&'static str>,
}

impl PhoneReports {
    /// The reports about a call, oldest first.
    #[must_use]
    pub fn of(&self, call_id: &str) -> &[Arc<PhoneView>] {
        self.by_call.get(name(call_id.as_bytes()).as_str()).map_or(&[], Vec::as_slice)
    }

    /// All calls that there are reports of, in the order of their first one.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &[Arc<PhoneView>])> {
        self.order
            .iter()
            .filter_map(|call| self.by_call.get(call).map(|reports| (&**call, reports.as_slice())))
    }

    /// Takes in a report, and gives what names its call and how it is shown. Of a call that has
    /// many the first ones go, and the calls that were first reported of.
    pub(super) fn take(
        &mut self,
        report: &PhoneReport,
        scoring: &Scoring,
    ) -> (Arc<str>, Arc<PhoneView>) {
        let len = usize::from(report.call_id_len).min(report.call_id.len());
        let is_whole = usize::from(report.call_id_len) <= report.call_id.len();
        let mut call: Arc<str> = String::from_utf8_lossy(&report.call_id[..len]).into();
        if !is_whole {
            call = format!("{call}{CUT}{}", report.call_id_len).into();
        }
        let view = Arc::new(PhoneView::new(report, scoring));
        if !self.by_call.contains_key(&call) {
            self.order.push_back(Arc::clone(&call));
            if self.order.len() > CALLS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_call.remove(&oldest);
            }
        }
        let reports = self.by_call.entry(Arc::clone(&call)).or_default();
        if reports.len() == REPORTS_PER_CALL_MAX {
            reports.remove(0);
        }
        reports.push(Arc::clone(&view));
        (call, view)
    }
}

impl PhoneView {
    fn new(report: &PhoneReport, scoring: &Scoring) -> Self {
        let figures = &report.figures;
        Self {
            time: report.at,
            source: report.source,
            kind: match report.kind {
                VqKind::Session => "session",
                VqKind::Interval => "interval",
                VqKind::Alert => "alert",
            },
            is_final: report.is_final,
            side: match report.side {
                Side::Local => "local",
                Side::Remote => "remote",
            },
            codec: report.codec.name(),
            ptime_ms: wide(figures.ptime_ms),
            loss_percentage: wide(figures.lost),
            discard_percentage: wide(figures.discarded),
            burst_density: wide(figures.burst_density),
            burst_duration_ms: wide(figures.burst_ms),
            gap_density: wide(figures.gap_density),
            gap_duration_ms: wide(figures.gap_ms),
            gmin: wide(figures.gmin),
            round_trip_ms: wide(figures.round_trip_ms),
            end_system_delay_ms: wide(figures.end_system_ms),
            one_way_delay_ms: wide(figures.one_way_ms),
            jitter_ms: wide(figures.jitter_ms),
            absolute_jitter_ms: wide(figures.absolute_jitter_ms),
            jitter_buffer_nominal_ms: wide(figures.buffer_ms),
            r_lq: wide(figures.r_lq),
            r_cq: wide(figures.r_cq),
            mos_lq: wide(figures.mos_lq),
            mos_cq: wide(figures.mos_cq),
            scored: Scored::new(report.codec, report.sample_rate, figures, scoring),
        }
    }
}

impl Scored {
    fn new(codec: Codec, sample_rate: Option<u32>, figures: &VqFigures, scoring: &Scoring) -> Self {
        let Some(lost) = figures.lost else {
            return Self { mos_reason: Some(NO_LOSS), ..Self::default() };
        };
        let input = ScoreInput {
            codec,
            clock_rate: sample_rate.unwrap_or(DEFAULT_RATE),
            ptime_ms: wide(figures.ptime_ms).unwrap_or(DEFAULT_PTIME_MS),
            expected: OF,
            lost: share(lost),
            discarded: share(figures.discarded.unwrap_or(0.0)),
            burst_ratio: None,
            rtt_ms: wide(figures.round_trip_ms),
            jitter_buffer_ms: wide(figures.buffer_ms).unwrap_or(scoring.far_end_buffer_ms),
            jitter_ms: wide(figures.jitter_ms),
        };
        let score = scoring.score(&input);
        Self {
            mos_lq: score.mos_lq,
            mos_cq: score.mos_cq,
            r_factor: score.r_factor,
            mos_basis: score.basis,
            mos_reason: score.reason,
        }
    }
}

/// What names a call among reports: its Call-ID, a long one by its beginning and its length.
#[must_use]
pub fn name(call_id: &[u8]) -> String {
    match call_id.get(..crate::shard::report::CALL_ID_PIECE) {
        Some(start) if start.len() < call_id.len() => {
            format!("{}{CUT}{}", String::from_utf8_lossy(start), call_id.len())
        }
        _ => String::from_utf8_lossy(call_id).into_owned(),
    }
}

/// A value as text said it: `4.3` and not the `4.300000190734863` of its 32 bits.
fn wide(value: Option<f32>) -> Option<f64> {
    value.map(|value| (f64::from(value) * 1e3).round() / 1e3)
}

/// A percentage as packets of [`OF`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a percentage is 0 to 100"
)]
fn share(percent: f32) -> u64 {
    (f64::from(percent) * 1e4).round() as u64
}

/// Stands between the beginning of a Call-ID and its length.
const CUT: char = '…';

const NO_LOSS: &str = "the phone reports no loss rate";

/// Percentages are scored as packets of a million.
const OF: u64 = 1_000_000;
const DEFAULT_RATE: u32 = 8000;
const DEFAULT_PTIME_MS: f64 = 20.0;

/// Calls with reports, some 10 KB each with all of them.
const CALLS_MAX: usize = 2000;

/// Reports of one call; its last ones.
pub(crate) const REPORTS_PER_CALL_MAX: usize = 20;
