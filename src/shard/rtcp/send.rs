//! What a call says by RTCP: SR or RR, CNAME, extended reports, and BYE at its end.
//!
//! Never speaks to an address from which nothing has come.

use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::{
    super::{
        Shard,
        dialog::Media,
        outbox::Outbox,
        report::RoundTrip,
        stream::{IntervalReport, State, Stream},
    },
    RTCP_INTERVAL,
    interval::{Interval, session_bps},
    metrics::voip_metrics,
    participant::XrWanted,
};
use crate::{
    time::Timestamp,
    wire::rtcp::{
        self, ReceiverReferenceTime, ReportBlockValues, SenderInfo, StatisticsSummary, VoipMetrics,
        XrBlock,
    },
};

/// What is said about one stream.
struct Heard {
    block: ReportBlockValues,
    summary: StatisticsSummary,
    /// Of speech only.
    metrics: Option<VoipMetrics>,
}

impl Shard {
    /// Begins to take part in RTCP: the call is answered.
    pub(in super::super) fn join_rtcp(&mut self, slot: u32, now: Timestamp) {
        let interval = self.rtcp_interval(slot, now);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.media.rtcp.last_at = now;
        dialog.rtcp_at = now + interval;
    }

    /// Sends the call's report, if it is still due by an interval drawn anew, and sets the time of
    /// the next one (RFC 3550 section 6.3.6).
    pub(in super::super) fn run_rtcp(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let interval = self.rtcp_interval(slot, now);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let due = dialog.media.rtcp.last_at + interval;
        if due > now {
            dialog.rtcp_at = due;
            return;
        }
        dialog.media.rtcp.last_at = now;
        self.send_report(slot, now, false, out);
        self.report_remote(slot, now, out);
        let interval = self.rtcp_interval(slot, now);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.rtcp_at = now + interval;
    }

    /// Says goodbye, with a last report: the call is over. Who has never said anything has nobody
    /// to say it to (RFC 3550 section 6.3.7).
    pub(in super::super) fn leave_rtcp(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        if !dialog.media.rtcp.is_first() || dialog.media.sent.packets > 0 {
            self.send_report(slot, now, true, out);
        }
    }

    fn send_report(&mut self, slot: u32, now: Timestamp, is_last: bool, out: &mut Outbox) {
        let heard = self.measured(slot, now);
        let is_xr_sent = self.config.rtcp_xr;
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let media = &mut dialog.media;
        let has_sent = media.sent.packets > media.sent.packets_at_last_report;
        // Nothing is said to an address that has sent nothing: it may not be a willing one.
        if heard.is_empty() && !has_sent && !media.rtcp.is_heard(now) {
            return;
        }
        let Some((local, remote)) = media.rtcp_path() else { return };
        media.sent.packets_at_last_report = media.sent.packets;
        let wanted = if is_xr_sent { media.rtcp.wanted } else { XrWanted::NONE };
        let bytes = out.send(local, remote, |bytes| {
            let blocks: ArrayVec<_, HEARD_MAX> = heard.iter().map(|heard| heard.block).collect();
            if has_sent {
                rtcp::write_sender_report(bytes, sender_info(media, now), &blocks);
            } else {
                rtcp::write_receiver_report(bytes, media.ssrc, &blocks);
            }
            // RFC 3550 section 6.1: every compound packet names its sender.
            rtcp::write_cname(bytes, media.ssrc, CNAME);
            write_extended(bytes, media, &heard, wanted, now);
            if is_last {
                rtcp::write_bye(bytes, media.ssrc);
            }
        });
        let len = bytes.len() + headers_len(remote);
        media.rtcp.note_sent(len);
    }

    /// What there is to say about the streams that have been heard of late.
    fn measured(&mut self, slot: u32, now: Timestamp) -> ArrayVec<Heard, HEARD_MAX> {
        let mut heard = ArrayVec::new();
        let (shard, own) = (self.config.id, self.health.own_faults());
        let Some(dialog) = self.dialogs.get(slot) else { return heard };
        let rtt: RoundTrip = dialog.media.rtcp.rtt;
        for &(stream, serial) in dialog.streams.iter().take(HEARD_MAX) {
            let Some(stream) = self.streams.get_mut(stream, serial) else { continue };
            if !is_lively(stream, now) {
                continue;
            }
            let metrics = self.config.rtcp_xr.then(|| stream.peek(shard, now, own, &self.depths));
            let metrics = metrics.filter(|report| report.codec.is_speech());
            let IntervalReport { block, summary } = stream.interval_report(now);
            heard.push(Heard {
                block,
                summary: summary.into(),
                metrics: metrics.map(|it| voip_metrics(&it, &rtt, &self.config.scoring).into()),
            });
        }
        heard
    }

