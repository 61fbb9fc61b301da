//! The `[store]` table of the configuration, read and checked.
//!
//! It opens nothing: whether the directory can be used is found out at the start.

use core::time::Duration;

use serde::Deserialize;

/// How much history is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Finished calls and resolved alerts older than this go; whole days.
    pub retention: Duration,
    /// Most finished calls that are kept; past it the oldest go.
    pub calls_max: u64,
    /// How long the figures behind trends are kept; whole days.
    pub rollups: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { retention: days(RETENTION_DAYS), calls_max: CALLS_MAX, rollups: days(ROLLUP_DAYS) }
    }
}

/// The table as it may stand in a file; what is `None` is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    /// See [`Settings::retention`]; days, 1 to 3650.
    pub retention_days: Option<u64>,
    /// See [`Settings::calls_max`]; 1,000 to 50,000,000.
    pub calls_max: Option<u64>,
    /// See [`Settings::rollups`]; days, 1 to 3650.
    pub rollup_days: Option<u64>,
}

impl RawSettings {
    /// Checks the table and fills in what it leaves out.
    ///
    /// # Errors
    /// A value is out of its range; the error names it.
    pub fn complete(self) -> Result<Settings, SettingsError> {
        let number = |key, value: Option<u64>, default, low, high| {
            let value = value.unwrap_or(default);
            if (low..=high).contains(&value) {
                Ok(value)
            } else {
                Err(SettingsError { key, value, low, high })
            }
        };
        let retention =
            number("store.retention_days", self.retention_days, RETENTION_DAYS, 1, DAYS_MAX)?;
        let rollups = number("store.rollup_days", self.rollup_days, ROLLUP_DAYS, 1, DAYS_MAX)?;
        let (low, high) = CALLS_MAX_RANGE;
        let calls_max = number("store.calls_max", self.calls_max, CALLS_MAX, low, high)?;
        Ok(Settings { retention: days(retention), calls_max, rollups: days(rollups) })
    }
}

/// A number is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value} is not from {low} to {high}")]
pub struct SettingsError {
    /// Which setting.
    pub key: &'static str,
    /// What it is.
    pub value: u64,
    /// The least it can be.
    pub low: u64,
    /// The most it can be.
    pub high: u64,
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

const RETENTION_DAYS: u64 = 30;
const ROLLUP_DAYS: u64 = 365;
const DAYS_MAX: u64 = 3650;
const CALLS_MAX: u64 = 1_000_000;
/// At the top the catalog alone takes some 2 GB.
const CALLS_MAX_RANGE: (u64, u64) = (1000, 50_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let complete = |text: &str| {
            let raw: RawSettings = toml::from_str(text).map_err(|error| error.to_string())?;
            raw.complete().map_err(|error| error.to_string())
        };
        assert_eq!(complete(""), Ok(Settings::default()));
        assert_eq!(complete("calls_max = 5000").map(|settings| settings.calls_max), Ok(5000));
        for (text, named) in [
            ("retention_days = 0", "store.retention_days: 0 is not from 1 to 3650"),
            ("rollup_days = 9999", "store.rollup_days: 9999"),
            ("calls_max = 7", "store.calls_max: 7 is not from 1000"),
            ("retention = 7", "unknown field `retention`"),
        ] {
            assert!(complete(text).unwrap_err().contains(named), "{text}");
        }
    }
}
