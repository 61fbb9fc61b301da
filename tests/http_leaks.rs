//! What a stopped HTTP server leaves behind: no thread, no descriptor, no file. Alone in its
//! process, because it counts them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, io::Write, thread, time::Duration};

mod http;
use http::{connect, get, serve, snapshot, timed};

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

fn private_directories() -> usize {
    let ours = format!("voxplane-{}-", std::process::id());
    let entries = fs::read_dir(std::env::temp_dir()).unwrap();
    entries.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(&ours)).count()
}

#[test]
fn a_stopped_server_leaves_nothing_behind() {
    let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));
    for _ in 0..3 {
        let server = serve(snapshot());
        let to = server.local_addr();
        assert_eq!(private_directories(), 1);
        for _ in 0..50 {
            assert_eq!(get(to, "/api/qos/metrics").status, 200);
        }
        let mut half_sent = connect(to).unwrap();
        half_sent.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        let ((), took) = timed(|| server.stop());
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(private_directories(), 0);
    }
    // tiny_http's idle threads take 5 s to notice that their server has gone.
    let settled = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(100));
        count("/proc/self/task") <= threads && count("/proc/self/fd") <= descriptors
    });
    assert!(
        settled,
        "{threads} threads became {}, {descriptors} descriptors became {}",
        count("/proc/self/task"),
        count("/proc/self/fd")
    );
}
