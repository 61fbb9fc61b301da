//! Media that is missing, late, or silent, and the calls in which that is as it should be. A
//! calls, B is called; a line is a direction of media, and time goes to the right.

mod common;
#[path = "common/tap.rs"]
mod tap;
#[path = "common/track.rs"]
mod track;

use core::time::Duration;

use common::{Caller, World, ms, offer, secs};
use tap::{Talk, Tap};
use track::Track;
use voxplane::{
    control::{
        conditions::{
            DEAD_AIR_MIN, EARLY_END_BEFORE, LATE_MEDIA_AFTER, NO_MEDIA_AFTER, ONE_WAY_AFTER,
        },
        record::{CallState, Direction},
    },
    shard::ShardConfig,
};

/// The answer of a call that was set up at once.
const ANSWER: Duration = ms(500);

/// Packets in so much time.
fn packets(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / 20).expect("a short time")
}

/// What A and B send, from a moment on.
fn forth(at: Duration) -> Track {
    let talk = Talk::new("call");
    Track::new(talk.caller_media, talk.callee_media, talk.ssrc, at)
}

fn back(at: Duration) -> Track {
    let talk = Talk::new("call");
    Track::new(talk.callee_media, talk.caller_media, talk.ssrc_back(), at)
}

/// A call that is answered after 500 ms, and what is sent in it.
fn tap(tracks: &[Track]) -> Tap {
    let mut tap = Tap::default();
    tap.set_up(secs(0), &Talk::new("call"));
    for (at, flight) in tracks.iter().flat_map(|track| &track.packets) {
        tap.see(*at, flight.clone());
    }
    tap
}

/// The conditions of that call, which are the same once it is over and just before.
fn conditions(tap: Tap, hang_up: Duration) -> Vec<&'static str> {
    let up = tap.run_until(hang_up);
    let call = up.only_call();
    assert_eq!(call.state, CallState::Active);
    let while_up = call.seen_at(common::START + hang_up).conditions;
    let over = conditions_over(tap, hang_up);
    let while_up: Vec<_> = while_up.iter().map(|condition| condition.name()).collect();
    assert_eq!(while_up, over, "what is wrong is told while it is");
    over
}

/// The conditions of that call once it is over. While it is up, what is known of its streams is up
/// to 5 s old.
fn conditions_over(mut tap: Tap, hang_up: Duration) -> Vec<&'static str> {
    tap.hang_up(hang_up, &Talk::new("call"));
    let over = tap.run().only_call();
    assert_eq!(over.state, CallState::Ended);
    over.conditions.iter().map(|condition| condition.name()).collect()
}

const NONE: [&str; 0] = [];

/// ```text
/// A> ssssssssssssssssssss
/// B> tttttttttttttttttttt
/// ```
#[test]
fn a_good_call_has_no_condition() {
    let tracks = [forth(ms(600)).speak(1500), back(ms(610)).speak(1500)];
    assert_eq!(conditions(tap(&tracks), ms(30_700)), NONE);
}

/// ```text
/// A> ssssssssssssssssssss|    A> ssssssssssssssssssss|    A> ssssssssssssssssssss|
/// B>                     |    B> tttttt              |    B>               tttttt|
/// ```
/// And the other way round.
#[test]
fn one_way_audio() {
    let (long, short) = (packets(secs(30)), packets(secs(12)));
    for (track, expected) in [
        (None, &["one_way_audio"][..]),
        (Some((ms(610), short)), &["one_way_audio"]),
        (Some((ms(18_600), short)), &["one_way_audio", "late_media"]),
    ] {
        for is_back in [true, false] {
            let speakers: [fn(Duration) -> Track; 2] = [forth, back];
            let [one, other] = if is_back { speakers } else { [back, forth] };
            let other = track.map(|(at, count): (Duration, u32)| other(at).speak(count));
            let tracks: Vec<_> = [one(ms(600)).speak(long)].into_iter().chain(other).collect();
            assert_eq!(conditions(tap(&tracks), ms(30_700)), expected, "{track:?} {is_back}");
        }
    }
}

