//! The traps that a stream lays for who measures it, each with its packets drawn: none of them is
//! loss or jitter that is not there. Time goes to the right; a letter is a packet of 20 ms.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;
#[path = "common/tap.rs"]
mod tap;
#[path = "common/track.rs"]
mod track;

use core::time::Duration;
use std::sync::Arc;

use common::{ms, secs};
use tap::{Seen, Talk, Tap, sdp};
use track::{PTIME, Track};
use voxplane::{
    control::{
        Calls,
        record::{CallRecord, StreamRecord},
    },
    shard::{Outbox, Role, Shard, ShardConfig},
    wire::IpMarks,
};

/// What either side takes.
const FORMATS: [&str; 8] = [
    "0 PCMU/8000",
    "8 PCMA/8000",
    "9 G722/8000",
    "13 CN/8000",
    "96 opus/48000/2",
    "97 speex/16000",
    "101 telephone-event/8000",
    "102 telephone-event/48000",
];

fn talk() -> Talk {
    let mut talk = Talk::new("trap");
    talk.offer = sdp(talk.caller_media, &FORMATS);
    talk.answer = sdp(talk.callee_media, &FORMATS);
    talk
}

/// The caller, who begins to speak when the call is up.
fn caller() -> Track {
    let talk = talk();
    Track::new(talk.caller_media, talk.callee_media, talk.ssrc, ms(600))
}

/// A call of 100 s in which tracks pass.
fn seen(tracks: &[&Track]) -> Seen {
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk());
    for (at, flight) in tracks.iter().flat_map(|track| &track.packets) {
        tap.see(*at, flight.clone());
    }
    tap.hang_up(secs(100), &talk());
    let seen = tap.run();
    seen.assert_no_orphans();
    seen
}

fn call(track: &Track) -> Arc<CallRecord> {
    seen(&[track]).only_call()
}

/// The one stream of a track.
fn measured(track: &Track) -> StreamRecord {
    let streams: Vec<_> = call(track).streams.records().collect();
    let [stream] = &streams[..] else { panic!("one stream: {streams:#?}") };
    stream.clone()
}

/// Fails unless a stream has all packets, on time and in order.
#[track_caller]
fn assert_clean(stream: &StreamRecord, packets: u32) {
    assert_eq!(stream.packets_received, Some(packets.into()), "{stream:#?}");
    assert_eq!(stream.packets_lost, Some(0), "{stream:#?}");
    assert_unjittered(stream);
    assert_eq!((stream.packets_duplicate, stream.packets_out_of_order), (Some(0), Some(0)));
    assert_eq!(stream.bursts.loss_runs.pairs().count(), 0);
}

/// Fails if a stream has jitter, or a packet too late to be played.
#[track_caller]
fn assert_unjittered(stream: &StreamRecord) {
    assert!(stream.jitter_max_ms.is_some_and(|jitter| jitter < 0.1), "{stream:#?}");
    assert_eq!(stream.packets_discarded, Some(0), "{stream:#?}");
}

#[track_caller]
fn assert_whole(track: &Track) -> StreamRecord {
    let stream = measured(track);
    assert_clean(&stream, track.count());
    stream
}

/// ```text
/// sequence   1 2 3 4 5 6 7 8 9 ...
/// packet     s s E e e e e s s ...   E: marker; the last event packet comes three times
/// time       1 2 3 3 3 3 3 6 7 ...   one time stamp for all of an event (RFC 4733 section 2.5)
/// ```
#[test]
fn telephone_event() {
    let track = caller().speak(100).event(101, 12).speak(100).event(101, 3).event(101, 3).speak(50);
    let stream = assert_whole(&track);
    assert_eq!((stream.codec, stream.ptime_ms), (Some("PCMU"), Some(20.0)));
}

/// ```text
/// s s E e - e e e s s    one packet of the event is lost, and counted
/// ```
#[test]
fn loss_within_a_telephone_event() {
    let before = caller().speak(100).event(101, 12);
    let mut track = before.clone().speak(100);
    let lost = usize::try_from(before.count()).unwrap() - 5;
    let mut packets = track.packets.clone();
    packets.remove(lost);
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk());
    packets.into_iter().for_each(|(at, flight)| tap.see(at, flight));
    tap.hang_up(secs(100), &talk());
    let call = tap.run().only_call();
    let stream = call.streams.records().next().unwrap();
    assert_eq!((stream.packets_lost, stream.packets_received), (Some(1), Some(213)));
    assert_unjittered(&stream);
    // The same with an event in the clock of another codec.
    track = caller().format(96, 48, 20_000).speak(100).event(102, 12).speak(100);
    assert_whole(&track);
}

