//! The SIP messages that a caller writes, built with rsip.
//!
//! It keeps no state beyond the names of the call: what is sent when is `uac`'s business.

use std::net::SocketAddr;

use rsip::{
    Header, Headers, Host, Method, Param, Request, Response, Scheme, StatusCode, Transport, Uri,
    Version, headers as untyped, prelude::UntypedHeader, typed,
};
use voxplane::wire::sip::{HeaderName, NameAddr, SipMessage, elements};

/// The names of one call, from which all of its requests are built.
#[derive(Clone, Debug)]
pub struct Names {
    /// The Call-ID.
    pub call_id: String,
    /// Our tag in From; the Via branches are made from it.
    pub from_tag: String,
    /// Whom to call, without `sip:`.
    pub callee: Callee,
    /// The address of our SIP socket.
    pub local: SocketAddr,
}

/// User, host and port of the Request-URI.
#[derive(Clone, Debug)]
pub struct Callee {
    /// User part.
    pub user: String,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What the 2xx to an INVITE says about where the dialog goes on (RFC 3261 section 12.1.2).
#[derive(Clone, Debug)]
pub struct Dialog {
    /// The To header with the far end's tag.
    to: String,
    /// The URI of the far end's Contact.
    remote_target: String,
    /// The route set, nearest proxy first.
    routes: Vec<String>,
}

impl Dialog {
    /// Reads the dialog out of a 2xx; what it leaves out falls back to what was called.
    #[must_use]
    pub fn from_response(response: &SipMessage<'_>, callee: &Callee) -> Self {
        let contact = response.contact().and_then(|list| elements(list).next());
        let uri = contact.map(|one| NameAddr::parse(one).uri).filter(|uri| !uri.is_empty());
        let records = response.values(HeaderName::RecordRoute);
        let mut routes: Vec<_> = records.flat_map(elements).map(text).collect();
        routes.reverse();
        Self {
            to: response.to().map_or_else(|| format!("<{}>", callee.uri()), text),
            remote_target: uri.map_or_else(|| callee.uri().to_string(), text),
            routes,
        }
    }
}

impl Callee {
    fn uri(&self) -> Uri {
        let host = if self.host.contains(':') {
            // rsip writes an IPv6 address without the brackets that a port needs.
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        Uri {
            scheme: Some(Scheme::Sip),
            auth: Some((self.user.as_str(), None::<String>).into()),
            host_with_port: (Host::Domain(host.into()), self.port).into(),
            ..Uri::default()
        }
    }
}

impl Names {
    /// The INVITE with an SDP offer.
    #[must_use]
    pub fn invite(&self, offer: &str) -> Vec<u8> {
        let to = format!("<{}>", self.callee.uri());
        let mut headers = self.headers(Method::Invite, Sequence::Invite, &to);
        headers.push(self.contact());
        headers.push(untyped::Allow::new(ALLOWED).into());
        headers.push(untyped::ContentType::new("application/sdp").into());
        finish(Method::Invite, self.callee.uri(), headers, offer)
    }

    /// The ACK to a final response other than 2xx: part of the INVITE's transaction (RFC 3261
    /// section 17.1.1.3).
    #[must_use]
    pub fn ack_rejection(&self, response: &SipMessage<'_>) -> Vec<u8> {
        let to = response.to().map_or_else(|| format!("<{}>", self.callee.uri()), text);
        let headers = self.headers(Method::Ack, Sequence::Invite, &to);
        finish(Method::Ack, self.callee.uri(), headers, "")
    }

    /// The ACK to a 2xx: a transaction of its own (RFC 3261 section 13.2.2.4).
    #[must_use]
    pub fn ack(&self, dialog: &Dialog) -> Vec<u8> {
        self.in_dialog(Method::Ack, Sequence::Ack, dialog)
    }

    /// The BYE.
    #[must_use]
    pub fn bye(&self, dialog: &Dialog) -> Vec<u8> {
        self.in_dialog(Method::Bye, Sequence::Bye, dialog)
    }

    /// The CANCEL of the INVITE, with its branch and without To tag (RFC 3261 section 9.1).
    #[must_use]
    pub fn cancel(&self) -> Vec<u8> {
        let to = format!("<{}>", self.callee.uri());
        let headers = self.headers(Method::Cancel, Sequence::Invite, &to);
        finish(Method::Cancel, self.callee.uri(), headers, "")
    }

