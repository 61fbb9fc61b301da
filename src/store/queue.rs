//! What waits between control and the store's thread. Who puts something in never waits: what
//! does not fit pushes out the oldest, which is counted.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::alerts::Alert;
use crate::control::{ladder::Ladder, phone_reports::PhoneView, record::CallRecord};

/// What the store is given.
#[derive(Debug)]
pub(super) enum Item {
    Call(Arc<CallRecord>, Option<Box<Ladder>>),
    Alert(Alert),
    /// What a phone says, under what names its call.
    Report(Arc<str>, Arc<PhoneView>),
    /// A text under its name.
    Text(&'static str, String),
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    dropped: u64,
    is_closed: bool,
}

/// What was taken out.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) items: VecDeque<Item>,
    /// Pushed out since the time before.
    pub(super) dropped: u64,
    /// Nothing more will come.
    pub(super) is_closed: bool,
}

impl Queue {
    pub(super) fn push(&self, item: Item) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.items.len() >= ITEMS_MAX {
            waiting.items.pop_front();
            waiting.dropped += 1;
        }
        waiting.items.push_back(item);
        // Otherwise whoever takes looks often enough by itself.
        if waiting.items.len() == ITEMS_MAX / 4 {
            self.more.notify_one();
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.more.notify_one();
    }

    /// Takes all there is after waiting a little for there to be much.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle =
            |waiting: &mut Waiting| !waiting.is_closed && waiting.items.len() < ITEMS_MAX / 4;
        let (mut waiting, _) = self
            .more
            .wait_timeout_while(waiting, patience, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        Taken {
            items: core::mem::take(&mut waiting.items),
            dropped: core::mem::take(&mut waiting.dropped),
            is_closed: waiting.is_closed,
        }
    }
}

/// Most that waits here: at 1,000 calls a second this is 16 s. Some 4 KB each.
const ITEMS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_pushed_out_and_counted() {
        let queue = Queue::default();
        let alert = |id| Item::Alert(Alert { id, ..Alert::default() });
        (0..ITEMS_MAX as u64 + 3).for_each(|id| queue.push(alert(id)));
        let taken = queue.take(Duration::ZERO);
        assert_eq!((taken.items.len(), taken.dropped, taken.is_closed), (ITEMS_MAX, 3, false));
        assert!(matches!(&taken.items[0], Item::Alert(Alert { id: 3, .. })));
        queue.close();
        let taken = queue.take(Duration::from_secs(60));
        assert_eq!((taken.items.len(), taken.dropped, taken.is_closed), (0, 0, true));
    }
}
