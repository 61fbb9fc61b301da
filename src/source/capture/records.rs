//! The records of a capture file, found one after the other in bytes that were read of it.
//!
//! No record is longer than [`RECORD_MAX`]: what claims to be is not believed, and never
//! allocated for.

use crate::{
    time::{NANOS_PER_SEC, Timestamp},
    wire::frame::LinkType,
};

use super::pcapng::PcapNg;

/// A captured packet. Its bytes are a range of those that were walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) link: LinkType,
    /// Its length on the wire, in bytes.
    pub(super) original_len: u32,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// What is at the front of some bytes.
#[derive(Debug)]
pub(super) enum Step {
    /// A packet in so many bytes.
    Packet(Record, usize),
    /// So many bytes without a packet; they may go on behind what was read.
    Other(u64),
    /// Nothing whole: so many bytes are needed.
    Needs(usize),
    /// Nothing that can be.
    Damaged(&'static str),
}

/// The format of a file and what its records have been found to mean.
#[derive(Debug)]
pub(super) enum Records {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

impl Records {
    /// The format by the first bytes of a file, with the length of the file's header.
    pub(super) fn recognise(bytes: &[u8]) -> Result<(Self, usize), NotRecords> {
        let &magic = bytes.first_chunk().ok_or(NotRecords::Short)?;
        if u32::from_le_bytes(magic) == super::pcapng::SECTION_HEADER {
            return Ok((Self::PcapNg(PcapNg::recognise(bytes)?), 0));
        }
        let pcap = Pcap::recognise(magic).ok_or(NotRecords::Unknown)?;
        let header = bytes.get(..PCAP_HEADER_LEN).ok_or(NotRecords::Short)?;
        // Above the type's 16 bits is how long frame check sequences are.
        let link = LinkType((pcap.order.u32(header, 20) & 0xFFFF) as u16);
        Ok((Self::Pcap(Pcap { link, ..pcap }), PCAP_HEADER_LEN))
    }

    /// The short way to the next packet of a pcap file: what [`step`](Self::step) would find, with
    /// its length, or nothing.
    #[inline]
    pub(super) fn packet(&self, bytes: &[u8]) -> Option<(Record, usize)> {
        let Self::Pcap(pcap) = self else { return None };
        pcap.packet(bytes)
    }

    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        match self {
            Self::Pcap(pcap) => pcap.step(bytes),
            Self::PcapNg(pcapng) => pcapng.step(bytes),
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Pcap(_) => "pcap",
            Self::PcapNg(_) => "pcapng",
        }
    }
}

/// Why bytes are not the beginning of a capture.
#[derive(Clone, Copy, Debug)]
pub(super) enum NotRecords {
    Short,
    Unknown,
}

/// The byte order of whichever host wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let value = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(value),
            Self::Big => u32::from_be_bytes(value),
        }
    }

    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let value = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(value),
            Self::Big => u16::from_be_bytes(value),
        }
    }
}

/// The format of `pcap-savefile(5)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    order: Order,
    /// Of the fraction of a second.
    unit_nanos: u32,
    record_header_len: usize,
    link: LinkType,
}

impl Pcap {
    fn recognise(magic: [u8; 4]) -> Option<Self> {
        let of = |magic| match magic {
            MICROSECONDS => Some((1000, RECORD_HEADER_LEN)),
            NANOSECONDS => Some((1, RECORD_HEADER_LEN)),
            MODIFIED => Some((1000, MODIFIED_RECORD_HEADER_LEN)),
            _ => None,
        };
        let little = of(u32::from_le_bytes(magic)).map(|found| (Order::Little, found));
        let found = little.or_else(|| of(u32::from_be_bytes(magic)).map(|it| (Order::Big, it)));
        let (order, (unit_nanos, record_header_len)) = found?;
        Some(Self { order, unit_nanos, record_header_len, link: LinkType::ETHERNET })
    }

    /// Always in line: a record that goes through memory costs as much as reading it.
    #[inline(always)]
    fn packet(&self, bytes: &[u8]) -> Option<(Record, usize)> {
        let start = self.record_header_len;
        let header = bytes.get(..start)?;
        let field = |at| self.order.u32(header, at);
        let len = field(8) as usize;
        if len > CAPTURED_MAX || bytes.len() < start + len {
            return None;
        }
        let nanos =
            u64::from(field(0)) * NANOS_PER_SEC + u64::from(field(4)) * u64::from(self.unit_nanos);
        let time = Timestamp::from_nanos(nanos);
        let record = Record { time, link: self.link, original_len: field(12), start, len };
        Some((record, start + len))
    }

    fn step(&self, bytes: &[u8]) -> Step {
        if let Some((record, len)) = self.packet(bytes) {
            return Step::Packet(record, len);
        }
        let start = self.record_header_len;
        if bytes.len() < start {
            return Step::Needs(start);
        }
        match self.order.u32(bytes, 8) as usize {
            len if len > CAPTURED_MAX => {
                Step::Damaged("a packet claims to be longer than packets are captured")
            }
            len => Step::Needs(start + len),
        }
    }
}

/// The longest packet that libpcap captures on any link but one (`MAXIMUM_SNAPLEN`).
pub(super) const CAPTURED_MAX: usize = 262_144;
/// A packet with what is written around it: in pcapng, options.
pub(super) const RECORD_MAX: usize = CAPTURED_MAX + 65_536;

const PCAP_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;
/// With the interface, the protocol and the packet's type, as patched libpcaps wrote it.
const MODIFIED_RECORD_HEADER_LEN: usize = 24;
const MICROSECONDS: u32 = 0xA1B2_C3D4;
const NANOSECONDS: u32 = 0xA1B2_3C4D;
const MODIFIED: u32 = 0xA1B2_CD34;
