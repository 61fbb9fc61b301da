//! A SIP message to be shown: as it came, without what is nobody's business. Credentials, keys of
//! media, and passwords in URIs stand as `***`.

use super::{
    header::HeaderName,
    scan::{HeaderLines, split_header},
};

/// The message without its secrets:
///
/// - of `Authorization` and `Proxy-Authorization` all but the scheme and, of a digest, what names
///   whom and what it is about (RFC 3261 section 22.4); of `Authentication-Info` all;
/// - the password in the user part of a SIP URI (RFC 3261 section 19.1.1);
/// - in session descriptions the keys of `a=crypto` (RFC 4568), `a=key-mgmt` (RFC 4567) and `k=`
///   (RFC 8866), and `a=ice-pwd` (RFC 8839).
///
/// What is no SIP is masked all the same, as far as its lines look like it.
#[must_use]
pub fn masked(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut lines = HeaderLines::new(message);
    let mut rest = message;
    if let Some(start) = lines.start_line() {
        let end = offset(message, start) + start.len() + 1;
        write_uris(&mut out, &message[..end.min(message.len())]);
        rest = message.get(end..).unwrap_or(&[]);
    }
    // Each header with its folds and its line end.
    while !rest.is_empty() {
        let mut one = HeaderLines::new(rest);
        let Some(line) = one.next_line() else { break };
        let end = (line.len() + 1).min(rest.len());
        write_header(&mut out, line);
        out.extend_from_slice(&rest[line.len()..end]);
        rest = &rest[end..];
    }
    rest.split_inclusive(|&byte| byte == b'\n').for_each(|line| write_body_line(&mut out, line));
    out
}

fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn write_header(out: &mut Vec<u8>, line: &[u8]) {
    let Some((name, value)) = split_header(line) else {
        // What looks like a line of a description may be one, where headers do not end.
        write_body_line(out, line);
        return;
    };
    let is_named = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    match HeaderName::from_bytes(name) {
        HeaderName::Authorization | HeaderName::ProxyAuthorization => {
            out.extend_from_slice(&line[..line.len() - value.len()]);
            write_credentials(out, value);
        }
        HeaderName::Other
            if is_named(b"Authentication-Info") || is_named(b"Proxy-Authentication-Info") =>
        {
            out.extend_from_slice(&line[..line.len() - value.len()]);
            out.extend_from_slice(b" ***");
            write_end(out, value);
        }
        _ => write_uris(out, line),
    }
}

/// Credentials: the scheme, and the parameters of a digest that are no secret.
fn write_credentials(out: &mut Vec<u8>, value: &[u8]) {
    let blanks = value.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let scheme = value[blanks..].iter().position(u8::is_ascii_whitespace);
    let scheme_end = blanks + scheme.unwrap_or(0);
    let (scheme, params) = value.split_at(scheme_end);
    out.extend_from_slice(scheme);
    if !scheme.trim_ascii().eq_ignore_ascii_case(b"Digest") {
        out.extend_from_slice(b" ***");
        write_end(out, value);
        return;
    }
    let mut start = 0;
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, &byte) in params.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                write_param(out, &params[start..at]);
                out.push(b',');
                start = at + 1;
            }
            _ => {}
        }
    }
    write_param(out, &params[start..]);
}

fn write_param(out: &mut Vec<u8>, param: &[u8]) {
    let name_end = memchr::memchr(b'=', param).unwrap_or(0);
    let name = param[..name_end].trim_ascii();
    // Where quotes do not match, one parameter may have swallowed another.
    let swallows =
        |secret: &[u8]| param.windows(secret.len()).any(|part| part.eq_ignore_ascii_case(secret));
    let is_shown = SHOWN.iter().any(|shown| name.eq_ignore_ascii_case(shown));
    if is_shown && !swallows(b"response") && !swallows(b"cnonce") {
        write_uris(out, param);
        return;
    }
    out.extend_from_slice(&param[..name_end]);
    out.extend_from_slice(if name_end > 0 { b"=***" } else { b" ***" });
    write_end(out, param);
}

/// The line end that a value stands before, if it has it.
fn write_end(out: &mut Vec<u8>, value: &[u8]) {
    if value.ends_with(b"\r") {
        out.push(b'\r');
    }
}

/// A text in which passwords of SIP URIs are hidden.
fn write_uris(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(colon) = memchr::memchr(b':', rest) {
        let scheme_end = colon + 1;
        out.extend_from_slice(&rest[..scheme_end]);
        let is_sip = [&b"sip"[..], b"sips"].iter().any(|scheme| {
            let start = colon.wrapping_sub(scheme.len());
            rest.get(start..colon).is_some_and(|name| name.eq_ignore_ascii_case(scheme))
        });
        rest = &rest[scheme_end..];
        if !is_sip {
            continue;
        }
        let is_end =
            |byte: &u8| matches!(byte, b'@' | b'>' | b'<' | b'"') || byte.is_ascii_whitespace();
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        if rest.get(end) == Some(&b'@')
            && let Some(password) = memchr::memchr(b':', &rest[..end])
        {
            out.extend_from_slice(&rest[..=password]);
            out.extend_from_slice(HIDDEN);
            rest = &rest[end..];
        }
    }
    out.extend_from_slice(rest);
}

