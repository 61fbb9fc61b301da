//! The figures of RFC 6076 are those of its formulas: by the messages of made-up calls, by what a
//! lossy network is known to have done, and the same whether a call is answered or only seen.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;
#[path = "common/signalling.rs"]
mod signalling;
#[path = "common/tap.rs"]
mod tap;

use std::collections::BTreeMap;

use common::{
    Caller, Flight, US, World, addr, ms,
    network::{Path, Sim},
    phone::{Phone, Plan, speech},
    secs,
};
use signalling::{Truth, close, observed};
use tap::{Seen, Talk, Tap};
use voxplane::{
    control::signalling::{CallSignalling, Place, SessionRecord, SipRecord, TimesRecord},
    shard::ShardConfig,
};

fn figures(seen: &Seen) -> SipRecord {
    SipRecord::of(seen.shard.sip_figures(), Place::Probe)
}

fn talk(number: u64) -> Talk {
    let port = 10_000 + u16::try_from(number).unwrap() * 4;
    Talk::new(&format!("kpi-{number}")).on_ports(port, port + 2)
}

/// The check vector of the formulas: 100 sessions asked for.
#[test]
fn ratios_follow_from_what_became_of_a_hundred_sessions() {
    let finals = [(200, 70), (486, 10), (480, 5), (603, 1), (600, 1), (404, 4), (503, 3), (408, 2)];
    let finals = finals.into_iter().chain([(487, 2), (302, 2)]);
    let codes = finals.flat_map(|(code, count)| core::iter::repeat_n(code, count));
    let mut tap = Tap::default();
    for (number, code) in (0..).zip(codes) {
        let (talk, at) = (talk(number), ms(number * 200));
        tap.see(at, talk.invite());
        tap.see(at + ms(2), talk.reply(100, "INVITE", 1, ""));
        if code == 200 {
            tap.see(at + ms(100), talk.reply(200, "INVITE", 1, &talk.answer));
            tap.see(at + ms(120), talk.forth("ACK", 1, ""));
            tap.see(at + secs(9), talk.forth("BYE", 2, ""));
            tap.see(at + secs(9) + ms(30), talk.reply(200, "BYE", 2, ""));
        } else {
            if code == 487 {
                tap.see(at + ms(50), talk.cancel());
                tap.see(at + ms(60), talk.reply(200, "CANCEL", 1, ""));
            }
            tap.see(at + ms(150), talk.reply(code, "INVITE", 1, ""));
            tap.see(at + ms(160), talk.forth("ACK", 1, ""));
        }
    }
    let found = figures(&tap.run());
    close(found.ser_percentage, 7000.0 / 98.0);
    close(found.seer_percentage, 8700.0 / 98.0);
    close(found.isa_percentage, 5.0);
    close(found.scr_percentage, 70.0);
    let SessionRecord { attempts, pending, answered, declined, redirected, cancelled, .. } =
        found.sessions;
    assert_eq!((attempts, pending, answered), (100, 0, 70));
    assert_eq!((declined, redirected, cancelled), (17, 2, 2));
    assert_eq!((found.sessions.ineffective, found.sessions.failed), (5, 4));
    assert_eq!((found.sessions.ended_by_caller, found.sessions.completed), (70, 70));
    // Those that succeed and those that fail are never mixed; a redirection is neither.
    let TimesRecord { count, mean, .. } = found.srd_ms;
    assert_eq!((count, mean), (70, Some(100.0)));
    let TimesRecord { count, mean, .. } = found.srd_failed_ms;
    assert_eq!((count, mean), (28, Some(150.0)));
    assert_eq!((found.sdd_ms.count, found.sdd_ms.mean), (70, Some(30.0)));
    assert_eq!((found.sdt_s.count, found.sdt_s.mean), (70, Some(8.9)));
    assert_eq!((found.time_to_100_ms.count, found.time_to_100_ms.mean), (100, Some(2.0)));
    assert_eq!((found.post_dial_delay_ms.count, found.post_dial_delay_ms.mean), (70, Some(100.0)));
    assert_eq!(found.user_agents.len(), 1);
    assert_eq!(found.user_agents[0].user_agent.as_deref(), Some("Alice phone 1.0"));
    assert_eq!((found.user_agents[0].sessions, found.retransmissions), (100, 0));
}

