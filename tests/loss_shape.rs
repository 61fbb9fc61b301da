//! The shape of loss, from the packets to what is shown: runs, bursts and gaps of streams that an
//! appliance receives, of calls and of none, while they last and at the end.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use core::time::Duration;

use common::{Caller, START, World, addr, ms, rtp, secs};
use fastrand::Rng;
use voxplane::{
    control::record::{BurstRecord, StreamRecord},
    shard::ShardConfig,
};

/// A sender's packets, of which some are lost and some come late.
struct Sender {
    /// By place: whether the packet arrives.
    arrives: Vec<bool>,
    rng: Rng,
}

impl Sender {
    /// Loss by a link that is up or down (Gilbert), or packet by packet; the first and the last
    /// ones arrive.
    fn new(seed: u64, count: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (loss, stay) = (0.002 + rng.f64() * 0.1, rng.f64() * 0.99);
        let is_gilbert = rng.bool();
        let mut is_up = true;
        let arrives = |index| {
            let chance = if is_gilbert && !is_up { stay } else { loss };
            is_up = index < 2 || index == count - 1 || rng.f64() >= chance;
            is_up
        };
        let arrives = (0..count).map(arrives).collect();
        Self { arrives, rng }
    }

    /// What arrives, by time: packets are up to 50 ms under way, which overtakes two others.
    fn arrivals(&mut self) -> Vec<(Duration, u16)> {
        let rng = &mut self.rng;
        let sent = (0_u16..).zip(&self.arrives).filter(|&(_, &arrives)| arrives);
        let mut arrivals: Vec<_> = sent
            .map(|(index, _)| {
                let late = if rng.u8(..10) == 0 && index > 1 { rng.u64(..50) } else { 0 };
                (ms(20) * u32::from(index) + ms(late), index)
            })
            .collect();
        arrivals.sort_unstable();
        arrivals
    }

    /// Lengths of the runs of what does not arrive, with how many there are of each.
    fn runs(&self) -> Vec<(u8, u32)> {
        let mut counts = [0; 127];
        for run in self.arrives.chunk_by(|a, b| a == b).filter(|run| !run[0]) {
            counts[run.len().min(127) - 1] += 1;
        }
        (1..).zip(counts).filter(|&(_, count)| count > 0).collect()
    }

    /// First and last packet of each burst: bad ones with fewer than 16 good ones between them.
    fn bursts(&self) -> Vec<(usize, usize)> {
        let bad = (0..self.arrives.len()).filter(|&index| !self.arrives[index]);
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for index in bad {
            match groups.last_mut().filter(|(_, last)| index - *last <= 16) {
                Some((_, last)) => *last = index,
                None => groups.push((index, index)),
            }
        }
        groups.retain(|(first, last)| first < last);
        groups
    }

    /// Fails unless a record says what was lost.
    fn assert_is(&self, stream: &StreamRecord, begun: voxplane::time::Timestamp, context: &str) {
        let BurstRecord {
            bursts,
            burst_duration_ms,
            gap_duration_ms,
            longest_burst_packets,
            longest_burst_time,
            loss_runs,
        } = &stream.bursts;
        assert_eq!(stream.packets_discarded, Some(0), "{context}");
        assert_eq!(loss_runs.pairs().collect::<Vec<_>>(), self.runs(), "{context}");
        let expected = self.bursts();
        assert_eq!(*bursts, Some(u32::try_from(expected.len()).unwrap()), "{context}");
        let lengths = expected.iter().map(|(first, last)| last - first + 1);
        let in_bursts: usize = lengths.clone().sum();
        let mean_ms = |packets: usize, of: usize| {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand packets")]
            let mean = packets as f64 / of as f64 * 20.0;
            (of > 0).then_some(mean)
        };
        assert_eq!(*burst_duration_ms, mean_ms(in_bursts, expected.len()), "{context}");
        // Neither the first packet nor the last one is lost, so that gaps are all around.
        let in_gaps = self.arrives.len() - in_bursts;
        assert_eq!(*gap_duration_ms, mean_ms(in_gaps, expected.len() + 1), "{context}");
        // The first of several as long.
        let longest = expected.iter().rev().max_by_key(|(first, last)| last - first);
        let packets = longest.map(|(first, last)| u32::try_from(last - first + 1).unwrap());
        assert_eq!(*longest_burst_packets, packets, "{context}");
        let Some((first, _)) = longest else {
            assert_eq!(*longest_burst_time, None, "{context}");
            return;
        };
        let before = begun + ms(20) * u32::try_from(first - 1).unwrap();
        let found = longest_burst_time.unwrap();
        // As exact as it says, and packets may be 50 ms under way.
        let off = if found > before { found.since(before) } else { before.since(found) };
        assert!(off <= ms(20) * 15 + ms(50), "{off:?} off, {context}");
    }
}

