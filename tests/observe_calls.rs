//! Calls that an observing shard only sees, one ladder a test: A calls, B is called, P is a proxy.
//! The tap is where the messages pass; it stands between A and B unless a ladder shows it.

mod common;
#[path = "common/tap.rs"]
mod tap;

use common::{ms, offer, secs};
use tap::{ALICE, BOB, Seen, Speech, Talk, Tap, Truth, assert_whole, from_source, one_stream, sum};
use voxplane::control::record::{CallRecord, CallState, Direction, EndedBy};

fn assert_ended(call: &CallRecord, by: EndedBy) {
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(by)), "{call:#?}");
    assert_eq!(call.status_code, Some(200));
}

fn assert_failed(call: &CallRecord, status: u16, by: EndedBy) {
    assert_eq!((call.state, call.ended_by), (CallState::Failed, Some(by)), "{call:#?}");
    assert_eq!((call.status_code, call.answer_time), (Some(status), None), "{call:#?}");
    assert!(call.duration_seconds.abs() < 1e-9);
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 0.001, "{got} is not {expected}");
}

/// ```text
/// A               B
/// | INVITE        |  0 ms
/// |-------------->|
/// |            100|  2 ms
/// |<--------------|
/// |            180|  100 ms
/// |<--------------|
/// |            200|  500 ms
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// |<==== RTP ====>|  200 packets each way
/// | BYE           |  6 s
/// |-------------->|
/// |            200|
/// |<--------------|
/// ```
#[test]
fn a_plain_call_is_told_whole() {
    let (mut tap, talk) = (Tap::default(), Talk::new("plain"));
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 200);
    tap.hang_up(secs(6), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_eq!(seen.snapshot.history.len(), 1);
    assert_ended(&call, EndedBy::Caller);
    assert_eq!(call.call_id, "plain");
    assert_eq!((call.from.as_deref(), call.to.as_deref()), (Some(ALICE), Some(BOB)));
    assert_eq!(call.user_agent.as_deref(), Some("Alice phone 1.0"));
    assert_eq!(call.start_time, common::START);
    assert_eq!(call.answer_time, Some(common::START + ms(500)));
    assert_eq!(call.end_time, Some(common::START + secs(6)));
    close(call.signalling.srd_ms.unwrap(), 100.0);
    close(call.duration_seconds, 5.5);
    assert_whole(&call, talk.ssrc, 200);
    assert_whole(&call, talk.ssrc_back(), 200);
    assert_eq!(call.streams.records().count(), 2);
    let (forth, back) = (one_stream(&call, talk.ssrc), one_stream(&call, talk.ssrc_back()));
    assert_eq!((forth.src, forth.dst), (talk.caller_media, talk.callee_media));
    assert_eq!((forth.direction, back.direction), (Direction::Rx, Direction::Tx));
    assert_eq!((forth.codec, back.codec), (Some("PCMU"), Some("PCMU")));
    assert_eq!(forth.call_id.as_deref(), Some("plain"));
    assert_eq!(call.codec, Some("PCMU"));
    assert!(call.score.mos_score.unwrap() > 4.3, "{:?}", call.score);
    seen.assert_no_orphans();
    assert_eq!(seen.health.sip_messages, 7);
    assert_eq!(seen.health.rtp_packets, 400);
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// |            BYE|  6 s
/// |<--------------|
/// | 200           |
/// |-------------->|
/// ```
#[test]
fn a_bye_of_the_callee_ends_the_call_by_the_callee() {
    let (mut tap, talk) = (Tap::default(), Talk::new("by-callee"));
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 200);
    tap.see(secs(6), talk.back("BYE", 1, ""));
    tap.see(ms(6010), talk.reply_back(200, "BYE", 1, ""));
    let call = tap.run().only_call();
    assert_ended(&call, EndedBy::Callee);
    assert_eq!(call.end_time, Some(common::START + secs(6)));
}

/// Every message of the plain ladder passes again 500 ms and 1.5 s later; the ACK of each 200 too.
/// They are counted.
#[test]
fn retransmissions_change_nothing() {
    let talk = Talk::new("again");
    let ladder = [
        (0, talk.invite()),
        (2, talk.reply(100, "INVITE", 1, "")),
        (100, talk.reply(180, "INVITE", 1, "")),
        (4000, talk.reply(200, "INVITE", 1, &talk.answer)),
        (4020, talk.forth("ACK", 1, "")),
        (9000, talk.forth("BYE", 9, "")),
        (9010, talk.reply(200, "BYE", 9, "")),
    ];
    let run = |copies: &[u64]| {
        let mut tap = Tap::default();
        for (at, flight) in &ladder {
            copies.iter().for_each(|later| tap.see(ms(at + later), flight.clone()));
        }
        tap.talk(ms(4100), &talk, 200);
        let call = tap.run().only_call();
        assert_ended(&call, EndedBy::Caller);
        let mut call = serde_json::to_value(&*call).unwrap();
        let again = call.as_object_mut().unwrap().remove("retransmissions").unwrap();
        (call, again)
    };
    let (once, again) = (run(&[0]), run(&[0, 500, 1500]));
    assert_eq!(once.0, again.0);
    assert_eq!((once.1, again.1), (0.into(), 14.into()));
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// | BYE           |  6 s; nothing after it
/// |-------------->|
/// ```
#[test]
fn a_bye_without_its_200_ends_the_call() {
    let (mut tap, talk) = (Tap::default(), Talk::new("no-200"));
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 100);
    tap.see(secs(6), talk.forth("BYE", 9, ""));
    let seen = tap.run();
    assert_ended(&seen.only_call(), EndedBy::Caller);
    assert_eq!(seen.snapshot.active.len(), 0);
}

/// ```text
/// A               B
/// | INVITE        |
/// |-------------->|
/// |        100 180|
/// |<--------------|
/// | CANCEL        |  3 s
/// |-------------->|
/// |   200 (CANCEL)|
/// |<--------------|
/// |   487 (INVITE)|
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// ```
#[test]
fn a_cancelled_call_fails_with_487_by_the_caller() {
    let (mut tap, talk) = (Tap::default(), Talk::new("cancel"));
    tap.see(ms(0), talk.invite());
    tap.see(ms(2), talk.reply(100, "INVITE", 1, ""));
    tap.see(ms(100), talk.reply(180, "INVITE", 1, ""));
    tap.see(secs(3), talk.cancel());
    tap.see(ms(3005), talk.reply(200, "CANCEL", 1, ""));
    tap.see(ms(3010), talk.reply(487, "INVITE", 1, ""));
    tap.see(ms(3020), talk.forth("ACK", 1, ""));
    let call = tap.run().only_call();
    assert_failed(&call, 487, EndedBy::Caller);
    close(call.signalling.srd_ms.unwrap(), 100.0);
}

