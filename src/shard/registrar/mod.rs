//! The registrar (RFC 3261 section 10.3): which contacts a user has, and until when.
//!
//! A REGISTER changes all that it asks for or nothing. The users of one address of record meet on
//! one shard, whatever their Call-IDs: [`owner`](super::owner) goes by To. Any domain is welcome,
//! since nothing is ever routed by what is registered here. Path (RFC 3327) is ignored for the same
//! reason.

mod request;
mod settings;

use core::time::Duration;
use std::{
    collections::{BTreeSet, HashMap},
    io::Write as _,
    sync::Arc,
};

use self::request::{Asked, Contact, Origin};
pub use self::settings::{RawRegistrar, RegistrarError, RegistrarSettings};
use super::{
    Shard,
    auth::Verdict,
    health::Registrations,
    outbox::Outbox,
    response::{Content, Status},
    timers::Timer,
};
use crate::{
    limits::CONTACTS_PER_USER_MAX,
    time::Timestamp,
    wire::{
        Datagram,
        sip::{NameAddr, SipMessage, is_same_uri, write_address_of_record},
    },
};

/// The users of one shard and their contacts.
#[derive(Debug)]
pub(crate) struct Registrar {
    settings: RegistrarSettings,
    users: HashMap<Arc<[u8]>, User, foldhash::quality::FixedState>,
    /// When a user's next binding ends, soonest first; each user once.
    expiries: BTreeSet<(Timestamp, Arc<[u8]>)>,
    bindings: usize,
    /// When the shard's timer next wakes it.
    armed: Timestamp,
    counts: Registrations,
}

#[derive(Clone, Debug)]
struct User {
    /// Newest last.
    bindings: Vec<Binding>,
}

/// One contact.
#[derive(Clone, Debug)]
struct Binding {
    uri: Arc<[u8]>,
    /// Its parameters with their semicolons, without `expires`.
    params: Arc<[u8]>,
    origin: Origin,
    expires_at: Timestamp,
}

/// Why a REGISTER changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A contact that cannot be, or a `*` that is not alone or not to be removed.
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
        let status = match self.registrar.register(request, now) {
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
            counts: Registrations::default(),
        }
    }

    /// From now on grants what these settings say. What has been granted stays.
    pub(crate) const fn take_settings(&mut self, settings: RegistrarSettings) {
        self.settings = settings;
    }

    /// Counters and levels.
    pub(crate) fn counts(&self) -> Registrations {
        Registrations {
            active: self.bindings as u64,
            users: self.users.len() as u64,
            ..self.counts
        }
    }

    /// Does what a REGISTER asks for, or nothing; gives the user's address of record.
    fn register(&mut self, request: &SipMessage<'_>, now: Timestamp) -> Result<Arc<[u8]>, Refusal> {
        // Who looks must not see what is over, however late the timers are.
        self.expire(now);
        let user = address_of_record(request);
        let result = self.change(&user, request, now);
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
        request: &SipMessage<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let asked = Asked::read(request, &self.settings)?;
        let origin = Origin::of(request, self.users.hasher());
        // A copy, so that what is refused half-way has changed nothing.
        let before = self.users.get(user).map_or(&[][..], |user| &user.bindings);
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
                for contact in &contacts {
                    take(&mut bindings, contact, origin, now)?;
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
            self.bindings -= before.bindings.len();
            if let Some(at) = next_end(&before.bindings) {
                self.expiries.remove(&(at, Arc::clone(user)));
            }
        }
        if let Some(at) = next_end(&bindings) {
            self.bindings += bindings.len();
            self.expiries.insert((at, Arc::clone(user)));
            self.users.insert(Arc::clone(user), User { bindings });
        }
    }

    /// Ends the bindings whose time is over.
    fn expire(&mut self, now: Timestamp) {
        while let Some((_, user)) = self.expiries.first().filter(|(at, _)| *at <= now) {
            let user = Arc::clone(user);
            let mut left = self.users.get(&user).map_or_else(Vec::new, |it| it.bindings.clone());
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
        let bindings = self.users.get(user).map_or(&[][..], |user| &user.bindings);
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
    let to = NameAddr::parse(request.to().unwrap_or_default());
    write_address_of_record(&mut bytes, to.uri);
    bytes.into()
}

/// Adds, renews or takes back one contact.
fn take(
    bindings: &mut Vec<Binding>,
    contact: &Contact<'_>,
    origin: Origin,
    now: Timestamp,
) -> Result<(), Refusal> {
    let known = bindings.iter().position(|known| is_same_uri(&known.uri, contact.address.uri));
    if let Some(known) = known {
        if !origin.may_follow(bindings[known].origin) {
            return Err(Refusal::OutOfOrder);
        }
        bindings.remove(known);
    }
    if contact.expires > 0 {
        let mut params = Vec::new();
        for param in contact.address.params() {
            if param.name.eq_ignore_ascii_case(b"expires") {
                continue;
            }
            params.push(b';');
            params.extend_from_slice(param.name);
            if let Some(value) = param.raw_value {
                params.push(b'=');
                params.extend_from_slice(value);
            }
        }
        bindings.push(Binding {
            uri: contact.address.uri.into(),
            params: params.into(),
            origin,
            expires_at: now + Duration::from_secs(contact.expires.into()),
        });
    }
    Ok(())
}

fn next_end(bindings: &[Binding]) -> Option<Timestamp> {
    bindings.iter().map(|binding| binding.expires_at).min()
}

/// Bindings end by themselves; a minute may be enough.
const RETRY_AFTER: &str = "Retry-After: 60\r\n";
