//! What phones say of their calls, as rows: each report is one, whether its call is up, over or
//! unknown. It knows no call.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{entry, pack, schema::to_sql};
use crate::{
    control::phone_reports::{PhoneView, REPORTS_PER_CALL_MAX},
    time::Timestamp,
};

/// A report, ready to be written.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// What names its call.
    pub(super) call: Arc<str>,
    pub(super) at: Timestamp,
    /// As the API shows it, packed JSON.
    packed: Vec<u8>,
}

impl Report {
    pub(super) fn of(call: Arc<str>, report: &PhoneView) -> Self {
        Self { call, at: report.time, packed: pack::pack(&entry::text(report)) }
    }

    /// As the API shows it.
    pub(super) fn text(&self) -> Option<String> {
        text(&self.packed)
    }
}

pub(super) fn write(db: &Connection, report: &Report) -> rusqlite::Result<()> {
    let insert = "INSERT INTO phone_reports (call, at_ns, report) VALUES (?1, ?2, ?3)";
    let at_ns = to_sql(report.at.as_nanos());
    db.prepare_cached(insert)?.execute(params![report.call, at_ns, report.packed])?;
    Ok(())
}

/// The last reports of a call, oldest first.
pub(super) fn list(db: &Connection, call: &str) -> rusqlite::Result<Vec<String>> {
    let select = "SELECT report FROM phone_reports WHERE call = ?1 ORDER BY id DESC LIMIT ?2";
    let mut select = db.prepare_cached(select)?;
    let last = params![call, to_sql(REPORTS_PER_CALL_MAX as u64)];
    let rows = select.query_map(last, |row| Ok(text(row.get_ref(0)?.as_blob()?)))?;
    let mut reports: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    reports.reverse();
    Ok(reports.into_iter().flatten().collect())
}

fn text(packed: &[u8]) -> Option<String> {
    String::from_utf8(pack::unpack(packed)?).ok()
}
