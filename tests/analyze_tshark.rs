//! What tshark says of real captures voxplane says, too; where it does not, a list says why.
//!
//! The captures are not in this repository: the directory that `VOXPLANE_CAPTURES` names holds
//! them with tshark's tables beside each and an index. Where there is none, those tests say so and
//! pass; the rest needs tshark alone.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod analyze;
#[path = "common/generate.rs"]
mod generate;
mod live;
#[path = "common/pcap.rs"]
mod pcap;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use analyze::{
    Answer, captures, integer, streams,
    tshark::{Row, SipCounts, sip_counts},
};
use generate::Generator;
use live::{Scratch, is_installed};
use pcap::{Pcap, ethernet, udp};
use serde_json::Value;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Packets,
    Lost,
    DeltaMax,
    JitterMean,
    JitterMax,
}
use Figure::{DeltaMax, JitterMax, JitterMean, Lost, Packets};

/// Why we say something else than tshark does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// For tshark a packet that comes again is one more packet in time. Here it is counted apart:
    /// it says nothing of when its stream's packets come.
    Repetitions,
    /// For tshark the time stamps of events and comfort noise tell of delay. An event repeats that
    /// of its start, noise comes when it likes: here they give no sample.
    NotPaced,
    /// tshark's mean leaves out marked packets, yet its divisor counts them. In video a marked
    /// packet only ends a frame: here it is like any other.
    MarkedInVideo,
    /// The time stamps begin anew at 0 in the midst of the stream. For tshark all packets from
    /// there on are late and say nothing; here they are measured.
    TimeStampRestart,
    /// The next packet in sequence has a time stamp that is 380 ms earlier: the sender set its
    /// clock back. For tshark that is delay; here it says nothing of the network.
    ClockSet,
    /// By the last offer the port takes T.38, and tshark sees no RTP there any more, yet RTP is
    /// what comes: same SSRC, sequence and time stamps going on.
    TakenForFax,
    /// Bits were flipped on purpose: the first of three packets has another payload type, which
    /// here gives no sample, and the last a time stamp that goes back, which for tshark gives none.
    FlippedBits,
}
use Reason::{
    ClockSet, FlippedBits, MarkedInVideo, NotPaced, Repetitions, TakenForFax, TimeStampRestart,
};

/// Streams of which we say something else: the capture's name, where they come from, SSRC, which
/// figures and why. Each was gone through packet by packet.
const DIFFERENCES: &[(&str, &str, u32, &[Figure], Reason)] = &[
    (IMS_CALL, "10.4.128.21:30634", 0x000E_61F1, JITTER, Repetitions),
    (IMS_CALL, "192.168.101.2:1234", 0x000E_61F1, JITTER, Repetitions),
    (IMS_CALL, "10.4.128.21:30626", 0x0032_68D0, JITTER, Repetitions),
    (IMS_CALL, "192.168.101.3:1242", 0x0032_68D0, JITTER, Repetitions),
    ("volte.pcapng", "10.4.128.21:31226", 0x4B1F_94F8, JITTER, Repetitions),
    ("volte.pcapng", "192.168.101.3:50016", 0x4B1F_94F8, JITTER, Repetitions),
    ("volte.pcapng", "10.4.128.21:31238", 0x862A_84D4, JITTER, Repetitions),
    ("volte.pcapng", "192.168.101.2:50056", 0x862A_84D4, JITTER, Repetitions),
    ("dups.a.rtp", "123.87.99.93:30716", 0xAE9D_D7AF, &[DeltaMax, JitterMax], Repetitions),
    ("ulaw-2013785496.pcap", "10.0.0.51:4000", 0x34D0_1D16, JITTER, NotPaced),
    ("rtp-protocol.pcap", "10.33.6.101:6040", 0x06C1_56FD, &[JitterMean], NotPaced),
    ("rtp-protocol.pcap", "10.33.6.100:6020", 0x44C6_1AFB, &[JitterMean], NotPaced),
    ("video_call.pcapng", "192.168.1.14:9078", 0xD743_377A, &[JitterMean], MarkedInVideo),
    ("video_call.pcapng", "192.168.1.14:7078", 0x82D2_6BEB, JITTER, ClockSet),
    ("h263-over-rtp.pcap", "192.168.6.199:57128", 0x5482_ECE0, &[JitterMean], MarkedInVideo),
    ("sip.cap", "192.168.1.34:5014", 0x4330_6582, &[JitterMean], MarkedInVideo),
    (FAX_CALL, "10.23.1.52:16756", 0x17D9_0134, &[DeltaMax], TimeStampRestart),
    (FAX_CALL, "10.23.1.52:16756", 0x17D9_0134, &[JitterMax], NotPaced),
    (FAX_CALL, "10.35.60.100:15580", 0x0EAF_0EAF, &[Packets], TakenForFax),
    (FUZZED, "192.168.1.2:30000", 0x3796_CB71, JITTER, FlippedBits),
];

