//! What trends are made of: histograms of all metrics, by minute and by what calls have in
//! common. Minutes add up to hours exactly; nothing here is a mean of means.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    entry::thousandths,
    histogram::Histogram,
    schema::{from_sql, to_sql},
    varint,
};
use crate::{
    control::record::{CallRecord, CallState, Integrity},
    quality::Scale,
    time::{NANOS_PER_SEC, Timestamp},
};

/// A metric with a histogram of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `mos_score` of calls on one scale; scales are never mixed.
    Mos(Scale),
    /// `packet_loss_percentage`.
    Loss,
    /// `jitter_avg_ms`.
    Jitter,
    /// `latency_avg_ms`.
    Rtt,
    /// `srd_ms`.
    Srd,
    /// `duration_seconds` of answered calls.
    Duration,
}

/// What calls are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// All together.
    All,
    /// Codec of the worst direction.
    Codec,
    /// Where the INVITE came from: the network's name, or else the /24 of IPv4, the /64 of IPv6.
    Trunk,
    /// The caller's User-Agent.
    UserAgent,
}

/// What one finished call gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Minute of its end, counted from 1970.
    minute: u64,
    codec: String,
    trunk: String,
    user_agent: String,
    is_answered: bool,
    values: [Option<u64>; METRICS],
}

/// What some calls add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Finished calls.
    pub calls: u64,
    /// Of these, answered.
    pub answered: u64,
    histograms: [Histogram; METRICS],
}

impl Metric {
    /// How many whole numbers of its histogram make one of its unit.
    #[must_use]
    pub const fn per_unit(self) -> f64 {
        match self {
            Self::Mos(_) => 100.0,
            Self::Loss | Self::Jitter | Self::Rtt | Self::Srd | Self::Duration => 1000.0,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Mos(Scale::Nb) => 0,
            Self::Mos(Scale::Wb) => 1,
            Self::Mos(Scale::Fb) => 2,
            Self::Loss => 3,
            Self::Jitter => 4,
            Self::Rtt => 5,
            Self::Srd => 6,
            Self::Duration => 7,
        }
    }
}

impl By {
    /// All ways, [`By::All`] first.
    pub(super) const ALL: [Self; 4] = [Self::All, Self::Codec, Self::Trunk, Self::UserAgent];

    /// Its number in the database.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::All => 0,
            Self::Codec => 1,
            Self::Trunk => 2,
            Self::UserAgent => 3,
        }
    }
}

impl Sample {
    /// What a call gives. What its own appliance may have spoilt says nothing of the network.
    pub(super) fn of(record: &CallRecord) -> Self {
        let is_answered = record.state == CallState::Ended;
        let mut values = [None; METRICS];
        let mut set = |metric: Metric, value: Option<f64>| {
            let scaled = |value: f64| thousandths(value * metric.per_unit() / 1e3).into();
            values[metric.index()] = value.map(scaled);
        };
        if record.integrity == Integrity::Clean {
            if let Some((mos, basis)) = record.score.mos_score.zip(record.score.mos_basis) {
                set(Metric::Mos(basis.scale), Some(mos));
            }
            set(Metric::Loss, record.figures.packet_loss_percentage);
            set(Metric::Jitter, record.jitter_avg_ms);
            set(Metric::Rtt, record.latency_avg_ms);
        }
        set(Metric::Srd, record.signalling.srd_ms);
        set(Metric::Duration, is_answered.then_some(record.duration_seconds));
        Self {
            minute: minute(record.end_time.unwrap_or(record.start_time)),
            codec: record.codec.unwrap_or_default().to_owned(),
            trunk: record.trunk.map(|trunk| trunk.to_string()).unwrap_or_default(),
            user_agent: record.user_agent.iter().flat_map(|text| text.chars()).take(64).collect(),
            is_answered,
            values,
        }
    }

    fn key(&self, by: By) -> &str {
        match by {
            By::All => "",
            By::Codec => &self.codec,
            By::Trunk => &self.trunk,
            By::UserAgent => &self.user_agent,
        }
    }
}

impl Rollup {
    /// The histogram of a metric.
    #[must_use]
    pub const fn histogram(&self, metric: Metric) -> &Histogram {
        &self.histograms[metric.index()]
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        for (own, other) in self.histograms.iter_mut().zip(&other.histograms) {
            own.merge(other);
        }
    }

    fn add(&mut self, sample: &Sample) {
        self.calls += 1;
        self.answered += u64::from(sample.is_answered);
        for (histogram, value) in self.histograms.iter_mut().zip(sample.values) {
            if let Some(value) = value {
                histogram.record(value);
            }
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::write(&mut bytes, self.calls);
        varint::write(&mut bytes, self.answered);
        self.histograms.iter().for_each(|histogram| histogram.write(&mut bytes));
        bytes
    }

    /// Reads what was written; a metric that came later has no samples.
    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let (calls, answered) = (varint::read(from)?, varint::read(from)?);
        let mut rollup = Self { calls, answered, ..Self::default() };
        for histogram in &mut rollup.histograms {
            if !from.is_empty() {
                *histogram = Histogram::read(from)?;
            }
        }
        Some(rollup)
    }
}

