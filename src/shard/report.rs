//! What leaves a shard: small values of fixed size, copied into the ring to control.
//!
//! Counters in a report are totals since the start of their stream or shard, never differences,
//! so a report that is lost costs freshness and nothing else.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::{
    buffer::BufferReport,
    health::{OwnFaults, ShardHealth},
    sequence::Counts,
};
use crate::{
    id::{CallRef, Ssrc, StreamRef},
    time::Timestamp,
    wire::{
        codec::Codec,
        rtcp::{StatisticsSummary, VoipMetrics},
        vq_rtcpxr::{VqFigures, VqKind},
    },
};

/// One message from a shard to control.
#[derive(Clone, Copy, Debug)]
pub enum Report {
    /// Something happened to a call.
    Call(CallReport),
    /// A piece of a call's text.
    Text(TextReport),
    /// The state of a received stream.
    Stream(StreamReport),
    /// The runs of lost packets of a received stream.
    LossRuns(LossRunsReport),
    /// The far end's view of a stream sent from here.
    Remote(RemoteReport),
    /// The far end's extended reports about a stream that it receives.
    FarEnd(FarEndReport),
    /// The round-trip time between the two sides of a call that is only observed.
    RoundTrip(RoundTripReport),
    /// Which way media of a call is expected to go, where that has changed.
    Flow(FlowReport),
    /// What a call's signalling tells about itself.
    Signalling(SignallingReport),
    /// What a phone says of a call of its.
    Phone(PhoneReport),
    /// The shard's own state.
    Health(ShardHealth),
}

/// Something happened to a call.
#[derive(Clone, Copy, Debug)]
pub struct CallReport {
    /// The call.
    pub call: CallRef,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: CallEvent,
}

/// What can happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// Its INVITE arrived or was seen. Texts follow.
    Opened,
    /// A provisional response, 100 to 199, was sent or seen.
    Progressed(u16),
    /// A 2xx was sent or seen.
    Answered(u16),
    /// It ended: by BYE, or because nothing was heard of it for too long. If it was only observed,
    /// it may not have been answered before.
    Ended(EndedBy),
    /// It ended unanswered, with this final status.
    Failed(u16, EndedBy),
}

/// Who or what ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// The caller, by BYE or CANCEL.
    Caller,
    /// The callee, by BYE or by refusing it; of a call to this appliance, the appliance itself.
    Callee,
    /// Nobody: nothing was heard for too long, or no ACK came.
    Timeout,
}

/// A piece of a call's text; the pieces of one field come in order.
#[derive(Clone, Copy, Debug)]
pub struct TextReport {
    /// The call.
    pub call: CallRef,
    /// Which text.
    pub field: TextField,
    /// How much of `bytes` is used.
    pub len: u8,
    /// The bytes.
    pub bytes: [u8; TEXT_PIECE],
}

/// The texts of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextField {
    /// Its Call-ID.
    CallId,
    /// The URI of its From header.
    From,
    /// The URI of its To header.
    To,
    /// Its User-Agent.
    UserAgent,
    /// The IP address that its INVITE came from.
    Source,
}

