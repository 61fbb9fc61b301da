//! What SIP has passed: messages by method and status. It follows no call.

use core::hash::{BuildHasher, Hasher};
use std::collections::BTreeMap;

use crate::{
    time::Timestamp,
    wire::{
        Datagram,
        sip::{SipMessage, StartLine},
    },
};

/// Counts of SIP messages.
#[derive(Clone, Debug)]
pub struct SipStatistics {
    /// Messages that were understood.
    pub messages: u64,
    /// Messages that were not.
    pub malformed: u64,
    /// Of those understood, seen before: the same bytes on the same way within 32 s.
    pub retransmissions: u64,
    requests: BTreeMap<&'static str, u64>,
    responses: BTreeMap<u16, u64>,
    recent: Box<[(u64, Timestamp)]>,
}

impl SipStatistics {
    /// Requests by method; those of unknown methods together as `other`.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.requests.iter().map(|(&method, &count)| (method, count))
    }

    /// Responses by status.
    pub fn responses(&self) -> impl Iterator<Item = (u16, u64)> {
        self.responses.iter().map(|(&status, &count)| (status, count))
    }

    /// Counts a message.
    pub(crate) fn count(&mut self, datagram: &Datagram<'_>, message: &SipMessage<'_>) {
        self.messages += 1;
        self.retransmissions += u64::from(self.is_repeated(datagram));
        match message.start_line() {
            StartLine::Request { method, .. } => {
                *self.requests.entry(method.name().unwrap_or(OTHER)).or_default() += 1;
            }
            StartLine::Response { code, .. } => *self.responses.entry(code).or_default() += 1,
        }
    }

    /// Whether the same bytes have gone the same way of late. Over TCP nothing is sent again.
    fn is_repeated(&mut self, datagram: &Datagram<'_>) -> bool {
        use core::hash::Hash as _;
        if datagram.transport != crate::wire::Transport::Udp {
            return false;
        }
        let mut hasher = foldhash::quality::FixedState::default().build_hasher();
        (datagram.src, datagram.dst).hash(&mut hasher);
        hasher.write(datagram.payload);
        let hash = hasher.finish();
        let at = datagram.received_at;
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let place = &mut self.recent[hash as usize % RECENT];
        let (before, when) = core::mem::replace(place, (hash, at));
        before == hash && at.since(when).as_secs() < REPEATED_WITHIN_SECS
    }
}

impl Default for SipStatistics {
    fn default() -> Self {
        Self {
            messages: 0,
            malformed: 0,
            retransmissions: 0,
            requests: BTreeMap::new(),
            responses: BTreeMap::new(),
            recent: vec![(0, Timestamp::MIN); RECENT].into(),
        }
    }
}

const OTHER: &str = "other";

/// Messages that a repetition is looked for among: 256 KiB.
const RECENT: usize = 16_384;

/// 64 times T1: no transaction sends longer (RFC 3261 section 17).
const REPEATED_WITHIN_SECS: u64 = 32;
