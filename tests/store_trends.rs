//! Trends are what a look at every single call gives, whichever way minutes were added up.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde_json::Value;
use voxplane::{
    control::{
        record::{CallRecord, CallState, Integrity},
        snapshot::SnapshotCell,
    },
    quality::Scale,
    store::{By, Metric, Rollup, Series, Store},
    time::Timestamp,
};

mod http;
mod store;
use http::{at, get, start_with};
use store::{calls, feed, open, until};

/// Over eight hours, one a second.
const CALLS: usize = 30_000;

#[test]
fn every_metric_and_group_is_that_of_brute_force() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let calls = calls(CALLS, 11);
    feed(&store, &calls);
    compare_all(&store, &calls);
    // All lies in the past, so hours are made of minutes; figures stay the same.
    let db = rusqlite::Connection::open(directory.path().join("history.db")).unwrap();
    until(|| {
        let hours = "SELECT count(DISTINCT at) FROM rollup_hours";
        db.query_row(hours, [], |row| row.get::<_, i64>(0)).unwrap() >= 9
    });
    compare_all(&store, &calls);
    // What comes late goes into minutes and hours alike.
    let late = &calls[..500];
    feed(&store, late);
    let twice: Vec<_> = calls.iter().chain(late).cloned().collect();
    compare_all(&store, &twice);
}

