//! Extended reports (RFC 3611) of the far end: reference times and their answers give round trips,
//! VoIP metrics and statistics summaries stand beside what is measured here and change none of it.

mod common;
#[path = "common/line.rs"]
mod line;

use std::sync::Arc;

use common::{ms, secs};
use fastrand::Rng;
use line::{Line, Parts, dlrr, extended, streams, units};
use serde_json::{Value, json};
use voxplane::{
    control::record::{CallRecord, Direction, StreamRecord},
    id::Ssrc,
    shard::ShardConfig,
    wire::rtcp::{
        self, Concealment, HopField, HopSummary, JitterBufferKind, JitterSummary,
        ReceiverReferenceTime, ReportBlockValues, StatisticsSummaryValues, VoipMetrics,
        VoipMetricsValues, XrBlock,
    },
};

fn line(user: &'static str) -> Line {
    Line::new(user, ShardConfig::default())
}

/// The SSRC that the appliance sends from.
fn ours(line: &mut Line) -> Ssrc {
    line.talk(250, |_| false);
    Parts::of(line.heard().first().expect("a report")).ssrc
}

fn near(got: Option<f64>, expected: f64) {
    let got = got.expect("a value");
    assert!((got - expected).abs() < 0.1, "{got} is not {expected}");
}

/// ```text
/// appliance                far end
/// | RR, XR: reference time ---> |  d/2
/// |                             |  held
/// | <------------- XR: DLRR     |  d/2
/// ```
#[test]
fn answers_to_our_reference_times_are_round_trips() {
    let mut line = line("sink");
    let mut delays = [40, 10, 300, 25].map(ms).into_iter();
    let mut measured = 0;
    while measured < 4 {
        line.talk(50, |_| false);
        for report in line.heard() {
            let delay = delays.next().expect("one for each");
            let held = ms(1700);
            line.talk_in(held + delay - line.world.now.since(report.at), 1, |_| false);
            let answer = dlrr(&report, held);
            // One to somebody else, and the whole again: neither is another measurement.
            let others = rtcp::DlrrSubBlock::new(Ssrc(99), answer.lrr(), answer.dlrr());
            let bytes = extended(7, &[XrBlock::Dlrr(&[others, answer])]);
            line.say(bytes.clone());
            line.talk_in(ms(200), 1, |_| false);
            line.say(bytes);
            measured += 1;
            if measured == 4 {
                break;
            }
        }
    }
    let call = line.hang_up();
    assert_eq!(call.rtt.rtt_count, 4);
    near(call.rtt.rtt_min_ms, 10.0);
    near(call.rtt.rtt_max_ms, 300.0);
    near(call.rtt.rtt_last_ms, 25.0);
    near(call.latency_avg_ms, 93.75);
    near(call.latency_max_ms, 300.0);
    let stream = streams(&call, Direction::Rx).remove(0);
    assert_eq!(stream.rtt, call.rtt);
    near(stream.rtt_ms, 93.75);
    assert!(stream.mos_cq.is_some());
}

#[test]
fn a_reference_time_of_the_far_end_is_answered_in_the_next_reports() {
    let mut line = line("sink");
    line.talk(100, |_| false);
    line.heard();
    // Any clock; none has the time 0.
    let clock = 0x1234_5678_9ABC_DEF0;
    let times = [clock, 0].map(ReceiverReferenceTime::new);
    line.say(extended(7, &times.each_ref().map(XrBlock::ReceiverReferenceTime)));
    let came = line.world.now;
    line.talk(1000, |_| false);
    let reports: Vec<_> = line.heard().iter().map(Parts::of).collect();
    assert!(reports.len() >= 3);
    for report in reports {
        let [answer] = report.dlrr[..] else { panic!("{report:#?}") };
        assert_eq!((answer.ssrc(), answer.lrr()), (Ssrc(7), 0x5678_9ABC));
        assert_eq!(answer.dlrr(), units(report.at.since(came)));
        assert_eq!(report.extended, [4, 5, 6, 7]);
    }
}

/// Sender reports and reference times are answered in one datagram: both are measurements, and
/// they agree.
#[test]
fn both_ways_to_a_round_trip_are_one_measurement() {
    let mut line = line("echo");
    line.talk(200, |_| false);
    let report = line.heard().pop().expect("a report");
    let held = line.world.now.since(report.at).checked_sub(ms(60)).expect("a while ago");
    let answer = dlrr(&report, held);
    let block = ReportBlockValues {
        ssrc: Parts::of(&report).ssrc,
        extended_highest_sequence: 1000,
        lsr: answer.lrr(),
        dlsr: answer.dlrr(),
        ..ReportBlockValues::default()
    };
    let mut bytes = Vec::new();
    rtcp::write_receiver_report(&mut bytes, Ssrc(7), &[block]);
    rtcp::write_extended_report(&mut bytes, Ssrc(7), &[XrBlock::Dlrr(&[answer])]);
    line.say(bytes);
    let call = line.hang_up();
    assert_eq!(call.rtt.rtt_count, 2);
    near(call.rtt.rtt_min_ms, 60.0);
    near(call.rtt.rtt_max_ms, 60.0);
}

