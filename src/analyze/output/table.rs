//! A table of text that is never wider than a page.
//!
//! Never knows what its cells mean.

use std::io::{self, Write};

use anstyle::Style;

use super::{
    ink::{BOLD, Ink, PLAIN},
    printable::{cut_end, cut_middle, printable, width},
};

/// Columns that fit the page, and rows.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) title: &'static str,
    /// What stands in it.
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers, right-aligned.
    Number,
    /// Words of a known length.
    Word,
    /// Text of any length, whose beginning says most: it gives way first.
    Text,
    /// Text of any length, of which both ends matter: gives way as well.
    Ends,
}

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style; what a terminal would obey is taken out of its text.
    pub(super) fn styled(text: &str, style: Style) -> Self {
        Self { text: printable(text), style }
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its style.
    pub(super) const fn style(&self) -> Style {
        self.style
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text.as_ref(), PLAIN)
    }
}

impl Table {
    /// No rows yet.
    pub(super) const fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// How many rows there are.
    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Writes titles and rows.
    pub(super) fn write(&self, to: &mut dyn Write, ink: Ink) -> io::Result<()> {
        let (widths, gap) = self.widths();
        let titles: Vec<_> =
            self.columns.iter().map(|column| Cell::styled(column.title, BOLD)).collect();
        for row in core::iter::once(&titles).chain(&self.rows) {
            let cells = self.columns.iter().zip(row).zip(&widths);
            let mut line = String::new();
            // Blanks are owed until something follows them: no line ends in one.
            let mut blanks = 0;
            for ((column, cell), &columns) in cells {
                let text = column.kind.cut(&cell.text, columns);
                let missing = columns.saturating_sub(width(&text));
                if column.kind == Kind::Number {
                    blanks += missing;
                }
                if !text.is_empty() {
                    line.extend(core::iter::repeat_n(' ', core::mem::take(&mut blanks)));
                    line += &ink.paint(cell.style, &text);
                }
                blanks += gap + if column.kind == Kind::Number { 0 } else { missing };
            }
            writeln!(to, "{line}")?;
        }
        Ok(())
    }

    /// The widths of the columns, and the blanks between them. Each is as wide as its widest
    /// cell; if that is too much, the blanks give way, then the widest, long texts first.
    fn widths(&self) -> (Vec<usize>, usize) {
        let cell_width = |row: &Vec<Cell>, at: usize| row.get(at).map_or(0, |c| width(&c.text));
        let mut widths: Vec<_> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let widest = self.rows.iter().map(|row| cell_width(row, at)).max();
                widest.unwrap_or(0).max(width(column.title))
            })
            .collect();
        let gaps = widths.len().saturating_sub(1);
        let gap = if widths.iter().sum::<usize>() + GAP * gaps > PAGE { GAP_MIN } else { GAP };
        let room = PAGE.saturating_sub(gap * gaps);
        self.shrink(&mut widths, room, |kind| matches!(kind, Kind::Text | Kind::Ends), TEXT_MIN);
        self.shrink(&mut widths, room, |_| true, 1);
        (widths, gap)
    }

    fn shrink(&self, widths: &mut [usize], room: usize, may: fn(Kind) -> bool, least: usize) {
        let mut excess = widths.iter().sum::<usize>().saturating_sub(room);
        while excess > 0 {
            let candidates = widths.iter_mut().zip(&self.columns);
            let widest = candidates
                .filter(|(width, column)| may(column.kind) && **width > least)
                .max_by_key(|(width, _)| **width);
            let Some((width, _)) = widest else { return };
            *width -= 1;
            excess -= 1;
        }
    }
}

impl Kind {
    fn cut(self, text: &str, columns: usize) -> String {
        match self {
            Self::Ends => cut_middle(text, columns),
            Self::Number | Self::Word | Self::Text => cut_end(text, columns),
        }
    }
}

/// Columns of a page.
pub(super) const PAGE: usize = 100;

/// Blanks between columns.
const GAP: usize = 2;

/// Blanks between columns where there is little room.
const GAP_MIN: usize = 1;

/// Columns below which a long text says nothing any more.
const TEXT_MIN: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn column(title: &'static str, kind: Kind) -> Column {
        Column { title, kind }
    }

    fn text(table: &Table, colours: bool) -> String {
        let mut text = Vec::new();
        table.write(&mut text, Ink(colours)).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn numbers_are_right_aligned_and_long_texts_give_way() {
        let columns =
            [column("id", Kind::Text), column("n", Kind::Number), column("x", Kind::Word)];
        let mut table = Table::new(columns.to_vec());
        table.push(vec!["a".into(), "7".into(), "y".into()]);
        table.push(vec!["bcd".into(), "4711".into(), "".into()]);
        assert_eq!(text(&table, false), "id      n  x\na       7  y\nbcd  4711\n");
        table.push(vec!["i".repeat(200).into(), "1".into(), "z".into()]);
        let page = text(&table, false);
        let last = page.lines().last().unwrap();
        assert_eq!(width(last), PAGE);
        assert!(last.ends_with("i…    1 z"), "{last}");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new(vec![column("a", Kind::Number), column("b", Kind::Word)]);
        table.push(vec![Cell::styled("1.0", BOLD), "x".into()]);
        let coloured = text(&table, true);
        assert!(coloured.ends_with("\n\x1b[1m1.0\x1b[0m  x\n"), "{coloured:?}");
        let plain = coloured.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(plain, text(&table, false));
    }

    proptest! {
        #[test]
        fn a_page_is_never_passed(rows in vec(vec(any::<String>(), 9), 0..5)) {
            let kinds = [Kind::Text, Kind::Number, Kind::Ends, Kind::Word, Kind::Number];
            let columns = (0..9).map(|at| column("title", kinds[at % kinds.len()])).collect();
            let mut table = Table::new(columns);
            for row in &rows {
                table.push(row.iter().map(Cell::from).collect());
            }
            let page = text(&table, false);
            prop_assert_eq!(page.lines().count(), rows.len() + 1);
            for line in page.lines() {
                prop_assert!(width(line) <= PAGE, "{}", line);
            }
        }
    }
}
