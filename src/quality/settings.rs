//! The `[scoring]` table of the configuration, read and checked.
//!
//! It decides nothing that the table does not say: what is left out is the default.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Scale,
    codec::{Constant, Constants, NOT_SPEECH, modes::modes},
    score::{Model, Scoring},
};
use crate::wire::codec::Codec;

/// The table as it may stand in a file; what is `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawScoring {
    /// See [`Scoring::model`]; `e-model` or `simplified`.
    pub mos_model: Option<String>,
    /// See [`Scoring::g711_plc`].
    pub g711_plc: Option<bool>,
    /// See [`Scoring::assumed_one_way_delay_ms`]; 0 to 500.
    pub assumed_one_way_delay_ms: Option<f64>,
    /// Constants by encoding name, letter case aside.
    #[serde(default)]
    pub codec: BTreeMap<String, RawConstants>,
}

/// The constants of one codec; what is left out is the codec's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConstants {
    /// The scale that `ie` and `bpl` are on.
    pub scale: Option<Scale>,
    /// Ie, 0 to 95, on the fullband scale to 132.
    pub ie: Option<f64>,
    /// Bpl, 4.3 to 40.
    pub bpl: Option<f64>,
    /// Bit rate of AMR-WB or EVS, kbit/s: takes the published constants of that mode.
    pub kbps: Option<f64>,
}

impl RawScoring {
    /// Checks the table and fills in what it leaves out.
    ///
    /// # Errors
    /// A value is out of its range or a codec cannot have it; the error names it.
    pub fn complete(&self) -> Result<Scoring, ScoringError> {
        let model = match self.mos_model.as_deref() {
            None | Some("e-model") => Model::EModel,
            Some("simplified") => Model::Simplified,
            Some(other) => return Err(ScoringError::Model(other.to_owned())),
        };
        if let Some(delay) = self.assumed_one_way_delay_ms {
            let key = || "scoring.assumed_one_way_delay_ms".to_owned();
            in_range(key, delay, 0.0, ASSUMED_DELAY_MAX_MS)?;
        }
        let g711_plc = self.g711_plc.unwrap_or(true);
        let mut overrides: Vec<(Codec, Constants)> = Vec::new();
        for (name, raw) in &self.codec {
            let (codec, constants) = raw.complete(name, g711_plc)?;
            if overrides.iter().any(|&(other, _)| other == codec) {
                return Err(ScoringError::Twice(name.clone()));
            }
            overrides.push((codec, constants));
        }
        Ok(Scoring {
            model,
            g711_plc,
            assumed_one_way_delay_ms: self.assumed_one_way_delay_ms,
            overrides,
            ..Scoring::default()
        })
    }
}

impl RawConstants {
    fn complete(&self, name: &str, g711_plc: bool) -> Result<(Codec, Constants), ScoringError> {
        let codec = Codec::from_name(name.as_bytes());
        if codec == Codec::Unknown {
            return Err(ScoringError::UnknownCodec(name.to_owned()));
        }
        let own = match self.mode(name, codec)? {
            Some(mode) => mode,
            None => match Constants::of(codec, NO_CLOCK, g711_plc) {
                Ok(own) => Base::of(&own),
                Err(NOT_SPEECH) => return Err(ScoringError::NotSpeech(name.to_owned())),
                Err(_) => Base::default(),
            },
        };
        let scale = self.scale.or(own.scale);
        let scale = scale.ok_or_else(|| ScoringError::missing(name, "scale"))?;
        // A constant of another scale must not slip in.
        let own = if own.scale == Some(scale) { own } else { Base::default() };
        let ie = chosen(self.ie, own.ie).ok_or_else(|| ScoringError::missing(name, "ie"))?;
        let bpl = chosen(self.bpl, own.bpl).ok_or_else(|| ScoringError::missing(name, "bpl"))?;
        let key = |key| move || format!("scoring.codec.{name}.{key}");
        in_range(key("ie"), ie.value, 0.0, scale.ie_ceiling())?;
        in_range(key("bpl"), bpl.value, BPL_MIN, BPL_MAX)?;
        Ok((codec, Constants { ie, bpl, scale }))
    }

