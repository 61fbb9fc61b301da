//! What finished calls add up to since the start, by codec and trunk: counts, and histograms with
//! fixed bounds. They hold what each call shows of itself, once it is over; no call is told from
//! another.

use std::collections::BTreeMap;

use super::record::{CallRecord, CallState, Integrity};
use crate::quality::Scale;

/// Finished calls since the start.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// In the order in which they were met.
    pub groups: Vec<FinishedGroup>,
    /// How many calls had which final response, or which provisional one if there was no other.
    pub responses: BTreeMap<u16, u64>,
}

/// Finished calls of one codec from one trunk.
#[derive(Clone, Debug)]
pub struct FinishedGroup {
    /// Codec of the worse direction, or `unknown`.
    pub codec: &'static str,
    /// The trunk's name or network, `unknown` without one, `other` past the bound on groups.
    pub trunk: String,
    /// Calls that had been answered.
    pub answered: u64,
    /// Calls that had not.
    pub failed: u64,
    /// Packets that sequence numbers say were sent, of each call's worse direction; so with all
    /// that follows, and none of it from calls that our own losses may have touched.
    pub packets_expected: u64,
    /// Of these, lost.
    pub packets_lost: u64,
    /// Packets too late for the assumed jitter buffer.
    pub packets_discarded: u64,
    /// `mos_score` by scale: what is on different scales is never added up.
    pub mos: [(Scale, Histogram); 3],
    /// Lost of expected packets, 0 to 1.
    pub loss_ratio: Histogram,
    /// `jitter_avg_ms` in seconds.
    pub jitter_s: Histogram,
    /// `latency_avg_ms` in seconds.
    pub round_trip_s: Histogram,
    /// `srd_ms` in seconds; of all calls.
    pub srd_s: Histogram,
    /// `duration_seconds` of answered calls.
    pub duration_s: Histogram,
}

/// Counts of values up to each of some bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One a bound and one for what is above them all.
    counts: Vec<u64>,
    sum: f64,
}

impl Finished {
    /// What some calls that are over add up to.
    pub fn of<'a>(calls: impl IntoIterator<Item = &'a CallRecord>) -> Self {
        let mut finished = Self::default();
        calls.into_iter().for_each(|call| finished.add(call));
        finished
    }

    /// Takes in a call that is over.
    pub(super) fn add(&mut self, call: &CallRecord) {
        if let Some(code) = call.status_code {
            *self.responses.entry(code).or_default() += 1;
        }
        let codec = call.codec.unwrap_or("unknown");
        let trunk = call.trunk.map_or_else(|| "unknown".to_owned(), |trunk| trunk.to_string());
        self.group(codec, trunk).add(call);
    }

    fn group(&mut self, codec: &'static str, trunk: String) -> &mut FinishedGroup {
        let find = |groups: &[FinishedGroup], trunk: &str| {
            groups.iter().position(|group| group.codec == codec && group.trunk == trunk)
        };
        let place = find(&self.groups, &trunk).unwrap_or_else(|| {
            let trunk = if self.groups.len() < GROUPS_MAX { trunk } else { "other".to_owned() };
            find(&self.groups, &trunk).unwrap_or_else(|| {
                self.groups.push(FinishedGroup::new(codec, trunk));
                self.groups.len() - 1
            })
        });
        &mut self.groups[place]
    }
}

impl FinishedGroup {
    fn new(codec: &'static str, trunk: String) -> Self {
        let mos = [Scale::Nb, Scale::Wb, Scale::Fb].map(|scale| (scale, Histogram::new(MOS)));
        Self {
            codec,
            trunk,
            answered: 0,
            failed: 0,
            packets_expected: 0,
            packets_lost: 0,
            packets_discarded: 0,
            mos,
            loss_ratio: Histogram::new(LOSS_RATIO),
            jitter_s: Histogram::new(JITTER_S),
            round_trip_s: Histogram::new(ROUND_TRIP_S),
            srd_s: Histogram::new(SRD_S),
            duration_s: Histogram::new(DURATION_S),
        }
    }

    fn add(&mut self, call: &CallRecord) {
        let is_answered = call.state == CallState::Ended;
        *(if is_answered { &mut self.answered } else { &mut self.failed }) += 1;
        let seconds = |ms: Option<f64>| ms.map(|ms| ms / 1e3);
        self.srd_s.record(seconds(call.signalling.srd_ms));
        self.duration_s.record(is_answered.then_some(call.duration_seconds));
        if call.integrity == Integrity::Suspect {
            return;
        }
        let figures = &call.figures;
        let lost = figures.packets_lost.unwrap_or(0);
        self.packets_expected += figures.packets_received.unwrap_or(0) + lost;
        self.packets_lost += lost;
        self.packets_discarded += figures.packets_discarded.unwrap_or(0);
        if let Some(basis) = call.score.mos_basis {
            self.mos[basis.scale as usize].1.record(call.score.mos_score);
        }
        self.loss_ratio.record(figures.packet_loss_percentage.map(|percent| percent / 1e2));
        self.jitter_s.record(seconds(call.jitter_avg_ms));
        self.round_trip_s.record(seconds(call.latency_avg_ms));
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Takes in a value, where there is one.
    fn record(&mut self, value: Option<f64>) {
        let Some(value) = value else { return };
        // A value that is a bound is not above it.
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place] += 1;
        self.sum += value;
    }

    /// Each bound with the count of values up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.bounds.iter().copied().zip(sums)
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }
}

/// Groups that are told apart; past the bound there is one more a codec. Some 1 KB each.
const GROUPS_MAX: usize = 64;

/// With the borders of the ratings and the thresholds of the rules among them.
const MOS: &[f64] = &[1.5, 2.0, 2.5, 3.0, 3.1, 3.5, 3.6, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4, 4.5];
/// To the threshold of 2 % and beyond.
const LOSS_RATIO: &[f64] = &[0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5];
/// To the threshold of 50 ms and beyond.
const JITTER_S: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5];
/// Around the 150 ms one way of G.114, there and back, which is the threshold.
const ROUND_TRIP_S: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0];
/// From an answer at once to a caller who has lost patience.
const SRD_S: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// From a call that nobody wanted to a conference.
const DURATION_S: &[f64] =
    &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_counts_below_it() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [Some(0.5), Some(1.0), Some(1.5), Some(2.0), Some(7.0), None] {
            histogram.record(value);
        }
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(1.0, 2), (2.0, 4)]);
        assert_eq!((histogram.count(), histogram.sum()), (5, 12.0));
    }

    #[test]
    fn trunks_past_the_bound_are_one_a_codec() {
        let mut finished = Finished::default();
        for trunk in 0..1000 {
            finished.group("PCMU", trunk.to_string()).answered += 1;
            finished.group("opus", trunk.to_string()).answered += 1;
        }
        assert_eq!(finished.groups.len(), GROUPS_MAX + 2);
        let other: Vec<_> = finished.groups.iter().filter(|group| group.trunk == "other").collect();
        assert_eq!(other.len(), 2);
        assert_eq!(finished.groups.iter().map(|group| group.answered).sum::<u64>(), 2000);
    }
}
