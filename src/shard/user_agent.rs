//! The user agent server: requests in, responses out, dialogs kept (RFC 3261 sections 8 to 15).

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::{
    Shard,
    answer::{Agreed, Ourselves, write_answer, write_offer},
    dialog::{
        Awaits, Dialog, DialogId, Media, Phase, Policy, Resend, Sent, SentMedia, T1, Text, Texts,
    },
    outbox::Outbox,
    report::{CallEvent, EndedBy, Report, RoundTrip, TEXT_PIECE, TextField, TextReport},
    response::{ALLOW, Content, Status, response_address, write_bye, write_response, write_to},
};
use crate::{
    id::Ssrc,
    limits::TEXT_MAX,
    time::Timestamp,
    wire::{
        Datagram,
        sdp::{Direction, SessionDescription},
        sip::{HeaderName, Method, NameAddr, SipMessage, StartLine, Uri, elements},
    },
};

impl Shard {
    /// Takes in a datagram of the SIP port.
    pub(super) fn handle_sip(&mut self, datagram: &Datagram<'_>, out: &mut Outbox) {
        // A keep-alive (RFC 5626 section 4.4.1) is no message.
        if datagram.payload.trim_ascii().is_empty() {
            return;
        }
        self.health.sip_messages += 1;
        let Ok(message) = SipMessage::parse(datagram.payload) else {
            self.health.sip_malformed += 1;
            return;
        };
        match message.start_line() {
            StartLine::Request { method, uri, .. } => {
                self.on_request(datagram, &message, method, uri, out);
            }
            StartLine::Response { code, .. } => self.on_response(&message, code),
        }
    }

