//! Calls, alerts and reports of phones that are not on disk yet, in memory within a bound. Readers
//! see them there; what falls off is the oldest, and counted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{alerts::Alert, entry::Entry, reports::Report};
use crate::time::Timestamp;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// By number, which grows.
    calls: VecDeque<(u64, Arc<Entry>)>,
    bytes: usize,
    alerts: BTreeMap<u64, Alert>,
    reports: VecDeque<Report>,
    /// By name; there are few.
    texts: BTreeMap<&'static str, String>,
}

impl Backlog {
    /// Lets a call wait; gives back those that fell off for it.
    pub(super) fn push(&mut self, id: u64, entry: Arc<Entry>) -> Vec<u64> {
        self.bytes += entry.size();
        self.calls.push_back((id, entry));
        let mut fallen = Vec::new();
        while self.bytes > BYTES_MAX
            && let Some((id, entry)) = self.calls.pop_front()
        {
            self.bytes -= entry.size();
            fallen.push(id);
        }
        fallen
    }

    /// Lets an alert wait, in place of what was said of it before; how many fell off for it.
    pub(super) fn push_alert(&mut self, alert: Alert) -> u64 {
        self.alerts.insert(alert.id, alert);
        if self.alerts.len() <= ALERTS_MAX {
            return 0;
        }
        self.alerts.pop_first();
        1
    }

    /// Lets a report of a phone wait; how many fell off for it.
    pub(super) fn push_report(&mut self, report: Report) -> u64 {
        self.reports.push_back(report);
        if self.reports.len() <= REPORTS_MAX {
            return 0;
        }
        self.reports.pop_front();
        1
    }

    /// All reports, oldest first.
    pub(super) const fn reports(&self) -> &VecDeque<Report> {
        &self.reports
    }

    /// The oldest `count` reports are written.
    pub(super) fn forget_reports(&mut self, count: usize) {
        self.reports.drain(..count.min(self.reports.len()));
    }

    /// Lets a text wait, in place of the one that had its name.
    pub(super) fn set_text(&mut self, name: &'static str, text: String) {
        self.texts.insert(name, text);
    }

    /// All texts with their names.
    pub(super) const fn texts(&self) -> &BTreeMap<&'static str, String> {
        &self.texts
    }

    /// These texts are written; what has come since is not.
    pub(super) fn forget_texts(&mut self, written: &BTreeMap<&'static str, String>) {
        self.texts.retain(|name, text| written.get(name) != Some(text));
    }

    /// The oldest calls, at most `max`.
    pub(super) fn oldest(&self, max: usize) -> Vec<(u64, Arc<Entry>)> {
        self.calls.iter().take(max).cloned().collect()
    }

    /// The oldest `count` calls are written.
    pub(super) fn forget(&mut self, count: usize) {
        for (_, entry) in self.calls.drain(..count.min(self.calls.len())) {
            self.bytes -= entry.size();
        }
    }

    /// All alerts, oldest first.
    pub(super) fn alerts(&self) -> impl DoubleEndedIterator<Item = &Alert> {
        self.alerts.values()
    }

    /// All alerts are written.
    pub(super) fn forget_alerts(&mut self) {
        self.alerts.clear();
    }

    /// A call by its number.
    pub(super) fn get(&self, id: u64) -> Option<&Arc<Entry>> {
        let index = self.calls.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        self.calls.get(index).map(|(_, entry)| entry)
    }

    /// The last call of that Call-ID.
    pub(super) fn find(&self, call_id: &str) -> Option<&Arc<Entry>> {
        self.calls.iter().rev().map(|(_, entry)| entry).find(|entry| entry.call_id == call_id)
    }

    /// The numbers of the calls with that Call-ID.
    pub(super) fn ids(&self, call_id: &str) -> Vec<u64> {
        let same = self.calls.iter().filter(|(_, entry)| entry.call_id == call_id);
        same.map(|&(id, _)| id).collect()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.calls.len() + self.alerts.len() + self.reports.len() + self.texts.len()
    }

    /// How many calls wait.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// When the oldest that waits happened.
    pub(super) fn since(&self) -> Option<Timestamp> {
        let call = self.calls.front().map(|(_, entry)| entry.facts.end);
        let alert = self.alerts.values().next().map(|alert| alert.updated_at);
        let report = self.reports.front().map(|report| report.at);
        call.into_iter().chain(alert).chain(report).min()
    }
}

/// Most that waiting calls take, some 60,000 of them.
const BYTES_MAX: usize = 64 << 20;

/// Most alerts that wait.
const ALERTS_MAX: usize = 10_000;

/// Most reports that wait, some 500 bytes each.
const REPORTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::record::CallRecord, time::Timestamp};

    #[test]
    fn the_oldest_fall_off() {
        let mut backlog = Backlog::default();
        let record = CallRecord::opened(Timestamp::MIN, Arc::default());
        let big = Arc::new(Entry { record: vec![0; 1 << 20], ..Entry::of(&record) });
        let fallen: Vec<u64> = (1..=70).flat_map(|id| backlog.push(id, Arc::clone(&big))).collect();
        assert_eq!(fallen, (1..=7).collect::<Vec<_>>());
        assert_eq!(backlog.calls(), 63);
        assert!(backlog.get(7).is_none() && backlog.get(8).is_some() && backlog.get(70).is_some());
        backlog.forget(62);
        assert!(backlog.get(69).is_none() && backlog.get(70).is_some());
        backlog.forget(9);
        assert_eq!((backlog.len(), backlog.bytes), (0, 0));

        let alert = |id| Alert { id, ..Alert::default() };
        let fallen: u64 = (0..10_003).map(|id| backlog.push_alert(alert(id))).sum();
        assert_eq!((fallen, backlog.len()), (3, ALERTS_MAX));
    }
}
