//! The paths of the API and what each answers from a snapshot. What is only asked for changes
//! nothing that another answer says.

use core::cmp::Ordering;
use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{
    alerts,
    door::Shared,
    health::{self, ApiHealth, Watch},
    history,
    operator::{self, Someone},
    phone_reports, prometheus,
    query::{self, Query},
    registrations,
    reply::Reply,
    token::Role,
    trends,
};
use crate::{
    alerts::Alerts,
    control::{
        ladder::ShownLadder,
        record::{
            CallRecord, MosSum, MosTotals, Registrations, SipRecord, Snapshot, StreamRecord,
            TimelinePoint,
        },
        snapshot::SnapshotCell,
        spreads::{self, Distribution, Spread},
    },
    notify,
    quality::Scale,
    store,
    time::Timestamp,
};

/// What answers requests.
#[derive(Debug)]
pub(super) struct Api {
    snapshots: SnapshotCell,
    store: Option<store::Reader>,
    alerts: Alerts,
    notify: Option<notify::Handle>,
    operator: Someone,
    shared: Arc<Shared>,
    watch: Watch,
}

impl Api {
    /// Answers from what `snapshots` holds when asked; `shared` has the door's own counters.
    pub(super) fn new(
        snapshots: SnapshotCell,
        store: Option<store::Reader>,
        alerts: Alerts,
        notify: Option<notify::Handle>,
        operator: Someone,
        shared: Arc<Shared>,
    ) -> Self {
        Self { snapshots, store, alerts, notify, operator, shared, watch: Watch::default() }
    }

