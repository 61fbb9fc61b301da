//! Offer and answer (RFC 3264): what of an offer is taken, and the SDP that says so.
//!
//! One audio stream is taken, in the first speech codec offered that has a name here: over plain
//! RTP, or over SRTP with keys in the description (RFC 4568) where there is no plain one.
//! Everything else in the offer is refused with port 0.

use core::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;

use super::{rtcp::XrWanted, stream::Format};
use crate::{
    id::PayloadType,
    limits::FORMATS_MAX,
    sound,
    wire::{
        codec::Codec,
        crypto::{Crypto, Suite},
        put::put,
        sdp::{Direction, Media, MediaKind, SessionDescription},
    },
};

/// What an offer or an answer of the far end settles.
#[derive(Clone, Debug)]
pub(crate) struct Agreed<'a> {
    pub(crate) remote_rtp: Option<SocketAddr>,
    pub(crate) remote_rtcp: Option<SocketAddr>,
    /// All formats offered that are known, the chosen one first.
    pub(crate) formats: ArrayVec<Format, FORMATS_MAX>,
    pub(crate) is_muxed: bool,
    /// The extended reports that it asks for; `None` if it says nothing about them.
    pub(crate) xr: Option<XrWanted>,
    /// The key exchange that is taken, where media is encrypted.
    pub(crate) crypto: Option<Crypto>,
    /// Our direction.
    pub(crate) direction: Direction,
    /// What is refused.
    pub(crate) refused: Option<Box<Refused>>,
    /// The packet time that it asks for, as far as it can be had.
    pub(crate) ptime_ms: u8,
    /// The media description that was taken.
    media: Media<'a>,
}

/// The media descriptions that are refused, as lines of ours. An offer must have a description
/// for each that an offer before it had (RFC 3264 section 8).
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

impl<'a> Agreed<'a> {
    /// Reads an offer or an answer. `source` stands in for an address that it leaves out.
    /// Where we send what is made here (`sends`), it is in a codec that there is an encoder for; if
    /// none is offered, we only receive. `None` if no audio in it can be taken.
    pub(crate) fn read(sdp: &SessionDescription<'a>, source: IpAddr, sends: bool) -> Option<Self> {
        let mut all = sdp.media().enumerate();
        let plain = all.clone().find(|(_, media)| is_audio(media) && !media.is_secure());
        let (media_index, media) = plain.or_else(|| all.find(|(_, media)| has_keys(media)))?;
        let address = media.connection().unwrap_or(source);
        // An unspecified address is the old way to hold (RFC 3264 section 8.4).
        let remote_rtp =
            (!address.is_unspecified()).then(|| SocketAddr::new(address, media.port()));
        let remote_rtcp = remote_rtp.map(|rtp| match media.rtcp() {
            Some((port, ip)) => SocketAddr::new(ip.unwrap_or_else(|| rtp.ip()), port),
            None => SocketAddr::new(rtp.ip(), rtp.port().wrapping_add(1)),
        });
        let crypto = if media.is_secure() { media.crypto() } else { None };
        let formats = formats(&media, sends);
        let is_sendable = |format: &Format| !sends || is_encodable(&media, format.payload_type.0);
        // Nothing is sent where it cannot go, and nothing can be encrypted here.
        let can_send =
            remote_rtp.is_some() && crypto.is_none() && formats.first().is_some_and(is_sendable);
        let direction = match (can_send, reverse(media.direction())) {
            (false, Direction::SendRecv) => Direction::RecvOnly,
            (false, Direction::SendOnly) => Direction::Inactive,
            (_, direction) => direction,
        };
        Some(Self {
            remote_rtp,
            remote_rtcp,
            formats,
            is_muxed: media.rtcp_mux(),
            xr: media.rtcp_xr().map(XrWanted::read),
            crypto,
            direction,
            refused: refused(sdp, media_index),
            ptime_ms: ptime_ms(&media),
            media,
        })
    }
}

