//! The call flows of RFC 3665 that have a server, one a test, with the far end's part as it stands
//! there. F is the far end, V the appliance; a proxy's part is what it adds to the messages.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{Caller, Sent, World, secs};
use voxplane::{
    control::record::{CallState, EndedBy},
    shard::ShardConfig,
    wire::{
        sdp::SessionDescription,
        sip::{HeaderName, Method, StartLine},
    },
};

const FAR: &str = "198.51.100.1:5060";

fn world(delay: u64) -> World {
    World::new(ShardConfig { answer_delay: secs(delay), ..ShardConfig::default() })
}

fn statuses(sent: &[Sent]) -> Vec<u16> {
    sent.iter().map(Sent::status).collect()
}

fn send(world: &mut World, caller: &Caller, text: String) -> Vec<Sent> {
    world.send(caller.addr, caller.us, text);
    world.take()
}

/// Calls and hears these statuses; knows the tag of the last.
fn call(world: &mut World, caller: &mut Caller, expected: &[u16]) -> Vec<Sent> {
    let sent = send(world, caller, caller.invite());
    assert_eq!(statuses(&sent), expected);
    caller.to_tag = sent.last().unwrap().to_tag();
    sent
}

fn outcome(world: &mut World, call_id: &str) -> (CallState, Option<EndedBy>, Option<u16>) {
    world.run_for(secs(33));
    let call = world.finished(call_id);
    assert_eq!(world.shard.calls_up(), 0);
    (call.state, call.ended_by, call.status_code)
}

/// Section 3.1: INVITE, 180, 200, ACK, both ways RTP, BYE, 200.
#[test]
fn successful_session_establishment() {
    let mut world = world(0);
    let mut caller = Caller::new(FAR, "3.1");
    call(&mut world, &mut caller, &[100, 180, 200]);
    assert!(send(&mut world, &caller, caller.request("ACK", 1, "")).is_empty());
    assert_eq!(statuses(&send(&mut world, &caller, caller.request("BYE", 2, ""))), [200]);
    let ended = (CallState::Ended, Some(EndedBy::Caller), Some(200));
    assert_eq!(outcome(&mut world, "3.1"), ended);
}

/// Section 3.2: the same through two proxies that record their route. Ours is copied, and a BYE of
/// ours follows it.
#[test]
fn session_establishment_through_two_proxies() {
    let mut world = world(0);
    let route = "Record-Route: <sip:ss2.biloxi.example.com;lr>, <sip:ss1.atlanta.example.com;lr>";
    let mut caller = Caller::new(FAR, "3.2");
    caller.more = format!("{route}\r\nVia: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9\r\n");
    let sent = call(&mut world, &mut caller, &[100, 180, 200]);
    for response in &sent {
        assert_eq!(response.values(HeaderName::Via).len(), 2);
    }
    for response in &sent[1..] {
        assert_eq!(response.values(HeaderName::RecordRoute).len(), 1);
    }
    send(&mut world, &caller, caller.request("ACK", 1, ""));
    world.close();
    let bye = world.take_one();
    let expected = "<sip:ss2.biloxi.example.com;lr>, <sip:ss1.atlanta.example.com;lr>";
    assert_eq!(bye.values(HeaderName::Route), [expected]);
    assert!(matches!(bye.message().start_line(), StartLine::Request { method: Method::Bye, .. }));
}

/// Section 3.6: an INVITE without an offer; the 200 has ours, the ACK the answer.
#[test]
fn session_with_its_answer_in_the_ack() {
    let mut world = world(0);
    let mut caller = Caller::new(FAR, "3.6");
    let sent = send(&mut world, &caller, caller.request("INVITE", 1, ""));
    assert_eq!(statuses(&sent), [100, 180, 200]);
    caller.to_tag = sent[2].to_tag();
    assert!(!sent[2].message().body().is_empty());
    assert!(send(&mut world, &caller, caller.request("ACK", 1, &caller.offer())).is_empty());
    assert_eq!(statuses(&send(&mut world, &caller, caller.request("BYE", 2, ""))), [200]);
    let ended = (CallState::Ended, Some(EndedBy::Caller), Some(200));
    assert_eq!(outcome(&mut world, "3.6"), ended);
}

/// Section 3.7: the far end changes its address by another INVITE.
#[test]
fn session_with_another_invite_for_a_new_address() {
    let mut world = world(0);
    let mut caller = Caller::new(FAR, "3.7");
    call(&mut world, &mut caller, &[100, 180, 200]);
    send(&mut world, &caller, caller.request("ACK", 1, ""));
    caller.media = "203.0.113.5:47172".parse().unwrap();
    let moved = send(&mut world, &caller, caller.request("INVITE", 2, &caller.offer()));
    assert_eq!(statuses(&moved), [200]);
    let message = moved[0].message();
    let sdp = SessionDescription::parse(message.body()).unwrap();
    assert_eq!(sdp.origin().unwrap().version, b"2");
    send(&mut world, &caller, caller.request("ACK", 2, ""));
    assert_eq!(statuses(&send(&mut world, &caller, caller.request("BYE", 3, ""))), [200]);
    let ended = (CallState::Ended, Some(EndedBy::Caller), Some(200));
    assert_eq!(outcome(&mut world, "3.7"), ended);
}

/// Section 3.8: nobody answers; CANCEL, 200, 487, ACK.
#[test]
fn no_answer() {
    let mut world = world(60);
    let mut caller = Caller::new(FAR, "3.8");
    call(&mut world, &mut caller, &[100, 180]);
    let tag = caller.to_tag.take();
    let given_up = send(&mut world, &caller, caller.request("CANCEL", 1, ""));
    assert_eq!(statuses(&given_up), [200, 487]);
    assert!(given_up.iter().all(|sent| sent.to_tag() == tag));
    caller.to_tag = tag;
    assert!(send(&mut world, &caller, caller.request("ACK", 1, "")).is_empty());
    let failed = (CallState::Failed, Some(EndedBy::Caller), Some(487));
    assert_eq!(outcome(&mut world, "3.8"), failed);
}

/// Sections 3.9 and 3.11: busy, and temporarily unavailable.
#[test]
fn busy_and_temporarily_unavailable() {
    for (user, status) in [("busy", 486), ("code-480", 480)] {
        let mut world = world(0);
        let mut caller = Caller { user, ..Caller::new(FAR, "3.9") };
        call(&mut world, &mut caller, &[100, status]);
        assert!(send(&mut world, &caller, caller.request("ACK", 1, "")).is_empty());
        let failed = (CallState::Failed, Some(EndedBy::Callee), Some(status));
        assert_eq!(outcome(&mut world, "3.9"), failed);
        assert!(world.take().is_empty(), "nothing is sent again after the ACK");
    }
}

/// Section 3.10: no response comes through; the INVITE comes again and is one call.
#[test]
fn an_invite_whose_responses_are_lost() {
    let mut world = world(60);
    let mut caller = Caller::new(FAR, "3.10");
    call(&mut world, &mut caller, &[100, 180]);
    caller.to_tag = None;
    for _ in 0..5 {
        world.run_for(secs(1));
        assert_eq!(statuses(&send(&mut world, &caller, caller.invite())), [180]);
    }
    assert_eq!(world.shard.calls_up(), 1);
}
