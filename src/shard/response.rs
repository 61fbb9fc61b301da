//! SIP messages as they are written: responses to a request, and the BYE of a dialog.
//!
//! Only bytes: whoever calls decides what is said and to whom.

use std::{borrow::Cow, net::SocketAddr};

use super::dialog::{Dialog, Text};
use crate::wire::{
    Datagram, Transport,
    put::{Hex, put},
    sip::{HeaderName, NameAddr, SipMessage, StartLine, Uri, elements},
};

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
    pub(crate) const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    pub(crate) const INTERVAL_TOO_SMALL: Self = Self(422);
    pub(crate) const INTERVAL_TOO_BRIEF: Self = Self(423);
    pub(crate) const TEMPORARILY_UNAVAILABLE: Self = Self(480);
    pub(crate) const CALL_DOES_NOT_EXIST: Self = Self(481);
    pub(crate) const LOOP_DETECTED: Self = Self(482);
    pub(crate) const REQUEST_TERMINATED: Self = Self(487);
    pub(crate) const NOT_ACCEPTABLE_HERE: Self = Self(488);
    pub(crate) const BAD_EVENT: Self = Self(489);
    pub(crate) const REQUEST_PENDING: Self = Self(491);
    pub(crate) const SERVER_INTERNAL_ERROR: Self = Self(500);
    pub(crate) const NOT_IMPLEMENTED: Self = Self(501);
    pub(crate) const SERVICE_UNAVAILABLE: Self = Self(503);
    pub(crate) const SERVER_TIMEOUT: Self = Self(504);
    pub(crate) const DECLINE: Self = Self(603);

    /// Appends the status line with its line end.
    pub(crate) fn write_line(self, out: &mut Vec<u8>) {
        put!(out, "SIP/2.0 ", self.0, " ", self.reason(), "\r\n");
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
            422 => "Session Interval Too Small",
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

/// Our address, as Contact names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contact {
    pub(crate) address: SocketAddr,
    /// What the next request shall be carried by.
    pub(crate) transport: Transport,
}

impl Contact {
    /// Appends its URI. A call to a SIPS URI stays with SIPS (RFC 3261 section 12.1.1), which
    /// implies its transport.
    fn write(self, out: &mut Vec<u8>, is_sips: bool) {
        let scheme = if is_sips { "sips" } else { "sip" };
        let parameter = match self.transport {
            Transport::Udp => "",
            Transport::Tls if is_sips => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        put!(out, "<", scheme, ":voxplane@", self.address, parameter, ">");
    }
}

/// What a response has besides what it copies from its request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Content<'a> {
    /// Our tag for the To header, if the request has none there.
    pub(crate) to_tag: Option<u64>,
    /// The address that Contact shall carry.
    pub(crate) contact: Option<Contact>,
    /// Copy Record-Route: the response makes a dialog.
    pub(crate) makes_dialog: bool,
    /// Tell what is understood here: Allow and Supported.
    pub(crate) capabilities: bool,
    /// More header lines, each with its line end.
    pub(crate) headers: &'a str,
    /// Header lines that tell the contacts of a user, each with its line end.
    pub(crate) bindings: &'a [u8],
    /// An SDP body.
    pub(crate) sdp: &'a [u8],
}

/// Appends the response to a request that came from `source` (RFC 3261 section 8.2.6), or nothing
/// if it cannot be had in `allowance` bytes, even without what nobody has to be told.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    allowance: usize,
    request: &SipMessage<'_>,
    source: SocketAddr,
    status: Status,
    content: &Content<'_>,
) {
    let start = out.len();
    for is_brief in [false, true] {
        write_whole(out, request, source, status, content, is_brief);
        if out.len() - start <= allowance {
            return;
        }
        out.truncate(start);
    }
}

fn write_whole(
    out: &mut Vec<u8>,
    request: &SipMessage<'_>,
    source: SocketAddr,
    status: Status,
    content: &Content<'_>,
    is_brief: bool,
) {
    status.write_line(out);
    let names = if request.is_compact() { &COMPACT } else { &LONG };
    write_vias(out, request, source, names.via);
    if content.makes_dialog {
        for route in request.values(HeaderName::RecordRoute) {
            header(out, "Record-Route: ", route);
        }
    }
    if let Some(from) = request.from() {
        header(out, names.from, from);
    }
    if let Some(to) = request.to() {
        put!(out, names.to);
        write_to(out, to, content.to_tag);
        put!(out, "\r\n");
    }
    if let Some(call_id) = request.call_id() {
        header(out, names.call_id, call_id);
    }
    write_cseq(out, request);
    if let Some(contact) = content.contact {
        put!(out, names.contact);
        contact.write(out, request.is_to_sips());
        put!(out, "\r\n");
    }
    put!(out, content.bindings);
    if content.capabilities && !is_brief {
        put!(out, ALLOW, SUPPORTED);
    }
    put!(out, content.headers);
    if !is_brief {
        put!(out, SERVER);
    }
    write_body(out, content.sdp, names);
}

/// The `CSeq` as it came; where it lacks its method, with that of the request.
fn write_cseq(out: &mut Vec<u8>, request: &SipMessage<'_>) {
    let Some(value) = request.values(HeaderName::CSeq).next() else { return };
    let lacks_method = request.cseq().is_some_and(|cseq| cseq.method_text.is_empty());
    match request.start_line() {
        StartLine::Request { method_text, .. } if lacks_method => {
            put!(out, "CSeq: ", value, " ", method_text, "\r\n");
        }
        _ => header(out, "CSeq: ", value),
    }
}

