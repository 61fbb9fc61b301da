//! The session description in a body of several parts (RFC 2046 section 5.1, RFC 5621).
//!
//! Reads no part but to know what it is.

use memchr::memmem;

use super::{
    address::Params,
    check::Defect,
    header::HeaderName,
    scan::{HeaderLines, split_header},
};
use crate::wire::text::split_at_byte;

/// Whether a Content-Type is one of several parts.
pub(super) fn is_multipart(content_type: &[u8]) -> bool {
    let start = content_type.get(..MULTIPART.len()).unwrap_or_default();
    start.eq_ignore_ascii_case(MULTIPART)
}

/// The part of a body that is its session description; `None` if there is none. Of several the
/// first counts, of alternatives the last, which is what its sender likes best.
///
/// # Errors
/// The body has not the form that its type says, or a part has to be understood and is not.
pub(super) fn description<'a>(
    content_type: &[u8],
    body: &'a [u8],
    depth: usize,
) -> Result<Option<&'a [u8]>, Defect> {
    let boundary = parameters(content_type).value_of("boundary").unwrap_or_default();
    let is_alternative = media_type(content_type).eq_ignore_ascii_case(ALTERNATIVE);
    let mut found = None;
    for bytes in Parts::new(boundary, body).ok_or(Defect::Multipart)? {
        let part = Part::read(bytes);
        let described = if is_multipart(part.content_type) && depth < DEPTH_MAX {
            description(part.content_type, part.body, depth + 1)?
        } else if part.is_description() {
            Some(part.body)
        } else if part.is_required() {
            return Err(Defect::ContentType);
        } else {
            None
        };
        if found.is_none() || is_alternative {
            found = described.or(found);
        }
    }
    Ok(found)
}

/// The parts of a body, each with its headers.
struct Parts<'a, 'b> {
    boundary: &'b [u8],
    /// From behind a delimiter on; `None` behind the last one.
    rest: Option<&'a [u8]>,
}

/// A line that separates parts.
struct Delimiter {
    /// Where the part before it ends.
    start: usize,
    /// Where the part after it begins; `None` after the last one.
    next: Option<usize>,
}

/// What a part says of itself.
struct Part<'a> {
    content_type: &'a [u8],
    disposition: &'a [u8],
    is_encoded: bool,
    body: &'a [u8],
}

impl<'a, 'b> Parts<'a, 'b> {
    /// `None` if the boundary is none, or nowhere in the body.
    fn new(boundary: &'b [u8], body: &'a [u8]) -> Option<Self> {
        if !(1..=BOUNDARY_MAX).contains(&boundary.len()) {
            return None;
        }
        // What is before the first one is for nobody.
        let first = Delimiter::find(boundary, body)?;
        Some(Self { boundary, rest: first.next.and_then(|next| body.get(next..)) })
    }
}

impl<'a> Iterator for Parts<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let Some(found) = Delimiter::find(self.boundary, rest) else {
            // Some leave the last one out: then the part ends with the body.
            return Some(rest);
        };
        self.rest = found.next.and_then(|next| rest.get(next..));
        Some(&rest[..found.start])
    }
}

impl Delimiter {
    /// The first one: two hyphens and the boundary at the start of a line, two more if it is the
    /// last one, and nothing but blanks after them. The line end before it is its own.
    fn find(boundary: &[u8], text: &[u8]) -> Option<Self> {
        memmem::find_iter(text, boundary).find_map(|at| {
            let start = text[..at].strip_suffix(HYPHENS)?;
            let before = match start {
                [] => start,
                [before @ .., b'\r', b'\n'] | [before @ .., b'\n'] => before,
                _ => return None,
            };
            let after = &text[at + boundary.len()..];
            let (line, rest) = match memchr::memchr(b'\n', after) {
                Some(end) => (&after[..end], end + 1),
                None => (after, after.len()),
            };
            let is_last = line.starts_with(HYPHENS);
            let padding = line.strip_prefix(HYPHENS).unwrap_or(line);
            let next = (!is_last).then_some(at + boundary.len() + rest);
            padding.trim_ascii().is_empty().then_some(Self { start: before.len(), next })
        })
    }
}

impl<'a> Part<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let mut lines = HeaderLines::new(bytes);
        let mut part = Self { content_type: b"", disposition: b"", is_encoded: false, body: b"" };
        while let Some(line) = lines.next_line() {
            let Some((name, value)) = split_header(line) else { continue };
            let value = value.trim_ascii();
            if HeaderName::from_bytes(name) == HeaderName::ContentType {
                part.content_type = value;
            } else if name.eq_ignore_ascii_case(b"Content-Disposition") {
                part.disposition = value;
            } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
                // RFC 5621 section 3.2: nothing needs to be encoded.
                part.is_encoded = !PLAIN.iter().any(|known| value.eq_ignore_ascii_case(known));
            }
        }
        part.body = lines.rest();
        part
    }

    /// Whether it describes the session: an early one (RFC 3959), say, is another.
    fn is_description(&self) -> bool {
        let purpose = media_type(self.disposition);
        media_type(self.content_type).eq_ignore_ascii_case(SDP)
            && !self.is_encoded
            && (purpose.is_empty() || purpose.eq_ignore_ascii_case(b"session"))
    }

    /// Whether its sender wants the whole refused by who does not understand it. RFC 3261 section
    /// 20.11 takes that for granted where nothing is said; devices that send where they are, or
    /// ISUP, say nothing and want their call.
    fn is_required(&self) -> bool {
        let handling = parameters(self.disposition).value_of("handling");
        handling.is_some_and(|handling| handling.eq_ignore_ascii_case(b"required"))
    }
}

