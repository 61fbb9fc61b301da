//! Every link type and tunnel leads to the datagram that it carries, and nothing is taken for a
//! tunnel that is none.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::SocketAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use fastrand::Rng;
use voxplane::wire::{
    IpMarks,
    frame::{self, LinkType, Packet, UdpDatagram},
};

#[path = "common/pcap.rs"]
mod pcap;

use pcap::{ethernet, ethernet_of, ignored, ip, payloads, read_packets, udp, udp_datagram};

const A: &str = "192.0.2.1:5060";
const B: &str = "198.51.100.2:40000";
const A6: &str = "[2001:db8::1]:5060";
const B6: &str = "[2001:db8::2]:40000";

/// Reads one packet on a link; it must give the one datagram.
#[track_caller]
fn gives(link: u32, packet: Vec<u8>, src: &str, dst: &str, payload: &[u8]) {
    let (got, totals) = read_packets(link, &[packet]);
    assert_eq!(got.len(), 1, "{:?}", totals.ignored);
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!((got[0].src, got[0].dst), (address(src), address(dst)));
    assert_eq!(got[0].payload, payload);
    assert_eq!(totals.ignored.total(), 0);
}

#[track_caller]
fn is_ignored(packet: Vec<u8>, reason: &str) {
    let (got, totals) = read_packets(1, &[packet]);
    assert_eq!((got.len(), ignored(&totals, reason)), (0, 1), "{:?}", totals.ignored);
}

#[test]
fn every_link_carries_both_versions() {
    for (src, dst) in [(A, B), (A6, B6)] {
        let inner = udp(src, dst, b"hello");
        let is_v6 = src == A6;
        let kind: u16 = if is_v6 { 0x86DD } else { 0x0800 };
        let check =
            |link, header: &[u8]| gives(link, [header, &inner].concat(), src, dst, b"hello");
        check(1, &ethernet_of(kind, &[]));
        let tagged = |tags: &[u16]| {
            let tags: Vec<u8> =
                tags.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 7]]).flatten().collect();
            [&[2; 12][..], &tags, &kind.to_be_bytes()].concat()
        };
        check(1, &tagged(&[0x8100]));
        check(1, &tagged(&[0x88A8, 0x8100]));
        check(1, &tagged(&[0x9100, 0x8100, 0x8100]));
        check(113, &[&[0; 14][..], &kind.to_be_bytes()].concat());
        check(276, &[&kind.to_be_bytes()[..], &[0; 18]].concat());
        for raw in [12, 14, 101, if is_v6 { 229 } else { 228 }] {
            check(raw, &[]);
        }
        for family in if is_v6 { vec![24_u32, 28, 30, 10] } else { vec![2] } {
            for link in [0, 108] {
                check(link, &family.to_be_bytes());
                check(link, &family.to_le_bytes());
            }
        }
        let protocol: u8 = if is_v6 { 0x57 } else { 0x21 };
        for link in [9, 50] {
            check(link, &[0xFF, 3, 0, protocol]);
            check(link, &[0, protocol]);
            check(link, &[protocol]);
        }
        let session = [0x11, 0, 0, 1, 0, 35, 0, protocol];
        check(51, &session);
        check(1, &ethernet_of(0x8864, &session));
        check(1, &ethernet_of(0x8847, &[0, 1, 0x01, 64]));
        check(1, &ethernet_of(0x8848, &[0, 1, 0, 64, 0, 2, 0x01, 64]));
    }
}

