//! Commands: what they are told and how, what becomes of those that fail or do not end.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;
use voxplane::notify::{Notification, State};

mod notify;
use notify::{alert, start, until};

/// A script in a directory of its own, and the table that runs it with that directory and an
/// argument that a shell would take for more.
fn script(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let table = format!(
        "[[notify]]\nname = 'run'\nkind = 'command'\ntimeout_s = 1\n\
         command = ['{}', '{}', '$(touch evil); a b']",
        path.display(),
        directory.path().display()
    );
    (directory, table)
}

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap()
}

#[test]
fn it_is_told_by_input_arguments_and_environment() {
    let text = "cat > $1/input; printf '%s' \"$2\" > $1/argument; env > $1/environment";
    let (directory, table) = script(text);
    let notifiers = start(&table, "");
    let message = "x\ny=z\0; rm -rf /".to_owned();
    notifiers.handle().notify(Notification { message, ..alert(7, State::Firing) });
    until(&notifiers.handle(), |status| status.sent == 1);
    let input: Value = serde_json::from_str(&read(directory.path(), "input")).unwrap();
    assert_eq!((&input["id"], &input["type"]), (&7.into(), &"high_packet_loss".into()));
    assert_eq!(read(directory.path(), "argument"), "$(touch evil); a b");
    let environment = read(directory.path(), "environment");
    for line in [
        "VOXPLANE_ID=7",
        "VOXPLANE_TYPE=high_packet_loss",
        "VOXPLANE_STATE=firing",
        "VOXPLANE_SEVERITY=error",
        "VOXPLANE_MESSAGE=x y=z ; rm -rf /",
        "VOXPLANE_CALL_ID=a/b c@host",
        "VOXPLANE_VALUE=6.2",
    ] {
        assert!(environment.lines().any(|found| found == line), "{line}: {environment}");
    }
    // Cargo's own environment stands for one with secrets in it.
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[test]
fn input_that_is_not_read_blocks_nobody() {
    let (_directory, table) = script("exit 0");
    let notifiers = start(&table, "");
    let evidence = serde_json::json!({ "calls": "x".repeat(1 << 20) });
    notifiers.handle().notify(Notification { evidence, ..alert(1, State::Firing) });
    assert_eq!(until(&notifiers.handle(), |status| status.sent == 1).retried, 0);
}

#[test]
fn one_that_fails_is_run_again() {
    let text = "test -e $1/again && exit 0; touch $1/again; exit 3";
    let (_directory, table) = script(text);
    let notifiers = start(&table, "");
    notifiers.handle().notify(alert(1, State::Firing));
    let status = until(&notifiers.handle(), |status| status.sent == 1);
    assert_eq!(status.retried, 1);
    assert!(status.last_error.unwrap().ends_with("/script: exit status: 3"));
}

#[test]
fn one_that_does_not_end_is_killed_with_what_it_started() {
    let text = "test -e $1/pids && exit 0; sleep 1000 & echo $$ $! > $1/pids; wait";
    let (directory, table) = script(text);
    let notifiers = start(&table, "");
    notifiers.handle().notify(alert(1, State::Firing));
    let status = until(&notifiers.handle(), |status| status.sent == 1);
    assert_eq!(status.retried, 1);
    assert!(status.last_error.unwrap().ends_with("killed after 1 s"));
    for pid in read(directory.path(), "pids").split_whitespace() {
        let stat = PathBuf::from(format!("/proc/{pid}/stat"));
        // Nobody may have reaped it yet.
        let is_gone = fs::read_to_string(stat).map_or(true, |stat| stat.contains(") Z "));
        assert!(is_gone, "{pid} still runs");
    }
}

#[test]
fn one_that_is_not_there_is_named() {
    let table = "[[notify]]\nname = 'run'\nkind = 'command'\ncommand = ['/nowhere/at/all']\n\
                 give_up_after_s = 0";
    let notifiers = start(table, "");
    notifiers.handle().notify(alert(1, State::Firing));
    let status = until(&notifiers.handle(), |status| status.gave_up == 1);
    assert!(status.last_error.unwrap().starts_with("/nowhere/at/all: No such file"));
}
