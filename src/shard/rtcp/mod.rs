//! RTCP of the calls: reports received give round-trip times and the far end's view, reports sent
//! tell what is measured here.
//!
//! Never measures media: streams do.

mod interval;
mod metrics;
mod observed;
mod participant;
mod send;

pub(crate) use self::participant::{Answers, Participant, XrWanted, delay_units};

use std::net::SocketAddr;

use self::{interval::RTCP_INTERVAL, send::headers_len};
use super::{
    Shard,
    dialog::Media,
    outbox::Outbox,
    report::{Direction, FarEndReport, RemoteReport, Report, Reported},
};
use crate::{
    id::{CallRef, Ssrc},
    time::Timestamp,
    wire::{
        Datagram,
        rtcp::{ExtendedReport, ReportBlock, RtcpCompound, RtcpPacket, SenderReport, XrBlock},
    },
};

impl Shard {
    /// Takes in an RTCP datagram, on the port above RTP or on RTP's own.
    #[cold]
    pub(super) fn handle_rtcp(&mut self, datagram: &Datagram<'_>, out: &mut Outbox) {
        // Reports come to the odd port, or to RTP's own where both share it.
        let rtp_port = datagram.dst.port() & !1;
        let slot = self.dialogs.find_media(datagram.src, rtp_port);
        if let Some(dialog) = slot.and_then(|slot| self.dialogs.get_mut(slot))
            && dialog.media.is_secure
        {
            self.health.srtcp_packets += 1;
            dialog.last_heard = dialog.last_heard.max(datagram.received_at);
            return;
        }
        let Ok(compound) = RtcpCompound::parse(datagram.payload) else {
            self.health.media_other += 1;
            return;
        };
        self.health.rtcp_packets += 1;
        let Some(slot) = slot else { return };
        let at = datagram.received_at;
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.last_heard = dialog.last_heard.max(at);
        let len = datagram.payload.len() + headers_len(datagram.src);
        dialog.media.rtcp.note_heard(at, len);
        let call = CallRef { shard: self.config.id, serial: dialog.id.serial };
        let mut far_end = FarEndReport::new(call, at, dialog.media.ssrc, Direction::Tx);
        for packet in compound.packets() {
            match packet {
                RtcpPacket::SenderReport(report) => {
                    self.on_sender_report(slot, at, &report);
                    self.on_blocks(slot, at, report.blocks());
                }
                RtcpPacket::ReceiverReport(report) => self.on_blocks(slot, at, report.blocks()),
                RtcpPacket::ExtendedReport(report) => {
                    self.on_extended(slot, at, &report, &mut far_end);
                }
                RtcpPacket::Bye(bye) => bye.ssrcs().for_each(|ssrc| self.on_goodbye(slot, ssrc)),
                _ => {}
            }
        }
        self.report_remote(slot, at, out);
        if far_end.says_something() {
            out.report(Report::FarEnd(far_end));
        }
    }

    /// Passes on what the far end says about what is sent to it.
    pub(super) fn report_remote(&self, slot: u32, at: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        let media = &dialog.media;
        if media.sent.packets > 0 || media.rtcp.rtt.count > 0 {
            let own = media.sending.as_deref().map(super::sending::Sending::ptime_ticks);
            let ptime_ticks = own.unwrap_or_else(|| {
                let stream = dialog.streams.last();
                let stream = stream.and_then(|&(stream, _)| self.streams.at(stream));
                stream.map_or(0, super::stream::Stream::ptime_ticks)
            });
            let call = self.call_ref(dialog.id.serial);
            out.report(Report::Remote(remote_report(call, at, media, ptime_ticks)));
        }
    }

    fn on_sender_report(&mut self, slot: u32, at: Timestamp, report: &SenderReport<'_>) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && stream.ssrc() == report.ssrc()
            {
                stream.on_sender_report(at, report);
            }
        }
    }

    fn on_blocks(&mut self, slot: u32, at: Timestamp, blocks: &[ReportBlock]) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let ours = dialog.media.ssrc;
        for block in blocks.iter().filter(|block| block.ssrc() == ours) {
            self.on_answer(slot, Answers::SenderReport, (block.lsr(), block.dlsr()), at);
            if let Some(dialog) = self.dialogs.get_mut(slot) {
                dialog.media.on_block(block);
            }
        }
    }

    fn on_extended(
        &mut self,
        slot: u32,
        at: Timestamp,
        report: &ExtendedReport<'_>,
        far_end: &mut FarEndReport,
    ) {
        let ours = far_end.ssrc;
        for block in report.blocks() {
            match block {
                XrBlock::ReceiverReferenceTime(time) => {
                    if let Some(dialog) = self.dialogs.get_mut(slot) {
                        dialog.media.rtcp.on_reference(report.ssrc(), time.ntp_middle(), at);
                    }
                }
                XrBlock::Dlrr(answers) => {
                    for answer in answers.iter().filter(|answer| answer.ssrc() == ours) {
                        let times = (answer.lrr(), answer.dlrr());
                        self.on_answer(slot, Answers::ReferenceTime, times, at);
                    }
                }
                XrBlock::StatisticsSummary(summary) if summary.ssrc() == ours => {
                    far_end.summary = Some(*summary);
                }
                XrBlock::VoipMetrics(metrics) if metrics.ssrc() == ours => {
                    far_end.metrics = Some(*metrics);
                }
                _ => {}
            }
        }
    }

    fn on_answer(&mut self, slot: u32, to: Answers, times: (u32, u32), at: Timestamp) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        if let Some(rtt_us) = dialog.media.rtcp.on_answer(to, times, at)
            && let Some(distributions) = &mut self.distributions
        {
            distributions.rtt_us.saturating_record(rtt_us.into());
        }
    }

    /// A source that has left: what it sends no more is not lost.
    fn on_goodbye(&mut self, slot: u32, ssrc: Ssrc) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && stream.ssrc() == ssrc
            {
                stream.leave();
            }
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
        let before = self.rtcp.reported.unwrap_or_default();
        self.rtcp.reported = Some(Reported {
            expected,
            lost: block.cumulative_lost(),
            jitter_us,
            jitter_max_us: before.jitter_max_us.max(jitter_us),
            jitter_sum_us: before.jitter_sum_us + u64::from(jitter_us),
            reports: before.reports + 1,
        });
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
        reported: media.rtcp.reported,
        rtt: media.rtcp.rtt,
    }
}
