//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng).
//!
//! Blocks that hold no packet and describe no interface are passed over unread.

use pcap_parser::{
    InterfaceDescriptionBlock, OptionCode, parse_interfacedescriptionblock_be,
    parse_interfacedescriptionblock_le,
};

use crate::{
    time::{NANOS_PER_SEC, Timestamp},
    wire::frame::LinkType,
};

use super::records::{CAPTURED_MAX, NotRecords, Order, RECORD_MAX, Record, Step};

/// A file of sections, and what the one that is being read has said.
#[derive(Debug)]
pub(super) struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
    /// Simple packets have no time of their own.
    last_time: Timestamp,
}

impl PcapNg {
    pub(super) fn recognise(bytes: &[u8]) -> Result<Self, NotRecords> {
        let magic = bytes.get(8..12).ok_or(NotRecords::Short)?;
        let order = byte_order(magic).ok_or(NotRecords::Unknown)?;
        Ok(Self { order, interfaces: Vec::new(), last_time: Timestamp::MIN })
    }

    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if bytes.len() < BLOCK_LEN_MIN {
            return Step::Needs(BLOCK_LEN_MIN);
        }
        let kind = self.order.u32(bytes, 0);
        if kind == SECTION_HEADER {
            let Some(order) = byte_order(&bytes[8..12]) else {
                return Step::Damaged("a section does not say its byte order");
            };
            self.order = order;
            self.interfaces.clear();
        }
        let len = self.order.u32(bytes, 4) as usize;
        if len < BLOCK_LEN_MIN || !len.is_multiple_of(4) {
            return Step::Damaged("a block claims a length that no block has");
        }
        if !matches!(kind, INTERFACE | ENHANCED_PACKET | SIMPLE_PACKET | OLD_PACKET) {
            return Step::Other(len as u64);
        }
        if len > RECORD_MAX {
            return Step::Damaged("a packet claims to be longer than packets are captured");
        }
        let Some(block) = bytes.get(..len) else { return Step::Needs(len) };
        if self.order.u32(block, len - 4) as usize != len {
            return Step::Damaged("a block does not end where it says");
        }
        match kind {
            INTERFACE => self.interface(block),
            SIMPLE_PACKET => self.simple_packet(block),
            _ => self.packet(block, kind == OLD_PACKET),
        }
    }

    /// Section 4.2.
    fn interface(&mut self, block: &[u8]) -> Step {
        let parsed = match self.order {
            Order::Little => parse_interfacedescriptionblock_le(block),
            Order::Big => parse_interfacedescriptionblock_be(block),
        };
        let Ok((_, description)) = parsed else {
            return Step::Damaged("the description of an interface cannot be read");
        };
        if self.interfaces.len() == INTERFACES_MAX {
            return Step::Damaged("there are more interfaces than any host has");
        }
        self.interfaces.push(Interface::new(&description, self.order));
        Step::Other(block.len() as u64)
    }

    /// Section 4.3, and appendix A for the one that came before it.
    fn packet(&mut self, block: &[u8], is_old: bool) -> Step {
        let start = 28;
        if block.len() < start + TRAILER_LEN {
            return Step::Damaged("a packet's block is shorter than its header");
        }
        let field = |at| self.order.u32(block, at);
        let len = field(20) as usize;
        if len > CAPTURED_MAX || len > block.len() - start - TRAILER_LEN {
            return Step::Damaged("a packet claims to be longer than its block");
        }
        let interface = match is_old {
            true => usize::from(self.order.u16(block, 8)),
            false => field(8) as usize,
        };
        let Some(interface) = self.interfaces.get(interface) else {
            return Step::Damaged("a packet is of an interface that was not described");
        };
        let time = interface.time(u64::from(field(12)) << 32 | u64::from(field(16)));
        self.last_time = time;
        let record = Record { time, link: interface.link, original_len: field(24), start, len };
        Step::Packet(record, block.len())
    }

    /// Section 4.4: it is of the first interface, and as long as that captures.
    fn simple_packet(&self, block: &[u8]) -> Step {
        let start = 12;
        if block.len() < start + TRAILER_LEN {
            return Step::Damaged("a packet's block is shorter than its header");
        }
        let Some(interface) = self.interfaces.first() else {
            return Step::Damaged("a packet is of an interface that was not described");
        };
        let original_len = self.order.u32(block, 8);
        let len =
            (original_len as usize).min(interface.snap_len).min(block.len() - start - TRAILER_LEN);
        let (time, link) = (self.last_time, interface.link);
        Step::Packet(Record { time, link, original_len, start, len }, block.len())
    }
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    snap_len: usize,
    resolution: Resolution,
    offset_secs: i64,
}

