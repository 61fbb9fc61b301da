//! What a shard costs: an RTP packet at 1,000 and 100,000 streams in random order of arrival,
//! and a call from INVITE to BYE.
//!
//! Packets are made between the timed parts, into the same few buffers that a socket would fill,
//! so that the figure is the shard's and its tables' alone.
#![expect(clippy::unwrap_used, reason = "a bench may fail")]

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use voxplane::{
    id::{PayloadType, Ssrc},
    shard::{Outbox, Shard, ShardConfig},
    source::host,
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport, rtp::RtpHeader},
};
use zerocopy::IntoBytes as _;

criterion_group!(benches, rtp, sip);
criterion_main!(benches);

fn rtp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard/rtp");
    group.throughput(Throughput::Elements(1));
    for streams in [1_000, 100_000] {
        let mut world = World::new(streams);
        group.bench_function(BenchmarkId::from_parameter(streams), |bencher| {
            bencher.iter_custom(|packets| world.measure(packets));
        });
    }
}

fn sip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard/sip");
    // INVITE, ACK and BYE, parsed and handled, with their responses written.
    group.throughput(Throughput::Elements(MESSAGES_PER_CALL));
    let mut shard = shard();
    let mut out = Outbox::default();
    let mut calls = 0_u64;
    group.bench_function("message", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                calls += 1;
                spent += one_call(&mut shard, calls, &mut out);
            }
            spent
        });
    });
}

/// Streams of an endless call each, and a clock.
struct World {
    shard: Shard,
    out: Outbox,
    now: Timestamp,
    sent: Vec<u32>,
    rng: fastrand::Rng,
    packets: [[u8; PACKET]; BATCH],
}

impl World {
    fn new(streams: u32) -> Self {
        let mut world = Self {
            shard: shard(),
            out: Outbox::default(),
            now: Timestamp::from_secs(1_700_000_000),
            sent: vec![0; streams as usize],
            rng: fastrand::Rng::with_seed(1),
            packets: [[0; PACKET]; BATCH],
        };
        // Two packets each make them streams; a window's worth makes them old ones.
        for _ in 0..2 {
            for stream in 0..streams {
                world.deliver(&[stream]);
            }
        }
        world.measure(u64::from(streams) * 4);
        world
    }

    /// The time that so many packets take, in full batches from random streams.
    fn measure(&mut self, packets: u64) -> Duration {
        let streams = u32::try_from(self.sent.len()).unwrap();
        let mut spent = Duration::ZERO;
        let mut done = 0;
        while done < packets {
            let batch: [u32; BATCH] = std::array::from_fn(|_| self.rng.u32(..streams));
            spent += self.deliver(&batch);
            done += BATCH as u64;
        }
        // Whole batches were timed; what was asked for may be less.
        spent.mul_f64(packets as f64 / done as f64)
    }

