//! What is too old or too much goes, a little at a time, so that nothing waits for it. It never
//! touches what is still to be kept.

use rusqlite::{Connection, TransactionBehavior};

use super::{
    rollup::minute,
    schema::{from_sql, to_sql},
    settings::Settings,
};
use crate::time::Timestamp;

/// Deletes a little, if there is anything to delete. Gives the numbers of the calls that have
/// gone; `None` if nothing is left to be done. `calls` is how many there are.
pub(super) fn step(
    db: &mut Connection,
    settings: &Settings,
    calls: u64,
    now: Timestamp,
) -> rusqlite::Result<Option<Vec<u64>>> {
    let gone = delete_calls(db, settings, calls, now)?;
    if !gone.is_empty() {
        return Ok(Some(gone));
    }
    let has_more = delete_alerts(db, now - settings.retention)?
        || delete_reports(db, settings, now)?
        || delete_rollups(db, now - settings.rollups)?
        || give_back(db)?;
    if !has_more {
        // The file itself shrinks when the write-ahead log is taken over.
        db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(has_more.then(Vec::new))
}

fn delete_calls(
    db: &mut Connection,
    settings: &Settings,
    calls: u64,
    now: Timestamp,
) -> rusqlite::Result<Vec<u64>> {
    let too_many = calls.saturating_sub(settings.calls_max);
    let oldest_kept = to_sql((now - settings.retention).as_nanos());
    let all = db.transaction_with_behavior(TransactionBehavior::Deferred)?;
    // In the order in which they ended.
    let mut ids: Vec<i64> = Vec::new();
    {
        let mut select = all.prepare_cached("SELECT id, end_ns FROM calls ORDER BY id LIMIT ?1")?;
        let mut rows = select.query([STEP])?;
        while let Some(row) = rows.next()? {
            if ids.len() as u64 >= too_many && row.get::<_, i64>(1)? >= oldest_kept {
                break;
            }
            ids.push(row.get(0)?);
        }
    }
    if let Some(last) = ids.last() {
        all.prepare_cached("DELETE FROM calls WHERE id <= ?1")?.execute([last])?;
        all.prepare_cached("DELETE FROM records WHERE id <= ?1")?.execute([last])?;
    }
    all.commit()?;
    Ok(ids.into_iter().map(from_sql).collect())
}

/// Alerts stay until they are resolved.
fn delete_alerts(db: &Connection, before: Timestamp) -> rusqlite::Result<bool> {
    let mut delete = db.prepare_cached(
        "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts \
         WHERE state = 'resolved' AND resolved_ns < ?1 ORDER BY id LIMIT ?2)",
    )?;
    Ok(delete.execute([to_sql(before.as_nanos()), STEP])? > 0)
}

/// Reports of phones stay as long as calls, and are as many at most: the oldest go first.
fn delete_reports(db: &Connection, settings: &Settings, now: Timestamp) -> rusqlite::Result<bool> {
    let mut select = db.prepare_cached(
        "SELECT max(id) FROM (SELECT id, at_ns FROM phone_reports ORDER BY id LIMIT ?3) \
         WHERE at_ns < ?1 OR id <= (SELECT max(id) FROM phone_reports) - ?2",
    )?;
    let before = to_sql((now - settings.retention).as_nanos());
    let last = select.query_row([before, to_sql(settings.calls_max), STEP], |row| row.get(0))?;
    let Some(last): Option<i64> = last else { return Ok(false) };
    db.prepare_cached("DELETE FROM phone_reports WHERE id <= ?1")?.execute([last])?;
    Ok(true)
}

fn delete_rollups(db: &Connection, before: Timestamp) -> rusqlite::Result<bool> {
    let before = minute(before);
    for (table, before, step) in
        [("rollup_minutes", before, ROLLUP_MINUTES), ("rollup_hours", before / 60, 1)]
    {
        let first = format!("SELECT min(at) FROM {table}");
        let first: Option<i64> = db.prepare_cached(&first)?.query_row([], |row| row.get(0))?;
        let Some(first) = first.filter(|&first| from_sql(first) < before) else { continue };
        let to = (first + step).min(to_sql(before));
        db.prepare_cached(&format!("DELETE FROM {table} WHERE at < ?1"))?.execute([to])?;
        return Ok(true);
    }
    Ok(false)
}

/// Gives room back to the disk where there is much of it that is not used.
fn give_back(db: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let (free, all) = (number("PRAGMA freelist_count")?, number("PRAGMA page_count")?);
    if free <= (all / KEPT_SHARE).max(PAGES_KEPT) {
        return Ok(false);
    }
    let mut vacuum = db.prepare("PRAGMA incremental_vacuum(256)")?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    // A database that cannot shrink must not be tried for ever.
    Ok(number("PRAGMA freelist_count")? < free)
}

/// Calls or alerts that go at once: some milliseconds.
const STEP: i64 = 500;

/// Minutes of rollups that go at once.
const ROLLUP_MINUTES: i64 = 10;

/// Room that may stay unused: the 16th part, or 1 MiB. New calls take it.
const KEPT_SHARE: i64 = 16;
const PAGES_KEPT: i64 = 256;
