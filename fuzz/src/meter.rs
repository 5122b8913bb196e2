// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on what reads packets: header views, the readers of capture files, and a whole worker behind them.

use std::{io::Write, os::fd::AsRawFd, time::Duration};

use weir_flow::{FlowRecord, LinkType, Merged, Packet, RecordSink, SourceState, Timestamp, ledger::Ignored, protocol};
use weir_metering::{Groups, MeterConfig, Share, Worker, capture};
use weir_parsers::packet::{Fragment, decode};

use crate::{input::pieces, record::Checker};

/// The link types that are decoded, and one that is not. Inputs say the place in this list: new ones go to the end.
pub(crate) const LINKS: [LinkType; 42] = [
    LinkType::ETHERNET,
    LinkType::NULL,
    LinkType::PPP,
    LinkType::RAW_BSD,
    LinkType::RAW_OPENBSD,
    LinkType::PPP_HDLC,
    LinkType::PPP_ETHER,
    LinkType::RAW,
    LinkType::LOOP,
    LinkType::LINUX_SLL,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType::LINUX_SLL2,
    LinkType(147),
    LinkType(127),
    LinkType(129),
    LinkType(105),
    LinkType(258),
    LinkType(10),
    LinkType(239),
    LinkType(6),
    LinkType(7),
    LinkType(8),
    LinkType(100),
    LinkType(104),
    LinkType(106),
    LinkType(107),
    LinkType(109),
    LinkType(117),
    LinkType(119),
    LinkType(122),
    LinkType(123),
    LinkType(138),
    LinkType(149),
    LinkType(163),
    LinkType(166),
    LinkType(192),
    LinkType(204),
    LinkType(205),
    LinkType(206),
    LinkType(226),
    LinkType(242),
];

fn link(octet: u8) -> LinkType {
    LINKS[usize::from(octet) % LINKS.len()]
}

/// The headers of one packet. First octet: the link type; second: hundreds of octets that were not captured.
pub fn packet(data: &[u8]) {
    let [kind, snapped, data @ ..] = data else { return };
    let wire_octets = u32::try_from(data.len()).unwrap_or(u32::MAX).saturating_add(u32::from(*snapped) * 100);
    let packet =
        Packet { data, wire_octets, ts: Timestamp::ZERO, interface: 0, link: link(*kind), merged: Merged::NOT };
    match decode(&packet) {
        Ok(decoded) => {
            let key = decoded.key;
            assert!(decoded.payload.len() <= decoded.payload_octets as usize, "{decoded:?}");
            assert!(u64::from(decoded.payload_octets) <= decoded.ip_octets, "{decoded:?}");
            assert!(decoded.payload.is_empty() || data.as_ptr_range().contains(&decoded.payload.as_ptr()));
            assert!(decoded.vlan < 4096, "{decoded:?}");
            if matches!(decoded.fragment, Fragment::Later { .. }) || !protocol::has_ports(key.protocol) {
                assert_eq!((key.src_port, key.dst_port), (0, 0), "{decoded:?}");
            }
            assert!(decoded.tcp.is_none() || key.protocol == protocol::TCP, "{decoded:?}");
            assert_eq!((key.interface, key.class_of_service), (0, 0), "{decoded:?}");
        }
        Err(reason) => {
            let mut ignored = Ignored::default();
            reason.count(&mut ignored);
            assert_eq!(ignored.values().iter().sum::<u64>(), 1, "{reason:?}");
        }
    }
}

/// What a worker gave out.
#[derive(Default)]
struct Sums {
    records: u64,
    packets: u64,
    octets: u64,
    checker: Checker,
}

impl RecordSink for Sums {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.records += 1;
        for counters in [&record.forward, &record.reverse] {
            self.packets += counters.packets;
            self.octets += counters.octets;
            assert!(counters.packets == 0 || counters.first <= counters.last);
        }
        self.checker.check(record);
    }
}

