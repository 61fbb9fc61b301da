//! RTP sequence numbers: which packets are new, late, repeated, missing (RFC 3550 appendix A.1).
//!
//! Differs from A.1 where A.1 serves a receiver and not a judge: packets are told apart by a
//! window of the last 128, so a duplicate is never taken for a lost one that came; a
//! packet older than the first moves the start back; and the first packet after a restart
//! counts once the second confirms it.

use super::loss::{LossShape, Settled};
use crate::time::Timestamp;

/// The sequence state of one stream: what every packet needs.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub(crate) struct Sequence {
    /// Bit i: the packet `highest - i` has been received.
    received: u128,
    /// Highest sequence number, with the wraps counted in the upper bits.
    highest: u64,
    /// The sequence number that would confirm a restart.
    restart_at: Option<u16>,
    /// How many bits of the window stand for packets of this stream, 1 to 128.
    depth: u8,
    /// For so many packets more the window holds one that came too late.
    discarded_for: u8,
}

/// The books of one stream: what only an irregular packet changes. A packet in sequence leaves
/// no trace here, which keeps these lines out of the cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The number of the first packet, as [`Sequence::highest`] counts, less what was expected
    /// before the last restart: what the place of a packet is counted from. It may wrap.
    origin: u64,
    lost: u64,
    /// Bit i: the packet [`Sequence::highest`]` - i` came too late to be played.
    too_late: u128,
    /// These stay at their highest value: a flood of duplicates may well come to it.
    duplicate: u32,
    out_of_order: u32,
    discarded: u32,
    /// The lower bits of what [`new_runs`](Sequence::new_runs) was last asked about.
    told: u32,
    /// The longest run that was told of.
    told_length: u8,
    /// Boxed: only a stream with loss has one.
    shape: Option<Box<LossShape>>,
}

impl Ledger {
    /// Where a packet is in the stream, over all restarts, counted from 0; by its number, as
    /// [`Sequence::highest`] counts.
    const fn place(&self, number: u64) -> u64 {
        number.wrapping_sub(self.origin)
    }

    /// Whatever becomes of a packet, this goes up: a loss is found, late packets take one away
    /// again, or one is discarded.
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are the point")]
    const fn changes(&self) -> u32 {
        let changed = self.out_of_order.wrapping_mul(2).wrapping_add(self.discarded);
        (self.lost as u32).wrapping_add(changed)
    }

    const fn count_duplicate(&mut self) {
        self.duplicate = self.duplicate.saturating_add(1);
    }

    fn shape_mut(&mut self) -> &mut LossShape {
        self.shape.get_or_insert_default()
    }
}

/// What is counted by sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets received, duplicates not counted.
    pub received: u64,
    /// Packets that must have been sent: first to highest, over all restarts.
    pub expected: u64,
    /// Packets received again.
    pub duplicate: u64,
    /// Packets received after one with a higher number, duplicates not counted.
    pub out_of_order: u64,
    /// Packets received too late for the assumed jitter buffer.
    pub discarded: u64,
}

impl Counts {
    /// Packets sent and not received.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }
}

/// What a packet is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Newer than all before; `steps` after the newest (1 if none is missing).
    Newer { steps: u16 },
    /// Older than the newest, and not seen before.
    Older,
    /// Seen before.
    Duplicate,
    /// The sender began a new sequence with the packet before this one.
    Restarted,
    /// Far off the sequence; the next packet tells whether it is a restart or a stray.
    Stray,
}

impl Sequence {
    /// A stream that begins with this packet.
    pub(crate) fn new(first: u16) -> (Self, Ledger) {
        // One wrap ahead, so that a packet older than the first has a number, too.
        let highest = CYCLE + u64::from(first);
        let sequence = Self { highest, received: 1, restart_at: None, depth: 1, discarded_for: 0 };
        (sequence, Ledger { origin: highest, ..Ledger::default() })
    }

    /// Takes in the next packet in order of arrival; `before` is when the last one came.
    #[inline]
    pub(crate) fn arrive(
        &mut self,
        sequence: u16,
        before: Timestamp,
        ledger: &mut Ledger,
    ) -> Arrival {
        let steps = sequence.wrapping_sub(self.highest_sequence());
        // Nothing leaves the window, or one that was played, and nothing is in the books about
        // those in it: all that is left to do is to shift.
        let leaves_well = self.depth < WINDOW || self.received >> (WINDOW - 1) == 1;
        if steps == 1 && self.discarded_for == 0 && leaves_well {
            self.restart_at = None;
            self.received = self.received << 1 | 1;
            self.depth = (self.depth + 1).min(WINDOW);
            self.highest += 1;
            return Arrival::Newer { steps };
        }
        if steps == 1 {
            self.advance(1, before, ledger);
            return Arrival::Newer { steps };
        }
        self.arrive_irregularly(sequence, steps, before, ledger)
    }

