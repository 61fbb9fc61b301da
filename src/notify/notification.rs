//! What is told to the outside of one alert: one step of its life, as plain values.
//!
//! It knows no rule and no recipient.

use std::fmt;

use serde::Serialize;

use crate::{alerts::Severity, time::Timestamp};

/// One step in the life of an alert. Its names in JSON are those of `/api/qos/alerts`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notification {
    /// The alert's number: the same in every step of its life, and no other alert has it.
    pub id: u64,
    /// The rule that raised it, such as `high_packet_loss`.
    #[serde(rename = "type")]
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What has become of it.
    pub state: State,
    /// One sentence.
    pub message: String,
    /// The call that it is about.
    pub call_id: Option<String>,
    /// When it began to fire.
    pub started_at: Timestamp,
    /// When this step was taken.
    #[serde(rename = "timestamp")]
    pub time: Timestamp,
    /// What was measured, in `unit`.
    pub value: Option<f64>,
    /// What it was compared with, in `unit`.
    pub threshold: Option<f64>,
    /// The unit of both: `ms`, `percent`, `MOS`; empty for a bare number.
    pub unit: String,
    /// What speaks for it, a JSON object.
    pub evidence: serde_json::Value,
}

impl Notification {
    /// A notification that says of itself that it is a test.
    #[must_use]
    pub fn test(state: State, now: Timestamp) -> Self {
        Self {
            // Unlike any alert's: those count up from 1.
            id: now.as_nanos(),
            rule: TEST_RULE.to_owned(),
            severity: Severity::Info,
            state,
            message: "This is a test of voxplane's notifications; no call is affected".to_owned(),
            call_id: None,
            started_at: now,
            time: now,
            value: None,
            threshold: None,
            unit: String::new(),
            evidence: serde_json::json!({}),
        }
    }

    /// What was measured and what it was compared with, where both are known: `6.2 percent
    /// (threshold 2 percent)`.
    #[must_use]
    pub fn figures(&self) -> Option<String> {
        let figure = |value: f64| {
            // Three decimals at most, as everywhere.
            let rounded = (value * 1e3).round() / 1e3;
            format!("{rounded} {}", self.unit).trim_end().to_owned()
        };
        let value = figure(self.value?);
        Some(match self.threshold {
            Some(threshold) => format!("{value} (threshold {})", figure(threshold)),
            None => value,
        })
    }
}

/// What has become of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It holds.
    Firing,
    /// It holds, and somebody has taken it on.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl State {
    /// As it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The rule that a test names.
const TEST_RULE: &str = "notification_test";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_decimals_and_their_unit() {
        let mut test = Notification::test(State::Firing, Timestamp::from_secs(1));
        assert_eq!(test.figures(), None);
        (test.value, test.unit) = (Some(6.234_56), "percent".to_owned());
        assert_eq!(test.figures().unwrap(), "6.235 percent");
        test.threshold = Some(2.0);
        assert_eq!(test.figures().unwrap(), "6.235 percent (threshold 2 percent)");
        test.unit.clear();
        assert_eq!(test.figures().unwrap(), "6.235 (threshold 2)");
    }
}
