//! The registrar (RFC 3261 section 10.3): which contacts a user has, and until when.
//!
//! A REGISTER changes all that it asks for or nothing. The users of one address of record meet on
//! one shard, whatever their Call-IDs: [`owner`](super::owner) goes by To. Any domain is welcome,
//! since nothing is ever routed by what is registered here. Path (RFC 3327) is ignored for the same
//! reason.

mod binding;
mod request;
mod settings;

use core::time::Duration;
use std::{
    collections::{BTreeSet, HashMap},
    io::Write as _,
    sync::Arc,
};

use self::request::{Asked, Contact, Origin};
pub use self::{
    binding::{Binding, RegisteredUser, Sender},
    settings::{RawRegistrar, RegistrarError, RegistrarSettings},
};
use super::{
    Shard,
    auth::Verdict,
    health::Registrations,
    outbox::Outbox,
    response::{Content, Status},
    timers::Timer,
};
use crate::{
    limits::{CONTACT_MAX, CONTACTS_PER_USER_MAX},
    time::Timestamp,
    wire::{
        Datagram,
        sip::{SipMessage, is_same_uri, write_address_of_record},
    },
};

/// The users of one shard and their contacts.
#[derive(Debug)]
pub(crate) struct Registrar {
    settings: RegistrarSettings,
    /// Of each the contacts, newest last; never none.
    users: HashMap<Arc<[u8]>, Arc<[Binding]>, foldhash::quality::FixedState>,
    /// When a user's next binding ends, soonest first; each user once.
    expiries: BTreeSet<(Timestamp, Arc<[u8]>)>,
    bindings: usize,
    /// When the shard's timer next wakes it.
    armed: Timestamp,
    /// Users that have changed since control was told of them.
    untold: BTreeSet<Arc<[u8]>>,
    counts: Registrations,
}

/// Why a REGISTER changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An address of record or a contact that cannot be, or a `*` that is not alone or not to be
    /// removed.
    BadContact,
    /// For less time than is granted.
    TooBrief,
    /// A later REGISTER of the same client has been seen.
    OutOfOrder,
    /// There is no room for what it adds.
    TableFull,
}

impl Shard {
    /// Answers a REGISTER.
    pub(super) fn on_register(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        match self.verdict(datagram, request, out) {
            Verdict::Admitted => {}
            Verdict::Missing | Verdict::Stale => return self.registrar.counts.challenged += 1,
            Verdict::Wrong | Verdict::Forbidden => {
                self.registrar.counts.attempts += 1;
                self.registrar.counts.failed_4xx += 1;
                return;
            }
        }
        let now = datagram.received_at;
        let budget = datagram.payload.len();
        let mut headers = String::new();
        let mut bindings = Vec::new();
        let status = match self.registrar.register(datagram, request) {
            Ok(user) => {
                self.registrar.write_bindings(&mut bindings, &user, now, budget);
                Status::OK
            }
            Err(Refusal::BadContact) => Status::BAD_REQUEST,
            Err(Refusal::TooBrief) => {
                let least = self.config.registrar.min_expires_s;
                headers = format!("Min-Expires: {least}\r\n");
                Status::INTERVAL_TOO_BRIEF
            }
            Err(Refusal::OutOfOrder) => Status::SERVER_INTERNAL_ERROR,
            Err(Refusal::TableFull) => {
                RETRY_AFTER.clone_into(&mut headers);
                Status::SERVICE_UNAVAILABLE
            }
        };
        let content = Content { headers: &headers, bindings: &bindings, ..Content::default() };
        self.respond_with(datagram, request, status, content, out);
        self.arm_registrar();
    }

    /// Ends the bindings whose time is over.
    pub(super) fn poll_registrar(&mut self, now: Timestamp) {
        self.registrar.armed = Timestamp::MAX;
        self.registrar.expire(now);
        self.arm_registrar();
    }

    fn arm_registrar(&mut self) {
        let Some(next) = self.registrar.next_expiry().filter(|&at| at < self.registrar.armed)
        else {
            return;
        };
        self.registrar.armed = next;
        self.timers.wake(next, Timer::Registrar);
    }
}

impl Registrar {
    /// A registrar that knows nobody. `seed` is secret in a live appliance: clients choose the
    /// keys.
    pub(crate) fn new(settings: RegistrarSettings, seed: u64) -> Self {
        Self {
            settings,
            users: HashMap::with_hasher(foldhash::quality::FixedState::with_seed(seed)),
            expiries: BTreeSet::new(),
            bindings: 0,
            armed: Timestamp::MAX,
            untold: BTreeSet::new(),
            counts: Registrations::default(),
        }
    }

    /// From now on grants what these settings say. What has been granted stays.
    pub(crate) const fn take_settings(&mut self, settings: RegistrarSettings) {
        self.settings = settings;
    }

    /// Counters and levels.
    pub(crate) fn counts(&self) -> Registrations {
        let level = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (active, users) = (level(self.bindings), level(self.users.len()));
        Registrations { active, users, ..self.counts }
    }