fn metrics(ssrc: Ssrc) -> VoipMetrics {
    VoipMetricsValues {
        ssrc,
        loss_rate: 0.125,
        discard_rate: 0.0625,
        burst_density: 0.5,
        gap_density: 0.031_25,
        burst_duration_ms: 340.0,
        gap_duration_ms: 5100.0,
        round_trip_ms: Some(87.0),
        end_system_delay_ms: Some(72.0),
        signal_level_dbm0: Some(-21.0),
        noise_level_dbm0: Some(-66.0),
        rerl_db: Some(45.0),
        r_factor: Some(61.0),
        external_r_factor: Some(90.0),
        mos_lq: Some(3.3),
        mos_cq: Some(3.1),
        concealment: Some(Concealment::Enhanced),
        jitter_buffer_kind: Some(JitterBufferKind::Adaptive),
        jitter_buffer_nominal_ms: 40.0,
        jitter_buffer_maximum_ms: 80.0,
        jitter_buffer_absolute_maximum_ms: 200.0,
        ..VoipMetricsValues::default()
    }
    .into()
}

fn summary(ssrc: Ssrc) -> rtcp::StatisticsSummary {
    let jitter = JitterSummary { min: 8, max: 800, mean: 80, deviation: 40 };
    StatisticsSummaryValues {
        ssrc,
        begin_sequence: 1000,
        end_sequence: 1250,
        lost: Some(31),
        duplicates: None,
        jitter: Some(jitter),
        hops: Some(HopSummary { field: HopField::Ttl, min: 54, max: 58, mean: 57, deviation: 1 }),
    }
    .into()
}

/// A call of 10 s that hears itself, with what its far end says in the middle.
fn spoken_to(say: impl FnOnce(&mut Line, Ssrc)) -> Arc<CallRecord> {
    let mut line = line("echo");
    let ours = ours(&mut line);
    say(&mut line, ours);
    line.talk(250, |_| false);
    line.hang_up()
}

fn sent(call: &CallRecord) -> StreamRecord {
    streams(call, Direction::Tx).remove(0)
}

#[test]
fn what_the_far_end_says_of_our_stream_stands_beside_our_own_figures() {
    let silent = spoken_to(|_, _| {});
    assert_eq!(sent(&silent).remote, None);
    let call = spoken_to(|line, ours| {
        let (metrics, summary) = (metrics(ours), summary(ours));
        line.say(extended(7, &[XrBlock::VoipMetrics(&metrics)]));
        line.say(extended(7, &[XrBlock::StatisticsSummary(&summary)]));
    });
    let stream = sent(&call);
    let record = serde_json::to_value(&stream).expect("JSON");
    let mut remote = record["remote"].clone();
    let time = remote.as_object_mut().expect("an object").remove("time");
    assert!(time.is_some_and(|time| time.is_string()));
    let expected = json!({
        "loss_percentage": 12.5, "discard_percentage": 6.25,
        "burst_density": 50.0, "gap_density": 3.125,
        "burst_duration_ms": 340, "gap_duration_ms": 5100, "gmin": 16,
        "round_trip_ms": 87, "end_system_delay_ms": 72,
        "signal_level_dbm": -21, "noise_level_dbm": -66, "rerl_db": 45,
        "r_factor": 61, "external_r_factor": 90, "mos_lq": 3.3, "mos_cq": 3.1,
        "concealment": "enhanced", "jitter_buffer": "adaptive",
        "jitter_buffer_nominal_ms": 40, "jitter_buffer_maximum_ms": 80,
        "jitter_buffer_absolute_maximum_ms": 200,
        "summary": {
            "begin_sequence": 1000, "end_sequence": 1250,
            "packets_lost": 31, "packets_duplicate": null,
            "jitter_min_ms": 1.0, "jitter_mean_ms": 10.0, "jitter_max_ms": 100.0,
            "jitter_deviation_ms": 5.0, "hops_min": 54, "hops_max": 58,
        },
    });
    assert_eq!(remote, expected);
    // Its word changes no figure of ours.
    let own = |call: &CallRecord| {
        let mut record = serde_json::to_value(sent(call)).expect("JSON");
        record["remote"] = Value::Null;
        (record, call.score.mos_score, call.figures.packets_lost)
    };
    assert_eq!(own(&call), own(&silent));
    assert!(streams(&call, Direction::Rx)[0].remote.is_none());
}

