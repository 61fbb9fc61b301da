//! What comes in pieces comes out whole and once: fragments of IP packets, and SIP messages in
//! TCP segments.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use fastrand::Rng;
use proptest::prelude::*;
use voxplane::wire::Transport;

#[path = "common/pcap.rs"]
mod pcap;

use pcap::{ACK, Pcap, SYN, ethernet, fragments, ignored, payloads, read, read_packets, tcp, udp};

const A: &str = "192.0.2.1:5060";
const B: &str = "198.51.100.2:40000";

fn cut_up(fill: u8, len: usize, id: u16, size: usize) -> Vec<Vec<u8>> {
    fragments(&udp(A, B, &vec![fill; len]), id, size)
}

#[test]
fn fragments_in_any_order() {
    let mut rng = Rng::with_seed(0x6672_6167);
    for round in 0..200 {
        let len = rng.usize(100..9000);
        let mut pieces = cut_up(1, len, round, 8 * rng.usize(4..180));
        rng.shuffle(&mut pieces);
        let (got, totals) = read_packets(101, &pieces[..pieces.len().min(30)]);
        if pieces.len() <= 30 {
            assert!(payloads(&got) == [vec![1; len]], "{len} {:?}", totals.ignored);
            assert_eq!(got[0].at, pieces.len() as u64 * 1_000_000_000);
            assert_eq!(totals.ignored.total(), 0);
        }
    }
}

#[test]
fn packets_between_one_another() {
    let (one, two) = (cut_up(1, 3000, 1, 1480), cut_up(2, 3000, 2, 1480));
    let mixed: Vec<_> = one.into_iter().zip(two).flat_map(|(one, two)| [two, one]).collect();
    let (got, _) = read_packets(101, &mixed);
    assert_eq!(payloads(&got), [vec![2; 3000], vec![1; 3000]]);
}

#[test]
fn what_came_first_has_the_overlap() {
    let mut pieces = cut_up(1, 3000, 1, 1480);
    let mut other = cut_up(2, 3000, 1, 1488);
    let last = pieces.remove(1);
    let (got, totals) =
        read_packets(101, &[pieces.remove(0), other.remove(1), last, pieces.remove(0)]);
    let payload = &payloads(&got)[0];
    assert_eq!(payload.len(), 3000);
    assert_eq!((payload[1471], payload[1472 + 7], payload[1480]), (1, 1, 2));
    assert_eq!(totals.ignored.total(), 0, "{:?}", totals.ignored);
}

#[test]
fn repeats_are_counted_and_losses_given_up() {
    let pieces = cut_up(1, 3000, 1, 1480);
    let (got, totals) =
        read_packets(101, &[pieces[0].clone(), pieces[0].clone(), pieces[2].clone()]);
    assert_eq!((got.len(), ignored(&totals, "duplicate")), (0, 1));
    assert_eq!(ignored(&totals, "fragment_incomplete"), 2);
    // After a minute nobody waits any more.
    let mut file = Pcap::new(101);
    for (second, piece) in [0, 20, 90].into_iter().zip(&pieces) {
        file.packet(second * 1_000_000_000, piece);
        // Others keep the table busy.
        for id in 2..4 {
            file.packet((second + 1) * 1_000_000_000, &cut_up(3, 3000, id, 1480)[0]);
        }
    }
    let (got, totals) = read(&[&file.bytes]);
    assert_eq!((got.len(), ignored(&totals, "duplicate")), (0, 2));
    assert_eq!(totals.ignored.total(), 9, "{:?}", totals.ignored);
}

#[test]
fn a_flood_of_fragments_costs_bounded_memory_and_loses_the_oldest() {
    let mut file = Pcap::new(101);
    let first = cut_up(1, 3000, 0, 1480);
    file.packet(0, &first[0]);
    for id in 1..20_000 {
        file.packet(1, &cut_up(2, 3000, id, 1480)[0]);
    }
    file.packet(2, &first[1]);
    file.packet(2, &first[2]);
    for piece in cut_up(3, 3000, 30_000, 1480) {
        file.packet(3, &piece);
    }
    let (got, totals) = read(&[&file.bytes]);
    assert_eq!(payloads(&got), [vec![3; 3000]]);
    assert_eq!(ignored(&totals, "fragment_incomplete"), 20_002);
}

