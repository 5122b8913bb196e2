// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of the flow cache, written as plainly as they can be: a map of flows, gone through at every packet.

use std::{collections::BTreeMap, net::IpAddr};

use weir_flow::{
    Counters, EndReason, FlowKey, FlowRecord, Timestamp, protocol,
    tcp_flags::{ACK, FIN, RST, SYN},
};
use weir_metering::{CLOSE_WAIT, MeterConfig};

use crate::{
    measured::{Measured, expected, said},
    sent::{Part, Sent},
};

/// Address and port.
type End = (IpAddr, u16);

/// What is compared of a record.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rec {
    pub key: FlowKey,
    pub sides: [Side; 2],
    pub end_reason: EndReason,
    vlan: u16,
    class_of_service: u8,
    interface: u32,
    icmp_type_code: Option<u16>,
    measured: Option<Measured>,
}

/// One direction of a record.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Side {
    pub packets: u64,
    pub octets: u64,
    first: u64,
    last: u64,
    flags: u16,
}

impl From<&Counters> for Side {
    fn from(counters: &Counters) -> Self {
        let Counters { packets, octets, first, last, tcp_flags: flags } = *counters;
        // Times mean nothing where there is no packet.
        let time = |ts: Timestamp| if packets == 0 { 0 } else { ts.as_nanos() };
        Self { packets, octets, first: time(first), last: time(last), flags }
    }
}

impl From<&FlowRecord<'_>> for Rec {
    fn from(record: &FlowRecord<'_>) -> Self {
        Self {
            key: record.key,
            sides: [Side::from(&record.forward), Side::from(&record.reverse)],
            end_reason: record.end_reason,
            vlan: record.vlan,
            class_of_service: record.class_of_service,
            interface: record.ingress_interface,
            icmp_type_code: record.icmp_type_code,
            measured: record.statistics.map(said),
        }
    }
}

/// A multiset of flows, each a multiset of records.
pub type Flows = Vec<Vec<Rec>>;

/// Groups records by what identifies their flows.
pub fn by_flow<I: Ord>(records: Vec<(I, Rec)>) -> Flows {
    let mut flows = BTreeMap::<I, Vec<Rec>>::new();
    for (id, record) in records {
        flows.entry(id).or_default().push(record);
    }
    let mut flows: Flows = flows.into_values().collect();
    flows.iter_mut().for_each(|records| records.sort());
    flows.sort();
    flows
}

/// The whole key, ends in an order of their own.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    ends: [End; 2],
    protocol: u8,
    vlan: u16,
    class_of_service: u8,
    interface: u32,
}

/// A flow. Of two of anything, the first is the initiator's.
#[derive(Clone, Debug)]
struct Flow {
    first_packet: Sent,
    /// First packet of each direction.
    first_of: [Option<Sent>; 2],
    ends: [End; 2],
    was_heard: [bool; 2],
    has_fin: [bool; 2],
    has_ended: bool,
    /// Clock at the last packet.
    last: u64,
    /// Clock when the open record began.
    begin: u64,
    open: [Side; 2],
    /// The packets in it, each with its direction.
    packets: Vec<(usize, Sent)>,
}

impl Flow {
    fn is_open(&self) -> bool {
        self.open.iter().any(|side| side.packets > 0)
    }
}

/// What the model says.
pub struct Expected {
    pub flows: Flows,
    pub flows_created: u64,
    pub fragments_without_ports: u64,
    pub without_transport_header: u64,
    pub snapped_packets: u64,
}

/// What tells flows apart: their key, and the time of their first packet.
type Id = (Key, u64);

/// Addresses, protocol and identification of a fragmented datagram.
type Datagram = (IpAddr, IpAddr, u8, u16);

pub struct Model {
    config: MeterConfig,
    clock: u64,
    flows: BTreeMap<Key, Flow>,
    /// First fragments: their ports, and the clock then.
    datagrams: BTreeMap<Datagram, (u16, u16, u64)>,
    records: Vec<(Id, Rec)>,
    /// When each of them was due.
    closed_at: Vec<u64>,
    counts: Expected,
}

