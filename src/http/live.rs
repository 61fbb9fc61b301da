//! What happens to calls and alerts, as server-sent events (WHATWG HTML, section 9.2): found by
//! comparing one snapshot with the next, written once for all who listen. Where nobody listens
//! nothing is looked at.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::routes;
use crate::{
    alerts::{AlertEvent, Alerts},
    control::{
        record::{CallRecord, Snapshot},
        snapshot::SnapshotCell,
        streams::CallStreams,
    },
    id::CallRef,
    json,
    time::Timestamp,
};

/// Makes events of what changes.
#[derive(Debug)]
pub(super) struct Feed {
    snapshots: SnapshotCell,
    alerts: Alerts,
    /// The number of the last event.
    last_id: u64,
    /// What was seen last; `None` while nobody listens.
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    seen: Arc<Snapshot>,
    alerts: Receiver<AlertEvent>,
    /// When the statistics were told.
    told_at: Option<Instant>,
}

/// An event as it goes to clients.
#[derive(Debug)]
pub(super) struct Event {
    /// The call that it is about.
    pub(super) call_id: Option<String>,
    /// Its lines, an empty one after them.
    pub(super) text: Vec<u8>,
}

impl Feed {
    /// A feed that looks at nothing yet.
    pub(super) const fn new(snapshots: SnapshotCell, alerts: Alerts) -> Self {
        Self { snapshots, alerts, last_id: 0, watch: None }
    }

    /// Looks from now on, if it does not already.
    pub(super) fn begin(&mut self) {
        if self.watch.is_none() {
            let (seen, alerts) = (self.snapshots.load(), self.alerts.watch());
            self.watch = Some(Watch { seen, alerts, told_at: None });
        }
    }

    /// Whether it looks.
    pub(super) const fn is_looking(&self) -> bool {
        self.watch.is_some()
    }

    /// Looks no more: nobody listens.
    pub(super) fn end(&mut self) {
        self.watch = None;
    }

    /// How a call stands that somebody begins to listen to.
    pub(super) fn standing(&mut self, call_id: &str) -> Option<Event> {
        let snapshot = Arc::clone(&self.watch.as_ref()?.seen);
        let call = snapshot.active.iter().rev().find(|call| call.call_id == call_id)?;
        let shown = shown(call, snapshot.taken_at);
        Some(self.event("call_updated", Some(call_id), &shown))
    }

    /// What has happened since the last look.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Event> {
        let Some(mut watch) = self.watch.take() else { return Vec::new() };
        let mut events = Vec::new();
        let newest = self.snapshots.load();
        if !Arc::ptr_eq(&newest, &watch.seen) {
            self.compare(&watch.seen, &newest, &mut events);
            watch.seen = newest;
        }
        for AlertEvent { change, alert } in watch.alerts.try_iter() {
            let data = json!({"change": change.name(), "alert": alert});
            events.push(self.event("alert", alert.call_id.as_deref(), &data));
        }
        if watch.told_at.is_none_or(|at| now.saturating_duration_since(at) >= STATS_INTERVAL) {
            watch.told_at = Some(now);
            let total_alerts = self.alerts.figures().total;
            let statistics = routes::statistics(&watch.seen, total_alerts);
            events.push(self.event("stats", None, &statistics));
        }
        self.watch = Some(watch);
        events
    }

    /// What has happened to calls between two snapshots. A record that nothing has happened to is
    /// the same one in both.
    fn compare(&mut self, old: &Snapshot, new: &Snapshot, events: &mut Vec<Event>) {
        let now = new.taken_at;
        let mut before: HashMap<Key<'_>, &Arc<CallRecord>> =
            old.active.iter().filter(has_id).map(|call| (Key::of(call), call)).collect();
        let is_old = |call: &Arc<CallRecord>| {
            old.history.last().is_some_and(|newest| Arc::ptr_eq(newest, call))
        };
        let finished = new.history.iter().rev().take_while(|call| !is_old(call)).count();
        let mut ended: Vec<&Arc<CallRecord>> =
            new.history[new.history.len() - finished..].iter().collect();
        for call in &ended {
            before.remove(&Key::of(call));
        }
        for call in new.active.iter().filter(has_id) {
            let name = match before.remove(&Key::of(call)) {
                None => "call_started",
                Some(known) if !Arc::ptr_eq(known, call) => "call_updated",
                Some(_) => continue,
            };
            events.push(self.event(name, Some(&call.call_id), &shown(call, now)));
        }
        // Where no finished call is kept in memory, what was last seen of it is all there is.
        ended.extend(before.into_values());
        for call in ended {
            events.push(self.event("call_ended", Some(&call.call_id), &shown(call, now)));
        }
    }

    fn event(&mut self, name: &str, call_id: Option<&str>, data: &impl Serialize) -> Event {
        self.last_id += 1;
        let mut text = format!("id: {}\nevent: {name}\ndata: ", self.last_id).into_bytes();
        // JSON has no line ends in it. Into memory it can always be written.
        if let Err(error) = json::write(&mut text, data) {
            tracing::error!(%error, name, "an event cannot be told");
        }
        text.extend_from_slice(b"\n\n");
        Event { call_id: call_id.map(str::to_owned), text }
    }
}

/// What tells one call from another.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Reference(CallRef),
    Named(&'a str, Timestamp),
}

impl<'a> Key<'a> {
    fn of(call: &'a CallRecord) -> Self {
        let named = Self::Named(&call.call_id, call.start_time);
        call.reference.map_or(named, Self::Reference)
    }
}

/// The texts of a call come after it.
fn has_id(call: &&Arc<CallRecord>) -> bool {
    !call.call_id.is_empty()
}

/// A call as lists show it, without its streams: those are most of it, and who wants them asks for
/// the call.
fn shown(call: &CallRecord, now: Timestamp) -> Value {
    let brief = CallRecord { streams: CallStreams::default(), ..call.seen_at(now) };
    let mut shown = serde_json::to_value(&brief).unwrap_or_default();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("streams");
    }
    shown
}

/// What a client gets first: how long to wait before it comes back.
pub(super) const GREETING: &[u8] = b"retry: 2000\n\n";

/// A comment, which tells everyone on the way that the connection is in use.
pub(super) const HEARTBEAT: &[u8] = b": still here\n\n";

/// What a client gets last that does not keep up.
pub(super) const DROPPED: &[u8] =
    b"event: dropped\ndata: {\"reason\":\"you have not taken what was \
                                    sent to you in time; come back, and ask for less\"}\n\n";

/// What a client gets last whose token may be in force no more.
pub(super) const OTHER_TOKENS: &[u8] =
    b"event: dropped\ndata: {\"reason\":\"the tokens have changed; \
                                         come back with one that is in force\"}\n\n";

/// How often the statistics are told.
const STATS_INTERVAL: Duration = Duration::from_millis(950);
