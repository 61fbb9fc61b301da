//! Another sample rate: a low-pass of windowed sinc, one set of weights for each place that an
//! output sample can have between two input samples.
//!
//! Done once for each rate, when a recording is read; so it is plain and exact, not fast.

use core::f64::consts::PI;

/// The same sound at another rate, both in Hz. It is taken to go on for ever: its end is followed
/// by its beginning.
pub(super) fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to || samples.is_empty() {
        return samples.to_vec();
    }
    let divisor = greatest_common_divisor(from, to);
    // An output sample is `down` places after the one before, at `up` places an input sample.
    let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
    let weights = Weights::new(up, f64::from(to) / f64::from(from));
    let reach = weights.reach;
    let around = |at: usize| samples[(at + samples.len() * reach - reach) % samples.len()];
    let padded: Vec<f32> = (0..samples.len() + 2 * reach).map(around).collect();
    let count = samples.len() * up / down;
    let sample = |n: usize| {
        let place = n * down;
        // From `reach - 1` samples before the place to `reach` after it.
        let around = &padded[place / up + 1..][..2 * reach];
        around.iter().zip(weights.at(place % up)).map(|(sample, weight)| sample * weight).sum()
    };
    (0..count.max(1)).map(sample).collect()
}

/// The weights of the samples around each of some places between two samples.
struct Weights {
    /// How many samples count on either side.
    reach: usize,
    all: Vec<f32>,
}

impl Weights {
    /// For `places` between two samples, and a rate that is so many times that of the input.
    fn new(places: usize, ratio: f64) -> Self {
        let cutoff = ratio.min(1.0) * PASS;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "16 to 500")]
        let reach = (CROSSINGS / cutoff).ceil() as usize;
        let mut all = Vec::with_capacity(places * 2 * reach);
        #[expect(clippy::cast_precision_loss, reason = "far below 53 bits")]
        for place in 0..places {
            let after = place as f64 / places as f64;
            let offset = |tap: usize| tap as f64 - (reach as f64 - 1.0) - after;
            let weight = |tap| sinc(cutoff * offset(tap)) * window(offset(tap) / reach as f64);
            let weights: Vec<f64> = (0..2 * reach).map(weight).collect();
            // A constant stays what it is.
            let sum: f64 = weights.iter().sum();
            #[expect(clippy::cast_possible_truncation, reason = "more exact than any recording")]
            all.extend(weights.iter().map(|weight| (weight / sum) as f32));
        }
        Self { reach, all }
    }

    fn at(&self, place: usize) -> &[f32] {
        &self.all[place * 2 * self.reach..][..2 * self.reach]
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Blackman's, from -1 to 1: what it lets through of other frequencies is below -70 dB.
fn window(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        return 0.0;
    }
    0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos()
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Share of the lower rate's band that is let through whole.
const PASS: f64 = 0.92;

/// Zero crossings of the sinc on either side.
const CROSSINGS: f64 = 16.0;

#[cfg(test)]
mod tests {
    use core::f64::consts::TAU;

    use super::*;

    /// A second of a sine.
    #[expect(clippy::cast_possible_truncation, reason = "a test signal")]
    fn sine(frequency: u32, rate: u32) -> Vec<f32> {
        let angle = |n| TAU * f64::from(frequency) * f64::from(n) / f64::from(rate);
        (0..rate).map(|n| angle(n).sin() as f32).collect()
    }

    /// The worst difference to a sine of so much loudness, dB below full scale.
    fn error_db(samples: &[f32], expected: &[f32]) -> f64 {
        assert_eq!(samples.len(), expected.len());
        let worst = samples.iter().zip(expected).map(|(a, b)| f64::from(a - b).abs());
        20.0 * worst.fold(1e-9, f64::max).log10()
    }

    #[test]
    fn what_both_rates_can_carry_stays_as_it_is() {
        for (from, to) in [(8000, 16_000), (16_000, 8000), (44_100, 8000), (8000, 44_100)] {
            for frequency in [100, 1004, 3000] {
                let error =
                    error_db(&resample(&sine(frequency, from), from, to), &sine(frequency, to));
                assert!(error < -60.0, "{from} to {to}, {frequency} Hz: {error} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_gone() {
        for frequency in [4500, 6000, 15_000] {
            let left = resample(&sine(frequency, 48_000), 48_000, 8000);
            assert!(error_db(&left, &[0.0; 8000]) < -60.0, "{frequency} Hz");
        }
    }

    #[test]
    fn short_sounds_and_odd_rates_are_taken() {
        assert_eq!(resample(&[0.5], 8000, 44_100).len(), 5);
        assert_eq!(resample(&[0.5; 3], 48_000, 8000).len(), 1);
        let odd = resample(&sine(1000, 44_056), 44_056, 48_000);
        assert!(error_db(&odd, &sine(1000, 48_000)) < -60.0);
        assert!(resample(&[], 8000, 16_000).is_empty());
    }
}