/// ```text
/// A               B
/// | INVITE        |
/// |-------------->|
/// | CANCEL        |  and the 200 to the INVITE is on its way already
/// |-------------->|
/// |   200 (INVITE)|
/// |<--------------|
/// |   200 (CANCEL)|
/// |<--------------|
/// | ACK, BYE      |
/// |-------------->|
/// ```
#[test]
fn a_cancel_that_comes_too_late_leaves_an_answered_call() {
    let (mut tap, talk) = (Tap::default(), Talk::new("late-cancel"));
    tap.see(ms(0), talk.invite());
    tap.see(ms(100), talk.reply(180, "INVITE", 1, ""));
    tap.see(ms(1000), talk.cancel());
    tap.see(ms(1005), talk.reply(200, "INVITE", 1, &talk.answer));
    tap.see(ms(1010), talk.reply(200, "CANCEL", 1, ""));
    tap.see(ms(1020), talk.forth("ACK", 1, ""));
    tap.hang_up(ms(1040), &talk);
    let call = tap.run().only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_eq!(call.answer_time, Some(common::START + ms(1005)));
}

/// ```text
/// A               B
/// | INVITE        |
/// |-------------->|
/// |        100 4xx|
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// ```
#[test]
fn a_refused_call_fails_with_its_status_by_the_callee() {
    for status in [302, 400, 403, 404, 408, 480, 486, 488, 500, 503, 600, 603] {
        let (mut tap, talk) = (Tap::default(), Talk::new("refused"));
        tap.see(ms(0), talk.invite());
        tap.see(ms(2), talk.reply(100, "INVITE", 1, ""));
        tap.see(ms(150), talk.reply(status, "INVITE", 1, ""));
        tap.see(ms(650), talk.reply(status, "INVITE", 1, ""));
        tap.see(ms(660), talk.forth("ACK", 1, ""));
        let seen = tap.run();
        let call = seen.only_call();
        assert_failed(&call, status, EndedBy::Callee);
        // A redirection is no outcome yet (RFC 6076 section 4.3).
        let delay = (status != 302).then_some(150.0);
        assert_eq!(call.signalling.srd_ms, delay);
        assert_eq!(call.end_time, Some(common::START + ms(150)));
        assert_eq!(seen.snapshot.active.len(), 0);
    }
}

/// ```text
/// A               B
/// | INVITE 1      |
/// |-------------->|
/// |        401/407|
/// |<--------------|
/// | ACK 1         |
/// |-------------->|
/// | INVITE 2      |  with credentials; same Call-ID, same From tag
/// |-------------->|
/// |    100 180 200|  with a To tag of its own
/// |<--------------|
/// | ACK 2     BYE |
/// |-------------->|
/// ```
#[test]
fn a_challenged_call_goes_on_with_its_credentials() {
    for status in [401, 407] {
        let talk = Talk::new("challenged");
        let challenge = Talk { to_tag: "challenger".into(), ..talk.clone() };
        let again = Talk { more: "Authorization: Digest username=\"a\"\r\n".into(), ..talk };
        let mut tap = Tap::default();
        tap.see(ms(0), challenge.invite());
        tap.see(ms(10), challenge.reply(status, "INVITE", 1, ""));
        tap.see(ms(20), challenge.forth("ACK", 1, ""));
        tap.see(ms(40), again.invite_again(2));
        tap.see(ms(42), again.reply(100, "INVITE", 2, ""));
        tap.see(ms(200), again.reply(180, "INVITE", 2, ""));
        tap.see(ms(700), again.reply(200, "INVITE", 2, &again.answer));
        tap.see(ms(720), again.forth("ACK", 2, ""));
        tap.talk(ms(800), &again, 150);
        tap.hang_up(secs(5), &again);
        let seen = tap.run();
        let call = seen.only_call();
        assert_ended(&call, EndedBy::Caller);
        assert_eq!(call.start_time, common::START);
        assert_whole(&call, again.ssrc, 150);
        assert_whole(&call, again.ssrc_back(), 150);
        seen.assert_no_orphans();
    }
}

/// ```text
/// A               B
/// | INVITE 1      |
/// |-------------->|
/// |            407|
/// |<--------------|
/// | ACK 1         |
/// |-------------->|
/// | INVITE 2      |  with wrong credentials
/// |-------------->|
/// |            403|
/// |<--------------|
/// ```
#[test]
fn a_challenged_call_with_wrong_credentials_fails() {
    let (mut tap, talk) = (Tap::default(), Talk::new("wrong-credentials"));
    tap.see(ms(0), talk.invite());
    tap.see(ms(10), talk.reply(407, "INVITE", 1, ""));
    tap.see(ms(20), talk.forth("ACK", 1, ""));
    tap.see(ms(40), talk.invite_again(2));
    tap.see(ms(60), talk.reply(403, "INVITE", 2, ""));
    tap.see(ms(70), talk.forth("ACK", 2, ""));
    assert_failed(&tap.run().only_call(), 403, EndedBy::Callee);
}

/// ```text
/// A               B
/// | INVITE        |
/// |-------------->|
/// |            401|
/// |<--------------|
/// | ACK           |  and never a word again: something else passes for ten minutes
/// |-------------->|
/// ```
#[test]
fn a_challenge_that_nobody_meets_is_a_failure_in_the_end() {
    let (mut tap, talk) = (Tap::default(), Talk::new("unmet"));
    tap.see(ms(0), talk.invite());
    tap.see(ms(10), talk.reply(401, "INVITE", 1, ""));
    tap.see(ms(20), talk.forth("ACK", 1, ""));
    for second in 1..600 {
        tap.raw(secs(second), common::addr("192.0.2.1:5000"), common::addr("192.0.2.2:53"), b"x");
    }
    let call = tap.run().only_call();
    assert_eq!((call.state, call.status_code), (CallState::Failed, Some(401)), "{call:#?}");
}

