//! No bytes make a parser panic: random ones, and real messages bent in random ways, go through
//! every parser and every accessor, and what is read stays within what came.

use std::hint::black_box;

use fastrand::Rng;
use voxplane::{
    id::{PayloadType, Ssrc},
    wire::{
        classify::classify,
        rtcp::{self, RtcpCompound, RtcpPacket, XrBlock},
        rtp::{RtpHeader, RtpPacket},
        sdp::{Media, SessionDescription},
        sip::{self, Credentials, NameAddr, SipMessage, StartLine, Uri, Via},
        vq_rtcpxr::VqReport,
    },
};
use zerocopy::IntoBytes;

/// Bent messages per run. The fast build has the full count.
const CASES: usize = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
const SEED: u64 = 0x766F_7870;
const RANDOM_LEN_MAX: usize = 256;
/// Bent messages grow no longer than this, so that repeats do not run away.
const BENT_LEN_MAX: usize = 4096;

#[test]
fn bent_and_random_bytes() {
    let mut rng = Rng::with_seed(SEED);
    let models = models();
    let mut read = [0; 4];
    for case in 0..CASES {
        let bytes = if case % 8 == 0 { random(&mut rng) } else { bent(&mut rng, &models) };
        for (count, done) in read.iter_mut().zip(exercise(&bytes)) {
            *count += usize::from(done);
        }
    }
    // Bending must leave enough whole for the accessors to be reached.
    let [rtp, rtcp, sip, sdp] = read.map(|count| count * 100 / CASES);
    assert!(rtp >= 5 && rtcp >= 2 && sip >= 10 && sdp >= 5, "{rtp} {rtcp} {sip} {sdp} percent");
}

#[test]
fn every_cut_of_a_message() {
    for model in models() {
        for end in 0..=model.len() {
            exercise(&model[..end]);
            exercise(&model[end..]);
        }
    }
}

#[test]
fn the_quick_call_id_is_that_of_the_message() {
    let mut rng = Rng::with_seed(SEED + 1);
    let models: Vec<_> = models().into_iter().filter(|model| model.is_ascii()).collect();
    let mut compared = 0;
    for _ in 0..CASES / 10 {
        let bytes = bent(&mut rng, &models);
        if let Ok(message) = SipMessage::parse(&bytes) {
            assert_eq!(sip::call_id(&bytes), message.call_id(), "{}", bytes.escape_ascii());
            compared += usize::from(message.call_id().is_some());
        }
    }
    assert!(compared > CASES / 50, "{compared}");
}

/// Reads bytes as everything; says which of RTP, RTCP, SIP and SDP they are.
fn exercise(bytes: &[u8]) -> [bool; 4] {
    black_box(classify(bytes));
    let body = SipMessage::parse(bytes).ok().map(|message| exercise_sip(bytes, &message));
    let sdp = SessionDescription::parse(bytes)
        .or_else(|_| SessionDescription::parse(body.unwrap_or(&[])));
    if let Ok(sdp) = &sdp {
        exercise_sdp(sdp);
    }
    exercise_fragments(bytes);
    exercise_report(body.unwrap_or(&[]));
    [exercise_rtp(bytes), exercise_rtcp(bytes), body.is_some(), sdp.is_ok()]
}

fn exercise_rtp(bytes: &[u8]) -> bool {
    let Ok(packet) = RtpPacket::parse(bytes) else { return false };
    black_box((packet.marker(), packet.payload_type(), packet.sequence(), packet.timestamp()));
    black_box((packet.ssrc(), packet.header()));
    let extension = packet.extension().map_or(0, |extension| 4 + extension.data.len());
    let len = RtpHeader::LEN
        + packet.csrcs().count() * 4
        + extension
        + packet.payload().len()
        + packet.padding_len();
    assert_eq!(len, bytes.len());
    true
}

