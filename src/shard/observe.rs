//! Calls between others, followed by what they say to each other. Nothing is ever answered.
//!
//! A call is known by its Call-ID and its caller's tag, like one that is answered here; what its
//! callee says is found by the tag that stands on the other side. One INVITE may be seen on
//! several hops and branches, by other bytes each time: it stays one call.

use core::hash::{BuildHasher as _, Hasher as _};
use core::time::Duration;
use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::{
    Shard,
    dialog::{Dialog, DialogId, Media, Phase, SentMedia, Texts},
    outbox::Outbox,
    report::{CallEvent, EndedBy, Flow},
    routes::Action,
    rtcp::Participant,
    seen::Side,
    user_agent::remote_tag,
};
use crate::{
    id::Ssrc,
    time::Timestamp,
    wire::{
        Datagram,
        sdp::{Direction, SessionDescription},
        sip::{Method, SipMessage, StartLine},
    },
};

/// What a message is to a call.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    /// Who has sent the message.
    sender: Side,
    /// Whether it belongs to the INVITE that opened the call, or to the last one that tried.
    is_opening: bool,
}

impl Shard {
    /// Follows a SIP message that passes.
    #[cold]
    pub(super) fn observe_sip(&mut self, datagram: &Datagram<'_>, out: &mut Outbox) {
        self.health.sip_messages += 1;
        let Ok(message) = SipMessage::parse(datagram.payload) else {
            self.health.sip_malformed += 1;
            self.signalling.count_malformed();
            return;
        };
        self.signalling.receive(datagram, &message);
        let is_response = matches!(message.start_line(), StartLine::Response { .. });
        let mut place = self.place(&message, is_response);
        if let (StartLine::Request { method: Method::Invite, .. }, true) =
            (message.start_line(), place.is_none_or(|place| self.begins_anew(place, &message)))
        {
            if let Some(place) = place {
                self.forget(place.slot, datagram.received_at, out);
            }
            place = self.open(datagram, &message, out);
        }
        let Some(place) = place else { return };
        let at = datagram.received_at;
        if let Some(dialog) = self.dialogs.get_mut(place.slot) {
            dialog.last_heard = dialog.last_heard.max(at);
        }
        match message.start_line() {
            StartLine::Request { method, .. } => {
                self.follow_request(place, method, at, &message);
                self.describe(place, datagram, &message, out);
            }
            StartLine::Response { code, .. } => {
                if code < 300 {
                    self.describe(place, datagram, &message, out);
                }
                if message.cseq().is_some_and(|cseq| cseq.method == Method::Invite) {
                    self.follow_response(place, code, at, &message, out);
                }
            }
        }
        self.signalling.tell(self.config.id, out);
        self.arm(place.slot);
    }

    /// Does what is due for an observed call.
    pub(super) fn run_observed(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        match dialog.phase {
            Phase::Ringing { .. } if dialog.last_heard + UNANSWERED <= now => {
                let at = dialog.last_heard;
                self.end(slot, CallEvent::Ended(EndedBy::Timeout), at);
            }
            Phase::Answered if dialog.last_heard + FORGOTTEN <= now => {
                self.end(slot, CallEvent::Ended(EndedBy::Timeout), now);
                self.forget(slot, now, out);
            }
            Phase::Ended { at, .. } if at + SETTLED <= now => self.forget(slot, now, out),
            _ => {}
        }
    }

    /// Says all there is to say about a call that is over and removes it.
    pub(super) fn forget(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let Phase::Ended { event, at } = dialog.phase else { return };
        let streams = core::mem::take(&mut dialog.streams);
        self.signalling.detach(dialog.hash, dialog.id.serial, now);
        self.end_streams(&streams, now, out);
        self.report_event(slot, at, event, out);
        self.dialogs.remove(slot);
    }

    /// Passes on the last reports of streams, by slot and serial, and takes them out of the table.
    fn end_streams(&mut self, streams: &[(u32, u64)], now: Timestamp, out: &mut Outbox) {
        for &(stream, serial) in streams {
            if self.streams.get_mut(stream, serial).is_some() {
                self.finish_stream(stream, now, out);
                self.streams.remove(stream);
            }
        }
    }

