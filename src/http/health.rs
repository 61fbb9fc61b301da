//! Whether the appliance is well: its data are fresh and it has not lost any of its own lately.
//!
//! It judges the appliance, never the calls.

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;

use super::{access_log::AccessLogHandle, door::Shared, tokens::Tokens};
use crate::{
    control::record::{ShardHealth, Snapshot},
    notify,
    store::Status,
    time::Timestamp,
};

/// The body of `/healthz`.
#[derive(Debug, Serialize)]
pub(super) struct Health<'a> {
    /// `ok`, or `degraded` for the reasons given.
    pub(super) status: &'static str,
    reasons: Vec<&'static str>,
    version: &'static str,
    start_time: Timestamp,
    uptime_seconds: f64,
    /// When the figures that the API shows were collected.
    snapshot_time: Timestamp,
    active_calls: usize,
    /// Everything that we lost ourselves since start.
    own_drops: u64,
    /// SIP that was over a limit since start: nothing of ours is lost with it.
    shed: u64,
    /// How the history is; `null` without one.
    store: Option<Status>,
    /// How those are who tell of alerts.
    notifiers: Vec<notify::Status>,
    api: ApiHealth,
    shards: &'a [ShardHealth],
}

/// How the API itself is.
#[derive(Debug, Default, Serialize)]
pub(super) struct ApiHealth {
    /// How many tokens open it; `null` where none is needed.
    tokens: Option<usize>,
    /// Why the file of tokens could not be used when it was read last.
    token_file_error: Option<String>,
    /// Clients that listen to live events.
    live_clients: u64,
    /// Such clients that did not keep up.
    live_dropped: u64,
    /// Requests refused: their address had sent too many, or too many wrong tokens.
    limited: u64,
    /// Lines of the access log that were lost; `null` without a log.
    log_lines_lost: Option<u64>,
}

impl ApiHealth {
    pub(super) fn of(shared: &Shared) -> Self {
        let tokens = shared.tokens.as_ref();
        Self {
            tokens: tokens.map(|tokens| tokens.set().len()),
            token_file_error: tokens.and_then(Tokens::error),
            live_clients: shared.counters.live_clients.load(Relaxed),
            live_dropped: shared.counters.live_dropped.load(Relaxed),
            limited: shared.counters.limited.load(Relaxed),
            log_lines_lost: shared.access_log.as_ref().map(AccessLogHandle::lost),
        }
    }
}

/// Remembers when own drops last grew. A counter that only grows cannot tell.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    drops: u64,
    grew_at: Option<Timestamp>,
}

impl Watch {
    /// Judges a snapshot, the store, the notifiers and the API at the time `now`.
    pub(super) fn judge<'a>(
        &self,
        snapshot: &'a Snapshot,
        store: Option<Status>,
        notifiers: Vec<notify::Status>,
        api: ApiHealth,
        now: Timestamp,
    ) -> Health<'a> {
        let own_drops = own_drops(snapshot);
        let shed = snapshot.shards.iter().map(|shard| shard.shed.total()).sum();
        let mut reasons = Vec::new();
        if snapshot.shards.is_empty() {
            reasons.push("no shard has reported yet");
        }
        if now.since(snapshot.taken_at) > FRESH {
            reasons.push("the figures are stale: nothing has collected them for 15 s");
        }
        if self.dropped_lately(own_drops, now) {
            reasons.push("own drops within the last minute");
        }
        if store.as_ref().is_some_and(|store| !store.state.is_writing()) {
            reasons.push("the history is not written: finished calls wait in memory");
        }
        if !notifiers.iter().all(|notifier| notifier.is_well) {
            reasons.push("a notifier cannot deliver: somebody does not hear of alerts");
        }
        if api.token_file_error.is_some() {
            reasons.push("the file of API tokens cannot be used: those of before hold");
        }
        Health {
            status: if reasons.is_empty() { "ok" } else { "degraded" },
            reasons,
            version: env!("CARGO_PKG_VERSION"),
            start_time: snapshot.started_at,
            uptime_seconds: now.since(snapshot.started_at).as_secs_f64(),
            snapshot_time: snapshot.taken_at,
            active_calls: snapshot.active.len(),
            own_drops,
            shed,
            store,
            notifiers,
            api,
            shards: &snapshot.shards,
        }
    }

    fn dropped_lately(&self, drops: u64, now: Timestamp) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if drops > seen.drops {
            *seen = Seen { drops, grew_at: Some(now) };
        }
        seen.grew_at.is_some_and(|at| now.since(at) < LATELY)
    }
}

/// Everything that the shards lost themselves since start.
pub(super) fn own_drops(snapshot: &Snapshot) -> u64 {
    snapshot.shards.iter().map(ShardHealth::own_drops).sum()
}

/// Older figures mean that nothing collects them any more: shards report every 5 s.
const FRESH: Duration = Duration::from_secs(15);

/// How long a drop degrades.
const LATELY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_degrades_for_a_minute() {
        let watch = Watch::default();
        let at = |secs, ring_full| {
            let now = Timestamp::from_secs(secs);
            let shards = vec![ShardHealth { ring_full, ..ShardHealth::default() }];
            let snapshot = Snapshot { taken_at: now, shards, ..Snapshot::default() };
            watch.judge(&snapshot, None, Vec::new(), ApiHealth::default(), now).status
        };
        assert_eq!(at(100, 0), "ok");
        assert_eq!(at(101, 3), "degraded");
        assert_eq!(at(160, 3), "degraded");
        assert_eq!(at(161, 3), "ok");
        assert_eq!(at(162, 4), "degraded");
    }

    #[test]
    fn stale_figures_and_silent_shards_degrade() {
        let shards = vec![ShardHealth::default()];
        let taken_at = Timestamp::from_secs(100);
        let snapshot = Snapshot { taken_at, shards, ..Snapshot::default() };
        let judge = |snapshot: &Snapshot, secs| {
            let now = Timestamp::from_secs(secs);
            Watch::default().judge(snapshot, None, Vec::new(), ApiHealth::default(), now).status
        };
        assert_eq!(judge(&snapshot, 115), "ok");
        assert_eq!(judge(&snapshot, 116), "degraded");
        assert_eq!(judge(&Snapshot { shards: Vec::new(), ..snapshot }, 100), "degraded");
    }
}
