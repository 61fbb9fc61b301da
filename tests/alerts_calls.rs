//! Calls through the shard on a virtual clock: those with loss raise their alerts within ten
//! seconds, once each, the others none, and the end of a call is the end of its alerts.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, sync_channel},
};

use common::{Caller, Flight, START, World, ms, rtp, secs};
use fastrand::Rng;
use voxplane::{
    alerts::{AlertEvent, Alerts, Asked, Change, Rules},
    control::Calls,
    shard::ShardConfig,
    time::Timestamp,
};

/// How many calls there are, and how many of them lose packets.
const CALLS: u32 = 20;
const LOSSY: u32 = 4;

/// From here on packets are lost.
const LOSS_AFTER: u32 = 7;

/// Calls of half a minute.
const TALK: u32 = 30;

struct Line {
    world: World,
    alerts: Alerts,
    events: Receiver<AlertEvent>,
}

impl Line {
    fn new(rules: Rules) -> Self {
        let mut world = World::new(ShardConfig { streams_max: 256, ..ShardConfig::default() });
        world.calls = Calls::new(START, 1000).with_finished().with_intervals();
        let (to, events) = sync_channel(1000);
        let alerts = Alerts::start(rules, None, Some(to), START);
        Self { world, alerts, events }
    }

    /// What the control thread does.
    fn turn(&mut self) {
        self.alerts.feed(&mut self.world.calls, drop);
        self.alerts.look(&self.world.snapshot());
    }
}

fn is_lossy(call: u32) -> bool {
    call < LOSSY
}

fn id(call: u32) -> String {
    format!("call-{call}")
}

/// Runs all calls to their end; what has happened to alerts, and when loss began.
fn run(line: &mut Line) -> (Vec<AlertEvent>, Timestamp) {
    let mut rng = Rng::with_seed(6);
    let mut callers: Vec<_> = (0..CALLS)
        .map(|call| Caller::new(&format!("198.51.100.{}:5060", call + 1), &id(call)))
        .collect();
    let media: Vec<_> = callers.iter_mut().map(|caller| caller.set_up(&mut line.world)).collect();
    let began = line.world.now;
    for index in 0..TALK * 50 {
        line.world.run_until(began + ms(20) * index);
        let mut flights = Vec::new();
        for (call, caller) in (0..CALLS).zip(&callers) {
            let is_lost = is_lossy(call) && index >= LOSS_AFTER * 50 && rng.f64() < 0.06;
            let sequence = u16::try_from(index).unwrap();
            let bytes = rtp(0, index == 0, sequence, index * 160, call + 1);
            let dst = media[usize::try_from(call).unwrap()];
            if !is_lost {
                flights.push(Flight { src: caller.media, dst, bytes });
            }
        }
        line.world.deliver(&flights);
        if index % 5 == 0 {
            line.turn();
        }
    }
    for caller in &callers {
        caller.hang_up(&mut line.world);
    }
    line.world.run_for(secs(1));
    line.turn();
    (line.events.try_iter().collect(), began + secs(LOSS_AFTER.into()))
}

#[test]
fn exactly_the_calls_with_loss_raise_alerts_in_time_and_once() {
    let table = serde_json::json!({"mos_min": 4.0});
    let rules = Rules::default().with_thresholds(table.as_object().unwrap()).unwrap();
    let mut line = Line::new(rules);
    let (events, lossy_since) = run(&mut line);
    let mut seen: BTreeMap<(String, String), Vec<Change>> = BTreeMap::new();
    for AlertEvent { change, alert } in &events {
        if alert.rule == "active_calls_drop" {
            continue;
        }
        if *change == Change::Fired {
            let after = alert.timestamp.since(lossy_since);
            assert!(after <= secs(10), "{after:?}: {alert:#?}");
            assert!(alert.timestamp > lossy_since);
        }
        let key = (alert.call_id.clone().unwrap(), alert.rule.clone());
        seen.entry(key).or_default().push(*change);
    }
    let expected: Vec<(String, String)> = (0..CALLS)
        .filter(|&call| is_lossy(call))
        .flat_map(|call| ["high_packet_loss", "low_mos"].map(|rule| (id(call), rule.to_owned())))
        .collect();
    assert_eq!(seen.keys().cloned().collect::<Vec<_>>(), expected, "{events:#?}");
    for (key, changes) in &seen {
        let ends: Vec<_> = changes.iter().filter(|change| **change != Change::Updated).collect();
        assert_eq!(ends, [&Change::Fired, &Change::Resolved], "{key:?}");
    }
    assert_eq!(line.alerts.figures().calls_with_issues, u64::from(LOSSY));
    let open = line.alerts.list(&Asked { limit: 1000, ..Asked::default() }).unwrap();
    assert!(open.iter().all(|alert| alert.call_id.is_none() || !alert.is_open()), "{open:#?}");
}

/// G.711 with concealment at 6 % loses R 18.3 of 93.2 (G.107: Ie 0, Bpl 25.1), which is MOS 3.8:
/// no low MOS by the program's own threshold.
#[test]
fn concealed_loss_is_loss_and_no_low_mos() {
    let mut line = Line::new(Rules::default());
    let (events, _) = run(&mut line);
    let mut rules: Vec<&str> = events.iter().map(|event| event.alert.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    rules.retain(|rule| *rule != "active_calls_drop");
    assert_eq!(rules, ["high_packet_loss"]);
}

#[test]
fn a_call_without_media_raises_no_media() {
    let mut line = Line::new(Rules::default());
    let mut caller = Caller::new("198.51.100.1:5060", "silent");
    caller.set_up(&mut line.world);
    for _ in 0..300 {
        line.world.run_for(ms(100));
        line.turn();
    }
    caller.hang_up(&mut line.world);
    line.world.run_for(secs(1));
    line.turn();
    let events: Vec<_> =
        line.events.try_iter().map(|event| (event.change, event.alert.rule)).collect();
    let no_media = || "no_media".to_owned();
    assert_eq!(events, [(Change::Fired, no_media()), (Change::Resolved, no_media())]);
}
