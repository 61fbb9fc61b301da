//! From what was counted of a stream to its scores, and to what each cause took of them.
//!
//! It decides nothing about which packets count and never invents a value that was not measured.

use std::sync::LazyLock;

use super::{
    Impairments, MosBasis, MosKind,
    codec::Constants,
    emodel::{self, Delay, Equipment, Inputs, Line},
};
use crate::wire::codec::Codec;

/// What the score of a stream, or of an interval of it, is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreInput {
    /// The codec of the speech.
    pub codec: Codec,
    /// Packet interval, milliseconds; it is part of the delay.
    pub ptime_ms: f64,
    /// Packets that sequence numbers say were sent.
    pub expected: u64,
    /// Of these, never received.
    pub lost: u64,
    /// Of these, too late for the assumed jitter buffer.
    pub discarded: u64,
    /// Burst ratio of the losses (G.107 eq. 7-30); `None` counts as 1, random loss.
    pub burst_ratio: Option<f64>,
    /// Round-trip time of the network from RTCP, milliseconds. Half of it is taken as the delay
    /// of one way, which is wrong by as much as the path is asymmetric.
    pub rtt_ms: Option<f64>,
    /// Nominal delay of the assumed jitter buffer, milliseconds.
    pub jitter_buffer_ms: f64,
}

/// The scores of a stream; every part that is not known is `None`, and `reason` says why.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Conversational quality, 1 to 4.5; `None` where the delay is not known.
    pub mos_cq: Option<f64>,
    /// Listening quality, 1 to 4.5: the same model with Id = 0 (RFC 3611 section 4.7.5).
    pub mos_lq: Option<f64>,
    /// The rating behind `mos_cq`, or behind `mos_lq` where there is no `mos_cq`; 0 to 100.
    pub r_factor: Option<f64>,
    /// What [`mos`](Self::mos) and `r_factor` are based on.
    pub basis: Option<MosBasis>,
    /// Why a score is missing.
    pub reason: Option<&'static str>,
    /// What each cause took from [`r_ideal`]: `r_factor` is what is left, or 0 if nothing is.
    pub impairments: Option<Impairments>,
}

impl Score {
    /// MOS-CQ where it is known, else MOS-LQ.
    #[must_use]
    pub fn mos(&self) -> Option<f64> {
        self.mos_cq.or(self.mos_lq)
    }

    const fn missing(reason: &'static str) -> Self {
        Self {
            mos_cq: None,
            mos_lq: None,
            r_factor: None,
            basis: None,
            reason: Some(reason),
            impairments: None,
        }
    }
}

/// Scores a stream.
///
/// Loss and discards together are Ppl, in percent of the packets expected. For the conversational
/// score T = Ta = half the round trip + jitter buffer + packet interval + look-ahead, and
/// Tr = 2 Ta, with the echo losses at their defaults; for the listening score Id is 0.
#[must_use]
pub fn score(input: &ScoreInput) -> Score {
    let constants = match Constants::of(input.codec) {
        Ok(constants) => constants,
        Err(reason) => return Score::missing(reason),
    };
    if input.expected < MIN_PACKETS {
        return Score::missing(TOO_FEW_PACKETS);
    }
    let (equipment, mut impairments) = equipment(input, &constants);
    let listening = LINE.rate(None, equipment).r;
    let conversational = one_way_delay_ms(input, &constants)
        .map(|ta_ms| LINE.rate(Some(Delay::symmetric(ta_ms)), equipment).r);
    // Id, and the trace by which the echo path moves Ist.
    impairments.delay = conversational.map_or(0.0, |r| listening - r);
    let kind = if conversational.is_some() { MosKind::Cq } else { MosKind::Lq };
    Score {
        mos_cq: conversational.map(emodel::mos_from_r),
        mos_lq: Some(emodel::mos_from_r(listening)),
        r_factor: Some(conversational.unwrap_or(listening).clamp(0.0, 100.0)),
        basis: Some(MosBasis { kind, scale: constants.scale, source: constants.source }),
        reason: conversational.is_none().then_some(DELAY_UNKNOWN),
        impairments: Some(impairments),
    }
}

/// R of a connection with no impairment but the default noise, loudness and sidetone: Ro - Is.
#[must_use]
pub fn r_ideal() -> f64 {
    LINE.rate(None, Equipment::default()).r
}

/// The model's view of codec and loss, and what each of them takes: the codec, then the network's
/// loss if it were random, then its burstiness, then the jitter buffer's discards on top.
fn equipment(input: &ScoreInput, constants: &Constants) -> (Equipment, Impairments) {
    let lost = percent(input.lost, input.expected);
    let missing = percent(input.lost.saturating_add(input.discarded), input.expected);
    let burst_r = burst_r(input, constants);
    let at = |ppl_percent, burst_r| Equipment {
        ie: constants.ie,
        bpl: constants.bpl,
        ppl_percent,
        burst_r,
    };
    let whole = at(missing, burst_r);
    let (random, bursty) = (at(lost, 1.0).ie_eff(), at(lost, burst_r).ie_eff());
    let impairments = Impairments {
        codec: constants.ie,
        loss: random - constants.ie,
        burst: bursty - random,
        discard: whole.ie_eff() - bursty,
        delay: 0.0,
    };
    (whole, impairments)
}

