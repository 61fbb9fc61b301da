//! VoIP metrics (RFC 3611 section 4.7): what a voice endpoint has measured of a call.
//!
//! Never computes a metric: what is unknown stays so.

mod values;

pub use values::VoipMetricsValues;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

use super::BlockHeader;
use crate::id::Ssrc;

/// A VoIP metrics report block, 36 octets as they stand on the wire (RFC 3611 section 4.7).
///
/// Rates and densities are shares of the packets expected since reception began. A receiver
/// must ignore a score out of its range, so such a one is none.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct VoipMetrics {
    header: BlockHeader,
    ssrc: U32,
    loss_rate: u8,
    discard_rate: u8,
    burst_density: u8,
    gap_density: u8,
    burst_duration: U16,
    gap_duration: U16,
    round_trip: U16,
    end_system_delay: U16,
    signal_level: i8,
    noise_level: i8,
    rerl: u8,
    gmin: u8,
    r_factor: u8,
    external_r_factor: u8,
    mos_lq: u8,
    mos_cq: u8,
    receiver_config: u8,
    reserved: u8,
    jitter_buffer_nominal: U16,
    jitter_buffer_maximum: U16,
    jitter_buffer_absolute_maximum: U16,
}

impl VoipMetrics {
    /// The source this is about.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.ssrc.get())
    }

    /// Share of packets lost, after error correction, 0 to 255/256 in steps of 1/256 (section
    /// 4.7.1).
    #[must_use]
    pub fn loss_rate(&self) -> f64 {
        share(self.loss_rate)
    }

    /// Share of packets that the jitter buffer discarded as early or late, 0 to 255/256 in steps
    /// of 1/256 (section 4.7.1).
    #[must_use]
    pub fn discard_rate(&self) -> f64 {
        share(self.discard_rate)
    }

    /// Share of packets lost or discarded among those in bursts, 0 to 255/256 in steps of 1/256
    /// (section 4.7.2).
    #[must_use]
    pub fn burst_density(&self) -> f64 {
        share(self.burst_density)
    }

    /// Share of packets lost or discarded among those in gaps, 0 to 255/256 in steps of 1/256
    /// (section 4.7.2).
    #[must_use]
    pub fn gap_density(&self) -> f64 {
        share(self.gap_density)
    }

    /// Mean duration of the bursts in ms; 0 if there was none (section 4.7.2).
    #[must_use]
    pub const fn burst_duration_ms(&self) -> u16 {
        self.burst_duration.get()
    }

    /// Mean duration of the gaps in ms; 0 if there was none (section 4.7.2).
    #[must_use]
    pub const fn gap_duration_ms(&self) -> u16 {
        self.gap_duration.get()
    }

    /// The latest round trip between the RTP interfaces in ms, 1 to 65535; `None` as long as
    /// there is none (section 4.7.3).
    #[must_use]
    pub fn round_trip_ms(&self) -> Option<u16> {
        Some(self.round_trip.get()).filter(|&ms| ms != DELAY_UNKNOWN)
    }

    /// Delay within the endpoint in ms, both directions together: framing and encoding, jitter
    /// buffer, decoding and playing; 1 to 65535, `None` if unknown (section 4.7.3).
    #[must_use]
    pub fn end_system_delay_ms(&self) -> Option<u16> {
        Some(self.end_system_delay.get()).filter(|&ms| ms != DELAY_UNKNOWN)
    }

    /// Level of speech in dBm0, -128 to 126 (section 4.7.4).
    #[must_use]
    pub fn signal_level_dbm0(&self) -> Option<i8> {
        Some(self.signal_level).filter(|&level| level != LEVEL_UNAVAILABLE)
    }

    /// Level of noise between speech in dBm0, -128 to 126 (section 4.7.4).
    #[must_use]
    pub fn noise_level_dbm0(&self) -> Option<i8> {
        Some(self.noise_level).filter(|&level| level != LEVEL_UNAVAILABLE)
    }

    /// Residual echo return loss in dB, 0 to 255 but not 127 (section 4.7.4).
    #[must_use]
    pub fn rerl_db(&self) -> Option<u8> {
        Some(self.rerl).filter(|&loss| loss != UNAVAILABLE)
    }

    /// Packets in a row that must be good to end a burst, 1 to 255; `None` for the 0 that a
    /// sender must not send (section 4.7.6).
    #[must_use]
    pub fn gmin(&self) -> Option<u8> {
        Some(self.gmin).filter(|&gmin| gmin != 0)
    }

    /// R of the part of the call that this RTP session carries, delay included, 0 to 100 (section
    /// 4.7.5).
    #[must_use]
    pub fn r_factor(&self) -> Option<u8> {
        r_factor(self.r_factor)
    }

    /// R of the part of the call beyond the endpoint, 0 to 100 (section 4.7.5).
    #[must_use]
    pub fn external_r_factor(&self) -> Option<u8> {
        r_factor(self.external_r_factor)
    }

    /// MOS for listening, without delay, 1.0 to 5.0 in steps of 0.1 (section 4.7.5).
    #[must_use]
    pub fn mos_lq(&self) -> Option<f64> {
        mos(self.mos_lq)
    }

    /// MOS for conversing, with delay, 1.0 to 5.0 in steps of 0.1 (section 4.7.5).
    #[must_use]
    pub fn mos_cq(&self) -> Option<f64> {
        mos(self.mos_cq)
    }

    /// How lost packets are concealed; `None` if not said (section 4.7.6).
    #[must_use]
    pub const fn concealment(&self) -> Option<Concealment> {
        match self.receiver_config >> CONCEALMENT_SHIFT {
            3 => Some(Concealment::Standard),
            2 => Some(Concealment::Enhanced),
            1 => Some(Concealment::Disabled),
            _ => None,
        }
    }

    /// What kind of jitter buffer there is; `None` if not said (section 4.7.6).
    #[must_use]
    pub const fn jitter_buffer_kind(&self) -> Option<JitterBufferKind> {
        match self.receiver_config >> JITTER_BUFFER_SHIFT & 3 {
            3 => Some(JitterBufferKind::Adaptive),
            2 => Some(JitterBufferKind::Fixed),
            _ => None,
        }
    }

    /// How slowly an adaptive jitter buffer follows, 1 to 15: the time in which it goes from
    /// 30 ms to 100 ms, in units of two frames. `None` if unknown (section 4.7.6).
    #[must_use]
    pub fn jitter_buffer_rate(&self) -> Option<u8> {
        Some(self.receiver_config & JITTER_BUFFER_RATE).filter(|&rate| rate != 0)
    }

    /// Delay of a packet that comes on time in ms (section 4.7.7).
    #[must_use]
    pub const fn jitter_buffer_nominal_ms(&self) -> u16 {
        self.jitter_buffer_nominal.get()
    }

    /// Delay of the earliest packet that is not discarded at present in ms (section 4.7.7).
    #[must_use]
    pub const fn jitter_buffer_maximum_ms(&self) -> u16 {
        self.jitter_buffer_maximum.get()
    }

    /// What an adaptive jitter buffer may let that grow to in ms (section 4.7.7).
    #[must_use]
    pub const fn jitter_buffer_absolute_maximum_ms(&self) -> u16 {
        self.jitter_buffer_absolute_maximum.get()
    }
}

