//! Interarrival jitter as RFC 3550 appendix A.8 estimates it, with its mean and maximum.
//!
//! Written apart from the appliance's own, so that one checks the other.

use std::time::Duration;

use voxplane::time::Timestamp;

/// The running estimate over the packets of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    last: Option<(Timestamp, u32)>,
    estimate_ns: f64,
    sum_ns: f64,
    max_ns: f64,
    samples: u64,
}

impl Jitter {
    /// Takes the next packet in the order of `at`, with its RTP time in units of an 8000 Hz
    /// clock.
    #[expect(clippy::cast_precision_loss, reason = "differences of days still fit 53 bits")]
    pub fn update(&mut self, at: Timestamp, rtp_time: u32) {
        if let Some((last_at, last_rtp_time)) = self.last {
            let media_ticks = rtp_time.wrapping_sub(last_rtp_time).cast_signed();
            let media_ns = i64::from(media_ticks) * NANOS_PER_TICK;
            let deviation = (at.nanos_from(last_at) - media_ns).unsigned_abs() as f64;
            self.estimate_ns += (deviation - self.estimate_ns) / GAIN;
            self.sum_ns += self.estimate_ns;
            self.max_ns = self.max_ns.max(self.estimate_ns);
            self.samples += 1;
        }
        self.last = Some((at, rtp_time));
    }

    /// The estimate now, in units of the RTP clock, as reports carry it.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "never negative, and `as` saturates"
    )]
    pub fn rtp_units(&self) -> u32 {
        (self.estimate_ns / NANOS_PER_TICK as f64) as u32
    }

    /// The mean of the estimate over all packets but the first; `None` before the second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "packet counts fit 53 bits")]
    pub fn mean(&self) -> Option<Duration> {
        (self.samples > 0).then(|| nanos(self.sum_ns / self.samples as f64))
    }

    /// The highest estimate; `None` before the second packet.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.samples > 0).then(|| nanos(self.max_ns))
    }
}

fn nanos(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e9)
}

/// A tick of the 8000 Hz clock that G.711 has (RFC 3551 table 4).
const NANOS_PER_TICK: i64 = 125_000;
/// The noise reduction of appendix A.8.
const GAIN: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Deviations in ticks and the estimates after them, as osmo-mgw's tests have them.
    #[test]
    fn the_estimate_follows_the_known_vector() {
        let deviations = [0, 0, 160, 0, 0, 160, 0, 0, 40, 0, 0];
        let estimates = [0, 0, 10, 9, 8, 18, 17, 16, 17, 16, 15];
        let mut jitter = Jitter::default();
        let mut at_ticks = 1_000_000;
        jitter.update(ticks(at_ticks), 0);
        for (step, (deviation, expected)) in deviations.into_iter().zip(estimates).enumerate() {
            at_ticks += 160 + deviation;
            jitter.update(ticks(at_ticks), 160 * (u32::try_from(step).unwrap() + 1));
            assert!(jitter.rtp_units().abs_diff(expected) <= 1, "step {step}");
        }
    }

    #[test]
    fn rtp_time_wraps_and_may_go_back() {
        let mut jitter = Jitter::default();
        jitter.update(ticks(1000), u32::MAX - 79);
        jitter.update(ticks(1160), 80);
        assert_eq!(jitter.max(), Some(Duration::ZERO));
        jitter.update(ticks(1160), 80_u32.wrapping_sub(160));
        assert_eq!(jitter.max(), Some(Duration::from_millis(20) / 16));
    }

    #[test]
    fn one_packet_has_no_jitter() {
        let mut jitter = Jitter::default();
        jitter.update(ticks(1), 0);
        assert_eq!((jitter.mean(), jitter.max()), (None, None));
    }

    fn ticks(value: u64) -> Timestamp {
        Timestamp::from_nanos(value * 125_000)
    }
}
