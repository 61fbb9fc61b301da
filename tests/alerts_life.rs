//! The life of an alert: pending, firing, acknowledged, resolved; hysteresis, cooldown, damping;
//! one open alert for a rule and what it is about.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use serde_json::json;
use voxplane::{
    alerts::{Alert, Change, Rules, State},
    control::record::Direction,
};

mod alerts;
mod http;
use alerts::{GOOD, Media, Noc, only, rules, secs};

fn loss(lost: i32) -> Media {
    Media { lost, ..GOOD }
}

/// Loss alone, by call, with changes.
fn loss_rule(mut changes: serde_json::Value) -> Rules {
    changes["name"] = json!("high_packet_loss");
    only("high_packet_loss").with(alerts::table(changes)).unwrap().0
}

#[test]
fn what_must_last_is_pending_first() {
    let mut noc = Noc::with(loss_rule(json!({"for_s": 10})));
    noc.begin("a");
    noc.next("a", loss(15));
    noc.next("a", loss(15));
    assert_eq!(noc.fired(), [""; 0]);
    noc.next("a", loss(0));
    noc.next("a", loss(15));
    noc.next("a", loss(15));
    assert_eq!(noc.fired(), [""; 0], "it begins anew");
    noc.next("a", loss(15));
    assert_eq!(noc.fired(), ["high_packet_loss"]);
}

#[test]
fn between_threshold_and_hysteresis_nothing_changes() {
    let mut noc = Noc::with(only("high_packet_loss"));
    noc.begin("a");
    // 1.6 and 2 % are neither bad nor good enough.
    for lost in [4, 5, 4] {
        noc.next("a", loss(lost));
    }
    assert_eq!(noc.events(), []);
    noc.next("a", loss(6));
    assert_eq!(noc.fired(), ["high_packet_loss"]);
    for _ in 0..10 {
        noc.next("a", loss(4));
    }
    assert_eq!(noc.events(), []);
    for _ in 0..3 {
        noc.next("a", loss(3));
    }
    assert_eq!(noc.resolved(), ["high_packet_loss"]);
}

#[test]
fn after_an_alert_comes_a_cooldown() {
    let mut noc = Noc::with(loss_rule(json!({"cooldown_s": 100, "clear_for_s": 0})));
    noc.begin("a");
    noc.next("a", loss(15));
    noc.next("a", loss(0));
    assert_eq!(noc.events().len(), 2);
    for _ in 0..19 {
        noc.next("a", loss(15));
    }
    assert_eq!(noc.events(), [], "95 s");
    noc.next("a", loss(15));
    assert_eq!(noc.fired(), ["high_packet_loss"], "100 s");
    // Another call has its own.
    noc.begin("b");
    noc.next("b", loss(15));
    assert_eq!(noc.fired(), ["high_packet_loss"]);
}

#[test]
fn what_flaps_is_damped() {
    let flapping = |changes| {
        let mut noc = Noc::with(loss_rule(changes));
        noc.begin("a");
        let mut fired = 0;
        for round in 0..360 {
            noc.next("a", loss(if round % 6 < 2 { 15 } else { 0 }));
            fired += noc.fired().len();
        }
        fired
    };
    // It comes back every half minute for half an hour.
    let fired = flapping(json!({"cooldown_s": 0, "clear_for_s": 10}));
    assert_eq!(fired, 2, "the second time it must be good for 20 s, and never is");
}

#[test]
fn both_directions_of_a_call_are_one_alert_and_two_of_streams() {
    let both = |noc: &mut Noc, rx: i32, tx: i32| {
        noc.next("a", Media { direction: Direction::Rx, ..loss(rx) });
        noc.media("a", Media { direction: Direction::Tx, ..loss(tx) });
    };
    let mut noc = Noc::with(only("high_packet_loss"));
    noc.begin("a");
    both(&mut noc, 15, 0);
    for _ in 0..9 {
        both(&mut noc, 15, 20);
    }
    for _ in 0..9 {
        both(&mut noc, 0, 20);
    }
    assert_eq!(noc.fired(), ["high_packet_loss"]);
    assert_eq!(noc.engine.open(), 1, "one direction is still bad");
    for _ in 0..4 {
        both(&mut noc, 0, 0);
    }
    assert_eq!(noc.resolved(), ["high_packet_loss"]);

    let mut noc = Noc::with(loss_rule(json!({"scope": "stream"})));
    noc.begin("a");
    for _ in 0..3 {
        both(&mut noc, 15, 20);
    }
    let about: Vec<String> = noc.events().into_iter().map(|(_, _, subject)| subject).collect();
    assert_eq!(about, ["a rx", "a tx"]);
    for _ in 0..4 {
        both(&mut noc, 15, 0);
    }
    assert_eq!(noc.events().len(), 1);
    noc.end("a");
    assert_eq!(noc.events().len(), 1);
    assert_eq!(noc.engine.open(), 0);
}