    /// Answers a request at the time `now`. `target` is path and query.
    pub(super) fn answer(&self, method: &str, target: &str, body: &[u8], now: Timestamp) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(route) = Route::of(path) else {
            return Reply::error(404, &format!("there is nothing at {path}"));
        };
        let allowed = route.methods();
        if !allowed.split(", ").any(|known| known == method) {
            let reply = Reply::error(405, &format!("{path} takes {allowed}, not {method}"));
            return reply.with_header("Allow", allowed);
        }
        if method == "OPTIONS" {
            return Reply::empty().with_header("Allow", allowed);
        }
        let result = if ["GET", "HEAD"].contains(&method) {
            self.get(route, query, &self.snapshots.load(), now)
        } else {
            self.change(route, query, body, now)
        };
        result.unwrap_or_else(|error| error)
    }

    fn change(
        &self,
        route: Route<'_>,
        query: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Reply, Reply> {
        Query::parse(query, &[])?;
        let alerts = &self.alerts;
        match route {
            Route::Acknowledge(id) => alerts::acknowledge(id, alerts, now),
            Route::ClearAlerts => Ok(alerts::clear(alerts, now)),
            Route::Thresholds => alerts::set_thresholds(body, alerts, now),
            Route::Rules => alerts::set_rule(body, alerts, now),
            Route::Rule(name) => alerts::remove_rule(name, alerts, now),
            Route::Reload => operator::reload(&self.operator),
            Route::HangUp(id) => operator::hang_up(id, &self.operator, &self.snapshots.load()),
            Route::HangUpAll => operator::hang_up_all(&self.operator, &self.snapshots.load()),
            _ => Err(Reply::error(405, "this is only to be read")),
        }
    }

    fn notifiers(&self) -> Vec<notify::Status> {
        self.notify.as_ref().map(notify::Handle::status).unwrap_or_default()
    }

    fn get(
        &self,
        route: Route<'_>,
        query: &str,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Reply, Reply> {
        let query = Query::parse(query, route.parameters())?;
        let store = self.store.as_ref();
        match route {
            Route::Metrics => metrics(&query, snapshot),
            Route::Call(encoded) => call(encoded, &query, snapshot, store),
            Route::History => history::list(&query, page(&query)?, snapshot, store),
            Route::Export => history::export(&query, store),
            Route::Trends => trends::answer(&query, store, now),
            Route::Alerts => {
                let limit = query.count("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
                alerts::list(&query, limit, &self.alerts)
            }
            Route::Thresholds => Ok(alerts::thresholds(&self.alerts)),
            Route::Rules => Ok(alerts::rules(&self.alerts)),
            Route::Acknowledge(_)
            | Route::ClearAlerts
            | Route::Rule(_)
            | Route::Reload
            | Route::HangUp(_)
            | Route::HangUpAll => Err(Reply::error(405, "this is only to be sent to")),
            Route::Live => Err(Reply::error(503, "events are told at the door")),
            Route::Statistics => {
                Ok(Reply::json(&statistics(snapshot, self.alerts.figures().total)))
            }
            Route::Sip => {
                let registrar = snapshot.registrations();
                Ok(Reply::json(&Sip { figures: &snapshot.sip, registrar }))
            }
            Route::Health => {
                let store = store.map(store::Reader::status);
                let api = ApiHealth::of(&self.shared);
                Ok(Reply::json(&self.watch.judge(snapshot, store, self.notifiers(), api, now)))
            }
            Route::Registrations => registrations::list(&query, page(&query)?, snapshot),
            Route::Reports => Ok(phone_reports::list(page(&query)?, snapshot)),
            Route::Document => Ok(Reply::json_text(DOCUMENT.to_owned())),
            Route::Prometheus => {
                let text = prometheus::render(&prometheus::Sources {
                    snapshot,
                    store: store.map(store::Reader::status),
                    notifiers: &self.notifiers(),
                    alerts: self.alerts.figures(),
                    door: &self.shared,
                    now,
                });
                Ok(Reply::text(prometheus::CONTENT_TYPE, text))
            }
        }
    }
}

/// The path of live events, which the door itself serves.
pub(super) const LIVE_PATH: &str = "/api/live";

/// What `/api/qos/statistics` shows.
pub(super) fn statistics(snapshot: &Snapshot, total_alerts: u64) -> impl Serialize {
    Statistics::of(snapshot, total_alerts)
}

/// The least role that may change something at `path`. Nobody can where there is nothing.
pub(super) fn role_to_change(path: &str) -> Role {
    Route::of(path).map_or(Role::Read, Route::role_to_change)
}

/// A path of the API.
#[derive(Clone, Copy, Debug)]
enum Route<'a> {
    Metrics,
    /// With the call id as it stands in the path.
    Call(&'a str),
    History,
    Export,
    Trends,
    Alerts,
    /// With the alert's number as it stands in the path.
    Acknowledge(&'a str),
    ClearAlerts,
    Thresholds,
    Rules,
    /// With the rule's name as it stands in the path.
    Rule(&'a str),
    /// The configuration is to be read again.
    Reload,
    /// With the call id as it stands in the path.
    HangUp(&'a str),
    HangUpAll,
    Statistics,
    Sip,
    Registrations,
    Reports,
    Health,
    Prometheus,
    /// Answered at the door.
    Live,
    /// The API itself.
    Document,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/api/qos/metrics" => Self::Metrics,
            "/api/qos/history" => Self::History,
            "/api/qos/export" => Self::Export,
            "/api/qos/trends" => Self::Trends,
            "/api/qos/statistics" => Self::Statistics,
            "/api/qos/sip" => Self::Sip,
            "/api/qos/registrations" => Self::Registrations,
            "/api/qos/reports" => Self::Reports,
            "/healthz" => Self::Health,
            "/metrics" => Self::Prometheus,
            LIVE_PATH => Self::Live,
            "/api/openapi.json" => Self::Document,
            "/api/qos/alerts" => Self::Alerts,
            "/api/qos/clear-alerts" => Self::ClearAlerts,
            "/api/qos/thresholds" => Self::Thresholds,
            "/api/qos/rules" => Self::Rules,
            "/api/reload" => Self::Reload,
            "/api/calls/hangup" => Self::HangUpAll,
            _ => {
                let below = |base| path.strip_prefix(base).filter(|rest: &&str| !rest.is_empty());
                let acknowledged = below("/api/qos/alerts/")
                    .and_then(|rest| rest.strip_suffix("/acknowledge"))
                    .map(Self::Acknowledge);
                let hung_up = below("/api/calls/")
                    .and_then(|rest| rest.strip_suffix("/hangup"))
                    .map(Self::HangUp);
                acknowledged
                    .or(hung_up)
                    .or_else(|| below("/api/qos/rules/").map(Self::Rule))
                    .or_else(|| below("/api/qos/call/").map(Self::Call))?
            }
        })
    }

    /// What can be done with it.
    const fn methods(self) -> &'static str {
        match self {
            Self::Acknowledge(_)
            | Self::ClearAlerts
            | Self::Reload
            | Self::HangUp(_)
            | Self::HangUpAll => "POST, OPTIONS",
            Self::Thresholds | Self::Rules => "GET, HEAD, POST, OPTIONS",
            Self::Rule(_) => "DELETE, OPTIONS",
            Self::Live => "GET, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// The least role that may change something there.
    const fn role_to_change(self) -> Role {
        match self {
            Self::Reload | Self::HangUp(_) | Self::HangUpAll => Role::Admin,
            _ => Role::Operate,
        }
    }

    const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Metrics => &["limit", "offset", "sort"],
            Self::Call(_) => &["raw"],
            Self::Registrations => registrations::PARAMETERS,
            Self::Reports => &["limit", "offset"],
            Self::History => history::LIST_PARAMETERS,
            Self::Export => history::EXPORT_PARAMETERS,
            Self::Trends => trends::PARAMETERS,
            Self::Alerts => alerts::PARAMETERS,
            _ => &[],
        }
    }
}

/// The body of `/api/qos/metrics`.
#[derive(Serialize)]
struct Metrics<'a> {
    /// All of them, however many are listed.
    active_calls: usize,
    metrics: Vec<CallRecord>,
    /// Streams that belong to no call; at most as many as calls.
    orphan_streams: Vec<&'a StreamRecord>,
}

