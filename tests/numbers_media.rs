//! What test numbers send, packet by packet: when, with which numbers and time stamps, and that it
//! stops and goes on when it should. Time is virtual.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use core::time::Duration;
use std::net::SocketAddr;

use common::{Caller, START, Sent, World, addr, ms, offer, rtp, secs};
use voxplane::{
    shard::ShardConfig,
    time::Timestamp,
    wire::{
        rtcp::{RtcpCompound, RtcpPacket},
        rtp::RtpPacket,
        sdp::{Direction, SessionDescription},
    },
};

/// An RTP packet of the appliance.
#[derive(Clone, Debug)]
struct Packet {
    at: Timestamp,
    src: SocketAddr,
    dst: SocketAddr,
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload: Vec<u8>,
}

/// The RTP among what was sent.
fn packets(sent: &[Sent]) -> Vec<Packet> {
    let is_rtp = |sent: &&Sent| sent.src.port() == 20_000;
    let packet = |sent: &Sent| {
        let packet = RtpPacket::parse(&sent.bytes).unwrap();
        Packet {
            at: sent.at,
            src: sent.src,
            dst: sent.dst,
            marker: packet.marker(),
            payload_type: packet.payload_type().0,
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc().0,
            payload: packet.payload().to_vec(),
        }
    };
    sent.iter().filter(is_rtp).map(packet).collect()
}

fn caller(user: &'static str) -> Caller {
    Caller { user, ..Caller::new("198.51.100.1:5070", user) }
}

/// A call with this in its offer, up at [`START`]; and the answer's SDP.
fn call(user: &'static str, change: impl Fn(String) -> String) -> (World, Caller, String) {
    let (mut world, mut caller) = (World::new(ShardConfig::default()), caller(user));
    world.send(caller.addr, caller.us, caller.request("INVITE", 1, &change(caller.offer())));
    let answer = world.take().into_iter().find(|sent| sent.status() == 200).unwrap();
    caller.to_tag = answer.to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    let sdp = String::from_utf8(answer.message().body().to_vec()).unwrap();
    (world, caller, sdp)
}

fn direction(sdp: &str) -> Direction {
    SessionDescription::parse(sdp.as_bytes()).unwrap().media().next().unwrap().direction()
}

/// Packets follow each other without a gap, `ptime` apart, from one packet time after `start` on.
fn assert_steady(packets: &[Packet], start: Timestamp, ptime: Duration, ticks: u32) {
    let first = &packets[0];
    for (n, packet) in (0..).zip(packets) {
        assert_eq!(packet.at, start + ptime * (n + 1), "packet {n}");
        assert_eq!(packet.marker, n == 0, "packet {n}");
        assert_eq!(packet.sequence, first.sequence.wrapping_add((n & 0xFFFF) as u16));
        assert_eq!(packet.timestamp, first.timestamp.wrapping_add(n * ticks));
        assert_eq!((packet.ssrc, packet.payload_type), (first.ssrc, first.payload_type));
        assert_eq!((packet.src, packet.dst), (first.src, first.dst));
    }
}

#[test]
fn a_minute_is_exact_at_every_packet_time() {
    for (ptime, user) in [(10, "tone"), (20, "silence"), (30, "tone"), (40, "silence")] {
        let asked = format!("a=ptime:{ptime}");
        let (mut world, caller, sdp) = call(user, |offer| offer.replace("a=ptime:20", &asked));
        assert!(sdp.contains(&asked));
        world.run_for(secs(60));
        let packets = packets(&world.take());
        assert_eq!(packets.len() as u64, 60_000 / ptime);
        assert_steady(&packets, START, ms(ptime), u32::try_from(ptime * 8).unwrap());
        assert!(packets.iter().all(|packet| packet.payload.len() as u64 == ptime * 8));
        assert_eq!((packets[0].src, packets[0].dst), (addr("192.0.2.9:20000"), caller.media));
        assert_eq!(world.shard.health().rtp_sent, packets.len() as u64);
        assert_eq!(world.shard.health().rtp_skipped, 0);
    }
}

