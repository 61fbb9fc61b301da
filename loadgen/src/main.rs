//! The load generator's command: reads the options, runs the calls, prints the report.
//!
//! It exits with 0 if every call completed and was measured right, 1 if not, 2 on bad usage.

use std::{
    fs::File,
    io::{self, Write as _},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use loadgen::{
    engine::{self, Ended, Route},
    options::{Options, ReportFormat},
    report::{Report, reason},
    verify::{Api, Poller},
};
use signal_hook::{consts::SIGINT, consts::SIGTERM, flag};

fn main() -> ExitCode {
    let options = Options::parse();
    let scenario = options.scenario().unwrap_or_else(|error| {
        Options::command().error(ErrorKind::ArgumentConflict, error).exit()
    });
    match run(&options, &scenario) {
        Ok(report) if report.is_success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => {
            let _ = writeln!(io::stderr(), "loadgen: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(
    options: &Options,
    scenario: &loadgen::options::Scenario,
) -> Result<Report, Box<dyn std::error::Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one does not wait for the far end.
        flag::register_conditional_shutdown(signal, i32::from(FAILED), Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    let route = Route::find(&options.target, &scenario.user, options.bind)?;
    let api = options.verify.as_deref().map(|url| Api::new(url, options.api_token_file.as_deref()));
    let api = api.transpose()?;
    let poller = api.clone().map(Poller::start);
    let list = options.list.as_deref().map(File::create).transpose()?.map(Mutex::new);
    let tell = |ended: Ended<'_>| {
        let Some(list) = &list else { return };
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) =
            writeln!(list, "{} {} {}", ended.at, ended.call_id, reason(ended.outcome))
        {
            let _ = writeln!(io::stderr(), "loadgen: --list: {error}");
        }
    };
    let result = engine::run_and_tell(scenario, &route, options.threads, &stop, &tell)?;
    let polled = poller.map(Poller::finish);
    let verification = api.map(|api| api.verify(&result.calls));
    let report = Report::new(scenario, &route, &result, polled, verification);
    match options.report {
        ReportFormat::Text => write!(io::stdout(), "{report}")?,
        ReportFormat::Json => {
            serde_json::to_writer_pretty(io::stdout(), &report)?;
            writeln!(io::stdout())?;
        }
    }
    Ok(report)
}

const FAILED: u8 = 1;