    /// The call that a message belongs to, by either side's tag.
    fn place(&self, message: &SipMessage<'_>, is_response: bool) -> Option<Place> {
        let call_id = message.call_id()?;
        let to_tag = message.to_tag().unwrap_or_default();
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        let place = |slot, from: Side| {
            let is_opening = from == Side::Caller
                && self.dialogs.get(slot).is_some_and(|dialog| dialog.invite_cseq == number);
            let sender = if is_response { from.other() } else { from };
            Place { slot, sender, is_opening }
        };
        let by_caller = self.dialogs.find(call_id, remote_tag(message));
        by_caller.map(|slot| place(slot, Side::Caller)).or_else(|| {
            let slot = self.dialogs.find(call_id, to_tag).filter(|_| !to_tag.is_empty())?;
            Some(place(slot, Side::Callee))
        })
    }

    /// Whether an INVITE by the name of a known call opens another one: that call is over, and it
    /// had come about. One that failed is tried again, with credentials or elsewhere
    /// (RFC 3261 section 8.1.3.5).
    fn begins_anew(&self, place: Place, invite: &SipMessage<'_>) -> bool {
        let Some(dialog) = self.dialogs.get(place.slot) else { return true };
        let is_later = invite.cseq().is_some_and(|cseq| cseq.number > dialog.invite_cseq);
        let has_ended = matches!(dialog.phase, Phase::Ended { event: CallEvent::Ended(_), .. });
        has_ended && is_later && place.sender == Side::Caller
    }

    /// A call that is seen for the first time.
    fn open(
        &mut self,
        datagram: &Datagram<'_>,
        invite: &SipMessage<'_>,
        out: &mut Outbox,
    ) -> Option<Place> {
        let (call_id, tag) = (invite.call_id()?, remote_tag(invite));
        let at = datagram.received_at;
        while self.dialogs.reserve().is_none()
            && let Some(slot) = self.dialogs.pop_ended()
        {
            self.forget(slot, at, out);
        }
        let Some(id) = self.dialogs.reserve() else {
            self.health.calls_refused += 1;
            return None;
        };
        self.health.calls_total += 1;
        let number = invite.cseq().map_or(0, |cseq| cseq.number);
        let hash = self.dialogs.hash(call_id, tag);
        self.dialogs.insert(observed(id, hash, [call_id, tag], datagram, number));
        self.report_opened(id.slot, invite, at, out);
        Some(Place { slot: id.slot, sender: Side::Caller, is_opening: true })
    }

    fn follow_request(
        &mut self,
        place: Place,
        method: Method,
        at: Timestamp,
        request: &SipMessage<'_>,
    ) {
        let branch = branch(request);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialogs.get_mut(place.slot) else { return };
        let is_up = dialog.is_up();
        let Some(seen) = dialog.seen.as_deref_mut() else { return };
        match method {
            Method::Invite if place.sender == Side::Caller && dialog.phase != Phase::Answered => {
                if number > dialog.invite_cseq {
                    // Tried again: what became of the attempt before is not what became of it.
                    dialog.invite_cseq = number;
                    seen.is_cancelled = false;
                    (seen.first_branch, seen.pending) = (None, Vec::new());
                    seen.add_branch(branch);
                    self.dialogs.reopen(place.slot, Phase::Ringing { answer_at: Timestamp::MAX });
                } else if number == dialog.invite_cseq && is_up {
                    seen.add_branch(branch);
                }
            }
            Method::Cancel => seen.is_cancelled = true,
            Method::Bye => {
                let tag = match place.sender {
                    Side::Caller => request.to_tag().unwrap_or_default(),
                    Side::Callee => remote_tag(request),
                };
                let gone = hash(tag);
                seen.answered.retain(|&tag| tag != gone);
                if seen.answered.is_empty() && is_up {
                    let by = match place.sender {
                        Side::Caller => EndedBy::Caller,
                        Side::Callee => EndedBy::Callee,
                    };
                    self.end(place.slot, CallEvent::Ended(by), at);
                }
            }
            _ => {}
        }
    }

