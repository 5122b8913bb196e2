// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet frames from the ends of a flow. Checksums are right.
//!
//! Octets 2 to 5 of both hardware addresses are the number of the flow, whichever direction: that is how the floor, and
//! nobody else, knows the flow without looking at the packet.

use weir_flow::{FlowKey, IpVersion, protocol};

/// Octets of the Ethernet header.
pub const ETHERNET: usize = 14;
/// Where a frame carries the number of its flow, big-endian.
pub const FLOW_NUMBER: std::ops::Range<usize> = 2..6;
const MIN_FRAME: usize = 60;

/// What TCP says beside ports and payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    /// Flags.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledged number.
    pub ack: u32,
}

/// Which direction of a flow a packet has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Side {
    /// From the source of the flow's key.
    #[default]
    Forward = 0,
    /// Towards it.
    Reverse = 1,
}

impl Side {
    /// The opposite direction.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }
}

/// Makes the frame of a packet in `frame`, whose payload is `head` and then `bulk`; `key` is that of the flow, `tcp` for
/// TCP only. Gives the octets of the IP packet.
pub fn build(
    frame: &mut Vec<u8>,
    number: u32,
    key: &FlowKey,
    side: Side,
    tcp: Option<Tcp>,
    [head, bulk]: [&[u8]; 2],
) -> u64 {
    frame.clear();
    ethernet(frame, number, side, key.version);
    let begin = frame.len();
    let key = if side == Side::Reverse { key.reversed() } else { *key };
    let transport_octets = if tcp.is_some() { 20 } else { 8 } + head.len() + bulk.len();
    ip_header(frame, &key, transport_octets);
    transport(frame, &key, tcp, [head, bulk]);
    let ip_octets = frame.len() - begin;
    frame.resize(frame.len().max(MIN_FRAME), 0);
    ip_octets as u64
}

/// Appends the Ethernet header of a packet of a flow.
pub fn ethernet(frame: &mut Vec<u8>, number: u32, side: Side, version: IpVersion) {
    let number = number.to_be_bytes();
    frame.extend([2, side.other() as u8]);
    frame.extend(number);
    frame.extend([2, side as u8]);
    frame.extend(number);
    frame.extend(ether_type(version));
}

/// The type of what is behind an Ethernet header, a VLAN tag or in GRE.
#[must_use]
pub const fn ether_type(version: IpVersion) -> [u8; 2] {
    match version {
        IpVersion::V4 => [0x08, 0x00],
        IpVersion::V6 => [0x86, 0xdd],
    }
}

fn narrow(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}

/// Appends an IP header without options in front of `payload_octets`.
pub fn ip_header(frame: &mut Vec<u8>, key: &FlowKey, payload_octets: usize) {
    match key.version {
        IpVersion::V4 => {
            let begin = frame.len();
            frame.extend([0x45, 0]);
            frame.extend(narrow(20 + payload_octets));
            frame.extend([0, 0, 0x40, 0, 64, key.protocol, 0, 0]);
            frame.extend(key.src.iter().take(4).chain(key.dst.iter().take(4)));
            close_ipv4(frame, begin);
        }
        IpVersion::V6 => {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(narrow(payload_octets));
            frame.extend([key.protocol, 64]);
            frame.extend(key.src);
            frame.extend(key.dst);
        }
    }
}

/// Writes the checksum of the IPv4 header of 20 octets at `begin`.
pub fn close_ipv4(frame: &mut [u8], begin: usize) {
    let sum = checksum(frame.get(begin..begin + 20).unwrap_or_default(), 0);
    put(frame, begin + 10, sum);
}

fn put(frame: &mut [u8], at: usize, value: [u8; 2]) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&value);
    }
}

/// Appends a transport header, the payload, and the checksum over both and the addresses.
pub fn transport(frame: &mut Vec<u8>, key: &FlowKey, tcp: Option<Tcp>, [head, bulk]: [&[u8]; 2]) {
    let begin = frame.len();
    frame.extend(key.src_port.to_be_bytes());
    frame.extend(key.dst_port.to_be_bytes());
    let checksum_at = begin + if tcp.is_some() { 16 } else { 6 };
    match tcp {
        Some(tcp) => {
            frame.extend(tcp.seq.to_be_bytes());
            frame.extend(tcp.ack.to_be_bytes());
            frame.extend([0x50, tcp.flags, 0xff, 0xff, 0, 0, 0, 0]);
        }
        None => {
            frame.extend(narrow(8 + head.len() + bulk.len()));
            frame.extend([0, 0]);
        }
    }
    frame.extend_from_slice(head);
    frame.extend_from_slice(bulk);
    let segment = frame.get(begin..).unwrap_or_default();
    let mut pseudo = sum(&key.src) + sum(&key.dst) + u64::from(u16::to_be(key.protocol.into()));
    pseudo += u64::from(u16::from_ne_bytes(narrow(segment.len())));
    let value = match checksum(segment, pseudo) {
        // Zero would say that there is none.
        [0, 0] if key.protocol == protocol::UDP => [0xff, 0xff],
        value => value,
    };
    put(frame, checksum_at, value);
}

/// The sum of all words, in this machine's order of octets: folding makes up for it.
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total + u64::from(u32::from_ne_bytes(last))
}

fn checksum(octets: &[u8], more: u64) -> [u8; 2] {
    let mut total = sum(octets) + more;
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let [.., a, b] = (!total).to_be_bytes();
    // Back to the order of this machine, which is that of the sum.
    u16::from_be_bytes([a, b]).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 1071 says, octet by octet.
    fn plain_sum(octets: &[u8]) -> u16 {
        let mut total = 0_u32;
        for pair in octets.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        u16::try_from(total).unwrap()
    }

    #[test]
    fn checksums_are_right() {
        for (version, payload) in [(4, 0), (4, 7), (4, 1400), (6, 12), (6, 33)] {
            let ends = match version {
                4 => (FlowKey::new([10, 1, 2, 3].into(), [192, 0, 2, 9].into(), 1024, 80, protocol::TCP), 20),
                _ => (FlowKey::new([0x20; 16].into(), [0x21; 16].into(), 1024, 443, protocol::UDP), 40),
            };
            let (key, header) = ends;
            let tcp = (version == 4).then_some(Tcp { flags: 2, seq: 7, ack: 9 });
            let mut frame = Vec::new();
            let octets = build(&mut frame, 77, &key, Side::Reverse, tcp, [&vec![3; payload], &[1]]);
            let packet = &frame[ETHERNET..ETHERNET + usize::try_from(octets).unwrap()];
            let (ip, segment) = packet.split_at(header);
            if version == 4 {
                assert_eq!(plain_sum(ip), 0xffff);
            }
            let mut all = ip[if version == 4 { 12 } else { 8 }..].to_vec();
            all.extend([0, key.protocol]);
            all.extend(u16::try_from(segment.len()).unwrap().to_be_bytes());
            all.extend(segment);
            assert_eq!(plain_sum(&all), 0xffff, "version {version}, {payload}");
            assert_eq!(frame[FLOW_NUMBER], 77_u32.to_be_bytes());
            assert_eq!(frame[8..12], 77_u32.to_be_bytes());
        }
    }
}