/// How lost packets are concealed (RFC 3611 section 4.7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concealment {
    /// With silence.
    Disabled,
    /// By replay or simple interpolation, which hides single losses.
    Standard,
    /// By interpolation that hides many losses.
    Enhanced,
}

/// Kind of a jitter buffer (RFC 3611 section 4.7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JitterBufferKind {
    /// Its size stays as it is.
    Fixed,
    /// Its size follows the jitter.
    Adaptive,
}

fn share(code: u8) -> f64 {
    f64::from(code) / SHARE_UNITS
}

fn r_factor(code: u8) -> Option<u8> {
    Some(code).filter(|&code| code <= R_FACTOR_MAX)
}

fn mos(code: u8) -> Option<f64> {
    (MOS_MIN..=MOS_MAX).contains(&code).then(|| f64::from(code) / 10.0)
}

/// RFC 3611 section 4.7.1: what a share of one would be, which 255 is held to.
const SHARE_UNITS: f64 = 256.0;
/// RFC 3611 section 4.7.3: stands for a delay not known.
const DELAY_UNKNOWN: u16 = 0;
/// RFC 3611 sections 4.7.4 and 4.7.5: stands for an unknown level, echo or score.
const UNAVAILABLE: u8 = 127;
const LEVEL_UNAVAILABLE: i8 = 127;
/// RFC 3611 section 4.7.5: the ranges of scores; MOS in tenths.
const R_FACTOR_MAX: u8 = 100;
const MOS_MIN: u8 = 10;
const MOS_MAX: u8 = 50;
/// RFC 3611 section 4.7.6: where the parts of RX config stand.
const CONCEALMENT_SHIFT: u32 = 6;
const JITTER_BUFFER_SHIFT: u32 = 4;
const JITTER_BUFFER_RATE: u8 = 0x0F;
