//! The HTTP API: a guarded door, then read-only routes over control's newest snapshot.
