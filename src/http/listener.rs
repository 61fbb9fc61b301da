//! A client of the live events: what it listens to, and what is on its way to it. Batches are
//! shared with all who get the same.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use super::live::{DROPPED, Event, GREETING, HEARTBEAT};

/// Bytes for any number of clients.
pub(super) type Batch = Arc<[u8]>;

/// A client that listens.
#[derive(Debug)]
pub(super) struct Listener {
    /// The one call that it listens to; `None` for all there is.
    call_id: Option<String>,
    queue: VecDeque<Batch>,
    /// Of the first batch.
    sent: usize,
    unsent: usize,
    /// When it was last told anything.
    told_at: Instant,
    /// Nothing more is told: what is queued is the last.
    is_over: bool,
}

/// How sending to a client stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// It takes no more now.
    Blocked,
    /// All is sent, and more may come.
    Done,
    /// All is sent, and nothing more comes.
    Over,
    /// It is gone.
    Gone,
}

impl Listener {
    /// A client that is greeted.
    pub(super) fn new(call_id: Option<String>, now: Instant) -> Self {
        let mut listener = Self {
            call_id,
            queue: VecDeque::new(),
            sent: 0,
            unsent: 0,
            told_at: now,
            is_over: false,
        };
        listener.push(Arc::from([HEAD, GREETING].concat()));
        listener
    }

    /// Bytes that it has yet to take.
    pub(super) const fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether nothing more is told to it.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Tells it events, or that it is still there if it has not heard anything for long: all of
    /// them, written once for all, or its own. False if it has not kept up and is told that.
    pub(super) fn tell(&mut self, events: &[Event], all: &Batch, now: Instant) -> bool {
        let own = self.call_id.as_deref().map(|wanted| {
            let own = events.iter().filter(|event| event.call_id.as_deref() == Some(wanted));
            Batch::from(own.flat_map(|event| event.text.iter().copied()).collect::<Vec<_>>())
        });
        let batch = own.unwrap_or_else(|| Arc::clone(all));
        let is_quiet = now.saturating_duration_since(self.told_at) >= HEARTBEAT_INTERVAL;
        match (batch.is_empty(), is_quiet) {
            (true, false) => return true,
            _ if self.unsent > UNSENT_MAX => {
                self.end(DROPPED);
                return false;
            }
            (true, true) => self.push(Batch::from(HEARTBEAT)),
            (false, _) => self.push(batch),
        }
        self.told_at = now;
        true
    }

    /// Sends what the client takes.
    pub(super) fn send(&mut self, to: &mut impl Write) -> Sending {
        while let Some(batch) = self.queue.front() {
            match to.write(&batch[self.sent..]) {
                Ok(0) => return Sending::Gone,
                Ok(written) => {
                    self.sent += written;
                    self.unsent -= written;
                    if self.sent == batch.len() {
                        self.queue.pop_front();
                        self.sent = 0;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Sending::Blocked,
                Err(_) => return Sending::Gone,
            }
        }
        if self.is_over { Sending::Over } else { Sending::Done }
    }

    fn push(&mut self, batch: Batch) {
        // Sending nothing would look as if the client were gone.
        if !batch.is_empty() {
            self.unsent += batch.len();
            self.queue.push_back(batch);
        }
    }

    /// Keeps no more than the event that has begun, and what tells the client why that is all.
    pub(super) fn end(&mut self, last: &[u8]) {
        if self.is_over {
            return;
        }
        let begun = self.queue.pop_front().map(|batch| {
            let end = end_of_event(&batch, self.sent);
            Batch::from(&batch[self.sent..end])
        });
        self.queue.clear();
        (self.sent, self.unsent, self.is_over) = (0, 0, true);
        begun.into_iter().chain([Batch::from(last)]).for_each(|batch| self.push(batch));
    }
}

/// Where the event ends that byte `at` is in.
fn end_of_event(batch: &[u8], at: usize) -> usize {
    let is_between = at == 0 || batch[..at].ends_with(EVENT_END);
    let next = memchr::memmem::find(&batch[at.saturating_sub(1)..], EVENT_END);
    match next {
        _ if is_between => at,
        Some(next) => at.saturating_sub(1) + next + EVENT_END.len(),
        None => batch.len(),
    }
}

/// The head of the answer: events until the connection ends, past caches and proxies that would
/// collect them.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\
                      Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n\
                      X-Content-Type-Options: nosniff\r\nServer: voxplane\r\n\r\n";

const EVENT_END: &[u8] = b"\n\n";

/// A client with more than this to take when more comes does not keep up. One batch may be longer.
pub(super) const UNSENT_MAX: usize = 256 << 10;

/// Who has heard nothing for so long is told that the connection is still there. Proxies close
/// what is silent for a minute.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io;

    use super::{super::clock, *};

    /// Takes so many bytes.
    struct Sink(Vec<u8>, usize);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = bytes.len().min(self.1);
            if room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.0.extend_from_slice(&bytes[..room]);
            self.1 -= room;
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn event(call_id: &str, len: usize) -> Event {
        let text = format!("data: {call_id}{}\n\n", "x".repeat(len)).into_bytes();
        Event { call_id: Some(call_id.to_owned()), text }
    }

    #[test]
    fn who_does_not_keep_up_gets_the_begun_event_and_is_told() {
        let now = clock::now();
        for taken in 0..40 {
            let mut listener = Listener::new(None, now);
            let mut client = Sink(Vec::new(), usize::MAX);
            assert_eq!(listener.send(&mut client), Sending::Done);
            client = Sink(Vec::new(), taken);
            let events = [event("a", 9), event("b", 9), event("c", UNSENT_MAX)];
            let all = Batch::from(events.iter().flat_map(|e| e.text.clone()).collect::<Vec<_>>());
            assert!(listener.tell(&events, &all, now), "one long batch is no fault of his");
            assert_eq!(listener.send(&mut client), Sending::Blocked);
            assert!(!listener.tell(&events, &all, now));
            assert!(listener.is_over());
            client.1 = usize::MAX;
            assert_eq!(listener.send(&mut client), Sending::Over);
            let text = String::from_utf8(client.0).unwrap();
            let (before, rest) = text.split_at(text.find("event: dropped\n").unwrap());
            assert!(before.is_empty() || before.ends_with("\n\n"), "{taken}: {before:?}");
            assert!(all.starts_with(before.as_bytes()) && before.len() >= taken.min(18));
            assert_eq!(rest.as_bytes(), DROPPED);
        }
    }

    #[test]
    fn one_call_is_told_alone_and_silence_is_broken() {
        let now = clock::now();
        let mut listener = Listener::new(Some("b".to_owned()), now);
        let mut client = Sink(Vec::new(), usize::MAX);
        listener.send(&mut client);
        client.0.clear();
        let events = [event("a", 1), event("b", 2), event("bb", 3)];
        let all = Batch::from(&b"all"[..]);
        assert!(listener.tell(&events, &all, now));
        assert!(listener.tell(&events[..1], &all, now + HEARTBEAT_INTERVAL / 2));
        listener.send(&mut client);
        assert_eq!(client.0, b"data: bxx\n\n");
        assert!(listener.tell(&[], &all, now + HEARTBEAT_INTERVAL));
        listener.send(&mut client);
        assert!(client.0.ends_with(HEARTBEAT));
    }
}
