//! SIP over TCP and TLS: the connections that one shard holds.
//!
//! A connection lives on the shard that a hash of its far end names, wherever it was accepted, so
//! that every shard knows which one to hand a message for it to. Messages that come in go the way
//! of datagrams: to the owner of their call.

use core::hash::BuildHasher as _;
use std::{
    cell::{Cell, RefCell, RefMut},
    collections::{HashMap, VecDeque},
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    task::Waker,
    time::Duration,
};

use foldhash::quality::FixedState;
use glommio::{
    Task,
    net::{AcceptedTcpStream, TcpListener},
    timer::Timer,
};
use rtrb::{Consumer, Producer};

use super::{
    connection::{Connection, Session},
    park::Doorbell,
    tls::{Acceptor, Layer},
};
use crate::{
    limits::{CONNECTIONS_PER_SOURCE_MAX, STREAM_INBOX_BYTES},
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport},
};

/// What a shard's connections are made of.
#[derive(Debug)]
pub(super) struct StreamParts {
    /// Where connections come in, and under which transport.
    pub(super) listens: Vec<(SocketAddr, Transport)>,
    pub(super) tls: Option<Acceptor>,
    /// One a shard; `None` for the own.
    pub(super) others: Vec<Option<Handover>>,
    pub(super) arrivals: Vec<Consumer<Arrival>>,
    pub(super) bell: Doorbell,
    /// Connections that one shard holds.
    pub(super) connections_max: usize,
    pub(super) seed: u64,
}

/// The way of a connection to the shard that is to hold it.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) ring: Producer<Arrival>,
    pub(super) bell: Doorbell,
}

/// A connection on its way.
pub(super) struct Arrival {
    accepted: AcceptedTcpStream,
    transport: Transport,
}

impl core::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Arrival").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// The connections of one shard.
#[derive(Debug)]
pub(super) struct Streams {
    hub: Rc<Hub>,
    listeners: Vec<Task<()>>,
    arrivals: Vec<Consumer<Arrival>>,
}

/// What the connections of one shard share.
#[derive(Debug)]
pub(super) struct Hub {
    connections: RefCell<HashMap<(SocketAddr, SocketAddr), Rc<Connection>>>,
    by_source: RefCell<HashMap<IpAddr, usize>>,
    inbox: RefCell<VecDeque<Message>>,
    inbox_bytes: Cell<usize>,
    /// Those who wait for room in the inbox.
    stalled: RefCell<Vec<Waker>>,
    /// What is read before it is known whose it is.
    buffer: RefCell<Vec<u8>>,
    others: RefCell<Vec<Option<Handover>>>,
    tls: Option<Acceptor>,
    bell: Doorbell,
    connections_max: usize,
    seed: u64,
    counts: Cell<StreamCounts>,
}

/// What has become of connections: a level, and counters that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamCounts {
    /// Connections that are open.
    pub(super) open: u32,
    /// Connections that were taken.
    pub(super) total: u32,
    /// Connections that were closed at once, for want of room.
    pub(super) refused: u32,
    /// Connections that were closed because no message could be made out.
    pub(super) broken: u32,
    /// Accepts that failed.
    pub(super) accept_errors: u32,
}

/// A message that has come in.
#[derive(Debug)]
pub(super) struct Message {
    received_at: Timestamp,
    src: SocketAddr,
    dst: SocketAddr,
    transport: Transport,
    bytes: Box<[u8]>,
}

impl Message {
    /// As a source hands messages up.
    pub(super) fn datagram(&self) -> Datagram<'_> {
        Datagram {
            received_at: self.received_at,
            src: self.src,
            dst: self.dst,
            transport: self.transport,
            marks: IpMarks::UNKNOWN,
            payload: &self.bytes,
        }
    }
}

