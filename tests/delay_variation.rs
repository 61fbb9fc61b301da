//! Jitter and delay variation of random streams are what a plain reading of RFC 3550 appendix A.8
//! and of RFC 5481 section 4.2 says of the same packets.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "common/single.rs"]
mod single;

use core::time::Duration;

use fastrand::Rng;
use single::{Packet, Shape, delayed, measured};
use voxplane::shard::report::StreamReport;

/// A codec of the static payload types: its type, clock and packet interval in ticks.
const CODECS: [(u8, f64, u32); 5] =
    [(0, 8000.0, 160), (8, 8000.0, 240), (9, 8000.0, 80), (18, 8000.0, 480), (10, 44_100.0, 882)];

/// What a stream's packets say, worked out with all of them at hand; microseconds.
struct Truth {
    jitter: Vec<f64>,
    /// Above the fastest packet so far.
    variation: Vec<f64>,
}

impl Truth {
    /// `packets` in order of arrival; the sender's clock gains `skew_ppm`.
    fn of(packets: &[Packet], clock_rate: f64, skew_ppm: f64) -> Self {
        let nanos = |packet: &Packet| packet.at.as_secs_f64() * 1e6;
        let transit =
            |packet: &Packet| nanos(packet) - f64::from(packet.rtp_time) / clock_rate * 1e6;
        let (mut jitter, mut jitters) = (0.0, Vec::new());
        for pair in packets.windows(2) {
            let deviation: f64 = transit(&pair[1]) - transit(&pair[0]);
            jitter += (deviation.abs() - jitter) / 16.0;
            jitters.push(jitter);
        }
        let mut fastest = f64::INFINITY;
        let mut variation = Vec::new();
        for packet in packets {
            let transit = transit(packet) + nanos(packet) * skew_ppm * 1e-6;
            fastest = transit.min(fastest);
            variation.push(transit - fastest);
        }
        // The first packet gives no sample.
        variation.remove(0);
        Self { jitter: jitters, variation }
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let rank = (share * values.len() as f64).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
    values[(rank as usize).max(1) - 1]
}

/// The width of the bucket that holds a value: 128 µs, and above 512 µs a quarter of the octave.
fn bucket_us(us: f64) -> f64 {
    (us.max(512.0).log2().floor().exp2() / 4.0).max(128.0)
}

/// Whether `us` is the value at this share of `values`, to a bucket and `slack_us`.
fn assert_quantile(us: u32, values: &[f64], share: f64, slack_us: f64, context: &str) {
    let truth = quantile(values, share);
    let within = bucket_us(truth) + slack_us;
    assert!((f64::from(us) - truth).abs() <= within, "{share}: {us}, not {truth}: {context}");
}

/// A stream of 15 s at most, too short for its skew to be known, through a random network.
fn random(rng: &mut Rng) -> (Vec<Packet>, (u8, f64, u32), Shape) {
    let codec = CODECS[rng.usize(0..CODECS.len())];
    let (payload_type, clock_rate, ticks) = codec;
    let ptime = f64::from(ticks) / clock_rate;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 1800")]
    let count = 2 + (rng.f64() * 15.0 / ptime) as u32;
    let (first, rtp_first) = (rng.u16(..), rng.u32(..));
    let (shape, loss) = (Shape::random(rng, 200.0), rng.f64() * 0.1);
    let mut packets: Vec<Packet> = Vec::new();
    for index in 0..count {
        let at = f64::from(index) * ptime + shape.delay_ms(rng) / 1e3;
        let packet = Packet {
            at: Duration::from_secs_f64(at),
            sequence: first.wrapping_add((index & 0xFFFF) as u16),
            rtp_time: index * ticks,
            marker: false,
            payload_type,
        };
        // Two that are not lost make it a stream.
        if index < 2 || rng.f64() >= loss {
            packets.push(packet);
        }
    }
    // The first two in order, or it is none.
    packets[1].at = packets[1].at.max(packets[0].at);
    packets[2..].sort_by_key(|packet| packet.at);
    let second = packets[1].at;
    packets[2..].iter_mut().for_each(|packet| packet.at = packet.at.max(second));
    for packet in &mut packets {
        packet.rtp_time = packet.rtp_time.wrapping_add(rtp_first);
    }
    (packets, codec, shape)
}

#[test]
fn jitter_and_variation_of_10_000_random_streams_are_what_the_definitions_say() {
    let mut samples = 0;
    for seed in 0..10_000 {
        let mut rng = Rng::with_seed(seed);
        let (packets, (_, clock_rate, _), shape) = random(&mut rng);
        let report = measured(&packets);
        let first = packets[0].rtp_time;
        let unwrapped: Vec<_> = packets
            .iter()
            .map(|packet| Packet { rtp_time: packet.rtp_time.wrapping_sub(first), ..*packet })
            .collect();
        let truth = Truth::of(&unwrapped, clock_rate, 0.0);
        let context = format!("seed {seed}, {shape:?}, {} packets", packets.len());
        assert_eq!(report.jitter_samples as usize, truth.jitter.len(), "{context}");
        samples += truth.jitter.len();
        assert_jitter(&report, &truth, &context);
        let variation = report.variation;
        let highest = quantile(&truth.variation, 1.0);
        assert!((f64::from(variation.max_us) - highest).abs() <= 2.0, "{context}: {variation:?}");
        for (share, us) in
            [(0.5, variation.p50_us), (0.95, variation.p95_us), (0.99, variation.p99_us)]
        {
            assert_quantile(us, &truth.variation, share, 2.0, &context);
        }
        assert_eq!(variation.skew_ppm, None, "{context}");
    }
    assert!(samples > 3_000_000, "{samples}");
}

fn assert_jitter(report: &StreamReport, truth: &Truth, context: &str) {
    let sum: f64 = truth.jitter.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let (count, sum_us) = (truth.jitter.len() as f64, report.jitter_sum_us as f64);
    // Whole microseconds are cut off at each packet.
    assert!((sum_us - sum).abs() <= 2.0 * count, "{context}: {sum_us}, not {sum}");
    let highest = quantile(&truth.jitter, 1.0);
    assert!((f64::from(report.jitter_max_us) - highest).abs() <= 2.0, "{context}");
    let last = truth.jitter.last().unwrap();
    assert!((f64::from(report.jitter_us) - last).abs() <= 2.0, "{context}");
    // What is past 131 ms is in one bucket.
    if quantile(&truth.jitter, 0.95) < 131_000.0 {
        assert_quantile(report.jitter_p95_us, &truth.jitter, 0.95, 2.0, context);
    }
}

/// The 20 s in which the skew is not known yet are a fifteenth of these streams.
#[test]
fn the_variation_of_long_streams_has_no_skew_in_it() {
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let skew = rng.f64() * 400.0 - 200.0;
        let shape = [Shape::Uniform(20.0), Shape::Exponential(8.0), Shape::TwoPaths(15.0)];
        let shape = shape[rng.usize(0..3)];
        let packets = delayed(15_000, |index| {
            100.0 - f64::from(index) * 20.0 * skew * 1e-6 + shape.delay_ms(&mut rng)
        });
        let truth = Truth::of(&packets, 8000.0, skew);
        let variation = measured(&packets).variation;
        let context = format!("seed {seed}, {shape:?}, {skew} ppm: {variation:?}");
        for (share, us) in [(0.5, variation.p50_us), (0.95, variation.p95_us)] {
            assert_quantile(us, &truth.variation, share, 400.0, &context);
        }
    }
}

