//! The lexical ground of SIP: lines with folds, header fields, quoted strings, lists, numbers.
//!
//! Never knows what a header means.

use memchr::{memchr, memchr3};

use super::{HEADERS_MAX, HeaderName, Method, NameAddr};
use crate::wire::text::split_word;

/// Walks over the lines of a message's head; a header with its folds is one line.
#[derive(Clone, Debug)]
pub(super) struct HeaderLines<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> HeaderLines<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, count: 0 }
    }

    /// The first line that is not empty (RFC 3261 section 7.5 has empty ones skipped). It cannot
    /// be folded.
    pub(super) fn start_line(&mut self) -> Option<&'a [u8]> {
        let blanks = self.rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let text = &self.rest[blanks..];
        let end = memchr(b'\n', text).unwrap_or(text.len());
        self.rest = text.get(end + 1..).unwrap_or(&[]);
        (!text.is_empty()).then(|| &text[..end])
    }

    /// The next header; `None` at the blank line, which is consumed, at the end and beyond the
    /// limit of [`HEADERS_MAX`].
    #[inline]
    pub(super) fn next_line(&mut self) -> Option<&'a [u8]> {
        match *self.rest {
            [] => return None,
            [b'\n', ref rest @ ..] | [b'\r', b'\n', ref rest @ ..] => {
                self.rest = rest;
                return None;
            }
            _ => {}
        }
        self.count += 1;
        if self.count > HEADERS_MAX {
            return None;
        }
        let mut from = 0;
        while let Some(at) = memchr(b'\n', &self.rest[from..]) {
            let end = from + at;
            from = end + 1;
            if !matches!(self.rest.get(from), Some(b' ' | b'\t')) {
                let line = &self.rest[..end];
                self.rest = &self.rest[from..];
                return Some(line);
            }
        }
        Some(core::mem::take(&mut self.rest))
    }

    /// What has not been walked over.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Headers met, the one beyond the limit included.
    pub(super) const fn count(&self) -> usize {
        self.count
    }
}

/// Splits a header at its colon; the name has no blanks around it, the value may.
#[inline]
pub(super) fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((line[..colon].trim_ascii_end(), &line[colon + 1..]))
}

/// The Call-ID of a message: what [`SipMessage::call_id`](super::SipMessage::call_id) gives if
/// the message can be read, found without reading it. It routes a datagram to its owner.
#[must_use]
pub fn call_id(bytes: &[u8]) -> Option<&[u8]> {
    first_of(bytes, HeaderName::CallId, b"iIcC")
}

/// The URI of the To of a REGISTER, found as [`call_id`] is; `None` for all other messages.
#[must_use]
pub fn registered_uri(bytes: &[u8]) -> Option<&[u8]> {
    let start = HeaderLines::new(bytes).start_line()?;
    if Method::from_bytes(split_word(start.trim_ascii()).0) != Method::Register {
        return None;
    }
    first_of(bytes, HeaderName::To, b"tT").map(|to| NameAddr::parse(to).uri)
}

/// The first value of a header whose name, long or compact, begins with one of `initials`.
fn first_of<'a>(bytes: &'a [u8], wanted: HeaderName, initials: &[u8]) -> Option<&'a [u8]> {
    let mut lines = HeaderLines::new(bytes);
    lines.start_line()?;
    while let Some(line) = lines.next_line() {
        if !line.first().is_some_and(|first| initials.contains(first)) {
            continue;
        }
        let Some((name, value)) = split_header(line) else { continue };
        if HeaderName::from_bytes(name) == wanted {
            return Some(value.trim_ascii());
        }
    }
    None
}

/// The parts of a list: splits at commas outside quotes and angle brackets (RFC 3261 section
/// 7.3.1). Empty parts are left out.
#[must_use]
pub const fn elements(value: &[u8]) -> Elements<'_> {
    Elements { rest: value, outside: Outside::new() }
}

/// An iterator over the parts of a list; see [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    outside: Outside,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = self.outside.find(b',', self.rest);
            let element = self.rest[..end].trim_ascii();
            self.rest = self.rest.get(end + 1..).unwrap_or(&[]);
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// Finds separators outside quoted strings and angle brackets, in one text from front to back.
///
/// A quote or bracket that is never closed counts as an ordinary character, and so do all of its
/// kind behind it: the text is searched for what closes them once only, whatever it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outside {
    quotes: bool,
    brackets: bool,
}

impl Outside {
    pub(super) const fn new() -> Self {
        Self { quotes: true, brackets: true }
    }

    /// Where `wanted` first stands; the length if nowhere.
    pub(super) fn find(&mut self, wanted: u8, text: &[u8]) -> usize {
        let mut at = 0;
        while let Some(found) = memchr3(wanted, b'"', b'<', &text[at..]) {
            at += found;
            let inside = &text[at + 1..];
            let (kind, closed) = match text[at] {
                byte if byte == wanted => return at,
                b'"' if self.quotes => (&mut self.quotes, quoted_len(inside)),
                b'<' if self.brackets => (&mut self.brackets, memchr(b'>', inside)),
                _ => {
                    at += 1;
                    continue;
                }
            };
            *kind = closed.is_some();
            at += 1 + closed.map_or(0, |len| len + 1);
        }
        text.len()
    }
}

/// The length of a quoted string whose opening quote stands in front of `bytes`, up to its
/// closing quote; `None` if there is none.
pub(super) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_bare_line_feeds_and_a_missing_blank_line() {
        let mut lines = HeaderLines::new(b"\r\n\nX\r\na: b\r\n c\n\td\ne: f\r\n\r\nbody");
        assert_eq!(lines.start_line(), Some(&b"X\r"[..]));
        assert_eq!(lines.next_line(), Some(&b"a: b\r\n c\n\td"[..]));
        assert_eq!(lines.next_line(), Some(&b"e: f\r"[..]));
        assert_eq!(lines.next_line(), None);
        assert_eq!(lines.rest(), b"body");
        let mut lines = HeaderLines::new(b"X\na: b\r\n ");
        lines.start_line();
        assert_eq!(lines.next_line(), Some(&b"a: b\r\n "[..]));
        assert_eq!((lines.next_line(), lines.rest()), (None, &b""[..]));
    }

    #[test]
    fn lists_split_outside_quotes_and_brackets() {
        let list: Vec<_> = elements(b" \"a,\\\"b\" <sip:x,y@z>;p, , c ,\r\n d\"").collect();
        assert_eq!(list, [&b"\"a,\\\"b\" <sip:x,y@z>;p"[..], b"c", b"d\""]);
        assert_eq!(elements(b"<a,b").count(), 2);
        // An open bracket does not keep quotes from counting, nor the other way round.
        assert_eq!(elements(b"<a,\"b,c\"").count(), 2);
        assert_eq!(elements(b"\"a,<b,c>").count(), 2);
    }

    #[test]
    fn the_call_id_is_found_without_reading_the_rest() {
        assert_eq!(call_id(b"\r\nX\r\nContact: a\r\ncall-ID :\r\n  q\r\n\r\n"), Some(&b"q"[..]));
        assert_eq!(call_id(b"X\ni: 1\ni: 2\n\n"), Some(&b"1"[..]));
        assert_eq!(call_id(b"X\n\ni: 1\n\n"), None);
        assert_eq!(call_id(b""), None);
    }
}
