//! An RTP packet: the fixed header of RFC 3550 section 5.1 and what stands behind it, in place.
//!
//! Never looks at the meaning of a payload and keeps nothing between packets.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

use crate::id::{PayloadType, Ssrc};

/// A view of one RTP packet.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
/// |                           timestamp                           |
/// |                             SSRC                              |
/// |                     CSRC, CC times 32 bits                    |
/// ```
///
/// It is small, since shards hold batches of them: where the parts lie that few packets have is
/// worked out by whoever asks.
#[derive(Clone, Copy, Debug)]
pub struct RtpPacket<'a> {
    header: &'a RtpHeader,
    bytes: &'a [u8],
    payload_start: u32,
    payload_end: u32,
}

impl<'a> RtpPacket<'a> {
    /// Reads a packet that fills `bytes`.
    ///
    /// A padding bit with a count octet of 0, which the RFC does not allow for, counts as no
    /// padding: some gateways send it and the payload is whole.
    ///
    /// # Errors
    ///
    /// If the version is not 2 or a length that the header states goes beyond `bytes`.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let packet = Self::parse_header(bytes)?;
        if packet.header.first & !VERSION_BITS == 0 { Ok(packet) } else { packet.parse_optional() }
    }

    /// Reads the fixed header alone, of a packet whose end is cut off or, under SRTP, encrypted
    /// with its padding. Its payload is then all that follows, whatever it is.
    ///
    /// # Errors
    ///
    /// If the version is not 2 or there is no whole header.
    #[inline]
    pub fn parse_header(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let Ok((header, _)) = RtpHeader::ref_from_prefix(bytes) else {
            return Err(RtpError::Truncated { expected: RtpHeader::LEN, actual: bytes.len() });
        };
        if header.first >> 6 != VERSION {
            return Err(RtpError::Version(header.first >> 6));
        }
        let payload_end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Self { header, bytes, payload_start: LEN, payload_end })
    }

    /// Finds the payload among contributing sources, extension and padding.
    fn parse_optional(self) -> Result<Self, RtpError> {
        let bytes = self.bytes;
        let truncated = |expected| RtpError::Truncated { expected, actual: bytes.len() };
        let mut start = self.csrcs_end();
        let mut rest = bytes.get(start..).ok_or_else(|| truncated(start))?;
        if self.header.first & EXTENSION != 0 {
            let (found, after) =
                Extension::split(rest).map_err(|missing| truncated(bytes.len() + missing))?;
            start += EXTENSION_HEADER_LEN + found.data.len();
            rest = after;
        }
        let mut end = bytes.len();
        if self.header.first & PADDING != 0 {
            let padding = rest.last().copied().unwrap_or(0);
            if rest.is_empty() || usize::from(padding) > rest.len() {
                return Err(RtpError::Padding { padding, available: rest.len() });
            }
            end -= usize::from(padding);
        }
        let offset = |at: usize| u32::try_from(at).map_err(|_| truncated(at));
        Ok(Self { payload_start: offset(start)?, payload_end: offset(end)?, ..self })
    }

    /// All of it, as it came.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The fixed header.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> &'a RtpHeader {
        self.header
    }

    /// The marker bit: for audio the first packet of a talkspurt (RFC 3551 section 4.1).
    #[inline]
    #[must_use]
    pub const fn marker(&self) -> bool {
        self.header.second & MARKER != 0
    }

    /// The payload type, 0 to 127.
    #[inline]
    #[must_use]
    pub const fn payload_type(&self) -> PayloadType {
        PayloadType(self.header.second & !MARKER)
    }

    /// The sequence number; wraps at 65536.
    #[inline]
    #[must_use]
    pub const fn sequence(&self) -> u16 {
        self.header.sequence.get()
    }

    /// The media time of the first sample, in units of the payload's RTP clock; wraps.
    #[inline]
    #[must_use]
    pub const fn timestamp(&self) -> u32 {
        self.header.timestamp.get()
    }

    /// The synchronization source.
    #[inline]
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.header.ssrc.get())
    }

    /// The contributing sources, 0 to 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        let bytes = self.bytes.get(RtpHeader::LEN..self.csrcs_end()).unwrap_or_default();
        let csrcs = <[U32]>::ref_from_bytes(bytes).unwrap_or_default();
        csrcs.iter().map(|csrc| Ssrc(csrc.get()))
    }

    /// The header extension, if there is one.
    #[must_use]
    pub fn extension(&self) -> Option<Extension<'a>> {
        let has_extension = self.header.first & EXTENSION != 0;
        let rest = self.bytes.get(self.csrcs_end()..).filter(|_| has_extension)?;
        Extension::split(rest).ok().map(|(extension, _)| extension)
    }

    /// Octets of padding behind the payload, its count octet included.
    #[must_use]
    pub const fn padding_len(&self) -> usize {
        self.bytes.len() - self.payload_end as usize
    }

    /// The payload without padding.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_start as usize..self.payload_end as usize]
    }

    fn csrcs_end(&self) -> usize {
        RtpHeader::LEN + usize::from(self.header.first & CSRC_COUNT) * 4
    }
}

/// The fixed header, 12 octets as they stand on the wire.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct RtpHeader {
    first: u8,
    second: u8,
    sequence: U16,
    timestamp: U32,
    ssrc: U32,
}

impl RtpHeader {
    /// Its length in octets.
    pub const LEN: usize = 12;

