//! Scores of calls: by the settings that control was given, the same wherever they are shown, and
//! with the worst interval.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;
mod http;
#[path = "common/pcap.rs"]
mod pcap;
#[path = "common/tap.rs"]
mod tap;

use std::{fs, sync::Arc, time::Duration};

use common::{START, World, ms, network::Sim, phone};
use serde_json::Value;
use voxplane::{
    analyze,
    config::RawConfig,
    control::{Calls, record::CallRecord},
    quality::score::{Model, Scoring},
    shard::ShardConfig,
};

/// A call of 20 s in PCMU of which a second is lost at 10 s, scored as the settings say.
fn call(scoring: Scoring) -> Arc<CallRecord> {
    let mut sim = Sim::new(1, ShardConfig::default());
    sim.world.calls = Calls::new(START, 10).with_scoring(scoring);
    let mut packets = phone::speech(7, 1, 1000);
    packets.retain(|packet| !(LOST_FROM..LOST_FROM + LOST_FOR).contains(&packet.after));
    let caller = common::Caller::new("198.51.100.1:5070", "scored");
    sim.add(phone::Phone::new(caller, phone::Plan::new(packets)), ms(0));
    sim.run();
    sim.world.finished("scored")
}

const LOST_FROM: Duration = Duration::from_secs(10);
const LOST_FOR: Duration = Duration::from_secs(1);

fn scoring(text: &str) -> Scoring {
    let raw: RawConfig = toml::from_str(text).unwrap();
    raw.complete().unwrap().scoring
}

fn basis(call: &CallRecord) -> String {
    call.score.mos_basis.unwrap().to_string()
}

#[test]
fn an_override_reaches_call_and_stream() {
    let (own, other) = (call(Scoring::default()), call(scoring("[scoring.codec.PCMU]\nie = 20")));
    assert_eq!((basis(&own), basis(&other)), ("lq nb measured".into(), "lq nb override".into()));
    let stream = other.streams.records().next().unwrap();
    assert_eq!(stream.mos_basis, other.score.mos_basis);
    assert_eq!(stream.mos_lq, other.score.mos_lq);
    assert_eq!(stream.impairments.unwrap().codec, 20.0);
    // 5 % lost: what Ie leaves to lose is less by as much.
    let loss = |call: &CallRecord| call.streams.records().next().unwrap().impairments.unwrap();
    let (own, other) = (loss(&own), loss(&other));
    assert!((other.loss / own.loss - 75.0 / 95.0).abs() < 1e-9, "{own:?} {other:?}");
}

#[test]
fn an_assumed_delay_gives_a_conversational_score() {
    let unknown = call(Scoring::default());
    assert_eq!(unknown.score.mos_reason, Some("delay unknown: no RTCP round trip"));
    let assumed = call(scoring("[scoring]\nassumed_one_way_delay_ms = 150"));
    assert_eq!(basis(&assumed), "cq nb measured assumed-delay");
    assert_eq!(assumed.score.mos_reason, None);
    assert_eq!(assumed.score.mos_lq, unknown.score.mos_lq);
    assert!(assumed.score.mos_score < unknown.score.mos_score);
    // What is assumed is no measurement.
    assert_eq!(assumed.latency_avg_ms, None);
}

#[test]
fn the_simplified_model_says_so_everywhere() {
    let simplified = call(Scoring { model: Model::Simplified, ..Scoring::default() });
    assert_eq!(basis(&simplified), "lq nb simplified");
    let stream = simplified.streams.records().next().unwrap();
    assert_eq!(stream.mos_basis, simplified.score.mos_basis);
    // 50 of 1000 packets.
    assert_eq!(simplified.score.r_factor, Some(93.2 - 2.5 * 5.0));
    assert_eq!(stream.r_factor, simplified.score.r_factor);
}

#[test]
fn the_worst_interval_is_the_one_with_the_loss() {
    let call = call(Scoring::default());
    let (worst, when) = (call.worst_interval.mos_min.unwrap(), call.worst_interval.mos_min_time);
    assert!(worst < call.score.mos_score.unwrap(), "{worst}");
    let lost = call.timeline.iter().find(|point| point.packets_lost > 0).unwrap();
    assert_eq!(when, Some(lost.time));
    assert!((f64::from(lost.mos.unwrap()) - worst).abs() < 1e-6);
    let others = call.timeline.iter().filter(|point| point.packets_lost == 0);
    assert!(others.filter_map(|point| point.mos).all(|mos| f64::from(mos) > worst));
    let json = serde_json::to_value(&*call).unwrap();
    assert!(json["mos_min"].is_f64() && json["mos_min_time"].is_string(), "{json}");
}

