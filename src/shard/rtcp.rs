//! RTCP of the calls: reports received give round-trip times, reports sent tell what is measured.

use core::time::Duration;
use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::{
    Shard,
    dialog::Media,
    outbox::Outbox,
    report::{RemoteReport, Report, Reported},
};
use crate::{
    id::{CallRef, Ssrc},
    time::Timestamp,
    wire::{
        Datagram,
        rtcp::{
            self, ReportBlock, RtcpCompound, RtcpPacket, SenderInfo, SenderReport, round_trip_us,
        },
    },
};

impl Shard {
    /// Takes in an RTCP datagram, on the port above RTP or on RTP's own.
    #[cold]
    pub(super) fn handle_rtcp(&mut self, datagram: &Datagram<'_>, out: &mut Outbox) {
        let Ok(compound) = RtcpCompound::parse(datagram.payload) else {
            self.health.media_other += 1;
            return;
        };
        self.health.rtcp_packets += 1;
        // Reports come to the odd port, or to RTP's own where both share it.
        let rtp_port = datagram.dst.port() & !1;
        let Some(slot) = self.dialogs.find_media(datagram.src, rtp_port) else { return };
        let at = datagram.received_at;
        for packet in compound.packets() {
            match packet {
                RtcpPacket::SenderReport(report) => {
                    self.on_sender_report(slot, at, &report);
                    self.on_blocks(slot, at, report.blocks());
                }
                RtcpPacket::ReceiverReport(report) => self.on_blocks(slot, at, report.blocks()),
                _ => {}
            }
        }
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.last_heard = dialog.last_heard.max(at);
        }
        self.report_remote(slot, at, out);
    }

    /// Sends the call's sender or receiver report and sets the time of the next one.
    pub(super) fn send_rtcp(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let next = now + self.rtcp_interval();
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.rtcp_at = next;
        let mut blocks: ArrayVec<_, BLOCKS_MAX> = ArrayVec::new();
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && now.since(stream.last_at()) < RTCP_INTERVAL * 2
            {
                blocks.push(stream.report_block(now));
            }
        }
        let media = &mut dialog.media;
        let has_sent = media.sent.packets > media.sent.packets_at_last_report;
        // Nothing is said to an address that has sent nothing: it may not be a willing one.
        if blocks.is_empty() && !has_sent {
            return;
        }
        let Some((local, remote)) = media.rtcp_path() else { return };
        media.sent.packets_at_last_report = media.sent.packets;
        let media = &*media;
        out.send(local, remote, |bytes| {
            if has_sent {
                rtcp::write_sender_report(bytes, sender_info(media, now), &blocks);
            } else {
                rtcp::write_receiver_report(bytes, media.ssrc, &blocks);
            }
            // RFC 3550 section 6.1: every compound packet names its sender.
            rtcp::write_cname(bytes, media.ssrc, CNAME);
        });
    }

    /// Passes on what the far end says about what is sent to it.
    pub(super) fn report_remote(&self, slot: u32, at: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        let media = &dialog.media;
        if media.sent.packets > 0 || media.rtt.count > 0 {
            let ptime_ticks = dialog
                .streams
                .last()
                .and_then(|&(stream, _)| self.streams.at(stream))
                .map_or(0, super::stream::Stream::ptime_ticks);
            let call = self.call_ref(dialog.id.serial);
            out.report(Report::Remote(remote_report(call, at, media, ptime_ticks)));
        }
    }

    /// RFC 3550 section 6.3.1: 5 s, spread by half either way, and compensated so that the mean
    /// stays at 5 s.
    pub(super) fn rtcp_interval(&mut self) -> Duration {
        RTCP_INTERVAL.mul_f64((0.5 + self.rng.f64()) / RECONSIDERATION)
    }

    fn on_sender_report(&mut self, slot: u32, at: Timestamp, report: &SenderReport<'_>) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && stream.key.ssrc() == report.ssrc()
            {
                stream.on_sender_report(at, report);
            }
        }
    }

    fn on_blocks(&mut self, slot: u32, at: Timestamp, blocks: &[ReportBlock]) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let media = &mut dialog.media;
        let ours = media.ssrc;
        for block in blocks.iter().filter(|block| block.ssrc() == ours) {
            let (lsr, dlsr) = (block.lsr(), block.dlsr());
            if let Some(rtt_us) = round_trip_us(at.to_ntp_middle(), lsr, dlsr) {
                media.rtt.record(rtt_us);
                if let Some(distributions) = &mut self.distributions {
                    distributions.rtt_us.saturating_record(rtt_us.into());
                }
            }
            media.on_block(block);
        }
    }
}

