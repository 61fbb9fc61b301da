//! What other implementations write reads the same here, and what is written here reads the same
//! there: rtp-types, rtcp-types, rsip and sdp-types, each within what it can do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, option, prelude::*, sample::select};
use rsip::prelude::{HasHeaders, HeadersExt, ToTypedHeader, UntypedHeader};
use rtcp_types::{RtcpPacketWriterExt, XrBlockParserExt};
use voxplane::{
    id::{PayloadType, Ssrc},
    wire::{
        rtcp::{
            DlrrSubBlock, ReceiverReferenceTime, ReportBlock, ReportBlockValues, RtcpCompound,
            RtcpPacket, SenderInfo, StatisticsSummaryValues, VoipMetricsValues, XrBlock, write_bye,
            write_cname, write_extended_report, write_receiver_report, write_sender_report,
        },
        rtp::{RtpHeader, RtpPacket},
        sdp::{Direction, SessionDescription},
        sip::{self, NameAddr, SipMessage, StartLine, Uri},
    },
};
use zerocopy::IntoBytes;

proptest! {
    #[test]
    fn rtp_of_rtp_types(
        (marker, payload_type, sequence, timestamp, ssrc) in rtp_fields(),
        csrcs in vec(any::<u32>(), 0..=15),
        extension in option::of((any::<u16>(), vec(any::<[u8; 4]>(), 0..8))),
        payload in vec(any::<u8>(), 0..64),
        padding in option::of(1_u8..=255),
    ) {
        let data = extension.as_ref().map(|(profile, words)| (*profile, words.concat()));
        let mut builder = rtp_types::RtpPacketBuilder::<&[u8], &[u8]>::new()
            .marker_bit(marker)
            .payload_type(payload_type)
            .sequence_number(sequence)
            .timestamp(timestamp)
            .ssrc(ssrc)
            .payload(&payload[..])
            .maybe_padding(padding);
        for &csrc in &csrcs {
            builder = builder.add_csrc(csrc);
        }
        if let Some((profile, data)) = &data {
            builder = builder.extension(*profile, &data[..]);
        }
        let bytes = builder.write_vec().unwrap();
        let packet = RtpPacket::parse(&bytes).unwrap();
        prop_assert_eq!(packet.marker(), marker);
        prop_assert_eq!(packet.payload_type(), PayloadType(payload_type));
        prop_assert_eq!(packet.sequence(), sequence);
        prop_assert_eq!(packet.timestamp(), timestamp);
        prop_assert_eq!(packet.ssrc(), Ssrc(ssrc));
        prop_assert!(packet.csrcs().map(|csrc| csrc.0).eq(csrcs));
        let found = packet.extension().map(|found| (found.profile, found.data.to_vec()));
        prop_assert_eq!(found, data);
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert_eq!(packet.padding_len(), usize::from(padding.unwrap_or(0)));
    }

    #[test]
    fn rtp_for_rtp_types(
        (marker, payload_type, sequence, timestamp, ssrc) in rtp_fields(),
        payload in vec(any::<u8>(), 0..64),
    ) {
        let header =
            RtpHeader::new(PayloadType(payload_type), marker, sequence, timestamp, Ssrc(ssrc));
        let bytes = [header.as_bytes(), &payload].concat();
        let packet = rtp_types::RtpPacket::parse(&bytes).unwrap();
        prop_assert_eq!(packet.marker_bit(), marker);
        prop_assert_eq!(packet.payload_type(), payload_type);
        prop_assert_eq!(packet.sequence_number(), sequence);
        prop_assert_eq!(packet.timestamp(), timestamp);
        prop_assert_eq!(packet.ssrc(), ssrc);
        prop_assert_eq!(packet.payload(), payload);
    }

    /// The one difference there is: padding of no octets, which is tolerated here.
    #[test]
    fn any_bytes_are_rtp_here_if_they_are_for_rtp_types(
        first in 0x70_u8..=0xC8,
        rest in vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..96),
    ) {
        let bytes = [&[first][..], &rest].concat();
        let theirs = rtp_types::RtpPacket::parse(&bytes);
        let ours = RtpPacket::parse(&bytes);
        match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => prop_assert_eq!(theirs.payload(), ours.payload()),
            (Err(rtp_types::RtpParseError::PaddingInvalid(0)), ours) => prop_assert!(ours.is_ok()),
            _ => prop_assert_eq!(theirs.is_ok(), ours.is_ok()),
        }
    }

    #[test]
    fn rtcp_of_rtcp_types(
        sender in sender_info(),
        blocks in vec(block(), 0..=31),
        cname in "[a-z]{1,8}@[a-z0-9.]{1,30}",
        tool in "\\PC{0,20}",
        sources in vec(any::<u32>(), 0..=31),
        reason in option::of("[a-z ]{1,40}"),
        (subtype, data) in (0_u8..32, vec(any::<[u8; 4]>(), 0..8)),
        padding in select(vec![0_u8, 4, 8, 252]),
    ) {
        let data = &data.concat()[..];
        let mut report = rtcp_types::SenderReport::builder(sender.ssrc.0)
            .ntp_timestamp(sender.ntp)
            .rtp_timestamp(sender.rtp_timestamp)
            .packet_count(sender.packet_count)
            .octet_count(sender.octet_count);
        let mut receiver = rtcp_types::ReceiverReport::builder(sender.ssrc.0);
        for block in &blocks {
            report = report.add_report_block(block_of_theirs(block));
            receiver = receiver.add_report_block(block_of_theirs(block));
        }
        let chunk = rtcp_types::SdesChunk::builder(sender.ssrc.0)
            .add_item(rtcp_types::SdesItem::builder(1, &cname))
            .add_item(rtcp_types::SdesItem::builder(6, &tool));
        let mut bye = rtcp_types::Bye::builder();
        for &source in &sources {
            bye = bye.add_source(source);
        }
        if let Some(reason) = &reason {
            bye = bye.reason(reason.as_str());
        }
        let app = rtcp_types::App::builder(sender.ssrc.0, "TEST")
            .subtype(subtype)
            .data(data)
            .padding(padding);
        let compound = rtcp_types::Compound::builder()
            .add_packet(report)
            .add_packet(receiver)
            .add_packet(rtcp_types::Sdes::builder().add_chunk(chunk))
            .add_packet(bye)
            .add_packet(app);
        let mut bytes = vec![0; 65_536];
        let len = compound.write_into(&mut bytes).unwrap();

        let packets: Vec<_> = RtcpCompound::parse(&bytes[..len]).unwrap().packets().collect();
        let [
            RtcpPacket::SenderReport(report),
            RtcpPacket::ReceiverReport(receiver),
            RtcpPacket::Sdes(sdes),
            RtcpPacket::Bye(bye),
            RtcpPacket::App(app),
        ] = packets[..] else {
            return Err(TestCaseError::fail(format!("{packets:?}")));
        };
        let found = SenderInfo {
            ssrc: report.ssrc(),
            ntp: report.ntp(),
            rtp_timestamp: report.rtp_timestamp(),
            packet_count: report.packet_count(),
            octet_count: report.octet_count(),
        };
        prop_assert_eq!(found, sender);
        prop_assert!(report.blocks().iter().map(values).eq(blocks.iter().copied()));
        prop_assert_eq!(receiver.ssrc(), sender.ssrc);
        prop_assert!(receiver.blocks().iter().map(values).eq(blocks));
        let chunks: Vec<_> = sdes.chunks().collect();
        prop_assert_eq!(chunks.len(), 1);
        prop_assert_eq!(chunks[0].cname(), Some(cname.as_bytes()));
        prop_assert_eq!(chunks[0].items().nth(1).map(|item| item.text), Some(tool.as_bytes()));
        prop_assert!(bye.ssrcs().map(|ssrc| ssrc.0).eq(sources));
        prop_assert_eq!(bye.reason(), reason.as_ref().map(String::as_bytes));
        prop_assert_eq!((app.ssrc, app.subtype, &app.name), (sender.ssrc, subtype, b"TEST"));
        prop_assert_eq!(app.data, data);
    }

    #[test]
    fn rtcp_for_rtcp_types(
        sender in sender_info(),
        blocks in vec(block(), 0..=31),
        cname in "[a-z]{1,8}@[a-z0-9.]{1,60}",
    ) {
        let mut bytes = Vec::new();
        write_sender_report(&mut bytes, sender, &blocks);
        write_receiver_report(&mut bytes, sender.ssrc, &blocks);
        write_cname(&mut bytes, sender.ssrc, &cname);
        write_bye(&mut bytes, sender.ssrc);
        let packets: Vec<_> =
            rtcp_types::Compound::parse(&bytes).unwrap().map(Result::unwrap).collect();
        let [
            rtcp_types::Packet::Sr(report),
            rtcp_types::Packet::Rr(receiver),
            rtcp_types::Packet::Sdes(sdes),
            rtcp_types::Packet::Bye(bye),
        ] = &packets[..] else {
            return Err(TestCaseError::fail(format!("{packets:?}")));
        };
        let found = SenderInfo {
            ssrc: Ssrc(report.ssrc()),
            ntp: report.ntp_timestamp(),
            rtp_timestamp: report.rtp_timestamp(),
            packet_count: report.packet_count(),
            octet_count: report.octet_count(),
        };
        prop_assert_eq!(found, sender);
        prop_assert!(report.report_blocks().map(|block| values_of_theirs(&block)).eq(blocks.clone()));
        prop_assert_eq!(receiver.ssrc(), sender.ssrc.0);
        prop_assert!(receiver.report_blocks().map(|block| values_of_theirs(&block)).eq(blocks));
        let chunk = sdes.chunks().next().unwrap();
        prop_assert_eq!(chunk.ssrc(), sender.ssrc.0);
        let item = chunk.items().next().unwrap();
        prop_assert_eq!((item.type_(), item.value()), (1, cname.as_bytes()));
        prop_assert!(bye.ssrcs().eq([sender.ssrc.0]));
    }

    /// Of the blocks that theirs knows, those not looked into here are passed over.
    #[test]
    fn extended_reports_of_rtcp_types(
        (ssrc, source, ntp) in any::<(u32, u32, u64)>(),
        (begin, thinning) in (any::<u16>(), 0_u8..16),
        runs in vec(1_u16..1 << 14, 0..6),
        times in vec(any::<u32>(), 0..6),
        answers in vec(any::<(u32, u32, u32)>(), 0..6),
    ) {
        let mut losses = rtcp_types::LossRle::builder().ssrc(source).begin(begin).thinning(thinning);
        let mut duplicates =
            rtcp_types::DuplicateRle::builder().ssrc(source).begin(begin).thinning(thinning);
        for &run in &runs {
            losses = losses.add_chunk(rtcp_types::RleChunk::RunLength(run));
            duplicates = duplicates.add_chunk(rtcp_types::RleChunk::SkipLength(run));
        }
        let mut receipts =
            rtcp_types::PacketReceiptTimes::builder().ssrc(source).begin(begin).thinning(thinning);
        for &time in &times {
            receipts = receipts.add_time(time);
        }
        let mut dlrr = rtcp_types::DelaySinceLastReceiverReport::builder();
        for &(ssrc, lrr, delay) in &answers {
            let answer = rtcp_types::DelaySinceLastReceiverReportBlock::builder()
                .ssrc(ssrc)
                .last_receiver_report(lrr)
                .delay_since_last_receiver_report_timestamp(delay);
            dlrr = dlrr.add_block(answer);
        }
        let report = rtcp_types::Xr::builder()
            .sender_ssrc(ssrc)
            .add_block(losses)
            .add_block(dlrr)
            .add_block(receipts)
            .add_block(rtcp_types::ReceiverReferenceTime::builder().ntp_timestamp(ntp))
            .add_block(duplicates);
        let mut bytes = vec![0; 65_536];
        let len = report.write_into(&mut bytes).unwrap();

        let packets: Vec<_> = RtcpCompound::parse(&bytes[..len]).unwrap().packets().collect();
        let [RtcpPacket::ExtendedReport(report)] = packets[..] else {
            return Err(TestCaseError::fail(format!("{packets:?}")));
        };
        prop_assert_eq!(report.ssrc(), Ssrc(ssrc));
        let blocks: Vec<_> = report.blocks().collect();
        let [
            XrBlock::Other { block_type: 1, specific, body: losses },
            XrBlock::Dlrr(found),
            XrBlock::Other { block_type: 3, body: receipts, .. },
            XrBlock::ReceiverReferenceTime(time),
            XrBlock::Other { block_type: 2, body: duplicates, .. },
        ] = blocks[..] else {
            return Err(TestCaseError::fail(format!("{blocks:?}")));
        };
        prop_assert_eq!(specific, thinning);
        let chunks_len = runs.len().next_multiple_of(2) * 2;
        prop_assert_eq!((losses.len(), duplicates.len()), (8 + chunks_len, 8 + chunks_len));
        prop_assert_eq!(receipts.len(), 8 + times.len() * 4);
        prop_assert_eq!(time.ntp(), ntp);
        let answer = |found: &DlrrSubBlock| (found.ssrc().0, found.lrr(), found.dlrr());
        prop_assert!(found.iter().map(answer).eq(answers));
    }

    /// Theirs knows neither statistics summaries nor VoIP metrics, but passes over them. It takes a
    /// DLRR of two answers for cut, so here is one.
    #[test]
    fn extended_reports_for_rtcp_types(
        (ssrc, ntp) in any::<(u32, u64)>(),
        (receiver, lrr, delay) in any::<(u32, u32, u32)>(),
    ) {
        let time = ReceiverReferenceTime::new(ntp);
        let blocks = [
            XrBlock::StatisticsSummary(&StatisticsSummaryValues::default().into()),
            XrBlock::ReceiverReferenceTime(&time),
            XrBlock::VoipMetrics(&VoipMetricsValues::default().into()),
            XrBlock::Dlrr(&[DlrrSubBlock::new(Ssrc(receiver), lrr, delay)]),
        ];
        let mut bytes = Vec::new();
        write_receiver_report(&mut bytes, Ssrc(ssrc), &[]);
        write_extended_report(&mut bytes, Ssrc(ssrc), &blocks);
        let packets: Vec<_> =
            rtcp_types::Compound::parse(&bytes).unwrap().map(Result::unwrap).collect();
        let [rtcp_types::Packet::Rr(_), rtcp_types::Packet::Xr(report)] = &packets[..] else {
            return Err(TestCaseError::fail(format!("{packets:?}")));
        };
        prop_assert_eq!(report.sender_ssrc(), ssrc);
        let found: Vec<_> = report.block_iter().collect();
        let types: Vec<_> = found.iter().map(|block| (block.block_type(), block.length())).collect();
        prop_assert_eq!(types, [(6, 40), (4, 12), (7, 36), (5, 16)]);
        let time = found[1].parse_into::<rtcp_types::ReceiverReferenceTime<'_>>().unwrap();
        prop_assert_eq!(time.ntp_timestamp(), ntp);
        let dlrr = found[3].parse_into::<rtcp_types::DelaySinceLastReceiverReport<'_>>().unwrap();
        let answer = dlrr.block_iter().next().unwrap();
        prop_assert_eq!((answer.ssrc(), answer.last_receiver_report()), (receiver, lrr));
        prop_assert_eq!(answer.delay_since_last_receiver_report_timestamp(), delay);
    }

    /// Within what rsip reads: CRLF, long names, known methods, no folds, no IPv6, no brackets in quotes,
    /// users of letters and digits.
    #[test]
    fn sip_as_rsip_reads_it(text in sip_text()) {
        let bytes = text.as_bytes();
        let theirs = rsip::SipMessage::try_from(bytes).unwrap();
        let ours = SipMessage::parse(bytes).unwrap();
        match (&theirs, ours.start_line()) {
            (rsip::SipMessage::Request(request), StartLine::Request { method_text, uri, .. }) => {
                prop_assert_eq!(octets(request.method), method_text);
                same_uri(&request.uri, uri)?;
                prop_assert_eq!(ours.check(), Ok(()));
            }
            (rsip::SipMessage::Response(response), StartLine::Response { code, .. }) => {
                prop_assert_eq!(u16::from(response.status_code.clone()), code);
            }
            _ => return Err(TestCaseError::fail("a request is a response")),
        }
        let call_id = theirs.call_id_header().unwrap().value();
        prop_assert_eq!(Some(call_id.as_bytes()), ours.call_id());
        prop_assert_eq!(Some(call_id.as_bytes()), sip::call_id(bytes));
        let cseq = theirs.cseq_header().unwrap().typed().unwrap();
        let found = ours.cseq().unwrap();
        prop_assert_eq!(cseq.seq, found.number);
        prop_assert_eq!(octets(cseq.method), found.method_text);
        let max_forwards = theirs.max_forwards_header().unwrap().num().unwrap();
        prop_assert_eq!(Some(max_forwards), ours.max_forwards());

        let from = theirs.from_header().unwrap().typed().unwrap();
        let found = NameAddr::parse(ours.from().unwrap());
        // Theirs keeps the quotes.
        let display = from.display_name.clone().unwrap_or_default();
        prop_assert_eq!(octets(display.trim_matches('"')), found.display);
        same_uri(&from.uri, found.uri)?;
        let tag = from.params.iter().find_map(|param| match param {
            rsip::Param::Tag(tag) => Some(tag.value()),
            _ => None,
        });
        prop_assert_eq!(tag.map(str::as_bytes), found.tag());

        let via = theirs.via_header().unwrap().typed().unwrap();
        let found = ours.via().unwrap();
        prop_assert_eq!(octets(via.transport), found.transport);
        prop_assert_eq!(octets(via.uri.host()), found.host);
        prop_assert_eq!(via.uri.port().map(|port| *port.value()), found.port);
        prop_assert_eq!(via.branch().map(|branch| branch.value().as_bytes()), found.branch);
        prop_assert_eq!(via.received().unwrap(), found.received_ip());
        prop_assert_eq!(theirs.body(), ours.body());
        prop_assert_eq!(theirs.headers().iter().count(), ours.headers().count());
    }

    #[test]
    fn sdp_of_sdp_types(session in sdp_session()) {
        let mut bytes = Vec::new();
        session.write(&mut bytes).unwrap();
        prop_assert_eq!(&sdp_types::Session::parse(&bytes).unwrap(), &session);

        let sdp = SessionDescription::parse(&bytes).unwrap();
        let origin = sdp.origin().unwrap();
        prop_assert_eq!(Some(origin.username), session.origin.username.as_ref().map(String::as_bytes));
        prop_assert_eq!(origin.session_id, session.origin.sess_id.as_bytes());
        prop_assert_eq!(origin.version, octets(session.origin.sess_version));
        prop_assert_eq!(origin.address, session.origin.unicast_address.parse().ok());
        prop_assert_eq!(sdp.name(), Some(session.session_name.as_bytes()));
        let own = session.connection.as_ref().and_then(address);
        prop_assert_eq!(sdp.connection(), own);
        prop_assert_eq!(sdp.media().count(), session.medias.len());
        for (media, theirs) in sdp.media().zip(&session.medias) {
            prop_assert_eq!(media.kind_text(), theirs.media.as_bytes());
            prop_assert_eq!(media.port(), theirs.port);
            prop_assert_eq!(media.port_count(), theirs.num_ports.unwrap_or(1));
            prop_assert_eq!(media.protocol(), theirs.proto.as_bytes());
            prop_assert_eq!(media.formats_text(), theirs.fmt.as_bytes());
            let connection = theirs.connections.first().map_or(own, address);
            prop_assert_eq!(media.connection(), connection);
            for rtpmap in theirs.attributes_typed::<sdp_types::RtpMap>() {
                let rtpmap = rtpmap.unwrap();
                let found = media.rtpmap(rtpmap.payload_type).unwrap();
                prop_assert_eq!(found.encoding, rtpmap.encoding_name.as_bytes());
                prop_assert_eq!(found.clock_rate, rtpmap.clock_rate);
                let channels = rtpmap.encoding_params.map_or(1, |text| text.parse().unwrap());
                prop_assert_eq!(found.channels, channels);
            }
            let value = |name| theirs.get_first_attribute_value(name).flatten();
            let ptime = value("ptime").map(|text| text.parse().unwrap());
            prop_assert_eq!(media.ptime(), ptime);
            prop_assert_eq!(media.rtcp().map(|(port, _)| port), value("rtcp").map(|text| text.parse().unwrap()));
            prop_assert_eq!(media.rtcp_mux(), theirs.has_attribute("rtcp-mux"));
            let direction = DIRECTIONS
                .into_iter()
                .find(|direction| theirs.has_attribute(direction.name()))
                .unwrap_or_default();
            prop_assert_eq!(media.direction(), direction);
        }
    }
}