#[test]
fn a_call_without_media_has_no_worst_interval() {
    let mut world = World::new(ShardConfig::default());
    let mut caller = common::Caller::new("198.51.100.1:5070", "silent");
    caller.set_up(&mut world);
    caller.hang_up(&mut world);
    world.run_for(common::secs(40));
    let json = serde_json::to_value(&*world.finished("silent")).unwrap();
    assert_eq!((&json["mos_min"], &json["mos_min_time"]), (&Value::Null, &Value::Null));
}

/// The same datagrams, once through a shard and the API, once through a capture and `analyze`.
#[test]
fn the_api_and_analyze_give_one_call_the_same_scores() {
    let talk = tap::Talk::new("seen");
    let mut passing = tap::Tap::default();
    passing.set_up(ms(0), &talk);
    let harm = tap::Harm { loss: 0.04, duplicate: 0.01, reorder: 0.02 };
    let mut rng = fastrand::Rng::with_seed(5);
    passing.impaired(ms(600), &talk.speech_forth(900), &mut rng, harm);
    passing.speech(ms(600), &talk.speech_back(900));
    passing.hang_up(ms(19_000), &talk);

    let server = http::serve(passing.run().snapshot);
    let api = http::get(server.local_addr(), "/api/qos/call/seen").json();
    assert!(api["mos_score"].as_f64().unwrap() < 4.3, "{api}");
    assert_eq!(api["streams"].as_array().unwrap().len(), 2);

    let capture = capture(&passing);
    let whole = analyzed(&capture, None);
    let one = analyzed(&capture, Some("seen"));
    let scores = |call: &Value| {
        let of = |value: &Value, names: &[&str]| {
            names.iter().map(|name| value[name].clone()).collect::<Vec<_>>()
        };
        let mut scores = of(call, &CALL_SCORES);
        for stream in call["streams"].as_array().unwrap() {
            scores.extend(of(stream, &STREAM_SCORES));
        }
        scores
    };
    // Three of the call, two of each stream: without RTCP there is no MOS-CQ.
    assert_eq!(scores(&api).iter().filter(|score| score.is_number()).count(), 7, "{api}");
    assert_eq!(scores(&whole["calls"][0]), scores(&api));
    assert_eq!(scores(&one), scores(&api));
    assert!(one["mos_min"].as_f64().unwrap() <= one["mos_score"].as_f64().unwrap());
}

const CALL_SCORES: [&str; 6] =
    ["mos_score", "mos_lq", "r_factor", "mos_basis", "mos_reason", "quality_rating"];
const STREAM_SCORES: [&str; 6] =
    ["mos_cq", "mos_lq", "r_factor", "mos_basis", "mos_reason", "impairments"];

fn capture(passing: &tap::Tap) -> pcap::TempFile {
    let mut flights = passing.passing().to_vec();
    flights.sort_by_key(|(at, _)| *at);
    let mut file = pcap::Pcap::with(LINKTYPE_RAW, false, true);
    for (at, flight) in flights {
        let packet = pcap::udp(&flight.src.to_string(), &flight.dst.to_string(), &flight.bytes);
        let nanos = Duration::from_secs(FIRST_SECOND) + at;
        file.packet(u64::try_from(nanos.as_nanos()).unwrap(), &packet);
    }
    pcap::TempFile::new(&file.bytes)
}

/// What `analyze` says in JSON.
fn analyzed(capture: &pcap::TempFile, call: Option<&str>) -> Value {
    let out = capture.path().with_extension("json");
    analyze::run(&analyze::Options {
        files: vec![capture.path()],
        format: analyze::Format::Json,
        out: Some(out.clone()),
        call: call.map(str::to_owned),
        threads: 1,
        limit: 0,
    })
    .unwrap();
    let text = fs::read_to_string(&out).unwrap();
    fs::remove_file(out).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// IP packets without a link layer.
const LINKTYPE_RAW: u32 = 101;

/// When the capture begins: any time.
const FIRST_SECOND: u64 = 1_800_000_000;