/// ```text
/// s s s N . . . . N . . . S s s    N: comfort noise, when the noise changes; S: marker
/// ```
#[test]
fn comfort_noise() {
    let quiet = |track: Track| {
        (0..6).fold(track, |track, _| track.noise().pause(ms(370))).mark().speak(100)
    };
    let stream = assert_whole(&quiet(quiet(caller().speak(100))));
    assert_eq!(stream.ptime_ms, Some(20.0));
    assert!(stream.max_delta_ms.unwrap() <= 20.1, "silence is no time between packets");
}

/// ```text
/// sequence   1 2 3 . . . . 4 5 6
/// time       1 2 3 . . . . 8 9 10   nothing is sent in silence, with the marker behind it or
/// packet     s s s . . . . S s s    without
/// ```
#[test]
fn discontinuous_transmission() {
    for is_marked in [true, false] {
        let mut track = caller().speak(100);
        for silence in [60, 500, 1900, 2100, 9000, 20_000] {
            track = track.pause(ms(silence));
            track = if is_marked { track.mark() } else { track }.speak(60);
        }
        assert_whole(&track);
    }
}

/// ```text
/// time     1 2 3 . . . . 4 5 6    the clock stands still through the silence, or is set anew
/// packet   s s s . . . . S s s    S: marker
/// ```
#[test]
fn talkspurt_marker() {
    for jump in [0, 160_000, -160_000, i32::MAX] {
        let mut track = caller().speak(100);
        for silence in [100, 700, 3000] {
            track = track.stand_still(ms(silence)).jump_time(jump).mark().speak(60);
        }
        assert_whole(&track);
    }
}

/// ```text
/// sequence   1 2 3  4  5  6
/// time       1 2 3 53 54 55    or back; the packets come every 20 ms, none has the marker
/// packet     s s s  s  s  s
/// ```
#[test]
fn timestamp_jump_without_marker() {
    for jump_ms in [150, 500, 1000, 1990, 2500, 60_000, -150, -500, -1500, -60_000] {
        let track = caller().speak(100).jump_time(jump_ms * 8).speak(100);
        assert_whole(&track.jump_time(-jump_ms * 8).speak(100));
    }
}

/// ```text
/// packet   p p p o o o x x x p p p    p: PCMU at 8000 Hz, o: Opus at 48000, x: Speex at 16000
/// time     by 160, 960 and 320, from anywhere
/// ```
#[test]
fn clock_change_within_an_ssrc() {
    for jump in [0, 77_777] {
        let track = caller().speak(100);
        let track = track.format(96, 48, 20_000).jump_time(jump).speak(100);
        let track = track.format(97, 16, 20_000).jump_time(jump).speak(100);
        let stream = assert_whole(&track);
        assert_eq!((stream.codec, stream.clock_rate), (Some("speex"), Some(16_000)));
        let stream = assert_whole(&track.format(0, 8, 20_000).jump_time(jump).speak(100));
        assert_eq!((stream.codec, stream.ptime_ms), (Some("PCMU"), Some(20.0)));
    }
}

/// ```text
/// packet   u u u a a a u a    u: PCMU, a: PCMA; sequence and time go on
/// ```
#[test]
fn payload_type_change() {
    let track = caller().speak(100).format(8, 8, 20_000).speak(100);
    assert_eq!(assert_whole(&track).codec, Some("PCMA"));
    let track = track.format(0, 8, 20_000).speak(1).format(8, 8, 20_000).speak(1);
    assert_eq!(assert_whole(&track.format(0, 8, 20_000).speak(50)).codec, Some("PCMU"));
}

/// ```text
/// packet   g g g g    20 ms of 16 kHz speech: the time stamp goes by 160 (RFC 3551 section 4.5.2)
/// ```
#[test]
fn g722_has_a_clock_of_8000() {
    let stream = assert_whole(&caller().format(9, 8, 20_000).speak(300));
    assert_eq!((stream.codec, stream.clock_rate), (Some("G722"), Some(8000)));
    assert_eq!(stream.ptime_ms, Some(20.0));
}

/// ```text
/// packet    o  o    o  o        o o    frames of 2.5 to 120 ms, one after the other
/// ticks   960  960 2880 960 5760 120   of 48000 Hz, whatever the bandwidth (RFC 7587 section 4)
/// ```
#[test]
fn opus_with_varying_frame_length() {
    let mut track = caller().format(96, 48, 20_000).speak(60);
    for ptime_us in [60_000, 20_000, 120_000, 2500, 5000, 40_000, 10_000, 80_000, 100_000] {
        track = track.format(96, 48, ptime_us).speak(40).format(96, 48, 20_000).speak(3);
    }
    let stream = assert_whole(&track);
    assert_eq!((stream.codec, stream.clock_rate), (Some("opus"), Some(48_000)));
}

