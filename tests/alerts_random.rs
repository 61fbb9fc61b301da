//! Whatever happens in whatever order: no alert is left open about a call that is over, and none
//! is raised about one; there is one open alert for a rule and what it is about.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::json;
use voxplane::{
    alerts::{Alert, Change},
    control::record::{CallState, Direction, EndedBy, Integrity},
};

mod alerts;
mod http;
use alerts::{GOOD, Media, Noc};

#[derive(Clone, Debug)]
enum Act {
    Begin,
    Media(usize, Media),
    End(usize, u16),
    Pass(u64),
    Lose(u64),
    Clear,
    Acknowledge(u64),
    Threshold(f64),
    Switch(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let media = (any::<[bool; 3]>(), 0..60_i32, 0.0..90.0_f32, 1.0..4.5_f32, 0.0..500.0_f64);
    let media = media.prop_map(|([is_rx, is_suspect, has_mos], lost, jitter_ms, mos, rtt)| Media {
        direction: if is_rx { Direction::Rx } else { Direction::Tx },
        integrity: if is_suspect { Integrity::Suspect } else { Integrity::Clean },
        mos: has_mos.then_some(mos),
        rtt_ms: Some(rtt),
        lost,
        jitter_ms,
        ..GOOD
    });
    prop_oneof![
        2 => Just(Act::Begin),
        8 => (0..9_usize, media).prop_map(|(call, media)| Act::Media(call, media)),
        2 => (0..9_usize, prop::sample::select(vec![200, 486, 487, 503]))
            .prop_map(|(call, code)| Act::End(call, code)),
        4 => (1..20_u64).prop_map(Act::Pass),
        1 => (1..5_u64).prop_map(Act::Lose),
        1 => Just(Act::Clear),
        1 => (0..40_u64).prop_map(Act::Acknowledge),
        1 => (0.0..30.0_f64).prop_map(Act::Threshold),
        1 => any::<bool>().prop_map(Act::Switch),
    ]
}

fn perform(noc: &mut Noc, act: &Act, begun: &mut u64) {
    let nth = |noc: &Noc, n: usize| {
        let count = noc.snapshot.active.len();
        (count > 0).then(|| noc.snapshot.active[n % count].call_id.clone())
    };
    match *act {
        Act::Begin => {
            *begun += 1;
            noc.begin(&begun.to_string());
        }
        Act::Media(call, media) => {
            if let Some(id) = nth(noc, call) {
                noc.wait(5);
                noc.media(&id, media);
            }
        }
        Act::End(call, 200) => {
            if let Some(id) = nth(noc, call) {
                noc.end(&id);
            }
        }
        Act::End(call, code) => {
            if let Some(id) = nth(noc, call) {
                noc.finish(&id, CallState::Failed, Some(code), EndedBy::Callee);
            }
        }
        Act::Pass(seconds) => noc.pass(seconds),
        Act::Lose(count) => noc.snapshot.shards[0].socket_overflow += count,
        Act::Clear => drop(noc.engine.clear(noc.now)),
        Act::Acknowledge(id) => drop(noc.engine.acknowledge(id, noc.now)),
        Act::Threshold(loss) => noc.set(json!({"name": "high_packet_loss", "threshold": loss})),
        Act::Switch(enabled) => noc.set(json!({"name": "excessive_jitter", "enabled": enabled})),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_stays_open_about_a_call_that_is_over(
        acts in prop::collection::vec(act(), 0..120),
    ) {
        let mut noc = Noc::new();
        let mut begun = 0;
        let mut lives: BTreeMap<u64, Alert> = BTreeMap::new();
        for act in &acts {
            perform(&mut noc, act, &mut begun);
            for event in noc.engine.events() {
                let before = lives.insert(event.alert.id, event.alert.clone());
                prop_assert_eq!(before.is_none(), event.change == Change::Fired);
                prop_assert!(before.is_none_or(|before| before.is_open()), "over is over");
                prop_assert_eq!(event.change == Change::Resolved, !event.alert.is_open());
            }
            let up: HashSet<&str> =
                noc.snapshot.active.iter().map(|call| call.call_id.as_str()).collect();
            let mut about = HashSet::new();
            for alert in noc.open() {
                let is_up = alert.call_id.as_deref().is_none_or(|id| up.contains(id));
                prop_assert!(is_up, "{:#?}", alert);
                prop_assert_eq!(lives.get(&alert.id).map(|told| told.state), Some(alert.state));
                prop_assert!(about.insert((alert.rule, alert.subject)), "two of one kind");
            }
        }
    }
}
