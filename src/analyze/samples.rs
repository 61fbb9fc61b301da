//! Records made by hand, for the tests of what shows them. They assert nothing.

use std::{net::SocketAddr, time::Duration};

use crate::{
    control::{
        record::{
            BurstRecord, CallRecord, CallScore, CallSignalling, CallState, CloseupRecord,
            Conditions, Direction, EndedBy, Expected, Figures, Integrity, RttFigures, StreamRecord,
            TimelinePoint, WorstInterval,
        },
        streams::CallStreams,
    },
    id::{CallRef, ShardId, Ssrc, StreamRef},
    quality::{MosBasis, MosKind, Rating, Scale, Source},
    shard::{
        Counts,
        buffer::BufferReport,
        health::OwnFaults,
        report::{Bursts, Closeup, DelayVariation, StreamReport},
    },
    time::Timestamp,
    wire::codec::Codec,
};

/// Milliseconds after a fixed time of a fixed day.
pub(super) fn at_ms(ms: u64) -> Timestamp {
    Timestamp::from_secs(1_769_860_800) + Duration::from_millis(ms)
}

/// The address of the nth end.
pub(super) fn address(n: usize) -> SocketAddr {
    format!("192.0.2.{n}:5060").parse().unwrap()
}

/// An answered call of 20 s that began after `seconds`, over, with one stream.
pub(super) fn call(id: &str, seconds: u64, mos: Option<f64>) -> CallRecord {
    let started = at_ms(seconds * 1000);
    let after = |ms| started + Duration::from_millis(ms);
    let basis = MosBasis {
        kind: MosKind::Lq,
        scale: Scale::Nb,
        source: Source::Measured,
        is_delay_assumed: false,
    };
    let points = [(5, 0, 4.36_f32), (10, 2, 4.1), (15, 40, 2.2), (20, 3, 3.7)];
    CallRecord {
        reference: None,
        call_id: id.to_owned(),
        from: Some("sip:alice@192.0.2.1".to_owned()),
        to: Some("sip:echo@192.0.2.2".to_owned()),
        user_agent: Some("phone 1.0".to_owned()),
        source: Some([192, 0, 2, 1].into()),
        trunk: Some(crate::id::Trunk::of([192, 0, 2, 1].into())),
        state: CallState::Ended,
        status_code: Some(200),
        ended_by: Some(EndedBy::Caller),
        start_time: started,
        answer_time: Some(after(250)),
        end_time: Some(after(20_250)),
        duration_seconds: 20.0,
        signalling: CallSignalling { srd_ms: Some(12.5), ..CallSignalling::default() },
        packets_sent: 1000,
        figures: Figures {
            packets_received: Some(955),
            packets_lost: Some(45),
            packet_loss_percentage: Some(if mos.is_some_and(|mos| mos < 3.5) { 4.5 } else { 0.5 }),
            packets_out_of_order: Some(0),
            packets_duplicate: Some(0),
            packets_discarded: Some(3),
        },
        jitter_avg_ms: Some(3.0),
        jitter_max_ms: Some(9.0),
        latency_avg_ms: None,
        latency_max_ms: None,
        rtt: RttFigures::default(),
        codec: Some("PCMU"),
        score: CallScore {
            mos_score: mos,
            mos_lq: mos,
            r_factor: mos.map(|_| 80.0),
            mos_basis: mos.map(|_| basis),
            mos_reason: mos.is_none().then_some("no media"),
            quality_rating: mos.map(Rating::from_mos),
            jitter_buffer: None,
        },
        worst_interval: WorstInterval::default(),
        integrity: Integrity::Clean,
        own_drops: 0,
        own_stalls: 0,
        conditions: Conditions::default(),
        expected: Expected::default(),
        streams: CallStreams::new(id, vec![report(started)], None),
        timeline: points
            .map(|(second, lost, mos)| TimelinePoint {
                direction: Direction::Rx,
                time: after(second * 1000 + 250),
                packets_received: 250 - lost,
                packets_lost: lost.cast_signed(),
                packets_discarded: 0,
                jitter_ms: 1.5,
                mos: Some(mos),
                integrity: Integrity::Clean,
            })
            .to_vec(),
    }
}

