//! The newest snapshot, shared: control puts it there, readers take it from there.

use std::sync::{Arc, PoisonError, RwLock};

use super::record::Snapshot;

/// Where the newest snapshot is. Cloning it gives another handle to the same place.
///
/// The lock is held for the copy of one pointer; a reader keeps the snapshot it took.
#[derive(Clone, Debug, Default)]
pub struct SnapshotCell(Arc<RwLock<Arc<Snapshot>>>);

impl SnapshotCell {
    /// The newest snapshot.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a newer one in its place.
    pub fn store(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}
