//! What a REGISTER asks for (RFC 3261 section 10.2), and the order of those of one client.
//!
//! Never changes a binding.

use core::hash::{BuildHasher, Hasher};

use super::{Refusal, settings::RegistrarSettings};
use crate::{
    limits::{CONTACT_MAX, CONTACTS_PER_USER_MAX},
    wire::sip::{HeaderName, NameAddr, SipMessage, elements},
};

/// What a REGISTER asks for.
#[derive(Debug)]
pub(super) enum Asked<'a> {
    /// What there is.
    Query,
    /// That nothing be there any more: `Contact: *`.
    RemoveAll,
    /// These contacts.
    Change(Vec<Contact<'a>>),
}

/// One contact of a REGISTER.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact<'a> {
    pub(super) address: NameAddr<'a>,
    /// Seconds; 0 takes it back.
    pub(super) expires: u32,
}

/// Which REGISTER a binding is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Hash of the Call-ID.
    pub(super) call_id: u64,
    pub(super) cseq: u32,
    /// Hash of the branch: the transaction.
    branch: u64,
}

impl<'a> Asked<'a> {
    pub(super) fn read(
        request: &SipMessage<'a>,
        settings: &RegistrarSettings,
    ) -> Result<Self, Refusal> {
        let default = request.expires().unwrap_or(settings.expires_s);
        let mut contacts = Vec::new();
        for element in request.values(HeaderName::Contact).flat_map(elements) {
            let address = NameAddr::parse(element);
            if contacts.len() == CONTACTS_PER_USER_MAX {
                return Err(Refusal::TableFull);
            }
            if address.uri != b"*" && !is_sound(element, &address) {
                return Err(Refusal::BadContact);
            }
            // What is no number has been refused before.
            let own = address.param("expires").and_then(|text| str::from_utf8(text).ok());
            let expires = own.and_then(|text| text.parse().ok()).unwrap_or(default);
            contacts.push(Contact { address, expires });
        }
        if contacts.iter().any(|contact| contact.address.uri == b"*") {
            let is_all = contacts.len() == 1 && request.expires() == Some(0);
            return if is_all { Ok(Self::RemoveAll) } else { Err(Refusal::BadContact) };
        }
        for contact in &mut contacts {
            if (1..settings.min_expires_s).contains(&contact.expires) {
                return Err(Refusal::TooBrief);
            }
            contact.expires = contact.expires.min(settings.max_expires_s);
        }
        Ok(if contacts.is_empty() { Self::Query } else { Self::Change(contacts) })
    }
}

impl Origin {
    pub(super) fn of(request: &SipMessage<'_>, hasher: &foldhash::quality::FixedState) -> Self {
        let hash = |text: &[u8]| {
            let mut hasher = hasher.build_hasher();
            hasher.write(text);
            hasher.finish()
        };
        Self {
            call_id: hash(request.call_id().unwrap_or_default()),
            cseq: request.cseq().map_or(0, |cseq| cseq.number),
            branch: hash(request.via().and_then(|via| via.branch).unwrap_or_default()),
        }
    }

    /// Whether a REGISTER may change a binding that `before` made: those of one client do in the
    /// order of their numbers, and one that comes again does no harm.
    pub(super) fn may_follow(self, before: Self) -> bool {
        self.call_id != before.call_id || self.cseq > before.cseq || self == before
    }
}

/// Whether a contact can stand in a response as it is: nothing in it ends a line, and an address
/// with a `?` is in angle brackets (RFC 3261 section 20.10).
fn is_sound(element: &[u8], address: &NameAddr<'_>) -> bool {
    let is_bare = !element.contains(&b'<');
    element.len() <= CONTACT_MAX
        && address.uri.iter().all(u8::is_ascii_graphic)
        && !(is_bare && address.uri.contains(&b'?'))
        && !element.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
