//! All rules: those of the program, adjusted by the configuration and after that by the API. A
//! change is whole or is none; it says nothing of what is measured.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::rule::{
    Comparison, EXCESSIVE_JITTER, HIGH_LATENCY, HIGH_PACKET_LOSS, LOW_MOS, Metric, Rule, Scope,
    Severity, builtin,
};

/// A rule, or what is different about it, as it stands in a file or a request.
pub type Table = Map<String, Value>;

/// The rules that are in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What the configuration says, by rule.
    file: BTreeMap<String, Table>,
    /// What was said over the API since, by rule.
    api: BTreeMap<String, Table>,
    all: Vec<Arc<Rule>>,
}

impl Default for Rules {
    fn default() -> Self {
        let all = builtin().into_iter().map(Arc::new).collect();
        Self { file: BTreeMap::new(), api: BTreeMap::new(), all }
    }
}

impl Rules {
    /// The program's rules as `adjusted` by name, and rules of one's own.
    ///
    /// # Errors
    /// A key or a value is not to be used; the error names it.
    pub fn new(own: Vec<Table>, adjusted: BTreeMap<String, Table>) -> Result<Self, RuleError> {
        let names: Vec<String> = builtin().into_iter().map(|rule| rule.name).collect();
        if let Some(name) = adjusted.keys().find(|name| !names.contains(name)) {
            let key = format!("alerts.{name}");
            return Err(RuleError::NotAny { key, known: names.join(", ") });
        }
        let mut file = adjusted;
        for mut table in own {
            let name = take_name(&mut table, "alert")?;
            if names.contains(&name) {
                return Err(RuleError::Taken { key: format!("alert.{name}.name") });
            }
            let key = format!("alert.{name}.name");
            if file.insert(name, table).is_some() {
                return Err(RuleError::Twice { key });
            }
        }
        Self::built(file, BTreeMap::new())
    }

