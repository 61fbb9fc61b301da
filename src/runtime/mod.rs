//! Brings the stages together: sockets, one executor a shard, the control thread, the API.
//!
//! The only code that knows glommio. Everything that can be refused is refused before the first
//! thread starts.

use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use ::ring::rand::{SecureRandom as _, SystemRandom};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};
use rtrb::{Consumer, Producer, RingBuffer};

mod closing;
mod connection;
mod control;
mod executor;
mod listening;
mod operator;
mod park;
mod streams;
pub mod systemd;
mod telling;
mod tls;
mod turn;
mod usual;

pub use self::operator::Reread;
use self::{
    closing::Closing,
    executor::Life,
    listening::{Reserved, reserve},
    operator::{Operator, shard_settings},
    park::Doorbell,
    streams::{Arrival, Handover, StreamParts},
    systemd::Beat,
    tls::Acceptor,
    turn::{Neighbour, Parts},
};
use crate::{
    alerts::{self, Alerts},
    config::{Config, LadderSettings},
    control::{Calls, ladders::LadderLimits, snapshot::SnapshotCell},
    http,
    id::ShardId,
    limits::{ARRIVALS_MAX, HANDOFF_RING_BYTES, REPORT_RING_SLOTS},
    notify::{self, Notifiers},
    ring::{self, ControlEnd},
    shard::{
        Command, Shard, ShardConfig,
        auth::{Auth, NonceKey},
        keys::KeySource,
    },
    sound::Sounds,
    source::{
        clock, host,
        udp::{UdpOptions, UdpSocket},
    },
    store::{self, Store},
    wire::Transport,
};

/// A running appliance.
pub struct Appliance {
    sip: SocketAddr,
    sip_tls: Option<SocketAddr>,
    shards: Vec<RunningShard>,
    control: JoinHandle<()>,
    http: http::Server,
    store: Store,
    notifiers: Notifiers,
    operator: Arc<Operator>,
    /// Of each shard, then of control.
    beats: Vec<Arc<Beat>>,
    closing: Arc<Closing>,
    /// Dropped at the end, which ends its thread.
    _usual: mpsc::Sender<()>,
}

/// What ends with a shard's thread, and what wakes it.
type RunningShard = (ExecutorJoinHandle<io::Result<()>>, Doorbell);

impl fmt::Debug for Appliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appliance")
            .field("sip", &self.sip)
            .field("http", &self.http_addr())
            .field("shards", &self.shards.len())
            .finish_non_exhaustive()
    }
}

impl Appliance {
    /// Starts everything. `reread` gives the configuration when it is to be read again.
    ///
    /// # Errors
    /// What the host lacks or refuses, in one sentence with the remedy.
    pub fn start(config: &Config, reread: Reread) -> Result<Self, StartError> {
        check_host()?;
        // Two descriptors a socket; with many ports that is more than the usual soft limit.
        host::raise_descriptor_limit().map_err(StartError::Host)?;
        open_data(&config.data)?;
        let tokens = config.api_token_file.as_deref().map(follow_tokens).transpose()?;
        let access_log = config.access_log.as_deref().map(open_access_log).transpose()?;
        let listener = listen_http(config.http)?;
        let cores = host::allowed_cores().map_err(StartError::Host)?;
        let shards = config.shards.map_or(cores.len(), usize::from);
        let listening = listen(config)?;
        let (sip, sip_tls) = (listening.sip, listening.sip_tls);
        let tls = acceptor(config)?;
        let sockets = bind_all(config, sip, shards)?;

        let closing = Arc::new(Closing::new(shards));
        let keys = key_source()?;
        let nonces = NonceKey::new(&secret::<32>()?);
        let settings = shard_settings(config, keyed(config, &nonces));
        let Assembled { parts, ends, commands } =
            assemble(config, &settings, sockets, keys, &listening, tls.as_ref());
        let cell = SnapshotCell::default();
        let store = start_store(config)?;
        let notifiers = start_notifiers(config).map_err(StartError::Host)?;
        let alerts = start_alerts(config, &store, &notifiers).map_err(StartError::Host)?;
        let _usual = usual::start(alerts.clone()).map_err(StartError::Host)?;
        let bells = parts.iter().map(|(_, bell)| bell.clone());
        let (control_settings, from_operator) = mpsc::channel();
        let operator = Arc::new(Operator {
            reread,
            config: Mutex::new(config.clone()),
            shards: Mutex::new(commands.into_iter().zip(bells).collect()),
            control: control_settings,
            alerts: alerts.clone(),
            store: store.feeder(),
            notifiers: notifiers.handle(),
            tls,
            nonces,
            tokens: tokens.clone(),
            access_log: access_log.as_ref().map(http::AccessLog::handle),
        });
        let options = http::Options {
            listener,
            tokens,
            store: Some(store.reader()),
            alerts: alerts.clone(),
            notify: Some(notifiers.handle()),
            limits: http_limits(config),
            access_log,
            operator: Some(Arc::clone(&operator) as Arc<dyn http::Operator>),
        };
        let http = http::Server::start(options, cell.clone()).map_err(StartError::Host)?;
        let beats: Vec<Arc<Beat>> = (0..=parts.len()).map(|_| Arc::default()).collect();
        let shards = start_shards(parts, &cores, &closing, &beats)?;
        let (calls, feeder) = (calls(config), store.feeder());
        let beat = Arc::clone(&beats[shards.len()]);
        let control = start_control(move || {
            control::run(calls, ends, &from_operator, &cell, &feeder, &beat, &alerts);
        })?;
        Ok(Self {
            sip,
            sip_tls,
            shards,
            control,
            http,
            store,
            notifiers,
            operator,
            beats,
            closing,
            _usual,
        })
    }

