//! Media of calls that an observing shard only sees: which stream belongs to which call, in which
//! direction and format, and that nothing is counted wrong. A calls, B is called.

mod common;
#[path = "common/tap.rs"]
mod tap;

use core::time::Duration;

use common::{Flight, addr, ms, offer, secs};
use fastrand::Rng;
use tap::{
    Harm, Speech, Talk, Tap, Truth, assert_whole, from_source, media_lines, one_stream, sdp, sum,
};
use voxplane::control::record::{CallState, Direction, EndedBy};

const NAT: &str = "192.0.2.77:31000";

/// A description without media: session lines for an address.
fn session(ip: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n")
}

/// ```text
/// A               B
/// | INVITE 96=opus|  what A wants to receive; 97 is AMR-WB to A
/// |-------------->|
/// | 200    97=opus|  what B wants to receive; 96 is AMR-WB to B
/// |<--------------|
/// |= RTP 97 =====>|
/// |<===== RTP 96 =|
/// ```
#[test]
fn a_payload_type_means_what_its_receiver_says() {
    let mut talk = Talk::new("asymmetric");
    talk.offer = sdp(talk.caller_media, &["96 opus/48000/2", "97 AMR-WB/16000"]);
    talk.answer = sdp(talk.callee_media, &["97 opus/48000/2", "96 AMR-WB/16000"]);
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.speech(ms(600), &talk.speech_forth(150).with_format(97, 960));
    tap.speech(ms(610), &talk.speech_back(150).with_format(96, 960));
    tap.hang_up(secs(5), &talk);
    let call = tap.run().only_call();
    for (ssrc, payload_type) in [(talk.ssrc, 97), (talk.ssrc_back(), 96)] {
        let stream = one_stream(&call, ssrc);
        assert_eq!(stream.payload_type, Some(payload_type));
        assert_eq!((stream.codec, stream.clock_rate), (Some("opus"), Some(48_000)), "{stream:#?}");
        assert_eq!(stream.ptime_ms, Some(20.0));
        assert!(stream.jitter_max_ms.unwrap() < 0.1);
        assert_whole(&call, ssrc, 150);
    }
}

/// ```text
/// A               B
/// | INVITE   8 0  |
/// |-------------->|
/// |        200 0 8|
/// |<--------------|
/// |= RTP 8 ======>|  A sends PCMA
/// |<====== RTP 0 =|  B sends PCMU
/// ```
#[test]
fn each_direction_has_the_codec_that_it_is_sent_in() {
    let mut talk = Talk::new("two-codecs");
    talk.offer = sdp(talk.caller_media, &["8 PCMA/8000", "0 PCMU/8000"]);
    talk.answer = sdp(talk.callee_media, &["0 PCMU/8000", "8 PCMA/8000"]);
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.speech(ms(600), &talk.speech_forth(150).with_format(8, 160));
    tap.speech(ms(610), &talk.speech_back(150).with_format(0, 160));
    tap.hang_up(secs(5), &talk);
    let call = tap.run().only_call();
    assert_eq!(one_stream(&call, talk.ssrc).codec, Some("PCMA"));
    assert_eq!(one_stream(&call, talk.ssrc_back()).codec, Some("PCMU"));
}

/// An answer that repeats a format without its rtpmap (some gateways do): the static types stay
/// known, and the dynamic one of the offer is the same number on both sides.
#[test]
fn a_dynamic_type_without_a_map_in_the_answer_is_that_of_the_offer() {
    let mut talk = Talk::new("no-map");
    talk.offer = sdp(talk.caller_media, &["96 opus/48000/2"]);
    talk.answer = format!("{}m=audio 6000 RTP/AVP 96\r\n", session("203.0.113.2"));
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.speech(ms(600), &talk.speech_forth(150).with_format(96, 960));
    tap.hang_up(secs(5), &talk);
    let call = tap.run().only_call();
    assert_eq!(one_stream(&call, talk.ssrc).codec, Some("opus"));
}

/// ```text
/// A               B
/// | INVITE        |
/// |-------------->|
/// |      183 (SDP)|  100 ms
/// |<--------------|
/// |<==== RTP =====|  the announcement, 3 s
/// |      200 (SDP)|  3.2 s
/// |<--------------|
/// |<==== RTP ====>|
/// ```
#[test]
fn early_media_is_part_of_the_call() {
    let talk = Talk::new("early");
    let mut tap = Tap::default();
    tap.see(ms(0), talk.invite());
    tap.see(ms(100), talk.reply(183, "INVITE", 1, &talk.answer));
    let early = talk.speech_back(150);
    tap.speech(ms(150), &early);
    tap.see(ms(3200), talk.reply(200, "INVITE", 1, &talk.answer));
    tap.see(ms(3220), talk.forth("ACK", 1, ""));
    tap.speech(ms(3150), &early.going_on(100));
    tap.speech(ms(3230), &talk.speech_forth(100));
    tap.hang_up(secs(6), &talk);
    let seen = tap.run_until(secs(3));
    seen.assert_no_orphans();
    assert_eq!(seen.only_call().state, CallState::Ringing);
    assert_eq!(from_source(&seen.only_call(), talk.ssrc_back()).len(), 1);
    let seen = tap.run();
    let call = seen.only_call();
    assert_whole(&call, talk.ssrc, 100);
    assert_whole(&call, talk.ssrc_back(), 250);
    assert_eq!(call.answer_time, Some(common::START + ms(3200)));
    seen.assert_no_orphans();
}

