//! What a shard takes from the allocator: nothing for a packet once it has warmed up, and a
//! bounded amount for a call.
#![expect(unsafe_code, reason = "only an allocator can count what is allocated")]

mod common;

use core::{cell::Cell, time::Duration};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::SocketAddr,
};

use arrayvec::ArrayVec;
use common::{Caller, START, World, addr, ms, rtp, secs};
use voxplane::{
    shard::{Outbox, Shard, ShardConfig},
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport},
};

/// The system's allocator, with what this thread took from it.
struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every request goes to the system's allocator unchanged; what is counted on the side is
// in constant thread-locals without destructors, which allocate nothing themselves.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        LIVE_BYTES.set(LIVE_BYTES.get().wrapping_add(layout.size()));
        // SAFETY: the caller keeps to the contract of `alloc`, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: `pointer` came from `alloc` above, hence from the system, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// One stream's next packet.
struct Talker {
    src: SocketAddr,
    dst: SocketAddr,
    packet: Vec<u8>,
}

impl Talker {
    fn next(&mut self, round: u32) {
        self.packet[2..4].copy_from_slice(&((round & 0xFFFF) as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&(round * 160).to_be_bytes());
    }
}

fn caller(index: u32) -> Caller {
    let mut caller = Caller::new("198.51.100.1:5070", &format!("{index}@198.51.100.1"));
    let port = 2000 + 2 * u16::try_from(index).expect("few");
    caller.addr.set_port(port + 1);
    caller.media.set_port(port);
    caller.user = if index.is_multiple_of(2) { "echo" } else { "sink" };
    caller
}

fn talkers(world: &mut World, count: u32) -> Vec<Talker> {
    let talker = |index| {
        let mut caller = caller(index);
        let dst = caller.set_up(world);
        Talker { src: caller.media, dst, packet: rtp(0, false, 0, 0, index) }
    };
    (0..count).map(talker).collect()
}

fn datagram(talker: &Talker, received_at: Timestamp) -> Datagram<'_> {
    let Talker { src, dst, packet } = talker;
    let (src, dst, transport, marks) = (*src, *dst, Transport::Udp, IpMarks::UNKNOWN);
    Datagram { received_at, src, dst, transport, marks, payload: packet }
}

/// One packet of each stream, in batches of 64, and what is due then.
fn round<T: core::borrow::Borrow<Talker>>(
    shard: &mut Shard,
    out: &mut Outbox,
    talkers: &[T],
    received_at: Timestamp,
) -> usize {
    let mut sent = 0;
    for batch in talkers.chunks(64) {
        let batch = batch.iter().map(|talker| datagram(talker.borrow(), received_at));
        let batch: ArrayVec<_, 64> = batch.collect();
        shard.handle(&batch, out);
        sent += out.transmits().len();
        out.clear();
        shard.poll(received_at, out);
        out.clear();
    }
    sent
}

/// Packets are lost one in 20 and in bursts, and each stream loses some, and ten in a row, before it
/// counts.
#[test]
fn loss_takes_nothing_from_the_allocator_once_a_stream_has_lost_as_many_in_a_row() {
    const STREAMS: u32 = 100;
    const WARM_UP: u32 = 1000;
    const ROUNDS: u32 = 3000;
    let mut world = World::new(ShardConfig::default());
    let mut talkers = talkers(&mut world, STREAMS);
    let mut out = Outbox::default();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut before = 0;
    for index in 0..WARM_UP + ROUNDS {
        if index == WARM_UP {
            before = TAKEN.get();
        }
        talkers.iter_mut().for_each(|talker| talker.next(index));
        // Bursts of 4 every 100 packets, for all streams at once, and any stream by itself.
        let burst = if index < WARM_UP { 10 } else { 4 };
        let at = START + ms(20) * index;
        if index == 0 || index % 100 >= burst {
            let part = rng.u32(..20);
            let heard = (0..).zip(&talkers).filter(|(talker, _)| talker % 20 != part);
            let heard: ArrayVec<&Talker, { STREAMS as usize }> =
                heard.map(|(_, talker)| talker).collect();
            round(&mut world.shard, &mut out, &heard, at);
        }
    }
    assert_eq!(TAKEN.get() - before, 0, "allocations for packets that are lost");
    assert_eq!(world.shard.health().streams_active, STREAMS);
}

