//! One shard that observes a capture, on the capture's clock.
//!
//! Several of them share a capture: signalling and RTCP go through each, so that each knows all
//! calls by the same names; the RTP of a flow goes through one.

use crate::{
    id::ShardId,
    shard::{
        Outbox, Role, Shard, ShardConfig, health::ShardHealth, report::Report,
        signalling::SipFigures,
    },
    source::capture::{Chunk, Step},
    time::Timestamp,
};

/// One of the shards that observe a capture.
#[derive(Debug)]
pub(super) struct Observer {
    index: u16,
    shard: Shard,
    out: Outbox,
}

impl Observer {
    /// The one of that number, from 0.
    pub(super) fn new(index: u16) -> Self {
        let id = ShardId(index);
        let config = ShardConfig { role: Role::Observe, id, ..ShardConfig::default() };
        Self { index, shard: Shard::new(config), out: Outbox::default() }
    }

    /// Takes in its share of a chunk and gives back what there is to say.
    pub(super) fn observe(&mut self, chunk: &Chunk) -> &[Report] {
        self.out.clear();
        for step in chunk.steps(self.index.into()) {
            match step {
                Step::Frames(frames) => {
                    let datagrams = frames.iter().map(|frame| chunk.datagram(frame));
                    self.shard.observe(datagrams, &mut self.out);
                }
                Step::Tick(at) => self.tick(at),
            }
        }
        self.out.reports()
    }

    /// Gives back what is left to say at the end of the capture.
    pub(super) fn finish(&mut self, now: Timestamp) -> &[Report] {
        self.out.clear();
        self.shard.finish(now, &mut self.out);
        self.out.reports()
    }

    pub(super) fn health(&self) -> ShardHealth {
        self.shard.health()
    }

    pub(super) const fn sip_figures(&self) -> &SipFigures {
        self.shard.sip_figures()
    }

    /// Does what is due.
    fn tick(&mut self, now: Timestamp) {
        while self.shard.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.shard.poll(now, &mut self.out);
        }
    }
}
