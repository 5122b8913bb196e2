// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets within packets, and packets in pieces: what a decoder must see through or put together.
//!
//! A tenth of the flows each: plain, VLAN, QinQ, MPLS, GRE, VXLAN, IPv4 in IPv4, IPv6 in IPv4, fragments of IPv4, fragments
//! of IPv6. By the truth a flow is that of the outermost IP header, in the outermost VLAN; every fragment belongs to the flow
//! of its datagram. The first fragment comes first.

use std::io;

use weir_flow::{FlowKey, IpVersion, protocol};

use super::{
    Output, Spec,
    draw::Draw,
    frame::{self, ETHERNET, Side},
};
use crate::truth::Flow;

const GRE: u8 = 47;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const FRAGMENT: u8 = 44;
const VXLAN_PORT: u16 = 4789;
/// Octets of IP payload in a fragment: a multiple of eight.
const PIECE: usize = 1_400;
const PAYLOAD: [u8; 3_600] = [0x55; 3_600];

/// How packets of a flow are wrapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrap {
    Plain,
    Vlan,
    QinQ,
    Mpls,
    Gre,
    Vxlan,
    Ipv4InIpv4,
    Ipv6InIpv4,
    FragmentsOfIpv4,
    FragmentsOfIpv6,
}

const WRAPS: [Wrap; 10] = [
    Wrap::Plain,
    Wrap::Vlan,
    Wrap::QinQ,
    Wrap::Mpls,
    Wrap::Gre,
    Wrap::Vxlan,
    Wrap::Ipv4InIpv4,
    Wrap::Ipv6InIpv4,
    Wrap::FragmentsOfIpv4,
    Wrap::FragmentsOfIpv6,
];

fn wrap_of(number: u32) -> Wrap {
    WRAPS.get(number as usize % WRAPS.len()).copied().unwrap_or(Wrap::Plain)
}

/// The key that a flow has by the truth.
fn key(number: u32) -> FlowKey {
    let inner = inner_key(number, IpVersion::V4);
    let wrap = wrap_of(number);
    let end = |last: u8| [172, 16 + last, number.to_be_bytes()[2], number.to_be_bytes()[3]];
    let outer = |protocol| {
        let high = number.to_be_bytes()[1];
        FlowKey::new(end(high & 7).into(), end(8 + (high & 7)).into(), 0, 0, protocol)
    };
    match wrap {
        Wrap::Vlan | Wrap::QinQ => FlowKey { vlan: 100 + (number % 50).to_be_bytes()[3] as u16, ..inner },
        Wrap::Gre => outer(GRE),
        Wrap::Ipv4InIpv4 => outer(IPV4_IN_IP),
        Wrap::Ipv6InIpv4 => outer(IPV6_IN_IP),
        Wrap::Vxlan => FlowKey { src_port: 50_000, dst_port: VXLAN_PORT, ..outer(protocol::UDP) },
        Wrap::FragmentsOfIpv6 => inner_key(number, IpVersion::V6),
        Wrap::Plain | Wrap::Mpls | Wrap::FragmentsOfIpv4 => inner,
    }
}

fn inner_key(number: u32, version: IpVersion) -> FlowKey {
    let [_, b, c, d] = number.to_be_bytes();
    match version {
        IpVersion::V4 => FlowKey::new([10, b, c, d].into(), [198, 18, 0, d].into(), 20_000, 443, protocol::UDP),
        IpVersion::V6 => {
            let end = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, b, c, d, last];
            FlowKey::new(end(1).into(), end(2).into(), 20_000, 443, protocol::UDP)
        }
    }
}

/// Writes the trace. Gives how many flows were open at a time.
pub fn write(spec: &Spec, out: &mut Output) -> io::Result<u64> {
    let mut draw = Draw::new(spec.seed);
    let mut flows: Vec<Flow> = (0..spec.flows).map(|number| Flow::new(key(number))).collect();
    let mut packet = 0;
    while packet < spec.packets {
        let number = draw.below(spec.flows);
        let Some(flow) = flows.get_mut(number as usize) else { break };
        let is_first = flow.packets() == 0;
        let side = if is_first || draw.chance(500) { Side::Forward } else { Side::Reverse };
        let payload = PAYLOAD.get(..40 + draw.below(1_200) as usize).unwrap_or_default();
        let id = u32::try_from(packet & 0xffff_ffff).unwrap_or(0);
        for (frame, octets) in frames(number, side, payload, id) {
            let micros = spec.micros(packet);
            flow.count(side, octets, micros);
            out.pcap.frame(micros, &frame)?;
            packet += 1;
        }
    }
    for flow in &flows {
        out.truth.flow(flow)?;
    }
    Ok(flows.iter().filter(|flow| flow.packets() > 0).count() as u64)
}

