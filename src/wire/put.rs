//! Text that protocols write: pieces one after the other, without the machinery of formatting,
//! which costs more than all else about a short message.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

/// Appends pieces of text to a `Vec<u8>`: each is a [`Put`].
macro_rules! put {
    ($out:expr, $($piece:expr),+ $(,)?) => {{
        let out: &mut Vec<u8> = $out;
        $($crate::wire::put::Put::put($piece, out);)+
    }};
}

pub(crate) use put;

/// A piece of text.
pub(crate) trait Put {
    /// Appends it.
    fn put(self, out: &mut Vec<u8>);
}

impl Put for &[u8] {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl Put for &str {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

/// In decimal digits.
impl Put for u64 {
    fn put(mut self, out: &mut Vec<u8>) {
        let mut digits = [0; DECIMAL_LEN_MAX];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = digit(self % 10);
            self /= 10;
            if self == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[start..]);
    }
}

/// The same; addresses are made of these.
impl Put for u8 {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        if self >= 100 {
            out.push(b'0' + self / 100);
        }
        if self >= 10 {
            out.push(b'0' + self / 10 % 10);
        }
        out.push(b'0' + self % 10);
    }
}

macro_rules! put_as_u64 {
    ($($number:ty)+) => {$(
        impl Put for $number {
            #[inline]
            fn put(self, out: &mut Vec<u8>) {
                u64::from(self).put(out);
            }
        }
    )+};
}

put_as_u64!(u16 u32);

impl Put for usize {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        (self as u64).put(out);
    }
}

/// All of a number in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex(pub(crate) u64);

impl Put for Hex {
    fn put(self, out: &mut Vec<u8>) {
        let digits: [u8; HEX_LEN] =
            core::array::from_fn(|at| digit(self.0 >> (4 * (HEX_LEN - 1 - at)) & 0xF));
        out.extend_from_slice(&digits);
    }
}

impl Put for IpAddr {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                put!(out, a, ".", b, ".", c, ".", d);
            }
            // Writing into a Vec cannot fail.
            Self::V6(v6) => drop(write!(out, "{v6}")),
        }
    }
}

/// Address and port.
impl Put for SocketAddr {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::V4(v4) => put!(out, IpAddr::V4(*v4.ip()), ":", v4.port()),
            Self::V6(v6) => drop(write!(out, "{v6}")),
        }
    }
}

/// The digit of a base up to 16.
const fn digit(value: u64) -> u8 {
    DIGITS[(value & 0xF) as usize]
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Digits of the longest number.
const DECIMAL_LEN_MAX: usize = 20;

/// Digits that [`Hex`] has.
pub(crate) const HEX_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: impl Put) -> String {
        let mut out = Vec::new();
        piece.put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pieces_are_written_as_formatting_writes_them() {
        for number in [0, 7, 10, 255, 65_535, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(text(number), number.to_string());
            assert_eq!(text(Hex(number)), format!("{number:016x}"));
        }
        for address in ["192.0.2.10:5060", "[2001:db8::1]:5060", "[fe80::1%2]:1", "0.0.0.0:0"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(text(address), address.to_string());
            assert_eq!(text(address.ip()), address.ip().to_string());
        }
        for number in 0..=u8::MAX {
            assert_eq!(text(number), number.to_string());
        }
        let mut out = b"a".to_vec();
        put!(&mut out, "b", 1_u8, &b"c"[..]);
        assert_eq!(out, b"ab1c");
    }
}
