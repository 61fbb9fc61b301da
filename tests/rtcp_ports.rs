//! Where reports go and where they may come from: one port above RTP, where `a=rtcp` says, on RTP's
//! own where both ends share it, and one above what is learnt behind address translation.

mod common;
#[path = "common/line.rs"]
mod line;

use std::net::SocketAddr;

use common::{Caller, Sent, addr};
use line::{Line, Parts, above, dlrr, extended};
use voxplane::{shard::ShardConfig, wire::rtcp::XrBlock};

/// A call of 10 s with these lines at the end of its offer, and its reports.
fn reports(attributes: &str) -> (Line, Vec<Sent>) {
    let caller = Caller::new("198.51.100.1:5070", "line");
    let mut line =
        Line::with(caller, ShardConfig::default(), |offer| format!("{offer}{attributes}"));
    line.talk(500, |_| false);
    let reports = line.heard();
    assert!(reports.len() >= 2);
    (line, reports)
}

/// All reports went between these two, and an answer from there gives a round trip.
fn assert_between(attributes: &str, ours: impl Fn(SocketAddr) -> SocketAddr, theirs: SocketAddr) {
    let (mut line, reports) = reports(attributes);
    let ours = ours(line.us);
    let is_between = |sent: &Sent| (sent.src, sent.dst) == (ours, theirs);
    assert!(reports.iter().all(is_between), "{attributes}: {reports:#?}");
    let report = &reports[reports.len() - 1];
    let answer = dlrr(report, line.world.now.since(report.at));
    line.world.send(theirs, ours, extended(7, &[XrBlock::Dlrr(&[answer])]));
    assert_eq!(line.hang_up().rtt.rtt_count, 1, "{attributes}");
}

#[test]
fn reports_have_the_port_above() {
    assert_between("", above, addr("198.51.100.1:4001"));
    assert_between("a=rtcp-xr:rcvr-rtt=all\r\n", above, addr("198.51.100.1:4001"));
}

#[test]
fn reports_go_where_the_description_says() {
    assert_between("a=rtcp:4711\r\n", above, addr("198.51.100.1:4711"));
    let elsewhere = "a=rtcp:6000 IN IP4 198.51.100.77\r\n";
    assert_between(elsewhere, above, addr("198.51.100.77:6000"));
}

#[test]
fn reports_share_the_port_of_media_where_that_is_offered() {
    assert_between("a=rtcp-mux\r\n", |us| us, addr("198.51.100.1:4000"));
    // As browsers write it: a port for those who cannot.
    assert_between("a=rtcp:4000\r\na=rtcp-mux\r\n", |us| us, addr("198.51.100.1:4000"));
}

#[test]
fn the_answer_shares_the_port_only_if_the_offer_does() {
    for (attribute, is_shared) in [("", false), ("a=rtcp-mux\r\n", true)] {
        let caller = Caller::new("198.51.100.1:5070", "line");
        let mut world = common::World::new(ShardConfig::default());
        let offer = format!("{}{attribute}", caller.offer());
        world.send(caller.addr, caller.us, caller.request("INVITE", 1, &offer));
        let answer = world.take().into_iter().find(|sent| sent.status() == 200).expect("a 200");
        assert_eq!(answer.text().contains("a=rtcp-mux\r\n"), is_shared);
        assert!(!answer.text().contains("rtcp-xr"));
    }
}

/// Its offer names an address that nobody outside knows; its media come from another.
#[test]
fn behind_translation_reports_go_above_where_media_come_from() {
    let mut caller = Caller::new("198.51.100.1:5070", "line");
    caller.media = addr("10.0.0.5:4000");
    let mut line = Line::with(caller, ShardConfig::default(), |offer| offer);
    line.caller.media = addr("198.51.100.1:31000");
    line.talk(500, |_| false);
    let reports = line.heard();
    assert!(reports.len() >= 2);
    let theirs = addr("198.51.100.1:31001");
    assert!(reports.iter().all(|sent| sent.dst == theirs && sent.src == above(line.us)));
    assert_eq!(Parts::of(&reports[0]).blocks[0].ssrc().0, line.ssrc);
}
