//! RTP without SIP: streams are found by themselves, and nothing else is taken for one.

mod common;
#[path = "common/tap.rs"]
mod tap;

use core::time::Duration;
use std::net::SocketAddr;

use common::{addr, ms, rtp, secs};
use fastrand::Rng;
use tap::{Harm, Speech, Tap, Truth, receiver_report, sender_report, sum};
use voxplane::control::record::StreamRecord;

const A: &str = "198.51.100.1:4001";
const B: &str = "203.0.113.2:6003";
const SSRC: u32 = 0x0DD_0001;

fn speech(count: u32) -> Speech {
    Speech::new(addr(A), addr(B), SSRC, count)
}

/// The one stream there is, which belongs to no call.
fn only_orphan(tap: &Tap) -> StreamRecord {
    let seen = tap.run();
    assert_eq!(seen.calls().len(), 0);
    assert_eq!(seen.snapshot.orphans.len(), 1, "{:#?}", seen.snapshot.orphans);
    (*seen.snapshot.orphans[0]).clone()
}

/// Two packets in sequence, on odd ports: both count.
#[test]
fn two_consecutive_packets_make_a_stream() {
    for count in [2, 3, 500] {
        let mut tap = Tap::default();
        tap.speech(ms(100), &speech(count));
        let stream = only_orphan(&tap);
        assert_eq!(sum(core::slice::from_ref(&stream)), Truth::whole(count));
        assert_eq!((stream.src, stream.dst, stream.ssrc.0), (addr(A), addr(B), SSRC));
        assert_eq!((stream.codec, stream.clock_rate), (Some("PCMU"), Some(8000)));
        assert_eq!(stream.first_time, Some(common::START + ms(100)));
        assert_eq!(stream.call_id, None);
    }
}

/// Both directions between two hosts are two streams, and so are two sources on one pair.
#[test]
fn streams_are_told_apart_by_addresses_and_source() {
    let mut tap = Tap::default();
    tap.speech(ms(0), &speech(100));
    tap.speech(ms(3), &Speech { src: addr(B), dst: addr(A), ..speech(110) });
    tap.speech(ms(6), &Speech { ssrc: 77, ..speech(120) });
    let seen = tap.run();
    let mut received: Vec<_> =
        seen.snapshot.orphans.iter().map(|stream| stream.packets_received).collect();
    received.sort_unstable();
    assert_eq!(received, [Some(100), Some(110), Some(120)]);
}

/// One packet proves nothing, nor does the same one again, nor two that do not follow each other.
#[test]
fn what_does_not_follow_makes_no_stream() {
    for sequences in [&[7_u16][..], &[7, 7, 7], &[7, 1000], &[7, 9, 11, 13], &[9, 8, 7]] {
        let mut tap = Tap::default();
        for (index, &sequence) in (0..).zip(sequences) {
            let packet = rtp(0, false, sequence, u32::from(sequence) * 160, SSRC);
            tap.raw(ms(20 * index), addr(A), addr(B), &packet);
        }
        tap.run().assert_no_streams();
    }
}

/// The second packet comes a minute after the first.
#[test]
fn two_packets_far_apart_make_no_stream() {
    let mut tap = Tap::default();
    tap.raw(ms(0), addr(A), addr(B), &rtp(0, false, 7, 160, SSRC));
    tap.raw(secs(60), addr(A), addr(B), &rtp(0, false, 8, 320, SSRC));
    tap.run().assert_no_streams();
}

#[test]
fn static_payload_types_have_their_codec() {
    let types = [(0, "PCMU", 160), (3, "GSM", 160), (8, "PCMA", 160), (9, "G722", 160)];
    for (payload_type, codec, ticks) in types.into_iter().chain([(18, "G729", 160)]) {
        let mut tap = Tap::default();
        tap.speech(ms(0), &speech(200).with_format(payload_type, ticks));
        let stream = only_orphan(&tap);
        assert_eq!((stream.codec, stream.payload_type), (Some(codec), Some(payload_type)));
        assert!(stream.jitter_max_ms.is_some_and(|jitter| jitter < 0.1), "{stream:#?}");
    }
}

/// Nobody says what 96 means: counts are known; codec, clock, jitter and score are not.
#[test]
fn dynamic_payload_types_have_counts_and_no_codec() {
    let mut tap = Tap::default();
    let gaps = vec![50, 51, 90];
    tap.speech(ms(0), &Speech { gaps, ..speech(200).with_format(96, 960) });
    let stream = only_orphan(&tap);
    assert_eq!((stream.codec, stream.clock_rate), (None, None));
    assert_eq!((stream.jitter_mean_ms, stream.jitter_max_ms), (None, None), "{stream:#?}");
    assert_eq!((stream.jitter_p95_ms, stream.ptime_ms), (None, None), "{stream:#?}");
    assert_eq!((stream.packets_received, stream.packets_lost), (Some(197), Some(3)));
    assert_eq!((stream.mos_lq, stream.mos_cq), (None, None));
    assert!(stream.mos_reason.is_some());
}

