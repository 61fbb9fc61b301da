//! Calls through a network that impairs them by a seed: what the appliance measures is what the
//! network did.

mod common;

use core::time::Duration;

use common::{
    Caller, Flight, START, World, addr, datagram, ms,
    network::{Path, Sim},
    offer,
    phone::{Phone, Plan, Planned, speech},
    rtp, secs,
};
use fastrand::Rng;
use voxplane::{
    control::record::{CallRecord, CallState, Direction, EndedBy, StreamRecord},
    quality::emodel::{Equipment, Inputs, Line, mos_from_r},
    shard::{Outbox, Shard, ShardConfig, report::Report},
};

fn caller(index: u32) -> Caller {
    let mut caller = Caller::new("198.51.100.1:5070", &format!("call-{index}"));
    let port = 10_000 + 2 * u16::try_from(index).expect("few");
    caller.addr.set_port(port);
    caller.media.set_port(port + 30_000);
    caller
}

fn ssrc(index: u32) -> u32 {
    0x5EED_0000 + index
}

/// Runs calls over one network.
fn run(seed: u64, sip: Path, media: Path, plans: Vec<(&'static str, Plan)>) -> Sim {
    let mut sim = Sim::new(seed, ShardConfig { seed, ..ShardConfig::default() });
    (sim.sip, sim.media) = (sip, media);
    for (index, (user, plan)) in (0..).zip(plans) {
        let caller = Caller { user, ..caller(index) };
        sim.add(Phone::new(caller, plan), ms(37) * index);
    }
    sim.run();
    sim
}

fn received(call: &CallRecord) -> Vec<StreamRecord> {
    call.streams.records().filter(|stream| stream.direction == Direction::Rx).collect()
}

/// The one stream received from a phone.
fn stream(sim: &mut Sim, index: u32) -> StreamRecord {
    let call = sim.world.finished(&format!("call-{index}"));
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Caller)));
    let streams = received(&call);
    assert_eq!(streams.len(), 1);
    streams[0].clone()
}

fn close(got: Option<f64>, expected: f64, within: f64) {
    let got = got.expect("a value");
    assert!((got - expected).abs() <= within, "{got} is not {expected} within {within}");
}

#[test]
fn the_history_tells_what_the_network_did() {
    let (mut lost, mut reordered, mut repeated, mut discarded) = (0, 0, 0, 0);
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let media = Path {
            delay: ms(rng.u64(1..120)),
            jitter: ms(rng.u64(0..60)),
            loss: rng.f64() * 0.2,
            duplicate: rng.f64() * 0.1,
            reorder: rng.f64() * 0.1,
            ..Path::default()
        };
        let sip = Path { loss: rng.f64() * 0.2, ..media };
        let plans = (0..6).map(|index: u32| {
            let count = rng.u32(1..800);
            let user = if index.is_multiple_of(2) { "echo" } else { "sink" };
            (user, Plan::new(speech(ssrc(index), rng.u16(..), count)))
        });
        let mut sim = run(seed, sip, media, plans.collect());
        assert_eq!(sim.world.snapshot().totals.answered, 6, "seed {seed}");
        for index in 0..6 {
            let truth = sim.truth(ssrc(index));
            if truth.received == 0 {
                continue;
            }
            let stream = stream(&mut sim, index);
            let context = format!("seed {seed}, call {index}: {stream:#?} {truth:?}");
            assert_eq!(stream.packets_received, Some(truth.received), "{context}");
            assert_eq!(stream.packets_expected, Some(truth.expected), "{context}");
            assert_eq!(stream.packets_lost, Some(truth.lost()), "{context}");
            assert_eq!(stream.packets_duplicate, Some(truth.duplicate), "{context}");
            assert_eq!(stream.packets_out_of_order, Some(truth.out_of_order), "{context}");
            assert_eq!(stream.packets_discarded, Some(truth.discarded), "{context}");
            if truth.received > 1 {
                close(stream.jitter_mean_ms, truth.jitter_mean_ms, 0.01);
            }
            lost += truth.lost();
            reordered += truth.out_of_order;
            repeated += truth.duplicate;
            discarded += truth.discarded;
        }
        assert!(sim.world.snapshot().orphans.is_empty(), "seed {seed}");
        assert_eq!(sim.world.shard.health().streams_active, 0, "every slot is free again");
    }
    assert!(lost > 1000 && reordered > 1000 && repeated > 1000 && discarded > 100);
}

