//! What the appliance did to its calls itself is said of those that were up then, and of no others:
//! they are suspect, and no average has them in it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::Arc;

use common::{Caller, World, ms, rtp, secs};
use voxplane::{
    control::record::{CallRecord, Integrity, TimelinePoint},
    shard::{ShardConfig, health::ShardHealth},
};

/// ```text
/// before  |---------- 20 s ----------|
/// during              |---------- 20 s ----------|
/// after                                  |---------- 20 s ----------|
///                                 ^ here something goes wrong, 25 s from the start
/// ```
fn calls(harm: impl Fn(&mut ShardHealth)) -> (World, [Arc<CallRecord>; 3]) {
    let mut world = World::new(ShardConfig::default());
    let names = ["before", "during", "after"];
    let mut phones = [5070_u16, 5071, 5072].map(|port| {
        let mut caller = Caller::new("198.51.100.1:5070", names[usize::from(port - 5070)]);
        caller.addr.set_port(port);
        caller.media.set_port(4000 + 2 * (port - 5070));
        (caller, None)
    });
    for tick in 0..=2500_u32 {
        let at = tick * 20;
        if at == 25_000 {
            harm(world.shard.health_mut());
        }
        for (index, (caller, media)) in (0..).zip(&mut phones) {
            // 0, 15 and 30 s; the first is over when things go wrong.
            let begin = index * 15_000;
            let end = begin + 20_000;
            if at == begin {
                *media = Some(caller.set_up(&mut world));
            }
            if let Some(media) = media
                && (begin..end).contains(&at)
            {
                let number = (at - begin) / 20;
                let sequence = u16::try_from(number).unwrap();
                let packet = rtp(0, number == 0, sequence, number * 160, 7 + index);
                world.send(caller.media, *media, packet);
            }
            if at == end {
                caller.hang_up(&mut world);
            }
        }
        world.run_for(ms(20));
    }
    world.run_for(secs(40));
    let calls = names.map(|name| world.finished(name));
    (world, calls)
}

fn suspect(points: &[TimelinePoint]) -> Vec<usize> {
    let is_suspect = |point: &TimelinePoint| point.integrity == Integrity::Suspect;
    (0..).zip(points).filter(|(_, point)| is_suspect(point)).map(|(index, _)| index).collect()
}

#[test]
fn nothing_is_suspect_when_nothing_goes_wrong() {
    let (mut world, calls) = calls(|_| {});
    assert!(calls.iter().all(|call| call.integrity == Integrity::Clean));
    let totals = world.snapshot().totals;
    assert_eq!((totals.suspect, totals.mos.calls()), (0, 3));
}

#[test]
fn a_shard_that_stalls_marks_the_calls_that_are_up() {
    let (mut world, [before, during, after]) = calls(|health| health.stalls += 2);
    assert_eq!((before.integrity, before.own_stalls), (Integrity::Clean, 0));
    assert_eq!((during.integrity, during.own_stalls), (Integrity::Suspect, 2));
    assert_eq!((after.integrity, after.own_stalls), (Integrity::Clean, 0));
    // Of its intervals the one with the stall in it, and it is never the worst one.
    assert_eq!(suspect(&during.timeline).len(), 1, "{:?}", during.timeline);
    assert!(during.timeline.len() >= 4);
    let totals = world.snapshot().totals;
    assert_eq!((totals.suspect, totals.mos.calls(), totals.with_issues), (1, 2, 0));
}

#[test]
fn each_way_of_losing_something_marks_the_calls_that_are_up() {
    let ways: [fn(&mut ShardHealth); 4] = [
        |health| health.socket_overflow += 1,
        |health| health.ring_full += 1,
        |health| health.streams_refused += 1,
        |health| health.send_dropped += 1,
    ];
    for way in ways {
        let (_, [before, during, after]) = calls(way);
        assert_eq!((before.integrity, before.own_drops), (Integrity::Clean, 0));
        assert_eq!((during.integrity, during.own_drops), (Integrity::Suspect, 1));
        assert_eq!((after.integrity, after.own_drops), (Integrity::Clean, 0));
    }
}
