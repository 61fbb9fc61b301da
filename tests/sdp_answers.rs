//! Answers to the offers that devices make: every codec, several media, hold, SRTP.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{Caller, Sent, World, addr, ms, rtp, secs};
use voxplane::shard::{ShardConfig, keys::KeySource};

const FAR: &str = "198.51.100.1:5070";

fn world() -> World {
    World::new(ShardConfig { keys: KeySource::new([7; 32]), ..ShardConfig::default() })
}

/// The last response to an offer, in a call of its own.
fn answer(world: &mut World, caller: &Caller, lines: &str) -> Sent {
    let head = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n";
    world.send(caller.addr, caller.us, caller.request("INVITE", 1, &format!("{head}{lines}")));
    world.take().pop().unwrap()
}

/// The media lines of the answer; empty if it is refused.
fn media(lines: &str) -> String {
    let answer = answer(&mut world(), &Caller::new(FAR, "answer"), lines);
    let text = answer.text();
    text.find("m=").map_or_else(String::new, |at| text[at..].to_owned())
}

#[test]
fn every_codec_is_answered_with_its_map_and_its_parameters() {
    for (payload_type, map, parameters, codec) in [
        (0, "PCMU/8000", "", "PCMU"),
        (8, "PCMA/8000", "", "PCMA"),
        (9, "G722/8000", "", "G722"),
        (18, "G729/8000", "annexb=no", "G729"),
        (3, "GSM/8000", "", "GSM"),
        (97, "iLBC/8000", "mode=20", "iLBC"),
        (96, "opus/48000/2", "useinbandfec=1;maxaveragebitrate=24000", "opus"),
        (98, "AMR/8000", "octet-align=1; mode-set=0,2,4,7", "AMR"),
        (99, "AMR-WB/16000", "octet-align=0;mode-change-capability=2", "AMR-WB"),
        (100, "EVS/16000", "br=5.9-24.4; bw=nb-wb", "EVS"),
        (102, "speex/16000", "vbr=on", "speex"),
        (103, "L16/16000", "", "L16"),
        (104, "L16/44100/2", "", "L16"),
        (105, "L16/11025", "", "L16"),
    ] {
        let clock = map.split('/').nth(1).unwrap();
        let fmtp = match parameters {
            "" => String::new(),
            parameters => format!("a=fmtp:{payload_type} {parameters}\r\n"),
        };
        let formats = format!(
            "a=rtpmap:{payload_type} {map}\r\n{fmtp}\
             a=rtpmap:110 telephone-event/{clock}\r\na=fmtp:110 0-15\r\n"
        );
        let comfort = if clock == "8000" { " 13" } else { "" };
        let line = format!("RTP/AVP {payload_type} 110{comfort}\r\n{formats}");
        let mut world = world();
        let caller = Caller::new(FAR, "codec");
        let answer = answer(&mut world, &caller, &format!("m=audio 4000 {line}a=ptime:20\r\n"));
        let named = if comfort.is_empty() { "" } else { "a=rtpmap:13 CN/8000\r\n" };
        let expected = format!("m=audio 20000 {line}{named}a=ptime:20\r\na=sendrecv\r\n");
        assert!(answer.text().ends_with(&expected), "{codec}: {}", answer.text());
        // And what comes in it is measured as what it is.
        let mut acknowledged = caller.clone();
        acknowledged.to_tag = answer.to_tag();
        world.send(caller.addr, caller.us, acknowledged.request("ACK", 1, ""));
        let step = clock.parse::<u32>().unwrap() / 50;
        for index in 0..50_u16 {
            let packet = rtp(payload_type, false, index, u32::from(index) * step, 9);
            world.send(caller.media, addr("192.0.2.9:20000"), packet);
            world.run_for(ms(20));
        }
        acknowledged.hang_up(&mut world);
        world.run_for(secs(1));
        let call = world.finished("codec");
        assert_eq!(call.streams.records().next().unwrap().codec, Some(codec));
        assert_eq!(call.figures.packets_received, Some(50), "{codec}");
    }
}

#[test]
fn what_a_sender_says_of_its_own_opus_is_not_repeated() {
    let offer = "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n\
        a=fmtp:96 sprop-stereo=1;useinbandfec=1; sprop-maxcapturerate=16000\r\n";
    assert!(media(offer).contains("a=fmtp:96 useinbandfec=1\r\n"));
}

#[test]
fn a_static_type_of_linear_samples_names_its_channels() {
    assert!(media("m=audio 4000 RTP/AVP 10\r\n").contains("a=rtpmap:10 L16/44100/2\r\n"));
    assert!(media("m=audio 4000 RTP/AVP 11\r\n").contains("a=rtpmap:11 L16/44100\r\n"));
}

#[test]
fn of_several_media_one_audio_is_taken_and_the_others_have_port_0() {
    let answer = media(
        "m=video 4100 RTP/AVP 31\r\nm=audio 4000 RTP/SAVP 0\r\nm=audio 4002 RTP/AVP 8\r\n\
         m=image 4104 udptl t38\r\nm=audio 4006 RTP/AVP 0\r\n",
    );
    let lines: Vec<_> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 31",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 20000 RTP/AVP 8",
            "m=image 0 udptl t38",
            "m=audio 0 RTP/AVP 0",
        ]
    );
    for refused in [
        "m=image 4104 udptl t38\r\n",
        "m=audio 4000 RTP/SAVP 0\r\n",
        "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:x\r\n",
        "m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-256 0:0\r\n",
    ] {
        assert_eq!(media(refused), "", "{refused}");
    }
}

/// An answer with a key of our own; the stream is measured by its headers, nothing is sent back,
/// and what the far end reports is counted and not read.
#[test]
fn srtp_with_its_key_in_the_offer_is_measured_and_never_echoed() {
    let mut world = world();
    let mut caller = Caller { user: "echo", ..Caller::new(FAR, "srtp") };
    let offer = "m=audio 4000 RTP/SAVP 0\r\n\
        a=crypto:1 AEAD_AES_256_GCM inline:x\r\n\
        a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20\r\n\
        a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let answer = answer(&mut world, &caller, offer);
    let text = answer.text();
    assert!(text.contains("m=audio 20000 RTP/SAVP 0\r\n") && text.contains("a=recvonly"), "{text}");
    let cryptos: Vec<_> = text.lines().filter(|line| line.starts_with("a=crypto")).collect();
    let [crypto] = cryptos[..] else { panic!("{text}") };
    let key = crypto.strip_prefix("a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:").unwrap();
    assert!(key.len() == 40 && !key.starts_with("WVNf"), "{key}");
    caller.to_tag = answer.to_tag();
    world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
    for index in 0..500_u16 {
        let packet = rtp(0, false, index, u32::from(index) * 160, 9);
        world.send(caller.media, addr("192.0.2.9:20000"), packet);
        if index % 100 == 50 {
            // A sender report whose body is encrypted: 28 octets, index and tag.
            let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 9];
            report.extend([0xA5; 34]);
            world.send(addr("198.51.100.1:4001"), addr("192.0.2.9:20001"), report);
        }
        world.run_for(ms(20));
    }
    assert!(world.take().is_empty(), "neither an echo nor reports");
    let health = world.shard.health();
    assert_eq!((health.srtcp_packets, health.rtcp_packets), (5, 0));
    caller.hang_up(&mut world);
    world.run_for(secs(1));
    let call = world.finished("srtp");
    assert_eq!(call.figures.packets_received, Some(500));
    assert_eq!(call.figures.packets_lost, Some(0));
}
