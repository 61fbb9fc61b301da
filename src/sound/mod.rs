//! What callers can hear: a tone, silence, a recording; each encoded once, for every codec that
//! there is an encoder for.
//!
//! Knows nothing of calls. The samples are made or read at the start, and shared by all shards.

use std::sync::{Arc, LazyLock};

mod encode;
mod g722;
mod recording;
mod resample;
mod tone;

pub use recording::RecordingError;

use crate::wire::codec::Codec;

/// What a call can hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// 1004 Hz.
    Tone,
    /// A recording, again and again.
    Recording,
    /// Digital silence.
    Silence,
}

/// Everything that calls can hear.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sounds {
    recording: Option<Arc<Encoded>>,
}

impl Sounds {
    /// The tone, silence, and the recording in a WAV file.
    ///
    /// # Errors
    /// The file cannot be read or used; the error says which and why.
    pub fn with_recording(file: &std::path::Path) -> Result<Self, RecordingError> {
        recording::read(file).map(|encoded| Self { recording: Some(Arc::new(encoded)) })
    }

    /// Whether there is a recording.
    #[must_use]
    pub const fn has_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// A sound in a codec at an RTP clock in Hz; `None` where there is no such.
    #[must_use]
    pub fn get(&self, sound: Sound, codec: Codec, clock_rate: u32) -> Option<&Arc<Loop>> {
        let encoded = match sound {
            Sound::Tone => &*TONE,
            Sound::Silence => &*SILENCE,
            Sound::Recording => self.recording.as_deref()?,
        };
        encoded.get(codec, clock_rate)
    }

    /// Encodes what has not been encoded yet, so that no call waits for it.
    pub fn prepare() {
        LazyLock::force(&TONE);
        LazyLock::force(&SILENCE);
    }
}

/// Whether sounds can be had in a codec at an RTP clock in Hz, with so many channels.
#[must_use]
pub fn is_encodable(codec: Codec, clock_rate: u32, channels: u8) -> bool {
    channels == 1 && FORMATS.contains(&(codec, clock_rate))
}

/// One sound in all codecs.
#[derive(Debug, PartialEq)]
struct Encoded(Vec<((Codec, u32), Arc<Loop>)>);

impl Encoded {
    /// Encodes what `samples` gives for a sample rate in Hz.
    fn new(samples: impl Fn(u32) -> Vec<i16>) -> Self {
        let encoded = FORMATS.map(|format| (format, Arc::new(encode::encode(format, &samples))));
        Self(encoded.into())
    }

    fn get(&self, codec: Codec, clock_rate: u32) -> Option<&Arc<Loop>> {
        let found = self.0.iter().find(|(format, _)| *format == (codec, clock_rate));
        found.map(|(_, sound)| sound)
    }
}

/// Encoded sound that goes on for ever: what comes once, then what comes again and again.
#[derive(PartialEq, Eq)]
pub struct Loop {
    octets: Box<[u8]>,
    /// Octets that come once.
    head: usize,
    /// Octets that one tick of the RTP clock takes.
    octets_per_tick: usize,
}

impl Loop {
    /// Appends the octets of `ticks` of the RTP clock, from that many after the beginning on.
    pub fn copy(&self, from: u64, ticks: u32, out: &mut Vec<u8>) {
        let mut at = self.place(from);
        let mut left = ticks as usize * self.octets_per_tick;
        while left > 0 {
            let rest = &self.octets[at..];
            let part = &rest[..rest.len().min(left)];
            out.extend_from_slice(part);
            left -= part.len();
            at = self.head;
        }
    }

    /// Octets that so many ticks of the RTP clock take.
    #[must_use]
    pub const fn octets(&self, ticks: u32) -> usize {
        ticks as usize * self.octets_per_tick
    }

    /// Where in the octets a tick is.
    fn place(&self, tick: u64) -> usize {
        let octet =
            usize::try_from(tick).unwrap_or(usize::MAX).saturating_mul(self.octets_per_tick);
        match octet.checked_sub(self.octets.len()) {
            None => octet,
            Some(after) => self.head + after % (self.octets.len() - self.head),
        }
    }
}

impl std::fmt::Debug for Loop {
    /// Without its octets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { octets, head, octets_per_tick } = self;
        write!(f, "Loop({} octets from {head} on, {octets_per_tick} a tick)", octets.len())
    }
}

static TONE: LazyLock<Encoded> = LazyLock::new(|| Encoded::new(tone::samples));
static SILENCE: LazyLock<Encoded> = LazyLock::new(|| Encoded::new(|rate| vec![0; rate as usize]));

/// The codecs that there is an encoder for, with their RTP clocks in Hz. All of them are mono.
const FORMATS: [(Codec, u32); 8] = [
    (Codec::Pcmu, 8000),
    (Codec::Pcma, 8000),
    (Codec::G722, 8000),
    (Codec::L16, 8000),
    (Codec::L16, 16_000),
    (Codec::L16, 32_000),
    (Codec::L16, 44_100),
    (Codec::L16, 48_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_has_its_head_once() {
        let sound = Loop { octets: (0..10).collect(), head: 4, octets_per_tick: 2 };
        let copied = |from, ticks| {
            let mut out = Vec::new();
            sound.copy(from, ticks, &mut out);
            out
        };
        assert_eq!(copied(0, 2), [0, 1, 2, 3]);
        assert_eq!(copied(1, 9), [2, 3, 4, 5, 6, 7, 8, 9, 4, 5, 6, 7, 8, 9, 4, 5, 6, 7]);
        assert_eq!(copied(5, 1), [4, 5]);
        assert_eq!(copied(5 + 3 * 1_000_000 + 2, 2), [8, 9, 4, 5]);
    }

    #[test]
    fn silence_is_digital_silence() {
        Sounds::prepare();
        let octets = |codec| {
            let sounds = Sounds::default();
            let mut out = Vec::new();
            sounds.get(Sound::Silence, codec, 8000).unwrap().copy(0, 160, &mut out);
            out
        };
        assert_eq!(octets(Codec::Pcmu), [0xFF; 160]);
        assert_eq!(octets(Codec::Pcma), [0xD5; 160]);
        assert_eq!(octets(Codec::L16), [0; 320]);
        assert_eq!(octets(Codec::G722).len(), 160);
        assert!(Sounds::default().get(Sound::Recording, Codec::Pcmu, 8000).is_none());
        assert!(Sounds::default().get(Sound::Tone, Codec::Opus, 48_000).is_none());
    }
}
