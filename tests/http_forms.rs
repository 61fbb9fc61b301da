//! The forms of an answer over HTTP: without its body, compressed, or not sent again because the
//! client still has it; and what a path takes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::{Read, Write},
    net::SocketAddr,
};

use flate2::read::GzDecoder;
use voxplane::control::{record::Snapshot, snapshot::SnapshotCell};

mod http;
use http::{Answer, call, connect, get, request, serve, snapshot, start};

/// Head and body of an answer, as they came.
fn raw(to: SocketAddr, target: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = connect(to).unwrap();
    let text = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end..].to_vec())
}

fn with_tag(to: SocketAddr, target: &str, tags: &str) -> Answer {
    request(to, "GET", target, &format!("If-None-Match: {tags}\r\n"))
}

#[test]
fn options_says_what_a_path_takes() {
    let server = serve(snapshot());
    let to = server.local_addr();
    for (target, allow) in [
        ("/api/qos/metrics", "GET, HEAD, OPTIONS"),
        ("/api/qos/thresholds", "GET, HEAD, POST, OPTIONS"),
        ("/api/qos/rules/low_mos", "DELETE, OPTIONS"),
        ("/api/reload", "POST, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = request(to, "OPTIONS", target, "");
        assert_eq!((answer.status, answer.header("Allow")), (204, Some(allow)), "{target}");
        assert_eq!((answer.body.as_str(), answer.header("Content-Length")), ("", None));
        assert_eq!(answer.header("Connection"), Some("close"));
    }
    assert_eq!(request(to, "OPTIONS", "/nothing", "").status, 404);
}

#[test]
fn an_answer_that_the_client_has_is_not_sent_again() {
    let snapshots = SnapshotCell::default();
    snapshots.store(snapshot());
    let server = start(snapshots.clone(), None);
    let to = server.local_addr();
    for target in [
        "/api/qos/metrics",
        "/api/qos/metrics?limit=1",
        "/api/qos/history",
        "/api/qos/alerts",
        "/api/qos/rules",
        "/api/qos/thresholds",
        "/api/qos/statistics",
        "/api/qos/call/one",
    ] {
        let first = get(to, target);
        let tag = first.header("ETag").unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 30, "{tag}");
        assert_eq!(first.header("Cache-Control"), Some("private, no-cache"));
        assert_eq!(get(to, target).header("ETag"), Some(&*tag), "the same body, the same tag");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag} "), "*".to_owned()] {
            let answer = with_tag(to, target, &known);
            assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{target} {known}");
            assert_eq!(answer.header("ETag"), Some(&*tag));
            assert_eq!(answer.header("Cache-Control"), Some("private, no-cache"));
            assert_eq!(answer.header("Vary"), Some("Accept-Encoding"));
            assert_eq!(answer.header("Content-Length"), None);
        }
        let head = request(to, "HEAD", target, &format!("If-None-Match: {tag}\r\n"));
        assert_eq!(head.status, 304);
        for unknown in ["\"x\"", "x", "", tag.trim_matches('"'), &tag[..tag.len() - 1]] {
            let answer = with_tag(to, target, unknown);
            assert_eq!((answer.status, &answer.body), (200, &first.body), "{target} {unknown}");
        }
    }
    let tag = get(to, "/api/qos/metrics").header("ETag").unwrap().to_owned();
    snapshots.store(Snapshot::default());
    let changed = with_tag(to, "/api/qos/metrics", &tag);
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("ETag"), Some(&*tag));
    for target in ["/nothing", "/api/qos/call/nobody", "/api/qos/metrics?limit=x"] {
        let answer = with_tag(to, target, "*");
        assert!(answer.status >= 400 && answer.header("ETag").is_none(), "{target}");
    }
}

#[test]
fn what_is_large_is_compressed_for_who_wants_it() {
    let mut many = snapshot();
    many.active = (0..200).map(|n| call(&format!("call-{n}"), n, Some(4.2)).into()).collect();
    let server = serve(many);
    let to = server.local_addr();
    for target in ["/api/qos/metrics?limit=200", "/metrics"] {
        let plain = get(to, target);
        assert_eq!(plain.header("Content-Encoding"), None);
        assert_eq!(plain.header("Vary"), Some("Accept-Encoding"));
        for accept in ["gzip", "br;q=1.0, gzip;q=0.8, *;q=0.1"] {
            let (head, body) = raw(to, target, &format!("Accept-Encoding: {accept}\r\n"));
            assert!(head.contains("Content-Encoding: gzip\r\n"), "{head}");
            assert!(head.contains("Vary: Accept-Encoding\r\n"), "{head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            assert!(body.len() * 4 < plain.body.len(), "{} of {}", body.len(), plain.body.len());
            let mut text = String::new();
            GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
            let without_age = |text: &str| {
                let lines = text.lines().filter(|line| !line.contains("age_seconds"));
                let lines = lines.filter(|line| !line.contains("_http_"));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(without_age(&text), without_age(&plain.body));
        }
        for accept in ["identity", "gzip;q=0", "br", "gzip;q=0.2, identity;q=0.9"] {
            let (head, _) = raw(to, target, &format!("Accept-Encoding: {accept}\r\n"));
            assert!(!head.contains("Content-Encoding"), "{accept}: {head}");
        }
    }
    let (head, _) = raw(to, "/api/qos/thresholds", "Accept-Encoding: gzip\r\n");
    assert!(!head.contains("Content-Encoding"), "it fits a packet: {head}");
}

#[test]
fn a_compressed_answer_has_a_tag_of_its_own() {
    let server = serve(snapshot());
    let to = server.local_addr();
    let target = "/api/qos/history";
    let plain = get(to, target).header("ETag").unwrap().to_owned();
    let (head, _) = raw(to, target, "Accept-Encoding: gzip\r\n");
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    assert_ne!(tag, plain);
    let headers = format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n");
    assert!(raw(to, target, &headers).0.starts_with("HTTP/1.1 304 "));
    let headers = format!("Accept-Encoding: gzip\r\nIf-None-Match: {plain}\r\n");
    assert!(raw(to, target, &headers).0.starts_with("HTTP/1.1 200 "));
    let answer = with_tag(to, target, tag);
    assert_eq!(answer.status, 200, "the plain body is another one");
}
