//! How an appliance ends: its shards are told once, and stay until none of them has anything more
//! to say. It hangs up no call itself.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the shards of an appliance know of its end.
#[derive(Debug)]
pub(super) struct Closing {
    is_told: AtomicBool,
    talking: AtomicUsize,
}

impl Closing {
    /// Not yet, for this many shards.
    pub(super) const fn new(shards: usize) -> Self {
        Self { is_told: AtomicBool::new(false), talking: AtomicUsize::new(shards) }
    }

    /// Tells the shards to close.
    pub(super) fn tell(&self) {
        self.is_told.store(true, Ordering::Release);
    }

    /// Whether they have been told.
    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    /// One shard has nothing more to say. Each says so once.
    pub(super) fn fall_silent(&self) {
        self.talking.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all have. Until then each stays: what belongs to one may come in at another.
    pub(super) fn is_over(&self) -> bool {
        self.talking.load(Ordering::Acquire) == 0
    }
}
