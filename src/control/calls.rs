//! All calls that control knows: reports go in, records come out. Reads no clock.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    conditions::conditions,
    finished::Finished,
    join::{Tally, call_score},
    ladder::{Ladder, Message},
    ladders::{LadderLimits, Ladders},
    phone_reports::{PhoneReports, PhoneView},
    record::{
        CallRecord, CallScore, CallState, Conditions, EndedBy, Expected, Figures, Integrity,
        Interval, RttFigures, ShardHealth, Snapshot, StreamRecord, TimelinePoint, Totals,
        WorstInterval,
    },
    registered::Registered,
    signalling::{CallSignalling, Place, SipRecord},
    spreads::Spreads,
    streams::CallStreams,
};
use crate::{
    id::{CallRef, ShardId, StreamRef},
    quality::{THRESHOLDS, score::Scoring},
    shard::{
        distributions::Distributions,
        health::OwnFaults,
        registrar::RegisteredUser,
        report::{
            CallEvent, CallReport, Direction, FarEndReport, LossRunsReport, RemoteReport, Report,
            RoundTrip, RoundTripReport, StreamReport, TextField, TextReport,
        },
    },
    time::Timestamp,
    trunks::Trunks,
    wire::Datagram,
};

/// The calls that are up, those of the recent past, and the streams that belong to none.
#[derive(Debug)]
pub struct Calls {
    started_at: Timestamp,
    history_max: usize,
    timeline_max: usize,
    scoring: Arc<Scoring>,
    trunks: Arc<Trunks>,
    /// In order of arrival.
    active: BTreeMap<u64, Call>,
    order: HashMap<CallRef, u64>,
    opened: u64,
    history: VecDeque<Arc<CallRecord>>,
    orphans: BTreeMap<StreamRef, Arc<StreamRecord>>,
    phone_reports: Arc<PhoneReports>,
    /// Reported since they were last asked for, where anyone asks.
    reported: Option<Vec<(Arc<str>, Arc<PhoneView>)>>,
    registered: Registered,
    totals: Totals,
    /// Shared with the last snapshot; copied when a call finishes after it.
    finished_by: Arc<Finished>,
    shards: Vec<ShardHealth>,
    distributions: Distributions,
    /// What they come to; `None` when more has been merged since.
    spreads: Option<(Arc<Spreads>, Arc<SipRecord>)>,
    has_news: bool,
    /// Finished since they were last asked for, where anyone asks.
    finished: Option<Vec<Arc<CallRecord>>>,
    ladders: Ladders,
    /// Measured since they were last asked for, where anyone asks.
    intervals: Option<Vec<(Arc<CallRecord>, Interval)>>,
}

/// A call that is up: its record, and what the next report is compared with.
#[derive(Debug)]
struct Call {
    record: Arc<CallRecord>,
    /// How the timeline goes on in each direction.
    pace: [Pace; 2],
}

/// How much time a point of the timeline stands for, in reports, and how many of them the last
/// one has.
#[derive(Clone, Copy, Debug)]
struct Pace {
    step: u32,
    pending: u32,
}

impl Calls {
    /// Nothing yet. At most `history_max` finished calls are kept.
    #[must_use]
    pub fn new(started_at: Timestamp, history_max: usize) -> Self {
        Self {
            started_at,
            history_max,
            timeline_max: TIMELINE_MAX,
            scoring: Arc::default(),
            trunks: Arc::default(),
            active: BTreeMap::new(),
            order: HashMap::new(),
            opened: 0,
            history: VecDeque::new(),
            orphans: BTreeMap::new(),
            phone_reports: Arc::default(),
            reported: None,
            registered: Registered::default(),
            totals: Totals::default(),
            finished_by: Arc::default(),
            shards: Vec::new(),
            distributions: Distributions::new(),
            spreads: None,
            has_news: true,
            finished: None,
            ladders: Ladders::default(),
            intervals: None,
        }
    }

    /// The same with finished calls kept for [`finished`](Self::finished), which must be asked
    /// for them now and then.
    #[must_use]
    pub fn with_finished(mut self) -> Self {
        self.finished = Some(Vec::new());
        self
    }

