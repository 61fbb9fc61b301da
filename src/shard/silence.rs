//! Whether a packet of G.711 is silent: a cheap look at some of its octets.
//!
//! Keeps nothing between packets, and says nothing of codecs whose octets mean nothing alone.

use crate::wire::codec::Codec;

/// Whether nothing can be heard in the payload of a packet; `None` where its octets do not tell,
/// or too few of them are there.
///
/// Nothing is heard where all samples looked at are next to zero, below -60 dB of full scale, or
/// where they do not change: a constant has no sound, whatever its value.
pub(crate) fn is_silent(codec: Codec, payload: &[u8]) -> Option<bool> {
    let is_faint: fn(u8) -> bool = match codec {
        Codec::Pcmu => |octet| !octet & MAGNITUDE <= PCMU_FAINT_MAX,
        Codec::Pcma => |octet| (octet ^ PCMA_MASK) & MAGNITUDE <= PCMA_FAINT_MAX,
        _ => return None,
    };
    let octets: &[u8; HEAD] = payload.first_chunk()?;
    let looked_at = LOOKED_AT.map(|at| octets[at]);
    let is_constant = looked_at.iter().all(|&octet| octet == looked_at[0]);
    Some(is_constant || looked_at.into_iter().all(is_faint))
}

/// The bits of a G.711 octet below its sign.
const MAGNITUDE: u8 = 0x7F;

/// Mu-law is sent inverted, and its first steps are 8 of 32768 wide (G.711 table 2a): up to 32.
const PCMU_FAINT_MAX: u8 = 4;

/// A-law is sent with every second bit inverted (G.711 section 3.3), and its first steps are 16 of
/// 32768 wide (table 1a): up to 24 for the middle of the second.
const PCMA_FAINT_MAX: u8 = 1;
const PCMA_MASK: u8 = 0x55;

/// The octets that lie in one cache line with the RTP header, which has been read: six
/// milliseconds of sound.
const HEAD: usize = 64 - 12;

/// Those that are looked at, at distances of which no two are the same: no tone is the same in all
/// of them.
const LOOKED_AT: [usize; 8] = [0, 1, 3, 8, 15, 24, 36, 51];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digital_silence_and_constants_are_silent() {
        for (codec, zeros) in [(Codec::Pcmu, [0xFF, 0x7F]), (Codec::Pcma, [0xD5, 0x55])] {
            assert_eq!(is_silent(codec, &[zeros[0]; 160]), Some(true));
            let dither: Vec<u8> = (0..160).map(|index| zeros[index / 5 % 2]).collect();
            assert_eq!(is_silent(codec, &dither), Some(true));
            assert_eq!(is_silent(codec, &[0x12; 160]), Some(true));
            assert_eq!(is_silent(codec, &[0xD5; HEAD - 1]), None);
        }
        assert_eq!(is_silent(Codec::G729, &[0; 100]), None);
    }

    #[test]
    fn what_can_be_heard_is_not_silent() {
        // A tone at about -40 dB: steps 16 to 36 of mu-law, whose sign changes.
        let tone = |index: usize| if index & 4 == 0 { !20_u8 } else { !(0x80 | 20) };
        let tone: Vec<u8> = (0..160).map(tone).collect();
        assert_eq!(is_silent(Codec::Pcmu, &tone), Some(false));
        // A-law steps 5, either sign.
        let tone = |index: usize| (if index & 4 == 0 { 5_u8 } else { 0x80 | 5 }) ^ 0x55;
        let tone: Vec<u8> = (0..160).map(tone).collect();
        assert_eq!(is_silent(Codec::Pcma, &tone), Some(false));
    }
}
