//! The wide distributions of one shard: fine enough for any quantile, exactly mergeable.
//!
//! A shard fills one set while control merges the one before; they change places by pointer. It
//! knows no stream: each holds the place of its group.

use hdrhistogram::Histogram;

use super::signalling::SipFigures;
use crate::{id::Trunk, wire::codec::Codec};

/// One set of distributions; those of media in microseconds, 1 µs to 10 s.
#[derive(Clone, Debug)]
pub struct Distributions {
    /// In the order in which the shard met them.
    groups: Vec<Group>,
    /// Round-trip times from RTCP reports; three significant digits.
    pub rtt_us: Histogram<u64>,
    /// The figures of SIP.
    pub sip: Box<SipFigures>,
}

/// What the streams of one codec from one trunk have in common.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which.
    pub key: GroupKey,
    /// The jitter estimate of RFC 3550 appendix A.8 after each packet; two significant digits.
    pub jitter_us: Histogram<u64>,
    /// How much longer than the fastest each packet was under way, the drift of the sender's
    /// clock aside; two significant digits.
    pub variation_us: Histogram<u64>,
}

/// Which streams make a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// Their codec.
    pub codec: Codec,
    /// Where they come from; `None` past the bound on groups.
    pub trunk: Option<Trunk>,
}

/// The groups that a shard has met. A place in it is good for each of its sets.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<GroupKey>);

impl Groups {
    /// The place of a group, an old one or the next; past the bound that of the codec alone.
    pub(super) fn place(&mut self, codec: Codec, trunk: Trunk) -> u8 {
        let (key, rest) = (GroupKey { codec, trunk: Some(trunk) }, GroupKey { codec, trunk: None });
        let found = self.find(key).or_else(|| {
            let is_full = self.0.len() >= GROUPS_MAX;
            is_full.then(|| self.find(rest)).flatten()
        });
        let place = found.unwrap_or_else(|| {
            self.0.push(if self.0.len() < GROUPS_MAX { key } else { rest });
            self.0.len() - 1
        });
        u8::try_from(place).unwrap_or(u8::MAX)
    }

    fn find(&self, key: GroupKey) -> Option<usize> {
        self.0.iter().position(|&known| known == key)
    }
}

impl Distributions {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        let rtt_us = histogram(ROUND_TRIP_DIGITS);
        Self { groups: Vec::new(), rtt_us, sip: Box::default() }
    }

    /// All groups that have been met.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Takes in what one packet of a group gave.
    #[inline]
    pub(super) fn record(&mut self, place: u8, jitter_us: u32, variation_us: u32) {
        if let Some(group) = self.groups.get_mut(usize::from(place)) {
            group.jitter_us.saturating_record(jitter_us.into());
            group.variation_us.saturating_record(variation_us.into());
        }
    }

    /// Makes room for all groups there are. It allocates when a codec or trunk is new.
    #[cold]
    pub(super) fn make_room(&mut self, groups: &Groups) {
        let new = groups.0.iter().skip(self.groups.len());
        self.groups.extend(new.map(|&key| Group::new(key)));
    }

    /// Adds all of another set, which may have other groups.
    pub fn merge(&mut self, other: &Self) {
        // The same bounds on both sides: nothing to grow, nothing out of range.
        let _ = self.rtt_us.add(&other.rtt_us);
        self.sip.merge(&other.sip);
        for theirs in &other.groups {
            let place = self.groups.iter().position(|group| group.key == theirs.key);
            let place = place.unwrap_or_else(|| {
                self.groups.push(Group::new(theirs.key));
                self.groups.len() - 1
            });
            self.groups[place].merge(theirs);
        }
    }

    /// Empties it, keeping its memory and its groups.
    pub fn clear(&mut self) {
        self.rtt_us.reset();
        self.sip.clear();
        for group in &mut self.groups {
            group.jitter_us.reset();
            group.variation_us.reset();
        }
    }
}

impl Default for Distributions {
    fn default() -> Self {
        Self::new()
    }
}

impl Group {
    fn new(key: GroupKey) -> Self {
        Self { key, jitter_us: histogram(GROUP_DIGITS), variation_us: histogram(GROUP_DIGITS) }
    }

    fn merge(&mut self, other: &Self) {
        let _ = self.jitter_us.add(&other.jitter_us);
        let _ = self.variation_us.add(&other.variation_us);
    }
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_US, digits).expect("constant bounds that the type allows")
}

/// Longer than any delay that still is a call; what is beyond counts as this.
const HIGHEST_US: u64 = 10_000_000;

const ROUND_TRIP_DIGITS: u8 = 3;

/// Within 1 %, in 36 KiB a group.
const GROUP_DIGITS: u8 = 2;

/// Groups of codec and trunk that a shard tells apart, at most 2.3 MiB a set of which there are
/// three; past the bound there is one more group a codec.
const GROUPS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn trunk(network: u8) -> Trunk {
        Trunk::of([10, 0, network, 1].into())
    }

    #[test]
    fn sets_merge_by_group_wherever_it_stands() {
        let (mut one, mut other) = (Groups::default(), Groups::default());
        let (a, b) = (one.place(Codec::Pcmu, trunk(1)), one.place(Codec::Opus, trunk(1)));
        let (c, d) = (other.place(Codec::Opus, trunk(1)), other.place(Codec::Pcmu, trunk(2)));
        let (mut first, mut second) = (Distributions::new(), Distributions::new());
        first.make_room(&one);
        second.make_room(&other);
        first.record(a, 10, 20);
        first.record(b, 30, 40);
        second.record(c, 50, 60);
        second.record(d, 70, 80);
        let mut all = Distributions::new();
        all.merge(&first);
        all.merge(&second);
        let counts: Vec<_> =
            all.groups().iter().map(|group| (group.key.codec, group.jitter_us.len())).collect();
        assert_eq!(counts, [(Codec::Pcmu, 1), (Codec::Opus, 2), (Codec::Pcmu, 1)]);
        assert_eq!(all.groups()[1].variation_us.max(), 60);
        first.clear();
        assert!(first.groups().iter().all(|group| group.jitter_us.is_empty()));
        assert_eq!(first.groups().len(), 2);
    }

    #[test]
    fn past_the_bound_a_codec_has_one_group_for_all_trunks() {
        let mut groups = Groups::default();
        for network in 0..=255 {
            groups.place(Codec::Pcmu, trunk(network));
            groups.place(Codec::G729, trunk(network));
        }
        assert_eq!(groups.0.len(), GROUPS_MAX + 2);
        assert_eq!(groups.place(Codec::Pcmu, trunk(0)), 0, "the old ones are kept");
        let rest = groups.place(Codec::Pcmu, trunk(200));
        assert_eq!(groups.0[usize::from(rest)], GroupKey { codec: Codec::Pcmu, trunk: None });
    }
}
