//! What the API changes about rules, what was cleared and what was raised survive the program.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use serde_json::json;
use voxplane::{
    alerts::{Alerts, Asked, Kept, Rules, State},
    control::record::Snapshot,
    store::Store,
    time::Timestamp,
};

mod http;
mod store;
use http::at;
use store::{open, until};

fn start(store: &Store, now: Timestamp) -> Alerts {
    let kept = Kept { feeder: store.feeder(), reader: store.reader() };
    Alerts::start(Rules::default(), Some(kept), None, now)
}

/// A rule of one's own that is always bad.
fn add(alerts: &Alerts, name: &str, now: Timestamp) {
    let table = json!({
        "name": name, "metric": "active_calls", "comparison": "below", "threshold": 1,
        "min_samples": 0,
    });
    let table = table.as_object().unwrap().clone();
    alerts.change(now, |rules| rules.with(table)).unwrap();
    alerts.look(&Snapshot { taken_at: now, ..Snapshot::default() });
}

fn listed(alerts: &Alerts, asked: Asked) -> Vec<(u64, State)> {
    let list = alerts.list(&Asked { limit: 100, ..asked }).unwrap();
    list.into_iter().map(|alert| (alert.id, alert.state)).collect()
}

#[test]
fn rules_alerts_and_what_was_cleared_survive() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let alerts = start(&store, at(0));
    let thresholds = json!({"mos_min": 4.0, "latency_max": 150.0});
    let thresholds = thresholds.as_object().unwrap();
    let change = |rules: &Rules| Ok((rules.with_thresholds(thresholds)?, ()));
    alerts.change(at(0), change).unwrap();
    add(&alerts, "one", at(1));
    assert_eq!(alerts.clear(at(2)), 1);
    add(&alerts, "two", at(10));
    add(&alerts, "three", at(20));
    let id = listed(&alerts, Asked::default())[0].0;
    assert!(alerts.acknowledge(id, at(30)).is_some());
    let expected = [(3, State::Acknowledged), (2, State::Firing)];
    assert_eq!(listed(&alerts, Asked::default()), expected);
    until(|| store.reader().status().pending == 0);
    drop(alerts);
    store.stop();

    let store = open(directory.path());
    let alerts = start(&store, at(100));
    let rules = alerts.rules();
    assert_eq!(rules.thresholds()["mos_min"].to_bits(), 4.0_f64.to_bits());
    assert_eq!(rules.thresholds()["latency_max"].to_bits(), 150.0_f64.to_bits());
    assert!(rules.get("three").is_some());
    assert_eq!(listed(&alerts, Asked::default()), expected, "they go on");
    assert_eq!((alerts.figures().total, alerts.figures().open), (2, 2));
    alerts.look(&Snapshot { taken_at: at(101), ..Snapshot::default() });
    assert_eq!(listed(&alerts, Asked::default()), [(4, State::Firing), expected[0], expected[1]]);
    let all = Asked { all: true, ..Asked::default() };
    assert_eq!(listed(&alerts, all).last(), Some(&(1, State::Resolved)));
    let one = Asked { rule: Some("two".to_owned()), ..Asked::default() };
    assert_eq!(listed(&alerts, one), [(2, State::Firing)]);
    let _ = alerts.clear(at(200));
    until(|| store.reader().status().pending == 0);
    store.stop();

    let store = open(directory.path());
    let alerts = start(&store, at(300));
    assert_eq!(listed(&alerts, Asked::default()), []);
    assert_eq!(alerts.figures(), voxplane::alerts::Figures::default());
}
