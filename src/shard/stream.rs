//! One received RTP stream: what each packet adds to its measurement.
//!
//! No socket, no clock, no allocation: a packet comes with its time of arrival.

use core::{mem::offset_of, num::NonZeroU64};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{
    buckets::{Spread, Spreads, Thinning},
    buffer::{Buffers, Depths, Unplayed},
    dialog::DialogId,
    health::OwnFaults,
    jitter::Jitter,
    loss::Settled,
    report::{
        Bursts, CLOSEUP_EVERY, Closeup, DelayVariation, Direction, LossRunsReport, RUNS_PIECE,
        StreamReport,
    },
    rtcp::delay_units,
    sequence::{Arrival, Ledger, Sequence},
    silence::is_silent,
    variation::{Points, Variation},
};
use crate::{
    id::{CallRef, PayloadType, ShardId, Ssrc, StreamRef},
    limits::JITTER_BUFFER,
    time::Timestamp,
    wire::{
        IpMarks,
        codec::Codec,
        rtcp::{ReportBlockValues, SenderReport, StatisticsSummaryValues},
        rtp::RtpPacket,
    },
};

/// One SSRC from one address to one address.
///
/// In the order in which packets need it: three cache lines that every packet reads and writes, the
/// buckets of which it needs a line, then what only irregular packets, the ends of windows and
/// reports look at.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Stream {
    sequence: Sequence,
    brief: BriefKey,
    format: Format,
    pub(crate) state: State,
    /// Whether its packets are sent back.
    pub(crate) is_echoed: bool,
    last: Last,
    /// Where its packets count among the shard's distributions.
    pub(crate) group: u8,
    /// The codepoint of the last packet, as [`IpMarks::dscp_octet`] has it.
    dscp: u8,
    /// Arrival of the last packet; of a stream that is closed, when it was.
    last_at: Timestamp,
    delta_max_us: u32,
    thinning: Thinning,
    jitter: Jitter,
    variation: Variation,
    buffers: Buffers,
    spreads: Spreads,
    points: Points,
    ledger: Ledger,
    /// The whole key, where it does not fit into the brief one.
    long_key: Option<Box<StreamKey>>,
    pub(crate) serial: u64,
    /// The serial of the call that it belongs to; none is 0.
    dialog_serial: Option<NonZeroU64>,
    first_at: Timestamp,
    /// When the last sender report came.
    sender_report_at: Timestamp,
    /// The middle 32 bits of its NTP time; 0 if none has come.
    sender_report_ntp: u32,
    /// The slot of its call.
    dialog_slot: u32,
    unplayed: Unplayed,
    /// What the shard had done itself by then.
    own_before: OwnFaults,
    reported: ReportedBefore,
    /// The lower bits of how many packets had been received by the last report to control.
    told: u32,
    /// What a closer look at some packets has found, but for the codepoint.
    closeup: Closeup,
    /// Which way it goes in its call.
    pub(crate) direction: Direction,
}

/// What tells streams apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamKey {
    src: u128,
    dst: u128,
    ports: u32,
    ssrc: u32,
    /// Of source and destination.
    scopes: [u32; 2],
}

/// What of a key fits into a quarter of a cache line: all of it if the addresses are of IPv4, else
/// a part that differs for most keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BriefKey {
    src: u32,
    dst: u32,
    /// Of source and destination; 0 if this is not the whole key.
    ports: u32,
    ssrc: u32,
}

impl BriefKey {
    const fn is_whole(self) -> bool {
        self.ports != 0
    }
}

/// How far a stream is trusted and followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// One packet of no known call: it takes the next in sequence to make a stream
    /// (RFC 3550 appendix A.1).
    Probation { next: u16 },
    /// Measured.
    Live,
    /// It has said goodbye; so many packets that followed on those before have come since.
    Left { stragglers: u8 },
    /// Its call is over; what still comes is not looked at.
    Closed,
    /// No stream: the slot is free. A state, and not an `Option` around the stream, which would
    /// be told by a byte in a line that nothing else needs.
    Vacant,
}

/// A payload format that a session description gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) payload_type: PayloadType,
    pub(crate) codec: Codec,
    /// RTP clock, Hz; 0 if it is not known.
    pub(crate) clock_rate: u32,
}

