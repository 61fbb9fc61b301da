//! A [`Uac`] is the caller's side of one SIP call over UDP: INVITE, ACK, BYE, CANCEL with the
//! client transactions of RFC 3261 section 17.1.
//!
//! Time and messages come in, messages and events go out. It reads no clock, has no socket and
//! knows nothing of media but the SDP it is given.

use std::time::Duration;

use voxplane::{
    time::Timestamp,
    wire::sip::{Method, SipMessage, StartLine},
};

use crate::request::{Dialog, Names, Sequence, response_to};

/// The caller's side of one call.
#[derive(Debug)]
pub struct Uac {
    names: Names,
    state: State,
    /// INVITE until its final response, then BYE.
    pending: Option<Transaction>,
    /// CANCEL, beside the INVITE that it cancels.
    cancelling: Option<Transaction>,
    /// What acknowledges the 2xx, to be sent again for each one that comes again.
    ack: Option<Vec<u8>>,
    dialog: Option<Dialog>,
    /// What the call will have been once its BYE is answered.
    intended: Outcome,
    invited_at: Option<Timestamp>,
    counts: Counts,
}

impl Uac {
    /// A call that has not begun.
    #[must_use]
    pub const fn new(names: Names) -> Self {
        Self {
            names,
            state: State::Idle,
            pending: None,
            cancelling: None,
            ack: None,
            dialog: None,
            intended: Outcome::Completed,
            invited_at: None,
            counts: Counts { invites: 0, byes: 0, cancels: 0, acks: 0 },
        }
    }

    /// Sends the INVITE.
    pub fn invite(&mut self, now: Timestamp, offer: &str, out: &mut Vec<Vec<u8>>) {
        debug_assert_eq!(self.state, State::Idle);
        let message = self.names.invite(offer);
        out.push(message.clone());
        self.pending = Some(Transaction::new(now, message, None));
        self.invited_at = Some(now);
        self.state = State::Inviting;
    }

    /// Ends the call, by BYE, or by CANCEL where it is not up yet; `intended` is then its
    /// outcome. Does nothing to a call that is ending.
    pub fn hang_up(&mut self, now: Timestamp, intended: Outcome, out: &mut Vec<Vec<u8>>) {
        match self.state {
            State::Idle => self.state = State::Over(intended),
            State::Inviting => {
                // Without a provisional response nothing may be cancelled yet (RFC 3261 section
                // 9.1); the INVITE goes on until there is one.
                self.intended = intended;
                self.state = State::Cancelling;
            }
            State::Ringing => {
                self.intended = intended;
                self.state = State::Cancelling;
                self.cancel(now, out);
            }
            State::Up => {
                self.intended = intended;
                self.bye(now, out);
            }
            State::Cancelling | State::Closing | State::Over(_) => {}
        }
    }

    /// Takes a message of this call; anything that does not fit is ignored.
    pub fn receive(
        &mut self,
        now: Timestamp,
        message: &SipMessage<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Event> {
        match message.start_line() {
            StartLine::Request { method, .. } => self.receive_request(method, message, out),
            StartLine::Response { code, .. } => {
                let cseq = message.cseq()?;
                let branch = message.via()?.branch?;
                let is = |sequence| branch == self.names.branch(sequence).as_bytes();
                match cseq.method {
                    Method::Invite if is(Sequence::Invite) => {
                        self.receive_invite_response(now, code, message, out)
                    }
                    Method::Bye if is(Sequence::Bye) => self.receive_bye_response(code),
                    Method::Cancel if is(Sequence::Invite) && code >= 200 => {
                        self.cancelling = None;
                        None
                    }
                    _ => None,
                }
            }
        }
    }

    /// Does what is due: retransmissions and time-outs.
    pub fn poll(&mut self, now: Timestamp, out: &mut Vec<Vec<u8>>) -> Option<Event> {
        if let Some(cancelling) = &mut self.cancelling {
            self.counts.cancels += u64::from(cancelling.retransmit(now, out));
        }
        let pending = self.pending.as_mut()?;
        if pending.deadline <= now {
            return match self.state {
                State::Ringing => {
                    self.hang_up(now, Outcome::NoAnswer, out);
                    None
                }
                State::Closing => Some(self.over(Outcome::ByeUnanswered)),
                State::Cancelling => Some(self.over(self.intended)),
                _ => Some(self.over(Outcome::NoResponse)),
            };
        }
        let again = u64::from(pending.retransmit(now, out));
        match self.state {
            State::Closing => self.counts.byes += again,
            _ => self.counts.invites += again,
        }
        None
    }

    /// When [`poll`](Self::poll) has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let transactions = [&self.pending, &self.cancelling];
        transactions.into_iter().flatten().map(Transaction::next_due).min()
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.names.call_id
    }

