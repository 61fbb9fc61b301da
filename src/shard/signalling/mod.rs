//! What signalling tells about itself: sessions and registrations followed through the messages
//! that pass, whoever sends them, and the figures of RFC 6076 that come of them.
//!
//! It sees messages and nothing else, so that an appliance that answers calls and a capture of the
//! same calls have the same figures. It never changes what happens to a call.

use core::{hash::BuildHasher as _, hash::Hasher as _, time::Duration};

use memchr::memmem;

pub mod figures;
mod repeated;
mod session;

pub use figures::SipFigures;

use self::{
    repeated::Repeated,
    session::{Session, State},
};
use super::{
    index::{INDEX_MIN, Index},
    outbox::Outbox,
    report::Report,
    timers::Agenda,
};
use crate::{
    id::{CallRef, ShardId},
    time::Timestamp,
    wire::{
        Datagram, Transport,
        sip::{HeaderName, Method, NameAddr, SipMessage, StartLine},
    },
};

/// The sessions and registrations of one shard, as their messages tell them.
#[derive(Debug)]
pub(super) struct Signalling {
    figures: Box<SipFigures>,
    repeated: Repeated,
    by_name: Index,
    slots: Vec<Option<Session>>,
    free: Vec<u32>,
    sessions_max: usize,
    serial: u64,
    /// When each is to be looked at, at the latest; one entry each.
    due: Agenda<(u32, u64)>,
    /// Sessions of which something is to be told.
    changed: Vec<u32>,
    /// What the message received last is to a session, while it is answered.
    current: Option<Place>,
    /// Whether that had come before.
    is_again: bool,
    /// What it has in common with the others of its call.
    common: u64,
    /// Whether messages are passed on.
    passes_on: bool,
    /// Messages sent that are to be passed on: of which call, by their place, and whether again.
    passing: Vec<(u64, usize, bool)>,
    hasher: foldhash::quality::FixedState,
    /// Finds the CSeq of a response of our own.
    cseq_finder: memmem::Finder<'static>,
}

/// What a message is to a session.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    /// Whether the caller has sent the request that it is, or that it answers.
    is_callers: bool,
}

/// What a response says, wherever it comes from.
#[derive(Clone, Copy, Debug)]
struct Response {
    at: Timestamp,
    code: u16,
    method: Method,
    cseq: u32,
    /// Tells the dialogs of a forked INVITE apart; 0 where there is none.
    tag: u32,
    /// Tells the hops of a request apart; 0 where there is but one.
    branch: u32,
    /// Whether it says when to try once more.
    is_recoverable: bool,
    cause: Option<u8>,
}

impl Signalling {
    /// At most `sessions_max` at once; address space only, until they are used. `seed` is that of
    /// the dialogs' names; the messages of calls are passed on where that is asked for.
    pub(super) fn new(sessions_max: usize, seed: u64, passes_on: bool) -> Self {
        Self {
            figures: Box::default(),
            repeated: Repeated::default(),
            by_name: Index::new(INDEX_MIN),
            slots: Vec::with_capacity(sessions_max),
            free: Vec::new(),
            sessions_max,
            serial: 0,
            due: Agenda::default(),
            changed: Vec::new(),
            current: None,
            is_again: false,
            common: 0,
            passes_on,
            passing: Vec::new(),
            hasher: foldhash::quality::FixedState::with_seed(seed),
            cseq_finder: memmem::Finder::new(CSEQ),
        }
    }

    pub(super) const fn figures(&self) -> &SipFigures {
        &self.figures
    }

    /// Exchanges the figures for others that are empty.
    pub(super) const fn swap(&mut self, empty: &mut Box<SipFigures>) {
        core::mem::swap(&mut self.figures, empty);
    }

    /// A datagram that was to be SIP and is not.
    pub(super) fn count_malformed(&mut self) {
        self.figures.malformed += 1;
    }

