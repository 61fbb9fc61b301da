//! The `[sip_auth]` table of the configuration: who has to sign in for what. Read and checked; the
//! users are read with it.

use std::{fs, path::PathBuf, sync::Arc};

use serde::Deserialize;

use super::{Algorithm, Users, users::UsersError};

/// Who has to sign in for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// What the appliance is called in its challenges.
    pub realm: String,
    /// Who can sign in.
    pub users: Arc<Users>,
    /// Whether a REGISTER takes signing in, as the user that it is for.
    pub register: bool,
    /// Whether a call takes signing in.
    pub invite: bool,
    /// Whether answers as RFC 2069 has them will do, which anybody on the way can use once.
    pub rfc2069: bool,
    /// What is offered, best first.
    pub algorithms: Vec<Algorithm>,
}

/// The table as it may stand in a file; what is `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAuth {
    /// The file with the users; see [`Users`].
    pub users: Option<PathBuf>,
    /// See [`AuthSettings::realm`].
    pub realm: Option<String>,
    /// See [`AuthSettings::register`].
    pub register: Option<bool>,
    /// See [`AuthSettings::invite`].
    pub invite: Option<bool>,
    /// See [`AuthSettings::rfc2069`].
    pub rfc2069: Option<bool>,
    /// See [`AuthSettings::algorithms`]; `SHA-256` and `MD5`.
    pub algorithms: Option<Vec<Algorithm>>,
}

impl RawAuth {
    /// Checks the table and reads the users; `None` where nobody has to sign in.
    ///
    /// # Errors
    /// A value cannot be used, or the users cannot be read; the error names the key.
    pub fn complete(&self) -> Result<Option<Arc<AuthSettings>>, AuthError> {
        let (register, invite) = (self.register.unwrap_or(false), self.invite.unwrap_or(false));
        let realm = self.realm.clone().unwrap_or_else(|| REALM.to_owned());
        let is_sound = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if realm.is_empty() || realm.len() > REALM_MAX || !realm.bytes().all(is_sound) {
            return Err(AuthError::Realm);
        }
        let mut algorithms = self.algorithms.clone().unwrap_or_else(|| Algorithm::ALL.to_vec());
        if !register && !invite {
            return Ok(None);
        }
        let file = self.users.as_ref().ok_or(AuthError::NoUsers)?;
        let named = file.display().to_string();
        let text = fs::read_to_string(file)
            .map_err(|error| AuthError::Unreadable { file: named.clone(), error: error.kind() })?;
        let users =
            Users::parse(&text, &realm).map_err(|error| AuthError::Users { file: named, error })?;
        algorithms.dedup();
        algorithms.retain(|&algorithm| users.all_have(algorithm));
        if algorithms.is_empty() {
            return Err(AuthError::NoAlgorithm);
        }
        let rfc2069 = self.rfc2069.unwrap_or(false);
        let users = Arc::new(users);
        Ok(Some(Arc::new(AuthSettings { realm, users, register, invite, rfc2069, algorithms })))
    }
}

/// Why the table cannot be used. Nothing of the users is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No algorithm is left.
    #[error("sip_auth.algorithms: there is none for which every user has a hash")]
    NoAlgorithm,
    /// Nobody could sign in.
    #[error("sip_auth.users: a file with users is needed")]
    NoUsers,
    /// The realm cannot stand in a challenge.
    #[error("sip_auth.realm: a realm has 1 to 64 letters, digits and signs, no quotes, no blanks")]
    Realm,
    /// The file cannot be read.
    #[error("sip_auth.users: {file}: {error}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        error: std::io::ErrorKind,
    },
    /// The file is no list of users.
    #[error("sip_auth.users: {file}, {error}")]
    Users {
        /// Which file.
        file: String,
        /// Where and why.
        error: UsersError,
    },
}

const REALM: &str = "voxplane";
/// A challenge must stay small: it goes to whoever asks.
const REALM_MAX: usize = 64;
