//! Messages that pass again: the same bytes on the same way, of late. It reads none of them.

use core::hash::{BuildHasher as _, Hasher};
use std::net::SocketAddr;

use crate::time::Timestamp;

/// The messages of late, in lines of memory: those of one call share one, so that only the first
/// of them waits for it.
#[derive(Debug)]
pub(super) struct Repeated(Box<[Line]>);

/// Of each message half of its hash, and when it passed, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([(u32, u32); PLACES]);

impl Repeated {
    /// Whether the same bytes have gone the same way within 32 s. Those of now are remembered.
    /// `call` is any number that the messages of one call have in common.
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do, of a hash and a time")]
    pub(super) fn passes_again(
        &mut self,
        call: u64,
        at: Timestamp,
        [src, dst]: [SocketAddr; 2],
        bytes: &[u8],
    ) -> bool {
        let mut hasher = foldhash::quality::FixedState::default().build_hasher();
        write_address(&mut hasher, src);
        write_address(&mut hasher, dst);
        hasher.write(bytes);
        let hash = (hasher.finish() >> 32) as u32;
        let now_ms = (at.as_nanos() / 1_000_000) as u32;
        let age_ms = |when_ms: u32| now_ms.wrapping_sub(when_ms);
        let Line(line) = &mut self.0[call as usize % LINES];
        if let Some((_, when_ms)) = line.iter_mut().find(|(known, _)| *known == hash) {
            return age_ms(core::mem::replace(when_ms, now_ms)) < WITHIN_MS;
        }
        if let Some(oldest) = line.iter_mut().max_by_key(|(_, when_ms)| age_ms(*when_ms)) {
            *oldest = (hash, now_ms);
        }
        false
    }
}

impl Default for Repeated {
    fn default() -> Self {
        Self(vec![Line::default(); LINES].into())
    }
}

/// The same for the same address and for no other one.
fn write_address(hasher: &mut impl Hasher, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            hasher.write_u64(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()));
        }
        SocketAddr::V6(v6) => {
            hasher.write_u128(v6.ip().to_bits());
            hasher.write_u64(u64::from(v6.scope_id()) << 16 | u64::from(v6.port()));
        }
    }
}

/// Lines that a repetition is looked for in: 1 MiB, of which a quiet shard touches little. At
/// 10,000 messages a second one call in 20 shares its line with another one within T1.
const LINES: usize = 1 << 14;

/// Messages of one line: those of a call from its INVITE to its end, and one more.
const PLACES: usize = 8;

/// 64 times T1: no transaction sends longer (RFC 3261 section 17).
const WITHIN_MS: u32 = 32_000;