    /// A message that was received, or passes by.
    pub(super) fn receive(&mut self, datagram: &Datagram<'_>, message: &SipMessage<'_>) {
        let Datagram { received_at: at, src, dst, transport, payload, .. } = *datagram;
        self.settle(at);
        // Over a stream nothing is sent again.
        self.common = self.common(message);
        let is_again = transport == Transport::Udp
            && self.repeated.passes_again(self.common, at, [src, dst], payload);
        self.figures.retransmissions_received += u64::from(is_again);
        self.is_again = is_again;
        self.current = self.pass(at, message);
        self.count_again(self.current, is_again);
    }

    /// Whether the message received last had come before.
    pub(super) const fn is_again(&self) -> bool {
        self.is_again
    }

    /// Messages that the shard has sent at `at`: those in the outbox from `from` on.
    pub(super) fn send(&mut self, at: Timestamp, from: usize, out: &mut Outbox) {
        for (index, (transmit, bytes)) in out.transmits().enumerate().skip(from) {
            // What begins like no text is media.
            if !bytes.first().is_some_and(u8::is_ascii_uppercase) {
                continue;
            }
            let (common, place) = match self.current.zip(self.glance(at, bytes)) {
                Some((place, response)) => {
                    self.figures.count_response(response.code);
                    self.respond(place, response);
                    (self.common, Some(place))
                }
                None => match &SipMessage::parse(bytes) {
                    Ok(message) => (self.common(message), self.pass(at, message)),
                    Err(_) => (0, None),
                },
            };
            let way = [transmit.src, transmit.dst];
            let is_again = self.repeated.passes_again(common, at, way, bytes);
            self.figures.retransmissions_sent += u64::from(is_again);
            self.count_again(place, is_again);
            let call = place.filter(|_| self.passes_on).map_or(0, |place| self.call(place));
            if call != 0 {
                self.passing.push((call, index, is_again));
            }
        }
        for (call, index, is_again) in self.passing.drain(..) {
            out.pass_sent(call, at, index, is_again);
        }
        self.current = None;
    }

    /// Passes on the message that was received last, once its call is known.
    pub(super) fn pass_on(&self, datagram: &Datagram<'_>, out: &mut Outbox) {
        let call = self.current.filter(|_| self.passes_on).map_or(0, |place| self.call(place));
        if call != 0 {
            out.pass_received(call, datagram, self.is_again);
        }
    }

    /// Gives a session its call.
    pub(super) fn attach(&mut self, hash: u64, call: u64) {
        if let Some(slot) = self.find(hash)
            && let Some(session) = self.slots[slot as usize].as_mut()
        {
            session.call = call;
            session.is_changed = false;
        }
    }

    /// The call of this name is over, and all is said about it.
    pub(super) fn detach(&mut self, hash: u64, call: u64, now: Timestamp) {
        let Some(slot) = self.find(hash) else { return };
        let Some(session) = self.slots[slot as usize].as_mut() else { return };
        if session.call != call {
            return;
        }
        session.call = 0;
        // A BYE may still be answered.
        if session.state != State::Ending {
            session.give_up(&mut self.figures);
            session.due_at = now + LINGER;
        }
    }

    /// Does what is due by `now`.
    pub(super) fn settle(&mut self, now: Timestamp) {
        while let Some((slot, serial)) = self.due.pop_due(now) {
            self.look(slot, serial, now);
        }
    }

    /// Passes on what has changed of calls.
    pub(super) fn tell(&mut self, shard: ShardId, out: &mut Outbox) {
        for slot in self.changed.drain(..) {
            let Some(session) = self.slots[slot as usize].as_mut() else { continue };
            session.is_changed = false;
            if session.call != 0 {
                let call = CallRef { shard, serial: session.call };
                out.report(Report::Signalling(session.report(call)));
            }
        }
    }

