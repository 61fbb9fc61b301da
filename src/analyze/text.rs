//! The text of `analyze`: a head line, a table of calls, a table of streams, what else there was.
//!
//! Never keeps more rows than it shows.

use std::io::{self, Write};

use super::{
    figures::{count, counted, date_and_clock, span},
    ink::{BOLD, DIM, Ink},
    lines::write_words,
    printable::{cut_middle, printable},
    rank::{CallRank, StreamRank},
    summary::{SipSummary, Summary},
    table::{PAGE, Table},
    tables::{self, CALL_UNITS, CallRow, STREAM_UNITS, SUSPECT_MEANS, StreamRow},
    worst::Worst,
};
use crate::control::record::{CallRecord, StreamRecord};

/// The rows to show, and the counts of all.
#[derive(Debug)]
pub(super) struct Text {
    ink: Ink,
    calls: Worst<CallRank, CallRow>,
    streams: Worst<StreamRank, StreamRow>,
}

impl Text {
    /// No rows yet, at most `limit` of them in each table; all if that is 0.
    pub(super) const fn new(limit: usize, ink: Ink) -> Self {
        Self { ink, calls: Worst::new(limit), streams: Worst::new(limit) }
    }

    /// Adds a call and its streams.
    pub(super) fn call(&mut self, record: &CallRecord) {
        self.calls.push(CallRank::of(record), || CallRow::of(record));
        record.streams.records().for_each(|stream| self.stream(&stream));
    }

    /// Adds a stream.
    pub(super) fn stream(&mut self, record: &StreamRecord) {
        self.streams.push(StreamRank::of(record), || StreamRow::of(record));
    }

    /// Writes the whole.
    pub(super) fn finish(self, summary: &Summary, to: &mut dyn Write) -> io::Result<()> {
        let Self { ink, calls, streams } = self;
        write_head(to, ink, summary)?;
        let (call_count, stream_count) = (calls.total(), streams.total());
        let (calls, is_suspect) = tables::calls(calls.into_sorted());
        Part { name: "call", count: call_count, units: CALL_UNITS, table: calls }.write(to, ink)?;
        if is_suspect {
            writeln!(to, "{SUSPECT_MEANS}")?;
        }
        let streams = tables::streams(streams.into_sorted());
        Part { name: "stream", count: stream_count, units: STREAM_UNITS, table: streams }
            .write(to, ink)?;
        writeln!(to)?;
        write_sip(to, ink, &summary.sip)?;
        write_counts(to, ink, "ignored:", summary.ignored.iter().copied())?;
        write_warnings(to, ink, summary)
    }
}

/// A table under its title.
struct Part {
    name: &'static str,
    /// Rows that there would be without a limit.
    count: u64,
    units: &'static str,
    table: Table,
}

impl Part {
    fn write(&self, to: &mut dyn Write, ink: Ink) -> io::Result<()> {
        let Self { name, count: all, units, ref table } = *self;
        let title = counted(all, name);
        if all == 0 {
            return writeln!(to, "\n{}", ink.paint(BOLD, &title));
        }
        let units = ink.paint(DIM, &format!("worst first; {units}"));
        writeln!(to, "\n{}  {units}", ink.paint(BOLD, &title))?;
        table.write(to, ink)?;
        let shown = u64::try_from(table.len()).unwrap_or(u64::MAX);
        match all.saturating_sub(shown) {
            0 => Ok(()),
            more => writeln!(to, "… and {} more (--limit 0 shows all)", count(more)),
        }
    }
}

/// What was read: the files, how much is in them, of when.
pub(super) fn write_head(to: &mut dyn Write, ink: Ink, summary: &Summary) -> io::Result<()> {
    let files = match summary.files.as_slice() {
        [file] => cut_middle(&printable(&file.path), FILE_MAX),
        files => counted(u64::try_from(files.len()).unwrap_or(u64::MAX), "file"),
    };
    let mut line = format!("{}: {}", ink.paint(BOLD, &files), counted(summary.packets, "packet"));
    if let (Some(first), Some(last)) = (summary.first_time, summary.last_time) {
        line += &format!(", {} from {} UTC", span(last.since(first)), date_and_clock(first));
    }
    writeln!(to, "{line}")
}

/// What the reader must know.
pub(super) fn write_warnings(to: &mut dyn Write, ink: Ink, summary: &Summary) -> io::Result<()> {
    let mut warnings = summary.warnings.iter();
    warnings.try_for_each(|warning| write_words(to, ink, "warning:", warning.split_whitespace()))
}

fn write_sip(to: &mut dyn Write, ink: Ink, sip: &SipSummary) -> io::Result<()> {
    let whole = [("messages", sip.messages)];
    let requests = sip.requests.iter().map(|(&method, &count)| (method, count));
    let codes: Vec<_> = sip.responses.iter().map(|(code, &n)| (code.to_string(), n)).collect();
    let responses = codes.iter().map(|(code, count)| (code.as_str(), *count));
    let faults = [("retransmissions", sip.retransmissions), ("malformed", sip.malformed)];
    let all = whole.into_iter().chain(requests).chain(responses).chain(faults);
    write_counts(to, ink, "SIP:", all)
}

/// Counts that are not zero, with their names; nothing if all are.
fn write_counts<'a>(
    to: &mut dyn Write,
    ink: Ink,
    heading: &str,
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> io::Result<()> {
    let seen = counts.filter(|&(_, n)| n > 0);
    let mut words: Vec<_> = seen.map(|(name, n)| format!("{} × {name},", count(n))).collect();
    let Some(last) = words.last_mut() else { return Ok(()) };
    last.pop();
    write_words(to, ink, heading, words.iter().map(String::as_str))
}

/// Columns of a file's name in the head line; the rest of that takes up to 62.
const FILE_MAX: usize = PAGE - 62;