#[test]
fn what_it_does_not_know_is_null_and_the_last_word_counts() {
    let call = spoken_to(|line, ours| {
        let first = metrics(ours);
        line.say(extended(7, &[XrBlock::VoipMetrics(&first)]));
        let nothing = VoipMetricsValues { ssrc: ours, ..VoipMetricsValues::default() }.into();
        line.say(extended(7, &[XrBlock::VoipMetrics(&nothing)]));
    });
    let remote = *sent(&call).remote.expect("a view");
    assert_eq!((remote.loss_percentage, remote.round_trip_ms), (Some(0.0), None));
    assert_eq!((remote.mos_lq, remote.mos_cq, remote.r_factor), (None, None, None));
    assert_eq!((remote.signal_level_dbm, remote.rerl_db, remote.jitter_buffer), (None, None, None));
    assert_eq!(remote.summary, None);
}

#[test]
fn a_report_about_another_stream_or_from_elsewhere_says_nothing() {
    let call = spoken_to(|line, ours| {
        let (others, metrics) = (metrics(Ssrc(ours.0 ^ 1)), metrics(ours));
        line.say(extended(7, &[XrBlock::VoipMetrics(&others)]));
        let stranger = common::addr("203.0.113.66:4001");
        let us = line::above(line.us);
        line.world.send(stranger, us, extended(7, &[XrBlock::VoipMetrics(&metrics)]));
    });
    assert_eq!(sent(&call).remote, None);
}

/// 4,000 extended reports with octets changed, cut out and put in.
#[test]
fn broken_reports_do_no_harm() {
    let mut line = line("echo");
    let ours = ours(&mut line);
    let (metrics, summary) = (metrics(ours), summary(ours));
    let time = ReceiverReferenceTime::new(1 << 40);
    let answers = [rtcp::DlrrSubBlock::new(ours, 1 << 24, 65_536); 3];
    let whole = extended(
        7,
        &[
            XrBlock::ReceiverReferenceTime(&time),
            XrBlock::Dlrr(&answers),
            XrBlock::StatisticsSummary(&summary),
            XrBlock::VoipMetrics(&metrics),
        ],
    );
    let extended_from = whole.len() - (8 + 12 + 40 + 40 + 36);
    let mut rng = Rng::with_seed(17);
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(extended_from..bytes.len());
            match rng.u8(..4) {
                0 => bytes[at] ^= 1 << rng.u8(..8),
                1 => bytes[at] = rng.u8(..),
                2 => bytes.truncate(at.max(extended_from + 4)),
                _ => drop(bytes.splice(at..at, [rng.u8(..); 4])),
            }
        }
        if rng.bool() {
            // One that announces what it has.
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let words = u8::try_from((bytes.len() - extended_from) / 4 - 1).expect("short");
            bytes[extended_from + 3] = words;
        }
        line.say(bytes);
    }
    line.talk(250, |_| false);
    assert!(line.heard().iter().all(|sent| Parts::of(sent).extended.contains(&7)));
    let call = line.hang_up();
    let clean = spoken_to(|_, _| {});
    let figures = |call: &CallRecord| {
        let stream = streams(call, Direction::Rx).remove(0);
        (stream.packets_received, stream.packets_lost, stream.mos_lq, stream.jitter_max_ms)
    };
    assert_eq!(figures(&call), figures(&clean));
    assert_eq!(call.packets_sent, clean.packets_sent);
    let health = line.world.shard.health();
    assert!(health.rtcp_packets > 1000 && health.media_other > 100, "{health:?}");
}

/// The far end reports for a minute, once a second: what is remembered of it does not grow.
#[test]
fn one_view_is_kept_of_each_stream() {
    let mut line = line("echo");
    let ours = ours(&mut line);
    for round in 0..60_u32 {
        let values = VoipMetricsValues {
            ssrc: ours,
            loss_rate: f64::from(round) / 256.0,
            ..VoipMetricsValues::default()
        };
        line.say(extended(7, &[XrBlock::VoipMetrics(&values.into())]));
        line.talk_in(ms(20), 50, |_| false);
    }
    line.world.run_for(secs(1));
    let call = line.hang_up();
    let remote = sent(&call).remote.expect("a view");
    assert_eq!(remote.loss_percentage, Some(59.0 / 2.56));
    assert_eq!(streams(&call, Direction::Tx).len(), 1);
}
