//! How the store is: whether it writes, what waits, what was lost. It judges nothing else.

use serde::Serialize;

/// What the store can do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All is written.
    #[default]
    Ok,
    /// All is written; older calls are still being read from the disk.
    Loading,
    /// Somebody else holds the file.
    Busy,
    /// The disk is full.
    Full,
    /// The file or its disk may not be written to.
    ReadOnly,
    /// It fails for another reason.
    Failing,
}

impl State {
    /// Whether finished calls reach the disk.
    #[must_use]
    pub const fn is_writing(self) -> bool {
        matches!(self, Self::Ok | Self::Loading)
    }
}

/// The store's own account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What it can do now.
    pub state: State,
    /// Calls in the history, those that wait to be written included.
    pub calls: u64,
    /// Calls and alerts that wait to be written.
    pub pending: u64,
    /// Calls and alerts since start that were never written: there was no room to let them wait.
    pub dropped: u64,
    /// How long the oldest that waits has waited.
    pub lag_ms: u64,
    /// What the database said last, if it does not write.
    pub error: Option<String>,
}
