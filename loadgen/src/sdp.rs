//! The SDP of a call: the offer that is written and the answer that is read.
//!
//! One audio stream of one codec; it never negotiates.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use voxplane::wire::sdp::{MediaKind, SessionDescription};

use crate::{media::payload_type, options::AudioCodec};

/// Where the far end takes media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaAddresses {
    /// For RTP.
    pub rtp: SocketAddr,
    /// For RTCP.
    pub rtcp: SocketAddr,
}

/// An offer of one codec at 20 ms, received at `local`.
#[must_use]
pub fn offer(codec: AudioCodec, local: MediaAddresses, session_id: u32) -> String {
    let (ip, port) = (local.rtp.ip(), local.rtp.port());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let (number, name) = (payload_type(codec).0, encoding(codec));
    let mut sdp = format!(
        "v=0\r\no=loadgen {session_id} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {number}\r\na=rtpmap:{number} {name}/8000\r\na=ptime:20\r\n\
         a=sendrecv\r\n"
    );
    // RFC 3605: RTCP stands on the next port unless this says otherwise.
    if Some(local.rtcp.port()) != port.checked_add(1) {
        let _ = write!(sdp, "a=rtcp:{}\r\n", local.rtcp.port());
    }
    sdp
}

/// Where an answer wants the audio; `None` if it takes none of the codec offered.
#[must_use]
pub fn answer(body: &[u8], codec: AudioCodec) -> Option<MediaAddresses> {
    let description = SessionDescription::parse(body).ok()?;
    let audio = description.media().find(|media| media.kind() == MediaKind::Audio)?;
    let takes = audio.formats().any(|format| format == payload_type(codec).0);
    let ip = audio.connection().filter(|ip| !is_unspecified(ip))?;
    if audio.port() == 0 || !takes || !audio.is_rtp() || audio.is_secure() {
        return None;
    }
    let (rtcp_port, rtcp_ip) = match audio.rtcp() {
        Some((port, address)) => (port, address.unwrap_or(ip)),
        None => (audio.port().checked_add(1)?, ip),
    };
    Some(MediaAddresses {
        rtp: SocketAddr::new(ip, audio.port()),
        rtcp: SocketAddr::new(rtcp_ip, rtcp_port),
    })
}

/// The old way to put a call on hold (RFC 3264 section 8.4).
const fn is_unspecified(ip: &IpAddr) -> bool {
    ip.is_unspecified()
}

const fn encoding(codec: AudioCodec) -> &'static str {
    match codec {
        AudioCodec::Pcmu => "PCMU",
        AudioCodec::Pcma => "PCMA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(rtp: &str, rtcp: &str) -> MediaAddresses {
        MediaAddresses { rtp: rtp.parse().unwrap(), rtcp: rtcp.parse().unwrap() }
    }

    #[test]
    fn an_offer_reads_back_as_the_addresses_it_was_made_of() {
        for local in [
            addresses("192.0.2.1:4000", "192.0.2.1:4001"),
            addresses("192.0.2.1:4000", "192.0.2.1:4007"),
            addresses("[2001:db8::1]:4000", "[2001:db8::1]:4001"),
        ] {
            for codec in [AudioCodec::Pcmu, AudioCodec::Pcma] {
                assert_eq!(answer(offer(codec, local, 1).as_bytes(), codec), Some(local));
            }
        }
    }

    #[test]
    fn an_answer_that_takes_no_audio_is_none() {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n";
        let refused = |media: &str| answer(format!("{head}{media}").as_bytes(), AudioCodec::Pcmu);
        assert!(refused("m=audio 4000 RTP/AVP 0\r\n").is_some());
        for media in [
            "m=audio 0 RTP/AVP 0\r\n",
            "m=audio 4000 RTP/AVP 8\r\n",
            "m=audio 4000 RTP/SAVP 0\r\n",
            "m=video 4000 RTP/AVP 0\r\n",
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n",
            "",
        ] {
            assert_eq!(refused(media), None, "{media}");
        }
        assert_eq!(answer(b"hello", AudioCodec::Pcmu), None);
    }
}
