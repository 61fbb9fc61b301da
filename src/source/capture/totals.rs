//! What was read of captures, counted: by file, and by the reason where a packet was left out.
//!
//! Nothing here is an estimate.

use std::path::PathBuf;

use crate::{time::Timestamp, wire::frame::Reason};

/// What has been read.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By file, in the order that they were given in.
    pub files: Vec<FileTotals>,
    /// Packets in all files.
    pub packets: u64,
    /// Bytes of those packets on the wire, also where fewer were captured.
    pub bytes: u64,
    /// The earliest time of a packet.
    pub first_time: Option<Timestamp>,
    /// The latest time of a packet.
    pub last_time: Option<Timestamp>,
    /// Packets that led to no frame.
    pub ignored: Ignored,
    /// Where files were broken or cut off: a sentence each.
    pub warnings: Vec<String>,
}

/// What has been read of one file.
#[derive(Clone, Debug)]
pub struct FileTotals {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// Its format: `pcap` or `pcapng`, with `gzip` where it is compressed.
    pub format: &'static str,
    /// Packets in it.
    pub packets: u64,
    /// Bytes of those packets on the wire.
    pub bytes: u64,
    /// The earliest time of a packet.
    pub first_time: Option<Timestamp>,
    /// The latest time of a packet.
    pub last_time: Option<Timestamp>,
}

/// Packets that led to no frame, by the reason. What is one out of several packets is counted
/// where it was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    counts: [u64; Reason::ALL.len()],
}

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read of the files as they are stored.
    pub bytes_read: u64,
    /// Bytes that they have; unknown if one is a pipe.
    pub bytes_total: Option<u64>,
}

impl Totals {
    pub(super) fn sum_up(&mut self) {
        self.packets = self.files.iter().map(|file| file.packets).sum();
        self.bytes = self.files.iter().map(|file| file.bytes).sum();
        self.first_time = self.files.iter().filter_map(|file| file.first_time).min();
        self.last_time = self.files.iter().filter_map(|file| file.last_time).max();
    }
}

impl FileTotals {
    pub(super) const fn new(path: PathBuf, format: &'static str) -> Self {
        Self { path, format, packets: 0, bytes: 0, first_time: None, last_time: None }
    }

    pub(super) fn count(&mut self, counts: &Counts) {
        self.packets = counts.packets;
        self.bytes = counts.bytes;
        self.first_time = (counts.packets > 0).then_some(counts.first_time);
        self.last_time = (counts.packets > 0).then_some(counts.last_time);
    }
}

impl Ignored {
    /// How many for one reason.
    #[must_use]
    pub const fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Names of reasons with their counts, those that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = Reason::ALL.into_iter().map(|reason| (reason.name(), self.count(reason)));
        all.filter(|(_, count)| *count > 0)
    }

    pub(super) const fn add(&mut self, reason: Reason, count: u64) {
        self.counts[reason as usize] += count;
    }
}

/// A file's packets while it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    first_time: Timestamp,
    last_time: Timestamp,
}

impl Counts {
    pub(super) const NONE: Self =
        Self { packets: 0, bytes: 0, first_time: Timestamp::MAX, last_time: Timestamp::MIN };

    #[inline]
    pub(super) fn add(&mut self, time: Timestamp, original_len: u32) {
        self.packets += 1;
        self.bytes += u64::from(original_len);
        self.first_time = self.first_time.min(time);
        self.last_time = self.last_time.max(time);
    }
}
