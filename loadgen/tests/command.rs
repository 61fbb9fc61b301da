//! The program itself: what it says and with which exit code, where no far end is needed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

#[test]
fn bad_usage_exits_with_2_and_names_the_option() {
    for (line, says) in [
        ("192.0.2.9", "--calls <N>"),
        ("192.0.2.9 --calls 1 --loss 300", "'--loss <P>': expected a number from 0 to 100"),
        ("192.0.2.9 --calls 1 --duration soon", "expected a time such as 20s"),
        ("192.0.2.9 --calls 1 --loss 60 --burst 1", "--burst 1 allows for at most --loss 50.0"),
        ("192.0.2.9 --calls 1 --no-such", "--no-such"),
    ] {
        let output = loadgen(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(says), "{line}: {error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_run_that_cannot_begin_exits_with_1_and_one_sentence() {
    for (line, says) in [
        ("name.invalid --calls 1", "cannot reach name.invalid: "),
        ("127.0.0.1 --calls 1 --bind 192.0.2.1", "cannot bind SIP to 192.0.2.1:0: "),
        ("127.0.0.1 --calls 1 --bind ::1", "cannot reach 127.0.0.1: no address of the family"),
        (
            "127.0.0.1 --calls 1 --verify http://127.0.0.1:9 --api-token-file /no/such/file",
            "cannot read the API token /no/such/file: ",
        ),
    ] {
        let output = loadgen(line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("loadgen: ") && error.contains(says), "{line}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

fn loadgen(line: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_loadgen");
    Command::new(program).args(line.split_whitespace()).output().unwrap()
}