/// ```text
/// packet   s   s   s   -   s    no `ptime` in the description tells the truth; a lost packet does
/// time     1   4   7       13   not make the interval longer, a silence neither
/// ```
#[test]
fn ptime_is_inferred() {
    for ptime_ms in [5, 10, 20, 30, 40, 60] {
        let track = caller().format(0, 8, ptime_ms * 1000).speak(50).lose(1).speak(50);
        let stream = measured(&track.pause(ms(900)).mark().speak(50));
        assert_eq!(stream.ptime_ms, Some(ptime_ms.into()));
        assert_eq!(stream.packets_lost, Some(1));
        assert_unjittered(&stream);
    }
}

/// ```text
/// sequence   65533 65534   -   0   -   -   3 4    three lost around the wrap
/// ```
#[test]
fn wrap_with_loss_around_it() {
    let at_wrap = |track: Track| track.jump_sequence(65_435).speak(100);
    let track = at_wrap(caller()).lose(1).speak(1).lose(2).speak(300);
    let stream = measured(&track);
    assert_eq!((stream.packets_lost, stream.packets_received), (Some(3), Some(401)));
    assert_eq!(stream.bursts.loss_runs.pairs().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    assert_eq!((stream.bursts.bursts, stream.bursts.longest_burst_packets), (Some(1), Some(4)));
    assert_eq!(stream.bursts.burst_duration_ms, Some(80.0));
    let before = common::START + ms(600) + PTIME * 99;
    let off = before.nanos_from(stream.bursts.longest_burst_time.unwrap());
    assert!((0..17_000_000).contains(&off), "{off} ns: by a clock of 17 ms");
    assert_unjittered(&stream);
    // Right at the wrap, and three times around in all.
    let track = at_wrap(caller()).lose(5).speak(70_000);
    let stream = measured_until(&track, secs(1600));
    assert_eq!((stream.packets_lost, stream.packets_received), (Some(5), Some(70_100)));
}

/// The stream of a track in a call of some length.
fn measured_until(track: &Track, hang_up: Duration) -> StreamRecord {
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk());
    track.packets.iter().for_each(|(at, flight)| tap.see(*at, flight.clone()));
    tap.hang_up(hang_up, &talk());
    tap.run().only_call().streams.records().next().unwrap()
}

/// ```text
/// sequence   101 102 103 | 40000 40001    the sender starts again, from the same source: with its
/// time       1   2   3   |  9999 10000    time stamps, or with these anew, too
/// ```
#[test]
fn sequence_restart() {
    for (to, jump) in [(40_000, 0), (40_000, 0x0EAD_BEEF), (50_000, -0x0EAD_BEEF), (10, 5)] {
        let track = caller().jump_sequence(20_000).speak(200);
        assert_whole(&track.stand_still(ms(40)).jump_sequence(to).jump_time(jump).speak(200));
    }
}

/// ```text
/// source   A A A A | B B B B    B has numbers and time stamps of its own
/// ```
#[test]
fn ssrc_change() {
    let track = caller().speak(100).with_ssrc(0x5555).jump_sequence(7).jump_time(-9_999).speak(100);
    let call = call(&track);
    for stream in call.streams.records() {
        assert_clean(&stream, 100);
    }
    assert_eq!(call.streams.records().count(), 2);
    assert_eq!((call.figures.packets_received, call.figures.packets_lost), (Some(200), Some(0)));
}

/// ```text
/// caller   s s s s s s      both have the same SSRC: what is one source to a mixer is two streams
/// callee    t t t t t t     here, by their addresses
/// ```
#[test]
fn ssrc_collision() {
    let one = caller().speak(200);
    let other =
        Track { at: ms(607), sequence: 9, time: 5, ..callee() }.with_ssrc(one.ssrc).speak(200);
    let call = seen(&[&one, &other]).only_call();
    assert_eq!(call.streams.records().count(), 2);
    call.streams.records().for_each(|stream| assert_clean(&stream, 200));
}

fn callee() -> Track {
    let talk = talk();
    Track::new(talk.callee_media, talk.caller_media, talk.ssrc_back(), ms(600))
}

/// ```text
/// s s s s s s s s s    from one address and SSRC; t is another sender's, of a relay that mixes
///   t   t   t   t      them up: the first one is measured, and loses nothing
/// ```
#[test]
fn ssrc_collision_behind_one_address() {
    let one = caller().speak(400);
    let mut other = Track { at: ms(1007), ..caller() }.jump_sequence(30_000).jump_time(1 << 20);
    for _ in 0..100 {
        other = other.speak(1).pause(PTIME);
    }
    let call = seen(&[&one, &other]).only_call();
    let streams: Vec<_> = call.streams.records().collect();
    assert_eq!(streams.len(), 1);
    assert_clean(&streams[0], 400);
}

