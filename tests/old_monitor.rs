//! What the scripts of the older monitor's users ask with curl, word for word, and what they read
//! in the answers. Where curl is not installed the test says so and passes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{collections::BTreeSet, process::Command, sync::atomic::AtomicBool};

use clap::Parser as _;
use loadgen::{
    engine::{self, Route},
    options::Options,
};
use serde_json::{Value, json};

mod live;
use live::{Appliance, is_installed};

#[test]
fn its_users_scripts_work_unchanged() {
    if !is_installed("curl", "curl") {
        return;
    }
    let appliance = Appliance::start();
    let host = format!("http://{}", appliance.http);

    let body = r#"{"mos_min":4.0,"packet_loss_max":3.0,"jitter_max":40,"latency_max":250}"#;
    let set = curl(&["-X", "POST", &format!("{host}/api/qos/thresholds"), "-d", body]);
    let thresholds =
        json!({"mos_min": 4.0, "packet_loss_max": 3.0, "jitter_max": 40.0, "latency_max": 250.0});
    assert_eq!((&set["success"], &set["thresholds"]), (&json!(true), &thresholds), "{set}");
    assert!(set["message"].is_string());
    assert_eq!(curl(&[&format!("{host}/api/qos/thresholds")]), thresholds);
    let some = ["-X", "POST", &format!("{host}/api/qos/thresholds"), "-d", r#"{"mos_min":3.8}"#];
    assert_eq!(curl(&some)["thresholds"]["packet_loss_max"], 3.0, "what is not said stays");

    call(&appliance);
    let calls = appliance.history(4);
    // What a machine that stalls may have spoilt raises no alert about a call.
    let is_judged = |call: &&Value| call["integrity"] == "clean";
    let is_lossy = |call: &&Value| call["packet_loss_percentage"].as_f64().unwrap() > 10.0;
    let lossy = calls.iter().filter(is_lossy).filter(is_judged).count();
    let history = curl(&[&format!("{host}/api/qos/history?limit=100&min_mos=3.5")]);
    assert_eq!((&history["count"], &history["total"]), (&json!(2), &json!(2)), "{history:#}");
    for call in history["metrics"].as_array().unwrap() {
        for name in "call_id from to start_time end_time duration_seconds packets_sent \
                     packets_received packets_lost packet_loss_percentage jitter_avg_ms \
                     jitter_max_ms latency_avg_ms latency_max_ms codec mos_score quality_rating"
            .split_whitespace()
        {
            assert!(call.get(name).is_some(), "{name} of {call:#}");
        }
        assert!(call["mos_score"].as_f64().unwrap() >= 3.5, "{call:#}");
    }

    let alerts = curl(&[&format!("{host}/api/qos/alerts?limit=50")]);
    let list = alerts["alerts"].as_array().unwrap();
    assert_eq!(alerts["count"], list.len());
    let of_loss: Vec<&Value> =
        list.iter().filter(|alert| alert["type"] == "high_packet_loss").collect();
    assert!((lossy..=2).contains(&of_loss.len()), "{lossy} of {alerts:#}");
    for alert in of_loss {
        for name in ["severity", "message", "call_id", "timestamp"] {
            assert!(alert[name].is_string(), "{name} of {alert:#}");
        }
        assert!(alert["id"].is_u64());
    }

    let named: BTreeSet<&str> = list.iter().filter_map(|alert| alert["call_id"].as_str()).collect();
    let statistics = curl(&[&format!("{host}/api/qos/statistics")]);
    assert_eq!(statistics["total_calls"], 4, "{statistics:#}");
    assert_eq!(statistics["calls_with_issues"], named.len(), "{statistics:#}");
    let share = statistics["calls_with_issues"].as_f64().unwrap() * 25.0;
    assert_eq!(statistics["issue_percentage"], share, "{statistics:#}");
    assert_eq!(statistics["active_calls"], 0, "{statistics:#}");
    assert!(statistics["average_mos"].is_number(), "{statistics:#}");
    assert!(statistics["total_alerts"].as_u64().unwrap() >= list.len() as u64, "{statistics:#}");

    let cleared = curl(&["-X", "POST", &format!("{host}/api/qos/clear-alerts")]);
    assert_eq!(cleared["success"], true, "{cleared}");
    assert!(cleared["message"].is_string());
    let alerts = curl(&[&format!("{host}/api/qos/alerts?limit=50")]);
    assert_eq!((&alerts["count"], &alerts["alerts"]), (&json!(0), &json!([])), "{alerts:#}");

    // What looks like SQL is text that no call has in it, and harms nobody.
    let sql = "from='%20OR%201=1;%20DROP%20TABLE%20calls;--";
    let found = curl(&[&format!("{host}/api/qos/history?limit=100&{sql}")]);
    assert_eq!(found["total"], 0, "{found:#}");
    assert_eq!(curl(&[&format!("{host}/api/qos/history")])["total"], 4);
}

/// Four calls, of which two lose much of what is sent.
fn call(appliance: &Appliance) {
    let line = format!(
        "loadgen {} --calls 4 --rate 20 --duration 8s --loss 25 --impaired-calls 2",
        appliance.sip
    );
    let options = Options::try_parse_from(line.split_whitespace()).unwrap();
    let scenario = options.scenario().unwrap();
    let route = Route::find(&options.target, &scenario.user, options.bind).unwrap();
    engine::run(&scenario, &route, 1, &AtomicBool::new(false)).unwrap();
}

/// What curl prints, which fails where the status is an error.
fn curl(arguments: &[&str]) -> Value {
    let mut command = Command::new("curl");
    let output = command.args(["-sS", "--fail-with-body"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
