//! RTCP that passes between others: how far apart they are, what each hears of the other, and who
//! has left.
//!
//! Never answers anything.

use arrayvec::ArrayVec;

use super::super::{
    Shard,
    outbox::Outbox,
    report::{Direction, FarEndReport, Report, RoundTripReport},
    seen::{Answer, Seen, Side},
};
use super::participant::Answers;
use crate::{
    id::{CallRef, Ssrc},
    time::Timestamp,
    wire::{
        Datagram,
        rtcp::{ExtendedReport, ReportBlock, RtcpCompound, RtcpPacket, XrBlock},
    },
};

/// What one datagram says about streams.
#[derive(Default)]
struct Said {
    far_ends: ArrayVec<FarEndReport, SAID_MAX>,
    goodbyes: ArrayVec<Ssrc, SAID_MAX>,
}

/// Who says it, when and in which call.
#[derive(Clone, Copy)]
struct Speaker {
    call: CallRef,
    side: Side,
    at: Timestamp,
}

impl Shard {
    /// Follows an RTCP datagram that passes.
    #[cold]
    pub(in super::super) fn observe_rtcp(&mut self, datagram: &Datagram<'_>, out: &mut Outbox) {
        let Ok(compound) = RtcpCompound::parse(datagram.payload) else {
            self.health.media_other += 1;
            return;
        };
        self.health.rtcp_packets += 1;
        let Some(slot) = self.dialogs.find_between(datagram.src, datagram.dst) else { return };
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let at = datagram.received_at;
        dialog.last_heard = dialog.last_heard.max(at);
        let call = CallRef { shard: self.config.id, serial: dialog.id.serial };
        let Some(seen) = dialog.seen.as_deref_mut() else { return };
        let Some(side) = seen.sender(datagram.src, datagram.dst) else { return };
        let known = seen.rtt.count;
        let mut said = Said::default();
        said.read(&compound, seen, Speaker { call, side, at });
        let rtt = seen.rtt;
        for far_end in said.far_ends {
            out.report(Report::FarEnd(far_end));
        }
        if rtt.count > known {
            out.report(Report::RoundTrip(RoundTripReport { call, rtt }));
        }
        let away = side.other().direction();
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && stream.direction == away
                && said.goodbyes.contains(&stream.ssrc())
            {
                stream.leave();
            }
        }
    }
}

impl Said {
    fn read(&mut self, compound: &RtcpCompound<'_>, seen: &mut Seen, speaker: Speaker) {
        for packet in compound.packets() {
            match packet {
                RtcpPacket::SenderReport(report) => {
                    seen.on_report(report.ssrc(), report.ntp_middle(), speaker.at);
                    on_blocks(seen, speaker, report.blocks());
                }
                RtcpPacket::ReceiverReport(report) => on_blocks(seen, speaker, report.blocks()),
                RtcpPacket::ExtendedReport(report) => self.read_extended(&report, seen, speaker),
                RtcpPacket::Bye(bye) => {
                    for ssrc in bye.ssrcs() {
                        let _ = self.goodbyes.try_push(ssrc);
                    }
                }
                _ => {}
            }
        }
    }

    fn read_extended(&mut self, report: &ExtendedReport<'_>, seen: &mut Seen, speaker: Speaker) {
        for block in report.blocks() {
            match block {
                XrBlock::ReceiverReferenceTime(time) => {
                    seen.on_report(report.ssrc(), time.ntp_middle(), speaker.at);
                }
                XrBlock::Dlrr(answers) => {
                    for answer in answers {
                        let to = Answers::ReferenceTime;
                        let (ssrc, lsr, dlsr) = (answer.ssrc(), answer.lrr(), answer.dlrr());
                        on_answer(seen, speaker, Answer { to, ssrc, lsr, dlsr });
                    }
                }
                XrBlock::StatisticsSummary(summary) => {
                    if let Some(far_end) = self.far_end(speaker, summary.ssrc()) {
                        far_end.summary = Some(*summary);
                    }
                }
                XrBlock::VoipMetrics(metrics) => {
                    if let Some(far_end) = self.far_end(speaker, metrics.ssrc()) {
                        far_end.metrics = Some(*metrics);
                    }
                }
                XrBlock::Other { .. } => {}
            }
        }
    }

    /// What the speaker says about a stream that it receives; `None` for more streams than are
    /// followed.
    fn far_end(&mut self, speaker: Speaker, ssrc: Ssrc) -> Option<&mut FarEndReport> {
        let Speaker { call, side, at } = speaker;
        let known = self.far_ends.iter().position(|far_end| far_end.ssrc == ssrc);
        if known.is_none() {
            let towards: Direction = side.direction();
            self.far_ends.try_push(FarEndReport::new(call, at, ssrc, towards)).ok()?;
        }
        let index = known.unwrap_or(self.far_ends.len() - 1);
        self.far_ends.get_mut(index)
    }
}

fn on_blocks(seen: &mut Seen, speaker: Speaker, blocks: &[ReportBlock]) {
    for block in blocks {
        let to = Answers::SenderReport;
        let (ssrc, lsr, dlsr) = (block.ssrc(), block.lsr(), block.dlsr());
        on_answer(seen, speaker, Answer { to, ssrc, lsr, dlsr });
    }
}

fn on_answer(seen: &mut Seen, speaker: Speaker, answer: Answer) {
    if let Some(rtt_us) = seen.on_answer(speaker.side, answer, speaker.at) {
        seen.rtt.record(rtt_us);
    }
}

/// Sources that one datagram is followed about: audio and video, and those of a relay that mixes.
const SAID_MAX: usize = 4;
