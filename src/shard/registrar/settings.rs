//! The `[registrar]` table of the configuration: how long a registration lasts, and how many there
//! are. Read and checked; what it leaves out is the default.

use serde::Deserialize;

use crate::limits::BINDINGS_MAX;

/// What the registrar grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// The shortest time of a registration, seconds; who asks for less gets a 423.
    pub min_expires_s: u32,
    /// The time of a registration that asks for none, seconds; `min_expires_s` to
    /// `max_expires_s`.
    pub expires_s: u32,
    /// The longest time of a registration, seconds; who asks for more gets this.
    pub max_expires_s: u32,
    /// Contacts that one shard knows at once, of all users.
    pub max_bindings_per_shard: usize,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            min_expires_s: 60,
            // RFC 3261 section 10.2.1.1 suggests an hour.
            expires_s: 3600,
            max_expires_s: 7200,
            max_bindings_per_shard: BINDINGS_MAX,
        }
    }
}

/// The table as it may stand in a file; what is `None` is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRegistrar {
    /// See [`RegistrarSettings::min_expires_s`].
    pub min_expires_s: Option<u64>,
    /// See [`RegistrarSettings::expires_s`].
    pub expires_s: Option<u64>,
    /// See [`RegistrarSettings::max_expires_s`].
    pub max_expires_s: Option<u64>,
    /// See [`RegistrarSettings::max_bindings_per_shard`].
    pub max_bindings_per_shard: Option<u64>,
}

impl RawRegistrar {
    /// Checks the table and fills in what it leaves out.
    ///
    /// # Errors
    /// A value is out of its range; the error names it.
    pub fn complete(&self) -> Result<RegistrarSettings, RegistrarError> {
        let default = RegistrarSettings::default();
        let seconds = |key, said: Option<u64>, default: u32, low: u32, high: u32| match said {
            // A range that leaves the default out moves it to its end.
            None => Ok(default.clamp(low, high)),
            Some(value) => {
                let known = u32::try_from(value).ok().filter(|value| (low..=high).contains(value));
                let (low, high) = (low.into(), high.into());
                known.ok_or(RegistrarError { key, value, low, high })
            }
        };
        let max = default.max_expires_s;
        let max = seconds("max_expires_s", self.max_expires_s, max, 1, EXPIRES_S_MAX)?;
        let min = default.min_expires_s;
        let min = seconds("min_expires_s", self.min_expires_s, min, 1, max.min(MIN_EXPIRES_S_MAX))?;
        let bindings = self.max_bindings_per_shard.unwrap_or(BINDINGS_MAX as u64);
        let max_bindings_per_shard = usize::try_from(bindings).ok();
        let known = max_bindings_per_shard.filter(|count| (1..=BINDINGS_LIMIT).contains(count));
        Ok(RegistrarSettings {
            min_expires_s: min,
            expires_s: seconds("expires_s", self.expires_s, default.expires_s, min, max)?,
            max_expires_s: max,
            max_bindings_per_shard: known.ok_or(RegistrarError {
                key: "max_bindings_per_shard",
                value: bindings,
                low: 1,
                high: BINDINGS_LIMIT as u64,
            })?,
        })
    }
}

/// A value of the table is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("registrar.{key}: {value} is not from {low} to {high}")]
pub struct RegistrarError {
    key: &'static str,
    value: u64,
    low: u64,
    high: u64,
}

/// RFC 3261 section 10.3 lets nobody refuse an hour or more as too brief.
const MIN_EXPIRES_S_MAX: u32 = 3600;
/// A month.
const EXPIRES_S_MAX: u32 = 31 * 86_400;
const BINDINGS_LIMIT: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_fits_what_is_said() {
        assert_eq!(RawRegistrar::default().complete(), Ok(RegistrarSettings::default()));
        let raw = RawRegistrar { max_expires_s: Some(300), ..RawRegistrar::default() };
        let settings = raw.complete().unwrap();
        assert_eq!((settings.min_expires_s, settings.expires_s), (60, 300));
    }

    #[test]
    fn bad_values_are_named() {
        let raw = RawRegistrar::default();
        for (raw, named) in [
            (RawRegistrar { min_expires_s: Some(0), ..raw }, "registrar.min_expires_s: 0 is not"),
            (RawRegistrar { expires_s: Some(9000), ..raw }, "expires_s: 9000 is not from 60 to"),
            (RawRegistrar { max_bindings_per_shard: Some(0), ..raw }, "per_shard: 0 is not from 1"),
        ] {
            let text = raw.complete().unwrap_err().to_string();
            assert!(text.contains(named), "{text}");
        }
    }
}
