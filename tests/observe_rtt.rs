//! Round-trip time seen from between: sender reports that pass, and the blocks that answer them.
//!
//! A and B have clocks of their own that nothing here relates to the tap's.

mod common;
#[path = "common/tap.rs"]
mod tap;

use core::time::Duration;
use std::net::SocketAddr;

use common::{Flight, ms, secs};
use tap::{Block, Talk, Tap, ntp_middle, ntp_units, one_stream, receiver_report, sender_report};
use voxplane::control::record::CallRecord;

/// What stands between the phones and the tap, and how they report.
#[derive(Clone, Copy)]
struct Setting {
    /// One-way delays from A to the tap and from the tap to B.
    to_a: Duration,
    to_b: Duration,
    /// Who sends report blocks.
    is_a_reporting: bool,
    is_b_reporting: bool,
    /// Reports share the port of the media (RFC 5761).
    is_mux: bool,
    /// Every so many sender reports of A are lost behind the tap, 0 for none: B then answers an
    /// older one.
    lose_every: u64,
    /// Makes B's blocks say something else than what happened.
    lie: Option<fn(Block) -> Block>,
}

const PLAIN: Setting = Setting {
    to_a: ms(30),
    to_b: ms(45),
    is_a_reporting: true,
    is_b_reporting: true,
    is_mux: false,
    lose_every: 0,
    lie: None,
};

/// Clocks that are years apart.
const CLOCK_A: u64 = 0xE000_1234_5678_9ABC;
const CLOCK_B: u64 = 0x8311_0000_0000_0001;

fn clock(base: u64, at: Duration) -> u64 {
    base + (at.as_secs() << 32) + ((u64::from(at.subsec_nanos()) << 32) / 1_000_000_000)
}

/// A call of 40 s in which A sends a report each 5 s and B each 5 s, half an interval later.
/// Everything is put at the time at which it passes the tap.
fn call(setting: Setting) -> CallRecord {
    let talk = Talk::new("rtt");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 1950);
    let (a, b) = (talk.caller_media, talk.callee_media);
    // Made anew: rustc 1.95 at opt-level 1 changes the caller's copy of a `mut` parameter.
    let port = |address: SocketAddr| address.port() + u16::from(!setting.is_mux);
    let rtcp = |address: SocketAddr| SocketAddr::new(address.ip(), port(address));
    let (ssrc_a, ssrc_b) = (talk.ssrc, talk.ssrc_back());
    // The last sender report that came to A and to B: its middle bits, and when it came.
    let (mut at_a, mut at_b) = (None, None);
    let block = |about, last: Option<(u32, Duration)>, now: Duration| Block {
        about,
        lsr: last.map_or(0, |(lsr, _)| lsr),
        dlsr: last.map_or(0, |(_, came)| ntp_units(now - came)),
    };
    for round in 1..=7_u64 {
        let sent = secs(5 * round);
        let blocks: Vec<_> =
            setting.is_a_reporting.then(|| block(ssrc_b, at_a, sent)).into_iter().collect();
        let ntp = clock(CLOCK_A, sent);
        let bytes = sender_report(ssrc_a, ntp, &blocks);
        tap.see(sent + setting.to_a, Flight { src: rtcp(a), dst: rtcp(b), bytes });
        if setting.lose_every == 0 || round % setting.lose_every != 0 {
            at_b = Some((ntp_middle(ntp), sent + setting.to_a + setting.to_b));
        }
        let sent = secs(5 * round) + ms(2500);
        let mut said = block(ssrc_a, at_b, sent);
        if let Some(lie) = setting.lie {
            said = lie(said);
        }
        let blocks: Vec<_> = setting.is_b_reporting.then_some(said).into_iter().collect();
        let ntp = clock(CLOCK_B, sent);
        let bytes = sender_report(ssrc_b, ntp, &blocks);
        tap.see(sent + setting.to_b, Flight { src: rtcp(b), dst: rtcp(a), bytes });
        at_a = Some((ntp_middle(ntp), sent + setting.to_b + setting.to_a));
    }
    tap.hang_up(secs(41), &talk);
    let seen = tap.run();
    seen.assert_no_orphans();
    assert_eq!(seen.health.rtcp_packets, 14);
    let call = seen.only_call();
    assert_eq!(call.streams.records().count(), 2);
    (*call).clone()
}

/// The whole round trip: out and back on both sides of the tap.
fn truth_ms(setting: Setting) -> f64 {
    2.0 * (setting.to_a + setting.to_b).as_secs_f64() * 1e3
}

