// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The flow table: an index of buckets over a slab of entries, of fixed size.
//!
//! ```text
//!   hash ─► bucket: one cache line, ten (tag, slot) pairs ─► entry: a line that every packet needs, and a line that
//!      └──► the other bucket of the same key                  beginnings, ends and parsers need; addresses of IPv6
//! ```
//!
//! A key may be in either of two buckets. It goes into the first until that is nearly full, then into the emptier one; where
//! both are full, one of their keys moves to its other bucket. So the table takes as many flows as it was made for, and a
//! look-up touches at most two lines of the index, mostly one. A tag is 15 bits of the hash; equality of keys decides.
//! Where the slab is full, the entry in the key's bucket that had no packet for longest must go.

use std::io;

use weir_flow::{FlowKey, IpVersion};
use weir_parsers::packet::{Addresses, Plain};

use crate::{
    hash::Seed,
    memory::{Array, prefetch, prefetch_line},
};

/// Pairs in a bucket: as many as fit into a cache line.
const WAYS: usize = 10;
/// Pairs in the first bucket of a key from which on its second one is considered.
const NEARLY_FULL: usize = 8;
/// A slot that holds nothing; also: no application state.
pub const NONE: u32 = u32::MAX;

/// Most flows of one table: the numbers above are marks.
pub const MAX_FLOWS: usize = 1 << 31;

/// One cache line of the index. A tag of zero is that of an empty pair.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Bucket {
    tags: [u16; WAYS],
    slots: [u32; WAYS],
}

impl Bucket {
    fn used(&self) -> usize {
        self.tags.iter().filter(|tag| **tag != 0).count()
    }

    /// A bit for each pair with this tag.
    #[inline]
    fn matches(&self, tag: u16) -> u32 {
        let mut found = 0;
        for (way, of) in self.tags.iter().enumerate() {
            found |= u32::from(*of == tag) << way;
        }
        found
    }

    /// The slot of the first pair with this tag; [`NONE`] if there is none.
    #[inline]
    fn candidate(&self, tag: u16) -> u32 {
        match self.matches(tag) {
            0 => NONE,
            found => self.slots.get(found.trailing_zeros() as usize).copied().unwrap_or(NONE),
        }
    }

    fn put(&mut self, tag: u16, slot: u32) -> bool {
        let Some(way) = self.tags.iter().position(|of| *of == 0) else { return false };
        self.tags[way] = tag;
        self.slots[way] = slot;
        true
    }

    fn take(&mut self, tag: u16, slot: u32) -> bool {
        let pairs = self.tags.iter_mut().zip(&self.slots);
        let Some((place, _)) = pairs.into_iter().find(|(of, at)| **of == tag && **at == slot) else { return false };
        *place = 0;
        true
    }
}

/// A flow key in 16 octets, in canonical direction: the end with the smaller address and port first.
///
/// Two plain flows of IPv4 are the same if these are. Of a wide key (IPv6, or with a class of service or an interface in
/// it) this holds a digest of what does not fit, and [`Wide`] decides.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Narrow {
    /// Both addresses of IPv4, or the digest.
    pub ends: u64,
    /// Ports, VLAN, protocol, and [`Narrow::V4`] or [`Narrow::V6`], with [`Narrow::WIDE`]. Never zero.
    pub rest: u64,
}

impl Narrow {
    /// A key that no flow has, and no free entry either.
    pub const NOBODYS: Self = Self { ends: u64::MAX, rest: 0 };

    const V4: u64 = 1;
    const V6: u64 = 2;
    const WIDE: u64 = 4;

