//! Extended reports (RFC 3611) that pass between two others: each is joined to the stream it is
//! about, and reference times with their answers tell the round trip.

mod common;
#[path = "common/line.rs"]
mod line;
#[path = "common/tap.rs"]
mod tap;

use core::time::Duration;
use std::net::SocketAddr;

use common::{ms, secs};
use line::{above, extended, units};
use tap::{Talk, Tap, one_stream};
use voxplane::{
    id::Ssrc,
    wire::rtcp::{
        DlrrSubBlock, ReceiverReferenceTime, StatisticsSummaryValues, VoipMetrics,
        VoipMetricsValues, XrBlock,
    },
};

fn metrics(ssrc: u32, mos: f64) -> VoipMetrics {
    let values = VoipMetricsValues { ssrc: Ssrc(ssrc), mos_lq: Some(mos), ..Default::default() };
    values.into()
}

fn ports(talk: &Talk, is_mux: bool) -> (SocketAddr, SocketAddr) {
    let port = |media| if is_mux { media } else { above(media) };
    (port(talk.caller_media), port(talk.callee_media))
}

#[test]
fn each_sides_view_is_joined_to_the_stream_that_it_hears() {
    for is_mux in [false, true] {
        let talk = Talk::new("xr");
        let mut tap = Tap::default();
        tap.set_up(secs(0), &talk);
        tap.talk(ms(600), &talk, 500);
        let (a, b) = ports(&talk, is_mux);
        let (forth, back) = (talk.ssrc, talk.ssrc_back());
        let summary = StatisticsSummaryValues {
            ssrc: Ssrc(forth),
            lost: Some(9),
            ..StatisticsSummaryValues::default()
        };
        // B hears A, and A hears B; the last word of each counts.
        for (round, mos) in [(1, 4.0), (2, 3.5)] {
            let at = secs(3 * round);
            let (of_a, of_b) = (metrics(forth, mos), metrics(back, mos - 1.0));
            let summary = summary.into();
            let blocks = [XrBlock::VoipMetrics(&of_a), XrBlock::StatisticsSummary(&summary)];
            tap.raw(at, b, a, &extended(back, &blocks));
            tap.raw(at + ms(5), a, b, &extended(forth, &[XrBlock::VoipMetrics(&of_b)]));
        }
        // B cannot hear itself, and nobody hears this one.
        let (own, nobody) = (metrics(back, 1.0), metrics(0x1234, 1.0));
        let blocks = [&own, &nobody].map(XrBlock::VoipMetrics);
        tap.raw(secs(7), b, a, &extended(back, &blocks));
        tap.hang_up(secs(12), &talk);
        let call = tap.run().only_call();
        let (forth, back) = (one_stream(&call, forth), one_stream(&call, back));
        let (said_of_a, said_of_b) = (forth.remote.expect("B's"), back.remote.expect("A's"));
        assert_eq!((said_of_a.mos_lq, said_of_b.mos_lq), (Some(3.5), Some(2.5)));
        let lost = |summary: Option<voxplane::control::far_end::SummaryView>| {
            summary.and_then(|summary| summary.packets_lost)
        };
        assert_eq!((lost(said_of_a.summary), lost(said_of_b.summary)), (Some(9), None));
        // What is measured here stays as it is.
        assert!(forth.mos_lq > Some(4.3) && back.mos_lq > Some(4.3));
        assert_eq!(call.streams.records().count(), 2);
    }
}

/// Neither sends media, or sender reports: each sends its reference time and answers the other's
/// after a second.
///
/// ```text
/// A       25 ms     tap     60 ms       B
/// | XR: time(A) ------>|------------->  |
/// |  <-----------------|<-- XR: time(B), answer to A
/// | XR: answer to B -->|------------->  |
/// ```
#[test]
fn reference_times_and_their_answers_tell_the_round_trip() {
    let talk = Talk::new("rrtr");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    let (a, b) = ports(&talk, false);
    let (clock_a, clock_b) = (0xE000_1234_5678_9ABC_u64, 0x8311_0000_0001_0000_u64);
    let clock = |base: u64, at: Duration| base + (at.as_secs() << 32);
    let middle = |ntp: u64| u32::try_from((ntp >> 16) & 0xFFFF_FFFF).expect("masked");
    let answer = |to, ntp| DlrrSubBlock::new(Ssrc(to), middle(ntp), units(secs(1)));
    for round in 1..=3 {
        let at = secs(5 * round);
        let (ntp_a, ntp_b) = (clock(clock_a, at), clock(clock_b, at));
        let time = |ntp| ReceiverReferenceTime::new(ntp);
        let (time_a, time_b) = (time(ntp_a), time(ntp_b));
        tap.raw(at, a, b, &extended(1, &[XrBlock::ReceiverReferenceTime(&time_a)]));
        tap.raw(at + ms(5), b, a, &extended(2, &[XrBlock::ReceiverReferenceTime(&time_b)]));
        let (to_a, to_b) = ([answer(1, ntp_a)], [answer(2, ntp_b)]);
        for again in [0, 300] {
            let again = ms(again);
            tap.raw(at + ms(1120) + again, b, a, &extended(2, &[XrBlock::Dlrr(&to_a)]));
            tap.raw(at + ms(1055) + again, a, b, &extended(1, &[XrBlock::Dlrr(&to_b)]));
        }
    }
    tap.hang_up(secs(22), &talk);
    let call = tap.run().only_call();
    for rtt in [call.rtt.rtt_min_ms, call.latency_avg_ms, call.latency_max_ms] {
        let rtt = rtt.expect("a round trip");
        assert!((rtt - 170.0).abs() < 1.0, "{rtt}");
    }
}
