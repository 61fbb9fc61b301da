//! A [`Receiver`] counts the RTP that comes back on a call, and reports it as RTCP does.
//!
//! It follows the first source it hears; it never plays or keeps a packet.

use std::time::Duration;

use voxplane::{
    id::Ssrc,
    time::Timestamp,
    wire::{rtcp::ReportBlockValues, rtp::RtpPacket},
};

use crate::jitter::Jitter;

/// What was received of one call's media.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    source: Option<Source>,
    /// Packets of other sources than the first.
    strangers: u64,
}

impl Receiver {
    /// Takes a packet that arrived at `at`.
    pub fn receive(&mut self, at: Timestamp, packet: &RtpPacket<'_>) {
        match &mut self.source {
            None => self.source = Some(Source::new(at, packet)),
            Some(source) if source.ssrc == packet.ssrc() => source.receive(at, packet),
            Some(_) => self.strangers += 1,
        }
    }

    /// Remembers a sender report that arrived at `at`, for the round trip of whoever sent it.
    pub const fn on_sender_report(&mut self, at: Timestamp, ssrc: Ssrc, ntp: u64) {
        if let Some(source) = &mut self.source
            && source.ssrc.0 == ssrc.0
        {
            #[expect(clippy::cast_possible_truncation, reason = "the middle 32 bits are meant")]
            let middle = (ntp >> 16) as u32;
            source.last_report = Some((at, middle));
        }
    }

    /// The report block about what was received, as of `now` (RFC 3550 section 6.4.1).
    pub fn report(&mut self, now: Timestamp) -> Option<ReportBlockValues> {
        self.source.as_mut().map(|source| source.report(now))
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Received {
        self.source.as_ref().map_or_else(Received::default, |source| Received {
            packets: source.received,
            lost: source.expected() - source.received,
            duplicates: source.duplicates,
            reordered: source.reordered,
            strangers: self.strangers,
            jitter_mean: source.jitter.mean(),
            jitter_max: source.jitter.max(),
        })
    }
}

/// Counts of received media.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Received {
    /// Packets, each counted once.
    pub packets: u64,
    /// Packets that sequence numbers say are missing.
    pub lost: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets of further sources, not measured.
    pub strangers: u64,
    /// Mean of the A.8 estimate.
    pub jitter_mean: Option<Duration>,
    /// Highest A.8 estimate.
    pub jitter_max: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: Ssrc,
    /// Extended by wraps (RFC 3550 appendix A.1); starts one cycle up so that packets older than
    /// the first have a number too.
    base: u64,
    highest: u64,
    received: u64,
    duplicates: u64,
    reordered: u64,
    jitter: Jitter,
    /// A bit for each of the last packets: it came.
    seen: [u64; SEEN_WORDS],
    last_report: Option<(Timestamp, u32)>,
    reported_expected: u64,
    reported_received: u64,
}

impl Source {
    fn new(at: Timestamp, packet: &RtpPacket<'_>) -> Self {
        let first = CYCLE + u64::from(packet.sequence());
        let mut source = Self {
            ssrc: packet.ssrc(),
            base: first,
            highest: first,
            received: 1,
            duplicates: 0,
            reordered: 0,
            jitter: Jitter::default(),
            seen: [0; SEEN_WORDS],
            last_report: None,
            reported_expected: 0,
            reported_received: 0,
        };
        source.mark(first);
        source.jitter.update(at, packet.timestamp());
        source
    }

    fn receive(&mut self, at: Timestamp, packet: &RtpPacket<'_>) {
        let sequence = self.extend(packet.sequence());
        if sequence > self.highest {
            let skipped = (self.highest + 1..sequence).rev().take(SEEN_PACKETS);
            skipped.for_each(|older| self.clear(older));
            self.highest = sequence;
        } else if self.highest - sequence >= SEEN_PACKETS as u64 || self.has_seen(sequence) {
            self.duplicates += 1;
            return;
        } else {
            self.reordered += 1;
            self.base = self.base.min(sequence);
        }
        self.mark(sequence);
        self.received += 1;
        self.jitter.update(at, packet.timestamp());
    }

    /// The number nearest to the highest so far that ends in `sequence`.
    fn extend(&self, sequence: u16) -> u64 {
        let [low, high, ..] = self.highest.to_le_bytes();
        let distance = sequence.wrapping_sub(u16::from_le_bytes([low, high])).cast_signed();
        self.highest.saturating_add_signed(i64::from(distance))
    }