fn burst_r(input: &ScoreInput, constants: &Constants) -> f64 {
    match input.burst_ratio {
        Some(ratio) if constants.burst_ratio_applies() && ratio.is_finite() => {
            ratio.clamp(BURST_R_MIN, BURST_R_MAX)
        }
        _ => BURST_R_MIN,
    }
}

fn one_way_delay_ms(input: &ScoreInput, constants: &Constants) -> Option<f64> {
    let rtt_ms = input.rtt_ms.filter(|rtt| rtt.is_finite())?;
    let delays = [rtt_ms / 2.0, input.jitter_buffer_ms, input.ptime_ms, constants.look_ahead_ms];
    let sum: f64 = delays.iter().map(|delay| delay.max(0.0)).sum();
    Some(sum.min(MAX_DELAY_MS))
}

/// A share in percent, at most 100; both counts are exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn percent(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64 * 100.0).min(100.0)
}

/// The line that every score assumes: the defaults of G.107 Table 3.
static LINE: LazyLock<Line> = LazyLock::new(|| Line::new(&Inputs::default()));

/// Fewest packets that are scored: one second of 20 ms voice. One loss among fewer is more than
/// 2 %, so that a score would tell chance.
pub const MIN_PACKETS: u64 = 50;

/// G.107 Table 3: the range of BurstR.
const BURST_R_MIN: f64 = 1.0;
const BURST_R_MAX: f64 = 8.0;

/// Longer delays count as this one. Id has long levelled off there, and powers stay finite.
const MAX_DELAY_MS: f64 = 60_000.0;

/// Why a short stream has no score.
pub const TOO_FEW_PACKETS: &str = "too few packets: less than a second of voice";

