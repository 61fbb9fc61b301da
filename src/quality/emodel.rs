//! The narrowband E-model of ITU-T G.107 (06/2015): transmission parameters in, the rating R out.
//!
//! It knows no codec and no call, and clamps nothing but what the Recommendation clamps: outside
//! the ranges of Table 3 the formulas extrapolate.

use core::f64::consts::FRAC_PI_3;

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
    /// LSTR, listener sidetone rating, dB, 13 to 23; fixed to STMR + Dr.
    pub lstr_db: f64,
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

/// What the codec does to speech, and what packet loss does to the codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// Ie, equipment impairment factor without loss, 0 to 40.
    pub ie: f64,
    /// Bpl, packet-loss robustness factor, 4.3 to 40.
    pub bpl: f64,
    /// Ppl, packet-loss probability, percent, 0 to 20.
    pub ppl_percent: f64,
    /// BurstR, burst ratio, 1 to 8; validated to 2, above it only where Ppl is below 2 %.
    pub burst_r: f64,
}

/// R and every term it is made of (eq. 7-1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rated {
    /// Ro, the basic signal-to-noise ratio (eq. 7-2).
    pub ro: f64,
    /// Is, what happens simultaneously with the voice signal (eq. 7-8).
    pub is: f64,
    /// Idte, talker echo (eq. 7-20).
    pub idte: f64,
    /// Idle, listener echo (eq. 7-25).
    pub idle: f64,
    /// Idd, delay without echo (eq. 7-27, 7-28).
    pub idd: f64,
    /// Ie,eff, codec and packet loss (eq. 7-29).
    pub ie_eff: f64,
    /// The transmission rating; below 0 and above 100 it is not clamped.
    pub r: f64,
}

impl Rated {
    /// Id, all delay impairments together (eq. 7-18).
    #[must_use]
    pub const fn id(&self) -> f64 {
        self.idte + self.idle + self.idd
    }
}

impl Inputs {
    /// Rates the connection that these parameters describe.
    #[must_use]
    pub fn rate(&self) -> Rated {
        let line = Line::new(self);
        line.rate(Some(self.delay), self.equipment)
    }
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            slr_db: 8.0,
            rlr_db: 2.0,
            stmr_db: 15.0,
            ds: 3.0,
            lstr_db: 18.0,
            telr_db: 65.0,
            wepl_db: 110.0,
            qdu: 1.0,
            nc_dbm0p: -70.0,
            nfor_dbmp: -64.0,
            ps_dba: 35.0,
            pr_dba: 35.0,
            delay_sensitivity: 1.0,
            min_perceivable_delay_ms: 100.0,
            advantage: 0.0,
            delay: Delay::default(),
            equipment: Equipment::default(),
        }
    }
}

impl Default for Equipment {
    /// Table 3: Ie 0, Bpl 4.3, no loss, BurstR 1.
    fn default() -> Self {
        Self { ie: 0.0, bpl: 4.3, ppl_percent: 0.0, burst_r: 1.0 }
    }
}

impl Delay {
    /// The delays of a symmetric packet call whose echo comes back over the same path:
    /// T = Ta and Tr = 2 Ta.
    #[must_use]
    pub const fn symmetric(ta_ms: f64) -> Self {
        Self { t_ms: ta_ms, tr_ms: 2.0 * ta_ms, ta_ms }
    }
}

impl Equipment {
    /// Ie,eff (eq. 7-29). Above 95 where bursty loss meets a small Bpl; not clamped.
    #[must_use]
    pub fn ie_eff(&self) -> f64 {
        let Self { ie, bpl, ppl_percent, burst_r } = *self;
        ie + (IE_CEILING - ie) * ppl_percent / (ppl_percent / burst_r + bpl)
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
            rle_at_no_delay: 10.5 * (inputs.wepl_db + 7.0),
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
        let idle = delay.map_or(0.0, |delay| self.listener_echo(delay.tr_ms));
        let idd = delay.map_or(0.0, |delay| self.pure_delay(delay.ta_ms));
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
        // eq. 7-23
        let mut terv = telr_db - 40.0 * ((1.0 + t_ms / 10.0) / (1.0 + t_ms / 150.0)).log10()
            + 6.0 * (-0.3 * t_ms * t_ms).exp();
        if stmr_db < STMR_LOW_DB {
            terv += ist / 2.0;
        }
        // eq. 7-21, 7-22
        let re = 80.0 + 2.5 * (terv - 14.0);
        let half = (self.roe - re) / 2.0;
        let idte = (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-t_ms).exp());
        if stmr_db > STMR_HIGH_DB { idte.hypot(ist) } else { idte }
    }

    /// Idle (eq. 7-25, 7-26).
    fn listener_echo(&self, tr_ms: f64) -> f64 {
        // The fourth root as two square roots: cheaper than a power.
        let rle = self.rle_at_no_delay / (tr_ms + 1.0).sqrt().sqrt();
        let half = (self.ro - rle) / 2.0;
        half + (half * half + 169.0).sqrt()
    }

    /// Idd (eq. 7-27, 7-28).
    fn pure_delay(&self, ta_ms: f64) -> f64 {
        let min_ms = self.inputs.min_perceivable_delay_ms;
        if ta_ms <= min_ms {
            return 0.0;
        }
        let x = (ta_ms / min_ms).log2();
        let n = 6.0 * self.inputs.delay_sensitivity;
        let bend = |x: f64| (1.0 + x.powf(n)).powf(n.recip());
        25.0 * (bend(x) - 3.0 * bend(x / 3.0) + 2.0)
    }
}

/// MOS from R (Annex B, eq. B-4), 1 to 4.5. The cubic dips below 1 under R = 6.5; it is cut off.
#[must_use]
pub fn mos_from_r(r: f64) -> f64 {
    if r <= 0.0 {
        MOS_MIN
    } else if r >= 100.0 {
        MOS_MAX
    } else {
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(MOS_MIN)
    }
}

/// R from MOS (Appendix I), good for R from 6.5 to 100; MOS is clamped to 1 to 4.5.
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

/// No, the power sum of all noise, dBm0p (eq. 7-3 to 7-7).
fn noise_sum(inputs: &Inputs) -> f64 {
    let Inputs { slr_db, rlr_db, ds, lstr_db, nc_dbm0p, nfor_dbmp, ps_dba, pr_dba, .. } = *inputs;
    // eq. 7-4
    let nos =
        ps_dba - slr_db - ds - 100.0 + 0.004 * (ps_dba - (slr_db + rlr_db) - ds - 14.0).powi(2);
    // eq. 7-5, 7-6
    let pre = pr_dba + 10.0 * (1.0 + 10_f64.powf((10.0 - lstr_db) / 10.0)).log10();
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

/// Lowest MOS of the scale (ITU-T P.800).
pub const MOS_MIN: f64 = 1.0;

/// MOS that the model gives at R = 100 and above (eq. B-4).
pub const MOS_MAX: f64 = 4.5;

/// What Ie,eff tends to as loss grows (eq. 7-29).
const IE_CEILING: f64 = 95.0;

/// Below this mean one-way delay talker echo is taken as sidetone (clause 7.4).
const ECHO_MIN_MS: f64 = 1.0;

/// Below this STMR sidetone masks echo (eq. 7-23 becomes TERVs, clause 7.4).
const STMR_LOW_DB: f64 = 9.0;

/// Above this STMR Idte becomes Idtes (clause 7.4).
const STMR_HIGH_DB: f64 = 20.0;
