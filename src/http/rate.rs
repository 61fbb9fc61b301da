//! How often one address may do something: a bucket each, which fills with time, in a table with
//! a bound. It reads no clock.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// A rate for each address.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    burst: f64,
    buckets: HashMap<IpAddr, Bucket>,
    /// Shared by all addresses that the table has no room for.
    others: Option<Bucket>,
    swept_at: Option<Instant>,
}

/// What an address has left.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    /// So many a second in the long run, and `burst` at once.
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        let buckets = HashMap::new();
        Self { per_second, burst, buckets, others: None, swept_at: None }
    }

    /// Takes one of what an address has left.
    ///
    /// # Errors
    ///
    /// How long it has to wait if nothing is left.
    pub(super) fn take(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        self.check(from, now)?;
        let bucket = self.bucket(from);
        let left = self.left(bucket, now) - 1.0;
        let taken = Bucket { left, at: now };
        let key = network(from);
        if !self.buckets.contains_key(&key) && self.buckets.len() >= ADDRESSES_MAX {
            self.sweep(now);
        }
        if self.buckets.contains_key(&key) || self.buckets.len() < ADDRESSES_MAX {
            self.buckets.insert(key, taken);
        } else {
            self.others = Some(taken);
        }
        Ok(())
    }

    /// Whether an address has anything left.
    ///
    /// # Errors
    ///
    /// How long it has to wait if not.
    pub(super) fn check(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let missing = 1.0 - self.left(self.bucket(from), now);
        if missing <= 0.0 {
            return Ok(());
        }
        Err(Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX))
    }

    /// The bucket of an address that has taken something of late.
    fn bucket(&self, from: IpAddr) -> Option<Bucket> {
        let own = self.buckets.get(&network(from)).copied();
        own.or_else(|| self.others.filter(|_| self.buckets.len() >= ADDRESSES_MAX))
    }

    fn left(&self, bucket: Option<Bucket>, now: Instant) -> f64 {
        bucket.map_or(self.burst, |Bucket { left, at }| {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            (left + passed * self.per_second).min(self.burst)
        })
    }

    /// Forgets the addresses that have everything left, at most once a second.
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_INTERVAL) {
            return;
        }
        self.swept_at = Some(now);
        let (per_second, burst) = (self.per_second, self.burst);
        self.buckets.retain(|_, bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            bucket.left + passed * per_second < burst
        });
    }
}

/// Who stands for an address: the first of its /64 in IPv6, of which everybody has as many as he
/// likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Most addresses that are told apart: 1 MB.
const ADDRESSES_MAX: usize = 10_000;

/// How often a full table is looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{super::clock, *};

    fn address(n: u32) -> IpAddr {
        IpAddr::V4((0x0A00_0000 + n).into())
    }

    #[test]
    fn a_burst_is_taken_at_once_and_the_rest_in_time() {
        let (mut rate, start) = (Rate::new(2.0, 4.0), clock::now());
        assert!((0..4).all(|_| rate.take(address(1), start).is_ok()));
        let wait = rate.take(address(1), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(rate.check(address(1), start), Err(wait));
        assert!(rate.take(address(2), start).is_ok(), "another address has its own");
        assert!(rate.take(address(1), start + wait).is_ok());
        assert!(rate.take(address(1), start + wait).is_err());
        let later = start + Duration::from_secs(3600);
        assert!((0..4).all(|_| rate.take(address(1), later).is_ok()));
        assert!(rate.take(address(1), later).is_err(), "no more than a burst is saved up");
    }

    #[test]
    fn an_address_of_ipv6_is_its_network_and_ipv4_is_the_same_either_way() {
        let (mut rate, now) = (Rate::new(1.0, 1.0), clock::now());
        let mut take = |text: &str| rate.take(text.parse().unwrap(), now).is_ok();
        assert!(take("2001:db8::1") && !take("2001:db8::ffff:1") && take("2001:db8:0:1::1"));
        assert!(take("192.0.2.1") && !take("::ffff:192.0.2.1"));
    }

    #[test]
    fn the_table_has_a_bound_and_those_past_it_share() {
        let (mut rate, now) = (Rate::new(1.0, 2.0), clock::now());
        let full = u32::try_from(ADDRESSES_MAX).unwrap();
        assert!((0..full).all(|n| rate.take(address(n), now).is_ok()));
        assert!((0..2).all(|n| rate.take(address(full + n), now).is_ok()));
        assert!(rate.take(address(full + 2), now).is_err());
        assert!(rate.take(address(0), now).is_ok(), "who was there before has his own");
        assert_eq!(rate.buckets.len(), ADDRESSES_MAX);
        let later = now + Duration::from_secs(10);
        assert!(rate.take(address(full + 2), later).is_ok());
        assert_eq!(rate.buckets.len(), 1, "the others have everything left");
    }
}