/// ```text
/// A               P         B1       B2
/// | INVITE        |
/// |-------------->|
/// | 180 (tag b1)  |
/// |<--------------|
/// | 180 (tag b2)  |
/// |<--------------|
/// | 200 (tag b2)  |
/// |<--------------|
/// | ACK, BYE      |
/// |-------------->|
/// ```
#[test]
fn a_forked_call_is_one_call() {
    let talk = Talk::new("forked");
    let one = Talk { to_tag: "b1".into(), ..talk.clone() };
    let two = Talk { to_tag: "b2".into(), ..talk.clone() };
    let mut tap = Tap::default();
    tap.see(ms(0), talk.invite());
    tap.see(ms(100), one.reply(180, "INVITE", 1, ""));
    tap.see(ms(150), two.reply(180, "INVITE", 1, ""));
    tap.see(ms(900), two.reply(200, "INVITE", 1, &two.answer));
    tap.see(ms(920), two.forth("ACK", 1, ""));
    tap.talk(secs(1), &two, 100);
    tap.hang_up(secs(5), &two);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    close(call.signalling.srd_ms.unwrap(), 100.0);
    assert_whole(&call, talk.ssrc, 100);
    assert_whole(&call, talk.ssrc_back(), 100);
    seen.assert_no_orphans();
}

/// ```text
/// A               P         B1       B2
/// | INVITE        |
/// |-------------->|
/// | 200 (tag b1)  |
/// |<--------------|
/// | 200 (tag b2)  |  both have answered
/// |<--------------|
/// | ACK (b1) (b2) |
/// |-------------->|
/// | BYE (b2)      |  A keeps b1
/// |-------------->|
/// |<=== RTP b1 ==>|
/// | BYE (b1)      |  6 s
/// |-------------->|
/// ```
#[test]
fn a_call_that_two_answer_lasts_until_the_last_is_hung_up() {
    let one = Talk { to_tag: "b1".into(), ..Talk::new("both") };
    let two = Talk { to_tag: "b2".into(), ..Talk::new("both").on_ports(4000, 7000) };
    let mut tap = Tap::default();
    tap.see(ms(0), one.invite());
    tap.see(ms(400), one.reply(200, "INVITE", 1, &one.answer));
    tap.see(ms(420), one.forth("ACK", 1, ""));
    tap.see(ms(450), two.reply(200, "INVITE", 1, &two.answer));
    tap.see(ms(470), two.forth("ACK", 1, ""));
    tap.hang_up(ms(480), &two);
    tap.talk(ms(500), &one, 200);
    tap.hang_up(secs(6), &one);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_eq!(call.end_time, Some(common::START + secs(6)), "{call:#?}");
    assert_whole(&call, one.ssrc, 200);
    assert_whole(&call, one.ssrc_back(), 200);
    seen.assert_no_orphans();
}

/// ```text
/// A         P         B1        B2     the tap is at P
/// | INVITE  |
/// |-------->| INVITE  |
/// |         |-------->|
/// |         | INVITE  |         |      same Call-ID and From tag, other branch
/// |         |------------------>|
/// |         |      486|
/// |         |<--------|
/// |         | ACK     |
/// |         |-------->|
/// |         |        200 (b2)   |
/// |         |<------------------|
/// |     200 |
/// |<--------|
/// | ACK     | ACK               |
/// |-------->|------------------>|
/// ```
#[test]
fn a_fork_that_fails_behind_a_proxy_is_not_the_call() {
    let call = Talk::new("one-busy");
    let [front, mut one] = call.through("192.0.2.5:5060");
    let [_, mut two] = call.through("192.0.2.5:5060");
    (one.callee, one.to_tag, one.salt) = (common::addr("203.0.113.77:5060"), "b1".into(), 7);
    two.salt = 8;
    let mut tap = Tap::default();
    tap.see(ms(0), front.invite());
    tap.see(ms(1), front.reply(100, "INVITE", 1, ""));
    tap.see(ms(2), one.invite());
    tap.see(ms(3), two.invite());
    tap.see(ms(100), two.reply(180, "INVITE", 1, ""));
    tap.see(ms(101), front.reply(180, "INVITE", 1, ""));
    tap.see(ms(300), one.reply(486, "INVITE", 1, ""));
    tap.see(ms(301), one.forth("ACK", 1, ""));
    tap.see(ms(900), two.reply(200, "INVITE", 1, &call.answer));
    tap.see(ms(901), front.reply(200, "INVITE", 1, &call.answer));
    tap.see(ms(920), front.forth("ACK", 1, ""));
    tap.see(ms(921), two.forth("ACK", 1, ""));
    tap.talk(secs(1), &call, 150);
    tap.hang_up(secs(6), &front);
    tap.hang_up(ms(6001), &two);
    let seen = tap.run();
    let record = seen.only_call();
    assert_ended(&record, EndedBy::Caller);
    assert_whole(&record, call.ssrc, 150);
    assert_whole(&record, call.ssrc_back(), 150);
    seen.assert_no_orphans();
}

/// As above, but all that B1 says is 603, after B2 has answered: its branch was cancelled late.
#[test]
fn a_6xx_of_another_branch_after_the_200_ends_nothing() {
    let call = Talk::new("late-603");
    let [front, mut one] = call.through("192.0.2.5:5060");
    let [_, two] = call.through("192.0.2.5:5060");
    (one.callee, one.to_tag, one.salt) = (common::addr("203.0.113.77:5060"), "b1".into(), 7);
    let mut tap = Tap::default();
    tap.see(ms(0), front.invite());
    tap.see(ms(2), one.invite());
    tap.see(ms(3), two.invite());
    tap.see(ms(900), two.reply(200, "INVITE", 1, &call.answer));
    tap.see(ms(901), front.reply(200, "INVITE", 1, &call.answer));
    tap.see(ms(902), one.cancel());
    tap.see(ms(903), one.reply(200, "CANCEL", 1, ""));
    tap.see(ms(910), one.reply(603, "INVITE", 1, ""));
    tap.see(ms(911), one.forth("ACK", 1, ""));
    tap.see(ms(920), front.forth("ACK", 1, ""));
    tap.see(ms(921), two.forth("ACK", 1, ""));
    tap.talk(secs(1), &call, 150);
    tap.hang_up(secs(6), &front);
    tap.hang_up(ms(6001), &two);
    let record = tap.run().only_call();
    assert_ended(&record, EndedBy::Caller);
    assert_eq!(record.end_time, Some(common::START + secs(6)));
}

