//! Who is let in when more SIP comes than is good for all.
//!
//! Anybody can write any source address on a UDP datagram. A source is *verified* once it has shown
//! that it reads what is sent to it: by our tag in To (see `shard::tags`), by our nonce in its
//! credentials, or by the handshake of a connection. Each verified source has a token bucket of
//! its own, all others share one. What is over the limit is dropped without a word, unless it
//! belongs to a dialog of ours.
//!
//! Its memory is fixed: sources stand in a table of sets, as lines do in a cache. One that is not
//! verified never takes the place of one that is, and which ones share a set is a secret.

mod settings;

use core::hash::BuildHasher as _;
use std::net::IpAddr;

pub use self::settings::{RawSipLimits, SipLimits, SipLimitsError};
use super::{Shard, health::Shed, tags::Proof};
use crate::{
    time::{NANOS_PER_SEC, Timestamp},
    wire::{
        Datagram,
        sip::{SipMessage, StartLine},
    },
};

/// The sources of one shard, and what each may still send.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Sets of [`WAYS`], one after the other.
    sources: Box<[Source]>,
    hasher: foldhash::quality::FixedState,
    rates: Rates,
    /// What all sources share that are not verified.
    unverified: Bucket,
    /// What is over a limit and within a dialog.
    within_dialogs: Bucket,
    malformed: Bucket,
    /// Calls that no ACK has come for yet, of all sources that are not verified.
    unverified_calls: u32,
    /// The most of such calls, of these together and of each verified source.
    unconfirmed_max: u32,
    /// Sources that the other shards are to be told of.
    news: Vec<IpAddr>,
    shed: Shed,
}

/// One source.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    key: u64,
    bucket: Bucket,
    /// Calls that no ACK has come for yet, if it is verified.
    unconfirmed: u32,
    standing: Standing,
}

/// What is known of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// There is none: the place is free.
    #[default]
    Free,
    Unverified,
    Verified,
}

/// A call that no ACK has come for yet, and who answers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unconfirmed {
    /// All that are not verified.
    Unverified,
    /// A verified source, by its key.
    Source(u64),
}

impl Shard {
    /// Whether a SIP message is to be handled. One over a limit is not, and counted; whoever
    /// receives it asks this once, before anything else is done with it.
    #[must_use]
    pub fn takes_in(&mut self, datagram: &Datagram<'_>) -> bool {
        let over = match self.admission.take(datagram) {
            Ok(()) => return true,
            Err(over) => over,
        };
        if self.is_within_dialog(datagram)
            && self.admission.take_within_dialog(datagram.received_at)
        {
            return true;
        }
        self.admission.count(over);
        false
    }

    /// Takes another shard's word that a source is where it says.
    pub fn verify(&mut self, source: IpAddr) {
        self.admission.verify(source);
    }

    /// Has the other shards told of the sources that have been verified: each that `tell` says no
    /// to is told of again the next time.
    pub fn tell_verified(&mut self, mut tell: impl FnMut(IpAddr) -> bool) {
        self.admission.news.retain(|&source| !tell(source));
    }

    /// Whether a message has our tag, without looking for its dialog: that may live elsewhere.
    fn is_within_dialog(&self, datagram: &Datagram<'_>) -> bool {
        // Cheap first: it has the tags of both sides.
        let mut tags = memchr::memmem::find_iter(datagram.payload, b"tag=");
        if tags.nth(1).is_none() {
            return false;
        }
        let Ok(message) = SipMessage::parse(datagram.payload) else { return false };
        let (from, to) = (message.from_tag(), message.to_tag());
        let (ours, theirs) = match message.start_line() {
            StartLine::Request { .. } => (to, from),
            StartLine::Response { .. } => (from, to),
        };
        let call_id = message.call_id().unwrap_or_default();
        let ip = datagram.src.ip();
        let proof = |ours| self.tags.proves(ours, call_id, theirs.unwrap_or_default(), ip);
        ours.is_some_and(|ours| proof(ours) != Proof::Nothing)
    }

