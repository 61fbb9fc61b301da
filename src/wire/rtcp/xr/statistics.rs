//! Statistics summaries (RFC 3611 section 4.6): loss, duplicates, jitter and hops over a range of
//! packets, each of them or none.
//!
//! Never fills in what a summary leaves out.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

use super::{BlockHeader, STATISTICS_SUMMARY};
use crate::id::Ssrc;

/// A statistics summary report block, 40 octets as they stand on the wire (RFC 3611 section 4.6).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct StatisticsSummary {
    header: BlockHeader,
    ssrc: U32,
    begin_sequence: U16,
    end_sequence: U16,
    lost: U32,
    duplicates: U32,
    jitter: [U32; 4],
    hops: [u8; 4],
}

impl StatisticsSummary {
    /// The source this is about.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.ssrc.get())
    }

    /// The first sequence number of the range.
    #[must_use]
    pub const fn begin_sequence(&self) -> u16 {
        self.begin_sequence.get()
    }

    /// One more than the last sequence number of the range; below the first if they wrapped.
    #[must_use]
    pub const fn end_sequence(&self) -> u16 {
        self.end_sequence.get()
    }

    /// Packets lost in the range; `None` if not reported.
    #[must_use]
    pub fn lost(&self) -> Option<u32> {
        self.reports(LOST).then(|| self.lost.get())
    }

    /// Duplicate packets in the range; `None` if not reported.
    #[must_use]
    pub fn duplicates(&self) -> Option<u32> {
        self.reports(DUPLICATES).then(|| self.duplicates.get())
    }

    /// Jitter over the range; `None` if not reported.
    #[must_use]
    pub fn jitter(&self) -> Option<JitterSummary> {
        let [min, max, mean, deviation] = self.jitter.map(U32::get);
        self.reports(JITTER).then_some(JitterSummary { min, max, mean, deviation })
    }

    /// Hops left to the packets of the range; `None` if not reported, or of a field that is
    /// neither IPv4's nor IPv6's.
    #[must_use]
    pub fn hops(&self) -> Option<HopSummary> {
        let field = match self.header.specific & HOPS {
            HOPS_TTL => HopField::Ttl,
            HOPS_HOP_LIMIT => HopField::HopLimit,
            _ => return None,
        };
        let [min, max, mean, deviation] = self.hops;
        Some(HopSummary { field, min, max, mean, deviation })
    }

    /// Whether all that is flagged as unreported is zero. A receiver must ignore a block of which
    /// this is not so.
    pub(super) fn is_consistent(&self) -> bool {
        (self.reports(LOST) || self.lost.get() == 0)
            && (self.reports(DUPLICATES) || self.duplicates.get() == 0)
            && (self.reports(JITTER) || self.jitter == [U32::ZERO; 4])
            && (self.reports(HOPS) || self.hops == [0; 4])
    }

    const fn reports(&self, flags: u8) -> bool {
        self.header.specific & flags != 0
    }
}

/// Differences between the transit times of packets, in units of the RTP clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterSummary {
    /// The least of them.
    pub min: u32,
    /// The greatest of them.
    pub max: u32,
    /// Their mean, rounded to the nearest.
    pub mean: u32,
    /// Their standard deviation.
    pub deviation: u32,
}

/// Hops that packets had left when they came, 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopSummary {
    /// Where they are counted.
    pub field: HopField,
    /// The least of them.
    pub min: u8,
    /// The greatest of them.
    pub max: u8,
    /// Their mean, rounded to the nearest.
    pub mean: u8,
    /// Their standard deviation.
    pub deviation: u8,
}

/// The field of a header that counts hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopField {
    /// Time to live, of IPv4.
    Ttl,
    /// Hop limit, of IPv6.
    HopLimit,
}

/// What to write into a statistics summary; the fields are those of [`StatisticsSummary`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatisticsSummaryValues {
    /// The source this is about.
    pub ssrc: Ssrc,
    /// The first sequence number of the range.
    pub begin_sequence: u16,
    /// One more than the last sequence number of the range.
    pub end_sequence: u16,
    /// Packets lost in the range.
    pub lost: Option<u32>,
    /// Duplicate packets in the range.
    pub duplicates: Option<u32>,
    /// Jitter over the range.
    pub jitter: Option<JitterSummary>,
    /// Hops left to the packets of the range.
    pub hops: Option<HopSummary>,
}

impl From<StatisticsSummaryValues> for StatisticsSummary {
    fn from(values: StatisticsSummaryValues) -> Self {
        let flag = |is_reported: bool, flag: u8| if is_reported { flag } else { 0 };
        let hops_flag = values.hops.map_or(0, |hops| match hops.field {
            HopField::Ttl => HOPS_TTL,
            HopField::HopLimit => HOPS_HOP_LIMIT,
        });
        let flags = flag(values.lost.is_some(), LOST)
            | flag(values.duplicates.is_some(), DUPLICATES)
            | flag(values.jitter.is_some(), JITTER)
            | hops_flag;
        let jitter = values.jitter.unwrap_or_default();
        Self {
            header: BlockHeader::of::<Self>(STATISTICS_SUMMARY, flags),
            ssrc: values.ssrc.0.into(),
            begin_sequence: values.begin_sequence.into(),
            end_sequence: values.end_sequence.into(),
            lost: values.lost.unwrap_or(0).into(),
            duplicates: values.duplicates.unwrap_or(0).into(),
            jitter: [jitter.min, jitter.max, jitter.mean, jitter.deviation].map(U32::new),
            hops: values
                .hops
                .map_or([0; 4], |hops| [hops.min, hops.max, hops.mean, hops.deviation]),
        }
    }
}

