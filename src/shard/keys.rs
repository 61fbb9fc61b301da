//! Keys for SRTP: one for each call, from a secret that comes from outside.
//!
//! They are told to the far end because an answer must have one; nothing is ever encrypted with
//! them, since encrypted media is only listened to.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::hmac;

/// The secret that the keys of all calls are made from.
#[derive(Clone, Copy, Default)]
pub struct KeySource([u8; SECRET_LEN]);

impl KeySource {
    /// From a secret of a strong random source; a simulation may have any.
    #[must_use]
    pub const fn new(secret: [u8; SECRET_LEN]) -> Self {
        Self(secret)
    }

    /// Master key and salt of a call in base64, as a `crypto` attribute has them (RFC 4568 section
    /// 6.1): a pseudo-random function of what names the call, so that each has its own and keeps
    /// it.
    pub(super) fn master(&self, name: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        BASE64_STANDARD.encode(&hmac::sign(&key, name).as_ref()[..KEY_AND_SALT_LEN])
    }
}

impl core::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeySource")
    }
}

/// Octets of the secret.
pub const SECRET_LEN: usize = 32;

/// A key of 128 bits and a salt of 112 (RFC 4568 section 6.2).
const KEY_AND_SALT_LEN: usize = 16 + 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_own_key_and_none_is_shown() {
        let source = KeySource::new([7; SECRET_LEN]);
        let first = source.master(b"a");
        assert_eq!(first.len(), 40);
        assert_eq!(source.master(b"a"), first);
        assert_ne!(source.master(b"b"), first);
        assert_ne!(KeySource::default().master(b"a"), first);
        assert_eq!(format!("{source:?}"), "KeySource");
    }
}