    /// The key of the flow that a plain packet belongs to, and whether that was turned round. `wide` is written if the key is
    /// wide; `vlan` is zero if not part of the key.
    #[inline(always)]
    pub fn plain(plain: &Plain, vlan: u16, seed: &Seed, wide: &mut Wide) -> (Self, bool) {
        let others = u64::from(vlan) << 16 | u64::from(plain.protocol) << 8;
        match plain.addresses {
            Addresses::V4(ends) => {
                let ports = plain.ports;
                let [turned, turned_ports] = [ends.rotate_left(32), ports.rotate_left(16).into()];
                // Addresses decide, then ports. Not by a branch, which nobody could foresee.
                let order = |ends: u64, ports: u64| u128::from(ends) << 64 | u128::from(ports);
                let swapped = order(turned, turned_ports) < order(ends, ports.into());
                let (ends, ports) = if swapped { (turned, turned_ports) } else { (ends, ports.into()) };
                (Self { ends, rest: ports << 32 | others | Self::V4 }, swapped)
            }
            Addresses::V6([src, dst]) => {
                let [src_port, dst_port] = [plain.ports >> 16, plain.ports & 0xffff].map(u64::from);
                let swapped = (dst, dst_port) < (src, src_port);
                let (ends, [low, high]) =
                    if swapped { ([dst, src], [dst_port, src_port]) } else { ([src, dst], [src_port, dst_port]) };
                *wide = Wide { ends, interface: 0, class_of_service: 0 };
                let rest = low << 48 | high << 32 | others | Self::V6 | Self::WIDE;
                (Self { ends: seed.digest(wide), rest }, swapped)
            }
        }
    }

    /// The key of the flow that a packet's key belongs to, and whether that was turned round. `wide` is written if the key is
    /// wide.
    pub fn of(key: &FlowKey, seed: &Seed, wide: &mut Wide) -> (Self, bool) {
        let ports = [key.src_port, key.dst_port].map(u64::from);
        let kind = match key.version {
            IpVersion::V4 => Self::V4,
            IpVersion::V6 => Self::V6,
        };
        let others = u64::from(key.vlan) << 16 | u64::from(key.protocol) << 8 | kind;
        let rest = |first: u64, second: u64| first << 48 | second << 32 | others;
        if key.version == IpVersion::V4 && key.interface == 0 && key.class_of_service == 0 {
            let [src, dst] = [v4(&key.src), v4(&key.dst)];
            let swapped = (dst << 16 | ports[1]) < (src << 16 | ports[0]);
            let ends = if swapped { dst << 32 | src } else { src << 32 | dst };
            let rest = if swapped { rest(ports[1], ports[0]) } else { rest(ports[0], ports[1]) };
            return (Self { ends, rest }, swapped);
        }
        let swapped = (key.dst, key.dst_port) < (key.src, key.src_port);
        let rest = if swapped { rest(ports[1], ports[0]) } else { rest(ports[0], ports[1]) };
        *wide = Wide {
            ends: if swapped { [key.dst, key.src] } else { [key.src, key.dst] },
            interface: key.interface,
            class_of_service: key.class_of_service.into(),
        };
        (Self { ends: seed.digest(wide), rest: rest | Self::WIDE }, swapped)
    }

    /// The whole key, in canonical direction; `wide` is the rest of it if it is wide.
    #[must_use]
    pub fn full(self, wide: &Wide) -> FlowKey {
        let [src_port, dst_port] = self.ports();
        #[expect(clippy::cast_possible_truncation, reason = "a field is taken out")]
        let vlan = (self.rest >> 16) as u16;
        let version = if self.rest & Self::V6 == 0 { IpVersion::V4 } else { IpVersion::V6 };
        let key = FlowKey { src_port, dst_port, vlan, protocol: self.protocol(), version, ..FlowKey::default() };
        if self.is_wide() {
            let [src, dst] = wide.ends;
            // It was made from one octet.
            let class_of_service = u8::try_from(wide.class_of_service).unwrap_or_default();
            return FlowKey { src, dst, interface: wide.interface, class_of_service, ..key };
        }
        let [a, b, c, d, e, f, g, h] = self.ends.to_be_bytes();
        FlowKey {
            src: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            dst: [e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..key
        }
    }

    /// Both ports, in canonical direction.
    #[must_use]
    pub fn ports(self) -> [u16; 2] {
        #[expect(clippy::cast_possible_truncation, reason = "fields are taken out")]
        let ports = [(self.rest >> 48) as u16, (self.rest >> 32) as u16];
        ports
    }

    /// Protocol number.
    #[must_use]
    pub fn protocol(self) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "a field is taken out")]
        let protocol = (self.rest >> 8) as u8;
        protocol
    }

    #[inline]
    pub fn is_wide(&self) -> bool {
        self.rest & Self::WIDE != 0
    }
}

