//! What one sender sends, told step by step as a trap has it: speech, events, noise, silence, and
//! the ways in which clocks and numbers jump.
//!
//! It assumes no network: every packet arrives the moment it is sent.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]

use core::time::Duration;
use std::net::SocketAddr;

use voxplane::{
    id::{PayloadType, Ssrc},
    wire::rtp::RtpHeader,
};
use zerocopy::IntoBytes as _;

use crate::common::{Flight, ms};

/// A sender, and what it has sent so far.
#[derive(Clone, Debug)]
pub struct Track {
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub ssrc: u32,
    /// When its next packet is sent, after the start.
    pub at: Duration,
    /// The next sequence number and time stamp.
    pub sequence: u16,
    pub time: u32,
    pub payload_type: u8,
    pub clock_khz: u32,
    pub ptime_us: u32,
    pub is_marked: bool,
    pub is_silent: bool,
    /// What it has sent, with the times of their sending.
    pub packets: Vec<(Duration, Flight)>,
}

impl Track {
    /// PCMU of 20 ms, from a moment on. Numbers and time stamps are about to wrap.
    pub fn new(src: SocketAddr, dst: SocketAddr, ssrc: u32, at: Duration) -> Self {
        Self {
            src,
            dst,
            ssrc,
            at,
            sequence: 65_500,
            time: 0xFFFF_F000,
            payload_type: 0,
            clock_khz: 8,
            ptime_us: 20_000,
            is_marked: true,
            is_silent: false,
            packets: Vec::new(),
        }
    }

    /// Goes on in another format, with packets of so many microseconds.
    #[must_use]
    pub const fn format(mut self, payload_type: u8, clock_khz: u32, ptime_us: u32) -> Self {
        (self.payload_type, self.clock_khz, self.ptime_us) = (payload_type, clock_khz, ptime_us);
        self
    }

    /// So many packets of speech.
    #[must_use]
    pub fn speak(mut self, count: u32) -> Self {
        for _ in 0..count {
            let payload = self.speech();
            self.send(self.payload_type, self.time, &payload);
            self.pass();
        }
        self
    }

    /// The same with nothing to be heard in them.
    #[must_use]
    pub fn say_nothing(mut self, count: u32) -> Self {
        self.is_silent = true;
        self = self.speak(count);
        self.is_silent = false;
        self
    }

    /// So many packets of speech that do not arrive.
    #[must_use]
    pub fn lose(mut self, count: u16) -> Self {
        for _ in 0..count {
            self.sequence = self.sequence.wrapping_add(1);
            self.pass();
        }
        self
    }

    /// The next packet has the marker bit.
    #[must_use]
    pub const fn mark(mut self) -> Self {
        self.is_marked = true;
        self
    }

    /// Sends nothing for a while; the clock of its time stamps runs on.
    #[must_use]
    pub fn pause(mut self, time: Duration) -> Self {
        let ticks = u32::try_from(time.as_micros() * u128::from(self.clock_khz) / 1000);
        self.time = self.time.wrapping_add(ticks.expect("a short time"));
        self.at += time;
        self
    }

    /// Sends nothing for a while, in which its clock stands still.
    #[must_use]
    pub fn stand_still(mut self, time: Duration) -> Self {
        self.at += time;
        self
    }

    /// The time stamp jumps.
    #[must_use]
    pub const fn jump_time(mut self, ticks: i32) -> Self {
        self.time = self.time.wrapping_add_signed(ticks);
        self
    }

    /// The sequence number jumps.
    #[must_use]
    pub const fn jump_sequence(mut self, to: u16) -> Self {
        self.sequence = to;
        self
    }

    /// Sends from another source.
    #[must_use]
    pub const fn with_ssrc(mut self, ssrc: u32) -> Self {
        self.ssrc = ssrc;
        self
    }

    /// An event of RFC 4733 in so many packets, and the last one twice more: all with the time of
    /// its beginning. The first one has the marker.
    #[must_use]
    pub fn event(mut self, payload_type: u8, count: u32) -> Self {
        let begun = self.time;
        self.is_marked = true;
        for index in 1..=count + 2 {
            let end = if index >= count { 0x80 } else { 0 };
            let duration = u16::try_from(index.min(count) * 160).expect("a short one");
            let [high, low] = duration.to_be_bytes();
            self.send(payload_type, begun, &[5, end | 10, high, low]);
            if index <= count {
                self.pass();
            }
        }
        self
    }

    /// A packet of comfort noise (RFC 3389), which takes no time.
    #[must_use]
    pub fn noise(mut self) -> Self {
        self.send(13, self.time, &[40]);
        self
    }

    /// Changes the last packet, as somebody on its way might.
    #[must_use]
    pub fn with_last(mut self, change: impl FnOnce(&mut (Duration, Flight))) -> Self {
        change(self.packets.last_mut().expect("a packet"));
        self
    }

    /// How many packets were sent.
    pub fn count(&self) -> u32 {
        u32::try_from(self.packets.len()).expect("few")
    }

    /// The time of one packet.
    fn pass(&mut self) {
        let ticks = self.ptime_us * self.clock_khz / 1000;
        self.time = self.time.wrapping_add(ticks);
        self.at += Duration::from_micros(self.ptime_us.into());
    }

    fn send(&mut self, payload_type: u8, time: u32, payload: &[u8]) {
        let is_marked = core::mem::take(&mut self.is_marked);
        let header = RtpHeader::new(
            PayloadType(payload_type),
            is_marked,
            self.sequence,
            time,
            Ssrc(self.ssrc),
        );
        let bytes = [header.as_bytes(), payload].concat();
        self.packets.push((self.at, Flight { src: self.src, dst: self.dst, bytes }));
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Octets that are loud in any codec, or silent in G.711.
    fn speech(&self) -> Vec<u8> {
        let len = if self.clock_khz == 8 { self.ptime_us / 125 } else { 100 };
        let silence = if self.payload_type == 8 { 0xD5 } else { 0xFF };
        let octet = |index: u32| {
            let loud = (index * 37 + u32::from(self.sequence) * 11) % 120;
            if self.is_silent { silence } else { u8::try_from(loud).expect("a small number") }
        };
        (0..len).map(octet).collect()
    }
}

/// As long as a packet of PCMU here.
pub const PTIME: Duration = ms(20);
