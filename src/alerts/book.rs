//! The alerts that are open and those of the recent past, and what has happened to them. It
//! judges no value.

use std::collections::{BTreeMap, VecDeque};

use super::{
    alert::{Alert, AlertEvent, Change, Evidence, Seen, State, WorstCall},
    rule::{Metric, Rule, Scope},
};
use crate::time::Timestamp;

/// The alerts that are known.
#[derive(Debug)]
pub(super) struct Book {
    next_id: u64,
    open: BTreeMap<u64, Alert>,
    resolved: VecDeque<Alert>,
    events: Vec<AlertEvent>,
    /// Alerts up to this number were cleared away.
    cleared: u64,
    /// Raised since then.
    total: u64,
    /// Not raised because too many were open.
    suppressed: u64,
}

/// What an alert is about.
#[derive(Debug)]
pub(super) struct About {
    pub(super) scope: Scope,
    pub(super) subject: String,
    pub(super) call_id: Option<String>,
    pub(super) worst_calls: Vec<WorstCall>,
    pub(super) query: String,
}

impl Book {
    pub(super) const fn new(next_id: u64) -> Self {
        Self {
            next_id,
            open: BTreeMap::new(),
            resolved: VecDeque::new(),
            events: Vec::new(),
            cleared: 0,
            total: 0,
            suppressed: 0,
        }
    }

    /// What was there before this program started: how many since number `cleared`.
    pub(super) const fn go_on(&mut self, cleared: u64, total: u64) {
        (self.cleared, self.total) = (cleared, total);
    }

    /// An alert that was open before this program started.
    pub(super) fn restore(&mut self, alert: Alert) {
        self.next_id = self.next_id.max(alert.id + 1);
        self.open.insert(alert.id, alert);
    }

    /// Raises an alert; gives its number, or nothing if too many are open.
    pub(super) fn raise(
        &mut self,
        rule: &Rule,
        about: impl FnOnce() -> About,
        seen: &Seen,
    ) -> Option<u64> {
        if self.open.len() >= OPEN_MAX {
            self.suppressed += 1;
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.total += 1;
        let About { scope, subject, call_id, worst_calls, query } = about();
        let alert = Alert {
            id,
            rule: rule.name.clone(),
            severity: rule.severity_of(seen.value),
            state: State::Firing,
            message: message(rule, scope, &subject, seen),
            call_id,
            timestamp: seen.at,
            updated_time: seen.at,
            acknowledged_time: None,
            resolved_time: None,
            scope,
            subject,
            value: seen.value,
            threshold: rule.threshold,
            unit: rule.metric.unit(),
            evidence: Evidence {
                value: seen.value,
                threshold: rule.threshold,
                comparison: rule.comparison,
                interval_start: seen.since,
                interval_end: seen.at,
                samples: seen.samples,
                worst_calls,
                query,
                resolution: None,
            },
        };
        self.events.push(AlertEvent { change: Change::Fired, alert: alert.clone() });
        self.open.insert(id, alert);
        Some(id)
    }

    /// An open alert has another bad value; told only if that makes it more severe.
    pub(super) fn go_on_bad(&mut self, id: u64, rule: &Rule, seen: &Seen) {
        let Some(alert) = self.open.get_mut(&id) else { return };
        if alert.see(rule, seen) {
            alert.updated_time = seen.at;
            alert.message = message(rule, alert.scope, &alert.subject, seen);
            self.events.push(AlertEvent { change: Change::Updated, alert: alert.clone() });
        }
    }

    /// An alert is over.
    pub(super) fn resolve(&mut self, id: u64, now: Timestamp, why: &str) {
        let Some(mut alert) = self.open.remove(&id) else { return };
        alert.state = State::Resolved;
        // A clock may step back; an alert does not end before it began.
        let now = now.max(alert.timestamp);
        (alert.updated_time, alert.resolved_time) = (now, Some(now));
        alert.evidence.resolution = Some(why.to_owned());
        self.events.push(AlertEvent { change: Change::Resolved, alert: alert.clone() });
        if self.resolved.len() >= RESOLVED_MAX {
            self.resolved.pop_front();
        }
        self.resolved.push_back(alert);
    }

    /// Somebody knows of an alert; the alert, if it is open.
    pub(super) fn acknowledge(&mut self, id: u64, now: Timestamp) -> Option<Alert> {
        let alert = self.open.get_mut(&id)?;
        if alert.state == State::Firing {
            alert.state = State::Acknowledged;
            (alert.updated_time, alert.acknowledged_time) = (now, Some(now));
            self.events.push(AlertEvent { change: Change::Acknowledged, alert: alert.clone() });
        }
        Some(alert.clone())
    }

    /// All alerts so far are put away; those that were open must be resolved before.
    pub(super) const fn clear(&mut self) {
        self.cleared = self.next_id - 1;
        self.total = 0;
    }

    /// The numbers of the open alerts.
    pub(super) fn open_ids(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// Alerts that are open or have been of late, the newest first.
    pub(super) fn known(&self) -> Vec<Alert> {
        let mut known: Vec<Alert> = self.open.values().chain(&self.resolved).cloned().collect();
        known.sort_unstable_by_key(|alert| core::cmp::Reverse(alert.id));
        known
    }

    /// What has happened since it was last asked.
    pub(super) fn events(&mut self) -> Vec<AlertEvent> {
        core::mem::take(&mut self.events)
    }

    pub(super) const fn cleared(&self) -> u64 {
        self.cleared
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }
}

/// One sentence.
fn message(rule: &Rule, scope: Scope, subject: &str, seen: &Seen) -> String {
    let whose = match scope {
        Scope::Call => format!("of call {subject}"),
        Scope::Stream => format!("of stream {subject}"),
        Scope::Trunk => format!("of trunk {subject}"),
        Scope::Box => "of the whole box".to_owned(),
    };
    let unit = match rule.metric.unit() {
        "percent" => " %",
        "ms" => " ms",
        _ => "",
    };
    match rule.metric {
        Metric::Condition(condition) => format!("call {subject} has {}", condition.name()),
        Metric::StoreUnavailable => "the history cannot be written".to_owned(),
        Metric::OwnLosses => {
            format!("the appliance itself lost {} datagrams or reports", seen.value)
        }
        metric => format!(
            "{} {whose} is {:.2}{unit}, {} {}{unit}",
            metric.words(),
            seen.value,
            match rule.comparison {
                super::rule::Comparison::Above => "above",
                super::rule::Comparison::Below => "below",
            },
            rule.threshold,
        ),
    }
}

/// Most open alerts: three a call of as many calls as one box holds in its worst hour, about 1 KB
/// each.
const OPEN_MAX: usize = 20_000;

/// Resolved alerts that are shown without asking the store.
const RESOLVED_MAX: usize = 1000;
