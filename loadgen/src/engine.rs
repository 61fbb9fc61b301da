//! The engine runs calls: it starts each on time and gives it its turns and its SIP messages.
//!
//! It decides nothing about a call. Threads share nothing but the signal to stop.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs, io, mem,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use voxplane::{
    source::{
        clock,
        udp::{BATCH, Outgoing, RecvBatch, UdpOptions, UdpSocket},
    },
    time::Timestamp,
    wire::sip::SipMessage,
};

use crate::{
    audio::Clip,
    call::{Call, CallResult},
    histogram::Histogram,
    options::{Scenario, Target},
    request::Callee,
    uac::Outcome,
};

/// Where calls go and where they come from.
#[derive(Clone, Debug)]
pub struct Route {
    /// The address of the far end's SIP port.
    pub target: SocketAddr,
    /// Whom the requests name.
    pub callee: Callee,
    /// The local address that is announced.
    pub local_ip: IpAddr,
    /// The local SIP port; 0 for any. Further threads take the ports after it.
    pub local_port: u16,
}

impl Route {
    /// Looks the target up, and finds the local address that the way to it begins at.
    ///
    /// # Errors
    /// The name has no address of the right family, or there is no route.
    pub fn find(target: &Target, user: &str, bind: Option<SocketAddr>) -> Result<Self, RunError> {
        let not_found = |reason| RunError::Target { host: target.host.clone(), reason };
        let addresses = (target.host.as_str(), target.port).to_socket_addrs().map_err(not_found)?;
        let fits = |address: &SocketAddr| bind.is_none_or(|b| b.is_ipv4() == address.is_ipv4());
        let address = addresses
            .into_iter()
            .find(fits)
            .ok_or_else(|| not_found(io::Error::other("no address of the family to bind")))?;
        let local_ip = match bind {
            Some(bind) => bind.ip(),
            None => local_ip_towards(address).map_err(not_found)?,
        };
        let callee = Callee { user: user.to_owned(), host: target.host.clone(), port: target.port };
        let local_port = bind.map_or(0, |bind| bind.port());
        Ok(Self { target: address, callee, local_ip, local_port })
    }
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The SIP socket cannot be had.
    #[error("cannot bind SIP to {address}: {reason}")]
    Bind {
        /// Where to.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
    /// The target cannot be reached at all.
    #[error("cannot reach {host}: {reason}")]
    Target {
        /// As given.
        host: String,
        /// What the system says.
        reason: io::Error,
    },
    /// A thread ended by a panic.
    #[error("a generator thread failed")]
    Thread,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct RunResult {
    /// The calls that were attempted, by index.
    pub calls: Vec<CallResult>,
    /// How the generator itself did.
    pub generator: Generator,
}

/// How the generator itself did: whether it was fast enough to be believed.
#[derive(Debug, Default)]
pub struct Generator {
    /// From a packet's planned time to its sending.
    pub lag: Histogram,
    /// Round trips that RTCP told.
    pub round_trip: Histogram,
    /// Times that a socket had no room.
    pub send_waits: u64,
    /// Packets that the system refused.
    pub send_errors: u64,
    /// Datagrams that our own sockets dropped.
    pub own_drops: u64,
    /// From the first start to the last end.
    pub wall: Duration,
    /// CPU time of the threads that ran calls.
    pub cpu: Duration,
    /// Why media sockets could not be had, the first time.
    pub socket_error: Option<String>,
}

impl Generator {
    fn merge(&mut self, other: &Self) {
        self.lag.merge(&other.lag);
        self.round_trip.merge(&other.round_trip);
        self.send_waits += other.send_waits;
        self.send_errors += other.send_errors;
        self.own_drops += other.own_drops;
        self.wall = self.wall.max(other.wall);
        self.cpu += other.cpu;
        if self.socket_error.is_none() {
            self.socket_error.clone_from(&other.socket_error);
        }
    }
}

/// Places the calls of a scenario and waits until all are over. `stop` ends them early.
///
/// # Errors
/// A SIP socket cannot be had. What goes wrong later is the outcome of a call.
pub fn run(
    scenario: &Scenario,
    route: &Route,
    threads: u16,
    stop: &AtomicBool,
) -> Result<RunResult, RunError> {
    run_and_tell(scenario, route, threads, stop, &|_| {})
}

/// A call is over.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// When that was seen.
    pub at: Timestamp,
    /// Which.
    pub call_id: &'a str,
    /// How it ended.
    pub outcome: Outcome,
}

/// The same, and `tell` is called as each call ends.
///
/// # Errors
/// As with [`run`].
pub fn run_and_tell(
    scenario: &Scenario,
    route: &Route,
    threads: u16,
    stop: &AtomicBool,
    tell: &(dyn Fn(Ended<'_>) + Sync),
) -> Result<RunResult, RunError> {
    let mut sockets = Vec::new();
    for thread in 0..threads {
        let port = if route.local_port == 0 { 0 } else { route.local_port.saturating_add(thread) };
        let address = SocketAddr::new(route.local_ip, port);
        let socket = UdpSocket::bind(address, UdpOptions::default())
            .map_err(|reason| RunError::Bind { address, reason })?;
        sockets.push(socket);
    }
    let started_at = clock::now();
    let clip = &Clip::tone(scenario.codec);
    let shared = Shared { scenario, route, clip, stop, tell, started_at };
    let mut result = RunResult::default();
    thread::scope(|scope| {
        let stride = u32::from(threads);
        let workers = sockets.into_iter().zip(0_u32..);
        let handles: Vec<_> = workers
            .map(|(socket, first)| {
                scope.spawn(move || Worker::new(shared, socket, first, stride).run())
            })
            .collect();
        for handle in handles {
            let part = handle.join().map_err(|_| RunError::Thread)?;
            result.calls.extend(part.calls);
            result.generator.merge(&part.generator);
        }
        Ok(())
    })?;
    result.calls.sort_by_key(|call| call.index);
    Ok(result)
}

/// What all threads read.
#[derive(Clone, Copy)]
struct Shared<'a> {
    scenario: &'a Scenario,
    route: &'a Route,
    clip: &'a Clip,
    stop: &'a AtomicBool,
    tell: &'a (dyn Fn(Ended<'_>) + Sync),
    started_at: Timestamp,
}

