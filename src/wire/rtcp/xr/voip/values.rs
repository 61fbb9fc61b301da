//! VoIP metrics to be sent: numbers in their natural units, and the codes that stand for them.
//!
//! Never refuses a number: it is held to what its field can say.

use zerocopy::network_endian::U16;

use super::{
    CONCEALMENT_SHIFT, Concealment, DELAY_UNKNOWN, JITTER_BUFFER_RATE, JITTER_BUFFER_SHIFT,
    JitterBufferKind, LEVEL_UNAVAILABLE, MOS_MAX, MOS_MIN, R_FACTOR_MAX, SHARE_UNITS, UNAVAILABLE,
    VoipMetrics,
};
use crate::{
    id::Ssrc,
    wire::rtcp::xr::{BlockHeader, VOIP_METRICS},
};

/// What to write into VoIP metrics; the fields are those of [`VoipMetrics`].
///
/// Values that their field cannot say are held to the nearest it can; a value that is no number
/// is none. Shares are rounded down and all others to the nearest, as the RFC has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoipMetricsValues {
    /// The source this is about.
    pub ssrc: Ssrc,
    /// Share of packets lost, 0 to 1.
    pub loss_rate: f64,
    /// Share of packets that the jitter buffer discarded, 0 to 1.
    pub discard_rate: f64,
    /// Share of packets lost or discarded among those in bursts, 0 to 1.
    pub burst_density: f64,
    /// Share of packets lost or discarded among those in gaps, 0 to 1.
    pub gap_density: f64,
    /// Mean duration of the bursts; 0 if there was none.
    pub burst_duration_ms: f64,
    /// Mean duration of the gaps; 0 if there was none.
    pub gap_duration_ms: f64,
    /// The latest round trip. What is known is at least 1 ms, for 0 says that nothing is.
    pub round_trip_ms: Option<f64>,
    /// Delay within the endpoint, at least 1 ms if known.
    pub end_system_delay_ms: Option<f64>,
    /// Level of speech in dBm0, -128 to 126.
    pub signal_level_dbm0: Option<f64>,
    /// Level of noise between speech in dBm0, -128 to 126.
    pub noise_level_dbm0: Option<f64>,
    /// Residual echo return loss in dB, 0 to 126.
    pub rerl_db: Option<f64>,
    /// Packets in a row that must be good to end a burst, at least 1.
    pub gmin: u8,
    /// R of the part of the call that this RTP session carries, 0 to 100.
    pub r_factor: Option<f64>,
    /// R of the part of the call beyond the endpoint, 0 to 100.
    pub external_r_factor: Option<f64>,
    /// MOS for listening, 1 to 5.
    pub mos_lq: Option<f64>,
    /// MOS for conversing, 1 to 5.
    pub mos_cq: Option<f64>,
    /// How lost packets are concealed.
    pub concealment: Option<Concealment>,
    /// What kind of jitter buffer there is.
    pub jitter_buffer_kind: Option<JitterBufferKind>,
    /// How slowly an adaptive jitter buffer follows, 1 to 15.
    pub jitter_buffer_rate: Option<u8>,
    /// Delay of a packet that comes on time.
    pub jitter_buffer_nominal_ms: f64,
    /// Delay of the earliest packet that is not discarded at present.
    pub jitter_buffer_maximum_ms: f64,
    /// What an adaptive jitter buffer may let that grow to. A fixed one's is its maximum,
    /// whatever this says.
    pub jitter_buffer_absolute_maximum_ms: f64,
}

