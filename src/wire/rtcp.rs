//! RTCP: the reports of RFC 3550 section 6, alone or in a compound, read in place and written.
//!
//! Never judges what a report says and never schedules one; extended reports (RFC 3611) and
//! feedback (RFC 4585) are handed on as they are.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

use crate::id::Ssrc;

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
    /// Any other type, not looked into.
    Other {
        /// The packet type: 205 and 206 are feedback (RFC 4585), 207 is an extended report
        /// (RFC 3611).
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
            SOURCE_DESCRIPTION => Self::Sdes(Sdes { count, body }),
            GOODBYE => Self::Bye(Bye::new(count, body).map_err(short)?),
            APPLICATION => Self::App(App::new(count, body).map_err(short)?),
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

/// A sender report (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    fixed: &'a SenderFixed,
    blocks: &'a [ReportBlock],
    extension: &'a [u8],
}

impl<'a> SenderReport<'a> {
    fn new(count: u8, body: &'a [u8]) -> Result<Self, usize> {
        let expected = size_of::<SenderFixed>() + usize::from(count) * size_of::<ReportBlock>();
        let (fixed, rest) = SenderFixed::ref_from_prefix(body).map_err(|_| expected)?;
        let (blocks, extension) =
            <[ReportBlock]>::ref_from_prefix_with_elems(rest, usize::from(count))
                .map_err(|_| expected)?;
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

impl<'a> ReceiverReport<'a> {
    fn new(count: u8, body: &'a [u8]) -> Result<Self, usize> {
        let expected = WORD_LEN + usize::from(count) * size_of::<ReportBlock>();
        let (ssrc, rest) = U32::ref_from_prefix(body).map_err(|_| expected)?;
        let (blocks, extension) =
            <[ReportBlock]>::ref_from_prefix_with_elems(rest, usize::from(count))
                .map_err(|_| expected)?;
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

/// A source description (RFC 3550 section 6.5).
#[derive(Clone, Copy, Debug)]
pub struct Sdes<'a> {
    count: u8,
    body: &'a [u8],
}

impl<'a> Sdes<'a> {
    /// One chunk per source. Ends early where a chunk is cut or an item overruns its packet.
    pub fn chunks(&self) -> impl Iterator<Item = SdesChunk<'a>> + use<'a> {
        let mut rest = self.body;
        (0..self.count).map_while(move |_| {
            let (ssrc, after) = U32::ref_from_prefix(rest).ok()?;
            let items = after.get(..items_len(after)?)?;
            let with_terminator = WORD_LEN + (items.len() + 1).next_multiple_of(WORD_LEN);
            rest = rest.get(with_terminator..).unwrap_or(&[]);
            Some(SdesChunk { ssrc: Ssrc(ssrc.get()), items })
        })
    }
}

/// Octets of whole items up to a terminator or, as some senders leave it, the end.
fn items_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at..)? {
            [] | [SDES_END, ..] => return Some(at),
            [_, len, ..] => at += 2 + usize::from(*len),
            [_] => return None,
        }
    }
}

/// What a source description says of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// The source.
    pub ssrc: Ssrc,
    items: &'a [u8],
}

impl<'a> SdesChunk<'a> {
    /// The items in order.
    pub fn items(&self) -> impl Iterator<Item = SdesItem<'a>> + use<'a> {
        let mut rest = self.items;
        core::iter::from_fn(move || {
            let [kind, len, after @ ..] = rest else { return None };
            let (text, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            Some(SdesItem { kind: *kind, text })
        })
    }

    /// The canonical name, the one item every source must give (RFC 3550 section 6.5.1).
    #[must_use]
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items().find(|item| item.kind == SdesItem::CNAME).map(|item| item.text)
    }
}

/// One item of a source description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// What the text is: 1 CNAME, 2 NAME, 3 EMAIL, 4 PHONE, 5 LOC, 6 TOOL, 7 NOTE, 8 PRIV.
    pub kind: u8,
    /// UTF-8 by the RFC, anything in fact.
    pub text: &'a [u8],
}

