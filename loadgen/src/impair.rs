//! A [`Plan`] says which packets of a call are sent when, from a seed: lost ones are left out,
//! others held back, repeated or delayed.
//!
//! It reads no clock and knows no socket. The first and the last packet of a call are never
//! lost or held back: a receiver cannot know of a packet that it could not expect, so that
//! every loss planned here shows in the sequence numbers.

use std::{collections::VecDeque, time::Duration};

use rand_core::Rng;
use rand_pcg::Pcg32;

/// What is done to the packets of a call; rates are 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairments {
    /// Share of packets lost.
    pub loss: f64,
    /// Mean length of a run of lost packets, at least 1 (Gilbert model); `None` loses each
    /// packet independently.
    pub mean_run: Option<f64>,
    /// The RFC 3550 jitter to aim at. Each packet is delayed by an amount evenly spread over 0
    /// to three times this: the mean difference of two such delays is a third of their range.
    /// No packet overtakes another, which lowers jitter once the range exceeds the packet
    /// interval.
    pub jitter: Duration,
    /// Share of packets held back until 1 to 3 later packets have been sent.
    pub reorder: f64,
    /// Share of packets sent twice, at once or after the next packet.
    pub duplicate: f64,
}

impl Impairments {
    /// The highest loss that runs of a mean length allow for: after each run at least one packet
    /// gets through.
    #[must_use]
    pub fn loss_max(mean_run: f64) -> f64 {
        mean_run / (mean_run + 1.0)
    }
}

/// One packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// When, counted from the start of the media.
    pub offset: Duration,
    /// Which packet of the call, from 0; sequence number and RTP time follow from it.
    pub index: u32,
    /// It was sent before.
    pub duplicate: bool,
}

/// The transmissions of one call in sending order; offsets never decrease.
#[derive(Clone, Debug)]
pub struct Plan {
    impairments: Impairments,
    rng: Pcg32,
    /// Packets of the call.
    count: u32,
    /// The packet to decide on next.
    next: u32,
    /// Gilbert model: the last packet was lost.
    in_run: bool,
    /// The offset reached; nothing is sent before it.
    reached: Duration,
    held: Vec<Held>,
    /// A packet to be repeated after the next one.
    repeat: Option<u32>,
    ready: VecDeque<Transmission>,
}

impl Plan {
    /// The plan of one call of `count` packets. The same arguments give the same plan.
    #[must_use]
    pub fn new(impairments: Impairments, count: u32, seed: u64, call: u32) -> Self {
        Self {
            impairments,
            rng: rng(seed, call, Purpose::Impairments),
            count,
            next: 0,
            in_run: false,
            reached: Duration::ZERO,
            held: Vec::with_capacity(HELD_MAX),
            repeat: None,
            ready: VecDeque::with_capacity(2 * (HELD_MAX + 1)),
        }
    }

    /// Decides on one packet. Every packet takes the same number of random draws, so that one
    /// rate does not move the choices of another.
    fn decide(&mut self) {
        let index = self.next;
        self.next += 1;
        let lost = self.draw_loss();
        let delay = self.draw_delay();
        let held = self.draw(self.impairments.reorder);
        let distance = 1 + self.rng.next_u32() % HOLD_DISTANCE_MAX;
        let duplicate = self.draw(self.impairments.duplicate);
        let repeat_at_once = self.rng.next_u32() & 1 == 0;
        let packet = Packet { index, duplicate, repeat_at_once };
        self.reached = self.reached.max(PACKET_INTERVAL * index + delay);

        let is_last = index + 1 == self.count;
        let is_spared = index == 0 || is_last;
        if lost && !is_spared {
            return;
        }
        if held && !is_spared && self.held.len() < HELD_MAX {
            self.held.push(Held { packet, distance });
            return;
        }
        if is_last {
            self.release(|_| true);
        }
        self.send(packet);
        for held in &mut self.held {
            held.distance -= 1;
        }
        self.release(|held| held.distance == 0);
        if is_last {
            self.send_repeat();
        }
    }

    fn draw_loss(&mut self) -> bool {
        let loss = self.impairments.loss;
        let probability = match self.impairments.mean_run {
            None => loss,
            // Gilbert: a run ends with 1/mean_run; the stationary share of the lost state is
            // then `loss` if it is entered with this.
            Some(mean_run) if self.in_run => 1.0 - 1.0 / mean_run,
            Some(_) if loss == 0.0 => 0.0,
            Some(mean_run) => loss / (mean_run * (1.0 - loss)),
        };
        self.in_run = self.draw(probability);
        self.in_run
    }

    fn draw_delay(&mut self) -> Duration {
        let spread = JITTER_TO_RANGE * self.impairments.jitter;
        spread.mul_f64(f64::from(self.rng.next_u32()) / TWO_POW_32)
    }

    fn draw(&mut self, probability: f64) -> bool {
        f64::from(self.rng.next_u32()) < probability * TWO_POW_32
    }

    /// Sends the held packets that `due` picks, in the order they were held.
    fn release(&mut self, due: impl Fn(&Held) -> bool) {
        while let Some(at) = self.held.iter().position(&due) {
            let held = self.held.remove(at);
            self.send(held.packet);
        }
    }

    /// Sends a packet, then the one to be repeated after it, then its own repetition.
    fn send(&mut self, packet: Packet) {
        let before = self.repeat.take();
        self.push(packet.index, false);
        if let Some(index) = before {
            self.push(index, true);
        }
        if packet.duplicate && packet.repeat_at_once {
            self.push(packet.index, true);
        } else if packet.duplicate {
            self.repeat = Some(packet.index);
        }
    }

    /// Repeats what waits for a next packet that will not come.
    fn send_repeat(&mut self) {
        if let Some(index) = self.repeat.take() {
            self.push(index, true);
        }
    }

    fn push(&mut self, index: u32, duplicate: bool) {
        self.ready.push_back(Transmission { offset: self.reached, index, duplicate });
    }
}

impl Iterator for Plan {
    type Item = Transmission;

    fn next(&mut self) -> Option<Transmission> {
        while self.ready.is_empty() && self.next < self.count {
            self.decide();
        }
        self.ready.pop_front()
    }
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    index: u32,
    duplicate: bool,
    repeat_at_once: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    packet: Packet,
    /// Packets still to be sent before it.
    distance: u32,
}

/// What random numbers are for; each purpose of each call has a stream of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// SSRC, first sequence number and RTP time, phases.
    Identity = 0,
    /// The plan.
    Impairments = 1,
    /// SDP session.
    Session = 2,
}

/// The random numbers of one purpose of one call.
pub(crate) fn rng(seed: u64, call: u32, purpose: Purpose) -> Pcg32 {
    Pcg32::new(seed, u64::from(call) << 8 | purpose as u64)
}

/// Media time of one packet: the default of RFC 3551 table 4.
pub const PACKET_INTERVAL: Duration = Duration::from_millis(20);

/// The mean absolute difference of two values evenly spread over a range is a third of it.
const JITTER_TO_RANGE: u32 = 3;
/// Later packets that a held one waits for, at most.
const HOLD_DISTANCE_MAX: u32 = 3;
/// Packets held at one time; keeps a stream moving when asked to hold every packet.
const HELD_MAX: usize = 4;
/// The range of a 32-bit draw.
const TWO_POW_32: f64 = 4_294_967_296.0;