impl Media {
    fn on_block(&mut self, block: &ReportBlock) {
        let first = u32::from(self.sent.first_sequence);
        let expected = block.extended_highest_sequence().wrapping_sub(first).wrapping_add(1);
        if expected.cast_signed() < 0 {
            // About a sequence that has been restarted since.
            return;
        }
        let clock_rate = self.formats.first().map_or(0, |format| format.clock_rate);
        let jitter_us = (u64::from(block.jitter()) * 1_000_000)
            .checked_div(clock_rate.into())
            .and_then(|jitter| u32::try_from(jitter).ok())
            .unwrap_or(0);
        let before = self.reported.unwrap_or_default();
        self.reported = Some(Reported {
            expected,
            lost: block.cumulative_lost(),
            jitter_us,
            jitter_max_us: before.jitter_max_us.max(jitter_us),
            jitter_sum_us: before.jitter_sum_us + u64::from(jitter_us),
            reports: before.reports + 1,
        });
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

fn remote_report(call: CallRef, at: Timestamp, media: &Media, ptime_ticks: u32) -> RemoteReport {
    let format = media.formats.first();
    let unknown = SocketAddr::new(media.local.ip(), 0);
    RemoteReport {
        call,
        at,
        src: media.local,
        dst: media.latched.or(media.remote_rtp).unwrap_or(unknown),
        ssrc: Ssrc(media.ssrc.0),
        payload_type: format.map_or(0, |format| format.payload_type.0),
        codec: format.map_or_else(Default::default, |format| format.codec),
        clock_rate: format.map_or(0, |format| format.clock_rate),
        ptime_ticks,
        first_at: media.sent.first_at,
        last_at: media.sent.last_at,
        packets_sent: media.sent.packets,
        reported: media.reported,
        rtt: media.rtt,
    }
}

/// Mean time between reports of one participant (RFC 3550 section 6.2).
pub(super) const RTCP_INTERVAL: Duration = Duration::from_secs(5);

/// e - 3/2 (RFC 3550 section 6.3.1).
const RECONSIDERATION: f64 = 1.218_28;

/// Streams of one call that a report covers.
const BLOCKS_MAX: usize = 4;

/// A random name would do; this one tells a capture's reader who it is (RFC 7022).
const CNAME: &str = "voxplane";

#[cfg(test)]
mod tests {
    use zerocopy::FromBytes as _;

    use super::*;
    use crate::wire::rtcp::{ReportBlockValues, write_receiver_report};

    /// The round trip of a block with these LSR and DLSR, arriving at a middle NTP time.
    fn rtt_us(arrival: u32, lsr: u32, dlsr: u32) -> Option<u32> {
        let mut bytes = Vec::new();
        let values = ReportBlockValues { lsr, dlsr, ..ReportBlockValues::default() };
        write_receiver_report(&mut bytes, Ssrc(1), &[values]);
        let (block, _) = ReportBlock::ref_from_prefix(&bytes[8..]).unwrap();
        // Any time whose middle 32 bits are those asked for.
        let secs = u64::from(arrival >> 16);
        let nanos = (u64::from(arrival & 0xFFFF) * 1_000_000_000).div_ceil(1 << 16);
        let unix = (secs + (1 << 32) - (2_208_988_800 & 0xFFFF_FFFF)) & 0xFFFF;
        let at = Timestamp::from_nanos((unix + (1 << 16)) * 1_000_000_000 + nanos);
        assert_eq!(at.to_ntp_middle(), arrival);
        round_trip_us(at.to_ntp_middle(), block.lsr(), block.dlsr())
    }

    #[test]
    fn figure_2_of_rfc_3550() {
        assert_eq!(rtt_us(0xB710_8000, 0xB705_2000, 0x0005_4000), Some(6_125_000));
    }

    #[test]
    fn a_hold_stated_a_little_too_long_is_a_round_trip_of_nothing() {
        assert_eq!(rtt_us(0xB710_8000, 0xB705_2000, 0x000B_6000 + 20), Some(0));
        assert_eq!(rtt_us(0xB710_8000, 0xB705_2000, 0x000B_6000 + 700), None);
        assert_eq!(rtt_us(0xB710_8000, 0, 0), None);
    }
}
