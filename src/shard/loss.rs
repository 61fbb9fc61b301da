//! How losses are spread: runs for the burst ratio of G.107, bursts and gaps of RFC 3611.
//!
//! Is told of each packet that was lost or discarded, by its place in the stream and in that
//! order; good packets cost nothing. Constant time and memory.

/// Where a stream's bad packets are: the lost and the discarded ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LossShape {
    bad: u64,
    /// Runs of one or more bad packets.
    runs: u64,
    /// One after the place of the last bad packet; 0 while there is none.
    after_last: u64,
    /// Packets and bad packets in bursts that are closed.
    burst_packets: u64,
    burst_bad: u64,
    /// The group that is open: where it began, and its bad packets. It becomes a burst, or a
    /// lone loss in a gap, once `GMIN` good ones have followed.
    group_from: u64,
    group_bad: u64,
}

impl LossShape {
    /// Takes in a bad packet at a place, counted from 0, after all before it.
    #[cold]
    pub(crate) fn push(&mut self, place: u64) {
        debug_assert!(place >= self.after_last, "bad packets come in order");
        let good_since = place - self.after_last;
        if self.group_bad > 0 && good_since >= GMIN {
            *self = self.closed();
        }
        if self.group_bad == 0 {
            self.group_from = place;
        }
        self.group_bad += 1;
        self.bad += 1;
        self.runs += u64::from(good_since > 0 || self.runs == 0);
        self.after_last = place + 1;
    }

    /// Bad packets so far.
    #[cfg(test)]
    pub(crate) fn bad(&self) -> u64 {
        self.bad
    }

    /// Runs of consecutive bad packets.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }

    /// The burst ratio over `total` packets: mean run of bad packets over what random loss would
    /// give (G.107 section 7.4); at least 1; `None` without a bad packet.
    pub(crate) fn burst_ratio(&self, total: u64) -> Option<f64> {
        let share = ratio(self.bad, total)?;
        let mean_run = ratio(self.bad, self.runs)?;
        Some((mean_run * (1.0 - share)).max(1.0))
    }

    /// Bad packets in bursts, percent of the packets in bursts (RFC 3611 section 4.7.2);
    /// 0 without a burst.
    pub(crate) fn burst_density(&self) -> f64 {
        let closed = self.closed();
        100.0 * ratio(closed.burst_bad, closed.burst_packets).unwrap_or(0.0)
    }

    /// Bad packets in gaps, percent of the packets in gaps (RFC 3611 section 4.7.2), of `total`
    /// packets in all.
    pub(crate) fn gap_density(&self, total: u64) -> f64 {
        let closed = self.closed();
        let in_gaps = total.saturating_sub(closed.burst_packets);
        100.0 * ratio(self.bad - closed.burst_bad, in_gaps).unwrap_or(0.0)
    }

    /// The same with the open group closed, as the good packets that RFC 3611 adds at the end
    /// of a session would close it.
    fn closed(&self) -> Self {
        let mut closed = *self;
        // A lone bad packet belongs to the gap around it.
        if closed.group_bad > 1 {
            closed.burst_packets += closed.after_last - closed.group_from;
            closed.burst_bad += closed.group_bad;
        }
        closed.group_bad = 0;
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
        let fates = (0..).zip(pattern.bytes());
        fates.filter(|&(_, fate)| fate != b'1').for_each(|(place, _)| shape.push(place));
        shape
    }

    fn q8(percent: f64) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        let eighths = (percent * 2.56 + 1e-9) as u32;
        eighths.min(255)
    }

    fn densities(pattern: &str) -> (u32, u32) {
        let (shape, total) = (shape(pattern), pattern.len() as u64);
        (q8(shape.burst_density()), q8(shape.gap_density(total)))
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
        assert_eq!(periodic.burst_ratio(100), Some(1.0));
        let run = shape(&format!("{}{}{}", "1".repeat(45), "0".repeat(10), "1".repeat(45)));
        assert!((run.burst_ratio(100).unwrap() - 9.0).abs() < 1e-12);
        assert_eq!(shape("111").burst_ratio(3), None);
    }
}