impl Interface {
    fn new(description: &InterfaceDescriptionBlock<'_>, order: Order) -> Self {
        let value =
            |code| description.options.iter().find(|option| option.code == code)?.as_bytes().ok();
        let resolution = match value(OptionCode::IfTsresol) {
            Some(&[resolution]) => Resolution::new(resolution),
            _ => Resolution::MICROSECONDS,
        };
        let offset = value(OptionCode::IfTsoffset).and_then(|value| value.try_into().ok());
        let offset_secs = offset.map_or(0, |offset| match order {
            Order::Little => i64::from_le_bytes(offset),
            Order::Big => i64::from_be_bytes(offset),
        });
        let snap_len = match description.snaplen as usize {
            0 => CAPTURED_MAX,
            len => len,
        };
        // The parser widens what is an unsigned 16-bit number in the file.
        let link = LinkType(u16::try_from(description.linktype.0).unwrap_or(u16::MAX));
        Self { link, snap_len, resolution, offset_secs }
    }

    fn time(&self, units: u64) -> Timestamp {
        let nanos = i128::from(self.resolution.nanos(units))
            + i128::from(self.offset_secs) * i128::from(NANOS_PER_SEC);
        let nanos = nanos.clamp(0, i128::from(u64::MAX));
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// How long a unit of time is (`if_tsresol`).
#[derive(Clone, Copy, Debug)]
enum Resolution {
    /// So many nanoseconds.
    Nanos(u64),
    /// So many to a nanosecond.
    PerNano(u64),
    /// So many halvings of a second.
    Halvings(u32),
}

impl Resolution {
    const MICROSECONDS: Self = Self::Nanos(1000);

    fn new(value: u8) -> Self {
        let exponent = u32::from(value & 0x7F);
        match exponent {
            // No clock is finer than a part in 2^63 of a second.
            _ if value & 0x80 != 0 => Self::Halvings(exponent.min(63)),
            0..=9 => Self::Nanos(10_u64.pow(9 - exponent)),
            _ => Self::PerNano(10_u64.checked_pow(exponent - 9).unwrap_or(u64::MAX)),
        }
    }

    fn nanos(self, units: u64) -> u64 {
        match self {
            Self::Nanos(nanos) => units.saturating_mul(nanos),
            Self::PerNano(units_per_nano) => units / units_per_nano,
            Self::Halvings(halvings) => {
                let nanos = (u128::from(units) * u128::from(NANOS_PER_SEC)) >> halvings;
                u64::try_from(nanos).unwrap_or(u64::MAX)
            }
        }
    }
}

fn byte_order(magic: &[u8]) -> Option<Order> {
    match magic {
        [0x4D, 0x3C, 0x2B, 0x1A] => Some(Order::Little),
        [0x1A, 0x2B, 0x3C, 0x4D] => Some(Order::Big),
        _ => None,
    }
}

/// Block types (section 10.1); a section's reads the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type and length, and the length again.
const BLOCK_LEN_MIN: usize = 12;
const TRAILER_LEN: usize = 4;
/// `tcpdump -i any` has one for all, Wireshark one for each: dozens. 32 bytes each.
const INTERFACES_MAX: usize = 65_536;
