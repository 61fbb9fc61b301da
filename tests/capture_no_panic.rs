//! No capture makes the reader panic, hang, or give more than it was given: real formats bent in
//! random ways are read to their end.

use fastrand::Rng;
use voxplane::source::capture::{Capture, Chunk};

#[path = "common/bend.rs"]
mod bend;
#[path = "common/pcap.rs"]
mod pcap;

use bend::{LEN_MAX, bent, cases};
use pcap::{ACK, Pcap, PcapNg, SYN, TempFile, ethernet, fragments, ip, tcp, udp, udp_datagram};

/// Bent captures per run; see [`bend::cases`].
const CASES: usize = 4_000;
const SEED: u64 = 0x6361_7074;
/// A window, the longest record, and what is put together of pieces.
const CHUNK_MAX: usize = 1 << 20;

#[test]
fn bent_captures_are_read_to_their_end() {
    let mut rng = Rng::with_seed(SEED);
    let models = models();
    let (mut opened, mut delivered, mut warned) = (0_usize, 0_usize, 0_usize);
    let cases = cases(CASES);
    for case in 0..cases {
        let first = TempFile::new(&bent(&mut rng, &models));
        let second = TempFile::new(&bent(&mut rng, &models));
        let mut paths = vec![first.path()];
        if case % 4 == 0 {
            paths.push(second.path());
        }
        let Ok(mut capture) = Capture::open(&paths) else { continue };
        opened += 1;
        let mut chunk = Chunk::default();
        let mut bytes = 0;
        let mut frames: u64 = 0;
        while capture.fill(&mut chunk) {
            let here: usize =
                chunk.frames().iter().map(|frame| chunk.datagram(frame).payload.len()).sum();
            assert!(here <= CHUNK_MAX, "{here} bytes in case {case}");
            bytes += here;
            frames += chunk.frames().len() as u64;
        }
        let totals = capture.totals();
        // Nothing comes out that did not go in, and every packet is part of one at most; only
        // what a SIP stream holds is more messages than packets.
        assert!(bytes <= 2 * LEN_MAX, "{bytes} bytes in case {case}");
        assert!(totals.packets <= 2 * LEN_MAX as u64 / 16);
        assert!(frames + totals.ignored.total() > 0 || totals.packets == 0, "case {case}");
        assert!(totals.warnings.len() <= paths.len());
        delivered += usize::from(frames > 0);
        warned += usize::from(!totals.warnings.is_empty());
    }
    // Bending must leave enough whole, and break enough.
    let share = |count: usize| count * 100 / cases;
    assert!(share(opened) > 50 && share(delivered) > 30, "{opened} {delivered} of {cases}");
    assert!(share(warned) > 10, "{warned} of {cases}");
}

/// Files that reach every part of the reader.
fn models() -> Vec<Vec<u8>> {
    let packets = packets();
    let mut models = Vec::new();
    for (is_big, is_nano) in [(false, false), (true, true)] {
        let mut file = Pcap::with(1, is_big, is_nano);
        for (at, packet) in (1..).zip(&packets) {
            file.packet(at * 100_000_000, packet);
        }
        models.push(file.bytes);
        let mut file = PcapNg::new(is_big);
        file.interface(1, &[(9, &[9]), (2, b"eth0")]);
        file.interface(101, &[(9, &[0x8A]), (14, &[0; 8])]);
        for (at, packet) in (1..).zip(&packets) {
            match at % 4 {
                0 => file.simple_packet(packet),
                1 => file.old_packet(0, at, packet),
                2 => file.packet(0, at * 100_000_000, packet),
                _ => file.packet(1, at, &packet[14..]),
            }
        }
        models.push(file.bytes);
    }
    for (link, header) in [(0, &[2, 0, 0, 0][..]), (113, &[0; 16]), (276, &[8; 20]), (9, &[0xFF])] {
        let mut file = Pcap::new(link);
        for packet in &packets {
            file.packet(1, &[header, &packet[14..]].concat());
        }
        models.push(file.bytes);
    }
    models
}

fn packets() -> Vec<Vec<u8>> {
    let (a, b) = ("192.0.2.1:5060", "198.51.100.2:40000");
    let message = b"BYE sip:a@b SIP/2.0\r\nContent-Length: 4\r\n\r\nbody";
    let inner = udp("[2001:db8::1]:1", "[2001:db8::2]:2", b"inner");
    let outer = |protocol, payload: &[u8]| {
        ethernet(&ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol, payload))
    };
    let tunnel = |port, header: &[u8], inner: &[u8]| {
        outer(17, &udp_datagram(1, port, &[header, inner].concat()))
    };
    let mut packets = vec![
        ethernet(&udp(a, b, &[0x80; 172])),
        ethernet(&inner),
        outer(41, &inner),
        outer(
            47,
            &[&[0xB0, 0, 0x86, 0xDD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &inner[..]].concat(),
        ),
        tunnel(4789, &[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(&inner)),
        tunnel(2152, &[0x34, 0xFF, 0, 69, 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0, 9, 0], &inner),
        ethernet(&tcp(a, b, 99, SYN, b"")),
        ethernet(&tcp(a, b, 100, ACK, message)),
        ethernet(&tcp(a, b, 100 + 47 + 20, ACK, &message[20..])),
        ethernet(&tcp(a, b, 100 + 47, ACK, &message[..20])),
        ethernet(&tcp(b, a, 7, ACK, b"GET / HTTP/1.1\r\n\r\n")),
    ];
    let pieces = fragments(&udp(a, b, &[7; 900]), 1, 320);
    packets.extend(pieces.iter().rev().map(|piece| ethernet(piece)));
    packets
}