    /// A handle to tell the notifiers with.
    #[must_use]
    pub fn notify(&self) -> notify::Handle {
        self.notifiers.handle()
    }

    /// Where SIP comes in, with the port that the system chose if 0 was asked for.
    #[must_use]
    pub const fn sip_addr(&self) -> SocketAddr {
        self.sip
    }

    /// Where SIP comes in over TLS, if it does.
    #[must_use]
    pub const fn sip_tls_addr(&self) -> Option<SocketAddr> {
        self.sip_tls
    }

    /// Where the API listens.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Whether the API needs a token, and its file holds one with nothing else on its line.
    #[must_use]
    pub fn needs_bare_token(&self) -> bool {
        self.operator.tokens.as_ref().is_some_and(http::Tokens::is_bare)
    }

    /// Reads the configuration again and takes what can be taken; what cannot is named. It is
    /// logged, as is why it was not taken.
    pub fn reload(&self) {
        let _ = http::Operator::reload(&*self.operator);
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Whether every shard still runs. One that does not has failed.
    #[must_use]
    pub fn is_running(&self) -> bool {
        // Each shard holds one share of the flag while it runs, and we hold one.
        Arc::strong_count(&self.closing) > self.shards.len()
    }

    /// How far each shard and the control thread have got: one that lives gets further at least
    /// once a second.
    pub fn beats(&self) -> impl Iterator<Item = u64> {
        self.beats.iter().map(|beat| beat.count())
    }

    /// Takes no new calls, hangs up those that are up, passes everything on and stops. Takes
    /// less than 5 s.
    ///
    /// # Errors
    /// A shard has failed.
    pub fn stop(self) -> Result<(), StartError> {
        self.closing.tell();
        self.shards.iter().for_each(|(_, bell)| bell.ring());
        let mut result = Ok(());
        for (index, (shard, _)) in self.shards.into_iter().enumerate() {
            let failed = |reason: String| StartError::Shard { index, reason };
            match shard.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(failed(error.to_string())),
                Err(error) => result = Err(failed(error.to_string())),
            }
        }
        // Ends by itself once the shards' rings are abandoned and empty.
        let _ = self.control.join();
        self.notifiers.stop(NOTIFY_PATIENCE);
        self.store.stop();
        self.http.stop();
        result
    }
}

