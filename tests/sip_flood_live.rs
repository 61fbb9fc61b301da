//! A flood of SIP on the running appliance: 100,000 INVITEs a second, from one address or from
//! many, while SIPp calls from another. It wants the whole machine and is asked for by name:
//!
//! `cargo test --release --test sip_flood_live -- --ignored --nocapture`
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "its figures are what it is run for")]
#![expect(clippy::disallowed_methods, reason = "the programs under test run in real time")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

mod live;
use live::{Appliance, is_installed};

#[test]
#[ignore = "half a minute of the whole machine: see above"]
fn calls_from_elsewhere_get_through_a_flood_of_one_source() {
    flooded(&[Ipv4Addr::new(127, 0, 0, 2)]);
}

#[test]
#[ignore = "half a minute of the whole machine: see above"]
fn calls_from_elsewhere_get_through_a_flood_of_many_sources() {
    let sources: Vec<_> = (1..=250).map(|n| Ipv4Addr::new(127, 7, n, 9)).collect();
    flooded(&sources);
}

/// Floods from these addresses while SIPp calls from 127.0.0.1, which called once before.
fn flooded(sources: &[Ipv4Addr]) {
    if !is_installed("sipp", "sip-tester") {
        return;
    }
    let appliance = Appliance::start();
    sipp(&appliance, 20);
    let before = resident_kib(appliance.pid());
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| flood(appliance.sip, sources, &stop, &sent));
        sipp(&appliance, CALLS);
        stop.store(true, Relaxed);
    });
    let (took, sent) = (begin.elapsed().as_secs_f64(), sent.load(Relaxed));
    let health = appliance.wait_for("/healthz", |health| health["shed"].as_u64() > Some(0));
    let sum = |key: &str| -> u64 {
        let shards = health["shards"].as_array().unwrap();
        shards.iter().filter_map(|shard| shard[key].as_u64()).sum()
    };
    let after = resident_kib(appliance.pid());
    println!(
        "{} sources, {sent} INVITEs in {took:.1} s, {:.0} a second: {} shed before they were read, \
         {} lost by the kernel, {} calls refused; {CALLS} SIPp calls, all answered; resident \
         {before} KiB before and {after} KiB after",
        sources.len(),
        rate(sent, took),
        health["shed"],
        sum("socket_overflow"),
        sum("calls_refused"),
    );
    assert!(after < before + GROWTH_MAX_KIB, "{before} KiB, then {after}");
    let metrics = appliance.get("/metrics").body;
    assert!(metrics.contains("voxplane_sip_shed_total"), "{metrics}");
}

/// Sends INVITEs that nobody will ever acknowledge until told to stop, as many as is asked for or
/// as the machine can.
fn flood(to: SocketAddr, sources: &[Ipv4Addr], stop: &AtomicBool, sent: &AtomicU64) {
    let sockets: Vec<_> =
        sources.iter().map(|&source| UdpSocket::bind((source, 0)).unwrap()).collect();
    let (begin, mut count) = (Instant::now(), 0_u64);
    while !stop.load(Relaxed) {
        for socket in sockets.iter().cycle().take(PIECE) {
            let from = socket.local_addr().unwrap();
            let invite = format!(
                "INVITE sip:x@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{count}\r\n\
                 From: <sip:f@{from}>;tag={count}\r\nTo: <sip:x@{to}>\r\nCall-ID: f{count}\r\n\
                 CSeq: 1 INVITE\r\nContact: <sip:f@{from}>\r\nMax-Forwards: 70\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            // A full buffer is what a flood is for.
            let _ = socket.send_to(invite.as_bytes(), to);
            count += 1;
        }
        sent.store(count, Relaxed);
        let due = Duration::from_nanos(count * (1_000_000_000 / PER_SECOND));
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
}

/// Has SIPp make so many calls; all must succeed.
fn sipp(appliance: &Appliance, calls: u32) {
    let output = Command::new("sipp")
        .args(["-sn", "uac", &appliance.sip.to_string(), "-i", "127.0.0.1", "-nostdin"])
        .args(["-r", "50", "-m", &calls.to_string()])
        .args(["-timeout", "60s", "-timeout_error"])
        .current_dir(appliance.dir().path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", &text[text.len().saturating_sub(3000)..]);
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn rate(count: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = count as f64;
    count / seconds
}

/// INVITEs of the flood.
const PER_SECOND: u64 = 100_000;

/// Of them at once, between looks at the clock.
const PIECE: usize = 100;

/// Calls of SIPp, 50 a second.
const CALLS: u32 = 500;

/// The 25,000 calls that strangers may have open on two shards take some 10 KiB each, with what is
/// kept of them once they have failed.
const GROWTH_MAX_KIB: u64 = 400 << 10;