    /// Notes that a source is where it says, if the request shows that.
    pub(super) fn look_for_proof(&mut self, datagram: &Datagram<'_>, request: &SipMessage<'_>) {
        let Some(to) = request.to_tag() else { return };
        let ip = datagram.src.ip();
        if self.admission.is_verified(datagram) {
            return;
        }
        let call_id = request.call_id().unwrap_or_default();
        let from = super::user_agent::remote_tag(request);
        if self.tags.proves(to, call_id, from, ip) == Proof::Source {
            self.admission.learn(ip);
        }
    }
}

impl Admission {
    /// Nobody is known. `seed` is secret in a live appliance; `dialogs_max` is the room for calls.
    pub(crate) fn new(limits: &SipLimits, dialogs_max: usize, seed: u64) -> Self {
        let share = (dialogs_max / UNCONFIRMED_SHARE).max(UNCONFIRMED_MIN);
        Self {
            sources: room(limits),
            hasher: foldhash::quality::FixedState::with_seed(seed ^ SEED_SALT),
            rates: Rates::of(limits),
            unverified: Bucket::default(),
            within_dialogs: Bucket::default(),
            malformed: Bucket::default(),
            unverified_calls: 0,
            unconfirmed_max: u32::try_from(share).unwrap_or(u32::MAX),
            news: Vec::new(),
            shed: Shed::default(),
        }
    }

    /// Goes by other limits from now on. Another number of sources begins with none.
    pub(crate) fn take_limits(&mut self, limits: &SipLimits) {
        self.rates = Rates::of(limits);
        let sources = room(limits);
        if sources.len() != self.sources.len() {
            self.sources = sources;
        }
    }

    pub(crate) const fn shed(&self) -> Shed {
        self.shed
    }

    /// Takes what a message costs out of the buckets that it falls to.
    fn take(&mut self, datagram: &Datagram<'_>) -> Result<(), Over> {
        let (key, now) = (key(datagram.src.ip()), datagram.received_at);
        if datagram.transport.is_stream() && self.find(key).is_none_or(|it| !it.is_verified()) {
            self.learn(datagram.src.ip());
        }
        let rates = self.rates;
        let source = self.find_or_add(key, Standing::Unverified);
        match source {
            Some(source) if source.is_verified() => {
                source.bucket.take(now, rates.source).then_some(()).ok_or(Over::Source)
            }
            // Each has a share of what all have together, which one that floods cannot exceed.
            source => {
                let has_own = source.is_none_or(|it| it.bucket.take(now, rates.unverified_source));
                let taken = has_own && self.unverified.take(now, rates.unverified);
                taken.then_some(()).ok_or(Over::Unverified)
            }
        }
    }

    fn take_within_dialog(&mut self, now: Timestamp) -> bool {
        self.within_dialogs.take(now, self.rates.source)
    }

    const fn count(&mut self, over: Over) {
        match over {
            Over::Source => self.shed.source += 1,
            Over::Unverified => self.shed.unverified += 1,
        }
    }

    /// Whether a malformed request is to be answered; if not, that is counted.
    pub(crate) fn may_explain(&mut self, now: Timestamp) -> bool {
        let may = self.malformed.take(now, self.rates.malformed);
        self.shed.answers += u64::from(!may);
        may
    }

    /// The most bytes that may be sent in return for a datagram.
    pub(crate) fn allowance(&self, datagram: &Datagram<'_>) -> usize {
        if self.is_verified(datagram) { usize::MAX } else { datagram.payload.len() * AMPLIFICATION }
    }

    /// Whether so many bytes may be sent in return; if not, that is counted.
    pub(crate) fn allows(&mut self, datagram: &Datagram<'_>, len: usize) -> bool {
        let may = len <= self.allowance(datagram);
        self.shed.answers += u64::from(!may);
        may
    }

    /// An answer has been withheld, as it would be more than may be sent to its source.
    pub(crate) const fn count_withheld(&mut self) {
        self.shed.answers += 1;
    }

    /// Whether who sent this is where it says.
    pub(crate) fn is_verified(&self, datagram: &Datagram<'_>) -> bool {
        datagram.transport.is_stream()
            || self.find(key(datagram.src.ip())).is_some_and(Source::is_verified)
    }

