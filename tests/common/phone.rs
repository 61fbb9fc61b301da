//! A phone: calls, talks, reports and hangs up by a plan, retransmits what is lost.
//!
//! Its SIP is text, its state is its own; it shares no code with what it tests but the views.

use core::time::Duration;
use std::net::SocketAddr;

use voxplane::{
    id::Ssrc,
    time::Timestamp,
    wire::{
        rtcp::{self, ReportBlock, ReportBlockValues, RtcpCompound, RtcpPacket, SenderInfo},
        rtp::RtpPacket,
        sip::{HeaderName, Method, StartLine},
    },
};

use super::{
    Caller, Flight, Sent, ms,
    network::{Act, Wish},
    rtp, secs,
};

/// What a phone is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The packets to send, by their time after the answer.
    pub packets: Vec<Planned>,
    /// From the answer to the BYE.
    pub talk: Duration,
    pub sends_rtcp: bool,
    /// Where its packets come from, if that is another address than its SDP says.
    pub real_media: Option<SocketAddr>,
    /// Its clock, before the appliance's.
    pub clock_ahead: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub after: Duration,
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

pub struct Phone {
    pub caller: Caller,
    pub plan: Plan,
    /// The appliance's media address, once it has answered.
    pub media: Option<SocketAddr>,
    /// The status of the final response to the INVITE.
    pub answer: Option<u16>,
    /// What the appliance says about our stream: when, and the block.
    pub blocks: Vec<(Timestamp, ReportBlock)>,
    /// Sender reports sent: when, and the middle of their NTP time.
    pub reported: Vec<(Timestamp, u32)>,
    /// Echoed packets received.
    pub echoes: u64,
    has_progress: bool,
    is_over: bool,
    echo: Option<(u32, u16)>,
    heard_report: Option<(u32, Timestamp)>,
}

/// PCMU of 20 ms.
pub fn speech(ssrc: u32, first: u16, count: u32) -> Vec<Planned> {
    let packet = |index: u32| Planned {
        after: ms(20) * index,
        payload_type: 0,
        marker: index == 0,
        sequence: first.wrapping_add((index & 0xFFFF) as u16),
        timestamp: index * 160,
        ssrc,
    };
    (0..count).map(packet).collect()
}

impl Plan {
    pub fn new(packets: Vec<Planned>) -> Self {
        let last = packets.last().map_or(Duration::ZERO, |packet| packet.after);
        Self {
            packets,
            talk: last + ms(20),
            sends_rtcp: false,
            real_media: None,
            clock_ahead: secs(0),
        }
    }
}

impl Phone {
    pub fn new(caller: Caller, plan: Plan) -> Self {
        Self {
            caller,
            plan,
            media: None,
            answer: None,
            blocks: Vec::new(),
            reported: Vec::new(),
            echoes: 0,
            has_progress: false,
            is_over: false,
            echo: None,
            heard_report: None,
        }
    }

    pub fn receives_at(&self, dst: SocketAddr) -> bool {
        let media = self.source();
        dst == self.caller.addr || dst == media || dst == above(media)
    }

    pub fn act(&mut self, now: Timestamp, act: Act) -> Vec<Wish> {
        match act {
            Act::Invite { wait } if !self.has_progress && wait <= secs(32) => {
                let again = Wish::Later(wait, Act::Invite { wait: wait * 2 });
                vec![self.sip(&self.caller.invite()), again]
            }
            Act::Talk { index } => {
                let Planned { payload_type, marker, sequence, timestamp, ssrc, .. } =
                    self.plan.packets[index];
                let packet = rtp(payload_type, marker, sequence, timestamp, ssrc);
                self.media
                    .map(|media| self.from(self.source(), media, packet))
                    .into_iter()
                    .collect()
            }
            Act::Rtcp if !self.is_over => self.report(now),
            Act::Bye { wait } if !self.is_over && wait <= secs(32) => {
                let bye = self.sip(&self.caller.request("BYE", 2, ""));
                vec![bye, Wish::Later(wait, Act::Bye { wait: wait * 2 })]
            }
            Act::Invite { .. } | Act::Rtcp | Act::Bye { .. } => Vec::new(),
        }
    }

    pub fn receive(&mut self, now: Timestamp, sent: &Sent) -> Vec<Wish> {
        if sent.dst == self.caller.addr {
            return self.receive_sip(sent);
        }
        if sent.dst == above(self.source()) {
            self.receive_rtcp(now, sent);
        } else if let Ok(packet) = RtpPacket::parse(&sent.bytes) {
            self.echoes += 1;
            self.echo = Some((packet.ssrc().0, packet.sequence()));
        }
        Vec::new()
    }

