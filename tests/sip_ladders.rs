//! The user agent server, one ladder a test: F is the far end, V the appliance. Time is virtual.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{Caller, START, Sent, US, World, addr, ms, offer, rtp, secs};
use voxplane::{
    control::record::{CallState, EndedBy},
    shard::{ShardConfig, report::CallEvent},
    wire::{
        sdp::{Direction, SessionDescription},
        sip::{HeaderName, Method, NameAddr, SipMessage, StartLine, Via, elements},
    },
};

const FAR: &str = "198.51.100.1:5070";

fn world() -> World {
    World::new(ShardConfig::default())
}

fn ringing_world(delay: core::time::Duration) -> World {
    World::new(ShardConfig { answer_delay: delay, ..ShardConfig::default() })
}

fn statuses(sent: &[Sent]) -> Vec<u16> {
    sent.iter().map(Sent::status).collect()
}

fn is_request(sent: &Sent, method: Method) -> bool {
    matches!(sent.message().start_line(), StartLine::Request { method: found, .. } if found == method)
}

/// Sends one request and gives back the one answer.
fn ask(world: &mut World, caller: &Caller, method: &str, cseq: u32) -> Sent {
    world.send(caller.addr, caller.us, caller.request(method, cseq, ""));
    world.take_one()
}

fn direction(sent: &Sent) -> Direction {
    let message = sent.message();
    SessionDescription::parse(message.body()).unwrap().media().next().unwrap().direction()
}

/// ```text
/// F               V
/// | INVITE        |
/// |-------------->|
/// |    100 180 200|
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// | BYE           |  10 s later
/// |-------------->|
/// |            200|
/// |<--------------|
/// ```
#[test]
fn a_call_is_answered_and_ended_by_the_caller() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "plain");
    world.send(caller.addr, caller.us, caller.invite());
    let sent = world.take();
    assert_eq!(statuses(&sent), [100, 180, 200]);
    let [trying, ringing, answer] = &sent[..] else { unreachable!() };
    assert_eq!(trying.to_tag(), None);
    assert_eq!(ringing.to_tag(), answer.to_tag());
    assert_eq!(answer.values(HeaderName::Contact), [format!("<sip:voxplane@{US}>")]);
    assert_eq!(answer.media_address(), addr("192.0.2.9:20000"));
    assert!(sent.iter().all(|sent| sent.dst == caller.addr && sent.src == addr(US)));
    let request = SipMessage::parse(caller.invite().leak().as_bytes()).unwrap();
    for sent in &sent {
        let message = sent.message();
        assert_eq!(message.from(), request.from());
        assert_eq!(message.call_id(), request.call_id());
        assert_eq!(message.cseq(), request.cseq());
    }
    caller.to_tag = answer.to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.run_for(secs(10));
    assert_eq!(world.shard.calls_up(), 1);
    assert!(world.take().is_empty(), "nothing is sent again after the ACK");
    assert_eq!(ask(&mut world, &caller, "BYE", 2).status(), 200);
    assert_eq!(world.shard.calls_up(), 0);
    world.run_for(secs(1));
    let call = world.finished("plain");
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Caller)));
    assert_eq!(call.status_code, Some(200));
    assert_eq!(call.from.as_deref(), Some("sip:far@198.51.100.1:5070"));
    assert_eq!(call.to.as_deref(), Some("sip:sink@192.0.2.9:5060"));
    assert_eq!(call.start_time, START);
    assert_eq!(call.answer_time, Some(START));
    assert_eq!(call.end_time, Some(START + secs(10)));
    assert!((call.duration_seconds - 10.0).abs() < 1e-9);
    let expected = [
        CallEvent::Opened,
        CallEvent::Progressed(180),
        CallEvent::Answered(200),
        CallEvent::Ended(EndedBy::Caller),
    ];
    assert_eq!(world.events(), expected);
}

/// The end of a call is when its BYE came, however late the shard is polled.
#[test]
fn a_late_poll_does_not_move_the_end_of_a_call() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "late-poll");
    caller.set_up(&mut world);
    world.run_for(secs(3));
    caller.hang_up(&mut world);
    world.now = world.now + secs(4);
    world.poll();
    assert_eq!(world.finished("late-poll").end_time, Some(START + secs(3)));
}

/// ```text
/// F               V
/// | INVITE        |
/// |-------------->|
/// |            200|  at 0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5 s
/// |<--------------|
/// |            BYE|  at 32 s, and again at the same distances
/// |<--------------|
/// ```
#[test]
fn an_answer_without_ack_comes_again_until_the_call_is_given_up() {
    let mut world = world();
    let caller = Caller::new(FAR, "no-ack");
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(100));
    let sent = world.take();
    let times = |of: &dyn Fn(&Sent) -> bool| -> Vec<u128> {
        sent.iter().filter(|sent| of(sent)).map(|sent| sent.at.since(START).as_millis()).collect()
    };
    let again = [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    let answers = times(&|sent| sent.status() == 200);
    assert_eq!(answers, [&[0], &again[..]].concat());
    let byes = times(&|sent| sent.status() == 0);
    let expected: Vec<_> = [0].iter().chain(&again).map(|time| 32_000 + time).collect();
    assert_eq!(byes, expected);
    let same = |status| {
        let mut all = sent.iter().filter(|sent| sent.status() == status);
        let first = all.next().unwrap();
        all.all(|sent| (&sent.bytes, sent.dst) == (&first.bytes, first.dst))
    };
    assert!(same(200) && same(0), "sent again means the same bytes");
    let call = world.finished("no-ack");
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Timeout)));
    assert_eq!(call.end_time, Some(START + secs(32)));
}

