//! What a sender's clock gains on ours is found through the jitter of the network, and nothing is
//! found that is not there.

#[path = "common/single.rs"]
mod single;

use fastrand::Rng;
use single::{Packet, Shape, delayed, measured, reports_with};
use voxplane::shard::buffer::JitterBuffers;

/// How late packet `index` of 20 ms is sent by a clock that gains so much on ours.
fn drift_ms(index: u32, skew_ppm: f64) -> f64 {
    // Before any packet can be early by it.
    100.0 - f64::from(index) * 20.0 * skew_ppm * 1e-6
}

fn skew_of(packets: &[Packet]) -> Option<f64> {
    measured(packets).variation.skew_ppm.map(f64::from)
}

/// Packets of a minute and a second.
const MINUTE: u32 = 3050;

/// The errors found with 400 networks of one shape, ppm, least first.
fn errors(shape: Shape) -> Vec<f64> {
    let error = |seed| {
        let mut rng = Rng::with_seed(seed);
        let skew = match seed {
            0 => 200.0,
            1 => -200.0,
            2 => 0.0,
            _ => rng.f64() * 400.0 - 200.0,
        };
        let loss = rng.f64() * 0.05;
        let mut packets = delayed(MINUTE, |index| drift_ms(index, skew) + shape.delay_ms(&mut rng));
        packets.retain(|_| rng.f64() >= loss);
        let found = skew_of(&packets);
        found.map_or(f64::INFINITY, |found| (found - skew).abs())
    };
    let mut errors: Vec<f64> = (0..400).map(error).collect();
    errors.sort_by(f64::total_cmp);
    errors
}

#[test]
fn a_skew_of_200_ppm_is_found_within_5_ppm_in_a_minute() {
    for shape in [
        Shape::Constant,
        Shape::Uniform(5.0),
        Shape::Uniform(10.0),
        Shape::Uniform(20.0),
        Shape::Uniform(30.0),
        Shape::Exponential(5.0),
        Shape::Exponential(10.0),
        Shape::Exponential(20.0),
        Shape::Exponential(30.0),
        Shape::Spikes(150.0),
        Shape::TwoPaths(40.0),
    ] {
        let worst = errors(shape)[399];
        assert!(worst <= 5.0, "{shape:?}: {worst}");
    }
}

/// Reports come every 5 s.
#[test]
fn the_skew_is_not_told_before_it_is_known() {
    for skew in [-200.0, 0.0, 200.0] {
        let mut rng = Rng::with_seed(1);
        let packets = delayed(MINUTE, |index| drift_ms(index, skew) + rng.f64() * 5.0);
        let start = single::START;
        for report in reports_with(JitterBuffers::default(), &packets) {
            let seconds = report.at.since(start).as_secs_f64();
            match report.variation.skew_ppm {
                None => assert!(seconds < 30.0, "nothing known after {seconds} s"),
                Some(found) => {
                    assert!(seconds > 15.0, "{found} known after {seconds} s");
                    let error = (f64::from(found) - skew).abs();
                    assert!(error < 15.0, "{found}, not {skew}, after {seconds} s");
                }
            }
        }
    }
}

/// A way that becomes 10 ms longer or shorter in the middle looks like a drift of 150 ppm over
/// a minute.
#[test]
fn a_step_of_the_way_is_no_skew() {
    for (seed, step) in (0..).zip([-30.0, -10.0, -3.0, 3.0, 10.0, 30.0, 300.0]) {
        let mut rng = Rng::with_seed(seed);
        let way = |index: u32| if index < 3000 { 300.0 } else { 300.0 + step };
        let packets = delayed(20_000, |index| way(index) + rng.f64() * 3.0);
        for report in reports_with(JitterBuffers::default(), &packets) {
            if let Some(skew) = report.variation.skew_ppm {
                let at = report.at.since(single::START);
                assert!(skew.abs() < 25.0, "{skew} ppm after a step of {step} ms, at {at:?}");
            }
        }
    }
}

/// What a queue of up to half a second does for minutes.
#[test]
fn so_much_jitter_that_nothing_is_certain_gives_no_wild_figure() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let (mut queue, skew) = (100.0_f64, rng.f64() * 200.0 - 100.0);
        let packets = delayed(10_000, |index| {
            queue = (queue + (rng.f64() - 0.5) * 20.0).clamp(0.0, 500.0);
            drift_ms(index, skew) + queue + rng.f64() * 20.0
        });
        if let Some(found) = skew_of(&packets) {
            assert!((found - skew).abs() < 60.0, "seed {seed}: {found}, not {skew}");
        }
    }
}
