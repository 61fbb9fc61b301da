//! Offer and answer (RFC 3264): what of an offer is taken, and the SDP that says so.
//!
//! One audio stream over plain RTP is taken, in the first speech codec offered that has a name
//! here; everything else in the offer is refused with port 0.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;

use super::{rtcp::XrWanted, stream::Format};
use crate::{
    id::PayloadType,
    limits::FORMATS_MAX,
    sound,
    wire::{
        codec::Codec,
        sdp::{Direction, Media, MediaKind, SessionDescription},
    },
};

/// What an offer or an answer of the far end settles.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(crate) remote_rtp: Option<SocketAddr>,
    pub(crate) remote_rtcp: Option<SocketAddr>,
    /// All formats offered that are known, the chosen one first.
    pub(crate) formats: ArrayVec<Format, FORMATS_MAX>,
    pub(crate) is_muxed: bool,
    /// The extended reports that it asks for; `None` if it says nothing about them.
    pub(crate) xr: Option<XrWanted>,
    /// Our direction.
    pub(crate) direction: Direction,
    /// The packet time that it asks for, as far as it can be had.
    pub(crate) ptime_ms: u8,
    /// Which media description was taken.
    media_index: usize,
}

impl Agreed {
    /// Reads an offer or an answer. `source` stands in for an address that it leaves out.
    /// Where we send what is made here (`sends`), it is in a codec that there is an encoder for; if
    /// none is offered, we only receive. `None` if no audio in it can be taken.
    pub(crate) fn read(sdp: &SessionDescription<'_>, source: IpAddr, sends: bool) -> Option<Self> {
        let (media_index, media) = sdp.media().enumerate().find(|(_, media)| is_taken(media))?;
        let address = media.connection().unwrap_or(source);
        // An unspecified address is the old way to hold (RFC 3264 section 8.4).
        let remote_rtp =
            (!address.is_unspecified()).then(|| SocketAddr::new(address, media.port()));
        let remote_rtcp = remote_rtp.map(|rtp| match media.rtcp() {
            Some((port, ip)) => SocketAddr::new(ip.unwrap_or_else(|| rtp.ip()), port),
            None => SocketAddr::new(rtp.ip(), rtp.port().wrapping_add(1)),
        });
        let formats = formats(&media, sends);
        let is_sendable = |format: &Format| !sends || is_encodable(&media, format.payload_type.0);
        let can_send = remote_rtp.is_some() && formats.first().is_some_and(is_sendable);
        let direction = match (can_send, reverse(media.direction())) {
            (false, Direction::SendRecv) => Direction::RecvOnly,
            (false, Direction::SendOnly) => Direction::Inactive,
            (_, direction) => direction,
        };
        let (is_muxed, xr) = (media.rtcp_mux(), media.rtcp_xr().map(XrWanted::read));
        let ptime_ms = ptime_ms(&media);
        Some(Self {
            remote_rtp,
            remote_rtcp,
            formats,
            is_muxed,
            xr,
            direction,
            ptime_ms,
            media_index,
        })
    }
}

/// Where and as what we appear in a session description.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ourselves {
    /// Our RTP address.
    pub(crate) rtp: SocketAddr,
    pub(crate) session_id: u64,
    pub(crate) version: u32,
    /// The extended reports that we send.
    pub(crate) xr: XrWanted,
}

