//! Delivery over HTTP: what is taken, tried again, given up; that order is kept, and that one slow
//! recipient holds up no other.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::disallowed_methods, reason = "a test times real servers")]

use std::time::{Duration, Instant};

use voxplane::notify::State;

mod notify;
use notify::{Answer, PATIENCE, Server, alert, closed_port, start, until};

const HOOK: &str = "[[notify]]\nname = 'noc'\nkind = 'webhook'\nurl_env = 'SECRET'\n";

fn ids(server: &Server, count: usize) -> Vec<u64> {
    (0..count).map(|_| server.request().json()["id"].as_u64().unwrap()).collect()
}

#[test]
fn what_is_taken_is_sent_once() {
    let server = Server::start(vec![Answer::Is(202, "", "thanks".to_owned())]);
    let notifiers = start(HOOK, &server.url());
    notifiers.handle().notify(alert(1, State::Firing));
    let request = server.request();
    assert_eq!(request.line, "POST /hook/t0k3n-in-path HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json"));
    let agent = request.header("user-agent").unwrap();
    assert_eq!(agent, concat!("voxplane/", env!("CARGO_PKG_VERSION")));
    let status = until(&notifiers.handle(), |status| status.sent == 1);
    assert_eq!((status.retried, status.gave_up, status.dropped, status.queued), (0, 0, 0, 0));
    assert!(status.is_well && status.last_error.is_none() && status.last_sent.is_some());
    assert!(server.is_quiet());
}

#[test]
fn failures_of_the_other_side_are_tried_again_in_order() {
    let answers = vec![
        Answer::status(500),
        Answer::Close,
        Answer::status(200),
        Answer::status(503),
        Answer::status(200),
    ];
    let server = Server::start(answers);
    let notifiers = start(HOOK, &server.url());
    (1..=3).for_each(|id| notifiers.handle().notify(alert(id, State::Firing)));
    assert_eq!(ids(&server, 6), [1, 1, 1, 2, 2, 3]);
    let status = until(&notifiers.handle(), |status| status.sent == 3);
    assert_eq!((status.retried, status.gave_up, status.queued), (3, 0, 0));
    assert!(status.last_error.unwrap().starts_with("503"));
}

#[test]
fn too_many_requests_are_held_back_as_long_as_asked() {
    let server = Server::start(vec![
        Answer::Is(429, "Retry-After: 2\r\n", String::new()),
        Answer::status(200),
    ]);
    let notifiers = start(HOOK, &server.url());
    notifiers.handle().notify(alert(1, State::Firing));
    server.request();
    let began = Instant::now();
    // Something new does not make it come sooner.
    notifiers.handle().notify(alert(2, State::Firing));
    assert_eq!(server.request().json()["id"], 1);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
    assert_eq!(until(&notifiers.handle(), |status| status.sent == 2).retried, 1);
}

#[test]
fn what_would_fail_again_is_given_up_and_the_next_is_sent() {
    let elsewhere = Answer::Is(302, "Location: http://127.0.0.1:1/\r\n", String::new());
    let answers = vec![Answer::status(400), elsewhere, Answer::status(404), Answer::status(200)];
    let server = Server::start(answers);
    let notifiers = start(HOOK, &server.url());
    (1..=4).for_each(|id| notifiers.handle().notify(alert(id, State::Firing)));
    assert_eq!(ids(&server, 4), [1, 2, 3, 4]);
    let status = until(&notifiers.handle(), |status| status.sent == 1);
    assert_eq!((status.retried, status.gave_up), (0, 3));
    assert!(status.is_well);
}

#[test]
fn silence_and_refusal_run_out_of_time_and_are_tried_again() {
    let server = Server::start(vec![Answer::Silence, Answer::status(200)]);
    let notifiers = start(&format!("{HOOK}timeout_s = 1"), &server.url());
    notifiers.handle().notify(alert(1, State::Firing));
    assert_eq!(ids(&server, 2), [1, 1]);
    let status = until(&notifiers.handle(), |status| status.sent == 1);
    assert_eq!(status.retried, 1);
    assert!(status.last_error.unwrap().contains("timeout"));

    let notifiers = start(HOOK, &format!("http://{}/x", closed_port()));
    notifiers.handle().notify(alert(1, State::Firing));
    let status = until(&notifiers.handle(), |status| status.retried == 1);
    assert!(!status.is_well && status.last_error.unwrap().contains("refused"));
}