/// ```text
/// A> ssssssssssssssssssss|
/// B> ttttttttttt         |    9 s are not long enough, 11 s are
/// ```
#[test]
fn one_way_audio_takes_its_time() {
    for (missing, expected) in [(secs(9), &[][..]), (secs(11), &["one_way_audio"])] {
        assert!(missing.abs_diff(ONE_WAY_AFTER) <= secs(1));
        let tracks = [
            forth(ms(600)).speak(packets(secs(30))),
            back(ms(600)).speak(packets(secs(30) - missing)),
        ];
        assert_eq!(conditions_over(tap(&tracks), ms(30_700)), expected, "{missing:?}");
    }
}

/// ```text
/// A> sssssssssssssssssssssssssss|
/// B> ttt    tttt    ttt         |    B suppresses silence: 20 s of it are none of one way audio
/// ```
#[test]
fn silence_suppression_is_no_one_way_audio() {
    let quiet = back(ms(600)).speak(200).pause(secs(4)).mark().speak(200).pause(secs(8)).speak(100);
    let until = quiet.at + secs(20);
    let tracks = [forth(ms(600)).speak(packets(until)), quiet];
    assert_eq!(conditions(tap(&tracks), until), NONE);
}

/// ```text
/// A>                     |
/// B>                     |    nothing either way, for 4 s and for 6 s
/// ```
#[test]
fn no_media() {
    for (time, expected) in [(secs(4), &[][..]), (secs(6), &["no_media"])] {
        assert!(time.abs_diff(NO_MEDIA_AFTER) <= secs(1));
        assert_eq!(conditions(tap(&[]), ANSWER + time), expected);
    }
    // A call that fails has no media, and that is no fault of it.
    let talk = Talk::new("call");
    let mut tap = Tap::default();
    tap.see(secs(0), talk.invite());
    tap.see(secs(30), talk.reply(480, "INVITE", 1, ""));
    tap.raw(secs(60), talk.caller, talk.callee, b"something else");
    assert_eq!(tap.run().only_call().conditions.iter().count(), 0);
}

/// ```text
/// A>       sssssssssssss|    the first packet comes 900 ms, or 1.1 s, after the answer; B's
/// B> tttttttttttttttttttt|   announcement began before it
/// ```
#[test]
fn late_media() {
    for (late, expected) in [(ms(900), &[][..]), (ms(1100), &["late_media"])] {
        assert!(late.abs_diff(LATE_MEDIA_AFTER) <= ms(100));
        let tracks = [forth(ANSWER + late).speak(500), back(ms(300)).speak(550)];
        assert_eq!(conditions(tap(&tracks), secs(12)), expected, "{late:?}");
    }
}

/// ```text
/// A> ssssssssss          |
/// B> ttttttttttt         |    no hold, no BYE, and no media either
/// ```
#[test]
fn early_end_of_media() {
    for (before, expected) in [(secs(9), &[][..]), (secs(11), &["early_media_end"])] {
        assert!(before.abs_diff(EARLY_END_BEFORE) <= secs(1));
        let tracks = [forth(ms(600)).speak(500), back(ms(600)).speak(490)];
        let last = tracks[0].at;
        assert_eq!(conditions(tap(&tracks), last + before), expected, "{before:?}");
    }
}

/// ```text
/// A> ssssssssssssssssssss|
/// B> 00000000000000000000|    0: a packet of silence
/// ```
#[test]
fn dead_air() {
    for (payload_type, codec) in [(0, "PCMU"), (8, "PCMA")] {
        let voice = forth(ms(600)).format(payload_type, 8, 20_000).speak(1000);
        let silence = back(ms(600)).format(payload_type, 8, 20_000).say_nothing(1000);
        let tap = tap(&[voice, silence]);
        assert_eq!(conditions(tap.clone(), ms(20_700)), ["dead_air"]);
        let call = tap.run().only_call();
        for stream in call.streams.records() {
            assert_eq!(stream.codec, Some(codec));
            let expected = if stream.direction == Direction::Tx { 100.0 } else { 0.0 };
            assert_eq!(stream.closeup.silence_percentage, Some(expected), "{stream:#?}");
        }
    }
}