/// Appends the answer to an offer.
pub(crate) fn write_answer(
    out: &mut Vec<u8>,
    offer: &SessionDescription<'_>,
    agreed: &Agreed,
    us: Ourselves,
) {
    write_session(out, us);
    for (index, media) in offer.media().enumerate() {
        if index != agreed.media_index {
            write_refusal(out, &media);
            continue;
        }
        write_audio_line(out, us.rtp.port(), media.protocol(), answered(agreed));
        for format in answered(agreed) {
            let payload_type = format.payload_type.0;
            if let Some(map) = media.rtpmap(payload_type) {
                let _ = write!(out, "a=rtpmap:{payload_type} ");
                out.extend_from_slice(map.encoding);
                let _ = write!(out, "/{}", map.clock_rate);
                if map.channels > 1 {
                    let _ = write!(out, "/{}", map.channels);
                }
                out.extend_from_slice(b"\r\n");
            } else {
                write_rtpmap(out, *format);
            }
            if let Some(parameters) = media.fmtp(payload_type) {
                let _ = write!(out, "a=fmtp:{payload_type} ");
                out.extend_from_slice(parameters);
                out.extend_from_slice(b"\r\n");
            }
        }
        if let Some(ptime) = media.ptime() {
            let _ = write!(out, "a=ptime:{ptime}\r\n");
        }
        let _ = write!(out, "a={}\r\n", agreed.direction.name());
        if agreed.is_muxed {
            out.extend_from_slice(b"a=rtcp-mux\r\n");
        }
        if let Some(wanted) = agreed.xr {
            write_extended_reports(out, wanted.and(us.xr));
        }
    }
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
    let _ = write!(out, "a=rtcp-xr:{}\r\n", names.join(" "));
}

/// Appends an offer, for an INVITE that came without one.
pub(crate) fn write_offer(out: &mut Vec<u8>, us: Ourselves) {
    write_session(out, us);
    write_audio_line(out, us.rtp.port(), b"RTP/AVP", &OFFERED);
    for format in OFFERED {
        write_rtpmap(out, format);
    }
    out.extend_from_slice(b"a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n");
}

fn is_taken(media: &Media<'_>) -> bool {
    media.kind() == MediaKind::Audio
        && media.port() != 0
        && media.is_rtp()
        && !media.is_secure()
        && media.formats().next().is_some()
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
    let others = media.formats().map(format).filter(|format| Some(*format) != chosen);
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
fn answered(agreed: &Agreed) -> impl Iterator<Item = &Format> + Clone {
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

fn write_session(out: &mut Vec<u8>, us: Ourselves) {
    let ip = us.rtp.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let _ = write!(
        out,
        "v=0\r\no=voxplane {} {} IN {family} {ip}\r\ns=voxplane\r\nc=IN {family} {ip}\r\nt=0 0\r\n",
        us.session_id, us.version,
    );
}

fn write_audio_line<'a>(
    out: &mut Vec<u8>,
    port: u16,
    protocol: &[u8],
    formats: impl IntoIterator<Item = &'a Format>,
) {
    let _ = write!(out, "m=audio {port} ");
    out.extend_from_slice(protocol);
    for format in formats {
        let _ = write!(out, " {}", format.payload_type.0);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_refusal(out: &mut Vec<u8>, media: &Media<'_>) {
    out.extend_from_slice(b"m=");
    out.extend_from_slice(media.kind_text());
    out.extend_from_slice(b" 0 ");
    out.extend_from_slice(media.protocol());
    out.push(b' ');
    out.extend_from_slice(media.formats_text());
    out.extend_from_slice(b"\r\n");
}

fn write_rtpmap(out: &mut Vec<u8>, format: Format) {
    if let Some(name) = format.codec.name() {
        let _ = write!(out, "a=rtpmap:{} {name}/{}\r\n", format.payload_type.0, format.clock_rate);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ourselves = Ourselves {
        rtp: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 20_000),
        session_id: 7,
        version: 1,
        xr: XrWanted::ALL,
    };

    fn answer(offer: &str) -> Option<(Agreed, String)> {
        let sdp = SessionDescription::parse(offer.as_bytes()).unwrap();
        let agreed = Agreed::read(&sdp, "192.0.2.1".parse().unwrap(), false)?;
        let mut out = Vec::new();
        write_answer(&mut out, &sdp, &agreed, US);
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
        assert!(answer("v=0\r\nm=audio 0 RTP/AVP 0\r\n").is_none());
    }
}
