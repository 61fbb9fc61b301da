//! Messages that pass again: the same bytes on the same way, of late. It reads none of them.

use core::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::net::SocketAddr;

use crate::time::Timestamp;

/// The messages of late: of each half of its hash, and when it passed, milliseconds.
#[derive(Debug)]
pub(super) struct Repeated(Box<[(u32, u32)]>);

impl Repeated {
    /// Whether the same bytes have gone the same way within 32 s. Those of now are remembered.
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do, of a hash and a time")]
    pub(super) fn passes_again(
        &mut self,
        at: Timestamp,
        src: SocketAddr,
        dst: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let mut hasher = foldhash::quality::FixedState::default().build_hasher();
        (src, dst).hash(&mut hasher);
        hasher.write(bytes);
        let hash = hasher.finish();
        let now_ms = (at.as_nanos() / 1_000_000) as u32;
        let entry = ((hash >> 32) as u32, now_ms);
        let place = &mut self.0[hash as usize % PLACES];
        let (before, when_ms) = core::mem::replace(place, entry);
        before == entry.0 && now_ms.wrapping_sub(when_ms) < WITHIN_MS
    }
}

impl Default for Repeated {
    fn default() -> Self {
        Self(vec![(0, 0); PLACES].into())
    }
}

/// Messages that a repetition is looked for among: 1 MiB, of which a quiet shard touches little.
/// At 10,000 messages a second one in 25 is forgotten before it can come again after T1.
const PLACES: usize = 1 << 17;

/// 64 times T1: no transaction sends longer (RFC 3261 section 17).
const WITHIN_MS: u32 = 32_000;
