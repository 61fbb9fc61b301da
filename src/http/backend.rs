//! The HTTP server behind the door: tiny_http on a private Unix socket, and four threads that
//! answer. It sees only what the door has let through.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::{fs::DirBuilderExt, net::UnixListener},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::{clock, door::Shared, form::Form, reply::Reply, routes::Api};

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
            Ok(Some(request)) => respond(request, api, shared),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the HTTP server has stopped accepting and is replaced");
                shared.renew.store(true, Relaxed);
            }
        }
    }
}

fn respond(mut request: tiny_http::Request, api: &Api, shared: &Shared) {
    let mut body = Vec::new();
    // The door has seen all of it, and how long it is.
    if let Err(error) = request.as_reader().read_to_end(&mut body) {
        return send(request, Reply::error(400, &format!("the body cannot be read: {error}")));
    }
    let (method, target) = (request.method().as_str(), request.url());
    let answer = AssertUnwindSafe(|| api.answer(method, target, &body, clock::wall()));
    let reply = catch_unwind(answer).unwrap_or_else(|_| Reply::error(500, "an error of our own"));
    if reply.stream.is_none() {
        let is_asked_for = ["GET", "HEAD"].contains(&method);
        let reply = if is_asked_for { form(&request).apply(reply) } else { reply };
        return send(request, reply);
    }
    if shared.streaming.fetch_add(1, Relaxed) < STREAMS_MAX {
        send(request, reply);
    } else {
        send(request, Reply::error(503, "other exports are running, try again"));
    }
    shared.streaming.fetch_sub(1, Relaxed);
}

/// In which form the answer is wanted.
fn form(request: &tiny_http::Request) -> Form {
    let values = |name: &'static str| {
        let found = request.headers().iter().filter(move |header| header.field.equiv(name));
        found.map(|header| header.value.as_str().as_bytes())
    };
    Form::of(values("Accept-Encoding"), values("If-None-Match"))
}

/// Sends an answer to the door.
fn send(request: tiny_http::Request, reply: Reply) {
    if reply.has_no_body() {
        // tiny_http would give it a length. If the door has gone, nobody waits for the answer.
        let mut door = request.into_writer();
        let _ = door.write_all(&reply.to_bytes()).and_then(|()| door.flush());
        return;
    }
    let common = [
        ("Content-Type", reply.content_type),
        ("Server", "voxplane"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    let own = reply.headers.iter().map(|(name, value)| (*name, value.as_ref()));
    let may_be_kept = own.clone().any(|(name, _)| name == "Cache-Control");
    let unkept = (!may_be_kept).then_some(("Cache-Control", "no-store"));
    let headers = common.into_iter().chain(unkept).chain(own);
    let headers =
        headers.filter_map(|(name, value)| tiny_http::Header::from_bytes(name, value).ok());
    let headers: Vec<_> = headers.collect();
    let status = tiny_http::StatusCode(reply.status);
    // The other side is the door; if it has gone, nobody waits for the answer.
    let _ = match reply.stream {
        // For an HTTP/1.0 client tiny_http would hold all of it to tell its length.
        Some(_) if *request.http_version() < tiny_http::HTTPVersion(1, 1) => {
            let error = Reply::error(505, "what is streamed needs HTTP/1.1");
            return send(request, error);
        }
        Some(stream) => {
            request.respond(tiny_http::Response::new(status, headers, stream.0, None, None))
        }
        None => {
            let length = Some(reply.body.len());
            let body = io::Cursor::new(reply.body);
            let response = tiny_http::Response::new(status, headers, body, length, None);
            // Its length is known: a chunked answer would be of no use to an HTTP/1.0 client.
            request.respond(response.with_chunked_threshold(usize::MAX))
        }
    };
}

/// Threads that answer: an answer is made in memory, so that few are enough.
const WORKERS: usize = 4;

/// Answers that are streamed at once: each keeps a thread for as long as its client takes.
const STREAMS_MAX: usize = 2;

/// How soon a thread notices that it must stop, and how long to wait before another attempt.
const PATIENCE: Duration = Duration::from_millis(200);
