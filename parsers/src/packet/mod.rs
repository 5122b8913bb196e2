// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! Views of the headers from the link layer to the transport layer, and [`decode`], which walks them once per packet.
//!
//! A view is a slice whose checked constructor proved every length that its accessors use, so accessors cannot fail.
//! Each view looks at its own header only; the walk bounds what a view sees by what the header before it claims, and by
//! what was captured. Nothing here allocates, and no header is trusted: lengths are claims, and nesting is bounded.
//!
//! The outermost IP header makes the flow. What a tunnel carries inside is its payload.

mod headers;
pub mod ip;
pub mod link;
mod plain;
#[cfg(test)]
mod tests;
pub mod transport;

use weir_flow::ledger::Ignored;
use weir_flow::{FlowKey, IpVersion, Packet, protocol};

pub use self::headers::{Headers, Labels, TcpHeader};
use self::ip::{Chain, IpError, Ipv4, Ipv6};
use self::link::Network;
pub use self::plain::{Addresses, Plain};
use self::transport::Transport;

/// What the metering process needs to know of one packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded<'a> {
    /// Addresses, ports, protocol and version of the outermost IP header. Interface, VLAN and class of service are left
    /// zero: the metering process decides whether they are part of the key.
    pub key: FlowKey,
    /// Octets from the IP header to the end of the IP payload, as the header claims: IPv4 total length, IPv6 payload
    /// length and 40. Where the header says zero (segmentation offload, jumbograms): the jumbo payload option, else the
    /// length on the wire less the headers before IP.
    pub ip_octets: u64,
    /// Identifier of the outermost VLAN tag, zero where there is none.
    pub vlan: u16,
    /// Type of service octet of IPv4, traffic class of IPv6.
    pub class_of_service: u8,
    /// Flags and sequence number; `None` where the packet is not TCP, or its TCP header cannot be read.
    pub tcp: Option<TcpSegment>,
    /// Type and code of an ICMP or ICMPv6 message: `type * 256 + code`.
    pub icmp_type_code: Option<u16>,
    /// Whether this is part of a fragmented IP packet.
    pub fragment: Fragment,
    /// The protocol has ports, this packet should begin with its header, but the header is cut or malformed. The ports
    /// are zero.
    pub without_transport_header: bool,
    /// Captured octets after the transport header (after the IP headers for a protocol that is not looked into), at most
    /// as many as the IP and UDP lengths allow. Empty for later fragments, and where the transport header is missing.
    pub payload: &'a [u8],
    /// Octets of payload as the headers claim. More than `payload` holds if the packet was snapped.
    pub payload_octets: u32,
}

/// What stream assembly needs from a TCP header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpSegment {
    /// The twelve flag bits, as in the header (RFC 9293 section 3.1), reserved bits included.
    pub flags: u16,
    /// Sequence number of the first payload octet, or of the SYN.
    pub sequence: u32,
}

/// Place of a packet among the fragments of an IP packet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fragment {
    /// Not fragmented (also an IPv6 atomic fragment, RFC 6946).
    #[default]
    None,
    /// The fragment at offset zero, which carries the transport header; more follow.
    First {
        /// Identification that all fragments of the packet share.
        id: u32,
    },
    /// A fragment at a later offset: it has no transport header, and its ports are zero.
    Later {
        /// Identification that all fragments of the packet share.
        id: u32,
    },
}

/// Why a packet is not metered: one variant for each counter of [`Ignored`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ignore {
    /// Encrypted on the link layer.
    Encrypted,
    /// A later part of what the link layer divided.
    LinkFragment,
    /// The headers before IP contradict themselves.
    MalformedLinkHeader,
    /// The IP header contradicts itself.
    MalformedIpHeader,
    /// Not IP.
    NotIp,
    /// More VLAN tags, labels or link headers than are followed.
    TooManyLinkHeaders,
    /// The captured bytes end inside the fixed IP header.
    TruncatedIpHeader,
    /// The captured bytes end before IP.
    TruncatedLinkHeader,
    /// The link type is not decoded.
    UnsupportedLinkType,
}

impl Ignore {
    /// Counts one packet in the ledger's counter of this reason.
    pub const fn count(self, ignored: &mut Ignored) {
        let counter = match self {
            Self::Encrypted => &mut ignored.encrypted,
            Self::LinkFragment => &mut ignored.link_fragment,
            Self::MalformedLinkHeader => &mut ignored.malformed_link_header,
            Self::MalformedIpHeader => &mut ignored.malformed_ip_header,
            Self::NotIp => &mut ignored.not_ip,
            Self::TooManyLinkHeaders => &mut ignored.too_many_link_headers,
            Self::TruncatedIpHeader => &mut ignored.truncated_ip_header,
            Self::TruncatedLinkHeader => &mut ignored.truncated_link_header,
            Self::UnsupportedLinkType => &mut ignored.unsupported_link_type,
        };
        *counter += 1;
    }
}

