//! Captures: files of frames, pcap or pcapng, read as one sequence of datagrams in the order
//! and with the times of their capturing.
//!
//! Nothing is written, and nothing in a file is believed: what is broken or cut off ends that
//! file with a warning, and every table that a capture could fill has a bound.

mod chunk;
mod clock;
mod decoder;
mod fragments;
mod generations;
mod input;
mod merge;
mod pcapng;
mod records;
mod streams;
mod totals;

use std::{io, path::PathBuf};

pub use self::{
    chunk::{Chunk, Frame, Step},
    totals::{FileTotals, Ignored, Progress, Totals},
};
use self::{decoder::Decoder, input::Input, merge::Merge};
use crate::time::Timestamp;

/// One or several capture files as one sequence of datagrams.
///
/// One file keeps its order as it is; several are merged by time.
#[derive(Debug)]
pub struct Capture {
    feed: Feed,
    decoder: Decoder,
    totals: Totals,
    is_finished: bool,
}

impl Capture {
    /// Opens files; `-` is standard input. Looks at the beginning of each.
    ///
    /// # Errors
    ///
    /// If there is no file, or one cannot be read, or is not a capture.
    pub fn open(paths: &[PathBuf]) -> Result<Self, CaptureError> {
        let mut totals = Totals::default();
        let feed = match paths {
            [] => return Err(CaptureError::NoFile),
            [path] => {
                let input = Input::open(path)?;
                totals.files.push(FileTotals::new(path.clone(), input.format_name()));
                Feed::One(Box::new(input))
            }
            paths => Feed::Several(Merge::open(paths, &mut totals)?),
        };
        Ok(Self { feed, decoder: Decoder::default(), totals, is_finished: false })
    }

    /// Empties a chunk and fills it with what comes next; false when nothing is left, and the
    /// chunk is empty then.
    pub fn fill(&mut self, chunk: &mut Chunk) -> bool {
        chunk.clear();
        while chunk.is_empty() && !self.is_finished {
            let goes_on = match &mut self.feed {
                Feed::One(input) => fill_in_place(input, &mut self.decoder, chunk),
                Feed::Several(merge) => {
                    merge.fill(&mut self.decoder, chunk, &mut self.totals.warnings)
                }
            };
            self.count();
            if !goes_on {
                self.decoder.finish(chunk, self.totals.last_time.unwrap_or_default());
                self.is_finished = true;
            }
        }
        self.totals.ignored = self.decoder.ignored;
        !chunk.is_empty()
    }

    /// What has been read so far: a chunk at a time.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The time that the capture has reached, as its last tick said.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.decoder.now()
    }

    /// How far reading has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match &self.feed {
            Feed::One(input) => input.progress(),
            Feed::Several(merge) => merge.progress(),
        }
    }

    fn count(&mut self) {
        match &mut self.feed {
            Feed::One(input) => {
                self.totals.files[0].count(input.counts());
                self.totals.warnings.extend(input.take_warning());
            }
            Feed::Several(merge) => merge.count(&mut self.totals.files),
        }
        self.totals.sum_up();
    }
}

/// Why a capture cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is nothing to read.
    #[error("no capture file is given")]
    NoFile,
    /// The system does not let a file be read.
    #[error("{name}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is not one byte in it.
    #[error("{name}: is empty")]
    Empty {
        /// The file.
        name: String,
    },
    /// It begins like a capture and ends within its header.
    #[error("{name}: ends within the header of a capture, after {bytes} bytes")]
    Short {
        /// The file.
        name: String,
        /// How many there are.
        bytes: usize,
    },
    /// It is something else.
    #[error("{name}: is not a pcap or pcapng capture{}", but_is(.found))]
    NotACapture {
        /// The file.
        name: String,
        /// What it looks like, where that is known.
        found: Option<&'static str>,
    },
}

fn but_is(found: &Option<&'static str>) -> String {
    found.map_or_else(String::new, |found| format!(" but {found}"))
}

#[derive(Debug)]
enum Feed {
    One(Box<Input>),
    Several(Merge),
}

/// Reads one file straight into the chunk: payloads stay where the file's bytes were put.
fn fill_in_place(input: &mut Input, decoder: &mut Decoder, chunk: &mut Chunk) -> bool {
    let mut unread = input.restore(chunk.bytes_mut());
    input.refill(chunk.bytes_mut(), &mut unread);
    loop {
        while let Some(record) = input.next_plain(chunk.bytes(), &mut unread) {
            decoder.take(chunk, &record);
        }
        let Some(record) = input.next(chunk.bytes(), &mut unread) else { break };
        decoder.take(chunk, &record);
    }
    input.keep(&chunk.bytes()[unread]);
    !input.is_done()
}
