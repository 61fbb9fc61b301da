//! One client's connection: receive a request, have it answered, send the answer, end.
//!
//! It never blocks and keeps no time but the deadline of what it is doing.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Shutdown},
    time::{Duration, Instant},
};

use mio::net::{TcpStream, UnixStream};
use socket2::SockRef;

use super::{
    access_log::Entry,
    clock,
    guard::Guard,
    intake::{Asked, Intake},
    listener::{Batch, Listener, Sending, UNSENT_MAX},
    live::Event,
    reply::Reply,
};

/// A connection and what it is doing.
#[derive(Debug)]
pub(super) struct Connection {
    /// The client.
    pub(super) client: TcpStream,
    /// When what it is doing must be done.
    pub(super) deadline: Instant,
    from: IpAddr,
    asked: Asked,
    /// When the head of the request had come, or what cannot be one.
    asked_at: Option<Instant>,
    /// Of the answer.
    status: Option<u16>,
    /// Bytes of the answer that were sent.
    sent: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Receiving(Intake),
    /// The request is complete and waits for its turn.
    Waiting(Vec<u8>),
    /// The server behind the door has the request.
    Asking {
        server: UnixStream,
        request: Vec<u8>,
        sent: usize,
        response: Vec<u8>,
    },
    Sending {
        response: Vec<u8>,
        sent: usize,
    },
    /// The answer is too long to be held: it is passed on as it comes.
    Relaying {
        server: UnixStream,
        piece: Vec<u8>,
        sent: usize,
        /// Bytes passed on since the client was last given more time.
        passed: usize,
    },
    /// The client listens to live events for as long as it likes.
    Listening(Listener),
    /// All is sent. What the client still sends is thrown away, because closing a socket with
    /// unread bytes resets it and may take the answer with it.
    Lingering {
        discarded: usize,
    },
}

/// What became of a connection when it was given a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for its sockets.
    Open,
    /// Its request is complete.
    Complete,
    /// The server behind the door has answered; the answer is on its way.
    Answered,
    /// The server behind the door has hung up without an answer.
    Unanswered,
    /// It is over.
    Over,
}

impl Connection {
    /// A connection that has just been accepted.
    pub(super) fn new(client: TcpStream, from: IpAddr, now: Instant) -> Self {
        Self {
            client,
            deadline: now + HEAD_TIME,
            from,
            asked: Asked::default(),
            asked_at: None,
            status: None,
            sent: 0,
            state: State::Receiving(Intake::default()),
        }
    }

