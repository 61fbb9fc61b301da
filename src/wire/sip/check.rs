//! What a strict user agent server refuses a message for, and with which status.
//!
//! Never changes how a message reads.

use memchr::{memchr, memchr2};

use super::{
    HeaderName, Method, NameAddr, SipMessage, StartLine, Uri,
    multipart::is_multipart,
    scan::{elements, quoted_len},
};
use crate::wire::text::{decimal, split_at_byte};

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The To of a registration is no SIP address (RFC 3261 section 10.3).
    #[error("To is no SIP address")]
    AddressOfRecord,
    /// Content-Length goes beyond the datagram (RFC 3261 section 18.3).
    #[error("Content-Length is {declared}, the body has {actual}")]
    ContentTooShort {
        /// What it says, in octets.
        declared: u32,
        /// What there is, in octets.
        actual: usize,
    },
    /// The body of an offer is of a type or in an encoding that is not SDP, or has a part that must
    /// be understood and is not.
    #[error("the body is not plain application/sdp")]
    ContentType,
    /// An extension is required that is not supported; [`SipMessage::unsupported`] names it.
    #[error("Require names an extension that is not supported")]
    Extension,
    /// A header's value is not as its grammar has it.
    #[error("malformed {}", .0.name().unwrap_or("header"))]
    Malformed(HeaderName),
    /// The method of `CSeq` is not that of the request.
    #[error("CSeq names another method")]
    MethodMismatch,
    /// A header that every message must have is missing.
    #[error("missing {}", .0.name().unwrap_or("header"))]
    Missing(HeaderName),
    /// A body of several parts has no boundary, or not the one that its type names (RFC 2046
    /// section 5.1).
    #[error("malformed multipart body")]
    Multipart,
    /// An INVITE accepts bodies, but none of SDP.
    #[error("Accept leaves application/sdp out")]
    NotAcceptable,
    /// A number is none, or out of the range that its header has.
    #[error("{} is no number of its range", .0.name().unwrap_or("header"))]
    Number(HeaderName),
    /// A quoted string is not closed.
    #[error("unterminated quote in {}", .0.name().unwrap_or("header"))]
    OpenQuote(HeaderName),
    /// A header that may stand once stands again.
    #[error("repeated {}", .0.name().unwrap_or("header"))]
    Repeated(HeaderName),
    /// The status code is beyond 699.
    #[error("status code {0}")]
    StatusCode(u16),
    /// The method of `CSeq` is not that of the request, which is of no known method.
    #[error("unknown method, and CSeq names another")]
    UnknownMethodMismatch,
    /// Angle brackets stand around the Request-URI.
    #[error("Request-URI in angle brackets")]
    UriBrackets,
    /// The Request-URI carries headers (RFC 3261 section 19.1.1).
    #[error("Request-URI with headers")]
    UriHeaders,
    /// Host or port of the Request-URI are malformed.
    #[error("malformed host or port in the Request-URI")]
    UriHost,
    /// The scheme of the Request-URI is neither `sip`, `sips` nor `tel`.
    #[error("Request-URI of an unsupported scheme")]
    UriScheme,
    /// Blanks stand within the Request-URI.
    #[error("blanks within the Request-URI")]
    UriSpaces,
    /// The version is not SIP/2.0.
    #[error("SIP version other than 2.0")]
    Version,
}

impl Defect {
    /// The status that refuses a request for it. A response with a defect is dropped.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NotAcceptable => 406,
            Self::ContentType => 415,
            Self::UriScheme => 416,
            Self::Extension => 420,
            Self::UnknownMethodMismatch => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}

pub(super) fn check(message: &SipMessage<'_>) -> Result<(), Defect> {
    if !message.version().eq_ignore_ascii_case(VERSION) {
        return Err(Defect::Version);
    }
    headers_present(message)?;
    numbers(message)?;
    addresses(message)?;
    match message.start_line() {
        StartLine::Request { method, method_text, uri } => {
            command_sequence(message, method, method_text)?;
            request_uri(uri)?;
            extensions(message, method)?;
            content(message, method)
        }
        StartLine::Response { code, .. } if code > STATUS_CODE_MAX => Err(Defect::StatusCode(code)),
        StartLine::Response { .. } => Ok(()),
    }
}

