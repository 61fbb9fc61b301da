//! One call: the dialog that its INVITE made (RFC 3261 section 12) and the media it agreed on.

use core::time::Duration;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arrayvec::ArrayVec;

use super::{
    admission::Unconfirmed,
    answer::Refused,
    observe::{FORGOTTEN, SETTLED, UNANSWERED},
    outbox::Outbox,
    report::{CallEvent, Flow},
    response::response_address,
    routes::Action,
    rtcp::Participant,
    seen::Seen,
    sending::Sending,
    stream::Format,
    tags::TAG_LEN,
};
use crate::{
    id::{PayloadType, Ssrc},
    limits::FORMATS_MAX,
    time::Timestamp,
    wire::{Datagram, Transport, sdp::Direction, sip::SipMessage},
};

/// Names a dialog within its shard: the slot is used again, the serial is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialogId {
    pub(crate) slot: u32,
    pub(crate) serial: u64,
}

/// One call: this appliance answers it, or sees it pass between two others.
#[derive(Debug)]
pub(crate) struct Dialog {
    pub(crate) id: DialogId,
    pub(crate) hash: u64,
    pub(crate) texts: Texts,
    /// Our address that the last request came to.
    pub(crate) local: SocketAddr,
    /// Where the last request came from.
    pub(crate) peer: SocketAddr,
    /// What carried it.
    pub(crate) transport: Transport,
    pub(crate) phase: Phase,
    /// CSeq number of the last INVITE.
    pub(crate) invite_cseq: u32,
    /// Names the transaction of the last INVITE.
    pub(crate) invite_transaction: u64,
    /// CSeq number of the last request sent from here.
    pub(crate) local_cseq: u32,
    /// The last response to the INVITE, while the INVITE may come again.
    pub(crate) response: Option<Box<Sent>>,
    /// The 2xx to the INVITE, until it is sent.
    pub(crate) answer: Option<Box<Sent>>,
    /// What is sent again until the far end answers it.
    pub(crate) resend: Option<Box<Resend>>,
    /// Whether an offer of ours waits for its answer.
    pub(crate) is_offering: bool,
    /// What only some calls need.
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) media: Media,
    /// Both sides of a call that is only observed; `None` where it is we who answer.
    pub(crate) seen: Option<Box<Seen>>,
    pub(crate) action: Action,
    /// Which way media is expected to go, as control knows it.
    pub(crate) flow: Flow,
    /// Who answers for it until its ACK comes.
    pub(crate) unconfirmed: Option<Unconfirmed>,
    /// When the far end was last heard, by SIP or RTCP; streams know for themselves.
    pub(crate) last_heard: Timestamp,
    /// When RTCP is next due.
    pub(crate) rtcp_at: Timestamp,
    /// The earliest deadline that the timers know of.
    pub(crate) armed: Timestamp,
    /// Slots and serials of its streams.
    pub(crate) streams: Vec<(u32, u64)>,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// INVITE received, to be answered at this time, or to be given up if it is only to ring.
    Ringing { answer_at: Timestamp },
    /// 2xx sent.
    Answered,
    /// Over since this time; the final reports are due once packets under way have arrived, and
    /// all else that may follow a call that is only observed.
    Ended { event: CallEvent, at: Timestamp },
    /// Reported; kept to answer requests that come again.
    Lingering { until: Timestamp },
}

/// What a call needs that has more than INVITE, ACK and BYE.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// RSeq of the last provisional response that was sent reliably (RFC 3262).
    pub(crate) rseq: u32,
    /// Whether the 2xx is due and only waits for a PRACK.
    pub(crate) is_answer_due: bool,
    /// Whether offer and answer are settled before the 2xx, which then has none.
    pub(crate) is_settled: bool,
    /// The last PRACK or UPDATE with its response, should it come again.
    pub(crate) answered: Option<(u32, Sent)>,
    /// The session timer (RFC 4028), if there is one.
    pub(crate) session: Option<SessionTimer>,
}

/// A session that is over unless the far end refreshes it in time (RFC 4028).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimer {
    pub(crate) interval: Duration,
    /// When it is given up; far away until it is confirmed.
    pub(crate) until: Timestamp,
}

/// A datagram as it was sent, to be sent again.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) transport: Transport,
    /// Shared by what answers the same INVITE again and what is sent until the ACK.
    pub(crate) bytes: Arc<[u8]>,
}

impl Sent {
    /// A response to a request.
    pub(crate) fn response(
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        bytes: &[u8],
    ) -> Self {
        let dst = response_address(request, datagram);
        let Datagram { dst: src, transport, .. } = *datagram;
        Self { src, dst, transport, bytes: bytes.into() }
    }

    /// Sends it, once more or for the first time.
    pub(crate) fn send(&self, out: &mut Outbox) {
        let Self { src, dst, transport, ref bytes } = *self;
        out.send_by(transport, src, dst, |out| out.extend_from_slice(bytes));
    }
}

