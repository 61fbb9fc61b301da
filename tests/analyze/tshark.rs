//! tshark's tables, `-z rtp,streams` and `-z sip,stat`, as they are printed.
//! Nothing is computed here.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
};

use super::Key;

/// A line of the table of streams.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub key: Key,
    /// Packets, repetitions counted.
    pub packets: i64,
    /// Expected less `packets`: each repetition hides a loss.
    pub lost: i64,
    pub delta_max_ms: f64,
    /// `None` where the clock of the payload type is not known.
    pub jitter_mean_ms: Option<f64>,
    pub jitter_max_ms: Option<f64>,
}

impl Row {
    /// The rows of the table.
    pub fn all(table: &str) -> Vec<Self> {
        table.lines().filter_map(Self::parse).collect()
    }

    /// What the installed tshark says of a capture.
    pub fn of(file: &Path, options: &[&str]) -> Vec<Self> {
        let mut command = Command::new("tshark");
        let output = command.arg("-r").arg(file).args(options).args(["-q", "-z", "rtp,streams"]);
        let output = output.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::all(&String::from_utf8(output.stdout).unwrap())
    }

    /// Times, addresses and SSRC; then names of payload types, any number of words; then figures.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ssrc = u32::from_str_radix(words.get(6)?.strip_prefix("0x")?, 16).ok()?;
        let address = |at: usize| -> SocketAddr {
            let ip: IpAddr = words[at].parse().unwrap();
            SocketAddr::new(ip, words[at + 1].parse().unwrap())
        };
        let figures = words.strip_suffix(&["X"]).unwrap_or(&words);
        let [.., packets, lost, _, _, _, delta_max, jitter_min, jitter_mean, jitter_max] = *figures
        else {
            panic!("{line}")
        };
        let ms = |text: &str| -> f64 { text.parse().unwrap() };
        let jitter = |text| (ms(jitter_min) >= 0.0).then(|| ms(text));
        Some(Self {
            key: (address(2), address(4), ssrc),
            packets: packets.parse().unwrap(),
            lost: lost.parse().unwrap(),
            delta_max_ms: ms(delta_max),
            jitter_mean_ms: jitter(jitter_mean),
            jitter_max_ms: jitter(jitter_max),
        })
    }
}

/// SIP messages by method, and by status code.
pub type SipCounts = [BTreeMap<String, i64>; 2];

/// The counts in the table of SIP.
pub fn sip_counts(table: &str) -> SipCounts {
    let mut counts = SipCounts::default();
    for line in table.lines() {
        let Some((name, count)) =
            line.strip_suffix("Packets").and_then(|line| line.split_once(':'))
        else {
            continue;
        };
        let count = count.trim().parse().unwrap();
        match name.trim().strip_prefix("SIP ") {
            Some(status) => counts[1].insert(status[..3].to_owned(), count),
            None => counts[0].insert(name.trim().to_owned(), count),
        };
    }
    counts
}