fn assert_known(call: &CallRecord, setting: Setting) {
    let talk = Talk::new("rtt");
    let close = |name: &str, got: Option<f64>| {
        let (got, expected) = (got.unwrap_or(f64::NAN), truth_ms(setting));
        assert!((got - expected).abs() < 1.0, "{name} {got} is not {expected}: {call:#?}");
    };
    close("mean", call.latency_avg_ms);
    close("longest", call.latency_max_ms);
    close("forth", one_stream(call, talk.ssrc).rtt_ms);
    close("back", one_stream(call, talk.ssrc_back()).rtt_ms);
    assert!(call.score.mos_score.is_some());
}

fn assert_unknown(call: &CallRecord) {
    assert_eq!((call.latency_avg_ms, call.latency_max_ms), (None, None), "{call:#?}");
    assert!(call.streams.records().all(|stream| stream.rtt_ms.is_none()), "{call:#?}");
    assert!(call.streams.records().all(|stream| stream.mos_cq.is_none()), "{call:#?}");
}

/// ```text
/// A       30 ms     tap     45 ms       B
/// | SR(A) ---------->|--------------->  |
/// |  <---------------|<--- SR(B), block about A
/// | SR(A), block about B -->|------->   |
/// ```
#[test]
fn both_halves_add_up_to_the_round_trip() {
    for (to_a, to_b) in [(30, 45), (0, 120), (120, 0), (1, 1), (400, 300)] {
        for is_mux in [false, true] {
            let setting = Setting { to_a: ms(to_a), to_b: ms(to_b), is_mux, ..PLAIN };
            assert_known(&call(setting), setting);
        }
    }
}

/// B never says what it hears, or A does not: half a way is no round trip.
#[test]
fn one_half_is_not_known_as_the_whole() {
    assert_unknown(&call(Setting { is_b_reporting: false, ..PLAIN }));
    assert_unknown(&call(Setting { is_a_reporting: false, ..PLAIN }));
}

/// B has received no sender report, so it says.
#[test]
fn an_lsr_of_zero_says_nothing() {
    let lie = |block| Block { lsr: 0, dlsr: 0, ..block };
    assert_unknown(&call(Setting { lie: Some(lie), ..PLAIN }));
}

/// B says it had the report for longer than the time that has passed: by 100 s.
#[test]
fn a_dlsr_longer_than_the_time_passed_says_nothing() {
    let lie = |block: Block| Block { dlsr: block.dlsr + 100 * 65_536, ..block };
    assert_unknown(&call(Setting { lie: Some(lie), ..PLAIN }));
}

/// B answers a sender report that never passed the tap.
#[test]
fn an_unknown_lsr_says_nothing() {
    let lie = |block: Block| Block { lsr: block.lsr ^ 0x0400_0000, ..block };
    assert_unknown(&call(Setting { lie: Some(lie), ..PLAIN }));
}

/// B's blocks are about a source that nobody has.
#[test]
fn a_block_about_a_stranger_says_nothing() {
    let lie = |block: Block| Block { about: 0x5757_5757, ..block };
    assert_unknown(&call(Setting { lie: Some(lie), ..PLAIN }));
}

/// Every second and every third sender report of A is lost between the tap and B, which then
/// answers the one before it: that is still no wrong figure.
#[test]
fn lost_sender_reports_make_no_wrong_round_trip() {
    for lose_every in [2, 3] {
        let setting = Setting { lose_every, ..PLAIN };
        assert_known(&call(setting), setting);
    }
}

/// A only listens after its first words: it answers with receiver reports.
#[test]
fn receiver_reports_answer_as_well() {
    let talk = Talk::new("rtt");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 1000);
    let (mut a, mut b) = (talk.caller_media, talk.callee_media);
    a.set_port(a.port() + 1);
    b.set_port(b.port() + 1);
    // 25 ms to A, 60 ms to B, and each waits 1 s before it answers.
    for round in 1..=3 {
        let at = secs(5 * round);
        let (ntp_a, ntp_b) = (clock(CLOCK_A, at), clock(CLOCK_B, at));
        let second = ntp_units(secs(1));
        let answer = |about, ntp| Block { about, lsr: ntp_middle(ntp), dlsr: second };
        tap.raw(at, a, b, &sender_report(talk.ssrc, ntp_a, &[]));
        tap.raw(at + ms(5), b, a, &sender_report(talk.ssrc_back(), ntp_b, &[]));
        let blocks = [answer(talk.ssrc, ntp_a)];
        tap.raw(at + ms(1120), b, a, &receiver_report(talk.ssrc_back(), &blocks));
        let blocks = [answer(talk.ssrc_back(), ntp_b)];
        tap.raw(at + ms(1055), a, b, &receiver_report(talk.ssrc, &blocks));
    }
    tap.hang_up(secs(22), &talk);
    let call = tap.run().only_call();
    let got = call.latency_avg_ms.unwrap_or(f64::NAN);
    assert!((got - 170.0).abs() < 1.0, "{got}");
}