/// Packets through a worker: flow cache, fragments, streams, parsers. Head: bit 0 uniflow, bit 1 a cache that is soon full,
/// bit 2 every part of the key, bit 3 all statistics. Control of a piece: bits 0 to 3 link type, bits 4 to 6 time since the packet before, bit 7
/// half of it was not captured.
pub fn worker(data: &[u8]) {
    const STEPS: [u64; 8] = [0, 1, 20, 900, 4_000, 31_000, 290_000, 4_000_000];
    let (head, pieces) = pieces(data);
    let small = head & 2 != 0;
    let mut config = MeterConfig {
        flows: if small { 16 } else { 256 },
        app_flows: if small { 2 } else { 64 },
        idle_timeout: Duration::from_secs(30),
        active_timeout: Duration::from_secs(300),
        uniflow: head & 1 != 0,
        max_transactions: if small { 3 } else { 1000 },
        hash_seed: Some(1),
        statistics_flows: if small { 2 } else { 256 },
        ..MeterConfig::default()
    };
    if head & 8 != 0 {
        config.statistics = Groups {
            packets: 30,
            histograms: true,
            bursts: true,
            entropy: true,
            tcp: true,
            ip: true,
            empty: head & 16 != 0,
        };
    }
    config.key.class_of_service = head & 4 != 0;
    config.key.interface = head & 4 != 0;
    let mut ts = Timestamp::from_secs(1_700_000_000);
    let mut worker = Worker::new(&config, Share::ALL, Sums::default()).expect("memory");
    let mut packets = Vec::new();
    let mut wire_octets = 0;
    for piece in &pieces {
        let step = STEPS[usize::from(piece.control >> 4 & 7)];
        // A little of the time goes backwards, as it does in captures.
        ts = if step == 1 { Timestamp::from_millis(ts.as_millis() - 1) } else { ts.after(Duration::from_millis(step)) };
        let octets = u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX);
        let octets = octets << (piece.control >> 7);
        wire_octets += u64::from(octets);
        let link = link(piece.control & 15);
        packets.push(Packet { data: piece.bytes, wire_octets: octets, ts, interface: 7, link, merged: Merged::NOT });
    }
    // In batches of all sizes.
    let mut rest = &packets[..];
    let mut size = 1;
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(size.min(rest.len()));
        worker.packets(batch);
        assert!(worker.flows() <= config.flows.max(16));
        let ledger = worker.ledger();
        assert!(ledger.closes(), "{ledger:?}");
        rest = behind;
        size = size * 2 + 1;
    }
    let (ledger, sums) = worker.finish();
    let metered = ledger.metered;
    assert!(ledger.closes(), "{ledger:?}");
    assert_eq!((metered.delivered_packets, metered.delivered_octets), (packets.len() as u64, wire_octets));
    assert_eq!(metered.records_created, sums.records, "{ledger:?}");
    assert_eq!((metered.metered_packets, metered.metered_octets), (sums.packets, sums.octets), "{ledger:?}");
    let ended = metered.ended_idle
        + metered.ended_active
        + metered.ended_by_protocol
        + metered.ended_forced
        + metered.ended_lack_of_resources;
    assert_eq!(ended, sums.records, "every record has one end reason: {ledger:?}");
}

/// Octets that a pipe takes without a reader.
const PIPE: usize = 60_000;

/// A capture file, by name and as a stream: both read the same packets, up to the same damage.
pub fn capture(data: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file for the input");
    file.write_all(data).expect("the file takes the input");
    let named = read(&format!("/proc/self/fd/{}", file.as_raw_fd()), data.len());
    if data.len() <= PIPE && !data.is_empty() {
        let (input, mut output) = std::io::pipe().expect("a pipe for the input");
        output.write_all(data).expect("the pipe takes the input");
        drop(output);
        let streamed = read(&format!("/proc/self/fd/{}", input.as_raw_fd()), data.len());
        // What is not ours to read, libpcap may read of a file, and is mentioned then.
        let of_us = |told: &str| told.split("; built without libpcap").next().map(str::to_owned);
        assert_eq!((named.0, of_us(&named.1)), (streamed.0, of_us(&streamed.1)), "by name, and as a stream");
    }
}

/// A packet without what is borrowed: octets, octets on the wire, time, interface, link type.
type Owned = (Vec<u8>, u32, Timestamp, u32, LinkType);

/// The packets of a capture and how it ended.
fn read(path: &str, octets: usize) -> (Vec<Owned>, String) {
    let mut packets = Vec::new();
    let mut source = match capture::open(path) {
        Ok(source) => source,
        Err(error) => return (packets, error.to_string().replace(path, "")),
    };
    let mut polls = 0;
    loop {
        polls += 1;
        // A compressed file holds more than it has; every packet takes some octets of a file.
        assert!(polls < 2000 * (octets + 2), "no end");
        let state = source.poll(&mut |batch| {
            for p in batch {
                assert!(p.data.len() <= capture::MAX_CAPTURED as usize);
                packets.push((p.data.to_vec(), p.wire_octets, p.ts, p.interface, p.link));
            }
        });
        match state {
            Ok(SourceState::End) => return (packets, String::new()),
            Ok(_) => {}
            Err(error) => return (packets, error.to_string()),
        }
    }
}
