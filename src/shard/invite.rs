//! INVITE and ACK: calls set up and changed by offer and answer (RFC 3261 sections 13.3 and 14.2).
//!
//! Writes answers and keeps them; when they are sent is `call`'s business.

use core::time::Duration;
use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::{
    Shard,
    answer::{Agreed, Ourselves, PTIME_MS, write_answer, write_offer},
    dialog::{Awaits, Dialog, DialogId, Media, Phase, Sent, SentMedia, Text, Texts},
    outbox::Outbox,
    report::{CallEvent, EndedBy, Flow},
    response::{ALLOW, Content, Status, response_address, with_status, write_response, write_to},
    routes::Action,
    rtcp::{Participant, XrWanted},
    user_agent::remote_tag,
};
use crate::{
    id::Ssrc,
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
        let to = request.to().map(NameAddr::parse);
        if to.as_ref().and_then(NameAddr::tag).is_some() {
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
        let action = self.config.routes.action(Uri::parse(uri).user.unwrap_or_default());
        let Ok(agreed) = read_body(datagram, request, action) else {
            let status = Status::NOT_ACCEPTABLE_HERE;
            self.respond(datagram, request, status, NO_AUDIO, out);
            return;
        };
        let dialog = self.new_dialog(id, datagram, request, uri, agreed, action);
        self.health.calls_total += 1;
        self.dialogs.insert(dialog);
        self.report_opened(id.slot, request, datagram.received_at, out);

        self.respond(datagram, request, Status::TRYING, "", out);
        let now = self.now.max(datagram.received_at);
        if let Action::Refuse(code) = action {
            self.refuse_at_once(id.slot, datagram, request, Status(code), out);
        } else {
            self.prepare_answer(id.slot, datagram, request);
            self.tell_progress(id.slot, datagram, request, out);
            self.run_dialog(id.slot, now, out);
        }
        self.arm(id.slot);
    }

    /// Says that the call rings, or what its media is before it is answered. Who has offered
    /// nothing cannot be answered yet (RFC 3261 section 13.2.1).
    fn tell_progress(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let answer = dialog.answer.as_deref().filter(|_| dialog.action == Action::Early);
        let status = match answer.filter(|_| !dialog.media.formats.is_empty()) {
            Some(answer) => {
                let bytes = with_status(&answer.bytes, Status::SESSION_PROGRESS);
                out.send(answer.src, answer.dst, |out| out.extend_from_slice(&bytes));
                Status::SESSION_PROGRESS
            }
            None => {
                let contact = Some(self.advertised(datagram.dst));
                let ringing = Content { contact, makes_dialog: true, ..Content::default() };
                self.respond_with(datagram, request, Status::RINGING, ringing, out);
                Status::RINGING
            }
        };
        let now = self.now.max(datagram.received_at);
        self.report_event(slot, now, CallEvent::Progressed(status.0), out);
        self.update_sending(slot, now);
        self.keep_response(slot, datagram, request, out);
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
        let content = Content { to_tag: self.tag_for(request), ..Content::default() };
        let mut bytes = Vec::new();
        write_response(&mut bytes, request, datagram.src, status, &content);
        let dst = response_address(request, datagram.src);
        let now = self.now.max(datagram.received_at);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.response = Some(Box::new(Sent { src: datagram.dst, dst, bytes: bytes.into() }));
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
        out: &mut Outbox,
    ) {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        if number == dialog.invite_cseq {
            // What was answered with an ACK since is not answered again (RFC 6026 section 7.1).
            if let Some(sent) = dialog.response.as_deref() {
                out.send(sent.src, sent.dst, |bytes| bytes.extend_from_slice(&sent.bytes));
            }
            return;
        }
        if !self.is_within(slot, request) || dialog.phase != Phase::Answered {
            self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, "", out);
            return;
        }
        if number < dialog.invite_cseq {
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
        let Ok(agreed) = read_body(datagram, request, dialog.action) else {
            let status = Status::NOT_ACCEPTABLE_HERE;
            self.respond(datagram, request, status, NO_AUDIO, out);
            return;
        };
        if let Some(agreed) = agreed {
            self.agree(slot, agreed);
        }
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.invite_cseq = number;
            dialog.media.session_version += 1;
            if let Some(contact) = contact_uri(request) {
                dialog.texts.replace(Text::Target, contact);
            }
        }
        self.prepare_answer(slot, datagram, request);
        self.send_answer(slot, self.now.max(datagram.received_at), out);
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
        // An INVITE without an offer has its answer here.
        if let Ok(Some(agreed)) = read_body(datagram, request, dialog.action) {
            self.agree(slot, agreed);
            self.update_sending(slot, self.now.max(datagram.received_at));
            self.tell_flow(slot, datagram.received_at, out);
        }
    }

    /// Takes over what was agreed on, for the streams there are, too.
    fn agree(&mut self, slot: u32, agreed: Agreed) {
        self.dialogs.change_media(slot, |dialog| dialog.media.agree(agreed));
        let Some(dialog) = self.dialogs.get(slot) else { return };
        for &(stream, serial) in &dialog.streams {
            if let Some(stream) = self.streams.get_mut(stream, serial)
                && let Some(format) = dialog.agreed_format(stream.key.dst(), stream.payload_type())
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
        agreed: Option<Agreed>,
        action: Action,
    ) -> Dialog {
        let at = datagram.received_at;
        let call_id = request.call_id().unwrap_or_default();
        let tag = remote_tag(request);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let mut local = Vec::new();
        write_to(&mut local, request.to().unwrap_or_default(), Some(self.local_tag(request)));
        let routes: Vec<_> = request.values(HeaderName::RecordRoute).collect();
        let texts = Texts::pack([
            call_id,
            tag,
            request.from().unwrap_or_default(),
            &local,
            contact_uri(request).or_else(|| uri_of(request.from()?)).unwrap_or(uri),
            &routes.join(&b", "[..]),
        ]);
        let rtp_port = self.choose_port(agreed.as_ref().and_then(|agreed| agreed.remote_rtp));
        let mut media = Media {
            local: SocketAddr::new(datagram.dst.ip(), rtp_port),
            remote_rtp: None,
            remote_rtcp: None,
            latched: None,
            is_awaited: true,
            formats: ArrayVec::new(),
            is_muxed: false,
            ptime_ms: PTIME_MS,
            direction: Direction::SendRecv,
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
            phase: Phase::Ringing { answer_at: self.rings_until(action, at) },
            invite_cseq: number,
            local_cseq: 0,
            response: None,
            answer: None,
            resend: None,
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

    /// Writes the 2xx to an INVITE and keeps it until it is time to send it.
    fn prepare_answer(&mut self, slot: u32, datagram: &Datagram<'_>, request: &SipMessage<'_>) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        let us = Ourselves {
            rtp: self.advertised(dialog.media.local),
            session_id: u64::from(dialog.media.ssrc.0),
            version: dialog.media.session_version,
            xr: if self.config.rtcp_xr { XrWanted::ALL } else { XrWanted::NONE },
        };
        let mut sdp = core::mem::take(&mut self.scratch);
        sdp.clear();
        let (offer, source) = (SessionDescription::parse(request.body()).ok(), datagram.src.ip());
        let sends = dialog.action.sound().is_some();
        match offer.and_then(|offer| Some((offer, Agreed::read(&offer, source, sends)?))) {
            Some((offer, agreed)) => write_answer(&mut sdp, &offer, &agreed, us),
            None => write_offer(&mut sdp, us),
        }
        let content = Content {
            to_tag: self.tag_for(request),
            contact: Some(self.advertised(datagram.dst)),
            makes_dialog: true,
            headers: ALLOW,
            sdp: &sdp,
            ..Content::default()
        };
        let mut bytes = Vec::new();
        write_response(&mut bytes, request, datagram.src, Status::OK, &content);
        let dst = response_address(request, datagram.src);
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.answer = Some(Box::new(Sent { src: datagram.dst, dst, bytes: bytes.into() }));
        }
        self.scratch = sdp;
    }

    /// Keeps the provisional response just sent, for an INVITE that comes again.
    fn keep_response(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &Outbox,
    ) {
        let Some((_, bytes)) = out.transmits().last() else { return };
        let dst = response_address(request, datagram.src);
        let sent = Sent { src: datagram.dst, dst, bytes: bytes.into() };
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.response = Some(Box::new(sent));
        }
    }
}

