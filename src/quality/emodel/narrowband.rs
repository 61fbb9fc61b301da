//! The narrowband E-model of ITU-T G.107 (06/2015): transmission parameters in, the rating R out.
//!
//! It never rates a wideband connection: its scale ends where a clean telephone line does.

use super::{Delay, Equipment, Rated, echo};

/// The input parameters of G.107 Table 3; the default is the table's default column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// SLR, send loudness rating, dB, 0 to 18.
    pub slr_db: f64,
    /// RLR, receive loudness rating, dB, -5 to 14.
    pub rlr_db: f64,
    /// STMR, sidetone masking rating, dB, 10 to 20.
    pub stmr_db: f64,
    /// Ds, D-factor of the handset at the send side, -3 to 3.
    pub ds: f64,
    /// Dr, D-factor of the handset at the receive side, -3 to 3.
    pub dr: f64,
    /// TELR, talker echo loudness rating, dB, 5 to 65.
    pub telr_db: f64,
    /// WEPL, weighted echo path loss, dB, 5 to 110.
    pub wepl_db: f64,
    /// Number of quantisation distortion units, 1 to 14.
    pub qdu: f64,
    /// Nc, circuit noise at the 0 dBr point, dBm0p, -80 to -40.
    pub nc_dbm0p: f64,
    /// Nfor, noise floor at the receive side, dBmp.
    pub nfor_dbmp: f64,
    /// Ps, room noise at the send side, dB(A), 35 to 85.
    pub ps_dba: f64,
    /// Pr, room noise at the receive side, dB(A), 35 to 85.
    pub pr_dba: f64,
    /// sT, delay sensitivity: 1, 0.55 or 0.4 by class.
    pub delay_sensitivity: f64,
    /// mT, smallest delay that is perceived, ms: 100, 120 or 150 by class.
    pub min_perceivable_delay_ms: f64,
    /// A, advantage factor, 0 to 20: an expectation of the user, not a measurement.
    pub advantage: f64,
    /// T, Tr and Ta.
    pub delay: Delay,
    /// Ie, Bpl, Ppl and BurstR.
    pub equipment: Equipment,
}

impl Inputs {
    /// Rates the connection that these parameters describe.
    #[must_use]
    pub fn rate(&self) -> Rated {
        let line = Line::new(self);
        line.rate(Some(self.delay), self.equipment)
    }

    /// LSTR, listener sidetone rating, dB, 13 to 23: Table 3 fixes it to STMR + Dr.
    #[must_use]
    pub const fn lstr_db(&self) -> f64 {
        self.stmr_db + self.dr
    }
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            slr_db: 8.0,
            rlr_db: 2.0,
            stmr_db: 15.0,
            ds: 3.0,
            dr: 3.0,
            telr_db: echo::DEFAULT_TELR_DB,
            wepl_db: echo::DEFAULT_WEPL_DB,
            qdu: 1.0,
            nc_dbm0p: -70.0,
            nfor_dbmp: -64.0,
            ps_dba: 35.0,
            pr_dba: 35.0,
            delay_sensitivity: echo::DEFAULT_SENSITIVITY,
            min_perceivable_delay_ms: echo::DEFAULT_MIN_PERCEIVABLE_MS,
            advantage: 0.0,
            delay: Delay::default(),
            equipment: Equipment::default(),
        }
    }
}

/// The part of the model that neither delay nor loss moves, computed once for many ratings.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    ro: f64,
    roe: f64,
    iolr_and_iq: f64,
    ist_without_echo: f64,
    rle_at_no_delay: f64,
    inputs: Inputs,
}

impl Line {
    /// Works out what `inputs` says about the line; its `delay` and `equipment` are not used.
    #[must_use]
    pub fn new(inputs: &Inputs) -> Self {
        let no = noise_sum(inputs);
        // eq. 7-2
        let ro = 15.0 - 1.5 * (inputs.slr_db + no);
        Self {
            ro,
            // eq. 7-22
            roe: -1.5 * (no - inputs.rlr_db),
            iolr_and_iq: iolr(inputs, no) + iq(inputs.qdu, ro),
            ist_without_echo: ist(inputs, 0.0),
            // eq. 7-26 at Tr = 0
            rle_at_no_delay: echo::rle_at_no_delay(inputs.wepl_db),
            inputs: *inputs,
        }
    }

