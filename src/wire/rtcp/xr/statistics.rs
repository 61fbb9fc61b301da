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
