//! The SIP messages of one call, in the order they came.
//!
//! Never keeps a message: of its headers and body only a summary stays, without passwords.

use std::{collections::HashSet, hash::BuildHasher as _, net::SocketAddr};

use foldhash::quality::RandomState;
use memchr::memmem::Finder;
use serde::Serialize;

use crate::{
    time::{Timestamp, millis},
    wire::{
        Datagram, Transport,
        sdp::{Direction, Media, SessionDescription},
        sip::{SipMessage, StartLine},
    },
};

/// The messages with one Call-ID: the first 200, and how many more there are.
#[derive(Clone, Debug)]
pub struct Ladder {
    call_id: Finder<'static>,
    rows: Vec<LadderRow>,
    omitted: u64,
    last_time: Option<Timestamp>,
    hasher: RandomState,
    /// Hashes of the messages in `rows` and of the ways they went.
    seen: HashSet<u64>,
}

impl Ladder {
    /// No messages yet.
    #[must_use]
    pub fn new(call_id: &str) -> Self {
        Self {
            call_id: Finder::new(call_id.as_bytes()).into_owned(),
            rows: Vec::new(),
            omitted: 0,
            last_time: None,
            hasher: RandomState::default(),
            seen: HashSet::new(),
        }
    }

    /// Takes a datagram, or a message out of a TCP stream; what is no message of the call is
    /// passed over. Cheap for those: their bytes are searched, not read.
    pub fn observe(&mut self, datagram: &Datagram<'_>) {
        if self.call_id.find(datagram.payload).is_none() {
            return;
        }
        let Ok(message) = SipMessage::parse(datagram.payload) else { return };
        if message.call_id() != Some(self.call_id.needle()) {
            return;
        }
        if self.rows.len() >= ROWS_MAX {
            self.omitted += 1;
            return;
        }
        let Datagram { received_at, src, dst, transport, payload, .. } = *datagram;
        let hash = self.hasher.hash_one((src, dst, payload));
        let is_new = self.seen.insert(hash);
        let last_time = self.last_time.replace(received_at);
        self.rows.push(LadderRow {
            time: received_at,
            src,
            dst,
            transport: transport_name(transport),
            summary: Parts::of(&message).to_string(),
            retransmission: !is_new,
            delta_ms: last_time.map(|last| millis(received_at.since(last))),
            label: Parts::of(&message).label(),
        });
    }

    /// The messages, oldest first.
    #[must_use]
    pub fn rows(&self) -> &[LadderRow] {
        &self.rows
    }

    /// Messages that there was no room for.
    #[must_use]
    pub const fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Messages of the call, shown or not.
    #[must_use]
    pub fn messages(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX).saturating_add(self.omitted)
    }
}

/// One message.
#[derive(Clone, Debug, Serialize)]
pub struct LadderRow {
    /// When it came.
    pub time: Timestamp,
    /// Where it came from.
    pub src: SocketAddr,
    /// Where it went.
    pub dst: SocketAddr,
    /// What carried it: `udp`, `tcp`.
    pub transport: &'static str,
    /// What it is: `INVITE sip:v1@192.0.2.1 (SDP: audio 16384 PCMU)`, `200 OK (INVITE)`.
    pub summary: String,
    /// Whether the same bytes went the same way before.
    pub retransmission: bool,
    /// Time since the message before, milliseconds; `None` for the first.
    pub delta_ms: Option<f64>,
    /// The summary without the Request-URI, for where there is little room.
    #[serde(skip)]
    pub(super) label: String,
}

/// What a summary is made of.
#[derive(Clone, Debug)]
struct Parts {
    /// Method, or status code and reason.
    title: String,
    /// The Request-URI.
    target: Option<String>,
    /// What a response answers.
    method: Option<String>,
    media: Option<String>,
}

impl Parts {
    fn of(message: &SipMessage<'_>) -> Self {
        let media = media_text(message);
        match message.start_line() {
            StartLine::Request { method_text, uri, .. } => Self {
                title: text(method_text),
                target: Some(text(&without_password(uri))),
                method: None,
                media,
            },
            StartLine::Response { code, reason } => Self {
                title: format!("{code} {}", text(reason)).trim_end().to_owned(),
                target: None,
                method: message.cseq().map(|cseq| text(cseq.method_text)),
                media,
            },
        }
    }
}

impl Parts {
    /// All but the Request-URI, as short as it goes.
    fn label(&self) -> String {
        let Self { title, method, media, .. } = self;
        match (method, media) {
            (Some(method), Some(media)) => format!("{title} ({method}, {media})"),
            (Some(text), None) | (None, Some(text)) => format!("{title} ({text})"),
            (None, None) => title.clone(),
        }
    }
}

impl core::fmt::Display for Parts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.title)?;
        if let Some(target) = &self.target {
            write!(f, " {target}")?;
        }
        match (&self.method, &self.media) {
            (Some(method), Some(media)) => write!(f, " ({method}, SDP: {media})"),
            (Some(method), None) => write!(f, " ({method})"),
            (None, Some(media)) => write!(f, " (SDP: {media})"),
            (None, None) => Ok(()),
        }
    }
}

/// The media of a session description: `audio 16384 PCMU/PCMA sendonly, video 0`.
fn media_text(message: &SipMessage<'_>) -> Option<String> {
    if !message.has_content_type("application/sdp") {
        return None;
    }
    let description = SessionDescription::parse(message.body()).ok()?;
    let media: Vec<_> =
        description.media().take(MEDIA_MAX).map(|media| one_media(&media)).collect();
    (!media.is_empty()).then(|| media.join(", "))
}

