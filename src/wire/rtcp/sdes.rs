//! Source descriptions (RFC 3550 section 6.5): who sources are.
//!
//! Never checks that a text is UTF-8 and never keeps one.

use zerocopy::{FromBytes, network_endian::U32};

use super::{SOURCE_DESCRIPTION, WORD_LEN, write_packet};
use crate::id::Ssrc;

/// A source description (RFC 3550 section 6.5).
#[derive(Clone, Copy, Debug)]
pub struct Sdes<'a> {
    count: u8,
    body: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) const fn new(count: u8, body: &'a [u8]) -> Self {
        Self { count, body }
    }

    /// One chunk per source. Ends early where a chunk is cut or an item overruns its packet.
    pub fn chunks(&self) -> impl Iterator<Item = SdesChunk<'a>> + use<'a> {
        let mut rest = self.body;
        (0..self.count).map_while(move |_| {
            let (ssrc, after) = U32::ref_from_prefix(rest).ok()?;
            let items = after.get(..items_len(after)?)?;
            let with_terminator = WORD_LEN + (items.len() + 1).next_multiple_of(WORD_LEN);
            rest = rest.get(with_terminator..).unwrap_or(&[]);
            Some(SdesChunk { ssrc: Ssrc(ssrc.get()), items })
        })
    }
}

/// Octets of whole items up to a terminator or, as some senders leave it, the end.
fn items_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at..)? {
            [] | [SDES_END, ..] => return Some(at),
            [_, len, ..] => at += 2 + usize::from(*len),
            [_] => return None,
        }
    }
}

/// What a source description says of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// The source.
    pub ssrc: Ssrc,
    items: &'a [u8],
}

impl<'a> SdesChunk<'a> {
    /// The items in order.
    pub fn items(&self) -> impl Iterator<Item = SdesItem<'a>> + use<'a> {
        let mut rest = self.items;
        core::iter::from_fn(move || {
            let [kind, len, after @ ..] = rest else { return None };
            let (text, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            Some(SdesItem { kind: *kind, text })
        })
    }

    /// The canonical name, the one item every source must give (RFC 3550 section 6.5.1).
    #[must_use]
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items().find(|item| item.kind == SdesItem::CNAME).map(|item| item.text)
    }
}

/// One item of a source description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// What the text is: 1 CNAME, 2 NAME, 3 EMAIL, 4 PHONE, 5 LOC, 6 TOOL, 7 NOTE, 8 PRIV.
    pub kind: u8,
    /// UTF-8 by the RFC, anything in fact.
    pub text: &'a [u8],
}

impl SdesItem<'_> {
    /// The kind of a canonical name.
    pub const CNAME: u8 = 1;
}

/// Appends a source description with a canonical name, of which 255 octets have a place.
pub fn write_cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    let cname = &cname.as_bytes()[..cname.len().min(SDES_TEXT_MAX)];
    write_packet(out, SOURCE_DESCRIPTION, 1, |out| {
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        out.extend_from_slice(&[SdesItem::CNAME, u8::try_from(cname.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(cname);
        out.push(SDES_END);
    });
}

/// RFC 3550 section 6.5: ends a chunk.
const SDES_END: u8 = 0;
/// An item's length is one octet.
const SDES_TEXT_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_where_an_item_overruns() {
        let sdes = |body: &'static [u8], count| Sdes { count, body };
        let names = |sdes: Sdes<'static>| -> Vec<_> {
            sdes.chunks().map(|chunk| (chunk.ssrc.0, chunk.cname())).collect()
        };
        let two = b"\0\0\0\x01\x01\x02ab\0\0\0\0\0\0\0\x02\x01\x01c\0";
        assert_eq!(names(sdes(two, 2)), [(1, Some(&b"ab"[..])), (2, Some(&b"c"[..]))]);
        assert_eq!(names(sdes(b"\0\0\0\x01\x01\x02ab", 1)), [(1, Some(&b"ab"[..]))]);
        assert_eq!(names(sdes(b"\0\0\0\x01\x01\x09ab", 1)), []);
    }
}
