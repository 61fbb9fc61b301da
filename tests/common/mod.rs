//! A small world for the shard: a virtual clock, control behind it, and what both have said.
//!
//! Nothing here sleeps or reads a clock. Messages of the far end are templates of text.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]

pub mod network;
pub mod phone;

use core::time::Duration;
use std::{net::SocketAddr, sync::Arc};

use voxplane::{
    control::{
        Calls,
        record::{CallRecord, Snapshot},
    },
    id::{PayloadType, Ssrc},
    shard::{
        Outbox, Shard, ShardConfig,
        report::{CallEvent, Report},
    },
    time::Timestamp,
    wire::{
        Datagram, IpMarks, Transport,
        rtp::RtpHeader,
        sdp::SessionDescription,
        sip::{HeaderName, NameAddr, SipMessage, StartLine},
    },
};
use zerocopy::IntoBytes as _;

/// When every world begins: any time that is no special one.
pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// The appliance's SIP address.
pub const US: &str = "192.0.2.9:5060";

/// A shard, control behind it, and the time.
pub struct World {
    pub now: Timestamp,
    pub shard: Shard,
    pub calls: Calls,
    /// What the shard has sent and nobody has taken.
    pub sent: Vec<Sent>,
    /// All reports so far.
    pub reports: Vec<Report>,
    /// All that was delivered so far.
    pub delivered: Vec<(Timestamp, Flight)>,
    out: Outbox,
    /// When the shard wants to be polled.
    pub deadline: Option<Timestamp>,
}

/// A datagram that the shard has sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    pub at: Timestamp,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub bytes: Vec<u8>,
}

/// A datagram on its way to the shard.
#[derive(Clone, Debug)]
pub struct Flight {
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub bytes: Vec<u8>,
}

impl World {
    pub fn new(config: ShardConfig) -> Self {
        let scoring = (*config.scoring).clone();
        Self {
            now: START,
            shard: Shard::new(config),
            calls: Calls::new(START, 10_000).with_scoring(scoring),
            sent: Vec::new(),
            reports: Vec::new(),
            delivered: Vec::new(),
            out: Outbox::default(),
            deadline: None,
        }
    }

    /// Hands the shard datagrams that arrive now, in one batch.
    pub fn deliver(&mut self, flights: &[Flight]) {
        let datagram = |flight| datagram(flight, self.now);
        let batch: Vec<_> = flights.iter().map(datagram).collect();
        self.shard.handle(&batch, &mut self.out);
        self.delivered.extend(flights.iter().map(|flight| (self.now, flight.clone())));
        self.poll();
    }

    /// Hands the shard a message or packet that arrives now.
    pub fn send(&mut self, src: SocketAddr, dst: SocketAddr, bytes: impl Into<Vec<u8>>) {
        self.deliver(&[Flight { src, dst, bytes: bytes.into() }]);
    }

    /// Lets the shard do what is due now.
    pub fn poll(&mut self) {
        loop {
            self.deadline = self.shard.poll(self.now, &mut self.out);
            if self.deadline.is_none_or(|deadline| deadline > self.now) {
                break;
            }
        }
        self.collect();
    }

    pub fn close(&mut self) {
        self.shard.close(self.now, &mut self.out);
        self.poll();
    }

    /// Lets time run to a moment, from deadline to deadline.
    pub fn run_until(&mut self, until: Timestamp) {
        while let Some(deadline) = self.deadline.filter(|&deadline| deadline <= until) {
            self.now = self.now.max(deadline);
            self.poll();
        }
        self.now = until;
        self.poll();
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// What the shard has sent since it was last asked.
    pub fn take(&mut self) -> Vec<Sent> {
        core::mem::take(&mut self.sent)
    }

    /// The one datagram that the shard has sent since it was last asked.
    pub fn take_one(&mut self) -> Sent {
        let mut sent = self.take();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    pub fn snapshot(&mut self) -> Snapshot {
        self.calls.snapshot(self.now)
    }

    /// The record of a finished call; the last one with this Call-ID.
    pub fn finished(&mut self, call_id: &str) -> Arc<CallRecord> {
        let history = self.snapshot().history;
        let mut found = history.into_iter().filter(|call| call.call_id == call_id);
        found.next_back().unwrap_or_else(|| panic!("{call_id} is not finished"))
    }

    /// What happened to calls, in order.
    pub fn events(&self) -> Vec<CallEvent> {
        let event = |report: &Report| match report {
            Report::Call(report) => Some(report.event),
            _ => None,
        };
        self.reports.iter().filter_map(event).collect()
    }

    fn collect(&mut self) {
        for (transmit, bytes) in self.out.transmits() {
            let bytes = bytes.to_vec();
            self.sent.push(Sent { at: self.now, src: transmit.src, dst: transmit.dst, bytes });
        }
        for report in self.out.reports() {
            self.calls.apply(report);
            self.reports.push(*report);
        }
        let calls = &mut self.calls;
        self.shard.tell_registered(|user| {
            calls.take_registered(user);
            true
        });
        self.out.clear();
    }
}

impl Sent {
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes).expect("text")
    }

