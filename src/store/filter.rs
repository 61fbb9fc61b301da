//! What a list of finished calls is asked for: filters, an order, a page. It knows no call.

use core::ops::RangeInclusive;
use std::{net::IpAddr, str::FromStr};

use crate::time::Timestamp;

/// Which calls; what is `None` lets all through. Texts are parts of what they filter, letter case
/// of ASCII aside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Lowest MOS; a call without a score does not pass.
    pub min_mos: Option<f64>,
    /// Highest MOS; a call without a score does not pass.
    pub max_mos: Option<f64>,
    /// Earliest start.
    pub since: Option<Timestamp>,
    /// The start is before this.
    pub until: Option<Timestamp>,
    /// Answered and ended, or failed.
    pub is_answered: Option<bool>,
    /// Named by an alert, or not.
    pub has_alert: Option<bool>,
    /// Part of the From URI.
    pub from: Option<String>,
    /// Part of the To URI.
    pub to: Option<String>,
    /// Part of the User-Agent.
    pub user_agent: Option<String>,
    /// Part of the codec's name.
    pub codec: Option<String>,
    /// Where the INVITE came from.
    pub source: Option<Network>,
}

/// Some addresses: a network, or all whose text begins alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Address and the bits of it that count.
    Cidr(IpAddr, u8),
    /// The beginning of the text.
    Prefix(String),
    /// Any of several networks.
    Any(Vec<Self>),
}

impl Network {
    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Cidr(network, bits) => masked(address, *bits) == masked(*network, *bits),
            Self::Prefix(text) => address.to_string().starts_with(text.as_str()),
            Self::Any(networks) => networks.iter().any(|network| network.contains(address)),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `192.0.2.0/24`, `2001:db8::/32`, several of these with commas between, or anything
    /// without a slash as a beginning.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text.contains('/') && text.contains(',') {
            let networks = text.split(',').map(|text| match text.contains('/') {
                true => text.parse(),
                false => Err(NetworkError),
            });
            return networks.collect::<Result<_, _>>().map(Self::Any);
        }
        let Some((address, bits)) = text.split_once('/') else {
            return Ok(Self::Prefix(text.to_ascii_lowercase()));
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|&bits| bits <= most).ok_or(NetworkError)?;
        Ok(Self::Cidr(address, bits))
    }
}

/// What has a slash is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network like 192.0.2.0/24")]
pub struct NetworkError;

/// What a list is sorted by; of calls that are equal, the one that ended last comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// The order in which they ended.
    #[default]
    Time,
    /// `mos_score`.
    Mos,
    /// `packet_loss_percentage`.
    Loss,
    /// `jitter_avg_ms`.
    Jitter,
    /// `duration_seconds`.
    Duration,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Which calls.
    pub filter: Filter,
    /// Sorted by what; what is not known comes last either way.
    pub key: Key,
    /// Lowest first instead of highest first.
    pub is_ascending: bool,
    /// Most calls on it.
    pub limit: usize,
    /// Calls before it, from the beginning or from `after`.
    pub offset: usize,
    /// Where the page before it ended.
    pub after: Option<Cursor>,
}

/// A place in a sorted list, between two calls. Opaque to who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Which list: order and direction.
    list: u8,
    rank: Rank,
}

/// A call's place in a list: smaller comes first.
pub(super) type Rank = (u32, u64);

impl Page {
    /// The place after a call of this list.
    pub(super) fn cursor(&self, rank: Rank) -> Cursor {
        Cursor { list: self.list(), rank }
    }

    /// Where the page before ended, if `after` is of this list.
    #[must_use]
    pub fn is_after_of_this_list(&self) -> bool {
        self.after.is_none_or(|after| after.list == self.list())
    }

    pub(super) fn after_rank(&self) -> Option<Rank> {
        self.after.map(|after| after.rank)
    }

    const fn list(&self) -> u8 {
        let key = match self.key {
            Key::Time => 0,
            Key::Mos => 1,
            Key::Loss => 2,
            Key::Jitter => 3,
            Key::Duration => 4,
        };
        key * 2 + if self.is_ascending { 1 } else { 0 }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:x}-{:x}", self.list, self.rank.0, self.rank.1)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('-');
        let mut part = |radix| {
            let part = parts.next().filter(|part| !part.starts_with('+'));
            part.and_then(|part| u64::from_str_radix(part, radix).ok()).ok_or(CursorError)
        };
        let (list, value, id) = (part(10)?, part(16)?, part(16)?);
        let list = u8::try_from(list).map_err(|_| CursorError)?;
        let value = u32::try_from(value).map_err(|_| CursorError)?;
        if parts.next().is_some() {
            return Err(CursorError);
        }
        Ok(Self { list, rank: (value, id) })
    }
}

/// A text is no cursor that a list gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the next of a page before")]
pub struct CursorError;

/// The thousandths within a range of numbers, as far as `u32` goes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and what is not known is above"
)]
pub(super) fn thousandths_within(
    low: Option<f64>,
    high: Option<f64>,
) -> Option<RangeInclusive<u32>> {
    if low.is_none() && high.is_none() {
        return None;
    }
    // A bound with more digits than are kept: those beyond it do not pass. What is a thousandth
    // itself is taken as that, whatever a float makes of it.
    let (low, high) = (low.unwrap_or(0.0) * 1e3, high.unwrap_or(f64::MAX) * 1e3);
    let near = |value: f64| (value - value.round()).abs() < 1e-6;
    let low = if near(low) { low.round() } else { low.ceil() };
    let high = if near(high) { high.round() } else { high.floor() };
    Some(low as u32..=(high as u32).min(u32::MAX - 1))
}

fn masked(address: IpAddr, bits: u8) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            (true, u128::from(v4.to_bits() & kept))
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (false, v6.to_bits() & kept)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("192.0.2.0/24", "192.0.2.7") && !holds("192.0.2.0/24", "192.0.3.7"));
        assert!(holds("192.0.2.9/25", "192.0.2.7") && !holds("192.0.2.9/25", "192.0.2.200"));
        assert!(holds("0.0.0.0/0", "192.0.2.7") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8:5::1") && !holds("::1/128", "::2"));
        assert!(holds("192.0.", "192.0.2.7") && !holds("92.0", "192.0.2.7"));
        assert!(holds("2001:DB8:", "2001:db8::1") && !holds("' OR 1=1 --", "192.0.2.7"));
        assert!(holds("192.0.2.0/24,::/0", "::5") && !holds("192.0.2.0/24,::/0", "192.0.3.1"));
        for text in [
            "192.0.2.0/24,",
            "192.0.2.0/24,192.",
            "192.0.2.0/33",
            "192.0.2/24",
            "/",
            "::/129",
            "1.2.3.4/-1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }

    #[test]
    fn cursors_come_back_and_belong_to_a_list() {
        let page = Page { key: Key::Mos, ..Page::default() };
        let cursor = page.cursor((7, u64::MAX));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let after =
            |key, is_ascending| Page { key, is_ascending, after: Some(cursor), ..Page::default() };
        assert!(after(Key::Mos, false).is_after_of_this_list());
        assert!(!after(Key::Mos, true).is_after_of_this_list());
        assert!(!after(Key::Time, false).is_after_of_this_list());
        for text in ["", "0", "0-1", "0-1-2-3", "x-1-2", "0--1", "999-1-2", "0-1ffffffff-1"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
