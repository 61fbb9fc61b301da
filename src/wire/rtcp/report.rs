//! Sender and receiver reports (RFC 3550 section 6.4): what was sent and what was received.
//!
//! Never judges what a report says and never schedules one.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U32};

use super::{RECEIVER_REPORT, SENDER_REPORT, WORD_LEN, write_packet};
use crate::id::Ssrc;

/// A sender report (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    fixed: &'a SenderFixed,
    blocks: &'a [ReportBlock],
    extension: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn new(count: u8, body: &'a [u8]) -> Result<Self, usize> {
        let expected = size_of::<SenderFixed>() + usize::from(count) * size_of::<ReportBlock>();
        let (fixed, rest) = SenderFixed::ref_from_prefix(body).map_err(|_| expected)?;
        let (blocks, extension) = split_blocks(rest, count).ok_or(expected)?;
        Ok(Self { fixed, blocks, extension })
    }

    /// The source that reports.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.fixed.ssrc.get())
    }

    /// When it was sent by the sender's clock: 32 bits of seconds since 1900, 32 of fraction;
    /// 0 if the sender has no clock.
    #[must_use]
    pub const fn ntp(&self) -> u64 {
        ((self.fixed.ntp_seconds.get() as u64) << 32) | self.fixed.ntp_fraction.get() as u64
    }

    /// The middle 32 bits of [`ntp`](Self::ntp), which whoever answers repeats as LSR.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the middle 32 bits")]
    pub const fn ntp_middle(&self) -> u32 {
        (self.ntp() >> 16) as u32
    }

    /// The same moment in units of the RTP clock.
    #[must_use]
    pub const fn rtp_timestamp(&self) -> u32 {
        self.fixed.rtp_timestamp.get()
    }

    /// RTP packets sent since the start; wraps.
    #[must_use]
    pub const fn packet_count(&self) -> u32 {
        self.fixed.packet_count.get()
    }

    /// Payload octets sent since the start; wraps.
    #[must_use]
    pub const fn octet_count(&self) -> u32 {
        self.fixed.octet_count.get()
    }

    /// What it has received from others, 0 to 31.
    #[must_use]
    pub const fn blocks(&self) -> &'a [ReportBlock] {
        self.blocks
    }

    /// What a profile has added behind the blocks.
    #[must_use]
    pub const fn profile_extension(&self) -> &'a [u8] {
        self.extension
    }
}

/// A receiver report (RFC 3550 section 6.4.2).
#[derive(Clone, Copy, Debug)]
pub struct ReceiverReport<'a> {
    ssrc: &'a U32,
    blocks: &'a [ReportBlock],
    extension: &'a [u8],
}

/// Splits so many report blocks off; `None` if there are fewer.
fn split_blocks(bytes: &[u8], count: u8) -> Option<(&[ReportBlock], &[u8])> {
    <[ReportBlock]>::ref_from_prefix_with_elems(bytes, usize::from(count)).ok()
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn new(count: u8, body: &'a [u8]) -> Result<Self, usize> {
        let expected = WORD_LEN + usize::from(count) * size_of::<ReportBlock>();
        let (ssrc, rest) = U32::ref_from_prefix(body).map_err(|_| expected)?;
        let (blocks, extension) = split_blocks(rest, count).ok_or(expected)?;
        Ok(Self { ssrc, blocks, extension })
    }

    /// The source that reports.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.ssrc.get())
    }

    /// What it has received from others, 0 to 31.
    #[must_use]
    pub const fn blocks(&self) -> &'a [ReportBlock] {
        self.blocks
    }

    /// What a profile has added behind the blocks.
    #[must_use]
    pub const fn profile_extension(&self) -> &'a [u8] {
        self.extension
    }
}

/// What one receiver says of one source, 24 octets as they stand on the wire
/// (RFC 3550 section 6.4.1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct ReportBlock {
    ssrc: U32,
    fraction_lost: u8,
    cumulative_lost: [u8; 3],
    extended_highest_sequence: U32,
    jitter: U32,
    lsr: U32,
    dlsr: U32,
}

impl ReportBlock {
    /// The source this is about.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.ssrc.get())
    }

    /// Share of packets lost since the last report, in 1/256.
    #[must_use]
    pub const fn fraction_lost(&self) -> u8 {
        self.fraction_lost
    }

    /// Packets lost since the start, -8388608 to 8388607; negative if there were duplicates.
    #[must_use]
    pub const fn cumulative_lost(&self) -> i32 {
        let [high, middle, low] = self.cumulative_lost;
        i32::from_be_bytes([high, middle, low, 0]) >> 8
    }

    /// Highest sequence number received, its wraps counted in the upper 16 bits.
    #[must_use]
    pub const fn extended_highest_sequence(&self) -> u32 {
        self.extended_highest_sequence.get()
    }

    /// Interarrival jitter in units of the RTP clock.
    #[must_use]
    pub const fn jitter(&self) -> u32 {
        self.jitter.get()
    }

    /// The middle 32 bits of the NTP time of the last sender report received; 0 if none.
    #[must_use]
    pub const fn lsr(&self) -> u32 {
        self.lsr.get()
    }

    /// Time since that report arrived, in 1/65536 s.
    #[must_use]
    pub const fn dlsr(&self) -> u32 {
        self.dlsr.get()
    }
}

