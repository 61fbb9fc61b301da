//! The SIP messages of one call as they are shown, from those of late: a line each, and the text
//! without secrets for who asks for it. It decides on no call.

use std::net::SocketAddr;

use serde::Serialize;

use crate::{
    time::{Timestamp, millis},
    wire::{
        Transport,
        sdp::{Direction, Media, SessionDescription},
        sip::{SipMessage, StartLine, masked},
    },
};

/// The messages of one call: the last 200, as far as they have room, and how many more there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// Who takes part, in the order in which they appear.
    ends: Vec<SocketAddr>,
    messages: Vec<Kept>,
    /// Their texts, one after the other.
    texts: Vec<u8>,
    omitted: u64,
}

/// A message as it passed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// When.
    pub at: Timestamp,
    /// Where it came from.
    pub src: SocketAddr,
    /// Where it went.
    pub dst: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// Whether the same bytes went the same way before.
    pub is_again: bool,
    /// Its bytes, or as many of them as there was room for.
    pub bytes: &'a [u8],
}

/// A message as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    at: Timestamp,
    src: u8,
    dst: u8,
    transport: Transport,
    is_again: bool,
    form: Form,
    len: u16,
}

/// What is kept of a message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// They themselves.
    Text,
    /// What they say in a line: with the Request-URI, then without.
    Summary,
}

impl Ladder {
    /// Takes in a message. The oldest go where there are too many, or where they take more than
    /// `bytes_max`.
    pub fn push(&mut self, message: &Message<'_>, bytes_max: usize) {
        let bytes = &message.bytes[..message.bytes.len().min(usize::from(u16::MAX))];
        let (Some(src), Some(dst)) = (self.end(message.src), self.end(message.dst)) else {
            self.omitted += 1;
            return;
        };
        self.texts.extend_from_slice(bytes);
        self.messages.push(Kept {
            at: message.at,
            src,
            dst,
            transport: message.transport,
            is_again: message.is_again,
            form: Form::Text,
            len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
        });
        let mut texts = self.texts.len();
        let is_past = |kept: usize, texts: usize| {
            kept > MESSAGES_MAX || texts + kept * size_of::<Kept>() > bytes_max.max(BYTES_MIN)
        };
        let mut gone = 0;
        while is_past(self.messages.len() - gone, texts) && gone + 1 < self.messages.len() {
            texts -= usize::from(self.messages[gone].len);
            gone += 1;
        }
        if gone > 0 {
            self.messages.drain(..gone);
            self.texts.drain(..self.texts.len() - texts);
            self.omitted += gone as u64;
        }
    }

    /// Keeps of each message only what it says in a line.
    pub fn shed_texts(&mut self) {
        let mut texts = Vec::new();
        let mut start = 0;
        for kept in &mut self.messages {
            let end = start + usize::from(kept.len);
            let bytes = &self.texts[start..end];
            start = end;
            let before = texts.len();
            match kept.form {
                Form::Summary => texts.extend_from_slice(bytes),
                Form::Text => {
                    let (summary, label) = summed_up(bytes);
                    texts.extend_from_slice(summary.as_bytes());
                    texts.push(BETWEEN);
                    texts.extend_from_slice(label.as_bytes());
                }
            }
            kept.form = Form::Summary;
            kept.len = u16::try_from(texts.len() - before).unwrap_or(u16::MAX);
        }
        texts.shrink_to_fit();
        self.texts = texts;
    }

    /// The messages, oldest first; with their texts, where they are wanted and still known.
    #[must_use]
    pub fn rows(&self, with_texts: bool) -> Vec<LadderRow> {
        let mut rows = Vec::with_capacity(self.messages.len());
        let (mut start, mut last): (usize, Option<Timestamp>) = (0, None);
        for kept in &self.messages {
            let end = start + usize::from(kept.len);
            let bytes = self.texts.get(start..end).unwrap_or_default();
            start = end;
            let (summary, label) = match kept.form {
                Form::Text => summed_up(bytes),
                Form::Summary => {
                    let both = String::from_utf8_lossy(bytes);
                    let (summary, label) =
                        both.split_once(char::from(BETWEEN)).unwrap_or((&both, ""));
                    (summary.to_owned(), label.to_owned())
                }
            };
            let is_text = with_texts && kept.form == Form::Text;
            rows.push(LadderRow {
                time: kept.at,
                src: self.ends[usize::from(kept.src)],
                dst: self.ends[usize::from(kept.dst)],
                transport: transport_name(kept.transport),
                summary,
                retransmission: kept.is_again,
                delta_ms: last.map(|last| millis(kept.at.since(last))),
                raw: is_text.then(|| String::from_utf8_lossy(&masked(bytes)).into_owned()),
                label,
            });
            last = Some(kept.at);
        }
        rows
    }