impl Format {
    /// What a payload type means where no session description says it.
    pub(crate) fn assumed(payload_type: PayloadType) -> Self {
        let (codec, clock_rate) = Codec::from_static(payload_type.0).unwrap_or((Codec::Unknown, 0));
        Self { payload_type, codec, clock_rate }
    }
}

/// What the next packet has to know of the last one: whether it had the marker bit, and whether it
/// was older than one before it.
#[derive(Clone, Copy, Debug)]
struct Last(u8);

impl Last {
    const fn new(has_marker: bool, is_older: bool) -> Self {
        Self(has_marker as u8 | (is_older as u8) << 1)
    }

    const fn had_marker(self) -> bool {
        self.0 & 1 != 0
    }

    const fn was_older(self) -> bool {
        self.0 & 2 != 0
    }
}

/// The counts at the last report block sent (RFC 3550 appendix A.3).
///
/// Modulo 2^32, which what has come since never reaches.
#[derive(Clone, Copy, Debug, Default)]
struct ReportedBefore {
    expected: u32,
    /// Duplicates included: A.3 counts them as received, and the far end expects it so.
    received: u32,
    duplicate: u32,
}

/// What is said to the far end about an interval (RFC 3550 section 6.4.1, RFC 3611 section 4.6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntervalReport {
    pub(crate) block: ReportBlockValues,
    pub(crate) summary: StatisticsSummaryValues,
}

impl StreamKey {
    #[inline]
    pub(crate) fn new(src: &SocketAddr, dst: &SocketAddr, ssrc: Ssrc) -> Self {
        let (src, dst) = (Endpoint::of(src), Endpoint::of(dst));
        let ports = u32::from(src.port) << 16 | u32::from(dst.port);
        Self { src: src.ip, dst: dst.ip, ports, ssrc: ssrc.0, scopes: [src.scope, dst.scope] }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are the point")]
    const fn brief(&self) -> BriefKey {
        let (src, dst, ssrc) = (self.src as u32, self.dst as u32, self.ssrc);
        if self.src >> 32 == MAPPED >> 32 && self.dst >> 32 == MAPPED >> 32 {
            BriefKey { src, dst, ports: self.ports, ssrc }
        } else {
            BriefKey { src, dst: dst ^ self.ports, ports: 0, ssrc }
        }
    }

    pub(crate) fn src(&self) -> SocketAddr {
        address(self.src, (self.ports >> 16) as u16, self.scopes[0])
    }

    pub(crate) fn dst(&self) -> SocketAddr {
        address(self.dst, (self.ports & 0xFFFF) as u16, self.scopes[1])
    }

    /// Feeds the key to a hasher in whole words.
    #[inline]
    pub(crate) fn hash_with(&self, hasher: &mut impl core::hash::Hasher) {
        hasher.write_u128(self.src);
        hasher.write_u128(self.dst);
        hasher.write_u64(u64::from(self.ports) << 32 | u64::from(self.ssrc));
    }
}

impl Stream {
    /// A stream that begins with this packet. `dialog` is the call that it belongs to, if one is
    /// known to expect it.
    pub(crate) fn new(
        key: StreamKey,
        serial: u64,
        at: Timestamp,
        packet: &RtpPacket<'_>,
        format: Format,
        own: OwnFaults,
    ) -> Self {
        let (sequence, ledger) = Sequence::new(packet.sequence());
        Self {
            brief: key.brief(),
            long_key: (!key.brief().is_whole()).then(|| Box::new(key)),
            serial,
            state: State::Probation { next: packet.sequence().wrapping_add(1) },
            is_echoed: false,
            dialog_serial: None,
            dialog_slot: 0,
            direction: Direction::Rx,
            last: Last::new(packet.marker(), false),
            dscp: IpMarks::UNKNOWN.dscp_octet(),
            format,
            last_at: at,
            delta_max_us: 0,
            group: 0,
            thinning: Thinning::default(),
            sequence,
            ledger,
            jitter: Jitter::new(at, packet.timestamp(), format.clock_rate),
            variation: Variation::new(at),
            points: Points::default(),
            buffers: Buffers::default(),
            unplayed: Unplayed::default(),
            spreads: Spreads::new(),
            first_at: at,
            sender_report_at: Timestamp::MIN,
            sender_report_ntp: 0,
            own_before: own,
            reported: ReportedBefore::default(),
            told: 0,
            closeup: Closeup::default(),
        }
    }