    /// A header without padding, extension and contributing sources. Of the payload type the
    /// low seven bits count.
    #[must_use]
    pub const fn new(
        payload_type: PayloadType,
        marker: bool,
        sequence: u16,
        timestamp: u32,
        ssrc: Ssrc,
    ) -> Self {
        Self {
            first: VERSION_BITS,
            second: (payload_type.0 & !MARKER) | if marker { MARKER } else { 0 },
            sequence: U16::new(sequence),
            timestamp: U32::new(timestamp),
            ssrc: U32::new(ssrc.0),
        }
    }
}

/// A header extension (RFC 3550 section 5.3.1; RFC 8285 fills it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// What the data is: `0xBEDE` and `0x1000` to `0x100F` are those of RFC 8285.
    pub profile: u16,
    /// The data, a multiple of four octets.
    pub data: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Splits an extension off; the error is how many octets are missing.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), usize> {
        let [p0, p1, l0, l1, rest @ ..] = bytes else {
            return Err(EXTENSION_HEADER_LEN - bytes.len());
        };
        let len = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
        let Some((data, rest)) = rest.split_at_checked(len) else {
            return Err(len - rest.len());
        };
        Ok((Self { profile: u16::from_be_bytes([*p0, *p1]), data }, rest))
    }
}

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// The padding count goes beyond what follows the header, or there is nothing to hold it.
    #[error("{padding} octets of padding in {available}")]
    Padding {
        /// The count octet.
        padding: u8,
        /// Octets behind the header.
        available: usize,
    },
    /// Header, contributing sources or extension go beyond the end.
    #[error("RTP header of {expected} octets in {actual}")]
    Truncated {
        /// Octets that the header takes by what it says.
        expected: usize,
        /// Octets that there are.
        actual: usize,
    },
    /// The version is not 2.
    #[error("RTP version {0}")]
    Version(u8),
}

/// [`RtpHeader::LEN`] as an offset.
const LEN: u32 = 12;

/// RFC 3550 section 5.1: the version this specification defines.
const VERSION: u8 = 2;
const VERSION_BITS: u8 = VERSION << 6;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0F;
const MARKER: u8 = 0x80;
/// Profile and length in front of an extension's data.
const EXTENSION_HEADER_LEN: usize = 4;

const _: () = assert!(size_of::<RtpHeader>() == RtpHeader::LEN);
const _: () = assert!(LEN as usize == RtpHeader::LEN);

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 16] =
        [0x80, 0x88, 0x12, 0x34, 0x00, 0x00, 0x00, 0xA0, 0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4];

    #[test]
    fn the_fixed_header_is_read() {
        let packet = RtpPacket::parse(&PLAIN).unwrap();
        assert!(packet.marker());
        assert_eq!(packet.payload_type(), PayloadType(8));
        assert_eq!(packet.sequence(), 0x1234);
        assert_eq!(packet.timestamp(), 160);
        assert_eq!(packet.ssrc(), Ssrc(0xDEAD_BEEF));
        assert_eq!(packet.payload(), [1, 2, 3, 4]);
        assert_eq!((packet.csrcs().len(), packet.extension(), packet.padding_len()), (0, None, 0));
    }

    #[test]
    fn a_written_header_is_what_is_read() {
        let header = RtpHeader::new(PayloadType(8), true, 0x1234, 160, Ssrc(0xDEAD_BEEF));
        assert_eq!(header.as_bytes(), &PLAIN[..12]);
        assert_eq!(RtpPacket::parse(&PLAIN).unwrap().header(), &header);
    }

    #[test]
    fn csrc_extension_and_padding_are_taken_off_the_payload() {
        let mut bytes = PLAIN[..12].to_vec();
        bytes[0] = 0xB2;
        bytes.extend([0, 0, 0, 7, 0, 0, 0, 9]);
        bytes.extend([0xBE, 0xDE, 0, 1, 0x10, 0xAA, 0, 0]);
        bytes.extend([5, 6, 7, 0, 0, 3]);
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert!(packet.csrcs().eq([Ssrc(7), Ssrc(9)]));
        let extension = Extension { profile: 0xBEDE, data: &[0x10, 0xAA, 0, 0] };
        assert_eq!(packet.extension(), Some(extension));
        assert_eq!((packet.payload(), packet.padding_len()), (&[5, 6, 7][..], 3));
        for cut in 0..28 {
            let error = RtpPacket::parse(&bytes[..cut]).unwrap_err();
            assert!(
                matches!(error, RtpError::Truncated { expected, actual } if expected > actual)
                    || matches!(error, RtpError::Padding { .. }),
                "{cut}: {error}"
            );
        }
    }

    #[test]
    fn padding_beyond_the_payload_is_named_and_zero_is_none() {
        let mut bytes = PLAIN;
        bytes[0] |= PADDING;
        bytes[15] = 5;
        let too_long = RtpError::Padding { padding: 5, available: 4 };
        assert_eq!(RtpPacket::parse(&bytes).unwrap_err(), too_long);
        let nothing = RtpError::Padding { padding: 0, available: 0 };
        assert_eq!(RtpPacket::parse(&bytes[..12]).unwrap_err(), nothing);
        bytes[15] = 4;
        assert_eq!(RtpPacket::parse(&bytes).unwrap().payload(), b"");
        bytes[15] = 0;
        assert_eq!(RtpPacket::parse(&bytes).unwrap().payload(), [1, 2, 3, 0]);
    }

    #[test]
    fn only_version_2_is_rtp() {
        for version in [0, 1, 3] {
            let mut bytes = PLAIN;
            bytes[0] = version << 6;
            assert_eq!(RtpPacket::parse(&bytes).unwrap_err(), RtpError::Version(version));
        }
    }
}
