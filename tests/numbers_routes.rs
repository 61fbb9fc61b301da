//! Test numbers, as signalling shows them: which responses each one gives, and when.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::Arc;

use common::{Caller, START, Sent, World, ms, secs};
use voxplane::{
    control::record::{CallState, EndedBy},
    shard::{
        ShardConfig,
        report::CallEvent,
        routes::{RawRoutes, Routes},
    },
    wire::{
        sdp::SessionDescription,
        sip::{HeaderName, StartLine},
    },
};

const FAR: &str = "198.51.100.1:5070";

fn caller(user: &'static str) -> Caller {
    Caller { user, ..Caller::new(FAR, user) }
}

fn world() -> World {
    World::new(ShardConfig::default())
}

/// Statuses and the milliseconds at which they came, of the responses to an INVITE.
fn responses(sent: &[Sent]) -> Vec<(u16, u128)> {
    let of_invite =
        |sent: &&Sent| sent.src.port() == 5060 && sent.values(HeaderName::CSeq) == ["1 INVITE"];
    let times = |sent: &Sent| (sent.status(), sent.at.since(START).as_millis());
    sent.iter().filter(of_invite).map(times).collect()
}

/// What a call to a number gets within ten seconds, its final response acknowledged at once.
fn dialled(world: &mut World, user: &'static str) -> Vec<(u16, u128)> {
    let mut caller = caller(user);
    world.send(caller.addr, caller.us, caller.invite());
    let mut sent = Vec::new();
    for _ in 0..100 {
        let new = world.take();
        let is_final = |sent: &&Sent| {
            sent.src.port() == 5060 && sent.status() >= 200 && caller.to_tag.is_none()
        };
        if let Some(last) = new.iter().find(is_final) {
            caller.to_tag = last.to_tag();
            world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
        }
        sent.extend(new);
        world.run_for(ms(100));
    }
    responses(&sent)
}

/// Routes with these of one's own.
fn routed(raw: &[(&str, &str)]) -> World {
    let raw = raw.iter().map(|&(key, action)| (key.to_owned(), action.to_owned()));
    let routes = Routes::new(raw.collect::<RawRoutes>(), false).unwrap();
    World::new(ShardConfig { routes: Arc::new(routes), ..ShardConfig::default() })
}

#[test]
fn numbers_that_answer_answer_at_once_or_when_they_say() {
    for user in ["echo", "sink", "tone", "silence", "ECHO", "1234", "+15551234"] {
        assert_eq!(dialled(&mut world(), user), [(100, 0), (180, 0), (200, 0)], "{user}");
    }
    assert_eq!(dialled(&mut world(), "slow"), [(100, 0), (180, 0), (200, 3000)]);
    assert_eq!(dialled(&mut world(), "early"), [(100, 0), (183, 0), (200, 3000)]);
}

#[test]
fn numbers_that_refuse_do_so_at_once() {
    for (user, code) in [
        ("busy", 486),
        ("decline", 603),
        ("notfound", 404),
        ("unavailable", 503),
        ("code-300", 300),
        ("code-399", 399),
        ("code-400", 400),
        ("code-499", 499),
        ("code-500", 500),
        ("code-599", 599),
        ("code-600", 600),
        ("code-699", 699),
    ] {
        assert_eq!(dialled(&mut world(), user), [(100, 0), (code, 0)], "{user}");
    }
}

/// What is no final response but a success is no such number; it goes where all others go.
#[test]
fn codes_that_are_none_are_sinks() {
    for user in ["code-100", "code-200", "code-299", "code-700", "code-999", "code-48", "code-x86"]
    {
        assert_eq!(dialled(&mut world(), user), [(100, 0), (180, 0), (200, 0)], "{user}");
    }
    let mut world = routed(&[("*", "notfound")]);
    assert_eq!(dialled(&mut world, "code-299"), [(100, 0), (404, 0)]);
}

#[test]
fn routes_of_ones_own_go_over_those_by_name() {
    let routes = [("9196", "busy"), ("91*", "slow"), ("echo", "decline"), ("*", "code-410")];
    for (user, expected) in [
        ("9196", vec![(100, 0), (486, 0)]),
        ("9197", vec![(100, 0), (180, 0), (200, 3000)]),
        ("echo", vec![(100, 0), (603, 0)]),
        ("other", vec![(100, 0), (410, 0)]),
        ("sink", vec![(100, 0), (180, 0), (200, 0)]),
    ] {
        assert_eq!(dialled(&mut routed(&routes), user), expected, "{user}");
    }
}