/// The state of a received stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamReport {
    /// The stream.
    pub stream: StreamRef,
    /// The call it belongs to; `None` for an orphan.
    pub call: Option<CallRef>,
    /// When the report was made.
    pub at: Timestamp,
    /// Whether it is the last one.
    pub is_final: bool,
    /// Which way the stream goes in its call.
    pub direction: Direction,
    /// Sender's address.
    pub src: SocketAddr,
    /// Address it was sent to.
    pub dst: SocketAddr,
    /// Synchronization source.
    pub ssrc: Ssrc,
    /// The last speech payload type.
    pub payload_type: u8,
    /// What that payload type means.
    pub codec: Codec,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Packet interval in RTP clock ticks; 0 while unknown.
    pub ptime_ticks: u32,
    /// Arrival of the first packet.
    pub first_at: Timestamp,
    /// Arrival of the last packet.
    pub last_at: Timestamp,
    /// Counts by sequence number.
    pub counts: Counts,
    /// Packets that gave a jitter sample.
    pub jitter_samples: u32,
    /// Highest A.8 estimate, microseconds.
    pub jitter_max_us: u32,
    /// A.8 estimate now, microseconds.
    pub jitter_us: u32,
    /// 95th percentile of the A.8 estimate, microseconds.
    pub jitter_p95_us: u32,
    /// Sum of the A.8 estimate over the samples, microseconds.
    pub jitter_sum_us: u64,
    /// Longest time between two packets, microseconds.
    pub delta_max_us: u32,
    /// Burst ratio, 0 while there is no loss.
    pub burst_ratio: f32,
    /// RFC 3611 burst density, percent.
    pub burst_density: f32,
    /// RFC 3611 gap density, percent.
    pub gap_density: f32,
    /// RFC 3611 bursts and gaps.
    pub bursts: Bursts,
    /// What a closer look at some packets has found.
    pub closeup: Closeup,
    /// What the shard did itself since the stream began.
    pub own: OwnFaults,
    /// How much longer packets were under way than the fastest.
    pub variation: DelayVariation,
    /// What the emulated jitter buffers did.
    pub buffers: BufferReport,
    /// Whether its source has said goodbye by RTCP, and has not come back since.
    pub has_left: bool,
}

/// Bursts of lost or discarded packets, and the gaps around them (RFC 3611 section 4.7.2,
/// Gmin 16). What is in no burst is in a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bursts {
    /// Bursts.
    pub count: u32,
    /// Packets in them, good ones included.
    pub packets: u32,
    /// Gaps.
    pub gaps: u32,
    /// Packets in the longest burst, the first of several as long; 0 without one.
    pub longest: u32,
    /// When the packet before the longest burst came, give or take 15 packets.
    pub longest_at: Timestamp,
}

impl Bursts {
    /// Mean length of a burst, packets; `None` without one.
    #[must_use]
    pub fn mean_burst(&self) -> Option<f64> {
        (self.count > 0).then(|| f64::from(self.packets) / f64::from(self.count))
    }

    /// Mean length of a gap of a stream of `total` packets, packets; `None` without one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn mean_gap(&self, total: u64) -> Option<f64> {
        let in_gaps = total.saturating_sub(self.packets.into());
        (self.gaps > 0).then(|| in_gaps as f64 / f64::from(self.gaps))
    }
}

/// What a closer look at one in [`CLOSEUP_EVERY`] packets of a stream, and at every change of the
/// codepoint, has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closeup {
    /// Differentiated Services codepoint of late (RFC 2474), 0 to 63.
    pub dscp: Option<u8>,
    /// Time to live or hop limit of late, 1 to 255.
    pub ttl: Option<u8>,
    /// How often a packet had another codepoint than the one before of which it is known.
    pub dscp_changes: u32,
    /// Packets whose payload was looked at: G.711 only.
    pub sampled: u32,
    /// Of these, those in which nothing can be heard.
    pub silent: u32,
}

/// How many runs of lost or discarded packets a stream has had, by their length: a piece of the
/// whole. A piece follows a report of its stream, and only if something in it has changed; the
/// last one always comes.
#[derive(Clone, Copy, Debug)]
pub struct LossRunsReport {
    /// The stream.
    pub stream: StreamRef,
    /// The call it belongs to; `None` for an orphan.
    pub call: Option<CallRef>,
    /// Whether the stream's report that it follows is the last one.
    pub is_final: bool,
    /// The length of the runs that `counts` begins with, packets.
    pub first_length: u8,
    /// Runs of this length, of one packet more, and so on. [`RUN_LENGTHS`] stands for all that
    /// are longer, too.
    pub counts: [u32; RUNS_PIECE],
}

/// Packet delay variation against the fastest packet (RFC 5481 section 4.2), without the skew of
/// the sender's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DelayVariation {
    /// Median, microseconds.
    pub p50_us: u32,
    /// 95th percentile, microseconds.
    pub p95_us: u32,
    /// 99th percentile, microseconds.
    pub p99_us: u32,
    /// Highest, microseconds.
    pub max_us: u32,
    /// What the sender's clock gains on ours, ppm; `None` until it is known.
    pub skew_ppm: Option<f32>,
}