    /// What the call came to; `None` while it is not over.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Messages that were sent again.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn receive_invite_response(
        &mut self,
        now: Timestamp,
        code: u16,
        message: &SipMessage<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Event> {
        match (code, self.state) {
            (100..200, State::Inviting) => {
                self.state = State::Ringing;
                self.wait_for_final(now);
                None
            }
            (100..200, State::Cancelling) if self.cancelling.is_none() => {
                self.cancel(now, out);
                None
            }
            (200..300, State::Inviting | State::Ringing | State::Cancelling) => {
                self.answered(now, message, out)
            }
            (200..300, State::Up | State::Closing | State::Over(_)) => {
                if let Some(ack) = &self.ack {
                    out.push(ack.clone());
                    self.counts.acks += 1;
                }
                None
            }
            (300..700, State::Inviting | State::Ringing) => {
                out.push(self.names.ack_rejection(message));
                Some(self.over(Outcome::Rejected(code)))
            }
            (300..700, State::Cancelling) => {
                out.push(self.names.ack_rejection(message));
                Some(self.over(self.intended))
            }
            // The ACK got lost.
            (300..700, State::Over(_)) if self.ack.is_none() => {
                out.push(self.names.ack_rejection(message));
                None
            }
            _ => None,
        }
    }

    /// Confirms a 2xx. If it crossed our CANCEL, the call is up and must be ended again (RFC
    /// 3261 section 9.1).
    fn answered(
        &mut self,
        now: Timestamp,
        message: &SipMessage<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Event> {
        let dialog = Dialog::from_response(message, &self.names.callee);
        let ack = self.names.ack(&dialog);
        out.push(ack.clone());
        self.ack = Some(ack);
        self.dialog = Some(dialog);
        self.pending = None;
        self.cancelling = None;
        if self.state == State::Cancelling {
            self.bye(now, out);
            return None;
        }
        self.state = State::Up;
        let setup = now.since(self.invited_at.unwrap_or(now));
        Some(Event::Answered { setup })
    }

    fn receive_bye_response(&mut self, code: u16) -> Option<Event> {
        match (code, self.state) {
            (200..300, State::Closing) => Some(self.over(self.intended)),
            (300..700, State::Closing) => Some(self.over(Outcome::ByeRejected(code))),
            _ => None,
        }
    }

    fn receive_request(
        &mut self,
        method: Method,
        message: &SipMessage<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Event> {
        let status = match method {
            Method::Ack => return None,
            Method::Bye | Method::Options => 200,
            // A caller that sends a planned stream does not change it half-way.
            Method::Invite => 488,
            _ => 501,
        };
        out.push(response_to(message, status));
        match (method, self.state) {
            (Method::Bye, State::Up) => Some(self.over(Outcome::EndedByCallee)),
            _ => None,
        }
    }

    fn bye(&mut self, now: Timestamp, out: &mut Vec<Vec<u8>>) {
        let Some(dialog) = &self.dialog else { return };
        let message = self.names.bye(dialog);
        out.push(message.clone());
        self.pending = Some(Transaction::new(now, message, Some(T2)));
        self.state = State::Closing;
    }

    fn cancel(&mut self, now: Timestamp, out: &mut Vec<Vec<u8>>) {
        let message = self.names.cancel();
        out.push(message.clone());
        self.cancelling = Some(Transaction::new(now, message, Some(T2)));
        if let Some(invite) = &mut self.pending {
            invite.next = None;
            invite.deadline = now + T1 * TIMEOUT_IN_T1;
        }
    }

    /// After a provisional response the INVITE is not sent again, and may take long.
    fn wait_for_final(&mut self, now: Timestamp) {
        if let Some(invite) = &mut self.pending {
            invite.next = None;
            invite.deadline = now + RING_MAX;
        }
    }

    fn over(&mut self, outcome: Outcome) -> Event {
        self.state = State::Over(outcome);
        self.pending = None;
        self.cancelling = None;
        Event::Over(outcome)
    }
}

/// What a call tells whoever runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A 2xx came and is acknowledged; its body is the SDP answer.
    Answered {
        /// From INVITE to 2xx.
        setup: Duration,
    },
    /// Nothing more will happen.
    Over(Outcome),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered, held for its time, ended by our BYE.
    Completed,
    /// A final response other than 2xx, with its status.
    Rejected(u16),
    /// No response to the INVITE at all (timer B).
    NoResponse,
    /// Provisional responses only, for three minutes.
    NoAnswer,
    /// The answer has no audio that we can send to.
    NoAudio,
    /// The far end sent BYE first.
    EndedByCallee,
    /// No response to the BYE (timer F).
    ByeUnanswered,
    /// A final response other than 2xx to the BYE, with its status.
    ByeRejected(u16),
    /// The run was interrupted.
    Interrupted,
    /// No socket for its media.
    NoSocket,
}

/// Messages sent again by one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// INVITEs.
    pub invites: u64,
    /// BYEs.
    pub byes: u64,
    /// CANCELs.
    pub cancels: u64,
    /// ACKs, each for a 2xx that came again.
    pub acks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// INVITE sent, nothing heard.
    Inviting,
    /// A provisional response came.
    Ringing,
    /// To be cancelled as soon as the far end has been heard, or cancelled.
    Cancelling,
    Up,
    /// BYE sent.
    Closing,
    Over(Outcome),
}