/// ```text
/// F               V
/// | INVITE        |
/// |-------------->|
/// |    100 180 200|
/// |<--------------|
/// | BYE           |  the ACK was lost
/// |-------------->|
/// |            200|  to the BYE; the one to the INVITE does not come again
/// |<--------------|
/// ```
#[test]
fn a_bye_in_place_of_the_ack_ends_the_answers() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "bye-for-ack");
    world.send(caller.addr, caller.us, caller.invite());
    caller.to_tag = world.take()[2].to_tag();
    assert_eq!(ask(&mut world, &caller, "BYE", 2).status(), 200);
    world.run_for(secs(40));
    assert!(world.take().is_empty());
}

/// ```text
/// F               V
/// | INVITE        |
/// |-------------->|
/// |        100 180|
/// |<--------------|
/// | INVITE        |  again
/// |-------------->|
/// |            180|  again
/// |<--------------|
/// |            200|  after 2 s
/// |<--------------|
/// | INVITE        |  again
/// |-------------->|
/// |            200|  again
/// |<--------------|
/// ```
#[test]
fn an_invite_that_comes_again_gets_the_same_response() {
    let mut world = ringing_world(secs(2));
    let caller = Caller::new(FAR, "again");
    world.send(caller.addr, caller.us, caller.invite());
    let first = world.take();
    assert_eq!(statuses(&first), [100, 180]);
    world.run_for(ms(500));
    world.send(caller.addr, caller.us, caller.invite());
    assert_eq!(world.take_one().bytes, first[1].bytes);
    world.run_until(START + secs(2));
    let answer = world.take_one();
    assert_eq!((answer.status(), answer.to_tag()), (200, first[1].to_tag()));
    world.send(caller.addr, caller.us, caller.invite());
    assert_eq!(world.take_one().bytes, answer.bytes);
    assert_eq!(world.shard.calls_up(), 1);
    let opened = world.events().iter().filter(|&&event| event == CallEvent::Opened).count();
    assert_eq!(opened, 1);
}

/// ```text
/// F               V
/// | BYE           |
/// |-------------->|
/// |            200|
/// |<--------------|
/// | BYE           |  again, up to 32 s later
/// |-------------->|
/// |            200|
/// |<--------------|
/// ```
#[test]
fn a_bye_that_comes_again_is_answered_again() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "bye-again");
    caller.set_up(&mut world);
    let first = ask(&mut world, &caller, "BYE", 2);
    for wait in [1, 30] {
        world.run_for(secs(wait));
        assert_eq!(ask(&mut world, &caller, "BYE", 2).bytes, first.bytes);
    }
    world.run_for(secs(2));
    assert_eq!(ask(&mut world, &caller, "BYE", 2).status(), 481);
    assert_eq!(world.events().len(), 4);
}

/// ```text
/// F               V
/// | INVITE        |
/// |-------------->|
/// |        100 180|
/// |<--------------|
/// | CANCEL        |
/// |-------------->|
/// |  200 (CANCEL) |
/// |<--------------|
/// |  487 (INVITE) |  at 0 and 0.5 s
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// ```
#[test]
fn a_call_that_rings_can_be_cancelled() {
    let mut world = ringing_world(secs(5));
    let mut caller = Caller::new(FAR, "cancel");
    caller.more = "Record-Route: <sip:192.0.2.77;lr>,\r\n <sip:192.0.2.78;lr>\r\n".to_owned();
    world.send(caller.addr, caller.us, caller.invite());
    let tag = world.take()[1].to_tag();
    world.run_for(secs(1));
    world.send(caller.addr, caller.us, caller.request("CANCEL", 1, ""));
    let sent = world.take();
    assert_eq!(statuses(&sent), [200, 487]);
    assert_eq!(sent[0].message().cseq().unwrap().method, Method::Cancel);
    let refusal = &sent[1];
    assert_eq!(refusal.message().cseq().unwrap().method, Method::Invite);
    assert_eq!(refusal.to_tag(), tag);
    assert!(refusal.values(HeaderName::Contact).is_empty());
    assert_eq!(refusal.values(HeaderName::Via).len(), 1);
    let via = refusal.values(HeaderName::Via).remove(0);
    assert!(!via.contains("192.0.2.7"), "a fold of a header left out stays: {via}");
    world.run_for(ms(500));
    assert_eq!(world.take_one().bytes, refusal.bytes);
    // The INVITE again: the same final response (RFC 3261 section 17.2.1).
    world.send(caller.addr, caller.us, caller.invite());
    assert_eq!(world.take_one().bytes, refusal.bytes);
    caller.to_tag = tag;
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.run_for(secs(40));
    assert!(world.take().is_empty());
    let call = world.finished("cancel");
    assert_eq!((call.state, call.ended_by), (CallState::Failed, Some(EndedBy::Caller)));
    assert_eq!((call.status_code, call.end_time), (Some(487), Some(START + secs(1))));
    assert_eq!(call.answer_time, None);
}

/// ```text
/// F               V
/// | CANCEL        |  after the 200
/// |-------------->|
/// |            200|  and the call stays up
/// |<--------------|
/// ```
#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "late-cancel");
    world.send(caller.addr, caller.us, caller.invite());
    caller.to_tag = world.take()[2].to_tag();
    let mut cancel = caller.clone();
    cancel.to_tag = None;
    assert_eq!(ask(&mut world, &cancel, "CANCEL", 1).status(), 200);
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.run_for(secs(5));
    assert_eq!(world.shard.calls_up(), 1);
    assert!(world.take().is_empty());
}

