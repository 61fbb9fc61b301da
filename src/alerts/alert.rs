//! An alert as the API, the store and notifications show it, and what happens to one. It decides
//! nothing.

use serde::Serialize;
use serde_json::{Value, json};

use super::rule::{Comparison, Rule, Scope, Severity};
use crate::{store, time::Timestamp};

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// Its number, which grows.
    pub id: u64,
    /// The rule that raised it.
    #[serde(rename = "type")]
    pub rule: String,
    /// How bad it has been at its worst.
    pub severity: Severity,
    /// Where it stands.
    pub state: State,
    /// One sentence.
    pub message: String,
    /// The call that it is about.
    pub call_id: Option<String>,
    /// When it was raised.
    pub timestamp: Timestamp,
    /// When something about it last changed.
    pub updated_time: Timestamp,
    /// When somebody acknowledged it.
    pub acknowledged_time: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_time: Option<Timestamp>,
    /// Where its rule looked.
    pub scope: Scope,
    /// What it is about: a Call-ID, one with a direction, a network, or `box`.
    pub subject: String,
    /// The worst value.
    pub value: f64,
    /// The threshold that was passed.
    pub threshold: f64,
    /// The unit of both; empty where there is none.
    pub unit: &'static str,
    /// What speaks for it.
    pub evidence: Evidence,
}

/// What speaks for an alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The worst value.
    pub value: f64,
    /// The threshold that was passed.
    pub threshold: f64,
    /// On which side of it is bad.
    pub comparison: Comparison,
    /// Beginning of the interval with that value.
    pub interval_start: Timestamp,
    /// End of that interval.
    pub interval_end: Timestamp,
    /// What that value is made of: packets, intervals or calls.
    pub samples: u64,
    /// The worst calls when it was raised, the worst one first.
    pub worst_calls: Vec<WorstCall>,
    /// The request of the API that shows them.
    pub query: String,
    /// Why it is resolved.
    pub resolution: Option<String>,
}

/// A call that speaks for an alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorstCall {
    /// Its Call-ID.
    pub call_id: String,
    /// Its value, if that is a matter of a single call.
    pub value: Option<f64>,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is bad, not yet for long enough.
    Pending,
    /// It is bad.
    Firing,
    /// It is bad, and somebody knows.
    Acknowledged,
    /// It is good again, or over.
    Resolved,
}

impl State {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("pending", Self::Pending),
        ("firing", Self::Firing),
        ("acknowledged", Self::Acknowledged),
        ("resolved", Self::Resolved),
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// Something that happened to an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertEvent {
    /// What.
    pub change: Change,
    /// The alert after it.
    pub alert: Alert,
}

/// What can happen to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was raised.
    Fired,
    /// It has become more severe.
    Updated,
    /// Somebody knows of it.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl Change {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Updated => "updated",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl Alert {
    /// The alert as the store keeps it.
    #[must_use]
    pub fn to_row(&self) -> store::Alert {
        let evidence = json!({
            "scope": self.scope,
            "subject": self.subject,
            "acknowledged_time": self.acknowledged_time,
            "unit": self.unit,
            "evidence": self.evidence,
        });
        store::Alert {
            id: self.id,
            kind: self.rule.clone(),
            severity: self.severity.name().to_owned(),
            state: self.state.name().to_owned(),
            raised_at: self.timestamp,
            updated_at: self.updated_time,
            resolved_at: self.resolved_time,
            call_id: self.call_id.clone(),
            message: self.message.clone(),
            evidence: evidence.to_string(),
        }
    }

    /// An alert that the store kept; `None` if this is none of ours.
    #[must_use]
    pub fn of_row(row: &store::Alert) -> Option<Self> {
        let kept: Value = serde_json::from_str(&row.evidence).ok()?;
        let proof = kept.get("evidence")?;
        let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let call = |call: &Value| {
            Some(WorstCall { call_id: text(call.get("call_id")?)?, value: call["value"].as_f64() })
        };
        let evidence = Evidence {
            value: proof.get("value")?.as_f64()?,
            threshold: proof.get("threshold")?.as_f64()?,
            comparison: named(&Comparison::ALL, proof.get("comparison")?.as_str()?)?,
            interval_start: time(proof.get("interval_start")?)?,
            interval_end: time(proof.get("interval_end")?)?,
            samples: proof.get("samples")?.as_u64()?,
            worst_calls: proof.get("worst_calls")?.as_array()?.iter().filter_map(call).collect(),
            query: text(proof.get("query")?)?,
            resolution: proof.get("resolution").and_then(text),
        };
        let unit = kept.get("unit")?.as_str()?;
        Some(Self {
            id: row.id,
            rule: row.kind.clone(),
            severity: named(&Severity::ALL, &row.severity)?,
            state: named(&State::ALL, &row.state)?,
            message: row.message.clone(),
            call_id: row.call_id.clone(),
            timestamp: row.raised_at,
            updated_time: row.updated_at,
            acknowledged_time: kept.get("acknowledged_time").and_then(time),
            resolved_time: row.resolved_at,
            scope: named(&Scope::ALL, kept.get("scope")?.as_str()?)?,
            subject: text(kept.get("subject")?)?,
            value: evidence.value,
            threshold: evidence.threshold,
            unit: UNITS.into_iter().find(|known| *known == unit)?,
            evidence,
        })
    }

    /// Takes in a value that is as bad or worse; whether this has made it more severe.
    pub(super) fn see(&mut self, rule: &Rule, seen: &Seen) -> bool {
        let worse = rule.comparison.worse(self.value, seen.value);
        if worse.total_cmp(&self.value).is_eq() {
            return false;
        }
        self.value = worse;
        self.evidence.value = worse;
        self.evidence.samples = seen.samples;
        self.evidence.interval_start = seen.since;
        self.evidence.interval_end = seen.at;
        let severity = self.severity.max(rule.severity_of(worse));
        let has_risen = severity > self.severity;
        self.severity = severity;
        has_risen
    }
}

/// A value that a rule judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) value: f64,
    pub(super) samples: u64,
    pub(super) since: Timestamp,
    pub(super) at: Timestamp,
}

/// What has a name.
pub(super) fn named<T: Copy>(known: &[(&str, T)], name: &str) -> Option<T> {
    known.iter().find(|(known, _)| *known == name).map(|&(_, value)| value)
}

/// Units of all metrics.
const UNITS: [&str; 3] = ["", "percent", "ms"];
