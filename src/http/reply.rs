//! An answer before it is bytes: status, headers, body. It knows no route and no connection.

use std::{borrow::Cow, fmt, io::Read};

use serde::Serialize;
use serde_json::json;

use crate::json;

/// An answer to a request.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    /// HTTP status code.
    pub(super) status: u16,
    /// Media type of the body; where there is none, nothing.
    pub(super) content_type: &'static str,
    /// Headers that this answer has beside the usual ones.
    pub(super) headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body, or what comes before what is streamed.
    pub(super) body: Vec<u8>,
    /// The rest of a body that is too long to be held.
    pub(super) stream: Option<Stream>,
}

/// A body that is made while it is sent.
pub(super) struct Stream(pub(super) Box<dyn Read + Send>);

impl PartialEq for Stream {
    /// What is not made yet is like nothing.
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl Reply {
    /// 200 with `value` as JSON.
    pub(super) fn json<T: Serialize>(value: &T) -> Self {
        let mut body = Vec::new();
        match json::write(&mut body, value) {
            Ok(()) => Self::new(200, JSON, body),
            Err(error) => Self::error(500, &format!("the answer is no JSON: {error}")),
        }
    }

    /// 200 with a text that is JSON already.
    pub(super) fn json_text(text: String) -> Self {
        Self::new(200, JSON, text.into_bytes())
    }

    /// 200 with text of the given media type.
    pub(super) fn text(content_type: &'static str, text: String) -> Self {
        Self::new(200, content_type, text.into_bytes())
    }

    /// 200 with a body that is made while it is sent.
    pub(super) fn streamed(content_type: &'static str, body: impl Read + Send + 'static) -> Self {
        let stream = Some(Stream(Box::new(body)));
        Self { stream, ..Self::new(200, content_type, Vec::new()) }
    }

    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, headers: Vec::new(), body, stream: None }
    }

    /// An error: `{"error":{"code","message"}}`.
    pub(super) fn error(status: u16, message: &str) -> Self {
        let code = name(status).1;
        let body = json!({"error": {"code": code, "message": message}}).to_string();
        Self::new(status, JSON, body.into_bytes())
    }

    /// 204: nothing is to be said but what headers say.
    pub(super) fn empty() -> Self {
        Self::new(204, "", Vec::new())
    }

    /// Whether the body is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.content_type == JSON
    }

    /// Whether its status forbids a body, and with it a type and a length that would be of another
    /// one (RFC 9110 sections 8.6, 15.3.5 and 15.4.5).
    pub(super) const fn has_no_body(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// The same with one more header.
    pub(super) fn with_header(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The whole message.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self { status, content_type, body, .. } = self;
        let mut head = format!("HTTP/1.1 {status} {}\r\n", name(*status).0);
        if !self.has_no_body() {
            let len = body.len();
            head += &format!("Content-Type: {content_type}\r\nContent-Length: {len}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        [head.as_bytes(), if self.has_no_body() { b"" } else { body }].concat()
    }
}

/// Reason phrase (RFC 9110 section 15) and the error code that the API gives a status.
const fn name(status: u16) -> (&'static str, &'static str) {
    match status {
        200 => ("OK", "ok"),
        204 => ("No Content", "ok"),
        304 => ("Not Modified", "ok"),
        400 => ("Bad Request", "bad_request"),
        401 => ("Unauthorized", "unauthorized"),
        403 => ("Forbidden", "forbidden"),
        404 => ("Not Found", "not_found"),
        405 => ("Method Not Allowed", "method_not_allowed"),
        408 => ("Request Timeout", "request_timeout"),
        411 => ("Length Required", "length_required"),
        413 => ("Content Too Large", "content_too_large"),
        417 => ("Expectation Failed", "expectation_failed"),
        429 => ("Too Many Requests", "too_many_requests"),
        431 => ("Request Header Fields Too Large", "header_fields_too_large"),
        503 => ("Service Unavailable", "unavailable"),
        505 => ("HTTP Version Not Supported", "http_version_not_supported"),
        _ => ("Internal Server Error", "internal"),
    }
}

/// Media type of every API answer.
const JSON: &str = "application/json";
