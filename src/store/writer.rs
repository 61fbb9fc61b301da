//! The one thread that writes to the database: takes from the queue, commits in batches, tries
//! again what fails, lets what is too old go. It never keeps control waiting.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{
    Shared,
    alerts::{self, Alert},
    backlog::Backlog,
    entry::Entry,
    load,
    queue::{Item, Taken},
    reports::{self, Report},
    retention, rollup,
    schema::{self, OpenError, from_sql, to_sql},
    status::State,
};
use crate::time::Timestamp;

/// What the thread has.
pub(super) struct Writer {
    shared: Arc<Shared>,
    db: Option<Connection>,
    next_id: u64,
    committed_at: Timestamp,
    /// After a failure: not before this.
    retry_at: Timestamp,
    kept_house_at: Timestamp,
    /// Call-IDs that alerts have named and that may not have ended yet.
    alerted: HashSet<String, foldhash::quality::RandomState>,
    loader: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// A writer of the database, open or still to be opened.
    pub(super) fn new(shared: Arc<Shared>, db: Result<Connection, OpenError>) -> Self {
        let now = (shared.clock)();
        let mut writer = Self {
            // Without the database nobody knows its numbers; those of the clock are higher.
            next_id: now.as_nanos() / 1_000_000,
            shared,
            db: None,
            committed_at: now,
            retry_at: now,
            kept_house_at: now,
            alerted: HashSet::default(),
            loader: None,
        };
        writer.opened(db, true);
        writer
    }

    /// Runs until the queue is closed and all of it is written, or cannot be.
    pub(super) fn run(mut self) {
        let mut is_busy = false;
        loop {
            let patience = if is_busy { Duration::ZERO } else { TURN };
            let taken = self.shared.queue.take(patience);
            let is_closed = taken.is_closed;
            self.take_in(taken);
            let now = (self.shared.clock)();
            if is_closed {
                self.finish(now);
                return;
            }
            let is_due = now.since(self.committed_at) >= COMMIT_INTERVAL
                || self.shared.backlog().calls() >= BATCH_MAX
                // A clock that steps back must not keep anything from being written.
                || now < self.committed_at;
            if is_due && now >= self.retry_at {
                self.commit(now);
            }
            is_busy = self.keep_house(now);
        }
    }

    fn take_in(&mut self, taken: Taken) {
        let mut dropped = taken.dropped;
        for item in taken.items {
            match item {
                Item::Call(record, ladder) => {
                    let mut entry = Entry::of(&record).with_ladder(ladder.as_deref());
                    entry.facts.has_alert = self.alerted.remove(&entry.call_id);
                    let id = self.next_id;
                    self.next_id += 1;
                    let entry = Arc::new(entry);
                    let fallen = self.shared.backlog().push(id, Arc::clone(&entry));
                    let mut catalog = self.shared.catalog_mut();
                    catalog.insert(id, &entry.facts);
                    fallen.iter().for_each(|&id| catalog.remove(id));
                    dropped += fallen.len() as u64;
                }
                Item::Alert(alert) => {
                    self.note(&alert);
                    dropped += self.shared.backlog().push_alert(alert);
                }
                Item::Report(call, report) => {
                    let report = Report::of(call, &report);
                    dropped += self.shared.backlog().push_report(report);
                }
                Item::Text(name, text) => self.shared.backlog().set_text(name, text),
            }
        }
        self.shared.dropped.fetch_add(dropped, Relaxed);
    }

    /// Remembers which call an alert is about, wherever that is now.
    fn note(&mut self, alert: &Alert) {
        let Some(call_id) = &alert.call_id else { return };
        let waiting = self.shared.backlog().ids(call_id);
        let mut catalog = self.shared.catalog_mut();
        waiting.iter().for_each(|&id| catalog.set_alert(id));
        drop(catalog);
        if waiting.is_empty() {
            if self.alerted.len() >= ALERTED_MAX {
                self.alerted.clear();
            }
            self.alerted.insert(call_id.clone());
        }
    }

    /// Writes a batch, or says why not.
    fn commit(&mut self, now: Timestamp) {
        if self.db.is_none() {
            let db = schema::open(&self.shared.path);
            self.opened(db, false);
        }
        let Some(db) = &mut self.db else {
            self.retry_at = now + RETRY_INTERVAL;
            return;
        };
        let batch = Batch::of(&self.shared.backlog());
        // Tried even with nothing to write after a failure: that is how its end is noticed.
        if batch.is_empty() && self.shared.is_writing() {
            self.committed_at = now;
            return;
        }
        match batch.write(db) {
            Ok(named) => {
                let mut backlog = self.shared.backlog();
                backlog.forget(batch.calls.len());
                backlog.forget_alerts();
                backlog.forget_reports(batch.reports.len());
                backlog.forget_texts(&batch.texts);
                drop(backlog);
                let mut catalog = self.shared.catalog_mut();
                named.iter().for_each(|&id| catalog.set_alert(id));
                drop(catalog);
                self.committed_at = now;
                self.shared.set_state(State::Ok, None);
            }
            Err(error) => self.failed(&error, now),
        }
    }

    fn failed(&mut self, error: &rusqlite::Error, now: Timestamp) {
        let state = schema::condition(error);
        if !matches!(state, State::Busy | State::Full) {
            // Whatever it was, a new connection begins anew.
            self.db = None;
        }
        self.shared.set_state(state, Some(error.to_string()));
        self.retry_at = now + RETRY_INTERVAL;
    }

