// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports for later fragments.
//!
//! Only the first fragment of a datagram has the ports. They are remembered under addresses, protocol and identification
//! (RFC 791 section 3.2, RFC 8200 section 4.5), in a table of fixed size: four entries to a set, the oldest is overwritten.
//! A later fragment that comes before the first one, or after it was overwritten, is counted in a flow with port 0.

use weir_flow::FlowKey;

use crate::{
    hash::Seed,
    table::{Narrow, Wide},
};

const SETS: usize = 1024;
const WAYS: usize = 4;
/// How long a first fragment is remembered, in nanoseconds of the cache's clock: as long as a host waits for the rest
/// (RFC 1122 section 3.3.2 says 60 to 120 s; RFC 8200 section 4.5 says 60 s).
const REMEMBERED: u64 = 60_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Datagram {
    /// With ports zero.
    key: FlowKey,
    id: u32,
    ports: [u16; 2],
    /// Clock at the first fragment; zero: never used.
    seen: u64,
}

/// The ports of datagrams whose first fragment was seen.
#[derive(Debug)]
pub struct FragmentPorts {
    sets: Vec<[Datagram; WAYS]>,
    seed: Seed,
}

impl FragmentPorts {
    /// Octets of memory that it takes.
    pub const OCTETS: usize = SETS * size_of::<[Datagram; WAYS]>();

    /// An empty table.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self { sets: vec![Default::default(); SETS], seed }
    }

    /// Remembers the ports of a first fragment with this identification.
    pub fn remember(&mut self, key: &FlowKey, id: u32, now: u64) {
        let datagram = Datagram { key: without_ports(key), id, ports: [key.src_port, key.dst_port], seen: now.max(1) };
        let set = self.set(&datagram.key, id);
        let same = set.iter().position(|d| d.seen != 0 && d.id == id && d.key == datagram.key);
        let oldest = || (0..WAYS).min_by_key(|&way| set[way].seen);
        if let Some(way) = same.or_else(oldest) {
            set[way] = datagram;
        }
    }

    /// The key of a later fragment with the ports of its first fragment; `None` if that is not remembered.
    pub fn recall(&mut self, key: &FlowKey, id: u32, now: u64) -> Option<FlowKey> {
        let bare = without_ports(key);
        let found = self
            .set(&bare, id)
            .iter()
            .find(|d| d.seen != 0 && d.id == id && d.key == bare && now.saturating_sub(d.seen) <= REMEMBERED)?;
        let [src_port, dst_port] = found.ports;
        Some(FlowKey { src_port, dst_port, ..*key })
    }

    fn set(&mut self, key: &FlowKey, id: u32) -> &mut [Datagram; WAYS] {
        let (narrow, _) = Narrow::of(&FlowKey { interface: id, ..*key }, &self.seed, &mut Wide::default());
        let hash = self.seed.hash(narrow);
        #[expect(clippy::cast_possible_truncation, reason = "part of a hash")]
        let index = hash as usize % SETS;
        &mut self.sets[index]
    }
}

fn without_ports(key: &FlowKey) -> FlowKey {
    FlowKey { src_port: 0, dst_port: 0, ..*key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_fragment_finds_its_ports_for_a_minute() {
        let mut ports = FragmentPorts::new(Seed::new(1));
        let first = FlowKey::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 53, 5353, 17);
        let later = without_ports(&first);
        ports.remember(&first, 7, 1_000);
        assert_eq!(ports.recall(&later, 7, 2_000), Some(first));
        assert_eq!(ports.recall(&later, 8, 2_000), None);
        assert_eq!(ports.recall(&FlowKey { protocol: 6, ..later }, 7, 2_000), None);
        assert_eq!(ports.recall(&later, 7, REMEMBERED + 1_001), None);
    }
}
