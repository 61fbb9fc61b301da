//! A rule: what is looked at, where, and from when on that is worth an alert. It remembers no call.

use core::{fmt, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use crate::{control::conditions::Condition, quality::THRESHOLDS};

/// A rule, complete and checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// Its name, which alerts have as their type.
    pub name: String,
    /// Whether it comes with the program; such a rule can be adjusted and not removed.
    pub builtin: bool,
    /// Whether it is looked at.
    pub enabled: bool,
    /// What is looked at.
    pub metric: Metric,
    /// Where; one alert each.
    pub scope: Vec<Scope>,
    /// The one trunk that it is for; `None` for all calls.
    pub trunk: Option<String>,
    /// On which side of the threshold it is bad.
    pub comparison: Comparison,
    /// From where on it is bad, in the metric's unit; not a number where only `deviations` tell.
    pub threshold: f64,
    /// From where on it is an error.
    pub error_threshold: Option<f64>,
    /// From where on it is critical.
    pub critical_threshold: Option<f64>,
    /// How many deviations from its mean in the same hour of past days a value must be to be bad,
    /// and beyond the threshold, where there is one as well.
    pub deviations: Option<f64>,
    /// How many past days that mean is of.
    pub baseline_days: u8,
    /// Fewer days than these with `min_samples` calls in that hour raise nothing.
    pub baseline_min_days: u8,
    /// How far on the good side of the threshold a value must be for the alert to be over.
    pub hysteresis: f64,
    /// How long it must be bad.
    #[serde(rename = "for_s", serialize_with = "seconds")]
    pub hold: Duration,
    /// How long it must be good again.
    #[serde(rename = "clear_for_s", serialize_with = "seconds")]
    pub calm: Duration,
    /// How much time rates and means are made of; calls and streams have their intervals.
    #[serde(rename = "window_s", serialize_with = "seconds")]
    pub window: Duration,
    /// Least that a value must be made of: packets of an interval, round-trip times, intervals of
    /// a trunk, finished calls, calls that were up; as the metric has it.
    pub min_samples: u64,
    /// What it is while no other threshold is passed.
    pub severity: Severity,
    /// After an alert, no other one for the same call, stream or trunk for so long.
    #[serde(rename = "cooldown_s", serialize_with = "seconds")]
    pub cooldown: Duration,
}

impl Rule {
    /// Whether a value is bad.
    #[must_use]
    pub fn is_bad(&self, value: f64) -> bool {
        self.comparison.is_beyond(value, self.threshold)
    }

    /// Whether a value is good enough for an alert to be over.
    #[must_use]
    pub fn is_good(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Above => value <= self.threshold - self.hysteresis,
            Comparison::Below => value >= self.threshold + self.hysteresis,
        }
    }

    /// How severe a bad value is.
    #[must_use]
    pub fn severity_of(&self, value: f64) -> Severity {
        let beyond = |threshold: Option<f64>| {
            threshold.is_some_and(|threshold| self.comparison.is_beyond(value, threshold))
        };
        let least = self.severity;
        if beyond(self.critical_threshold) {
            least.max(Severity::Critical)
        } else if beyond(self.error_threshold) {
            least.max(Severity::Error)
        } else {
            least
        }
    }

    /// The rule as it is where a value is bad from `limit` on; the threshold, where there is one,
    /// must be passed as well.
    pub(super) fn limited(&self, limit: f64) -> Self {
        let threshold = match self.comparison {
            _ if self.threshold.is_nan() => limit,
            Comparison::Above => self.threshold.max(limit),
            Comparison::Below => self.threshold.min(limit),
        };
        Self { threshold, ..self.clone() }
    }

    /// Whether alerts that are open under one of them are alerts under the other one.
    pub(super) fn watches_the_same(&self, other: &Self) -> bool {
        (self.enabled, self.metric, self.comparison, self.deviations.is_some())
            == (other.enabled, other.metric, other.comparison, other.deviations.is_some())
            && self.scope == other.scope
            && self.trunk == other.trunk
    }

    /// A rule of which only name and metric are known.
    pub(super) fn of_metric(name: &str, metric: Metric) -> Self {
        let is_media = metric.is_of_media();
        Self {
            name: name.to_owned(),
            builtin: false,
            enabled: true,
            metric,
            scope: metric.scopes().iter().copied().take(1).collect(),
            trunk: None,
            comparison: if metric == Metric::Mos { Comparison::Below } else { Comparison::Above },
            threshold: 0.0,
            error_threshold: None,
            critical_threshold: None,
            deviations: None,
            baseline_days: 14,
            baseline_min_days: 5,
            hysteresis: 0.0,
            hold: Duration::ZERO,
            calm: secs(10),
            window: secs(if is_media { 60 } else { 300 }),
            min_samples: metric.min_samples(),
            severity: Severity::Warning,
            cooldown: secs(60),
        }
    }
}

