//! Alerts in real time: rules over what control measures, and what becomes of their alerts.
//!
//! ```text
//! control ──▶ engine: interval by interval, call by call, twice a second the whole ──▶ store
//!             │ rules ◀── configuration, API                                       ──▶ notices
//!             ▼
//!             tracks: good ▶ pending ▶ firing ▶ good, one for a rule and what it is about
//! ```
//!
//! The engine is a pure state machine; [`Alerts`] is the handle by which control feeds it and
//! the API asks it. It measures nothing and makes control wait for nothing but a short lock.

mod alert;
mod baseline;
mod book;
mod engine;
mod evidence;
mod outcome;
mod rule;
mod rules;
mod track;
mod window;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
    mpsc::{self, Receiver, SyncSender, TrySendError},
};

pub use self::{
    alert::{Alert, AlertEvent, Change, Evidence, State, WorstCall},
    baseline::Baseline,
    engine::Engine,
    rule::{Comparison, Metric, Rule, Scope, Severity},
    rules::{RuleError, Rules, Table},
};
use crate::{
    control::{
        Calls,
        record::{CallRecord, Snapshot},
    },
    store::{AlertFilter, Feeder, ReadError, Reader},
    time::Timestamp,
    trunks::Trunks,
};

/// A handle to the running engine. Cloning it gives another one.
#[derive(Clone, Debug)]
pub struct Alerts(Arc<Shared>);

/// Where alerts are kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// To write to.
    pub feeder: Feeder,
    /// To read from.
    pub reader: Reader,
}

#[derive(Debug)]
struct Shared {
    engine: Mutex<Engine>,
    kept: Option<Kept>,
    notices: Option<SyncSender<AlertEvent>>,
    notices_lost: AtomicU64,
    /// Who else follows what happens.
    watcher: Mutex<Option<SyncSender<AlertEvent>>>,
}

impl Alerts {
    /// An engine with these rules that goes on where the one before it stopped. What happens to
    /// alerts goes to the store, and to `notices` as long as that has room.
    #[must_use]
    pub fn start(
        rules: Rules,
        kept: Option<Kept>,
        notices: Option<SyncSender<AlertEvent>>,
        now: Timestamp,
    ) -> Self {
        let engine = match &kept {
            None => Engine::new(rules, 1),
            Some(kept) => resume(rules, &kept.reader, now),
        };
        let (engine, notices_lost) = (Mutex::new(engine), AtomicU64::new(0));
        let watcher = Mutex::default();
        let alerts = Self(Arc::new(Shared { engine, kept, notices, notices_lost, watcher }));
        alerts.publish(&mut alerts.engine());
        alerts
    }

    /// The same with networks called as `trunks` says.
    #[must_use]
    pub fn with_trunks(self, trunks: Arc<Trunks>) -> Self {
        self.engine().set_trunks(trunks);
        self
    }

    /// Takes in what control has measured since it was last asked. Gives finished calls on.
    pub fn feed(&self, calls: &mut Calls, mut finished: impl FnMut(Arc<CallRecord>)) {
        let mut engine = self.engine();
        // Intervals first: a call has none after its end.
        calls.intervals().for_each(|(call, interval)| engine.interval(&call, &interval));
        for call in calls.finished() {
            engine.finished(&call);
            finished(call);
        }
        self.publish(&mut engine);
    }

    /// Looks at all there is, if it is time to.
    pub fn look(&self, snapshot: &Snapshot) {
        let status = self.0.kept.as_ref().map(|kept| kept.reader.is_writing());
        let mut engine = self.engine();
        engine.look(snapshot, status);
        self.publish(&mut engine);
    }

    /// Works out anew what is usual, for the rules that ask for it. It reads the history, and
    /// nobody waits for it meanwhile.
    ///
    /// # Errors
    /// The database does not answer; what was known before stays for three minutes.
    pub fn refresh_baselines(&self, now: Timestamp) -> Result<(), ReadError> {
        let Some(kept) = &self.0.kept else { return Ok(()) };
        let rules = self.rules();
        let rules = rules.iter().map(AsRef::as_ref).filter(|rule: &&Rule| rule.enabled);
        let found = baseline::all(rules, &kept.reader, now)?;
        self.engine().set_baselines(found, now);
        Ok(())
    }