/// A's sender reports pass twice, 40 ms apart, and B answers the second, which it got last. Then
/// both answers are repeated by the network 300 ms later, as they were: a repetition that comes
/// late is no longer way.
#[test]
fn repeated_reports_make_no_other_way() {
    let talk = Talk::new("rtt");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 1000);
    let (mut a, mut b) = (talk.caller_media, talk.callee_media);
    a.set_port(a.port() + 1);
    b.set_port(b.port() + 1);
    for round in 1..=3 {
        let at = secs(5 * round);
        let (ntp_a, ntp_b) = (clock(CLOCK_A, at), clock(CLOCK_B, at));
        let answer =
            |about, ntp, held| Block { about, lsr: ntp_middle(ntp), dlsr: ntp_units(held) };
        let report = sender_report(talk.ssrc, ntp_a, &[]);
        tap.raw(at, a, b, &report);
        tap.raw(at + ms(40), a, b, &report);
        tap.raw(at + ms(5), b, a, &sender_report(talk.ssrc_back(), ntp_b, &[]));
        for again in [ms(0), ms(300)] {
            let blocks = [answer(talk.ssrc, ntp_a, secs(1))];
            tap.raw(at + ms(1160) + again, b, a, &receiver_report(talk.ssrc_back(), &blocks));
            let blocks = [answer(talk.ssrc_back(), ntp_b, secs(1))];
            tap.raw(at + ms(1055) + again, a, b, &receiver_report(talk.ssrc, &blocks));
        }
    }
    tap.hang_up(secs(22), &talk);
    let call = tap.run().only_call();
    let got = call.latency_max_ms.unwrap_or(f64::NAN);
    assert!((got - 170.0).abs() < 1.0, "{got}");
}

/// A call whose reports go between `a` and `b`: 25 ms to A, 60 ms to B, and each waits 1 s before
/// it answers.
fn latency_between(talk: &Talk, a: SocketAddr, b: SocketAddr) -> Option<f64> {
    let mut tap = Tap::default();
    tap.set_up(secs(0), talk);
    for round in 1..=3 {
        let at = secs(5 * round);
        let (ntp_a, ntp_b) = (clock(CLOCK_A, at), clock(CLOCK_B, at));
        let answer = |about, ntp| [Block { about, lsr: ntp_middle(ntp), dlsr: ntp_units(secs(1)) }];
        tap.raw(at, a, b, &sender_report(talk.ssrc, ntp_a, &[]));
        tap.raw(at + ms(5), b, a, &sender_report(talk.ssrc_back(), ntp_b, &[]));
        let blocks = answer(talk.ssrc, ntp_a);
        tap.raw(at + ms(1120), b, a, &receiver_report(talk.ssrc_back(), &blocks));
        let blocks = answer(talk.ssrc_back(), ntp_b);
        tap.raw(at + ms(1055), a, b, &receiver_report(talk.ssrc, &blocks));
    }
    tap.hang_up(secs(22), talk);
    tap.run().only_call().latency_avg_ms
}

/// A is behind a NAT: its reports come from an address that no description names.
#[test]
fn a_round_trip_is_known_through_a_nat() {
    let talk = Talk::new("nat");
    let talk = Talk { offer: talk.offer.replace("198.51.100.1", "10.0.0.5"), ..talk };
    let (a, b) = (SocketAddr::from(([192, 0, 2, 77], 31_001)), talk.callee_media);
    let got = latency_between(&talk, a, SocketAddr::new(b.ip(), b.port() + 1));
    assert!((got.unwrap_or(f64::NAN) - 170.0).abs() < 1.0, "{got:?}");
}

/// The descriptions say where reports go (RFC 3605).
#[test]
fn a_round_trip_is_known_where_reports_have_ports_of_their_own() {
    let mut talk = Talk::new("a-rtcp");
    talk.offer.push_str("a=rtcp:4711\r\n");
    talk.answer.push_str("a=rtcp:6711 IN IP4 203.0.113.200\r\n");
    let a = SocketAddr::new(talk.caller_media.ip(), 4711);
    let got = latency_between(&talk, a, SocketAddr::from(([203, 0, 113, 200], 6711)));
    assert!((got.unwrap_or(f64::NAN) - 170.0).abs() < 1.0, "{got:?}");
}