/// ```text
/// F               V
/// | INVITE        |
/// |-------------->|
/// |            486|  at 0, 0.5 and 1.5 s
/// |<--------------|
/// | ACK           |
/// |-------------->|
/// ```
#[test]
fn a_refusal_comes_again_until_it_is_acknowledged_and_is_of_the_record() {
    let mut world = world();
    let mut caller = caller("busy");
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(2));
    let sent = world.take();
    let [trying, refusal, again, and_again] = &sent[..] else { panic!("{sent:#?}") };
    assert_eq!((trying.status(), refusal.status()), (100, 486));
    assert!(refusal.text().starts_with("SIP/2.0 486 Busy Here\r\n"));
    assert!(again.bytes == refusal.bytes && and_again.bytes == refusal.bytes);
    assert!(refusal.to_tag().is_some() && refusal.values(HeaderName::Contact).is_empty());
    // An INVITE that comes again gets it again.
    world.send(caller.addr, caller.us, caller.invite());
    assert_eq!(world.take_one().bytes, refusal.bytes);
    caller.to_tag = refusal.to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.run_for(secs(60));
    assert!(world.take().is_empty());
    let call = world.finished("busy");
    assert_eq!((call.state, call.status_code), (CallState::Failed, Some(486)));
    assert_eq!(call.ended_by, Some(EndedBy::Callee));
    assert_eq!(world.events(), [CallEvent::Opened, CallEvent::Failed(486, EndedBy::Callee)]);
    assert_eq!(world.shard.calls_up(), 0);
}

#[test]
fn a_number_that_rings_is_cancelled() {
    let mut world = world();
    let caller = caller("ring");
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(100));
    assert_eq!(responses(&world.take()), [(100, 0), (180, 0)]);
    world.send(caller.addr, caller.us, caller.request("CANCEL", 1, ""));
    let sent = world.take();
    let statuses: Vec<_> = sent.iter().map(Sent::status).collect();
    assert_eq!(statuses, [200, 487]);
    world.run_for(ms(300));
    let call = world.finished("ring");
    assert_eq!((call.state, call.status_code), (CallState::Failed, Some(487)));
    assert_eq!(call.ended_by, Some(EndedBy::Caller));
}

#[test]
fn a_number_that_rings_gives_up_in_the_end() {
    let config = ShardConfig { ring_timeout: secs(20), ..ShardConfig::default() };
    for (config, millis) in [(ShardConfig::default(), 180_000), (config, 20_000)] {
        let mut world = World::new(config);
        let mut caller = caller("ring");
        world.send(caller.addr, caller.us, caller.invite());
        world.run_for(ms(millis));
        let sent = world.take();
        assert_eq!(responses(&sent), [(100, 0), (180, 0), (480, millis.into())]);
        caller.to_tag = sent[2].to_tag();
        world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
        world.run_for(secs(40));
        assert!(world.take().is_empty());
        let call = world.finished("ring");
        assert_eq!((call.status_code, call.ended_by), (Some(480), Some(EndedBy::Timeout)));
    }
}

/// The 183 has the description that the 200 has, and makes the same dialog.
#[test]
fn early_media_is_announced_as_it_is_answered() {
    let mut world = world();
    let caller = caller("early");
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(3));
    let sent = world.take();
    let sip: Vec<_> = sent.iter().filter(|sent| sent.src.port() == 5060).collect();
    let [_, progress, answer] = &sip[..] else { panic!("{sip:#?}") };
    assert!(progress.text().starts_with("SIP/2.0 183 Session Progress\r\n"));
    let rest = |sent: &Sent| sent.text().split_once("\r\n").unwrap().1.to_owned();
    assert_eq!(rest(progress), rest(answer));
    assert!(SessionDescription::parse(progress.message().body()).is_ok());
    assert!(world.events().contains(&CallEvent::Progressed(183)));
}

#[test]
fn early_media_that_is_cancelled_is_refused_without_a_description() {
    let mut world = world();
    let caller = caller("early");
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(secs(1));
    world.take();
    world.send(caller.addr, caller.us, caller.request("CANCEL", 1, ""));
    let sent = world.take();
    let refusal = sent.last().unwrap();
    assert_eq!((refusal.status(), refusal.message().body()), (487, &b""[..]));
    assert_eq!(refusal.values(HeaderName::ContentLength), ["0"]);
    assert!(refusal.values(HeaderName::ContentType).is_empty());
    assert!(refusal.values(HeaderName::Contact).is_empty());
}

/// Who has offered nothing has no media before the answer, which is our offer.
#[test]
fn early_without_an_offer_rings() {
    let mut world = world();
    let caller = caller("early");
    world.send(caller.addr, caller.us, caller.request("INVITE", 1, ""));
    world.run_for(secs(3));
    let sent = world.take();
    assert_eq!(responses(&sent), [(100, 0), (180, 0), (200, 3000)]);
    assert_eq!(sent.len(), 3);
    assert!(matches!(sent[2].message().start_line(), StartLine::Response { code: 200, .. }));
}

#[test]
fn a_description_that_cannot_be_taken_is_refused_whatever_is_dialled() {
    for user in ["tone", "ring", "early", "busy"] {
        let mut world = world();
        let caller = caller(user);
        let offer = caller.offer().replace("m=audio 4000", "m=audio 0");
        world.send(caller.addr, caller.us, caller.request("INVITE", 1, &offer));
        assert_eq!(world.take_one().status(), 488, "{user}");
    }
}
