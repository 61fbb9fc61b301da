//! Application-defined packets (RFC 3550 section 6.7): an application's own.
//!
//! Never looks into the application's data.

use super::WORD_LEN;
use crate::id::Ssrc;

/// An application-defined packet (RFC 3550 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a> {
    /// The source that sends it.
    pub ssrc: Ssrc,
    /// Its kind among those of one name, 0 to 31.
    pub subtype: u8,
    /// Four ASCII characters that name the application.
    pub name: [u8; 4],
    /// The application's data.
    pub data: &'a [u8],
}

impl<'a> App<'a> {
    pub(super) fn new(subtype: u8, body: &'a [u8]) -> Result<Self, usize> {
        let [s0, s1, s2, s3, n0, n1, n2, n3, data @ ..] = body else {
            return Err(2 * WORD_LEN);
        };
        let ssrc = Ssrc(u32::from_be_bytes([*s0, *s1, *s2, *s3]));
        Ok(Self { ssrc, subtype, name: [*n0, *n1, *n2, *n3], data })
    }
}