fn exercise_rtcp(bytes: &[u8]) -> bool {
    let Ok(compound) = RtcpCompound::parse(bytes) else { return false };
    let mut count = 0;
    for packet in compound.packets() {
        count += 1;
        match packet {
            RtcpPacket::SenderReport(report) => {
                black_box((report.ssrc(), report.ntp(), report.rtp_timestamp()));
                black_box((report.packet_count(), report.octet_count()));
                black_box(report.profile_extension());
                exercise_blocks(report.blocks());
            }
            RtcpPacket::ReceiverReport(report) => {
                black_box((report.ssrc(), report.profile_extension()));
                exercise_blocks(report.blocks());
            }
            RtcpPacket::Sdes(sdes) => {
                for chunk in sdes.chunks() {
                    black_box((chunk.ssrc, chunk.cname(), chunk.items().count()));
                }
            }
            RtcpPacket::Bye(bye) => {
                black_box((bye.ssrcs().count(), bye.reason()));
            }
            RtcpPacket::ExtendedReport(report) => exercise_extended(bytes, &report),
            packet => {
                black_box(packet);
            }
        }
    }
    assert!(count > 0 && count <= bytes.len() / 4);
    true
}

fn exercise_blocks(blocks: &[rtcp::ReportBlock]) {
    for block in blocks {
        black_box((block.ssrc(), block.fraction_lost(), block.extended_highest_sequence()));
        black_box((block.jitter(), block.lsr(), block.dlsr()));
        assert!((-(1 << 23)..1 << 23).contains(&block.cumulative_lost()));
    }
}

fn exercise_extended(bytes: &[u8], report: &rtcp::ExtendedReport<'_>) {
    black_box(report.ssrc());
    let mut len = 8;
    for block in report.blocks() {
        len += 4 + match block {
            XrBlock::ReceiverReferenceTime(time) => {
                black_box((time.ntp(), time.ntp_middle()));
                8
            }
            XrBlock::Dlrr(answers) => {
                for answer in answers {
                    let [lrr, dlrr] = [answer.lrr(), answer.dlrr()];
                    black_box((answer.ssrc(), rtcp::round_trip_us(0xB710_8000, lrr, dlrr)));
                }
                answers.len() * 12
            }
            XrBlock::StatisticsSummary(summary) => {
                black_box((summary.ssrc(), summary.begin_sequence(), summary.end_sequence()));
                black_box((summary.lost(), summary.duplicates(), summary.jitter()));
                black_box(summary.hops());
                36
            }
            XrBlock::VoipMetrics(metrics) => {
                exercise_metrics(metrics);
                32
            }
            XrBlock::Other { body, .. } => body.len(),
            block => panic!("{block:?}"),
        };
    }
    assert!(len <= bytes.len());
}

fn exercise_metrics(metrics: &rtcp::VoipMetrics) {
    for share in [metrics.loss_rate(), metrics.discard_rate()] {
        assert!((0.0..1.0).contains(&share));
    }
    for share in [metrics.burst_density(), metrics.gap_density()] {
        assert!((0.0..1.0).contains(&share));
    }
    for r_factor in [metrics.r_factor(), metrics.external_r_factor()].into_iter().flatten() {
        assert!(r_factor <= 100);
    }
    for mos in [metrics.mos_lq(), metrics.mos_cq()].into_iter().flatten() {
        assert!((1.0..=5.0).contains(&mos));
    }
    assert!(metrics.jitter_buffer_rate().is_none_or(|rate| (1..=15).contains(&rate)));
    assert!(
        [metrics.round_trip_ms(), metrics.end_system_delay_ms()].iter().all(|ms| *ms != Some(0))
    );
    assert!(metrics.gmin() != Some(0));
    black_box((metrics.ssrc(), metrics.burst_duration_ms(), metrics.gap_duration_ms()));
    black_box((metrics.signal_level_dbm0(), metrics.noise_level_dbm0(), metrics.rerl_db()));
    black_box((metrics.concealment(), metrics.jitter_buffer_kind()));
    black_box((metrics.jitter_buffer_nominal_ms(), metrics.jitter_buffer_maximum_ms()));
    black_box(metrics.jitter_buffer_absolute_maximum_ms());
}

