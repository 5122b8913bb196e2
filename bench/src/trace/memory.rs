// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets made in memory: Ethernet, IPv4, and TCP or UDP.
//!
//! Every packet has a frame of its own, in one arena, in the order of observation. Each flow has addresses of its own and
//! packets in both directions; even flows are TCP (segments in sequence, no SYN, FIN or RST), odd ones UDP. All of a trace,
//! replayed twice, is within the idle timeout, so each flow is one record. The payload, if any, means nothing to any
//! parser.

use weir_flow::{BATCH, LinkType, Merged, Packet, Timestamp, protocol, tcp_flags::ACK};

use super::draw::Draw;

const ETHERNET_OCTETS: usize = 14;
const IP_OCTETS: usize = 20;
const TCP_OCTETS: usize = 20;
const UDP_OCTETS: usize = 8;
/// Octets of the smallest frame that has room for TCP.
pub const MIN_FRAME: usize = ETHERNET_OCTETS + IP_OCTETS + TCP_OCTETS;
/// Octets of the largest frame.
pub const MAX_FRAME: usize = 9014;
/// Most flows: each has an address of its own.
pub const MAX_FLOWS: u32 = 1 << 28;

/// Which flow the next packet is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Order {
    /// One to 32 packets of a flow, then of another one.
    Burst,
    /// Any flow, each as likely.
    Random,
    /// One flow after the other, round and round.
    Sequential,
}

/// What a trace is made from; the same gives the same trace.
#[derive(Clone, Copy, Debug)]
pub struct TraceSpec {
    /// Flows to draw from, 1 to [`MAX_FLOWS`].
    pub flows: u32,
    /// Packets, at least 1.
    pub packets: usize,
    /// Octets of each frame, [`MIN_FRAME`] to [`MAX_FRAME`].
    pub size: usize,
    /// Whether frames are filled with payload, or else with padding that IP does not count.
    pub has_payload: bool,
    /// Which flow comes next.
    pub order: Order,
    /// Seed of all that is drawn.
    pub seed: u64,
}

impl TraceSpec {
    /// Octets of memory that the trace takes.
    #[must_use]
    pub fn octets(&self) -> u64 {
        let per_packet = self.size + size_of::<u32>();
        (self.packets as u64).saturating_mul(per_packet as u64)
    }
}

/// Packets in memory.
#[derive(Debug)]
pub struct Trace {
    spec: TraceSpec,
    arena: Vec<u8>,
    ids: Vec<u32>,
    true_flows: usize,
    ip_octets: u64,
}

impl Trace {
    /// Makes the packets.
    #[must_use]
    pub fn new(spec: TraceSpec) -> Self {
        let mut draw = Draw::new(spec.seed);
        let mut arena = Vec::with_capacity(spec.packets * spec.size);
        let mut ids = Vec::with_capacity(spec.packets);
        // Sequence numbers, in each direction, of each flow that had packets.
        let mut sequences = vec![None::<[u32; 2]>; spec.flows as usize];
        let (mut id, mut burst, mut ip_octets) = (spec.flows - 1, 0, 0);
        for _ in 0..spec.packets {
            match spec.order {
                Order::Sequential => id = (id + 1) % spec.flows,
                Order::Random => id = draw.below(spec.flows),
                Order::Burst if burst == 0 => {
                    id = draw.below(spec.flows);
                    burst = draw.below(32);
                }
                Order::Burst => burst -= 1,
            }
            let side = draw.below(2) as usize;
            let sequence = sequences.get_mut(id as usize).map(|s| &mut s.get_or_insert_default()[side]);
            ip_octets += push_frame(&mut arena, &spec, id, side, sequence.unwrap_or(&mut 0));
            ids.push(id);
        }
        let true_flows = sequences.iter().flatten().count();
        Self { spec, arena, ids, true_flows, ip_octets }
    }

