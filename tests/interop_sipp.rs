//! SIPp calls the running appliance: its built-in scenarios, and some of our own.
//!
//! Where SIPp is not installed these tests say so and pass.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

mod live;
use live::{Appliance, Scratch, eventually, free_ports, is_installed, wait};

#[test]
fn a_thousand_calls_at_200_a_second_load_both_shards() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::start();
    sipp.run(&appliance, 1000, &["-sn", "uac", "-r", "200"]);
    let calls = appliance.history(1000);
    assert!(calls.iter().all(|call| call["state"] == "ended" && call["status_code"] == 200));
    let statistics = appliance.json("/api/qos/statistics");
    for (name, expected) in
        [("total_calls", 1000), ("answered_calls", 1000), ("failed_calls", 0), ("own_drops", 0)]
    {
        assert_eq!(statistics[name], expected, "{name}: {statistics}");
    }
    // All came from one address and port, and so to one socket; the shards share them evenly.
    let per_shard = |health: &Value| -> Vec<u64> {
        let shards = health["shards"].as_array().unwrap();
        shards.iter().map(|shard| shard["calls_total"].as_u64().unwrap()).collect()
    };
    let all_told = |health: &Value| per_shard(health).iter().sum::<u64>() == 1000;
    let shares = per_shard(&appliance.wait_for("/healthz", all_told));
    assert_eq!(shares.len(), 2);
    assert!(shares.iter().all(|share| (400..=600).contains(share)), "{shares:?}");
}

#[test]
fn recorded_speech_is_measured_without_loss() {
    let Some(sipp) = Sipp::find().filter(Sipp::can_play) else { return };
    let appliance = Appliance::start();
    sipp.run(&appliance, 50, &["-sn", "uac_pcap", "-r", "10"]);
    for call in appliance.history(50) {
        assert_played(&call, "dtmf_2833_1.pcap");
        let mos = call["mos_lq"].as_f64().unwrap();
        assert!((mos - 4.4).abs() <= 0.02, "{mos}");
        assert_eq!((&call["state"], &call["ended_by"]), (&"ended".into(), &"caller".into()));
        assert_eq!(call["integrity"], "clean");
    }
    assert_eq!(appliance.json("/api/qos/statistics")["own_drops"], 0);
}

#[test]
fn a_call_on_hold_loses_nothing_and_stays_one_call() {
    let Some(sipp) = Sipp::find().filter(Sipp::can_play) else { return };
    let appliance = Appliance::start();
    sipp.run(&appliance, 5, &["-sf", "hold.xml", "-r", "5"]);
    for call in appliance.history(5) {
        assert_played(&call, "dtmf_2833_5.pcap");
        assert_eq!((&call["state"], &call["ended_by"]), (&"ended".into(), &"caller".into()));
    }
}

#[test]
fn a_call_given_up_while_it_rings_has_failed_and_no_score() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::with("answer_delay_ms = 60000", &["--shards", "2"]);
    for transport in TRANSPORTS {
        sipp.run(&appliance, 20, &["-sf", "cancel.xml", "-r", "20", "-t", transport]);
    }
    for call in appliance.history(40) {
        for (field, expected) in [
            ("state", "failed".into()),
            ("status_code", 487.into()),
            ("ended_by", "caller".into()),
            ("user_agent", "impatient/1".into()),
            ("answer_time", Value::Null),
            ("mos_score", Value::Null),
        ] {
            assert_eq!(call[field], expected, "{field}: {call:#}");
        }
    }
    assert_eq!(appliance.json("/api/qos/statistics")["failed_calls"], 40);
}

#[test]
fn calls_are_changed_and_confirmed_by_every_means() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::start();
    let scenarios = ["reinvite.xml", "reliable.xml", "update.xml", "multipart.xml"];
    for transport in TRANSPORTS {
        for scenario in scenarios {
            sipp.run(&appliance, 50, &["-sf", scenario, "-r", "50", "-t", transport]);
        }
    }
    for call in appliance.history(50 * scenarios.len() * TRANSPORTS.len()) {
        assert_eq!((&call["state"], &call["ended_by"]), (&"ended".into(), &"caller".into()));
    }
}

