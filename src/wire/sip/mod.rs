//! A SIP message (RFC 3261) as it came: one pass finds its lines, everything is read in place.
//!
//! Never refuses what real devices send if the start line is SIP's; what a strict user agent
//! server must refuse is the business of [`SipMessage::check`].

mod address;
mod check;
mod compare;
mod credentials;
mod header;
mod masked;
mod method;
mod multipart;
mod scan;
mod via;

pub use address::{NameAddr, Param, Params, Uri};
pub use check::Defect;
pub use compare::{is_same_uri, is_same_user, write_address_of_record};
pub use credentials::Credentials;
pub use header::{Header, HeaderName, Headers};
pub use masked::masked;
pub use method::{CSeq, Method};
pub use scan::{Elements, call_id, elements, registered_uri};
pub use via::Via;

use header::SINGLE_COUNT;
use scan::{HeaderLines, split_header};

use super::text::{decimal, split_at_byte, split_word};

/// A view of one SIP message. What every message has, and more than one reader of it asks for, is
/// taken apart once, here: the topmost Via, `CSeq`, From and To with their tags.
///
/// Values are as they stand between the colon and the end of the header, blanks around them
/// taken off; a value may hold folds (line ends that blanks follow, RFC 3261 section 7.3.1).
#[derive(Clone, Copy, Debug)]
pub struct SipMessage<'a> {
    start_line: StartLine<'a>,
    version: &'a [u8],
    head: &'a [u8],
    /// All that follows the blank line.
    rest: &'a [u8],
    body: &'a [u8],
    via: Option<Via<'a>>,
    cseq: Option<CSeq<'a>>,
    from: Option<Party<'a>>,
    to: Option<Party<'a>>,
    content_length: Option<u32>,
    is_compact: bool,
    /// The first header of each name, by [`HeaderName::slot`].
    first: [Option<&'a [u8]>; SINGLE_COUNT],
    /// A bit per slot: the name came again.
    repeated: u16,
    /// A bit per name: it came.
    present: u64,
}