/// RFC 6076 section 4.3: sent again the INVITE does not begin anew, and a challenge is no answer.
#[test]
fn a_challenge_and_a_retransmission_belong_to_the_session() {
    let (talk, mut tap) = (talk(0), Tap::default());
    tap.see(ms(0), talk.invite());
    tap.see(ms(500), talk.invite());
    tap.see(ms(600), talk.reply(401, "INVITE", 1, ""));
    tap.see(ms(610), talk.forth("ACK", 1, ""));
    tap.see(ms(700), talk.invite_again(2));
    tap.see(ms(1000), talk.reply(183, "INVITE", 2, ""));
    tap.see(ms(2000), talk.reply(200, "INVITE", 2, &talk.answer));
    tap.see(ms(2010), talk.forth("ACK", 2, ""));
    tap.see(secs(10), talk.back("BYE", 1, ""));
    tap.see(ms(10_500), talk.back("BYE", 1, ""));
    tap.see(ms(10_600), talk.reply_back(200, "BYE", 1, ""));
    let seen = tap.run();
    let found = figures(&seen);
    assert_eq!((found.sessions.attempts, found.sessions.answered), (1, 1));
    assert_eq!((found.sessions.ended_by_caller, found.sessions.ended_by_callee), (0, 1));
    close(found.ser_percentage, 100.0);
    assert_eq!((found.srd_ms.count, found.srd_failed_ms.count), (1, 0));
    close(found.srd_ms.mean, 1000.0);
    close(found.sdd_ms.mean, 600.0);
    close(found.sdt_s.mean, 8.0);
    assert_eq!(found.retransmissions, 2);
    let CallSignalling { srd_ms, post_dial_delay_ms, sdd_ms, retransmissions, .. } =
        seen.only_call().signalling;
    assert_eq!((srd_ms, post_dial_delay_ms), (Some(1000.0), Some(1000.0)));
    assert_eq!((sdd_ms, retransmissions), (Some(600.0), 2));
}

/// The hop of a redirection is part of the delay; both INVITEs are in the ratio's formula.
#[test]
fn a_redirected_session_is_asked_for_again() {
    let (talk, mut tap) = (talk(0), Tap::default());
    tap.see(ms(0), talk.invite());
    tap.see(ms(100), talk.reply(302, "INVITE", 1, ""));
    tap.see(ms(110), talk.forth("ACK", 1, ""));
    tap.see(ms(200), talk.invite_again(2));
    tap.see(ms(900), talk.reply(180, "INVITE", 2, ""));
    tap.see(ms(1900), talk.reply(200, "INVITE", 2, &talk.answer));
    let found = figures(&tap.run());
    assert_eq!((found.sessions.attempts, found.sessions.redirected), (2, 1));
    close(found.ser_percentage, 100.0);
    assert_eq!(found.srd_ms.count, 1);
    close(found.srd_ms.mean, 900.0);
}

/// Each dialog of a forked INVITE has a delay of its own, and the session is one.
#[test]
fn a_fork_has_a_delay_for_each_dialog() {
    let (first, mut tap) = (talk(0), Tap::default());
    let second = Talk { to_tag: "second".to_owned(), ..first.clone() };
    tap.see(ms(0), first.invite());
    tap.see(ms(100), first.reply(180, "INVITE", 1, ""));
    tap.see(ms(300), second.reply(180, "INVITE", 1, ""));
    tap.see(ms(900), second.reply(200, "INVITE", 1, &second.answer));
    let found = figures(&tap.run());
    assert_eq!((found.sessions.attempts, found.sessions.answered), (1, 1));
    assert_eq!(found.srd_ms.count, 2);
    close(found.srd_ms.mean, 200.0);
    assert_eq!(found.post_dial_delay_ms.count, 1);
}

