//! The tokens in force, and the file that they are read from again when it has changed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use super::token::TokenSet;

/// The tokens that open the API. Cloning it gives another handle to the same ones.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where they are read from again.
    path: Option<PathBuf>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    set: Arc<TokenSet>,
    /// Why the file could not be used when it was read last.
    error: Option<String>,
}

impl Tokens {
    /// Takes tokens from a text, for good: a line each, `role token [name]`, or one token alone.
    ///
    /// # Errors
    ///
    /// `InvalidData` that names the line.
    pub fn parse(text: &str) -> io::Result<Self> {
        Ok(Self::new(TokenSet::parse(text)?, None))
    }

    /// Reads tokens from a file, and reads it again once it has changed. What is no regular file,
    /// like a pipe, is read this once.
    ///
    /// # Errors
    ///
    /// What reading the file gives, and what [`parse`](Self::parse) gives.
    pub fn follow(path: &Path) -> io::Result<Self> {
        let tokens = TokenSet::parse(&read(File::open(path)?)?)?;
        let is_regular = fs::metadata(path)?.is_file();
        Ok(Self::new(tokens, is_regular.then(|| path.to_owned())))
    }

    fn new(tokens: TokenSet, path: Option<PathBuf>) -> Self {
        let state = RwLock::new(State { set: tokens.into(), error: None });
        Self(Arc::new(Inner { path, state }))
    }

    /// Whether it is one token that stands alone in its file.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.set().is_bare
    }

    /// Reads the file again. If it cannot be used the tokens stay as they are.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, in one sentence.
    pub fn reload(&self) -> Result<(), String> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let read = read_again(path).map_err(|error| format!("API token file: {error}"));
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let error = match read {
            Ok(set) => {
                if set != *state.set {
                    let tokens = set.len();
                    tracing::info!(tokens, "the API tokens have changed");
                    state.set = set.into();
                }
                None
            }
            Err(error) => {
                if state.error.as_ref() != Some(&error) {
                    tracing::warn!(error, "the API tokens stay as they were");
                }
                Some(error)
            }
        };
        state.error.clone_from(&error);
        error.map_or(Ok(()), Err)
    }

    /// Those in force.
    pub(super) fn set(&self) -> Arc<TokenSet> {
        Arc::clone(&self.0.state.read().unwrap_or_else(PoisonError::into_inner).set)
    }

    /// Why the file could not be used when it was read last.
    pub(super) fn error(&self) -> Option<String> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).error.clone()
    }
}

fn read_again(path: &Path) -> io::Result<TokenSet> {
    // Who opens a pipe waits for who writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no longer a regular file"));
    }
    TokenSet::parse(&read(File::open(path)?)?)
}

fn read(file: File) -> io::Result<String> {
    let mut text = String::new();
    let len = file.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if len as u64 > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 256 KiB"));
    }
    Ok(text)
}

/// Longest file of tokens: room for a thousand with comments.
const FILE_MAX: u64 = 256 << 10;
