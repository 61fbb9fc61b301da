//! How losses are spread: runs for the burst ratio of G.107, bursts and gaps of RFC 3611.
//!
//! Is told of each packet that was lost or discarded, by its place in the stream and in that
//! order; good packets cost nothing, and never have to be remembered.

use super::report::{Bursts, RUN_LENGTHS, ratio};
use crate::time::Timestamp;

/// Where a stream's bad packets are: the lost and the discarded ones. Only a stream that has had
/// any has one of these.
///
/// Of times and places it keeps the lower bits. Who asks says what time it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossShape {
    groups: Groups,
    runs: Runs,
    marks: Marks,
}

/// Where bad packets were noticed of late, and what time it was; oldest first.
#[derive(Clone, Debug)]
struct Marks {
    /// The place of the newest one.
    newest: u32,
    marks: [Mark; MARKS_MAX],
}

/// When the packet before a place came.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// How far its place is behind the newest one's; [`FAR`] if it is of no more use.
    back: u16,
    /// The lower bits of the [`coarse`] time. It is asked for while the packet is in the window of
    /// the last 128, and those are less than 18 minutes.
    at: u16,
}

/// Runs that are over, by length. Random loss makes short ones, for which there is room.
#[derive(Clone, Debug, Default)]
struct Runs {
    short: [u32; SHORT_RUNS],
    /// From the next length on; with room for the longest that there was, and some more.
    long: Box<[u32]>,
}

impl LossShape {
    /// Notes the time of a bad packet, or of what may turn out to be one: `at` is when the packet
    /// before it came. Marks may come long before the packets' fate is settled.
    #[cold]
    pub(crate) fn mark(&mut self, place: u64, at: Timestamp) {
        self.marks.add(place, at);
    }

    /// Takes in a bad packet at a place, counted from 0, after all before it.
    #[cold]
    pub(crate) fn push(&mut self, place: u64, now: Timestamp) {
        let at = self.marks.time_of(place, now);
        if let Some(run) = self.groups.push(place, at) {
            self.runs.count(run);
        }
    }

    /// What it comes to with those bad packets whose fate is still open, as if the stream ended
    /// here.
    pub(crate) fn settled(&self, open: impl Iterator<Item = u64>, now: Timestamp) -> Settled {
        let mut settled =
            Settled { groups: self.groups, runs: [0; RUN_LENGTHS], ends_in_burst: false, now };
        let runs = self.runs.short.iter().chain(&self.runs.long);
        settled.runs.iter_mut().zip(runs).for_each(|(count, &of)| *count = of);
        for place in open {
            let run = settled.groups.push(place, self.marks.time_of(place, now));
            settled.add(run);
        }
        let run = settled.groups.close_run();
        settled.add(run);
        settled.ends_in_burst = settled.groups.close();
        settled
    }
}

impl Marks {
    fn add(&mut self, place: u64, at: Timestamp) {
        let ahead = lower(place).wrapping_sub(self.newest).cast_signed();
        let has_newest = self.marks[MARKS_MAX - 1].back != FAR;
        // Older ones are not marked: there is a mark a little before each that may be bad.
        if has_newest && ahead < GMIN.cast_signed() {
            return;
        }
        let by = u16::try_from(ahead).unwrap_or(FAR);
        self.marks.iter_mut().for_each(|mark| mark.back = mark.back.saturating_add(by));
        self.marks.rotate_left(1);
        self.marks[MARKS_MAX - 1] = Mark { back: 0, at: lower_16(coarse(at)) };
        self.newest = lower(place);
    }

    /// When the packet before a place came, or one a little earlier, by the [`coarse`] clock.
    fn time_of(&self, place: u64, now: Timestamp) -> u32 {
        let behind = self.newest.wrapping_sub(lower(place)).cast_signed();
        let is_before = |mark: &&Mark| mark.back != FAR && i32::from(mark.back) >= behind;
        let age = |mark: &Mark| lower_16(coarse(now)).wrapping_sub(mark.at);
        let age = self.marks.iter().rev().find(is_before).map(age).unwrap_or_default();
        coarse(now).wrapping_sub(age.into())
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { newest: 0, marks: [Mark { back: FAR, at: 0 }; MARKS_MAX] }
    }
}

