//! What is known of a call and of a stream, as the API shows it: facts and scores, no behaviour.
//!
//! Field names and their meaning are the HTTP contract; a value that is not known is `None`
//! and reaches JSON as `null`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use serde::{Serialize, Serializer};

pub use super::signalling::{CallSignalling, SipRecord};
pub use super::{
    buffers::{AssumedBuffer, EmulatedBuffer, EmulatedBuffers},
    conditions::{Condition, Conditions, Expected},
    loss_runs::LossRuns,
};
use super::{
    conditions::conditions, far_end::FarEndView, finished::Finished, join::measured_record,
    ladders::Ladders, phone_reports::PhoneReports, spreads::Spreads, streams::CallStreams,
};
pub use crate::shard::{
    health::{Registrations, ShardHealth, Shed},
    report::{Direction, EndedBy},
};
use crate::{
    id::{CallRef, Ssrc, Trunk},
    quality::{Impairments, MosBasis, Rating, Scale, score::Scoring},
    shard::{
        registrar::RegisteredUser,
        report::{RoundTrip, StreamReport},
    },
    time::Timestamp,
};

/// One call, active or finished, with its streams in both directions.
///
/// The call's own figures are those of its worst direction.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// The SIP Call-ID.
    pub call_id: String,
    /// The From header's URI.
    pub from: Option<String>,
    /// The To header's URI.
    pub to: Option<String>,
    /// The caller's User-Agent.
    pub user_agent: Option<String>,
    /// Where its INVITE came from.
    pub source: Option<IpAddr>,
    /// The trunk that is: its name, or else its network.
    #[serde(serialize_with = "display_option")]
    pub trunk: Option<Trunk>,
    /// Where the call stands.
    pub state: CallState,
    /// The last final SIP status sent for the INVITE, or the last provisional one before that.
    pub status_code: Option<u16>,
    /// Who or what ended it.
    pub ended_by: Option<EndedBy>,
    /// When the INVITE arrived.
    pub start_time: Timestamp,
    /// When it was answered with a 2xx.
    pub answer_time: Option<Timestamp>,
    /// When it ended or failed.
    pub end_time: Option<Timestamp>,
    /// Seconds from answer to end (to now while active); 0 if never answered.
    pub duration_seconds: f64,
    /// What its signalling tells about itself.
    #[serde(flatten)]
    pub signalling: CallSignalling,
    /// RTP packets sent to the caller; of a call only observed, those that its sequence numbers
    /// tell of.
    pub packets_sent: u64,
    /// The figures of the worst direction.
    #[serde(flatten)]
    pub figures: Figures,
    /// Highest jitter of any stream of the call, milliseconds.
    pub jitter_avg_ms: Option<f64>,
    /// Highest jitter seen, milliseconds.
    pub jitter_max_ms: Option<f64>,
    /// Mean round-trip time, milliseconds.
    pub latency_avg_ms: Option<f64>,
    /// Longest round-trip time, milliseconds.
    pub latency_max_ms: Option<f64>,
    /// The same in more figures.
    #[serde(flatten)]
    pub rtt: RttFigures,
    /// Codec of the worst direction.
    pub codec: Option<&'static str>,
    /// The scores of the worst direction.
    #[serde(flatten)]
    pub score: CallScore,
    /// The worst interval; unknown where intervals are not looked at.
    #[serde(flatten)]
    pub worst_interval: WorstInterval,
    /// Whether our own losses may have touched the call.
    pub integrity: Integrity,
    /// How much we lost ourselves while the call was up: datagrams and reports, all sockets and
    /// rings of its shard.
    pub own_drops: u64,
    /// Times that its shard came to its work more than 50 ms late while one of its streams was up.
    pub own_stalls: u64,
    /// What is wrong with its media: when the call ended, or when it was looked at.
    pub conditions: Conditions,
    /// When media was expected.
    #[serde(skip)]
    pub expected: Expected,
    /// Both directions.
    pub streams: CallStreams,
    /// Quality over time, oldest first; in lists it is left out.
    #[serde(skip)]
    pub timeline: Vec<TimelinePoint>,
    /// Its name across stages, by which its messages are found; `None` where none are kept.
    #[serde(skip)]
    pub reference: Option<CallRef>,
}

