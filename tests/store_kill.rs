//! What has ended survives `kill -9`: all but the last two seconds is there after a restart, once
//! each, and the file is whole.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::disallowed_methods, reason = "the promise is in real time")]

use std::{
    collections::HashSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

#[path = "live/caller.rs"]
mod caller;
mod live;
use caller::Caller;
use live::Appliance;

/// Calls a second.
const RATE: u32 = 50;

/// What may be lost.
const PROMISE: Duration = Duration::from_secs(2);

#[test]
fn what_ended_survives_three_kills() {
    survives(3);
}

#[test]
#[ignore = "two minutes: cargo test --test store_kill -- --ignored"]
fn what_ended_survives_twenty_kills() {
    survives(20);
}

fn survives(rounds: usize) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut random = fastrand::Rng::with_seed(9);
    // All that must be there, and all that may be.
    let (mut safe, mut placed) = (HashSet::new(), HashSet::new());
    for round in 0..rounds {
        let appliance = start(&data);
        check(&appliance, &safe, &placed);
        let ended = place_calls(&appliance, round, Duration::from_millis(random.u64(3000..4500)));
        appliance.signal("KILL");
        let killed = Instant::now();
        appliance.ended();
        for (call, at) in ended {
            if killed.duration_since(at) > PROMISE {
                safe.insert(call.clone());
            }
            placed.insert(call);
        }
        let db = rusqlite::Connection::open(data.join("history.db")).unwrap();
        let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }
    assert!(safe.len() > rounds * 40, "only {} calls in {rounds} rounds", safe.len());
    check(&start(&data), &safe, &placed);
}

fn start(data: &Path) -> Appliance {
    Appliance::with("", &["--shards", "2", "--data", data.to_str().unwrap()])
}

/// Calls and hangs up at a fixed rate. Gives the calls with the times when their BYE was answered.
fn place_calls(appliance: &Appliance, round: usize, time: Duration) -> Vec<(String, Instant)> {
    let caller = Caller::new(appliance.sip);
    let start = Instant::now();
    let mut ended = Vec::new();
    for number in 0.. {
        let due = Duration::from_secs(1) * number / RATE;
        if due > time {
            break;
        }
        thread::sleep(due.saturating_sub(start.elapsed()));
        let call = format!("kill-{round}-{number}");
        let answer = caller.dial(&call, 9);
        caller.send("BYE", &call, answer.to_tag());
        caller.receive_until(|message| {
            message.0.starts_with("SIP/2.0 200") && message.header("CSeq") == Some("1 BYE")
        });
        ended.push((call, Instant::now()));
    }
    ended
}

/// The history has all of `safe` and nothing that was not placed, each once.
fn check(appliance: &Appliance, safe: &HashSet<String>, placed: &HashSet<String>) {
    appliance.wait_for("/healthz", |health| health["store"]["state"] == "ok");
    let (mut found, mut after) = (HashSet::new(), String::new());
    loop {
        let page = appliance.json(&format!("/api/qos/history?limit=1000{after}"));
        for call in page["metrics"].as_array().unwrap() {
            let call = call["call_id"].as_str().unwrap().to_owned();
            assert!(placed.contains(&call), "{call} was not placed");
            assert!(found.insert(call.clone()), "{call} is there twice");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let lost: Vec<_> = safe.difference(&found).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}
