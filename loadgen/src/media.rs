//! [`Media`] is the RTP and RTCP of one call: what to send when, and what came back.
//!
//! Time and packets come in, packets go out; it reads no clock and has no socket.

use std::time::Duration;

use rand_core::Rng as _;
use rand_pcg::Pcg32;
use voxplane::{
    id::{PayloadType, Ssrc},
    time::{NANOS_PER_SEC, Timestamp},
    wire::{
        rtcp::{
            ReportBlock, RtcpCompound, RtcpPacket, SenderInfo, write_cname, write_sender_report,
        },
        rtp::{RtpHeader, RtpPacket},
    },
};
use zerocopy::IntoBytes as _;

use crate::{
    audio::{Clip, SAMPLES_PER_PACKET},
    impair::{PACKET_INTERVAL, Plan, Purpose, Transmission, rng},
    options::{AudioCodec, Scenario},
    receive::Receiver,
    truth::Truth,
};

/// The media of one call from its answer on.
#[derive(Debug)]
pub struct Media {
    stream: Stream,
    plan: Plan,
    next: Option<Transmission>,
    started_at: Timestamp,
    rng: Pcg32,
    report_at: Timestamp,
    truth: Truth,
    packets_out: u32,
    receiver: Receiver,
}

impl Media {
    /// The media of a call that is answered at `now`. It starts within one packet interval, at
    /// a phase of its own: calls that are set up at an even rate would else send in step.
    #[must_use]
    pub fn start(scenario: &Scenario, call: u32, now: Timestamp) -> Self {
        let mut rng = rng(scenario.seed, call, Purpose::Identity);
        let stream = Stream {
            payload_type: payload_type(scenario.codec),
            ssrc: Ssrc(rng.next_u32()),
            first_sequence: low_16(rng.next_u32()),
            first_rtp_time: rng.next_u32(),
        };
        let started_at = now + share_of(PACKET_INTERVAL, &mut rng);
        let mut plan =
            Plan::new(scenario.impairments_of(call), scenario.packets, scenario.seed, call);
        Self {
            stream,
            next: plan.next(),
            plan,
            started_at,
            report_at: started_at + share_of(REPORT_INTERVAL, &mut rng),
            rng,
            truth: Truth::default(),
            packets_out: 0,
            receiver: Receiver::default(),
        }
    }

    /// When the next packet is due; `None` when all are out.
    #[must_use]
    pub fn packet_due(&self) -> Option<Timestamp> {
        self.next.map(|next| self.started_at + next.offset)
    }

    /// The next packet.
    #[must_use]
    pub fn packet(&self, clip: &Clip) -> Option<[u8; PACKET_LEN]> {
        let next = self.next?;
        let mut packet = [0; PACKET_LEN];
        let (head, payload) = packet.split_at_mut(RtpHeader::LEN);
        head.copy_from_slice(self.stream.header(next.index).as_bytes());
        payload.copy_from_slice(clip.packet(next.index));
        Some(packet)
    }

    /// The next packet was handed over at `at`.
    pub fn packet_sent(&mut self, at: Timestamp) {
        if let Some(next) = self.next {
            let rtp_time = self.stream.rtp_time(next.index);
            self.truth.on_sent(at, next.index, rtp_time, next.duplicate);
            self.packets_out += 1;
        }
        self.next = self.plan.next();
    }

    /// The next packet could not be sent and will not be: it is lost.
    pub fn packet_refused(&mut self) {
        self.next = self.plan.next();
    }

    /// When the next RTCP report is due.
    #[must_use]
    pub const fn report_due(&self) -> Timestamp {
        self.report_at
    }

    /// Appends the report that is due: SR with what was received, and SDES (RFC 3550 section
    /// 6.1). The next is due after 0.5 to 1.5 times five seconds (section 6.2).
    pub fn report(&mut self, now: Timestamp, cname: &str, out: &mut Vec<u8>) {
        let media_time = now.since(self.started_at).as_nanos() / NANOS_PER_SAMPLE;
        let octets = u64::from(self.packets_out) * SAMPLES_PER_PACKET as u64;
        let sender = SenderInfo {
            ssrc: self.stream.ssrc,
            ntp: now.to_ntp(),
            rtp_timestamp: self.stream.first_rtp_time.wrapping_add(low_32(media_time)),
            packet_count: self.packets_out,
            octet_count: low_32(u128::from(octets)),
        };
        let block = self.receiver.report(now);
        write_sender_report(out, sender, block.as_slice());
        write_cname(out, self.stream.ssrc, cname);
        self.report_at = now + REPORT_INTERVAL / 2 + share_of(REPORT_INTERVAL, &mut self.rng);
    }

