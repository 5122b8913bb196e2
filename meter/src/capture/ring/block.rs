// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. A block of the ring: the packets in it, as the kernel laid them down (linux/if_packet.h).
//!
//! ```text
//! block   ├ descriptor, 48 octets: number of packets, where the first one is
//!         └ packets, each ├ header, 48 octets (tpacket3_hdr): where the next one is, time, lengths, VLAN tag
//!                         ├ where it came from, 20 octets (sockaddr_ll)
//!                         ├ room that we reserved
//!                         ├ 10 octets of what was merged (virtio_net_hdr), if asked for
//!                         └ octets of the packet, from the link header on
//! ```
//!
//! Numbers are in the order of octets of this machine. The kernel is trusted, and its offsets are checked all the same: what
//! is not within the block ends the walk over it.

use weir_flow::{LinkType, Merged, Packet, Timestamp};
use weir_parsers::packet::decode;

const DESCRIPTOR: usize = 48;
const HEADER: usize = 48;
/// Octets of the two hardware addresses, behind which a VLAN tag stands.
const ADDRESSES: usize = 12;
const TAG: usize = 4;
/// Octets of a `struct virtio_net_hdr` (linux/virtio_net.h).
pub const VNET: usize = 10;
/// The tag protocol of IEEE 802.1Q, if the kernel does not say.
const VLAN: u16 = 0x8100;

/// How the packets of a device begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// With an Ethernet header.
    Ethernet,
    /// With an Ethernet header, and each packet is seen twice: when it goes out and when it comes in. libpcap skips those
    /// that go out, and so do we.
    Loopback,
    /// With a header that nobody decodes, or none; the kernel says where IP begins.
    Network,
}

/// How to read blocks.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How packets begin.
    pub framing: Framing,
    /// Whether there are octets of what was merged.
    pub has_vnet: bool,
}

/// A packet in a block.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    at: u32,
    captured: u32,
    wire_octets: u32,
    ts: Timestamp,
    link: LinkType,
    merged: Merged,
    has_hardware_time: bool,
}

impl Found {
    /// In place of a packet that is not there.
    pub const NONE: Self = Self {
        at: 0,
        captured: 0,
        wire_octets: 0,
        ts: Timestamp::ZERO,
        link: LinkType::ETHERNET,
        merged: Merged::NOT,
        has_hardware_time: false,
    };

    /// Whether the interface took its time, not the kernel.
    pub fn has_hardware_time(&self) -> bool {
        self.has_hardware_time
    }

    /// Whether it was several packets on the wire.
    pub fn is_merged(&self) -> bool {
        self.merged.further_packets > 0
    }

    /// The packet, in the memory of its block.
    pub fn packet<'a>(&self, block: &'a [u8], interface: u32) -> Packet<'a> {
        let at = self.at as usize;
        Packet {
            data: block.get(at..at + self.captured as usize).unwrap_or_default(),
            wire_octets: self.wire_octets,
            ts: self.ts,
            interface,
            link: self.link,
            merged: self.merged,
        }
    }
}

/// What comes next in a block.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// Nothing.
    End,
    /// A packet.
    Packet(Found),
    /// A packet that is not wanted: it goes out of the loopback interface, and will be seen when it comes in.
    Outgoing,
}

/// A walk over the packets of a block.
#[derive(Debug)]
pub struct Walk {
    shape: Shape,
    /// Offset of the header of the next packet.
    at: usize,
    /// Packets that were not yet looked at.
    left: u32,
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..at.checked_add(4)?)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

impl Walk {
    /// Begins.
    pub fn new(block: &[u8], shape: Shape) -> Self {
        let left = u32_at(block, 12).unwrap_or(0);
        let at = u32_at(block, 16).unwrap_or(0) as usize;
        // The descriptor, too, must not be read as a packet.
        Self { shape, at, left: if at < DESCRIPTOR { 0 } else { left } }
    }

    /// Packets that the block has and that could not be found: none, if the kernel keeps its contract.
    pub fn unread(&self) -> u32 {
        self.left
    }

    /// Goes to the next packet, and puts its VLAN tag where it was on the wire.
    #[inline]
    pub fn next(&mut self, block: &mut [u8]) -> Next {
        if self.left == 0 {
            return Next::End;
        }
        let Some((header, next)) = Header::read(block, self.at) else { return Next::End };
        let Some(found) = header.found(block, self.shape) else { return Next::End };
        self.left -= 1;
        self.at += next;
        if self.left > 0 && next < HEADER {
            // It would go round in circles.
            self.at = usize::MAX;
        }
        found
    }
}