/// Early media, and then a refusal: the streams belong to the failed call.
#[test]
fn early_media_of_a_call_that_fails_is_part_of_it() {
    let talk = Talk::new("announcement");
    let mut tap = Tap::default();
    tap.see(ms(0), talk.invite());
    tap.see(ms(100), talk.reply(183, "INVITE", 1, &talk.answer));
    tap.speech(ms(150), &talk.speech_back(150));
    tap.see(ms(3100), talk.reply(404, "INVITE", 1, ""));
    tap.see(ms(3110), talk.forth("ACK", 1, ""));
    tap.raw(secs(10), addr("192.0.2.1:9"), addr("192.0.2.2:9"), b"something else");
    let seen = tap.run();
    let call = seen.only_call();
    assert_eq!((call.state, call.status_code), (CallState::Failed, Some(404)));
    assert_whole(&call, talk.ssrc_back(), 150);
    seen.assert_no_orphans();
}

/// B speaks 60 ms before its 200 passes, and no 183 has announced it; B's address is not known
/// from anything but its source, and the offer tells where it goes.
#[test]
fn media_before_the_answer_goes_to_the_offer() {
    let talk = Talk::new("fast");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.speech(ms(440), &talk.speech_back(100));
    tap.hang_up(secs(5), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_whole(&call, talk.ssrc_back(), 100);
    assert_eq!(one_stream(&call, talk.ssrc_back()).direction, Direction::Tx);
    seen.assert_no_orphans();
}

/// ```text
/// A               B
/// |<==== RTP ====>|  from 0 ms on
/// | INVITE ... ACK|  from 2 s on
/// |<------------->|
/// |<==== RTP ====>|  goes on
/// | BYE           |  10 s
/// |-------------->|
/// ```
#[test]
fn media_that_comes_before_its_signalling_is_joined_to_it() {
    let mut talk = Talk::new("late-sip");
    talk.offer = sdp(talk.caller_media, &["96 opus/48000/2"]);
    talk.answer = sdp(talk.callee_media, &["0 PCMU/8000", "96 opus/48000/2"]);
    let mut tap = Tap::default();
    tap.speech(ms(0), &talk.speech_forth(480));
    tap.speech(ms(7), &talk.speech_back(480).with_format(96, 960));
    tap.set_up(secs(2), &talk);
    tap.hang_up(secs(10), &talk);
    assert_eq!(tap.run_until(ms(1900)).calls().len(), 0);
    let seen = tap.run();
    let call = seen.only_call();
    seen.assert_no_orphans();
    assert_whole(&call, talk.ssrc, 480);
    assert_whole(&call, talk.ssrc_back(), 480);
    let (forth, back) = (one_stream(&call, talk.ssrc), one_stream(&call, talk.ssrc_back()));
    assert_eq!((forth.direction, back.direction), (Direction::Rx, Direction::Tx));
    assert_eq!((forth.codec, back.codec), (Some("PCMU"), Some("opus")));
    assert_eq!(back.clock_rate, Some(48_000));
    assert!(back.jitter_max_ms.unwrap() < 1.0, "{back:#?}");
}

/// The INVITE came, the 200 never passed the tap; or only the 200 did. What one description
/// tells is enough for both directions.
#[test]
fn one_description_finds_both_directions() {
    for is_offer in [true, false] {
        let talk = Talk::new("half");
        let mut tap = Tap::default();
        let silent = Talk { offer: String::new(), ..talk.clone() };
        tap.see(ms(0), if is_offer { &talk } else { &silent }.invite());
        let answer = if is_offer { "" } else { &talk.answer };
        tap.see(ms(500), talk.reply(200, "INVITE", 1, answer));
        tap.see(ms(520), talk.forth("ACK", 1, ""));
        tap.talk(ms(600), &talk, 150);
        tap.hang_up(secs(5), &talk);
        let seen = tap.run();
        let call = seen.only_call();
        assert_whole(&call, talk.ssrc, 150);
        assert_whole(&call, talk.ssrc_back(), 150);
        assert_eq!(one_stream(&call, talk.ssrc).direction, Direction::Rx);
        assert_eq!(one_stream(&call, talk.ssrc_back()).direction, Direction::Tx);
        seen.assert_no_orphans();
    }
}

/// ```text
/// A               B
/// | INVITE ... ACK|  A:4000, B:6000
/// |<------------->|
/// |<==== RTP ====>|
/// | INVITE 2      |  A:4400 (or the same)
/// |-------------->|
/// |            200|  B:6600 (or the same)
/// |<--------------|
/// |<==== RTP ====>|  on the new ports
/// ```
#[test]
fn a_reinvite_moves_either_side() {
    for (caller_port, callee_port, is_back) in
        [(4400, 6000, false), (4000, 6600, false), (4400, 6600, true), (4400, 6000, true)]
    {
        let talk = Talk::new("moves");
        let moved = Talk { ssrc: 0xB000_0000, ..talk.clone().on_ports(caller_port, callee_port) };
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        tap.talk(ms(600), &talk, 100);
        if is_back {
            tap.see(ms(2700), talk.back("INVITE", 1, &moved.answer));
            tap.see(ms(2720), talk.reply_back(200, "INVITE", 1, &moved.offer));
            tap.see(ms(2740), talk.back("ACK", 1, ""));
        } else {
            tap.see(ms(2700), talk.forth("INVITE", 2, &moved.offer));
            tap.see(ms(2720), talk.reply(200, "INVITE", 2, &moved.answer));
            tap.see(ms(2740), talk.forth("ACK", 2, ""));
        }
        tap.talk(ms(2800), &moved, 100);
        tap.hang_up(secs(6), &talk);
        let seen = tap.run();
        let call = seen.only_call();
        assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Caller)));
        for part in [&talk, &moved] {
            assert_whole(&call, part.ssrc, 100);
            assert_whole(&call, part.ssrc_back(), 100);
            assert_eq!(one_stream(&call, part.ssrc).direction, Direction::Rx, "{call:#?}");
            assert_eq!(one_stream(&call, part.ssrc_back()).direction, Direction::Tx, "{call:#?}");
        }
        seen.assert_no_orphans();
    }
}

