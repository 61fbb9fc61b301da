//! PRACK (RFC 3262) and UPDATE (RFC 3311): what confirms or changes a session beside its INVITE.
//!
//! Each is answered once; the response is kept, in case the request comes again.

use super::{
    Shard,
    answer::Agreed,
    dialog::{Awaits, Dialog, Phase, Resend, Sent, Text},
    invite::{NO_AUDIO, RETRY_SOON, contact_uri, read_body},
    outbox::Outbox,
    response::{Content, Status},
    session_timer,
};
use crate::{
    time::Timestamp,
    wire::{
        Datagram,
        sip::{HeaderName, Method, SipMessage},
    },
};

impl Shard {
    /// A PRACK or UPDATE of a call.
    pub(super) fn on_beside_invite(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        if self.answer_again(slot, datagram, request, out) {
            return;
        }
        if request.method() == Some(Method::Prack) {
            self.on_prack(slot, datagram, request, out);
        } else {
            self.on_update(slot, datagram, request, out);
        }
    }

    /// Confirms a provisional response that was sent reliably. It may answer our offer, or make a
    /// new one where offer and answer are done (RFC 3262 section 5).
    fn on_prack(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        let awaited = dialog.resend.as_ref().map(|resend| resend.awaits);
        let confirmed = rack(request).filter(|&(_, number)| number == dialog.invite_cseq);
        if confirmed.is_none_or(|(rseq, _)| awaited != Some(Awaits::Prack(rseq))) {
            self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, "", out);
            return;
        }
        let (is_offering, action) = (dialog.is_offering, dialog.action);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.resend = None;
        dialog.is_offering = false;
        self.confirm(slot);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let is_answer_due = dialog.extras().is_answer_due;
        match read_body(datagram, request, action) {
            // An answer that cannot be taken is none: media may still tell where it comes from.
            Err(_) if !is_offering => {
                self.conclude(slot, datagram, request, Status::NOT_ACCEPTABLE_HERE, NO_AUDIO, out);
            }
            Ok(Some(agreed)) => {
                self.agree(slot, &agreed);
                let offer = Some(&agreed).filter(|_| !is_offering);
                self.conclude_offer(slot, datagram, request, offer, "", out);
            }
            Ok(None) | Err(_) => self.conclude(slot, datagram, request, Status::OK, "", out),
        }
        let now = self.now.max(datagram.received_at);
        if is_answer_due {
            self.send_answer(slot, now, out);
        }
    }

    /// Changes a session, or only says that the far end is there.
    fn on_update(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        if !dialog.is_up() {
            self.respond(datagram, request, Status::CALL_DOES_NOT_EXIST, "", out);
            return;
        }
        if number < dialog.offer_cseq() {
            // Out of order (RFC 3261 section 12.2.2).
            self.respond(datagram, request, Status::SERVER_INTERNAL_ERROR, "", out);
            return;
        }
        let Ok(interval) = session_timer::interval(request) else {
            let headers = session_timer::min_interval();
            self.respond(datagram, request, Status::INTERVAL_TOO_SMALL, &headers, out);
            return;
        };
        let action = dialog.action;
        let (is_offering, is_unanswered) = (dialog.is_offering, dialog.is_offer_unanswered());
        let agreed = match read_body(datagram, request, action) {
            // Two offers at once (RFC 3311 section 5.2).
            Ok(Some(_)) if is_offering => {
                self.respond(datagram, request, Status::REQUEST_PENDING, "", out);
                return;
            }
            Ok(Some(_)) if is_unanswered => {
                self.respond(datagram, request, Status::SERVER_INTERNAL_ERROR, RETRY_SOON, out);
                return;
            }
            Ok(agreed) => agreed,
            Err(_) => {
                self.respond(datagram, request, Status::NOT_ACCEPTABLE_HERE, NO_AUDIO, out);
                return;
            }
        };
        let now = self.now.max(datagram.received_at);
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            if let Some(contact) = contact_uri(request) {
                dialog.texts.replace(Text::Target, contact);
            }
            if dialog.phase == Phase::Answered {
                dialog.set_session(interval);
                dialog.confirm_session(now);
            }
        }
        let is_answered =
            self.dialogs.get(slot).is_some_and(|dialog| dialog.phase == Phase::Answered);
        let session = session_timer::headers(interval.filter(|_| is_answered));
        match agreed {
            Some(agreed) => {
                self.agree(slot, &agreed);
                self.conclude_offer(slot, datagram, request, Some(&agreed), &session, out);
                self.tell_flow(slot, now, out);
            }
            None => self.conclude(slot, datagram, request, Status::OK, &session, out),
        }
    }

    /// Answers with a 200 that has an answer to an offer, if there is one.
    fn conclude_offer(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        offer: Option<&Agreed<'_>>,
        headers: &str,
        out: &mut Outbox,
    ) {
        self.update_sending(slot, self.now.max(datagram.received_at));
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.extras().is_settled = true;
            dialog.media.session_version += u32::from(offer.is_some());
        }
        if offer.is_none() {
            self.conclude(slot, datagram, request, Status::OK, headers, out);
            return;
        }
        let sdp = self.write_description(slot, offer);
        self.conclude_with(slot, datagram, request, Status::OK, headers, &sdp, out);
        self.scratch = sdp;
    }

    fn conclude(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        headers: &str,
        out: &mut Outbox,
    ) {
        self.conclude_with(slot, datagram, request, status, headers, &[], out);
    }

    /// Sends a final response and keeps it.
    #[expect(clippy::too_many_arguments, reason = "all that a response is made of")]
    fn conclude_with(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        status: Status,
        headers: &str,
        sdp: &[u8],
        out: &mut Outbox,
    ) {
        let content = Content {
            contact: Some(self.contact(datagram)),
            capabilities: true,
            headers,
            sdp,
            ..Content::default()
        };
        let Some(sent) = self.response(datagram, request, status, content) else { return };
        sent.send(out);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        if let Some(dialog) = self.dialogs.get_mut(slot) {
            dialog.extras().answered = Some((number, sent));
        }
    }

    /// Whether this is the last PRACK or UPDATE again, which then gets its response again.
    fn answer_again(
        &mut self,
        slot: u32,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) -> bool {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let extras = self.dialogs.get(slot).and_then(|dialog| dialog.extras.as_deref());
        let answered = extras.and_then(|extras| extras.answered.as_ref());
        let Some((_, sent)) = answered.filter(|&&(known, _)| known == number) else { return false };
        if self.admission.allows(datagram, sent.bytes.len()) {
            sent.send(out);
        }
        true
    }

    /// Whether the provisional response to an INVITE is sent reliably: where the far end requires
    /// it, and where it understands it and is not answered at once.
    pub(super) fn is_reliable(&self, slot: u32, request: &SipMessage<'_>, now: Timestamp) -> bool {
        let phase = self.dialogs.get(slot).map(|dialog| dialog.phase);
        let rings_on = matches!(phase, Some(Phase::Ringing { answer_at }) if answer_at > now);
        request.lists(HeaderName::Require, RELIABLE)
            || rings_on && request.lists(HeaderName::Supported, RELIABLE)
    }

    /// The RSeq of the next provisional response that is sent reliably.
    pub(super) fn next_rseq(&mut self, slot: u32) -> u32 {
        let first = self.rng.u32(1..=RSEQ_MAX);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return first };
        let extras = dialog.extras();
        extras.rseq = if extras.rseq == 0 { first } else { extras.rseq.wrapping_add(1) };
        extras.rseq
    }

    /// Lets the 2xx wait until the provisional response before it is confirmed: as long as that is
    /// sent again.
    pub(super) fn answer_after_prack(&mut self, slot: u32) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.extras().is_answer_due = true;
        dialog.phase = Phase::Ringing { answer_at: Timestamp::MAX };
    }
}