const IMS_CALL: &str = "ipsec_to_ipsec_call.pcapng";
const FAX_CALL: &str = "FAX-Call-t38-CA-TDM-SIP-FB-1.pcap";
const FUZZED: &str = "fuzz-2006-06-26-2594.pcap";
const JITTER: &[Figure] = &[JitterMean, JitterMax];

/// Streams of one packet that no signalling announces, which are none here (RFC 3550 appendix
/// A.1): one in a capture made of one packet, the rest by flipped bits of addresses and SSRC.
const OF_ONE_PACKET: usize = 7;

/// Captures of which we count other SIP messages, and why. Each was gone through message by
/// message.
const SIP_DIFFERENCES: &[(&str, SipReason)] = &[
    (FUZZED, SipReason::Malformed),
    ("sip_reqs.pcap", SipReason::Malformed),
    ("sip-body-large.pcap", SipReason::TooLong),
];

#[derive(Clone, Copy, Debug)]
enum SipReason {
    /// tshark does not count what it finds malformed in any detail. Here a message counts whose
    /// first line can be read.
    Malformed,
    /// A message of more than 64 KiB, which is skipped and shows under `ignored`.
    TooLong,
}

/// What is no capture that we read: Microsoft's Network Monitor wrote it.
const NO_CAPTURES: [&str; 1] = ["c07-sip-r2.cap"];

#[test]
fn every_stream_is_as_tshark_has_it() {
    let Some(dir) = captures() else { return };
    let (mut unlisted, mut listed) = (Vec::new(), BTreeSet::new());
    let (mut agreeing, mut of_one_packet) = (0, 0);
    for (name, file) in index(&dir) {
        let (Some(table), Some(found)) = (fullest_table(&file), analyzed(&name, &file)) else {
            continue;
        };
        let mut ours = streams(&found);
        for row in Row::all(&table) {
            let Some(stream) = ours.remove(&row.key) else {
                assert_eq!(row.packets, 1, "{name} has no {row:?}");
                of_one_packet += 1;
                continue;
            };
            let differing = differing(&row, &stream);
            let reasons = (0..).zip(DIFFERENCES).filter(|(_, (capture, src, ssrc, ..))| {
                *capture == name && *ssrc == row.key.2 && *src == row.key.0.to_string()
            });
            let (reasons, figures): (Vec<usize>, Vec<&[Figure]>) =
                reasons.map(|(at, (_, _, _, figures, _))| (at, *figures)).unzip();
            if differing != figures.concat() {
                unlisted.push(format!("{name}: {differing:?}: {row:?} {stream:#}"));
            }
            agreeing += usize::from(differing.is_empty());
            listed.extend(reasons);
        }
        assert!(ours.is_empty(), "{name}: tshark does not have {ours:#?}");
    }
    assert!(unlisted.is_empty(), "{unlisted:#?}");
    let gone: Vec<_> = (0..DIFFERENCES.len()).filter(|at| !listed.contains(at)).collect();
    assert!(gone.is_empty(), "listed and not there (any more): {gone:?}");
    assert_eq!(of_one_packet, OF_ONE_PACKET);
    assert!(agreeing > 3 * DIFFERENCES.len(), "{agreeing}");
}