#[test]
fn a_steady_stream_has_no_variation() {
    let variation = measured(&delayed(5000, |_| 30.0)).variation;
    assert_eq!((variation.p50_us, variation.p99_us, variation.max_us), (0, 0, 0));
}

/// One packet in ten waits 40 ms: p50 sees nothing of it, p95 all.
#[test]
fn a_second_way_shows_in_the_tail() {
    let packets = delayed(5000, |index| if index % 10 == 9 { 40.0 } else { 0.0 });
    let variation = measured(&packets).variation;
    assert!(variation.p50_us < 128, "{variation:?}");
    assert!((32_768..=40_960).contains(&variation.p95_us), "{variation:?}");
    assert_eq!(variation.max_us, 40_000);
}

/// 30 s on one way, then for good on one that is 80 ms longer: three minutes later, most packets
/// are measured against the fastest of the new way.
#[test]
fn a_way_that_is_longer_for_good_becomes_the_measure() {
    let mut rng = Rng::with_seed(1);
    let longer = |index: u32| if index < 1500 { 0.0 } else { 80.0 };
    let packets = delayed(20_000, |index| longer(index) + rng.f64() * 4.0);
    let variation = measured(&packets).variation;
    assert!((2000..4200).contains(&variation.p50_us), "{variation:?}");
    assert!((80_000..84_100).contains(&variation.max_us), "{variation:?}");
    let skew = variation.skew_ppm.unwrap();
    assert!(skew.abs() < 5.0, "{skew} ppm is no clock");
}

