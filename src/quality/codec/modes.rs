//! The constants of codecs whose name does not tell their bit rate: AMR-WB and EVS, by mode.
//!
//! It never guesses the mode: the configuration can tell it.

use crate::{quality::Scale, wire::codec::Codec};

/// The constants of one bit rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    /// Bit rate, kbit/s.
    pub kbps: f64,
    /// Ie on the scale of its codec.
    pub ie: f64,
    /// Bpl on that scale, where one is published.
    pub bpl: Option<f64>,
}

/// The modes of a codec and the scale of their constants; none where the name tells all.
#[must_use]
pub const fn modes(codec: Codec) -> Option<(Scale, &'static [Mode])> {
    match codec {
        Codec::AmrWb => Some((Scale::Wb, &AMR_WB)),
        Codec::Evs => Some((Scale::Fb, &EVS)),
        _ => None,
    }
}

const fn mode(kbps: f64, ie: f64, bpl: Option<f64>) -> Mode {
    Mode { kbps, ie, bpl }
}

/// Diotic (both ears), G.113 (09/2024) Tables IV.3 and IV.4, uniform loss. The monotic Ie of
/// Table IV.1 has no Bpl, and a column must not borrow from the other.
const AMR_WB: [Mode; 6] = [
    mode(6.6, 56.0, None),
    mode(8.85, 41.0, None),
    mode(12.65, 20.0, Some(4.3)),
    mode(15.85, 17.0, None),
    mode(23.05, 8.0, Some(4.6)),
    mode(23.85, 10.0, Some(4.9)),
];

/// Superwideband, diotic, G.113 (09/2024) with Erratum 1 (01/2026). There are none for EVS in
/// narrowband, wideband or AMR-WB IO mode.
const EVS: [Mode; 6] = [
    mode(9.6, 22.7, Some(13.0)),
    mode(13.2, 17.1, Some(11.7)),
    mode(16.4, 10.8, Some(10.3)),
    mode(24.4, 7.2, Some(11.4)),
    mode(32.0, 8.7, Some(9.3)),
    mode(48.0, 10.2, Some(9.6)),
];
