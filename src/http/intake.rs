//! The bytes of a client on their way to a request: bounded, checked, written anew for the server
//! behind the door. It does no I/O and passes on no header as a client wrote it.

use std::sync::Arc;

use super::{
    form::Form,
    guard::{Visit, values},
    reply::Reply,
};

/// A request that is being received.
#[derive(Debug, Default)]
pub(super) struct Intake {
    buffer: Vec<u8>,
    /// Up to here there is no end of the head.
    scanned: usize,
    head: Option<Head>,
    asked: Asked,
}

/// What a request asks for; empty as long as that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// What its token is called.
    pub(super) token: Option<Arc<str>>,
}

impl Asked {
    /// The target without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What the head of a request says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// The head as it goes on.
    forward: Vec<u8>,
    /// Where the body starts.
    len: usize,
    content_length: usize,
}

impl Intake {
    /// Takes more bytes. Gives the request to pass on when it is complete; what comes after it is
    /// ignored, because a connection serves one request.
    ///
    /// # Errors
    ///
    /// The answer to a request that is not to be passed on.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<Option<Vec<u8>>, Reply> {
        self.buffer.extend_from_slice(bytes);
        if self.head.is_none() {
            self.head = self.take_head(visit)?;
        }
        let Some(head) = &self.head else { return Ok(None) };
        let Some(body) = self.buffer.get(head.len..head.len + head.content_length) else {
            return Ok(None);
        };
        Ok(Some([head.forward.as_slice(), body].concat()))
    }

    /// What it asks for, as far as that is known.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Whether nothing has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the head has come and the body has not.
    pub(super) fn awaits_body(&self) -> bool {
        self.head.is_some()
    }

    fn take_head(&mut self, visit: &mut Visit<'_>) -> Result<Option<Head>, Reply> {
        // RFC 9112 section 2.2: empty lines before the request line are ignored.
        if self.scanned == 0 {
            let blank = self.buffer.iter().take_while(|byte| b"\r\n".contains(byte)).count();
            self.buffer.drain(..blank);
        }
        if self.buffer.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
            return Err(Reply::error(400, "this is not HTTP"));
        }
        let end = head_end(&self.buffer, self.scanned);
        if end.unwrap_or(self.buffer.len()) > HEAD_MAX {
            return Err(Reply::error(431, "the request's head is longer than 16 KiB"));
        }
        // The end of the head is at most three bytes long; its first two may be here already.
        self.scanned = self.buffer.len().saturating_sub(2);
        end.map(|end| parse(&self.buffer[..end], visit, &mut self.asked)).transpose()
    }
}

/// Where the empty line that ends a head ends; bare line feeds count (RFC 9112 section 2.2).
fn head_end(buffer: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &buffer[from..]).find_map(|at| {
        let next = from + at + 1;
        match buffer.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

fn parse(bytes: &[u8], visit: &mut Visit<'_>, asked: &mut Asked) -> Result<Head, Reply> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Err(Reply::error(400, "the head ends too early")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Reply::error(431, "the request has more than 64 header fields"));
        }
        Err(httparse::Error::Version) => {
            return Err(Reply::error(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"));
        }
        Err(error) => return Err(Reply::error(400, &format!("the head is malformed: {error}"))),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Reply::error(400, "the request line is incomplete"));
    };
    method.clone_into(&mut asked.method);
    let content_length = body_length(request.headers)?;
    let hosts = values(request.headers, "Host").count();
    // RFC 9112 section 3.2
    if hosts > 1 || (hosts == 0 && minor == 1) {
        return Err(Reply::error(400, "HTTP/1.1 needs exactly one Host header"));
    }
    let target = origin_form(target)?;
    target.clone_into(&mut asked.target);
    visit.admit(asked, request.headers)?;
    let accepted = values(request.headers, "Accept-Encoding");
    let form = Form::of(accepted, values(request.headers, "If-None-Match")).fields();
    let forward = format!(
        "{method} {target} HTTP/1.1\r\nHost: voxplane\r\nConnection: close\r\n\
         Content-Length: {content_length}\r\n{form}\r\n"
    );
    Ok(Head { forward: forward.into_bytes(), len, content_length })
}

/// The length of the body (RFC 9112 section 6), which only one plain Content-Length can give.
fn body_length(headers: &[httparse::Header<'_>]) -> Result<usize, Reply> {
    let coded = values(headers, "Transfer-Encoding").next().is_some();
    let mut lengths = values(headers, "Content-Length");
    let length = match (lengths.next(), lengths.next()) {
        (None, _) if coded => {
            let message = "Transfer-Encoding is not accepted: send a Content-Length";
            return Err(Reply::error(411, message));
        }
        (None, _) => return Ok(0),
        (Some(_), None) if coded => {
            let message = "Content-Length and Transfer-Encoding exclude each other";
            return Err(Reply::error(400, message));
        }
        (Some(length), None) => length.trim_ascii(),
        (Some(_), Some(_)) => return Err(Reply::error(400, "Content-Length stands there twice")),
    };
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return Err(Reply::error(400, "Content-Length is not a number"));
    }
    if values(headers, "Expect").next().is_some() {
        return Err(Reply::error(417, "Expect is not supported: send the body at once"));
    }
    // Digits only, so that what does not parse is too large for its type.
    let text = core::str::from_utf8(length).unwrap_or_default();
    match text.parse::<usize>() {
        Ok(length) if length <= BODY_MAX => Ok(length),
        _ => Err(Reply::error(413, "the request's body is longer than 64 KiB")),
    }
}

/// Path and query of a target that is a path or a whole URI (RFC 9112 section 3.2).
fn origin_form(target: &str) -> Result<&str, Reply> {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(path)
    } else {
        Err(Reply::error(400, "the request target is not a path in ASCII"))
    }
}

