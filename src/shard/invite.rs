//! INVITE and ACK: calls set up and changed by offer and answer (RFC 3261 sections 13.3 and 14.2).
//!
//! Writes answers and keeps them; when they are sent is `call`'s business.

use core::time::Duration;
use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::{
    Shard,
    answer::{Agreed, Ourselves, PTIME_MS, write_answer, write_offer},
    dialog::{Awaits, Dialog, DialogId, Media, Phase, SentMedia, Text, Texts},
    outbox::Outbox,
    report::{CallEvent, EndedBy, Flow},
    response::{Content, Status, write_to},
    routes::Action,
    rtcp::{Participant, XrWanted},
    session_timer,
    user_agent::remote_tag,
};
use crate::{
    id::{CallRef, Ssrc},
    time::Timestamp,
    wire::{
        Datagram,
        sdp::{Direction, SessionDescription},
        sip::{HeaderName, NameAddr, SipMessage, Uri, elements},
    },
};

impl Shard {
    /// An INVITE that opens a call.
    pub(super) fn on_invite(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        uri: &[u8],
        out: &mut Outbox,
    ) {
        if has_to_tag(request) {
            self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, "", out);
            return;
        }
        self.dialogs.make_room();
        let Some(id) = self.dialogs.reserve().filter(|_| !self.is_closing) else {
            self.health.calls_refused += 1;
            let status = Status::SERVICE_UNAVAILABLE;
            self.respond(datagram, request, status, RETRY_AFTER, out);
            return;
        };
        if session_timer::interval(request).is_err() {
            let headers = session_timer::min_interval();
            self.respond(datagram, request, Status::INTERVAL_TOO_SMALL, &headers, out);
            return;
        }
        let action = self.config.routes.action(Uri::parse(uri).user.unwrap_or_default());
        let Ok(agreed) = read_body(datagram, request, action) else {
            let status = Status::NOT_ACCEPTABLE_HERE;
            self.respond(datagram, request, status, NO_AUDIO, out);
            return;
        };
        let Some(unconfirmed) = self.admission.open_call(datagram) else {
            // To answer all that strangers send would be to make more of it.
            if self.admission.is_verified(datagram) {
                self.health.calls_refused += 1;
                let status = Status::SERVICE_UNAVAILABLE;
                self.respond(datagram, request, status, RETRY_AFTER, out);
            }
            return;
        };
        let mut dialog = self.new_dialog(id, datagram, request, uri, agreed.as_ref(), action);
        dialog.unconfirmed = Some(unconfirmed);
        self.health.calls_total += 1;
        self.dialogs.insert(dialog);
        self.report_opened(id.slot, request, datagram.received_at, out);

