//! The wideband and the fullband model, and the constants of codecs, against the reference's points.

use voxplane::{
    quality::{
        Scale,
        codec::{Constants, modes::modes},
        emodel::{Delay, Equipment, fullband, mos_from_r, wideband},
    },
    wire::codec::Codec,
};

/// The last digit of the tables of the reference. They are not rounded the same way throughout
/// (95 / 5.3 stands as 17.93), hence not the half of it.
const IE_EFF_DIGIT: f64 = 0.01;
const MOS_DIGIT: f64 = 0.001;

fn close(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance, "{what}: got {got}, want {want} ± {tolerance}");
}

fn with(ie: f64, bpl: f64, ppl_percent: f64) -> Equipment {
    Equipment { ie, bpl, ppl_percent, burst_r: 1.0 }
}

fn wideband(ta_ms: f64, ie: f64) -> f64 {
    wideband::Inputs::default().rate(Some(Delay::symmetric(ta_ms)), with(ie, 15.0, 0.0)).r
}

#[test]
fn a_clean_wideband_connection_by_delay() {
    for (ta_ms, r, mos) in [
        (0.0, 128.846, 4.499),
        (50.0, 128.255, 4.496),
        (100.0, 127.951, 4.494),
        (150.0, 127.421, 4.490),
        (200.0, 123.445, 4.452),
        (300.0, 107.910, 4.154),
        (400.0, 95.555, 3.782),
    ] {
        let rated = wideband(ta_ms, 0.0);
        close(rated, r, 5e-4, &format!("R at {ta_ms} ms"));
        close(wideband::mos(rated), mos, 5e-4, &format!("MOS at {ta_ms} ms"));
    }
    close(wideband(50.0, 0.0), 128.255_018, 1e-6, "R at 50 ms");
}

#[test]
fn a_wideband_codec_without_and_with_delay() {
    for (ta_ms, r, mos) in [(0.0, 123.846_315, 4.456_839), (150.0, 122.421_331, 4.439_743)] {
        let rated = wideband(ta_ms, 5.0);
        close(rated, r, 1e-6, &format!("R at {ta_ms} ms"));
        close(wideband::mos(rated), mos, 1e-6, &format!("MOS at {ta_ms} ms"));
    }
}

#[test]
fn wideband_codecs_without_delay() {
    for (ie, r, mos) in [
        (1.0, 128.0, 4.4940),
        (8.0, 121.0, 4.4206),
        (13.0, 116.0, 4.3371),
        (41.0, 88.0, 3.5123),
        (56.0, 73.0, 2.9220),
    ] {
        let rated = Scale::Wb.rate(None, with(ie, 4.3, 0.0)).r;
        close(rated, r, 1e-9, &format!("R at Ie {ie}"));
        close(Scale::Wb.mos(rated), mos, 5e-5, &format!("MOS at Ie {ie}"));
    }
    let lossy = Scale::Wb.rate(None, with(20.0, 4.3, 2.0)).r;
    close(Scale::Wb.mos(lossy), 3.4062, 5e-5, "12.65 kbit/s, 2 %");
}

/// Equation 7-15 has no BurstR.
#[test]
fn wideband_knows_no_bursts() {
    let inputs = wideband::Inputs::default();
    let bursty = Equipment { burst_r: 4.0, ..with(8.0, 20.0, 5.0) };
    assert_eq!(inputs.rate(None, bursty), inputs.rate(None, with(8.0, 20.0, 5.0)));
}

#[test]
fn evs_by_mode_and_loss() {
    let (scale, modes) = modes(Codec::Evs).unwrap();
    assert_eq!(scale, Scale::Fb);
    let table = [
        (9.6, [(125.3, 4.187), (117.5, 4.001), (104.8, 3.635)]),
        (13.2, [(130.9, 4.299), (121.9, 4.109), (107.5, 3.717)]),
        (16.4, [(137.2, 4.400), (126.5, 4.212), (109.9, 3.789)]),
        (24.4, [(140.8, 4.444), (130.7, 4.296), (114.8, 3.929)]),
        (32.0, [(139.3, 4.426), (127.3, 4.230), (109.2, 3.770)]),
        (48.0, [(137.8, 4.408), (126.3, 4.209), (108.8, 3.757)]),
    ];
    assert_eq!(modes.len(), table.len());
    for (mode, (kbps, points)) in modes.iter().zip(table) {
        close(mode.kbps, kbps, 0.0, "bit rate");
        for ((r, mos), loss) in points.into_iter().zip([0.0, 1.0, 3.0]) {
            let rated = fullband::rate(None, with(mode.ie, mode.bpl.unwrap(), loss)).r;
            close(rated, r, 0.0501, &format!("R at {kbps} kbit/s, {loss} %"));
            close(fullband::mos(rated), mos, MOS_DIGIT, &format!("MOS at {kbps} kbit/s, {loss} %"));
        }
    }
}