/// A datagram on its way again and again (RFC 3261 sections 13.3.1.4 and 17.1.2.2).
#[derive(Debug)]
pub(crate) struct Resend {
    pub(crate) what: Sent,
    pub(crate) awaits: Awaits,
    pub(crate) at: Timestamp,
    pub(crate) interval: Duration,
    pub(crate) until: Timestamp,
}

/// What ends a retransmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// An ACK with this CSeq number.
    Ack(u32),
    /// A PRACK for this RSeq (RFC 3262).
    Prack(u32),
    /// A response with this CSeq number.
    Response(u32),
}

impl Resend {
    /// Boxed: a call needs it only for the moments until it is answered.
    pub(crate) fn new(what: Sent, awaits: Awaits, now: Timestamp) -> Box<Self> {
        Box::new(Self { what, awaits, at: now + T1, interval: T1, until: now + T1 * 64 })
    }

    /// The same for what a stream brings to the far end without being sent again (RFC 3261
    /// sections 17.1.2.2 and 17.2.1): there is only the wait for its answer.
    pub(crate) fn unless_reliable(what: Sent, awaits: Awaits, now: Timestamp) -> Box<Self> {
        let is_reliable = what.transport.is_stream();
        let mut resend = Self::new(what, awaits, now);
        if is_reliable {
            resend.at = resend.until;
        }
        resend
    }

    /// Moves on to the next time, or to the end if that comes first.
    pub(crate) fn back_off(&mut self, now: Timestamp) {
        // A provisional response has no longest interval (RFC 3262 section 3).
        let longest = if let Awaits::Prack(_) = self.awaits { T1 * 64 } else { T2 };
        self.interval = (self.interval * 2).min(longest);
        self.at = (now + self.interval).min(self.until);
    }
}

/// The texts of a dialog that are needed again, in one piece of memory.
#[derive(Debug)]
pub(crate) struct Texts {
    bytes: Box<[u8]>,
    ends: [u32; TEXTS],
}

/// Which text of a dialog.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text {
    CallId,
    /// The tag of the far end.
    RemoteTag,
    /// The far end's From, with its tag: our To.
    Remote,
    /// The far end's To, with our tag: our From.
    Local,
    /// The URI of the far end's Contact.
    Target,
    /// The Record-Route values, in order, comma-separated: our Route.
    Route,
}

impl Texts {
    /// Packs the texts, in the order of [`Text`].
    pub(crate) fn pack(texts: [&[u8]; TEXTS]) -> Self {
        let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len()).sum());
        let ends = texts.map(|text| {
            bytes.extend_from_slice(text);
            u32::try_from(bytes.len()).unwrap_or(u32::MAX)
        });
        Self { bytes: bytes.into(), ends }
    }

    pub(crate) fn get(&self, text: Text) -> &[u8] {
        let index = text as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[index] as usize]
    }

    /// Our tag, with which the text of our end closes; nothing where we are none.
    pub(crate) fn local_tag(&self) -> Option<&[u8; TAG_LEN]> {
        self.get(Text::Local).last_chunk()
    }

    /// The same with another text in one place.
    pub(crate) fn replace(&mut self, text: Text, with: &[u8]) {
        if self.get(text) == with {
            return;
        }
        let mut all = ALL.map(|text| self.get(text));
        all[text as usize] = with;
        let packed = Self::pack(all);
        *self = packed;
    }
}

/// What the session descriptions agreed on, and what happened to the media sent.
#[derive(Debug)]
pub(crate) struct Media {
    /// Our RTP address; RTCP is one port above.
    pub(crate) local: SocketAddr,
    /// Where the far end wants RTP.
    pub(crate) remote_rtp: Option<SocketAddr>,
    /// Where the far end wants RTCP.
    pub(crate) remote_rtcp: Option<SocketAddr>,
    /// Where its RTP really comes from, when that is another address than it said.
    pub(crate) latched: Option<SocketAddr>,
    /// Whether no media has come since the far end last named an address.
    pub(crate) is_awaited: bool,
    pub(crate) formats: ArrayVec<Format, FORMATS_MAX>,
    pub(crate) is_muxed: bool,
    /// Whether it is encrypted: then it is only measured, by its headers.
    pub(crate) is_secure: bool,
    /// The packet time that the far end would like, as far as it can be had.
    pub(crate) ptime_ms: u8,
    /// Our direction.
    pub(crate) direction: Direction,
    /// The media that were refused, which every offer of ours repeats.
    pub(crate) refused: Option<Box<Refused>>,
    pub(crate) session_version: u32,
    /// Our synchronization source.
    pub(crate) ssrc: Ssrc,
    pub(crate) sent: SentMedia,
    /// What is sent that is made here.
    pub(crate) sending: Option<Box<Sending>>,
    /// Its part in RTCP.
    pub(crate) rtcp: Participant,
}

/// What has been sent of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentMedia {
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    pub(crate) packets_at_last_report: u64,
    /// The first of the sequence: a sender whose packets are echoed may begin a new one.
    pub(crate) first_sequence: u16,
    pub(crate) last_sequence: u16,
    pub(crate) last_rtp_time: u32,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