impl Model {
    pub fn new(config: &MeterConfig) -> Self {
        Self {
            config: *config,
            clock: 0,
            flows: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            records: Vec::new(),
            closed_at: Vec::new(),
            counts: Expected {
                flows: Vec::new(),
                flows_created: 0,
                fragments_without_ports: 0,
                without_transport_header: 0,
                snapped_packets: 0,
            },
        }
    }

    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Number of records that were due before this time.
    pub fn closed_before(&self, time: u64) -> u64 {
        self.closed_at.iter().filter(|at| **at < time).count() as u64
    }

    pub fn packet(&mut self, sent: &Sent) {
        // Wrong timestamps move nothing.
        self.clock = self.clock.max(if sent.is_wrong { 0 } else { sent.ts });
        self.close_what_is_due();
        if !sent.is_ip {
            return;
        }
        let ports = self.ports(sent);
        let [src, dst] = [(sent.src.0, ports.0), (sent.dst.0, ports.1)];
        let fields = self.config.key;
        let key = Key {
            ends: [src.min(dst), src.max(dst)],
            protocol: sent.protocol,
            vlan: if fields.vlan { sent.vlan } else { 0 },
            class_of_service: if fields.class_of_service { sent.class_of_service } else { 0 },
            interface: if fields.interface { sent.interface } else { 0 },
        };
        let is_tcp = sent.protocol == protocol::TCP;
        let flags = if is_tcp && sent.transport_octets() >= 14 { sent.flags } else { 0 };
        let is_snapped = (sent.frame().len() as u64) < sent.wire_octets();
        self.counts.snapped_packets += u64::from(is_snapped);

        // A SYN that comes for an ended flow begins a new one.
        if flags & SYN != 0
            && flags & ACK == 0
            && self.flows.get(&key).is_some_and(|flow| flow.has_ended)
            && let Some(mut flow) = self.flows.remove(&key)
        {
            self.close(&key, &mut flow, EndReason::END_OF_FLOW, self.clock);
        }
        let flow = self.flows.entry(key).or_insert_with(|| {
            self.counts.flows_created += 1;
            let is_answer = if flags & SYN != 0 { flags & ACK != 0 } else { is_tcp && src.1 < 1024 && dst.1 >= 1024 };
            Flow {
                first_packet: sent.clone(),
                ends: if is_answer { [dst, src] } else { [src, dst] },
                first_of: [None, None],
                was_heard: [false; 2],
                has_fin: [false; 2],
                has_ended: false,
                last: 0,
                begin: 0,
                open: [Side::default(); 2],
                packets: Vec::new(),
            }
        });
        let side = usize::from(src != flow.ends[0]);
        if !flow.is_open() {
            flow.begin = self.clock;
        }
        flow.last = self.clock;
        flow.packets.push((side, sent.clone()));
        flow.was_heard[side] = true;
        flow.first_of[side].get_or_insert_with(|| sent.clone());
        flow.has_fin[side] |= flags & FIN != 0;
        let has_fin_wherever_heard = (0..2).all(|side| flow.has_fin[side] || !flow.was_heard[side]);
        flow.has_ended |= flags & RST != 0 || has_fin_wherever_heard;
        let counted = &mut flow.open[side];
        *counted = Side {
            first: if counted.packets == 0 { sent.ts } else { counted.first.min(sent.ts) },
            last: counted.last.max(sent.ts),
            packets: counted.packets + 1,
            octets: counted.octets + sent.ip_octets(),
            flags: counted.flags | flags,
        };
    }

    pub fn finish(mut self) -> Expected {
        for (key, mut flow) in std::mem::take(&mut self.flows) {
            let reason = if flow.has_ended { EndReason::END_OF_FLOW } else { EndReason::FORCED };
            self.close(&key, &mut flow, reason, self.clock);
        }
        Expected { flows: by_flow(self.records), ..self.counts }
    }