/// Gives the body.
fn exercise_sip<'a>(bytes: &'a [u8], message: &SipMessage<'a>) -> &'a [u8] {
    if let StartLine::Request { uri, .. } = message.start_line() {
        exercise_uri(uri);
    }
    black_box((message.version(), message.method(), message.call_id(), message.user_agent()));
    black_box((message.content_type(), message.has_content_type("application/sdp")));
    black_box((message.cseq(), message.max_forwards(), message.expires()));
    black_box(message.content_length());
    black_box(message.check()).map_or_else(|defect| black_box(defect.status()), |()| 0);
    for value in [message.from(), message.to(), message.contact()].into_iter().flatten() {
        exercise_address(value);
    }
    if let Some(via) = message.via() {
        exercise_via(&via);
    }
    let mut len = message.body().len();
    for header in message.headers() {
        len += header.raw_name.len() + header.value.len() + 1;
        exercise_address(header.value);
        sip::elements(header.value).for_each(exercise_address);
        if let Some(via) = Via::parse(header.value) {
            exercise_via(&via);
        }
    }
    assert!(len <= bytes.len());
    let description = message.description().unwrap_or_default();
    assert!(description.len() <= message.body().len());
    if message.content_type().is_some() { description } else { message.body() }
}

/// Any bytes as the value of a header.
fn exercise_fragments(bytes: &[u8]) {
    exercise_address(bytes);
    if let Some(via) = Via::parse(bytes) {
        exercise_via(&via);
    }
    black_box((sip::call_id(bytes), sip::elements(bytes).count()));
    black_box((sip::registered_uri(bytes), Credentials::parse(bytes)));
    let mut out = Vec::new();
    sip::write_address_of_record(&mut out, bytes);
    assert!(sip::is_same_uri(bytes, bytes) && out.len() <= bytes.len() + 8);
    exercise_report(bytes);
}

fn exercise_report(bytes: &[u8]) {
    let Ok(report) = VqReport::parse(bytes) else { return };
    black_box((report.kind(), report.is_final(), report.call_id(), report.ssrc()));
    for metrics in [Some(report.local()), report.remote()].into_iter().flatten() {
        let figures = metrics.figures();
        for percent in [figures.lost, figures.discarded].into_iter().flatten() {
            assert!((0.0..=100.0).contains(&percent));
        }
        black_box((metrics.codec(), metrics.sample_rate()));
    }
}

fn exercise_address(value: &[u8]) {
    let address = NameAddr::parse(value);
    black_box((address.display, address.tag(), address.param("expires")));
    for param in address.params() {
        black_box((param.name, param.value, param.raw_value));
    }
    exercise_uri(address.uri);
    exercise_uri(value);
}

fn exercise_uri(text: &[u8]) {
    let uri = Uri::parse(text);
    black_box((uri.scheme, uri.user, uri.host, uri.port, uri.headers));
    black_box((uri.ip(), uri.is_sip(), uri.is_well_formed(), uri.params().count()));
}

fn exercise_via(via: &Via<'_>) {
    black_box((via.transport, via.host, via.port, via.branch, via.rport));
    black_box((via.ip(), via.received_ip(), via.has_unique_branch(), via.is_well_formed()));
    let mut out = Vec::new();
    via.write_with_source(&mut out, ([192, 0, 2, 1], 5060).into());
    // What a quote or bracket without its partner hides depends on what else is there.
    if !via.text.iter().any(|byte| matches!(byte, b'"' | b'<')) {
        let written = Via::parse(&out).map(|written| (written.branch, written.host));
        assert_eq!(written, Some((via.branch, via.host)), "{}", via.text.escape_ascii());
    }
}

fn exercise_sdp(sdp: &SessionDescription<'_>) {
    black_box((sdp.origin(), sdp.name(), sdp.connection()));
    for media in sdp.media() {
        exercise_media(&media);
    }
}

fn exercise_media(media: &Media<'_>) {
    black_box((media.kind(), media.kind_text(), media.port(), media.port_count()));
    black_box((media.protocol(), media.is_rtp(), media.is_secure(), media.formats_text()));
    black_box((media.connection(), media.ptime(), media.direction(), media.is_hold()));
    black_box((media.rtcp(), media.rtcp_mux(), media.attributes().count()));
    for format in media.formats() {
        assert!(format < 128);
        black_box((media.rtpmap(format), media.codec(format), media.fmtp(format)));
    }
}

