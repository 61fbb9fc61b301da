//! Text of the network made fit for a terminal: no escape sequences, and a known width.
//!
//! Never changes what goes into JSON.

use unicode_width::UnicodeWidthChar as _;

/// `text` with a `?` in place of every character that moves, hides or recolours what stands on
/// a terminal: controls, and all that has no width of its own.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { '?' }).collect()
}

/// The columns that printable text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// The beginning of `text`, with `…` behind it if something is missing.
pub(super) fn cut_end(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let mut cut = head(text, room).to_owned();
    cut.extend((columns > 0).then_some(ELLIPSIS));
    cut
}

/// The beginning and the end of `text`, with `…` between if something is missing: of an address
/// both the network and the port stay.
pub(super) fn cut_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let (left, right) = (head(text, room / 2), tail(text, room - room / 2));
    let ellipsis = if columns > 0 { ELLIPSIS } else { return String::new() };
    format!("{left}{ellipsis}{right}")
}

fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|&(_, c)| {
        used += char_width(c);
        used > columns
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

fn tail(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let start = text.char_indices().rev().take_while(|&(_, c)| {
        used += char_width(c);
        used <= columns
    });
    &text[start.last().map_or(text.len(), |(at, _)| at)..]
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

fn is_printable(c: char) -> bool {
    // Separators of lines and paragraphs end a line on some terminals.
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}') && char_width(c) > 0
}

/// Stands for what was cut.
const ELLIPSIS: char = '…';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_a_question_mark() {
        assert_eq!(printable("a\x1b[31mb\r\n\u{9b}2J"), "a?[31mb???2J");
        assert_eq!(printable("x\u{202e}y\u{200b}e\u{301}"), "x?y?e?");
        assert_eq!(printable("Zoë 你好"), "Zoë 你好");
        assert_eq!(width("Zoë 你好"), 8);
    }

    #[test]
    fn a_cut_is_seen() {
        assert_eq!(cut_end("abcdef", 6), "abcdef");
        assert_eq!(cut_end("abcdef", 5), "abcd…");
        assert_eq!(cut_end("你好你", 5), "你好…");
        assert_eq!(cut_end("abcdef", 0), "");
        assert_eq!(cut_middle("[2001:db8::1]:5060", 11), "[2001…:5060");
        assert_eq!(cut_middle("abcdef", 6), "abcdef");
        assert_eq!(cut_middle("abcdef", 1), "…");
        assert_eq!(cut_middle("abcdef", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_its_room(text in any::<String>(), columns in 0_usize..50) {
            let text = printable(&text);
            prop_assert!(text.chars().all(|c| !c.is_control()));
            prop_assert!(width(&cut_end(&text, columns)) <= columns);
            prop_assert!(width(&cut_middle(&text, columns)) <= columns);
        }
    }
}
