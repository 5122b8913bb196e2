// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. What a reader hands to workers: blocks of descriptors of packets, and the memory that these lie in.
//!
//! A block is for all workers, and says of each packet whose it is: a worker looks through the owners, an octet for each
//! packet, and describes to itself only what is its own. Octets are not copied where the source shares its memory; elsewhere
//! the block carries a copy. A block goes round between readers and workers, and is made once.

use std::{slice, sync::Arc};

use weir_flow::{BATCH, LinkType, Merged, Packet, RecordSink, SharedOctets, Timestamp};

use crate::{Worker, memory::prefetch};

/// Index of a worker.
pub type Owner = u16;

/// Most packets of a block: those of a buffer, if they are not all but empty.
pub const MAX_PACKETS: usize = 4096;

/// Octets that a block copies at most, unless a single packet has more.
pub const MAX_COPIED: usize = 64 * 1024;

/// Packets by which a worker asks ahead for their descriptors, which another core has written.
const AHEAD: usize = 4 * BATCH;

/// A packet of a block.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    ts: Timestamp,
    /// Offset of the captured octets in the memory of the block.
    at: u32,
    captured: u32,
    wire_octets: u32,
    interface: u32,
    link: LinkType,
    merged: Merged,
}

const _: () = assert!(size_of::<Descriptor>() == 32, "two in a cache line");

/// Packets in the order of the source, for all workers.
#[derive(Debug)]
pub struct Block {
    /// Packets in it.
    len: usize,
    descriptors: Box<[Descriptor]>,
    /// Whose each packet is.
    owners: Box<[Owner]>,
    /// The clock at each packet, which is that of all workers' packets.
    clocks: Box<[Timestamp]>,
    /// Whether the clock at each packet is the packet's own time, so that nobody needs `clocks`.
    is_in_order: bool,
    /// The clock when it was handed over.
    clock: Timestamp,
    /// The memory that the packets lie in; `None` if it is `copied`.
    shared: Option<SharedOctets>,
    copied: Vec<u8>,
}

impl Default for Block {
    /// An empty block, whose memory is reserved but for that of copies.
    fn default() -> Self {
        Self {
            len: 0,
            descriptors: vec![Descriptor::NONE; MAX_PACKETS].into(),
            owners: vec![0; MAX_PACKETS].into(),
            clocks: vec![Timestamp::ZERO; MAX_PACKETS].into(),
            is_in_order: true,
            clock: Timestamp::ZERO,
            shared: None,
            copied: Vec::new(),
        }
    }
}

impl Block {
    /// Octets of memory that a block takes at most, copies left out.
    pub const OCTETS: usize = MAX_PACKETS * (size_of::<Descriptor>() + size_of::<Owner>() + size_of::<Timestamp>());

    /// Empties it, and lets go of the memory that is shared.
    pub fn clear(&mut self) {
        self.len = 0;
        self.is_in_order = true;
        self.copied.clear();
        self.copied.shrink_to(MAX_COPIED);
        self.shared = None;
    }

    /// Says what the clock is behind the last packet, for all workers.
    pub fn end(&mut self, clock: Timestamp) {
        self.clock = clock;
    }