/// All media descriptions but one, if there are any.
fn refused(sdp: &SessionDescription<'_>, taken: usize) -> Option<Box<Refused>> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (index, media) in sdp.media().enumerate() {
        match index.cmp(&taken) {
            Ordering::Less => write_refusal(&mut before, &media),
            Ordering::Equal => {}
            Ordering::Greater => write_refusal(&mut after, &media),
        }
    }
    let is_any = !before.is_empty() || !after.is_empty();
    is_any.then(|| Box::new(Refused { before: before.into(), after: after.into() }))
}

/// Where and as what we appear in a session description.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ourselves<'a> {
    /// Our RTP address.
    pub(crate) rtp: SocketAddr,
    pub(crate) session_id: u64,
    pub(crate) version: u32,
    /// The extended reports that we send.
    pub(crate) xr: XrWanted,
    /// Our key for SRTP, where media is encrypted.
    pub(crate) key: Option<&'a str>,
}

/// Appends the answer to an offer.
pub(crate) fn write_answer(out: &mut Vec<u8>, agreed: &Agreed<'_>, us: Ourselves<'_>) {
    let (media, refused) = (&agreed.media, agreed.refused.as_deref());
    write_session(out, us);
    put!(out, refused.map_or(&[][..], |refused| &refused.before));
    write_audio_line(out, us.rtp.port(), media.protocol(), answered(agreed));
    for format in answered(agreed) {
        let payload_type = format.payload_type.0;
        if let Some(map) = media.rtpmap(payload_type) {
            put!(out, "a=rtpmap:", payload_type, " ", map.encoding, "/", map.clock_rate);
            if map.channels > 1 {
                put!(out, "/", map.channels);
            }
            put!(out, "\r\n");
        } else {
            write_rtpmap(out, *format);
        }
        if let Some(parameters) = media.fmtp(payload_type) {
            write_parameters(out, *format, parameters);
        }
    }
    if let Some(ptime) = media.ptime() {
        put!(out, "a=ptime:", ptime, "\r\n");
    }
    put!(out, "a=", agreed.direction.name(), "\r\n");
    if agreed.is_muxed {
        put!(out, "a=rtcp-mux\r\n");
    }
    if let Some(Crypto { tag, suite }) = agreed.crypto {
        write_crypto(out, tag, suite, us.key);
    }
    if let Some(wanted) = agreed.xr {
        let ours = if agreed.crypto.is_some() { XrWanted::NONE } else { us.xr };
        write_extended_reports(out, wanted.and(ours));
    }
    put!(out, refused.map_or(&[][..], |refused| &refused.after));
}

/// Appends the parameters of a format as they were offered: those of the codecs here are the same
/// both ways, or say what is liked to be received, and whatever comes is liked. Only what an Opus
/// encoder will send (RFC 7587 section 6.1) is not for us to repeat.
fn write_parameters(out: &mut Vec<u8>, format: Format, parameters: &[u8]) {
    let is_kept = |parameter: &&[u8]| {
        format.codec != Codec::Opus || !parameter.trim_ascii_start().starts_with(b"sprop-")
    };
    let kept: Vec<_> = parameters.split(|&byte| byte == b';').filter(is_kept).collect();
    let kept = kept.join(&b';');
    if !kept.trim_ascii().is_empty() {
        put!(out, "a=fmtp:", format.payload_type.0, " ", kept.trim_ascii(), "\r\n");
    }
}

fn write_crypto(out: &mut Vec<u8>, tag: u32, suite: Suite, key: Option<&str>) {
    put!(out, "a=crypto:", tag, " ", suite.name(), " inline:", key.unwrap_or_default(), "\r\n");
}

/// Appends which extended reports go both ways: of those asked for, those that we have. None is
/// the answer of one who understands and does not take part (RFC 3611 section 5.2).
fn write_extended_reports(out: &mut Vec<u8>, agreed: XrWanted) {
    let named = [
        (agreed.round_trip, "rcvr-rtt=all"),
        (agreed.summary, "stat-summary=loss,dup"),
        (agreed.metrics, "voip-metrics"),
    ];
    let names: ArrayVec<_, 3> =
        named.into_iter().filter(|(is_agreed, _)| *is_agreed).map(|(_, name)| name).collect();
    put!(out, "a=rtcp-xr:", &*names.join(" "), "\r\n");
}

