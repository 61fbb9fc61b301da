//! The engine: what control says of calls goes in, what happens to alerts comes out. It reads no
//! clock and does no I/O, so that the same input gives the same alerts.

use core::{hash::BuildHasher as _, time::Duration};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use foldhash::quality::RandomState;

use super::{
    alert::{Alert, AlertEvent, Seen, State, WorstCall},
    baseline::Baseline,
    book::{About, Book},
    evidence::{call_query, group_query, worst_calls},
    outcome::Outcome,
    rule::{Metric, Rule, Scope, secs},
    rules::Rules,
    track::{Step, Track},
    window::{Sums, Window, float},
};
use crate::{
    control::conditions::conditions,
    control::record::{
        CallRecord, Direction, Integrity, Interval, Registrations, ShardHealth, Snapshot,
        TimelinePoint,
    },
    id::Trunk,
    time::Timestamp,
    trunks::Trunks,
};

/// Judges calls, trunks and the box by rules.
#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    /// Those for calls and streams.
    sharp: Arc<[Arc<Rule>]>,
    /// Those for trunks and the box.
    broad: Arc<[Arc<Rule>]>,
    book: Book,
    /// Calls that something was bad about, by a hash of Call-ID and start.
    calls: HashMap<u64, CallTracks, RandomState>,
    hasher: RandomState,
    groups: BTreeMap<Group, GroupState>,
    /// Finished calls that had an alert.
    calls_with_issues: u64,
    looked_at: Timestamp,
    own_drops: Option<u64>,
    registrations: Option<Registrations>,
    /// How many calls were up.
    levels: VecDeque<(Timestamp, u64)>,
    trunks: Arc<Trunks>,
    /// What is usual, and when that was last worked out.
    baselines: (Timestamp, Vec<Baseline>),
}

/// What is judged beside calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// All calls together.
    Box,
    /// Those from one network.
    Trunk(Arc<str>),
}

#[derive(Debug, Default)]
struct GroupState {
    window: Window,
    tracks: BTreeMap<String, Track>,
}

#[derive(Debug, Default)]
struct CallTracks {
    has_issue: bool,
    /// By rule, and by direction where streams are judged.
    tracks: Vec<(Arc<Rule>, Option<Direction>, Track)>,
}

impl Engine {
    /// An engine that has seen nothing. Its alerts are numbered from `next_id`.
    #[must_use]
    pub fn new(rules: Rules, next_id: u64) -> Self {
        let mut engine = Self {
            rules: Rules::default(),
            sharp: Arc::default(),
            broad: Arc::default(),
            book: Book::new(next_id.max(1)),
            calls: HashMap::default(),
            hasher: RandomState::default(),
            groups: BTreeMap::from([(Group::Box, GroupState::default())]),
            calls_with_issues: 0,
            looked_at: Timestamp::MIN,
            own_drops: None,
            registrations: None,
            levels: VecDeque::new(),
            trunks: Arc::default(),
            baselines: (Timestamp::MIN, Vec::new()),
        };
        engine.take_rules(rules);
        engine
    }

    /// Goes on with alerts that were open before this program started, of `total` since number
    /// `cleared`. What they say of calls is over: those calls are.
    pub fn restore(&mut self, open: Vec<Alert>, cleared: u64, total: u64, now: Timestamp) {
        self.book.go_on(cleared, total);
        for alert in open {
            let (id, rule, scope) = (alert.id, alert.rule.clone(), alert.scope);
            let group = match scope {
                Scope::Call | Scope::Stream => None,
                Scope::Trunk => Some(Group::Trunk(alert.subject.as_str().into())),
                Scope::Box => Some(Group::Box),
            };
            self.book.restore(alert);
            let is_there = |rule: &&Arc<Rule>| rule.enabled && rule.scope.contains(&scope);
            match group.filter(|_| self.rules.get(&rule).filter(is_there).is_some()) {
                Some(group) => {
                    let tracks = &mut self.groups.entry(group).or_default().tracks;
                    if let Some(double) = tracks.insert(rule, Track::firing(id, now))
                        && let Some(id) = double.alert()
                    {
                        self.book.resolve(id, now, RESTARTED);
                    }
                }
                None => self.book.resolve(id, now, RESTARTED),
            }
        }
    }

