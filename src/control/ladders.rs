//! The ladders of the calls of late, within a bound for all of them together. Readers look into
//! them where they are: a snapshot holds a handle and no copy.

use core::time::Duration;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ladder::{Ladder, Message};
use crate::{id::CallRef, time::Timestamp};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderLimits {
    /// Bytes of all ladders together; with 0 there are none.
    pub bytes_max: usize,
    /// Bytes of one.
    pub call_bytes_max: usize,
    /// Whether those of calls that are over are stored.
    pub are_stored: bool,
}

/// A handle to all ladders. Cloning it gives another one.
#[derive(Clone, Debug, Default)]
pub struct Ladders(Arc<Mutex<All>>);

/// What became of ladders for want of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LadderCounts {
    /// Calls whose messages are kept now.
    pub calls: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Calls of which only the lines were kept and not the texts.
    pub shed: u64,
    /// Calls of which nothing was kept any more.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct All {
    limits: LadderLimits,
    by_call: HashMap<CallRef, Ladder>,
    bytes: usize,
    /// Calls that are up, those that came first in front; some may be over.
    whole: VecDeque<CallRef>,
    /// Those without texts.
    shed: VecDeque<CallRef>,
    /// Those that are over, and when they were.
    over: VecDeque<(Timestamp, CallRef)>,
    counts: LadderCounts,
}

impl Default for LadderLimits {
    fn default() -> Self {
        Self { bytes_max: BYTES_MAX, call_bytes_max: CALL_BYTES_MAX, are_stored: true }
    }
}

impl Ladders {
    /// None yet.
    #[must_use]
    pub fn new(limits: LadderLimits) -> Self {
        Self(Arc::new(Mutex::new(All { limits, ..All::default() })))
    }

    /// Takes in a message of a call.
    pub fn push(&self, call: CallRef, message: &Message<'_>) {
        self.all().push(call, message);
    }

    /// The ladder of a call as it is now.
    #[must_use]
    pub fn get(&self, call: CallRef) -> Option<Ladder> {
        self.all().by_call.get(&call).cloned()
    }

    /// A call is over: what is to be stored of it. It stays for as long as the store may need to
    /// show it.
    pub fn finish(&self, call: CallRef, now: Timestamp) -> Option<Ladder> {
        let mut all = self.all();
        let stored = all.by_call.get(&call).filter(|_| all.limits.are_stored).cloned();
        all.over.push_back((now, call));
        while let Some(&(at, call)) = all.over.front()
            && at + SHOWN_AFTER <= now
        {
            all.over.pop_front();
            all.remove(call);
        }
        stored
    }

