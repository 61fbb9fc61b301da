//! The streams of one call as their shard last reported them; records of them are made for who
//! looks, which is seldom, and not for every report, which is often.

use serde::{Serialize, Serializer};

use super::{
    join::{Tally, rx_record, tx_record},
    record::StreamRecord,
};
use crate::shard::report::{RemoteReport, RoundTrip, StreamReport};

/// A call's streams in both directions.
#[derive(Clone, Debug, Default)]
pub struct CallStreams {
    call_id: Box<str>,
    received: Vec<StreamReport>,
    /// The sum of those past [`STREAMS_MAX`].
    others: Option<Box<Tally>>,
    /// Boxed: most calls are only listened to.
    sent: Option<Box<RemoteReport>>,
}

impl CallStreams {
    /// The streams received from the far end, and the one sent to it.
    #[must_use]
    pub fn new(call_id: &str, received: Vec<StreamReport>, sent: Option<RemoteReport>) -> Self {
        Self { call_id: call_id.into(), received, others: None, sent: sent.map(Box::new) }
    }

    /// A record of each stream, received ones first.
    pub fn records(&self) -> impl Iterator<Item = StreamRecord> {
        let rtt = self.round_trip();
        let received =
            self.received.iter().map(move |report| rx_record(report, &rtt, Some(&self.call_id)));
        received.chain(self.sent().map(|sent| tx_record(sent, Some(&self.call_id))))
    }

    /// Takes in a report of a received stream and gives back the one before it.
    pub(super) fn receive(&mut self, call_id: &str, report: &StreamReport) -> Option<StreamReport> {
        let known = self.received.iter_mut().find(|known| known.stream == report.stream);
        if let Some(known) = known {
            return Some(core::mem::replace(known, *report));
        }
        if self.received.is_empty() {
            self.call_id = call_id.into();
            // One stream is the rule, and room for four the default.
            self.received.reserve_exact(1);
        }
        if self.received.len() < STREAMS_MAX {
            self.received.push(*report);
        } else if report.is_final {
            // A far end that changes its SSRC all the time must not fill our memory: of what is
            // past the bound, the last word counts, and only in the sum.
            let tally = Tally::of_stream(report);
            self.others = Some(Box::new(self.others.take().map_or(tally, |sum| sum.and(tally))));
        }
        None
    }

    /// Takes in a report of the sent stream.
    pub(super) fn send(&mut self, call_id: &str, report: &RemoteReport) {
        self.call_id = call_id.into();
        self.sent = Some(Box::new(*report));
    }

    /// What all received streams add up to; `None` without any.
    pub(super) fn received_tally(&self) -> Option<Tally> {
        let received = self.received.iter().map(Tally::of_stream);
        received.chain(self.others.as_deref().copied()).reduce(Tally::and)
    }

    /// What the far end says it received; `None` without a word from it.
    pub(super) fn sent_tally(&self) -> Option<Tally> {
        self.sent().and_then(Tally::of_remote)
    }

    /// Packets sent.
    pub(super) fn packets_sent(&self) -> u64 {
        self.sent().map_or(0, |sent| sent.packets_sent)
    }

    /// Most that its shard lost itself while one of the streams was up.
    pub(super) fn own_drops(&self) -> u64 {
        self.received.iter().map(|report| report.own_drops).max().unwrap_or(0)
    }

    /// The round-trip times of the call.
    pub(super) fn round_trip(&self) -> RoundTrip {
        self.sent.as_ref().map_or_else(RoundTrip::default, |sent| sent.rtt)
    }

    /// The sent stream, if anything has been sent: a report may come for its round trip alone.
    fn sent(&self) -> Option<&RemoteReport> {
        self.sent.as_deref().filter(|sent| sent.packets_sent > 0)
    }
}

/// Received streams of one call that have a record.
const STREAMS_MAX: usize = 16;

impl Serialize for CallStreams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.records())
    }
}
