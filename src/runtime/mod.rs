//! Brings the stages together: sockets, one executor a shard, the control thread, the API.
//!
//! The only code that knows glommio. Everything that can be refused is refused before the first
//! thread starts.

use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use ::ring::rand::{SecureRandom as _, SystemRandom};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};
use rtrb::{Consumer, RingBuffer};

mod closing;
mod connection;
mod control;
mod executor;
mod listening;
mod park;
mod streams;
pub mod systemd;
mod telling;
mod tls;
mod turn;
mod usual;

use self::{
    closing::Closing,
    executor::Life,
    listening::{Reserved, reserve},
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
        Shard, ShardConfig,
        auth::{Auth, AuthSettings, NonceKey},
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
    shards: Vec<(ExecutorJoinHandle<io::Result<()>>, Doorbell)>,
    control: JoinHandle<()>,
    http: http::Server,
    store: Store,
    notifiers: Notifiers,
    /// Of each shard, then of control.
    beats: Vec<Arc<Beat>>,
    closing: Arc<Closing>,
    /// Dropped at the end, which ends its thread.
    _usual: mpsc::Sender<()>,
}

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
    /// Starts everything.
    ///
    /// # Errors
    /// What the host lacks or refuses, in one sentence with the remedy.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        check_host()?;
        // Two descriptors a socket; with many ports that is more than the usual soft limit.
        host::raise_descriptor_limit().map_err(StartError::Host)?;
        open_data(&config.data)?;
        let token = config.api_token_file.as_deref().map(read_token).transpose()?;
        let listener = TcpListener::bind(config.http).map_err(|source| StartError::Bind {
            what: "HTTP",
            address: config.http,
            source,
        })?;
        let cores = host::allowed_cores().map_err(StartError::Host)?;
        let shards = config.shards.map_or(cores.len(), usize::from);
        let listening = listen(config)?;
        let (sip, sip_tls) = (listening.sip, listening.sip_tls);
        let tls = config.sip_tls.as_ref().map(|tls| Acceptor::new(&tls.identity, &host::name()));
        let tls = tls.transpose().map_err(|error| StartError::Tls(error.to_string()))?;
        let sockets = bind_all(config, sip, shards)?;

        let closing = Arc::new(Closing::new(shards));
        let keys = key_source()?;
        let auth = config.sip_auth.as_ref().map(keyed).transpose()?;
        let (parts, ends) =
            assemble(config, sockets, keys, auth.as_ref(), &listening, tls.as_ref());
        let cell = SnapshotCell::default();
        let store = Store::start(store::Options {
            path: config.data.join(HISTORY_FILE),
            settings: config.store,
            clock: clock::now,
        })?;
        let notifiers = Notifiers::start(notify::Options {
            notifiers: config.notify.clone(),
            host: host::name(),
            clock: clock::now,
        })
        .map_err(StartError::Host)?;
        let alerts = start_alerts(config, &store, &notifiers).map_err(StartError::Host)?;
        let _usual = usual::start(alerts.clone()).map_err(StartError::Host)?;
        let options = http::Options {
            listener,
            token,
            store: Some(store.reader()),
            alerts: alerts.clone(),
            notify: Some(notifiers.handle()),
        };
        let http = http::Server::start(options, cell.clone()).map_err(StartError::Host)?;
        let bells: Vec<_> = parts.iter().map(|(_, bell)| bell.clone()).collect();
        let beats: Vec<Arc<Beat>> = (0..=shards).map(|_| Arc::default()).collect();
        let (ready, listens) = mpsc::channel();
        let mut executors = Vec::with_capacity(parts.len());
        for (index, (parts, bell)) in parts.into_iter().enumerate() {
            // One shard a core; where there are more, the scheduler places them.
            let core = cores.get(index).filter(|_| shards <= cores.len());
            let (closing, beat) = (Arc::clone(&closing), Arc::clone(&beats[index]));
            let life = Life { bell, closing, beat, ready: ready.clone() };
            executors.push(start_shard(index, core.copied(), parts, life)?);
        }
        drop(ready);
        // Who is told where SIP comes in may call at once. A shard that fails says nothing, and is
        // seen by whoever asks whether all run.
        while listens.recv_timeout(LISTEN_PATIENCE).is_ok() {}
        let (calls, feeder) = (calls(config), store.feeder());
        let beat = Arc::clone(&beats[executors.len()]);
        let control = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || control::run(calls, ends, &cell, &feeder, &beat, &alerts))
            .map_err(StartError::Host)?;
        let shards = executors.into_iter().zip(bells).collect();
        Ok(Self { sip, sip_tls, shards, control, http, store, notifiers, beats, closing, _usual })
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
    /// The API token cannot be used.
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