/// The tap is between A and P, whose fork to B1 has failed and which tells A nothing of it: A sees
/// 180 with the tag of B1 and then 200 with the tag of B2, and the media that B1 announced early.
#[test]
fn early_media_of_one_fork_and_the_answer_of_another_are_one_call() {
    let one = Talk { to_tag: "b1".into(), ssrc: 0x1000, ..Talk::new("early") };
    let one = Talk { to_tag: "b1".into(), ..one.on_ports(4000, 7000) };
    let two = Talk { to_tag: "b2".into(), ..Talk::new("early") };
    let mut tap = Tap::default();
    tap.see(ms(0), two.invite());
    tap.see(ms(100), one.reply(183, "INVITE", 1, &one.answer));
    tap.speech(ms(120), &one.speech_back(100));
    tap.see(secs(3), two.reply(200, "INVITE", 1, &two.answer));
    tap.see(ms(3010), two.forth("ACK", 1, ""));
    tap.talk(ms(3050), &two, 100);
    tap.hang_up(secs(6), &two);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_whole(&call, one.ssrc_back(), 100);
    assert_whole(&call, two.ssrc, 100);
    assert_whole(&call, two.ssrc_back(), 100);
    seen.assert_no_orphans();
}

/// The capture begins with the 200, with the ACK, with the media, or with the BYE of a call.
#[test]
fn a_capture_that_begins_in_the_middle_of_a_call_is_no_trouble() {
    let talk = Talk::new("middle");
    for start in 0..4_u64 {
        let mut tap = Tap::default();
        if start < 1 {
            tap.see(ms(0), talk.reply(200, "INVITE", 1, &talk.answer));
        }
        if start < 2 {
            tap.see(ms(20), talk.forth("ACK", 1, ""));
        }
        if start < 3 {
            tap.talk(ms(50), &talk, 100);
        }
        tap.hang_up(secs(4), &talk);
        let seen = tap.run();
        let calls = seen.calls();
        assert!(calls.len() <= usize::from(start == 0), "from {start}: {calls:#?}");
        for call in calls {
            assert_eq!(call.state, CallState::Ended, "{call:#?}");
        }
        let count = if start < 3 { 100 } else { 0 };
        for ssrc in [talk.ssrc, talk.ssrc_back()] {
            assert_eq!(sum(&seen.streams_of(ssrc)).received, count, "from {start}");
        }
    }
}

/// ```text
/// A               B
/// | INFO, OPTIONS, UPDATE, MESSAGE, NOTIFY, REFER with To tags: no call is known
/// |-------------->|
/// |            481|
/// |<--------------|
/// ```
#[test]
fn requests_within_an_unknown_dialog_open_no_call() {
    let (mut tap, talk) = (Tap::default(), Talk::new("unknown"));
    let methods = ["INFO", "OPTIONS", "UPDATE", "MESSAGE", "NOTIFY", "REFER", "PRACK"];
    for (at, method) in (0..).zip(methods) {
        tap.see(secs(at), talk.forth(method, 5, ""));
        tap.see(secs(at) + ms(5), talk.reply(481, method, 5, ""));
    }
    assert_eq!(tap.run().calls().len(), 0);
}

/// ```text
/// A               B
/// | REGISTER, OPTIONS, SUBSCRIBE, PUBLISH, MESSAGE outside a dialog
/// |-------------->|
/// |            200|
/// |<--------------|
/// ```
#[test]
fn other_methods_are_no_calls() {
    let mut tap = Tap::default();
    let methods = ["REGISTER", "OPTIONS", "SUBSCRIBE", "PUBLISH", "MESSAGE"];
    for (at, method) in (0..).zip(methods) {
        let talk = Talk::new(method);
        let text = String::from_utf8(talk.invite().bytes).unwrap().replace("INVITE", method);
        tap.see(secs(at), tap::flight(talk.caller, talk.callee, &text));
        tap.see(secs(at) + ms(5), talk.reply(200, method, 1, ""));
    }
    let seen = tap.run();
    assert_eq!(seen.calls().len(), 0);
    assert_eq!(seen.health.sip_messages, 10);
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// | INFO          |  and OPTIONS, UPDATE without SDP, MESSAGE, REFER, NOTIFY
/// |-------------->|
/// |            200|  or 405, 481, 501
/// |<--------------|
/// | BYE           |
/// |-------------->|
/// ```
#[test]
fn requests_within_a_call_do_not_touch_it() {
    for status in [200, 405, 488, 501] {
        let (mut tap, talk) = (Tap::default(), Talk::new("within"));
        tap.set_up(secs(0), &talk);
        tap.talk(ms(600), &talk, 200);
        let methods = ["INFO", "OPTIONS", "UPDATE", "MESSAGE", "REFER", "NOTIFY"];
        for (index, method) in (0..).zip(methods) {
            let at = ms(1000 + 300 * u64::from(index));
            tap.see(at, talk.forth(method, 2 + index, ""));
            tap.see(at + ms(5), talk.reply(status, method, 2 + index, ""));
        }
        tap.hang_up(secs(6), &talk);
        let call = tap.run().only_call();
        assert_ended(&call, EndedBy::Caller);
        close(call.duration_seconds, 5.5);
    }
}

/// ```text
/// A         P         B        the tap is at P and sees both hops
/// | INVITE  | INVITE  |        other branch, one more Via, Record-Route; the same SDP
/// |-------->|-------->|
/// |     180 |     180 |
/// |<--------|<--------|
/// |     200 |     200 |
/// |<--------|<--------|
/// | ACK     | ACK     |
/// |-------->|-------->|
/// |<====== RTP ======>|
/// | BYE     | BYE     |
/// |-------->|-------->|
/// ```
#[test]
fn two_hops_through_a_proxy_are_one_call() {
    let call = Talk::new("proxied");
    let [before, behind] = call.through("192.0.2.5:5060");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &before);
    tap.set_up(ms(1), &behind);
    tap.talk(ms(600), &call, 200);
    tap.hang_up(secs(6), &before);
    tap.hang_up(ms(6001), &behind);
    let seen = tap.run();
    let record = seen.only_call();
    assert_ended(&record, EndedBy::Caller);
    assert_eq!(record.start_time, common::START);
    assert_eq!(record.end_time, Some(common::START + secs(6)));
    assert_eq!(record.streams.records().count(), 2);
    assert_whole(&record, call.ssrc, 200);
    assert_whole(&record, call.ssrc_back(), 200);
    seen.assert_no_orphans();
}