impl Media {
    /// Takes over what an offer or answer settled.
    fn agree(&mut self, agreed: Agreed) {
        if agreed.remote_rtp.is_some() && agreed.remote_rtp != self.remote_rtp {
            self.is_awaited = true;
            // What was learnt was where the address before is.
            self.latched = None;
        }
        // A call on hold keeps the address that its media will come from again.
        self.remote_rtp = agreed.remote_rtp.or(self.remote_rtp);
        self.remote_rtcp = agreed.remote_rtcp.or(self.remote_rtcp);
        self.formats = agreed.formats;
        self.is_muxed = agreed.is_muxed;
        self.ptime_ms = agreed.ptime_ms;
        self.rtcp.wanted = agreed.xr.unwrap_or_default();
        self.direction = agreed.direction;
    }
}

/// What the body of an INVITE or ACK offers or answers; `None` if there is no body.
fn read_body(
    datagram: &Datagram<'_>,
    request: &SipMessage<'_>,
    action: Action,
) -> Result<Option<Agreed>, NotAcceptable> {
    if request.body().trim_ascii().is_empty() {
        return Ok(None);
    }
    let sdp = SessionDescription::parse(request.body()).map_err(|_| NotAcceptable)?;
    let agreed = Agreed::read(&sdp, datagram.src.ip(), action.sound().is_some());
    agreed.map(Some).ok_or(NotAcceptable)
}

/// A body is no session description, or none with audio that can be taken.
struct NotAcceptable;

fn contact_uri<'a>(request: &SipMessage<'a>) -> Option<&'a [u8]> {
    uri_of(elements(request.contact()?).next()?)
}

/// The URI of an address, if it can stand in a request line.
fn uri_of(address: &[u8]) -> Option<&[u8]> {
    // A fold within it would break the request line of our BYE.
    let is_sound = |uri: &&[u8]| !uri.is_empty() && uri.iter().all(u8::is_ascii_graphic);
    Some(NameAddr::parse(address).uri).filter(is_sound)
}

/// How long calls are kept waiting that are to be answered late: long enough to be seen, short
/// enough for whoever waits for it.
const SLOW: Duration = Duration::from_secs(3);

/// Overload passes within seconds; this is how long a caller is asked to wait.
const RETRY_AFTER: &str = "Retry-After: 10\r\n";

/// RFC 3261 section 14.2 asks for 0 to 10 s.
const RETRY_SOON: &str = "Retry-After: 1\r\n";

/// RFC 3261 section 20.43: 305, incompatible media format.
const NO_AUDIO: &str = "Warning: 305 voxplane \"no plain RTP audio in the offer\"\r\n";
