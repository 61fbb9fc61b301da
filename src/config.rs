//! What the appliance is told: a TOML file, overridden by flags, checked once.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

mod changes;

pub use self::changes::Changes;

use crate::{
    alerts::{RuleError, Rules, Table},
    limits::{CONNECTIONS_MAX, DIALOGS_MAX},
    notify,
    quality::{
        score::Scoring,
        settings::{RawScoring, ScoringError},
    },
    shard::{
        admission::{RawSipLimits, SipLimits, SipLimitsError},
        auth::{AuthError, AuthSettings, RawAuth},
        buffer::{BufferError, JitterBuffers, RawJitterBuffers},
        registrar::{RawRegistrar, RegistrarError, RegistrarSettings},
        routes::{RawRoutes, RouteError, Routes},
    },
    sound::{RecordingError, Sounds},
    store::settings::{RawSettings, Settings, SettingsError},
    trunks::{RawTrunks, TrunkError, Trunks},
};

/// Settings of `voxplane run`, complete and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Executors, one on a core each; `None` takes every core we may run on.
    pub shards: Option<u16>,
    /// Where SIP comes in over UDP.
    pub sip: SocketAddr,
    /// Whether SIP comes in over TCP as well, at the same address.
    pub sip_tcp: bool,
    /// Where and as whom SIP comes in over TLS; `None` if it does not.
    pub sip_tls: Option<SipTls>,
    /// SIP connections, TCP and TLS, that one shard holds.
    pub sip_connections_per_shard: usize,
    /// Ports for RTP and RTCP, shared out among the shards in pairs.
    pub rtp_ports: PortRange,
    /// The address that Contact and SDP name, where that is not the one a request came to.
    pub advertise: Option<IpAddr>,
    /// Where the HTTP API listens.
    pub http: SocketAddr,
    /// The file that holds the bearer tokens of the API.
    pub api_token_file: Option<PathBuf>,
    /// Requests a second that one address may send to the API; 0 for any number.
    pub http_requests_per_second: u32,
    /// Wrong tokens a minute that one address may send to the API; 0 for any number.
    pub http_failures_per_minute: u32,
    /// Whether both hold for clients on this host as well.
    pub http_limits_loopback: bool,
    /// The file that has a line for each request to the API.
    pub access_log: Option<PathBuf>,
    /// The appliance's own directory.
    pub data: PathBuf,
    /// Calls that one shard holds at once, finished ones of the last half minute included.
    pub max_calls_per_shard: usize,
    /// Finished calls kept in memory beside those of the store.
    pub history_calls: usize,
    /// How long a call rings before it is answered.
    pub answer_delay: Duration,
    /// A call of which nothing has been heard for so long is over.
    pub idle_timeout: Duration,
    /// What is done with a call, by the user part of its Request-URI.
    pub routes: Arc<Routes>,
    /// What calls can hear.
    pub sounds: Sounds,
    /// How long a call rings that is never answered.
    pub ring_timeout: Duration,
    /// Whether extended RTCP reports (RFC 3611) are sent.
    pub rtcp_xr: bool,
    /// How much is kept of the SIP messages of calls.
    pub ladder: LadderSettings,
    /// How calls are scored.
    pub scoring: Scoring,
    /// The jitter buffers that are emulated for every stream.
    pub jitter_buffers: JitterBuffers,
    /// How much SIP is taken in from whom.
    pub sip_limits: SipLimits,
    /// Who has to sign in for what; `None` for nobody.
    pub sip_auth: Option<Arc<AuthSettings>>,
    /// What the registrar grants.
    pub registrar: RegistrarSettings,
    /// How much history is kept.
    pub store: Settings,
    /// Who is told of alerts.
    pub notify: Vec<notify::Settings>,
    /// By which rules alerts are raised.
    pub rules: Rules,
    /// What the networks that calls come from are called.
    pub trunks: Arc<Trunks>,
}

