//! Whole numbers in as many bytes as they need: seven bits a byte, the lowest first (LEB128).
//! It never panics on what it reads.

/// Appends a number.
pub(super) fn write(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(u8::try_from(value & 0x7F).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    to.push(u8::try_from(value).unwrap_or(0));
}

/// Takes a number off the front; `None` if there is none.
pub(super) fn read(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7F);
        value |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            let mut rest = &bytes[..];
            assert_eq!((read(&mut rest), rest), (Some(value), &b""[..]));
        }
        assert_eq!(read(&mut &[0x80; 11][..]), None);
        assert_eq!(read(&mut &b""[..]), None);
    }
}