    /// Source and destination port, as far as they can be known.
    fn ports(&mut self, sent: &Sent) -> (u16, u16) {
        const REMEMBERED: u64 = 60_000_000_000;
        let has_ports = protocol::has_ports(sent.protocol);
        let is_readable = has_ports && sent.transport_octets() >= 4;
        let ports = if is_readable { (sent.src.1, sent.dst.1) } else { (0, 0) };
        let datagram = |id| (sent.src.0, sent.dst.0, sent.protocol, id);
        match sent.part {
            Part::First(id) => {
                self.datagrams.insert(datagram(id), (ports.0, ports.1, self.clock));
            }
            Part::Later(id) => match self.datagrams.get(&datagram(id)) {
                Some(&(src, dst, at)) if self.clock - at <= REMEMBERED => return (src, dst),
                _ => {
                    self.counts.fragments_without_ports += 1;
                    return ports;
                }
            },
            Part::Whole => {}
        }
        self.counts.without_transport_header += u64::from(has_ports && !is_readable);
        ports
    }

    fn close_what_is_due(&mut self) {
        let nanos = |duration: std::time::Duration| duration.as_nanos() as u64;
        let idle = nanos(self.config.idle_timeout).max(1);
        let active = nanos(self.config.active_timeout);
        for (key, mut flow) in std::mem::take(&mut self.flows) {
            let (end, reason) = if flow.has_ended {
                (flow.last + nanos(CLOSE_WAIT).min(idle), EndReason::END_OF_FLOW)
            } else {
                (flow.last + idle, EndReason::IDLE)
            };
            let cut = flow.begin + active;
            if flow.is_open() && cut <= self.clock && cut < end {
                self.close(&key, &mut flow, EndReason::ACTIVE, cut);
            }
            if end <= self.clock {
                self.close(&key, &mut flow, reason, end);
            } else {
                self.flows.insert(key, flow);
            }
        }
    }

    fn close(&mut self, key: &Key, flow: &mut Flow, end_reason: EndReason, at: u64) {
        let mut ends = flow.ends;
        let mut sides = std::mem::take(&mut flow.open);
        let mut packets = std::mem::take(&mut flow.packets);
        let mut first_of = flow.first_of.clone();
        if sides.iter().all(|side| side.packets == 0) {
            return;
        }
        // The initiator was never heard: the responder is the source.
        if !flow.was_heard[0] {
            ends.reverse();
            sides.reverse();
            first_of.reverse();
            packets.iter_mut().for_each(|(side, _)| *side = 1 - *side);
        }
        let groups = self.config.statistics;
        let uniflow = self.config.uniflow;
        let reverse_tos = first_of[1].as_ref().map(|first| first.class_of_service);
        let measured = |forward: usize| {
            let packets: Vec<_> = packets.iter().map(|(side, sent)| (*side == forward, sent.clone())).collect();
            groups.measure(key.protocol).then(|| expected(groups, uniflow, &packets, reverse_tos))
        };
        let record = |[src, dst]: [End; 2], sides, first: &Option<Sent>, forward: usize| {
            let first = first.as_ref().unwrap_or(&flow.first_packet);
            let is_icmp = matches!(first.protocol, protocol::ICMP | protocol::ICMPV6);
            Rec {
                key: FlowKey::new(src.0, dst.0, src.1, dst.1, key.protocol),
                sides,
                end_reason,
                vlan: first.vlan,
                class_of_service: first.class_of_service,
                interface: first.interface,
                icmp_type_code: (is_icmp && first.transport_octets() >= 2).then(|| u16::from_be_bytes(first.icmp)),
                measured: measured(forward),
            }
        };
        let [forward, reverse] = sides;
        let records = if self.config.uniflow {
            let mut both = Vec::new();
            if forward.packets > 0 {
                both.push(record(ends, [forward, Side::default()], &first_of[0], 0));
            }
            if reverse.packets > 0 {
                both.push(record([ends[1], ends[0]], [reverse, Side::default()], &first_of[1], 1));
            }
            both
        } else {
            vec![record(ends, sides, &first_of[0], 0)]
        };
        for record in records {
            self.records.push(((key.clone(), flow.first_packet.ts), record));
            self.closed_at.push(at);
        }
    }
}
