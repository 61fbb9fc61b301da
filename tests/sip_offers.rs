//! What a call has beside INVITE, ACK and BYE, one ladder a test: reliable provisional responses,
//! UPDATE, session timers, merged requests, old clients. F is the far end, V the appliance.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{Caller, START, Sent, World, addr, ms, offer, secs};
use voxplane::{
    control::record::{CallState, EndedBy},
    shard::ShardConfig,
    wire::{
        sdp::{Direction, SessionDescription},
        sip::{HeaderName, Method, StartLine},
    },
};

const FAR: &str = "198.51.100.1:5070";

fn ringing_for(seconds: u64) -> World {
    World::new(ShardConfig { answer_delay: secs(seconds), ..ShardConfig::default() })
}

fn statuses(sent: &[Sent]) -> Vec<u16> {
    sent.iter().map(Sent::status).collect()
}

/// A caller whose every request has this header line.
fn caller_with(call_id: &str, header: &str) -> Caller {
    Caller { more: format!("{header}\r\n"), ..Caller::new(FAR, call_id) }
}

fn send(world: &mut World, caller: &Caller, text: String) -> Vec<Sent> {
    world.send(caller.addr, caller.us, text);
    world.take()
}

fn prack(caller: &Caller, cseq: u32, reliable: &Sent, body: &str) -> String {
    let rseq = reliable.values(HeaderName::Rseq).remove(0);
    let rack = Caller { more: format!("RAck: {rseq} 1 INVITE\r\n"), ..caller.clone() };
    rack.request("PRACK", cseq, body)
}

fn has_sdp(sent: &Sent) -> bool {
    !sent.message().body().is_empty()
}

fn direction(sent: &Sent) -> Direction {
    let message = sent.message();
    SessionDescription::parse(message.body()).unwrap().media().next().unwrap().direction()
}

/// ```text
/// F               V
/// | INVITE        |  Require: 100rel
/// |-------------->|
/// |        100 180|  with RSeq, at 0, 0.5, 1.5, 3.5 s
/// |<--------------|
/// | PRACK         |
/// |-------------->|
/// |   200 (PRACK) |
/// |<--------------|
/// |  200 (INVITE) |  which has waited for it
/// |<--------------|
/// ```
#[test]
fn a_required_reliable_response_is_sent_until_its_prack_and_holds_the_answer_back() {
    let mut world = ringing_for(0);
    let mut caller = caller_with("100rel", "Require: 100rel");
    let sent = send(&mut world, &caller, caller.invite());
    assert_eq!(statuses(&sent), [100, 180]);
    let ringing = sent[1].clone();
    assert_eq!(ringing.values(HeaderName::Require), ["100rel"]);
    assert!(!has_sdp(&ringing));
    world.run_for(secs(5));
    let again = world.take();
    let times: Vec<_> = again.iter().map(|sent| sent.at.since(START).as_millis()).collect();
    assert_eq!(times, [500, 1500, 3500]);
    assert!(again.iter().all(|sent| sent.bytes == ringing.bytes));

    caller.to_tag = ringing.to_tag();
    let wrong = Caller { more: "RAck: 7 1 INVITE\r\n".to_owned(), ..caller.clone() };
    assert_eq!(statuses(&send(&mut world, &caller, wrong.request("PRACK", 2, ""))), [481]);
    let confirmed = send(&mut world, &caller, prack(&caller, 3, &ringing, ""));
    assert_eq!(statuses(&confirmed), [200, 200]);
    assert_eq!(confirmed[0].message().method(), Some(Method::Prack));
    assert!(has_sdp(&confirmed[1]), "the answer stands in the first response that could have it");
    assert!(confirmed[1].values(HeaderName::Rseq).is_empty());
    // The PRACK again: its response again, and nothing else.
    let again = send(&mut world, &caller, prack(&caller, 3, &ringing, ""));
    assert_eq!(again[0].bytes, confirmed[0].bytes);
    assert_eq!(again.len(), 1);
    caller.more.clear();
    send(&mut world, &caller, caller.request("ACK", 1, ""));
    world.run_for(secs(10));
    assert!(world.take().is_empty());
    assert_eq!(world.shard.calls_up(), 1);
}

