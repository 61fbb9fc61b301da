//! SIP messages as they are written: responses to a request, and the BYE of a dialog.
//!
//! Only bytes: whoever calls decides what is said and to whom.

use std::io::Write as _;
use std::net::SocketAddr;

use super::dialog::{Dialog, Text};
use crate::wire::sip::{HeaderName, SipMessage};

/// A status code with its reason phrase (RFC 3261 section 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16);

impl Status {
    pub(crate) const TRYING: Self = Self(100);
    pub(crate) const RINGING: Self = Self(180);
    pub(crate) const SESSION_PROGRESS: Self = Self(183);
    pub(crate) const OK: Self = Self(200);
    pub(crate) const BAD_REQUEST: Self = Self(400);
    pub(crate) const UNAUTHORIZED: Self = Self(401);
    pub(crate) const FORBIDDEN: Self = Self(403);
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self(405);
    pub(crate) const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    pub(crate) const INTERVAL_TOO_BRIEF: Self = Self(423);
    pub(crate) const TEMPORARILY_UNAVAILABLE: Self = Self(480);
    pub(crate) const CALL_DOES_NOT_EXIST: Self = Self(481);
    pub(crate) const REQUEST_TERMINATED: Self = Self(487);
    pub(crate) const NOT_ACCEPTABLE_HERE: Self = Self(488);
    pub(crate) const BAD_EVENT: Self = Self(489);
    pub(crate) const SERVER_INTERNAL_ERROR: Self = Self(500);
    pub(crate) const NOT_IMPLEMENTED: Self = Self(501);
    pub(crate) const SERVICE_UNAVAILABLE: Self = Self(503);

    /// The status line with its line end.
    pub(crate) fn line(self) -> String {
        format!("SIP/2.0 {} {}\r\n", self.0, self.reason())
    }

    const fn reason(self) -> &'static str {
        match self.0 {
            100 => "Trying",
            180 => "Ringing",
            183 => "Session Progress",
            200 => "OK",
            300 => "Multiple Choices",
            301 => "Moved Permanently",
            302 => "Moved Temporarily",
            305 => "Use Proxy",
            380 => "Alternative Service",
            400 => "Bad Request",
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            410 => "Gone",
            413 => "Request Entity Too Large",
            414 => "Request-URI Too Long",
            415 => "Unsupported Media Type",
            416 => "Unsupported URI Scheme",
            420 => "Bad Extension",
            421 => "Extension Required",
            423 => "Interval Too Brief",
            480 => "Temporarily Unavailable",
            481 => "Call/Transaction Does Not Exist",
            482 => "Loop Detected",
            483 => "Too Many Hops",
            484 => "Address Incomplete",
            485 => "Ambiguous",
            486 => "Busy Here",
            487 => "Request Terminated",
            488 => "Not Acceptable Here",
            489 => "Bad Event",
            491 => "Request Pending",
            493 => "Undecipherable",
            500 => "Server Internal Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Server Time-out",
            505 => "Version Not Supported",
            513 => "Message Too Large",
            600 => "Busy Everywhere",
            603 => "Decline",
            604 => "Does Not Exist Anywhere",
            606 => "Not Acceptable",
            _ => "Unspecified",
        }
    }
}

/// What a response has besides what it copies from its request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Content<'a> {
    /// Our tag for the To header, if the request has none there.
    pub(crate) to_tag: Option<u64>,
    /// The address that Contact shall carry.
    pub(crate) contact: Option<SocketAddr>,
    /// Copy Record-Route: the response makes a dialog.
    pub(crate) makes_dialog: bool,
    /// More header lines, each with its line end.
    pub(crate) headers: &'a str,
    /// Header lines that tell the contacts of a user, each with its line end.
    pub(crate) bindings: &'a [u8],
    /// An SDP body.
    pub(crate) sdp: &'a [u8],
}