/// ```text
/// A         P         B        P rewrites the session descriptions to a media relay R
/// | INVITE  | INVITE  |        A:4000 | R:7000
/// |-------->|-------->|
/// |     200 |     200 |        R:7002 | B:6000
/// |<--------|<--------|
/// |<= RTP R =>|<= RTP =>|      the SSRCs are the same on both sides of R
/// | BYE     | BYE     |
/// |-------->|-------->|
/// ```
#[test]
fn a_call_through_a_media_relay_has_the_streams_of_both_hops() {
    let call = Talk::new("relayed");
    let [mut before, mut behind] = call.through("192.0.2.5:5060");
    let (towards_b, towards_a) = (common::addr("192.0.2.6:7000"), common::addr("192.0.2.6:7002"));
    behind.caller_media = towards_b;
    behind.offer = offer(towards_b, "sendrecv");
    before.callee_media = towards_a;
    before.answer = offer(towards_a, "sendrecv");
    let mut tap = Tap::default();
    tap.see(ms(0), before.invite());
    tap.see(ms(1), behind.invite());
    tap.see(ms(100), behind.reply(180, "INVITE", 1, ""));
    tap.see(ms(101), before.reply(180, "INVITE", 1, ""));
    tap.see(ms(500), behind.reply(200, "INVITE", 1, &behind.answer));
    tap.see(ms(501), before.reply(200, "INVITE", 1, &before.answer));
    tap.see(ms(520), before.forth("ACK", 1, ""));
    tap.see(ms(521), behind.forth("ACK", 1, ""));
    tap.talk(ms(600), &before, 200);
    tap.talk(ms(601), &behind, 200);
    tap.hang_up(secs(6), &before);
    tap.hang_up(ms(6001), &behind);
    let seen = tap.run();
    let record = seen.only_call();
    assert_ended(&record, EndedBy::Caller);
    seen.assert_no_orphans();
    for (ssrc, direction) in [(call.ssrc, Direction::Rx), (call.ssrc_back(), Direction::Tx)] {
        let streams = from_source(&record, ssrc);
        assert_eq!(streams.len(), 2, "{record:#?}");
        assert!(streams.iter().all(|stream| stream.direction == direction), "{streams:#?}");
        let whole = |stream: &_| sum(core::slice::from_ref(stream)) == Truth::whole(200);
        assert!(streams.iter().all(whole), "{streams:#?}");
    }
}

/// The caller's own BYE behind a proxy, and the callee's, seen on both hops in either order.
#[test]
fn who_hung_up_is_known_on_any_hop() {
    for is_callee in [false, true] {
        let call = Talk::new("hops");
        let [before, behind] = call.through("192.0.2.5:5060");
        let mut tap = Tap::default();
        tap.set_up(secs(0), &before);
        tap.set_up(ms(1), &behind);
        if is_callee {
            tap.see(secs(6), behind.back("BYE", 1, ""));
            tap.see(ms(6001), before.back("BYE", 1, ""));
            tap.see(ms(6010), before.reply_back(200, "BYE", 1, ""));
            tap.see(ms(6011), behind.reply_back(200, "BYE", 1, ""));
        } else {
            tap.hang_up(secs(6), &before);
            tap.hang_up(ms(6001), &behind);
        }
        let by = if is_callee { EndedBy::Callee } else { EndedBy::Caller };
        assert_ended(&tap.run().only_call(), by);
    }
}

/// ```text
/// A         X         B        X is a B2BUA: Call-ID "a" on the left, "b" on the right
/// | INVITE a|
/// |-------->| INVITE b|
/// |         |-------->|
/// |    200 a|    200 b|
/// |<--------|<--------|
/// |<= RTP =>|<= RTP =>|
/// | BYE a   | BYE b   |
/// |-------->|-------->|
/// ```
#[test]
fn the_legs_of_a_b2bua_are_two_calls() {
    let left = Talk::between(
        "leg-a",
        ["198.51.100.1:5060", "192.0.2.5:5060"],
        ["198.51.100.1:4000", "192.0.2.5:7000"],
    );
    let right = Talk::between(
        "leg-b",
        ["192.0.2.5:5060", "203.0.113.2:5060"],
        ["192.0.2.5:7002", "203.0.113.2:6000"],
    );
    let mut tap = Tap::default();
    tap.set_up(secs(0), &left);
    tap.set_up(ms(5), &right);
    tap.talk(ms(600), &left, 200);
    // The media passes with its source as it is.
    tap.talk(ms(601), &right, 200);
    tap.hang_up(secs(6), &left);
    tap.hang_up(ms(6005), &right);
    let seen = tap.run();
    assert_eq!(seen.calls().len(), 2);
    for talk in [&left, &right] {
        let call = seen.call(&talk.call_id);
        assert_ended(&call, EndedBy::Caller);
        assert_eq!(call.streams.records().count(), 2);
        assert_whole(&call, talk.ssrc, 200);
        assert_eq!(one_stream(&call, talk.ssrc).src, talk.caller_media);
        assert_eq!(one_stream(&call, talk.ssrc_back()).src, talk.callee_media);
    }
    seen.assert_no_orphans();
}

/// A B2BUA that leaves the session descriptions as they are: both calls name the same addresses,
/// and the media goes from phone to phone. It is counted once, and for one of the calls.
#[test]
fn media_that_two_calls_announce_is_counted_once() {
    let left = Talk { callee: common::addr("192.0.2.5:5060"), ..Talk::new("direct-a") };
    let right = Talk { caller: common::addr("192.0.2.5:5060"), ..Talk::new("direct-b") };
    let mut tap = Tap::default();
    tap.set_up(secs(0), &left);
    tap.set_up(ms(5), &right);
    tap.talk(ms(600), &left, 200);
    tap.hang_up(secs(6), &left);
    tap.hang_up(ms(6005), &right);
    let seen = tap.run();
    assert_eq!(seen.calls().len(), 2);
    seen.assert_no_orphans();
    for ssrc in [left.ssrc, left.ssrc_back()] {
        assert_eq!(sum(&seen.streams_of(ssrc)), Truth::whole(200));
    }
}

