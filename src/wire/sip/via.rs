//! The Via header: where a response goes (RFC 3261 section 18.2, RFC 3581).
//!
//! Never sends one there.

use std::net::{IpAddr, SocketAddr};

use memchr::memchr;

use super::{
    address::{Param, Params, parse_ip, split_port},
    scan::Outside,
};
use crate::wire::{put::put, text::decimal};

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The value as written, without blanks around it. It is how the header's value begins;
    /// what follows is a comma and further values.
    pub text: &'a [u8],
    /// The transport as written, such as `UDP`.
    pub transport: &'a [u8],
    /// Name or address of the sender; an IPv6 address keeps its brackets.
    pub host: &'a [u8],
    /// The sender's port; `None` if there is none, which means 5060.
    pub port: Option<u16>,
    /// The transaction's identifier.
    pub branch: Option<&'a [u8]>,
    /// Where the next hop saw the request come from.
    pub received: Option<&'a [u8]>,
    /// The port for the response: `Some(None)` asks the next hop to fill it in (RFC 3581).
    pub rport: Option<Option<u16>>,
    params: &'a [u8],
    is_well_formed: bool,
    /// Whether its parameters are written back as they are: nothing is left out or filled in.
    is_verbatim: bool,
}

impl<'a> Via<'a> {
    /// Reads the first value of a header; `None` if it has no transport and sender.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = value.trim_ascii_start();
        let text = value[..Outside::new().find(b',', value)].trim_ascii();
        // Of name and version, which are short.
        let slash = |text: &[u8]| text.iter().position(|&byte| byte == b'/');
        let name = slash(text)?;
        let version = name + 1 + slash(&text[name + 1..])?;
        let sent = text[version + 1..].trim_ascii_start();
        let blank = sent.iter().position(u8::is_ascii_whitespace)?;
        let (transport, sent_by) = sent.split_at(blank);
        let semicolon = memchr(b';', sent_by).unwrap_or(sent_by.len());
        let (sent_by, params) = sent_by.split_at(semicolon);
        let (host, port, stray) = split_port(sent_by);
        if host.is_empty() {
            return None;
        }
        let (mut branch, mut received, mut rport) = (None, None, None);
        let (mut rest, mut outside, mut has_empty_param) = (params, Outside::new(), false);
        let mut written = 0;
        while let [b';', after @ ..] = rest {
            let end = outside.find(b';', after);
            let text = after[..end].trim_ascii();
            rest = &after[end..];
            has_empty_param |= text.is_empty();
            let param = Param::parse(text);
            written += 1 + param.name.len() + param.raw_value.map_or(0, |value| 1 + value.len());
            let value = param.value.unwrap_or(&[]);
            match param.name {
                name if name.eq_ignore_ascii_case(b"branch") => branch = Some(value),
                name if name.eq_ignore_ascii_case(b"received") => received = Some(value),
                name if name.eq_ignore_ascii_case(b"rport") => rport = Some(decimal(value)),
                _ => {}
            }
        }
        let is_well_formed = !stray && !has_empty_param;
        let is_verbatim =
            is_well_formed && received.is_none() && rport.is_none() && written == params.len();
        Some(Self {
            text,
            transport,
            host,
            port,
            branch,
            received,
            rport,
            params,
            is_well_formed,
            is_verbatim,
        })
    }

    /// All parameters.
    #[must_use]
    pub const fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The sender if it is an address and not a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        parse_ip(self.host)
    }

    /// The address of `received`, with or without brackets (RFC 5118 section 4.5).
    #[must_use]
    pub fn received_ip(&self) -> Option<IpAddr> {
        self.received.and_then(parse_ip)
    }

    /// Whether the branch names the transaction on its own (RFC 3261 section 8.1.1.7). If not,
    /// transactions are told apart as RFC 2543 did.
    #[must_use]
    pub fn has_unique_branch(&self) -> bool {
        self.branch
            .and_then(|branch| branch.strip_prefix(BRANCH_COOKIE))
            .is_some_and(|id| !id.is_empty())
    }

    /// Whether host, port and separators are as the grammar has them.
    #[must_use]
    pub const fn is_well_formed(&self) -> bool {
        self.is_well_formed
    }

    /// Appends this value as a server returns it: with `received` where the request did not come
    /// from the address it names (RFC 3261 section 18.2.1), and with both `received` and a
    /// filled-in `rport` where `rport` is asked for (RFC 3581 section 4).
    pub fn write_with_source(&self, out: &mut Vec<u8>, source: SocketAddr) {
        let ip = source.ip().to_canonical();
        out.extend_from_slice(self.text[..self.text.len() - self.params.len()].trim_ascii());
        if self.is_verbatim {
            put!(out, self.params);
        } else {
            self.write_params(out, source);
        }
        let written = out.len();
        put!(out, RECEIVED, ip);
        // Mostly it is what stands there as the sender.
        let is_senders = &out[written + RECEIVED.len()..] == self.host
            || self.ip().map(|ip| ip.to_canonical()) == Some(ip);
        if self.rport.is_none() && is_senders {
            out.truncate(written);
        }
    }

    fn write_params(&self, out: &mut Vec<u8>, source: SocketAddr) {
        for param in self.params() {
            if param.name.eq_ignore_ascii_case(b"received") {
                continue;
            }
            put!(out, ";", param.name);
            if param.name.eq_ignore_ascii_case(b"rport") {
                put!(out, "=", source.port());
            } else if let Some(value) = param.raw_value {
                put!(out, "=", value);
            }
        }
    }
}

