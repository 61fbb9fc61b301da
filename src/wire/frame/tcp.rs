//! A TCP header (RFC 9293 section 3.1).
//!
//! It knows nothing of the connection that a segment belongs to.

use std::net::SocketAddr;

use super::{Ip, Packet, TcpSegment, be16, be32, ip::MALFORMED};

/// The flags of a segment that begin or end a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// Whether the stream begins here.
    #[must_use]
    pub const fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// Whether the stream ends behind this segment.
    #[must_use]
    pub const fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// Whether the connection was broken off.
    #[must_use]
    pub const fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }
}

pub(super) fn decode(ip: Ip, bytes: &[u8]) -> Packet<'_> {
    let Some(header) = bytes.first_chunk::<TCP_LEN>() else { return MALFORMED };
    let header_len = usize::from(header[12] >> 4) * 4;
    let Some(payload) = bytes.get(header_len.max(TCP_LEN)..) else { return MALFORMED };
    if header_len < TCP_LEN {
        return MALFORMED;
    }
    Packet::Tcp(TcpSegment {
        src: SocketAddr::new(ip.src, be16(header, 0)),
        dst: SocketAddr::new(ip.dst, be16(header, 2)),
        sequence: be32(header, 4),
        flags: TcpFlags(header[13]),
        payload,
    })
}

/// Without options.
const TCP_LEN: usize = 20;
