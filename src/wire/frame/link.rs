//! What lies below IP: Ethernet and its tags, Linux cooked, loopback, PPP, MPLS.
//!
//! Addresses of the link are not looked at.

use super::{ETHERNET_LEN, Packet, Reason, be16, be32, ip};

/// The kind of link that a frame was captured on, by the number that captures give it (the
/// registry of link-layer types of the pcap format).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: an address family in the byte order of the host.
    pub const NULL: Self = Self(0);
    /// IEEE 802.3 Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without its HDLC framing.
    pub const PPP: Self = Self(9);
    /// IPv4 or IPv6 alone, as BSD and Linux wrote it before there was a registry.
    pub const RAW_BSD: Self = Self(12);
    /// The same under the number of OpenBSD.
    pub const RAW_OPENBSD: Self = Self(14);
    /// PPP with HDLC framing.
    pub const PPP_HDLC: Self = Self(50);
    /// PPP over Ethernet, without the Ethernet.
    pub const PPP_ETHER: Self = Self(51);
    /// IPv4 or IPv6 alone.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: an address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// IPv4 alone.
    pub const IPV4: Self = Self(228);
    /// IPv6 alone.
    pub const IPV6: Self = Self(229);
    /// Linux cooked, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

#[cold]
pub(super) fn decode(link: LinkType, bytes: &[u8]) -> Packet<'_> {
    match link {
        LinkType::ETHERNET => ethernet(bytes, 0),
        LinkType::LINUX_SLL if bytes.len() >= SLL_LEN => {
            ether_type(be16(bytes, SLL_LEN - 2), &bytes[SLL_LEN..], 0)
        }
        LinkType::LINUX_SLL2 if bytes.len() >= SLL2_LEN => {
            ether_type(be16(bytes, 0), &bytes[SLL2_LEN..], 0)
        }
        LinkType::LINUX_SLL | LinkType::LINUX_SLL2 => Packet::Ignored(Reason::NotIp),
        LinkType::NULL | LinkType::LOOP => loopback(bytes),
        LinkType::PPP | LinkType::PPP_HDLC => ppp(bytes),
        LinkType::PPP_ETHER => pppoe(bytes, 0),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => ip::either(bytes, 0),
        LinkType::IPV4 => ip::v4(bytes, 0),
        LinkType::IPV6 => ip::v6(bytes, 0),
        _ => Packet::Ignored(Reason::UnsupportedLinkType),
    }
}

pub(super) fn ethernet(bytes: &[u8], depth: u8) -> Packet<'_> {
    if bytes.len() < ETHERNET_LEN {
        return Packet::Ignored(Reason::NotIp);
    }
    ether_type(be16(bytes, ETHERNET_LEN - 2), &bytes[ETHERNET_LEN..], depth)
}

/// What an EtherType says follows; tags are taken off.
pub(super) fn ether_type(mut kind: u16, mut bytes: &[u8], depth: u8) -> Packet<'_> {
    while matches!(kind, VLAN | PROVIDER_VLAN | OLD_PROVIDER_VLAN) {
        let Some((tag, rest)) = bytes.split_at_checked(TAG_LEN) else {
            return Packet::Ignored(Reason::NotIp);
        };
        (kind, bytes) = (be16(tag, 2), rest);
    }
    match kind {
        IPV4 => ip::v4(bytes, depth),
        IPV6 => ip::v6(bytes, depth),
        MPLS | MPLS_UPSTREAM => mpls(bytes, depth),
        PPPOE_SESSION => pppoe(bytes, depth),
        _ => Packet::Ignored(Reason::NotIp),
    }
}

/// Takes labels off down to the bottom of the stack (RFC 3032 section 2.1). What follows is not
/// said anywhere; its first nibble tells.
fn mpls(mut bytes: &[u8], depth: u8) -> Packet<'_> {
    while let Some((label, rest)) = bytes.split_at_checked(LABEL_LEN) {
        bytes = rest;
        if label[2] & BOTTOM_OF_STACK != 0 {
            return ip::either(bytes, depth);
        }
    }
    Packet::Ignored(Reason::NotIp)
}

/// RFC 2516 section 4.
fn pppoe(bytes: &[u8], depth: u8) -> Packet<'_> {
    match bytes {
        [PPPOE_VERSION_TYPE, PPPOE_SESSION_CODE, _, _, _, _, rest @ ..] => {
            ppp_protocol(rest, depth)
        }
        _ => Packet::Ignored(Reason::NotIp),
    }
}

/// RFC 1662 section 3.1: address and control may have been left out.
fn ppp(bytes: &[u8]) -> Packet<'_> {
    ppp_protocol(bytes.strip_prefix(&PPP_ADDRESS_CONTROL).unwrap_or(bytes), 0)
}

/// RFC 1661 section 2: the last octet of a protocol number is odd, all before it are even, so
/// that a number of one octet shows as such.
fn ppp_protocol(bytes: &[u8], depth: u8) -> Packet<'_> {
    let (protocol, rest) = match bytes {
        [short, rest @ ..] if short & 1 == 1 => (u16::from(*short), rest),
        [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        _ => return Packet::Ignored(Reason::NotIp),
    };
    match protocol {
        PPP_IPV4 => ip::v4(rest, depth),
        PPP_IPV6 => ip::v6(rest, depth),
        PPP_MPLS => mpls(rest, depth),
        _ => Packet::Ignored(Reason::NotIp),
    }
}

/// The family is in the byte order of whichever host wrote it; the small number of the two
/// readings is meant.
fn loopback(bytes: &[u8]) -> Packet<'_> {
    let Some((family, rest)) = bytes.split_at_checked(FAMILY_LEN) else {
        return Packet::Ignored(Reason::NotIp);
    };
    let family = be32(family, 0);
    match family.min(family.swap_bytes()) {
        AF_INET => ip::v4(rest, 0),
        AF_INET6_LINUX | AF_INET6_NETBSD | AF_INET6_FREEBSD | AF_INET6_DARWIN => ip::v6(rest, 0),
        _ => Packet::Ignored(Reason::NotIp),
    }
}

const SLL_LEN: usize = 16;
const SLL2_LEN: usize = 20;
/// Priority and VLAN, then the EtherType that follows (IEEE 802.1Q clause 9).
const TAG_LEN: usize = 4;
const LABEL_LEN: usize = 4;
const FAMILY_LEN: usize = 4;

/// EtherTypes, by the IEEE registry.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88A8;
const OLD_PROVIDER_VLAN: u16 = 0x9100;
const MPLS: u16 = 0x8847;
const MPLS_UPSTREAM: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;

const BOTTOM_OF_STACK: u8 = 1;
const PPPOE_VERSION_TYPE: u8 = 0x11;
const PPPOE_SESSION_CODE: u8 = 0;
const PPP_ADDRESS_CONTROL: [u8; 2] = [0xFF, 0x03];
/// PPP protocol numbers, by the IANA registry.
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PPP_MPLS: u16 = 0x0281;

const AF_INET: u32 = 2;
const AF_INET6_LINUX: u32 = 10;
const AF_INET6_NETBSD: u32 = 24;
const AF_INET6_FREEBSD: u32 = 28;
const AF_INET6_DARWIN: u32 = 30;
