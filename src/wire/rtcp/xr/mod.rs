//! Extended reports (RFC 3611): blocks that say more than a report block has room for.
//!
//! Never judges what a block says; a block of a type not known here is passed over by its length.

mod reference;
mod statistics;
mod voip;

pub use reference::{DlrrSubBlock, ReceiverReferenceTime};
pub use statistics::{
    HopField, HopSummary, JitterSummary, StatisticsSummary, StatisticsSummaryValues,
};
pub use voip::{Concealment, JitterBufferKind, VoipMetrics, VoipMetricsValues};

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

use super::{EXTENDED_REPORT, WORD_LEN, write_packet};
use crate::id::Ssrc;

/// An extended report (RFC 3611 section 2).
#[derive(Clone, Copy, Debug)]
pub struct ExtendedReport<'a> {
    ssrc: &'a U32,
    blocks: &'a [u8],
}

impl<'a> ExtendedReport<'a> {
    pub(super) fn new(body: &'a [u8]) -> Result<Self, usize> {
        let (ssrc, blocks) = U32::ref_from_prefix(body).map_err(|_| WORD_LEN)?;
        Ok(Self { ssrc, blocks })
    }

    /// The source that reports.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.ssrc.get())
    }

    /// The blocks in order. Ends early where one overruns the packet.
    pub fn blocks(&self) -> impl Iterator<Item = XrBlock<'a>> + use<'a> {
        let mut rest = self.blocks;
        core::iter::from_fn(move || {
            let (block, after) = XrBlock::split(rest)?;
            rest = after;
            Some(block)
        })
    }
}

