//! A distribution of durations in a few fixed buckets, narrow for short ones and wide for long.
//!
//! It takes no memory beyond its own and forgets nothing: when a bucket is full all are halved,
//! and from then on every second value counts.

/// Microseconds in `N` buckets: four of 128 µs, then four an octave, the last without an end.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct LogBuckets<const N: usize> {
    counts: [u16; N],
    /// One of so many values counts, as a power of two.
    thinning: u8,
}

impl<const N: usize> LogBuckets<N> {
    pub(crate) const fn new() -> Self {
        Self { counts: [0; N], thinning: 0 }
    }

    /// Takes in a value; `ordinal` counts the values.
    #[inline]
    pub(crate) fn record(&mut self, us: u32, ordinal: u32) {
        if ordinal & ((1 << self.thinning) - 1) != 0 {
            return;
        }
        let count = &mut self.counts[bucket_of::<N>(us)];
        *count += 1;
        if *count == u16::MAX {
            self.thin();
        }
    }

    /// Reads the bucket of a value; see [`super::stream::Stream::touched`].
    #[inline]
    pub(crate) fn touched(&self, us: u32) -> u16 {
        self.counts[bucket_of::<N>(us)]
    }

    /// The value below which this share (0 to 1) of the values lie, taken to be evenly spread
    /// within their bucket and nowhere above `max_us`; 0 if there is none.
    pub(crate) fn quantile_us(&self, share: f64, max_us: u32) -> u32 {
        let total: u32 = self.counts.iter().copied().map(u32::from).sum();
        let rank = share * f64::from(total);
        let mut below = 0.0;
        for (bucket, &count) in (0..).zip(&self.counts) {
            let count = f64::from(count);
            if count > 0.0 && below + count >= rank {
                let (from, to) = (edge_us(bucket), f64::from(max_us).min(self.upper_us(bucket)));
                let value = from + (to - from) * ((rank - below) / count).max(0.0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates"
                )]
                let us = value.round() as u32;
                return us.min(max_us);
            }
            below += count;
        }
        0
    }

    fn upper_us(&self, bucket: u32) -> f64 {
        if bucket as usize + 1 == N { f64::INFINITY } else { edge_us(bucket + 1) }
    }

    #[cold]
    fn thin(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.thinning += 1;
    }
}

#[inline]
fn bucket_of<const N: usize>(us: u32) -> usize {
    let units = us >> UNIT_BITS;
    // Up to two octaves from 0 the buckets are of one width.
    let octave = (units | SUB_BUCKETS).ilog2() - SUB_BITS;
    let bucket = (octave << SUB_BITS) + (units >> octave);
    (bucket as usize).min(N - 1)
}

/// The lower edge of a bucket.
fn edge_us(bucket: u32) -> f64 {
    let octave = (bucket >> SUB_BITS).saturating_sub(1);
    let units = u64::from(bucket - (octave << SUB_BITS)) << octave;
    #[expect(clippy::cast_precision_loss, reason = "at most 2^32")]
    let edge = (units << UNIT_BITS) as f64;
    edge
}

/// Widths below 128 µs tell nothing of a network.
const UNIT_BITS: u32 = 7;
const SUB_BITS: u32 = 2;
const SUB_BUCKETS: u32 = 1 << SUB_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    /// The width of the bucket that holds a value, the last one left out.
    fn width_us(us: u32) -> f64 {
        let bucket = u32::try_from(bucket_of::<64>(us)).unwrap();
        edge_us(bucket + 1) - edge_us(bucket)
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for us in (0..1 << 21).step_by(7) {
            let bucket = u32::try_from(bucket_of::<64>(us)).unwrap();
            let range = edge_us(bucket)..edge_us(bucket + 1);
            assert!(range.contains(&f64::from(us)), "{us} in {range:?}");
            assert!(width_us(us) <= f64::from(us / 4).max(128.0), "{us}: {}", width_us(us));
        }
        assert_eq!(bucket_of::<37>(u32::MAX), 36);
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_exact_ones() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (scale, power) = (10.0_f64.powf(2.0 + 3.5 * rng.f64()), rng.i32(1..6));
            let count = rng.u32(1..5000);
            let mut buckets = LogBuckets::<49>::new();
            let mut exact = Vec::new();
            for ordinal in 0..count {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small"
                )]
                let us = (scale * rng.f64().powi(power)) as u32;
                buckets.record(us, ordinal);
                exact.push(us);
            }
            exact.sort_unstable();
            let max = *exact.last().unwrap();
            for share in [0.5, 0.95, 0.99] {
                let rank = (share * f64::from(count)).ceil();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small"
                )]
                let truth = exact[rank as usize - 1];
                let got = buckets.quantile_us(share, max);
                let error = (f64::from(got) - f64::from(truth)).abs();
                assert!(error <= width_us(truth) + 1.0, "seed {seed}: {got}, not {truth}");
            }
        }
    }

    #[test]
    fn early_values_weigh_as_much_as_late_ones() {
        let mut buckets = LogBuckets::<49>::new();
        // A million of 1 ms, then a million of 30 ms.
        for ordinal in 0..2_000_000 {
            buckets.record(if ordinal < 1_000_000 { 1000 } else { 30_000 }, ordinal);
        }
        assert!((900..1100).contains(&buckets.quantile_us(0.49, 30_000)));
        assert!((28_000..=30_000).contains(&buckets.quantile_us(0.51, 30_000)));
    }

    #[test]
    fn what_is_past_the_last_edge_lies_below_the_highest() {
        let mut buckets = LogBuckets::<37>::new();
        assert_eq!(buckets.quantile_us(0.5, 0), 0);
        (0..100).for_each(|ordinal| buckets.record(2_000_000 + ordinal, ordinal));
        let median = buckets.quantile_us(0.5, 2_000_099);
        assert!((131_072..=2_000_099).contains(&median), "{median}");
    }
}
