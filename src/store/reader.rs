//! The store as its readers see it: lists, single calls, alerts, the store's own state. Reading
//! never waits for writing and changes nothing.

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    Shared,
    alerts::{self, Alert, AlertFilter},
    catalog::Catalog,
    entry::{self, Facts},
    export::{Export, Format},
    filter::{Cursor, Filter, Page},
    pack,
    reports::{self, Report},
    schema::{self, to_sql},
    status::Status,
    trends::{self, Asked, Series},
};
use crate::control::{phone_reports, record::CallRecord};

/// A handle to read with. Cloning it gives another one.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// Calls that the filter lets through.
    pub total: u64,
    /// Those on the page, each a JSON object.
    pub calls: Vec<String>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

/// One call with all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The call, a JSON object.
    pub call: String,
    /// Its timeline, a JSON array.
    pub timeline: String,
    /// Its messages, a JSON object with `ladder` and `ladder_omitted`; `None` where they were not
    /// kept.
    pub ladder: Option<String>,
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the history cannot be read: {0}")]
pub struct ReadError(#[from] rusqlite::Error);

impl Reader {
    /// A page of finished calls.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn page(&self, page: &Page) -> Result<Listed, ReadError> {
        let found = self.shared.catalog().page(page);
        let calls = self.records(&found.ids)?;
        Ok(Listed { total: found.total, calls, next: found.next.map(|rank| page.cursor(rank)) })
    }

    /// The last finished call of that Call-ID.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn call(&self, call_id: &str) -> Result<Option<Stored>, ReadError> {
        let waiting = self.shared.backlog().find(call_id).map(Arc::clone);
        if let Some(entry) = waiting {
            let (timeline, ladder) = (entry.timeline.as_deref(), entry.ladder.as_deref());
            return Ok(stored(&entry.record, timeline, ladder));
        }
        let select = "SELECT record, timeline, ladder FROM records \
                      WHERE id = (SELECT max(id) FROM calls WHERE call_id = ?1)";
        let found = self.with(|db| {
            db.prepare_cached(select)?
                .query_row([call_id], |row| {
                    let (timeline, ladder): (Option<Vec<u8>>, Option<Vec<u8>>) =
                        (row.get(1)?, row.get(2)?);
                    let record = row.get_ref(0)?.as_blob()?;
                    Ok(stored(record, timeline.as_deref(), ladder.as_deref()))
                })
                .optional()
        })?;
        Ok(found.flatten())
    }

    /// What phones have said of the calls of that Call-ID, oldest first, each a JSON object as the
    /// API shows it.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn reports(&self, call_id: &str) -> Result<Vec<String>, ReadError> {
        let call = phone_reports::name(call_id.as_bytes());
        let waiting: Vec<_> = {
            let backlog = self.shared.backlog();
            backlog.reports().iter().filter(|it| *it.call == *call).cloned().collect()
        };
        let mut reports = self.with(|db| reports::list(db, &call))?;
        for report in waiting.iter().filter_map(Report::text) {
            // It may have been written meanwhile.
            if !reports.contains(&report) {
                reports.push(report);
            }
        }
        Ok(reports)
    }

    /// Alerts, the highest number first.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn alerts(&self, filter: &AlertFilter) -> Result<Vec<Alert>, ReadError> {
        // What waits is newer than what is written.
        let waiting: Vec<Alert> = self.shared.backlog().alerts().cloned().collect();
        let written =
            AlertFilter { limit: filter.limit.saturating_add(waiting.len()), ..filter.clone() };
        let mut alerts = self.with(|db| alerts::list(db, &written))?;
        alerts.retain(|alert| waiting.iter().all(|newer| newer.id != alert.id));
        alerts.extend(waiting.into_iter().filter(|alert| filter.lets_through(alert)));
        alerts.sort_by_key(|alert| core::cmp::Reverse(alert.id));
        alerts.truncate(filter.limit);
        Ok(alerts)
    }

    /// The highest number that an alert has; 0 without any.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn last_alert_id(&self) -> Result<u64, ReadError> {
        let waiting = self.shared.backlog().alerts().next_back().map_or(0, |alert| alert.id);
        Ok(self.with(alerts::last_id)?.max(waiting))
    }

    /// How many alerts have a higher number than this one.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn alerts_after(&self, id: u64) -> Result<u64, ReadError> {
        let count = "SELECT count(*) FROM alerts WHERE id > ?1";
        self.with(|db| db.query_row(count, [to_sql(id)], |row| row.get(0).map(schema::from_sql)))
    }

    /// The text that is kept under a name.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn text(&self, name: &str) -> Result<Option<String>, ReadError> {
        if let Some(text) = self.shared.backlog().texts().get(name) {
            return Ok(Some(text.clone()));
        }
        let select = "SELECT text FROM texts WHERE name = ?1";
        self.with(|db| db.query_row(select, [name], |row| row.get(0)).optional())
    }

    /// What calls add up to over time.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn trends(&self, asked: &Asked) -> Result<Vec<Series>, ReadError> {
        self.with(|db| trends::read(db, asked))
    }

    /// All calls that a filter lets through, the last ended first, as a text to be read piece by
    /// piece.
    #[must_use]
    pub fn export(&self, filter: Filter, format: Format) -> Export {
        Export::new(self.clone(), filter, format)
    }

    /// Whether finished calls reach the disk.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.shared.is_writing()
    }

    /// How the store is.
    #[must_use]
    pub fn status(&self) -> Status {
        let (state, error) = self.shared.state();
        let calls = self.shared.catalog().len();
        let backlog = self.shared.backlog();
        let lag = backlog.since().map(|since| (self.shared.clock)().since(since));
        Status {
            state,
            calls,
            pending: backlog.len() as u64,
            dropped: self.shared.dropped.load(Relaxed),
            lag_ms: lag.map_or(0, |lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
            error,
        }
    }

    /// About how many bytes the catalog takes.
    #[must_use]
    pub fn catalog_bytes(&self) -> usize {
        self.shared.catalog().size()
    }

    /// The next calls of an export after one; empty at the end.
    pub(super) fn some(&self, filter: &Filter, after: Option<u64>) -> Vec<u64> {
        self.shared.catalog().some(filter, after)
    }

    /// The records of calls by their numbers; those that have gone meanwhile are left out.
    pub(super) fn records(&self, ids: &[u64]) -> Result<Vec<String>, ReadError> {
        let waiting: Vec<_> = {
            let backlog = self.shared.backlog();
            ids.iter().map(|&id| backlog.get(id).cloned()).collect()
        };
        if waiting.iter().all(Option::is_some) {
            return Ok(waiting.iter().flatten().filter_map(|entry| text(&entry.record)).collect());
        }
        self.with(|db| {
            let mut select = db.prepare_cached("SELECT record FROM records WHERE id = ?1")?;
            let mut records = Vec::with_capacity(ids.len());
            for (&id, waiting) in ids.iter().zip(&waiting) {
                let record = match waiting {
                    Some(entry) => text(&entry.record),
                    None => select
                        .query_row([to_sql(id)], |row| Ok(text(row.get_ref(0)?.as_blob()?)))
                        .optional()?
                        .flatten(),
                };
                records.extend(record);
            }
            Ok(records)
        })
    }

    /// Reads with a connection of its own.
    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        let idle = || self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = idle().pop();
        let db = match known {
            Some(db) => db,
            None => schema::open_to_read(&self.shared.path)?,
        };
        // One that has failed is not used again.
        let result = read(&db)?;
        let mut idle = idle();
        if idle.len() < IDLE_MAX {
            idle.push(db);
        }
        Ok(result)
    }
}

/// A page of calls that are all in memory, oldest first, by the rules of the store.
#[must_use]
pub fn page_of(records: &[Arc<CallRecord>], page: &Page) -> Listed {
    let mut catalog = Catalog::default();
    for (id, record) in (0..).zip(records) {
        catalog.insert(id, &Facts::of(record));
    }
    let found = catalog.page(page);
    let record = |&id: &u64| records.get(usize::try_from(id).ok()?);
    let json = |record: &Arc<CallRecord>| String::from_utf8(entry::text(&**record)).ok();
    Listed {
        total: found.total,
        calls: found.ids.iter().filter_map(record).filter_map(json).collect(),
        next: found.next.map(|rank| page.cursor(rank)),
    }
}

fn stored(record: &[u8], timeline: Option<&[u8]>, ladder: Option<&[u8]>) -> Option<Stored> {
    let timeline = timeline.map_or_else(|| Some("[]".to_owned()), text)?;
    Some(Stored { call: text(record)?, timeline, ladder: ladder.and_then(text) })
}

fn text(packed: &[u8]) -> Option<String> {
    String::from_utf8(pack::unpack(packed)?).ok()
}

/// Connections that are kept for the next one to read: as many as threads that answer.
const IDLE_MAX: usize = 4;