/// A request on its way: timers A and B, or E and F (RFC 3261 sections 17.1.1.2, 17.1.2.2).
#[derive(Debug)]
struct Transaction {
    message: Vec<u8>,
    interval: Duration,
    interval_max: Option<Duration>,
    next: Option<Timestamp>,
    deadline: Timestamp,
}

impl Transaction {
    fn new(now: Timestamp, message: Vec<u8>, interval_max: Option<Duration>) -> Self {
        let deadline = now + T1 * TIMEOUT_IN_T1;
        Self { message, interval: T1, interval_max, next: Some(now + T1), deadline }
    }

    fn next_due(&self) -> Timestamp {
        self.next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    fn retransmit(&mut self, now: Timestamp, out: &mut Vec<Vec<u8>>) -> bool {
        let Some(next) = self.next.filter(|&next| next <= now) else { return false };
        out.push(self.message.clone());
        self.interval = (self.interval * 2).min(self.interval_max.unwrap_or(Duration::MAX));
        self.next = Some(next + self.interval);
        true
    }
}

/// RFC 3261 section 17.1.1.1: the estimate of a round trip.
const T1: Duration = Duration::from_millis(500);
/// RFC 3261 section 17.1.2.2: the longest interval between requests other than INVITE.
const T2: Duration = Duration::from_secs(4);
/// Timers B and F.
const TIMEOUT_IN_T1: u32 = 64;
/// A phone that rings this long is not answered: timer C of RFC 3261 section 16.6.
const RING_MAX: Duration = Duration::from_secs(180);
