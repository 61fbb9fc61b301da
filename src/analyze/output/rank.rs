//! What stands before what in a table: the worst first.
//!
//! Never scores: it compares scores, and asks the thresholds of the API what an issue is.

use std::{cmp::Ordering, net::SocketAddr};

use crate::{
    control::record::{CallRecord, CallState, StreamRecord},
    quality::THRESHOLDS,
    time::Timestamp,
};

/// Where a call stands; lower is worse. Ties go by time and name, so that the same calls stand
/// in the same order whatever the order they end in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallRank {
    group: CallGroup,
    badness: Badness,
    start_time: Timestamp,
    call_id: String,
}

/// What an engineer asks for first: which calls were bad, which ones had no media to score, which
/// never came about. Those without a fault come last, so that they do not push the others out of
/// a short table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CallGroup {
    /// Answered and outside a threshold of the API, lowest MOS first.
    WithIssue,
    /// Answered, without a score.
    Unscored,
    /// Not answered: failed, or still on its way.
    Unanswered,
    /// Answered and as it should be, lowest MOS first.
    Good,
}

impl CallRank {
    /// The rank of a call.
    pub(super) fn of(record: &CallRecord) -> Self {
        let (mos, loss) = (record.score.mos_score, record.figures.packet_loss_percentage);
        let has_issue = THRESHOLDS.exceeded(mos, loss, record.jitter_max_ms, record.latency_max_ms);
        let group = match record.state {
            CallState::Trying | CallState::Ringing | CallState::Failed => CallGroup::Unanswered,
            CallState::Active | CallState::Ended if has_issue => CallGroup::WithIssue,
            CallState::Active | CallState::Ended if mos.is_none() => CallGroup::Unscored,
            CallState::Active | CallState::Ended => CallGroup::Good,
        };
        Self {
            group,
            badness: Badness { mos, loss },
            start_time: record.start_time,
            call_id: record.call_id.clone(),
        }
    }
}

/// Where a stream stands; lower is worse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamRank {
    group: StreamGroup,
    badness: Badness,
    first_time: Option<Timestamp>,
    way: (SocketAddr, SocketAddr, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StreamGroup {
    /// Outside a threshold of the API.
    WithIssue,
    /// Without a score.
    Unscored,
    /// As it should be.
    Good,
}

impl StreamRank {
    /// The rank of a stream.
    pub(super) fn of(record: &StreamRecord) -> Self {
        let (mos, loss) = (record.mos_cq.or(record.mos_lq), record.loss_percentage);
        let has_issue = THRESHOLDS.exceeded(mos, loss, record.jitter_max_ms, record.rtt_ms);
        let group = if has_issue {
            StreamGroup::WithIssue
        } else if mos.is_none() {
            StreamGroup::Unscored
        } else {
            StreamGroup::Good
        };
        Self {
            group,
            badness: Badness { mos, loss },
            first_time: record.first_time,
            way: (record.src, record.dst, record.ssrc.0),
        }
    }
}

/// The lower MOS first, those without one last, the higher loss first among them.
#[derive(Clone, Copy, Debug)]
struct Badness {
    mos: Option<f64>,
    loss: Option<f64>,
}

impl Ord for Badness {
    fn cmp(&self, other: &Self) -> Ordering {
        let mos = |badness: &Self| badness.mos.unwrap_or(f64::INFINITY);
        let loss = |badness: &Self| badness.loss.unwrap_or(0.0);
        mos(self).total_cmp(&mos(other)).then_with(|| loss(other).total_cmp(&loss(self)))
    }
}

impl PartialOrd for Badness {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Badness {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Badness {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples;

    #[test]
    fn bad_calls_stand_first_and_good_ones_last() {
        let scored = |id, mos| samples::call(id, 0, Some(mos));
        let mut lossy = samples::call("lossy", 0, None);
        lossy.figures.packet_loss_percentage = Some(9.0);
        let mut ringing = samples::failed("ringing", 2, 180);
        ringing.state = CallState::Ringing;
        let in_order = [
            scored("bad", 1.5),
            scored("poor", 3.2),
            lossy,
            samples::call("no media", 0, None),
            samples::failed("busy", 1, 486),
            ringing,
            scored("fair", 3.8),
            scored("good", 4.2),
            scored("good too", 4.2),
        ];
        let mut sorted: Vec<_> = in_order.iter().rev().collect();
        sorted.sort_by_key(|record| CallRank::of(record));
        let ids = |records: &[&CallRecord]| -> Vec<_> {
            records.iter().map(|record| record.call_id.clone()).collect()
        };
        assert_eq!(ids(&sorted), ids(&in_order.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn streams_go_the_same_way() {
        let with = |ssrc, mos, loss| {
            let mut record = samples::stream(ssrc, None);
            (record.mos_cq, record.mos_lq, record.loss_percentage) = (None, mos, loss);
            record
        };
        let in_order = [
            with(9, Some(2.0), None),
            with(8, Some(3.0), Some(0.0)),
            with(7, None, Some(30.0)),
            with(6, None, Some(3.0)),
            with(5, None, None),
            with(1, Some(3.6), Some(1.0)),
            with(2, Some(4.4), Some(0.5)),
            with(3, Some(4.4), Some(0.0)),
            with(4, Some(4.4), None),
        ];
        let mut sorted: Vec<_> = in_order.iter().rev().collect();
        sorted.sort_by_key(|record| StreamRank::of(record));
        let ssrcs = |records: &[&StreamRecord]| -> Vec<_> {
            records.iter().map(|record| record.ssrc.0).collect()
        };
        assert_eq!(ssrcs(&sorted), ssrcs(&in_order.iter().collect::<Vec<_>>()));
    }
}
