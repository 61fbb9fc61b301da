//! RTP sequence numbers: which packets are new, late, repeated, missing (RFC 3550 appendix A.1).
//!
//! Differs from A.1 where A.1 serves a receiver and not a judge: packets are told apart by a
//! window of the last 128, so a duplicate is never taken for a lost one that came; a
//! packet older than the first moves the start back; and the first packet after a restart
//! counts once the second confirms it.

use super::loss::LossShape;

/// The sequence state of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    /// Highest sequence number, with the wraps counted in the upper bits.
    highest: u64,
    /// Bit i: the packet `highest - i` has been received.
    received: u128,
    /// Bit i: the packet `highest - i` came too late to be played.
    discarded: u128,
    /// How many bits of the window stand for packets of this stream, 1 to 128.
    depth: u32,
    /// The sequence number that would confirm a restart.
    restart_at: Option<u16>,
    counts: Counts,
    shape: LossShape,
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
    pub(crate) fn new(first: u16) -> Self {
        Self {
            // One wrap ahead, so that a packet older than the first has a number, too.
            highest: CYCLE + u64::from(first),
            received: 1,
            discarded: 0,
            depth: 1,
            restart_at: None,
            counts: Counts { received: 1, expected: 1, ..Counts::default() },
            shape: LossShape::default(),
        }
    }

    /// Takes in the next packet in order of arrival.
    pub(crate) fn arrive(&mut self, sequence: u16) -> Arrival {
        let steps = sequence.wrapping_sub(self.highest_sequence());
        if steps == 0 {
            self.counts.duplicate += 1;
            Arrival::Duplicate
        } else if steps < MAX_DROPOUT {
            self.restart_at = None;
            self.advance(steps);
            Arrival::Newer { steps }
        } else if steps > MAX_MISORDER.wrapping_neg() {
            self.arrive_late(u32::from(steps.wrapping_neg()))
        } else if self.restart_at == Some(sequence) {
            self.restart(sequence);
            Arrival::Restarted
        } else {
            self.restart_at = Some(sequence.wrapping_add(1));
            Arrival::Stray
        }
    }

    /// Marks a packet, just arrived, as too late to be played.
    pub(crate) fn discard(&mut self, sequence: u16) {
        let age = u32::from(self.highest_sequence().wrapping_sub(sequence));
        if age < self.depth {
            self.discarded |= 1 << age;
            self.counts.discarded += 1;
        }
    }

    /// The highest sequence number, without the wraps.
    pub(crate) const fn highest_sequence(&self) -> u16 {
        (self.highest & 0xFFFF) as u16
    }

    /// The highest sequence number with 16 bits of wraps, as a report block carries it
    /// (RFC 3550 section 6.4.1).
    pub(crate) const fn extended_highest(&self) -> u32 {
        ((self.highest - CYCLE) & 0xFFFF_FFFF) as u32
    }

    /// What has been counted so far.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// How the losses and discards so far are spread, those in the window included.
    pub(crate) fn shape(&self) -> LossShape {
        let mut shape = self.shape;
        self.settle(self.depth, &mut shape);
        shape
    }

    /// Reads a word; see [`super::stream::Stream::touched`].
    pub(crate) const fn touched(&self) -> u64 {
        self.highest ^ self.shape.total()
    }

    fn advance(&mut self, steps: u16) {
        let leaving = (self.depth + u32::from(steps)).saturating_sub(WINDOW);
        if leaving > 0 {
            let mut shape = self.shape;
            self.settle(leaving, &mut shape);
            self.shape = shape;
        }
        self.depth = (self.depth + u32::from(steps)).min(WINDOW);
        self.received = self.received.checked_shl(u32::from(steps)).unwrap_or(0) | 1;
        self.discarded = self.discarded.checked_shl(u32::from(steps)).unwrap_or(0);
        self.highest += u64::from(steps);
        self.counts.received += 1;
        self.counts.expected += u64::from(steps);
    }

    fn arrive_late(&mut self, age: u32) -> Arrival {
        if age >= self.depth {
            // Older than the first packet seen: the stream began there.
            self.counts.expected += u64::from(age + 1 - self.depth);
            self.depth = age + 1;
        } else if self.received >> age & 1 == 1 {
            self.counts.duplicate += 1;
            return Arrival::Duplicate;
        }
        self.received |= 1 << age;
        self.counts.received += 1;
        self.counts.out_of_order += 1;
        Arrival::Older
    }

    fn restart(&mut self, sequence: u16) {
        self.shape = self.shape();
        // The stray packet before this one was the first of the new sequence.
        self.counts.received += 2;
        self.counts.expected += 2;
        self.highest = CYCLE + u64::from(sequence);
        (self.received, self.discarded, self.depth) = (0b11, 0, 2);
        self.restart_at = None;
    }

    /// Tells `shape` the fate of the `count` oldest packets, which may be more than the window
    /// holds: those beyond it were never received.
    fn settle(&self, count: u32, shape: &mut LossShape) {
        let played = self.received & !self.discarded;
        for age in (self.depth.saturating_sub(count)..self.depth).rev() {
            shape.push(played >> age & 1 == 1);
        }
        for _ in self.depth..count {
            shape.push(false);
        }
    }
}

/// A jump forward of at least this is not loss (RFC 3550 appendix A.1).
pub(crate) const MAX_DROPOUT: u16 = 3000;

/// A packet this much older than the newest is not reordered (RFC 3550 appendix A.1).
const MAX_MISORDER: u16 = 100;

/// Sequence numbers before they wrap.
const CYCLE: u64 = 1 << 16;

/// Packets whose fate is still open.
const WINDOW: u32 = u128::BITS;

const _: () = assert!(MAX_MISORDER as u32 <= WINDOW);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sequences: &[u16]) -> Sequence {
        let mut state = Sequence::new(sequences[0]);
        for &sequence in &sequences[1..] {
            state.arrive(sequence);
        }
        state
    }

    fn counts(sequences: &[u16]) -> (u64, u64, u64, u64, u64) {
        let counts = run(sequences).counts();
        (counts.received, counts.expected, counts.lost(), counts.duplicate, counts.out_of_order)
    }

    #[test]
    fn in_order_with_a_wrap() {
        assert_eq!(counts(&[65534, 65535, 0, 1]), (4, 4, 0, 0, 0));
        assert_eq!(run(&[65534, 65535, 0, 1]).extended_highest(), 65536 + 1);
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
    fn a_drop_out_longer_than_the_window_is_all_lost() {
        let state = run(&[0, 1000, 1001]);
        assert_eq!(state.counts().lost(), 999);
        assert_eq!(state.shape().runs(), 1);
        assert_eq!(state.shape().bad(), 999);
    }

    #[test]
    fn the_shape_settles_to_the_counts() {
        let mut state = Sequence::new(7);
        let mut rng = fastrand::Rng::with_seed(1);
        for sequence in 8..20_000 {
            if rng.u8(..) >= 10 {
                state.arrive(sequence);
            }
        }
        assert_eq!(state.shape().bad(), state.counts().lost());
        assert_eq!(state.shape().total(), state.counts().expected);
    }
}