/// A call that was not answered, with its status and without streams.
pub(super) fn failed(id: &str, seconds: u64, status: u16) -> CallRecord {
    CallRecord {
        state: CallState::Failed,
        status_code: Some(status),
        ended_by: Some(EndedBy::Callee),
        answer_time: None,
        duration_seconds: 0.0,
        figures: Figures::default(),
        jitter_avg_ms: None,
        jitter_max_ms: None,
        codec: None,
        streams: CallStreams::default(),
        timeline: Vec::new(),
        ..call(id, seconds, None)
    }
}

fn report(started: Timestamp) -> StreamReport {
    let shard = ShardId(0);
    StreamReport {
        stream: StreamRef { shard, serial: 1 },
        call: Some(CallRef { shard, serial: 1 }),
        at: started,
        is_final: true,
        direction: Direction::Rx,
        src: "192.0.2.1:4000".parse().unwrap(),
        dst: "192.0.2.2:20000".parse().unwrap(),
        ssrc: Ssrc(0xDEAD_BEEF),
        payload_type: 0,
        codec: Codec::Pcmu,
        clock_rate: 8000,
        ptime_ticks: 160,
        first_at: started + Duration::from_millis(250),
        last_at: started + Duration::from_millis(20_230),
        counts: Counts { received: 955, expected: 1000, ..Counts::default() },
        jitter_samples: 954,
        jitter_max_us: 9000,
        jitter_us: 3000,
        jitter_p95_us: 8000,
        jitter_sum_us: 954 * 3000,
        delta_max_us: 40_000,
        burst_ratio: 1.0,
        burst_density: 0.0,
        gap_density: 4.5,
        bursts: Bursts::default(),
        closeup: Closeup::default(),
        own: OwnFaults::default(),
        variation: DelayVariation::default(),
        buffers: BufferReport::default(),
        has_left: false,
    }
}

/// A stream without a score.
pub(super) fn stream(ssrc: u32, call_id: Option<&str>) -> StreamRecord {
    StreamRecord {
        direction: Direction::Rx,
        src: "[2001:db8::1]:4000".parse().unwrap(),
        dst: "[2001:db8::2]:20000".parse().unwrap(),
        ssrc: Ssrc(ssrc),
        payload_type: Some(96),
        codec: None,
        clock_rate: None,
        ptime_ms: Some(20.0),
        first_time: Some(at_ms(1000)),
        last_time: Some(at_ms(61_000)),
        packets_received: Some(2940),
        packets_expected: Some(3000),
        packets_lost: Some(60),
        loss_percentage: Some(2.0),
        packets_out_of_order: Some(4),
        packets_duplicate: Some(1),
        packets_discarded: Some(0),
        jitter_mean_ms: Some(3.0),
        jitter_max_ms: Some(9.0),
        jitter_p95_ms: None,
        pdv_p50_ms: None,
        pdv_p95_ms: None,
        pdv_p99_ms: None,
        pdv_max_ms: None,
        skew_ppm: None,
        max_delta_ms: Some(41.5),
        mean_delta_ms: None,
        burst_ratio: Some(1.0),
        burst_density: None,
        gap_density: None,
        bursts: BurstRecord::default(),
        closeup: CloseupRecord::default(),
        discard_percentage: Some(0.0),
        rtt_ms: None,
        rtt: RttFigures::default(),
        mos_cq: None,
        mos_lq: None,
        r_factor: None,
        mos_basis: None,
        mos_reason: Some("codec unknown"),
        impairments: None,
        jitter_buffer: None,
        buffers: None,
        rtcp_bye: None,
        remote: None,
        call_id: call_id.map(str::to_owned),
    }
}