#[inline]
fn v4(address: &[u8; 16]) -> u64 {
    let [a, b, c, d, ..] = *address;
    u32::from_be_bytes([a, b, c, d]).into()
}

/// What of a key does not fit into [`Narrow`], in canonical direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Wide {
    /// Both addresses.
    pub ends: [[u8; 16]; 2],
    /// Interface, if part of the key.
    pub interface: u32,
    /// Class of service, if part of the key.
    pub class_of_service: u32,
}

/// What is counted of one flow. Index 0 is the direction of the initiator.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub struct Entry {
    /// What every packet needs.
    pub hot: Hot,
    /// What beginnings, ends and parsers need.
    pub cold: Cold,
}

/// The line that every packet touches. Times are nanoseconds: `seen` is of the cache's clock, `last` of the packets.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Hot {
    /// The key; zero where no flow is.
    pub key: Narrow,
    /// Latest packet of the record.
    pub last: [u64; 2],
    /// Clock at the latest packet.
    pub seen: u64,
    /// Packets since the record began.
    pub packets: [u32; 2],
    /// Octets since the record began, their lower 32 bits.
    pub octets: [u32; 2],
    /// Clock when the open record began, its upper 32 bits.
    pub started: u32,
    /// Control bits since the record began, twelve for each direction, and the flow's state: see [`state`].
    pub bits: u32,
}

/// The line that most packets do not touch.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Cold {
    /// Earliest packet of the record.
    pub first: [u64; 2],
    /// Clock when the open record began.
    pub started: u64,
    /// Identifier of the flow.
    pub flow_id: u64,
    /// Interface of the first packet of each direction.
    pub interface: [u32; 2],
    /// Of TCP, the sequence number of the first octet of data; of UDP, how many datagrams nobody knew; of ICMP, type and code
    /// of the first packet.
    pub detail: [u32; 2],
    /// Application state, or [`NONE`].
    pub app: u32,
    /// Octets since the record began, their bits from the 33rd on.
    pub octets: [u16; 2],
    /// VLAN of the first packet of each direction.
    pub vlan: [u16; 2],
    /// Class of service of the first packet of each direction.
    pub class_of_service: [u8; 2],
    /// Whether `detail` is known, a bit for each direction.
    pub has_detail: u8,
    /// The protocol that was recognised last: its index among all, and one; zero if none was.
    pub application: u8,
}

const _: () = assert!(size_of::<Hot>() == 64 && size_of::<Cold>() == 64 && size_of::<Bucket>() == 64);

/// State of a flow, kept beside the control bits of [`Hot::bits`].
pub mod state {
    /// The control bits of the initiator's direction; those of the other are [`SIDE`] bits higher.
    pub const FLAGS: u32 = 0x0fff;
    /// Bits of one direction's flags.
    pub const SIDE: u32 = 12;
    /// FIN was seen; the responder's is one bit higher.
    pub const FIN: u32 = 1 << 24;
    /// A packet was seen; the responder's is one bit higher.
    pub const SEEN: u32 = 1 << 26;
    /// The initiator's direction is opposite to that of the key.
    pub const SWAPPED: u32 = 1 << 28;
    /// The flow has ended, stragglers are waited for.
    pub const CLOSING: u32 = 1 << 29;
    /// Payload is of interest.
    pub const WANTS: u32 = 1 << 30;
    /// There are statistics of the flow.
    pub const MEASURED: u32 = 1 << 31;
}

/// Where a key is, or would go: its hash, from which both buckets and the tag are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(u64);