/// The same Call-ID a minute after the end of its call, with new tags.
#[test]
fn a_call_id_used_again_is_another_call() {
    let one = Talk::new("reused");
    let two = Talk {
        from_tag: "f2".into(),
        to_tag: "t2".into(),
        salt: 1,
        ssrc: 0xB000_0000,
        ..one.clone()
    };
    for gap in [2, 60] {
        let mut tap = Tap::default();
        tap.set_up(secs(0), &one);
        tap.talk(ms(600), &one, 100);
        tap.hang_up(secs(5), &one);
        let again = secs(5 + gap);
        tap.set_up(again, &two);
        tap.talk(again + ms(600), &two, 150);
        tap.see(again + secs(6), two.back("BYE", 1, ""));
        let seen = tap.run();
        let calls = seen.calls();
        assert_eq!(calls.len(), 2, "{calls:#?}");
        assert_ended(&calls[0], EndedBy::Caller);
        assert_ended(&calls[1], EndedBy::Callee);
        assert_whole(&calls[0], one.ssrc, 100);
        assert_whole(&calls[1], two.ssrc, 150);
        seen.assert_no_orphans();
    }
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// | INVITE 2      |  other ports
/// |-------------->|
/// |            488|
/// |<--------------|
/// | ACK 2         |
/// |-------------->|
/// |<==== RTP ====>|  on the ports of before
/// | BYE           |
/// |-------------->|
/// ```
#[test]
fn a_reinvite_that_fails_leaves_the_call_up() {
    for status in [488, 500, 401] {
        let (mut tap, talk) = (Tap::default(), Talk::new("reinvite"));
        let other = talk.clone().on_ports(4400, 6600);
        tap.set_up(secs(0), &talk);
        tap.talk(ms(600), &talk, 250);
        tap.see(secs(2), talk.forth("INVITE", 2, &other.offer));
        tap.see(ms(2100), talk.reply(status, "INVITE", 2, ""));
        tap.see(ms(2110), talk.forth("ACK", 2, ""));
        tap.hang_up(secs(6), &talk);
        let seen = tap.run();
        let call = seen.only_call();
        assert_ended(&call, EndedBy::Caller);
        close(call.duration_seconds, 5.5);
        assert_whole(&call, talk.ssrc, 250);
        seen.assert_no_orphans();
    }
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// | INVITE 2      |
/// |-------------->|
/// |       INVITE 1|  at the same time
/// |<--------------|
/// | 491           |
/// |-------------->|
/// |            491|
/// |<--------------|
/// | ACK           |
/// |<------------->|
/// |       INVITE 2|  again, and alone
/// |<--------------|
/// | 200, ACK      |
/// |<------------->|
/// ```
#[test]
fn glare_ends_nothing() {
    let (mut tap, talk) = (Tap::default(), Talk::new("glare"));
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 250);
    tap.see(secs(2), talk.forth("INVITE", 2, &talk.offer));
    tap.see(ms(2001), talk.back("INVITE", 1, &talk.answer));
    tap.see(ms(2010), talk.reply_back(491, "INVITE", 1, ""));
    tap.see(ms(2011), talk.reply(491, "INVITE", 2, ""));
    tap.see(ms(2020), talk.back("ACK", 1, ""));
    tap.see(ms(2021), talk.forth("ACK", 2, ""));
    tap.see(secs(4), talk.back("INVITE", 2, &talk.answer));
    tap.see(ms(4020), talk.reply_back(200, "INVITE", 2, &talk.offer));
    tap.see(ms(4040), talk.back("ACK", 2, ""));
    tap.see(secs(6), talk.back("BYE", 3, ""));
    let call = tap.run().only_call();
    assert_ended(&call, EndedBy::Callee);
    assert_eq!(call.answer_time, Some(common::START + ms(500)));
    assert_whole(&call, talk.ssrc, 250);
}

/// The capture stops while A and B talk, ring, or try.
#[test]
fn a_call_that_does_not_end_in_the_capture_stays_up() {
    let (mut tap, talk) = (Tap::default(), Talk::new("endless"));
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 200);
    let state_at = |at| tap.run_until(at).only_call().state;
    assert_eq!(state_at(ms(50)), CallState::Trying);
    assert_eq!(state_at(ms(300)), CallState::Ringing);
    assert_eq!(state_at(ms(600)), CallState::Active);
    let seen = tap.run();
    assert_eq!((seen.snapshot.active.len(), seen.snapshot.history.len()), (1, 0));
    let call = seen.only_call();
    assert_eq!((call.state, call.ended_by, call.end_time), (CallState::Active, None, None));
    assert_whole(&call, talk.ssrc, 200);
    assert_whole(&call, talk.ssrc_back(), 200);
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// |<==== RTP ====>|  4 s
///     silence        25 hours, in which others pass
/// ```
///
/// A capture may hold signalling alone, and calls last for hours without any: only a day without
/// it is an end that was not seen.
#[test]
fn a_call_of_which_nothing_is_heard_for_a_day_is_over() {
    let (mut tap, talk) = (Tap::default(), Talk::new("silent"));
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 200);
    for minutes in (10..25 * 60).step_by(10) {
        let other = common::addr("192.0.2.1:9");
        tap.raw(secs(60 * minutes), other, common::addr("192.0.2.2:9"), b"something");
    }
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Timeout);
    assert_whole(&call, talk.ssrc, 200);
    seen.assert_no_orphans();
    assert_eq!(tap.run_until(secs(23 * 3600)).only_call().state, CallState::Active);
}

/// SIP is silent for 400 s, but media passes, one way: the call is up.
#[test]
fn media_keeps_a_call_up() {
    let (mut tap, talk) = (Tap::default(), Talk::new("long"));
    tap.set_up(secs(0), &talk);
    let mut part = talk.speech_forth(1000);
    for round in 0..22 {
        tap.speech(ms(600) + secs(20) * round, &part);
        part = part.going_on(1000);
    }
    assert_eq!(tap.run_until(secs(430)).only_call().state, CallState::Active);
    tap.hang_up(secs(445), &talk);
    let call = tap.run().only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_whole(&call, talk.ssrc, 22_000);
}

