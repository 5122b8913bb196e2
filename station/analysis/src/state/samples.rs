// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an alert shows of the many: samples, covered prefixes, port ranges.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Sketch, hash};
use crate::prefix::{PortRange, Prefix, masked, width};

/// The smallest so many values: the same whatever order they come in.
#[derive(Clone, Debug)]
pub struct Samples<T> {
    values: Vec<T>,
}

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T: Copy + Ord> Samples<T> {
    /// Most values kept.
    pub const MAX: usize = 16;

    /// Takes a value in if it is among the smallest.
    pub fn insert(&mut self, value: T) {
        let Err(at) = self.values.binary_search(&value) else { return };
        if at < Self::MAX {
            self.values.truncate(Self::MAX - 1);
            self.values.insert(at, value);
        }
    }

    /// The values in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }
}

/// Which prefixes were covered: /24 for IPv4, /120 for IPv6, joined to shorter ones where neighbours are covered too.
///
/// Bounded: [`Self::OPEN`] prefixes under way, [`Self::DONE`] covered. Beyond that it shows less than there was.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    open: BTreeMap<IpAddr, [u64; 4]>,
    done: BTreeSet<Prefix>,
}

impl Coverage {
    /// Prefixes that may be under way at a time.
    pub const OPEN: usize = 64;
    /// Prefixes that may be covered.
    pub const DONE: usize = 64;
    /// Addresses of 256 that make a prefix covered: 90 % of the 254 hosts.
    pub const HOSTS: u32 = 229;

    /// Marks an address as touched.
    pub fn insert(&mut self, address: IpAddr) {
        let base = masked(address, width(address) - 8);
        if !self.open.contains_key(&base)
            && (self.open.len() >= Self::OPEN || self.done.iter().any(|p| p.contains(address)))
        {
            return;
        }
        let host = match address {
            IpAddr::V4(a) => a.octets()[3],
            IpAddr::V6(a) => a.octets()[15],
        };
        let bits = self.open.entry(base).or_default();
        bits[usize::from(host / 64)] |= 1 << (host % 64);
        if bits.iter().map(|b| b.count_ones()).sum::<u32>() >= Self::HOSTS {
            self.open.remove(&base);
            self.cover(Prefix::new(base, width(base) - 8));
        }
    }

    /// Covered prefixes in ascending order.
    #[must_use]
    pub fn prefixes(&self) -> Vec<Prefix> {
        self.done.iter().copied().collect()
    }

    fn cover(&mut self, mut prefix: Prefix) {
        while prefix.len() > 8 && self.done.remove(&sibling(prefix)) {
            prefix = Prefix::new(prefix.address(), prefix.len() - 1);
        }
        if self.done.len() < Self::DONE {
            self.done.insert(prefix);
        }
    }
}

/// The prefix that differs in the last bit.
fn sibling(prefix: Prefix) -> Prefix {
    let len = u32::from(prefix.len());
    let address = match prefix.address() {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() ^ 1_u32.checked_shl(32 - len).unwrap_or(0))),
        IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() ^ 1_u128.checked_shl(128 - len).unwrap_or(0))),
    };
    Prefix::new(address, prefix.len())
}

/// Distinct ports: none or one without memory, then a bitmap of 8 KiB.
#[derive(Clone, Debug, Default)]
pub enum Ports {
    /// None yet.
    #[default]
    None,
    /// One.
    One(u16),
    /// Any number: one bit for each port.
    Many(Box<[u64]>),
}

impl Ports {
    /// Takes a port in.
    pub fn insert(&mut self, port: u16) {
        match self {
            Self::None => *self = Self::One(port),
            Self::One(one) if *one == port => {}
            Self::One(one) => {
                let mut bits = vec![0; 1_024].into_boxed_slice();
                set(&mut bits, *one);
                set(&mut bits, port);
                *self = Self::Many(bits);
            }
            Self::Many(bits) => set(bits, port),
        }
    }

    /// Number of distinct ports.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(bits) => bits.iter().map(|b| u64::from(b.count_ones())).sum(),
        }
    }

    /// The ports as ranges in ascending order, at most `max`.
    #[must_use]
    pub fn ranges(&self, max: usize) -> Vec<PortRange> {
        match self {
            Self::None => Vec::new(),
            Self::One(port) => vec![PortRange::one(*port)],
            Self::Many(bits) => {
                let has = |port: u16| bits.get(usize::from(port / 64)).is_some_and(|b| b & 1 << (port % 64) != 0);
                PortRange::of((0..=u16::MAX).filter(|&p| has(p)), max)
            }
        }
    }
}

fn set(bits: &mut [u64], port: u16) {
    if let Some(word) = bits.get_mut(usize::from(port / 64)) {
        *word |= 1 << (port % 64);
    }
}

/// Estimates of how many ports, and how many pairs of target and port; nothing is kept until there is a second port.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    first: Option<u16>,
    many: Option<Box<(Sketch, Sketch)>>,
}

impl Spread {
    /// Takes in a probe of `port` at the target with this hash.
    pub fn insert(&mut self, target: u64, port: u16) {
        let first = *self.first.get_or_insert(port);
        if first == port && self.many.is_none() {
            return;
        }
        let (ports, pairs) = &mut **self.many.get_or_insert_with(|| Box::new((Sketch::new(8), Sketch::new(8))));
        for port in [first, port] {
            ports.insert(hash(2, &port.to_be_bytes()));
        }
        pairs.insert(hash(target, &port.to_be_bytes()));
    }

    /// Distinct ports.
    #[must_use]
    pub fn ports(&self) -> u64 {
        self.many.as_ref().map_or(u64::from(self.first.is_some()), |many| many.0.estimate())
    }

    /// Distinct pairs of target and port; zero while there is one port. Pairs of the first port that came before there was
    /// a second are not in it.
    #[must_use]
    pub fn pairs(&self) -> u64 {
        self.many.as_ref().map_or(0, |many| many.1.estimate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_do_not_depend_on_order() {
        let (mut up, mut down) = (Samples::default(), Samples::default());
        (0..40).for_each(|v| up.insert(v));
        (0..40).rev().for_each(|v| down.insert(v));
        assert_eq!(up.as_slice(), down.as_slice());
        assert_eq!(up.as_slice(), (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn neighbouring_prefixes_are_joined() {
        let mut coverage = Coverage::default();
        for third in 0..4 {
            for host in 0..=255 {
                coverage.insert(IpAddr::from([10, 0, third, host]));
            }
        }
        (0..228).for_each(|host| coverage.insert(IpAddr::from([10, 0, 9, host])));
        assert_eq!(coverage.prefixes(), ["10.0.0.0/22".parse().unwrap()]);
        coverage.insert(IpAddr::from([10, 0, 9, 250]));
        assert_eq!(coverage.prefixes().len(), 2);
    }

    #[test]
    fn coverage_is_bounded() {
        let mut coverage = Coverage::default();
        for net in 0..1_000_u32 {
            coverage.insert(IpAddr::V4(Ipv4Addr::from_bits(net << 8)));
        }
        assert_eq!(coverage.open.len(), Coverage::OPEN);
    }

    #[test]
    fn ports_are_exact() {
        let mut ports = Ports::default();
        [1, 1, 65_535, 0, 3, 2].into_iter().for_each(|p| ports.insert(p));
        assert_eq!(ports.count(), 5);
        assert_eq!(ports.ranges(9), [PortRange { first: 0, last: 3 }, PortRange::one(65_535)]);
    }
}
