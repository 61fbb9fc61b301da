//! What the tests of alerts share: an engine with a virtual clock, calls and their intervals. It
//! knows no assertion.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use voxplane::{
    alerts::{Alert, AlertEvent, Change, Engine, Rules, Table},
    control::record::{
        CallRecord, CallState, Direction, EndedBy, Integrity, Interval, ShardHealth, Snapshot,
        TimelinePoint,
    },
    time::Timestamp,
};

use crate::http::{at, call};

/// An engine, the time, and the calls that are up.
pub(crate) struct Noc {
    pub(crate) engine: Engine,
    pub(crate) now: Timestamp,
    pub(crate) snapshot: Snapshot,
    /// Whether the history is written.
    pub(crate) is_stored: bool,
}

/// What is measured in an interval of five seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media {
    pub(crate) direction: Direction,
    pub(crate) packets: u32,
    pub(crate) lost: i32,
    pub(crate) discarded: u32,
    pub(crate) jitter_ms: f32,
    pub(crate) mos: Option<f32>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) integrity: Integrity,
}

/// Nothing to complain of.
pub(crate) const GOOD: Media = Media {
    direction: Direction::Rx,
    packets: 250,
    lost: 0,
    discarded: 0,
    jitter_ms: 1.0,
    mos: Some(4.4),
    rtt_ms: Some(20.0),
    integrity: Integrity::Clean,
};

impl Noc {
    /// The program's rules.
    pub(crate) fn new() -> Self {
        Self::with(Rules::default())
    }

    /// Other rules.
    pub(crate) fn with(rules: Rules) -> Self {
        let shards = vec![ShardHealth::default()];
        let snapshot = Snapshot { shards, started_at: at(0), ..Snapshot::default() };
        let mut noc = Self { engine: Engine::new(rules, 1), now: at(0), snapshot, is_stored: true };
        noc.look();
        noc
    }

    /// A call from `192.0.2.1` is up from now on.
    pub(crate) fn begin(&mut self, id: &str) {
        let mut record = call(id, 0, Some(4.0));
        record.start_time = self.now;
        // What was expected of its media is not said, and so nothing is missing.
        record.answer_time = None;
        record.timeline.clear();
        self.snapshot.active.push(Arc::new(record));
    }

    /// A call is over.
    pub(crate) fn end(&mut self, id: &str) {
        self.finish(id, CallState::Ended, Some(200), EndedBy::Caller);
    }

    /// A call is over in some way.
    pub(crate) fn finish(&mut self, id: &str, state: CallState, code: Option<u16>, by: EndedBy) {
        let index = self.snapshot.active.iter().position(|call| call.call_id == id).unwrap();
        let mut record = CallRecord::clone(&self.snapshot.active.remove(index));
        (record.state, record.status_code, record.ended_by) = (state, code, Some(by));
        record.end_time = Some(self.now);
        self.engine.finished(&record);
        self.snapshot.history.push(Arc::new(record));
    }

    /// The five seconds up to now of a call.
    pub(crate) fn media(&mut self, id: &str, media: Media) {
        let index = self.snapshot.active.iter().position(|call| call.call_id == id).unwrap();
        let record = Arc::make_mut(&mut self.snapshot.active[index]);
        record.rtt.rtt_last_ms = media.rtt_ms;
        record.rtt.rtt_count += u32::from(media.rtt_ms.is_some());
        let point = TimelinePoint {
            direction: media.direction,
            time: self.now,
            packets_received: media.packets - u32::try_from(media.lost).unwrap(),
            packets_lost: media.lost,
            packets_discarded: media.discarded,
            jitter_ms: media.jitter_ms,
            mos: media.mos,
            integrity: media.integrity,
        };
        let interval = Interval { since: self.now - secs(5), point };
        self.engine.interval(&self.snapshot.active[index], &interval);
    }

    /// Five seconds go by, the call has been like this in them, and all there is is looked at.
    pub(crate) fn next(&mut self, id: &str, media: Media) {
        self.wait(5);
        self.media(id, media);
        self.look();
    }

    /// Seconds go by without anybody looking.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now + secs(seconds);
    }

    /// Looks at all there is.
    pub(crate) fn look(&mut self) {
        self.snapshot.taken_at = self.now;
        self.engine.look(&self.snapshot, Some(self.is_stored));
    }

    /// Seconds go by, and once a second all there is is looked at.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.wait(1);
            self.look();
        }
    }

    /// What has happened since it was last asked: change, rule and subject.
    pub(crate) fn events(&mut self) -> Vec<(Change, String, String)> {
        let short = |AlertEvent { change, alert }: AlertEvent| (change, alert.rule, alert.subject);
        self.engine.events().into_iter().map(short).collect()
    }

    /// Of these, the rules that fired.
    pub(crate) fn fired(&mut self) -> Vec<String> {
        self.rules_of(Change::Fired)
    }

    /// Of these, the rules that were resolved.
    pub(crate) fn resolved(&mut self) -> Vec<String> {
        self.rules_of(Change::Resolved)
    }

    fn rules_of(&mut self, wanted: Change) -> Vec<String> {
        let all = self.events().into_iter();
        all.filter(|(change, ..)| *change == wanted).map(|(_, rule, _)| rule).collect()
    }

    /// The open alerts.
    pub(crate) fn open(&self) -> Vec<Alert> {
        self.engine.known().into_iter().filter(Alert::is_open).collect()
    }

    /// Changes a rule.
    pub(crate) fn set(&mut self, table: Value) {
        let (rules, _) = self.engine.rules().with(self::table(table)).unwrap();
        self.engine.set_rules(rules, self.now);
    }
}

/// Rules with changes, of the program or one's own.
pub(crate) fn rules(tables: impl IntoIterator<Item = Value>) -> Rules {
    let with = |rules: Rules, one: Value| rules.with(table(one)).unwrap().0;
    tables.into_iter().fold(Rules::default(), with)
}

/// A JSON object.
pub(crate) fn table(value: Value) -> Table {
    value.as_object().unwrap().clone()
}

/// Only this rule of the program, without waiting after its alerts.
pub(crate) fn only(name: &str) -> Rules {
    let others = Rules::default();
    let others = others.iter().filter(|rule| rule.name != name);
    rules(others.map(|rule| json!({"name": rule.name, "enabled": false})))
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
