//! What the tests of `voxplane analyze` share: the real program run on a capture, and its answer.
//! It compares nothing.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

pub mod tshark;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

/// How the program ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What tells streams apart: where from, where to, SSRC.
pub type Key = (SocketAddr, SocketAddr, u32);

impl Answer {
    /// Runs `voxplane analyze` with these arguments.
    pub fn of<A: AsRef<OsStr>>(args: &[A]) -> Self {
        Self::with_input(args, &[])
    }

    /// Runs `voxplane analyze` with these arguments and these bytes on standard input.
    pub fn with_input<A: AsRef<OsStr>>(args: &[A], input: &[u8]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voxplane"));
        command.arg("analyze").args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            // It may have seen enough before it has read all.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap()
        });
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Self { code: output.status.code(), stdout, stderr }
    }

    /// What it found in a capture.
    #[track_caller]
    pub fn json(file: &Path) -> Value {
        Self::of(&[file.as_os_str(), "--format".as_ref(), "json".as_ref()]).found()
    }

    /// What it found: it has ended well and complained of nothing.
    #[track_caller]
    pub fn found(&self) -> Value {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// It has failed with this code, said so in one sentence, and shown nothing.
    #[track_caller]
    pub fn assert_refused(&self, code: i32) {
        assert_eq!((self.code, &*self.stdout), (Some(code), ""), "{self:?}");
        assert!(self.stderr.starts_with("voxplane: "), "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "one sentence: {self:?}");
    }
}

/// The streams of an answer by what tells them apart; each is there once.
#[track_caller]
pub fn streams(found: &Value) -> BTreeMap<Key, Value> {
    let mut streams = BTreeMap::new();
    for stream in found["streams"].as_array().unwrap() {
        let address = |name: &str| stream[name].as_str().unwrap().parse().unwrap();
        let ssrc = stream["ssrc"].as_str().unwrap().strip_prefix("0x").unwrap();
        let key = (address("src"), address("dst"), u32::from_str_radix(ssrc, 16).unwrap());
        assert!(streams.insert(key, stream.clone()).is_none(), "{key:?} is there twice");
    }
    streams
}

/// A whole number of an answer.
#[track_caller]
pub fn integer(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("{name} is {} in {value:#}", value[name]))
}

/// The directory of captures that were not made for these tests; where there is none, says so.
pub fn captures() -> Option<PathBuf> {
    let dir = env::var_os("VOXPLANE_CAPTURES").map(PathBuf::from);
    if dir.is_none() {
        let why = "skipped: VOXPLANE_CAPTURES names no directory of captures\n";
        std::io::stderr().write_all(why.as_bytes()).unwrap();
    }
    dir
}
