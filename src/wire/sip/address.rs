//! Addresses in headers, their parameters, and URIs.
//!
//! Never resolves a name, never undoes escapes.

use std::net::{IpAddr, Ipv6Addr};

use memchr::memchr;

use super::scan::{Outside, quoted_len};
use crate::wire::text::decimal;

/// An address with a display name and parameters: the value of From, To, or one element of
/// Contact and Route (RFC 3261 section 20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name without the quotes around it, its escapes as written; empty if there
    /// is none.
    pub display: &'a [u8],
    /// The URI without angle brackets.
    pub uri: &'a [u8],
    params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one address. Without angle brackets, parameters belong to the header and not to the
    /// URI. Every value reads as some address, its URI empty if there is none.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Self {
        let value = value.trim_ascii();
        let (quoted, rest) = match value {
            [b'"', rest @ ..] => match quoted_len(rest) {
                Some(len) => (Some(&rest[..len]), &rest[len + 1..]),
                None => (None, value),
            },
            _ => (None, value),
        };
        let Some(open) = memchr(b'<', rest) else {
            let end = memchr(b';', rest).unwrap_or(rest.len());
            let display = quoted.unwrap_or(&[]);
            return Self { display, uri: rest[..end].trim_ascii(), params: &rest[end..] };
        };
        let inside = &rest[open + 1..];
        let close = memchr(b'>', inside).unwrap_or(inside.len());
        Self {
            display: quoted.unwrap_or_else(|| rest[..open].trim_ascii()),
            uri: inside[..close].trim_ascii(),
            params: inside.get(close + 1..).unwrap_or(&[]),
        }
    }

    /// The header's parameters.
    #[must_use]
    pub const fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The value of a parameter, empty if it has none.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params().value_of(name)
    }

    /// The tag of a dialog's end.
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }
}

/// One parameter: `;name` or `;name=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value without quotes around it; `None` if there is no `=`.
    pub value: Option<&'a [u8]>,
    /// Its value as written, with its quotes.
    pub raw_value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// Reads what stands between two `;`, without blanks around it.
    pub(super) fn parse(text: &'a [u8]) -> Self {
        // Names are short.
        let Some(equals) = text.iter().position(|&byte| byte == b'=') else {
            return Self { name: text, value: None, raw_value: None };
        };
        let raw = text[equals + 1..].trim_ascii();
        let (value, raw_value) = (Some(unquoted(raw)), Some(raw));
        Self { name: text[..equals].trim_ascii(), value, raw_value }
    }
}

/// An iterator over parameters. Empty ones are left out.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: &'a [u8],
    outside: Outside,
}

impl<'a> Params<'a> {
    /// Parameters that begin at a `;`, or behind one.
    pub(super) const fn new(params: &'a [u8]) -> Self {
        Self { rest: params, outside: Outside::new() }
    }

    /// The value of the first parameter of a name, which compares without case; empty if it has
    /// none.
    #[must_use]
    pub fn value_of(mut self, name: &str) -> Option<&'a [u8]> {
        self.find(|param| param.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|param| param.value.unwrap_or(&[]))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = self.outside.find(b';', self.rest);
            let text = self.rest[..end].trim_ascii();
            self.rest = self.rest.get(end + 1..).unwrap_or(&[]);
            if !text.is_empty() {
                return Some(Param::parse(text));
            }
        }
        None
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}

/// A URI taken apart (RFC 3261 section 19.1.1); one of another scheme as far as it has the same
/// parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme as written; empty if there is none.
    pub scheme: &'a [u8],
    /// The user part, escapes as written; for `tel` the number.
    pub user: Option<&'a [u8]>,
    /// Name or address; an IPv6 address keeps its brackets. Empty for `tel`.
    pub host: &'a [u8],
    /// The port; `None` if there is none or it is no number of 16 bits.
    pub port: Option<u16>,
    /// What stands between host and parameters and is no port.
    stray: bool,
    params: &'a [u8],
    /// What follows a `?`: headers for the request that the URI would make.
    pub headers: Option<&'a [u8]>,
}

impl<'a> Uri<'a> {
    /// Takes a URI apart. Any text reads as some URI; [`is_well_formed`](Self::is_well_formed)
    /// says whether it is one of SIP's.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Self {
        let (scheme, rest) = split_scheme(text.trim_ascii());
        if scheme.eq_ignore_ascii_case(b"tel") {
            let end = memchr(b';', rest).unwrap_or(rest.len());
            let (user, params) = (Some(&rest[..end]), &rest[end..]);
            return Self {
                scheme,
                user,
                host: &[],
                port: None,
                stray: false,
                params,
                headers: None,
            };
        }
        let (user, rest) = match memchr(b'@', rest) {
            Some(at) => {
                let password = memchr(b':', &rest[..at]).unwrap_or(at);
                (Some(&rest[..password]), &rest[at + 1..])
            }
            None => (None, rest),
        };
        let question = memchr(b'?', rest).unwrap_or(rest.len());
        let headers = rest.get(question + 1..);
        let rest = &rest[..question];
        let semicolon = memchr(b';', rest).unwrap_or(rest.len());
        let (host, port, stray) = split_port(&rest[..semicolon]);
        Self { scheme, user, host, port, stray, params: &rest[semicolon..], headers }
    }

    /// The URI's own parameters.
    #[must_use]
    pub const fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The value of a parameter, empty if it has none.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params().value_of(name)
    }

    /// The host if it is an address and not a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        parse_ip(self.host)
    }

    /// Whether the scheme is `sip` or `sips`.
    #[must_use]
    pub const fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"sip") || self.scheme.eq_ignore_ascii_case(b"sips")
    }

    /// Whether host and port are as RFC 3261 section 25.1 has them: a name of letters, digits,
    /// `-`, `.` and `_`, or an address.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let is_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let host = match self.host {
            [b'[', ..] => self.ip().is_some(),
            [] => false,
            name => name.iter().all(is_name),
        };
        host && !self.stray
    }
}

