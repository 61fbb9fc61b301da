//! A captured frame taken apart down to what its UDP datagram or TCP segment carries: link
//! layers, IP, and the tunnels around them.
//!
//! It keeps nothing between frames: a fragment of an IP packet, or a piece of a TCP stream, is
//! given up as such.

mod ip;
mod link;
mod tcp;
mod tunnel;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use self::{link::LinkType, tcp::TcpFlags};
use super::IpMarks;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A UDP datagram with a payload.
    Udp(UdpDatagram<'a>),
    /// A TCP segment, with or without a payload.
    Tcp(TcpSegment<'a>),
    /// A piece of an IP packet.
    Fragment(Fragment<'a>),
    /// Nothing that can be followed further.
    Ignored(Reason),
}

/// A UDP datagram (RFC 768).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpDatagram<'a> {
    /// Where it came from.
    pub src: SocketAddr,
    /// Where it went.
    pub dst: SocketAddr,
    /// What its IP header says about its way.
    pub marks: IpMarks,
    /// What was captured of its payload; never empty.
    pub payload: &'a [u8],
}

/// A TCP segment (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment<'a> {
    /// Where it came from.
    pub src: SocketAddr,
    /// Where it went.
    pub dst: SocketAddr,
    /// The sequence number of its first octet, or of its SYN.
    pub sequence: u32,
    /// SYN, FIN and RST.
    pub flags: TcpFlags,
    /// What was captured of its payload.
    pub payload: &'a [u8],
}

/// A fragment of an IP packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// What it has in common with the others of its packet.
    pub key: FragmentKey,
    /// Where its bytes belong in the packet's payload.
    pub offset: u16,
    /// Whether it is not the last.
    pub has_more: bool,
    /// Whether all of it was captured.
    pub is_whole: bool,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    src: IpAddr,
    dst: IpAddr,
    identification: u32,
    protocol: u8,
    /// How many tunnels the fragment was found in.
    depth: u8,
}

/// Why a packet was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// A link type that is not read.
    UnsupportedLinkType,
    /// Neither IPv4 nor IPv6: ARP, LLDP, spanning tree.
    NotIp,
    /// Lengths that cannot be, or cut off before its ports.
    IpMalformed,
    /// Neither UDP nor TCP: ICMP, SCTP, ESP.
    OtherIpProtocol,
    /// More tunnels in one another than are followed.
    TunnelTooDeep,
    /// A fragment of a packet whose other fragments did not come.
    FragmentIncomplete,
    /// A fragment or a TCP segment that brought nothing new.
    Duplicate,
    /// A UDP datagram without a payload.
    EmptyUdp,
    /// A TCP segment without a payload.
    TcpNoData,
    /// A TCP segment of something else than SIP.
    TcpNotSip,
    /// A TCP segment of SIP behind a gap, or without a beginning.
    TcpIncomplete,
    /// A SIP message over TCP that is longer than is read, or does not fit its connection.
    SipTooLong,
}

impl Reason {
    /// All there are, in the order of their values.
    pub const ALL: [Self; 12] = [
        Self::UnsupportedLinkType,
        Self::NotIp,
        Self::IpMalformed,
        Self::OtherIpProtocol,
        Self::TunnelTooDeep,
        Self::FragmentIncomplete,
        Self::Duplicate,
        Self::EmptyUdp,
        Self::TcpNoData,
        Self::TcpNotSip,
        Self::TcpIncomplete,
        Self::SipTooLong,
    ];

    /// Its name in figures that are shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnsupportedLinkType => "unsupported_link_type",
            Self::NotIp => "not_ip",
            Self::IpMalformed => "ip_malformed",
            Self::OtherIpProtocol => "other_ip_protocol",
            Self::TunnelTooDeep => "tunnel_too_deep",
            Self::FragmentIncomplete => "fragment_incomplete",
            Self::Duplicate => "duplicate",
            Self::EmptyUdp => "empty_udp",
            Self::TcpNoData => "tcp_no_data",
            Self::TcpNotSip => "tcp_not_sip",
            Self::TcpIncomplete => "tcp_incomplete",
            Self::SipTooLong => "sip_too_long",
        }
    }
}

/// Takes a frame apart.
#[must_use]
pub fn decode(link: LinkType, bytes: &[u8]) -> Packet<'_> {
    link::decode(link, bytes)
}

/// Takes the payload of a reassembled IP packet apart.
#[must_use]
pub fn decode_reassembled<'a>(key: &FragmentKey, bytes: &'a [u8]) -> Packet<'a> {
    let ip = Ip { src: key.src, dst: key.dst, marks: IpMarks::UNKNOWN };
    ip::transport(ip, key.protocol, bytes, key.depth)
}

/// The short way for UDP on IPv4 on Ethernet with nothing special about it: nearly every packet
/// there is. It gives what [`decode`] would, or nothing.
#[inline]
#[must_use]
pub fn decode_plain(link: LinkType, bytes: &[u8]) -> Option<UdpDatagram<'_>> {
    let header: &[u8; PLAIN_LEN] = bytes.first_chunk()?;
    let is_plain = link == LinkType::ETHERNET
        && header[12..15] == ETHERNET_IPV4_NO_OPTIONS
        && be16(header, 20) & ip::FRAGMENT_BITS == 0
        && header[23] == ip::UDP;
    let total_len = usize::from(be16(header, 16));
    let udp_len = usize::from(be16(header, 38));
    let (src_port, dst_port) = (be16(header, 34), be16(header, 36));
    // Each datagram says its length twice; where they disagree, the long way decides.
    if !is_plain || total_len != udp_len + IPV4_LEN || tunnel::is_port(dst_port) {
        return None;
    }
    let payload = bytes.get(PLAIN_LEN..ETHERNET_LEN + total_len)?;
    if payload.is_empty() {
        return None;
    }
    let ip = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let src = SocketAddr::from((ip(26), src_port));
    let dst = SocketAddr::from((ip(30), dst_port));
    let marks = IpMarks::new(header[15], header[22]);
    Some(UdpDatagram { src, dst, marks, payload })
}

/// The addresses of an IP header, and what it says besides.
#[derive(Clone, Copy, Debug)]
struct Ip {
    src: IpAddr,
    dst: IpAddr,
    marks: IpMarks,
}

/// The big-endian number at `at`, which the caller has made sure is there.
#[inline]
const fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian number at `at`, which the caller has made sure is there.
#[inline]
const fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The EtherType of IPv4, then version 4 with a header of five words.
const ETHERNET_IPV4_NO_OPTIONS: [u8; 3] = [0x08, 0x00, 0x45];
const ETHERNET_LEN: usize = 14;
/// RFC 791 section 3.1, without options.
const IPV4_LEN: usize = 20;
/// Ethernet, IPv4 and UDP.
const PLAIN_LEN: usize = ETHERNET_LEN + IPV4_LEN + 8;
