//! Reads captures from end to end, on one thread or several.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{
    CallMissing, Destination, DestinationError, FileSummary, Ladder, Options, Output, Progress,
    SipSummary, Summary,
    gather::Gatherer,
    observer::Observer,
    shares::{Sharing, Work},
};
use crate::{
    shard::{health::ShardHealth, report::Report, sip_statistics::SipStatistics},
    source::capture::{Capture, CaptureError},
    time::Timestamp,
    wire::{
        Transport,
        classify::{Kind, classify},
    },
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
    let output = Output::new(options, destination.has_colours());
    let mut reading = Reading::new(capture, options, output);
    let seen = match options.threads {
        0 | 1 => reading.on_this_thread(),
        threads => reading.on_threads(threads),
    }
    .map_err(AnalyzeError::Spill)?;
    let (output, summary) = reading.finish(&seen).map_err(AnalyzeError::Spill)?;
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
    sharing: Sharing,
    gatherer: Gatherer,
    output: Output,
    ladder: Option<Ladder>,
    progress: Progress,
}

/// What the observers know at the end beside calls and streams.
#[derive(Debug, Default)]
struct Seen {
    sip: SipStatistics,
    /// One for each observer.
    health: Vec<ShardHealth>,
}

impl Reading {
    fn new(capture: Capture, options: &Options, output: Output) -> Self {
        Self {
            progress: Progress::new(capture.progress().bytes_total),
            capture,
            sharing: Sharing::new(options.threads),
            gatherer: Gatherer::new(options.call.is_some()),
            output,
            ladder: options.call.as_deref().map(Ladder::new),
        }
    }

    fn on_this_thread(&mut self) -> io::Result<Seen> {
        let mut observer = Observer::new(0);
        let mut work = Work::default();
        while self.read(&mut work) {
            self.gatherer.take(observer.observe(&work));
            self.gatherer.settle(&mut self.output)?;
        }
        self.gatherer.take(observer.finish(self.sharing.clock()));
        self.gatherer.settle(&mut self.output)?;
        Ok(Seen { sip: observer.sip_statistics().clone(), health: vec![observer.health()] })
    }

    /// This thread reads and gathers, as many others observe. Chunks are looked at by all of them
    /// at once and gathered in order.
    fn on_threads(&mut self, threads: u16) -> io::Result<Seen> {
        thread::scope(|scope| {
            let (mut workers, mut handles) = (Vec::new(), Vec::new());
            for index in 0..threads {
                let (to, orders) = sync_channel(ORDERS_UNDER_WAY + 1);
                let (said, from) = sync_channel(ORDERS_UNDER_WAY + 1);
                let observer = Observer::new(index);
                handles.push(scope.spawn(move || work_on(observer, &orders, &said)));
                workers.push(Worker { to, from });
            }
            let mut under_way: VecDeque<Arc<Vec<Work>>> = VecDeque::new();
            let mut free = Vec::new();
            loop {
                let mut works: Vec<Work> = free.pop().unwrap_or_default();
                works.resize_with(CHUNKS_AN_ORDER, Work::default);
                let mut read = 0;
                while read < CHUNKS_AN_ORDER && self.read(&mut works[read]) {
                    read += 1;
                }
                works.truncate(read);
                let is_last = read < CHUNKS_AN_ORDER;
                send(&workers, Order::Observe(Arc::new(works)), &mut under_way);
                let wanted = if is_last { 0 } else { ORDERS_UNDER_WAY };
                while under_way.len() > wanted
                    && let Some(done) = under_way.pop_front()
                {
                    self.gather(&workers)?;
                    // The others let go of it before they said what they saw in it.
                    free.extend(Arc::into_inner(done));
                }
                if is_last {
                    break;
                }
            }
            send(&workers, Order::Finish(self.sharing.clock()), &mut under_way);
            self.gather(&workers)?;
            // They end when no more orders can come.
            drop(workers);
            let mut seen = Seen::default();
            for (index, handle) in handles.into_iter().enumerate() {
                let observer =
                    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                seen.health.push(observer.health());
                if index == 0 {
                    seen.sip = observer.sip_statistics().clone();
                }
            }
            Ok(seen)
        })
    }

