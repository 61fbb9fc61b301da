//! The database file: how it is opened, and how an older one becomes the newest. It is never
//! emptied, and one from a newer program is left alone.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::status::State;

/// Why a database cannot be used. Each is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it.
    #[error(
        "{path} is of version {found} and this program knows up to {known}: run the newer one, or \
         move the file away to begin a new history", path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that we know.
        known: i64,
    },
    /// It is no database of ours.
    #[error(
        "{path} is not a history of this program ({reason}): move it away to begin a new one",
        path = .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it has instead.
        reason: String,
    },
    /// The system refuses now, and may not later.
    #[error("{path}: {source}", path = .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Whether another attempt may succeed without anyone touching the file.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// Opens the database for its one writer, makes it if there is none, and brings it up to the
/// newest version.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let refused = |source| classify(path, source);
    let mut db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(refused)?;
    prepare(&db).map_err(refused)?;
    let found = version(&db).map_err(refused)?;
    let known = NEWEST;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    if found == 0 {
        let tables: i64 = db
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(refused)?;
        if tables > 0 {
            let reason = "it has tables and no version".to_owned();
            return Err(OpenError::Foreign { path: path.to_owned(), reason });
        }
    }
    migrate(&mut db, found).map_err(refused)?;
    Ok(db)
}

/// Opens the database for one of its readers.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "query_only", true)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// A number as SQLite keeps it.
pub(super) fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that SQLite kept.
pub(super) fn from_sql(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    // Heeded only while the file is empty: room that is left can be given back in small steps.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // One who writes and many who read do not wait for each other. A commit survives the end of
    // the process; that of the machine may take the last ones, and leaves the file whole.
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))?;
    db.pragma_update(None, "cache_size", CACHE_KIB)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Takes the steps from version `found` to the newest, each whole or not at all.
fn migrate(db: &mut Connection, found: i64) -> rusqlite::Result<()> {
    for (version, step) in (1..).zip(STEPS).filter(|&(version, _)| version > found) {
        let step_taken = Transaction::new(db, TransactionBehavior::Immediate)?;
        step_taken.execute_batch(step)?;
        step_taken.pragma_update(None, "user_version", version)?;
        step_taken.commit()?;
        tracing::info!(version, "the history is of this version now");
    }
    Ok(())
}

fn classify(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Foreign { path, reason: source.to_string() }
        }
        _ => OpenError::Refused { path, source },
    }
}

/// What a failure of the database means for who operates it.
pub(super) fn condition(error: &rusqlite::Error) -> State {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => State::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => State::ReadOnly,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => State::Busy,
        _ => State::Failing,
    }
}

/// What leads from each version to the next; the first makes version 1 of nothing. A step that
/// was released never changes.
const STEPS: [&str; 4] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The version that all steps lead to.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
const NEWEST: i64 = STEPS.len() as i64;

/// How long to wait for who else has the file: a backup may.
const PATIENCE: Duration = Duration::from_millis(250);

/// Most of the write-ahead log that is kept for the next time.
const WAL_KEPT_BYTES: i64 = 16 << 20;

/// Negative: KiB instead of pages.
const CACHE_KIB: i64 = -16_384;
