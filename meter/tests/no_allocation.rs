// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dealing packets out to workers allocates nothing once it is under way.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use weir_flow::{
    BATCH, FlowRecord, LinkType, Merged, Packet, PacketSource, RecordSink, SharedOctets, SourceError, SourceState,
    Timestamp,
};
use weir_metering::{Groups, MeterConfig, meter};

/// Allocations by all threads.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, which counts how often it is asked for memory.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and every block is from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, and every block is from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nothing;

impl RecordSink for Nothing {
    fn record(&mut self, _: &FlowRecord<'_>) {}
}

const HOSTS: u16 = 1000;

/// Datagrams between as many pairs of hosts, as often as asked for; half of the packets come late by ten seconds.
struct Rounds {
    /// Frames of one size, one behind the other.
    frames: SharedOctets,
    is_shared: bool,
    rounds: u64,
    /// Allocations so far, at the start of each round.
    allocations: Vec<u64>,
}

const FRAME: usize = 60;

impl Rounds {
    fn new(is_shared: bool, rounds: u64) -> Self {
        let frames = (0..HOSTS).flat_map(|host| {
            let [high, low] = host.to_be_bytes();
            let mut frame = [0; FRAME];
            frame[12..14].copy_from_slice(&[0x08, 0x00]);
            frame[14..18].copy_from_slice(&[0x45, 0, 0, 46]);
            frame[23] = 17;
            frame[26..34].copy_from_slice(&[10, 0, high, low, 10, 1, high, low]);
            frame[34..40].copy_from_slice(&[0x10, 0, 0x20, 0, 0, 26]);
            frame
        });
        Self { frames: frames.collect(), is_shared, rounds, allocations: Vec::with_capacity(rounds as usize) }
    }
}

impl PacketSource for Rounds {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        self.poll_shared(&mut |batch, _| visit(batch))
    }

    fn poll_shared(
        &mut self,
        visit: &mut dyn FnMut(&[Packet<'_>], Option<&SharedOctets>),
    ) -> Result<SourceState, SourceError> {
        let round = self.allocations.len() as u64;
        if round == self.rounds {
            return Ok(SourceState::End);
        }
        self.allocations.push(ALLOCATIONS.load(Relaxed));
        for frames in self.frames.chunks(BATCH * FRAME) {
            let packets: [Packet<'_>; BATCH] = std::array::from_fn(|index| {
                let data = frames.get(index * FRAME..(index + 1) * FRAME).unwrap_or_default();
                let late = if index % 2 == 0 { 10_000_000_000 } else { 0 };
                let ts = Timestamp::from_nanos(1_000_000_000_000 + round * 1_000_000 - late);
                Packet {
                    data,
                    wire_octets: FRAME as u32,
                    ts,
                    interface: 0,
                    link: LinkType::ETHERNET,
                    merged: Merged::NOT,
                }
            });
            visit(&packets[..frames.len() / FRAME], self.is_shared.then_some(&self.frames));
        }
        Ok(SourceState::More)
    }
}

/// So many rounds that all workers have begun.
const WARM_UP: usize = 50;
const ROUNDS: u64 = 2_000;

const NONE: Groups =
    Groups { packets: 0, histograms: false, bursts: false, entropy: false, tcp: false, ip: false, empty: false };
const ALL: Groups =
    Groups { packets: 30, histograms: true, bursts: true, entropy: true, tcp: true, ip: true, empty: true };

fn main() {
    for is_shared in [true, false] {
        for (workers, statistics) in [(1, NONE), (2, NONE), (5, NONE), (1, ALL), (2, ALL)] {
            let mut source = Rounds::new(is_shared, ROUNDS);
            let sinks = (0..workers).map(|_| Nothing).collect();
            let outcome = meter(&mut source, &MeterConfig { statistics, ..MeterConfig::default() }, sinks)
                .expect("memory for a small cache");
            assert_eq!(outcome.ledger.metered.metered_packets, ROUNDS * u64::from(HOSTS));
            let [warm, .., end] = source.allocations[WARM_UP..] else { unreachable!("there are more rounds") };
            // A thread that sleeps for the first time makes what it is woken by, and a queue on which somebody sleeps for
            // the first time a list of sleepers. There are the workers, a queue for each of them, and that to the reader.
            let sleepers = if workers == 1 { 0 } else { 2 * workers as u64 + 1 };
            // A block that is needed for the first time makes its memory for copies. There are 16.
            let blocks = if is_shared || workers == 1 { 0 } else { 16 };
            let most = sleepers + blocks;
            assert!(end - warm <= most, "{} allocations of {workers} workers, shared: {is_shared}", end - warm);
        }
    }
}