/// Appends an offer, for an INVITE that came without one: of what a session already has, if there
/// is one, and of what everybody has.
pub(crate) fn write_offer(
    out: &mut Vec<u8>,
    session: &[Format],
    refused: Option<&Refused>,
    us: Ourselves<'_>,
) {
    let formats = offered(session);
    write_session(out, us);
    put!(out, refused.map_or(&[][..], |refused| &refused.before));
    let protocol: &[u8] = if us.key.is_some() { b"RTP/SAVP" } else { b"RTP/AVP" };
    write_audio_line(out, us.rtp.port(), protocol, &formats);
    for &format in &formats {
        write_rtpmap(out, format);
        if format.codec == Codec::TelephoneEvent {
            put!(out, "a=fmtp:", format.payload_type.0, " 0-16\r\n");
        }
    }
    let direction = if us.key.is_some() { Direction::RecvOnly } else { Direction::SendRecv };
    put!(out, "a=ptime:20\r\na=", direction.name(), "\r\n");
    if us.key.is_some() {
        write_crypto(out, 1, Suite::AesCm128HmacSha1_80, us.key);
    }
    put!(out, refused.map_or(&[][..], |refused| &refused.after));
}

/// What a session speaks, and of what is offered else whatever has another payload type.
fn offered(session: &[Format]) -> ArrayVec<Format, OFFERED_MAX> {
    let is_named = |format: &&Format| format.codec.name().is_some();
    let mut formats: ArrayVec<Format, OFFERED_MAX> =
        session.iter().take(1).filter(is_named).copied().collect();
    let rate = formats.first().map(|format| format.clock_rate);
    let is_event =
        |format: &&Format| format.codec == Codec::TelephoneEvent && Some(format.clock_rate) == rate;
    formats.extend(session.iter().skip(1).find(is_event).copied());
    for format in OFFERED {
        let is_new = |known: &Format| {
            known.payload_type != format.payload_type
                && (known.codec, known.clock_rate) != (format.codec, format.clock_rate)
        };
        if formats.iter().all(is_new) {
            formats.push(format);
        }
    }
    formats
}

fn is_audio(media: &Media<'_>) -> bool {
    media.kind() == MediaKind::Audio
        && media.port() != 0
        && media.is_rtp()
        && media.formats().next().is_some()
}

/// Whether this is audio over SRTP with a key in the description; with keys by DTLS it is not.
fn has_keys(media: &Media<'_>) -> bool {
    is_audio(media) && media.protocol().starts_with(b"RTP/SAVP") && media.crypto().is_some()
}

/// The known formats of a media description, in its order but the chosen one first.
fn formats(media: &Media<'_>, sends: bool) -> ArrayVec<Format, FORMATS_MAX> {
    let format = |payload_type: u8| {
        let (codec, clock_rate) = media.codec(payload_type);
        Format { payload_type: PayloadType(payload_type), codec, clock_rate }
    };
    let mut formats: ArrayVec<Format, FORMATS_MAX> = ArrayVec::new();
    let is_chosen = |format: &Format| format.codec.is_speech() && format.codec != Codec::Unknown;
    let encodable = media.formats().find(|&format| sends && is_encodable(media, format));
    let named = encodable.map(format).or_else(|| media.formats().map(format).find(is_chosen));
    // A far end that offers nothing we have a name for is measured all the same.
    let chosen = named.or_else(|| {
        let mut speech = media.formats().map(format);
        speech.find(|format| format.codec.is_speech())
    });
    formats.extend(chosen);
    let is_chosen = |&of: &u8| chosen.is_some_and(|chosen| chosen.payload_type.0 == of);
    let others = media.formats().filter(|of| !is_chosen(of)).map(format);
    formats.extend(others.take(FORMATS_MAX - formats.len()));
    formats
}

