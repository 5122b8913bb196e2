// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Seeded hashes of flow keys.
//!
//! Multiply-and-fold over 128 bits, as in wyhash: a secret is mixed into both factors, so that nobody outside can choose
//! keys that meet in one bucket. A hash only says where to look; keys are compared in full.

use weir_flow::{FlowKey, Timestamp};

use crate::table::{Narrow, Wide};

/// The secret of one process.
#[derive(Clone, Copy, Debug)]
pub struct Seed([u64; 5]);

impl Seed {
    /// Secrets made from one number, well spread (splitmix64).
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 5].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) | 1
        }))
    }

    /// A seed that nobody can foresee.
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self::new(RandomState::new().hash_one(0_u8))
    }

    /// Hash of a key.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: Narrow) -> u64 {
        let [s0, s1, s2, s3, _] = self.0;
        fold(fold(key.ends ^ s0, key.rest ^ s1) ^ s2, key.rest.rotate_left(32) ^ s3)
    }

    /// What stands for the parts of a key that do not fit into [`Narrow`].
    #[inline]
    #[must_use]
    pub fn digest(&self, key: &Wide) -> u64 {
        let [s0, s1, s2, s3, s4] = self.0;
        let [[a_high, a_low], [b_high, b_low]] = key.ends.each_ref().map(halves);
        let others = u64::from(key.interface) << 32 | u64::from(key.class_of_service);
        let ends = fold(a_high ^ s0, a_low ^ s1) ^ fold(b_high ^ s2, b_low ^ s3).rotate_left(23);
        fold(ends ^ s4, others ^ s0.rotate_left(32))
    }
}

/// Identifier of a flow whose first packet came at this time: the same on every machine, and for both directions of the key
/// if it is given in canonical direction. 53 bits and not zero, so that it survives a reader that takes numbers for
/// floating-point ones.
#[must_use]
pub fn flow_id(key: &FlowKey, first: Timestamp) -> u64 {
    let [src, dst] = [&key.src, &key.dst].map(halves);
    let ports = u64::from(key.src_port) << 48 | u64::from(key.dst_port) << 32 | u64::from(key.interface);
    let rest = u64::from(key.vlan) << 24
        | u64::from(key.protocol) << 16
        | u64::from(key.version as u8) << 8
        | u64::from(key.class_of_service);
    let mix = |[high, low]: [u64; 2]| fold(high ^ 0x9e37_79b9_7f4a_7c15, low ^ 0xbf58_476d_1ce4_e5b9);
    let ends = mix(src) ^ mix(dst).rotate_left(23);
    let id = fold(fold(ends ^ ports, first.as_nanos() ^ 0x94d0_49bb_1331_11eb), rest ^ 0xd6e8_feb8_6659_fd93);
    (id >> 11).max(1)
}

/// Product of two numbers, its halves folded together.
#[inline]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are folded together")]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}

#[inline]
fn halves(octets: &[u8; 16]) -> [u64; 2] {
    let all = u128::from_le_bytes(*octets);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
    let halves = [(all >> 64) as u64, all as u64];
    halves
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn narrow(key: &FlowKey, seed: &Seed) -> Narrow {
        Narrow::of(key, seed, &mut Wide::default()).0
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let base = FlowKey::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 1000, 2000, 6);
        let mut variants = vec![base, base.reversed()];
        variants.push(FlowKey { src_port: 1001, ..base });
        variants.push(FlowKey { dst_port: 2001, ..base });
        variants.push(FlowKey { interface: 1, ..base });
        variants.push(FlowKey { vlan: 1, ..base });
        variants.push(FlowKey { protocol: 17, ..base });
        variants.push(FlowKey { version: weir_flow::IpVersion::V6, ..base });
        variants.push(FlowKey { class_of_service: 1, ..base });
        let seed = Seed::new(1);
        let hashes: HashSet<_> = variants.iter().map(|k| seed.hash(narrow(k, &seed))).collect();
        // The reversed key is the same flow.
        assert_eq!(hashes.len(), variants.len() - 1);
        let ids: HashSet<_> = variants.iter().map(|k| flow_id(k, Timestamp::ZERO)).collect();
        assert_eq!(ids.len(), variants.len());
        let other = Seed::new(2);
        assert_ne!(seed.hash(narrow(&base, &seed)), other.hash(narrow(&base, &other)));
    }
}