/// ```text
/// F               V
/// | CANCEL        |  of another CSeq than the INVITE that rings
/// |-------------->|
/// |            481|
/// |<--------------|
/// ```
#[test]
fn a_cancel_of_no_transaction_is_refused() {
    let mut world = ringing_world(secs(5));
    let caller = Caller::new(FAR, "odd-cancel");
    world.send(caller.addr, caller.us, caller.invite());
    world.take();
    assert_eq!(ask(&mut world, &caller, "CANCEL", 2).status(), 481);
    assert_eq!(world.shard.calls_up(), 1);
}

/// ```text
/// F               V
/// | OPTIONS       |  within a call or outside
/// |-------------->|
/// |            200|  with Allow and Accept
/// |<--------------|
/// ```
#[test]
fn options_tell_what_is_understood() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "options");
    for cseq in [1, 2] {
        let answer = ask(&mut world, &caller, "OPTIONS", cseq);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.values(HeaderName::Accept), ["application/sdp, multipart/mixed"]);
        assert!(answer.values(HeaderName::Allow)[0].contains("INVITE"));
        if cseq == 1 {
            assert!(answer.to_tag().is_some());
            caller.set_up(&mut world);
        }
    }
    assert_eq!(world.shard.calls_up(), 1);
}

/// ```text
/// F               V
/// | INVITE        |  CSeq 2, media at another port
/// |-------------->|
/// |            200|  our port stays, the version of our description grows
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// | RTP           |  from the new port
/// |==============>|
/// ```
#[test]
fn a_new_offer_moves_the_media() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "move");
    let media = caller.set_up(&mut world);
    caller.media.set_port(4444);
    world.send(caller.addr, caller.us, caller.request("INVITE", 2, &caller.offer()));
    let answer = world.take_one();
    assert_eq!((answer.status(), answer.media_address()), (200, media));
    let message = answer.message();
    let sdp = SessionDescription::parse(message.body()).unwrap();
    assert_eq!(sdp.origin().unwrap().version, b"2");
    world.send(caller.addr, caller.us, caller.request("ACK", 2, ""));
    for sequence in 0..100 {
        let packet = rtp(0, false, sequence, u32::from(sequence) * 160, 7);
        world.send(caller.media, media, packet);
        world.run_for(ms(20));
    }
    world.send(caller.addr, caller.us, caller.request("BYE", 3, ""));
    world.run_for(secs(1));
    let call = world.finished("move");
    assert_eq!(call.figures.packets_received, Some(100));
    assert!(world.snapshot().orphans.is_empty());
}

/// ```text
/// F               V
/// | INVITE        |  a=sendonly; a=inactive; c=0.0.0.0; a=sendrecv
/// |-------------->|
/// |            200|  a=recvonly; a=inactive; a=recvonly; a=sendrecv
/// |<--------------|
/// | RTP           |  echoed only in the last case
/// |==============>|
/// ```
#[test]
fn a_call_on_hold_is_not_sent_media() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "hold");
    caller.user = "echo";
    let media = caller.set_up(&mut world);
    let zero = |direction| {
        offer(caller.media, direction).replace("c=IN IP4 198.51.100.1", "c=IN IP4 0.0.0.0")
    };
    let offers = [
        (offer(caller.media, "sendonly"), Direction::RecvOnly, 0),
        (offer(caller.media, "inactive"), Direction::Inactive, 0),
        (zero("sendrecv"), Direction::RecvOnly, 0),
        (zero("inactive"), Direction::Inactive, 0),
        (offer(caller.media, "sendrecv"), Direction::SendRecv, 1),
        (offer(caller.media, "recvonly"), Direction::SendOnly, 1),
    ];
    for (index, (offer, expected, echoes)) in (2_u16..).zip(offers) {
        world.send(caller.addr, caller.us, caller.request("INVITE", index.into(), &offer));
        assert_eq!(direction(&world.take_one()), expected);
        world.send(caller.addr, caller.us, caller.request("ACK", index.into(), ""));
        world.send(caller.media, media, rtp(0, false, index, 160 * u32::from(index), 1));
        assert_eq!(world.take().len(), echoes, "{expected:?}");
    }
}

/// ```text
/// F               V
/// | INVITE        |  CSeq 5
/// |-------------->|
/// |            200|
/// |<--------------|
/// | INVITE        |  CSeq 3
/// |-------------->|
/// |            500|  RFC 3261 section 12.2.2
/// |<--------------|
/// | INVITE        |  CSeq 5 once more, after its ACK
/// |-------------->|
/// |               |  nothing (RFC 6026 section 7.1)
/// ```
#[test]
fn an_offer_out_of_order_is_refused() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "cseq");
    caller.set_up(&mut world);
    let invite = |cseq| caller.request("INVITE", cseq, &caller.offer());
    world.send(caller.addr, caller.us, invite(5));
    assert_eq!(world.take_one().status(), 200);
    world.send(caller.addr, caller.us, caller.request("ACK", 5, ""));
    world.send(caller.addr, caller.us, invite(3));
    assert_eq!(world.take_one().status(), 500);
    world.send(caller.addr, caller.us, invite(5));
    assert!(world.take().is_empty());
}