    /// All of them, those of the program first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.all.iter()
    }

    /// A rule by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.all.iter().find(|rule| rule.name == name)
    }

    /// The same with a rule added or adjusted, and the name of that rule.
    ///
    /// # Errors
    /// A key or a value is not to be used; the error names it.
    pub fn with(&self, mut table: Table) -> Result<(Self, String), RuleError> {
        let name = take_name(&mut table, "")?;
        let mut api = self.api.clone();
        api.entry(name.clone()).or_default().extend(table);
        Ok((Self::built(self.file.clone(), api)?, name))
    }

    /// The same without a rule that the API made, or without what it changed about one.
    ///
    /// # Errors
    /// The API has neither made nor changed such a rule.
    pub fn without(&self, name: &str) -> Result<Self, RuleError> {
        let mut api = self.api.clone();
        if api.remove(name).is_none() {
            return Err(match self.get(name) {
                Some(_) => RuleError::NotChanged { name: name.to_owned() },
                None => RuleError::NoRule { name: name.to_owned() },
            });
        }
        Self::built(self.file.clone(), api)
    }

    /// What the API has changed, as a JSON text.
    #[must_use]
    pub fn changes(&self) -> String {
        let object = |(name, table): (&String, &Table)| (name.clone(), table.clone().into());
        Value::Object(self.api.iter().map(object).collect()).to_string()
    }

    /// The same with what the API had changed before.
    ///
    /// # Errors
    /// It does not fit the rules any more.
    pub fn with_changes(&self, text: &str) -> Result<Self, RuleError> {
        let api = serde_json::from_str(text)
            .map_err(|_| RuleError::Type { key: "rules".to_owned(), expected: "an object" })?;
        Self::built(self.file.clone(), api)
    }

    /// The four thresholds, by name.
    #[must_use]
    pub fn thresholds(&self) -> BTreeMap<&'static str, f64> {
        let threshold = |(key, name)| self.get(name).map(|rule| (key, rule.threshold));
        THRESHOLD_RULES.into_iter().filter_map(threshold).collect()
    }

    /// The same with some of the four thresholds changed.
    ///
    /// # Errors
    /// A key or a value is not to be used; the error names it.
    pub fn with_thresholds(&self, body: &Table) -> Result<Self, RuleError> {
        let mut api = self.api.clone();
        for (key, value) in body {
            let rule = THRESHOLD_RULES.into_iter().find(|(known, _)| known == key);
            let rule = rule.and_then(|(_, name)| self.get(name));
            let Some(rule) = rule else {
                let known = THRESHOLD_RULES.map(|(key, _)| key).join(", ");
                return Err(RuleError::Unknown { key: key.clone(), known });
            };
            let value = number(key.clone(), value, rule.metric.range())?;
            api.entry(rule.name.clone()).or_default().insert("threshold".to_owned(), value.into());
        }
        Self::built(self.file.clone(), api)
    }

    fn built(
        file: BTreeMap<String, Table>,
        api: BTreeMap<String, Table>,
    ) -> Result<Self, RuleError> {
        let mut all = Vec::new();
        let layers = |name: &str| [("alerts.", file.get(name)), ("", api.get(name))];
        let programs = builtin();
        for mut rule in programs.iter().cloned() {
            for (section, table) in layers(&rule.name.clone()) {
                adjust(&mut rule, section, table)?;
            }
            all.push(Arc::new(rule));
        }
        let mut own: Vec<&String> = file.keys().chain(api.keys()).collect();
        own.sort_unstable();
        own.dedup();
        own.retain(|name| programs.iter().all(|rule| rule.name != **name));
        for name in own {
            if all.len() >= RULES_MAX {
                return Err(RuleError::TooMany { max: RULES_MAX });
            }
            let metric = api.get(name).and_then(|table| table.get("metric"));
            let metric = metric.or_else(|| file.get(name)?.get("metric"));
            let missing = |key: &str| RuleError::Missing { key: format!("{name}.{key}") };
            let metric = metric.ok_or_else(|| missing("metric"))?;
            let metric = choice(format!("{name}.metric"), metric, &Metric::ALL)?;
            let mut rule = Rule::of_metric(name, metric);
            rule.threshold = f64::NAN;
            let has =
                |table: Option<&Table>| table.is_some_and(|table| table.contains_key("deviations"));
            if has(file.get(name)) || has(api.get(name)) {
                (rule.scope, rule.window, rule.min_samples) =
                    (vec![Scope::Box], BASELINE_WINDOW, 20);
            }
            for (section, table) in layers(name) {
                adjust(&mut rule, section, table)?;
            }
            if rule.threshold.is_nan() && rule.deviations.is_none() {
                return Err(missing("threshold"));
            }
            all.push(Arc::new(rule));
        }
        Ok(Self { file, api, all })
    }
}

/// Why rules cannot be used. Each is one sentence that names the key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// A text is none of those that there are.
    #[error("{key}: {value} is none of {known}")]
    Choice {
        /// Which key.
        key: String,
        /// What it is.
        value: String,
        /// What it can be.
        known: String,
    },
    /// Something that a rule must say is missing.
    #[error("{key} is missing")]
    Missing {
        /// Which key.
        key: String,
    },
    /// A name is no name.
    #[error("{key}: a name has 1 to 64 of a-z, 0-9 and _")]
    Name {
        /// Which key.
        key: String,
    },
    /// There is no history to compare with.
    #[error(
        "{key}: only mos, packet_loss, jitter and latency of a trunk or the box have a baseline"
    )]
    NoBaseline {
        /// Which key.
        key: String,
    },
    /// There is no such rule.
    #[error("{name}: there is no such rule")]
    NoRule {
        /// Its name.
        name: String,
    },
    /// A table that adjusts a rule of the program has the name of none.
    #[error("{key}: this rule is none of {known}")]
    NotAny {
        /// Which table.
        key: String,
        /// The rules of the program.
        known: String,
    },
    /// Nothing is to be taken back.
    #[error("{name}: the rule is as the configuration has it; to stop it set enabled to false")]
    NotChanged {
        /// Its name.
        name: String,
    },
    /// A number is out of its range.
    #[error("{key}: {value} is not from {low} to {high}")]
    OutOfRange {
        /// Which key.
        key: String,
        /// What it is.
        value: f64,
        /// The least it can be.
        low: f64,
        /// The most it can be.
        high: f64,
    },
    /// A rule of one's own has the name of one of the program's.
    #[error("{key}: a rule of the program has this name; adjust it in [alerts]")]
    Taken {
        /// Which key.
        key: String,
    },
    /// There are more rules than are looked at.
    #[error("alert: more than {max} rules")]
    TooMany {
        /// Most rules.
        max: usize,
    },
    /// Two rules have one name.
    #[error("{key}: another rule has this name")]
    Twice {
        /// Which key.
        key: String,
    },
    /// A value is of another type.
    #[error("{key}: this is not {expected}")]
    Type {
        /// Which key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// There is no such key.
    #[error("{key}: unknown key; known here: {known}")]
    Unknown {
        /// Which key.
        key: String,
        /// Those that there are.
        known: String,
    },
}