/// A value without its parameters.
fn media_type(value: &[u8]) -> &[u8] {
    split_at_byte(value, b';').0.trim_ascii()
}

fn parameters(value: &[u8]) -> Params<'_> {
    Params::new(&value[split_at_byte(value, b';').0.len()..])
}

const MULTIPART: &[u8] = b"multipart/";
const ALTERNATIVE: &[u8] = b"multipart/alternative";
const SDP: &[u8] = b"application/sdp";
const HYPHENS: &[u8] = b"--";

/// Transfer encodings that leave the bytes as they are.
const PLAIN: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];

/// RFC 2046 section 5.1.1.
const BOUNDARY_MAX: usize = 70;

/// Bodies of several parts within one another: signed, and in it one of SDP and something else.
const DEPTH_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &[u8] = b"multipart/mixed;boundary=b";

    fn found(content_type: &[u8], body: &str) -> Result<Option<String>, Defect> {
        let found = description(content_type, body.as_bytes(), 0)?;
        Ok(found.map(|found| String::from_utf8_lossy(found).into_owned()))
    }

    #[test]
    fn the_first_description_counts_and_of_alternatives_the_last() {
        let sdp = |text| format!("--b\r\nContent-Type: application/sdp\r\n\r\n{text}\r\n");
        let body = format!("{}{}--b--\r\n", sdp("v=0"), sdp("v=1"));
        assert_eq!(found(MIXED, &body), Ok(Some("v=0".to_owned())));
        let alternative = b"Multipart/Alternative; Boundary = \"b\"";
        assert_eq!(found(alternative, &body), Ok(Some("v=1".to_owned())));
        assert_eq!(found(MIXED, "--b\r\n\r\nv=0\r\n--b--"), Ok(None));
    }

    #[test]
    fn delimiters_are_whole_lines() {
        let body = "for old readers --b\n--b \t\nc: application/sdp;x=y\n\nv=0\n--bb\n--b-\nx--b\n\
                    --b\n\nplain\n--b--\n--b\nc: application/sdp\n\nno more\n";
        assert_eq!(found(MIXED, body), Ok(Some("v=0\n--bb\n--b-\nx--b".to_owned())));
        // The last one is missing.
        let body = "--b\r\nc:application/sdp\r\n\r\nv=0\r\n";
        assert_eq!(found(MIXED, body), Ok(Some("v=0\r\n".to_owned())));
    }

    #[test]
    fn a_body_without_its_form_is_malformed() {
        let body = "--b\r\nc: application/sdp\r\n\r\nv=0\r\n--b--\r\n";
        let long = [b"multipart/mixed;boundary=".as_slice(), &[b'x'; 71]].concat();
        for content_type in
            [b"multipart/mixed".as_slice(), b"multipart/mixed;boundary=\"\"", b"multipart/", &long]
        {
            assert_eq!(found(content_type, body), Err(Defect::Multipart));
        }
        for body in ["", "v=0", "--x\r\n\r\n--x--", "x--b\r\n"] {
            assert_eq!(found(MIXED, body), Err(Defect::Multipart), "{body}");
        }
    }

    #[test]
    fn parts_within_parts_are_read_as_deep_as_is_of_use() {
        let inner = "v=0".to_owned();
        let nest = |inner: String, depth: usize| {
            (0..depth).rev().fold(inner, |inner, level| {
                let kind = match level + 1 == depth {
                    true => "application/sdp".to_owned(),
                    false => format!("multipart/mixed;boundary=b{}", level + 1),
                };
                format!("--b{level}\r\nc: {kind}\r\n\r\n{inner}\r\n--b{level}--\r\n")
            })
        };
        let outer = b"multipart/signed;boundary=b0";
        assert_eq!(found(outer, &nest(inner.clone(), 4)), Ok(Some("v=0".to_owned())));
        assert_eq!(found(outer, &nest(inner, 5)), Ok(None));
    }

    #[test]
    fn a_part_that_must_be_understood_and_is_not_has_the_whole_refused() {
        let with = |headers| {
            let sdp = "--b\r\nc: application/sdp\r\n\r\nv=0\r\n";
            found(MIXED, &format!("{sdp}--b\r\n{headers}\r\n\r\nx\r\n--b--"))
        };
        assert_eq!(with("c: application/isup"), Ok(Some("v=0".to_owned())));
        let optional = "c: application/isup\r\nContent-Disposition: signal; handling=optional";
        assert_eq!(with(optional), Ok(Some("v=0".to_owned())));
        let required = "c: application/isup\r\nContent-Disposition: signal;handling=REQUIRED";
        assert_eq!(with(required), Err(Defect::ContentType));
        // Not for this session, or not to be read.
        for other in [
            "Content-Disposition: early-session",
            "Content-Transfer-Encoding: base64",
            "c: application/sdpx",
        ] {
            let body = format!("--b\r\nc: application/sdp\r\n{other}\r\n\r\nv=0\r\n--b--");
            assert_eq!(found(MIXED, &body), Ok(None), "{other}");
        }
    }
}