/// ```text
/// F               V
/// | INVITE        |  CSeq 2
/// |-------------->|
/// |            200|
/// |<--------------|
/// | INVITE        |  CSeq 3, before the ACK
/// |-------------->|
/// |            500|  with Retry-After (RFC 3261 section 14.2)
/// |<--------------|
/// | INVITE        |  CSeq 4 of video only
/// |-------------->|
/// |            488|  and the call goes on as it was
/// |<--------------|
/// ```
#[test]
fn an_offer_that_cannot_be_taken_leaves_the_call_as_it_was() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "bad-offer");
    caller.set_up(&mut world);
    world.send(caller.addr, caller.us, caller.request("INVITE", 2, &caller.offer()));
    assert_eq!(world.take_one().status(), 200);
    world.send(caller.addr, caller.us, caller.request("INVITE", 3, &caller.offer()));
    let busy = world.take_one();
    assert_eq!(busy.status(), 500);
    assert_eq!(busy.values(HeaderName::RetryAfter), ["1"]);
    world.send(caller.addr, caller.us, caller.request("ACK", 2, ""));
    let video = caller.offer().replace("m=audio", "m=video");
    world.send(caller.addr, caller.us, caller.request("INVITE", 4, &video));
    assert_eq!(world.take_one().status(), 488);
    world.send(caller.addr, caller.us, caller.request("INVITE", 5, "no session description"));
    assert_eq!(world.take_one().status(), 488);
    world.run_for(secs(2));
    assert_eq!(world.shard.calls_up(), 1);
    assert!(world.take().is_empty());
}

/// ```text
/// F               V
/// | INVITE        |  no body
/// |-------------->|
/// |            200|  with an offer
/// |<--------------|
/// | ACK           |  with the answer
/// |-------------->|
/// | RTP           |  from where the answer said
/// |==============>|
/// ```
#[test]
fn an_invite_without_an_offer_is_made_one() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "offerless");
    world.send(caller.addr, caller.us, caller.request("INVITE", 1, ""));
    let sent = world.take();
    let answer = &sent[2];
    let media = answer.media_address();
    let message = answer.message();
    let sdp = SessionDescription::parse(message.body()).unwrap();
    assert_eq!(sdp.media().next().unwrap().formats().collect::<Vec<_>>(), [0, 8, 101]);
    caller.to_tag = answer.to_tag();
    // Another host than the signalling's: only the answer can tell.
    caller.media = addr("203.0.113.5:7000");
    world.send(caller.addr, caller.us, caller.request("ACK", 1, &caller.offer()));
    for sequence in 0..10 {
        world.send(caller.media, media, rtp(0, false, sequence, u32::from(sequence) * 160, 7));
    }
    caller.hang_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.finished("offerless").figures.packets_received, Some(10));
}

/// ```text
/// F               V
/// | INVITE        |  a body that is no session description, or offers nothing to take
/// |-------------->|
/// |            488|  with Warning
/// |<--------------|
/// ```
#[test]
fn an_offer_of_nothing_that_can_be_taken_is_refused() {
    let mut world = world();
    let caller = Caller::new(FAR, "nothing");
    let secure = caller.offer().replace("RTP/AVP", "RTP/SAVP");
    for body in ["hello", "v=1\r\n", "v=0\r\nm=video 4000 RTP/AVP 31\r\n", &secure] {
        world.send(caller.addr, caller.us, caller.request("INVITE", 1, body));
        let answer = world.take_one();
        assert_eq!(answer.status(), 488, "{body}");
        assert!(answer.text().contains("Warning: 305 "));
    }
    assert_eq!(world.shard.calls_up(), 0);
}

/// ```text
/// F               V
/// | DANCE         |          | NOTIFY etc.   |         | BYE, INFO etc. without a call
/// |-------------->|          |-------------->|         |-------------->|
/// |            501|          |            489|         |            481|
/// |<--------------|          |<--------------|         |<--------------|
/// | REFER         |          | MESSAGE       |
/// |-------------->|          |-------------->|
/// |            603|          |            200|
/// |<--------------|          |<--------------|
/// ```
#[test]
fn requests_outside_a_call_are_refused_by_kind() {
    let mut world = world();
    let caller = Caller::new(FAR, "outside");
    let allow = |sent: &Sent| sent.values(HeaderName::Allow).len() == 1;
    let unknown = ask(&mut world, &caller, "DANCE", 1);
    assert!(unknown.status() == 501 && allow(&unknown));
    for (method, status) in [
        ("SUBSCRIBE", 489),
        ("NOTIFY", 489),
        ("PUBLISH", 489),
        ("REFER", 603),
        ("MESSAGE", 200),
        ("UPDATE", 481),
        ("PRACK", 481),
        ("BYE", 481),
        ("INFO", 481),
        ("CANCEL", 481),
    ] {
        let answer = ask(&mut world, &caller, method, 1);
        assert_eq!(answer.status(), status, "{method}");
        // RFC 6665 section 8.2.2: who asks for an event must learn which ones there are.
        let tells_events = answer.text().contains("\r\nAllow-Events: vq-rtcpxr\r\n");
        assert_eq!(tells_events, status == 489, "{method}");
    }
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    assert!(world.take().is_empty(), "an ACK is never answered");
}

