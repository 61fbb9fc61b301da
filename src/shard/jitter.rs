//! Interarrival jitter of one stream (RFC 3550 appendix A.8), in order of arrival.
//!
//! It knows nothing of loss, talkspurts or jitter buffers.

use crate::time::{NANOS_PER_SEC, Timestamp};

/// The estimate, and what it comes from.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Jitter {
    last_arrival: Timestamp,
    /// Nanoseconds of one tick of the RTP clock, with 32 bits of fraction: 8000 Hz, and every
    /// clock that divides 10^9, without any error.
    tick_nanos_q32: u64,
    /// The A.8 estimate, nanoseconds × 16, as A.8's integer form keeps it.
    estimate_x16: u64,
    sum_us: u64,
    last_rtp_time: u32,
    samples: u32,
    max_us: u32,
    /// Packet interval in RTP clock ticks; 0 while unknown.
    ptime_ticks: u32,
}

impl Jitter {
    /// Starts at a stream's first packet, which gives no sample.
    pub(crate) const fn new(arrival: Timestamp, rtp_time: u32, clock_rate: u32) -> Self {
        Self {
            last_arrival: arrival,
            last_rtp_time: rtp_time,
            tick_nanos_q32: tick_nanos_q32(clock_rate),
            estimate_x16: 0,
            samples: 0,
            sum_us: 0,
            max_us: 0,
            ptime_ticks: 0,
        }
    }

    /// How long after the last packet this one came, nanoseconds.
    #[inline]
    pub(crate) const fn since_last_nanos(&self, arrival: Timestamp) -> i64 {
        arrival.nanos_from(self.last_arrival)
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
        self.since_last_nanos(arrival).saturating_sub(sent_nanos)
    }

    /// Takes in the next speech packet, with its [deviation](Self::deviation_nanos), and gives back
    /// the estimate, microseconds.
    #[inline]
    pub(crate) fn arrive(&mut self, arrival: Timestamp, rtp_time: u32, deviation: i64) -> u32 {
        self.last_arrival = arrival;
        self.last_rtp_time = rtp_time;
        let change = deviation.unsigned_abs().min(DEVIATION_MAX_NANOS);
        self.estimate_x16 = self.estimate_x16 + change - ((self.estimate_x16 + 8) >> 4);
        let jitter_us = self.jitter_us();
        self.samples += 1;
        self.sum_us += u64::from(jitter_us);
        self.max_us = self.max_us.max(jitter_us);
        jitter_us
    }

    /// Goes on from a packet that says nothing about the network: one after a jump of the time
    /// stamp, of a new clock or of a restarted sender. The estimate stays.
    pub(crate) fn reanchor(&mut self, arrival: Timestamp, rtp_time: u32, clock_rate: u32) {
        (self.last_arrival, self.last_rtp_time) = (arrival, rtp_time);
        self.tick_nanos_q32 = tick_nanos_q32(clock_rate);
    }

    /// Takes in that the next packet in sequence has this time stamp. The shortest step between two
    /// of them is the packet interval; longer ones are silence.
    #[inline]
    pub(crate) fn note_step(&mut self, rtp_time: u32) {
        let step = rtp_time.wrapping_sub(self.last_rtp_time);
        if step != 0 && (self.ptime_ticks == 0 || step < self.ptime_ticks) {
            self.ptime_ticks = step;
        }
    }

    /// Forgets the packet interval: another clock counts from here on.
    pub(crate) const fn forget_steps(&mut self) {
        self.ptime_ticks = 0;
    }

    /// Packet interval in RTP clock ticks; 0 while unknown.
    pub(crate) const fn ptime_ticks(&self) -> u32 {
        self.ptime_ticks
    }

    /// How many packets gave a sample.
    #[inline]
    pub(crate) const fn samples(&self) -> u32 {
        self.samples
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

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
            jitter.arrive(arrival, rtp_time, jitter.deviation_nanos(arrival, rtp_time));
            assert_eq!(jitter.jitter_ticks(), expected, "at {index}");
        }
    }
}
