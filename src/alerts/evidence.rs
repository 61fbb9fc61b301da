//! What speaks for an alert: the worst calls, and the request that shows them. It judges nothing.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    alert::{Seen, WorstCall},
    engine::Group,
    outcome::Outcome,
    rule::{Comparison, Metric, Rule},
};
use crate::{
    control::record::{CallRecord, Snapshot},
    time::Timestamp,
    trunks::Trunks,
};

/// The request that shows a call.
pub(super) fn call_query(call_id: &str) -> String {
    format!("/api/qos/call/{}", utf8_percent_encode(call_id, NON_ALPHANUMERIC))
}

/// The request that shows the calls of a trunk or the box.
pub(super) fn group_query(metric: Metric, group: &Group, trunks: &Trunks, seen: &Seen) -> String {
    let source = match group {
        Group::Box => String::new(),
        Group::Trunk(name) => {
            let networks = trunks.networks(name).unwrap_or_else(|| name.to_string());
            format!("&source={}", utf8_percent_encode(&networks, NON_ALPHANUMERIC))
        }
    };
    let Seen { since, at, .. } = seen;
    match metric {
        Metric::CallFailureRate | Metric::AbandonedRate => {
            format!("/api/qos/history?state=failed&since={since}&until={at}{source}")
        }
        Metric::OwnLosses | Metric::StoreUnavailable | Metric::RegistrationFailureRate => {
            "/healthz".to_owned()
        }
        Metric::ActiveCalls => "/api/qos/metrics?sort=-start".to_owned(),
        Metric::ActiveCallsDrop => "/api/qos/history?sort=time&order=desc".to_owned(),
        _ if source.is_empty() => match metric {
            Metric::PacketLoss => "/api/qos/metrics?sort=-loss".to_owned(),
            Metric::Jitter => "/api/qos/metrics?sort=-jitter".to_owned(),
            _ => "/api/qos/metrics?sort=mos".to_owned(),
        },
        Metric::PacketLoss => format!("/api/qos/history?sort=loss{source}"),
        Metric::Jitter => format!("/api/qos/history?sort=jitter{source}"),
        _ => format!("/api/qos/history?sort=mos&order=asc{source}"),
    }
}

/// The worst calls of a trunk or the box: by value those that are up, or those that have just
/// failed.
pub(super) fn worst_calls(
    metric: Metric,
    group: &Group,
    snapshot: &Snapshot,
    since: Timestamp,
) -> Vec<WorstCall> {
    let is_its = |call: &&CallRecord| match group {
        Group::Box => true,
        Group::Trunk(name) => call.trunk.is_some_and(|trunk| trunk.to_string() == **name),
    };
    let wanted = match metric {
        Metric::CallFailureRate => Some(Outcome::Failed),
        Metric::AbandonedRate => Some(Outcome::Abandoned),
        _ => None,
    };
    if let Some(wanted) = wanted {
        let recent = snapshot.history.iter().rev().map(AsRef::as_ref);
        let recent = recent.take_while(|call| call.end_time.is_some_and(|end| end >= since));
        let failed = recent.filter(is_its).filter(|call| Outcome::of(call) == wanted);
        let call = |call: &CallRecord| WorstCall { call_id: call.call_id.clone(), value: None };
        return failed.take(WORST).map(call).collect();
    }
    let rule = Rule::of_metric("", metric);
    let active = snapshot.active.iter().map(AsRef::as_ref).filter(is_its);
    let mut valued: Vec<(f64, &CallRecord)> =
        active.filter_map(|call| Some((value(metric, call)?, call))).collect();
    valued.sort_by(|(a, _), (b, _)| match rule.comparison {
        Comparison::Above => b.total_cmp(a),
        Comparison::Below => a.total_cmp(b),
    });
    valued.truncate(WORST);
    let call = |(value, call): (f64, &CallRecord)| WorstCall {
        call_id: call.call_id.clone(),
        value: Some(value),
    };
    valued.into_iter().map(call).collect()
}

/// A call's own figure.
fn value(metric: Metric, call: &CallRecord) -> Option<f64> {
    match metric {
        Metric::Mos => call.score.mos_score,
        Metric::PacketLoss => call.figures.packet_loss_percentage,
        Metric::Jitter => call.jitter_avg_ms,
        Metric::Latency => call.latency_avg_ms,
        _ => None,
    }
}

/// Calls that stand in the evidence.
const WORST: usize = 5;
