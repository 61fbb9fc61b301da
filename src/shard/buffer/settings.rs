//! The `[jitter_buffer]` table of the configuration: which jitter buffer scores assume, and how
//! deep the two that are emulated are. Read and checked; what it leaves out is the default.

use serde::{Deserialize, Serialize};

use crate::limits::JITTER_BUFFER;

/// The jitter buffers that are emulated for every stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterBuffers {
    /// The one that scores assume: its discards are part of the loss, its delay of the delay.
    pub mode: BufferMode,
    /// Nominal delay of the fixed one over the fastest packet, milliseconds; 0 to 500.
    pub fixed_ms: u16,
    /// How much the fixed one can hold, milliseconds; `fixed_ms` to 1000.
    pub fixed_max_ms: u16,
    /// Shortest delay of the adaptive one over the fastest packet, milliseconds; 0 to 500.
    pub adaptive_min_ms: u16,
    /// Longest delay of the adaptive one, and how much it can hold, milliseconds;
    /// `adaptive_min_ms` to 1000.
    pub adaptive_max_ms: u16,
}

/// A kind of jitter buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BufferMode {
    /// One delay throughout.
    #[default]
    Fixed,
    /// A delay that follows what the network does.
    Adaptive,
}

impl Default for JitterBuffers {
    fn default() -> Self {
        Self {
            mode: BufferMode::Fixed,
            fixed_ms: DEFAULT_MS,
            fixed_max_ms: 200,
            adaptive_min_ms: 20,
            adaptive_max_ms: 200,
        }
    }
}

/// The table as it may stand in a file; what is `None` is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawJitterBuffers {
    /// See [`JitterBuffers::mode`]; `fixed` or `adaptive`.
    pub mode: Option<BufferMode>,
    /// See [`JitterBuffers::fixed_ms`].
    pub fixed_ms: Option<u64>,
    /// See [`JitterBuffers::fixed_max_ms`].
    pub fixed_max_ms: Option<u64>,
    /// See [`JitterBuffers::adaptive_min_ms`].
    pub adaptive_min_ms: Option<u64>,
    /// See [`JitterBuffers::adaptive_max_ms`].
    pub adaptive_max_ms: Option<u64>,
}

impl RawJitterBuffers {
    /// Checks the table and fills in what it leaves out. A delay past the default of what the
    /// buffer holds needs the latter said as well.
    ///
    /// # Errors
    /// A value is out of its range; the error names it.
    pub fn complete(&self) -> Result<JitterBuffers, BufferError> {
        let default = JitterBuffers::default();
        let range = |key, said: Option<u64>, default: u16, low, high| match said {
            None if (low..=high).contains(&default) => Ok(default),
            said => {
                let value = said.unwrap_or_else(|| default.into());
                let known = u16::try_from(value).ok().filter(|value| (low..=high).contains(value));
                known.ok_or(BufferError { key, value, low, high })
            }
        };
        let fixed_ms = range("fixed_ms", self.fixed_ms, default.fixed_ms, 0, DELAY_MS_MAX)?;
        let (key, said) = ("adaptive_min_ms", self.adaptive_min_ms);
        let adaptive_min_ms = range(key, said, default.adaptive_min_ms, 0, DELAY_MS_MAX)?;
        let (key, said) = ("fixed_max_ms", self.fixed_max_ms);
        let fixed_max_ms = range(key, said, default.fixed_max_ms, fixed_ms, DEPTH_MS_MAX)?;
        let (key, said) = ("adaptive_max_ms", self.adaptive_max_ms);
        let adaptive_max_ms =
            range(key, said, default.adaptive_max_ms, adaptive_min_ms, DEPTH_MS_MAX)?;
        let mode = self.mode.unwrap_or(default.mode);
        Ok(JitterBuffers { mode, fixed_ms, fixed_max_ms, adaptive_min_ms, adaptive_max_ms })
    }
}

/// A number of the `[jitter_buffer]` table is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("jitter_buffer.{key}: {value} is not from {low} to {high}")]
pub struct BufferError {
    /// Which setting.
    pub key: &'static str,
    /// What it is.
    pub value: u64,
    /// The least it can be.
    pub low: u16,
    /// The most it can be.
    pub high: u16,
}

#[expect(clippy::cast_possible_truncation, reason = "60")]
const DEFAULT_MS: u16 = JITTER_BUFFER.as_millis() as u16;
/// A longer delay is no conversation.
const DELAY_MS_MAX: u16 = 500;
const DEPTH_MS_MAX: u16 = 1000;