    pub fn message(&self) -> SipMessage<'_> {
        let message = SipMessage::parse(&self.bytes).expect("SIP");
        assert_eq!(message.check(), Ok(()), "{self:#?}");
        message
    }

    /// The status of a response; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.message().start_line() {
            StartLine::Response { code, .. } => code,
            StartLine::Request { .. } => 0,
        }
    }

    /// The values of all headers of a name.
    pub fn values(&self, name: HeaderName) -> Vec<String> {
        let values = self.message().values(name).map(String::from_utf8_lossy);
        values.map(|value| value.into_owned()).collect()
    }

    /// The tag in To.
    pub fn to_tag(&self) -> Option<String> {
        let tag = NameAddr::parse(self.message().to()?).tag()?;
        Some(String::from_utf8_lossy(tag).into_owned())
    }

    /// Where the session description in it wants RTP.
    pub fn media_address(&self) -> SocketAddr {
        let message = self.message();
        let sdp = SessionDescription::parse(message.body()).expect("SDP");
        let media = sdp.media().next().expect("media");
        SocketAddr::new(media.connection().expect("an address"), media.port())
    }
}

impl core::fmt::Debug for Sent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let since = self.at.since(START);
        write!(f, "{since:?} {} > {}: {}", self.src, self.dst, self.bytes.escape_ascii())
    }
}

pub fn datagram(flight: &Flight, received_at: Timestamp) -> Datagram<'_> {
    let Flight { src, dst, bytes } = flight;
    Datagram {
        received_at,
        src: *src,
        dst: *dst,
        transport: Transport::Udp,
        marks: IpMarks::UNKNOWN,
        payload: bytes,
    }
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// An RTP packet with 160 octets of speech.
pub fn rtp(payload_type: u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let header = RtpHeader::new(PayloadType(payload_type), marker, sequence, timestamp, Ssrc(ssrc));
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend([0xD5; 160]);
    bytes
}

/// The far end's side of one dialog: enough to write its requests.
#[derive(Clone, Debug)]
pub struct Caller {
    pub addr: SocketAddr,
    pub us: SocketAddr,
    pub user: &'static str,
    pub call_id: String,
    pub from_tag: String,
    /// Our tag, once a response has told it.
    pub to_tag: Option<String>,
    pub branch: u32,
    /// The local address of its media.
    pub media: SocketAddr,
    /// Header lines that every request of it has besides the usual ones.
    pub more: String,
    /// The format that it offers: payload type and what it means.
    pub format: (u8, &'static str),
}

impl Caller {
    pub fn new(addr: &str, call_id: &str) -> Self {
        let addr: SocketAddr = addr.parse().expect("an address");
        Self {
            addr,
            us: if addr.is_ipv4() { US.parse() } else { "[2001:db8::9]:5060".parse() }
                .expect("an address"),
            user: "sink",
            call_id: call_id.to_owned(),
            from_tag: format!("f-{call_id}"),
            to_tag: None,
            branch: 1,
            media: SocketAddr::new(addr.ip(), 4000),
            more: String::new(),
            format: (0, "PCMU/8000"),
        }
    }

    /// A request with a branch of its own, or that of the INVITE that it belongs to.
    pub fn request(&self, method: &str, cseq: u32, body: &str) -> String {
        let Self { addr, us, user, call_id, from_tag, more, branch, .. } = self;
        let to_tag = self.to_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let of_invite = if method == "CANCEL" { "INVITE" } else { method };
        let sdp = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:{user}@{us} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {addr};rport;branch=z9hG4bK-{call_id}-{of_invite}-{cseq}-{branch}\r\n\
             Max-Forwards: 70\r\n\
             From: \"Far end\" <sip:far@{addr}>;tag={from_tag}\r\n\
             To: <sip:{user}@{us}>{to_tag}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:far@{addr}>\r\n\
             {more}{sdp}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// An offer of its format and events at the caller's media address.
    pub fn offer(&self) -> String {
        let (payload_type, meaning) = self.format;
        offer(self.media, "sendrecv")
            .replace("RTP/AVP 0 ", &format!("RTP/AVP {payload_type} "))
            .replace("rtpmap:0 PCMU/8000", &format!("rtpmap:{payload_type} {meaning}"))
    }

    pub fn invite(&self) -> String {
        self.request("INVITE", 1, &self.offer())
    }

    /// Calls, and acknowledges the answer; gives back where the appliance wants the media.
    pub fn set_up(&mut self, world: &mut World) -> SocketAddr {
        world.send(self.addr, self.us, self.invite());
        let answer = world.sent.iter().rfind(|sent| sent.dst == self.addr && sent.status() == 200);
        let answer = answer.expect("an answer").clone();
        self.to_tag = answer.to_tag();
        world.send(self.addr, self.us, self.request("ACK", 1, ""));
        world.take();
        answer.media_address()
    }

    pub fn hang_up(&self, world: &mut World) {
        world.send(self.addr, self.us, self.request("BYE", 2, ""));
    }
}

pub fn offer(media: SocketAddr, direction: &str) -> String {
    let (ip, port) = (media.ip(), media.port());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na={direction}\r\n"
    )
}
