//! One call as text: its facts, its ladder, its streams, its quality over time.
//!
//! Never adds a figure to those of the record.

use std::io::{self, Write};

use super::{
    drawing,
    figures::{clock, count, counted, date_and_clock, decimal, seconds, unknown, whole},
    ink::{BOLD, DIM, Ink},
    printable::{cut_end, cut_middle, printable},
    table::{Cell, Kind, PAGE, Table},
    tables::{STREAM_UNITS, StreamRow, columns, mos_style, streams},
    text::{write_head, write_warnings},
};
use crate::{
    analyze::{ladder::Ladder, summary::Summary},
    control::record::{
        CallRecord, CallState, Direction, EndedBy, Integrity, StreamRecord, TimelinePoint,
    },
    quality::Impairments,
};

/// Writes all there is to see of a call.
pub(super) fn write(
    record: &CallRecord,
    summary: &Summary,
    ink: Ink,
    to: &mut dyn Write,
) -> io::Result<()> {
    write_head(to, ink, summary, &[])?;
    writeln!(to)?;
    write_facts(record, ink, to)?;
    if let Some(ladder) = &summary.ladder {
        write_ladder(ladder, ink, to)?;
    }
    write_streams(record, ink, to)?;
    for direction in [Direction::Rx, Direction::Tx] {
        write_timeline(&record.timeline, direction, ink, to)?;
    }
    if !summary.warnings.is_empty() {
        writeln!(to)?;
    }
    write_warnings(to, ink, summary)
}

fn write_facts(record: &CallRecord, ink: Ink, to: &mut dyn Write) -> io::Result<()> {
    let text = |text: &Option<String>| text.as_deref().map_or_else(unknown, without_password);
    let quality = Cell::styled(&quality(record), mos_style(record.score.mos_score));
    let facts: [(&str, Cell); 12] = [
        ("Call-ID", Cell::styled(&cut_middle(&printable(&record.call_id), FACT_MAX), BOLD)),
        ("from", text(&record.from).into()),
        ("to", text(&record.to).into()),
        ("user agent", text(&record.user_agent).into()),
        ("state", state(record).into()),
        ("began", began(record).into()),
        ("answered", record.answer_time.map_or_else(unknown, clock).into()),
        ("over", over(record).into()),
        ("packets", packets(record).into()),
        ("jitter", spread(record.jitter_avg_ms, record.jitter_max_ms).into()),
        ("round trip", spread(record.latency_avg_ms, record.latency_max_ms).into()),
        ("quality", quality),
    ];
    for (name, fact) in facts {
        let text = ink.paint(fact.style(), &cut_end(fact.text(), FACT_MAX));
        writeln!(to, "{}{:blanks$}{text}", ink.paint(DIM, name), "", blanks = FACT - name.len())?;
    }
    Ok(())
}

fn write_ladder(ladder: &Ladder, ink: Ink, to: &mut dyn Write) -> io::Result<()> {
    let rows = ladder.rows();
    let mut transports: Vec<_> = rows.iter().map(|row| row.transport).collect();
    transports.dedup();
    transports.truncate(TRANSPORTS_MAX);
    let over = if transports.is_empty() { String::new() } else { transports.join(", ") };
    let title = counted(ladder.messages(), "SIP message");
    writeln!(to, "\n{}  {}", ink.paint(BOLD, &title), ink.paint(DIM, &over))?;
    match ladder.omitted() {
        0 => {}
        more => writeln!(to, "… the last {} of them", count(ladder.messages() - more))?,
    }
    drawing::draw(to, ink, &rows)
}

fn write_streams(record: &CallRecord, ink: Ink, to: &mut dyn Write) -> io::Result<()> {
    let records: Vec<_> = record.streams.records().collect();
    let title = counted(u64::try_from(records.len()).unwrap_or(u64::MAX), "stream");
    if records.is_empty() {
        return writeln!(to, "\n{}", ink.paint(BOLD, &title));
    }
    writeln!(to, "\n{}  {}", ink.paint(BOLD, &title), ink.paint(DIM, STREAM_UNITS))?;
    streams(records.iter().map(StreamRow::of).collect()).write(to, ink)?;
    for stream in &records {
        if let Some(costs) = costs(stream) {
            writeln!(to, "{}  {costs}", stream.ssrc)?;
        }
    }
    Ok(())
}

/// What the codec and the network took from the rating of a stream; without either, why not.
fn costs(stream: &StreamRecord) -> Option<String> {
    let Some((rating, taken)) = stream.r_factor.zip(stream.impairments) else {
        return stream.mos_reason.map(|reason| format!("no score: {reason}"));
    };
    let Impairments { codec, loss, burst, discard, delay } = taken;
    let perfect = rating + codec + loss + burst + discard + delay;
    Some(format!(
        "R {rating:.1} of {perfect:.1}: codec {codec:.1}, loss {loss:.1}, burst {burst:.1}, \
         discard {discard:.1}, delay {delay:.1}",
    ))
}

