//! What each service is sent, step by step of an alert's life.

use serde_json::{Value, json};
use voxplane::notify::{Notification, State};

mod notify;
use notify::{Answer, Request, Server, alert, at, start};

/// What a recipient of a kind is sent for some notifications.
fn sent(table: &str, secret: Option<&str>, told: Vec<Notification>) -> Vec<Request> {
    let server = Server::start(vec![Answer::status(202)]);
    let table = format!("[[notify]]\nname = 'n'\n{}", table.replace("URL", &server.url()));
    let secret = secret.map_or_else(|| server.url(), str::to_owned);
    let notifiers = start(&table, &secret);
    let count = told.len();
    told.into_iter().for_each(|notification| notifiers.handle().notify(notification));
    (0..count).map(|_| server.request()).collect()
}

fn life() -> Vec<Notification> {
    [State::Firing, State::Acknowledged, State::Resolved].map(|state| alert(42, state)).into()
}

#[test]
fn a_webhook_gets_the_alert_as_the_api_shows_it() {
    let table = "kind = 'webhook'\nurl_env = 'SECRET'\nlink = 'https://noc.example/vox/'";
    let requests = sent(table, None, vec![alert(42, State::Firing)]);
    let expected = json!({
        "version": 1,
        "id": 42,
        "type": "high_packet_loss",
        "severity": "error",
        "state": "firing",
        "message": "6.2 % of a call's packets are lost <!channel> [x](http://evil)",
        "call_id": "a/b c@host",
        "started_at": "2026-01-31T12:00:00.000Z",
        "timestamp": "2026-01-31T12:00:05.250Z",
        "value": 6.2,
        "threshold": 2.0,
        "unit": "percent",
        "evidence": { "interval_s": 5, "query": "/api/qos/history?limit=1" },
        "source": "box1",
        "link": "https://noc.example/vox/api/qos/call/a%2Fb%20c%40host",
    });
    assert_eq!(requests[0].json(), expected);
    assert_eq!(requests[0].header("x-voxplane-delivery"), Some("42-firing"));
    assert_eq!(requests[0].header("x-voxplane-signature"), None);
}

#[test]
fn a_webhook_s_signature_covers_time_and_body() {
    let table = "kind = 'webhook'\nurl = 'URL'\nhmac_key_env = 'SECRET'";
    let request = &sent(table, Some("a key of ours"), vec![alert(42, State::Firing)])[0];
    let time = request.header("x-voxplane-timestamp").unwrap();
    assert!(time.parse::<u64>().unwrap() > 1_700_000_000);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a key of ours");
    let signed = [time.as_bytes(), b".", &request.body].concat();
    let digits = request.header("x-voxplane-signature").unwrap().strip_prefix("sha256=").unwrap();
    assert_eq!(digits.len(), 64);
    let tag: Vec<u8> =
        (0..32).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect();
    ring::hmac::verify(&key, &signed, &tag).unwrap();
}

#[test]
fn slack_gets_blocks_in_which_callers_mention_nobody() {
    let requests = sent("kind = 'slack'\nurl_env = 'SECRET'", None, life());
    let firing = requests[0].json();
    assert_eq!(firing["text"], "[ERROR] high_packet_loss on box1");
    let attachment = &firing["attachments"][0];
    assert_eq!(attachment["color"], "#e65100");
    let blocks = attachment["blocks"].as_array().unwrap();
    let section = &blocks[1]["text"];
    assert_eq!(section["type"], "plain_text");
    assert!(section["text"].as_str().unwrap().contains("<!channel>"), "as plain text");
    let fields: Vec<_> = blocks[2]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["text"].as_str().unwrap())
        .collect();
    assert!(fields.contains(&"Measured: 6.2 percent (threshold 2 percent)"), "{fields:?}");
    assert!(fields.contains(&"Call-ID: a/b c@host"), "{fields:?}");
    assert!(fields.len() <= 10, "Slack takes ten");
    assert!(!requests[0].body.windows(6).any(|bytes| bytes == b"mrkdwn"));
    assert_eq!(requests[1].json()["text"], "[ACKNOWLEDGED] high_packet_loss on box1");
    assert_eq!(requests[2].json()["text"], "[RESOLVED] high_packet_loss on box1");
    assert_eq!(requests[2].json()["attachments"][0]["color"], "#2e7d32");
}

