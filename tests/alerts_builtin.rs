//! Every rule of the program fires for what it is about, once, says so with its evidence, and is
//! resolved.

use serde_json::json;
use voxplane::{
    alerts::{Change, Rules, Severity, State},
    control::record::{CallState, Direction, EndedBy, Integrity},
};

mod alerts;
mod http;
use alerts::{GOOD, Media, Noc, only, rules};

#[test]
fn what_is_good_raises_nothing() {
    let mut noc = Noc::new();
    for call in ["a", "b"] {
        noc.begin(call);
    }
    for _ in 0..100 {
        noc.next("a", GOOD);
        noc.media("b", GOOD);
    }
    noc.end("a");
    noc.pass(100);
    assert_eq!(noc.events(), []);
    assert_eq!(noc.engine.calls_with_issues(), 0);
}

#[test]
fn media_of_a_call_raises_one_alert_a_rule_and_its_end_resolves_it() {
    let bad = [
        ("low_mos", Media { mos: Some(3.4), ..GOOD }, 3.4, ""),
        ("high_packet_loss", Media { lost: 15, ..GOOD }, 6.0, "percent"),
        ("excessive_jitter", Media { jitter_ms: 60.0, ..GOOD }, 60.0, "ms"),
        ("high_latency", Media { rtt_ms: Some(301.0), ..GOOD }, 301.0, "ms"),
    ];
    for (rule, media, value, unit) in bad {
        let mut noc = Noc::new();
        noc.begin("good");
        noc.begin("b/ad");
        noc.next("b/ad", GOOD);
        noc.media("good", GOOD);
        for _ in 0..3 {
            noc.next("b/ad", media);
            noc.media("good", GOOD);
        }
        assert_eq!(noc.events(), [(Change::Fired, rule.to_owned(), "b/ad".to_owned())]);
        let [alert] = &*noc.open() else { panic!("{rule}: {:#?}", noc.open()) };
        assert_eq!((alert.state, alert.severity), (State::Firing, Severity::Warning));
        assert_eq!((alert.call_id.as_deref(), alert.unit), (Some("b/ad"), unit));
        assert!((alert.value - value).abs() < 1e-6, "{alert:#?}");
        assert_eq!(alert.timestamp, http::at(10));
        let evidence = &alert.evidence;
        assert_eq!((evidence.interval_start, evidence.interval_end), (http::at(5), http::at(10)));
        assert_eq!(evidence.query, "/api/qos/call/b%2Fad");
        assert_eq!(evidence.worst_calls[0].call_id, "b/ad");
        assert!(alert.message.contains("of call b/ad is"), "{}", alert.message);
        noc.wait(1);
        noc.end("b/ad");
        noc.end("good");
        assert_eq!(noc.resolved(), [rule]);
        assert_eq!(noc.engine.calls_with_issues(), 1);
        assert_eq!((noc.engine.open(), noc.engine.total()), (0, 1));
    }
}

#[test]
fn a_call_that_is_good_again_is_resolved_while_it_is_up() {
    let mut noc = Noc::new();
    noc.begin("a");
    noc.next("a", Media { lost: 15, ..GOOD });
    assert_eq!(noc.fired(), ["high_packet_loss"]);
    for _ in 0..2 {
        noc.next("a", GOOD);
        assert_eq!(noc.resolved(), [""; 0], "not before it has been good for a while");
    }
    noc.next("a", GOOD);
    assert_eq!(noc.resolved(), ["high_packet_loss"]);
    noc.end("a");
    assert_eq!(noc.engine.calls_with_issues(), 1, "it did have an issue");
}