/// Appends a To value, with `tag` if the far end has not given one.
pub(crate) fn write_to(out: &mut Vec<u8>, to: &[u8], tag: Option<u64>) {
    put!(out, to);
    if let Some(tag) = tag {
        put!(out, ";tag=", Hex(tag));
    }
}

/// Appends a BYE within a dialog (RFC 3261 section 12.2.1.1).
pub(crate) fn write_bye(out: &mut Vec<u8>, dialog: &Dialog, local: SocketAddr, branch: u64) {
    let texts = &dialog.texts;
    let (uri, route) = routed(texts.get(Text::Target), texts.get(Text::Route));
    put!(out, "BYE ", uri, " SIP/2.0\r\n");
    put!(out, "Via: SIP/2.0/", dialog.transport.name(), " ", local);
    put!(out, ";rport;branch=", COOKIE, Hex(branch), "\r\n");
    if !route.is_empty() {
        header(out, "Route: ", &route);
    }
    header(out, LONG.from, texts.get(Text::Local));
    header(out, LONG.to, texts.get(Text::Remote));
    header(out, LONG.call_id, texts.get(Text::CallId));
    put!(out, "CSeq: ", dialog.local_cseq, " BYE\r\nMax-Forwards: 70\r\n", USER_AGENT);
    write_body(out, b"", &LONG);
}

/// Request-URI and Route of a request within a dialog (RFC 3261 section 12.2.1.1): a first hop
/// that does not know loose routing is the Request-URI itself, and the target comes last.
fn routed<'a>(target: &'a [u8], route: &'a [u8]) -> (&'a [u8], Cow<'a, [u8]>) {
    let mut hops = elements(route);
    let Some(first) = hops.next().map(NameAddr::parse) else { return (target, route.into()) };
    let is_sound = !first.uri.is_empty() && first.uri.iter().all(u8::is_ascii_graphic);
    if Uri::parse(first.uri).param("lr").is_some() || !is_sound {
        return (target, route.into());
    }
    let target_hop = [b"<", target, b">"].concat();
    let hops: Vec<_> = hops.chain([&*target_hop]).collect();
    (first.uri, hops.join(&b", "[..]).into())
}

/// Where a response goes (RFC 3261 section 18.2.2, RFC 3581): always to the address that the
/// request came from, to the port that it came from if it asks so, else to the one in its Via.
/// Over a stream it is the other end of the connection, whatever the Via says.
pub(crate) fn response_address(request: &SipMessage<'_>, datagram: &Datagram<'_>) -> SocketAddr {
    let source = datagram.src;
    match request.via().filter(|_| !datagram.transport.is_stream()) {
        // Nothing can be sent to port 0.
        Some(via) if via.rport.is_none() && via.port != Some(0) => {
            SocketAddr::new(source.ip(), via.port.unwrap_or(DEFAULT_PORT))
        }
        _ => source,
    }
}

/// The Vias, all of them, the first one with the source filled in.
fn write_vias(out: &mut Vec<u8>, request: &SipMessage<'_>, source: SocketAddr, name: &str) {
    for (index, value) in request.values(HeaderName::Via).enumerate() {
        put!(out, name);
        match request.via().filter(|_| index == 0) {
            Some(via) => {
                via.write_with_source(out, source);
                // What follows the first of several values in one header.
                put!(out, value.get(via.text.len()..).unwrap_or_default());
            }
            None => put!(out, value),
        }
        put!(out, "\r\n");
    }
}

/// A header that tells people what is wrong (RFC 3261 section 20.43: 399, miscellaneous).
pub(crate) fn warning(what: &impl core::fmt::Display) -> String {
    format!("Warning: 399 voxplane \"{what}\"\r\n")
}

fn write_body(out: &mut Vec<u8>, sdp: &[u8], names: &Names) {
    if !sdp.is_empty() {
        header(out, names.content_type, b"application/sdp");
    }
    put!(out, names.content_length, sdp.len(), "\r\n\r\n", sdp);
}

fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put!(out, name, value, "\r\n");
}

/// The methods that are handled, for Allow (RFC 3261 section 20.5).
pub(crate) const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, \
    PRACK, UPDATE, MESSAGE, PUBLISH\r\n";

/// The extensions that are known, for Supported (RFC 3261 section 20.37).
const SUPPORTED: &str = "Supported: 100rel, timer\r\n";

/// The names of headers that have a compact form (RFC 3261 section 7.3.3), as they begin a line.
#[derive(Debug)]
struct Names {
    via: &'static str,
    from: &'static str,
    to: &'static str,
    call_id: &'static str,
    contact: &'static str,
    content_type: &'static str,
    content_length: &'static str,
}

const LONG: Names = Names {
    via: "Via: ",
    from: "From: ",
    to: "To: ",
    call_id: "Call-ID: ",
    contact: "Contact: ",
    content_type: "Content-Type: ",
    content_length: "Content-Length: ",
};

const COMPACT: Names = Names {
    via: "v: ",
    from: "f: ",
    to: "t: ",
    call_id: "i: ",
    contact: "m: ",
    content_type: "c: ",
    content_length: "l: ",
};

const SERVER: &str = concat!("Server: voxplane/", env!("CARGO_PKG_VERSION"), "\r\n");
const USER_AGENT: &str = concat!("User-Agent: voxplane/", env!("CARGO_PKG_VERSION"), "\r\n");

/// The start of every branch that is unique (RFC 3261 section 8.1.1.7).
const COOKIE: &str = "z9hG4bK";

/// SIP over UDP where nothing else is said (RFC 3261 section 19.1.2).
const DEFAULT_PORT: u16 = 5060;
