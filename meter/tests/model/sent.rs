// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets as somebody sent them, the octets that are captured of them, and sequences of them.

use std::{net::IpAddr, ops::Range, time::Duration};

use proptest::{collection::vec, prelude::*, sample::Index};
use weir_flow::{
    LinkType, Merged, Packet, Timestamp, protocol,
    tcp_flags::{ACK, FIN, PSH, RST, SYN},
};
use weir_metering::{Groups, KeyFields, MeterConfig};

/// Which part of an IP packet it is, and the identification of the whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    First(u16),
    Later(u16),
    Whole,
}

/// One packet.
#[derive(Clone, Debug)]
pub struct Sent {
    pub src: (IpAddr, u16),
    pub dst: (IpAddr, u16),
    pub protocol: u8,
    /// Zero: no tag.
    pub vlan: u16,
    pub class_of_service: u8,
    pub interface: u32,
    /// Control bits, if TCP.
    pub flags: u16,
    /// Type and code, if ICMP.
    pub icmp: [u8; 2],
    pub part: Part,
    pub payload: Vec<u8>,
    /// Octets behind the payload that were not captured.
    pub missing: u16,
    /// Capture ends after so many octets of the transport header.
    pub cut: Option<usize>,
    pub ts: u64,
    /// Whether that is not about when it was sent.
    pub is_wrong: bool,
    /// Link type raw IP, otherwise Ethernet.
    pub is_raw: bool,
    /// ARP otherwise.
    pub is_ip: bool,
}

impl Sent {
    /// A datagram from a port.
    pub fn udp(port: u16, ts: u64) -> Self {
        Self {
            src: ([192, 0, 2, 1].into(), port),
            dst: ([192, 0, 2, 2].into(), 53),
            protocol: protocol::UDP,
            vlan: 0,
            class_of_service: 0,
            interface: 0,
            flags: 0,
            icmp: [0; 2],
            part: Part::Whole,
            payload: Vec::new(),
            missing: 0,
            cut: None,
            ts,
            is_wrong: false,
            is_raw: false,
            is_ip: true,
        }
    }

    /// A segment from 192.0.2.1 to port 80 of 192.0.2.2, or in answer.
    pub fn tcp(is_answer: bool, flags: u16, ts: u64) -> Self {
        let [client, server] = [([192, 0, 2, 1].into(), 40_000), ([192, 0, 2, 2].into(), 80)];
        let (src, dst) = if is_answer { (server, client) } else { (client, server) };
        Self { src, dst, protocol: protocol::TCP, flags, ..Self::udp(0, ts) }
    }

    fn transport_header(&self) -> Vec<u8> {
        let ports = [self.src.1.to_be_bytes(), self.dst.1.to_be_bytes()].concat();
        let behind = self.payload.len() as u16 + self.missing;
        match (self.part, self.protocol) {
            (Part::Later(_), _) => Vec::new(),
            (_, protocol::TCP) => {
                let mut header = [&ports[..], &[0; 16]].concat();
                header[4..8].copy_from_slice(&(self.ts as u32).to_be_bytes());
                header[12..14].copy_from_slice(&(0x5000 | self.flags).to_be_bytes());
                header
            }
            (_, protocol::UDP) => [&ports[..], &(8 + behind).to_be_bytes(), &[0, 0]].concat(),
            (_, protocol::ICMP | protocol::ICMPV6) => [&self.icmp[..], &[0; 6]].concat(),
            (_, protocol::SCTP) => [&ports[..], &[0; 8]].concat(),
            _ => Vec::new(),
        }
    }

    /// Octets of the transport header that were captured.
    pub fn transport_octets(&self) -> usize {
        let len = self.transport_header().len();
        self.cut.map_or(len, |cut| cut.min(len))
    }

    fn is_v4(&self) -> bool {
        self.src.0.is_ipv4()
    }

    fn ip_header_octets(&self) -> usize {
        match (self.is_v4(), self.part) {
            (true, _) => 20,
            (false, Part::Whole) => 40,
            (false, _) => 48,
        }
    }

    /// Octets from the IP header on; zero unless IP.
    pub fn ip_octets(&self) -> u64 {
        if !self.is_ip {
            return 0;
        }
        let transport = self.transport_header().len() + self.payload.len();
        (self.ip_header_octets() + transport) as u64 + u64::from(self.missing)
    }

    pub fn wire_octets(&self) -> u64 {
        let link = if self.is_raw && self.is_ip { 0 } else { 14 + if self.vlan == 0 { 0 } else { 4 } };
        link + if self.is_ip { self.ip_octets() } else { 28 }
    }