/// Whether sounds can be sent as this payload type.
fn is_encodable(media: &Media<'_>, payload_type: u8) -> bool {
    let (codec, clock_rate) = media.codec(payload_type);
    let assigned = if payload_type == L16_STEREO { 2 } else { 1 };
    let channels = media.rtpmap(payload_type).map_or(assigned, |map| map.channels);
    sound::is_encodable(codec, clock_rate, channels)
}

/// How long our packets shall be, milliseconds: what is asked for, within what is usual.
fn ptime_ms(media: &Media<'_>) -> u8 {
    let asked = media.ptime().unwrap_or_else(|| PTIME_MS.into());
    let asked = media.maxptime().map_or(asked, |max| asked.min(max));
    u8::try_from(asked).unwrap_or(PTIME_MS_MAX).clamp(PTIME_MS_MIN, PTIME_MS_MAX)
}

/// The formats that an answer names: the chosen speech and what goes with it.
fn answered<'a>(agreed: &'a Agreed<'_>) -> impl Iterator<Item = &'a Format> + Clone {
    let speech = agreed.formats.iter().take(1);
    let clock_rate = agreed.formats.first().map_or(0, |format| format.clock_rate);
    // Events run on the clock of the speech that they go with (RFC 4733 section 2.1); comfort
    // noise of payload type 13 goes with 8000 Hz only.
    let with_it = agreed
        .formats
        .iter()
        .skip(1)
        .filter(move |format| !format.codec.is_speech() && format.clock_rate == clock_rate);
    speech.chain(with_it)
}

fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        same => same,
    }
}

fn write_session(out: &mut Vec<u8>, us: Ourselves<'_>) {
    let ip = us.rtp.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    put!(out, "v=0\r\no=voxplane ", us.session_id, " ", us.version, " IN ", family, " ", ip);
    put!(out, "\r\ns=voxplane\r\nc=IN ", family, " ", ip, "\r\nt=0 0\r\n");
}

fn write_audio_line<'a>(
    out: &mut Vec<u8>,
    port: u16,
    protocol: &[u8],
    formats: impl IntoIterator<Item = &'a Format>,
) {
    put!(out, "m=audio ", port, " ", protocol);
    for format in formats {
        put!(out, " ", format.payload_type.0);
    }
    put!(out, "\r\n");
}

fn write_refusal(out: &mut Vec<u8>, media: &Media<'_>) {
    put!(out, "m=", media.kind_text(), " 0 ", media.protocol(), " ", media.formats_text(), "\r\n");
}

fn write_rtpmap(out: &mut Vec<u8>, format: Format) {
    let Some(name) = format.codec.name() else { return };
    let payload_type = format.payload_type.0;
    // Opus always names two (RFC 7587 section 7), and so does one of linear samples' static types.
    let is_stereo = format.codec == Codec::Opus || payload_type == L16_STEREO;
    let channels = if is_stereo { "/2" } else { "" };
    put!(out, "a=rtpmap:", payload_type, " ", name, "/", format.clock_rate, channels, "\r\n");
}

/// Milliseconds of a packet where nothing is asked for (RFC 3551 section 4.2).
pub(crate) const PTIME_MS: u8 = 20;

/// Shorter packets are mostly headers.
const PTIME_MS_MIN: u8 = 5;

/// Longer ones are no conversation, nor do G.711's fit into an Ethernet frame.
const PTIME_MS_MAX: u8 = 120;

/// Two channels, by RFC 3551 section 6.
const L16_STEREO: u8 = 10;

const OFFERED: [Format; 3] = [
    Format { payload_type: PayloadType(0), codec: Codec::Pcmu, clock_rate: 8000 },
    Format { payload_type: PayloadType(8), codec: Codec::Pcma, clock_rate: 8000 },
    Format { payload_type: PayloadType(101), codec: Codec::TelephoneEvent, clock_rate: 8000 },
];