impl Streams {
    /// Listens, in the executor that this is called in.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub(super) fn new(parts: StreamParts) -> io::Result<Self> {
        let hub = Rc::new(Hub {
            connections: RefCell::default(),
            by_source: RefCell::default(),
            inbox: RefCell::default(),
            inbox_bytes: Cell::new(0),
            stalled: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BYTES]),
            others: RefCell::new(parts.others),
            tls: parts.tls,
            bell: parts.bell,
            connections_max: parts.connections_max,
            seed: parts.seed,
            counts: Cell::default(),
        });
        let mut listeners = Vec::new();
        for (address, transport) in parts.listens {
            let listener = TcpListener::bind(address).map_err(io::Error::from)?;
            listeners.push(glommio::spawn_local(accept(listener, transport, Rc::clone(&hub))));
        }
        Ok(Self { hub, listeners, arrivals: parts.arrivals })
    }

    /// Begins the connections that other shards have accepted.
    pub(super) fn welcome(&mut self) {
        for arrivals in &mut self.arrivals {
            while let Ok(arrival) = arrivals.pop() {
                begin(&self.hub, arrival);
            }
        }
    }

    /// The next message that has come in.
    pub(super) fn receive(&self) -> Option<Message> {
        let message = self.hub.inbox.borrow_mut().pop_front();
        if let Some(message) = &message {
            self.hub.inbox_bytes.set(self.hub.inbox_bytes.get() - message.bytes.len());
        } else {
            self.hub.stalled.borrow_mut().drain(..).for_each(Waker::wake);
        }
        message
    }

    /// Which shard holds the connection to this address.
    pub(super) fn holder(&self, peer: SocketAddr) -> usize {
        self.hub.holder(peer)
    }

    /// Sends a message to `dst` through its connection; false if there is none.
    #[must_use]
    pub(super) fn send(&self, src: SocketAddr, dst: SocketAddr, message: &[u8]) -> bool {
        let connections = self.hub.connections.borrow();
        connections.get(&(dst, src)).is_some_and(|connection| connection.send(message))
    }

    /// Closes what has been silent for too long.
    pub(super) fn sweep(&self, now: Timestamp) {
        let connections = self.hub.connections.borrow();
        for connection in connections.values().filter(|connection| connection.is_overdue(now)) {
            connection.close(true);
        }
    }

    pub(super) fn counts(&self) -> StreamCounts {
        let open = u32::try_from(self.hub.connections.borrow().len()).unwrap_or(u32::MAX);
        StreamCounts { open, ..self.hub.counts.get() }
    }

    /// Stops listening and closes all connections. An executor that ends with tasks in it would
    /// keep their descriptors.
    pub(super) async fn stop(self) {
        for listener in self.listeners {
            listener.cancel().await;
        }
        for round in 0..CLOSING_ROUNDS {
            {
                let connections = self.hub.connections.borrow();
                if connections.is_empty() {
                    return;
                }
                let is_hurried = round >= CLOSING_ROUNDS / 2;
                connections.values().for_each(|connection| connection.close(is_hurried));
            }
            glommio::executor().yield_task_queue_now().await;
        }
    }
}

impl Hub {
    /// Takes in a message of a connection.
    pub(super) fn receive(&self, at: Timestamp, connection: &Connection, message: &[u8]) {
        self.inbox_bytes.set(self.inbox_bytes.get() + message.len());
        self.inbox.borrow_mut().push_back(Message {
            received_at: at,
            src: connection.peer,
            dst: connection.local,
            transport: connection.transport,
            bytes: message.into(),
        });
        self.bell.ring();
    }

    /// Whether more may be read now; if not, `waker` is told when it may.
    pub(super) fn has_room(&self, waker: &Waker) -> bool {
        let has_room = self.inbox_bytes.get() < STREAM_INBOX_BYTES;
        if !has_room {
            self.stalled.borrow_mut().push(waker.clone());
        }
        has_room
    }

