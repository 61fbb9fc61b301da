//! How often one address may ask over HTTP: past it requests get a 429 and others are answered as
//! before; who tries wrong tokens is soon not looked at.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use voxplane::{
    control::snapshot::SnapshotCell,
    http::{Limits, Options, Server, Tokens},
};

mod http;
use http::{Answer, get, options, read_answer, request, serve, snapshot};

/// A server that holds clients on this host to its limits as well.
fn server(limits: Limits, tokens: Option<Tokens>) -> Server {
    let limits = Limits { loopback: true, ..limits };
    let snapshots = SnapshotCell::default();
    snapshots.store(snapshot());
    Server::start(Options { limits, tokens, ..options() }, snapshots).unwrap()
}

/// GET from another address of this host.
fn get_from(from: [u8; 4], to: SocketAddr, target: &str, headers: &str) -> io::Result<Answer> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::from(from), 0)).into())?;
    socket.connect(&to.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let text = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(text.as_bytes())?;
    read_answer(&mut stream)
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("Retry-After").unwrap().parse().unwrap()
}

#[test]
fn past_its_rate_an_address_waits_and_others_do_not() {
    let server = server(Limits { requests_per_second: 5, ..Limits::default() }, None);
    let to = server.local_addr();
    let statuses: Vec<u16> = (0..40).map(|_| get(to, "/api/qos/metrics").status).collect();
    let taken = statuses.iter().filter(|status| **status == 200).count();
    // Ten at once; a slow machine gives the bucket time to fill.
    assert!((10..30).contains(&taken), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    assert!(statuses[..10].iter().all(|status| *status == 200), "{statuses:?}");

    let refused = (0..10).map(|_| get(to, "/metrics")).find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.json()["error"]["code"], "too_many_requests");
    assert!(refused.message().contains("your address"), "{refused:?}");
    assert_eq!(retry_after(&refused), 1);
    let page = get_from([127, 0, 0, 2], to, "/metrics", "").unwrap();
    assert_eq!(page.status, 200, "another address has its own");
    let counted = page.body.lines().find_map(|l| l.strip_prefix("voxplane_http_limited_total "));
    assert!(counted.unwrap().parse::<usize>().unwrap() > 40 - taken, "{counted:?}");
    thread::sleep(Duration::from_secs(retry_after(&refused)));
    assert_eq!(get(to, "/api/qos/metrics").status, 200);
}

#[test]
fn pollers_on_this_host_are_not_limited_unless_that_is_said() {
    let server = serve(snapshot());
    let to = server.local_addr();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(move || {
                for _ in 0..30 {
                    assert_eq!(get(to, "/api/qos/statistics").status, 200);
                }
            });
        }
    });
    assert_eq!(get(to, "/healthz").json()["api"]["limited"], 0);
}

#[test]
fn who_tries_wrong_tokens_is_soon_not_looked_at() {
    let tokens = Tokens::parse("s3cret").unwrap();
    let limits = Limits { failures_per_minute: 3, ..Limits::default() };
    let server = server(limits, Some(tokens));
    let to = server.local_addr();
    let ask = |headers: &str| request(to, "GET", "/api/qos/metrics", headers);
    let (right, wrong) = ("Authorization: Bearer s3cret\r\n", "Authorization: Bearer s3crex\r\n");
    // Who has none is told so as often as he likes.
    assert!((0..5).all(|_| ask("").status == 401));
    assert_eq!(ask(right).status, 200);
    assert!((0..3).all(|_| ask(wrong).status == 401));
    for headers in [wrong, right, ""] {
        let answer = ask(headers);
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(answer.message().contains("wrong tokens"), "{answer:?}");
        assert!((1..=21).contains(&retry_after(&answer)), "{answer:?}");
    }
    assert_eq!(get(to, "/healthz").status, 200, "supervisors need no token");
    let page = get_from([127, 0, 0, 3], to, "/metrics", right).unwrap();
    assert_eq!(page.status, 200);
    assert!(page.body.contains("\nvoxplane_http_auth_failures_total 3\n"));
}
