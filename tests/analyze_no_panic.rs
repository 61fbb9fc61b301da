//! No capture makes `analyze` panic, hang or tell of more packets than there were: calls bent in
//! random ways go all the way from the file to the JSON.
//!
//! `VOXPLANE_FUZZ_CASES=20000 cargo test --release --test analyze_no_panic` takes longer and tries
//! more.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;

use fastrand::Rng;
use serde_json::Value;
use voxplane::analyze::{Format, Options, run};

#[path = "common/bend.rs"]
mod bend;
#[path = "common/generate.rs"]
mod generate;

use bend::{LEN_MAX, bent, cases};
use generate::Generator;

/// Bent captures per run; see [`bend::cases`].
const CASES: usize = 1_000;
const SEED: u64 = 0x616E_616C;

#[test]
fn bent_calls_are_analyzed_to_their_end() {
    let cases = cases(CASES);
    let mut rng = Rng::with_seed(SEED);
    let models = models();
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("bent.pcap"), dir.path().join("out.json"));
    let (mut analyzed, mut with_calls) = (0, 0);
    for case in 0..cases {
        fs::write(&file, bent(&mut rng, &models)).unwrap();
        let options = Options {
            files: vec![file.clone()],
            format: Format::Json,
            out: Some(out.clone()),
            call: (case % 8 == 7).then(|| "0@10.0.0.0".to_owned()),
            threads: 1 + rng.u16(..2),
            limit: 50,
        };
        if run(&options).is_err() || options.call.is_some() {
            continue;
        }
        analyzed += 1;
        let found: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
        let packets = found["packets"].as_u64().unwrap();
        let of_streams = |key: &str| -> u64 {
            let streams = found["streams"].as_array().unwrap();
            streams.iter().map(|stream| stream[key].as_u64().unwrap()).sum()
        };
        let measured = of_streams("packets_received") + of_streams("packets_duplicate");
        assert!(measured <= packets, "{measured} of {packets} in case {case}");
        assert!(packets <= LEN_MAX as u64 / 16, "{packets} in case {case}");
        with_calls += usize::from(!found["calls"].as_array().unwrap().is_empty());
    }
    // Bending must leave enough whole.
    assert!(analyzed > cases / 2 && with_calls > cases / 3, "{analyzed} {with_calls} of {cases}");
}

/// A call of a second, and the same with much loss.
fn models() -> Vec<Vec<u8>> {
    let model = |loss| {
        let mut bytes = Vec::new();
        let generator = Generator { calls: 1, seconds: 1, loss, seed: SEED };
        generator.write(&mut bytes).unwrap();
        bytes
    };
    vec![model(0.0), model(0.3)]
}