#[test]
fn a_million_packets_take_nothing_from_the_allocator() {
    const STREAMS: u32 = 1000;
    const WARM_UP: u32 = 600;
    const ROUNDS: u32 = 1000;
    let mut world = World::new(ShardConfig::default());
    let mut talkers = talkers(&mut world, STREAMS);
    let mut out = Outbox::default();
    let (mut before, mut echoes) = (0, 0);
    for index in 0..WARM_UP + ROUNDS {
        if index == WARM_UP {
            (before, echoes) = (TAKEN.get(), 0);
        }
        talkers.iter_mut().for_each(|talker| talker.next(index));
        let at = START + ms(20) * index;
        echoes += round(&mut world.shard, &mut out, &talkers, at);
    }
    let taken = TAKEN.get() - before;
    assert_eq!(world.shard.health().rtp_packets, u64::from(STREAMS * (WARM_UP + ROUNDS)));
    assert_eq!(world.shard.health().streams_active, STREAMS);
    assert_eq!(echoes, (STREAMS * ROUNDS / 2) as usize);
    assert_eq!(taken, 0, "allocations for a million packets");
}

/// Calls that hear something, of three packet times, with silence from their side.
#[test]
fn what_is_sent_takes_nothing_from_the_allocator() {
    const CALLS: u32 = 300;
    let mut world = World::new(ShardConfig::default());
    for index in 0..CALLS {
        let user = if index.is_multiple_of(2) { "tone" } else { "silence" };
        let mut caller = Caller { user, ..caller(index) };
        let ptime = format!("ptime:{}", 10 + 10 * (index % 3));
        let offer = caller.offer().replace("ptime:20", &ptime);
        world.send(caller.addr, caller.us, caller.request("INVITE", 1, &offer));
        caller.to_tag = world
            .take()
            .iter()
            .find(|sent| sent.dst == caller.addr && sent.status() == 200)
            .expect("a 200")
            .to_tag();
        world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
        world.run_for(Duration::from_micros(777));
        world.take();
    }
    // What waits for an ACK no longer does, and each has reported once.
    world.run_for(secs(10));
    world.take();
    let (mut out, start) = (Outbox::default(), world.now);
    let (mut before, mut sent) = (0, 0);
    let from = world.shard.health().rtp_sent;
    for millis in 1..=20_000 {
        if millis == 10_001 {
            (before, sent) = (TAKEN.get(), world.shard.health().rtp_sent);
        }
        world.shard.poll(start + ms(millis), &mut out);
        out.clear();
    }
    let taken = TAKEN.get() - before;
    let now = world.shard.health().rtp_sent;
    // 100, 50 and 33 packets a second.
    let expected = u64::from(CALLS) / 3 * (2000 + 1000 + 667);
    assert!((now - from).abs_diff(expected) <= u64::from(CALLS), "{} {expected}", now - from);
    println!("{} packets, {taken} allocations", now - sent);
    assert_eq!(taken, 0, "allocations for what is sent");
}

/// Bytes that a shard of so many calls holds, each with a stream.
fn bytes_of(calls: u32) -> usize {
    let max = calls as usize;
    let config = ShardConfig { dialogs_max: max, streams_max: max, ..ShardConfig::default() };
    let before = LIVE_BYTES.get();
    let mut shard = Shard::new(config);
    let mut out = Outbox::default();
    for index in 0..calls {
        let mut caller = caller(index);
        let invite = caller.invite();
        send(&mut shard, &mut out, caller.addr, caller.us, invite.as_bytes());
        let sent: Vec<_> = out.transmits().map(|(_, bytes)| bytes.to_vec()).collect();
        let answer = String::from_utf8(sent[2].clone()).expect("text");
        let tag = answer.split("\r\nTo: ").nth(1).and_then(|to| to.split(";tag=").nth(1));
        caller.to_tag = tag.and_then(|tag| tag.lines().next()).map(str::to_owned);
        let ack = caller.request("ACK", 1, "");
        send(&mut shard, &mut out, caller.addr, caller.us, ack.as_bytes());
        let us = addr("192.0.2.9:20000");
        send(&mut shard, &mut out, caller.media, us, &rtp(0, false, 0, 0, index));
    }
    assert_eq!(shard.health().streams_active, calls);
    assert_eq!(shard.calls_up(), max);
    // A minute on: nothing is waited for, and timers are as many as they will be.
    for second in 0..60 {
        shard.poll(START + secs(second), &mut out);
        out.clear();
    }
    drop(out);
    // What another thread has taken may be given back in this one, so the count may be below zero.
    LIVE_BYTES.get().wrapping_sub(before)
}

fn send(shard: &mut Shard, out: &mut Outbox, src: SocketAddr, dst: SocketAddr, payload: &[u8]) {
    out.clear();
    let transport = Transport::Udp;
    let marks = IpMarks::UNKNOWN;
    shard.handle(&[Datagram { received_at: START, src, dst, transport, marks, payload }], out);
}

#[test]
fn a_call_with_its_stream_takes_a_bounded_amount() {
    // Powers of two, so that the indexes are as full in both.
    let bytes = (bytes_of(8192) - bytes_of(4096)) / 4096;
    println!("{bytes} bytes for each call that is up, with its stream");
    assert!(bytes <= 2560, "{bytes} bytes a call");
}
