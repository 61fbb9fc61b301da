//! From what was counted of a stream to its scores, and to what each cause took of them.
//!
//! It decides nothing about which packets count and never invents a value that was not measured:
//! what is assumed instead, the configuration says, and the score.

use serde::Serialize;

use super::{
    MosBasis, MosKind, Scale, Source,
    codec::{self, Constants},
    delay,
    emodel::{Delay, Equipment},
    simplified,
};
use crate::{limits::JITTER_BUFFER, wire::codec::Codec};

/// How streams are scored: the `[scoring]` table of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Scoring {
    /// By which formula.
    pub model: Model,
    /// Whether receivers of G.711 are taken to conceal loss as its Appendix I does; else Bpl is
    /// 4.3 instead of 25.1.
    pub g711_plc: bool,
    /// The network's one-way delay where no RTCP tells it, milliseconds; `None` leaves MOS-CQ
    /// unknown there.
    pub assumed_one_way_delay_ms: Option<f64>,
    /// Delay of the jitter buffer of a far end that none is emulated for, milliseconds.
    pub far_end_buffer_ms: f64,
    /// Constants that stand for a codec's own.
    pub overrides: Vec<(Codec, Constants)>,
}

/// The formula behind a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The E-model on the scale of the codec.
    EModel,
    /// That of [`simplified`].
    Simplified,
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            model: Model::EModel,
            g711_plc: true,
            assumed_one_way_delay_ms: None,
            far_end_buffer_ms: JITTER_BUFFER.as_secs_f64() * 1e3,
            overrides: Vec::new(),
        }
    }
}

impl Scoring {
    /// Scores a stream.
    #[must_use]
    pub fn score(&self, input: &ScoreInput) -> Score {
        let is_short = input.expected < MIN_PACKETS;
        match (self.model, self.constants(input.codec, input.clock_rate)) {
            (Model::EModel, Err(reason)) => Score::missing(reason),
            // The simplified formula asks for no constants, but for speech.
            (Model::Simplified, Err(reason @ (codec::UNKNOWN | codec::NOT_SPEECH))) => {
                Score::missing(reason)
            }
            _ if is_short => Score::missing(TOO_FEW_PACKETS),
            (Model::EModel, Ok(constants)) => self.by_e_model(input, &constants),
            (Model::Simplified, _) => self.simplified(input),
        }
    }

    /// The constants of a codec, those of the configuration before its own.
    fn constants(&self, codec: Codec, clock_rate: u32) -> Result<Constants, &'static str> {
        let overriding = self.overrides.iter().find(|(other, _)| *other == codec);
        overriding.map_or_else(
            || Constants::of(codec, clock_rate, self.g711_plc),
            |&(_, constants)| Ok(constants),
        )
    }

    /// Loss and discards together are Ppl, in percent of the packets expected. For the
    /// conversational score T = Ta = network + terminal ([`delay`]), and Tr = 2 Ta, with the echo
    /// losses at their defaults; for the listening score Id is 0.
    fn by_e_model(&self, input: &ScoreInput, constants: &Constants) -> Score {
        let scale = constants.scale;
        let (equipment, mut impairments) = equipment(input, constants);
        let network = self.network_delay(input);
        let listening = scale.rate(None, equipment).r;
        let conversational = network.map(|network| {
            let terminal_ms = delay::terminal_ms(
                input.codec,
                input.ptime_ms,
                input.jitter_buffer_ms,
                self.g711_plc,
            );
            let ta_ms = (network.one_way_ms + terminal_ms).min(MAX_DELAY_MS);
            scale.rate(Some(Delay::symmetric(ta_ms)), equipment).r
        });
        // Id, and on the narrowband scale the trace by which the echo path moves Ist.
        impairments.delay = conversational.map_or(0.0, |r| listening - r);
        let r_factor = conversational.unwrap_or(listening).clamp(0.0, scale.r_max());
        Score {
            mos_cq: conversational.map(|r| scale.mos(r)),
            mos_lq: Some(scale.mos(listening)),
            r_factor: Some(r_factor),
            basis: Some(basis(network, scale, constants.source())),
            reason: network.is_none().then_some(DELAY_UNKNOWN),
            impairments: Some(impairments),
        }
    }

    fn simplified(&self, input: &ScoreInput) -> Score {
        let network = self.network_delay(input);
        let inputs = simplified::Inputs {
            loss_percent: percent(input.lost, input.expected),
            rtt_ms: network.map(|network| 2.0 * network.one_way_ms),
            jitter_ms: input.jitter_ms,
        };
        let rated = inputs.rate();
        Score {
            mos_cq: rated.conversational.map(simplified::mos),
            mos_lq: Some(simplified::mos(rated.listening)),
            r_factor: Some(rated.conversational.unwrap_or(rated.listening)),
            basis: Some(basis(network, Scale::Nb, Source::Simplified)),
            reason: network.is_none().then_some(DELAY_UNKNOWN),
            impairments: Some(rated.impairments),
        }
    }

    fn network_delay(&self, input: &ScoreInput) -> Option<NetworkDelay> {
        let known = |ms: &f64| ms.is_finite();
        let measured = input.rtt_ms.filter(known).map(|rtt_ms| (rtt_ms / 2.0, false));
        let assumed = || self.assumed_one_way_delay_ms.filter(known).map(|ms| (ms, true));
        let (ms, is_assumed) = measured.or_else(assumed)?;
        Some(NetworkDelay { one_way_ms: ms.max(0.0), is_assumed })
    }
}

