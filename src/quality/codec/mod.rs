//! What each codec does to quality: Ie and Bpl, the scale they are on, and where they come from.
//!
//! It gives no figure to a codec that none is known for: such a codec has a reason instead.

pub mod modes;

use super::{Scale, Source};
use crate::wire::codec::Codec;

/// A codec's constants for the E-model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Ie, equipment impairment factor without loss.
    pub ie: Constant,
    /// Bpl, packet-loss robustness factor.
    pub bpl: Constant,
    /// The scale they are on.
    pub scale: Scale,
}

impl Constants {
    /// The constants of a codec by its encoding name and RTP clock (Hz), which decides the band of
    /// L16 and Speex. `g711_plc` says whether receivers of G.711 have the concealment of its
    /// Appendix I.
    ///
    /// G.729 is taken for G.729A with VAD and G.723.1 for 6.3 kbit/s with VAD, the only variants
    /// that have a Bpl; G.722 for 64 kbit/s, the one rate that its payload format has.
    ///
    /// # Errors
    ///
    /// Why the codec has no score, as the API shows it.
    pub const fn of(codec: Codec, clock_rate: u32, g711_plc: bool) -> Result<Self, &'static str> {
        use Scale::{Fb, Nb, Wb};
        Ok(match codec {
            Codec::Pcmu | Codec::Pcma if g711_plc => Self::published(Nb, 0.0, 25.1),
            Codec::Pcmu | Codec::Pcma => Self::published(Nb, 0.0, 4.3),
            Codec::G729 => Self::published(Nb, 11.0, 19.0),
            Codec::G723 => Self::published(Nb, 15.0, 16.1),
            Codec::GsmEfr => Self::published(Nb, 5.0, 10.0),
            // Bpl is not published.
            Codec::Gsm => Self::half_published(Nb, 20.0, BPL_UNPUBLISHED),
            Codec::G726_32 => Self::half_published(Nb, 7.0, BPL_UNPUBLISHED),
            Codec::G728 => Self::half_published(Nb, 7.0, BPL_UNPUBLISHED),
            // The 12.2 kbit/s mode is GSM-EFR's algorithm.
            Codec::Amr => Self::estimate(Nb, 5.0, BPL_UNPUBLISHED),
            // Rate and quality of G.729A, but no state carried from frame to frame (RFC 3951
            // section 1), hence hardly an after-effect of a lost one.
            Codec::Ilbc => Self::estimate(Nb, 11.0, 32.0),
            // A CELP codec with the quality of G.729A at its usual rates.
            Codec::Speex if clock_rate > NARROWBAND_CLOCK => return Err(NO_CONSTANTS),
            Codec::Speex => Self::estimate(Nb, 11.0, BPL_UNPUBLISHED),
            // What G.113 is remembered to have for 64 kbit/s; a vendor's older list has 14.
            Codec::G722 => Self::estimate(Wb, 13.0, BPL_UNPUBLISHED_WB),
            // No ITU value on any scale; what three open implementations agree on. Ie is that of
            // EVS at 48 kbit/s.
            Codec::Opus => Self::estimate(Fb, 10.2, 4.3),
            // No coding, hence nothing of it to hear; concealment as with G.711 without any.
            Codec::L16 => match clock_rate {
                NARROWBAND_CLOCK => Self::estimate(Nb, 0.0, BPL_NO_CONCEALMENT),
                16_000 => Self::estimate(Wb, 0.0, BPL_NO_CONCEALMENT),
                44_100 | 48_000 => Self::estimate(Fb, 0.0, BPL_NO_CONCEALMENT),
                _ => return Err(NO_SCALE),
            },
            Codec::AmrWb | Codec::Evs => return Err(MODE_UNKNOWN),
            Codec::TelephoneEvent
            | Codec::ComfortNoise
            | Codec::H261
            | Codec::H263
            | Codec::H264
            | Codec::H265
            | Codec::Vp8
            | Codec::Vp9 => return Err(NOT_SPEECH),
            Codec::Unknown => return Err(UNKNOWN),
        })
    }

    /// Where the pair comes from: the less trusted one decides.
    #[must_use]
    pub const fn source(&self) -> Source {
        match (self.ie.origin, self.bpl.origin) {
            (Origin::Override, _) | (_, Origin::Override) => Source::Override,
            (Origin::Estimate, _) | (_, Origin::Estimate) => Source::Estimate,
            (Origin::Itu, Origin::Itu) => Source::Measured,
        }
    }

    /// Whether BurstR applies: only to codecs with an efficient concealment (G.113 Appendix I),
    /// and not on the wideband scale, whose model has none (G.107.1 eq. 7-15).
    #[must_use]
    pub fn burst_ratio_applies(&self) -> bool {
        self.scale != Scale::Wb && self.bpl.value >= BURST_RATIO_MIN_BPL
    }

    /// A pair of G.113 (2024) Table I.4.
    const fn published(scale: Scale, ie: f64, bpl: f64) -> Self {
        Self { ie: Constant::itu(ie), bpl: Constant::itu(bpl), scale }
    }

    /// Ie of G.113 Table I.1, and a Bpl of ours.
    const fn half_published(scale: Scale, ie: f64, bpl: f64) -> Self {
        Self { ie: Constant::itu(ie), bpl: Constant::estimate(bpl), scale }
    }

    const fn estimate(scale: Scale, ie: f64, bpl: f64) -> Self {
        Self { ie: Constant::estimate(ie), bpl: Constant::estimate(bpl), scale }
    }
}

