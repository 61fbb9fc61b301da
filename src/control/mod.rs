//! One thread that joins what the shards report into calls, scores them and publishes snapshots.
//!
//! May allocate, never touches a shard; what it knows came through a ring.

mod buffers;
mod calls;
pub mod conditions;
pub mod far_end;
pub mod finished;
mod join;
pub mod ladder;
pub mod ladders;
mod loss_runs;
pub mod phone_reports;
pub mod record;
pub mod registered;
pub mod signalling;
pub mod snapshot;
pub mod spreads;
pub mod streams;

pub use calls::Calls;
