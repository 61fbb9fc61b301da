//! How losses are spread: runs for the burst ratio of G.107, bursts and gaps of RFC 3611.
//!
//! Is told of each packet that was lost or discarded, by its place in the stream and in that
//! order; good packets cost nothing, and never have to be remembered.

use arrayvec::ArrayVec;

use super::report::{Bursts, RUN_LENGTHS, ratio};
use crate::time::Timestamp;

/// Where a stream's bad packets are: the lost and the discarded ones. Only a stream that has had
/// any has one of these.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossShape {
    groups: Groups,
    runs: Runs,
    /// Where bad packets were noticed of late, and what time it was.
    marks: ArrayVec<Mark, MARKS_MAX>,
    /// The time of the newest mark.
    marked_at: Timestamp,
    /// The lower bits of what [`news`](Self::news) was last told.
    told: u32,
    /// The longest run that was told of.
    told_length: u8,
}

/// When the packet before a place came.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The lower bits of the place.
    place: u32,
    /// The lower bits of the time, by the clock of 2^20 ns: 52 days.
    at: u32,
}

/// Runs that are over, by length. Random loss makes short ones, for which there is room.
#[derive(Clone, Debug, Default)]
struct Runs {
    short: [u32; SHORT_RUNS],
    /// From the next length on; as long as the longest that there was.
    long: Box<[u32]>,
}

impl LossShape {
    /// Notes the time of a bad packet, or of what may turn out to be one: `at` is when the packet
    /// before it came. Marks may come long before the packets' fate is settled.
    #[cold]
    pub(crate) fn mark(&mut self, place: u64, at: Timestamp) {
        let is_near =
            |mark: &Mark| u64::try_from(behind(mark.place, place)).unwrap_or_default() < GMIN;
        if self.marks.last().is_some_and(is_near) {
            return;
        }
        if self.marks.is_full() {
            self.marks.remove(0);
        }
        self.marks.push(Mark { place: lower(place), at: coarse(at) });
        self.marked_at = at;
    }

    /// Takes in a bad packet at a place, counted from 0, after all before it.
    #[cold]
    pub(crate) fn push(&mut self, place: u64) {
        let at = self.time_of(place);
        if let Some(run) = self.groups.push(place, at) {
            self.runs.count(run);
        }
    }

    /// What it comes to with those bad packets whose fate is still open, as if the stream ended
    /// here.
    pub(crate) fn settled(&self, open: impl Iterator<Item = u64>) -> Settled {
        let mut settled = Settled { groups: self.groups, runs: [0; RUN_LENGTHS] };
        let runs = self.runs.short.iter().chain(&self.runs.long);
        settled.runs.iter_mut().zip(runs).for_each(|(count, &of)| *count = of);
        for place in open {
            let run = settled.groups.push(place, self.time_of(place));
            settled.add(run);
        }
        let run = settled.groups.close_run();
        settled.add(run);
        settled.groups.close();
        settled
    }

    /// How long the longest run is or was that is worth telling of, if there are other runs than
    /// the last time that this was asked, or if it `is_final`. `changes` counts what changes them.
    pub(crate) fn news(
        &mut self,
        changes: u64,
        is_final: bool,
        settled: &Settled,
    ) -> Option<usize> {
        let longest = settled.runs.iter().rposition(|&count| count > 0).map_or(0, |at| at + 1);
        let is_new = core::mem::replace(&mut self.told, lower(changes)) != lower(changes);
        // One that a late packet has broken up is told of once more, as gone.
        let length = u8::try_from(longest).unwrap_or(u8::MAX);
        let before = core::mem::replace(&mut self.told_length, length);
        (is_new || is_final).then_some(longest.max(before.into()))
    }

    /// When the packet before a place came, or one a little earlier, to the millisecond.
    fn time_of(&self, place: u64) -> Timestamp {
        let mut newest = self.marks.iter().rev();
        let mark = newest.find(|mark| behind(mark.place, place) >= 0);
        mark.map_or(Timestamp::MIN, |mark| {
            let before = coarse(self.marked_at).wrapping_sub(mark.at);
            let nanos = self.marked_at.as_nanos();
            Timestamp::from_nanos(nanos.saturating_sub(u64::from(before) << COARSE_BITS))
        })
    }
}

