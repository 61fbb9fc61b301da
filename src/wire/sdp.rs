//! A session description (RFC 8866) as an offer or answer carries it, read in place.
//!
//! Never decides what to answer; lines that nothing here asks for are passed over.

use std::net::IpAddr;

use memchr::memchr;

use super::{
    codec::Codec,
    crypto::Crypto,
    text::{decimal, split_at_byte, split_word},
};

/// A view of one session description.
#[derive(Clone, Copy, Debug)]
pub struct SessionDescription<'a> {
    session: Section<'a>,
    /// From the first `m=` on.
    media: &'a [u8],
}

impl<'a> SessionDescription<'a> {
    /// Reads a description. Lines may end in CRLF or LF; lines that are none are passed over.
    ///
    /// # Errors
    ///
    /// If the first line with anything on it is not `v=0`, or the limit is passed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SdpError> {
        if bytes.len() > DESCRIPTION_LEN_MAX {
            return Err(SdpError::TooLong { len: bytes.len() });
        }
        let bytes = bytes.trim_ascii_start();
        if bytes.is_empty() {
            return Err(SdpError::Empty);
        }
        match Lines(bytes).next() {
            Some(Line { kind: b'v', value: b"0" }) => {}
            Some(Line { kind: b'v', .. }) => return Err(SdpError::Version),
            _ => return Err(SdpError::NotSdp),
        }
        let (session, media) = bytes.split_at(section_len(bytes));
        Ok(Self { session: Section::read(session), media })
    }

    /// Who made this and which version of it this is; `None` if the line is missing or cut.
    #[must_use]
    pub fn origin(&self) -> Option<Origin<'a>> {
        let value = Lines(self.session.lines).value_of(b'o')?;
        let mut words = words(value);
        let (username, session_id, version) = (words.next()?, words.next()?, words.next()?);
        Some(Origin { username, session_id, version, address: address(words) })
    }

    /// The name of the session.
    #[must_use]
    pub fn name(&self) -> Option<&'a [u8]> {
        Lines(self.session.lines).value_of(b's')
    }

    /// The address that media without one of their own go to.
    #[must_use]
    pub fn connection(&self) -> Option<IpAddr> {
        self.session.connection.and_then(|value| address(words(value)))
    }

    /// The media descriptions in order. Answers must keep that order, so none is left out
    /// (RFC 3264 section 6).
    #[must_use]
    pub const fn media(&self) -> MediaIter<'a> {
        MediaIter { session: self.session, rest: self.media }
    }
}

/// The originator of a session (RFC 8866 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The user's login, `-` if there is none.
    pub username: &'a [u8],
    /// Names the session, with the other fields but the version. Digits, of any length.
    pub session_id: &'a [u8],
    /// Grows with each change of the description. Digits, of any length.
    pub version: &'a [u8],
    /// The originator's address; `None` if it is given by name.
    pub address: Option<IpAddr>,
}

/// An iterator over media descriptions.
#[derive(Clone, Debug)]
pub struct MediaIter<'a> {
    session: Section<'a>,
    rest: &'a [u8],
}

impl<'a> Iterator for MediaIter<'a> {
    type Item = Media<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = Lines(self.rest).next()?;
        let end = memchr(b'\n', self.rest).map_or(self.rest.len(), |at| at + 1);
        let after = &self.rest[end..];
        let (section, rest) = after.split_at(section_len(after));
        self.rest = rest;
        Some(Media::new(&self.session, line.value, section))
    }
}

/// A view of one media description (RFC 8866 section 5.14).
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    section: Section<'a>,
    kind_text: &'a [u8],
    port: u16,
    port_count: u16,
    protocol: &'a [u8],
    formats: &'a [u8],
}

impl<'a> Media<'a> {
    fn new(session: &Section<'a>, line: &'a [u8], lines: &'a [u8]) -> Self {
        let mut section = Section::read(lines);
        section.connection = section.connection.or(session.connection);
        section.direction = section.direction.or(session.direction);
        section.rtcp_xr = section.rtcp_xr.or(session.rtcp_xr);
        let (kind_text, rest) = split_word(line);
        let (port, rest) = split_word(rest);
        let (protocol, formats) = split_word(rest);
        let (port, count) = split_at_byte(port, b'/');
        Self {
            section,
            kind_text,
            port: decimal(port).unwrap_or(0),
            port_count: decimal(count).unwrap_or(1),
            protocol,
            formats,
        }
    }

