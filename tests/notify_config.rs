//! The `[[notify]]` tables: what they take, what they refuse by name, what of them shows.

use std::{collections::BTreeSet, fs, time::Duration};

use voxplane::{
    config::RawConfig,
    notify::{Kind, Severity, complete},
};

mod notify;
use notify::settings;

fn one(rest: &str) -> Result<voxplane::notify::Settings, String> {
    let table = format!("[[notify]]\nname = 'noc'\n{rest}");
    settings(&table, "https://hooks.example.com/s3cr3t").map(|mut all| all.remove(0))
}

#[test]
fn what_is_not_said_has_its_default() {
    let noc = one("kind = 'slack'\nurl_env = 'SECRET'").unwrap();
    assert_eq!((noc.name.as_str(), noc.kind.name()), ("noc", "slack"));
    assert_eq!((noc.min_severity, noc.rules.len()), (Severity::Info, 0));
    assert!(noc.send_resolved);
    assert_eq!((noc.timeout, noc.queue_max), (Duration::from_secs(10), 1000));
    assert_eq!((noc.give_up_after, noc.link), (Duration::from_secs(3600), None));
    let pager = one("kind = 'pagerduty'\nrouting_key_env = 'SECRET'").unwrap();
    assert_eq!(pager.kind.target(), "https://events.pagerduty.com/***");
    let alertmanager = one("kind = 'alertmanager'\nurl = 'http://am:9093'").unwrap();
    let Kind::Alertmanager { resend, .. } = alertmanager.kind else { panic!() };
    assert_eq!(resend, Duration::from_secs(60));
}

