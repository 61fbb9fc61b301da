//! Interarrival jitter (RFC 3550 appendix A.8), its distribution, and the jitter buffer that a
//! listener would need.

use core::time::Duration;

use crate::{
    limits::JITTER_BUFFER,
    time::{NANOS_PER_SEC, Timestamp},
};

/// Jitter of one stream, in order of arrival: one cache line.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Jitter {
    last_arrival: Timestamp,
    /// Nanoseconds of one tick of the RTP clock, with 32 bits of fraction: 8000 Hz, and every
    /// clock that divides 10^9, without any error.
    tick_nanos_q32: u64,
    /// The A.8 estimate, nanoseconds × 16, as A.8's integer form keeps it.
    estimate_x16: u64,
    /// This packet's transit time less the first one's, nanoseconds.
    transit: i64,
    fastest: Fastest,
    last_rtp_time: u32,
    samples: u32,
    sum_us: u64,
    max_us: u32,
}

/// What one packet adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The A.8 estimate after it, microseconds.
    pub(crate) jitter_us: u32,
    /// Whether it comes too late to be played out of the assumed buffer.
    pub(crate) is_late: bool,
}

impl Jitter {
    /// Starts at a stream's first packet, which gives no sample.
    pub(crate) const fn new(arrival: Timestamp, rtp_time: u32, clock_rate: u32) -> Self {
        Self {
            last_arrival: arrival,
            last_rtp_time: rtp_time,
            tick_nanos_q32: tick_nanos_q32(clock_rate),
            estimate_x16: 0,
            transit: 0,
            fastest: Fastest::new(arrival),
            samples: 0,
            sum_us: 0,
            max_us: 0,
        }
    }

    /// How much longer this packet was under way than the last one, nanoseconds: D(i-1, i).
    #[inline]
    pub(crate) fn deviation_nanos(&self, arrival: Timestamp, rtp_time: u32) -> i64 {
        let sent_ticks = rtp_time.wrapping_sub(self.last_rtp_time).cast_signed();
        let product = i128::from(sent_ticks) * i128::from(self.tick_nanos_q32);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "2^31 ticks of at most 1 s are 2^61 ns"
        )]
        let sent_nanos = ((product + HALF_Q32) >> 32) as i64;
        arrival.nanos_from(self.last_arrival).saturating_sub(sent_nanos)
    }

    /// Takes in the next speech packet.
    #[inline]
    pub(crate) fn arrive(&mut self, arrival: Timestamp, rtp_time: u32) -> Sample {
        let deviation = self.deviation_nanos(arrival, rtp_time);
        self.last_arrival = arrival;
        self.last_rtp_time = rtp_time;

        let change = deviation.unsigned_abs().min(DEVIATION_MAX_NANOS);
        self.estimate_x16 = self.estimate_x16 + change - ((self.estimate_x16 + 8) >> 4);
        self.transit = self.transit.saturating_add(deviation);
        let lateness = self.transit.saturating_sub(self.fastest.update(arrival, self.transit));

        let jitter_us = self.jitter_us();
        self.samples += 1;
        self.sum_us += u64::from(jitter_us);
        self.max_us = self.max_us.max(jitter_us);
        Sample { jitter_us, is_late: lateness > JITTER_BUFFER_NANOS }
    }

    /// Goes on from a packet that says nothing about the network: the first of a talkspurt, of
    /// a new clock or of a restarted sender. The estimate stays, the buffer starts anew.
    pub(crate) fn reanchor(&mut self, arrival: Timestamp, rtp_time: u32, clock_rate: u32) {
        (self.last_arrival, self.last_rtp_time) = (arrival, rtp_time);
        self.tick_nanos_q32 = tick_nanos_q32(clock_rate);
        self.restart_buffer(arrival);
    }

    /// Plays this packet at once, as a listener's buffer does after a silence.
    pub(crate) fn restart_buffer(&mut self, arrival: Timestamp) {
        self.transit = 0;
        self.fastest = Fastest::new(arrival);
    }

    /// The RTP time stamp of the last packet.
    pub(crate) const fn last_rtp_time(&self) -> u32 {
        self.last_rtp_time
    }

    /// The A.8 estimate, microseconds.
    pub(crate) fn jitter_us(&self) -> u32 {
        saturate(self.estimate_x16 / 16_000)
    }

    /// The A.8 estimate in RTP time stamp units, as a report block carries it.
    pub(crate) fn jitter_ticks(&self) -> u32 {
        let estimate_q32 = u128::from(self.estimate_x16 >> 4) << 32;
        let ticks = estimate_q32.checked_div(self.tick_nanos_q32.into()).unwrap_or(0);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// Samples, the sum of the estimate over them and its maximum, microseconds.
    pub(crate) const fn summary(&self) -> (u32, u64, u32) {
        (self.samples, self.sum_us, self.max_us)
    }
}