/// Takes over what a table says.
fn adjust(rule: &mut Rule, section: &str, table: Option<&Table>) -> Result<(), RuleError> {
    for (name, value) in table.into_iter().flatten() {
        let key = format!("{section}{}.{name}", rule.name);
        let range = rule.metric.range();
        match name.as_str() {
            "enabled" => {
                let flag = value.as_bool();
                rule.enabled = flag.ok_or(RuleError::Type { key, expected: "true or false" })?;
            }
            "metric" => {
                let metric = choice(key.clone(), value, &Metric::ALL)?;
                if metric != rule.metric {
                    let known = name_of(&Metric::ALL, rule.metric).to_owned();
                    let value = value.to_string();
                    return Err(RuleError::Choice { key, value, known });
                }
            }
            "scope" => rule.scope = scopes(&key, value, rule.metric)?,
            "trunk" if value.is_null() => rule.trunk = None,
            "trunk" => rule.trunk = Some(text(key, value)?.to_owned()),
            "comparison" => rule.comparison = choice(key, value, &Comparison::ALL)?,
            "threshold" => rule.threshold = number(key, value, range)?,
            "error_threshold" => rule.error_threshold = Some(number(key, value, range)?),
            "critical_threshold" => rule.critical_threshold = Some(number(key, value, range)?),
            "deviations" if value.is_null() => rule.deviations = None,
            "deviations" => rule.deviations = Some(number(key, value, DEVIATIONS)?),
            "baseline_days" => rule.baseline_days = days(key, value)?,
            "baseline_min_days" => rule.baseline_min_days = days(key, value)?,
            "hysteresis" => rule.hysteresis = number(key, value, (0.0, range.1))?,
            "for_s" => rule.hold = seconds(key, value, (0.0, HOLD_MAX_S))?,
            "clear_for_s" => rule.calm = seconds(key, value, (0.0, HOLD_MAX_S))?,
            "window_s" => rule.window = seconds(key, value, WINDOW_S)?,
            "min_samples" => rule.min_samples = whole(key, value)?,
            "severity" => rule.severity = choice(key, value, &Severity::ALL)?,
            "cooldown_s" => rule.cooldown = seconds(key, value, (0.0, COOLDOWN_MAX_S))?,
            _ => return Err(RuleError::Unknown { key, known: KEYS.join(", ") }),
        }
    }
    if rule.deviations.is_some() {
        let name = &rule.name;
        let key = format!("{section}{name}.deviations");
        let has_history = rule.metric.is_of_media() && rule.metric != Metric::Discard;
        if !has_history
            || !rule.scope.iter().all(|scope| [Scope::Trunk, Scope::Box].contains(scope))
        {
            return Err(RuleError::NoBaseline { key });
        }
    }
    Ok(())
}

/// Takes the name out of a table.
fn take_name(table: &mut Table, section: &str) -> Result<String, RuleError> {
    let key = || if section.is_empty() { "name".to_owned() } else { format!("{section}.name") };
    let name = table.remove("name").ok_or_else(|| RuleError::Missing { key: key() })?;
    let name = text(key(), &name)?.to_owned();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_name) {
        Ok(name)
    } else {
        Err(RuleError::Name { key: key() })
    }
}

