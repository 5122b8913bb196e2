// SPDX-License-Identifier: MIT OR Apache-2.0
//! A warm exporting process does not allocate, in any thread, and holds no more memory than it says.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::TcpListener,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use weir_bench::encode::{Fields, Kind};
use weir_export::{Exporter, ExporterConfig, SpoolConfig, WhenFull};
use weir_flow::{FlowRecord, RecordSink};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts how often any thread asks it for memory, and the octets that are held.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and every block is from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(size, Ordering::Relaxed);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, and every block is from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let fields = Fields::default();
    let records = fields.records(Kind::Mixed);
    let file = tempfile();
    for format in ["file", "json"] {
        let destination = format!("{format}:{}", file.display()).parse().unwrap();
        let queue_octets = 1 << 20;
        let config = ExporterConfig { destinations: vec![destination], queue_octets, ..ExporterConfig::default() };
        let before = HELD.load(Ordering::Relaxed);
        let exporter = Exporter::start(&config).unwrap();
        let mut sink = exporter.sink();
        let mut most_held = 0;
        let mut export = |count: usize| {
            for record in records.iter().cycle().take(count) {
                sink.record(record);
                most_held = most_held.max(HELD.load(Ordering::Relaxed) - before);
            }
        };
        // More than fits into the queue: the sending thread has announced the templates.
        export(100_000);
        let warm = ALLOCATIONS.load(Ordering::Relaxed);
        export(1_000_000);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - warm, 0, "{format}");
        // Templates, handles, the thread.
        let few = 128 << 10;
        assert!(most_held <= config.memory(1) + few, "{format}: {most_held} octets held, not {}", config.memory(1));
        let (_, reports) = exporter.finish(vec![sink]);
        assert_eq!(reports[0].counters.records_sent, 1_100_000, "{format}");
    }
    std::fs::remove_file(&file).unwrap();
    a_connection_that_nobody_reads(&records);
}

/// Live, to a collector that takes the connection and never reads: the spool fills, then records are dropped and counted; nothing is
/// allocated for them, and no more is held than announced.
fn a_connection_that_nobody_reads(records: &[FlowRecord<'_>]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let destination = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
    let spool = SpoolConfig { memory: 4 << 20, ..SpoolConfig::default() };
    let when_full = WhenFull::Drop;
    let config = ExporterConfig {
        destinations: vec![destination],
        queue_octets: 1 << 20,
        spool,
        when_full,
        ..ExporterConfig::default()
    };
    let before = HELD.load(Ordering::Relaxed);
    let exporter = Exporter::start(&config).unwrap();
    let mut sink = exporter.sink();
    let mut most_held = 0;
    let mut export = || {
        for record in records.iter().cycle().take(100_000) {
            sink.record(record);
            most_held = most_held.max(HELD.load(Ordering::Relaxed) - before);
        }
    };
    while exporter.progress()[0].1.records_dropped_spool == 0 {
        export();
    }
    let warm = ALLOCATIONS.load(Ordering::Relaxed);
    (0..10).for_each(|_| export());
    // Whoever asks how it goes gets lists and names; nobody asked.
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - warm, 0, "tcp");
    let few = 512 << 10;
    assert!(most_held <= config.memory(1) + few, "tcp: {most_held} octets held, not {}", config.memory(1));
    drop(exporter);
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("weir-no-allocation-{}", std::process::id()))
}
