//! `/api/qos/trends`: what finished calls add up to over time. It computes no figure of its own:
//! all come from the store's histograms.

use serde::Serialize;

use super::{
    history::unavailable,
    query::{Query, bad},
    reply::Reply,
};
use crate::{
    quality::Scale,
    store::{Asked, By, Metric, Reader, Rollup, Series},
    time::{NANOS_PER_SEC, Timestamp},
};

/// The parameters.
pub(super) const PARAMETERS: &[&str] = &["metric", "bucket", "since", "until", "by", "scale"];

/// The body.
#[derive(Serialize)]
struct Trends<'a> {
    metric: &'a str,
    /// `null` for a mere count.
    unit: Option<&'a str>,
    /// The one that a MOS is on.
    scale: Option<Scale>,
    by: Option<&'a str>,
    bucket_seconds: u64,
    /// The beginning of the first bucket.
    since: Timestamp,
    until: Timestamp,
    series: Vec<Line<'a>>,
}

/// The calls that have something in common.
#[derive(Serialize)]
struct Line<'a> {
    /// What that is; `null` if it is not known, or nothing is asked for.
    key: Option<&'a str>,
    points: Vec<Point>,
}

/// One bucket.
#[derive(Serialize)]
struct Point {
    /// Its beginning.
    time: Timestamp,
    /// Calls that ended in it and have a value.
    count: u64,
    avg: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

/// What is plotted.
#[derive(Clone, Copy)]
enum Plot {
    Calls,
    Mos,
    Of(Metric),
}

/// Answers at the time `now`.
pub(super) fn answer(
    query: &Query,
    store: Option<&Reader>,
    now: Timestamp,
) -> Result<Reply, Reply> {
    let name = query.get("metric").unwrap_or("mos");
    let (plot, unit) = match name {
        "calls" => (Plot::Calls, None),
        "mos" => (Plot::Mos, Some("mos")),
        "loss" => (Plot::Of(Metric::Loss), Some("percent")),
        "jitter" => (Plot::Of(Metric::Jitter), Some("ms")),
        "rtt" => (Plot::Of(Metric::Rtt), Some("ms")),
        "srd" => (Plot::Of(Metric::Srd), Some("ms")),
        "duration" => (Plot::Of(Metric::Duration), Some("s")),
        _ => return Err(bad("metric", name, "mos, loss, jitter, rtt, srd, duration or calls")),
    };
    let by = match query.get("by") {
        None => By::All,
        Some("codec") => By::Codec,
        Some("trunk") => By::Trunk,
        Some("user_agent") => By::UserAgent,
        Some(other) => return Err(bad("by", other, "codec, trunk or user_agent")),
    };
    let scale = match query.get("scale") {
        None => None,
        Some("nb") => Some(Scale::Nb),
        Some("wb") => Some(Scale::Wb),
        Some("fb") => Some(Scale::Fb),
        Some(other) => return Err(bad("scale", other, "nb, wb or fb")),
    };
    let asked = range(query, by, now)?;
    let Some(store) = store else { return Err(Reply::error(503, "there is no history")) };
    let all = store.trends(&asked).map_err(|error| unavailable(&error))?;
    let (metric, scale) = match plot {
        Plot::Calls => (None, None),
        Plot::Of(metric) => (Some(metric), None),
        Plot::Mos => {
            let scale = scale.unwrap_or_else(|| Series::main_scale(&all));
            (Some(Metric::Mos(scale)), Some(scale))
        }
    };
    let lines = all.iter().map(|series| line(series, metric));
    Ok(Reply::json(&Trends {
        metric: name,
        unit,
        scale,
        by: query.get("by"),
        bucket_seconds: asked.bucket_minutes * 60,
        since: begin(asked.since_minute / asked.bucket_minutes * asked.bucket_minutes),
        until: begin(asked.until_minute),
        series: lines.filter(|line| !line.points.is_empty()).collect(),
    }))
}

fn range(query: &Query, by: By, now: Timestamp) -> Result<Asked, Reply> {
    let bucket = query.get("bucket").unwrap_or("1h");
    let what = "a number of minutes, hours or days like 5m, 1h or 1d, up to 31d";
    let bucket_minutes = minutes(bucket).ok_or_else(|| bad("bucket", bucket, what))?;
    let minute = |time: Timestamp| time.as_nanos() / (60 * NANOS_PER_SEC);
    let until = query.time("until")?;
    let until_minute = until
        .map_or_else(|| minute(now) + 1, |until| until.as_nanos().div_ceil(60 * NANOS_PER_SEC));
    let default = || until_minute.saturating_sub((bucket_minutes * BUCKETS_DEFAULT).max(DAY));
    let since_minute = query.time("since")?.map_or_else(default, minute);
    let asked = Asked { by, bucket_minutes, since_minute, until_minute };
    if since_minute >= until_minute {
        return Err(Reply::error(400, "\"since\" is not before \"until\""));
    }
    if asked.buckets() > BUCKETS_MAX {
        let message = format!(
            "parameter \"bucket\" is {bucket:?}, which makes {} of the time asked for, and {} is \
             the most",
            asked.buckets(),
            BUCKETS_MAX
        );
        return Err(Reply::error(400, &message));
    }
    Ok(asked)
}

/// Minutes from a text like `5m`, `1h`, `1d`.
fn minutes(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let number = text.strip_suffix(unit)?;
    let per_unit = match unit {
        'm' => 1,
        'h' => 60,
        'd' => DAY,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|_| !number.starts_with('+'))?;
    number.checked_mul(per_unit).filter(|minutes| (1..=31 * DAY).contains(minutes))
}

fn line(series: &Series, metric: Option<Metric>) -> Line<'_> {
    let points = series.points.iter().map(|(&minute, sums)| point(minute, sums, metric));
    Line {
        key: Some(series.key.as_str()).filter(|key| !key.is_empty()),
        points: points.filter(|point| point.count > 0).collect(),
    }
}

fn point(minute: u64, sums: &Rollup, metric: Option<Metric>) -> Point {
    let time = begin(minute);
    let Some(metric) = metric else {
        return Point { time, count: sums.calls, avg: None, p50: None, p95: None, p99: None };
    };
    let histogram = sums.histogram(metric);
    let percentile =
        |percent| histogram.percentile(percent).map(|value| exact(value) / metric.per_unit());
    let count = histogram.count();
    Point {
        time,
        count,
        avg: (count > 0).then(|| exact(histogram.sum()) / exact(count) / metric.per_unit()),
        p50: percentile(50),
        p95: percentile(95),
        p99: percentile(99),
    }
}

fn begin(minute: u64) -> Timestamp {
    Timestamp::from_secs(minute.saturating_mul(60))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and only shown")]
const fn exact(value: u64) -> f64 {
    value as f64
}

/// Minutes of a day.
const DAY: u64 = 24 * 60;

/// How many buckets there are unless a request says when to begin, if that is more than a day.
const BUCKETS_DEFAULT: u64 = 30;

/// Most buckets of one answer: more than a plot has points.
const BUCKETS_MAX: u64 = 1500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_whole_minutes() {
        for (text, expected) in [("1m", 1), ("90m", 90), ("1h", 60), ("2d", 2880)] {
            assert_eq!(minutes(text), Some(expected), "{text}");
        }
        for text in
            ["", "m", "0m", "1", "1s", "-1h", "+1h", "1.5h", "32d", "99999999999999999d", "é"]
        {
            assert_eq!(minutes(text), None, "{text}");
        }
    }
}
