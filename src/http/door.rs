//! The guard in front of the HTTP server: one thread that holds every client's connection.
//!
//! The server behind it trusts lengths, has no time-outs and gives each connection a thread; here
//! connections, heads, bodies and times are bounded, and only complete requests go on, over a
//! private socket. It answers nothing itself but errors, and tells live events.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Waker, net::UnixStream};

use super::{
    access_log::{AccessLog, AccessLogHandle},
    clock,
    connection::{Connection, Turn},
    guard::{Guard, Limits},
    listener::Batch,
    live::{Event, Feed, OTHER_TOKENS},
    query::Query,
    reply::Reply,
    routes::LIVE_PATH,
    tokens::Tokens,
};

/// What the door has seen since start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Connections accepted.
    pub(super) connections: AtomicU64,
    /// Requests passed on.
    pub(super) requests: AtomicU64,
    /// Connections closed without an answer to make room for others.
    pub(super) evicted: AtomicU64,
    /// Connections or requests that ran out of time.
    pub(super) overdue: AtomicU64,
    /// Connections refused because every other one had a complete request.
    pub(super) refused: AtomicU64,
    /// Accepts that failed.
    pub(super) accept_errors: AtomicU64,
    /// Requests refused because their address had sent too many, or too many wrong tokens.
    pub(super) limited: AtomicU64,
    /// Requests with a wrong token.
    pub(super) auth_failures: AtomicU64,
    /// Requests that the server behind the door did not answer.
    pub(super) unanswered: AtomicU64,
    /// Clients that listen to live events now.
    pub(super) live_clients: AtomicU64,
    /// Live events, each counted once.
    pub(super) live_events: AtomicU64,
    /// Clients of live events that did not keep up.
    pub(super) live_dropped: AtomicU64,
    /// Clients of live events that were one too many.
    pub(super) live_refused: AtomicU64,
}

/// What the door and the server behind it tell each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Both must end.
    pub(super) stop: AtomicBool,
    /// The server does not answer and must be made anew.
    pub(super) renew: AtomicBool,
    /// Answers that are being streamed.
    pub(super) streaming: AtomicUsize,
    /// What is known of the access log; `None` without one.
    pub(super) access_log: Option<AccessLogHandle>,
    /// The tokens in force; `None` where none is needed.
    pub(super) tokens: Option<Tokens>,
    /// What the door has seen.
    pub(super) counters: Counters,
}

/// The door.
#[derive(Debug)]
pub(super) struct Door {
    poll: Poll,
    listener: mio::net::TcpListener,
    accepting: Accepting,
    /// Held so that one client more can be accepted when descriptors have run out. Accepting
    /// fails then even if nobody is there, which must not cost anyone his connection.
    spare: Option<File>,
    /// By age: a connection's number is its key, and numbers grow.
    connections: BTreeMap<usize, Connection>,
    next: usize,
    /// Complete requests, in their order.
    waiting: VecDeque<usize>,
    server: PathBuf,
    guard: Guard,
    log: Option<AccessLog>,
    feed: Feed,
    /// When it was last seen what there is to tell live.
    told_at: Option<Instant>,
    shared: Arc<Shared>,
}

/// What is known about further clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// The listener tells when there are any.
    AllDone,
    /// There may be more right now.
    More,
    /// Accepting failed; try again at the next tick.
    Later,
}

impl Door {
    /// A door at `listener` to the server whose socket is at `server`, and what wakes it to stop.
    pub(super) fn new(
        listener: TcpListener,
        server: PathBuf,
        limits: &Limits,
        log: Option<AccessLog>,
        feed: Feed,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, Waker)> {
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let door = Self {
            poll,
            listener,
            accepting: Accepting::AllDone,
            spare: Some(File::open(SPARE)?),
            connections: BTreeMap::new(),
            next: FIRST,
            waiting: VecDeque::new(),
            server,
            guard: Guard::new(limits, Arc::clone(&shared)),
            log,
            feed,
            told_at: None,
            shared,
        };
        Ok((door, waker))
    }

