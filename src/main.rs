//! The `voxplane` command: reads what it is told, runs the appliance, checks a configuration or
//! analyses captures, says why it cannot.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use voxplane::{
    analyze,
    config::{Config, ConfigError, PortRange, RawConfig},
    notify,
    runtime::{Appliance, Reread, StartError, systemd::Systemd},
    source::{clock, host},
};

/// Answers SIP calls, measures their media, tells what it is worth.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the appliance until SIGTERM or SIGINT; SIGHUP has it read its configuration again.
    Run(RunArgs),
    /// Tell whether a configuration can be used, or send a test to one of its notifiers.
    Check(CheckArgs),
    /// Tell what captures say about the calls in them.
    Analyze(analyze::Options),
}

#[derive(Clone, Debug, Args)]
struct RunArgs {
    /// TOML file with settings; flags go over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Executors, one on a core each [default: all cores].
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Where SIP comes in [default: 0.0.0.0:5060].
    #[arg(long, value_name = "ADDR:PORT")]
    sip: Option<SocketAddr>,
    /// Ports for RTP and RTCP [default: 20000-20063].
    #[arg(long, value_name = "A-B")]
    rtp_ports: Option<PortRange>,
    /// Where the API listens [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Where SIP comes in over TLS [default: nowhere].
    #[arg(long, value_name = "ADDR:PORT")]
    sip_tls: Option<SocketAddr>,
    /// The appliance's own directory [default: ./voxplane-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// File with the API's bearer tokens.
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// TOML file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send a test to the notifier of this name.
    #[arg(long, value_name = "NAME")]
    notify: Option<String>,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Check(args) => check(&args),
        Command::Analyze(options) => match analyze::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, EXIT_FAILED),
        },
    }
}

fn run(args: RunArgs) -> ExitCode {
    // Nobody may be reading any more; that is no reason to stop.
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false)
        .init();
    let config = match configure(args.clone()) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    match serve(&config, Box::new(move || configure(args.clone()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, EXIT_FAILED),
    }
}

fn configure(args: RunArgs) -> Result<Config, ConfigError> {
    let file = args.config.as_deref().map(RawConfig::read).transpose()?.unwrap_or_default();
    let flags = RawConfig {
        shards: args.shards,
        sip: args.sip,
        sip_tls: args.sip_tls,
        rtp_ports: args.rtp_ports,
        http: args.http,
        data: args.data,
        api_token_file: args.api_token_file,
        ..RawConfig::default()
    };
    flags.over(file).complete()
}

fn serve(config: &Config, reread: Reread) -> Result<(), StartError> {
    // Before the first thread: a signal that comes early is not missed.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(StartError::Host)?;
    let mut systemd = Systemd::from_env().map_err(StartError::Host)?;
    let appliance = Appliance::start(config, reread)?;
    let (sip, http) = (appliance.sip_addr(), appliance.http_addr());
    systemd.ready(&format!("SIP on {sip}, API on {http}, {} shards", appliance.shards()));
    if let Err(error) = greet(&appliance, config) {
        tracing::warn!(%error, "nobody could be told where everything is");
    }
    while appliance.is_running() {
        let (again, end): (Vec<_>, Vec<_>) =
            signals.pending().partition(|&signal| signal == SIGHUP);
        if !end.is_empty() {
            break;
        }
        if !again.is_empty() {
            appliance.reload();
        }
        systemd.feed(appliance.beats());
        std::thread::sleep(SIGNAL_POLL);
    }
    systemd.stopping();
    tracing::info!("stopping: no new calls, hanging up");
    appliance.stop()
}

/// Says where everything is and what to try.
fn greet(appliance: &Appliance, config: &Config) -> io::Result<()> {
    let (sip, http) = (appliance.sip_addr(), appliance.http_addr());
    let target = reachable(sip);
    let token = match config.api_token_file.as_deref() {
        Some(file) if appliance.needs_bare_token() => {
            format!("-H \"Authorization: Bearer $(cat '{}')\" ", file.display())
        }
        Some(_) => "-H \"Authorization: Bearer TOKEN\" ".to_owned(),
        None => String::new(),
    };
    let text = format!(
        "voxplane {version}, {shards} shards\n  \
           SIP   {sip} ({transports})\n  \
           {tls}\
           RTP   {rtp}\n  \
           API   http://{http}\n\
         try   call sip:echo@{target} with any SIP phone, or\n      \
               cargo run --release -p loadgen -- {target} --calls 20 --rate 10 --duration 10s\n\
         then  curl {token}http://{api}/api/qos/metrics\n",
        version = env!("CARGO_PKG_VERSION"),
        transports = if config.sip_tcp { "UDP, TCP" } else { "UDP" },
        tls = appliance
            .sip_tls_addr()
            .map_or_else(String::new, |address| format!("      {address} (TLS)\n  ")),
        shards = appliance.shards(),
        rtp = config.rtp_ports,
        api = reachable(http),
    );
    io::stdout().write_all(text.as_bytes())
}

fn check(args: &CheckArgs) -> ExitCode {
    let file = args.config.as_deref().map(RawConfig::read).transpose();
    let config = match file.and_then(|raw| raw.unwrap_or_default().complete()) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let Some(name) = &args.notify else {
        say(&format!("the configuration can be used\n{}", list(&config.notify)));
        return ExitCode::SUCCESS;
    };
    let Some(settings) = config.notify.iter().find(|settings| settings.name == *name) else {
        let names: Vec<_> = config.notify.iter().map(|settings| &*settings.name).collect();
        let known = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
        return fail(&format!("--notify: no notifier is called {name}; {known}"), EXIT_USAGE);
    };
    let whom = format!("{name} ({}, {})", settings.kind.name(), settings.kind.target());
    let began = clock::now();
    match notify::test(settings, &host::name(), clock::now) {
        Ok(said) => {
            let took_ms = clock::now().since(began).as_millis();
            say(&format!("{whom} took the test within {took_ms} ms: {said}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{whom} did not take the test: {error}"), EXIT_FAILED),
    }
}

/// A line for each notifier.
fn list(notifiers: &[notify::Settings]) -> String {
    let line = |settings: &notify::Settings| {
        let rules = if settings.rules.is_empty() {
            "all rules".to_owned()
        } else {
            settings.rules.join(", ")
        };
        let (kind, target) = (settings.kind.name(), settings.kind.target());
        let (name, severity) = (&settings.name, settings.min_severity);
        format!("notify {name}: {kind}, {target}, from {severity} on, {rules}\n")
    };
    notifiers.iter().map(line).collect()
}

/// An address under which this host reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

fn say(text: &str) {
    // Nobody may be reading; the exit code says it as well.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn fail(error: &dyn Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "voxplane: {error}");
    ExitCode::from(code)
}

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;

/// How soon a signal is seen.
const SIGNAL_POLL: Duration = Duration::from_millis(50);