/// The session's speech and events, and all of [`OFFERED`].
const OFFERED_MAX: usize = 2 + OFFERED.len();

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ourselves<'_> = Ourselves {
        rtp: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 20_000),
        session_id: 7,
        version: 1,
        xr: XrWanted::ALL,
        key: Some("KEY"),
    };

    fn answer(offer: &str) -> Option<(Agreed<'_>, String)> {
        let sdp = SessionDescription::parse(offer.as_bytes()).unwrap();
        let agreed = Agreed::read(&sdp, "192.0.2.1".parse().unwrap(), false)?;
        let mut out = Vec::new();
        write_answer(&mut out, &agreed, US);
        Some((agreed, String::from_utf8(out).unwrap()))
    }

    #[test]
    fn the_first_known_codec_and_its_events_are_taken() {
        let offer = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\n\
            t=0 0\r\nm=audio 4000 RTP/AVP 99 8 0 101\r\na=rtpmap:99 X-OWN/8000\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:30\r\na=sendonly\r\n\
            m=video 4002 RTP/AVP 31\r\n";
        let (agreed, text) = answer(offer).unwrap();
        assert_eq!(agreed.remote_rtp, Some("198.51.100.1:4000".parse().unwrap()));
        assert_eq!(agreed.remote_rtcp, Some("198.51.100.1:4001".parse().unwrap()));
        assert_eq!(
            text,
            "v=0\r\no=voxplane 7 1 IN IP4 192.0.2.9\r\ns=voxplane\r\nc=IN IP4 192.0.2.9\r\n\
             t=0 0\r\nm=audio 20000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:30\r\na=recvonly\r\n\
             m=video 0 RTP/AVP 31\r\n"
        );
    }

    #[test]
    fn an_address_left_out_is_the_sources_and_zero_is_hold() {
        let without = "v=0\r\nc=IN IP4\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n";
        let (agreed, text) = answer(without).unwrap();
        assert_eq!(agreed.remote_rtp, Some("192.0.2.1:4000".parse().unwrap()));
        assert!(agreed.is_muxed && text.contains("a=rtcp-mux"));
        let held = "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n";
        let (agreed, text) = answer(held).unwrap();
        assert_eq!(agreed.remote_rtp, None);
        assert!(text.contains("a=recvonly"));
    }

    #[test]
    fn extended_reports_that_are_asked_for_are_named_in_the_answer() {
        let named = |attribute: &str| {
            let offer = format!("v=0\r\nm=audio 4000 RTP/AVP 0\r\n{attribute}");
            let (agreed, text) = answer(&offer).unwrap();
            let line = text.lines().find(|line| line.contains("rtcp-xr")).map(str::to_owned);
            (agreed.xr, line)
        };
        assert_eq!(named(""), (None, None));
        let (xr, line) = named("a=rtcp-xr:pkt-loss-rle=64 voip-metrics rcvr-rtt=all:20\r\n");
        assert_eq!(xr, Some(XrWanted { summary: false, ..XrWanted::ALL }));
        assert_eq!(line.unwrap(), "a=rtcp-xr:rcvr-rtt=all voip-metrics");
        assert_eq!(named("a=rtcp-xr:\r\n"), (Some(XrWanted::NONE), Some("a=rtcp-xr:".to_owned())));
        // Of the session, unless the media say it.
        let of_session = "v=0\r\na=rtcp-xr:stat-summary\r\nm=audio 4000 RTP/AVP 0\r\n";
        let (agreed, text) = answer(of_session).unwrap();
        assert_eq!(agreed.xr, Some(XrWanted { summary: true, ..XrWanted::NONE }));
        assert!(text.ends_with("a=rtcp-xr:stat-summary=loss,dup\r\n"));
    }

    #[test]
    fn an_offer_without_plain_audio_is_refused() {
        assert!(answer("v=0\r\nm=video 4000 RTP/AVP 31\r\n").is_none());
        assert!(answer("v=0\r\nm=audio 4000 RTP/SAVP 0\r\n").is_none());
        let keyed = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n";
        let dtls = format!("v=0\r\nm=audio 4000 UDP/TLS/RTP/SAVP 0\r\n{keyed}");
        assert!(answer(&dtls).is_none());
        assert!(answer("v=0\r\nm=audio 0 RTP/AVP 0\r\n").is_none());
    }
}