    /// Takes in an interval of a call.
    pub fn interval(&mut self, call: &CallRecord, interval: &Interval) {
        let point = &interval.point;
        if call.state.is_over() {
            return;
        }
        if point.integrity == Integrity::Suspect {
            // What we lost ourselves says nothing of the network.
            self.sums(Group::Box, point.time).own_losses += 1;
            return;
        }
        let trunk: Option<Arc<str>> = call.trunk.map(trunk_name);
        self.add_up(call, point, trunk.as_ref());
        if point.time.since(interval.since) < INTERVAL_MIN {
            return;
        }
        for rule in &*Arc::clone(&self.sharp) {
            let is_its = rule.trunk.is_none() || rule.trunk.as_deref() == trunk.as_deref();
            let Some((value, samples)) = measure(rule.metric, call, point).filter(|_| is_its)
            else {
                continue;
            };
            if samples < rule.min_samples {
                continue;
            }
            let seen = Seen { value, samples, since: interval.since, at: point.time };
            if rule.scope.contains(&Scope::Call) {
                self.judge_call(rule, call, None, point.direction, seen);
            }
            if rule.scope.contains(&Scope::Stream) {
                self.judge_call(rule, call, Some(point.direction), point.direction, seen);
            }
        }
    }

    /// A call is over, and with it its alerts.
    pub fn finished(&mut self, call: &CallRecord) {
        let ended_at = call.end_time.unwrap_or(call.start_time);
        let trunk = call.trunk.map(|trunk| Group::Trunk(trunk_name(trunk)));
        for group in [Some(Group::Box), trunk].into_iter().flatten() {
            Outcome::of(call).count(self.sums(group, ended_at));
        }
        let key = self.key(call);
        if let Some(tracks) = self.calls.remove(&key) {
            self.calls_with_issues += u64::from(tracks.has_issue);
            self.resolve_all(tracks.alerts().collect(), ended_at, CALL_ENDED);
        }
    }

    /// Looks at all there is; `is_stored` is whether the history is written, where there is one.
    /// More often than twice a second is of no use and does nothing.
    pub fn look(&mut self, snapshot: &Snapshot, is_stored: Option<bool>) {
        let now = snapshot.taken_at;
        if now >= self.looked_at && now.since(self.looked_at) < LOOK_INTERVAL {
            return;
        }
        self.looked_at = now;
        self.count_losses(snapshot, now);
        self.count_registrations(snapshot, now);
        self.levels.push_back((now, snapshot.active.len() as u64));
        while self.levels.front().is_some_and(|(at, _)| now.since(*at) > WINDOW_MAX) {
            self.levels.pop_front();
        }
        self.drop_ended(snapshot, now);
        self.judge_conditions(snapshot, now);
        let groups: Vec<Group> = self.groups.keys().cloned().collect();
        for rule in &*Arc::clone(&self.broad) {
            if rule.deviations.is_some() {
                self.judge_by_baseline(rule, &groups, snapshot, now);
                continue;
            }
            for group in groups.iter().filter(|group| concerns(rule, group)) {
                let seen = self.seen(rule, group, snapshot, is_stored, now);
                self.judge_group(rule, group, seen, snapshot, now);
            }
        }
        self.groups.retain(|group, state| {
            state.tracks.retain(|_, track| !track.is_forgettable(now));
            let is_empty = state.tracks.is_empty() && state.window.is_over(now, WINDOW_MAX);
            *group == Group::Box || !is_empty
        });
    }

    /// Takes note of what is usual.
    pub fn set_baselines(&mut self, baselines: Vec<Baseline>, now: Timestamp) {
        // A trunk may have had its last call before this program started.
        for trunk in baselines.iter().filter_map(|baseline| baseline.trunk.as_deref()) {
            if self.groups.len() < GROUPS_MAX {
                self.groups.entry(Group::Trunk(trunk.into())).or_default();
            }
        }
        self.baselines = (now, baselines);
    }

    /// Takes note of what networks are called.
    pub fn set_trunks(&mut self, trunks: Arc<Trunks>) {
        self.trunks = trunks;
    }

