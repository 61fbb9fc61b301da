//! A running appliance takes a configuration that is read again: what can change does, what cannot
//! is named, and what is wrong changes nothing.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use serde_json::{Value, json};

#[path = "live/caller.rs"]
mod caller;
mod live;
use caller::Caller;
use live::{Answer, Appliance, eventually};

#[test]
fn what_can_change_does_and_calls_that_are_up_stay_up() {
    let appliance = Appliance::with("", &["--shards", "2"]);
    let caller = Caller::new(appliance.sip);
    caller.dial("before", 9);
    appliance.configure(
        "answer_delay_ms = 150\n[routes]\n'77' = 'busy'\n[alerts.low_mos]\nthreshold = 3.0\n\
         [trunks]\nhere = ['127.0.0.0/8']\n[store]\ncalls_max = 5000",
    );
    let taken = reloaded(&appliance.post("/api/reload", ""));
    let expected = ["answer_delay_ms", "routes", "store", "alerts", "trunks"];
    assert_eq!(taken["applied"], json!(expected), "{taken}");
    assert_eq!(taken["needs_restart"], json!([]));
    assert_eq!(status_of(&caller, "77", "busy"), "486");
    assert_eq!(appliance.json("/api/qos/thresholds")["mos_min"], 3.0);
    caller.dial("after", 9);
    let calls = appliance.wait_for("/api/qos/metrics", |calls| calls["active_calls"] == 2);
    let trunks: Vec<_> = calls["metrics"].as_array().unwrap().iter().collect();
    assert_eq!(trunks[1]["trunk"], "here", "{calls:#}");
    // The same again is no change.
    let taken = reloaded(&appliance.post("/api/reload", ""));
    assert_eq!(taken["applied"], json!([]));
}

#[test]
fn what_needs_a_start_is_named_until_then() {
    let appliance = Appliance::with("max_calls_per_shard = 100", &["--shards", "1"]);
    appliance.configure("max_calls_per_shard = 200\nhistory_calls = 7");
    for _ in 0..2 {
        let taken = reloaded(&appliance.post("/api/reload", ""));
        assert_eq!(taken["needs_restart"], json!(["max_calls_per_shard", "history_calls"]));
    }
}

#[test]
fn what_is_wrong_changes_nothing_and_is_named() {
    let appliance = Appliance::with("[alerts.low_mos]\nthreshold = 3.25", &["--shards", "1"]);
    let change = json!({"name": "low_mos", "for_s": 5}).to_string();
    for (config, named) in [
        ("ring_timeout_s = 0\n[routes]\n'77' = 'busy'", "ring_timeout_s: 0 is not from 1"),
        ("colour = 'red'", "unknown field `colour`"),
        ("[routes]\n'77' = 'ehco'", "`ehco` is none of echo"),
        ("[[alert]]\nname = 'mine'", "metric"),
    ] {
        appliance.configure(config);
        let answer = appliance.post("/api/reload", "");
        assert_eq!(answer.status, 400, "{config}: {answer:?}");
        assert!(answer.body.contains(named), "{config}: {answer:?}");
    }
    assert_eq!(appliance.json("/api/qos/thresholds")["mos_min"], 3.25);
    assert_eq!(status_of(&Caller::new(appliance.sip), "77", "still"), "200");
    // What the API has changed stays over what the file says.
    appliance.post("/api/qos/thresholds", &json!({"mos_min": 4.25}).to_string());
    appliance.post("/api/qos/rules", &change);
    appliance.configure("[alerts.low_mos]\nthreshold = 2.5");
    reloaded(&appliance.post("/api/reload", ""));
    assert_eq!(appliance.json("/api/qos/thresholds")["mos_min"], 4.25);
}

#[test]
fn sighup_reads_it_again_and_says_so() {
    let appliance = Appliance::with("", &["--shards", "1"]);
    appliance.configure("[routes]\n'77' = 'decline'");
    appliance.signal("HUP");
    let is_read = || appliance.log().contains("read again").then_some(());
    eventually(Duration::from_secs(10), is_read).expect("it says so");
    assert_eq!(status_of(&Caller::new(appliance.sip), "77", "declined"), "603");
    appliance.configure("[routes]\n'77' = 7");
    appliance.signal("HUP");
    let is_refused = || appliance.log().contains("stays as it was").then_some(());
    eventually(Duration::from_secs(10), is_refused).expect("it says so");
    assert_eq!(status_of(&Caller::new(appliance.sip), "77", "as before"), "603");
}

#[track_caller]
fn reloaded(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// How a call to a user is finally answered.
fn status_of(caller: &Caller, user: &str, call: &str) -> String {
    caller.invite_user(user, call, 9);
    let is_final = |message: &caller::Message| {
        message.header("Call-ID") == Some(call) && !message.0.starts_with("SIP/2.0 1")
    };
    let answer = caller.receive_until(is_final);
    caller.send("ACK", call, answer.to_tag());
    answer.0.split(' ').nth(1).unwrap().to_owned()
}