#[test]
fn the_api_names_what_is_wrong_and_answers_what_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let calls = calls(3000, 12);
    feed(&store, &calls);
    let server = start_with(SnapshotCell::default(), store.reader());
    let range = "since=2026-01-31T12:00:00Z&until=2026-01-31T14:00:00Z";
    let ask = |query: &str| {
        let answer = get(server.local_addr(), &format!("/api/qos/trends?{range}&{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.json()
    };
    let body = ask("metric=loss&bucket=30m&by=codec");
    assert_eq!((&body["metric"], &body["unit"]), (&"loss".into(), &"percent".into()));
    assert_eq!((&body["bucket_seconds"], &body["by"]), (&1800.into(), &"codec".into()));
    let series = body["series"].as_array().unwrap();
    let keys: Vec<_> = series.iter().map(|series| series["key"].as_str()).collect();
    for key in [None, Some("PCMU"), Some("PCMA"), Some("opus")] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    let count: u64 = series
        .iter()
        .flat_map(|series| series["points"].as_array().unwrap())
        .map(|point| point["count"].as_u64().unwrap())
        .sum();
    let with_loss = calls.iter().filter(|call| {
        call.figures.packet_loss_percentage.is_some() && call.integrity == Integrity::Clean
    });
    assert_eq!(count, with_loss.count() as u64);
    let point = &series[0]["points"][0];
    assert!(point["p50"].as_f64() <= point["p95"].as_f64(), "{point}");
    assert_eq!(ask("metric=mos")["scale"], "nb", "the scale that most are on");
    assert_eq!(ask("metric=mos&scale=wb")["scale"], "wb");
    let calls_in_all = ask("metric=calls&bucket=1d")["series"][0]["points"][0].clone();
    assert_eq!((&calls_in_all["count"], &calls_in_all["avg"]), (&3000.into(), &Value::Null));

    for (query, parameter) in [
        ("metric=colour", "metric"),
        ("bucket=7", "bucket"),
        ("bucket=0m", "bucket"),
        ("bucket=1m&since=2025-01-01T00:00:00Z", "bucket"),
        ("by=weather", "by"),
        ("scale=swb", "scale"),
        ("since=now", "since"),
        ("since=2026-01-31T12:00:00Z&until=2026-01-31T12:00:00Z", "since"),
        ("limit=1", "limit"),
    ] {
        let answer = get(server.local_addr(), &format!("/api/qos/trends?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.message().contains(&format!("{parameter:?}")), "{query}: {answer:?}");
    }
}

fn compare_all(store: &Store, calls: &[Arc<CallRecord>]) {
    let minute = |time: Timestamp| time.as_nanos() / 60_000_000_000;
    for by in [By::All, By::Codec, By::Trunk, By::UserAgent] {
        for bucket_minutes in [7, 60, 1440] {
            let asked = voxplane::store::Asked {
                by,
                bucket_minutes,
                since_minute: minute(at(0)),
                until_minute: minute(at(200_000)),
            };
            let found = store.reader().trends(&asked).unwrap();
            let mut expected: BTreeMap<(String, u64), Vec<&CallRecord>> = BTreeMap::new();
            for call in calls {
                let at = minute(call.end_time.unwrap()) / bucket_minutes * bucket_minutes;
                expected.entry((key(call, by), at)).or_default().push(call);
            }
            let points: usize = found.iter().map(|series| series.points.len()).sum();
            assert_eq!(points, expected.len(), "{asked:?}");
            for ((key, at), calls) in expected {
                let series = found.iter().find(|series| series.key == key).unwrap();
                check(&series.points[&at], &calls);
            }
            assert_eq!(Series::main_scale(&found), Scale::Nb);
        }
    }
}

fn check(sums: &Rollup, calls: &[&CallRecord]) {
    assert_eq!(sums.calls, calls.len() as u64);
    let answered = calls.iter().filter(|call| call.state == CallState::Ended);
    assert_eq!(sums.answered, answered.count() as u64);
    for metric in [
        Metric::Mos(Scale::Nb),
        Metric::Mos(Scale::Wb),
        Metric::Mos(Scale::Fb),
        Metric::Loss,
        Metric::Jitter,
        Metric::Rtt,
        Metric::Srd,
        Metric::Duration,
    ] {
        let value = |call: &&CallRecord| (value(call, metric)? * metric.per_unit()).round().into();
        let mut values: Vec<f64> = calls.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let histogram = sums.histogram(metric);
        assert_eq!(histogram.count(), values.len() as u64, "{metric:?}");
        assert_eq!(histogram.sum() as f64, values.iter().sum::<f64>(), "{metric:?}");
        for percent in [50, 95, 99] {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            let exact = values.get(rank - 1).copied();
            let found = histogram.percentile(percent as u64).map(|value| value as f64);
            // No lower, and no more than half a bucket of 1/256 higher.
            let (Some(exact), Some(found)) = (exact, found) else {
                assert_eq!(exact, found);
                continue;
            };
            assert!(exact <= found && found <= exact * (1.0 + 1.0 / 256.0), "{exact} {found}");
        }
    }
}

fn value(call: &CallRecord, metric: Metric) -> Option<f64> {
    let clean = |value: Option<f64>| value.filter(|_| call.integrity == Integrity::Clean);
    match metric {
        Metric::Mos(scale) => {
            let is_its = |basis: &voxplane::quality::MosBasis| basis.scale == scale;
            call.score.mos_basis.filter(is_its).and_then(|_| clean(call.score.mos_score))
        }
        Metric::Loss => clean(call.figures.packet_loss_percentage),
        Metric::Jitter => clean(call.jitter_avg_ms),
        Metric::Rtt => clean(call.latency_avg_ms),
        Metric::Srd => call.signalling.srd_ms,
        Metric::Duration => Some(call.duration_seconds).filter(|_| call.state == CallState::Ended),
    }
}

fn key(call: &CallRecord, by: By) -> String {
    match (by, call.source) {
        (By::All, _) | (By::Trunk, None) => String::new(),
        (By::Codec, _) => call.codec.unwrap_or_default().to_owned(),
        (By::UserAgent, _) => call.user_agent.clone().unwrap_or_default(),
        (By::Trunk, Some(IpAddr::V4(v4))) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        (By::Trunk, Some(IpAddr::V6(v6))) => {
            let s = v6.segments();
            let network = std::net::Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0);
            format!("{network}/64")
        }
    }
}
