//! A disk that is full, or a file that somebody else holds, stops no measuring: calls wait in
//! memory, are seen there, and are written when that can be done again.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rusqlite::Connection;
use serde_json::Value;
use voxplane::store::{Page, State};

#[path = "live/caller.rs"]
mod caller;
mod http;
mod live;
mod store;
use caller::Caller;
use live::{Appliance, skip};
use store::{calls, held, until};

#[test]
fn a_file_that_is_held_is_written_when_it_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = held(directory.path());
    let reader = store.reader();
    let calls = calls(50, 1);
    calls.iter().for_each(|call| store.feeder().call(call.clone()));
    until(|| reader.status().state == State::Busy);
    let status = reader.status();
    assert_eq!((status.pending, status.dropped), (50, 0));
    assert!(status.lag_ms > 0 && status.error.is_some(), "{status:?}");
    // Seen all the same.
    let page = reader.page(&Page { limit: 100, ..Page::default() }).unwrap();
    assert_eq!((page.total, page.calls.len()), (50, 50));
    assert!(reader.call(&calls[7].call_id).unwrap().is_some());
    other.execute_batch("COMMIT").unwrap();
    until(|| reader.status().state == State::Ok && reader.status().pending == 0);
    let on_disk: i64 = other.query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap();
    assert_eq!(on_disk, 50);
}

#[test]
fn a_disk_that_fills_up_stops_no_measuring() {
    let Some(small) = SmallDisk::new() else { return };
    let appliance = small.start("");
    appliance.wait_for("/healthz", |health| health["store"]["state"] == "ok");
    call(&appliance, "before", 5);
    appliance.wait_for("/healthz", |health| health["store"]["pending"] == 0);
    small.fill(&appliance);
    // Some may still find room in what the database has already.
    let mut placed = 5;
    let full = live::eventually(std::time::Duration::from_secs(30), || {
        call(&appliance, &format!("during-{placed}"), 20);
        placed += 20;
        Some(store_of(&appliance)).filter(|store| store["state"] == "full")
    });
    let full = full.expect("it becomes full");
    assert!(full["pending"].as_u64() > Some(0), "{full}");
    assert!(full["error"].as_str().unwrap().contains("full"), "{full}");
    assert_eq!(appliance.json("/healthz")["status"], "degraded");
    call(&appliance, "measured", 3);
    placed += 3;
    let seen =
        appliance.wait_for("/api/qos/history?limit=1000", |history| history["total"] == placed);
    assert_eq!(seen["count"], placed, "seen all the same");
    small.empty(&appliance);
    let well = appliance.wait_for("/healthz", |health| {
        health["store"]["state"] == "ok" && health["store"]["pending"] == 0
    });
    assert_eq!(well["store"]["dropped"], 0);
    assert_eq!(small.calls_on_disk(&appliance), placed as i64);
}

#[test]
fn it_starts_on_a_full_disk() {
    let Some(small) = SmallDisk::new() else { return };
    let appliance = small.start("head -c 4M /dev/zero > \"$0/filler\" 2>/dev/null;");
    let store = store_of(&appliance);
    assert_eq!(store["state"], "full", "{store}");
    call(&appliance, "first", 3);
    appliance.wait_for("/api/qos/history", |history| history["count"] == 3);
    small.empty(&appliance);
    appliance.wait_for("/healthz", |health| {
        health["store"]["state"] == "ok" && health["store"]["pending"] == 0
    });
    assert_eq!(small.calls_on_disk(&appliance), 3);
}

fn store_of(appliance: &Appliance) -> Value {
    appliance.json("/healthz")["store"].clone()
}

/// Some calls that are answered and hung up.
fn call(appliance: &Appliance, name: &str, count: usize) {
    let caller = Caller::new(appliance.sip);
    for number in 0..count {
        let call = format!("{name}-{number}");
        let answer = caller.dial(&call, 9);
        caller.send("BYE", &call, answer.to_tag());
        caller.receive_until(|message| {
            message.0.starts_with("SIP/2.0 200") && message.header("CSeq") == Some("1 BYE")
        });
    }
}

/// A disk of 1 MB that only the appliance sees: a tmpfs in a mount namespace of its own.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and says so, where there are no such namespaces.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut try_it = Command::new("unshare");
        try_it.args(["-rm", "mount", "-t", "tmpfs", "tmpfs"]).arg(directory.path());
        let works = try_it.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !works {
            skip("no private mount namespace can be made here");
            return None;
        }
        Some(Self { directory })
    }

    /// An appliance whose data is on it, after some words of shell; `$0` is the disk.
    fn start(&self, first: &str) -> Appliance {
        let path = self.directory.path().to_str().unwrap();
        let script =
            format!("mount -t tmpfs -o size=1m tmpfs \"$0\" && {{ {first} exec \"$@\"; }}");
        let wrapper = ["unshare", "-rm", "sh", "-c", &script, path];
        Appliance::under(&wrapper, "", &["--shards", "1", "--data", path])
    }

    /// Where the test sees it.
    fn inside(&self, appliance: &Appliance) -> PathBuf {
        let path = self.directory.path().strip_prefix("/").unwrap();
        Path::new("/proc").join(appliance.pid().to_string()).join("root").join(path)
    }

    /// What is written, read from a copy: SQLite would look for the file where we see another.
    fn calls_on_disk(&self, appliance: &Appliance) -> i64 {
        let copy = tempfile::tempdir().unwrap();
        for name in ["history.db", "history.db-wal"] {
            fs::copy(self.inside(appliance).join(name), copy.path().join(name)).unwrap();
        }
        let db = Connection::open(copy.path().join("history.db")).unwrap();
        db.query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap()
    }

    fn fill(&self, appliance: &Appliance) {
        let mut filler = File::create(self.inside(appliance).join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self, appliance: &Appliance) {
        fs::remove_file(self.inside(appliance).join("filler")).unwrap();
    }
}