fn octets(text: impl ToString) -> Vec<u8> {
    text.to_string().into_bytes()
}

fn rtp_fields() -> impl Strategy<Value = (bool, u8, u16, u32, u32)> {
    (any::<bool>(), 0_u8..128, any::<u16>(), any::<u32>(), any::<u32>())
}

fn sender_info() -> impl Strategy<Value = SenderInfo> {
    any::<(u32, u64, u32, u32, u32)>().prop_map(
        |(ssrc, ntp, rtp_timestamp, packet_count, octet_count)| SenderInfo {
            ssrc: Ssrc(ssrc),
            ntp,
            rtp_timestamp,
            packet_count,
            octet_count,
        },
    )
}

fn block() -> impl Strategy<Value = ReportBlockValues> {
    let lost = -(1 << 23)..1 << 23;
    (any::<(u32, u8, u32, u32, u32, u32)>(), lost).prop_map(
        |((ssrc, fraction_lost, extended_highest_sequence, jitter, lsr, dlsr), cumulative_lost)| {
            ReportBlockValues {
                ssrc: Ssrc(ssrc),
                fraction_lost,
                cumulative_lost,
                extended_highest_sequence,
                jitter,
                lsr,
                dlsr,
            }
        },
    )
}

fn values(block: &ReportBlock) -> ReportBlockValues {
    ReportBlockValues {
        ssrc: block.ssrc(),
        fraction_lost: block.fraction_lost(),
        cumulative_lost: block.cumulative_lost(),
        extended_highest_sequence: block.extended_highest_sequence(),
        jitter: block.jitter(),
        lsr: block.lsr(),
        dlsr: block.dlsr(),
    }
}

