//! RTCP: the reports of RFC 3550 section 6, alone or in a compound, read in place and written.
//!
//! Never judges what a report says and never schedules one; feedback (RFC 4585) is handed on as
//! it is.

mod app;
mod bye;
mod report;
mod round_trip;
mod sdes;
mod xr;

pub use app::App;
pub use bye::{Bye, write_bye};
pub use report::{
    REPORT_BLOCKS_MAX, ReceiverReport, ReportBlock, ReportBlockValues, SenderInfo, SenderReport,
    write_receiver_report, write_sender_report,
};
pub use round_trip::round_trip_us;
pub use sdes::{Sdes, SdesChunk, SdesItem, write_cname};
pub use xr::{
    Concealment, DlrrSubBlock, ExtendedReport, HopField, HopSummary, JitterBufferKind,
    JitterSummary, ReceiverReferenceTime, StatisticsSummary, StatisticsSummaryValues, VoipMetrics,
    VoipMetricsValues, XrBlock, write_extended_report,
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// A view of the RTCP packets in one datagram.
#[derive(Clone, Copy, Debug)]
pub struct RtcpCompound<'a> {
    bytes: &'a [u8],
}

impl<'a> RtcpCompound<'a> {
    /// Reads packets that fill `bytes`. The first may be of any type, as RFC 5506 allows.
    ///
    /// # Errors
    ///
    /// If there is no packet, or one has another version than 2, or a length in it goes beyond
    /// its end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtcpError> {
        let mut rest = bytes;
        loop {
            (_, rest) = RtcpPacket::split(rest)?;
            if rest.is_empty() {
                return Ok(Self { bytes });
            }
        }
    }

    /// The packets in order.
    pub fn packets(&self) -> impl Iterator<Item = RtcpPacket<'a>> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (packet, after) = RtcpPacket::split(rest).ok()?;
            rest = after;
            Some(packet)
        })
    }
}

