//! Finished calls over HTTP: lists, single calls, exports. It reads the store, or where there is
//! none, what the snapshot still has.

use core::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    query::{Query, bad},
    reply::Reply,
};
use crate::{
    control::{phone_reports::PhoneView, record::Snapshot},
    json,
    store::{self, Filter, Format, Key, Page, ReadError, Reader},
};

/// What calls can be filtered by.
macro_rules! filters {
    ($($more:literal),*) => {
        &[
            "min_mos", "max_mos", "since", "until", "state", "from", "to", "user_agent", "codec",
            "source", "has_alert", $($more),*
        ]
    };
}

/// The parameters of a list.
pub(super) const LIST_PARAMETERS: &[&str] = filters!("limit", "offset", "sort", "order", "after");

/// The parameters of an export.
pub(super) const EXPORT_PARAMETERS: &[&str] = filters!("format");

/// A page of finished calls. Newest first means last ended first. A call without a score passes
/// no filter by MOS; `since <= start_time < until`.
pub(super) fn list(
    query: &Query,
    page: (usize, usize),
    snapshot: &Snapshot,
    store: Option<&Reader>,
) -> Result<Reply, Reply> {
    let page = read_page(query, page)?;
    let listed = match store {
        Some(store) => store.page(&page).map_err(|error| unavailable(&error))?,
        None => store::page_of(&snapshot.history, &page),
    };
    let next = listed.next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    Ok(Reply::json_text(format!(
        "{{\"count\":{},\"total\":{},\"metrics\":[{}],\"next\":{next}}}",
        listed.calls.len(),
        listed.total,
        listed.calls.join(","),
    )))
}

/// The last finished call of a Call-ID with its timeline and its messages, if the store has one.
pub(super) fn call(
    call_id: &str,
    with_texts: bool,
    reports: &[Arc<PhoneView>],
    store: Option<&Reader>,
) -> Result<Option<Reply>, Reply> {
    let Some(store) = store else { return Ok(None) };
    let stored = store.call(call_id).map_err(|error| unavailable(&error))?;
    let Some(stored) = stored else { return Ok(None) };
    let fields = stored.call.strip_suffix('}').unwrap_or(&stored.call);
    let ladder = Value::Object(members(stored.ladder.as_deref(), with_texts)).to_string();
    let ladder = ladder.strip_prefix('{').unwrap_or_default();
    let timeline = &stored.timeline;
    let reports = Value::Array(self::reports(call_id, reports, Some(store))?);
    Ok(Some(Reply::json_text(format!(
        "{fields},\"timeline\":{timeline},\"reports\":{reports},{ladder}"
    ))))
}

/// What phones say of a call, oldest first: what the store has, which outlives a restart, and what
/// has come since.
pub(super) fn reports(
    call_id: &str,
    in_memory: &[Arc<PhoneView>],
    store: Option<&Reader>,
) -> Result<Vec<Value>, Reply> {
    let stored = store.map(|store| store.reports(call_id)).transpose();
    let stored = stored.map_err(|error| unavailable(&error))?.unwrap_or_default();
    let mut texts: Vec<Vec<u8>> = stored.into_iter().map(String::into_bytes).collect();
    for report in in_memory {
        let mut text = Vec::new();
        let written = json::write(&mut text, &**report);
        written.map_err(|error| Reply::error(500, &format!("the answer is no JSON: {error}")))?;
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect())
}

/// The messages of the last finished call of a Call-ID, as far as the store has them.
pub(super) fn ladder(
    call_id: &str,
    with_texts: bool,
    store: Option<&Reader>,
) -> Result<Map<String, Value>, Reply> {
    let stored = store.map(|store| store.call(call_id)).transpose();
    let stored = stored.map_err(|error| unavailable(&error))?.flatten();
    Ok(members(stored.and_then(|stored| stored.ladder).as_deref(), with_texts))
}

/// The members of a stored ladder; of one that is not known those of an empty one.
fn members(stored: Option<&str>, with_texts: bool) -> Map<String, Value> {
    let stored = stored.and_then(|stored| serde_json::from_str(stored).ok());
    let Some(Value::Object(mut ladder)) = stored else {
        let empty = [("ladder", Value::Array(Vec::new())), ("ladder_omitted", 0.into())];
        return empty.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    };
    if !with_texts && let Some(rows) = ladder.get_mut("ladder").and_then(Value::as_array_mut) {
        rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| {
            row.remove("raw");
        });
    }
    ladder
}

/// All calls that the filters let through, as a text to be sent while it is made.
pub(super) fn export(query: &Query, store: Option<&Reader>) -> Result<Reply, Reply> {
    let (format, content_type) = match query.get("format") {
        Some("csv") => (Format::Csv, "text/csv; charset=utf-8"),
        Some("jsonl") | None => (Format::JsonLines, "application/x-ndjson"),
        Some(other) => return Err(bad("format", other, "csv or jsonl")),
    };
    let filter = read_filter(query)?;
    let Some(store) = store else { return Err(Reply::error(503, "there is no history")) };
    Ok(Reply::streamed(content_type, store.export(filter, format)))
}

/// What a store that does not answer looks like from outside.
pub(super) fn unavailable(error: &ReadError) -> Reply {
    Reply::error(503, &error.to_string())
}

fn read_page(query: &Query, (limit, offset): (usize, usize)) -> Result<Page, Reply> {
    let key = match query.get("sort") {
        None | Some("time") => Key::Time,
        Some("mos") => Key::Mos,
        Some("loss") => Key::Loss,
        Some("jitter") => Key::Jitter,
        Some("duration") => Key::Duration,
        Some(other) => {
            return Err(bad("sort", other, "time, mos, loss, jitter or duration"));
        }
    };
    let is_ascending = match query.get("order") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(other) => return Err(bad("order", other, "asc or desc")),
    };
    if key != Key::Time && offset > SORTED_OFFSET_MAX {
        let what = format!("at most {SORTED_OFFSET_MAX} with this sort; go on with \"after\"");
        return Err(bad("offset", &offset.to_string(), &what));
    }
    let not_next = |text: &str| bad("after", text, "the \"next\" of a page with this sort");
    let after = match query.get("after") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| not_next(text))?),
    };
    let filter = read_filter(query)?;
    let page = Page { filter, key, is_ascending, limit, offset, after };
    if !page.is_after_of_this_list() {
        return Err(not_next(query.get("after").unwrap_or_default()));
    }
    Ok(page)
}

fn read_filter(query: &Query) -> Result<Filter, Reply> {
    let text = |name| query.get(name).map(str::to_owned);
    Ok(Filter {
        min_mos: query.number("min_mos", MOS)?,
        max_mos: query.number("max_mos", MOS)?,
        since: query.time("since")?,
        until: query.time("until")?,
        is_answered: match query.get("state") {
            None => None,
            Some("ended") => Some(true),
            Some("failed") => Some(false),
            Some(other) => return Err(bad("state", other, "ended or failed")),
        },
        has_alert: match query.get("has_alert") {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(bad("has_alert", other, "true or false")),
        },
        from: text("from"),
        to: text("to"),
        user_agent: text("user_agent"),
        codec: text("codec"),
        source: query.network("source")?,
    })
}

/// What a filter by MOS may ask for.
const MOS: RangeInclusive<f64> = 0.0..=5.0;

/// Most calls that are skipped in a list that must be sorted.
const SORTED_OFFSET_MAX: usize = 100_000;
