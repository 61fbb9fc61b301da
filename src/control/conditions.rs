//! What is wrong with a call beside its scores: media that is missing, late, or silent.
//!
//! One function decides, for whoever shows it. It knows what was seen where the call was measured
//! and nothing else: media that takes another way is missing here.

use core::time::Duration;

use serde::{Serialize, Serializer};

use super::{
    record::{CallRecord, Direction},
    streams::Heard,
};
use crate::{limits::REPORT_INTERVAL, shard::report::Flow, time::Timestamp};

/// Something that is wrong with the media of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Condition {
    /// Answered, and [`NO_MEDIA_AFTER`] later nothing had come in any direction in which media was
    /// expected.
    NoMedia,
    /// Media was expected both ways, and one way there was some for [`ONE_WAY_AFTER`] while there
    /// was none the other way: from the beginning, or to the end.
    OneWayAudio,
    /// The first packet of a direction came later than [`LATE_MEDIA_AFTER`] after the answer.
    LateMedia,
    /// There was media, and [`EARLY_END_BEFORE`] before the call's end, or before now, it had
    /// stopped in all directions in which it was still expected.
    EarlyMediaEnd,
    /// [`DEAD_AIR_MIN`] or more of G.711 in one direction, and nothing to be heard in any of it,
    /// but for at most [`DEAD_AIR_SOUND_MAX`] of the packets looked at.
    DeadAir,
}

impl Condition {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::NoMedia, Self::OneWayAudio, Self::LateMedia, Self::EarlyMediaEnd, Self::DeadAir];

    /// Its name in figures that are shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoMedia => "no_media",
            Self::OneWayAudio => "one_way_audio",
            Self::LateMedia => "late_media",
            Self::EarlyMediaEnd => "early_media_end",
            Self::DeadAir => "dead_air",
        }
    }
}

/// A set of conditions; shown as a list of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions(u8);

impl Conditions {
    /// Whether a condition is one of them.
    #[must_use]
    pub const fn contains(self, condition: Condition) -> bool {
        self.0 >> condition as u8 & 1 == 1
    }

    /// Those that hold, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Condition> {
        Condition::ALL.into_iter().filter(move |&condition| self.contains(condition))
    }
}

impl FromIterator<Condition> for Conditions {
    fn from_iter<I: IntoIterator<Item = Condition>>(conditions: I) -> Self {
        Self(conditions.into_iter().fold(0, |bits, condition| bits | 1 << condition as u8))
    }
}

impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Condition::name))
    }
}

/// What is wrong with a call at a moment, or was when it ended. Where a call was on hold, its
/// beginning is judged up to the first hold, and its end since the last.
#[must_use]
pub fn conditions(record: &CallRecord, now: Timestamp) -> Conditions {
    let Some(answered) = record.answer_time else { return Conditions::default() };
    let until = record.end_time.unwrap_or(now);
    let [rx, tx] = [Direction::Rx, Direction::Tx].map(|direction| Way {
        expected: record.expected.of(direction),
        heard: record.streams.heard(direction),
        answered,
        until,
    });
    let ways = [&rx, &tx];
    Condition::ALL
        .into_iter()
        .filter(|condition| match condition {
            Condition::NoMedia => has_no_media(ways),
            Condition::OneWayAudio => is_one_way(&rx, &tx),
            Condition::LateMedia => ways.iter().any(|way| way.is_late()),
            Condition::EarlyMediaEnd => has_ended_early(ways),
            Condition::DeadAir => ways.iter().any(|way| way.is_dead()),
        })
        .collect()
}

/// Nothing came in any direction since it was expected.
fn has_no_media(ways: [&Way; 2]) -> bool {
    let mut spans = ways.into_iter().filter_map(|way| Some((way, way.last_span()?))).peekable();
    let is_expected = spans.peek().is_some();
    is_expected
        && spans.all(|(way, span)| way.last_in(span).is_none() && span.lasts() >= NO_MEDIA_AFTER)
}

/// One way there was media while there was none the other way.
fn is_one_way(one: &Way, other: &Way) -> bool {
    let (Some(of_one), Some(of_other)) = (one.last_span(), other.last_span()) else { return false };
    let span = Span { from: of_one.from.max(of_other.from), to: of_one.to.min(of_other.to) };
    one.is_missed_by(other, span) || other.is_missed_by(one, span)
}

/// All media that is expected has stopped.
fn has_ended_early(ways: [&Way; 2]) -> bool {
    let mut open = ways.into_iter().filter(|way| way.expected.since.is_some()).peekable();
    open.peek().is_some()
        && open.all(|way| {
            let last = way.last_span().and_then(|span| way.last_in(span));
            last.is_some_and(|last| way.until.since(last) >= way.patience(EARLY_END_BEFORE))
        })
}

