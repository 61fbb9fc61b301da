//! What finished calls add up to over time, in buckets. It reads rollups, never calls.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::rollup::{self, By, Level, Metric, OTHER, Rollup};
use crate::quality::Scale;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How calls are grouped.
    pub by: By,
    /// Width of a bucket, minutes; at least 1.
    pub bucket_minutes: u64,
    /// The first minute since 1970; it counts from the beginning of its bucket.
    pub since_minute: u64,
    /// The minute after the last.
    pub until_minute: u64,
}

/// Calls of one kind over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// What they have in common; empty if that is not known, or nothing is asked for.
    pub key: String,
    /// What they add up to in each bucket that has any, by its first minute since 1970.
    pub points: BTreeMap<u64, Rollup>,
}

impl Asked {
    /// How many buckets there can be.
    #[must_use]
    pub const fn buckets(&self) -> u64 {
        let first = self.since_minute / self.bucket_minutes;
        self.until_minute.div_ceil(self.bucket_minutes).saturating_sub(first)
    }
}

impl Series {
    /// The scale that most calls of all series are scored on; of two with as many, the narrower.
    #[must_use]
    pub fn main_scale(all: &[Self]) -> Scale {
        let scored = |scale: Scale| -> u64 {
            let points = all.iter().flat_map(|series| series.points.values());
            points.map(|sums| sums.histogram(Metric::Mos(scale)).count()).sum()
        };
        [Scale::Wb, Scale::Fb]
            .into_iter()
            .fold(Scale::Nb, |main, other| if scored(other) > scored(main) { other } else { main })
    }

    fn calls(&self) -> u64 {
        self.points.values().map(|sums| sums.calls).sum()
    }
}

/// Reads what is asked for. The series with the most calls come first; those beyond
/// [`SERIES_MAX`] are one.
pub(super) fn read(db: &Connection, asked: &Asked) -> rusqlite::Result<Vec<Series>> {
    // Both levels as of one moment.
    let moment = db.unchecked_transaction()?;
    let width = asked.bucket_minutes.max(1);
    let (from, to) = (asked.since_minute / width * width, asked.until_minute);
    let mut series: BTreeMap<String, Series> = BTreeMap::new();
    let mut add = |minute: u64, key: &str, sums: &Rollup| {
        let series = series.entry(key.to_owned()).or_default();
        series.points.entry(minute / width * width).or_default().merge(sums);
    };
    // Hours, if no bucket begins or ends within one, as far as they are made.
    let mut minutes_from = from;
    if width.is_multiple_of(60) {
        let hours_to = rollup::hours_made_until(&moment)?.min(to / 60).max(from / 60);
        rollup::each(&moment, Level::Hour, asked.by, from / 60..hours_to, |hour, key, sums| {
            add(hour * 60, key, sums);
        })?;
        minutes_from = hours_to * 60;
    }
    rollup::each(&moment, Level::Minute, asked.by, minutes_from..to, &mut add)?;
    let mut all: Vec<Series> =
        series.into_iter().map(|(key, series)| Series { key, ..series }).collect();
    all.sort_by_key(|series| core::cmp::Reverse(series.calls()));
    if all.len() > SERIES_MAX {
        let mut other = Series { key: OTHER.to_owned(), ..Series::default() };
        for series in all.drain(SERIES_MAX - 1..) {
            for (minute, sums) in &series.points {
                other.points.entry(*minute).or_default().merge(sums);
            }
        }
        all.push(other);
    }
    Ok(all)
}

/// Most series of one answer.
const SERIES_MAX: usize = 64;