/// What is asked for is kept within bounds, and linear audio within a frame.
#[test]
fn packet_times_have_bounds() {
    for (format, asked, ptime, octets) in [
        ("0 PCMU/8000", "a=ptime:1", 5, 40),
        ("0 PCMU/8000", "a=ptime:500", 120, 960),
        ("0 PCMU/8000", "a=maxptime:10", 10, 80),
        ("0 PCMU/8000", "a=ptime:40\r\na=maxptime:30", 30, 240),
        ("0 PCMU/8000", "a=x-none", 20, 160),
        ("9 G722/8000", "a=ptime:20", 20, 160),
        ("96 L16/8000", "a=ptime:20", 20, 320),
        ("96 L16/48000", "a=ptime:20", 10, 960),
        ("11 L16/44100", "a=ptime:20", 10, 882),
    ] {
        let (payload_type, meaning) = format.split_once(' ').unwrap();
        let change = |offer: String| {
            offer
                .replace("RTP/AVP 0 ", &format!("RTP/AVP {payload_type} "))
                .replace("rtpmap:0 PCMU/8000", &format!("rtpmap:{payload_type} {meaning}"))
                .replace("a=ptime:20", asked)
        };
        let (mut world, _, _) = call("tone", change);
        world.run_for(secs(3));
        let packets = packets(&world.take());
        let clock: u64 = meaning.split('/').nth(1).unwrap().parse().unwrap();
        assert_steady(&packets, START, ms(ptime), u32::try_from(clock * ptime / 1000).unwrap());
        assert!(packets.iter().all(|packet| packet.payload.len() == octets), "{format} {asked}");
        assert_eq!(packets.len() as u64, 3000 / ptime);
        assert_eq!(packets[0].payload_type.to_string(), payload_type);
    }
}

#[test]
fn two_calls_begin_at_numbers_of_their_own() {
    let mut world = World::new(ShardConfig::default());
    let mut firsts = Vec::new();
    for (index, port) in [4000, 4002, 4004].into_iter().enumerate() {
        let mut caller = Caller { call_id: format!("call-{index}"), ..caller("tone") };
        caller.media.set_port(port);
        caller.set_up(&mut world);
        world.run_for(ms(20));
        let sent = packets(&world.take());
        firsts.push(sent.into_iter().find(|packet| packet.dst == caller.media).unwrap());
    }
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let (a, b) = (&firsts[a], &firsts[b]);
        assert!(a.ssrc != b.ssrc && a.sequence != b.sequence && a.timestamp != b.timestamp);
        assert_eq!(a.payload, b.payload);
    }
}

/// What is due together is sent in one turn, however the calls have come.
#[test]
fn calls_send_together_on_whole_milliseconds() {
    let mut world = World::new(ShardConfig::default());
    for index in 0..20 {
        let mut caller = Caller { call_id: format!("call-{index}"), ..caller("tone") };
        caller.media.set_port(4000 + 2 * index);
        caller.set_up(&mut world);
        world.run_for(Duration::from_micros(37));
    }
    world.run_for(secs(1));
    let sent = packets(&world.take());
    let start = sent[0].at;
    assert!(sent.iter().all(|packet| packet.at.since(start).as_nanos() % 1_000_000 == 0));
    assert_eq!(sent.iter().filter(|packet| packet.at == start + ms(40)).count(), 1);
    assert_eq!(sent.iter().filter(|packet| packet.at == start + ms(41)).count(), 19);
}