#[test]
fn the_common_opus_point() {
    let rated = fullband::rate(Some(Delay::symmetric(0.0)), with(10.2, 4.3, 0.0)).r;
    close(rated, 137.8, 1e-9, "R");
    close(fullband::mos(rated), 4.4075, 1e-5, "MOS");
}

#[test]
fn fullband_has_delay_without_echo_and_bursts() {
    // 1.48 times Idd of the narrowband scale.
    let rated = fullband::rate(Some(Delay::symmetric(300.0)), with(0.0, 20.0, 0.0));
    close(rated.id(), 1.48 * 14.7607, 1e-4, "Id at 300 ms");
    let bursty = Equipment { burst_r: 2.0, ..with(10.0, 20.0, 5.0) };
    close(fullband::rate(None, bursty).ie_eff, 10.0 + 122.0 * 5.0 / 22.5, 1e-9, "Ie,eff");
}

#[test]
fn amr_wb_modes_are_the_diotic_column() {
    let (scale, modes) = modes(Codec::AmrWb).unwrap();
    let found: Vec<_> = modes.iter().map(|mode| (mode.kbps, mode.ie, mode.bpl)).collect();
    let published = [
        (6.6, 56.0, None),
        (8.85, 41.0, None),
        (12.65, 20.0, Some(4.3)),
        (15.85, 17.0, None),
        (23.05, 8.0, Some(4.6)),
        (23.85, 10.0, Some(4.9)),
    ];
    assert_eq!((scale, &found[..]), (Scale::Wb, &published[..]));
}

/// Ie,eff by loss of the five published pairs.
#[test]
fn narrowband_equipment_impairment_by_loss() {
    let losses = [0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 16.0, 20.0];
    let (plc, bare) = ((Codec::Pcmu, true), (Codec::Pcmu, false));
    let random: [((Codec, bool), [f64; 9]); 5] = [
        (bare, [9.90, 17.93, 30.16, 39.04, 51.08, 61.79, 66.43, 74.88, 78.19]),
        (plc, [1.86, 3.64, 7.01, 10.14, 15.78, 22.96, 27.07, 36.98, 42.13]),
        ((Codec::G729, true), [13.15, 15.20, 19.00, 22.46, 28.50, 35.89, 39.97, 49.40, 54.08]),
        ((Codec::GsmEfr, true), [9.29, 13.18, 20.00, 25.77, 35.00, 45.00, 50.00, 60.39, 65.00]),
        ((Codec::G723, true), [17.41, 19.68, 23.84, 27.57, 33.96, 41.56, 45.65, 54.88, 59.32]),
    ];
    let bursty: [((Codec, bool), [f64; 7]); 3] = [
        (bare, [10.44, 19.79, 35.85, 49.14, 69.85, 91.57, 102.15]),
        (plc, [1.87, 3.71, 7.28, 10.71, 17.21, 26.12, 31.56]),
        ((Codec::G729, true), [13.18, 15.31, 19.40, 23.29, 30.54, 40.22, 46.00]),
    ];
    let random = random.iter().map(|(codec, row)| (codec, &row[..], 1.0));
    let bursty = bursty.iter().map(|(codec, row)| (codec, &row[..], 2.0));
    for (&(codec, g711_plc), row, burst_r) in random.chain(bursty) {
        let constants = Constants::of(codec, 8000, g711_plc).unwrap();
        for (&want, ppl_percent) in row.iter().zip(losses) {
            let (ie, bpl) = (constants.ie.value, constants.bpl.value);
            let got = Equipment { ie, bpl, ppl_percent, burst_r }.ie_eff();
            close(
                got,
                want,
                IE_EFF_DIGIT,
                &format!("{codec:?}, {ppl_percent} %, BurstR {burst_r}"),
            );
        }
    }
}

#[test]
fn a_scale_ends_where_its_recommendation_says() {
    for (scale, top, ideal) in
        [(Scale::Nb, 100.0, 93.355_254), (Scale::Wb, 129.0, 129.0), (Scale::Fb, 148.0, 148.0)]
    {
        close(scale.r_max(), top, 0.0, "R max");
        close(scale.r_ideal(), ideal, 1e-6, "R without impairment");
        close(scale.mos(scale.r_max()), 4.5, 0.0, "MOS at the top");
        close(scale.mos(f64::NAN), 1.0, 0.0, "MOS of nonsense");
        close(scale.mos(0.0), 1.0, 0.0, "MOS at 0");
        let narrowband_r = scale.r_max() * 0.7;
        close(scale.mos(narrowband_r), mos_from_r(70.0), 1e-9, "MOS at 70 % of the scale");
    }
}
