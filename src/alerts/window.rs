//! What a trunk or the whole box adds up to over the last minutes, in buckets of five seconds. It
//! tells no call from another.

use core::time::Duration;
use std::collections::VecDeque;

use super::rule::{Metric, secs};
use crate::{quality::Scale, time::Timestamp};

/// Sums by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    buckets: VecDeque<(u64, Sums)>,
}

/// What is added up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// By scale: what is on different scales is never added up.
    pub(super) mos: [Mean; 3],
    pub(super) jitter_ms: Mean,
    pub(super) rtt_ms: Mean,
    pub(super) intervals: u64,
    pub(super) expected: u64,
    pub(super) lost: u64,
    pub(super) discarded: u64,
    /// Calls that are over.
    pub(super) finished: u64,
    /// Of these, failed for another reason than the called party's.
    pub(super) failed: u64,
    /// Of these, given up by their caller before an answer.
    pub(super) abandoned: u64,
    /// REGISTERs answered with more than a challenge.
    pub(super) registrations: u64,
    /// Of these, refused.
    pub(super) registrations_failed: u64,
    pub(super) own_losses: u64,
}

/// A mean in the making.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    count: u64,
    sum: f64,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
    }

    fn get(self) -> Option<(f64, u64)> {
        (self.count > 0).then(|| (self.sum / float(self.count), self.count))
    }
}

impl Window {
    /// The sums of the bucket of a moment. One before the last bucket goes to that: clocks of
    /// different shards differ little.
    pub(super) fn at(&mut self, now: Timestamp, kept: Duration) -> &mut Sums {
        let index = bucket(now);
        if self.buckets.back().is_none_or(|(last, _)| *last < index) {
            self.buckets.push_back((index, Sums::default()));
            let oldest = bucket(now - kept);
            while self.buckets.front().is_some_and(|(index, _)| *index < oldest) {
                self.buckets.pop_front();
            }
        }
        let last = self.buckets.len() - 1;
        &mut self.buckets[last].1
    }

    /// All of the last while.
    pub(super) fn sum(&self, now: Timestamp, over: Duration) -> Sums {
        let oldest = bucket(now - over);
        let recent = self.buckets.iter().rev().take_while(|(index, _)| *index > oldest);
        let mut sum = Sums::default();
        recent.for_each(|(_, sums)| sum.merge(sums));
        sum
    }

    /// Whether the last while is empty.
    pub(super) fn is_over(&self, now: Timestamp, kept: Duration) -> bool {
        self.buckets.back().is_none_or(|(index, _)| *index < bucket(now - kept))
    }
}

impl Sums {
    /// The value of a metric and what it is made of; `None` where there is nothing.
    pub(super) fn value(&self, metric: Metric) -> Option<(f64, u64)> {
        let share = |part: u64, whole: u64, samples: u64| {
            (whole > 0).then(|| (float(part) / float(whole) * 100.0, samples))
        };
        match metric {
            Metric::Mos => {
                let most = self.mos.into_iter().max_by_key(|mean| mean.count);
                most.and_then(Mean::get)
            }
            Metric::PacketLoss => share(self.lost, self.expected, self.intervals),
            Metric::Discard => share(self.discarded, self.expected, self.intervals),
            Metric::Jitter => self.jitter_ms.get(),
            Metric::Latency => self.rtt_ms.get(),
            Metric::CallFailureRate => share(self.failed, self.finished, self.finished),
            Metric::AbandonedRate => share(self.abandoned, self.finished, self.finished),
            Metric::RegistrationFailureRate => {
                share(self.registrations_failed, self.registrations, self.registrations)
            }
            Metric::OwnLosses => Some((float(self.own_losses), self.own_losses.max(1))),
            Metric::Condition(_)
            | Metric::ActiveCalls
            | Metric::ActiveCallsDrop
            | Metric::StoreUnavailable => None,
        }
    }

    /// The mean MOS on a scale.
    pub(super) const fn mos_mut(&mut self, scale: Scale) -> &mut Mean {
        &mut self.mos[scale as usize]
    }

    fn merge(&mut self, other: &Self) {
        self.mos.iter_mut().zip(other.mos).for_each(|(own, other)| own.merge(other));
        self.jitter_ms.merge(other.jitter_ms);
        self.rtt_ms.merge(other.rtt_ms);
        self.intervals += other.intervals;
        self.expected += other.expected;
        self.lost += other.lost;
        self.discarded += other.discarded;
        self.finished += other.finished;
        self.failed += other.failed;
        self.abandoned += other.abandoned;
        self.registrations += other.registrations;
        self.registrations_failed += other.registrations_failed;
        self.own_losses += other.own_losses;
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

const fn bucket(time: Timestamp) -> u64 {
    time.as_nanos() / BUCKET_NANOS
}

const BUCKET: Duration = secs(5);
const BUCKET_NANOS: u64 = BUCKET.as_secs() * crate::time::NANOS_PER_SEC;