    /// Takes note of a source that is where it says, for the other shards as well.
    pub(crate) fn learn(&mut self, ip: IpAddr) {
        if self.verify(ip) && self.news.len() < NEWS_MAX {
            self.news.push(ip);
        }
    }

    /// Whether it is news that this source is where it says.
    fn verify(&mut self, ip: IpAddr) -> bool {
        let Some(source) = self.find_or_add(key(ip), Standing::Verified) else { return false };
        let is_news = !source.is_verified();
        source.standing = Standing::Verified;
        is_news
    }

    /// Takes on a call that an ACK is yet to come for, unless its source has too many of them.
    pub(crate) fn open_call(&mut self, datagram: &Datagram<'_>) -> Option<Unconfirmed> {
        let (key, max) = (key(datagram.src.ip()), self.unconfirmed_max);
        let (count, call) = match self.find_mut(key).filter(|source| source.is_verified()) {
            Some(source) => (&mut source.unconfirmed, Unconfirmed::Source(key)),
            None => (&mut self.unverified_calls, Unconfirmed::Unverified),
        };
        if *count < max {
            *count += 1;
            return Some(call);
        }
        self.shed.calls += 1;
        None
    }

    /// The ACK of a call has come, or it is over.
    pub(crate) fn close_call(&mut self, call: Unconfirmed) {
        let count = match call {
            Unconfirmed::Unverified => Some(&mut self.unverified_calls),
            // It may have had to make room.
            Unconfirmed::Source(key) => self.find_mut(key).map(|source| &mut source.unconfirmed),
        };
        if let Some(count) = count {
            *count = count.saturating_sub(1);
        }
    }

    fn find(&self, key: u64) -> Option<&Source> {
        self.sources[self.set(key)].iter().find(|source| source.is(key))
    }

    fn find_mut(&mut self, key: u64) -> Option<&mut Source> {
        let set = self.set(key);
        self.sources[set].iter_mut().find(|source| source.is(key))
    }

    /// The source of a key. One that is not known takes a free place, or that of the one that has
    /// been still for longest among those whose standing is no better than `standing`.
    fn find_or_add(&mut self, key: u64, standing: Standing) -> Option<&mut Source> {
        let set = self.set(key);
        let set = &mut self.sources[set];
        if let Some(known) = set.iter().position(|source| source.is(key)) {
            return set.get_mut(known);
        }
        let worst = set.iter_mut().min_by_key(|it| (it.standing as u8, it.bucket.full_at))?;
        if worst.is_verified() && standing != Standing::Verified {
            return None;
        }
        *worst = Source { key, standing: Standing::Unverified, ..Source::default() };
        Some(worst)
    }

    fn set(&self, key: u64) -> core::ops::Range<usize> {
        let sets = (self.sources.len() / WAYS) as u64;
        let set = ((self.hasher.hash_one(key) >> 32) * sets) >> 32;
        let start = usize::try_from(set).unwrap_or(0) * WAYS;
        start..start + WAYS
    }
}

fn room(limits: &SipLimits) -> Box<[Source]> {
    let sets = (limits.sources as usize).div_ceil(WAYS).max(1);
    vec![Source::default(); sets * WAYS].into()
}

impl Source {
    fn is(&self, key: u64) -> bool {
        self.key == key && self.standing != Standing::Free
    }

    fn is_verified(&self) -> bool {
        self.standing == Standing::Verified
    }
}

/// Whose limit a message is over.
#[derive(Clone, Copy, Debug)]
enum Over {
    Source,
    Unverified,
}

/// The rates of all buckets.
#[derive(Clone, Copy, Debug)]
struct Rates {
    source: Rate,
    unverified: Rate,
    unverified_source: Rate,
    malformed: Rate,
}

impl Rates {
    fn of(limits: &SipLimits) -> Self {
        let each = limits.unverified_per_s / UNVERIFIED_SHARE;
        Self {
            source: Rate::new(limits.source_per_s, limits.source_burst),
            unverified: Rate::new(limits.unverified_per_s, limits.unverified_per_s),
            unverified_source: Rate::new(each, each),
            malformed: Rate::new(limits.malformed_answers_per_s, limits.malformed_answers_per_s),
        }
    }
}

