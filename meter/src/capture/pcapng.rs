// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! pcapng files (draft-ietf-opsawg-pcapng).
//!
//! ```text
//! every block         type(4) total octets(4) body total octets(4)
//! section header      byte order magic(4) major(2) minor(2) section octets(8) options
//! interface           link type(2) reserved(2) snap length(4) options
//! enhanced packet     interface(4) time high(4) time low(4) captured(4) wire(4) data options
//! simple packet       wire(4) data
//! packet (obsolete)   interface(2) drops(2) time high(4) time low(4) captured(4) wire(4) data options
//! ```
//!
//! Read are the blocks above; of options, the time resolution and offset of an interface. All other blocks are passed over:
//! name resolution, statistics, secrets, custom ones. Interfaces are numbered across all sections of the file. A total
//! length that is no multiple of four, as early writers left it, is rounded up. The declared length of a section is not
//! used: blocks follow one another.

use weir_flow::{LinkType, Merged, Packet, Timestamp};

use super::MAX_CAPTURED;
use super::order::Order;
use super::pcap::too_long;
use super::records::{Record, Records};

/// First octets of a file: the type of a section header block, a palindrome.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Most octets of a block of any kind; as much as Wireshark allows.
const MAX_BLOCK: usize = 16 * 1024 * 1024;

/// Most interfaces that a file may describe: memory is bounded, and no machine has as many.
const MAX_INTERFACES: usize = 65_536;

/// Octets of a block around its body.
const FRAME_OCTETS: usize = 12;

const NANOS_PER_SEC: u32 = 1_000_000_000;

/// Block types.
mod block {
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
}

/// How ticks of an interface's clock become nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resolution {
    /// A tick is this many nanoseconds.
    Nanos(u64),
    /// This many ticks are a nanosecond.
    TicksPerNano(u64),
    /// A second has two to the power of this many ticks.
    Binary(u32),
}

impl Resolution {
    /// From the octet of the option.
    fn of(octet: u8) -> Self {
        let exponent = u32::from(octet & 0x7f);
        match (octet & 0x80, exponent) {
            (0, ..=9) => Self::Nanos(10_u64.pow(9 - exponent)),
            (0, _) => Self::TicksPerNano(10_u64.checked_pow(exponent - 9).unwrap_or(u64::MAX)),
            _ => Self::Binary(exponent),
        }
    }

    /// Nanoseconds of `ticks`, rounded down.
    fn nanos(self, ticks: u64) -> u128 {
        match self {
            Self::Nanos(nanos) => u128::from(ticks) * u128::from(nanos),
            Self::TicksPerNano(per_nano) => u128::from(ticks / per_nano),
            // At most 2^94 before the shift, which is at most 127.
            Self::Binary(exponent) => (u128::from(ticks) * u128::from(NANOS_PER_SEC)) >> exponent,
        }
    }
}

/// What an interface description block says.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// Most octets that were captured of a packet; zero for no bound.
    snap_octets: u32,
    resolution: Resolution,
    /// Seconds to add to each timestamp.
    offset_secs: i64,
}

