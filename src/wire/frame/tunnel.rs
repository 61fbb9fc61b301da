//! What carries IP or Ethernet within IP: IP-in-IP, GRE, ERSPAN, VXLAN, GENEVE, GTP-U.
//!
//! A UDP datagram is never taken for a tunnel by its port alone: its header must be one, and
//! what is inside must be a packet.

use super::{Packet, Reason, be16, ip, link};

/// Whether datagrams to a port may be a tunnel.
#[inline]
pub(super) const fn is_port(port: u16) -> bool {
    matches!(port, VXLAN_PORT | GTP_U_PORT | GENEVE_PORT)
}

/// The tunnels that have an IP protocol number of their own.
pub(super) fn ip(protocol: u8, bytes: &[u8], depth: u8) -> Packet<'_> {
    let depth = depth + 1;
    match protocol {
        _ if depth > DEPTH_MAX => Packet::Ignored(Reason::TunnelTooDeep),
        ip::IPV4_IN_IP => ip::v4(bytes, depth),
        ip::IPV6_IN_IP => ip::v6(bytes, depth),
        _ => gre(bytes, depth),
    }
}

/// The tunnels on UDP ports; none if the datagram is not one.
pub(super) fn udp(port: u16, payload: &[u8], depth: u8) -> Option<Packet<'_>> {
    let depth = depth + 1;
    let inner = match port {
        _ if depth > DEPTH_MAX => Packet::Ignored(Reason::TunnelTooDeep),
        VXLAN_PORT => vxlan(payload, depth)?,
        GENEVE_PORT => geneve(payload, depth)?,
        _ => gtp_u(payload, depth)?,
    };
    let is_packet = !matches!(inner, Packet::Ignored(Reason::NotIp | Reason::IpMalformed));
    is_packet.then_some(inner)
}

/// RFC 2784 with the key and the sequence number of RFC 2890.
fn gre(bytes: &[u8], depth: u8) -> Packet<'_> {
    let Some((header, _)) = bytes.split_at_checked(GRE_LEN) else { return ip::MALFORMED };
    let (flags, protocol) = (be16(header, 0), be16(header, 2));
    // Source routes are obsolete; version 1 is PPTP's.
    if flags & (GRE_ROUTING | GRE_VERSION) != 0 {
        return Packet::Ignored(Reason::OtherIpProtocol);
    }
    let options = (flags & (GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE)).count_ones() as usize * 4;
    let Some(inner) = bytes.get(GRE_LEN + options..) else { return ip::MALFORMED };
    let mirrored_at = match protocol {
        TRANSPARENT_ETHERNET => 0,
        // Type I has neither a header nor GRE's sequence number.
        ERSPAN if flags & GRE_SEQUENCE == 0 => 0,
        ERSPAN => ERSPAN_II_LEN,
        ERSPAN_III => match inner.get(ERSPAN_III_LEN - 1) {
            Some(last) if last & ERSPAN_III_SUBHEADER != 0 => ERSPAN_III_LEN + 8,
            _ => ERSPAN_III_LEN,
        },
        _ => return link::ether_type(protocol, inner, depth),
    };
    inner.get(mirrored_at..).map_or(ip::MALFORMED, |frame| link::ethernet(frame, depth))
}

/// RFC 7348 section 5.
fn vxlan(bytes: &[u8], depth: u8) -> Option<Packet<'_>> {
    let (header, frame) = bytes.split_at_checked(VXLAN_LEN)?;
    (header[0] & !VXLAN_GROUP_POLICY == VXLAN_VNI_VALID && header[7] == 0)
        .then(|| link::ethernet(frame, depth))
}

/// RFC 8926 section 3.4.
fn geneve(bytes: &[u8], depth: u8) -> Option<Packet<'_>> {
    let header = bytes.get(..GENEVE_LEN)?;
    let is_version_0 = header[0] >> 6 == 0 && header[1] & 0x3F == 0 && header[7] == 0;
    let inner = bytes.get(GENEVE_LEN + usize::from(header[0] & 0x3F) * 4..)?;
    is_version_0.then(|| match be16(header, 2) {
        TRANSPARENT_ETHERNET => link::ethernet(inner, depth),
        protocol => link::ether_type(protocol, inner, depth),
    })
}

/// 3GPP TS 29.281 clause 5: a G-PDU holds one IP packet.
fn gtp_u(bytes: &[u8], depth: u8) -> Option<Packet<'_>> {
    let header = bytes.get(..GTP_U_LEN)?;
    if header[0] & GTP_U_FIXED_BITS != GTP_U_VERSION_1 || header[1] != G_PDU {
        return None;
    }
    let mut inner = &bytes[GTP_U_LEN..];
    inner = inner.get(..usize::from(be16(header, 2))).unwrap_or(inner);
    if header[0] & GTP_U_OPTIONS == 0 {
        return Some(ip::either(inner, depth));
    }
    // Sequence number, N-PDU number and the type of the next extension come together.
    let mut next = *inner.get(GTP_U_OPTIONS_LEN - 1)?;
    inner = &inner[GTP_U_OPTIONS_LEN..];
    if header[0] & GTP_U_EXTENSION == 0 {
        next = 0;
    }
    while next != 0 {
        // Each says its length in words of four octets, and its last octet what is next.
        let len = usize::from(*inner.first()?) * 4;
        next = *inner.get(len.checked_sub(1)?)?;
        inner = &inner[len..];
    }
    Some(ip::either(inner, depth))
}

/// Tunnels in tunnels: a mirror of a mobile core's traffic has three.
const DEPTH_MAX: u8 = 8;

const VXLAN_PORT: u16 = 4789;
const GTP_U_PORT: u16 = 2152;
const GENEVE_PORT: u16 = 6081;

const GRE_LEN: usize = 4;
const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_VERSION: u16 = 0x0007;
const TRANSPARENT_ETHERNET: u16 = 0x6558;
/// ERSPAN types I and II, then III (draft-foschiano-erspan section 4).
const ERSPAN: u16 = 0x88BE;
const ERSPAN_III: u16 = 0x22EB;
const ERSPAN_II_LEN: usize = 8;
const ERSPAN_III_LEN: usize = 12;
const ERSPAN_III_SUBHEADER: u8 = 1;

const VXLAN_LEN: usize = 8;
const VXLAN_VNI_VALID: u8 = 0x08;
const VXLAN_GROUP_POLICY: u8 = 0x80;
const GENEVE_LEN: usize = 8;

const GTP_U_LEN: usize = 8;
/// Version, protocol type, and a bit that is zero.
const GTP_U_FIXED_BITS: u8 = 0xF8;
const GTP_U_VERSION_1: u8 = 0x30;
const GTP_U_OPTIONS: u8 = 0x07;
const GTP_U_EXTENSION: u8 = 0x04;
const GTP_U_OPTIONS_LEN: usize = 4;
const G_PDU: u8 = 0xFF;