    /// The same with reports of phones kept for [`reported`](Self::reported), which must be asked
    /// for them now and then.
    #[must_use]
    pub fn with_reported(mut self) -> Self {
        self.reported = Some(Vec::new());
        self
    }

    /// The same with intervals kept for [`intervals`](Self::intervals), which must be asked for
    /// them now and then.
    #[must_use]
    pub fn with_intervals(mut self) -> Self {
        self.intervals = Some(Vec::new());
        self
    }

    /// The same with the messages of calls kept within limits.
    #[must_use]
    pub fn with_ladders(mut self, limits: LadderLimits) -> Self {
        self.ladders = Ladders::new(limits);
        self
    }

    /// The same with timelines of at most `points` points, instead of five minutes of them.
    #[must_use]
    pub const fn with_timelines(mut self, points: usize) -> Self {
        self.timeline_max = points;
        self
    }

    /// The same with calls scored as `scoring` says, from the next one on.
    #[must_use]
    pub fn with_scoring(mut self, scoring: Scoring) -> Self {
        self.scoring = Arc::new(scoring);
        self
    }

    /// The same with networks called as `trunks` says.
    #[must_use]
    pub fn with_trunks(mut self, trunks: Arc<Trunks>) -> Self {
        self.trunks = trunks;
        self
    }

    /// The record of a stream that belongs to no call.
    #[must_use]
    pub fn orphan(&self, report: &StreamReport) -> StreamRecord {
        StreamRecord::of_orphan(report, &self.scoring)
    }