/// The same source goes on from the new port with its sequence: two streams by address, whose
/// counts are whole together.
#[test]
fn a_source_that_moves_loses_nothing() {
    let talk = Talk::new("same-source");
    let moved = talk.clone().on_ports(4400, 6000);
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    let forth = talk.speech_forth(100);
    tap.speech(ms(600), &forth);
    tap.see(ms(2500), talk.forth("INVITE", 2, &moved.offer));
    tap.see(ms(2520), talk.reply(200, "INVITE", 2, &moved.answer));
    tap.see(ms(2540), talk.forth("ACK", 2, ""));
    tap.speech(ms(2600), &Speech { src: moved.caller_media, ..forth.going_on(100) });
    tap.hang_up(secs(6), &talk);
    let seen = tap.run();
    assert_eq!(sum(&from_source(&seen.only_call(), talk.ssrc)), Truth::whole(200));
    seen.assert_no_orphans();
}

/// ```text
/// A (NAT)         B
/// | INVITE        |  SDP says 10.0.0.5:4000
/// |-------------->|
/// |            200|  SDP says B:6000
/// |<--------------|
/// |= RTP ========>|  from NAT:31000 to B:6000
/// |<======== RTP =|  from B:6000 to NAT:31000
/// ```
#[test]
fn media_through_a_nat_is_found_by_its_other_end() {
    for is_late in [false, true] {
        let talk = Talk::new("nat");
        let behind = Talk { offer: offer(addr("10.0.0.5:4000"), "sendrecv"), ..talk.clone() };
        let mut tap = Tap::default();
        tap.set_up(secs(0), &behind);
        let at = ms(if is_late { 600 } else { 450 });
        tap.speech(at, &Speech { src: addr(NAT), ..talk.speech_forth(100) });
        tap.speech(at + ms(5), &Speech { dst: addr(NAT), ..talk.speech_back(100) });
        tap.hang_up(secs(5), &talk);
        let seen = tap.run();
        let call = seen.only_call();
        assert_whole(&call, talk.ssrc, 100);
        assert_whole(&call, talk.ssrc_back(), 100);
        assert_eq!(one_stream(&call, talk.ssrc).direction, Direction::Rx);
        assert_eq!(one_stream(&call, talk.ssrc_back()).direction, Direction::Tx);
        seen.assert_no_orphans();
    }
}

/// Two callers behind different NATs whose descriptions name the same private address.
#[test]
fn the_same_private_address_in_two_calls_mixes_nothing() {
    let private = offer(addr("192.168.1.10:4000"), "sendrecv");
    let call = |index: u16, nat: &str| {
        let mut talk = Talk::new(&format!("private-{index}")).on_ports(4000, 6000 + 2 * index);
        talk.ssrc = 0xC000_0000 + 16 * u32::from(index);
        (talk.offer, talk.caller_media) = (private.clone(), addr(nat));
        talk.caller.set_port(5060 + index);
        talk
    };
    let calls = [call(0, "192.0.2.77:31000"), call(1, "192.0.2.88:32000")];
    let mut tap = Tap::default();
    for (at, talk) in (0..).zip(&calls) {
        tap.set_up(ms(at * 10), talk);
        tap.talk(ms(600 + at), talk, 150);
        tap.hang_up(secs(5), talk);
    }
    let seen = tap.run();
    seen.assert_no_orphans();
    for talk in &calls {
        let call = seen.call(&talk.call_id);
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
        assert_whole(&call, talk.ssrc, 150);
        assert_whole(&call, talk.ssrc_back(), 150);
    }
}

