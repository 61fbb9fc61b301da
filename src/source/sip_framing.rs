//! SIP messages framed out of a stream of bytes by their `Content-Length` (RFC 3261 section
//! 18.3).
//!
//! It knows no segments: bytes reach it in order, and where some are missing it is told so.

use memchr::{memchr, memchr_iter};

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct SipFraming {
    buffer: Vec<u8>,
    state: State,
    /// Bytes of the message at the front, once its head has been read.
    message_len: Option<usize>,
    /// How far the head at the front was searched for its end.
    searched: usize,
    /// Bytes to come that belong to a message that is too long.
    to_skip: usize,
    is_sip: bool,
    /// Bytes that were searched for a start line before one was found.
    looked_at: usize,
    /// Messages that were longer than [`MESSAGE_MAX`], since this was last asked for.
    too_long: u64,
    /// Octets of line ends between messages that are no whole keep-alive yet, and keep-alives since
    /// this was last asked for.
    blanks: usize,
    pings: usize,
}

/// What the bytes so far have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Undecided,
    Sip,
    NotSip,
}

impl SipFraming {
    /// A stream that begins with the bytes to come.
    pub(crate) const fn from_start() -> Self {
        Self::new(State::AtMessage)
    }

    /// A stream whose beginning is not known.
    pub(crate) const fn from_middle() -> Self {
        Self::new(State::Searching)
    }

    const fn new(state: State) -> Self {
        Self {
            buffer: Vec::new(),
            state,
            message_len: None,
            searched: 0,
            to_skip: 0,
            is_sip: false,
            looked_at: 0,
            too_long: 0,
            blanks: 0,
            pings: 0,
        }
    }

    /// Takes bytes; hands out each message that is whole now.
    pub(crate) fn take(&mut self, bytes: &[u8], mut found: impl FnMut(&[u8])) -> Verdict {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        let mut verdict = Verdict::Undecided;
        loop {
            match self.step(at) {
                Next::Passed(len) => at += len,
                Next::Message(len) => {
                    found(&self.buffer[at..at + len]);
                    at += len;
                }
                Next::NotSip => {
                    verdict = Verdict::NotSip;
                    break;
                }
                Next::Needs => break,
            }
        }
        self.release(at);
        match verdict {
            Verdict::Undecided if self.is_sip => Verdict::Sip,
            verdict => verdict,
        }
    }

    /// Bytes are missing here: what was begun is given up, and the next start line looked for.
    pub(crate) fn lose(&mut self) {
        *self = Self {
            is_sip: self.is_sip,
            looked_at: self.looked_at,
            too_long: self.too_long,
            ..Self::from_middle()
        };
    }

    /// Bytes that wait for the rest of their message.
    pub(crate) const fn waiting(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) const fn is_sip(&self) -> bool {
        self.is_sip
    }

    pub(crate) const fn take_too_long(&mut self) -> u64 {
        core::mem::replace(&mut self.too_long, 0)
    }

    /// Keep-alives (RFC 5626 section 3.5.1) that have come: two line ends each.
    pub(crate) const fn take_pings(&mut self) -> usize {
        core::mem::replace(&mut self.pings, 0)
    }

    /// Whether it is not known any more where a message begins.
    pub(crate) fn is_lost(&self) -> bool {
        self.state == State::Searching
    }

    fn step(&mut self, at: usize) -> Next {
        let rest = &self.buffer[at..];
        if rest.is_empty() {
            return Next::Needs;
        }
        if self.to_skip > 0 {
            let len = self.to_skip.min(rest.len());
            self.to_skip -= len;
            return Next::Passed(len);
        }
        match (self.state, self.message_len) {
            (State::Searching, _) => self.search(at),
            (State::AtMessage, None) => self.begin(at),
            (State::AtMessage, Some(len)) if rest.len() < len => Next::Needs,
            (State::AtMessage, Some(len)) => {
                self.message_len = None;
                Next::Message(len)
            }
        }
    }

    /// At the beginning of a message, or of the empty lines that keep connections alive
    /// (RFC 5626 section 3.5.1).
    fn begin(&mut self, at: usize) -> Next {
        let rest = &self.buffer[at..];
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 {
            self.blanks += blank;
            self.pings += self.blanks / PING;
            self.blanks %= PING;
            return Next::Passed(blank);
        }
        self.blanks = 0;
        let may_begin = match memchr(b'\n', &rest[..rest.len().min(START_LINE_MAX)]) {
            Some(end) => is_start_line(&rest[..end]),
            None if rest.len() < START_LINE_MAX && is_token(rest[0]) => return Next::Needs,
            None => false,
        };
        if !may_begin {
            if !self.is_sip {
                return Next::NotSip;
            }
            self.state = State::Searching;
            return Next::Passed(0);
        }
        self.is_sip = true;
        match head_len(rest, self.searched) {
            Ok(head) => self.measure(at, head),
            Err(_) if rest.len() >= MESSAGE_MAX => {
                self.too_long += 1;
                self.state = State::Searching;
                self.searched = 0;
                Next::Passed(rest.len())
            }
            Err(searched) => {
                self.searched = searched;
                Next::Needs
            }
        }
    }