    /// Whether it is the stream with this key.
    #[inline]
    pub(crate) fn has_key(&self, key: &StreamKey) -> bool {
        self.brief == key.brief()
            && (self.brief.is_whole() || self.long_key.as_deref() == Some(key))
    }

    /// What tells it from others.
    pub(crate) fn key(&self) -> StreamKey {
        let BriefKey { src, dst, ports, ssrc } = self.brief;
        let mapped = |ip: u32| MAPPED | u128::from(ip);
        let whole = StreamKey { src: mapped(src), dst: mapped(dst), ports, ssrc, scopes: [0; 2] };
        self.long_key.as_deref().copied().unwrap_or(whole)
    }

    /// Its source.
    pub(crate) fn src(&self) -> SocketAddr {
        self.key().src()
    }

    /// Its destination.
    pub(crate) fn dst(&self) -> SocketAddr {
        self.key().dst()
    }

    /// Its synchronization source.
    pub(crate) const fn ssrc(&self) -> Ssrc {
        Ssrc(self.brief.ssrc)
    }

    /// The call that it belongs to; `None` for an orphan.
    pub(crate) fn dialog(&self) -> Option<DialogId> {
        self.dialog_serial.map(|serial| DialogId { slot: self.dialog_slot, serial: serial.get() })
    }

    /// Makes it a call's.
    pub(crate) const fn set_dialog(&mut self, dialog: DialogId) {
        (self.dialog_slot, self.dialog_serial) = (dialog.slot, NonZeroU64::new(dialog.serial));
    }

    /// Whether a payload type is that of the media in it.
    #[inline]
    pub(crate) fn is_media(&self, payload_type: PayloadType) -> bool {
        payload_type == self.format.payload_type && self.format.codec.is_paced()
    }

    /// The codec of the media in it.
    pub(crate) const fn codec(&self) -> Codec {
        self.format.codec
    }

    /// How much longer than the fastest the last packet was under way, microseconds.
    #[inline]
    pub(crate) fn variation_us(&self) -> u32 {
        self.variation.last_us()
    }

    /// The payload type of the media in it.
    pub(crate) const fn payload_type(&self) -> PayloadType {
        self.format.payload_type
    }

    /// Goes on with what a session description says about the payload type.
    #[cold]
    pub(crate) fn set_format(&mut self, format: Format) {
        if format.clock_rate != self.format.clock_rate {
            self.change_clock(self.last_at, self.jitter.last_rtp_time(), format.clock_rate);
        }
        self.format = format;
    }

    fn change_clock(&mut self, at: Timestamp, rtp_time: u32, clock_rate: u32) {
        self.jitter.forget_steps();
        if self.format.clock_rate == 0 {
            // What was measured with a clock that nobody knew is not worth keeping.
            self.jitter = Jitter::new(at, rtp_time, clock_rate);
            self.variation = Variation::new(at);
            (self.buffers, self.unplayed) = (Buffers::default(), Unplayed::default());
            (self.spreads, self.thinning) = (Spreads::new(), Thinning::default());
        } else {
            self.reanchor(at, rtp_time, clock_rate);
        }
    }

    /// Goes on from a packet that says nothing about the network.
    #[cold]
    fn reanchor(&mut self, at: Timestamp, rtp_time: u32, clock_rate: u32) {
        self.jitter.reanchor(at, rtp_time, clock_rate);
        self.variation.restart(at);
        self.buffers.restart(0);
    }

    /// Stops measuring: the call is over.
    pub(crate) const fn close(&mut self, now: Timestamp) {
        self.state = State::Closed;
        self.last_at = now;
    }

    /// Leaves its slot free, and gives back what it holds besides.
    pub(crate) fn vacate(&mut self) {
        self.state = State::Vacant;
        (self.ledger, self.long_key) = (Ledger::default(), None);
    }

    /// Notes that its source has said goodbye.
    #[cold]
    pub(crate) fn leave(&mut self) {
        if self.state == State::Live {
            self.state = State::Left { stragglers: 0 };
        }
    }