/// ```text
/// A               B
/// | call 1 ... BYE|  10 s
/// |<------------->|
/// | call 2        |  10.3 s, the same addresses
/// |<------------->|
/// |<==== RTP ====>|  of call 2, other sources
/// ```
#[test]
fn ports_used_again_at_once_belong_to_the_next_call() {
    let one = Talk::new("first");
    let two = Talk { ssrc: 0xB000_0000, ..Talk::new("second") };
    let mut tap = Tap::default();
    tap.set_up(secs(0), &one);
    tap.talk(ms(600), &one, 470);
    tap.hang_up(secs(10), &one);
    tap.set_up(ms(10_300), &two);
    tap.talk(ms(10_900), &two, 200);
    tap.hang_up(secs(16), &two);
    let seen = tap.run();
    seen.assert_no_orphans();
    for (talk, count) in [(&one, 470), (&two, 200)] {
        let call = seen.call(&talk.call_id);
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
        assert_whole(&call, talk.ssrc, count);
        assert_whole(&call, talk.ssrc_back(), count);
    }
}

/// As above, and the gateway has one SSRC for its port whatever the call, with a new sequence or
/// going on with the old one.
#[test]
fn a_source_used_again_at_once_belongs_to_the_next_call() {
    for is_going_on in [false, true] {
        let (one, two) = (Talk::new("first"), Talk::new("second"));
        let mut tap = Tap::default();
        tap.set_up(secs(0), &one);
        let mut speech = one.speech_forth(470);
        tap.speech(ms(600), &speech);
        tap.hang_up(secs(10), &one);
        tap.set_up(ms(10_300), &two);
        speech = speech.going_on(200);
        if !is_going_on {
            (speech.first, speech.rtp_time) = (20_000, 5);
        }
        tap.speech(ms(10_900), &speech);
        tap.hang_up(secs(16), &two);
        let seen = tap.run();
        seen.assert_no_orphans();
        assert_whole(&seen.call("first"), one.ssrc, 470);
        assert_whole(&seen.call("second"), one.ssrc, 200);
    }
}

/// Call 1 has no BYE in the capture (its media just stops); call 2 has its ports a second later.
#[test]
fn the_newest_call_has_the_ports() {
    let one = Talk::new("lost-bye");
    let two = Talk {
        ssrc: 0xB000_0000,
        ..Talk::between(
            "newer",
            ["198.51.100.1:5060", "203.0.113.9:5060"],
            ["198.51.100.1:4000", "203.0.113.9:6100"],
        )
    };
    let mut tap = Tap::default();
    tap.set_up(secs(0), &one);
    tap.talk(ms(600), &one, 200);
    tap.set_up(secs(6), &two);
    tap.talk(ms(6600), &two, 200);
    tap.hang_up(secs(12), &two);
    let seen = tap.run();
    seen.assert_no_orphans();
    for talk in [&one, &two] {
        let call = seen.call(&talk.call_id);
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
        assert_whole(&call, talk.ssrc, 200);
        assert_whole(&call, talk.ssrc_back(), 200);
    }
}

/// ```text
/// A               B
/// | call 1 ...    |  no BYE in the capture
/// |<------------->|
/// | INVITE        |  call 2, 6 s, the same addresses
/// |-------------->|
/// |<==== RTP =====|  B speaks 40 ms before its 200 passes
/// |            200|
/// |<--------------|
/// ```
#[test]
fn media_before_the_answer_belongs_to_the_call_that_has_the_ports_now() {
    let one = Talk::new("lost-bye");
    let two = Talk { ssrc: 0xB000_0000, ..Talk::new("newer") };
    let mut tap = Tap::default();
    tap.set_up(secs(0), &one);
    tap.talk(ms(600), &one, 200);
    tap.set_up(secs(6), &two);
    tap.speech(ms(6460), &two.speech_back(200));
    tap.speech(ms(6600), &two.speech_forth(200));
    tap.hang_up(secs(12), &two);
    let seen = tap.run();
    seen.assert_no_orphans();
    for talk in [&one, &two] {
        let call = seen.call(&talk.call_id);
        assert_whole(&call, talk.ssrc, 200);
        assert_whole(&call, talk.ssrc_back(), 200);
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
    }
}

/// Twenty calls between the same two hosts at once, on ports beside each other.
#[test]
fn calls_at_once_between_the_same_hosts_are_told_apart_by_ports() {
    let calls: Vec<_> = (0..20_u16)
        .map(|index| Talk {
            ssrc: 0xD000_0000 + 16 * u32::from(index),
            ..Talk::new(&format!("at-once-{index}")).on_ports(4000 + 2 * index, 6038 - 2 * index)
        })
        .collect();
    let mut tap = Tap::default();
    for (index, talk) in (0..).zip(&calls) {
        tap.set_up(ms(3 * index), talk);
        tap.talk(ms(600 + 3 * index), talk, 100 + u32::try_from(index).unwrap());
        tap.hang_up(secs(5) + ms(3 * index), talk);
    }
    let seen = tap.run();
    seen.assert_no_orphans();
    for (index, talk) in (0..).zip(&calls) {
        let call = seen.call(&talk.call_id);
        assert_eq!(call.streams.records().count(), 2);
        assert_whole(&call, talk.ssrc, 100 + index);
        assert_whole(&call, talk.ssrc_back(), 100 + index);
    }
}

