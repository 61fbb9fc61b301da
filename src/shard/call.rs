//! The life of a call after its INVITE: answered, kept up, ended, reported, forgotten.
//!
//! Everything here happens by a timer or is asked for by a request that is already understood.

use std::sync::Arc;

use super::{
    Shard,
    dialog::{Awaits, Dialog, LAST_PACKETS, Phase, Resend, Sent, T1},
    outbox::Outbox,
    report::{CallEvent, EndedBy, Report, TEXT_PIECE, TextField, TextReport},
    response::{Status, write_bye},
    routes::Action,
};
use crate::{
    limits::TEXT_MAX,
    time::Timestamp,
    wire::{put::put, sip::SipMessage},
};

impl Shard {
    /// Does what is due for a dialog.
    pub(super) fn run_dialog(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        if dialog.seen.is_some() {
            self.run_observed(slot, now, out);
            return;
        }
        self.send_again(slot, now, out);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        match dialog.phase {
            Phase::Ringing { answer_at } if answer_at <= now => {
                self.stop_ringing(slot, now, out);
            }
            Phase::Ringing { .. } => {}
            Phase::Answered => {
                let heard = self.last_heard(dialog);
                if heard + self.config.idle_timeout <= now || dialog.session_until() <= now {
                    self.hang_up(slot, EndedBy::Timeout, now, out);
                    return;
                }
                let Some(dialog) = self.dialogs.get_mut(slot) else { return };
                dialog.last_heard = heard;
                if dialog.rtcp_at <= now {
                    self.run_rtcp(slot, now, out);
                }
            }
            Phase::Ended { event, at } if at + LAST_PACKETS <= now => {
                self.report_end(slot, event, at, now, out);
            }
            Phase::Lingering { until } if until <= now => self.dialogs.remove(slot),
            Phase::Ended { .. } | Phase::Lingering { .. } => {}
        }
    }

    /// Answers a call that has rung for long enough, or gives it up.
    fn stop_ringing(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        if self.dialogs.get(slot).is_some_and(|dialog| dialog.action == Action::Ring) {
            self.refuse(slot, Status::TEMPORARILY_UNAVAILABLE, EndedBy::Timeout, now, out);
        } else if self.dialogs.get(slot).is_some_and(Dialog::awaits_prack) {
            self.answer_after_prack(slot);
        } else {
            self.send_answer(slot, now, out);
        }
    }

    /// Answers the call: sends the 2xx that is ready, until it is acknowledged.
    pub(super) fn send_answer(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let Some(answer) = dialog.answer.take() else { return };
        answer.send(out);
        let sent = Sent::clone(&answer);
        dialog.resend = Some(Resend::new(sent, Awaits::Ack(dialog.invite_cseq), now));
        dialog.response = Some(answer);
        dialog.confirm_session(now);
        if let Phase::Ringing { .. } = dialog.phase {
            dialog.phase = Phase::Answered;
            self.join_rtcp(slot, now);
            self.report_event(slot, now, CallEvent::Answered(200), out);
        }
        self.tell_flow(slot, now, out);
        self.update_sending(slot, now);
    }

    /// Sends again what the far end has not answered, and gives the call up in the end.
    fn send_again(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let Some(resend) = dialog.resend.as_mut().filter(|resend| resend.at <= now) else { return };
        if resend.until <= now {
            let awaits = resend.awaits;
            dialog.resend = None;
            if let Awaits::Prack(_) = awaits {
                // No PRACK ever came (RFC 3262 section 3).
                self.refuse(slot, Status::SERVER_TIMEOUT, EndedBy::Timeout, now, out);
            } else if dialog.is_up() {
                // No ACK ever came (RFC 3261 section 13.3.1.4).
                self.hang_up(slot, EndedBy::Timeout, now, out);
            }
            return;
        }
        resend.back_off(now);
        let what = &resend.what;
        what.send(out);
    }

    /// Ends a call for a BYE of the far end.
    pub(super) fn end_by_caller(&mut self, slot: u32, at: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        match dialog.phase {
            Phase::Ringing { .. } => self.cancel(slot, at, out),
            Phase::Answered => {
                // Who hangs up has seen the answer, though its ACK may be lost.
                dialog.resend = None;
                self.leave_rtcp(slot, self.now.max(at), out);
                self.end(slot, CallEvent::Ended(EndedBy::Caller), at);
            }
            Phase::Ended { .. } | Phase::Lingering { .. } => {}
        }
    }

    /// Takes back an INVITE that is not answered yet (RFC 3261 section 9.2); later it changes
    /// nothing.
    pub(super) fn cancel(&mut self, slot: u32, at: Timestamp, out: &mut Outbox) {
        self.refuse(slot, Status::REQUEST_TERMINATED, EndedBy::Caller, at, out);
    }

    /// Ends a call from our side: with a BYE, or with a refusal if it still rings.
    pub(super) fn hang_up(&mut self, slot: u32, by: EndedBy, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get(slot) else { return };
        if let Phase::Ringing { .. } = dialog.phase {
            self.refuse(slot, Status::SERVICE_UNAVAILABLE, by, now, out);
            self.arm(slot);
            return;
        }
        let local = self.advertised(dialog.local);
        let branch = self.rng.u64(..);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.local_cseq += 1;
        let mut bytes = Vec::new();
        write_bye(&mut bytes, dialog, local, branch);
        let (src, dst, transport) = (dialog.local, dialog.peer, dialog.transport);
        let bye = Sent { src, dst, transport, bytes: bytes.into() };
        bye.send(out);
        dialog.resend =
            Some(Resend::unless_reliable(bye, Awaits::Response(dialog.local_cseq), now));
        self.leave_rtcp(slot, now, out);
        self.end(slot, CallEvent::Ended(by), now);
        self.arm(slot);
    }

