//! Colours, for those who see them.
//!
//! Never counts as width, never stands in a file.

use anstyle::{AnsiColor, Color, Style};

use crate::quality::Rating;

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink(pub(super) bool);

impl Ink {
    /// `text` in a style, if there are colours.
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        if self.0 && !style.is_plain() && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// The style of a rating: green is good, red is not.
pub(super) const fn of_rating(rating: Rating) -> Style {
    match rating {
        Rating::Excellent | Rating::Good => GOOD,
        Rating::Fair => FAIR,
        Rating::Poor => POOR,
        Rating::Bad => BAD,
    }
}

/// As it is.
pub(super) const PLAIN: Style = Style::new();
/// Titles.
pub(super) const BOLD: Style = Style::new().bold();
/// What is there and matters less.
pub(super) const DIM: Style = Style::new().dimmed();
/// What is as it should be.
pub(super) const GOOD: Style = colour(AnsiColor::Green);
const FAIR: Style = colour(AnsiColor::Yellow);
const POOR: Style = colour(AnsiColor::Red);
/// What somebody should look at.
pub(super) const BAD: Style = colour(AnsiColor::Red).bold();

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}
