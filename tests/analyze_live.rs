//! The same engine: what the running appliance said of calls, `voxplane analyze` says of their
//! recording, its history and its metrics.
//!
//! Where dumpcap is not installed, or may not record, this test says so and passes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod analyze;
#[path = "live/caller.rs"]
mod caller;
mod live;
#[path = "live/recorder.rs"]
mod recorder;

use std::{collections::BTreeMap, sync::atomic::AtomicBool, thread};

use analyze::{Answer, integer};
use caller::Caller;
use clap::Parser as _;
use jiff::Timestamp;
use live::Appliance;
use loadgen::{
    engine::{self, Route},
    options::Options,
    uac::Outcome,
};
use recorder::Recorder;
use serde_json::Value;

#[test]
fn a_recording_tells_what_the_appliance_told() {
    if !Recorder::is_possible() {
        return;
    }
    let appliance = Appliance::start();
    let file = appliance.dir().path().join("lo.pcapng");
    let caller = Caller::new(appliance.sip);
    let recorder = Recorder::start(&appliance, &caller, &file);
    let harm = "--loss 3 --jitter 4 --reorder 2 --duplicate 2";
    // With an echo both sides send reports, the second ones within 12 s.
    let lines = [
        format!("--calls 12 --seed 1 --user sink --duration 8s {harm}"),
        format!("--calls 8 --seed 2 --user echo --duration 12s {harm}"),
    ];
    let ids: Vec<String> = thread::scope(|scope| {
        let runs = lines.each_ref().map(|line| scope.spawn(|| call(&appliance, line)));
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 20);
    appliance.history(20);
    recorder.stop(&caller);

    let found = Answer::json(&file);
    assert_eq!(found["warnings"].as_array().unwrap().len(), 0, "{}", found["warnings"]);
    let calls = found["calls"].as_array().unwrap().iter();
    let calls: BTreeMap<&str, &Value> =
        calls.map(|call| (call["call_id"].as_str().unwrap(), call)).collect();
    assert_eq!(calls.len(), 20);
    let history = appliance.json("/api/qos/history?limit=100");
    let history: BTreeMap<&str, &Value> = history["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| (call["call_id"].as_str().unwrap(), call))
        .collect();
    let mut sums = BTreeMap::new();
    let mut mos_sum = 0.0;
    for id in &ids {
        let live = appliance.json(&format!("/api/qos/call/{}", id.replace('@', "%40")));
        compare(&live, calls[&**id], &mut sums);
        for name in FIGURES {
            assert_eq!(live[name], history[&**id][name], "{name} of {id} in the history");
        }
        mos_sum += live["mos_score"].as_f64().unwrap();
    }
    signalling(&appliance, &found["sip"]);
    // The metrics have the same scores in their sum, and the statistics in their mean.
    let metrics = appliance.get("/metrics").body;
    let sample = |name: &str| -> f64 {
        // Two codecs make two samples.
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    let count = sample("voxplane_call_mos_count{");
    let suspect = sample("voxplane_calls_suspect_total");
    if suspect == 0.0 {
        assert_eq!(count, 20.0);
        assert!((sample("voxplane_call_mos_sum{") - mos_sum).abs() < 0.02);
        let mean = appliance.json("/api/qos/statistics")["average_mos"].as_f64().unwrap();
        assert!((mean - mos_sum / 20.0).abs() < 0.001, "{mean} {mos_sum}");
    } else {
        // A machine that stalls: what it may have spoilt is in no average.
        assert_eq!(count + suspect, 20.0);
    }
    // It was not about nothing.
    let least =
        ["packets_lost", "packets_duplicate", "packets_out_of_order"].map(|name| sums[name]);
    assert!(least.into_iter().all(|sum| sum > 20) && sums.contains_key("rtt_ms"), "{sums:?}");
}

/// Places calls with impaired media; gives back their Call-IDs.
fn call(appliance: &Appliance, line: &str) -> Vec<String> {
    let target = appliance.sip.to_string();
    let line = format!("loadgen {target} --rate 10 {line}");
    let options = Options::try_parse_from(line.split_whitespace()).unwrap();
    let route = Route::find(&options.target, &options.user, options.bind).unwrap();
    let scenario = options.scenario().unwrap();
    let result = engine::run(&scenario, &route, 1, &AtomicBool::new(false)).unwrap();
    let outcomes: Vec<_> = result.calls.iter().map(|call| call.outcome).collect();
    assert!(outcomes.iter().all(|&outcome| outcome == Outcome::Completed), "{outcomes:?}");
    result.calls.into_iter().map(|call| call.call_id).collect()
}

/// Holds what analyze says of a call against what the API said.
fn compare(live: &Value, seen: &Value, sums: &mut BTreeMap<&str, i64>) {
    let both = format!("{live:#}\n{seen:#}");
    for name in ["state", "ended_by", "status_code", "codec", "from", "to"] {
        assert_eq!(live[name], seen[name], "{name}: {both}");
    }
    for name in ["start_time", "answer_time", "end_time"] {
        let [live, seen] = [live, seen].map(|call| {
            let time: Timestamp = call[name].as_str().unwrap().parse().unwrap();
            time.as_millisecond()
        });
        assert!(live.abs_diff(seen) <= 10, "{name}: {both}");
    }
    near(live, seen, "duration_seconds", |_| 0.010);
    let [live, seen] = [live, seen].map(received);
    for name in ["src", "dst", "ssrc", "payload_type", "codec", "clock_rate", "ptime_ms"] {
        assert_eq!(live[name], seen[name], "{name}: {both}");
    }
    for name in COUNTS {
        assert_eq!(integer(live, name), integer(seen, name), "{name}: {both}");
        *sums.entry(name).or_default() += integer(seen, name);
    }
    for name in ["jitter_mean_ms", "jitter_max_ms", "max_delta_ms"] {
        near(live, seen, name, |value| value * 0.01);
    }
    near(live, seen, "mos_lq", |_| 0.01);
    // From the tap both halves of the way have to be known, from the appliance one.
    if !live["rtt_ms"].is_null() && !seen["rtt_ms"].is_null() {
        near(live, seen, "rtt_ms", |_| 1.0);
        *sums.entry("rtt_ms").or_default() += 1;
    }
}

/// Holds the figures of SIP that analyze has against the API's. The recording begins and ends with
/// OPTIONS, which are nobody's session.
fn signalling(appliance: &Appliance, seen: &Value) {
    let live = appliance.wait_for("/api/qos/sip", |sip| sip["sessions"]["completed"] == 20);
    let both = format!("{live:#}\n{seen:#}");
    assert_eq!((&live["measured_at"], &seen["measured_at"]), (&"callee".into(), &"probe".into()));
    assert_eq!(live["sessions"], seen["sessions"], "{both}");
    assert_eq!(live["registrations"], seen["registrations"], "{both}");
    assert_eq!(live["user_agents"], seen["user_agents"], "{both}");
    for method in ["INVITE", "ACK", "BYE"] {
        assert_eq!(live["requests"][method], seen["requests"][method], "{both}");
    }
    for code in ["100", "180"] {
        assert_eq!(live["responses"][code], seen["responses"][code], "{both}");
    }
    for ratio in ["ser_percentage", "seer_percentage", "isa_percentage", "scr_percentage"] {
        assert_eq!(live[ratio], seen[ratio], "{both}");
    }
    // A message is recorded when it is really sent.
    for (times, within) in
        [("srd_ms", 20.0), ("post_dial_delay_ms", 20.0), ("sdd_ms", 20.0), ("sdt_s", 0.02)]
    {
        assert_eq!(live[times]["count"], seen[times]["count"], "{times}: {both}");
        near(&live[times], &seen[times], "mean", |_| within);
    }
}

/// The one stream that the callee received.
fn received(call: &Value) -> &Value {
    let mut streams = call["streams"].as_array().unwrap().iter();
    let stream = streams.find(|stream| stream["direction"] == "rx").unwrap();
    assert!(streams.all(|stream| stream["direction"] != "rx"), "{call:#}");
    stream
}

#[track_caller]
fn near(live: &Value, seen: &Value, name: &str, tolerance: impl Fn(f64) -> f64) {
    let (live, seen) = (live[name].as_f64().unwrap(), seen[name].as_f64().unwrap());
    assert!((live - seen).abs() <= tolerance(live), "{name}: {live} {seen}");
}

/// What the API and the history say of a call in the same words.
const FIGURES: [&str; 10] = [
    "mos_score",
    "mos_lq",
    "r_factor",
    "mos_basis",
    "packets_lost",
    "packet_loss_percentage",
    "packets_discarded",
    "jitter_avg_ms",
    "jitter_max_ms",
    "duration_seconds",
];

const COUNTS: [&str; 6] = [
    "packets_received",
    "packets_expected",
    "packets_lost",
    "packets_duplicate",
    "packets_out_of_order",
    "packets_discarded",
];
