//! The fullband E-model of ITU-T G.107.2 in its form of 2019: R from 0 to 148.
//!
//! It has no noise and no echo: the edition of 03/2023, which adds noise, could not be read.

use super::{Delay, Equipment, Rated, echo, mos_from_r};

/// Rates a connection: R = 148 - Id,FB - Ie,eff,FB, with the advantage factor at 0. Without a
/// `delay` Id is 0.
///
/// `equipment` is on the fullband scale.
#[must_use]
pub fn rate(delay: Option<Delay>, equipment: Equipment) -> Rated {
    let idd = delay.map_or(0.0, |delay| echo::default_idd(delay.ta_ms, R_TO_NARROWBAND));
    let ie_eff = equipment.ie_eff_toward(IE_CEILING);
    let r = R_MAX - idd - ie_eff;
    Rated { ro: R_MAX, is: 0.0, idte: 0.0, idle: 0.0, idd, ie_eff, r }
}

/// MOS from the fullband R, 1 to 4.5: the cubic of G.107 at R / 1.48.
#[must_use]
pub fn mos(r: f64) -> f64 {
    mos_from_r(r / R_TO_NARROWBAND)
}

/// Ro and top of the scale: a clean fullband connection.
pub const R_MAX: f64 = 148.0;

/// What Ie,eff,FB tends to as loss grows.
pub const IE_CEILING: f64 = 132.0;

/// R of this scale for one point of the narrowband one.
const R_TO_NARROWBAND: f64 = 1.48;
