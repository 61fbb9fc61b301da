//! One thread that joins what the shards report into calls, scores them and publishes snapshots.

pub mod record;
pub mod snapshot;
