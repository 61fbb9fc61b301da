//! The HTTP API: a guarded door, then routes over the newest snapshot, the history, the alerts.
//!
//! ```text
//! clients ──▶ door ──▶ intake ──▶ private socket ──▶ tiny_http ──▶ routes ──▶ snapshot, …
//!             one thread, bounded connections         four threads
//! ```
//!
//! Live events do not go that way: the door tells them itself. Nothing here touches a shard or
//! waits for one. JSON answers show values that are not known as `null`; an error is
//! `{"error":{"code","message"}}`.

mod access_log;
mod alerts;
mod backend;
mod clock;
mod connection;
mod door;
mod form;
mod guard;
mod health;
mod history;
mod intake;
mod listener;
mod live;
mod operator;
mod phone_reports;
mod prometheus;
mod query;
mod rate;
mod registrations;
mod reply;
mod routes;
mod signalling;
mod token;
mod tokens;
mod trends;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
};

use self::{
    backend::Den,
    door::{Door, Shared},
    live::Feed,
    routes::Api,
};
use crate::{alerts::Alerts, control::snapshot::SnapshotCell, notify, store};

pub use self::{
    access_log::{AccessLog, AccessLogHandle},
    guard::Limits,
    operator::{Operator, Reloaded},
    tokens::Tokens,
};

/// How the API is served.
#[derive(Debug)]
pub struct Options {
    /// Where clients come in.
    pub listener: TcpListener,
    /// Of which every request but `/healthz` must carry one; `None` lets everyone in.
    pub tokens: Option<Tokens>,
    /// How often one address may ask.
    pub limits: Limits,
    /// Where a line for each request goes.
    pub access_log: Option<AccessLog>,
    /// The history; without one, only what the snapshots still have is shown.
    pub store: Option<store::Reader>,
    /// The notifiers, for health and metrics.
    pub notify: Option<notify::Handle>,
    /// The alerts, and the rules that they are raised by.
    pub alerts: Alerts,
    /// Who reloads and hangs up, where there is a running appliance.
    pub operator: Option<Arc<dyn Operator>>,
}

/// The running API. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    waker: mio::Waker,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts serving what `snapshots` holds.
    ///
    /// # Errors
    ///
    /// What making the private directory and socket, the event queue or a thread gives.
    pub fn start(options: Options, snapshots: SnapshotCell) -> io::Result<Self> {
        let Options { listener, tokens, limits, access_log, .. } = options;
        let Options { store, notify, alerts, operator, .. } = options;
        let shared = Arc::new(Shared {
            tokens,
            access_log: access_log.as_ref().map(AccessLog::handle),
            ..Shared::default()
        });
        let den = Den::new()?;
        let private = UnixListener::bind(den.socket())?;
        let feed = Feed::new(snapshots.clone(), alerts.clone());
        let (door, waker) =
            Door::new(listener, den.socket(), &limits, access_log, feed, Arc::clone(&shared))?;
        let local_addr = door.local_addr()?;
        let api = Api::new(snapshots, store, alerts, notify, operator, Arc::clone(&shared));
        // From here on an error drops `server`, which ends the threads that have started.
        let mut server = Self { local_addr, shared, waker, threads: Vec::new() };
        let shared = Arc::clone(&server.shared);
        server.spawn("http-server", move || backend::run(private, &den.socket(), &api, &shared))?;
        server.spawn("http-door", move || door.run())?;
        Ok(server)
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes every connection and waits for the threads to end.
    pub fn stop(self) {
        drop(self);
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(body)?);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "the HTTP door cannot be told to close");
            return;
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the HTTP server has panicked");
            }
        }
    }
}
