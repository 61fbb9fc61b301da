//! What holds alerts itself and is told of each step: PagerDuty's Events API v2, Prometheus
//! Alertmanager's API v2. Both tell one alert from another by what we call it.
//!
//! What they do with it, they decide.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{About, Notification, State};
use crate::time::Timestamp;

/// An event for PagerDuty. The key makes one incident of all steps of an alert.
pub(super) fn pagerduty(notification: &Notification, about: &About, routing_key: &str) -> Value {
    let action = match notification.state {
        State::Firing => "trigger",
        State::Acknowledged => "acknowledge",
        State::Resolved => "resolve",
    };
    let key = format!("voxplane/{}/{}", about.host, notification.id);
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": cut(&key, DEDUP_KEY_CHARS_MAX),
    });
    if let (State::Firing, Value::Object(event)) = (notification.state, &mut event) {
        let payload = json!({
            "summary": cut(&notification.message, SUMMARY_CHARS_MAX),
            "source": about.host,
            "severity": notification.severity,
            "timestamp": notification.time,
            "component": "voxplane",
            "class": notification.rule,
            "custom_details": details(notification),
        });
        event.insert("payload".to_owned(), payload);
        event.insert("client".to_owned(), "voxplane".into());
        if let Some(link) = about.link_to(notification) {
            event.insert("client_url".to_owned(), link.into());
        }
    }
    event
}

/// Alerts for Alertmanager. One that fires ends by itself if it is not said again in time, as
/// those of Prometheus do: four times the interval.
pub(super) fn alertmanager(
    notifications: &[Arc<Notification>],
    about: &About,
    resend: Duration,
    now: Timestamp,
) -> Value {
    let alert = |notification: &Arc<Notification>| {
        let ends_at = match notification.state {
            State::Resolved => notification.time,
            State::Firing | State::Acknowledged => now + resend * ENDS_AFTER_INTERVALS,
        };
        let mut annotations = json!({
            "summary": notification.message,
            "state": notification.state,
            "evidence": notification.evidence.to_string(),
        });
        if let Value::Object(annotations) = &mut annotations {
            let more =
                [("measured", notification.figures()), ("call_id", notification.call_id.clone())];
            for (name, value) in more {
                annotations.extend(value.map(|value| (name.to_owned(), value.into())));
            }
        }
        json!({
            // They are its identity: where the severity changes, the one before ends by itself.
            "labels": {
                "alertname": notification.rule,
                "alert_id": notification.id.to_string(),
                "instance": about.host,
                "job": "voxplane",
                "severity": notification.severity,
            },
            "annotations": annotations,
            "startsAt": notification.started_at,
            "endsAt": ends_at,
            "generatorURL": about.link_to(notification).unwrap_or_default(),
        })
    };
    notifications.iter().map(alert).collect()
}

fn details(notification: &Notification) -> Value {
    json!({
        "call_id": notification.call_id,
        "value": notification.value,
        "threshold": notification.threshold,
        "unit": notification.unit,
        "started_at": notification.started_at,
        "evidence": notification.evidence,
    })
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// Limits of the Events API v2.
const SUMMARY_CHARS_MAX: usize = 1024;
const DEDUP_KEY_CHARS_MAX: usize = 255;

/// As Prometheus (`rules/manager.go`, `sendAlerts`).
const ENDS_AFTER_INTERVALS: u32 = 4;
