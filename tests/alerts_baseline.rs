//! Rules with a baseline: what is unusual for its hour raises an alert, what is usual does not, nor
//! what has too few days or calls behind it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{sync::Arc, time::Duration};

use voxplane::{
    alerts::{Alerts, Asked, Kept, Rules},
    config::RawConfig,
    control::record::{CallRecord, Snapshot},
};

mod http;
mod store;
use http::at;

const DAY: Duration = Duration::from_secs(86_400);

const RULE: &str = "[[alert]]\nname = 'unusual_loss'\nmetric = 'packet_loss'\nscope = ['trunk', 'box']\n\
                    deviations = 4\n";

/// Loss of the same hour of six days, the last one first, percent.
const USUAL: [f64; 6] = [1.0, 1.1, 0.9, 1.0, 1.2, 0.8];

#[test]
fn what_is_unusual_for_its_hour_raises_an_alert() {
    // 1.0 on average, 0.14 its deviation: the limit is 1.57.
    assert_eq!(raised(RULE, &USUAL, 5.0), ["box", "192.0.2.0/24"]);
    assert_eq!(raised(RULE, &USUAL, 1.7), ["box", "192.0.2.0/24"]);
    assert!(raised(RULE, &USUAL, 1.4).is_empty(), "usual");
    assert!(raised(&format!("{RULE}threshold = 2.0\n"), &USUAL, 1.7).is_empty(), "no harm");
    assert!(raised(RULE, &USUAL[..4], 5.0).is_empty(), "too few days");
    assert!(raised(&format!("{RULE}min_samples = 31\n"), &USUAL, 5.0).is_empty(), "too few calls");
    assert_eq!(raised(&format!("{RULE}baseline_min_days = 4\n"), &USUAL[..4], 5.0).len(), 2);
    assert_eq!(raised(&format!("{RULE}trunk = '10.0.0.0/24'\n"), &USUAL, 5.0), ["box"]);
}

#[test]
fn what_has_no_history_is_refused() {
    let error = |text: &str| rules(text).unwrap_err();
    let call = RULE.replace("['trunk', 'box']", "'call'");
    assert!(error(&call).contains("unusual_loss.deviations: only mos"), "{}", error(&call));
    let metric = RULE.replace("packet_loss", "abandoned_rate");
    assert!(error(&metric).contains("unusual_loss.deviations: only mos"));
    assert!(error(&RULE.replace("= 4", "= 0")).contains("deviations: 0 is not from 1 to 20"));
    let days = format!("{RULE}baseline_days = 1\n");
    assert!(error(&days).contains("baseline_days: this is not a whole number from 2 to 60"));
}

/// Whom alerts are about if thirty calls of today lose so much, after such days.
fn raised(rule: &str, days: &[f64], today: f64) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let past = days.iter().zip(1..).flat_map(|(loss, day)| calls(*loss, DAY * day));
    let all: Vec<_> = past.chain(calls(today, Duration::ZERO)).collect();
    let store = store::filled(directory.path(), &all);
    let kept = Kept { feeder: store.feeder(), reader: store.reader() };
    let now = at(40_000);
    let alerts = Alerts::start(rules(rule).unwrap(), Some(kept), None, now);
    alerts.refresh_baselines(now).unwrap();
    alerts.look(&Snapshot { taken_at: now, ..Snapshot::default() });
    let listed = alerts.list(&Asked { limit: 100, ..Asked::default() }).unwrap();
    let of_rule = listed.iter().rev().filter(|alert| alert.rule == "unusual_loss");
    of_rule.map(|alert| alert.subject.clone()).collect()
}

fn rules(text: &str) -> Result<Rules, String> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
    raw.complete().map(|config| config.rules).map_err(|error| error.to_string())
}

/// Thirty calls of one network that ended a few minutes before this moment so long ago.
fn calls(loss: f64, ago: Duration) -> impl Iterator<Item = Arc<CallRecord>> {
    (0..30).map(move |n| {
        let mut call = http::call(&format!("{n}-{}", ago.as_secs()), 39_600 + n, Some(4.0));
        call.figures.packet_loss_percentage = Some(loss);
        call.start_time = call.start_time - ago;
        call.answer_time = call.answer_time.map(|time| time - ago);
        Arc::new(http::ended(call))
    })
}
