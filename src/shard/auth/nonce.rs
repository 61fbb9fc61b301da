//! Nonces that nobody has to remember, and which of their counts have been used.
//!
//! A nonce is its time and a MAC over it, the client's address and the shard, under the key of this
//! run: whoever sends it back was sent it, at that address, by this shard. What has been used of it
//! is kept for a bounded number of them; a nonce that had to be forgotten is stale.

use core::time::Duration;
use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use ring::hmac;

use crate::{id::ShardId, limits::NONCES_MAX, time::Timestamp};

/// The key of all nonces of one run.
#[derive(Clone, Debug)]
pub struct NonceKey(hmac::Key);

impl NonceKey {
    /// A key from random bytes, which must be secret in a live appliance.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// A nonce for a client, made at `now`.
    pub(super) fn nonce(&self, now: Timestamp, client: IpAddr, shard: ShardId) -> String {
        let mut text = format!("{:016x}", now.as_nanos());
        let tag = hmac::sign(&self.0, &covered(now, client, shard));
        for byte in &tag.as_ref()[..TAG_BYTES] {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// When a nonce was made, if it is one of ours for this client.
    pub(super) fn made_at(
        &self,
        nonce: &[u8],
        client: IpAddr,
        shard: ShardId,
    ) -> Option<Timestamp> {
        let text = str::from_utf8(nonce).ok().filter(|text| text.len() == NONCE_LEN)?;
        let made_at = Timestamp::from_nanos(u64::from_str_radix(text.get(..16)?, 16).ok()?);
        self.is_same(self.nonce(made_at, client, shard).as_bytes(), nonce).then_some(made_at)
    }

    /// Compares two texts in a time that says nothing of them: by their MACs.
    pub(super) fn is_same(&self, own: &[u8], offered: &[u8]) -> bool {
        hmac::verify(&self.0, offered, hmac::sign(&self.0, own).as_ref()).is_ok()
    }
}

/// The counts that have been used of nonces.
#[derive(Debug, Default)]
pub(super) struct Used {
    by_nonce: BTreeMap<(Timestamp, Vec<u8>), Window>,
    /// Nonces up to this time that are not there have been forgotten.
    forgotten: Timestamp,
}

/// The counts that have been used of one nonce.
#[derive(Clone, Copy, Debug)]
struct Window {
    highest: u32,
    /// A bit for each of the 64 counts up to the highest, which is bit 0.
    seen: u64,
    /// The transaction of the highest, and when it came: it may come again.
    last: u64,
    last_at: Timestamp,
}

impl Used {
    /// Whether a count of a nonce may be used now. The same `transaction` may, for as long as a
    /// client sends it again.
    pub(super) fn take(
        &mut self,
        (made_at, nonce): (Timestamp, &[u8]),
        count: u32,
        transaction: u64,
        now: Timestamp,
    ) -> bool {
        while self.by_nonce.first_key_value().is_some_and(|((at, _), _)| *at + LIFETIME < now) {
            self.by_nonce.pop_first();
        }
        let key = (made_at, nonce.to_vec());
        if let Some(window) = self.by_nonce.get_mut(&key) {
            return window.take(count, transaction, now);
        }
        if count == 0 || made_at <= self.forgotten {
            return false;
        }
        let window = Window { highest: count, seen: 1, last: transaction, last_at: now };
        self.by_nonce.insert(key, window);
        if self.by_nonce.len() > NONCES_MAX
            && let Some(((at, _), _)) = self.by_nonce.pop_first()
        {
            self.forgotten = self.forgotten.max(at);
        }
        true
    }
}

impl Window {
    fn take(&mut self, count: u32, transaction: u64, now: Timestamp) -> bool {
        if count == self.highest && transaction == self.last {
            return now.since(self.last_at) < REPEATED_WITHIN;
        }
        if count > self.highest {
            let step = count - self.highest;
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            (self.highest, self.last, self.last_at) = (count, transaction, now);
            return true;
        }
        let behind = self.highest - count;
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let is_new = count > 0 && bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

fn covered(now: Timestamp, client: IpAddr, shard: ShardId) -> [u8; 26] {
    let mut bytes = [0; 26];
    bytes[..8].copy_from_slice(&now.as_nanos().to_be_bytes());
    let ip = match client {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    bytes[8..24].copy_from_slice(&ip.octets());
    bytes[24..].copy_from_slice(&shard.0.to_be_bytes());
    bytes
}

/// How long a nonce can be answered. Phones renew theirs without asking anybody.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// A request over UDP comes again for 64 T1 (RFC 3261 section 17.1.2.2, timer F).
const REPEATED_WITHIN: Duration = Duration::from_secs(32);

/// Octets of a MAC that a nonce has: 128 bits.
const TAG_BYTES: usize = 16;
const NONCE_LEN: usize = 16 + 2 * TAG_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_nonce_is_for_one_client_of_one_shard() {
        let key = NonceKey::new(&[7; 32]);
        let nonce = key.nonce(NOW, CLIENT, ShardId(1));
        let made_at =
            |nonce: &str, client, shard| key.made_at(nonce.as_bytes(), client, ShardId(shard));
        assert_eq!(made_at(&nonce, CLIENT, 1), Some(NOW));
        assert_eq!(made_at(&nonce, CLIENT, 2), None);
        assert_eq!(made_at(&nonce, "192.0.2.2".parse().unwrap(), 1), None);
        let other = NonceKey::new(&[8; 32]);
        assert_eq!(other.made_at(nonce.as_bytes(), CLIENT, ShardId(1)), None);
        for at in 0..nonce.len() {
            let mut bent = nonce.clone().into_bytes();
            bent[at] ^= 1;
            assert_eq!(key.made_at(&bent, CLIENT, ShardId(1)), None);
        }
        assert_eq!(made_at("", CLIENT, 1), None);
        assert_eq!(made_at(&"é".repeat(NONCE_LEN / 2), CLIENT, 1), None);
    }

    #[test]
    fn each_count_is_used_once_in_nearly_any_order() {
        let mut used = Used::default();
        let mut take = |count, transaction| used.take((NOW, b"n"), count, transaction, NOW);
        assert!(!take(0, 0) && take(1, 1) && take(3, 3) && take(2, 2));
        assert!(!take(1, 9) && !take(2, 9) && !take(3, 9));
        assert!(take(3, 3), "the same transaction again");
        assert!(take(100, 100) && take(37, 37) && !take(37, 37));
        assert!(!take(36, 36), "too far behind to be known");
        assert!(take(u32::MAX, 0) && !take(100, 0));
        assert!(!used.take((NOW, b"n"), u32::MAX, 0, NOW + REPEATED_WITHIN));
    }

    #[test]
    fn what_had_to_be_forgotten_is_stale() {
        let mut used = Used::default();
        for n in 1..=NONCES_MAX as u64 + 1 {
            assert!(used.take((NOW + Duration::from_nanos(n), b"n"), 1, n, NOW));
        }
        assert_eq!(used.by_nonce.len(), NONCES_MAX);
        assert!(!used.take((NOW + Duration::from_nanos(1), b"n"), 1, 1, NOW));
        assert!(!used.take((NOW + Duration::from_nanos(1), b"never seen"), 1, 1, NOW));
        let later = NOW + LIFETIME + LIFETIME;
        assert!(used.take((later, b"n"), 1, 1, later));
        assert_eq!(used.by_nonce.len(), 1);
    }
}