    /// Takes packets as long as there is room; gives how many. They lie in `shared`, if there is such; `told` gives of each
    /// packet whose it is, and the clock.
    #[inline]
    pub fn fill(
        &mut self,
        packets: &[Packet<'_>],
        shared: Option<&SharedOctets>,
        mut told: impl FnMut(&Packet<'_>) -> (Owner, Timestamp),
    ) -> usize {
        let Some(shared) = shared else { return self.copy(packets, told) };
        if self.len == 0 {
            self.shared = Some(shared.clone());
        }
        if !self.shared.as_ref().is_some_and(|ours| Arc::ptr_eq(ours, shared)) {
            return 0;
        }
        let start = shared.as_ptr().addr();
        self.describe(packets, |packet| packet.data.as_ptr().addr().wrapping_sub(start), &mut told)
    }

    /// The same of packets whose octets must be copied.
    fn copy(&mut self, packets: &[Packet<'_>], mut told: impl FnMut(&Packet<'_>) -> (Owner, Timestamp)) -> usize {
        if self.len == 0 {
            self.shared = None;
            self.copied.reserve_exact(MAX_COPIED);
        }
        let mut taken = 0;
        for packet in packets {
            let at = self.copied.len();
            let has_room = self.shared.is_none() && at + packet.data.len() <= MAX_COPIED;
            if !(self.len == 0 || has_room) || self.describe(slice::from_ref(packet), |_| at, &mut told) == 0 {
                break;
            }
            self.copied.extend_from_slice(packet.data);
            taken += 1;
        }
        taken
    }

    /// Describes packets as long as there is room; gives how many. `place` gives where their octets are.
    #[inline]
    fn describe(
        &mut self,
        packets: &[Packet<'_>],
        place: impl Fn(&Packet<'_>) -> usize,
        told: &mut impl FnMut(&Packet<'_>) -> (Owner, Timestamp),
    ) -> usize {
        let Self { len, descriptors, owners, clocks, is_in_order, .. } = self;
        let descriptors = descriptors.get_mut(*len..).unwrap_or_default();
        let (owners, clocks) = (&mut owners[*len..], &mut clocks[*len..]);
        let room = descriptors.len();
        for (((packet, descriptor), owner), at) in packets.iter().zip(descriptors).zip(owners).zip(clocks) {
            let &Packet { ts, wire_octets, interface, link, merged, data } = packet;
            (*owner, *at) = told(packet);
            *is_in_order &= ts == *at;
            // Buffers of sources and copies are far smaller than four gigabytes; so is a packet.
            #[expect(clippy::cast_possible_truncation, reason = "smaller")]
            let (at, captured) = (place(packet) as u32, data.len() as u32);
            *descriptor = Descriptor { ts, at, captured, wire_octets, interface, link, merged };
        }
        let taken = packets.len().min(room);
        *len += taken;
        taken
    }

    /// Gives a worker what is its own, and the time.
    pub fn play<S: RecordSink>(&self, owner: Owner, worker: &mut Worker<S>) {
        let octets = self.shared.as_deref().unwrap_or(&self.copied);
        let mut packets = [Packet::NOTHING; BATCH];
        let mut from = 0;
        let mut ahead = [0; BATCH];
        let mut count = self.own(owner, &mut from, octets, &mut ahead);
        while count > 0 {
            let batch = ahead;
            let (Some(indices), Some(packets)) = (batch.get(..count), packets.get_mut(..count)) else { break };
            // The next batch's headers are on their way while this one is metered.
            count = self.own(owner, &mut from, octets, &mut ahead);
            for (index, packet) in indices.iter().zip(&mut *packets) {
                if let Some(descriptor) = self.descriptors.get(usize::from(*index)) {
                    *packet = descriptor.packet(octets);
                }
            }
            if self.is_in_order {
                worker.batch_in_order(packets);
            } else {
                let clock_of = |index: &u16| self.clocks.get(usize::from(*index)).copied().unwrap_or_default();
                let mut clocks = [Timestamp::ZERO; BATCH];
                clocks.iter_mut().zip(indices).for_each(|(clock, index)| *clock = clock_of(index));
                worker.packets_at(packets, &clocks);
            }
        }
        worker.tell(self.clock);
    }

    /// Finds the next packets of an owner, and asks for their headers; gives how many they are.
    #[inline]
    fn own(&self, owner: Owner, from: &mut usize, octets: &[u8], found: &mut [u16; BATCH]) -> usize {
        let mut count = 0;
        for other in self.owners.get(*from..self.len).unwrap_or_default() {
            let Some(place) = found.get_mut(count) else { break };
            // No branch: whose the next packet is, nobody can foresee. It is below `MAX_PACKETS`.
            #[expect(clippy::cast_possible_truncation, reason = "smaller")]
            {
                *place = *from as u16;
            }
            count += usize::from(*other == owner);
            *from += 1;
        }
        for index in found.iter().take(count) {
            if let Some(ahead) = self.descriptors.get(usize::from(*index) + AHEAD) {
                prefetch(ahead);
            }
            if let Some(descriptor) = self.descriptors.get(usize::from(*index)) {
                descriptor.prefetch(octets);
            }
        }
        count
    }
}

impl Descriptor {
    /// In place of a packet that has not come.
    const NONE: Self = Self {
        ts: Timestamp::ZERO,
        at: 0,
        captured: 0,
        wire_octets: 0,
        interface: 0,
        link: LinkType::NULL,
        merged: Merged::NOT,
    };

    /// Asks for the headers, which may be in the cache of another core: the reader's.
    #[inline]
    fn prefetch(&self, octets: &[u8]) {
        const HEADERS: usize = 54;
        let at = self.at as usize;
        if let Some([first, .., last]) = octets.get(at..at + HEADERS) {
            prefetch(first);
            prefetch(last);
        }
    }

    #[inline]
    fn packet<'a>(&self, octets: &'a [u8]) -> Packet<'a> {
        let at = self.at as usize;
        Packet {
            // Within, as long as the source keeps its contract: its packets lie in the memory that it shares.
            data: octets.get(at..at.saturating_add(self.captured as usize)).unwrap_or_default(),
            wire_octets: self.wire_octets,
            ts: self.ts,
            interface: self.interface,
            link: self.link,
            merged: self.merged,
        }
    }
}
