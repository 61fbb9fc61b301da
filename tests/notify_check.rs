//! `voxplane check`: what it says of a configuration, and of a notifier that it tries.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    process::{Command, Output},
};

use tempfile::TempDir;

mod notify;
use notify::{Answer, Server, closed_port};

fn check(config: &str, flags: &[&str], secret: &str) -> (Option<i32>, String, String) {
    let directory: TempDir = tempfile::tempdir().unwrap();
    let file = directory.path().join("voxplane.toml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxplane"));
    command.arg("check").arg("--config").arg(&file).args(flags).env("SECRET", secret);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_configuration_that_can_be_used_is_described() {
    let (code, stdout, stderr) = check("", &[], "");
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (Some(0), "the configuration can be used\n", "")
    );
    let config = "[[notify]]\nname = 'noc'\nkind = 'slack'\nurl_env = 'SECRET'\n\
                  min_severity = 'error'\nrules = ['low_mos', 'no_media']";
    let (code, stdout, _) = check(config, &[], "https://hooks.slack.com/services/t0k3n");
    let line = "notify noc: slack, https://hooks.slack.com/***, from error on, low_mos, no_media\n";
    assert_eq!((code, stdout), (Some(0), format!("the configuration can be used\n{line}")));
    let deployed = fs::read_to_string("deploy/voxplane.toml").unwrap();
    assert_eq!(check(&deployed, &[], "").0, Some(0));
}

#[test]
fn one_that_cannot_is_refused_by_name() {
    for (config, named) in [
        ("shards = 0", "shards: 0 is not from 1"),
        ("colour = 1", "line 1, colour: unknown field"),
        (
            "[[notify]]\nname = 'noc'\nkind = 'slack'\nurl_env = 'NO_SUCH'",
            "notify.noc.url_env: NO_SUCH",
        ),
    ] {
        let (code, stdout, stderr) = check(config, &[], "");
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{config}");
        assert!(stderr.starts_with("voxplane: ") && stderr.contains(named), "{config}: {stderr}");
    }
    let config = "[[notify]]\nname = 'noc'\nkind = 'syslog'\naddress = 'udp://127.0.0.1:514'";
    let (code, _, stderr) = check(config, &["--notify", "nobody"], "");
    assert_eq!(code, Some(2));
    assert_eq!(stderr, "voxplane: --notify: no notifier is called nobody; noc\n");
}

#[test]
fn a_test_is_sent_past_all_filters_and_its_fate_is_told() {
    let config = "[[notify]]\nname = 'noc'\nkind = 'webhook'\nurl_env = 'SECRET'\n\
                  min_severity = 'critical'\nrules = ['low_mos']";
    let server = Server::start(vec![
        Answer::Is(200, "", "got it".to_owned()),
        Answer::Is(429, "Retry-After: 60\r\n", "not at /hook/t0k3n-in-path".to_owned()),
    ]);
    let flags = ["--notify", "noc"];
    let (code, stdout, stderr) = check(config, &flags, &server.url());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let whom = format!("noc (webhook, http://{}/***)", server.addr);
    assert!(stdout.starts_with(&format!("{whom} took the test within ")), "{stdout}");
    assert!(stdout.ends_with(" ms: 200 OK got it\n"), "{stdout}");
    let sent = server.request().json();
    assert_eq!((&sent["type"], &sent["state"]), (&"notification_test".into(), &"firing".into()));

    let (code, stdout, stderr) = check(config, &flags, &server.url());
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let said =
        format!("voxplane: {whom} did not take the test: 429 Too Many Requests not at /***\n");
    assert_eq!(stderr, said);

    let (code, _, stderr) = check(config, &flags, &format!("http://{}/t0k3n", closed_port()));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("refused") && !stderr.contains("t0k3n"), "{stderr}");
}

#[test]
fn a_test_leaves_nothing_open() {
    let server = Server::start(vec![Answer::status(202)]);
    let config = format!(
        "[[notify]]\nname = 'pager'\nkind = 'pagerduty'\nurl = '{}'\nrouting_key_env = 'SECRET'\n\
         send_resolved = false",
        server.url()
    );
    assert_eq!(check(&config, &["--notify", "pager"], "R0UT1NGKEY").0, Some(0));
    let events = [server.request().json(), server.request().json()];
    assert_eq!(events[0]["dedup_key"], events[1]["dedup_key"]);
    let actions = events.map(|event| event["event_action"].clone());
    assert_eq!(actions, ["trigger", "resolve"]);
    assert!(server.is_quiet());
}