/// Sender reports count what was sent until then, and put its time stamps in time.
#[test]
fn sender_reports_count_what_was_sent() {
    let (mut world, caller, _) = call("tone", |offer| offer.replace("ptime:20", "ptime:30"));
    world.run_for(secs(60));
    world.send(caller.addr, caller.us, caller.request("BYE", 2, ""));
    let sent = world.take();
    let packets = packets(&sent);
    let mut reports = 0;
    for report in sent.iter().filter(|sent| sent.src.port() == 20_001) {
        for packet in RtcpCompound::parse(&report.bytes).unwrap().packets() {
            let RtcpPacket::SenderReport(said) = packet else { continue };
            reports += 1;
            let before: Vec<_> = packets.iter().filter(|packet| packet.at <= report.at).collect();
            let octets: usize = before.iter().map(|packet| packet.payload.len()).sum();
            assert_eq!(said.packet_count() as usize, before.len());
            assert_eq!(said.octet_count() as usize, octets);
            assert_eq!((said.ssrc().0, said.ntp()), (packets[0].ssrc, report.at.to_ntp()));
            let since = report.at.since(packets[0].at).as_nanos() * 8 / 1_000_000;
            let expected = packets[0].timestamp.wrapping_add(u32::try_from(since).unwrap());
            assert!(said.rtp_timestamp().wrapping_sub(expected).cast_signed().abs() <= 1);
        }
    }
    assert!(reports >= 8, "{reports} reports");
}