    /// Marks a packet, which arrived `at`, as too late to be played.
    #[cold]
    pub(crate) fn discard(&mut self, sequence: u16, at: Timestamp, ledger: &mut Ledger) {
        let age = self.highest_sequence().wrapping_sub(sequence);
        if age < u16::from(self.depth) {
            ledger.too_late |= 1 << age;
            self.discarded_for = WINDOW;
            ledger.discarded = ledger.discarded.saturating_add(1);
            let place = ledger.place(self.highest - u64::from(age));
            ledger.shape_mut().mark(place, at);
        }
    }

    /// Whether a packet is one of those that may still be under way when a sequence has ended: a
    /// little older than the newest, or among the next few.
    pub(crate) const fn goes_on_with(&self, sequence: u16) -> bool {
        let ahead = sequence.wrapping_sub(self.highest_sequence());
        ahead < STRAGGLERS_MAX || ahead > MAX_MISORDER.wrapping_neg()
    }

    /// Goes on with a sequence that begins with this packet, which is still to arrive. What is
    /// between the last packet and it was never sent.
    #[cold]
    pub(crate) fn begin_anew(&mut self, first: u16, before: Timestamp, ledger: &mut Ledger) {
        self.close(CYCLE + u64::from(first), before, ledger);
        *self = Self {
            highest: CYCLE + u64::from(first) - 1,
            received: 0,
            restart_at: None,
            depth: 0,
            discarded_for: 0,
        };
    }

    /// The highest sequence number with 16 bits of wraps, as a report block carries it
    /// (RFC 3550 section 6.4.1).
    pub(crate) const fn extended_highest(&self) -> u32 {
        ((self.highest - CYCLE) & 0xFFFF_FFFF) as u32
    }

    /// What has been counted so far.
    pub(crate) const fn counts(&self, ledger: &Ledger) -> Counts {
        let expected = ledger.place(self.highest + 1);
        Counts {
            received: expected - ledger.lost,
            expected,
            duplicate: ledger.duplicate as u64,
            out_of_order: ledger.out_of_order as u64,
            discarded: ledger.discarded as u64,
        }
    }

    /// How the losses and discards so far are spread, those in the window included; `None` if
    /// there never were any.
    pub(crate) fn shape(&self, now: Timestamp, ledger: &Ledger) -> Option<Settled> {
        let shape = ledger.shape.as_deref()?;
        Some(shape.settled(self.bad_places(self.depth.into(), ledger), now))
    }

    /// The runs of lost and discarded packets, with the longest length that is worth telling of,
    /// if there are other ones than when this was last asked, or if it `is_final`.
    pub(crate) fn new_runs(
        &self,
        is_final: bool,
        now: Timestamp,
        ledger: &mut Ledger,
    ) -> Option<(Settled, usize)> {
        let settled = self.shape(now, ledger)?;
        let changes = ledger.changes();
        let is_new = core::mem::replace(&mut ledger.told, changes) != changes;
        let longest = settled.longest_run();
        // One that a late packet has broken up is told of once more, as gone.
        let before = core::mem::replace(&mut ledger.told_length, longest);
        (is_new || is_final).then(|| (settled, longest.max(before).into()))
    }

    const fn highest_sequence(&self) -> u16 {
        (self.highest & 0xFFFF) as u16
    }

    #[cold]
    fn arrive_irregularly(
        &mut self,
        sequence: u16,
        steps: u16,
        before: Timestamp,
        ledger: &mut Ledger,
    ) -> Arrival {
        if steps == 0 {
            ledger.count_duplicate();
            Arrival::Duplicate
        } else if steps < MAX_DROPOUT {
            ledger.lost += u64::from(steps) - 1;
            let missing = ledger.place(self.highest + 1);
            ledger.shape_mut().mark(missing, before);
            self.advance(steps, before, ledger);
            Arrival::Newer { steps }
        } else if steps > MAX_MISORDER.wrapping_neg() {
            let age = u8::try_from(steps.wrapping_neg()).unwrap_or(u8::MAX);
            self.arrive_late(age, ledger)
        } else if self.restart_at == Some(sequence) {
            self.restart(sequence, before, ledger);
            Arrival::Restarted
        } else {
            self.restart_at = Some(sequence.wrapping_add(1));
            Arrival::Stray
        }
    }

