//! What is usual: the same hour of past days, from the rollups of the history. It judges no value
//! and raises nothing.

use super::{
    rule::{Comparison, Metric, Rule, Scope},
    window::float,
};
use crate::{
    store::{Asked as TrendsAsked, By, Metric as TrendMetric, ReadError, Reader, Rollup, Series},
    time::{NANOS_PER_SEC, Timestamp},
};

/// How a rule's metric stands to what is usual for a trunk or the box.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// The rule's name.
    pub(super) rule: String,
    /// The trunk; `None` for the box.
    pub(super) trunk: Option<String>,
    /// Mean over the calls that ended within the rule's window.
    pub(super) value: f64,
    /// How many these are.
    pub(super) samples: u64,
    /// From here on the value is bad.
    pub(super) limit: f64,
}

/// Works out all baselines of some rules at a moment. A subject without enough calls now, or
/// without enough days behind it, has none.
pub(super) fn all<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    reader: &Reader,
    now: Timestamp,
) -> Result<Vec<Baseline>, ReadError> {
    let mut found = Vec::new();
    for rule in rules {
        let Some(deviations) = rule.deviations else { continue };
        let minute = now.as_nanos() / (60 * NANOS_PER_SEC);
        let window = rule.window.as_secs().div_ceil(60);
        for scope in &rule.scope {
            let by = if *scope == Scope::Trunk { By::Trunk } else { By::All };
            let current = reader.trends(&TrendsAsked {
                by,
                bucket_minutes: 1,
                since_minute: (minute + 1).saturating_sub(window),
                until_minute: minute + 1,
            })?;
            let mut past = Vec::new();
            for day in 1..=u64::from(rule.baseline_days) {
                let hour = (minute / 60 * 60).saturating_sub(day * MINUTES_PER_DAY);
                let (since_minute, until_minute) = (hour, hour + 60);
                let asked = TrendsAsked { by, bucket_minutes: 60, since_minute, until_minute };
                past.push(reader.trends(&asked)?);
            }
            for series in &current {
                let its = |trunk: &str| rule.trunk.as_deref().is_none_or(|name| name == trunk);
                if by == By::Trunk && !its(&series.key) {
                    continue;
                }
                let Some((metric, value, samples)) = mean(rule.metric, series, None) else {
                    continue;
                };
                let days: Vec<f64> = past
                    .iter()
                    .filter_map(|day| day.iter().find(|past| past.key == series.key))
                    .filter_map(|day| mean(rule.metric, day, Some(metric)))
                    .filter(|(_, _, samples)| *samples >= rule.min_samples)
                    .map(|(_, mean, _)| mean)
                    .collect();
                if days.len() < usize::from(rule.baseline_min_days) {
                    continue;
                }
                let limit = limit(&days, deviations, rule.comparison);
                found.push(Baseline {
                    rule: rule.name.clone(),
                    trunk: (by == By::Trunk).then(|| series.key.clone()),
                    value,
                    samples,
                    limit,
                });
            }
        }
    }
    Ok(found)
}

/// The metric's mean over the calls of a series, on the scale that most of them are on or on the
/// one that is asked for; with the number of calls.
fn mean(
    metric: Metric,
    series: &Series,
    on: Option<TrendMetric>,
) -> Option<(TrendMetric, f64, u64)> {
    let metric = on.or_else(|| {
        Some(match metric {
            Metric::Mos => TrendMetric::Mos(Series::main_scale(core::slice::from_ref(series))),
            Metric::PacketLoss => TrendMetric::Loss,
            Metric::Jitter => TrendMetric::Jitter,
            Metric::Latency => TrendMetric::Rtt,
            _ => return None,
        })
    })?;
    let mut sums = Rollup::default();
    series.points.values().for_each(|point| sums.merge(point));
    let found = sums.histogram(metric);
    let mean = float(found.sum()) / float(found.count()) / metric.per_unit();
    (found.count() > 0).then_some((metric, mean, found.count()))
}

/// From where on a value is bad: so many deviations beyond the mean of the days.
fn limit(days: &[f64], deviations: f64, comparison: Comparison) -> f64 {
    let count = float(days.len() as u64);
    let mean = days.iter().sum::<f64>() / count;
    // The sample's own variance, by one day less than there are.
    let squares: f64 = days.iter().map(|day| (day - mean) * (day - mean)).sum();
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
    let distance = deviations * deviation.max(mean.abs() * DEVIATION_MIN);
    match comparison {
        Comparison::Above => mean + distance,
        Comparison::Below => mean - distance,
    }
}

/// Days that are as good as equal make no alert of next to nothing: a deviation counts as at
/// least 2 % of the mean.
const DEVIATION_MIN: f64 = 0.02;

const MINUTES_PER_DAY: u64 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_deviations_away_from_the_mean() {
        let days = [10.0, 12.0, 14.0];
        assert_eq!(limit(&days, 3.0, Comparison::Above), 12.0 + 3.0 * 2.0);
        assert_eq!(limit(&days, 1.5, Comparison::Below), 12.0 - 1.5 * 2.0);
        assert_eq!(limit(&[4.0; 5], 3.0, Comparison::Below), 4.0 - 3.0 * 0.08);
        assert_eq!(limit(&[0.0; 5], 3.0, Comparison::Above), 0.0);
    }
}