impl Runs {
    fn count(&mut self, run: u32) {
        let index = length_of(run) - 1;
        let long = index.checked_sub(SHORT_RUNS);
        if let Some(long) = long.filter(|&long| long >= self.long.len()) {
            let room = (long + 1).next_power_of_two().clamp(LONG_RUNS_MIN, LONG_RUNS_MAX);
            let mut longer = vec![0; room];
            longer[..self.long.len()].copy_from_slice(&self.long);
            self.long = longer.into();
        }
        let count = match long {
            Some(long) => &mut self.long[long],
            None => &mut self.short[index],
        };
        *count = count.saturating_add(1);
    }
}

/// A [`LossShape`] with nothing open.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    groups: Groups,
    /// Runs by length, from 1 on; the last for all that are longer.
    pub(crate) runs: [u32; RUN_LENGTHS],
    /// Whether the last bad packet is in a burst.
    ends_in_burst: bool,
    now: Timestamp,
}

impl Settled {
    /// The burst ratio over `total` packets: mean run of bad packets over what random loss would
    /// give (G.107 section 7.4); at least 1; `None` without a bad packet.
    pub(crate) fn burst_ratio(&self, total: u64) -> Option<f64> {
        let bad = u64::from(self.groups.bad);
        let share = ratio(bad, total)?;
        let runs = self.runs.iter().copied().map(u64::from).sum();
        let mean_run = ratio(bad, runs)?;
        Some((mean_run * (1.0 - share)).max(1.0))
    }

    /// Bad packets in bursts, percent of the packets in bursts (RFC 3611 section 4.7.2);
    /// 0 without a burst.
    pub(crate) fn burst_density(&self) -> f64 {
        let groups = &self.groups;
        100.0 * ratio(groups.burst_bad.into(), groups.burst_packets.into()).unwrap_or(0.0)
    }

    /// Bad packets in gaps, percent of the packets in gaps (RFC 3611 section 4.7.2), of `total`
    /// packets in all.
    pub(crate) fn gap_density(&self, total: u64) -> f64 {
        let in_gaps = total.saturating_sub(self.groups.burst_packets.into());
        let bad = self.groups.bad - self.groups.burst_bad;
        100.0 * ratio(bad.into(), in_gaps).unwrap_or(0.0)
    }

    /// Its bursts, and the gaps around them, of `total` packets in all.
    pub(crate) fn bursts(&self, total: u64) -> Bursts {
        let groups = &self.groups;
        // A gap before each burst and one after the last, but none where there is no packet.
        let ends_bad = self.ends_in_burst && groups.after_last == lower(total);
        let no_gaps = u32::from(groups.begins_bad) + u32::from(ends_bad);
        Bursts {
            count: groups.bursts,
            packets: groups.burst_packets,
            gaps: groups.bursts.saturating_add(1).saturating_sub(no_gaps),
            longest: groups.longest,
            longest_at: self.time_of(groups.longest_at),
        }
    }

    /// The length of its longest run; 0 without one.
    pub(crate) fn longest_run(&self) -> u8 {
        let longest = self.runs.iter().rposition(|&count| count > 0).map_or(0, |at| at + 1);
        u8::try_from(longest).unwrap_or(u8::MAX)
    }

    /// When the [`coarse`] clock last showed a time, or will show it.
    const fn time_of(&self, at: u32) -> Timestamp {
        let ahead = at.wrapping_sub(coarse(self.now)).cast_signed();
        let units = (self.now.as_nanos() >> COARSE_BITS).saturating_add_signed(ahead as i64);
        Timestamp::from_nanos(units << COARSE_BITS)
    }

    fn add(&mut self, run: Option<u32>) {
        if let Some(run) = run {
            let count = &mut self.runs[length_of(run) - 1];
            *count = count.saturating_add(1);
        }
    }
}

/// Bad packets in runs, bursts and gaps, and the run and the burst that are still open.
///
/// Of places and of times these are the lower bits, whose differences are what counts: 2^32 packets
/// are two years and a half, 2^32 units of the clock as much.
#[derive(Clone, Copy, Debug, Default)]
struct Groups {
    bad: u32,
    /// Length of the open run.
    run: u32,
    /// One after the place of the last bad packet; 0 while there is none.
    after_last: u32,
    /// Bursts that are closed, and packets and bad packets in them.
    bursts: u32,
    burst_packets: u32,
    burst_bad: u32,
    /// The longest burst, packets, and when the packet before it came.
    longest: u32,
    longest_at: u32,
    /// The group that is open: where and when it began, and its bad packets. It becomes a burst,
    /// or a lone loss in a gap, once [`GMIN`] good ones have followed.
    group_from: u32,
    group_at: u32,
    group_bad: u32,
    /// Whether the first packet of all is in a burst.
    begins_bad: bool,
}