/// One constant and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {
    /// The figure.
    pub value: f64,
    /// Who says so.
    pub origin: Origin,
}

impl Constant {
    /// A value that the ITU publishes.
    #[must_use]
    pub const fn itu(value: f64) -> Self {
        Self { value, origin: Origin::Itu }
    }

    /// A value by analogy.
    #[must_use]
    pub const fn estimate(value: f64) -> Self {
        Self { value, origin: Origin::Estimate }
    }

    /// A value of the configuration.
    #[must_use]
    pub const fn overriding(value: f64) -> Self {
        Self { value, origin: Origin::Override }
    }
}

/// Who says what a constant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// ITU-T G.113.
    Itu,
    /// Nobody of authority: by analogy, or common use.
    Estimate,
    /// The configuration.
    Override,
}

/// RTP clock of a narrowband codec, Hz.
const NARROWBAND_CLOCK: u32 = 8000;

/// Bpl on the narrowband scale where none is published: the lowest published one of a codec that
/// conceals at all, that of GSM-EFR, so that an estimate does not flatter.
const BPL_UNPUBLISHED: f64 = 10.0;

/// The same on the wideband scale: that of AMR-WB at 12.65 kbit/s.
const BPL_UNPUBLISHED_WB: f64 = 4.3;

/// Bpl of G.711 without concealment (G.113 Table I.4), for other codecs without any.
const BPL_NO_CONCEALMENT: f64 = 4.3;

/// The smallest Bpl at which G.113 advises to use BurstR.
const BURST_RATIO_MIN_BPL: f64 = 16.0;

/// Why a codec whose figures hang on its bit rate has no score.
pub const MODE_UNKNOWN: &str = "bit rate of the codec unknown: scoring.codec can tell it";

/// Why a band of a codec has no score.
pub const NO_CONSTANTS: &str = "no E-model constants for this codec at its clock rate";

/// Why linear samples at an unusual rate have no score.
pub const NO_SCALE: &str = "no E-model scale for this clock rate";

/// Why a payload that nothing describes has no score.
pub const UNKNOWN: &str = "codec unknown";

/// Why events and comfort noise have no score.
pub const NOT_SPEECH: &str = "not speech";

#[cfg(test)]
mod tests {
    use super::*;

    fn source(codec: Codec) -> Source {
        Constants::of(codec, 8000, true).unwrap().source()
    }

    #[test]
    fn only_the_published_pairs_count_as_measured() {
        let speech = [
            (Codec::Pcmu, 0.0, 25.1),
            (Codec::Pcma, 0.0, 25.1),
            (Codec::G729, 11.0, 19.0),
            (Codec::G723, 15.0, 16.1),
            (Codec::GsmEfr, 5.0, 10.0),
        ];
        for (codec, ie, bpl) in speech {
            let published = Constants::published(Scale::Nb, ie, bpl);
            assert_eq!(Constants::of(codec, 8000, true), Ok(published), "{codec:?}");
            assert_eq!(source(codec), Source::Measured, "{codec:?}");
        }
        let others =
            [Codec::Gsm, Codec::G726_32, Codec::G728, Codec::Amr, Codec::Ilbc, Codec::Speex];
        for codec in others.into_iter().chain([Codec::G722, Codec::Opus, Codec::L16]) {
            assert_eq!(source(codec), Source::Estimate, "{codec:?}");
        }
    }

    #[test]
    fn without_concealment_g711_has_the_other_published_bpl() {
        let constants = Constants::of(Codec::Pcma, 8000, false).unwrap();
        assert_eq!((constants.bpl, constants.source()), (Constant::itu(4.3), Source::Measured));
    }

    #[test]
    fn the_clock_rate_decides_where_the_name_does_not() {
        let scale = |codec, clock| Constants::of(codec, clock, true).map(|found| found.scale);
        assert_eq!(scale(Codec::L16, 8000), Ok(Scale::Nb));
        assert_eq!(scale(Codec::L16, 16_000), Ok(Scale::Wb));
        assert_eq!(scale(Codec::L16, 44_100), Ok(Scale::Fb));
        assert_eq!(scale(Codec::L16, 48_000), Ok(Scale::Fb));
        assert_eq!(scale(Codec::L16, 22_050), Err(NO_SCALE));
        assert_eq!(scale(Codec::Speex, 8000), Ok(Scale::Nb));
        assert_eq!(scale(Codec::Speex, 16_000), Err(NO_CONSTANTS));
        // Its clock is 8000 Hz and its band is not.
        assert_eq!(scale(Codec::G722, 8000), Ok(Scale::Wb));
        assert_eq!(scale(Codec::Opus, 48_000), Ok(Scale::Fb));
        assert_eq!(scale(Codec::AmrWb, 16_000), Err(MODE_UNKNOWN));
        assert_eq!(scale(Codec::Evs, 16_000), Err(MODE_UNKNOWN));
    }
}
