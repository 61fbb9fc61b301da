//! The `[jitter_buffer]` table: what it takes, what it refuses by name, and what it does to scores.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{
    Caller, START, ms,
    network::{Path, Sim},
    phone::{Phone, Plan, speech},
};
use serde_json::Value;
use voxplane::{
    config::RawConfig,
    control::Calls,
    quality::score::Scoring,
    shard::{
        ShardConfig,
        buffer::{BufferMode, JitterBuffers},
    },
};

fn read(text: &str) -> Result<JitterBuffers, String> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
    let config = raw.complete().map_err(|error| error.to_string())?;
    assert_eq!(config.scoring.far_end_buffer_ms, f64::from(config.jitter_buffers.fixed_ms));
    Ok(config.jitter_buffers)
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(read("").unwrap(), JitterBuffers::default());
    assert_eq!(read("[jitter_buffer]").unwrap(), JitterBuffers::default());
}

#[test]
fn every_key_is_taken() {
    let all = "[jitter_buffer]\nmode = 'adaptive'\nfixed_ms = 40\nfixed_max_ms = 90\n\
               adaptive_min_ms = 10\nadaptive_max_ms = 300";
    let expected = JitterBuffers {
        mode: BufferMode::Adaptive,
        fixed_ms: 40,
        fixed_max_ms: 90,
        adaptive_min_ms: 10,
        adaptive_max_ms: 300,
    };
    assert_eq!(read(all).unwrap(), expected);
}

#[test]
fn bad_values_are_named() {
    for (text, named) in [
        ("mode = 'none'", "unknown variant `none`, expected `fixed` or `adaptive`"),
        ("depth_ms = 60", "unknown field `depth_ms`"),
        ("fixed_ms = -1", "invalid value"),
        ("fixed_ms = 501", "jitter_buffer.fixed_ms: 501 is not from 0 to 500"),
        ("fixed_ms = 70000", "jitter_buffer.fixed_ms: 70000 is not from 0 to 500"),
        ("fixed_max_ms = 59", "jitter_buffer.fixed_max_ms: 59 is not from 60 to 1000"),
        ("fixed_ms = 300", "jitter_buffer.fixed_max_ms: 200 is not from 300 to 1000"),
        ("adaptive_min_ms = 600", "jitter_buffer.adaptive_min_ms: 600 is not from 0 to 500"),
        ("adaptive_max_ms = 19", "jitter_buffer.adaptive_max_ms: 19 is not from 20 to 1000"),
        ("adaptive_max_ms = 1001", "jitter_buffer.adaptive_max_ms: 1001 is not from 20 to 1000"),
    ] {
        let error = read(&format!("[jitter_buffer]\n{text}")).unwrap_err();
        assert!(error.contains(named), "{text}: {error}");
    }
}

/// A call of 40 s with jitter up to 90 ms and an assumed delay, as the API tells it.
fn call(buffers: JitterBuffers) -> Value {
    let config = ShardConfig { jitter_buffers: buffers, ..ShardConfig::default() };
    let mut sim = Sim::new(1, config);
    let scoring = Scoring { assumed_one_way_delay_ms: Some(120.0), ..Scoring::default() };
    sim.world.calls = Calls::new(START, 10).with_scoring(scoring);
    sim.media = Path { delay: ms(30), jitter: ms(90), ..Path::default() };
    let caller = Caller::new("198.51.100.1:5070", "buffered");
    sim.add(Phone::new(caller, Plan::new(speech(7, 1, 2000))), ms(0));
    sim.run();
    serde_json::to_value(&*sim.world.finished("buffered")).unwrap()
}

#[test]
fn the_score_is_that_of_the_buffer_it_names() {
    for (mode, name) in [(BufferMode::Fixed, "fixed"), (BufferMode::Adaptive, "adaptive")] {
        let call = call(JitterBuffers { mode, ..JitterBuffers::default() });
        let stream =
            call["streams"].as_array().unwrap().iter().find(|stream| stream["direction"] == "rx");
        let stream = stream.unwrap();
        let (assumed, emulated) = (&stream["jitter_buffer"], &stream["buffers"][name]);
        assert_eq!(assumed["mode"], name, "{stream}");
        for key in ["delay_ms", "late", "early"] {
            assert_eq!(assumed[key], emulated[key], "{key}: {stream}");
        }
        for key in ["mos_lq", "mos_cq", "discard_percentage"] {
            assert_eq!(stream[key], emulated[key], "{key}: {stream}");
        }
        let discarded = assumed["late"].as_u64().unwrap() + assumed["early"].as_u64().unwrap();
        assert_eq!(stream["packets_discarded"], discarded);
        assert_eq!(call["jitter_buffer"], *assumed, "{call}");
        assert_eq!(call["mos_score"], stream["mos_cq"]);
    }
}

#[test]
fn the_adaptive_one_trades_delay_for_loss() {
    let call = call(JitterBuffers::default());
    let streams = call["streams"].as_array().unwrap();
    let stream = streams.iter().find(|stream| stream["direction"] == "rx").unwrap();
    let of = |name: &str, key: &str| stream["buffers"][name][key].as_f64().unwrap();
    assert_eq!(of("fixed", "delay_ms"), 60.0);
    assert!((70.0..100.0).contains(&of("adaptive", "delay_ms")), "{stream}");
    assert!(of("fixed", "discard_percentage") > 25.0, "{stream}");
    assert!(of("adaptive", "discard_percentage") < 1.0, "{stream}");
    assert!(of("adaptive", "mos_cq") > of("fixed", "mos_cq"), "{stream}");
    // What delay takes: with the longer one, MOS-CQ is further below MOS-LQ.
    assert!(of("adaptive", "mos_lq") - of("adaptive", "mos_cq") > 0.1, "{stream}");
    for key in ["pdv_p50_ms", "pdv_p95_ms", "pdv_p99_ms", "pdv_max_ms"] {
        assert!((20.0..=90.1).contains(&stream[key].as_f64().unwrap()), "{key}: {stream}");
    }
    let worst = call["mos_min"].as_f64().unwrap();
    assert!(worst <= call["mos_score"].as_f64().unwrap(), "{call}");
}