/// Loss × jitter → MOS-LQ. The expected value is the E-model of the network's own figures.
#[test]
fn scores_are_those_of_the_e_model() {
    let line = Line::new(&Inputs::default());
    let mut before = f64::INFINITY;
    for (row, jitter) in [0, 20, 80, 120].into_iter().enumerate() {
        for (column, loss) in [0.0, 0.01, 0.03, 0.05, 0.1, 0.2].into_iter().enumerate() {
            let media = Path { delay: ms(30), jitter: ms(jitter), loss, ..Path::default() };
            let plan = Plan::new(speech(ssrc(0), 1, 3000));
            let seed = (row * 10 + column) as u64;
            let mut sim = run(seed, Path::default(), media, vec![("sink", plan)]);
            let (truth, stream) = (sim.truth(ssrc(0)), stream(&mut sim, 0));
            #[expect(clippy::cast_precision_loss, reason = "counts of packets")]
            let share = (truth.lost() + truth.discarded) as f64 / truth.expected as f64;
            let equipment = Equipment {
                ie: 0.0,
                bpl: 25.1,
                ppl_percent: share * 100.0,
                burst_r: truth.burst_ratio.clamp(1.0, 8.0),
            };
            let expected = mos_from_r(line.rate(None, equipment).r);
            close(stream.mos_lq, expected, 0.02);
            println!("jitter {jitter:3} ms, loss {:4.1} %: MOS {expected:.3}", loss * 100.0);
            if column == 0 && jitter <= 20 {
                close(stream.mos_lq, 4.41, 0.01);
            }
            let is_random = jitter > 60;
            assert!(column == 0 || is_random || expected < before, "more loss is never better");
            before = expected;
        }
    }
}

#[test]
fn round_trip_times_are_those_of_the_network() {
    for delay in [0, 7, 40, 150, 400] {
        let media = Path { delay: ms(delay), ..Path::default() };
        let plan = Plan {
            sends_rtcp: true,
            clock_ahead: secs(3600),
            ..Plan::new(speech(ssrc(0), 65_000, 2000))
        };
        let mut sim = run(delay, media, media, vec![("echo", plan)]);
        let call = sim.world.finished("call-0");
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let expected = 2.0 * delay as f64;
        close(call.latency_avg_ms, expected, 1.0);
        close(call.latency_max_ms, expected, 1.0);
        // The appliance's own reports give the same to the phone, whose clock is another.
        let phone = &sim.phones[0];
        let blocks = phone.blocks.iter().filter(|(_, block)| block.lsr() != 0);
        let mut measured = 0;
        for (at, block) in blocks {
            let clock = (*at + phone.plan.clock_ahead).to_ntp() >> 16;
            #[expect(clippy::cast_possible_truncation, reason = "the middle 32 bits")]
            let units = (clock as u32).wrapping_sub(block.lsr()).wrapping_sub(block.dlsr());
            close(Some(f64::from(units) / 65.536), expected, 1.0);
            assert!(phone.reported.iter().any(|&(_, middle)| middle == block.lsr()));
            assert_eq!((block.ssrc().0, block.cumulative_lost()), (ssrc(0), 0));
            measured += 1;
        }
        assert!(measured >= 4, "{measured} reports");
        assert_eq!(phone.echoes, 2000);
        assert_eq!(call.packets_sent, 2000);
        let sent = call.streams.records().find(|stream| stream.direction == Direction::Tx).unwrap();
        assert_eq!(sent.packets_lost, Some(0));
        close(sent.rtt_ms, expected, 1.0);
    }
}

/// What a stream's own oddities are counted as, on a network without any.
fn measured(packets: Vec<Planned>) -> (CallRecord, Vec<StreamRecord>) {
    let path = Path { delay: ms(10), ..Path::default() };
    let mut sim = run(1, path, path, vec![("sink", Plan::new(packets))]);
    let call = sim.world.finished("call-0");
    let streams = received(&call);
    ((*call).clone(), streams)
}