impl Dialog {
    /// Sends this provisional response until a PRACK confirms it.
    pub(super) fn await_prack(&mut self, response: Sent, rseq: u32, now: Timestamp) {
        self.resend = Some(Resend::new(response, Awaits::Prack(rseq), now));
    }

    /// CSeq number of the last request that could make an offer.
    pub(super) fn offer_cseq(&self) -> u32 {
        let answered = self.extras.as_ref().and_then(|extras| extras.answered.as_ref());
        answered.map_or(0, |&(number, _)| number).max(self.invite_cseq)
    }

    /// Whether the offer of the INVITE is not reliably answered yet.
    fn is_offer_unanswered(&self) -> bool {
        let is_settled = self.extras.as_ref().is_some_and(|extras| extras.is_settled);
        self.phase != Phase::Answered && !is_settled
    }
}

/// Which provisional response of which INVITE a PRACK confirms (RFC 3262 section 7.2).
fn rack(request: &SipMessage<'_>) -> Option<(u32, u32)> {
    let value = str::from_utf8(request.values(HeaderName::Rack).next()?).ok()?;
    let mut words = value.split_ascii_whitespace();
    let mut number = || words.next()?.parse().ok();
    let (rseq, cseq) = (number()?, number()?);
    words.next().is_none_or(|method| method == "INVITE").then_some((rseq, cseq))
}

/// The option tag of RFC 3262.
const RELIABLE: &str = "100rel";

/// RFC 3262 section 3: the first RSeq is below 2^31, and leaves room for those after it.
const RSEQ_MAX: u32 = 0x3FFF_FFFF;