    /// Takes up again a stream that has said goodbye. What was under way belongs to it, and so does
    /// all that follows where the goodbye was not meant; else a new sequence begins, and nothing
    /// was lost before it.
    #[cold]
    pub(crate) fn come_back(&mut self, at: Timestamp, packet: &RtpPacket<'_>) {
        let State::Left { stragglers } = self.state else { return };
        if !self.sequence.goes_on_with(packet.sequence()) {
            self.sequence.begin_anew(packet.sequence(), self.last_at, &mut self.ledger);
            self.reanchor(at, packet.timestamp(), self.format.clock_rate);
            self.state = State::Live;
        } else if stragglers < STRAGGLERS_MAX {
            self.state = State::Left { stragglers: stragglers + 1 };
        } else {
            self.state = State::Live;
        }
    }

    /// Arrival of the last packet, or when it was closed.
    pub(crate) const fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// Packet interval in RTP clock ticks; 0 while unknown.
    pub(crate) const fn ptime_ticks(&self) -> u32 {
        self.jitter.ptime_ticks()
    }

    /// Takes in a packet of the stream's own format. Gives back the jitter estimate, microseconds,
    /// if the packet says something about it.
    #[inline]
    pub(crate) fn arrive(
        &mut self,
        at: Timestamp,
        packet: &RtpPacket<'_>,
        depths: &Depths,
    ) -> Option<u32> {
        let last_at = self.last_at;
        let arrival = self.count(at, packet)?;
        let rtp_time = packet.timestamp();
        // In video the marker ends a frame (RFC 3550 section 5.1 leaves it to the profile).
        let begins_talkspurt = packet.marker()
            && !self.last.had_marker()
            && arrival != Arrival::Older
            && !self.format.codec.is_video();
        let was_older = self.last.was_older();
        self.last = Last::new(packet.marker(), arrival == Arrival::Older);
        let is_consecutive = arrival == Arrival::Newer { steps: 1 };
        let deviation = self.jitter.deviation_nanos(at, rtp_time);
        let is_jump = deviation.unsigned_abs() > TALKSPURT_JUMP_NANOS
            && (begins_talkspurt || is_consecutive)
            && (begins_talkspurt || self.has_set_clock(deviation, rtp_time, was_older))
            && self.format.clock_rate != 0;
        if is_jump || arrival == Arrival::Restarted {
            self.reanchor(at, rtp_time, self.format.clock_rate);
            return None;
        }
        if is_consecutive && !begins_talkspurt {
            self.jitter.note_step(rtp_time);
        }
        let (jitter_us, over) = self.measure(at, rtp_time, deviation, depths);
        if begins_talkspurt {
            self.buffers.restart(over);
            return Some(jitter_us);
        }
        self.note_delta(last_at, at);
        if self.format.clock_rate != 0 && self.buffers.arrive(over, depths, &mut self.unplayed) {
            self.sequence.discard(packet.sequence(), at, &mut self.ledger);
        }
        Some(jitter_us)
    }

    /// Whether a packet is one of those that are looked at closely.
    #[inline]
    pub(crate) const fn is_for_closeup(&self, packet: &RtpPacket<'_>, marks: IpMarks) -> bool {
        is_sample(packet) || marks.is_other_dscp(self.dscp)
    }

    /// Looks at what is in a packet, and how it came, besides its time and place.
    #[cold]
    pub(crate) fn look_at(&mut self, packet: &RtpPacket<'_>, marks: IpMarks) {
        let closeup = &mut self.closeup;
        if let Some(dscp) = marks.dscp() {
            closeup.dscp_changes += u32::from(closeup.dscp.is_some_and(|before| before != dscp));
            closeup.dscp = Some(dscp);
            self.dscp = marks.dscp_octet();
        }
        closeup.ttl = marks.ttl().or(closeup.ttl);
        let is_sample = is_sample(packet) && packet.payload_type() == self.format.payload_type;
        if let Some(is_silent) =
            is_silent(self.format.codec, packet.payload()).filter(|_| is_sample)
        {
            closeup.sampled += 1;
            closeup.silent += u32::from(is_silent);
        }
    }