/// Theirs has the 24 bits without their sign.
fn block_of_theirs(values: &ReportBlockValues) -> rtcp_types::ReportBlockBuilder {
    rtcp_types::ReportBlock::builder(values.ssrc.0)
        .fraction_lost(values.fraction_lost)
        .cumulative_lost(values.cumulative_lost.cast_unsigned() & 0x00FF_FFFF)
        .extended_sequence_number(values.extended_highest_sequence)
        .interarrival_jitter(values.jitter)
        .last_sender_report_timestamp(values.lsr)
        .delay_since_last_sender_report_timestamp(values.dlsr)
}

fn values_of_theirs(block: &rtcp_types::ReportBlock<'_>) -> ReportBlockValues {
    ReportBlockValues {
        ssrc: Ssrc(block.ssrc()),
        fraction_lost: block.fraction_lost(),
        cumulative_lost: (block.cumulative_lost() << 8).cast_signed() >> 8,
        extended_highest_sequence: block.extended_sequence_number(),
        jitter: block.interarrival_jitter(),
        lsr: block.last_sender_report_timestamp(),
        dlsr: block.delay_since_last_sender_report_timestamp(),
    }
}

fn same_uri(theirs: &rsip::Uri, text: &[u8]) -> Result<(), TestCaseError> {
    let ours = Uri::parse(text);
    let scheme = theirs.scheme.as_ref().map(ToString::to_string).unwrap_or_default();
    prop_assert_eq!(scheme.as_bytes(), ours.scheme);
    prop_assert_eq!(theirs.user().map(str::as_bytes), ours.user);
    prop_assert_eq!(octets(theirs.host()), ours.host);
    prop_assert_eq!(theirs.port().map(|port| *port.value()), ours.port);
    prop_assert_eq!(theirs.params.len(), ours.params().count());
    Ok(())
}

