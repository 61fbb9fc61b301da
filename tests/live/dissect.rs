//! Wireshark's dissectors on a recording of the appliance: the packets that a display filter lets
//! through.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{path::Path, process::Command};

use crate::live::RTP_PORTS;

/// The packets that a display filter lets through, a line each with the values of these fields.
/// `rtp` is the first of the appliance's ports for RTP, which nothing else in a recording may tell.
pub(crate) fn dissect(file: &Path, rtp: u16, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-Y", filter, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    for port in (rtp..rtp + RTP_PORTS).step_by(2) {
        command.args(["-d", &format!("udp.port=={port},rtp")]);
        command.args(["-d", &format!("udp.port=={},rtcp", port + 1)]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What tells a packet in a message.
pub(crate) const USUAL_FIELDS: [&str; 4] =
    ["frame.number", "udp.srcport", "_ws.col.Info", "_ws.expert.message"];

/// Malformed, or an expert's warning or error.
pub(crate) const WRONG: &str = "(_ws.malformed || _ws.expert.severity >= 6291456)";
