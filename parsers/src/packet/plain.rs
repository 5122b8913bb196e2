// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! The headers that most packets have: Ethernet with one VLAN tag or none, IPv4 without options or IPv6 without extension
//! headers, not fragmented, TCP or UDP, captured in full.
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

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;

/// Both addresses.
#[derive(Clone, Copy, Debug)]
pub enum Addresses {
    /// Source in the upper half, destination in the lower; the first octet uppermost in each.
    V4(u64),
    /// Source and destination.
    V6([[u8; 16]; 2]),
}

/// What the metering process needs to know of a packet with the usual headers.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Source and destination address.
    pub addresses: Addresses,
    /// Source port in the upper half, destination port in the lower.
    pub ports: u32,
    /// Identifier of the VLAN tag, zero where there is none.
    pub vlan: u16,
    /// Protocol number: TCP or UDP.
    pub protocol: u8,
    /// Type of service octet of IPv4, traffic class of IPv6.
    pub class_of_service: u8,
    /// Octets from the IP header to the end of the IP payload.
    pub ip_octets: u32,
    /// Flags and sequence number of TCP; of UDP no flags, and any number.
    pub tcp: TcpSegment,
    /// Offset of the payload in the packet's captured octets.
    pub payload: u32,
    /// Octets of payload, all of them captured.
    pub payload_octets: u32,
}

impl Plain {
    /// Reads a packet; `None` if its headers are not the usual ones.
    #[inline]
    #[must_use]
    pub fn read(packet: &Packet<'_>) -> Option<Self> {
        Self::untagged_v4(packet).or_else(|| Self::tagged_or_v6(packet))
    }

    /// Reads a packet of IPv4 without a tag; `None` if it is another one, or its headers are not the usual ones.
    ///
    /// Apart, so that the compiler makes one straight way of it and of what its caller does with the result.
    #[inline(always)]
    #[must_use]
    pub fn untagged_v4(packet: &Packet<'_>) -> Option<Self> {
        let ip = behind_ethernet(packet, IPV4)?;
        Self::v4(ip, ETHERNET, 0)
    }

    /// The same for the rest of what is plain.
    #[inline]
    #[must_use]
    pub fn tagged_or_v6(packet: &Packet<'_>) -> Option<Self> {
        if let Some(ip) = behind_ethernet(packet, IPV6) {
            return Self::v6(ip, ETHERNET, 0);
        }
        let (tag, ip) = behind_ethernet(packet, VLAN)?.split_first_chunk::<TAG>()?;
        let vlan = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
        match u16::from_be_bytes([tag[2], tag[3]]) {
            IPV4 => Self::v4(ip, ETHERNET + TAG, vlan),
            IPV6 => Self::v6(ip, ETHERNET + TAG, vlan),
            _ => None,
        }
    }

    /// `ip` are the captured octets from the IP header on, `before` those before it.
    #[inline(always)]
    fn v4(ip: &[u8], before: usize, vlan: u16) -> Option<Self> {
        let header = ip.first_chunk::<{ V4 + TRANSPORT }>()?;
        let be16 = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // Version 4 with 20 octets; neither "more fragments" nor an offset.
        if header[0] != 0x45 || be16(6) & 0x3fff != 0 {
            return None;
        }
        let ip_octets = u32::from(be16(2));
        let &[s0, s1, s2, s3, d0, d1, d2, d3] = header[12..20].first_chunk()?;
        let addresses = Addresses::V4(u64::from_be_bytes([s0, s1, s2, s3, d0, d1, d2, d3]));
        if ip.len() < ip_octets as usize {
            return None;
        }
        let claimed = ip_octets.saturating_sub(V4 as u32);
        let plain = Self::transport(header.last_chunk()?, header[9], claimed, before + V4)?;
        Some(Self { addresses, vlan, class_of_service: header[1], ip_octets, ..plain })
    }

