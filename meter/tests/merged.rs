// SPDX-License-Identifier: MIT OR Apache-2.0
//! A packet that the system merged of several counts as they did on the wire.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use weir_flow::{FlowRecord, LinkType, Merged, Packet, Timestamp, ledger::Ledger};
use weir_metering::{MeterConfig, Share, Worker};

const SEGMENT: usize = 1000;

/// How a frame begins.
#[derive(Clone, Copy, Debug)]
struct Headers {
    has_tag: bool,
    is_v6: bool,
    is_udp: bool,
}

impl Headers {
    fn link(self) -> usize {
        if self.has_tag { 18 } else { 14 }
    }

    fn octets(self) -> usize {
        self.link() + if self.is_v6 { 40 } else { 20 } + if self.is_udp { 8 } else { 20 }
    }

    /// A frame with so many octets of payload, behind as many before it.
    fn frame(self, sequence: usize, payload: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        if self.has_tag {
            frame.extend([0x81, 0, 0, 5]);
        }
        let transport = payload + if self.is_udp { 8 } else { 20 };
        let protocol = if self.is_udp { 17 } else { 6 };
        let narrow = |octets: usize| u16::try_from(octets).unwrap_or(0).to_be_bytes();
        if self.is_v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(narrow(transport));
            frame.extend([protocol, 64]);
            frame.extend([0x20; 16].iter().chain(&[0x30; 16]));
        } else {
            frame.extend([0x08, 0, 0x45, 0]);
            frame.extend(narrow(20 + transport));
            frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend([0x13, 0x88, 0x17, 0x70]);
        if self.is_udp {
            frame.extend(narrow(transport));
            frame.extend([0, 0]);
        } else {
            frame.extend(u32::try_from(sequence).unwrap().to_be_bytes());
            frame.extend([0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        }
        frame.resize(frame.len() + payload, 0xa5);
        frame
    }
}

/// Packets, octets and flags of each record in both directions; and the ledger.
type Metered = (Vec<String>, Ledger);

fn metered(packets: &[(Vec<u8>, Merged)]) -> Metered {
    let mut records = Vec::new();
    let sink = |record: &FlowRecord<'_>| records.push(format!("{:?} {:?}", record.forward, record.reverse));
    let config = MeterConfig { flows: 1000, ..MeterConfig::default() };
    let mut worker = Worker::new(&config, Share::ALL, sink).unwrap();
    for (data, merged) in packets {
        worker.packets(&[Packet {
            data,
            wire_octets: u32::try_from(data.len()).unwrap() + merged.repeated_octets(),
            ts: Timestamp::from_secs(1_700_000_000),
            interface: 1,
            link: LinkType::ETHERNET,
            merged: *merged,
        }]);
    }
    let (ledger, _) = worker.finish();
    assert!(ledger.closes(), "{ledger:?}");
    (records, ledger)
}

/// The same payload in single packets, and merged after a first one.
fn both(headers: Headers, payload: usize) -> [Metered; 2] {
    let first = (headers.frame(0, SEGMENT), Merged::NOT);
    let mut single = vec![first.clone()];
    let mut at = 0;
    while at < payload {
        let octets = SEGMENT.min(payload - at);
        single.push((headers.frame(SEGMENT + at, octets), Merged::NOT));
        at += octets;
    }
    let further_packets = u16::try_from(payload.div_ceil(SEGMENT) - 1).unwrap();
    let merged = Merged { further_packets, header_octets: u16::try_from(headers.octets()).unwrap() };
    let one = (headers.frame(SEGMENT, payload), merged);
    [metered(&single), metered(&[first, one])]
}

#[test]
fn merged_packets_count_as_single_ones() {
    for number in 0..8 {
        let headers = Headers { has_tag: number & 1 != 0, is_v6: number & 2 != 0, is_udp: number & 4 != 0 };
        // The last is too long for the fields of IP.
        for payload in [1001, 1999, 2000, 44_500, 120_000] {
            if payload > 65_000 && headers.is_udp {
                continue;
            }
            let [(records, ledger), (merged_records, merged)] = both(headers, payload);
            assert_eq!(merged_records, records, "{headers:?}, {payload}");
            assert_eq!((records.len(), merged), (1, ledger), "{headers:?}, {payload}");
        }
    }
}

#[test]
fn a_merged_packet_may_be_the_first_of_its_flow_and_may_be_ignored() {
    let headers = Headers { has_tag: false, is_v6: false, is_udp: false };
    let merged = Merged { further_packets: 9, header_octets: 54 };
    let (records, ledger) = metered(&[(headers.frame(0, 10 * SEGMENT), merged)]);
    assert_eq!((records.len(), ledger.metered.metered_packets), (1, 10));
    assert_eq!(ledger.metered.metered_octets, 10 * (SEGMENT as u64 + 40));
    assert_eq!(ledger.metered.delivered_octets, 10 * (SEGMENT as u64 + 54));
    assert_eq!(ledger.metered.snapped_packets, 0);
    let mut other = headers.frame(0, 10 * SEGMENT);
    other[12] = 0x99;
    let (records, ledger) = metered(&[(other, merged)]);
    assert_eq!((records.len(), ledger.ignored.not_ip, ledger.metered.delivered_packets), (0, 10, 10));
}

#[test]
fn a_record_takes_no_more_packets_than_it_can_count() {
    let headers = Headers { has_tag: false, is_v6: false, is_udp: false };
    let merged = Merged { further_packets: u16::MAX, header_octets: 54 };
    let packets = vec![(headers.frame(0, 10), merged); 66_000];
    let (records, ledger) = metered(&packets);
    assert_eq!(ledger.metered.metered_packets, 66_000 << 16);
    assert_eq!(records.len(), 2, "{records:?}");
}
