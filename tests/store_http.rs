//! The history over HTTP: pages, single calls, exports, and bad parameters that are named.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
    thread,
};

use serde_json::Value;
use voxplane::{
    control::{record::CallRecord, snapshot::SnapshotCell},
    http::Server,
    store::Store,
};

mod http;
mod store;
use http::{call, connect, ended, get, request, snapshot, start_with};
use store::{any_call, calls, filled, until};

fn serve(store: &Store) -> Server {
    start_with(SnapshotCell::default(), store.reader())
}

fn list(server: &Server, target: &str) -> Value {
    let answer = get(server.local_addr(), target);
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    answer.json()
}

fn ids(answer: &Value) -> Vec<String> {
    let metrics = answer["metrics"].as_array().unwrap();
    metrics.iter().map(|call| call["call_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn next_leads_through_the_whole_history() {
    let directory = tempfile::tempdir().unwrap();
    let calls = calls(2500, 1);
    let store = filled(directory.path(), &calls);
    let server = serve(&store);
    for query in ["limit=1000", "limit=1000&sort=mos&order=asc", "limit=900&sort=jitter"] {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let body = list(&server, &format!("/api/qos/history?{query}{after}"));
            assert_eq!(body["total"], 2500);
            found.extend(ids(&body));
            let Some(next) = body["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(found.len(), 2500, "{query}");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 2500, "{query}: each once");
    }
}

#[test]
fn a_call_is_told_with_its_timeline_whether_it_is_on_disk_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let old = Arc::new(ended(call("a/b@pbx", 10, Some(4.0))));
    let store = filled(directory.path(), &[Arc::clone(&old)]);
    let server = serve(&store);
    let from_disk = list(&server, "/api/qos/call/a%2Fb@pbx");
    assert_eq!(from_disk["timeline"][0]["packets_received"], 250);
    assert_eq!(from_disk["streams"][0]["ssrc"], "0xdeadbeef");
    assert_eq!(from_disk["source"], "192.0.2.1");
    let mut snapshot = snapshot();
    snapshot.history = vec![old];
    let from_memory = list(&http::serve(snapshot), "/api/qos/call/a/b@pbx");
    assert_eq!(from_disk, from_memory, "nothing is lost on the way");

    let newer = Arc::new(ended(call("a/b@pbx", 99, Some(2.0))));
    store.feeder().call(newer);
    until(|| list(&server, "/api/qos/call/a/b@pbx")["mos_score"] == 2.0);
    assert_eq!(get(server.local_addr(), "/api/qos/call/none").status, 404);
}

#[test]
fn text_that_looks_like_sql_is_text() {
    let directory = tempfile::tempdir().unwrap();
    let mut odd = ended(call("'; DROP TABLE calls; --", 1, None));
    odd.from = Some("sip:' OR '1'='1@x".to_owned());
    odd.user_agent = Some("50%_\\\" \u{0}end".to_owned());
    let plain = ended(call("plain", 2, None));
    let store = filled(directory.path(), &[Arc::new(odd), Arc::new(plain)]);
    let server = serve(&store);
    for (query, total) in [
        ("from=%27+OR+%271%27%3D%271", 1),
        ("from=x%27+OR+%271%27%3D%271", 0),
        ("from=%25", 0),
        ("from=_", 0),
        ("user_agent=%25", 1),
        ("user_agent=%25_%5C%22", 1),
        ("to=%27%3B+DROP+TABLE+calls%3B+--", 0),
        ("codec=PCMU%27--", 0),
        ("source=%27+OR+1%3D1", 0),
        ("user_agent=%00", 0),
    ] {
        let body = list(&server, &format!("/api/qos/history?{query}"));
        assert_eq!(body["total"], total, "{query}");
    }
    let told = list(&server, "/api/qos/call/%27%3B%20DROP%20TABLE%20calls%3B%20--");
    assert_eq!(told["from"], "sip:' OR '1'='1@x");
    assert_eq!(list(&server, "/api/qos/history")["total"], 2);
}

#[test]
fn an_export_has_every_call_that_the_filters_let_through() {
    let directory = tempfile::tempdir().unwrap();
    let mut calls = calls(9000, 4);
    let mut formula = any_call(9000, &mut fastrand::Rng::with_seed(1));
    formula.from = Some("=HYPERLINK(\"x\")".to_owned());
    formula.user_agent = Some("snom, \"quoted\"".to_owned());
    formula.codec = Some("PCMA");
    calls.push(Arc::new(formula));
    let store = filled(directory.path(), &calls);
    let server = serve(&store);
    let expected: Vec<&Arc<CallRecord>> =
        calls.iter().rev().filter(|call| call.codec == Some("PCMA")).collect();

    let body = dechunked(&server, "/api/qos/export?format=jsonl&codec=pcma");
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), expected.len());
    for (line, call) in lines.iter().zip(&expected) {
        assert_eq!(line["call_id"], *call.call_id);
        assert_eq!(line["streams"][0]["ssrc"], "0xdeadbeef");
    }

    let body = dechunked(&server, "/api/qos/export?format=csv&codec=pcma");
    let mut lines = body.split_terminator("\r\n");
    let names: Vec<_> = lines.next().unwrap().split(',').collect();
    assert_eq!(names[..2], ["call_id", "from"]);
    let first = lines.next().unwrap();
    assert!(first.contains("\"'=HYPERLINK(\"\"x\"\")\""), "{first}");
    assert!(first.contains("\"snom, \"\"quoted\"\"\""), "{first}");
    assert_eq!(lines.clone().count() + 1, expected.len());
    let mos = names.iter().position(|name| *name == "mos_score").unwrap();
    for (line, call) in lines.zip(&expected[1..]) {
        let fields: Vec<_> = line.split(',').collect();
        assert_eq!(fields.len(), names.len(), "{line}");
        assert_eq!(fields[0], call.call_id);
        let shown = call.score.mos_score.map(|mos| (mos * 1e3).round() / 1e3);
        assert_eq!(fields[mos].parse().ok(), shown, "{line}");
    }
    assert_eq!(dechunked(&server, "/api/qos/export?from=nobody"), "");
}