    /// Rates a connection over this line. Without a `delay` Id is exactly 0, as listening
    /// quality needs it; at a delay of 0 ms it is not (Idle is 0.149 at the default point).
    #[must_use]
    pub fn rate(&self, delay: Option<Delay>, equipment: Equipment) -> Rated {
        let ist = delay.map_or(self.ist_without_echo, |delay| ist(&self.inputs, delay.t_ms));
        let is = self.iolr_and_iq + ist;
        let idte = delay.map_or(0.0, |delay| self.talker_echo(delay.t_ms, ist));
        let idle =
            delay.map_or(0.0, |delay| echo::idle(self.ro, self.rle_at_no_delay, delay.tr_ms));
        let Inputs { delay_sensitivity, min_perceivable_delay_ms, .. } = self.inputs;
        let idd = delay.map_or(0.0, |delay| {
            echo::idd(delay.ta_ms, delay_sensitivity, min_perceivable_delay_ms)
        });
        let ie_eff = equipment.ie_eff();
        // eq. 7-1
        let r = self.ro - is - (idte + idle + idd) - ie_eff + self.inputs.advantage;
        Rated { ro: self.ro, is, idte, idle, idd, ie_eff, r }
    }

    /// Idte (eq. 7-20 to 7-24).
    fn talker_echo(&self, t_ms: f64, ist: f64) -> f64 {
        if t_ms < ECHO_MIN_MS {
            return 0.0;
        }
        let Inputs { telr_db, stmr_db, .. } = self.inputs;
        let mut terv = echo::terv(telr_db, t_ms);
        if stmr_db < STMR_LOW_DB {
            terv += ist / 2.0;
        }
        // eq. 7-21
        let re = 80.0 + 2.5 * (terv - 14.0);
        let idte = echo::idte(self.roe, re, t_ms);
        if stmr_db > STMR_HIGH_DB { idte.hypot(ist) } else { idte }
    }
}

/// No, the power sum of all noise, dBm0p (eq. 7-3 to 7-7).
pub(super) fn noise_sum(inputs: &Inputs) -> f64 {
    let Inputs { slr_db, rlr_db, ds, nc_dbm0p, nfor_dbmp, ps_dba, pr_dba, .. } = *inputs;
    // eq. 7-4
    let nos =
        ps_dba - slr_db - ds - 100.0 + 0.004 * (ps_dba - (slr_db + rlr_db) - ds - 14.0).powi(2);
    // eq. 7-5, 7-6
    let pre = pr_dba + 10.0 * (1.0 + 10_f64.powf((10.0 - inputs.lstr_db()) / 10.0)).log10();
    let nor = rlr_db - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
    // eq. 7-7
    let nfo = nfor_dbmp + rlr_db;
    let power: f64 = [nc_dbm0p, nos, nor, nfo].map(|level| 10_f64.powf(level / 10.0)).iter().sum();
    10.0 * power.log10()
}

/// Iolr, a loudness that is too high (eq. 7-9, 7-10).
fn iolr(inputs: &Inputs, no: f64) -> f64 {
    let xolr = inputs.slr_db + inputs.rlr_db + 0.2 * (64.0 + no - inputs.rlr_db);
    let x = xolr / 8.0;
    20.0 * ((1.0 + x.powi(8)).powf(0.125) - x)
}

/// Ist, a sidetone that is not optimal (eq. 7-11, 7-12).
fn ist(inputs: &Inputs, t_ms: f64) -> f64 {
    let echo = (-t_ms / 4.0).exp() * 10_f64.powf(-inputs.telr_db / 10.0);
    let stmr_o = -10.0 * (10_f64.powf(-inputs.stmr_db / 10.0) + echo).log10();
    let term = |x: f64, n: i32| (1.0 + x.powi(n)).powf(f64::from(n).recip());
    12.0 * term((stmr_o - 13.0) / 6.0, 8)
        - 28.0 * term((stmr_o + 1.0) / 19.4, 35)
        - 13.0 * term((stmr_o - 3.0) / 33.0, 13)
        + 29.0
}

/// Iq, quantisation distortion (eq. 7-13 to 7-17).
fn iq(qdu: f64, ro: f64) -> f64 {
    let q = 37.0 - 15.0 * qdu.max(1.0).log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    15.0 * (1.0 + 10_f64.powf(y) + 10_f64.powf(z)).log10()
}

/// What Ie,eff tends to as loss grows (eq. 7-29).
pub const IE_CEILING: f64 = 95.0;

/// Below this mean one-way delay talker echo is taken as sidetone (clause 7.4).
const ECHO_MIN_MS: f64 = 1.0;

/// Below this STMR sidetone masks echo (eq. 7-23 becomes TERVs, clause 7.4).
const STMR_LOW_DB: f64 = 9.0;

/// Above this STMR Idte becomes Idtes (clause 7.4).
const STMR_HIGH_DB: f64 = 20.0;

/// The top of the scale: R from here on is MOS 4.5. The defaults of Table 3 reach 93.2.
pub const R_MAX: f64 = 100.0;
