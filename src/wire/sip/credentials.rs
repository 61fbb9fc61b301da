//! The credentials of an Authorization header: digest access (RFC 7616 section 3.4).
//!
//! Never judges whether they are right.

use super::scan::Outside;
use crate::wire::text::split_word;

/// Digest credentials as they stand in a header. What is missing is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who it is.
    pub username: Option<&'a [u8]>,
    /// Where.
    pub realm: Option<&'a [u8]>,
    /// The challenge that is answered.
    pub nonce: Option<&'a [u8]>,
    /// The URI that the answer is for, which proxies may have left behind.
    pub uri: Option<&'a [u8]>,
    /// The answer, in hexadecimal digits.
    pub response: Option<&'a [u8]>,
    /// By which hash; MD5 where it is not said.
    pub algorithm: Option<&'a [u8]>,
    /// The client's own nonce.
    pub cnonce: Option<&'a [u8]>,
    /// How often the client has used the nonce, in hexadecimal digits.
    pub nc: Option<&'a [u8]>,
    /// Quality of protection; clients of RFC 2069 know none.
    pub qop: Option<&'a [u8]>,
}

impl<'a> Credentials<'a> {
    /// Reads a header's value; `None` if its scheme is not Digest. The first parameter of each
    /// name counts. Values are given without their quotes, escapes in them as written.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (scheme, mut rest) = split_word(value.trim_ascii());
        if !scheme.eq_ignore_ascii_case(b"Digest") {
            return None;
        }
        let mut found = Self::default();
        let mut outside = Outside::new();
        while !rest.is_empty() {
            let end = outside.find(b',', rest);
            let part = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or(&[]);
            let Some(equals) = part.iter().position(|&byte| byte == b'=') else { continue };
            let text = part[equals + 1..].trim_ascii();
            let text = match text {
                [b'"', inside @ .., b'"'] => inside,
                text => text,
            };
            if let Some(field) = found.field(part[..equals].trim_ascii()) {
                field.get_or_insert(text);
            }
        }
        Some(found)
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        let fields = [
            ("username", &mut self.username),
            ("realm", &mut self.realm),
            ("nonce", &mut self.nonce),
            ("uri", &mut self.uri),
            ("response", &mut self.response),
            ("algorithm", &mut self.algorithm),
            ("cnonce", &mut self.cnonce),
            ("nc", &mut self.nc),
            ("qop", &mut self.qop),
        ];
        let mut fields = fields.into_iter();
        fields
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(_, field)| field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_in_any_order_with_or_without_quotes() {
        let value = b"digest username=\"a, b\",realm = \"x\" ,\r\n NC=00000001, qop=auth, \
            response=\"ab\", nonce=\"n==\", nonce=\"m\", opaque=\"\", flag, uri=\"sip:a@b\"";
        let found = Credentials::parse(value).unwrap();
        assert_eq!(found.username, Some(&b"a, b"[..]));
        assert_eq!((found.realm, found.nc), (Some(&b"x"[..]), Some(&b"00000001"[..])));
        assert_eq!((found.qop, found.nonce), (Some(&b"auth"[..]), Some(&b"n=="[..])));
        assert_eq!((found.uri, found.response), (Some(&b"sip:a@b"[..]), Some(&b"ab"[..])));
        assert_eq!((found.algorithm, found.cnonce), (None, None));
    }

    #[test]
    fn other_schemes_are_none_and_broken_ones_empty() {
        assert_eq!(Credentials::parse(b"Basic YTpi"), None);
        assert_eq!(Credentials::parse(b""), None);
        for broken in [&b"Digest"[..], b"Digest ,,=,", b"Digest username"] {
            assert_eq!(Credentials::parse(broken), Some(Credentials::default()));
        }
        let open = Credentials::parse(b"Digest username=\"a, nc=1").unwrap();
        assert_eq!((open.username, open.nc), (Some(&b"\"a"[..]), Some(&b"1"[..])));
    }
}