/// What the kernel says of a packet.
#[derive(Clone, Copy, Debug)]
struct Header {
    /// Offset of this header in the block.
    at: usize,
    ts: Timestamp,
    captured: u32,
    octets: u32,
    status: u32,
    /// Offset of the link header in the block.
    link_at: usize,
    /// Octets of the link header.
    link_octets: u32,
    tag: [u16; 2],
}

impl Header {
    /// Reads the header at an offset, and how far it is to the next one.
    #[inline]
    fn read(block: &[u8], at: usize) -> Option<(Self, usize)> {
        let header = block.get(at..at.checked_add(HEADER)?)?.first_chunk::<HEADER>()?;
        let u32_at = |at: usize| header.get(at..at + 4).and_then(<[u8]>::first_chunk).copied().map(u32::from_ne_bytes);
        let u16_at = |at: usize| header.get(at..at + 2).and_then(<[u8]>::first_chunk).copied().map(u16::from_ne_bytes);
        let nanos = u64::from(u32_at(4)?) * 1_000_000_000 + u64::from(u32_at(8)?);
        let (mac, net) = (u16_at(24)?, u16_at(26)?);
        let header = Self {
            at,
            ts: Timestamp::from_nanos(nanos),
            captured: u32_at(12)?,
            octets: u32_at(16)?,
            status: u32_at(20)?,
            link_at: at + usize::from(mac),
            link_octets: u32::from(net.saturating_sub(mac)),
            // The kernel has 32 bits for it, of which 16 are used.
            tag: [u16_at(36)?, u32_at(32)? as u16],
        };
        Some((header, u32_at(0)? as usize))
    }

    /// `None` if the packet is not within the block.
    #[inline]
    fn found(&self, block: &mut [u8], shape: Shape) -> Option<Next> {
        let end = self.link_at.checked_add(self.captured as usize)?;
        let data = block.get(self.link_at..end)?;
        let at = u32::try_from(self.link_at).ok()?;
        let merged = if shape.has_vnet { self.merged(block, data) } else { Merged::NOT };
        let mut found = Found {
            at,
            captured: self.captured,
            wire_octets: self.octets.max(self.captured).saturating_add(merged.repeated_octets()),
            ts: self.ts,
            link: LinkType::ETHERNET,
            merged,
            has_hardware_time: self.status & libc::TP_STATUS_TS_RAW_HARDWARE != 0,
        };
        match shape.framing {
            Framing::Ethernet => {}
            Framing::Loopback if self.is_outgoing(block) => return Some(Next::Outgoing),
            Framing::Loopback => {}
            Framing::Network => self.leave_link_out(&mut found, block),
        }
        if self.status & libc::TP_STATUS_VLAN_VALID != 0 && shape.framing != Framing::Network {
            self.put_tag_back(&mut found, block);
        }
        Some(Next::Packet(found))
    }

    /// Whether the packet goes out of the interface: `sockaddr_ll.sll_pkttype`.
    fn is_outgoing(&self, block: &[u8]) -> bool {
        block.get(self.at + HEADER + 10) == Some(&libc::PACKET_OUTGOING)
    }

    /// The packet from its network header on, which is IP if the kernel says so (`sockaddr_ll.sll_protocol`).
    fn leave_link_out(&self, found: &mut Found, block: &[u8]) {
        let protocol = block.get(self.at + HEADER + 2..).and_then(<[u8]>::first_chunk::<2>);
        let is_ip = matches!(protocol, Some([0x08, 0x00] | [0x86, 0xdd]));
        found.link = if is_ip { LinkType::RAW } else { LinkType(u16::MAX) };
        let octets = self.link_octets.min(found.captured);
        found.at += octets;
        found.captured -= octets;
        found.merged.header_octets = found.merged.header_octets.saturating_sub(octets as u16);
        let as_one = self.octets.max(self.captured).saturating_sub(octets);
        found.wire_octets = as_one.saturating_add(found.merged.repeated_octets());
    }