/// The shortest relative transit time of the last 10 to 20 s, nanoseconds. A moving minimum
/// follows a clock that drifts, where the first packet's would not.
#[derive(Clone, Debug)]
#[repr(C)]
struct Fastest {
    window_end: Timestamp,
    current: i64,
    previous: i64,
}

impl Fastest {
    const fn new(arrival: Timestamp) -> Self {
        let end = arrival.as_nanos().saturating_add(FASTEST_WINDOW_NANOS);
        Self { window_end: Timestamp::from_nanos(end), current: 0, previous: 0 }
    }

    #[inline]
    fn update(&mut self, arrival: Timestamp, transit: i64) -> i64 {
        if arrival > self.window_end {
            self.previous = self.current;
            self.current = transit;
            self.window_end = arrival + Duration::from_nanos(FASTEST_WINDOW_NANOS);
        }
        self.current = self.current.min(transit);
        self.current.min(self.previous)
    }
}

/// A distribution of microseconds in 8 buckets an octave, from 64 µs to 1 s, in 240 bytes.
/// A bucket that is about to overflow halves them all, which keeps the quantiles.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub(crate) struct LogBuckets([u16; BUCKETS]);

impl LogBuckets {
    pub(crate) const fn new() -> Self {
        Self([0; BUCKETS])
    }

    #[inline]
    pub(crate) fn record(&mut self, us: u32) {
        let bucket = &mut self.0[bucket_of(us)];
        *bucket += 1;
        if *bucket == u16::MAX {
            self.0.iter_mut().for_each(|bucket| *bucket /= 2);
        }
    }

    /// Reads the bucket of a value; see [`super::stream::Stream::touched`].
    #[inline]
    pub(crate) fn touched(&self, us: u32) -> u16 {
        self.0[bucket_of(us)]
    }

    /// The upper edge of the bucket that holds this quantile (0 to 1); `None` if empty.
    pub(crate) fn quantile_us(&self, quantile: f64) -> Option<u32> {
        let total: u32 = self.0.iter().copied().map(u32::from).sum();
        let mut below = 0;
        self.0
            .iter()
            .position(|&count| {
                below += u32::from(count);
                count > 0 && f64::from(below) >= quantile * f64::from(total)
            })
            .map(upper_edge_us)
    }
}

#[inline]
fn bucket_of(us: u32) -> usize {
    if us < FLOOR_US {
        return 0;
    }
    let octave = us.ilog2();
    let within = (us >> (octave - SUB_BITS)) & (SUB_BUCKETS - 1);
    let bucket = 1 + (octave - FLOOR_BITS) * SUB_BUCKETS + within;
    (bucket as usize).min(BUCKETS - 1)
}

fn upper_edge_us(bucket: usize) -> u32 {
    let Some(bucket) = u32::try_from(bucket).ok().and_then(|bucket| bucket.checked_sub(1)) else {
        return FLOOR_US;
    };
    let (octave, within) = (bucket / SUB_BUCKETS + FLOOR_BITS, bucket % SUB_BUCKETS);
    (SUB_BUCKETS + within + 1) << (octave - SUB_BITS)
}