    /// Number of packets.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.ids.len()
    }

    /// Number of flows that have packets.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.true_flows
    }

    /// Octets of all packets, as their IP headers say.
    #[must_use]
    pub fn ip_octets(&self) -> u64 {
        self.ip_octets
    }

    /// The flow, below [`TraceSpec::flows`], and the frame of each packet.
    pub fn frames(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.ids.iter().copied().zip(self.arena.chunks_exact(self.spec.size))
    }

    /// Hands over all packets in batches of up to [`BATCH`], as a source does. Time goes on from pass to pass; `begin` is
    /// seconds on top of it.
    pub fn replay(&self, pass: u64, begin: u64, visit: &mut dyn FnMut(&[Packet<'_>])) {
        /// Nanoseconds that a pass may take: two are shorter than the idle timeout.
        const SPAN: u64 = 10_000_000_000;
        let count = self.ids.len() as u64;
        let step = (SPAN / count.max(1)).clamp(1, 1_000);
        let mut ts = (1_700_000_000 + begin) * 1_000_000_000 + pass * count * step;
        let empty = Packet {
            data: &[],
            wire_octets: 0,
            ts: Timestamp::ZERO,
            interface: 0,
            link: LinkType::ETHERNET,
            merged: Merged::NOT,
        };
        let mut batch = [empty; BATCH];
        for frames in self.arena.chunks(BATCH * self.spec.size) {
            let mut filled = 0;
            for (packet, data) in batch.iter_mut().zip(frames.chunks_exact(self.spec.size)) {
                let wire_octets = u32::try_from(data.len()).unwrap_or(u32::MAX);
                *packet = Packet { data, wire_octets, ts: Timestamp::from_nanos(ts), ..empty };
                ts += step;
                filled += 1;
            }
            visit(batch.get(..filled).unwrap_or_default());
        }
    }
}

/// Appends the frame of a packet and gives the octets of the IP packet.
fn push_frame(arena: &mut Vec<u8>, spec: &TraceSpec, id: u32, side: usize, sequence: &mut u32) -> u64 {
    let is_tcp = id.is_multiple_of(2);
    let transport_octets = if is_tcp { TCP_OCTETS } else { UDP_OCTETS };
    let headers = ETHERNET_OCTETS + IP_OCTETS + transport_octets;
    let payload_octets = if spec.has_payload { spec.size - headers } else { 0 };
    // Bounded by MAX_FRAME.
    let octets = |octets: usize| u16::try_from(octets).unwrap_or(u16::MAX);
    let ip_octets = octets(IP_OCTETS + transport_octets + payload_octets);
    // A bijection of the identifiers: the address alone tells flows apart.
    let client = id.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let server = [192, 0, 2, client[3]];
    let client_port = 1024 + (id % 60_000) as u16;
    let (mut ends, mut ports) = ([client, server], [client_port, 443]);
    if side == 1 {
        ends.reverse();
        ports.reverse();
    }
    let end = arena.len() + spec.size;
    arena.extend([2; 12]);
    arena.extend([0x08, 0x00, 0x45, 0]);
    arena.extend(ip_octets.to_be_bytes());
    arena.extend([0, 0, 0x40, 0, 64, if is_tcp { protocol::TCP } else { protocol::UDP }, 0, 0]);
    arena.extend(ends.as_flattened());
    arena.extend(ports.map(u16::to_be_bytes).as_flattened());
    if is_tcp {
        arena.extend(sequence.to_be_bytes());
        arena.extend([0; 4]);
        arena.extend((0x5000 | ACK).to_be_bytes());
        arena.extend([0xff, 0xff, 0, 0, 0, 0]);
        *sequence = sequence.wrapping_add(u32::from(octets(payload_octets)));
    } else {
        arena.extend(octets(UDP_OCTETS + payload_octets).to_be_bytes());
        arena.extend([0, 0]);
    }
    arena.resize(end, 0xa5);
    u64::from(ip_octets)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SPEC: TraceSpec =
        TraceSpec { flows: 500, packets: 5_000, size: 100, has_payload: true, order: Order::Random, seed: 1 };

    #[test]
    fn the_same_seed_gives_the_same_trace_and_another_one_does_not() {
        assert_eq!(Trace::new(SPEC).arena, Trace::new(SPEC).arena);
        assert_ne!(Trace::new(SPEC).arena, Trace::new(TraceSpec { seed: 2, ..SPEC }).arena);
    }

    #[test]
    fn flows_are_as_many_as_pairs_of_addresses() {
        for order in [Order::Burst, Order::Random, Order::Sequential] {
            let trace = Trace::new(TraceSpec { order, ..SPEC });
            let pairs: HashSet<_> = trace
                .frames()
                .map(|(_, frame)| {
                    let mut ends = [frame[26..30].to_vec(), frame[30..34].to_vec()];
                    ends.sort();
                    ends
                })
                .collect();
            assert_eq!(trace.flows(), pairs.len(), "{order:?}");
            assert!(trace.packets() == 5_000 && trace.flows() > 100, "{order:?}");
        }
        assert_eq!(Trace::new(TraceSpec { order: Order::Sequential, ..SPEC }).flows(), 500);
    }

    #[test]
    fn time_goes_on_from_pass_to_pass_and_two_passes_are_shorter_than_the_idle_timeout() {
        let trace = Trace::new(SPEC);
        let mut times = Vec::new();
        for pass in 0..2 {
            trace.replay(pass, 0, &mut |batch| times.extend(batch.iter().map(|p| p.ts)));
        }
        assert_eq!(times.len(), 10_000);
        assert!(times.is_sorted_by(|a, b| a < b));
        assert!(times[9_999].since(times[0]).as_secs() < 30);
    }
}