/// Splits a scheme off, if there is one (RFC 3986 section 3.1).
fn split_scheme(text: &[u8]) -> (&[u8], &[u8]) {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let len = text.iter().take_while(|byte| is_scheme(byte)).count();
    match text.get(len) {
        Some(b':') => (&text[..len], &text[len + 1..]),
        _ => (&[], text),
    }
}

/// Splits a host from its port; true if something else stands behind the host.
pub(super) fn split_port(text: &[u8]) -> (&[u8], Option<u16>, bool) {
    let text = text.trim_ascii();
    let host_len = match text {
        [b'[', ..] => memchr(b']', text).map_or(text.len(), |close| close + 1),
        _ => text
            .iter()
            .position(|&byte| byte == b':' || byte <= b' ' && byte.is_ascii_whitespace())
            .unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_len);
    match rest.trim_ascii_start() {
        [] => (host, None, false),
        [b':', port @ ..] => {
            let port = decimal(port.trim_ascii());
            (host, port, port.is_none())
        }
        _ => (host, None, true),
    }
}

/// An address with or without the brackets of IPv6. The three colons that the grammar of
/// RFC 3261 lets through count as two (RFC 5118 section 4.10).
pub(super) fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    let (text, bracketed) = match text {
        [b'[', inside @ .., b']'] => (inside, true),
        _ => (text, false),
    };
    let text = core::str::from_utf8(text).ok()?;
    match text.parse() {
        Ok(IpAddr::V4(_)) if bracketed => None,
        Ok(ip) => Some(ip),
        Err(_) => {
            let (before, after) = text.split_once(":::")?;
            let mut two_colons = [0; IPV6_LEN_MAX];
            let mut len = 0;
            for part in [before, "::", after] {
                two_colons.get_mut(len..len + part.len())?.copy_from_slice(part.as_bytes());
                len += part.len();
            }
            core::str::from_utf8(&two_colons[..len]).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
    }
}

/// Characters of the longest IPv6 address: six groups of four and an IPv4 address.
const IPV6_LEN_MAX: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_and_both_kinds_of_parameters() {
        let quoted = NameAddr::parse(b"\"B\\\" <x>\" <sip:a@b;lr;tag=no> ;\r\n tag = 9 ;q");
        assert_eq!(quoted.display, b"B\\\" <x>");
        assert_eq!(quoted.uri, b"sip:a@b;lr;tag=no");
        assert_eq!((quoted.tag(), quoted.param("Q")), (Some(&b"9"[..]), Some(&b""[..])));
        assert_eq!(quoted.param("lr"), None);
        let tokens = NameAddr::parse(b"A. Bell<sip:a@b>;tag=x");
        assert_eq!((tokens.display, tokens.tag()), (&b"A. Bell"[..], Some(&b"x"[..])));
        let bare = NameAddr::parse(b"sip:a@b;user=phone;tag=y");
        assert_eq!((bare.uri, bare.tag()), (&b"sip:a@b"[..], Some(&b"y"[..])));
        let open = NameAddr::parse(b"\"A <sip:a@b>;tag=z");
        assert_eq!((open.uri, open.tag()), (&b"sip:a@b"[..], Some(&b"z"[..])));
        let value = NameAddr::parse(b"<sip:a@b>;x=\"1;tag=2\";tag=3");
        assert_eq!((value.param("x"), value.tag()), (Some(&b"1;tag=2"[..]), Some(&b"3"[..])));
        assert_eq!(NameAddr::parse(b" * ").uri, b"*");
        assert_eq!(NameAddr::parse(b"").tag(), None);
    }

    #[test]
    fn uris_come_apart() {
        let uri = Uri::parse(b"SIPS:a;b?c:pw@[2001:db8::1]:5061;maddr=x;lr?to=y");
        assert_eq!((uri.scheme, uri.user), (&b"SIPS"[..], Some(&b"a;b?c"[..])));
        assert_eq!((uri.host, uri.port), (&b"[2001:db8::1]"[..], Some(5061)));
        assert_eq!(uri.ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!((uri.param("maddr"), uri.param("LR")), (Some(&b"x"[..]), Some(&b""[..])));
        assert_eq!(uri.headers, Some(&b"to=y"[..]));
        assert!(uri.is_sip() && uri.is_well_formed());
        let tel = Uri::parse(b"tel:+15551234;phone-context=x");
        assert_eq!((tel.user, tel.host), (Some(&b"+15551234"[..]), &b""[..]));
        let bare = Uri::parse(b"alan@192.0.2.1");
        assert_eq!((bare.scheme, bare.ip()), (&b""[..], Some("192.0.2.1".parse().unwrap())));
        assert_eq!(Uri::parse(b"sip:host").user, None);
    }

    #[test]
    fn hosts_that_are_none() {
        for bad in ["sip:2001:db8::10", "sip:", "sip:a@", "sip:a@b:x", "sip:a@b:99999", "sip:[::1"]
        {
            assert!(!Uri::parse(bad.as_bytes()).is_well_formed(), "{bad}");
        }
        for bad in ["sip:[192.0.2.1]", "sip:a@[::1]x", "sip:a@b c", "sip:a@b<", "sip:[:::::1]"] {
            assert!(!Uri::parse(bad.as_bytes()).is_well_formed(), "{bad}");
        }
        let three = Uri::parse(b"sip:user@[2001:db8:::192.0.2.1]");
        assert_eq!(three.ip(), Some("2001:db8::192.0.2.1".parse().unwrap()));
    }
}
