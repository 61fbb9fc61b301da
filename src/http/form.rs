//! In which form a client wants an answer: compressed (RFC 9110 section 12.5.3), or not at all if
//! it still has it (section 13.1.2). What it says comes in as it stands in its headers and goes on
//! in words of our own.

use std::io::{self, Write as _};

use flate2::{Compression, write::GzEncoder};
use ring::digest::{SHA256, digest};

use super::reply::Reply;

/// What a request says of the form of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// It may be compressed, and better is.
    takes_gzip: bool,
    /// The client has any form of it.
    has_any: bool,
    /// The forms of it that the client has.
    has: Vec<String>,
}

impl Form {
    /// Reads the values of all fields `Accept-Encoding` and `If-None-Match`. What cannot be read
    /// says nothing.
    pub(super) fn of<'a>(
        accepted: impl Iterator<Item = &'a [u8]>,
        known: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        let mut form = Self { takes_gzip: takes_gzip(accepted), ..Self::default() };
        known.for_each(|list| form.note(list));
        form
    }

    /// The same as fields of a head, each with its line's end.
    pub(super) fn fields(&self) -> String {
        let mut fields = String::new();
        if self.takes_gzip {
            fields.push_str("Accept-Encoding: gzip\r\n");
        }
        if self.has_any {
            fields.push_str("If-None-Match: *\r\n");
        } else if !self.has.is_empty() {
            let tags: Vec<_> = self.has.iter().map(|tag| format!("\"{tag}\"")).collect();
            fields.push_str(&format!("If-None-Match: {}\r\n", tags.join(", ")));
        }
        fields
    }

    /// Puts an answer to GET or HEAD that is held into this form.
    pub(super) fn apply(&self, reply: Reply) -> Reply {
        if reply.status != 200 || reply.stream.is_some() {
            return reply;
        }
        let is_compressed = self.takes_gzip && reply.body.len() >= GZIP_MIN;
        let mut reply = reply.with_header("Vary", "Accept-Encoding");
        if reply.is_json() {
            // A compressed body is another one, and has a tag of its own (section 8.8.3.3).
            let coding = if is_compressed { GZIP_MARK } else { "" };
            let tag = format!("{}{coding}", fingerprint(&reply.body));
            let is_known = self.has_any || self.has.contains(&tag);
            reply = reply.with_header("ETag", format!("\"{tag}\""));
            reply = reply.with_header("Cache-Control", KEEP);
            if is_known {
                return Reply { status: 304, ..reply };
            }
        }
        match is_compressed.then(|| gzip(&reply.body)) {
            Some(Ok(body)) => Reply { body, ..reply }.with_header("Content-Encoding", "gzip"),
            // Compressing in memory does not fail; if it did, the plain body is still right.
            Some(Err(_)) | None => reply,
        }
    }

    /// Takes note of a list of entity tags (section 8.8.3). Weak ones count: they are compared by
    /// what they are of (section 13.1.2). Those that cannot be of ours are left out.
    fn note(&mut self, list: &[u8]) {
        let Ok(list) = core::str::from_utf8(list) else { return };
        if list.trim() == "*" {
            self.has_any = true;
            return;
        }
        // Between quotation marks there is a tag, then what separates it from the next.
        let pieces: Vec<&str> = list.split('"').collect();
        let closed = pieces.len() - 1;
        for tag in pieces[..closed].iter().skip(1).step_by(2) {
            let hash = tag.strip_suffix(GZIP_MARK).unwrap_or(tag);
            if hash.len() == TAG_LEN && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                self.has.push((*tag).to_owned());
            }
        }
    }
}

/// Whether gzip is at least as welcome as no coding.
fn takes_gzip<'a>(accepted: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut gzip, mut identity, mut others) = (None, None, None);
    for list in accepted {
        let list = core::str::from_utf8(list).unwrap_or_default();
        for item in list.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let coding = parts.next().unwrap_or_default();
            let quality = parts.next().map_or(Some(1.0), quality);
            if ["gzip", "x-gzip"].iter().any(|name| coding.eq_ignore_ascii_case(name)) {
                gzip = quality;
            } else if coding.eq_ignore_ascii_case("identity") {
                identity = quality;
            } else if coding == "*" {
                others = quality;
            }
        }
    }
    let gzip = gzip.or(others).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// A weight (section 12.4.2), `q=` and a number from 0 to 1.
fn quality(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let value = value.trim().parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.filter(|_| name.trim().eq_ignore_ascii_case("q"))
}

/// A hash of a body: the same for the same bytes, and for no others.
fn fingerprint(body: &[u8]) -> String {
    let hash = digest(&SHA256, body);
    hash.as_ref().iter().take(TAG_LEN / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(body.len() / 8);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// A client may keep an answer for itself, and has to ask each time whether it still holds.
const KEEP: &str = "private, no-cache";

/// A shorter body fits one packet as it is.
const GZIP_MIN: usize = 1400;

/// Hexadecimal digits of a tag: 128 bits, which nobody meets by chance.
const TAG_LEN: usize = 32;

/// What the tag of a compressed body ends with.
const GZIP_MARK: &str = "-gzip";

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accepted: &str, known: &str) -> Form {
        Form::of([accepted.as_bytes()].into_iter(), [known.as_bytes()].into_iter())
    }

    #[test]
    fn gzip_is_taken_by_its_weight() {
        for yes in [
            "gzip",
            "GZIP",
            "x-gzip",
            "deflate, gzip;q=0.5",
            "gzip ; q = 1.0, identity;q=0.5",
            "*",
            "br, *;q=0.1",
            "gzip;q=0.001",
        ] {
            assert!(form(yes, "").takes_gzip, "{yes}");
        }
        for no in [
            "",
            "identity",
            "deflate, br",
            "gzip;q=0",
            "gzip;q=0.0, *",
            "*;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=2",
            "gzip;q=nan",
            "gzip;q=-1",
            "gzip;r=1",
            "gzi\u{fc}",
        ] {
            assert!(!form(no, "").takes_gzip, "{no}");
        }
    }

    #[test]
    fn only_tags_that_can_be_ours_go_on() {
        let (a, b) = ("0".repeat(TAG_LEN), "f".repeat(TAG_LEN));
        let list = format!("\"{a}\" , W/\"{b}-gzip\",\"x, y\", \"\r\nX: y\", {a}, \"{b}");
        let known = form("", &list);
        assert_eq!(known.has, [a.clone(), format!("{b}-gzip")]);
        assert_eq!(known.fields(), format!("If-None-Match: \"{a}\", \"{b}-gzip\"\r\n"));
        let again = form("", known.fields().trim_start_matches("If-None-Match: ").trim());
        assert_eq!(again, known);
        assert_eq!(form("gzip", " * ").fields(), "Accept-Encoding: gzip\r\nIf-None-Match: *\r\n");
        assert_eq!(form("br", "*, \"x\"").fields(), "");
    }
}
