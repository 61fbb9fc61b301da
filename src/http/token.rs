//! The bearer token that opens the API (RFC 6750). It never shows in logs or debug output.

use std::{fmt, fs, hint::black_box, io, path::Path};

/// A secret that every request but `/healthz` must carry.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl Token {
    /// Takes a token from text; white space around it is left out.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is empty or holds anything but visible ASCII.
    pub fn new(text: &str) -> io::Result<Self> {
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "an API token must be visible ASCII without spaces";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(Self(token.as_bytes().to_vec()))
    }

    /// Reads a token from a file that holds nothing else.
    ///
    /// # Errors
    ///
    /// What reading the file gives, and what [`new`](Self::new) gives.
    pub fn read(path: &Path) -> io::Result<Self> {
        Self::new(&fs::read_to_string(path)?)
    }

    /// Whether an `Authorization` header's value carries this token.
    #[must_use]
    pub fn opens(&self, authorization: &[u8]) -> bool {
        let (scheme, rest) = authorization.split_at(SCHEME.len().min(authorization.len()));
        scheme.eq_ignore_ascii_case(SCHEME) && self.equals(rest.trim_ascii())
    }

    /// Compares in a time that depends on the length of `offered` alone.
    fn equals(&self, offered: &[u8]) -> bool {
        let mut difference = self.0.len() ^ offered.len();
        for (&own, &other) in self.0.iter().cycle().zip(offered) {
            difference |= usize::from(black_box(own ^ other));
        }
        difference == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The authentication scheme and the space after it (RFC 6750 section 2.1).
const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token::new(" s3cret\n").unwrap();
        assert!(token.opens(b"Bearer s3cret"));
        assert!(token.opens(b"bearer  s3cret"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret"] {
            assert!(!token.opens(wrong.as_bytes()), "{wrong}");
        }
        assert!(!token.opens(b"Bearer s3crets3cret"));
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        for bad in ["", " \n", "two words", "käse"] {
            assert_eq!(Token::new(bad).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(format!("{:?}", Token::new("s3cret").unwrap()), "Token(..)");
    }
}
