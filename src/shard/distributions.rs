//! The wide distributions of one shard: fine enough for any quantile, exactly mergeable.
//!
//! A shard fills one set while control merges the one before; they change places by pointer.

use hdrhistogram::Histogram;

/// One set of distributions; all in microseconds, three significant digits, 1 µs to 10 s.
#[derive(Clone, Debug)]
pub struct Distributions {
    /// The jitter estimate of RFC 3550 appendix A.8 after each speech packet.
    pub jitter_us: Histogram<u64>,
    /// Round-trip times from RTCP reports.
    pub rtt_us: Histogram<u64>,
}

impl Distributions {
    /// An empty set. All the memory it will ever have, 240 KiB, is taken here.
    #[must_use]
    pub fn new() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1, HIGHEST_US, SIGNIFICANT_DIGITS)
                .expect("constant bounds that the type allows")
        };
        Self { jitter_us: empty(), rtt_us: empty() }
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &Self) {
        // The same bounds on both sides: nothing to grow, nothing out of range.
        let _ = self.jitter_us.add(&other.jitter_us);
        let _ = self.rtt_us.add(&other.rtt_us);
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.jitter_us.reset();
        self.rtt_us.reset();
    }
}

impl Default for Distributions {
    fn default() -> Self {
        Self::new()
    }
}

/// Longer than any delay that still is a call; what is beyond counts as this.
const HIGHEST_US: u64 = 10_000_000;

const SIGNIFICANT_DIGITS: u8 = 3;