/// ```text
/// F               V
/// | INVITE        |  sendonly, inactive, or to 0.0.0.0
/// |-------------->|
/// |            200|  recvonly or inactive, and no more media
/// |<--------------|
/// | INVITE        |  sendrecv, 2.005 s later
/// |-------------->|
/// ```
#[test]
fn a_call_on_hold_hears_nothing_and_then_goes_on() {
    for held in ["sendonly", "inactive", "0.0.0.0"] {
        let (mut world, caller, _) = call("tone", |offer| offer);
        world.run_for(secs(1));
        let before = packets(&world.take());
        let hold = match held {
            "0.0.0.0" => caller.offer().replace("IP4 198.51.100.1", "IP4 0.0.0.0"),
            direction => offer(caller.media, direction),
        };
        world.send(caller.addr, caller.us, caller.request("INVITE", 2, &hold));
        world.send(caller.addr, caller.us, caller.request("ACK", 2, ""));
        let answer = world.take().into_iter().find(|sent| sent.src.port() == 5060).unwrap();
        let sdp = String::from_utf8(answer.message().body().to_vec()).unwrap();
        assert!(matches!(direction(&sdp), Direction::RecvOnly | Direction::Inactive), "{sdp}");
        world.run_for(Duration::from_micros(2_004_600));
        assert!(packets(&world.take()).is_empty(), "{held}");
        world.send(caller.addr, caller.us, caller.request("INVITE", 3, &caller.offer()));
        world.send(caller.addr, caller.us, caller.request("ACK", 3, ""));
        world.run_for(secs(1));
        let after = packets(&world.take());
        // From the next whole millisecond on.
        assert_steady(&after, START + ms(3005), ms(20), 160);
        let (last, next) = (before.last().unwrap(), &after[0]);
        assert_eq!((next.ssrc, next.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
        let elapsed = next.at.since(last.at).as_millis() * 8;
        assert_eq!(u128::from(next.timestamp.wrapping_sub(last.timestamp)), elapsed);
    }
}

/// A hold that is taken back before the next packet is due is not to be heard.
#[test]
fn a_hold_of_a_moment_leaves_the_stream_as_it_is() {
    let (mut world, caller, _) = call("tone", |offer| offer);
    world.run_for(Duration::from_micros(1_000_100));
    for (cseq, direction) in [(2, "sendonly"), (3, "sendrecv")] {
        let body = offer(caller.media, direction);
        world.send(caller.addr, caller.us, caller.request("INVITE", cseq, &body));
        world.send(caller.addr, caller.us, caller.request("ACK", cseq, ""));
    }
    world.run_for(secs(1));
    assert_steady(&packets(&world.take()), START, ms(20), 160);
}

#[test]
fn a_new_offer_changes_codec_packet_time_and_address() {
    let (mut world, caller, _) = call("tone", |offer| offer);
    world.run_for(Duration::from_micros(1_003_500));
    let before = packets(&world.take());
    let elsewhere = addr("198.51.100.7:6000");
    let body =
        offer(elsewhere, "sendrecv").replace("AVP 0 ", "AVP 8 ").replace("ptime:20", "ptime:30");
    let body = body.replace("rtpmap:0 PCMU", "rtpmap:8 PCMA");
    world.send(caller.addr, caller.us, caller.request("INVITE", 2, &body));
    world.send(caller.addr, caller.us, caller.request("ACK", 2, ""));
    world.run_for(secs(1));
    let after = packets(&world.take());
    assert_steady(&after, START + ms(1004), ms(30), 240);
    assert_eq!((after[0].payload_type, after[0].dst), (8, elsewhere));
    assert_eq!(after[0].sequence, before.last().unwrap().sequence.wrapping_add(1));
}

#[test]
fn nothing_is_sent_after_the_call() {
    let (mut world, caller, _) = call("tone", |offer| offer);
    world.run_for(secs(1));
    world.take();
    world.send(caller.addr, caller.us, caller.request("BYE", 2, ""));
    world.run_for(secs(60));
    assert!(packets(&world.take()).is_empty());
    world.run_for(ms(100));
    let call = world.finished("tone");
    assert_eq!(call.packets_sent, 50);
}

/// One who only receives hears it; one who only sends does not.
#[test]
fn the_direction_of_the_offer_counts() {
    for (asked, answered, count) in [
        ("sendrecv", Direction::SendRecv, 50),
        ("recvonly", Direction::SendOnly, 50),
        ("sendonly", Direction::RecvOnly, 0),
        ("inactive", Direction::Inactive, 0),
    ] {
        let change = |offer: String| offer.replace("a=sendrecv", &format!("a={asked}"));
        let (mut world, _, sdp) = call("tone", change);
        assert_eq!(direction(&sdp), answered);
        world.run_for(secs(1));
        assert_eq!(packets(&world.take()).len(), count, "{asked}");
    }
}

/// What cannot be encoded is not chosen, and where nothing else is offered the call only listens.
#[test]
fn a_codec_without_an_encoder_makes_the_call_a_sink() {
    let offered = |formats: &str, maps: &str| {
        let (formats, maps) = (format!("RTP/AVP {formats} 101"), format!("{maps}a=ptime:20"));
        move |offer: String| {
            offer
                .replace("RTP/AVP 0 101", &formats)
                .replace("a=rtpmap:0 PCMU/8000\r\n", "")
                .replace("a=ptime:20", &maps)
        }
    };
    let (mut world, _, sdp) = call("tone", offered("18 96 8", "a=rtpmap:96 opus/48000/2\r\n"));
    assert!(sdp.contains(" RTP/AVP 8 101\r\n") && direction(&sdp) == Direction::SendRecv, "{sdp}");
    world.run_for(secs(1));
    assert_eq!(packets(&world.take()).len(), 50);
    for (formats, maps) in [
        ("18", ""),
        ("96", "a=rtpmap:96 opus/48000/2\r\n"),
        ("96", "a=rtpmap:96 L16/44100/2\r\n"),
        ("96", "a=rtpmap:96 L16/11025\r\n"),
        // Two channels, by its number.
        ("10", ""),
    ] {
        for user in ["tone", "early"] {
            let (mut world, caller) = (World::new(ShardConfig::default()), caller(user));
            let body = offered(formats, maps)(caller.offer());
            world.send(caller.addr, caller.us, caller.request("INVITE", 1, &body));
            world.run_for(secs(4));
            let sent = world.take();
            let is_answer = |sent: &&Sent| sent.src.port() == 5060 && sent.status() == 200;
            let answer = sent.iter().find(is_answer).unwrap();
            assert!(answer.text().contains("a=recvonly\r\n"), "{formats} {maps}");
            assert!(packets(&sent).is_empty(), "{formats} {maps}");
        }
    }
    // An echo takes what comes.
    let (_, _, sdp) = call("echo", offered("18 8", ""));
    assert!(sdp.contains(" RTP/AVP 18 101\r\n") && direction(&sdp) == Direction::SendRecv);
}

/// From the 183 on, through the answer, without a break.
#[test]
fn early_media_goes_on_after_the_answer() {
    let (mut world, mut caller) = (World::new(ShardConfig::default()), caller("early"));
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(3));
    let mut sent = world.take();
    let is_answer = |sent: &&Sent| sent.src.port() == 5060 && sent.status() == 200;
    caller.to_tag = sent.iter().find(is_answer).unwrap().to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.run_for(secs(3));
    sent.extend(world.take());
    let packets = packets(&sent);
    assert_eq!(packets.len(), 300);
    assert_steady(&packets, START, ms(20), 160);
}

#[test]
fn early_media_ends_with_a_cancel() {
    let (mut world, caller) = (World::new(ShardConfig::default()), caller("early"));
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(1));
    assert_eq!(packets(&world.take()).len(), 50);
    world.send(caller.addr, caller.us, caller.request("CANCEL", 1, ""));
    world.run_for(secs(5));
    assert!(packets(&world.take()).is_empty());
}