    /// Takes in when a packet came: gives back the jitter estimate, microseconds, and how far above
    /// the floor the packet is, nanoseconds.
    #[inline]
    fn measure(
        &mut self,
        at: Timestamp,
        rtp_time: u32,
        deviation: i64,
        depths: &Depths,
    ) -> (u32, i64) {
        let since_last = self.jitter.since_last_nanos(at);
        let jitter_us = self.jitter.arrive(at, rtp_time, deviation);
        let place = self.variation.arrive(at, since_last, deviation, &mut self.points);
        if place.risen != 0 {
            self.buffers.rise(place.risen);
        }
        let ordinal = self.jitter.samples();
        let variation_us = self.variation.last_us();
        self.variation.note_max(variation_us);
        self.spreads.record(variation_us, jitter_us, ordinal, &mut self.thinning);
        self.buffers.note_delay(ordinal, depths);
        (jitter_us, place.over)
    }

    /// Takes in a packet of another format than the last one's: an event or comfort noise, which
    /// says nothing about delay, or speech in a new codec.
    #[cold]
    pub(crate) fn arrive_as(
        &mut self,
        at: Timestamp,
        packet: &RtpPacket<'_>,
        format: Format,
        depths: &Depths,
    ) {
        let last_at = self.last_at;
        if self.count(at, packet).is_none() {
            return;
        }
        if format.codec != Codec::ComfortNoise {
            self.note_delta(last_at, at);
        }
        // Amid speech, a payload type that nobody has explained is most often an event.
        let is_unexplained = format.clock_rate == 0 && self.format.clock_rate != 0;
        if is_unexplained || !format.codec.is_paced() {
            return;
        }
        let is_first = !self.format.codec.is_paced();
        if is_first || format.clock_rate != self.format.clock_rate {
            self.change_clock(at, packet.timestamp(), format.clock_rate);
        } else {
            let deviation = self.jitter.deviation_nanos(at, packet.timestamp());
            self.measure(at, packet.timestamp(), deviation, depths);
        }
        self.format = format;
    }

    /// Starts anew from this packet: the one before it led nowhere.
    #[cold]
    pub(crate) fn begin_again(&mut self, at: Timestamp, packet: &RtpPacket<'_>, own: OwnFaults) {
        let format = self.format;
        *self = Self::new(self.key(), self.serial, at, packet, format, own);
    }

    /// Remembers a sender report, for the round-trip time that the far end will compute.
    pub(crate) fn on_sender_report(&mut self, at: Timestamp, report: &SenderReport<'_>) {
        (self.sender_report_ntp, self.sender_report_at) = (report.ntp_middle(), at);
    }

    /// What there is to say about the time since this was last asked.
    pub(crate) fn interval_report(&mut self, now: Timestamp) -> IntervalReport {
        let counts = self.sequence.counts(&self.ledger);
        let received = counts.received + counts.duplicate;
        let reported = ReportedBefore {
            expected: lower(counts.expected),
            received: lower(received),
            duplicate: lower(counts.duplicate),
        };
        let before = core::mem::replace(&mut self.reported, reported);
        let expected_since = reported.expected.wrapping_sub(before.expected);
        let received_since = reported.received.wrapping_sub(before.received);
        let duplicates = reported.duplicate.wrapping_sub(before.duplicate);
        let lost_since = expected_since.saturating_sub(received_since);
        let fraction =
            (u64::from(lost_since) << 8).checked_div(expected_since.into()).unwrap_or(0).min(255);
        let lost = counts.expected.cast_signed() - received.cast_signed();
        let lsr = self.sender_report_ntp;
        let dlsr = if lsr == 0 { 0 } else { delay_units(self.sender_report_at, now) };
        let end = self.sequence.extended_highest().wrapping_add(1);
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers have 16 bits")]
        let summary = StatisticsSummaryValues {
            ssrc: self.ssrc(),
            begin_sequence: end.wrapping_sub(expected_since) as u16,
            end_sequence: end as u16,
            // Without the duplicates, which are told apart here.
            lost: Some(expected_since.saturating_sub(received_since.wrapping_sub(duplicates))),
            duplicates: Some(duplicates),
            jitter: None,
            hops: None,
        };
        let block = ReportBlockValues {
            ssrc: self.ssrc(),
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(lost.clamp(-0x80_0000, 0x7F_FFFF)).unwrap_or(0),
            extended_highest_sequence: self.sequence.extended_highest(),
            jitter: self.jitter.jitter_ticks(),
            lsr,
            dlsr,
        };
        IntervalReport { block, summary }
    }

