//! Bearer tokens (RFC 6750), each with the role that it gives. A token never shows in logs, errors
//! or debug output, and is kept as its hash alone.

use core::{fmt, hint::black_box};
use std::{io, sync::Arc};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// What the bearer of a token may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Ask.
    Read,
    /// Change thresholds and rules, acknowledge and clear alerts.
    Operate,
    /// Have the configuration read again and calls hung up.
    Admin,
}

impl Role {
    /// All of them.
    const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// The name that a file of tokens and an answer have for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// A secret that opens the API.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) role: Role,
    /// What the access log calls its bearer.
    pub(super) name: Arc<str>,
    hash: [u8; SHA256_OUTPUT_LEN],
}

impl Token {
    fn new(role: Role, secret: &str, name: &str) -> Self {
        Self { role, name: name.into(), hash: hash(secret.as_bytes()) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, {:?}, ..)", self.role.name(), self.name)
    }
}

/// All tokens of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenSet {
    tokens: Vec<Token>,
    /// Whether it is one token with nothing else on its line.
    pub(super) is_bare: bool,
}

impl TokenSet {
    /// Takes tokens from a text: a line each, `role token [name]`, or one token alone, which is of
    /// an admin. A word that begins with `#` begins a comment.
    ///
    /// # Errors
    ///
    /// `InvalidData` that names the line, and never what stands there.
    pub(super) fn parse(text: &str) -> io::Result<Self> {
        let bad = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let lines = (1..).zip(text.lines()).map(|(number, line)| (number, words(line)));
        let lines: Vec<(usize, Vec<&str>)> = lines.filter(|(_, line)| !line.is_empty()).collect();
        if lines.len() > TOKENS_MAX {
            return Err(bad(format!("there are more than {TOKENS_MAX} tokens")));
        }
        let is_bare = lines.len() == 1 && lines[0].1.len() == 1;
        let mut tokens: Vec<Token> = Vec::with_capacity(lines.len());
        for (number, line) in lines {
            let mut words = line.into_iter();
            let role = if is_bare { Some(Role::Admin) } else { role(words.next()) };
            let Some(role) = role else {
                let reason = "the first word is not read, operate or admin";
                return Err(bad(format!("line {number}: {reason}")));
            };
            let Some(secret) = words.next() else {
                return Err(bad(format!("line {number}: after the role there is no token")));
            };
            let name = words.next().unwrap_or_else(|| role.name());
            if words.next().is_some() {
                return Err(bad(format!("line {number}: after the name there is one word more")));
            }
            if ![secret, name].iter().all(|word| word.bytes().all(|byte| byte.is_ascii_graphic())) {
                return Err(bad(format!("line {number}: {ALPHABET}")));
            }
            let token = Token::new(role, secret, name);
            if tokens.iter().any(|known| known.hash == token.hash) {
                return Err(bad(format!("line {number}: this token stands there twice")));
            }
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Err(bad(format!("there is no token; {ALPHABET}")));
        }
        Ok(Self { tokens, is_bare })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token that an `Authorization` header's value carries. How long it takes to tell depends
    /// on the length of the value and the number of tokens alone.
    pub(super) fn find(&self, authorization: &[u8]) -> Option<&Token> {
        let (scheme, rest) = authorization.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let offered = hash(rest.trim_ascii());
        self.tokens.iter().fold(None, |found, token| {
            let differs = token
                .hash
                .iter()
                .zip(&offered)
                .fold(0, |differs, (own, other)| black_box(differs | (own ^ other)));
            if differs == 0 { Some(token) } else { found }
        })
    }
}

/// What a line says, without its comment.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().take_while(|word| !word.starts_with('#')).collect()
}

fn hash(secret: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, secret).as_ref());
    hash
}

fn role(word: Option<&str>) -> Option<Role> {
    Role::ALL.into_iter().find(|role| word == Some(role.name()))
}

/// The authentication scheme and the space after it (RFC 6750 section 2.1).
const SCHEME: &[u8] = b"Bearer ";

/// What a header can carry.
const ALPHABET: &str = "a token is visible ASCII without spaces, and so is a name";

/// Most tokens of a file: each is compared with at every request.
const TOKENS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens() {
        let tokens = TokenSet::parse(" s3cret\n").unwrap();
        let opens = |authorization: &str| tokens.find(authorization.as_bytes()).is_some();
        assert!(opens("Bearer s3cret"));
        assert!(opens("bearer  s3cret"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret"] {
            assert!(!opens(wrong), "{wrong}");
        }
        assert!(!opens("Bearer s3crets3cret"));
    }

    #[test]
    fn a_line_is_role_token_and_name() {
        let text = "# who may what\n\nread  r1\tgrafana\r\n operate o1 # night\n\
                    # admin old\nadmin a1 noc #1\n";
        let tokens = TokenSet::parse(text).unwrap();
        let found = |token: &str| {
            let found = tokens.find(format!("Bearer {token}").as_bytes());
            found.map(|token| (token.role, token.name.to_string()))
        };
        assert_eq!(found("r1"), Some((Role::Read, "grafana".to_owned())));
        assert_eq!(found("o1"), Some((Role::Operate, "operate".to_owned())));
        assert_eq!(found("a1"), Some((Role::Admin, "noc".to_owned())));
        assert_eq!((found("old"), found("read"), tokens.len()), (None, None, 3));
        let bare = TokenSet::parse("# the one\ns3cret\n").unwrap();
        assert_eq!(bare.find(b"Bearer s3cret").map(|token| token.role), Some(Role::Admin));
        assert!(bare.is_bare && !tokens.is_bare);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_token_is_not() {
        for (bad, named) in [
            ("", "visible ASCII"),
            (" \n# none\n", "there is no token"),
            ("käse", "line 1: a token is visible ASCII"),
            ("two words", "line 1: the first word is not read"),
            ("read\nadmin words", "line 1: after the role there is no token"),
            ("read words\n\nwords", "line 3: the first word is not read"),
            ("read words name more", "line 1: after the name"),
            ("read words näme", "line 1: a token is visible ASCII"),
            ("read words\nadmin words", "line 2: this token stands there twice"),
        ] {
            let error = TokenSet::parse(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(named), "{bad:?}: {error}");
            assert!(!error.to_string().contains("words"), "{bad:?}: {error}");
        }
        let many = (0..=TOKENS_MAX).map(|n| format!("read t{n}\n")).collect::<String>();
        assert!(TokenSet::parse(&many).unwrap_err().to_string().contains("more than 1000"));
        let tokens = format!("{:?}", TokenSet::parse("read s3cret noc").unwrap());
        assert!(tokens.contains("Token(read, \"noc\", ..)") && !tokens.contains("s3cret"));
    }
}