/// ```text
/// B> 000tttt000000tttt000|    and what is shorter than 5 s, or in a codec that hides it
/// ```
#[test]
fn pauses_between_words_are_no_dead_air() {
    let voice = || forth(ms(600)).speak(1000);
    let words = back(ms(600)).say_nothing(300).speak(100).say_nothing(600);
    assert_eq!(conditions(tap(&[voice(), words]), ms(20_700)), NONE);
    let short = packets(DEAD_AIR_MIN) - 20;
    let tracks = [forth(ms(600)).speak(short), back(ms(600)).say_nothing(short)];
    assert_eq!(conditions(tap(&tracks), ms(5700)), NONE);
    let hidden = back(ms(600)).format(18, 8, 20_000).say_nothing(1000);
    assert_eq!(conditions(tap(&[voice(), hidden]), ms(20_700)), NONE);
}

/// ```text
/// A> ssssssss   hold     ssssssss|    A puts B on hold for 40 s: with music, or without, or in
/// B> tttttttt            tttttttt|    the old way; B's packets stop, or both
/// ```
/// Or the call ends on hold.
#[test]
fn hold_is_no_fault() {
    for hold in ["sendonly", "inactive", "0.0.0.0"] {
        for resumes in [true, false] {
            let talk = Talk::new("call");
            let held = match hold {
                "0.0.0.0" => talk.offer.replace("c=IN IP4 198.51.100.1", "c=IN IP4 0.0.0.0"),
                direction => offer(talk.caller_media, direction),
            };
            let answer = if hold == "sendonly" { "recvonly" } else { "inactive" };
            let (mut voice, mut other) = (forth(ms(600)).speak(500), back(ms(600)).speak(500));
            if hold == "sendonly" {
                voice = voice.speak(2000);
            }
            if resumes {
                (voice.at, other.at) = (secs(51), secs(51));
                (voice, other) = (voice.mark().speak(300), other.mark().speak(300));
            }
            let mut tap = tap(&[voice, other]);
            let mut reinvite = |at: Duration, cseq, offer: &str, answer: &str| {
                tap.see(at, talk.forth("INVITE", cseq, offer));
                tap.see(at + ms(20), talk.reply(200, "INVITE", cseq, answer));
                tap.see(at + ms(40), talk.forth("ACK", cseq, ""));
            };
            reinvite(ms(10_600), 2, &held, &offer(talk.callee_media, answer));
            if resumes {
                reinvite(ms(50_900), 3, &talk.offer, &talk.answer);
            }
            let context = format!("{hold}, resumes: {resumes}");
            assert_eq!(conditions(tap, secs(57)), NONE, "{context}");
        }
    }
}

/// ```text
/// A> ssssssss  hold              |    B does not come back from the hold: 25 s one way only
/// B> tttttttt        tttttttttttt|
/// ```
#[test]
fn one_way_audio_after_a_hold() {
    let talk = Talk::new("call");
    let mut other = back(ms(600)).speak(500);
    other.at = secs(21);
    let tracks = [forth(ms(600)).speak(500), other.mark().speak(packets(secs(75)))];
    let mut tap = tap(&tracks);
    for (at, cseq, direction, answer) in
        [(ms(10_600), 2, "inactive", "inactive"), (ms(20_800), 3, "sendrecv", "sendrecv")]
    {
        tap.see(at, talk.forth("INVITE", cseq, &offer(talk.caller_media, direction)));
        tap.see(at + ms(20), talk.reply(200, "INVITE", cseq, &offer(talk.callee_media, answer)));
        tap.see(at + ms(40), talk.forth("ACK", cseq, ""));
    }
    assert_eq!(conditions(tap, secs(96)), ["one_way_audio"]);
}

