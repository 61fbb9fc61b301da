//! What has ended survives `kill -9`: of the load generator's own list all but the last two seconds
//! is there after a restart, once each, and the file is whole.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::disallowed_methods, reason = "the promise is in real time")]

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser as _;
use loadgen::{
    engine::{self, Ended, Route},
    options::Options,
    uac::Outcome,
};

mod live;
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
    // All that must be there.
    let mut safe = HashSet::new();
    for round in 0..rounds {
        let appliance = start(&data);
        check(&appliance, &safe, round);
        let time = Duration::from_millis(random.u64(3000..4500));
        let ended = kill_under_load(appliance, round, time);
        // Nothing ends after the kill: the last end was no later.
        let killed = ended.iter().map(|(_, at)| *at).max().unwrap();
        let is_safe = |at: Instant| killed.duration_since(at) > PROMISE;
        safe.extend(ended.into_iter().filter(|(_, at)| is_safe(*at)).map(|(call, _)| call));
        let db = rusqlite::Connection::open(data.join("history.db")).unwrap();
        let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }
    assert!(safe.len() > rounds * 40, "only {} calls in {rounds} rounds", safe.len());
    check(&start(&data), &safe, rounds);
}

fn start(data: &Path) -> Appliance {
    Appliance::with("", &["--shards", "2", "--data", data.to_str().unwrap()])
}

/// Has the load generator call for some time, then kills the appliance. Gives the generator's own
/// list of the calls that it has ended, with the times.
fn kill_under_load(appliance: Appliance, round: usize, time: Duration) -> Vec<(String, Instant)> {
    let words = format!(
        "loadgen {} --calls 100000 --rate {RATE} --duration 100ms --seed {round}",
        appliance.sip
    );
    let options = Options::try_parse_from(words.split_whitespace()).unwrap();
    let list = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let (told, stopped) = (Arc::clone(&list), Arc::clone(&stop));
    // Calls that were up go on asking the dead appliance for half a minute: nobody waits for them.
    thread::spawn(move || {
        let scenario = options.scenario().unwrap();
        let route = Route::find(&options.target, &scenario.user, options.bind).unwrap();
        let tell = |ended: Ended<'_>| {
            if ended.outcome == Outcome::Completed {
                told.lock().unwrap().push((ended.call_id.to_owned(), Instant::now()));
            }
        };
        engine::run_and_tell(&scenario, &route, 1, &stopped, &tell).unwrap();
    });
    thread::sleep(time);
    appliance.signal("KILL");
    appliance.ended();
    stop.store(true, Ordering::Relaxed);
    list.lock().unwrap().clone()
}

/// The history has all of `safe` and nothing that the generator did not place, each once.
fn check(appliance: &Appliance, safe: &HashSet<String>, rounds: usize) {
    appliance.wait_for("/healthz", |health| health["store"]["state"] == "ok");
    let (mut found, mut after) = (HashSet::new(), String::new());
    loop {
        let page = appliance.json(&format!("/api/qos/history?limit=1000{after}"));
        for call in page["metrics"].as_array().unwrap() {
            let call = call["call_id"].as_str().unwrap().to_owned();
            let seed = call.split('-').nth(1).and_then(|seed| usize::from_str_radix(seed, 16).ok());
            assert!(seed.is_some_and(|round| round < rounds), "{call} was not placed");
            assert!(found.insert(call.clone()), "{call} is there twice");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let lost: Vec<_> = safe.difference(&found).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}