/// One thread: every `stride`-th call, one SIP socket.
struct Worker<'a> {
    shared: Shared<'a>,
    socket: UdpSocket,
    first: u32,
    stride: u32,
    /// In the order of their index: place n is call `first + n * stride`.
    calls: Vec<Call>,
    /// When which call (by place) has something to do. Entries that a call was moved from are
    /// left in and passed over.
    agenda: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Calls that are not over.
    open: usize,
    /// SIP messages to send.
    outbox: Vec<Vec<u8>>,
    batch: RecvBatch,
    media_batch: RecvBatch,
    /// What the SIP socket had dropped when it last said so.
    overflow: u32,
    generator: Generator,
    stopping: bool,
}

impl<'a> Worker<'a> {
    fn new(shared: Shared<'a>, socket: UdpSocket, first: u32, stride: u32) -> Self {
        Self {
            shared,
            socket,
            first,
            stride,
            calls: Vec::new(),
            agenda: BinaryHeap::new(),
            open: 0,
            outbox: Vec::new(),
            batch: RecvBatch::new(BATCH, DATAGRAM_MAX),
            media_batch: RecvBatch::new(BATCH, MEDIA_DATAGRAM_MAX),
            overflow: 0,
            generator: Generator::default(),
            stopping: false,
        }
    }

    fn run(mut self) -> RunResult {
        loop {
            let now = clock::now();
            if !self.stopping && self.shared.stop.load(Ordering::Relaxed) {
                self.stop_all(now);
            }
            self.start_due(now);
            self.receive_sip();
            self.serve_due();
            self.send_sip();
            if self.open == 0 && self.next_start().is_none() {
                break;
            }
            self.nap();
        }
        self.generator.wall = clock::now().since(self.shared.started_at);
        self.generator.cpu = thread_cpu();
        let calls = self.calls.into_iter().map(Call::into_result).collect();
        RunResult { calls, generator: self.generator }
    }

    /// When the next call starts.
    fn next_start(&self) -> Option<(Timestamp, u32)> {
        let place = u32::try_from(self.calls.len()).ok()?;
        let index = self.first.checked_add(place.checked_mul(self.stride)?)?;
        let waiting = index < self.shared.scenario.calls && !self.stopping;
        waiting.then(|| (self.shared.started_at + self.shared.scenario.start_offset(index), index))
    }

    fn start_due(&mut self, now: Timestamp) {
        while let Some((due, index)) = self.next_start()
            && due <= now
        {
            let run_id = self.shared.started_at.as_nanos() / NANOS_PER_MILLI;
            let mut call = Call::new(
                self.shared.scenario,
                self.shared.route,
                self.socket.local_addr(),
                index,
                run_id,
            );
            let local = self.socket.local_addr();
            if let Err(error) =
                call.start(self.shared.scenario, clock::now(), local, &mut self.outbox)
            {
                self.generator.socket_error.get_or_insert_with(|| error.to_string());
            }
            self.open += 1;
            self.calls.push(call);
            self.settle(self.calls.len() - 1, false);
            self.arm(self.calls.len() - 1);
            self.send_sip();
        }
    }