/// Longest head of a request.
const HEAD_MAX: usize = 16 << 10;

/// Longest body of a request.
const BODY_MAX: usize = 64 << 10;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            clock,
            door::Shared,
            guard::{Guard, Limits},
            tokens::Tokens,
        },
        *,
    };

    /// A guard that asks for a token, or for none.
    fn guard(token: Option<&str>) -> Guard {
        let tokens = token.map(|token| Tokens::parse(token).unwrap());
        let shared = Shared { tokens, ..Shared::default() };
        Guard::new(&Limits::default(), shared.into())
    }

    fn push(
        intake: &mut Intake,
        bytes: &[u8],
        guard: &mut Guard,
    ) -> Result<Option<Vec<u8>>, Reply> {
        intake.push(bytes, &mut guard.visit([127, 0, 0, 1].into(), clock::now()))
    }

    fn take(bytes: &[u8]) -> Result<Option<Vec<u8>>, u16> {
        push(&mut Intake::default(), bytes, &mut guard(None)).map_err(|reply| reply.status)
    }

    fn post(headers: &str) -> Result<Option<Vec<u8>>, u16> {
        take(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes())
    }

    #[test]
    fn a_request_is_written_anew_and_the_rest_ignored() {
        let bytes =
            b"\r\nPOST /a?b=c HTTP/1.1\nhost: [::1]:80\r\ncontent-length: 2\r\nx-y: z\n\r\nhiGET";
        let forward = "POST /a?b=c HTTP/1.1\r\nHost: voxplane\r\nConnection: close\r\n\
                       Content-Length: 2\r\n\r\nhi";
        assert_eq!(take(bytes), Ok(Some(forward.as_bytes().to_vec())));
    }

    #[test]
    fn lengths_that_deceive_are_refused() {
        assert_eq!(post("Content-Length: 99999999999999\r\n"), Err(413));
        assert_eq!(post("Content-Length: 18446744073709551615\r\n"), Err(413));
        assert_eq!(post("Content-Length: 99999999999999999999999999\r\n"), Err(413));
        assert_eq!(post("Content-Length: 65537\r\n"), Err(413));
        assert_eq!(post("Content-Length: 65536\r\n"), Ok(None));
        for bad in ["", "-1", "+1", "0x10", "1, 1", "1 1", "1.0", "\u{0661}"] {
            assert_eq!(post(&format!("Content-Length: {bad}\r\n")), Err(400), "{bad}");
        }
        assert_eq!(post("Content-Length: 1\r\nContent-Length: 1\r\n"), Err(400));
        assert_eq!(post("Content-Length: 1\r\nContent-Length: 2\r\n"), Err(400));
        assert_eq!(post("Transfer-Encoding: chunked\r\n"), Err(411));
        assert_eq!(post("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), Err(400));
        assert_eq!(post("Content-Length : 1\r\n"), Err(400));
        assert_eq!(post("X: y\r\n Content-Length: 1\r\n"), Err(400));
        assert_eq!(post("Content-Length: 1\r\nExpect: 100-continue\r\n"), Err(417));
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let post = |host: &str, headers: &str| {
            take(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes()).err()
        };
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"] {
            assert_eq!(post(host, ""), None, "{host}");
            assert_eq!(post(host, &format!("Origin: http://{host}\r\n")), None, "{host}");
            for origin in ["http://evil.example", "null", "https://localhost", "http://localhost:1"]
            {
                let origin = format!("Origin: {origin}\r\n");
                assert_eq!(post(host, &origin), Some(403), "{host} {origin}");
            }
        }
        for host in ["evil.example", "localhost.evil.example", "192.0.2.1", "", "[::2]"] {
            assert_eq!(post(host, ""), Some(403), "{host}");
            assert_eq!(post(host, &format!("Origin: http://{host}\r\n")), Some(403), "{host}");
        }
        let mut guard = guard(Some("s3cret"));
        let bytes = b"POST / HTTP/1.1\r\nHost: noc.example\r\nAuthorization: Bearer s3cret\r\n\r\n";
        assert!(push(&mut Intake::default(), bytes, &mut guard).unwrap().is_some());
    }

    #[test]
    fn what_is_not_http_1_is_refused() {
        assert_eq!(take(b"\x16\x03\x01\x02\x00"), Err(400));
        assert_eq!(take(b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"), Err(400));
        assert_eq!(take(b"GET / HTTP/1.1\r\n\r\n"), Err(400));
        assert_eq!(take(b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"), Err(400));
        assert_eq!(take(b"GET x HTTP/1.1\r\nHost: x\r\n\r\n"), Err(400));
        assert_eq!(take(b"GET /\xC3\xA9 HTTP/1.1\r\nHost: x\r\n\r\n"), Err(400));
        assert_eq!(take(b"PRI * HTTP/2.0\r\n\r\n"), Err(505));
        assert!(take(b"GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
        let absolute = take(b"GET http://x:8080/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().unwrap();
        assert!(absolute.starts_with(b"GET /a HTTP/1.1\r\n"));
    }

    #[test]
    fn a_head_without_end_is_cut_off() {
        let (mut intake, mut guard) = (Intake::default(), guard(None));
        let filler = [b'a'; HEAD_MAX];
        assert_eq!(push(&mut intake, &filler, &mut guard), Ok(None));
        assert_eq!(push(&mut intake, b"a", &mut guard).unwrap_err().status, 431);
        let many = "x: y\r\n".repeat(HEADERS_MAX);
        assert_eq!(post(&many), Err(431));
    }

    #[test]
    fn the_token_is_asked_for_before_the_body() {
        let mut guard = guard(Some("s3cret"));
        let mut status = |head: &str| {
            let bytes = format!("{head}\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
            push(&mut Intake::default(), bytes.as_bytes(), &mut guard).map_err(|reply| reply.status)
        };
        assert_eq!(status("GET /metrics HTTP/1.1"), Err(401));
        assert_eq!(status("GET /healthz/ HTTP/1.1"), Err(401));
        assert_eq!(status("GET /metrics HTTP/1.1\r\nAuthorization: Bearer no"), Err(401));
        assert_eq!(status("GET /metrics HTTP/1.1\r\nAuthorization: Bearer s3cret"), Ok(None));
        assert_eq!(status("GET /healthz?x HTTP/1.1"), Ok(None));
    }

    /// Pieces of requests, right and wrong, so that random sequences of them reach every check.
    const PIECES: [&[u8]; 16] = [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.0\n",
        b"Host: x\r\n",
        b"Content-Length: 3\r\n",
        b"content-length: 2\n",
        b"Content-Length: 99999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"abc",
        b": ",
        b"\0",
        b"\xff\xfe",
        b" ",
    ];

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_bytes_come(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
            random in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let whole = [pieces.concat(), random].concat();
            let (mut intake, mut guard) = (Intake::default(), guard(None));
            let one_by_one = whole.iter().try_fold(None, |done: Option<Vec<u8>>, byte| {
                match done {
                    Some(request) => Ok(Some(request)),
                    None => push(&mut intake, &[*byte], &mut guard),
                }
            });
            prop_assert_eq!(one_by_one, push(&mut Intake::default(), &whole, &mut guard));
        }
    }
}
