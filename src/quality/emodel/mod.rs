//! The E-model on its three scales: transmission parameters in, the rating R and MOS out.
//!
//! It knows no codec and no call, and clamps nothing but what the Recommendations clamp: outside
//! the permitted ranges the formulas extrapolate.

pub mod fullband;
pub mod narrowband;
pub mod wideband;

mod echo;

use core::f64::consts::FRAC_PI_3;

pub use narrowband::{Inputs, Line};

/// The delays of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Delay {
    /// T, mean one-way delay of the echo path, ms, 0 to 500.
    pub t_ms: f64,
    /// Tr, round-trip delay in the four-wire loop, ms, 0 to 1000.
    pub tr_ms: f64,
    /// Ta, absolute one-way delay of the echo-free connection, ms, 0 to 500.
    pub ta_ms: f64,
}

impl Delay {
    /// The delays of a symmetric packet call whose echo comes back over the same path:
    /// T = Ta and Tr = 2 Ta.
    #[must_use]
    pub const fn symmetric(ta_ms: f64) -> Self {
        Self { t_ms: ta_ms, tr_ms: 2.0 * ta_ms, ta_ms }
    }
}

/// What the codec does to speech, and what packet loss does to the codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// Ie, equipment impairment factor without loss, on the scale in use: 0 to 40 in Table 3 of
    /// G.107, though G.113 has up to 50, and 56 on the wideband scale.
    pub ie: f64,
    /// Bpl, packet-loss robustness factor, 4.3 to 40.
    pub bpl: f64,
    /// Ppl, packet-loss probability, percent, 0 to 20.
    pub ppl_percent: f64,
    /// BurstR, burst ratio, 1 to 8; validated to 2, above it only where Ppl is below 2 %.
    pub burst_r: f64,
}

impl Equipment {
    /// Ie,eff on the narrowband scale (G.107 eq. 7-29). Above 95 where bursty loss meets a small
    /// Bpl; not clamped.
    #[must_use]
    pub fn ie_eff(&self) -> f64 {
        self.ie_eff_toward(narrowband::IE_CEILING)
    }

    /// Ie,eff on a scale where it tends to `ceiling` as loss grows.
    #[must_use]
    pub fn ie_eff_toward(&self, ceiling: f64) -> f64 {
        let Self { ie, bpl, ppl_percent, burst_r } = *self;
        ie + (ceiling - ie) * ppl_percent / (ppl_percent / burst_r + bpl)
    }
}

impl Default for Equipment {
    /// G.107 Table 3: Ie 0, Bpl 4.3, no loss, BurstR 1.
    fn default() -> Self {
        Self { ie: 0.0, bpl: 4.3, ppl_percent: 0.0, burst_r: 1.0 }
    }
}

/// R and every term it is made of (G.107 eq. 7-1 and its wide- and fullband forms).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rated {
    /// Ro, the basic signal-to-noise ratio: G.107 eq. 7-2; 129 and 148 on the wider scales.
    pub ro: f64,
    /// Is, what happens simultaneously with the voice signal (G.107 eq. 7-8); 0 on the wider
    /// scales.
    pub is: f64,
    /// Idte, talker echo.
    pub idte: f64,
    /// Idle, listener echo.
    pub idle: f64,
    /// Idd, delay without echo.
    pub idd: f64,
    /// Ie,eff, codec and packet loss.
    pub ie_eff: f64,
    /// The transmission rating; it is not clamped to its scale.
    pub r: f64,
}

impl Rated {
    /// Id, all delay impairments together (G.107 eq. 7-18).
    #[must_use]
    pub const fn id(&self) -> f64 {
        self.idte + self.idle + self.idd
    }
}

/// MOS from the narrowband R (G.107 Annex B, eq. B-4), 1 to 4.5. The cubic dips below 1 under
/// R = 6.5; it is cut off.
#[must_use]
pub fn mos_from_r(r: f64) -> f64 {
    if r >= 100.0 {
        MOS_MAX
    } else if r > 0.0 {
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(MOS_MIN)
    } else {
        MOS_MIN
    }
}

/// R from MOS (G.107 Appendix I), good for R from 6.5 to 100; MOS is clamped to 1 to 4.5.
///
/// The Recommendation writes the arguments of the arc tangent as (x, y), the reverse of `atan2`.
#[must_use]
pub fn r_from_mos(mos: f64) -> f64 {
    let mos = mos.clamp(MOS_MIN, MOS_MAX);
    let x = 18_566.0 - 6_750.0 * mos;
    let y = 15.0 * (-903_522.0 + 1_113_960.0 * mos - 202_500.0 * mos * mos).max(0.0).sqrt();
    let h = y.atan2(x) / 3.0;
    20.0 / 3.0 * (8.0 - 226.0_f64.sqrt() * (h + FRAC_PI_3).cos())
}

/// Lowest MOS of the scale (ITU-T P.800).
pub const MOS_MIN: f64 = 1.0;

/// MOS that the model gives at the top of each scale of R (G.107 eq. B-4).
pub const MOS_MAX: f64 = 4.5;