    fn opened(&mut self, db: Result<Connection, OpenError>, is_first: bool) {
        let db = db.and_then(|db| {
            let last = "SELECT ifnull(max(id), 0) FROM calls";
            let last: i64 = db
                .query_row(last, [], |row| row.get(0))
                .map_err(|source| OpenError::Refused { path: self.shared.path.clone(), source })?;
            Ok((db, from_sql(last)))
        });
        match db {
            Ok((db, last)) => {
                if is_first {
                    self.next_id = last + 1;
                } else {
                    self.next_id = self.next_id.max(last + 1);
                }
                self.db = Some(db);
                self.load(last);
            }
            Err(error) => {
                let state = match &error {
                    OpenError::Refused { source, .. } => schema::condition(source),
                    OpenError::Newer { .. } | OpenError::Foreign { .. } => State::Failing,
                };
                self.shared.set_state(state, Some(error.to_string()));
            }
        }
    }

    /// Has the calls that are on disk read, once.
    fn load(&mut self, last: u64) {
        if self.loader.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("store-load".to_owned());
        match thread.spawn(move || load::run(&shared, last)) {
            Ok(loader) => self.loader = Some(loader),
            Err(error) => tracing::warn!(%error, "the history on disk cannot be read yet"),
        }
    }

    /// Takes a small step of what has no hurry; whether there is more of it.
    fn keep_house(&mut self, now: Timestamp) -> bool {
        let is_loaded = self.shared.is_loaded.load(Relaxed);
        let is_due = now.since(self.kept_house_at) >= HOUSE_INTERVAL;
        let Some(db) = self.db.as_mut().filter(|_| is_due && is_loaded) else { return false };
        if !self.shared.is_writing() {
            return false;
        }
        let calls = self.shared.catalog().len();
        let settings = self.shared.settings();
        let step = retention::step(db, &settings, calls, now).and_then(|gone| match gone {
            Some(gone) => Ok((gone, true)),
            None => rollup::make_hour(db, now).map(|has_more| (Vec::new(), has_more)),
        });
        match step {
            Ok((gone, has_more)) => {
                let mut catalog = self.shared.catalog_mut();
                gone.iter().for_each(|&id| catalog.remove(id));
                if !has_more {
                    self.kept_house_at = now;
                }
                has_more
            }
            Err(error) => {
                self.kept_house_at = now;
                self.failed(&error, now);
                false
            }
        }
    }

    /// Writes all that waits, as far as it can be written.
    fn finish(mut self, now: Timestamp) {
        loop {
            let waiting = self.shared.backlog().len();
            if waiting == 0 {
                break;
            }
            self.commit(now);
            if self.shared.backlog().len() >= waiting {
                tracing::error!(waiting, "calls and alerts could not be written and are lost");
                break;
            }
        }
        if let Some(db) = &self.db {
            // Only spares the next start the work.
            let _ = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        if let Some(loader) = self.loader.take() {
            let _ = loader.join();
        }
    }
}

/// What is written at once.
struct Batch {
    calls: Vec<(u64, Arc<Entry>)>,
    alerts: Vec<Alert>,
    reports: Vec<Report>,
    texts: BTreeMap<&'static str, String>,
}

impl Batch {
    /// The oldest that waits.
    fn of(backlog: &Backlog) -> Self {
        Self {
            calls: backlog.oldest(BATCH_MAX),
            alerts: backlog.alerts().cloned().collect(),
            reports: backlog.reports().iter().cloned().collect(),
            texts: backlog.texts().clone(),
        }
    }

    fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.alerts.is_empty()
            && self.reports.is_empty()
            && self.texts.is_empty()
    }

    /// Writes all or nothing. Gives the numbers of calls that alerts have named.
    fn write(&self, db: &mut Connection) -> rusqlite::Result<Vec<u64>> {
        let all = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (id, entry) in &self.calls {
            insert(&all, *id, entry)?;
        }
        rollup::add(&all, self.calls.iter().map(|(_, entry)| &entry.sample))?;
        let mut named = Vec::new();
        for alert in &self.alerts {
            named.extend(alerts::write(&all, alert)?);
        }
        for report in &self.reports {
            reports::write(&all, report)?;
        }
        for (name, text) in &self.texts {
            let set = "INSERT OR REPLACE INTO texts (name, text) VALUES (?1, ?2)";
            all.prepare_cached(set)?.execute(params![name, text])?;
        }
        all.commit()?;
        Ok(named)
    }
}

fn insert(db: &Connection, id: u64, entry: &Entry) -> rusqlite::Result<()> {
    let facts = &entry.facts;
    db.prepare_cached(
        "INSERT OR REPLACE INTO calls (id, call_id, start_ns, end_ns, state, has_alert, mos_milli, \
         loss_milli, jitter_us, duration_ms, codec, user_agent, from_uri, to_uri, source) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        to_sql(id),
        entry.call_id,
        to_sql(facts.start.as_nanos()),
        to_sql(facts.end.as_nanos()),
        if facts.is_answered { "ended" } else { "failed" },
        facts.has_alert,
        facts.mos,
        facts.loss,
        facts.jitter,
        facts.duration,
        facts.codec,
        facts.user_agent,
        facts.from,
        facts.to,
        facts.source.map(|source| source.to_string()),
    ])?;
    let set =
        "INSERT OR REPLACE INTO records (id, record, timeline, ladder) VALUES (?1, ?2, ?3, ?4)";
    let packed = params![to_sql(id), entry.record, entry.timeline, entry.ladder];
    db.prepare_cached(set)?.execute(packed)?;
    Ok(())
}

/// How often the queue is looked at, and the catalog learns of calls.
const TURN: Duration = Duration::from_millis(100);

/// How long a call may wait to be written, by the promise 2 s with the time that it takes.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Calls of one transaction.
const BATCH_MAX: usize = 2000;

/// How soon what failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often what is too old is looked for.
const HOUSE_INTERVAL: Duration = Duration::from_secs(10);

/// Most calls remembered that have an alert and have not ended.
const ALERTED_MAX: usize = 100_000;
