//! Texts that must not be seen: URLs with tokens in them, keys. They come from files or from the
//! environment, and no output shows them.

use std::{fmt, fs, path::Path};

use super::settings::SettingsError;

/// A text that shows nowhere. It is compared only where two configurations are.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for who sends it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Takes this secret out of a text that comes from elsewhere: another side may say what it
    /// was told.
    pub(super) fn mask(&self, text: &str) -> String {
        if self.0.len() < MASKED_BYTES_MIN {
            return text.to_owned();
        }
        text.replace(&self.0, MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret is to be found: at most one of the two may be said.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The notifier and the key without its end: `notify.noc.url`.
    pub(super) key: String,
    /// `…_file`.
    pub(super) file: Option<&'a Path>,
    /// `…_env`.
    pub(super) env: Option<&'a str>,
}

impl Place<'_> {
    /// Reads it; `None` if no place is said. White space around it is left out.
    pub(super) fn read(&self, env: Env<'_>) -> Result<Option<Secret>, SettingsError> {
        let failed = |end: &str, reason: String| SettingsError::Unusable {
            key: format!("{}_{end}", self.key),
            reason,
        };
        let (end, text) = match (self.file, self.env) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(failed("env", format!("stands beside {}_file", self.key)));
            }
            (Some(file), None) => {
                let text = fs::read_to_string(file);
                let text =
                    text.map_err(|error| failed("file", format!("{}: {error}", file.display())))?;
                ("file", text)
            }
            (None, Some(name)) => {
                let text = env(name);
                let missing = || format!("{name} is not in the environment, or not text");
                ("env", text.ok_or_else(|| failed("env", missing()))?)
            }
        };
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(failed(end, "holds nothing, or more than one line of ASCII".to_owned()));
        }
        Ok(Some(Secret(text.to_owned())))
    }
}

/// Looks a name up in the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is shown in place of a secret.
const MASK: &str = "***";

/// Shorter ones would take ordinary words out of a text; no token is so short.
const MASKED_BYTES_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new("hunter22".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.mask("no hunter22 here"), "no *** here");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let env = |name: &str| (name == "TOKEN").then(|| " abc \n".to_owned());
        let place = |file, env| Place { key: "notify.noc.url".to_owned(), file, env };
        assert_eq!(place(None, None).read(&env).unwrap(), None);
        let read = place(None, Some("TOKEN")).read(&env).unwrap();
        assert_eq!(read, Some(Secret::new("abc".to_owned())));
        let missing = place(None, Some("NONE")).read(&env).unwrap_err().to_string();
        assert_eq!(missing, "notify.noc.url_env: NONE is not in the environment, or not text");
        let file = place(Some(Path::new("/nowhere/at/all")), None).read(&env).unwrap_err();
        assert!(file.to_string().starts_with("notify.noc.url_file: /nowhere/at/all: "), "{file}");
        let both = place(Some(Path::new("/x")), Some("TOKEN")).read(&env).unwrap_err();
        assert!(both.to_string().starts_with("notify.noc.url_env: stands beside"), "{both}");
    }
}