#[test]
fn a_low_mos_becomes_an_error_without_another_alert() {
    let mut noc = Noc::new();
    noc.begin("a");
    noc.next("a", Media { mos: Some(3.2), ..GOOD });
    noc.next("a", Media { mos: Some(2.9), ..GOOD });
    let changes: Vec<_> = noc.events().into_iter().map(|(change, ..)| change).collect();
    assert_eq!(changes, [Change::Fired, Change::Updated]);
    let [alert] = &*noc.open() else { panic!() };
    assert_eq!(alert.severity, Severity::Error);
    assert!((alert.value - 2.9).abs() < 1e-6);
}

#[test]
fn mos_degraded_needs_five_minutes_of_trunk_and_box() {
    let mut noc = Noc::with(only("mos_degraded"));
    noc.begin("a");
    let bad = Media { mos: Some(3.0), ..GOOD };
    for _ in 0..69 {
        noc.next("a", bad);
    }
    assert_eq!(noc.fired(), [""; 0], "it is bad, and not for five minutes yet");
    assert_eq!(noc.engine.pending().len(), 2);
    for _ in 0..3 {
        noc.next("a", bad);
    }
    let mut about: Vec<_> = noc.events().into_iter().map(|(_, _, subject)| subject).collect();
    about.sort();
    assert_eq!(about, ["192.0.2.0/24", "box"]);
    let trunk = noc.open().into_iter().find(|alert| alert.subject != "box").unwrap();
    assert_eq!(
        trunk.evidence.query,
        "/api/qos/history?sort=mos&order=asc&source=192%2E0%2E2%2E0%2F24"
    );
    assert_eq!(trunk.evidence.worst_calls[0].call_id, "a");
    for _ in 0..30 {
        noc.next("a", GOOD);
    }
    assert_eq!(noc.resolved(), ["mos_degraded", "mos_degraded"]);
}

#[test]
fn failures_and_abandoned_calls_are_shares_of_enough_calls() {
    for (rule, code, by, query) in [
        ("call_failure_rate", 503, EndedBy::Callee, "/api/qos/history?state=failed&since="),
        ("abandoned_rate", 487, EndedBy::Caller, "/api/qos/history?state=failed&since="),
    ] {
        let mut noc = Noc::with(only(rule));
        for n in 0..19 {
            noc.begin("x");
            // A busy called party is no failure of the network.
            let code = if n < 10 { 486 } else { code };
            let by = if n < 10 { EndedBy::Callee } else { by };
            noc.finish("x", CallState::Failed, Some(code), by);
            noc.pass(1);
        }
        assert_eq!(noc.events(), [], "{rule}: of 20 at least");
        noc.begin("x");
        noc.finish("x", CallState::Failed, Some(code), by);
        noc.pass(1);
        assert_eq!(noc.fired(), [rule]);
        let [alert] = &*noc.open() else { panic!() };
        assert!((alert.value - 50.0).abs() < 1e-6, "{alert:#?}");
        assert_eq!(alert.evidence.worst_calls.len(), 5);
        assert!(alert.evidence.query.starts_with(query));
        for _ in 0..200 {
            noc.begin("y");
            noc.end("y");
        }
        noc.pass(15);
        assert_eq!(noc.resolved(), [rule]);
    }
}

#[test]
fn failed_registrations_are_a_share_of_enough_of_them() {
    let mut noc = Noc::with(only("registration_failures"));
    let register = |noc: &mut Noc, attempts, failed| {
        let counts = &mut noc.snapshot.shards[0].registrations;
        counts.attempts += attempts;
        counts.failed_4xx += failed;
        noc.pass(1);
    };
    register(&mut noc, 19, 19);
    assert_eq!(noc.events(), [], "of 20 at least");
    register(&mut noc, 1, 0);
    assert_eq!(noc.fired(), ["registration_failures"]);
    let [alert] = &*noc.open() else { panic!() };
    assert!((alert.value - 95.0).abs() < 1e-6, "{alert:#?}");
    register(&mut noc, 980, 0);
    noc.pass(15);
    assert_eq!(noc.resolved(), ["registration_failures"]);
}

