//! The JSON of `analyze`: the whole input, or one call of it.
//!
//! Never changes a record: a CALL and a STREAM are those of the API.

use std::io::{self, Write};

use serde::Serialize;

use super::spill::Spill;
use crate::{
    analyze::{
        ladder::Ladder,
        summary::{FileSummary, Summary, as_map},
    },
    control::{
        ladder::LadderRow,
        record::{CallRecord, StreamRecord, TimelinePoint},
        signalling::SipRecord,
    },
    json,
    time::Timestamp,
};

/// The document of the whole input, as far as it is known.
#[derive(Debug)]
pub(super) struct Document {
    calls: Spill,
    streams: Spill,
}

impl Document {
    /// An empty one, each of whose lists keeps at most `memory` octets in memory.
    pub(super) fn new(memory: usize) -> Self {
        Self { calls: Spill::new(memory), streams: Spill::new(memory) }
    }

    /// Adds a call and its streams.
    pub(super) fn call(&mut self, record: &CallRecord) -> io::Result<()> {
        self.calls.push(record)?;
        record.streams.records().try_for_each(|stream| self.stream(&stream))
    }

    /// Adds a stream.
    pub(super) fn stream(&mut self, record: &StreamRecord) -> io::Result<()> {
        self.streams.push(record)
    }

    /// Writes the whole.
    pub(super) fn finish(self, summary: &Summary, to: &mut dyn Write) -> io::Result<()> {
        let head = Head {
            files: &summary.files,
            packets: summary.packets,
            bytes: summary.bytes,
            first_time: summary.first_time,
            last_time: summary.last_time,
        };
        let tail =
            Tail { sip: &summary.sip, ignored: &summary.ignored, warnings: &summary.warnings };
        to.write_all(b"{")?;
        members(to, &head)?;
        to.write_all(b",\n\"calls\":")?;
        self.calls.copy(to)?;
        to.write_all(b",\n\"streams\":")?;
        self.streams.copy(to)?;
        to.write_all(b",\n")?;
        members(to, &tail)?;
        to.write_all(b"}\n")
    }
}

/// Writes one call: CALL with `timeline`, `ladder` and what the reader must know of both.
pub(super) fn write_call(
    record: &CallRecord,
    summary: &Summary,
    to: &mut dyn Write,
) -> io::Result<()> {
    let ladder = summary.ladder.as_ref();
    let call = OneCall {
        record,
        timeline: &record.timeline,
        ladder: ladder.map(Ladder::rows).unwrap_or_default(),
        ladder_omitted: ladder.map_or(0, Ladder::omitted),
        warnings: &summary.warnings,
    };
    json::write(&mut *to, &call)?;
    to.write_all(b"\n")
}

/// What stands before the lists.
#[derive(Serialize)]
struct Head<'a> {
    files: &'a [FileSummary],
    packets: u64,
    bytes: u64,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
}

/// What stands behind the lists.
#[derive(Serialize)]
struct Tail<'a> {
    sip: &'a SipRecord,
    #[serde(serialize_with = "as_map")]
    ignored: &'a [(&'static str, u64)],
    warnings: &'a [String],
}

/// What `--call` shows.
#[derive(Serialize)]
struct OneCall<'a> {
    #[serde(flatten)]
    record: &'a CallRecord,
    timeline: &'a [TimelinePoint],
    ladder: Vec<LadderRow>,
    /// Messages of the call that the ladder has no room for.
    ladder_omitted: u64,
    warnings: &'a [String],
}

/// Writes the members of an object without the braces around them.
fn members<T: Serialize>(to: &mut dyn Write, object: &T) -> io::Result<()> {
    let mut text = Vec::new();
    json::write(&mut text, object)?;
    let inside = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}"));
    to.write_all(inside.unwrap_or(&text))
}
