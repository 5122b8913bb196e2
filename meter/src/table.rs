// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The flow table: an index of buckets over a slab of entries, of fixed size.
//!
//! ```text
//!   hash ─► bucket: one cache line, ten (tag, slot) pairs ─► entry: two cache lines, the key and what is counted
//!      └──► the other bucket of the same key
//! ```
//!
//! A key may be in either of two buckets, and goes into the emptier one; so buckets stay evenly filled, and a look-up
//! touches at most two lines of the index. A tag is 16 bits of the hash; equality of keys decides. Where both buckets are
//! full, or the slab is, the entry of the neighbourhood that had no packet for longest must go.

use weir_flow::FlowKey;

use crate::hash::Seed;

/// Pairs in a bucket: as many as fit into a cache line.
const WAYS: usize = 10;
/// A slot that holds nothing; also: no application state.
pub const NONE: u32 = u32::MAX;

/// Most flows of one table: the numbers above are marks.
pub const MAX_FLOWS: usize = 1 << 31;

/// One cache line of the index.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; WAYS],
    slots: [u32; WAYS],
}

const EMPTY: Bucket = Bucket { tags: [0; WAYS], slots: [NONE; WAYS] };

/// What is counted of one flow. Index 0 is the direction of the initiator.
///
/// Times are nanoseconds. `seen` and `started` are of the cache's clock, `first` and `last` of the packets.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Entry {
    /// The key, in canonical direction.
    pub key: FlowKey,
    /// Clock at the latest packet.
    pub seen: u64,
    /// Clock when the open record began.
    pub started: u64,
    /// Octets since the record began.
    pub octets: [u64; 2],
    /// Earliest packet of the record.
    pub first: [u64; 2],
    /// Latest packet of the record.
    pub last: [u64; 2],
    /// Packets since the record began.
    pub packets: [u32; 2],
    /// Lower twelve bits: control bits since the record began. Upper four: see [`state`].
    pub bits: [u16; 2],
    /// Application state, or [`NONE`], or a mark of the cache's.
    pub app: u32,
}

const _: () = assert!(size_of::<Entry>() == 128 && size_of::<Bucket>() == 64);

/// State of a flow, kept beside the control bits of [`Entry::bits`].
pub mod state {
    /// Of each direction: FIN was seen.
    pub const FIN: u16 = 0x1000;
    /// Of direction 0: the initiator's direction is opposite to that of the key.
    pub const SWAPPED: u16 = 0x2000;
    /// Of direction 0: the flow has ended, stragglers are waited for.
    pub const CLOSING: u16 = 0x4000;
    /// Of each direction: the flow has had a packet in it.
    pub const SEEN: u16 = 0x8000;
    /// The control bits.
    pub const FLAGS: u16 = 0x0fff;
}

/// Where a key is, or would go.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    buckets: [usize; 2],
    tag: u16,
}

/// What became of an insertion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inserted {
    /// A fresh entry is in this slot.
    At(u32),
    /// There is no room: the entry in this slot has to be removed first.
    Full(u32),
}

/// A hash table of flows that never grows.
#[derive(Debug)]
pub struct FlowTable {
    buckets: Vec<Bucket>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    capacity: usize,
    seed: Seed,
}