#[test]
fn a_wrap_of_the_sequence_is_no_loss() {
    let (call, streams) = measured(speech(1, 65_500, 70_000));
    assert_eq!(streams.len(), 1);
    assert_eq!(call.figures.packets_received, Some(70_000));
    assert_eq!(call.figures.packets_lost, Some(0));
    assert_eq!(call.jitter_max_ms, Some(0.0));
}

#[test]
fn a_new_ssrc_is_a_new_stream_of_the_call_and_no_loss() {
    let mut packets = speech(1, 100, 200);
    let more = speech(2, 40_000, 300).into_iter();
    packets.extend(more.map(|packet| Planned { after: packet.after + secs(4), ..packet }));
    let (call, streams) = measured(packets);
    assert_eq!(streams.len(), 2);
    assert_eq!(call.figures.packets_received, Some(500));
    assert_eq!(call.figures.packets_lost, Some(0));
}

#[test]
fn a_restart_of_sequence_and_time_stamp_is_no_loss_and_no_jitter() {
    let mut packets = speech(1, 100, 200);
    let more = speech(1, 40_000, 300).into_iter();
    packets.extend(more.map(|packet| Planned {
        after: packet.after + secs(4),
        timestamp: packet.timestamp.wrapping_add(0xDEAD_BEEF),
        marker: false,
        ..packet
    }));
    let (call, streams) = measured(packets);
    assert_eq!(streams.len(), 1);
    assert_eq!(call.figures.packets_received, Some(500));
    assert_eq!(call.figures.packets_lost, Some(0));
    assert_eq!(call.jitter_max_ms, Some(0.0));
}

/// RFC 4733 section 2.5: all packets of an event have the time stamp of its start; then speech
/// goes on.
#[test]
fn telephone_events_and_silence_are_no_loss_and_no_jitter() {
    let mut packets = speech(1, 100, 600);
    for packet in &mut packets[200..210] {
        (packet.payload_type, packet.timestamp) = (101, 200 * 160);
    }
    packets[200].marker = true;
    // 4 s of silence: time passes, sequence numbers do not.
    packets.drain(300..500);
    for (index, packet) in (400_u16..).zip(&mut packets[300..]) {
        packet.sequence = index;
    }
    packets[300].marker = true;
    let (call, streams) = measured(packets);
    assert_eq!(streams[0].codec, Some("PCMU"));
    assert_eq!(streams[0].ptime_ms, Some(20.0));
    assert_eq!(call.figures.packets_received, Some(400));
    assert_eq!(call.figures.packets_lost, Some(0));
    assert_eq!(call.jitter_max_ms, Some(0.0));
}

/// Radio links do so: nothing for a second, then all at once.
#[test]
fn a_stall_of_a_second_is_jitter() {
    let mut packets = speech(1, 100, 200);
    for packet in &mut packets[100..160] {
        packet.after = ms(20) * 160;
    }
    let (call, streams) = measured(packets);
    assert_eq!(call.figures.packets_lost, Some(0));
    // The first of them is 1.2 s late, of which A.8 takes in a sixteenth.
    close(call.jitter_max_ms, 75.0, 0.01);
    close(streams[0].max_delta_ms, 1220.0, 0.01);
}

/// A sender pauses for 1.5 s without a marker and its clock stands still meanwhile: from there on
/// every packet seems 1.5 s late. A listener loses half a second of it and then has moved its
/// buffer.
#[test]
fn a_pause_that_the_senders_clock_does_not_count_discards_half_a_second() {
    let mut packets = speech(1, 100, 1500);
    for packet in &mut packets[300..] {
        packet.after += ms(1500);
    }
    let (call, _) = measured(packets);
    assert_eq!(call.figures.packets_lost, Some(0));
    assert_eq!(call.figures.packets_discarded, Some(25));
}

/// Speech with 4 s of silence in it, in which the sender's clock runs on or stands still, and
/// what comes after it is later than it should be.
fn talkspurts(runs_on: bool, late: Duration) -> Vec<Planned> {
    let mut packets = speech(1, 100, 600);
    packets.drain(300..500);
    for (index, packet) in (400_u16..).zip(&mut packets[300..]) {
        packet.sequence = index;
        packet.after += late;
        packet.timestamp -= if runs_on { 0 } else { 200 * 160 };
    }
    packets[300].marker = true;
    packets
}