#[test]
fn a_drop_of_active_calls_within_a_minute() {
    let mut noc = Noc::with(only("active_calls_drop"));
    let ids: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    ids.iter().for_each(|id| noc.begin(id));
    noc.pass(100);
    ids[..2].iter().for_each(|id| noc.end(id));
    noc.pass(100);
    assert_eq!(noc.events(), [], "a fifth is not more than a fifth");
    ids[..2].iter().for_each(|id| noc.begin(id));
    noc.pass(100);
    ids[..3].iter().for_each(|id| noc.end(id));
    noc.pass(1);
    assert_eq!(noc.fired(), ["active_calls_drop"]);
    // With the window gone, seven calls are too few to speak of; after a minute of that it ends.
    noc.pass(122);
    assert_eq!(noc.resolved(), ["active_calls_drop"]);

    let mut few = Noc::with(only("active_calls_drop"));
    ids[..9].iter().for_each(|id| few.begin(id));
    few.pass(10);
    ids[..9].iter().for_each(|id| few.end(id));
    few.pass(10);
    assert_eq!(few.events(), []);
}

#[test]
fn what_is_lost_here_raises_monitor_overload_and_nothing_about_calls() {
    let mut noc = Noc::new();
    noc.begin("a");
    let suspect =
        Media { lost: 100, mos: Some(1.5), jitter_ms: 99.0, integrity: Integrity::Suspect, ..GOOD };
    for _ in 0..100 {
        noc.next("a", Media { direction: Direction::Tx, ..suspect });
        noc.media("a", suspect);
    }
    assert_eq!(noc.events(), [(Change::Fired, "monitor_overload".to_owned(), "box".to_owned())]);
    noc.pass(60);
    assert_eq!(noc.resolved(), ["monitor_overload"]);
    noc.end("a");
    assert_eq!(noc.engine.calls_with_issues(), 0);

    noc.pass(120);
    noc.snapshot.shards[0].socket_overflow = 7;
    noc.pass(2);
    assert_eq!(noc.fired(), ["monitor_overload"]);
    assert_eq!(noc.open()[0].evidence.query, "/healthz");
    noc.pass(60);
    assert_eq!(noc.resolved(), ["monitor_overload"]);
}

#[test]
fn a_history_that_is_not_written_is_critical() {
    let mut noc = Noc::new();
    noc.pass(10);
    noc.is_stored = false;
    noc.pass(2);
    assert_eq!(noc.events(), []);
    noc.pass(2);
    assert_eq!(noc.fired(), ["store_unavailable"]);
    assert_eq!(noc.open()[0].severity, Severity::Critical);
    noc.is_stored = true;
    noc.pass(15);
    assert_eq!(noc.resolved(), ["store_unavailable"]);
}

#[test]
fn all_of_them_can_be_adjusted() {
    for rule in Rules::default().iter() {
        let changed = rules([json!({
            "name": rule.name, "enabled": false, "threshold": 1.0, "hysteresis": 0.25,
            "for_s": 7, "clear_for_s": 8, "window_s": 90, "min_samples": 3, "severity": "info",
            "cooldown_s": 9, "comparison": "below", "trunk": "10.0.0.0/24",
            "error_threshold": 1.0, "critical_threshold": 1.0,
        })]);
        let now = changed.get(&rule.name).map(|rule| json!(**rule));
        let expected = json!({
            "name": rule.name, "builtin": true, "enabled": false, "metric": rule.metric,
            "scope": rule.scope, "trunk": "10.0.0.0/24", "comparison": "below", "threshold": 1.0,
            "error_threshold": 1.0, "critical_threshold": 1.0, "hysteresis": 0.25, "for_s": 7.0,
            "clear_for_s": 8.0, "window_s": 90.0, "min_samples": 3, "severity": "info",
            "cooldown_s": 9.0, "deviations": null, "baseline_days": 14, "baseline_min_days": 5,
        });
        assert_eq!(now, Some(expected));
    }
}