impl Interface {
    fn timestamp(&self, ticks: u64) -> Timestamp {
        let nanos = self.resolution.nanos(ticks);
        if self.offset_secs == 0 {
            return Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        let offset = i128::from(self.offset_secs) * i128::from(NANOS_PER_SEC);
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(offset).max(0);
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The blocks of a pcapng file.
#[derive(Debug)]
pub(super) struct Pcapng {
    /// Byte order of the section; `None` before the first.
    order: Option<Order>,
    /// All interfaces of the file.
    interfaces: Vec<Interface>,
    /// How many of them belong to earlier sections.
    earlier_interfaces: usize,
    /// Time of the latest packet read, for those that carry none.
    latest: Timestamp,
}

impl Pcapng {
    pub(super) fn new() -> Self {
        Self { order: None, interfaces: Vec::new(), earlier_interfaces: 0, latest: Timestamp::ZERO }
    }

    /// Starts a section.
    fn section(&mut self, order: Order, body: &[u8]) -> Result<(), String> {
        let mut fields = Fields { order, rest: body };
        match (fields.u32(), fields.u16(), fields.u16()) {
            (Some(_), Some(1), Some(_)) => {}
            (_, Some(major), Some(minor)) => return Err(format!("pcapng version {major}.{minor} is not known")),
            _ => return Err("a section header too short for its version".to_owned()),
        }
        self.order = Some(order);
        self.earlier_interfaces = self.interfaces.len();
        Ok(())
    }

    fn interface(&mut self, order: Order, body: &[u8]) -> Result<(), String> {
        let mut fields = Fields { order, rest: body };
        let (Some(link), Some(_), Some(snap_octets)) = (fields.u16(), fields.u16(), fields.u32()) else {
            return Err("an interface description too short for its fields".to_owned());
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(format!("more than {MAX_INTERFACES} interfaces"));
        }
        let mut interface =
            Interface { link: LinkType(link), snap_octets, resolution: Resolution::of(6), offset_secs: 0 };
        // An option list that runs over the end is as good as one that ends there.
        while let (Some(code), Some(len)) = (fields.u16(), fields.u16()) {
            const END: u16 = 0;
            const TIME_RESOLUTION: u16 = 9;
            const TIME_OFFSET: u16 = 14;
            let Some(value) = fields.take(usize::from(len)) else { break };
            fields.take(value.len().next_multiple_of(4) - value.len());
            match (code, value) {
                (END, _) => break,
                (TIME_RESOLUTION, [octet, ..]) => interface.resolution = Resolution::of(*octet),
                (TIME_OFFSET, _) if let Some(octets) = value.first_chunk() => {
                    interface.offset_secs = order.u64(*octets).cast_signed();
                }
                _ => {}
            }
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// The interface that a packet block names by its number within the section, and its number within the file.
    fn named(&self, id: u32) -> Result<(&Interface, u32), String> {
        let index = self.earlier_interfaces.saturating_add(id as usize);
        match (self.interfaces.get(index), u32::try_from(index)) {
            (Some(interface), Ok(index)) => Ok((interface, index)),
            _ => Err(format!(
                "a packet of interface {id}, but the section has described {}",
                self.interfaces.len() - self.earlier_interfaces
            )),
        }
    }

    /// The packet of a packet block with fields `interface` to `wire`.
    fn packet<'a>(&self, id: Option<u32>, mut fields: Fields<'a>) -> Result<Packet<'a>, String> {
        let (Some(id), Some(high), Some(low), Some(captured), Some(wire)) =
            (id, fields.u32(), fields.u32(), fields.u32(), fields.u32())
        else {
            return Err("a packet block too short for its fields".to_owned());
        };
        let (interface, index) = self.named(id)?;
        if captured > MAX_CAPTURED {
            return Err(too_long(captured));
        }
        let Some(data) = fields.take(captured as usize) else {
            return Err(format!("a packet of {captured} octets in a block with room for {}", fields.rest.len()));
        };
        Ok(Packet {
            data,
            wire_octets: wire.max(captured),
            ts: interface.timestamp(u64::from(high) << 32 | u64::from(low)),
            interface: index,
            link: interface.link,
            merged: Merged::NOT,
        })
    }

    fn simple_packet<'a>(&self, mut fields: Fields<'a>) -> Result<Packet<'a>, String> {
        let Some(wire) = fields.u32() else {
            return Err("a simple packet block too short for its length".to_owned());
        };
        let (interface, index) = self.named(0)?;
        let captured = match interface.snap_octets {
            0 => wire,
            snap_octets => wire.min(snap_octets),
        };
        if captured > MAX_CAPTURED {
            return Err(too_long(captured));
        }
        let Some(data) = fields.take(captured as usize) else {
            return Err(format!("a packet of {captured} octets in a block with room for {}", fields.rest.len()));
        };
        Ok(Packet {
            data,
            wire_octets: wire,
            ts: self.latest,
            interface: index,
            link: interface.link,
            merged: Merged::NOT,
        })
    }

    /// The block with its frame checked; `None` in place of the packet for blocks of other kinds.
    fn block<'a>(&mut self, kind: u32, order: Order, body: &'a [u8]) -> Result<Option<Packet<'a>>, String> {
        let mut fields = Fields { order, rest: body };
        match kind {
            block::ENHANCED_PACKET => {
                let id = fields.u32();
                self.packet(id, fields).map(Some)
            }
            block::PACKET => {
                let (id, _drops) = (fields.u16(), fields.u16());
                self.packet(id.map(u32::from), fields).map(Some)
            }
            block::SIMPLE_PACKET => self.simple_packet(fields).map(Some),
            block::INTERFACE => self.interface(order, body).map(|()| None),
            block::SECTION => self.section(order, body).map(|()| None),
            _ => Ok(None),
        }
    }
}

impl Records for Pcapng {
    fn read<'a>(&mut self, bytes: &'a [u8], place: &mut Packet<'a>) -> Record {
        const SHORT: Record = Record::Short { octets: FRAME_OCTETS, part: "block" };
        let Some(&[k0, k1, k2, k3, t0, t1, t2, t3, m0, m1, m2, m3]) = bytes.first_chunk() else { return SHORT };
        let kind = [k0, k1, k2, k3];
        let order = if kind == MAGIC {
            const BYTE_ORDER: u32 = 0x1a2b_3c4d;
            let orders = [Order::Little, Order::Big];
            let Some(order) = orders.into_iter().find(|order| order.u32([m0, m1, m2, m3]) == BYTE_ORDER) else {
                return Record::Damaged(format!("a section with byte order magic {m0:02x}{m1:02x}{m2:02x}{m3:02x}"));
            };
            order
        } else if let Some(order) = self.order {
            order
        } else {
            return Record::Damaged("a block before the first section header".to_owned());
        };
        let kind = order.u32(kind);
        let total = order.u32([t0, t1, t2, t3]);
        let octets = (total as usize).saturating_add(3) & !3;
        if !(FRAME_OCTETS..=MAX_BLOCK).contains(&octets) {
            return Record::Damaged(format!("a block of type {kind:#x} and {total} octets"));
        }
        let Some(block) = bytes.get(..octets) else { return Record::Short { octets, part: "block" } };
        let (Some([_, _, _, _, _, _, _, _, body @ ..]), Some(trailer)) =
            (block.split_last_chunk::<4>().map(|(b, _)| b), block.last_chunk())
        else {
            return SHORT;
        };
        let trailer = order.u32(*trailer);
        if trailer != total {
            return Record::Damaged(format!("a block of {total} octets that says {trailer} at its end"));
        }
        match self.block(kind, order, body) {
            Ok(Some(packet)) => {
                self.latest = packet.ts;
                *place = packet;
                Record::Packet { octets }
            }
            Ok(None) => Record::Other { octets },
            Err(what) => Record::Damaged(what),
        }
    }
}

/// Fields of a block body, in the byte order of its section.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    order: Order,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, octets: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(octets)?;
        self.rest = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let (octets, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(self.order.u16(*octets))
    }

    fn u32(&mut self) -> Option<u32> {
        let (octets, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(self.order.u32(*octets))
    }
}