/// Settings as they may stand in a file or come from flags; what is `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// See [`Config::shards`].
    pub shards: Option<u16>,
    /// See [`Config::sip`].
    pub sip: Option<SocketAddr>,
    /// See [`Config::sip_tcp`].
    pub sip_tcp: Option<bool>,
    /// See [`SipTls::address`].
    pub sip_tls: Option<SocketAddr>,
    /// See [`TlsIdentity::Files`]; a PEM file.
    pub tls_certificate: Option<PathBuf>,
    /// See [`TlsIdentity::Files`]; a PEM file.
    pub tls_key: Option<PathBuf>,
    /// See [`TlsIdentity::SelfSigned`].
    pub tls_self_signed: Option<bool>,
    /// See [`Config::sip_connections_per_shard`].
    pub sip_connections_per_shard: Option<usize>,
    /// See [`Config::rtp_ports`]; as text, `20000-20063`.
    pub rtp_ports: Option<PortRange>,
    /// See [`Config::advertise`].
    pub advertise: Option<IpAddr>,
    /// See [`Config::http`].
    pub http: Option<SocketAddr>,
    /// See [`Config::api_token_file`].
    pub api_token_file: Option<PathBuf>,
    /// See [`Config::http_requests_per_second`].
    pub http_requests_per_second: Option<u32>,
    /// See [`Config::http_failures_per_minute`].
    pub http_failures_per_minute: Option<u32>,
    /// See [`Config::http_limits_loopback`].
    pub http_limits_loopback: Option<bool>,
    /// See [`Config::access_log`]; empty for none.
    pub access_log: Option<PathBuf>,
    /// See [`Config::data`].
    pub data: Option<PathBuf>,
    /// See [`Config::max_calls_per_shard`].
    pub max_calls_per_shard: Option<usize>,
    /// See [`Config::history_calls`].
    pub history_calls: Option<usize>,
    /// See [`Config::answer_delay`]; milliseconds.
    pub answer_delay_ms: Option<u64>,
    /// See [`Config::idle_timeout`]; seconds.
    pub idle_timeout_s: Option<u64>,
    /// The recording of [`Config::sounds`], a WAV file; empty for none.
    pub play_file: Option<PathBuf>,
    /// See [`Config::ring_timeout`]; seconds.
    pub ring_timeout_s: Option<u64>,
    /// See [`Config::routes`]; a table.
    pub routes: Option<RawRoutes>,
    /// See [`Config::rtcp_xr`].
    pub rtcp_xr: Option<bool>,
    /// See [`Config::ladder`]; a table.
    pub ladder: Option<RawLadder>,
    /// See [`Config::scoring`]; a table.
    pub scoring: Option<RawScoring>,
    /// See [`Config::jitter_buffers`]; a table.
    pub jitter_buffer: Option<RawJitterBuffers>,
    /// See [`Config::sip_limits`]; a table.
    pub sip_limits: Option<RawSipLimits>,
    /// See [`Config::sip_auth`]; a table.
    pub sip_auth: Option<RawAuth>,
    /// See [`Config::registrar`]; a table.
    pub registrar: Option<RawRegistrar>,
    /// See [`Config::store`]; a table.
    pub store: Option<RawSettings>,
    /// See [`Config::notify`]; tables.
    #[serde(default)]
    pub notify: Vec<notify::RawSettings>,
    /// See [`Config::rules`]; rules of one's own, a table each.
    pub alert: Option<Vec<Table>>,
    /// See [`Config::rules`]; what is different about the program's own, a table each.
    pub alerts: Option<BTreeMap<String, Table>>,
    /// See [`Config::trunks`]; networks by name.
    pub trunks: Option<RawTrunks>,
}