/// The frames of one packet, each with its octets from the IP header on.
fn frames(number: u32, side: Side, payload: &[u8], id: u32) -> Vec<(Vec<u8>, u64)> {
    let wrap = wrap_of(number);
    let directed = |key: FlowKey| if side == Side::Reverse { key.reversed() } else { key };
    let key = FlowKey { vlan: 0, ..directed(key(number)) };
    let datagram = |key: &FlowKey, payload: &[u8]| {
        let mut datagram = Vec::with_capacity(payload.len() + 8);
        frame::transport(&mut datagram, key, None, [payload, &[]]);
        datagram
    };
    let inner = |version| {
        let key = directed(inner_key(number, version));
        let datagram = datagram(&key, payload);
        let mut packet = Vec::new();
        frame::ip_header(&mut packet, &key, datagram.len());
        packet.extend(datagram);
        packet
    };
    let vlan = |tag: [u8; 2], id: u32| [tag, [0, id.to_be_bytes()[3]]].concat();
    let whole = |tags: &[u8], content: &[u8]| {
        let mut frame = link(number, side, tags, key.version);
        let begin = frame.len();
        frame::ip_header(&mut frame, &key, content.len());
        frame.extend_from_slice(content);
        let octets = (frame.len() - begin) as u64;
        vec![(frame, octets)]
    };
    let of_key = || datagram(&key, payload);
    match wrap {
        Wrap::Plain => whole(&[], &of_key()),
        Wrap::Vlan => whole(&vlan([0x81, 0], 100 + number % 50), &of_key()),
        Wrap::QinQ => whole(&[vlan([0x88, 0xa8], 100 + number % 50), vlan([0x81, 0], 7)].concat(), &of_key()),
        // Two labels, the lower one with the mark of the last; the type of what is behind it is left out.
        Wrap::Mpls => whole(&[0x88, 0x47, 0, 1, 0x20, 64, 0, 1, 0x11, 64], &of_key()),
        Wrap::Gre => whole(&[], &[&[0, 0][..], &frame::ether_type(IpVersion::V4), &inner(IpVersion::V4)].concat()),
        Wrap::Ipv4InIpv4 => whole(&[], &inner(IpVersion::V4)),
        Wrap::Ipv6InIpv4 => whole(&[], &inner(IpVersion::V6)),
        Wrap::Vxlan => {
            let head = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &link(number, side, &[], IpVersion::V4)].concat();
            whole(&[], &datagram(&key, &[head, inner(IpVersion::V4)].concat()))
        }
        Wrap::FragmentsOfIpv4 | Wrap::FragmentsOfIpv6 => {
            let datagram = datagram(&key, &[payload, &PAYLOAD[..2_000]].concat());
            let pieces = datagram.chunks(PIECE).enumerate();
            pieces.map(|(at, piece)| fragment(number, side, &key, id, at, piece, datagram.len())).collect()
        }
    }
}

/// An Ethernet header with tags before the type. Behind MPLS there is no type.
fn link(number: u32, side: Side, tags: &[u8], version: IpVersion) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1_600);
    frame::ethernet(&mut frame, number, side, version);
    frame.truncate(ETHERNET - 2);
    frame.extend_from_slice(tags);
    if !tags.starts_with(&[0x88, 0x47]) {
        frame.extend(frame::ether_type(version));
    }
    frame
}

/// The frame of piece number `at` of a datagram of `all` octets.
fn fragment(number: u32, side: Side, key: &FlowKey, id: u32, at: usize, piece: &[u8], all: usize) -> (Vec<u8>, u64) {
    let mut frame = link(number, side, &[], key.version);
    let begin = frame.len();
    let is_last = at * PIECE + piece.len() == all;
    // In units of eight octets.
    let offset = u16::try_from(at * PIECE / 8).unwrap_or(0);
    if key.version == IpVersion::V4 {
        frame::ip_header(&mut frame, key, piece.len());
        let [_, _, id_high, id_low] = id.to_be_bytes();
        let [high, low] = (offset | if is_last { 0 } else { 0x2000 }).to_be_bytes();
        for (to, from) in frame.iter_mut().skip(begin + 4).zip([id_high, id_low, high, low]) {
            *to = from;
        }
        for octet in frame.iter_mut().skip(begin + 10).take(2) {
            *octet = 0;
        }
        frame::close_ipv4(&mut frame, begin);
    } else {
        frame::ip_header(&mut frame, &FlowKey { protocol: FRAGMENT, ..*key }, 8 + piece.len());
        frame.extend([key.protocol, 0]);
        frame.extend((offset << 3 | u16::from(!is_last)).to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend_from_slice(piece);
    let octets = (frame.len() - begin) as u64;
    (frame, octets)
}
