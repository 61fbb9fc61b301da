//! What shares a port with media and is none: counted by its kind, never a stream, no harm to one.

mod common;
#[path = "common/tap.rs"]
mod tap;

use common::{ms, secs};
use tap::{Seen, Talk, Tap, assert_whole};
use voxplane::shard::health::ShardHealth;

/// A binding request with the cookie of RFC 8489 and a SOFTWARE attribute.
fn stun() -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 8, 0x21, 0x12, 0xA4, 0x42];
    bytes.extend(*b"transaction!");
    bytes.extend([0x80, 0x22, 0, 4]);
    bytes.extend(*b"test");
    bytes
}

/// A binding request of RFC 3489: the transaction fills the place of the cookie.
fn old_stun() -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 8];
    bytes.extend(*b"sixteen octets!!");
    bytes.extend([0, 3, 0, 4, 0, 0, 0, 0]);
    bytes
}

/// The start of a DTLS 1.2 ClientHello (RFC 6347 section 4.1).
fn dtls() -> Vec<u8> {
    let mut bytes = vec![22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 52];
    bytes.extend([1, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 40, 0xFE, 0xFD]);
    bytes.extend([0x77; 38]);
    bytes
}

/// A ZRTP Hello (RFC 6189 section 5.2).
fn zrtp() -> Vec<u8> {
    let mut bytes = vec![0x10, 0, 0, 1];
    bytes.extend(*b"ZRTP");
    bytes.extend([0, 0, 0, 9]);
    bytes.extend([0x50, 0x5A, 0, 0x1D]);
    bytes.extend(*b"Hello   1.10");
    bytes.extend([0x33; 100]);
    bytes
}

/// UDPTL: a count that begins with zeros, an indicator, redundancy; 30 octets.
fn udptl(count: u16) -> Vec<u8> {
    let mut bytes = count.to_be_bytes().to_vec();
    bytes.extend([0x06, 0xC0, 0x01, 0x80, 0x00, 0x00, 0xFF, 0x00, 0x01, 0x02]);
    bytes.extend([0x0F; 18]);
    bytes
}

/// A call with speech, between whose packets others pass both ways.
fn among_speech(others: &[Vec<u8>]) -> Seen {
    let talk = Talk::new("mixed");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    tap.talk(ms(600), &talk, 200);
    for (index, bytes) in (0..).zip(others) {
        let at = ms(605 + 20 * index);
        tap.raw(at, talk.caller_media, talk.callee_media, bytes);
        tap.raw(at + ms(1), talk.callee_media, talk.caller_media, bytes);
    }
    tap.hang_up(secs(6), &talk);
    let seen = tap.run();
    let call = seen.only_call();
    assert_eq!(call.streams.records().count(), 2, "{call:#?}");
    assert_whole(&call, talk.ssrc, 200);
    assert_whole(&call, talk.ssrc_back(), 200);
    seen.assert_no_orphans();
    assert_eq!(seen.health.rtp_packets, 400);
    seen
}

fn kinds(health: &ShardHealth) -> [u64; 4] {
    [health.stun, health.dtls, health.zrtp, health.media_other]
}

#[test]
fn each_protocol_is_counted_as_what_it_is() {
    assert_eq!(kinds(&among_speech(&vec![stun(); 5]).health), [10, 0, 0, 0]);
    assert_eq!(kinds(&among_speech(&vec![old_stun(); 5]).health), [10, 0, 0, 0]);
    assert_eq!(kinds(&among_speech(&vec![dtls(); 4]).health), [0, 8, 0, 0]);
    assert_eq!(kinds(&among_speech(&vec![zrtp(); 3]).health), [0, 0, 6, 0]);
    let all = [stun(), dtls(), zrtp(), old_stun(), dtls()];
    assert_eq!(kinds(&among_speech(&all).health), [4, 4, 2, 0]);
}

/// Its first octets are those of STUN, its length is not.
#[test]
fn udptl_is_not_stun() {
    let packets: Vec<_> = (0..100).map(udptl).collect();
    assert_eq!(kinds(&among_speech(&packets).health), [0, 0, 0, 200]);
}

/// A STUN header whose length goes past the datagram, or is no multiple of four.
#[test]
fn stun_with_a_wrong_length_is_none() {
    let (mut long, mut odd) = (old_stun(), old_stun());
    long[3] = 12;
    odd[3] = 7;
    odd.pop();
    assert_eq!(kinds(&among_speech(&[long, odd]).health), [0, 0, 0, 4]);
}

/// What holds a NAT binding open (RFC 6263, RFC 5626): it is none of these, and no stream.
#[test]
fn keep_alives_are_no_media() {
    let packets: Vec<Vec<u8>> =
        [&b""[..], b"\0", b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"jaK"].map(<[u8]>::to_vec).to_vec();
    let health = among_speech(&packets).health;
    assert_eq!([health.stun, health.dtls, health.zrtp], [0, 0, 0]);
}

/// The same on ports that no call knows.
#[test]
fn other_protocols_without_a_call_make_no_stream() {
    let mut tap = Tap::default();
    let (a, b) = (common::addr("198.51.100.1:4000"), common::addr("203.0.113.2:6000"));
    for (index, bytes) in (0..).zip([stun(), old_stun(), dtls(), zrtp()].iter().cycle().take(400)) {
        tap.raw(ms(20 * index), a, b, bytes);
    }
    let seen = tap.run();
    seen.assert_no_streams();
    assert_eq!(seen.calls().len(), 0);
    assert_eq!(kinds(&seen.health)[..3], [200, 100, 100]);
}

/// Reports on the media port (RFC 5761) are reports.
#[test]
fn rtcp_on_the_media_port_is_counted_as_rtcp() {
    let reports: Vec<_> = (0..10).map(|ntp| tap::sender_report(1, ntp << 32, &[])).collect();
    let health = among_speech(&reports).health;
    assert_eq!((health.rtcp_packets, health.media_other), (20, 0));
}

/// SIP keep-alives on the SIP port (RFC 5626 section 3.5.1) are no malformed messages.
#[test]
fn sip_keep_alives_are_no_errors() {
    let talk = Talk::new("pinged");
    let mut tap = Tap::default();
    tap.set_up(secs(0), &talk);
    for second in 1..20 {
        tap.raw(secs(second), talk.caller, talk.callee, b"\r\n\r\n");
        tap.raw(secs(second), talk.callee, talk.caller, b"\r\n");
        tap.raw(secs(second), talk.callee, talk.caller, b"\0\0\0\0");
    }
    tap.hang_up(secs(20), &talk);
    let seen = tap.run();
    assert_eq!(seen.health.sip_malformed, 0);
    assert_eq!(seen.health.sip_messages, 7);
}
