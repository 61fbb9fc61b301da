//! Voice quality reports of phones (RFC 6035): taken by PUBLISH and NOTIFY, kept with their call,
//! scored by our rules beside what the phone says. Time is virtual.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Caller, Sent, US, World, addr, secs};
use voxplane::{
    control::phone_reports::PhoneView,
    shard::ShardConfig,
    wire::sip::{HeaderName, SipMessage},
};

const FAR: &str = "198.51.100.1:5070";

fn body(call_id: &str) -> String {
    format!(
        "VQSessionReport: CallTerm\r\nCallID: {call_id}\r\nLocalID: <sip:2001@example.net>\r\n\
         LocalAddr: IP=198.51.100.1 PORT=10044 SSRC=0x1a2b3c4d\r\nLocalMetrics:\r\n\
         SessionDesc:PT=0 PD=PCMU SR=8000 FD=20 FPP=1 PPS=50 PLC=3\r\nJitterBuffer:JBN=60\r\n\
         PacketLoss:NLR=2.00 JDR=1.00\r\nDelay:RTD=80 ESD=90 IAJ=4\r\n\
         QualityEst:RLQ=88 MOSLQ=4.3 MOSCQ=4.2\r\n\
         RemoteMetrics:\r\nPacketLoss:NLR=0\r\n"
    )
}

/// Sends a report in a dialog of its own; the answer.
fn send(world: &mut World, method: &str, headers: &str, body: &str) -> Sent {
    let request = format!(
        "{method} sip:{US} SIP/2.0\r\nVia: SIP/2.0/UDP {FAR};branch=z9hG4bKr\r\n\
         Max-Forwards: 70\r\nFrom: <sip:2001@example.net>;tag=r\r\nTo: <sip:{US}>\r\n\
         Call-ID: of-the-report\r\nCSeq: 1 {method}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    world.send(addr(FAR), addr(US), request);
    world.take_one()
}

fn reports(world: &mut World, call_id: &str) -> Vec<Arc<PhoneView>> {
    world.snapshot().phone_reports.of(call_id).to_vec()
}

/// The value of a header that nobody asks for by name.
fn value<'a>(sent: &'a Sent, name: &str) -> &'a str {
    let message = SipMessage::parse(&sent.bytes).expect("SIP");
    let found = message.headers().find(|header| header.raw_name == name.as_bytes());
    core::str::from_utf8(found.expect("the header").value).expect("text")
}

const EVENT: &str = "Event: vq-rtcpxr\r\nContent-Type: application/vq-rtcpxr\r\n";

#[test]
fn a_report_after_a_call_stands_with_the_call() {
    let mut world = World::new(ShardConfig::default());
    let mut caller = Caller::new(FAR, "reported");
    caller.set_up(&mut world);
    world.run_for(secs(5));
    caller.hang_up(&mut world);
    world.take();
    let answer = send(&mut world, "PUBLISH", &format!("{EVENT}Expires: 60\r\n"), &body("reported"));
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.values(HeaderName::Expires), ["60"]);
    assert!(!value(&answer, "SIP-ETag").is_empty());

    let found = reports(&mut world, "reported");
    let [local, remote] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((local.kind, local.is_final, local.side), ("session", true, "local"));
    assert_eq!(local.source, addr(FAR).ip());
    // As it says.
    assert_eq!((local.codec, local.loss_percentage), (Some("PCMU"), Some(2.0)));
    assert_eq!((local.mos_lq, local.mos_cq, local.r_lq), (Some(4.3), Some(4.2), Some(88.0)));
    // As our rules have it: 2 % lost and 1 % discarded of G.711 with concealment (G.107 eq. 7-29,
    // Ie-eff = 95 * 3 / (3 + 25.1)), and 40 ms each way.
    let scored = &local.scored;
    let (lq, cq) = (scored.mos_lq.expect("a score"), scored.mos_cq.expect("a score"));
    assert!((lq - 4.14).abs() < 0.02 && cq < lq && lq - cq < 0.15, "{lq} {cq}");
    assert_eq!(scored.mos_reason, None);
    assert_eq!((remote.side, remote.loss_percentage), ("remote", Some(0.0)));
    assert_eq!(remote.scored.mos_lq, None, "of an unknown codec");
    assert!(remote.scored.mos_reason.is_some());
    // The call itself is as it was measured.
    world.run_for(secs(1));
    assert_eq!(world.finished("reported").score.mos_score, None);
    assert_eq!(world.shard.health().phone_reports, 1);
}

