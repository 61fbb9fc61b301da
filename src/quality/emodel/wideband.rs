//! The wideband E-model of ITU-T G.107.1 (06/2019): R from 0 to 129.
//!
//! It never takes narrowband constants: a narrowband Ie is not one of this scale.

use super::{Delay, Equipment, Rated, echo, mos_from_r};

/// The parameters of the wideband model that are not 0 by default; all else is fixed in Ro.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// TELR, talker echo loudness rating, dB, 5 to 65.
    pub telr_db: f64,
    /// WEPL, weighted echo path loss, dB, 5 to 110.
    pub wepl_db: f64,
    /// A, advantage factor, 0 to 20.
    pub advantage: f64,
}

impl Default for Inputs {
    fn default() -> Self {
        Self { telr_db: echo::DEFAULT_TELR_DB, wepl_db: echo::DEFAULT_WEPL_DB, advantage: 0.0 }
    }
}

impl Inputs {
    /// Rates a connection: R = 129 - Id,WB - Ie,eff,WB + A. Without a `delay` Id is exactly 0.
    ///
    /// `equipment` is on the wideband scale. Its BurstR is not used: eq. 7-15 has none.
    #[must_use]
    pub fn rate(&self, delay: Option<Delay>, equipment: Equipment) -> Rated {
        let rle = echo::rle_at_no_delay(self.wepl_db);
        let idte = delay.map_or(0.0, |delay| self.talker_echo(delay.t_ms));
        let idle = delay.map_or(0.0, |delay| echo::idle(R_MAX, rle, delay.tr_ms));
        let idd = delay.map_or(0.0, |delay| echo::default_idd(delay.ta_ms, R_TO_NARROWBAND));
        let ie_eff = Equipment { burst_r: 1.0, ..equipment }.ie_eff_toward(IE_CEILING);
        let r = R_MAX - (idte + idle + idd) - ie_eff + self.advantage;
        Rated { ro: R_MAX, is: 0.0, idte, idle, idd, ie_eff, r }
    }

    /// Idte,WB. Unlike in G.107 there is no delay below which it is 0 but 0 itself.
    fn talker_echo(&self, t_ms: f64) -> f64 {
        let k = if t_ms < K_LEVEL_MS { 0.08 * t_ms + 10.0 } else { 18.0 };
        let re = 80.0 + 3.0 * (echo::terv(self.telr_db, t_ms) + k - 14.0);
        echo::idte(ROE, re, t_ms)
    }
}

/// MOS from the wideband R, 1 to 4.5: the cubic of G.107 at R / 1.29.
#[must_use]
pub fn mos(r: f64) -> f64 {
    mos_from_r(r / R_TO_NARROWBAND)
}

/// Ro and top of the scale: a clean wideband connection.
pub const R_MAX: f64 = 129.0;

/// What Ie,eff,WB tends to as loss grows (eq. 7-15); it stays that of the narrowband scale.
pub const IE_CEILING: f64 = 95.0;

/// R of this scale for one point of the narrowband one.
const R_TO_NARROWBAND: f64 = 1.29;

/// Roe of the talker echo, from the noise that the text of 06/2019 gives: -1.5 (No - RLR) with the
/// defaults of G.107 and Nfor = -96 dBmp. Corrigendum 1 (01/2020) changes eq. 7-6 and could not be
/// read; another implementation takes 129, which costs 0.6 more in R at 150 ms, 0.005 of the MOS of
/// a clean call, and 1.6 at a second.
const ROE: f64 = 106.208_309;

/// From this mean one-way delay of the echo path K is level.
const K_LEVEL_MS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::emodel::narrowband;

    #[test]
    fn roe_is_that_of_the_quiet_noise_floor() {
        let inputs = narrowband::Inputs { nfor_dbmp: -96.0, ..narrowband::Inputs::default() };
        let roe = -1.5 * (narrowband::noise_sum(&inputs) - inputs.rlr_db);
        assert!((ROE - roe).abs() < 1e-6, "{roe}");
    }
}