impl Media {
    /// Whether media from this address is expected here.
    pub(crate) fn expects(&self, src: SocketAddr) -> bool {
        self.sources().any(|source| source == src)
    }

    /// The addresses that RTP and RTCP may come from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = SocketAddr> {
        let latched_rtcp = self.latched.filter(|_| !self.is_muxed).map(above);
        [self.remote_rtp, self.remote_rtcp, self.latched, latched_rtcp].into_iter().flatten()
    }

    /// Whether media may be sent to this address.
    pub(crate) fn sends_to(&self, dst: SocketAddr) -> bool {
        let sends = matches!(self.direction, Direction::SendRecv | Direction::SendOnly);
        sends && !self.is_secure && self.expects(dst)
    }

    /// Where RTCP goes, and from where: through the RTP ports where they are multiplexed
    /// (RFC 5761), one above them where the far end's were learnt.
    /// Nowhere where it would have to be encrypted.
    pub(crate) fn rtcp_path(&self) -> Option<(SocketAddr, SocketAddr)> {
        if self.is_secure {
            return None;
        }
        if self.is_muxed {
            return Some((self.local, self.latched.or(self.remote_rtp)?));
        }
        let remote = self.latched.map(above).or(self.remote_rtcp)?;
        Some((above(self.local), remote))
    }
}

impl Dialog {
    /// Whether the call is up: neither over nor lingering.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Ringing { .. } | Phase::Answered)
    }

    /// Whether all is said about the call and nothing is waited for.
    pub(crate) const fn is_quiet(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. }) && self.resend.is_none()
    }

    /// What a payload type means in media to `dst`.
    pub(crate) fn format(&self, dst: SocketAddr, payload_type: PayloadType) -> Format {
        let agreed = self.agreed_format(dst, payload_type);
        agreed.unwrap_or_else(|| Format::assumed(payload_type))
    }

    /// What the session descriptions say of a payload type in media to `dst`.
    pub(crate) fn agreed_format(&self, dst: SocketAddr, of: PayloadType) -> Option<Format> {
        match &self.seen {
            Some(seen) => seen.format(dst, of),
            None => self.media.formats.iter().find(|format| format.payload_type == of).copied(),
        }
    }

    /// How many streams are remembered. The SSRC changes of a sane call are few; one that is
    /// only observed has two sides and may have video.
    pub(crate) const fn streams_max(&self) -> usize {
        if self.seen.is_some() { OBSERVED_STREAMS_MAX } else { ANSWERED_STREAMS_MAX }
    }

    /// When something is next due.
    pub(crate) fn deadline(&self, idle: Duration) -> Timestamp {
        if self.seen.is_some() {
            return match self.phase {
                Phase::Ended { at, .. } => at + SETTLED,
                Phase::Ringing { .. } => self.last_heard + UNANSWERED,
                _ => self.last_heard + FORGOTTEN,
            };
        }
        let resend = self.resend.as_ref().map_or(Timestamp::MAX, |resend| resend.at);
        let phase = match self.phase {
            Phase::Ringing { answer_at } => answer_at,
            Phase::Answered => self.rtcp_at.min(self.last_heard + idle).min(self.session_until()),
            Phase::Ended { at, .. } => at + LAST_PACKETS,
            Phase::Lingering { until } => until,
        };
        resend.min(phase)
    }

    /// When its session is given up unless it is refreshed.
    pub(crate) fn session_until(&self) -> Timestamp {
        let session = self.extras.as_ref().and_then(|extras| extras.session);
        session.map_or(Timestamp::MAX, |session| session.until)
    }

    /// The extras, made if there are none yet.
    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Whether a provisional response waits for its PRACK.
    pub(crate) fn awaits_prack(&self) -> bool {
        let awaits = self.resend.as_ref().map(|resend| resend.awaits);
        matches!(awaits, Some(Awaits::Prack(_)))
    }

    /// The address of the far end's signalling.
    pub(crate) const fn peer_ip(&self) -> IpAddr {
        self.peer.ip()
    }
}

/// Where RTCP is when RTP is at `addr` (RFC 3550 section 11).
fn above(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port().wrapping_add(1))
}

const ALL: [Text; TEXTS] =
    [Text::CallId, Text::RemoteTag, Text::Remote, Text::Local, Text::Target, Text::Route];

const TEXTS: usize = 6;

const ANSWERED_STREAMS_MAX: usize = 4;

const OBSERVED_STREAMS_MAX: usize = 64;

/// Round-trip time estimate (RFC 3261 section 17.1.1.1).
pub(crate) const T1: Duration = Duration::from_millis(500);

/// How long after its BYE a call's packets may still be under way, in the network or in our own
/// sockets.
pub(crate) const LAST_PACKETS: Duration = Duration::from_millis(200);

/// Longest interval between two retransmissions (RFC 3261 section 17.1.2.2).
const T2: Duration = Duration::from_secs(4);
