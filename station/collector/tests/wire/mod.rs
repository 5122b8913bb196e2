// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages made by hand, and a sink that keeps what it needs to compare.
#![allow(dead_code, reason = "each test file uses a part")]
#![expect(clippy::unwrap_used, reason = "the messages are small")]

use std::net::IpAddr;

use weir_collector::{Decoder, Limits, Peer};
use weir_flow::{EndReason, ExtraElement, FlowRecord, Origin, RecordSink, Timestamp};

/// A record without what is borrowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ports: (u16, u16),
    pub protocol: u8,
    pub packets: u64,
    pub octets: u64,
    pub reverse: (u64, u64),
    pub first: Timestamp,
    pub last: Timestamp,
    pub icmp: Option<u16>,
    pub end_reason: EndReason,
    pub extra: Vec<ExtraElement>,
    pub origin: Origin,
}

#[derive(Clone, Debug, Default)]
pub struct Keep(pub Vec<Kept>);

impl RecordSink for Keep {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.0.push(Kept {
            src: record.key.source(),
            dst: record.key.destination(),
            ports: (record.key.src_port, record.key.dst_port),
            protocol: record.key.protocol,
            packets: record.forward.packets,
            octets: record.forward.octets,
            reverse: (record.reverse.packets, record.reverse.octets),
            first: record.forward.first,
            last: record.forward.last,
            icmp: record.icmp_type_code,
            end_reason: record.end_reason,
            extra: record.extra.to_vec(),
            origin: record.origin,
        });
    }
}

impl Keep {
    /// Packet counts of the records, by which the tests tell them apart.
    pub fn packets(&self) -> Vec<u64> {
        self.0.iter().map(|r| r.packets).collect()
    }
}

/// A decoder and what it yields.
pub struct Rig {
    pub decoder: Decoder,
    pub kept: Keep,
    pub now: Timestamp,
}

pub const TIME: u32 = 1_700_000_000;

impl Rig {
    pub fn new(limits: Limits) -> Self {
        Self { decoder: Decoder::new(limits, 4711), kept: Keep::default(), now: Timestamp::from_secs(TIME.into()) }
    }

    pub fn udp(&mut self, message: &[u8]) {
        self.from(udp_peer(2055), message);
    }

    pub fn from(&mut self, peer: Peer, message: &[u8]) {
        self.decoder.message(peer, message, self.now, &mut self.kept);
        self.check();
    }

    /// What must hold at any time.
    pub fn check(&self) {
        let (counters, held) = (self.decoder.counters(), self.decoder.held());
        assert!(counters.closes(held), "{counters:?} {held:?}");
        assert_eq!(counters.records, self.kept.0.len() as u64);
    }
}

pub fn udp_peer(port: u16) -> Peer {
    Peer::Udp(([192, 0, 2, 9], port).into())
}

pub fn tcp_peer(connection: u64) -> Peer {
    Peer::Tcp { connection, address: ([192, 0, 2, 9], 40_000).into() }
}

pub fn set(id: u16, body: &[u8]) -> Vec<u8> {
    let mut set = id.to_be_bytes().to_vec();
    set.extend(u16::try_from(body.len() + 4).unwrap().to_be_bytes());
    set.extend(body);
    set
}

pub fn ipfix(domain: u32, sequence: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    ipfix_at(TIME, domain, sequence, sets)
}

pub fn ipfix_at(time: u32, domain: u32, sequence: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let body = sets.concat();
    let mut message = vec![0, 10];
    message.extend(u16::try_from(body.len() + 16).unwrap().to_be_bytes());
    for field in [time, sequence, domain] {
        message.extend(field.to_be_bytes());
    }
    message.extend(body);
    message
}

pub fn v9(domain: u32, sequence: u32, uptime: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![0, 9, 0, 1];
    for field in [uptime, TIME, sequence, domain] {
        message.extend(field.to_be_bytes());
    }
    message.extend(sets.concat());
    message
}

/// A template of IANA elements, each with its length.
pub fn template(id: u16, fields: &[(u16, u16)]) -> Vec<u8> {
    let mut template = id.to_be_bytes().to_vec();
    template.extend(u16::try_from(fields.len()).unwrap().to_be_bytes());
    for (element, length) in fields {
        template.extend(element.to_be_bytes());
        template.extend(length.to_be_bytes());
    }
    template
}

/// Source address, destination port, protocol, packets in four octets.
pub const FIELDS: &[(u16, u16)] = &[(8, 4), (11, 2), (4, 1), (2, 4)];
/// The same with packets in eight octets, and first of all.
pub const OTHER_FIELDS: &[(u16, u16)] = &[(2, 8), (8, 4), (11, 2), (4, 1)];

/// A TCP record under [`FIELDS`].
pub fn record(packets: u32) -> Vec<u8> {
    let mut record = vec![198, 51, 100, 7, 0, 80, 6];
    record.extend(packets.to_be_bytes());
    record
}

/// A TCP record under [`OTHER_FIELDS`].
pub fn other_record(packets: u64) -> Vec<u8> {
    let mut record = packets.to_be_bytes().to_vec();
    record.extend([198, 51, 100, 7, 0, 80, 6]);
    record
}

/// Header fields of NetFlow version 5, and whole records of 48 octets.
pub fn v5(uptime: u32, sequence: u32, records: &[[u8; 48]]) -> Vec<u8> {
    let mut message = vec![0, 5];
    message.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    for field in [uptime, TIME, 250_000_000, sequence] {
        message.extend(field.to_be_bytes());
    }
    message.extend([1, 2, 0x40, 10]); // engine type and ID, sampling 1 in 10
    message.extend(records.concat());
    message
}

pub fn v5_record(protocol: u8, dst_port: u16, packets: u32, first: u32, last: u32) -> [u8; 48] {
    let mut octets = vec![192, 0, 2, 1, 192, 0, 2, 2, 0, 0, 0, 0, 0, 3, 0, 4];
    for field in [packets, packets * 100, first, last] {
        octets.extend(field.to_be_bytes());
    }
    octets.extend([0x30, 0x39]);
    octets.extend(dst_port.to_be_bytes());
    octets.extend([0, 0x1b, protocol, 0, 0, 0, 0xfd, 0xe8, 0, 0, 0, 0]);
    octets.try_into().unwrap()
}
