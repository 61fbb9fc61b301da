//! What is known of a registered contact, and how control hears of it: whole users, whose state
//! replaces what was told before. What was told in vain is put right by what comes next.

use core::time::Duration;
use std::{net::SocketAddr, sync::Arc};

use super::request::{Contact, Origin};
use crate::{
    limits::BINDING_TEXT_MAX,
    shard::Shard,
    time::Timestamp,
    wire::{Datagram, Transport, put::put, sip::SipMessage},
};

/// One contact of a user.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its URI.
    pub uri: Arc<[u8]>,
    /// Its parameters with their semicolons, without `expires`.
    pub params: Arc<[u8]>,
    /// Who registered it last.
    pub sender: Arc<Sender>,
    /// When it was first registered.
    pub registered_at: Timestamp,
    /// When it was registered last.
    pub refreshed_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    pub(super) origin: Origin,
}

/// What a REGISTER tells about who sent it. Texts are cut to [`BINDING_TEXT_MAX`].
#[derive(Clone, Debug)]
pub struct Sender {
    /// Where it came from.
    pub source: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// Its User-Agent.
    pub user_agent: Option<Box<[u8]>>,
    /// Its Call-ID.
    pub call_id: Box<[u8]>,
}

/// All contacts of a user at one moment; none are the end of what was told before.
#[derive(Clone, Debug)]
pub struct RegisteredUser {
    /// The canonical address of record.
    pub user: Arc<[u8]>,
    /// Its contacts, newest last.
    pub bindings: Arc<[Binding]>,
}

impl Binding {
    /// A contact as it is registered now; `first` is when it was registered first.
    pub(super) fn new(
        contact: &Contact<'_>,
        origin: Origin,
        sender: &Arc<Sender>,
        (now, first): (Timestamp, Timestamp),
    ) -> Self {
        let mut params = Vec::new();
        for param in contact.address.params() {
            if param.name.eq_ignore_ascii_case(b"expires") {
                continue;
            }
            put!(&mut params, ";", param.name);
            if let Some(value) = param.raw_value {
                put!(&mut params, "=", value);
            }
        }
        Self {
            uri: contact.address.uri.into(),
            params: params.into(),
            sender: Arc::clone(sender),
            registered_at: first,
            refreshed_at: now,
            expires_at: now + Duration::from_secs(contact.expires.into()),
            origin,
        }
    }
}

impl Sender {
    pub(super) fn of(datagram: &Datagram<'_>, request: &SipMessage<'_>) -> Self {
        let cut = |text: &[u8]| text[..text.len().min(BINDING_TEXT_MAX)].into();
        Self {
            source: datagram.src,
            transport: datagram.transport,
            user_agent: request.user_agent().map(cut),
            call_id: cut(request.call_id().unwrap_or_default()),
        }
    }
}

impl Shard {
    /// Has control told of the users whose contacts have changed: those from the first that `tell`
    /// says no to are told of the next time.
    pub fn tell_registered(&mut self, mut tell: impl FnMut(RegisteredUser) -> bool) {
        let registrar = &mut self.registrar;
        while let Some(user) = registrar.untold.first() {
            let bindings = registrar.users.get(user).cloned().unwrap_or_default();
            if !tell(RegisteredUser { user: Arc::clone(user), bindings }) {
                return;
            }
            registrar.untold.pop_first();
        }
    }
}
