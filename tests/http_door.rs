//! The HTTP door under abuse: whatever a client sends or leaves unsent, the others are answered.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

mod http;
use http::{connect, exchange, get, read_answer, serve, snapshot, timed};

/// The tests here measure how soon others are answered, so that they must not disturb each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The API answers someone else, and soon.
#[expect(clippy::print_stdout, reason = "the measured time is worth seeing")]
fn assert_alive(to: SocketAddr, after: &str) {
    let (answer, took) = timed(|| get(to, "/api/qos/metrics"));
    assert_eq!(answer.status, 200, "after {after}");
    println!("after {after}: {:.1} ms", took.as_secs_f64() * 1e3);
    assert!(took < Duration::from_secs(1), "after {after}: {took:?}");
}

fn post(headers: &str) -> String {
    format!("POST /api/qos/metrics HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

#[test]
fn requests_that_deceive_are_refused_by_name() {
    let _alone = alone();
    let server = serve(snapshot());
    let to = server.local_addr();
    let huge_head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(100));
    for (bytes, status, code) in [
        (post("Content-Length: 99999999999999\r\n"), 413, "content_too_large"),
        (post("Content-Length: 18446744073709551615\r\n"), 413, "content_too_large"),
        (post("Content-Length: 99999999999999999999999\r\n"), 413, "content_too_large"),
        (post("Content-Length: 65537\r\n"), 413, "content_too_large"),
        (post("Content-Length: -1\r\n"), 400, "bad_request"),
        (post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, "bad_request"),
        (post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "bad_request"),
        (post("Transfer-Encoding: chunked\r\n"), 411, "length_required"),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, "bad_request"),
        (post("Content-Length: 5\r\nExpect: 100-continue\r\n"), 417, "expectation_failed"),
        (huge_head, 431, "header_fields_too_large"),
        (many_headers, 431, "header_fields_too_large"),
        ("GET /\0\0 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400, "bad_request"),
        ("\0\0\0\0".to_owned(), 400, "bad_request"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "bad_request"),
        ("GET /\r\n\r\n".to_owned(), 400, "bad_request"),
        ("\u{16}\u{3}\u{1}".to_owned(), 400, "bad_request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505, "http_version_not_supported"),
    ] {
        let what = format!("{:?}", bytes.chars().take(90).collect::<String>());
        let answer = exchange(to, bytes.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.json()["error"]["code"], code, "{what}");
        assert_eq!(answer.header("Connection"), Some("close"), "{what}");
        assert_alive(to, &what);
    }
}

#[test]
fn a_body_is_taken_whole_and_nothing_after_it() {
    let _alone = alone();
    let server = serve(snapshot());
    let to = server.local_addr();
    let mut stream = connect(to).unwrap();
    stream.write_all(post("Content-Length: 65536\r\n").as_bytes()).unwrap();
    for piece in vec![b'x'; 65_536].chunks(10_000) {
        stream.write_all(piece).unwrap();
    }
    stream.write_all(b"\0\0GET / HTTP/1.1\r\n\r\n").unwrap();
    // 405 is the route's word: the request has come through.
    assert_eq!(read_answer(&mut stream).unwrap().status, 405);

    let pipelined = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let answer = exchange(to, pipelined.as_bytes()).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.matches("HTTP/1.1").count(), 0, "one connection, one answer");
    assert_alive(to, "pipelined requests");
}

#[test]
fn a_client_that_closes_its_side_is_still_answered() {
    let _alone = alone();
    let server = serve(snapshot());
    let mut stream = connect(server.local_addr()).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\n\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
}

#[test]
fn half_a_request_gets_408_and_holds_nobody_up() {
    let _alone = alone();
    let server = serve(snapshot());
    let to = server.local_addr();
    let half_sent = [
        "GET /api/qos/metrics HTTP/1.1\r\nHost: x\r\n".to_owned(),
        post("Content-Length: 5000\r\n") + "ab",
        "G".to_owned(),
    ];
    let started: Vec<TcpStream> = half_sent
        .iter()
        .map(|bytes| {
            let mut stream = connect(to).unwrap();
            stream.write_all(bytes.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut silent = connect(to).unwrap();
    for _ in 0..20 {
        assert_alive(to, "half-sent requests");
    }
    for mut stream in started {
        let (answer, took) = timed(|| read_answer(&mut stream).unwrap());
        assert_eq!(answer.status, 408);
        assert_eq!(answer.json()["error"]["code"], "request_timeout");
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
    let mut nothing = Vec::new();
    silent.read_to_end(&mut nothing).unwrap();
    assert_eq!(nothing, b"", "who has said nothing hears nothing");
}

#[test]
fn one_byte_at_a_time_gets_408_in_time() {
    let _alone = alone();
    let server = serve(snapshot());
    let to = server.local_addr();
    let mut slow = connect(to).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let ((), took) = timed(|| {
        // Reading with its time-out is the pause between two bytes.
        let mut first = [0];
        while slow.read(&mut first).is_err() {
            slow.write_all(b"x").unwrap();
        }
    });
    let answer = {
        slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut rest = String::new();
        slow.read_to_string(&mut rest).unwrap();
        rest
    };
    assert!(answer.starts_with("TTP/1.1 408 "), "{answer}");
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
    assert_alive(to, "a slow loris");
}

#[test]
fn two_thousand_idle_connections_cost_the_others_nothing() {
    let _alone = alone();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = files.split_whitespace().nth(3).unwrap();
    if soft.parse::<usize>().is_ok_and(|soft| soft < 5000) {
        println!("skipped: {soft} open files are allowed, 2,000 connections need 5,000");
        return;
    }
    let server = serve(snapshot());
    let to = server.local_addr();
    let mut idle = Vec::new();
    for number in 0..2000 {
        let mut stream = connect(to).unwrap();
        if number % 2 == 0 {
            // It may have been closed already to make room for the later ones.
            let _ = stream.write_all(b"GET /api/qos/metrics HTTP/1.1\r\nHo");
        }
        idle.push(stream);
        if number % 100 == 99 {
            assert_alive(to, &format!("{} idle connections", number + 1));
        }
    }
    for _ in 0..20 {
        assert_alive(to, "2,000 idle connections");
    }
    let page = get(to, "/metrics").body;
    let evicted = page.lines().find(|line| line.starts_with("voxplane_http_evicted_total "));
    let evicted: u64 = evicted.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(evicted >= 1000, "{evicted} were closed and counted");
}

#[test]
fn clients_that_do_not_read_hold_nobody_up() {
    let _alone = alone();
    let mut many = snapshot();
    let call = many.active[0].clone();
    many.active = vec![call; 1000];
    let server = serve(many);
    let to = server.local_addr();
    let unread: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = connect(to).unwrap();
            let head = "GET /api/qos/metrics?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_alive(to, "clients that do not read");
    }
    for mut stream in unread {
        let answer = read_answer(&mut stream).unwrap();
        assert_eq!(answer.header("Content-Length"), Some(&*answer.body.len().to_string()));
    }
}

#[test]
fn a_hundred_clients_at_once_are_all_answered() {
    let _alone = alone();
    let server = serve(snapshot());
    let to = server.local_addr();
    let slowest = Arc::new(Mutex::new(Duration::ZERO));
    thread::scope(|scope| {
        for number in 0..100 {
            let slowest = Arc::clone(&slowest);
            scope.spawn(move || {
                for _ in 0..5 {
                    let target = ["/api/qos/metrics", "/api/qos/history", "/metrics"][number % 3];
                    let (answer, took) = timed(|| get(to, target));
                    assert_eq!(answer.status, 200);
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = took.max(*slowest);
                }
            });
        }
    });
    println!("slowest of 500 answers to 100 clients: {:?}", slowest.lock().unwrap());
}