#[test]
fn an_answer_that_does_not_end_costs_no_more_than_the_time_limit() {
    for answer in [Answer::Drip, Answer::Endless] {
        let server = Server::start(vec![answer.clone(), Answer::status(200)]);
        let notifiers = start(&format!("{HOOK}timeout_s = 1"), &server.url());
        let began = Instant::now();
        (1..=2).for_each(|id| notifiers.handle().notify(alert(id, State::Firing)));
        assert_eq!(ids(&server, 2), [1, 2], "{answer:?}");
        // The head said that it was taken.
        let status = until(&notifiers.handle(), |status| status.sent == 2);
        assert_eq!((status.retried, status.gave_up), (0, 0), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{answer:?}");
    }
}

#[test]
fn what_is_tried_too_long_is_given_up() {
    let server = Server::start(vec![Answer::status(500), Answer::status(200)]);
    let notifiers = start(&format!("{HOOK}give_up_after_s = 0"), &server.url());
    (1..=2).for_each(|id| notifiers.handle().notify(alert(id, State::Firing)));
    assert_eq!(ids(&server, 2), [1, 2]);
    let status = until(&notifiers.handle(), |status| status.sent == 1);
    assert_eq!((status.retried, status.gave_up), (0, 1));
}

#[test]
fn one_that_is_slow_holds_up_no_other() {
    let (slow, fast) =
        (Server::start(vec![Answer::Silence]), Server::start(vec![Answer::status(200)]));
    let tables = format!(
        "[[notify]]\nname = 'slow'\nkind = 'webhook'\nurl = '{}'\ntimeout_s = 60\n\
         [[notify]]\nname = 'fast'\nkind = 'webhook'\nurl = '{}'",
        slow.url(),
        fast.url()
    );
    let notifiers = start(&tables, "");
    let began = Instant::now();
    (1..=50).for_each(|id| notifiers.handle().notify(alert(id, State::Firing)));
    assert!(began.elapsed() < Duration::from_secs(1), "telling waits for nobody");
    assert_eq!(ids(&fast, 50), (1..=50).collect::<Vec<_>>());
    assert_eq!(ids(&slow, 1), [1]);
    let status = &notifiers.handle().status()[0];
    assert_eq!((status.name.as_str(), status.sent, status.queued), ("slow", 0, 50));
    // Nor does it hold up the end.
    let began = Instant::now();
    notifiers.stop(Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_end_waits_for_what_can_be_delivered() {
    let server = Server::start(vec![Answer::status(200)]);
    let notifiers = start(HOOK, &server.url());
    let handle = notifiers.handle();
    (1..=20).for_each(|id| handle.notify(alert(id, State::Firing)));
    notifiers.stop(PATIENCE);
    assert_eq!(handle.status()[0].sent, 20);
    assert_eq!(ids(&server, 20), (1..=20).collect::<Vec<_>>());
}

#[test]
fn what_the_other_side_repeats_of_a_secret_is_not_shown() {
    let echo = "no hook at /hook/t0k3n-in-path\nfor Bearer s3cr3t-word".to_owned();
    let server = Server::start(vec![Answer::Is(404, "", echo)]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Bearer s3cr3t-word\n").unwrap();
    let table = format!("{HOOK}authorization_file = '{}'", file.path().display());
    let notifiers = start(&table, &server.url());
    notifiers.handle().notify(alert(1, State::Firing));
    assert_eq!(server.request().header("authorization"), Some("Bearer s3cr3t-word"));
    let status = until(&notifiers.handle(), |status| status.gave_up == 1);
    assert_eq!(status.last_error.as_deref(), Some("404 Not Found no hook at /*** for ***"));
    let shown = format!("{notifiers:?}{:?}", notify::settings(&table, &server.url()).unwrap());
    assert!(!shown.contains("t0k3n") && !shown.contains("s3cr3t"), "{shown}");
}