/// The rules that come with the program.
pub(super) fn builtin() -> Vec<Rule> {
    let rule = |name: &str, metric, threshold, hysteresis| Rule {
        builtin: true,
        threshold,
        hysteresis,
        ..Rule::of_metric(name, metric)
    };
    vec![
        Rule {
            error_threshold: Some(LOW_MOS_ERROR),
            ..rule(LOW_MOS, Metric::Mos, THRESHOLDS.mos_min, 0.1)
        },
        rule(HIGH_PACKET_LOSS, Metric::PacketLoss, THRESHOLDS.packet_loss_max, 0.5),
        rule(EXCESSIVE_JITTER, Metric::Jitter, THRESHOLDS.jitter_max, 10.0),
        rule(HIGH_LATENCY, Metric::Latency, THRESHOLDS.latency_max, 30.0),
        Rule {
            severity: Severity::Error,
            ..rule("one_way_audio", Metric::Condition(Condition::OneWayAudio), 0.0, 0.0)
        },
        Rule {
            severity: Severity::Error,
            ..rule("no_media", Metric::Condition(Condition::NoMedia), 0.0, 0.0)
        },
        Rule {
            scope: vec![Scope::Trunk, Scope::Box],
            hold: secs(300),
            min_samples: 10,
            severity: Severity::Error,
            ..rule("mos_degraded", Metric::Mos, THRESHOLDS.mos_min, 0.1)
        },
        Rule {
            severity: Severity::Error,
            ..rule("call_failure_rate", Metric::CallFailureRate, 20.0, 5.0)
        },
        rule("abandoned_rate", Metric::AbandonedRate, 15.0, 3.0),
        Rule {
            severity: Severity::Error,
            ..rule("registration_failures", Metric::RegistrationFailureRate, 5.0, 1.0)
        },
        Rule {
            window: secs(60),
            severity: Severity::Error,
            ..rule("active_calls_drop", Metric::ActiveCallsDrop, 20.0, 5.0)
        },
        Rule {
            window: secs(30),
            severity: Severity::Error,
            ..rule(MONITOR_OVERLOAD, Metric::OwnLosses, 0.0, 0.0)
        },
        Rule {
            hold: secs(2),
            severity: Severity::Critical,
            ..rule("store_unavailable", Metric::StoreUnavailable, 0.0, 0.0)
        },
    ]
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// MOS of an interval; of a trunk or the box, the mean over its intervals on the scale that
    /// most of them are on.
    Mos,
    /// Lost of expected packets, percent.
    PacketLoss,
    /// Packets discarded by the assumed jitter buffer, of expected ones, percent.
    Discard,
    /// Jitter (RFC 3550 A.8) at the end of an interval, milliseconds; of a trunk or the box, the
    /// mean.
    Jitter,
    /// The last round-trip time from RTCP, milliseconds; of a trunk or the box, the mean.
    Latency,
    /// Finished calls that failed for another reason than the called party's, percent.
    CallFailureRate,
    /// Finished calls that their caller gave up before an answer, percent.
    AbandonedRate,
    /// REGISTERs that failed, a challenge being no failure (RFC 6076 section 4.2), percent.
    RegistrationFailureRate,
    /// 1 while a call has this condition, else 0.
    Condition(Condition),
    /// Calls that are up.
    ActiveCalls,
    /// How far the calls that are up have dropped below their most within the window, percent.
    ActiveCallsDrop,
    /// What the appliance itself lost within the window, and intervals that this touched.
    OwnLosses,
    /// 1 while the history cannot be written, else 0.
    StoreUnavailable,
}

