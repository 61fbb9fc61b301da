//! The caller's SIP, one ladder per test, on a virtual clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod far_end;

use std::time::Duration;

use far_end::respond;
use loadgen::{
    request::{Callee, Names},
    uac::{Counts, Event, Outcome, Uac},
};
use voxplane::{
    time::Timestamp,
    wire::sip::{HeaderName, Method, NameAddr, SipMessage, StartLine},
};

const OFFER: &str = "v=0\r\n";
const CONTACT: &str = "Contact: <sip:far@192.0.2.9:5070;x=y>\r\n";

/// ```text
/// INVITE ─▶  ◀─ 100  ◀─ 180  ◀─ 200   ACK ─▶    …    BYE ─▶  ◀─ 200
/// ```
#[test]
fn a_call_is_set_up_and_ended() {
    let mut call = Caller::start();
    let invite = call.take_one();
    for status in ["100 Trying", "180 Ringing"] {
        call.pass(Duration::from_millis(20));
        assert_eq!(call.receive(&respond(&invite, status, "", "")), None);
        assert!(call.sent.is_empty(), "a provisional response is not acknowledged");
    }
    call.pass(Duration::from_millis(60));
    let event = call.receive(&respond(&invite, "200 OK", CONTACT, OFFER));
    assert_eq!(event, Some(Event::Answered { setup: Duration::from_millis(100) }));
    let ack = call.take_one();
    assert_eq!(start_of(&ack), (Method::Ack, "sip:far@192.0.2.9:5070;x=y".to_owned()));

    call.uac.hang_up(call.clock, Outcome::Completed, &mut call.sent);
    let bye = call.take_one();
    assert_eq!(start_of(&bye), (Method::Bye, "sip:far@192.0.2.9:5070;x=y".to_owned()));
    assert_eq!(to_tag(&bye).as_deref(), Some("far"));
    let over = call.receive(&respond(&bye, "200 OK", "", ""));
    assert_eq!(over, Some(Event::Over(Outcome::Completed)));
    assert_eq!((call.uac.next_due(), call.uac.counts()), (None, Counts::default()));
}

#[test]
fn requests_pass_the_strict_check_of_a_server_on_both_address_families() {
    for local in ["192.0.2.1:5062", "[2001:db8::1]:5062"] {
        let mut call = Caller::from_address(local);
        let invite = call.take_one();
        call.receive(&respond(&invite, "200 OK", "", OFFER));
        let ack = call.take_one();
        call.uac.hang_up(call.clock, Outcome::Completed, &mut call.sent);
        let bye = call.take_one();
        for request in [&invite, &ack, &bye] {
            let message = SipMessage::parse(request).unwrap();
            assert_eq!(message.check(), Ok(()), "{}", String::from_utf8_lossy(request));
            assert_eq!(message.via().unwrap().rport, Some(None));
        }
        assert!(invite.ends_with(OFFER.as_bytes()));
        assert_eq!(number_of(&invite), number_of(&ack));
        assert_eq!(number_of(&bye), number_of(&invite) + 1);
        let branches = [&invite, &ack, &bye].map(|request| branch_of(request));
        assert!(branches[0] != branches[1] && branches[1] != branches[2]);
    }
}