    const fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    fn report(&mut self, now: Timestamp) -> ReportBlockValues {
        let expected = self.expected();
        let expected_interval = expected - self.reported_expected;
        let received_interval = self.received - self.reported_received;
        (self.reported_expected, self.reported_received) = (expected, self.received);
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        let (lsr, dlsr) = self.last_report.map_or((0, 0), |(at, lsr)| {
            let delay = now.since(at).as_nanos() * 65_536 / 1_000_000_000;
            (lsr, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        ReportBlockValues {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(expected - self.received).unwrap_or(i32::MAX),
            extended_highest_sequence: u32::try_from(self.highest - CYCLE).unwrap_or(u32::MAX),
            jitter: self.jitter.rtp_units(),
            lsr,
            dlsr,
        }
    }

    fn has_seen(&self, sequence: u64) -> bool {
        let (word, bit) = seen_bit(sequence);
        self.seen[word] & bit != 0
    }

    fn mark(&mut self, sequence: u64) {
        let (word, bit) = seen_bit(sequence);
        self.seen[word] |= bit;
    }

    fn clear(&mut self, sequence: u64) {
        let (word, bit) = seen_bit(sequence);
        self.seen[word] &= !bit;
    }
}

fn seen_bit(sequence: u64) -> (usize, u64) {
    let place = usize::try_from(sequence % SEEN_PACKETS as u64).unwrap_or(0);
    (place / 64, 1 << (place % 64))
}

/// Sequence numbers before they wrap.
const CYCLE: u64 = 1 << 16;
/// 1024 packets are 20 s of audio: nothing is late by more and still the same call.
const SEEN_WORDS: usize = 16;
const SEEN_PACKETS: usize = SEEN_WORDS * 64;

#[cfg(test)]
mod tests {
    use voxplane::{id::PayloadType, wire::rtp::RtpHeader};
    use zerocopy::IntoBytes as _;

    use super::*;

    fn feed(receiver: &mut Receiver, sequences: &[u16]) {
        for &sequence in sequences {
            let header = RtpHeader::new(PayloadType(0), false, sequence, 0, Ssrc(1));
            let packet = RtpPacket::parse(header.as_bytes()).unwrap();
            receiver.receive(Timestamp::from_secs(1), &packet);
        }
    }

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart_across_a_wrap() {
        let mut receiver = Receiver::default();
        feed(&mut receiver, &[65_533, 65_534, 1, 65_535, 65_535, 4, 2, 1, 5]);
        let counts = receiver.counts();
        assert_eq!((counts.packets, counts.lost), (7, 2));
        assert_eq!((counts.duplicates, counts.reordered), (2, 2));
        let report = receiver.report(Timestamp::from_secs(1)).unwrap();
        assert_eq!(report.extended_highest_sequence, (1 << 16) + 5);
        assert_eq!((report.cumulative_lost, report.fraction_lost), (2, 56));
    }

    #[test]
    fn packets_before_the_first_to_come_count_as_expected() {
        let mut receiver = Receiver::default();
        feed(&mut receiver, &[10, 8, 11]);
        assert_eq!((receiver.counts().lost, receiver.counts().reordered), (1, 1));
    }

    #[test]
    fn a_place_is_free_again_after_a_round() {
        let mut receiver = Receiver::default();
        let all: Vec<_> = (0..5000).filter(|n| n % 7 != 3).collect();
        feed(&mut receiver, &all);
        assert_eq!(receiver.counts().duplicates, 0);
        let (came, missing) = (4986, 4987);
        feed(&mut receiver, &[came, missing]);
        assert_eq!((receiver.counts().duplicates, receiver.counts().reordered), (1, 1));
    }

    #[test]
    fn the_delay_since_a_sender_report_is_told_back() {
        let mut receiver = Receiver::default();
        feed(&mut receiver, &[1]);
        receiver.on_sender_report(Timestamp::from_secs(10), Ssrc(1), 0x1122_3344_5566_7788);
        let report = receiver.report(Timestamp::from_nanos(12_500_000_000)).unwrap();
        assert_eq!((report.lsr, report.dlsr), (0x3344_5566, 2 * 65_536 + 32_768));
    }
}