impl SdesItem<'_> {
    /// The kind of a canonical name.
    pub const CNAME: u8 = 1;
}

/// A goodbye (RFC 3550 section 6.6).
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    sources: &'a [U32],
    reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    fn new(count: u8, body: &'a [u8]) -> Result<Self, usize> {
        let (sources, rest) = <[U32]>::ref_from_prefix_with_elems(body, usize::from(count))
            .map_err(|_| usize::from(count) * WORD_LEN)?;
        let reason = match rest {
            [len, text @ ..] => text.get(..usize::from(*len)),
            [] => None,
        };
        Ok(Self { sources, reason })
    }

    /// The sources that have left, 0 to 31.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.sources.iter().map(|ssrc| Ssrc(ssrc.get()))
    }

    /// Why, in words; `None` if not said or if it overruns the packet.
    #[must_use]
    pub const fn reason(&self) -> Option<&'a [u8]> {
        self.reason
    }
}

/// An application-defined packet (RFC 3550 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a> {
    /// The source that sends it.
    pub ssrc: Ssrc,
    /// Its kind among those of one name, 0 to 31.
    pub subtype: u8,
    /// Four ASCII characters that name the application.
    pub name: [u8; 4],
    /// The application's data.
    pub data: &'a [u8],
}

impl<'a> App<'a> {
    fn new(subtype: u8, body: &'a [u8]) -> Result<Self, usize> {
        let [s0, s1, s2, s3, n0, n1, n2, n3, data @ ..] = body else {
            return Err(2 * WORD_LEN);
        };
        let ssrc = Ssrc(u32::from_be_bytes([*s0, *s1, *s2, *s3]));
        Ok(Self { ssrc, subtype, name: [*n0, *n1, *n2, *n3], data })
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

/// Appends a source description with a canonical name, of which 255 octets have a place.
pub fn write_cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    let cname = &cname.as_bytes()[..cname.len().min(SDES_TEXT_MAX)];
    write_packet(out, SOURCE_DESCRIPTION, 1, |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        out.extend_from_slice(&[SdesItem::CNAME, u8::try_from(cname.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(cname);
        out.push(SDES_END);
    });
}

/// Appends a goodbye of one source without a reason.
pub fn write_bye(out: &mut Vec<u8>, ssrc: Ssrc) {
    write_packet(out, GOODBYE, 1, |out| out.extend_from_slice(&ssrc.0.to_be_bytes()));
}

fn write_blocks(out: &mut Vec<u8>, blocks: &[ReportBlockValues]) {
    for &block in blocks {
        out.extend_from_slice(ReportBlock::from(block).as_bytes());
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
/// RFC 3550 section 6.5: ends a chunk.
const SDES_END: u8 = 0;
/// An item's length is one octet.
const SDES_TEXT_MAX: usize = 255;
/// RFC 3550 appendix A.3: the range of a 24-bit signed count.
const CUMULATIVE_LOST_MIN: i32 = -(1 << 23);
const CUMULATIVE_LOST_MAX: i32 = (1 << 23) - 1;

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_compound_is_read_in_order() {
        let mut out = Vec::new();
        write_receiver_report(&mut out, Ssrc(1), &[BLOCK; 40]);
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

    #[test]
    fn chunks_end_where_an_item_overruns() {
        let sdes = |body: &'static [u8], count| Sdes { count, body };
        let names = |sdes: Sdes<'static>| -> Vec<_> {
            sdes.chunks().map(|chunk| (chunk.ssrc.0, chunk.cname())).collect()
        };
        let two = b"\0\0\0\x01\x01\x02ab\0\0\0\0\0\0\0\x02\x01\x01c\0";
        assert_eq!(names(sdes(two, 2)), [(1, Some(&b"ab"[..])), (2, Some(&b"c"[..]))]);
        assert_eq!(names(sdes(b"\0\0\0\x01\x01\x02ab", 1)), [(1, Some(&b"ab"[..]))]);
        assert_eq!(names(sdes(b"\0\0\0\x01\x01\x09ab", 1)), []);
    }
}
