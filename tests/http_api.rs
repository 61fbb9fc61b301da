//! The HTTP API's contract: every route's shape and values, its filters and its errors.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use serde_json::{Value, json};
use voxplane::{
    control::snapshot::SnapshotCell,
    http::{Server, Tokens},
};

mod http;
use http::{get, request, serve, snapshot, start};

fn ids(answer: &Value) -> Vec<&str> {
    answer["metrics"].as_array().unwrap().iter().map(|c| c["call_id"].as_str().unwrap()).collect()
}

fn list(server: &Server, target: &str) -> Value {
    let answer = get(server.local_addr(), target);
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    answer.json()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn metrics_lists_active_calls_with_the_names_of_the_contract() {
    let server = serve(snapshot());
    let answer = get(server.local_addr(), "/api/qos/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(answer.header("Connection"), Some("close"));
    assert_eq!(answer.header("Cache-Control"), Some("private, no-cache"));
    let length = answer.header("Content-Length").unwrap();
    assert_eq!(length, answer.body.len().to_string());

    let body = answer.json();
    assert_eq!(keys(&body), ["active_calls", "metrics", "orphan_streams"]);
    assert_eq!(body["active_calls"], 2);
    let call = &body["metrics"][0];
    for name in "call_id from to user_agent state status_code ended_by start_time answer_time \
                 end_time duration_seconds srd_ms post_dial_delay_ms time_to_100_ms sdd_ms \
                 retransmissions q850_cause packets_sent packets_received packets_lost \
                 packet_loss_percentage packets_out_of_order packets_duplicate packets_discarded \
                 jitter_avg_ms jitter_max_ms latency_avg_ms latency_max_ms codec mos_score mos_lq \
                 r_factor mos_basis mos_reason quality_rating integrity streams"
        .split_whitespace()
    {
        assert!(call.get(name).is_some(), "{name} is missing");
    }
    assert!(call.get("timeline").is_none());
    assert_eq!(call["call_id"], "a/b@192.0.2.1");
    assert_eq!(call["state"], "active");
    assert_eq!(call["start_time"], "2026-01-31T12:01:40.000Z");
    assert_eq!(call["packets_lost"], 60);
    assert_eq!(call["mos_score"], 4.1);
    assert_eq!(call["mos_basis"], "cq nb measured");
    assert_eq!(call["quality_rating"], "Good");
    assert_eq!(call["integrity"], "clean");
    assert_eq!(call["latency_avg_ms"], Value::Null);
    assert_eq!(call["streams"][0]["ssrc"], "0xdeadbeef");
    assert_eq!(call["streams"][0]["direction"], "rx");
    assert_eq!(body["metrics"][1]["mos_score"], Value::Null);
    assert_eq!(body["metrics"][1]["mos_reason"], "codec unknown");
    assert_eq!(body["orphan_streams"][0]["ssrc"], "0x00000007");
    assert_eq!(body["orphan_streams"][0]["call_id"], Value::Null);
}

#[test]
fn metrics_pages_and_sorts_with_unknown_values_last() {
    let server = serve(snapshot());
    let (a, b) = ("a/b@192.0.2.1", "b@192.0.2.1");
    for (query, expected) in [
        ("", vec![a, b]),
        ("?sort=start", vec![a, b]),
        ("?sort=-start", vec![b, a]),
        ("?sort=mos", vec![a, b]),
        ("?sort=-mos", vec![a, b]),
        ("?sort=loss", vec![b, a]),
        ("?sort=-loss", vec![a, b]),
        ("?sort=duration", vec![b, a]),
        ("?sort=-duration", vec![a, b]),
        ("?sort=jitter", vec![a, b]),
        ("?limit=1", vec![a]),
        ("?limit=1&offset=1", vec![b]),
        ("?offset=2", vec![]),
        ("?limit=0", vec![]),
    ] {
        let body = list(&server, &format!("/api/qos/metrics{query}"));
        assert_eq!(ids(&body), expected, "{query}");
        assert_eq!(body["active_calls"], 2, "{query}");
    }
}

#[test]
fn call_finds_the_newest_with_its_timeline() {
    let server = serve(snapshot());
    let active = list(&server, "/api/qos/call/a%2Fb%40192.0.2.1");
    assert_eq!(active["state"], "active");
    let point = json!({
        "direction": "rx", "time": "2026-01-31T12:01:45.000Z",
        "packets_received": 250, "packets_lost": 0,
        "packets_discarded": 0, "jitter_ms": 1.5, "mos": 4.25, "integrity": "clean",
    });
    assert_eq!(active["timeline"], json!([point]));
    assert_eq!(list(&server, "/api/qos/call/a/b@192.0.2.1"), active);

    let finished = list(&server, "/api/qos/call/one");
    assert_eq!(finished["state"], "ended");
    assert_eq!(finished["ended_by"], "caller");
    assert_eq!(finished["mos_score"], 2.0, "the later of two calls with one id");

    for (target, status) in [
        ("/api/qos/call/none", 404),
        ("/api/qos/call/", 404),
        ("/api/qos/call/%FF", 400),
        ("/api/qos/call/one?limit=1", 400),
    ] {
        assert_eq!(get(server.local_addr(), target).status, status, "{target}");
    }
    assert!(get(server.local_addr(), "/api/qos/call/no%22ne").message().contains("no\\\"ne"));
}

#[test]
fn history_is_newest_first_and_filters() {
    let server = serve(snapshot());
    for (query, expected, total) in [
        ("", vec!["one", "four", "three", "two", "one"], 5),
        ("?limit=2", vec!["one", "four"], 5),
        ("?limit=2&offset=3", vec!["two", "one"], 5),
        ("?offset=99", vec![], 5),
        ("?min_mos=3.5", vec!["four", "one"], 2),
        ("?max_mos=3", vec!["one", "two"], 2),
        ("?min_mos=3&max_mos=3.5&limit=1", vec!["four"], 2),
        ("?since=2026-01-31T12:00:40Z", vec!["one", "four"], 2),
        ("?until=2026-01-31T14:00:20%2B02:00", vec!["one"], 1),
        ("?since=2026-01-31T12:00:20Z&until=2026-01-31T12:00:40Z", vec!["three", "two"], 2),
    ] {
        let body = list(&server, &format!("/api/qos/history{query}"));
        assert_eq!(keys(&body), ["count", "metrics", "next", "total"]);
        assert_eq!(ids(&body), expected, "{query}");
        assert_eq!(body["count"], expected.len(), "{query}");
        assert_eq!(body["total"], total, "{query}");
    }
}

#[test]
fn statistics_counts_and_averages() {
    let server = serve(snapshot());
    let jitter_ms = json!({
        "count": 1000, "mean": 1.5, "p50": 1.0, "p95": 4.0, "p99": 8.0, "max": 9.0
    });
    let delay_variation_ms = json!({
        "count": 1000, "mean": 2.5, "p50": 2.0, "p95": 5.0, "p99": 9.0, "max": 9.5
    });
    let both = json!({"jitter_ms": jitter_ms, "delay_variation_ms": delay_variation_ms});
    let expected = json!({
        "total_calls": 8, "answered_calls": 6, "failed_calls": 2, "active_calls": 2,
        "scored_calls": 5, "average_mos": 3.225, "average_mos_scale": "nb",
        "average_mos_by_scale": {"nb": 3.225, "wb": 4.3, "fb": null}, "calls_with_issues": 2, "issue_percentage": 25.0,
        "suspect_calls": 1, "total_alerts": 0, "orphan_streams": 1, "own_drops": 2,
        "jitter_ms": jitter_ms,
        "delay_variation_ms": delay_variation_ms,
        "by_codec": {"PCMA": both},
        "by_trunk": {"192.0.2.0/24": both},
        "rtt_ms": {
            "count": 0, "mean": null, "p50": null, "p95": null, "p99": null, "max": null
        },
    });
    assert_eq!(list(&server, "/api/qos/statistics"), expected);

    let empty = serve(voxplane::control::record::Snapshot::default());
    let body = list(&empty, "/api/qos/statistics");
    assert_eq!(body["average_mos"], Value::Null);
    assert_eq!(body["issue_percentage"], 0.0);
}

#[test]
fn healthz_tells_own_drops_and_freshness() {
    let server = serve(snapshot());
    let body = list(&server, "/healthz");
    assert_eq!(body["status"], "degraded");
    assert_eq!(body["reasons"], json!(["own drops within the last minute"]));
    assert_eq!(body["own_drops"], 2);
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["shards"][0]["ring_full"], 2);
    assert!((body["uptime_seconds"].as_f64().unwrap() - 3600.0).abs() < 60.0);

    let mut well = snapshot();
    well.shards[0].ring_full = 0;
    let server = serve(well);
    assert_eq!(list(&server, "/healthz")["status"], "ok");
}

#[test]
fn an_answer_comes_from_the_newest_snapshot() {
    let snapshots = SnapshotCell::default();
    let server = start(snapshots.clone(), None);
    assert_eq!(list(&server, "/api/qos/metrics")["active_calls"], 0);
    snapshots.store(snapshot());
    assert_eq!(list(&server, "/api/qos/metrics")["active_calls"], 2);
}

#[test]
fn prometheus_text_is_well_formed() {
    let server = serve(snapshot());
    let answer = get(server.local_addr(), "/metrics");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "voxplane_calls{state=\"active\"} 2",
        "voxplane_calls{state=\"ringing\"} 0",
        "voxplane_calls_finished_total{codec=\"PCMU\",trunk=\"192.0.2.0/24\",result=\"answered\"} 5",
        "voxplane_call_responses_total{code=\"200\"} 5",
        "voxplane_call_packets_expected_total{codec=\"PCMU\",trunk=\"192.0.2.0/24\"} 15000",
        "voxplane_call_packets_lost_total{codec=\"PCMU\",trunk=\"192.0.2.0/24\"} 300",
        "voxplane_rtp_packets_total{shard=\"0\"} 123456",
        "voxplane_own_drops_total{shard=\"0\",cause=\"ring_full\"} 2",
        "voxplane_shard_busy_ratio{shard=\"0\"} 0.25",
        "voxplane_shard_reports_waiting{shard=\"0\"} 7",
        "voxplane_shard_nap_seconds{shard=\"0\"} 0.0005",
        "voxplane_rtp_interarrival_jitter_seconds_bucket{le=\"0.05\"} 10",
        "voxplane_rtp_interarrival_jitter_seconds_sum 1.5",
        "voxplane_rtp_interarrival_jitter_seconds_count 1000",
        "voxplane_codec_delay_variation_seconds_bucket{codec=\"PCMA\",le=\"0.0001\"} 20",
        "voxplane_codec_delay_variation_seconds_count{codec=\"PCMA\"} 1000",
        "voxplane_trunk_interarrival_jitter_seconds_bucket{trunk=\"192.0.2.0/24\",le=\"+Inf\"} 1000",
        "voxplane_rtcp_round_trip_seconds_count 0",
        "voxplane_call_mos_bucket{codec=\"PCMU\",trunk=\"192.0.2.0/24\",scale=\"nb\",le=\"3\"} 2",
        "voxplane_call_mos_count{codec=\"PCMU\",trunk=\"192.0.2.0/24\",scale=\"nb\"} 4",
        "voxplane_call_mos_sum{codec=\"PCMU\",trunk=\"192.0.2.0/24\",scale=\"nb\"} 12.9",
        "voxplane_call_loss_ratio_bucket{codec=\"PCMU\",trunk=\"192.0.2.0/24\",le=\"0.02\"} 5",
        "voxplane_call_jitter_seconds_sum{codec=\"PCMU\",trunk=\"192.0.2.0/24\"} 0.015",
        "voxplane_alerts_open 0",
        "voxplane_http_requests_total 1",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line} in\n{}", answer.body);
    }
    assert!(answer.body.ends_with('\n'));
    let mut families: Vec<(&str, &str)> = Vec::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let family = rest.split_once(' ').unwrap();
            assert!(!families.iter().any(|(name, _)| *name == family.0), "{line} twice");
            families.push(family);
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (family, kind) = families.last().unwrap();
            assert!(name.starts_with(family), "{line} outside its family");
            assert_eq!(family.ends_with("_total"), *kind == "counter", "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn bad_parameters_are_named() {
    let server = serve(snapshot());
    for (target, parameter) in [
        ("/api/qos/metrics?limit=-1", "limit"),
        ("/api/qos/metrics?limit=1001", "limit"),
        ("/api/qos/metrics?offset=x", "offset"),
        ("/api/qos/metrics?sort=colour", "sort"),
        ("/api/qos/metrics?sort=", "sort"),
        ("/api/qos/metrics?min_mos=3", "min_mos"),
        ("/api/qos/history?min_mos=x", "min_mos"),
        ("/api/qos/history?max_mos=NaN", "max_mos"),
        ("/api/qos/history?max_mos=6", "max_mos"),
        ("/api/qos/history?since=yesterday", "since"),
        ("/api/qos/history?until=2026-13-01T00:00:00Z", "until"),
        ("/api/qos/history?limit=1&limit=2", "limit"),
        ("/api/qos/statistics?x", "x"),
        ("/metrics?name=a", "name"),
    ] {
        let answer = get(server.local_addr(), target);
        assert_eq!(answer.status, 400, "{target}");
        assert_eq!(answer.json()["error"]["code"], "bad_request");
        assert!(answer.message().contains(&format!("{parameter:?}")), "{target}: {answer:?}");
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    let server = serve(snapshot());
    let to = server.local_addr();
    for target in ["/", "/api", "/api/qos/metrics/", "/api/qos/nothing", "/HEALTHZ", "/%2e%2e/"] {
        let answer = get(to, target);
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(answer.json()["error"]["code"], "not_found");
        assert_eq!(request(to, "POST", target, "").status, 404, "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "TRACE", "get", "BREW"] {
        let answer = request(to, method, "/api/qos/metrics", "");
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(answer.json()["error"]["code"], "method_not_allowed");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let server = serve(snapshot());
    for target in ["/api/qos/metrics", "/metrics", "/healthz"] {
        let head = request(server.local_addr(), "HEAD", target, "");
        assert_eq!(head.status, 200, "{target}");
        assert_eq!(head.body, "", "{target}");
        assert!(head.header("Content-Length").unwrap().parse::<usize>().unwrap() > 100);
    }
}

#[test]
fn with_a_token_only_healthz_is_open() {
    let tokens = Tokens::parse("s3cret").unwrap();
    let server = start(SnapshotCell::default(), Some(tokens));
    let to = server.local_addr();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for target in ["/api/qos/metrics", "/metrics", "/nothing"] {
        for headers in ["", &bearer("wrong"), &bearer(""), "Authorization: Basic s3cret\r\n"] {
            let answer = request(to, "GET", target, headers);
            assert_eq!(answer.status, 401, "{target} {headers}");
            assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"));
            assert_eq!(answer.json()["error"]["code"], "unauthorized");
        }
    }
    assert_eq!(get(to, "/healthz").status, 200);
    assert_eq!(request(to, "GET", "/api/qos/metrics", &bearer("s3cret")).status, 200);
    assert_eq!(request(to, "GET", "/nothing", &bearer("s3cret")).status, 404);
}

#[test]
fn a_thousand_calls_are_one_answer() {
    let mut many = snapshot();
    let call = many.active[0].clone();
    many.active = vec![call; 1500];
    let server = serve(many);
    let body = list(&server, "/api/qos/metrics?limit=1000&sort=-mos");
    assert_eq!(body["active_calls"], 1500);
    assert_eq!(body["metrics"].as_array().unwrap().len(), 1000);
}
