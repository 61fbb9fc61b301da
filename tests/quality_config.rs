//! The `[scoring]` table: what it takes, what it refuses by name, and what it does to a score.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use voxplane::{
    config::{Config, RawConfig},
    quality::{
        Scale,
        codec::{Constants, Origin},
        score::{Model, ScoreInput, Scoring},
    },
    wire::codec::Codec,
};

fn read(text: &str) -> Result<Config, String> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
    raw.complete().map_err(|error| error.to_string())
}

fn scoring(text: &str) -> Scoring {
    read(text).unwrap().scoring
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(scoring(""), Scoring::default());
    assert_eq!(scoring("[scoring]"), Scoring::default());
}

#[test]
fn every_key_is_taken() {
    let all = scoring(
        "[scoring]\nmos_model = 'simplified'\ng711_plc = false\nassumed_one_way_delay_ms = 80\n\
         [scoring.codec.opus]\nscale = 'fb'\nie = 12\nbpl = 5.5",
    );
    assert_eq!(all.model, Model::Simplified);
    assert!(!all.g711_plc);
    assert_eq!(all.assumed_one_way_delay_ms, Some(80.0));
    let [(codec, constants)] = all.overrides[..] else { panic!("{all:?}") };
    assert_eq!((codec, constants.scale), (Codec::Opus, Scale::Fb));
    assert_eq!((constants.ie.value, constants.bpl.value), (12.0, 5.5));
}

#[test]
fn what_an_override_leaves_out_is_the_codec_s_own() {
    let (codec, constants) = scoring("[scoring.codec.PcmU]\nie = 3").overrides[0];
    assert_eq!((codec, constants.scale), (Codec::Pcmu, Scale::Nb));
    assert_eq!((constants.ie.value, constants.ie.origin), (3.0, Origin::Override));
    assert_eq!((constants.bpl.value, constants.bpl.origin), (25.1, Origin::Itu));
    let without = "[scoring]\ng711_plc = false\n[scoring.codec.PCMU]\nie = 3";
    assert_eq!(scoring(without).overrides[0].1.bpl.value, 4.3);
}

#[test]
fn a_bit_rate_takes_the_published_constants_of_that_mode() {
    for (name, kbps, scale, ie, bpl) in [
        ("AMR-WB", "12.65", Scale::Wb, 20.0, 4.3),
        ("amr-wb", "23.85", Scale::Wb, 10.0, 4.9),
        ("EVS", "13.2", Scale::Fb, 17.1, 11.7),
        ("EVS", "32", Scale::Fb, 8.7, 9.3),
    ] {
        let constants = scoring(&format!("[scoring.codec.{name}]\nkbps = {kbps}")).overrides[0].1;
        let found = (constants.scale, constants.ie.value, constants.bpl.value);
        assert_eq!(found, (scale, ie, bpl), "{name} {kbps}");
        assert_eq!(constants.ie.origin, Origin::Override);
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (text, named) in [
        ("[scoring]\ncolour = 1", "unknown field `colour`"),
        ("[scoring]\nmos_model = 'best'", "scoring.mos_model: `best`"),
        (
            "[scoring]\nassumed_one_way_delay_ms = -1",
            "scoring.assumed_one_way_delay_ms: -1 is not from 0 to 500",
        ),
        ("[scoring]\nassumed_one_way_delay_ms = nan", "scoring.assumed_one_way_delay_ms: NaN"),
        ("[scoring]\ng711_plc = 'yes'", "expected a boolean"),
        ("[scoring.codec.opuss]\nie = 1", "scoring.codec.opuss: no codec has this name"),
        ("[scoring.codec.CN]\nie = 1", "scoring.codec.CN: this is no codec for speech"),
        ("[scoring.codec.opus]\niee = 1", "unknown field `iee`"),
        ("[scoring.codec.opus]\nscale = 'hd'", "unknown variant `hd`"),
        ("[scoring.codec.opus]\nie = 133", "scoring.codec.opus.ie: 133 is not from 0 to 132"),
        ("[scoring.codec.G729]\nie = 96", "scoring.codec.G729.ie: 96 is not from 0 to 95"),
        ("[scoring.codec.G729]\nie = inf", "scoring.codec.G729.ie: inf is not from 0 to 95"),
        ("[scoring.codec.G729]\nbpl = 4.2", "scoring.codec.G729.bpl: 4.2 is not from 4.3 to 40"),
        ("[scoring.codec.EVS]\nie = 9", "scoring.codec.EVS: scale is needed"),
        ("[scoring.codec.EVS]\nscale = 'wb'\nie = 9", "scoring.codec.EVS: bpl is needed"),
        ("[scoring.codec.opus]\nscale = 'wb'\nbpl = 9", "scoring.codec.opus: ie is needed"),
        ("[scoring.codec.opus]\nkbps = 24", "scoring.codec.opus: kbps is for AMR-WB and EVS"),
        ("[scoring.codec.AMR-WB]\nkbps = 12", "scoring.codec.AMR-WB.kbps: 12 is none of 6.6, 8.85"),
        ("[scoring.codec.AMR-WB]\nkbps = 6.6", "scoring.codec.AMR-WB: bpl is needed"),
        ("[scoring.codec.opus]\n[scoring.codec.OPUS]", "the codec has another table already"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn an_override_reaches_the_score() {
    let input = ScoreInput {
        codec: Codec::Opus,
        clock_rate: 48_000,
        ptime_ms: 20.0,
        expected: 1000,
        lost: 30,
        discarded: 0,
        burst_ratio: None,
        rtt_ms: None,
        jitter_buffer_ms: 60.0,
        jitter_ms: None,
    };
    let own = Scoring::default().score(&input);
    assert_eq!(own.basis.unwrap().to_string(), "lq fb estimate");
    // EVS at 9.6 kbit/s with 3 % lost: a reference point.
    let text = "[scoring.codec.opus]\nie = 22.7\nbpl = 13.0";
    let overridden = scoring(text).score(&input);
    assert_eq!(overridden.basis.unwrap().to_string(), "lq fb override");
    assert!((overridden.r_factor.unwrap() - 104.806).abs() < 0.001, "{overridden:?}");
    assert!((overridden.mos_lq.unwrap() - 3.635).abs() < 0.001, "{overridden:?}");
}

#[test]
fn the_codecs_of_the_shipped_file_can_be_used() {
    let shipped = include_str!("../deploy/voxplane.toml");
    let (shipped, _) = shipped.split_once("# Who is told of alerts").unwrap();
    let tables: String = shipped
        .lines()
        .filter_map(|line| line.strip_prefix("#     "))
        .map(|line| format!("{line}\n"))
        .collect();
    let overrides = scoring(&tables).overrides;
    let own = Constants::of(Codec::Opus, 48_000, true).unwrap();
    let (_, opus) = overrides.iter().find(|(codec, _)| *codec == Codec::Opus).unwrap();
    assert_eq!(
        (opus.scale, opus.ie.value, opus.bpl.value),
        (own.scale, own.ie.value, own.bpl.value)
    );
    let (_, amr_wb) = overrides.iter().find(|(codec, _)| *codec == Codec::AmrWb).unwrap();
    assert_eq!((amr_wb.scale, amr_wb.ie.value, amr_wb.bpl.value), (Scale::Wb, 20.0, 4.3));
}