        self.respond(datagram, request, Status::TRYING, "", out);
        let now = self.now.max(datagram.received_at);
        if let Action::Refuse(code) = action {
            self.refuse_at_once(id.slot, datagram, request, Status(code), out);
        } else {
            let agreed = agreed.as_ref();
            let is_prepared = self.prepare_answer(id.slot, datagram, request, agreed);
            if self.tell_progress(id.slot, datagram, request, agreed, out) && is_prepared {
                self.run_dialog(id.slot, now, out);
            } else {
                // Too little came to be answered with so much.
                let status = Status::SERVICE_UNAVAILABLE;
                self.refuse(id.slot, status, EndedBy::Callee, now, out);
            }
        }
        self.arm(id.slot);
    }

    /// Says that the call rings, or what its media is before it is answered; false if that may not
    /// be sent. Who has offered nothing cannot be answered yet (RFC 3261 section 13.2.1).
    fn tell_progress(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        agreed: Option<&Agreed<'_>>,
        out: &mut Outbox,
    ) -> bool {
        let now = self.now.max(datagram.received_at);
        let Some(dialog) = self.dialogs.get(slot) else { return false };
        let is_early = dialog.action == Action::Early && !dialog.is_offering;
        let status = if is_early { Status::SESSION_PROGRESS } else { Status::RINGING };
        let is_reliable = self.is_reliable(slot, request, now);
        let rseq = if is_reliable { self.next_rseq(slot) } else { 0 };
        // What is announced early is the answer, and says what the 200 will say.
        let headers = match is_reliable {
            true => format!("Require: 100rel\r\nRSeq: {rseq}\r\n"),
            false => String::new(),
        };
        let sdp = match is_early || self.is_early_offer(slot, request, now) {
            true => self.write_description(slot, agreed),
            false => Vec::new(),
        };
        let content = Content {
            contact: Some(self.contact(datagram)),
            makes_dialog: true,
            capabilities: is_early,
            headers: &headers,
            sdp: &sdp,
            ..Content::default()
        };
        let Some(response) = self.response(datagram, request, status, content) else {
            return false;
        };
        response.send(out);
        self.report_event(slot, now, CallEvent::Progressed(status.0), out);
        self.update_sending(slot, now);
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            if is_reliable {
                dialog.extras().is_settled = is_early;
                dialog.await_prack(response.clone(), rseq, now);
            }
            // For an INVITE that comes again.
            dialog.response = Some(Box::new(response));
        }
        true
    }

    /// Whether our offer goes out before the 2xx: it stands in the first response that is sent
    /// reliably (RFC 3261 section 13.2.1).
    fn is_early_offer(&self, slot: u32, request: &SipMessage<'_>, now: Timestamp) -> bool {
        self.dialogs.get(slot).is_some_and(|dialog| dialog.is_offering)
            && self.is_reliable(slot, request, now)
    }

    /// Refuses a call that has only come to be refused.
    fn refuse_at_once(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        out: &mut Outbox,
    ) {
        let response = self.response(datagram, request, status, Content::default());
        let now = self.now.max(datagram.received_at);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.response = response.map(Box::new);
        self.refuse(slot, status, EndedBy::Callee, now, out);
    }

    /// When a call of this action that has come `at` has rung for long enough.
    fn rings_until(&self, action: Action, at: Timestamp) -> Timestamp {
        let delay = self.config.answer_delay;
        at + match action {
            Action::Ring => self.config.ring_timeout,
            Action::Slow | Action::Early => delay.max(SLOW),
            Action::Sink | Action::Echo | Action::Send(_) | Action::Refuse(_) => delay,
        }
    }

    /// An INVITE of a known call: again the same one, or a new offer (RFC 3261 section 14.2).
    pub(super) fn on_invite_again(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        uri: &[u8],
        out: &mut Outbox,
    ) {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        let is_within = self.is_within(slot, datagram, request);
        if number == dialog.invite_cseq {
            if self.invite_transaction(request) != dialog.invite_transaction {
                // The same request on another way (RFC 3261 section 8.2.2.2).
                let merged = Status::LOOP_DETECTED;
                let status = if is_within { Status::SERVER_INTERNAL_ERROR } else { merged };
                self.respond(datagram, request, status, "", out);
                return;
            }
            // What was answered with an ACK since is not answered again (RFC 6026 section 7.1).
            if let Some(sent) = dialog.response.as_deref()
                && self.admission.allows(datagram, sent.bytes.len())
            {
                sent.send(out);
            }
            return;
        }
        if number > dialog.invite_cseq && !has_to_tag(request) && !dialog.is_up() {
            // Another attempt by the name of a call that is over.
            if self.admits(datagram, request, out) {
                self.retire(slot, self.now.max(datagram.received_at), out);
                self.on_invite(datagram, request, uri, out);
            }
            return;
        }
        if !is_within || dialog.phase != Phase::Answered {
            self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, "", out);
            return;
        }
        if number < dialog.offer_cseq() {
            // Out of order (RFC 3261 section 12.2.2).
            self.respond(datagram, request, Status::SERVER_INTERNAL_ERROR, "", out);
            return;
        }
        if dialog.resend.is_some() {
            // The offer before is not acknowledged yet (RFC 3261 section 14.2).
            let status = Status::SERVER_INTERNAL_ERROR;
            self.respond(datagram, request, status, RETRY_SOON, out);
            return;
        }
        if session_timer::interval(request).is_err() {
            let headers = session_timer::min_interval();
            self.respond(datagram, request, Status::INTERVAL_TOO_SMALL, &headers, out);
            return;
        }
        let Ok(agreed) = read_body(datagram, request, dialog.action) else {
            let status = Status::NOT_ACCEPTABLE_HERE;
            self.respond(datagram, request, status, NO_AUDIO, out);
            return;
        };
        if let Some(agreed) = &agreed {
            self.agree(slot, agreed);
        }
        let transaction = self.invite_transaction(request);
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.invite_cseq = number;
            dialog.invite_transaction = transaction;
            dialog.media.session_version += 1;
            if let Some(contact) = contact_uri(request) {
                dialog.texts.replace(Text::Target, contact);
            }
        }
        if self.prepare_answer(slot, datagram, request, agreed.as_ref()) {
            self.send_answer(slot, self.now.max(datagram.received_at), out);
        }
    }

    pub(super) fn on_ack(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        if dialog.resend.as_ref().map(|resend| resend.awaits) != Some(Awaits::Ack(number)) {
            return;
        }
        dialog.resend = None;
        dialog.response = None;
        self.confirm(slot);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        // An INVITE without an offer has its answer here.
        let action = dialog.action;
        let is_answer = core::mem::take(&mut dialog.is_offering);
        if let Ok(Some(agreed)) =
            read_body(datagram, request, action).map(|body| body.filter(|_| is_answer))
        {
            self.agree(slot, &agreed);
            self.update_sending(slot, self.now.max(datagram.received_at));
            self.tell_flow(slot, datagram.received_at, out);
        }
    }

    /// Takes over what was agreed on, for the streams there are, too.
    pub(super) fn agree(&mut self, slot: u32, agreed: &Agreed<'_>) {
        self.dialogs.change_media(slot, |dialog| dialog.media.agree(agreed));
        let Some(dialog) = self.dialogs.get(slot) else { return };
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && let Some(format) = dialog.agreed_format(stream.dst(), stream.payload_type())
            {
                stream.set_format(format);
            }
        }
    }

    /// A dialog for an INVITE, with all that is needed of it later.
    fn new_dialog(
        &mut self,
        id: DialogId,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        uri: &[u8],
        agreed: Option<&Agreed<'_>>,
        action: Action,
    ) -> Dialog {
        let at = datagram.received_at;
        let call_id = request.call_id().unwrap_or_default();
        let tag = remote_tag(request);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let our_tag = self.local_tag(datagram, request);
        let local = &mut self.scratch;
        local.clear();
        write_to(local, request.to().unwrap_or_default(), Some(our_tag));
        let routes: Vec<_> = request.values(HeaderName::RecordRoute).collect();
        let texts = Texts::pack([
            call_id,
            tag,
            request.from().unwrap_or_default(),
            local,
            contact_uri(request).or_else(|| sound_uri(request.from_uri())).unwrap_or(uri),
            &routes.join(&b", "[..]),
        ]);
        let rtp_port = self.choose_port(agreed.and_then(|agreed| agreed.remote_rtp));
        let mut media = Media {
            local: SocketAddr::new(datagram.dst.ip(), rtp_port),
            remote_rtp: None,
            remote_rtcp: None,
            latched: None,
            is_awaited: true,
            formats: ArrayVec::new(),
            is_muxed: false,
            is_secure: false,
            ptime_ms: PTIME_MS,
            direction: Direction::SendRecv,
            refused: None,
            session_version: 1,
            ssrc: Ssrc(self.rng.u32(..)),
            sent: SentMedia::default(),
            sending: None,
            rtcp: Participant::default(),
        };
        if let Some(agreed) = agreed {
            media.agree(agreed);
        }
        Dialog {
            id,
            hash: self.dialogs.hash(call_id, tag),
            texts,
            local: datagram.dst,
            peer: datagram.src,
            transport: datagram.transport,
            phase: Phase::Ringing { answer_at: self.rings_until(action, at) },
            invite_cseq: number,
            invite_transaction: self.invite_transaction(request),
            local_cseq: 0,
            response: None,
            answer: None,
            resend: None,
            is_offering: false,
            unconfirmed: None,
            extras: None,
            media,
            seen: None,
            action,
            flow: Flow::BOTH,
            last_heard: at,
            rtcp_at: Timestamp::MAX,
            armed: Timestamp::MAX,
            streams: Vec::new(),
        }
    }

    /// The first of our ports at which no other call expects media from the same address. Few
    /// sockets in use make full batches.
    fn choose_port(&self, remote_rtp: Option<SocketAddr>) -> u16 {
        let mut ports = self.config.rtp_ports.iter().copied();
        let is_free = |port: &u16| {
            remote_rtp.is_none_or(|remote| self.dialogs.find_media(remote, *port).is_none())
        };
        ports.find(is_free).or_else(|| self.config.rtp_ports.first().copied()).unwrap_or(0)
    }

    /// Writes the answer to an offer, or an offer if there is none, into the scratch buffer, which
    /// is to be given back.
    pub(super) fn write_description(&mut self, slot: u32, agreed: Option<&Agreed<'_>>) -> Vec<u8> {
        let mut sdp = core::mem::take(&mut self.scratch);
        sdp.clear();
        let Some(dialog) = self.dialogs.get(slot) else { return sdp };
        let media = &dialog.media;
        let is_secure = agreed.map_or(media.is_secure, |agreed| agreed.crypto.is_some());
        let key = is_secure.then(|| {
            // What names a call within the appliance, whose secret is its own.
            let CallRef { shard, serial } = self.call_ref(dialog.id.serial);
            let name = [&shard.0.to_be_bytes()[..], &serial.to_be_bytes()].concat();
            self.config.keys.master(&name)
        });
        let us = Ourselves {
            rtp: self.advertised(media.local),
            session_id: u64::from(media.ssrc.0),
            version: media.session_version,
            xr: if self.config.rtcp_xr { XrWanted::ALL } else { XrWanted::NONE },
            key: key.as_deref(),
        };
        match agreed {
            Some(agreed) => write_answer(&mut sdp, agreed, us),
            None => write_offer(&mut sdp, &media.formats, media.refused.as_deref(), us),
        }
        sdp
    }

    /// Writes the 2xx to an INVITE and keeps it until it is time to send it; false if that may not
    /// be sent.
    fn prepare_answer(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        agreed: Option<&Agreed<'_>>,
    ) -> bool {
        let now = self.now.max(datagram.received_at);
        let interval = session_timer::interval(request).ok().flatten();
        let Some(dialog) = self.dialogs.get_mut(slot) else { return false };
        dialog.is_offering = agreed.is_none();
        dialog.set_session(interval);
        // Offer and answer that a reliable response before it has are not said again.
        let is_early = dialog.action == Action::Early || dialog.is_offering;
        let is_ringing = matches!(dialog.phase, Phase::Ringing { .. });
        let is_settled = is_ringing && is_early && self.is_reliable(slot, request, now);
        let mut sdp = self.write_description(slot, agreed);
        if is_settled {
            sdp.clear();
        }
        let headers = session_timer::headers(interval);
        let content = Content {
            contact: Some(self.contact(datagram)),
            makes_dialog: true,
            capabilities: true,
            headers: &headers,
            sdp: &sdp,
            ..Content::default()
        };
        let answer = self.response(datagram, request, Status::OK, content);
        self.scratch = sdp;
        let is_prepared = answer.is_some();
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.answer = answer.map(Box::new);
        }
        is_prepared
    }
}

