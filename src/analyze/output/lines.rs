//! Sentences and lists under a heading, broken at the page's edge.
//!
//! Never breaks a word but one that is wider than the page.

use std::io::{self, Write};

use super::{
    ink::{BOLD, Ink},
    printable::{cut_end, printable, width},
    table::PAGE,
};

/// Writes a heading and words behind it; further lines stand under the first word.
pub(super) fn write_words<'a>(
    to: &mut dyn Write,
    ink: Ink,
    heading: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> io::Result<()> {
    let indent = width(heading) + 1;
    write!(to, "{}", ink.paint(BOLD, heading))?;
    let mut column = indent - 1;
    for word in words {
        let word = cut_end(&printable(word), PAGE - indent);
        let is_full = column + 1 + width(&word) > PAGE;
        if is_full && column >= indent {
            write!(to, "\n{:indent$}{word}", "")?;
            column = indent + width(&word);
        } else {
            write!(to, " {word}")?;
            column += 1 + width(&word);
        }
    }
    writeln!(to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(heading: &str, words: &str) -> String {
        let mut text = Vec::new();
        write_words(&mut text, Ink(false), heading, words.split_whitespace()).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_break_between_words() {
        let words = ["word"; 25].join(" ");
        let expected =
            format!("warning: {}\n         {}\n", ["word"; 18].join(" "), ["word"; 7].join(" "));
        assert_eq!(text("warning:", &words), expected);
        assert_eq!(text("SIP", ""), "SIP\n");
    }

    proptest! {
        #[test]
        fn a_page_is_never_passed(words in any::<String>()) {
            for line in text("warning:", &words).lines() {
                prop_assert!(width(line) <= PAGE, "{}", line);
            }
        }
    }
}
