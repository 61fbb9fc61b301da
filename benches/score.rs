//! What one score of a stream costs.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use voxplane::{
    quality::score::{ScoreInput, Scoring},
    wire::codec::Codec,
};

fn scores(criterion: &mut Criterion) {
    let input = ScoreInput {
        codec: Codec::Pcmu,
        clock_rate: 8000,
        ptime_ms: 20.0,
        expected: 250,
        lost: 3,
        discarded: 1,
        burst_ratio: Some(1.4),
        rtt_ms: Some(180.0),
        jitter_buffer_ms: 60.0,
        jitter_ms: Some(3.0),
    };
    let scoring = Scoring::default();
    let listening = ScoreInput { rtt_ms: None, ..input };
    criterion.bench_function("score/cq and lq", |b| b.iter(|| scoring.score(black_box(&input))));
    criterion.bench_function("score/lq only", |b| b.iter(|| scoring.score(black_box(&listening))));
}

criterion_group!(benches, scores);
criterion_main!(benches);
