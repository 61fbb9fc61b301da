//! Views over received bytes: RTP, RTCP, SIP, SDP, and the frames of a capture around them.
//!
//! A view checks lengths once, when it is made; after that its accessors cannot fail. Views
//! never allocate, never panic on any bytes, and know nothing of the state that is kept about
//! what they show.

use std::net::SocketAddr;

use crate::time::Timestamp;

pub mod classify;
pub mod codec;
pub mod crypto;
pub mod frame;
pub(crate) mod put;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sip;
mod text;
pub mod vq_rtcpxr;

/// A datagram as a source hands it up: all that is known about it outside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// When it arrived: the kernel's or the capture's time stamp, not when it was read.
    pub received_at: Timestamp,
    /// Where it came from.
    pub src: SocketAddr,
    /// The address it was sent to, the local address itself and not a wildcard.
    pub dst: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// What its IP header says about its way.
    pub marks: IpMarks,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// How a datagram was sent on its way, by its IP header, as far as its source tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpMarks {
    dscp: u8,
    ttl: u8,
}

impl IpMarks {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { dscp: DSCP_UNKNOWN, ttl: TTL_UNKNOWN };

    /// From the octet that is called type of service in IPv4 and traffic class in IPv6, and the
    /// one called time to live or hop limit; 0 there is not known, as nothing arrives with it.
    #[inline]
    #[must_use]
    pub const fn new(traffic_class: u8, ttl: u8) -> Self {
        Self { dscp: traffic_class >> ECN_BITS, ttl }
    }

    /// The Differentiated Services codepoint (RFC 2474 section 3), 0 to 63.
    #[must_use]
    pub const fn dscp(self) -> Option<u8> {
        if self.dscp == DSCP_UNKNOWN { None } else { Some(self.dscp) }
    }

    /// Time to live, or hop limit, on arrival; 1 to 255.
    #[must_use]
    pub const fn ttl(self) -> Option<u8> {
        if self.ttl == TTL_UNKNOWN { None } else { Some(self.ttl) }
    }

    /// Whether the codepoint is known, and another one than this octet says.
    #[inline]
    pub(crate) const fn is_other_dscp(self, octet: u8) -> bool {
        self.dscp != octet && self.dscp != DSCP_UNKNOWN
    }

    /// The codepoint, or what stands for none.
    #[inline]
    pub(crate) const fn dscp_octet(self) -> u8 {
        self.dscp
    }

    /// The same with the octet of the codepoint.
    pub(crate) const fn with_traffic_class(self, traffic_class: u8) -> Self {
        Self { dscp: traffic_class >> ECN_BITS, ..self }
    }

    /// The same with a time to live.
    pub(crate) const fn with_ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }
}

impl Default for IpMarks {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

/// No codepoint: they have six bits.
const DSCP_UNKNOWN: u8 = u8::MAX;

/// What arrives has some of it left.
const TTL_UNKNOWN: u8 = 0;

/// Below the codepoint are two bits of congestion notification (RFC 3168 section 5).
const ECN_BITS: u32 = 2;

/// What carries a SIP message or an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// User Datagram Protocol.
    Udp,
    /// Transmission Control Protocol: one SIP message of a connection.
    Tcp,
    /// The same under Transport Layer Security.
    Tls,
}

impl Transport {
    /// Whether it is a stream: messages come once and in order, and answers go back through the
    /// connection (RFC 3261 section 18).
    #[must_use]
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// As Via names it (RFC 3261 section 25.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}
