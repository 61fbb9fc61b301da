//! The access log: a line for each request with who asked for what and how it went, no secret in
//! it; it goes on in a new file when the old one is moved away, and a full disk stops nothing.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use voxplane::{
    control::snapshot::SnapshotCell,
    http::{AccessLog, AccessLogHandle, Options, Server, Tokens},
};

mod http;
mod live;
use http::{connect, exchange, get, options, read_answer, request, snapshot};
use live::{Appliance, eventually};

fn server(path: &Path, tokens: Option<Tokens>) -> (Server, AccessLogHandle) {
    let log = AccessLog::open(path).unwrap();
    let handle = log.handle();
    let snapshots = SnapshotCell::default();
    snapshots.store(snapshot());
    let options = Options { access_log: Some(log), tokens, ..options() };
    (Server::start(options, snapshots).unwrap(), handle)
}

/// The lines of the log once there are so many, each in its fields.
fn lines(path: &Path, count: usize) -> Vec<Vec<String>> {
    let lines = eventually(Duration::from_secs(10), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<Vec<String>> =
            text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    });
    let lines = lines.unwrap_or_else(|| panic!("{:?}", fs::read_to_string(path)));
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

fn file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("access.log")
}

#[test]
fn every_request_has_a_line_and_no_secret_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let tokens = Tokens::parse("read r3ad grafana\nadmin adm1n").unwrap();
    let (server, _) = server(&path, Some(tokens));
    let to = server.local_addr();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let answer = request(to, "GET", "/api/qos/history?from=%2B49", &bearer("r3ad"));
    let len = answer.head.len() + 4 + answer.body.len();
    lines(&path, 1);
    request(to, "POST", "/api/reload?token=adm1n", &bearer("r3ad"));
    lines(&path, 2);
    request(to, "GET", "/api/qos/metrics", &bearer("wr0ng"));
    lines(&path, 3);
    request(to, "HEAD", "/nothing", &bearer("adm1n"));
    lines(&path, 4);
    exchange(to, b"\0\0\0").unwrap();
    lines(&path, 5);
    // Who has said nothing has no line, and who has gone has one without a status.
    drop(connect(to).unwrap());
    let mut gone = connect(to).unwrap();
    let head = format!("GET /api/live HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer("r3ad"));
    gone.write_all(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(300));
    drop(gone);
    let lines = lines(&path, 6);

    let text = fs::read_to_string(&path).unwrap();
    for secret in ["r3ad", "adm1n", "wr0ng"] {
        assert!(!text.contains(secret), "{text}");
    }
    let shown: Vec<String> = lines.iter().map(|line| line[1..6].join(" ")).collect();
    assert_eq!(
        shown,
        [
            "127.0.0.1 grafana GET /api/qos/history 200",
            "127.0.0.1 grafana POST /api/reload 403",
            "127.0.0.1 - GET /api/qos/metrics 401",
            "127.0.0.1 admin HEAD /nothing 404",
            "127.0.0.1 - - - 400",
            "127.0.0.1 grafana GET /api/live 200",
        ]
    );
    assert_eq!(lines[0][6], len.to_string());
    for line in &lines {
        assert_eq!(line.len(), 8, "{line:?}");
        assert!(line[0].starts_with("20") && line[0].ends_with('Z'), "{line:?}");
        assert!(line[7].parse::<f64>().unwrap() < 5000.0, "{line:?}");
    }
    assert!(lines[5][6].parse::<u64>().unwrap() > 200, "a live client's bytes: {lines:?}");
    assert!(lines[5][7].parse::<f64>().unwrap() > 250.0, "and its time: {lines:?}");
}

#[test]
fn a_log_that_is_moved_away_goes_on_in_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let old = directory.path().join("access.log.1");
    let (server, log) = server(&path, None);
    get(server.local_addr(), "/healthz");
    lines(&path, 1);
    fs::rename(&path, &old).unwrap();
    get(server.local_addr(), "/metrics");
    lines(&old, 2);
    log.reopen();
    get(server.local_addr(), "/api/qos/sip");
    assert_eq!(lines(&path, 1)[0][4], "/api/qos/sip");
    lines(&old, 2);
    // It appends.
    log.reopen();
    get(server.local_addr(), "/healthz");
    lines(&path, 2);
}

#[test]
fn what_waits_is_written_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let (server, _) = server(&path, None);
    for _ in 0..200 {
        get(server.local_addr(), "/healthz");
    }
    server.stop();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 200);
}

#[test]
fn a_full_disk_is_counted_and_stops_nothing() {
    let (server, _) = server(Path::new("/dev/full"), None);
    let to = server.local_addr();
    let lost = eventually(Duration::from_secs(10), || {
        let health = get(to, "/healthz");
        assert_eq!(health.status, 200);
        health.json()["api"]["log_lines_lost"].as_u64().filter(|lost| *lost >= 3)
    });
    assert!(lost.is_some());
    let page = get(to, "/metrics").body;
    assert!(page.contains("\nvoxplane_http_log_lines_total 0\n"), "{page}");
    assert!(!page.contains("\nvoxplane_http_log_lines_lost_total 0\n"), "{page}");
}

#[test]
fn what_cannot_be_written_to_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [Path::new("/nowhere/access.log"), directory.path(), &pipe] {
        assert!(AccessLog::open(path).is_err(), "{}", path.display());
    }
    let refusal = live::Refusal::of_run("access_log = '/nowhere/access.log'", &[]);
    refusal.assert(1, &["access log /nowhere/access.log", "No such file"]);
}

#[test]
fn a_running_appliance_opens_it_again_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let config = format!("access_log = '{}'", path.display());
    let appliance = Appliance::with(&config, &["--shards", "1"]);
    appliance.get("/healthz");
    lines(&path, 1);
    fs::rename(&path, directory.path().join("old")).unwrap();
    appliance.signal("HUP");
    eventually(Duration::from_secs(10), || appliance.log().contains("read again").then_some(()));
    let mut stream = connect(appliance.http).unwrap();
    stream.write_all(b"GET /api/qos/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    assert_eq!(lines(&path, 1)[0][4], "/api/qos/metrics");
}
