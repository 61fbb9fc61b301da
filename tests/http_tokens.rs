//! Who may do what over HTTP: tokens with roles, many in a file, exchanged while the server runs.

use std::{fs, net::SocketAddr, path::Path, thread, time::Duration};

use voxplane::{
    control::snapshot::SnapshotCell,
    http::{Server, Tokens},
};

mod http;
use http::{Answer, exchange, get, request, start};

const TOKENS: &str = "# role, token, name\nread  r3ad  grafana\noperate 0perate\nadmin adm1n noc\n";

fn server(tokens: Tokens) -> Server {
    start(SnapshotCell::default(), Some(tokens))
}

fn send(to: SocketAddr, method: &str, target: &str, token: &str) -> Answer {
    let bytes = format!(
        "{method} {target} HTTP/1.1\r\nHost: noc.example\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 2\r\n\r\n{{}}"
    );
    exchange(to, bytes.as_bytes()).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

#[test]
fn each_role_may_do_what_those_before_it_may_and_more() {
    let server = server(Tokens::parse(TOKENS).unwrap());
    let to = server.local_addr();
    let reading = [("GET", "/api/qos/metrics"), ("HEAD", "/metrics"), ("GET", "/api/qos/rules")];
    let operating = [
        ("POST", "/api/qos/thresholds"),
        ("POST", "/api/qos/rules"),
        ("POST", "/api/qos/clear-alerts"),
        ("POST", "/api/qos/alerts/7/acknowledge"),
        ("DELETE", "/api/qos/rules/none"),
    ];
    let administering = [
        ("POST", "/api/reload"),
        ("POST", "/api/calls/a%40b/hangup"),
        ("POST", "/api/calls/hangup"),
        ("POST", "/api/calls/hangup?x"),
    ];
    let roles = ["read", "operate", "admin"];
    for (needed, requests) in [&reading[..], &operating, &administering].into_iter().enumerate() {
        for &(method, target) in requests {
            for (has, token) in ["r3ad", "0perate", "adm1n"].into_iter().enumerate() {
                let answer = send(to, method, target, token);
                let what = format!("{method} {target} by {}: {answer:?}", roles[has]);
                assert_eq!(answer.status == 403, has < needed, "{what}");
                assert_ne!(answer.status, 401, "{what}");
                if has < needed {
                    assert_eq!(answer.json()["error"]["code"], "forbidden");
                    let message = answer.message();
                    assert!(message.contains(&format!("role {}", roles[needed])), "{what}");
                    assert!(message.ends_with(roles[has]), "{what}");
                    let challenge = answer.header("WWW-Authenticate").unwrap_or_default();
                    assert!(challenge.contains("insufficient_scope"), "{what}");
                }
            }
            let answer = send(to, method, target, "n0ne");
            assert_eq!((answer.status, answer.header("WWW-Authenticate")), (401, Some("Bearer")));
        }
    }
    let health = get(to, "/healthz").json();
    assert_eq!(health["api"]["tokens"], 3);
    assert!(health["api"]["token_file_error"].is_null());
}

#[test]
fn a_token_alone_in_its_file_is_an_admins() {
    let server = server(Tokens::parse("s3cret\n").unwrap());
    let answer = send(server.local_addr(), "POST", "/api/reload", "s3cret");
    assert_eq!(answer.status, 503, "nothing runs behind this server: {answer:?}");
}

#[test]
fn tokens_change_with_their_file_and_a_bad_file_changes_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |text: &str| fs::write(file.path(), text).unwrap();
    write("read old\n");
    let tokens = Tokens::follow(file.path()).unwrap();
    let server = server(tokens.clone());
    let to = server.local_addr();
    let status = |token: &str| {
        request(to, "GET", "/metrics", &format!("Authorization: Bearer {token}\r\n")).status
    };
    assert_eq!((status("old"), status("new")), (200, 401));

    // Both hold while clients go over from one to the other.
    write("read old\nread new\n");
    assert!(eventually(|| status("new") == 200));
    assert_eq!(status("old"), 200);
    write("read new\n");
    assert!(eventually(|| status("old") == 401));
    assert_eq!(status("new"), 200);

    let health = || get(to, "/healthz").json();
    write("read new\nroot other\n");
    assert!(eventually(|| health()["api"]["token_file_error"].is_string()));
    let said = health();
    let error = said["api"]["token_file_error"].as_str().unwrap_or_default();
    assert!(error.contains("line 2") && !error.contains("other"), "{error}");
    assert_eq!(said["status"], "degraded");
    assert!(said["reasons"].to_string().contains("API tokens"), "{said}");
    assert_eq!((status("new"), status("other")), (200, 401));
    assert!(tokens.reload().unwrap_err().contains("line 2"));

    fs::remove_file(file.path()).unwrap();
    assert!(tokens.reload().is_err());
    assert_eq!(status("new"), 200);

    // Who asks for it need not wait.
    write("read third\n");
    assert_eq!(tokens.reload(), Ok(()));
    assert_eq!((status("third"), status("new")), (200, 401));
    assert!(health()["api"]["token_file_error"].is_null());
}

#[test]
fn what_cannot_be_a_file_of_tokens_is_refused_at_the_start() {
    assert!(Tokens::follow(Path::new("/nowhere/tokens")).is_err());
    let error = Tokens::follow(Path::new("/dev/zero")).unwrap_err();
    assert!(error.to_string().contains("longer than 256 KiB"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"read \xff\xfe\n").unwrap();
    assert!(Tokens::follow(file.path()).is_err());
}

/// Whether something becomes true within some seconds.
fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    (0..100).any(|_| {
        let so = is_so();
        if !so {
            thread::sleep(Duration::from_millis(100));
        }
        so
    })
}
