//! A chunk of a capture shared out among observers: who looks at which datagram, and when time
//! goes on. It looks at no more of a datagram than that takes.

use core::{mem, ops::Range};
use std::net::{IpAddr, SocketAddr};

use crate::{
    source::capture::Chunk,
    time::Timestamp,
    wire::{
        Datagram,
        classify::{Kind, classify},
    },
};

/// The time of a capture, as its chunks are read.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The latest time seen.
    now: Timestamp,
    next_tick: Timestamp,
}

/// A chunk and who looks at which of its datagrams.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) chunk: Chunk,
    /// When time goes on to what, as a place among the chunk's frames.
    ticks: Vec<Tick>,
    /// One an observer; a single one looks at the chunk itself.
    shares: Vec<Share>,
}

/// Where among datagrams time goes on to what.
type Tick = (usize, Timestamp);

/// What one of several observers looks at.
#[derive(Debug, Default)]
struct Share {
    /// Places among the chunk's frames.
    places: Vec<u32>,
    /// As a place among `places`.
    ticks: Vec<Tick>,
}

/// What an observer does next.
#[derive(Debug)]
pub(super) enum Step {
    /// Looks at these datagrams of its share.
    Observe(Range<usize>),
    /// Does what is due by then.
    Tick(Timestamp),
}

impl Clock {
    /// Finds out when time goes on in the next chunk. It depends on all packets, so that all
    /// observers do the same at the same time however many they are.
    pub(super) fn run(&mut self, work: &mut Work) {
        work.ticks.clear();
        for (place, frame) in work.chunk.frames().iter().enumerate() {
            if frame.received_at >= self.next_tick {
                self.now = self.now.max(frame.received_at);
                let ticks = self.now.as_nanos() / TICK_NANOS + 1;
                self.next_tick = Timestamp::from_nanos(ticks.saturating_mul(TICK_NANOS));
                work.ticks.push((place, self.now));
            }
        }
    }

    /// The time that has been reached.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }
}

impl Work {
    /// Shares it out among so many observers: of RTP each flow goes to one of them; signalling,
    /// RTCP and all else go to every one.
    pub(super) fn share_out(&mut self, observers: usize) {
        if observers < 2 {
            return;
        }
        let mut shares = mem::take(&mut self.shares);
        shares.resize_with(observers, Share::default);
        for share in &mut shares {
            share.places.clear();
            share.ticks.clear();
        }
        let mut ticks = self.ticks.iter().peekable();
        for (place, frame) in (0_u32..).zip(self.chunk.frames()) {
            if let Some(&(_, at)) = ticks.next_if(|&&(tick, _)| tick == place as usize) {
                shares.iter_mut().for_each(|share| share.ticks.push((share.places.len(), at)));
            }
            let datagram = self.chunk.datagram(frame);
            if classify(datagram.payload) == Kind::Rtp {
                shares[owner(&datagram, observers)].places.push(place);
            } else {
                shares.iter_mut().for_each(|share| share.places.push(place));
            }
        }
        self.shares = shares;
    }

    /// What an observer does, in order.
    pub(super) fn steps(&self, observer: usize) -> impl Iterator<Item = Step> {
        let share = self.shares.get(observer);
        let ticks = share.map_or(&self.ticks, |share| &share.ticks);
        let len = share.map_or_else(|| self.chunk.frames().len(), |share| share.places.len());
        let places = ticks.iter().map(|&(place, _)| place);
        let starts = core::iter::once(0).chain(places.clone());
        let ends = places.chain([len]);
        let ticks = ticks.iter().map(|&(_, at)| Some(Step::Tick(at))).chain([None]);
        starts.zip(ends).zip(ticks).flat_map(|((start, end), tick)| {
            core::iter::once(Step::Observe(start..end)).chain(tick)
        })
    }

    /// Whether there is more than one observer.
    pub(super) const fn is_shared(&self) -> bool {
        !self.shares.is_empty()
    }

    /// Datagrams of the only observer.
    pub(super) fn all(&self, range: Range<usize>) -> impl Iterator<Item = Datagram<'_>> {
        self.chunk.frames()[range].iter().map(|frame| self.chunk.datagram(frame))
    }

    /// Datagrams of one of several observers.
    pub(super) fn shared(
        &self,
        observer: usize,
        range: Range<usize>,
    ) -> impl Iterator<Item = Datagram<'_>> {
        let frames = self.chunk.frames();
        let places = self.shares[observer].places[range].iter();
        places.map(|&place| self.chunk.datagram(&frames[place as usize]))
    }
}

/// Which of so many observers measures a flow. Nothing but balance depends on it.
#[inline]
fn owner(datagram: &Datagram<'_>, observers: usize) -> usize {
    let fold = |address: SocketAddr| {
        let port = u64::from(address.port());
        match address.ip() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()) << 16 | port,
            #[expect(clippy::cast_possible_truncation, reason = "two halves of 128 bits")]
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ (ip.to_bits() as u64) << 16 ^ port,
        }
    };
    let both = fold(datagram.src) ^ fold(datagram.dst).rotate_left(32);
    let hash = both.wrapping_mul(ODD) >> 32;
    ((hash * observers as u64) >> 32) as usize
}

/// How often timers run, in the capture's time: every 50 ms.
const TICK_NANOS: u64 = 50_000_000;

/// Any odd number with bits all over: 2^64 over the golden ratio.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
