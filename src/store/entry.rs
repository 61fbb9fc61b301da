//! A finished call as it is stored: the facts that lists are filtered and sorted by, and the whole
//! record as the API shows it. It is never changed once it is made.

use std::net::IpAddr;

use super::{pack, rollup::Sample};
use crate::{
    control::{
        ladder::{Ladder, ShownLadder},
        record::{CallRecord, CallState},
    },
    json,
    time::Timestamp,
};

/// The facts of a finished call that lists are filtered and sorted by. Numbers are those that the
/// API shows, in thousandths of the unit it shows them in.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// When its INVITE arrived.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Whether it ended after having been answered; else it failed.
    pub is_answered: bool,
    /// Whether an alert names it.
    pub has_alert: bool,
    /// `mos_score`, thousandths.
    pub mos: Option<u32>,
    /// `packet_loss_percentage`, thousandths.
    pub loss: Option<u32>,
    /// `jitter_avg_ms`, microseconds.
    pub jitter: Option<u32>,
    /// `duration_seconds`, milliseconds.
    pub duration: u32,
    /// Codec of the worst direction.
    pub codec: Option<String>,
    /// The caller's User-Agent.
    pub user_agent: Option<String>,
    /// The From header's URI.
    pub from: Option<String>,
    /// The To header's URI.
    pub to: Option<String>,
    /// Where its INVITE came from.
    pub source: Option<IpAddr>,
}

impl Facts {
    /// The facts of a record.
    #[must_use]
    pub fn of(record: &CallRecord) -> Self {
        Self {
            start: record.start_time,
            end: record.end_time.unwrap_or(record.start_time),
            is_answered: record.state == CallState::Ended,
            has_alert: false,
            mos: record.score.mos_score.map(thousandths),
            loss: record.figures.packet_loss_percentage.map(thousandths),
            jitter: record.jitter_avg_ms.map(thousandths),
            duration: thousandths(record.duration_seconds),
            codec: record.codec.map(str::to_owned),
            user_agent: record.user_agent.clone(),
            from: record.from.clone(),
            to: record.to.clone(),
            source: record.source,
        }
    }
}

/// A finished call, ready to be written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) call_id: String,
    pub(super) facts: Facts,
    /// The call as lists show it, packed JSON.
    pub(super) record: Vec<u8>,
    /// Its timeline, packed JSON; `None` without points.
    pub(super) timeline: Option<Vec<u8>>,
    /// Its messages, packed JSON; `None` where they are not known.
    pub(super) ladder: Option<Vec<u8>>,
    /// What it gives to the figures behind trends.
    pub(super) sample: Sample,
}

impl Entry {
    pub(super) fn of(record: &CallRecord) -> Self {
        let timeline = (!record.timeline.is_empty()).then(|| pack::pack(&text(&record.timeline)));
        Self {
            call_id: record.call_id.clone(),
            facts: Facts::of(record),
            record: pack::pack(&text(record)),
            timeline,
            ladder: None,
            sample: Sample::of(record),
        }
    }

    /// The same with the messages of the call, without their secrets.
    pub(super) fn with_ladder(mut self, ladder: Option<&Ladder>) -> Self {
        let shown = ladder.map(|ladder| ShownLadder::of(ladder, true));
        self.ladder = shown.map(|shown| pack::pack(&text(&shown)));
        self
    }

    /// Bytes that it takes while it waits, as good as.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>()
            + self.record.len()
            + self.timeline.as_ref().map_or(0, Vec::len)
            + self.ladder.as_ref().map_or(0, Vec::len)
            + 256
    }
}

/// JSON as the API shows it.
pub(super) fn text<T: ?Sized + serde::Serialize>(value: &T) -> Vec<u8> {
    let mut text = Vec::new();
    // Only a writer that fails or a map with keys that are no text could make it fail.
    let _ = json::write(&mut text, value);
    text
}

/// A number as it is shown, in thousandths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and nothing shown is negative"
)]
pub(super) fn thousandths(value: f64) -> u32 {
    // The highest value stands for what is not known.
    ((value * 1e3).round() as u32).min(u32::MAX - 1)
}