    /// The constants of the mode that is told.
    fn mode(&self, name: &str, codec: Codec) -> Result<Option<Base>, ScoringError> {
        let Some(kbps) = self.kbps else { return Ok(None) };
        let Some((scale, modes)) = modes(codec) else {
            return Err(ScoringError::NoModes(name.to_owned()));
        };
        // Both are the same decimal, read from text.
        let Some(mode) = modes.iter().find(|mode| (mode.kbps - kbps).abs() < f64::EPSILON) else {
            let known = modes.iter().map(|mode| mode.kbps.to_string()).collect::<Vec<_>>();
            let known = known.join(", ");
            return Err(ScoringError::UnknownMode { codec: name.to_owned(), kbps, known });
        };
        // The figures are published; that this is the mode, the configuration says.
        let ie = Some(Constant::overriding(mode.ie));
        Ok(Some(Base { scale: Some(scale), ie, bpl: mode.bpl.map(Constant::overriding) }))
    }
}

/// What the codec's own constants are, as far as there are any.
#[derive(Clone, Copy, Debug, Default)]
struct Base {
    scale: Option<Scale>,
    ie: Option<Constant>,
    bpl: Option<Constant>,
}

impl Base {
    const fn of(own: &Constants) -> Self {
        Self { scale: Some(own.scale), ie: Some(own.ie), bpl: Some(own.bpl) }
    }
}

/// Why the `[scoring]` table cannot be used. Each is one sentence that names the key.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// A constant that the codec does not have by itself is left out.
    #[error("scoring.codec.{codec}: {key} is needed, the codec has none of its own")]
    Missing {
        /// The codec as the file names it.
        codec: String,
        /// Which key.
        key: &'static str,
    },
    /// There is no such model.
    #[error("scoring.mos_model: `{0}` is neither `e-model` nor `simplified`")]
    Model(String),
    /// The codec has one set of constants whatever its bit rate.
    #[error("scoring.codec.{0}: kbps is for AMR-WB and EVS")]
    NoModes(String),
    /// The encoding is of events, noise or video.
    #[error("scoring.codec.{0}: this is no codec for speech")]
    NotSpeech(String),
    /// A number is out of its range.
    #[error("{key}: {value} is not from {low} to {high}")]
    OutOfRange {
        /// Which setting.
        key: String,
        /// What it is.
        value: f64,
        /// The least it can be.
        low: f64,
        /// The most it can be.
        high: f64,
    },
    /// Two names of one codec.
    #[error("scoring.codec.{0}: the codec has another table already")]
    Twice(String),
    /// No codec has this name.
    #[error("scoring.codec.{0}: no codec has this name")]
    UnknownCodec(String),
    /// No constants are published for this bit rate.
    #[error("scoring.codec.{codec}.kbps: {kbps} is none of {known}")]
    UnknownMode {
        /// The codec as the file names it.
        codec: String,
        /// The bit rate that was given.
        kbps: f64,
        /// Those that have constants.
        known: String,
    },
}

impl ScoringError {
    fn missing(codec: &str, key: &'static str) -> Self {
        Self::Missing { codec: codec.to_owned(), key }
    }
}

fn chosen(said: Option<f64>, own: Option<Constant>) -> Option<Constant> {
    said.map(Constant::overriding).or(own)
}

fn in_range(
    key: impl FnOnce() -> String,
    value: f64,
    low: f64,
    high: f64,
) -> Result<(), ScoringError> {
    // Nothing that is not a number is in a range.
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(ScoringError::OutOfRange { key: key(), value, low, high })
    }
}

/// A clock rate that no codec has: an encoding name alone.
const NO_CLOCK: u32 = 0;

/// G.107 Table 3: the permitted range of Bpl.
const BPL_MIN: f64 = 4.3;
const BPL_MAX: f64 = 40.0;

/// G.107 Table 3: the permitted range of Ta, ms.
const ASSUMED_DELAY_MAX_MS: f64 = 500.0;
