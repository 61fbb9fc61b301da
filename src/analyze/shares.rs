//! A chunk of a capture shared out among observers: who looks at which datagram, and when time
//! goes on. It looks at no more of a datagram than that takes.

use core::{num::NonZeroU32, ops::Range};
use std::net::{IpAddr, SocketAddr};

use crate::{
    source::capture::Chunk,
    time::Timestamp,
    wire::{
        Datagram, Transport,
        classify::{Kind, classify},
        rtp::RtpHeader,
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
    /// One a part; a single part looks at the chunk itself.
    shares: Vec<Share>,
}

/// What one observer looks at.
#[derive(Debug, Default)]
struct Share {
    items: Vec<Item>,
    /// When time goes on to what, as a place among the items or, without any, the frames.
    ticks: Vec<(usize, Timestamp)>,
}

/// A datagram of a share. Of RTP it holds all that an observer reads: on another core, that comes
/// in one piece after the other, where headers strewn over a chunk would be waited for.
#[derive(Debug)]
struct Item {
    received_at: Timestamp,
    src: SocketAddr,
    dst: SocketAddr,
    header: [u8; RtpHeader::LEN],
    /// Its place among the chunk's frames if it is no RTP.
    place: Option<NonZeroU32>,
}

/// What an observer does next.
#[derive(Debug)]
pub(super) enum Step {
    /// Looks at these datagrams of its share.
    Observe(Range<usize>),
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
            share.items.clear();
            share.ticks.clear();
        }
        let is_shared = self.parts > 1;
        for (place, frame) in chunk.frames().iter().enumerate() {
            if frame.received_at >= self.next_tick {
                self.tick(frame.received_at);
                for share in &mut *shares {
                    let at = if is_shared { share.items.len() } else { place };
                    share.ticks.push((at, self.clock));
                }
            }
            if is_shared {
                give(shares, place, &chunk.datagram(frame));
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
    pub(super) fn steps(&self, observer: usize) -> impl Iterator<Item = Step> {
        let share = &self.shares[observer];
        let len = if self.is_shared() { share.items.len() } else { self.chunk.frames().len() };
        let places = share.ticks.iter().map(|&(place, _)| place);
        let starts = core::iter::once(0).chain(places.clone());
        let ends = places.chain([len]);
        let ticks = share.ticks.iter().map(|&(_, at)| Some(Step::Tick(at))).chain([None]);
        starts.zip(ends).zip(ticks).flat_map(|((start, end), tick)| {
            core::iter::once(Step::Observe(start..end)).chain(tick)
        })
    }

    /// Whether there is more than one observer.
    pub(super) const fn is_shared(&self) -> bool {
        self.shares.len() > 1
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
        self.shares[observer].items[range].iter().map(|item| match item.place {
            Some(place) => self.chunk.datagram(&self.chunk.frames()[place.get() as usize - 1]),
            None => Datagram {
                received_at: item.received_at,
                src: item.src,
                dst: item.dst,
                transport: Transport::Udp,
                payload: &item.header,
            },
        })
    }
}

/// Gives a datagram to whom it belongs.
fn give(shares: &mut [Share], place: usize, datagram: &Datagram<'_>) {
    let Datagram { received_at, src, dst, payload, .. } = *datagram;
    let item = |header, place| Item { received_at, src, dst, header, place };
    if classify(payload) == Kind::Rtp
        && let Some(header) = payload.first_chunk()
    {
        let owner = owner(datagram, shares.len());
        shares[owner].items.push(item(*header, None));
        return;
    }
    let place = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
    for share in shares {
        share.items.push(item([0; RtpHeader::LEN], place));
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