    /// Messages that there was no room for.
    #[must_use]
    pub const fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Messages of the call, shown or not.
    #[must_use]
    pub fn messages(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX).saturating_add(self.omitted)
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.texts.capacity()
            + self.messages.capacity() * size_of::<Kept>()
            + self.ends.capacity() * size_of::<SocketAddr>()
    }

    /// The place of an address among those that take part; `None` if there are too many.
    fn end(&mut self, address: SocketAddr) -> Option<u8> {
        let place = self.ends.iter().position(|&known| known == address).or_else(|| {
            (self.ends.len() < ENDS_MAX).then(|| {
                self.ends.push(address);
                self.ends.len() - 1
            })
        });
        u8::try_from(place?).ok()
    }
}

/// The ladder of a call, shown.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ShownLadder {
    /// Its messages, oldest first.
    pub ladder: Vec<LadderRow>,
    /// Messages before them that there was no room for.
    pub ladder_omitted: u64,
}

impl ShownLadder {
    /// A ladder, with the texts of its messages where they are wanted.
    #[must_use]
    pub fn of(ladder: &Ladder, with_texts: bool) -> Self {
        Self { ladder: ladder.rows(with_texts), ladder_omitted: ladder.omitted() }
    }
}

/// One message, shown.
#[derive(Clone, Debug, Serialize)]
pub struct LadderRow {
    /// When it came.
    pub time: Timestamp,
    /// Where it came from.
    pub src: SocketAddr,
    /// Where it went.
    pub dst: SocketAddr,
    /// What carried it: `udp`, `tcp`, `tls`.
    pub transport: &'static str,
    /// What it is: `INVITE sip:v1@192.0.2.1 (SDP: audio 16384 PCMU)`, `200 OK (INVITE)`.
    pub summary: String,
    /// Whether the same bytes went the same way before.
    pub retransmission: bool,
    /// Time since the message before, milliseconds; `None` for the first.
    pub delta_ms: Option<f64>,
    /// Its text without secrets, where that is asked for and known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The summary without the Request-URI, for where there is little room.
    #[serde(skip)]
    pub label: String,
}

