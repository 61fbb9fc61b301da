//! A call's part in RTCP: what it has sent and heard of it, and the round trips that this gave.
//!
//! Reads no packet and writes none.

use super::super::report::{Reported, RoundTrip};
use crate::{
    id::Ssrc,
    time::Timestamp,
    wire::rtcp::{DlrrSubBlock, round_trip_us},
};

/// What one call remembers of RTCP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Participant {
    /// When it last sent a report, or was about to and had nothing to say, or joined: `tp` of
    /// RFC 3550 section 6.3.
    pub(crate) last_at: Timestamp,
    /// When it last heard one.
    heard_at: Timestamp,
    /// Reports sent.
    sent: u32,
    /// Mean length of those sent and heard, octets with headers; 0 before the first.
    mean_len: u16,
    /// Which extended reports the far end wants.
    pub(crate) wanted: XrWanted,
    /// The last reference time that the far end has sent.
    reference: Option<Reference>,
    /// The last answer of each kind: one that is repeated says nothing new.
    answered: [(u32, u32); 2],
    /// The last report block about our stream.
    pub(crate) reported: Option<Reported>,
    pub(crate) rtt: RoundTrip,
}

/// A receiver's reference time, to be answered (RFC 3611 section 4.4).
#[derive(Clone, Copy, Debug)]
struct Reference {
    ssrc: Ssrc,
    ntp_middle: u32,
    at: Timestamp,
}

/// What of ours an answer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// A sender report, by LSR and DLSR.
    SenderReport,
    /// A receiver reference time, by LRR and DLRR.
    ReferenceTime,
}

/// Extended reports that a session description asks for (RFC 3611 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XrWanted {
    /// Reference times and their answers.
    pub(crate) round_trip: bool,
    /// Statistics summaries.
    pub(crate) summary: bool,
    /// VoIP metrics.
    pub(crate) metrics: bool,
}

impl Participant {
    /// Whether it has sent no report yet.
    pub(crate) const fn is_first(&self) -> bool {
        self.sent == 0
    }

    /// Notes a datagram of so many octets, headers included, that was sent.
    pub(crate) fn note_sent(&mut self, len: usize) {
        self.sent = self.sent.saturating_add(1);
        self.average(len);
    }

    /// Notes a datagram of so many octets, headers included, that has come.
    pub(crate) fn note_heard(&mut self, at: Timestamp, len: usize) {
        self.heard_at = self.heard_at.max(at);
        self.average(len);
    }

    /// Mean length of what is sent and heard; `assumed` as long as there is nothing.
    pub(crate) const fn mean_len(&self, assumed: u16) -> u16 {
        if self.mean_len == 0 { assumed } else { self.mean_len }
    }

    /// Whether the far end has taken part of late: five intervals (RFC 3550 section 6.3.5).
    pub(crate) fn is_heard(&self, now: Timestamp) -> bool {
        self.heard_at > Timestamp::MIN && now.since(self.heard_at) < super::RTCP_INTERVAL * 5
    }

    /// Remembers a reference time of the far end.
    pub(crate) const fn on_reference(&mut self, ssrc: Ssrc, ntp_middle: u32, at: Timestamp) {
        // 0 is the time of one who has no clock.
        if ntp_middle != 0 {
            self.reference = Some(Reference { ssrc, ntp_middle, at });
        }
    }

    /// The answer to the last reference time of the far end.
    pub(crate) fn dlrr(&self, now: Timestamp) -> Option<DlrrSubBlock> {
        let Reference { ssrc, ntp_middle, at } = self.reference?;
        Some(DlrrSubBlock::new(ssrc, ntp_middle, delay_units(at, now)))
    }

    /// Takes in an answer that the far end gives: the one place where a call's round trips are
    /// measured. `last` and `held` are LSR and DLSR, or LRR and DLRR. Gives back the round trip in
    /// microseconds; `None` if it is none, or was known.
    pub(crate) fn on_answer(
        &mut self,
        to: Answers,
        (last, held): (u32, u32),
        at: Timestamp,
    ) -> Option<u32> {
        let known = &mut self.answered[to as usize];
        if *known == (last, held) {
            return None;
        }
        let rtt_us = round_trip_us(at.to_ntp_middle(), last, held)?;
        *known = (last, held);
        self.rtt.record(rtt_us);
        Some(rtt_us)
    }

