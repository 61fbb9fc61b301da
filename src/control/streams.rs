//! The streams of one call as their shard last reported them; records of them are made for who
//! looks, which is seldom, and not for every report, which is often.

use core::time::Duration;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{
    far_end::FarEndView,
    join::{Tally, measured_record, reported_record},
    record::{LossRuns, StreamRecord},
};
use crate::{
    id::{Ssrc, StreamRef},
    quality::score::Scoring,
    shard::{
        health::OwnFaults,
        report::{
            CLOSEUP_EVERY, Direction, FarEndReport, LossRunsReport, RemoteReport, RoundTrip,
            StreamReport,
        },
    },
    time::{NANOS_PER_SEC, Timestamp},
};

/// A call's streams in both directions.
#[derive(Clone, Debug, Default)]
pub struct CallStreams {
    call_id: Box<str>,
    measured: Vec<StreamReport>,
    /// Runs of lost packets, of those streams that have had any.
    loss_runs: Vec<(StreamRef, LossRuns)>,
    /// The sums of those past [`STREAMS_MAX`], by direction.
    others: Option<Box<[Option<Tally>; 2]>>,
    /// Boxed: most calls are only listened to.
    sent: Option<Box<RemoteReport>>,
    /// Boxed: few calls are only observed and have RTCP on both sides.
    rtt: Option<Box<RoundTrip>>,
    /// What far ends say of streams by extended reports; one entry a stream.
    far_ends: Vec<FarEndReport>,
    /// How their records are scored.
    scoring: Arc<Scoring>,
}

impl CallStreams {
    /// The streams that were measured, and the one that the far end reports about.
    #[must_use]
    pub fn new(call_id: &str, measured: Vec<StreamReport>, sent: Option<RemoteReport>) -> Self {
        let sent = sent.map(Box::new);
        Self { call_id: call_id.into(), measured, sent, ..Self::default() }
    }

    /// None yet; what comes is scored as `scoring` says.
    pub(super) fn scored_by(scoring: Arc<Scoring>) -> Self {
        Self { scoring, ..Self::default() }
    }

    /// How the streams are scored.
    pub(super) fn scoring(&self) -> &Scoring {
        &self.scoring
    }

    /// A record of each stream, measured ones first.
    pub fn records(&self) -> impl Iterator<Item = StreamRecord> {
        let rtt = self.round_trip();
        let measured = self.measured.iter().map(move |report| {
            let mut record = StreamRecord {
                remote: self.far_end(report.ssrc, report.direction, report.clock_rate),
                ..measured_record(report, &rtt, &self.scoring, Some(&self.call_id))
            };
            let runs = self.loss_runs.iter().find(|(stream, _)| *stream == report.stream);
            record.bursts.loss_runs = runs.map_or(LossRuns::NONE, |(_, runs)| runs.clone());
            record
        });
        let reported = |sent: &RemoteReport| StreamRecord {
            remote: self.far_end(sent.ssrc, Direction::Tx, sent.clock_rate),
            ..reported_record(sent, &self.scoring, Some(&self.call_id))
        };
        measured.chain(self.sent().map(reported))
    }

    /// Takes in a report of a measured stream and gives back the one before it.
    pub(super) fn measure(&mut self, call_id: &str, report: &StreamReport) -> Option<StreamReport> {
        let known = self.measured.iter_mut().find(|known| known.stream == report.stream);
        if let Some(known) = known {
            return Some(core::mem::replace(known, *report));
        }
        if self.measured.is_empty() {
            self.call_id = call_id.into();
            // One stream is the rule, and room for four the default.
            self.measured.reserve_exact(1);
        }
        if self.measured.len() < STREAMS_MAX {
            self.measured.push(*report);
        } else if report.is_final {
            // A far end that changes its SSRC all the time must not fill our memory: of what is
            // past the bound, the last word counts, and only in the sum.
            let tally = Tally::of_stream(report);
            let sum = &mut self.others.get_or_insert_default()[report.direction as usize];
            *sum = Some(sum.map_or(tally, |sum| sum.and(tally)));
        }
        None
    }

    /// Takes in a piece of the runs of lost packets of a stream that has been reported.
    pub(super) fn take_runs(&mut self, piece: &LossRunsReport) {
        if let Some(runs) = self.runs_mut(piece.stream) {
            runs.take(piece);
        }
    }

    /// Takes over what was known of a stream before it was known to be the call's.
    pub(super) fn adopt_runs(&mut self, stream: StreamRef, before: LossRuns) {
        if let Some(runs) = self.runs_mut(stream) {
            *runs = before;
        }
    }

    /// Takes in a report of the sent stream.
    pub(super) fn send(&mut self, call_id: &str, report: &RemoteReport) {
        self.call_id = call_id.into();
        self.sent = Some(Box::new(*report));
    }

    /// Takes in the round-trip times of a call that is only observed.
    pub(super) fn pass(&mut self, rtt: &RoundTrip) {
        self.rtt = Some(Box::new(*rtt));
    }

    /// Takes in what a far end says of a stream that it receives.
    pub(super) fn hear(&mut self, report: &FarEndReport) {
        let is_it = |known: &&mut FarEndReport| {
            (known.ssrc, known.direction) == (report.ssrc, report.direction)
        };
        if let Some(known) = self.far_ends.iter_mut().find(is_it) {
            known.at = report.at;
            known.metrics = report.metrics.or(known.metrics);
            known.summary = report.summary.or(known.summary);
        } else if self.far_ends.len() < STREAMS_MAX {
            self.far_ends.reserve_exact(1);
            self.far_ends.push(*report);
        }
    }

