//! The wide distributions hold what every packet gave, by codec and by the network that a call
//! comes from, whenever they change hands.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;

use common::{Caller, World, ms, rtp};
use voxplane::{
    control::spreads::{Spreads, codec_name, trunk_name},
    shard::{ShardConfig, distributions::Distributions},
};

/// Three calls of 300 packets: PCMU and G.729 from one network, PCMU from another; one
/// packet in ten is 10 ms late.
fn run(exchange_every: u32) -> Distributions {
    let mut world = World::new(ShardConfig::default());
    let callers = [
        ("198.51.100.1:5070", (0, "PCMU/8000")),
        ("198.51.100.77:5070", (18, "G729/8000")),
        ("203.0.113.5:5070", (0, "PCMU/8000")),
    ];
    let mut calls = Vec::new();
    for (address, format) in callers {
        let mut caller = Caller::new(address, address);
        caller.format = format;
        let media = caller.set_up(&mut world);
        calls.push((caller, media));
    }
    let mut all = Distributions::new();
    let mut exchange = |world: &mut World| {
        all.merge(&world.shard.swap_distributions(Box::default()));
    };
    for number in 0..300_u32 {
        let is_late = number % 10 == 9;
        world.run_for(ms(if is_late { 10 } else { 0 }));
        for (ssrc, (caller, media)) in (1..).zip(&calls) {
            let sequence = u16::try_from(number).unwrap();
            let packet = rtp(caller.format.0, number == 0, sequence, number * 160, ssrc);
            world.send(caller.media, *media, packet);
        }
        world.run_for(ms(if is_late { 10 } else { 20 }));
        if number % exchange_every == 0 {
            exchange(&mut world);
        }
    }
    exchange(&mut world);
    all
}

#[test]
fn every_packet_counts_in_its_group() {
    let found = Spreads::of(&run(1000));
    // The first packet of a stream has nothing to be compared with.
    assert_eq!((found.all.jitter_us.count, found.all.variation_us.count), (3 * 299, 3 * 299));
    let by_codec: BTreeMap<_, _> = found
        .by_codec
        .iter()
        .map(|(codec, spread)| (codec_name(*codec), spread.variation_us.count))
        .collect();
    assert_eq!(by_codec, [("G729".to_owned(), 299), ("PCMU".to_owned(), 598)].into());
    let by_trunk: BTreeMap<_, _> = found
        .by_trunk
        .iter()
        .map(|(trunk, spread)| (trunk_name(*trunk), spread.jitter_us.count))
        .collect();
    let trunks = [("198.51.100.0/24".to_owned(), 598), ("203.0.113.0/24".to_owned(), 299)];
    assert_eq!(by_trunk, trunks.into());
    // One packet in ten is 10 ms late.
    let variation = found.all.variation_us;
    assert!(variation.p50 <= 1 && variation.max.abs_diff(10_000) <= 100, "{variation:?}");
    assert!(variation.p95.abs_diff(10_000) <= 100, "{variation:?}");
}

#[test]
fn a_set_that_changes_hands_loses_nothing() {
    let (once, often) = (Spreads::of(&run(1000)), Spreads::of(&run(7)));
    assert_eq!(format!("{once:?}"), format!("{often:?}"));
}
