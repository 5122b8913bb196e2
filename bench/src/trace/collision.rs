// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys that meet in one bucket of tables whose hash anybody can compute.
//!
//! Seven sets of the same size, each made against one hash: folding by exclusive or, folding by addition, CRC-32 (all 32 bits
//! of all keys the same), FNV-1a and Jenkins' hash with initial value 0 (the lowest [`BITS`] bits the same), keys that only
//! count up, and keys whose low bits are the same. The hash is over source, destination, ports and protocol, in this order,
//! as in the packet. The source is below the destination throughout, so that tables that put the lower end first see the
//! same keys.

use weir_flow::{FlowKey, protocol};

/// Bits of a hash that are the same where nothing better than trying is known.
const BITS: u32 = 14;
const SETS: u32 = 7;

/// A key as it is hashed: addresses and ports.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Ends {
    src: u32,
    dst: u32,
    src_port: u16,
    dst_port: u16,
}

/// The first key of all sets: 10.0.0.1 to 198.18.0.1, no port of which anybody makes something of its own.
const BASE: Ends = Ends { src: 0x0a00_0001, dst: 0xc612_0001, src_port: 0x4000, dst_port: 0x7000 };

impl Ends {
    fn octets(self) -> [u8; 13] {
        let mut octets = [0; 13];
        let [a, b, c, d] = self.src.to_be_bytes();
        let [e, f, g, h] = self.dst.to_be_bytes();
        let [i, j] = self.src_port.to_be_bytes();
        let [k, l] = self.dst_port.to_be_bytes();
        for (to, from) in octets.iter_mut().zip([a, b, c, d, e, f, g, h, i, j, k, l, protocol::UDP]) {
            *to = from;
        }
        octets
    }

    fn key(self) -> FlowKey {
        let Self { src, dst, src_port, dst_port } = self;
        FlowKey::new(src.to_be_bytes().into(), dst.to_be_bytes().into(), src_port, dst_port, protocol::UDP)
    }
}