    #[cold]
    fn advance(&mut self, steps: u16, before: Timestamp, ledger: &mut Ledger) {
        self.restart_at = None;
        let leaving = (u16::from(self.depth) + steps).saturating_sub(WINDOW.into());
        if leaving > 0 {
            self.settle(leaving.into(), before, ledger);
        }
        let shifted = |window: u128| window.checked_shl(steps.into()).unwrap_or(0);
        self.received = shifted(self.received) | 1;
        ledger.too_late = shifted(ledger.too_late);
        let steps_u8 = u8::try_from(steps).unwrap_or(u8::MAX);
        self.depth = self.depth.saturating_add(steps_u8).min(WINDOW);
        self.discarded_for = self.discarded_for.saturating_sub(steps_u8);
        self.highest += u64::from(steps);
    }

    fn arrive_late(&mut self, age: u8, ledger: &mut Ledger) -> Arrival {
        if age >= self.depth {
            // Older than the first packet seen: the stream began there.
            let earlier = u64::from(age + 1 - self.depth);
            ledger.origin = ledger.origin.wrapping_sub(earlier);
            ledger.lost += earlier;
            self.depth = age + 1;
        } else if (self.received >> age) & 1 == 1 {
            ledger.count_duplicate();
            return Arrival::Duplicate;
        }
        self.received |= 1 << age;
        ledger.lost -= 1;
        ledger.out_of_order = ledger.out_of_order.saturating_add(1);
        Arrival::Older
    }

    fn restart(&mut self, sequence: u16, before: Timestamp, ledger: &mut Ledger) {
        // The stray packet before this one was the first of the new sequence.
        let highest = CYCLE + u64::from(sequence);
        self.close(highest - 1, before, ledger);
        *self = Self { highest, received: 0b11, restart_at: None, depth: 2, discarded_for: 0 };
    }

    /// Closes the books of a sequence that is over; `first` is the number that the next one begins
    /// with.
    fn close(&self, first: u64, before: Timestamp, ledger: &mut Ledger) {
        self.settle(self.depth.into(), before, ledger);
        ledger.origin = first.wrapping_sub(self.counts(ledger).expected);
        ledger.too_late = 0;
    }

    /// Tells the books the fate of the `count` oldest packets, which may be more than the window
    /// holds: those beyond it were never received.
    fn settle(&self, count: u32, before: Timestamp, ledger: &mut Ledger) {
        for place in self.bad_places(count, ledger) {
            ledger.shape_mut().push(place, before);
        }
    }

    /// The places of those of the `count` oldest packets that were not played.
    fn bad_places(&self, count: u32, ledger: &Ledger) -> impl Iterator<Item = u64> + use<> {
        let (played, depth) = (self.played(ledger), u32::from(self.depth));
        let first = ledger.place(self.highest + 1 - u64::from(depth));
        let is_played = move |offset| offset < depth && (played >> (depth - 1 - offset)) & 1 == 1;
        let bad = (0..count).filter(move |&offset| !is_played(offset));
        bad.map(move |offset| first + u64::from(offset))
    }

    /// Bit i: the packet `highest - i` was played. Only where one was not are the books opened.
    const fn played(&self, ledger: &Ledger) -> u128 {
        if self.discarded_for == 0 { self.received } else { self.received & !ledger.too_late }
    }
}

/// A jump forward of at least this is not loss (RFC 3550 appendix A.1).
pub(crate) const MAX_DROPOUT: u16 = 3000;

/// A packet this much older than the newest is not reordered (RFC 3550 appendix A.1).
const MAX_MISORDER: u16 = 100;

/// Packets that may be lost around the end of a stream, a third of a second of them, before what
/// comes is taken for another one.
const STRAGGLERS_MAX: u16 = 16;

/// Sequence numbers before they wrap.
const CYCLE: u64 = 1 << 16;

/// Packets whose fate is still open.
const WINDOW: u8 = 128;

const _: () = assert!(WINDOW as u32 == u128::BITS && MAX_MISORDER <= WINDOW as u16);

#[cfg(test)]
mod tests {
    use super::{
        super::loss::tests::{Truth, random_losses},
        *,
    };

