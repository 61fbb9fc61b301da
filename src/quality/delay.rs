//! What the one-way delay Ta of a call is made of, beside the network.
//!
//! It measures nothing: ptime and the assumed jitter buffer are told to it.

use crate::wire::codec::Codec;

/// What a terminal adds to the network's delay of one way, milliseconds: the jitter buffer's
/// nominal delay, the packet interval, and what coder and decoder wait for beyond it.
///
/// What is not a positive number counts as 0.
#[must_use]
pub fn terminal_ms(codec: Codec, ptime_ms: f64, jitter_buffer_ms: f64, g711_plc: bool) -> f64 {
    let look_ahead_ms = look_ahead_ms(codec, ptime_ms, g711_plc);
    // `max` also takes the other value where one is not a number.
    jitter_buffer_ms.max(0.0) + ptime_ms.max(0.0) + look_ahead_ms
}

/// What a codec waits for beyond the packet's own audio, milliseconds: the coder's look-ahead and
/// the delay of filters and of concealment at the decoder.
#[must_use]
pub fn look_ahead_ms(codec: Codec, ptime_ms: f64, g711_plc: bool) -> f64 {
    match codec {
        Codec::Pcmu | Codec::Pcma if g711_plc => G711_PLC_MS,
        Codec::G723 => 7.5,
        Codec::G729 => 5.0,
        // RFC 3951: 25 ms for frames of 20 ms, 40 ms for those of 30 ms.
        Codec::Ilbc if is_multiple(ptime_ms, 30.0) && !is_multiple(ptime_ms, 20.0) => 10.0,
        Codec::Ilbc => 5.0,
        // Its lower modes look 5 ms ahead and the 12.2 kbit/s mode waits as long, so that modes
        // can change (3GPP TS 26.090).
        Codec::Amr => 5.0,
        // 3GPP TS 26.190: 5 ms, and 0.94 ms of each resampling filter.
        Codec::AmrWb => 6.9,
        // 3GPP TS 26.441: 32 ms with a frame of 20 ms.
        Codec::Evs => 12.0,
        // RFC 6716 section 2.1: the 5 ms look-ahead of SILK and the 1.5 ms of its resampler.
        Codec::Opus => 6.5,
        // The two quadrature mirror filters of 24 taps at 16 kHz.
        Codec::G722 => 1.5,
        // 30 ms with a frame of 20 ms, by its manual.
        Codec::Speex => 10.0,
        _ => 0.0,
    }
}

fn is_multiple(of_ms: f64, frame_ms: f64) -> bool {
    of_ms > 0.0 && of_ms % frame_ms == 0.0
}

/// The concealment of G.711 Appendix I holds the output back by a quarter of its longest pitch
/// period, 30 samples at 8 kHz, to blend into a gap that may come next.
pub const G711_PLC_MS: f64 = 3.75;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_adds_buffer_packet_and_look_ahead() {
        assert_eq!(terminal_ms(Codec::G729, 20.0, 60.0, true), 85.0);
        assert_eq!(terminal_ms(Codec::Pcmu, 10.0, 60.0, true), 73.75);
        assert_eq!(terminal_ms(Codec::Pcmu, 10.0, 60.0, false), 70.0);
        assert_eq!(terminal_ms(Codec::L16, f64::NAN, -1.0, true), 0.0);
    }

    #[test]
    fn ilbc_looks_further_ahead_with_its_longer_frame() {
        let look_ahead = |ptime_ms| look_ahead_ms(Codec::Ilbc, ptime_ms, true);
        assert_eq!([20.0, 40.0, 60.0, 0.0].map(look_ahead), [5.0; 4]);
        assert_eq!([30.0, 90.0].map(look_ahead), [10.0; 2]);
    }
}
