//! Round trips from the times in reports (RFC 3550 section 6.4.1, RFC 3611 section 4.5).
//!
//! Never reads a clock and never asks whether a report is about us.

/// The round trip in µs, below 60 s, that an answer to a report of ours gives: when the answer
/// arrived, less the time of our report that it repeats, less how long it was held.
///
/// `arrived` and `last` are the middle 32 bits of NTP times by our own clock and `held` counts
/// 1/65536 s. They are LSR and DLSR of a [`ReportBlock`](super::ReportBlock), which answers a
/// sender report, or LRR and DLRR of a [`DlrrSubBlock`](super::DlrrSubBlock), which answers a
/// [`ReceiverReferenceTime`](super::ReceiverReferenceTime).
///
/// `None` if there was no report to answer (`last` is 0), or if clocks make it absurd. A phone
/// that counts in milliseconds how long it held the report makes a short way a little negative:
/// down to -10 ms that is 0.
#[must_use]
pub fn round_trip_us(arrived: u32, last: u32, held: u32) -> Option<u32> {
    if last == 0 {
        return None;
    }
    let units = arrived.wrapping_sub(last).wrapping_sub(held);
    if units.wrapping_neg() <= HELD_ERROR_MAX {
        return Some(0);
    }
    let micros = (u64::from(units) * 1_000_000) >> 16;
    u32::try_from(micros).ok().filter(|&micros| micros < ROUND_TRIP_MAX_US)
}

/// How much longer than it did a far end may say that it held a report: 10 ms, in 1/65536 s.
const HELD_ERROR_MAX: u32 = 655;

/// A longer round trip is a clock that was set.
const ROUND_TRIP_MAX_US: u32 = 60_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figure_2_of_rfc_3550() {
        assert_eq!(round_trip_us(0xB710_8000, 0xB705_2000, 0x0005_4000), Some(6_125_000));
    }

    #[test]
    fn a_hold_stated_a_little_too_long_is_a_round_trip_of_nothing() {
        let rtt_us = |held| round_trip_us(0xB710_8000, 0xB705_2000, held);
        // 0xB710_8000 - 0xB705_2000 is the whole time between: then nothing was under way.
        assert_eq!(rtt_us(0x000B_6000), Some(0));
        assert_eq!(rtt_us(0x000B_6000 + 655), Some(0));
        assert_eq!(rtt_us(0x000B_6000 + 656), None);
    }

    #[test]
    fn without_a_report_or_beyond_a_minute_there_is_none() {
        assert_eq!(round_trip_us(0xB710_8000, 0, 0), None);
        assert_eq!(round_trip_us(1 + (60 << 16), 1, 0), None);
        // One unit less is 59 s and 65535/65536 s.
        assert_eq!(round_trip_us(60 << 16, 1, 0), Some(59_999_984));
    }

    proptest! {
        /// 16 bits of seconds wrap every 18 hours, so any time may lie on either side of 0.
        #[test]
        fn what_was_put_in_comes_out(
            last in 1_u32..,
            held in 0_u32..1 << 24,
            way in 0_u32..60 << 16,
        ) {
            let arrived = last.wrapping_add(held).wrapping_add(way);
            let found = round_trip_us(arrived, last, held).unwrap();
            let truth = f64::from(way) / 65_536.0 * 1e6;
            prop_assert!((0.0..1.0).contains(&(truth - f64::from(found))), "{found} for {truth}");
        }
    }
}