    /// Whether it may be closed to make room: no complete request depends on it.
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Receiving(_) | State::Lingering { .. })
    }

    /// Bytes of its answer that are still to be sent.
    pub(super) const fn unsent(&self) -> usize {
        match &self.state {
            State::Sending { response, sent } => response.len() - *sent,
            State::Relaying { piece, sent, .. } => piece.len() - *sent,
            _ => 0,
        }
    }

    /// Whether its request is complete and not yet passed on.
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// What its request asks for.
    pub(super) const fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Whether all of the answer is sent.
    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.state, State::Lingering { .. })
    }

    /// Notes that the log has its line.
    pub(super) const fn logged(&mut self) {
        self.asked_at = None;
    }

    /// The line of the log; none of who has asked for nothing, and none a second time.
    pub(super) fn entry(&self, now: Instant) -> Option<Entry<'_>> {
        Some(Entry {
            at: clock::wall(),
            from: self.from,
            token: self.asked.token.as_deref(),
            method: or_dash(&self.asked.method),
            path: or_dash(self.asked.path()),
            status: self.status,
            bytes: self.sent,
            took: now.saturating_duration_since(self.asked_at?),
        })
    }

    /// Whether its client listens to live events.
    pub(super) const fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening(_))
    }

    /// Has its client listen to live events from now on.
    pub(super) fn start_listening(&mut self, call_id: Option<String>, now: Instant) -> Turn {
        // What waits in the system would hide for long that a client is slow. The system may know
        // better, and then what waits here still tells.
        let _ = SockRef::from(&self.client).set_send_buffer_size(UNSENT_MAX);
        self.status = Some(200);
        self.state = State::Listening(Listener::new(call_id, now));
        self.deadline = now + SEND_TIME;
        self.listen(now)
    }

    /// Has its client listen no more; `last` says why.
    pub(super) fn end_listening(&mut self, last: &[u8]) {
        if let State::Listening(listener) = &mut self.state {
            listener.end(last);
        }
    }

    /// Tells its client of live events; false if it has not kept up.
    pub(super) fn tell(&mut self, events: &[Event], all: &Batch, now: Instant) -> bool {
        let State::Listening(listener) = &mut self.state else { return true };
        listener.is_over() || listener.tell(events, all, now)
    }

    /// Whether the server behind the door is busy with its request.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. } | State::Relaying { .. })
    }

    /// The client's socket has become readable or writable.
    pub(super) fn client_ready(&mut self, guard: &mut Guard, now: Instant) -> Turn {
        match &self.state {
            State::Receiving(_) => self.receive(guard, now),
            State::Waiting(_) | State::Asking { .. } => Turn::Open,
            State::Sending { .. } => self.send(now),
            State::Relaying { .. } => self.relay(now),
            State::Listening(_) => self.listen(now),
            State::Lingering { .. } => self.linger(),
        }
    }

    /// Hands the complete request to the server behind the door. The socket must be registered.
    pub(super) fn ask(&mut self, server: UnixStream, now: Instant) -> Turn {
        if let State::Waiting(request) = &mut self.state {
            let request = core::mem::take(request);
            self.state = State::Asking { server, request, sent: 0, response: Vec::new() };
        }
        self.server_ready(now)
    }

    /// The socket to the server behind the door has become readable or writable.
    pub(super) fn server_ready(&mut self, now: Instant) -> Turn {
        if matches!(self.state, State::Relaying { .. }) {
            return self.relay(now);
        }
        let State::Asking { server, request, sent, response } = &mut self.state else {
            return Turn::Open;
        };
        while *sent < request.len() {
            match server.write(&request[*sent..]) {
                Ok(written) => *sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Turn::Unanswered,
            }
        }
        // One byte more than is held tells that there is more.
        let room = HELD_MAX + 1 - response.len();
        match server.take(room as u64).read_to_end(response) {
            Ok(_) if response.len() > HELD_MAX => return self.start_relaying(now),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Open,
            Err(_) => return Turn::Unanswered,
        }
        let mut response = core::mem::take(response);
        if !say_close(&mut response) {
            return Turn::Unanswered;
        }
        match self.start_sending(response, now) {
            Turn::Over => Turn::Over,
            _ => Turn::Answered,
        }
    }

    /// Answers with `reply`, whatever the connection was doing.
    pub(super) fn answer(&mut self, reply: &Reply, now: Instant) -> Turn {
        let mut response = reply.to_bytes();
        say_close(&mut response);
        self.start_sending(response, now)
    }

    /// The deadline has passed: what the client hears of it, if anything.
    pub(super) fn overdue(&mut self, now: Instant) -> Turn {
        let reply = match &self.state {
            State::Receiving(intake) if intake.is_empty() => return Turn::Over,
            State::Receiving(_) => {
                self.asked_at = Some(now);
                Reply::error(408, "the request took too long to arrive")
            }
            State::Waiting(_) | State::Asking { .. } => {
                Reply::error(503, "the request could not be answered in time")
            }
            State::Sending { .. }
            | State::Relaying { .. }
            | State::Listening(_)
            | State::Lingering { .. } => return Turn::Over,
        };
        self.answer(&reply, now)
    }

    fn receive(&mut self, guard: &mut Guard, now: Instant) -> Turn {
        let mut chunk = [0; CHUNK];
        loop {
            let State::Receiving(intake) = &mut self.state else { return Turn::Open };
            let bytes = match self.client.read(&mut chunk) {
                Ok(0) => return Turn::Over,
                Ok(len) => &chunk[..len],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Open,
                Err(_) => return Turn::Over,
            };
            let awaited_body = intake.awaits_body();
            let taken = intake.push(bytes, &mut guard.visit(self.from, now));
            if !matches!(taken, Ok(None)) {
                self.asked_at = Some(now);
                self.asked = intake.asked().clone();
            }
            match taken {
                Ok(Some(request)) => {
                    self.state = State::Waiting(request);
                    self.deadline = now + ANSWER_TIME;
                    return Turn::Complete;
                }
                Ok(None) if !awaited_body && intake.awaits_body() => {
                    self.deadline = now + BODY_TIME;
                }
                Ok(None) => {}
                Err(reply) => return self.answer(&reply, now),
            }
        }
    }

    /// Sends live events as far as the client takes them, and sees whether it is still there.
    pub(super) fn listen(&mut self, now: Instant) -> Turn {
        let State::Listening(listener) = &mut self.state else { return Turn::Open };
        // It has nothing to say any more; what it says all the same is thrown away.
        let mut chunk = [0; CHUNK];
        for _ in 0..CHUNKS_MAX {
            match self.client.read(&mut chunk) {
                Ok(0) => return Turn::Over,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Turn::Over,
            }
        }
        let unsent = listener.unsent();
        let sending = listener.send(&mut self.client);
        // Who takes anything has time for more; who takes too little is seen by what waits.
        let sent = unsent - listener.unsent();
        self.sent += sent as u64;
        if sending == Sending::Done || sent > 0 {
            self.deadline = now + SEND_TIME;
        }
        match sending {
            Sending::Blocked | Sending::Done => Turn::Open,
            Sending::Over => self.close(now),
            Sending::Gone => Turn::Over,
        }
    }

    /// From now on takes no more of the answer than the client takes.
    fn start_relaying(&mut self, now: Instant) -> Turn {
        let done = State::Lingering { discarded: 0 };
        let State::Asking { server, mut response, .. } = core::mem::replace(&mut self.state, done)
        else {
            return Turn::Open;
        };
        if !say_close(&mut response) {
            return Turn::Unanswered;
        }
        self.status = status(&response);
        self.state = State::Relaying { server, piece: response, sent: 0, passed: 0 };
        self.deadline = now + SEND_TIME;
        self.relay(now)
    }

    /// Passes on what there is until either side must be waited for.
    fn relay(&mut self, now: Instant) -> Turn {
        let State::Relaying { server, piece, sent, passed } = &mut self.state else {
            return Turn::Open;
        };
        loop {
            if *sent == piece.len() {
                *sent = 0;
                piece.resize(PIECE, 0);
                match server.read(piece) {
                    Ok(0) => break,
                    Ok(len) => piece.truncate(len),
                    Err(error) => {
                        piece.clear();
                        match error.kind() {
                            ErrorKind::Interrupted => continue,
                            ErrorKind::WouldBlock => return Turn::Open,
                            _ => return Turn::Over,
                        }
                    }
                }
            }
            match self.client.write(&piece[*sent..]) {
                Ok(written) => {
                    *sent += written;
                    *passed += written;
                    self.sent += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Open,
                Err(_) => return Turn::Over,
            }
            // Who takes his share in time may go on for as long as there is more.
            if *passed >= SHARE {
                *passed = 0;
                self.deadline = now + SEND_TIME;
            }
        }
        self.close(now)
    }

    fn start_sending(&mut self, response: Vec<u8>, now: Instant) -> Turn {
        self.status = status(&response);
        self.state = State::Sending { response, sent: 0 };
        self.deadline = now + SEND_TIME;
        self.send(now)
    }

    fn send(&mut self, now: Instant) -> Turn {
        let State::Sending { response, sent } = &mut self.state else { return Turn::Open };
        while *sent < response.len() {
            match self.client.write(&response[*sent..]) {
                Ok(written) => {
                    *sent += written;
                    self.sent += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Open,
                Err(_) => return Turn::Over,
            }
        }
        self.close(now)
    }

    /// All is sent.
    fn close(&mut self, now: Instant) -> Turn {
        if self.client.shutdown(Shutdown::Write).is_err() {
            return Turn::Over;
        }
        self.state = State::Lingering { discarded: 0 };
        self.deadline = now + LINGER_TIME;
        self.linger()
    }

    fn linger(&mut self) -> Turn {
        let State::Lingering { discarded } = &mut self.state else { return Turn::Open };
        let mut chunk = [0; CHUNK];
        while *discarded <= LINGER_MAX {
            match self.client.read(&mut chunk) {
                Ok(0) => return Turn::Over,
                Ok(len) => *discarded += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Open,
                Err(_) => return Turn::Over,
            }
        }
        Turn::Over
    }
}

/// The status of an answer (RFC 9112 section 4).
fn status(response: &[u8]) -> Option<u16> {
    let code = response.get(STATUS)?;
    core::str::from_utf8(code).ok()?.parse().ok()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Tells the client that the connection ends with this answer; whether it is one.
fn say_close(response: &mut Vec<u8>) -> bool {
    let Some(line_end) = memchr::memchr(b'\n', response) else { return false };
    response.splice(line_end + 1..line_end + 1, CLOSE.bytes());
    true
}

/// Where the status stands: after `HTTP/1.1 `.
const STATUS: core::ops::Range<usize> = 9..12;

/// The header line that ends a connection.
const CLOSE: &str = "Connection: close\r\n";

/// How long a head may take from the accept on.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a body may take from the end of the head on.
const BODY_TIME: Duration = Duration::from_secs(5);

/// How long a complete request may wait for its answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long an answer may take to be sent: 3 MB at 1 Mbit/s.
const SEND_TIME: Duration = Duration::from_secs(30);

/// An answer up to here is taken whole, so that the server behind the door is free again; a
/// thousand calls with all their streams are some 5 MB.
const HELD_MAX: usize = 8 << 20;

/// Bytes of a longer answer that are passed on at once.
const PIECE: usize = 64 << 10;

/// What a client must take of a longer answer in [`SEND_TIME`]: 70 kbit/s.
const SHARE: usize = 256 << 10;

/// How long a client may take to close after the answer.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// How much a client may send after its request.
const LINGER_MAX: usize = 256 << 10;

/// Bytes read at once.
const CHUNK: usize = 8 << 10;

/// How often a client of live events is read from before others have their turn.
const CHUNKS_MAX: usize = 16;
