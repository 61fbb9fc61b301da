//! What the appliance makes of loss, bursts, delay and codec: calls through an impaired network,
//! packet by packet on a virtual clock, as a table of text beside what the E-model says of the
//! truth.
//!
//! A change of physics is a change of `golden/mos.txt`. To accept one, write the table anew with
//! `VOXPLANE_GOLDEN=write cargo test --test golden` and have `python3 tests/golden/reference.py`
//! fill in the reference, which knows nothing of this code.

mod common;

use core::fmt::Write as _;
use std::{collections::HashMap, env, fs};

use common::{
    Caller, ms,
    network::{Path, Sim},
    phone::{Phone, Plan, Planned},
};
use voxplane::{
    control::record::{Direction, StreamRecord},
    shard::ShardConfig,
};

/// Payload type, what it means, ticks a packet of 20 ms, RTP clock.
type Format = (u8, &'static str, u32, u32);

const FORMATS: [Format; 5] = [
    (0, "PCMU/8000", 160, 8000),
    (18, "G729/8000", 160, 8000),
    (3, "GSM/8000", 160, 8000),
    (9, "G722/8000", 160, 8000),
    (111, "opus/48000/2", 960, 48_000),
];
const LOSSES_PERCENT: [f64; 7] = [0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];
/// Mean runs of loss; 0 is random.
const BURSTS: [f64; 2] = [0.0, 4.0];
/// Of the network, one way.
const DELAYS_MS: [u64; 4] = [0, 50, 150, 300];
const PACKETS: u32 = 3000;
const SSRC: u32 = 0x0060_1DE2;
const FILE: &str = "tests/golden/mos.txt";
const HEADER: &str = "\
format        loss  losses  delay |  lost expected burst_r | mos_cq mos_lq r_factor | by the reference\n";

/// One call, as it went and as it was scored, but for what the reference says.
fn row(seed: u64, format: Format, loss: f64, burst: f64, delay: u64) -> String {
    let (payload_type, meaning, ticks, clock_rate) = format;
    let mut caller = Caller::new("198.51.100.1:5070", "golden");
    caller.user = "echo";
    caller.format = (payload_type, meaning);
    let packets = (0..PACKETS).map(|index| Planned {
        after: ms(20) * index,
        payload_type,
        marker: index == 0,
        sequence: (index & 0xFFFF) as u16,
        timestamp: index * ticks,
        ssrc: SSRC,
    });
    let mut plan = Plan::new(packets.collect());
    plan.sends_rtcp = true;
    let mut sim = Sim::new(seed, ShardConfig { seed, ..ShardConfig::default() });
    // As long a way as that of media, so that no BYE overtakes it.
    sim.sip = Path { delay: ms(delay), ..Path::default() };
    sim.media = Path { delay: ms(delay), loss: loss / 100.0, burst, ..Path::default() };
    sim.add(Phone::new(caller, plan), ms(0));
    sim.run();

    let truth = sim.truth_at(SSRC, clock_rate);
    let call = sim.world.finished("golden");
    let mut streams = call.streams.records();
    let is_received = |stream: &StreamRecord| stream.direction == Direction::Rx;
    let stream = streams.find(is_received).expect("a stream");
    assert_eq!(stream.packets_lost, Some(truth.lost()));
    assert_eq!(truth.discarded, 0, "no jitter, nothing late");
    let losses = if burst == 0.0 { "random" } else { "bursts" };
    format!(
        "{meaning:12} {loss:5.1}  {losses}  {delay:5} | {:5} {:8} {:7.4} | {:6.4} {:6.4} {:8.4} |",
        truth.lost(),
        truth.expected,
        truth.burst_ratio,
        stream.mos_cq.expect("a delay was measured"),
        stream.mos_lq.expect("enough packets"),
        stream.r_factor.expect("enough packets"),
    )
}

fn rows() -> Vec<String> {
    let mut rows = Vec::new();
    for format in FORMATS {
        for loss in LOSSES_PERCENT {
            for burst in BURSTS {
                for delay in DELAYS_MS {
                    if loss > 0.0 || burst == 0.0 {
                        // The same fates for all delays, and others for all else.
                        let seed =
                            u64::from(format.0) << 32 ^ loss.to_bits() ^ burst.to_bits() >> 1;
                        rows.push(row(seed, format, loss, burst, delay));
                    }
                }
            }
        }
    }
    rows
}

/// The last column of the table, by the call and what became of it.
fn reference(table: &str) -> HashMap<&str, &str> {
    let columns = |line| Some((truth(line), str::rsplit_once(line, '|')?.1));
    table.lines().skip(1).filter_map(columns).collect()
}

/// The first columns of a row: what the reference goes by.
fn truth(row: &str) -> &str {
    let end = row.match_indices('|').nth(1).map_or(0, |(at, _)| at);
    &row[..end]
}

#[test]
fn scores_are_those_of_the_reference() {
    let golden = fs::read_to_string(FILE).unwrap_or_default();
    let known = reference(&golden);
    let mut table = HEADER.to_owned();
    let mut worst: f64 = 0.0;
    for row in rows() {
        let beginning = row.trim_end_matches('|');
        let (mos_cq, mos_lq, r_factor) = figures(beginning.rsplit('|').next().expect("columns"));
        let said = known.get(truth(&row)).copied().unwrap_or(" ?");
        if said != " ?" {
            let (cq, lq, r) = figures(said);
            worst = worst.max((cq - mos_cq).abs()).max((lq - mos_lq).abs());
            assert!((cq - mos_cq).abs() <= 0.02 && (lq - mos_lq).abs() <= 0.02, "{row}{said}");
            assert!((r - r_factor).abs() <= 0.5, "{row}{said}");
        }
        writeln!(table, "{row}{said}").unwrap();
    }
    println!("at most {worst:.4} MOS from the reference");
    if env::var("VOXPLANE_GOLDEN").as_deref() == Ok("write") {
        fs::write(FILE, table).unwrap();
        return;
    }
    for (now, then) in table.lines().zip(golden.lines()) {
        assert_eq!(now, then, "the physics has changed, see the head of this file");
    }
    assert_eq!(table.lines().count(), golden.lines().count());
}

/// MOS-CQ, MOS-LQ and R of a column.
fn figures(column: &str) -> (f64, f64, f64) {
    let mut numbers = column.split_whitespace().map(|number| number.parse().expect("a number"));
    let mut next = || numbers.next().expect("three numbers");
    (next(), next(), next())
}
