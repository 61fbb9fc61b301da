//! One session or registration as its messages tell it: when it was asked for, what came of it,
//! how it ended (RFC 6076). It neither sends nor finds anything.

use arrayvec::ArrayVec;

use super::figures::SipFigures;
use crate::{shard::report::SignallingReport, time::Timestamp};

/// A session that an INVITE has asked for, or a registration.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) hash: u64,
    /// Tells it from others that had its place before.
    pub(super) serial: u64,
    /// The call that it is, by its serial; 0 for none.
    pub(super) call: u64,
    pub(super) state: State,
    /// Whether what has changed is yet to be told.
    pub(super) is_changed: bool,
    /// The first request of this attempt: later ones never reset it.
    pub(super) started_at: Timestamp,
    /// When something of it last passed.
    pub(super) heard_at: Timestamp,
    /// When it is to be looked at next.
    pub(super) due_at: Timestamp,
    /// CSeq number of the request that is to be answered.
    pub(super) cseq: u32,
    /// The branch by which that request was first seen; the hop that has the last word.
    pub(super) branch: u32,
    /// A failure on another branch, which counts if nothing else comes.
    pub(super) failure: u16,
    /// Dialogs of it, by their tags, and how long each took to say something, µs.
    pub(super) dialogs: ArrayVec<(u32, u32), DIALOGS_MAX>,
    pub(super) time_to_100_us: Option<u32>,
    pub(super) post_dial_delay_us: Option<u32>,
    /// When its 2xx came; never, until then.
    pub(super) answered_at: Timestamp,
    pub(super) bye_at: Timestamp,
    pub(super) bye_cseq: u32,
    pub(super) sdd_us: Option<u32>,
    pub(super) cause: Option<u8>,
    pub(super) retransmissions: u32,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A session that is asked for, and of which nothing is known.
    Trying,
    /// A session of which a provisional response has said something.
    Proceeding,
    /// A request that was challenged, and may come again with credentials.
    Challenged,
    /// A session that was answered.
    Answered,
    /// A session that is hung up, to be answered.
    Ending,
    /// A REGISTER to be answered.
    Registering,
    /// Nothing more will come of it.
    Over,
}

impl Session {
    pub(super) fn new(hash: u64, serial: u64, state: State, at: Timestamp, cseq: u32) -> Self {
        Self {
            hash,
            serial,
            call: 0,
            state,
            is_changed: false,
            started_at: at,
            heard_at: at,
            due_at: at,
            cseq,
            branch: 0,
            failure: 0,
            dialogs: ArrayVec::new(),
            time_to_100_us: None,
            post_dial_delay_us: None,
            answered_at: Timestamp::MAX,
            bye_at: at,
            bye_cseq: 0,
            sdd_us: None,
            cause: None,
            retransmissions: 0,
        }
    }

    /// What the call's record has of it.
    pub(super) fn report(&self, call: crate::id::CallRef) -> SignallingReport {
        SignallingReport {
            call,
            srd_us: self.dialogs.first().map(|&(_, us)| us),
            post_dial_delay_us: self.post_dial_delay_us,
            time_to_100_us: self.time_to_100_us,
            sdd_us: self.sdd_us,
            retransmissions: self.retransmissions,
            cause: self.cause,
        }
    }