impl Place {
    /// It is of the bits that do not count for the first bucket.
    #[inline]
    fn tag(self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "part of a hash")]
        let tag = (self.0 >> 32) as u16 | 1;
        tag
    }
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
    buckets: Array<Bucket>,
    entries: Array<Entry>,
    /// Addresses of the flows with wide keys, by slot.
    wide: Array<Wide>,
    free: Vec<u32>,
    /// Entries that were ever used: those behind are free, too.
    used: u32,
    capacity: usize,
    seed: Seed,
}

impl FlowTable {
    /// Room for `capacity` flows, at least 16. The memory is reserved here, and touched as flows come.
    ///
    /// # Errors
    ///
    /// If the system has not so much memory to give.
    pub fn new(capacity: usize, seed: Seed) -> io::Result<Self> {
        let capacity = capacity.clamp(16, MAX_FLOWS);
        Ok(Self {
            // Filled to eight of ten at most: with two choices and one move, hardly any key ever is without a place.
            buckets: Array::new(capacity.div_ceil(NEARLY_FULL))?,
            entries: Array::new(capacity)?,
            wide: Array::new(capacity)?,
            free: Vec::with_capacity(capacity),
            used: 0,
            capacity,
            seed,
        })
    }

    /// Octets of memory that a table for so many flows takes at most.
    #[must_use]
    pub fn octets(capacity: usize) -> usize {
        let each = size_of::<Entry>() + size_of::<Wide>() + size_of::<u32>();
        let index = capacity.div_ceil(NEARLY_FULL).saturating_mul(size_of::<Bucket>());
        capacity.saturating_mul(each).saturating_add(index)
    }

