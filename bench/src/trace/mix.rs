// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole conversations, many at a time: what a link at the edge of a network carries. About 706 octets for each frame and
//! 15 packets for each conversation; 80 % of conversations over TCP, 15 % over IPv6.

use std::io;

use weir_flow::{FlowKey, protocol};

use super::{
    Output, Spec,
    draw::Draw,
    frame::{self, Tcp},
    script::Script,
};
use crate::truth::Flow;

/// A conversation under way.
#[derive(Debug, Default)]
struct Open {
    number: u32,
    script: Script,
    next: usize,
    /// Where its octets without meaning begin in the pool.
    bulk_at: usize,
    flow: Flow,
}

/// Octets without meaning, from which payload is cut.
#[derive(Debug)]
struct Pools {
    random: Vec<u8>,
    text: Vec<u8>,
}

impl Pools {
    const OFFSETS: u32 = 1 << 15;

    fn new(draw: &mut Draw) -> Self {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let octets = Self::OFFSETS as usize + (1 << 11);
        let random: Vec<u8> = (0..octets / 8).flat_map(|_| draw.any().to_be_bytes()).collect();
        let letter = |octet: u8| LETTERS.get(usize::from(octet % 64)).copied().unwrap_or(b'A');
        // Lines of base64, as in a mail.
        let text = random.chunks_exact(76).flat_map(|l| l.iter().map(|o| letter(*o)).chain(*b"\r\n")).collect();
        Self { random, text }
    }

    fn cut(&self, is_text: bool, at: usize, octets: u16) -> &[u8] {
        let pool = if is_text { &self.text } else { &self.random };
        pool.get(at..at + usize::from(octets)).unwrap_or_default()
    }
}

/// Writes the trace. Gives how many flows were open at a time.
pub fn write(spec: &Spec, out: &mut Output) -> io::Result<u64> {
    let mut draw = Draw::new(spec.seed);
    let pools = Pools::new(&mut draw);
    let mut frame = Vec::with_capacity(2048);
    let (mut planned, mut number) = (0, 0);
    let mut begin = |open: &mut Open, draw: &mut Draw| {
        if planned >= spec.packets {
            return false;
        }
        open.script.rewrite(draw);
        planned += open.script.steps.len() as u64;
        (open.number, open.next) = (number, 0);
        open.bulk_at = draw.below(Pools::OFFSETS) as usize;
        open.flow = Flow::new(key(number, &open.script, draw));
        number += 1;
        true
    };
    let mut open = Vec::new();
    for _ in 0..spec.flows {
        let mut fresh = Open::default();
        if begin(&mut fresh, &mut draw) {
            open.push(fresh);
        }
    }
    let most = open.len() as u64;
    let mut packet = 0;
    while !open.is_empty() {
        let at = draw.below(u32::try_from(open.len()).unwrap_or(u32::MAX)) as usize;
        let Some(conversation) = open.get_mut(at) else { break };
        conversation.play(&pools, &mut frame, spec.micros(packet), out)?;
        packet += 1;
        if conversation.next == conversation.script.steps.len() {
            conversation.close(out)?;
            if !begin(conversation, &mut draw) {
                open.swap_remove(at);
            }
        }
    }
    Ok(most)
}

impl Open {
    /// Writes the next packet.
    fn play(&mut self, pools: &Pools, frame: &mut Vec<u8>, micros: u64, out: &mut Output) -> io::Result<()> {
        let Some(step) = self.script.steps.get(self.next) else { return Ok(()) };
        let head_at = step.head_at as usize;
        let head = self.script.text.get(head_at..head_at + usize::from(step.head)).unwrap_or_default();
        let bulk = pools.cut(self.script.is_text, self.bulk_at, step.bulk);
        let tcp = self.script.is_tcp.then_some(Tcp { flags: step.flags, seq: step.seq, ack: step.ack });
        let octets = frame::build(frame, self.number, &self.flow.key, step.side, tcp, [head, bulk]);
        self.flow.count(step.side, octets, micros);
        self.next += 1;
        out.pcap.frame(micros, frame)
    }

    fn close(&self, out: &mut Output) -> io::Result<()> {
        let flow = out.truth.flow(&self.flow)?;
        for (protocol, identity) in &self.script.identities {
            out.truth.message(flow, protocol, identity)?;
        }
        Ok(())
    }
}

/// The key of a conversation by its number: no two are the same.
fn key(number: u32, script: &Script, draw: &mut Draw) -> FlowKey {
    let protocol = if script.is_tcp { protocol::TCP } else { protocol::UDP };
    let src_port = 32_768 + u16::try_from(draw.below(28_000)).unwrap_or(0);
    // A bijection of 24 bits makes the client's address.
    let [high, ..] = number.to_be_bytes();
    let [_, b, c, d] = number.wrapping_mul(0x9e_3779).to_be_bytes();
    let server = draw.below(1 << 12).to_be_bytes();
    if draw.chance(150) {
        let end = |net, [x, y, z, w]: [u8; 4]| {
            let mut address = [0x20, 0x01, 0x0d, 0xb8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            if let Some(last) = address.last_chunk_mut() {
                *last = [x, y, z, w];
            }
            address
        };
        return FlowKey::new(end(1, [high, b, c, d]).into(), end(2, server).into(), src_port, script.port, protocol);
    }
    FlowKey::new(
        [10, b, c, d].into(),
        [198, 18 + (high & 1), server[2] << 4 | high >> 1, server[3]].into(),
        src_port,
        script.port,
        protocol,
    )
}
