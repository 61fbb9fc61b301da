//! How calls end, as rates of failure count them. It looks at signalling alone.

use super::window::Sums;
use crate::control::record::{CallRecord, CallState, EndedBy};

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answered, or refused by the called party: the network did its part (SEER, RFC 6076 section
    /// 4.7).
    Effective,
    /// Redirected or asked for a password: not an attempt of its own (the same section).
    NotCounted,
    /// Given up by the caller before an answer.
    Abandoned,
    /// Failed otherwise.
    Failed,
}

impl Outcome {
    /// How a call has ended.
    pub(super) fn of(call: &CallRecord) -> Self {
        if call.state == CallState::Ended {
            return Self::Effective;
        }
        match call.status_code {
            Some(300..=399 | 401 | 402 | 407) => Self::NotCounted,
            Some(480 | 486 | 600 | 603) => Self::Effective,
            Some(487) => Self::Abandoned,
            _ if call.ended_by == Some(EndedBy::Caller) => Self::Abandoned,
            _ => Self::Failed,
        }
    }

    /// Counts it.
    pub(super) fn count(self, sums: &mut Sums) {
        sums.finished += u64::from(self != Self::NotCounted);
        sums.failed += u64::from(self == Self::Failed);
        sums.abandoned += u64::from(self == Self::Abandoned);
    }
}