impl Media {
    /// Takes over what an offer or answer settled.
    fn agree(&mut self, agreed: &Agreed<'_>) {
        if agreed.remote_rtp.is_some() && agreed.remote_rtp != self.remote_rtp {
            self.is_awaited = true;
            // What was learnt was where the address before is.
            self.latched = None;
        }
        // A call on hold keeps the address that its media will come from again.
        self.remote_rtp = agreed.remote_rtp.or(self.remote_rtp);
        self.remote_rtcp = agreed.remote_rtcp.or(self.remote_rtcp);
        self.formats.clone_from(&agreed.formats);
        self.is_muxed = agreed.is_muxed;
        self.is_secure = agreed.crypto.is_some();
        self.refused.clone_from(&agreed.refused);
        self.ptime_ms = agreed.ptime_ms;
        self.rtcp.wanted = agreed.xr.unwrap_or_default();
        self.direction = agreed.direction;
    }
}

/// What the body of an INVITE or ACK offers or answers; `None` if there is no body.
pub(super) fn read_body<'a>(
    datagram: &Datagram<'_>,
    request: &SipMessage<'a>,
    action: Action,
) -> Result<Option<Agreed<'a>>, NotAcceptable> {
    let body = request.description().map_err(|_| NotAcceptable)?;
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let sdp = SessionDescription::parse(body).map_err(|_| NotAcceptable)?;
    let agreed = Agreed::read(&sdp, datagram.src.ip(), action.sound().is_some());
    agreed.map(Some).ok_or(NotAcceptable)
}