const RECEIVED: &str = ";received=";

/// RFC 3261 section 8.1.1.7: begins every branch that is unique.
const BRANCH_COOKIE: &[u8] = b"z9hG4bK";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_folds_and_lists() {
        let value =
            b"SIP  / 2.0\r\n /UDP\r\n  192.0.2.2 : 5070 ;\r\n branch  =  z9hG4bK1 , SIP/2.0/TCP x";
        let via = Via::parse(value).unwrap();
        assert_eq!((via.transport, via.host), (&b"UDP"[..], &b"192.0.2.2"[..]));
        assert_eq!((via.port, via.branch), (Some(5070), Some(&b"z9hG4bK1"[..])));
        assert!(via.is_well_formed() && via.has_unique_branch());
        assert_eq!((via.received, via.rport), (None, None));
        assert!(value.starts_with(via.text) && via.text.ends_with(b"z9hG4bK1"));
    }

    #[test]
    fn addresses_with_brackets_and_ports_for_the_response() {
        let via =
            Via::parse(b"SIP/2.0/UDP [2001:db8::9:1]:6050;rport;received=2001:db8::9").unwrap();
        assert_eq!((via.host, via.port), (&b"[2001:db8::9:1]"[..], Some(6050)));
        assert_eq!(via.ip(), Some("2001:db8::9:1".parse().unwrap()));
        assert_eq!(via.rport, Some(None));
        assert_eq!(via.received_ip(), Some("2001:db8::9".parse().unwrap()));
        let via = Via::parse(b"SIP/2.0/UDP a;received=[::1];rport=9;branch=z9hG4bK").unwrap();
        assert_eq!(via.received_ip(), Some("::1".parse().unwrap()));
        assert_eq!((via.rport, via.has_unique_branch()), (Some(Some(9)), false));
    }

    #[test]
    fn stray_separators_and_missing_parts() {
        let stray = Via::parse(b"SIP/2.0/UDP 192.0.2.15;;,;,,").unwrap();
        assert!(!stray.is_well_formed());
        assert!(!Via::parse(b"SIP/2.0/UDP a b;branch=1").unwrap().is_well_formed());
        for bad in [&b""[..], b"SIP/2.0", b"SIP/2.0/UDP", b"SIP/2.0/UDP ;branch=1"] {
            assert_eq!(Via::parse(bad), None);
        }
    }

    #[test]
    fn the_source_is_written_where_it_is_asked_for_or_differs() {
        let written = |value: &[u8], source: &str| {
            let mut out = Vec::new();
            Via::parse(value).unwrap().write_with_source(&mut out, source.parse().unwrap());
            String::from_utf8(out).unwrap()
        };
        let same = written(b"SIP/2.0/UDP 192.0.2.1:5060 ;branch=1;x=\"a;b\"", "192.0.2.1:9");
        assert_eq!(same, "SIP/2.0/UDP 192.0.2.1:5060;branch=1;x=\"a;b\"");
        let asked = written(b"SIP/2.0/UDP 192.0.2.1;rport;branch=1", "192.0.2.1:9");
        assert_eq!(asked, "SIP/2.0/UDP 192.0.2.1;rport=9;branch=1;received=192.0.2.1");
        let differs = written(b"SIP/2.0/UDP a.example;received=x;branch=1", "[::1]:9");
        assert_eq!(differs, "SIP/2.0/UDP a.example;branch=1;received=::1");
    }
}