fn metrics(query: &Query, snapshot: &Snapshot) -> Result<Reply, Reply> {
    let (limit, offset) = page(query)?;
    let order = match query.get("sort") {
        Some(text) => Order::parse(text)?,
        None => Order { key: Key::Start, descending: false },
    };
    let mut calls: Vec<&CallRecord> = snapshot.active.iter().map(AsRef::as_ref).collect();
    let now = snapshot.taken_at;
    calls.sort_by(|a, b| order.compare(a, b, now));
    Ok(Reply::json(&Metrics {
        active_calls: calls.len(),
        metrics: calls.iter().skip(offset).take(limit).map(|call| call.seen_at(now)).collect(),
        orphan_streams: snapshot.orphans.iter().take(limit).map(AsRef::as_ref).collect(),
    }))
}

/// How a list of calls is sorted.
#[derive(Clone, Copy, Debug)]
struct Order {
    key: Key,
    descending: bool,
}

#[derive(Clone, Copy, Debug)]
enum Key {
    Mos,
    Loss,
    Jitter,
    Duration,
    Start,
}

impl Order {
    fn parse(text: &str) -> Result<Self, Reply> {
        let (name, descending) = query::order(text);
        let key = match name {
            "mos" => Key::Mos,
            "loss" => Key::Loss,
            "jitter" => Key::Jitter,
            "duration" => Key::Duration,
            "start" => Key::Start,
            _ => {
                let message = format!(
                    "parameter \"sort\" is {text:?}, not mos, loss, jitter, duration or start, \
                     with - before it for descending"
                );
                return Err(Reply::error(400, &message));
            }
        };
        Ok(Self { key, descending })
    }

