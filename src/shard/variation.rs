//! Delay variation of one stream: how much longer each packet was under way than the fastest.
//!
//! It keeps no packet and judges none: what is too late to be played, the jitter buffers say.
//!
//! # The floor
//!
//! Packet delay variation is taken against the fastest packet (RFC 5481 section 4.2). The sender's
//! clock runs faster or slower than ours by some parts in a million, so that the transit time of
//! the fastest packets is not a constant but a line. This line, the *floor*, is found as the lower
//! envelope of the transit times: no packet lies below it, and the fastest lie on it.
//!
//! Of each window of time the packet nearest to the floor is remembered, eight of them in all.
//! Windows last 1 s at first; when there are eight, each two become one, until they last 16 s;
//! then the oldest is forgotten. When a window ends, the line is drawn anew, as
//! [`envelope`](super::envelope) finds it under the remembered packets. Its slope is the skew. It
//! is told once the remembered packets span 16 s and lie near enough to it; from then on an edge
//! that they are far from, which is that of a path that has changed and not of a clock, leaves the
//! slope as it is.
//!
//! A path that becomes faster moves the floor at once; one that becomes slower within the two
//! minutes for which packets are remembered, or at once if for a whole window no packet was less
//! than 0.5 s late, or after a silence of 84 s. A jump of the time stamp or a restart of the sender
//! puts its packet on the floor; the slope stays.

use arrayvec::ArrayVec;

use super::envelope::{Edge, SPOTS_MAX, Spot};
use crate::time::Timestamp;

/// What a stream's packets did against its floor: half a cache line.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Variation {
    /// How far above the floor the last packet was, nanoseconds.
    over: i64,
    /// The slope of the floor, in units of 2^-32.
    slope: i32,
    /// How far above the floor the best packet of this window was, nanoseconds.
    best: u32,
    /// How far the floor has come down in this window, nanoseconds.
    lowered: u32,
    /// When this window began.
    window_start: u32,
    /// When its best packet came.
    best_at: u16,
    /// How long windows are, as a power of two, and whether the slope is [`KNOWN`].
    window: u8,
    /// How many points there are.
    points: u8,
    max_us: u32,
}

/// The best packets of past windows, oldest first; looked at when a window ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Points([Point; POINTS]);

/// The packet of a window that was nearest to the floor.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    /// When it came, by the coarse clock.
    at: u16,
    /// How far above the floor, in units of 2^13 ns.
    height: u16,
}

/// Where a packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// How far above the floor, nanoseconds; below it if the packet is the fastest so far, in
    /// which case the floor is now where this packet is.
    pub(crate) over: i64,
    /// How far the floor has moved up since the packet before, nanoseconds.
    pub(crate) risen: i64,
}

impl Variation {
    /// Begins with this packet on the floor.
    pub(crate) fn new(arrival: Timestamp) -> Self {
        Self::on_floor(coarse(arrival))
    }

    /// Begins anew with this packet on the floor: it says nothing about those before it. The
    /// clocks are what they were, so that the slope stays.
    #[cold]
    pub(crate) fn restart(&mut self, arrival: Timestamp) {
        self.begin(coarse(arrival));
    }

    /// Takes in a packet that came `since_last` after the one before and was under way
    /// `deviation` longer than it, both in nanoseconds.
    #[inline]
    pub(crate) fn arrive(
        &mut self,
        arrival: Timestamp,
        since_last: i64,
        deviation: i64,
        points: &mut Points,
    ) -> Place {
        #[expect(clippy::cast_possible_truncation, reason = "a slope is far below 1")]
        let drift = ((i128::from(since_last) * i128::from(self.slope) + HALF_Q32) >> 32) as i64;
        self.over = self.over.saturating_add(deviation.saturating_sub(drift));
        let now = coarse(arrival);
        let mut risen = 0;
        // Signed: a packet may bear an earlier time than the one before.
        if now.wrapping_sub(self.window_start).cast_signed() >= WINDOW << (self.window & !KNOWN) {
            risen = self.end_window(now, points);
        }
        let over = self.over;
        if over < i64::from(self.best) {
            self.lead(now);
        }
        Place { over, risen }
    }

    /// The last packet's variation, microseconds.
    #[inline]
    pub(crate) fn last_us(&self) -> u32 {
        u32::try_from(self.over / 1000).unwrap_or(if self.over < 0 { 0 } else { u32::MAX })
    }

