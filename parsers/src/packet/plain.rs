// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! The headers that most packets have: Ethernet with one VLAN tag or none, IPv4 without options or IPv6 without extension
//! headers, not fragmented, TCP or UDP.
//!
//! [`Plain::read`] gives of them what [`decode`](super::decode) gives, in numbers and with few branches; any other packet is
//! left to `decode`. What it saves is in docs/performance.md.

use weir_flow::{FlowKey, IpVersion, LinkType, Packet, protocol};

use super::{Decoded, Fragment, TcpSegment};

const ETHERNET: usize = 14;
const TAG: usize = 4;
const V4: usize = 20;
const V6: usize = 40;
/// Octets of a transport header that must be captured: TCP up to its flags.
const TRANSPORT: usize = 14;

/// Both addresses.
#[derive(Clone, Copy, Debug)]
pub enum Addresses {
    /// Source and destination, the first octet uppermost.
    V4([u32; 2]),
    /// Source and destination.
    V6([[u8; 16]; 2]),
}

/// What the metering process needs to know of a packet with the usual headers.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Source and destination address.
    pub addresses: Addresses,
    /// Source and destination port.
    pub ports: [u16; 2],
    /// Identifier of the VLAN tag, zero where there is none.
    pub vlan: u16,
    /// Protocol number: TCP or UDP.
    pub protocol: u8,
    /// Type of service octet of IPv4, traffic class of IPv6.
    pub class_of_service: u8,
    /// Octets from the IP header to the end of the IP payload.
    pub ip_octets: u32,
    /// Flags and sequence number of TCP; zero otherwise.
    pub tcp: TcpSegment,
    /// Offset of the payload in the packet's captured octets.
    pub payload: u32,
    /// Captured octets of payload.
    pub payload_captured: u32,
    /// Octets of payload as the headers claim.
    pub payload_octets: u32,
}

impl Plain {
    /// Reads a packet; `None` if its headers are not the usual ones.
    #[inline(always)]
    #[must_use]
    pub fn read(packet: &Packet<'_>) -> Option<Self> {
        const IPV4: u16 = 0x0800;
        const IPV6: u16 = 0x86dd;
        const VLAN: u16 = 0x8100;
        if packet.link != LinkType::ETHERNET {
            return None;
        }
        let (ethernet, ip) = packet.data.split_first_chunk::<ETHERNET>()?;
        match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
            IPV4 => Self::v4(ip, ETHERNET, 0),
            IPV6 => Self::v6(ip, ETHERNET, 0),
            VLAN => {
                let (tag, ip) = ip.split_first_chunk::<TAG>()?;
                let vlan = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
                match u16::from_be_bytes([tag[2], tag[3]]) {
                    IPV4 => Self::v4(ip, ETHERNET + TAG, vlan),
                    IPV6 => Self::v6(ip, ETHERNET + TAG, vlan),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// `ip` are the captured octets from the IP header on, `before` those before it.
    #[inline(always)]
    fn v4(ip: &[u8], before: usize, vlan: u16) -> Option<Self> {
        let header = ip.first_chunk::<{ V4 + TRANSPORT }>()?;
        let be16 = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let be32 = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        // Version 4 with 20 octets; neither "more fragments" nor an offset.
        if header[0] != 0x45 || be16(6) & 0x3fff != 0 {
            return None;
        }
        let claimed = u32::from(be16(2)).checked_sub(V4 as u32)?;
        let addresses = Addresses::V4([be32(12), be32(16)]);
        let transport = header.last_chunk()?;
        Self::transport(transport, header[9], ip.len() - V4, claimed, before + V4).map(|plain| Self {
            addresses,
            vlan,
            class_of_service: header[1],
            ip_octets: claimed + V4 as u32,
            ..plain
        })
    }

    #[inline(always)]
    fn v6(ip: &[u8], before: usize, vlan: u16) -> Option<Self> {
        let header = ip.first_chunk::<{ V6 + TRANSPORT }>()?;
        let claimed = u32::from(u16::from_be_bytes([header[4], header[5]]));
        // A length of zero is that of a jumbogram, or of nothing.
        if header[0] >> 4 != 6 || claimed == 0 {
            return None;
        }
        let address = |at: usize| header.get(at..at + 16).and_then(|octets| octets.first_chunk().copied());
        let addresses = Addresses::V6([address(8)?, address(24)?]);
        let class_of_service = header[0] << 4 | header[1] >> 4;
        let transport = header.last_chunk()?;
        Self::transport(transport, header[6], ip.len() - V6, claimed, before + V6).map(|plain| Self {
            addresses,
            vlan,
            class_of_service,
            ip_octets: claimed + V6 as u32,
            ..plain
        })
    }

    /// What the transport header says, of which `captured` octets are there with its payload and `claimed` should be, behind
    /// `before` others. The rest is for the caller to fill in.
    #[inline(always)]
    fn transport(header: &[u8; TRANSPORT], protocol: u8, captured: usize, claimed: u32, before: usize) -> Option<Self> {
        const MIN_TCP: u32 = 20;
        const UDP: u32 = 8;
        // A packet is far shorter than four gigabytes.
        #[expect(clippy::cast_possible_truncation, reason = "a packet is shorter")]
        let (captured, before) = ((captured as u32).min(claimed), before as u32);
        let be16 = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (octets, header_octets, tcp) = if protocol == protocol::TCP && claimed >= MIN_TCP {
            let offset_and_flags = be16(12);
            let header_octets = u32::from(offset_and_flags >> 12) * 4;
            if header_octets < MIN_TCP {
                return None;
            }
            let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            (claimed, header_octets, TcpSegment { flags: offset_and_flags & 0x0fff, sequence })
        } else if protocol == protocol::UDP && claimed >= UDP {
            let datagram = match u32::from(be16(4)) {
                0 => claimed,
                octets => octets.min(claimed),
            };
            (datagram, UDP, TcpSegment { flags: 0, sequence: 0 })
        } else {
            return None;
        };
        Some(Self {
            addresses: Addresses::V4([0; 2]),
            ports: [be16(0), be16(2)],
            vlan: 0,
            protocol,
            class_of_service: 0,
            ip_octets: 0,
            tcp,
            payload: before + header_octets,
            payload_captured: captured.min(octets).saturating_sub(header_octets),
            payload_octets: octets.saturating_sub(header_octets),
        })
    }

    /// The same as `decode` gives it, of the packet that this was read from.
    #[must_use]
    pub fn decoded<'a>(&self, packet: &Packet<'a>) -> Decoded<'a> {
        let (version, [src, dst]) = match self.addresses {
            Addresses::V4(addresses) => (IpVersion::V4, addresses.map(v4_octets)),
            Addresses::V6(addresses) => (IpVersion::V6, addresses),
        };
        let [src_port, dst_port] = self.ports;
        let behind = packet.data.get(self.payload as usize..).unwrap_or_default();
        Decoded {
            key: FlowKey { src, dst, src_port, dst_port, protocol: self.protocol, version, ..FlowKey::default() },
            ip_octets: self.ip_octets.into(),
            vlan: self.vlan,
            class_of_service: self.class_of_service,
            tcp: (self.protocol == protocol::TCP).then_some(self.tcp),
            icmp_type_code: None,
            fragment: Fragment::None,
            without_transport_header: false,
            payload: behind.get(..self.payload_captured as usize).unwrap_or_default(),
            payload_octets: self.payload_octets,
        }
    }
}

/// An address of IPv4 as a key has it.
fn v4_octets(address: u32) -> [u8; 16] {
    let [a, b, c, d] = address.to_be_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}
