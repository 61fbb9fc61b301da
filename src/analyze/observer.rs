//! One shard that observes a capture, on the capture's clock.
//!
//! Several of them share a capture: signalling and RTCP go through each, so that each knows all
//! calls by the same names; the RTP of a flow goes through one.

use std::net::{IpAddr, SocketAddr};

use crate::{
    id::ShardId,
    shard::{
        Outbox, Role, Shard, ShardConfig, health::ShardHealth, report::Report,
        sip_statistics::SipStatistics,
    },
    source::capture::Chunk,
    time::Timestamp,
    wire::{
        Datagram,
        classify::{Kind, classify},
    },
};

/// One of the shards that observe a capture.
#[derive(Debug)]
pub(super) struct Observer {
    shard: Shard,
    out: Outbox,
    part: Part,
    /// The latest time seen.
    clock: Timestamp,
    next_tick: Timestamp,
}

/// Which part of the RTP is measured here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which shard, from 0.
    pub(super) index: u16,
    /// Of how many, at least 1.
    pub(super) of: u16,
}

impl Observer {
    pub(super) fn new(part: Part) -> Self {
        let id = ShardId(part.index);
        Self {
            shard: Shard::new(ShardConfig { role: Role::Observe, id, ..ShardConfig::default() }),
            out: Outbox::default(),
            part,
            clock: Timestamp::MIN,
            next_tick: Timestamp::MIN,
        }
    }

    /// Takes in a chunk of the capture and gives back what there is to say.
    pub(super) fn observe(&mut self, chunk: &Chunk) -> &[Report] {
        self.out.clear();
        let mut frames = chunk.frames().iter().peekable();
        while let Some(frame) = frames.peek() {
            self.tick(frame.received_at);
            let (part, next_tick) = (self.part, self.next_tick);
            // After the end of time there is no tick.
            let is_before = |at: Timestamp| at < next_tick || next_tick == Timestamp::MAX;
            let until_tick =
                core::iter::from_fn(|| frames.next_if(|frame| is_before(frame.received_at)));
            let its_own = until_tick.filter(|frame| part.has(frame.share));
            self.shard.observe(its_own.map(|frame| chunk.datagram(frame)), &mut self.out);
        }
        self.out.reports()
    }

    /// Gives back what is left to say at the end of the capture.
    pub(super) fn finish(&mut self) -> &[Report] {
        self.out.clear();
        self.shard.finish(self.clock, &mut self.out);
        self.out.reports()
    }

    pub(super) fn health(&self) -> ShardHealth {
        self.shard.health()
    }

    pub(super) const fn sip_statistics(&self) -> &SipStatistics {
        self.shard.sip_statistics()
    }

    /// Does what is due. Ticks depend on all packets of the capture and not on those of this
    /// part, so that every part does the same at the same time.
    fn tick(&mut self, at: Timestamp) {
        if at < self.next_tick {
            return;
        }
        self.clock = self.clock.max(at);
        let ticks = self.clock.as_nanos() / TICK_NANOS + 1;
        self.next_tick = Timestamp::from_nanos(ticks.saturating_mul(TICK_NANOS));
        while self.shard.next_deadline().is_some_and(|deadline| deadline <= self.clock) {
            self.shard.poll(self.clock, &mut self.out);
        }
    }
}

impl Part {
    /// All of it.
    pub(super) const WHOLE: Self = Self { index: 0, of: 1 };

    /// Which of so many parts a datagram is for: of RTP one flow is in one part, all else is for
    /// [`EVERY`] part.
    pub(super) fn share_of(datagram: &Datagram<'_>, of: u16) -> u16 {
        if classify(datagram.payload) != Kind::Rtp {
            return EVERY;
        }
        #[expect(clippy::cast_possible_truncation, reason = "less than `of`")]
        let share = (flow_hash(datagram) % u64::from(of.max(1))) as u16;
        share
    }

    const fn has(self, share: u16) -> bool {
        self.of == 1 || share == self.index || share == EVERY
    }
}

/// A hash of where a datagram comes from and goes to. Nothing but balance depends on it.
fn flow_hash(datagram: &Datagram<'_>) -> u64 {
    let mix = |hash: u64, value: u64| (hash ^ value).wrapping_mul(ODD).rotate_left(29);
    let add = |hash: u64, address: SocketAddr| {
        let hash = mix(hash, u64::from(address.port()));
        match address.ip() {
            IpAddr::V4(ip) => mix(hash, u64::from(ip.to_bits())),
            #[expect(clippy::cast_possible_truncation, reason = "two halves of 128 bits")]
            IpAddr::V6(ip) => mix(mix(hash, (ip.to_bits() >> 64) as u64), ip.to_bits() as u64),
        }
    };
    add(add(0, datagram.src), datagram.dst) >> 32
}

/// How often timers run, in the capture's time: every 50 ms.
const TICK_NANOS: u64 = 50_000_000;

/// Any odd number with bits all over: 2^64 over the golden ratio.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Stands for all parts.
const EVERY: u16 = u16::MAX;