    fn far_end(
        &self,
        ssrc: Ssrc,
        direction: Direction,
        clock_rate: u32,
    ) -> Option<Box<FarEndView>> {
        let is_it = |it: &&FarEndReport| (it.ssrc, it.direction) == (ssrc, direction);
        let said = self.far_ends.iter().find(is_it)?;
        Some(Box::new(FarEndView::new(said, clock_rate)))
    }

    /// What the streams of one direction add up to, as they were measured, or else as the far end
    /// reports them; `None` without any. Video counts only where there is nothing else.
    pub(super) fn tally(&self, direction: Direction) -> Option<Tally> {
        let is_its = |report: &&StreamReport| report.direction == direction;
        let measured = self.measured.iter().filter(is_its).map(Tally::of_stream);
        let others = self.others.as_deref().and_then(|others| others[direction as usize]);
        let all = measured.chain(others);
        let heard = all.clone().filter(|tally| !tally.codec.is_video()).reduce(Tally::and);
        let reported = || match direction {
            Direction::Rx => None,
            Direction::Tx => self.sent().and_then(Tally::of_remote),
        };
        heard.or_else(|| all.reduce(Tally::and)).or_else(reported)
    }

    /// When there was media in a direction, and what can be heard in it; `None` if there was none.
    /// Video counts only where there is nothing else.
    pub(super) fn heard(&self, direction: Direction) -> Option<Heard> {
        let is_its = |report: &&StreamReport| report.direction == direction;
        let all = self.measured.iter().filter(is_its);
        let audio = all.clone().filter(|report| !report.codec.is_video());
        let sent = || self.sent().filter(|_| direction == Direction::Tx).map(Heard::of_sent);
        let audio = audio.map(Heard::of_stream).reduce(Heard::and);
        let heard = audio.or_else(|| all.map(Heard::of_stream).reduce(Heard::and)).or_else(sent);
        heard.map(Heard::with_pauses)
    }

    /// Packets sent to the caller.
    pub(super) fn packets_sent(&self) -> u64 {
        let seen = self.measured.iter().filter(|report| report.direction == Direction::Tx);
        let expected = seen.map(|report| report.counts.expected).sum();
        self.sent().map_or(expected, |sent| sent.packets_sent)
    }

    /// Most that its shard lost itself while one of the streams was up.
    pub(super) fn own_faults(&self) -> OwnFaults {
        self.measured.iter().map(|report| report.own).fold(OwnFaults::default(), OwnFaults::max)
    }

    /// The round-trip times of the call.
    pub(super) fn round_trip(&self) -> RoundTrip {
        let seen = self.rtt.as_deref().copied();
        seen.or_else(|| self.sent.as_ref().map(|sent| sent.rtt)).unwrap_or_default()
    }

    /// The runs of a stream that has a record.
    fn runs_mut(&mut self, stream: StreamRef) -> Option<&mut LossRuns> {
        self.measured.iter().find(|report| report.stream == stream)?;
        let known = self.loss_runs.iter().position(|(of, _)| *of == stream);
        let at = known.unwrap_or_else(|| {
            self.loss_runs.reserve_exact(1);
            self.loss_runs.push((stream, LossRuns::NONE));
            self.loss_runs.len() - 1
        });
        Some(&mut self.loss_runs[at].1)
    }

    /// The sent stream, if anything has been sent: a report may come for its round trip alone.
    fn sent(&self) -> Option<&RemoteReport> {
        self.sent.as_deref().filter(|sent| sent.packets_sent > 0)
    }
}

/// When there was media in one direction of a call, and what can be heard in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    /// Whether there were times without any packet: its sender suppresses silence, or was on hold.
    pub(super) pauses: bool,
    /// Packets whose payload was looked at, how much time they stand for, and those in which
    /// nothing can be heard.
    pub(super) sampled: u32,
    pub(super) sampled_time: Duration,
    pub(super) silent: u32,
    /// How much time its packets fill.
    filled: Duration,
}

impl Heard {
    fn of_stream(report: &StreamReport) -> Self {
        let ticks = |packets: u64| {
            let nanos = u128::from(packets) * u128::from(report.ptime_ticks) * NANOS_PER_SEC_WIDE;
            let nanos = nanos.checked_div(report.clock_rate.into()).unwrap_or(0);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let closeup = report.closeup;
        Self {
            first_at: report.first_at,
            last_at: report.last_at,
            pauses: false,
            sampled: closeup.sampled,
            sampled_time: ticks(u64::from(closeup.sampled) * CLOSEUP_EVERY),
            silent: closeup.silent,
            filled: ticks(report.counts.expected),
        }
    }

    const fn of_sent(report: &RemoteReport) -> Self {
        Self {
            first_at: report.first_at,
            last_at: report.last_at,
            pauses: false,
            sampled: 0,
            sampled_time: Duration::ZERO,
            silent: 0,
            filled: Duration::MAX,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
            pauses: false,
            sampled: self.sampled + other.sampled,
            sampled_time: self.sampled_time + other.sampled_time,
            silent: self.silent + other.silent,
            filled: self.filled.saturating_add(other.filled),
        }
    }

    fn with_pauses(self) -> Self {
        let pauses = self.last_at.since(self.first_at).saturating_sub(self.filled) > PAUSES_MIN;
        Self { pauses, ..self }
    }
}

/// A second that no packet fills tells that packets are not sent all the time.
const PAUSES_MIN: Duration = Duration::from_secs(1);

const NANOS_PER_SEC_WIDE: u128 = NANOS_PER_SEC as u128;

/// Measured streams of one call that have a record.
const STREAMS_MAX: usize = 16;

impl Serialize for CallStreams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.records())
    }
}