/// Every 4 s of speech the sender is silent for 3 s, in which its clock stands still, so that
/// the next marker comes with a time stamp that is 3 s behind.
#[test]
fn a_time_stamp_that_jumps_at_a_talkspurt_is_no_variation() {
    let mut rng = Rng::with_seed(2);
    let mut packets = delayed(4000, |_| rng.f64() * 3.0);
    for packet in &mut packets {
        let talkspurt = packet.rtp_time / 160 / 200;
        packet.at += Duration::from_secs(3) * talkspurt;
        packet.marker = (packet.rtp_time / 160).is_multiple_of(200);
    }
    let variation = measured(&packets).variation;
    assert!(variation.max_us < 3100, "{variation:?}");
    assert_eq!(variation.skew_ppm, None, "no talkspurt is long enough");
}

/// The same with a clock that runs on, as it should: the talkspurts are one stream.
#[test]
fn silence_hides_no_skew() {
    let mut rng = Rng::with_seed(3);
    let mut packets = delayed(6000, |index| 100.0 - f64::from(index) * 0.002 + rng.f64() * 3.0);
    packets.retain(|packet| packet.rtp_time / 160 % 350 < 200);
    for (sequence, packet) in (0..).zip(&mut packets) {
        packet.sequence = sequence;
        packet.marker = (packet.rtp_time / 160 % 350) == 0;
    }
    let skew = measured(&packets).variation.skew_ppm.unwrap();
    assert!((skew - 100.0).abs() < 5.0, "{skew}");
}

/// A minute, then the sender begins anew with other numbers; its clock is the same.
#[test]
fn a_sender_that_restarts_keeps_its_skew_and_jumps_nowhere() {
    let mut rng = Rng::with_seed(4);
    let mut packets = delayed(3500, |index| 100.0 + f64::from(index) * 0.003 + rng.f64() * 3.0);
    for packet in &mut packets[3000..] {
        packet.sequence = packet.sequence.wrapping_add(30_000);
        packet.rtp_time = packet.rtp_time.wrapping_add(123_456_789);
    }
    let variation = measured(&packets).variation;
    assert!((variation.skew_ppm.unwrap() + 150.0).abs() < 5.0, "{variation:?}");
    // In the first 20 s the skew is not known and makes 3 ms.
    assert!(variation.max_us < 6500, "{variation:?}");
}

/// 60 s of hold without a packet, and a time stamp that has run on.
#[test]
fn hold_is_no_variation() {
    let mut packets = delayed(2000, |index| f64::from(index % 7));
    for packet in &mut packets[1000..] {
        packet.at += Duration::from_secs(60);
        packet.rtp_time += 60 * 8000;
    }
    let variation = measured(&packets).variation;
    assert_eq!(variation.max_us, 6000);
}
