//! The text of `analyze`: a head line, a table of calls, a table of streams, what else there was.
//!
//! Never keeps more rows than it shows.

use std::io::{self, Write};

use super::{
    figures::{count, counted, date_and_clock, span},
    ink::{BOLD, DIM, Ink},
    lines::write_words,
    printable::{cut_middle, printable, width},
    rank::{CallRank, StreamRank},
    table::{PAGE, Table},
    tables::{self, CALL_UNITS, CallRow, STREAM_UNITS, SUSPECT_MEANS, StreamRow},
    worst::Worst,
};
use crate::{
    analyze::summary::Summary,
    control::{
        record::{CallRecord, StreamRecord},
        signalling::{SipRecord, TimesRecord},
    },
};

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
        let (call_count, stream_count) = (calls.total(), streams.total());
        let counts = [counted(call_count, "call"), counted(stream_count, "stream")];
        write_head(to, ink, summary, &counts)?;
        let (calls, is_suspect) = tables::calls(calls.into_sorted());
        Part { name: "Calls", count: call_count, units: CALL_UNITS, table: calls }
            .write(to, ink)?;
        if is_suspect {
            writeln!(to, "{SUSPECT_MEANS}")?;
        }
        let streams = tables::streams(streams.into_sorted());
        Part { name: "Streams", count: stream_count, units: STREAM_UNITS, table: streams }
            .write(to, ink)?;
        writeln!(to)?;
        write_sip(to, ink, &summary.sip)?;
        write_ignored(to, ink, &summary.ignored)?;
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
        if all == 0 {
            return Ok(());
        }
        let units = ink.paint(DIM, &format!("worst first; {units}"));
        writeln!(to, "\n{}  {units}", ink.paint(BOLD, name))?;
        table.write(to, ink)?;
        let shown = u64::try_from(table.len()).unwrap_or(u64::MAX);
        match all.saturating_sub(shown) {
            0 => Ok(()),
            more => writeln!(to, "… and {} more (--limit 0 shows all)", count(more)),
        }
    }
}

/// What was read: the files, what was found and how much is in them, of when.
pub(super) fn write_head(
    to: &mut dyn Write,
    ink: Ink,
    summary: &Summary,
    found: &[String],
) -> io::Result<()> {
    let mut items = found.to_vec();
    items.push(counted(summary.packets, "packet"));
    if let (Some(first), Some(last)) = (summary.first_time, summary.last_time) {
        items.push(format!("{} from {} UTC", span(last.since(first)), date_and_clock(first)));
    }
    let items = format!(": {}", items.join(", "));
    let room = PAGE.saturating_sub(width(&items));
    let files = match summary.files.as_slice() {
        [file] => cut_middle(&printable(&file.path), room),
        files => counted(u64::try_from(files.len()).unwrap_or(u64::MAX), "file"),
    };
    writeln!(to, "{}{items}", ink.paint(BOLD, &files))
}

/// What the reader must know.
pub(super) fn write_warnings(to: &mut dyn Write, ink: Ink, summary: &Summary) -> io::Result<()> {
    let mut warnings = summary.warnings.iter();
    warnings.try_for_each(|warning| write_words(to, ink, "warning:", warning.split_whitespace()))
}

fn write_sip(to: &mut dyn Write, ink: Ink, sip: &SipRecord) -> io::Result<()> {
    let mut words = Vec::new();
    if sip.messages > 0 {
        words.push(counted(sip.messages, "message"));
    }
    if sip.retransmissions > 0 {
        words.push(counted(sip.retransmissions, "retransmission"));
    }
    if sip.malformed > 0 {
        words.push(format!("{} malformed", count(sip.malformed)));
    }
    words.extend(sip.requests.iter().map(|(method, &n)| times(method, n)));
    words.extend(sip.responses.iter().map(|(code, &n)| times(&code.to_string(), n)));
    write_list(to, ink, "SIP:", &words)?;
    write_list(to, ink, "sessions:", &sessions(sip))
}

/// The figures of RFC 6076 that are known, the ratios first.
fn sessions(sip: &SipRecord) -> Vec<String> {
    let ratios = [
        ("SER", sip.ser_percentage),
        ("SEER", sip.seer_percentage),
        ("ISA", sip.isa_percentage),
        ("SCR", sip.scr_percentage),
        ("IRA", sip.ira_percentage),
    ];
    let ratio = |(name, percent): (&str, Option<f64>)| Some(format!("{name} {:.1} %", percent?));
    let delays = [("SRD", &sip.srd_ms), ("SDD", &sip.sdd_ms), ("RRD", &sip.rrd_ms)];
    let delay = |(name, ms): (&str, &TimesRecord)| Some(format!("{name} {:.1} ms", ms.mean?));
    ratios.into_iter().filter_map(ratio).chain(delays.into_iter().filter_map(delay)).collect()
}

fn write_ignored(to: &mut dyn Write, ink: Ink, ignored: &[(&str, u64)]) -> io::Result<()> {
    let seen = ignored.iter().filter(|(_, n)| *n > 0);
    let words: Vec<_> = seen.map(|(reason, n)| times(reason, *n)).collect();
    write_list(to, ink, "ignored:", &words)
}

fn times(name: &str, n: u64) -> String {
    format!("{} × {name}", count(n))
}

/// Items with commas between them; nothing if there are none.
fn write_list(to: &mut dyn Write, ink: Ink, heading: &str, items: &[String]) -> io::Result<()> {
    let Some((last, others)) = items.split_last() else { return Ok(()) };
    let others: Vec<_> = others.iter().map(|item| format!("{item},")).collect();
    let items = others.iter().map(String::as_str).chain([last.as_str()]);
    write_words(to, ink, heading, items)
}
