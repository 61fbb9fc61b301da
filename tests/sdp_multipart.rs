//! Offers and answers that stand among other parts of a body (RFC 5621): taken, and what is none
//! refused so that the caller knows why.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{Caller, START, Sent, World, addr, ms, offer, rtp, secs};
use voxplane::{
    control::ladder::{Ladder, Message},
    shard::ShardConfig,
    wire::{Transport, sip::HeaderName},
};

const FAR: &str = "198.51.100.1:5070";

/// As a mobile exchange sends it: where the caller is (RFC 6442), and ISUP (RFC 3204).
const LOCATION: &str = "Content-Type: application/pidf+xml\r\nContent-ID: <here@198.51.100.1>\r\n\
                        \r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\"/>\r\n";
const ISUP: &str = "Content-Type: application/ISUP;version=itu-t92+\r\n\
                    Content-Disposition: signal;handling=optional\r\n\r\n\x01\0\x60\0\x0A\x03\r\n";

fn caller() -> Caller {
    Caller::new(FAR, "many")
}

fn sdp_part(sdp: &str) -> String {
    format!("Content-Type: application/sdp\r\nContent-Disposition: session\r\n\r\n{sdp}\r\n")
}

/// A body of parts.
fn body(parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--unique-1\r\n{part}")).collect();
    format!("{parts}--unique-1--\r\n")
}

/// A request with a body of this type.
fn request(caller: &Caller, method: &str, cseq: u32, content_type: &str, body: &str) -> String {
    let request = caller.request(method, cseq, body);
    request.replacen("application/sdp", content_type, 1)
}

const MIXED: &str = "multipart/mixed; boundary=\"unique-1\"";

/// The last response to an INVITE.
fn answer(content_type: &str, body: &str) -> Sent {
    let (mut world, caller) = (World::new(ShardConfig::default()), caller());
    world.send(caller.addr, caller.us, request(&caller, "INVITE", 1, content_type, body));
    world.take().pop().unwrap()
}

#[test]
fn an_offer_among_other_parts_is_answered_and_its_media_measured() {
    let (mut world, mut caller) = (World::new(ShardConfig::default()), caller());
    let sdp = sdp_part(&caller.offer());
    let body = body(&[LOCATION, &sdp, ISUP]);
    world.send(caller.addr, caller.us, request(&caller, "INVITE", 1, MIXED, &body));
    let ok = world.take().pop().unwrap();
    assert_eq!(ok.status(), 200, "{ok:?}");
    caller.to_tag = ok.to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    for index in 0..100_u16 {
        let packet = rtp(0, false, index, u32::from(index) * 160, 9);
        world.send(caller.media, ok.media_address(), packet);
        world.run_for(ms(20));
    }
    // Held by another such offer, then changed by UPDATE.
    let hold = sdp_part(&offer(caller.media, "sendonly"));
    for (method, cseq) in [("INVITE", 2), ("UPDATE", 3)] {
        let again = request(&caller, method, cseq, MIXED, &self::body(&[ISUP, &hold]));
        world.send(caller.addr, caller.us, again);
        let ok = world.take().pop().unwrap();
        assert!(ok.status() == 200 && ok.text().contains("a=recvonly"), "{method}: {ok:?}");
    }
    caller.hang_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.finished("many").figures.packets_received, Some(100));
}

#[test]
fn an_answer_in_an_ack_may_be_a_part() {
    // Its media comes from an address that nothing else tells.
    let media = addr("203.0.113.7:4000");
    let (mut world, mut caller) =
        (World::new(ShardConfig::default()), Caller { media, ..caller() });
    world.send(caller.addr, caller.us, caller.request("INVITE", 1, ""));
    let ok = world.take().pop().unwrap();
    caller.to_tag = ok.to_tag();
    let body = body(&[&sdp_part(&caller.offer()), ISUP]);
    world.send(caller.addr, caller.us, request(&caller, "ACK", 1, MIXED, &body));
    for index in 0..100_u16 {
        let packet = rtp(0, false, index, u32::from(index) * 160, 9);
        world.send(media, ok.media_address(), packet);
        world.run_for(ms(20));
    }
    caller.hang_up(&mut world);
    world.run_for(secs(1));
    let call = world.finished("many");
    assert_eq!((call.codec, call.figures.packets_received), (Some("PCMU"), Some(100)));
}

#[test]
fn alternatives_are_taken_by_the_last_that_is_understood() {
    let first = sdp_part(&caller().offer().replace("RTP/AVP 0 ", "RTP/AVP 8 "));
    let both = body(&[&first, &sdp_part(&caller().offer()), LOCATION]);
    let chosen = |kind: &str| answer(&format!("multipart/{kind};boundary=unique-1"), &both);
    assert!(chosen("alternative").text().contains("m=audio 20000 RTP/AVP 0 "));
    assert!(chosen("mixed").text().contains("m=audio 20000 RTP/AVP 8 "));
}

#[test]
fn what_is_malformed_gets_a_400_and_what_has_no_offer_a_415_that_says_what_would_do() {
    let whole = body(&[&sdp_part(&caller().offer())]);
    for (content_type, body) in [
        ("multipart/mixed", whole.as_str()),
        ("multipart/mixed;boundary=other", &whole),
        (MIXED, "v=0\r\n"),
    ] {
        let refused = answer(content_type, body);
        assert_eq!(refused.status(), 400, "{content_type}: {refused:?}");
        assert!(refused.text().contains("\r\nWarning: 399 voxplane \"malformed multipart body\""));
    }
    let required = ISUP.replace("optional", "required");
    for parts in [&[LOCATION, ISUP][..], &[&sdp_part(&caller().offer()), &required]] {
        let refused = answer(MIXED, &body(parts));
        assert_eq!(refused.status(), 415, "{refused:?}");
        assert_eq!(refused.values(HeaderName::Accept), ["application/sdp, multipart/mixed"]);
    }
    // A part that says it is SDP, and is not.
    assert_eq!(answer(MIXED, &body(&[&sdp_part("hello")])).status(), 488);
}

#[test]
fn a_ladder_shows_the_media_of_a_part() {
    let caller = caller();
    let sdp = sdp_part(&caller.offer());
    let text = request(&caller, "INVITE", 1, MIXED, &body(&[ISUP, &sdp]));
    let mut ladder = Ladder::default();
    let message = Message {
        at: START,
        src: caller.addr,
        dst: caller.us,
        transport: Transport::Udp,
        is_again: false,
        bytes: text.as_bytes(),
    };
    ladder.push(&message, text.len());
    let rows = ladder.rows(false);
    assert!(rows[0].summary.contains("(SDP: audio 4000 PCMU)"), "{}", rows[0].summary);
}