#[test]
fn what_cannot_be_used_is_named() {
    for (rest, named) in [
        ("", "notify.noc.kind: one of webhook, "),
        ("kind = 'smoke'", "notify.noc.kind: `smoke` is none of webhook, "),
        ("kind = 'slack'", "notify.noc.url_file or url_env: kind slack needs it"),
        ("kind = 'slack'\nurl = 'https://x/y'", "notify.noc.url: holds a secret"),
        ("kind = 'teams'\nurl_env = 'NONE'", "notify.noc.url_env: NONE is not in"),
        ("kind = 'teams'\nurl_file = '/nowhere'", "notify.noc.url_file: /nowhere: No such"),
        ("kind = 'webhook'\nurl = 'noc'", "notify.noc.url: "),
        (
            "kind = 'webhook'\nurl = 'http://a/'\nurl_env = 'SECRET'",
            "notify.noc.url: stands beside",
        ),
        ("kind = 'webhook'\nurl = 'http://u:p@a/'", "notify.noc.url: holds a password"),
        ("kind = 'webhook'\nurl = 'http://a/'\nca_file = '/nowhere'", "notify.noc.ca_file: /nowh"),
        ("kind = 'webhook'\nurl = 'http://a/'\nproxy = 'http://u:p@a'", "notify.noc.proxy: may"),
        (
            "kind = 'webhook'\nurl = 'http://a/'\nresend_s = 60",
            "notify.noc.resend_s: means nothing",
        ),
        ("kind = 'webhook'\nurl = 'http://a/'\ntimeout_s = 61", "notify.noc.timeout_s: 61 is not"),
        ("kind = 'webhook'\nurl = 'http://a/'\nqueue_max = 9", "notify.noc.queue_max: 9 is not"),
        ("kind = 'webhook'\nurl = 'http://a/'\nlink = 'a'", "notify.noc.link: "),
        ("kind = 'webhook'\nurl = 'http://a/'\nmin_severity = 'bad'", "unknown variant `bad`"),
        ("kind = 'webhook'\nurl = 'http://a/'\ncolour = 'red'", "unknown field `colour`"),
        ("kind = 'pagerduty'", "notify.noc.routing_key_file or routing_key_env: kind pagerduty"),
        ("kind = 'alertmanager'\nurl = 'http://a/'\nresend_s = 9", "notify.noc.resend_s: 9 is not"),
        ("kind = 'syslog'", "notify.noc.address: kind syslog needs it"),
        ("kind = 'syslog'\naddress = 'log:514'", "notify.noc.address: `log:514` is neither"),
        ("kind = 'syslog'\naddress = 'udp://a:1'\nfacility = 'x'", "notify.noc.facility: `x` is"),
        ("kind = 'syslog'\naddress = 'udp://a:1'\nurl = 'x'", "notify.noc.url: means nothing"),
        ("kind = 'command'", "notify.noc.command: the program's whole path"),
        ("kind = 'command'\ncommand = ['mail']", "notify.noc.command: the program's whole path"),
    ] {
        let error = one(rest).unwrap_err();
        assert!(error.contains(named), "{rest}: {error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
    let syslog = "[[notify]]\nname = 'a'\nkind = 'syslog'\naddress = 'udp://a:1'\n";
    assert_eq!(settings(&syslog.repeat(2), "").unwrap_err(), "notify.a.name: another has it");
    assert!(settings(&syslog.repeat(17), "").unwrap_err().starts_with("notify: 17 of them"));
    let unnamed = settings("[[notify]]\nname = 'a b'", "").unwrap_err();
    assert!(unnamed.starts_with("notify.name: 1 to 40"), "{unnamed}");
}

#[test]
fn a_secret_shows_in_nothing_that_can_be_printed() {
    let table = "kind = 'pagerduty'\nurl_env = 'SECRET'\nrouting_key_env = 'SECRET'\n\
                 authorization_env = 'SECRET'";
    let noc = one(table).unwrap();
    let shown = format!("{noc:?} {noc:#?} {}", noc.kind.target());
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(shown.contains("https://hooks.example.com/***"), "{shown}");
}

#[test]
fn a_file_holds_a_secret_and_nothing_else() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let table = format!("kind = 'slack'\nurl_file = '{}'", file.path().display());
    fs::write(file.path(), " https://hooks.slack.com/services/x\n").unwrap();
    assert_eq!(one(&table).unwrap().kind.target(), "https://hooks.slack.com/***");
    for bad in ["", " \n", "https://a/\nhttps://b/", "https://ä/"] {
        fs::write(file.path(), bad).unwrap();
        let error = one(&table).unwrap_err();
        assert!(error.starts_with("notify.noc.url_file: holds nothing, or more"), "{error}");
    }
}

#[test]
fn the_tables_of_the_shipped_file_can_be_used_and_name_every_key() {
    let shipped = fs::read_to_string("deploy/voxplane.toml").unwrap();
    let start = shipped.find("#     [[notify]]").unwrap();
    let tables: String = shipped[start..]
        .lines()
        .filter_map(|line| line.strip_prefix("#     "))
        .flat_map(|line| [line, "\n"])
        .collect();
    let raw: RawConfig = toml::from_str(&tables).unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let mut tables = raw.notify;
    for (index, table) in tables.iter_mut().enumerate() {
        let secret = secrets.path().join(index.to_string());
        fs::write(&secret, "https://hooks.example.com/s3cr3t").unwrap();
        for place in [
            &mut table.url_file,
            &mut table.hmac_key_file,
            &mut table.routing_key_file,
            &mut table.authorization_file,
        ] {
            if place.is_some() {
                *place = Some(secret.clone());
            }
        }
        if table.ca_file.is_some() {
            table.ca_file = Some("tests/fixtures/notify/ca.pem".into());
        }
    }
    let env = |_: &str| Some("https://hooks.example.com/s3cr3t".to_owned());
    let kinds: Vec<_> = complete(&tables, &env).unwrap();
    let kinds: BTreeSet<_> = kinds.iter().map(|settings| settings.kind.name()).collect();
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    let unknown = toml::from_str::<RawConfig>("[[notify]]\nx = 1").unwrap_err().to_string();
    let keys: Vec<_> = unknown.split('`').skip(3).step_by(2).collect();
    assert!(keys.len() > 20, "{unknown}");
    for key in keys {
        let is_there = shipped[start..].lines().any(|line| {
            line.strip_prefix("#     ").is_some_and(|line| line.starts_with(&format!("{key} = ")))
        });
        assert!(is_there, "the shipped file does not name {key}");
    }
}
