//! Points in time as values. Nothing here reads a clock: time enters with a datagram or a `now`.

use core::{fmt, ops, time::Duration};

use serde::{Serialize, Serializer};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z.
///
/// Good until the year 2554. Arithmetic saturates: a clock that steps back gives a zero
/// duration, never a huge one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest time there is.
    pub const MIN: Self = Self(0);
    /// The latest time there is; "never" where a deadline is meant.
    pub const MAX: Self = Self(u64::MAX);

    /// A time from nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A time from whole seconds since the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(NANOS_PER_SEC))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds from `other` to `self`, negative if `self` is the earlier one.
    #[must_use]
    pub const fn nanos_from(self, other: Self) -> i64 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// This time as a 64-bit NTP timestamp: 32 bits of seconds since 1900, 32 of fraction
    /// (RFC 3550 section 4). The seconds wrap in 2036, as the format does.
    #[must_use]
    pub const fn to_ntp(self) -> u64 {
        let secs = self.0 / NANOS_PER_SEC + NTP_UNIX_OFFSET_SECS;
        let fraction = ((self.0 % NANOS_PER_SEC) << 32) / NANOS_PER_SEC;
        (secs << 32) | fraction
    }

    /// The middle 32 bits of [`to_ntp`](Self::to_ntp): seconds and fraction in units of
    /// 1/65536 s, as LSR carries them (RFC 3550 section 6.4.1).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the middle 32 bits are the point")]
    pub const fn to_ntp_middle(self) -> u32 {
        (self.to_ntp() >> 16) as u32
    }
}

impl ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.250Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0);
        match jiff::Timestamp::from_nanosecond(nanos) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl core::str::FromStr for Timestamp {
    type Err = jiff::Error;

    /// Reads RFC 3339, any offset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.parse()?;
        Ok(Self(u64::try_from(time.as_nanosecond()).unwrap_or(0)))
    }
}

/// A duration in milliseconds as the API shows it.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Seconds from 1900-01-01 (NTP era 0) to 1970-01-01 (RFC 5905 figure 4).
const NTP_UNIX_OFFSET_SECS: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_of_the_unix_epoch() {
        assert_eq!(Timestamp::MIN.to_ntp() >> 32, 2_208_988_800);
        let half = Timestamp::from_nanos(500_000_000);
        assert_eq!(half.to_ntp() & 0xFFFF_FFFF, 0x8000_0000);
    }

    #[test]
    fn a_clock_that_steps_back_gives_zero() {
        let (early, late) = (Timestamp::from_secs(1), Timestamp::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.nanos_from(late), -1_000_000_000);
    }

    #[test]
    fn text_is_rfc_3339_utc() {
        let time = Timestamp::from_nanos(1_769_860_800_250_000_000);
        assert_eq!(time.to_string(), "2026-01-31T12:00:00.250Z");
        assert_eq!("2026-01-31T12:00:00.250Z".parse::<Timestamp>().unwrap(), time);
        assert_eq!("2026-01-31T14:00:00.250+02:00".parse::<Timestamp>().unwrap(), time);
    }
}
