//! Syslog: RFC 5424 messages with structured data, in datagrams (RFC 5426) or over TCP with their
//! lengths before them (RFC 6587 section 3.4.1).
//!
//! Nothing answers here: sent means that the network took it.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    str::FromStr,
    time::Duration,
};

use super::{About, Failure, Notification, Severity, State, line::Retry};

/// A server: by UDP or TCP, its name and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    is_stream: bool,
    address: String,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (is_stream, address) = match text.split_once("://") {
            Some(("udp", address)) => (false, address),
            Some(("tcp", address)) => (true, address),
            _ => return Err(format!("`{text}` is neither udp://HOST:PORT nor tcp://HOST:PORT")),
        };
        let is_fine = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !is_fine {
            return Err(format!("`{text}` lacks a host or a port"));
        }
        Ok(Self { is_stream, address: address.to_owned() })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_stream { "tcp" } else { "udp" }, self.address)
    }
}

/// The part of a system that a message says it comes from (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl FromStr for Facility {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = FACILITIES.iter().find(|(name, _)| *name == text);
        found.map(|&(_, code)| Self(code)).ok_or_else(|| {
            let names: Vec<_> = FACILITIES.iter().map(|(name, _)| *name).collect();
            format!("`{text}` is none of {}", names.join(", "))
        })
    }
}

/// Sends to one server.
#[derive(Debug)]
pub(super) struct Sender {
    server: Server,
    facility: Facility,
    timeout: Duration,
    stream: Option<TcpStream>,
}

impl Sender {
    pub(super) const fn new(server: Server, facility: Facility, timeout: Duration) -> Self {
        Self { server, facility, timeout, stream: None }
    }

    /// Sends one message.
    pub(super) fn send(
        &mut self,
        notification: &Notification,
        about: &About,
    ) -> Result<String, Failure> {
        let text = message(notification, about, self.facility);
        let sent = if self.server.is_stream { self.stream(&text) } else { self.datagram(&text) };
        match sent {
            Ok(()) => Ok(format!("{} bytes sent", text.len())),
            Err(error) => {
                self.stream = None;
                let reason = format!("{}: {error}", self.server);
                Err(Failure { reason, retry: Retry::Later })
            }
        }
    }

    fn datagram(&self, text: &str) -> io::Result<()> {
        let server = self.resolve()?;
        let any: SocketAddr =
            if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.send(text.as_bytes()).map(drop)
    }

    fn stream(&mut self, text: &str) -> io::Result<()> {
        let kept = self.stream.take().filter(is_open);
        let mut stream = match kept {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.resolve()?, self.timeout)?;
                stream.set_write_timeout(Some(self.timeout))?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(format!("{} {text}", text.len()).as_bytes())?;
        self.stream = Some(stream);
        Ok(())
    }

    fn resolve(&self) -> io::Result<SocketAddr> {
        let found = self.server.address.to_socket_addrs()?.next();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    }
}

/// Whether the other side still listens: what is written after it has closed is lost without an
/// error. Servers say nothing, so nothing to read is the good case.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let is_silent = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut byte));
    let is_open = looked.map_or_else(is_silent, |count| count > 0);
    is_open && stream.set_nonblocking(false).is_ok()
}

/// One message: header, structured data, text (RFC 5424 section 6).
fn message(notification: &Notification, about: &About, facility: Facility) -> String {
    let priority = facility.0 * 8 + severity(notification);
    let header = format!(
        "<{priority}>1 {time} {host} voxplane {process} {rule}",
        time = notification.time,
        host = printable(&about.host, HOST_CHARS_MAX),
        process = std::process::id(),
        rule = printable(&notification.rule, MESSAGE_ID_CHARS_MAX),
    );
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    let values = [
        ("id", Some(notification.id.to_string())),
        ("state", Some(notification.state.to_string())),
        ("severity", Some(notification.severity.to_string())),
        ("callId", notification.call_id.clone()),
        ("value", number(notification.value)),
        ("threshold", number(notification.threshold)),
        ("unit", Some(notification.unit.clone()).filter(|unit| !unit.is_empty())),
        ("since", Some(notification.started_at.to_string())),
    ];
    let mut text = format!("{header} [{STRUCTURE}");
    for (name, value) in values {
        let Some(value) = value else { continue };
        // Writing to a string cannot fail.
        let _ = write!(text, " {name}=\"{}\"", escape(&value));
    }
    // A byte order mark says that the text is UTF-8 (section 6.4).
    let _ = write!(text, "] \u{FEFF}{}: {}", notification.state, one_line(&notification.message));
    let fits = (0..=MESSAGE_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end));
    text.truncate(fits.unwrap_or(0));
    text
}

