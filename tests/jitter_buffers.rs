//! What a listener's jitter buffer does not play: the fixed one against a direct reading of its
//! definition, the adaptive one by its stated properties.

#[path = "common/single.rs"]
mod single;

use core::time::Duration;

use fastrand::Rng;
use single::{Packet, Shape, delayed, measured, measured_with, reports_with};
use voxplane::shard::{
    buffer::{BufferMode, BufferReport, Discards, JitterBuffers},
    report::StreamReport,
};

fn millis(at: Duration) -> f64 {
    at.as_secs_f64() * 1e3
}

/// The fixed buffer, packet by packet: a packet's deadline is the anchor's, and so much later as it
/// was sent later. The anchor is the first packet of a talkspurt, then any that was faster, and
/// the last of 25 that were late in a row.
fn fixed_by_definition(packets: &[Packet], nominal_ms: f64, max_ms: f64) -> Discards {
    let mut discards = Discards::default();
    let sent_ms = |packet: &Packet| f64::from(packet.rtp_time) / 8.0;
    let mut anchor = packets[0];
    let (mut newest, mut late_run) = (packets[0].sequence, 0);
    for packet in &packets[1..] {
        let deadline = millis(anchor.at) + nominal_ms + sent_ms(packet) - sent_ms(&anchor);
        let transit = millis(packet.at) - sent_ms(packet);
        // A marker that comes after the talkspurt's next packet begins nothing.
        if packet.marker && packet.sequence > newest {
            (anchor, late_run) = (*packet, 0);
        } else if millis(packet.at) > deadline {
            discards.late += 1;
            late_run += 1;
            if late_run == 25 {
                (anchor, late_run) = (*packet, 0);
            }
        } else {
            late_run = 0;
            discards.early += u32::from(millis(packet.at) < deadline - max_ms);
            if transit < millis(anchor.at) - sent_ms(&anchor) {
                anchor = *packet;
            }
        }
        newest = newest.max(packet.sequence);
    }
    discards
}

/// Streams of 15 s at most, too short for a skew to be known, of talkspurts of 1 s and more, through random networks.
#[test]
fn the_fixed_one_discards_what_its_definition_says() {
    let mut total = Discards::default();
    for seed in 0..10_000 {
        let mut rng = Rng::with_seed(seed);
        let shape = match rng.u8(..3) {
            0 => Shape::Uniform(20.0 + rng.f64() * 100.0),
            1 => Shape::Exponential(10.0 + rng.f64() * 20.0),
            _ => Shape::Spikes(300.0),
        };
        let spurt = rng.u32(50..400);
        let count = rng.u32(10..750);
        let mut packets = delayed(count, |index| match index {
            // It begins in order.
            0 | 1 => 0.0,
            // A marker that is overtaken would be none.
            _ => {
                if index % spurt == 0 {
                    rng.f64() * 10.0
                } else {
                    shape.delay_ms(&mut rng)
                }
            }
        });
        packets.retain(|packet| packet.sequence < 2 || rng.u8(..) > 5);
        for packet in &mut packets {
            packet.marker = packet.sequence > 1 && u32::from(packet.sequence) % spurt == 0;
        }
        let (fixed_ms, more) = (rng.u16(10..100), rng.u16(0..100));
        let settings =
            JitterBuffers { fixed_ms, fixed_max_ms: fixed_ms + more, ..JitterBuffers::default() };
        let report = measured_with(settings, &packets);
        if report.counts.expected < 3 {
            continue;
        }
        let expected = fixed_by_definition(&packets, fixed_ms.into(), (fixed_ms + more).into());
        let found = report.buffers.fixed;
        assert_eq!(found, expected, "seed {seed}, {shape:?}, {settings:?}");
        assert_eq!(report.counts.discarded, u64::from(found.late + found.early));
        total.late += found.late;
        total.early += found.early;
    }
    assert!(total.late > 100_000 && total.early > 1000, "{total:?}");
}

fn adaptive(min_ms: u16, max_ms: u16) -> JitterBuffers {
    JitterBuffers {
        mode: BufferMode::Adaptive,
        adaptive_min_ms: min_ms,
        adaptive_max_ms: max_ms,
        ..JitterBuffers::default()
    }
}

/// Mean delay of the adaptive buffer between each report and the one before, milliseconds.
fn delays_ms(reports: &[StreamReport]) -> Vec<f64> {
    let mut before = (0, 0);
    let mut delays = Vec::new();
    for report in reports {
        let now = (report.buffers.adaptive_delay_sum_us, u64::from(report.jitter_samples));
        if now.1 > before.1 {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            delays.push((now.0 - before.0) as f64 / (now.1 - before.1) as f64 / 1e3);
        }
        before = now;
    }
    delays
}

#[test]
fn a_constant_delay_costs_nobody_a_packet() {
    for delay_ms in [0.0, 5.0, 700.0] {
        let report = measured_with(adaptive(20, 200), &delayed(5000, |_| delay_ms));
        let BufferReport { fixed, adaptive, .. } = report.buffers;
        assert_eq!((fixed, adaptive), (Discards::default(), Discards::default()));
        assert_eq!(report.buffers.adaptive_delay_sum_us, 4999 * 20_000);
        assert_eq!(report.buffers.fixed_delay_us, 60_000);
    }
}