/// The lowest 16 bits.
fn low(value: u32) -> u16 {
    let [.., high, low] = value.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// `count` different keys, a seventh of them in each set.
pub fn keys(count: u32) -> Vec<FlowKey> {
    let of_set = count.div_ceil(SETS);
    let numbers = || 0..of_set;
    let mut ends: Vec<Ends> = Vec::new();
    // Each set has a network of its own, so that no key is in two.
    let base = |set: u32| Ends { src: BASE.src + (set << 20), ..BASE };
    ends.extend(numbers().map(|n| by_xor(base(1), n)));
    ends.extend(numbers().map(|n| by_sum(base(2), n)));
    ends.extend(by_crc32(base(3), of_set));
    ends.extend(by_trying(base(4), of_set, fnv1a));
    ends.extend(by_trying(base(5), of_set, jenkins));
    ends.extend(numbers().map(|n| counting(base(6), n)));
    ends.extend(numbers().map(|n| high_bits(base(7), n)));
    ends.into_iter().take(count as usize).map(Ends::key).collect()
}

/// What changes in the source changes in the destination too, and in one port as in the other.
fn by_xor(base: Ends, n: u32) -> Ends {
    let (of_address, of_port) = (n >> 8, low(n & 0xff));
    Ends {
        src: base.src ^ of_address << 1,
        dst: base.dst ^ of_address << 1,
        src_port: base.src_port ^ of_port,
        dst_port: base.dst_port ^ of_port,
    }
}

/// What is added to the source is taken from the destination.
fn by_sum(base: Ends, n: u32) -> Ends {
    let (of_address, of_port) = (n >> 8, low(n & 0xff));
    Ends {
        src: base.src + of_address,
        dst: base.dst - of_address,
        src_port: base.src_port + of_port,
        dst_port: base.dst_port - of_port,
    }
}

/// Source addresses and ports that count up.
fn counting(base: Ends, n: u32) -> Ends {
    Ends { src: base.src + (n >> 4), src_port: base.src_port + low(n & 0xf), ..base }
}

/// Only the highest bits of ports and of the hosts' part of addresses differ.
fn high_bits(base: Ends, n: u32) -> Ends {
    Ends {
        src: base.src + ((n & 0xf) << 16),
        dst: base.dst + ((n >> 4 & 0xff) << 8),
        src_port: base.src_port ^ low(n >> 12 & 0xff) << 8,
        ..base
    }
}

/// CRC-32 is linear: flipping some bits of a key flips the same bits of its sum whatever the others are. By elimination we
/// find sets of bits that flip nothing; any choice of such sets gives a key of the same sum.
fn by_crc32(base: Ends, count: u32) -> Vec<Ends> {
    let flip = |bit: u32, ends: Ends| match bit {
        0..20 => Ends { src: ends.src ^ 1 << bit, ..ends },
        20..36 => Ends { dst: ends.dst ^ 1 << (bit - 20), ..ends },
        36..50 => Ends { src_port: ends.src_port ^ 1 << (bit - 36), ..ends },
        _ => Ends { dst_port: ends.dst_port ^ 1 << (bit - 50), ..ends },
    };
    const FREE_BITS: u32 = 62;
    let sum = crc32(&base.octets());
    let mut rows: Vec<(u32, u64)> =
        (0..FREE_BITS).map(|bit| (crc32(&flip(bit, base).octets()) ^ sum, 1 << bit)).collect();
    for column in 0..32 {
        let Some(at) = rows.iter().position(|row| row.0 & 1 << column != 0) else { continue };
        let pivot = rows.swap_remove(at);
        for row in rows.iter_mut().filter(|row| row.0 & 1 << column != 0) {
            *row = (row.0 ^ pivot.0, row.1 ^ pivot.1);
        }
    }
    let chosen = |n: u32| rows.iter().zip(0..32).filter(move |(_, bit)| n >> bit & 1 == 1);
    let bits = |n: u32| chosen(n).fold(0, |bits, (row, _)| bits ^ row.1);
    (0..count)
        .map(|n| (0..FREE_BITS).filter(|bit| bits(n) >> bit & 1 == 1).fold(base, |ends, bit| flip(bit, ends)))
        .collect()
}

/// For each source address the first source port with which the hash ends as it does for the first key.
fn by_trying(base: Ends, count: u32, hash: fn(&[u8]) -> u32) -> Vec<Ends> {
    let mask = (1 << BITS) - 1;
    let target = hash(&base.octets()) & mask;
    let found = (base.src..).filter_map(|src| {
        let ports = (0x1000..=u16::MAX).map(|src_port| Ends { src, src_port, ..base });
        ports.into_iter().find(|ends| hash(&ends.octets()) & mask == target)
    });
    found.take(count as usize).collect()
}

fn crc32(octets: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for octet in octets {
        sum ^= u32::from(*octet);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    !sum
}

fn fnv1a(octets: &[u8]) -> u32 {
    octets.iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}

/// Bob Jenkins' lookup3 over three words: addresses and ports; the protocol is left out, as tables with one for each do.
fn jenkins(octets: &[u8]) -> u32 {
    let (words, _) = octets.as_chunks::<4>();
    let start = 0xdead_beef_u32.wrapping_add(3 << 2);
    let mut words = words.iter().map(|word| start.wrapping_add(u32::from_be_bytes(*word)));
    let mut next = || words.next().unwrap_or_default();
    let (mut a, mut b, mut c) = (next(), next(), next());
    let turn = |x: &mut u32, y: u32, bits: u32| *x = (*x ^ y).wrapping_sub(y.rotate_left(bits));
    turn(&mut c, b, 14);
    turn(&mut a, c, 11);
    turn(&mut b, a, 25);
    turn(&mut c, b, 16);
    turn(&mut a, c, 4);
    turn(&mut b, a, 14);
    turn(&mut c, b, 24);
    c
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_keys_are_different_and_the_source_is_below_the_destination() {
        let keys = keys(7 * 500);
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 3_500);
        assert!(keys.iter().all(|key| key.src < key.dst));
    }

    #[test]
    fn sets_meet_under_their_hash() {
        let same =
            |ends: &[Ends], hash: &dyn Fn(&Ends) -> u32| ends.iter().map(hash).collect::<HashSet<_>>().len() == 1;
        let mixed = |e: &Ends| e.src ^ e.dst ^ u32::from(e.src_port ^ e.dst_port);
        let added = |e: &Ends| e.src.wrapping_add(e.dst) + u32::from(e.src_port + e.dst_port);
        let of = |make: fn(Ends, u32) -> Ends| (0..2_000).map(|n| make(BASE, n)).collect::<Vec<_>>();
        assert!(same(&of(by_xor), &mixed) && !same(&of(by_sum), &mixed));
        assert!(same(&of(by_sum), &added) && !same(&of(by_xor), &added));
        assert!(same(&by_crc32(BASE, 2_000), &|e| crc32(&e.octets())));
        let mask = (1 << BITS) - 1;
        assert!(same(&by_trying(BASE, 20, fnv1a), &|e| fnv1a(&e.octets()) & mask));
        assert!(same(&by_trying(BASE, 20, jenkins), &|e| jenkins(&e.octets()) & mask));
    }

    #[test]
    fn hashes_are_those_that_everybody_has() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}