impl<'a> SipMessage<'a> {
    /// Reads a message that starts at `bytes`, line ends in front of it aside.
    ///
    /// A message without the blank line that ends its headers is taken to end with `bytes`.
    ///
    /// # Errors
    ///
    /// If the start line is not SIP's, or a limit is passed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SipError> {
        let mut lines = HeaderLines::new(bytes);
        let start = lines.start_line().ok_or(SipError::Empty)?;
        let (start_line, version) = StartLine::parse(start)?;
        let after_start = lines.rest();
        let mut first = [None; SINGLE_COUNT];
        let (mut repeated, mut present) = (0, 0);
        let mut is_compact = None;
        while let Some(line) = lines.next_line() {
            if line.len() > HEADER_LEN_MAX {
                return Err(SipError::HeaderTooLong { len: line.len() });
            }
            let Some((name, value)) = split_header(line) else { continue };
            is_compact.get_or_insert(name.len() == 1);
            let name = HeaderName::from_bytes(name);
            present |= name.bit();
            let Some(slot) = name.slot() else { continue };
            match first[slot] {
                None => first[slot] = Some(value.trim_ascii()),
                Some(_) => repeated |= 1 << slot,
            }
        }
        if lines.count() > HEADERS_MAX {
            return Err(SipError::TooManyHeaders);
        }
        let head = &after_start[..after_start.len() - lines.rest().len()];
        let rest = lines.rest();
        let first_of = |name: HeaderName| name.slot().and_then(|slot| first[slot]);
        let content_length = first_of(HeaderName::ContentLength).and_then(decimal);
        let body = content_length
            .and_then(|len: u32| rest.get(..len.try_into().unwrap_or(usize::MAX)))
            .unwrap_or(rest);
        Ok(Self {
            start_line,
            version,
            head,
            rest,
            body,
            via: first_of(HeaderName::Via).and_then(Via::parse),
            cseq: first_of(HeaderName::CSeq).and_then(CSeq::parse),
            from: first_of(HeaderName::From).map(Party::parse),
            to: first_of(HeaderName::To).map(Party::parse),
            content_length,
            is_compact: is_compact == Some(true),
            first,
            repeated,
            present,
        })
    }

    /// The request line or the status line.
    #[must_use]
    pub const fn start_line(&self) -> StartLine<'a> {
        self.start_line
    }

    /// Whether it is a request to a SIPS URI (RFC 3261 section 26.2.2).
    #[must_use]
    pub fn is_to_sips(&self) -> bool {
        match self.start_line {
            StartLine::Request { uri, .. } => {
                uri.get(..SIPS.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SIPS))
            }
            StartLine::Response { .. } => false,
        }
    }

    /// The SIP version of the start line: `SIP/2.0`.
    #[must_use]
    pub const fn version(&self) -> &'a [u8] {
        self.version
    }

    /// What the message is about: the method of a request, that of `CSeq` in a response.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        match self.start_line {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => self.cseq.map(|cseq| cseq.method),
        }
    }

    /// The first Call-ID.
    #[must_use]
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.first_of(HeaderName::CallId)
    }

    /// The first From as written.
    #[must_use]
    pub fn from(&self) -> Option<&'a [u8]> {
        self.first_of(HeaderName::From)
    }

    /// The URI of the first From, empty if there is none.
    #[must_use]
    pub fn from_uri(&self) -> &'a [u8] {
        self.from.map_or(&[], |from| from.address.uri)
    }

    /// The tag of the first From.
    #[must_use]
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        self.from.and_then(|from| from.tag)
    }

    /// The first To as written.
    #[must_use]
    pub fn to(&self) -> Option<&'a [u8]> {
        self.first_of(HeaderName::To)
    }

    /// The URI of the first To, empty if there is none.
    #[must_use]
    pub fn to_uri(&self) -> &'a [u8] {
        self.to.map_or(&[], |to| to.address.uri)
    }

    /// The tag of the first To.
    #[must_use]
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        self.to.and_then(|to| to.tag)
    }

    /// The first Contact, which may be a list; [`elements`] takes it apart.
    #[must_use]
    pub fn contact(&self) -> Option<&'a [u8]> {
        self.first_of(HeaderName::Contact)
    }

    /// The first User-Agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        self.first_of(HeaderName::UserAgent)
    }

    /// The first Content-Type.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.first_of(HeaderName::ContentType)
    }

    /// Whether the body is of a media type, such as `application/sdp`; parameters do not count.
    #[must_use]
    pub fn has_content_type(&self, media_type: &str) -> bool {
        self.content_type().is_some_and(|value| {
            let found = split_at_byte(value, b';').0.trim_ascii();
            found.eq_ignore_ascii_case(media_type.as_bytes())
        })
    }

    /// The first `CSeq`; `None` also if its number is none or beyond 32 bits.
    #[must_use]
    pub const fn cseq(&self) -> Option<CSeq<'a>> {
        self.cseq
    }

    /// The topmost Via.
    #[must_use]
    pub const fn via(&self) -> Option<Via<'a>> {
        self.via
    }

    /// The first Max-Forwards; `None` also if it is no number of 32 bits.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u32> {
        self.first_of(HeaderName::MaxForwards).and_then(decimal)
    }

    /// The first Expires, in seconds; `None` also if it is no number of 32 bits.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.first_of(HeaderName::Expires).and_then(decimal)
    }

    /// The first Content-Length, in octets; `None` also if it is no number of 32 bits.
    #[must_use]
    pub const fn content_length(&self) -> Option<u32> {
        self.content_length
    }

    /// All headers in order. Lines without a colon are left out.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        Headers::new(self.head)
    }

    /// The values of all headers of a name, in order.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let kept = self.first_of(name).filter(|_| !self.is_repeated(name));
        let is_walked = kept.is_none() && self.present & name.bit() != 0;
        let headers = Headers::new(if is_walked { self.head } else { &[] });
        let walked = headers.filter(move |header| header.name == name).map(|header| header.value);
        kept.into_iter().chain(walked)
    }

    /// The body: as long as Content-Length says, all that follows if it says more or nothing
    /// (RFC 3261 section 18.3).
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Where a session description is to be read: the body, or the part of it that is one if it
    /// has several (RFC 5621). Empty if there is none.
    ///
    /// # Errors
    /// A body of several parts has not the form of one, or a part that must be understood.
    pub fn description(&self) -> Result<&'a [u8], Defect> {
        match self.content_type().filter(|kind| multipart::is_multipart(kind)) {
            Some(kind) => Ok(multipart::description(kind, self.body, 0)?.unwrap_or_default()),
            None => Ok(self.body),
        }
    }

    /// Whether a list header has a token, such as `Supported` an option tag; tokens compare
    /// without case.
    #[must_use]
    pub fn lists(&self, name: HeaderName, token: &str) -> bool {
        let mut listed = self.values(name).flat_map(elements);
        listed.any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The extensions that are required of a server and not supported here.
    pub fn unsupported(&self) -> impl Iterator<Item = &'a [u8]> {
        check::unsupported(self)
    }

    /// Whether the first header has its name in the compact form (RFC 3261 section 7.3.3): who
    /// writes so will like it in return.
    #[must_use]
    pub const fn is_compact(&self) -> bool {
        self.is_compact
    }

    /// What a strict user agent server must refuse this message for; the first defect found.
    ///
    /// Faults that RFC 4475 leaves to choice are tolerated: blanks around the parts of the
    /// start line, a display name that is no token, a Date that is not GMT, blanks within angle
    /// brackets, no Max-Forwards (RFC 2543), a branch of nothing but the cookie. So are, of old or
    /// simple clients, a `CSeq` without a method and a description without Content-Type.
    ///
    /// # Errors
    ///
    /// The defect, with the status that refuses a request for it.
    pub fn check(&self) -> Result<(), Defect> {
        check::check(self)
    }

    fn first_of(&self, name: HeaderName) -> Option<&'a [u8]> {
        name.slot().and_then(|slot| self.first[slot])
    }

    fn is_repeated(&self, name: HeaderName) -> bool {
        name.slot().is_some_and(|slot| self.repeated & (1 << slot) != 0)
    }
}

