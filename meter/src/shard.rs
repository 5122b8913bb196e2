// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Which worker a packet belongs to.
//!
//! Only the addresses of the outermost IP header count, and not their order: both directions and all fragments of a flow
//! give the same worker, the same on every machine. What has no addresses is the first worker's.

use std::net::IpAddr;

use weir_flow::{IpVersion, LinkType, Packet};
use weir_parsers::packet::{
    ip::{Ipv4, Ipv6},
    link::Network,
};

use crate::{handover::Owner, hash::fold};

/// Index of the worker that a packet belongs to, below `workers`.
#[inline]
#[must_use]
pub fn owner(packet: &Packet<'_>, workers: Owner) -> Owner {
    let hash = if packet.link == LinkType::ETHERNET { behind_ethernet(packet.data) } else { None };
    let Some(hash) = hash.or_else(|| anywhere(packet)) else { return 0 };
    // The upper half of the product is a number below `workers`.
    Owner::try_from((u128::from(hash) * u128::from(workers)) >> 64).unwrap_or(0)
}

/// IP at once behind Ethernet, whatever the IP header says of itself: what contradicts itself is metered by nobody.
#[inline]
fn behind_ethernet(data: &[u8]) -> Option<u64> {
    let (head, behind) = data.split_first_chunk::<34>()?;
    match head {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, .., a0, a1, a2, a3, b0, b1, b2, b3] => {
            Some(of_v4([*a0, *a1, *a2, *a3], [*b0, *b1, *b2, *b3]))
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..] => {
            let (source, _) = data.get(22..)?.split_first_chunk()?;
            let (destination, _) = behind.get(4..)?.split_first_chunk()?;
            Some(of_v6(*source, *destination))
        }
        _ => None,
    }
}

#[cold]
fn anywhere(packet: &Packet<'_>) -> Option<u64> {
    let network = Network::find(packet.link, packet.data).ok()?;
    let (source, destination) = match network.version {
        IpVersion::V4 => Ipv4::new(network.bytes).map(|header| (header.source(), header.destination())),
        IpVersion::V6 => Ipv6::new(network.bytes).map(|header| (header.source(), header.destination())),
    }
    .ok()?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Some(of_v4(source.octets(), destination.octets())),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Some(of_v6(source.octets(), destination.octets())),
        _ => None,
    }
}

#[inline]
fn of_v4(source: [u8; 4], destination: [u8; 4]) -> u64 {
    let [a, b] = [source, destination].map(|octets| u64::from(u32::from_be_bytes(octets)));
    // Neither the sum nor the bits that differ care for order; together they leave little of two addresses untold.
    fold(((a ^ b) << 32) ^ (a + b) ^ 0x9e37_79b9_7f4a_7c15, 0x94d0_49bb_1331_11eb)
}

#[inline]
fn of_v6(source: [u8; 16], destination: [u8; 16]) -> u64 {
    let [a, b] = [source, destination].map(|octets| {
        let &[high, low] = octets.as_chunks::<8>().0 else { return 0 };
        let [high, low] = [high, low].map(u64::from_be_bytes);
        fold(high ^ 0x9e37_79b9_7f4a_7c15, low ^ 0xbf58_476d_1ce4_e5b9)
    });
    fold(a.wrapping_add(b), 0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
mod tests {
    use weir_flow::{Merged, Timestamp};

    use super::*;

    fn owner_of(link: LinkType, data: &[u8], workers: Owner) -> Owner {
        owner(&Packet { data, wire_octets: 0, ts: Timestamp::ZERO, interface: 0, link, merged: Merged::NOT }, workers)
    }

    /// An IP header, enough of it to be one.
    fn header(source: &[u8], destination: &[u8]) -> Vec<u8> {
        let fixed: &[u8] = match source.len() {
            4 => &[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0],
            _ => &[0x60, 0, 0, 0, 0, 0, 59, 64],
        };
        [fixed, source, destination].concat()
    }

    fn ethernet(behind: &[u8], tag: &[u8]) -> Vec<u8> {
        let kind: &[u8] = if behind[0] >> 4 == 4 { &[0x08, 0x00] } else { &[0x86, 0xdd] };
        [&[2; 12], tag, kind, behind].concat()
    }

    #[test]
    fn directions_and_the_headers_before_ip_make_no_difference_and_workers_share_the_load() {
        let v4 = (0..4000_u32).map(|i| (i.to_be_bytes().to_vec(), vec![192, 0, 2, 1]));
        let v6 = (0..4000_u32).map(|i| ([[0x20; 12].as_slice(), &i.to_be_bytes()].concat(), vec![0x30; 16]));
        for pairs in [v4.collect::<Vec<_>>(), v6.collect()] {
            let mut counts = [0; 4];
            for (a, b) in pairs {
                let [there, back] = [header(&a, &b), header(&b, &a)];
                let owner = owner_of(LinkType::RAW, &there, 4);
                for (link, data) in [
                    (LinkType::RAW, back.clone()),
                    (LinkType::ETHERNET, ethernet(&there, &[])),
                    (LinkType::ETHERNET, ethernet(&back, &[])),
                    (LinkType::ETHERNET, ethernet(&back, &[0x81, 0, 0, 7])),
                ] {
                    assert_eq!(owner_of(link, &data, 4), owner);
                }
                counts[usize::from(owner)] += 1;
            }
            assert!(counts.iter().all(|c| (800..1200).contains(c)), "{counts:?}");
        }
    }

    #[test]
    fn what_has_no_addresses_is_the_first_workers() {
        let whole = ethernet(&header(&[10, 0, 0, 1], &[10, 0, 0, 2]), &[]);
        let workers = 1 << 15;
        assert_ne!(owner_of(LinkType::ETHERNET, &whole, workers), 0);
        for len in 0..whole.len() {
            assert_eq!(owner_of(LinkType::ETHERNET, &whole[..len], workers), 0);
        }
        assert_eq!(owner_of(LinkType(u16::MAX), &whole, workers), 0);
    }
}
