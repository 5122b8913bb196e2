// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! Transport headers: TCP (RFC 9293), UDP (RFC 768), UDP-Lite (RFC 3828), DCCP (RFC 4340), SCTP (RFC 9260), ICMP
//! (RFC 792), ICMPv6 (RFC 4443).
//!
//! Ports stand in the first four octets of each protocol that has them, so they are read even where the rest of the
//! header is cut off. Checksums are not verified.

use weir_flow::protocol;

use super::TcpSegment;

/// What the transport header says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transport<'a> {
    /// Source and destination port; `None` for protocols without ports, and where they are cut off.
    pub ports: Option<(u16, u16)>,
    /// Flags and sequence number, where the TCP header is complete up to its flags and its length is possible.
    pub tcp: Option<TcpSegment>,
    /// Type and code of ICMP and ICMPv6.
    pub icmp_type_code: Option<u16>,
    /// Captured octets behind the header.
    pub payload: &'a [u8],
    /// Octets behind the header, as the headers claim.
    pub payload_octets: u32,
}

impl<'a> Transport<'a> {
    /// Reads the header of `protocol` at the start of `bytes`: what was captured of an IP payload, which has `octets` as
    /// the IP header claims.
    #[must_use]
    pub fn read(protocol: u8, bytes: &'a [u8], octets: u32) -> Self {
        match protocol {
            protocol::TCP => Self::tcp(bytes, octets),
            protocol::UDP => Self::udp(bytes, octets),
            // The length field of UDP-Lite is the coverage of its checksum.
            protocol::UDP_LITE => Self::with_ports(bytes, octets, UDP_OCTETS),
            protocol::SCTP => Self::with_ports(bytes, octets, 12),
            // The fifth octet is the data offset in words of four octets.
            protocol::DCCP => {
                Self::with_ports(bytes, octets, bytes.get(4).map_or(12, |words| usize::from(*words) * 4).max(12))
            }
            protocol::ICMP | protocol::ICMPV6 => Self {
                icmp_type_code: bytes.first_chunk().map(|octets| u16::from_be_bytes(*octets)),
                ..Self::behind(bytes, octets, 4)
            },
            _ => Self { payload: bytes, payload_octets: octets, ..Self::default() },
        }
    }

    fn tcp(bytes: &'a [u8], octets: u32) -> Self {
        const MIN_OCTETS: usize = 20;
        let ports = ports(bytes);
        // The flags end at octet 14; window, checksum and urgent pointer may be cut off.
        let Some(&[_, _, _, _, s0, s1, s2, s3, _, _, _, _, offset, flags]) = bytes.first_chunk::<14>() else {
            return Self { ports, ..Self::default() };
        };
        let header_octets = usize::from(offset >> 4) * 4;
        if header_octets < MIN_OCTETS {
            return Self { ports, ..Self::default() };
        }
        let segment = TcpSegment {
            flags: u16::from_be_bytes([offset & 0x0f, flags]),
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        };
        Self { ports, tcp: Some(segment), ..Self::behind(bytes, octets, header_octets) }
    }

    fn udp(bytes: &'a [u8], octets: u32) -> Self {
        let datagram = match bytes.get(4..6) {
            // Zero: the datagram is longer than the field can say (RFC 2675 section 4), or was not yet segmented.
            Some(&[0, 0]) | None => octets,
            Some(&[high, low]) => u32::from(u16::from_be_bytes([high, low])).min(octets),
            Some(_) => octets,
        };
        let captured = usize::try_from(datagram).unwrap_or(usize::MAX).min(bytes.len());
        Self { ports: ports(bytes), ..Self::behind(bytes.get(..captured).unwrap_or_default(), datagram, UDP_OCTETS) }
    }

    fn with_ports(bytes: &'a [u8], octets: u32, header_octets: usize) -> Self {
        Self { ports: ports(bytes), ..Self::behind(bytes, octets, header_octets) }
    }

    /// The payload behind a header; none where the header runs over the end.
    fn behind(bytes: &'a [u8], octets: u32, header_octets: usize) -> Self {
        Self {
            payload: bytes.get(header_octets..).unwrap_or_default(),
            payload_octets: octets.saturating_sub(u32::try_from(header_octets).unwrap_or(u32::MAX)),
            ..Self::default()
        }
    }
}

const UDP_OCTETS: usize = 8;

fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d] = bytes.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}