/// ```text
/// F               V
/// | INVITE, BYE   |  with a To tag that is not ours
/// |-------------->|
/// |            481|
/// |<--------------|
/// ```
#[test]
fn a_wrong_tag_is_no_dialog() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "wrong-tag");
    caller.set_up(&mut world);
    caller.to_tag = Some("guessed".to_owned());
    for (method, cseq) in [("INVITE", 2), ("BYE", 3), ("INFO", 4)] {
        assert_eq!(ask(&mut world, &caller, method, cseq).status(), 481, "{method}");
    }
    assert_eq!(world.shard.calls_up(), 1);
    let mut unknown = Caller::new(FAR, "unknown");
    unknown.to_tag = Some("guessed".to_owned());
    assert_eq!(ask(&mut world, &unknown, "INVITE", 1).status(), 481);
}

/// ```text
/// F               V
/// | OPTIONS       |  To without our tag, from another address
/// |-------------->|
/// |            200|  to that address
/// |<--------------|
/// |            BYE|  to the caller, not to that address
/// |<--------------|
/// ```
#[test]
fn a_request_without_our_tag_does_not_move_the_signalling() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "hijack");
    caller.set_up(&mut world);
    let mut other = caller.clone();
    (other.addr, other.to_tag) = (addr("203.0.113.66:5060"), None);
    for method in ["OPTIONS", "ACK", "INFO"] {
        world.send(other.addr, other.us, other.request(method, 9, ""));
    }
    world.take();
    world.close();
    assert_eq!(world.take_one().dst, caller.addr);
}

/// ```text
/// F               V
/// | malformed     |
/// |-------------->|
/// | 4xx, 505      |  Via, From, To, Call-ID and CSeq as they came
/// |<--------------|
/// ```
#[test]
fn malformed_requests_are_refused_with_what_they_had() {
    let caller = Caller::new(FAR, "malformed");
    let with = |from: &str, to: &str| {
        let mut world = world();
        let good = caller.invite();
        let request = good.replace(from, to);
        assert_ne!(good, request);
        world.send(caller.addr, caller.us, request.clone());
        let answer = world.take_one();
        assert_eq!(answer.dst, caller.addr);
        let sent = SipMessage::parse(request.as_bytes()).unwrap();
        let got = SipMessage::parse(&answer.bytes).unwrap();
        assert_eq!(got.call_id(), sent.call_id());
        assert_eq!(got.from(), sent.from());
        let cseq =
            |message: &SipMessage<'_>| message.values(HeaderName::CSeq).next().map(<[u8]>::to_vec);
        assert_eq!(cseq(&got), cseq(&sent));
        assert_eq!(got.via().unwrap().branch, sent.via().unwrap().branch);
        if let Some(to) = sent.to() {
            assert!(got.to().unwrap().starts_with(to));
        }
        assert_eq!(world.shard.health().sip_malformed, 1);
        assert_eq!(world.shard.calls_up(), 0);
        let StartLine::Response { code, .. } = got.start_line() else { panic!() };
        (code, answer)
    };
    assert_eq!(with("Call-ID: malformed\r\n", "").0, 400);
    assert_eq!(with("CSeq: 1 INVITE", "CSeq: 1 BYE").0, 400);
    assert_eq!(with("CSeq: 1 INVITE", "CSeq: x INVITE").0, 400);
    assert_eq!(with("To: <sip:sink@192.0.2.9:5060>\r\n", "").0, 400);
    assert_eq!(with("Max-Forwards: 70", "Max-Forwards: 700").0, 400);
    assert_eq!(with("SIP/2.0\r\nVia", "SIP/3.0\r\nVia").0, 505);
    assert_eq!(with("INVITE sip:sink", "INVITE mailto:sink").0, 416);
    let (status, answer) = with("application/sdp", "text/plain");
    assert_eq!(status, 415);
    assert_eq!(answer.values(HeaderName::Accept), ["application/sdp, multipart/mixed"]);
    let (status, answer) = with("Max-Forwards: 70\r\n", "Require: 100rel, x\r\nRequire: y\r\n");
    assert_eq!(status, 420);
    let unsupported: Vec<_> = answer.values(HeaderName::Unsupported);
    assert_eq!(unsupported.join(", "), "x, y");
}

/// ```text
/// proxies         V
/// | INVITE        |  three Vias in two headers, no rport
/// |-------------->|
/// |            200|  the same Vias in order; to the source's address, the topmost Via's port
/// |<--------------|
/// ```
#[test]
fn responses_go_back_through_all_vias_and_only_to_the_source() {
    let source = addr("203.0.113.7:31000");
    let mut caller = Caller::new(FAR, "vias");
    let vias = |top: &str| {
        format!(
            "Via: SIP/2.0/UDP {top}, SIP/2.0/UDP b.example;branch=z9hG4bK2\r\nVia: SIP/2.0/UDP c.example:5999;branch=z9hG4bK3\r\n"
        )
    };
    let answer_to = |caller: &Caller, top: &str| {
        let mut world = world();
        let request = caller.request("OPTIONS", 1, "");
        let start = request.find("Via: ").unwrap();
        let end = request.find("Max-Forwards").unwrap();
        world.send(
            source,
            caller.us,
            format!("{}{}{}", &request[..start], vias(top), &request[end..]),
        );
        let answer = world.take_one();
        let values = answer.values(HeaderName::Via);
        let vias: Vec<_> = values
            .iter()
            .flat_map(|value| elements(value.as_bytes()))
            .map(|via| String::from_utf8_lossy(via).into_owned())
            .collect();
        assert_eq!(
            vias[1..],
            ["SIP/2.0/UDP b.example;branch=z9hG4bK2", "SIP/2.0/UDP c.example:5999;branch=z9hG4bK3",]
        );
        assert_eq!(answer.dst.ip(), source.ip());
        let via = Via::parse(vias[0].as_bytes()).unwrap();
        (answer.dst.port(), via.received_ip(), via.rport)
    };
    let received = Some(source.ip());
    assert_eq!(answer_to(&caller, "a.example:5062;branch=z9hG4bK1"), (5062, received, None));
    assert_eq!(answer_to(&caller, "a.example;branch=z9hG4bK1"), (5060, received, None));
    assert_eq!(
        answer_to(&caller, "10.1.1.1:5062;rport;branch=z9hG4bK1"),
        (31_000, received, Some(Some(31_000)))
    );
    assert_eq!(
        answer_to(&caller, "203.0.113.7:5062;rport;branch=z9hG4bK1"),
        (31_000, received, Some(Some(31_000)))
    );
    assert_eq!(answer_to(&caller, "203.0.113.7:5062;branch=z9hG4bK1"), (5062, None, None));
    // A maddr is no reason to send anything to anybody else.
    assert_eq!(
        answer_to(&caller, "10.1.1.1:5062;maddr=192.0.2.200;branch=z9hG4bK1"),
        (5062, received, None)
    );
    // Port 0 is none.
    caller.call_id = "port-zero".to_owned();
    assert_eq!(answer_to(&caller, "10.1.1.1:0;branch=z9hG4bK1").0, 31_000);
}