fn sip_uri() -> impl Strategy<Value = String> {
    let user = option::of("[a-zA-Z0-9]{1,12}");
    let params = select(vec!["", ";transport=udp", ";lr", ";transport=tcp;lr"]);
    (user, host_port(), params, any::<bool>()).prop_map(|(user, host, params, secure)| {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("{}:{user}{host}{params}", if secure { "sips" } else { "sip" })
    })
}

fn host_port() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-z][a-z0-9-]{0,8}[a-z]\\.(com|org)",
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
    ];
    (host, option::of(1_u16..)).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn sip_text() -> impl Strategy<Value = String> {
    let method = select(vec!["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "INFO"]);
    let start = (method, sip_uri(), option::of(select(vec![100_u16, 180, 200, 404, 486, 603])));
    let display = option::of("[A-Za-z][A-Za-z0-9 ,;.]{0,12}[a-z]");
    let address = (display, sip_uri(), "[a-z0-9]{1,12}");
    let received = option::of(any::<Ipv4Addr>());
    let via = (select(vec!["UDP", "TCP", "TLS"]), host_port(), "[a-z0-9]{1,12}", received);
    let numbers = (0_u32..1 << 31, 0_u32..256);
    let rest = ("[a-zA-Z0-9-]{1,20}(@[a-z0-9.]{1,10})?", "[ -~\r\n]{0,40}", any::<bool>());
    (start, address, via, numbers, rest).prop_map(|(start, address, via, numbers, rest)| {
        let ((method, uri, code), (display, from, tag)) = (start, address);
        let ((transport, sent_by, branch, received), (cseq, max_forwards)) = (via, numbers);
        let (call_id, body, has_length) = rest;
        let first = match code {
            Some(code) => format!("SIP/2.0 {code} Reason"),
            None => format!("{method} {uri} SIP/2.0"),
        };
        let display = display.map(|name| format!("\"{name}\" ")).unwrap_or_default();
        let received = received.map(|ip| format!(";received={ip}")).unwrap_or_default();
        let length =
            if has_length { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        format!(
            "{first}\r\nVia: SIP/2.0/{transport} {sent_by};branch=z9hG4bK{branch}{received}\r\n\
             Max-Forwards: {max_forwards}\r\nFrom: {display}<{from}>;tag={tag}\r\n\
             To: <{uri}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             X-Own: some value: here\r\nContent-Type: application/sdp\r\n{length}\r\n{body}"
        )
    })
}

const DIRECTIONS: [Direction; 4] =
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), any::<Ipv6Addr>().prop_map(IpAddr::V6),]
}