/// Why the appliance cannot start, or has stopped. Each is one sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The access log cannot be written.
    #[error("access log {path}: {source}")]
    AccessLog {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error("{what} cannot listen on {address}: {source}{}", remedy(.source))]
    Bind {
        /// For what.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("data directory {path} cannot be used: {source}")]
    Data {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The host refuses something that every process is given.
    #[error("the system refuses: {0}")]
    Host(io::Error),
    /// There is no io_uring.
    #[error(
        "io_uring is not available ({0}): Linux 5.8 or newer is needed, with \
         kernel.io_uring_disabled = 0 and no seccomp filter against io_uring_setup"
    )]
    IoUring(io::Error),
    /// Too little memory may be locked.
    #[error(
        "only {limit_kib} KiB of memory may be locked and {needed_kib} KiB are needed: raise the \
         limit with `ulimit -l {needed_kib}` or LimitMEMLOCK=infinity in the unit file"
    )]
    Memlock {
        /// The limit.
        limit_kib: u64,
        /// What is needed.
        needed_kib: u64,
    },
    /// A shard failed.
    #[error("shard {index} failed: {reason}")]
    Shard {
        /// Which.
        index: usize,
        /// What it says.
        reason: String,
    },
    /// The history cannot be used.
    #[error(transparent)]
    Store(#[from] store::StartError),
    /// TLS cannot be spoken.
    #[error("TLS for SIP: {0}")]
    Tls(String),
    /// The API tokens cannot be used.
    #[error("API token file {path}: {source}")]
    Token {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// Where SIP comes in, and what keeps others from these ports until shards listen there.
struct Listening {
    sip: SocketAddr,
    sip_tls: Option<SocketAddr>,
    /// Where connections come in.
    streams: Vec<(SocketAddr, Transport)>,
    _reserved: Vec<Reserved>,
}

struct Sockets {
    sip: UdpSocket,
    /// RTP and RTCP in turn.
    media: Vec<UdpSocket>,
    rtp_ports: Vec<u16>,
}

fn check_host() -> Result<(), StartError> {
    let limit = host::memlock_limit().map_err(StartError::Host)?;
    if limit < MEMLOCK_MIN_BYTES {
        return Err(StartError::Memlock {
            limit_kib: limit / 1024,
            needed_kib: MEMLOCK_MIN_BYTES / 1024,
        });
    }
    host::try_io_uring().map_err(StartError::IoUring)
}

/// Sees that the data directory is there and ours to use.
fn open_data(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Data { path: path.display().to_string(), source };
    fs::create_dir_all(path).map_err(|error| {
        failed(match error.kind() {
            // Something is there; it is not what was wanted.
            io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
            _ => error,
        })
    })?;
    fs::read_dir(path).map_err(failed)?;
    let probe = path.join(".probe");
    fs::write(&probe, b"").map_err(failed)?;
    fs::remove_file(&probe).map_err(failed)
}

fn follow_tokens(path: &Path) -> Result<http::Tokens, StartError> {
    let failed = |source| StartError::Token { path: path.display().to_string(), source };
    http::Tokens::follow(path).map_err(failed)
}

fn open_access_log(path: &Path) -> Result<http::AccessLog, StartError> {
    let failed = |source| StartError::AccessLog { path: path.display().to_string(), source };
    http::AccessLog::open(path).map_err(failed)
}

const fn http_limits(config: &Config) -> http::Limits {
    http::Limits {
        requests_per_second: config.http_requests_per_second,
        failures_per_minute: config.http_failures_per_minute,
        loopback: config.http_limits_loopback,
    }
}

fn listen_http(address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Bind { what: "HTTP", address, source };
    TcpListener::bind(address).map_err(failed)
}

/// Finds out where SIP can come in.
fn listen(config: &Config) -> Result<Listening, StartError> {
    let (mut streams, mut reserved) = (Vec::new(), Vec::new());
    let mut attempt = 0;
    let sip = loop {
        attempt += 1;
        // A port that is shared can be taken without an error; so take it alone, once, first.
        let sip = bind_udp("SIP", config.sip, UdpOptions::default())?.local_addr();
        if !config.sip_tcp {
            break sip;
        }
        match reserve(sip) {
            Ok((address, port)) => {
                streams.push((address, Transport::Tcp));
                reserved.push(port);
                break sip;
            }
            // Of the ports that the system chose, one is not free for both.
            Err(_) if config.sip.port() == 0 && attempt < PORT_ATTEMPTS => {}
            Err(source) => {
                return Err(StartError::Bind { what: "SIP over TCP", address: sip, source });
            }
        }
    };
    let mut sip_tls = None;
    if let Some(address) = config.sip_tls.as_ref().map(|tls| tls.address) {
        let failed = |source| StartError::Bind { what: "SIP over TLS", address, source };
        let (address, port) = reserve(address).map_err(failed)?;
        streams.push((address, Transport::Tls));
        reserved.push(port);
        sip_tls = Some(address);
    }
    Ok(Listening { sip, sip_tls, streams, _reserved: reserved })
}

fn bind_udp(
    what: &'static str,
    address: SocketAddr,
    options: UdpOptions,
) -> Result<UdpSocket, StartError> {
    let bound = UdpSocket::bind(address, options);
    bound.map_err(|source| StartError::Bind { what, address, source })
}

fn bind_all(config: &Config, sip: SocketAddr, shards: usize) -> Result<Vec<Sockets>, StartError> {
    let plain = UdpOptions::default();
    let mut all = Vec::with_capacity(shards);
    for index in 0..shards {
        let rtp_ports: Vec<u16> = config.rtp_ports.rtp().skip(index).step_by(shards).collect();
        let mut media = Vec::with_capacity(rtp_ports.len() * 2);
        for port in rtp_ports.iter().flat_map(|&port| [port, port + 1]) {
            let options = UdpOptions { reads_marks: true, ..plain };
            media.push(bind_udp("RTP", SocketAddr::new(config.sip.ip(), port), options)?);
        }
        all.push(Sockets {
            sip: bind_udp("SIP", sip, UdpOptions { reuse_port: true, ..plain })?,
            media,
            rtp_ports,
        });
    }
    Ok(all)
}

/// A secret of the system's random numbers, for the keys of all calls.
fn key_source() -> Result<KeySource, StartError> {
    Ok(KeySource::new(secret()?))
}

/// Who has to sign in, with a key of this run for the nonces.
fn keyed(config: &Config, key: &NonceKey) -> Option<Arc<Auth>> {
    let settings = config.sip_auth.as_ref()?;
    Some(Arc::new(Auth { settings: Arc::clone(settings), key: key.clone() }))
}

/// Random numbers of the system, which nobody can guess.
fn secret<const LEN: usize>() -> Result<[u8; LEN], StartError> {
    let mut secret = [0; LEN];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| StartError::Host(io::Error::other("there are no random numbers")))?;
    Ok(secret)
}

/// What is made for the shards, and the other ends of their rings.
struct Assembled {
    parts: Vec<(Parts, Doorbell)>,
    ends: Vec<ControlEnd>,
    commands: Vec<Producer<Command>>,
}

/// Gives each shard its sockets and the ends of its rings.
fn assemble(
    config: &Config,
    settings: &ShardConfig,
    sockets: Vec<Sockets>,
    keys: KeySource,
    listening: &Listening,
    tls: Option<&Acceptor>,
) -> Assembled {
    let seed = fastrand::u64(..);
    let shards = sockets.len();
    let bells: Vec<_> = (0..shards).map(|_| Doorbell::default()).collect();
    let mut others: Vec<Vec<Option<Neighbour>>> = (0..shards).map(|_| Vec::new()).collect();
    let mut handed_in: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
    for (from, neighbours) in others.iter_mut().enumerate() {
        for (to, receivers) in handed_in.iter_mut().enumerate() {
            neighbours.push((from != to).then(|| {
                let (sender, receiver) = ring::handoff(HANDOFF_RING_BYTES);
                receivers.push(receiver);
                Neighbour { ring: sender, bell: bells[to].clone() }
            }));
        }
    }
    let (mut handovers, mut arrivals) = handovers(&bells);
    Sounds::prepare();
    let (mut ends, mut commands) = (Vec::with_capacity(shards), Vec::with_capacity(shards));
    let wired = sockets.into_iter().zip(others).zip(handed_in).zip(bells).enumerate();
    let parts = wired.map(|(index, (((sockets, others), handed_in), bell))| {
        let (ring, end) = ring::shard_to_control(REPORT_RING_SLOTS);
        ends.push(end);
        let (orders, obeyed) = ring::commands();
        commands.push(orders);
        let mut shard = Shard::new(ShardConfig {
            id: ShardId(u16::try_from(index).unwrap_or(u16::MAX)),
            sip_port: sockets.sip.local_addr().port(),
            rtp_ports: sockets.rtp_ports,
            seed,
            keys,
            ..settings.clone()
        });
        host::prefer_huge_pages(shard.stream_memory());
        let (sip, media) = (sockets.sip, sockets.media);
        let streams = StreamParts {
            listens: listening.streams.clone(),
            tls: tls.cloned(),
            others: core::mem::take(&mut handovers[index]),
            arrivals: core::mem::take(&mut arrivals[index]),
            bell: bell.clone(),
            connections_max: config.sip_connections_per_shard,
            seed,
        };
        let commands = obeyed;
        (Parts { shard, sip, media, ring, commands, others, handed_in, streams, seed }, bell)
    });
    Assembled { parts: parts.collect(), ends, commands }
}

/// The ways of connections to each shard; `None` for the own.
type Handovers = Vec<Option<Handover>>;

/// The ways of connections between shards: for each where they go, and where they come from.
fn handovers(bells: &[Doorbell]) -> (Vec<Handovers>, Vec<Vec<Consumer<Arrival>>>) {
    let mut out: Vec<Handovers> = bells.iter().map(|_| Vec::new()).collect();
    let mut into: Vec<Vec<_>> = bells.iter().map(|_| Vec::new()).collect();
    for (from, handovers) in out.iter_mut().enumerate() {
        for (to, (arrivals, bell)) in into.iter_mut().zip(bells).enumerate() {
            handovers.push((from != to).then(|| {
                let (ring, arrived) = RingBuffer::new(ARRIVALS_MAX);
                arrivals.push(arrived);
                Handover { ring, bell: bell.clone() }
            }));
        }
    }
    (out, into)
}

/// What the settings of ladders come to in bytes.
fn ladder_limits(settings: &LadderSettings) -> LadderLimits {
    let bytes = |count: u64, shift| usize::try_from(count << shift).unwrap_or(usize::MAX);
    LadderLimits {
        bytes_max: bytes(settings.memory_mib, 20),
        call_bytes_max: bytes(settings.call_kib, 10),
        are_stored: settings.history,
    }
}

/// What control begins with: no call, and all that it is to keep of those to come.
fn calls(config: &Config) -> Calls {
    Calls::new(clock::now(), config.history_calls)
        .with_scoring(config.scoring.clone())
        .with_trunks(Arc::clone(&config.trunks))
        .with_ladders(ladder_limits(&config.ladder))
        .with_finished()
        .with_reported()
        .with_intervals()
}

/// The alerts, kept in the store and told to the notifiers.
fn start_alerts(config: &Config, store: &Store, notifiers: &Notifiers) -> io::Result<Alerts> {
    let kept = alerts::Kept { feeder: store.feeder(), reader: store.reader() };
    let tell = telling::start(notifiers.handle())?;
    let alerts = Alerts::start(config.rules.clone(), Some(kept), Some(tell), clock::now());
    Ok(alerts.with_trunks(Arc::clone(&config.trunks)))
}

fn acceptor(config: &Config) -> Result<Option<Acceptor>, StartError> {
    let tls = config.sip_tls.as_ref().map(|tls| Acceptor::new(&tls.identity, &host::name()));
    tls.transpose().map_err(|error| StartError::Tls(error.to_string()))
}

fn start_store(config: &Config) -> Result<Store, store::StartError> {
    let (path, settings) = (config.data.join(HISTORY_FILE), config.store);
    Store::start(store::Options { path, settings, clock: clock::now })
}

fn start_notifiers(config: &Config) -> io::Result<Notifiers> {
    let (notifiers, host) = (config.notify.clone(), host::name());
    Notifiers::start(notify::Options { notifiers, host, clock: clock::now })
}

fn start_control(run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    thread::Builder::new().name("control".to_owned()).spawn(run).map_err(StartError::Host)
}

/// Starts all shards and waits until they listen.
fn start_shards(
    parts: Vec<(Parts, Doorbell)>,
    cores: &[usize],
    closing: &Arc<Closing>,
    beats: &[Arc<Beat>],
) -> Result<Vec<RunningShard>, StartError> {
    let (ready, listens) = mpsc::channel();
    let mut shards = Vec::with_capacity(parts.len());
    // One shard a core; where there are more, the scheduler places them.
    let is_placed = parts.len() <= cores.len();
    for (index, (parts, bell)) in parts.into_iter().enumerate() {
        let core = cores.get(index).filter(|_| is_placed);
        let (closing, beat) = (Arc::clone(closing), Arc::clone(&beats[index]));
        let life = Life { bell: bell.clone(), closing, beat, ready: ready.clone() };
        shards.push((start_shard(index, core.copied(), parts, life)?, bell));
    }
    drop(ready);
    // Who is told where SIP comes in may call at once. A shard that fails says nothing, and is
    // seen by whoever asks whether all run.
    while listens.recv_timeout(LISTEN_PATIENCE).is_ok() {}
    Ok(shards)
}

fn start_shard(
    index: usize,
    core: Option<usize>,
    parts: Parts,
    life: Life,
) -> Result<ExecutorJoinHandle<io::Result<()>>, StartError> {
    let placement = core.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .name(&format!("shard-{index}"))
        .io_memory(IO_MEMORY_BYTES)
        // Left to itself, glommio pins the helper threads of all executors to one core.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .spawn(move || executor::run(parts, life))
        .map_err(|error| StartError::Shard { index, reason: error.to_string() })
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has it, or another voxplane runs",
        io::ErrorKind::AddrNotAvailable => "; it is no address of this host",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// How long shards may take to listen; they need milliseconds.
const LISTEN_PATIENCE: Duration = Duration::from_secs(5);

/// Ports that are tried where the system may choose one.
const PORT_ATTEMPTS: u32 = 16;

/// How long the last notifications may take at the end, which is to take less than 5 s in all.
const NOTIFY_PATIENCE: Duration = Duration::from_secs(1);

/// The database in the data directory.
const HISTORY_FILE: &str = "history.db";

/// The least that glommio accepts; its rings are used for parking only.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// glommio refuses to start below this.
const MEMLOCK_MIN_BYTES: u64 = 512 << 10;