    /// Takes in a message, and says what it is to which session.
    fn pass(&mut self, at: Timestamp, message: &SipMessage<'_>) -> Option<Place> {
        match message.start_line() {
            StartLine::Request { method, .. } => {
                self.figures.count_request(method);
                let place = match method {
                    Method::Register => self.register(at, message)?,
                    Method::Invite => self.invite(at, message)?,
                    _ => self.place(message)?,
                };
                if matches!(method, Method::Bye | Method::Cancel) {
                    self.take_back(place, at, method, message);
                }
                Some(place)
            }
            StartLine::Response { code, .. } => {
                self.figures.count_response(code);
                let cseq = message.cseq()?;
                let place = if cseq.method == Method::Register {
                    let slot = self.find(self.hash(message.call_id()?, REGISTRATION))?;
                    Place { slot, is_callers: true }
                } else {
                    self.place(message)?
                };
                self.respond(place, Response::read(at, code, message)?);
                Some(place)
            }
        }
    }

    /// The session that a message belongs to, by either side's tag.
    fn place(&self, message: &SipMessage<'_>) -> Option<Place> {
        let call_id = message.call_id()?;
        let find = |tag: Option<&[u8]>| self.find(self.hash(call_id, tag?));
        let by_from = find(message.from_tag()).map(|slot| Place { slot, is_callers: true });
        by_from.or_else(|| find(message.to_tag()).map(|slot| Place { slot, is_callers: false }))
    }

    /// An INVITE: one that asks for a session makes one, if there is room.
    fn invite(&mut self, at: Timestamp, message: &SipMessage<'_>) -> Option<Place> {
        if message.to_tag().is_some() {
            return self.place(message);
        }
        let tag = message.from_tag().unwrap_or_default();
        let hash = self.hash(message.call_id()?, tag);
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let branch = branch(message);
        let known = self.find(hash);
        if let Some(slot) = known
            && let Some(session) = self.slots[slot as usize].as_mut()
        {
            session.heard_at = at;
            let is_up = matches!(session.state, State::Answered | State::Ending);
            if cseq <= session.cseq || is_up {
                return Some(Place { slot, is_callers: true });
            }
            if session.answered_at == Timestamp::MAX {
                session.ask_again(at, cseq, &mut self.figures);
                (session.branch, session.due_at) = (branch, at + TRANSACTION);
                return Some(Place { slot, is_callers: true });
            }
            // The one before had come about and is over.
            self.remove(slot);
        }
        self.figures.sessions.attempts += 1;
        self.figures.agents.of(message.user_agent().unwrap_or_default()).sessions += 1;
        let slot = self.open(hash, State::Trying, at, cseq)?;
        if let Some(session) = self.slots[slot as usize].as_mut() {
            session.branch = branch;
        }
        Some(Place { slot, is_callers: true })
    }

    /// A REGISTER. One with the number of the one before is the same, sent again or at another
    /// hop; one that follows a challenge goes on with what was asked for first.
    fn register(&mut self, at: Timestamp, message: &SipMessage<'_>) -> Option<Place> {
        let hash = self.hash(message.call_id()?, REGISTRATION);
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let known = self.find(hash);
        let mut slot = known;
        if let Some(found) = known
            && let Some(session) = self.slots[found as usize].as_mut()
        {
            session.heard_at = at;
            if session.cseq == cseq {
                return Some(Place { slot: found, is_callers: true });
            }
            match session.state {
                State::Challenged => {}
                // Given up by who asked.
                State::Registering => {
                    session.time_out(&mut self.figures);
                    session.started_at = at;
                }
                _ => session.started_at = at,
            }
            (session.state, session.cseq) = (State::Registering, cseq);
            session.due_at = at + TRANSACTION;
        } else {
            slot = self.open(hash, State::Registering, at, cseq);
        }
        self.figures.registers.requests += 1;
        self.figures.agents.of(message.user_agent().unwrap_or_default()).registers += 1;
        slot.map(|slot| Place { slot, is_callers: true })
    }

    /// A BYE or CANCEL.
    fn take_back(&mut self, place: Place, at: Timestamp, method: Method, message: &SipMessage<'_>) {
        let Some(session) = self.slots[place.slot as usize].as_mut() else { return };
        session.heard_at = at;
        if method == Method::Bye {
            let cseq = message.cseq().map_or(0, |cseq| cseq.number);
            if !session.hang_up(at, cseq, place.is_callers, &mut self.figures) {
                return;
            }
            session.due_at = at + TRANSACTION;
        }
        if let Some(cause) = cause(message)
            && session.cause.replace(cause).is_none()
        {
            *self.figures.causes.entry(cause).or_default() += 1;
            session.is_changed = true;
        }
        self.note(place.slot);
    }