fn message(number: usize, body: usize) -> Vec<u8> {
    let name = ["Content-Length", "l", "CONTENT-LENGTH "][number % 3];
    let mut bytes = format!(
        "MESSAGE sip:{number}@192.0.2.1 SIP/2.0\r\nCall-ID: {number}\r\n{name}: {body}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend((0..body).map(|at| b"SIP/2.0 200 OK\r\n\r\n"[(at + number) % 18]));
    bytes
}

/// Segments of a stream, cut at these shares of its length.
fn segments(stream: &[u8], isn: u32, cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % stream.len()).collect();
    ends.extend([0, stream.len()]);
    ends.sort_unstable();
    ends.dedup();
    let of = |pair: &[usize]| {
        let sequence = isn.wrapping_add(1).wrapping_add(u32::try_from(pair[0]).unwrap());
        ethernet(&tcp(A, B, sequence, ACK, &stream[pair[0]..pair[1]]))
    };
    ends.windows(2).map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]
    #[test]
    fn messages_come_out_as_they_went_in(
        bodies in prop::collection::vec(0_usize..3000, 1..12),
        cuts in prop::collection::vec(0_usize..40_000, 0..60),
        isn in prop_oneof![any::<u32>(), Just(u32::MAX - 100)],
        seed in any::<u64>(),
    ) {
        let messages: Vec<_> = bodies.iter().enumerate().map(|(n, len)| message(n, *len)).collect();
        let keep_alive = |n: usize| if n.is_multiple_of(2) { &b"\r\n\r\n"[..] } else { b"" };
        let pieces: Vec<_> = (0..).map(keep_alive).zip(&messages).collect();
        let stream: Vec<u8> =
            pieces.iter().flat_map(|(blank, message)| [*blank, message].concat()).collect();
        let mut rng = Rng::with_seed(seed);
        let mut packets = segments(&stream, isn, &cuts);
        let repeats: Vec<_> = packets.iter().filter(|_| rng.u8(0..5) == 0).cloned().collect();
        for repeat in repeats {
            packets.insert(rng.usize(0..=packets.len()), repeat);
        }
        // No segment moves by more than eight places.
        let mut order: Vec<_> = (0..packets.len()).map(|at| (at + rng.usize(0..8), at)).collect();
        order.sort_unstable();
        let mut file = Pcap::new(1);
        file.packet(0, &ethernet(&tcp(A, B, isn, SYN, b"")));
        for (at, (_, index)) in (1..).zip(order) {
            file.packet(at * 1_000_000, &packets[index]);
        }
        let (got, totals) = read(&[&file.bytes]);
        prop_assert_eq!(payloads(&got), messages);
        prop_assert!(got.iter().all(|got| got.transport == Transport::Tcp));
        let harmless = ignored(&totals, "duplicate") + ignored(&totals, "tcp_no_data");
        prop_assert_eq!(totals.ignored.total(), harmless);
    }
}

#[test]
fn a_lost_segment_costs_its_message_and_no_other() {
    let messages: Vec<_> = (0..300).map(|n| message(n, 0)).collect();
    let mut file = Pcap::new(1);
    file.packet(0, &ethernet(&tcp(A, B, 0, SYN, b"")));
    let mut sequence = 1;
    for (n, message) in (1..).zip(&messages) {
        let (head, rest) = message.split_at(20);
        for piece in [head, rest] {
            if !(n == 100 && piece == rest) {
                file.packet(n * 20_000_000, &ethernet(&tcp(A, B, sequence, ACK, piece)));
            }
            sequence += u32::try_from(piece.len()).unwrap();
        }
    }
    let (got, totals) = read(&[&file.bytes]);
    let expected: Vec<_> =
        (0..).zip(messages).filter(|(n, _)| *n != 99).map(|(_, message)| message).collect();
    assert_eq!(payloads(&got), expected);
    assert_eq!(ignored(&totals, "tcp_incomplete"), 1);
    assert!(got.is_sorted_by_key(|got| got.at));
}

#[test]
fn a_stream_may_be_joined_in_its_middle() {
    let messages: Vec<_> = (0..20).map(|n| message(n, 40)).collect();
    let stream = messages.concat();
    let packets = segments(&stream[100..], 77, &[500, 700, 900]);
    let (got, _) = read_packets(1, &packets);
    assert_eq!(payloads(&got).last(), messages.last());
    assert!(got.len() >= 18, "{}", got.len());
}

#[test]
fn other_streams_are_counted_and_cost_nothing_more() {
    let mut packets = vec![ethernet(&tcp(A, B, 0, SYN, b""))];
    for n in 0..50 {
        packets.push(ethernet(&tcp(A, B, 1 + n * 100, ACK, &[0x16; 100])));
    }
    // The same ports once more, and now it is SIP.
    let sip = message(1, 10);
    packets.push(ethernet(&tcp(A, B, 900_000, SYN, b"")));
    packets.push(ethernet(&tcp(A, B, 900_001, ACK, &sip)));
    let (got, totals) = read_packets(1, &packets);
    assert_eq!(payloads(&got), [sip]);
    assert_eq!((ignored(&totals, "tcp_not_sip"), ignored(&totals, "tcp_no_data")), (50, 2));
}

#[test]
fn a_message_that_is_too_long_is_counted() {
    let stream = [message(0, 10), message(1, 70_000), message(2, 10)].concat();
    let cuts: Vec<_> = (0..100).map(|n| n * 1000).collect();
    let (got, totals) = read_packets(1, &segments(&stream, 5, &cuts));
    assert_eq!(payloads(&got), [message(0, 10), message(2, 10)]);
    assert_eq!(ignored(&totals, "sip_too_long"), 1);
}
