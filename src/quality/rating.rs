//! The bands that a MOS is shown in, and the limits past which a call has an issue.
//!
//! It computes no score.

use serde::Serialize;

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

impl Rating {
    /// The band that a MOS is in.
    #[must_use]
    pub const fn from_mos(mos: f64) -> Self {
        if mos >= 4.3 {
            Self::Excellent
        } else if mos >= 4.0 {
            Self::Good
        } else if mos >= 3.6 {
            Self::Fair
        } else if mos >= 3.1 {
            Self::Poor
        } else {
            Self::Bad
        }
    }
}

/// What a call must keep to count as one without issues.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// Lowest MOS.
    pub mos_min: f64,
    /// Highest packet loss, percent.
    pub packet_loss_max: f64,
    /// Highest jitter, milliseconds.
    pub jitter_max: f64,
    /// Highest round-trip time, milliseconds.
    pub latency_max: f64,
}

impl Thresholds {
    /// Whether any of the figures is outside; one that is not known is not.
    ///
    /// `mos` 1 to 4.5, `loss` in percent, `jitter` and `latency` in milliseconds.
    #[must_use]
    pub fn exceeded(
        &self,
        mos: Option<f64>,
        loss: Option<f64>,
        jitter: Option<f64>,
        latency: Option<f64>,
    ) -> bool {
        mos.is_some_and(|mos| mos < self.mos_min)
            || loss.is_some_and(|loss| loss > self.packet_loss_max)
            || jitter.is_some_and(|jitter| jitter > self.jitter_max)
            || latency.is_some_and(|latency| latency > self.latency_max)
    }
}

/// The thresholds behind `calls_with_issues`.
pub const THRESHOLDS: Thresholds =
    Thresholds { mos_min: 3.5, packet_loss_max: 2.0, jitter_max: 50.0, latency_max: 300.0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_starts_at_its_lower_edge() {
        let rated = |mos| Rating::from_mos(mos);
        assert_eq!([rated(4.5), rated(4.3)], [Rating::Excellent; 2]);
        assert_eq!([rated(4.29), rated(4.0)], [Rating::Good; 2]);
        assert_eq!([rated(3.99), rated(3.6)], [Rating::Fair; 2]);
        assert_eq!([rated(3.59), rated(3.1)], [Rating::Poor; 2]);
        assert_eq!([rated(3.09), rated(1.0)], [Rating::Bad; 2]);
    }

    #[test]
    fn a_threshold_is_exceeded_beyond_it_and_not_at_it() {
        let exceeded = |mos, loss, jitter, latency| {
            THRESHOLDS.exceeded(Some(mos), Some(loss), Some(jitter), Some(latency))
        };
        assert!(!exceeded(3.5, 2.0, 50.0, 300.0));
        assert!(exceeded(3.49, 2.0, 50.0, 300.0));
        assert!(exceeded(3.5, 2.01, 50.0, 300.0));
        assert!(exceeded(3.5, 2.0, 50.1, 300.0));
        assert!(exceeded(3.5, 2.0, 50.0, 300.1));
        assert!(!THRESHOLDS.exceeded(None, None, None, None));
    }
}