    /// What kind of media this is.
    #[must_use]
    pub const fn kind(&self) -> MediaKind {
        match self.kind_text {
            text if text.eq_ignore_ascii_case(b"audio") => MediaKind::Audio,
            text if text.eq_ignore_ascii_case(b"video") => MediaKind::Video,
            text if text.eq_ignore_ascii_case(b"image") => MediaKind::Image,
            text if text.eq_ignore_ascii_case(b"application") => MediaKind::Application,
            _ => MediaKind::Other,
        }
    }

    /// The kind as written.
    #[must_use]
    pub const fn kind_text(&self) -> &'a [u8] {
        self.kind_text
    }

    /// The port that media are received on; 0 rejects or ends them (RFC 3264 section 8.2), and
    /// stands for a port that is no number.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How many ports from there on; 1 unless it says more.
    #[must_use]
    pub const fn port_count(&self) -> u16 {
        self.port_count
    }

    /// The transport as written, such as `RTP/AVP`.
    #[must_use]
    pub const fn protocol(&self) -> &'a [u8] {
        self.protocol
    }

    /// Whether the transport is RTP, plain or secured, over whatever.
    #[must_use]
    pub fn is_rtp(&self) -> bool {
        self.protocol.split(|&byte| byte == b'/').any(|part| part.eq_ignore_ascii_case(b"RTP"))
    }

    /// Whether the transport is encrypted: a secure profile (RFC 3711) or TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        let is_secure = |part: &[u8]| {
            [&b"SAVP"[..], b"SAVPF", b"TLS", b"DTLS"]
                .iter()
                .any(|secure| part.eq_ignore_ascii_case(secure))
        };
        self.protocol.split(|&byte| byte == b'/').any(is_secure)
    }

    /// The payload types in order of preference. Formats that are no number from 0 to 127 are
    /// left out, and so are those behind the first [`FORMATS_MAX`].
    pub fn formats(&self) -> impl Iterator<Item = u8> + use<'a> {
        words(self.formats)
            .take(FORMATS_MAX)
            .filter_map(decimal::<u8>)
            .filter(|&format| format <= PAYLOAD_TYPE_MAX)
    }

    /// The formats as written, without blanks around them.
    #[must_use]
    pub const fn formats_text(&self) -> &'a [u8] {
        self.formats
    }

    /// The address that these media go to, the session's if they have none of their own;
    /// `None` if it is missing, cut or a name.
    #[must_use]
    pub fn connection(&self) -> Option<IpAddr> {
        self.section.connection.and_then(|value| address(words(value)))
    }

    /// All attributes of these media, in order: name and value, empty if it has none.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        attributes(self.section.lines)
    }

    /// The first key exchange (RFC 4568) that is understood.
    #[must_use]
    pub fn crypto(&self) -> Option<Crypto> {
        let mut offered =
            self.attributes().filter(|(name, _)| name.eq_ignore_ascii_case(b"crypto"));
        offered.find_map(|(_, value)| Crypto::parse(value))
    }

    /// What a payload type is mapped to (RFC 8866 section 6.6).
    #[must_use]
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap<'a>> {
        RtpMap::parse(self.for_format("rtpmap", payload_type)?)
    }

    /// The codec of a payload type and its RTP clock in Hz: by its map, or by RFC 3551 where it
    /// has none. [`Codec::Unknown`] and 0 if neither tells.
    #[must_use]
    pub fn codec(&self, payload_type: u8) -> (Codec, u32) {
        match self.rtpmap(payload_type) {
            Some(map) => (Codec::from_name(map.encoding), map.clock_rate),
            None => Codec::from_static(payload_type).unwrap_or_default(),
        }
    }

    /// The parameters of a payload type (RFC 8866 section 6.15).
    #[must_use]
    pub fn fmtp(&self, payload_type: u8) -> Option<&'a [u8]> {
        self.for_format("fmtp", payload_type)
    }

    /// The length of media per packet, in ms, that the other side would like to receive.
    #[must_use]
    pub fn ptime(&self) -> Option<u16> {
        let (whole, _) = split_at_byte(self.section.ptime?, b'.');
        decimal(whole).filter(|&ms| ms > 0)
    }

    /// The longest media per packet, in ms, that the other side can take (RFC 8866 section 6.5).
    #[must_use]
    pub fn maxptime(&self) -> Option<u16> {
        let mut found = self.attributes().filter(|(name, _)| *name == b"maxptime");
        decimal(found.next()?.1).filter(|&ms| ms > 0)
    }

    /// Which way media flow, from the view of who wrote this; the session's where these media
    /// say nothing, and both ways if that says nothing either (RFC 8866 section 6.7).
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.section.direction.unwrap_or_default()
    }

    /// Whether the other side wants no media: by direction (RFC 3264 section 8.4), or by the
    /// address of all zeros that RFC 2543 used.
    #[must_use]
    pub fn is_hold(&self) -> bool {
        matches!(self.direction(), Direction::SendOnly | Direction::Inactive)
            || self.connection().is_some_and(|ip| ip.is_unspecified())
    }

    /// Where RTCP goes if not to the next port (RFC 3605).
    #[must_use]
    pub fn rtcp(&self) -> Option<(u16, Option<IpAddr>)> {
        let mut words = words(self.section.rtcp?);
        let port = decimal(words.next()?)?;
        Some((port, address(words)))
    }

    /// Whether RTCP may share the port of RTP (RFC 5761).
    #[must_use]
    pub const fn rtcp_mux(&self) -> bool {
        self.section.rtcp_mux
    }

    /// Which extended reports are asked for, as text (RFC 3611 section 5.1): of the media, or else
    /// of the session.
    #[must_use]
    pub const fn rtcp_xr(&self) -> Option<&'a [u8]> {
        self.section.rtcp_xr
    }

    /// The rest of the first attribute of a name whose value begins with a format.
    fn for_format(&self, wanted: &str, payload_type: u8) -> Option<&'a [u8]> {
        attributes(self.section.lines)
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()))
            .map(|(_, value)| split_word(value))
            .find(|&(format, _)| decimal(format) == Some(payload_type))
            .map(|(_, rest)| rest)
    }
}