#[test]
fn a_talkspurt_that_comes_late_is_jitter_if_the_clock_runs_on() {
    let (call, _) = measured(talkspurts(true, ms(40)));
    close(call.jitter_max_ms, 2.5, 0.01);
    // The listener's buffer starts anew with it.
    assert_eq!(call.figures.packets_discarded, Some(0));
    for late in [0, 40] {
        let (call, streams) = measured(talkspurts(false, ms(late)));
        assert_eq!(call.jitter_max_ms, Some(0.0));
        assert_eq!(streams[0].ptime_ms, Some(20.0));
    }
}

#[test]
fn silence_is_no_time_between_packets() {
    let (_, streams) = measured(talkspurts(true, ms(5)));
    close(streams[0].max_delta_ms, 20.0, 0.01);
    // Nor with comfort noise all through it, twice a second.
    let mut packets = speech(1, 100, 600);
    packets.retain(|packet| {
        !(300..500).contains(&(packet.timestamp / 160)) || packet.timestamp % 4000 == 0
    });
    for (index, packet) in (100_u16..).zip(&mut packets) {
        packet.sequence = index;
        let is_noise = (300..500).contains(&(packet.timestamp / 160));
        packet.payload_type = if is_noise { 13 } else { 0 };
        packet.marker |= packet.timestamp == 500 * 160;
    }
    assert_eq!(packets.iter().filter(|packet| packet.payload_type == 13).count(), 8);
    let (call, streams) = measured(packets);
    close(streams[0].max_delta_ms, 20.0, 0.01);
    assert_eq!(call.jitter_max_ms, Some(0.0));
}

#[test]
fn a_port_used_again_at_once_belongs_to_the_next_call() {
    for same_ssrc in [false, true] {
        let mut world = World::new(ShardConfig::default());
        for call in 0..3 {
            let mut caller = caller(call);
            caller.media = addr("198.51.100.1:4000");
            let media = caller.set_up(&mut world);
            let ssrc = if same_ssrc { 7 } else { call };
            let first = u16::try_from(call).unwrap() * 1000;
            for sequence in 0..100 {
                let packet =
                    rtp(0, false, first + sequence, u32::from(first + sequence) * 160, ssrc);
                world.send(caller.media, media, packet);
                world.run_for(ms(20));
            }
            caller.hang_up(&mut world);
            world.run_for(ms(if same_ssrc { 250 } else { 1 }));
        }
        world.run_for(secs(1));
        for call in 0..3 {
            let record = world.finished(&format!("call-{call}"));
            assert_eq!(record.figures.packets_received, Some(100), "{call}, {same_ssrc}");
            assert_eq!(record.figures.packets_lost, Some(0));
        }
        assert!(world.snapshot().orphans.is_empty());
    }
}

#[test]
fn media_from_behind_address_translation_finds_its_call() {
    let mut plan = Plan { sends_rtcp: true, ..Plan::new(speech(ssrc(0), 1, 1000)) };
    plan.real_media = Some(addr("198.51.100.1:61234"));
    let mut sim = Sim::new(1, ShardConfig::default());
    (sim.media.delay, sim.sip.delay) = (ms(25), ms(25));
    let mut caller = caller(0);
    (caller.user, caller.media) = ("echo", addr("10.0.0.5:4000"));
    sim.add(Phone::new(caller, plan), secs(0));
    sim.run();
    assert_eq!(stream(&mut sim, 0).packets_received, Some(1000));
    assert_eq!(sim.phones[0].echoes, 1000, "and the echo goes back the same way");
    close(sim.world.finished("call-0").latency_avg_ms, 50.0, 1.0);
}

#[test]
fn media_from_behind_address_translation_finds_its_call_again_after_a_new_offer() {
    let mut world = World::new(ShardConfig::default());
    let mut caller = caller(0);
    let mut sequence = 0;
    let mut talk = |world: &mut World, from, to| {
        for _ in 0..50 {
            sequence += 1;
            world.send(addr(from), to, rtp(0, false, sequence, u32::from(sequence) * 160, 1));
            world.run_for(ms(20));
        }
    };
    caller.media = addr("10.0.0.5:4000");
    let media = caller.set_up(&mut world);
    talk(&mut world, "198.51.100.1:61000", media);
    caller.media = addr("10.0.0.5:4002");
    world.send(caller.addr, caller.us, caller.request("INVITE", 2, &caller.offer()));
    world.send(caller.addr, caller.us, caller.request("ACK", 2, ""));
    talk(&mut world, "198.51.100.1:61002", media);
    // The same offer once more, as session timers send it, changes nothing.
    world.send(caller.addr, caller.us, caller.request("INVITE", 3, &caller.offer()));
    world.send(caller.addr, caller.us, caller.request("ACK", 3, ""));
    talk(&mut world, "198.51.100.1:61002", media);
    world.send(caller.addr, caller.us, caller.request("BYE", 4, ""));
    world.run_for(secs(1));
    assert_eq!(world.finished("call-0").figures.packets_received, Some(150));
    assert!(world.snapshot().orphans.is_empty());
}