/// ```text
/// F               V
/// | INVITE        |  Require: 100rel, and no PRACK
/// |-------------->|
/// |            504|  after 32 s (RFC 3262 section 3)
/// |<--------------|
/// ```
#[test]
fn a_call_whose_reliable_response_is_never_confirmed_is_refused() {
    let mut world = ringing_for(0);
    let caller = caller_with("no-prack", "Require: 100rel");
    send(&mut world, &caller, caller.invite());
    world.run_for(secs(31));
    // At 0.5, 1.5, 3.5, 7.5 and 15.5 s: the interval doubles and has no upper end.
    assert_eq!(world.take().len(), 6 - 1);
    world.run_for(secs(2));
    let refused: Vec<_> = world.take().into_iter().filter(|sent| sent.status() == 504).collect();
    assert!(!refused.is_empty() && refused[0].at == START + secs(32));
    assert!(refused[0].values(HeaderName::Require).is_empty());
    assert!(refused[0].values(HeaderName::Rseq).is_empty());
}

/// ```text
/// F               V
/// | INVITE        |  no offer, Supported: 100rel
/// |-------------->|
/// |            180|  with RSeq and our offer
/// |<--------------|
/// | PRACK         |  with the answer
/// |-------------->|
/// |   200 (PRACK) |
/// |<--------------|
/// | UPDATE        |  a new offer, before the call is answered
/// |-------------->|
/// |  200 (UPDATE) |  with its answer
/// |<--------------|
/// |  200 (INVITE) |  after 4 s, without a description
/// |<--------------|
/// ```
#[test]
fn offer_and_answer_can_be_settled_while_it_rings() {
    let mut world = ringing_for(4);
    let mut caller = caller_with("early-offer", "Supported: timer, 100REL");
    let sent = send(&mut world, &caller, caller.request("INVITE", 1, ""));
    assert_eq!(statuses(&sent), [100, 180]);
    assert!(has_sdp(&sent[1]));
    caller.to_tag = sent[1].to_tag();
    let before = send(&mut world, &caller, caller.request("UPDATE", 2, &caller.offer()));
    assert_eq!(statuses(&before), [491], "our offer waits for its answer");
    let confirmed = send(&mut world, &caller, prack(&caller, 3, &sent[1], &caller.offer()));
    assert_eq!((statuses(&confirmed), has_sdp(&confirmed[0])), (vec![200], false));
    let held = offer(caller.media, "sendonly");
    let updated = send(&mut world, &caller, caller.request("UPDATE", 4, &held));
    assert_eq!(statuses(&updated), [200]);
    assert_eq!(direction(&updated[0]), Direction::RecvOnly);
    world.run_until(START + secs(4));
    let answer = world.take_one();
    assert_eq!((answer.status(), has_sdp(&answer)), (200, false));
}

/// ```text
/// F               V
/// | INVITE        |  to a number with early media, Supported: 100rel
/// |-------------->|
/// |            183|  with RSeq and the answer
/// |<--------------|
/// | CANCEL        |  before any PRACK
/// |-------------->|
/// |        200 487|
/// |<--------------|
/// ```
#[test]
fn a_call_with_early_media_can_be_cancelled_before_its_prack() {
    let mut world = ringing_for(0);
    let mut caller = caller_with("early", "Supported: 100rel");
    caller.user = "early";
    let sent = send(&mut world, &caller, caller.invite());
    assert_eq!(statuses(&sent), [100, 183]);
    assert!(has_sdp(&sent[1]) && sent[1].values(HeaderName::Rseq).len() == 1);
    let cancelled = send(&mut world, &caller, caller.request("CANCEL", 1, ""));
    assert_eq!(statuses(&cancelled), [200, 487]);
    assert!(!has_sdp(&cancelled[1]) && cancelled[1].values(HeaderName::Rseq).is_empty());
    caller.to_tag = sent[1].to_tag();
    send(&mut world, &caller, caller.request("ACK", 1, ""));
    world.run_for(secs(40));
    assert!(world.take().is_empty());
}

