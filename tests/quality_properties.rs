//! What holds of a score whatever goes in: on its scale, explained to the last point of R, never
//! better for more loss or delay.

use proptest::prelude::*;
use voxplane::{
    quality::{
        Impairments, Scale,
        codec::{Constant, Constants},
        score::{MIN_PACKETS, Model, ScoreInput, Scoring},
    },
    wire::codec::Codec,
};

#[test]
fn every_codec_for_speech_is_scored_or_says_why() {
    for scoring in [Scoring::default(), simplified()] {
        for (codec, clock_rate) in CODECS {
            let score = scoring.score(&ScoreInput { codec, clock_rate, ..clean() });
            assert!(score.mos().is_some(), "{codec:?}");
        }
    }
    let unknown = ScoreInput { codec: Codec::AmrWb, clock_rate: 16_000, ..clean() };
    let score = Scoring::default().score(&unknown);
    assert!(score.mos().is_none() && score.basis.is_none() && score.reason.is_some());
}

proptest! {
    #[test]
    fn impairments_add_up_to_what_is_missing(scoring in scorings(), input in real_calls()) {
        let score = scoring.score(&input);
        let basis = score.basis.unwrap();
        let Impairments { codec, loss, burst, discard, delay } = score.impairments.unwrap();
        let parts = [codec, loss, burst, discard, delay];
        prop_assert!(parts.iter().all(|&part| part >= 0.0), "{parts:?}");
        let left = basis.r_ideal() - parts.iter().sum::<f64>();
        prop_assert!((score.r_factor.unwrap() - left.max(0.0)).abs() < 1e-9);
    }

    #[test]
    fn more_loss_never_sounds_better(
        scoring in scorings(),
        input in real_calls(),
        more in 1..u64::from(u32::MAX),
    ) {
        let worse = scoring.score(&ScoreInput { lost: input.lost + more, ..input });
        let score = scoring.score(&input);
        prop_assert!(worse.r_factor <= score.r_factor);
        prop_assert!(worse.mos() <= score.mos());
    }

    #[test]
    fn more_delay_never_sounds_better(
        scoring in scorings(),
        input in real_calls(),
        rtt in 0.0..4e3,
        more in 0.0..4e3,
    ) {
        let near = scoring.score(&ScoreInput { rtt_ms: Some(rtt), ..input });
        let far = scoring.score(&ScoreInput { rtt_ms: Some(rtt + more), ..input });
        prop_assert!(far.mos_cq <= near.mos_cq);
        prop_assert_eq!(far.mos_lq, near.mos_lq);
    }

    #[test]
    fn no_input_gives_nonsense(
        scoring in scorings(),
        (codec, clock_rate) in prop::sample::select(&CODECS[..]),
        ptime_ms in prop::num::f64::ANY,
        (expected, lost, discarded) in any::<(u64, u64, u64)>(),
        burst_ratio in prop::option::of(prop::num::f64::ANY),
        rtt_ms in prop::option::of(prop::num::f64::ANY),
        jitter_buffer_ms in prop::num::f64::ANY,
        jitter_ms in prop::option::of(prop::num::f64::ANY),
    ) {
        let score = scoring.score(&ScoreInput {
            codec, clock_rate, ptime_ms, expected, lost, discarded, burst_ratio, rtt_ms,
            jitter_buffer_ms, jitter_ms,
        });
        for mos in [score.mos_cq, score.mos_lq].into_iter().flatten() {
            prop_assert!((1.0..=4.5).contains(&mos), "{mos}");
        }
        if let Some((basis, r)) = score.basis.zip(score.r_factor) {
            prop_assert!((0.0..=basis.scale.r_max()).contains(&r), "{score:?}");
            prop_assert!(r <= basis.r_ideal());
        }
        if let Some(Impairments { codec, loss, burst, discard, delay }) = score.impairments {
            let parts = [codec, loss, burst, discard, delay];
            prop_assert!(parts.iter().all(|part| part.is_finite()), "{parts:?}");
        }
    }
}

fn clean() -> ScoreInput {
    ScoreInput {
        codec: Codec::Pcmu,
        clock_rate: 8000,
        ptime_ms: 20.0,
        expected: 1000,
        lost: 0,
        discarded: 0,
        burst_ratio: None,
        rtt_ms: None,
        jitter_buffer_ms: 60.0,
        jitter_ms: None,
    }
}

fn simplified() -> Scoring {
    Scoring { model: Model::Simplified, ..Scoring::default() }
}

/// The defaults, without concealment, with any constants for a codec, and the simplified model.
fn scorings() -> impl Strategy<Value = Scoring> {
    let scale = prop::sample::select(vec![Scale::Nb, Scale::Wb, Scale::Fb]);
    let overriding = (scale, 0.0..=1.0, 4.3..=40.0).prop_map(|(scale, share, bpl)| {
        let ie = Constant::overriding(scale.ie_ceiling() * share);
        let constants = Constants { ie, bpl: Constant::overriding(bpl), scale };
        Scoring { overrides: vec![(Codec::Pcmu, constants)], ..Scoring::default() }
    });
    prop_oneof![
        Just(Scoring::default()),
        Just(Scoring { g711_plc: false, ..Scoring::default() }),
        (0.0..500.0).prop_map(|ms: f64| Scoring {
            assumed_one_way_delay_ms: Some(ms),
            ..Scoring::default()
        }),
        overriding,
        Just(simplified()),
    ]
}

fn real_calls() -> impl Strategy<Value = ScoreInput> {
    let counts = (MIN_PACKETS..1 << 40, 0.0..0.5, 0.0..0.5);
    let rtt_ms = prop::option::of(0.0..2000.0);
    let burst_ratio = prop::option::of(0.5..10.0);
    let jitter_ms = prop::option::of(0.0..200.0);
    let codec = prop::sample::select(&CODECS[..]);
    (codec, counts, burst_ratio, rtt_ms, jitter_ms, 0.0..400.0).prop_map(
        |((codec, clock_rate), counts, burst_ratio, rtt_ms, jitter_ms, jitter_buffer_ms)| {
            let (expected, lost, discarded) = counts;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of at most 2^40 packets"
            )]
            let share = |of: f64| (expected as f64 * of) as u64;
            ScoreInput {
                codec,
                clock_rate,
                ptime_ms: 20.0,
                expected,
                lost: share(lost),
                discarded: share(discarded),
                burst_ratio,
                rtt_ms,
                jitter_buffer_ms,
                jitter_ms,
            }
        },
    )
}

/// Codecs that have a score by their name and clock.
const CODECS: [(Codec, u32); 16] = [
    (Codec::Pcmu, 8000),
    (Codec::Pcma, 8000),
    (Codec::G729, 8000),
    (Codec::G723, 8000),
    (Codec::GsmEfr, 8000),
    (Codec::Gsm, 8000),
    (Codec::G726_32, 8000),
    (Codec::G728, 8000),
    (Codec::Amr, 8000),
    (Codec::Ilbc, 8000),
    (Codec::Speex, 8000),
    (Codec::G722, 8000),
    (Codec::Opus, 48_000),
    (Codec::L16, 8000),
    (Codec::L16, 16_000),
    (Codec::L16, 44_100),
];