/// The ladder of a plain call in compact header forms (RFC 3261 section 7.3.3).
#[test]
fn compact_forms_make_a_call() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "compact");
    let compact = |text: String| {
        [
            ("Via:", "v:"),
            ("From:", "f:"),
            ("To:", "t:"),
            ("Call-ID:", "i:"),
            ("Contact:", "m:"),
            ("Content-Type:", "c:"),
            ("Content-Length:", "l:"),
        ]
        .into_iter()
        .fold(text, |text, (long, short)| text.replace(long, short))
    };
    world.send(caller.addr, caller.us, compact(caller.invite()));
    let sent = world.take();
    assert_eq!(statuses(&sent), [100, 180, 200]);
    caller.to_tag = sent[2].to_tag();
    world.send(caller.addr, caller.us, compact(caller.request("ACK", 1, "")));
    world.send(caller.addr, caller.us, compact(caller.request("BYE", 2, "")));
    assert_eq!(world.take_one().status(), 200);
    world.run_for(secs(1));
    assert_eq!(world.finished("compact").state, CallState::Ended);
}

/// ```text
/// F       proxies        V
/// | INVITE, Record-Route  |  two of them; Contact of the far end
/// |---------------------->|
/// |                    200|  Record-Route copied in order
/// |<----------------------|
/// | ACK                   |
/// |---------------------->|
/// |                    BYE|  to where requests come from; Route as recorded,
/// |<----------------------|  Contact as Request-URI, From and To changed over
/// | 200                   |
/// |---------------------->|
/// ```
#[test]
fn our_bye_follows_the_recorded_route() {
    let mut world = World::new(ShardConfig { idle_timeout: secs(60), ..ShardConfig::default() });
    let mut caller = Caller::new(FAR, "route");
    let routes = ["<sip:192.0.2.77;lr>", "<sip:p2.example;lr>"];
    caller.more = format!("Record-Route: {}\r\nRecord-Route: {}\r\n", routes[0], routes[1]);
    let invite =
        caller.invite().replace(&format!("<sip:far@{FAR}>\r\n"), "<sip:far@10.9.9.9;x=y>;q=1\r\n");
    world.send(caller.addr, caller.us, invite);
    let sent = world.take();
    for response in &sent[1..] {
        assert_eq!(response.values(HeaderName::RecordRoute), routes);
    }
    caller.to_tag = sent[2].to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.run_for(secs(60));
    let bye = world.take_one();
    assert!(is_request(&bye, Method::Bye));
    assert!(bye.text().starts_with("BYE sip:far@10.9.9.9;x=y SIP/2.0\r\n"));
    assert_eq!(bye.dst, caller.addr);
    assert_eq!(bye.values(HeaderName::Route), [routes.join(", ")]);
    let message = bye.message();
    let tag = |value: Option<&[u8]>| NameAddr::parse(value.unwrap()).tag().map(<[u8]>::to_vec);
    assert_eq!(tag(message.from()), caller.to_tag.as_deref().map(|tag| tag.as_bytes().to_vec()));
    assert_eq!(tag(message.to()), Some(caller.from_tag.clone().into_bytes()));
    assert_eq!(bye.values(HeaderName::MaxForwards), ["70"]);
    world.run_for(ms(500));
    assert_eq!(world.take_one().bytes, bye.bytes);
    let [from, to, via] = [message.from(), message.to(), message.values(HeaderName::Via).next()]
        .map(|value| String::from_utf8_lossy(value.unwrap()).into_owned());
    let cseq = message.cseq().unwrap().number;
    let ok = format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: route\r\n\
         CSeq: {cseq} BYE\r\nContent-Length: 0\r\n\r\n"
    );
    world.send(caller.addr, caller.us, ok);
    world.run_for(secs(40));
    assert!(world.take().is_empty());
    let call = world.finished("route");
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Timeout)));
    assert_eq!(call.end_time, Some(START + secs(60)));
}