/// ```text
/// F               V
/// | UPDATE        |  hold; again; out of order; of video only; without a body
/// |-------------->|
/// |            200|  200 the same; 500; 488 and all stays; 200
/// |<--------------|
/// ```
#[test]
fn an_update_changes_a_call_or_leaves_it_as_it_was() {
    let mut world = ringing_for(0);
    let mut caller = Caller::new(FAR, "update");
    caller.set_up(&mut world);
    let hold = caller.request("UPDATE", 5, &offer(caller.media, "sendonly"));
    let answer = send(&mut world, &caller, hold.clone());
    assert_eq!((statuses(&answer), direction(&answer[0])), (vec![200], Direction::RecvOnly));
    assert_eq!(send(&mut world, &caller, hold)[0].bytes, answer[0].bytes);
    let late = caller.request("UPDATE", 4, &caller.offer());
    assert_eq!(statuses(&send(&mut world, &caller, late)), [500]);
    let video = caller.offer().replace("m=audio", "m=video");
    let refused = caller.request("UPDATE", 6, &video);
    assert_eq!(statuses(&send(&mut world, &caller, refused)), [488]);
    let plain = send(&mut world, &caller, caller.request("UPDATE", 7, ""));
    assert_eq!((statuses(&plain), has_sdp(&plain[0])), (vec![200], false));
    let resumed = send(&mut world, &caller, caller.request("INVITE", 8, &caller.offer()));
    let message = resumed[0].message();
    let sdp = SessionDescription::parse(message.body()).unwrap();
    // Version 1 was the first answer, 2 the hold; what was refused has none.
    assert_eq!(sdp.origin().unwrap().version, b"3");
    assert_eq!(direction(&resumed[0]), Direction::SendRecv);
}

/// ```text
/// F               V
/// | INVITE        |  Session-Expires: 60 | 90
/// |-------------->|
/// |            422|  with Min-SE | 200 with Session-Expires: 90;refresher=uac
/// |<--------------|
/// | UPDATE        |  50 s later, the refresh
/// |-------------->|
/// |            BYE|  60 s after that: 30 s before the end of the session
/// |<--------------|
/// ```
#[test]
fn a_session_that_is_not_refreshed_ends() {
    let mut world = ringing_for(0);
    let timed = |header: &str| caller_with("timed", &format!("Supported: timer\r\n{header}"));
    let caller = timed("Session-Expires: 60");
    let refused = send(&mut world, &caller, caller.invite());
    assert_eq!(statuses(&refused), [422]);
    assert!(refused[0].text().contains("\r\nMin-SE: 90\r\n"));
    assert_eq!(world.shard.health().calls_total, 0);

    let mut caller = timed("x: 90;refresher=uac");
    let sent = send(&mut world, &caller, caller.request("INVITE", 2, &caller.offer()));
    let answer = sent.last().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.values(HeaderName::SessionExpires), ["90;refresher=uac"]);
    assert_eq!(answer.values(HeaderName::Require), ["timer"]);
    caller.to_tag = answer.to_tag();
    send(&mut world, &caller, caller.request("ACK", 2, ""));
    world.run_for(secs(50));
    let refreshed = send(&mut world, &caller, caller.request("UPDATE", 3, ""));
    assert_eq!(refreshed[0].values(HeaderName::SessionExpires), ["90;refresher=uac"]);
    world.run_until(START + secs(109));
    assert!(world.take().is_empty());
    world.run_until(START + secs(110));
    let bye = world.take_one();
    assert!(matches!(bye.message().start_line(), StartLine::Request { method: Method::Bye, .. }));
    world.run_for(secs(1));
    let call = world.finished("timed");
    assert_eq!((call.state, call.ended_by), (CallState::Ended, Some(EndedBy::Timeout)));
}

/// Who asks us to refresh, or does not know of timers, gets no timer and keeps the call.
#[test]
fn a_session_that_we_would_have_to_refresh_has_no_timer() {
    for header in ["Supported: timer\r\nSession-Expires: 90;refresher=uas", "Session-Expires: 90"] {
        let mut world = ringing_for(0);
        let mut caller = caller_with("untimed", header);
        let answer = send(&mut world, &caller, caller.invite()).pop().unwrap();
        assert!(answer.values(HeaderName::SessionExpires).is_empty());
        caller.to_tag = answer.to_tag();
        send(&mut world, &caller, caller.request("ACK", 1, ""));
        world.run_for(secs(200));
        assert!(world.take().is_empty());
    }
}