#[test]
fn a_clock_that_drifts_costs_nobody_a_packet() {
    for skew in [-200.0, 200.0] {
        // An hour: 0.72 s.
        let packets = delayed(180_000, |index| 1000.0 - f64::from(index) * 0.02 * skew * 1e-3);
        let BufferReport { fixed, adaptive, .. } = measured(&packets).buffers;
        assert_eq!((fixed, adaptive), (Discards::default(), Discards::default()), "{skew}");
    }
}

#[test]
fn the_delay_of_the_adaptive_one_stays_within_its_bounds() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let shape = Shape::random(&mut rng, 400.0);
        let (min, more) = (rng.u16(0..100), rng.u16(0..300));
        let packets = delayed(3000, |_| shape.delay_ms(&mut rng));
        for delay in delays_ms(&reports_with(adaptive(min, min + more), &packets)) {
            let bounds = f64::from(min) - 0.001..=f64::from(min + more) + 0.001;
            assert!(bounds.contains(&delay), "seed {seed}, {shape:?}: {delay} in {bounds:?}");
        }
    }
}

/// A queue of 25 ms in the mean: the fixed one of 60 ms loses one packet in eleven, the adaptive
/// one waits longer and loses almost none.
#[test]
fn on_a_path_with_jitter_the_adaptive_one_discards_less() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let packets = delayed(6000, |_| Shape::Exponential(25.0).delay_ms(&mut rng));
        let BufferReport { fixed, adaptive, .. } = measured(&packets).buffers;
        assert!(fixed.late > 300, "seed {seed}: {fixed:?}");
        assert!(adaptive.late < 60, "seed {seed}: {adaptive:?}");
    }
}

/// Two seconds of jitter up to 150 ms after ten of none: the delay grows with it, and is back
/// half a minute later.
#[test]
fn the_delay_grows_at_once_and_shrinks_back() {
    let mut rng = Rng::with_seed(1);
    let packets =
        delayed(5000, |index| if (500..600).contains(&index) { rng.f64() * 150.0 } else { 1.0 });
    let reports = reports_with(adaptive(20, 200), &packets);
    let delays = delays_ms(&reports);
    assert!((delays[1] - 20.0).abs() < 0.01, "{delays:?}");
    assert!(delays[3] > 80.0 || delays[2] > 80.0, "{delays:?}");
    let last = delays[delays.len() - 1];
    assert!((last - 20.0).abs() < 0.01, "{delays:?}");
    let late = reports[reports.len() - 1].buffers.adaptive.late;
    assert!((1..20).contains(&late), "{late}");
}

/// The way becomes 400 ms longer for good: both lose the half second after which a listener has
/// moved its buffer, and no more.
#[test]
fn a_way_that_is_longer_for_good_costs_25_packets() {
    for mode in [BufferMode::Fixed, BufferMode::Adaptive] {
        let packets = delayed(3000, |index| if index < 1000 { 0.0 } else { 400.0 });
        let report = measured_with(JitterBuffers { mode, ..JitterBuffers::default() }, &packets);
        let expected = Discards { late: 25, early: 0 };
        assert_eq!((report.buffers.fixed, report.buffers.adaptive), (expected, expected));
        assert_eq!(report.counts.discarded, 25);
    }
}

/// The discards of the buffer that scores assume are the ones in the loss shape.
#[test]
fn only_the_assumed_one_has_its_discards_in_the_counts() {
    let mut rng = Rng::with_seed(1);
    let packets = delayed(6000, |_| Shape::Exponential(25.0).delay_ms(&mut rng));
    let [by_fixed, by_adaptive] = [BufferMode::Fixed, BufferMode::Adaptive]
        .map(|mode| measured_with(JitterBuffers { mode, ..JitterBuffers::default() }, &packets));
    assert_eq!(by_fixed.buffers.fixed, by_adaptive.buffers.fixed);
    assert_eq!(by_fixed.buffers.adaptive, by_adaptive.buffers.adaptive);
    let sum = |discards: Discards| u64::from(discards.late + discards.early);
    assert_eq!(by_fixed.counts.discarded, sum(by_fixed.buffers.fixed));
    assert_eq!(by_adaptive.counts.discarded, sum(by_adaptive.buffers.adaptive));
    assert!(by_adaptive.counts.discarded < by_fixed.counts.discarded / 4);
    assert!(by_adaptive.gap_density < by_fixed.gap_density);
}

/// At a talkspurt both begin again with its first packet, which is 50 ms later than those before.
#[test]
fn a_talkspurt_is_a_new_anchor() {
    let later = |index: u32| if index < 500 { 0.0 } else { 50.0 };
    let mut packets = delayed(1000, |index| later(index) + f64::from(index % 2) * 15.0);
    assert!(measured(&packets).buffers.fixed.late > 10);
    for packet in &mut packets {
        packet.marker = packet.sequence == 500;
    }
    assert_eq!(measured(&packets).buffers.fixed, Discards::default());
}