    fn on_request(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        method: Method,
        uri: &[u8],
        out: &mut Outbox,
    ) {
        let at = datagram.received_at;
        if let Err(defect) = request.check() {
            self.health.sip_malformed += 1;
            // An ACK is never answered; what has no Via has no one to answer.
            if method != Method::Ack && request.via().is_some() {
                self.respond(datagram, request, Status(defect.status()), None, ALLOW, out);
            }
            return;
        }
        let dialog = request.call_id().and_then(|id| self.dialogs.find(id, remote_tag(request)));
        if let Some(slot) = dialog {
            self.heard(slot, datagram, request);
        }
        match (method, dialog) {
            (Method::Invite, Some(slot)) => self.on_invite_again(slot, datagram, request, out),
            (Method::Invite, None) => self.on_invite(datagram, request, uri, out),
            (Method::Ack, Some(slot)) => self.on_ack(slot, datagram, request),
            (Method::Ack, None) => {}
            (Method::Bye, Some(slot)) if self.is_within(slot, request) => {
                self.respond(datagram, request, Status::OK, None, "", out);
                self.end_by_caller(slot, at, out);
            }
            (Method::Cancel, Some(slot)) => {
                self.respond(datagram, request, Status::OK, None, "", out);
                self.cancel(slot, at, out);
            }
            (Method::Info, Some(slot)) if self.is_within(slot, request) => {
                self.respond(datagram, request, Status::OK, None, "", out);
            }
            (Method::Bye | Method::Cancel | Method::Info, _) => {
                self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, None, "", out);
            }
            (Method::Options, _) => {
                let headers = concat_allow("Accept: application/sdp\r\n");
                self.respond(datagram, request, Status::OK, None, &headers, out);
            }
            (Method::Register, _) => self.accept_registration(datagram, request, out),
            (Method::Other, _) => {
                self.respond(datagram, request, Status::NOT_IMPLEMENTED, None, ALLOW, out);
            }
            _ => self.respond(datagram, request, Status::METHOD_NOT_ALLOWED, None, ALLOW, out),
        }
        if let Some(slot) = dialog {
            self.arm(slot);
        }
    }

    /// A response can only be to our BYE: it ends the retransmissions.
    fn on_response(&mut self, response: &SipMessage<'_>, code: u16) {
        let to = response.to().map(NameAddr::parse);
        let remote_tag = to.as_ref().and_then(NameAddr::tag).unwrap_or_default();
        let slot = response.call_id().and_then(|id| self.dialogs.find(id, remote_tag));
        let Some(dialog) = slot.and_then(|slot| self.dialogs.get_mut(slot)) else { return };
        let number = response.cseq().map_or(0, |cseq| cseq.number);
        let awaits = dialog.resend.as_ref().map(|resend| resend.awaits);
        if code >= 200 && awaits == Some(Awaits::Response(number)) {
            dialog.resend = None;
        }
    }

    /// An INVITE that opens a call.
    fn on_invite(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        uri: &[u8],
        out: &mut Outbox,
    ) {
        let to = request.to().map(NameAddr::parse);
        if to.as_ref().and_then(NameAddr::tag).is_some() {
            self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, None, "", out);
            return;
        }
        let Some(id) = self.dialogs.reserve().filter(|_| !self.is_closing) else {
            self.health.calls_refused += 1;
            let status = Status::SERVICE_UNAVAILABLE;
            self.respond(datagram, request, status, None, RETRY_AFTER, out);
            return;
        };
        let sdp = SessionDescription::parse(request.body()).ok();
        let agreed = sdp.as_ref().map(|sdp| Agreed::read(sdp, datagram.src.ip()));
        if agreed.as_ref().is_some_and(Option::is_none) {
            let status = Status::NOT_ACCEPTABLE_HERE;
            self.respond(datagram, request, status, None, NO_AUDIO, out);
            return;
        }
        let dialog = self.new_dialog(id, datagram, request, uri, agreed.flatten());
        self.health.calls_total += 1;
        self.dialogs.insert(dialog);
        self.report_opened(id.slot, request, datagram.received_at, out);

        self.respond(datagram, request, Status::TRYING, None, "", out);
        let local = self.advertised(datagram.dst);
        let ringing = Content { contact: Some(local), makes_dialog: true, ..Content::default() };
        self.respond_with(datagram, request, Status::RINGING, ringing, out);
        self.report_event(id.slot, datagram.received_at, CallEvent::Progressed(180), out);
        self.keep_response(id.slot, datagram, request, out);
        self.prepare_answer(id.slot, datagram, request);
        self.run_dialog(id.slot, datagram.received_at, out);
        self.arm(id.slot);
    }

    /// An INVITE of a known call: again the same one, or a new offer (RFC 3261 section 14.2).
    fn on_invite_again(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        if number <= dialog.invite_cseq {
            // What was answered with an ACK since is not answered again (RFC 6026 section 7.1).
            if let Some(sent) = dialog.response.as_deref().filter(|_| number == dialog.invite_cseq)
            {
                out.send(sent.src, sent.dst, |bytes| bytes.extend_from_slice(&sent.bytes));
            }
            return;
        }
        if !self.is_within(slot, request) || dialog.phase != Phase::Answered {
            self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, None, "", out);
            return;
        }
        if dialog.resend.is_some() {
            // The offer before is not acknowledged yet (RFC 3261 section 14.2).
            let status = Status::SERVER_INTERNAL_ERROR;
            self.respond(datagram, request, status, None, RETRY_SOON, out);
            return;
        }
        if let Ok(sdp) = SessionDescription::parse(request.body()) {
            let Some(agreed) = Agreed::read(&sdp, datagram.src.ip()) else {
                let status = Status::NOT_ACCEPTABLE_HERE;
                self.respond(datagram, request, status, None, NO_AUDIO, out);
                return;
            };
            self.dialogs.change_media(slot, |dialog| dialog.media.agree(agreed));
        }
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.invite_cseq = number;
            dialog.media.session_version += 1;
            if let Some(contact) = contact_uri(request) {
                dialog.texts.replace(Text::Target, contact);
            }
        }
        self.prepare_answer(slot, datagram, request);
        self.send_answer(slot, datagram.received_at, out);
    }

    fn on_ack(&mut self, slot: u32, datagram: &Datagram<'_>, request: &SipMessage<'_>) {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        if dialog.resend.as_ref().map(|resend| resend.awaits) != Some(Awaits::Ack(number)) {
            return;
        }
        dialog.resend = None;
        dialog.response = None;
        // An INVITE without an offer has its answer here.
        if let Ok(sdp) = SessionDescription::parse(request.body())
            && let Some(agreed) = Agreed::read(&sdp, datagram.src.ip())
        {
            self.dialogs.change_media(slot, |dialog| dialog.media.agree(agreed));
        }
    }

    fn end_by_caller(&mut self, slot: u32, at: Timestamp, out: &mut Outbox) {
        match self.dialogs.get(slot).map(|dialog| dialog.phase) {
            Some(Phase::Ringing { .. }) => self.cancel(slot, at, out),
            Some(Phase::Answered) => self.end(slot, EndedBy::Caller, true, at),
            _ => {}
        }
    }

    /// Refuses an INVITE that is not answered yet (RFC 3261 section 9.2); later it changes
    /// nothing.
    fn cancel(&mut self, slot: u32, at: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let Phase::Ringing { .. } = dialog.phase else { return };
        let Some(answer) = dialog.response.take() else { return };
        let bytes = as_refusal(&answer.bytes, Status::REQUEST_TERMINATED);
        let refusal = Sent { bytes, ..*answer };
        out.send(refusal.src, refusal.dst, |bytes| bytes.extend_from_slice(&refusal.bytes));
        dialog.resend = Some(Resend::new(refusal, Awaits::Ack(dialog.invite_cseq), at));
        self.end(slot, EndedBy::Caller, false, at);
    }

    /// Does what is due for a dialog.
    pub(super) fn run_dialog(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        self.send_again(slot, now, out);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        match dialog.phase {
            Phase::Ringing { answer_at } if answer_at <= now => self.send_answer(slot, now, out),
            Phase::Ringing { .. } => {}
            Phase::Answered => {
                let heard = self.last_heard(dialog);
                if heard + self.config.idle_timeout <= now {
                    self.hang_up(slot, EndedBy::Timeout, now, out);
                    return;
                }
                let Some(dialog) = self.dialogs.get_mut(slot) else { return };
                dialog.last_heard = heard;
                if dialog.rtcp_at <= now {
                    self.send_rtcp(slot, now, out);
                    self.report_remote(slot, now, out);
                }
            }
            Phase::Ended { by, was_answered, report_at } if report_at <= now => {
                self.report_end(slot, by, was_answered, now, out);
            }
            Phase::Lingering { until } if until <= now => self.dialogs.remove(slot),
            Phase::Ended { .. } | Phase::Lingering { .. } => {}
        }
    }

    /// Sends again what the far end has not answered, and gives the call up in the end.
    fn send_again(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let Some(resend) = dialog.resend.as_mut().filter(|resend| resend.at <= now) else { return };
        if resend.until <= now {
            dialog.resend = None;
            if dialog.is_up() {
                // No ACK ever came (RFC 3261 section 13.3.1.4).
                self.hang_up(slot, EndedBy::Timeout, now, out);
            }
            return;
        }
        resend.back_off(now);
        let what = &resend.what;
        out.send(what.src, what.dst, |bytes| bytes.extend_from_slice(&what.bytes));
    }

    /// Answers the call: sends the 2xx that is ready, until it is acknowledged.
    fn send_answer(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let Some(answer) = dialog.answer.take() else { return };
        out.send(answer.src, answer.dst, |bytes| bytes.extend_from_slice(&answer.bytes));
        dialog.response = Some(Box::new(answer.clone()));
        dialog.resend = Some(Resend::new(answer, Awaits::Ack(dialog.invite_cseq), now));
        if let Phase::Ringing { .. } = dialog.phase {
            dialog.phase = Phase::Answered;
            self.report_event(slot, now, CallEvent::Answered(200), out);
        }
    }

    /// Ends a call from our side with a BYE.
    pub(super) fn hang_up(&mut self, slot: u32, by: EndedBy, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        if let Phase::Ringing { .. } = dialog.phase {
            self.cancel(slot, now, out);
            return;
        }
        dialog.local_cseq += 1;
        let local = self.advertised(self.dialogs.get(slot).map_or(ANY, |dialog| dialog.local));
        let branch = self.rng.u64(..);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let mut bytes = Vec::new();
        write_bye(&mut bytes, dialog, local, branch);
        let bye = Sent { src: dialog.local, dst: dialog.peer, bytes: bytes.into() };
        out.send(bye.src, bye.dst, |bytes| bytes.extend_from_slice(&bye.bytes));
        dialog.resend = Some(Resend::new(bye, Awaits::Response(dialog.local_cseq), now));
        self.end(slot, by, true, now);
        self.arm(slot);
    }

    /// Marks a call as over. What is said about it waits for the packets still under way.
    fn end(&mut self, slot: u32, by: EndedBy, was_answered: bool, at: Timestamp) {
        let report_at = at + LAST_PACKETS;
        self.dialogs.end(slot, Phase::Ended { by, was_answered, report_at });
    }

    /// Passes on all there is to say about a call that is over.
    fn report_end(
        &mut self,
        slot: u32,
        by: EndedBy,
        was_answered: bool,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        self.report_remote(slot, now, out);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.phase = Phase::Lingering { until: now + T1 * 64 };
        dialog.response = None;
        let streams = core::mem::take(&mut dialog.streams);
        for (stream, serial) in streams {
            if self.streams.get_mut(stream, serial).is_some() {
                self.finish_stream(stream, now, out);
            }
        }
        let event = if was_answered {
            CallEvent::Ended(by)
        } else {
            CallEvent::Failed(Status::REQUEST_TERMINATED.0, by)
        };
        // The call was over when the BYE came, not now.
        let ended_at = now - LAST_PACKETS;
        self.report_event(slot, ended_at, event, out);
    }

    fn report_event(&self, slot: u32, at: Timestamp, event: CallEvent, out: &mut Outbox) {
        if let Some(dialog) = self.dialogs.get(slot) {
            self.report_call(dialog, at, event, out);
        }
    }

    fn report_opened(&self, slot: u32, request: &SipMessage<'_>, at: Timestamp, out: &mut Outbox) {
        self.report_event(slot, at, CallEvent::Opened, out);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        let call = self.call_ref(dialog.id.serial);
        let uri = |value: Option<_>| value.map_or(&b""[..], |value| NameAddr::parse(value).uri);
        let texts = [
            (TextField::CallId, request.call_id().unwrap_or_default()),
            (TextField::From, uri(request.from())),
            (TextField::To, uri(request.to())),
            (TextField::UserAgent, request.user_agent().unwrap_or_default()),
        ];
        for (field, text) in texts {
            for piece in text[..text.len().min(TEXT_MAX)].chunks(TEXT_PIECE) {
                let mut bytes = [0; TEXT_PIECE];
                bytes[..piece.len()].copy_from_slice(piece);
                let len = u8::try_from(piece.len()).unwrap_or(u8::MAX);
                out.report(Report::Text(TextReport { call, field, len, bytes }));
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
            contact_uri(request)
                .unwrap_or_else(|| request.from().map_or(uri, |from| NameAddr::parse(from).uri)),
            &routes.join(&b", "[..]),
        ]);
        let rtp_port = self.choose_port(agreed.as_ref().and_then(|agreed| agreed.remote_rtp));
        let mut media = Media {
            local: SocketAddr::new(datagram.dst.ip(), rtp_port),
            remote_rtp: None,
            remote_rtcp: None,
            latched: None,
            formats: ArrayVec::new(),
            is_muxed: false,
            direction: Direction::SendRecv,
            session_version: 1,
            ssrc: Ssrc(self.rng.u32(..)),
            sent: SentMedia::default(),
            reported: None,
            rtt: RoundTrip::default(),
        };
        if let Some(agreed) = agreed {
            media.agree(agreed);
        }
        let first_report = self.rtcp_interval() / 2;
        Dialog {
            id,
            hash: self.dialogs.hash(call_id, tag),
            texts,
            local: datagram.dst,
            peer: datagram.src,
            phase: Phase::Ringing { answer_at: at + self.config.answer_delay },
            invite_cseq: number,
            local_cseq: 0,
            response: None,
            answer: None,
            resend: None,
            media,
            policy: Policy::for_user(Uri::parse(uri).user.unwrap_or_default()),
            last_heard: at,
            rtcp_at: at + first_report,
            armed: Timestamp::MAX,
            streams: ArrayVec::new(),
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
        };
        let mut sdp = core::mem::take(&mut self.scratch);
        sdp.clear();
        let offer = SessionDescription::parse(request.body()).ok();
        match offer.and_then(|offer| Some((offer, Agreed::read(&offer, datagram.src.ip())?))) {
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
            dialog.answer = Some(Sent { src: datagram.dst, dst, bytes: bytes.into() });
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

    fn accept_registration(
        &self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        let expires = format!("Expires: {}\r\n", request.expires().unwrap_or(REGISTRATION_SECS));
        let content = Content { headers: &expires, copies_contacts: true, ..Content::default() };
        self.respond_with(datagram, request, Status::OK, content, out);
    }

    fn respond(
        &self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        contact: Option<SocketAddr>,
        headers: &str,
        out: &mut Outbox,
    ) {
        let content = Content { contact, headers, ..Content::default() };
        self.respond_with(datagram, request, status, content, out);
    }

    fn respond_with(
        &self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        content: Content<'_>,
        out: &mut Outbox,
    ) {
        // A 100 needs no tag (RFC 3261 section 8.2.6.2).
        let to_tag = if status == Status::TRYING { None } else { self.tag_for(request) };
        let content = Content { to_tag, ..content };
        out.send(datagram.dst, response_address(request, datagram.src), |bytes| {
            write_response(bytes, request, datagram.src, status, &content);
        });
    }

    /// The tag to add to To: ours, unless the request has one there.
    fn tag_for(&self, request: &SipMessage<'_>) -> Option<u64> {
        let to = NameAddr::parse(request.to()?);
        to.tag().is_none().then(|| self.local_tag(request))
    }

    /// Our tag in a dialog: the same for the same request, without any memory of it.
    fn local_tag(&self, request: &SipMessage<'_>) -> u64 {
        let mut hasher = foldhash::quality::FixedState::with_seed(!self.config.seed).build_hasher();
        hasher.write(request.call_id().unwrap_or_default());
        hasher.write(remote_tag(request));
        hasher.finish()
    }

    /// Whether a request is within a dialog of ours: its To has our tag.
    fn is_within(&self, slot: u32, request: &SipMessage<'_>) -> bool {
        let tag_of = |value| NameAddr::parse(value).tag().map(<[u8]>::to_vec);
        let ours = self.dialogs.get(slot).and_then(|dialog| tag_of(dialog.texts.get(Text::Local)));
        ours.is_some() && request.to().and_then(tag_of) == ours
    }

    fn heard(&mut self, slot: u32, datagram: &Datagram<'_>, request: &SipMessage<'_>) {
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.last_heard = dialog.last_heard.max(datagram.received_at);
            if request.method() != Some(Method::Cancel) {
                dialog.peer = datagram.src;
            }
        }
    }

    /// When the far end was last heard, its media included.
    fn last_heard(&self, dialog: &Dialog) -> Timestamp {
        let streams = dialog.streams.iter();
        let media = streams.filter_map(|&(slot, _)| self.streams.at(slot));
        media.map(super::stream::Stream::last_at).fold(dialog.last_heard, Timestamp::max)
    }
}