    /// Alerts, newest first; those that were cleared away only if `all` are asked for. Gives the
    /// ones that match both of type and severity as well, where those are said.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn list(&self, asked: &Asked) -> Result<Vec<Alert>, ReadError> {
        let (mut found, cleared) = {
            let engine = self.engine();
            (engine.known(), engine.cleared())
        };
        let cleared = if asked.all { 0 } else { cleared };
        if let Some(kept) = &self.0.kept {
            let known: std::collections::HashSet<u64> =
                found.iter().map(|alert| alert.id).collect();
            // Rows that the engine knows better may differ in their state.
            let mut before = asked.before;
            while found.iter().filter(|alert| asked.lets_through(alert, cleared)).count()
                < asked.limit.max(1)
            {
                let filter = AlertFilter {
                    state: None,
                    call_id: asked.call_id.clone(),
                    before,
                    limit: PAGE,
                };
                let rows = kept.reader.alerts(&filter)?;
                before = rows.last().map(|row| row.id);
                let older = rows.iter().filter(|row| !known.contains(&row.id));
                found.extend(older.filter_map(Alert::of_row));
                if rows.len() < PAGE || before.is_none_or(|before| before <= cleared + 1) {
                    break;
                }
            }
        }
        found.retain(|alert| asked.lets_through(alert, cleared));
        found.sort_unstable_by_key(|alert| core::cmp::Reverse(alert.id));
        found.truncate(asked.limit);
        Ok(found)
    }

    /// What happens to alerts from now on, until the receiver is dropped. Who watches takes the
    /// place of who did before.
    #[must_use]
    pub fn watch(&self) -> Receiver<AlertEvent> {
        let (watcher, events) = mpsc::sync_channel(WATCHED_MAX);
        *self.watcher() = Some(watcher);
        events
    }

    /// Somebody knows of an alert; the alert, if it is open.
    #[must_use]
    pub fn acknowledge(&self, id: u64, now: Timestamp) -> Option<Alert> {
        let mut engine = self.engine();
        let alert = engine.acknowledge(id, now);
        self.publish(&mut engine);
        alert
    }

    /// Resolves all that is open and begins a new list; how many were open.
    #[must_use]
    pub fn clear(&self, now: Timestamp) -> usize {
        let mut engine = self.engine();
        let open = engine.clear(now);
        self.publish(&mut engine);
        if let Some(kept) = &self.0.kept {
            kept.feeder.text(CLEARED, engine.cleared().to_string());
        }
        open
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.engine().rules().clone()
    }

    /// Changes the rules, whole or not at all; the change is kept and in force at once.
    ///
    /// # Errors
    /// What `change` says.
    pub fn change<T>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Rules) -> Result<(Rules, T), RuleError>,
    ) -> Result<T, RuleError> {
        let mut engine = self.engine();
        let (rules, result) = change(engine.rules())?;
        if let Some(kept) = &self.0.kept {
            kept.feeder.text(CHANGES, rules.changes());
        }
        engine.set_rules(rules, now);
        self.publish(&mut engine);
        Ok(result)
    }

    /// Goes on with the rules of another configuration, what the API has changed about them
    /// included, and with other names for trunks.
    ///
    /// # Errors
    /// What the API has changed does not fit those rules; nothing has changed.
    pub fn reconfigure(
        &self,
        rules: &Rules,
        trunks: Arc<Trunks>,
        now: Timestamp,
    ) -> Result<(), RuleError> {
        let mut engine = self.engine();
        let rules = rules.with_changes(&engine.rules().changes())?;
        engine.set_trunks(trunks);
        engine.set_rules(rules, now);
        self.publish(&mut engine);
        Ok(())
    }

    /// Figures of the alerts themselves.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let engine = self.engine();
        Figures {
            total: engine.total(),
            open: engine.open(),
            suppressed: engine.suppressed(),
            calls_with_issues: engine.calls_with_issues(),
            notices_lost: self.0.notices_lost.load(Relaxed),
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.0.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watcher(&self) -> MutexGuard<'_, Option<SyncSender<AlertEvent>>> {
        self.0.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_watcher(&self, event: &AlertEvent) {
        let mut watcher = self.watcher();
        let Some(watching) = watcher.as_ref() else { return };
        match watching.try_send(event.clone()) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => drop(self.0.notices_lost.fetch_add(1, Relaxed)),
            Err(TrySendError::Disconnected(_)) => *watcher = None,
        }
    }

    /// Passes on what has happened, in order, while nothing else can.
    fn publish(&self, engine: &mut Engine) {
        for event in engine.events() {
            self.tell_watcher(&event);
            if let Some(kept) = &self.0.kept {
                kept.feeder.alert(event.alert.to_row());
            }
            if let Some(notices) = &self.0.notices
                && notices.try_send(event).is_err()
            {
                self.0.notices_lost.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Which alerts are asked for; what is `None` lets all through.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// In this state.
    pub state: Option<State>,
    /// As severe as this.
    pub severity: Option<Severity>,
    /// Raised by this rule.
    pub rule: Option<String>,
    /// About this call.
    pub call_id: Option<String>,
    /// With a lower number: the page after one that ended there.
    pub before: Option<u64>,
    /// Those that were cleared away as well.
    pub all: bool,
    /// Most of them.
    pub limit: usize,
}

impl Asked {
    fn lets_through(&self, alert: &Alert, cleared: u64) -> bool {
        alert.id > cleared
            && self.state.is_none_or(|state| state == alert.state)
            && self.severity.is_none_or(|severity| severity == alert.severity)
            && self.rule.as_ref().is_none_or(|rule| *rule == alert.rule)
            && self.call_id.as_ref().is_none_or(|id| Some(id) == alert.call_id.as_ref())
            && self.before.is_none_or(|before| alert.id < before)
    }
}

/// Figures of the alerts themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Raised since the list was last cleared.
    pub total: u64,
    /// Firing or acknowledged.
    pub open: usize,
    /// Not raised because too many were open.
    pub suppressed: u64,
    /// Finished calls since start that had an alert about their quality.
    pub calls_with_issues: u64,
    /// Events that some were not told of because their channel was full.
    pub notices_lost: u64,
}

/// An engine that knows what the store has kept.
fn resume(rules: Rules, reader: &Reader, now: Timestamp) -> Engine {
    let kept = |name| reader.text(name).ok().flatten();
    let rules = match kept(CHANGES).map(|text| rules.with_changes(&text)) {
        Some(Ok(rules)) => rules,
        Some(Err(error)) => {
            tracing::warn!(%error, "what the API had changed about rules does not fit any more");
            rules
        }
        None => rules,
    };
    // Without the database nobody knows its numbers; those of the clock are higher.
    let last = reader.last_alert_id().unwrap_or(now.as_nanos() / 1_000_000);
    let cleared = kept(CLEARED).and_then(|text| text.parse().ok()).unwrap_or(0);
    let total = reader.alerts_after(cleared).unwrap_or(0);
    let mut open = Vec::new();
    for state in [State::Firing, State::Acknowledged] {
        let state = Some(state.name().to_owned());
        let filter = AlertFilter { state, limit: OPEN_MAX, ..AlertFilter::default() };
        let rows = reader.alerts(&filter).unwrap_or_default();
        open.extend(rows.iter().filter_map(Alert::of_row));
    }
    let mut engine = Engine::new(rules, last + 1);
    engine.restore(open, cleared, total, now);
    engine
}

/// The names of texts in the store.
const CHANGES: &str = "alert_rules";
const CLEARED: &str = "alerts_cleared";

/// Events that wait for who watches; he looks a few times a second.
const WATCHED_MAX: usize = 8192;

/// Rows that are read at once.
const PAGE: usize = 500;

/// Most alerts that can have been open.
const OPEN_MAX: usize = 20_000;