    #[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
    fn deliver(&mut self, streams: &[u32]) -> Duration {
        let start = Timestamp::from_secs(1_700_000_000);
        let mut latest = self.now;
        let mut facts = [(0_u32, start); BATCH];
        for (slot, &stream) in streams.iter().enumerate() {
            let number = &mut self.sent[stream as usize];
            *number += 1;
            // Each stream keeps its own time, 20 ms a packet and up to 1 ms off.
            let jitter = Duration::from_micros(self.rng.u64(..1000));
            let at = start + Duration::from_millis(20) * *number + jitter;
            latest = latest.max(at);
            facts[slot] = (stream, at);
            let sequence = u16::try_from(*number & 0xFFFF).unwrap();
            let header =
                RtpHeader::new(PayloadType(0), false, sequence, *number * 160, Ssrc(stream));
            self.packets[slot][..12].copy_from_slice(header.as_bytes());
        }
        self.now = latest;
        let packets = &self.packets;
        let mut datagrams = facts.iter().zip(packets).map(|(&(stream, received_at), payload)| {
            let [_, a, b, c] = (stream >> 1).to_be_bytes();
            let port = 4000 + u16::try_from(stream & 1).unwrap() * 2;
            Datagram {
                received_at,
                src: SocketAddr::from(([10, a, b, c], port)),
                dst: SocketAddr::from(([192, 0, 2, 1], 20_000)),
                transport: Transport::Udp,
                marks: IpMarks::UNKNOWN,
                payload,
            }
        });
        let batch: [Datagram<'_>; BATCH] = std::array::from_fn(|_| datagrams.next().unwrap());
        let begin = Instant::now();
        self.shard.handle(black_box(&batch[..streams.len()]), &mut self.out);
        let spent = begin.elapsed();
        self.out.clear();
        spent
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn one_call(shard: &mut Shard, number: u64, out: &mut Outbox) -> Duration {
    // Calls last 10 ms of the shard's time; finished ones linger and go.
    let start = Timestamp::from_secs(1_700_000_000) + Duration::from_millis(10 * number);
    let tag = our_tag(shard, number, start, out);
    let messages = ["INVITE", "ACK", "BYE"].map(|method| request(method, number, &tag));
    let begin = Instant::now();
    for (index, message) in messages.iter().enumerate() {
        let datagram = Datagram {
            received_at: start + Duration::from_millis(index as u64 * 3),
            src: SocketAddr::from(([192, 0, 2, 7], 5060)),
            dst: SocketAddr::from(([192, 0, 2, 1], 5060)),
            transport: Transport::Udp,
            marks: IpMarks::UNKNOWN,
            payload: message.as_bytes(),
        };
        shard.handle(black_box(&[datagram]), out);
        shard.poll(datagram.received_at, out);
        out.clear();
    }
    begin.elapsed()
}

/// The tag that the shard will give this call: it is the same for every request with its
/// Call-ID, so a request of no dialog, answered with 481, tells it.
fn our_tag(shard: &mut Shard, number: u64, received_at: Timestamp, out: &mut Outbox) -> String {
    let probe = request("BYE", number, "");
    let datagram = Datagram {
        received_at,
        src: SocketAddr::from(([192, 0, 2, 7], 5060)),
        dst: SocketAddr::from(([192, 0, 2, 1], 5060)),
        transport: Transport::Udp,
        marks: IpMarks::UNKNOWN,
        payload: probe.as_bytes(),
    };
    shard.handle(&[datagram], out);
    let response = String::from_utf8(out.transmits().next().unwrap().1.to_vec()).unwrap();
    out.clear();
    let to = response.lines().find(|line| line.starts_with("To:")).unwrap();
    format!(";tag={}", to.rsplit_once(";tag=").unwrap().1)
}

fn request(method: &str, number: u64, our_tag: &str) -> String {
    let to_tag = if method == "INVITE" { "" } else { our_tag };
    let cseq = if method == "BYE" { 2 } else { 1 };
    let body = if method == "INVITE" { SDP } else { "" };
    format!(
        "{method} sip:service@192.0.2.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK-{number}-{method}\r\n\
         From: sipp <sip:sipp@192.0.2.7:5060>;tag={number}\r\n\
         To: service <sip:service@192.0.2.1:5060>{to_tag}\r\n\
         Call-ID: {number}-4711@192.0.2.7\r\n\
         CSeq: {cseq} {method}\r\n\
         Contact: sip:sipp@192.0.2.7:5060\r\n\
         Max-Forwards: 70\r\n\
         Subject: Performance Test\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A shard as the runtime makes it.
fn shard() -> Shard {
    let config = ShardConfig { rtp_ports: vec![20_000, 20_002], ..ShardConfig::default() };
    let mut shard = Shard::new(config);
    host::prefer_huge_pages(shard.stream_memory());
    shard
}

const SDP: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 192.0.2.7\r\ns=-\r\n\
    c=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

const BATCH: usize = 64;

/// 20 ms of G.711 with its header.
const PACKET: usize = 172;

const MESSAGES_PER_CALL: u64 = 3;