impl Media {
    /// Takes over what an offer or answer settled.
    fn agree(&mut self, agreed: Agreed) {
        // A call on hold keeps the address that its media will come from again.
        self.remote_rtp = agreed.remote_rtp.or(self.remote_rtp);
        self.remote_rtcp = agreed.remote_rtcp.or(self.remote_rtcp);
        self.formats = agreed.formats;
        self.is_muxed = agreed.is_muxed;
        self.direction = agreed.direction;
    }
}

fn remote_tag<'a>(request: &SipMessage<'a>) -> &'a [u8] {
    request.from().and_then(|from| NameAddr::parse(from).tag()).unwrap_or_default()
}

fn contact_uri<'a>(request: &SipMessage<'a>) -> Option<&'a [u8]> {
    let first = elements(request.contact()?).next()?;
    Some(NameAddr::parse(first).uri).filter(|uri| !uri.is_empty())
}

fn concat_allow(more: &str) -> String {
    format!("{ALLOW}{more}")
}

/// The provisional response that was sent, with another status and without Contact.
fn as_refusal(provisional: &[u8], status: Status) -> Box<[u8]> {
    let end = memchr::memchr(b'\n', provisional).map_or(0, |at| at + 1);
    let mut bytes = status.line().into_bytes();
    for line in provisional[end..].split_inclusive(|&byte| byte == b'\n') {
        if !line.starts_with(b"Contact:") && !line.starts_with(b"Record-Route:") {
            bytes.extend_from_slice(line);
        }
    }
    bytes.into()
}

/// How long after its BYE a call's packets may still be under way, in the network or in our own
/// sockets.
const LAST_PACKETS: Duration = Duration::from_millis(200);

/// How long a registration lasts that asks for no time (RFC 3261 section 10.2.1.1).
const REGISTRATION_SECS: u32 = 3600;

/// Overload passes within seconds; this is how long a caller is asked to wait.
const RETRY_AFTER: &str = "Retry-After: 10\r\n";

/// RFC 3261 section 14.2 asks for 0 to 10 s.
const RETRY_SOON: &str = "Retry-After: 1\r\n";

/// RFC 3261 section 20.43: 305, incompatible media format.
const NO_AUDIO: &str = "Warning: 305 voxplane \"no plain RTP audio in the offer\"\r\n";

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
