//! Live events over HTTP: what happens to calls and alerts reaches who listens, once each and in
//! order; who does not keep up is dropped, is told so, and costs the others nothing.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use clap::Parser as _;
use loadgen::{
    engine::{self, Route},
    options::Options,
};
use serde_json::{Value, json};
use voxplane::{
    alerts::{Alerts, Rules},
    control::{
        record::{CallRecord, Snapshot},
        snapshot::SnapshotCell,
    },
    http::{Server, Tokens},
};

mod http;
mod live;
use http::{at, call, connect, ended, get, request, send, snapshot, start, start_alerts, timed};
use live::Appliance;

/// A client that listens.
struct Listening {
    head: String,
    lines: BufReader<TcpStream>,
}

/// One event.
#[derive(Debug)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

impl Listening {
    fn to(server: SocketAddr, query: &str) -> Self {
        Self::with(server, query, "")
    }

    fn with(server: SocketAddr, query: &str, headers: &str) -> Self {
        let mut stream = connect(server).unwrap();
        let head = format!("GET /api/live{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut listening = Self { head: String::new(), lines: BufReader::new(stream) };
        while !listening.head.ends_with("\r\n\r\n") {
            assert!(listening.lines.read_line(&mut listening.head).unwrap() > 0);
        }
        listening
    }

    /// The lines up to the next empty one.
    fn block(&mut self) -> Option<String> {
        let mut block = String::new();
        while !block.ends_with("\n\n") {
            if self.lines.read_line(&mut block).unwrap() == 0 {
                return None;
            }
        }
        Some(block)
    }

    /// The next event.
    fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block()?;
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
            if let Some(name) = field("event: ") {
                let data = serde_json::from_str(field("data: ").unwrap()).unwrap();
                let id = field("id: ").map(|id| id.parse().unwrap());
                return Some(Event { id, name: name.to_owned(), data });
            }
        }
    }

    /// The next event that is no statistics.
    fn news(&mut self) -> Event {
        loop {
            let event = self.event().unwrap();
            if event.name != "stats" {
                return event;
            }
        }
    }
}

fn with_calls(active: &[Arc<CallRecord>], history: &[Arc<CallRecord>]) -> Snapshot {
    Snapshot { active: active.to_vec(), history: history.to_vec(), ..snapshot() }
}

fn server(first: Snapshot) -> (Server, SnapshotCell, Alerts) {
    let snapshots = SnapshotCell::default();
    snapshots.store(first);
    let alerts = Alerts::start(Rules::default(), None, None, at(0));
    (start_alerts(snapshots.clone(), alerts.clone()), snapshots, alerts)
}

