//! The jitter buffers of listeners, emulated: which packets they would play, and how long after
//! the fastest ones.
//!
//! A monitor in the path cannot know the listener's buffer, so two are followed for every stream,
//! and every score says which it assumes. They hold no packet: a packet's place above the floor of
//! its stream (`shard::variation`) is all that they need. Because the floor follows
//! the sender's clock, a drift fills or empties neither of them.
//!
//! # What both do
//!
//! A buffer is anchored at the beginning of a talkspurt: by a marker, by a jump of the time stamp,
//! by a restart of the sender or a change of its clock. The first packet is the anchor, and after
//! it any that was faster. A packet's *lateness* is how much longer it was under way than the
//! anchor. It is discarded as *late* if that is more than the buffer's delay; a packet faster than
//! the anchor is discarded as *early* if there is no room for it. Duplicates are neither. After 25
//! late packets in a row, half a second of most speech, a listener has moved its buffer: the last
//! of them is the new anchor.
//!
//! # The fixed one
//!
//! Its delay is nominal, throughout: `deadline = anchor + nominal + time stamp - anchor's time
//! stamp`. Later is late, and earlier than `deadline - what it holds` is early.
//!
//! # The adaptive one
//!
//! - Its *target* is the highest lateness among the last 512 to 1024 packets (10 to 20 s at 20 ms),
//!   and within its bounds.
//! - A packet later than its delay is discarded, and its delay grows to that lateness at once, as
//!   far as its bound: the listener hears a gap in any case.
//! - While its delay is above the target, each packet takes 1/128 of the difference off it (the
//!   half in 1.8 s at 20 ms), as a time-scaled play-out would. In the silence before a talkspurt it
//!   goes to the target at once.
//! - A packet faster than the anchor leaves the play-out where it is: the delay over the new anchor
//!   grows by as much, as far as its bound. It is early if it is faster by more than the difference
//!   of the two bounds: the buffer would have to hold more than it can, even at its shortest
//!   delay.
//!
//! The delay that a score takes for it is the mean over all packets.

mod settings;

pub use settings::{BufferError, BufferMode, JitterBuffers, RawJitterBuffers};

/// Both buffers of one stream.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct Buffers {
    adaptive: Adaptive,
    fixed: Fixed,
    fixed_late_run: u8,
    adaptive_late_run: u8,
}

/// The settings as packets need them; nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depths {
    mode: BufferMode,
    fixed: u32,
    fixed_max: u32,
    min: u32,
    max: u32,
}

/// Packets that a buffer did not play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discards {
    /// Too late to be played.
    pub late: u32,
    /// Too early to be held.
    pub early: u32,
}

/// What both buffers of one stream did not play: not in [`Buffers`], as most packets are played and
/// need not know it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unplayed {
    fixed: Discards,
    adaptive: Discards,
}

/// What both buffers of a stream did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferReport {
    /// Sum of the adaptive one's delay over the packets that gave a jitter sample, microseconds.
    pub adaptive_delay_sum_us: u64,
    /// Delay of the fixed one, microseconds.
    pub fixed_delay_us: u32,
    /// What the fixed one did not play.
    pub fixed: Discards,
    /// What the adaptive one did not play.
    pub adaptive: Discards,
    /// Which of them scores assume.
    pub mode: BufferMode,
}

impl BufferReport {
    /// Delay of the one that scores assume, over the packets that gave a jitter sample: the mean
    /// of the adaptive one, milliseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a sum of a stream's delays stays below 2^53")]
    pub fn assumed_delay_ms(&self, packets: u32) -> f64 {
        match self.mode {
            BufferMode::Fixed => f64::from(self.fixed_delay_us) / 1e3,
            BufferMode::Adaptive => {
                self.adaptive_delay_sum_us as f64 / f64::from(packets.max(1)) / 1e3
            }
        }
    }
}

impl Depths {
    pub(crate) fn new(settings: &JitterBuffers) -> Self {
        let nanos = |ms: u16| u32::from(ms) * NANOS_PER_MS;
        Self {
            mode: settings.mode,
            fixed: nanos(settings.fixed_ms),
            fixed_max: nanos(settings.fixed_max_ms.max(settings.fixed_ms)),
            min: nanos(settings.adaptive_min_ms),
            max: nanos(settings.adaptive_max_ms.max(settings.adaptive_min_ms)),
        }
    }
}

impl Buffers {
    /// Takes in a packet `over` nanoseconds above the floor, below it if that has come down to the
    /// packet; gives back whether the buffer that scores assume discards it.
    #[inline]
    pub(crate) fn arrive(&mut self, over: i64, depths: &Depths, unplayed: &mut Unplayed) -> bool {
        let fixed = self.fixed.arrive(over, depths);
        let adaptive = self.adaptive.arrive(over, depths);
        if fixed != Fate::Late && self.fixed_late_run > 0 {
            self.fixed_late_run = 0;
        }
        if adaptive != Fate::Late && self.adaptive_late_run > 0 {
            self.adaptive_late_run = 0;
        }
        if fixed == Fate::Played && adaptive == Fate::Played {
            return false;
        }
        self.discard(over, fixed, adaptive, unplayed);
        let scored = if depths.mode == BufferMode::Fixed { fixed } else { adaptive };
        scored != Fate::Played
    }

