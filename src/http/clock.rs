//! The two clocks of the HTTP side: a monotonic one for deadlines, the wall clock for freshness.
//!
//! Nothing that is measured is timed here.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the deadlines of connections need a clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the age of a snapshot needs a clock")]
pub(super) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::MIN + since
}
