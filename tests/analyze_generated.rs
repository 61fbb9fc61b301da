//! Captures whose truth is known: `voxplane analyze` tells it, however the capture comes; and what
//! is broken is named.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod analyze;
#[path = "common/generate.rs"]
mod generate;
mod live;

use std::{io::Write as _, path::PathBuf};

use analyze::{Answer, integer, streams};
use flate2::{Compression, write::GzEncoder};
use generate::{FIRST_SSRC, Generator, Truth};
use live::Scratch;
use serde_json::Value;

#[test]
fn every_call_has_ended_with_its_loss_and_a_score() {
    let capture = Capture::of(Generator { calls: 50, seconds: 10, loss: 0.01, seed: 1 });
    let found = capture.analyze(&[]).found();
    assert_eq!(found["packets"], capture.truth.packets);
    assert_eq!((&found["ignored"], &found["warnings"]), (&"{}".parse().unwrap(), &no_warnings()));
    let calls = found["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 50);
    for call in calls {
        let outcome = ["state", "ended_by", "status_code"].map(|name| call[name].clone());
        assert_eq!(outcome, ["ended".into(), "caller".into(), Value::from(200)], "{call:#}");
        // Both ways are scored, and the worse one is the call's.
        let scores = call["streams"].as_array().unwrap().iter().map(|one| one["mos_lq"].as_f64());
        let scores: Option<Vec<f64>> = scores.collect();
        let scores = scores.unwrap();
        assert_eq!(scores.len(), 2, "{call:#}");
        assert_eq!(call["mos_score"].as_f64(), Some(scores[0].min(scores[1])));
        assert!((1.0..4.42).contains(&scores[0]), "{scores:?}");
    }
    let streams = streams(&found);
    assert_eq!(streams.len(), capture.truth.lost.len());
    for ((_, _, ssrc), stream) in streams {
        let lost = i64::try_from(capture.truth.lost[(ssrc - FIRST_SSRC) as usize]).unwrap();
        let sent = i64::try_from(capture.truth.sent).unwrap();
        let figures = ["packets_lost", "packets_received", "packets_expected", "packets_duplicate"];
        let figures = figures.map(|name| integer(&stream, name));
        assert_eq!(figures, [lost, sent - lost, sent, 0], "{stream:#}");
        let runs = stream["loss_runs"].as_array().unwrap().iter();
        let in_runs = runs.map(|run| run[0].as_i64().unwrap() * run[1].as_i64().unwrap());
        assert_eq!(in_runs.sum::<i64>(), lost, "{stream:#}");
        assert_eq!((&stream["dscp"], &stream["ttl"]), (&0.into(), &64.into()), "{stream:#}");
    }
    let lost: u64 = capture.truth.lost.iter().sum();
    assert!((300..700).contains(&lost), "{lost} is not 1 % of 50,000");
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let capture = Capture::of(Generator { calls: 50, seconds: 10, loss: 0.01, seed: 2 });
    for more in [&["--format", "json"][..], &[], &["--call", "7@10.0.0.7"]] {
        let by = |threads| Answer::of(&[&[&*capture.name(), "--threads", threads], more].concat());
        let one = by("1");
        assert_eq!(one.code, Some(0), "{one:?}");
        for threads in ["2", "3"] {
            assert!(one == by(threads), "{threads} threads say something else: {more:?}");
        }
    }
}

#[test]
fn text_fits_its_columns_and_names_the_calls() {
    let capture = Capture::small();
    let answer = Answer::of(&[&*capture.name(), "--limit", "0"]);
    let text = &answer.stdout;
    assert_eq!((answer.code, &*answer.stderr), (Some(0), ""));
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 100), "{text}");
    assert!((0..5).all(|id| text.contains(&format!("  {id}@10.0.0.{id}\n"))), "{text}");
    assert!(!text.contains('\u{1B}'), "colours are for terminals");
}

#[test]
fn one_call_is_shown_with_each_of_its_messages() {
    let capture = Capture::small();
    let answer = Answer::of(&[&*capture.name(), "--call", "3@10.0.0.3"]);
    assert_eq!((answer.code, &*answer.stderr), (Some(0), ""));
    let arrow = |line: &&str| line.contains("─▶│") || line.contains("│◀─");
    assert_eq!(answer.stdout.lines().filter(arrow).count(), 7, "{}", answer.stdout);
    let found = capture.analyze(&["--call", "3@10.0.0.3"]).found();
    assert_eq!(found["call_id"], "3@10.0.0.3");
    assert_eq!(found["ladder"].as_array().unwrap().len(), 7, "{found:#}");
    Answer::of(&[&*capture.name(), "--call", "nobody"]).assert_refused(1);
}