impl Runs {
    fn count(&mut self, run: u64) {
        let index = length_of(run) - 1;
        let long = index.checked_sub(SHORT_RUNS);
        if let Some(long) = long.filter(|&long| long >= self.long.len()) {
            let mut longer = vec![0; long + 1];
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
}

impl Settled {
    /// The burst ratio over `total` packets: mean run of bad packets over what random loss would
    /// give (G.107 section 7.4); at least 1; `None` without a bad packet.
    pub(crate) fn burst_ratio(&self, total: u64) -> Option<f64> {
        let bad = u64::from(self.groups.bad);
        let share = ratio(bad, total)?;
        let mean_run = ratio(bad, self.groups.runs.into())?;
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
        let no_gaps = u32::from(groups.begins_bad) + u32::from(groups.burst_end == total);
        Bursts {
            count: groups.bursts,
            packets: groups.burst_packets,
            gaps: groups.bursts.saturating_add(1).saturating_sub(no_gaps),
            longest: groups.longest,
            longest_at: groups.longest_at,
        }
    }

    fn add(&mut self, run: Option<u64>) {
        if let Some(run) = run {
            let count = &mut self.runs[length_of(run) - 1];
            *count = count.saturating_add(1);
        }
    }
}

/// Bad packets in runs, bursts and gaps, and the run and the burst that are still open.
///
/// Places have all their bits; 2^32 bad packets are two years and a half of nothing else.
#[derive(Clone, Copy, Debug, Default)]
struct Groups {
    bad: u32,
    /// Runs of one or more bad packets, the open one included.
    runs: u32,
    /// Length of the open run.
    run: u32,
    /// One after the place of the last bad packet; 0 while there is none.
    after_last: u64,
    /// Bursts that are closed, and packets and bad packets in them.
    bursts: u32,
    burst_packets: u32,
    burst_bad: u32,
    /// Whether the first packet of all is in a burst.
    begins_bad: bool,
    /// One after the last packet of the last burst.
    burst_end: u64,
    /// The longest burst, packets, and when the packet before it came.
    longest: u32,
    longest_at: Timestamp,
    /// The group that is open: where and when it began, and its bad packets. It becomes a burst,
    /// or a lone loss in a gap, once [`GMIN`] good ones have followed.
    group_from: u64,
    group_at: Timestamp,
    group_bad: u32,
}

impl Groups {
    /// Takes in a bad packet; gives back the length of the run before it, if that is over.
    fn push(&mut self, place: u64, at: Timestamp) -> Option<u64> {
        debug_assert!(place >= self.after_last, "bad packets come in order");
        let good_since = place - self.after_last;
        if self.group_bad > 0 && good_since >= GMIN {
            self.close();
        }
        if self.group_bad == 0 {
            (self.group_from, self.group_at) = (place, at);
        }
        let ended = if good_since > 0 { self.close_run() } else { None };
        self.runs = self.runs.saturating_add(u32::from(self.run == 0));
        for count in [&mut self.run, &mut self.group_bad, &mut self.bad] {
            *count = count.saturating_add(1);
        }
        self.after_last = place + 1;
        ended
    }

    /// Ends the open run and gives back its length.
    fn close_run(&mut self) -> Option<u64> {
        Some(core::mem::take(&mut self.run)).filter(|&run| run > 0).map(u64::from)
    }

    /// Closes the open group, as the good packets that RFC 3611 adds at the end of a session
    /// would close it.
    fn close(&mut self) {
        // A lone bad packet belongs to the gap around it.
        if self.group_bad > 1 {
            let packets = saturate(self.after_last - self.group_from);
            self.bursts = self.bursts.saturating_add(1);
            self.burst_packets = self.burst_packets.saturating_add(packets);
            self.burst_bad = self.burst_bad.saturating_add(self.group_bad);
            self.begins_bad |= self.group_from == 0;
            self.burst_end = self.after_last;
            if packets > self.longest {
                (self.longest, self.longest_at) = (packets, self.group_at);
            }
        }
        self.group_bad = 0;
    }
}

/// How far a mark is behind a place; negative if it is ahead of it.
const fn behind(mark: u32, place: u64) -> i32 {
    lower(place).wrapping_sub(mark).cast_signed()
}

#[expect(clippy::cast_possible_truncation, reason = "the lower bits are the point")]
const fn lower(value: u64) -> u32 {
    value as u32
}

const fn coarse(at: Timestamp) -> u32 {
    lower(at.as_nanos() >> COARSE_BITS)
}

/// Where a run is counted, 1 to [`RUN_LENGTHS`].
fn length_of(run: u64) -> usize {
    usize::try_from(run).unwrap_or(RUN_LENGTHS).clamp(1, RUN_LENGTHS)
}

fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Good packets that separate two bursts (RFC 3611 section 4.7.2 recommends 16).
pub(crate) const GMIN: u64 = 16;

/// A burst begins [`GMIN`] packets after the one before at the earliest, so that so many begin
/// among the 128 packets whose fate is open.
const MARKS_MAX: usize = 9;

/// Lengths of runs that need no memory of their own. At a random loss of 5 % one run in 10^10 is
/// longer.
const SHORT_RUNS: usize = 8;

/// Milliseconds are enough for when a burst was.
const COARSE_BITS: u32 = 20;

// The memory that `limits` states for a stream with loss counts on this.
const _: () = assert!(size_of::<LossShape>() <= 224);

#[cfg(test)]
pub(crate) mod tests {
    use fastrand::Rng;

    use super::*;

    /// '1' played, anything else lost or discarded.
    fn shape(pattern: &str) -> Settled {
        let mut shape = LossShape::default();
        let fates = (0..).zip(pattern.bytes());
        fates.filter(|&(_, fate)| fate != b'1').for_each(|(place, _)| shape.push(place));
        shape.settled(core::iter::empty())
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
            places().take(settled).for_each(|place| shape.push(place));
            let shape = shape.settled(places().skip(settled));
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
            (place..place + count).for_each(|place| shape.push(place));
        }
        let bursts = shape.settled(core::iter::empty()).bursts(400);
        assert_eq!((bursts.longest, bursts.longest_at), (9, at(2)), "the first of two as long");
    }

    #[test]
    fn runs_are_news_when_something_has_changed() {
        let mut shape = LossShape::default();
        let none = shape.settled(core::iter::empty());
        assert_eq!(shape.news(0, false, &none), None);
        let open = shape.settled(0..50);
        assert_eq!(shape.news(50, false, &open), Some(50));
        assert_eq!(shape.news(50, false, &open), None);
        let filled = shape.settled((0..20).chain(21..50));
        assert_eq!(shape.news(51, false, &filled), Some(50), "the run of 50 is no more");
        assert_eq!(shape.news(52, false, &filled), Some(29));
        assert_eq!(shape.news(52, true, &filled), Some(29));
    }
}