    fn receive_sip(&mut self) {
        // Taken out so that calls can be served while its datagrams are read.
        let mut batch = mem::replace(&mut self.batch, RecvBatch::new(1, 1));
        while let Ok(count) = batch.receive(&self.socket)
            && count > 0
        {
            for datagram in batch.datagrams() {
                let Ok(message) = SipMessage::parse(datagram.payload) else { continue };
                let Some(place) = self.place_of(&message) else { continue };
                let call = &mut self.calls[place];
                let was_over = call.is_over();
                call.receive_sip(
                    self.shared.scenario,
                    datagram.received_at,
                    &message,
                    &mut self.outbox,
                );
                self.settle(place, was_over);
                self.arm(place);
            }
            if let Some(overflow) = batch.overflow() {
                self.generator.own_drops += u64::from(overflow.wrapping_sub(self.overflow));
                self.overflow = overflow;
            }
            self.send_sip();
        }
        self.batch = batch;
    }

    /// The call that a message belongs to; its index stands in front of the Call-ID.
    fn place_of(&self, message: &SipMessage<'_>) -> Option<usize> {
        let call_id = str::from_utf8(message.call_id()?).ok()?;
        let index: u32 = call_id.split_once('-')?.0.parse().ok()?;
        let place = usize::try_from(index.checked_sub(self.first)? / self.stride).ok()?;
        self.calls.get(place).filter(|call| call.call_id() == call_id).map(|_| place)
    }

    fn serve_due(&mut self) {
        let now = clock::now();
        while let Some(&Reverse((due, place))) = self.agenda.peek()
            && due <= now
        {
            self.agenda.pop();
            let call = &mut self.calls[place];
            if call.armed != Some(due) {
                continue;
            }
            call.armed = None;
            let was_over = call.is_over();
            let (generator, batch) = (&mut self.generator, &mut self.media_batch);
            call.serve(now, self.shared.clip, generator, batch, &mut self.outbox);
            self.settle(place, was_over);
            self.arm(place);
        }
    }

    /// Takes note of a call that is over now.
    fn settle(&mut self, place: usize, was_over: bool) {
        let call = &self.calls[place];
        if let Some(outcome) = call.outcome().filter(|_| !was_over) {
            self.open -= 1;
            (self.shared.tell)(Ended { at: clock::now(), call_id: call.call_id(), outcome });
        }
    }

    fn arm(&mut self, place: usize) {
        let call = &mut self.calls[place];
        if let Some(due) = call.next_due()
            && call.armed.is_none_or(|armed| due < armed)
        {
            call.armed = Some(due);
            self.agenda.push(Reverse((due, place)));
        }
    }

    fn send_sip(&mut self) {
        for messages in self.outbox.chunks(BATCH) {
            let outgoing: arrayvec::ArrayVec<_, BATCH> = messages
                .iter()
                .map(|payload| Outgoing { src: None, dst: self.shared.route.target, payload })
                .collect();
            // What the kernel does not take is lost, as on the wire: it will be sent again.
            match self.socket.send_batch(&outgoing) {
                Ok(sent) => self.generator.send_waits += (messages.len() - sent) as u64,
                Err(_) => self.generator.send_errors += 1,
            }
        }
        self.outbox.clear();
    }

    fn stop_all(&mut self, now: Timestamp) {
        self.stopping = true;
        for place in 0..self.calls.len() {
            let call = &mut self.calls[place];
            let was_over = call.is_over();
            call.hang_up(now, Outcome::Interrupted, &mut self.outbox);
            self.settle(place, was_over);
            self.arm(place);
        }
    }

    /// Sleeps until something is due, long enough to have several packets due at once, short
    /// enough to hear the far end.
    fn nap(&self) {
        let agenda = self.agenda.peek().map(|&Reverse((due, _))| due);
        let start = self.next_start().map(|(due, _)| due);
        let due = agenda.into_iter().chain(start).min().unwrap_or(Timestamp::MAX);
        let wait = due.since(clock::now());
        if !wait.is_zero() {
            thread::sleep(wait.clamp(NAP_MIN, NAP_MAX));
        }
    }
}

/// The address that the routing table would send from; nothing is sent.
fn local_ip_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let probe = std::net::UdpSocket::bind((any, 0))?;
    probe.connect(target)?;
    Ok(probe.local_addr()?.ip())
}

/// CPU time of this thread, as the Linux scheduler counts it; zero where it does not.
fn thread_cpu() -> Duration {
    let counters = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = counters.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}

/// The largest SIP message to be read; longer ones are cut off by the sockets.
const DATAGRAM_MAX: usize = 8192;
/// RTP of G.711 and RTCP are far shorter.
const MEDIA_DATAGRAM_MAX: usize = 1500;
/// At 100,000 packets a second some 20 packets are due after it.
const NAP_MIN: Duration = Duration::from_micros(200);
/// Bounds how late a SIP message is read.
const NAP_MAX: Duration = Duration::from_millis(1);
const NANOS_PER_MILLI: u64 = 1_000_000;
