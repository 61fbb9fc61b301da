//! Captures bent in random ways: bits flipped, parts cut out or repeated, lengths that lie.
#![allow(unreachable_pub, reason = "a module shared by test files")]

use std::env;

use fastrand::Rng;

/// Bent captures grow no longer than this.
pub const LEN_MAX: usize = 40_000;

/// How many bent captures to try: so many, or what `VOXPLANE_FUZZ_CASES` says.
pub fn cases(default: usize) -> usize {
    let asked = env::var("VOXPLANE_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(default)
}

/// One of the models with some bits flipped, bytes cut out, repeated, or made extreme.
pub fn bent(rng: &mut Rng, models: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = models[rng.usize(..models.len())].clone();
    for _ in 0..rng.usize(0..8) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.usize(..bytes.len());
        // Most of what decides is near the beginning.
        let at = if rng.bool() { at } else { at % 200.min(bytes.len()) };
        match rng.u8(0..6) {
            0 => bytes[at] ^= 1 << rng.u8(0..8),
            1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][rng.usize(0..5)],
            2 => bytes.truncate(at.max(rng.usize(..bytes.len()))),
            3 => drop(bytes.drain(at..(at + rng.usize(0..64)).min(bytes.len()))),
            4 => {
                let end = (at + rng.usize(0..4096)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let end = (at + 4).min(bytes.len());
                let lie = rng.u32(..) >> rng.u8(0..32);
                bytes.splice(at..end, lie.to_le_bytes());
            }
        }
    }
    bytes.truncate(LEN_MAX);
    bytes
}