/// One scope or a list of them.
fn scopes(key: &str, value: &Value, metric: Metric) -> Result<Vec<Scope>, RuleError> {
    let known: Vec<(&str, Scope)> =
        Scope::ALL.into_iter().filter(|(_, scope)| metric.scopes().contains(scope)).collect();
    let mut scopes = Vec::new();
    for value in value.as_array().map_or_else(|| core::slice::from_ref(value), Vec::as_slice) {
        let scope = choice(key.to_owned(), value, &known)?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return Err(RuleError::Missing { key: key.to_owned() });
    }
    Ok(scopes)
}

fn text(key: String, value: &Value) -> Result<&str, RuleError> {
    value.as_str().ok_or(RuleError::Type { key, expected: "a text" })
}

fn choice<T: Copy>(key: String, value: &Value, known: &[(&str, T)]) -> Result<T, RuleError> {
    let name = text(key.clone(), value)?;
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let known = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        RuleError::Choice { key, value: format!("{name:?}"), known }
    })
}

fn name_of<T: Copy + PartialEq>(known: &[(&'static str, T)], wanted: T) -> &'static str {
    known.iter().find(|(_, value)| *value == wanted).map_or("", |(name, _)| name)
}

fn number(key: String, value: &Value, (low, high): (f64, f64)) -> Result<f64, RuleError> {
    let Some(value) = value.as_f64() else {
        return Err(RuleError::Type { key, expected: "a number" });
    };
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(RuleError::OutOfRange { key, value, low, high })
    }
}

fn seconds(key: String, value: &Value, range: (f64, f64)) -> Result<Duration, RuleError> {
    number(key, value, range).map(Duration::from_secs_f64)
}

fn days(key: String, value: &Value) -> Result<u8, RuleError> {
    let days = value.as_u64().and_then(|days| u8::try_from(days).ok());
    let days = days.filter(|days| (2..=BASELINE_DAYS_MAX).contains(days));
    days.ok_or(RuleError::Type { key, expected: "a whole number from 2 to 60" })
}

fn whole(key: String, value: &Value) -> Result<u64, RuleError> {
    let whole = value.as_u64().filter(|&whole| whole <= SAMPLES_MAX);
    whole.ok_or(RuleError::Type { key, expected: "a whole number from 0 to 1000000" })
}

/// The four thresholds of the API and the rules that they are views on.
const THRESHOLD_RULES: [(&str, &str); 4] = [
    ("mos_min", LOW_MOS),
    ("packet_loss_max", HIGH_PACKET_LOSS),
    ("jitter_max", EXCESSIVE_JITTER),
    ("latency_max", HIGH_LATENCY),
];

/// What a table can say beside its name.
const KEYS: [&str; 19] = [
    "enabled",
    "metric",
    "scope",
    "trunk",
    "comparison",
    "threshold",
    "error_threshold",
    "critical_threshold",
    "deviations",
    "baseline_days",
    "baseline_min_days",
    "hysteresis",
    "for_s",
    "clear_for_s",
    "window_s",
    "min_samples",
    "severity",
    "cooldown_s",
    "name",
];

/// Most rules: every interval of every call passes all of them.
const RULES_MAX: usize = 100;

/// What the value of a rule with a baseline is made of, unless it says.
const BASELINE_WINDOW: Duration = Duration::from_secs(900);
/// Fewer than one is noise, more than twenty never.
const DEVIATIONS: (f64, f64) = (1.0, 20.0);
const BASELINE_DAYS_MAX: u8 = 60;
const NAME_MAX: usize = 64;
const SAMPLES_MAX: u64 = 1_000_000;
const HOLD_MAX_S: f64 = 86_400.0;
const COOLDOWN_MAX_S: f64 = 604_800.0;
/// From two buckets of a window to an hour.
const WINDOW_S: (f64, f64) = (10.0, 3600.0);