    /// Moves the hardware addresses forward by four octets, into the room before them, and the tag behind them. What was
    /// merged has been read by then: it may be overwritten.
    #[cold]
    fn put_tag_back(&self, found: &mut Found, block: &mut [u8]) {
        let Some(start) = self.link_at.checked_sub(TAG).filter(|start| *start >= self.at + HEADER) else { return };
        let Some(place) = block.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<{ ADDRESSES + TAG }>) else {
            return;
        };
        if (found.captured as usize) < ADDRESSES {
            return;
        }
        let [protocol, tag] = self.tag;
        let protocol = if self.status & libc::TP_STATUS_VLAN_TPID_VALID == 0 { VLAN } else { protocol };
        place.copy_within(TAG.., 0);
        let [.., p0, p1, t0, t1] = place;
        [*p0, *p1] = protocol.to_be_bytes();
        [*t0, *t1] = tag.to_be_bytes();
        found.at -= TAG as u32;
        found.captured += TAG as u32;
        if found.merged.further_packets > 0 {
            found.merged.header_octets = found.merged.header_octets.saturating_add(TAG as u16);
        }
        let as_one = self.octets.max(self.captured).saturating_add(TAG as u32);
        found.wire_octets = as_one.saturating_add(found.merged.repeated_octets());
    }

    /// What the packet was before the system merged it.
    #[inline]
    fn merged(&self, block: &[u8], data: &[u8]) -> Merged {
        let vnet = self.link_at.checked_sub(VNET).and_then(|at| block.get(at..)?.first_chunk::<VNET>());
        match vnet {
            Some(vnet) if vnet[1] != 0 => Vnet::new(*vnet).merged(data, self.octets),
            _ => Merged::NOT,
        }
    }
}

/// A `struct virtio_net_hdr`, as a packet socket has it.
#[derive(Clone, Copy, Debug)]
struct Vnet {
    /// The checksum is still to be made, from `checksum_start` on: so that is where the transport header begins.
    needs_checksum: bool,
    /// VIRTIO_NET_HDR_GSO_.
    kind: u8,
    /// Octets of payload of each packet but the last.
    segment_octets: u16,
    /// From the link header on.
    checksum_start: u16,
}

/// TCP over IPv4 and IPv6, and UDP (`UDP_L4`). Mode 3 is fragmentation, which no kernel of today does.
const MERGED_TCP_V4: u8 = 1;
const MERGED_TCP_V6: u8 = 4;
const MERGED_UDP: u8 = 5;
/// A flag in the kind: TCP with ECN.
const ECN: u8 = 0x80;

impl Vnet {
    #[cold]
    fn new(octets: [u8; VNET]) -> Self {
        let [flags, kind, _, _, size0, size1, start0, start1, ..] = octets;
        Self {
            needs_checksum: flags & 1 != 0,
            kind: kind & !ECN,
            segment_octets: u16::from_ne_bytes([size0, size1]),
            checksum_start: u16::from_ne_bytes([start0, start1]),
        }
    }

    /// `data` are the captured octets of a packet of `octets`.
    fn merged(self, data: &[u8], octets: u32) -> Merged {
        let Some(header_octets) = self.header_octets(data, octets) else { return Merged::NOT };
        let payload = octets.saturating_sub(u32::from(header_octets));
        if self.segment_octets == 0 || payload <= u32::from(self.segment_octets) {
            return Merged::NOT;
        }
        let packets = payload.div_ceil(self.segment_octets.into());
        Merged { further_packets: u16::try_from(packets - 1).unwrap_or(u16::MAX), header_octets }
    }

    /// Octets of headers, from the link layer to the transport layer, the innermost if there is a tunnel.
    fn header_octets(self, data: &[u8], octets: u32) -> Option<u16> {
        let start = self.checksum_start;
        match self.kind {
            MERGED_TCP_V4 | MERGED_TCP_V6 if self.needs_checksum => {
                let offset = data.get(usize::from(start) + 12)? >> 4;
                start.checked_add(u16::from(offset) * 4)
            }
            MERGED_UDP if self.needs_checksum => start.checked_add(8),
            MERGED_TCP_V4 | MERGED_TCP_V6 | MERGED_UDP => decoded_header_octets(data, octets),
            _ => None,
        }
    }
}

/// The same where the interface has checked the checksum, and nothing says where it begins.
fn decoded_header_octets(data: &[u8], octets: u32) -> Option<u16> {
    let (ts, link) = (Timestamp::ZERO, LinkType::ETHERNET);
    let decoded = decode(&Packet { data, wire_octets: octets, ts, interface: 0, link, merged: Merged::NOT }).ok()?;
    octets.checked_sub(decoded.payload_octets).and_then(|octets| u16::try_from(octets).ok())
}
