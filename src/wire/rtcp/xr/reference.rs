//! Reference times of receivers and their answers (RFC 3611 sections 4.4 and 4.5): what one who
//! sends no media needs to know its round trip.
//!
//! Never reads a clock; [`round_trip_us`](crate::wire::rtcp::round_trip_us) does the arithmetic.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U32, U64},
};

use super::{BlockHeader, RECEIVER_REFERENCE_TIME};
use crate::id::Ssrc;

/// A receiver reference time report block, 12 octets as they stand on the wire (RFC 3611
/// section 4.4).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct ReceiverReferenceTime {
    header: BlockHeader,
    ntp: U64,
}

impl ReceiverReferenceTime {
    /// Of now by our clock, as a 64-bit NTP timestamp.
    #[must_use]
    pub fn new(ntp: u64) -> Self {
        Self { header: BlockHeader::of::<Self>(RECEIVER_REFERENCE_TIME, 0), ntp: ntp.into() }
    }

    /// When it was sent by the sender's clock: 32 bits of seconds, since 1900 or since it joined,
    /// 32 of fraction; 0 if it has no clock.
    #[must_use]
    pub const fn ntp(&self) -> u64 {
        self.ntp.get()
    }

    /// The middle 32 bits of that, which an answer repeats as its LRR; 0 if there is no clock.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the middle of an NTP timestamp")]
    pub const fn ntp_middle(&self) -> u32 {
        (self.ntp.get() >> 16) as u32
    }
}

/// What a DLRR report block says to one receiver, 12 octets as they stand on the wire (RFC 3611
/// section 4.5).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DlrrSubBlock {
    ssrc: U32,
    lrr: U32,
    dlrr: U32,
}

impl DlrrSubBlock {
    /// An answer to `ssrc`; the others are as [`lrr`](Self::lrr) and [`dlrr`](Self::dlrr) have
    /// them.
    #[must_use]
    pub fn new(ssrc: Ssrc, lrr: u32, dlrr: u32) -> Self {
        Self { ssrc: ssrc.0.into(), lrr: lrr.into(), dlrr: dlrr.into() }
    }

    /// The receiver whose reference time is answered.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(self.ssrc.get())
    }

    /// The middle 32 bits of the last reference time that came from it; 0 if none did.
    #[must_use]
    pub const fn lrr(&self) -> u32 {
        self.lrr.get()
    }

    /// Time since that came, in 1/65536 s; 0 if none did.
    #[must_use]
    pub const fn dlrr(&self) -> u32 {
        self.dlrr.get()
    }
}
