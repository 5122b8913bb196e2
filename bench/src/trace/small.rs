// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets of 64 octets on the wire, of which 60 are captured: what asks most of a flow table.

use std::io;

use weir_flow::{FlowKey, protocol, tcp_flags::SYN};

use super::{
    Kind, Output, Spec, collision,
    draw::Draw,
    frame::{self, Side, Tcp},
};
use crate::truth::Flow;

const BURST: u32 = 16;
const ZIPF: f64 = 1.1;
/// Fills the frame to its least size; means nothing to any parser.
const PAYLOAD: [u8; 18] = [0x55; 18];
/// None of a protocol that a peer treats in a way of its own, as some do with port 53.
const UDP_PORTS: [u16; 8] = [443, 3478, 4500, 5004, 6881, 8801, 27_015, 51_820];

/// The key of a flow by its number: no two are the same, and neighbours in number have nothing to do with each other.
fn key(number: u32, protocol: u8) -> FlowKey {
    // A bijection of 24 bits makes the client's address, the rest is part of the server's.
    let [_, b, c, d] = number.wrapping_mul(0x9e_3779).to_be_bytes();
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let [high, ..] = number.to_be_bytes();
    let src_port = 1024 + u16::from_be_bytes([mixed[0], mixed[1]]) % 60_000;
    let dst_port = UDP_PORTS.get(usize::from(mixed[2] % 8)).copied().unwrap_or(443);
    FlowKey::new([10, b, c, d].into(), [198, 18, high, mixed[3]].into(), src_port, dst_port, protocol)
}

/// Datagrams in both directions. Gives how many flows were open at a time.
pub fn datagrams(spec: &Spec, out: &mut Output) -> io::Result<u64> {
    let mut draw = Draw::new(spec.seed);
    let mut flows: Vec<Flow> = match spec.kind {
        Kind::Collision => collision::keys(spec.flows).into_iter().map(Flow::new).collect(),
        _ => (0..spec.flows).map(|number| Flow::new(key(number, protocol::UDP))).collect(),
    };
    let mut frame = Vec::with_capacity(64);
    let (mut number, mut left) = (0, 0);
    for packet in 0..spec.packets {
        match spec.kind {
            Kind::Burst if left > 0 => left -= 1,
            Kind::Burst => (number, left) = (draw.below(spec.flows), BURST - 1),
            Kind::Zipf => number = zipf(&mut draw, spec.flows),
            _ => number = draw.below(spec.flows),
        }
        let side = if draw.any() & 1 == 0 { Side::Forward } else { Side::Reverse };
        let Some(flow) = flows.get_mut(number as usize) else { continue };
        if side == Side::Reverse && flow.packets() == 0 {
            // Who speaks first is the source.
            flow.key = flow.key.reversed();
        }
        let side = if flow.packets() == 0 { Side::Forward } else { side };
        let micros = spec.micros(packet);
        let octets = frame::build(&mut frame, number, &flow.key, side, None, [&PAYLOAD, &[]]);
        flow.count(side, octets, micros);
        out.pcap.frame(micros, &frame)?;
    }
    for flow in &flows {
        out.truth.flow(flow)?;
    }
    Ok(flows.iter().filter(|flow| flow.packets() > 0).count() as u64)
}

/// The number of a flow below `flows`: the continuous distribution of that power, cut down.
fn zipf(draw: &mut Draw, flows: u32) -> u32 {
    let most = f64::from(flows) + 1.0;
    let exponent = 1.0 - ZIPF;
    let rank = (1.0 - draw.fraction() * (1.0 - most.powf(exponent))).powf(1.0 / exponent);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and flows + 1")]
    let rank = rank as u32;
    rank.clamp(1, flows) - 1
}

/// Each packet opens a connection that nobody answers.
pub fn syn(spec: &Spec, out: &mut Output) -> io::Result<u64> {
    let mut draw = Draw::new(spec.seed);
    let mut frame = Vec::with_capacity(64);
    for packet in 0..spec.packets {
        let number = u32::try_from(packet).unwrap_or(u32::MAX);
        let mut flow = Flow::new(FlowKey { dst_port: 443, ..key(number, protocol::TCP) });
        let micros = spec.micros(packet);
        let tcp = Tcp { flags: SYN as u8, seq: draw.below(u32::MAX), ack: 0 };
        let octets = frame::build(&mut frame, number, &flow.key, Side::Forward, Some(tcp), [&[], &[]]);
        flow.count(Side::Forward, octets, micros);
        out.pcap.frame(micros, &frame)?;
        out.truth.flow(&flow)?;
    }
    Ok(spec.packets)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_different() {
        let numbers = (0..50_000).chain((1 << 24)..(1 << 24) + 50_000);
        let keys: HashSet<_> = numbers.map(|number| key(number, 17)).collect();
        assert_eq!(keys.len(), 100_000);
    }

    #[test]
    fn few_flows_have_most_packets_by_zipf() {
        let mut draw = Draw::new(1);
        let mut counts = vec![0_u32; 1000];
        for _ in 0..100_000 {
            counts[zipf(&mut draw, 1000) as usize] += 1;
        }
        assert!(counts[0] > 10 * counts[20] && counts[999] < 200, "{:?}", &counts[..21]);
        assert!(counts.iter().filter(|count| **count > 0).count() > 900);
    }
}