impl Metric {
    /// All, with their names.
    pub(super) const ALL: [(&'static str, Self); 17] = [
        ("mos", Self::Mos),
        ("packet_loss", Self::PacketLoss),
        ("discard", Self::Discard),
        ("jitter", Self::Jitter),
        ("latency", Self::Latency),
        ("call_failure_rate", Self::CallFailureRate),
        ("abandoned_rate", Self::AbandonedRate),
        ("registration_failure_rate", Self::RegistrationFailureRate),
        ("no_media", Self::Condition(Condition::NoMedia)),
        ("one_way_audio", Self::Condition(Condition::OneWayAudio)),
        ("late_media", Self::Condition(Condition::LateMedia)),
        ("early_media_end", Self::Condition(Condition::EarlyMediaEnd)),
        ("dead_air", Self::Condition(Condition::DeadAir)),
        ("active_calls", Self::ActiveCalls),
        ("active_calls_drop", Self::ActiveCallsDrop),
        ("own_losses", Self::OwnLosses),
        ("store_unavailable", Self::StoreUnavailable),
    ];

    /// Its unit; empty where there is none.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::PacketLoss
            | Self::Discard
            | Self::CallFailureRate
            | Self::AbandonedRate
            | Self::RegistrationFailureRate
            | Self::ActiveCallsDrop => "percent",
            Self::Jitter | Self::Latency => "ms",
            Self::Mos
            | Self::Condition(_)
            | Self::ActiveCalls
            | Self::OwnLosses
            | Self::StoreUnavailable => "",
        }
    }

    /// What it is called in a sentence.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Mos => "MOS",
            Self::PacketLoss => "packet loss",
            Self::Discard => "discarded packets",
            Self::Jitter => "jitter",
            Self::Latency => "round-trip time",
            Self::CallFailureRate => "share of failed calls",
            Self::AbandonedRate => "share of abandoned calls",
            Self::RegistrationFailureRate => "share of failed registrations",
            Self::Condition(condition) => condition.name(),
            Self::ActiveCalls => "number of active calls",
            Self::ActiveCallsDrop => "drop of active calls",
            Self::OwnLosses => "number of own losses",
            Self::StoreUnavailable => "failure of the history",
        }
    }

    /// Where it can be looked at; the first is what a rule has that does not say.
    pub(super) const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Mos | Self::PacketLoss | Self::Discard | Self::Jitter | Self::Latency => {
                &[Scope::Call, Scope::Stream, Scope::Trunk, Scope::Box]
            }
            Self::CallFailureRate | Self::AbandonedRate => &[Scope::Box, Scope::Trunk],
            Self::Condition(_) => &[Scope::Call],
            Self::ActiveCalls
            | Self::ActiveCallsDrop
            | Self::RegistrationFailureRate
            | Self::OwnLosses
            | Self::StoreUnavailable => &[Scope::Box],
        }
    }

    /// What a threshold can be.
    pub(super) const fn range(self) -> (f64, f64) {
        match self {
            Self::Mos => (1.0, 5.0),
            Self::Jitter | Self::Latency => (0.0, 60_000.0),
            Self::ActiveCalls | Self::OwnLosses => (0.0, 1e9),
            Self::StoreUnavailable | Self::Condition(_) => (0.0, 1.0),
            _ => (0.0, 100.0),
        }
    }

    /// Whether it is measured on packets.
    pub(super) const fn is_of_media(self) -> bool {
        matches!(self, Self::Mos | Self::PacketLoss | Self::Discard | Self::Jitter | Self::Latency)
    }

    const fn min_samples(self) -> u64 {
        match self {
            // A second of speech in packets of 20 ms; half an interval of those of 60 ms.
            Self::Mos | Self::PacketLoss | Self::Discard | Self::Jitter => 50,
            Self::CallFailureRate | Self::AbandonedRate | Self::RegistrationFailureRate => 20,
            Self::ActiveCallsDrop => 10,
            Self::Latency
            | Self::Condition(_)
            | Self::ActiveCalls
            | Self::OwnLosses
            | Self::StoreUnavailable => 1,
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = Self::ALL.iter().find(|(_, metric)| metric == self).map(|(name, _)| *name);
        serializer.serialize_str(name.unwrap_or_default())
    }
}

/// Where a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each call, its worse direction.
    Call,
    /// Each direction of each call.
    Stream,
    /// Each network that calls come from: the /24 of IPv4, the /64 of IPv6.
    Trunk,
    /// All calls together.
    Box,
}

impl Scope {
    /// All, with their names.
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("call", Self::Call),
        ("stream", Self::Stream),
        ("trunk", Self::Trunk),
        ("box", Self::Box),
    ];
}

/// On which side of a threshold it is bad; the threshold itself is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Higher values are bad.
    Above,
    /// Lower values are bad.
    Below,
}

impl Comparison {
    /// All, with their names.
    pub(super) const ALL: [(&'static str, Self); 2] =
        [("above", Self::Above), ("below", Self::Below)];

    /// Whether a value is on the bad side.
    #[must_use]
    pub fn is_beyond(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::Below => value < threshold,
        }
    }

    /// The worse of two values.
    pub(super) const fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Above => a.max(b),
            Self::Below => a.min(b),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    #[default]
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Error,
    /// Wakes somebody.
    Critical,
}

impl Severity {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("info", Self::Info),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("critical", Self::Critical),
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

/// The rules that the four thresholds of the API are views on.
pub(super) const LOW_MOS: &str = "low_mos";
pub(super) const HIGH_PACKET_LOSS: &str = "high_packet_loss";
pub(super) const EXCESSIVE_JITTER: &str = "excessive_jitter";
pub(super) const HIGH_LATENCY: &str = "high_latency";

/// What suspect intervals raise instead.
pub(super) const MONITOR_OVERLOAD: &str = "monitor_overload";

/// Below this MOS nearly all users are dissatisfied (G.109 table 1: R 58 is MOS 3.0).
const LOW_MOS_ERROR: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_in_order() {
        assert!(Severity::Info < Severity::Warning && Severity::Error < Severity::Critical);
    }
}