impl CallRecord {
    /// The call as it looks at a moment: time itself changes its duration while it is up, and
    /// media that does not come makes a condition.
    #[must_use]
    pub fn seen_at(&self, now: Timestamp) -> Self {
        let conditions = self.conditions_at(now);
        Self { duration_seconds: self.duration_at(now), conditions, ..self.clone() }
    }

    /// What is wrong with its media at a moment, or was when it ended.
    #[must_use]
    pub fn conditions_at(&self, now: Timestamp) -> Conditions {
        if self.state.is_over() { self.conditions } else { conditions(self, now) }
    }

    /// Seconds since the answer, or between answer and end.
    #[must_use]
    pub fn duration_at(&self, now: Timestamp) -> f64 {
        match self.answer_time.filter(|_| !self.state.is_over()) {
            Some(answered) => now.since(answered).as_secs_f64(),
            None => self.duration_seconds,
        }
    }
}

/// Packet counts of a call's worst direction.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// RTP packets received, duplicates not counted.
    pub packets_received: Option<u64>,
    /// Packets that never came.
    pub packets_lost: Option<u64>,
    /// Lost of expected, percent.
    pub packet_loss_percentage: Option<f64>,
    /// Packets that came after a later one.
    pub packets_out_of_order: Option<u64>,
    /// Packets that came again.
    pub packets_duplicate: Option<u64>,
    /// Packets too late for the assumed jitter buffer.
    pub packets_discarded: Option<u64>,
}

/// The scores of a call's worst direction.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CallScore {
    /// MOS-CQ where the delay is known, else MOS-LQ; 1 to 4.5.
    pub mos_score: Option<f64>,
    /// MOS-LQ, which leaves delay out; 1 to 4.5.
    pub mos_lq: Option<f64>,
    /// The transmission rating that `mos_score` comes from.
    pub r_factor: Option<f64>,
    /// What the score is based on.
    pub mos_basis: Option<MosBasis>,
    /// Why there is no score, or none of the conversational kind.
    pub mos_reason: Option<&'static str>,
    /// The rating band of `mos_score`.
    pub quality_rating: Option<Rating>,
    /// The jitter buffer that the scores assume.
    pub jitter_buffer: Option<AssumedBuffer>,
}

/// The worst interval of a call, both directions; where they are on different scales, the lower
/// number counts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WorstInterval {
    /// Its MOS, by the same rules as `mos_score`. An interval in which we lost something ourselves
    /// does not count, nor one with less than a second of speech.
    pub mos_min: Option<f64>,
    /// Its end.
    pub mos_min_time: Option<Timestamp>,
}