    /// RFC 3550 section 6.3.3: a sixteenth of the new one.
    fn average(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(u16::MAX.into());
        let mean =
            if self.mean_len == 0 { len } else { (len + 15 * u32::from(self.mean_len)) / 16 };
        self.mean_len = u16::try_from(mean).unwrap_or(u16::MAX);
    }
}

impl XrWanted {
    /// All that is sent here: XR may be used without being asked for (RFC 3611 section 5).
    pub(crate) const ALL: Self = Self { round_trip: true, summary: true, metrics: true };

    /// None.
    pub(crate) const NONE: Self = Self { round_trip: false, summary: false, metrics: false };

    /// Reads the value of an `rtcp-xr` attribute: what is not named there shall not be sent
    /// (RFC 3611 section 5.1).
    pub(crate) fn read(value: &[u8]) -> Self {
        let mut wanted = Self::NONE;
        for format in value.split(u8::is_ascii_whitespace) {
            let name = format.split(|&byte| byte == b'=').next().unwrap_or_default();
            match name {
                b"rcvr-rtt" => wanted.round_trip = true,
                b"stat-summary" => wanted.summary = true,
                b"voip-metrics" => wanted.metrics = true,
                _ => {}
            }
        }
        wanted
    }

    /// What both want.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            round_trip: self.round_trip && other.round_trip,
            summary: self.summary && other.summary,
            metrics: self.metrics && other.metrics,
        }
    }
}

impl Default for XrWanted {
    fn default() -> Self {
        Self::ALL
    }
}

/// The time since `at` in 1/65536 s, as DLSR and DLRR have it.
fn delay_units(at: Timestamp, now: Timestamp) -> u32 {
    let units = (now.since(at).as_nanos() << 16) / 1_000_000_000;
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn an_answer_counts_once_whichever_way_it_is_given() {
        let mut participant = Participant::default();
        let sent = AT.to_ntp_middle();
        let arrives = AT + Duration::from_millis(1100);
        // Held for a second: 100 ms were under way.
        for to in [Answers::SenderReport, Answers::ReferenceTime] {
            let rtt = participant.on_answer(to, (sent, 65_536), arrives).unwrap();
            assert!(rtt.abs_diff(100_000) < 20, "{rtt}");
            let late = arrives + Duration::from_millis(300);
            assert_eq!(participant.on_answer(to, (sent, 65_536), late), None);
        }
        assert_eq!(participant.rtt.count, 2);
        assert_eq!(participant.on_answer(Answers::SenderReport, (0, 0), arrives), None);
    }

    #[test]
    fn a_reference_time_is_answered_with_how_long_it_was_held() {
        let mut participant = Participant::default();
        participant.on_reference(Ssrc(7), 0, AT);
        assert_eq!(participant.dlrr(AT), None);
        participant.on_reference(Ssrc(7), 0x1234_5678, AT);
        let dlrr = participant.dlrr(AT + Duration::from_millis(1500)).unwrap();
        assert_eq!((dlrr.ssrc(), dlrr.lrr(), dlrr.dlrr()), (Ssrc(7), 0x1234_5678, 98_304));
    }

    #[test]
    fn the_mean_length_follows_by_a_sixteenth() {
        let mut participant = Participant::default();
        assert_eq!(participant.mean_len(300), 300);
        participant.note_sent(160);
        assert_eq!(participant.mean_len(300), 160);
        participant.note_heard(AT, 320);
        assert_eq!(participant.mean_len(300), 170);
        participant.note_heard(AT, usize::MAX);
        assert_eq!(u32::from(participant.mean_len(300)), (65_535 + 15 * 170) / 16);
    }

    #[test]
    fn a_far_end_that_names_extended_reports_wants_no_others() {
        let read = |text: &str| XrWanted::read(text.as_bytes());
        assert_eq!(read("voip-metrics"), XrWanted { metrics: true, ..XrWanted::NONE });
        let text = "pkt-loss-rle=100 rcvr-rtt=all:40 stat-summary=loss,dup  voip-metrics";
        assert_eq!(read(text), XrWanted::ALL);
        assert_eq!(read(""), XrWanted::NONE);
        assert_eq!(read("voip-metrics-2 jitter"), XrWanted::NONE);
    }
}
