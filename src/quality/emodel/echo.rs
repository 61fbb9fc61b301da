//! The delay terms that the three scales have in common, as functions of milliseconds.
//!
//! It knows no default and no scale: what differs between them is an argument.

/// TERV without its terms of other scales, dB (G.107 eq. 7-23).
pub(super) fn terv(telr_db: f64, t_ms: f64) -> f64 {
    telr_db - 40.0 * ((1.0 + t_ms / 10.0) / (1.0 + t_ms / 150.0)).log10()
        + 6.0 * (-0.3 * t_ms * t_ms).exp()
}

/// Idte from Roe and Re (G.107 eq. 7-20).
pub(super) fn idte(roe: f64, re: f64, t_ms: f64) -> f64 {
    let half = (roe - re) / 2.0;
    (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-t_ms).exp())
}

/// Idle from Ro and from Rle as it is at Tr = 0 (G.107 eq. 7-25, 7-26).
pub(super) fn idle(ro: f64, rle_at_no_delay: f64, tr_ms: f64) -> f64 {
    // The fourth root as two square roots: cheaper than a power.
    let rle = rle_at_no_delay / (tr_ms + 1.0).sqrt().sqrt();
    let half = (ro - rle) / 2.0;
    half + (half * half + 169.0).sqrt()
}

/// Rle at Tr = 0 (G.107 eq. 7-26).
pub(super) const fn rle_at_no_delay(wepl_db: f64) -> f64 {
    10.5 * (wepl_db + 7.0)
}

/// Idd of the narrowband scale (G.107 eq. 7-27, 7-28); sT is the sensitivity, mT the delay up to
/// which nothing is perceived, ms.
pub(super) fn idd(ta_ms: f64, sensitivity: f64, min_perceivable_ms: f64) -> f64 {
    if ta_ms <= min_perceivable_ms {
        return 0.0;
    }
    let x = (ta_ms / min_perceivable_ms).log2();
    let n = 6.0 * sensitivity;
    let bend = |x: f64| (1.0 + x.powf(n)).powf(n.recip());
    25.0 * (bend(x) - 3.0 * bend(x / 3.0) + 2.0)
}

/// Idd of the default class on a scale on which one point of the narrowband one is so many.
pub(super) fn default_idd(ta_ms: f64, scale: f64) -> f64 {
    scale * idd(ta_ms, DEFAULT_SENSITIVITY, DEFAULT_MIN_PERCEIVABLE_MS)
}

/// sT of the default class, which is mandatory for planning carriers' and enterprises' networks.
pub(super) const DEFAULT_SENSITIVITY: f64 = 1.0;

/// mT of the default class, ms.
pub(super) const DEFAULT_MIN_PERCEIVABLE_MS: f64 = 100.0;

/// TELR of G.107 Table 3, dB.
pub(super) const DEFAULT_TELR_DB: f64 = 65.0;

/// WEPL of G.107 Table 3, dB.
pub(super) const DEFAULT_WEPL_DB: f64 = 110.0;
