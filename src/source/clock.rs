//! The clocks: the only place, beside the HTTP door's deadlines, that reads one.

use std::time::SystemTime;

use crate::time::Timestamp;

/// Now, on the clock that the kernel stamps datagrams with (`CLOCK_REALTIME`).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}
