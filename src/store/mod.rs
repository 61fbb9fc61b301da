//! History that survives: finished calls, what phones said of them, alerts and trends in an
//! embedded database.
//!
//! ```text
//! control ──▶ queue ──▶ writer ──▶ backlog ──▶ history.db
//!             never     one        what is     facts, records,
//!             waits     thread     not yet     alerts, rollups
//!                         │        written          │
//!                         ▼           │             │
//!                      catalog ◀──────┴─────────────┘ at the start
//!                      facts in memory: every filter and order ──▶ readers
//! ```
//!
//! Nothing here makes control wait. A call is seen as soon as the writer knows it, on disk within
//! two seconds of its end, and in memory until it is. It never measures and never judges a call.

mod alerts;
mod backlog;
mod catalog;
mod dictionary;
mod entry;
mod export;
mod filter;
mod histogram;
mod load;
mod pack;
mod queue;
mod reader;
mod reports;
mod retention;
mod rollup;
mod schema;
pub mod settings;
mod status;
mod trends;
mod varint;
mod writer;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

pub use self::{
    alerts::{Alert, AlertFilter},
    entry::Facts,
    export::{Export, Format},
    filter::{Cursor, CursorError, Filter, Key, Network, NetworkError, Page},
    histogram::Histogram,
    reader::{Listed, ReadError, Reader, Stored, page_of},
    rollup::{By, Metric, Rollup},
    schema::OpenError,
    settings::Settings,
    status::{State, Status},
    trends::{Asked, Series},
};
use self::{
    backlog::Backlog,
    catalog::Catalog,
    queue::{Item, Queue},
    writer::Writer,
};
use crate::{
    control::{ladder::Ladder, phone_reports::PhoneView, record::CallRecord},
    time::Timestamp,
};

/// How the store is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database file.
    pub path: PathBuf,
    /// How much is kept.
    pub settings: Settings,
    /// What tells the time.
    pub clock: fn() -> Timestamp,
}

/// The running store. Dropping it writes what waits.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// A handle for control, to put things in with. Cloning it gives another one.
#[derive(Clone, Debug)]
pub struct Feeder(Arc<Shared>);

impl Store {
    /// Opens or makes the database and starts to write to it. A disk that refuses now does not
    /// keep it from starting: calls wait in memory.
    ///
    /// # Errors
    /// The file is of a newer program or not ours, or the system refuses a thread.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let db = schema::open(&options.path);
        let db = match db {
            Err(error) if !error.may_pass() => return Err(StartError::Open(error)),
            db => db,
        };
        let shared = Arc::new(Shared {
            path: options.path,
            clock: options.clock,
            queue: Queue::default(),
            backlog: Mutex::default(),
            catalog: RwLock::default(),
            readers: Mutex::default(),
            condition: Mutex::default(),
            dropped: AtomicU64::new(0),
            is_loaded: AtomicBool::new(false),
            settings: Mutex::new(options.settings),
            is_stopping: AtomicBool::new(false),
        });
        let writer = Writer::new(Arc::clone(&shared), db);
        let thread = thread::Builder::new().name("store".to_owned());
        let writer = thread.spawn(move || writer.run()).map_err(StartError::Thread)?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// A handle to put things in with.
    #[must_use]
    pub fn feeder(&self) -> Feeder {
        Feeder(Arc::clone(&self.shared))
    }

    /// A handle to read with.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// Writes what waits, as far as it can be written, and stops.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Relaxed);
        self.shared.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's thread has panicked");
        }
    }
}

impl Feeder {
    /// A call has finished. Never waits.
    pub fn call(&self, record: Arc<CallRecord>) {
        self.call_with_ladder(record, None);
    }

    /// The same with its messages.
    pub fn call_with_ladder(&self, record: Arc<CallRecord>, ladder: Option<Ladder>) {
        self.0.queue.push(Item::Call(record, ladder.map(Box::new)));
    }

    /// A phone has said something of the call of that [name](crate::control::phone_reports::name).
    /// Never waits.
    pub fn report(&self, call: Arc<str>, report: Arc<PhoneView>) {
        self.0.queue.push(Item::Report(call, report));
    }

    /// A text that is kept under a name, in place of what was there. Never waits.
    pub fn text(&self, name: &'static str, text: String) {
        self.0.queue.push(Item::Text(name, text));
    }

    /// From now on keeps as much as these settings say.
    pub fn keep(&self, settings: Settings) {
        *self.0.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// An alert was raised, or something about it has changed. Never waits.
    pub fn alert(&self, alert: Alert) {
        self.0.queue.push(Item::Alert(alert));
    }
}

/// Why the store cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database is not to be used.
    #[error(transparent)]
    Open(OpenError),
    /// The system refuses a thread.
    #[error("the system refuses: {0}")]
    Thread(std::io::Error),
}

/// What the writer and all readers have in common.
struct Shared {
    path: PathBuf,
    clock: fn() -> Timestamp,
    queue: Queue,
    backlog: Mutex<Backlog>,
    catalog: RwLock<Catalog>,
    /// Connections that nobody reads with now.
    readers: Mutex<Vec<Connection>>,
    condition: Mutex<(State, Option<String>)>,
    dropped: AtomicU64,
    /// Whether the catalog has all calls.
    is_loaded: AtomicBool,
    /// How much is kept.
    settings: Mutex<Settings>,
    is_stopping: AtomicBool,
}

impl Shared {
    fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the database can do, and what it said.
    fn state(&self) -> (State, Option<String>) {
        let known = self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known.0 {
            State::Ok if !self.is_loaded.load(Relaxed) => (State::Loading, known.1),
            _ => known,
        }
    }

    fn is_writing(&self) -> bool {
        self.state().0.is_writing()
    }

    /// Takes note of what the database can do, and tells the log when that changes.
    fn set_state(&self, state: State, error: Option<String>) {
        let mut known = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != state {
            match &error {
                Some(error) => tracing::error!(error, "the history is not written"),
                None => tracing::info!("the history is written again"),
            }
        }
        *known = (state, error);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}