#[test]
fn a_cause_is_taken_from_whoever_names_one() {
    let mut tap = Tap::default();
    let causes = ["Q.850;cause=16;text=\"Normal\"", "SIP;cause=200, q.850 ; cause=31", "Q.850"];
    for (number, cause) in (0..).zip(causes) {
        let more = format!("Reason: {cause}\r\n");
        let talk = Talk { more, ..talk(number) };
        tap.set_up(ms(number * 10), &talk);
        tap.hang_up(secs(5), &talk);
    }
    let seen = tap.run();
    assert_eq!(figures(&seen).q850_causes, BTreeMap::from([(16, 1), (31, 1)]));
    let causes = [0, 1, 2].map(|n| seen.call(&format!("kpi-{n}")).signalling.q850_cause);
    assert_eq!(causes, [Some(16), Some(31), None]);
}

/// Timers B and F: what has no answer in 32 s has none.
#[test]
fn what_is_never_answered_fails() {
    let mut tap = Tap::default();
    let [nobody, rude] = [talk(0), talk(1)];
    tap.see(ms(0), nobody.invite());
    tap.set_up(ms(0), &rude);
    tap.see(secs(10), rude.forth("BYE", 2, ""));
    tap.see(secs(100), talk(2).forth("OPTIONS", 1, ""));
    let found = figures(&tap.run());
    assert_eq!((found.sessions.unanswered, found.sessions.incomplete), (1, 1));
    close(found.scr_percentage, 0.0);
    close(found.ser_percentage, 50.0);
    assert_eq!((found.sdd_ms.count, found.sdt_s.count), (0, 0));
    // From the 200 at 0.5 s to the end of timer F.
    close(found.sdt_failed_s.mean, 10.0 - 0.5 + 32.0);
}

fn register(call_id: &str, cseq: u32) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-{call_id}-{cseq}\r\n\
         From: <sip:a@example.com>;tag={cseq}\r\nTo: <sip:a@example.com>\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\nUser-Agent: phone\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// RFC 6076 sections 4.1 and 4.2: the round of a challenge counts in the delay and is no failure.
#[test]
fn registrations_are_timed_from_the_first_request() {
    let mut tap = Tap::default();
    let (phone, registrar) = (addr("198.51.100.1:5060"), addr("203.0.113.2:5060"));
    let mut ask = |at, call_id: &str, cseq| {
        tap.raw(ms(at), phone, registrar, register(call_id, cseq).as_bytes());
    };
    ask(0, "good", 1);
    ask(500, "good", 1);
    ask(700, "good", 2);
    ask(0, "refused", 1);
    ask(0, "alone", 1);
    ask(100_000, "late", 1);
    let mut reply = |at, call_id: &str, cseq, code: u16| {
        let (_, headers) =
            register(call_id, cseq).split_once("\r\n").map(|(a, b)| (a, b.to_owned())).unwrap();
        let text = format!("SIP/2.0 {code} Words\r\n{headers}");
        tap.raw(ms(at), registrar, phone, text.as_bytes());
    };
    reply(600, "good", 1, 401);
    reply(750, "good", 2, 200);
    reply(100, "refused", 1, 403);
    let found = figures(&tap.run());
    let counts = found.registrations;
    assert_eq!((counts.requests, counts.accepted), (5, 1));
    assert_eq!((counts.challenged, counts.failed), (1, 2));
    assert_eq!(found.rrd_ms.count, 1);
    close(found.rrd_ms.mean, 750.0);
    // The last one has no answer yet.
    close(found.ira_percentage, 50.0);
}

