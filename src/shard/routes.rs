//! Test numbers: what is done with a call, by the user part of its Request-URI.
//!
//! Never looks at anything else of a call.

use std::collections::BTreeMap;

use arrayvec::ArrayVec;
use percent_encoding::percent_decode;

use crate::sound::Sound;

/// What is done with a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Answered; its media is measured.
    #[default]
    Sink,
    /// Answered; its media is measured and sent back.
    Echo,
    /// Answered; it hears this, and its media is measured.
    Send(Sound),
    /// Early media (183), which is the tone; answered a while later.
    Early,
    /// It rings, and is never answered.
    Ring,
    /// It rings for a while, and is answered.
    Slow,
    /// Refused with this status, 300 to 699.
    Refuse(u16),
}

impl Action {
    /// The action of this name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let found = NAMES.iter().find(|(known, _)| known.as_bytes() == name);
        found.map(|&(_, action)| action).or_else(|| code(name).map(Self::Refuse))
    }

    /// What a call of this action hears; `None` if it hears nothing that is made here.
    #[must_use]
    pub const fn sound(self) -> Option<Sound> {
        match self {
            Self::Send(sound) => Some(sound),
            Self::Early => Some(Sound::Tone),
            Self::Sink | Self::Echo | Self::Ring | Self::Slow | Self::Refuse(_) => None,
        }
    }
}

/// `code-NNN`: the status of a final response that is no success (RFC 3261 section 7.2).
fn code(name: &[u8]) -> Option<u16> {
    let digits = name.strip_prefix(b"code-").filter(|digits| digits.len() == 3)?;
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let code = str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    (300..=699).contains(&code).then_some(code)
}

/// Which user parts have which action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// Those of the settings and, where these do not have them, those of [`NAMES`].
    exact: BTreeMap<Vec<u8>, Action>,
    /// Longest first.
    prefixes: Vec<(Vec<u8>, Action)>,
    rest: Action,
}

/// Routes as they may stand in a file: a user part, or the beginning of one and a `*`, and the
/// name of an action.
pub type RawRoutes = BTreeMap<String, String>;

impl Routes {
    /// The test numbers by their names, and what `raw` adds or changes. Without a recording there
    /// is no `play`.
    ///
    /// # Errors
    /// A key that cannot be a user part, or an action that there is not; the error names it.
    pub fn new(raw: RawRoutes, has_recording: bool) -> Result<Self, RouteError> {
        if raw.len() > ROUTES_MAX {
            return Err(RouteError::TooMany { count: raw.len() });
        }
        let is_possible =
            |action: Action| action != Action::Send(Sound::Recording) || has_recording;
        let names = NAMES.iter().filter(|&&(_, action)| is_possible(action));
        let mut routes = Self {
            exact: names.map(|&(name, action)| (name.into(), action)).collect(),
            prefixes: Vec::new(),
            rest: Action::Sink,
        };
        let mut keys = Vec::new();
        for (key, name) in raw {
            let action = Action::from_name(name.as_bytes());
            let Some(action) = action else { return Err(RouteError::Action { key, name }) };
            if !is_possible(action) {
                return Err(RouteError::NoRecording { key });
            }
            if !is_user_part(&key) {
                return Err(RouteError::Key { key });
            }
            let user = key.to_ascii_lowercase().into_bytes();
            if keys.contains(&user) {
                return Err(RouteError::Twice { key });
            }
            match user.strip_suffix(b"*") {
                None => drop(routes.exact.insert(user.clone(), action)),
                Some(b"") => routes.rest = action,
                Some(prefix) => routes.prefixes.push((prefix.to_vec(), action)),
            }
            keys.push(user);
        }
        routes.prefixes.sort_by_key(|(prefix, _)| core::cmp::Reverse(prefix.len()));
        Ok(routes)
    }

    /// The action for a user part as it stands in a URI: the one that is the same but for case and
    /// escapes, else the longest beginning of it, else `code-NNN`, else that of `*`.
    #[must_use]
    pub fn action(&self, user: &[u8]) -> Action {
        // Parameters of a number (RFC 3966) are no part of it.
        let end = memchr::memchr(b';', user).unwrap_or(user.len()).min(USER_MAX);
        let user: ArrayVec<u8, USER_MAX> =
            percent_decode(&user[..end]).map(|byte| byte.to_ascii_lowercase()).collect();
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| user.starts_with(prefix));
        let exact = self.exact.get(&*user).copied();
        exact
            .or_else(|| by_prefix().map(|&(_, action)| action))
            .or_else(|| code(&user).map(Action::Refuse))
            .unwrap_or(self.rest)
    }
}

impl Default for Routes {
    /// The test numbers by their names, without `play`.
    fn default() -> Self {
        Self::new(RawRoutes::new(), false).unwrap_or_else(|_| Self {
            exact: BTreeMap::new(),
            prefixes: Vec::new(),
            rest: Action::Sink,
        })
    }
}