#[test]
fn an_acknowledged_alert_goes_on_and_is_resolved() {
    let mut noc = Noc::with(only("high_packet_loss"));
    noc.begin("a");
    noc.next("a", loss(15));
    let id = noc.open()[0].id;
    noc.events();
    noc.wait(1);
    let alert = noc.engine.acknowledge(id, noc.now).unwrap();
    assert_eq!((alert.state, alert.acknowledged_time), (State::Acknowledged, Some(noc.now)));
    assert_eq!(noc.engine.acknowledge(id, noc.now), Some(alert), "again changes nothing");
    assert_eq!(noc.engine.acknowledge(id + 1, noc.now), None);
    noc.next("a", loss(15));
    noc.end("a");
    let changes: Vec<_> = noc.events().into_iter().map(|(change, ..)| change).collect();
    assert_eq!(changes, [Change::Acknowledged, Change::Resolved]);
    let known = noc.engine.known();
    assert_eq!(known[0].state, State::Resolved);
    assert!(known[0].acknowledged_time < known[0].resolved_time);
    assert_eq!(noc.engine.acknowledge(id, noc.now), None, "it is over");
}

#[test]
fn clearing_resolves_all_and_what_stays_bad_comes_back_after_its_cooldown() {
    let mut noc = Noc::with(only("high_packet_loss"));
    for id in ["a", "b"] {
        noc.begin(id);
        noc.next(id, loss(15));
    }
    assert_eq!(noc.engine.total(), 2);
    noc.events();
    assert_eq!(noc.engine.clear(noc.now), 2);
    assert_eq!(noc.resolved().len(), 2);
    assert_eq!((noc.engine.total(), noc.engine.open(), noc.engine.cleared()), (0, 0, 2));
    for _ in 0..11 {
        noc.next("a", loss(15));
    }
    assert_eq!(noc.events(), []);
    noc.next("a", loss(15));
    assert_eq!(noc.fired(), ["high_packet_loss"]);
    assert_eq!(noc.engine.total(), 1);
}

#[test]
fn too_few_packets_say_nothing() {
    let mut noc = Noc::with(only("high_packet_loss"));
    noc.begin("a");
    noc.next("a", Media { packets: 49, ..loss(40) });
    assert_eq!(noc.events(), []);
    noc.next("a", Media { packets: 50, ..loss(40) });
    assert_eq!(noc.fired(), ["high_packet_loss"]);
    for _ in 0..11 {
        noc.next("a", Media { packets: 10, ..loss(0) });
    }
    assert_eq!(noc.events(), []);
    noc.pass(10);
    assert_eq!(noc.resolved(), ["high_packet_loss"], "nothing has been measured for a minute");
}

#[test]
fn other_rules_end_the_alerts_of_the_old_ones() {
    let mut noc = Noc::new();
    noc.begin("a");
    noc.next("a", Media { jitter_ms: 60.0, ..loss(15) });
    assert_eq!(noc.fired(), ["high_packet_loss", "excessive_jitter"]);
    noc.set(json!({"name": "excessive_jitter", "enabled": false}));
    assert_eq!(noc.resolved(), ["excessive_jitter"]);
    noc.set(json!({"name": "high_packet_loss", "threshold": 10.0}));
    assert_eq!(noc.events(), [], "it is the same alert");
    for _ in 0..3 {
        noc.next("a", Media { jitter_ms: 60.0, ..loss(15) });
    }
    assert_eq!(noc.resolved(), ["high_packet_loss"], "6 % are good now");
}

#[test]
fn a_rule_of_ones_own_is_for_one_trunk() {
    let own = |trunk: &str| {
        rules([json!({
            "name": "gold", "metric": "discard", "threshold": 1, "trunk": trunk, "for_s": 0,
            "scope": ["call", "trunk"], "min_samples": 1,
        })])
    };
    let mut noc = Noc::with(own("192.0.2.0/24"));
    noc.begin("a");
    noc.next("a", Media { discarded: 10, ..GOOD });
    let about: Vec<String> = noc.events().into_iter().map(|(_, _, subject)| subject).collect();
    assert_eq!(about, ["a", "192.0.2.0/24"]);
    let mut noc = Noc::with(own("198.51.100.0/24"));
    noc.begin("a");
    noc.next("a", Media { discarded: 10, ..GOOD });
    assert_eq!(noc.events(), []);
}

#[test]
fn alerts_go_on_in_another_engine_and_those_of_calls_are_over() {
    let mut noc = Noc::new();
    noc.begin("a");
    noc.next("a", loss(15));
    noc.is_stored = false;
    noc.pass(5);
    noc.events();
    let rows: Vec<_> = noc.open().iter().map(Alert::to_row).collect();
    let open: Vec<Alert> = rows.iter().map(|row| Alert::of_row(row).unwrap()).collect();
    assert_eq!(open, noc.open(), "nothing is lost in the store");

    let mut next = Noc::new();
    next.now = noc.now + secs(60);
    next.engine.restore(open, 0, 7, next.now);
    assert_eq!(next.resolved(), ["high_packet_loss"]);
    assert_eq!(next.engine.total(), 7);
    next.is_stored = false;
    next.pass(5);
    assert_eq!(next.events(), [], "it is open already");
    next.is_stored = true;
    next.pass(15);
    assert_eq!(next.resolved(), ["store_unavailable"]);
    next.is_stored = false;
    next.pass(100);
    assert!(next.open()[0].id > 2, "numbers grow");
}
