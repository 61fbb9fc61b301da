//! What the appliance says of a call against what was sent: which differences are named.

use std::time::Duration;

use loadgen::{
    truth::Truth,
    verify::{CallView, disagreements},
};
use serde_json::{Value, json};
use voxplane::time::Timestamp;

#[test]
fn a_call_measured_as_it_was_sent_agrees() {
    assert_eq!(faults(&[]), [""; 0]);
}

#[test]
fn every_count_must_be_equal() {
    for (field, wrong) in [
        ("packets_received", json!(47)),
        ("packets_lost", json!(2)),
        ("packets_duplicate", json!(3)),
        ("packets_out_of_order", json!(0)),
        ("packets_lost", Value::Null),
    ] {
        assert_eq!(faults(&[(field, wrong)]), [field]);
    }
}

#[test]
fn jitter_may_differ_by_a_tenth() {
    let sent = truth().jitter_mean().unwrap().as_secs_f64() * 1e3;
    assert!(sent > 4.0, "the floor for small jitter is not in play: {sent}");
    for factor in [0.91, 1.09] {
        assert_eq!(faults(&[("jitter_mean_ms", json!(sent * factor))]), [""; 0]);
    }
    for wrong in [json!(sent * 0.89), json!(sent * 1.11), Value::Null] {
        assert_eq!(faults(&[("jitter_mean_ms", wrong)]), ["jitter_mean_ms"]);
    }
}

#[test]
fn small_jitter_may_differ_by_a_third_of_a_millisecond() {
    let mut truth = Truth::default();
    let start = Timestamp::from_secs(1);
    for index in 0..50 {
        truth.on_sent(start + Duration::from_millis(20) * index, index, index * 160, false);
    }
    let stream = |jitter| {
        json!({"direction": "rx", "packets_received": 50, "packets_lost": 0,
               "packets_duplicate": 0, "packets_out_of_order": 0, "jitter_mean_ms": jitter})
    };
    let call = |jitter| view(&json!([stream(jitter)]), "ended", "clean");
    assert!(disagreements(&truth, &call(0.29)).is_empty());
    assert_eq!(disagreements(&truth, &call(0.31)).len(), 1);
}

#[test]
fn a_call_that_is_suspect_or_still_up_or_without_stream_disagrees() {
    let good = json!([stream(&[])]);
    let named = |view: &CallView| -> Vec<_> {
        disagreements(&truth(), view).into_iter().map(|fault| fault.figure).collect()
    };
    assert_eq!(named(&view(&good, "ended", "suspect")), ["integrity"]);
    assert_eq!(named(&view(&good, "active", "clean")), ["state"]);
    let only_tx = json!([stream(&[("direction", json!("tx"))])]);
    assert_eq!(named(&view(&only_tx, "ended", "clean")), ["streams"]);
}

fn faults(changes: &[(&str, Value)]) -> Vec<&'static str> {
    let call = view(&json!([stream(changes)]), "ended", "clean");
    disagreements(&truth(), &call).into_iter().map(|fault| fault.figure).collect()
}

/// 50 packets: one lost, one repeated, one late, and every other 10 ms late.
fn truth() -> Truth {
    let mut truth = Truth::default();
    let start = Timestamp::from_secs(1);
    for index in [0_u32, 1, 3, 2].into_iter().chain(5..50) {
        let late = Duration::from_millis(10) * (index % 2);
        let at = start + Duration::from_millis(20) * index + late;
        truth.on_sent(at, index, index * 160, false);
        if index == 7 {
            truth.on_sent(at, index, index * 160, true);
        }
    }
    truth
}

/// How the API shows the stream of [`truth`], with changes.
fn stream(changes: &[(&str, Value)]) -> Value {
    let truth = truth();
    let mut stream = json!({
        "direction": "rx",
        "packets_received": 49,
        "packets_lost": 1,
        "packets_duplicate": 1,
        "packets_out_of_order": 1,
        "jitter_mean_ms": truth.jitter_mean().map(|jitter| jitter.as_secs_f64() * 1e3),
        "codec": "PCMU",
    });
    for (field, value) in changes {
        stream[*field] = value.clone();
    }
    stream
}

fn view(streams: &Value, state: &str, integrity: &str) -> CallView {
    let call = json!({"state": state, "integrity": integrity, "streams": streams, "from": null});
    serde_json::from_value(call).expect("a call as the API shows it")
}