/// An INVITE without an offer is made one, and answered with the ACK.
#[test]
fn media_begins_with_the_answer_in_an_ack() {
    let (mut world, mut caller) = (World::new(ShardConfig::default()), caller("tone"));
    world.send(caller.addr, caller.us, caller.request("INVITE", 1, ""));
    caller.to_tag = world.take().last().unwrap().to_tag();
    world.run_for(ms(300));
    assert!(packets(&world.take()).is_empty());
    world.send(caller.addr, caller.us, caller.request("ACK", 1, &caller.offer()));
    world.run_for(secs(1));
    assert_steady(&packets(&world.take()), START + ms(300), ms(20), 160);
}

/// Behind an address translator, once its media has come from where it really is.
#[test]
fn media_follows_what_has_latched() {
    let (mut world, caller, _) = call("tone", |offer| offer.replace("198.51.100.1", "10.0.0.1"));
    world.run_for(secs(1));
    let told = packets(&world.take());
    assert!(told.iter().all(|packet| packet.dst == addr("10.0.0.1:4000")));
    let real = addr("198.51.100.1:31000");
    world.send(real, addr("192.0.2.9:20000"), rtp(0, true, 1, 0, 7));
    world.run_for(secs(1));
    let sent = packets(&world.take());
    assert!(sent.len() == 50 && sent.iter().all(|packet| packet.dst == real));
    // Others cannot turn it to themselves.
    world.send(addr("203.0.113.66:4000"), addr("192.0.2.9:20000"), rtp(0, true, 1, 0, 8));
    world.run_for(secs(1));
    assert!(packets(&world.take()).iter().all(|packet| packet.dst == real));
    drop(caller);
}

/// A shard that comes late sends what is still of use at once, and leaves out what is not: time
/// stamps say so, and sequence numbers have no gap, since nothing is lost.
#[test]
fn what_is_late_is_sent_at_once_and_what_is_too_late_is_not_sent() {
    let (mut world, _, _) = call("tone", |offer| offer);
    world.run_for(secs(1));
    let before = packets(&world.take());
    world.now = world.now + ms(90);
    world.poll();
    let burst = packets(&world.take());
    assert_eq!(burst.len(), 4);
    assert!(burst.iter().all(|packet| packet.at == START + ms(1090) && !packet.marker));
    world.now = START + secs(11);
    world.poll();
    world.run_for(secs(1));
    let after = packets(&world.take());
    assert_eq!(after[0].at, START + secs(11));
    assert_eq!(after[1].at, START + ms(11_020));
    assert!(after[0].marker && !after[1].marker);
    let last = burst.last().unwrap();
    assert_eq!(after[0].sequence, last.sequence.wrapping_add(1));
    assert_eq!(after[0].timestamp, before[0].timestamp.wrapping_add(549 * 160));
    // Due from 1.1 s to 10.98 s.
    assert_eq!(world.shard.health().rtp_skipped, 495);
    assert_eq!(world.shard.health().rtp_sent, 50 + 4 + 51);
}
