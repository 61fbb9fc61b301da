//! Names for the networks that calls come from. A network without a name is called by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use crate::id::Trunk;

/// The table `[trunks]` as it stands in a file: networks by name.
pub type RawTrunks = BTreeMap<String, Vec<String>>;

/// Which network has which name. The longest prefix wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trunks {
    /// The longest prefixes first.
    named: Vec<(Network, &'static str)>,
}

/// A network: an IPv4 one is that of the mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    /// Of 128.
    prefix: u32,
}

impl Trunks {
    /// Checks a table. The names stay in memory for as long as the program runs.
    ///
    /// # Errors
    /// A name or a network is not to be used; the error names it.
    pub fn new(raw: RawTrunks) -> Result<Self, TrunkError> {
        let mut named: Vec<(Network, &'static str)> = Vec::new();
        for (name, networks) in raw {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let fits = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_name);
            if !fits || RESERVED.contains(&&*name) || name.parse::<IpAddr>().is_ok() {
                return Err(TrunkError::Name { name });
            }
            if networks.is_empty() {
                return Err(TrunkError::Empty { name });
            }
            let kept = keep(&name);
            for text in networks {
                let Some(network) = Network::parse(&text) else {
                    return Err(TrunkError::Network { name, network: text });
                };
                if let Some((_, other)) = named.iter().find(|(known, _)| *known == network) {
                    let other = (*other).to_owned();
                    return Err(TrunkError::Taken { name, network: text, other });
                }
                if named.len() >= NETWORKS_MAX {
                    return Err(TrunkError::TooMany { max: NETWORKS_MAX });
                }
                named.push((network, kept));
            }
        }
        named.sort_by_key(|(network, _)| core::cmp::Reverse(network.prefix));
        Ok(Self { named })
    }

    /// The trunk that an address is of.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Trunk {
        let bits = bits(address);
        let found = self.named.iter().find(|(network, _)| network.contains(bits));
        found.map_or_else(|| Trunk::of(address), |(_, name)| Trunk::Named(name))
    }

    /// The networks that have a name, as the API takes them for `source`; `None` if it is no name.
    #[must_use]
    pub fn networks(&self, name: &str) -> Option<String> {
        let its = self.named.iter().filter(|(_, known)| *known == name);
        let texts: Vec<String> = its.map(|(network, _)| network.to_string()).collect();
        (!texts.is_empty()).then(|| texts.join(","))
    }
}

/// A name that lasts as long as the program: trunks are copied with every call, and there are as
/// many as somebody wrote. One that comes again, when a configuration is read again, is the same.
fn keep(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}

impl Network {
    /// Reads `192.0.2.0/24` or a single address.
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (most, above) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = prefix.unwrap_or(most);
        let network = Self { bits: bits(address), prefix: prefix + above };
        (prefix <= most && network.bits & !network.mask() == 0).then_some(network)
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0)
    }

    fn contains(self, bits: u128) -> bool {
        bits & self.mask() == self.bits
    }
}

impl core::fmt::Display for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match IpAddr::from(self.bits.to_be_bytes()).to_canonical() {
            IpAddr::V4(v4) if self.prefix >= 96 => write!(f, "{v4}/{}", self.prefix - 96),
            _ => write!(f, "{}/{}", std::net::Ipv6Addr::from_bits(self.bits), self.prefix),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Why a table of trunks cannot be used. Each is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrunkError {
    /// A name has no network.
    #[error("trunks.{name}: at least one network is needed")]
    Empty {
        /// Which.
        name: String,
    },
    /// A name is none.
    #[error(
        "trunks: {name:?} is no name: 1 to 64 letters, digits or ._- that are no address, and not \
         other, unknown or box"
    )]
    Name {
        /// What it is.
        name: String,
    },
    /// A network is none.
    #[error(
        "trunks.{name}: {network:?} is no network such as 192.0.2.0/24 or 2001:db8::/32 without \
         bits beyond its prefix"
    )]
    Network {
        /// Whose.
        name: String,
        /// What it is.
        network: String,
    },
    /// A network has two names.
    #[error("trunks.{name}: {network} already is one of {other}'s")]
    Taken {
        /// Whose.
        name: String,
        /// Which.
        network: String,
        /// Who has it.
        other: String,
    },
    /// There are more networks than are looked through.
    #[error("trunks: more than {max} networks")]
    TooMany {
        /// Most of them.
        max: usize,
    },
}

/// What trunks past a bound, calls without one, and the whole are called.
const RESERVED: [&str; 3] = ["other", "unknown", "box"];

const NAME_MAX: usize = 64;

/// All are looked through when a call or a stream begins.
const NETWORKS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn trunks(text: &str) -> Result<Trunks, String> {
        let raw = toml::from_str(text).map_err(|error| error.to_string())?;
        Trunks::new(raw).map_err(|error| error.to_string())
    }

    #[test]
    fn the_longest_prefix_names_an_address() {
        let trunks = trunks(
            "wide = ['192.0.0.0/16', '2001:db8::/32']\nnear = ['192.0.2.0/24']\n\
             one = ['192.0.2.7', '::1']",
        )
        .unwrap();
        for (address, name) in [
            ("192.0.2.7", "one"),
            ("::ffff:192.0.2.7", "one"),
            ("192.0.2.8", "near"),
            ("192.0.3.8", "wide"),
            ("192.1.3.8", "192.1.3.0/24"),
            ("2001:db8:5::1", "wide"),
            ("::1", "one"),
            ("::2", "::/64"),
        ] {
            assert_eq!(trunks.of(address.parse().unwrap()).to_string(), name, "{address}");
        }
        assert_eq!(trunks.networks("one").as_deref(), Some("192.0.2.7/32,::1/128"));
        assert_eq!(trunks.networks("192.1.3.0/24"), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("'a b' = ['::1']", "\"a b\" is no name"),
            ("other = ['::1']", "\"other\" is no name"),
            ("'10.0.0.1' = ['::1']", "\"10.0.0.1\" is no name"),
            ("a = []", "trunks.a: at least one"),
            ("a = ['10.0.0.1/24']", "trunks.a: \"10.0.0.1/24\" is no network"),
            ("a = ['10.0.0.0/33']", "is no network"),
            ("a = ['pbx.example.com']", "is no network"),
            (
                "a = ['10.0.0.0/8']\nb = ['10.0.0.0/8']",
                "trunks.b: 10.0.0.0/8 already is one of a's",
            ),
        ] {
            let error = trunks(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
