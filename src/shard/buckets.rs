//! Two distributions of durations in a few fixed buckets, narrow for short ones and wide for long.
//!
//! They take no memory beyond their own and forget nothing: when a bucket is full all are halved,
//! and from then on every second packet counts.

/// How the delay variation and the jitter of one stream are spread, in microseconds: four buckets
/// of 128 µs, then four an octave, the last without an end.
///
/// Both are mostly of the same order, so that their buckets of a few octaves stand in one cache
/// line: below 4 ms in the first, to 65 ms in the second, above in the third.
#[derive(Clone, Debug)]
#[repr(C, align(4))]
pub(crate) struct Spreads {
    counts: [u16; COUNTS],
}

/// One of so many packets counts in [`Spreads`], as a power of two. Every packet needs it, and it
/// would lie in a line behind the buckets that is of no other use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Thinning(u8);

/// One of the two distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// To 0.9 s.
    Variation,
    /// To 131 ms: with more jitter the exact figure is of no use.
    Jitter,
}

impl Spreads {
    pub(crate) const fn new() -> Self {
        Self { counts: [0; COUNTS] }
    }

    /// Takes in what one packet gave, microseconds; `ordinal` counts the packets.
    #[inline]
    pub(crate) fn record(
        &mut self,
        variation_us: u32,
        jitter_us: u32,
        ordinal: u32,
        thinning: &mut Thinning,
    ) {
        if ordinal & ((1 << thinning.0) - 1) != 0 {
            return;
        }
        let mut is_full = false;
        for place in [Spread::Variation.place_of(variation_us), Spread::Jitter.place_of(jitter_us)]
        {
            self.counts[place] += 1;
            is_full |= self.counts[place] == u16::MAX;
        }
        if is_full {
            self.halve();
            thinning.0 += 1;
        }
    }

    /// Reads the buckets of two values; see [`super::stream::Stream::touched_buckets`].
    #[inline]
    pub(crate) fn touched(&self, variation_us: u32, jitter_us: u32) -> u16 {
        self.counts[Spread::Variation.place_of(variation_us)]
            ^ self.counts[Spread::Jitter.place_of(jitter_us)]
    }

