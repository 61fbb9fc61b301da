//! A ladder as text: who takes part are its rails, the messages its rungs.
//!
//! Never shows more of a message than its summary.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use anstyle::Style;

use super::{
    figures::{clock, seconds},
    ink::{BAD, BOLD, DIM, GOOD, Ink, PLAIN},
    printable::{cut_end, cut_middle, printable, width},
    table::PAGE,
};
use crate::control::ladder::LadderRow;

/// Draws the rows: as a ladder if its rails have room, else as a list.
pub(super) fn draw(to: &mut dyn Write, ink: Ink, rows: &[LadderRow]) -> io::Result<()> {
    let mut ends: Vec<SocketAddr> = Vec::new();
    for end in rows.iter().flat_map(|row| [row.src, row.dst]) {
        if !ends.contains(&end) {
            ends.push(end);
        }
    }
    let is_to_itself = rows.iter().any(|row| row.src == row.dst);
    if (2..=RAILS_MAX).contains(&ends.len()) && !is_to_itself {
        Ladder::new(ends, rows).draw(to, ink, rows)
    } else {
        list(to, ink, &ends, rows)
    }
}

/// The rails, a step apart.
struct Ladder {
    ends: Vec<SocketAddr>,
    step: usize,
}

impl Ladder {
    fn new(ends: Vec<SocketAddr>, rows: &[LadderRow]) -> Self {
        let steps = ends.len().saturating_sub(1).max(1);
        let longest = rows.iter().map(|row| width(&summary(row, &row.summary))).max();
        let wanted = longest.unwrap_or(0) + ARROW;
        Self { ends, step: wanted.clamp(STEP_MIN, (PAGE - GUTTER - 1) / steps) }
    }

    fn draw(&self, to: &mut dyn Write, ink: Ink, rows: &[LadderRow]) -> io::Result<()> {
        writeln!(to, "{}", self.heads(|end| end.ip().to_string(), ink))?;
        writeln!(to, "{}", self.heads(|end| format!(":{}", end.port()), ink))?;
        for row in rows {
            writeln!(to, "{}{}", gutter(row), self.rung(row, ink))?;
        }
        Ok(())
    }

    /// A text over each rail.
    fn heads(&self, text: impl Fn(&SocketAddr) -> String, ink: Ink) -> String {
        let mut line = String::new();
        let mut column = 0;
        for (at, end) in self.ends.iter().enumerate() {
            // The last one is moved to the left where the page ends: this much has room.
            let text = cut_middle(&text(end), self.step * 2 / 3);
            let middle = GUTTER + at * self.step;
            let start = middle.saturating_sub(width(&text) / 2).min(PAGE - width(&text));
            line.extend(core::iter::repeat_n(' ', start.saturating_sub(column)));
            line += &ink.paint(BOLD, &text);
            column = start + width(&text);
        }
        line
    }

    /// The rails, and an arrow from one to another.
    fn rung(&self, row: &LadderRow, ink: Ink) -> String {
        let rail = |end| self.ends.iter().position(|known| *known == end).unwrap_or(0) * self.step;
        let (from, to) = (rail(row.src), rail(row.dst));
        let (left, right) = (from.min(to), from.max(to));
        let shaft = if row.retransmission { '╌' } else { '─' };
        let end = (self.ends.len() - 1) * self.step;
        let column = |at: usize| match (at.is_multiple_of(self.step), at > left && at < right) {
            _ if at + 1 == to && from < to => '▶',
            _ if at == to + 1 && to < from => '◀',
            (true, true) => '┼',
            (true, false) => '│',
            (false, true) => shaft,
            (false, false) => ' ',
        };
        let label = self.label(row, right - left);
        let start = left + (right - left).saturating_sub(width(&label)) / 2;
        let before: String = (0..start).map(column).collect();
        let behind: String = (start + width(&label)..=end).map(column).collect();
        format!("{before}{}{behind}", ink.paint(style(row), &label))
    }

    /// As much of the summary as an arrow of that length carries.
    fn label(&self, row: &LadderRow, length: usize) -> String {
        let room = length.saturating_sub(ARROW);
        let has_room = width(&summary(row, &row.summary)) <= room;
        let text = match (&row.summary, row.label.split_once(" (")) {
            (full, _) if has_room => full,
            // What it carries was said the first time.
            (_, Some((title, _))) if row.retransmission => title,
            _ => &row.label,
        };
        format!(" {} ", summary(row, &cut_end(&printable(text), room - width(again(row)))))
    }
}

