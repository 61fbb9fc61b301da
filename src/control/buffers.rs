//! The jitter buffers of a direction of media: what they did, and which of them a score assumes.
//!
//! It emulates none: that is the shard's.

use serde::Serialize;

use crate::shard::{
    buffer::{BufferMode, Discards},
    report::StreamReport,
};

/// The jitter buffer that a score assumes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AssumedBuffer {
    /// Which kind it is.
    pub mode: BufferMode,
    /// Its delay over the fastest packet, milliseconds: nominal if it is fixed, the mean over the
    /// packets if it is adaptive. It is a part of the delay in MOS-CQ.
    pub delay_ms: f64,
    /// Packets discarded because they came too late; `None` where the buffer is not emulated, but
    /// only its delay assumed.
    pub late: Option<u64>,
    /// Packets discarded because there was no room for them yet; `None` as for `late`.
    pub early: Option<u64>,
}

/// Both emulated jitter buffers of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EmulatedBuffers {
    /// The one with one delay throughout.
    pub fixed: EmulatedBuffer,
    /// The one whose delay follows what the network does.
    pub adaptive: EmulatedBuffer,
}

/// What an emulated jitter buffer did to a stream, and what the stream would be worth with it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EmulatedBuffer {
    /// Its delay over the fastest packet, milliseconds: nominal, or the mean over the packets.
    pub delay_ms: f64,
    /// Packets discarded because they came too late.
    pub late: u64,
    /// Packets discarded because there was no room for them yet.
    pub early: u64,
    /// Both of expected, percent.
    pub discard_percentage: Option<f64>,
    /// MOS-LQ with this buffer.
    pub mos_lq: Option<f64>,
    /// MOS-CQ with this buffer; `None` where the delay is not known.
    pub mos_cq: Option<f64>,
}

/// What the buffers of a direction, or of an interval of it, did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    mode: BufferMode,
    fixed: Sum,
    adaptive: Sum,
}

impl Buffers {
    /// Those of a received stream.
    pub(super) fn of(report: &StreamReport) -> Self {
        let (buffers, packets) = (&report.buffers, u64::from(report.jitter_samples));
        let sum = |discards: Discards, delay_sum_us| Sum {
            late: discards.late.into(),
            early: discards.early.into(),
            delay_sum_us,
            // Without one the nominal delay still stands.
            packets: packets.max(1),
        };
        let fixed_sum_us = u64::from(buffers.fixed_delay_us) * packets.max(1);
        Self {
            mode: buffers.mode,
            fixed: sum(buffers.fixed, fixed_sum_us),
            adaptive: sum(buffers.adaptive, buffers.adaptive_delay_sum_us),
        }
    }

    /// Those of two streams together.
    pub(super) const fn and(&self, other: &Self) -> Self {
        Self {
            mode: self.mode,
            fixed: self.fixed.and(&other.fixed),
            adaptive: self.adaptive.and(&other.adaptive),
        }
    }

    /// What has been added since an earlier state of the same stream.
    pub(super) const fn since(&self, earlier: &Self) -> Self {
        Self {
            mode: self.mode,
            fixed: self.fixed.since(&earlier.fixed),
            adaptive: self.adaptive.since(&earlier.adaptive),
        }
    }

    /// The one that scores assume.
    pub(super) fn assumed(&self) -> AssumedBuffer {
        let Self { mode, fixed, adaptive } = *self;
        let sum = match mode {
            BufferMode::Fixed => fixed,
            BufferMode::Adaptive => adaptive,
        };
        let (late, early) = (Some(sum.late), Some(sum.early));
        AssumedBuffer { mode, delay_ms: sum.delay_ms(), late, early }
    }

    /// Both. `score` gives MOS-LQ and MOS-CQ for so many discards and such a delay in milliseconds.
    pub(super) fn emulated(
        &self,
        expected: u64,
        score: impl Fn(u64, f64) -> (Option<f64>, Option<f64>),
    ) -> EmulatedBuffers {
        let one = |sum: &Sum| {
            let (discarded, delay_ms) = (sum.late + sum.early, sum.delay_ms());
            let (mos_lq, mos_cq) = score(discarded, delay_ms);
            let discard_percentage = super::join::percentage(discarded, expected);
            let Sum { late, early, .. } = *sum;
            EmulatedBuffer { delay_ms, late, early, discard_percentage, mos_lq, mos_cq }
        };
        EmulatedBuffers { fixed: one(&self.fixed), adaptive: one(&self.adaptive) }
    }
}

/// What one buffer did.
#[derive(Clone, Copy, Debug)]
struct Sum {
    late: u64,
    early: u64,
    /// Over `packets`, microseconds.
    delay_sum_us: u64,
    packets: u64,
}

impl Sum {
    const fn and(&self, other: &Self) -> Self {
        Self {
            late: self.late + other.late,
            early: self.early + other.early,
            delay_sum_us: self.delay_sum_us + other.delay_sum_us,
            packets: self.packets + other.packets,
        }
    }

    const fn since(&self, earlier: &Self) -> Self {
        let (late, early) =
            (self.late.saturating_sub(earlier.late), self.early.saturating_sub(earlier.early));
        if self.packets <= earlier.packets {
            // No packet: the delay is what it was.
            return Self { late, early, ..*self };
        }
        Self {
            late,
            early,
            delay_sum_us: self.delay_sum_us.saturating_sub(earlier.delay_sum_us),
            packets: self.packets - earlier.packets,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sums stay far below 2^53")]
    fn delay_ms(&self) -> f64 {
        self.delay_sum_us as f64 / self.packets as f64 / 1e3
    }
}
