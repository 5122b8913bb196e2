// SPDX-License-Identifier: MIT OR Apache-2.0
//! A warm worker does not allocate.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use weir_bench::trace::{Order, Trace, TraceSpec};
use weir_flow::FlowRecord;
use weir_metering::{MeterConfig, Share, Worker};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts how often each thread asks it for memory.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing, since the counter is made
// when the thread begins and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and every block is from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and every block is from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A thread that ends has no counter any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

const SPEC: TraceSpec =
    TraceSpec { flows: 2_000, packets: 20_000, size: 60, has_payload: false, order: Order::Random, seed: 1 };

/// Allocations in each of several passes, and records in all. `gap` seconds are between two passes.
fn allocations(spec: TraceSpec, gap: u64) -> (Vec<u64>, u64) {
    let trace = Trace::new(spec);
    let mut records = 0;
    let mut worker = Worker::new(&MeterConfig::default(), Share::ALL, |_: &FlowRecord<'_>| records += 1).unwrap();
    let mut pass = |pass: u64| {
        let before = ALLOCATIONS.get();
        trace.replay(pass, pass * gap, &mut |batch| worker.packets(batch));
        ALLOCATIONS.get() - before
    };
    let passes = (0..4).map(&mut pass).collect();
    let _ = worker.finish();
    (passes, records)
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(7)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn counting_packets_of_known_flows_allocates_nothing() {
    for order in [Order::Burst, Order::Random, Order::Sequential] {
        let (passes, records) = allocations(TraceSpec { order, ..SPEC }, 0);
        assert_eq!((passes.len(), &passes[1..]), (4, &[0, 0, 0][..]), "{order:?}");
        assert!((500..=2_000).contains(&records), "{order:?}: {records}");
    }
}

#[test]
fn payload_that_means_nothing_allocates_nothing() {
    assert_eq!(allocations(TraceSpec { size: 200, has_payload: true, ..SPEC }, 0).0[1..], [0, 0, 0]);
}

/// All flows end between two passes, and begin again.
#[test]
fn flows_that_come_and_go_allocate_nothing() {
    let (passes, records) = allocations(SPEC, 100);
    assert_eq!(passes[2..], [0, 0]);
    assert!(records > 4 * 1_900, "{records}");
}
