//! What Prometheus and Grafana are given works with what a running appliance shows: its page is
//! well formed, the rules and every query of the dashboard can be read, and each metric that they
//! name is there.
//!
//! Where promtool is not installed (Debian package prometheus), its part says so and passes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
};

use clap::Parser as _;
use loadgen::{
    engine::{self, Route},
    options::Options,
};
use serde_json::{Value, json};

mod live;
use live::{Appliance, eventually};

const RULES: &str = "deploy/prometheus-alerts.yml";
const DASHBOARD: &str = "deploy/grafana-voxplane.json";

#[test]
fn a_real_page_has_all_that_rules_and_dashboard_name() {
    let config = "[trunks]\nlab = ['127.0.0.0/8']\n\
                  [[notify]]\nname = 'noc'\nkind = 'syslog'\naddress = 'udp://127.0.0.1:9'\n";
    let appliance = Appliance::with(config, &["--shards", "2"]);
    place_calls(&appliance, "--calls 5 --rate 20 --duration 3s --loss 5 --user echo");
    appliance.history(5);
    let page = eventually(std::time::Duration::from_secs(10), || {
        let page = appliance.get("/metrics").body;
        page.contains("voxplane_calls_finished_total{codec=\"PCMU\",trunk=\"lab\"").then_some(page)
    });
    let page = page.unwrap();
    assert!(page.contains(
        "\nvoxplane_calls_finished_total{codec=\"PCMU\",trunk=\"lab\",result=\"answered\"} 5\n"
    ));
    assert!(
        page.contains("voxplane_trunk_interarrival_jitter_seconds_count{trunk=\"lab\"}"),
        "{page}"
    );
    let samples: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    for file in [RULES, DASHBOARD] {
        let text = fs::read_to_string(file).unwrap();
        let named = metrics(&text);
        assert!(named.len() > 15, "{file} names {named:?}");
        let missing: Vec<_> = named.iter().filter(|name| !samples.contains(**name)).collect();
        assert!(missing.is_empty(), "{file} names {missing:?}, which is not in\n{page}");
    }
    if live::is_installed("promtool", "prometheus") {
        promtool(&["check", "metrics"], &page);
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<&str> = queries.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() > 30);
    if !live::is_installed("promtool", "prometheus") {
        return;
    }
    // Each query as a rule: JSON is YAML as well.
    let rule = |(index, query): (usize, &&str)| {
        let query = query.replace("$__rate_interval", "5m");
        json!({ "record": format!("query:{index}"), "expr": query })
    };
    let rules: Vec<Value> = queries.iter().enumerate().map(rule).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(file.path(), groups.to_string()).unwrap();
    promtool(&["check", "rules", "--lint=none", file.path().to_str().unwrap()], "");
    promtool(&["check", "rules", RULES], "");
}

/// All names of ours in a text that are metrics, histograms by their samples.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("voxplane_")).collect()
}

/// Runs promtool, which must find nothing to say against it.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "promtool {arguments:?}: {said}");
}

fn place_calls(appliance: &Appliance, flags: &str) {
    let words = format!("loadgen {} {flags}", appliance.sip);
    let options = Options::try_parse_from(words.split_whitespace()).unwrap();
    let scenario = options.scenario().unwrap();
    let route = Route::find(&options.target, &scenario.user, options.bind).unwrap();
    let result = engine::run(&scenario, &route, 1, &AtomicBool::new(false)).unwrap();
    assert!(result.calls.iter().all(|call| call.outcome == loadgen::uac::Outcome::Completed));
}