    /// The same with the pieces of its runs of lost packets.
    #[must_use]
    pub fn orphan_with_runs<'a>(
        &self,
        report: &StreamReport,
        pieces: impl IntoIterator<Item = &'a LossRunsReport>,
    ) -> StreamRecord {
        let mut record = self.orphan(report);
        pieces.into_iter().for_each(|piece| record.bursts.loss_runs.take(piece));
        record
    }

    /// Takes away the finished calls, oldest first.
    pub fn take_finished(&mut self) -> impl Iterator<Item = Arc<CallRecord>> {
        self.history.drain(..)
    }

    /// The calls that have finished since it was last called, oldest first.
    pub fn finished(&mut self) -> impl Iterator<Item = Arc<CallRecord>> {
        self.finished.iter_mut().flat_map(|finished| finished.drain(..))
    }

    /// The reports of phones since it was last called, oldest first, each with what names its call.
    pub fn reported(&mut self) -> impl Iterator<Item = (Arc<str>, Arc<PhoneView>)> {
        self.reported.iter_mut().flat_map(|reported| reported.drain(..))
    }

    /// The intervals of calls that were measured since it was last called, with the call as it
    /// was after each, in order. Those of a call that has finished meanwhile are among them.
    pub fn intervals(&mut self) -> impl Iterator<Item = (Arc<CallRecord>, Interval)> {
        self.intervals.iter_mut().flat_map(|intervals| intervals.drain(..))
    }

    /// Takes in a report.
    pub fn apply(&mut self, report: &Report) {
        self.has_news = true;
        match report {
            Report::Call(report) => self.on_call(report),
            Report::Text(report) => self.on_text(report),
            Report::Stream(report) => self.on_stream(report),
            Report::LossRuns(report) => self.on_loss_runs(report),
            Report::Remote(report) => {
                if let Some(call) = self.call(report.call) {
                    call.on_remote(report);
                }
            }
            Report::FarEnd(report) => {
                if let Some(call) = self.call(report.call) {
                    call.on_far_end(report);
                }
            }
            Report::RoundTrip(report) => {
                if let Some(call) = self.call(report.call) {
                    call.on_round_trip(report);
                }
            }
            Report::Flow(report) => {
                if let Some(call) = self.call(report.call) {
                    Arc::make_mut(&mut call.record).expected.change(report.at, report.flow);
                }
            }
            Report::Signalling(report) => {
                if let Some(call) = self.call(report.call) {
                    Arc::make_mut(&mut call.record).signalling = CallSignalling::of(report);
                }
            }
            Report::Phone(report) => {
                let taken = Arc::make_mut(&mut self.phone_reports).take(report, &self.scoring);
                self.reported.iter_mut().for_each(|reported| reported.push(taken.clone()));
            }
            Report::Health(health) => self.on_health(*health),
        }
    }

    /// Takes in a message of a call, given by the shard's serial.
    pub fn pass(&mut self, shard: ShardId, serial: u64, passed: &Datagram<'_>, is_again: bool) {
        let Datagram { received_at: at, src, dst, transport, payload: bytes, .. } = *passed;
        let message = Message { at, src, dst, transport, is_again, bytes };
        self.ladders.push(CallRef { shard, serial }, &message);
    }

    /// Takes in what a shard tells of a user whose contacts have changed.
    pub fn take_registered(&mut self, user: RegisteredUser) {
        self.has_news = true;
        self.registered.take(user);
    }

    /// What is to be stored of the messages of a call that is over. They go from here before long.
    pub fn take_ladder(&self, record: &CallRecord, now: Timestamp) -> Option<Ladder> {
        self.ladders.finish(record.reference?, now)
    }

    /// Takes in distributions of a shard.
    pub fn merge_distributions(&mut self, filled: &Distributions) {
        self.distributions.merge(filled);
        self.spreads = None;
    }

    /// Whether anything has come since the last snapshot.
    #[must_use]
    pub const fn has_news(&self) -> bool {
        self.has_news
    }

    /// All there is to see, now.
    pub fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        self.has_news = false;
        let found = &self.distributions;
        let (spreads, sip) = self.spreads.get_or_insert_with(|| {
            (Arc::new(Spreads::of(found)), Arc::new(SipRecord::of(&found.sip, Place::Callee)))
        });
        Snapshot {
            taken_at: now,
            started_at: self.started_at,
            active: self.active.values().map(|call| Arc::clone(&call.record)).collect(),
            history: self.history.iter().cloned().collect(),
            orphans: self.orphans.values().cloned().collect(),
            phone_reports: Arc::clone(&self.phone_reports),
            registered: self.registered.shown(now),
            totals: self.totals,
            finished: Arc::clone(&self.finished_by),
            shards: self.shards.clone(),
            spreads: Arc::clone(spreads),
            sip: Arc::clone(sip),
            ladders: self.ladders.clone(),
        }
    }

    fn call(&mut self, call: CallRef) -> Option<&mut Call> {
        self.active.get_mut(self.order.get(&call)?)
    }

    fn on_call(&mut self, report: &CallReport) {
        if report.event == CallEvent::Opened {
            self.opened += 1;
            self.order.insert(report.call, self.opened);
            let scoring = Arc::clone(&self.scoring);
            let mut call = Call::new(report.at, scoring);
            Arc::make_mut(&mut call.record).reference = Some(report.call);
            self.active.insert(self.opened, call);
            return;
        }
        let Some(call) = self.call(report.call) else { return };
        call.on_event(report.at, report.event);
        if call.record.state.is_over() {
            self.finish(report.call);
        }
    }

    fn on_text(&mut self, report: &TextReport) {
        let trunks = Arc::clone(&self.trunks);
        let Some(call) = self.call(report.call) else { return };
        let text = String::from_utf8_lossy(&report.bytes[..usize::from(report.len)]);
        let record = Arc::make_mut(&mut call.record);
        match report.field {
            TextField::CallId => record.call_id.push_str(&text),
            TextField::From => record.from.get_or_insert_default().push_str(&text),
            TextField::To => record.to.get_or_insert_default().push_str(&text),
            TextField::UserAgent => record.user_agent.get_or_insert_default().push_str(&text),
            // One piece: no address is longer.
            TextField::Source => {
                record.source = text.parse().ok();
                record.trunk = record.source.map(|source| trunks.of(source));
            }
        }
    }

    fn on_stream(&mut self, report: &StreamReport) {
        match report.call {
            Some(call) => {
                // What was an orphan has found its call.
                let orphan = self.orphans.remove(&report.stream);
                let timeline_max = self.timeline_max;
                let order = self.order.get(&call);
                if let Some(call) = order.and_then(|order| self.active.get_mut(order)) {
                    let interval = call.on_stream(report, timeline_max);
                    if let Some(orphan) = orphan {
                        let streams = &mut Arc::make_mut(&mut call.record).streams;
                        streams.adopt_runs(report.stream, orphan.bursts.loss_runs.clone());
                    }
                    if let Some((interval, intervals)) = interval.zip(self.intervals.as_mut()) {
                        intervals.push((Arc::clone(&call.record), interval));
                    }
                }
            }
            None => {
                let mut orphan = self.orphan(report);
                if let Some(before) = self.orphans.get(&report.stream) {
                    orphan.bursts.loss_runs = before.bursts.loss_runs.clone();
                }
                self.orphans.insert(report.stream, Arc::new(orphan));
                if self.orphans.len() > ORPHANS_MAX {
                    self.orphans.pop_first();
                }
            }
        }
    }

    fn on_loss_runs(&mut self, report: &LossRunsReport) {
        if let Some(call) = report.call {
            if let Some(call) = self.call(call) {
                Arc::make_mut(&mut call.record).streams.take_runs(report);
            }
        } else if let Some(orphan) = self.orphans.get_mut(&report.stream) {
            Arc::make_mut(orphan).bursts.loss_runs.take(report);
        }
    }

    fn on_health(&mut self, health: ShardHealth) {
        let index = usize::from(health.shard);
        if self.shards.len() <= index {
            self.shards.resize(index + 1, ShardHealth::default());
        }
        self.shards[index] = health;
    }

    /// Moves a call from the active ones to the history.
    fn finish(&mut self, call: CallRef) {
        let Some(call) = self.order.remove(&call).and_then(|order| self.active.remove(&order))
        else {
            return;
        };
        self.totals.add(&call.record);
        Arc::make_mut(&mut self.finished_by).add(&call.record);
        if let Some(finished) = &mut self.finished {
            finished.push(Arc::clone(&call.record));
        }
        if self.history.len() >= self.history_max {
            self.history.pop_front();
        }
        if self.history_max > 0 {
            self.history.push_back(call.record);
        }
    }
}

