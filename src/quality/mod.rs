//! How good a call is: the E-model, the codecs' constants, the rating bands. Pure functions.

use serde::Serialize;

/// What a score is based on. Its text, also in JSON, is three words: `cq nb measured`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MosBasis {
    /// `cq` (conversational, delay included) or `lq` (listening).
    pub kind: MosKind,
    /// The scale: narrowband, wideband or fullband. Scores of different scales never mix.
    pub scale: Scale,
    /// Whether the codec's constants are ITU values or an estimate.
    pub source: Source,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// ITU-T G.107.
    Nb,
    /// ITU-T G.107.1.
    Wb,
    /// ITU-T G.107.2.
    Fb,
}

/// Where the constants behind a score come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Published by the ITU for this codec.
    Measured,
    /// Not published: by analogy with a codec that is.
    Estimate,
}

/// The rating bands of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Rating {
    /// MOS of at least 4.3.
    Excellent,
    /// At least 4.0.
    Good,
    /// At least 3.6.
    Fair,
    /// At least 3.1.
    Poor,
    /// Below 3.1.
    Bad,
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
    /// Discards of the assumed jitter buffer.
    pub discard: f64,
    /// Delay and echo, Id; 0 where it is unknown.
    pub delay: f64,
}

impl core::fmt::Display for MosBasis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let kind = match self.kind {
            MosKind::Cq => "cq",
            MosKind::Lq => "lq",
        };
        let scale = match self.scale {
            Scale::Nb => "nb",
            Scale::Wb => "wb",
            Scale::Fb => "fb",
        };
        let source = match self.source {
            Source::Measured => "measured",
            Source::Estimate => "estimate",
        };
        write!(f, "{kind} {scale} {source}")
    }
}

impl Serialize for MosBasis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
