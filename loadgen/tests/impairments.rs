//! The plan of a call: its statistics over many packets, its promises at the ends, its seed.

use std::time::Duration;

use loadgen::{
    impair::{Impairments, PACKET_INTERVAL, Plan, Transmission},
    truth::Truth,
};
use voxplane::time::Timestamp;

const PACKETS: u32 = 100_000;

#[test]
fn without_impairments_every_packet_goes_out_on_time() {
    let plan: Vec<_> = Plan::new(Impairments::default(), 1000, 1, 0).collect();
    let expected: Vec<_> = (0..1000)
        .map(|index| Transmission { offset: PACKET_INTERVAL * index, index, duplicate: false })
        .collect();
    assert_eq!(plan, expected);
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_does_not() {
    let plan = |seed, call| -> Vec<_> { Plan::new(everything(), 5000, seed, call).collect() };
    assert_eq!(plan(7, 3), plan(7, 3));
    assert_ne!(plan(7, 3), plan(8, 3));
    assert_ne!(plan(7, 3), plan(7, 4));
}

#[test]
fn the_choices_of_a_seed_are_the_same_on_every_machine_and_in_every_version() {
    let often = Impairments { loss: 0.2, reorder: 0.2, duplicate: 0.2, ..everything() };
    let plan = Plan::new(often, 12, 1, 0);
    let text: Vec<_> = plan
        .map(|t| {
            let again = if t.duplicate { "+" } else { "" };
            format!("{}{again}@{}", t.index, t.offset.as_micros())
        })
        .collect();
    assert_eq!(text.join(" "), GOLDEN);
}

#[test]
fn rates_come_out_as_asked_for() {
    let truth = run(everything(), 1);
    assert_near(truth.lost(), 0.05);
    // A lost packet is neither held back nor repeated.
    assert_near(truth.reordered(), 0.95 * 0.04);
    assert_near(truth.duplicates(), 0.95 * 0.03);
    assert_eq!(truth.sent() + truth.lost(), PACKETS);
}

#[test]
fn one_rate_does_not_move_the_choices_of_another() {
    let only_loss = Impairments { loss: 0.05, ..Impairments::default() };
    let sent = |impairments| -> Vec<u32> {
        let unique = Plan::new(impairments, 5000, 1, 0).filter(|t| !t.duplicate);
        let mut indices: Vec<_> = unique.map(|t| t.index).collect();
        indices.sort_unstable();
        indices
    };
    assert_eq!(sent(only_loss), sent(everything()));
}

#[test]
fn bursts_have_the_mean_length_asked_for() {
    for (loss, mean_run) in [(0.02, 1.0), (0.05, 4.0), (0.3, 8.0)] {
        let impairments = Impairments { loss, mean_run: Some(mean_run), ..Impairments::default() };
        let sent: Vec<_> = Plan::new(impairments, PACKETS, 3, 0).map(|t| t.index).collect();
        let gaps: Vec<_> = sent.windows(2).map(|w| w[1] - w[0] - 1).filter(|&n| n > 0).collect();
        let lost: u32 = gaps.iter().sum();
        let mean = f64::from(lost) / f64::from(u32::try_from(gaps.len()).unwrap());
        assert!((mean / mean_run - 1.0).abs() < 0.1, "mean run {mean}, asked for {mean_run}");
        assert!((f64::from(lost) / f64::from(PACKETS) / loss - 1.0).abs() < 0.1, "{lost} lost");
    }
}

#[test]
fn the_jitter_of_a_plan_is_the_jitter_asked_for() {
    for asked_ms in [1, 3, 6] {
        let jitter = Duration::from_millis(asked_ms);
        let truth = run(Impairments { jitter, ..Impairments::default() }, 1);
        let mean = truth.jitter_mean().unwrap();
        assert!((mean.as_secs_f64() / jitter.as_secs_f64() - 1.0).abs() < 0.05, "{mean:?}");
        assert_eq!((truth.lost(), truth.reordered(), truth.duplicates()), (0, 0, 0));
    }
}

#[test]
fn offsets_never_decrease_even_where_delays_exceed_the_packet_interval() {
    let impairments = Impairments { jitter: Duration::from_millis(40), ..everything() };
    let plan: Vec<_> = Plan::new(impairments, 5000, 1, 0).collect();
    assert!(plan.is_sorted_by_key(|t| t.offset));
}

#[test]
fn first_and_last_packets_are_always_seen_first_and_last() {
    let extreme = Impairments {
        loss: 1.0,
        reorder: 1.0,
        duplicate: 1.0,
        mean_run: None,
        jitter: Duration::from_millis(5),
    };
    for impairments in [extreme, Impairments { loss: 0.5, ..extreme }, everything()] {
        for seed in 0..200 {
            let plan: Vec<_> = Plan::new(impairments, 50, seed, 0).collect();
            let unique: Vec<_> = plan.iter().filter(|t| !t.duplicate).map(|t| t.index).collect();
            assert_eq!((unique[0], unique[unique.len() - 1]), (0, 49), "seed {seed}");
        }
    }
}

#[test]
fn a_packet_is_sent_once_and_repeated_once_and_later() {
    let plan: Vec<_> = Plan::new(everything(), PACKETS, 5, 0).collect();
    let mut times_sent = vec![0_u8; PACKETS as usize];
    for transmission in plan {
        let times = &mut times_sent[transmission.index as usize];
        assert_eq!(transmission.duplicate, *times == 1, "packet {}", transmission.index);
        *times += 1;
    }
    assert!(times_sent.iter().all(|&times| times <= 2));
}

#[test]
fn a_held_packet_is_overtaken_by_three_packets_at_most_when_holding_is_rare() {
    let impairments = Impairments { reorder: 0.001, ..Impairments::default() };
    let mut highest = 0;
    let mut distances = [0; 4];
    for transmission in Plan::new(impairments, PACKETS, 1, 0) {
        if transmission.index < highest {
            distances[(highest - transmission.index) as usize] += 1;
        }
        highest = highest.max(transmission.index);
    }
    assert_eq!(distances[0], 0);
    assert!(distances[1..].iter().all(|&count| count > 10), "{distances:?}");
}

fn everything() -> Impairments {
    Impairments {
        loss: 0.05,
        mean_run: None,
        jitter: Duration::from_millis(2),
        reorder: 0.04,
        duplicate: 0.03,
    }
}

/// Plays a plan to the letter.
fn run(impairments: Impairments, seed: u64) -> Truth {
    let start = Timestamp::from_secs(1_000_000);
    let mut truth = Truth::default();
    for t in Plan::new(impairments, PACKETS, seed, 0) {
        truth.on_sent(start + t.offset, t.index, t.index.wrapping_mul(160), t.duplicate);
    }
    truth
}

/// Within five standard deviations of a binomial count.
fn assert_near(count: u32, probability: f64) {
    let expected = f64::from(PACKETS) * probability;
    let tolerance = 5.0 * (expected * (1.0 - probability)).sqrt();
    assert!((f64::from(count) - expected).abs() < tolerance, "{count}, expected {expected}");
}

/// Packet, `+` if repeated, and its offset in microseconds.
const GOLDEN: &str = "0@505 2@44440 3@60701 5@104632 8@161748 6@161748 9@180424 7@180424 \
                      10@202777 11@222268 11+@222268";