impl RawConfig {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a key or a value that is not ours.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { file: file.clone(), source })?;
        toml::from_str(&text).map_err(|error| {
            // The parser's own text draws the line over several lines; one sentence is ours.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let key = text.lines().nth(line - 1).and_then(|line| line.split_once('='));
            let key = key.map_or_else(String::new, |(key, _)| format!(", {}", key.trim()));
            let reason = error.message().lines().next().unwrap_or("not TOML").to_owned();
            ConfigError::Invalid { file, line, key, reason }
        })
    }

    /// These settings, with those of `below` where these say nothing.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            shards: self.shards.or(below.shards),
            sip: self.sip.or(below.sip),
            sip_tcp: self.sip_tcp.or(below.sip_tcp),
            sip_tls: self.sip_tls.or(below.sip_tls),
            tls_certificate: self.tls_certificate.or(below.tls_certificate),
            tls_key: self.tls_key.or(below.tls_key),
            tls_self_signed: self.tls_self_signed.or(below.tls_self_signed),
            sip_connections_per_shard: self
                .sip_connections_per_shard
                .or(below.sip_connections_per_shard),
            rtp_ports: self.rtp_ports.or(below.rtp_ports),
            advertise: self.advertise.or(below.advertise),
            http: self.http.or(below.http),
            api_token_file: self.api_token_file.or(below.api_token_file),
            http_requests_per_second: self
                .http_requests_per_second
                .or(below.http_requests_per_second),
            http_failures_per_minute: self
                .http_failures_per_minute
                .or(below.http_failures_per_minute),
            http_limits_loopback: self.http_limits_loopback.or(below.http_limits_loopback),
            access_log: self.access_log.or(below.access_log),
            data: self.data.or(below.data),
            max_calls_per_shard: self.max_calls_per_shard.or(below.max_calls_per_shard),
            history_calls: self.history_calls.or(below.history_calls),
            answer_delay_ms: self.answer_delay_ms.or(below.answer_delay_ms),
            idle_timeout_s: self.idle_timeout_s.or(below.idle_timeout_s),
            play_file: self.play_file.or(below.play_file),
            ring_timeout_s: self.ring_timeout_s.or(below.ring_timeout_s),
            routes: self.routes.or(below.routes),
            rtcp_xr: self.rtcp_xr.or(below.rtcp_xr),
            ladder: self.ladder.or(below.ladder),
            scoring: self.scoring.or(below.scoring),
            jitter_buffer: self.jitter_buffer.or(below.jitter_buffer),
            sip_limits: self.sip_limits.or(below.sip_limits),
            sip_auth: self.sip_auth.or(below.sip_auth),
            registrar: self.registrar.or(below.registrar),
            store: self.store.or(below.store),
            notify: if self.notify.is_empty() { below.notify } else { self.notify },
            alert: self.alert.or(below.alert),
            alerts: self.alerts.or(below.alerts),
            trunks: self.trunks.or(below.trunks),
        }
    }

    /// Fills in the defaults, looks up secrets and checks the whole.
    ///
    /// # Errors
    /// A value is out of its range, or a secret is not where it should be; the error names it.
    pub fn complete(self) -> Result<Config, ConfigError> {
        let sip_tls = self.tls()?;
        let jitter_buffers = self.jitter_buffer.unwrap_or_default().complete()?;
        let recording = self.play_file.filter(|file| !file.as_os_str().is_empty());
        let sounds = recording.map(|file| Sounds::with_recording(&file)).transpose()?;
        let sounds = sounds.unwrap_or_default();
        let scoring = self.scoring.unwrap_or_default().complete()?;
        let config = Config {
            shards: self.shards,
            sip: self.sip.unwrap_or(DEFAULT_SIP),
            sip_tcp: self.sip_tcp.unwrap_or(true),
            sip_tls,
            sip_connections_per_shard: self.sip_connections_per_shard.unwrap_or(CONNECTIONS_MAX),
            rtp_ports: self.rtp_ports.unwrap_or(DEFAULT_RTP_PORTS),
            advertise: self.advertise,
            http: self.http.unwrap_or(DEFAULT_HTTP),
            api_token_file: self.api_token_file,
            http_requests_per_second: self.http_requests_per_second.unwrap_or(DEFAULT_HTTP_RATE),
            http_failures_per_minute: self
                .http_failures_per_minute
                .unwrap_or(DEFAULT_HTTP_FAILURES),
            http_limits_loopback: self.http_limits_loopback.unwrap_or(false),
            access_log: self.access_log.filter(|file| !file.as_os_str().is_empty()),
            data: self.data.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA)),
            max_calls_per_shard: self.max_calls_per_shard.unwrap_or(DIALOGS_MAX),
            history_calls: self.history_calls.unwrap_or(DEFAULT_HISTORY_CALLS),
            answer_delay: Duration::from_millis(self.answer_delay_ms.unwrap_or(0)),
            idle_timeout: Duration::from_secs(self.idle_timeout_s.unwrap_or(DEFAULT_IDLE_SECS)),
            ring_timeout: Duration::from_secs(self.ring_timeout_s.unwrap_or(DEFAULT_RING_SECS)),
            routes: Routes::new(self.routes.unwrap_or_default(), sounds.has_recording())?.into(),
            sounds,
            scoring: Scoring { far_end_buffer_ms: jitter_buffers.fixed_ms.into(), ..scoring },
            jitter_buffers,
            rtcp_xr: self.rtcp_xr.unwrap_or(true),
            ladder: LadderSettings::of(&self.ladder.unwrap_or_default()),
            sip_limits: self.sip_limits.unwrap_or_default().complete()?,
            sip_auth: self.sip_auth.unwrap_or_default().complete()?,
            registrar: self.registrar.unwrap_or_default().complete()?,
            store: self.store.unwrap_or_default().complete()?,
            notify: notify::complete(&self.notify, &|name| env::var(name).ok())?,
            rules: Rules::new(self.alert.unwrap_or_default(), self.alerts.unwrap_or_default())?,
            trunks: Trunks::new(self.trunks.unwrap_or_default())?.into(),
        };
        config.check()?;
        Ok(config)
    }
}

