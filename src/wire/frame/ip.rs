//! IPv4 and IPv6 headers with their options, and UDP.
//!
//! Checksums are not verified: captures on the sending host hold what its network card was
//! still to fill in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    super::IpMarks, Fragment, FragmentKey, IPV4_LEN, Ip, Packet, Reason, UdpDatagram, be16, be32,
    tcp, tunnel,
};

/// IPv4 or IPv6, by the version in the first nibble.
pub(super) fn either(bytes: &[u8], depth: u8) -> Packet<'_> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => v4(bytes, depth),
        Some(6) => v6(bytes, depth),
        _ => Packet::Ignored(Reason::NotIp),
    }
}

/// RFC 791 section 3.1.
pub(super) fn v4(bytes: &[u8], depth: u8) -> Packet<'_> {
    let Some(header) = bytes.first_chunk::<IPV4_LEN>() else { return MALFORMED };
    let header_len = usize::from(header[0] & 0x0F) * 4;
    let total_len = match usize::from(be16(header, 2)) {
        // Segmentation is left to the network card: the packet is as long as its frame.
        0 => bytes.len(),
        len => len,
    };
    if header[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len {
        return MALFORMED;
    }
    // Behind the total length is what fills the frame up; a frame may also have been cut off.
    let Some(payload) = bytes.get(header_len..total_len.min(bytes.len())) else { return MALFORMED };
    let address = |at| IpAddr::V4(Ipv4Addr::from(be32(header, at)));
    let marks = IpMarks::new(header[1], header[8]);
    let ip = Ip { src: address(12), dst: address(16), marks };
    let (fragment, protocol) = (be16(header, 6), header[9]);
    if fragment & FRAGMENT_BITS == 0 {
        return transport(ip, protocol, payload, depth);
    }
    let identification = u32::from(be16(header, 4));
    Packet::Fragment(Fragment {
        key: FragmentKey { src: ip.src, dst: ip.dst, identification, protocol, depth },
        offset: (fragment & OFFSET_BITS) * 8,
        has_more: fragment & MORE_FRAGMENTS != 0,
        is_whole: bytes.len() >= total_len,
        payload,
    })
}

/// RFC 8200 section 3.
pub(super) fn v6(bytes: &[u8], depth: u8) -> Packet<'_> {
    let Some((header, payload)) = bytes.split_first_chunk::<IPV6_LEN>() else { return MALFORMED };
    if header[0] >> 4 != 6 {
        return MALFORMED;
    }
    let payload = match usize::from(be16(header, 4)) {
        // A jumbogram, or segmentation left to the network card.
        0 => payload,
        len => payload.get(..len).unwrap_or(payload),
    };
    let marks = IpMarks::new(header[0] << 4 | header[1] >> 4, header[7]);
    let ip = Ip { src: v6_address(header, 8), dst: v6_address(header, 24), marks };
    transport(ip, header[6], payload, depth)
}

fn v6_address(header: &[u8; IPV6_LEN], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    IpAddr::V6(Ipv6Addr::from(octets))
}

/// What an IP header says follows; extension headers are taken off (RFC 8200 section 4).
pub(super) fn transport(ip: Ip, mut protocol: u8, mut bytes: &[u8], depth: u8) -> Packet<'_> {
    for _ in 0..EXTENSIONS_MAX {
        let len = match (protocol, bytes) {
            (UDP, _) => return udp(ip, bytes, depth),
            (TCP, _) => return tcp::decode(ip, bytes),
            (IPV4_IN_IP | IPV6_IN_IP | GRE, _) => return tunnel::ip(protocol, bytes, depth),
            (FRAGMENT, [next, _, _, _, _, _, _, _, rest @ ..]) if ip.src.is_ipv6() => {
                let (offset, identification) = (be16(bytes, 2), be32(bytes, 4));
                if offset & !V6_RESERVED_BITS != 0 {
                    let key = FragmentKey {
                        src: ip.src,
                        dst: ip.dst,
                        identification,
                        protocol: *next,
                        depth,
                    };
                    return v6_fragment(key, offset, rest);
                }
                8
            }
            (HOP_BY_HOP | ROUTING | DESTINATION, [_, len, ..]) if ip.src.is_ipv6() => {
                (usize::from(*len) + 1) * 8
            }
            // RFC 4302 section 2.2: in words of four octets, less two.
            (AUTHENTICATION, [_, len, ..]) => (usize::from(*len) + 2) * 4,
            _ => return Packet::Ignored(Reason::OtherIpProtocol),
        };
        let Some(rest) = bytes.get(len..) else { return MALFORMED };
        (protocol, bytes) = (bytes[0], rest);
    }
    MALFORMED
}

fn v6_fragment(key: FragmentKey, offset: u16, payload: &[u8]) -> Packet<'_> {
    let (offset, has_more) = (offset & !7, offset & 1 != 0);
    // A piece that is not the last is a multiple of eight octets; one that is not was cut off.
    let is_whole = !has_more || payload.len().is_multiple_of(8);
    Packet::Fragment(Fragment { key, offset, has_more, is_whole, payload })
}

/// RFC 768.
fn udp(ip: Ip, bytes: &[u8], depth: u8) -> Packet<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<UDP_LEN>() else { return MALFORMED };
    let payload = match usize::from(be16(header, 4)) {
        // RFC 2675 section 4: as long as what carries it.
        0 => rest,
        len if len < UDP_LEN => return MALFORMED,
        len => rest.get(..len - UDP_LEN).unwrap_or(rest),
    };
    if payload.is_empty() {
        return Packet::Ignored(Reason::EmptyUdp);
    }
    let src = SocketAddr::new(ip.src, be16(header, 0));
    let dst = SocketAddr::new(ip.dst, be16(header, 2));
    let inner =
        if tunnel::is_port(dst.port()) { tunnel::udp(dst.port(), payload, depth) } else { None };
    inner.unwrap_or(Packet::Udp(UdpDatagram { src, dst, marks: ip.marks, payload }))
}

pub(super) const MALFORMED: Packet<'static> = Packet::Ignored(Reason::IpMalformed);

/// More fragments, and the offset (RFC 791 section 3.1).
pub(super) const FRAGMENT_BITS: u16 = MORE_FRAGMENTS | OFFSET_BITS;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_BITS: u16 = 0x1FFF;
/// Of the 16 bits with the offset (RFC 8200 section 4.5).
const V6_RESERVED_BITS: u16 = 0b110;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
/// Each header is to occur once, destination options twice (RFC 8200 section 4.1); some room.
const EXTENSIONS_MAX: usize = 12;

/// Protocol numbers, by the IANA registry.
const HOP_BY_HOP: u8 = 0;
pub(super) const IPV4_IN_IP: u8 = 4;
const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const IPV6_IN_IP: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
pub(super) const GRE: u8 = 47;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