/// One block of an extended report, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XrBlock<'a> {
    /// When the report was sent, by one who need not send media (type 4).
    ReceiverReferenceTime(&'a ReceiverReferenceTime),
    /// What each one whose reference time came needs for its round trip (type 5).
    Dlrr(&'a [DlrrSubBlock]),
    /// Loss, duplicates, jitter and hops over a range of packets (type 6).
    StatisticsSummary(&'a StatisticsSummary),
    /// What a voice endpoint has measured (type 7).
    VoipMetrics(&'a VoipMetrics),
    /// Any other type, not looked into; or one of the above that a receiver must ignore: its
    /// length is not that of its type, or it is a statistics summary with values in fields that
    /// it flags as unreported.
    Other {
        /// The block type by the IANA registry: 1 and 2 are run lengths of loss and duplicates,
        /// 3 are receipt times (RFC 3611 sections 4.1 to 4.3).
        block_type: u8,
        /// The octet between type and length, whose meaning is the type's.
        specific: u8,
        /// What follows the first four octets, in whole words.
        body: &'a [u8],
    },
}

impl<'a> XrBlock<'a> {
    /// The first block and what follows it; `None` if it is cut.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, _) = BlockHeader::ref_from_prefix(bytes).ok()?;
        let len = (usize::from(header.words.get()) + 1) * WORD_LEN;
        let (block, rest) = bytes.split_at_checked(len)?;
        let body = block.get(WORD_LEN..)?;
        let known = match header.block_type {
            RECEIVER_REFERENCE_TIME => {
                FromBytes::ref_from_bytes(block).ok().map(Self::ReceiverReferenceTime)
            }
            DLRR => FromBytes::ref_from_bytes(body).ok().map(Self::Dlrr),
            STATISTICS_SUMMARY => FromBytes::ref_from_bytes(block)
                .ok()
                .filter(|summary: &&StatisticsSummary| summary.is_consistent())
                .map(Self::StatisticsSummary),
            VOIP_METRICS => FromBytes::ref_from_bytes(block).ok().map(Self::VoipMetrics),
            _ => None,
        };
        let (block_type, specific) = (header.block_type, header.specific);
        Some((known.unwrap_or(Self::Other { block_type, specific, body }), rest))
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::ReceiverReferenceTime(block) => out.extend_from_slice(block.as_bytes()),
            Self::StatisticsSummary(block) => out.extend_from_slice(block.as_bytes()),
            Self::VoipMetrics(block) => out.extend_from_slice(block.as_bytes()),
            Self::Dlrr(blocks) => write_block(out, DLRR, 0, blocks.as_bytes()),
            Self::Other { block_type, specific, body } => {
                write_block(out, block_type, specific, body);
            }
        }
    }
}

fn write_block(out: &mut Vec<u8>, block_type: u8, specific: u8, body: &[u8]) {
    let words = body.len().div_ceil(WORD_LEN);
    let header = BlockHeader {
        block_type,
        specific,
        // One that is longer has no place in a packet anyway.
        words: u16::try_from(words).unwrap_or(u16::MAX).into(),
    };
    out.extend_from_slice(header.as_bytes());
    let end = out.len() + words * WORD_LEN;
    out.extend_from_slice(body);
    out.resize(end, 0);
}

/// Appends an extended report. A block that would take the packet beyond its 65536 words has no
/// place in it and is left out.
pub fn write_extended_report(out: &mut Vec<u8>, ssrc: Ssrc, blocks: &[XrBlock<'_>]) {
    let start = out.len();
    write_packet(out, EXTENDED_REPORT, 0, |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        for block in blocks {
            let end = out.len();
            block.write(out);
            if out.len() - start > PACKET_LEN_MAX {
                out.truncate(end);
            }
        }
    });
}

/// What every block begins with (RFC 3611 section 3).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
struct BlockHeader {
    block_type: u8,
    /// Flags or nothing, as the type has it.
    specific: u8,
    /// Length in words less one, this header included.
    words: U16,
}

impl BlockHeader {
    /// That of a block of type `T`, which this header is part of.
    fn of<T>(block_type: u8, specific: u8) -> Self {
        let words = u16::try_from(size_of::<T>() / WORD_LEN - 1).unwrap_or(u16::MAX);
        Self { block_type, specific, words: words.into() }
    }
}

/// RFC 3611 section 4: the block types.
const RECEIVER_REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;
const STATISTICS_SUMMARY: u8 = 6;
const VOIP_METRICS: u8 = 7;
/// Octets that 16 bits can announce as words less one.
const PACKET_LEN_MAX: usize = (1 << 16) * WORD_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtcp::{RtcpCompound, RtcpError, RtcpPacket};

    /// All types, one of another kind between them.
    fn written() -> Vec<u8> {
        let mut out = Vec::new();
        write_extended_report(
            &mut out,
            Ssrc(9),
            &[
                XrBlock::ReceiverReferenceTime(&ReceiverReferenceTime::new(0x1111_2222_3333_4444)),
                XrBlock::Other { block_type: 1, specific: 2, body: &[0, 0, 0, 1, 0, 7, 0, 9] },
                XrBlock::Dlrr(&[
                    DlrrSubBlock::new(Ssrc(1), 2, 3),
                    DlrrSubBlock::new(Ssrc(4), 5, 6),
                ]),
                XrBlock::StatisticsSummary(&StatisticsSummaryValues::default().into()),
                XrBlock::VoipMetrics(&VoipMetricsValues::default().into()),
            ],
        );
        out
    }

    fn report(bytes: &[u8]) -> ExtendedReport<'_> {
        let compound = RtcpCompound::parse(bytes).unwrap();
        let Some(RtcpPacket::ExtendedReport(report)) = compound.packets().next() else { panic!() };
        report
    }

    #[test]
    fn reference_times_and_answers_stand_as_the_rfc_draws_them() {
        let out = written();
        // Header and SSRC; then 12 octets of reference time, 12 of run lengths and 28 of DLRR.
        let words = 2 + 3 + 3 + 7 + 10 + 9;
        let expected = [
            [0x80, 207, 0, words - 1, 0, 0, 0, 9, 4, 0, 0, 2, 0x11, 0x11, 0x22, 0x22],
            [0x33, 0x33, 0x44, 0x44, 1, 2, 0, 2, 0, 0, 0, 1, 0, 7, 0, 9],
            [5, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
        ];
        assert_eq!(out[..48], expected.concat());
        assert_eq!(out.len(), usize::from(words) * WORD_LEN);

        let report = report(&out);
        assert_eq!(report.ssrc(), Ssrc(9));
        let blocks: Vec<_> = report.blocks().collect();
        let [
            XrBlock::ReceiverReferenceTime(time),
            XrBlock::Other { block_type: 1, specific: 2, body: [0, 0, 0, 1, 0, 7, 0, 9] },
            XrBlock::Dlrr([first, second]),
            XrBlock::StatisticsSummary(_),
            XrBlock::VoipMetrics(_),
        ] = blocks[..]
        else {
            panic!("{blocks:?}")
        };
        assert_eq!(time.ntp(), 0x1111_2222_3333_4444);
        assert_eq!(time.ntp_middle(), 0x2222_3333);
        assert_eq!((first.ssrc(), first.lrr(), first.dlrr()), (Ssrc(1), 2, 3));
        assert_eq!((second.ssrc(), second.lrr(), second.dlrr()), (Ssrc(4), 5, 6));
    }

    #[test]
    fn a_cut_report_keeps_its_whole_blocks() {
        let whole = written();
        let blocks: Vec<_> = report(&whole).blocks().collect();
        // Where each block ends.
        let ends = [20, 32, 60, 100, 136];
        for len in 0..whole.len() {
            let error = RtcpCompound::parse(&whole[..len]).unwrap_err();
            assert!(matches!(error, RtcpError::Truncated { .. }), "{len}: {error}");
        }
        for words in 2..=whole.len() / WORD_LEN {
            let mut cut = whole[..words * WORD_LEN].to_vec();
            cut[3] = u8::try_from(words - 1).unwrap();
            let count = ends.iter().filter(|&&end| end <= cut.len()).count();
            assert!(report(&cut).blocks().eq(blocks[..count].iter().copied()), "{words}");
        }
        let error = RtcpCompound::parse(&[0x80, 207, 0, 0]).unwrap_err();
        let expected = RtcpError::Body { packet_type: 207, count: 0, expected: 4, actual: 0 };
        assert_eq!(error, expected);
    }

    #[test]
    fn a_block_of_another_length_than_its_type_has_is_not_looked_into() {
        let cases: [(u8, u16); 9] =
            [(4, 1), (4, 3), (5, 1), (5, 4), (6, 8), (6, 10), (7, 7), (7, 9), (255, 0)];
        for (block_type, words) in cases {
            let mut out = vec![0x80, 207, 0, 0, 0, 0, 0, 9];
            let body = vec![0; usize::from(words) * WORD_LEN];
            write_block(&mut out, block_type, 0, &body);
            XrBlock::ReceiverReferenceTime(&ReceiverReferenceTime::new(1)).write(&mut out);
            out[3] = u8::try_from(out.len() / WORD_LEN - 1).unwrap();
            let found: Vec<_> = report(&out).blocks().collect();
            let passed = XrBlock::Other { block_type, specific: 0, body: &body };
            let time = ReceiverReferenceTime::new(1);
            assert_eq!(found, [passed, XrBlock::ReceiverReferenceTime(&time)]);
        }
    }

    #[test]
    fn lengths_that_lie_end_the_report_or_pass_over_what_they_cover() {
        let whole = written();
        let starts = [8, 20, 32, 60, 100];
        for (index, start) in starts.into_iter().enumerate() {
            for words in 0..=256_u16 {
                let mut bent = whole.clone();
                bent[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
                let fits = start + (usize::from(words) + 1) * WORD_LEN <= whole.len();
                let count = report(&bent).blocks().count();
                assert!(if fits { count > index } else { count == index }, "{start} {words}");
            }
        }
    }

    #[test]
    fn padding_at_the_end_of_a_compound_is_no_block() {
        let mut bytes = Vec::new();
        crate::wire::rtcp::write_receiver_report(&mut bytes, Ssrc(9), &[]);
        let start = bytes.len();
        bytes.extend(written());
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 8]);
        bytes[start] |= 0x20;
        bytes[start + 3] += 2;
        let compound = RtcpCompound::parse(&bytes).unwrap();
        let packets: Vec<_> = compound.packets().collect();
        let [RtcpPacket::ReceiverReport(_), RtcpPacket::ExtendedReport(padded)] = packets[..]
        else {
            panic!("{packets:?}")
        };
        assert!(padded.blocks().eq(report(&written()).blocks()));
    }

    #[test]
    fn what_a_packet_cannot_hold_is_left_out() {
        let answers = vec![DlrrSubBlock::new(Ssrc(1), 2, 3); 22_000];
        let time = ReceiverReferenceTime::new(1);
        let mut out = Vec::new();
        let blocks = [
            XrBlock::Dlrr(&answers),
            XrBlock::Dlrr(&answers[..21_000]),
            XrBlock::Dlrr(&answers[..1_000]),
            XrBlock::ReceiverReferenceTime(&time),
        ];
        write_extended_report(&mut out, Ssrc(9), &blocks);
        assert!(report(&out).blocks().eq([blocks[1], blocks[3]]));
    }
}