    /// A response to a request of a session.
    fn respond(&mut self, place: Place, response: Response) {
        let Some(session) = self.slots[place.slot as usize].as_mut() else { return };
        let Response { at, code, tag, .. } = response;
        let figures = &mut *self.figures;
        session.heard_at = at;
        match response.method {
            Method::Invite if place.is_callers && response.cseq == session.cseq => match code {
                ..200 => session.progress(at, code, tag, figures),
                200..300 => session.answer(at, tag, figures),
                _ if [0, session.branch].contains(&response.branch) || session.branch == 0 => {
                    session.fail(at, code, figures);
                    if let Some(cause) = response.cause.filter(|_| session.cause.is_none()) {
                        session.cause = Some(cause);
                        *figures.causes.entry(cause).or_default() += 1;
                    }
                }
                // A branch of a proxy may fail while others ring.
                _ => session.failure = code,
            },
            Method::Bye if response.cseq == session.bye_cseq && code >= 200 => {
                // What can be mended goes on until it is (RFC 6076 section 4.4).
                if !matches!(code, 401 | 407) && !response.is_recoverable {
                    session.hung_up(at, code, figures);
                }
            }
            Method::Register if response.cseq == session.cseq && code >= 200 => {
                session.registered(at, code, figures);
            }
            _ => return,
        }
        let waits = match session.state {
            State::Over if session.answered_at < Timestamp::MAX => LINGER,
            _ => TRANSACTION,
        };
        session.due_at = at + waits;
        self.note(place.slot);
    }

    /// The call of a session; 0 for none.
    fn call(&self, place: Place) -> u64 {
        self.slots[place.slot as usize].as_ref().map_or(0, |session| session.call)
    }

    /// What a response of our own says that is no failure, without reading all of it.
    fn glance(&self, at: Timestamp, bytes: &[u8]) -> Option<Response> {
        let [hundreds @ (b'1' | b'2'), tens, ones, ..] = *bytes.strip_prefix(b"SIP/2.0 ")? else {
            return None;
        };
        let digit = |digit: u8| u16::from(digit.wrapping_sub(b'0'));
        let code = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
        let start = self.cseq_finder.find(bytes)? + CSEQ.len();
        let line = &bytes[start..];
        let cseq = crate::wire::sip::CSeq::parse(&line[..memchr::memchr(b'\r', line)?])?;
        Some(Response {
            at,
            code,
            method: cseq.method,
            cseq: cseq.number,
            tag: 0,
            branch: 0,
            is_recoverable: false,
            cause: None,
        })
    }

    fn note(&mut self, slot: u32) {
        let has_changed = |session: &Session| session.is_changed && session.call != 0;
        if self.slots[slot as usize].as_ref().is_some_and(has_changed)
            && self.changed.last() != Some(&slot)
        {
            self.changed.push(slot);
        }
    }

    fn count_again(&mut self, place: Option<Place>, is_again: bool) {
        let Some(place) = place.filter(|_| is_again) else { return };
        if let Some(session) = self.slots[place.slot as usize].as_mut() {
            session.retransmissions += 1;
            session.is_changed = true;
            self.note(place.slot);
        }
    }

    /// What the messages of one call have in common, as a number.
    fn common(&self, message: &SipMessage<'_>) -> u64 {
        self.hash(message.call_id().unwrap_or_default(), b"")
    }

    fn hash(&self, call_id: &[u8], tag: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(call_id);
        hasher.write(tag);
        hasher.finish()
    }

    fn find(&self, hash: u64) -> Option<u32> {
        let is_it = |slot: u32| {
            self.slots.get(slot as usize).and_then(Option::as_ref).is_some_and(|it| it.hash == hash)
        };
        self.by_name.find(hash, is_it)
    }

