// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. What a reader hands to a worker: batches of descriptors of packets, and the memory that these lie in.
//!
//! Two packets are described in a cache line. Their octets are not copied where the source shares its memory; elsewhere the
//! batch carries a copy. A batch goes round between reader and worker, and is made once.

use std::sync::Arc;

use weir_flow::{BATCH, LinkType, Packet, RecordSink, SharedOctets, Timestamp};

use crate::{Worker, memory::prefetch};

/// Most packets of a batch. To wake a sleeping thread costs a few microseconds, a few nanoseconds for each of these.
pub const MAX_PACKETS: usize = 512;

/// Octets that a batch copies at most, unless a single packet has more.
pub const MAX_COPIED: usize = 32 * 1024;

/// Says of a packet that the clock at it stands in [`Batch::late`].
const LATE: u32 = u32::MAX;

/// A packet of a batch.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    ts: Timestamp,
    /// Offset of the captured octets in the memory of the batch.
    at: u32,
    captured: u32,
    wire_octets: u32,
    interface: u32,
    /// Nanoseconds by which the packet is behind the clock of all packets.
    behind: u32,
    link: LinkType,
}

const _: () = assert!(size_of::<Descriptor>() == 32, "two in a cache line");

/// Packets for one worker, in the order of the source.
#[derive(Debug)]
pub struct Batch {
    packets: Vec<Descriptor>,
    /// The clock at packets that are behind by four seconds and more, or ahead of it.
    late: Vec<Timestamp>,
    /// The clock when the batch was handed over.
    clock: Timestamp,
    /// The memory that the packets lie in; `None` if it is `copied`.
    shared: Option<SharedOctets>,
    copied: Vec<u8>,
}

impl Batch {
    /// An empty batch, whose memory is reserved but for that of copies.
    #[must_use]
    pub fn new() -> Self {
        Self {
            packets: Vec::with_capacity(MAX_PACKETS),
            late: Vec::with_capacity(MAX_PACKETS),
            clock: Timestamp::ZERO,
            shared: None,
            copied: Vec::new(),
        }
    }

    /// Whether there is room for a packet, which lies in `shared` if there is such.
    #[inline]
    #[must_use]
    pub fn takes(&self, packet: &Packet<'_>, shared: Option<&SharedOctets>) -> bool {
        let is_in_reach = match (&self.shared, shared) {
            (Some(ours), Some(shared)) => Arc::ptr_eq(ours, shared),
            (None, None) => self.copied.len() + packet.data.len() <= MAX_COPIED,
            _ => false,
        };
        self.packets.is_empty() || (is_in_reach && self.packets.len() < MAX_PACKETS)
    }

    /// Adds a packet, which lies in `shared` if there is such; `clock` is what the clock says at it.
    #[inline(always)]
    pub fn add(&mut self, packet: &Packet<'_>, shared: Option<&SharedOctets>, clock: Timestamp) {
        if self.packets.is_empty() {
            self.shared = shared.cloned();
        }
        let at = match shared {
            Some(shared) => packet.data.as_ptr().addr().wrapping_sub(shared.as_ptr().addr()),
            None => self.copy(packet.data),
        };
        let behind = clock.as_nanos().checked_sub(packet.ts.as_nanos());
        let behind = behind.and_then(|behind| u32::try_from(behind).ok()).unwrap_or(LATE);
        if behind == LATE {
            self.late.push(clock);
        }
        // Buffers of sources and copies are far smaller than four gigabytes; so is a packet.
        #[expect(clippy::cast_possible_truncation, reason = "smaller")]
        let (at, captured) = (at as u32, packet.data.len() as u32);
        self.packets.push(Descriptor {
            ts: packet.ts,
            at,
            captured,
            wire_octets: packet.wire_octets,
            interface: packet.interface,
            behind,
            link: packet.link,
        });
    }

    /// Copies octets; gives where they are.
    fn copy(&mut self, octets: &[u8]) -> usize {
        if self.copied.capacity() == 0 {
            self.copied.reserve_exact(MAX_COPIED);
        }
        self.copied.extend_from_slice(octets);
        self.copied.len() - octets.len()
    }

    /// Ends it: the clock stands here now, for all workers.
    pub fn end(&mut self, clock: Timestamp) {
        self.clock = clock;
    }

    /// Gives its packets and the time to a worker, and empties it.
    pub fn play<S: RecordSink>(&mut self, worker: &mut Worker<S>) {
        let octets = self.shared.as_deref().unwrap_or(&self.copied);
        let nothing = Packet { data: &[], wire_octets: 0, ts: Timestamp::ZERO, interface: 0, link: LinkType::NULL };
        let (mut packets, mut clocks) = ([nothing; BATCH], [Timestamp::ZERO; BATCH]);
        let mut late = self.late.iter();
        let mut ahead = self.packets.chunks(BATCH);
        ahead.next().into_iter().flatten().for_each(|descriptor| descriptor.prefetch(octets));
        for batch in self.packets.chunks(BATCH) {
            ahead.next().into_iter().flatten().for_each(|descriptor| descriptor.prefetch(octets));
            for ((descriptor, packet), clock) in batch.iter().zip(&mut packets).zip(&mut clocks) {
                *packet = descriptor.packet(octets);
                *clock = match descriptor.behind {
                    LATE => late.next().copied().unwrap_or(descriptor.ts),
                    behind => Timestamp::from_nanos(descriptor.ts.as_nanos().saturating_add(behind.into())),
                };
            }
            if let (Some(packets), Some(clocks)) = (packets.get(..batch.len()), clocks.get(..batch.len())) {
                worker.packets_at(packets, clocks);
            }
        }
        worker.tell(self.clock);
        self.packets.clear();
        self.late.clear();
        self.copied.clear();
        self.shared = None;
    }
}

impl Descriptor {
    /// Asks for the headers, which are in the cache of another core: the reader's.
    #[inline]
    fn prefetch(&self, octets: &[u8]) {
        const HEADERS: usize = 54;
        let at = self.at as usize;
        for octet in [octets.get(at), octets.get(at + HEADERS)].into_iter().flatten() {
            prefetch(octet);
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
        }
    }
}
