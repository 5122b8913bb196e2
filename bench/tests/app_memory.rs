// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory that application state takes: never more than its budget, and none that is new when all is warm.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    path::Path,
};

use weir_flow::{FlowRecord, LinkType, Merged, Packet, SourceState, Timestamp, allocated, ledger::Metered};
use weir_metering::{MeterConfig, Share, Worker, capture};

thread_local! {
    // Below zero where a block of another thread is given back.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts for each thread how often it is asked, and what it has given.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing, since the counters are made
// when the thread begins and have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`, and every block is from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment both may be there.
        take(size);
        give_back(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`, and every block is from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn take(size: usize) {
    // A thread that ends has no counters any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + allocated(size).cast_signed());
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

fn give_back(size: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get() - allocated(size).cast_signed()));
}

const ACK: u8 = 0x10;
const SYN: u8 = 2;

/// An Ethernet frame with IPv4 from 10.0.0.0/8, the number of the flow being in the address.
fn frame(flow: u32, protocol: u8, ports: [u16; 2], rest: &[u8], payload: &[u8]) -> Vec<u8> {
    let octets = (20 + 4 + rest.len() + payload.len()) as u16;
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(octets.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10]);
    frame.extend(&flow.to_be_bytes()[1..]);
    frame.extend([192, 0, 2, 1]);
    frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
    frame.extend(rest);
    frame.extend(payload);
    frame
}

fn tcp(flow: u32, port: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut rest = sequence.to_be_bytes().to_vec();
    rest.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame(flow, 6, [40_000, port], &rest, payload)
}

fn udp(flow: u32, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut rest = (8 + payload.len() as u16).to_be_bytes().to_vec();
    rest.extend([0, 0]);
    frame(flow, 17, [40_000, port], &rest, payload)
}

const KINDS: u32 = 7;

/// One packet of a flow that wants to make the meter keep as much as it can.
fn hostile(flow: u32, step: u32) -> Vec<u8> {
    const SEGMENT: u32 = 1400;
    let filler = [b'x'; SEGMENT as usize];
    let at = 1 + step * SEGMENT;
    let head = |start: &[u8]| [start, &filler[start.len()..]].concat();
    let lines = |line: &str| line.repeat(filler.len() / line.len() + 1).as_bytes()[..filler.len()].to_vec();
    match flow % KINDS {
        // A head that does not end.
        0 if step == 0 => tcp(flow, 80, at, ACK, &head(b"GET / HTTP/1.1\r\nA: ")),
        0 => tcp(flow, 80, at, ACK, &filler),
        // All but the first segment.
        1 if step == 0 => tcp(flow, 4000, 0, SYN, &[]),
        1 => tcp(flow, 4000, at, ACK, &filler),
        // A hello that does not end.
        2 if step == 0 => tcp(flow, 443, at, ACK, &head(b"\x16\x03\x01\x3f\x00\x01\x00\x3e\x00\x03\x03")),
        2 => tcp(flow, 443, at, ACK, &filler),
        // A mail to very many.
        3 if step == 0 => tcp(flow, 25, 1, ACK, b"EHLO x\r\nMAIL FROM:<a@example.net>\r\n"),
        3 => tcp(
            flow,
            25,
            36 + (step - 1) * SEGMENT,
            ACK,
            &lines(&format!("RCPT TO:<{}@example.net>\r\n", "x".repeat(280))),
        ),
        // Queries without answers.
        4 => {
            let mut query = vec![(step >> 8) as u8, step as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            (0..4).for_each(|_| query.extend([&[60][..], &filler[..60]].concat()));
            query.extend([0, 0, 1, 0, 1]);
            udp(flow, 53, &query)
        }
        // Requests without responses.
        5 => tcp(
            flow,
            80,
            at,
            ACK,
            &[&b"GET /"[..], &filler[..SEGMENT as usize - 20], b" HTTP/1.1\r\n\r\n12"].concat()[..SEGMENT as usize],
        ),
        _ => {
            let fields = "x".repeat(200);
            udp(
                flow,
                5060,
                format!(
                    "INVITE sip:{fields} SIP/2.0\r\nFrom: <sip:{fields}>\r\nTo: <sip:{fields}>\r\nCall-ID: {step}\r\nVia: {fields}\r\nCSeq: 1 INVITE\r\n\r\n"
                )
                .as_bytes(),
            )
        }
    }
}

/// The most recipients, with names that are as long as they may be. Something else that grows lies behind them then, often
/// or when they are almost all.
fn mail(flow: u32, step: u32) -> Vec<u8> {
    const SEGMENT: usize = 4 * 340;
    let mut lines = if step == 0 { "MAIL FROM:<a@example.net>\r\n".to_owned() } else { String::new() };
    let is_other = if flow.is_multiple_of(2) { step.is_power_of_two() } else { step == 200 + flow };
    if is_other {
        lines += &format!("HELO {}\r\n", "x".repeat(step.min(256) as usize));
    }
    while lines.len() + 340 <= SEGMENT {
        lines += &format!("RCPT TO:<{}>\r\n", "x".repeat(320));
    }
    lines += &" ".repeat(SEGMENT - 2 - lines.len());
    lines += "\r\n";
    tcp(flow, 25, 1 + step * SEGMENT as u32, ACK, lines.as_bytes())
}

/// A hello that no other is like, as long as is kept; from the server in each second step.
fn hello(flow: u32, step: u32) -> Vec<u8> {
    let framed = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let numbers = |count: u16| (1..=count).flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let different = |bytes: Vec<u8>| [&flow.to_be_bytes()[2..], &step.to_be_bytes()[2..], &bytes].concat();
    let mut body = [&[3, 3][..], &[7; 32], &[0]].concat();
    let is_client = step.is_multiple_of(2);
    if is_client {
        body.extend(framed(&different(numbers(200))));
        body.extend([1, 0]);
    } else {
        body.extend([0x13, 1, 0]);
    }
    let extensions = different(numbers(if is_client { 10 } else { 230 }));
    let extensions = extensions.as_chunks::<2>().0.iter().flat_map(|&[high, low]| [high | 0x40, low, 0, 0]);
    body.extend(framed(&extensions.collect::<Vec<_>>()));
    let message = [&[if is_client { 1 } else { 2 }, 0][..], &framed(&body)].concat();
    tcp(flow << 8 | step, 443, 1, ACK, &[&[22, 3, 1][..], &framed(&message)].concat())
}

/// Peak of the memory that a worker takes for this many hostile flows, and its counters.
fn attack(config: &MeterConfig) -> (usize, Metered) {
    attack_with(config, [(2_100, 40)].map(|(flows, steps)| (flows, steps, hostile as Packets)))
}

/// The packet of a flow in a step.
type Packets = fn(u32, u32) -> Vec<u8>;

/// The same for attacks one after the other: so many flows of so many packets each.
fn attack_with<const N: usize>(config: &MeterConfig, attacks: [(u32, u32, Packets); N]) -> (usize, Metered) {
    // Empty fields of each protocol are made once and stay.
    assert!(weir_flow::app::unset(0).is_some());
    let before = LIVE.get();
    PEAK.set(before);
    let mut worker = Worker::new(config, Share::ALL, |_: &FlowRecord<'_>| ()).unwrap();
    for (flows, steps, packet) in attacks {
        for step in 0..steps {
            for flow in 0..flows {
                let data = packet(flow, step);
                let ts = Timestamp::from_millis(1_700_000_000_000 + u64::from(step));
                let wire_octets = data.len() as u32;
                worker.packets(&[Packet {
                    data: &data,
                    wire_octets,
                    ts,
                    interface: 0,
                    link: LinkType::ETHERNET,
                    merged: Merged::NOT,
                }]);
            }
        }
    }
    let (ledger, _) = worker.finish();
    assert_eq!(LIVE.get(), before, "something was not given back");
    ((PEAK.get() - before).cast_unsigned(), ledger.metered)
}

#[test]
fn what_attackers_make_a_worker_keep_stays_within_the_budget() {
    let config = MeterConfig { flows: 4096, app_flows: 2000, app_octets: 8 << 20, ..MeterConfig::default() };
    let (without, _) = attack(&MeterConfig { app_flows: 0, ..config });
    let (with, metered) = attack(&config);
    let taken = with - without;
    assert!(taken <= config.app_octets, "{taken}");
    // It is an attack: without a budget it takes more.
    assert!(taken > config.app_octets / 4 * 3, "{taken}");
    let (more, _) = attack(&MeterConfig { app_octets: 1 << 30, ..config });
    assert!(more - without > 2 * config.app_octets, "{more}");
    assert!(metered.flows_without_app_state > 0);
    assert!(metered.application_states_refused > 0);
    assert!(metered.application_unread_refused > 0);
    assert!(metered.application_segments_refused > 0);
}

#[test]
fn known_fingerprints_and_mails_to_very_many_stay_within_the_reserve() {
    // Of the budget, for what is not charged.
    const RESERVE: usize = 1 << 20;
    let config = MeterConfig { flows: 8192, app_flows: 6000, app_octets: 8 << 20, ..MeterConfig::default() };
    // Tables that are full, then what takes most at once where the budget is used up.
    let attacks: [(u32, u32, Packets); 2] = [(1000, 4, hello), (40, 400, mail)];
    let (without, _) = attack_with(&MeterConfig { app_flows: 0, ..config }, attacks);
    let (with, metered) = attack_with(&config, attacks);
    let taken = with - without;
    // What is left of the reserve is for other scratch memory.
    assert!(taken <= config.app_octets - RESERVE / 4, "{taken}");
    assert!(taken > config.app_octets - RESERVE, "{taken}");
    assert!(metered.application_states_refused > 0);
}

/// Packets of a capture file, with their times from its beginning in nanoseconds.
fn packets(path: &Path) -> Vec<(u64, LinkType, Vec<u8>)> {
    let mut source = capture::open(path.to_str().unwrap()).unwrap();
    let mut packets = Vec::new();
    let mut first = None;
    while let SourceState::More = source
        .poll(&mut |batch: &[Packet<'_>]| {
            for packet in batch {
                let first = *first.get_or_insert(packet.ts.as_nanos());
                packets.push((packet.ts.as_nanos().saturating_sub(first), packet.link, packet.data.to_vec()));
            }
        })
        .unwrap()
    {}
    packets
}

#[test]
fn a_warm_worker_does_not_allocate_for_what_its_parsers_read() {
    let pcaps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps");
    let packets = packets(&pcaps.join("office.pcap"));
    let mut with_app = 0_u64;
    let mut sink = |record: &FlowRecord<'_>| with_app += u64::from(record.app.is_some());
    let mut worker = Worker::new(&MeterConfig::default(), Share::ALL, &mut sink).unwrap();
    let mut pass = |pass: u64| {
        let before = ALLOCATIONS.get();
        for (after, link, data) in &packets {
            // All flows of a pass are over when the next begins.
            let ts = Timestamp::from_nanos((1_700_000_000 + pass * 10_000) * 1_000_000_000 + after);
            let wire_octets = data.len() as u32;
            worker.packets(&[Packet { data, wire_octets, ts, interface: 0, link: *link, merged: Merged::NOT }]);
        }
        ALLOCATIONS.get() - before
    };
    // What is used again by turns grows to what the largest of its users needs, one after the other.
    let allocations: Vec<u64> = (0..400).map(&mut pass).collect();
    assert_eq!(allocations[300..], [0; 100], "{allocations:?}");
    let _ = worker.finish();
    assert!(with_app > 400 * 100, "{with_app}");
}
