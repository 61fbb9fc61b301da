//! Which codec a payload type means, by the names of RFC 3551 and of SDP's `rtpmap`.
//!
//! Names and clocks only; what a codec does to quality is `quality::codec`'s business.

/// An encoding that has a name in RTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// No `rtpmap` and no static assignment says what this payload is.
    #[default]
    Unknown,
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722; its RTP clock is 8000 Hz by historical error (RFC 3551 section 4.5.2).
    G722,
    /// G.723.1.
    G723,
    /// G.726 at 32 kbit/s.
    G726_32,
    /// G.728.
    G728,
    /// G.729 with or without its annexes.
    G729,
    /// GSM full rate.
    Gsm,
    /// GSM enhanced full rate.
    GsmEfr,
    /// iLBC.
    Ilbc,
    /// Opus; its RTP clock is always 48000 Hz (RFC 7587).
    Opus,
    /// AMR narrowband.
    Amr,
    /// AMR wideband.
    AmrWb,
    /// Enhanced Voice Services.
    Evs,
    /// Speex.
    Speex,
    /// Linear 16-bit samples.
    L16,
    /// H.261 video.
    H261,
    /// H.263 video, with the payload formats of RFC 2190 and RFC 4629.
    H263,
    /// H.264 video (RFC 6184).
    H264,
    /// H.265 video (RFC 7798).
    H265,
    /// VP8 video (RFC 7741).
    Vp8,
    /// VP9 video (RFC 9628).
    Vp9,
    /// Named telephone events, DTMF among them (RFC 4733).
    TelephoneEvent,
    /// Comfort noise (RFC 3389).
    ComfortNoise,
}

impl Codec {
    /// The codec and RTP clock (Hz) that RFC 3551 assigns to a payload type, if it does.
    #[must_use]
    pub const fn from_static(payload_type: u8) -> Option<(Self, u32)> {
        Some(match payload_type {
            0 => (Self::Pcmu, 8000),
            3 => (Self::Gsm, 8000),
            4 => (Self::G723, 8000),
            8 => (Self::Pcma, 8000),
            9 => (Self::G722, 8000),
            10 | 11 => (Self::L16, 44_100),
            13 => (Self::ComfortNoise, 8000),
            15 => (Self::G728, 8000),
            18 => (Self::G729, 8000),
            31 => (Self::H261, 90_000),
            34 => (Self::H263, 90_000),
            _ => return None,
        })
    }

    /// The codec that an `rtpmap` encoding name means; names compare without case
    /// (RFC 4855 section 3).
    #[must_use]
    pub fn from_name(name: &[u8]) -> Self {
        NAMES
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map_or(Self::Unknown, |&(_, codec)| codec)
    }

    /// The encoding name as the registry of RFC 4855 spells it; `None` if unknown.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|&&(_, codec)| codec == self).map(|&(name, _)| name)
    }

    /// Whether this carries speech, as opposed to events, comfort noise and video.
    #[must_use]
    pub const fn is_speech(self) -> bool {
        self.is_paced() && !self.is_video()
    }

    /// Whether its time stamps say when each packet was due, so that they tell of delay: an
    /// event repeats the time at which it began, comfort noise comes when it likes.
    #[must_use]
    pub const fn is_paced(self) -> bool {
        !matches!(self, Self::TelephoneEvent | Self::ComfortNoise)
    }

    /// Whether this carries video.
    #[must_use]
    pub const fn is_video(self) -> bool {
        matches!(self, Self::H261 | Self::H263 | Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9)
    }
}

const NAMES: [(&str, Codec); 26] = [
    ("PCMU", Codec::Pcmu),
    ("PCMA", Codec::Pcma),
    ("G722", Codec::G722),
    ("G723", Codec::G723),
    ("G726-32", Codec::G726_32),
    ("G728", Codec::G728),
    ("G729", Codec::G729),
    ("GSM", Codec::Gsm),
    ("GSM-EFR", Codec::GsmEfr),
    ("iLBC", Codec::Ilbc),
    ("opus", Codec::Opus),
    ("AMR", Codec::Amr),
    ("AMR-WB", Codec::AmrWb),
    ("EVS", Codec::Evs),
    ("speex", Codec::Speex),
    ("L16", Codec::L16),
    ("H261", Codec::H261),
    ("H263", Codec::H263),
    ("H263-1998", Codec::H263),
    ("H263-2000", Codec::H263),
    ("H264", Codec::H264),
    ("H265", Codec::H265),
    ("VP8", Codec::Vp8),
    ("VP9", Codec::Vp9),
    ("telephone-event", Codec::TelephoneEvent),
    ("CN", Codec::ComfortNoise),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_ignore_case() {
        for (name, codec) in NAMES {
            assert_eq!(Codec::from_name(name.to_ascii_lowercase().as_bytes()), codec);
            // Variants of one codec share the name of the first.
            assert!(name.starts_with(codec.name().unwrap()), "{name}");
        }
        assert_eq!(Codec::from_name(b"X-OWN"), Codec::Unknown);
        assert_eq!(Codec::Unknown.name(), None);
    }
}
