//! voxplane answers SIP calls, measures every RTP packet of them, scores them and shows them.
//!
//! # The path of a packet
//!
//! ```text
//! source/ ──▶ wire/ ──▶ shard/ ──▶ ring ──▶ control/ ──▶ http/
//! bytes in    views     state per   rtrb     join, score   read-only
//! + kernel    on bytes  core, pure                         snapshots
//! time stamps
//! ```
//!
//! Data goes one way. A stage knows the stages to its left and none to its right.

pub mod config;
pub mod id;
pub mod limits;
pub mod time;

pub mod source;

pub mod wire;

pub mod shard;

pub mod ring;

pub mod quality;

pub mod control;

pub mod http;

pub mod runtime;
