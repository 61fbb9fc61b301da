//! Sparse histograms of fixed buckets: two of them add up to exactly what one over both samples
//! would have been. They hold whole numbers and know no unit.

use std::collections::BTreeMap;

use super::varint;

/// Counts by bucket, with the exact number and sum of the samples.
///
/// Values below 512 have a bucket each; above, each octave has 256, so that a quantile is at
/// most 0.4 % above the sample that it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: BTreeMap<u16, u64>,
    count: u64,
    sum: u64,
}

impl Histogram {
    /// Takes in a sample.
    pub fn record(&mut self, value: u64) {
        *self.buckets.entry(bucket(value)).or_default() += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (&bucket, &count) in &other.buckets {
            *self.buckets.entry(bucket).or_default() += count;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many samples there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Sum of the samples, exact.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The upper edge of the bucket that the sample of rank `ceil(percent / 100 × count)` is in;
    /// `None` without samples.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = (self.count.saturating_mul(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().find(|&(_, &count)| {
            seen += count;
            seen >= rank
        });
        found.map(|(&bucket, _)| upper_edge(bucket))
    }

    /// Writes it: number of buckets, sum, then distance to the bucket before and count of each.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        varint::write(to, self.buckets.len() as u64);
        if self.buckets.is_empty() {
            return;
        }
        varint::write(to, self.sum);
        let mut last = 0;
        for (&bucket, &count) in &self.buckets {
            varint::write(to, u64::from(bucket - last));
            varint::write(to, count);
            last = bucket;
        }
    }

    /// Reads what [`write`](Self::write) wrote; `None` if it is something else.
    pub(super) fn read(from: &mut &[u8]) -> Option<Self> {
        let buckets = varint::read(from)?;
        let mut histogram = Self::default();
        if buckets == 0 {
            return Some(histogram);
        }
        histogram.sum = varint::read(from)?;
        let mut bucket = 0_u16;
        for _ in 0..buckets {
            bucket = bucket.checked_add(u16::try_from(varint::read(from)?).ok()?)?;
            let count = varint::read(from)?;
            histogram.count = histogram.count.checked_add(count)?;
            histogram.buckets.insert(bucket, count);
        }
        Some(histogram)
    }
}

/// The bucket of a value: its number below [`LINEAR`], then its eight bits after the first and
/// how far they are shifted.
fn bucket(value: u64) -> u16 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(LINEAR_BITS);
    let bucket = u64::from(shift) * (LINEAR / 2) + (value >> shift);
    // 55 shifts of 256 and 512: below 15,000.
    u16::try_from(bucket).unwrap_or(u16::MAX)
}

/// The highest value of a bucket.
fn upper_edge(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < LINEAR {
        return bucket;
    }
    let shift = bucket / (LINEAR / 2) - 1;
    let first = (bucket - shift * (LINEAR / 2)) << shift;
    first + ((1 << shift) - 1)
}

/// Values below this have a bucket each.
const LINEAR: u64 = 1 << LINEAR_BITS;
const LINEAR_BITS: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_no_gaps_and_are_narrow() {
        let mut last = 0;
        for value in 0..200_000_u64 {
            let edge = upper_edge(bucket(value));
            assert!(edge >= value && (edge - value) * 256 <= value.max(256), "{value} in {edge}");
            assert!(bucket(value) == last || bucket(value) == last + 1, "{value}");
            last = bucket(value);
        }
        assert_eq!(upper_edge(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn parts_add_up_to_the_whole_and_survive_writing() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut whole, mut sum) = (Histogram::default(), Histogram::default());
        for _ in 0..50 {
            let mut part = Histogram::default();
            for _ in 0..random.u64(0..100) {
                let highest = 1 << random.u32(1..40);
                let value = random.u64(0..highest);
                part.record(value);
                whole.record(value);
            }
            let mut bytes = Vec::new();
            part.write(&mut bytes);
            sum.merge(&Histogram::read(&mut &bytes[..]).unwrap());
        }
        assert_eq!(sum, whole);
        assert_eq!(Histogram::default().percentile(50), None);
    }

    #[test]
    fn what_is_not_a_histogram_is_refused() {
        for bytes in [&b""[..], &[2, 1, 1], &[1, 0xFF], &[1, 5, 0xFF, 0xFF, 0xFF, 0x7F, 1]] {
            assert_eq!(Histogram::read(&mut { bytes }), None, "{bytes:?}");
        }
    }
}