    /// What has happened to alerts since it was last asked, in order.
    pub fn events(&mut self) -> Vec<AlertEvent> {
        self.book.events()
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Judges by other rules from now on. Alerts of rules that are no longer there, or look at
    /// something else, are over.
    pub fn set_rules(&mut self, rules: Rules, now: Timestamp) {
        let is_kept = |old: &Rule| {
            rules.get(&old.name).is_some_and(|new| new.enabled && new.watches_the_same(old))
        };
        let gone: HashSet<String> =
            self.rules.iter().filter(|old| !is_kept(old)).map(|old| old.name.clone()).collect();
        let mut over = Vec::new();
        for call in self.calls.values_mut() {
            call.tracks.retain(|(rule, _, track)| {
                let is_gone = gone.contains(&rule.name);
                over.extend(track.alert().filter(|_| is_gone));
                !is_gone
            });
        }
        for group in self.groups.values_mut() {
            group.tracks.retain(|name, track| {
                let is_gone = gone.contains(name);
                over.extend(track.alert().filter(|_| is_gone));
                !is_gone
            });
        }
        self.resolve_all(over, now, "the rule was changed");
        self.take_rules(rules);
    }

    /// Somebody knows of an alert; the alert, if it is open.
    pub fn acknowledge(&mut self, id: u64, now: Timestamp) -> Option<Alert> {
        self.book.acknowledge(id, now)
    }

    /// Resolves all that is open and begins a new list; how many were open. What goes on being
    /// bad is raised again after its cooldown.
    pub fn clear(&mut self, now: Timestamp) -> usize {
        for call in self.calls.values_mut() {
            for (rule, _, track) in &mut call.tracks {
                if let Some(id) = track.alert() {
                    track.end(rule, now, id);
                }
            }
        }
        for group in self.groups.values_mut() {
            for (name, track) in &mut group.tracks {
                if let Some((id, rule)) = track.alert().zip(self.rules.get(name)) {
                    track.end(rule, now, id);
                }
            }
        }
        let open = self.book.open_ids();
        open.iter().for_each(|&id| self.book.resolve(id, now, "cleared"));
        self.book.clear();
        open.len()
    }

    /// Alerts that are open or have been of late, the newest first.
    #[must_use]
    pub fn known(&self) -> Vec<Alert> {
        self.book.known()
    }

    /// Alerts raised since the list was last cleared.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.book.total()
    }

    /// Alerts up to this number were cleared away.
    #[must_use]
    pub const fn cleared(&self) -> u64 {
        self.book.cleared()
    }