fn one_media(media: &Media<'_>) -> String {
    let mut words = vec![text(media.kind_text()), media.port().to_string()];
    let codecs: Vec<_> = media
        .formats()
        .map(|format| media.codec(format).0)
        .filter(|codec| codec.is_speech())
        .filter_map(|codec| codec.name())
        .take(CODECS_MAX)
        .collect();
    if !codecs.is_empty() {
        words.push(codecs.join("/"));
    }
    if media.is_secure() {
        words.push("encrypted".to_owned());
    }
    if media.direction() != Direction::SendRecv {
        words.push(media.direction().name().to_owned());
    }
    words.join(" ")
}

/// The user part of a URI may hold a password (RFC 3261 section 19.1.1), which is nobody's
/// business.
fn without_password(uri: &[u8]) -> Vec<u8> {
    let scheme = memchr::memchr(b':', uri).map_or(0, |at| at + 1);
    let (scheme, rest) = uri.split_at(scheme);
    let Some(at) = memchr::memchr(b'@', rest) else { return uri.to_vec() };
    let (user, host) = rest.split_at(at);
    let user = user.split(|&byte| byte == b':').next().unwrap_or(user);
    [scheme, user, host].concat()
}

/// Bytes of the network as text, cut where no name or URI goes on.
fn text(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(TEXT_MAX)];
    let text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < bytes.len() { text + "…" } else { text }
}

const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

/// Messages of one call that are kept: a long call with a refresh every 15 minutes, or one with
/// many a retransmission, fits.
const ROWS_MAX: usize = 200;

/// Octets of a method, a reason phrase or a URI that are kept.
const TEXT_MAX: usize = 160;

/// Media descriptions that a summary names.
const MEDIA_MAX: usize = 4;

/// Codecs that a summary names.
const CODECS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analyze::samples::{address, at_ms},
        wire::IpMarks,
    };

    const INVITE: &str = "INVITE sip:v1:secret@172.16.0.1 SIP/2.0\r\nCall-ID: a@b\r\n\
        CSeq: 1 INVITE\r\nAuthorization: Digest response=\"hidden\"\r\n\
        Content-Type: application/sdp\r\n\r\n\
        v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 16384 RTP/AVP 0 8 101\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\nm=video 0 RTP/SAVP 97\r\n";

    fn observe(ladder: &mut Ladder, ms: u64, from: usize, to: usize, text: &str) {
        ladder.observe(&Datagram {
            received_at: at_ms(ms),
            src: address(from),
            dst: address(to),
            transport: Transport::Udp,
            marks: IpMarks::UNKNOWN,
            payload: text.as_bytes(),
        });
    }

    #[test]
    fn a_message_is_summed_up_without_secrets() {
        let mut ladder = Ladder::new("a@b");
        observe(&mut ladder, 0, 1, 2, INVITE);
        observe(&mut ladder, 3, 2, 1, "SIP/2.0 200 OK\r\ni: a@b\r\nCSeq: 1 INVITE\r\n\r\n");
        observe(&mut ladder, 4, 2, 1, "SIP/2.0 100\r\ni: a@b\r\n\r\n");
        let [invite, ok, trying] = ladder.rows() else { panic!("{ladder:?}") };
        assert_eq!(
            invite.summary,
            "INVITE sip:v1@172.16.0.1 \
             (SDP: audio 16384 PCMU/PCMA sendonly, video 0 encrypted)",
        );
        assert!(invite.label.starts_with("INVITE (audio 16384 PCMU"), "{}", invite.label);
        assert_eq!((ok.summary.as_str(), trying.summary.as_str()), ("200 OK (INVITE)", "100"));
        assert_eq!((invite.delta_ms, ok.delta_ms), (None, Some(3.0)));
        assert_eq!((invite.src, invite.dst, invite.transport), (address(1), address(2), "udp"));
    }

    #[test]
    fn the_same_bytes_the_same_way_are_a_retransmission() {
        let mut ladder = Ladder::new("a@b");
        observe(&mut ladder, 0, 1, 2, INVITE);
        observe(&mut ladder, 1, 2, 3, INVITE);
        observe(&mut ladder, 500, 1, 2, INVITE);
        observe(&mut ladder, 600, 1, 2, &INVITE.replace("1 INVITE", "2 INVITE"));
        let again: Vec<_> = ladder.rows().iter().map(|row| row.retransmission).collect();
        assert_eq!(again, [false, false, true, false]);
    }

    #[test]
    fn what_is_of_another_call_is_passed_over() {
        let mut ladder = Ladder::new("a@b");
        observe(&mut ladder, 0, 1, 2, &INVITE.replace("a@b", "xa@b"));
        observe(&mut ladder, 0, 1, 2, "a@b");
        observe(&mut ladder, 0, 1, 2, "BYE sip:a@b SIP/2.0\r\nCall-ID: c\r\n\r\n");
        assert_eq!(ladder.messages(), 0);
    }

    #[test]
    fn the_ladder_is_bounded_and_says_so() {
        let mut ladder = Ladder::new("a@b");
        for ms in 0..250 {
            observe(&mut ladder, ms, 1, 2, INVITE);
        }
        assert_eq!((ladder.rows().len(), ladder.omitted(), ladder.messages()), (200, 50, 250));
    }
}