/// ```text
/// F       proxies V
/// | INVITE        |  twice, on two ways: another branch
/// |-------------->|
/// |            482|  to the second
/// |<--------------|
/// ```
#[test]
fn a_request_that_comes_on_two_ways_is_one_call() {
    let mut world = ringing_for(5);
    let caller = Caller::new(FAR, "merged");
    send(&mut world, &caller, caller.invite());
    let other = Caller { branch: 2, ..caller.clone() };
    assert_eq!(statuses(&send(&mut world, &caller, other.invite())), [482]);
    assert_eq!(world.shard.calls_up(), 1);
    assert_eq!(statuses(&send(&mut world, &caller, caller.invite())), [180]);
}

/// A call that failed can be tried again by the same name, as after a refusal for its credentials
/// or its timer (RFC 3261 section 8.1.3.5).
#[test]
fn another_attempt_by_the_same_name_is_another_call() {
    let mut world = ringing_for(0);
    let busy = Caller { user: "busy", ..Caller::new(FAR, "once-more") };
    assert_eq!(statuses(&send(&mut world, &busy, busy.invite())), [100, 486]);
    let caller = Caller { user: "sink", ..busy };
    let again = caller.request("INVITE", 2, &caller.offer());
    assert_eq!(statuses(&send(&mut world, &caller, again)), [100, 180, 200]);
    assert_eq!(world.shard.health().calls_total, 2);
}

/// Messages within a call are taken, and requests that want something else are told so.
#[test]
fn what_comes_within_a_call_is_answered_by_kind() {
    let mut world = ringing_for(0);
    let mut caller = Caller::new(FAR, "within");
    caller.set_up(&mut world);
    for (cseq, (method, status)) in
        (2..).zip([("INFO", 200), ("MESSAGE", 200), ("REFER", 603), ("NOTIFY", 489)])
    {
        let request = caller.request(method, cseq, "");
        let first = send(&mut world, &caller, request.clone());
        assert_eq!(statuses(&first), [status], "{method}");
        assert_eq!(send(&mut world, &caller, request)[0].bytes, first[0].bytes, "{method}");
    }
    let stray = Caller { to_tag: Some("x".to_owned()), ..caller.clone() };
    for method in ["INFO", "MESSAGE", "UPDATE", "PRACK"] {
        assert_eq!(statuses(&send(&mut world, &caller, stray.request(method, 9, ""))), [481]);
    }
    assert_eq!(world.shard.calls_up(), 1);
}

/// Of the extensions that are required, those are named that are not there.
#[test]
fn an_unknown_extension_is_named() {
    let mut world = ringing_for(0);
    let caller = caller_with("extension", "Require: timer, x-one\r\nRequire: x-two, 100rel");
    let refused = send(&mut world, &caller, caller.invite());
    assert_eq!(statuses(&refused), [420]);
    assert_eq!(refused[0].values(HeaderName::Unsupported), ["x-one, x-two"]);
}

/// ```text
/// F               V
/// | INVITE        |  as of 1999: no tags, no branch, no method in CSeq, LF only, no Content-Type
/// |-------------->|
/// |    100 180 200|  with a tag; CSeq with its method
/// |<--------------|
/// | ACK, BYE      |  without any tag
/// |-------------->|
/// |            200|
/// |<--------------|
/// ```
#[test]
fn a_client_that_knows_neither_tags_nor_branches_makes_a_call() {
    let mut world = ringing_for(0);
    let request = |method: &str, cseq: u32, body: &str| {
        format!(
            "{method} sip:sink@192.0.2.9 SIP/2.0\nVia: SIP/2.0/UDP {FAR}\n\
             From: <sip:old@{FAR}>\nTo: <sip:sink@192.0.2.9>\nCall-ID: old\nCSeq: {cseq}\n\
             Contact: <sip:old@{FAR}>\n\n{body}"
        )
    };
    let sdp = "v=0\no=- 1 1 IN IP4\ns=-\nc=IN IP4\nt=0 0\nm=audio 4000 RTP/AVP 0\n";
    let (far, us) = (addr(FAR), addr(common::US));
    world.send(far, us, request("INVITE", 1, sdp));
    let sent = world.take();
    assert_eq!(statuses(&sent), [100, 180, 200]);
    assert!(sent[2].to_tag().is_some());
    assert_eq!(sent[2].values(HeaderName::CSeq), ["1 INVITE"]);
    assert_eq!(sent[2].dst, far);
    world.send(far, us, request("ACK", 1, ""));
    world.run_for(secs(40));
    assert!(world.take().is_empty(), "the ACK has come");
    // From another address it is not this call's.
    world.send(addr("198.51.100.2:5070"), us, request("BYE", 2, ""));
    assert_eq!(world.take_one().status(), 481);
    world.send(far, us, request("BYE", 2, ""));
    assert_eq!(world.take_one().status(), 200);
    assert_eq!(world.shard.calls_up(), 0);
    world.run_for(ms(500));
    assert_eq!(world.finished("old").ended_by, Some(EndedBy::Caller));
}