/// Timer A: 500 ms doubling; timer B: 32 s (RFC 3261 section 17.1.1.2).
#[test]
fn an_invite_without_response_is_sent_seven_times_and_given_up_after_32_s() {
    let mut call = Caller::start();
    let invite = call.take_one();
    let mut sent_at = vec![];
    let outcome = call.run(|at, message| {
        assert_eq!(message, invite);
        sent_at.push(at.as_millis());
    });
    assert_eq!(sent_at, [500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!((outcome, call.elapsed()), (Some(Outcome::NoResponse), Duration::from_secs(32)));
    assert_eq!(call.uac.counts().invites, 6);
}

/// Timer E: 500 ms doubling up to 4 s; timer F: 32 s (RFC 3261 section 17.1.2.2).
#[test]
fn a_bye_without_response_is_sent_eleven_times_and_given_up_after_32_s() {
    let mut call = Caller::up();
    call.started_at = call.clock;
    call.uac.hang_up(call.clock, Outcome::Completed, &mut call.sent);
    call.take_one();
    let mut sent_at = vec![];
    let outcome = call.run(|at, _| sent_at.push(at.as_millis()));
    let expected = [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(sent_at, expected);
    assert_eq!((outcome, call.elapsed()), (Some(Outcome::ByeUnanswered), Duration::from_secs(32)));
}

#[test]
fn a_provisional_response_stops_retransmissions() {
    let mut call = Caller::start();
    let invite = call.take_one();
    call.receive(&respond(&invite, "100 Trying", "", ""));
    call.pass(Duration::from_secs(100));
    assert_eq!(call.uac.poll(call.clock, &mut call.sent), None);
    assert!(call.sent.is_empty());
}

#[test]
fn every_200_that_comes_again_is_acknowledged_again() {
    let mut call = Caller::start();
    let invite = call.take_one();
    let answer = respond(&invite, "200 OK", CONTACT, OFFER);
    call.receive(&answer);
    let ack = call.take_one();
    for _ in 0..3 {
        assert_eq!(call.receive(&answer), None);
        assert_eq!(call.take_one(), ack);
    }
    assert_eq!(call.uac.counts().acks, 3);
}

/// ```text
/// INVITE ─▶  ◀─ 486   ACK ─▶   ◀─ 486 (again)   ACK ─▶
/// ```
#[test]
fn a_rejection_is_acknowledged_within_its_transaction() {
    let mut call = Caller::start();
    let invite = call.take_one();
    let busy = respond(&invite, "486 Busy Here", "", "");
    assert_eq!(call.receive(&busy), Some(Event::Over(Outcome::Rejected(486))));
    let ack = call.take_one();
    assert_eq!(start_of(&ack), (Method::Ack, start_of(&invite).1));
    assert_eq!((branch_of(&ack), to_tag(&ack).as_deref()), (branch_of(&invite), Some("far")));
    assert_eq!(call.receive(&busy), None);
    assert_eq!(call.take_one(), ack);
}

/// ```text
/// INVITE ─▶  ◀─ 180   CANCEL ─▶  ◀─ 200 (CANCEL)  ◀─ 487   ACK ─▶
/// ```
#[test]
fn a_ringing_call_is_cancelled() {
    let mut call = Caller::start();
    let invite = call.take_one();
    call.receive(&respond(&invite, "180 Ringing", "", ""));
    call.uac.hang_up(call.clock, Outcome::Interrupted, &mut call.sent);
    let cancel = call.take_one();
    assert_eq!(start_of(&cancel), (Method::Cancel, start_of(&invite).1));
    assert_eq!((branch_of(&cancel), to_tag(&cancel)), (branch_of(&invite), None));
    assert_eq!(call.receive(&respond(&cancel, "200 OK", "", "")), None);
    let end = call.receive(&respond(&invite, "487 Request Terminated", "", ""));
    assert_eq!(end, Some(Event::Over(Outcome::Interrupted)));
    assert_eq!(start_of(&call.take_one()).0, Method::Ack);
}

#[test]
fn nothing_is_cancelled_before_the_far_end_is_heard() {
    let mut call = Caller::start();
    let invite = call.take_one();
    call.uac.hang_up(call.clock, Outcome::Interrupted, &mut call.sent);
    assert!(call.sent.is_empty());
    call.receive(&respond(&invite, "100 Trying", "", ""));
    assert_eq!(start_of(&call.take_one()).0, Method::Cancel);
}

/// ```text
/// INVITE ─▶  ◀─ 180   CANCEL ─▶ ╳ ◀─ 200 (INVITE)   ACK ─▶  BYE ─▶
/// ```
#[test]
fn an_answer_that_crosses_the_cancel_is_ended_by_bye() {
    let mut call = Caller::start();
    let invite = call.take_one();
    call.receive(&respond(&invite, "180 Ringing", "", ""));
    call.uac.hang_up(call.clock, Outcome::Interrupted, &mut call.sent);
    call.sent.clear();
    assert_eq!(call.receive(&respond(&invite, "200 OK", CONTACT, OFFER)), None);
    let methods: Vec<_> = call.sent.iter().map(|message| start_of(message).0).collect();
    assert_eq!(methods, [Method::Ack, Method::Bye]);
    let bye = call.sent.pop().unwrap();
    let over = call.receive(&respond(&bye, "200 OK", "", ""));
    assert_eq!(over, Some(Event::Over(Outcome::Interrupted)));
}

#[test]
fn a_phone_that_rings_for_three_minutes_is_cancelled() {
    let mut call = Caller::start();
    let invite = call.take_one();
    call.receive(&respond(&invite, "180 Ringing", "", ""));
    let mut cancels = 0;
    let outcome = call.run(|at, message| {
        assert_eq!(start_of(message).0, Method::Cancel);
        assert!(at >= Duration::from_secs(180));
        cancels += 1;
    });
    assert_eq!((outcome, cancels), (Some(Outcome::NoAnswer), 11));
    assert_eq!(call.elapsed(), Duration::from_secs(180 + 32));
}

#[test]
fn a_bye_of_the_far_end_is_answered_and_ends_the_call() {
    let mut call = Caller::up();
    let bye = in_dialog(&call, "BYE");
    assert_eq!(call.receive(&bye), Some(Event::Over(Outcome::EndedByCallee)));
    assert_eq!(status_of(&call.take_one()), 200);
    assert_eq!(call.receive(&bye), None);
    assert_eq!(status_of(&call.take_one()), 200);
}

#[test]
fn other_requests_of_the_far_end_get_an_answer_and_change_nothing() {
    let mut call = Caller::up();
    for (method, status) in [("OPTIONS", 200), ("INVITE", 488), ("MESSAGE", 501)] {
        assert_eq!(call.receive(&in_dialog(&call, method)), None);
        assert_eq!(status_of(&call.take_one()), status, "{method}");
    }
    assert_eq!(call.uac.outcome(), None);
}

#[test]
fn a_bye_may_be_rejected() {
    let mut call = Caller::up();
    call.uac.hang_up(call.clock, Outcome::Completed, &mut call.sent);
    let bye = call.take_one();
    let gone = respond(&bye, "481 Call/Transaction Does Not Exist", "", "");
    assert_eq!(call.receive(&gone), Some(Event::Over(Outcome::ByeRejected(481))));
}

#[test]
fn routes_are_followed_in_reverse_order() {
    let mut call = Caller::start();
    let invite = call.take_one();
    let recorded = "Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\nRecord-Route: <sip:p0;lr>\r\n";
    call.receive(&respond(&invite, "200 OK", &format!("{recorded}{CONTACT}"), OFFER));
    let ack = call.take_one();
    let message = SipMessage::parse(&ack).unwrap();
    let routes: Vec<_> = message.values(HeaderName::Route).collect();
    assert_eq!(routes, [&b"<sip:p0;lr>"[..], b"<sip:p1;lr>", b"<sip:p2;lr>"]);
}

#[test]
fn responses_of_another_transaction_are_ignored() {
    let mut call = Caller::start();
    let invite = String::from_utf8(call.take_one()).unwrap();
    let other = invite.replace("branch=z9hG4bK", "branch=z9hG4bKnot");
    assert_eq!(call.receive(&respond(other.as_bytes(), "200 OK", CONTACT, OFFER)), None);
    assert!(call.sent.is_empty());
}

/// A caller and what it has sent, on a clock of its own.
struct Caller {
    uac: Uac,
    started_at: Timestamp,
    clock: Timestamp,
    sent: Vec<Vec<u8>>,
}

impl Caller {
    /// Has sent its INVITE.
    fn start() -> Self {
        Self::from_address("192.0.2.1:5062")
    }

    fn from_address(local: &str) -> Self {
        let local: std::net::SocketAddr = local.parse().unwrap();
        let host = if local.is_ipv4() { "192.0.2.9" } else { "2001:db8::9" };
        let callee = Callee { user: "echo".into(), host: host.into(), port: 5060 };
        let names = Names { call_id: "0-1-2@a".into(), from_tag: "0.2".into(), callee, local };
        let clock = Timestamp::from_secs(1_000_000);
        let mut uac = Uac::new(names);
        let mut sent = vec![];
        uac.invite(clock, OFFER, &mut sent);
        Self { uac, started_at: clock, clock, sent }
    }

    /// Is answered.
    fn up() -> Self {
        let mut call = Self::start();
        let invite = call.take_one();
        call.receive(&respond(&invite, "200 OK", CONTACT, OFFER));
        call.take_one();
        call
    }

    fn receive(&mut self, message: &[u8]) -> Option<Event> {
        self.uac.receive(self.clock, &SipMessage::parse(message).unwrap(), &mut self.sent)
    }

    fn pass(&mut self, time: Duration) {
        self.clock = self.clock + time;
    }

    /// The one message sent since the last look.
    fn take_one(&mut self) -> Vec<u8> {
        assert_eq!(self.sent.len(), 1);
        self.sent.pop().unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.clock.since(self.started_at)
    }

    /// Jumps from deadline to deadline until the call is over.
    fn run(&mut self, mut on_sent: impl FnMut(Duration, &[u8])) -> Option<Outcome> {
        while let Some(due) = self.uac.next_due() {
            self.clock = due;
            self.uac.poll(self.clock, &mut self.sent);
            for message in self.sent.drain(..) {
                on_sent(due.since(self.started_at), &message);
            }
        }
        self.uac.outcome()
    }
}

fn start_of(message: &[u8]) -> (Method, String) {
    match SipMessage::parse(message).unwrap().start_line() {
        StartLine::Request { method, uri, .. } => {
            (method, String::from_utf8(uri.to_vec()).unwrap())
        }
        StartLine::Response { code, .. } => panic!("a response with {code}"),
    }
}

fn status_of(message: &[u8]) -> u16 {
    match SipMessage::parse(message).unwrap().start_line() {
        StartLine::Response { code, .. } => code,
        StartLine::Request { .. } => panic!("a request"),
    }
}

fn branch_of(message: &[u8]) -> Vec<u8> {
    SipMessage::parse(message).unwrap().via().unwrap().branch.unwrap().to_vec()
}

fn number_of(message: &[u8]) -> u32 {
    SipMessage::parse(message).unwrap().cseq().unwrap().number
}

fn to_tag(message: &[u8]) -> Option<String> {
    let message = SipMessage::parse(message).unwrap();
    let tag = NameAddr::parse(message.to().unwrap()).tag()?;
    Some(String::from_utf8(tag.to_vec()).unwrap())
}

/// A request of the far end within the dialog of the call.
fn in_dialog(call: &Caller, method: &str) -> Vec<u8> {
    format!(
        "{method} sip:loadgen@192.0.2.1:5062 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKb\r\n\
         From: <sip:echo@192.0.2.9>;tag=far\r\nTo: <sip:loadgen@192.0.2.1>;tag=0.2\r\n\
         Call-ID: {}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        call.uac.call_id()
    )
    .into_bytes()
}
