//! `/api/qos/reports`: what phones say of calls (RFC 6035), those that nobody here knows included.

use std::collections::HashSet;

use serde::Serialize;

use super::reply::Reply;
use crate::control::{phone_reports::PhoneView, record::Snapshot};

/// The body.
#[derive(Serialize)]
struct Reported<'a> {
    /// Calls that there are reports of, however many are listed.
    calls: usize,
    /// Of these, neither up nor among the finished calls in memory.
    unknown_calls: usize,
    reports: Vec<OfCall<'a>>,
}

/// The reports about one call.
#[derive(Serialize)]
struct OfCall<'a> {
    call_id: &'a str,
    /// Whether the call is up or among the finished calls in memory.
    is_known: bool,
    reports: Vec<&'a PhoneView>,
}

/// Lists them, the calls that were reported of last before the others.
pub(super) fn list((limit, offset): (usize, usize), snapshot: &Snapshot) -> Reply {
    let calls = snapshot.active.iter().chain(&snapshot.history);
    let known: HashSet<&str> = calls.map(|call| call.call_id.as_str()).collect();
    let all = || snapshot.phone_reports.iter();
    Reply::json(&Reported {
        calls: all().count(),
        unknown_calls: all().filter(|(call_id, _)| !known.contains(call_id)).count(),
        reports: all()
            .rev()
            .skip(offset)
            .take(limit)
            .map(|(call_id, reports)| OfCall {
                call_id,
                is_known: known.contains(call_id),
                reports: reports.iter().map(AsRef::as_ref).collect(),
            })
            .collect(),
    })
}
