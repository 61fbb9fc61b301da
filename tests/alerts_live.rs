//! Alerts as their users meet them: of 200 calls 20 lose packets, exactly these raise alerts while
//! they are up, a webhook hears of each alert once when it fires and once when it ends, and the
//! statistics count 20 calls.
//!
//! What a machine that stalls may have spoilt raises none of these alerts; the test leaves such
//! calls out, and fails if fewer than a quarter are left.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::TcpStream,
    sync::atomic::AtomicBool,
};

use clap::Parser as _;
use jiff::Timestamp;
use loadgen::{
    engine::{self, Route},
    impair::Plan,
    options::{Options, Scenario},
    uac::Outcome,
};
use serde_json::Value;

mod live;
mod notify;
use live::Appliance;
use notify::{Answer, Server};

const CALLS: usize = 200;
const IMPAIRED: usize = 20;

/// From when the loss begins.
const RAISED_WITHIN_S: f64 = 10.0;

#[test]
fn calls_with_loss_and_no_others_raise_alerts_that_are_told_once() {
    let hook = Server::start(vec![Answer::status(200)]);
    let config = format!(
        "[[notify]]\nname = 'noc'\nkind = 'webhook'\nurl = '{}'\n\
         rules = ['high_packet_loss', 'low_mos']\n",
        hook.url()
    );
    let appliance = Appliance::with(&config, &["--shards", "2"]);
    // 6 % of random loss on PCMU is about 3.8 with concealment: above the default of 3.5.
    post(&appliance, "/api/qos/thresholds", "{\"mos_min\":4.0}");
    assert_eq!(appliance.json("/api/qos/thresholds")["mos_min"], 4.0);

    let scenario = scenario(&appliance);
    let options = options(&appliance, 0);
    let route = Route::find(&options.target, &scenario.user, options.bind).unwrap();
    let result = engine::run(&scenario, &route, 1, &AtomicBool::new(false)).unwrap();
    assert!(result.calls.iter().all(|call| call.outcome == Outcome::Completed));
    appliance.wait_for("/api/qos/history?limit=1", |history| history["total"] == CALLS);
    let history = appliance.json(&format!("/api/qos/history?limit={CALLS}"));
    let clean: BTreeMap<&str, Timestamp> = history["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|call| call["integrity"] == "clean")
        .map(|call| (text(call, "call_id"), time(call, "answer_time")))
        .collect();
    assert!(clean.len() >= CALLS / 4, "the machine stalls: only {} calls are clean", clean.len());

    // That all calls end at once raises an alert about the box.
    appliance.wait_for("/api/qos/alerts?state=firing", |open| {
        open["alerts"].as_array().unwrap().iter().all(|alert| alert["call_id"].is_null())
    });
    let alerts = appliance.json("/api/qos/alerts?limit=1000");
    let alerts = alerts["alerts"].as_array().unwrap();
    let of_quality = |alert: &&Value| alert["call_id"].is_string();
    for rule in ["high_packet_loss", "low_mos"] {
        let mut raised = BTreeSet::new();
        for alert in alerts.iter().filter(of_quality).filter(|alert| alert["type"] == rule) {
            let id = text(alert, "call_id");
            assert_eq!(alert["state"], "resolved", "{alert}");
            assert_eq!(alert["evidence"]["resolution"], "the call has ended", "{alert}");
            if let Some(answered) = clean.get(id) {
                let after = time(alert, "timestamp").duration_since(*answered).as_secs_f64();
                assert!(after < RAISED_WITHIN_S, "{after} s: {alert}");
            }
            assert!(raised.insert(id), "twice: {alert}");
        }
        for call in &result.calls {
            let is_raised = raised.contains(&*call.call_id);
            if !scenario.is_impaired(call.index) {
                assert!(!is_raised, "{rule} of {}", call.call_id);
            } else if clean.contains_key(&*call.call_id) {
                assert!(is_raised, "no {rule} of {}", call.call_id);
            }
        }
    }
    // Nothing else was wrong with any call.
    let others = alerts.iter().filter(of_quality);
    let others =
        others.filter(|alert| !["high_packet_loss", "low_mos"].contains(&text(alert, "type")));
    assert_eq!(others.count(), 0, "{alerts:?}");

    let of_calls: Vec<&Value> = alerts.iter().filter(of_quality).collect();
    assert_told_once(&hook, &of_calls);
    let with_issues = appliance.json("/api/qos/statistics")["calls_with_issues"].as_u64().unwrap();
    let raised: BTreeSet<&str> = of_calls.iter().map(|alert| text(alert, "call_id")).collect();
    assert_eq!(with_issues, raised.len() as u64);
    if clean.len() == CALLS {
        assert_eq!(with_issues, IMPAIRED as u64);
    }
}

/// The webhook has heard of each alert once when it fired and once when it ended.
fn assert_told_once(hook: &Server, alerts: &[&Value]) {
    let mut told: BTreeMap<(u64, String), usize> = BTreeMap::new();
    for _ in 0..2 * alerts.len() {
        let body = hook.request().json();
        let step = (body["id"].as_u64().unwrap(), text(&body, "state").to_owned());
        *told.entry(step).or_default() += 1;
    }
    assert!(hook.is_quiet(), "told too often");
    for alert in alerts {
        for state in ["firing", "resolved"] {
            let step = (alert["id"].as_u64().unwrap(), state.to_owned());
            assert_eq!(told.get(&step), Some(&1), "{state} of {alert}");
        }
    }
}

/// A run in which each impaired call loses enough early: 6 % of loss are 2 to 11 % of the 250
/// packets of an interval, and a call that is lucky in its first whole one has no reason to be
/// told of within 10 s.
fn scenario(appliance: &Appliance) -> Scenario {
    let is_early = |scenario: &Scenario, call: u32| {
        let impairments = scenario.impairments_of(call);
        let sent = Plan::new(impairments, scenario.packets, scenario.seed, call);
        let sent = sent.filter(|sent| FIRST_INTERVAL.contains(&sent.index)).count();
        FIRST_INTERVAL.len() - sent >= LOST_EARLY
    };
    let mut scenarios = (1..1000).map(|seed| options(appliance, seed).scenario().unwrap());
    let found = scenarios.find(|scenario| {
        let mut impaired = (0..scenario.calls).filter(|&call| scenario.is_impaired(call));
        impaired.all(|call| is_early(scenario, call))
    });
    found.expect("one of a thousand runs")
}

fn options(appliance: &Appliance, seed: u64) -> Options {
    let words = format!(
        "loadgen {} --calls {CALLS} --rate 40 --duration 13s --loss 6 --impaired-calls {IMPAIRED} \
         --seed {seed}",
        appliance.sip
    );
    Options::try_parse_from(words.split_whitespace()).unwrap()
}

/// A POST that must be taken.
fn post(appliance: &Appliance, path: &str, body: &str) {
    let mut stream = TcpStream::connect(appliance.http).unwrap();
    let (host, length) = (appliance.http, body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn time(value: &Value, name: &str) -> Timestamp {
    text(value, name).parse().unwrap()
}

/// Packets of the second report of a stream: from about 1.2 s on for 5 s.
const FIRST_INTERVAL: core::ops::Range<u32> = 65..305;

/// 5 %: a score of 3.9 at most.
const LOST_EARLY: usize = 12;