    /// The Via branch of a transaction.
    #[must_use]
    pub fn branch(&self, sequence: Sequence) -> String {
        format!("{MAGIC_COOKIE}{}-{}", self.from_tag, sequence as u8)
    }

    fn in_dialog(&self, method: Method, sequence: Sequence, dialog: &Dialog) -> Vec<u8> {
        let mut headers = self.headers(method, sequence, &dialog.to);
        for route in &dialog.routes {
            headers.push(untyped::Route::new(route).into());
        }
        // The far end's URI goes back as it came: rsip would take apart, and lose, what it does
        // not know.
        let verbatim = Host::Domain(dialog.remote_target.as_str().into());
        finish(method, Uri { host_with_port: verbatim.into(), ..Uri::default() }, headers, "")
    }

    fn headers(&self, method: Method, sequence: Sequence, to: &str) -> Headers {
        let mut headers = Headers::default();
        let branch = Param::Branch(self.branch(sequence).into());
        // RFC 3581: the response comes back to the port we sent from.
        let rport = Param::Other("rport".into(), None);
        let via = typed::Via {
            version: Version::V2,
            transport: Transport::Udp,
            uri: Uri { host_with_port: self.sent_by(), ..Uri::default() },
            params: vec![branch, rport],
        };
        headers.push(via.into());
        headers.push(untyped::MaxForwards::default().into());
        let from = typed::From {
            display_name: None,
            uri: self.own_uri(),
            params: vec![Param::Tag(self.from_tag.as_str().into())],
        };
        headers.push(from.into());
        headers.push(untyped::To::new(to).into());
        headers.push(untyped::CallId::new(self.call_id.as_str()).into());
        let number = if matches!(sequence, Sequence::Bye) { 2 } else { 1 };
        headers.push(typed::CSeq { seq: number, method }.into());
        headers.push(untyped::UserAgent::new(USER_AGENT).into());
        headers
    }

    fn contact(&self) -> Header {
        typed::Contact { display_name: None, uri: self.own_uri(), params: vec![] }.into()
    }

    fn own_uri(&self) -> Uri {
        Uri {
            scheme: Some(Scheme::Sip),
            auth: Some((OWN_USER, None::<String>).into()),
            host_with_port: self.sent_by(),
            ..Uri::default()
        }
    }

    fn sent_by(&self) -> rsip::HostWithPort {
        let host = match self.local {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        (Host::Domain(host.into()), self.local.port()).into()
    }
}

/// The transactions of a call, each with a Via branch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// INVITE, its CANCEL, and the ACK to its rejection.
    Invite = 1,
    /// The ACK to a 2xx.
    Ack = 2,
    /// BYE.
    Bye = 3,
}

/// The response to a request of the far end; what a response must repeat is repeated (RFC 3261
/// section 8.2.6.2).
#[must_use]
pub fn response_to(request: &SipMessage<'_>, status: u16) -> Vec<u8> {
    let mut headers = Headers::default();
    for via in request.values(HeaderName::Via) {
        headers.push(untyped::Via::new(text(via)).into());
    }
    let from = request.from().map(|value| untyped::From::new(text(value)).into());
    let to = request.to().map(|value| untyped::To::new(text(value)).into());
    let call_id = request.call_id().map(|value| untyped::CallId::new(text(value)).into());
    let cseq = request.values(HeaderName::CSeq).next();
    let cseq = cseq.map(|value| untyped::CSeq::new(text(value)).into());
    for header in [from, to, call_id, cseq].into_iter().flatten() {
        headers.push(header);
    }
    headers.push(untyped::ContentLength::default().into());
    let status_code = StatusCode::from(status);
    Response { status_code, version: Version::V2, headers, body: vec![] }.to_string().into_bytes()
}

fn finish(method: Method, uri: Uri, mut headers: Headers, body: &str) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    headers.push(untyped::ContentLength::from(len).into());
    let body = body.as_bytes().to_vec();
    Request { method, uri, version: Version::V2, headers, body }.to_string().into_bytes()
}

/// A header value as text, folds undone: it goes out on one line.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).replace(['\r', '\n'], " ")
}

/// RFC 3261 section 8.1.1.7: marks a branch as unique.
const MAGIC_COOKIE: &str = "z9hG4bK";
const OWN_USER: &str = "loadgen";
const USER_AGENT: &str = concat!("voxplane-loadgen/", env!("CARGO_PKG_VERSION"));
const ALLOWED: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS";