    /// Alerts that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.book.open_len()
    }

    /// Alerts that were not raised because too many were open.
    #[must_use]
    pub const fn suppressed(&self) -> u64 {
        self.book.suppressed()
    }

    /// Finished calls that had an alert about their quality.
    #[must_use]
    pub const fn calls_with_issues(&self) -> u64 {
        self.calls_with_issues
    }

    /// What is bad without being an alert yet: rule, what it is about, and since when.
    #[must_use]
    pub fn pending(&self) -> Vec<(String, String, Timestamp)> {
        let groups = self.groups.iter().flat_map(|(group, state)| {
            let one = move |(name, track): (&String, &Track)| {
                Some((name.clone(), group.name().to_owned(), track.pending_since()?))
            };
            state.tracks.iter().filter_map(one)
        });
        groups.collect()
    }

    fn take_rules(&mut self, rules: Rules) {
        let with = |scopes: [Scope; 2]| -> Arc<[Arc<Rule>]> {
            let is_one = |rule: &&Arc<Rule>| {
                rule.enabled && rule.scope.iter().any(|scope| scopes.contains(scope))
            };
            rules.iter().filter(is_one).cloned().collect()
        };
        self.sharp = with([Scope::Call, Scope::Stream]);
        self.broad = with([Scope::Trunk, Scope::Box]);
        self.rules = rules;
    }

    fn key(&self, call: &CallRecord) -> u64 {
        self.hasher.hash_one((&call.call_id, call.start_time))
    }

    /// The sums of a group at a moment. More trunks than are looked at count in the box alone.
    fn sums(&mut self, group: Group, at: Timestamp) -> &mut Sums {
        let has_room = self.groups.len() < GROUPS_MAX || self.groups.contains_key(&group);
        let group = if has_room { group } else { Group::Box };
        self.groups.entry(group).or_default().window.at(at, WINDOW_MAX)
    }

    fn add_up(&mut self, call: &CallRecord, point: &TimelinePoint, trunk: Option<&Arc<str>>) {
        let has_room = self.groups.len() < GROUPS_MAX;
        let trunk = trunk.map(|trunk| Group::Trunk(Arc::clone(trunk)));
        let trunk = trunk.filter(|trunk| has_room || self.groups.contains_key(trunk));
        for group in [Some(Group::Box), trunk].into_iter().flatten() {
            let sums = self.sums(group, point.time);
            sums.intervals += 1;
            let (expected, lost) = packets(point);
            sums.expected += expected;
            sums.lost += lost;
            sums.discarded += u64::from(point.packets_discarded);
            sums.jitter_ms.add(point.jitter_ms.into());
            if let Some((mos, basis)) = point.mos.zip(call.score.mos_basis) {
                sums.mos_mut(basis.scale).add(mos.into());
            }
            if let Some(rtt) = call.rtt.rtt_last_ms {
                sums.rtt_ms.add(rtt);
            }
        }
    }

    fn judge_call(
        &mut self,
        rule: &Arc<Rule>,
        call: &CallRecord,
        stream: Option<Direction>,
        direction: Direction,
        seen: Seen,
    ) {
        let key = self.key(call);
        let is_bad = rule.is_bad(seen.value);
        // Of nearly all calls there is nothing to remember.
        if !is_bad && !self.calls.contains_key(&key) {
            return;
        }
        let tracks = self.calls.entry(key).or_default();
        let Some(track) = tracks.find(rule, stream, is_bad) else { return };
        match track.step(rule, direction as usize, seen) {
            Step::Stay => {}
            Step::Bad(id) => self.book.go_on_bad(id, rule, &seen),
            Step::Resolve(id) => self.book.resolve(id, seen.at, GOOD_AGAIN),
            Step::Fire => {
                let worst = track.worst(rule).unwrap_or(seen);
                let worst = Seen { at: seen.at, ..worst };
                let about = || about_call(call, stream, worst.value);
                if let Some(id) = self.book.raise(rule, about, &worst) {
                    track.fire(id, seen.at);
                    tracks.has_issue = true;
                }
            }
        }
    }

    /// Judges what time alone can bring about in calls: media that does not come.
    fn judge_conditions(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let sharp = Arc::clone(&self.sharp);
        let of_condition = |rule: &Arc<Rule>| match rule.metric {
            Metric::Condition(condition) => Some((Arc::clone(rule), condition)),
            _ => None,
        };
        let rules: Vec<_> = sharp.iter().filter_map(of_condition).collect();
        if rules.is_empty() {
            return;
        }
        let clean = |call: &&Arc<CallRecord>| call.integrity == Integrity::Clean;
        for call in snapshot.active.iter().filter(clean) {
            let found = conditions(call, now);
            for (rule, condition) in &rules {
                let value = if found.contains(*condition) { 1.0 } else { 0.0 };
                if rule.trunk.is_some()
                    && rule.trunk.as_deref() != call.trunk.map(trunk_name).as_deref()
                {
                    continue;
                }
                let since = call.answer_time.unwrap_or(call.start_time);
                let seen = Seen { value, samples: 1, since, at: now };
                self.judge_call(rule, call, None, Direction::Rx, seen);
            }
        }
    }

    fn judge_group(
        &mut self,
        rule: &Rule,
        group: &Group,
        seen: Option<Seen>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) {
        let tracks = &mut self.groups.entry(group.clone()).or_default().tracks;
        let Some(seen) = seen.filter(|seen| seen.samples >= rule.min_samples) else {
            if let Some(track) = tracks.get_mut(&rule.name)
                && now.since(track.heard_at()) > STALE
                && let Some(id) = track.alert()
            {
                track.end(rule, now, id);
                self.book.resolve(id, now, NOT_MEASURED);
            }
            return;
        };
        if !rule.is_bad(seen.value) && !tracks.contains_key(&rule.name) {
            return;
        }
        let track = tracks.entry(rule.name.clone()).or_default();
        match track.step(rule, 0, seen) {
            Step::Stay => {}
            Step::Bad(id) => self.book.go_on_bad(id, rule, &seen),
            Step::Resolve(id) => self.book.resolve(id, now, GOOD_AGAIN),
            Step::Fire => {
                let about = || About {
                    scope: group.scope(),
                    subject: group.name().to_owned(),
                    call_id: None,
                    worst_calls: worst_calls(rule.metric, group, snapshot, seen.since),
                    query: group_query(rule.metric, group, &self.trunks, &seen),
                };
                if let Some(id) = self.book.raise(rule, about, &seen) {
                    track.fire(id, now);
                }
            }
        }
    }

    /// Judges groups by what is usual for them, as far as that is known.
    fn judge_by_baseline(
        &mut self,
        rule: &Rule,
        groups: &[Group],
        snapshot: &Snapshot,
        now: Timestamp,
    ) {
        let (at, baselines) = core::mem::take(&mut self.baselines);
        for group in groups.iter().filter(|group| concerns(rule, group)) {
            let is_its = |baseline: &&Baseline| {
                let group = (*group != Group::Box).then(|| group.name());
                baseline.rule == rule.name && baseline.trunk.as_deref() == group
            };
            let known = baselines.iter().find(is_its).filter(|_| now.since(at) < STALE * 3);
            let seen = known.map(|known| Seen {
                value: known.value,
                samples: known.samples,
                since: at - rule.window,
                at: now,
            });
            let limit = known.map_or(f64::NAN, |known| known.limit);
            self.judge_group(&rule.limited(limit), group, seen, snapshot, now);
        }
        self.baselines = (at, baselines);
    }

    /// The value of a group now, if there is one.
    fn seen(
        &self,
        rule: &Rule,
        group: &Group,
        snapshot: &Snapshot,
        is_stored: Option<bool>,
        now: Timestamp,
    ) -> Option<Seen> {
        let active = snapshot.active.len() as u64;
        let (value, samples) = match rule.metric {
            Metric::ActiveCalls => (float(active), active.max(rule.min_samples)),
            Metric::ActiveCallsDrop => {
                let recent = |(at, _): &&(Timestamp, u64)| now.since(*at) <= rule.window;
                let most = self.levels.iter().filter(recent).map(|(_, level)| *level).max()?;
                let drop = most.saturating_sub(active);
                (float(drop) / float(most.max(1)) * 100.0, most)
            }
            Metric::StoreUnavailable => (if is_stored? { 0.0 } else { 1.0 }, 1),
            metric => self.groups.get(group)?.window.sum(now, rule.window).value(metric)?,
        };
        Some(Seen { value, samples, since: now - rule.window, at: now })
    }

    fn count_losses(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let drops = snapshot.shards.iter().map(ShardHealth::own_drops).sum();
        let before = self.own_drops.replace(drops);
        let lost = before.map_or(0, |before| drops.saturating_sub(before));
        self.sums(Group::Box, now).own_losses += lost;
    }

    fn count_registrations(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let all = snapshot.registrations();
        // Those from before the first look were within nobody's window.
        let before = self.registrations.replace(all).unwrap_or(all);
        let sums = self.sums(Group::Box, now);
        sums.registrations += all.attempts.saturating_sub(before.attempts);
        sums.registrations_failed += all.failed().saturating_sub(before.failed());
    }

    /// Lets go what is remembered of calls that are not up any more, and resolves what has not
    /// been measured for long.
    fn drop_ended(&mut self, snapshot: &Snapshot, now: Timestamp) {
        if self.calls.is_empty() {
            return;
        }
        let up: HashSet<u64> = snapshot.active.iter().map(|call| self.key(call)).collect();
        let ended: Vec<u64> = self.calls.keys().copied().filter(|key| !up.contains(key)).collect();
        let mut over = Vec::new();
        for call in ended.iter().filter_map(|key| self.calls.remove(key)) {
            self.calls_with_issues += u64::from(call.has_issue);
            over.extend(call.alerts());
        }
        self.resolve_all(over, now, CALL_ENDED);
        let mut silent = Vec::new();
        for (rule, _, track) in self.calls.values_mut().flat_map(|call| &mut call.tracks) {
            if now.since(track.heard_at()) > STALE
                && let Some(id) = track.alert()
            {
                track.end(rule, now, id);
                silent.push(id);
            }
        }
        self.resolve_all(silent, now, NOT_MEASURED);
    }

    /// Resolves alerts in their order, however their calls are kept.
    fn resolve_all(&mut self, mut ids: Vec<u64>, now: Timestamp, why: &str) {
        ids.sort_unstable();
        ids.into_iter().for_each(|id| self.book.resolve(id, now, why));
    }
}