/// Why there is only a listening score.
pub const DELAY_UNKNOWN: &str = "delay unknown: no RTCP round trip";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quality::{Scale, Source, codec};

    fn clean(codec: Codec) -> ScoreInput {
        ScoreInput {
            codec,
            ptime_ms: 20.0,
            expected: 1000,
            lost: 0,
            discarded: 0,
            burst_ratio: None,
            rtt_ms: None,
            jitter_buffer_ms: 60.0,
        }
    }

    #[test]
    fn clean_g711_without_rtcp_is_4_41_on_the_listening_scale() {
        let score = score(&clean(Codec::Pcmu));
        assert!((score.mos_lq.unwrap() - 4.41).abs() < 0.01, "{score:?}");
        assert_eq!(score.mos_cq, None);
        assert_eq!(score.mos(), score.mos_lq);
        assert_eq!(score.r_factor, Some(r_ideal()));
        assert_eq!(score.basis.unwrap().to_string(), "lq nb measured");
        assert_eq!(score.reason, Some(DELAY_UNKNOWN));
        assert_eq!(score.impairments, Some(Impairments::default()));
    }

    #[test]
    fn a_round_trip_time_gives_the_conversational_score() {
        // 29.5 / 2 + 60 + 20 + 5 ms is 99.75 ms: under the 100 ms that Idd lets pass.
        let score = score(&ScoreInput { rtt_ms: Some(29.5), ..clean(Codec::G729) });
        let delay = Delay::symmetric(99.75);
        let equipment = Equipment { ie: 11.0, bpl: 19.0, ..Equipment::default() };
        let expected = Inputs { delay, equipment, ..Inputs::default() }.rate();
        assert!((score.r_factor.unwrap() - expected.r).abs() < 1e-9);
        assert_eq!(score.mos_cq, Some(emodel::mos_from_r(expected.r)));
        assert_eq!(score.basis.unwrap().kind, MosKind::Cq);
        assert_eq!(score.reason, None);
        assert!(score.mos_cq < score.mos_lq);
    }

    #[test]
    fn what_cannot_be_scored_says_why() {
        for (codec, reason) in [
            (Codec::Unknown, codec::UNKNOWN),
            (Codec::Opus, codec::WIDEBAND),
            (Codec::G722, codec::WIDEBAND),
            (Codec::TelephoneEvent, codec::NOT_SPEECH),
            (Codec::ComfortNoise, codec::NOT_SPEECH),
        ] {
            assert_eq!(score(&clean(codec)), Score::missing(reason), "{codec:?}");
        }
        let short = ScoreInput { expected: MIN_PACKETS - 1, ..clean(Codec::Pcma) };
        assert_eq!(score(&short), Score::missing(TOO_FEW_PACKETS));
        let enough = ScoreInput { expected: MIN_PACKETS, ..short };
        assert!(score(&enough).mos_lq.is_some());
    }

    #[test]
    fn only_the_five_published_pairs_count_as_measured() {
        let measured: Vec<_> = SCORED
            .into_iter()
            .filter(|&codec| Constants::of(codec).unwrap().source == Source::Measured)
            .map(|codec| (codec.name().unwrap(), Constants::of(codec).unwrap()))
            .map(|(name, constants)| (name, constants.ie, constants.bpl))
            .collect();
        let published = [
            ("PCMU", 0.0, 25.1),
            ("PCMA", 0.0, 25.1),
            ("G729", 11.0, 19.0),
            ("G723", 15.0, 16.1),
            ("GSM-EFR", 5.0, 10.0),
        ];
        assert_eq!(measured, published);
        assert!(SCORED.iter().all(|&codec| Constants::of(codec).unwrap().scale == Scale::Nb));
    }

    #[test]
    fn burstiness_counts_only_with_an_efficient_concealment() {
        let bursty = |codec| ScoreInput { lost: 50, burst_ratio: Some(2.0), ..clean(codec) };
        let g711 = score(&bursty(Codec::Pcmu)).impairments.unwrap();
        // G.711 with concealment, 5 %, BurstR 2: a published point.
        assert!((g711.loss + g711.burst - 17.210_145).abs() < 1e-6, "{g711:?}");
        assert!(g711.burst > 1.0);
        assert_eq!(score(&bursty(Codec::GsmEfr)).impairments.unwrap().burst, 0.0);
    }

    #[test]
    fn everything_lost_in_bursts_is_the_worst_score_and_not_less() {
        let lost = ScoreInput { lost: 1000, burst_ratio: Some(8.0), ..clean(Codec::G729) };
        let score = score(&lost);
        assert_eq!((score.mos_lq, score.r_factor), (Some(1.0), Some(0.0)));
        assert!(score.impairments.unwrap().burst > 100.0);
    }

    const SCORED: [Codec; 11] = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G729,
        Codec::G723,
        Codec::GsmEfr,
        Codec::Gsm,
        Codec::G726_32,
        Codec::G728,
        Codec::Amr,
        Codec::Ilbc,
        Codec::Speex,
    ];

    fn real_calls() -> impl Strategy<Value = ScoreInput> {
        let counts = (MIN_PACKETS..1 << 40, 0.0..0.5, 0.0..0.5);
        let rtt_ms = prop::option::of(0.0..2000.0);
        let burst_ratio = prop::option::of(0.5..10.0);
        (prop::sample::select(&SCORED[..]), counts, burst_ratio, rtt_ms, 0.0..400.0).prop_map(
            |(codec, (expected, lost, discarded), burst_ratio, rtt_ms, jitter_buffer_ms)| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "a share of at most 2^40 packets"
                )]
                let share = |of: f64| (expected as f64 * of) as u64;
                ScoreInput {
                    codec,
                    ptime_ms: 20.0,
                    expected,
                    lost: share(lost),
                    discarded: share(discarded),
                    burst_ratio,
                    rtt_ms,
                    jitter_buffer_ms,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn impairments_add_up_to_what_is_missing(input in real_calls()) {
            let score = score(&input);
            let Impairments { codec, loss, burst, discard, delay } = score.impairments.unwrap();
            let parts = [codec, loss, burst, discard, delay];
            prop_assert!(parts.iter().all(|&part| part >= 0.0), "{parts:?}");
            let left = r_ideal() - parts.iter().sum::<f64>();
            prop_assert!((score.r_factor.unwrap() - left.max(0.0)).abs() < 1e-9);
        }

        #[test]
        fn more_loss_never_sounds_better(input in real_calls(), more in 1..u64::from(u32::MAX)) {
            let worse = ScoreInput { lost: input.lost + more, ..input };
            prop_assert!(score(&worse).r_factor <= score(&input).r_factor);
            prop_assert!(score(&worse).mos() <= score(&input).mos());
        }

        #[test]
        fn more_delay_never_sounds_better(
            input in real_calls(),
            rtt in 0.0..4e3,
            more in 0.0..4e3,
        ) {
            let near = ScoreInput { rtt_ms: Some(rtt), ..input };
            let far = ScoreInput { rtt_ms: Some(rtt + more), ..input };
            prop_assert!(score(&far).mos_cq <= score(&near).mos_cq);
            prop_assert_eq!(score(&far).mos_lq, score(&near).mos_lq);
        }

        #[test]
        fn no_input_gives_nonsense(
            codec in prop::sample::select(&SCORED[..]),
            ptime_ms in prop::num::f64::ANY,
            expected in any::<u64>(),
            lost in any::<u64>(),
            discarded in any::<u64>(),
            burst_ratio in prop::option::of(prop::num::f64::ANY),
            rtt_ms in prop::option::of(prop::num::f64::ANY),
            jitter_buffer_ms in prop::num::f64::ANY,
        ) {
            let input = ScoreInput {
                codec, ptime_ms, expected, lost, discarded, burst_ratio, rtt_ms, jitter_buffer_ms,
            };
            let score = score(&input);
            for mos in [score.mos_cq, score.mos_lq].into_iter().flatten() {
                prop_assert!((1.0..=4.5).contains(&mos), "{mos}");
            }
            prop_assert!(score.r_factor.is_none_or(|r| (0.0..=100.0).contains(&r)), "{score:?}");
        }
    }
}
