//! Where finished calls and streams are handed to, one at a time, to be shown at the end.
//!
//! Never holds more of them than it shows: its memory does not grow with the input, unless all
//! rows of the tables are asked for.

mod call_text;
mod drawing;
mod figures;
mod ink;
mod json;
mod lines;
mod printable;
mod rank;
mod spill;
mod table;
mod tables;
mod text;
mod worst;

use std::io::{self, Write};

use self::{ink::Ink, json::Document, text::Text};
use crate::{
    analyze::{Format, Options, summary::Summary},
    control::record::{CallRecord, StreamRecord},
};

/// What will be shown, in its form.
#[derive(Debug)]
pub struct Output(Form);

#[derive(Debug)]
enum Form {
    Json(Document),
    Text(Text),
    Call(Box<OneCall>),
}

/// The call that was asked for.
#[derive(Debug)]
struct OneCall {
    call_id: String,
    format: Format,
    ink: Ink,
    /// The newest of that Call-ID.
    record: Option<CallRecord>,
}

impl Output {
    /// What `options` ask for; text in colours where those are seen.
    #[must_use]
    pub fn new(options: &Options, has_colours: bool) -> Self {
        let ink = Ink(has_colours);
        Self(match (&options.call, options.format) {
            (Some(call_id), format) => {
                let call_id = call_id.clone();
                Form::Call(Box::new(OneCall { call_id, format, ink, record: None }))
            }
            (None, Format::Json) => Form::Json(Document::new(MEMORY)),
            (None, Format::Text) => Form::Text(Text::new(options.limit, ink)),
        })
    }

    /// Takes a call that is over, or still up at the end of the input, with its streams.
    ///
    /// # Errors
    ///
    /// If there is no room for temporary files.
    pub fn call(&mut self, record: &CallRecord) -> io::Result<()> {
        match &mut self.0 {
            Form::Json(document) => document.call(record),
            Form::Text(text) => {
                text.call(record);
                Ok(())
            }
            Form::Call(call) => {
                call.take(record);
                Ok(())
            }
        }
    }

    /// Takes a stream that belongs to no call.
    ///
    /// # Errors
    ///
    /// If there is no room for temporary files.
    pub fn stream(&mut self, record: &StreamRecord) -> io::Result<()> {
        match &mut self.0 {
            Form::Json(document) => document.stream(record),
            Form::Text(text) => {
                text.stream(record);
                Ok(())
            }
            Form::Call(_) => Ok(()),
        }
    }