    fn follow_response(
        &mut self,
        place: Place,
        code: u16,
        at: Timestamp,
        response: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        if !place.is_opening {
            return;
        }
        let branch = branch(response);
        let tag = hash(response.to_tag().unwrap_or_default());
        let Some(dialog) = self.dialogs.get_mut(place.slot) else { return };
        let Some(seen) = dialog.seen.as_deref_mut() else { return };
        match (code, dialog.phase) {
            (100..=199, Phase::Ringing { .. }) => {
                self.report_event(place.slot, at, CallEvent::Progressed(code), out);
            }
            (200..=299, Phase::Ended { event: CallEvent::Ended(_), .. }) => {}
            (200..=299, _) => {
                seen.add_answer(tag);
                if dialog.phase != Phase::Answered {
                    self.dialogs.reopen(place.slot, Phase::Answered);
                    self.report_event(place.slot, at, CallEvent::Answered(code), out);
                }
            }
            (300..=699, Phase::Ringing { .. }) => {
                seen.pending.retain(|&pending| pending != branch);
                // Branches of a proxy may fail while others ring: the hop that was seen first
                // has the last word.
                if Some(branch) != seen.first_branch && !seen.pending.is_empty() {
                    return;
                }
                let is_cancelled = seen.is_cancelled || code == REQUEST_TERMINATED;
                let by = if is_cancelled { EndedBy::Caller } else { EndedBy::Callee };
                self.end(place.slot, CallEvent::Failed(code, by), at);
            }
            // Hung up before it was answered: this is the answer then.
            (300..=699, Phase::Ended { event: CallEvent::Ended(by), at: ended })
                if seen.first_branch == Some(branch) =>
            {
                dialog.phase = Phase::Ended { event: CallEvent::Failed(code, by), at: ended };
            }
            _ => {}
        }
    }

    /// Takes in the session description of a message, if it carries one.
    fn describe(
        &mut self,
        place: Place,
        datagram: &Datagram<'_>,
        message: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        // Other methods tell what could be, not what is (RFC 3261 section 11.2).
        let carries_offers = |method| {
            matches!(method, Method::Invite | Method::Ack | Method::Prack | Method::Update)
        };
        if !message.cseq().is_some_and(|cseq| carries_offers(cseq.method)) {
            return;
        }
        let Some(sdp) = session_description(message) else { return };
        let mut losers = Vec::new();
        self.dialogs.change_media(place.slot, |dialog| {
            if let Some(seen) = dialog.seen.as_deref_mut() {
                seen.describe(place.sender, &sdp, datagram.src.ip());
            }
        });
        self.tell_flow(place.slot, datagram.received_at, out);
        let Some(dialog) = self.dialogs.get(place.slot) else { return };
        let Some(seen) = dialog.seen.as_deref() else { return };
        let addresses: Vec<SocketAddr> = seen.addresses().collect();
        losers.append(self.dialogs.outdone());
        for loser in losers {
            self.yield_media(loser, &addresses, datagram.received_at, out);
        }
        self.tell_formats(place.slot);
        self.join_orphans(place.slot);
    }

    /// Ends what a call has measured between addresses that are a newer call's now. Where many
    /// calls share an address, media that are told apart by their other end stay where they are.
    fn yield_media(&mut self, loser: u32, taken: &[SocketAddr], now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get(loser) else { return };
        let is_taken = |&(slot, _): &(u32, u64)| {
            self.streams.at(slot).is_some_and(|stream| {
                let (src, dst) = (stream.src(), stream.dst());
                taken.contains(&dst) && self.dialogs.find_between(src, dst) != Some(loser)
            })
        };
        let gone: Vec<_> = dialog.streams.iter().copied().filter(is_taken).collect();
        if let Phase::Ended { .. } = dialog.phase {
            // By its addresses and not by its streams: those may be another observer's.
            let is_anothers = |(src, dst)| self.dialogs.find_between(src, dst) != Some(loser);
            if dialog.seen.as_deref().is_some_and(|seen| seen.pairs().any(is_anothers)) {
                self.forget(loser, now, out);
            }
            return;
        }
        self.end_streams(&gone, now, out);
        if let Some(dialog) = self.dialogs.get_mut(loser) {
            dialog.streams.retain(|stream| !gone.contains(stream));
        }
    }