/// A kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// `image`: facsimile, as a rule
    Image,
    /// `application`
    Application,
    /// Any other.
    Other,
}

/// Which way media flow, from the view of who says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// It sends only.
    SendOnly,
    /// It receives only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|direction| direction.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name of its attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// What a payload type is mapped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// The encoding's name; compares without case.
    pub encoding: &'a [u8],
    /// The RTP clock, in Hz.
    pub clock_rate: u32,
    /// Audio channels; 1 unless it says more.
    pub channels: u8,
}

impl<'a> RtpMap<'a> {
    /// Reads `name/clock[/channels]`; `None` without a clock.
    fn parse(value: &'a [u8]) -> Option<Self> {
        let (encoding, rest) = split_at_byte(value, b'/');
        let (clock_rate, channels) = split_at_byte(rest, b'/');
        let clock_rate = decimal(clock_rate.trim_ascii()).filter(|&rate| rate > 0)?;
        Some(Self { encoding, clock_rate, channels: decimal(channels.trim_ascii()).unwrap_or(1) })
    }
}

/// Why bytes are no session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Nothing but blanks.
    #[error("empty session description")]
    Empty,
    /// The first line is no version.
    #[error("the first line is not v=")]
    NotSdp,
    /// Longer than [`DESCRIPTION_LEN_MAX`].
    #[error("session description of {len} octets, the limit is {DESCRIPTION_LEN_MAX}")]
    TooLong {
        /// Its length in octets.
        len: usize,
    },
    /// The version is not 0.
    #[error("SDP version other than 0")]
    Version,
}

/// The lines of a session or of one media description, and what is asked of them each time.
/// Of what stands there twice the first counts.
#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    lines: &'a [u8],
    connection: Option<&'a [u8]>,
    direction: Option<Direction>,
    ptime: Option<&'a [u8]>,
    rtcp: Option<&'a [u8]>,
    rtcp_xr: Option<&'a [u8]>,
    rtcp_mux: bool,
}