/// What the score of a stream, or of an interval of it, is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreInput {
    /// The codec of the speech.
    pub codec: Codec,
    /// RTP clock, Hz; it tells the band of codecs that have several.
    pub clock_rate: u32,
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
    /// Delay of the assumed jitter buffer over the fastest packet, milliseconds: nominal, or the
    /// mean of an adaptive one.
    pub jitter_buffer_ms: f64,
    /// Mean of the A.8 estimate, milliseconds. Only the simplified model looks at it: to the
    /// E-model jitter is the packets that the buffer discards.
    pub jitter_ms: Option<f64>,
}

/// The scores of a stream; every part that is not known is `None`, and `reason` says why.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Conversational quality, 1 to 4.5; `None` where the delay is not known.
    pub mos_cq: Option<f64>,
    /// Listening quality, 1 to 4.5: the same model without delay (RFC 3611 section 4.7.5).
    pub mos_lq: Option<f64>,
    /// The rating behind `mos_cq`, or behind `mos_lq` where there is no `mos_cq`; 0 to 100 on
    /// the narrowband scale, to 129 and 148 on the others.
    pub r_factor: Option<f64>,
    /// What [`mos`](Self::mos) and `r_factor` are based on.
    pub basis: Option<MosBasis>,
    /// Why a score is missing.
    pub reason: Option<&'static str>,
    /// What each cause took from [`MosBasis::r_ideal`]: `r_factor` is what is left, or 0 if nothing
    /// is.
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

/// R lost, by cause. What the codec, the network, the buffer and the delay took; with the
/// rating they add up to the R of a perfect connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Impairments {
    /// Ie of the codec.
    pub codec: f64,
    /// Random network loss.
    pub loss: f64,
    /// What burstiness adds to that loss.
    pub burst: f64,
    /// Discards of the assumed jitter buffer; in the simplified model its jitter penalty.
    pub discard: f64,
    /// Delay and echo; 0 where the delay is unknown.
    pub delay: f64,
}

/// How long the network takes one way.
#[derive(Clone, Copy, Debug)]
struct NetworkDelay {
    one_way_ms: f64,
    is_assumed: bool,
}

fn basis(network: Option<NetworkDelay>, scale: Scale, source: Source) -> MosBasis {
    MosBasis {
        kind: if network.is_some() { MosKind::Cq } else { MosKind::Lq },
        scale,
        source,
        is_delay_assumed: network.is_some_and(|network| network.is_assumed),
    }
}

