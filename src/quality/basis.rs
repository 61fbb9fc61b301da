//! What a score is based on: said beside every score, so that no two that differ are compared.
//!
//! It computes no score; the scales' figures are the E-model's.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{
    emodel::{self, Delay, Equipment, Inputs, Line, Rated, fullband, narrowband, wideband},
    simplified,
};

/// What a score is based on. Its text, also in JSON, is three words, `cq nb measured`, and a
/// fourth, `assumed-delay`, where the delay of the network is not a measured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MosBasis {
    /// `cq` (conversational, delay included) or `lq` (listening).
    pub kind: MosKind,
    /// The scale: narrowband, wideband or fullband. Scores of different scales never mix.
    pub scale: Scale,
    /// Where the constants of codec and model come from.
    pub source: Source,
    /// Whether the network's delay is what the configuration assumes, none being measured.
    pub is_delay_assumed: bool,
}

impl MosBasis {
    /// R of a connection without any impairment by these rules: what `r_factor` and the
    /// impairments add up to.
    #[must_use]
    pub fn r_ideal(self) -> f64 {
        match self.source {
            Source::Simplified => simplified::R_IDEAL,
            _ => self.scale.r_ideal(),
        }
    }
}

/// Conversational or listening quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MosKind {
    /// Conversational quality: delay included.
    Cq,
    /// Listening quality: delay left out (RFC 3611 section 4.7.5).
    Lq,
}

/// The scale a score is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// ITU-T G.107.
    Nb,
    /// ITU-T G.107.1.
    Wb,
    /// ITU-T G.107.2.
    Fb,
}

impl Scale {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nb => "nb",
            Self::Wb => "wb",
            Self::Fb => "fb",
        }
    }

    /// The highest R: 100, 129 or 148.
    #[must_use]
    pub const fn r_max(self) -> f64 {
        match self {
            Self::Nb => narrowband::R_MAX,
            Self::Wb => wideband::R_MAX,
            Self::Fb => fullband::R_MAX,
        }
    }

    /// R without codec impairment, loss and delay: Ro - Is, which is 93.4, 129 or 148.
    #[must_use]
    pub fn r_ideal(self) -> f64 {
        self.rate(None, Equipment::default()).r
    }

    /// What Ie,eff tends to as loss grows: 95, 95 or 132.
    #[must_use]
    pub const fn ie_ceiling(self) -> f64 {
        match self {
            Self::Nb => narrowband::IE_CEILING,
            Self::Wb => wideband::IE_CEILING,
            Self::Fb => fullband::IE_CEILING,
        }
    }

    /// Rates a connection with the default parameters of the scale's Recommendation. Without a
    /// `delay` Id is 0.
    #[must_use]
    pub fn rate(self, delay: Option<Delay>, equipment: Equipment) -> Rated {
        match self {
            Self::Nb => LINE.rate(delay, equipment),
            Self::Wb => wideband::Inputs::default().rate(delay, equipment),
            Self::Fb => fullband::rate(delay, equipment),
        }
    }

    /// MOS from an R of this scale, 1 to 4.5.
    #[must_use]
    pub fn mos(self, r: f64) -> f64 {
        match self {
            Self::Nb => emodel::mos_from_r(r),
            Self::Wb => wideband::mos(r),
            Self::Fb => fullband::mos(r),
        }
    }
}

/// Where the constants behind a score come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Measured by the ITU for this codec, and published.
    Measured,
    /// At least one is not published: by analogy with a codec whose constants are.
    Estimate,
    /// At least one is from the configuration.
    Override,
    /// None: it is the formula of the older monitor and not the E-model.
    Simplified,
}

impl core::fmt::Display for MosBasis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let kind = match self.kind {
            MosKind::Cq => "cq",
            MosKind::Lq => "lq",
        };
        let source = match self.source {
            Source::Measured => "measured",
            Source::Estimate => "estimate",
            Source::Override => "override",
            Source::Simplified => "simplified",
        };
        let delay = if self.is_delay_assumed { " assumed-delay" } else { "" };
        write!(f, "{kind} {} {source}{delay}", self.scale.name())
    }
}

impl Serialize for MosBasis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The line that every narrowband score assumes: the defaults of G.107 Table 3.
static LINE: LazyLock<Line> = LazyLock::new(|| Line::new(&Inputs::default()));
