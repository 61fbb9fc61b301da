//! How long it takes to read one packet or message, in memory and warm.

#![expect(clippy::unwrap_used, reason = "a test or bench that cannot go on stops")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voxplane::{
    id::{PayloadType, Ssrc},
    wire::{
        classify::classify,
        rtcp::{
            ReportBlockValues, RtcpCompound, RtcpPacket, SenderInfo, write_cname,
            write_sender_report,
        },
        rtp::{RtpHeader, RtpPacket},
        sdp::SessionDescription,
        sip::{self, SipMessage},
    },
};
use zerocopy::IntoBytes;

fn rtp(criterion: &mut Criterion) {
    let header = RtpHeader::new(PayloadType(0), false, 1, 160, Ssrc(7));
    let packet = [header.as_bytes(), &[0xFF; 160]].concat();
    let mut group = criterion.benchmark_group("rtp");
    group.throughput(Throughput::Elements(1));
    group.bench_function("classify", |bencher| bencher.iter(|| classify(black_box(&packet))));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let packet = RtpPacket::parse(black_box(&packet)).unwrap();
            let place = (packet.ssrc(), packet.sequence(), packet.timestamp());
            (place, packet.payload_type(), packet.marker(), packet.payload().len())
        });
    });
    group.finish();
}

fn rtcp(criterion: &mut Criterion) {
    let mut compound = Vec::new();
    let block = ReportBlockValues { jitter: 12, ..Default::default() };
    write_sender_report(&mut compound, SenderInfo::default(), &[block]);
    write_cname(&mut compound, Ssrc(7), "voxplane@192.0.2.1");
    let mut group = criterion.benchmark_group("rtcp");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let compound = RtcpCompound::parse(black_box(&compound)).unwrap();
            compound.packets().fold(0, |sum, packet| match packet {
                RtcpPacket::SenderReport(report) => {
                    report.blocks().iter().fold(sum, |sum, block| sum + block.jitter())
                }
                RtcpPacket::Sdes(sdes) => {
                    sum + u32::from(sdes.chunks().any(|chunk| chunk.cname().is_some()))
                }
                _ => sum,
            })
        });
    });
    group.finish();
}

fn sip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sip");
    group.throughput(Throughput::Bytes(INVITE.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| SipMessage::parse(black_box(INVITE.as_bytes())).unwrap());
    });
    group.bench_function("parse_and_check", |bencher| {
        bencher.iter(|| SipMessage::parse(black_box(INVITE.as_bytes())).unwrap().check());
    });
    group.bench_function("call_id", |bencher| {
        bencher.iter(|| sip::call_id(black_box(INVITE.as_bytes())));
    });
    group.finish();
}

fn sdp(criterion: &mut Criterion) {
    let message = SipMessage::parse(INVITE.as_bytes()).unwrap();
    let body = message.body();
    let mut group = criterion.benchmark_group("sdp");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let sdp = SessionDescription::parse(black_box(body)).unwrap();
            let audio = sdp.media().next().unwrap();
            let codecs = audio.formats().fold(0, |sum, format| sum + audio.codec(format).1);
            let target = (audio.connection(), audio.port(), audio.rtcp(), audio.rtcp_mux());
            (target, codecs, audio.ptime(), audio.direction())
        });
    });
    group.finish();
}

/// What a softphone sends: 13 headers and an offer of three formats.
const INVITE: &str = "INVITE sip:echo@192.0.2.9:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK776asdhds\r\n\
    Max-Forwards: 70\r\n\
    From: \"Caller One\" <sip:c1@example.com>;tag=1928301774\r\n\
    To: \"Echo\" <sip:echo@example.com>\r\n\
    Call-ID: a84b4c76e66710@192.0.2.1\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:c1@192.0.2.1:5070;transport=udp>\r\n\
    User-Agent: softphone/4.2.1\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY\r\n\
    Supported: replaces, timer\r\n\
    Session-Expires: 1800\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 211\r\n\
    \r\n\
    v=0\r\n\
    o=- 3747 3747 IN IP4 192.0.2.1\r\n\
    s=call\r\n\
    c=IN IP4 192.0.2.1\r\n\
    t=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 101\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=ptime:20\r\n";

criterion_group!(benches, rtp, rtcp, sip, sdp);
criterion_main!(benches);