impl StreamReport {
    /// Burst ratio; `None` while there is no loss.
    pub(crate) fn known_burst_ratio(&self) -> Option<f64> {
        (self.burst_ratio >= 1.0).then(|| f64::from(self.burst_ratio))
    }

    /// Mean of the A.8 estimate over the samples, milliseconds; `None` without one.
    pub(crate) fn jitter_mean_ms(&self) -> Option<f64> {
        ratio(self.jitter_sum_us, self.jitter_samples.into()).map(|us| us / 1e3)
    }
}

/// Which way a stream goes in its call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Towards the callee: what the appliance receives.
    #[default]
    Rx,
    /// Towards the caller: what the appliance sends.
    Tx,
}

/// The round-trip times of a call that is only observed.
#[derive(Clone, Copy, Debug)]
pub struct RoundTripReport {
    /// The call.
    pub call: CallRef,
    /// Round-trip times, through the place where the call is observed, from one side to the other.
    pub rtt: RoundTrip,
}

/// What a call's signalling tells about itself, as far as it has come; `None` is not known.
#[derive(Clone, Copy, Debug)]
pub struct SignallingReport {
    /// The call.
    pub call: CallRef,
    /// Session request delay (RFC 6076 section 4.3), microseconds.
    pub srd_us: Option<u32>,
    /// From the first INVITE to the first 180, 183 or 2xx, microseconds.
    pub post_dial_delay_us: Option<u32>,
    /// From the first INVITE to the first 100, microseconds.
    pub time_to_100_us: Option<u32>,
    /// Session disconnect delay (RFC 6076 section 4.4), microseconds.
    pub sdd_us: Option<u32>,
    /// Messages that came or went before.
    pub retransmissions: u32,
    /// The cause of ITU-T Q.850 that it ended with (RFC 3326), 0 to 127.
    pub cause: Option<u8>,
}

/// Which way media of a call is expected to go from a moment on. Without one it is both ways.
#[derive(Clone, Copy, Debug)]
pub struct FlowReport {
    /// The call.
    pub call: CallRef,
    /// When the session descriptions said so.
    pub at: Timestamp,
    /// What they said.
    pub flow: Flow,
}

/// Which way media of a call is expected to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Towards the callee: what the appliance receives.
    pub rx: bool,
    /// Towards the caller. What the appliance sends it sends because something came: nothing is
    /// expected of it.
    pub tx: bool,
}

impl Flow {
    /// Both ways.
    pub const BOTH: Self = Self { rx: true, tx: true };
}

/// The far end's view of a stream sent from here, from its RTCP reports.
#[derive(Clone, Copy, Debug)]
pub struct RemoteReport {
    /// The call.
    pub call: CallRef,
    /// When the report was made.
    pub at: Timestamp,
    /// Local address it is sent from.
    pub src: SocketAddr,
    /// Where it is sent.
    pub dst: SocketAddr,
    /// Our synchronization source.
    pub ssrc: Ssrc,
    /// Payload type sent.
    pub payload_type: u8,
    /// What that payload type means.
    pub codec: Codec,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Packet interval in RTP clock ticks; 0 while unknown.
    pub ptime_ticks: u32,
    /// First packet sent.
    pub first_at: Timestamp,
    /// Last packet sent.
    pub last_at: Timestamp,
    /// Packets sent.
    pub packets_sent: u64,
    /// What the far end says; `None` until it says something.
    pub reported: Option<Reported>,
    /// Round-trip times.
    pub rtt: RoundTrip,
}

/// The figures of the far end's last report block about our stream (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Packets it expected by then, from its extended highest sequence number.
    pub expected: u32,
    /// Packets it has lost; negative if it counts duplicates as received.
    pub lost: i32,
    /// Its last A.8 estimate, microseconds.
    pub jitter_us: u32,
    /// Its highest A.8 estimate, microseconds.
    pub jitter_max_us: u32,
    /// Sum of its A.8 estimates over `reports`, microseconds.
    pub jitter_sum_us: u64,
    /// Report blocks received.
    pub reports: u32,
}

