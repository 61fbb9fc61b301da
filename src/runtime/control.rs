//! The control thread: takes from the rings, has rules look at it, publishes snapshots.

use std::{
    sync::{Arc, mpsc::Receiver},
    thread,
    time::Duration,
};

use super::systemd::Beat;
use crate::{
    alerts::Alerts,
    control::{Calls, snapshot::SnapshotCell},
    id::ShardId,
    quality::score::Scoring,
    ring::ControlEnd,
    source::clock,
    store::Feeder,
    time::Timestamp,
    trunks::Trunks,
};

/// What a configuration that is read again changes here.
pub(super) struct Settings {
    pub(super) scoring: Scoring,
    pub(super) trunks: Arc<Trunks>,
}

/// Runs until all shards are gone and all they said has been taken in.
pub(super) fn run(
    mut calls: Calls,
    mut ends: Vec<ControlEnd>,
    settings: &Receiver<Settings>,
    cell: &SnapshotCell,
    store: &Feeder,
    beat: &Beat,
    alerts: &Alerts,
) {
    let (mut published_at, mut looked_at) = (Timestamp::MIN, Timestamp::MIN);
    let mut finished = Vec::new();
    loop {
        beat.beat();
        // Asked first: what comes after the last word is nothing.
        let is_done = ends.iter().all(ControlEnd::is_done);
        while let Ok(Settings { scoring, trunks }) = settings.try_recv() {
            calls = calls.with_scoring(scoring).with_trunks(trunks);
        }
        let mut taken = 0;
        for (shard, end) in (0..).zip(&mut ends) {
            // Before the reports: who ends a call has seen its messages.
            end.drain_passed(MESSAGES_PER_TURN, |call, message, is_again| {
                calls.pass(ShardId(shard), call, &message, is_again);
            });
            taken += end.drain(REPORTS_PER_TURN, |report| calls.apply(report));
            end.drain_registered(USERS_PER_TURN, |user| calls.take_registered(user));
            end.drain_distributions(|filled| calls.merge_distributions(filled));
        }
        alerts.feed(&mut calls, |call| finished.push(call));
        calls.reported().for_each(|(call, report)| store.report(call, report));
        let now = clock::now();
        if is_done || calls.has_news() && now.since(published_at) >= PUBLISH_INTERVAL {
            let mut snapshot = calls.snapshot(now);
            snapshot.totals.with_issues = alerts.figures().calls_with_issues;
            alerts.look(&snapshot);
            cell.store(snapshot);
            (published_at, looked_at) = (now, now);
            // After it: who sees a call in the history sees it counted as well.
            for call in finished.drain(..) {
                let ladder = calls.take_ladder(&call, now);
                store.call_with_ladder(call, ladder);
            }
        } else if now.since(looked_at) >= LOOK_INTERVAL {
            // Time alone can make an alert; what is published stays as old as the last news.
            alerts.look(&calls.snapshot(now));
            looked_at = now;
        }
        if is_done {
            return;
        }
        if taken < REPORTS_PER_TURN {
            thread::sleep(REST);
        }
    }
}

/// Reports taken from one ring before the next has its turn.
const REPORTS_PER_TURN: usize = 4096;

/// Messages of calls taken from one ring before the next has its turn.
const MESSAGES_PER_TURN: usize = 4096;

/// Users whose contacts have changed taken from one ring before the next has its turn.
const USERS_PER_TURN: usize = 2048;

/// How old a snapshot may be while there is news.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// How often rules look while there is no news.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long control rests between looks at the rings; they hold seconds of reports.
const REST: Duration = Duration::from_millis(10);