impl Default for VoipMetricsValues {
    /// Of a stream of which nothing has come, with the recommended Gmin.
    fn default() -> Self {
        Self {
            ssrc: Ssrc::default(),
            loss_rate: 0.0,
            discard_rate: 0.0,
            burst_density: 0.0,
            gap_density: 0.0,
            burst_duration_ms: 0.0,
            gap_duration_ms: 0.0,
            round_trip_ms: None,
            end_system_delay_ms: None,
            signal_level_dbm0: None,
            noise_level_dbm0: None,
            rerl_db: None,
            gmin: GMIN_RECOMMENDED,
            r_factor: None,
            external_r_factor: None,
            mos_lq: None,
            mos_cq: None,
            concealment: None,
            jitter_buffer_kind: None,
            jitter_buffer_rate: None,
            jitter_buffer_nominal_ms: 0.0,
            jitter_buffer_maximum_ms: 0.0,
            jitter_buffer_absolute_maximum_ms: 0.0,
        }
    }
}

impl From<VoipMetricsValues> for VoipMetrics {
    fn from(values: VoipMetricsValues) -> Self {
        let maximum = values.jitter_buffer_maximum_ms;
        let absolute_maximum = match values.jitter_buffer_kind {
            Some(JitterBufferKind::Fixed) => maximum,
            _ => values.jitter_buffer_absolute_maximum_ms,
        };
        Self {
            header: BlockHeader::of::<Self>(VOIP_METRICS, 0),
            ssrc: values.ssrc.0.into(),
            loss_rate: share_code(values.loss_rate),
            discard_rate: share_code(values.discard_rate),
            burst_density: share_code(values.burst_density),
            gap_density: share_code(values.gap_density),
            burst_duration: ms_code(values.burst_duration_ms),
            gap_duration: ms_code(values.gap_duration_ms),
            round_trip: delay_code(values.round_trip_ms),
            end_system_delay: delay_code(values.end_system_delay_ms),
            signal_level: level_code(values.signal_level_dbm0),
            noise_level: level_code(values.noise_level_dbm0),
            rerl: score_code(values.rerl_db, 0, UNAVAILABLE - 1),
            gmin: values.gmin.max(1),
            r_factor: score_code(values.r_factor, 0, R_FACTOR_MAX),
            external_r_factor: score_code(values.external_r_factor, 0, R_FACTOR_MAX),
            mos_lq: score_code(values.mos_lq.map(|mos| mos * 10.0), MOS_MIN, MOS_MAX),
            mos_cq: score_code(values.mos_cq.map(|mos| mos * 10.0), MOS_MIN, MOS_MAX),
            receiver_config: receiver_config(&values),
            reserved: 0,
            jitter_buffer_nominal: ms_code(values.jitter_buffer_nominal_ms),
            jitter_buffer_maximum: ms_code(maximum),
            jitter_buffer_absolute_maximum: ms_code(absolute_maximum),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to 0 to 255")]
fn share_code(share: f64) -> u8 {
    (share * SHARE_UNITS) as u8
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to 0 to 65535")]
fn ms_code(ms: f64) -> U16 {
    U16::new(ms.round() as u16)
}

fn delay_code(ms: Option<f64>) -> U16 {
    ms.filter(|ms| !ms.is_nan()).map_or(U16::new(DELAY_UNKNOWN), |ms| ms_code(ms.max(1.0)))
}

#[expect(clippy::cast_possible_truncation, reason = "held to -128 to 127")]
fn level_code(level: Option<f64>) -> i8 {
    level
        .filter(|level| !level.is_nan())
        .map_or(LEVEL_UNAVAILABLE, |level| (level.round() as i8).min(LEVEL_UNAVAILABLE - 1))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to 0 to 255")]
fn score_code(score: Option<f64>, min: u8, max: u8) -> u8 {
    score
        .filter(|score| !score.is_nan())
        .map_or(UNAVAILABLE, |score| (score.round() as u8).clamp(min, max))
}

fn receiver_config(values: &VoipMetricsValues) -> u8 {
    let concealment = match values.concealment {
        Some(Concealment::Standard) => 3,
        Some(Concealment::Enhanced) => 2,
        Some(Concealment::Disabled) => 1,
        None => 0,
    };
    let kind = match values.jitter_buffer_kind {
        Some(JitterBufferKind::Adaptive) => 3,
        Some(JitterBufferKind::Fixed) => 2,
        None => 0,
    };
    let rate = values.jitter_buffer_rate.unwrap_or(0).min(JITTER_BUFFER_RATE);
    concealment << CONCEALMENT_SHIFT | kind << JITTER_BUFFER_SHIFT | rate
}

/// RFC 3611 section 4.7.6 recommends it.
const GMIN_RECOMMENDED: u8 = 16;

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*, sample::select};

    use super::*;
    use crate::wire::rtcp::{RtcpCompound, RtcpPacket, XrBlock, write_extended_report};

    fn written(values: VoipMetricsValues) -> Vec<u8> {
        let mut out = Vec::new();
        let block = VoipMetrics::from(values);
        write_extended_report(&mut out, Ssrc(9), &[XrBlock::VoipMetrics(&block)]);
        out
    }

    fn read(bytes: &[u8]) -> VoipMetrics {
        let compound = RtcpCompound::parse(bytes).unwrap();
        let Some(RtcpPacket::ExtendedReport(report)) = compound.packets().next() else { panic!() };
        let Some(XrBlock::VoipMetrics(metrics)) = report.blocks().next() else { panic!() };
        *metrics
    }

    fn values(metrics: &VoipMetrics) -> VoipMetricsValues {
        VoipMetricsValues {
            ssrc: metrics.ssrc(),
            loss_rate: metrics.loss_rate(),
            discard_rate: metrics.discard_rate(),
            burst_density: metrics.burst_density(),
            gap_density: metrics.gap_density(),
            burst_duration_ms: metrics.burst_duration_ms().into(),
            gap_duration_ms: metrics.gap_duration_ms().into(),
            round_trip_ms: metrics.round_trip_ms().map(f64::from),
            end_system_delay_ms: metrics.end_system_delay_ms().map(f64::from),
            signal_level_dbm0: metrics.signal_level_dbm0().map(f64::from),
            noise_level_dbm0: metrics.noise_level_dbm0().map(f64::from),
            rerl_db: metrics.rerl_db().map(f64::from),
            gmin: metrics.gmin().unwrap_or(0),
            r_factor: metrics.r_factor().map(f64::from),
            external_r_factor: metrics.external_r_factor().map(f64::from),
            mos_lq: metrics.mos_lq(),
            mos_cq: metrics.mos_cq(),
            concealment: metrics.concealment(),
            jitter_buffer_kind: metrics.jitter_buffer_kind(),
            jitter_buffer_rate: metrics.jitter_buffer_rate(),
            jitter_buffer_nominal_ms: metrics.jitter_buffer_nominal_ms().into(),
            jitter_buffer_maximum_ms: metrics.jitter_buffer_maximum_ms().into(),
            jitter_buffer_absolute_maximum_ms: metrics.jitter_buffer_absolute_maximum_ms().into(),
        }
    }

    /// The example of RFC 3611 section 4.7.2, counted exactly: 3 of 63 packets lost and 3
    /// discarded, 4 of these 6 among the 12 of the burst and 2 among the 51 of two gaps, which
    /// take 510 ms together. (The RFC prints a density of 84, rounded too early, and a gap
    /// duration of 520, a sum.)
    #[test]
    fn metrics_stand_as_the_rfc_draws_them() {
        let metrics = VoipMetricsValues {
            ssrc: Ssrc(0x0102_0304),
            loss_rate: 3.0 / 63.0,
            discard_rate: 3.0 / 63.0,
            burst_density: 4.0 / 12.0,
            gap_density: 2.0 / 51.0,
            burst_duration_ms: 120.0,
            gap_duration_ms: 255.0,
            round_trip_ms: Some(79.6),
            end_system_delay_ms: Some(300.0),
            signal_level_dbm0: Some(-18.0),
            noise_level_dbm0: Some(-60.2),
            rerl_db: Some(45.0),
            gmin: 16,
            r_factor: Some(93.2),
            external_r_factor: None,
            mos_lq: Some(4.41),
            mos_cq: Some(4.16),
            concealment: Some(Concealment::Standard),
            jitter_buffer_kind: Some(JitterBufferKind::Adaptive),
            jitter_buffer_rate: Some(4),
            jitter_buffer_nominal_ms: 40.0,
            jitter_buffer_maximum_ms: 80.0,
            jitter_buffer_absolute_maximum_ms: 512.0,
        };
        // 3 * 256 / 63 = 12, 4 * 256 / 12 = 85, 2 * 256 / 51 = 10; RX config 11 11 0100.
        let expected: [u8; 44] = [
            0x80, 207, 0, 10, 0, 0, 0, 9, 7, 0, 0, 8, 1, 2, 3, 4, 12, 12, 85, 10, 0, 120, 0, 255,
            0, 80, 1, 44, 0xEE, 0xC4, 45, 16, 93, 127, 44, 42, 0xF4, 0, 0, 40, 0, 80, 2, 0,
        ];
        assert_eq!(written(metrics), expected);
        let found = read(&expected);
        assert_eq!((found.loss_rate(), found.burst_density()), (12.0 / 256.0, 85.0 / 256.0));
        assert_eq!((found.round_trip_ms(), found.end_system_delay_ms()), (Some(80), Some(300)));
        assert_eq!((found.signal_level_dbm0(), found.noise_level_dbm0()), (Some(-18), Some(-60)));
        assert_eq!((found.r_factor(), found.external_r_factor()), (Some(93), None));
        assert_eq!((found.mos_lq(), found.mos_cq()), (Some(4.4), Some(4.2)));
    }

    /// Each octet of the block holds its own offset, so that a field tells where it stands.
    #[test]
    fn every_field_stands_at_its_offset() {
        let mut bytes = written(VoipMetricsValues::default());
        for (offset, octet) in (0..).zip(&mut bytes[8..]).skip(4) {
            *octet = offset;
        }
        let expected = VoipMetricsValues {
            ssrc: Ssrc(0x0405_0607),
            loss_rate: 8.0 / 256.0,
            discard_rate: 9.0 / 256.0,
            burst_density: 10.0 / 256.0,
            gap_density: 11.0 / 256.0,
            burst_duration_ms: f64::from(0x0C0D),
            gap_duration_ms: f64::from(0x0E0F),
            round_trip_ms: Some(f64::from(0x1011)),
            end_system_delay_ms: Some(f64::from(0x1213)),
            signal_level_dbm0: Some(20.0),
            noise_level_dbm0: Some(21.0),
            rerl_db: Some(22.0),
            gmin: 23,
            r_factor: Some(24.0),
            external_r_factor: Some(25.0),
            mos_lq: Some(2.6),
            mos_cq: Some(2.7),
            // 28 is 00 01 1100: nothing on concealment, a reserved kind of buffer, a rate of 12.
            concealment: None,
            jitter_buffer_kind: None,
            jitter_buffer_rate: Some(12),
            jitter_buffer_nominal_ms: f64::from(0x1E1F),
            jitter_buffer_maximum_ms: f64::from(0x2021),
            jitter_buffer_absolute_maximum_ms: f64::from(0x2223),
        };
        assert_eq!(values(&read(&bytes)), expected);
    }

    #[test]
    fn what_is_unknown_is_written_as_the_rfc_has_it() {
        let expected: [u8; 36] = [
            7, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, 127, 127, 16, 127,
            127, 127, 127, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(written(VoipMetricsValues::default())[8..], expected);
        let nan = Some(f64::NAN);
        let no_numbers = VoipMetricsValues {
            loss_rate: f64::NAN,
            burst_duration_ms: f64::NAN,
            round_trip_ms: nan,
            end_system_delay_ms: nan,
            signal_level_dbm0: nan,
            noise_level_dbm0: nan,
            rerl_db: nan,
            r_factor: nan,
            external_r_factor: nan,
            mos_lq: nan,
            mos_cq: nan,
            ..VoipMetricsValues::default()
        };
        assert_eq!(written(no_numbers)[8..], expected);
    }

    #[test]
    fn scores_out_of_range_are_none() {
        let score = |at: usize, code: u8| {
            let mut bytes = written(VoipMetricsValues::default());
            bytes[8 + at] = code;
            let metrics = read(&bytes);
            let r_factors = [metrics.r_factor(), metrics.external_r_factor()];
            let moses = [metrics.mos_lq(), metrics.mos_cq()];
            [r_factors.map(|r| r.map(f64::from)), moses].concat()[at - 24]
        };
        for code in 0..=255 {
            let r_factor = (code <= 100).then(|| f64::from(code));
            let mos = (10..=50).contains(&code).then(|| f64::from(code) / 10.0);
            let found = [24, 25, 26, 27].map(|at| score(at, code));
            assert_eq!(found, [r_factor, r_factor, mos, mos], "{code}");
        }
    }

    #[test]
    fn the_absolute_maximum_of_a_fixed_buffer_is_its_maximum() {
        let metrics = VoipMetricsValues {
            jitter_buffer_kind: Some(JitterBufferKind::Fixed),
            jitter_buffer_maximum_ms: 60.0,
            ..VoipMetricsValues::default()
        };
        let metrics = read(&written(metrics));
        assert_eq!(metrics.jitter_buffer_kind(), Some(JitterBufferKind::Fixed));
        assert_eq!(metrics.jitter_buffer_absolute_maximum_ms(), 60);
    }

    /// Ordinary values and absurd ones.
    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![4 => -200.0..200.0, 2 => -1e5..1e5, 1 => any::<f64>()]
    }

    fn share_of_one() -> impl Strategy<Value = f64> {
        prop_oneof![8 => 0.0..=1.0, 1 => number()]
    }

    fn metrics() -> impl Strategy<Value = VoipMetricsValues> {
        let shares = (share_of_one(), share_of_one(), share_of_one(), share_of_one());
        let durations = (number(), number(), number(), number(), number());
        let unknown = || option::of(number());
        let delays = (unknown(), unknown(), unknown(), unknown(), unknown());
        let mos = || option::of(prop_oneof![8 => 1.0..=5.0, 1 => number()]);
        let scores = (unknown(), unknown(), mos(), mos());
        let concealment =
            select(vec![Concealment::Disabled, Concealment::Standard, Concealment::Enhanced]);
        let kind = select(vec![JitterBufferKind::Fixed, JitterBufferKind::Adaptive]);
        let config = (option::of(concealment), option::of(kind), any::<Option<u8>>());
        (any::<(u32, u8)>(), shares, durations, delays, scores, config).prop_map(
            |((ssrc, gmin), shares, durations, delays, scores, config)| VoipMetricsValues {
                ssrc: Ssrc(ssrc),
                loss_rate: shares.0,
                discard_rate: shares.1,
                burst_density: shares.2,
                gap_density: shares.3,
                burst_duration_ms: durations.0,
                gap_duration_ms: durations.1,
                round_trip_ms: delays.0,
                end_system_delay_ms: delays.1,
                signal_level_dbm0: delays.2,
                noise_level_dbm0: delays.3,
                rerl_db: delays.4,
                gmin,
                r_factor: scores.0,
                external_r_factor: scores.1,
                mos_lq: scores.2,
                mos_cq: scores.3,
                concealment: config.0,
                jitter_buffer_kind: config.1,
                jitter_buffer_rate: config.2,
                jitter_buffer_nominal_ms: durations.2,
                jitter_buffer_maximum_ms: durations.3,
                jitter_buffer_absolute_maximum_ms: durations.4,
            },
        )
    }

    /// Whether `found` is `given` held to a range, no further off than a step.
    fn near(found: f64, given: f64, (min, max): (f64, f64), step: f64) -> bool {
        (found - given.clamp(min, max)).abs() <= step + 1e-9
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(given in metrics()) {
            let found = values(&read(&written(given)));
            prop_assert_eq!(found.ssrc, given.ssrc);
            prop_assert_eq!(found.gmin, given.gmin.max(1));
            prop_assert_eq!(found.concealment, given.concealment);
            prop_assert_eq!(found.jitter_buffer_kind, given.jitter_buffer_kind);
            let rate = given.jitter_buffer_rate.map(|rate| rate.min(15)).filter(|&rate| rate != 0);
            prop_assert_eq!(found.jitter_buffer_rate, rate);
            let shares = |of: &VoipMetricsValues| {
                [of.loss_rate, of.discard_rate, of.burst_density, of.gap_density]
            };
            for (found, given) in shares(&found).into_iter().zip(shares(&given)) {
                prop_assert!(near(found, given, (0.0, 255.0 / 256.0), 1.0 / 256.0));
                prop_assert!(found <= given.max(0.0));
            }
            let durations = |of: &VoipMetricsValues| {
                let maximum = of.jitter_buffer_maximum_ms;
                let is_fixed = of.jitter_buffer_kind == Some(JitterBufferKind::Fixed);
                let absolute_maximum =
                    if is_fixed { maximum } else { of.jitter_buffer_absolute_maximum_ms };
                let nominal = of.jitter_buffer_nominal_ms;
                [of.burst_duration_ms, of.gap_duration_ms, nominal, maximum, absolute_maximum]
            };
            for (found, given) in durations(&found).into_iter().zip(durations(&given)) {
                prop_assert!(near(found, given, (0.0, 65_535.0), 0.5));
            }
            let known = [
                (found.round_trip_ms, given.round_trip_ms, (1.0, 65_535.0), 0.5),
                (found.end_system_delay_ms, given.end_system_delay_ms, (1.0, 65_535.0), 0.5),
                (found.signal_level_dbm0, given.signal_level_dbm0, (-128.0, 126.0), 0.5),
                (found.noise_level_dbm0, given.noise_level_dbm0, (-128.0, 126.0), 0.5),
                (found.rerl_db, given.rerl_db, (0.0, 126.0), 0.5),
                (found.r_factor, given.r_factor, (0.0, 100.0), 0.5),
                (found.external_r_factor, given.external_r_factor, (0.0, 100.0), 0.5),
                (found.mos_lq, given.mos_lq, (1.0, 5.0), 0.05),
                (found.mos_cq, given.mos_cq, (1.0, 5.0), 0.05),
            ];
            for (index, (found, given, range, step)) in known.into_iter().enumerate() {
                let is_same = match (found, given) {
                    (Some(found), Some(given)) => near(found, given, range, step),
                    (found, given) => found.is_none() && given.is_none(),
                };
                prop_assert!(is_same, "{index}: {found:?} for {given:?}");
            }
        }

        /// What is read of any octets is what is read after it was written again.
        #[test]
        fn any_octets_say_the_same_when_written_again(octets in any::<[u8; 32]>()) {
            let mut bytes = written(VoipMetricsValues::default());
            bytes[12..].copy_from_slice(&octets);
            let mut found = values(&read(&bytes));
            let again = values(&found.into());
            // Which a sender must not say.
            found.gmin = found.gmin.max(1);
            if found.jitter_buffer_kind == Some(JitterBufferKind::Fixed) {
                found.jitter_buffer_absolute_maximum_ms = found.jitter_buffer_maximum_ms;
            }
            found.rerl_db = found.rerl_db.map(|loss| loss.min(126.0));
            prop_assert_eq!(again, found);
        }

        /// RFC 3611 section 4.7.1 in whole numbers: the quotient times 256, its integer part, and
        /// at most 255.
        #[test]
        fn a_share_is_that_of_whole_numbers(part in any::<u32>(), whole in 1_u32..) {
            let part = part % whole.saturating_add(1);
            let expected = (u64::from(part) * 256 / u64::from(whole)).min(255);
            let code = share_code(f64::from(part) / f64::from(whole));
            prop_assert_eq!(u64::from(code), expected);
        }
    }
}
