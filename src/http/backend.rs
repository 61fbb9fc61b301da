//! The HTTP server behind the door: tiny_http on a private Unix socket, and four threads that
//! answer. It sees only what the door has let through.

use std::{
    fs, io,
    os::unix::{fs::DirBuilderExt, net::UnixListener},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::{clock, door::Shared, reply::Reply, routes::Api};

/// The directory that the private socket is in. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct Den(PathBuf);

impl Den {
    /// Makes a new directory for temporary files that only this user can enter.
    ///
    /// # Errors
    ///
    /// What making a directory gives.
    pub(super) fn new() -> io::Result<Self> {
        let unique = format!("voxplane-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(unique);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// The socket's path.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("http")
    }
}

impl Drop for Den {
    fn drop(&mut self) {
        // Nothing can be done about a directory that will not go, and nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Serves until told to stop. A server that has died (tiny_http gives up for good when it cannot
/// accept) is replaced.
pub(super) fn run(first: UnixListener, socket: &Path, api: &Api, shared: &Arc<Shared>) {
    let mut listener = Some(first);
    while !shared.stop.load(Relaxed) {
        match listener.take().map_or_else(|| bind_again(socket), Ok) {
            Ok(bound) => {
                shared.renew.store(false, Relaxed);
                serve(bound, api, shared);
            }
            Err(error) => {
                tracing::warn!(%error, "the HTTP server cannot be started again yet");
                thread::park_timeout(PATIENCE);
            }
        }
    }
}

fn bind_again(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(socket),
    }
}

fn serve(listener: UnixListener, api: &Api, shared: &Shared) {
    let server = match tiny_http::Server::from_listener(listener, None) {
        Ok(server) => server,
        Err(error) => {
            tracing::warn!(error, "the HTTP server cannot be started");
            return;
        }
    };
    thread::scope(|scope| {
        for _ in 1..WORKERS {
            let worker = thread::Builder::new().name("http".to_owned());
            if let Err(error) = worker.spawn_scoped(scope, || work(&server, api, shared)) {
                tracing::warn!(%error, "one thread less answers HTTP requests");
            }
        }
        work(&server, api, shared);
    });
}

fn work(server: &tiny_http::Server, api: &Api, shared: &Shared) {
    while !shared.stop.load(Relaxed) && !shared.renew.load(Relaxed) {
        match server.recv_timeout(PATIENCE) {
            Ok(Some(request)) => respond(request, api),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the HTTP server has stopped accepting and is replaced");
                shared.renew.store(true, Relaxed);
            }
        }
    }
}

fn respond(request: tiny_http::Request, api: &Api) {
    let answer =
        AssertUnwindSafe(|| api.answer(request.method().as_str(), request.url(), clock::wall()));
    let reply = catch_unwind(answer).unwrap_or_else(|_| Reply::error(500, "an error of our own"));
    let common = [
        ("Content-Type", reply.content_type),
        ("Server", "voxplane"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    let mut response = tiny_http::Response::from_data(reply.body)
        .with_status_code(reply.status)
        // Its length is known: a chunked answer would be of no use to an HTTP/1.0 client.
        .with_chunked_threshold(usize::MAX);
    for (name, value) in common.into_iter().chain(reply.header) {
        if let Ok(header) = tiny_http::Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    // The other side is the door; if it has gone, nobody waits for the answer.
    let _ = request.respond(response);
}

/// Threads that answer: an answer is made in memory, so that few are enough.
const WORKERS: usize = 4;

/// How soon a thread notices that it must stop, and how long to wait before another attempt.
const PATIENCE: Duration = Duration::from_millis(200);