    /// Takes an RTP packet that arrived at `at`; anything else is ignored.
    pub fn receive_rtp(&mut self, at: Timestamp, bytes: &[u8]) {
        if let Ok(packet) = RtpPacket::parse(bytes) {
            self.receiver.receive(at, &packet);
        }
    }

    /// Takes an RTCP datagram that arrived at `at`; gives the round trip if it tells one (RFC
    /// 3550 section 6.4.1).
    pub fn receive_rtcp(&mut self, at: Timestamp, bytes: &[u8]) -> Option<Duration> {
        let mut round_trip = None;
        for packet in RtcpCompound::parse(bytes).ok()?.packets() {
            let blocks = match packet {
                RtcpPacket::SenderReport(report) => {
                    self.receiver.on_sender_report(at, report.ssrc(), report.ntp());
                    report.blocks()
                }
                RtcpPacket::ReceiverReport(report) => report.blocks(),
                _ => continue,
            };
            let about_us = blocks.iter().find(|block| block.ssrc() == self.stream.ssrc);
            round_trip = about_us.and_then(|block| round_trip_of(at, block)).or(round_trip);
        }
        round_trip
    }

    /// What was sent.
    #[must_use]
    pub const fn truth(&self) -> &Truth {
        &self.truth
    }

    /// What was received.
    #[must_use]
    pub const fn receiver(&self) -> &Receiver {
        &self.receiver
    }
}

/// The payload type of a codec (RFC 3551 table 4).
#[must_use]
pub const fn payload_type(codec: AudioCodec) -> PayloadType {
    match codec {
        AudioCodec::Pcmu => PayloadType(0),
        AudioCodec::Pcma => PayloadType(8),
    }
}

/// What the packets of a call have in common.
#[derive(Clone, Copy, Debug)]
struct Stream {
    payload_type: PayloadType,
    ssrc: Ssrc,
    first_sequence: u16,
    first_rtp_time: u32,
}

impl Stream {
    /// The first packet is marked: it begins a talkspurt (RFC 3551 section 4.1).
    fn header(&self, index: u32) -> RtpHeader {
        let sequence = self.first_sequence.wrapping_add(low_16(index));
        RtpHeader::new(self.payload_type, index == 0, sequence, self.rtp_time(index), self.ssrc)
    }

    const fn rtp_time(&self, index: u32) -> u32 {
        self.first_rtp_time.wrapping_add(index.wrapping_mul(TICKS_PER_PACKET))
    }
}

fn round_trip_of(at: Timestamp, block: &ReportBlock) -> Option<Duration> {
    if block.lsr() == 0 {
        return None;
    }
    let spent = at.to_ntp_middle().wrapping_sub(block.lsr()).wrapping_sub(block.dlsr());
    // Less than nothing is clock noise around a very short way.
    let units = u32::try_from(spent.cast_signed()).unwrap_or(0);
    Some(Duration::from_nanos(u64::from(units) * NANOS_PER_SEC / NTP_MIDDLE_UNITS))
}

/// An evenly spread part of `whole`.
fn share_of(whole: Duration, rng: &mut Pcg32) -> Duration {
    whole.mul_f64(f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0))
}

fn low_16(value: u32) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn low_32(value: u128) -> u32 {
    u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0)
}

/// Octets of an RTP packet with 20 ms of G.711.
pub const PACKET_LEN: usize = RtpHeader::LEN + SAMPLES_PER_PACKET;

/// RFC 3550 section 6.2: the least mean time between reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// RTP time runs with the samples.
const TICKS_PER_PACKET: u32 = 160;
const _: () = assert!(TICKS_PER_PACKET as usize == SAMPLES_PER_PACKET);
/// At 8000 Hz.
const NANOS_PER_SAMPLE: u128 = 125_000;
/// LSR and DLSR count in 1/65536 s.
const NTP_MIDDLE_UNITS: u64 = 65_536;