/// RFC 3611 section 4.6: the flags beside the block type.
const LOST: u8 = 0x80;
const DUPLICATES: u8 = 0x40;
const JITTER: u8 = 0x20;
const HOPS: u8 = 0x18;
const HOPS_TTL: u8 = 1 << 3;
const HOPS_HOP_LIMIT: u8 = 2 << 3;

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};
    use zerocopy::FromZeros;

    use super::*;
    use crate::wire::rtcp::{RtcpCompound, RtcpPacket, XrBlock, write_extended_report};

    fn written(values: StatisticsSummaryValues) -> Vec<u8> {
        let mut out = Vec::new();
        let block = StatisticsSummary::from(values);
        write_extended_report(&mut out, Ssrc(9), &[XrBlock::StatisticsSummary(&block)]);
        out
    }

    fn read(bytes: &[u8]) -> Option<StatisticsSummary> {
        let compound = RtcpCompound::parse(bytes).unwrap();
        let Some(RtcpPacket::ExtendedReport(report)) = compound.packets().next() else { panic!() };
        match report.blocks().next() {
            Some(XrBlock::StatisticsSummary(summary)) => Some(*summary),
            Some(XrBlock::Other { block_type: STATISTICS_SUMMARY, .. }) => None,
            other => panic!("{other:?}"),
        }
    }

    fn values(summary: &StatisticsSummary) -> StatisticsSummaryValues {
        StatisticsSummaryValues {
            ssrc: summary.ssrc(),
            begin_sequence: summary.begin_sequence(),
            end_sequence: summary.end_sequence(),
            lost: summary.lost(),
            duplicates: summary.duplicates(),
            jitter: summary.jitter(),
            hops: summary.hops(),
        }
    }

    #[test]
    fn a_summary_stands_as_the_rfc_draws_it() {
        let summary = StatisticsSummaryValues {
            ssrc: Ssrc(0x0102_0304),
            begin_sequence: 0xFFF0,
            end_sequence: 0x0010,
            lost: Some(3),
            duplicates: None,
            jitter: Some(JitterSummary { min: 1, max: 400, mean: 80, deviation: 40 }),
            hops: Some(HopSummary {
                field: HopField::HopLimit,
                min: 60,
                max: 64,
                mean: 63,
                deviation: 1,
            }),
        };
        // Twelve words in all; flags L, J and ToH = 2: 0x80 + 0x20 + 0x10.
        let expected = [
            [0x80, 207, 0, 11, 0, 0, 0, 9, 6, 0xB0, 0, 9, 1, 2, 3, 4],
            [0xFF, 0xF0, 0, 0x10, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1],
            [0, 0, 1, 0x90, 0, 0, 0, 80, 0, 0, 0, 40, 60, 64, 63, 1],
        ];
        assert_eq!(written(summary), expected.concat());
    }

    #[test]
    fn a_value_flagged_as_unreported_makes_a_receiver_ignore_the_block() {
        // The last octet of lost, duplicates, each jitter and each of the hops.
        for at in [23, 27, 31, 35, 39, 43, 44, 45, 46, 47] {
            let mut bytes = written(StatisticsSummaryValues::default());
            assert!(read(&bytes).is_some());
            bytes[at] = 1;
            assert_eq!(read(&bytes), None, "{at}");
            bytes[9] = LOST | DUPLICATES | JITTER | HOPS_TTL;
            assert!(read(&bytes).is_some(), "{at}");
        }
    }

    #[test]
    fn hops_of_no_known_field_are_none() {
        let mut bytes = written(StatisticsSummaryValues { lost: Some(5), ..Default::default() });
        bytes[9] |= HOPS;
        bytes[44..].fill(64);
        let summary = read(&bytes).unwrap();
        assert_eq!((summary.hops(), summary.lost()), (None, Some(5)));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            (ssrc, begin_sequence, end_sequence) in any::<(u32, u16, u16)>(),
            (lost, duplicates) in any::<(Option<u32>, Option<u32>)>(),
            jitter in option::of(any::<(u32, u32, u32, u32)>()),
            hops in option::of(any::<(bool, u8, u8, u8, u8)>()),
        ) {
            let summary = StatisticsSummaryValues {
                ssrc: Ssrc(ssrc),
                begin_sequence,
                end_sequence,
                lost,
                duplicates,
                jitter: jitter.map(|(min, max, mean, deviation)| {
                    JitterSummary { min, max, mean, deviation }
                }),
                hops: hops.map(|(is_ipv4, min, max, mean, deviation)| {
                    let field = if is_ipv4 { HopField::Ttl } else { HopField::HopLimit };
                    HopSummary { field, min, max, mean, deviation }
                }),
            };
            prop_assert_eq!(values(&read(&written(summary)).unwrap()), summary);
        }

        /// What is read of any octets is what is read after it was written again.
        #[test]
        fn any_octets_say_the_same_when_written_again(octets in any::<[u8; 40]>()) {
            let mut summary = StatisticsSummary::new_zeroed();
            summary.as_mut_bytes().copy_from_slice(&octets);
            let found = values(&summary);
            prop_assert_eq!(values(&found.into()), found);
        }
    }
}