/// Severities of RFC 5424 section 6.2.1: critical 2, error 3, warning 4, informational 6; the end
/// of anything is a notice, 5.
const fn severity(notification: &Notification) -> u8 {
    match (notification.state, notification.severity) {
        (State::Resolved, _) => 5,
        (_, Severity::Critical) => 2,
        (_, Severity::Error) => 3,
        (_, Severity::Warning) => 4,
        (_, Severity::Info) => 6,
    }
}

/// Visible ASCII, as header fields must be; `-` for nothing.
fn printable(text: &str, limit: usize) -> String {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(limit).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A value of structured data: `"`, `\` and `]` are escaped (section 6.3.3).
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in one_line(value).chars().take(VALUE_CHARS_MAX) {
        if matches!(c, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What callers write must not begin a line of its own in a log.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Names and codes, RFC 5424 section 6.2.1 table 1.
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// We have no enterprise number: this one is for examples (RFC 5612), and collides with nobody's.
const STRUCTURE: &str = "voxplane@32473";
const HOST_CHARS_MAX: usize = 255;
const MESSAGE_ID_CHARS_MAX: usize = 32;
const VALUE_CHARS_MAX: usize = 256;
/// What every receiver should take (RFC 5424 section 6.1).
const MESSAGE_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn told(call_id: &str, message_text: &str) -> String {
        let time = "2026-01-31T12:00:00.250Z".parse::<Timestamp>().unwrap();
        let notification = Notification {
            id: 42,
            rule: "high_packet_loss".to_owned(),
            severity: Severity::Error,
            call_id: Some(call_id.to_owned()),
            message: message_text.to_owned(),
            value: Some(6.25),
            unit: "percent".to_owned(),
            ..Notification::test(State::Firing, time)
        };
        let about = About { host: "box 1".to_owned(), link: None };
        message(&notification, &about, "local0".parse().unwrap())
    }

    #[test]
    fn a_message_is_as_the_rfc_wants_it() {
        let process = std::process::id();
        let expected = format!(
            "<131>1 2026-01-31T12:00:00.250Z box1 voxplane {process} high_packet_loss \
             [voxplane@32473 id=\"42\" state=\"firing\" severity=\"error\" \
             callId=\"a\\\"b\\]\\\\@h\" value=\"6.25\" unit=\"percent\" \
             since=\"2026-01-31T12:00:00.250Z\"] \u{FEFF}firing: 6.25 % of it lost"
        );
        assert_eq!(told("a\"b]\\@h", "6.25 % of it lost"), expected);
    }

    #[test]
    fn nobody_writes_lines_or_more_than_fits() {
        let text = told("a\r\n<0>1 evil\0", &"ä\n".repeat(2000));
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() > 2040 && text.len() <= 2048, "{}", text.len());
        let text = told(&"\\".repeat(5000), "the end is there");
        assert!(text.ends_with("the end is there"), "{text}");
    }

    #[test]
    fn servers_and_facilities_are_read_or_named() {
        assert_eq!(
            "udp://10.0.0.1:514".parse::<Server>().unwrap().to_string(),
            "udp://10.0.0.1:514"
        );
        assert!("tcp://[::1]:601".parse::<Server>().unwrap().is_stream);
        for bad in ["10.0.0.1:514", "tls://a:1", "udp://a", "udp://:514", "tcp://a:0", "udp://a:x"]
        {
            assert!(bad.parse::<Server>().unwrap_err().contains(bad), "{bad}");
        }
        assert!("local9".parse::<Facility>().unwrap_err().contains("local0"));
    }
}