/// One port of the callee for all of them, as a media server has it. They come one after the
/// other, each while the ones before it talk, and end with packets still under way.
#[test]
fn calls_at_once_to_one_port_are_told_apart_by_their_callers() {
    let calls: Vec<_> = (0..10_u16)
        .map(|index| Talk {
            ssrc: 0xD000_0000 + 16 * u32::from(index),
            ..Talk::new(&format!("at-once-{index}")).on_ports(4000 + 2 * index, 6000)
        })
        .collect();
    let mut tap = Tap::default();
    for (index, talk) in (0..).zip(&calls) {
        let start = ms(500 * index);
        tap.set_up(start, talk);
        tap.talk(start + ms(600), talk, 150);
        tap.hang_up(start + ms(3560), talk);
    }
    let seen = tap.run();
    seen.assert_no_orphans();
    for talk in &calls {
        let call = seen.call(&talk.call_id);
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
        assert_whole(&call, talk.ssrc, 150);
        assert_whole(&call, talk.ssrc_back(), 150);
    }
}

/// Audio without loss, and video of which half is lost: both are streams of the call, and the
/// call's own figures are those of its audio.
#[test]
fn video_is_a_stream_of_the_call_and_not_its_figures() {
    let mut talk = Talk::new("video");
    talk.offer.push_str(&media_lines("video", 4100, "RTP/AVP", &["99 H264/90000"]));
    talk.answer.push_str(&media_lines("video", 6100, "RTP/AVP", &["99 H264/90000"]));
    let (a, b) = (addr("198.51.100.1:4100"), addr("203.0.113.2:6100"));
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 200);
    let gaps = (0..200).map(|index| 1 + 2 * index).filter(|&index| index < 399).collect();
    let video = Speech { gaps, ..Speech::new(a, b, 0x7700, 400).with_format(99, 1800) };
    tap.speech(ms(600), &video);
    tap.speech(ms(603), &Speech { src: b, dst: a, ssrc: 0x7701, ..video });
    tap.hang_up(secs(10), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    seen.assert_no_orphans();
    assert_eq!(call.streams.records().count(), 4);
    assert_whole(&call, talk.ssrc, 200);
    let lost = one_stream(&call, 0x7700).packets_lost;
    assert_eq!(lost, Some(199));
    assert_eq!(one_stream(&call, 0x7700).clock_rate, Some(90_000));
    assert_eq!(one_stream(&call, 0x7701).direction, Direction::Tx);
    assert_eq!(call.codec, Some("PCMU"));
    assert_eq!(call.figures.packets_lost, Some(0), "{call:#?}");
    assert!(call.score.mos_score.unwrap() > 4.3);
}