/// A Contact that cannot stand in a request line is not put there.
#[test]
fn a_contact_with_a_line_end_makes_no_broken_bye() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "folded-contact");
    let invite = caller.invite().replace("Contact: <sip:far@", "Contact: <sip:far\r\n x@");
    world.send(caller.addr, caller.us, invite);
    caller.to_tag = world.take()[2].to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.close();
    let bye = world.take_one();
    assert!(bye.text().starts_with(&format!("BYE sip:far@{FAR} SIP/2.0\r\n")), "{bye:?}");
}

/// ```text
/// F               V
/// | INVITE        |  a second call, where the table has room for one
/// |-------------->|
/// |            503|  with Retry-After
/// |<--------------|
/// | BYE           |  of the first; 32 s on, its place is free
/// |-------------->|
/// | INVITE        |
/// |-------------->|
/// |            200|
/// |<--------------|
/// ```
#[test]
fn a_full_table_refuses_until_a_place_is_free() {
    let mut world = World::new(ShardConfig { dialogs_max: 1, ..ShardConfig::default() });
    let mut first = Caller::new(FAR, "first");
    first.set_up(&mut world);
    let second = Caller::new("198.51.100.2:5060", "second");
    world.send(second.addr, second.us, second.invite());
    let refusal = world.take_one();
    assert_eq!(refusal.status(), 503);
    assert_eq!(refusal.values(HeaderName::RetryAfter), ["10"]);
    assert_eq!(world.shard.health().calls_refused, 1);
    first.hang_up(&mut world);
    world.run_for(secs(33));
    world.take();
    world.send(second.addr, second.us, second.invite());
    assert_eq!(statuses(&world.take()), [100, 180, 200]);
    assert_eq!(world.shard.health().calls_total, 2);
}

/// ```text
/// F               V
/// |            BYE|  nothing heard for the idle time, neither SIP nor RTP nor RTCP
/// |<--------------|
/// ```
#[test]
fn a_silent_call_is_hung_up_and_a_talking_one_is_not() {
    let mut world = World::new(ShardConfig { idle_timeout: secs(30), ..ShardConfig::default() });
    let mut caller = Caller::new(FAR, "silent");
    let media = caller.set_up(&mut world);
    for sequence in 0..50 {
        world.send(caller.media, media, rtp(0, false, sequence, u32::from(sequence) * 160, 1));
        world.run_for(secs(1));
    }
    let is_sip = |sent: &Sent| sent.src == addr(US);
    assert!(!world.take().iter().any(is_sip));
    assert_eq!(ask(&mut world, &caller, "INFO", 2).status(), 200);
    world.run_for(ms(29_999));
    assert!(!world.take().iter().any(is_sip));
    world.run_for(ms(1));
    assert!(is_request(world.take().iter().find(|sent| is_sip(sent)).unwrap(), Method::Bye));
    world.run_for(secs(1));
    let call = world.finished("silent");
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Timeout)));
    assert_eq!(call.end_time, Some(START + secs(80)));
}

/// ```text
/// A               V
/// |            BYE|  up: hung up
/// |<--------------|
/// | 200           |
/// |-------------->|
/// B               V
/// |            503|  ringing: refused
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// C               V
/// | INVITE        |
/// |-------------->|
/// |            503|
/// |<--------------|
/// ```
#[test]
fn closing_hangs_up_refuses_and_gets_quiet() {
    let mut world = ringing_world(secs(20));
    let mut up = Caller::new(FAR, "up");
    world.send(up.addr, up.us, up.invite());
    world.run_for(secs(20));
    up.to_tag = world.take()[2].to_tag();
    world.send(up.addr, up.us, up.request("ACK", 1, ""));
    let mut rings = Caller::new("198.51.100.2:5060", "rings");
    world.send(rings.addr, rings.us, rings.invite());
    rings.to_tag = world.take()[1].to_tag();
    world.run_for(secs(1));
    world.close();
    let sent = world.take();
    assert_eq!(statuses(&sent), [0, 503]);
    assert_eq!((sent[0].dst, sent[1].dst), (up.addr, rings.addr));
    assert_eq!(sent[1].message().cseq().unwrap().method, Method::Invite);
    assert_eq!(world.shard.calls_up(), 0);
    let late = Caller::new("198.51.100.3:5060", "late");
    world.send(late.addr, late.us, late.invite());
    assert_eq!(world.take_one().status(), 503);
    world.run_for(ms(300));
    assert!(!world.shard.is_quiet(), "neither the BYE nor the 503 is answered");
    let ok = sent[0].text().replace("BYE sip:far@198.51.100.1:5070 SIP/2.0", "SIP/2.0 200 OK");
    world.send(up.addr, up.us, ok);
    world.send(rings.addr, rings.us, rings.request("ACK", 1, ""));
    assert!(world.shard.is_quiet(), "all is said and answered");
    let call = world.finished("up");
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Callee)));
    let call = world.finished("rings");
    assert_eq!((call.state, call.ended_by), (CallState::Failed, Some(EndedBy::Callee)));
    assert_eq!((call.status_code, call.end_time), (Some(503), Some(START + secs(21))));
}