impl<'a> Section<'a> {
    fn read(lines: &'a [u8]) -> Self {
        let mut section = Self {
            lines,
            connection: None,
            direction: None,
            ptime: None,
            rtcp: None,
            rtcp_xr: None,
            rtcp_mux: false,
        };
        for Line { kind, value } in Lines(lines) {
            match kind {
                b'c' => section.connection = section.connection.or(Some(value)),
                b'a' => section.read_attribute(value),
                _ => {}
            }
        }
        section
    }

    fn read_attribute(&mut self, line: &'a [u8]) {
        let (name, value) = split_attribute(line);
        match name {
            name if name.eq_ignore_ascii_case(b"ptime") => self.ptime = self.ptime.or(Some(value)),
            name if name.eq_ignore_ascii_case(b"rtcp") => self.rtcp = self.rtcp.or(Some(value)),
            name if name.eq_ignore_ascii_case(b"rtcp-mux") => self.rtcp_mux = true,
            name if name.eq_ignore_ascii_case(b"rtcp-xr") => {
                self.rtcp_xr = self.rtcp_xr.or(Some(value));
            }
            _ => self.direction = self.direction.or_else(|| Direction::from_name(name)),
        }
    }
}

/// One line: its letter and what follows the `=`.
#[derive(Clone, Copy)]
struct Line<'a> {
    kind: u8,
    value: &'a [u8],
}

/// An iterator over the lines that have a letter and a `=`.
#[derive(Clone)]
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The value of the first line of a letter.
    fn value_of(mut self, kind: u8) -> Option<&'a [u8]> {
        self.find(|line| line.kind == kind).map(|line| line.value)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let end = memchr(b'\n', self.0).unwrap_or(self.0.len());
            let line = &self.0[..end];
            self.0 = self.0.get(end + 1..).unwrap_or(&[]);
            if let [kind, b'=', value @ ..] = line {
                return Some(Line { kind: *kind, value: value.trim_ascii() });
            }
        }
        None
    }
}

/// Octets up to the next line that is an `m=`.
fn section_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while !bytes[at..].starts_with(b"m=") {
        match memchr(b'\n', &bytes[at..]) {
            Some(end) => at += end + 1,
            None => return bytes.len(),
        }
    }
    at
}

fn attributes(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    Lines(lines).filter(|line| line.kind == b'a').map(|line| split_attribute(line.value))
}

