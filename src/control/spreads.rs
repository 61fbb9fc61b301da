//! The wide distributions of all shards, summed up for who looks: of everything, by codec and by
//! trunk.
//!
//! What is merged is counts, so that a quantile of several shards is that of all their packets.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    id::Trunk,
    shard::distributions::{Distributions, Group},
    wire::codec::Codec,
};

/// Distributions since the start.
#[derive(Clone, Debug, Default)]
pub struct Spreads {
    /// Of all packets.
    pub all: Spread,
    /// Of each codec's, in the order in which they came.
    pub by_codec: Vec<(Codec, Spread)>,
    /// Of those from each trunk; `None` for trunks past the bound.
    pub by_trunk: Vec<(Option<Trunk>, Spread)>,
    /// Round-trip times.
    pub rtt_us: Distribution,
}

/// How much packets varied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// The jitter estimate of RFC 3550 appendix A.8 after each packet.
    pub jitter_us: Distribution,
    /// How much longer than the fastest each packet was under way.
    pub variation_us: Distribution,
}

/// Count and quantiles of a distribution; microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Distribution {
    /// Samples.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Highest.
    pub max: u64,
    /// How many samples are no higher than each of [`BOUNDS_US`]; one between two values that the
    /// histogram tells apart (1 % at most) may count above.
    #[serde(skip)]
    pub up_to: [u64; BOUNDS_US.len()],
}

/// Bounds of buckets: from a packet on time to what no jitter buffer holds.
pub const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000,
];

/// What a codec is called where distributions are told apart by it.
#[must_use]
pub fn codec_name(codec: Codec) -> String {
    codec.name().unwrap_or("unknown").to_owned()
}

/// What a trunk is called there.
#[must_use]
pub fn trunk_name(trunk: Option<Trunk>) -> String {
    trunk.map_or_else(|| "other".to_owned(), |trunk| trunk.to_string())
}

impl Spreads {
    /// Sums distributions up.
    #[must_use]
    pub fn of(distributions: &Distributions) -> Self {
        let groups = distributions.groups();
        Self {
            all: Spread::of(groups.iter()),
            by_codec: by(groups, |group| group.key.codec),
            by_trunk: by(groups, |group| group.key.trunk),
            rtt_us: Distribution::of(&distributions.rtt_us),
        }
    }
}

fn by<K: PartialEq>(groups: &[Group], key: impl Fn(&Group) -> K) -> Vec<(K, Spread)> {
    let mut keys = Vec::new();
    for group in groups {
        let key = key(group);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let of = |wanted: K| {
        let spread = Spread::of(groups.iter().filter(|&group| key(group) == wanted));
        (wanted, spread)
    };
    keys.into_iter().map(of).collect()
}

impl Spread {
    fn of<'a>(groups: impl Iterator<Item = &'a Group> + Clone) -> Self {
        Self {
            jitter_us: sum(groups.clone().map(|group| &group.jitter_us)),
            variation_us: sum(groups.map(|group| &group.variation_us)),
        }
    }
}

fn sum<'a>(mut histograms: impl Iterator<Item = &'a Histogram<u64>>) -> Distribution {
    let Some(first) = histograms.next() else { return Distribution::default() };
    let mut sum = first.clone();
    for histogram in histograms {
        // The same bounds: nothing is out of range.
        let _ = sum.add(histogram);
    }
    Distribution::of(&sum)
}

fn up_to(histogram: &Histogram<u64>) -> [u64; BOUNDS_US.len()] {
    let mut counts = [0; BOUNDS_US.len()];
    for value in histogram.iter_recorded() {
        let highest = value.value_iterated_to();
        let place = BOUNDS_US.partition_point(|bound| *bound < highest);
        counts.iter_mut().skip(place).for_each(|sum| *sum += value.count_since_last_iteration());
    }
    counts
}

impl Distribution {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p95: histogram.value_at_quantile(0.95),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
            up_to: up_to(histogram),
        }
    }
}