const fn tick_nanos_q32(clock_rate: u32) -> u64 {
    let clock_rate = if clock_rate == 0 { FALLBACK_CLOCK_HZ } else { clock_rate };
    (NANOS_PER_SEC << 32) / clock_rate as u64
}

fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Rounds a product to the nearest nanosecond.
const HALF_Q32: i128 = 1 << 31;

/// The clock of a codec that has told none; nearly all speech has this one.
const FALLBACK_CLOCK_HZ: u32 = 8000;

/// A deviation past a minute is a clock that was set, not a network.
const DEVIATION_MAX_NANOS: u64 = 60_000_000_000;

/// How long a packet may stay the fastest.
const FASTEST_WINDOW_NANOS: u64 = 10_000_000_000;

const JITTER_BUFFER_NANOS: i64 =
    JITTER_BUFFER.as_secs().cast_signed() * 1_000_000_000 + JITTER_BUFFER.subsec_nanos() as i64;

/// Everything below 64 µs is one bucket: no network is that steady.
const FLOOR_BITS: u32 = 6;
const FLOOR_US: u32 = 1 << FLOOR_BITS;
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: u32 = 1 << SUB_BITS;
/// One below the floor, 14 octaves to 2^20 µs, and the last one takes the rest.
const BUCKETS: usize = 1 + 14 * SUB_BUCKETS as usize + 7;

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of osmo-mgw's unit test, in ticks of 8 kHz; values from the A.8 arithmetic.
    #[test]
    fn a8_vector() {
        let deviations = [0, 0, 160, 0, 0, 160, 0, 0, 40, 0, 0_u64];
        let expected = [0, 0, 10, 9, 8, 18, 17, 16, 17, 16, 15];
        let mut arrival = Timestamp::from_secs(1);
        let mut jitter = Jitter::new(arrival, 0, 8000);
        for (index, (deviation, expected)) in deviations.iter().zip(expected).enumerate() {
            arrival = arrival + Duration::from_micros(20_000 + deviation * 125);
            let rtp_time = 160 * (u32::try_from(index).unwrap() + 1);
            jitter.arrive(arrival, rtp_time);
            assert_eq!(jitter.jitter_ticks(), expected, "at {index}");
        }
    }

    #[test]
    fn a_packet_is_late_past_the_buffer_over_the_fastest() {
        let start = Timestamp::from_secs(1);
        let mut jitter = Jitter::new(start, 0, 8000);
        let mut at = |index: u32, delay_ms: u64| {
            let arrival = start + Duration::from_millis(u64::from(index) * 20 + delay_ms);
            jitter.arrive(arrival, index * 160).is_late
        };
        assert!(!at(1, 60));
        assert!(at(2, 61));
        assert!(!at(3, 0));
    }

    #[test]
    fn a_clock_that_drifts_discards_nothing() {
        let start = Timestamp::from_secs(1);
        let mut jitter = Jitter::new(start, 0, 8000);
        for index in 1..180_000 {
            // 200 ppm slow: 20.004 ms a packet, 0.7 s in an hour.
            let arrival = start + Duration::from_nanos(u64::from(index) * 20_004_000);
            assert!(!jitter.arrive(arrival, index * 160).is_late);
        }
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut buckets = LogBuckets::new();
        assert_eq!(buckets.quantile_us(0.5), None);
        for us in 0..200_000 {
            buckets.record(us);
        }
        for (quantile, exact) in [(0.5, 100_000.0), (0.95, 190_000.0)] {
            let got = f64::from(buckets.quantile_us(quantile).unwrap());
            assert!((got / exact - 1.0).abs() < 0.13, "{quantile}: {got}");
        }
        buckets.record(u32::MAX);
    }

    #[test]
    fn every_value_lies_below_the_edge_of_its_bucket() {
        for us in (0..1 << 20).step_by(7) {
            assert!(us < upper_edge_us(bucket_of(us)), "{us}");
            assert!(us + us / 7 + FLOOR_US >= upper_edge_us(bucket_of(us)), "{us}");
        }
    }
}
