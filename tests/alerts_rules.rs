//! Rules from the configuration and the API: what is wrong is named, and nothing is half-applied.

use serde_json::json;
use voxplane::{alerts::Rules, config::RawConfig};

mod alerts;
mod http;
use alerts::{rules, table};

fn complete(text: &str) -> Result<Rules, String> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
    raw.complete().map(|config| config.rules).map_err(|error| error.to_string())
}

#[test]
fn a_file_adjusts_rules_and_has_its_own() {
    let rules = complete(
        "[alerts.low_mos]\nthreshold = 3.8\nseverity = 'info'\n\
         [[alert]]\nname = 'gold'\nmetric = 'latency'\nthreshold = 150\nscope = 'trunk'\n\
         trunk = '192.0.2.0/24'\nfor_s = 30\n",
    )
    .unwrap();
    assert_eq!(rules.get("low_mos").map(|rule| rule.threshold), Some(3.8));
    let gold = json!(**rules.get("gold").unwrap());
    assert_eq!((&gold["scope"], &gold["for_s"]), (&json!(["trunk"]), &json!(30.0)));
    assert_eq!((&gold["builtin"], &gold["comparison"]), (&json!(false), &json!("above")));
    assert_eq!(rules.iter().count(), Rules::default().iter().count() + 1);
}

#[test]
fn what_is_wrong_in_a_file_is_named() {
    let own = "name = 'x'\nmetric = 'mos'\nthreshold = 3";
    for (text, named) in [
        ("[alerts.low_moss]\nthreshold = 3", "alerts.low_moss: this rule is none of low_mos,"),
        ("[alerts.low_mos]\nthreshhold = 3", "alerts.low_mos.threshhold: unknown key; known here:"),
        ("[alerts.low_mos]\nthreshold = 7", "alerts.low_mos.threshold: 7 is not from 1 to 5"),
        ("[alerts.low_mos]\nthreshold = '3'", "alerts.low_mos.threshold: this is not a number"),
        ("[alerts.low_mos]\nthreshold = nan", "alerts.low_mos.threshold"),
        ("[alerts.low_mos]\nenabled = 1", "alerts.low_mos.enabled: this is not true or false"),
        ("[alerts.low_mos]\nscope = 'world'", "alerts.low_mos.scope: \"world\" is none of call,"),
        ("[alerts.low_mos]\nscope = []", "alerts.low_mos.scope is missing"),
        ("[alerts.low_mos]\nmetric = 'jitter'", "alerts.low_mos.metric"),
        ("[alerts.low_mos]\nfor_s = -1", "alerts.low_mos.for_s: -1 is not from 0 to 86400"),
        ("[alerts.low_mos]\nwindow_s = 4000", "alerts.low_mos.window_s: 4000"),
        ("[alerts.low_mos]\nmin_samples = 1.5", "alerts.low_mos.min_samples: this is not a whole"),
        ("[alerts.low_mos]\nseverity = 'bad'", "alerts.low_mos.severity: \"bad\" is none of info,"),
        ("[alerts.active_calls_drop]\nscope = 'call'", "alerts.active_calls_drop.scope"),
        ("[[alert]]\nmetric = 'mos'", "alert.name is missing"),
        ("[[alert]]\nname = 'A b'", "alert.name: a name has"),
        ("[[alert]]\nname = 'x'", "x.metric is missing"),
        ("[[alert]]\nname = 'x'\nmetric = 'mos'", "x.threshold is missing"),
        ("[[alert]]\nname = 'x'\nmetric = 'colour'", "x.metric: \"colour\" is none of mos,"),
        ("[[alert]]\nname = 'low_mos'", "alert.low_mos.name: a rule of the program has this name"),
        (&format!("[[alert]]\n{own}\n[[alert]]\n{own}"), "alert.x.name: another rule"),
    ] {
        let error = complete(text).unwrap_err();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn the_api_goes_over_the_file_and_can_be_taken_back() {
    let file = complete("[alerts.low_mos]\nthreshold = 3.8").unwrap();
    let threshold = |rules: &Rules| rules.get("low_mos").map(|rule| rule.threshold);
    let (changed, name) = file.with(table(json!({"name": "low_mos", "threshold": 4.1}))).unwrap();
    assert_eq!((threshold(&changed), &*name), (Some(4.1), "low_mos"));
    assert_eq!(file.with_changes(&changed.changes()), Ok(changed.clone()), "and kept");
    assert_eq!(changed.without("low_mos"), Ok(file.clone()));
    let untouched = file.without("low_mos").unwrap_err().to_string();
    assert!(untouched.contains("set enabled to false"), "{untouched}");
    assert!(file.without("none").unwrap_err().to_string().contains("none: there is no such rule"));

    let own = rules([json!({"name": "x", "metric": "jitter", "threshold": 5})]);
    assert_eq!(own.without("x"), Ok(Rules::default()));
    assert!(own.with(table(json!({"name": "x", "threshold": -1}))).is_err());
    assert!(own.with_changes("{\"x\": 1}").is_err());
    assert!(own.with_changes("nonsense").is_err());
}

#[test]
fn there_is_an_end_to_rules() {
    let many = |count| {
        let one = |n| json!({"name": format!("n{n}"), "metric": "jitter", "threshold": 1});
        let mut rules = Rules::default();
        for n in 0..count {
            rules = rules.with(table(one(n))).map_err(|error| error.to_string())?.0;
        }
        Ok::<_, String>(rules)
    };
    let room = 100 - Rules::default().iter().count();
    assert_eq!(many(room).unwrap().iter().count(), 100);
    assert_eq!(many(room + 1).unwrap_err(), "alert: more than 100 rules");
}
