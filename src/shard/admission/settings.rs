//! The `[sip_limits]` table of the configuration: how much SIP is taken in from whom. Read and
//! checked; what it leaves out is the default.

use serde::Deserialize;

/// How much SIP one shard takes in, of messages a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipLimits {
    /// From one source: an IPv4 address or an IPv6 /64.
    pub source_per_s: u32,
    /// How many of them at once.
    pub source_burst: u32,
    /// From all sources together that are not verified; from one of them half of it.
    pub unverified_per_s: u32,
    /// Malformed requests that are answered.
    pub malformed_answers_per_s: u32,
    /// Sources that are told apart, 24 bytes each.
    pub sources: u32,
}

impl Default for SipLimits {
    fn default() -> Self {
        Self {
            source_per_s: 20_000,
            source_burst: 20_000,
            unverified_per_s: 2_000,
            malformed_answers_per_s: 100,
            sources: 16_384,
        }
    }
}

/// The table as it may stand in a file; what is `None` is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSipLimits {
    /// See [`SipLimits::source_per_s`].
    pub source_per_s: Option<u64>,
    /// See [`SipLimits::source_burst`].
    pub source_burst: Option<u64>,
    /// See [`SipLimits::unverified_per_s`].
    pub unverified_per_s: Option<u64>,
    /// See [`SipLimits::malformed_answers_per_s`].
    pub malformed_answers_per_s: Option<u64>,
    /// See [`SipLimits::sources`].
    pub sources: Option<u64>,
}

impl RawSipLimits {
    /// Checks the table and fills in what it leaves out.
    ///
    /// # Errors
    /// A value is out of its range; the error names it.
    pub fn complete(&self) -> Result<SipLimits, SipLimitsError> {
        let within = |key, said: Option<u64>, default: u32, low: u32, high: u32| {
            let value = said.unwrap_or_else(|| default.into());
            let known = u32::try_from(value).ok().filter(|value| (low..=high).contains(value));
            known.ok_or(SipLimitsError { key, value, low, high })
        };
        let rate = |key, said, default| within(key, said, default, 1, PER_S_MAX);
        let default = SipLimits::default();
        Ok(SipLimits {
            source_per_s: rate("source_per_s", self.source_per_s, default.source_per_s)?,
            source_burst: rate("source_burst", self.source_burst, default.source_burst)?,
            unverified_per_s: within(
                "unverified_per_s",
                self.unverified_per_s,
                default.unverified_per_s,
                2,
                PER_S_MAX,
            )?,
            malformed_answers_per_s: rate(
                "malformed_answers_per_s",
                self.malformed_answers_per_s,
                default.malformed_answers_per_s,
            )?,
            sources: within("sources", self.sources, default.sources, 64, SOURCES_MAX)?,
        })
    }
}

/// A value of the table is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sip_limits.{key}: {value} is not from {low} to {high}")]
pub struct SipLimitsError {
    key: &'static str,
    value: u64,
    low: u32,
    high: u32,
}

/// More than a core can take in.
const PER_S_MAX: u32 = 1_000_000;

/// 24 MiB.
const SOURCES_MAX: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_named() {
        let raw = RawSipLimits::default();
        assert_eq!(raw.complete(), Ok(SipLimits::default()));
        for (raw, named) in [
            (RawSipLimits { source_per_s: Some(0), ..raw }, "sip_limits.source_per_s: 0 is not"),
            (RawSipLimits { unverified_per_s: Some(1), ..raw }, "1 is not from 2 to 1000000"),
            (RawSipLimits { sources: Some(1 << 40), ..raw }, "sources: 1099511627776 is not"),
        ] {
            let text = raw.complete().unwrap_err().to_string();
            assert!(text.contains(named), "{text}");
        }
    }
}
