//! The access log: a line for each request, written by a thread of its own, so that no client waits
//! for a disk. What cannot be written is counted and lost.

use core::fmt;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::time::Timestamp;

/// The log. When it is dropped what waits is written first.
#[derive(Debug)]
pub struct AccessLog {
    lines: Option<SyncSender<String>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What can be done with a log that somebody else writes. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct AccessLogHandle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    reopen: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
}

/// A line of the log.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// When it was answered.
    pub(super) at: Timestamp,
    pub(super) from: IpAddr,
    /// What its token is called.
    pub(super) token: Option<&'a str>,
    pub(super) method: &'a str,
    /// Without its query.
    pub(super) path: &'a str,
    /// `None` if it was not answered.
    pub(super) status: Option<u16>,
    /// Bytes of the answer that were sent.
    pub(super) bytes: u64,
    /// From the end of its head to the end of the answer.
    pub(super) took: Duration,
}

impl AccessLog {
    /// Appends to a file, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// What opening the file or starting a thread gives.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let (lines, waiting) = mpsc::sync_channel(WAITING_MAX);
        let state = Arc::new(State::default());
        let writer =
            Writer { path: path.to_owned(), file, state: Arc::clone(&state), is_failing: false };
        let thread = thread::Builder::new().name("http-log".to_owned());
        let thread = thread.spawn(move || writer.run(&waiting))?;
        Ok(Self { lines: Some(lines), state, thread: Some(thread) })
    }

    /// A handle to it.
    #[must_use]
    pub fn handle(&self) -> AccessLogHandle {
        AccessLogHandle(Arc::clone(&self.state))
    }

    /// Has a line written. It never waits.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        let is_taken =
            self.lines.as_ref().is_some_and(|lines| lines.try_send(entry.to_string()).is_ok());
        if !is_taken {
            self.state.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the access log has panicked");
        }
    }
}

impl AccessLogHandle {
    /// Has the file opened again before the next line: it has been moved away.
    pub fn reopen(&self) {
        self.0.reopen.store(true, Relaxed);
    }

    /// Lines that were written.
    pub(super) fn written(&self) -> u64 {
        self.0.written.load(Relaxed)
    }

    /// Lines that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, from, token, method, path, status, bytes, took } = self;
        let cut = |text: &str, max| text.chars().take(max).collect::<String>();
        let (method, path) = (cut(method, METHOD_MAX), cut(path, PATH_MAX));
        let token = token.unwrap_or("-");
        write!(f, "{at} {from} {token} {method} {path} ")?;
        match status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("-")?,
        }
        writeln!(f, " {bytes} {:.3}", took.as_secs_f64() * 1e3)
    }
}

/// What writes the file.
struct Writer {
    path: PathBuf,
    file: File,
    state: Arc<State>,
    /// The last attempt failed, and may have left half a line.
    is_failing: bool,
}

impl Writer {
    /// Writes until nobody has lines any more.
    fn run(mut self, waiting: &Receiver<String>) {
        while let Ok(mut lines) = waiting.recv() {
            let mut count = 1;
            while lines.len() < BATCH_MAX
                && let Ok(line) = waiting.try_recv()
            {
                lines.push_str(&line);
                count += 1;
            }
            if self.state.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            self.write(&lines, count);
        }
    }

    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                tracing::warn!(%error, "the access log cannot be opened again and stays as it was");
            }
        }
    }

    fn write(&mut self, lines: &str, count: u64) {
        let start = if self.is_failing { "\n" } else { "" };
        let written = self.file.write_all(format!("{start}{lines}").as_bytes());
        match (&written, self.is_failing) {
            (Err(error), false) => tracing::warn!(%error, "the access log cannot be written"),
            (Ok(()), true) => tracing::info!("the access log is written again"),
            (Err(_), true) | (Ok(()), false) => {}
        }
        self.is_failing = written.is_err();
        let counter = if self.is_failing { &self.state.lost } else { &self.state.written };
        counter.fetch_add(count, Relaxed);
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe that nobody reads is an error then, and not a wait without end.
    let flags = libc::O_NONBLOCK;
    OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)
}

/// Lines that wait to be written: some seconds of a busy door.
const WAITING_MAX: usize = 8192;

/// Bytes that are written at once.
const BATCH_MAX: usize = 64 << 10;

/// Longest method and path of a line.
const METHOD_MAX: usize = 32;
const PATH_MAX: usize = 512;

/// Others may not read who asked for what.
const MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_fields_in_order_and_a_bound() {
        let entry = Entry {
            at: Timestamp::from_secs(1_769_860_800),
            from: [192, 0, 2, 1].into(),
            token: Some("noc"),
            method: "GET",
            path: "/api/qos/metrics",
            status: Some(200),
            bytes: 1234,
            took: Duration::from_micros(1500),
        };
        let line = "2026-01-31T12:00:00Z 192.0.2.1 noc GET /api/qos/metrics 200 1234 1.500\n";
        assert_eq!(entry.to_string().replace("00.000Z", "00Z"), line);
        let long = "/".repeat(9999);
        let entry = Entry { token: None, status: None, path: &long, ..entry };
        assert!(entry.to_string().contains(" - GET /"));
        assert!(entry.to_string().ends_with("/ - 1234 1.500\n"));
        assert!(entry.to_string().len() < 600);
    }
}