impl FlowTable {
    /// Room for `capacity` flows, at least 16. The memory is reserved here, and touched as flows come.
    #[must_use]
    pub fn new(capacity: usize, seed: Seed) -> Self {
        let capacity = capacity.clamp(16, MAX_FLOWS);
        // Filled to four fifths at most, two choices of ten almost never overflow.
        let buckets = (capacity * 5 / 4).div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: vec![EMPTY; buckets],
            entries: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
            seed,
        }
    }

    /// Number of flows in the table.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Where a key belongs.
    #[inline]
    #[must_use]
    pub fn place(&self, key: &FlowKey) -> Place {
        let hash = self.seed.hash(key);
        let mask = self.buckets.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "parts of a hash")]
        let (low, high, tag) = (hash as usize, (hash >> 32) as usize, (hash >> 48) as u16);
        let first = low & mask;
        // Never the same bucket twice, unless there is only one.
        let second = (first ^ (high | 1)) & mask;
        Place { buckets: [first, second], tag }
    }

    /// Reads the lines that a look-up needs, so that they are on their way when it comes. The answer has no meaning but to
    /// keep the reads.
    #[inline]
    #[must_use]
    pub fn touch(&self, place: Place) -> u32 {
        let first = place.buckets.map(|b| self.buckets.get(b).map_or(NONE, |bucket| bucket.slots[0]));
        first[0] ^ first[1]
    }

    /// The slot of a key; [`NONE`] if it is not in the table.
    #[inline]
    #[must_use]
    pub fn find(&self, place: Place, key: &FlowKey) -> u32 {
        for bucket in place.buckets.iter().filter_map(|&b| self.buckets.get(b)) {
            for (tag, &slot) in bucket.tags.iter().zip(&bucket.slots) {
                if *tag == place.tag && self.entries.get(slot as usize).is_some_and(|e| e.key == *key) {
                    return slot;
                }
            }
        }
        NONE
    }

    /// Enters a key that is not in the table.
    pub fn insert(&mut self, place: Place, key: &FlowKey) -> Inserted {
        let used =
            |bucket: usize| self.buckets.get(bucket).map_or(WAYS, |b| b.slots.iter().filter(|s| **s != NONE).count());
        let [first, second] = place.buckets;
        let bucket = if used(second) < used(first) { second } else { first };
        if self.flows() >= self.capacity || used(bucket) >= WAYS {
            return Inserted::Full(self.oldest_near(place));
        }
        let entry = Entry { key: *key, app: NONE, ..Entry::default() };
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.entries.get_mut(slot as usize) {
                    *place = entry;
                }
                slot
            }
            None => {
                self.entries.push(entry);
                // The capacity is below NONE.
                u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
            }
        };
        if let Some(bucket) = self.buckets.get_mut(bucket)
            && let Some(way) = bucket.slots.iter().position(|s| *s == NONE)
        {
            bucket.slots[way] = slot;
            bucket.tags[way] = place.tag;
        }
        Inserted::At(slot)
    }

    /// Removes the entry in a slot and gives the slot back.
    pub fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.get(slot as usize) else { return };
        let place = self.place(&entry.key);
        for bucket in place.buckets {
            if let Some(bucket) = self.buckets.get_mut(bucket)
                && let Some(way) = bucket.slots.iter().position(|s| *s == slot)
            {
                bucket.slots[way] = NONE;
                self.free.push(slot);
                return;
            }
        }
    }

    /// The entry in a slot.
    #[inline]
    pub fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)
    }

    /// The slots in use, in no order that means anything.
    pub fn slots(&self) -> Vec<u32> {
        let mut slots: Vec<u32> = self.buckets.iter().flat_map(|b| b.slots).filter(|s| *s != NONE).collect();
        slots.sort_unstable();
        slots
    }

    /// The entry that had no packet for longest, of the two buckets of a key, or else of the next bucket that has any.
    fn oldest_near(&self, place: Place) -> u32 {
        let oldest = |buckets: &[usize]| {
            let slots = buckets.iter().filter_map(|&b| self.buckets.get(b)).flat_map(|b| b.slots);
            slots.filter_map(|s| self.entries.get(s as usize).map(|e| (e.seen, s))).min()
        };
        let near = oldest(&place.buckets);
        let near = near.or_else(|| {
            let [first, _] = place.buckets;
            (1..self.buckets.len()).find_map(|step| oldest(&[(first + step) & (self.buckets.len() - 1)]))
        });
        near.map_or(NONE, |(_, slot)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(i: u32) -> FlowKey {
        FlowKey::new(i.to_be_bytes().into(), [192, 0, 2, 1].into(), 1, 2, 6)
    }

    #[test]
    fn what_is_entered_is_found_until_it_is_removed() {
        let mut table = FlowTable::new(1000, Seed::new(7));
        let mut slots = Vec::new();
        for i in 0..1000 {
            let place = table.place(&key(i));
            assert_eq!(table.find(place, &key(i)), NONE);
            let Inserted::At(slot) = table.insert(place, &key(i)) else { panic!("full at {i}") };
            table.entry_mut(slot).unwrap().seen = u64::from(i) + 1;
            slots.push(slot);
        }
        for i in 0..1000 {
            assert_eq!(table.find(table.place(&key(i)), &key(i)), slots[i as usize]);
        }
        assert!(matches!(table.insert(table.place(&key(1000)), &key(1000)), Inserted::Full(slot) if slot != NONE));
        for i in (0..1000).step_by(2) {
            table.remove(slots[i as usize]);
            assert_eq!(table.find(table.place(&key(i)), &key(i)), NONE);
        }
        assert_eq!(table.flows(), 500);
        assert_eq!(table.slots().len(), 500);
    }

    #[test]
    fn a_full_table_offers_the_oldest_of_the_neighbourhood() {
        let mut table = FlowTable::new(16, Seed::new(7));
        for i in 0..16 {
            let place = table.place(&key(i));
            let Inserted::At(slot) = table.insert(place, &key(i)) else { panic!("full at {i}") };
            table.entry_mut(slot).unwrap().seen = 1000 - u64::from(i);
        }
        let Inserted::Full(slot) = table.insert(table.place(&key(99)), &key(99)) else { panic!("not full") };
        table.remove(slot);
        assert!(matches!(table.insert(table.place(&key(99)), &key(99)), Inserted::At(_)));
    }
}