impl Call {
    fn new(at: Timestamp, scoring: Arc<Scoring>) -> Self {
        let pace = Pace { step: 1, pending: 0 };
        Self { record: Arc::new(CallRecord::opened(at, scoring)), pace: [pace; 2] }
    }

    fn on_event(&mut self, at: Timestamp, event: CallEvent) {
        let record = Arc::make_mut(&mut self.record);
        let status = match event {
            CallEvent::Opened | CallEvent::Ended(_) => None,
            CallEvent::Progressed(status)
            | CallEvent::Answered(status)
            | CallEvent::Failed(status, _) => Some(status),
        };
        record.status_code = status.or(record.status_code);
        match event {
            CallEvent::Opened => {}
            // A 100 says only that the request has arrived.
            CallEvent::Progressed(100) => {}
            CallEvent::Progressed(_) => record.state = CallState::Ringing,
            CallEvent::Answered(_) => {
                record.state = CallState::Active;
                record.answer_time = Some(at);
            }
            CallEvent::Ended(by) if record.answer_time.is_some() => {
                record.end(at, CallState::Ended, by);
            }
            CallEvent::Ended(by) => record.end(at, CallState::Failed, by),
            CallEvent::Failed(_, by) => record.end(at, CallState::Failed, by),
        }
    }

    fn on_stream(&mut self, report: &StreamReport, timeline_max: usize) -> Option<Interval> {
        let record = Arc::make_mut(&mut self.record);
        let before = record.streams.measure(&record.call_id, report);
        let point =
            (timeline_max > 0).then(|| self.add_to_timeline(report, before.as_ref(), timeline_max));
        self.refresh();
        let since = before.map_or(report.first_at, |before| before.at);
        point.flatten().map(|point| Interval { since, point })
    }

    fn on_round_trip(&mut self, report: &RoundTripReport) {
        Arc::make_mut(&mut self.record).streams.pass(&report.rtt);
        self.refresh();
    }

    /// What the far end says is shown and changes nothing else.
    fn on_far_end(&mut self, report: &FarEndReport) {
        Arc::make_mut(&mut self.record).streams.hear(report);
    }