impl RawConfig {
    /// What the settings of TLS come to.
    fn tls(&self) -> Result<Option<SipTls>, ConfigError> {
        let identity = match (&self.tls_certificate, &self.tls_key, self.tls_self_signed) {
            (Some(_), _, Some(true)) | (_, Some(_), Some(true)) => {
                return Err(ConfigError::Tls(
                    "tls_self_signed and a certificate exclude each other",
                ));
            }
            (Some(certificate), Some(key), _) => {
                let (certificate, key) = (certificate.clone(), key.clone());
                Some(TlsIdentity::Files { certificate, key })
            }
            (Some(_), None, _) => return Err(ConfigError::Tls("tls_certificate needs tls_key")),
            (None, Some(_), _) => return Err(ConfigError::Tls("tls_key needs tls_certificate")),
            (None, None, Some(true)) => Some(TlsIdentity::SelfSigned),
            (None, None, _) => None,
        };
        match (self.sip_tls, identity) {
            (Some(address), Some(identity)) => Ok(Some(SipTls { address, identity })),
            (Some(_), None) => Err(ConfigError::Tls(
                "sip_tls needs tls_certificate and tls_key, or tls_self_signed = true",
            )),
            (None, _) => Ok(None),
        }
    }
}

/// Where and as whom SIP comes in over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipTls {
    /// Where.
    pub address: SocketAddr,
    /// As whom.
    pub identity: TlsIdentity,
}

/// What a TLS server shows its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsIdentity {
    /// A certificate, with those that vouch for it, and its key.
    Files {
        /// PEM file with the certificates, our own first.
        certificate: PathBuf,
        /// PEM file with the key.
        key: PathBuf,
    },
    /// A certificate made at start that vouches for itself.
    SelfSigned,
}

impl TlsIdentity {
    /// Whether it stands in files, which may change.
    #[must_use]
    pub const fn is_a_file(&self) -> bool {
        matches!(self, Self::Files { .. })
    }
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        let range = |key, value: u64, low, high| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(ConfigError::OutOfRange { key, value, low, high })
            }
        };
        let shards = self.shards.map_or(1, u64::from);
        range("shards", shards, 1, SHARDS_MAX)?;
        let (rate, failures) = (self.http_requests_per_second, self.http_failures_per_minute);
        range("http_requests_per_second", rate.into(), 0, HTTP_RATE_MAX)?;
        range("http_failures_per_minute", failures.into(), 0, HTTP_RATE_MAX)?;
        range("max_calls_per_shard", self.max_calls_per_shard as u64, 1, CALLS_PER_SHARD_MAX)?;
        let connections = self.sip_connections_per_shard as u64;
        range("sip_connections_per_shard", connections, 1, CONNECTIONS_PER_SHARD_MAX)?;
        range("history_calls", self.history_calls as u64, 0, HISTORY_CALLS_MAX)?;
        let delay_ms = u64::try_from(self.answer_delay.as_millis()).unwrap_or(u64::MAX);
        range("answer_delay_ms", delay_ms, 0, ANSWER_DELAY_MS_MAX)?;
        range("ring_timeout_s", self.ring_timeout.as_secs(), 1, RING_SECS_MAX)?;
        range("ladder.memory_mib", self.ladder.memory_mib, 0, LADDER_MIB_MAX)?;
        range("ladder.call_kib", self.ladder.call_kib, 2, LADDER_CALL_KIB_MAX)?;
        range("idle_timeout_s", self.idle_timeout.as_secs(), 1, IDLE_SECS_MAX)?;
        let pairs = u64::from(self.rtp_ports.pairs());
        if pairs < shards {
            return Err(ConfigError::TooFewPorts { ports: self.rtp_ports, pairs, shards });
        }
        if self.rtp_ports.contains(self.sip.port()) {
            return Err(ConfigError::PortClash { ports: self.rtp_ports, port: self.sip.port() });
        }
        let is_exposed = !self.http.ip().is_loopback();
        if is_exposed && self.api_token_file.is_none() {
            return Err(ConfigError::Exposed { http: self.http });
        }
        Ok(())
    }
}

