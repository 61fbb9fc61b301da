//! RTCP of any shape, to a call that is answered and between two others: nothing panics, and the
//! media are measured as if it had not come.

mod common;
#[path = "common/line.rs"]
mod line;
#[path = "common/tap.rs"]
mod tap;

use common::{ms, secs};
use fastrand::Rng;
use line::{Line, Parts, above, streams};
use tap::{Talk, Tap, assert_whole};
use voxplane::{
    control::record::Direction,
    id::Ssrc,
    shard::ShardConfig,
    wire::rtcp::{
        self, DlrrSubBlock, ReceiverReferenceTime, ReportBlockValues, SenderInfo,
        StatisticsSummaryValues, VoipMetricsValues, XrBlock,
    },
};

/// All that there is in one datagram: about a stream of `to`, from `from`.
fn whole(from: u32, to: u32) -> Vec<u8> {
    let (from, to) = (Ssrc(from), Ssrc(to));
    let block = ReportBlockValues { ssrc: to, lsr: 1, dlsr: 2, ..Default::default() };
    let metrics = VoipMetricsValues { ssrc: to, mos_lq: Some(4.0), ..Default::default() };
    let summary = StatisticsSummaryValues { ssrc: to, lost: Some(1), ..Default::default() };
    let mut bytes = Vec::new();
    let info = SenderInfo { ssrc: from, ntp: 1 << 40, ..SenderInfo::default() };
    rtcp::write_sender_report(&mut bytes, info, &[block, block]);
    rtcp::write_cname(&mut bytes, from, "phone");
    rtcp::write_extended_report(
        &mut bytes,
        from,
        &[
            XrBlock::ReceiverReferenceTime(&ReceiverReferenceTime::new(1 << 40)),
            XrBlock::Dlrr(&[DlrrSubBlock::new(to, 1 << 24, 65_536); 9]),
            XrBlock::StatisticsSummary(&summary.into()),
            XrBlock::VoipMetrics(&metrics.into()),
        ],
    );
    rtcp::write_bye(&mut bytes, from);
    bytes
}

/// The same with up to five octets, or four in a row, other than they were.
fn bent(rng: &mut Rng, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..rng.usize(0..6) {
        // The first two make it RTCP at all.
        let at = rng.usize(2..bytes.len());
        match rng.u8(..5) {
            0 => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes[at] = rng.u8(..),
            2 => bytes.truncate((at & !3).max(8)),
            3 => drop(bytes.splice(at..at, [rng.u8(..); 4])),
            _ => bytes[at & !3..].iter_mut().take(4).for_each(|byte| *byte = 0xFF),
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[test]
fn an_answered_call_is_measured_whatever_it_is_told() {
    let mut line = Line::new("echo", ShardConfig::default());
    line.talk(250, |_| false);
    let ours = Parts::of(line.heard().first().expect("a report")).ssrc;
    let (whole, mut rng) = (whole(line.ssrc, ours.0), Rng::with_seed(23));
    for round in 0..5000 {
        line.say(bent(&mut rng, &whole));
        if round % 10 == 0 {
            line.talk(1, |_| false);
        }
    }
    line.heard().iter().for_each(|sent| drop(Parts::of(sent)));
    let health = line.world.shard.health();
    assert!(health.rtcp_packets > 1000 && health.media_other > 1000, "{health:?}");
    let call = line.hang_up();
    let stream = streams(&call, Direction::Rx).remove(0);
    assert_eq!((stream.packets_received, stream.packets_lost), (Some(750), Some(0)));
    assert_eq!(stream.jitter_max_ms, Some(0.0));
}

#[test]
fn an_observed_call_is_measured_whatever_passes() {
    let talk = Talk::new("broken");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 500);
    let (a, b) = (above(talk.caller_media), above(talk.callee_media));
    let (forth, back) = (talk.ssrc, talk.ssrc_back());
    let mut rng = Rng::with_seed(29);
    for index in 0..5000 {
        let at = ms(700 + 2 * index);
        tap.raw(at, a, b, &bent(&mut rng, &whole(forth, back)));
        tap.raw(at, b, a, &bent(&mut rng, &whole(back, forth)));
    }
    tap.hang_up(secs(12), &talk);
    let call = tap.run().only_call();
    assert_whole(&call, forth, 500);
    assert_whole(&call, back, 500);
}
