//! JSON as it is shown, in the API and by `analyze`: the same value is the same text in both.
//!
//! Never knows what it writes.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// Writes `value` with three decimals at most in its numbers.
///
/// # Errors
///
/// If `to` cannot be written to, or `value` has no form in JSON.
pub(crate) fn write<T: ?Sized + Serialize>(to: impl io::Write, value: &T) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(to, Rounded);
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// Three decimals: a microsecond of what is shown in milliseconds, a thousandth of a MOS. More
/// would be noise, and unreadable.
struct Rounded;

impl Formatter for Rounded {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        // Beyond this a float has no decimals to round.
        let rounded = if value.abs() < 1e12 { (value * 1e3).round() / 1e3 } else { value };
        write!(writer, "{rounded:?}")
    }

    fn write_f32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        self.write_f64(writer, value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_decimals_at_most() {
        let text = |value: f64| {
            let mut bytes = Vec::new();
            write(&mut bytes, &value).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(text(1.0 / 3.0), "0.333");
        assert_eq!(text(-0.0006), "-0.001");
        assert_eq!(text(2.0), "2.0");
        assert_eq!(text(f64::NAN), "null");
    }
}