/// One RTCP packet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RtcpPacket<'a> {
    /// What a sender has sent, and what it has received.
    SenderReport(SenderReport<'a>),
    /// What a receiver has received.
    ReceiverReport(ReceiverReport<'a>),
    /// Who sources are.
    Sdes(Sdes<'a>),
    /// That sources have left.
    Bye(Bye<'a>),
    /// An application's own.
    App(App<'a>),
    /// More than a report block has room for.
    ExtendedReport(ExtendedReport<'a>),
    /// Any other type, not looked into.
    Other {
        /// The packet type: 205 and 206 are feedback (RFC 4585).
        packet_type: u8,
        /// The five bits beside the version: a count, a subtype or a format.
        count: u8,
        /// What follows the first four octets, without padding.
        body: &'a [u8],
    },
}

impl<'a> RtcpPacket<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RtcpError> {
        let truncated = |expected| RtcpError::Truncated { expected, actual: bytes.len() };
        let Ok((header, _)) = Header::ref_from_prefix(bytes) else {
            return Err(truncated(size_of::<Header>()));
        };
        if header.first >> 6 != VERSION {
            return Err(RtcpError::Version(header.first >> 6));
        }
        let len = (usize::from(header.words.get()) + 1) * WORD_LEN;
        let Some((packet, rest)) = bytes.split_at_checked(len) else {
            return Err(truncated(len));
        };
        let mut body = &packet[size_of::<Header>()..];
        if header.first & PADDING != 0 {
            body = without_padding(body)?;
        }
        let (packet_type, count) = (header.packet_type, header.first & COUNT);
        let short = |expected| RtcpError::Body { packet_type, count, expected, actual: body.len() };
        let packet = match packet_type {
            SENDER_REPORT => Self::SenderReport(SenderReport::new(count, body).map_err(short)?),
            RECEIVER_REPORT => {
                Self::ReceiverReport(ReceiverReport::new(count, body).map_err(short)?)
            }
            SOURCE_DESCRIPTION => Self::Sdes(Sdes::new(count, body)),
            GOODBYE => Self::Bye(Bye::new(count, body).map_err(short)?),
            APPLICATION => Self::App(App::new(count, body).map_err(short)?),
            EXTENDED_REPORT => Self::ExtendedReport(ExtendedReport::new(body).map_err(short)?),
            _ => Self::Other { packet_type, count, body },
        };
        Ok((packet, rest))
    }
}

/// Takes off the padding that the last octet counts. The RFC allows it on the last packet
/// only; here it is taken off wherever it stands.
fn without_padding(body: &[u8]) -> Result<&[u8], RtcpError> {
    let padding = body.last().copied().unwrap_or(0);
    match body.len().checked_sub(usize::from(padding)) {
        Some(len) if padding != 0 => Ok(&body[..len]),
        _ => Err(RtcpError::Padding { padding, available: body.len() }),
    }
}

/// Writes a header, what `body` appends filled up to whole words, and then the length.
fn write_packet(out: &mut Vec<u8>, packet_type: u8, count: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let count = u8::try_from(count).unwrap_or(COUNT) & COUNT;
    let header = Header { first: VERSION << 6 | count, packet_type, words: U16::ZERO };
    out.extend_from_slice(header.as_bytes());
    body(out);
    let len = (out.len() - start).next_multiple_of(WORD_LEN);
    out.resize(start + len, 0);
    let words = u16::try_from(len / WORD_LEN - 1).unwrap_or(u16::MAX);
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Why bytes are no RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// What a packet's count announces does not fit in its length.
    #[error("RTCP type {packet_type} with count {count} takes {expected} octets, has {actual}")]
    Body {
        /// The packet type.
        packet_type: u8,
        /// The count beside the version.
        count: u8,
        /// Octets behind the header that the count takes.
        expected: usize,
        /// Octets that there are.
        actual: usize,
    },
    /// The padding count is zero or goes beyond the packet.
    #[error("{padding} octets of padding in {available}")]
    Padding {
        /// The count octet.
        padding: u8,
        /// Octets behind the header.
        available: usize,
    },
    /// A packet goes beyond the end of the datagram.
    #[error("RTCP packet of {expected} octets in {actual}")]
    Truncated {
        /// Octets that the packet takes by what it says.
        expected: usize,
        /// Octets that there are.
        actual: usize,
    },
    /// The version is not 2.
    #[error("RTCP version {0}")]
    Version(u8),
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    first: u8,
    packet_type: u8,
    /// Length in words less one, this header included.
    words: U16,
}

/// RFC 3550 section 6.4.1: the version is that of RTP.
const VERSION: u8 = 2;
const PADDING: u8 = 0x20;
const COUNT: u8 = 0x1F;
/// RTCP counts in 32-bit words.
const WORD_LEN: usize = 4;
/// RFC 3550 section 12.1: the packet types.
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const APPLICATION: u8 = 204;
/// RFC 3611 section 2.
const EXTENDED_REPORT: u8 = 207;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Ssrc;

    #[test]
    fn a_compound_is_read_in_order() {
        let mut out = Vec::new();
        write_receiver_report(&mut out, Ssrc(1), &[ReportBlockValues::default(); 40]);
        write_cname(&mut out, Ssrc(1), "a@192.0.2.1");
        write_bye(&mut out, Ssrc(1));
        out.extend([0x85, 204, 0, 3, 0, 0, 0, 9, b'T', b'E', b'S', b'T', 1, 2, 3, 4]);
        out.extend([0x81, 205, 0, 1, 0, 0, 0, 9]);
        let compound = RtcpCompound::parse(&out).unwrap();
        let packets: Vec<_> = compound.packets().collect();
        let [
            RtcpPacket::ReceiverReport(report),
            RtcpPacket::Sdes(sdes),
            RtcpPacket::Bye(bye),
            RtcpPacket::App(app),
            RtcpPacket::Other { packet_type: 205, count: 1, body: [0, 0, 0, 9] },
        ] = packets[..]
        else {
            panic!("{packets:?}")
        };
        assert_eq!((report.ssrc(), report.blocks().len()), (Ssrc(1), REPORT_BLOCKS_MAX));
        let chunks: Vec<_> = sdes.chunks().collect();
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].cname(), Some(&b"a@192.0.2.1"[..]));
        assert!(bye.ssrcs().eq([Ssrc(1)]));
        assert_eq!(bye.reason(), None);
        let expected = App { ssrc: Ssrc(9), subtype: 5, name: *b"TEST", data: &[1, 2, 3, 4] };
        assert_eq!(app, expected);
    }

    #[test]
    fn reduced_size_padding_and_reasons_are_read() {
        let bytes = [0xA1, 203, 0, 4, 0, 0, 0, 5, 3, b'b', b'y', b'e', 0, 0, 0, 0, 0, 0, 0, 8];
        let compound = RtcpCompound::parse(&bytes).unwrap();
        let Some(RtcpPacket::Bye(bye)) = compound.packets().next() else { panic!() };
        assert!(bye.ssrcs().eq([Ssrc(5)]));
        assert_eq!(bye.reason(), Some(&b"bye"[..]));
    }

    #[test]
    fn lengths_that_do_not_fit_are_named() {
        let error = |bytes: &[u8]| RtcpCompound::parse(bytes).unwrap_err();
        assert_eq!(error(&[]), RtcpError::Truncated { expected: 4, actual: 0 });
        assert_eq!(error(&[0x80, 201, 0, 1]), RtcpError::Truncated { expected: 8, actual: 4 });
        assert_eq!(error(&[0x40, 201, 0, 0]), RtcpError::Version(1));
        let body = RtcpError::Body { packet_type: 201, count: 1, expected: 28, actual: 4 };
        assert_eq!(error(&[0x81, 201, 0, 1, 0, 0, 0, 1]), body);
        let padding = RtcpError::Padding { padding: 9, available: 4 };
        assert_eq!(error(&[0xA0, 203, 0, 1, 0, 0, 0, 9]), padding);
    }
}