    /// What a report to control would say now. What it will say is still news.
    pub(crate) fn peek(
        &mut self,
        shard: ShardId,
        at: Timestamp,
        own: OwnFaults,
        depths: &Depths,
    ) -> StreamReport {
        let told = self.told;
        let report = self.report(shard, None, at, false, own, depths);
        self.told = told;
        report
    }

    /// Whether packets have come since the last report to control.
    pub(crate) fn has_news(&self) -> bool {
        let counts = self.sequence.counts(&self.ledger);
        lower(counts.received + counts.duplicate) != self.told
    }

    /// The report to control.
    pub(crate) fn report(
        &mut self,
        shard: ShardId,
        call: Option<CallRef>,
        at: Timestamp,
        is_final: bool,
        own: OwnFaults,
        depths: &Depths,
    ) -> StreamReport {
        let counts = self.sequence.counts(&self.ledger);
        self.told = lower(counts.received + counts.duplicate);
        let shape = self.sequence.shape(at, &self.ledger);
        let shape = shape.as_ref();
        let (jitter_samples, jitter_sum_us, jitter_max_us) = self.jitter.summary();
        #[expect(clippy::cast_possible_truncation, reason = "a ratio needs no more digits")]
        let short = |value: f64| value as f32;
        StreamReport {
            stream: StreamRef { shard, serial: self.serial },
            call,
            at,
            is_final,
            direction: self.direction,
            src: self.src(),
            dst: self.dst(),
            ssrc: self.ssrc(),
            payload_type: self.format.payload_type.0,
            codec: self.format.codec,
            clock_rate: self.format.clock_rate,
            ptime_ticks: self.jitter.ptime_ticks(),
            first_at: self.first_at,
            last_at: self.last_at,
            counts,
            jitter_samples,
            jitter_max_us,
            jitter_us: self.jitter.jitter_us(),
            jitter_p95_us: self.spreads.quantile_us(Spread::Jitter, 0.95, jitter_max_us),
            jitter_sum_us,
            delta_max_us: self.delta_max_us,
            burst_ratio: short(
                shape.and_then(|shape| shape.burst_ratio(counts.expected)).unwrap_or(0.0),
            ),
            burst_density: short(shape.map_or(0.0, Settled::burst_density)),
            gap_density: short(shape.map_or(0.0, |shape| shape.gap_density(counts.expected))),
            bursts: shape.map_or_else(
                || Bursts { gaps: 1, ..Bursts::default() },
                |shape| shape.bursts(counts.expected),
            ),
            closeup: self.closeup,
            own: own.since(self.own_before),
            has_left: matches!(self.state, State::Left { .. }),
            variation: self.delay_variation(),
            buffers: self.buffers.report(depths, &self.unplayed),
        }
    }

    /// The runs of its lost and discarded packets, in pieces, if they are news to control or
    /// `is_final`.
    pub(crate) fn loss_runs(
        &mut self,
        shard: ShardId,
        call: Option<CallRef>,
        is_final: bool,
    ) -> impl Iterator<Item = LossRunsReport> + use<> {
        let stream = StreamRef { shard, serial: self.serial };
        let runs = self.sequence.new_runs(is_final, self.last_at, &mut self.ledger);
        runs.into_iter().flat_map(move |(settled, longest)| {
            (0..longest).step_by(RUNS_PIECE).map(move |start| {
                let piece = settled.runs.iter().skip(start).take(RUNS_PIECE);
                let mut counts = [0; RUNS_PIECE];
                counts.iter_mut().zip(piece).for_each(|(count, &of)| *count = of);
                let first_length = u8::try_from(start + 1).unwrap_or(u8::MAX);
                LossRunsReport { stream, call, is_final, first_length, counts }
            })
        })
    }

    fn delay_variation(&self) -> DelayVariation {
        let max_us = self.variation.max_us();
        let [p50_us, p95_us, p99_us] = [0.5, 0.95, 0.99]
            .map(|share| self.spreads.quantile_us(Spread::Variation, share, max_us));
        let skew_ppm = self.variation.skew_ppm();
        DelayVariation { p50_us, p95_us, p99_us, max_us, skew_ppm }
    }

    /// Reads a word of each cache line that every packet needs, and of that of the buckets which
    /// most packets need.
    #[inline]
    pub(crate) fn touched(&self) -> u32 {
        self.brief.ssrc
            ^ self.jitter.last_rtp_time()
            ^ self.buffers.touched()
            ^ u32::from(self.spreads.touched(0, 0))
    }

