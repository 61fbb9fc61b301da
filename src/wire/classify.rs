//! What kind of datagram has come to a media port, told by its first bytes.
//!
//! A guess good enough to choose a parser; never a proof that the parser will accept it.

/// What a datagram on a media port looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Real-time media.
    Rtp,
    /// Reports about media.
    Rtcp,
    /// STUN, as ICE and NAT probing use it (RFC 8489).
    Stun,
    /// DTLS, as the key exchange of DTLS-SRTP uses it (RFC 5764).
    Dtls,
    /// ZRTP key exchange (RFC 6189).
    Zrtp,
    /// A SIP message on the wrong port.
    Sip,
    /// Too short to be any of these: sent to hold a NAT binding open (RFC 6263).
    KeepAlive,
    /// None of these.
    Unknown,
}

/// The kind of a datagram by RFC 7983 (first octet) and RFC 5761 section 4 (RTP or RTCP).
#[inline]
#[must_use]
pub fn classify(bytes: &[u8]) -> Kind {
    match *bytes {
        [128..=191, second, ..] if bytes.len() >= RTCP_LEN_MIN && is_rtcp(second) => Kind::Rtcp,
        [128..=191, ..] if bytes.len() >= RTP_LEN_MIN => Kind::Rtp,
        _ => classify_other(bytes),
    }
}

/// RFC 5761 section 4: packet types 192 to 223 are RTCP; as RTP that would be the payload types
/// 64 to 95 with the marker set, which are not to be used where both share a port.
const fn is_rtcp(second: u8) -> bool {
    matches!(second, 192..=223)
}

fn classify_other(bytes: &[u8]) -> Kind {
    match *bytes {
        [] | [_] | [_, _] | [_, _, _] | [_, _, _, _] => Kind::KeepAlive,
        _ if bytes.iter().all(|&byte| matches!(byte, b'\r' | b'\n' | 0)) => Kind::KeepAlive,
        [0..=3, ..] if is_stun(bytes) => Kind::Stun,
        [16..=19, ..] if bytes.get(4..8) == Some(&ZRTP_COOKIE) => Kind::Zrtp,
        [20..=63, ..] if !looks_like_sip(bytes) => Kind::Dtls,
        _ if looks_like_sip(bytes) => Kind::Sip,
        _ => Kind::Unknown,
    }
}

/// Whether the length that a STUN header states is that of the message (RFC 8489 section 5), which
/// RFC 3489 without its magic cookie has as well. The sequence numbers of UDPTL look like STUN
/// otherwise.
fn is_stun(bytes: &[u8]) -> bool {
    let stated = bytes.get(2..4).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])));
    stated.is_some_and(|len| len % 4 == 0 && STUN_LEN_MIN + len == bytes.len())
}

/// Whether the first line has a SIP version at either end (RFC 3261 section 7).
fn looks_like_sip(bytes: &[u8]) -> bool {
    let window = &bytes[..bytes.len().min(SIP_START_LINE_MAX)];
    let line = window.split(|&byte| byte == b'\n').next().unwrap_or(window).trim_ascii_end();
    line.starts_with(SIP_VERSION) || line.ends_with(SIP_VERSION)
}

/// The common header alone: a BYE without a source (RFC 3550 section 6.6).
const RTCP_LEN_MIN: usize = 4;
/// The fixed header (RFC 3550 section 5.1).
const RTP_LEN_MIN: usize = 12;
/// The STUN header (RFC 8489 section 5).
const STUN_LEN_MIN: usize = 20;
/// RFC 6189 section 5: "ZRTP" behind the sequence number.
const ZRTP_COOKIE: [u8; 4] = *b"ZRTP";
const SIP_VERSION: &[u8] = b"SIP/2.0";
/// How far a start line is searched; longer ones are not taken for SIP on a media port.
const SIP_START_LINE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_octets_go_to_their_protocols() {
        let with = |first: u8, second: u8| {
            let mut bytes = [0x55; 24];
            (bytes[0], bytes[1]) = (first, second);
            classify(&bytes)
        };
        assert_eq!(with(0x80, 0), Kind::Rtp);
        assert_eq!(with(0xBF, 0x80 | 8), Kind::Rtp);
        assert_eq!(with(0x80, 63), Kind::Rtp);
        assert_eq!(with(0x80, 191), Kind::Rtp);
        assert_eq!(with(0x80, 192), Kind::Rtcp);
        assert_eq!(with(0x81, 200), Kind::Rtcp);
        assert_eq!(with(0x80, 223), Kind::Rtcp);
        assert_eq!(with(0x80, 224), Kind::Rtp);
        assert_eq!(with(4, 0), Kind::Unknown);
        assert_eq!(with(16, 0), Kind::Unknown);
        assert_eq!(with(20, 254), Kind::Dtls);
        assert_eq!(with(63, 254), Kind::Dtls);
        assert_eq!(with(64, 0), Kind::Unknown);
        assert_eq!(with(192, 0), Kind::Unknown);
    }

    #[test]
    fn stun_states_its_length() {
        let mut bytes = [0; 28];
        (bytes[1], bytes[3]) = (1, 8);
        assert_eq!(classify(&bytes), Kind::Stun);
        assert_eq!(classify(&bytes[..27]), Kind::Unknown);
        assert_eq!(classify(&[0, 1, 0, 0]), Kind::KeepAlive);
    }

    #[test]
    fn zrtp_needs_its_cookie() {
        assert_eq!(classify(b"\x10\0\0\x01ZRTP\0\0\0\x01PZ"), Kind::Zrtp);
        assert_eq!(classify(b"\x10\0\0\x01ZRPT\0\0\0\x01PZ"), Kind::Unknown);
    }

    #[test]
    fn short_and_blank_datagrams_keep_bindings_open() {
        for bytes in [&b""[..], b"\0", b"\r\n", b"\r\n\r\n", b"\0\0\0\0\0\0", b"jaK"] {
            assert_eq!(classify(bytes), Kind::KeepAlive, "{bytes:?}");
        }
        assert_eq!(classify(&[0x80, 203, 0, 0]), Kind::Rtcp);
        assert_eq!(classify(&[0x80, 0, 0, 0, 0, 0]), Kind::Unknown);
    }

    #[test]
    fn sip_is_known_by_its_start_line() {
        assert_eq!(classify(b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n\r\n"), Kind::Sip);
        assert_eq!(classify(b"SIP/2.0 200 OK\r\n\r\n"), Kind::Sip);
        assert_eq!(classify(b"!x sip:a@b SIP/2.0\n\n"), Kind::Sip);
        assert_eq!(classify(b"GET / HTTP/1.1\r\n\r\n"), Kind::Unknown);
    }
}
