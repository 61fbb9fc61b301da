//! The command line, checked: what was typed becomes a [`Scenario`] or one clear sentence.
//!
//! Nothing here resolves a name or opens a file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::impair::{Impairments, PACKET_INTERVAL};

/// Places SIP calls with impaired RTP on TARGET and reports what became of them.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadgen", version, about, max_term_width = 100)]
pub struct Options {
    /// Whom to call, by name or address, with or without port (5060); IPv6 before a port in
    /// brackets
    #[arg(value_parser = target)]
    pub target: Target,
    /// How many calls to place
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=CALLS_MAX))]
    pub calls: u32,
    /// New calls per second; they start on time whether or not earlier ones were answered
    #[arg(long, value_name = "CPS", default_value = "10", value_parser = rate)]
    pub rate: f64,
    /// Media time of each call: 20s, 1m30s, 500ms
    #[arg(long, value_name = "T", default_value = "20s", value_parser = duration)]
    pub duration: Duration,
    /// What the audio is encoded with
    #[arg(long, default_value = "pcmu")]
    pub codec: AudioCodec,
    /// Packets to lose, percent; never the first and the last of a call
    #[arg(long, value_name = "P", default_value = "0", value_parser = percent)]
    pub loss: f64,
    /// Lose in runs of this mean length (Gilbert model) instead of each packet on its own
    #[arg(long, value_name = "MEAN_RUN", value_parser = mean_run)]
    pub burst: Option<f64>,
    /// Interarrival jitter to aim at, ms: each packet is delayed by 0 to 3 times this, evenly
    /// spread; packets do not overtake each other, so beyond 6 ms the jitter comes out lower
    #[arg(long, value_name = "MS", default_value = "0", value_parser = jitter)]
    pub jitter: Duration,
    /// Packets to hold back until 1 to 3 later ones are sent, percent
    #[arg(long, value_name = "P", default_value = "0", value_parser = percent)]
    pub reorder: f64,
    /// Packets to send twice, percent
    #[arg(long, value_name = "P", default_value = "0", value_parser = percent)]
    pub duplicate: f64,
    /// Impair only so many of the calls, evenly spread among them [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=CALLS_MAX))]
    pub impaired_calls: Option<u32>,
    /// Decides every random choice; the same seed gives the same packets
    #[arg(long, value_name = "S", default_value = "1")]
    pub seed: u64,
    /// User part to call; the appliance sends the media of `echo` back
    #[arg(long, default_value = "sink", value_parser = user)]
    pub user: String,
    /// Local address and SIP port; the default is what the route to TARGET uses, and any port
    #[arg(long, value_name = "IP[:PORT]", value_parser = bind)]
    pub bind: Option<SocketAddr>,
    /// Threads, each with a SIP socket of its own
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX))]
    pub threads: u16,
    /// Compare each call with what the appliance at this address says of it
    #[arg(long, value_name = "URL", value_parser = url)]
    pub verify: Option<String>,
    /// File with the bearer token for --verify
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub api_token_file: Option<PathBuf>,
    /// Write a line to this file as each call ends: time, Call-ID, outcome
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    /// How to print the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub report: ReportFormat,
}

impl Options {
    /// What the options mean together.
    ///
    /// # Errors
    /// Values that are each in range but cannot be had together.
    pub fn scenario(&self) -> Result<Scenario, OptionsError> {
        let impairments = Impairments {
            loss: self.loss / 100.0,
            mean_run: self.burst,
            jitter: self.jitter,
            reorder: self.reorder / 100.0,
            duplicate: self.duplicate / 100.0,
        };
        if let Some(mean_run) = self.burst {
            let limit = Impairments::loss_max(mean_run);
            if impairments.loss > limit {
                return Err(OptionsError::BurstTooShort {
                    loss: self.loss,
                    mean_run,
                    limit: limit * 100.0,
                });
            }
        }
        let impaired_calls = self.impaired_calls.unwrap_or(self.calls);
        if impaired_calls > self.calls {
            return Err(OptionsError::TooManyImpaired {
                impaired: impaired_calls,
                calls: self.calls,
            });
        }
        let packets = self.duration.as_nanos() / PACKET_INTERVAL.as_nanos();
        Ok(Scenario {
            calls: self.calls,
            rate: self.rate,
            duration: self.duration,
            packets: u32::try_from(packets).unwrap_or(u32::MAX),
            codec: self.codec,
            impairments,
            impaired_calls,
            seed: self.seed,
            user: self.user.clone(),
        })
    }
}

/// What to do, apart from where: the part of the options that the seed acts on.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many calls.
    pub calls: u32,
    /// New calls per second.
    pub rate: f64,
    /// From the first packet of a call to its BYE.
    pub duration: Duration,
    /// RTP packets that each call generates, lost ones included.
    pub packets: u32,
    /// What the audio is encoded with.
    pub codec: AudioCodec,
    /// What is done to the packets of a call that is impaired.
    pub impairments: Impairments,
    /// How many calls are.
    pub impaired_calls: u32,
    /// Decides every random choice.
    pub seed: u64,
    /// User part of the request URI.
    pub user: String,
}