impl Groups {
    /// Takes in a bad packet; gives back the length of the run before it, if that is over.
    fn push(&mut self, place: u64, at: u32) -> Option<u32> {
        let good_since = lower(place).wrapping_sub(self.after_last);
        debug_assert!(good_since.cast_signed() >= 0 || self.bad == 0, "bad packets come in order");
        if self.group_bad > 0 && good_since >= GMIN {
            self.close();
        }
        if self.group_bad == 0 {
            (self.group_from, self.group_at) = (lower(place), at);
        }
        let ended = if good_since > 0 { self.close_run() } else { None };
        for count in [&mut self.run, &mut self.group_bad, &mut self.bad] {
            *count = count.saturating_add(1);
        }
        self.after_last = lower(place).wrapping_add(1);
        ended
    }

    /// Ends the open run and gives back its length.
    fn close_run(&mut self) -> Option<u32> {
        Some(core::mem::take(&mut self.run)).filter(|&run| run > 0)
    }

    /// Closes the open group, as the good packets that RFC 3611 adds at the end of a session
    /// would close it, and says whether it is a burst: a lone bad packet belongs to the gap around
    /// it.
    fn close(&mut self) -> bool {
        let is_burst = self.group_bad > 1;
        if is_burst {
            let packets = self.after_last.wrapping_sub(self.group_from);
            self.begins_bad |= self.bursts == 0 && self.group_from == 0;
            self.bursts = self.bursts.saturating_add(1);
            self.burst_packets = self.burst_packets.saturating_add(packets);
            self.burst_bad = self.burst_bad.saturating_add(self.group_bad);
            if packets > self.longest {
                (self.longest, self.longest_at) = (packets, self.group_at);
            }
        }
        self.group_bad = 0;
        is_burst
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower bits are the point")]
const fn lower(value: u64) -> u32 {
    value as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower bits are the point")]
const fn lower_16(value: u32) -> u16 {
    value as u16
}

/// The clock of bursts: units of 2^24 ns, 17 ms. A packet of speech lasts longer.
const fn coarse(at: Timestamp) -> u32 {
    lower(at.as_nanos() >> COARSE_BITS)
}

/// Where a run is counted, 1 to [`RUN_LENGTHS`].
fn length_of(run: u32) -> usize {
    usize::try_from(run).unwrap_or(RUN_LENGTHS).clamp(1, RUN_LENGTHS)
}

/// Good packets that separate two bursts (RFC 3611 section 4.7.2 recommends 16).
pub(crate) const GMIN: u32 = 16;

/// A burst begins [`GMIN`] packets after the one before at the earliest, so that so many begin
/// among the 128 packets whose fate is open.
const MARKS_MAX: usize = 9;

/// Too far to say how far.
const FAR: u16 = u16::MAX;

/// Lengths of runs that need no memory of their own. At a random loss of 5 % six runs in a million
/// are longer.
const SHORT_RUNS: usize = 4;

/// Lengths of runs that memory is taken for at once.
const LONG_RUNS_MIN: usize = 4;
const LONG_RUNS_MAX: usize = RUN_LENGTHS - SHORT_RUNS;

const COARSE_BITS: u32 = 24;

// The memory that `limits` states for a stream with loss counts on this.
const _: () = assert!(size_of::<LossShape>() <= 120);

#[cfg(test)]
pub(crate) mod tests {
    use fastrand::Rng;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    /// '1' played, anything else lost or discarded.
    fn shape(pattern: &str) -> Settled {
        let mut shape = LossShape::default();
        let fates = (0..).zip(pattern.bytes());
        fates.filter(|&(_, fate)| fate != b'1').for_each(|(place, _)| shape.push(place, NOW));
        shape.settled(core::iter::empty(), NOW)
    }

    /// n × 256 / d, cut off, as the reports of RFC 3611 carry a share.
    fn eighths(percent: f64) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        let eighths = (percent * 2.56 + 1e-9) as u32;
        eighths.min(255)
    }

    /// Burst and gap density, mean burst and gap in packets × 1000, of a pattern.
    fn figures(pattern: &str) -> (u32, u32, u32, u32) {
        let (shape, total) = (shape(pattern), pattern.len() as u64);
        let Bursts { count, packets, gaps, .. } = shape.bursts(total);
        let in_gaps = u32::try_from(total).unwrap() - packets;
        let mean = |packets: u32, of: u32| (packets * 1000).checked_div(of).unwrap_or(0);
        let densities = (eighths(shape.burst_density()), eighths(shape.gap_density(total)));
        (densities.0, densities.1, mean(packets, count), mean(in_gaps, gaps))
    }

    /// The lengths of the runs, shortest first.
    fn runs(pattern: &str) -> Vec<usize> {
        let lengths = (1..).zip(shape(pattern).runs);
        lengths.flat_map(|(length, count)| vec![length; count as usize]).collect()
    }

    fn good(count: usize) -> String {
        "1".repeat(count)
    }

    #[test]
    fn rfc_3611_example() {
        let pattern = "11110111111111111111111X111X1011110111111111111111111X111111111";
        assert_eq!(figures(pattern), (85, 10, 12_000, 25_500));
        assert_eq!(runs(pattern), [1; 6]);
        assert_eq!(shape(pattern).bursts(63).longest, 12);
    }

    #[test]
    fn vectors_of_the_definition() {
        let vectors = [
            (good(100), (0, 0, 0, 100_000), vec![]),
            (good(50) + "0" + &good(49), (0, 2, 0, 100_000), vec![1]),
            (good(20) + "0" + &good(16) + "0" + &good(62), (0, 5, 0, 100_000), vec![1, 1]),
            (good(20) + "0" + &good(15) + "0" + &good(63), (30, 0, 17_000, 41_500), vec![1, 1]),
            (good(40) + "00" + &good(58), (255, 0, 2000, 49_000), vec![2]),
            ("0".to_owned() + &good(98) + "0", (0, 5, 0, 100_000), vec![1, 1]),
            ("011110".to_owned() + &good(94), (85, 0, 6000, 94_000), vec![1, 1]),
            (good(45) + &"0".repeat(10) + &good(45), (255, 0, 10_000, 45_000), vec![10]),
            ((good(19) + "0").repeat(10), (0, 12, 0, 200_000), vec![1; 10]),
            ((good(9) + "0").repeat(10), (28, 0, 91_000, 9000), vec![1; 10]),
            ("0".repeat(20), (255, 0, 20_000, 0), vec![20]),
        ];
        for (pattern, expected, lengths) in vectors {
            assert_eq!(figures(&pattern), expected, "{pattern}");
            assert_eq!(runs(&pattern), lengths, "{pattern}");
        }
    }

    #[test]
    fn burst_ratio_is_one_for_periodic_loss_and_the_run_for_one_run() {
        assert_eq!(shape(&(good(9) + "0").repeat(10)).burst_ratio(100), Some(1.0));
        let run = shape(&(good(45) + &"0".repeat(10) + &good(45)));
        assert!((run.burst_ratio(100).unwrap() - 9.0).abs() < 1e-12);
        let pair = shape(&(good(40) + "00" + &good(58)));
        assert!((pair.burst_ratio(100).unwrap() - 1.96).abs() < 1e-12);
        assert_eq!(shape("111").burst_ratio(3), None);
    }

    #[test]
    fn a_run_of_127_and_more_is_one_of_127() {
        assert_eq!(runs(&("0".repeat(126) + "1")), [126]);
        assert_eq!(runs(&("0".repeat(127) + "1" + &"0".repeat(3000))), [127, 127]);
    }

    /// What RFC 3611 section 4.7.2 says, read packet by packet: one is in a burst if a bad one
    /// before and a bad one behind it, or itself, have fewer than `GMIN` good ones between any
    /// two neighbours among the bad. A bad packet alone is in the gap.
    #[derive(Debug, Default, PartialEq)]
    pub(crate) struct Truth {
        pub(crate) runs: Vec<u64>,
        bursts: Vec<(usize, usize)>,
        gaps: u32,
        bad_in_bursts: u64,
        bad_in_gaps: u64,
    }

    impl Truth {
        pub(crate) fn of(is_bad: &[bool]) -> Self {
            let mut in_burst = vec![false; is_bad.len()];
            for from in (0..is_bad.len()).filter(|&at| is_bad[at]) {
                let next = (from + 1..is_bad.len()).find(|&at| is_bad[at]);
                if let Some(to) = next.filter(|to| to - from - 1 < 16) {
                    in_burst[from..=to].fill(true);
                }
            }
            let mut truth = Self { runs: vec![0; RUN_LENGTHS], ..Self::default() };
            let mut at = 0;
            // Two bursts are never side by side: there are 16 good packets between them.
            for part in in_burst.chunk_by(|a, b| a == b) {
                let bad = is_bad[at..at + part.len()].iter().filter(|&&bad| bad).count() as u64;
                if part[0] {
                    truth.bursts.push((at, part.len()));
                    truth.bad_in_bursts += bad;
                } else {
                    truth.gaps += 1;
                    truth.bad_in_gaps += bad;
                }
                at += part.len();
            }
            for run in is_bad.chunk_by(|a, b| a == b).filter(|run| run[0]) {
                truth.runs[run.len().min(RUN_LENGTHS) - 1] += 1;
            }
            truth
        }

        /// Fails unless the shape says the same.
        pub(crate) fn assert_is(&self, shape: &Settled, total: usize, context: &str) {
            let packets: usize = self.bursts.iter().map(|&(_, packets)| packets).sum();
            let longest = self.bursts.iter().map(|&(_, packets)| packets).max().unwrap_or(0);
            let Bursts { count, packets: burst_packets, gaps, longest: found, .. } =
                shape.bursts(total as u64);
            assert_eq!((count as usize, burst_packets as usize), (self.bursts.len(), packets));
            assert_eq!((gaps, found as usize), (self.gaps, longest), "{context}");
            let runs: Vec<_> = shape.runs.iter().copied().map(u64::from).collect();
            assert_eq!(runs, self.runs, "{context}");
            let percent = |part: u64, of: usize| 100.0 * ratio(part, of as u64).unwrap_or(0.0);
            assert_eq!(shape.burst_density(), percent(self.bad_in_bursts, packets), "{context}");
            let in_gaps = percent(self.bad_in_gaps, total - packets);
            assert_eq!(shape.gap_density(total as u64), in_gaps, "{context}");
        }
    }

    /// Packets that are lost each by itself, or by a link that is up or down (Gilbert).
    pub(crate) fn random_losses(rng: &mut Rng, count: usize) -> Vec<bool> {
        let (loss, stay) = (rng.f64() * rng.f64(), rng.f64());
        let is_gilbert = rng.bool();
        let mut is_bad = false;
        let next = |_| {
            let chance = if is_gilbert && is_bad { stay } else { loss };
            is_bad = rng.f64() < chance;
            is_bad
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn ten_thousand_random_patterns_are_what_the_definition_says() {
        let (mut bursts, mut gaps) = (0, 0);
        for seed in 0..10_000 {
            let mut rng = Rng::with_seed(seed);
            let count = rng.usize(1..1000);
            let is_bad = random_losses(&mut rng, count);
            let mut shape = LossShape::default();
            let places = || (0..).zip(&is_bad).filter(|&(_, &bad)| bad).map(|(place, _)| place);
            // Some are settled, the others still open.
            let settled = rng.usize(0..=places().count());
            places().take(settled).for_each(|place| shape.push(place, NOW));
            let shape = shape.settled(places().skip(settled), NOW);
            let truth = Truth::of(&is_bad);
            truth.assert_is(&shape, count, &format!("seed {seed}"));
            bursts += truth.bursts.len();
            gaps += truth.gaps as usize;
        }
        assert!(bursts > 10_000 && gaps > 10_000, "{bursts} bursts, {gaps} gaps");
    }

    #[test]
    fn the_longest_burst_has_the_time_of_the_packet_before_it() {
        let mut shape = LossShape::default();
        let at = Timestamp::from_secs;
        for (place, count, secs) in [(50, 2, 1), (100, 9, 2), (200, 9, 4), (300, 1, 6)] {
            shape.mark(place, at(secs));
            (place..place + count).for_each(|place| shape.push(place, at(secs + 3)));
        }
        let bursts = shape.settled(core::iter::empty(), at(20)).bursts(400);
        assert_eq!(bursts.longest, 9);
        let off = at(2).nanos_from(bursts.longest_at);
        assert!((0..1 << COARSE_BITS).contains(&off), "{off}: the first of two as long");
    }

    /// Two losses with 2^16 packets, and more or less, between them: what tells places apart must
    /// not take the second for one near the first.
    #[test]
    fn a_burst_far_behind_another_has_its_own_time() {
        let at = Timestamp::from_secs;
        for apart in [1_u64 << 15, (1 << 16) - 9, 1 << 16, (1 << 16) + 9, 1 << 17] {
            let mut shape = LossShape::default();
            for (place, count, secs) in [(1000, 2, 100), (1000 + apart, 3, 5000)] {
                shape.mark(place, at(secs));
                (place..place + count).for_each(|place| shape.push(place, at(secs + 3)));
            }
            let bursts = shape.settled(core::iter::empty(), at(5100)).bursts(apart + 2000);
            let off = bursts.longest_at.nanos_from(at(5000)).unsigned_abs();
            assert!(bursts.longest == 3 && off < 1 << COARSE_BITS, "{apart}: {off}");
        }
    }
}