fn write_timeline(
    timeline: &[TimelinePoint],
    wanted: Direction,
    ink: Ink,
    to: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table::new(columns(&TIMELINE_COLUMNS));
    for point in timeline.iter().filter(|point| point.direction == wanted) {
        let mos = point.mos.map(f64::from);
        let mark = if point.integrity == Integrity::Suspect { "own loss" } else { "" };
        table.push(vec![
            clock(point.time).into(),
            point.packets_received.to_string().into(),
            point.packets_lost.to_string().into(),
            point.packets_discarded.to_string().into(),
            decimal(Some(point.jitter_ms.into()), 1).into(),
            Cell::styled(&decimal(mos, 2), mos_style(mos)),
            Cell::styled(&bar(mos), mos_style(mos)),
            mark.into(),
        ]);
    }
    if table.len() == 0 {
        return Ok(());
    }
    let way = match wanted {
        Direction::Rx => "rx",
        Direction::Tx => "tx",
    };
    let title = ink.paint(BOLD, &format!("Quality over time, {way}"));
    writeln!(to, "\n{title}  {}", ink.paint(DIM, "by end of interval, UTC; jitter in ms"))?;
    table.write(to, ink)
}

/// A MOS as a bar: nothing at 1, all of it at 5, half a block a step.
fn bar(mos: Option<f64>) -> String {
    let Some(mos) = mos else { return String::new() };
    let share = (mos - MOS_LEAST) / (MOS_MOST - MOS_LEAST);
    let is_full = |part: f64| share >= part / f64::from(BAR);
    let blocks = (1..=BAR).map(|block| match f64::from(block) {
        block if is_full(block) => '█',
        block if is_full(block - 0.5) => '▌',
        _ => ' ',
    });
    blocks.collect::<String>().trim_end().to_owned()
}

fn state(record: &CallRecord) -> String {
    let state = match record.state {
        CallState::Trying => "trying",
        CallState::Ringing => "ringing",
        CallState::Active => "active",
        CallState::Ended => "ended",
        CallState::Failed => "failed",
    };
    let code = record.status_code.map_or_else(String::new, |code| format!(", status {code}"));
    let by = match record.ended_by {
        None => "",
        Some(EndedBy::Caller) => ", by the caller",
        Some(EndedBy::Callee) => ", by the callee",
        Some(EndedBy::Timeout) => ", by time-out",
    };
    let suspect = match record.integrity {
        Integrity::Clean => String::new(),
        Integrity::Suspect => {
            format!("; suspect: {} packets or reports lost here", record.own_drops)
        }
    };
    format!("{state}{code}{by}{suspect}")
}

fn began(record: &CallRecord) -> String {
    let delay =
        record.signalling.srd_ms.map(|delay| format!(", SRD {delay:.1} ms")).unwrap_or_default();
    format!("{} UTC{delay}", date_and_clock(record.start_time))
}

fn over(record: &CallRecord) -> String {
    let Some(ended) = record.end_time else { return unknown() };
    let answered = record.answer_time.map(|_| seconds(record.duration_seconds));
    let speech = answered.map(|span| format!(", {span} after the answer")).unwrap_or_default();
    clock(ended) + &speech
}

fn packets(record: &CallRecord) -> String {
    let figures = &record.figures;
    let codec = record.codec.unwrap_or("-");
    let Some(received) = figures.packets_received else { return unknown() };
    format!(
        "{} {codec} received, {} lost ({} %), {} duplicate, {} out of order, {} discarded",
        count(received),
        whole(figures.packets_lost),
        decimal(figures.packet_loss_percentage, 2),
        whole(figures.packets_duplicate),
        whole(figures.packets_out_of_order),
        whole(figures.packets_discarded),
    )
}

fn spread(mean: Option<f64>, max: Option<f64>) -> String {
    match (mean, max) {
        (None, None) => unknown(),
        (mean, max) => format!("mean {} ms, highest {} ms", decimal(mean, 1), decimal(max, 1)),
    }
}

fn quality(record: &CallRecord) -> String {
    let score = &record.score;
    let reason = score.mos_reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let Some(mos) = score.mos_score else { return format!("-{reason}") };
    let rating = score.quality_rating.map_or_else(String::new, |rating| format!(" {rating:?}"));
    let basis = score.mos_basis.map_or_else(String::new, |basis| format!(", {basis}"));
    format!("MOS {mos:.2}{rating}, R {}{basis}{reason}", decimal(score.r_factor, 1))
}

/// A URI of From or To may hold a password before its host (RFC 3261 section 19.1.1).
fn without_password(uri: &str) -> String {
    let is_user = |(scheme, rest): (&str, &str)| {
        let (user, host) = rest.split_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}:{name}@{host}"))
    };
    uri.split_once(':').and_then(is_user).unwrap_or_else(|| uri.to_owned())
}

const TIMELINE_COLUMNS: [(&str, Kind); 8] = [
    ("until", Kind::Word),
    ("packets", Kind::Number),
    ("lost", Kind::Number),
    ("discarded", Kind::Number),
    ("jitter", Kind::Number),
    ("MOS", Kind::Number),
    ("", Kind::Word),
    ("", Kind::Word),
];

/// The scale of opinion (ITU-T P.800).
const MOS_LEAST: f64 = 1.0;
const MOS_MOST: f64 = 5.0;

/// Blocks of a bar.
const BAR: u32 = 32;

/// Columns before a fact.
const FACT: usize = 12;

/// Columns of a fact.
const FACT_MAX: usize = PAGE - FACT;

/// Changes of transport that a title names.
const TRANSPORTS_MAX: usize = 4;