    /// Does what a REGISTER asks for, or nothing; gives the user's address of record.
    fn register(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
    ) -> Result<Arc<[u8]>, Refusal> {
        // Who looks must not see what is over, however late the timers are.
        self.expire(datagram.received_at);
        let user = address_of_record(request);
        let result = self.change(&user, datagram, request);
        let counts = &mut self.counts;
        counts.attempts += 1;
        match result {
            Ok(()) => counts.succeeded += 1,
            Err(Refusal::BadContact | Refusal::TooBrief) => counts.failed_4xx += 1,
            Err(Refusal::OutOfOrder) => counts.failed_5xx += 1,
            Err(Refusal::TableFull) => {
                counts.failed_5xx += 1;
                counts.refused += 1;
            }
        }
        result.map(|()| user)
    }

    fn change(
        &mut self,
        user: &Arc<[u8]>,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
    ) -> Result<(), Refusal> {
        if user.len() > CONTACT_MAX {
            return Err(Refusal::BadContact);
        }
        let asked = Asked::read(request, &self.settings)?;
        let origin = Origin::of(request, self.users.hasher());
        // A copy, so that what is refused half-way has changed nothing.
        let before = self.users.get(user).map_or(&[][..], |bindings| bindings);
        let mut bindings = before.to_vec();
        match asked {
            Asked::Query => return Ok(()),
            Asked::RemoveAll => {
                if !bindings.iter().all(|binding| origin.may_follow(binding.origin)) {
                    return Err(Refusal::OutOfOrder);
                }
                bindings.clear();
            }
            Asked::Change(contacts) => {
                let sender = Arc::new(Sender::of(datagram, request));
                for contact in &contacts {
                    take(&mut bindings, contact, origin, &sender, datagram.received_at)?;
                }
            }
        }
        let all = self.bindings - before.len() + bindings.len();
        let grows = bindings.len() > before.len();
        if grows
            && (bindings.len() > CONTACTS_PER_USER_MAX
                || all > self.settings.max_bindings_per_shard)
        {
            return Err(Refusal::TableFull);
        }
        self.put(user, bindings);
        Ok(())
    }

    /// Puts bindings in the place of those that a user has.
    fn put(&mut self, user: &Arc<[u8]>, bindings: Vec<Binding>) {
        if let Some(before) = self.users.remove(user) {
            self.bindings -= before.len();
            if let Some(at) = next_end(&before) {
                self.expiries.remove(&(at, Arc::clone(user)));
            }
        }
        if let Some(at) = next_end(&bindings) {
            self.bindings += bindings.len();
            self.expiries.insert((at, Arc::clone(user)));
            self.users.insert(Arc::clone(user), bindings.into());
        }
        // As many as can be registered at once: more have only come and gone.
        if self.untold.len() < self.settings.max_bindings_per_shard || self.untold.contains(user) {
            self.untold.insert(Arc::clone(user));
        } else {
            self.counts.untold += 1;
        }
    }

    /// Ends the bindings whose time is over.
    fn expire(&mut self, now: Timestamp) {
        while let Some((_, user)) = self.expiries.first().filter(|(at, _)| *at <= now) {
            let user = Arc::clone(user);
            let mut left = self.users.get(&user).map_or_else(Vec::new, |it| it.to_vec());
            left.retain(|binding| binding.expires_at > now);
            self.put(&user, left);
        }
    }

    fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|&(at, _)| at)
    }

    /// Writes a Contact for each binding of a user, the newest first; as many as fit `budget`
    /// bytes, so that nobody is made to send a stranger much more than was sent.
    fn write_bindings(&self, out: &mut Vec<u8>, user: &Arc<[u8]>, now: Timestamp, budget: usize) {
        let bindings = self.users.get(user).map_or(&[][..], |bindings| bindings);
        for binding in bindings.iter().rev() {
            if out.len() + binding.uri.len() + binding.params.len() > budget {
                return;
            }
            let left = binding.expires_at.since(now) + Duration::from_millis(500);
            out.extend_from_slice(b"Contact: <");
            out.extend_from_slice(&binding.uri);
            out.push(b'>');
            out.extend_from_slice(&binding.params);
            let _ = write!(out, ";expires={}\r\n", left.as_secs());
        }
    }
}

/// The canonical address of record of a REGISTER.
fn address_of_record(request: &SipMessage<'_>) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    write_address_of_record(&mut bytes, request.to_uri());
    bytes.into()
}

/// Adds, renews or takes back one contact.
fn take(
    bindings: &mut Vec<Binding>,
    contact: &Contact<'_>,
    origin: Origin,
    sender: &Arc<Sender>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let mut first = now;
    let known = bindings.iter().position(|known| is_same_uri(&known.uri, contact.address.uri));
    if let Some(known) = known {
        if !origin.may_follow(bindings[known].origin) {
            return Err(Refusal::OutOfOrder);
        }
        first = bindings.remove(known).registered_at;
    }
    if contact.expires > 0 {
        bindings.push(Binding::new(contact, origin, sender, (now, first)));
    }
    Ok(())
}

fn next_end(bindings: &[Binding]) -> Option<Timestamp> {
    bindings.iter().map(|binding| binding.expires_at).min()
}

/// Bindings end by themselves; a minute may be enough.
const RETRY_AFTER: &str = "Retry-After: 60\r\n";