impl Scenario {
    /// Whether a call is one of the impaired ones, which are evenly spread.
    #[must_use]
    pub fn is_impaired(&self, call: u32) -> bool {
        let before = |call: u64| call * u64::from(self.impaired_calls) / u64::from(self.calls);
        before(u64::from(call) + 1) > before(u64::from(call))
    }

    /// What is done to the packets of a call.
    #[must_use]
    pub fn impairments_of(&self, call: u32) -> Impairments {
        if self.is_impaired(call) { self.impairments } else { Impairments::default() }
    }

    /// When a call starts, counted from the start of the run.
    #[must_use]
    pub fn start_offset(&self, call: u32) -> Duration {
        Duration::from_secs_f64(f64::from(call) / self.rate)
    }
}

/// Whom to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address without brackets.
    pub host: String,
    /// The SIP port.
    pub port: u16,
}

/// An encoding that needs no negotiation: G.711 (RFC 3551 section 4.5.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// Mu-law, payload type 0.
    Pcmu,
    /// A-law, payload type 8.
    Pcma,
}

/// How to print the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why options cannot be had together.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// The Gilbert model cannot reach the loss with runs this short.
    #[error("--burst {mean_run} allows for at most --loss {limit:.1}, not {loss}")]
    BurstTooShort {
        /// Loss asked for, percent.
        loss: f64,
        /// Mean run asked for, packets.
        mean_run: f64,
        /// Highest loss that the run allows for, percent.
        limit: f64,
    },
    /// More calls would be impaired than placed.
    #[error("--impaired-calls {impaired} is more than --calls {calls}")]
    TooManyImpaired {
        /// To impair.
        impaired: u32,
        /// To place.
        calls: u32,
    },
}

fn target(text: &str) -> Result<Target, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Target { host: address.ip().to_string(), port: address.port() });
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(Target { host: bare.to_owned(), port: SIP_PORT });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) if port > 0 => (host, port),
            _ => return Err(format!("`{port}` is no port, 1 to 65535")),
        },
        None => (text, SIP_PORT),
    };
    let name_like = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !host.bytes().all(name_like) {
        return Err(String::from("expected host, host:port, address or [address]:port"));
    }
    Ok(Target { host: host.to_owned(), port })
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, RATE_MIN, RATE_MAX, "calls per second")
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 0.0, 100.0, "percent")
}

fn mean_run(text: &str) -> Result<f64, String> {
    number(text, 1.0, MEAN_RUN_MAX, "packets")
}

fn jitter(text: &str) -> Result<Duration, String> {
    number(text, 0.0, JITTER_MAX_MS, "ms").map(|ms| Duration::from_secs_f64(ms / 1e3))
}

fn number(text: &str, min: f64, max: f64, unit: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("expected a number from {min} to {max} ({unit})")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(value) if (DURATION_MIN..=DURATION_MAX).contains(&value) => Ok(value),
        Some(_) => Err(String::from("expected a time from 100ms to 24h")),
        None => Err(String::from("expected a time such as 20s, 1m30s, 500ms")),
    }
}

/// Reads numbers with units, largest first by habit but in any order: `1m30s`, `1.5s`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..unit_at].parse().ok()?;
        let after = &rest[unit_at..];
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let seconds = match &after[..unit_len] {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(value * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = &after[unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

/// A user part that needs no escaping (RFC 3261 section 25.1, unreserved).
fn user(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&byte);
    if text.is_empty() || text.len() > USER_LEN_MAX || !text.bytes().all(fits) {
        return Err(String::from("expected 1 to 64 letters, digits or -_.!~*'()+"));
    }
    Ok(text.to_owned())
}

fn bind(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse() {
        Ok(address) => SocketAddr::new(address, 0),
        Err(_) => text.parse().map_err(|_| String::from("expected an address or address:port"))?,
    };
    if address.ip().is_unspecified() {
        return Err(String::from("a wildcard cannot be announced to the far end: name an address"));
    }
    Ok(address)
}

fn url(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.trim_matches('/').is_empty() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(String::from("expected http://host:port")),
    }
}

/// RFC 3261 section 19.1.2.
const SIP_PORT: u16 = 5060;
/// What a Call-ID index and a report have room for; far beyond what sockets allow for at once.
const CALLS_MAX: i64 = 10_000_000;
/// More threads than any machine here has cores.
const THREADS_MAX: i64 = 64;
/// One call in about a quarter of an hour.
const RATE_MIN: f64 = 0.001;
/// Beyond what one process can start.
const RATE_MAX: f64 = 100_000.0;
/// Runs beyond this are outages, not bursts.
const MEAN_RUN_MAX: f64 = 100.0;
/// More is delay, not jitter.
const JITTER_MAX_MS: f64 = 200.0;
/// Five packets: the least that impairments can act on.
const DURATION_MIN: Duration = Duration::from_millis(100);
/// One day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longer user parts are no use in reports.
const USER_LEN_MAX: usize = 64;
