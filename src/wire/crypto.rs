//! The `crypto` attribute of SDP (RFC 4568), by which keys for SRTP are exchanged.
//!
//! Reads which suite is meant, and never the key: nothing here decrypts.

use super::text::{decimal, split_word};

/// A suite of SRTP that RFC 4568 section 6.2 defines and that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// AES-128 in counter mode, authentication tags of 80 bits.
    AesCm128HmacSha1_80,
    /// The same with tags of 32 bits.
    AesCm128HmacSha1_32,
}

impl Suite {
    /// Its name in a `crypto` attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }
}

/// What one `crypto` attribute offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Names the attribute; an answer repeats it.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
}

impl Crypto {
    /// Reads an attribute's value; `None` if it is malformed, of another suite, has no key in
    /// place, or asks for something that would have to be understood (RFC 4568 section 6.3.7).
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (tag, rest) = split_word(value);
        let tag = decimal(tag)?;
        let (name, rest) = split_word(rest);
        let suites = [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];
        let suite =
            suites.into_iter().find(|suite| suite.name().as_bytes().eq_ignore_ascii_case(name))?;
        let (keys, parameters) = split_word(rest);
        let is_inline = keys.get(..INLINE.len()).is_some_and(|m| m.eq_ignore_ascii_case(INLINE));
        let mut parameters = parameters.split(u8::is_ascii_whitespace);
        // A hint at the size of the replay window binds nobody.
        let is_passed_over =
            |text: &[u8]| text.is_empty() || text.starts_with(b"-") || text.starts_with(b"WSH=");
        (is_inline && parameters.all(is_passed_over)).then_some(Self { tag, suite })
    }
}

const INLINE: &[u8] = b"inline:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_read_and_what_must_be_understood_is_not_taken() {
        let key = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        let read = |text: &str| Crypto::parse(text.replace("KEY", key).as_bytes());
        let suite = Suite::AesCm128HmacSha1_80;
        let plain = Some(Crypto { tag: 1, suite });
        assert_eq!(read("1 AES_CM_128_HMAC_SHA1_80 KEY"), plain);
        assert_eq!(read("1 aes_cm_128_hmac_sha1_80 KEY|2^20|1:4 WSH=64 -x"), plain);
        let short = Some(Crypto { tag: 99, suite: Suite::AesCm128HmacSha1_32 });
        assert_eq!(read("99 AES_CM_128_HMAC_SHA1_32 KEY"), short);
        for bad in [
            "1 F8_128_HMAC_SHA1_80 KEY",
            "1 AES_CM_128_HMAC_SHA1_80 KEY UNENCRYPTED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 uri:x",
            "x AES_CM_128_HMAC_SHA1_80 KEY",
            "",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
