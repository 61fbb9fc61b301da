//! Alerts over HTTP: lists, acknowledging, clearing, the four thresholds and all rules, as the
//! scripts of users send them.

use serde_json::{Value, json};
use voxplane::{
    alerts::{Alerts, Rules},
    control::{record::Snapshot, snapshot::SnapshotCell},
    http::Server,
};

mod http;
mod store;
use http::{at, exchange, get, request, send, start_alerts};

/// A server and the engine behind it.
fn start() -> (Server, Alerts) {
    let alerts = Alerts::start(Rules::default(), None, None, at(0));
    (start_alerts(SnapshotCell::default(), alerts.clone()), alerts)
}

fn post(server: &Server, target: &str, body: &str) -> (u16, Value) {
    let answer = send(server.local_addr(), "POST", target, body);
    (answer.status, answer.json())
}

fn message(body: &Value) -> &str {
    body["error"]["message"].as_str().unwrap_or_default()
}

/// Has `count` alerts of the box raised, one after the other.
fn raise(alerts: &Alerts, count: u64) {
    for n in 0..count {
        let body = json!({
            "name": format!("n{n}"), "metric": "active_calls", "comparison": "below",
            "threshold": 1, "min_samples": 0, "severity": if n % 2 == 0 { "info" } else { "error" },
        });
        let table = body.as_object().cloned().unwrap_or_default();
        assert!(alerts.change(at(n), |rules| rules.with(table)).is_ok());
        alerts.look(&Snapshot { taken_at: at(n + 1), ..Snapshot::default() });
    }
}