    /// The address it listens on.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut swept = clock::now();
        while !self.shared.stop.load(Relaxed) {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the HTTP door cannot wait for its sockets and closes");
                return;
            }
            let now = clock::now();
            self.guard.look(now);
            for event in &events {
                match event.token() {
                    LISTENER => self.accepting = Accepting::More,
                    WAKER => {}
                    mio::Token(key) => self.ready(key, now),
                }
            }
            if self.accepting == Accepting::More {
                self.accept(now);
            }
            if now.saturating_duration_since(swept) >= TICK {
                swept = now;
                self.sweep(now);
            }
            self.tell(now);
            self.dispatch(now);
        }
    }

    /// How long nothing needs to be done unless a socket says so.
    fn patience(&self) -> Option<Duration> {
        match self.accepting {
            Accepting::More => Some(Duration::ZERO),
            Accepting::AllDone if self.is_alone() => None,
            Accepting::AllDone | Accepting::Later => Some(TICK),
        }
    }

    /// Whether there is nobody, and nothing to put in order.
    fn is_alone(&self) -> bool {
        self.connections.is_empty() && self.spare.is_some() && !self.feed.is_looking()
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPT_BATCH {
            match self.listener.accept() {
                Ok((client, address)) => self.admit(client, address.ip().to_canonical(), now),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.accepting = Accepting::AllDone;
                        return;
                    }
                    // The client has gone before we came.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => {}
                    // Out of descriptors or memory.
                    _ => {
                        self.shared.counters.accept_errors.fetch_add(1, Relaxed);
                        if self.spare.take().is_none() {
                            self.accepting = Accepting::Later;
                            return;
                        }
                    }
                },
            }
        }
    }

    fn admit(&mut self, client: mio::net::TcpStream, from: IpAddr, now: Instant) {
        self.shared.counters.connections.fetch_add(1, Relaxed);
        let mut connection = Connection::new(client, from, now);
        if self.connections.len() >= CONNECTIONS_MAX && !self.evict(now) {
            self.shared.counters.refused.fetch_add(1, Relaxed);
            connection.answer(&Reply::error(503, "too many requests at once"), now);
            return;
        }
        let key = self.next;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut connection.client, mio::Token(key), interest).is_ok()
        {
            self.next += STEP;
            self.connections.insert(key, connection);
        }
    }

    /// Closes the oldest connection that no complete request depends on.
    fn evict(&mut self, now: Instant) -> bool {
        let idle = self.connections.iter().find(|(_, connection)| connection.is_idle());
        let Some((&key, _)) = idle else { return false };
        self.shared.counters.evicted.fetch_add(1, Relaxed);
        self.remove(key, now);
        true
    }

    /// Gets a descriptor to spare again, from an idle connection if need be.
    fn restock(&mut self, now: Instant) {
        if self.spare.is_none() {
            self.spare = File::open(SPARE).ok();
        }
        if self.spare.is_none() && self.evict(now) {
            self.spare = File::open(SPARE).ok();
        }
    }

    /// A socket of a connection is ready: an even key is the client's, the odd one after it is
    /// that of the server behind the door.
    fn ready(&mut self, key: usize, now: Instant) {
        let owner = key & !SERVER_SIDE;
        let Some(connection) = self.connections.get_mut(&owner) else { return };
        let turn = if key == owner {
            connection.client_ready(&mut self.guard, now)
        } else {
            connection.server_ready(now)
        };
        self.after(owner, turn, now);
    }

    fn after(&mut self, key: usize, turn: Turn, now: Instant) {
        match turn {
            Turn::Open => {}
            Turn::Complete => self.complete(key, now),
            Turn::Answered => self.bound_unsent(now),
            Turn::Unanswered => {
                self.shared.renew.store(true, Relaxed);
                self.apologize(key, now);
            }
            Turn::Over => self.remove(key, now),
        }
        if self.connections.get(&key).is_some_and(Connection::is_answered) {
            self.log(key, now);
        }
    }

    /// Ends a connection.
    fn remove(&mut self, key: usize, now: Instant) {
        self.log(key, now);
        self.connections.remove(&key);
    }

    /// Has the log say what became of a request.
    fn log(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if let (Some(log), Some(entry)) = (&self.log, connection.entry(now)) {
            log.write(&entry);
        }
        connection.logged();
    }

    /// A request has come whole: it has to wait, or its client listens from now on.
    fn complete(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let asked = connection.asked();
        if asked.method != "GET" || asked.path() != LIVE_PATH {
            self.waiting.push_back(key);
            return;
        }
        let query = asked.target.split_once('?').map_or("", |(_, query)| query);
        let turn = match Query::parse(query, LIVE_PARAMETERS) {
            Ok(query) => {
                let call_id = query.get("call_id").map(str::to_owned);
                self.begin_listening(key, call_id, now)
            }
            Err(reply) => connection.answer(&reply, now),
        };
        self.after(key, turn, now);
    }

    fn begin_listening(&mut self, key: usize, call_id: Option<String>, now: Instant) -> Turn {
        let others = self.listeners();
        let Some(connection) = self.connections.get_mut(&key) else { return Turn::Over };
        if others >= LISTENERS_MAX {
            self.shared.counters.live_refused.fetch_add(1, Relaxed);
            let message = format!("{LISTENERS_MAX} clients listen already, try again later");
            return connection.answer(&Reply::error(503, &message), now);
        }
        self.feed.begin();
        let standing = call_id.as_deref().and_then(|call_id| self.feed.standing(call_id));
        self.shared.counters.live_clients.store(others as u64 + 1, Relaxed);
        match connection.start_listening(call_id, now) {
            Turn::Open => {
                connection.tell(standing.as_slice(), &Batch::from([]), now);
                connection.listen(now)
            }
            turn => turn,
        }
    }

    /// How many clients listen.
    fn listeners(&self) -> usize {
        self.connections.values().filter(|connection| connection.is_listening()).count()
    }

    /// Tells all who listen what has happened, if it is time to.
    fn tell(&mut self, now: Instant) {
        let is_due =
            self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= TELL_INTERVAL);
        if !is_due {
            return;
        }
        self.told_at = Some(now);
        let listeners = self.listeners();
        self.shared.counters.live_clients.store(listeners as u64, Relaxed);
        let has_other_tokens = self.guard.has_other_tokens();
        if listeners == 0 {
            return self.feed.end();
        }
        let events: Vec<Event> = self.feed.look(now);
        self.shared.counters.live_events.fetch_add(events.len() as u64, Relaxed);
        let all = events.iter().flat_map(|event| event.text.iter().copied());
        let all = Batch::from(all.collect::<Vec<_>>());
        let listening = self.connections.iter().filter(|(_, connection)| connection.is_listening());
        for key in listening.map(|(&key, _)| key).collect::<Vec<_>>() {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            if has_other_tokens {
                connection.end_listening(OTHER_TOKENS);
            }
            if !connection.tell(&events, &all, now) {
                self.shared.counters.live_dropped.fetch_add(1, Relaxed);
            }
            let turn = connection.listen(now);
            self.after(key, turn, now);
        }
    }

    /// Passes complete requests on, as many at once as the server behind the door may have.
    fn dispatch(&mut self, now: Instant) {
        let asking = self.connections.values().filter(|connection| connection.is_asking()).count();
        for _ in asking..ASKING_MAX {
            let Some(key) = self.waiting.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            if !connection.is_waiting() {
                continue;
            }
            let server = UnixStream::connect(&self.server).and_then(|mut server| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(
                    &mut server,
                    mio::Token(key | SERVER_SIDE),
                    interest,
                )?;
                Ok(server)
            });
            match server {
                Ok(server) => {
                    self.shared.counters.requests.fetch_add(1, Relaxed);
                    let turn = connection.ask(server, now);
                    self.after(key, turn, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting.push_front(key);
                    return;
                }
                Err(error) => {
                    let gone = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
                    if gone.contains(&error.kind()) {
                        self.shared.renew.store(true, Relaxed);
                    }
                    self.apologize(key, now);
                }
            }
        }
    }

    /// Tells a client that its request was not answered.
    fn apologize(&mut self, key: usize, now: Instant) {
        self.shared.counters.unanswered.fetch_add(1, Relaxed);
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let reply = Reply::error(503, "the request could not be answered, try again");
        let turn = connection.answer(&reply, now);
        self.after(key, turn, now);
    }

    /// Closes the connections that have been sending longest until what is unsent fits its bound.
    fn bound_unsent(&mut self, now: Instant) {
        let mut unsent: usize = self.connections.values().map(Connection::unsent).sum();
        while unsent > UNSENT_MAX {
            let slowest = self.connections.iter().find(|(_, connection)| connection.unsent() > 0);
            let Some((&key, connection)) = slowest else { return };
            unsent -= connection.unsent();
            self.shared.counters.evicted.fetch_add(1, Relaxed);
            self.remove(key, now);
        }
    }

    /// Ends what has run out of time, and tries again what could not be done before.
    fn sweep(&mut self, now: Instant) {
        self.restock(now);
        if self.accepting == Accepting::Later {
            self.accepting = Accepting::More;
        }
        let late =
            |(&key, connection): (&usize, &Connection)| (connection.deadline <= now).then_some(key);
        let overdue: Vec<usize> = self.connections.iter().filter_map(late).collect();
        for key in overdue {
            self.shared.counters.overdue.fetch_add(1, Relaxed);
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            let turn = connection.overdue(now);
            self.after(key, turn, now);
        }
    }
}

const LISTENER: mio::Token = mio::Token(0);
const WAKER: mio::Token = mio::Token(1);

/// The key of the first connection, the distance to the next, and the bit that tells the key of
/// the socket behind the door from that of the client.
const FIRST: usize = 2;
const STEP: usize = 2;
const SERVER_SIDE: usize = 1;

/// Most connections at once. With the bounds of a head and a body they hold at most 40 MiB.
const CONNECTIONS_MAX: usize = 512;

/// Most requests that the server behind the door has at once: it makes a thread for each.
const ASKING_MAX: usize = 8;

/// Most clients of live events at once.
const LISTENERS_MAX: usize = 64;

/// What such a client can ask for.
const LIVE_PARAMETERS: &[&str] = &["call_id"];

/// How often they are told what has happened.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// Most bytes of answers that clients have yet to take.
const UNSENT_MAX: usize = 64 << 20;

/// Most connections accepted before the others get their turn.
const ACCEPT_BATCH: usize = 64;

/// Socket events taken at once.
const EVENTS: usize = 256;

/// A file that is there to be open.
const SPARE: &str = "/dev/null";

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