#[test]
fn lost_sip_messages_are_made_good() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::start();
    // Of 1,200 messages one in twenty is lost, either way.
    sipp.run(&appliance, 200, &["-sn", "uac", "-r", "100", "-lost", "5"]);
    // SIPp takes a 200 that was sent again for the INVITE as the answer to its BYE. Where ACK and
    // BYE are both lost, one call in 400, it is done before its BYE has arrived, and the call
    // ends when no ACK has come for 64 T1, 32 s.
    let is_over = || {
        let total = appliance.json("/api/qos/statistics")["total_calls"] == 200;
        total.then_some(())
    };
    eventually(Duration::from_secs(40), is_over).unwrap();
    let calls = appliance.history(200);
    assert!(calls.iter().all(|call| call["state"] == "ended"));
    let given_up = calls.iter().filter(|call| call["ended_by"] != "caller");
    let causes: Vec<_> = given_up.map(|call| call["ended_by"].clone()).collect();
    assert!(causes.len() <= 5 && causes.iter().all(|cause| cause == "timeout"), "{causes:?}");
}

#[test]
fn options_and_registrations_are_answered() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::start();
    for transport in TRANSPORTS {
        sipp.run(&appliance, 20, &["-sf", "options.xml", "-r", "100", "-t", transport]);
        sipp.run(&appliance, 20, &["-sf", "register.xml", "-r", "100", "-t", transport]);
    }
    assert_eq!(appliance.json("/api/qos/history")["total"], 0);
    assert_eq!(appliance.json("/api/qos/metrics")["active_calls"], 0);
}

#[test]
fn registrations_sign_in_by_digest() {
    let Some(sipp) = Sipp::find() else { return };
    let dir = Scratch::new();
    // SIPp 3.6 knows MD5 alone and takes the first challenge that there is.
    let users = dir.file("users", "phone:secret\n");
    let config =
        format!("[sip_auth]\nusers = {users:?}\nregister = true\nalgorithms = [\"MD5\"]\n");
    let appliance = Appliance::with(&config, &["--shards", "2"]);
    for transport in TRANSPORTS {
        sipp.run(&appliance, 25, &["-sf", "digest.xml", "-r", "20", "-t", transport]);
    }
    let registrations = |health: &Value| {
        let shards = health["shards"].as_array().unwrap().iter();
        let count = |name: &str| -> u64 {
            shards.clone().map(|shard| shard["registrations"][name].as_u64().unwrap()).sum()
        };
        ["succeeded", "attempts", "active"].map(count)
    };
    let health = appliance.wait_for("/healthz", |health| registrations(health)[0] >= 100);
    let [succeeded, attempts, active] = registrations(&health);
    assert_eq!((succeeded, active), (attempts, 0), "none has failed and none is left");
}

#[test]
fn calls_over_ipv6_are_answered_with_its_addresses() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::with("", &["--shards", "2", "--sip", "[::1]:0"]);
    sipp.run(&appliance, 50, &["-sn", "uac", "-r", "50"]);
    for call in appliance.history(50) {
        assert_eq!(call["state"], "ended");
        assert_eq!(call["to"], format!("sip:service@{}", appliance.sip));
    }
}

#[test]
fn many_calls_in_one_tcp_connection() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::start();
    sipp.run(&appliance, 500, &["-sn", "uac", "-r", "100", "-t", "t1"]);
    assert!(appliance.history(500).iter().all(|call| call["ended_by"] == "caller"));
    let health = appliance.wait_for("/healthz", |health| {
        let shards = health["shards"].as_array().unwrap();
        shards.iter().map(|shard| shard["connections_total"].as_u64().unwrap()).sum::<u64>() == 1
    });
    // Half of the calls were the other shard's, whose answers had to find the connection.
    for shard in health["shards"].as_array().unwrap() {
        assert!(shard["calls_total"].as_u64().unwrap() > 150, "{health:#}");
        assert_eq!(shard["connection_gone"], 0);
    }
}