/// Adds calls to their minutes, and to their hours where those are already made.
pub(super) fn add<'a>(
    db: &Connection,
    samples: impl Iterator<Item = &'a Sample>,
) -> rusqlite::Result<()> {
    let mut sums: BTreeMap<(u64, By, &str), Rollup> = BTreeMap::new();
    for sample in samples {
        for by in By::ALL {
            sums.entry((sample.minute, by, sample.key(by))).or_default().add(sample);
        }
    }
    if sums.is_empty() {
        return Ok(());
    }
    let made_until = hours_made_until(db)?;
    for ((minute, by, key), sum) in sums {
        merge_into(db, Level::Minute, minute, by, key, &sum)?;
        if minute / 60 < made_until {
            merge_into(db, Level::Hour, minute / 60, by, key, &sum)?;
        }
    }
    Ok(())
}

/// Makes the next hour that is over of its minutes; whether there was one.
pub(super) fn make_hour(db: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    let over = minute(now) / 60;
    let made_until = hours_made_until(db)?;
    let first = "SELECT min(at) FROM rollup_minutes WHERE at >= ?1";
    let next: Option<i64> =
        db.prepare_cached(first)?.query_row([to_sql(made_until * 60)], |row| row.get(0))?;
    let Some(hour) = next.map(|minute| from_sql(minute) / 60).filter(|&hour| hour < over) else {
        return Ok(false);
    };
    let mut sums: BTreeMap<(By, String), Rollup> = BTreeMap::new();
    for by in By::ALL {
        let (from, to) = (hour * 60, hour * 60 + 60);
        each(db, Level::Minute, by, from..to, |_, key, rollup| {
            sums.entry((by, key.to_owned())).or_default().merge(rollup);
        })?;
    }
    for ((by, key), sum) in &sums {
        merge_into(db, Level::Hour, hour, *by, key, sum)?;
    }
    let set = "INSERT OR REPLACE INTO facts (name, value) VALUES ('hours_made_until', ?1)";
    db.prepare_cached(set)?.execute([to_sql(hour + 1)])?;
    Ok(true)
}

/// The first hour, counted from 1970, that is not made yet.
pub(super) fn hours_made_until(db: &Connection) -> rusqlite::Result<u64> {
    let get = "SELECT value FROM facts WHERE name = 'hours_made_until'";
    let hour: Option<i64> = db.prepare_cached(get)?.query_row([], |row| row.get(0)).optional()?;
    Ok(hour.map_or(0, from_sql))
}

/// Gives each rollup of a range of minutes or hours with its time and key.
pub(super) fn each(
    db: &Connection,
    level: Level,
    by: By,
    range: core::ops::Range<u64>,
    mut each: impl FnMut(u64, &str, &Rollup),
) -> rusqlite::Result<()> {
    let table = level.table();
    let select = format!(
        "SELECT at, key, sums FROM {table} WHERE at >= ?1 AND at < ?2 AND grouping = ?3 \
         ORDER BY at, key"
    );
    let mut statement = db.prepare_cached(&select)?;
    let mut rows = statement.query(params![to_sql(range.start), to_sql(range.end), by.number()])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(2)?.as_blob().unwrap_or_default();
        let key = row.get_ref(1)?.as_str().unwrap_or_default();
        // What cannot be read is none of ours and counts nothing.
        let rollup = Rollup::from_bytes(bytes).unwrap_or_default();
        each(from_sql(row.get(0)?), key, &rollup);
    }
    Ok(())
}

/// How much time one rollup stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Minute,
    Hour,
}

impl Level {
    const fn table(self) -> &'static str {
        match self {
            Self::Minute => "rollup_minutes",
            Self::Hour => "rollup_hours",
        }
    }
}

fn merge_into(
    db: &Connection,
    level: Level,
    at: u64,
    by: By,
    key: &str,
    sum: &Rollup,
) -> rusqlite::Result<()> {
    let table = level.table();
    let at = to_sql(at);
    let get = format!("SELECT sums FROM {table} WHERE at = ?1 AND grouping = ?2 AND key = ?3");
    let known = |key: &str| -> rusqlite::Result<Option<Rollup>> {
        let mut get = db.prepare_cached(&get)?;
        let bytes: Option<Vec<u8>> =
            get.query_row(params![at, by.number(), key], |row| row.get(0)).optional()?;
        Ok(bytes.and_then(|bytes| Rollup::from_bytes(&bytes)))
    };
    let mut key = key;
    let mut rollup = known(key)?;
    if rollup.is_none() && level == Level::Minute {
        let count = format!("SELECT count(*) FROM {table} WHERE at = ?1 AND grouping = ?2");
        let keys: i64 =
            db.prepare_cached(&count)?.query_row(params![at, by.number()], |row| row.get(0))?;
        if keys >= KEYS_MAX {
            key = OTHER;
            rollup = known(key)?;
        }
    }
    let mut rollup = rollup.unwrap_or_default();
    rollup.merge(sum);
    let set =
        format!("INSERT OR REPLACE INTO {table} (at, grouping, key, sums) VALUES (?1, ?2, ?3, ?4)");
    db.prepare_cached(&set)?.execute(params![at, by.number(), key, rollup.to_bytes()])?;
    Ok(())
}

/// The minute of a time, counted from 1970.
pub(super) const fn minute(time: Timestamp) -> u64 {
    time.as_nanos() / (60 * NANOS_PER_SEC)
}

/// What came after the most keys that a minute has.
pub(super) const OTHER: &str = "(other)";

/// Most keys of one kind in one minute: texts come from attackers, and a year is long.
const KEYS_MAX: i64 = 64;

/// Metrics, MOS once a scale.
const METRICS: usize = 8;