fn random(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; rng.usize(..RANDOM_LEN_MAX)];
    rng.fill(&mut bytes);
    if let Some(first) = bytes.first_mut()
        && rng.bool()
    {
        // Half of them with the version of RTP, or they would seldom come past the first octet.
        *first = 0x80 | *first & 0x3F;
    }
    bytes
}

/// A message with one to four things done to it.
fn bent(rng: &mut Rng, models: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = models[rng.usize(..models.len())].clone();
    for _ in 0..rng.usize(1..=4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.usize(..bytes.len());
        let end = rng.usize(at..=bytes.len());
        match rng.u8(..7) {
            0 => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let other = &models[rng.usize(..models.len())];
                let from = rng.usize(..other.len());
                bytes.splice(at..end, other[from..].iter().copied());
            }
            5 => {
                let chunk = bytes[at..end].repeat(rng.usize(1..=8));
                bytes.splice(at..at, chunk);
            }
            _ => bytes[at] = DELIMITERS[rng.usize(..DELIMITERS.len())],
        }
        bytes.truncate(BENT_LEN_MAX);
    }
    bytes
}

/// Octets that mean something to one parser or another.
const DELIMITERS: &[u8] = b"\r\n \t:;,=\"\\<>@?/[]\x00\x7F\x80\xFF0";

fn models() -> Vec<Vec<u8>> {
    let mut models: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.to_vec()).collect();
    let header = RtpHeader::new(PayloadType(8), true, 65_535, 160, Ssrc(7));
    models.push([header.as_bytes(), &[0xD5; 160]].concat());
    let mut full = [header.as_bytes(), &[0, 0, 0, 1, 0, 0, 0, 2]].concat();
    full[0] |= 0x32;
    full.extend([0xBE, 0xDE, 0, 1, 0x10, 0xAA, 0, 0, 1, 2, 3, 4, 0, 0, 0, 4]);
    models.push(full);
    let reports = rtcp_packets();
    models.push(reports.concat());
    models.extend(reports);
    models
}

/// One packet of each type; the last one, which alone may be, is padded.
fn rtcp_packets() -> Vec<Vec<u8>> {
    let block = rtcp::ReportBlockValues { cumulative_lost: -1, jitter: 9, ..Default::default() };
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    vec![
        written(&|out| {
            rtcp::write_sender_report(out, rtcp::SenderInfo::default(), &[block; 3]);
        }),
        written(&|out| rtcp::write_receiver_report(out, Ssrc(1), &[block])),
        written(&|out| rtcp::write_cname(out, Ssrc(1), "someone@192.0.2.1")),
        vec![0x81, 204, 0, 3, 0, 0, 0, 1, b'T', b'E', b'S', b'T', 1, 2, 3, 4],
        written(&write_extended_report),
        vec![0x81, 203, 0, 2, 0, 0, 0, 1, 3, b'b', b'y', b'e'],
        vec![0xA0, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4],
    ]
}

/// One block of each type, and one of another.
fn write_extended_report(out: &mut Vec<u8>) {
    let metrics = rtcp::VoipMetricsValues { mos_lq: Some(4.4), ..Default::default() };
    let summary = rtcp::StatisticsSummaryValues { lost: Some(1), ..Default::default() };
    rtcp::write_extended_report(
        out,
        Ssrc(1),
        &[
            XrBlock::ReceiverReferenceTime(&rtcp::ReceiverReferenceTime::new(1 << 40)),
            XrBlock::Other { block_type: 1, specific: 0, body: &[0, 0, 0, 2, 0, 1, 0, 9] },
            XrBlock::Dlrr(&[rtcp::DlrrSubBlock::new(Ssrc(2), 1 << 24, 65_536); 2]),
            XrBlock::VoipMetrics(&metrics.into()),
            XrBlock::StatisticsSummary(&summary.into()),
        ],
    );
}