    fn on_remote(&mut self, report: &RemoteReport) {
        let record = Arc::make_mut(&mut self.record);
        record.streams.send(&record.call_id, report);
        self.refresh();
    }

    /// Works out everything that depends on the streams.
    fn refresh(&mut self) {
        let record = Arc::make_mut(&mut self.record);
        let streams = &record.streams;
        let (rx, tx) = (streams.tally(Direction::Rx), streams.tally(Direction::Tx));
        let rtt = streams.round_trip();
        record.packets_sent = streams.packets_sent();
        let own = streams.own_faults();
        (record.own_drops, record.own_stalls) = (own.drops.into(), own.stalls.into());
        record.integrity = integrity(own);
        record.latency_avg_ms = rtt.mean_ms();
        record.rtt = RttFigures::new(&rtt);
        record.latency_max_ms = record.rtt.rtt_max_ms;
        record.set_figures(rx, tx, &rtt);
    }

    /// Adds an interval to the timeline and gives it back. When the timeline is full, each two
    /// points become one, so that a long call is seen whole in bounded memory.
    fn add_to_timeline(
        &mut self,
        report: &StreamReport,
        before: Option<&StreamReport>,
        points_max: usize,
    ) -> Option<TimelinePoint> {
        let rtt = self.record.streams.round_trip();
        let earlier = before.map(Tally::of_stream).unwrap_or_default();
        let tally = Tally::of_stream(report).since(&earlier);
        if tally.expected == 0 || !report.codec.is_speech() {
            return None;
        }
        let mos = tally.score(&rtt, self.record.streams.scoring()).mos();
        let own = report.own.since(before.map(|before| before.own).unwrap_or_default());
        #[expect(clippy::cast_possible_truncation, reason = "a plot needs no more digits")]
        let point = TimelinePoint {
            direction: report.direction,
            time: report.at,
            packets_received: saturate(tally.received),
            packets_lost: i32::try_from(tally.lost).unwrap_or(i32::MAX),
            packets_discarded: saturate(tally.discarded),
            jitter_ms: report.jitter_us as f32 / 1e3,
            mos: mos.map(|mos| mos as f32),
            integrity: integrity(own),
        };
        let record = Arc::make_mut(&mut self.record);
        if let Some(mos) = mos.filter(|_| point.integrity == Integrity::Clean) {
            record.worst_interval.see(mos, point.time);
        }
        let timeline = &mut record.timeline;
        let pace = &mut self.pace[report.direction as usize];
        pace.pending += 1;
        let mut points = timeline.iter_mut().rev();
        match points.find(|last| last.direction == report.direction) {
            Some(last) if pace.pending < pace.step => last.extend(&point),
            _ => {
                timeline.push(point);
                pace.pending = 0;
            }
        }
        if timeline.len() >= points_max {
            *timeline = halved(timeline);
            self.pace.iter_mut().for_each(|pace| pace.step *= 2);
        }
        Some(point)
    }
}

impl TimelinePoint {
    /// Goes on with the interval after this one. The worse score stays: that is what a timeline
    /// is looked at for.
    fn extend(&mut self, next: &Self) {
        self.time = next.time;
        self.packets_received = self.packets_received.saturating_add(next.packets_received);
        self.packets_lost = self.packets_lost.saturating_add(next.packets_lost);
        self.packets_discarded = self.packets_discarded.saturating_add(next.packets_discarded);
        self.jitter_ms = self.jitter_ms.max(next.jitter_ms);
        self.mos = match (self.mos, next.mos) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if next.integrity == Integrity::Suspect {
            self.integrity = Integrity::Suspect;
        }
    }
}

