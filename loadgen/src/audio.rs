//! The audio of a call: a 1004 Hz test tone, encoded once with G.711.
//!
//! Nothing is encoded while calls are up.

use crate::options::AudioCodec;

/// Encoded audio that repeats without a seam.
#[derive(Clone, Debug)]
pub struct Clip {
    samples: Vec<u8>,
}

impl Clip {
    /// A 1004 Hz tone, the frequency that lines are tested with because it shares no factor with
    /// the sampling rate.
    #[must_use]
    pub fn tone(codec: AudioCodec) -> Self {
        let samples = (0..CLIP_SAMPLES).map(|n| {
            let angle = core::f64::consts::TAU * TONE_HZ * f64::from(n) / SAMPLE_RATE_HZ;
            encode(codec, AMPLITUDE * angle.sin())
        });
        Self { samples: samples.collect() }
    }

    /// The audio of a packet, counted from 0.
    #[must_use]
    pub fn packet(&self, index: u32) -> &[u8; SAMPLES_PER_PACKET] {
        let packets = self.samples.as_chunks().0;
        &packets[index as usize % packets.len()]
    }
}

/// One sample in -1 to 1, where 1 is the overload point of the codec.
#[expect(clippy::cast_possible_truncation, reason = "within 16 bits by the factor")]
fn encode(codec: AudioCodec, sample: f64) -> u8 {
    match codec {
        AudioCodec::Pcmu => mu_law((sample * MU_LAW_OVERLOAD).round() as i32),
        AudioCodec::Pcma => a_law((sample * A_LAW_OVERLOAD).round() as i32),
    }
}

/// Mu-law of a 14-bit linear sample (ITU-T G.711 table 2): sign, three bits of segment, four
/// of step, all inverted.
fn mu_law(linear: i32) -> u8 {
    let sign = if linear < 0 { 0x00 } else { 0x80 };
    let biased = linear.unsigned_abs().min(8158) + 33;
    let segment = biased.ilog2() - 5;
    let step = (biased >> (segment + 1)) & 0x0F;
    sign | low_byte(!(segment << 4 | step)) & 0x7F
}

/// A-law of a 13-bit linear sample (ITU-T G.711 table 1): sign, three bits of segment, four of
/// step, even bits inverted.
fn a_law(linear: i32) -> u8 {
    let sign = if linear < 0 { 0x00 } else { 0x80 };
    let magnitude = linear.unsigned_abs().min(4095);
    let code = match magnitude.checked_ilog2() {
        Some(bit) if bit >= 5 => (bit - 4) << 4 | (magnitude >> (bit - 4)) & 0x0F,
        _ => magnitude >> 1,
    };
    (sign | low_byte(code)) ^ 0x55
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

/// Samples in 20 ms at 8000 Hz.
pub const SAMPLES_PER_PACKET: usize = 160;

const SAMPLE_RATE_HZ: f64 = 8000.0;
const TONE_HZ: f64 = 1004.0;
/// 1004 Hz repeats after 2000 samples; twice that is a whole number of packets.
const CLIP_SAMPLES: u32 = 4000;
/// About -10 dBm0: loud speech.
const AMPLITUDE: f64 = 0.22;
/// Virtual decision values at the top (ITU-T G.711 tables 1 and 2).
const MU_LAW_OVERLOAD: f64 = 8159.0;
const A_LAW_OVERLOAD: f64 = 4096.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// ITU-T G.711 tables 5 and 6 give the codes of a 1 kHz tone at 0 dBm0, which is 3.14 dB
    /// (A-law) and 3.17 dB (mu-law) below overload.
    #[test]
    fn the_digital_milliwatt_comes_out() {
        let tone = |codec, below_overload_db: f64| -> Vec<u8> {
            let amplitude = 10f64.powf(-below_overload_db / 20.0);
            let angle = |n: i32| core::f64::consts::TAU * (f64::from(n) + 0.5) / 8.0;
            (0..8).map(|n| encode(codec, amplitude * angle(n).sin())).collect()
        };
        let a_law = [0x34, 0x21, 0x21, 0x34, 0xB4, 0xA1, 0xA1, 0xB4];
        let mu_law = [0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E];
        // In hundredths, as 3.14 alone reads like another constant.
        let (a_law_db, mu_law_db) = (314.0 / 100.0, 317.0 / 100.0);
        let flip = |codes: [u8; 8]| codes.map(|code| code ^ 0x80).to_vec();
        assert_eq!(tone(AudioCodec::Pcma, a_law_db), flip(a_law));
        assert_eq!(tone(AudioCodec::Pcmu, mu_law_db), flip(mu_law));
    }

    #[test]
    fn the_clip_repeats_after_whole_packets() {
        let clip = Clip::tone(AudioCodec::Pcmu);
        assert_eq!(clip.packet(0), clip.packet(25));
        assert_ne!(clip.packet(0), clip.packet(1));
    }
}
