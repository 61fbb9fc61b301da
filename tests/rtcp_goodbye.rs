//! A source that says goodbye by RTCP: what it sends no more is not lost, and what was under way is
//! still its own.

mod common;
#[path = "common/line.rs"]
mod line;
#[path = "common/tap.rs"]
mod tap;

use std::net::SocketAddr;

use common::{Flight, ms, rtp, secs};
use line::{Line, above, streams};
use tap::{Talk, Tap, one_stream};
use voxplane::{
    control::record::{CallRecord, Direction, StreamRecord},
    id::Ssrc,
    shard::ShardConfig,
    wire::rtcp,
};

fn goodbye(ssrc: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    rtcp::write_receiver_report(&mut bytes, Ssrc(ssrc), &[]);
    rtcp::write_cname(&mut bytes, Ssrc(ssrc), "phone");
    rtcp::write_bye(&mut bytes, Ssrc(ssrc));
    bytes
}

/// Four seconds of speech, and a goodbye.
fn left() -> Line {
    let mut line = Line::new("sink", ShardConfig::default());
    line.talk(200, |_| false);
    line.say(goodbye(line.ssrc));
    line
}

fn stream(call: &CallRecord) -> StreamRecord {
    let mut streams = streams(call, Direction::Rx);
    assert_eq!(streams.len(), 1, "{streams:#?}");
    streams.remove(0)
}

fn assert_whole(stream: &StreamRecord, count: u64) {
    let counts = [stream.packets_received, stream.packets_expected, stream.packets_lost];
    assert_eq!(counts, [Some(count), Some(count), Some(0)]);
    assert!(stream.jitter_max_ms < Some(0.01), "{stream:#?}");
}

#[test]
fn a_stream_that_leaves_says_so_and_has_lost_nothing() {
    let mut line = left();
    line.world.run_for(secs(5));
    let call = line.hang_up();
    assert_whole(&stream(&call), 200);
    assert_eq!(stream(&call).rtcp_bye, Some(true));
    let mut stays = Line::new("sink", ShardConfig::default());
    stays.talk(200, |_| false);
    assert_eq!(stream(&stays.hang_up()).rtcp_bye, Some(false));
}

#[test]
fn nobody_reports_on_a_source_that_has_left() {
    let mut line = left();
    line.heard();
    line.world.run_for(secs(9));
    assert!(line.heard().iter().all(|sent| line::Parts::of(sent).blocks.is_empty()));
}

/// ```text
/// 1198 1199 BYE      1201 1200     (the last ones overtaken by their goodbye)
/// ```
#[test]
fn packets_that_their_goodbye_has_overtaken_belong_to_the_stream() {
    let mut line = left();
    for after in [1, 0] {
        let (sequence, timestamp) =
            (line.sequence + after, line.timestamp + u32::from(after) * 160);
        let packet = rtp(0, false, sequence, timestamp, line.ssrc);
        line.world.send(line.caller.media, line.us, packet);
    }
    let stream = stream(&line.hang_up());
    let counts = [stream.packets_received, stream.packets_expected, stream.packets_out_of_order];
    assert_eq!(counts, [Some(202), Some(202), Some(1)]);
    assert_eq!(stream.rtcp_bye, Some(true));
}

/// ```text
/// 1000 .. 1199 BYE   (3 s)   1700 .. 1899: begun anew, with a time stamp of its own
/// ```
#[test]
fn one_that_comes_back_with_other_numbers_has_lost_none_between() {
    let mut line = left();
    line.world.run_for(secs(3));
    (line.sequence, line.timestamp) = (1700, 0xDEAD_0000);
    line.talk(200, |_| false);
    let stream = stream(&line.hang_up());
    assert_whole(&stream, 400);
    assert_eq!(stream.rtcp_bye, Some(false));
}

/// A phone that says goodbye when it puts a call on hold, and goes on where it was. What is lost
/// later counts.
#[test]
fn a_goodbye_that_was_not_meant_is_none() {
    let mut line = left();
    line.world.run_for(secs(3));
    line.timestamp += 3 * 8000;
    line.talk(200, |sequence| sequence == 1300);
    let stream = stream(&line.hang_up());
    let counts = [stream.packets_received, stream.packets_expected, stream.packets_lost];
    assert_eq!(counts, [Some(399), Some(400), Some(1)]);
    assert_eq!(stream.rtcp_bye, Some(false));
}

#[test]
fn the_goodbye_of_another_source_or_from_elsewhere_changes_nothing() {
    let mut line = Line::new("sink", ShardConfig::default());
    line.talk(200, |_| false);
    line.say(goodbye(line.ssrc ^ 1));
    line.world.send(common::addr("203.0.113.66:4001"), above(line.us), goodbye(line.ssrc));
    line.talk(10, |_| false);
    let stream = stream(&line.hang_up());
    assert_whole(&stream, 210);
    assert_eq!(stream.rtcp_bye, Some(false));
}

/// Seen from between: the caller leaves; the callee does not, though somebody says so for it.
#[test]
fn a_goodbye_that_passes_is_its_senders() {
    let talk = Talk::new("bye");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 500);
    let rtcp = |media: SocketAddr| above(media);
    let (a, b) = (rtcp(talk.caller_media), rtcp(talk.callee_media));
    tap.see(ms(10_700), Flight { src: a, dst: b, bytes: goodbye(talk.ssrc) });
    tap.see(ms(10_700), Flight { src: a, dst: b, bytes: goodbye(talk.ssrc_back()) });
    tap.hang_up(secs(12), &talk);
    let call = tap.run().only_call();
    let (forth, back) = (one_stream(&call, talk.ssrc), one_stream(&call, talk.ssrc_back()));
    assert_eq!((forth.rtcp_bye, back.rtcp_bye), (Some(true), Some(false)));
    assert_eq!((forth.packets_lost, back.packets_lost), (Some(0), Some(0)));
}
