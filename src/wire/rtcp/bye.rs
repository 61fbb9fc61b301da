//! Goodbyes (RFC 3550 section 6.6): that sources have left.
//!
//! Never ends anything: a goodbye is what a source says, not that it is so.

use zerocopy::{FromBytes, network_endian::U32};

use super::{GOODBYE, WORD_LEN, write_packet};
use crate::id::Ssrc;

/// A goodbye (RFC 3550 section 6.6).
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    sources: &'a [U32],
    reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn new(count: u8, body: &'a [u8]) -> Result<Self, usize> {
        let (sources, rest) = <[U32]>::ref_from_prefix_with_elems(body, usize::from(count))
            .map_err(|_| usize::from(count) * WORD_LEN)?;
        let reason = match rest {
            [len, text @ ..] => text.get(..usize::from(*len)),
            [] => None,
        };
        Ok(Self { sources, reason })
    }

    /// The sources that have left, 0 to 31.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.sources.iter().map(|ssrc| Ssrc(ssrc.get()))
    }

    /// Why, in words; `None` if not said or if it overruns the packet.
    #[must_use]
    pub const fn reason(&self) -> Option<&'a [u8]> {
        self.reason
    }
}

/// Appends a goodbye of one source without a reason.
pub fn write_bye(out: &mut Vec<u8>, ssrc: Ssrc) {
    write_packet(out, GOODBYE, 1, |out| out.extend_from_slice(&ssrc.0.to_be_bytes()));
}