/// Whether this can be the user part of a URI, or begin one: no blank, no delimiter, a `*` at the
/// end alone.
fn is_user_part(key: &str) -> bool {
    let user = key.strip_suffix('*').unwrap_or(key);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"*@:;?%<>\"".contains(&byte);
    !key.is_empty() && user.len() <= USER_MAX && user.bytes().all(is_plain)
}

/// Why the routes cannot be used. Each is one sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is no such action.
    #[error(
        "routes: \"{key}\": `{name}` is none of echo, sink, tone, play, silence, ring, early, \
         busy, decline, notfound, unavailable, slow, code-300 to code-699"
    )]
    Action {
        /// Whose.
        key: String,
        /// What it says.
        name: String,
    },
    /// The key is no user part.
    #[error("routes: \"{key}\" is no user part, nor the beginning of one with a `*` at its end")]
    Key {
        /// Which.
        key: String,
    },
    /// There is nothing to play.
    #[error("routes: \"{key}\": `play` needs play_file")]
    NoRecording {
        /// Whose.
        key: String,
    },
    /// There are too many.
    #[error("routes: {count} are more than {ROUTES_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Two keys differ in case alone.
    #[error("routes: \"{key}\" stands twice")]
    Twice {
        /// Which.
        key: String,
    },
}

/// The actions by name; each name is a test number, too.
const NAMES: [(&str, Action); 12] = [
    ("echo", Action::Echo),
    ("sink", Action::Sink),
    ("tone", Action::Send(Sound::Tone)),
    ("play", Action::Send(Sound::Recording)),
    ("silence", Action::Send(Sound::Silence)),
    ("ring", Action::Ring),
    ("early", Action::Early),
    ("busy", Action::Refuse(486)),
    ("decline", Action::Refuse(603)),
    ("notfound", Action::Refuse(404)),
    ("unavailable", Action::Refuse(503)),
    ("slow", Action::Slow),
];

/// More than anybody numbers by hand.
const ROUTES_MAX: usize = 1000;

/// Octets of a user part that are looked at. E.164 has 15 digits; names are longer.
const USER_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(raw: &[(&str, &str)]) -> Result<Routes, RouteError> {
        let raw = raw.iter().map(|&(key, action)| (key.to_owned(), action.to_owned()));
        Routes::new(raw.collect(), true)
    }

    #[test]
    fn the_most_exact_route_counts() {
        let raw = [("12*", "tone"), ("1234*", "busy"), ("12345", "echo"), ("*", "decline")];
        let routes = routes(&raw).unwrap();
        for (user, action) in [
            ("12345", Action::Echo),
            ("12345;phone-context=x", Action::Echo),
            ("%312345", Action::Echo),
            ("123456", Action::Refuse(486)),
            ("12", Action::Send(Sound::Tone)),
            ("1", Action::Refuse(603)),
            ("Play", Action::Send(Sound::Recording)),
            ("code-302", Action::Refuse(302)),
            ("", Action::Refuse(603)),
        ] {
            assert_eq!(routes.action(user.as_bytes()), action, "{user}");
        }
    }

    #[test]
    fn a_test_number_can_be_taken_away() {
        let routes = routes(&[("busy", "sink"), ("code-*", "notfound")]).unwrap();
        assert_eq!(routes.action(b"busy"), Action::Sink);
        assert_eq!(routes.action(b"code-302"), Action::Refuse(404));
    }

    #[test]
    fn codes_are_final_and_no_success() {
        for (user, action) in [
            ("code-299", Action::Sink),
            ("code-300", Action::Refuse(300)),
            ("CODE-699", Action::Refuse(699)),
            ("code-700", Action::Sink),
            ("code-0486", Action::Sink),
            ("code-+48", Action::Sink),
            ("code-", Action::Sink),
        ] {
            assert_eq!(Routes::default().action(user.as_bytes()), action, "{user}");
        }
    }

    #[test]
    fn what_cannot_be_routed_is_named() {
        for (key, action, named) in [
            ("9196", "ehco", "\"9196\": `ehco` is none of"),
            ("9196", "code-200", "`code-200` is none of"),
            ("1*2", "echo", "\"1*2\" is no user part"),
            ("a@b", "echo", "\"a@b\" is no user part"),
            ("", "echo", "\"\" is no user part"),
        ] {
            let error = routes(&[(key, action)]).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let twice = routes(&[("Bob", "echo"), ("bob", "sink")]).unwrap_err();
        assert_eq!(twice, RouteError::Twice { key: "bob".to_owned() });
        let raw = RawRoutes::from([("7".to_owned(), "play".to_owned())]);
        let error = Routes::new(raw, false).unwrap_err();
        assert_eq!(error.to_string(), "routes: \"7\": `play` needs play_file");
        assert_eq!(Routes::default().action(b"play"), Action::Sink);
    }
}
