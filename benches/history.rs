//! Pages of a long history: a database is made, opened, and asked for pages by every filter and in
//! every order; each must come within 100 ms.
//!
//! `cargo bench --bench history` makes 200,000 calls, `-- --calls N` as many as one likes, and
//! `-- --large` 10 million, for which it writes some 6 GB to the temporary directory (`TMPDIR`).
//! `-- --test` only sees whether everything runs.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::unwrap_used, reason = "what fails here ends the bench")]

#[path = "../tests/http/mod.rs"]
mod http;
#[path = "../tests/store/mod.rs"]
mod store;

use std::{env, fs, path::Path, time::Instant};

use rusqlite::{Connection, params};
use voxplane::store::{Filter, Key, Page, Reader, Settings};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let is_asked = |name: &str| arguments.iter().any(|argument| argument == name);
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let rows = match after("--calls") {
        Some(rows) => rows,
        None if is_asked("--large") => 10_000_000,
        None if is_asked("--test") => 2000,
        None => 200_000,
    };
    let directory = tempfile::tempdir().unwrap();
    let (_, took) = http::timed(|| generate(directory.path(), rows));
    let bytes = fs::metadata(directory.path().join("history.db")).unwrap().len();
    println!("{rows} calls written in {:.1} s: {} MB", took.as_secs_f64(), bytes / 1_000_000);

    let start = Instant::now();
    let settings = Settings { calls_max: rows.max(1000), ..Settings::default() };
    let opened = store::open_with(directory.path(), settings, store::day);
    let reader = opened.reader();
    while reader.status().calls < rows {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    println!(
        "read in {:.1} s; the catalog takes {} MB",
        start.elapsed().as_secs_f64(),
        reader.catalog_bytes() / 1_000_000
    );
    let mut worst = 0.0_f64;
    println!(
        "{:<34}{:>9}{:>9}{:>9}{:>9}{:>9}  matches",
        "page of 100, ms (worst of 5)", "time", "mos", "loss", "jitter", "duration"
    );
    for (name, filter) in filters(rows) {
        print!("{name:<34}");
        let mut total = 0;
        for key in [Key::Time, Key::Mos, Key::Loss, Key::Jitter, Key::Duration] {
            let took = measure(&reader, &filter, key, &mut total);
            worst = worst.max(took);
            print!("{took:>9.1}");
        }
        println!("  {total}");
    }
    println!("worst page: {worst:.1} ms (target 100 at most)");
    for index in [0, rows / 2, rows - 1] {
        let (found, took) = http::timed(|| reader.call(&call_id(index)).unwrap());
        println!("call {index}: {:.2} ms", took.as_secs_f64() * 1e3);
        assert!(found.is_some());
    }
}

/// The slowest of some first and second pages, either way round, in milliseconds.
fn measure(reader: &Reader, filter: &Filter, key: Key, total: &mut u64) -> f64 {
    let mut worst = 0.0_f64;
    for round in 0..5 {
        let mut page = Page { filter: filter.clone(), key, limit: 100, ..Page::default() };
        page.is_ascending = round % 2 == 0;
        for _ in 0..2 {
            let (listed, took) = http::timed(|| reader.page(&page).unwrap());
            worst = worst.max(took.as_secs_f64() * 1e3);
            *total = listed.total;
            page.after = listed.next;
        }
    }
    worst
}