fn metric(to: SocketAddr, name: &str) -> u64 {
    let page = get(to, "/metrics").body;
    let line =
        page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[test]
fn calls_start_change_and_end_once_each() {
    let (one, two) = (Arc::new(call("one", 1, None)), Arc::new(call("two", 2, Some(4.0))));
    let old = Arc::new(ended(call("old", 0, None)));
    let (server, snapshots, _) = server(with_calls(&[Arc::clone(&one)], &[Arc::clone(&old)]));
    let to = server.local_addr();
    let mut client = Listening::to(to, "");
    assert!(client.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", client.head);
    assert!(client.head.contains("Content-Type: text/event-stream\r\n"), "{}", client.head);
    assert_eq!(client.block().unwrap(), "retry: 2000\n\n");
    // What is there when it comes is no news.
    assert_eq!(client.event().unwrap().name, "stats");

    snapshots.store(with_calls(&[Arc::clone(&one), Arc::clone(&two)], &[Arc::clone(&old)]));
    let started = client.news();
    assert_eq!((started.name.as_str(), &started.data["call_id"]), ("call_started", &json!("two")));
    let mut listed = get(to, "/api/qos/metrics").json()["metrics"][1].clone();
    listed.as_object_mut().unwrap().remove("streams").unwrap();
    listed["duration_seconds"] = started.data["duration_seconds"].clone();
    assert_eq!(started.data, listed, "the record of the list, without its streams");

    let changed = Arc::new(call("one", 1, Some(3.3)));
    snapshots.store(with_calls(&[Arc::clone(&changed), Arc::clone(&two)], &[Arc::clone(&old)]));
    let updated = client.news();
    assert_eq!((updated.name.as_str(), &updated.data["call_id"]), ("call_updated", &json!("one")));
    assert_eq!(updated.data["mos_score"], 3.3);

    // One that began and ended between two looks, and one that was known.
    let short = Arc::new(ended(call("short", 3, None)));
    let over = Arc::new(ended(call("one", 1, Some(3.2))));
    snapshots.store(with_calls(&[Arc::clone(&two)], &[old, short, Arc::clone(&over)]));
    let news = [client.news(), client.news()];
    assert!(news.iter().all(|event| event.name == "call_ended"), "{news:?}");
    assert_eq!(news[0].data["call_id"], "short");
    assert_eq!(
        (&news[1].data["call_id"], &news[1].data["state"]),
        (&json!("one"), &json!("ended"))
    );

    // Where no history is kept.
    snapshots.store(with_calls(&[], &[over]));
    let last = client.news();
    assert_eq!((last.name.as_str(), &last.data["call_id"]), ("call_ended", &json!("two")));
    let ids: Vec<_> = [started, updated].into_iter().chain(news).chain([last]).collect();
    assert!(ids.windows(2).all(|pair| pair[0].id.unwrap() < pair[1].id.unwrap()), "{ids:?}");
}

#[test]
fn statistics_come_every_second() {
    let (server, ..) = server(snapshot());
    let mut client = Listening::to(server.local_addr(), "");
    let first = client.event().unwrap();
    let ((), took) = timed(|| {
        for _ in 0..3 {
            assert_eq!(client.event().unwrap().name, "stats");
        }
    });
    assert!((2000..4500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(first.data, get(server.local_addr(), "/api/qos/statistics").json());
}

#[test]
fn alerts_are_told_as_they_live() {
    let (server, _, alerts) = server(Snapshot::default());
    let to = server.local_addr();
    let mut client = Listening::to(to, "");
    assert_eq!(client.event().unwrap().name, "stats");
    let rule = json!({
        "name": "quiet", "metric": "active_calls", "comparison": "below", "threshold": 1,
        "min_samples": 0, "severity": "error",
    });
    assert!(alerts.change(at(1), |rules| rules.with(rule.as_object().cloned().unwrap())).is_ok());
    alerts.look(&Snapshot { taken_at: at(2), ..Snapshot::default() });
    assert_eq!(send(to, "POST", "/api/qos/alerts/1/acknowledge", "").status, 200);
    assert_eq!(send(to, "POST", "/api/qos/clear-alerts", "").status, 200);
    for (change, state) in
        [("fired", "firing"), ("acknowledged", "acknowledged"), ("resolved", "resolved")]
    {
        let event = client.news();
        assert_eq!((event.name.as_str(), &event.data["change"]), ("alert", &json!(change)));
        let alert = &event.data["alert"];
        assert_eq!((&alert["type"], &alert["state"]), (&json!("quiet"), &json!(state)));
    }
}

#[test]
fn who_asks_for_one_call_hears_of_no_other() {
    let calls = [call("one", 1, None), call("a/b@c", 2, None)].map(Arc::new);
    let (server, snapshots, _) = server(with_calls(&calls, &[]));
    let mut client = Listening::to(server.local_addr(), "?call_id=a%2Fb%40c");
    let standing = client.event().unwrap();
    assert_eq!(
        (standing.name.as_str(), &standing.data["call_id"]),
        ("call_updated", &json!("a/b@c"))
    );
    for mos in [2.0, 3.0] {
        let calls = [("one", 1), ("a/b@c", 2), ("d", 3)];
        let changed = calls.map(|(id, start)| Arc::new(call(id, start, Some(mos))));
        snapshots.store(with_calls(&changed, &[]));
        let event = client.event().unwrap();
        assert_eq!(event.name, "call_updated");
        assert_eq!(event.data["call_id"], "a/b@c");
        assert_eq!(event.data["mos_score"], mos);
    }
    let ((), took) = timed(|| while client.block().unwrap() != ": still here\n\n" {});
    assert!((8..14).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_sixty_fifth_client_is_refused_until_one_leaves() {
    let (server, ..) = server(snapshot());
    let to = server.local_addr();
    let mut clients: Vec<_> = (0..64).map(|_| Listening::to(to, "")).collect();
    let refused = get(to, "/api/live");
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("unavailable")));
    assert!(refused.message().contains("64 clients"), "{refused:?}");
    assert_eq!(metric(to, "voxplane_http_live_clients"), 64);
    assert_eq!(metric(to, "voxplane_http_live_refused_total"), 1);
    assert_eq!(get(to, "/healthz").json()["api"]["live_clients"], 64);
    // All of them are told, and others are answered.
    assert!(clients.iter_mut().all(|client| client.event().unwrap().name == "stats"));
    clients.pop();
    let came = (0..50).any(|_| {
        thread::sleep(Duration::from_millis(50));
        let mut stream = connect(to).unwrap();
        stream.write_all(b"GET /api/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.contains(" 200 ")
    });
    assert!(came);
    drop(clients);
    let emptied = (0..50).any(|_| {
        thread::sleep(Duration::from_millis(50));
        metric(to, "voxplane_http_live_clients") == 0
    });
    assert!(emptied);
}

#[test]
fn who_does_not_keep_up_is_dropped_and_told_and_others_are_not() {
    let (server, snapshots, _) = server(Snapshot::default());
    let to = server.local_addr();
    let mut slow = Listening::to(to, "");
    let mut quick = Listening::to(to, "");
    let reading = thread::spawn(move || {
        let mut updates = 0;
        while let Some(event) = quick.event() {
            assert_ne!(event.name, "dropped");
            updates += usize::from(event.name.starts_with("call_"));
            if event.data["call_id"] == "last" {
                return updates;
            }
        }
        0
    });
    let mut rounds = 0;
    while metric(to, "voxplane_http_live_dropped_total") == 0 {
        rounds += 1;
        assert!(rounds < 100, "it is never dropped");
        let calls: Vec<_> = (0..2000)
            .map(|n| Arc::new(call(&format!("call-{n}"), n, Some(f64::from(rounds % 5)))))
            .collect();
        snapshots.store(with_calls(&calls, &[]));
        let (answer, took) = timed(|| get(to, "/api/qos/statistics"));
        assert!(answer.status == 200 && took < Duration::from_secs(1), "{took:?}");
        thread::sleep(Duration::from_millis(250));
    }
    snapshots.store(with_calls(&[Arc::new(call("last", 1, None))], &[]));
    assert!(reading.join().unwrap() >= 2000);
    assert_eq!(metric(to, "voxplane_http_live_dropped_total"), 1);
    assert_eq!(get(to, "/healthz").json()["api"]["live_dropped"], 1);
    let mut last = None;
    while let Some(event) = slow.event() {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!(last.name, "dropped", "{last:?}");
    assert!(last.data["reason"].as_str().unwrap().contains("in time"));
}

#[test]
fn of_two_thousand_calls_those_that_changed_are_told() {
    let calls: Vec<_> = (0..2000).map(|n| Arc::new(call(&format!("c{n}"), n, None))).collect();
    let (server, snapshots, _) = server(with_calls(&calls, &[]));
    let to = server.local_addr();
    let mut client = Listening::to(to, "");
    assert_eq!(client.event().unwrap().name, "stats");
    let mut calls = calls;
    for (changed, mos) in [(7, 1.5), (1999, 2.5), (0, 3.5), (7, 4.5)] {
        calls[changed] = Arc::new(call(&format!("c{changed}"), changed as u64, Some(mos)));
        snapshots.store(with_calls(&calls, &[]));
        // The next of any kind is the one that changed: none of the others is told.
        let event = client.news();
        assert_eq!((event.name.as_str(), &event.data["mos_score"]), ("call_updated", &json!(mos)));
        assert_eq!(event.data["call_id"], format!("c{changed}"));
    }
}

/// All the clients that there may be, calls that change as those of 2,000 do, and others that poll.
#[test]
fn listeners_do_not_make_others_wait() {
    let mut calls: Vec<_> = (0..2000).map(|n| Arc::new(call(&format!("c{n}"), n, None))).collect();
    let (server, snapshots, _) = server(with_calls(&calls, &[]));
    let to = server.local_addr();
    let readers: Vec<_> = (0..64)
        .map(|_| {
            let mut client = Listening::to(to, "");
            thread::spawn(move || {
                let mut told = 0;
                loop {
                    let block = client.block().unwrap();
                    assert!(!block.contains("event: dropped"));
                    told += usize::from(block.contains("event: call_"));
                    if block.contains("\"call_id\":\"last\"") {
                        return told;
                    }
                }
            })
        })
        .collect();
    let pollers: Vec<_> = (0..20)
        .map(|_| {
            thread::spawn(move || {
                let asked = (0..25).map(|_| {
                    thread::sleep(Duration::from_millis(100));
                    let (answer, took) = timed(|| get(to, "/api/qos/metrics?limit=50&sort=mos"));
                    assert_eq!(answer.status, 200);
                    took
                });
                asked.collect::<Vec<_>>()
            })
        })
        .collect();
    // Two streams of each call are reported every 5 s.
    for round in 0..15 {
        for n in 0..160 {
            let n = (round * 160 + n) % calls.len();
            calls[n] = Arc::new(call(&format!("c{n}"), n as u64, Some(4.0)));
        }
        snapshots.store(with_calls(&calls, &[]));
        thread::sleep(Duration::from_millis(200));
    }
    let mut took: Vec<Duration> = pollers.into_iter().flat_map(|p| p.join().unwrap()).collect();
    took.sort_unstable();
    println!("API with 64 listeners: p50 {:?}, p99 {:?}", took[249], took[494]);
    assert!(took[494] < Duration::from_secs(2), "{:?}", took[494]);
    calls.push(Arc::new(call("last", 1, None)));
    snapshots.store(with_calls(&calls, &[]));
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 15 * 160 + 1, "each change once");
    }
}

#[test]
fn who_listens_comes_again_when_the_tokens_change() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "read old").unwrap();
    let tokens = Tokens::follow(file.path()).unwrap();
    let server = start(SnapshotCell::default(), Some(tokens));
    let to = server.local_addr();
    let mut client = Listening::with(to, "", "Authorization: Bearer old\r\n");
    assert_eq!(client.event().unwrap().name, "stats");
    std::fs::write(file.path(), "read new").unwrap();
    let (last, took) = timed(|| {
        loop {
            let event = client.event().unwrap();
            if event.name != "stats" {
                break event;
            }
        }
    });
    assert_eq!(last.name, "dropped");
    assert!(last.data["reason"].as_str().unwrap().contains("tokens have changed"), "{last:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(client.event().is_none(), "that was the last");
    Listening::with(to, "", "Authorization: Bearer new\r\n").event().unwrap();
    assert_eq!(request(to, "GET", "/api/live", "Authorization: Bearer old\r\n").status, 401);
}

/// Real calls, of which two lose packets.
#[test]
fn a_running_appliance_tells_of_every_call() {
    let appliance = Appliance::start();
    let mut client = Listening::to(appliance.http, "");
    let line = format!(
        "loadgen {} --calls 6 --rate 10 --duration 8s --loss 20 --impaired-calls 2",
        appliance.sip
    );
    let options = Options::try_parse_from(line.split_whitespace()).unwrap();
    let load = thread::spawn(move || {
        let scenario = options.scenario().unwrap();
        let route = Route::find(&options.target, &scenario.user, options.bind).unwrap();
        engine::run(&scenario, &route, 1, &AtomicBool::new(false)).unwrap()
    });
    let mut lives: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut alerts = Vec::new();
    while lives.values().filter(|life| life.last().unwrap().name == "call_ended").count() < 6 {
        let event = client.news();
        if event.name == "alert" {
            alerts.push(event.data["alert"]["type"].as_str().unwrap().to_owned());
            continue;
        }
        let call = event.data["call_id"].as_str().unwrap().to_owned();
        lives.entry(call).or_default().push(event);
    }
    load.join().unwrap();
    assert_eq!(lives.len(), 6, "{lives:?}");
    for (call, life) in &lives {
        let names: Vec<&str> = life.iter().map(|event| event.name.as_str()).collect();
        let (first, between) = names.split_first().unwrap();
        let (last, between) = between.split_last().unwrap();
        assert_eq!((*first, *last), ("call_started", "call_ended"), "{call}: {names:?}");
        assert!(!between.is_empty() && between.iter().all(|name| *name == "call_updated"));
        // What was told last is what the history has.
        let listed = appliance.json(&format!("/api/qos/call/{call}"));
        let told = life.last().unwrap().data.as_object().unwrap();
        for (name, value) in told {
            assert_eq!(&listed[name], value, "{call}: {name}");
        }
    }
    assert!(alerts.iter().any(|rule| rule == "high_packet_loss"), "{alerts:?}");
}

#[test]
fn what_cannot_be_listened_to_is_refused() {
    let tokens = Tokens::parse("read r3ad").unwrap();
    let server = start(SnapshotCell::default(), Some(tokens));
    let to = server.local_addr();
    let bearer = "Authorization: Bearer r3ad\r\n";
    assert_eq!(get(to, "/api/live").status, 401);
    let answer = request(to, "GET", "/api/live?call=x", bearer);
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains("\"call\""), "{answer:?}");
    for method in ["HEAD", "PUT"] {
        let answer = request(to, method, "/api/live", bearer);
        assert!([405, 403].contains(&answer.status), "{method}: {answer:?}");
    }
    let options = request(to, "OPTIONS", "/api/live", bearer);
    assert_eq!(options.header("Allow"), Some("GET, OPTIONS"));
}