#[test]
fn counts_of_orphans_are_what_the_network_did() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let harm =
            Harm { loss: rng.f64() * 0.2, duplicate: rng.f64() * 0.1, reorder: rng.f64() * 0.1 };
        let mut tap = Tap::default();
        // The first packets come whole: what a stream that begins with a gap was is a guess.
        tap.speech(ms(0), &speech(10));
        let truth = tap.impaired(ms(200), &speech(10).going_on(600), &mut rng, harm);
        let got = sum(&[only_orphan(&tap)]);
        assert_eq!(got.received, truth.received + 10, "seed {seed}");
        assert_eq!(got.duplicate, truth.duplicate, "seed {seed}");
        assert_eq!(got.out_of_order, truth.out_of_order, "seed {seed}");
    }
}

/// A stream falls silent for 10 s, for 31 s, or for five minutes, and goes on with its sequence.
#[test]
fn a_stream_that_comes_back_loses_nothing() {
    for silence in [10, 31, 300] {
        let mut tap = Tap::default();
        tap.speech(ms(0), &speech(200));
        tap.speech(secs(4 + silence), &speech(200).going_on(150));
        let seen = tap.run();
        let streams = seen.streams_of(SSRC);
        assert_eq!(sum(&streams), Truth::whole(350), "{silence} s: {streams:#?}");
    }
}

/// What ended long ago takes no room.
#[test]
fn streams_that_ended_leave_the_table() {
    let mut tap = Tap::default();
    for index in 0..50 {
        tap.speech(secs(index.into()), &Speech { ssrc: 500 + index, ..speech(40) });
    }
    tap.raw(secs(120), addr(A), addr(B), b"something else");
    let seen = tap.run();
    assert_eq!(seen.health.streams_active, 0);
    assert_eq!(seen.snapshot.orphans.len(), 50);
    assert!(seen.snapshot.orphans.iter().all(|stream| stream.packets_received == Some(40)));
}

/// RTCP alone, on odd and even ports, is no stream.
#[test]
fn rtcp_makes_no_stream() {
    let mut tap = Tap::default();
    for round in 0..100 {
        let report = sender_report(SSRC, round << 32, &[]);
        tap.raw(secs(round), addr(A), addr(B), &report);
        tap.raw(secs(round), addr(B), addr("198.51.100.1:4000"), &receiver_report(9, &[]));
    }
    let seen = tap.run();
    seen.assert_no_streams();
    assert_eq!(seen.health.rtcp_packets, 200);
}

/// Lets 10,000 datagrams pass, of which none may make a stream.
fn assert_no_stream_of(
    name: &str,
    ports: [u16; 2],
    mut make: impl FnMut(&mut Rng, u32) -> Vec<u8>,
) {
    let mut rng = Rng::with_seed(name.len() as u64);
    let mut tap = Tap::default();
    for index in 0..10_000 {
        let (mut a, mut b): (SocketAddr, SocketAddr) = (addr(A), addr(B));
        a.set_port(ports[0]);
        b.set_port(ports[1]);
        if index % 2 == 1 {
            (a, b) = (b, a);
        }
        let bytes = make(&mut rng, index);
        tap.raw(Duration::from_micros(500) * index, a, b, &bytes);
    }
    let seen = tap.run();
    let streams = seen.streams();
    assert!(streams.is_empty(), "{name}: {} streams, {:#?}", streams.len(), streams[0]);
    assert_eq!(seen.calls().len(), 0);
}

/// Which datagram of its direction it is.
fn pair_of(index: u32) -> u16 {
    u16::try_from(index / 2).expect("few")
}

fn random(rng: &mut Rng, head: &[u8], len: core::ops::Range<usize>) -> Vec<u8> {
    let mut bytes = head.to_vec();
    let len = rng.usize(len);
    bytes.extend(core::iter::repeat_with(|| rng.u8(..)).take(len));
    bytes
}