const TEXTS: [&[u8]; 9] = [
    b"INVITE sip:echo@192.0.2.9:5060;transport=udp SIP/2.0\r\n\
      Via: SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK776asdhds, SIP/2.0/TCP [2001:db8::1];received=[::1]\r\n\
      Max-Forwards: 70\r\n\
      From: \"Caller \\\"C\\\" One\" <sip:c1@example.com>;tag=1928301774\r\n\
      To: Echo <sips:echo@example.com;lr?x=y>\r\n\
      Call-ID: a84b4c76e66710@192.0.2.1\r\n\
      CSeq: 314159\r\n INVITE\r\n\
      Contact: <sip:c1@192.0.2.1:5070>;q=0.5;expires=60, \"B\" <tel:+1555>\r\n\
      User-Agent: phone/1.0\r\n\
      Content-Type: application/sdp\r\n\
      Content-Length: 180\r\n\r\n\
      v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
      m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
      a=fmtp:101 0-16\r\na=ptime:20\r\n",
    b"INVITE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nCall-ID: m\r\nCSeq: 1 INVITE\r\n\
      Content-Type: multipart/mixed;boundary=\"b c\"\r\n\r\n\
      --b c\r\nContent-Type: application/isup;version=itu-t92+\r\n\
      Content-Disposition: signal;handling=optional\r\n\r\n\x01\x00\x20\x00\r\n\
      --b c \r\nc: multipart/alternative; boundary=-\r\n\r\n\
      ---\r\nc: application/sdp\r\nContent-Transfer-Encoding: binary\r\n\r\n\
      v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0\r\n-----\r\n\
      --b c--\r\n",
    b"\r\nSIP/2.0 180 Ringing\n\
      v:SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;received=192.0.2.77\n\
      f:sip:a@b;tag=1\nt :<sip:c@d>;tag=2\ni:1@b\ncseq: 1 INVITE\nm:<sip:c@[2001:db8:::192.0.2.9]>\nl:0\n\n",
    b"REGISTER sip:[2001:db8::9]:5061 SIP/2.0\r\n\
      v: SIP / 2.0 / TLS host.example.com ; branch = z9hG4bKx\r\n , SIP/2.0/UDP a\r\n\
      Call-ID: r\xFF\x00\r\nTo: <sip:u@h>\r\nFrom: <sip:u@h>;tag=\"x;y\"\r\nCSeq: 2 REGISTER\r\n\
      Expires: 3600\r\nContact: *\r\nRequire: a,b\r\nAccept: text/plain;q=1, application/sdp\r\n\r\n",
    b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCall-ID: r\r\nCSeq: 2 REGISTER\r\n\
      t: <sip:%61nn:p@H:5060;user=phone>\r\nf: <sip:ann@h>;tag=1\r\nm: <sip:a@h;ob>;expires=5\r\n\
      Authorization: Digest username=\"ann\",realm=\"h\",nonce=\"1\",uri=\"sip:h\",response=\"0\",\r\n \
      algorithm=MD5, qop=auth,nc=00000001, cnonce=\"x\"\r\n\r\n",
    b"PUBLISH sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nCall-ID: p\r\nCSeq: 1 PUBLISH\r\n\
      Event: vq-rtcpxr\r\nContent-Type: application/vq-rtcpxr\r\n\r\n\
      VQSessionReport: CallTerm\r\nCallID: 1@h\r\nLocalAddr:IP=192.0.2.1 SSRC=0x1a2b\r\n\
      LocalMetrics:\r\nSessionDesc:PT=0 PD=PCMU SR=8000 FD=20 FMTP=\"a=b\"\r\n\
      PacketLoss:NLR=1.5\r\n JDR=0.5\r\nQualityEst:MOSLQ=4.1\r\nRemoteMetrics:\r\nDelay:RTD=9\r\n",
    b"BYE tel:+15551234 SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nCall-ID: x\r\nCSeq: 3 BYE\r\n\r\n",
    b"v=0\r\no=alice 2890844526 2890844527 IN IP6 2001:db8::1\r\ns=call\r\n\
      c=IN IP4 224.2.1.1/127/3\r\nt=0 0\r\na=sendonly\r\n\
      m=audio 49170/2 RTP/AVP 0 96 9\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
      a=rtcp:53020 IN IP4 192.0.2.4\r\na=rtcp-mux\r\na=recvonly\r\na=maxptime:40\r\n\
      m=video 0 UDP/TLS/RTP/SAVPF 31\r\nc=IN IP6 ::1\r\nm=image 9 udptl t38\r\n",
    b"v=0\nm=audio 9 RTP/SAVP 8\nc=IN IP4 0.0.0.0\na=inactive\n",
];