#[test]
fn every_sip_message_is_as_tshark_has_it() {
    let Some(dir) = captures() else { return };
    let mut differing = BTreeSet::new();
    for (name, file) in index(&dir) {
        let Some(found) = analyzed(&name, &file) else { continue };
        let table = fs::read_to_string(beside(&file, "sip-stat.txt")).unwrap();
        let counts = |kind: &str| {
            let counts = found["sip"][kind].as_object().unwrap().iter();
            counts.map(|(name, count)| (name.clone(), count.as_i64().unwrap())).collect()
        };
        let ours: SipCounts = [counts("requests"), counts("responses")];
        let theirs = sip_counts(&table);
        if ours != theirs {
            differing.insert(name.clone());
            let is_listed = SIP_DIFFERENCES.iter().any(|(listed, _)| *listed == name);
            assert!(is_listed, "{name}: {ours:?} {theirs:?}");
        }
    }
    assert_eq!(differing, SIP_DIFFERENCES.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn every_capture_is_analyzed_the_same_way_by_any_number_of_threads() {
    let Some(dir) = captures() else { return };
    let (mut analyzed, mut refused) = (0, Vec::new());
    for (name, file) in index(&dir) {
        let answer = |format: &str, threads: &str| {
            let file = file.to_str().unwrap();
            Answer::of(&[file, "--format", format, "--threads", threads])
        };
        let one = answer("json", "1");
        assert_eq!(one, answer("json", "3"), "{name}");
        if one.code == Some(0) {
            let warnings = one.found()["warnings"].clone();
            assert_eq!(warnings, Value::Array(Vec::new()), "{name}");
            let text = answer("text", "1");
            assert_eq!((text.code, &*text.stderr), (Some(0), ""), "{name}");
            let is_narrow = text.stdout.lines().all(|line| line.chars().count() <= COLUMNS);
            assert!(is_narrow, "{name}: {}", text.stdout);
            analyzed += 1;
        } else {
            one.assert_refused(1);
            answer("text", "1").assert_refused(1);
            refused.push(name);
        }
    }
    assert_eq!(refused, NO_CAPTURES);
    assert!(analyzed > 90, "{analyzed}");
}

#[test]
fn a_capture_of_our_own_is_as_the_installed_tshark_has_it() {
    if !is_installed("tshark", "tshark") {
        return;
    }
    let scratch = Scratch::new();
    let calls = scratch.path().join("calls.pcap");
    let generator = Generator { calls: 4, seconds: 20, loss: 0.05, seed: 7 };
    generator.write(&mut BufWriter::new(File::create(&calls).unwrap())).unwrap();
    let media = scratch.file("media.pcap", orphans());
    let guessing = ["--enable-heuristic", "rtp_udp"];
    for (file, count, options) in [(calls, 8, &[][..]), (media, 5, &guessing)] {
        let rows = Row::of(&file, options);
        let mut ours = streams(&Answer::json(&file));
        assert_eq!((rows.len(), ours.len()), (count, count), "{rows:#?} {ours:#?}");
        for row in rows {
            let stream = ours.remove(&row.key).unwrap();
            assert!(differing(&row, &stream).is_empty(), "{row:#?} {stream:#}");
        }
    }
}

/// Streams that nobody announces: with a loss, with jitter, over a wrap of the sequence, with
/// silence, and of a payload type whose clock nobody knows.
fn orphans() -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut due = Vec::new();
    for index in 0..500_u32 {
        let is_silent = (200..350).contains(&index);
        for (stream, payload_type) in [(1_u16, 0_u8), (2, 8), (3, 9), (4, 18), (5, 111)] {
            if stream == 1 && index % 37 == 5 || stream == 4 && is_silent {
                continue;
            }
            let delay_us = if stream == 2 { rng.u64(..15_000) } else { rng.u64(..300) };
            let paused = if stream == 4 && index >= 350 { 150 } else { 0 };
            let first: u16 = if stream == 3 { 65_400 } else { 1000 * stream };
            let sequence = first.wrapping_add(u16::try_from(index - paused).unwrap());
            let marker = if index == 0 || index - paused == 200 && paused > 0 { 0x80 } else { 0 };
            let mut rtp = vec![0x80, marker | payload_type];
            rtp.extend(sequence.to_be_bytes());
            rtp.extend((index * 160).to_be_bytes());
            rtp.extend((0x0BAD_0000 + u32::from(stream)).to_be_bytes());
            rtp.extend([0xD5; 80]);
            let (src, dst) = (format!("192.0.2.{stream}:4000"), "198.51.100.1:5000");
            let at_us = u64::from(index) * 20_000 + u64::from(stream) * 100 + delay_us;
            due.push((at_us, ethernet(&udp(&src, dst, &rtp))));
        }
    }
    due.sort();
    let mut pcap = Pcap::new(1);
    for (at_us, frame) in due {
        pcap.packet((1_700_000_000_000_000 + at_us) * 1000, &frame);
    }
    pcap.bytes
}

/// The captures that the index names: their file names and paths.
fn index(dir: &Path) -> Vec<(String, PathBuf)> {
    let index = fs::read_to_string(dir.join("INDEX.tsv")).unwrap();
    let paths = index.lines().skip(1).map(|line| dir.join(line.split('\t').next().unwrap()));
    paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// What was found in a capture, or `None` if it is none.
fn analyzed(name: &str, file: &Path) -> Option<Value> {
    (!NO_CAPTURES.contains(&name)).then(|| Answer::json(file))
}

/// A file beside a capture.
fn beside(file: &Path, name: &str) -> PathBuf {
    let capture = file.file_name().unwrap().to_str().unwrap();
    file.with_file_name(format!("{capture}.{name}"))
}

/// tshark's table of streams: with what its heuristics find, or what it was told to take for RTP,
/// or else what signalling announces.
fn fullest_table(file: &Path) -> Option<String> {
    let names = ["rtp-streams.heur.txt", "rtp-streams.decode-as.txt", "rtp-streams.txt"];
    names.iter().find_map(|name| fs::read_to_string(beside(file, name)).ok())
}

/// The figures in which a stream is another than tshark has it.
fn differing(row: &Row, stream: &Value) -> Vec<Figure> {
    let repeated = integer(stream, "packets_duplicate");
    let packets = integer(stream, "packets_received") + repeated;
    let lost = integer(stream, "packets_lost") - repeated;
    let is_near = |theirs: Option<f64>, ours: &str| match (theirs, stream[ours].as_f64()) {
        (Some(theirs), Some(ours)) => (theirs - ours).abs() <= (theirs * 0.01).max(0.01),
        (theirs, ours) => theirs.is_none() && ours.is_none(),
    };
    let delta_max = (row.packets > 1).then_some(row.delta_max_ms);
    let agrees = BTreeMap::from([
        (Packets, row.packets == packets),
        (Lost, row.lost == lost),
        (DeltaMax, is_near(delta_max, "max_delta_ms")),
        (JitterMean, is_near(row.jitter_mean_ms, "jitter_mean_ms")),
        (JitterMax, is_near(row.jitter_max_ms, "jitter_max_ms")),
    ]);
    agrees.into_iter().filter_map(|(figure, agrees)| (!agrees).then_some(figure)).collect()
}

/// What text is drawn for.
const COLUMNS: usize = 100;