    /// What is not known comes last either way.
    fn compare(self, a: &CallRecord, b: &CallRecord, now: Timestamp) -> Ordering {
        let directed = |order: Ordering| if self.descending { order.reverse() } else { order };
        let value: fn(&CallRecord, Timestamp) -> Option<f64> = match self.key {
            Key::Start => return directed(a.start_time.cmp(&b.start_time)),
            Key::Mos => |call, _| call.score.mos_score,
            Key::Loss => |call, _| call.figures.packet_loss_percentage,
            Key::Jitter => |call, _| call.jitter_avg_ms,
            Key::Duration => |call, now| Some(call.duration_at(now)),
        };
        match (value(a, now), value(b, now)) {
            (Some(a), Some(b)) => directed(a.total_cmp(&b)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

/// The messages of a call, from where they are.
#[derive(Serialize)]
#[serde(untagged)]
enum CallLadder {
    /// In memory.
    Kept(ShownLadder),
    /// In the history.
    Stored(serde_json::Map<String, serde_json::Value>),
}

/// The body of `/api/qos/call/{call_id}`.
#[derive(Serialize)]
struct Call<'a> {
    #[serde(flatten)]
    record: &'a CallRecord,
    timeline: &'a [TimelinePoint],
    #[serde(flatten)]
    ladder: CallLadder,
    /// What phones say of it (RFC 6035).
    reports: Vec<serde_json::Value>,
}

fn call(
    encoded: &str,
    query: &Query,
    snapshot: &Snapshot,
    store: Option<&store::Reader>,
) -> Result<Reply, Reply> {
    let with_texts = match query.get("raw") {
        None | Some("0") => false,
        Some("1") => true,
        Some(other) => return Err(query::bad("raw", other, "0 or 1")),
    };
    let id = query::call_id(encoded)?;
    let newest_first = snapshot.active.iter().rev().chain(snapshot.history.iter().rev());
    let reports = snapshot.phone_reports.of(&id);
    match newest_first.into_iter().find(|call| call.call_id == id) {
        Some(call) => {
            let record = &call.seen_at(snapshot.taken_at);
            let kept = record.reference.and_then(|call| snapshot.ladders.get(call));
            let ladder = match kept {
                Some(kept) => CallLadder::Kept(ShownLadder::of(&kept, with_texts)),
                None => CallLadder::Stored(history::ladder(&id, with_texts, store)?),
            };
            let over = store.filter(|_| record.state.is_over());
            // A store that does not answer keeps nobody from what is in memory.
            let reports = history::reports(&id, reports, over)
                .or_else(|_| history::reports(&id, reports, None))?;
            Ok(Reply::json(&Call { record, timeline: &record.timeline, ladder, reports }))
        }
        None => history::call(&id, with_texts, reports, store)?.ok_or_else(|| {
            Reply::error(404, &format!("no call with id {id:?}, active or in history"))
        }),
    }
}

fn page(query: &Query) -> Result<(usize, usize), Reply> {
    let limit = query.count("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    Ok((limit, query.count("offset", 0, query::COUNT_MAX)?))
}

/// The body of `/api/qos/sip`.
#[derive(Serialize)]
struct Sip<'a> {
    #[serde(flatten)]
    figures: &'a SipRecord,
    /// What the registrar of the appliance did.
    registrar: Registrations,
}

/// The body of `/api/qos/statistics`.
#[derive(Serialize)]
struct Statistics {
    /// Calls that have ended or failed since start.
    total_calls: u64,
    answered_calls: u64,
    failed_calls: u64,
    active_calls: usize,
    /// Finished calls whose score counts in an average: all that have one and are not suspect.
    scored_calls: u64,
    /// Of the scale that most of them are on: scores of different scales have no common mean.
    average_mos: Option<f64>,
    average_mos_scale: Option<Scale>,
    average_mos_by_scale: Averages,
    calls_with_issues: u64,
    /// Of `total_calls`.
    issue_percentage: f64,
    suspect_calls: u64,
    /// Raised since the list of alerts was last cleared.
    total_alerts: u64,
    orphan_streams: usize,
    own_drops: u64,
    /// Interarrival jitter (RFC 3550 appendix A.8) after each packet.
    jitter_ms: Quantiles,
    /// Delay of each packet over the fastest, clock drift aside.
    delay_variation_ms: Quantiles,
    /// Round-trip times from RTCP.
    rtt_ms: Quantiles,
    by_codec: BTreeMap<String, SpreadQuantiles>,
    by_trunk: BTreeMap<String, SpreadQuantiles>,
}

#[derive(Serialize)]
struct SpreadQuantiles {
    jitter_ms: Quantiles,
    delay_variation_ms: Quantiles,
}

/// Mean MOS by scale; `None` where no call is on it.
#[derive(Serialize)]
struct Averages {
    nb: Option<f64>,
    wb: Option<f64>,
    fb: Option<f64>,
}

/// A distribution in milliseconds; `None` where there is no sample.
#[derive(Serialize)]
struct Quantiles {
    count: u64,
    mean: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

impl Statistics {
    fn of(snapshot: &Snapshot, total_alerts: u64) -> Self {
        let totals = &snapshot.totals;
        let average = |mos: MosSum| ratio(mos.sum, mos.calls);
        let MosTotals { nb, wb, fb } = totals.mos;
        let (scale, most) = totals.mos.main();
        let found = &snapshot.spreads;
        Self {
            total_calls: totals.calls,
            answered_calls: totals.answered,
            failed_calls: totals.failed,
            active_calls: snapshot.active.len(),
            scored_calls: totals.mos.calls(),
            average_mos: average(most),
            average_mos_scale: (most.calls > 0).then_some(scale),
            average_mos_by_scale: Averages { nb: average(nb), wb: average(wb), fb: average(fb) },
            calls_with_issues: totals.with_issues,
            issue_percentage: ratio(count(totals.with_issues) * 100.0, totals.calls).unwrap_or(0.0),
            suspect_calls: totals.suspect,
            total_alerts,
            orphan_streams: snapshot.orphans.len(),
            own_drops: health::own_drops(snapshot),
            jitter_ms: Quantiles::of(&found.all.jitter_us),
            delay_variation_ms: Quantiles::of(&found.all.variation_us),
            rtt_ms: Quantiles::of(&found.rtt_us),
            by_codec: found
                .by_codec
                .iter()
                .map(|(codec, spread)| (spreads::codec_name(*codec), SpreadQuantiles::of(spread)))
                .collect(),
            by_trunk: found
                .by_trunk
                .iter()
                .map(|(trunk, spread)| (spreads::trunk_name(*trunk), SpreadQuantiles::of(spread)))
                .collect(),
        }
    }
}

impl SpreadQuantiles {
    fn of(spread: &Spread) -> Self {
        Self {
            jitter_ms: Quantiles::of(&spread.jitter_us),
            delay_variation_ms: Quantiles::of(&spread.variation_us),
        }
    }
}

impl Quantiles {
    fn of(us: &Distribution) -> Self {
        let known = us.count > 0;
        let millis = |us: f64| known.then_some(us / 1e3);
        Self {
            count: us.count,
            mean: millis(us.mean),
            p50: millis(count(us.p50)),
            p95: millis(count(us.p95)),
            p99: millis(count(us.p99)),
            max: millis(count(us.max)),
        }
    }
}

fn ratio(sum: f64, of: u64) -> Option<f64> {
    (of > 0).then(|| sum / count(of))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and only shown")]
const fn count(count: u64) -> f64 {
    count as f64
}

/// All of the API (OpenAPI 3.1): what is answered here and does not stand there fails a test.
const DOCUMENT: &str = include_str!("openapi.json");

/// Calls listed unless a request says otherwise.
const LIMIT_DEFAULT: usize = 100;

/// Most calls listed at once.
const LIMIT_MAX: usize = 1000;
