//! SIP methods, and the command sequence that repeats them.
//!
//! Never says what a method does.

use crate::wire::text::{decimal, split_word};

/// A SIP method. Names are case-sensitive (RFC 3261 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Begins or changes a session.
    Invite,
    /// Confirms the final response to an INVITE.
    Ack,
    /// Ends a session.
    Bye,
    /// Takes a pending INVITE back.
    Cancel,
    /// Asks for capabilities.
    Options,
    /// Binds an address.
    Register,
    /// Confirms a reliable provisional response (RFC 3262).
    Prack,
    /// Changes a session that is not yet set up (RFC 3311).
    Update,
    /// Carries mid-call signalling (RFC 6086).
    Info,
    /// Tells of an event (RFC 6665).
    Notify,
    /// Carries a text (RFC 3428).
    Message,
    /// Asks for events (RFC 6665).
    Subscribe,
    /// Asks for a transfer (RFC 3515).
    Refer,
    /// Publishes a state (RFC 3903).
    Publish,
    /// Any other name.
    Other,
}

impl Method {
    /// The method of a name.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        NAMES
            .iter()
            .find(|(known, _)| known.as_bytes() == name)
            .map_or(Self::Other, |&(_, method)| method)
    }

    /// Its name; `None` for [`Method::Other`].
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|&&(_, method)| method == self).map(|&(name, _)| name)
    }
}

/// A command sequence (RFC 3261 section 20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Its number.
    pub number: u32,
    /// Its method.
    pub method: Method,
    /// Its method as written, empty if it is missing.
    pub method_text: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads a header's value; `None` if it does not begin with a number of 32 bits.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (number, method_text) = split_word(value.trim_ascii());
        let number = decimal(number)?;
        Some(Self { number, method: Method::from_bytes(method_text), method_text })
    }
}

const NAMES: [(&str, Method); 14] = [
    ("INVITE", Method::Invite),
    ("ACK", Method::Ack),
    ("BYE", Method::Bye),
    ("CANCEL", Method::Cancel),
    ("OPTIONS", Method::Options),
    ("REGISTER", Method::Register),
    ("PRACK", Method::Prack),
    ("UPDATE", Method::Update),
    ("INFO", Method::Info),
    ("NOTIFY", Method::Notify),
    ("MESSAGE", Method::Message),
    ("SUBSCRIBE", Method::Subscribe),
    ("REFER", Method::Refer),
    ("PUBLISH", Method::Publish),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_sensitive() {
        for (name, method) in NAMES {
            assert_eq!(Method::from_bytes(name.as_bytes()), method);
            assert_eq!(Method::from_bytes(name.to_ascii_lowercase().as_bytes()), Method::Other);
            assert_eq!(method.name(), Some(name));
        }
        assert_eq!(Method::Other.name(), None);
    }

    #[test]
    fn a_sequence_may_be_folded_or_lack_its_method() {
        let folded = CSeq { number: 9, method: Method::Invite, method_text: b"INVITE" };
        assert_eq!(CSeq::parse(b" 0009\r\n  INVITE "), Some(folded));
        let bare = CSeq { number: 1, method: Method::Other, method_text: b"" };
        assert_eq!(CSeq::parse(b"1"), Some(bare));
        assert_eq!(CSeq::parse(b"36893488147419103232 REGISTER"), None);
        assert_eq!(CSeq::parse(b"INVITE"), None);
    }
}