/// How fast a bucket fills, and how much it holds, both in nanoseconds: that of one token, and that
/// of all.
#[derive(Clone, Copy, Debug)]
struct Rate {
    token: u64,
    depth: u64,
}

impl Rate {
    fn new(per_s: u32, burst: u32) -> Self {
        let token = NANOS_PER_SEC / u64::from(per_s.max(1));
        Self { token, depth: token * u64::from(burst.max(1)) }
    }
}

/// A token bucket, as the time when it will be full again (the virtual scheduling of ITU-T I.371
/// Annex A): it needs no timer, and 8 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Takes a token, if there is one.
    fn take(&mut self, now: Timestamp, rate: Rate) -> bool {
        let now = now.as_nanos();
        // Clocks are set back at times: it is never emptier than empty.
        let empty = now.saturating_add(rate.depth);
        let full_at = self.full_at.clamp(now, empty);
        let is_left = full_at.saturating_add(rate.token) <= empty;
        self.full_at = if is_left { full_at + rate.token } else { full_at };
        is_left
    }
}

/// What stands for a source: an IPv4 address, or the network part of an IPv6 address, since a host
/// has all of a /64 (RFC 4291 section 2.5.1). The two do not meet: ::/32 is nobody's.
fn key(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(0),
    }
}

/// The most that is sent in return for a byte of a source that is not verified: who writes
/// another's address on what it sends does that one little harm.
const AMPLIFICATION: usize = 3;

/// Sources in one set: with half of the table verified, one set in 5,000 is full of them.
const WAYS: usize = 8;

/// What one source has at most that is not verified, as a part of what all have.
const UNVERIFIED_SHARE: u32 = 2;

/// Calls without an ACK that one source has at most, and all together that are not verified, as a
/// part of the room for calls.
const UNCONFIRMED_SHARE: usize = 4;

/// The least that a share of a small table comes to.
const UNCONFIRMED_MIN: usize = 64;

/// Sources that wait for other shards to be told of them.
const NEWS_MAX: usize = 1024;

/// Any number: keeps the places of sources from being told by other hashes.
const SEED_SALT: u64 = 0xC2B2_AE3D_27D4_EB4F;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = NANOS_PER_SEC;

    #[test]
    fn a_bucket_lets_its_burst_and_then_its_rate_pass() {
        let rate = Rate::new(100, 50);
        let mut bucket = Bucket::default();
        let mut pass = |from: u64, count: u64, every: u64| {
            let times = (0..count).map(|index| Timestamp::from_nanos(from + index * every));
            times.filter(|&now| bucket.take(now, rate)).count()
        };
        assert_eq!(pass(1000 * SECOND, 200, 0), 50);
        assert_eq!(pass(1000 * SECOND, 10_000, SECOND / 1000), 999);
        assert_eq!(pass(2000 * SECOND, 200, 0), 50, "full again");
        // The clock is set back.
        assert_eq!(pass(5 * SECOND, 2000, SECOND / 1000), 199);
    }

    #[test]
    fn who_is_not_verified_takes_no_place_of_who_is() {
        let limits = SipLimits { sources: 64, ..SipLimits::default() };
        let mut admission = Admission::new(&limits, 1000, 7);
        let ip = |index: u32| IpAddr::from((0x0A00_0000 + index).to_be_bytes());
        let verified: Vec<_> = (0..16).map(ip).filter(|&ip| admission.verify(ip)).collect();
        assert_eq!(verified.len(), 16);
        for index in 1000..100_000 {
            let _ = admission.find_or_add(key(ip(index)), Standing::Unverified);
        }
        for &ip in &verified {
            assert!(admission.find(key(ip)).is_some_and(Source::is_verified), "{ip}");
        }
        assert_eq!(admission.sources.len(), 64);
    }

    #[test]
    fn a_source_is_an_address_or_a_network_of_one_host() {
        let source = |text: &str| key(text.parse().unwrap());
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
    }
}
