//! A [`Histogram`] of times, with bounds and memory that do not depend on how many there are.
//!
//! It keeps three digits and never a single value.

use std::time::Duration;

use serde::Serialize;

/// Times from 1 us to 100 s; longer ones count as 100 s.
#[derive(Clone, Debug)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Default for Histogram {
    fn default() -> Self {
        let inner = hdrhistogram::Histogram::new_with_bounds(1, MAX_US, DIGITS);
        Self(inner.expect("the bounds are constants within what the crate allows"))
    }
}

impl Histogram {
    /// Takes a time.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MAX_US));
    }

    /// Takes all the times of another.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Quantiles in milliseconds; `None` if nothing was recorded.
    #[must_use]
    pub fn quantiles(&self) -> Option<Quantiles> {
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Quantiles {
            count: self.0.len(),
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: millis(self.0.max()),
        })
    }
}

/// Quantiles of a [`Histogram`], milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many values.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Highest.
    pub max_ms: f64,
}

#[expect(clippy::cast_precision_loss, reason = "at most 100 s in microseconds")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

const MAX_US: u64 = 100_000_000;
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_two_parts_are_those_of_the_whole() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        assert_eq!(one.quantiles(), None);
        for ms in 1..=50 {
            one.record(Duration::from_millis(ms));
            other.record(Duration::from_millis(50 + ms));
        }
        one.merge(&other);
        let quantiles = one.quantiles().unwrap();
        assert_eq!(quantiles.count, 100);
        assert!((quantiles.p50_ms - 50.0).abs() < 0.1 && (quantiles.p99_ms - 99.0).abs() < 0.1);
        other.record(Duration::from_secs(1000));
        assert!((other.quantiles().unwrap().max_ms / 1e5 - 1.0).abs() < 0.01);
    }
}