/// 40 calls at once to an appliance, and as many streams that nobody has announced.
#[test]
fn an_appliance_tells_how_losses_are_spread() {
    for is_orphan in [false, true] {
        let mut world = World::new(ShardConfig::default());
        let mut arrivals = Vec::new();
        let mut senders = Vec::new();
        for index in 0..40_u16 {
            let mut caller = Caller::new("198.51.100.1:5070", &format!("call-{index}"));
            caller.media.set_port(4000 + 2 * index);
            let media = if is_orphan { addr("192.0.2.9:20000") } else { caller.set_up(&mut world) };
            let mut sender = Sender::new(index.into(), 3000);
            let all = sender.arrivals();
            arrivals.extend(all.into_iter().map(|(at, number)| (at, number, index, media)));
            senders.push((sender, caller));
        }
        let begun = world.now;
        arrivals.sort_unstable();
        for (at, number, index, media) in arrivals {
            world.run_until(begun + at);
            let packet = rtp(0, false, number, u32::from(number) * 160, index.into());
            world.send(senders[usize::from(index)].1.media, media, packet);
        }
        // The last word is said when calls end, or when streams have been silent for long.
        world.run_for(ms(100));
        if !is_orphan {
            senders.iter().for_each(|(_, caller)| caller.hang_up(&mut world));
        }
        world.run_for(secs(60));
        let snapshot = world.snapshot();
        for (index, (sender, caller)) in senders.iter().enumerate() {
            let stream = if is_orphan {
                let mut orphans = snapshot.orphans.iter();
                let its = orphans.find(|stream| stream.ssrc.0 as usize == index);
                (**its.unwrap()).clone()
            } else {
                world.finished(&caller.call_id).streams.records().next().unwrap()
            };
            sender.assert_is(&stream, begun, &format!("{index}, orphan: {is_orphan}"));
        }
    }
}

/// While a call is up it shows what its shard last said, which is never more than 5 s ago.
#[test]
fn losses_are_shown_while_a_call_is_up() {
    let mut world = World::new(ShardConfig::default());
    let mut caller = Caller::new("198.51.100.1:5070", "up");
    let media = caller.set_up(&mut world);
    let runs = |world: &mut World| {
        let stream = world.snapshot().active[0].streams.records().next().unwrap();
        stream.bursts.loss_runs.pairs().collect::<Vec<_>>()
    };
    let lost = [150..200, 300..301, 310..311, 500..600, 700..900];
    for number in 0..1200_u16 {
        if !lost.iter().any(|run| run.contains(&number)) {
            let packet = rtp(0, false, number, u32::from(number) * 160, 7);
            world.send(caller.media, media, packet);
        }
        world.run_for(ms(20));
        match number {
            100 => assert_eq!(runs(&mut world), []),
            // All pieces: lengths up to 43, up to 86, and up to 127.
            590 => assert_eq!(runs(&mut world), [(1, 2), (50, 1)]),
            1199 => assert_eq!(runs(&mut world), [(1, 2), (50, 1), (100, 1), (127, 1)]),
            _ => {}
        }
    }
    assert!(world.now > START + secs(20));
}