fn headers_present(message: &SipMessage<'_>) -> Result<(), Defect> {
    for name in MANDATORY {
        if message.first_of(name).is_none_or(<[u8]>::is_empty) {
            return Err(Defect::Missing(name));
        }
    }
    match SINGLE.into_iter().find(|&name| message.is_repeated(name)) {
        Some(name) => Err(Defect::Repeated(name)),
        None => Ok(()),
    }
}

fn numbers(message: &SipMessage<'_>) -> Result<(), Defect> {
    for (name, max) in [
        (HeaderName::MaxForwards, MAX_FORWARDS_MAX),
        (HeaderName::Expires, u32::MAX),
        (HeaderName::ContentLength, u32::MAX),
    ] {
        let Some(value) = message.first_of(name) else { continue };
        if decimal(value).is_none_or(|number: u32| number > max) {
            return Err(Defect::Number(name));
        }
    }
    if message.cseq().is_none_or(|cseq| cseq.number > CSEQ_MAX) {
        return Err(Defect::Number(HeaderName::CSeq));
    }
    match message.content_length() {
        Some(declared) if usize::try_from(declared).is_ok_and(|len| len > message.rest.len()) => {
            Err(Defect::ContentTooShort { declared, actual: message.rest.len() })
        }
        _ => Ok(()),
    }
}

fn addresses(message: &SipMessage<'_>) -> Result<(), Defect> {
    // Most messages have no quotes to look for.
    let has_quotes = memchr(b'"', message.head).is_some();
    let quotes_are_closed = |name, value: &[u8]| match has_quotes && has_open_quote(value) {
        true => Err(Defect::OpenQuote(name)),
        false => Ok(()),
    };
    let is_sound = |name, value: &[u8], address: NameAddr<'_>| {
        quotes_are_closed(name, value)?;
        if address.uri.is_empty() { Err(Defect::Malformed(name)) } else { Ok(()) }
    };
    for (name, party) in [(HeaderName::From, message.from), (HeaderName::To, message.to)] {
        let (value, party) = message.first_of(name).zip(party).ok_or(Defect::Missing(name))?;
        is_sound(name, value, party.address)?;
    }
    for value in message.values(HeaderName::Contact) {
        quotes_are_closed(HeaderName::Contact, value)?;
        for element in elements(value) {
            let contact = NameAddr::parse(element);
            is_sound(HeaderName::Contact, element, contact)?;
            if contact.param("expires").is_some_and(|text| decimal::<u32>(text).is_none()) {
                return Err(Defect::Number(HeaderName::Contact));
            }
        }
    }
    match message.via() {
        Some(via) if via.is_well_formed() => Ok(()),
        _ => Err(Defect::Malformed(HeaderName::Via)),
    }
}

/// A quote behind a backslash does not open a quoted string: some phones escape the quotes around
/// a display name.
fn has_open_quote(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some(found) = memchr2(b'"', b'\\', rest) {
        let inside = &rest[found + 1..];
        let len = if rest[found] == b'"' { quoted_len(inside) } else { Some(0) };
        let Some(len) = len else { return true };
        rest = inside.get(len + 1..).unwrap_or(&[]);
    }
    false
}

fn command_sequence(
    message: &SipMessage<'_>,
    method: Method,
    method_text: &[u8],
) -> Result<(), Defect> {
    match message.cseq() {
        // Who leaves the method out means that of the request.
        Some(cseq) if cseq.method_text.is_empty() || cseq.method_text == method_text => Ok(()),
        _ if method == Method::Other => Err(Defect::UnknownMethodMismatch),
        _ => Err(Defect::MethodMismatch),
    }
}

fn request_uri(text: &[u8]) -> Result<(), Defect> {
    if text.starts_with(b"<") {
        return Err(Defect::UriBrackets);
    }
    if text.iter().any(|&byte| matches!(byte, b' ' | b'\t')) {
        return Err(Defect::UriSpaces);
    }
    let uri = Uri::parse(text);
    if uri.scheme.eq_ignore_ascii_case(b"tel") {
        return Ok(());
    }
    if !uri.is_sip() {
        return Err(Defect::UriScheme);
    }
    if uri.headers.is_some() {
        return Err(Defect::UriHeaders);
    }
    if !uri.is_well_formed() {
        return Err(Defect::UriHost);
    }
    Ok(())
}