impl WorstInterval {
    /// Takes in an interval; of two that are equally bad the first one stays.
    pub(super) fn see(&mut self, mos: f64, time: Timestamp) {
        if self.mos_min.is_none_or(|least| mos < least) {
            *self = Self { mos_min: Some(mos), mos_min_time: Some(time) };
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// INVITE seen, nothing but 100 sent.
    Trying,
    /// 18x sent.
    Ringing,
    /// Answered with a 2xx.
    Active,
    /// Over after having been answered.
    Ended,
    /// Over without having been answered.
    Failed,
}

impl CallState {
    /// Whether nothing more will happen to the call.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }
}

/// Whether our own losses may have touched a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Integrity {
    /// Nothing was lost on our side while the call was up.
    #[default]
    Clean,
    /// We lost something ourselves; the figures may blame the network for it.
    Suspect,
}

/// One RTP stream: one direction of media from one SSRC.
#[derive(Clone, Debug, Serialize)]
pub struct StreamRecord {
    /// rx: towards the callee, measured here. tx: towards the caller; where the appliance is the
    /// callee, as the far end's RTCP reports it.
    pub direction: Direction,
    /// Sender's address.
    pub src: SocketAddr,
    /// Receiver's address.
    pub dst: SocketAddr,
    /// Synchronization source, as `0x%08x`.
    #[serde(serialize_with = "display")]
    pub ssrc: Ssrc,
    /// The last speech payload type.
    pub payload_type: Option<u8>,
    /// Its encoding name.
    pub codec: Option<&'static str>,
    /// RTP clock, Hz.
    pub clock_rate: Option<u32>,
    /// Packet interval, milliseconds.
    pub ptime_ms: Option<f64>,
    /// Arrival of the first packet.
    pub first_time: Option<Timestamp>,
    /// Arrival of the last packet so far.
    pub last_time: Option<Timestamp>,
    /// Packets received, duplicates not counted.
    pub packets_received: Option<u64>,
    /// Packets that sequence numbers say were sent.
    pub packets_expected: Option<u64>,
    /// Expected and never received.
    pub packets_lost: Option<u64>,
    /// Lost of expected, percent.
    pub loss_percentage: Option<f64>,
    /// Packets that came after a later one.
    pub packets_out_of_order: Option<u64>,
    /// Packets that came again.
    pub packets_duplicate: Option<u64>,
    /// Packets too late for the assumed jitter buffer.
    pub packets_discarded: Option<u64>,
    /// Mean of the RFC 3550 A.8 estimate over the packets, milliseconds.
    pub jitter_mean_ms: Option<f64>,
    /// Highest A.8 estimate, milliseconds.
    pub jitter_max_ms: Option<f64>,
    /// 95th percentile of the A.8 estimate, milliseconds; the upper edge of its bucket.
    pub jitter_p95_ms: Option<f64>,
    /// Packet delay variation against the fastest packet (RFC 5481 section 4.2), without the skew
    /// of the sender's clock, milliseconds: median.
    pub pdv_p50_ms: Option<f64>,
    /// Its 95th percentile.
    pub pdv_p95_ms: Option<f64>,
    /// Its 99th percentile.
    pub pdv_p99_ms: Option<f64>,
    /// Its highest value.
    pub pdv_max_ms: Option<f64>,
    /// What the sender's clock gains on ours, ppm; `None` for the first 20 s, and while jitter
    /// hides it.
    pub skew_ppm: Option<f64>,
    /// Longest time between two packets, milliseconds.
    pub max_delta_ms: Option<f64>,
    /// Mean time between two packets, milliseconds.
    pub mean_delta_ms: Option<f64>,
    /// Burst ratio (G.107 eq. 7-30), 1 for random loss.
    pub burst_ratio: Option<f64>,
    /// Lost or discarded inside bursts, percent (RFC 3611 section 4.7.2, Gmin 16).
    pub burst_density: Option<f64>,
    /// Lost or discarded inside gaps, percent (RFC 3611 section 4.7.2, Gmin 16).
    pub gap_density: Option<f64>,
    /// Bursts and gaps of loss.
    #[serde(flatten)]
    pub bursts: BurstRecord,
    /// Discarded of expected, percent.
    pub discard_percentage: Option<f64>,
    /// What a closer look at its packets has found.
    #[serde(flatten)]
    pub closeup: CloseupRecord,
    /// Mean round-trip time from RTCP, milliseconds.
    pub rtt_ms: Option<f64>,
    /// The same in more figures.
    #[serde(flatten)]
    pub rtt: RttFigures,
    /// MOS-CQ; `None` where the delay is not known.
    pub mos_cq: Option<f64>,
    /// MOS-LQ.
    pub mos_lq: Option<f64>,
    /// The rating that the best known of the two comes from.
    pub r_factor: Option<f64>,
    /// What the score is based on.
    pub mos_basis: Option<MosBasis>,
    /// Why a score is missing.
    pub mos_reason: Option<&'static str>,
    /// R lost, by cause.
    pub impairments: Option<Impairments>,
    /// The jitter buffer that the scores assume.
    pub jitter_buffer: Option<AssumedBuffer>,
    /// Both jitter buffers that are emulated; `None` of a stream that is not measured here, or
    /// whose clock is not known.
    pub buffers: Option<EmulatedBuffers>,
    /// Whether its source has said goodbye by RTCP; `None` where only the far end knows.
    pub rtcp_bye: Option<bool>,
    /// What its receiver says of it by extended RTCP reports.
    pub remote: Option<Box<FarEndView>>,
    /// The call it belongs to; `None` for an orphan.
    pub call_id: Option<String>,
}

/// Round-trip times from RTCP: by LSR and DLSR (RFC 3550 section 6.4.1) and by LRR and DLRR
/// (RFC 3611 section 4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RttFigures {
    /// Shortest, milliseconds.
    pub rtt_min_ms: Option<f64>,
    /// Longest, milliseconds.
    pub rtt_max_ms: Option<f64>,
    /// The last one, milliseconds.
    pub rtt_last_ms: Option<f64>,
    /// Measurements.
    pub rtt_count: u32,
}