/// The model's view of codec and loss, and what each of them takes: the codec, then the network's
/// loss if it were random, then its burstiness, then the jitter buffer's discards on top.
fn equipment(input: &ScoreInput, constants: &Constants) -> (Equipment, Impairments) {
    let lost = percent(input.lost, input.expected);
    let missing = percent(input.lost.saturating_add(input.discarded), input.expected);
    let burst_r = burst_r(input, constants);
    let (ie, bpl) = (constants.ie.value, constants.bpl.value);
    let at = |ppl_percent, burst_r| Equipment { ie, bpl, ppl_percent, burst_r };
    let ceiling = constants.scale.ie_ceiling();
    let ie_eff = |equipment: Equipment| equipment.ie_eff_toward(ceiling);
    let whole = at(missing, burst_r);
    let (random, bursty) = (ie_eff(at(lost, 1.0)), ie_eff(at(lost, burst_r)));
    let impairments = Impairments {
        codec: ie,
        loss: random - ie,
        burst: bursty - random,
        discard: ie_eff(whole) - bursty,
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

/// A share in percent, at most 100; both counts are exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn percent(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64 * 100.0).min(100.0)
}

/// The packet interval of nearly all telephony, milliseconds: for streams where none has been seen.
pub const DEFAULT_PTIME_MS: f64 = 20.0;

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
    use super::*;
    use crate::quality::{
        codec::{Constant, MODE_UNKNOWN, NOT_SPEECH, UNKNOWN},
        emodel::{self, Inputs},
    };

    fn clean(codec: Codec) -> ScoreInput {
        ScoreInput {
            codec,
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

    fn score(input: &ScoreInput) -> Score {
        Scoring::default().score(input)
    }

    #[test]
    fn clean_g711_without_rtcp_is_4_41_on_the_listening_scale() {
        let score = score(&clean(Codec::Pcmu));
        assert!((score.mos_lq.unwrap() - 4.41).abs() < 0.01, "{score:?}");
        assert_eq!(score.mos_cq, None);
        assert_eq!(score.mos(), score.mos_lq);
        assert_eq!(score.r_factor, Some(score.basis.unwrap().r_ideal()));
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
            (Codec::Unknown, UNKNOWN),
            (Codec::AmrWb, MODE_UNKNOWN),
            (Codec::Evs, MODE_UNKNOWN),
            (Codec::TelephoneEvent, NOT_SPEECH),
            (Codec::ComfortNoise, NOT_SPEECH),
        ] {
            assert_eq!(score(&clean(codec)), Score::missing(reason), "{codec:?}");
        }
        let short = ScoreInput { expected: MIN_PACKETS - 1, ..clean(Codec::Pcma) };
        assert_eq!(score(&short), Score::missing(TOO_FEW_PACKETS));
        let enough = ScoreInput { expected: MIN_PACKETS, ..short };
        assert!(score(&enough).mos_lq.is_some());
    }

    #[test]
    fn each_codec_is_scored_on_its_own_scale() {
        for (codec, clock_rate, basis, r, mos) in [
            (Codec::G722, 8000, "lq wb estimate", 116.0, 4.3371),
            (Codec::Opus, 48_000, "lq fb estimate", 137.8, 4.4075),
            (Codec::L16, 16_000, "lq wb estimate", 129.0, 4.5),
            (Codec::L16, 48_000, "lq fb estimate", 148.0, 4.5),
        ] {
            let score = score(&ScoreInput { clock_rate, ..clean(codec) });
            assert_eq!(score.basis.unwrap().to_string(), basis, "{codec:?}");
            assert!((score.r_factor.unwrap() - r).abs() < 1e-9, "{score:?}");
            assert!((score.mos_lq.unwrap() - mos).abs() < 5e-5, "{score:?}");
        }
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

    #[test]
    fn without_concealment_g711_suffers_more_and_waits_less() {
        let without = Scoring { g711_plc: false, ..Scoring::default() };
        let input = ScoreInput { lost: 20, rtt_ms: Some(200.0), ..clean(Codec::Pcmu) };
        let loss = |scoring: &Scoring| scoring.score(&input).impairments.unwrap().loss;
        // The published Ie,eff at 2 %.
        assert!((loss(&without) - 30.16).abs() < 0.005);
        assert!((loss(&Scoring::default()) - 7.01).abs() < 0.005);
        let delay = |scoring: &Scoring| scoring.score(&input).impairments.unwrap().delay;
        assert!(delay(&without) < delay(&Scoring::default()));
    }

    #[test]
    fn an_assumed_delay_stands_in_for_a_measured_one_and_says_so() {
        let assuming = Scoring { assumed_one_way_delay_ms: Some(50.0), ..Scoring::default() };
        let assumed = assuming.score(&clean(Codec::Pcmu));
        assert_eq!(assumed.basis.unwrap().to_string(), "cq nb measured assumed-delay");
        assert_eq!(assumed.reason, None);
        let measured = ScoreInput { rtt_ms: Some(100.0), ..clean(Codec::Pcmu) };
        let known = assuming.score(&measured);
        assert_eq!(known.basis.unwrap().to_string(), "cq nb measured");
        assert_eq!(known.mos_cq, assumed.mos_cq);
        assert_eq!(known, score(&measured));
    }

    #[test]
    fn an_override_takes_the_place_of_the_codec_s_own_constants() {
        let constants = Constants {
            ie: Constant::overriding(20.0),
            bpl: Constant::overriding(4.3),
            scale: Scale::Wb,
        };
        let overrides = vec![(Codec::AmrWb, constants)];
        let scoring = Scoring { overrides, ..Scoring::default() };
        let told = scoring.score(&ScoreInput { lost: 20, ..clean(Codec::AmrWb) });
        assert_eq!(told.basis.unwrap().to_string(), "lq wb override");
        // AMR-WB at 12.65 kbit/s with 2 % lost: a published point.
        assert!((told.mos_lq.unwrap() - 3.4062).abs() < 5e-4, "{told:?}");
        assert_eq!(scoring.score(&clean(Codec::Pcmu)), score(&clean(Codec::Pcmu)));
    }

    #[test]
    fn the_simplified_model_looks_at_loss_delay_and_jitter_and_at_no_codec() {
        let scoring = Scoring { model: Model::Simplified, ..Scoring::default() };
        let input = ScoreInput {
            lost: 20,
            discarded: 100,
            burst_ratio: Some(3.0),
            rtt_ms: Some(260.0),
            jitter_ms: Some(40.0),
            ..clean(Codec::Pcmu)
        };
        let simplified = scoring.score(&input);
        assert_eq!(simplified.basis.unwrap().to_string(), "cq nb simplified");
        let taken = Impairments { loss: 5.0, discard: 2.0, delay: 10.0, ..Impairments::default() };
        assert_eq!(simplified.impairments, Some(taken));
        assert!((simplified.r_factor.unwrap() - 76.2).abs() < 1e-9);
        assert_eq!(simplified.mos_cq, Some(emodel::mos_from_r(simplified.r_factor.unwrap())));
        for codec in [Codec::Opus, Codec::AmrWb, Codec::G729] {
            assert_eq!(scoring.score(&ScoreInput { codec, ..input }), simplified, "{codec:?}");
        }
        let reason = |codec| scoring.score(&ScoreInput { codec, ..input }).reason;
        assert_eq!(reason(Codec::Unknown), Some(UNKNOWN));
        assert_eq!(reason(Codec::H264), Some(NOT_SPEECH));
        let unknown = scoring.score(&ScoreInput { rtt_ms: None, ..input });
        assert_eq!(unknown.basis.unwrap().to_string(), "lq nb simplified");
        assert_eq!((unknown.mos_cq, unknown.reason), (None, Some(DELAY_UNKNOWN)));
    }
}