#[test]
fn who_does_not_read_an_export_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), &calls(30_000, 6));
    let server = serve(&store);
    let target = "/api/qos/export?format=jsonl";
    let ask = || {
        let mut client = connect(server.local_addr()).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 15];
        client.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        client
    };
    let slow = [ask(), ask()];
    assert_eq!(get(server.local_addr(), target).status, 503, "two at once are the most");
    for _ in 0..20 {
        assert_eq!(get(server.local_addr(), "/api/qos/history").status, 200);
    }
    let [first, second] = slow;
    drop(first);
    // Its place is free for the next.
    until(|| get(server.local_addr(), target).status == 200);
    let mut rest = second;
    let mut body = Vec::new();
    rest.read_to_end(&mut body).unwrap();
    // The end of the last chunk: all of it came.
    assert!(body.ends_with(b"\r\n0\r\n\r\n"), "{} bytes", body.len());
    assert!(body.len() > 30_000 * 1000, "{} bytes", body.len());
}

#[test]
fn the_store_tells_how_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), &calls(100, 1));
    let server = serve(&store);
    let told = list(&server, "/healthz")["store"].clone();
    for (name, value) in [
        ("state", Value::from("ok")),
        ("calls", 100.into()),
        ("pending", 0.into()),
        ("dropped", 0.into()),
        ("lag_ms", 0.into()),
        ("error", Value::Null),
    ] {
        assert_eq!(told[name], value, "{name}: {told}");
    }
}

#[test]
fn bad_parameters_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), &calls(5, 1));
    let server = serve(&store);
    for (target, parameter) in [
        ("/api/qos/history?sort=colour", "sort"),
        ("/api/qos/history?order=up", "order"),
        ("/api/qos/history?state=active", "state"),
        ("/api/qos/history?has_alert=1", "has_alert"),
        ("/api/qos/history?source=10.0.0.0/40", "source"),
        ("/api/qos/history?after=", "after"),
        ("/api/qos/history?after=0-0-1&sort=mos", "after"),
        ("/api/qos/history?sort=mos&offset=100001", "offset"),
        ("/api/qos/history?min_mos=x", "min_mos"),
        ("/api/qos/history?format=csv", "format"),
        ("/api/qos/export?format=xml", "format"),
        ("/api/qos/export?limit=1", "limit"),
        ("/api/qos/export?since=x", "since"),
    ] {
        let answer = get(server.local_addr(), target);
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.message().contains(&format!("{parameter:?}")), "{target}: {answer:?}");
    }
    let head = request(server.local_addr(), "HEAD", "/api/qos/export", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn readers_and_the_writer_do_not_wait_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), &calls(3000, 8));
    let server = serve(&store);
    let to = server.local_addr();
    thread::scope(|scope| {
        for sort in ["time", "mos", "loss", "duration"] {
            scope.spawn(move || {
                for _ in 0..50 {
                    let answer = get(to, &format!("/api/qos/history?sort={sort}&from=1"));
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
        let more = calls(6000, 9);
        more.iter().for_each(|call| store.feeder().call(Arc::clone(call)));
    });
    until(|| store.reader().status().calls == 9000 && store.reader().status().pending == 0);
    assert_eq!(store.reader().status().dropped, 0);
}

/// The body of an answer that came in chunks.
fn dechunked(server: &Server, target: &str) -> String {
    let answer = get(server.local_addr(), target);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"), "{}", answer.head);
    assert_eq!(answer.header("Connection"), Some("close"));
    answer.dechunked()
}