/// ```text
/// A               B
/// |= s s s s ====>|
/// | INVITE 2, 200 |  the same description again, or another codec, or another port
/// |= s s s s ====>|  the stream goes on
/// ```
#[test]
fn reinvite_in_mid_stream() {
    for change in ["nothing", "codec", "port"] {
        let talk = talk();
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        let before = caller().speak(150);
        let (mut next, mut track) = (talk.clone(), before.clone());
        match change {
            "codec" => {
                next.answer = sdp(talk.callee_media, &["8 PCMA/8000"]);
                track = track.format(8, 8, 20_000);
            }
            "port" => {
                next.callee_media.set_port(6600);
                next.answer = sdp(next.callee_media, &FORMATS);
                track.dst = next.callee_media;
            }
            _ => {}
        }
        tap.see(before.at - ms(50), talk.forth("INVITE", 2, &next.offer));
        tap.see(before.at - ms(30), talk.reply(200, "INVITE", 2, &next.answer));
        tap.see(before.at - ms(10), talk.forth("ACK", 2, ""));
        let track = track.speak(150);
        track.packets.iter().for_each(|(at, flight)| tap.see(*at, flight.clone()));
        tap.hang_up(secs(20), &talk);
        let seen = tap.run();
        seen.assert_no_orphans();
        let call = seen.only_call();
        assert_eq!(call.figures.packets_received, Some(300), "{change}");
        assert_eq!(call.figures.packets_lost, Some(0), "{change}");
        call.streams.records().for_each(|stream| assert_unjittered(&stream));
        assert_eq!(call.streams.records().count(), if change == "port" { 2 } else { 1 });
    }
}

/// ```text
/// A               B
/// | call 1 ... BYE|
/// |= s s s =======|  the last packets of call 1 pass after its BYE
/// | call 2        |  300 ms later, on the same ports and from the same source
/// |= s s s s ====>|  with the sequence of call 1, or a new one
/// ```
#[test]
fn port_reuse_by_a_new_call() {
    for to in [None, Some(10)] {
        let (one, two) = (talk(), Talk { call_id: "next".into(), ..talk() });
        let mut tap = Tap::default();
        tap.set_up(secs(0), &one);
        tap.hang_up(secs(4), &one);
        tap.set_up(ms(4300), &two);
        tap.hang_up(secs(10), &two);
        let mut track = caller().speak(173);
        assert!(track.at > secs(4));
        track.at = ms(4900);
        track = match to {
            Some(to) => track.jump_sequence(to),
            None => track,
        }
        .speak(200);
        track.packets.iter().for_each(|(at, flight)| tap.see(*at, flight.clone()));
        let seen = tap.run();
        seen.assert_no_orphans();
        for (call_id, count) in [("trap", 173), ("next", 200)] {
            let call = seen.call(call_id);
            assert_eq!(call.streams.records().count(), 1, "{call:#?}");
            assert_clean(&call.streams.records().next().unwrap(), count);
        }
    }
}

/// ```text
/// codepoint   46 46 46 46 0 0 0 46 46    a router on the way forgets it for a while
/// packet       s  s  E  e e s s  s  s    whatever the packet is
/// ```
#[test]
fn dscp_change() {
    let track = caller().speak(100).event(101, 5).speak(100);
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk());
    track.packets.iter().for_each(|(at, flight)| tap.see(*at, flight.clone()));
    tap.hang_up(secs(10), &talk());
    let mut passing = tap.passing().to_vec();
    passing.sort_by_key(|(at, _)| *at);
    let mut shard = Shard::new(ShardConfig { role: Role::Observe, ..ShardConfig::default() });
    let (mut out, mut calls, mut packets) = (Outbox::default(), Calls::new(common::START, 1), 0);
    for (at, flight) in &passing {
        let mut datagram = common::datagram(flight, common::START + *at);
        if flight.dst == talk().callee_media {
            let dscp = if (103..106).contains(&packets) { 0 } else { 46 };
            datagram.marks = IpMarks::new(dscp << 2, 57);
            packets += 1;
        }
        shard.handle(&[datagram], &mut out);
    }
    shard.finish(common::START + secs(11), &mut out);
    out.reports().iter().for_each(|report| calls.apply(report));
    let stream = calls.snapshot(common::START).history[0].streams.records().next().unwrap();
    let closeup = stream.closeup;
    assert_eq!((closeup.dscp, closeup.ttl), (Some(46), Some(57)));
    assert_eq!(closeup.dscp_changes, Some(2));
    assert_clean(&stream, track.count());
    // A source that does not tell is not taken for one that says 0.
    let unmarked = assert_whole(&track).closeup;
    assert_eq!((unmarked.dscp, unmarked.dscp_changes, unmarked.ttl), (None, None, None));
}
