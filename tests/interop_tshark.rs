//! Wireshark's dissectors read what the running appliance sends and find nothing wrong.
//!
//! Where tshark is not installed, or may not record, this test says so and passes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{net::UdpSocket, thread, time::Duration};

#[path = "live/caller.rs"]
mod caller;
#[path = "live/dissect.rs"]
mod dissect;
mod live;
#[path = "live/recorder.rs"]
mod recorder;
use caller::Caller;
use dissect::{USUAL_FIELDS, WRONG, dissect};
use live::{Appliance, RTP_PORTS, is_installed};
use recorder::Recorder;

#[test]
fn what_we_send_is_well_formed() {
    if !is_installed("tshark", "tshark") || !Recorder::is_possible() {
        return;
    }
    let appliance = Appliance::start();
    let file = appliance.dir().path().join("lo.pcapng");
    let caller = Caller::new(appliance.sip);
    let recorder = Recorder::start(&appliance, &caller, &file);

    for method in ["OPTIONS", "REGISTER", "BYE", "SUBSCRIBE", "NONSENSE"] {
        caller.send(method, method, "");
        caller.receive_until(|answer| answer.header("Call-ID") == Some(method));
    }
    let media = Media::new();
    let port = caller.dial_user("echo", "recorded", media.port()).audio_port();
    media.talk(port);
    appliance.signal("TERM");
    let bye = caller.receive_until(|message| message.0.starts_with("BYE "));
    caller.accept(&bye);
    recorder.stop(&caller);
    let (sip, rtp) = (appliance.sip.port(), appliance.rtp_port);

    let ours = format!(
        "(udp.srcport == {sip} || (udp.srcport >= {rtp} && udp.srcport < {}))",
        rtp + RTP_PORTS
    );
    let count =
        |filter: &str| dissect(&file, rtp, &format!("{ours} && {filter}"), &USUAL_FIELDS).len();
    // The answers above, the dialog's, its media for four seconds, and RTCP, due in this time.
    for (filter, least) in [
        ("sip.Status-Code == 200", 4),
        ("sip.Status-Code >= 400", 3),
        ("sip.Status-Code == 200 && sdp", 1),
        ("sip.Method == \"BYE\"", 1),
        ("rtp && !rtcp", 190),
        ("rtcp.pt == 200 && rtcp.pt == 202 && rtcp.pt == 207", 1),
        ("rtcp.xr.bt == 4 && rtcp.xr.bt == 6 && rtcp.xr.bt == 7", 1),
        ("rtcp.pt == 203", 1),
    ] {
        let found = count(filter);
        assert!(found >= least, "{filter}: {found}");
    }
    let wrong = dissect(&file, rtp, &format!("{ours} && {WRONG}"), &USUAL_FIELDS);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Someone's RTP.
struct Media(UdpSocket);

impl Media {
    /// On an even port, with the odd one above left for RTCP.
    fn new() -> Self {
        Self(UdpSocket::bind(("127.0.0.1", live::free_ports(2))).unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Four seconds of PCMU: within it the first RTCP is due (RFC 3550 section 6.2).
    fn talk(&self, port: u16) {
        for sequence in 0_u16..200 {
            let mut packet = [0xFF; 172];
            packet[..2].copy_from_slice(&[0x80, 0]);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&0x5EED_u32.to_be_bytes());
            self.0.send_to(&packet, ("127.0.0.1", port)).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    }
}