    /// The captured octets.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        if !(self.is_raw && self.is_ip) {
            frame.extend([2; 12]);
            if self.vlan != 0 {
                frame.extend([0x81, 0x00]);
                frame.extend(self.vlan.to_be_bytes());
            }
            frame.extend(match (self.is_ip, self.is_v4()) {
                (false, _) => [0x08, 0x06],
                (true, true) => [0x08, 0x00],
                (true, false) => [0x86, 0xdd],
            });
        }
        if !self.is_ip {
            frame.extend([0; 28]);
            return frame;
        }
        let octets = self.ip_octets() as u16;
        match (self.src.0, self.dst.0) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let (id, offset) = match self.part {
                    Part::Whole => (0, 0x4000_u16),
                    Part::First(id) => (id, 0x2000),
                    Part::Later(id) => (id, 0x0040),
                };
                frame.extend([0x45, self.class_of_service]);
                frame.extend([octets, id, offset].map(u16::to_be_bytes).as_flattened());
                frame.extend([64, self.protocol, 0, 0]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let class = self.class_of_service;
                let next = if self.part == Part::Whole { self.protocol } else { 44 };
                frame.extend([0x60 | class >> 4, class << 4, 0, 0]);
                frame.extend((octets - 40).to_be_bytes());
                frame.extend([next, 64]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                let fragment = match self.part {
                    Part::Whole => None,
                    Part::First(id) => Some((1_u16, id)),
                    Part::Later(id) => Some((0x0200, id)),
                };
                if let Some((offset, id)) = fragment {
                    frame.extend([self.protocol, 0]);
                    frame.extend(offset.to_be_bytes());
                    frame.extend(u32::from(id).to_be_bytes());
                }
            }
            _ => unreachable!("both ends are of one version"),
        }
        frame.extend(&self.transport_header()[..self.transport_octets()]);
        if self.transport_octets() == self.transport_header().len() {
            frame.extend(&self.payload);
        }
        frame
    }

    pub fn packet<'a>(&self, frame: &'a [u8]) -> Packet<'a> {
        Packet {
            data: frame,
            wire_octets: self.wire_octets() as u32,
            ts: Timestamp::from_nanos(self.ts),
            interface: self.interface,
            link: if self.is_raw && self.is_ip { LinkType::RAW } else { LinkType::ETHERNET },
            merged: Merged::NOT,
        }
    }
}

const SECOND: u64 = 1_000_000_000;

pub fn configs() -> impl Strategy<Value = MeterConfig> {
    let idle = prop_oneof![Just(0), Just(700_000_000), Just(SECOND), Just(5 * SECOND), Just(30 * SECOND)];
    let active = prop_oneof![Just(SECOND), Just(5 * SECOND), Just(60 * SECOND), Just(300 * SECOND), Just(900 * SECOND)];
    let all =
        |packets, empty| Groups { packets, histograms: true, bursts: true, entropy: true, tcp: true, ip: true, empty };
    let statistics = prop_oneof![
        2 => Just(Groups::default()),
        2 => (1..9_u8, any::<bool>()).prop_map(move |(packets, empty)| all(packets, empty)),
        1 => any::<[bool; 6]>().prop_map(|[histograms, bursts, entropy, tcp, ip, empty]| {
            Groups { packets: 0, histograms, bursts, entropy, tcp, ip, empty }
        }),
    ];
    (idle, active, any::<(bool, [bool; 3])>(), prop_oneof![Just(0_usize), Just(64)], statistics).prop_map(
        |(idle, active, (uniflow, [vlan, class_of_service, interface]), app_flows, statistics)| MeterConfig {
            statistics,
            flows: 1024,
            app_flows,
            idle_timeout: Duration::from_nanos(idle),
            active_timeout: Duration::from_nanos(active),
            uniflow,
            key: KeyFields { vlan, class_of_service, interface },
            hash_seed: Some(1),
            ..MeterConfig::default()
        },
    )
}

/// Two ends that talk. What they send differs in little, so that flows have several packets.
fn conversations() -> impl Strategy<Value = Sent> {
    let addresses = prop_oneof![
        Just(["192.0.2.1", "192.0.2.2"]),
        Just(["192.0.2.3", "192.0.2.1"]),
        Just(["192.0.2.1", "192.0.2.1"]),
        Just(["2001:db8::1", "2001:db8::2"]),
        // The octets of two IPv4 addresses.
        Just(["c000:201::", "c000:202::"]),
    ];
    let ports =
        prop_oneof![4 => Just((40_000, 80)), 2 => Just((80, 80)), 1 => Just((1024, 1023)), 1 => any::<(u16, u16)>()];
    let protocol = prop_oneof![
        6 => Just(protocol::TCP),
        2 => Just(protocol::UDP),
        1 => Just(protocol::ICMP),
        1 => Just(protocol::SCTP),
        1 => Just(99),
    ];
    let vlan = prop_oneof![Just(0), Just(7), Just(42)];
    let others = (vlan, prop_oneof![Just(0), Just(0xb8)], 0..2_u32, any::<bool>());
    (addresses, ports, protocol, others).prop_filter_map("addresses", |(addresses, ports, protocol, others)| {
        let [src, dst] = addresses.map(|a| a.parse::<IpAddr>().ok());
        let protocol = if protocol == protocol::ICMP && src?.is_ipv6() { protocol::ICMPV6 } else { protocol };
        let (vlan, class_of_service, interface, is_raw) = others;
        let vlan = if is_raw { 0 } else { vlan };
        let ends = Sent { src: (src?, ports.0), dst: (dst?, ports.1), ..Sent::udp(0, 0) };
        Some(Sent { protocol, vlan, class_of_service, interface, is_raw, ..ends })
    })
}