/// 5 % of all SIP is lost, both ways: the figures are those of what arrived and of what was sent,
/// at the appliance and at the phones.
#[test]
fn figures_through_a_lossy_network_are_what_happened() {
    let (mut again, mut seeds) = (0, 0);
    for seed in 0..8 {
        seeds += 1;
        let answer_delay = ms(1700);
        let config = ShardConfig { seed, answer_delay, ..ShardConfig::default() };
        let mut sim = Sim::new(seed, config);
        sim.sip = Path { delay: ms(20), jitter: ms(15), loss: 0.05, ..Path::default() };
        for index in 0..60_u16 {
            let mut caller = Caller::new("198.51.100.1:5070", &format!("call-{index}"));
            caller.addr.set_port(10_000 + 2 * index);
            caller.media.set_port(40_000 + 2 * index);
            let plan = Plan::new(speech(0x5EED_0000 + u32::from(index), 1, 100));
            sim.add(Phone::new(caller, plan), ms(37) * index.into());
        }
        sim.run();
        sim.world.run_for(secs(70));
        let end = sim.world.now;
        let ours = addr(US);
        let mut at_us: Vec<_> = sim.world.delivered.clone();
        at_us.extend(sim.sent.iter().map(|sent| {
            (sent.at, Flight { src: sent.src, dst: sent.dst, bytes: sent.bytes.clone() })
        }));
        at_us.retain(|(_, flight)| flight.src == ours || flight.dst == ours);
        // What is sent at a moment answers what has arrived by then.
        at_us.sort_by_key(|(at, flight)| (*at, flight.src == ours));
        let found = SipRecord::of(sim.world.shard.sip_figures(), Place::Callee);
        Truth::of(&at_us).assert(&found);
        assert_eq!(found.sessions.attempts, 60, "every call gets through");
        assert_eq!(found.sessions.answered, 60);

        // Who only sees the same messages has the same figures, but for who sent them.
        let mut seen = observed(at_us, end);
        let both = seen.retransmissions;
        (seen.retransmissions_received, seen.retransmissions_sent) =
            (found.retransmissions_received, found.retransmissions_sent);
        assert_eq!(seen, found, "seed {seed}");

        // And at the phones, where RFC 6076 measures.
        let there = core::mem::take(&mut sim.seen_by_phones);
        Truth::of(&there).assert(&observed(there, end));
        again += both;
    }
    assert!(again > 8 * seeds, "{again} retransmissions");
}

/// A call that is answered here has its own figures in its record, and no others.
#[test]
fn a_call_answered_here_has_its_figures() {
    let config = ShardConfig { answer_delay: ms(900), ..ShardConfig::default() };
    let mut world = World::new(config);
    let mut caller = Caller::new("198.51.100.1:5070", "own");
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(ms(500));
    world.send(caller.addr, caller.us, caller.invite());
    world.run_for(ms(500));
    let answer = world.sent.iter().rfind(|sent| sent.status() == 200).unwrap();
    caller.to_tag = answer.to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    world.run_for(secs(4));
    caller.more = "Reason: Q.850;cause=17\r\n".to_owned();
    caller.hang_up(&mut world);
    world.run_for(secs(1));
    let signalling = world.finished("own").signalling;
    let expected = CallSignalling {
        srd_ms: Some(0.0),
        post_dial_delay_ms: Some(0.0),
        time_to_100_ms: Some(0.0),
        sdd_ms: Some(0.0),
        // The INVITE, and the 180 that it brought about.
        retransmissions: 2,
        q850_cause: Some(17),
    };
    assert_eq!(signalling, expected);
    let found = SipRecord::of(world.shard.sip_figures(), Place::Callee);
    assert_eq!((found.retransmissions_received, found.retransmissions_sent), (Some(1), Some(1)));
    close(found.sdt_s.mean, 4.1);
    assert_eq!(found.q850_causes, BTreeMap::from([(17, 1)]));
}

/// More sessions than there is room for are counted, and the others go on.
#[test]
fn past_the_bound_sessions_are_counted() {
    let config = ShardConfig { dialogs_max: 3, ..ShardConfig::default() };
    let mut world = World::new(config);
    for number in 0..5_u16 {
        let mut caller = Caller::new("198.51.100.1:5070", &format!("many-{number}"));
        caller.addr.set_port(10_000 + number);
        world.send(caller.addr, caller.us, caller.invite());
    }
    let found = SipRecord::of(world.shard.sip_figures(), Place::Callee);
    assert_eq!((found.sessions.attempts, found.sessions.untracked), (5, 2));
    assert_eq!(found.sessions.answered, 3);
    assert_eq!(found.responses[&503], 2);
}
