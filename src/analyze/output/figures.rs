//! Numbers and times as people read them; what is not known is `-`.
//!
//! Never computes a figure.

use std::time::Duration;

use crate::time::Timestamp;

/// A number with that many decimals.
pub(super) fn decimal(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(unknown, |value| format!("{value:.decimals$}"))
}

/// A whole number as it is, for tables.
pub(super) fn whole(value: Option<u64>) -> String {
    value.map_or_else(unknown, |value| value.to_string())
}

/// A whole number with commas between the thousands, for sentences.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 call`, `2,000 calls`.
pub(super) fn counted(value: u64, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(value))
}

/// A span of time in the two units that say most: `20.0s`, `1m05s`, `2h30m`.
pub(super) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..60 => format!("{}.{}s", secs, span.subsec_millis() / 100),
        60..3600 => format!("{}m{:02}s", secs / 60, secs % 60),
        _ => format!("{}h{:02}m", secs / 3600, secs / 60 % 60),
    }
}

/// Seconds as a span; `-` for what is no span.
pub(super) fn seconds(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| unknown(), span)
}

/// The date in UTC: `2026-01-31`.
pub(super) fn date(time: Timestamp) -> String {
    split(time).0
}

/// The time of day in UTC: `12:01:40.000`.
pub(super) fn clock(time: Timestamp) -> String {
    split(time).1
}

/// Both of them.
pub(super) fn date_and_clock(time: Timestamp) -> String {
    let (date, clock) = split(time);
    format!("{date} {clock}")
}

/// What is not known.
pub(super) fn unknown() -> String {
    "-".to_owned()
}

fn split(time: Timestamp) -> (String, String) {
    let text = time.to_string();
    let (date, clock) = text.split_once('T').unwrap_or(("", &text));
    (date.to_owned(), clock.trim_end_matches('Z').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "call"), counted(0, "call")], ["1 call", "0 calls"]);
        let spans = [0, 59_999, 60_000, 3_599_999, 3_600_000, 90_060_000];
        let texts = spans.map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(texts, ["0.0s", "59.9s", "1m00s", "59m59s", "1h00m", "25h01m"]);
        assert_eq!(seconds(f64::NAN), "-");
        assert_eq!(seconds(61.0), "1m01s");
        assert_eq!([decimal(Some(2.0), 2), decimal(None, 2), whole(None)], ["2.00", "-", "-"]);
        let time = Timestamp::from_nanos(1_769_860_800_250_000_000);
        assert_eq!(date_and_clock(time), "2026-01-31 12:00:00.250");
        assert_eq!((date(time), clock(time)), ("2026-01-31".into(), "12:00:00.250".into()));
        assert!(!clock(Timestamp::MAX).is_empty());
    }
}
