//! The test tone: 1004 Hz at 0 dBm0, the milliwatt of telephone test lines.
//!
//! 1004 Hz, as test lines of type 102 send it: a frequency that is no divisor of the sample rate,
//! so that the samples are not always the same few (for that reason ITU-T O.6 has 1004 to 1025 Hz).
//! 0 dBm0 is 3.14 dB below a sine that just reaches the largest value of A-law (ITU-T G.711 section
//! 4), which is taken for the largest of 16 bits; that of mu-law is at 3.17 dBm0, and its tone
//! within 0.1 dB of 0 dBm0.

use core::f64::consts::TAU;

/// One second at a sample rate in Hz: it closes, since a second has a whole number of periods.
pub(super) fn samples(rate: u32) -> Vec<i16> {
    let step = TAU * FREQUENCY / f64::from(rate);
    #[expect(clippy::cast_possible_truncation, reason = "the amplitude is below 16 bits")]
    let sample = |n: u32| (AMPLITUDE * (step * f64::from(n)).sin()).round() as i16;
    (0..rate).map(sample).collect()
}

/// Hz.
const FREQUENCY: f64 = 1004.0;

/// 32768 times 10 to the power of -3.14 / 20.
const AMPLITUDE: f64 = 22_826.6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zero_dbm0() {
        let peak = 32_768.0 * 10.0_f64.powf(-OVERLOAD_DBM0 / 20.0);
        assert!((AMPLITUDE - peak).abs() < 1.0, "{peak}");
        let tone = samples(8000);
        assert_eq!((tone.len(), tone[0], tone[2000]), (8000, 0, 0));
        assert!(tone[..2000] == tone[2000..4000]);
    }

    #[expect(clippy::approx_constant, reason = "decibels, not a circle")]
    const OVERLOAD_DBM0: f64 = 3.14;
}
