//! The user agent server: requests in, responses out (RFC 3261 section 8.2).
//!
//! What a request does to a call is `invite`'s and `call`'s business.

use super::{
    Shard,
    dialog::{Awaits, Sent, Text},
    invite::has_to_tag,
    outbox::Outbox,
    phone_report::ALLOW_EVENTS,
    response::{ALLOW, Content, Status, response_address, warning, write_response},
};
use crate::wire::{
    Datagram,
    sip::{Defect, Method, SipMessage, StartLine},
};

impl Shard {
    /// Takes in a datagram of the SIP port.
    pub(super) fn handle_sip(&mut self, datagram: &Datagram<'_>, out: &mut Outbox) {
        // A keep-alive (RFC 5626 section 4.4.1) is no message.
        if datagram.payload.trim_ascii().is_empty() {
            return;
        }
        self.health.sip_messages += 1;
        let parsed = SipMessage::parse(datagram.payload);
        let Ok(message) = &parsed else {
            self.health.sip_malformed += 1;
            self.signalling.count_malformed();
            return;
        };
        self.signalling.receive(datagram, message);
        match message.start_line() {
            StartLine::Request { method, uri, .. } => {
                self.on_request(datagram, message, method, uri, out);
            }
            StartLine::Response { code, .. } => self.on_response(message, code),
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
            if method != Method::Ack && request.via().is_some() && self.admission.may_explain(at) {
                let headers = explanation(request, defect);
                self.respond(datagram, request, Status(defect.status()), &headers, out);
            }
            return;
        }
        self.look_for_proof(datagram, request);
        let dialog = request.call_id().and_then(|id| self.dialogs.find(id, remote_tag(request)));
        if let Some(slot) = dialog {
            self.heard(slot, datagram, request);
        }
        match (method, dialog) {
            (Method::Invite, Some(slot)) => {
                self.on_invite_again(slot, datagram, request, uri, out);
            }
            (Method::Invite, None) if !self.admits(datagram, request, out) => {}
            (Method::Invite, None) => self.on_invite(datagram, request, uri, out),
            (Method::Ack, Some(slot)) => self.on_ack(slot, datagram, request, out),
            (Method::Ack, None) => {}
            (Method::Bye, Some(slot)) if self.is_within(slot, datagram, request) => {
                self.respond(datagram, request, Status::OK, "", out);
                self.end_by_caller(slot, at, out);
            }
            (Method::Cancel, Some(slot)) if self.is_of_invite(slot, request) => {
                self.respond(datagram, request, Status::OK, "", out);
                self.cancel(slot, at, out);
            }
            (Method::Info | Method::Message, Some(slot))
                if self.is_within(slot, datagram, request) =>
            {
                self.respond(datagram, request, Status::OK, "", out);
            }
            (Method::Prack | Method::Update, Some(slot))
                if self.is_within(slot, datagram, request) =>
            {
                self.on_beside_invite(slot, datagram, request, out);
            }
            // A message to nobody in particular is for whoever is here (RFC 3428 section 7).
            (Method::Message, _) if !has_to_tag(request) => {
                self.respond(datagram, request, Status::OK, "", out);
            }
            (
                Method::Bye
                | Method::Cancel
                | Method::Info
                | Method::Prack
                | Method::Update
                | Method::Message,
                _,
            ) => self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, "", out),
            _ if self.takes_phone_report(datagram, request, out) => {}
            (Method::Options, _) => {
                let content = Content { capabilities: true, headers: ACCEPT, ..Content::default() };
                self.respond_with(datagram, request, Status::OK, content, out);
            }
            // There is no event to tell of or to be told of (RFC 6665 section 8.3.2).
            (Method::Subscribe | Method::Notify | Method::Publish, _) => {
                self.respond(datagram, request, Status::BAD_EVENT, ALLOW_EVENTS, out);
            }
            // Nobody is called from here (RFC 3515 section 2.4.2).
            (Method::Refer, _) => self.respond(datagram, request, Status::DECLINE, "", out),
            (Method::Register, _) => self.on_register(datagram, request, out),
            (Method::Other, _) => {
                self.respond(datagram, request, Status::NOT_IMPLEMENTED, ALLOW, out);
            }
        }
        if let Some(slot) = dialog {
            self.arm(slot);
        }
    }

    /// A response can only be to our BYE: it ends the retransmissions.
    fn on_response(&mut self, response: &SipMessage<'_>, code: u16) {
        let remote_tag = response.to_tag().unwrap_or_default();
        let slot = response.call_id().and_then(|id| self.dialogs.find(id, remote_tag));
        let Some(dialog) = slot.and_then(|slot| self.dialogs.get_mut(slot)) else { return };
        let number = response.cseq().map_or(0, |cseq| cseq.number);
        let awaits = dialog.resend.as_ref().map(|resend| resend.awaits);
        if code >= 200 && awaits == Some(Awaits::Response(number)) {
            dialog.resend = None;
        }
    }

    pub(super) fn respond(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        headers: &str,
        out: &mut Outbox,
    ) {
        let content = Content { headers, ..Content::default() };
        self.respond_with(datagram, request, status, content, out);
    }

    /// Responds, and says whether that was allowed.
    pub(super) fn respond_with(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        content: Content<'_>,
        out: &mut Outbox,
    ) -> bool {
        // A 100 needs no tag (RFC 3261 section 8.2.6.2).
        let to_tag = if status == Status::TRYING { None } else { self.tag_for(datagram, request) };
        let content = Content { to_tag, ..content };
        let dst = response_address(request, datagram);
        let allowance = self.admission.allowance(datagram);
        let sent = out.send_by(datagram.transport, datagram.dst, dst, |bytes| {
            write_response(bytes, allowance, request, datagram.src, status, &content);
        });
        let is_sent = !sent.is_empty();
        if !is_sent {
            out.withdraw();
            self.admission.count_withheld();
        }
        is_sent
    }

    /// A response to be kept, if it may be sent at all.
    pub(super) fn response(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        content: Content<'_>,
    ) -> Option<Sent> {
        let content = Content { to_tag: self.tag_for(datagram, request), ..content };
        let allowance = self.admission.allowance(datagram);
        let bytes = &mut self.kept;
        bytes.clear();
        write_response(bytes, allowance, request, datagram.src, status, &content);
        if bytes.is_empty() {
            self.admission.count_withheld();
            return None;
        }
        Some(Sent::response(datagram, request, bytes))
    }

    /// The tag to add to To: ours, unless the request has one there.
    fn tag_for(&self, datagram: &Datagram<'_>, request: &SipMessage<'_>) -> Option<u64> {
        let lacks_tag = request.to().is_some() && request.to_tag().is_none();
        lacks_tag.then(|| self.local_tag(datagram, request))
    }

    /// Our tag in a dialog: the same for the same request, without any memory of it.
    pub(super) fn local_tag(&self, datagram: &Datagram<'_>, request: &SipMessage<'_>) -> u64 {
        let call_id = request.call_id().unwrap_or_default();
        self.tags.of(call_id, remote_tag(request), datagram.src.ip())
    }

    /// Names the transaction of an INVITE: its branch, and where that names nothing on its own the
    /// whole topmost Via (RFC 3261 section 17.2.3). To find it among those of one Call-ID and
    /// `CSeq` is enough.
    pub(super) fn invite_transaction(&self, request: &SipMessage<'_>) -> u64 {
        let Some(via) = request.via() else { return 0 };
        let branch = via.branch.filter(|_| via.has_unique_branch());
        self.dialogs.hash(branch.unwrap_or(via.text), via.host)
    }

    /// Whether a request is within a dialog of ours: its To has our tag. A client that knows no
    /// tags (RFC 2543) cannot have it; its address speaks for it.
    pub(super) fn is_within(
        &self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
    ) -> bool {
        let Some(dialog) = self.dialogs.get(slot) else { return false };
        match request.to_tag() {
            Some(tag) => dialog.texts.local_tag().is_some_and(|ours| ours == tag),
            None => {
                dialog.texts.get(Text::RemoteTag).is_empty()
                    && dialog.peer_ip() == datagram.src.ip()
            }
        }
    }

    /// Whether a CANCEL is for the INVITE that came last (RFC 3261 section 9.1).
    fn is_of_invite(&self, slot: u32, cancel: &SipMessage<'_>) -> bool {
        let number = cancel.cseq().map(|cseq| cseq.number);
        self.dialogs.get(slot).is_some_and(|dialog| Some(dialog.invite_cseq) == number)
    }

    /// Notes that the far end lives, and where. Only who knows our tag is taken for it.
    fn heard(&mut self, slot: u32, datagram: &Datagram<'_>, request: &SipMessage<'_>) {
        if self.is_within(slot, datagram, request)
            && let Some(dialog) = self.dialogs.get_mut(slot)
        {
            dialog.last_heard = dialog.last_heard.max(datagram.received_at);
            dialog.peer = datagram.src;
            (dialog.local, dialog.transport) = (datagram.dst, datagram.transport);
        }
    }
}

/// The tag of the far end.
pub(super) fn remote_tag<'a>(request: &SipMessage<'a>) -> &'a [u8] {
    request.from_tag().unwrap_or_default()
}

/// The headers that tell what would be accepted instead (RFC 3261 sections 8.2.2.3, 8.2.3 and
/// 21.5.2), or what is wrong where that is hard to see.
fn explanation(request: &SipMessage<'_>, defect: Defect) -> String {
    match defect {
        Defect::ContentType => format!("{ACCEPT}Accept-Encoding: identity\r\n"),
        Defect::NotAcceptable => ACCEPT.to_owned(),
        Defect::Multipart => warning(&defect),
        Defect::UnknownMethodMismatch => ALLOW.to_owned(),
        Defect::Extension => {
            let names: Vec<_> = request.unsupported().map(String::from_utf8_lossy).collect();
            format!("Unsupported: {}\r\n", names.join(", "))
        }
        _ => String::new(),
    }
}

const ACCEPT: &str = "Accept: application/sdp, multipart/mixed\r\n";
