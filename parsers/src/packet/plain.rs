// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! The headers that most packets have: Ethernet, IPv4 without options, not fragmented, TCP or UDP.
//!
//! [`Plain::read`] gives of them what [`decode`](super::decode) gives, in numbers and without a branch for what is rare; any
//! other packet is left to `decode`. What it saves is in docs/performance.md.

use weir_flow::{FlowKey, IpVersion, LinkType, Packet, protocol};

use super::{Decoded, Fragment, TcpSegment};

/// Octets that must be captured: Ethernet, IPv4, and TCP up to its flags.
const READ: usize = 14 + 20 + 14;
/// Where the transport header begins.
const TRANSPORT: u32 = 14 + 20;

/// What the metering process needs to know of a packet with the usual headers.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Source and destination address, the first octet uppermost.
    pub addresses: [u32; 2],
    /// Source and destination port.
    pub ports: [u16; 2],
    /// Protocol number: TCP or UDP.
    pub protocol: u8,
    /// Type of service octet.
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
        const MIN_TCP: u32 = 20;
        const UDP: u32 = 8;
        let octets = packet.data.first_chunk::<READ>()?;
        let be16 = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let be32 = |at: usize| u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
        // Type IPv4, version 4 with 20 octets; neither "more fragments" nor an offset.
        let is_plain = be16(12) == 0x0800 && octets[14] == 0x45 && be16(20) & 0x3fff == 0;
        if !is_plain || packet.link != LinkType::ETHERNET {
            return None;
        }
        let ip_octets = u32::from(be16(16));
        let claimed = ip_octets.checked_sub(20)?;
        // A packet is far shorter than four gigabytes.
        #[expect(clippy::cast_possible_truncation, reason = "a packet is shorter")]
        let captured = (packet.data.len() as u32).min(TRANSPORT - 20 + ip_octets);
        let protocol = octets[23];
        let (header, transport_octets, end, tcp) = if protocol == protocol::TCP && claimed >= MIN_TCP {
            let offset_and_flags = be16(46);
            let header = u32::from(offset_and_flags >> 12) * 4;
            if header < MIN_TCP {
                return None;
            }
            (header, claimed, captured, TcpSegment { flags: offset_and_flags & 0x0fff, sequence: be32(38) })
        } else if protocol == protocol::UDP && claimed >= UDP {
            let datagram = match u32::from(be16(38)) {
                0 => claimed,
                octets => octets.min(claimed),
            };
            (UDP, datagram, captured.min(TRANSPORT + datagram), TcpSegment { flags: 0, sequence: 0 })
        } else {
            return None;
        };
        Some(Self {
            addresses: [be32(26), be32(30)],
            ports: [be16(34), be16(36)],
            protocol,
            class_of_service: octets[15],
            ip_octets,
            tcp,
            payload: TRANSPORT + header,
            payload_captured: end.saturating_sub(TRANSPORT + header),
            payload_octets: transport_octets.saturating_sub(header),
        })
    }

    /// The same as `decode` gives it, of the packet that this was read from.
    #[must_use]
    pub fn decoded<'a>(&self, packet: &Packet<'a>) -> Decoded<'a> {
        let [src, dst] = self.addresses.map(|address| {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.to_be_bytes());
            octets
        });
        let [src_port, dst_port] = self.ports;
        let behind = packet.data.get(self.payload as usize..).unwrap_or_default();
        Decoded {
            key: FlowKey {
                src,
                dst,
                src_port,
                dst_port,
                protocol: self.protocol,
                version: IpVersion::V4,
                ..FlowKey::default()
            },
            ip_octets: self.ip_octets.into(),
            vlan: 0,
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
