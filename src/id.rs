//! The field's nouns as types, so that no bare integer crosses a module.

use core::fmt;

/// A synchronization source identifier (RFC 3550 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// An RTP payload type, 0 to 127 (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(pub u8);

/// One shard: an executor on a core with its own sockets and tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// Names a call across stages. Never reused while the appliance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallRef {
    /// The shard that owns the call.
    pub shard: ShardId,
    /// Counts the calls of that shard, from 1.
    pub serial: u64,
}

/// Names an RTP stream across stages. Never reused while the appliance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamRef {
    /// The shard that measures the stream.
    pub shard: ShardId,
    /// Counts the streams of that shard, from 1.
    pub serial: u64,
}