/// The caller's source changes in the middle of the call, with a sequence of its own.
#[test]
fn a_new_source_in_a_call_is_a_new_stream_of_it() {
    let talk = Talk::new("new-source");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.speech(ms(600), &talk.speech_forth(100));
    let next = Speech { ssrc: 0x5555, first: 7, rtp_time: 1, ..talk.speech_forth(100) };
    tap.speech(ms(2600), &next);
    tap.hang_up(secs(5), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_whole(&call, talk.ssrc, 100);
    assert_whole(&call, 0x5555, 100);
    assert_eq!(call.figures.packets_received, Some(200), "{call:#?}");
    assert_eq!(call.figures.packets_lost, Some(0));
    seen.assert_no_orphans();
}

/// Both sides speak on for 100 ms, and for 1.9 s, after the BYE.
#[test]
fn stragglers_after_the_bye_are_counted_and_no_orphans() {
    for count in [100, 190] {
        let talk = Talk::new("stragglers");
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        tap.talk(ms(600), &talk, count);
        tap.hang_up(ms(2500), &talk);
        tap.raw(secs(60), addr("192.0.2.1:9"), addr("192.0.2.2:9"), b"something else");
        let seen = tap.run();
        let call = seen.only_call();
        assert_eq!(call.end_time, Some(common::START + ms(2500)));
        seen.assert_no_orphans();
        assert_whole(&call, talk.ssrc, count);
        assert_whole(&call, talk.ssrc_back(), count);
        assert_eq!(seen.health.streams_active, 0);
    }
}

/// RTP/SAVP with a key in the description: payloads are ciphertext, ten octets of tag stand behind
/// them, and in a third of the packets the padding bit is set over padding that cannot be read.
#[test]
fn secure_media_is_measured_from_its_clear_headers() {
    let mut rng = Rng::with_seed(5);
    let mut talk = Talk::new("secure");
    let secure = |sdp: &str| {
        let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR\r\n";
        sdp.replace("RTP/AVP", "RTP/SAVP") + key
    };
    (talk.offer, talk.answer) = (secure(&talk.offer), secure(&talk.answer));
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    for speech in [talk.speech_forth(300), talk.speech_back(300)] {
        for (index, (after, mut flight)) in speech.packets().into_iter().enumerate() {
            flight.bytes.extend([0; 10]);
            flight.bytes[12..].fill_with(|| rng.u8(..));
            if index % 3 == 0 {
                flight.bytes[0] |= 0x20;
            }
            tap.see(ms(600) + after, flight);
        }
    }
    tap.hang_up(secs(8), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_whole(&call, talk.ssrc, 300);
    assert_whole(&call, talk.ssrc_back(), 300);
    assert_eq!(one_stream(&call, talk.ssrc).codec, Some("PCMU"));
    assert_eq!(seen.health.media_other, 0);
    seen.assert_no_orphans();
}

/// Events of RFC 4733 (one time stamp for all packets of an event, the last one three times with
/// its own sequence number) and comfort noise are packets of the stream, and neither loss nor
/// jitter nor the codec.
#[test]
fn events_and_comfort_noise_are_counted_and_not_judged() {
    let mut talk = Talk::new("events");
    let formats = ["0 PCMU/8000", "13 CN/8000", "101 telephone-event/8000"];
    talk.offer = sdp(talk.caller_media, &formats);
    talk.answer = sdp(talk.callee_media, &formats);
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    let packet = |payload_type, index: u16, time: u32| Flight {
        src: talk.caller_media,
        dst: talk.callee_media,
        bytes: common::rtp(payload_type, false, 100 + index, time, talk.ssrc),
    };
    let start = ms(600);
    let (mut at, mut index) = (start, 0);
    let mut pass = |at: Duration, payload_type: u8, clock: Duration| {
        let time = u32::try_from(clock.as_millis() * 8).unwrap();
        tap.see(at, packet(payload_type, index, time));
        index += 1;
    };
    for _ in 0..100 {
        pass(at, 0, at);
        at += ms(20);
    }
    let event_at = at;
    for _ in 0..10 {
        pass(at, 101, event_at);
        at += ms(20);
    }
    pass(at, 101, event_at);
    pass(at, 101, event_at);
    for _ in 0..100 {
        pass(at, 0, at);
        at += ms(20);
    }
    for _ in 0..10 {
        pass(at, 13, at);
        at += ms(200);
    }
    for _ in 0..100 {
        pass(at, 0, at);
        at += ms(20);
    }
    tap.hang_up(secs(12), &talk);
    let call = tap.run().only_call();
    assert_whole(&call, talk.ssrc, 322);
    let stream = one_stream(&call, talk.ssrc);
    assert_eq!((stream.codec, stream.payload_type), (Some("PCMU"), Some(0)));
    assert!(stream.jitter_max_ms.unwrap() < 0.1, "{stream:#?}");
    assert_eq!(stream.packets_discarded, Some(0));
}

/// A's speech is put on hold for 45 s (sendonly, inactive or 0.0.0.0), and then goes on with its
/// sequence, or with a new one; B sends music meanwhile, or nothing.
#[test]
fn hold_is_neither_loss_nor_an_end() {
    for hold in ["sendonly", "inactive", "0.0.0.0"] {
        for is_going_on in [true, false] {
            let talk = Talk::new("hold");
            let mut tap = Tap::default();
            tap.set_up(secs(0), &talk);
            let (forth, back) = (talk.speech_forth(100), talk.speech_back(100));
            tap.speech(ms(600), &forth);
            tap.speech(ms(610), &back);
            let held = match hold {
                "0.0.0.0" => talk.offer.replace("c=IN IP4 198.51.100.1", "c=IN IP4 0.0.0.0"),
                direction => offer(talk.caller_media, direction),
            };
            let answer = match hold {
                "sendonly" => offer(talk.callee_media, "recvonly"),
                _ => offer(talk.callee_media, "inactive"),
            };
            tap.see(ms(2600), talk.forth("INVITE", 2, &held));
            tap.see(ms(2620), talk.reply(200, "INVITE", 2, &answer));
            tap.see(ms(2640), talk.forth("ACK", 2, ""));
            if hold == "sendonly" {
                let music = Speech { ssrc: 0x3333, ..talk.speech_forth(2200) };
                tap.speech(ms(2700), &music);
            }
            tap.see(secs(47), talk.forth("INVITE", 3, &talk.offer));
            tap.see(ms(47_020), talk.reply(200, "INVITE", 3, &talk.answer));
            tap.see(ms(47_040), talk.forth("ACK", 3, ""));
            for (speech, at) in [(&forth, 47_100), (&back, 47_110)] {
                let mut next = speech.going_on(100);
                if !is_going_on {
                    (next.first, next.rtp_time) = (30_000, 99);
                }
                tap.speech(ms(at), &next);
            }
            tap.hang_up(secs(50), &talk);
            let seen = tap.run();
            let call = seen.only_call();
            assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Caller)));
            seen.assert_no_orphans();
            for ssrc in [talk.ssrc, talk.ssrc_back()] {
                let streams = from_source(&call, ssrc);
                assert_eq!(sum(&streams), Truth::whole(200), "{hold} {is_going_on} {streams:#?}");
                let discarded = streams.iter().filter_map(|stream| stream.packets_discarded);
                assert_eq!(discarded.sum::<u64>(), 0, "{hold} {is_going_on}");
            }
            if hold == "sendonly" {
                assert_whole(&call, 0x3333, 2200);
            }
        }
    }
}

