//! What each codec does to quality on the narrowband scale: Ie and Bpl, and where they come from.
//!
//! It gives no figure to a codec that this scale does not cover: such a codec has a reason instead.

use super::{Scale, Source};
use crate::wire::codec::Codec;

/// A codec's constants for the E-model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Equipment impairment factor without loss.
    pub ie: f64,
    /// Packet-loss robustness factor.
    pub bpl: f64,
    /// The scale they are on.
    pub scale: Scale,
    /// Whether the ITU published the pair.
    pub source: Source,
    /// What the coder waits for beyond the packet's own audio, milliseconds.
    pub look_ahead_ms: f64,
}

impl Constants {
    /// The constants of a codec.
    ///
    /// G.711 is taken to have the packet-loss concealment of its Appendix I. G.729 is taken for
    /// G.729A with VAD and G.723.1 for 6.3 kbit/s with VAD, the only variants that have a Bpl.
    ///
    /// # Errors
    ///
    /// Why the codec has no score, as the API shows it.
    pub const fn of(codec: Codec) -> Result<Self, &'static str> {
        Ok(match codec {
            Codec::Pcmu | Codec::Pcma => Self::measured(0.0, 25.1, 0.25),
            Codec::G729 => Self::measured(11.0, 19.0, 5.0),
            Codec::G723 => Self::measured(15.0, 16.1, 7.5),
            Codec::GsmEfr => Self::measured(5.0, 10.0, 0.0),
            // Ie is the ITU's (G.113 Table I.1), Bpl is not published.
            Codec::Gsm => Self::estimate(20.0, BPL_UNPUBLISHED, 0.0),
            Codec::G726_32 => Self::estimate(7.0, BPL_UNPUBLISHED, 0.0),
            Codec::G728 => Self::estimate(7.0, BPL_UNPUBLISHED, 0.0),
            // The 12.2 kbit/s mode is GSM-EFR's algorithm; the lower modes look 5 ms ahead.
            Codec::Amr => Self::estimate(5.0, BPL_UNPUBLISHED, 5.0),
            // Rate and quality of G.729A, but no state carried from frame to frame (RFC 3951
            // section 1), hence hardly an after-effect of a lost one.
            Codec::Ilbc => Self::estimate(11.0, 32.0, 5.0),
            // A CELP codec with the quality of G.729A at its usual rates; looks 10 ms ahead.
            Codec::Speex => Self::estimate(11.0, BPL_UNPUBLISHED, 10.0),
            Codec::G722 | Codec::Opus | Codec::AmrWb | Codec::Evs => return Err(WIDEBAND),
            // Its sampling rate decides the scale and is anyone's choice.
            Codec::L16 => return Err(WIDEBAND),
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

    /// Whether BurstR applies: only to codecs with an efficient concealment (G.113 Appendix I).
    #[must_use]
    pub const fn burst_ratio_applies(&self) -> bool {
        self.bpl >= BURST_RATIO_MIN_BPL
    }

    /// A pair of G.113 (2024) Table I.4.
    const fn measured(ie: f64, bpl: f64, look_ahead_ms: f64) -> Self {
        Self { ie, bpl, scale: Scale::Nb, source: Source::Measured, look_ahead_ms }
    }

    const fn estimate(ie: f64, bpl: f64, look_ahead_ms: f64) -> Self {
        Self { ie, bpl, scale: Scale::Nb, source: Source::Estimate, look_ahead_ms }
    }
}

/// Bpl where none is published: the lowest published one of a codec that conceals at all, that of
/// GSM-EFR, so that an estimate does not flatter.
const BPL_UNPUBLISHED: f64 = 10.0;

/// The smallest Bpl at which G.113 advises to use BurstR.
const BURST_RATIO_MIN_BPL: f64 = 16.0;

/// Why wideband and fullband codecs have no score.
pub const WIDEBAND: &str = "wideband codec: not scored yet";

/// Why a payload that nothing describes has no score.
pub const UNKNOWN: &str = "codec unknown";

/// Why events and comfort noise have no score.
pub const NOT_SPEECH: &str = "not speech";
