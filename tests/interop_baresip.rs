//! baresip, a softphone, calls the running appliance and hears itself, a tone and a recording.
//!
//! Where baresip is not installed this test says so and passes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    f64::consts::TAU,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

#[path = "live/caller.rs"]
mod caller;
#[path = "live/dissect.rs"]
mod dissect;
mod live;
#[path = "live/recorder.rs"]
mod recorder;
use caller::Caller;
use dissect::{USUAL_FIELDS, WRONG, dissect};
use live::{Appliance, Scratch, free_ports, is_installed, wait};
use recorder::Recorder;

#[test]
fn a_phone_hears_its_own_voice_and_both_directions_are_scored() {
    let Some(modules) = find() else { return };
    let appliance = Appliance::start();
    let dir = Scratch::new();
    configure(&dir, modules);
    let recording = Recording::start(&appliance);
    let screen = call(&dir, &format!("sip:echo@{}", appliance.sip));

    // What baresip says: packets it sent and had back, and lost by our reports and by its count.
    let [sent, heard] = counts(&screen, "packets:");
    assert!(sent > 350 && heard + 3 >= sent, "{screen}");
    assert_eq!(counts(&screen, "lost:"), [0, 0], "{screen}");
    assert!(counts(&screen, "pkt.report:").iter().all(|&reported| reported > 0), "{screen}");
    let pitch = pitch(dir.path());
    assert!((pitch - PITCH).abs() < 2.0, "{pitch} Hz");

    let calls = appliance.history(1);
    let call = &calls[0];
    assert_eq!((&call["state"], &call["ended_by"]), (&"ended".into(), &"caller".into()));
    assert_eq!((&call["packets_lost"], &call["codec"]), (&0.into(), &"PCMU".into()));
    assert_eq!(call["integrity"], "clean");
    assert!(call["user_agent"].as_str().unwrap().starts_with("baresip"));
    // It reports when it last heard from us, so that the delay is known and counts.
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{call:#}"));
    assert_eq!(call["mos_basis"], "cq nb measured");
    let (cq, lq) = (number(&call["mos_score"]), number(&call["mos_lq"]));
    assert!(4.3 < cq && cq < lq && (lq - 4.4).abs() <= 0.02, "{cq} {lq}");
    let streams = call["streams"].as_array().unwrap();
    let directions: Vec<_> = streams.iter().map(|stream| stream["direction"].as_str()).collect();
    assert_eq!(directions, [Some("rx"), Some("tx")]);
    for stream in streams {
        let rtt_ms = number(&stream["rtt_ms"]);
        assert!((0.0..50.0).contains(&rtt_ms), "{rtt_ms}");
        assert!(number(&stream["mos_cq"]) > 4.3);
        assert_eq!((&stream["packets_lost"], &stream["codec"]), (&0.into(), &"PCMU".into()));
        assert!(number(&stream["packets_received"]) > 100.0);
    }
    assert_eq!(streams[0]["packets_received"], sent);
    if let Some(mut recording) = recording {
        recording.assert_well_formed(&appliance);
    }
}

#[test]
fn a_phone_hears_its_own_voice_over_tcp_and_tls() {
    let Some(modules) = find() else { return };
    let appliance =
        Appliance::with("sip_tls = '127.0.0.1:0'\ntls_self_signed = true\n", &["--shards", "2"]);
    let tls = appliance.sip_tls.unwrap();
    let targets = [
        format!("sip:echo@{};transport=tcp", appliance.sip),
        format!("sip:echo@{tls};transport=tls"),
    ];
    for (index, target) in targets.iter().enumerate() {
        let dir = Scratch::new();
        configure(&dir, modules);
        let screen = call(&dir, target);
        let [sent, heard] = counts(&screen, "packets:");
        assert!(sent > 350 && heard + 3 >= sent, "{target}: {screen}");
        let pitch = pitch(dir.path());
        assert!((pitch - PITCH).abs() < 2.0, "{target}: {pitch} Hz");
        let calls = appliance.history(index + 1);
        assert_eq!(
            (&calls[0]["state"], &calls[0]["ended_by"]),
            (&"ended".into(), &"caller".into())
        );
        assert_eq!(calls[0]["packets_lost"], 0, "{target}");
    }
}

/// It sends what a file holds, and hears what the appliance makes.
#[test]
fn a_phone_hears_the_tone_and_a_recording() {
    let Some(modules) = find() else { return };
    let files = Scratch::new();
    let recording = files.file("recording.wav", tone());
    let appliance = Appliance::with(&format!("play_file = '{}'\n", recording.display()), &[]);
    for (user, expected) in [("tone", 1004.0), ("play", PITCH)] {
        let dir = Scratch::new();
        configure(&dir, modules);
        let recording = Recording::start(&appliance);
        let screen = call(&dir, &format!("sip:{user}@{}", appliance.sip));
        // All of the call but its beginning and end, at 50 packets a second.
        let [_, heard] = counts(&screen, "packets:");
        assert!(heard > 350 && counts(&screen, "lost:") == [0, 0], "{screen}");
        let pitch = pitch(dir.path());
        assert!((pitch - expected).abs() < 2.0, "{user}: {pitch} Hz");
        if let Some(mut recording) = recording {
            recording.assert_well_formed(&appliance);
            recording.assert_steady(&appliance, heard);
        }
    }
    let calls = appliance.history(2);
    for call in &calls {
        assert_eq!((&call["codec"], &call["packets_lost"]), (&"PCMU".into(), &0.into()));
        let streams = call["streams"].as_array().unwrap();
        assert_eq!(streams[1]["direction"], "tx");
    }
}

#[test]
fn a_phone_registers_by_digest_and_then_calls() {
    let Some(modules) = find() else { return };
    let dir = Scratch::new();
    let users = dir.file("users", "phone:a secret\n");
    // Some versions give up where SHA-256 is offered at all; 1.0 does.
    let config = format!(
        "[sip_auth]\nusers = {users:?}\nregister = true\ninvite = true\nalgorithms = [\"MD5\"]\n"
    );
    let appliance = Appliance::with(&config, &["--shards", "2"]);
    configure(&dir, modules);
    let sip = appliance.sip;
    let account = format!(
        "<sip:phone@{sip}>;auth_user=phone;auth_pass=\"a secret\";regint=600;\
         audio_codecs=PCMU/8000/1\n"
    );
    dir.file("accounts", account);
    let screen = call(&dir, &format!("sip:echo@{sip}"));
    let [sent, heard] = counts(&screen, "packets:");
    assert!(sent > 300 && heard + 3 >= sent, "{screen}");
    assert!((pitch(dir.path()) - PITCH).abs() < 2.0);
    let calls = appliance.history(1);
    assert_eq!((&calls[0]["state"], &calls[0]["ended_by"]), (&"ended".into(), &"caller".into()));

    let shards = appliance.json("/healthz")["shards"].as_array().unwrap().clone();
    let count = |group: &str, name: &str| -> u64 {
        let figure = |shard: &Value| match group {
            "" => shard[name].as_u64().unwrap(),
            group => shard[group][name].as_u64().unwrap(),
        };
        shards.iter().map(figure).sum()
    };
    assert!(count("registrations", "succeeded") >= 1, "{screen}");
    assert_eq!(count("", "auth_failures"), 0);
    // One for the registration and one for the call, at least.
    assert!(count("", "auth_challenges") >= 2);
}

/// What passed on the wire, where that can be recorded and read.
struct Recording {
    caller: Caller,
    recorder: Option<Recorder>,
    file: PathBuf,
}

impl Recording {
    fn start(appliance: &Appliance) -> Option<Self> {
        let is_possible = is_installed("tshark", "tshark") && Recorder::is_possible();
        let file = appliance.dir().path().join("call.pcapng");
        let caller = Caller::new(appliance.sip);
        let recorder = is_possible.then(|| Recorder::start(appliance, &caller, &file))?;
        Some(Self { caller, recorder: Some(recorder), file })
    }

    /// Both sides have reported, ours with extended reports and a goodbye, and nothing is wrong
    /// with any packet of the call.
    fn assert_well_formed(&mut self, appliance: &Appliance) {
        self.recorder.take().expect("a recording").stop(&self.caller);
        let rtp = appliance.rtp_port;
        let dissect = |filter: &str| dissect(&self.file, rtp, filter, &USUAL_FIELDS);
        let ours = format!("udp.srcport >= {rtp} && udp.srcport < {}", rtp + live::RTP_PORTS);
        for filter in [
            format!("{ours} && rtcp.pt == 200 && rtcp.xr.bt == 4 && rtcp.xr.bt == 7"),
            format!("{ours} && rtcp.pt == 203"),
            format!("!({ours}) && rtcp.pt == 200"),
        ] {
            assert!(!dissect(&filter).is_empty(), "{filter}");
        }
        let wrong = dissect("_ws.malformed");
        assert!(wrong.is_empty(), "{wrong:#?}");
        let wrong = dissect(&format!("{ours} && {WRONG}"));
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// tshark's table of streams has ours with at least so many packets, none of them lost or out
    /// of order, and no problem.
    fn assert_steady(&self, appliance: &Appliance, packets: u64) {
        let rtp = appliance.rtp_port;
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-q", "-z", "rtp,streams"]);
        for port in (rtp..rtp + live::RTP_PORTS).step_by(2) {
            command.args(["-d", &format!("udp.port=={port},rtp")]);
        }
        let table = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let is_ours = |words: &Vec<&str>| {
            words
                .get(3)
                .and_then(|port| port.parse().ok())
                .is_some_and(|port: u16| (rtp..rtp + live::RTP_PORTS).contains(&port))
        };
        let mut rows = table.lines().map(|line| line.split_whitespace().collect()).filter(is_ours);
        let row = rows.next().unwrap_or_else(|| panic!("{table}"));
        assert!(rows.next().is_none() && row.last() != Some(&"X"), "{table}");
        let figures: Vec<_> = row.iter().rev().take(9).rev().collect();
        let [counted, lost, share, ..] = figures[..] else { panic!("{table}") };
        assert!(counted.parse::<u64>().unwrap() >= packets, "{table}");
        assert_eq!((*lost, *share), ("0", "(0.0%)"), "{table}");
    }
}

/// Where its modules are, if it is installed.
fn find() -> Option<&'static Path> {
    if !is_installed("baresip", "baresip-core") {
        return None;
    }
    let found = MODULES.iter().map(Path::new).find(|path| path.join("aufile.so").is_file());
    if found.is_none() {
        live::skip(&format!("baresip's modules are not in any of {MODULES:?}"));
    }
    found
}

/// A phone without a sound card: it sends a tone from a file and writes down what it hears.
fn configure(dir: &Scratch, modules: &Path) {
    let ports = free_ports(20);
    let path = dir.path().display();
    let config = format!(
        "net_interface 127.0.0.1\nsip_listen 127.0.0.1:0\nrtp_ports {ports}-{}\n\
         audio_source aufile,{path}/tone.wav\nsnd_path {path}\nrtp_stats yes\n\
         module_path {}\nmodule g711.so\nmodule aufile.so\nmodule sndfile.so\n\
         module_tmp account.so\nmodule_app menu.so\n",
        ports + 19,
        modules.display(),
    );
    dir.file("config", config);
    dir.file("accounts", "<sip:phone@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1\n");
    dir.file("contacts", "");
    dir.file("tone.wav", tone());
}

/// Calls for the time of a call; returns what the phone says.
fn call(dir: &Scratch, target: &str) -> String {
    let log = fs::File::create(dir.path().join("screen")).unwrap();
    let mut child = Command::new("baresip")
        .arg("-f")
        .arg(dir.path())
        .args(["-t", &CALL_SECS.to_string(), "-e", &format!("/dial {target}")])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let status = wait(&mut child, Duration::from_secs(CALL_SECS * 3));
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let screen = fs::read(dir.path().join("screen")).unwrap();
    let screen = String::from_utf8_lossy(&screen).into_owned();
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {screen}");
    screen
}

/// The two figures of a line of its summary: transmitted, received.
fn counts(screen: &str, label: &str) -> [u64; 2] {
    let line = screen.lines().find_map(|line| line.strip_prefix(label));
    let line = line.unwrap_or_else(|| panic!("no {label} in {screen}"));
    let figures: Vec<_> = line.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    figures.try_into().unwrap()
}

/// A minute of a tone: WAVE, linear 16 bits, mono.
#[expect(clippy::cast_possible_truncation, reason = "the amplitude is below 16 bits")]
fn tone() -> Vec<u8> {
    let samples = (0..60 * RATE).flat_map(|n| {
        let angle = TAU * PITCH * f64::from(n) / f64::from(RATE);
        ((angle.sin() * 8000.0) as i16).to_le_bytes()
    });
    let data: Vec<u8> = samples.collect();
    let length = u32::try_from(data.len()).unwrap();
    let mut wave = Vec::new();
    for part in [
        &b"RIFF"[..],
        &(length + 36).to_le_bytes(),
        b"WAVEfmt ",
        &16_u32.to_le_bytes(),
        // Linear, one channel.
        &1_u16.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &RATE.to_le_bytes(),
        &(RATE * 2).to_le_bytes(),
        // Bytes a frame, bits a sample.
        &2_u16.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &length.to_le_bytes(),
        &data,
    ] {
        wave.extend_from_slice(part);
    }
    wave
}

/// The pitch of what was heard, Hz, by the changes of sign in its third to sixth second.
fn pitch(dir: &Path) -> f64 {
    let mut files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let heard = files.find(|path| path.display().to_string().ends_with("-dec.wav"));
    let wave = fs::read(heard.expect("a file with what was heard")).unwrap();
    let second = RATE as usize * 2;
    let part = &wave[WAVE_HEADER + 2 * second..WAVE_HEADER + 5 * second];
    let is_up: Vec<_> = part.chunks(2).map(|sample| sample[1] < 0x80).collect();
    let changes = is_up.windows(2).filter(|pair| pair[0] != pair[1]).count();
    f64::from(u32::try_from(changes).unwrap()) / 6.0
}

const MODULES: [&str; 3] =
    ["/usr/lib/baresip/modules", "/usr/lib64/baresip/modules", "/usr/local/lib/baresip/modules"];
const CALL_SECS: u64 = 8;
const PITCH: f64 = 440.0;
const RATE: u32 = 8000;
const WAVE_HEADER: usize = 44;
