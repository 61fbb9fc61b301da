//! The table of calls and the table of streams: what of a record stands in which column.
//!
//! Never sorts and never counts rows.

use super::{
    figures::{clock, date, decimal, seconds, unknown, whole},
    ink::{self, DIM, PLAIN},
    printable::cut_end,
    table::{Cell, Column, Kind, PAGE, Table},
};
use crate::{
    control::record::{CallRecord, CallState, EndedBy, Integrity, StreamRecord},
    quality::Rating,
    time::Timestamp,
};

/// What of a call stands in the table, small whatever the network sent.
#[derive(Clone, Debug)]
pub(super) struct CallRow {
    start_time: Timestamp,
    is_suspect: bool,
    cells: Vec<Cell>,
}

impl CallRow {
    /// The row of a call.
    pub(super) fn of(record: &CallRecord) -> Self {
        let is_suspect = record.integrity == Integrity::Suspect;
        let mark = if is_suspect { SUSPECT } else { "" };
        let mos = decimal(record.score.mos_score, 2) + mark;
        Self {
            start_time: record.start_time,
            is_suspect,
            cells: vec![
                ways(record).as_str().into(),
                state(record),
                duration(record).into(),
                record.codec.unwrap_or("-").into(),
                decimal(record.figures.packet_loss_percentage, 2).into(),
                decimal(record.jitter_max_ms, 1).into(),
                Cell::styled(&mos, mos_style(record.score.mos_score)),
                cut_end(&record.call_id, PAGE).into(),
            ],
        }
    }
}

/// The table of calls, and whether one of them is marked as suspect.
pub(super) fn calls(rows: Vec<CallRow>) -> (Table, bool) {
    let dates = || rows.iter().map(|row| date(row.start_time));
    let has_date = dates().any(|date| Some(date) != dates().next());
    let is_suspect = rows.iter().any(|row| row.is_suspect);
    let mut table = Table::new(columns(&CALL_COLUMNS));
    for CallRow { start_time, cells, .. } in rows {
        let time = match date(start_time).get(MONTH..) {
            Some(day) if has_date => format!("{day} {}", clock(start_time)),
            _ => clock(start_time),
        };
        table.push(core::iter::once(time.into()).chain(cells).collect());
    }
    (table, is_suspect)
}

/// What of a stream stands in the table.
#[derive(Clone, Debug)]
pub(super) struct StreamRow {
    cells: Vec<Cell>,
    /// Duplicates and packets out of order, if any.
    disorder: Option<String>,
}

impl StreamRow {
    /// The row of a stream.
    pub(super) fn of(record: &StreamRecord) -> Self {
        let mos = record.mos_cq.or(record.mos_lq);
        let (duplicate, late) = (record.packets_duplicate, record.packets_out_of_order);
        let has_disorder = duplicate.is_some_and(|n| n > 0) || late.is_some_and(|n| n > 0);
        Self {
            cells: vec![
                record.src.to_string().into(),
                format!("→ {}", record.dst).into(),
                record.ssrc.to_string().into(),
                record.codec.unwrap_or("-").into(),
                whole(record.packets_received).into(),
                lost(record).into(),
                pair(record.jitter_mean_ms, record.jitter_max_ms).into(),
                decimal(record.max_delta_ms, 1).into(),
                Cell::styled(&decimal(mos, 2), mos_style(mos)),
            ],
            disorder: has_disorder.then(|| format!("{}/{}", whole(duplicate), whole(late))),
        }
    }
}

/// The table of streams. Duplicates and reordering have a column if there are any.
pub(super) fn streams(rows: Vec<StreamRow>) -> Table {
    let has_disorder = rows.iter().any(|row| row.disorder.is_some());
    let mut titles = columns(&STREAM_COLUMNS);
    if has_disorder {
        titles.insert(DISORDER_AT, Column { title: "dup/ooo", kind: Kind::Number });
    }
    let mut table = Table::new(titles);
    for StreamRow { mut cells, disorder } in rows {
        if has_disorder {
            cells.insert(DISORDER_AT, disorder.as_deref().unwrap_or("0/0").into());
        }
        table.push(cells);
    }
    table
}

/// A MOS in the colour of its rating.
pub(super) fn mos_style(mos: Option<f64>) -> anstyle::Style {
    mos.map_or(PLAIN, |mos| ink::of_rating(Rating::from_mos(mos)))
}