    /// Whether the call that was asked for has been seen, if one was. Asked once all calls have
    /// been handed in, and before anything is written.
    ///
    /// # Errors
    ///
    /// If it has not.
    pub fn check(&self, summary: &Summary) -> Result<(), CallMissing> {
        match &self.0 {
            Form::Call(call) if call.record.is_none() => Err(call.missing(summary)),
            Form::Call(_) | Form::Json(_) | Form::Text(_) => Ok(()),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// If `to` cannot be written to; [`CallMissing`] as the error's source, and nothing written,
    /// if [`check`](Self::check) fails.
    pub fn finish(self, summary: &Summary, to: &mut dyn Write) -> io::Result<()> {
        match self.0 {
            Form::Json(document) => document.finish(summary, to),
            Form::Text(text) => text.finish(summary, to),
            Form::Call(call) => match (&call.record, call.format) {
                (None, _) => Err(io::Error::new(io::ErrorKind::NotFound, call.missing(summary))),
                (Some(record), Format::Json) => json::write_call(record, summary, to),
                (Some(record), Format::Text) => call_text::write(record, summary, call.ink, to),
            },
        }
    }
}

impl OneCall {
    fn take(&mut self, record: &CallRecord) {
        let is_newest =
            self.record.as_ref().is_none_or(|known| known.start_time <= record.start_time);
        if record.call_id == self.call_id && is_newest {
            self.record = Some(record.clone());
        }
    }

    fn missing(&self, summary: &Summary) -> CallMissing {
        let messages = summary.ladder.as_ref().map_or(0, |ladder| ladder.messages());
        CallMissing { call_id: self.call_id.clone(), messages }
    }
}

/// The call that was asked for is not in the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no call with the Call-ID {call_id:?}; SIP messages with it: {messages}")]
pub struct CallMissing {
    /// Its Call-ID.
    pub call_id: String,
    /// SIP messages with that Call-ID, of which none makes a call.
    pub messages: u64,
}

/// Octets of JSON that each list keeps in memory.
const MEMORY: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        net::{Ipv6Addr, SocketAddr},
    };

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        analyze::{
            FileSummary, Ladder,
            output::printable::width,
            output::table::PAGE,
            samples::{address, at_ms, call, failed, stream},
        },
        control::{record::Integrity, signalling::SipRecord},
        wire::{Datagram, IpMarks, Transport},
    };

    fn options(format: Format, call: Option<&str>, limit: usize) -> Options {
        Options {
            files: Vec::new(),
            format,
            out: None,
            call: call.map(str::to_owned),
            threads: 1,
            limit,
        }
    }

    fn summary() -> Summary {
        Summary {
            files: vec![FileSummary {
                path: "trunk.pcap".to_owned(),
                format: "pcap".to_owned(),
                packets: 4912,
                first_time: Some(at_ms(0)),
                last_time: Some(at_ms(65_000)),
            }],
            packets: 4912,
            bytes: 1_051_168,
            first_time: Some(at_ms(0)),
            last_time: Some(at_ms(65_000)),
            sip: SipRecord {
                messages: 22,
                requests: BTreeMap::from([("ACK", 4), ("BYE", 3), ("INVITE", 4)]),
                responses: BTreeMap::from([(100, 4), (200, 6), (486, 1)]),
                retransmissions: 1,
                ..SipRecord::default()
            },
            ignored: vec![("arp", 12), ("dns", 3)],
            warnings: vec!["trunk.pcap ends within a packet, at octet 1,051,168".to_owned()],
            ladder: None,
        }
    }

    fn text(output: Output, summary: &Summary) -> String {
        let mut text = Vec::new();
        output.finish(summary, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn small(options: &Options) -> Output {
        let mut output = Output::new(options, false);
        let mut suspect = call("3f2a-suspect@192.0.2.1", 3, Some(3.21));
        suspect.integrity = Integrity::Suspect;
        for record in [
            call("3f2a-good@192.0.2.1", 0, Some(4.36)),
            failed("3f2a-busy@192.0.2.1", 2, 486),
            call("3f2a-bad@192.0.2.1", 1, Some(2.1)),
            suspect,
        ] {
            output.call(&record).unwrap();
        }
        output.stream(&stream(0x2A, None)).unwrap();
        output
    }

    fn ladder() -> Ladder {
        let mut ladder = Ladder::new("3f2a@192.0.2.1");
        let sdp = "Content-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 192.0.2.1\r\n\
                   m=audio 4000 RTP/AVP 0 8\r\n";
        let response = |line: &str, method: &str| {
            format!("SIP/2.0 {line}\r\nCall-ID: 3f2a@192.0.2.1\r\nCSeq: 1 {method}\r\n")
        };
        let request = |method: &str| {
            let uri = "sip:echo@192.0.2.2";
            format!("{method} {uri} SIP/2.0\r\nCall-ID: 3f2a@192.0.2.1\r\nCSeq: 1 {method}\r\n")
        };
        let messages = [
            (0, 1, 2, request("INVITE") + sdp),
            (500, 1, 2, request("INVITE") + sdp),
            (512, 2, 3, request("INVITE") + "Max-Forwards: 69\r\n" + sdp),
            (513, 2, 1, response("100 Trying", "INVITE")),
            (560, 3, 2, response("180 Ringing", "INVITE")),
            (561, 2, 1, response("180 Ringing", "INVITE")),
            (750, 3, 1, response("200 OK", "INVITE") + sdp),
            (760, 1, 3, request("ACK")),
            (20_750, 1, 3, request("BYE")),
            (20_752, 3, 1, response("481 Call/Transaction Does Not Exist", "BYE")),
        ];
        for (ms, from, to, text) in messages {
            ladder.observe(&Datagram {
                received_at: at_ms(ms),
                src: address(from),
                dst: address(to),
                transport: Transport::Udp,
                marks: IpMarks::UNKNOWN,
                payload: text.as_bytes(),
            });
        }
        ladder
    }

    #[test]
    fn the_text_is_as_it_was_read_over() {
        let shown = text(small(&options(Format::Text, None, 50)), &summary());
        assert_eq!(shown, include_str!("../../../tests/fixtures/analyze/tables.txt"), "{shown}");
    }

    #[test]
    fn a_call_is_as_it_was_read_over() {
        let mut output = Output::new(&options(Format::Text, Some("3f2a@192.0.2.1"), 50), false);
        output.call(&call("another", 0, Some(4.0))).unwrap();
        output.call(&call("3f2a@192.0.2.1", 0, Some(2.1))).unwrap();
        let shown = text(output, &Summary { ladder: Some(ladder()), ..summary() });
        assert_eq!(shown, include_str!("../../../tests/fixtures/analyze/call.txt"), "{shown}");
    }

    #[test]
    fn a_limit_keeps_the_worst_and_counts_the_rest() {
        let shown = text(small(&options(Format::Text, None, 1)), &summary());
        assert!(shown.starts_with("trunk.pcap: 4 calls, 4 streams, 4,912 packets, "), "{shown}");
        assert!(shown.contains("3f2a-bad") && !shown.contains("3f2a-good"), "{shown}");
        assert_eq!(shown.matches("… and 3 more (--limit 0 shows all)").count(), 2, "{shown}");
        let all = text(small(&options(Format::Text, None, 0)), &summary());
        assert_eq!(all, text(small(&options(Format::Text, None, 50)), &summary()));
    }

    #[test]
    fn json_has_the_keys_of_the_contract() {
        let shown = text(small(&options(Format::Json, None, 1)), &summary());
        let json: Value = serde_json::from_str(&shown).unwrap();
        let top = "files packets bytes first_time last_time calls streams sip ignored warnings";
        has_keys(&json, top);
        has_keys(&json["files"][0], "path format packets first_time last_time");
        has_keys(&json["calls"][0], CALL);
        has_keys(&json["streams"][0], STREAM);
        has_keys(&json["calls"][0]["streams"][0], STREAM);
        has_keys(&json["sip"], SIP);
        assert_eq!(json["ignored"], json!({"arp": 12, "dns": 3}));
        assert_eq!(json["sip"]["responses"], json!({"100": 4, "200": 6, "486": 1}));
        let ids = |list: &str| -> Vec<_> {
            json[list].as_array().unwrap().iter().map(|x| x["call_id"].clone()).collect()
        };
        let (good, busy) = ("3f2a-good@192.0.2.1", "3f2a-busy@192.0.2.1");
        let (bad, suspect) = ("3f2a-bad@192.0.2.1", "3f2a-suspect@192.0.2.1");
        assert_eq!(ids("calls"), [good, busy, bad, suspect]);
        assert_eq!(ids("streams"), [json!(good), json!(bad), json!(suspect), Value::Null]);
    }

    #[test]
    fn json_of_a_call_has_its_timeline_and_ladder() {
        let mut output = Output::new(&options(Format::Json, Some("3f2a@192.0.2.1"), 50), false);
        output.call(&call("3f2a@192.0.2.1", 60, Some(2.1))).unwrap();
        output.call(&call("3f2a@192.0.2.1", 0, Some(4.1))).unwrap();
        let shown = text(output, &Summary { ladder: Some(ladder()), ..summary() });
        let json: Value = serde_json::from_str(&shown).unwrap();
        has_keys(&json, CALL);
        assert_eq!(json["mos_score"], 2.1, "the newest of two calls with one id");
        assert_eq!(json["timeline"].as_array().unwrap().len(), 4);
        assert_eq!(json["ladder_omitted"], 0);
        let row = json!({
            "time": "2026-01-31T12:00:00.500Z", "src": "192.0.2.1:5060", "dst": "192.0.2.2:5060",
            "transport": "udp", "retransmission": true, "delta_ms": 500.0,
            "summary": "INVITE sip:echo@192.0.2.2 (SDP: audio 4000 PCMU/PCMA)",
        });
        assert_eq!(json["ladder"][1], row);
        assert_eq!(json["ladder"][0]["delta_ms"], Value::Null);
    }

    #[test]
    fn a_call_that_is_not_there_is_named_and_nothing_is_written() {
        for format in [Format::Text, Format::Json] {
            let mut output = Output::new(&options(format, Some("3f2a@192.0.2.1"), 50), false);
            output.call(&call("another", 0, None)).unwrap();
            let summary = Summary { ladder: Some(ladder()), ..summary() };
            let missing = output.check(&summary).unwrap_err();
            assert!(missing.to_string().contains("\"3f2a@192.0.2.1\""), "{missing}");
            assert_eq!(missing.messages, 10);
            let mut text = Vec::new();
            let error = output.finish(&summary, &mut text).unwrap_err();
            assert!(error.get_ref().is_some_and(|inner| inner.is::<CallMissing>()));
            assert!(text.is_empty());
        }
        small(&options(Format::Text, None, 1)).check(&summary()).unwrap();
    }

    #[test]
    fn long_json_that_spills_is_the_same() {
        let shown = |memory| {
            let mut document = Document::new(memory);
            for second in 0..100 {
                document.call(&call("a", second, Some(3.0))).unwrap();
                document.stream(&stream(7, None)).unwrap();
            }
            text(Output(Form::Json(document)), &summary())
        };
        assert!(shown(1) == shown(MEMORY));
    }

    #[test]
    fn a_mark_of_colour_is_a_mark_and_no_more() {
        let coloured = |is| {
            let mut output = Output::new(&options(Format::Text, None, 50), is);
            output.call(&call("a", 0, Some(2.1))).unwrap();
            text(output, &summary())
        };
        let plain: String = coloured(true)
            .split('\x1b')
            .enumerate()
            .map(|(at, part)| if at == 0 { part } else { part.split_once('m').unwrap().1 })
            .collect();
        assert!(coloured(true).contains("\x1b[1m\x1b[31m2.10"), "{:?}", coloured(true));
        assert_eq!(plain, coloured(false));
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn whatever_the_network_sends_fits_the_page(
            texts in proptest::array::uniform6(NASTY),
            addresses in proptest::array::uniform2(any::<(u128, u16)>()),
            number in any::<u64>(),
            figure in any::<f64>(),
            ends in 2_u128..7,
        ) {
            let [id, from, to, agent, reason, path] = texts;
            let [src, dst] = addresses
                .map(|(ip, port)| SocketAddr::new(Ipv6Addr::from(ip).into(), port));
            let mut record = call(&id, number % 4_000_000, Some(figure));
            (record.from, record.to, record.user_agent) = (Some(from), Some(to), Some(agent));
            (record.jitter_max_ms, record.duration_seconds) = (Some(figure), figure);
            record.figures.packets_received = Some(number);
            let mut orphan = stream(7, None);
            (orphan.src, orphan.dst) = (src, dst);
            (orphan.packets_received, orphan.packets_lost) = (Some(number), Some(number));
            (orphan.jitter_mean_ms, orphan.max_delta_ms) = (Some(figure), Some(figure));
            let reason: String = reason.chars().filter(|c| !"\r\n".contains(*c)).collect();
            let payload = format!("SIP/2.0 486 {reason}\r\nCall-ID: {id}\r\n\r\n");
            let mut ladder = Ladder::new(&id);
            for end in 1..ends {
                ladder.observe(&Datagram {
                    received_at: at_ms(number % 10_000_000_000),
                    src,
                    dst: SocketAddr::new(Ipv6Addr::from(end).into(), 5060),
                    transport: Transport::Udp,
                    marks: IpMarks::UNKNOWN,
                    payload: payload.as_bytes(),
                });
            }
            let mut whole = summary();
            whole.files[0].path = path.clone();
            whole.warnings = vec![path];
            whole.packets = number;
            whole.ladder = Some(ladder);
            for one in [None, Some(id.as_str())] {
                let mut output = Output::new(&options(Format::Text, one, 50), false);
                output.call(&record).unwrap();
                output.stream(&orphan).unwrap();
                for line in text(output, &whole).lines() {
                    prop_assert!(width(line) <= PAGE, "{}", line);
                    prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
                }
            }
        }
    }

    fn config() -> ProptestConfig {
        ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() }
    }

    /// Any printable text, with controls, an override of direction and a combining mark.
    const NASTY: &str = "[\\PC\\x00-\\x1f\\x7f-\\x9f\u{202e}\u{301}]{0,150}";

    fn has_keys(object: &Value, keys: &str) {
        for key in keys.split_whitespace() {
            assert!(object.get(key).is_some(), "{key} is missing in {object}");
        }
    }

    const CALL: &str = "call_id from to user_agent state status_code ended_by start_time \
        answer_time end_time duration_seconds srd_ms post_dial_delay_ms time_to_100_ms sdd_ms \
        retransmissions q850_cause packets_sent packets_received packets_lost \
        packet_loss_percentage packets_out_of_order packets_duplicate packets_discarded \
        jitter_avg_ms jitter_max_ms latency_avg_ms latency_max_ms rtt_min_ms rtt_max_ms \
        rtt_last_ms rtt_count codec mos_score mos_lq r_factor \
        mos_basis mos_reason quality_rating jitter_buffer integrity streams";

    const SIP: &str = "measured_at messages malformed retransmissions requests responses sessions \
        registrations rrd_ms ira_percentage srd_ms srd_failed_ms sdd_ms sdd_failed_ms sdt_s \
        sdt_failed_s ser_percentage seer_percentage isa_percentage scr_percentage \
        post_dial_delay_ms time_to_100_ms q850_causes user_agents";

    const STREAM: &str = "src dst ssrc payload_type codec clock_rate ptime_ms first_time \
        last_time packets_received packets_expected packets_lost loss_percentage \
        packets_out_of_order packets_duplicate jitter_mean_ms jitter_max_ms jitter_p95_ms \
        max_delta_ms mean_delta_ms burst_ratio burst_density gap_density discard_percentage \
        rtt_ms rtt_min_ms rtt_max_ms rtt_last_ms rtt_count mos_cq mos_lq r_factor mos_basis \
        mos_reason impairments rtcp_bye remote call_id pdv_p50_ms pdv_p95_ms pdv_p99_ms \
        pdv_max_ms skew_ppm jitter_buffer buffers";
}
