//! Schemathesis, which makes requests up from the document of the API, right ones and wrong ones,
//! finds no answer to a running appliance's calls that the document does not tell of, no server
//! error, nothing that is open without a token.
//!
//! Where it is not installed this test says so and passes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use clap::Parser as _;
use loadgen::{
    engine::{self, Route},
    options::Options,
};

mod live;
use live::{Appliance, Scratch, get, is_on_path, skip};

#[test]
fn no_request_is_answered_otherwise_than_the_document_says() {
    if !is_on_path("schemathesis") {
        return skip("schemathesis is not installed (PyPI)");
    }
    let dir = Scratch::new();
    let token = dir.file("token", "s3cret\n");
    let appliance =
        Appliance::with("", &["--shards", "2", "--api-token-file", token.to_str().unwrap()]);
    // Some are over before it begins; it hangs up others time and again.
    let line = format!(
        "loadgen {} --calls 400 --rate 10 --duration 10s --loss 8 --impaired-calls 100 --user echo",
        appliance.sip
    );
    let options = Options::try_parse_from(line.split_whitespace()).unwrap();
    let scenario = options.scenario().unwrap();
    let route = Route::find(&options.target, &scenario.user, options.bind).unwrap();
    let stop = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        scope.spawn(|| engine::run(&scenario, &route, 1, &stop).unwrap());
        let found = run(&appliance, &dir);
        stop.store(true, Relaxed);
        found
    });
    found.unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(get(appliance.http, "/healthz", "").status, 200);
    let log = appliance.log();
    assert!(!log.contains("panick"), "{log}");
}

/// Runs it for a bounded time; what it reports if it is not satisfied.
fn run(appliance: &Appliance, dir: &Scratch) -> Result<(), String> {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml");
    let output = Command::new("schemathesis")
        .args(["--config-file", config, "--no-color", "run", "--seed", "1"])
        .args(["--phases", "coverage,fuzzing", "--continue-on-failure", "--no-shrink"])
        .args(["--max-time", SECONDS, "--header", "Authorization: Bearer s3cret"])
        // It has no end.
        .args(["--exclude-path", "/api/live"])
        .arg(format!("http://{}/api/openapi.json", appliance.http))
        .current_dir(dir.path())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(()) } else { Err(report) }
}

/// How long it makes up requests.
const SECONDS: &str = "30";
