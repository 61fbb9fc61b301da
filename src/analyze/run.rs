//! Reads captures from end to end, on one thread or several.

use std::io;

use super::{
    CallMissing, Destination, DestinationError, FileSummary, Ladder, Options, Output, Progress,
    Summary,
    gather::Gatherer,
    observer::Observer,
    team::{self, Source},
};
use crate::{
    control::signalling::{Place, SipRecord},
    shard::health::ShardHealth,
    source::capture::{Capture, CaptureError, Chunk},
    time::Timestamp,
    wire::classify::{Kind, classify},
};

/// Analyses captures and writes what was found.
///
/// # Errors
///
/// If a file is no capture, the call that was asked for is not in them, or the output cannot be
/// written. A capture that breaks off is no error: what is there is analysed, and a warning in the
/// output says where it ends.
pub fn run(options: &Options) -> Result<(), AnalyzeError> {
    let capture = Capture::open(&options.files)?;
    // Before the work and not after it: where nothing can be written, nothing needs to be read.
    let destination = Destination::open(options.out.as_deref())?;
    let mut output = Output::new(options, destination.has_colours());
    let mut gatherer = Gatherer::new(options.call.is_some());
    let mut reading = Reading::new(capture, options);
    let observers = team::observe(&mut reading, options.threads, &mut gatherer, &mut output)
        .map_err(AnalyzeError::Spill)?;
    let summary = reading.finish(&observers);
    gatherer.finish(summary.last_time, &mut output).map_err(AnalyzeError::Spill)?;
    output.check(&summary)?;
    Ok(destination.finish(|to| output.finish(&summary, to))?)
}

/// Why captures were not analysed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// A file is no capture or cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// There is no place for the output.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The call that was asked for is not there.
    #[error(transparent)]
    Call(#[from] CallMissing),
    /// Results on their way to the output could not be kept.
    #[error("no room for temporary files: {0}")]
    Spill(io::Error),
}

/// Captures being read.
#[derive(Debug)]
struct Reading {
    capture: Capture,
    ladder: Option<Ladder>,
    progress: Progress,
}

impl Reading {
    fn new(capture: Capture, options: &Options) -> Self {
        Self {
            progress: Progress::new(capture.progress().bytes_total),
            capture,
            ladder: options.call.as_deref().map(Ladder::new),
        }
    }

    /// What is known beside calls and streams.
    fn finish(self, observers: &[Observer]) -> Summary {
        self.progress.finish();
        let totals = self.capture.totals();
        let mut ignored: Vec<_> = totals.ignored.iter().collect();
        ignored.extend(not_measured(observers));
        let files = totals.files.iter().map(|file| FileSummary {
            path: file.path.display().to_string(),
            format: file.format.to_owned(),
            packets: file.packets,
            first_time: file.first_time,
            last_time: file.last_time,
        });
        // All observers see all of SIP.
        let sip = observers.first();
        let sip = sip.map(|observer| SipRecord::of(observer.sip_figures(), Place::Probe));
        Summary {
            files: files.collect(),
            packets: totals.packets,
            bytes: totals.bytes,
            first_time: totals.first_time,
            last_time: totals.last_time,
            sip: sip.unwrap_or_default(),
            ignored,
            warnings: totals.warnings.clone(),
            ladder: self.ladder,
        }
    }
}

impl Source for Reading {
    fn read(&mut self, chunk: &mut Chunk) -> bool {
        let is_more = self.capture.fill(chunk);
        self.progress.update(self.capture.progress().bytes_read, self.capture.totals().packets);
        if let Some(ladder) = &mut self.ladder {
            for frame in chunk.frames() {
                let datagram = chunk.datagram(frame);
                let is_tcp = datagram.transport.is_stream();
                if is_tcp || classify(datagram.payload) == Kind::Sip {
                    ladder.observe(&datagram);
                }
            }
        }
        is_more
    }

    fn now(&self) -> Timestamp {
        self.capture.now()
    }
}

/// Datagrams of which nothing was measured. All observers see what is not RTP, so that the first
/// one counts for all there.
fn not_measured(observers: &[Observer]) -> impl Iterator<Item = (&'static str, u64)> {
    let first = observers.first().map(Observer::health).unwrap_or_default();
    let sum = |count: fn(&ShardHealth) -> u64| {
        observers.iter().map(|observer| count(&observer.health())).sum()
    };
    let all = [
        ("stun", first.stun),
        ("dtls", first.dtls),
        ("zrtp", first.zrtp),
        ("keep_alive", first.keep_alive),
        ("unknown_protocol", first.media_other),
        ("calls_past_the_bound", first.calls_refused),
        ("rtp_unconfirmed", sum(|health| health.unconfirmed)),
        ("streams_past_the_bound", sum(|health| health.streams_refused)),
    ];
    all.into_iter().filter(|&(_, count)| count > 0)
}