fn filters(rows: u64) -> Vec<(&'static str, Filter)> {
    let none = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    let time = |percent: u64| Some(http::at(rows * percent / 100));
    vec![
        ("none", none()),
        ("min_mos=4.4", Filter { min_mos: Some(4.4), ..none() }),
        ("min_mos=2 max_mos=2.001", Filter { min_mos: Some(2.0), max_mos: Some(2.001), ..none() }),
        ("since (1 %)", Filter { since: time(99), ..none() }),
        ("since until (1 % long ago)", Filter { since: time(10), until: time(11), ..none() }),
        ("state=failed", Filter { is_answered: Some(false), ..none() }),
        ("has_alert=true (0.1 %)", Filter { has_alert: Some(true), ..none() }),
        ("from=sip: (all)", Filter { from: text("sip:"), ..none() }),
        ("from=4711", Filter { from: text("4711"), ..none() }),
        ("from=7 (one digit)", Filter { from: text("7"), ..none() }),
        ("to=999999 (rare)", Filter { to: text("999999"), ..none() }),
        ("to=nobody (none)", Filter { to: text("nobody"), ..none() }),
        ("user_agent=agent 77", Filter { user_agent: text("agent 77"), ..none() }),
        ("codec=opus", Filter { codec: text("opus"), ..none() }),
        ("source=10.3.0.0/16", Filter { source: "10.3.0.0/16".parse().ok(), ..none() }),
        ("source=10.3.7. (0.01 %)", Filter { source: "10.3.7.".parse().ok(), ..none() }),
        (
            "failed, opus, from=1, agent",
            Filter {
                is_answered: Some(false),
                codec: text("opus"),
                from: text("1"),
                user_agent: text("agent"),
                ..none()
            },
        ),
    ]
}

/// Makes a database of so many calls with the store itself, then fills it as the store would.
fn generate(directory: &Path, rows: u64) {
    let samples = store::calls(256, 1);
    store::filled(directory, &samples).stop();
    let db = Connection::open(directory.join("history.db")).unwrap();
    let mut random = fastrand::Rng::with_seed(2);
    db.execute_batch("PRAGMA synchronous = OFF; DELETE FROM calls").unwrap();
    let mut records = Vec::new();
    {
        let mut select = db.prepare("SELECT record, timeline FROM records").unwrap();
        let mut found = select.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            records.push((row.get::<_, Vec<u8>>(0).unwrap(), row.get::<_, Vec<u8>>(1).unwrap()));
        }
    }
    db.execute_batch("DELETE FROM records").unwrap();
    let batch = 100_000;
    for first in (0..rows).step_by(batch) {
        let all = db.unchecked_transaction().unwrap();
        for index in first..(first + batch as u64).min(rows) {
            insert(&all, index, &records, &mut random);
        }
        all.commit().unwrap();
    }
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn insert(db: &Connection, index: u64, records: &[(Vec<u8>, Vec<u8>)], random: &mut fastrand::Rng) {
    let id = index.cast_signed() + 1;
    let start = http::at(index).as_nanos().cast_signed();
    let is_answered = random.u8(0..10) > 0;
    let mos = is_answered.then(|| 1000 + random.i64(0..3500));
    // A million parties, a thousand devices, 200,000 addresses.
    db.prepare_cached(
        "INSERT INTO calls (id, call_id, start_ns, end_ns, state, has_alert, mos_milli, \
         loss_milli, jitter_us, duration_ms, codec, user_agent, from_uri, to_uri, source) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )
    .unwrap()
    .execute(params![
        id,
        call_id(index),
        start,
        start + 60_000_000_000,
        if is_answered { "ended" } else { "failed" },
        random.u16(0..1000) == 0,
        mos,
        mos.map(|_| random.i64(0..20_000)),
        mos.map(|_| random.i64(0..90_000)),
        if is_answered { random.i64(0..3_600_000) } else { 0 },
        mos.map(|_| ["PCMU", "PCMA", "G722", "opus"][random.usize(0..4)]),
        format!("agent {}/{}", random.u8(0..100), random.u8(0..10)),
        format!("sip:+49{:07}@pbx.example.com", random.u32(0..1_000_000)),
        format!("sip:{:07}@192.0.2.1", random.u32(0..1_000_000)),
        format!("10.{}.{}.{}", random.u8(0..8), random.u8(0..100), random.u8(..)),
    ])
    .unwrap();
    let (record, timeline) = &records[random.usize(0..records.len())];
    db.prepare_cached("INSERT INTO records (id, record, timeline) VALUES (?1, ?2, ?3)")
        .unwrap()
        .execute(params![id, record, timeline])
        .unwrap();
}

fn call_id(index: u64) -> String {
    format!("{index:016x}@pbx.example.com")
}
