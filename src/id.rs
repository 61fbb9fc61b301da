//! The field's nouns as types, so that no bare integer crosses a module.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Where calls come from, as far as many of them have it in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trunk {
    /// The first address of the network of whoever signals, /24 of IPv4 and /64 of IPv6.
    Network(IpAddr),
    /// What the configuration calls it.
    Named(&'static str),
}

impl Trunk {
    /// That of an address whose network has no name.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & V4_NETWORK).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & V6_NETWORK).into(),
        })
    }
}

impl fmt::Display for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.is_ipv4() => write!(f, "{network}/24"),
            Self::Network(network) => write!(f, "{network}/64"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

const V4_NETWORK: u32 = !0xFF;
const V6_NETWORK: u128 = !(u64::MAX as u128);