/// What a message says in a line, with the Request-URI and without.
fn summed_up(bytes: &[u8]) -> (String, String) {
    let Ok(message) = SipMessage::parse(bytes) else { return Default::default() };
    let parts = Parts::of(&message);
    (parts.to_string(), parts.label())
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
    // What has no type may be anything.
    message.content_type()?;
    let description = SessionDescription::parse(message.description().ok()?).ok()?;
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

/// `udp`, `tcp` or `tls`.
pub(super) const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

/// Messages of one call that are kept: a long call with a refresh every 15 minutes, or one with
/// many a retransmission, fits.
const MESSAGES_MAX: usize = 200;

/// Addresses of one call that are told apart.
const ENDS_MAX: usize = 64;

/// What a call may have in any case: an INVITE and its answer.
const BYTES_MIN: usize = 2048;

/// Stands between the two summaries of a message: no text of SIP has it.
const BETWEEN: u8 = 0;

/// Octets of a method, a reason phrase or a URI that are kept.
const TEXT_MAX: usize = 160;

/// Media descriptions that a summary names.
const MEDIA_MAX: usize = 4;

/// Codecs that a summary names.
const CODECS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const INVITE: &str = "INVITE sip:v1:secret@172.16.0.1 SIP/2.0\r\nCall-ID: a@b\r\n\
        CSeq: 1 INVITE\r\nAuthorization: Digest response=\"hidden\"\r\n\
        Content-Type: application/sdp\r\n\r\n\
        v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 16384 RTP/AVP 0 8 101\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\nm=video 0 RTP/SAVP 97\r\n";

    fn address(n: usize) -> SocketAddr {
        format!("192.0.2.{n}:5060").parse().unwrap()
    }

    fn push(ladder: &mut Ladder, ms: u64, from: usize, to: usize, text: &str) {
        let message = Message {
            at: Timestamp::from_secs(1_769_860_800) + Duration::from_millis(ms),
            src: address(from),
            dst: address(to),
            transport: Transport::Udp,
            is_again: false,
            bytes: text.as_bytes(),
        };
        ladder.push(&message, 1 << 20);
    }

    #[test]
    fn a_message_is_summed_up_without_secrets() {
        let mut ladder = Ladder::default();
        push(&mut ladder, 0, 1, 2, INVITE);
        push(&mut ladder, 3, 2, 1, "SIP/2.0 200 OK\r\ni: a@b\r\nCSeq: 1 INVITE\r\n\r\n");
        push(&mut ladder, 4, 2, 1, "SIP/2.0 100\r\ni: a@b\r\n\r\n");
        let rows = ladder.rows(false);
        let [invite, ok, trying] = &rows[..] else { panic!("{ladder:?}") };
        assert_eq!(
            invite.summary,
            "INVITE sip:v1@172.16.0.1 \
             (SDP: audio 16384 PCMU/PCMA sendonly, video 0 encrypted)",
        );
        assert!(invite.label.starts_with("INVITE (audio 16384 PCMU"), "{}", invite.label);
        assert_eq!((ok.summary.as_str(), trying.summary.as_str()), ("200 OK (INVITE)", "100"));
        assert_eq!((invite.delta_ms, ok.delta_ms), (None, Some(3.0)));
        assert_eq!((invite.src, invite.dst, invite.transport), (address(1), address(2), "udp"));
        assert!(rows.iter().all(|row| row.raw.is_none()));
        let raw = ladder.rows(true)[0].raw.clone().unwrap();
        assert!(raw.starts_with("INVITE sip:v1:***@172.16.0.1 SIP/2.0\r\nCall-ID"), "{raw}");
        assert!(!raw.contains("secret") && !raw.contains("hidden"), "{raw}");
    }

    #[test]
    fn without_its_texts_a_ladder_says_the_same_in_less() {
        let mut ladder = Ladder::default();
        push(&mut ladder, 0, 1, 2, INVITE);
        push(&mut ladder, 3, 2, 1, "SIP/2.0 200 OK\r\ni: a@b\r\nCSeq: 1 INVITE\r\n\r\n");
        let said = |ladder: &Ladder| -> Vec<_> {
            ladder.rows(true).into_iter().map(|row| (row.summary, row.label, row.time)).collect()
        };
        let (before, size) = (said(&ladder), ladder.size());
        ladder.shed_texts();
        ladder.shed_texts();
        assert_eq!(said(&ladder), before);
        assert!(ladder.size() < size);
        assert!(ladder.rows(true)[0].raw.is_none());
        push(&mut ladder, 5, 1, 2, INVITE);
        assert!(ladder.rows(true)[2].raw.is_some());
    }

    #[test]
    fn the_last_messages_stay_and_the_others_are_counted() {
        let mut ladder = Ladder::default();
        for ms in 0..250 {
            push(&mut ladder, ms, 1, 2, INVITE);
        }
        let rows = ladder.rows(false);
        assert_eq!((rows.len(), ladder.omitted(), ladder.messages()), (200, 50, 250));
        assert_eq!((rows[0].delta_ms, rows[1].delta_ms), (None, Some(1.0)));
        for n in 0..300 {
            push(&mut ladder, 300, n % 250, 2, INVITE);
        }
        assert!(ladder.ends.len() <= ENDS_MAX && ladder.messages() == 550);
    }

    #[test]
    fn a_call_has_no_more_than_its_share() {
        let mut ladder = Ladder::default();
        let message = Message {
            at: Timestamp::MIN,
            src: address(1),
            dst: address(2),
            transport: Transport::Udp,
            is_again: false,
            bytes: &[b'x'; 1000],
        };
        (0..100).for_each(|_| ladder.push(&message, 10_000));
        assert_eq!(ladder.rows(true).len(), 9);
        ladder.push(&Message { bytes: &[b'x'; 100_000], ..message }, 10_000);
        assert_eq!((ladder.rows(true).len(), ladder.messages()), (1, 101));
    }
}
