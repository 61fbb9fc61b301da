//! What is known of the input as a whole once it has been read: counts and spans.
//!
//! Never holds anything of a single call or stream, but the ladder of the one that was asked for.

use serde::{Serialize, Serializer};

use super::ladder::Ladder;
use crate::{control::signalling::SipRecord, time::Timestamp};

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
    /// The figures of SIP.
    pub sip: SipRecord,
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

/// Writes pairs as a JSON object, in their order.
pub(super) fn as_map<S: Serializer>(
    pairs: &&[(&'static str, u64)],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().copied())
}
