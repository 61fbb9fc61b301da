//! What it costs to pass a report to control, and a SIP message to another shard.

use std::{hint::black_box, net::SocketAddr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voxplane::{
    limits::{HANDOFF_RING_BYTES, REPORT_RING_SLOTS},
    ring,
    shard::{health::ShardHealth, report::Report},
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport},
};

criterion_group!(benches, reports, handoff);
criterion_main!(benches);

fn reports(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    let (mut shard, mut control) = ring::shard_to_control(REPORT_RING_SLOTS);
    let batch = [Report::Health(ShardHealth::default()); 64];
    group.throughput(Throughput::Elements(64));
    group.bench_function("report", |bencher| {
        bencher.iter(|| {
            assert_eq!(shard.publish(black_box(&batch)), 0);
            control.drain(usize::MAX, |report| {
                black_box(report);
            })
        });
    });
}

fn handoff(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    let (mut sender, mut receiver) = ring::handoff(HANDOFF_RING_BYTES);
    let payload = [b'x'; 700];
    let datagram = Datagram {
        received_at: Timestamp::from_secs(1),
        src: SocketAddr::from(([192, 0, 2, 1], 5060)),
        dst: SocketAddr::from(([192, 0, 2, 2], 5060)),
        transport: Transport::Udp,
        marks: IpMarks::UNKNOWN,
        payload: &payload,
    };
    group.throughput(Throughput::Elements(1));
    group.bench_function("handoff of 700 bytes", |bencher| {
        bencher.iter(|| {
            assert!(sender.send(black_box(&datagram)));
            black_box(receiver.receive().is_some())
        });
    });
}