fn read_token(path: &Path) -> Result<http::Token, StartError> {
    let failed = |source| StartError::Token { path: path.display().to_string(), source };
    http::Token::read(path).map_err(failed)
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
fn keyed(settings: &Arc<AuthSettings>) -> Result<Arc<Auth>, StartError> {
    let key = secret::<32>()?;
    Ok(Arc::new(Auth { settings: Arc::clone(settings), key: NonceKey::new(&key) }))
}

/// Random numbers of the system, which nobody can guess.
fn secret<const LEN: usize>() -> Result<[u8; LEN], StartError> {
    let mut secret = [0; LEN];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| StartError::Host(io::Error::other("there are no random numbers")))?;
    Ok(secret)
}

/// Gives each shard its sockets and the ends of its rings.
fn assemble(
    config: &Config,
    sockets: Vec<Sockets>,
    keys: KeySource,
    auth: Option<&Arc<Auth>>,
    listening: &Listening,
    tls: Option<&Acceptor>,
) -> (Vec<(Parts, Doorbell)>, Vec<ControlEnd>) {
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
    let scoring = Arc::new(config.scoring.clone());
    let mut ends = Vec::with_capacity(shards);
    let wired = sockets.into_iter().zip(others).zip(handed_in).zip(bells).enumerate();
    let parts = wired.map(|(index, (((sockets, others), handed_in), bell))| {
        let (ring, end) = ring::shard_to_control(REPORT_RING_SLOTS);
        ends.push(end);
        let mut shard = Shard::new(ShardConfig {
            id: ShardId(u16::try_from(index).unwrap_or(u16::MAX)),
            sip_port: sockets.sip.local_addr().port(),
            rtp_ports: sockets.rtp_ports,
            advertise: config.advertise,
            dialogs_max: config.max_calls_per_shard,
            answer_delay: config.answer_delay,
            routes: Arc::clone(&config.routes),
            sounds: config.sounds.clone(),
            ring_timeout: config.ring_timeout,
            idle_timeout: config.idle_timeout,
            sip_limits: config.sip_limits,
            auth: auth.cloned(),
            registrar: config.registrar,
            jitter_buffers: config.jitter_buffers,
            rtcp_xr: config.rtcp_xr,
            ladders: config.ladder.memory_mib > 0,
            scoring: Arc::clone(&scoring),
            trunks: Arc::clone(&config.trunks),
            seed,
            keys,
            ..ShardConfig::default()
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
        (Parts { shard, sip, media, ring, others, handed_in, streams, seed }, bell)
    });
    (parts.collect(), ends)
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
        .with_intervals()
}

/// The alerts, kept in the store and told to the notifiers.
fn start_alerts(config: &Config, store: &Store, notifiers: &Notifiers) -> io::Result<Alerts> {
    let kept = alerts::Kept { feeder: store.feeder(), reader: store.reader() };
    let tell = telling::start(notifiers.handle())?;
    let alerts = Alerts::start(config.rules.clone(), Some(kept), Some(tell), clock::now());
    Ok(alerts.with_trunks(Arc::clone(&config.trunks)))
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