    /// Reads the next chunk and shares it out; false at the end.
    fn read(&mut self, work: &mut Work) -> bool {
        let is_more = self.capture.fill(&mut work.chunk);
        self.sharing.share_out(work);
        self.progress.update(self.capture.progress().bytes_read, self.capture.totals().packets);
        if let Some(ladder) = &mut self.ladder {
            for frame in work.chunk.frames() {
                let datagram = work.chunk.datagram(frame);
                let is_tcp = datagram.transport == Transport::Tcp;
                if is_tcp || classify(datagram.payload) == Kind::Sip {
                    ladder.observe(&datagram);
                }
            }
        }
        is_more
    }

    /// Takes what all workers say about the order that is next in turn, chunk by chunk.
    fn gather(&mut self, workers: &[Worker]) -> io::Result<()> {
        let said: Vec<_> =
            workers.iter().map(|worker| worker.from.recv().unwrap_or_default()).collect();
        let chunks = said.iter().map(Vec::len).max().unwrap_or(0);
        for chunk in 0..chunks {
            said.iter()
                .filter_map(|said| said.get(chunk))
                .for_each(|said| self.gatherer.take(said));
            self.gatherer.settle(&mut self.output)?;
        }
        Ok(())
    }

    /// Puts everything together.
    fn finish(mut self, seen: &Seen) -> io::Result<(Output, Summary)> {
        self.progress.finish();
        let totals = self.capture.totals();
        let now = totals.last_time.unwrap_or(Timestamp::MIN);
        self.gatherer.finish(now, &mut self.output)?;
        let mut ignored: Vec<_> = totals.ignored.iter().collect();
        ignored.extend(seen.ignored());
        let files = totals.files.iter().map(|file| FileSummary {
            path: file.path.display().to_string(),
            format: file.format.to_owned(),
            packets: file.packets,
            first_time: file.first_time,
            last_time: file.last_time,
        });
        let summary = Summary {
            files: files.collect(),
            packets: totals.packets,
            bytes: totals.bytes,
            first_time: totals.first_time,
            last_time: totals.last_time,
            sip: sip_summary(&seen.sip),
            ignored,
            warnings: totals.warnings.clone(),
            ladder: self.ladder,
        };
        Ok((self.output, summary))
    }
}

/// What an observer on another thread is to do.
#[derive(Clone, Debug)]
enum Order {
    Observe(Arc<Vec<Work>>),
    /// The capture has ended at this time.
    Finish(Timestamp),
}

/// What an observer has to say about an order, chunk by chunk.
type Said = Vec<Vec<Report>>;

/// The reading thread's ends of the way to one observer and back.
#[derive(Debug)]
struct Worker {
    to: SyncSender<Order>,
    from: Receiver<Said>,
}

fn send(workers: &[Worker], order: Order, under_way: &mut VecDeque<Arc<Vec<Work>>>) {
    for worker in workers {
        // One that is gone has panicked, which joining it tells.
        let _ = worker.to.send(order.clone());
    }
    if let Order::Observe(works) = order {
        under_way.push_back(works);
    }
}

/// Does what is ordered until the end.
fn work_on(mut observer: Observer, orders: &Receiver<Order>, said: &SyncSender<Said>) -> Observer {
    while let Ok(order) = orders.recv() {
        let reports: Said = match &order {
            Order::Observe(works) => {
                works.iter().map(|work| observer.observe(work).to_vec()).collect()
            }
            Order::Finish(now) => vec![observer.finish(*now).to_vec()],
        };
        drop(order);
        // Nobody is left to hear it only if reading has failed.
        if said.send(reports).is_err() {
            break;
        }
    }
    observer
}

impl Seen {
    /// Datagrams of which nothing was measured. All observers see what is not RTP, so that the
    /// first one counts for all there.
    fn ignored(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let first = self.health.first().copied().unwrap_or_default();
        let sum = |count: fn(&ShardHealth) -> u64| self.health.iter().map(count).sum();
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
}

fn sip_summary(seen: &SipStatistics) -> SipSummary {
    SipSummary {
        messages: seen.messages,
        requests: seen.requests().collect(),
        responses: seen.responses().collect(),
        retransmissions: seen.retransmissions,
        malformed: seen.malformed,
    }
}

/// Chunks handed over together: so many that waking who waits for them costs little.
const CHUNKS_AN_ORDER: usize = 4;

/// Orders between the reading thread and the observers: enough that neither waits for the other's
/// bad moment, few enough to stay in the cache.
const ORDERS_UNDER_WAY: usize = 3;