fn address(connection: &sdp_types::Connection) -> Option<IpAddr> {
    connection.connection_address.split('/').next()?.parse().ok()
}

fn connection() -> impl Strategy<Value = sdp_types::Connection> {
    let name = "[a-z]{1,8}\\.example".prop_map(|name| (sdp_types::AddrType::Ip4, name));
    let number = ip().prop_map(|ip| (sdp_types::AddrType::from(ip), ip.to_string()));
    let ttl = (any::<Ipv4Addr>(), any::<u8>())
        .prop_map(|(ip, ttl)| (sdp_types::AddrType::Ip4, format!("{ip}/{ttl}")));
    prop_oneof![name, number, ttl].prop_map(|(addrtype, connection_address)| {
        sdp_types::Connection { nettype: sdp_types::NetType::In, addrtype, connection_address }
    })
}

fn sdp_media() -> impl Strategy<Value = sdp_types::Media> {
    let line = (
        select(vec!["audio", "video", "image", "text"]),
        any::<u16>(),
        option::of(1_u16..100),
        select(vec!["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "udptl"]),
    );
    let maps = proptest::collection::btree_map(
        0_u8..128,
        ("[A-Za-z][A-Za-z0-9-]{0,10}", 1_u32.., option::of(1_u8..)),
        0..6,
    );
    let attributes = (
        option::of(1_u16..500),
        option::of(any::<u16>()),
        any::<bool>(),
        option::of(select(DIRECTIONS.to_vec())),
    );
    (line, maps, attributes, option::of(connection())).prop_map(
        |((media, port, num_ports, proto), maps, attributes, connection)| {
            let (ptime, rtcp, mux, direction) = attributes;
            let formats: Vec<_> = maps.keys().map(ToString::to_string).collect();
            let fmt = if formats.is_empty() { "t38".to_owned() } else { formats.join(" ") };
            let attribute = |attribute: &str, value: Option<String>| sdp_types::Attribute {
                attribute: attribute.to_owned(),
                value,
            };
            let mut attributes: Vec<_> = maps
                .iter()
                .map(|(payload_type, (name, clock, channels))| {
                    let channels = channels.map(|count| format!("/{count}")).unwrap_or_default();
                    attribute("rtpmap", Some(format!("{payload_type} {name}/{clock}{channels}")))
                })
                .collect();
            attributes.extend(ptime.map(|ms| attribute("ptime", Some(ms.to_string()))));
            attributes.extend(rtcp.map(|port| attribute("rtcp", Some(port.to_string()))));
            attributes.extend(mux.then(|| attribute("rtcp-mux", None)));
            attributes.extend(direction.map(|direction| attribute(direction.name(), None)));
            sdp_types::Media {
                media: media.to_owned(),
                port,
                num_ports,
                proto: proto.to_owned(),
                fmt,
                media_title: None,
                connections: connection.into_iter().collect(),
                bandwidths: Vec::new(),
                key: None,
                attributes,
            }
        },
    )
}

fn sdp_session() -> impl Strategy<Value = sdp_types::Session> {
    let origin = ("[a-z]{1,8}", any::<(u64, u64)>(), ip());
    let rest = ("[a-zA-Z][a-z ]{0,10}[a-z]", option::of(connection()), vec(sdp_media(), 0..4));
    (origin, rest).prop_map(|((username, (id, version), ip), (name, connection, medias))| {
        let mut origin = sdp_types::Origin::with_ip_addr(id, version, ip);
        origin.username = Some(username);
        let mut session = sdp_types::Session::new(origin, name);
        session.times = vec![sdp_types::Time { start_time: 0, stop_time: 0, repeats: Vec::new() }];
        session.connection = connection;
        session.medias = medias;
        session
    })
}
