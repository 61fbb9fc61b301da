//! What the tests of the store share: calls that differ in everything, a store in a directory of
//! its own, and patience. It knows no assertion.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rusqlite::Connection;
use voxplane::{
    control::record::{CallRecord, CallState, EndedBy, Integrity},
    id::Trunk,
    quality::{MosBasis, MosKind, Scale, Source},
    source::clock,
    store::{Options, Reader, Settings, State, Store},
    time::Timestamp,
};

use crate::http::{at, call};

/// A store in `directory`, on the day of the calls.
pub(crate) fn open(directory: &Path) -> Store {
    open_with(directory, Settings::default(), day)
}

/// A clock that was at the end of that day when it was first looked at.
pub(crate) fn day() -> Timestamp {
    static STARTED: OnceLock<Timestamp> = OnceLock::new();
    at(40_000) + clock::now().since(*STARTED.get_or_init(clock::now))
}

/// A store in `directory`.
pub(crate) fn open_with(directory: &Path, settings: Settings, clock: fn() -> Timestamp) -> Store {
    let path = directory.join("history.db");
    Store::start(Options { path, settings, clock }).unwrap()
}

/// A store in `directory`, and the connection that keeps it from writing.
pub(crate) fn held(directory: &Path) -> (Store, Connection) {
    let store = open(directory);
    until(|| store.reader().status().state == State::Ok);
    let other = Connection::open(directory.join("history.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    (store, other)
}

/// A store in `directory` that has these calls on disk.
pub(crate) fn filled(directory: &Path, calls: &[Arc<CallRecord>]) -> Store {
    let store = open(directory);
    feed(&store, calls);
    store
}

/// Puts calls in and waits until all are on disk.
pub(crate) fn feed(store: &Store, calls: &[Arc<CallRecord>]) {
    let (feeder, reader) = (store.feeder(), store.reader());
    let before = reader.status().calls;
    for (index, some) in calls.chunks(4000).enumerate() {
        some.iter().for_each(|call| feeder.call(Arc::clone(call)));
        let fed = before + (index * 4000 + some.len()) as u64;
        until(|| reader.status().calls == fed && reader.status().pending == 0);
    }
}

/// Waits until all calls on disk are known.
pub(crate) fn loaded(reader: &Reader, calls: usize) {
    until(|| reader.status().calls == calls as u64);
}

/// Waits for something that must come.
#[expect(clippy::disallowed_methods, reason = "the store's thread runs in real time")]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not become so");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Finished calls that differ in everything; number `n` starts `n` seconds after the day began,
/// give or take.
pub(crate) fn calls(count: usize, seed: u64) -> Vec<Arc<CallRecord>> {
    let mut random = Rng::with_seed(seed);
    (0..count).map(|n| Arc::new(any_call(n as u64, &mut random))).collect()
}

/// A random finished call.
pub(crate) fn any_call(n: u64, random: &mut Rng) -> CallRecord {
    let mos = random.bool().then(|| 1.0 + random.f64() * 3.5);
    let scale = random.choice([Scale::Nb, Scale::Nb, Scale::Wb]).unwrap();
    let mut call = call(&format!("{n}-{}@pbx", random.u32(..)), n, mos);
    let agents = [None, Some("Asterisk PBX 20"), Some("snom370/8.9"), Some("100% 'x' -- _y\\")];
    let is_answered = random.u8(0..4) > 0;
    let duration = if is_answered { random.f64() * 1000.0 } else { 0.0 };
    call.user_agent = random.choice(agents).unwrap().map(str::to_owned);
    call.from = (random.u8(0..9) > 0).then(|| format!("sip:{}@10.0.0.1", random.u32(100..400)));
    call.to = Some(format!("sip:+49{}@Example.COM", random.u32(0..1000)));
    call.source = (random.u8(0..9) > 0).then(|| match random.bool() {
        true => [10, random.u8(0..3), random.u8(0..9), random.u8(..)].into(),
        false => [0x2001, 0xdb8, random.u16(0..4), 0, 0, 0, 0, random.u16(..)].into(),
    });
    call.trunk = call.source.map(Trunk::of);
    call.state = if is_answered { CallState::Ended } else { CallState::Failed };
    call.ended_by = Some(EndedBy::Callee);
    call.start_time = at(n) - Duration::from_millis(random.u64(0..5000));
    call.answer_time = is_answered.then_some(call.start_time);
    call.end_time = Some(at(n) + Duration::from_secs(1000));
    call.duration_seconds = duration;
    // Few values: equal ones must keep their order.
    call.figures.packet_loss_percentage = random.bool().then(|| f64::from(random.u8(0..20)) / 4.0);
    call.jitter_avg_ms = random.bool().then(|| random.f64() * 80.0);
    call.latency_avg_ms = random.bool().then(|| random.f64() * 300.0);
    call.codec = random.choice([None, Some("PCMU"), Some("PCMA"), Some("opus")]).unwrap();
    call.score.mos_basis = mos.map(|_| MosBasis {
        kind: MosKind::Cq,
        scale,
        source: Source::Measured,
        is_delay_assumed: false,
    });
    if random.u8(0..8) == 0 {
        call.integrity = Integrity::Suspect;
    }
    call
}