    fn measure(&mut self, at: usize, head: usize) -> Next {
        self.searched = 0;
        let body = content_length(&self.buffer[at..at + head]);
        let len = head.saturating_add(body);
        if len <= MESSAGE_MAX {
            self.message_len = Some(len);
            return Next::Passed(0);
        }
        self.too_long += 1;
        if len <= SKIPPED_MAX {
            self.to_skip = len;
            return Next::Passed(0);
        }
        // Nobody sends as much: the length is a lie, and what follows may be the next message.
        self.state = State::Searching;
        Next::Passed(head)
    }

    /// Passes lines until one begins a message.
    fn search(&mut self, at: usize) -> Next {
        let rest = &self.buffer[at..];
        let len = match memchr(b'\n', rest) {
            Some(end) if is_start_line(&rest[..end]) => {
                self.state = State::AtMessage;
                return Next::Passed(0);
            }
            Some(end) => end + 1,
            None if rest.len() < START_LINE_MAX => return Next::Needs,
            None => rest.len(),
        };
        self.looked_at += len;
        if !self.is_sip && self.looked_at > LOOKED_AT_MAX {
            Next::NotSip
        } else {
            Next::Passed(len)
        }
    }

    /// Lets go of what is done with; thousands of connections that are idle hold no buffers.
    fn release(&mut self, len: usize) {
        self.buffer.drain(..len);
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        } else if self.buffer.capacity() > 4 * self.buffer.len().max(CAPACITY_MIN) {
            self.buffer.shrink_to_fit();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A message begins at the front.
    AtMessage,
    /// Somewhere within a message, or what is none.
    Searching,
}

/// What to do about the bytes at the front.
enum Next {
    /// So many are done with.
    Passed(usize),
    /// A message has so many.
    Message(usize),
    Needs,
    NotSip,
}

/// Request-Line or Status-Line (RFC 3261 section 7).
fn is_start_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    if let Some(status) = line.strip_prefix(b"SIP/2.0 ") {
        return status.first().is_some_and(u8::is_ascii_digit);
    }
    let method = line.iter().take_while(|byte| is_token(**byte)).count();
    method > 0 && line.get(method) == Some(&b' ') && line.ends_with(b" SIP/2.0")
}

/// RFC 3261 section 25.1.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Bytes up to and with the empty line behind the headers; or how far there is none.
fn head_len(bytes: &[u8], searched: usize) -> Result<usize, usize> {
    for end in memchr_iter(b'\n', &bytes[searched..]).map(|end| searched + end) {
        match &bytes[end + 1..] {
            [b'\n', ..] => return Ok(end + 2),
            [b'\r', b'\n', ..] => return Ok(end + 3),
            [] | [b'\r'] => return Err(end),
            _ => {}
        }
    }
    Err(bytes.len())
}

/// What `Content-Length` says; nothing where it is missing or no number. A stream demands it
/// (RFC 3261 section 20.14), so that there is no better guess.
fn content_length(head: &[u8]) -> usize {
    head.split(|byte| *byte == b'\n').find_map(length_of_body).unwrap_or(0)
}

fn length_of_body(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at(memchr(b':', line)?);
    let name = name.trim_ascii();
    let is_length = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l");
    let value = is_length.then(|| str::from_utf8(value[1..].trim_ascii()).ok())??;
    value.parse().ok()
}