#[test]
fn address_translation_works_in_a_table_of_many_calls() {
    let mut world = World::new(ShardConfig::default());
    let mut first = caller(5000);
    first.set_up(&mut world);
    for index in 0..3000 {
        let mut other = caller(index);
        (other.addr, other.media) = (addr("203.0.113.1:5060"), addr("203.0.113.1:4000"));
        other.media.set_port(4000 + u16::try_from(index).unwrap() * 2);
        other.set_up(&mut world);
    }
    // Its place in the table, the first one, is free again when the next call comes.
    first.hang_up(&mut world);
    world.run_for(secs(40));
    let mut behind = caller(9000);
    behind.media = addr("10.0.0.5:4000");
    let media = behind.set_up(&mut world);
    for sequence in 0..50 {
        let packet = rtp(0, false, sequence, u32::from(sequence) * 160, 1);
        world.send(addr("198.51.100.1:61000"), media, packet);
    }
    behind.hang_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.finished("call-9000").figures.packets_received, Some(50));
}

#[test]
fn an_orphan_takes_two_packets_in_sequence() {
    let mut world = World::new(ShardConfig::default());
    let (stranger, us) = (addr("203.0.113.5:4000"), addr("192.0.2.9:20000"));
    let orphans = |world: &mut World| -> Vec<Option<u64>> {
        world.snapshot().orphans.iter().map(|stream| stream.packets_received).collect()
    };
    world.send(stranger, us, rtp(0, false, 10, 0, 1));
    world.run_for(secs(60));
    assert!(orphans(&mut world).is_empty(), "a stray packet is no stream");
    assert_eq!(world.shard.health().streams_active, 0);
    for sequence in [10, 20, 30] {
        world.send(stranger, us, rtp(0, false, sequence, 0, 2));
    }
    world.run_for(secs(60));
    assert!(orphans(&mut world).is_empty(), "nor are some that do not follow each other");
    for sequence in 10..12 {
        world.send(stranger, us, rtp(0, false, sequence, u32::from(sequence) * 160, 3));
    }
    world.run_for(secs(60));
    assert_eq!(orphans(&mut world), [Some(2)]);
    assert_eq!(world.shard.health().streams_active, 0, "its slot is free after the silence");
    assert!(world.take().is_empty(), "nobody is answered");
}

#[test]
fn what_is_lost_or_repeated_before_an_orphan_is_confirmed_is_counted() {
    let mut world = World::new(ShardConfig::default());
    let us = addr("192.0.2.9:20000");
    for (ssrc, sequences) in [(1, vec![1, 1, 2, 3]), (2, vec![400, 423, 424, 443])] {
        for sequence in sequences {
            let packet = rtp(18, false, sequence, u32::from(sequence) * 160, ssrc);
            world.send(addr("203.0.113.5:4000"), us, packet);
            world.run_for(ms(20));
        }
    }
    world.run_for(secs(60));
    let orphans = world.snapshot().orphans;
    let counts = |index: usize| {
        let StreamRecord { packets_received, packets_lost, packets_duplicate, .. } =
            *orphans[index];
        (packets_received.unwrap(), packets_lost.unwrap(), packets_duplicate.unwrap())
    };
    assert_eq!((counts(0), counts(1)), ((3, 0, 1), (4, 40, 0)));
}