    /// Number of flows in the table.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.used as usize - self.free.len()
    }

    /// The key of the flow that a packet's key belongs to, and whether that was turned round. `wide` is written if the key is
    /// wide.
    pub fn narrow(&self, key: &FlowKey, wide: &mut Wide) -> (Narrow, bool) {
        Narrow::of(key, &self.seed, wide)
    }

    /// The same for a plain packet; `vlan` is zero if not part of the key.
    #[inline(always)]
    pub fn narrow_plain(&self, plain: &Plain, vlan: u16, wide: &mut Wide) -> (Narrow, bool) {
        Narrow::plain(plain, vlan, &self.seed, wide)
    }

    /// Where a key belongs.
    #[inline]
    #[must_use]
    pub fn place(&self, key: Narrow) -> Place {
        Place(self.seed.hash(key))
    }

    /// The index of the bucket that half of a hash, below 2^32, stands for: below the number of buckets, which is below 2^32.
    #[inline]
    fn bucket_of(&self, half: u64) -> usize {
        ((half * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn first_bucket(&self, place: Place) -> usize {
        self.bucket_of(place.0 & 0xffff_ffff)
    }

    #[inline]
    fn second_bucket(&self, place: Place) -> usize {
        self.bucket_of(place.0 >> 32)
    }

    #[inline]
    fn buckets_of(&self, place: Place) -> [usize; 2] {
        [self.first_bucket(place), self.second_bucket(place)]
    }

    /// Asks for the first line that a look-up needs.
    #[inline]
    pub fn prefetch_bucket(&self, place: Place) {
        if let Some(bucket) = self.buckets.get(self.first_bucket(place)) {
            prefetch(bucket);
        }
    }

    /// The slot that a key is in, most likely, by its first bucket; [`NONE`] if that does not know it. The line is asked for.
    #[inline]
    #[must_use]
    pub fn candidate(&self, place: Place, is_wide: bool) -> u32 {
        self.candidate_in(self.first_bucket(place), place, is_wide)
    }

    /// The same by its second bucket.
    #[inline]
    #[must_use]
    pub fn second_candidate(&self, place: Place, is_wide: bool) -> u32 {
        self.candidate_in(self.second_bucket(place), place, is_wide)
    }

    #[inline(always)]
    fn candidate_in(&self, bucket: usize, place: Place, is_wide: bool) -> u32 {
        let slot = self.buckets.get(bucket).map_or(NONE, |bucket| bucket.candidate(place.tag()));
        self.prefetch_slot(slot, is_wide);
        slot
    }

    /// Asks for the second line of the index that a look-up needs.
    #[inline]
    pub fn prefetch_second_bucket(&self, place: Place) {
        if let Some(bucket) = self.buckets.get(self.second_bucket(place)) {
            prefetch(bucket);
        }
    }

    /// Asks for the line of an entry that every packet needs, and for the rest of its key.
    #[inline]
    fn prefetch_slot(&self, slot: u32, is_wide: bool) {
        if let Some(entry) = self.entries.get(slot as usize) {
            prefetch(&entry.hot);
        }
        if is_wide && let Some(wide) = self.wide.get(slot as usize) {
            prefetch(wide);
        }
    }

    /// Whether a flow has to go before another one comes.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.flows() >= self.capacity
    }

    /// Asks for the entries of the first bucket of a key, of which one will have to go.
    pub fn prefetch_oldest(&self, place: Place) {
        let Some(bucket) = self.buckets.get(self.first_bucket(place)) else { return };
        for entry in bucket.slots.iter().filter_map(|&slot| self.entries.get(slot as usize)) {
            prefetch(&entry.hot);
        }
    }

    /// Whether the flow in a slot has this key.
    #[inline]
    #[must_use]
    pub fn is_at(&self, slot: u32, key: Narrow, wide: &Wide) -> bool {
        let Some(entry) = self.entries.get(slot as usize) else { return false };
        entry.hot.key == key && (!key.is_wide() || self.wide.get(slot as usize) == Some(wide))
    }

    /// The slot of a key; [`NONE`] if it is not in the table.
    #[must_use]
    pub fn find(&self, place: Place, key: Narrow, wide: &Wide) -> u32 {
        for bucket in self.buckets_of(place).into_iter().filter_map(|b| self.buckets.get(b)) {
            let mut found = bucket.matches(place.tag());
            while found != 0 {
                let slot = bucket.slots.get(found.trailing_zeros() as usize).copied().unwrap_or(NONE);
                if self.is_at(slot, key, wide) {
                    return slot;
                }
                found &= found - 1;
            }
        }
        NONE
    }

    /// Enters a key that is not in the table.
    pub fn insert(&mut self, place: Place, key: Narrow, wide: &Wide) -> Inserted {
        if self.is_full() {
            return Inserted::Full(self.oldest_near(place));
        }
        let Some(bucket) = self.make_room(place) else { return Inserted::Full(self.oldest_near(place)) };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        // The one that the next flow gets has not been touched for a while.
        if let Some(&next) = self.free.last() {
            self.prefetch_entry(next);
        }
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.put(place.tag(), slot);
        }
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            *entry = Entry { hot: Hot { key, ..Hot::default() }, cold: Cold { app: NONE, ..Cold::default() } };
        }
        if key.is_wide()
            && let Some(place) = self.wide.get_mut(slot as usize)
        {
            *place = *wide;
        }
        Inserted::At(slot)
    }

    /// A bucket of a place that has room, after a key was moved out if need be; `None` if that is not enough.
    fn make_room(&mut self, place: Place) -> Option<usize> {
        let [first, second] = self.buckets_of(place);
        let used = |bucket: usize| self.buckets.get(bucket).map_or(WAYS, Bucket::used);
        let in_first = used(first);
        if in_first < NEARLY_FULL {
            return Some(first);
        }
        let in_second = used(second);
        if in_first.min(in_second) < WAYS {
            return Some(if in_second < in_first { second } else { first });
        }
        let (bucket, moved, to) = [first, second].into_iter().find_map(|bucket| {
            let slots = self.buckets.get(bucket)?.slots;
            slots.into_iter().find_map(|slot| {
                let moved = self.place(self.entries.get(slot as usize)?.hot.key);
                let to = self.buckets_of(moved).into_iter().find(|to| *to != bucket && used(*to) < WAYS)?;
                Some((bucket, (moved.tag(), slot), to))
            })
        })?;
        let (tag, slot) = moved;
        self.buckets.get_mut(bucket)?.take(tag, slot);
        self.buckets.get_mut(to)?.put(tag, slot);
        Some(bucket)
    }

    /// Asks for the entry in a slot that is to be looked at soon.
    pub fn prefetch_entry(&self, slot: u32) {
        if let Some(entry) = self.entries.get(slot as usize) {
            prefetch(&entry.hot);
            prefetch(&entry.cold);
        }
    }

    /// Asks for the place in the index of an entry that is to be removed soon.
    pub fn prefetch_place(&self, slot: u32) {
        if let Some(entry) = self.entries.get(slot as usize) {
            self.prefetch_bucket(self.place(entry.hot.key));
        }
    }

    /// Removes the entry in a slot and gives the slot back.
    pub fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        let key = std::mem::take(&mut entry.hot.key);
        let place = self.place(key);
        for bucket in self.buckets_of(place) {
            if self.buckets.get_mut(bucket).is_some_and(|bucket| bucket.take(place.tag(), slot)) {
                self.free.push(slot);
                return;
            }
        }
    }

    /// Asks for the line of an entry that [`FlowTable::candidate`] does not ask for.
    #[inline]
    pub fn prefetch_cold(&self, slot: u32) {
        if let Some(entry) = self.entries.get(slot as usize) {
            prefetch(&entry.cold);
        }
    }

    /// Asks for the second line of an entry, whose first one is here, or else for nothing.
    #[inline]
    pub fn prefetch_either(&self, slot: u32, needs_cold: impl FnOnce(&Hot) -> bool) {
        if let Some(entry) = self.entries.get(slot as usize) {
            // Not by a branch, which nobody could foresee: to ask for what is here costs nothing.
            let (hot, cold) = (std::ptr::from_ref(&entry.hot).cast(), std::ptr::from_ref(&entry.cold).cast());
            prefetch_line(if needs_cold(&entry.hot) { cold } else { hot });
        }
    }

    /// The entry in a slot.
    #[inline]
    pub fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)
    }

    /// The entry in a slot.
    #[inline]
    pub fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)
    }

    /// The key of the flow in a slot, in canonical direction.
    #[must_use]
    pub fn key(&self, slot: u32) -> FlowKey {
        let narrow = self.entries.get(slot as usize).map(|entry| entry.hot.key).unwrap_or_default();
        // Of a plain key, nothing is read there.
        let wide = if narrow.is_wide() { self.wide.get(slot as usize) } else { None };
        narrow.full(wide.unwrap_or(&Wide::default()))
    }

    /// Slots that were ever used: all flows are below this one.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.used
    }

    /// Forgets all flows.
    pub fn clear(&mut self) {
        self.buckets.iter_mut().for_each(|bucket| bucket.tags = [0; WAYS]);
        self.free.clear();
        self.used = 0;
    }

    /// The slot that had no packet for longest in the bucket of a key, or else in the next bucket that has any.
    #[must_use]
    pub fn oldest_near(&self, place: Place) -> u32 {
        let [first, second] = self.buckets_of(place);
        let behind = (first..).take(self.buckets.len()).map(|bucket| bucket % self.buckets.len());
        let mut buckets = [first, second].into_iter().chain(behind);
        buckets.find_map(|bucket| self.oldest_in(self.buckets.get(bucket)?)).unwrap_or(NONE)
    }

    fn oldest_in(&self, bucket: &Bucket) -> Option<u32> {
        let used = bucket.tags.iter().zip(&bucket.slots).filter(|(tag, _)| **tag != 0).map(|(_, &slot)| slot);
        used.min_by_key(|&slot| self.entry(slot).map_or(u64::MAX, |entry| entry.hot.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(i: u32) -> FlowKey {
        let key = FlowKey::new(i.to_be_bytes().into(), [192, 0, 2, 1].into(), 1, 2, 6);
        match i % 3 {
            0 => key,
            1 => FlowKey { class_of_service: 1, ..key },
            _ => FlowKey::new(std::net::Ipv6Addr::from(u128::from(i) << 64).into(), [192, 0, 2, 1].into(), 1, 2, 17),
        }
    }

    fn find(table: &FlowTable, key: &FlowKey) -> u32 {
        let mut wide = Wide::default();
        let (narrow, _) = table.narrow(key, &mut wide);
        let place = table.place(narrow);
        let candidate = match table.candidate(place, narrow.is_wide()) {
            NONE => table.second_candidate(place, narrow.is_wide()),
            candidate => candidate,
        };
        let found = table.find(place, narrow, &wide);
        assert!(candidate == found || !table.is_at(candidate, narrow, &wide));
        found
    }

    fn insert(table: &mut FlowTable, key: &FlowKey) -> Inserted {
        let mut wide = Wide::default();
        let (narrow, _) = table.narrow(key, &mut wide);
        table.insert(table.place(narrow), narrow, &wide)
    }

    #[test]
    fn what_is_entered_is_found_until_it_is_removed() {
        let mut table = FlowTable::new(1000, Seed::new(7)).unwrap();
        let mut slots = Vec::new();
        for i in 0..1000 {
            assert_eq!(find(&table, &key(i)), NONE);
            let Inserted::At(slot) = insert(&mut table, &key(i)) else { panic!("full at {i}") };
            table.entry_mut(slot).unwrap().hot.seen = u64::from(i) + 1;
            slots.push(slot);
        }
        for (i, slot) in (0..).zip(&slots) {
            assert_eq!(find(&table, &key(i)), *slot);
            assert_eq!(find(&table, &key(i).reversed()), *slot);
            let there = table.key(*slot);
            assert!(there == key(i) || there == key(i).reversed());
        }
        assert!(matches!(insert(&mut table, &key(1000)), Inserted::Full(slot) if slot != NONE));
        for i in (0..1000).step_by(2) {
            table.remove(slots[i as usize]);
            assert_eq!(find(&table, &key(i)), NONE);
        }
        assert_eq!(table.flows(), 500);
        table.clear();
        assert_eq!((table.flows(), find(&table, &key(1))), (0, NONE));
    }

    #[test]
    fn as_many_flows_as_it_was_made_for_have_room_whatever_the_seed() {
        for seed in 0..20 {
            let mut table = FlowTable::new(50_000, Seed::new(seed)).unwrap();
            for i in 0..50_000 {
                assert!(matches!(insert(&mut table, &key(i)), Inserted::At(_)), "full at {i} with seed {seed}");
            }
            assert!((0..50_000).all(|i| find(&table, &key(i)) != NONE), "lost with seed {seed}");
        }
    }

    #[test]
    fn keys_that_differ_only_in_what_is_wide_are_two_flows() {
        let mut table = FlowTable::new(100, Seed::new(1)).unwrap();
        let plain = key(0);
        for key in [plain, FlowKey { class_of_service: 4, ..plain }, FlowKey { interface: 4, ..plain }] {
            assert_eq!(find(&table, &key), NONE);
            assert!(matches!(insert(&mut table, &key), Inserted::At(_)));
        }
        assert_eq!(table.flows(), 3);
    }

    #[test]
    fn a_full_table_offers_the_oldest_of_the_neighbourhood() {
        let mut table = FlowTable::new(16, Seed::new(7)).unwrap();
        for i in 0..16 {
            let Inserted::At(slot) = insert(&mut table, &key(i)) else { panic!("full at {i}") };
            table.entry_mut(slot).unwrap().hot.seen = 1000 - u64::from(i);
        }
        let Inserted::Full(slot) = insert(&mut table, &key(99)) else { panic!("not full") };
        table.remove(slot);
        assert!(matches!(insert(&mut table, &key(99)), Inserted::At(_)));
        // Also if nothing is older than anything.
        (0..16).for_each(|slot| table.entry_mut(slot).unwrap().hot.seen = u64::MAX);
        let Inserted::Full(slot) = insert(&mut table, &key(100)) else { panic!("not full") };
        table.remove(slot);
        assert!(matches!(insert(&mut table, &key(100)), Inserted::At(_)));
        table.remove((0..16).find(|&slot| table.key(slot) == key(99)).unwrap());
        assert!(matches!(insert(&mut table, &key(99)), Inserted::At(_)));
    }
}