#[test]
fn phones_send_notify_outside_any_dialog() {
    let mut world = World::new(ShardConfig::default());
    for headers in [
        EVENT,
        "o: vq-rtcpxr;id=1\r\nc: application/vq-rtcpxr\r\n",
        "Content-Type: application/vq-rtcpxr\r\n",
    ] {
        assert_eq!(send(&mut world, "NOTIFY", headers, &body("x")).status(), 200, "{headers}");
    }
    assert_eq!(reports(&mut world, "x").len(), 6);
}

/// Over UDP the answer may be lost (RFC 3261 section 17.1.2).
#[test]
fn a_report_that_is_sent_again_counts_once() {
    let mut world = World::new(ShardConfig::default());
    let first = send(&mut world, "PUBLISH", EVENT, &body("again"));
    for _ in 0..3 {
        world.run_for(Duration::from_millis(500));
        let again = send(&mut world, "PUBLISH", EVENT, &body("again"));
        assert_eq!((again.status(), again.bytes), (200, first.bytes.clone()));
    }
    assert_eq!(reports(&mut world, "again").len(), 2);
    assert_eq!(world.shard.health().phone_reports, 1);
    // The next one may say the same.
    send(&mut world, "PUBLISH", &format!("{EVENT}SIP-If-Match: 1\r\n"), &body("again"));
    assert_eq!(reports(&mut world, "again").len(), 4);
}

#[test]
fn what_is_no_report_is_refused_with_the_reason() {
    let mut world = World::new(ShardConfig::default());
    let answer = send(&mut world, "PUBLISH", "Event: presence\r\n", "x");
    assert_eq!((answer.status(), value(&answer, "Allow-Events")), (489, "vq-rtcpxr"));
    assert_eq!(send(&mut world, "PUBLISH", "", "x").status(), 489);
    let other = "Event: vq-rtcpxr\r\nContent-Type: text/plain\r\n";
    let answer = send(&mut world, "PUBLISH", other, "x");
    assert_eq!((answer.status(), value(&answer, "Accept")), (415, "application/vq-rtcpxr"));
    let answer = send(&mut world, "NOTIFY", EVENT, "VQSessionReport\r\nLocalID: x\r\n");
    assert_eq!(answer.status(), 400);
    assert_eq!(value(&answer, "Warning"), "399 voxplane \"the report has no CallID\"");
    // A publication that is renewed or taken back has no body.
    let renewed = "Event: vq-rtcpxr\r\nSIP-If-Match: 1\r\nExpires: 0\r\n";
    let answer = send(&mut world, "PUBLISH", renewed, "");
    assert_eq!((answer.status(), answer.values(HeaderName::Expires)), (200, vec!["0".to_owned()]));
    let health = world.shard.health();
    assert_eq!((health.phone_reports, health.phone_reports_refused), (0, 4));
    assert_eq!(world.snapshot().phone_reports.iter().count(), 0);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut world = World::new(ShardConfig::default());
    for n in 0..2100 {
        send(&mut world, "PUBLISH", EVENT, &body(&format!("call-{n}")));
        // More at once would be a flood.
        world.run_for(Duration::from_millis(10));
    }
    let snapshot = world.snapshot();
    assert_eq!(snapshot.phone_reports.iter().count(), 2000);
    assert!(snapshot.phone_reports.of("call-99").is_empty());
    assert_eq!(snapshot.phone_reports.of("call-100").len(), 2);
    for n in 0..30 {
        send(&mut world, "PUBLISH", &format!("{EVENT}SIP-If-Match: {n}\r\n"), &body("many"));
    }
    assert_eq!(reports(&mut world, "many").len(), 20);
    // Call-IDs that are cut are told apart by their length.
    let long = "x".repeat(400);
    send(&mut world, "PUBLISH", EVENT, &body(&long));
    assert_eq!(reports(&mut world, &long).len(), 2);
    assert!(reports(&mut world, &long[..399]).is_empty());
}