/// Digits of which no session description tells; their time stamps stand still.
#[test]
fn events_that_nobody_announced_are_no_jitter() {
    let mut world = World::new(ShardConfig::default());
    let us = addr("192.0.2.9:20000");
    for index in 0..200_u16 {
        let (payload_type, time) = match index {
            100..112 => (101, 100),
            _ => (0, index),
        };
        let packet = rtp(payload_type, index == 100, index, u32::from(time) * 160, 1);
        world.send(addr("203.0.113.5:4000"), us, packet);
        world.run_for(ms(20));
    }
    world.run_for(secs(60));
    let [stream] = &world.snapshot().orphans[..] else { panic!("one stream") };
    assert_eq!((stream.codec, stream.ptime_ms), (Some("PCMU"), Some(20.0)));
    assert_eq!((stream.packets_received, stream.packets_lost), (Some(200), Some(0)));
    assert_eq!(stream.jitter_max_ms, Some(0.0));
}

#[test]
fn an_orphan_joins_its_call_when_the_signalling_comes() {
    let mut world = World::new(ShardConfig::default());
    let mut caller = caller(0);
    caller.user = "echo";
    let us = addr("192.0.2.9:20000");
    let mut sequence = 0;
    let mut talk = |world: &mut World, seconds: u16| {
        for _ in 0..seconds * 50 {
            world.send(caller.media, us, rtp(111, false, sequence, u32::from(sequence) * 960, 1));
            sequence += 1;
            world.run_for(ms(20));
        }
    };
    talk(&mut world, 10);
    assert_eq!(world.snapshot().orphans.len(), 1);
    assert_eq!(world.snapshot().orphans[0].codec, None);
    let opus = offer(caller.media, "sendrecv")
        .replace("RTP/AVP 0", "RTP/AVP 111")
        .replace("rtpmap:0 PCMU/8000", "rtpmap:111 opus/48000/2");
    world.send(caller.addr, caller.us, caller.request("INVITE", 1, &opus));
    caller.to_tag = world.take()[2].to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    talk(&mut world, 10);
    assert!(world.snapshot().orphans.is_empty());
    assert!(world.take().len() > 200, "it is echoed from then on");
    caller.hang_up(&mut world);
    world.run_for(secs(1));
    let call = world.finished("call-0");
    assert_eq!(call.codec, Some("opus"));
    let streams = received(&call);
    assert_eq!(streams[0].packets_received, Some(1000));
    assert_eq!(streams[0].clock_rate, Some(48_000));
}

#[test]
fn a_payload_type_means_what_the_last_offer_says() {
    let mut world = World::new(ShardConfig::default());
    let mut caller = caller(0);
    let offer = |name: &str| {
        let sdp = offer(addr("198.51.100.1:40000"), "sendrecv");
        sdp.replace("RTP/AVP 0", "RTP/AVP 96")
            .replace("rtpmap:0 PCMU", &format!("rtpmap:96 {name}"))
    };
    for (cseq, name) in [(1, "AMR"), (2, "iLBC")] {
        world.send(caller.addr, caller.us, caller.request("INVITE", cseq, &offer(name)));
        let answer = world.take().pop().unwrap();
        caller.to_tag = answer.to_tag();
        let media = answer.media_address();
        world.send(caller.addr, caller.us, caller.request("ACK", cseq, ""));
        for sequence in 0..60 {
            let sequence = u16::try_from(cseq * 60).unwrap() + sequence;
            let packet = rtp(96, false, sequence, u32::from(sequence) * 160, 1);
            world.send(caller.media, media, packet);
        }
    }
    world.send(caller.addr, caller.us, caller.request("BYE", 3, ""));
    world.run_for(secs(1));
    let call = world.finished("call-0");
    assert_eq!((call.codec, call.figures.packets_received), (Some("iLBC"), Some(120)));
}

#[test]
fn two_calls_with_one_media_address_are_told_apart_by_our_port() {
    let config = ShardConfig { rtp_ports: vec![20_000, 20_002], ..ShardConfig::default() };
    let mut world = World::new(config);
    let mut callers = [caller(0), caller(1)];
    let ours = callers.each_mut().map(|caller| {
        caller.media = addr("198.51.100.77:4000");
        caller.set_up(&mut world)
    });
    assert_ne!(ours[0], ours[1]);
    for sequence in 0..60 {
        for (index, us) in (0..).zip(ours) {
            if sequence < 50 || index == 1 {
                let packet = rtp(0, false, sequence, u32::from(sequence) * 160, index);
                world.send(callers[0].media, us, packet);
            }
        }
    }
    callers.iter().for_each(|caller| caller.hang_up(&mut world));
    world.run_for(secs(1));
    assert_eq!(world.finished("call-0").figures.packets_received, Some(50));
    assert_eq!(world.finished("call-1").figures.packets_received, Some(60));
}

