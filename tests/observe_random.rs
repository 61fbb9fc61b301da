//! Many calls at once by a seed, as an observer sees them: every count is what the network did,
//! and how the datagrams come in batches changes nothing.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;
#[path = "common/tap.rs"]
mod tap;

use core::time::Duration;

use common::{ms, secs};
use fastrand::Rng;
use tap::{Harm, Seen, Speech, Talk, Tap, Truth, from_source, sum};
use voxplane::control::record::{CallState, Direction, EndedBy};

/// What a call was, and what became of its streams.
#[derive(Debug)]
struct Made {
    talk: Talk,
    fate: Fate,
    forth: Truth,
    back: Truth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    EndedByCaller,
    EndedByCallee,
    /// Its media stops, and its BYE does not pass the tap.
    NoBye,
    /// Refused with 486, after early media of the callee.
    Busy,
    Cancelled,
}

/// Lines: pairs of ports between pairs of hosts, on each of which one call follows the other.
const LINES: u16 = 20;
const CALLS_A_LINE: u16 = 10;

fn harm(rng: &mut Rng) -> Harm {
    Harm { loss: rng.f64() * 0.1, duplicate: rng.f64() * 0.05, reorder: rng.f64() * 0.05 }
}

/// Sees a message once, or again within the timers of SIP.
fn say(tap: &mut Tap, rng: &mut Rng, at: Duration, flight: common::Flight) {
    if rng.u8(..) < 20 {
        tap.see(at + ms(500), flight.clone());
    }
    tap.see(at, flight);
}

/// One call, which begins at `at`; gives back when all of it has passed.
fn make(tap: &mut Tap, rng: &mut Rng, at: Duration, talk: Talk) -> (Made, Duration) {
    let fates = [Fate::EndedByCaller, Fate::EndedByCaller, Fate::EndedByCallee];
    let fates = fates.into_iter().chain([Fate::NoBye, Fate::Busy, Fate::Cancelled]);
    let fate = fates.collect::<Vec<_>>()[rng.usize(0..6)];
    let (mut forth, mut back) = (Truth::default(), Truth::default());
    let ring = ms(rng.u64(50..2000));
    say(tap, rng, at, talk.invite());
    tap.see(at + ms(2), talk.reply(100, "INVITE", 1, ""));
    let answered = at + ms(30) + ring;
    let end = match fate {
        Fate::Busy => {
            say(tap, rng, at + ms(30), talk.reply(183, "INVITE", 1, &talk.answer));
            let by = harm(rng);
            back = tap.impaired(at + ms(40), &talk.speech_back(80), rng, by);
            say(tap, rng, at + ms(1800), talk.reply(486, "INVITE", 1, ""));
            tap.see(at + ms(1820), talk.forth("ACK", 1, ""));
            at + ms(2400)
        }
        Fate::Cancelled => {
            tap.see(at + ms(30), talk.reply(180, "INVITE", 1, ""));
            say(tap, rng, answered, talk.cancel());
            say(tap, rng, answered + ms(5), talk.reply(200, "CANCEL", 1, ""));
            say(tap, rng, answered + ms(10), talk.reply(487, "INVITE", 1, ""));
            tap.see(answered + ms(20), talk.forth("ACK", 1, ""));
            answered + ms(600)
        }
        _ => {
            tap.see(at + ms(30), talk.reply(180, "INVITE", 1, ""));
            say(tap, rng, answered, talk.reply(200, "INVITE", 1, &talk.answer));
            tap.see(answered + ms(20), talk.forth("ACK", 1, ""));
            let mut speak = |tap: &mut Tap, from: Duration, speech: Speech| {
                let (by, lead) = (harm(rng), ms(rng.u64(0..200)));
                tap.impaired(from + lead, &speech, rng, by)
            };
            let count = 60 + u32::from(talk.caller_media.port()) % 200;
            // The caller speaks once it has the answer; the callee's first words may overtake it.
            forth = speak(tap, answered + ms(1), talk.speech_forth(count));
            back = speak(tap, answered - ms(30), talk.speech_back(count));
            // The last packets come after the BYE.
            let bye = answered + ms(20) * count;
            match fate {
                Fate::EndedByCaller => {
                    say(tap, rng, bye, talk.forth("BYE", 2, ""));
                    say(tap, rng, bye + ms(10), talk.reply(200, "BYE", 2, ""));
                }
                Fate::EndedByCallee => {
                    say(tap, rng, bye, talk.back("BYE", 1, ""));
                    say(tap, rng, bye + ms(10), talk.reply_back(200, "BYE", 1, ""));
                }
                _ => {}
            }
            bye + ms(600)
        }
    };
    (Made { talk, fate, forth, back }, end)
}