#[test]
fn compressed_or_through_a_pipe_it_is_the_same_capture() {
    let capture = Capture::small();
    let beside_files = |answer: &Answer| {
        let mut found = answer.found();
        assert_eq!(found["files"].as_array().unwrap().len(), 1);
        found["files"].take();
        found
    };
    let plain = beside_files(&capture.analyze(&[]));
    let zipped = gzip(&capture.bytes);
    let file = capture.scratch.file("calls.pcap.gz", &zipped);
    let by_name = Answer::of(&[file.to_str().unwrap(), "--format", "json"]);
    assert_eq!(beside_files(&by_name), plain);
    for input in [&capture.bytes, &zipped] {
        let piped = Answer::with_input(&["-", "--format", "json"], input);
        assert_eq!(beside_files(&piped), plain);
    }
    let out = capture.scratch.path().join("out.json");
    let quiet = capture.analyze(&["--out", out.to_str().unwrap()]);
    assert_eq!((quiet.code, &*quiet.stdout), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(out).unwrap(), capture.analyze(&[]).stdout);
}

#[test]
fn of_a_capture_that_was_cut_off_what_is_there_is_told() {
    let capture = Capture::small();
    let ends = capture.ends_of_packets();
    let mut rng = fastrand::Rng::with_seed(3);
    for cut in (0..60).map(|_| rng.usize(HEADER..capture.bytes.len())).chain([HEADER, ends[9]]) {
        let file = capture.scratch.file("cut.pcap", &capture.bytes[..cut]);
        let answer = Answer::of(&[file.to_str().unwrap(), "--format", "json"]);
        let found = answer.found();
        let whole = ends.partition_point(|&end| end <= cut);
        assert_eq!(found["packets"], whole, "cut at {cut}");
        let is_between = cut == HEADER || ends.contains(&cut);
        let warnings = found["warnings"].as_array().unwrap();
        assert_eq!(warnings.is_empty(), is_between, "cut at {cut}: {warnings:?}");
        assert!(warnings.iter().all(|text| text.as_str().unwrap().contains("cut.pcap")));
    }
    let zipped = gzip(&capture.bytes);
    let file = capture.scratch.file("cut.gz", &zipped[..zipped.len() / 2]);
    let found = Answer::of(&[file.to_str().unwrap(), "--format", "json"]).found();
    assert!(found["packets"].as_u64().unwrap() > 0);
    assert!(found["warnings"][0].as_str().unwrap().contains("cut.gz"), "{}", found["warnings"]);
}

#[test]
fn what_is_no_capture_is_refused_in_one_sentence() {
    let capture = Capture::small();
    let scratch = &capture.scratch;
    let text = "From: a\nTo: b\n\nThis is no capture.\n".repeat(100);
    for file in [
        scratch.file("empty", ""),
        scratch.file("letter", text),
        scratch.file("short", &capture.bytes[..HEADER - 1]),
        scratch.path().to_owned(),
        scratch.path().join("missing"),
    ] {
        for format in ["text", "json"] {
            let answer = Answer::of(&[file.to_str().unwrap(), "--format", format]);
            answer.assert_refused(1);
            assert!(answer.stderr.contains(file.to_str().unwrap()), "{answer:?}");
        }
    }
    Answer::with_input(&["-"], b"neither is this").assert_refused(1);
    // One bad file among good ones is enough.
    Answer::of(&[&*capture.name(), "/nowhere"]).assert_refused(1);
}

#[test]
fn a_wrong_command_line_is_refused() {
    let capture = Capture::small();
    let name = capture.name();
    for args in [
        &[][..],
        &[&*name, "--threads", "0"],
        &[&*name, "--format", "xml"],
        &[&*name, "--nothing"],
        &[&*name, "--limit", "some"],
    ] {
        let answer = Answer::of(args);
        assert_eq!((answer.code, &*answer.stdout), (Some(2), ""), "{answer:?}");
        assert!(!answer.stderr.is_empty());
    }
}

/// A capture and what it holds.
struct Capture {
    scratch: Scratch,
    file: PathBuf,
    bytes: Vec<u8>,
    truth: Truth,
}

impl Capture {
    fn of(generator: Generator) -> Self {
        let mut bytes = Vec::new();
        let truth = generator.write(&mut bytes).unwrap();
        let scratch = Scratch::new();
        let file = scratch.file("calls.pcap", &bytes);
        Self { scratch, file, bytes, truth }
    }

    fn small() -> Self {
        Self::of(Generator { calls: 5, seconds: 2, loss: 0.02, seed: 3 })
    }

    fn name(&self) -> String {
        self.file.to_str().unwrap().to_owned()
    }

    /// Runs the program on it, for JSON.
    fn analyze(&self, more: &[&str]) -> Answer {
        Answer::of(&[&[&*self.name(), "--format", "json"], more].concat())
    }

    /// Where each packet ends in the file.
    fn ends_of_packets(&self) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut at = HEADER;
        while at < self.bytes.len() {
            let len = self.bytes[at + 8..at + 12].try_into().unwrap();
            at += 16 + u32::from_le_bytes(len) as usize;
            ends.push(at);
        }
        ends
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn no_warnings() -> Value {
    Value::Array(Vec::new())
}

/// Octets of a pcap file's header.
const HEADER: usize = 24;