/// Who writes compact header names gets them back.
#[test]
fn compact_names_are_answered_with_compact_names() {
    let mut world = ringing_for(0);
    let caller = Caller::new(FAR, "compact");
    let compact = caller
        .invite()
        .replace("\r\nVia:", "\r\nv:")
        .replace("\r\nFrom:", "\r\nf:")
        .replace("\r\nTo:", "\r\nt:")
        .replace("\r\nCall-ID:", "\r\ni:")
        .replace("\r\nContact:", "\r\nm:")
        .replace("\r\nContent-Type:", "\r\nc:")
        .replace("\r\nContent-Length:", "\r\nl:");
    let sent = send(&mut world, &caller, compact);
    let text = sent[2].text();
    for name in ["v", "f", "t", "i", "m", "c", "l"] {
        assert!(text.contains(&format!("\r\n{name}: ")), "{name} in {text}");
    }
    for name in ["Via", "From", "To", "Call-ID", "Contact", "Content-Type", "Content-Length"] {
        assert!(!text.contains(&format!("\r\n{name}: ")), "{name} in {text}");
    }
}

/// ```text
/// F    strict proxy    V
/// | INVITE, Record-Route  |  of a proxy that knows no loose routing
/// |---------------------->|
/// |                    BYE|  to the proxy as Request-URI, the Contact last in Route
/// |<----------------------|
/// ```
#[test]
fn our_bye_goes_through_a_strict_router() {
    let mut world = ringing_for(0);
    let route = "Record-Route: <sip:strict.example>, <sip:loose.example;lr>";
    let mut caller = caller_with("strict", route);
    caller.set_up(&mut world);
    world.close();
    let bye = world.take_one();
    let message = bye.message();
    let StartLine::Request { uri, .. } = message.start_line() else { panic!() };
    assert_eq!(uri, b"sip:strict.example");
    let expected = format!("<sip:loose.example;lr>, <sip:far@{FAR}>");
    assert_eq!(bye.values(HeaderName::Route), [expected]);
}

/// An offer that an INVITE asks of us in the middle of a call is of what the call speaks, with a
/// place for each media description that there was.
#[test]
fn an_offer_in_a_call_keeps_its_codec_and_its_refused_media() {
    let mut world = ringing_for(0);
    let mut caller = Caller::new(FAR, "asked");
    caller.format = (96, "opus/48000/2");
    let with_video = |text: String| format!("{text}m=video 4100 RTP/AVP 31\r\n");
    let invite = caller.request("INVITE", 1, &with_video(caller.offer()));
    let answer = send(&mut world, &caller, invite).pop().unwrap();
    caller.to_tag = answer.to_tag();
    send(&mut world, &caller, caller.request("ACK", 1, ""));
    let offered = send(&mut world, &caller, caller.request("INVITE", 2, "")).pop().unwrap();
    let text = offered.text();
    assert!(text.contains("RTP/AVP 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\n"), "{text}");
    assert!(text.ends_with("m=video 0 RTP/AVP 31\r\n"), "{text}");
    // Its answer in the ACK; a body that answers nothing is passed over.
    let held = with_video(offer(caller.media, "sendonly"));
    send(&mut world, &caller, caller.request("ACK", 2, &held));
    send(&mut world, &caller, caller.request("INVITE", 3, &caller.offer()));
    send(&mut world, &caller, caller.request("ACK", 3, &held));
    world.run_for(secs(1));
    assert!(world.take().is_empty());
    assert_eq!(world.shard.calls_up(), 1);
}