/// Fax takes the audio away: what comes then is no media of ours, and is not missed.
#[test]
fn fax_after_speech_is_no_early_end() {
    let talk = Talk::new("call");
    let image = |ip: &str, port: u16| {
        format!(
            "v=0\r\no=- 1 2 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=image {port} udptl t38\r\n"
        )
    };
    let mut tap = tap(&[forth(ms(600)).speak(300), back(ms(600)).speak(300)]);
    tap.see(ms(6700), talk.back("INVITE", 1, &image("203.0.113.2", 6800)));
    tap.see(ms(6720), talk.reply_back(200, "INVITE", 1, &image("198.51.100.1", 4800)));
    tap.see(ms(6740), talk.back("ACK", 1, ""));
    assert_eq!(conditions(tap, secs(60)), NONE);
}

/// The appliance is called: what it sends is only what it got, so that one direction is all that
/// is missed. The call shows it while it is up.
#[test]
fn the_appliance_misses_what_it_should_receive() {
    for (user, before, expected) in [
        ("sink", None, &["no_media"][..]),
        ("echo", None, &["no_media"]),
        ("sink", Some(secs(8)), &["early_media_end"]),
        ("echo", Some(secs(8)), &["early_media_end"]),
        ("sink", Some(secs(20)), &[]),
    ] {
        let mut world = World::new(ShardConfig::default());
        let mut caller = Caller { user, ..Caller::new("198.51.100.1:5070", "missed") };
        let media = caller.set_up(&mut world);
        let answered = world.now;
        if let Some(time) = before {
            let voice = Track::new(caller.media, media, 7, ms(50)).speak(packets(time));
            for (at, flight) in voice.packets {
                world.run_until(answered + at);
                world.deliver(&[flight]);
            }
        }
        world.run_until(answered + secs(20) + ms(100));
        let active = world.snapshot().active[0].seen_at(world.now);
        let names: Vec<_> = active.conditions.iter().map(|condition| condition.name()).collect();
        assert_eq!(names, expected, "{user} {before:?}");
        caller.hang_up(&mut world);
        world.run_for(secs(1));
        assert_eq!(world.finished("missed").conditions, active.conditions, "{user} {before:?}");
    }
}

/// The appliance is put on hold from the beginning, or in the call, by whoever called it.
#[test]
fn the_appliance_misses_nothing_on_hold() {
    for is_late in [false, true] {
        let mut world = World::new(ShardConfig::default());
        let mut caller = Caller::new("198.51.100.1:5070", "held");
        let media = caller.set_up(&mut world);
        let answered = world.now;
        if is_late {
            for (at, flight) in Track::new(caller.media, media, 7, ms(50)).speak(200).packets {
                world.run_until(answered + at);
                world.deliver(&[flight]);
            }
        }
        let hold = offer(caller.media, "inactive");
        world.send(caller.addr, caller.us, caller.request("INVITE", 2, &hold));
        world.send(caller.addr, caller.us, caller.request("ACK", 2, ""));
        world.run_for(secs(40));
        let active = world.snapshot().active[0].seen_at(world.now);
        assert_eq!(active.conditions.iter().count(), 0, "{:?}", active.conditions);
        world.send(caller.addr, caller.us, caller.request("BYE", 3, ""));
        world.run_for(secs(1));
        assert_eq!(world.finished("held").conditions.iter().count(), 0);
    }
}

/// Two faults at once stand in the API by their names, in a fixed order.
#[test]
fn conditions_are_a_list_of_names() {
    let tracks = [forth(ms(600)).say_nothing(1000)];
    let mut tap = tap(&tracks);
    tap.hang_up(ms(20_700), &Talk::new("call"));
    let call = serde_json::to_value(&*tap.run().only_call()).expect("JSON");
    assert_eq!(call["conditions"], serde_json::json!(["one_way_audio", "dead_air"]));
}
