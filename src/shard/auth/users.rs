//! Who may sign in: names with hashes of their passwords, which no output shows.
//!
//! One user a line, `#` begins a comment: `name:password`, or `name:realm:hash` where the hash is
//! that of `name:realm:password` in hexadecimal digits, by MD5 (32 digits) or SHA-256 (64 digits).
//! A user may have a line for each of the two.

use core::fmt;
use std::collections::HashMap;

use super::Algorithm;

/// All users of a realm.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    by_name: HashMap<Vec<u8>, Hashes>,
    /// Hashed for names that nobody has, so that they take as long as others.
    nobody: Hashes,
}

/// What is kept of one user's password, in hexadecimal digits, by algorithm.
#[derive(Clone, Default, PartialEq, Eq)]
struct Hashes {
    md5: Option<String>,
    sha256: Option<String>,
}

impl Users {
    /// Reads a users file.
    ///
    /// # Errors
    /// A line is no user, or not of this realm; the error names the line and nothing on it.
    pub fn parse(text: &str, realm: &str) -> Result<Self, UsersError> {
        let mut by_name: HashMap<Vec<u8>, Hashes> = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let failed = |reason| UsersError { line: index + 1, reason };
            let (name, rest) = line.split_once(':').ok_or_else(|| failed("there is no colon"))?;
            if name.is_empty() || name.contains(['"', '\\']) || rest.is_empty() {
                return Err(failed("a name without quotes and a password are needed"));
            }
            let hashes = match hash_of(rest) {
                Some((of, _)) if of != realm => return Err(failed("the hash is of another realm")),
                Some((_, hash)) => {
                    let hash = hash.to_ascii_lowercase();
                    match hash.len() {
                        MD5_DIGITS => Hashes { md5: Some(hash), sha256: None },
                        _ => Hashes { md5: None, sha256: Some(hash) },
                    }
                }
                None => Hashes::of(name, realm, rest),
            };
            let known = by_name.entry(name.as_bytes().to_vec()).or_default();
            let is_double = known.md5.is_some() && hashes.md5.is_some()
                || known.sha256.is_some() && hashes.sha256.is_some();
            if is_double {
                return Err(failed("this user stands there twice"));
            }
            known.md5 = known.md5.take().or(hashes.md5);
            known.sha256 = known.sha256.take().or(hashes.sha256);
        }
        if by_name.is_empty() {
            return Err(UsersError { line: 1, reason: "there is no user" });
        }
        Ok(Self { by_name, nobody: Hashes::of("", realm, "") })
    }

    /// Whether all users can answer by an algorithm: no other one is offered.
    pub(super) fn all_have(&self, algorithm: Algorithm) -> bool {
        self.by_name.values().all(|hashes| hashes.by(algorithm).is_some())
    }

    /// The hash of a user's password, or that of nobody's; and whether there is such a user.
    pub(super) fn hash(&self, name: &[u8], algorithm: Algorithm) -> (&str, bool) {
        match self.by_name.get(name).and_then(|hashes| hashes.by(algorithm)) {
            Some(hash) => (hash, true),
            None => (self.nobody.by(algorithm).unwrap_or_default(), false),
        }
    }
}

impl Hashes {
    fn of(name: &str, realm: &str, password: &str) -> Self {
        let hash = |algorithm: Algorithm| {
            algorithm.hash(&[name.as_bytes(), realm.as_bytes(), password.as_bytes()])
        };
        Self { md5: Some(hash(Algorithm::Md5)), sha256: Some(hash(Algorithm::Sha256)) }
    }

    fn by(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Md5 => self.md5.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.by_name.len())
    }
}

/// Realm and hash, where the part behind a name is these.
fn hash_of(rest: &str) -> Option<(&str, &str)> {
    let (realm, hash) = rest.rsplit_once(':')?;
    let is_hash = [MD5_DIGITS, SHA256_DIGITS].contains(&hash.len())
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some((realm, hash))
}

/// Why a users file cannot be used. It shows nothing of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct UsersError {
    line: usize,
    reason: &'static str,
}

const MD5_DIGITS: usize = 32;
const SHA256_DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_hashes_are_the_same_to_us() {
        let plain = Users::parse("# all\n\n ann:a:b \nbob:x\n", "box").unwrap();
        assert!(plain.all_have(Algorithm::Md5) && plain.all_have(Algorithm::Sha256));
        let md5 = plain.hash(b"ann", Algorithm::Md5);
        let sha256 = plain.hash(b"ann", Algorithm::Sha256);
        assert!(md5.1 && sha256.1);
        let lines = format!("ann:box:{}\nann:box:{}\n", md5.0.to_uppercase(), sha256.0);
        let hashed = Users::parse(&lines, "box").unwrap();
        assert_eq!(hashed.hash(b"ann", Algorithm::Md5), md5);
        assert_eq!(hashed.hash(b"ann", Algorithm::Sha256), sha256);
        let half = Users::parse(lines.lines().next().unwrap(), "box").unwrap();
        assert!(half.all_have(Algorithm::Md5) && !half.all_have(Algorithm::Sha256));
        assert!(!half.hash(b"eve", Algorithm::Md5).1);
    }

    #[test]
    fn nothing_of_a_file_is_shown() {
        let users = Users::parse("ann:secret", "box").unwrap();
        assert_eq!(format!("{users:?}"), "Users(1)");
        let other = format!("ann:elsewhere:{}", "0".repeat(32));
        for (text, named) in [
            ("a:b\nsecret", "line 2: there is no colon"),
            (":secret", "line 1: a name without quotes and a password are needed"),
            ("ann:", "line 1: a name without quotes and a password are needed"),
            (&other, "line 1: the hash is of another realm"),
            ("ann:secret\nann:secret", "line 2: this user stands there twice"),
            ("# nobody", "line 1: there is no user"),
        ] {
            assert_eq!(Users::parse(text, "box").unwrap_err().to_string(), named);
        }
    }
}
