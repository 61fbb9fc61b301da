//! One stream through a shard that observes it, packet by packet on a virtual clock, and what an
//! older, slower reading of the definitions says of the same packets.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]

use core::time::Duration;

use fastrand::Rng;
use voxplane::{
    id::{PayloadType, Ssrc},
    shard::{
        Outbox, Role, Shard, ShardConfig,
        buffer::JitterBuffers,
        report::{Report, StreamReport},
    },
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport, rtp::RtpHeader},
};
use zerocopy::IntoBytes as _;

/// When the first packet of every stream is sent.
pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A packet as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Since [`START`].
    pub at: Duration,
    pub sequence: u16,
    pub rtp_time: u32,
    pub marker: bool,
    pub payload_type: u8,
}

/// Audio of 20 ms at 8000 Hz, sent when it should be.
pub fn audio(index: u32) -> Packet {
    Packet {
        at: Duration::from_millis(20) * index,
        sequence: (index & 0xFFFF) as u16,
        rtp_time: index.wrapping_mul(160),
        marker: false,
        payload_type: 0,
    }
}

/// As many packets of [`audio`], each later by what `delay_ms` says, in order of arrival.
pub fn delayed(count: u32, mut delay_ms: impl FnMut(u32) -> f64) -> Vec<Packet> {
    let late = |packet: Packet, ms: f64| Packet {
        at: packet.at + Duration::from_secs_f64(ms / 1e3),
        ..packet
    };
    let mut packets: Vec<_> = (0..count).map(|index| late(audio(index), delay_ms(index))).collect();
    packets.sort_by_key(|packet| packet.at);
    packets
}

/// The last report about them.
pub fn measured(packets: &[Packet]) -> StreamReport {
    measured_with(JitterBuffers::default(), packets)
}

/// The last report about them, with these jitter buffers.
pub fn measured_with(jitter_buffers: JitterBuffers, packets: &[Packet]) -> StreamReport {
    *reports_with(jitter_buffers, packets).last().expect("a report")
}

/// All reports about them, with these jitter buffers.
pub fn reports_with(jitter_buffers: JitterBuffers, packets: &[Packet]) -> Vec<StreamReport> {
    let config = ShardConfig {
        role: Role::Observe,
        dialogs_max: 1,
        streams_max: 1,
        jitter_buffers,
        ..ShardConfig::default()
    };
    let (mut shard, mut out) = (Shard::new(config), Outbox::default());
    let mut reports = Vec::new();
    let mut take = |out: &mut Outbox| {
        reports.extend(out.reports().iter().filter_map(|report| match report {
            Report::Stream(report) => Some(*report),
            _ => None,
        }));
        out.clear();
    };
    for packet in packets {
        let payload_type = PayloadType(packet.payload_type);
        let header =
            RtpHeader::new(payload_type, packet.marker, packet.sequence, packet.rtp_time, Ssrc(7));
        let received_at = START + packet.at;
        shard.poll(received_at, &mut out);
        let datagram = Datagram {
            received_at,
            src: ([198, 51, 100, 1], 4000).into(),
            dst: ([192, 0, 2, 1], 20_000).into(),
            transport: Transport::Udp,
            marks: IpMarks::UNKNOWN,
            payload: header.as_bytes(),
        };
        shard.observe([datagram], &mut out);
        take(&mut out);
    }
    let end = packets.last().map_or(Duration::ZERO, |packet| packet.at);
    shard.finish(START + end, &mut out);
    take(&mut out);
    reports
}

/// How a network delays packets, beyond what all of them take; milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Constant,
    /// Up to so much, each as likely.
    Uniform(f64),
    /// A queue: this much in the mean.
    Exponential(f64),
    /// Seldom touched, and then by more: spikes of so much for one packet in fifty.
    Spikes(f64),
    /// Two paths, the second so much longer.
    TwoPaths(f64),
    /// A sum of three uniform ones: the fastest is rare.
    Humped(f64),
}

impl Shape {
    pub fn random(rng: &mut Rng, ms_max: f64) -> Self {
        let ms = 1.0 + rng.f64() * (ms_max - 1.0);
        match rng.u8(..6) {
            0 => Self::Constant,
            1 => Self::Uniform(ms),
            2 => Self::Exponential(ms / 3.0),
            3 => Self::Spikes(ms),
            4 => Self::TwoPaths(ms),
            _ => Self::Humped(ms),
        }
    }

    pub fn delay_ms(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Uniform(ms) => rng.f64() * ms,
            Self::Exponential(ms) => -ms * (1.0 - rng.f64()).ln(),
            Self::Spikes(ms) if rng.u8(..50) == 0 => rng.f64() * ms,
            Self::Spikes(_) => rng.f64(),
            Self::TwoPaths(ms) => rng.f64() + if rng.bool() { ms } else { 0.0 },
            Self::Humped(ms) => (rng.f64() + rng.f64() + rng.f64()) / 3.0 * ms,
        }
    }
}