fn split_attribute(line: &[u8]) -> (&[u8], &[u8]) {
    let (name, value) = split_at_byte(line, b':');
    (name.trim_ascii_end(), value.trim_ascii_start())
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The address of `IN IP4 address`, a TTL and a count behind slashes left out.
fn address<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<IpAddr> {
    let (_network, _family, address) = (words.next()?, words.next()?, words.next()?);
    core::str::from_utf8(split_at_byte(address, b'/').0).ok()?.parse().ok()
}

/// Octets in a description. A browser's offer with video and many candidates has about 10 KiB; what
/// a format is mapped to is looked for line by line, so this bounds that work.
pub const DESCRIPTION_LEN_MAX: usize = 16_384;
/// Formats of one media description that are looked at. Browsers offer up to 40.
pub const FORMATS_MAX: usize = 64;
/// RFC 3550 section 5.1: seven bits.
const PAYLOAD_TYPE_MAX: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &[u8] = b"v=0\r\no=alice 2890844526 18446744073709551616 IN IP4 192.0.2.5\r\n\
        s=call\r\nc=IN IP4 192.0.2.1/127\nt=0 0\r\na=sendonly\r\n\
        m=audio 49170/2 RTP/AVP 0 96 9 t 200\r\njunk\r\na=rtpmap:96 OPUS/48000/2\r\n\
        a=fmtp:96 useinbandfec=1; x\r\na=ptime:20\r\na=rtcp:53020 IN IP6 2001:db8::1\r\n\
        a=rtcp-mux\r\na=SendRecv\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 31\r\nc=IN IP6 ::1\r\na=rtpmap:31 LPC\r\n\
        m=image x udptl t38\r\nc=IN IP4";

    #[test]
    fn an_offer_is_read() {
        let offer = SessionDescription::parse(OFFER).unwrap();
        let origin = offer.origin().unwrap();
        assert_eq!((origin.username, origin.session_id), (&b"alice"[..], &b"2890844526"[..]));
        assert_eq!(origin.version, b"18446744073709551616");
        assert_eq!(origin.address, Some("192.0.2.5".parse().unwrap()));
        assert_eq!(offer.name(), Some(&b"call"[..]));
        let media: Vec<_> = offer.media().collect();
        let [audio, video, image] = media[..] else { panic!("{media:?}") };

        assert_eq!((audio.kind(), audio.port(), audio.port_count()), (MediaKind::Audio, 49170, 2));
        assert!(audio.is_rtp() && !audio.is_secure() && audio.rtcp_mux() && !audio.is_hold());
        assert!(audio.formats().eq([0, 96, 9]));
        assert_eq!(audio.connection(), Some("192.0.2.1".parse().unwrap()));
        let map = RtpMap { encoding: b"OPUS", clock_rate: 48000, channels: 2 };
        assert_eq!(audio.rtpmap(96), Some(map));
        assert_eq!(audio.codec(96), (Codec::Opus, 48000));
        assert_eq!(audio.codec(0), (Codec::Pcmu, 8000));
        assert_eq!(audio.codec(97), (Codec::Unknown, 0));
        assert_eq!(audio.fmtp(96), Some(&b"useinbandfec=1; x"[..]));
        assert_eq!((audio.fmtp(0), audio.ptime()), (None, Some(20)));
        assert_eq!(audio.rtcp(), Some((53020, Some("2001:db8::1".parse().unwrap()))));

        assert_eq!((video.kind(), video.port(), video.port_count()), (MediaKind::Video, 0, 1));
        assert!(video.is_rtp() && video.is_secure() && !video.rtcp_mux());
        assert_eq!(video.connection(), Some("::1".parse().unwrap()));
        assert_eq!(video.rtpmap(31), None);
        assert_eq!(video.direction(), Direction::SendOnly);
        assert!(video.is_hold());

        assert_eq!((image.kind(), image.port()), (MediaKind::Image, 0));
        assert_eq!((image.protocol(), image.formats_text()), (&b"udptl"[..], &b"t38"[..]));
        assert!(!image.is_rtp());
        assert_eq!((image.connection(), image.formats().next()), (None, None));
    }

    #[test]
    fn hold_by_direction_and_by_address() {
        let audio =
            |text: &'static [u8]| SessionDescription::parse(text).unwrap().media().next().unwrap();
        let zeros = audio(b"v=0\nc=IN IP4 0.0.0.0\nm=audio 9 RTP/AVP 0");
        assert!(zeros.is_hold());
        assert_eq!(zeros.direction(), Direction::SendRecv);
        let receive = audio(b"v=0\nc=IN IP4 1.2.3.4\nm=audio 9 RTP/AVP 0\na=recvonly");
        assert_eq!(receive.direction(), Direction::RecvOnly);
        assert!(!receive.is_hold());
        let inactive = audio(b"v=0\nm=audio 9 RTP/AVP 0\na=inactive\n");
        assert!(inactive.is_hold());
    }

    #[test]
    fn what_is_not_sdp_is_named() {
        let error = |bytes: &[u8]| SessionDescription::parse(bytes).unwrap_err();
        assert_eq!(error(b"\r\n "), SdpError::Empty);
        assert_eq!(error(b"<xml/>"), SdpError::NotSdp);
        assert_eq!(error(b"s=x\nv=0"), SdpError::NotSdp);
        assert_eq!(error(b"v=1\n"), SdpError::Version);
        let len = DESCRIPTION_LEN_MAX + 1;
        assert_eq!(error(&vec![b'v'; len]), SdpError::TooLong { len });
        assert_eq!(SessionDescription::parse(b"v=0").unwrap().media().count(), 0);
    }

    #[test]
    fn every_cut_reads_without_surprise() {
        let full = SessionDescription::parse(OFFER).unwrap();
        for end in 3..OFFER.len() {
            let cut = SessionDescription::parse(&OFFER[..end]).unwrap();
            for (cut, full) in cut.media().zip(full.media()) {
                assert!(full.kind_text().starts_with(cut.kind_text()));
                assert!(cut.attributes().count() <= full.attributes().count());
            }
        }
    }
}