    /// Tells the streams of a call what a new session description says about them.
    fn tell_formats(&mut self, slot: u32) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && let Some(format) = dialog.agreed_format(stream.dst(), stream.payload_type())
            {
                stream.set_format(format);
            }
        }
    }

    /// Gives a call the streams that came before anybody announced them.
    fn join_orphans(&mut self, slot: u32) {
        let Some(seen) = self.dialogs.get(slot).and_then(|dialog| dialog.seen.as_deref()) else {
            return;
        };
        let mut joined: ArrayVec<(u32, u64), ORPHANS_MAX> = ArrayVec::new();
        self.orphans.retain(|&(stream, serial)| {
            let Some(known) = self.streams.get_mut(stream, serial) else { return false };
            let is_its = seen.knows(known.dst()) || seen.knows(known.src());
            if is_its && known.dialog().is_none() {
                let _ = joined.try_push((stream, serial));
            }
            !is_its && known.dialog().is_none()
        });
        for (stream, _) in joined {
            self.attach(stream, slot);
        }
    }

    /// Remembers a stream whose call may yet be announced.
    pub(super) fn remember_orphan(&mut self, slot: u32, serial: u64) {
        if self.orphans.len() == ORPHANS_MAX {
            self.orphans.pop_front();
        }
        self.orphans.push_back((slot, serial));
    }
}

fn observed(
    id: DialogId,
    hash: u64,
    [call_id, tag]: [&[u8]; 2],
    datagram: &Datagram<'_>,
    number: u32,
) -> Dialog {
    Dialog {
        unconfirmed: None,
        id,
        hash,
        texts: Texts::pack([call_id, tag, b"", b"", b"", b""]),
        local: datagram.dst,
        peer: datagram.src,
        transport: datagram.transport,
        phase: Phase::Ringing { answer_at: Timestamp::MAX },
        invite_cseq: number,
        invite_transaction: 0,
        local_cseq: 0,
        response: None,
        answer: None,
        resend: None,
        is_offering: false,
        extras: None,
        media: Media {
            local: datagram.dst,
            remote_rtp: None,
            remote_rtcp: None,
            latched: None,
            is_awaited: false,
            formats: ArrayVec::new(),
            is_muxed: false,
            is_secure: false,
            refused: None,
            ptime_ms: 0,
            direction: Direction::Inactive,
            session_version: 0,
            ssrc: Ssrc(0),
            sent: SentMedia::default(),
            sending: None,
            rtcp: Participant::default(),
        },
        seen: Some(Box::default()),
        action: Action::Sink,
        flow: Flow::BOTH,
        last_heard: datagram.received_at,
        rtcp_at: Timestamp::MAX,
        armed: Timestamp::MAX,
        streams: Vec::new(),
    }
}

/// The session description in a message, alone or as a part among others (RFC 5621).
fn session_description<'a>(message: &SipMessage<'a>) -> Option<SessionDescription<'a>> {
    let is_one = |text: &[u8]| text.trim_ascii_start().starts_with(b"v=");
    let body = message.body();
    // What is malformed may have one in it all the same.
    let found = message.description().ok().filter(|text| is_one(text)).or_else(|| {
        let start = memchr::memmem::find(body, b"\nv=0")? + 1;
        body.get(start..)
    });
    SessionDescription::parse(found?).ok()
}

/// What tells transactions apart: the branch of the topmost Via (RFC 3261 section 8.1.1.7), or
/// the whole of it where there is none.
fn branch(message: &SipMessage<'_>) -> u64 {
    let via = message.via();
    hash(via.map_or(&b""[..], |via| via.branch.unwrap_or(via.text)))
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    hasher.write(text);
    hasher.finish()
}

/// How long a call that is over waits for what may still change it: packets under way, another
/// attempt, another branch that answers. 64 times T1, as long as
/// any transaction of SIP lasts (RFC 3261 section 17).
pub(super) const SETTLED: Duration = Duration::from_secs(32);

/// A call of which no signalling has been seen for so long is forgotten: its BYE was not seen.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Streams that wait for their call to be announced.
pub(super) const ORPHANS_MAX: usize = 64;

/// A call that rings and of which nothing more is seen has been given up: longer than Timer C
/// (RFC 3261 section 16.6) and than people wait.
pub(crate) const UNANSWERED: Duration = Duration::from_secs(300);

/// RFC 3261 section 21.4.25.
const REQUEST_TERMINATED: u16 = 487;