fn write_body_line(out: &mut Vec<u8>, line: &[u8]) {
    let text = line.trim_ascii_end();
    let end = &line[text.len()..];
    let begins =
        |with: &[u8]| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if begins(b"a=crypto:") {
        write_keys(out, text);
    } else if let Some(known) = SECRET_LINES.iter().find(|known| begins(known)) {
        out.extend_from_slice(&text[..known.len()]);
        // The method of a key is none.
        let method = memchr::memchr2(b':', b' ', &text[known.len()..]).map_or(0, |at| at + 1);
        let method = if *known == b"a=ice-pwd:" { 0 } else { method };
        out.extend_from_slice(&text[known.len()..known.len() + method]);
        out.extend_from_slice(HIDDEN);
    } else {
        write_uris(out, text);
    }
    out.extend_from_slice(end);
}

/// The keys and salts of RFC 4568 section 6.1: `inline:` up to what follows them.
fn write_keys(out: &mut Vec<u8>, line: &[u8]) {
    let mut rest = line;
    while let Some(at) = memchr::memmem::find(rest, b"inline:") {
        let start = at + b"inline:".len();
        out.extend_from_slice(&rest[..start]);
        out.extend_from_slice(HIDDEN);
        rest = &rest[start..];
        let end = rest.iter().position(|byte| matches!(byte, b'|' | b';' | b' '));
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    out.extend_from_slice(rest);
}

/// Stands for a secret, however long.
const HIDDEN: &[u8] = b"***";

/// What of a digest may be seen: the server's nonce is in its challenge, too.
const SHOWN: [&[u8]; 7] = [b"username", b"realm", b"uri", b"algorithm", b"nonce", b"qop", b"nc"];

/// Lines of a session description whose value is a secret.
const SECRET_LINES: [&[u8]; 3] = [b"k=", b"a=key-mgmt:", b"a=ice-pwd:"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(masked(text.as_bytes())).unwrap()
    }

    #[test]
    fn what_is_no_secret_stays_as_it_came() {
        let text = "INVITE sip:bob@192.0.2.2;transport=udp SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\n\
             WWW-Authenticate: Digest realm=\"x\", nonce=\"abc\"\r\nSubject: a\r\n folded\r\n\
             Content-Length: 5\r\n\r\nv=0\r\na=rtpmap:0 PCMU/8000\r\nc=IN IP4 192.0.2.1\r\n";
        assert_eq!(shown(text), text);
        assert_eq!(shown(""), "");
        assert_eq!(shown("\r\n\r\n"), "\r\n\r\n");
    }

    #[test]
    fn credentials_are_hidden_and_who_gives_them_is_not() {
        let text = "REGISTER sip:a:secret@b SIP/2.0\n\
             authorization : Digest username=\"bob, or \\\"so\\\"\",realm=\"b\", nonce=\"n\",\r\n\
             \x20uri=\"sip:b\", response=\"secret\", cnonce=\"secret\",opaque=secret\r\n\
             Proxy-Authorization: Basic c2VjcmV0\r\n\
             Authentication-Info: rspauth=\"secret\"\r\n\
             Contact: <sips:x:secret@y>, sip:z:secret@y\r\n\r\n";
        let shown = shown(text);
        assert!(!shown.contains("secret") && !shown.contains("c2VjcmV0"), "{shown}");
        for kept in [
            "REGISTER sip:a:***@b SIP/2.0\n",
            "authorization : Digest username=\"bob, or \\\"so\\\"\",realm=\"b\", nonce=\"n\",\r\n",
            " uri=\"sip:b\", response=***, cnonce=***,opaque=***\r\n",
            "Proxy-Authorization: Basic ***\r\n",
            "Authentication-Info: ***\r\n",
            "Contact: <sips:x:***@y>, sip:z:***@y\r\n\r\n",
        ] {
            assert!(shown.contains(kept), "{kept:?} is not in {shown}");
        }
    }

    #[test]
    fn keys_of_media_are_hidden() {
        let text = "SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\
             k=clear:secret\r\nk=prompt\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret|2^20|1:4;inline:secret F=1\r\n\
             a=key-mgmt:mikey secret\r\na=ice-pwd:secret\r\na=ice-ufrag:F7gI\r\n";
        let shown = shown(text);
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("inline:***|2^20|1:4;inline:*** F=1\r\n"), "{shown}");
        assert!(shown.contains("k=clear:***\r\n") && shown.contains("mikey ***\r\n"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = masked(&bytes);
        }

        /// Wherever a line breaks, the response to a challenge never shows.
        #[test]
        fn cut_anywhere_it_hides_the_same(cut in 0_usize..200) {
            let text = "INVITE sip:b SIP/2.0\r\nAuthorization: Digest username=\"a\", realm=\"b\", \
                 nonce=\"n\", uri=\"sip:b\", response=\"0123456789abcdef\"\r\n\r\n";
            let shown = masked(&text.as_bytes()[..cut.min(text.len())]);
            prop_assert!(memchr::memmem::find(&shown, b"01").is_none());
        }
    }
}