/// What one side says by extended reports (RFC 3611) about a stream that it receives.
#[derive(Clone, Copy, Debug)]
pub struct FarEndReport {
    /// The call.
    pub call: CallRef,
    /// When it arrived or was seen.
    pub at: Timestamp,
    /// The stream's synchronization source.
    pub ssrc: Ssrc,
    /// Which way the stream goes in its call.
    pub direction: Direction,
    /// VoIP metrics (section 4.7), if there were any.
    pub metrics: Option<VoipMetrics>,
    /// The last statistics summary (section 4.6), if there was one.
    pub summary: Option<StatisticsSummary>,
}

impl FarEndReport {
    /// One that says nothing yet.
    pub(crate) const fn new(
        call: CallRef,
        at: Timestamp,
        ssrc: Ssrc,
        direction: Direction,
    ) -> Self {
        Self { call, at, ssrc, direction, metrics: None, summary: None }
    }

    /// Whether it says anything.
    pub(crate) const fn says_something(&self) -> bool {
        self.metrics.is_some() || self.summary.is_some()
    }
}

/// One direction of a voice quality report of a phone (RFC 6035).
#[derive(Clone, Copy, Debug)]
pub struct PhoneReport {
    /// When it came.
    pub at: Timestamp,
    /// Whom it came from.
    pub source: IpAddr,
    /// What it is about.
    pub kind: VqKind,
    /// Whether the call is over.
    pub is_final: bool,
    /// Which direction.
    pub side: Side,
    /// The beginning of the call's Call-ID.
    pub call_id: [u8; CALL_ID_PIECE],
    /// The length of the whole.
    pub call_id_len: u16,
    /// The codec; unknown if it was not said.
    pub codec: Codec,
    /// Its rate, Hz.
    pub sample_rate: Option<u32>,
    /// The figures.
    pub figures: VqFigures,
}

/// A direction of a call, as a phone has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What it received.
    Local,
    /// What it was told of what it sent.
    Remote,
}

/// Round-trip times of a call (RFC 3550 section 6.4.1, RFC 3611 section 4.5), microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// Measurements.
    pub count: u32,
    /// The last one.
    pub last_us: u32,
    /// The shortest one; 0 as long as there is none.
    pub min_us: u32,
    /// The longest one.
    pub max_us: u32,
    /// Their sum.
    pub sum_us: u64,
}

impl RoundTrip {
    /// Takes in one measurement.
    pub(crate) fn record(&mut self, us: u32) {
        self.min_us = if self.count == 0 { us } else { self.min_us.min(us) };
        self.count += 1;
        self.last_us = us;
        self.max_us = self.max_us.max(us);
        self.sum_us += u64::from(us);
    }

    /// Their mean, milliseconds; `None` without one.
    pub(crate) fn mean_ms(&self) -> Option<f64> {
        ratio(self.sum_us, self.count.into()).map(|us| us / 1e3)
    }
}

/// What a packet interval in RTP clock ticks takes, milliseconds; `None` while it, or the clock, is
/// not known.
pub(crate) fn ptime_ms(ticks: u32, clock_rate: u32) -> Option<f64> {
    (ticks > 0 && clock_rate > 0).then(|| 1e3 * f64::from(ticks) / f64::from(clock_rate))
}

/// A part of a whole; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Of so many packets one is looked at closely: three of each second of speech.
pub const CLOSEUP_EVERY: u64 = 16;

/// Bytes of text in one report.
pub const TEXT_PIECE: usize = 200;

/// Bytes of a Call-ID in a report of a phone.
pub const CALL_ID_PIECE: usize = 96;

/// Lengths of runs that are told apart.
pub const RUN_LENGTHS: usize = 127;

/// Lengths in one report: a third of all, rounded up.
pub const RUNS_PIECE: usize = RUN_LENGTHS.div_ceil(3);

// The ring's memory in `limits` counts on this.
const _: () = assert!(size_of::<Report>() <= 352);