/// Reads the headers of one packet down to the transport layer.
///
/// The result borrows the packet's bytes.
///
/// # Errors
///
/// The reason, where the packet cannot be metered; the caller counts it ([`Ignore::count`]).
pub fn decode<'a>(packet: &Packet<'a>) -> Result<Decoded<'a>, Ignore> {
    let network = Network::find(packet.link, packet.data)?;
    let before = packet.data.len() - network.bytes.len();
    // A file may claim that it holds more of a packet than there was.
    let on_wire = u64::from(packet.octets_as_one()).saturating_sub(before as u64).max(network.bytes.len() as u64);
    match network.version {
        IpVersion::V4 => decode_v4(&network, on_wire),
        IpVersion::V6 => decode_v6(&network, on_wire),
    }
}

/// What Ethernet pads short frames to: an IP length of zero in them is not that of a packet too long for the field.
const MIN_FRAME_PAYLOAD: u64 = 46;

/// `on_wire` are the octets of the packet from the IP header on.
fn decode_v4<'a>(network: &Network<'a>, on_wire: u64) -> Result<Decoded<'a>, Ignore> {
    let header = Ipv4::new(network.bytes)?;
    let ip_octets = match header.total_octets() {
        0 => on_wire,
        octets => u64::from(octets),
    };
    let mut decoded = Decoded {
        key: FlowKey::new(header.source(), header.destination(), 0, 0, header.protocol()),
        ip_octets,
        vlan: network.vlan,
        class_of_service: header.class_of_service(),
        tcp: None,
        icmp_type_code: None,
        fragment: header.fragment(),
        without_transport_header: false,
        payload: &[],
        payload_octets: 0,
    };
    let claimed = ip_octets.saturating_sub(header.header_octets() as u64);
    decoded.add_transport(header.payload().map(|payload| trim(payload, claimed)), claimed);
    Ok(decoded)
}

fn decode_v6<'a>(network: &Network<'a>, on_wire: u64) -> Result<Decoded<'a>, Ignore> {
    let header = Ipv6::new(network.bytes)?;
    let claimed = match header.payload_octets() {
        0 if header.next_header() == ip::NO_NEXT_HEADER || on_wire <= MIN_FRAME_PAYLOAD => 0,
        0 => match header.jumbo_octets() {
            Some(octets) => u64::from(octets),
            None => on_wire.saturating_sub(Ipv6::OCTETS as u64),
        },
        octets => u64::from(octets),
    };
    let chain = Chain::follow(header.next_header(), trim(header.payload(), claimed));
    let mut decoded = Decoded {
        key: FlowKey::new(header.source(), header.destination(), 0, 0, chain.protocol),
        ip_octets: claimed + Ipv6::OCTETS as u64,
        vlan: network.vlan,
        class_of_service: header.class_of_service(),
        tcp: None,
        icmp_type_code: None,
        fragment: chain.fragment,
        without_transport_header: false,
        payload: &[],
        payload_octets: 0,
    };
    decoded.add_transport(chain.payload, claimed.saturating_sub(chain.octets as u64));
    Ok(decoded)
}

impl<'a> Decoded<'a> {
    /// Reads the transport header from what was captured behind the IP headers (`None`: they are cut off themselves),
    /// which has `claimed` octets as they say.
    fn add_transport(&mut self, captured: Option<&'a [u8]>, claimed: u64) {
        let claimed = u32::try_from(claimed).unwrap_or(u32::MAX);
        if let Fragment::Later { .. } = self.fragment {
            self.payload_octets = claimed;
            return;
        }
        let transport = captured.map(|bytes| Transport::read(self.key.protocol, bytes, claimed)).unwrap_or_default();
        match transport.ports {
            Some((src_port, dst_port)) => {
                self.key.src_port = src_port;
                self.key.dst_port = dst_port;
            }
            None => self.without_transport_header = protocol::has_ports(self.key.protocol),
        }
        self.tcp = transport.tcp;
        self.icmp_type_code = transport.icmp_type_code;
        self.payload = transport.payload;
        self.payload_octets = transport.payload_octets;
    }
}

impl From<IpError> for Ignore {
    fn from(error: IpError) -> Self {
        match error {
            IpError::Malformed => Self::MalformedIpHeader,
            IpError::Truncated => Self::TruncatedIpHeader,
        }
    }
}

/// The octets of `captured` that belong to a packet of `claimed` octets: the rest is padding of the link layer.
fn trim(captured: &[u8], claimed: u64) -> &[u8] {
    match usize::try_from(claimed) {
        Ok(claimed) => captured.get(..claimed).unwrap_or(captured),
        Err(_) => captured,
    }
}
