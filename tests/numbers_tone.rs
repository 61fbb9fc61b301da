//! What test numbers send, decoded by others and listened to: the tone's frequency and level in
//! every codec, the silence, and a recording that plays again and again.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;
#[path = "common/g722.rs"]
mod g722;

use core::f64::consts::TAU;
use std::{path::Path, sync::Arc};

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use common::{Caller, World, secs};
use voxplane::{
    shard::{
        ShardConfig,
        routes::{RawRoutes, Routes},
    },
    sound::Sounds,
    wire::rtp::RtpPacket,
};

/// Of A-law (ITU-T G.711 section 4): a sine that just reaches its largest value.
#[expect(clippy::approx_constant, reason = "decibels, not a circle")]
const OVERLOAD_DBM0: f64 = 3.14;

/// Codecs as an offer names them, with the sample rate of what is heard.
const CODECS: [(u8, &str, u32); 8] = [
    (0, "PCMU/8000", 8000),
    (8, "PCMA/8000", 8000),
    (9, "G722/8000", 16_000),
    (96, "L16/8000", 8000),
    (97, "L16/16000", 16_000),
    (98, "L16/32000", 32_000),
    (11, "L16/44100", 44_100),
    (99, "L16/48000", 48_000),
];

/// What a call hears for some seconds.
fn heard(
    config: ShardConfig,
    user: &'static str,
    format: (u8, &'static str),
    seconds: u64,
) -> Vec<i16> {
    let mut world = World::new(config);
    let mut caller = Caller { user, format, ..Caller::new("198.51.100.1:5070", "call") };
    caller.set_up(&mut world);
    world.run_for(secs(seconds));
    let sent = world.take();
    let rtp = sent.iter().filter(|sent| sent.src.port() == 20_000);
    let payloads: Vec<u8> =
        rtp.flat_map(|sent| RtpPacket::parse(&sent.bytes).unwrap().payload().to_vec()).collect();
    match format.1.split('/').next().unwrap() {
        "PCMU" => payloads.into_iter().map(decode_ulaw).collect(),
        "PCMA" => payloads.into_iter().map(decode_alaw).collect(),
        "G722" => g722::decode(&payloads),
        _ => payloads.chunks(2).map(|two| i16::from_be_bytes([two[0], two[1]])).collect(),
    }
}

/// Level of a frequency in dB below a full-scale sine (Goertzel's algorithm), and of all else.
fn levels(samples: &[i16], rate: u32, frequency: f64) -> (f64, f64) {
    let step = TAU * frequency / f64::from(rate);
    let (mut one, mut two, mut power) = (0.0, 0.0, 0.0);
    for &sample in samples {
        let sample = f64::from(sample) / 32_768.0;
        power += sample * sample;
        (one, two) = (sample + 2.0 * step.cos() * one - two, one);
    }
    let count = samples.len() as f64;
    let magnitude = one * one + two * two - 2.0 * step.cos() * one * two;
    // A full-scale sine has a power of one half.
    let tone = 4.0 * magnitude / (count * count);
    let rest = (2.0 * power / count - tone).max(1e-12);
    (10.0 * tone.max(1e-12).log10(), 10.0 * rest.log10())
}

/// 0 dBm0 is 3.14 dB below full scale.
#[test]
fn the_tone_is_a_milliwatt_of_1004_hz_in_every_codec() {
    for (payload_type, meaning, rate) in CODECS {
        let samples = heard(ShardConfig::default(), "tone", (payload_type, meaning), 5);
        let second = rate as usize;
        assert!(samples.len() >= second * 49 / 10, "{meaning}: {}", samples.len());
        // Each second but the first, in which the decoder finds its feet; G.722 has a seam after
        // two, and its sub-bands' filters take 0.1 dB.
        for part in samples[second..].chunks_exact(second) {
            let (tone, rest) = levels(part, rate, 1004.0);
            assert!((tone + OVERLOAD_DBM0).abs() < 0.2, "{meaning}: {tone:.2} dB");
            assert!(rest < tone - 30.0, "{meaning}: noise {rest:.2} dB");
            let (beside, _) = levels(part, rate, 1000.0);
            assert!(beside < -40.0, "{meaning}: {beside:.2} dB at 1000 Hz");
        }
    }
}

/// From the first packet on.
#[test]
fn the_tone_is_there_from_the_beginning() {
    for (payload_type, meaning, rate) in CODECS {
        let samples = heard(ShardConfig::default(), "tone", (payload_type, meaning), 1);
        let (tone, _) = levels(&samples[..rate as usize / 4], rate, 1004.0);
        assert!((tone + OVERLOAD_DBM0).abs() < 0.5, "{meaning}: {tone:.2} dB");
    }
}

#[test]
fn silence_cannot_be_heard() {
    for (payload_type, meaning, _) in CODECS {
        let samples = heard(ShardConfig::default(), "silence", (payload_type, meaning), 2);
        let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        // G.722 has no zero; its least step is some of 32768.
        assert!(
            loudest <= if meaning.starts_with("G722") { 16 } else { 8 },
            "{meaning}: {loudest}"
        );
    }
}

/// Two seconds at 44.1 kHz, of 440 Hz in one channel and 880 Hz in the other.
#[expect(clippy::cast_possible_truncation, reason = "below 24 bits")]
fn write_recording(file: &Path) {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 24,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file, spec).unwrap();
    for n in 0..88_200_u32 {
        for frequency in [440.0, 880.0] {
            let angle = TAU * frequency * f64::from(n) / 44_100.0;
            writer.write_sample((angle.sin() * 4_000_000.0) as i32).unwrap();
        }
    }
    writer.finalize().unwrap();
}

#[test]
fn a_recording_is_played_again_and_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write_recording(file.path());
    let sounds = Sounds::with_recording(file.path()).unwrap();
    let routes = Arc::new(Routes::new(RawRoutes::new(), true).unwrap());
    for (payload_type, meaning, rate) in CODECS {
        let config = ShardConfig {
            sounds: sounds.clone(),
            routes: Arc::clone(&routes),
            ..ShardConfig::default()
        };
        let samples = heard(config, "play", (payload_type, meaning), 7);
        for part in samples[rate as usize..].chunks_exact(rate as usize) {
            for frequency in [440.0, 880.0] {
                // Half of 4,000,000 of 2^23.
                let (level, _) = levels(part, rate, frequency);
                assert!((level + 12.45).abs() < 0.3, "{meaning}: {frequency} Hz {level:.2} dB");
            }
            let (elsewhere, _) = levels(part, rate, 1004.0);
            assert!(elsewhere < -45.0, "{meaning}: {elsewhere:.2} dB");
        }
    }
}
