//! The program as its user meets it: what it says, what it refuses, how it stops.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

#[path = "live/caller.rs"]
mod caller;
mod live;
use caller::Caller;
use live::{Appliance, RTP_PORTS, Refusal, Scratch, VOXPLANE, free_ports, get, wait};

const CALLS: usize = 20;

#[test]
fn a_signal_hangs_up_under_load_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let appliance = Appliance::start();
        let caller = Caller::new(appliance.sip);
        let calls: Vec<_> = (0..CALLS).map(|n| format!("{signal}-{n}")).collect();
        let ports: Vec<_> = calls.iter().map(|call| caller.dial(call, 9).audio_port()).collect();
        let load = Load::on(ports);
        appliance.wait_for("/api/qos/metrics", |metrics| metrics["active_calls"] == CALLS);
        appliance.signal(signal);
        let mut left = calls;
        while !left.is_empty() {
            let bye = caller.receive_until(|message| message.0.starts_with("BYE sip:caller@"));
            caller.accept(&bye);
            left.retain(|call| Some(call.as_str()) != bye.header("Call-ID"));
        }
        let (status, log) = appliance.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(load.end() > 0);
        assert!(!log.contains('\u{1b}'), "no colours for who is no terminal: {log}");
    }
}

#[test]
fn who_does_not_answer_a_bye_does_not_keep_it_and_no_call_is_taken_meanwhile() {
    let appliance = Appliance::start();
    let caller = Caller::new(appliance.sip);
    caller.dial("silent", 9);
    appliance.signal("TERM");
    caller.receive_until(|message| message.0.starts_with("BYE "));
    // Whichever shard a call is for: none is gone before all are done.
    for late in (0..10).map(|n| format!("late-{n}")) {
        caller.invite(&late, 9);
        let refusal = caller.receive_until(|message| message.header("Call-ID") == Some(&*late));
        assert!(refusal.0.starts_with("SIP/2.0 503"), "{refusal:?}");
    }
    caller.receive_until(|message| message.0.starts_with("BYE "));
    let (status, log) = appliance.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_ringing_call_is_refused_at_the_end() {
    let appliance = Appliance::with("answer_delay_ms = 60000", &[]);
    let caller = Caller::new(appliance.sip);
    caller.invite("ringing", 9);
    caller.receive_until(|message| message.0.starts_with("SIP/2.0 180"));
    appliance.signal("TERM");
    let refusal = caller.receive_until(|message| message.0.starts_with("SIP/2.0 503"));
    caller.send("ACK", "ringing", refusal.to_tag());
    let (status, log) = appliance.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn it_goes_on_when_nobody_reads_what_it_says() {
    // A shell that ends at once leaves both outputs without a reader.
    let dir = Scratch::new();
    let (sip, rtp) = (free_ports(2), free_ports(RTP_PORTS));
    let mut command = Command::new(VOXPLANE);
    command.args(["run", "--shards", "1", "--http", "127.0.0.1:0"]);
    command.args(["--sip", &format!("127.0.0.1:{sip}")]);
    command.args(["--rtp-ports", &format!("{rtp}-{}", rtp + 1)]);
    command.arg("--data").arg(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let address = ([127, 0, 0, 1], sip).into();
    let caller = live::eventually(Duration::from_secs(10), || {
        let caller = Caller::new(address);
        caller.send("OPTIONS", "are-you-there", "");
        caller.receive().map(|_| caller)
    });
    let caller = caller.expect("it answers");
    caller.dial("unread", 9);
    live::signal(child.id(), "TERM");
    let bye = caller.receive_until(|message| message.0.starts_with("BYE "));
    caller.accept(&bye);
    assert_eq!(wait(&mut child, live::STOP_MAX).and_then(|status| status.code()), Some(0));
}

#[test]
fn the_greeting_is_true() {
    let appliance = Appliance::start();
    let greeting = &appliance.greeting;
    assert!(greeting.starts_with(&format!("voxplane {}, 2 shards\n", env!("CARGO_PKG_VERSION"))));
    let health = appliance.wait_for("/healthz", |health| health["shards"][1].is_object());
    assert_eq!((&health["status"], &health["shards"][2]), (&"ok".into(), &().into()));
    assert!(greeting.contains(&format!("sip:echo@{}", appliance.sip)), "{greeting}");
    let curl = format!("curl http://{}/api/qos/metrics\n", appliance.http);
    assert!(greeting.ends_with(&curl), "{greeting}");

    let rtp = appliance.rtp_port..appliance.rtp_port + RTP_PORTS;
    let range = format!("RTP   {}-{}\n", rtp.start, rtp.end - 1);
    assert!(greeting.contains(&range), "{greeting}");
    assert!(rtp.clone().all(|port| UdpSocket::bind(("127.0.0.1", port)).is_err()));
    let port = Caller::new(appliance.sip).dial("greeted", 9).audio_port();
    assert!(rtp.contains(&port) && port.is_multiple_of(2), "{port}");
}

#[test]
fn a_wildcard_is_greeted_with_an_address_that_can_be_called() {
    for (any, loopback) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "[::1]")] {
        let appliance = Appliance::with("", &["--sip", any]);
        let target = format!("sip:echo@{loopback}:{} ", appliance.sip.port());
        assert!(appliance.greeting.contains(&target), "{}", appliance.greeting);
    }
}

#[test]
fn a_taken_port_is_named() {
    let first = Appliance::start();
    let sip = first.sip.to_string();
    let rtp = free_ports(RTP_PORTS);
    let range = format!("{rtp}-{}", rtp + 15);
    let flags = ["--sip", sip.as_str(), "--rtp-ports", &range];
    let in_use = "Address already in use";
    Refusal::of_run("", &flags).assert(1, &["SIP cannot listen on", &sip, in_use]);

    let taken = UdpSocket::bind(("127.0.0.1", rtp + 5)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refusal = Refusal::of_run("", &["--rtp-ports", &range]);
    refusal.assert(1, &["RTP cannot listen on", &address, in_use]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refusal = Refusal::of_run("", &["--http", &address]);
    refusal.assert(1, &["HTTP cannot listen on", &address, in_use]);

    let refusal = Refusal::of_run("", &["--sip", "192.0.2.1:5060"]);
    refusal.assert(1, &["SIP cannot listen on 192.0.2.1:5060", "no address of this host"]);
}

#[test]
fn a_configuration_that_is_not_ours_is_named() {
    for (config, words) in [
        ("shards = 2\ncolour = 'red'", ["line 2", "unknown field `colour`"]),
        ("\n\nshards = 'two'", ["line 3, shards: ", "expected u16"]),
        ("sip = 'nonsense'", ["line 1, sip: ", "invalid socket address"]),
        ("shards = 2\nrtp_ports = 7", ["line 2, rtp_ports: ", "expected a string"]),
        ("rtp_ports = '7-3'", ["line 1, rtp_ports: ", "7 is above 3"]),
        ("shards = 1\nshards = 2", ["line 2, shards: ", "duplicate key"]),
        ("shards", ["voxplane.toml, line 1", ""]),
        ("answer_delay_ms = 999999999", ["answer_delay_ms: 999999999", "0 to 180000"]),
        ("idle_timeout_s = 0", ["idle_timeout_s: 0", "1 to 86400"]),
        ("[scoring]\nmos_modell = 'e'", ["line 2, mos_modell: ", "unknown field"]),
        ("[store]\nretention = 7", ["line 2, retention: ", "unknown field"]),
        ("[store]\ncalls_max = 7", ["store.calls_max: 7", "1000 to 50000000"]),
        ("[scoring.codec.opuss]\nie = 1", ["scoring.codec.opuss", "no codec has this name"]),
    ] {
        Refusal::of_run(config, &[]).assert(2, &words);
    }
    let dir = Scratch::new();
    let missing = dir.path().join("missing.toml").display().to_string();
    let latin1 = dir.file("latin1.toml", b"data = 'caf\xe9'").display().to_string();
    for (file, why) in [(missing, "No such file"), (latin1, "UTF-8")] {
        Refusal::of_run("", &["--config", &file]).assert(2, &[&file, why]);
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let dir = Scratch::new();
    let file = dir.file("taken", "").display().to_string();
    for (path, why) in [
        (file.as_str(), "not a directory"),
        (&format!("{file}/below"), "Not a directory"),
        ("/proc/voxplane", "No such file"),
        ("/proc/1/fdinfo", "cannot be used"),
    ] {
        Refusal::of_run("", &["--data", path]).assert(1, &[&format!("data directory {path}"), why]);
    }
}

#[test]
fn too_little_lockable_memory_is_named_with_the_remedy() {
    let run = format!("ulimit -l 256; exec '{VOXPLANE}' run");
    let refusal = Refusal::of(Command::new("bash").args(["-c", &run]));
    refusal.assert(1, &["256 KiB", "ulimit -l 512", "LimitMEMLOCK"]);
}

/// What container runtimes do by default, done by a filter of system calls around this one
/// process. Perl is in every Debian and can call the system directly.
#[test]
fn a_forbidden_io_uring_is_named_with_the_remedy() {
    let prctl = match std::env::consts::ARCH {
        "x86_64" => 157,
        "aarch64" => 167,
        arch => return live::skip(&format!("the number of prctl on {arch} is not known here")),
    };
    if !live::is_installed("perl", "perl-base") {
        return;
    }
    let script = format!(
        "my $filter = pack('(SCCL)*', 0x20,0,0,0, 0x15,0,1,425, 6,0,0,0x50001, 6,0,0,0x7fff0000); \
         my $program = pack('S x![P] P', 4, $filter); \
         syscall({prctl}, 38, 1, 0, 0, 0) == 0 or die $!; \
         syscall({prctl}, 22, 2, $program) == 0 or die $!; \
         exec @ARGV or die $!;"
    );
    let refusal = Refusal::of(Command::new("perl").args(["-e", &script, VOXPLANE, "run"]));
    refusal.assert(1, &["io_uring", "Operation not permitted", "io_uring_disabled", "seccomp"]);
}

#[test]
fn an_exposed_api_needs_a_token_and_asks_for_it() {
    let refusal = Refusal::of_run("", &["--http", "0.0.0.0:0"]);
    refusal.assert(2, &["0.0.0.0:0 is not a loopback address", "api_token_file"]);

    let dir = Scratch::new();
    let empty = dir.file("empty", "\n").display().to_string();
    let missing = dir.path().join("missing").display().to_string();
    for (file, why) in [(empty, "visible ASCII"), (missing, "No such file")] {
        let refusal = Refusal::of_run("", &["--api-token-file", &file]);
        refusal.assert(1, &["API token file", &file, why]);
    }

    let file = dir.file("token", "s3cret\n").display().to_string();
    let appliance = Appliance::with("", &["--http", "0.0.0.0:0", "--api-token-file", &file]);
    let server = ([127, 0, 0, 1], appliance.http.port()).into();
    let status = |path, headers: &str| get(server, path, headers).status;
    assert_eq!(status("/healthz", ""), 200);
    assert_eq!(status("/api/qos/metrics", ""), 401);
    assert_eq!(status("/metrics", "Authorization: Bearer other\r\n"), 401);
    assert_eq!(status("/api/qos/metrics", "Authorization: Bearer s3cret\r\n"), 200);
    let curl = format!(
        "then  curl -H \"Authorization: Bearer $(cat '{file}')\" http://{server}/api/qos/metrics\n"
    );
    assert!(appliance.greeting.ends_with(&curl), "{}", appliance.greeting);
}

#[test]
fn bad_usage_ends_with_2_and_help_has_every_flag() {
    let run = |arguments: &[&str]| Refusal::of(Command::new(VOXPLANE).args(arguments));
    for (arguments, named) in [
        (&[][..], "Usage"),
        (&["walk"], "walk"),
        (&["run", "--colour"], "--colour"),
        (&["run", "--shards", "many"], "--shards"),
        (&["run", "--rtp-ports", "7-3"], "7 is above 3"),
        (&["run", "--sip", "localhost"], "--sip"),
        (&["run", "--shards", "0"], "shards: 0"),
    ] {
        let refusal = run(arguments);
        assert_eq!((refusal.code, refusal.stdout.as_str()), (Some(2), ""), "{refusal:?}");
        assert!(refusal.stderr.contains(named), "{refusal:?}");
    }
    let help = run(&["run", "--help"]);
    assert_eq!(help.code, Some(0));
    for flag in ["config", "shards", "sip", "rtp-ports", "http", "data", "api-token-file"] {
        assert!(help.stdout.contains(&format!("--{flag} <")), "{flag}: {}", help.stdout);
    }
    assert!(run(&["--help"]).stdout.contains("\n  run "));
    assert_eq!(run(&["--version"]).stdout, format!("voxplane {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_key_of_the_example_configuration_has_its_default() {
    let example = fs::read_to_string("deploy/voxplane.toml").unwrap();
    let settings: String = example
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
        .map(|line| format!("{line}\n"))
        .collect();
    let raw: voxplane::config::RawConfig = toml::from_str(&settings).unwrap();
    let default = voxplane::config::RawConfig::default().complete().unwrap();
    // These have no default: what stands there is an example.
    let assumed_one_way_delay_ms = raw.scoring.as_ref().unwrap().assumed_one_way_delay_ms;
    let sip_tls = voxplane::config::SipTls {
        address: raw.sip_tls.unwrap(),
        identity: voxplane::config::TlsIdentity::Files {
            certificate: raw.tls_certificate.clone().unwrap(),
            key: raw.tls_key.clone().unwrap(),
        },
    };
    let example = voxplane::config::Config {
        shards: raw.shards,
        sip_tls: Some(sip_tls),
        advertise: raw.advertise,
        api_token_file: raw.api_token_file.clone(),
        scoring: voxplane::quality::score::Scoring {
            assumed_one_way_delay_ms,
            ..default.scoring.clone()
        },
        ..default
    };
    assert!(format!("{raw:?}").matches("None").count() == 0, "a key is missing: {raw:?}");
    assert_eq!(raw.complete().unwrap(), example);
}

/// RTP to the ports of calls, 50 packets a second each, until it is told to end.
struct Load {
    goes_on: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Load {
    fn on(ports: Vec<u16>) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let more = Arc::clone(&goes_on);
        let thread = thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut sent = 0_u16;
            while more.load(Ordering::Relaxed) {
                for &port in &ports {
                    let mut packet = [0xFF; 172];
                    packet[..2].copy_from_slice(&[0x80, 0]);
                    packet[2..4].copy_from_slice(&sent.to_be_bytes());
                    packet[4..8].copy_from_slice(&(u32::from(sent) * 160).to_be_bytes());
                    packet[8..12].copy_from_slice(&u32::from(port).to_be_bytes());
                    socket.send_to(&packet, ("127.0.0.1", port)).unwrap();
                }
                sent = sent.wrapping_add(1);
                thread::sleep(Duration::from_millis(20));
            }
            usize::from(sent)
        });
        Self { goes_on, thread }
    }

    /// Ends it; says how many packets each port had.
    fn end(self) -> usize {
        self.goes_on.store(false, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