impl RttFigures {
    pub(super) fn new(rtt: &RoundTrip) -> Self {
        let ms = |us: u32| (rtt.count > 0).then(|| f64::from(us) / 1e3);
        Self {
            rtt_min_ms: ms(rtt.min_us),
            rtt_max_ms: ms(rtt.max_us),
            rtt_last_ms: ms(rtt.last_us),
            rtt_count: rtt.count,
        }
    }
}

impl StreamRecord {
    /// The record of a stream that belongs to no call.
    #[must_use]
    pub fn of_orphan(report: &StreamReport, scoring: &Scoring) -> Self {
        measured_record(report, &RoundTrip::default(), scoring, None)
    }

    /// A record in which nothing is known.
    pub(super) const fn empty(direction: Direction) -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self {
            direction,
            src: nowhere,
            dst: nowhere,
            ssrc: Ssrc(0),
            payload_type: None,
            codec: None,
            clock_rate: None,
            ptime_ms: None,
            first_time: None,
            last_time: None,
            packets_received: None,
            packets_expected: None,
            packets_lost: None,
            loss_percentage: None,
            packets_out_of_order: None,
            packets_duplicate: None,
            packets_discarded: None,
            jitter_mean_ms: None,
            jitter_max_ms: None,
            jitter_p95_ms: None,
            pdv_p50_ms: None,
            pdv_p95_ms: None,
            pdv_p99_ms: None,
            pdv_max_ms: None,
            skew_ppm: None,
            max_delta_ms: None,
            mean_delta_ms: None,
            burst_ratio: None,
            burst_density: None,
            gap_density: None,
            bursts: BurstRecord::UNKNOWN,
            discard_percentage: None,
            closeup: CloseupRecord::UNKNOWN,
            rtt_ms: None,
            rtt: RttFigures { rtt_min_ms: None, rtt_max_ms: None, rtt_last_ms: None, rtt_count: 0 },
            mos_cq: None,
            mos_lq: None,
            r_factor: None,
            mos_basis: None,
            mos_reason: None,
            impairments: None,
            jitter_buffer: None,
            buffers: None,
            rtcp_bye: None,
            remote: None,
            call_id: None,
        }
    }
}

/// Bursts and gaps of the lost and discarded packets of a stream (RFC 3611 section 4.7.2,
/// Gmin 16), and the runs that they come in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BurstRecord {
    /// How many bursts.
    pub bursts: Option<u32>,
    /// Mean duration of a burst, milliseconds; `None` without one.
    pub burst_duration_ms: Option<f64>,
    /// Mean duration of a gap, milliseconds; `None` without one.
    pub gap_duration_ms: Option<f64>,
    /// Packets of the longest burst; `None` without one.
    pub longest_burst_packets: Option<u32>,
    /// When the packet before the longest burst came, give or take 15 packets.
    pub longest_burst_time: Option<Timestamp>,
    /// Runs of lost or discarded packets, as pairs of length and count.
    pub loss_runs: LossRuns,
}

impl BurstRecord {
    /// One in which nothing is known.
    const UNKNOWN: Self = Self {
        bursts: None,
        burst_duration_ms: None,
        gap_duration_ms: None,
        longest_burst_packets: None,
        longest_burst_time: None,
        loss_runs: LossRuns::NONE,
    };
}

/// What a closer look at some packets of a stream has found.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CloseupRecord {
    /// Differentiated Services codepoint of late (RFC 2474), 0 to 63.
    pub dscp: Option<u8>,
    /// How often a packet had another codepoint than the one before. A capture tells that of every
    /// packet, a socket that of the packets in one of 16 batches.
    pub dscp_changes: Option<u32>,
    /// Time to live or hop limit of late, 1 to 255.
    pub ttl: Option<u8>,
    /// Packets in which nothing can be heard, percent of those looked at; G.711 only.
    pub silence_percentage: Option<f64>,
}

impl CloseupRecord {
    /// One in which nothing is known.
    const UNKNOWN: Self =
        Self { dscp: None, dscp_changes: None, ttl: None, silence_percentage: None };
}