/// ```text
/// A               B
/// | INVITE        |  without SDP
/// |-------------->|
/// |            200|  B's offer
/// |<--------------|
/// | ACK           |  A's answer
/// |-------------->|
/// ```
#[test]
fn an_offer_may_come_with_the_200_and_its_answer_with_the_ack() {
    let talk = Talk::new("offerless");
    let empty = Talk { offer: String::new(), ..talk.clone() };
    let mut tap = Tap::default();
    tap.see(ms(0), empty.invite());
    tap.see(ms(100), talk.reply(180, "INVITE", 1, ""));
    tap.see(ms(500), talk.reply(200, "INVITE", 1, &talk.answer));
    tap.see(ms(520), talk.forth("ACK", 1, &talk.offer));
    // Neither address is that of the other side's description, so each is found by its own.
    let nat = common::addr("192.0.2.99:31000");
    tap.speech(ms(600), &Speech { src: nat, ..talk.speech_forth(100) });
    tap.speech(ms(610), &Speech { src: nat, ..talk.speech_back(100) });
    tap.hang_up(secs(5), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_whole(&call, talk.ssrc, 100);
    assert_whole(&call, talk.ssrc_back(), 100);
    assert_eq!(one_stream(&call, talk.ssrc).direction, Direction::Rx);
    assert_eq!(one_stream(&call, talk.ssrc_back()).direction, Direction::Tx);
    seen.assert_no_orphans();
}

/// ```text
/// A               B
/// | INVITE        |
/// |-------------->|
/// |            183|  100rel, SDP
/// |<--------------|
/// | PRACK         |
/// |-------------->|
/// |    200 (PRACK)|
/// |<--------------|
/// |<==== RTP =====|
/// |            200|  without SDP
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// |<==== RTP ====>|
/// ```
#[test]
fn a_reliable_183_carries_the_answer() {
    let talk = Talk { more: "Require: 100rel\r\nRSeq: 1\r\n".into(), ..Talk::new("prack") };
    let mut tap = Tap::default();
    tap.see(ms(0), talk.invite());
    tap.see(ms(100), talk.reply(183, "INVITE", 1, &talk.answer));
    tap.see(ms(120), talk.forth("PRACK", 2, ""));
    tap.see(ms(130), talk.reply(200, "PRACK", 2, ""));
    let early = talk.speech_back(100);
    tap.speech(ms(200), &early);
    tap.see(ms(2200), talk.reply(200, "INVITE", 1, ""));
    tap.see(ms(2220), talk.forth("ACK", 1, ""));
    tap.speech(ms(2210), &early.going_on(100));
    tap.speech(ms(2300), &talk.speech_forth(100));
    tap.hang_up(secs(5), &talk);
    assert_eq!(tap.run_until(ms(2100)).only_call().state, CallState::Ringing);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_eq!(call.answer_time, Some(common::START + ms(2200)));
    close(call.signalling.srd_ms.unwrap(), 100.0);
    assert_whole(&call, talk.ssrc, 100);
    assert_whole(&call, talk.ssrc_back(), 200);
    seen.assert_no_orphans();
}

/// ```text
/// A               B
/// | INVITE ... ACK|
/// |<------------->|
/// |<==== RTP ====>|  A:4000, B:6000
/// | UPDATE        |  A:4400
/// |-------------->|
/// |   200 (UPDATE)|  B:6600
/// |<--------------|
/// |<==== RTP ====>|  on the new ports
/// ```
#[test]
fn an_update_moves_the_media() {
    let talk = Talk::new("update");
    let moved = Talk { ssrc: 0xB000_0000, ..talk.clone().on_ports(4400, 6600) };
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 100);
    tap.see(ms(2700), talk.forth("UPDATE", 2, &moved.offer));
    tap.see(ms(2720), talk.reply(200, "UPDATE", 2, &moved.answer));
    tap.talk(ms(2800), &moved, 100);
    tap.hang_up(secs(6), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    for ssrc in [talk.ssrc, talk.ssrc_back(), moved.ssrc, moved.ssrc_back()] {
        assert_whole(&call, ssrc, 100);
    }
    assert_eq!(one_stream(&call, moved.ssrc).direction, Direction::Rx);
    assert_eq!(one_stream(&call, moved.ssrc_back()).direction, Direction::Tx);
    seen.assert_no_orphans();
}

#[test]
fn a_call_over_ipv6_is_a_call() {
    let mut tap = Tap::default();
    let talk = Talk::between(
        "six",
        ["[2001:db8::1]:5060", "[2001:db8::2]:5060"],
        ["[2001:db8::1]:4000", "[2001:db8::2]:6000"],
    );
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 100);
    tap.hang_up(secs(5), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_whole(&call, talk.ssrc, 100);
    assert_whole(&call, talk.ssrc_back(), 100);
    seen.assert_no_orphans();
}

/// SIP on ports that are not 5060, on both ends.
#[test]
fn sip_is_known_on_any_port() {
    let mut tap = Tap::default();
    let sip = ["198.51.100.1:17432", "203.0.113.2:5080"];
    let talk = Talk::between("odd", sip, ["198.51.100.1:4000", "203.0.113.2:6000"]);
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 100);
    tap.hang_up(secs(5), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_whole(&call, talk.ssrc, 100);
}

/// SIP from devices that fold lines, use compact names and end lines with LF alone.
#[test]
fn sip_as_devices_write_it_is_understood() {
    let (mut tap, talk) = (Tap::default(), Talk::new("compact"));
    let rewrite = |flight: common::Flight| {
        let text = String::from_utf8(flight.bytes).unwrap();
        let text = text
            .replace("\r\nFrom: ", "\r\nf:\r\n\t")
            .replace("\r\nTo: ", "\r\nt : ")
            .replace("\r\nCall-ID: ", "\r\ni: ")
            .replace("\r\nVia: ", "\r\nv: ")
            .replace("\r\nContent-Type: ", "\r\nc: ")
            .replace("\r\nContent-Length: ", "\r\nl: ");
        // The length of the body must stay true.
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n", "\n");
        tap::flight(flight.src, flight.dst, &format!("{head}\n\n{body}"))
    };
    tap.see(ms(0), rewrite(talk.invite()));
    tap.see(ms(100), rewrite(talk.reply(180, "INVITE", 1, "")));
    tap.see(ms(500), rewrite(talk.reply(200, "INVITE", 1, &talk.answer)));
    tap.see(ms(520), rewrite(talk.forth("ACK", 1, "")));
    tap.talk(ms(600), &talk, 100);
    tap.see(secs(5), rewrite(talk.forth("BYE", 2, "")));
    let call = tap.run().only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_eq!(call.from.as_deref(), Some(ALICE));
    assert_whole(&call, talk.ssrc, 100);
    assert_whole(&call, talk.ssrc_back(), 100);
}

/// A malformed message between two good ones is counted and changes nothing.
#[test]
fn a_malformed_message_is_counted_and_passed_over() {
    let (mut tap, talk) = (Tap::default(), Talk::new("malformed"));
    tap.set_up(secs(0), &talk);
    for (at, text) in (0..).zip(["BYE x SIP/2.0\r\n\r\n", "SIP/2.0 x\r\n\r\n"]) {
        tap.see(ms(1000 + at), tap::flight(talk.caller, talk.callee, text));
    }
    tap.hang_up(secs(5), &talk);
    let seen: Seen = tap.run();
    assert_ended(&seen.only_call(), EndedBy::Caller);
    assert!(seen.health.sip_malformed >= 1, "{:?}", seen.health);
    let statistics = seen.shard.sip_figures();
    assert_eq!(statistics.malformed, seen.health.sip_malformed);
}

/// What SIP passed is counted by method and status; only what passes again on the same way is a
/// retransmission, and the next hop is none.
#[test]
fn sip_is_counted_by_method_and_status() {
    let call = Talk::new("counted");
    let [before, behind] = call.through("192.0.2.5:5060");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &before);
    tap.set_up(ms(1), &behind);
    tap.see(ms(510), before.reply(200, "INVITE", 1, &before.answer));
    tap.see(ms(530), before.forth("ACK", 1, ""));
    tap.hang_up(secs(6), &before);
    tap.hang_up(ms(6001), &behind);
    let seen = tap.run();
    let statistics = seen.shard.sip_figures();
    let requests: Vec<_> = statistics.requests().collect();
    assert_eq!(requests, [("INVITE", 2), ("ACK", 3), ("BYE", 2)]);
    let responses: Vec<_> = statistics.responses().collect();
    assert_eq!(responses, [(100, 2), (180, 2), (200, 5)]);
    assert_eq!((statistics.messages, statistics.malformed), (16, 0));
    assert_eq!(statistics.retransmissions(), 2);
}