/// Columns from titles and kinds.
pub(super) fn columns(columns: &[(&'static str, Kind)]) -> Vec<Column> {
    columns.iter().map(|&(title, kind)| Column { title, kind }).collect()
}

/// Who called whom, by the user of each URI where it has one.
fn ways(record: &CallRecord) -> String {
    let end = |uri: &Option<String>| uri.as_deref().map_or_else(unknown, party);
    format!("{} → {}", end(&record.from), end(&record.to))
}

/// The user of a URI without a password, or its host, cut to a part of a page.
fn party(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let name = match rest.split_once('@') {
        Some((user, _)) => user.split([':', ';']).next().unwrap_or(user),
        None => rest.split([';', '?']).next().unwrap_or(rest),
    };
    if name.is_empty() { unknown() } else { cut_end(name, PARTY_MAX) }
}

fn state(record: &CallRecord) -> Cell {
    let code = record.status_code.map_or_else(String::new, |code| format!(" {code}"));
    match (record.state, record.ended_by) {
        (CallState::Trying, _) => Cell::styled("trying", DIM),
        (CallState::Ringing, _) => Cell::styled("ringing", DIM),
        (CallState::Active, _) => "active".into(),
        (CallState::Ended, Some(EndedBy::Timeout)) => Cell::styled("timed out", ink::BAD),
        (CallState::Ended, _) => "ended".into(),
        (CallState::Failed, _) => Cell::styled(&format!("failed{code}"), ink::BAD),
    }
}

fn duration(record: &CallRecord) -> String {
    if record.answer_time.is_some() { seconds(record.duration_seconds) } else { unknown() }
}

fn lost(record: &StreamRecord) -> String {
    match (record.packets_lost, record.loss_percentage) {
        (Some(lost), Some(percent)) => format!("{lost} {percent:.2}%"),
        (lost, _) => whole(lost),
    }
}

/// Mean and highest, of which either may be unknown.
fn pair(mean: Option<f64>, max: Option<f64>) -> String {
    match (mean, max) {
        (None, None) => unknown(),
        (mean, max) => format!("{}/{}", decimal(mean, 1), decimal(max, 1)),
    }
}

/// What the marks in the tables and their titles mean.
pub(super) const CALL_UNITS: &str = "loss in %, highest jitter in ms, times in UTC";
/// The same for streams.
pub(super) const STREAM_UNITS: &str = "jitter as mean/highest and longest gap in ms";
/// Stands behind the MOS of a call that we may have harmed ourselves.
const SUSPECT: &str = "*";
/// What it means.
pub(super) const SUSPECT_MEANS: &str =
    "* we lost packets ourselves while the call was up: the figures may blame the network for it";

const CALL_COLUMNS: [(&str, Kind); 9] = [
    ("start", Kind::Word),
    ("from → to", Kind::Text),
    ("state", Kind::Word),
    ("duration", Kind::Number),
    ("codec", Kind::Word),
    ("loss", Kind::Number),
    ("jitter", Kind::Number),
    ("MOS", Kind::Number),
    ("Call-ID", Kind::Text),
];

const STREAM_COLUMNS: [(&str, Kind); 9] = [
    ("source", Kind::Ends),
    ("→ destination", Kind::Ends),
    ("SSRC", Kind::Word),
    ("codec", Kind::Word),
    ("packets", Kind::Number),
    ("lost", Kind::Number),
    ("jitter", Kind::Number),
    ("gap", Kind::Number),
    ("MOS", Kind::Number),
];

/// Duplicates and reordering stand behind the lost packets.
const DISORDER_AT: usize = 6;

/// Where the month begins in a date.
const MONTH: usize = 5;

/// Columns of one party of a call.
const PARTY_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples::{call, failed};

    #[test]
    fn a_party_is_its_user_without_a_password_or_its_host() {
        for (uri, expected) in [
            ("sip:alice@192.0.2.1", "alice"),
            ("sips:alice:secret@192.0.2.1:5061;transport=tls", "alice"),
            ("sip:192.0.2.1:5060;lr", "192.0.2.1:5060"),
            ("sip:@192.0.2.1", "-"),
            ("tel:+49301234", "+49301234"),
            ("", "-"),
        ] {
            assert_eq!(party(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_zero() {
        let row = CallRow::of(&failed("a", 0, 503));
        let texts: Vec<_> = row.cells.iter().map(Cell::text).collect();
        assert_eq!(texts, ["alice → echo", "failed 503", "-", "-", "-", "-", "-", "a"]);
    }

    #[test]
    fn a_capture_of_two_days_shows_the_day() {
        let shown = |seconds: [u64; 2]| {
            let rows = seconds.map(|second| CallRow::of(&call("a", second, None))).to_vec();
            let mut text = Vec::new();
            calls(rows).0.write(&mut text, ink::Ink(false)).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert!(shown([0, 1]).contains("\n12:00:00.000 "));
        assert!(shown([0, 86_400]).contains("\n01-31 12:00:00.000 "));
    }
}
