//! The ladder of the one call that was asked for, out of all messages of a capture.
//!
//! Never reads a message that cannot be the call's.

use std::{collections::HashSet, hash::BuildHasher as _};

use foldhash::quality::RandomState;
use memchr::memmem::Finder;

use crate::{
    control::ladder::{LadderRow, Message},
    wire::{Datagram, sip::SipMessage},
};

/// The messages with one Call-ID.
#[derive(Clone, Debug)]
pub struct Ladder {
    call_id: Finder<'static>,
    found: crate::control::ladder::Ladder,
    hasher: RandomState,
    /// Hashes of the messages and of the ways they went.
    seen: HashSet<u64>,
}

impl Ladder {
    /// No messages yet.
    #[must_use]
    pub fn new(call_id: &str) -> Self {
        Self {
            call_id: Finder::new(call_id.as_bytes()).into_owned(),
            found: crate::control::ladder::Ladder::default(),
            hasher: RandomState::default(),
            seen: HashSet::new(),
        }
    }

    /// Takes a datagram, or a message out of a TCP stream; what is no message of the call is
    /// passed over. Cheap for those: their bytes are searched, not read.
    pub fn observe(&mut self, datagram: &Datagram<'_>) {
        if self.call_id.find(datagram.payload).is_none() {
            return;
        }
        let Ok(message) = SipMessage::parse(datagram.payload) else { return };
        if message.call_id() != Some(self.call_id.needle()) {
            return;
        }
        let Datagram { received_at: at, src, dst, transport, payload: bytes, .. } = *datagram;
        let hash = self.hasher.hash_one((src, dst, bytes));
        let is_again = self.seen.contains(&hash);
        if self.seen.len() < SEEN_MAX {
            self.seen.insert(hash);
        }
        self.found.push(&Message { at, src, dst, transport, is_again, bytes }, BYTES_MAX);
    }

    /// The messages, oldest first.
    #[must_use]
    pub fn rows(&self) -> Vec<LadderRow> {
        self.found.rows(false)
    }

    /// Messages that there was no room for.
    #[must_use]
    pub const fn omitted(&self) -> u64 {
        self.found.omitted()
    }

    /// Messages of the call, shown or not.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.found.messages()
    }
}

/// Octets of one call's messages that are kept: as many as 200 have.
const BYTES_MAX: usize = 1 << 20;

/// Messages of one call that a retransmission is looked for among.
const SEEN_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analyze::samples::{address, at_ms},
        wire::{IpMarks, Transport},
    };

    const INVITE: &str = "INVITE sip:v1@172.16.0.1 SIP/2.0\r\nCall-ID: a@b\r\n\
        CSeq: 1 INVITE\r\n\r\n";

    fn observe(ladder: &mut Ladder, ms: u64, from: usize, to: usize, text: &str) {
        ladder.observe(&Datagram {
            received_at: at_ms(ms),
            src: address(from),
            dst: address(to),
            transport: Transport::Udp,
            marks: IpMarks::UNKNOWN,
            payload: text.as_bytes(),
        });
    }

    #[test]
    fn the_same_bytes_the_same_way_are_a_retransmission() {
        let mut ladder = Ladder::new("a@b");
        observe(&mut ladder, 0, 1, 2, INVITE);
        observe(&mut ladder, 1, 2, 3, INVITE);
        observe(&mut ladder, 500, 1, 2, INVITE);
        observe(&mut ladder, 600, 1, 2, &INVITE.replace("1 INVITE", "2 INVITE"));
        let again: Vec<_> = ladder.rows().iter().map(|row| row.retransmission).collect();
        assert_eq!(again, [false, false, true, false]);
    }

    #[test]
    fn what_is_of_another_call_is_passed_over() {
        let mut ladder = Ladder::new("a@b");
        observe(&mut ladder, 0, 1, 2, &INVITE.replace("a@b", "xa@b"));
        observe(&mut ladder, 0, 1, 2, "a@b");
        observe(&mut ladder, 0, 1, 2, "BYE sip:a@b SIP/2.0\r\nCall-ID: c\r\n\r\n");
        assert_eq!(ladder.messages(), 0);
    }
}
