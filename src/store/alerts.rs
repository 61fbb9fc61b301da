//! Alerts as rows: what the alert engine says of one is kept through its life, the last word wins.
//! It knows no rule.

use rusqlite::{Connection, Row, params};

use super::schema::{from_sql, to_sql};
use crate::time::Timestamp;

/// An alert. Who raises it gives it a number, which grows, and says all of it again whenever
/// something about it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// Its number.
    pub id: u64,
    /// What it is about, such as `high_packet_loss`.
    pub kind: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// `pending`, `firing`, `acknowledged` or `resolved`.
    pub state: String,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// When something about it last changed.
    pub updated_at: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// The call that it is about; that call passes `has_alert`.
    pub call_id: Option<String>,
    /// One sentence.
    pub message: String,
    /// What speaks for it, a JSON object.
    pub evidence: String,
}

/// Which alerts; what is `None` lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// In this state.
    pub state: Option<String>,
    /// About this call.
    pub call_id: Option<String>,
    /// With a lower number: the page after one that ended there.
    pub before: Option<u64>,
    /// Most of them.
    pub limit: usize,
}

impl AlertFilter {
    /// Whether an alert is one of them, the limit aside.
    pub(super) fn lets_through(&self, alert: &Alert) -> bool {
        self.state.as_ref().is_none_or(|state| *state == alert.state)
            && self.call_id.as_ref().is_none_or(|id| Some(id) == alert.call_id.as_ref())
            && self.before.is_none_or(|before| alert.id < before)
    }
}

/// Writes an alert over what it was. Gives the numbers of the calls that it is about.
pub(super) fn write(db: &Connection, alert: &Alert) -> rusqlite::Result<Vec<u64>> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO alerts (id, type, severity, state, raised_ns, updated_ns, \
         resolved_ns, call_id, message, evidence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let nanos = |time: Timestamp| to_sql(time.as_nanos());
    insert.execute(params![
        to_sql(alert.id),
        alert.kind,
        alert.severity,
        alert.state,
        nanos(alert.raised_at),
        nanos(alert.updated_at),
        alert.resolved_at.map(nanos),
        alert.call_id,
        alert.message,
        alert.evidence,
    ])?;
    let Some(call_id) = &alert.call_id else { return Ok(Vec::new()) };
    let mut mark = db.prepare_cached(
        "UPDATE calls SET has_alert = 1 WHERE call_id = ?1 AND has_alert = 0 RETURNING id",
    )?;
    mark.query_map([call_id], |row| row.get(0).map(from_sql))?.collect()
}

/// Alerts, newest first.
pub(super) fn list(db: &Connection, filter: &AlertFilter) -> rusqlite::Result<Vec<Alert>> {
    let mut select = db.prepare_cached(
        "SELECT id, type, severity, state, raised_ns, updated_ns, resolved_ns, call_id, message, \
         evidence FROM alerts WHERE id < ?1 AND (?2 IS NULL OR state = ?2) \
         AND (?3 IS NULL OR call_id = ?3) ORDER BY id DESC LIMIT ?4",
    )?;
    let before = filter.before.map_or(i64::MAX, to_sql);
    let limit = to_sql(filter.limit as u64);
    select.query_map(params![before, filter.state, filter.call_id, limit], read)?.collect()
}

/// The highest number so far; 0 without any.
pub(super) fn last_id(db: &Connection) -> rusqlite::Result<u64> {
    db.query_row("SELECT ifnull(max(id), 0) FROM alerts", [], |row| row.get(0).map(from_sql))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let time = |nanos| Timestamp::from_nanos(from_sql(nanos));
    Ok(Alert {
        id: from_sql(row.get(0)?),
        kind: row.get(1)?,
        severity: row.get(2)?,
        state: row.get(3)?,
        raised_at: time(row.get(4)?),
        updated_at: time(row.get(5)?),
        resolved_at: row.get::<_, Option<i64>>(6)?.map(time),
        call_id: row.get(7)?,
        message: row.get(8)?,
        evidence: row.get(9)?,
    })
}