impl CallRecord {
    /// A call of which nothing is known but its INVITE.
    #[must_use]
    pub fn opened(start_time: Timestamp, scoring: Arc<Scoring>) -> Self {
        Self {
            call_id: String::new(),
            from: None,
            to: None,
            user_agent: None,
            source: None,
            trunk: None,
            state: CallState::Trying,
            status_code: None,
            ended_by: None,
            start_time,
            answer_time: None,
            end_time: None,
            duration_seconds: 0.0,
            signalling: CallSignalling::default(),
            packets_sent: 0,
            figures: Figures::default(),
            jitter_avg_ms: None,
            jitter_max_ms: None,
            latency_avg_ms: None,
            latency_max_ms: None,
            rtt: RttFigures::default(),
            codec: None,
            score: CallScore { mos_reason: Some(NO_MEDIA), ..CallScore::default() },
            worst_interval: WorstInterval::default(),
            integrity: Integrity::Clean,
            own_drops: 0,
            own_stalls: 0,
            conditions: Conditions::default(),
            expected: Expected::default(),
            streams: CallStreams::scored_by(scoring),
            timeline: Vec::new(),
            reference: None,
        }
    }

    fn end(&mut self, at: Timestamp, state: CallState, by: EndedBy) {
        self.state = state;
        self.ended_by = Some(by);
        self.end_time = Some(at);
        self.duration_seconds =
            self.answer_time.map_or(0.0, |answered| at.since(answered).as_secs_f64());
        self.conditions = conditions(self, at);
        self.timeline.shrink_to_fit();
    }

    /// Takes over the figures of the worse direction: the one with the lower score, or where
    /// scores do not tell, with the higher loss.
    fn set_figures(&mut self, rx: Option<Tally>, tx: Option<Tally>, rtt: &RoundTrip) {
        // Of two that are equal the one measured here counts, and the last one is taken.
        let scoring = self.streams.scoring();
        let scored = [tx, rx].into_iter().flatten();
        let scored = scored.map(|tally| (tally, tally.score(rtt, scoring)));
        let badness = |(tally, score): &(Tally, crate::quality::score::Score)| {
            (-score.mos().unwrap_or(f64::INFINITY), tally.loss_percentage().unwrap_or(0.0))
        };
        let worst = scored.max_by(|a, b| {
            let (a, b) = (badness(a), badness(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let Some((tally, score)) = worst else { return };
        self.figures = tally.figures();
        self.jitter_avg_ms = tally.jitter_mean_ms();
        self.jitter_max_ms = tally.jitter_max_ms();
        self.codec = tally.codec.name();
        self.score = call_score(&score, tally.buffer(self.streams.scoring()));
    }
}

impl Totals {
    fn add(&mut self, record: &CallRecord) {
        self.calls += 1;
        let is_answered = record.state == CallState::Ended;
        self.answered += u64::from(is_answered);
        self.failed += u64::from(!is_answered);
        let is_suspect = record.integrity == Integrity::Suspect;
        self.suspect += u64::from(is_suspect);
        let scored = record.score.mos_score.zip(record.score.mos_basis);
        if let Some((mos, basis)) = scored.filter(|_| !is_suspect) {
            self.mos.add(basis.scale, mos);
        }
        let has_issue = THRESHOLDS.exceeded(
            record.score.mos_score,
            record.figures.packet_loss_percentage,
            record.jitter_max_ms,
            record.latency_max_ms,
        );
        self.with_issues += u64::from(is_answered && !is_suspect && has_issue);
    }
}

/// A timeline of half as many points: each two in a row of one direction become one.
fn halved(timeline: &[TimelinePoint]) -> Vec<TimelinePoint> {
    let mut halved = Vec::with_capacity(timeline.len());
    let mut open: [Option<TimelinePoint>; 2] = [None; 2];
    for point in timeline {
        match open[point.direction as usize].take() {
            None => open[point.direction as usize] = Some(*point),
            Some(mut both) => {
                both.extend(point);
                halved.push(both);
            }
        }
    }
    halved.extend(open.into_iter().flatten());
    halved.sort_by_key(|point| point.time);
    halved
}

const fn integrity(own: OwnFaults) -> Integrity {
    if own.is_none() { Integrity::Clean } else { Integrity::Suspect }
}

fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Streams without a call that are remembered.
const ORPHANS_MAX: usize = 1000;

/// Points of a timeline. A call's first five minutes are seen in steps of 5 s.
const TIMELINE_MAX: usize = 60;

/// Why a call has no score before its first stream reports.
const NO_MEDIA: &str = "no media";