/// The address of the media stands at the session, at the media, or at both, where that of the
/// media counts.
#[test]
fn the_address_may_stand_at_session_or_media() {
    let lines = "m=audio 4000 RTP/AVP 0\r\n";
    let offers = [
        format!("{}{lines}", session("198.51.100.1")),
        format!("{}{lines}c=IN IP4 198.51.100.1\r\n", session("192.0.2.200")),
        format!("v=0\r\no=- 1 1 IN IP4 x\r\ns=-\r\nt=0 0\r\n{lines}c=IN IP4 198.51.100.1\r\n"),
    ];
    for offer in offers {
        let talk = Talk { offer, ..Talk::new("level") };
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        // B's own description has nothing to do with where this goes from and to.
        let other = Speech { src: addr(NAT), ..talk.speech_back(100) };
        tap.speech(ms(600), &other);
        tap.hang_up(secs(5), &talk);
        let seen = tap.run();
        assert_whole(&seen.only_call(), talk.ssrc_back(), 100);
        seen.assert_no_orphans();
    }
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// |<==== RTP ====>|
/// |       INVITE 1|  m=image, and the audio rejected or left out
/// |<--------------|
/// | 200, ACK      |
/// |<------------->|
/// |<=== UDPTL ===>|  on the same ports, or on others
/// | BYE           |
/// |-------------->|
/// ```
#[test]
fn fax_after_speech_leaves_the_speech_as_it_was() {
    for (port_a, port_b) in [(4000, 6000), (4800, 6800)] {
        let talk = Talk::new("fax");
        let image = |ip: &str, port: u16| {
            format!("{}m=image {port} udptl t38\r\na=T38FaxVersion:0\r\n", session(ip))
        };
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        tap.talk(ms(600), &talk, 200);
        tap.see(ms(4700), talk.back("INVITE", 1, &image("203.0.113.2", port_b)));
        tap.see(ms(4720), talk.reply_back(200, "INVITE", 1, &image("198.51.100.1", port_a)));
        tap.see(ms(4740), talk.back("ACK", 1, ""));
        let (mut a, mut b) = (talk.caller_media, talk.callee_media);
        a.set_port(port_a);
        b.set_port(port_b);
        for index in 0..500_u16 {
            let mut bytes = index.to_be_bytes().to_vec();
            bytes.extend([0x06, 0xC0, 0x01, 0x80, 0x00, 0x00, 0xFF, 0x00, 0x01, 0x02, 0x00, 0x00]);
            bytes.extend([0x55; 30]);
            tap.raw(ms(5000 + 30 * u64::from(index)), a, b, &bytes);
            tap.raw(ms(5010 + 30 * u64::from(index)), b, a, &bytes);
        }
        tap.hang_up(secs(21), &talk);
        let seen = tap.run();
        let call = seen.only_call();
        assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Caller)));
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
        assert_whole(&call, talk.ssrc, 200);
        assert_whole(&call, talk.ssrc_back(), 200);
        assert_eq!(seen.health.stun, 0);
        assert_eq!(seen.health.media_other, 1000);
        seen.assert_no_orphans();
    }
}

/// The description is one part of a multipart body (RFC 5621), as SIP-I and emergency calls have
/// it, and not that of the early session (RFC 3959) before it. One whose boundary is lost is found
/// as well.
#[test]
fn a_description_may_be_a_part_of_the_body() {
    let early = "v=0\r\nc=IN IP4 203.0.113.99\r\nm=audio 9 RTP/AVP 8\r\n";
    for (boundary, early) in [("cut", early), ("other", "nothing")] {
        let mut talk = Talk::new("multipart");
        let part = |sdp: &str| {
            format!(
                "--cut\r\nContent-Type: application/sdp\r\n\
                 Content-Disposition: early-session\r\n\r\n{early}\r\n\
                 --cut\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n\
                 --cut\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n--cut--\r\n"
            )
        };
        (talk.offer, talk.answer) = (part(&talk.offer), part(&talk.answer));
        talk.more = format!("Content-Type: multipart/mixed;boundary={boundary}\r\n");
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        tap.talk(ms(600), &talk, 100);
        tap.hang_up(secs(5), &talk);
        let seen = tap.run();
        let call = seen.only_call();
        assert_whole(&call, talk.ssrc, 100);
        assert_whole(&call, talk.ssrc_back(), 100);
        seen.assert_no_orphans();
    }
}

/// Loss, duplicates and reordering, each direction with its own: the counts are what was done.
#[test]
fn counts_are_what_the_network_did() {
    let mut harmed = Truth::default();
    for seed in 0..30 {
        let mut rng = Rng::with_seed(seed);
        let talk = Talk::new("harmed");
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        let mut harm =
            || Harm { loss: rng.f64() * 0.2, duplicate: rng.f64() * 0.1, reorder: rng.f64() * 0.1 };
        let (harm_forth, harm_back) = (harm(), harm());
        let forth = tap.impaired(ms(600), &talk.speech_forth(800), &mut rng, harm_forth);
        let back = tap.impaired(ms(605), &talk.speech_back(800), &mut rng, harm_back);
        tap.hang_up(secs(18), &talk);
        let seen = tap.run();
        let call = seen.only_call();
        assert_eq!(sum(&from_source(&call, talk.ssrc)), forth, "seed {seed}");
        assert_eq!(sum(&from_source(&call, talk.ssrc_back())), back, "seed {seed}");
        seen.assert_no_orphans();
        for truth in [forth, back] {
            harmed.expected += truth.expected - truth.received;
            harmed.duplicate += truth.duplicate;
            harmed.out_of_order += truth.out_of_order;
        }
    }
    assert!(harmed.expected > 1000 && harmed.duplicate > 500 && harmed.out_of_order > 500);
}

