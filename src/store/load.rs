//! Reads the facts of the calls on disk into the catalog, the newest first, while everything else
//! goes on. It writes nothing.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use rusqlite::Row;

use super::{
    Shared,
    entry::Facts,
    schema::{self, from_sql, to_sql},
};
use crate::time::Timestamp;

/// Reads all calls up to number `last`; comes back when done or when the store stops.
pub(super) fn run(shared: &Arc<Shared>, last: u64) {
    let mut below = last + 1;
    while !shared.is_stopping.load(Relaxed) {
        match read_on(shared, &mut below) {
            Ok(()) => {
                shared.is_loaded.store(true, Relaxed);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the history on disk cannot be read; trying again");
                thread::sleep(RETRY_INTERVAL);
            }
        }
    }
}

/// Reads on below a number until there is nothing more.
fn read_on(shared: &Shared, below: &mut u64) -> rusqlite::Result<()> {
    let db = schema::open_to_read(&shared.path)?;
    let mut select = db.prepare(
        "SELECT id, start_ns, end_ns, state, has_alert, mos_milli, loss_milli, jitter_us, \
         duration_ms, codec, user_agent, from_uri, to_uri, source FROM calls \
         WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    while !shared.is_stopping.load(Relaxed) {
        let block = select.query_map([to_sql(*below), BLOCK], read)?;
        let block = block.collect::<rusqlite::Result<Vec<(u64, Facts)>>>()?;
        let Some(&(lowest, _)) = block.last() else { break };
        let mut catalog = shared.catalog_mut();
        block.iter().for_each(|(id, facts)| catalog.insert(*id, facts));
        *below = lowest;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<(u64, Facts)> {
    let time = |nanos| Timestamp::from_nanos(from_sql(nanos));
    let source = row.get_ref(13)?.as_str().ok().and_then(|source| source.parse().ok());
    let facts = Facts {
        start: time(row.get(1)?),
        end: time(row.get(2)?),
        is_answered: row.get_ref(3)?.as_str() == Ok("ended"),
        has_alert: row.get(4)?,
        mos: row.get(5)?,
        loss: row.get(6)?,
        jitter: row.get(7)?,
        duration: row.get(8)?,
        codec: row.get(9)?,
        user_agent: row.get(10)?,
        from: row.get(11)?,
        to: row.get(12)?,
        source,
    };
    Ok((from_sql(row.get(0)?), facts))
}

/// Calls read at once: short enough to hold up nobody.
const BLOCK: i64 = 4096;

/// How soon a failure is followed by another attempt.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
