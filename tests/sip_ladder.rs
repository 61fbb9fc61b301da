//! The ladder of a call: what passed is shown while the call is up, when it is over, and after a
//! restart, without its secrets; nothing is kept where that is not wanted.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod live;

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use live::{Appliance, Refusal};
use serde_json::{Value, json};

/// A phone that speaks one text at a time.
struct Phone {
    socket: UdpSocket,
    to: SocketAddr,
    tag: String,
}

impl Phone {
    fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, to, tag: String::new() }
    }

    fn send(&self, method: &str, cseq: u32, more: &str, body: &str) {
        let (local, to) = (self.socket.local_addr().unwrap(), self.to);
        let text = format!(
            "{method} sip:sink:{SECRET}@{to} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bK-{method}-{cseq}\r\n\
             From: <sip:caller@{local}>;tag=f\r\nTo: <sip:sink@{to}>{}\r\n\
             Call-ID: ladder\r\nCSeq: {cseq} {method}\r\nContact: <sip:caller@{local}>\r\n\
             Max-Forwards: 70\r\n{more}Content-Length: {}\r\n\r\n{body}",
            self.tag,
            body.len()
        );
        self.socket.send_to(text.as_bytes(), to).unwrap();
    }

    /// Waits for a 200.
    fn ok(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            let length = self.socket.recv(&mut bytes).unwrap();
            let text = core::str::from_utf8(&bytes[..length]).unwrap();
            if text.starts_with("SIP/2.0 200") {
                let to = text.lines().find(|line| line.starts_with("To: ")).unwrap();
                self.tag = format!(";tag={}", to.rsplit_once(";tag=").unwrap().1);
                return;
            }
        }
    }

    fn invite(&self) {
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio 40000 RTP/AVP 0\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{SECRET}|2^20\r\n"
        );
        let credentials = format!(
            "Authorization: Digest username=\"caller\", realm=\"r\", response=\"{SECRET}\"\r\n\
             Content-Type: application/sdp\r\n"
        );
        self.send("INVITE", 1, &credentials, &offer);
    }
}

/// What a ladder's rows say.
fn said(call: &Value) -> Vec<String> {
    let rows = call["ladder"].as_array().unwrap().iter();
    rows.map(|row| {
        let again = if row["retransmission"] == true { " again" } else { "" };
        let summary = row["summary"].as_str().unwrap().replace(" (SDP: audio", "\n(SDP: audio");
        summary.lines().next().unwrap().split(" sip:").next().unwrap().to_owned() + again
    })
    .collect()
}