/// Appends the response to a request that came from `source` (RFC 3261 section 8.2.6).
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    request: &SipMessage<'_>,
    source: SocketAddr,
    status: Status,
    content: &Content<'_>,
) {
    let _ = write!(out, "SIP/2.0 {} {}\r\n", status.0, status.reason());
    write_vias(out, request, source);
    if content.makes_dialog {
        for route in request.values(HeaderName::RecordRoute) {
            header(out, "Record-Route", route);
        }
    }
    if let Some(from) = request.from() {
        header(out, "From", from);
    }
    if let Some(to) = request.to() {
        out.extend_from_slice(b"To: ");
        write_to(out, to, content.to_tag);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(call_id) = request.call_id() {
        header(out, "Call-ID", call_id);
    }
    if let Some(cseq) = request.values(HeaderName::CSeq).next() {
        header(out, "CSeq", cseq);
    }
    if let Some(address) = content.contact {
        let _ = write!(out, "Contact: <sip:voxplane@{address}>\r\n");
    }
    out.extend_from_slice(content.bindings);
    out.extend_from_slice(content.headers.as_bytes());
    out.extend_from_slice(SERVER.as_bytes());
    write_body(out, content.sdp);
}

/// A response with another status.
pub(crate) fn with_status(response: &[u8], status: Status) -> Vec<u8> {
    let end = memchr::memchr(b'\n', response).map_or(0, |at| at + 1);
    [status.line().as_bytes(), &response[end..]].concat()
}

/// Appends a To value, with `tag` if the far end has not given one.
pub(crate) fn write_to(out: &mut Vec<u8>, to: &[u8], tag: Option<u64>) {
    out.extend_from_slice(to);
    if let Some(tag) = tag {
        let _ = write!(out, ";tag={tag:016x}");
    }
}

/// Appends a BYE within a dialog (RFC 3261 section 12.2.1.1).
pub(crate) fn write_bye(out: &mut Vec<u8>, dialog: &Dialog, local: SocketAddr, branch: u64) {
    let texts = &dialog.texts;
    out.extend_from_slice(b"BYE ");
    out.extend_from_slice(texts.get(Text::Target));
    out.extend_from_slice(b" SIP/2.0\r\n");
    let _ = write!(out, "Via: SIP/2.0/UDP {local};rport;branch={COOKIE}{branch:016x}\r\n");
    if !texts.get(Text::Route).is_empty() {
        header(out, "Route", texts.get(Text::Route));
    }
    header(out, "From", texts.get(Text::Local));
    header(out, "To", texts.get(Text::Remote));
    header(out, "Call-ID", texts.get(Text::CallId));
    let _ = write!(out, "CSeq: {} BYE\r\nMax-Forwards: 70\r\n", dialog.local_cseq);
    out.extend_from_slice(USER_AGENT.as_bytes());
    write_body(out, b"");
}

/// Where a response goes (RFC 3261 section 18.2.2, RFC 3581): always to the address that the
/// request came from, to the port that it came from if it asks so, else to the one in its Via.
pub(crate) fn response_address(request: &SipMessage<'_>, source: SocketAddr) -> SocketAddr {
    match request.via() {
        // Nothing can be sent to port 0.
        Some(via) if via.rport.is_none() && via.port != Some(0) => {
            SocketAddr::new(source.ip(), via.port.unwrap_or(DEFAULT_PORT))
        }
        _ => source,
    }
}

/// The Vias, all of them, the first one with the source filled in.
fn write_vias(out: &mut Vec<u8>, request: &SipMessage<'_>, source: SocketAddr) {
    for (index, value) in request.values(HeaderName::Via).enumerate() {
        out.extend_from_slice(b"Via: ");
        match request.via().filter(|_| index == 0) {
            Some(via) => {
                via.write_with_source(out, source);
                // What follows the first of several values in one header.
                out.extend_from_slice(value.get(via.text.len()..).unwrap_or_default());
            }
            None => out.extend_from_slice(value),
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn write_body(out: &mut Vec<u8>, sdp: &[u8]) {
    if !sdp.is_empty() {
        out.extend_from_slice(b"Content-Type: application/sdp\r\n");
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n", sdp.len());
    out.extend_from_slice(sdp);
}

fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The methods that are handled, for Allow (RFC 3261 section 20.5).
pub(crate) const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO\r\n";

const SERVER: &str = concat!("Server: voxplane/", env!("CARGO_PKG_VERSION"), "\r\n");
const USER_AGENT: &str = concat!("User-Agent: voxplane/", env!("CARGO_PKG_VERSION"), "\r\n");

/// The start of every branch that is unique (RFC 3261 section 8.1.1.7).
const COOKIE: &str = "z9hG4bK";

/// SIP over UDP where nothing else is said (RFC 3261 section 19.1.2).
const DEFAULT_PORT: u16 = 5060;