    #[inline(always)]
    fn v6(ip: &[u8], before: usize, vlan: u16) -> Option<Self> {
        let header = ip.first_chunk::<{ V6 + TRANSPORT }>()?;
        let claimed = u16::from_be_bytes([header[4], header[5]]);
        // A length of zero is that of a jumbogram, or of nothing.
        if header[0] >> 4 != 6 || claimed == 0 || ip.len() - V6 < claimed.into() {
            return None;
        }
        let claimed = u32::from(claimed);
        let address = |at: usize| header.get(at..at + 16).and_then(|octets| octets.first_chunk().copied());
        let addresses = Addresses::V6([address(8)?, address(24)?]);
        let class_of_service = header[0] << 4 | header[1] >> 4;
        let plain = Self::transport(header.last_chunk()?, header[6], claimed, before + V6)?;
        Some(Self { addresses, vlan, class_of_service, ip_octets: claimed + V6 as u32, ..plain })
    }

    /// What the transport header says, which is there with its payload in `claimed` octets behind `before` others. The rest is
    /// for the caller to fill in.
    ///
    /// No branch tells TCP from UDP: where both come, nobody could foresee it.
    #[inline(always)]
    fn transport(header: &[u8; TRANSPORT], protocol: u8, claimed: u32, before: usize) -> Option<Self> {
        const MIN_TCP: u32 = 20;
        const UDP: u32 = 8;
        let be16 = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let be32 = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (is_tcp, is_udp) = (protocol == protocol::TCP, protocol == protocol::UDP);
        // All ones of TCP.
        let tcp = u32::from(is_tcp).wrapping_neg();
        let offset_and_flags = u32::from(be16(12)) & tcp;
        let header_octets = ((offset_and_flags >> 12) * 4) | (u32::from(is_udp) * UDP);
        let least = if is_tcp { MIN_TCP } else { UDP };
        // Of another protocol it has no octets here.
        if claimed < least || header_octets < least {
            return None;
        }
        // What UDP says of its length, if that is less, and not zero; TCP does not say.
        let octets = (u32::from(be16(4)) | tcp).wrapping_sub(1).min(claimed - 1) + 1;
        Some(Self {
            addresses: Addresses::V4(0),
            ports: be32(0),
            vlan: 0,
            protocol,
            class_of_service: 0,
            ip_octets: 0,
            tcp: TcpSegment { flags: offset_and_flags as u16 & 0x0fff, sequence: be32(4) },
            payload: before as u32 + header_octets,
            payload_octets: octets.saturating_sub(header_octets),
        })
    }

    /// The same as `decode` gives it, of the packet that this was read from.
    #[must_use]
    pub fn decoded<'a>(&self, packet: &Packet<'a>) -> Decoded<'a> {
        let (version, [src, dst]) = match self.addresses {
            Addresses::V4(addresses) => (IpVersion::V4, [addresses >> 32, addresses].map(v4_octets)),
            Addresses::V6(addresses) => (IpVersion::V6, addresses),
        };
        let [src_port, dst_port] = [self.ports >> 16, self.ports].map(|port| port as u16);
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
            payload: behind.get(..self.payload_octets as usize).unwrap_or_default(),
            payload_octets: self.payload_octets,
        }
    }
}

/// The captured octets behind an Ethernet header with this type, of a packet that was captured in full.
#[inline(always)]
fn behind_ethernet<'a>(packet: &Packet<'a>, number: u16) -> Option<&'a [u8]> {
    let (header, behind) = packet.data.split_first_chunk::<ETHERNET>()?;
    let is_it = packet.link == LinkType::ETHERNET && u16::from_be_bytes([header[12], header[13]]) == number;
    (is_it && packet.wire_octets as usize == packet.data.len()).then_some(behind)
}

/// An address of IPv4, the lower half of the number, as a key has it.
fn v4_octets(address: u64) -> [u8; 16] {
    let [.., a, b, c, d] = address.to_be_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}
