//! Threads that read a capture in turns and observe it together, each its own flows.
//!
//! Every one has an observer of its own and takes what there is to do: reading the next chunk,
//! which one at a time can, or observing its share of those read. What they say is gathered in the
//! order of the chunks, so that it does not matter who was faster.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{Output, gather::Gatherer, observer::Observer};
use crate::{shard::report::Report, source::capture::Chunk, time::Timestamp};

/// Where chunks come from.
pub(super) trait Source: Send {
    /// Reads the next chunk; false at the end.
    fn read(&mut self, chunk: &mut Chunk) -> bool;

    /// The time that the capture has reached.
    fn now(&self) -> Timestamp;
}

/// Reads all there is with so many observers, and gives them back for what else they know.
///
/// # Errors
///
/// If the output cannot take what it is given.
pub(super) fn observe(
    source: &mut dyn Source,
    threads: u16,
    gatherer: &mut Gatherer,
    output: &mut Output,
) -> io::Result<Vec<Observer>> {
    let observers = usize::from(threads.max(1));
    let team = Team {
        // One alone looks at each chunk while it is in the cache.
        ahead_max: if observers > 1 { AHEAD_MAX } else { 1 },
        source: Mutex::new(source),
        board: Mutex::new(Board::new(observers, gatherer, output)),
        news: Condvar::new(),
    };
    let done = thread::scope(|scope| {
        let team = &team;
        let others = (1..threads).map(|index| scope.spawn(move || team.work(index)));
        let others: Vec<_> = others.collect();
        let mut done = vec![team.work(0)];
        for other in others {
            done.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    let failure = lock(&team.board).failure.take();
    failure.map_or(Ok(done), Err)
}

/// What the threads share.
struct Team<'a> {
    /// How many chunks a thread may be behind before it stops reading.
    ahead_max: usize,
    source: Mutex<&'a mut dyn Source>,
    board: Mutex<Board<'a>>,
    /// Something on the board has changed.
    news: Condvar,
}

/// Chunks that have been read and not yet been observed by all.
struct Board<'a> {
    observers: usize,
    /// The number of the first of them.
    first: usize,
    slots: VecDeque<Slot>,
    is_reading: bool,
    /// Threads that wait for news.
    waiting: usize,
    /// How many chunks there are in all, once nothing more is to be read: the capture has ended,
    /// or there is no use in going on.
    chunks: Option<usize>,
    /// Chunks to read into, by who read into them before: their bytes are in that one's cache.
    free: Vec<Vec<Chunk>>,
    gatherer: &'a mut Gatherer,
    output: &'a mut Output,
    failure: Option<io::Error>,
    /// Whether a thread has panicked, and what the others wait for may never come.
    is_broken: bool,
}

/// One chunk and what the observers have said about it.
struct Slot {
    /// `None` for what is said at the end.
    chunk: Option<Arc<Chunk>>,
    /// Who read it.
    reader: u16,
    said: Vec<Option<Vec<Report>>>,
}

/// What a thread does next.
enum Task {
    Observe(Arc<Chunk>),
    Read(Chunk),
    /// All has been observed.
    Finish,
}

impl Team<'_> {
    /// What one of the threads does from beginning to end.
    fn work(&self, index: u16) -> Observer {
        let _guard = Guard(self);
        let mut observer = Observer::new(index);
        let mut next = 0;
        loop {
            match self.task(index, next) {
                Task::Read(chunk) => self.read(index, chunk),
                Task::Observe(chunk) => {
                    let said = observer.observe(&chunk).to_vec();
                    drop(chunk);
                    self.say(next, index, said);
                    next += 1;
                }
                Task::Finish => break,
            }
        }
        let now = lock(&self.source).now();
        // What is left to say at the end is like what is said about one more chunk.
        self.say(next, index, observer.finish(now).to_vec());
        observer
    }

    /// What a thread does that is to observe the chunk of this number next. Whoever is not far
    /// behind reads, so that the others always find something to observe.
    fn task(&self, index: u16, next: usize) -> Task {
        let mut board = lock(&self.board);
        loop {
            if board.is_broken || board.chunks == Some(next) {
                return Task::Finish;
            }
            let behind = board.end() - next;
            if !board.is_reading && board.chunks.is_none() && behind < self.ahead_max {
                board.is_reading = true;
                return Task::Read(board.spare(index));
            }
            let slot = board.slots.get(next - board.first);
            if let Some(chunk) = slot.and_then(|slot| slot.chunk.as_ref()) {
                return Task::Observe(Arc::clone(chunk));
            }
            board.waiting += 1;
            board = self.news.wait(board).unwrap_or_else(PoisonError::into_inner);
            board.waiting -= 1;
        }
    }

    fn read(&self, index: u16, mut chunk: Chunk) {
        let is_more = lock(&self.source).read(&mut chunk);
        let mut board = lock(&self.board);
        board.is_reading = false;
        if is_more {
            board.post(index, Some(chunk));
        } else {
            board.stop();
        }
        self.tell(board);
    }

    fn say(&self, number: usize, index: u16, said: Vec<Report>) {
        let mut board = lock(&self.board);
        board.say(number, index, said);
        self.tell(board);
    }

    /// Lets go of the board, which has changed. It costs a system call only where somebody waits.
    fn tell(&self, board: MutexGuard<'_, Board<'_>>) {
        let is_awaited = board.waiting > 0;
        drop(board);
        if is_awaited {
            self.news.notify_all();
        }
    }
}