    /// Reads the buckets that the next packet most likely needs: those of the last one.
    #[inline]
    pub(crate) fn touched_buckets(&self) -> u16 {
        self.spreads.touched(self.variation.last_us(), self.jitter.jitter_us())
    }

    /// Counts a packet by its sequence number; `None` if it adds nothing to go on with.
    #[inline]
    fn count(&mut self, at: Timestamp, packet: &RtpPacket<'_>) -> Option<Arrival> {
        let arrival = self.sequence.arrive(packet.sequence(), self.last_at, &mut self.ledger);
        if matches!(arrival, Arrival::Duplicate | Arrival::Stray) {
            return None;
        }
        self.last_at = self.last_at.max(at);
        Some(arrival)
    }

    /// Whether it was the sender that moved the next packet in sequence away from the last one:
    /// by more than the network may delay it, or by more than any packet lasts. Some set no marker
    /// behind a silence, nor when they set their clock anew.
    /// Against a packet that came out of order, a step says nothing about the sender.
    #[cold]
    fn has_set_clock(&self, deviation: i64, rtp_time: u32, was_older: bool) -> bool {
        let step = rtp_time.wrapping_sub(self.jitter.last_rtp_time()).cast_signed();
        let step_ms =
            u64::from(step.unsigned_abs()) * 1000 / u64::from(self.format.clock_rate.max(1));
        deviation.unsigned_abs() > TIMESTAMP_JUMP_NANOS || step_ms > PACKET_MAX_MS && !was_older
    }

    /// Takes in the time since the packet before.
    #[inline]
    fn note_delta(&mut self, last_at: Timestamp, at: Timestamp) {
        let delta_us = at.since(last_at).as_nanos() / 1000;
        self.delta_max_us = self.delta_max_us.max(u32::try_from(delta_us).unwrap_or(u32::MAX));
    }
}

/// Whether a packet is looked at whatever it is, by its sequence number.
#[inline]
const fn is_sample(packet: &RtpPacket<'_>) -> bool {
    (packet.sequence() as u64).is_multiple_of(CLOSEUP_EVERY)
}

/// The lower bits of a count: enough to tell how much it has grown since.
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are the point")]
const fn lower(count: u64) -> u32 {
    count as u32
}

/// An address as a key holds it.
struct Endpoint {
    ip: u128,
    port: u16,
    /// The interface of a link-local address (RFC 4007 section 11), or 0.
    scope: u32,
}

impl Endpoint {
    #[inline]
    fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => {
                let ip = MAPPED | u128::from(address.ip().to_bits());
                Self { ip, port: address.port(), scope: 0 }
            }
            SocketAddr::V6(address) => {
                Self { ip: address.ip().to_bits(), port: address.port(), scope: address.scope_id() }
            }
        }
    }
}

/// The prefix of IPv4 addresses among those of IPv6 (RFC 4291 section 2.5.5.2).
const MAPPED: u128 = 0xFFFF << 32;

fn address(bits: u128, port: u16, scope: u32) -> SocketAddr {
    match Ipv6Addr::from_bits(bits).to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
    }
}

/// A time stamp that is off by more than this in the very next packet was set by the sender, not
/// delayed by the network, which may well stall for a second.
const TIMESTAMP_JUMP_NANOS: u64 = 2_000_000_000;

/// The longest packet of speech: Opus has room for 120 ms (RFC 7587 section 4.2).
const PACKET_MAX_MS: u64 = 120;

/// More packets than these, half a second of speech in packets of 20 ms, were not under way when
/// their source said goodbye: it was not meant.
const STRAGGLERS_MAX: u8 = 25;

/// At the beginning of a talkspurt that much tells that the sender's clock did not run on through
/// the silence.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
const TALKSPURT_JUMP_NANOS: u64 = JITTER_BUFFER.as_nanos() as u64;

// The three lines that every packet needs, of which `touched` reads a word each, and those of
// buckets behind them, which `touched_buckets` reads.
const _: () = {
    assert!(offset_of!(Stream, last_at) == 64);
    assert!(offset_of!(Stream, variation) == 128);
    assert!(offset_of!(Stream, spreads) == 192);
};

// The memory that `limits` states for a stream counts on this.
const _: () = assert!(size_of::<Stream>() == 576);