/// One direction of a call that was answered.
#[derive(Clone, Copy, Debug)]
struct Way {
    expected: Expectation,
    heard: Option<Heard>,
    answered: Timestamp,
    /// The call's end, or now.
    until: Timestamp,
}

impl Way {
    /// When media was expected for the last time: until the end, or else up to the first hold.
    fn last_span(&self) -> Option<Span> {
        match self.expected.since {
            Some(since) => Some(Span { from: since.max(self.answered), to: self.until }),
            None => self.first_span(),
        }
    }

    /// When media was expected from the answer on; `None` if it was not.
    fn first_span(&self) -> Option<Span> {
        let to = self.expected.first_until.unwrap_or(self.until).min(self.until);
        (to > self.answered).then_some(Span { from: self.answered, to })
    }

    /// When the last packet came, if that was within or after a span.
    fn last_in(&self, span: Span) -> Option<Timestamp> {
        self.heard.map(|heard| heard.last_at).filter(|&last| last >= span.from)
    }

    /// Whether there was media the other way for long, and none here.
    fn is_missed_by(&self, other: &Self, span: Span) -> bool {
        let (Some(heard), Some(_)) = (other.heard, other.last_in(span)) else { return false };
        let (begun, ended) = (heard.first_at.max(span.from), heard.last_at.min(span.to));
        let last_here = self.last_in(span).unwrap_or(span.from);
        let first_here = self.heard.map_or(Timestamp::MAX, |heard| heard.first_at);
        ended.since(begun.max(last_here)) >= self.patience(ONE_WAY_AFTER)
            || first_here.min(ended).since(begun) >= ONE_WAY_AFTER
    }

    /// Whether media that was expected from the answer on was long in coming.
    fn is_late(&self) -> bool {
        let (Some(span), Some(heard)) = (self.first_span(), self.heard) else { return false };
        heard.first_at <= span.to && heard.first_at.since(span.from) > LATE_MEDIA_AFTER
    }

    /// Whether there was nothing but silence.
    fn is_dead(&self) -> bool {
        let Some(heard) = self.heard else { return false };
        let sound = f64::from(heard.sampled - heard.silent.min(heard.sampled));
        heard.sampled_time >= DEAD_AIR_MIN && sound <= DEAD_AIR_SOUND_MAX * f64::from(heard.sampled)
    }

    /// How long nothing may come. Who has been silent before, and has sent nothing meanwhile, may
    /// be so again.
    fn patience(&self, usual: Duration) -> Duration {
        let pauses = self.heard.is_some_and(|heard| heard.pauses);
        if pauses { usual * PATIENCE_WITH_PAUSES } else { usual }
    }
}

/// A time in which media was expected.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    const fn lasts(self) -> Duration {
        self.to.since(self.from)
    }
}

/// When media of a call was expected in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected([Expectation; 2]);

impl Expected {
    /// Goes on with what session descriptions say from a moment on.
    pub(super) fn change(&mut self, at: Timestamp, flow: Flow) {
        let [rx, tx] = &mut self.0;
        rx.change(at, flow.rx);
        tx.change(at, flow.tx);
    }

    const fn of(&self, direction: Direction) -> Expectation {
        self.0[direction as usize]
    }
}

/// When media was expected in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expectation {
    /// Since when it is, the last time; `None` while it is not.
    since: Option<Timestamp>,
    /// When it was not, for the first time.
    first_until: Option<Timestamp>,
}

impl Expectation {
    fn change(&mut self, at: Timestamp, is_expected: bool) {
        if is_expected {
            self.since.get_or_insert(at);
        } else if self.since.take().is_some() {
            self.first_until.get_or_insert(at);
        }
    }
}

impl Default for Expectation {
    /// Always.
    fn default() -> Self {
        Self { since: Some(Timestamp::MIN), first_until: None }
    }
}

/// How long a call may be up without any media.
pub const NO_MEDIA_AFTER: Duration = Duration::from_secs(5);

/// How long there may be media one way only.
pub const ONE_WAY_AFTER: Duration = Duration::from_secs(10);

/// How long after the answer media may begin: later than this, the first words are lost.
pub const LATE_MEDIA_AFTER: Duration = Duration::from_secs(1);

/// How long before the end of a call its media may stop.
pub const EARLY_END_BEFORE: Duration = Duration::from_secs(10);

/// How much silence is dead air.
pub const DEAD_AIR_MIN: Duration = Duration::from_secs(5);

/// The share of packets in dead air that may not be silent: a click when a line is switched.
pub const DEAD_AIR_SOUND_MAX: f64 = 0.02;

/// How many times as long a sender may be silent that suppresses silence.
const PATIENCE_WITH_PAUSES: u32 = 6;

// While a call is up, what is known of its streams is as old as their last report.
const _: () = assert!(ONE_WAY_AFTER.as_secs() > REPORT_INTERVAL.as_secs());
const _: () = assert!(EARLY_END_BEFORE.as_secs() > REPORT_INTERVAL.as_secs());