/// The longest message, in bytes: no longer than what a UDP datagram could hold.
pub(crate) const MESSAGE_MAX: usize = 65_536;
/// The longest message that is passed over by its own length.
const SKIPPED_MAX: usize = 16 << 20;
/// The longest start line.
const START_LINE_MAX: usize = 4096;
/// How far into a stream that was not seen to begin a start line is looked for.
const LOOKED_AT_MAX: usize = 65_536;
const CAPACITY_MIN: usize = 256;
/// Octets of a keep-alive: CRLF twice.
const PING: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(framing: &mut SipFraming, bytes: &[u8]) -> (Vec<Vec<u8>>, Verdict) {
        let mut found = Vec::new();
        let verdict = framing.take(bytes, |message| found.push(message.to_vec()));
        (found, verdict)
    }

    const BYE: &[u8] = b"BYE sip:a@b SIP/2.0\r\nl : 3\r\nCall-ID: x\r\n\r\nabc";
    const OK: &[u8] = b"SIP/2.0 200 OK\nContent-Length: 0\n\n";

    #[test]
    fn messages_and_keep_alives_in_one_piece() {
        let mut framing = SipFraming::from_start();
        let (found, verdict) = all(&mut framing, &[b"\r\n\r\n", BYE, b"\r\n\r\n", OK].concat());
        assert_eq!((found, verdict), (vec![BYE.to_vec(), OK.to_vec()], Verdict::Sip));
        assert_eq!(framing.waiting(), 0);
    }

    #[test]
    fn keep_alives_are_counted_and_line_ends_between_messages_are_not() {
        let mut framing = SipFraming::from_start();
        all(&mut framing, &[b"\r\n\r\n", BYE, b"\r\n", OK, b"\r\n\r"].concat());
        assert_eq!(framing.take_pings(), 1);
        all(&mut framing, b"\n\r\n\r\n");
        assert_eq!((framing.take_pings(), framing.take_pings()), (2, 0));
        assert!(!framing.is_lost());
        all(&mut framing, b"no start line\r\n");
        assert!(framing.is_lost());
    }

    #[test]
    fn octet_by_octet() {
        let mut framing = SipFraming::from_start();
        let mut found = Vec::new();
        for byte in [BYE, OK, BYE].concat() {
            found.extend(all(&mut framing, &[byte]).0);
        }
        assert_eq!(found, [BYE, OK, BYE]);
    }

    #[test]
    fn a_stream_of_something_else_shows_at_once() {
        assert_eq!(all(&mut SipFraming::from_start(), b"\x16\x03\x01").1, Verdict::NotSip);
        assert_eq!(all(&mut SipFraming::from_start(), b"GET / HTTP/1.1\r\n").1, Verdict::NotSip);
        assert_eq!(all(&mut SipFraming::from_start(), b"OPTIO").1, Verdict::Undecided);
        let mut framing = SipFraming::from_middle();
        assert_eq!(all(&mut framing, &[0; LOOKED_AT_MAX]).1, Verdict::Undecided);
        assert_eq!(all(&mut framing, &[0; START_LINE_MAX]).1, Verdict::NotSip);
        assert_eq!(framing.waiting(), START_LINE_MAX);
    }

    #[test]
    fn from_the_middle_the_next_start_line_counts() {
        let mut framing = SipFraming::from_middle();
        let (found, _) = all(&mut framing, &[b"v=0\r\no=- SIP/2.0\r\n", BYE].concat());
        assert_eq!(found, [BYE]);
        framing.lose();
        let (found, _) = all(&mut framing, &[&BYE[20..], b"\r\n", OK].concat());
        assert_eq!(found, [OK]);
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_counted() {
        let mut framing = SipFraming::from_start();
        let head = format!("MESSAGE sip:a@b SIP/2.0\r\nl:{}\r\n\r\n", MESSAGE_MAX);
        let long = [head.as_bytes(), &vec![b'x'; MESSAGE_MAX]].concat();
        let mut found = Vec::new();
        for piece in [&long, BYE].concat().chunks(1000) {
            found.extend(all(&mut framing, piece).0);
            assert!(framing.waiting() < 2000);
        }
        assert_eq!((found, framing.take_too_long()), (vec![BYE.to_vec()], 1));
        let endless = vec![b'a'; 3 * MESSAGE_MAX];
        let mut waiting = 0;
        all(&mut framing, b"BYE sip:a@b SIP/2.0\r\na: ");
        for piece in endless.chunks(1000) {
            all(&mut framing, piece);
            waiting = waiting.max(framing.waiting());
        }
        assert!(waiting <= MESSAGE_MAX + 1000, "{waiting}");
        assert_eq!(framing.take_too_long(), 1);
    }

    #[test]
    fn a_length_that_lies_costs_its_message_only() {
        let mut framing = SipFraming::from_start();
        for lie in ["99999999999", "999999999999999999999999", "-1", "x"] {
            let liar = format!("BYE sip:a@b SIP/2.0\r\nContent-Length: {lie}\r\n\r\n");
            let (found, _) = all(&mut framing, &[liar.as_bytes(), BYE].concat());
            assert_eq!(found.last().map(Vec::as_slice), Some(BYE), "{lie}");
        }
    }
}