    fn receive_sip(&mut self, sent: &Sent) -> Vec<Wish> {
        let message = sent.message();
        match (message.start_line(), message.method()) {
            (StartLine::Response { code, .. }, Some(Method::Invite)) => {
                self.has_progress = true;
                if code < 200 {
                    return Vec::new();
                }
                let is_first = self.answer.replace(code).is_none();
                self.caller.to_tag = sent.to_tag();
                let mut wishes = vec![self.sip(&self.caller.request("ACK", 1, ""))];
                if code == 200 && is_first {
                    self.media = Some(sent.media_address());
                    wishes.extend(self.talk());
                }
                wishes
            }
            (StartLine::Response { .. }, Some(Method::Bye)) => {
                self.is_over = true;
                Vec::new()
            }
            (StartLine::Request { .. }, Some(Method::Bye)) => {
                self.is_over = true;
                vec![self.sip(&ok(sent))]
            }
            _ => Vec::new(),
        }
    }

    fn talk(&self) -> impl Iterator<Item = Wish> {
        let packets = self.plan.packets.iter().enumerate();
        let packets = packets.map(|(index, packet)| Wish::Later(packet.after, Act::Talk { index }));
        let reports = self.plan.sends_rtcp.then_some(Wish::Later(secs(2), Act::Rtcp));
        let bye = Wish::Later(self.plan.talk, Act::Bye { wait: ms(500) });
        packets.chain(reports).chain([bye])
    }

    /// A sender report about what is sent, with a block about the echo.
    fn report(&mut self, now: Timestamp) -> Vec<Wish> {
        let Some(media) = self.media else { return Vec::new() };
        let ntp = (now + self.plan.clock_ahead).to_ntp();
        let ssrc = Ssrc(self.plan.packets[0].ssrc);
        let block = self.echo.map(|(echo, highest)| {
            let (lsr, dlsr) = self.heard_report.map_or((0, 0), |(lsr, at)| {
                let delay = (now.since(at).as_nanos() << 16) / 1_000_000_000;
                (lsr, u32::try_from(delay).expect("short"))
            });
            ReportBlockValues {
                ssrc: Ssrc(echo),
                extended_highest_sequence: highest.into(),
                lsr,
                dlsr,
                ..ReportBlockValues::default()
            }
        });
        let mut bytes = Vec::new();
        let info = SenderInfo { ssrc, ntp, ..SenderInfo::default() };
        rtcp::write_sender_report(&mut bytes, info, block.as_slice());
        rtcp::write_cname(&mut bytes, ssrc, "phone");
        self.reported.push((now, ((ntp >> 16) & 0xFFFF_FFFF) as u32));
        let report = self.from(above(self.source()), above(media), bytes);
        vec![report, Wish::Later(secs(5), Act::Rtcp)]
    }

    fn receive_rtcp(&mut self, now: Timestamp, sent: &Sent) {
        let compound = RtcpCompound::parse(&sent.bytes).expect("RTCP");
        for packet in compound.packets() {
            let blocks = match packet {
                RtcpPacket::SenderReport(report) => {
                    let middle = ((report.ntp() >> 16) & 0xFFFF_FFFF) as u32;
                    self.heard_report = Some((middle, now));
                    report.blocks()
                }
                RtcpPacket::ReceiverReport(report) => report.blocks(),
                _ => &[],
            };
            self.blocks.extend(blocks.iter().map(|&block| (now, block)));
        }
    }

    fn source(&self) -> SocketAddr {
        self.plan.real_media.unwrap_or(self.caller.media)
    }

    fn sip(&self, text: &str) -> Wish {
        self.from(self.caller.addr, self.caller.us, text.as_bytes().to_vec())
    }

    fn from(&self, src: SocketAddr, dst: SocketAddr, bytes: Vec<u8>) -> Wish {
        Wish::Send(Flight { src, dst, bytes })
    }
}

/// The 200 to a request of the appliance.
pub fn ok(request: &Sent) -> String {
    let one = |name| request.values(name).remove(0);
    format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Content-Length: 0\r\n\r\n",
        one(HeaderName::Via),
        one(HeaderName::From),
        one(HeaderName::To),
        one(HeaderName::CallId),
        one(HeaderName::CSeq),
    )
}

pub fn above(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port() + 1)
}