#[test]
fn every_tunnel_is_peeled() {
    let outer = |protocol, payload: &[u8]| {
        ethernet(&ip("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), protocol, payload))
    };
    let on_port = |port, payload: &[u8]| outer(17, &udp_datagram(1234, port, payload));
    for (src, dst) in [(A, B), (A6, B6)] {
        let inner = udp(src, dst, b"hello");
        let framed = ethernet(&inner);
        let kind: u16 = if src == A6 { 0x86DD } else { 0x0800 };
        let [high, low] = kind.to_be_bytes();
        let check = |packet| gives(1, packet, src, dst, b"hello");
        let with = |header: &[u8], inner: &[u8]| [header, inner].concat();
        check(outer(if src == A6 { 41 } else { 4 }, &inner));
        check(outer(47, &with(&[0, 0, high, low], &inner)));
        check(outer(47, &with(&[0xB0, 0, high, low, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 1], &inner)));
        check(outer(47, &with(&[0x20, 0, 0x65, 0x58, 1, 2, 3, 4], &framed)));
        check(outer(47, &with(&[0, 0, 0x88, 0xBE], &framed)));
        let sequence = [0x10, 0, 0x88, 0xBE, 0, 0, 0, 1];
        check(outer(47, &with(&sequence, &with(&[0x10; 8], &framed))));
        let sequence = [0x10, 0, 0x22, 0xEB, 0, 0, 0, 1];
        check(outer(47, &with(&sequence, &with(&[0x20; 12], &framed))));
        check(outer(47, &with(&sequence, &with(&[0x21; 20], &framed))));
        check(on_port(4789, &with(&[8, 0, 0, 0, 0, 0, 7, 0], &framed)));
        check(on_port(6081, &with(&[0, 0, 0x65, 0x58, 0, 0, 7, 0], &framed)));
        check(on_port(6081, &with(&[1, 0, high, low, 0, 0, 7, 0, 1, 1, 1, 0], &inner)));
        let len = u8::try_from(inner.len()).unwrap();
        check(on_port(2152, &with(&[0x30, 0xFF, 0, len, 0, 0, 0, 9], &inner)));
        check(on_port(2152, &with(&[0x32, 0xFF, 0, len + 4, 0, 0, 0, 9, 0, 1, 0, 0], &inner)));
        let extended = [0x34, 0xFF, 0, len + 8, 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0, 9, 0];
        check(on_port(2152, &with(&extended, &inner)));
        // A mirror of a mobile core: GTP-U in VXLAN.
        let gtp = on_port(2152, &with(&[0x30, 0xFF, 0, len, 0, 0, 0, 9], &inner));
        check(on_port(4789, &with(&[8, 0, 0, 0, 0, 0, 7, 0], &gtp)));
    }
}

#[test]
fn what_is_no_tunnel_is_delivered_as_it_is() {
    let rtp = [&[0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4][..], &[0xD5; 160]].concat();
    let mut not_ip = vec![0x30, 0xFF, 0, 40, 0, 0, 0, 9];
    not_ip.extend([0xAA; 40]);
    let mut endless = vec![0x34, 0xFF, 0, 12, 0, 0, 0, 9, 0, 0, 0, 0x85];
    endless.extend([0; 8]);
    for port in [4789, 2152, 6081] {
        for payload in [&rtp[..], b"x", b"OPTIONS sip:a SIP/2.0", &not_ip, &endless] {
            let dst = format!("198.51.100.2:{port}");
            gives(1, ethernet(&udp(A, &dst, payload)), A, &dst, payload);
        }
    }
}

#[test]
fn tunnels_end_somewhere() {
    let mut packet = udp(A, B, b"deep");
    for depth in 1..=12 {
        packet = ip("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), 4, &packet);
        if depth <= 8 {
            gives(1, ethernet(&packet), A, B, b"deep");
        } else {
            is_ignored(ethernet(&packet), "tunnel_too_deep");
        }
    }
}

#[test]
fn lengths_decide_what_belongs_to_a_datagram() {
    let whole = ethernet(&udp(A, B, b"hello"));
    gives(1, [&whole[..], &[0; 13]].concat(), A, B, b"hello");
    gives(1, whole[..whole.len() - 2].to_vec(), A, B, b"hel");
    let with = |at: usize, value: u16| {
        let mut packet = whole.clone();
        packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
        packet
    };
    // The UDP length: shorter, missing, and longer than what is there.
    gives(1, with(38, 11), A, B, b"hel");
    gives(1, with(38, 0), A, B, b"hello");
    gives(1, with(38, 999), A, B, b"hello");
    // The total length: left to the network card, and longer than what is there.
    gives(1, with(16, 0), A, B, b"hello");
    gives(1, with(16, 999), A, B, b"hello");
    is_ignored(with(16, 19), "ip_malformed");
    is_ignored(with(38, 7), "ip_malformed");
    is_ignored(with(38, 8), "empty_udp");
    is_ignored(whole[..30].to_vec(), "ip_malformed");
    is_ignored(whole[..10].to_vec(), "not_ip");
    is_ignored(ethernet_of(0x0806, &[0; 28]), "not_ip");
    is_ignored(ethernet_of(46, &[0xAA; 46]), "not_ip");
    is_ignored(ethernet(&ip(v4(1), v4(2), 1, &[8; 20])), "other_ip_protocol");
    let (_, totals) = read_packets(147, &[whole]);
    assert_eq!(ignored(&totals, "unsupported_link_type"), 1);
}

#[test]
fn options_and_extension_headers_are_passed() {
    let datagram = udp_datagram(5060, 40000, b"hello");
    let mut packet = udp(A, B, b"hello");
    packet[0] = 0x47;
    packet.splice(20..20, [1; 8]);
    packet[3] += 8;
    gives(1, ethernet(&packet), A, B, b"hello");
    let (src, dst) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let chain = [
        &[43, 0, 1, 4, 0, 0, 0, 0][..],
        &[60, 0, 0, 0, 0, 0, 0, 0],
        &[44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[51, 0, 0, 0, 0, 0, 0, 1],
        &[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &datagram,
    ];
    gives(1, ethernet(&ip(src, dst, 0, &chain.concat())), A6, B6, b"hello");
    let endless = [0, 0, 1, 4, 0, 0, 0, 0].repeat(50);
    is_ignored(ethernet(&ip(src, dst, 0, &endless)), "ip_malformed");
}

#[test]
fn etherparse_agrees_on_random_packets() {
    let mut rng = Rng::with_seed(0x6C69_6E6B);
    let mut agreed = 0;
    for _ in 0..20_000 {
        let payload: Vec<u8> = (0..rng.usize(1..64)).map(|_| rng.u8(..)).collect();
        // Ports of no tunnel: etherparse does not look into those.
        let port = rng.u16(10_000..);
        let inner = if rng.bool() {
            udp(&format!("10.1.2.3:{}", rng.u16(..)), &format!("10.3.2.1:{port}"), &payload)
        } else {
            udp(&format!("[fe80::1]:{}", rng.u16(..)), &format!("[fe80::2]:{port}"), &payload)
        };
        let mut packet = match rng.u8(0..3) {
            0 => [&[2; 12][..], &[0x81, 0, 0, 1], &ethernet(&inner)[12..]].concat(),
            _ => ethernet(&inner),
        };
        for _ in 0..rng.usize(0..3) {
            let at = rng.usize(12..packet.len());
            packet[at] ^= 1 << rng.u8(0..8);
        }
        let Some(theirs) = by_etherparse(&packet) else { continue };
        match frame::decode(LinkType::ETHERNET, &packet) {
            Packet::Udp(ours) if !theirs.payload.is_empty() => {
                assert_eq!(ours, theirs);
                let plain = frame::decode_plain(LinkType::ETHERNET, &packet);
                assert!(plain.is_none_or(|plain| plain == ours));
                agreed += 1;
            }
            Packet::Ignored(frame::Reason::EmptyUdp) => assert!(theirs.payload.is_empty()),
            other => panic!("{other:?} is {theirs:?} in {packet:x?}"),
        }
    }
    assert!(agreed > 10_000, "{agreed}");
}

fn by_etherparse(packet: &[u8]) -> Option<UdpDatagram<'_>> {
    let sliced = SlicedPacket::from_ethernet(packet).ok()?;
    let Some(TransportSlice::Udp(udp)) = sliced.transport else { return None };
    let (src, dst, marks) = match sliced.net? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let marks = IpMarks::new(header.dcp().value() << 2, header.ttl());
            (header.source_addr().into(), header.destination_addr().into(), marks)
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let marks = IpMarks::new(header.traffic_class(), header.hop_limit());
            (header.source_addr().into(), header.destination_addr().into(), marks)
        }
        NetSlice::Arp(_) => return None,
    };
    let (src_port, dst_port) = (udp.source_port(), udp.destination_port());
    if matches!(dst_port, 4789 | 2152 | 6081) {
        return None;
    }
    let (src, dst) = (SocketAddr::new(src, src_port), SocketAddr::new(dst, dst_port));
    Some(UdpDatagram { src, dst, marks, payload: udp.payload() })
}

fn v4(last: u8) -> std::net::IpAddr {
    std::net::IpAddr::from([192, 0, 2, last])
}

#[test]
fn a_sequence_keeps_its_order() {
    let packets: Vec<_> = (0..100_u8).map(|n| ethernet(&udp(A, B, &[n; 10]))).collect();
    let (got, totals) = read_packets(1, &packets);
    assert_eq!(payloads(&got), (0..100).map(|n| vec![n; 10]).collect::<Vec<_>>());
    assert_eq!((totals.packets, totals.bytes), (100, 5200));
    assert_eq!(totals.first_time, Some(pcap::seconds(1)));
    assert_eq!(totals.last_time, Some(pcap::seconds(100)));
}
