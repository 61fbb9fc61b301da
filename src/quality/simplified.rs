//! The formula of older monitors, for who must match one that is being replaced: R from loss,
//! delay and jitter alone.
//!
//! It is not the E-model and knows no codec, no burst and no jitter buffer; every score of it says
//! `simplified`.
//!
//! ```text
//! R = 93.2 - 2.5 loss% - 0.1 (latency - 160 ms, if above) - 0.2 (jitter - 30 ms, if above)
//! ```
//!
//! 93.2, 2.5 a percent and the two thresholds are what is known of it. The slopes are not: they
//! are those of the formula that PingPlotter, baresip and rtpengine have in common, which takes
//! 0.1 a millisecond of latency above 160 and counts jitter twice. Latency is the round-trip time,
//! as in that formula and in the API's `latency_avg_ms`; jitter is the mean of the A.8 estimate.

use super::{Impairments, emodel::mos_from_r};

/// What the formula knows of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// Lost of expected, percent; discards of a jitter buffer are not in it.
    pub loss_percent: f64,
    /// Round-trip time, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Mean jitter, milliseconds; unknown counts as none.
    pub jitter_ms: Option<f64>,
}

/// What the formula says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rated {
    /// R with the delay in it, 0 to 93.2; `None` where that is not known.
    pub conversational: Option<f64>,
    /// R without delay, 0 to 93.2.
    pub listening: f64,
    /// What each cause took from [`R_IDEAL`]. What jitter costs stands under `discard`: both are
    /// what variation of the delay costs.
    pub impairments: Impairments,
}

impl Inputs {
    /// Rates the stream.
    #[must_use]
    pub fn rate(&self) -> Rated {
        let loss = (self.loss_percent * R_PER_PERCENT).max(0.0);
        let jitter = penalty(self.jitter_ms, JITTER_FREE_MS, R_PER_JITTER_MS);
        let delay = penalty(self.rtt_ms, DELAY_FREE_MS, R_PER_DELAY_MS);
        let listening = R_IDEAL - loss - jitter;
        Rated {
            conversational: self.rtt_ms.map(|_| (listening - delay).max(0.0)),
            listening: listening.max(0.0),
            impairments: Impairments { loss, discard: jitter, delay, ..Impairments::default() },
        }
    }
}

/// MOS from its R: the cubic of G.107 eq. B-4.
#[must_use]
pub fn mos(r: f64) -> f64 {
    mos_from_r(r)
}

/// What is above the threshold, by its price; at most the whole scale, however long it is.
fn penalty(ms: Option<f64>, free_ms: f64, r_per_ms: f64) -> f64 {
    ms.map_or(0.0, |ms| ((ms - free_ms).max(0.0) * r_per_ms).min(R_IDEAL))
}

/// R of a connection that lacks nothing.
pub const R_IDEAL: f64 = 93.2;

const R_PER_PERCENT: f64 = 2.5;
const DELAY_FREE_MS: f64 = 160.0;
const R_PER_DELAY_MS: f64 = 0.1;
const JITTER_FREE_MS: f64 = 30.0;
const R_PER_JITTER_MS: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_penalty_begins_at_its_threshold() {
        let rated = |loss_percent, rtt: f64, jitter: f64| {
            let inputs = Inputs { loss_percent, rtt_ms: Some(rtt), jitter_ms: Some(jitter) }.rate();
            inputs.conversational.unwrap()
        };
        for ((loss, rtt, jitter), r) in [
            ((0.0, 0.0, 0.0), 93.2),
            ((0.0, 160.0, 30.0), 93.2),
            ((1.0, 0.0, 0.0), 90.7),
            ((10.0, 0.0, 0.0), 68.2),
            ((0.0, 260.0, 0.0), 83.2),
            ((0.0, 0.0, 40.0), 91.2),
            ((4.0, 360.0, 80.0), 53.2),
            ((100.0, 0.0, 0.0), 0.0),
        ] {
            assert!((rated(loss, rtt, jitter) - r).abs() < 1e-9, "{loss} {rtt} {jitter}");
        }
    }

    #[test]
    fn without_a_delay_only_listening_is_rated() {
        let rated = Inputs { loss_percent: 2.0, rtt_ms: None, jitter_ms: None }.rate();
        assert_eq!((rated.conversational, rated.listening), (None, 88.2));
        assert_eq!(rated.impairments, Impairments { loss: 5.0, ..Impairments::default() });
    }
}
