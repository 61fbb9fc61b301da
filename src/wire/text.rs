//! The lexical ground that SIP and SDP share: numbers and the parts around a separator.
//!
//! Never knows which protocol it reads.

use memchr::memchr;

/// An unsigned number in decimal digits and nothing else; `None` if it does not fit.
pub(super) fn decimal<T: TryFrom<u32>>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u32, |number, &digit| {
        let digit = Some(digit.wrapping_sub(b'0')).filter(|&digit| digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })?;
    T::try_from(number).ok()
}

/// What stands before and behind the first `byte`; all and nothing if there is none.
pub(super) fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match memchr(byte, text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// The first word, and the rest without blanks in front.
pub(super) fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(decimal(b"0068"), Some(68_u32));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        for bad in [&b""[..], b"4294967296", b"-1", b"+1", b"1 ", b"x"] {
            assert_eq!(decimal::<u32>(bad), None);
        }
        assert_eq!((decimal(b"65535"), decimal::<u16>(b"65536")), (Some(u16::MAX), None));
    }

    #[test]
    fn separators_are_taken_out() {
        assert_eq!(split_at_byte(b"a:b:c", b':'), (&b"a"[..], &b"b:c"[..]));
        assert_eq!(split_at_byte(b"a", b':'), (&b"a"[..], &b""[..]));
        assert_eq!(split_word(b"a \t b c "), (&b"a"[..], &b"b c "[..]));
        assert_eq!(split_word(b""), (&b""[..], &b""[..]));
    }
}
