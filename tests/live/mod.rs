//! What the tests of the running appliance share: the real program, started and stopped, and a
//! plain client of its API. It knows no SIP and no other program.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The program under test.
pub(crate) const VOXPLANE: &str = env!("CARGO_BIN_EXE_voxplane");

/// What the command line promises: after a signal it is gone within this time.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(5);

/// A running appliance with a directory and ports of its own; it is stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Appliance {
    /// Where SIP comes in.
    pub(crate) sip: SocketAddr,
    /// Where SIP comes in over TLS.
    pub(crate) sip_tls: Option<SocketAddr>,
    /// Where the API listens.
    pub(crate) http: SocketAddr,
    /// What it said when it had started.
    pub(crate) greeting: String,
    /// The first of its RTP ports.
    pub(crate) rtp_port: u16,
    child: Child,
    dir: Scratch,
}

/// How many ports for RTP and RTCP each appliance has.
pub(crate) const RTP_PORTS: u16 = 16;

impl Appliance {
    /// Starts it on loopback with two shards.
    pub(crate) fn start() -> Self {
        Self::with("", &["--shards", "2"])
    }

    /// Starts it with a configuration file and more flags; a flag given here is the only one of
    /// its name.
    pub(crate) fn with(config: &str, flags: &[&str]) -> Self {
        Self::under(&[], config, flags)
    }

    /// The same as the last words of another command, which must end as this program.
    pub(crate) fn under(wrapper: &[&str], config: &str, flags: &[&str]) -> Self {
        let dir = Scratch::new();
        let rtp_port = free_ports(RTP_PORTS);
        let mut words = wrapper.iter().chain(&[VOXPLANE]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg("run").args(flags);
        let range = format!("{rtp_port}-{}", rtp_port + RTP_PORTS - 1);
        let file = dir.file("voxplane.toml", config);
        let data = dir.path().join("data");
        for (flag, value) in [
            ("--config", file.as_path()),
            ("--sip", Path::new("127.0.0.1:0")),
            ("--http", Path::new("127.0.0.1:0")),
            ("--rtp-ports", Path::new(&range)),
            ("--data", &data),
        ] {
            if !flags.contains(&flag) {
                command.arg(flag).arg(value);
            }
        }
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let greeting = read_greeting(&mut child);
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        let address = |label: &str| -> SocketAddr {
            let line = greeting.lines().find_map(|line| line.trim().strip_prefix(label));
            let text = line.unwrap_or_else(|| panic!("no {label}: {greeting}{log}")).trim();
            let address = text.trim_start_matches("http://").split(' ').next().unwrap();
            address.parse().unwrap()
        };
        let tls = greeting.lines().find_map(|line| line.trim().strip_suffix(" (TLS)"));
        let sip_tls = tls.map(|address| address.parse().unwrap());
        let (sip, http) = (address("SIP"), address("API"));
        Self { sip, sip_tls, http, rtp_port, greeting, child, dir }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A directory that lasts as long as the appliance.
    pub(crate) fn dir(&self) -> &Scratch {
        &self.dir
    }

    /// The answer to a GET.
    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.http, path, "")
    }

    /// The JSON body of a GET that is answered with 200.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The answer to a POST.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        post(self.http, path, "", body)
    }

    /// Writes its configuration anew; it does not read it by itself.
    pub(crate) fn configure(&self, config: &str) {
        self.dir.file("voxplane.toml", config);
    }

    /// All that it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Asks until the answer is as it should be, and returns it.
    pub(crate) fn wait_for(&self, path: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = eventually(Duration::from_secs(30), || {
            last = self.json(path);
            is_there(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("{path} does not become what is expected: {last:#}"))
    }

    /// The finished calls, newest first, once there are `count`.
    pub(crate) fn history(&self, count: usize) -> Vec<Value> {
        let path = format!("/api/qos/history?limit={count}");
        let history = self.wait_for(&path, |history| history["total"] == count);
        history["metrics"].as_array().unwrap().clone()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits until it has ended; says how, and all that it has logged.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child, STOP_MAX).expect("it ends within 5 s of a signal");
        (status, fs::read_to_string(self.dir.path().join("log")).unwrap())
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            return;
        }
        self.signal("TERM");
        if wait(&mut self.child, STOP_MAX).is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// How the program ended that was not meant to run.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Exit code.
    pub(crate) code: Option<i32>,
    /// What it said on standard error.
    pub(crate) stderr: String,
    /// What it said on standard output.
    pub(crate) stdout: String,
}

