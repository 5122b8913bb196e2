// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flow key (RFC 7011 section 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol numbers of IANA's registry that the code speaks of by name.
pub mod protocol {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// Datagram Congestion Control Protocol.
    pub const DCCP: u8 = 33;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;

    /// Whether the protocol's header begins with a source and a destination port.
    #[must_use]
    pub const fn has_ports(protocol: u8) -> bool {
        matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE)
    }
}

/// Version of the Internet Protocol.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum IpVersion {
    /// Version 4.
    #[default]
    V4 = 4,
    /// Version 6.
    V6 = 6,
}

/// What tells one flow from another. Compared in full: a hash is never an identity.
///
/// Addresses are 16 octets in network order; an IPv4 address stands in the first four, the others are zero. Ports are
/// zero for protocols without ports and for fragments whose ports are unknown. Interface, VLAN and class of service are
/// zero where the operator left them out of the key, and in every [`FlowRecord`](crate::FlowRecord), which has them in
/// fields of its own.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(C)]
pub struct FlowKey {
    /// Source address octets.
    pub src: [u8; 16],
    /// Destination address octets.
    pub dst: [u8; 16],
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Ingress interface, zero where not part of the key.
    pub interface: u32,
    /// Identifier of the outermost VLAN, zero where there is none or where not part of the key.
    pub vlan: u16,
    /// Protocol number.
    pub protocol: u8,
    /// Which kind of addresses these are.
    pub version: IpVersion,
    /// Class of service octet, zero where not part of the key.
    pub class_of_service: u8,
}

impl FlowKey {
    /// A key of addresses, ports and protocol; everything else zero. `src` and `dst` must be of one version: a mixed pair
    /// is taken as IPv6 with the IPv4 address mapped.
    #[must_use]
    pub fn new(src: IpAddr, dst: IpAddr, src_port: u16, dst_port: u16, protocol: u8) -> Self {
        let (version, src, dst) = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => (IpVersion::V4, v4_octets(src), v4_octets(dst)),
            (src, dst) => (IpVersion::V6, v6_octets(src), v6_octets(dst)),
        };
        Self { src, dst, src_port, dst_port, protocol, version, ..Self::default() }
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.address(&self.src)
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.address(&self.dst)
    }

    /// The key of the opposite direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..*self }
    }

    fn address(&self, octets: &[u8; 16]) -> IpAddr {
        match self.version {
            IpVersion::V4 => {
                let [a, b, c, d, ..] = *octets;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            IpVersion::V6 => IpAddr::V6(Ipv6Addr::from(*octets)),
        }
    }
}

fn v4_octets(address: Ipv4Addr) -> [u8; 16] {
    let [a, b, c, d] = address.octets();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