/// RFC 3261 section 8.2.2.3: Require is not looked at in ACK and CANCEL.
fn extensions(message: &SipMessage<'_>, method: Method) -> Result<(), Defect> {
    if method == Method::Register {
        let scheme = Uri::parse(message.to_uri());
        if !scheme.is_sip() && !scheme.scheme.eq_ignore_ascii_case(b"tel") {
            return Err(Defect::AddressOfRecord);
        }
    }
    if matches!(method, Method::Ack | Method::Cancel) {
        return Ok(());
    }
    match message.unsupported().next() {
        Some(_) => Err(Defect::Extension),
        None => Ok(()),
    }
}

/// The names of extensions that a message requires and that are not supported.
pub(super) fn unsupported<'a>(message: &SipMessage<'a>) -> impl Iterator<Item = &'a [u8]> {
    let required = message.values(HeaderName::Require).flat_map(elements);
    required
        .filter(|name| !SUPPORTED.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)))
}

/// An offer must come as SDP, alone or as a part among others, and its answer must be welcome as
/// SDP. Bodies of other methods are of no concern here.
fn content(message: &SipMessage<'_>, method: Method) -> Result<(), Defect> {
    if method != Method::Invite {
        return Ok(());
    }
    let is_encoded = message
        .values(HeaderName::ContentEncoding)
        .any(|value| !value.eq_ignore_ascii_case(b"identity"));
    // A description says itself what it is, if nothing else does.
    let is_sdp = match message.content_type() {
        Some(kind) if is_multipart(kind) => !message.description()?.is_empty(),
        Some(_) => message.has_content_type(SDP),
        None => message.body().trim_ascii_start().starts_with(b"v="),
    };
    if !message.body().trim_ascii().is_empty() && (is_encoded || !is_sdp) {
        return Err(Defect::ContentType);
    }
    let mut accepted = message.values(HeaderName::Accept).flat_map(elements).peekable();
    let is_any = accepted.peek().is_none();
    if is_any || accepted.any(accepts_sdp) { Ok(()) } else { Err(Defect::NotAcceptable) }
}

fn accepts_sdp(range: &[u8]) -> bool {
    let media = split_at_byte(range, b';').0.trim_ascii();
    [SDP, "application/*", "*/*"].iter().any(|known| media.eq_ignore_ascii_case(known.as_bytes()))
}

/// The extensions that may be required: reliable provisional responses (RFC 3262) and session
/// timers (RFC 4028).
const SUPPORTED: [&str; 2] = ["100rel", "timer"];
const VERSION: &[u8] = b"SIP/2.0";
const SDP: &str = "application/sdp";
/// RFC 3261 section 8.1.1, but for Max-Forwards, which RFC 2543 did not have.
const MANDATORY: [HeaderName; 5] =
    [HeaderName::Via, HeaderName::CallId, HeaderName::From, HeaderName::To, HeaderName::CSeq];