/// The call's own figures are those of the worse direction.
#[test]
fn the_figures_of_a_call_are_those_of_its_worse_direction() {
    for is_forth in [true, false] {
        let talk = Talk::new("worse");
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        let (mut forth, mut back) = (talk.speech_forth(500), talk.speech_back(500));
        let worse = if is_forth { &mut forth } else { &mut back };
        worse.gaps = (0..25).map(|index| 10 + 19 * index).collect();
        tap.speech(ms(600), &forth);
        tap.speech(ms(607), &back);
        tap.hang_up(secs(12), &talk);
        let call = tap.run().only_call();
        assert_eq!(call.figures.packets_lost, Some(25));
        assert_eq!(call.figures.packet_loss_percentage, Some(5.0));
        let worse = one_stream(&call, if is_forth { talk.ssrc } else { talk.ssrc_back() });
        assert_eq!(call.score.mos_lq, worse.mos_lq);
        assert!(worse.mos_lq.unwrap() < 4.0);
    }
}

/// The media of 150 calls is up when the capture of their signalling begins (two files whose
/// clocks differ by two seconds): every stream finds its call.
#[test]
fn any_number_of_streams_may_wait_for_their_calls() {
    let calls: Vec<_> = (0..150_u16)
        .map(|index| Talk {
            ssrc: 0xD000_0000 + 16 * u32::from(index),
            ..Talk::new(&format!("waiting-{index}")).on_ports(4000 + 2 * index, 16_000 + 2 * index)
        })
        .collect();
    let mut tap = Tap::default();
    for (index, talk) in (0..).zip(&calls) {
        tap.talk(ms(index), talk, 400);
        tap.set_up(ms(2000 + index), talk);
        tap.hang_up(ms(8100 + index), talk);
    }
    let seen = tap.run();
    seen.assert_no_orphans();
    for talk in &calls {
        let call = seen.call(&talk.call_id);
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
        assert_whole(&call, talk.ssrc, 400);
        assert_whole(&call, talk.ssrc_back(), 400);
    }
}

/// ```text
/// A         X         B        a B2BUA that leaves the descriptions as they are
/// |<==== RTP A, B ===>|
/// | INVITE a|                  refreshed every second (RFC 4028), on either leg in turn
/// |-------->| INVITE b|
/// |         |-------->|
/// |     200 |     200 |
/// |<--------|<--------|
/// ```
#[test]
fn refreshing_two_calls_of_one_media_loses_nothing() {
    let left = Talk { callee: addr("192.0.2.5:5060"), ..Talk::new("direct-a") };
    let right = Talk { caller: addr("192.0.2.5:5060"), ..Talk::new("direct-b") };
    let mut tap = Tap::default();
    tap.set_up(secs(0), &left);
    tap.set_up(ms(5), &right);
    tap.talk(ms(600), &left, 400);
    for round in 1..8 {
        for (late, leg) in [(0, &left), (400, &right)] {
            let (at, cseq) = (ms(1000 * round + late), 1 + u32::try_from(round).unwrap());
            tap.see(at, leg.forth("INVITE", cseq, &leg.offer));
            tap.see(at + ms(20), leg.reply(200, "INVITE", cseq, &leg.answer));
            tap.see(at + ms(40), leg.forth("ACK", cseq, ""));
        }
    }
    tap.hang_up(secs(10), &left);
    tap.hang_up(ms(10_005), &right);
    let seen = tap.run();
    seen.assert_no_orphans();
    for ssrc in [left.ssrc, left.ssrc_back()] {
        let streams = seen.streams_of(ssrc);
        assert_eq!(sum(&streams), Truth::whole(400));
        assert_eq!(streams.len(), 1, "{streams:#?}");
    }
}

/// ```text
/// A               B
/// | call 1, call 2|
/// |<------------->|
/// | OPTIONS       |  within call 1
/// |-------------->|
/// |            200|  with a description of what B can do (RFC 3261 section 11.2), which has the
/// |<--------------|  address of call 2 in it
/// ```
#[test]
fn what_options_says_is_no_offer() {
    let one = Talk::new("asked");
    let two = Talk { ssrc: 0xB000_0000, ..Talk::new("bystander").on_ports(4100, 6100) };
    let mut tap = Tap::default();
    for talk in [&one, &two] {
        tap.set_up(secs(0), talk);
        tap.talk(ms(600), talk, 200);
        tap.hang_up(secs(6), talk);
    }
    tap.see(secs(2), one.forth("OPTIONS", 5, ""));
    tap.see(ms(2010), one.reply(200, "OPTIONS", 5, &two.answer));
    let seen = tap.run();
    seen.assert_no_orphans();
    for talk in [&one, &two] {
        let call = seen.call(&talk.call_id);
        assert_whole(&call, talk.ssrc, 200);
        assert_whole(&call, talk.ssrc_back(), 200);
        assert_eq!(call.streams.records().count(), 2, "{call:#?}");
    }
}
