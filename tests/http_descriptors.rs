//! The HTTP API when the process runs out of file descriptors: it comes back when there are some.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers fail and talk as tests do")]

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

mod http;
use http::{connect, exchange, read_answer, serve, snapshot};

/// Set in the process that runs out.
const VICTIM: &str = "VOXPLANE_TEST_VICTIM";

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// Keeps as many descriptors free as each line of its input says, none held for an empty line.
fn victim() {
    let server = serve(snapshot());
    println!("at {}", server.local_addr());
    let mut held = Vec::new();
    for line in std::io::stdin().lines() {
        held.clear();
        if let Ok(free) = line.unwrap().parse::<usize>() {
            while let Ok(file) = File::open("/dev/null") {
                held.push(file);
            }
            held.truncate(held.len() - free);
        }
        println!("held {}", held.len());
    }
}

/// tiny_http alone would not come back: it stops for good when an accept fails, and its accepting
/// thread panics when a socket cannot be duplicated.
#[test]
fn the_api_survives_running_out_of_descriptors() {
    if env::var_os(VICTIM).is_some() {
        victim();
        return;
    }
    let name = "the_api_survives_running_out_of_descriptors";
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" --exact --nocapture \"$1\""])
        .arg(env::current_exe().unwrap())
        .arg(name)
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut await_word = |word: &str| {
        output.find_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned())).unwrap()
    };
    let to: SocketAddr = await_word("at ").parse().unwrap();
    assert_eq!(exchange(to, REQUEST).unwrap().status, 200);

    for free in (0..=5).cycle().take(12) {
        writeln!(input, "{free}").unwrap();
        await_word("held ");
        let mut starved = connect(to).unwrap();
        starved.write_all(REQUEST).unwrap();
        let status = read_answer(&mut starved).unwrap().status;
        println!("{free} descriptors free: {status}");
        assert!([200, 503].contains(&status), "{free} descriptors free");

        writeln!(input).unwrap();
        await_word("held ");
        let back = (0..100).any(|_| {
            let served = exchange(to, REQUEST).is_ok_and(|answer| answer.status == 200);
            if !served {
                thread::sleep(Duration::from_millis(50));
            }
            served
        });
        assert!(back, "after {free} free descriptors");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}