/// How much is kept of the SIP messages of calls, for their ladders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderSettings {
    /// Of all calls that are up, MiB; 0 keeps none.
    pub memory_mib: u64,
    /// Of one, KiB.
    pub call_kib: u64,
    /// Whether the history has them.
    pub history: bool,
}

/// The same as it may stand in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLadder {
    /// See [`LadderSettings::memory_mib`].
    pub memory_mib: Option<u64>,
    /// See [`LadderSettings::call_kib`].
    pub call_kib: Option<u64>,
    /// See [`LadderSettings::history`].
    pub history: Option<bool>,
}

impl LadderSettings {
    fn of(raw: &RawLadder) -> Self {
        Self {
            memory_mib: raw.memory_mib.unwrap_or(DEFAULT_LADDER_MIB),
            call_kib: raw.call_kib.unwrap_or(DEFAULT_LADDER_CALL_KIB),
            history: raw.history.unwrap_or(true),
        }
    }
}

/// An inclusive range of ports, written `20000-20063`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The even ports that have the port above them in the range: RTP, with RTCP above.
    pub fn rtp(self) -> impl Iterator<Item = u16> {
        let first_even = self.first.next_multiple_of(2);
        (first_even..self.last).step_by(2)
    }

    /// How many pairs of RTP and RTCP ports there are.
    #[must_use]
    pub fn pairs(self) -> u16 {
        u16::try_from(self.rtp().count()).unwrap_or(u16::MAX)
    }

    /// Whether a port is in the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').ok_or("expected FIRST-LAST")?;
        let port = |text: &str| match text.trim().parse() {
            Ok(0) | Err(_) => Err(format!("`{text}` is no port from 1 to 65534")),
            Ok(u16::MAX) => Err("65535 has no port above it".to_owned()),
            Ok(port) => Ok(port),
        };
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("{first} is above {last}"));
        }
        Ok(Self { first, last })
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Why the settings cannot be used. Each is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The table of the jitter buffers is wrong.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The API would be open to the network without a token.
    #[error("http: {http} is not a loopback address, so api_token_file is needed")]
    Exposed {
        /// Where it would listen.
        http: SocketAddr,
    },
    /// The file is not ours.
    #[error("{file}, line {line}{key}: {reason}")]
    Invalid {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// The key on that line, after a comma; empty where there is none.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A table of whom to tell is wrong.
    #[error(transparent)]
    Notify(#[from] notify::SettingsError),
    /// A number is out of its range.
    #[error("{key}: {value} is not from {low} to {high}")]
    OutOfRange {
        /// Which setting.
        key: &'static str,
        /// What it is.
        value: u64,
        /// The least it can be.
        low: u64,
        /// The most it can be.
        high: u64,
    },
    /// SIP would come to a port for RTP.
    #[error("rtp_ports: {ports} contains the SIP port {port}")]
    PortClash {
        /// The range.
        ports: PortRange,
        /// The port in both.
        port: u16,
    },
    /// The recording cannot be used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The table of limits is wrong.
    #[error(transparent)]
    Limits(#[from] SipLimitsError),
    /// The table of who has to sign in is wrong.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The registrar table is wrong.
    #[error(transparent)]
    Registrar(#[from] RegistrarError),
    /// The settings of TLS do not go together.
    #[error("{0}")]
    Tls(&'static str),
    /// The table of routes is wrong.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A rule of alerts is wrong.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The scoring table is wrong.
    #[error(transparent)]
    Scoring(#[from] ScoringError),
    /// The store table is wrong.
    #[error(transparent)]
    Store(#[from] SettingsError),
    /// A shard would have no port.
    #[error("rtp_ports: {ports} has {pairs} pairs of ports, fewer than the {shards} shards")]
    TooFewPorts {
        /// The range.
        ports: PortRange,
        /// Pairs in it.
        pairs: u64,
        /// Shards asked for.
        shards: u64,
    },
    /// The table of trunks is wrong.
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        source: io::Error,
    },
}

const DEFAULT_SIP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5060);
const DEFAULT_RTP_PORTS: PortRange = PortRange { first: 20_000, last: 20_063 };
const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// A dashboard and some pollers; a script that has gone wild is more.
const DEFAULT_HTTP_RATE: u32 = 100;

/// More than somebody mistypes, and nothing for somebody who guesses.
const DEFAULT_HTTP_FAILURES: u32 = 20;

const HTTP_RATE_MAX: u64 = 1_000_000;

const DEFAULT_DATA: &str = "./voxplane-data";
/// About 20 MB.
const DEFAULT_HISTORY_CALLS: usize = 10_000;

/// 20,000 calls of five messages take 60 MB.
const DEFAULT_LADDER_MIB: u64 = 64;

/// 200 messages of some 300 bytes; most calls have ten.
const DEFAULT_LADDER_CALL_KIB: u64 = 64;

const LADDER_MIB_MAX: u64 = 16_384;

const LADDER_CALL_KIB_MAX: u64 = 1024;
/// Long enough for a call on hold, short enough for a trunk that lost a BYE.
const DEFAULT_IDLE_SECS: u64 = 300;

/// Timer C (RFC 3261 section 16.6).
const DEFAULT_RING_SECS: u64 = 180;

/// More cores than any box this was thought for.
const SHARDS_MAX: u64 = 256;
const CALLS_PER_SHARD_MAX: u64 = 1_000_000;
/// Descriptors end somewhere.
const CONNECTIONS_PER_SHARD_MAX: u64 = 100_000;
const HISTORY_CALLS_MAX: u64 = 1_000_000;
/// An INVITE transaction may take three minutes (RFC 3261 section 16.6, timer C).
const ANSWER_DELAY_MS_MAX: u64 = 180_000;
const RING_SECS_MAX: u64 = 3600;
const IDLE_SECS_MAX: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_with_the_odd_above() {
        let range: PortRange = "20001-20006".parse().unwrap();
        assert_eq!(range.rtp().collect::<Vec<_>>(), [20_002, 20_004]);
        assert_eq!(DEFAULT_RTP_PORTS.pairs(), 32);
    }

    #[test]
    fn bad_values_are_named() {
        let complete = |text: &str| {
            let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
            raw.complete().map_err(|error| error.to_string())
        };
        assert!(complete("").is_ok());
        for (text, named) in [
            ("shards = 0", "shards: 0 is not from 1 to 256"),
            ("shards = 64", "fewer than the 64 shards"),
            ("sip = '0.0.0.0:20010'", "contains the SIP port 20010"),
            ("http = '0.0.0.0:8080'", "api_token_file is needed"),
            ("rtp_ports = '7-3'", "7 is above 3"),
            ("colour = 'red'", "unknown field `colour`"),
            ("sip_tls = '127.0.0.1:5061'", "sip_tls needs tls_certificate and tls_key"),
            ("tls_key = 'k.pem'", "tls_key needs tls_certificate"),
            ("sip_connections_per_shard = 0", "sip_connections_per_shard: 0 is not from 1"),
            ("idle_timeout_s = 0", "idle_timeout_s: 0 is not from 1"),
            ("ring_timeout_s = 0", "ring_timeout_s: 0 is not from 1"),
            ("play_file = '/nowhere/a.wav'", "play_file: /nowhere/a.wav: No such file"),
            ("[routes]\n9196 = 'play'", "routes: \"9196\": `play` needs play_file"),
            ("[routes]\n'12*' = 'ehco'", "routes: \"12*\": `ehco` is none of echo,"),
        ] {
            let error = complete(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn flags_go_over_the_file_and_the_file_over_defaults() {
        let file: RawConfig = toml::from_str("shards = 3\nsip = '127.0.0.1:5070'").unwrap();
        let flags = RawConfig { shards: Some(2), ..RawConfig::default() };
        let config = flags.over(file).complete().unwrap();
        assert_eq!(config.shards, Some(2));
        assert_eq!(config.sip, "127.0.0.1:5070".parse().unwrap());
        assert_eq!(config.http, DEFAULT_HTTP);
    }
}