#[test]
fn thresholds_are_views_on_rules() {
    let (server, alerts) = start();
    let before = json!({
        "mos_min": 3.5, "packet_loss_max": 2.0, "jitter_max": 50.0, "latency_max": 300.0,
    });
    assert_eq!(get(server.local_addr(), "/api/qos/thresholds").json(), before);
    let (status, body) = post(&server, "/api/qos/thresholds", r#"{"mos_min":4.0,"jitter_max":30}"#);
    let after = json!({
        "mos_min": 4.0, "packet_loss_max": 2.0, "jitter_max": 30.0, "latency_max": 300.0,
    });
    assert_eq!((status, &body["success"], &body["thresholds"]), (200, &json!(true), &after));
    assert!(body["message"].is_string());
    assert_eq!(get(server.local_addr(), "/api/qos/thresholds").json(), after);
    let threshold = |name| alerts.rules().get(name).map(|rule| rule.threshold);
    assert_eq!((threshold("low_mos"), threshold("excessive_jitter")), (Some(4.0), Some(30.0)));

    for (body, named) in [
        (r#"{"mos_min":3.0,"colour":1}"#, "colour: unknown key; known here: mos_min"),
        (r#"{"mos_min":3.0,"jitter_max":"low"}"#, "jitter_max: this is not a number"),
        (r#"{"mos_min":3.0,"jitter_max":null}"#, "jitter_max: this is not a number"),
        (r#"{"mos_min":0.5}"#, "mos_min: 0.5 is not from 1 to 5"),
        (r#"{"mos_min":3.0,"packet_loss_max":101}"#, "packet_loss_max: 101 is not from 0 to 100"),
        (r#"{"mos_min":3.0,"latency_max":-1}"#, "latency_max: -1 is not from 0"),
        (r#"{"mos_min":3.0,"latency_max":1e999}"#, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "nothing to set"),
        ("mos_min=3", "not JSON"),
        ("", "not JSON"),
    ] {
        let (status, answer) = post(&server, "/api/qos/thresholds", body);
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(message(&answer).contains(named), "{body}: {answer}");
        assert_eq!(get(server.local_addr(), "/api/qos/thresholds").json(), after, "{body}");
    }
}

#[test]
fn alerts_are_listed_acknowledged_and_cleared() {
    let (server, alerts) = start();
    let to = server.local_addr();
    let empty = json!({
        "count": 0, "total": 0, "open": 0, "suppressed": 0, "alerts": [], "next": null,
    });
    assert_eq!(get(to, "/api/qos/alerts?limit=50").json(), empty);
    raise(&alerts, 5);
    let body = get(to, "/api/qos/alerts?limit=50").json();
    assert_eq!((&body["count"], &body["total"], &body["open"]), (&json!(5), &json!(5), &json!(5)));
    let alert = &body["alerts"][0];
    for name in "id type severity message call_id timestamp state scope subject value threshold \
                 unit evidence updated_time acknowledged_time resolved_time"
        .split_whitespace()
    {
        assert!(alert.get(name).is_some(), "{name} is missing");
    }
    assert_eq!(
        (&alert["id"], &alert["type"], &alert["state"]),
        (&5.into(), &"n4".into(), &"firing".into())
    );
    assert_eq!(alert["timestamp"], at(5).to_string());
    assert_eq!(get(to, "/api/qos/statistics").json()["total_alerts"], 5);

    let ids = |query: &str| -> Vec<u64> {
        let body = get(to, &format!("/api/qos/alerts?{query}")).json();
        let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().filter_map(|alert| alert["id"].as_u64()).collect()
    };
    assert_eq!(ids("limit=2"), [5, 4]);
    assert_eq!(get(to, "/api/qos/alerts?limit=2").json()["next"], 4);
    assert_eq!(ids("limit=2&before=4"), [3, 2]);
    assert_eq!(ids("severity=error"), [4, 2]);
    assert_eq!(ids("type=n0"), [1]);
    assert_eq!(ids("call_id=none"), [0; 0]);

    let (status, body) = post(&server, "/api/qos/alerts/3/acknowledge", "");
    assert_eq!(
        (status, &body["success"], &body["alert"]["state"]),
        (200, &json!(true), &json!("acknowledged"))
    );
    assert_eq!(ids("state=acknowledged"), [3]);
    for id in ["9", "x", "-1", "%00"] {
        let (status, _) = post(&server, &format!("/api/qos/alerts/{id}/acknowledge"), "");
        assert_eq!(status, 404, "{id}");
    }

    let (status, body) = post(&server, "/api/qos/clear-alerts", "");
    assert_eq!((status, &body["success"]), (200, &json!(true)));
    assert!(body["message"].as_str().is_some_and(|text| text.contains("5 of them were open")));
    assert_eq!(get(to, "/api/qos/alerts").json(), empty);
    assert_eq!(get(to, "/api/qos/statistics").json()["total_alerts"], 0);
    assert_eq!(ids("all=true"), [5, 4, 3, 2, 1]);
    assert_eq!(ids("all=true&state=resolved").len(), 5);
}

#[test]
fn rules_are_made_adjusted_and_taken_away() {
    let (server, _) = start();
    let to = server.local_addr();
    let count = || get(to, "/api/qos/rules").json()["count"].as_u64();
    let builtin = Rules::default().iter().count() as u64;
    assert_eq!(count(), Some(builtin));
    let own = r#"{"name":"gold","metric":"latency","threshold":150,"scope":"trunk"}"#;
    let (status, body) = post(&server, "/api/qos/rules", own);
    assert_eq!((status, &body["rule"]["threshold"]), (200, &json!(150.0)), "{body}");
    assert_eq!(count(), Some(builtin + 1));
    for (body, named) in [
        (r#"{"name":"gold","threshold":1,"x":1}"#, "gold.x: unknown key"),
        (r#"{"name":"other","threshold":1}"#, "other.metric is missing"),
        (r#"{"threshold":1}"#, "name is missing"),
    ] {
        let (status, answer) = post(&server, "/api/qos/rules", body);
        assert_eq!(status, 400);
        assert!(message(&answer).contains(named), "{body}: {answer}");
    }
    let delete = |name: &str| send(to, "DELETE", &format!("/api/qos/rules/{name}"), "").status;
    assert_eq!(delete("gold"), 200);
    assert_eq!(delete("gold"), 404);
    assert_eq!(delete("low_mos"), 404, "nothing of it was changed");
    assert_eq!(count(), Some(builtin));
}

#[test]
fn methods_and_origins_are_checked() {
    let (server, alerts) = start();
    let to = server.local_addr();
    raise(&alerts, 1);
    for (method, target, allow) in [
        ("GET", "/api/qos/clear-alerts", "POST, OPTIONS"),
        ("DELETE", "/api/qos/thresholds", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/api/qos/alerts", "GET, HEAD, OPTIONS"),
        ("GET", "/api/qos/rules/low_mos", "DELETE, OPTIONS"),
        ("PUT", "/api/qos/alerts/1/acknowledge", "POST, OPTIONS"),
    ] {
        let answer = request(to, method, target, "");
        assert_eq!(
            (answer.status, answer.header("Allow")),
            (405, Some(allow)),
            "{method} {target}"
        );
    }
    assert_eq!(request(to, "POST", "/api/qos/clear-alerts?x=1", "").status, 400);
    let foreign = "POST /api/qos/clear-alerts HTTP/1.1\r\nHost: localhost\r\n\
                   Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n";
    let rebound = "POST /api/qos/clear-alerts HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    for bytes in [foreign, rebound] {
        let answer = exchange(to, bytes.as_bytes());
        assert!(answer.is_ok_and(|answer| answer.status == 403));
    }
    assert_eq!(alerts.figures().total, 1);
}