#[test]
fn slack_s_own_text_is_escaped_and_nothing_is_empty() {
    let told = Notification {
        rule: "<!here> & co".to_owned(),
        message: "\n\t".to_owned(),
        call_id: None,
        value: None,
        ..alert(1, State::Firing)
    };
    let request = &sent("kind = 'slack'\nurl_env = 'SECRET'", None, vec![told])[0].json();
    assert_eq!(request["text"], "[ERROR] &lt;!here&gt; &amp; co on box1");
    assert_eq!(request["attachments"][0]["blocks"][1]["text"]["text"], "-");
}

#[test]
fn teams_gets_an_adaptive_card_without_markdown() {
    let table = "kind = 'teams'\nurl_env = 'SECRET'\nlink = 'https://noc.example'";
    let requests = sent(table, None, life());
    let message = requests[0].json();
    assert_eq!(message["type"], "message");
    let attachment = &message["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let card = &attachment["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    let body = card["body"].as_array().unwrap();
    assert!(body.iter().all(|element| element["type"] == "RichTextBlock"), "no Markdown");
    assert_eq!(body[0]["inlines"][0]["text"], "[ERROR] high_packet_loss on box1");
    assert_eq!(body[0]["inlines"][0]["color"], "Attention");
    assert_eq!(card["actions"][0]["type"], "Action.OpenUrl");
    assert_eq!(
        requests[2].json()["attachments"][0]["content"]["body"][0]["inlines"][0]["color"],
        "Good"
    );
}

#[test]
fn pagerduty_makes_one_incident_of_an_alert() {
    let table = "kind = 'pagerduty'\nurl = 'URL'\nrouting_key_env = 'SECRET'";
    let requests = sent(table, Some("R0UT1NGKEY"), life());
    let events: Vec<Value> = requests.iter().map(Request::json).collect();
    for event in &events {
        assert_eq!(event["routing_key"], "R0UT1NGKEY");
        assert_eq!(event["dedup_key"], "voxplane/box1/42");
    }
    let actions: Vec<_> = events.iter().map(|event| &event["event_action"]).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    let payload = &events[0]["payload"];
    assert_eq!(payload["source"], "box1");
    assert_eq!(payload["severity"], "error");
    assert_eq!(payload["class"], "high_packet_loss");
    assert_eq!(payload["timestamp"], "2026-01-31T12:00:05.250Z");
    assert_eq!(payload["custom_details"]["evidence"]["interval_s"], 5);
    assert!(events[2].get("payload").is_none());
}

#[test]
fn a_summary_is_no_longer_than_pagerduty_takes() {
    let told = Notification { message: "ä".repeat(3000), ..alert(1, State::Firing) };
    let table = "kind = 'pagerduty'\nurl = 'URL'\nrouting_key_env = 'SECRET'";
    let event = sent(table, Some("R0UT1NGKEY"), vec![told])[0].json();
    assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), 1024);
}

#[test]
fn alertmanager_is_told_when_it_began_and_when_it_ends() {
    let table = "kind = 'alertmanager'\nurl = 'URL'\nresend_s = 30";
    let requests = sent(table, None, life());
    assert_eq!(requests[0].line, "POST /hook/t0k3n-in-path/api/v2/alerts HTTP/1.1");
    let alerts: Vec<Value> = requests.iter().map(|request| request.json()[0].clone()).collect();
    let labels = json!({
        "alertname": "high_packet_loss",
        "alert_id": "42",
        "instance": "box1",
        "job": "voxplane",
        "severity": "error",
    });
    for alert in &alerts {
        assert_eq!(alert["labels"], labels);
        assert_eq!(alert["startsAt"], "2026-01-31T12:00:00.000Z");
        // Alertmanager refuses what is no string.
        let annotations = alert["annotations"].as_object().unwrap();
        assert!(annotations.values().all(Value::is_string), "{annotations:?}");
    }
    assert_eq!(alerts[0]["annotations"]["call_id"], "a/b c@host");
    let ends = |alert: &Value| at(alert["endsAt"].as_str().unwrap());
    let ahead = ends(&alerts[0]).since(voxplane::source::clock::now()).as_secs();
    assert!((100..=120).contains(&ahead), "four intervals: {ahead}");
    assert_eq!(alerts[2]["endsAt"], "2026-01-31T12:00:05.250Z");
}
