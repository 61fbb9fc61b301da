//! Several capture files as one sequence of records, by time.
//!
//! A file is held open only from its first record's time to its last, so that a day's worth of
//! rotated files takes no more memory than two of them.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, path::PathBuf};

use super::{
    CaptureError, Chunk, Progress, Totals,
    decoder::Decoder,
    input::Input,
    records::Record,
    totals::{Counts, FileTotals},
};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Merge {
    files: Vec<MergedFile>,
    /// The times of the records that come next, by file.
    next: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

impl Merge {
    /// Opens all files, and closes those again that can be opened once more.
    pub(super) fn open(paths: &[PathBuf], totals: &mut Totals) -> Result<Self, CaptureError> {
        let mut merge = Self { files: Vec::new(), next: BinaryHeap::new() };
        for (index, path) in paths.iter().enumerate() {
            let input = Input::open(path)?;
            totals.files.push(FileTotals::new(path.clone(), input.format_name()));
            let bytes_total = input.progress().bytes_total;
            let mut file = MergedFile {
                path: path.clone(),
                open: None,
                counts: Counts::NONE,
                bytes_read: 0,
                bytes_total,
            };
            let mut open = OpenFile::new(input);
            match open.advance() {
                Some(time) => {
                    merge.next.push(Reverse((time, index)));
                    // What cannot be read twice stays open.
                    file.open = bytes_total.is_none().then(|| Box::new(open));
                }
                None => {
                    file.update(&open);
                    totals.warnings.extend(open.input.take_warning());
                }
            }
            merge.files.push(file);
        }
        Ok(merge)
    }

    /// Fills a chunk; false when all files are at their end.
    pub(super) fn fill(
        &mut self,
        decoder: &mut Decoder,
        chunk: &mut Chunk,
        warnings: &mut Vec<String>,
    ) -> bool {
        chunk.bytes_mut().clear();
        while chunk.bytes().len() < CHUNK_BYTES {
            let Some(Reverse((_, index))) = self.next.pop() else { return false };
            let file = &mut self.files[index];
            if file.open.is_none() {
                match Input::open(&file.path) {
                    Ok(input) => file.open = Some(Box::new(OpenFile::new(input))),
                    Err(error) => warnings.push(error.to_string()),
                }
            }
            let Some(open) = &mut file.open else { continue };
            if let Some(record) = open.head.take() {
                open.deliver(record, decoder, chunk);
            }
            match open.advance() {
                Some(time) => self.next.push(Reverse((time, index))),
                None => {
                    warnings.extend(open.input.take_warning());
                    file.close();
                }
            }
        }
        true
    }

    pub(super) fn count(&mut self, totals: &mut [FileTotals]) {
        for (file, totals) in self.files.iter_mut().zip(totals) {
            file.refresh();
            totals.count(&file.counts);
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            bytes_read: self.files.iter().map(|file| file.bytes_read).sum(),
            bytes_total: self.files.iter().map(|file| file.bytes_total).sum(),
        }
    }
}

#[derive(Debug)]
struct MergedFile {
    path: PathBuf,
    /// Present while its records are due.
    open: Option<Box<OpenFile>>,
    counts: Counts,
    bytes_read: u64,
    bytes_total: Option<u64>,
}

impl MergedFile {
    fn refresh(&mut self) {
        if let Some(open) = self.open.take() {
            self.update(&open);
            self.open = Some(open);
        }
    }

    fn update(&mut self, open: &OpenFile) {
        self.counts = *open.input.counts();
        self.bytes_read = open.input.progress().bytes_read;
    }

    fn close(&mut self) {
        self.refresh();
        self.open = None;
    }
}

/// A file with its own window, and the record that comes next.
#[derive(Debug)]
struct OpenFile {
    input: Input,
    window: Vec<u8>,
    unread: Range<usize>,
    head: Option<Record>,
}

impl OpenFile {
    fn new(mut input: Input) -> Self {
        let mut window = Vec::new();
        let unread = input.restore(&mut window);
        Self { input, window, unread, head: None }
    }

    /// Finds the next record; gives its time.
    fn advance(&mut self) -> Option<Timestamp> {
        while self.head.is_none() && !self.input.is_done() {
            self.head = self.input.next(&self.window, &mut self.unread);
            if self.head.is_none() {
                self.input.refill(&mut self.window, &mut self.unread);
            }
        }
        self.head.as_ref().map(|record| record.time)
    }

    fn deliver(&self, mut record: Record, decoder: &mut Decoder, chunk: &mut Chunk) {
        let bytes = &self.window[record.start..record.start + record.len];
        record.start = chunk.bytes().len();
        chunk.bytes_mut().extend_from_slice(bytes);
        decoder.take(chunk, &record);
    }
}

/// As much as a window of a single file holds.
const CHUNK_BYTES: usize = 256 * 1024;