    fn open(&mut self, hash: u64, state: State, at: Timestamp, cseq: u32) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.sessions_max => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).ok()?
            }
            None => {
                self.figures.sessions.untracked += 1;
                return None;
            }
        };
        self.serial += 1;
        let mut session = Session::new(hash, self.serial, state, at, cseq);
        session.due_at = at + TRANSACTION;
        self.due.push(session.due_at, (slot, self.serial));
        self.slots[slot as usize] = Some(session);
        self.by_name.insert(hash, slot);
        Some(slot)
    }

    fn remove(&mut self, slot: u32) {
        if let Some(session) = self.slots[slot as usize].take() {
            self.by_name.remove(session.hash, slot);
            self.free.push(slot);
        }
    }

    /// Looks at a session whose time may have come.
    fn look(&mut self, slot: u32, serial: u64, now: Timestamp) {
        let Some(session) = self.slots[slot as usize].as_mut() else { return };
        if session.serial != serial {
            return;
        }
        if session.due_at <= now {
            match session.state {
                State::Over => {
                    self.remove(slot);
                    return;
                }
                State::Proceeding if session.heard_at + UNANSWERED <= now => {
                    session.give_up(&mut self.figures);
                }
                State::Answered if session.heard_at + FORGOTTEN <= now => {
                    session.give_up(&mut self.figures);
                }
                _ => session.time_out(&mut self.figures),
            }
            let is_over = session.state == State::Over;
            session.due_at = now + if is_over { LINGER } else { TRANSACTION };
        }
        let next = session.due_at.min(now + TRANSACTION);
        self.due.push(next, (slot, serial));
        self.note(slot);
    }
}

impl Response {
    fn read(at: Timestamp, code: u16, message: &SipMessage<'_>) -> Option<Self> {
        let cseq = message.cseq()?;
        let tag = message.to_tag();
        let has_failed = code >= 300;
        Some(Self {
            at,
            code,
            method: cseq.method,
            cseq: cseq.number,
            tag: tag.map_or(0, |tag| short(tag).max(1)),
            branch: if has_failed { branch(message) } else { 0 },
            is_recoverable: code == 503 && message.values(HeaderName::RetryAfter).next().is_some(),
            cause: if has_failed { cause(message) } else { None },
        })
    }
}

/// The cause of ITU-T Q.850 that a message gives (RFC 3326): `Q.850;cause=16`.
fn cause(message: &SipMessage<'_>) -> Option<u8> {
    let reasons = message.values(HeaderName::Reason).flat_map(crate::wire::sip::elements);
    let value = |reason: &[u8]| {
        let reason = NameAddr::parse(reason);
        let is_q850 = reason.uri.eq_ignore_ascii_case(b"Q.850");
        let cause = reason.param("cause").filter(|_| is_q850)?;
        core::str::from_utf8(cause).ok()?.parse().ok().filter(|&cause: &u8| cause < 128)
    };
    reasons.filter_map(value).next()
}

/// What tells hops apart: the branch of the topmost Via, or the whole of it where there is none.
fn branch(message: &SipMessage<'_>) -> u32 {
    message.via().map_or(0, |via| short(via.branch.unwrap_or(via.text)).max(1))
}

fn short(text: &[u8]) -> u32 {
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    hasher.write(text);
    (hasher.finish() >> 32) as u32
}

/// How a response of our own has its CSeq.
const CSEQ: &[u8] = b"\r\nCSeq: ";

/// Stands for the tag in the names of registrations: no tag has such a byte.
const REGISTRATION: &[u8] = b"\0register";

/// 64 times T1: as long as a transaction lasts (RFC 3261 section 17).
const TRANSACTION: Duration = Duration::from_secs(32);

/// How long what is completed waits for what may still come again.
const LINGER: Duration = Duration::from_secs(5);

/// A session that rings and of which nothing more passes has been given up; as for calls.
const UNANSWERED: Duration = super::observe::UNANSWERED;

/// An answered session of which nothing has passed for so long is forgotten; as for calls.
const FORGOTTEN: Duration = super::observe::FORGOTTEN;
