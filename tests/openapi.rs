//! `/api/openapi.json` is the API: what the server answers is as the document says, to the last
//! field, and neither of them has a path, a method or a parameter that the other one lacks.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, UdpSocket},
    sync::atomic::AtomicBool,
    thread,
};

use clap::Parser as _;
use loadgen::{
    engine::{self, Route},
    options::Options,
};
use serde_json::{Value, json};
use voxplane::{control::snapshot::SnapshotCell, http::Tokens};

#[path = "http/document.rs"]
mod document;
mod http;
mod live;
mod store;
use document::{Document, METHODS, Operation};
use http::{Answer, connect, get, request, send, serve, snapshot, start, start_with};
use live::Appliance;

#[test]
fn the_server_answers_with_the_document_of_its_own_version() {
    let document = Document::new();
    let server = serve(snapshot());
    assert_eq!(get(server.local_addr(), "/api/openapi.json").json(), document.0);
    assert_eq!(document.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document.0["openapi"], "3.1.0");
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = Document::new();
    let mut used = BTreeSet::new();
    references(&document.0, &mut used);
    for reference in &used {
        document.at(reference);
    }
    for kind in ["headers", "parameters", "responses", "schemas"] {
        for name in document.0["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(used.contains(reference.as_str()), "nobody uses {reference}");
        }
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_and_the_router_have_the_same_paths_and_methods() {
    let document = Document::new();
    let server = serve(snapshot());
    let paths: BTreeSet<&str> = document.operations().map(|operation| operation.path).collect();
    for &path in &paths {
        for method in METHODS {
            let told = document.operations().any(|o| (o.path, o.method) == (path, method));
            let operation = document.operations().find(|operation| operation.path == path);
            let operation = Operation { method, ..operation.unwrap() };
            let answer = ask(server.local_addr(), operation, &filled(path), "", "");
            assert_eq!(answer.status != 405, told, "{method} {path}: {answer:?}");
            if let Some(allowed) = answer.header("Allow") {
                let allowed = allowed.split(", ").filter(|name| !IMPLIED.contains(name));
                let told = document.operations().filter(|operation| operation.path == path);
                let told: BTreeSet<&str> = told.map(|operation| operation.method).collect();
                assert_eq!(allowed.collect::<BTreeSet<_>>(), told, "{path}");
            }
        }
    }
    // The other way round: what the router compares a path with.
    let router = include_str!("../src/http/routes.rs");
    let is_path = |text: &&str| text.starts_with('/') && !text.contains(char::is_whitespace);
    let literals: Vec<&str> = router.split('"').filter(is_path).collect();
    assert!(literals.len() >= paths.len(), "{literals:?}");
    for literal in literals {
        let told = paths.iter().any(|path| match path.split_once('{') {
            None => *path == literal,
            Some((before, after)) => {
                before == literal || after.split_once('}').is_some_and(|(_, end)| end == literal)
            }
        });
        assert!(told, "{literal} is not in the document");
    }
}

#[test]
fn parameters_are_those_that_are_taken() {
    let document = Document::new();
    let server = serve(snapshot());
    for operation in document.operations() {
        let target = format!("{}?other=1", filled(operation.path));
        let answer = ask(server.local_addr(), operation, &target, "", "{}");
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
        assert_told(&document, operation, &answer);
        let message = answer.message();
        let known = message.split_once("known here: ").map_or("", |(_, known)| known);
        let known: BTreeSet<&str> = known.split(", ").filter(|name| !name.is_empty()).collect();
        let told = document.parameters(operation, "query");
        let told: BTreeSet<&str> = told.map(|told| told["name"].as_str().unwrap()).collect();
        assert_eq!(known, told, "{target}: {message}");
        let in_path = document.parameters(operation, "path").count();
        assert_eq!(in_path, operation.path.matches('{').count(), "{target}");
    }
}

/// What a parameter may be by the document is taken, what it may not be is refused.
#[test]
fn bounds_of_parameters_are_those_that_are_kept() {
    let document = Document::new();
    let directory = tempfile::tempdir().unwrap();
    let store = store::filled(directory.path(), &store::calls(20, 1));
    let server = start_with(SnapshotCell::default(), store.reader());
    for operation in document.operations().filter(|operation| operation.method == "GET") {
        for parameter in document.parameters(operation, "query") {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let (good, bad) = examples(schema);
            for (values, is_good) in [(good, true), (bad, false)] {
                for value in values {
                    let target = format!("{}?{name}={value}", filled(operation.path));
                    let answer = ask(server.local_addr(), operation, &target, "", "");
                    assert_eq!(answer.status != 400, is_good, "{target}: {answer:?}");
                    assert_told(&document, operation, &answer);
                }
            }
        }
    }
}

/// Values that a schema lets through, and others.
fn examples(schema: &Value) -> (Vec<String>, Vec<String>) {
    let bound = |name| schema[name].as_u64().map(|bound: u64| bound.to_string());
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    if let Some(known) = schema["enum"].as_array() {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return (known.iter().map(text).collect(), words(&["", "other", "-"]));
    }
    match schema["type"].as_str().unwrap() {
        "integer" | "number" => {
            let bad = schema["maximum"].as_u64().map(|max| max + 1);
            let bad = bad.map(|bad| bad.to_string()).into_iter().chain(words(&["-1", "", "x"]));
            (bound("minimum").into_iter().chain(bound("maximum")).collect(), bad.collect())
        }
        "boolean" => (words(&["true", "false"]), words(&["", "1", "True"])),
        _ if schema["format"] == "date-time" => {
            (words(&["2026-11-27T03:00:00%2B02:00"]), words(&["", "yesterday"]))
        }
        _ => match schema["pattern"].as_str() {
            None => (words(&["", "a", "%27%20OR%201=1--"]), Vec::new()),
            Some(_) => match schema["default"].as_str() {
                Some(known) => (words(&[known]), words(&["", "0h", "x"])),
                None => (Vec::new(), words(&["", "x", "1-2"])),
            },
        },
    }
}

#[test]
fn who_may_do_what_is_as_the_document_says() {
    let document = Document::new();
    let tokens = Tokens::parse("read r3ad\noperate 0perate\nadmin adm1n\n").unwrap();
    let server = start(SnapshotCell::default(), Some(tokens));
    for operation in document.operations() {
        let target = filled(operation.path);
        let answer = ask(server.local_addr(), operation, &target, "", "{}");
        let is_open = operation.value["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(answer.status == 401, !is_open, "{target}: {answer:?}");
        assert_told(&document, operation, &answer);
        let bearer = "Authorization: Bearer r3ad\r\n";
        let answer = ask(server.local_addr(), operation, &target, bearer, "{}");
        assert_eq!(answer.status == 403, operation.method != "GET", "{target}: {answer:?}");
        assert_told(&document, operation, &answer);
        if answer.status == 403 {
            let told = operation.value["description"].as_str().unwrap();
            let role = told.split('`').nth(1).unwrap();
            assert!(answer.message().contains(&format!("role {role}")), "{told} {answer:?}");
        }
    }
}

#[test]
fn other_errors_are_told_of_as_well() {
    let document = Document::new();
    let server = serve(snapshot());
    let to = server.local_addr();
    let long = "x".repeat((64 << 10) + 1);
    for (method, path, body, status) in [
        ("GET", "/api/qos/call/{call_id}", "", 404),
        ("POST", "/api/qos/alerts/{id}/acknowledge", "", 404),
        ("DELETE", "/api/qos/rules/{name}", "", 404),
        ("GET", "/api/qos/export", "", 503),
        ("GET", "/api/qos/trends", "", 503),
        ("POST", "/api/reload", "", 503),
        ("POST", "/api/calls/hangup", "", 503),
        ("POST", "/api/qos/thresholds", &long, 413),
        ("POST", "/api/qos/thresholds", "{\"mos_min\":0}", 400),
        ("POST", "/api/qos/rules", "[]", 400),
    ] {
        let operation = document.operation(method, path);
        let answer = ask(to, operation, &filled(path), "", body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(operation.value["responses"].get(status.to_string()).is_some(), "{method} {path}");
        assert_told(&document, operation, &answer);
    }
    let operation = document.operation("GET", "/api/qos/metrics");
    for (headers, status) in [("Transfer-Encoding: chunked\r\n", 411), ("X: y\r\n", 200)] {
        let answer = request(to, "GET", "/api/qos/metrics", headers);
        assert_eq!(answer.status, status);
        assert_told(&document, operation, &answer);
    }
}

/// The check itself: one change to an answer that is well, and it is found.
#[test]
fn what_is_not_as_the_document_says_is_found() {
    let document = Document::new();
    let operation = document.operation("GET", "/api/qos/call/{call_id}");
    let server = serve(snapshot());
    let well = get(server.local_addr(), "/api/qos/call/one").json();
    let check =
        |call: &Value| document.check(operation, 200, "application/json", &call.to_string());
    check(&well).unwrap();
    for (place, value) in [
        ("/mos_score", json!("4.1")),
        ("/state", json!("over")),
        ("/start_time", json!("noon")),
        ("/mos_basis", json!("cq nb guessed")),
        ("/retransmissions", json!(-1)),
        ("/streams/0/ssrc", json!("7")),
        ("/streams/0/impairments", json!({"codec": 0.0})),
        ("/timeline/0/direction", Value::Null),
    ] {
        let mut call = well.clone();
        *call.pointer_mut(place).unwrap() = value;
        let problems = check(&call).unwrap_err();
        assert!(problems.contains(place), "{place}: {problems}");
    }
    for place in ["", "/streams/0", "/timeline/0"] {
        let mut call = well.clone();
        let members = call.pointer_mut(place).and_then(Value::as_object_mut).unwrap();
        members.insert("new".to_owned(), Value::Null);
        check(&call).unwrap_err();
        let mut call = well.clone();
        let members = call.pointer_mut(place).and_then(Value::as_object_mut).unwrap();
        members.remove("packets_lost").unwrap();
        check(&call).unwrap_err();
    }
    assert!(document.check(operation, 200, "text/html", "").is_err());
    assert!(document.check(operation, 302, "application/json", "{}").is_err());
}

/// Calls by hand, in which something is known that calls of a test are without.
#[test]
fn a_snapshot_is_shown_as_the_document_says() {
    let document = Document::new();
    let server = serve(snapshot());
    let empty = serve(voxplane::control::record::Snapshot::default());
    let directory = tempfile::tempdir().unwrap();
    let store = store::filled(directory.path(), &store::calls(200, 3));
    let stored = start_with(SnapshotCell::default(), store.reader());
    for to in [&server, &empty, &stored].map(voxplane::http::Server::local_addr) {
        for operation in document.operations().filter(|operation| operation.method == "GET") {
            let answer = ask(to, operation, &filled(operation.path), "", "");
            assert_told(&document, operation, &answer);
            let tag = answer.header("ETag").map(|tag| format!("If-None-Match: {tag}\r\n"));
            let told = &operation.value["responses"];
            assert_eq!(answer.status == 200 && told.get("304").is_some(), tag.is_some());
            if let Some(tag) = tag {
                let answer = request(to, "GET", &filled(operation.path), &tag);
                // What has a time of its own in it changes between two requests.
                assert!(matches!(answer.status, 200 | 304), "{answer:?}");
                assert_told(&document, operation, &answer);
            }
        }
        for target in ["one", "a%2Fb%40192.0.2.1", "call-7"] {
            let operation = document.operation("GET", "/api/qos/call/{call_id}");
            assert_told(&document, operation, &get(to, &format!("/api/qos/call/{target}")));
        }
    }
}

/// Calls with loss that are up, hung up and over, a report of a phone, alerts, rules that change:
/// every path and method is answered with success at least once.
#[test]
fn a_running_appliance_answers_as_the_document_says() {
    let config = "[[notify]]\nname = 'noc'\nkind = 'webhook'\nurl = 'http://127.0.0.1:9/'\n";
    let appliance = Appliance::with(config, &["--shards", "2"]);
    let client = Client::new(&appliance);
    // Sixteen phones, which the kernel gives to both shards.
    let phones: Vec<_> = (0..16).map(|user| register(appliance.sip, user)).collect();
    let calls = thread::spawn({
        let line = format!(
            "loadgen {} --calls 6 --rate 20 --duration 9s --loss 12 --impaired-calls 3 \
             --user echo",
            appliance.sip
        );
        move || {
            let options = Options::try_parse_from(line.split_whitespace()).unwrap();
            let scenario = options.scenario().unwrap();
            let route = Route::find(&options.target, &scenario.user, options.bind).unwrap();
            engine::run(&scenario, &route, 1, &AtomicBool::new(false)).unwrap()
        }
    });
    let to = appliance.http;
    let listener = thread::spawn(move || listen(to));
    set_rules(&client);
    appliance.wait_for("/api/qos/alerts", |alerts| {
        let alerts = alerts["alerts"].as_array().unwrap();
        ["high_packet_loss", "low_mos", "many"]
            .iter()
            .all(|rule| alerts.iter().any(|alert| alert["type"] == *rule))
    });
    let alerts = client.send("GET", "/api/qos/alerts", "", "");
    let id = alerts["alerts"][0]["id"].to_string();
    client.send("POST", "/api/qos/alerts/{id}/acknowledge", &id, "");

    let active = client.send("GET", "/api/qos/metrics", "", "");
    let call = active["metrics"][0]["call_id"].as_str().unwrap();
    report(appliance.sip, call);
    let has_report = |calls: &Value| calls["reports"].as_array().is_some_and(|all| !all.is_empty());
    appliance.wait_for("/api/qos/reports", has_report);
    client.send("GET", "/api/qos/reports", "", "");
    let path = "/api/qos/registrations";
    appliance.wait_for(path, |list| list["total"] == phones.len());
    client.send("GET", path, "?sort=-expires&user_agent=phone", "");
    let shown = client.send("GET", "/api/qos/call/{call_id}", &format!("{call}?raw=1"), "");
    for list in ["streams", "timeline", "ladder", "reports"] {
        assert!(!shown[list].as_array().unwrap().is_empty(), "{list} of {shown:#}");
    }
    assert!(shown["streams"][0]["buffers"].is_object(), "{shown:#}");
    assert!(shown["ladder"][0]["raw"].is_string(), "{shown:#}");
    client.send("POST", "/api/calls/{call_id}/hangup", call, "");
    client.send("POST", "/api/calls/hangup", "", "");
    calls.join().unwrap();
    listener.join().unwrap();
    client.send("GET", "/api/live", "?call_id=none", "");

    look_back(&client, &appliance, call);
    client.assert_complete();
}

fn set_rules(client: &Client) {
    let set = client.send("POST", "/api/qos/thresholds", "", "{\"mos_min\":4.2}");
    assert_eq!(set["thresholds"]["mos_min"], 4.2);
    client.send("GET", "/api/qos/thresholds", "", "");
    let rule = "{\"name\":\"many\",\"metric\":\"active_calls\",\"threshold\":1}";
    client.send("POST", "/api/qos/rules", "", rule);
    let usual = "{\"name\":\"usual\",\"metric\":\"mos\",\"deviations\":3}";
    assert_eq!(client.send("POST", "/api/qos/rules", "", usual)["rule"]["threshold"], Value::Null);
    client.send("GET", "/api/qos/rules", "", "");
}

/// What is asked once all calls are over.
fn look_back(client: &Client, appliance: &Appliance, call: &str) {
    appliance.history(6);
    let history = client.send("GET", "/api/qos/history", "?limit=2", "");
    assert!(history["next"].is_string(), "{history:#}");
    client.send("GET", "/api/qos/call/{call_id}", call, "");
    let has_point = |trends: &Value| trends["series"][0]["points"][0]["p95"].is_number();
    appliance.wait_for("/api/qos/trends?bucket=1m&by=codec", has_point);
    client.send("GET", "/api/qos/trends", "?bucket=1m&by=codec", "");
    client.send("GET", "/api/qos/trends", "?metric=calls", "");
    client.export();
    client.send("GET", "/api/qos/statistics", "", "");
    client.send("GET", "/api/qos/sip", "", "");
    client.send("DELETE", "/api/qos/rules/{name}", "many", "");
    client.send("POST", "/api/qos/clear-alerts", "", "");
    client.send("POST", "/api/reload", "", "");
    client.send("GET", "/api/openapi.json", "", "");
    client.send("GET", "/metrics", "", "");
    let health = client.send("GET", "/healthz", "", "");
    assert_eq!(health["notifiers"][0]["name"], "noc", "{health:#}");
}

/// A client that checks every answer.
struct Client {
    to: SocketAddr,
    document: Document,
    answered: RefCell<BTreeSet<String>>,
}

impl Client {
    fn new(appliance: &Appliance) -> Self {
        let (document, answered) = (Document::new(), RefCell::default());
        Self { to: appliance.http, document, answered }
    }

    /// A request that is answered with success; `rest` stands for the template in the path, or
    /// goes after it.
    fn send(&self, method: &str, path: &str, rest: &str, body: &str) -> Value {
        let target = match (path.split_once('{'), path.split_once('}')) {
            (Some((before, _)), Some((_, after))) => format!("{before}{rest}{after}"),
            _ => format!("{path}{rest}"),
        };
        let operation = self.document.operation(method, path);
        let answer = ask(self.to, operation, &target, "", body);
        assert_eq!(answer.status, 200, "{method} {target}: {answer:?}");
        assert_told(&self.document, operation, &answer);
        self.answered.borrow_mut().insert(format!("{method} {path}"));
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    /// Each line of an export is a call.
    fn export(&self) {
        let path = "/api/qos/export";
        let operation = self.document.operation("GET", path);
        for format in ["jsonl", "csv"] {
            let answer = get(self.to, &format!("{path}?format={format}"));
            assert_told(&self.document, operation, &answer);
            let body = answer.dechunked();
            assert!(body.lines().count() >= 6, "{body}");
            for line in body.lines().filter(|_| format == "jsonl") {
                let call = serde_json::from_str(line).unwrap();
                let schema = self.document.at("#/components/schemas/Call");
                self.document.check_value(schema, &call).unwrap();
            }
        }
        self.answered.borrow_mut().insert(format!("GET {path}"));
    }

    /// Everything has been answered.
    fn assert_complete(&self) {
        let all = self.document.operations().map(|o| format!("{} {}", o.method, o.path));
        let left: Vec<_> = all.filter(|name| !self.answered.borrow().contains(name)).collect();
        assert!(left.is_empty(), "never answered here: {left:?}");
    }
}

/// Has a phone report of a call (RFC 6035).
fn report(to: SocketAddr, call: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let us = socket.local_addr().unwrap();
    let body = format!(
        "VQSessionReport: CallTerm\r\nCallID: {call}\r\nLocalID: <sip:2001@example.net>\r\n\
         LocalMetrics:\r\nSessionDesc:PT=0 PD=PCMU SR=8000 FD=20 FPP=1 PPS=50 PLC=3\r\n\
         JitterBuffer:JBN=60\r\nPacketLoss:NLR=2.00 JDR=1.00\r\nDelay:RTD=80 ESD=90 IAJ=4\r\n\
         QualityEst:RLQ=88 MOSLQ=4.3 MOSCQ=4.2\r\n"
    );
    let text = format!(
        "PUBLISH sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {us};branch=z9hG4bKr\r\n\
         Max-Forwards: 70\r\nFrom: <sip:2001@example.net>;tag=r\r\nTo: <sip:{to}>\r\n\
         Call-ID: of-the-report\r\nCSeq: 1 PUBLISH\r\nEvent: vq-rtcpxr\r\n\
         Content-Type: application/vq-rtcpxr\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.send_to(text.as_bytes(), to).unwrap();
}

/// Has a phone register.
fn register(to: SocketAddr, user: u32) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let us = socket.local_addr().unwrap();
    let text = format!(
        "REGISTER sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {us};branch=z9hG4bKg{user}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@{to}>;tag=g\r\nTo: <sip:{user}@{to}>\r\n\
         Call-ID: registers-{user}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{user}@{us}>;q=1\r\n\
         User-Agent: Phone\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(text.as_bytes(), to).unwrap();
    socket
}

/// What happens while calls are up; a thread of its own that ends after all kinds of events.
fn listen(to: SocketAddr) {
    let document = Document::new();
    let operation = document.operation("GET", "/api/live");
    let mut expected: BTreeSet<&str> =
        operation.value["x-events"].as_object().unwrap().keys().map(String::as_str).collect();
    // Said to who is too slow.
    expected.remove("dropped");
    let mut stream = connect(to).unwrap();
    stream.write_all(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut name = String::new();
    while !expected.is_empty() {
        let line = lines.next().expect("events have no end");
        if let Some(event) = line.strip_prefix("event: ") {
            event.clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            let schema = &operation.value["x-events"][&name];
            let data = serde_json::from_str(data).unwrap();
            document.check_value(schema, &data).unwrap_or_else(|told| panic!("{name}: {told}"));
            expected.remove(name.as_str());
        }
    }
}

/// A request with a body where one is taken. Of events it reads only the beginning.
fn ask(
    to: SocketAddr,
    operation: Operation<'_>,
    target: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let method = operation.method;
    if operation.path != "/api/live" {
        return match headers {
            "" if method == "POST" => send(to, method, target, body),
            _ => request(to, method, target, headers),
        };
    }
    let mut stream = connect(to).unwrap();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"retry: ") && stream.read(&mut byte).unwrap() > 0 {
        bytes.extend(byte);
    }
    Answer::parse(&bytes).unwrap()
}

#[track_caller]
fn assert_told(document: &Document, operation: Operation<'_>, answer: &Answer) {
    let media_type = answer.header("Content-Type").unwrap_or_default();
    if let Err(problems) = document.check(operation, answer.status, media_type, &answer.body) {
        let Operation { method, path, .. } = operation;
        panic!("{method} {path} is {}, and by the document\n{problems}", answer.status);
    }
}

/// A path with something in the place of its template.
fn filled(path: &str) -> String {
    path.replace("{id}", "7").replace("{call_id}", "none").replace("{name}", "none")
}

/// Methods that go without saying.
const IMPLIED: [&str; 2] = ["HEAD", "OPTIONS"];