#[test]
fn streams_beyond_those_a_call_remembers_are_not_kept_for_ever() {
    let mut world = World::new(ShardConfig::default());
    let mut caller = caller(0);
    let media = caller.set_up(&mut world);
    for ssrc in 0..50 {
        for sequence in 0..5 {
            world.send(
                caller.media,
                media,
                rtp(0, false, sequence, u32::from(sequence) * 160, ssrc),
            );
        }
        world.run_for(ms(100));
    }
    assert_eq!(world.shard.health().streams_active, 50);
    world.run_for(secs(60));
    assert!(world.shard.health().streams_active <= 4, "{}", world.shard.health().streams_active);
    caller.hang_up(&mut world);
    world.run_for(secs(60));
    assert_eq!(world.shard.health().streams_active, 0);
    assert_eq!(world.finished("call-0").figures.packets_received, Some(250));
}

/// The far end's sequence restarts, and so does the echo's: the report block's highest sequence
/// number is then below the first one sent.
#[test]
fn an_echo_whose_sequence_restarts_has_no_billions_of_packets_expected() {
    let mut packets = speech(1, 50_000, 400);
    let more = speech(1, 100, 400).into_iter();
    packets.extend(more.map(|packet| Planned { after: packet.after + secs(8), ..packet }));
    let plan = Plan { sends_rtcp: true, ..Plan::new(packets) };
    let path = Path { delay: ms(10), ..Path::default() };
    let mut sim = run(1, path, path, vec![("echo", plan)]);
    let call = sim.world.finished("call-0");
    let sent = call.streams.records().find(|stream| stream.direction == Direction::Tx).unwrap();
    assert!(sent.packets_expected.is_none_or(|expected| expected <= 800), "{sent:#?}");
}

/// A run with everything in it.
fn busy(seed: u64) -> Sim {
    let delay = Path { delay: ms(40), jitter: ms(50), ..Path::default() };
    let path = Path { loss: 0.1, duplicate: 0.1, reorder: 0.1, ..delay };
    let plans = (0..12).map(|index: u32| {
        let user = if index.is_multiple_of(3) { "echo" } else { "sink" };
        let speech = speech(ssrc(index), 65_400, 300 + 20 * index);
        (user, Plan { sends_rtcp: index.is_multiple_of(2), ..Plan::new(speech) })
    });
    run(seed, path, path, plans.collect())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_reports() {
    let (one, two, other) = (busy(7), busy(7), busy(8));
    assert!(one.sent == two.sent);
    let reports = |sim: &Sim| format!("{:?}", sim.world.reports);
    assert_eq!(reports(&one), reports(&two));
    assert!(one.sent != other.sent);
}

#[test]
fn how_datagrams_are_cut_into_batches_changes_nothing() {
    let log = busy(3).world.delivered;
    let replay = |batch_len: usize| {
        let mut shard = Shard::new(ShardConfig { seed: 3, ..ShardConfig::default() });
        let mut out = Outbox::default();
        let (mut reports, mut sent): (Vec<Report>, Vec<Vec<u8>>) = Default::default();
        for batch in log.chunks(batch_len) {
            let batch: Vec<_> =
                batch.iter().map(|(at, flight): &(_, Flight)| datagram(flight, *at)).collect();
            shard.handle(&batch, &mut out);
            reports.extend(out.reports());
            sent.extend(out.transmits().map(|(_, bytes)| bytes.to_vec()));
            out.clear();
        }
        shard.poll(START + secs(100), &mut out);
        reports.extend(out.reports());
        (format!("{reports:#?}"), sent, format!("{:?}", shard.health()))
    };
    let single = replay(1);
    assert!(single.1.len() > 500);
    for batch_len in [2, 7, 64, 65, 1000] {
        let batched = replay(batch_len);
        assert!(batched.1 == single.1, "what is sent, in batches of {batch_len}");
        assert!(batched.0 == single.0, "what is reported, in batches of {batch_len}");
        assert_eq!(batched.2, single.2);
    }
}
