//! A recording: a WAV file, read and encoded once.
//!
//! One channel or several, which are mixed; 8 to 32 bits, or float; any usual sample rate.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use hound::{SampleFormat, WavReader};

use super::{Encoded, resample::resample};

/// Why a recording cannot be used; one sentence.
#[derive(Debug, thiserror::Error)]
#[error("play_file: {}: {reason}", file.display())]
pub struct RecordingError {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads and encodes a file.
pub(super) fn read(file: &Path) -> Result<Encoded, RecordingError> {
    let read = || -> Result<Encoded, String> {
        let reader = WavReader::open(file).map_err(sentence)?;
        let rate = reader.spec().sample_rate;
        let samples = mixed(reader)?;
        Ok(Encoded::new(|wanted| {
            resample(&samples, rate, wanted).into_iter().map(quantized).collect()
        }))
    };
    read().map_err(|reason| RecordingError { file: file.to_owned(), reason })
}

/// The samples, from -1 to 1, all channels mixed into one.
fn mixed(mut reader: WavReader<BufReader<File>>) -> Result<Vec<f32>, String> {
    let spec = reader.spec();
    if !(RATE_MIN..=RATE_MAX).contains(&spec.sample_rate) {
        return Err(format!("{} Hz is not from {RATE_MIN} to {RATE_MAX}", spec.sample_rate));
    }
    if !(1..=CHANNELS_MAX).contains(&spec.channels) {
        return Err(format!("{} channels are not from 1 to {CHANNELS_MAX}", spec.channels));
    }
    let seconds = f64::from(reader.duration()) / f64::from(spec.sample_rate);
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
        return Err(format!("{seconds:.2} s is not from {SECONDS_MIN} to {SECONDS_MAX}"));
    }
    let samples: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect(),
        SampleFormat::Int => {
            let full = (1_u64 << (spec.bits_per_sample - 1)) as f32;
            reader.samples::<i32>().map(|sample| Ok(sample? as f32 / full)).collect()
        }
    };
    let samples = samples.map_err(sentence)?;
    let channels = usize::from(spec.channels);
    let mix = |frame: &[f32]| frame.iter().sum::<f32>() / f32::from(spec.channels);
    Ok(samples.chunks_exact(channels).map(mix).collect())
}

/// To 16 bits. What is no number is silence.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn quantized(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

/// What the reader says, without a line end.
fn sentence(error: hound::Error) -> String {
    match error {
        hound::Error::IoError(error) => error.to_string(),
        error => format!("no WAV file that can be read: {error}"),
    }
}

const RATE_MIN: u32 = 8000;
const RATE_MAX: u32 = 192_000;
const CHANNELS_MAX: u16 = 8;

/// Less is no sound.
const SECONDS_MIN: f64 = 0.1;

/// In all codecs a second takes 330 KB: 20 MB for the longest.
const SECONDS_MAX: f64 = 60.0;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "samples and counts of a test file")]
mod tests {
    use hound::{WavSpec, WavWriter};

    use super::*;
    use crate::wire::codec::Codec;

    /// A file with a second of a saw, at a quarter of full scale in each channel.
    fn file(spec: WavSpec) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = WavWriter::create(file.path(), spec).unwrap();
        for n in 0..spec.sample_rate * u32::from(spec.channels) {
            let value = f64::from(n / u32::from(spec.channels) % 80) / 160.0 - 0.25;
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                SampleFormat::Int => {
                    let full = (1_u64 << (spec.bits_per_sample - 1)) as f64;
                    writer.write_sample((value * full).round() as i32).unwrap();
                }
            }
        }
        writer.finalize().unwrap();
        file
    }

    fn spec(channels: u16, bits_per_sample: u16, sample_format: SampleFormat) -> WavSpec {
        WavSpec { channels, sample_rate: 8000, bits_per_sample, sample_format }
    }

    #[test]
    fn every_kind_of_sample_gives_the_same_sound() {
        let int = SampleFormat::Int;
        let kinds = [(1, 8, int), (2, 16, int), (1, 24, int), (3, 32, int)];
        for (channels, bits, format) in kinds.into_iter().chain([(2, 32, SampleFormat::Float)]) {
            let file = file(spec(channels, bits, format));
            let encoded = read(file.path()).unwrap();
            let mut octets = Vec::new();
            encoded.get(Codec::L16, 8000).unwrap().copy(0, 8000, &mut octets);
            for (n, sample) in octets.chunks(2).enumerate() {
                let sample = i32::from(i16::from_be_bytes([sample[0], sample[1]]));
                let expected = i32::try_from(n % 80).unwrap() * 32_768 / 160 - 8192;
                assert!((sample - expected).abs() <= 256, "{bits} bits: {sample} {expected}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let reason = |path: &Path| read(path).unwrap_err().to_string();
        let missing = reason(Path::new("/nowhere/hello.wav"));
        assert!(missing.starts_with("play_file: /nowhere/hello.wav: No such file"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"not a WAV file at all").unwrap();
        assert!(reason(file.path()).contains("no WAV file that can be read"));
        assert!(reason(Path::new("/")).contains("play_file: /: "));
    }

    #[test]
    fn a_recording_has_bounds() {
        let write = |sample_rate: u32, millis: u32| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let spec = WavSpec { sample_rate, ..spec(1, 8, SampleFormat::Int) };
            let mut writer = WavWriter::create(file.path(), spec).unwrap();
            for _ in 0..sample_rate * millis / 1000 {
                writer.write_sample(7_i8).unwrap();
            }
            writer.finalize().unwrap();
            file
        };
        let reason = |file: tempfile::NamedTempFile| read(file.path()).unwrap_err().reason;
        assert_eq!(reason(write(8000, 61_000)), "61.00 s is not from 0.1 to 60");
        assert_eq!(reason(write(8000, 50)), "0.05 s is not from 0.1 to 60");
        assert_eq!(reason(write(7999, 1000)), "7999 Hz is not from 8000 to 192000");
        let cut = write(8000, 2000);
        let bytes = std::fs::read(cut.path()).unwrap();
        std::fs::write(cut.path(), &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(cut.path()).is_err(), "a file that ends too early");
    }
}
