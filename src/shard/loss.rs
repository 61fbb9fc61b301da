//! How losses are spread: runs for the burst ratio of G.107, bursts and gaps of RFC 3611.
//!
//! Takes one packet's fate after another, in order of sequence, once it is settled. Constant
//! time and memory.

/// Counters over the fates of a stream's packets. "Bad" is lost or discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LossShape {
    total: u64,
    bad: u64,
    /// Runs of one or more bad packets.
    runs: u64,
    in_run: bool,
    /// Packets and bad packets in bursts that are closed.
    burst_packets: u64,
    burst_bad: u64,
    /// The group that is open: from its first bad packet to its last, and the good packets
    /// since. It becomes a burst, or a lone loss in a gap, once `GMIN` good ones have passed.
    group_packets: u64,
    group_bad: u64,
    good_since: u64,
}

impl LossShape {
    /// Takes in the next packet's fate.
    #[inline]
    pub(crate) fn push(&mut self, played: bool) {
        self.total += 1;
        if played {
            self.good_since += 1;
            self.in_run = false;
        } else {
            self.push_bad();
        }
    }

    /// Packets taken in.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Bad ones among them.
    #[cfg(test)]
    pub(crate) const fn bad(&self) -> u64 {
        self.bad
    }

    /// Runs of consecutive bad packets.
    #[cfg(test)]
    pub(crate) const fn runs(&self) -> u64 {
        self.runs
    }

    /// The burst ratio: mean run of bad packets over what random loss would give
    /// (G.107 section 7.4); at least 1; `None` without a bad packet.
    pub(crate) fn burst_ratio(&self) -> Option<f64> {
        let share = ratio(self.bad, self.total)?;
        let mean_run = ratio(self.bad, self.runs)?;
        Some((mean_run * (1.0 - share)).max(1.0))
    }

    /// Bad packets in bursts, percent of the packets in bursts (RFC 3611 section 4.7.2);
    /// 0 without a burst.
    pub(crate) fn burst_density(&self) -> f64 {
        let closed = self.closed();
        100.0 * ratio(closed.burst_bad, closed.burst_packets).unwrap_or(0.0)
    }

    /// Bad packets in gaps, percent of the packets in gaps (RFC 3611 section 4.7.2).
    pub(crate) fn gap_density(&self) -> f64 {
        let closed = self.closed();
        let bad = self.bad - closed.burst_bad;
        100.0 * ratio(bad, self.total - closed.burst_packets).unwrap_or(0.0)
    }

    #[cold]
    fn push_bad(&mut self) {
        if self.group_bad > 0 && self.good_since >= GMIN {
            *self = self.closed();
        }
        if self.group_bad > 0 {
            self.group_packets += self.good_since;
        }
        self.group_packets += 1;
        self.group_bad += 1;
        self.good_since = 0;
        self.bad += 1;
        self.runs += u64::from(!self.in_run);
        self.in_run = true;
    }

    /// The same with the open group closed, as the good packets that RFC 3611 adds at the end
    /// of a session would close it.
    fn closed(&self) -> Self {
        let mut closed = *self;
        // A lone bad packet belongs to the gap around it.
        if closed.group_bad > 1 {
            closed.burst_packets += closed.group_packets;
            closed.burst_bad += closed.group_bad;
        }
        (closed.group_packets, closed.group_bad) = (0, 0);
        closed
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of packets stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Good packets that separate two bursts (RFC 3611 section 4.7.2 recommends 16).
const GMIN: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// '1' played, anything else lost or discarded.
    fn shape(pattern: &str) -> LossShape {
        let mut shape = LossShape::default();
        pattern.bytes().for_each(|fate| shape.push(fate == b'1'));
        shape
    }

    fn q8(percent: f64) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        let eighths = (percent * 2.56 + 1e-9) as u32;
        eighths.min(255)
    }

    fn densities(pattern: &str) -> (u32, u32) {
        (q8(shape(pattern).burst_density()), q8(shape(pattern).gap_density()))
    }

    #[test]
    fn rfc_3611_example() {
        let pattern = "11110111111111111111111X111X1011110111111111111111111X111111111";
        assert_eq!(densities(pattern), (85, 10));
    }

    #[test]
    fn vectors_of_the_definition() {
        let good = |count: usize| "1".repeat(count);
        assert_eq!(densities(&good(100)), (0, 0));
        assert_eq!(densities(&format!("{}0{}", good(50), good(49))), (0, 2));
        assert_eq!(densities(&format!("{}0{}0{}", good(20), good(16), good(62))), (0, 5));
        assert_eq!(densities(&format!("{}0{}0{}", good(20), good(15), good(63))), (30, 0));
        assert_eq!(densities(&format!("{}00{}", good(40), good(58))), (255, 0));
        assert_eq!(densities(&format!("0{}0", good(98))), (0, 5));
        assert_eq!(densities(&format!("011110{}", good(94))), (85, 0));
        assert_eq!(densities(&format!("{}0", good(19)).repeat(10)), (0, 12));
        assert_eq!(densities(&format!("{}0", good(9)).repeat(10)), (28, 0));
        assert_eq!(densities(&"0".repeat(20)), (255, 0));
    }

    #[test]
    fn burst_ratio_is_one_for_periodic_loss_and_the_run_for_one_run() {
        let periodic = shape(&format!("{}0", "1".repeat(9)).repeat(10));
        assert_eq!(periodic.burst_ratio(), Some(1.0));
        let run = shape(&format!("{}{}{}", "1".repeat(45), "0".repeat(10), "1".repeat(45)));
        assert!((run.burst_ratio().unwrap() - 9.0).abs() < 1e-12);
        assert_eq!(shape("111").burst_ratio(), None);
    }
}
