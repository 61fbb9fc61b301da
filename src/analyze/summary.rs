//! What is known of the input as a whole once it has been read: counts and spans.
//!
//! Never holds anything of a single call or stream, but the ladder of the one that was asked for.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::ladder::Ladder;
use crate::{
    time::Timestamp,
    wire::sip::{SipMessage, StartLine},
};

/// The input as a whole.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The captures, in the order they were named.
    pub files: Vec<FileSummary>,
    /// Packets in them, of whatever kind.
    pub packets: u64,
    /// Octets of these packets as they were on the wire.
    pub bytes: u64,
    /// Time of the earliest packet.
    pub first_time: Option<Timestamp>,
    /// Time of the latest packet.
    pub last_time: Option<Timestamp>,
    /// The SIP messages.
    pub sip: SipSummary,
    /// Packets that nothing was measured of, by reason.
    pub ignored: Vec<(&'static str, u64)>,
    /// What the reader of the figures must know, a sentence each.
    pub warnings: Vec<String>,
    /// The ladder of the call that was asked for.
    pub ladder: Option<Ladder>,
}

/// One capture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FileSummary {
    /// Its name as it was given.
    pub path: String,
    /// What kind of file it is: `pcap`, `pcapng`.
    pub format: String,
    /// Packets in it.
    pub packets: u64,
    /// Time of its earliest packet.
    pub first_time: Option<Timestamp>,
    /// Time of its latest packet.
    pub last_time: Option<Timestamp>,
}

/// Counts of SIP messages. Bounded: what has no name here counts as `other`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SipSummary {
    /// Messages, retransmissions among them.
    pub messages: u64,
    /// Requests by method.
    pub requests: BTreeMap<&'static str, u64>,
    /// Responses by status code, 100 to 999.
    pub responses: BTreeMap<u16, u64>,
    /// Messages that had come before.
    pub retransmissions: u64,
    /// Datagrams that begin like SIP and cannot be read.
    pub malformed: u64,
}

impl SipSummary {
    /// Counts a message by what it is.
    pub fn count(&mut self, message: &SipMessage<'_>) {
        self.messages += 1;
        match message.start_line() {
            StartLine::Request { method, .. } => {
                *self.requests.entry(method.name().unwrap_or(OTHER)).or_default() += 1;
            }
            StartLine::Response { code, .. } => *self.responses.entry(code).or_default() += 1,
        }
    }

    /// Adds the counts of another part of the input.
    pub fn add(&mut self, part: &Self) {
        self.messages += part.messages;
        self.retransmissions += part.retransmissions;
        self.malformed += part.malformed;
        for (method, count) in &part.requests {
            *self.requests.entry(method).or_default() += count;
        }
        for (code, count) in &part.responses {
            *self.responses.entry(*code).or_default() += count;
        }
    }
}

/// Writes pairs as a JSON object, in their order.
pub(super) fn as_map<S: Serializer>(
    pairs: &&[(&'static str, u64)],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().copied())
}

/// A method that has no name here.
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_count_by_what_they_are() {
        let mut sip = SipSummary::default();
        for text in ["INVITE sip:a@b SIP/2.0\r\n\r\n", "FOO sip:a@b SIP/2.0\r\n\r\n"] {
            sip.count(&SipMessage::parse(text.as_bytes()).unwrap());
        }
        sip.count(&SipMessage::parse(b"SIP/2.0 486 Busy\r\n\r\n").unwrap());
        let mut both = sip.clone();
        both.add(&sip);
        assert_eq!(both.messages, 6);
        assert_eq!(both.requests, BTreeMap::from([("INVITE", 2), ("other", 2)]));
        assert_eq!(both.responses, BTreeMap::from([(486, 2)]));
    }
}