    /// The value below which this share (0 to 1) of the values lie, taken to be evenly spread
    /// within their bucket and nowhere above `max_us`; 0 if there is none.
    pub(crate) fn quantile_us(&self, of: Spread, share: f64, max_us: u32) -> u32 {
        let buckets = of.buckets();
        let count_of = |bucket: usize| u32::from(self.counts[of.place(bucket)]);
        let total: u32 = (0..buckets).map(count_of).sum();
        let rank = share * f64::from(total);
        let mut below = 0.0;
        for (edge, bucket) in (0..).zip(0..buckets) {
            let count = f64::from(count_of(bucket));
            if count > 0.0 && below + count >= rank {
                let upper = if bucket + 1 == buckets { f64::INFINITY } else { edge_us(edge + 1) };
                let (from, to) = (edge_us(edge), f64::from(max_us).min(upper));
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

    #[cold]
    fn halve(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
    }
}

impl Spread {
    const fn buckets(self) -> usize {
        match self {
            Self::Variation => VARIATION_BUCKETS,
            Self::Jitter => JITTER_BUCKETS,
        }
    }

    #[inline]
    fn place_of(self, us: u32) -> usize {
        self.place(bucket_of(us).min(self.buckets() - 1))
    }

    /// Where a bucket is among the counts: sixteen of one distribution, then as many of the other.
    #[inline]
    const fn place(self, bucket: usize) -> usize {
        let group = bucket / GROUP * 2 + (self as usize);
        group * GROUP + bucket % GROUP
    }
}

#[inline]
fn bucket_of(us: u32) -> usize {
    let units = us >> UNIT_BITS;
    // Up to two octaves from 0 the buckets are of one width.
    let octave = (units | SUB_BUCKETS).ilog2() - SUB_BITS;
    ((octave << SUB_BITS) + (units >> octave)) as usize
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

const VARIATION_BUCKETS: usize = 48;
const JITTER_BUCKETS: usize = 37;

/// Buckets of each distribution in one cache line.
const GROUP: usize = 16;
const COUNTS: usize = Spread::Jitter.place(JITTER_BUCKETS - 1) + 1;

const _: () = assert!(Spread::Variation.place(VARIATION_BUCKETS - 1) < COUNTS);

#[cfg(test)]
mod tests {
    use super::*;

    /// The width of the bucket that holds a value, the last one left out.
    fn width_us(us: u32) -> f64 {
        let bucket = u32::try_from(bucket_of(us)).unwrap();
        edge_us(bucket + 1) - edge_us(bucket)
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for us in (0..1 << 21).step_by(7) {
            let bucket = u32::try_from(bucket_of(us)).unwrap();
            let range = edge_us(bucket)..edge_us(bucket + 1);
            assert!(range.contains(&f64::from(us)), "{us} in {range:?}");
            assert!(width_us(us) <= f64::from(us / 4).max(128.0), "{us}: {}", width_us(us));
        }
        let last = Spread::Jitter.place(JITTER_BUCKETS - 1);
        assert_eq!(Spread::Jitter.place_of(u32::MAX), last);
    }

    #[test]
    fn every_bucket_has_a_place_of_its_own() {
        let places = |of: Spread| (0..of.buckets()).map(move |bucket| of.place(bucket));
        let mut all: Vec<_> = places(Spread::Variation).chain(places(Spread::Jitter)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), VARIATION_BUCKETS + JITTER_BUCKETS);
        assert_eq!(all.last(), Some(&(COUNTS - 1)));
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_exact_ones() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (scale, power) = (10.0_f64.powf(2.0 + 3.5 * rng.f64()), rng.i32(1..6));
            let count = rng.u32(1..5000);
            let (mut spreads, mut thinning) = (Spreads::new(), Thinning::default());
            let mut exact = Vec::new();
            for ordinal in 0..count {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small"
                )]
                let us = (scale * rng.f64().powi(power)) as u32;
                spreads.record(us, us / 8, ordinal, &mut thinning);
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
                for (of, truth, max) in
                    [(Spread::Variation, truth, max), (Spread::Jitter, truth / 8, max / 8)]
                {
                    let got = spreads.quantile_us(of, share, max);
                    let error = (f64::from(got) - f64::from(truth)).abs();
                    assert!(error <= width_us(truth) + 1.0, "seed {seed}: {got}, not {truth}");
                }
            }
        }
    }

    #[test]
    fn early_values_weigh_as_much_as_late_ones() {
        let (mut spreads, mut thinning) = (Spreads::new(), Thinning::default());
        // A million of 1 ms, then a million of 30 ms.
        for ordinal in 0..2_000_000 {
            let us = if ordinal < 1_000_000 { 1000 } else { 30_000 };
            spreads.record(us, us, ordinal, &mut thinning);
        }
        for of in [Spread::Variation, Spread::Jitter] {
            assert!((900..1100).contains(&spreads.quantile_us(of, 0.49, 30_000)));
            assert!((28_000..=30_000).contains(&spreads.quantile_us(of, 0.51, 30_000)));
        }
    }

    #[test]
    fn what_is_past_the_last_edge_lies_below_the_highest() {
        let mut spreads = Spreads::new();
        assert_eq!(spreads.quantile_us(Spread::Jitter, 0.5, 0), 0);
        let mut thinning = Thinning::default();
        (0..100).for_each(|ordinal| spreads.record(0, 2_000_000 + ordinal, ordinal, &mut thinning));
        let median = spreads.quantile_us(Spread::Jitter, 0.5, 2_000_099);
        assert!((131_072..=2_000_099).contains(&median), "{median}");
    }
}