impl CallTracks {
    /// The open alerts about the call.
    fn alerts(&self) -> impl Iterator<Item = u64> {
        self.tracks.iter().filter_map(|(_, _, track)| track.alert())
    }

    /// The track of a rule, made if need be.
    fn find(
        &mut self,
        rule: &Arc<Rule>,
        stream: Option<Direction>,
        make: bool,
    ) -> Option<&mut Track> {
        let is_it = |(known, of, _): &(Arc<Rule>, Option<Direction>, Track)| {
            known.name == rule.name && *of == stream
        };
        let index = match self.tracks.iter().position(is_it) {
            Some(index) => index,
            None if make => {
                self.tracks.push((Arc::clone(rule), stream, Track::default()));
                self.tracks.len() - 1
            }
            None => return None,
        };
        self.tracks[index].0 = Arc::clone(rule);
        Some(&mut self.tracks[index].2)
    }
}

impl Group {
    /// Its name in alerts.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Box => "box",
            Self::Trunk(name) => name,
        }
    }

    const fn scope(&self) -> Scope {
        match self {
            Self::Box => Scope::Box,
            Self::Trunk(_) => Scope::Trunk,
        }
    }
}

impl Alert {
    /// Whether it is firing or acknowledged.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Firing | State::Acknowledged)
    }
}

