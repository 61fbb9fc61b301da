//! What the observers of a capture say, put together: calls and streams, the same whatever the
//! number of observers.

use std::io;

use super::Output;
use crate::{
    control::Calls,
    id::ShardId,
    shard::report::{CallEvent, CallReport, LossRunsReport, Report, StreamReport},
    time::Timestamp,
};

/// The calls of a capture, as far as it has been read.
#[derive(Debug)]
pub(super) struct Gatherer {
    calls: Calls,
    /// Whether it matters how a stream went on the way, and not only how it came out.
    wants_intervals: bool,
    streams: Vec<StreamReport>,
    loss_runs: Vec<LossRunsReport>,
    endings: Vec<CallReport>,
}

impl Gatherer {
    pub(super) fn new(wants_intervals: bool) -> Self {
        let points = if wants_intervals { TIMELINE_MAX } else { 0 };
        Self {
            calls: Calls::new(Timestamp::MIN, usize::MAX).with_timelines(points),
            wants_intervals,
            streams: Vec::new(),
            loss_runs: Vec::new(),
            endings: Vec::new(),
        }
    }

    /// Takes in what one observer says about a chunk. All say the same about calls, so that the
    /// first one is enough for those.
    pub(super) fn take(&mut self, reports: &[Report]) {
        for report in reports {
            match report {
                Report::Stream(report) if report.is_final || self.wants_intervals => {
                    self.streams.push(*report);
                }
                Report::LossRuns(report) if report.is_final || self.wants_intervals => {
                    self.loss_runs.push(*report);
                }
                Report::Call(report) if report.call.shard == ShardId(0) => match report.event {
                    CallEvent::Ended(_) | CallEvent::Failed(..) => self.endings.push(*report),
                    _ => self.calls.apply(&Report::Call(*report)),
                },
                Report::Text(text) if text.call.shard == ShardId(0) => self.calls.apply(report),
                Report::RoundTrip(rtt) if rtt.call.shard == ShardId(0) => self.calls.apply(report),
                Report::Flow(flow) if flow.call.shard == ShardId(0) => self.calls.apply(report),
                Report::Signalling(said) if said.call.shard == ShardId(0) => {
                    self.calls.apply(report);
                }
                Report::FarEnd(said) if said.call.shard == ShardId(0) => self.calls.apply(report),
                _ => {}
            }
        }
    }

    /// Puts together what all observers have said about a chunk, and hands on what is finished.
    pub(super) fn settle(&mut self, output: &mut Output) -> io::Result<()> {
        // A call is opened before its streams report, and they before it ends.
        self.streams.sort_by_key(|report| {
            (report.at, report.first_at, report.ssrc, report.src, report.dst, report.is_final)
        });
        // One observer has all there is to say about a stream, and says it in its order.
        self.loss_runs.sort_by_key(|piece| piece.stream);
        for mut report in self.streams.drain(..) {
            let Some(call) = report.call.as_mut() else {
                if report.is_final {
                    let start =
                        self.loss_runs.partition_point(|piece| piece.stream < report.stream);
                    let pieces = self.loss_runs[start..].iter();
                    let pieces = pieces.take_while(|piece| piece.stream == report.stream);
                    output.stream(&self.calls.orphan_with_runs(&report, pieces))?;
                }
                continue;
            };
            call.shard = ShardId(0);
            self.calls.apply(&Report::Stream(report));
        }
        for mut piece in self.loss_runs.drain(..) {
            if let Some(call) = piece.call.as_mut() {
                call.shard = ShardId(0);
                self.calls.apply(&Report::LossRuns(piece));
            }
        }
        for ending in self.endings.drain(..) {
            self.calls.apply(&Report::Call(ending));
        }
        for record in self.calls.take_finished() {
            output.call(&record)?;
        }
        Ok(())
    }

    /// Hands on the calls whose end was not seen.
    pub(super) fn finish(mut self, now: Option<Timestamp>, output: &mut Output) -> io::Result<()> {
        let now = now.unwrap_or_default();
        for record in self.calls.snapshot(now).active {
            output.call(&record.seen_at(now))?;
        }
        Ok(())
    }
}

/// Points of a timeline: seven hours of both directions, in steps of 5 s.
const TIMELINE_MAX: usize = 10_000;