/// One end of a dialog, as From or To names it.
#[derive(Clone, Copy, Debug)]
struct Party<'a> {
    address: NameAddr<'a>,
    tag: Option<&'a [u8]>,
}

impl<'a> Party<'a> {
    fn parse(value: &'a [u8]) -> Self {
        let address = NameAddr::parse(value);
        Self { address, tag: address.tag() }
    }
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request line (RFC 3261 section 7.1).
    Request {
        /// The method.
        method: Method,
        /// The method as written.
        method_text: &'a [u8],
        /// The Request-URI as written.
        uri: &'a [u8],
    },
    /// A status line (RFC 3261 section 7.2).
    Response {
        /// The status code, 100 to 999.
        code: u16,
        /// The reason phrase, empty if there is none.
        reason: &'a [u8],
    },
}

impl<'a> StartLine<'a> {
    /// The line and its version.
    fn parse(line: &'a [u8]) -> Result<(Self, &'a [u8]), SipError> {
        if line.len() > HEADER_LEN_MAX {
            return Err(SipError::HeaderTooLong { len: line.len() });
        }
        let line = line.trim_ascii();
        let (word, rest) = split_word(line);
        if is_version(word) {
            let (code, reason) = split_word(rest);
            let code = Self::status_code(code).ok_or(SipError::StatusCode)?;
            return Ok((Self::Response { code, reason: reason.trim_ascii() }, word));
        }
        let blank = rest.iter().rposition(|&byte| is_blank(byte)).ok_or(SipError::NotSip)?;
        let (uri, version) = (rest[..blank].trim_ascii(), &rest[blank + 1..]);
        if !is_version(version) || uri.is_empty() {
            return Err(SipError::NotSip);
        }
        let method = Method::from_bytes(word);
        Ok((Self::Request { method, method_text: word, uri }, version))
    }

    fn status_code(digits: &[u8]) -> Option<u16> {
        let code = decimal(digits).filter(|code| STATUS_CODES.contains(code))?;
        u16::try_from(code).ok()
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The name of the protocol compares without case (RFC 3261 section 7.1).
fn is_version(word: &[u8]) -> bool {
    word.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"))
}

/// Why bytes are no SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SipError {
    /// Nothing but line ends.
    #[error("empty message")]
    Empty,
    /// A header, its folds included, is longer than [`HEADER_LEN_MAX`].
    #[error("header of {len} octets, the limit is {HEADER_LEN_MAX}")]
    HeaderTooLong {
        /// Its length in octets.
        len: usize,
    },
    /// The first line is neither a request line nor a status line.
    #[error("the first line is not SIP's")]
    NotSip,
    /// The status code is not a number from 100 to 999.
    #[error("the status code is no number of three digits")]
    StatusCode,
    /// More headers than [`HEADERS_MAX`].
    #[error("more than {HEADERS_MAX} headers")]
    TooManyHeaders,
}

/// Headers in a message. Real ones have 10 to 40; a long Via path adds one per hop.
pub const HEADERS_MAX: usize = 256;
/// Octets in a header or the start line, folds included. Signed identities (RFC 8224) take up to
/// 2 KiB.
pub const HEADER_LEN_MAX: usize = 8192;

/// The scheme of a SIPS URI with its colon.
const SIPS: &[u8] = b"sips:";

/// RFC 3261 section 7.2: three digits; section 21 knows 100 to 699, extensions may go on.
const STATUS_CODES: core::ops::RangeInclusive<u32> = 100..=999;

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"\r\n\r\nINVITE sip:echo@192.0.2.9 SIP/2.0\r\n\
        v: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport\r\n\
        f : \"A, B\" <sip:a@example.com>;tag=x\r\n\
        t: <sip:echo@192.0.2.9>\r\n\
        I: 1@192.0.2.1\r\n\
        CSeq: 7\r\n\t INVITE\r\n\
        Subject: \xFF\xFE\n\
        no colon here\r\n\
        m: <sip:a@192.0.2.1>\r\n\
        c: application/SDP ;x=y\r\n\
        User-Agent: phone 1.0\r\n\
        Max-Forwards: 0070\r\n\
        Expires: 120\r\n\
        l: 5\r\n\r\nv=0\r\nmore";