/// 200 calls, ten after each other on each of twenty lines; four lines are on each pair of hosts.
fn busy(seed: u64) -> (Tap, Vec<Made>) {
    let (mut tap, mut made) = (Tap::default(), Vec::new());
    let mut rng = Rng::with_seed(seed);
    for line in 0..LINES {
        let (host, port) = (line / 4 + 1, 2 * (line % 4));
        let mut at = ms(rng.u64(0..3000));
        for index in 0..CALLS_A_LINE {
            let id = format!("call-{line}-{index}");
            let sip = [format!("198.51.100.{host}:5060"), format!("203.0.113.{host}:5060")];
            let media = [
                format!("198.51.100.{host}:{}", 4000 + port),
                format!("203.0.113.{host}:{}", 6000 + port),
            ];
            let [sip, media] = [&sip, &media].map(|pair| [pair[0].as_str(), pair[1].as_str()]);
            let mut talk = Talk::between(&id, sip, media);
            talk.ssrc = rng.u32(..) & !1;
            let (call, end) = make(&mut tap, &mut rng, at, talk);
            made.push(call);
            at = end + ms(rng.u64(0..1500));
        }
    }
    // Time for what ends by itself.
    tap.raw(secs(200), common::addr("192.0.2.1:9"), common::addr("192.0.2.2:9"), b"something");
    (tap, made)
}

fn check(seen: &Seen, made: &Made) {
    let Made { talk, fate, forth, back } = made;
    let call = seen.call(&talk.call_id);
    let context = format!("{made:#?}\n{call:#?}");
    let (state, by, status) = match fate {
        Fate::EndedByCaller => (CallState::Ended, Some(EndedBy::Caller), 200),
        Fate::EndedByCallee => (CallState::Ended, Some(EndedBy::Callee), 200),
        Fate::NoBye => (CallState::Active, None, 200),
        Fate::Busy => (CallState::Failed, Some(EndedBy::Callee), 486),
        Fate::Cancelled => (CallState::Failed, Some(EndedBy::Caller), 487),
    };
    assert_eq!(
        (call.state, call.ended_by, call.status_code),
        (state, by, Some(status)),
        "{context}"
    );
    let sources = [(talk.ssrc, forth, Direction::Rx), (talk.ssrc_back(), back, Direction::Tx)];
    let mut streams = 0;
    for (ssrc, truth, direction) in sources {
        let of_source = from_source(&call, ssrc);
        assert_eq!(sum(&of_source), *truth, "{context}");
        assert_eq!(of_source.len(), usize::from(truth.received > 0), "{context}");
        assert!(of_source.iter().all(|stream| stream.direction == direction), "{context}");
        streams += of_source.len();
    }
    assert_eq!(call.streams.records().count(), streams, "{context}");
}

#[test]
fn every_count_of_many_calls_is_what_the_network_did() {
    let mut fates = [0; 5];
    for seed in 0..10 {
        let (tap, made) = busy(seed);
        let seen = tap.run();
        assert_eq!(seen.calls().len(), made.len());
        seen.assert_no_orphans();
        for made in &made {
            check(&seen, made);
            fates[made.fate as usize] += 1;
        }
        assert_eq!(seen.health.own_drops(), 0);
    }
    assert!(fates.iter().all(|&count| count > 100), "{fates:?}");
}

/// Everything that is known, as text.
fn told(seen: &Seen) -> String {
    let calls = seen.calls();
    let calls = calls.iter().map(|call| serde_json::to_string(&**call).unwrap());
    let orphans =
        seen.snapshot.orphans.iter().map(|stream| serde_json::to_string(&**stream).unwrap());
    let health = format!("{:?}", seen.health);
    calls.chain(orphans).chain([health]).collect::<Vec<_>>().join("\n")
}

#[test]
fn batches_change_nothing() {
    let (mut tap, made) = busy(3);
    // Streams of no call, too.
    let talk = &made[0].talk;
    for index in 0..20 {
        let speech = Speech { ssrc: 0xEE00 + index, ..talk.speech_forth(100) };
        let (src, dst) = (common::addr("192.0.2.50:7000"), common::addr("192.0.2.51:7001"));
        tap.speech(ms(311) * index, &Speech { src, dst, ..speech });
    }
    let single = told(&tap.run_in(1));
    for batch_max in [7, 64, 65, usize::MAX] {
        assert!(told(&tap.run_in(batch_max)) == single, "in batches of {batch_max}");
    }
    assert!(single.lines().count() > 220);
}