fn concerns(rule: &Rule, group: &Group) -> bool {
    rule.scope.contains(&group.scope())
        && (*group == Group::Box || rule.trunk.as_deref().is_none_or(|name| name == group.name()))
}

fn about_call(call: &CallRecord, stream: Option<Direction>, value: f64) -> About {
    let id = &call.call_id;
    About {
        scope: if stream.is_some() { Scope::Stream } else { Scope::Call },
        subject: match stream {
            Some(Direction::Rx) => format!("{id} rx"),
            Some(Direction::Tx) => format!("{id} tx"),
            None => id.clone(),
        },
        call_id: Some(id.clone()),
        worst_calls: vec![WorstCall { call_id: id.clone(), value: Some(value) }],
        query: call_query(id),
    }
}

/// What a trunk is called in alerts.
fn trunk_name(trunk: Trunk) -> Arc<str> {
    trunk.to_string().into()
}

/// The value of a metric in an interval of a call, and what it is made of.
fn measure(metric: Metric, call: &CallRecord, point: &TimelinePoint) -> Option<(f64, u64)> {
    let (expected, lost) = packets(point);
    let share =
        |part: u64| (expected > 0).then(|| (float(part) / float(expected) * 100.0, expected));
    match metric {
        Metric::Mos => point.mos.map(|mos| (f64::from(mos), expected)),
        Metric::PacketLoss => share(lost),
        Metric::Discard => share(point.packets_discarded.into()),
        Metric::Jitter => Some((point.jitter_ms.into(), expected)),
        Metric::Latency => call.rtt.rtt_last_ms.map(|ms| (ms, call.rtt.rtt_count.into())),
        _ => None,
    }
}

/// Expected and lost packets of an interval.
fn packets(point: &TimelinePoint) -> (u64, u64) {
    let lost = u64::try_from(point.packets_lost).unwrap_or(0);
    (u64::from(point.packets_received) + lost, lost)
}

const CALL_ENDED: &str = "the call has ended";
const GOOD_AGAIN: &str = "good again";
const NOT_MEASURED: &str = "nothing is measured any more";
const RESTARTED: &str = "the appliance was started again";

/// Shorter intervals, such as the first one and often the last one of a stream, are too few
/// packets to call anybody for.
const INTERVAL_MIN: Duration = secs(2);

/// How often all there is is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The longest window of a rule.
const WINDOW_MAX: Duration = secs(3600);

/// An alert whose value has not been measured for so long is over: twelve intervals.
const STALE: Duration = secs(60);

/// The box and most trunks: each takes up to 150 KB.
const GROUPS_MAX: usize = 257;