impl<'a> Board<'a> {
    fn new(observers: usize, gatherer: &'a mut Gatherer, output: &'a mut Output) -> Self {
        Self {
            observers,
            first: 0,
            slots: VecDeque::new(),
            is_reading: false,
            waiting: 0,
            chunks: None,
            free: (0..observers).map(|_| Vec::new()).collect(),
            gatherer,
            output,
            failure: None,
            is_broken: false,
        }
    }

    /// Takes the next place for a chunk, or for what is said after the last one.
    fn post(&mut self, reader: u16, chunk: Option<Chunk>) {
        let said = (0..self.observers).map(|_| None).collect();
        self.slots.push_back(Slot { chunk: chunk.map(Arc::new), reader, said });
    }

    /// A chunk to read into.
    fn spare(&mut self, reader: u16) -> Chunk {
        self.free[usize::from(reader)].pop().unwrap_or_else(|| Chunk::new(self.observers))
    }

    /// The number of the chunk after the last one on it.
    fn end(&self) -> usize {
        self.first + self.slots.len()
    }

    /// Nothing more is to be read.
    fn stop(&mut self) {
        self.chunks.get_or_insert(self.first + self.slots.len());
    }

    /// Takes what an observer says about a chunk, and gathers those that are first in order and
    /// about which all has been said.
    fn say(&mut self, number: usize, index: u16, said: Vec<Report>) {
        if self.is_broken {
            return;
        }
        if number == self.end() {
            self.post(index, None);
        }
        self.slots[number - self.first].said[usize::from(index)] = Some(said);
        while let Some(slot) = self.slots.front()
            && slot.said.iter().all(Option::is_some)
            && let Some(slot) = self.slots.pop_front()
        {
            self.first += 1;
            slot.said.iter().flatten().for_each(|said| self.gatherer.take(said));
            if let Err(error) = self.gatherer.settle(self.output) {
                self.failure.get_or_insert(error);
                self.stop();
            }
            // The others let go of it before they said what they saw in it.
            self.free[usize::from(slot.reader)].extend(slot.chunk.and_then(Arc::into_inner));
        }
    }
}

/// Whoever panics must not leave the others waiting.
struct Guard<'a, 'b>(&'a Team<'b>);

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.board).is_broken = true;
            self.0.news.notify_all();
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enough for the others to observe while one that was behind catches up, few enough to stay in the
/// cache.
const AHEAD_MAX: usize = 4;