    fn run(sequences: &[u16]) -> (Sequence, Ledger) {
        let (mut state, mut ledger) = Sequence::new(sequences[0]);
        for &sequence in &sequences[1..] {
            state.arrive(sequence, Timestamp::MIN, &mut ledger);
        }
        (state, ledger)
    }

    fn counts(sequences: &[u16]) -> (u64, u64, u64, u64, u64) {
        let (state, ledger) = run(sequences);
        let counts = state.counts(&ledger);
        (counts.received, counts.expected, counts.lost(), counts.duplicate, counts.out_of_order)
    }

    #[test]
    fn in_order_with_a_wrap() {
        assert_eq!(counts(&[65534, 65535, 0, 1]), (4, 4, 0, 0, 0));
        assert_eq!(run(&[65534, 65535, 0, 1]).0.extended_highest(), 65536 + 1);
    }

    #[test]
    fn loss_around_the_wrap() {
        assert_eq!(counts(&[65533, 65535, 2]), (3, 6, 3, 0, 0));
    }

    #[test]
    fn a_duplicate_does_not_hide_a_loss() {
        assert_eq!(counts(&[10, 11, 11, 13, 10]), (3, 4, 1, 2, 0));
    }

    #[test]
    fn a_late_packet_is_not_lost() {
        assert_eq!(counts(&[10, 12, 13, 11]), (4, 4, 0, 0, 1));
    }

    #[test]
    fn the_first_two_packets_swapped() {
        assert_eq!(counts(&[11, 10, 12]), (3, 3, 0, 0, 1));
    }

    #[test]
    fn a_late_duplicate_of_a_late_packet() {
        assert_eq!(counts(&[10, 12, 11, 11]), (3, 3, 0, 1, 1));
    }

    #[test]
    fn one_stray_packet_changes_nothing() {
        assert_eq!(counts(&[10, 11, 40_000, 12]), (3, 3, 0, 0, 0));
    }

    #[test]
    fn two_packets_far_off_are_a_restart_without_loss() {
        assert_eq!(counts(&[10, 11, 40_000, 40_001, 40_003]), (5, 6, 1, 0, 0));
    }

    #[test]
    fn a_sequence_begun_anew_loses_nothing_before_its_first_packet() {
        for first in [0, 1, 500, 65_535] {
            let (mut state, mut ledger) = run(&[10, 11, 13]);
            assert!(state.goes_on_with(12) && state.goes_on_with(28) && !state.goes_on_with(29));
            state.begin_anew(first, Timestamp::MIN, &mut ledger);
            for after in [0, 1, 3, 2, 6] {
                state.arrive(first.wrapping_add(after), Timestamp::MIN, &mut ledger);
            }
            let counts = state.counts(&ledger);
            assert_eq!((counts.received, counts.expected, counts.out_of_order), (8, 11, 1));
            assert_eq!(state.extended_highest(), u32::from(first) + 6);
            assert_eq!(state.shape(Timestamp::MIN, &ledger).unwrap().runs[..2], [1, 1]);
        }
    }

    #[test]
    fn a_drop_out_longer_than_the_window_is_all_lost() {
        let (state, ledger) = run(&[0, 1000, 1001]);
        assert_eq!(state.counts(&ledger).lost(), 999);
        let shape = state.shape(Timestamp::MIN, &ledger).unwrap();
        assert_eq!((shape.bursts(1002).longest, shape.runs[126]), (999, 1));
    }

    /// The longest run of good packets, and no loss: what was never bad takes no memory.
    #[test]
    fn a_stream_without_loss_has_no_shape() {
        let (state, ledger) = run(&[65_533, 65_534, 65_535, 0, 1]);
        assert!(state.shape(Timestamp::MIN, &ledger).is_none() && ledger.shape.is_none());
    }

    /// ```text
    /// 0 ... 199  -  -  -  203 ... 399  -  401 ... 599   every 20 ms
    /// ```
    #[test]
    fn the_longest_burst_began_when_the_last_packet_before_it_came() {
        let at = |index: u64| Timestamp::from_nanos(20_000_000 * index);
        let (mut state, mut ledger) = Sequence::new(0);
        let mut before = at(0);
        for index in (1..600).filter(|index| !(200..203).contains(index) && *index != 400) {
            state.arrive(u16::try_from(index).unwrap(), before, &mut ledger);
            before = at(index);
        }
        let bursts = state.shape(at(600), &ledger).unwrap().bursts(600);
        assert_eq!((bursts.count, bursts.longest), (1, 3));
        let off = bursts.longest_at.nanos_from(at(199)).unsigned_abs();
        assert!(off < 1 << 24, "to 17 ms: {:?}", bursts.longest_at);
    }