/// A body is no session description, or none with audio that can be taken.
pub(super) struct NotAcceptable;

/// Whether a request claims to be within a dialog.
pub(super) fn has_to_tag(request: &SipMessage<'_>) -> bool {
    request.to_tag().is_some()
}

pub(super) fn contact_uri<'a>(request: &SipMessage<'a>) -> Option<&'a [u8]> {
    sound_uri(NameAddr::parse(elements(request.contact()?).next()?).uri)
}

/// A URI, if it can stand in a request line.
fn sound_uri(uri: &[u8]) -> Option<&[u8]> {
    // A fold within it would break the request line of our BYE.
    let is_sound = |uri: &&[u8]| !uri.is_empty() && uri.iter().all(u8::is_ascii_graphic);
    Some(uri).filter(is_sound)
}

/// How long calls are kept waiting that are to be answered late: long enough to be seen, short
/// enough for whoever waits for it.
const SLOW: Duration = Duration::from_secs(3);

/// Overload passes within seconds; this is how long a caller is asked to wait.
const RETRY_AFTER: &str = "Retry-After: 10\r\n";

/// RFC 3261 section 14.2 asks for 0 to 10 s.
pub(super) const RETRY_SOON: &str = "Retry-After: 1\r\n";

/// RFC 3261 section 20.43: 305, incompatible media format.
pub(super) const NO_AUDIO: &str = "Warning: 305 voxplane \"no plain RTP audio in the offer\"\r\n";