    /// Keeps the highest value.
    #[inline]
    pub(crate) fn note_max(&mut self, us: u32) {
        self.max_us = self.max_us.max(us);
    }

    /// The highest value, microseconds.
    pub(crate) const fn max_us(&self) -> u32 {
        self.max_us
    }

    /// What the sender's clock gains on ours, ppm; `None` until it is known.
    pub(crate) fn skew_ppm(&self) -> Option<f32> {
        if self.window & KNOWN == 0 {
            return None;
        }
        // The slower the sender, the later its packets seem to come.
        let ppm = -f64::from(self.slope) / Q32 * 1e6;
        #[expect(clippy::cast_possible_truncation, reason = "three digits are known")]
        Some(ppm as f32)
    }

    const fn on_floor(now: u32) -> Self {
        Self {
            over: 0,
            slope: 0,
            best: 0,
            lowered: 0,
            window_start: now,
            best_at: low(now),
            window: 0,
            points: 0,
            max_us: 0,
        }
    }

    const fn begin(&mut self, now: u32) {
        let (slope, window, max_us) = (self.slope, self.window & KNOWN, self.max_us);
        *self = Self { slope, window, max_us, ..Self::on_floor(now) };
    }

    /// The best packet of this window so far; if it is below the floor, the floor comes down to it.
    #[inline]
    fn lead(&mut self, now: u32) {
        if self.over < 0 {
            let by = u32::try_from(self.over.unsigned_abs()).unwrap_or(u32::MAX);
            self.lowered = self.lowered.saturating_add(by);
            self.over = 0;
        }
        // Below `best`, which is as wide.
        self.best = u32::try_from(self.over).unwrap_or(u32::MAX);
        self.best_at = low(now);
    }

    /// Remembers the best packet of the window, draws the floor anew and gives back how far it
    /// has risen, nanoseconds.
    #[cold]
    fn end_window(&mut self, now: u32, points: &mut Points) -> i64 {
        let height = saturate(self.best >> HEIGHT_BITS);
        let is_silent = now.wrapping_sub(self.window_start) > SILENCE_MAX;
        if is_silent || height == u16::MAX {
            let risen = self.over;
            self.begin(now);
            return risen;
        }
        let mut known = usize::from(self.points);
        points.raise(known, saturate(self.lowered >> HEIGHT_BITS));
        let forgets = known == POINTS && self.window & !KNOWN == WINDOW_DOUBLINGS;
        if known == POINTS {
            known = if forgets {
                points.0.rotate_left(1);
                POINTS - 1
            } else {
                self.window += 1;
                points.merge(low(now))
            };
        }
        points.0[known] = Point { at: self.best_at, height };
        known += 1;
        #[expect(clippy::cast_possible_truncation, reason = "eight at most")]
        let count = known as u8;
        self.points = count;
        // What is less than a unit counts in the next window, or it would add up.
        self.lowered &= (1 << HEIGHT_BITS) - 1;
        (self.window_start, self.best) = (now, u32::MAX);
        let doubt_max = if self.window & KNOWN == 0 { DOUBT_FOLLOWED_MAX } else { DOUBT_MAX };
        let is_certain = |edge: &Edge| edge.span >= SPAN_MIN && edge.doubt <= doubt_max;
        let edge = points.edge(known, low(now)).filter(is_certain);
        let edge = edge.filter(|edge| self.turn(edge.turn));
        if edge.is_some_and(|edge| edge.doubt <= DOUBT_MAX) {
            self.window |= KNOWN;
        }
        if edge.is_none() && !forgets {
            // The fastest packet may have been merged away, and still counts.
            return 0;
        }
        let risen = points.lay(known, low(now), edge.map_or(0.0, |edge| edge.turn));
        self.over = self.over.saturating_sub(risen);
        risen
    }

    /// Makes the floor steeper, if a clock can be off by so much.
    fn turn(&mut self, turn: f64) -> bool {
        let slope = (f64::from(self.slope) + turn * TURN_Q32).round();
        let is_possible = slope.abs() <= SLOPE_MAX_Q32;
        if is_possible {
            #[expect(clippy::cast_possible_truncation, reason = "just checked")]
            let slope = slope as i32;
            self.slope = slope;
        }
        is_possible
    }
}

