//! When two URIs mean the same, and the form that all names of one user have in common.
//!
//! Never resolves a name.

use super::address::{Param, Uri};

/// Whether two URIs are equal by RFC 3261 section 19.1.4. Those of other schemes are if their
/// bytes are.
#[must_use]
pub fn is_same_uri(a: &[u8], b: &[u8]) -> bool {
    let (left, right) = (Uri::parse(a), Uri::parse(b));
    if a == b || !left.is_sip() || !right.is_sip() {
        return a == b;
    }
    left.scheme.eq_ignore_ascii_case(right.scheme)
        && left.user.map(Unescaped) == right.user.map(Unescaped)
        && left.host.eq_ignore_ascii_case(right.host)
        && left.port == right.port
        && agree(&left, &right)
        && agree(&right, &left)
        && is_same_set(left.headers, right.headers)
}

/// Whether the user part of a URI is a name, escapes undone.
#[must_use]
pub fn is_same_user(user: &[u8], name: &[u8]) -> bool {
    Unescaped(user).bytes().eq(name.iter().copied())
}

/// Appends the canonical form of an address of record (RFC 3261 section 10.3, step 5): no
/// parameters and no password, nothing escaped, the host in lower case. Two forms of one address
/// give the same bytes.
pub fn write_address_of_record(out: &mut Vec<u8>, uri: &[u8]) {
    let uri = Uri::parse(uri);
    out.extend(uri.scheme.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    if let Some(user) = uri.user {
        out.extend(Unescaped(user).bytes());
        out.push(b'@');
    }
    out.extend(uri.host.iter().map(u8::to_ascii_lowercase));
    if let Some(port) = uri.port {
        out.push(b':');
        out.extend_from_slice(port.to_string().as_bytes());
    }
}

/// Whether every parameter of one URI is equal in the other one or does not count if it is
/// missing there.
fn agree(own: &Uri<'_>, other: &Uri<'_>) -> bool {
    own.params().all(|Param { name, value, .. }| {
        let is_it = |param: &Param<'_>| param.name.eq_ignore_ascii_case(name);
        match other.params().find(is_it) {
            Some(found) => is_same_text(found.value.unwrap_or(&[]), value.unwrap_or(&[])),
            None => !COUNTED.iter().any(|counted| name.eq_ignore_ascii_case(counted.as_bytes())),
        }
    })
}

/// Headers in any order; one that is missing makes a difference.
fn is_same_set(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let parts = |text: Option<&'_ [u8]>| text.unwrap_or(&[]).split(|&byte| byte == b'&').count();
    let has_all = |own: Option<&[u8]>, other: Option<&[u8]>| {
        own.unwrap_or(&[]).split(|&byte| byte == b'&').all(|part| {
            let mut others = other.unwrap_or(&[]).split(|&byte| byte == b'&');
            others.any(|found| is_same_text(found, part))
        })
    };
    parts(a) == parts(b) && has_all(a, b)
}

fn is_same_text(a: &[u8], b: &[u8]) -> bool {
    Unescaped(a)
        .bytes()
        .map(|byte| byte.to_ascii_lowercase())
        .eq(Unescaped(b).bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// A text whose escapes, `%` and two digits, stand for one byte each.
#[derive(Clone, Copy)]
pub(super) struct Unescaped<'a>(pub(super) &'a [u8]);

impl<'a> Unescaped<'a> {
    pub(super) fn bytes(self) -> impl Iterator<Item = u8> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || match *rest {
            [b'%', high, low, ref after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest = after;
                Some(digit(high) << 4 | digit(low))
            }
            [byte, ref after @ ..] => {
                rest = after;
                Some(byte)
            }
            [] => None,
        })
    }
}

impl PartialEq for Unescaped<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().eq(other.bytes())
    }
}

/// The value of a hexadecimal digit.
const fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20).wrapping_sub(b'a') + 10,
    }
}

/// Parameters that make a difference where only one of two URIs has them.
const COUNTED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(a: &str, b: &str) -> bool {
        assert_eq!(
            is_same_uri(a.as_bytes(), b.as_bytes()),
            is_same_uri(b.as_bytes(), a.as_bytes())
        );
        is_same_uri(a.as_bytes(), b.as_bytes())
    }

    #[test]
    fn what_makes_no_difference() {
        for (a, b) in [
            ("sip:%61nn@Box.example;transport=TCP", "sip:ann@bOX.EXAMPLE;Transport=tcp"),
            ("sip:ann@box.example", "sip:ann@box.example;newparam=5"),
            ("sip:ann@box.example;security=on", "sip:ann@box.example;newparam=5"),
            ("sip:box.example;a=1;transport=udp", "sip:box.example;transport=udp;b=2"),
            ("sip:a@b?subject=x&priority=y", "sip:a@b?priority=y&subject=x"),
            ("mailto:a@b", "mailto:a@b"),
        ] {
            assert!(is_same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_makes_a_difference() {
        for (a, b) in [
            ("sip:ANN@box.example", "sip:ann@box.example"),
            ("sip:ann@box.example", "sip:ann@box.example:5060"),
            ("sip:ann@box.example", "sips:ann@box.example"),
            ("sip:ann@box.example", "sip:ann@box.example;transport=udp"),
            ("sip:ann@box.example;a=on", "sip:ann@box.example;a=off"),
            ("sip:ann@box.example?a=b", "sip:ann@box.example"),
            ("sip:ann@192.0.2.1", "sip:ann@box.example"),
            ("sip:box.example", "sip:@box.example"),
            ("mailto:a@b", "mailto:A@b"),
        ] {
            assert!(!is_same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn one_user_has_one_address_of_record() {
        let aor = |uri: &str| {
            let mut out = Vec::new();
            write_address_of_record(&mut out, uri.as_bytes());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(aor("SIP:%61nn:pw@Box.Example:5070;user=phone?a=b"), "sip:ann@box.example:5070");
        assert_eq!(aor("tel:+1555"), "tel:+1555@");
        assert_eq!(aor("sip:100%@h"), "sip:100%@h");
    }
}