/// A request without a To tag is an INVITE's beginning, with one it is a change: a capture that
/// begins in a call sees its re-INVITE first, and knows from then on where the media goes.
#[test]
fn a_reinvite_of_an_unknown_call_does_no_harm() {
    let (mut tap, talk) = (Tap::default(), Talk::new("joined-late"));
    tap.talk(ms(0), &talk, 300);
    tap.see(secs(2), talk.forth("INVITE", 5, &talk.offer));
    tap.see(ms(2020), talk.reply(200, "INVITE", 5, &talk.answer));
    tap.see(ms(2040), talk.forth("ACK", 5, ""));
    tap.hang_up(secs(7), &talk);
    let seen = tap.run();
    assert!(seen.calls().len() <= 1);
    for ssrc in [talk.ssrc, talk.ssrc_back()] {
        assert_eq!(sum(&seen.streams_of(ssrc)), Truth::whole(300));
    }
}

/// ```text
/// A               B
/// | INVITE        |  seven times in 32 s, and never a response; something else passes for long
/// |-------------->|
/// ```
#[test]
fn an_invite_that_nobody_answers_is_over_in_the_end() {
    let (mut tap, talk) = (Tap::default(), Talk::new("unheard"));
    for at in [0, 500, 1500, 3500, 7500, 15_500, 31_500] {
        tap.see(ms(at), talk.invite());
    }
    let (src, dst) = (common::addr("192.0.2.1:9"), common::addr("192.0.2.2:9"));
    (1..60).for_each(|round| tap.raw(secs(10 * round), src, dst, b"something"));
    assert_eq!(tap.run_until(secs(40)).only_call().state, CallState::Trying);
    let call = tap.run().only_call();
    assert_eq!((call.state, call.ended_by), (CallState::Failed, Some(EndedBy::Timeout)));
    assert_eq!((call.status_code, call.signalling.srd_ms), (None, None));
}

/// ```text
/// A               B
/// | INVITE        |
/// |-------------->|
/// |            180|
/// |<--------------|
/// | ACK           |  the capture lacks the 200
/// |-------------->|
/// |<==== RTP ====>|
/// | BYE           |
/// |-------------->|
/// ```
#[test]
fn a_call_whose_200_the_capture_lacks_ends_with_its_bye() {
    let (mut tap, talk) = (Tap::default(), Talk::new("lacking"));
    tap.see(ms(0), talk.invite());
    tap.see(ms(100), talk.reply(180, "INVITE", 1, ""));
    tap.see(ms(520), talk.forth("ACK", 1, ""));
    tap.talk(ms(600), &talk, 150);
    tap.hang_up(secs(5), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert!(call.state.is_over(), "{call:#?}");
    assert_eq!(call.ended_by, Some(EndedBy::Caller));
    assert_whole(&call, talk.ssrc, 150);
    assert_whole(&call, talk.ssrc_back(), 150);
    seen.assert_no_orphans();
}

/// ```text
/// A               B               C
/// | INVITE 1      |               |
/// |-------------->|               |
/// |            302|               |
/// |<--------------|               |
/// | ACK           |               |
/// |-------------->|               |
/// | INVITE 2      |               |  same Call-ID, same From tag
/// |------------------------------>|
/// |                            200|
/// |<------------------------------|
/// ```
#[test]
fn a_call_that_is_redirected_goes_on_at_its_new_place() {
    let talk = Talk::new("redirected");
    let there =
        Talk { callee: common::addr("203.0.113.44:5060"), to_tag: "there".into(), ..talk.clone() };
    let mut tap = Tap::default();
    tap.see(ms(0), talk.invite());
    tap.see(ms(50), talk.reply(302, "INVITE", 1, ""));
    tap.see(ms(60), talk.forth("ACK", 1, ""));
    tap.see(ms(80), there.invite_again(2));
    tap.see(ms(300), there.reply(180, "INVITE", 2, ""));
    tap.see(ms(900), there.reply(200, "INVITE", 2, &there.answer));
    tap.see(ms(920), there.forth("ACK", 2, ""));
    tap.talk(secs(1), &there, 100);
    tap.hang_up(secs(5), &there);
    let call = tap.run().only_call();
    assert_ended(&call, EndedBy::Caller);
    assert_whole(&call, talk.ssrc, 100);
}

/// A re-INVITE and the BYE of the callee on both hops of a proxy, with media that moves.
#[test]
fn a_change_on_two_hops_is_one_change() {
    let call = Talk::new("moved-hops");
    let moved = Talk { ssrc: 0xB000_0000, ..call.clone().on_ports(4400, 6600) };
    let [before, behind] = call.through("192.0.2.5:5060");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &before);
    tap.set_up(ms(1), &behind);
    tap.talk(ms(600), &call, 100);
    for (late, hop) in [(0, &behind), (1, &before)] {
        tap.see(ms(2700 + late), hop.back("INVITE", 7, &moved.answer));
        tap.see(ms(2720 - late), hop.reply_back(200, "INVITE", 7, &moved.offer));
        tap.see(ms(2740 + late), hop.back("ACK", 7, ""));
        tap.see(ms(6000 + late), hop.back("BYE", 8, ""));
        tap.see(ms(6010 - late), hop.reply_back(200, "BYE", 8, ""));
    }
    tap.talk(ms(2800), &moved, 100);
    let seen = tap.run();
    let record = seen.only_call();
    assert_ended(&record, EndedBy::Callee);
    assert_eq!(record.streams.records().count(), 4);
    for part in [&call, &moved] {
        assert_whole(&record, part.ssrc, 100);
        assert_whole(&record, part.ssrc_back(), 100);
        assert_eq!(one_stream(&record, part.ssrc).direction, Direction::Rx);
    }
    seen.assert_no_orphans();
}
