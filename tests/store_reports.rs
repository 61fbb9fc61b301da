//! What phones say of their calls (RFC 6035) is there after a restart: what came while the call was
//! up, what came after its end, and what came to another run of the program.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rusqlite::Connection;
use serde_json::Value;
use voxplane::{
    control::{phone_reports::PhoneView, snapshot::SnapshotCell},
    shard::ShardConfig,
    store::{Settings, State, Store},
    time::Timestamp,
};

#[path = "live/caller.rs"]
mod caller;
mod common;
mod http;
mod live;
mod store;
use common::{Caller, US, World, addr, secs};
use http::{at, get, start_with};
use live::Appliance;
use store::{held, loaded, open, open_with, until};

const FAR: &str = "198.51.100.1:5070";

/// A report of two directions about a call, as a PUBLISH from an address.
fn publish(from: &str, to: &str, number: u32, call_id: &str) -> String {
    let body = format!(
        "VQSessionReport: CallTerm\r\nCallID: {call_id}\r\nLocalID: <sip:2001@example.net>\r\n\
         LocalMetrics:\r\nSessionDesc:PT=0 PD=PCMU SR=8000 FD=20 FPP=1 PPS=50 PLC=3\r\n\
         PacketLoss:NLR={number}.00 JDR=1.00\r\nDelay:RTD=80 ESD=90 IAJ=4\r\n\
         QualityEst:RLQ=88 MOSLQ=4.3 MOSCQ=4.2\r\nRemoteMetrics:\r\nPacketLoss:NLR=0\r\n"
    );
    format!(
        "PUBLISH sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKr{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:2001@example.net>;tag=r\r\nTo: <sip:{to}>\r\n\
         Call-ID: of-the-report-{number}\r\nCSeq: 1 PUBLISH\r\nEvent: vq-rtcpxr\r\n\
         Content-Type: application/vq-rtcpxr\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn world() -> World {
    let mut world = World::new(ShardConfig::default());
    world.calls = world.calls.with_finished().with_reported();
    world
}

fn report(world: &mut World, number: u32, call_id: &str) {
    world.send(addr(FAR), addr(US), publish(FAR, US, number, call_id));
    assert_eq!(world.take_one().status(), 200);
}

/// Gives the store what the world has for it.
fn feed(world: &mut World, store: &Store) {
    let feeder = store.feeder();
    world.calls.reported().for_each(|(call, report)| feeder.report(call, report));
    world.calls.finished().for_each(|call| feeder.call(call));
    let reader = store.reader();
    until(|| reader.status().pending == 0);
}

/// The reports of a call as the API shows it.
fn shown(world: Option<&mut World>, store: &Store, call_id: &str) -> Vec<Value> {
    let snapshots = SnapshotCell::default();
    if let Some(world) = world {
        snapshots.store(world.snapshot());
    }
    let server = start_with(snapshots, store.reader());
    let answer = get(server.local_addr(), &format!("/api/qos/call/{call_id}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["reports"].as_array().unwrap().clone()
}

fn losses(reports: &[Value]) -> Vec<f64> {
    let local = reports.iter().filter(|report| report["side"] == "local");
    local.map(|report| report["loss_percentage"].as_f64().unwrap()).collect()
}

#[test]
fn reports_of_a_call_and_those_after_it_outlive_the_program() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than what a report keeps of it.
    let long = "x".repeat(300);
    for call_id in ["short", &long] {
        let (mut world, store) = (world(), open(directory.path()));
        let mut caller = Caller::new(FAR, call_id);
        caller.set_up(&mut world);
        report(&mut world, 1, call_id);
        assert_eq!(losses(&shown(Some(&mut world), &store, call_id)), [1.0], "while it is up");
        world.run_for(secs(5));
        caller.hang_up(&mut world);
        world.take();
        world.run_for(secs(1));
        feed(&mut world, &store);
        world.run_for(secs(60));
        report(&mut world, 2, call_id);
        let before = shown(Some(&mut world), &store, call_id);
        assert_eq!((before.len(), losses(&before)), (4, vec![1.0, 2.0]));
        feed(&mut world, &store);
        assert_eq!(shown(Some(&mut world), &store, call_id), before, "each once");
        store.stop();

        let (mut world, store) = (self::world(), open(directory.path()));
        let calls = if call_id == "short" { 1 } else { 2 };
        loaded(&store.reader(), calls);
        assert_eq!(shown(None, &store, call_id), before);
        // One that comes now is beside them, whether it is on disk yet or not.
        world.run_for(secs(3600));
        report(&mut world, 3, call_id);
        assert_eq!(losses(&shown(Some(&mut world), &store, call_id)), [1.0, 2.0, 3.0]);
        feed(&mut world, &store);
        assert_eq!(losses(&shown(Some(&mut world), &store, call_id)), [1.0, 2.0, 3.0]);
        assert_eq!(losses(&shown(None, &store, call_id)), [1.0, 2.0, 3.0]);
        assert!(store.reader().reports(&format!("{call_id}x")).unwrap().is_empty());
    }
}

/// One direction of a report.
fn view() -> PhoneView {
    let mut world = world();
    report(&mut world, 5, "any");
    let (_, view) = world.calls.reported().next().unwrap();
    PhoneView::clone(&view)
}

#[test]
fn reports_wait_in_memory_while_the_disk_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = held(directory.path());
    let reader = store.reader();
    let view = PhoneView { time: at(1), ..view() };
    store.feeder().report("waits".into(), Arc::new(view));
    until(|| reader.status().state == State::Busy);
    assert_eq!((reader.status().pending, reader.reports("waits").unwrap().len()), (1, 1));
    assert!(reader.status().lag_ms > 0);
    other.execute_batch("COMMIT").unwrap();
    until(|| reader.status().state == State::Ok && reader.status().pending == 0);
    assert_eq!(reader.reports("waits").unwrap().len(), 1);
}

/// Seconds after the day began, as the store's clock has it.
static NOW: AtomicU64 = AtomicU64::new(0);

fn clock() -> Timestamp {
    // Each look takes a second, so that what is due comes due.
    at(NOW.fetch_add(1, Relaxed))
}

#[test]
fn the_oldest_go_by_count_and_by_age() {
    const DAY: u64 = 86_400;
    let directory = tempfile::tempdir().unwrap();
    let retention = Duration::from_secs(2 * DAY);
    let settings = Settings { retention, calls_max: 1000, ..Settings::default() };
    let store = open_with(directory.path(), settings, clock);
    let reader = store.reader();
    let view = view();
    for n in 0..3000 {
        let report = Arc::new(PhoneView { time: at(n), ..view.clone() });
        store.feeder().report(format!("call-{n}").into(), report);
    }
    let is_there = |n: u64| !reader.reports(&format!("call-{n}")).unwrap().is_empty();
    until(|| is_there(2999) && reader.status().pending == 0);
    until(|| !is_there(1999));
    assert!(is_there(2000) && is_there(2999));
    NOW.store(2500 + 2 * DAY, Relaxed);
    until(|| !is_there(2499));
    NOW.store(3000 + 2 * DAY, Relaxed);
    until(|| !is_there(2999));
    let of_one = |_| store.feeder().report("many".into(), Arc::new(view.clone()));
    (0..30).for_each(of_one);
    until(|| reader.status().pending == 0);
    let rows = Connection::open(directory.path().join("history.db")).unwrap();
    let rows: i64 =
        rows.query_row("SELECT count(*) FROM phone_reports", [], |row| row.get(0)).unwrap();
    assert!(rows <= 30, "{rows}");
}

/// The program itself: control hands reports on, and another run shows them.
#[test]
fn a_running_appliance_keeps_reports_for_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let appliance = start(directory.path());
    let caller = caller::Caller::new(appliance.sip);
    let answer = caller.dial("reported", 41_000);
    caller.send("BYE", "reported", answer.to_tag());
    caller.receive_until(|message| message.0.contains("BYE"));
    appliance.history(1);
    send(appliance.sip, 7, "reported");
    let has_both = |call: &Value| call["reports"].as_array().unwrap().len() == 2;
    let before = appliance.wait_for("/api/qos/call/reported", has_both)["reports"].clone();
    appliance.signal("TERM");
    assert!(appliance.ended().0.success());
    let again = start(directory.path());
    again.history(1);
    assert_eq!(again.json("/api/qos/call/reported")["reports"], before);
}

fn start(data: &Path) -> Appliance {
    Appliance::with("", &["--shards", "2", "--data", data.to_str().unwrap()])
}

fn send(to: SocketAddr, number: u32, call_id: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = socket.local_addr().unwrap().to_string();
    let text = publish(&from, &to.to_string(), number, call_id);
    socket.send_to(text.as_bytes(), to).unwrap();
}