impl Refusal {
    /// Runs a command that ends by itself.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn();
        let child = child.as_mut().unwrap();
        let status = wait(child, Duration::from_secs(10));
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let mut refusal = Self { code: None, stderr: String::new(), stdout: String::new() };
        child.stderr.take().unwrap().read_to_string(&mut refusal.stderr).unwrap();
        child.stdout.take().unwrap().read_to_string(&mut refusal.stdout).unwrap();
        refusal.code = status.unwrap_or_else(|| panic!("{command:?} runs: {refusal:?}")).code();
        refusal
    }

    /// Runs the program with ports and a directory that nobody else uses, and more flags.
    pub(crate) fn of_run(config: &str, flags: &[&str]) -> Self {
        let dir = Scratch::new();
        let file = dir.file("voxplane.toml", config);
        let mut command = Command::new(VOXPLANE);
        command.arg("run").args(flags);
        if !flags.contains(&"--config") {
            command.arg("--config").arg(file);
        }
        if !flags.contains(&"--data") {
            command.arg("--data").arg(dir.path().join("data"));
        }
        for (flag, value) in [("--sip", "127.0.0.1:0"), ("--http", "127.0.0.1:0")] {
            if !flags.contains(&flag) {
                command.args([flag, value]);
            }
        }
        Self::of(&mut command)
    }

    /// It ended with this code after one sentence that has all of `words` in it.
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "one sentence: {self:?}");
        for word in words.iter().chain(&["voxplane: "]) {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
    }
}

/// A directory that is removed in the end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it, empty.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("voxplane-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Body.
    pub(crate) body: String,
}

/// Asks an HTTP server; `headers` are whole lines.
pub(crate) fn get(server: SocketAddr, path: &str, headers: &str) -> Answer {
    ask(server, &format!("GET {path}"), headers, "")
}

/// Sends something to an HTTP server; `headers` are whole lines.
pub(crate) fn post(server: SocketAddr, path: &str, headers: &str, body: &str) -> Answer {
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    ask(server, &format!("POST {path}"), &headers, body)
}

fn ask(server: SocketAddr, what: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request =
        format!("{what} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: body.to_owned() }
}

/// The first of `count` ports, even, that nobody uses, neither over IPv4 nor IPv6.
///
/// Each block is handed out once in a process, and processes begin at different places. All are
/// below those that the system gives out by itself.
pub(crate) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 100).unwrap() * 200;
    loop {
        let taken = NEXT.fetch_add(count.next_multiple_of(2), Ordering::Relaxed);
        let first = 10_000 + (offset + taken) % 20_000;
        let is_free = |port| {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
                && UdpSocket::bind((Ipv6Addr::LOCALHOST, port)).is_ok()
        };
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

/// Asks again and again, until there is an answer or `limit` has passed.
#[expect(clippy::disallowed_methods, reason = "the programs under test run in real time")]
pub(crate) fn eventually<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let answer = ask();
        if answer.is_some() || start.elapsed() > limit {
            return answer;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a process to end, but no longer than `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    eventually(limit, || child.try_wait().unwrap())
}

/// Sends a signal by its name.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {pid}");
}

/// Whether a program can be run here; if not, says that the test is skipped.
pub(crate) fn is_installed(program: &str, package: &str) -> bool {
    let found = is_on_path(program);
    if !found {
        skip(&format!("{program} is not installed (Debian package {package})"));
    }
    found
}

/// Whether there is a program of this name.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Says that a test is skipped and why, past the harness, which keeps what a good test says.
pub(crate) fn skip(why: &str) {
    io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

/// Reads up to the greeting's last line, or to the end where there is none.
fn read_greeting(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    while lines.read_line(&mut greeting).unwrap() > 0 {
        if greeting.lines().last().is_some_and(|line| line.starts_with("then")) {
            break;
        }
    }
    greeting
}