/// What to write into a report block; the fields are those of [`ReportBlock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlockValues {
    /// The source this is about.
    pub ssrc: Ssrc,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start; held to what 24 bits with a sign can say.
    pub cumulative_lost: i32,
    /// Highest sequence number received, its wraps counted in the upper 16 bits.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report received; 0 if none.
    pub lsr: u32,
    /// Time since that report arrived, in 1/65536 s.
    pub dlsr: u32,
}

impl From<ReportBlockValues> for ReportBlock {
    fn from(values: ReportBlockValues) -> Self {
        let lost = values.cumulative_lost.clamp(CUMULATIVE_LOST_MIN, CUMULATIVE_LOST_MAX);
        let [_, high, middle, low] = lost.to_be_bytes();
        Self {
            ssrc: values.ssrc.0.into(),
            fraction_lost: values.fraction_lost,
            cumulative_lost: [high, middle, low],
            extended_highest_sequence: values.extended_highest_sequence.into(),
            jitter: values.jitter.into(),
            lsr: values.lsr.into(),
            dlsr: values.dlsr.into(),
        }
    }
}

/// What to write into a sender report; the fields are those of [`SenderReport`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The source that reports.
    pub ssrc: Ssrc,
    /// Now by our clock, as a 64-bit NTP timestamp.
    pub ntp: u64,
    /// The same moment in units of the RTP clock.
    pub rtp_timestamp: u32,
    /// RTP packets sent since the start.
    pub packet_count: u32,
    /// Payload octets sent since the start.
    pub octet_count: u32,
}

/// Appends a sender report. Blocks after the 31st have no place in one and are left out.
pub fn write_sender_report(out: &mut Vec<u8>, sender: SenderInfo, blocks: &[ReportBlockValues]) {
    let blocks = &blocks[..blocks.len().min(REPORT_BLOCKS_MAX)];
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of an NTP timestamp")]
    let fixed = SenderFixed {
        ssrc: sender.ssrc.0.into(),
        ntp_seconds: ((sender.ntp >> 32) as u32).into(),
        ntp_fraction: (sender.ntp as u32).into(),
        rtp_timestamp: sender.rtp_timestamp.into(),
        packet_count: sender.packet_count.into(),
        octet_count: sender.octet_count.into(),
    };
    write_packet(out, SENDER_REPORT, blocks.len(), |out| {
        out.extend_from_slice(fixed.as_bytes());
        write_blocks(out, blocks);
    });
}

/// Appends a receiver report. Blocks after the 31st have no place in one and are left out.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: Ssrc, blocks: &[ReportBlockValues]) {
    let blocks = &blocks[..blocks.len().min(REPORT_BLOCKS_MAX)];
    write_packet(out, RECEIVER_REPORT, blocks.len(), |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        write_blocks(out, blocks);
    });
}

fn write_blocks(out: &mut Vec<u8>, blocks: &[ReportBlockValues]) {
    for &block in blocks {
        out.extend_from_slice(ReportBlock::from(block).as_bytes());
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SenderFixed {
    ssrc: U32,
    ntp_seconds: U32,
    ntp_fraction: U32,
    rtp_timestamp: U32,
    packet_count: U32,
    octet_count: U32,
}

/// Blocks that the five bits of a report's count can announce.
pub const REPORT_BLOCKS_MAX: usize = 31;

/// RFC 3550 appendix A.3: the range of a 24-bit signed count.
const CUMULATIVE_LOST_MIN: i32 = -(1 << 23);
const CUMULATIVE_LOST_MAX: i32 = (1 << 23) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtcp::{RtcpCompound, RtcpPacket};

    const BLOCK: ReportBlockValues = ReportBlockValues {
        ssrc: Ssrc(0x0102_0304),
        fraction_lost: 64,
        cumulative_lost: -2,
        extended_highest_sequence: 0x0001_FFFE,
        jitter: 40,
        lsr: 0xAABB_CCDD,
        dlsr: 65536,
    };

    #[test]
    fn a_sender_report_stands_as_the_rfc_draws_it() {
        let sender = SenderInfo {
            ssrc: Ssrc(7),
            ntp: 0x1111_1111_2222_2222,
            rtp_timestamp: 160,
            packet_count: 3,
            octet_count: 480,
        };
        let mut out = Vec::new();
        write_sender_report(&mut out, sender, &[BLOCK]);
        let expected = [
            0x81, 200, 0, 12, 0, 0, 0, 7, 0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22, 0, 0, 0,
            160, 0, 0, 0, 3, 0, 0, 1, 0xE0, 1, 2, 3, 4, 64, 0xFF, 0xFF, 0xFE, 0, 1, 0xFF, 0xFE, 0,
            0, 0, 40, 0xAA, 0xBB, 0xCC, 0xDD, 0, 1, 0, 0,
        ];
        assert_eq!(out, expected);

        let compound = RtcpCompound::parse(&out).unwrap();
        let Some(RtcpPacket::SenderReport(report)) = compound.packets().next() else { panic!() };
        assert_eq!((report.ssrc(), report.ntp()), (sender.ssrc, sender.ntp));
        assert_eq!(report.rtp_timestamp(), 160);
        assert_eq!((report.packet_count(), report.octet_count()), (3, 480));
        let [block] = report.blocks() else { panic!() };
        assert_eq!((block.ssrc(), block.fraction_lost()), (BLOCK.ssrc, 64));
        assert_eq!((block.cumulative_lost(), block.jitter()), (-2, 40));
        assert_eq!(block.extended_highest_sequence(), 0x0001_FFFE);
        assert_eq!((block.lsr(), block.dlsr()), (0xAABB_CCDD, 65536));
    }
}
