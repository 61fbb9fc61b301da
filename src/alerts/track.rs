//! One rule on one subject: from good over pending to firing and back. It knows no alert's text
//! and no other subject.

use core::time::Duration;

use super::{
    alert::Seen,
    rule::{Rule, secs},
};
use crate::time::Timestamp;

/// How a subject stands with a rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    phase: Phase,
    /// The last value of each direction; a subject without directions has the first alone.
    last: [Option<Seen>; 2],
    good_since: Option<Timestamp>,
    /// Until when no other alert is raised.
    quiet_until: Timestamp,
    fired_at: Timestamp,
    /// How often it has fired again soon after it had fired.
    flaps: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Good,
    Pending(Timestamp),
    /// With the number of the alert.
    Firing(u64),
}

/// What a value leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// An alert is to be raised; [`Track::fire`] takes its number.
    Fire,
    /// The alert goes on.
    Bad(u64),
    /// The alert is over.
    Resolve(u64),
}

impl Track {
    /// An alert that was open before this program started.
    pub(super) fn firing(id: u64, at: Timestamp) -> Self {
        Self { phase: Phase::Firing(id), fired_at: at, ..Self::default() }
    }

    /// Takes in a value of a direction.
    pub(super) fn step(&mut self, rule: &Rule, direction: usize, seen: Seen) -> Step {
        self.last[direction] = Some(seen);
        let now = seen.at;
        let fresh = |seen: &&Seen| now.since(seen.at) <= FRESH && seen.samples >= rule.min_samples;
        let fresh = || self.last.iter().flatten().filter(fresh);
        let is_bad = fresh().any(|seen| rule.is_bad(seen.value));
        let is_good = fresh().next().is_some() && fresh().all(|seen| rule.is_good(seen.value));
        match self.phase {
            Phase::Firing(id) if is_good => {
                let since = *self.good_since.get_or_insert(now);
                if now.since(since) < self.calm(rule) {
                    Step::Stay
                } else {
                    self.end(rule, now, id)
                }
            }
            Phase::Firing(id) => {
                self.good_since = None;
                if is_bad { Step::Bad(id) } else { Step::Stay }
            }
            Phase::Good | Phase::Pending(_) if !is_bad => {
                self.phase = Phase::Good;
                Step::Stay
            }
            Phase::Good | Phase::Pending(_) => {
                let since = match self.phase {
                    Phase::Pending(since) => since,
                    _ => now,
                };
                self.phase = Phase::Pending(since);
                let is_due = now.since(since) >= rule.hold && now >= self.quiet_until;
                if is_due { Step::Fire } else { Step::Stay }
            }
        }
    }

    /// An alert was raised.
    pub(super) fn fire(&mut self, id: u64, now: Timestamp) {
        let is_soon = self.fired_at > Timestamp::MIN && now.since(self.fired_at) < FLAP_MEMORY;
        self.flaps = if is_soon { self.flaps + 1 } else { 0 };
        self.phase = Phase::Firing(id);
        self.fired_at = now;
        self.good_since = None;
    }

    /// The open alert.
    pub(super) const fn alert(&self) -> Option<u64> {
        match self.phase {
            Phase::Firing(id) => Some(id),
            _ => None,
        }
    }

    /// Since when it is bad without being an alert yet.
    pub(super) const fn pending_since(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Pending(since) => Some(since),
            _ => None,
        }
    }

    /// The alert is over for a reason of its own.
    pub(super) fn end(&mut self, rule: &Rule, now: Timestamp, id: u64) -> Step {
        self.phase = Phase::Good;
        self.good_since = None;
        self.quiet_until = now + rule.cooldown;
        Step::Resolve(id)
    }

    /// When it last had a value.
    pub(super) fn heard_at(&self) -> Timestamp {
        let last = self.last.iter().flatten().map(|seen| seen.at).max();
        last.unwrap_or(self.fired_at)
    }

    /// The worst of the last values.
    pub(super) fn worst(&self, rule: &Rule) -> Option<Seen> {
        let worse = |a: Seen, b: Seen| {
            let is_a = rule.comparison.worse(a.value, b.value).total_cmp(&a.value).is_eq();
            if is_a { a } else { b }
        };
        self.last.iter().flatten().copied().reduce(worse)
    }

    /// Whether there is nothing in it to remember.
    pub(super) fn is_forgettable(&self, now: Timestamp) -> bool {
        self.phase == Phase::Good
            && now >= self.quiet_until
            && now.since(self.fired_at) >= FLAP_MEMORY
    }

    /// How long it must be good: twice as long each time that it has come back.
    fn calm(&self, rule: &Rule) -> Duration {
        rule.calm * (1 << self.flaps.min(FLAPS_MAX))
    }
}

/// A direction that has said nothing for three intervals says nothing of now.
const FRESH: Duration = secs(15);

/// What fires again within this time of the time before flaps.
const FLAP_MEMORY: Duration = secs(3600);

/// Doublings of the time that what flaps must be good.
const FLAPS_MAX: u32 = 5;