    #[test]
    fn a_request_of_a_real_device_is_read() {
        let message = SipMessage::parse(INVITE).unwrap();
        let start = StartLine::Request {
            method: Method::Invite,
            method_text: b"INVITE",
            uri: b"sip:echo@192.0.2.9",
        };
        assert_eq!(message.start_line(), start);
        assert_eq!(message.call_id(), Some(&b"1@192.0.2.1"[..]));
        assert_eq!(message.from(), Some(&b"\"A, B\" <sip:a@example.com>;tag=x"[..]));
        assert_eq!(message.to(), Some(&b"<sip:echo@192.0.2.9>"[..]));
        assert_eq!(message.contact(), Some(&b"<sip:a@192.0.2.1>"[..]));
        assert_eq!(message.user_agent(), Some(&b"phone 1.0"[..]));
        assert!(message.has_content_type("application/sdp"));
        let cseq = message.cseq().unwrap();
        assert_eq!((cseq.number, cseq.method), (7, Method::Invite));
        assert_eq!((message.max_forwards(), message.expires()), (Some(70), Some(120)));
        assert_eq!(message.content_length(), Some(5));
        assert_eq!(message.body(), b"v=0\r\n");
        assert_eq!(message.headers().count(), 12);
        assert_eq!(message.values(HeaderName::Subject).next(), Some(&b"\xFF\xFE"[..]));
        assert_eq!(message.check(), Ok(()));
    }

    #[test]
    fn a_response_is_read() {
        let message = SipMessage::parse(b"SIP/2.0 486 Busy here\nCSeq: 3 INVITE\n\n").unwrap();
        let expected = StartLine::Response { code: 486, reason: b"Busy here" };
        assert_eq!(message.start_line(), expected);
        assert_eq!(message.method(), Some(Method::Invite));
        for (line, reason) in [(&b"SIP/2.0 100 "[..], &b""[..]), (b"sip/2.0  100", b"")] {
            let expected = StartLine::Response { code: 100, reason };
            assert_eq!(SipMessage::parse(line).unwrap().start_line(), expected);
        }
    }

    #[test]
    fn what_is_cut_off_is_salvaged() {
        let full = SipMessage::parse(INVITE).unwrap();
        for end in 150..INVITE.len() {
            let cut = SipMessage::parse(&INVITE[..end]).unwrap();
            assert_eq!(cut.start_line(), full.start_line());
            assert_eq!(cut.via(), full.via(), "{end}");
        }
    }

    #[test]
    fn what_is_not_sip_is_named() {
        let error = |bytes: &[u8]| SipMessage::parse(bytes).unwrap_err();
        assert_eq!(error(b""), SipError::Empty);
        assert_eq!(error(b"\r\n\r\n"), SipError::Empty);
        assert_eq!(error(b"GET / HTTP/1.1\r\n\r\n"), SipError::NotSip);
        assert_eq!(error(b"INVITE sip:a@b\r\n\r\n"), SipError::NotSip);
        assert_eq!(error(b"INVITE SIP/2.0\r\n\r\n"), SipError::NotSip);
        assert_eq!(error(b"SIP/2.0 4294967301 x\r\n\r\n"), SipError::StatusCode);
        assert_eq!(error(b"SIP/2.0 OK\r\n\r\n"), SipError::StatusCode);
        let mut long = b"OPTIONS sip:a@b SIP/2.0\r\nX: ".to_vec();
        long.resize(long.len() + HEADER_LEN_MAX, b'x');
        let len = long.len() - 25;
        assert_eq!(error(&long), SipError::HeaderTooLong { len });
        let many = b"OPTIONS sip:a@b SIP/2.0\r\n".to_vec();
        let many = [&many[..], &b"a: b\r\n".repeat(HEADERS_MAX + 1)].concat();
        assert_eq!(error(&many), SipError::TooManyHeaders);
        assert!(SipMessage::parse(&many[..many.len() - 6]).is_ok());
    }
}
