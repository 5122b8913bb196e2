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

use weir_flow::ledger::Ignored;
use weir_flow::{FlowKey, Packet};

/// What the metering process needs to know of one packet.
#[derive(Clone, Copy, Debug)]
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
    let _ = packet;
    Err(Ignore::UnsupportedLinkType)
}