impl Points {
    /// The floor has come down by `by` since.
    fn raise(&mut self, known: usize, by: u16) {
        for point in &mut self.0[..known] {
            point.height = point.height.saturating_add(by);
        }
    }

    /// Makes one of each two and gives back how many are left: of two the one nearer to the edge,
    /// which the floor may not follow yet.
    fn merge(&mut self, now: u16) -> usize {
        let turn = self.edge(POINTS, now).map_or(0.0, |edge| edge.turn);
        for index in 0..POINTS / 2 {
            let (a, b) = (self.0[2 * index], self.0[2 * index + 1]);
            self.0[index] = if b.turned(now, turn) < a.turned(now, turn) { b } else { a };
        }
        POINTS / 2
    }

    /// The edge under them; `None` while nothing can be said about the slope.
    fn edge(&self, known: usize, now: u16) -> Option<Edge> {
        let spot = |point: &Point| Spot { time: point.time(now), height: point.height.into() };
        let spots: ArrayVec<Spot, POINTS> = self.0[..known].iter().map(spot).collect();
        Edge::under(&spots)
    }

    /// Lays the floor under all points, steeper by `turn`, and gives back how much higher it is
    /// now, nanoseconds.
    fn lay(&mut self, known: usize, now: u16, turn: f64) -> i64 {
        let points = &mut self.0[..known];
        let heights = points.iter().map(|point| point.turned(now, turn));
        let lowest = heights.fold(f64::INFINITY, f64::min);
        for point in points {
            let height = (point.turned(now, turn) - lowest).round();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let height = if point.height == u16::MAX { u16::MAX } else { height as u16 };
            point.height = height;
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let risen = (lowest * f64::from(1_u32 << HEIGHT_BITS)).round() as i64;
        risen
    }
}

impl Point {
    /// Time from now, which is at most 0.
    fn time(self, now: u16) -> f64 {
        -f64::from(now.wrapping_sub(self.at))
    }

    /// How far it is above a floor that goes through the same place now and is steeper by `turn`.
    fn turned(self, now: u16, turn: f64) -> f64 {
        f64::from(self.height) - turn * self.time(now)
    }
}

/// A clock of 16.8 ms, 2^24 ns: no multiplication, and fine enough for a slope.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "wraps every two years")]
const fn coarse(at: Timestamp) -> u32 {
    (at.as_nanos() >> COARSE_BITS) as u32
}

/// The coarse clock of 18 minutes.
#[expect(clippy::cast_possible_truncation, reason = "points are younger than it wraps")]
const fn low(coarse: u32) -> u16 {
    coarse as u16
}

fn saturate(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

const COARSE_BITS: u32 = 24;
/// 8.2 µs: over 60 s that is 0.1 ppm.
const HEIGHT_BITS: u32 = 13;

/// Points that are remembered. The longest windows times these, and the longest silence before
/// each of them, are less than the 18 minutes after which their clock wraps.
const POINTS: usize = SPOTS_MAX;
/// 1.01 s. There are eight points for the fourth time after 57 of these, just within a minute.
const WINDOW: i32 = 60;
/// To 16.1 s.
const WINDOW_DOUBLINGS: u8 = 4;
/// Beside the length of windows: the slope is certain enough to be told.
const KNOWN: u8 = 0x80;
/// 84 s, part of which may be the open window.
const SILENCE_MAX: u32 = 5000;
/// 16 s.
const SPAN_MIN: f64 = 954.0;

/// Rounds a product to the nearest nanosecond.
const HALF_Q32: i128 = 1 << 31;
const Q32: f64 = 4_294_967_296.0;
/// Units of height by units of time, in units of 2^-32: 2^32 × 2^13 / 2^24.
const TURN_Q32: f64 = 2_097_152.0;
/// 500 ppm: ten times what the worst quartz is off.
const SLOPE_MAX_Q32: f64 = 500e-6 * Q32;
/// 15 ppm of [`Edge::doubt`] make a slope known, in units of height by units of time. What is wrong
/// with it is mostly less.
const DOUBT_MAX: f64 = 15e-6 * 2048.0;
/// Before it is known 60 ppm are better than nothing: a clock may be off by more.
const DOUBT_FOLLOWED_MAX: f64 = 60e-6 * 2048.0;

const _: () = assert!((SILENCE_MAX as usize) * (POINTS + 2) < 65_536);