/// One interval of a measured stream, for the timeline.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimelinePoint {
    /// Which way the stream goes.
    pub direction: Direction,
    /// End of the interval.
    pub time: Timestamp,
    /// Packets received in it.
    pub packets_received: u32,
    /// Packets lost in it.
    pub packets_lost: i32,
    /// Packets discarded in it.
    pub packets_discarded: u32,
    /// A.8 jitter at its end, milliseconds.
    pub jitter_ms: f32,
    /// MOS of the interval by the same rules as the call's.
    pub mos: Option<f32>,
    /// Whether we lost something ourselves in it.
    pub integrity: Integrity,
}

/// What one report of a stream adds to its call, however coarse the timeline has become.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// Its beginning.
    pub since: Timestamp,
    /// The rest, as a point of the timeline.
    pub point: TimelinePoint,
}

/// Everything a reader sees, frozen at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// When the appliance started.
    pub started_at: Timestamp,
    /// Calls that are up, oldest first.
    pub active: Vec<Arc<CallRecord>>,
    /// Finished calls, oldest first.
    pub history: Vec<Arc<CallRecord>>,
    /// Streams that belong to no call, oldest first.
    pub orphans: Vec<Arc<StreamRecord>>,
    /// What phones said of their calls.
    pub phone_reports: Arc<PhoneReports>,
    /// Registered contacts by their users, in their order; at most a second older than the rest.
    pub registered: Arc<Vec<RegisteredUser>>,
    /// Totals since start.
    pub totals: Totals,
    /// The same calls in more figures, by codec and trunk.
    pub finished: Arc<Finished>,
    /// One entry a shard.
    pub shards: Vec<ShardHealth>,
    /// Distributions over all packets and reports since the start.
    pub spreads: Arc<Spreads>,
    /// The figures of SIP since the start.
    pub sip: Arc<SipRecord>,
    /// The messages of calls of late; a handle.
    pub ladders: Ladders,
}

impl Snapshot {
    /// What the registrars of all shards did.
    #[must_use]
    pub fn registrations(&self) -> Registrations {
        Registrations::sum(self.shards.iter().map(|shard| shard.registrations))
    }
}

/// Totals over all finished calls since start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Calls that ended or failed.
    pub calls: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Calls with a score that is not suspect.
    pub mos: MosTotals,
    /// Calls that an alert was raised about; where nothing raises alerts, answered calls outside a
    /// threshold of `quality::THRESHOLDS`.
    pub with_issues: u64,
    /// Calls marked suspect.
    pub suspect: u64,
}

/// Scored calls, by the scale of their score: what is on different scales is never added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MosTotals {
    /// Narrowband.
    pub nb: MosSum,
    /// Wideband.
    pub wb: MosSum,
    /// Fullband.
    pub fb: MosSum,
}

impl MosTotals {
    /// Each scale with its sum.
    #[must_use]
    pub const fn by_scale(&self) -> [(Scale, MosSum); 3] {
        [(Scale::Nb, self.nb), (Scale::Wb, self.wb), (Scale::Fb, self.fb)]
    }

    /// The scale that most calls are scored on, with its sum; of two with as many, the narrower.
    #[must_use]
    pub fn main(&self) -> (Scale, MosSum) {
        let [nb, wb, fb] = self.by_scale();
        [wb, fb].into_iter().fold(
            nb,
            |main, other| {
                if other.1.calls > main.1.calls { other } else { main }
            },
        )
    }

    /// Calls scored on any scale.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.nb.calls + self.wb.calls + self.fb.calls
    }

    /// Counts a call.
    pub(super) fn add(&mut self, scale: Scale, mos: f64) {
        let sum = match scale {
            Scale::Nb => &mut self.nb,
            Scale::Wb => &mut self.wb,
            Scale::Fb => &mut self.fb,
        };
        sum.calls += 1;
        sum.sum += mos;
    }
}

/// Scored calls of one scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MosSum {
    /// How many.
    pub calls: u64,
    /// Sum of their `mos_score`.
    pub sum: f64,
}

fn display<T: core::fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn display_option<T: core::fmt::Display, S: Serializer>(
    value: &Option<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}