/// Nanoseconds from one packet to the next: timeouts to the nanosecond, and silence, which is so long that what comes late is
/// behind it too.
fn steps() -> impl Strategy<Value = u64> {
    const S: u64 = SECOND;
    prop_oneof![
        2 => Just(0),
        6 => 0..S / 5,
        3 => 0..2 * S,
        2 => prop_oneof![Just(1), Just(2), Just(5), Just(30), Just(60), Just(300)].prop_map(|s| s * S),
        1 => prop_oneof![Just(S - 1), Just(5 * S - 1), Just(30 * S - 1)],
        2 => 20 * S..40 * S,
        1 => 20 * S..400 * S,
        1 => 20 * S..5_000 * S,
    ]
}

/// Nanoseconds by which a packet comes late.
fn delays() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 1 => 0..5 * SECOND]
}

/// Timestamps far from those of any sequence, before and behind it.
pub fn wrong_timestamps() -> impl Strategy<Value = u64> {
    prop_oneof![0..BEGIN - 86_400 * SECOND, BEGIN + 30 * 86_400 * SECOND..u64::MAX]
}

/// When most sequences begin.
const BEGIN: u64 = 1_700_000_000 * SECOND + 300_000_000;

/// So many packets from one wrong timestamp to the next, at least.
const APART: usize = 8;

/// `count` packets of at most `conversations` conversations, in order of observation.
pub fn sequences(conversations_at_most: usize, count: Range<usize>) -> impl Strategy<Value = Vec<Sent>> {
    let flags = prop_oneof![
        4 => Just(ACK),
        2 => Just(SYN),
        2 => Just(SYN | ACK),
        2 => Just(FIN | ACK),
        1 => Just(RST),
        1 => Just(PSH | ACK),
        1 => 0..0x1000_u16,
    ];
    let part = prop_oneof![8 => Just(Part::Whole), 1 => (0..2_u16).prop_map(Part::First), 1 => (0..2_u16).prop_map(Part::Later)];
    let cut = prop_oneof![12 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(4))];
    let missing = prop_oneof![4 => Just(0), 1 => 0..1400_u16];
    let icmp = prop_oneof![Just([8, 0]), Just([0, 0]), any::<[u8; 2]>()];
    let packet = (any::<Index>(), any::<bool>(), flags, part, cut, missing, icmp, prop::bool::weighted(0.05));
    // As files without timestamps have it, and as they are now.
    let begin = prop_oneof![Just(0), Just(1), Just(BEGIN)];
    let conversations = vec(conversations(), 1..=conversations_at_most);
    let wrong = prop::option::weighted(0.5, wrong_timestamps());
    (begin, conversations, vec((packet, steps(), delays(), wrong), count)).prop_map(
        |(begin, conversations, packets)| {
            let mut now: u64 = begin;
            let mut sent = Vec::new();
            let last = packets.len().saturating_sub(1);
            for (index, ((which, is_answer, flags, part, cut, missing, icmp, is_arp), step, delay, wrong)) in
                packets.into_iter().enumerate()
            {
                now += step;
                let late = now.saturating_sub(delay).max(begin);
                // The first and the last one are believed.
                let wrong = wrong.filter(|_| begin == BEGIN && index % APART == APART / 2 && index < last);
                let (ts, is_wrong) = (wrong.unwrap_or(late), wrong.is_some());
                let mut packet =
                    Sent { flags, part, cut, missing, icmp, ts, is_wrong, ..which.get(&conversations).clone() };
                packet.is_ip = !is_arp;
                if is_answer {
                    (packet.src, packet.dst) = (packet.dst, packet.src);
                }
                sent.push(packet);
            }
            sent
        },
    )
}

/// Payloads that parsers may take an interest in, and such as mean nothing.
pub fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let dns = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01";
    let meaningful = prop::sample::select(vec![
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"220 mail.example.org ESMTP\r\n".to_vec(),
        b"EHLO client\r\nMAIL FROM:<a@example.org>\r\n".to_vec(),
        b"OPTIONS sip:b@example.org SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n".to_vec(),
        dns.to_vec(),
    ]);
    vec(prop_oneof![Just(Vec::new()), meaningful, vec(any::<u8>(), 0..80)], 60)
}