/// ```text
/// F               V          X
/// | RTP           |          |
/// |==============>|          |
/// |           RTP |          |
/// |<==============|          |
/// |               |      RTP |  not known to signalling
/// |               |<=========|
/// |               |          |  nothing
/// ```
#[test]
fn an_echo_goes_only_where_signalling_pointed() {
    let mut world = world();
    let mut caller = Caller::new(FAR, "echo");
    caller.user = "echo";
    let media = caller.set_up(&mut world);
    let mut stranger = Caller::new("203.0.113.9:5060", "stranger");
    stranger.media = addr("203.0.113.9:9000");
    for sequence in 0..20 {
        let packet = rtp(0, false, sequence, u32::from(sequence) * 160, 0xAA);
        world.send(caller.media, media, packet.clone());
        let echoed = world.take_one();
        assert_eq!((echoed.src, echoed.dst), (media, caller.media));
        assert_eq!(echoed.bytes[..8], packet[..8]);
        assert_ne!(echoed.bytes[8..12], packet[8..12], "under our own SSRC");
        assert_eq!(echoed.bytes[12..], packet[12..]);
        world.send(stranger.media, media, packet);
        assert!(world.take().is_empty());
    }
    caller.hang_up(&mut world);
    world.take();
    world.send(caller.media, media, rtp(0, false, 20, 3200, 0xAA));
    assert!(world.take().is_empty(), "no echo after the BYE");
}

/// A plain call and its echo over IPv6.
#[test]
fn an_ipv6_call() {
    let mut world = World::new(ShardConfig {
        advertise: Some("192.0.2.200".parse().unwrap()),
        ..ShardConfig::default()
    });
    let mut caller = Caller::new("[2001:db8::1]:5060", "six");
    caller.user = "echo";
    world.send(caller.addr, caller.us, caller.invite());
    let sent = world.take();
    assert_eq!(statuses(&sent), [100, 180, 200]);
    // The address to advertise is of the other family.
    assert_eq!(sent[2].values(HeaderName::Contact), ["<sip:voxplane@[2001:db8::9]:5060>"]);
    let media = sent[2].media_address();
    assert_eq!(media, addr("[2001:db8::9]:20000"));
    caller.to_tag = sent[2].to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.send(caller.media, media, rtp(0, false, 1, 0, 1));
    assert_eq!(world.take_one().dst, caller.media);
    world.close();
    // It has sent media, and so takes leave of them as well.
    let [bye, rtcp_bye] = &world.take()[..] else { panic!("two byes") };
    assert_eq!((bye.dst, rtcp_bye.dst), (caller.addr, addr("[2001:db8::1]:4001")));
    assert!(bye.values(HeaderName::Via)[0].starts_with("SIP/2.0/UDP [2001:db8::9]:5060;"));
}

/// The address to advertise stands in Contact, in SDP and in our Via.
#[test]
fn the_advertised_address_is_the_one_the_far_end_sees() {
    let mut world = World::new(ShardConfig {
        advertise: Some("203.0.113.100".parse().unwrap()),
        ..ShardConfig::default()
    });
    let mut caller = Caller::new(FAR, "advertise");
    world.send(caller.addr, caller.us, caller.invite());
    let sent = world.take();
    assert_eq!(sent[2].values(HeaderName::Contact), ["<sip:voxplane@203.0.113.100:5060>"]);
    assert_eq!(sent[2].media_address(), addr("203.0.113.100:20000"));
    assert_eq!(sent[2].src, addr(US), "but it is sent from the real one");
    caller.to_tag = sent[2].to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.close();
    let via = world.take_one().values(HeaderName::Via).remove(0);
    assert!(via.starts_with("SIP/2.0/UDP 203.0.113.100:5060;"));
}

/// Another parser reads everything that is sent in a call.
#[test]
fn rsip_reads_what_is_sent() {
    use rsip::prelude::{HasHeaders as _, HeadersExt as _, UntypedHeader as _};
    let mut world = ringing_world(secs(1));
    let mut caller = Caller::new(FAR, "rsip");
    caller.more = "Record-Route: <sip:192.0.2.77;lr>\r\n".to_owned();
    let mut all = Vec::new();
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(1));
    all.extend(world.take());
    caller.to_tag = all[2].to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    for (cseq, method) in (2..).zip(["OPTIONS", "INFO", "REGISTER", "UPDATE", "DANCE"]) {
        all.push(ask(&mut world, &caller, method, cseq));
    }
    world.close();
    all.push(world.take_one());
    for sent in &all {
        let message = rsip::SipMessage::try_from(&sent.bytes[..]).expect("rsip reads it");
        assert_eq!(message.call_id_header().unwrap().value(), "rsip");
        assert!(message.headers().iter().count() >= 7);
        sent.message();
    }
    assert_eq!(all.len(), 9);
}

/// A keep-alive and bytes that are no SIP are not answered.
#[test]
fn noise_is_not_answered() {
    let mut world = world();
    for noise in [&b"\r\n\r\n"[..], b"\0", b"", b"GET / HTTP/1.1\r\n\r\n", &[0xFF; 100]] {
        world.send(addr(FAR), addr(US), noise);
    }
    assert!(world.take().is_empty());
    assert_eq!(world.shard.health().sip_malformed, 3);
}

/// Texts longer than a report has room for have no character broken.
#[test]
fn long_texts_are_cut_between_characters() {
    let mut world = world();
    for (index, name) in ["ü", "€", "😀", "xü", "xx€"].into_iter().enumerate() {
        let agent = name.repeat(200);
        let mut caller = Caller::new(FAR, &format!("text-{index}"));
        caller.more = format!("User-Agent: {agent}\r\n");
        caller.set_up(&mut world);
        caller.hang_up(&mut world);
        world.run_for(secs(1));
        let call = world.finished(&caller.call_id);
        // Up to the limit of 512 bytes, that is.
        let got = call.user_agent.clone().unwrap();
        assert!(agent.starts_with(&got) && got.len() > 508.min(agent.len() - 1), "{got}");
    }
}