/// Headers with one value (RFC 3261 section 7.3.1).
const SINGLE: [HeaderName; 8] = [
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::From,
    HeaderName::To,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::Expires,
];
/// RFC 3261 section 8.1.1.5: less than 2^31.
const CSEQ_MAX: u32 = (1 << 31) - 1;
/// RFC 3261 section 20.22.
const MAX_FORWARDS_MAX: u32 = 255;
/// RFC 3261 section 7.2: the last class is 6xx.
const STATUS_CODE_MAX: u16 = 699;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\nCall-ID: 1\n\
        From: <sip:d@e>;tag=1\nTo: <sip:a@b>\nCSeq: 1 INVITE\nContact: <sip:d@c>\n\
        Content-Type: application/sdp\nContent-Length: 3\n\nv=0";

    /// The defect and status after one edit of a good message.
    fn after(from: &str, to: &str) -> Option<(Defect, u16)> {
        assert!(GOOD.contains(from), "{from}");
        let edited = GOOD.replacen(from, to, 1);
        let checked = SipMessage::parse(edited.as_bytes()).unwrap().check();
        checked.err().map(|defect| (defect, defect.status()))
    }

    #[test]
    fn start_lines() {
        assert_eq!(after("INVITE", "INVITE"), None);
        assert_eq!(after("SIP/2.0\n", "SIP/7.0\n"), Some((Defect::Version, 505)));
        assert_eq!(after("sip:a@b ", "<sip:a@b> "), Some((Defect::UriBrackets, 400)));
        assert_eq!(after("sip:a@b ", "sip:a@b; lr "), Some((Defect::UriSpaces, 400)));
        assert_eq!(after("sip:a@b ", "sip:a@b?Route=c "), Some((Defect::UriHeaders, 400)));
        assert_eq!(after("sip:a@b ", "sip:2001:db8::1 "), Some((Defect::UriHost, 400)));
        assert_eq!(after("sip:a@b ", "urn:service:sos "), Some((Defect::UriScheme, 416)));
        assert_eq!(after("sip:a@b ", "tel:+1555 "), None);
        assert_eq!(after("sip:a@b ", "  sip:a@b  "), None);
        assert_eq!(after("INVITE", "OPTIONS"), Some((Defect::MethodMismatch, 400)));
        assert_eq!(after("1 INVITE", "1"), None);
        assert_eq!(after("INVITE", "invite"), Some((Defect::UnknownMethodMismatch, 501)));
    }

    #[test]
    fn mandatory_and_single_headers() {
        for (line, name) in [
            ("Via: SIP/2.0/UDP c;branch=z9hG4bK1\n", HeaderName::Via),
            ("Call-ID: 1\n", HeaderName::CallId),
            ("From: <sip:d@e>;tag=1\n", HeaderName::From),
            ("To: <sip:a@b>\n", HeaderName::To),
            ("CSeq: 1 INVITE\n", HeaderName::CSeq),
        ] {
            assert_eq!(after(line, ""), Some((Defect::Missing(name), 400)));
            let twice = line.repeat(2);
            let expected = (name != HeaderName::Via).then_some((Defect::Repeated(name), 400));
            assert_eq!(after(line, &twice), expected);
        }
        let length = Some((Defect::Repeated(HeaderName::ContentLength), 400));
        assert_eq!(after("To:", "l: 3\nTo:"), length);
    }

    #[test]
    fn numbers_out_of_range() {
        let number = |name| Some((Defect::Number(name), 400));
        assert_eq!(after("CSeq: 1", "CSeq: 2147483648"), number(HeaderName::CSeq));
        assert_eq!(after("CSeq: 1", "CSeq: -1"), number(HeaderName::CSeq));
        assert_eq!(after("To:", "Max-Forwards: 256\nTo:"), number(HeaderName::MaxForwards));
        assert_eq!(after("To:", "Expires: 4294967296\nTo:"), number(HeaderName::Expires));
        assert_eq!(after("d@c>", "d@c>;expires=x"), number(HeaderName::Contact));
        assert_eq!(after("Length: 3", "Length: -3"), number(HeaderName::ContentLength));
        let short = Defect::ContentTooShort { declared: 4, actual: 3 };
        assert_eq!(after("Length: 3", "Length: 4"), Some((short, 400)));
    }

    #[test]
    fn addresses_and_bodies() {
        let quote = Defect::OpenQuote(HeaderName::To);
        assert_eq!(after("To: ", "To: \"x"), Some((quote, 400)));
        assert_eq!(after("To: ", "To: \\\"x\\\" "), None);
        let via = Some((Defect::Malformed(HeaderName::Via), 400));
        assert_eq!(after(";branch=z9hG4bK1", ";;,;,,"), via);
        assert_eq!(
            after("To: <sip:a@b>", "To: ;tag=1"),
            Some((Defect::Malformed(HeaderName::To), 400))
        );
        assert_eq!(after("To:", "Require: 100rel, Timer\nTo:"), None);
        assert_eq!(after("To:", "Require: 100rel, x\nTo:"), Some((Defect::Extension, 420)));
        assert_eq!(after("To:", "Accept: text/plain\nTo:"), Some((Defect::NotAcceptable, 406)));
        assert_eq!(after("To:", "Accept: text/plain, application/*;q=1\nTo:"), None);
        assert_eq!(after("application/sdp", "text/plain"), Some((Defect::ContentType, 415)));
        assert_eq!(after("Content-Type: application/sdp\n", ""), None);
        let multipart = |boundary| after("application/sdp", &format!("multipart/mixed{boundary}"));
        assert_eq!(multipart(""), Some((Defect::Multipart, 400)));
        assert_eq!(multipart(";boundary=x"), Some((Defect::Multipart, 400)));
        assert_eq!(after("To:", "e: gzip\nTo:"), Some((Defect::ContentType, 415)));
    }

    #[test]
    fn words_name_the_fault() {
        assert_eq!(Defect::Missing(HeaderName::CallId).to_string(), "missing Call-ID");
        assert_eq!(Defect::OpenQuote(HeaderName::To).to_string(), "unterminated quote in To");
    }
}