    /// What became of them.
    #[must_use]
    pub fn counts(&self) -> LadderCounts {
        let all = self.all();
        LadderCounts { calls: all.by_call.len() as u64, bytes: all.bytes as u64, ..all.counts }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn push(&mut self, call: CallRef, message: &Message<'_>) {
        if self.limits.bytes_max == 0 {
            return;
        }
        let ladder = self.by_call.entry(call).or_insert_with(|| {
            self.whole.push_back(call);
            Ladder::default()
        });
        let before = ladder.size();
        ladder.push(message, self.limits.call_bytes_max);
        self.bytes = (self.bytes + ladder.size() + ENTRY_BYTES).saturating_sub(before);
        if before > 0 {
            self.bytes -= ENTRY_BYTES;
        }
        while self.bytes > self.limits.bytes_max && self.make_room() {}
    }

    /// Lets go of what is missed least: calls that are over, then the texts of the oldest, then
    /// the oldest. Whether there was anything.
    fn make_room(&mut self) -> bool {
        if let Some((_, call)) = self.over.pop_front() {
            self.remove(call);
            return true;
        }
        if let Some(call) = self.whole.pop_front() {
            if let Some(ladder) = self.by_call.get_mut(&call) {
                let before = ladder.size();
                ladder.shed_texts();
                self.bytes = (self.bytes + ladder.size()).saturating_sub(before);
                self.shed.push_back(call);
                self.counts.shed += 1;
            }
            return true;
        }
        let Some(call) = self.shed.pop_front() else { return false };
        self.counts.dropped += u64::from(self.remove(call));
        true
    }

    fn remove(&mut self, call: CallRef) -> bool {
        let Some(ladder) = self.by_call.remove(&call) else { return false };
        self.bytes = self.bytes.saturating_sub(ladder.size() + ENTRY_BYTES);
        // Those that are gone are not looked for in the queues each time, but now and then.
        if self.whole.len() + self.shed.len() > 2 * self.by_call.len() + QUEUED_MIN {
            let by_call = &self.by_call;
            self.whole.retain(|call| by_call.contains_key(call));
            self.shed.retain(|call| by_call.contains_key(call));
        }
        true
    }
}

/// Of all calls: 20,000 calls of five messages take 60 MB.
const BYTES_MAX: usize = 64 << 20;

/// Of one: 200 messages of some 500 bytes are more than it has in an hour.
const CALL_BYTES_MAX: usize = 64 << 10;

/// What a ladder takes beside its own bytes, as good as.
const ENTRY_BYTES: usize = size_of::<(CallRef, Ladder)>() + 64;

/// How long a call that is over is shown from here: the store has it by then.
const SHOWN_AFTER: Duration = Duration::from_secs(10);

/// Names that may be stale in any case.
const QUEUED_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::ShardId, wire::Transport};

    const fn call(serial: u64) -> CallRef {
        CallRef { shard: ShardId(0), serial }
    }

    fn push(ladders: &Ladders, serial: u64) {
        let text = format!("INVITE sip:a@b SIP/2.0\r\nSubject: {:900}\r\n\r\n", "x");
        ladders.push(
            call(serial),
            &Message {
                at: Timestamp::from_secs(1),
                src: "192.0.2.1:5060".parse().unwrap(),
                dst: "192.0.2.2:5060".parse().unwrap(),
                transport: Transport::Udp,
                is_again: false,
                bytes: text.as_bytes(),
            },
        );
    }

    #[test]
    fn the_oldest_lose_their_texts_first_and_then_go() {
        let ladders = Ladders::new(LadderLimits { bytes_max: 100_000, ..LadderLimits::default() });
        (1..=150).for_each(|serial| push(&ladders, serial));
        let counts = ladders.counts();
        assert!(counts.bytes <= 100_000 && counts.shed > 0 && counts.dropped == 0, "{counts:?}");
        assert_eq!(counts.calls, 150);
        let raw = |serial| ladders.get(call(serial)).unwrap().rows(true).pop().unwrap().raw;
        assert!(raw(1).is_none() && raw(150).is_some());
        (151..=2000).for_each(|serial| push(&ladders, serial));
        let counts = ladders.counts();
        assert!(counts.bytes <= 100_000 && counts.dropped > 0, "{counts:?}");
        assert!(ladders.get(call(1)).is_none() && ladders.get(call(2000)).is_some());
    }

    #[test]
    fn what_is_over_goes_before_what_is_up() {
        let ladders = Ladders::new(LadderLimits { bytes_max: 100_000, ..LadderLimits::default() });
        push(&ladders, 1);
        (2..=40).for_each(|serial| {
            push(&ladders, serial);
            assert!(ladders.finish(call(serial), Timestamp::from_secs(1)).is_some());
        });
        (41..=110).for_each(|serial| push(&ladders, serial));
        assert!(ladders.get(call(1)).unwrap().rows(true)[0].raw.is_some());
        assert!(ladders.get(call(2)).is_none());
        assert!(ladders.finish(call(1), Timestamp::from_secs(20)).is_some());
        assert!(ladders.get(call(1)).is_some());
        assert!(ladders.finish(call(2), Timestamp::from_secs(31)).is_none());
        assert!(ladders.get(call(1)).is_none());
    }

    #[test]
    fn nothing_is_left_of_calls_that_are_gone() {
        let ladders = Ladders::new(LadderLimits::default());
        for serial in 0..20_000 {
            push(&ladders, serial);
            let _ = ladders.finish(call(serial), Timestamp::from_secs(serial));
        }
        let _ = ladders.finish(call(0), Timestamp::from_secs(90_000));
        assert_eq!(ladders.counts(), LadderCounts::default());
        let all = ladders.all();
        assert!(all.whole.len() <= QUEUED_MIN && all.over.len() == 1);
    }

    #[test]
    fn without_room_there_are_none() {
        let ladders = Ladders::new(LadderLimits { bytes_max: 0, ..LadderLimits::default() });
        push(&ladders, 1);
        assert_eq!(ladders.counts(), LadderCounts::default());
    }
}
