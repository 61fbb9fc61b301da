//! `voxplane analyze`: captures through the same engine as the appliance, shown as text or JSON.
//!
//! Never measures or scores anything itself.

mod destination;
mod gather;
mod ladder;
mod observer;
mod output;
mod progress;
mod run;
#[cfg(test)]
mod samples;
mod summary;
mod team;

use std::path::PathBuf;

pub use destination::{Destination, DestinationError};
pub use ladder::Ladder;
pub use output::{CallMissing, Output};
pub use progress::Progress;
pub use run::{AnalyzeError, run};
pub use summary::{FileSummary, Summary};

/// What `voxplane analyze` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Captures, pcap or pcapng, gzip'd or not; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Tables to read, or JSON to go on with.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// File to write to, whole or not at all [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Show one call: its SIP ladder, its streams, its quality over time.
    #[arg(long, value_name = "CALL-ID")]
    pub call: Option<String>,
    /// Threads to measure with, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads())]
    pub threads: u16,
    /// Rows in a table of text, the worst ones; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// How `analyze` shows what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables of 100 columns.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

fn threads() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(THREADS)
}

/// More would wait for the one that reads.
const THREADS: core::ops::RangeInclusive<i64> = 1..=64;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, clap::Error> {
        let words = std::iter::once("analyze").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.options)
    }

    #[test]
    fn a_file_is_enough() {
        let options = parse("a.pcap").unwrap();
        assert_eq!(options.files, [PathBuf::from("a.pcap")]);
        assert_eq!((options.format, options.threads, options.limit), (Format::Text, 1, 50));
        assert_eq!((options.out, options.call), (None, None));
    }

    #[test]
    fn all_that_can_be_told_is_read() {
        let line = "a - --format json --out o.json --call x@y --threads 64 --limit 0";
        let options = parse(line).unwrap();
        assert_eq!(options.files, [PathBuf::from("a"), PathBuf::from("-")]);
        assert_eq!((options.format, options.threads, options.limit), (Format::Json, 64, 0));
        assert_eq!(options.out, Some(PathBuf::from("o.json")));
        assert_eq!(options.call.as_deref(), Some("x@y"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["", "a --threads 0", "a --threads 65", "a --format xml", "a --limit -1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