    /// Takes a call that is over out of the table at once.
    pub(super) fn retire(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        let phase = self.dialogs.get(slot).map(|dialog| dialog.phase);
        if let Some(Phase::Ended { event, at }) = phase {
            self.report_end(slot, event, at, now, out);
        }
        self.dialogs.remove(slot);
    }

    /// Answers the INVITE of a call that rings with a failure, until it is acknowledged.
    pub(super) fn refuse(
        &mut self,
        slot: u32,
        status: Status,
        by: EndedBy,
        at: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let Phase::Ringing { .. } = dialog.phase else { return };
        dialog.answer = None;
        dialog.resend = None;
        if let Some(response) = dialog.response.as_deref_mut() {
            response.bytes = as_refusal(&response.bytes, status);
            let refusal = response.clone();
            refusal.send(out);
            let awaits = Awaits::Ack(dialog.invite_cseq);
            dialog.resend = Some(Resend::unless_reliable(refusal, awaits, at));
        }
        self.end(slot, CallEvent::Failed(status.0, by), at);
    }

    /// Marks a call as over. What is said about it waits for the packets still under way.
    pub(super) fn end(&mut self, slot: u32, event: CallEvent, at: Timestamp) {
        self.confirm(slot);
        self.dialogs.end(slot, Phase::Ended { event, at });
    }

    /// Nobody answers for a call any more that its caller has confirmed, or that is over.
    pub(super) fn confirm(&mut self, slot: u32) {
        let dialog = self.dialogs.get_mut(slot);
        if let Some(call) = dialog.and_then(|dialog| dialog.unconfirmed.take()) {
            self.admission.close_call(call);
        }
    }

    /// Passes on all there is to say about a call that is over since `at`.
    fn report_end(
        &mut self,
        slot: u32,
        event: CallEvent,
        at: Timestamp,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        self.report_remote(slot, now, out);
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        if let CallEvent::Ended(_) = event {
            // An INVITE that comes again now is of no interest; one that was refused is.
            dialog.response = None;
        }
        let streams = core::mem::take(&mut dialog.streams);
        self.signalling.detach(dialog.hash, dialog.id.serial, now);
        self.dialogs.linger(slot, now + T1 * 64);
        for (stream, serial) in streams {
            if self.streams.get_mut(stream, serial).is_some() {
                self.finish_stream(stream, now, out);
            }
        }
        self.report_event(slot, at, event, out);
    }

    pub(super) fn report_event(
        &self,
        slot: u32,
        at: Timestamp,
        event: CallEvent,
        out: &mut Outbox,
    ) {
        if let Some(dialog) = self.dialogs.get(slot) {
            self.report_call(dialog, at, event, out);
        }
    }

    pub(super) fn report_opened(
        &mut self,
        slot: u32,
        request: &SipMessage<'_>,
        at: Timestamp,
        out: &mut Outbox,
    ) {
        self.report_event(slot, at, CallEvent::Opened, out);
        let Some(dialog) = self.dialogs.get(slot) else { return };
        self.signalling.attach(dialog.hash, dialog.id.serial);
        let call = self.call_ref(dialog.id.serial);
        let source = &mut self.scratch;
        source.clear();
        put!(source, dialog.peer.ip());
        let texts = [
            (TextField::Source, &**source),
            (TextField::CallId, request.call_id().unwrap_or_default()),
            (TextField::From, request.from_uri()),
            (TextField::To, request.to_uri()),
            (TextField::UserAgent, request.user_agent().unwrap_or_default()),
        ];
        for (field, text) in texts {
            let (mut rest, _) = split_piece(text, TEXT_MAX);
            while !rest.is_empty() {
                let (piece, after) = split_piece(rest, TEXT_PIECE);
                let mut bytes = [0; TEXT_PIECE];
                bytes[..piece.len()].copy_from_slice(piece);
                let len = u8::try_from(piece.len()).unwrap_or(u8::MAX);
                out.report(Report::Text(TextReport { call, field, len, bytes }));
                rest = after;
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

/// Splits off as much of a text as has room in `len_max` bytes, but no part of a character.
fn split_piece(text: &[u8], len_max: usize) -> (&[u8], &[u8]) {
    if text.len() <= len_max {
        return (text, &[]);
    }
    let is_boundary = |&at: &usize| text[at] & 0xC0 != 0x80;
    // A character of UTF-8 has at most four bytes.
    let at = (len_max.saturating_sub(3)..=len_max).rev().find(is_boundary);
    text.split_at(at.unwrap_or(len_max))
}

/// The response that was sent, with another status, without what makes a dialog and without a body.
fn as_refusal(response: &[u8], status: Status) -> Arc<[u8]> {
    let end = memchr::memchr(b'\n', response).map_or(0, |at| at + 1);
    let mut bytes = Vec::with_capacity(response.len());
    status.write_line(&mut bytes);
    let mut is_left_out = false;
    for line in response[end..].split_inclusive(|&byte| byte == b'\n') {
        if line == b"\r\n" {
            break;
        }
        // A fold belongs to the header before it.
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            is_left_out = LEFT_OUT.iter().any(|name| line.starts_with(name.as_bytes()));
        }
        if !is_left_out {
            bytes.extend_from_slice(line);
        }
    }
    bytes.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    bytes.into()
}

/// What a refusal does not have of the response before it.
const LEFT_OUT: [&str; 10] = [
    "Contact:",
    "m:",
    "Record-Route:",
    "Require:",
    "RSeq:",
    "Session-Expires:",
    "Content-Type:",
    "c:",
    "Content-Length:",
    "l:",
];
