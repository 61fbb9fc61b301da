//! A database of an older version is brought forward with all that is in it; one of a newer
//! version or another program is refused and left as it is.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;

use rusqlite::Connection;
use voxplane::{
    source::clock,
    store::{AlertFilter, Filter, Options, Page, Settings, Store},
};

mod http;
mod live;
mod store;
use live::Refusal;
use store::{calls, feed, loaded, open};

#[test]
fn version_1_is_brought_forward() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("fixtures/store/version_1.sql")).unwrap();
    drop(old);
    let store = open(directory.path());
    let reader = store.reader();
    loaded(&reader, 2);
    let listed = reader.page(&Page { limit: 10, ..Page::default() }).unwrap();
    assert_eq!(listed.total, 2);
    let filter = Filter { from: Some("alice".to_owned()), ..Filter::default() };
    let listed = reader.page(&Page { filter, limit: 10, ..Page::default() }).unwrap();
    assert_eq!(listed.calls, [r#"{"call_id":"old-1"}"#]);
    assert_eq!(reader.call("old-2").unwrap().unwrap().timeline, "[]");
    let alerts = reader.alerts(&AlertFilter { limit: 9, ..AlertFilter::default() }).unwrap();
    assert_eq!(alerts[0].message, "loss is 7 %");

    feed(&store, &calls(10, 1));
    store.stop();
    let db = Connection::open(&path).unwrap();
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
    let calls: i64 = db.query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap();
    assert_eq!(calls, 12);
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).stop();
    let path = directory.path().join("history.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert_refused(&path, &["version 7", "up to 4", "history.db", "move the file away"]);
    let db = Connection::open(&path).unwrap();
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 7);
}

#[test]
fn the_program_says_why_it_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).stop();
    let path = directory.path().join("history.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let refusal = Refusal::of_run("", &["--data", directory.path().to_str().unwrap()]);
    refusal.assert(1, &["history.db is of version 7", "run the newer one"]);
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let text = "this is no database, and longer than the head of one would be. ".repeat(20);
    fs::write(&path, &text).unwrap();
    assert_refused(&path, &["history.db", "is not a history of this program", "move it away"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    assert_refused(&path, &["is not a history of this program", "tables and no version"]);
}

fn assert_refused(path: &std::path::Path, words: &[&str]) {
    let options =
        Options { path: path.to_owned(), settings: Settings::default(), clock: clock::now };
    let error = Store::start(options).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}