/// One line a message, with a letter for each end.
fn list(to: &mut dyn Write, ink: Ink, ends: &[SocketAddr], rows: &[LadderRow]) -> io::Result<()> {
    for (at, end) in ends.iter().enumerate() {
        writeln!(to, "{:>3}  {end}", name(at))?;
    }
    let name_of = |end| ends.iter().position(|known| *known == end).map_or_else(String::new, name);
    for row in rows {
        let way = format!("{:>3} → {:<3}  ", name_of(row.src), name_of(row.dst));
        let room = PAGE - GUTTER - width(&way) - width(again(row));
        let text = summary(row, &cut_end(&printable(&row.summary), room));
        writeln!(to, "{}{way}{}", gutter(row), ink.paint(style(row), &text))?;
    }
    Ok(())
}

/// Time of day, and time since the message before.
fn gutter(row: &LadderRow) -> String {
    let delta = match row.delta_ms {
        None => String::new(),
        Some(ms) if ms < DELTA_MAX_MS => format!("+{:.3}", ms / 1e3),
        Some(ms) => format!("+{}", seconds(ms / 1e3)),
    };
    format!("{}  {delta:>10}  ", clock(row.time))
}

/// A summary that says whether the message came before.
fn summary(row: &LadderRow, text: &str) -> String {
    printable(text) + again(row)
}

const fn again(row: &LadderRow) -> &'static str {
    if row.retransmission { " again" } else { "" }
}

fn style(row: &LadderRow) -> Style {
    match row.summary.as_bytes().first() {
        _ if row.retransmission => DIM,
        Some(b'2') => GOOD,
        Some(b'4'..=b'6') => BAD,
        _ => PLAIN,
    }
}

/// `A` to `Z`, then `A1`, `B1` and so on.
fn name(at: usize) -> String {
    let letter = char::from(u8::try_from(at % LETTERS).map_or(b'?', |at| b'A' + at));
    match at / LETTERS {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// Columns of the times at the left.
const GUTTER: usize = 26;

/// A time since the message before, milliseconds, that is shown to the millisecond: beyond it
/// nobody asks for them, and the gutter has no room.
const DELTA_MAX_MS: f64 = 1e7;

/// Rails that have room on a page.
const RAILS_MAX: usize = 4;

/// Columns between two rails at least: those of four on a page.
const STEP_MIN: usize = 24;

/// Columns that an arrow takes beside its label: the rail, a blank on each side, the head and a
/// piece of the shaft on each side.
const ARROW: usize = 6;

/// Letters of the alphabet.
const LETTERS: usize = 26;

const _: () = assert!(GUTTER + (RAILS_MAX - 1) * STEP_MIN < PAGE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples::{address, at_ms};

    fn rows(ways: &[(usize, usize)]) -> Vec<LadderRow> {
        let row = |(at, &(from, to)): (usize, &(usize, usize))| LadderRow {
            time: at_ms(u64::try_from(at).unwrap()),
            src: address(from),
            dst: address(to),
            transport: "udp",
            summary: "BYE sip:a@192.0.2.9".to_owned(),
            retransmission: false,
            delta_ms: (at > 0).then_some(1.0),
            raw: None,
            label: "BYE".to_owned(),
        };
        ways.iter().enumerate().map(row).collect()
    }

    fn drawn(ways: &[(usize, usize)]) -> Vec<String> {
        let mut text = Vec::new();
        draw(&mut text, Ink(false), &rows(ways)).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_arrow_crosses_the_rails_between() {
        let lines = drawn(&[(1, 2), (2, 3), (3, 4), (4, 1)]);
        let rungs: Vec<_> =
            lines[2..].iter().map(|line| line.chars().skip(GUTTER).collect::<String>()).collect();
        assert_eq!(
            rungs,
            [
                "│──────── BYE ─────────▶│                       │                       │",
                "│                       │──────── BYE ─────────▶│                       │",
                "│                       │                       │──────── BYE ─────────▶│",
                "│◀──────────────────────┼ BYE sip:a@192.0.2.9 ──┼───────────────────────│",
            ]
        );
    }

    #[test]
    fn four_rails_fit_and_five_are_a_list() {
        let four = drawn(&[(1, 2), (2, 3), (3, 4), (4, 1)]);
        assert!(four.iter().all(|line| width(line) <= PAGE), "{four:?}");
        let five = drawn(&[(1, 2), (2, 3), (3, 4), (4, 5)]);
        assert_eq!(five[4], "  E  192.0.2.5:5060");
        assert_eq!(five[8], "12:00:00.003      +0.001    D → E    BYE sip:a@192.0.2.9");
    }

    #[test]
    fn a_message_to_its_sender_is_in_a_list() {
        assert_eq!(
            drawn(&[(1, 1)]),
            ["  A  192.0.2.1:5060", "12:00:00.000                A → A    BYE sip:a@192.0.2.9",]
        );
        assert!(drawn(&[]).is_empty());
    }

    #[test]
    fn letters_do_not_run_out() {
        assert_eq!([0, 25, 26, 77].map(name), ["A", "Z", "A1", "Z2"]);
    }
}