    #[test]
    fn a_run_that_late_packets_break_up_is_told_again() {
        let (mut state, mut ledger) = run(&[0, 6]);
        let mut told = |sequence, longest| {
            state.arrive(sequence, Timestamp::MIN, &mut ledger);
            let (settled, longest_told) =
                state.new_runs(false, Timestamp::MIN, &mut ledger).unwrap();
            assert!(state.new_runs(false, Timestamp::MIN, &mut ledger).is_none());
            assert_eq!(longest_told, longest);
            settled.runs[..5].to_vec()
        };
        assert_eq!(told(8, 5), [1, 0, 0, 0, 1]);
        assert_eq!(told(3, 5), [1, 2, 0, 0, 0]);
        assert_eq!(told(7, 2), [0, 2, 0, 0, 0]);
    }

    #[test]
    fn runs_are_news_when_something_has_changed() {
        let (state, mut ledger) = run(&[0, 1]);
        assert!(state.new_runs(true, Timestamp::MIN, &mut ledger).is_none());
        let (mut state, mut ledger) = run(&[0, 51]);
        let longest = |state: &Sequence, is_final, ledger: &mut Ledger| {
            state.new_runs(is_final, Timestamp::MIN, ledger).map(|(_, longest)| longest)
        };
        assert_eq!(longest(&state, false, &mut ledger), Some(50));
        assert_eq!(longest(&state, false, &mut ledger), None);
        state.arrive(21, Timestamp::MIN, &mut ledger);
        assert_eq!(longest(&state, false, &mut ledger), Some(50), "the run of 50 is no more");
        state.arrive(1, Timestamp::MIN, &mut ledger);
        assert_eq!(longest(&state, false, &mut ledger), Some(29));
        assert_eq!(longest(&state, false, &mut ledger), None);
        assert_eq!(longest(&state, true, &mut ledger), Some(29));
    }

    /// What random packets add up to: lost by themselves or in bursts, held back, repeated, or
    /// played too late, against plain lists.
    #[test]
    fn agrees_with_a_list_of_all_packets() {
        let (mut reordered, mut late) = (0, 0);
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let first = rng.u16(..);
            let count = rng.usize(2..2000);
            let mut is_bad = random_losses(&mut rng, count);
            (is_bad[0], is_bad[1]) = (false, false);
            let discard = rng.f64() * rng.f64();
            let held = rng.f64() * rng.f64();
            // Sent one after the other, each on its way for up to 99 places more.
            let mut arrivals: Vec<(usize, usize)> = Vec::new();
            for index in (0..count).filter(|&index| !is_bad[index]) {
                let delay = if index > 0 && rng.f64() < held { rng.usize(0..99) } else { 0 };
                arrivals.push((index + delay, index));
                if index > 0 && rng.u8(..20) == 0 {
                    arrivals.push((index + delay, index));
                }
            }
            arrivals.sort_by_key(|&(at, _)| at);
            let number = |index: usize| first.wrapping_add(u16::try_from(index).unwrap());
            let (mut state, mut ledger) = Sequence::new(first);
            let (mut seen, mut highest) = (std::collections::BTreeSet::from([0]), 0);
            let (mut duplicate, mut out_of_order) = (0, 0);
            for &(_, index) in &arrivals[1..] {
                let arrival = state.arrive(number(index), Timestamp::MIN, &mut ledger);
                if !seen.insert(index) {
                    assert_eq!(arrival, Arrival::Duplicate);
                    duplicate += 1;
                    continue;
                }
                out_of_order += u64::from(index < highest);
                highest = highest.max(index);
                if rng.f64() < discard {
                    state.discard(number(index), Timestamp::MIN, &mut ledger);
                    is_bad[index] = true;
                    late += 1;
                }
            }
            // What comes after the last packet received is not known to be missing.
            let known = highest + 1;
            let counts = state.counts(&ledger);
            assert_eq!((counts.received, counts.expected), (seen.len() as u64, known as u64));
            assert_eq!((counts.duplicate, counts.out_of_order), (duplicate, out_of_order));
            let context = format!("seed {seed}");
            match state.shape(Timestamp::MIN, &ledger) {
                Some(shape) => Truth::of(&is_bad[..known]).assert_is(&shape, known, &context),
                None => assert!(!is_bad[..known].contains(&true), "{context}"),
            }
            reordered += out_of_order;
        }
        assert!(reordered > 1000 && late > 1000);
    }
}