#[test]
fn a_call_shows_its_messages_while_it_is_up_and_ever_after() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--shards", "2", "--data", data.path().to_str().unwrap()];
    let appliance = Appliance::with("", &flags);
    let mut phone = Phone::new(appliance.sip);
    phone.invite();
    phone.ok();
    phone.send("ACK", 1, "", "");
    appliance.wait_for("/api/qos/metrics", |metrics| metrics["active_calls"] == 1);
    let path = "/api/qos/call/ladder";
    let rows = |count: usize| {
        move |call: &Value| call["ladder"].as_array().is_some_and(|rows| rows.len() == count)
    };
    let call = appliance.wait_for(path, rows(5));
    assert_eq!(call["state"], "active");
    let set_up = ["INVITE", "100 Trying (INVITE)", "180 Ringing (INVITE)", "200 OK (INVITE,"];
    let shown = said(&call);
    assert!(
        shown.iter().zip(set_up).all(|(row, wanted)| wanted.starts_with(row.as_str())
            || row.starts_with(wanted.trim_end_matches(','))),
        "{shown:?}"
    );
    assert_eq!(shown[4], "ACK");
    let first = &call["ladder"][0];
    assert_eq!(first["src"], json!(phone.socket.local_addr().unwrap().to_string()));
    assert_eq!(first["dst"], json!(appliance.sip.to_string()));
    assert_eq!((&first["transport"], &first["delta_ms"]), (&json!("udp"), &Value::Null));
    assert!(call["ladder"][1]["delta_ms"].as_f64().unwrap() >= 0.0);
    assert!(call["ladder"].as_array().unwrap().iter().all(|row| row.get("raw").is_none()));

    phone.send("BYE", 2, "Reason: Q.850;cause=16\r\n", "");
    phone.ok();
    phone.send("BYE", 2, "Reason: Q.850;cause=16\r\n", "");
    let over = appliance.wait_for(path, |call| call["state"] == "ended" && rows(9)(call));
    let end = ["BYE", "200 OK (BYE)", "BYE again", "200 OK (BYE) again"];
    assert_eq!(said(&over)[5..], end);
    assert_eq!(over["retransmissions"], 2);
    assert_eq!((&over["q850_cause"], &over["ladder_omitted"]), (&json!(16), &json!(0)));
    let raw = appliance.json("/api/qos/call/ladder?raw=1");
    let text = raw["ladder"][0]["raw"].as_str().unwrap();
    assert!(text.starts_with("INVITE sip:sink:***@127.0.0.1") && text.contains("inline:***|2^20"));
    assert!(text.contains("username=\"caller\"") && text.contains("response=***"), "{text}");
    assert!(!raw.to_string().contains(SECRET) && !over.to_string().contains(SECRET));
    assert_eq!(appliance.get("/api/qos/call/ladder?raw=yes").status, 400);
    // Lists have no ladders.
    assert!(appliance.history(1)[0].get("ladder").is_none());
    drop(appliance);

    let again = Appliance::with("", &flags);
    let kept = again.json(path);
    assert_eq!(kept["ladder"], over["ladder"]);
    assert!(kept["ladder"].as_array().unwrap().iter().all(|row| row.get("raw").is_none()));
    let kept = again.json("/api/qos/call/ladder?raw=1");
    assert_eq!(kept["ladder"], raw["ladder"]);
    drop(again);
    let stored = std::fs::read(data.path().join("history.db")).unwrap();
    let finder = SECRET.as_bytes();
    assert!(!stored.windows(finder.len()).any(|part| part == finder));
}

#[test]
fn where_no_messages_are_wanted_there_are_none() {
    let appliance = Appliance::with("[ladder]\nmemory_mib = 0\n", &["--shards", "1"]);
    let mut phone = Phone::new(appliance.sip);
    phone.invite();
    phone.ok();
    phone.send("ACK", 1, "", "");
    phone.send("BYE", 2, "", "");
    phone.ok();
    appliance.history(1);
    let call = appliance.wait_for("/api/qos/call/ladder?raw=1", |call| call["state"] == "ended");
    assert_eq!((&call["ladder"], &call["ladder_omitted"]), (&json!([]), &json!(0)));
    // What is measured is measured all the same.
    assert!(call["sdd_ms"].is_number() && call["srd_ms"].is_number(), "{call:#}");
    let sip = appliance.wait_for("/api/qos/sip", |sip| sip["sessions"]["completed"] == 1);
    assert_eq!((&sip["measured_at"], &sip["requests"]["INVITE"]), (&json!("callee"), &json!(1)));
    assert_eq!(sip["registrar"]["active"], json!(0));
    assert_eq!((&sip["ser_percentage"], &sip["scr_percentage"]), (&json!(100.0), &json!(100.0)));
    let metrics = appliance.get("/metrics").body;
    for line in [
        "voxplane_sip_requests_total{method=\"INVITE\"} 1",
        "voxplane_sip_sessions_total{outcome=\"answered\"} 1",
        "voxplane_sip_srd_seconds_count 1",
        "voxplane_sip_hangups_total{by=\"caller\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn settings_of_ladders_are_checked() {
    let wrong = [
        ("memory_mib = 20000", "ladder.memory_mib: 20000 is not from 0"),
        ("call_kib = 1", "ladder.call_kib: 1 is not from 2"),
        ("calls = 1", "unknown field `calls`"),
    ];
    for (line, complaint) in wrong {
        Refusal::of_run(&format!("[ladder]\n{line}\n"), &[]).assert(2, &[complaint]);
    }
}

const SECRET: &str = "c0ffee-is-a-secret";