    /// Whether its outcome is yet to come.
    pub(super) const fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding | State::Challenged)
    }

    /// The INVITE comes again under another number: with credentials, redirected, or tried once
    /// more.
    pub(super) fn ask_again(&mut self, at: Timestamp, cseq: u32, to: &mut SipFigures) {
        if self.state == State::Over {
            to.sessions.attempts += 1;
            // A redirection is part of the delay (RFC 6076 section 4.3), a failure is not.
            if self.failure / 100 != 3 {
                self.started_at = at;
                self.dialogs.clear();
                (self.time_to_100_us, self.post_dial_delay_us) = (None, None);
            }
            self.cause = None;
        }
        (self.failure, self.branch) = (0, 0);
        self.cseq = cseq;
        self.state = State::Trying;
    }

    /// A provisional response to the INVITE, 100 to 199, from the dialog of `tag`.
    pub(super) fn progress(&mut self, at: Timestamp, code: u16, tag: u32, to: &mut SipFigures) {
        match self.state {
            State::Trying => self.state = State::Proceeding,
            State::Proceeding => {}
            _ => return,
        }
        let us = micros(at, self.started_at);
        if code == TRYING {
            if self.time_to_100_us.is_none() {
                self.time_to_100_us = Some(us);
                to.times.time_to_100.record(us.into());
                self.is_changed = true;
            }
            return;
        }
        if matches!(code, RINGING | SESSION_PROGRESS) {
            self.alert(us, to);
        }
        self.hear(tag, us);
    }

    /// A 2xx to the INVITE, from the dialog of `tag`.
    pub(super) fn answer(&mut self, at: Timestamp, tag: u32, to: &mut SipFigures) {
        let us = micros(at, self.started_at);
        if self.is_pending() {
            self.alert(us, to);
            self.hear(tag, us);
            self.dialogs.iter().for_each(|&(_, us)| to.times.srd.record(us.into()));
            (self.state, self.answered_at) = (State::Answered, at);
            to.sessions.decided += 1;
            to.sessions.answered += 1;
            self.is_changed = true;
        } else if self.state == State::Answered && self.hear(tag, us) {
            // Another branch of a forked INVITE: a dialog of its own.
            to.times.srd.record(us.into());
        }
    }

    /// A final response of another kind to the INVITE.
    pub(super) fn fail(&mut self, at: Timestamp, code: u16, to: &mut SipFigures) {
        if !self.is_pending() {
            return;
        }
        self.is_changed = true;
        self.failure = code;
        if matches!(code, UNAUTHORIZED | PAYMENT_REQUIRED | PROXY_UNAUTHORIZED) {
            self.state = State::Challenged;
            return;
        }
        self.state = State::Over;
        let sessions = &mut to.sessions;
        sessions.decided += 1;
        // Each code stands in one of the sets of RFC 6076 sections 4.6 to 4.8, or in none.
        *match code {
            300..=399 => &mut sessions.redirected,
            480 | 486 | 600 | 603 => &mut sessions.declined,
            408 | 500 | 503 | 504 => &mut sessions.ineffective,
            REQUEST_TERMINATED => &mut sessions.cancelled,
            _ => &mut sessions.failed,
        } += 1;
        if code / 100 != 3 {
            if self.dialogs.is_empty() {
                self.hear(0, micros(at, self.started_at));
            }
            self.dialogs.iter().for_each(|&(_, us)| to.times.srd_failed.record(us.into()));
        }
    }

    /// A BYE of either side.
    pub(super) fn hang_up(
        &mut self,
        at: Timestamp,
        cseq: u32,
        is_callers: bool,
        to: &mut SipFigures,
    ) -> bool {
        // One that is sent once more, after a challenge or to another branch, goes on.
        self.bye_cseq = cseq;
        if self.state != State::Answered {
            return false;
        }
        (self.state, self.bye_at) = (State::Ending, at);
        to.sessions.by_caller += u64::from(is_callers);
        to.sessions.by_callee += u64::from(!is_callers);
        self.is_changed = true;
        true
    }

    /// A final response to the BYE.
    pub(super) fn hung_up(&mut self, at: Timestamp, code: u16, to: &mut SipFigures) {
        if self.state != State::Ending {
            return;
        }
        let us = micros(at, self.bye_at);
        if code < 300 {
            self.sdd_us = Some(us);
            to.times.sdd.record(us.into());
        } else {
            to.times.sdd_failed.record(us.into());
        }
        to.times.sdt.record(millis(self.bye_at, self.answered_at));
        to.sessions.completed += 1;
        self.state = State::Over;
        self.is_changed = true;
    }

    /// What may have come within 32 s (64 times T1, the timers B and F of RFC 3261) has not.
    pub(super) fn time_out(&mut self, to: &mut SipFigures) {
        match self.state {
            State::Trying | State::Challenged => self.give_up(to),
            State::Ending => {
                to.sessions.incomplete += 1;
                let millis = millis(self.bye_at, self.answered_at) + TIMER_F_MS;
                to.times.sdt_failed.record(millis);
                self.state = State::Over;
            }
            State::Registering => {
                to.registers.decided += 1;
                to.registers.failed += 1;
                self.state = State::Over;
            }
            State::Proceeding | State::Answered | State::Over => {}
        }
    }

    /// Nothing more will pass.
    pub(super) fn give_up(&mut self, to: &mut SipFigures) {
        match self.state {
            State::Trying | State::Proceeding if self.failure >= 300 => {
                self.fail(self.heard_at, self.failure, to);
                return;
            }
            State::Trying | State::Proceeding => to.sessions.unanswered += 1,
            State::Challenged => to.sessions.challenged += 1,
            State::Answered => {
                to.sessions.incomplete += 1;
                self.state = State::Over;
                return;
            }
            State::Ending | State::Registering => {
                self.time_out(to);
                return;
            }
            State::Over => return,
        }
        to.sessions.decided += 1;
        self.state = State::Over;
    }

    /// A final response to the REGISTER.
    pub(super) fn registered(&mut self, at: Timestamp, code: u16, to: &mut SipFigures) {
        if self.state != State::Registering {
            return;
        }
        to.registers.decided += 1;
        self.state = State::Over;
        match code {
            200..=299 => {
                to.registers.accepted += 1;
                to.times.rrd.record(micros(at, self.started_at).into());
            }
            UNAUTHORIZED | PAYMENT_REQUIRED | PROXY_UNAUTHORIZED => {
                to.registers.challenged += 1;
                self.state = State::Challenged;
            }
            400..=699 => to.registers.failed += 1,
            _ => {}
        }
    }

    fn alert(&mut self, us: u32, to: &mut SipFigures) {
        if self.post_dial_delay_us.is_none() {
            self.post_dial_delay_us = Some(us);
            to.times.post_dial_delay.record(us.into());
            self.is_changed = true;
        }
    }

    /// Notes that a dialog has said something; whether it is the first time. A provisional
    /// response may come before its dialog has a tag.
    fn hear(&mut self, tag: u32, us: u32) -> bool {
        if self.dialogs.iter().any(|&(known, _)| known == tag) || self.dialogs.is_full() {
            return false;
        }
        if let Some(nameless) = self.dialogs.iter_mut().find(|(known, _)| *known == 0) {
            nameless.0 = tag;
            return false;
        }
        // One that has none belongs to those known.
        if tag == 0 && !self.dialogs.is_empty() {
            return false;
        }
        self.dialogs.push((tag, us));
        self.is_changed = true;
        true
    }
}

/// Microseconds that have passed, up to an hour and more.
fn micros(at: Timestamp, since: Timestamp) -> u32 {
    u32::try_from(at.since(since).as_micros()).unwrap_or(u32::MAX)
}

fn millis(at: Timestamp, since: Timestamp) -> u64 {
    u64::try_from(at.since(since).as_millis()).unwrap_or(u64::MAX)
}

/// Branches of a forked INVITE whose delays are told apart.
const DIALOGS_MAX: usize = 4;

const TRYING: u16 = 100;
const RINGING: u16 = 180;
const SESSION_PROGRESS: u16 = 183;
const UNAUTHORIZED: u16 = 401;
const PAYMENT_REQUIRED: u16 = 402;
const PROXY_UNAUTHORIZED: u16 = 407;
const REQUEST_TERMINATED: u16 = 487;

/// Timer F: 64 times T1 (RFC 3261 section 17.1.2.2).
const TIMER_F_MS: u64 = 32_000;