#[test]
fn noise_that_begins_like_rtp_is_none() {
    assert_no_stream_of("noise", [4000, 6000], |rng, _| {
        let first = rng.u8(0x80..=0xBF);
        random(rng, &[first], 11..200)
    });
    // One source, but sequence numbers that never follow each other.
    let mut last = [0_u16; 2];
    assert_no_stream_of("one source", [4000, 6000], |rng, index| {
        let last = &mut last[index as usize % 2];
        let follows = |sequence: u16| (1..3).contains(&sequence.wrapping_sub(*last));
        let mut sequence = rng.u16(..);
        while follows(sequence) {
            sequence = rng.u16(..);
        }
        *last = sequence;
        rtp(rng.u8(0..64), rng.bool(), sequence, rng.u32(..), 0x4242)
    });
}

/// Queries and answers with random transaction ids; a quarter of them begin with the bits of RTP,
/// and the counts of the header stand where the source does, the same in all.
#[test]
fn dns_is_no_rtp() {
    assert_no_stream_of("dns", [40_000, 53], |rng, index| {
        let id = rng.u16(..).to_be_bytes();
        let flags: [u8; 2] = if index % 2 == 0 { [0x01, 0x00] } else { [0x81, 0x80] };
        let mut bytes = id.to_vec();
        bytes.extend(flags);
        bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend(*b"\x03www\x07example\x03com\0\0\x01\0\x01");
        bytes
    });
    // Ids that count up, as some resolvers have them.
    assert_no_stream_of("dns counting", [40_000, 53], |_, index| {
        let id = (0x8000 + pair_of(index)).to_be_bytes();
        let mut bytes = id.to_vec();
        bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend(*b"\x03www\x07example\x03com\0\0\x01\0\x01");
        bytes
    });
}

/// A reliable game protocol: 0x84, a 24-bit little-endian count, a message; and an older one: a
/// 32-bit count in network order with the top bit set for reliable packets.
#[test]
fn games_are_no_rtp() {
    assert_no_stream_of("little-endian", [50_000, 19_132], |rng, index| {
        let count = (index / 2).to_le_bytes();
        let mut bytes = vec![0x84, count[0], count[1], count[2], 0x60, 0x01, 0x00];
        bytes.extend(count);
        bytes.extend([0, 0, 0, 0]);
        random(rng, &bytes, 20..100)
    });
    assert_no_stream_of("quake", [27_001, 27_960], |rng, index| {
        let mut bytes = (0x8000_0000 | (index / 2)).to_be_bytes().to_vec();
        bytes.extend((0x8000_0000 | (index / 2)).to_be_bytes());
        random(rng, &bytes, 20..100)
    });
}

#[test]
fn quic_is_no_rtp() {
    assert_no_stream_of("quic short", [50_000, 443], |rng, _| {
        let first = 0x40 | rng.u8(0..0x40);
        random(rng, &[first, 1, 2, 3, 4, 5, 6, 7, 8], 20..200)
    });
    assert_no_stream_of("quic long", [50_000, 443], |rng, _| {
        let first = 0xC0 | rng.u8(0..0x40);
        random(rng, &[first, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8], 20..1200)
    });
    // Packets without the fixed bit (RFC 9287), so that the first octet may be any.
    assert_no_stream_of("quic greased", [50_000, 443], |rng, _| {
        let first = 0x80 | rng.u8(0..0x40);
        random(rng, &[first, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8], 20..1200)
    });
}

#[test]
fn rtps_and_tftp_are_no_rtp() {
    assert_no_stream_of("rtps", [7400, 7401], |rng, index| {
        let mut bytes = b"RTPS\x02\x03\x01\x0F".to_vec();
        bytes.extend([7; 12]);
        bytes.extend(index.to_le_bytes());
        random(rng, &bytes, 20..100)
    });
    assert_no_stream_of("tftp", [40_000, 40_001], |rng, index| {
        let block = pair_of(index).to_be_bytes();
        let opcode = if index % 2 == 0 { [0, 3] } else { [0, 4] };
        random(rng, &[opcode[0], opcode[1], block[0], block[1]], 0..513)
    });
}

/// UDPTL whose count has the bits of RTP, with redundancy of indicators and of image data.
#[test]
fn udptl_is_no_rtp() {
    assert_no_stream_of("udptl indicator", [4000, 6000], |_, index| {
        let mut bytes = (0x8000 + pair_of(index)).to_be_bytes().to_vec();
        bytes.extend([0x01, 0x02, 0x00, 0x03, 0x01, 0x00, 0x01, 0x00, 0x01, 0x00]);
        bytes
    });
    assert_no_stream_of("udptl data", [4000, 6000], |rng, index| {
        let mut bytes = (0x8000 + pair_of(index)).to_be_bytes().to_vec();
        bytes.extend([0x2C, 0xC0, 0x01, 0x80, 0x00, 0x27]);
        random(rng, &bytes, 40..41)
    });
}