    /// Where bytes are read to, for one step of one connection.
    pub(super) fn buffer(&self) -> RefMut<'_, Vec<u8>> {
        self.buffer.borrow_mut()
    }

    /// Counts a connection in which no message can be made out.
    pub(super) fn note_broken(&self) {
        self.count(|counts| counts.broken += 1);
    }

    fn holder(&self, peer: SocketAddr) -> usize {
        let shards = self.others.borrow().len().max(1) as u64;
        let hash = FixedState::with_seed(self.seed).hash_one(peer);
        usize::try_from(hash % shards).unwrap_or(0)
    }

    /// Has the shard that is to hold a new connection begin it.
    fn place(self: &Rc<Self>, arrival: Arrival) {
        let Ok(peer) = arrival.accepted.peer_addr() else {
            // It has gone already.
            drop(arrival.accepted.bind_to_executor());
            return;
        };
        let holder = self.holder(canonical(peer));
        let mut others = self.others.borrow_mut();
        let Some(other) = others.get_mut(holder).and_then(Option::as_mut) else {
            drop(others);
            begin(self, arrival);
            return;
        };
        match other.ring.push(arrival) {
            Ok(()) => other.bell.ring(),
            Err(rtrb::PushError::Full(arrival)) => {
                self.count(|counts| counts.refused += 1);
                drop(arrival.accepted.bind_to_executor());
            }
        }
    }

    /// Notes a new connection, if there is room for one more and for one more of its source.
    fn admit(&self, connection: &Rc<Connection>) -> bool {
        let mut connections = self.connections.borrow_mut();
        let mut by_source = self.by_source.borrow_mut();
        let source = connection.peer.ip();
        let of_source = by_source.get(&source).copied().unwrap_or(0);
        let is_full =
            connections.len() >= self.connections_max || of_source >= CONNECTIONS_PER_SOURCE_MAX;
        self.count(|counts| match is_full {
            true => counts.refused += 1,
            false => counts.total += 1,
        });
        if is_full {
            return false;
        }
        by_source.insert(source, of_source + 1);
        connections.insert((connection.peer, connection.local), Rc::clone(connection));
        true
    }

    fn forget(&self, connection: &Connection) {
        self.connections.borrow_mut().remove(&(connection.peer, connection.local));
        let mut by_source = self.by_source.borrow_mut();
        let source = connection.peer.ip();
        match by_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(by_source.remove(&source)),
        }
    }

    fn count(&self, change: impl FnOnce(&mut StreamCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

/// Accepts connections for as long as the shard runs.
async fn accept(listener: TcpListener, transport: Transport, hub: Rc<Hub>) {
    loop {
        match listener.shared_accept().await {
            Ok(accepted) => hub.place(Arrival { accepted, transport }),
            Err(error) => {
                // Descriptors may have run out; some will be free again.
                tracing::debug!(%error, "a SIP connection could not be accepted");
                hub.count(|counts| counts.accept_errors += 1);
                Timer::new(ACCEPT_PAUSE).await;
            }
        }
        glommio::executor().yield_task_queue_now().await;
    }
}

/// Begins a connection that is to live on this shard.
fn begin(hub: &Rc<Hub>, arrival: Arrival) {
    let stream = arrival.accepted.bind_to_executor();
    let addresses = stream.peer_addr().and_then(|peer| Ok((peer, stream.local_addr()?)));
    let layer = match arrival.transport {
        Transport::Tls => hub.tls.as_ref().and_then(Acceptor::layer),
        Transport::Tcp | Transport::Udp => Some(Layer::Plain),
    };
    let (Ok((peer, local)), Some(layer)) = (addresses, layer) else { return };
    let (peer, local) = (canonical(peer), canonical(local));
    let connection = Rc::new(Connection::new(peer, local, arrival.transport));
    if !hub.admit(&connection) {
        return;
    }
    // Messages are small and each is waited for.
    let _ = stream.set_nodelay(true);
    let mut session = Session::new(stream, layer, Rc::clone(&connection), Rc::clone(hub));
    let hub = Rc::clone(hub);
    glommio::spawn_local(async move {
        poll_fn(|context| session.poll(context)).await;
        hub.forget(&connection);
    })
    .detach();
}

/// An IPv4 address that came over an IPv6 socket is shown as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Bytes read at once; a SIP message seldom has 2,000.
const READ_BYTES: usize = 16 << 10;

/// How long to wait after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Turns of the executor that connections have to send their last words and close.
const CLOSING_ROUNDS: usize = 64;