    /// Takes in a packet that one of the two does not play.
    #[cold]
    fn discard(&mut self, over: i64, fixed: Fate, adaptive: Fate, unplayed: &mut Unplayed) {
        unplayed.fixed.count(fixed);
        unplayed.adaptive.count(adaptive);
        self.fixed_late_run += u8::from(fixed == Fate::Late);
        if self.fixed_late_run == LATE_RUN_MAX {
            self.fixed.anchor = place(over);
            self.fixed_late_run = 0;
        }
        self.adaptive_late_run += u8::from(adaptive == Fate::Late);
        if self.adaptive_late_run == LATE_RUN_MAX {
            self.adaptive.restart(over);
            self.adaptive_late_run = 0;
        }
    }

    /// Begins a talkspurt with a packet `over` nanoseconds above the floor, which is played.
    pub(crate) fn restart(&mut self, over: i64) {
        self.fixed.anchor = place(over);
        self.adaptive.restart(over);
        (self.fixed_late_run, self.adaptive_late_run) = (0, 0);
    }

    /// Goes on where the floor is `by` nanoseconds higher.
    #[cold]
    pub(crate) fn rise(&mut self, by: i64) {
        for anchor in [&mut self.fixed.anchor, &mut self.adaptive.anchor] {
            *anchor = place(i64::from(*anchor) - by);
        }
    }

    /// Adds the delay of the adaptive one to its mean; `ordinal` counts the packets.
    #[inline]
    pub(crate) fn note_delay(&mut self, ordinal: u32, depths: &Depths) {
        let adaptive = &mut self.adaptive;
        adaptive.delay_sum += u64::from(adaptive.delay.max(depths.min));
        if ordinal.is_multiple_of(PERIOD) {
            (adaptive.peak_before, adaptive.peak) = (adaptive.peak, 0);
        }
    }

    /// Reads a word; see [`super::stream::Stream::touched`].
    #[inline]
    pub(crate) const fn touched(&self) -> u32 {
        self.fixed.anchor
    }

    /// What both did so far.
    pub(crate) const fn report(&self, depths: &Depths, unplayed: &Unplayed) -> BufferReport {
        BufferReport {
            adaptive_delay_sum_us: self.adaptive.delay_sum / 1000,
            fixed_delay_us: depths.fixed / 1000,
            fixed: unplayed.fixed,
            adaptive: unplayed.adaptive,
            mode: depths.mode,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Played,
    Late,
    Early,
}

impl Discards {
    const fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Played => {}
            Fate::Late => self.late += 1,
            Fate::Early => self.early += 1,
        }
    }
}

#[derive(Clone, Debug, Default)]
#[repr(C)]
struct Fixed {
    /// How far above the floor the anchor is, nanoseconds.
    anchor: u32,
}

impl Fixed {
    #[inline]
    fn arrive(&mut self, over: i64, depths: &Depths) -> Fate {
        let lateness = over - i64::from(self.anchor);
        if lateness > depths.fixed.into() {
            return Fate::Late;
        }
        if lateness >= 0 {
            return Fate::Played;
        }
        self.anchor = place(over);
        // What it holds at the nominal delay leaves this much room.
        let is_early = -lateness > i64::from(depths.fixed_max - depths.fixed);
        if is_early { Fate::Early } else { Fate::Played }
    }
}

#[derive(Clone, Debug, Default)]
#[repr(C)]
struct Adaptive {
    /// Sum of the delay over the packets, nanoseconds.
    delay_sum: u64,
    /// How far above the floor the anchor is, nanoseconds.
    anchor: u32,
    /// Delay over the anchor, nanoseconds; at least the least that is configured.
    delay: u32,
    /// Highest lateness in this period and in the one before, at most the longest delay,
    /// nanoseconds.
    peak: u32,
    peak_before: u32,
}

impl Adaptive {
    #[inline]
    fn arrive(&mut self, over: i64, depths: &Depths) -> Fate {
        let lateness = over - i64::from(self.anchor);
        let is_early = lateness < 0 && self.lead(over, depths);
        // No more than 4.3 s, which is late in any case.
        let lateness = place(lateness);
        self.peak = self.peak.max(lateness.min(depths.max));
        let delay = self.delay.max(depths.min);
        if lateness > delay {
            self.delay = lateness.min(depths.max);
            return Fate::Late;
        }
        let target = self.target().max(depths.min);
        self.delay = delay - (delay.saturating_sub(target) >> SHRINK_BITS);
        if is_early { Fate::Early } else { Fate::Played }
    }

    /// Makes a packet faster than the anchor the anchor, and gives back whether it is too early.
    fn lead(&mut self, over: i64, depths: &Depths) -> bool {
        let faster = (i64::from(self.anchor) - over).unsigned_abs();
        let faster = u32::try_from(faster).unwrap_or(u32::MAX);
        self.anchor = place(over);
        self.delay = self.delay.max(depths.min);
        for value in [&mut self.delay, &mut self.peak, &mut self.peak_before] {
            *value = value.saturating_add(faster).min(depths.max);
        }
        faster > depths.max - depths.min
    }

    fn restart(&mut self, over: i64) {
        self.anchor = place(over);
        self.delay = self.target();
    }

    const fn target(&self) -> u32 {
        if self.peak > self.peak_before { self.peak } else { self.peak_before }
    }
}

/// A place above the floor, as an anchor keeps it: no more than 4.3 s.
#[inline]
fn place(over: i64) -> u32 {
    u32::try_from(over.max(0)).unwrap_or(u32::MAX)
}

const NANOS_PER_MS: u32 = 1_000_000;

/// Half a second of speech in packets of 20 ms: so long a listener waits before its buffer moves.
const LATE_RUN_MAX: u8 = 25;

/// Packets for which a lateness is the highest at least.
const PERIOD: u32 = 512;

/// Each packet takes 1/128 of what is too much.
const SHRINK_BITS: u32 = 7;
