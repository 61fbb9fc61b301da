//! A chunk of a capture shared out among observers: who looks at which datagram, and when time
//! goes on. It looks at no more of a datagram than that takes.

use std::net::{IpAddr, SocketAddr};

use crate::{
    source::capture::Chunk,
    time::Timestamp,
    wire::{
        Datagram,
        classify::{Kind, classify},
    },
};

/// Shares out a capture, chunk by chunk.
#[derive(Debug)]
pub(super) struct Sharing {
    parts: u16,
    /// The latest time seen.
    clock: Timestamp,
    next_tick: Timestamp,
}

/// A chunk and who looks at which of its datagrams.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) chunk: Chunk,
    shares: Vec<Share>,
}

/// What one observer looks at.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Places among the chunk's frames.
    frames: Vec<u32>,
    /// When time goes on to what, as a place among `frames`.
    ticks: Vec<(usize, Timestamp)>,
}

/// What an observer does next.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Looks at datagrams, by their places among the chunk's frames.
    Observe(&'a [u32]),
    /// Does what is due by then.
    Tick(Timestamp),
}

impl Sharing {
    /// Among so many observers, at least one.
    pub(super) fn new(parts: u16) -> Self {
        Self { parts: parts.max(1), clock: Timestamp::MIN, next_tick: Timestamp::MIN }
    }

    /// Shares out the chunk of a piece of work: of RTP each flow goes to one observer; signalling,
    /// RTCP and all else go to every one. Ticks depend on all packets, so that all observers do
    /// the same at the same time however many they are.
    pub(super) fn share_out(&mut self, work: &mut Work) {
        let Work { chunk, shares } = work;
        shares.resize_with(self.parts.into(), Share::default);
        for share in &mut *shares {
            share.frames.clear();
            share.ticks.clear();
        }
        for (place, frame) in (0..).zip(chunk.frames()) {
            if frame.received_at >= self.next_tick {
                self.tick(frame.received_at);
                for share in &mut *shares {
                    share.ticks.push((share.frames.len(), self.clock));
                }
            }
            match shares.as_mut_slice() {
                [all] => all.frames.push(place),
                shares => {
                    let datagram = chunk.datagram(frame);
                    if classify(datagram.payload) == Kind::Rtp {
                        shares[owner(&datagram, shares.len())].frames.push(place);
                    } else {
                        shares.iter_mut().for_each(|share| share.frames.push(place));
                    }
                }
            }
        }
    }

    /// The time that has been reached.
    pub(super) const fn clock(&self) -> Timestamp {
        self.clock
    }

    fn tick(&mut self, at: Timestamp) {
        self.clock = self.clock.max(at);
        let ticks = self.clock.as_nanos() / TICK_NANOS + 1;
        self.next_tick = Timestamp::from_nanos(ticks.saturating_mul(TICK_NANOS));
    }
}

impl Work {
    /// What an observer does, in order.
    pub(super) fn steps(&self, observer: usize) -> impl Iterator<Item = Step<'_>> {
        let share = &self.shares[observer];
        let starts = core::iter::once(0).chain(share.ticks.iter().map(|&(place, _)| place));
        let ends = share.ticks.iter().map(|&(place, _)| place).chain([share.frames.len()]);
        let ticks = share.ticks.iter().map(|&(_, at)| Some(Step::Tick(at))).chain([None]);
        starts.zip(ends).zip(ticks).flat_map(|((start, end), tick)| {
            core::iter::once(Step::Observe(&share.frames[start..end])).chain(tick)
        })
    }

    /// Datagrams by their places.
    pub(super) fn datagrams<'a>(&'a self, places: &'a [u32]) -> impl Iterator<Item = Datagram<'a>> {
        let frames = self.chunk.frames();
        places.iter().map(|&place| self.chunk.datagram(&frames[place as usize]))
    }
}

/// Which of so many observers measures a flow. Nothing but balance depends on it.
fn owner(datagram: &Datagram<'_>, observers: usize) -> usize {
    let mix = |hash: u64, value: u64| (hash ^ value).wrapping_mul(ODD).rotate_left(29);
    let add = |hash: u64, address: SocketAddr| {
        let hash = mix(hash, u64::from(address.port()));
        match address.ip() {
            IpAddr::V4(ip) => mix(hash, u64::from(ip.to_bits())),
            #[expect(clippy::cast_possible_truncation, reason = "two halves of 128 bits")]
            IpAddr::V6(ip) => mix(mix(hash, (ip.to_bits() >> 64) as u64), ip.to_bits() as u64),
        }
    };
    let hash = add(add(0, datagram.src), datagram.dst) >> 32;
    ((hash * observers as u64) >> 32) as usize
}

/// How often timers run, in the capture's time: every 50 ms.
const TICK_NANOS: u64 = 50_000_000;

/// Any odd number with bits all over: 2^64 over the golden ratio.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
