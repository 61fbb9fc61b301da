//! Alerts over HTTP: the list, acknowledging and clearing, the four thresholds, all rules. What a
//! request changes is checked whole before any of it is in force; nothing is judged here.

use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    history,
    query::{COUNT_MAX, Query, bad},
    reply::Reply,
};
use crate::{
    alerts::{Alert, Alerts, Asked, Rule, RuleError, Rules, Severity, State, Table},
    time::Timestamp,
};

/// The parameters of the list.
pub(super) const PARAMETERS: &[&str] =
    &["limit", "before", "state", "severity", "type", "call_id", "all"];

/// The body of `/api/qos/alerts`.
#[derive(Serialize)]
struct List {
    count: usize,
    /// Raised since the list was last cleared.
    total: u64,
    /// Firing or acknowledged.
    open: usize,
    /// Not raised because too many were open.
    suppressed: u64,
    alerts: Vec<Alert>,
    /// What `before` must be for the next page; `null` on the last one.
    next: Option<u64>,
}

/// A page of alerts, newest first.
pub(super) fn list(query: &Query, limit: usize, alerts: &Alerts) -> Result<Reply, Reply> {
    let before = query.count("before", COUNT_MAX, COUNT_MAX)?;
    let asked = Asked {
        state: named(query, "state", &State::ALL)?,
        severity: named(query, "severity", &SEVERITIES)?,
        rule: query.get("type").map(str::to_owned),
        call_id: query.get("call_id").map(str::to_owned),
        before: Some(before as u64),
        all: named(query, "all", &[("true", true), ("false", false)])?.unwrap_or(false),
        // One more tells whether there is a next page.
        limit: limit + 1,
    };
    let mut found = alerts.list(&asked).map_err(|error| history::unavailable(&error))?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|alert| alert.id);
    let figures = alerts.figures();
    Ok(Reply::json(&List {
        count: found.len(),
        total: figures.total,
        open: figures.open,
        suppressed: figures.suppressed,
        alerts: found,
        next,
    }))
}

/// Takes note that somebody knows of an alert.
pub(super) fn acknowledge(id: &str, alerts: &Alerts, now: Timestamp) -> Result<Reply, Reply> {
    let found = id.parse().ok().and_then(|id| alerts.acknowledge(id, now));
    let none = || Reply::error(404, &format!("no open alert has the id {id:?}"));
    let alert = found.ok_or_else(none)?;
    let message = format!("alert {id} is acknowledged");
    Ok(Reply::json(&json!({"success": true, "message": message, "alert": alert})))
}

/// Resolves all that is open and begins a new list.
pub(super) fn clear(alerts: &Alerts, now: Timestamp) -> Reply {
    let message = format!("alerts are cleared, {} of them were open", alerts.clear(now));
    Reply::json(&json!({"success": true, "message": message}))
}

/// The four thresholds.
pub(super) fn thresholds(alerts: &Alerts) -> Reply {
    Reply::json(&alerts.rules().thresholds())
}

/// Changes some of the four thresholds.
pub(super) fn set_thresholds(body: &[u8], alerts: &Alerts, now: Timestamp) -> Result<Reply, Reply> {
    let body = object(body)?;
    if body.is_empty() {
        let known = Rules::default().thresholds().into_keys().collect::<Vec<_>>().join(", ");
        return Err(Reply::error(400, &format!("nothing to set; known here: {known}")));
    }
    let change = |rules: &Rules| rules.with_thresholds(&body).map(|rules| (rules, ()));
    alerts.change(now, change).map_err(|error| refused(&error))?;
    let thresholds = alerts.rules().thresholds();
    let message = "the thresholds are in force";
    Ok(Reply::json(&json!({"success": true, "message": message, "thresholds": thresholds})))
}

/// All rules.
pub(super) fn rules(alerts: &Alerts) -> Reply {
    let rules = alerts.rules();
    let rules: Vec<&Rule> = rules.iter().map(AsRef::as_ref).collect();
    Reply::json(&json!({"count": rules.len(), "rules": rules}))
}

/// Makes a rule or adjusts one.
pub(super) fn set_rule(body: &[u8], alerts: &Alerts, now: Timestamp) -> Result<Reply, Reply> {
    let body = object(body)?;
    let name = alerts.change(now, |rules| rules.with(body)).map_err(|error| refused(&error))?;
    let rules = alerts.rules();
    let rule: Option<&Rule> = rules.get(&name).map(AsRef::as_ref);
    let message = format!("the rule {name} is in force");
    Ok(Reply::json(&json!({"success": true, "message": message, "rule": rule})))
}

/// Takes away a rule that the API made, or what it changed about one.
pub(super) fn remove_rule(encoded: &str, alerts: &Alerts, now: Timestamp) -> Result<Reply, Reply> {
    let name = percent_decode_str(encoded).decode_utf8_lossy();
    let change = |rules: &Rules| rules.without(&name).map(|rules| (rules, ()));
    alerts.change(now, change).map_err(|error| refused(&error))?;
    let message = match alerts.rules().get(&name) {
        Some(_) => format!("the rule {name} is as the configuration has it"),
        None => format!("the rule {name} is gone"),
    };
    Ok(Reply::json(&json!({"success": true, "message": message})))
}

/// A body that is one JSON object, whatever type it claims to be: `curl -d` calls it a form.
fn object(body: &[u8]) -> Result<Table, Reply> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Reply::error(400, "the body is not a JSON object")),
        Err(error) => Err(Reply::error(400, &format!("the body is not JSON: {error}"))),
    }
}

fn refused(error: &RuleError) -> Reply {
    let is_nothing = matches!(error, RuleError::NoRule { .. } | RuleError::NotChanged { .. });
    let status = if is_nothing { 404 } else { 400 };
    Reply::error(status, &error.to_string())
}

fn named<T: Copy>(
    query: &Query,
    name: &str,
    known: &[(&'static str, T)],
) -> Result<Option<T>, Reply> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let found = known.iter().find(|(known, _)| *known == text);
    found.map(|&(_, value)| Some(value)).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        bad(name, text, &format!("one of {}", known.join(", ")))
    })
}

const SEVERITIES: [(&str, Severity); 4] = Severity::ALL;
