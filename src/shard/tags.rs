//! Our tags (RFC 3261 section 19.3), of which nothing is remembered: each is a hash of what it
//! names, with a secret.
//!
//! One half names the dialog, and any shard can see that it is of this appliance. The other also
//! depends on the address that it was sent to: who comes from there and knows it reads what is sent
//! there, as with the cookies of TCP.

use core::hash::{BuildHasher as _, Hasher as _};
use std::net::IpAddr;

use crate::wire::put::HEX_LEN;

/// What a tag shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It is not ours.
    Nothing,
    /// Who has it knows of the dialog.
    Dialog,
    /// Who has it reads what is sent to its address.
    Source,
}

/// Makes tags and knows them again.
#[derive(Clone, Debug)]
pub(crate) struct Tags {
    hasher: foldhash::quality::FixedState,
}

impl Tags {
    /// The same `seed`, a secret, gives the same tags.
    pub(crate) fn new(seed: u64) -> Self {
        Self { hasher: foldhash::quality::FixedState::with_seed(!seed) }
    }

    /// Our tag in the dialog of a request that came from `source`.
    pub(crate) fn of(&self, call_id: &[u8], remote_tag: &[u8], source: IpAddr) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(call_id);
        hasher.write(remote_tag);
        let dialog = hasher.finish();
        match source.to_canonical() {
            IpAddr::V4(v4) => hasher.write_u32(v4.to_bits()),
            IpAddr::V6(v6) => hasher.write_u128(v6.to_bits()),
        }
        dialog & DIALOG | hasher.finish() & !DIALOG
    }

    /// What a tag in a message from `source` shows.
    pub(crate) fn proves(
        &self,
        tag: &[u8],
        call_id: &[u8],
        remote_tag: &[u8],
        source: IpAddr,
    ) -> Proof {
        let Some(tag) = read(tag) else { return Proof::Nothing };
        let ours = self.of(call_id, remote_tag, source);
        match (tag ^ ours) & DIALOG {
            0 if tag == ours => Proof::Source,
            0 => Proof::Dialog,
            _ => Proof::Nothing,
        }
    }
}

/// A tag as it is written: hexadecimal digits.
fn read(tag: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(tag).ok().filter(|text| text.len() == TAG_LEN)?;
    u64::from_str_radix(text, 16).ok()
}

/// Characters of a tag.
pub(crate) const TAG_LEN: usize = HEX_LEN;

/// The half that names the dialog.
const DIALOG: u64 = 0xFFFF_FFFF_0000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_shows_its_dialog_to_all_and_its_address_to_one() {
        let tags = Tags::new(5);
        let (here, there) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let tag = format!("{:016x}", tags.of(b"call", b"tag", here));
        let proof = |tag: &str, call: &[u8], ip| tags.proves(tag.as_bytes(), call, b"tag", ip);
        assert_eq!(proof(&tag, b"call", here), Proof::Source);
        assert_eq!(proof(&tag, b"call", there), Proof::Dialog);
        assert_eq!(proof(&tag, b"other", here), Proof::Nothing);
        assert_eq!(proof("0123456789abcdef", b"call", here), Proof::Nothing);
        assert_eq!(proof("no hex at all...", b"call", here), Proof::Nothing);
    }
}
