//! Samples to octets: what each codec makes of a sound that goes on for ever.

use audio_codec_algorithms::{encode_alaw, encode_ulaw};

use super::{Loop, g722::G722Encoder};
use crate::wire::codec::Codec;

/// Encodes a sound, whose samples are to be had at any rate, for a codec at an RTP clock.
pub(super) fn encode((codec, clock_rate): (Codec, u32), samples: &dyn Fn(u32) -> Vec<i16>) -> Loop {
    let mut head = 0;
    let mut octets_per_tick = 1;
    let octets: Box<[u8]> = match codec {
        Codec::Pcmu => samples(clock_rate).into_iter().map(encode_ulaw).collect(),
        Codec::Pcma => samples(clock_rate).into_iter().map(encode_alaw).collect(),
        Codec::G722 => {
            // The clock is half the sample rate, by historical error (RFC 3551 section 4.5.2).
            let samples = samples(clock_rate * 2);
            // From the second lap on the encoder knows the sound. It is never quite in the same
            // state again, so the seam can be heard in a loud tone, as a click; it is far away.
            head = samples.len() / 2;
            let laps = (SEAM_EVERY_SECS * clock_rate as usize / head.max(1)).max(2);
            let mut encoder = G722Encoder::default();
            let pairs = samples.chunks_exact(2).cycle().take(laps * head);
            pairs.map(|pair| encoder.encode([pair[0], pair[1]])).collect()
        }
        // In network byte order (RFC 3551 section 4.5.11).
        _ => {
            octets_per_tick = size_of::<i16>();
            samples(clock_rate).into_iter().flat_map(i16::to_be_bytes).collect()
        }
    };
    Loop { octets, head, octets_per_tick }
}

/// Seconds between the seams of what is adaptively encoded: 240 KB for each sound.
const SEAM_EVERY_SECS: usize = 30;