#[test]
fn a_tcp_connection_for_each_call() {
    let Some(sipp) = Sipp::find() else { return };
    let appliance = Appliance::start();
    sipp.run(&appliance, 300, &["-sn", "uac", "-r", "100", "-t", "tn", "-max_socket", "400"]);
    assert!(appliance.history(300).iter().all(|call| call["ended_by"] == "caller"));
}

/// The call has all that the recordings hold: 236 packets of speech, and an event whose end was
/// sent three times with one sequence number, so that 8 are its own and 2 come again.
#[track_caller]
fn assert_played(call: &Value, event: &str) {
    let event = format!("{event}: {call:#}");
    for (field, expected) in [
        ("packets_lost", 0),
        ("packets_received", 236 + 8),
        ("packets_duplicate", 2),
        ("packets_out_of_order", 0),
        ("packets_discarded", 0),
    ] {
        assert_eq!(call[field], expected, "{field}, {event}");
    }
    assert_eq!(call["codec"], "PCMA", "{event}");
    let streams = call["streams"].as_array().unwrap();
    let codecs: Vec<_> = streams.iter().map(|stream| stream["codec"].as_str()).collect();
    assert_eq!(codecs, [Some("PCMA"), Some("telephone-event")], "{event}");
    assert_eq!(streams[0]["ptime_ms"], 30.0, "{event}");
}

/// SIPp with a directory to work in.
struct Sipp(Scratch);

impl Sipp {
    fn find() -> Option<Self> {
        let dir = is_installed("sipp", "sip-tester").then(Scratch::new)?;
        for name in [
            "cancel.xml",
            "digest.xml",
            "hold.xml",
            "multipart.xml",
            "options.xml",
            "register.xml",
            "reinvite.xml",
            "reliable.xml",
            "update.xml",
        ] {
            fs::copy(format!("tests/fixtures/sipp/{name}"), dir.path().join(name)).unwrap();
        }
        Some(Self(dir))
    }

    /// Whether it can play its recordings, which takes raw sockets; if not, says so.
    fn can_play(&self) -> bool {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            live::skip("SIPp plays recordings over raw sockets, which takes root");
            return false;
        }
        let pcap = self.0.path().join("pcap");
        fs::create_dir_all(&pcap).unwrap();
        let Ok(entries) = fs::read_dir(RECORDINGS) else {
            live::skip(&format!("{RECORDINGS} is not there"));
            return false;
        };
        for entry in entries.map(Result::unwrap) {
            fs::copy(entry.path(), pcap.join(entry.file_name())).unwrap();
        }
        true
    }

    /// Makes calls and sees that none has failed.
    fn run(&self, appliance: &Appliance, calls: usize, arguments: &[&str]) {
        let port = free_ports(2);
        let media_port = free_ports(256);
        let log = fs::File::create(self.0.path().join("screen")).unwrap();
        let mut child = Command::new("sipp")
            .current_dir(self.0.path())
            .arg(appliance.sip.to_string())
            .args(arguments)
            .args(["-m", &calls.to_string(), "-p", &port.to_string()])
            .args(["-i", &appliance.sip.ip().to_string(), "-mp", &media_port.to_string()])
            .args(["-nostdin", "-timeout", "60", "-timeout_error"])
            .args(["-trace_err", "-error_file", "errors", "-trace_stat", "-stf", "counts"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let status = wait(&mut child, Duration::from_secs(90));
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let text = |name| fs::read_to_string(self.0.path().join(name)).unwrap_or_default();
        let screen = text("screen");
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(0), "{arguments:?}: {}\n{screen}", text("errors"));

        let counts = text("counts");
        let mut lines = counts.lines().map(|line| line.split(';'));
        let names = lines.next().unwrap();
        let last: Vec<_> = lines.next_back().unwrap().collect();
        let count = |name| last[names.clone().position(|other| other == name).unwrap()];
        assert_eq!(
            (count("SuccessfulCall(C)"), count("FailedCall(C)")),
            (&*calls.to_string(), "0")
        );
    }
}

/// All calls over one UDP socket, and all over one TCP connection.
const TRANSPORTS: [&str; 2] = ["u1", "t1"];

/// Where Debian keeps SIPp's recordings.
const RECORDINGS: &str = "/usr/share/sip-tester";