    /// The time until the call's next report.
    fn rtcp_interval(&mut self, slot: u32, now: Timestamp) -> core::time::Duration {
        let Some(dialog) = self.dialogs.get(slot) else { return RTCP_INTERVAL };
        let media = &dialog.media;
        let streams = dialog.streams.iter().filter_map(|&(stream, _)| self.streams.at(stream));
        let others = streams.fold(0, |count, stream| count + u32::from(is_lively(stream, now)));
        let is_sender = media.sent.packets > media.sent.packets_at_last_report;
        let codec = media.formats.first().map_or_else(Default::default, |format| format.codec);
        let interval = Interval {
            // The far end is there, whether it is heard or not.
            members: 1 + others.max(1),
            senders: others + u32::from(is_sender),
            is_sender,
            session_bps: session_bps(codec),
            mean_len: media.rtcp.mean_len(USUAL_LEN),
            is_first: media.rtcp.is_first(),
        };
        interval.draw(&mut self.rng)
    }
}

/// Appends the extended reports that are wanted: our reference time and the answer to the far
/// end's, and what has been measured of each stream.
fn write_extended(
    bytes: &mut Vec<u8>,
    media: &Media,
    heard: &[Heard],
    wanted: XrWanted,
    now: Timestamp,
) {
    let reference = ReceiverReferenceTime::new(now.to_ntp());
    let dlrr = media.rtcp.dlrr(now);
    let mut blocks: ArrayVec<XrBlock<'_>, XR_BLOCKS_MAX> = ArrayVec::new();
    if wanted.round_trip {
        blocks.push(XrBlock::ReceiverReferenceTime(&reference));
        blocks.extend(dlrr.as_ref().map(|dlrr| XrBlock::Dlrr(core::slice::from_ref(dlrr))));
    }
    for heard in heard {
        if wanted.summary {
            blocks.push(XrBlock::StatisticsSummary(&heard.summary));
        }
        blocks.extend(heard.metrics.as_ref().filter(|_| wanted.metrics).map(XrBlock::VoipMetrics));
    }
    if !blocks.is_empty() {
        rtcp::write_extended_report(bytes, media.ssrc, &blocks);
    }
}

fn sender_info(media: &Media, now: Timestamp) -> SenderInfo {
    let clock_rate = media.formats.first().map_or(0, |format| format.clock_rate);
    let ticks = now.since(media.sent.last_at).as_nanos() * u128::from(clock_rate) / 1_000_000_000;
    #[expect(clippy::cast_possible_truncation, reason = "RTCP counts modulo 2^32")]
    SenderInfo {
        ssrc: media.ssrc,
        ntp: now.to_ntp(),
        rtp_timestamp: media.sent.last_rtp_time.wrapping_add(ticks as u32),
        packet_count: media.sent.packets as u32,
        octet_count: media.sent.octets as u32,
    }
}

/// Whether a stream's source takes part still (RFC 3550 sections 6.3.4 and 6.3.5).
fn is_lively(stream: &Stream, now: Timestamp) -> bool {
    stream.state == State::Live && now.since(stream.last_at()) < RTCP_INTERVAL * 2
}

/// Octets of IP and UDP before a datagram to this address.
pub(super) const fn headers_len(address: SocketAddr) -> usize {
    if address.is_ipv4() { 28 } else { 48 }
}

/// Streams of one call that a report covers.
const HEARD_MAX: usize = 4;

/// Reference time, answer, and two blocks for each stream.
const XR_BLOCKS_MAX: usize = 2 + 2 * HEARD_MAX;

/// A random name would do; this one tells a capture's reader who it is (RFC 7022).
const CNAME: &str = "voxplane";

/// Octets of a report on one stream with all its blocks, and headers.
const USUAL_LEN: u16 = 220;

/// The longest report: SR, CNAME, XR and BYE.
const LEN_MAX: usize = 28
    + HEARD_MAX * 24
    + 20
    + 8
    + size_of::<ReceiverReferenceTime>()
    + 16
    + HEARD_MAX * (size_of::<StatisticsSummary>() + size_of::<VoipMetrics>())
    + 8;

/// What any IPv6 path takes in one packet, and so about any path (RFC 8200 section 5), less the
/// headers of IPv6 and UDP.
const MTU_BUDGET: usize = 1280 - 48;

// So there is never an extended report that would be too much.
const _: () = assert!(LEN_MAX <= MTU_BUDGET);
