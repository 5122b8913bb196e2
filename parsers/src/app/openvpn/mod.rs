// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenVPN (draft-openvpn-wire-protocol) over UDP and TCP, recognised by structure: the two packets that begin a tunnel.
//!
//! ```text
//!   operation and key (1)  session (8)  [tls-auth: HMAC, packet (4), time (4)]  acknowledged: n (1), n numbers (4 each),
//!                                       [their session (8) if n > 0]  number of this packet (4)
//!   operation and key (1)  session (8)  tls-crypt: packet (4), time (4), HMAC (32), the rest encrypted
//! ```
//!
//! A flow is one transaction, which begins with the server's answer: of a client that nobody answers there is nothing, not even the
//! name of the protocol. After the answer the flow costs nothing.
//!
//! - **Parsed**: resets of client and server, bare, under tls-auth with any digest, under tls-crypt; those with a key of the client
//!   (tls-crypt-v2). Over TCP each packet follows a length of two octets.
//! - **Not parsed**: what comes after: the handshake of TLS, data. Tunnels with a static key have no such beginning, and are not
//!   recognised; nor are those whose packets are disguised.
//! - **Recognised**: key 0, a length that fits exactly, packets numbered 0 in all places that can be read, the first in number under
//!   protection, a time between 2001 and 2068. Of random datagrams that begin a flow and have a fitting length, one in 2^46 is taken
//!   for a client's reset that is bare (5 octets of zero, 3 of 256 operations), one in 2^38 for one that is encrypted (1 or one other
//!   number of 4 octets, the operation, the time), one in 2^75 for one under tls-auth. The answer, from which on there are fields, must
//!   fit as well: name the client's session (one in 2^64 more), or, where it cannot be read, be of the same day and have a small number
//!   (one in 2^50 more).
//! - **Bounds**: 1200 octets of a packet; 8 packets without an answer end the flow.
//! - **Fields**: all of `weir_flow::app::Openvpn`.
//! - **Fixtures**: hand-made packets in `tests.rs`; `pcaps/openvpn/openvpn.pcap`.

mod packet;
#[cfg(test)]
mod tests;

use weir_flow::app::Openvpn;

use self::packet::{Protection, Reset};
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};

/// Packets without an answer, after which none is expected.
const MAX_UNANSWERED: u8 = 8;

/// Octets of the length before a packet over TCP.
const LENGTH: usize = 2;

/// Most octets of a packet that begins a tunnel: a key of the client is wrapped in at most a thousand.
const MAX_PACKET: usize = 1200;

/// Seconds by which two clocks may differ.
const MAX_APART: u32 = 24 * 3600;

/// Waits for the two packets of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// The client's packet, and its direction.
    client: Option<(Direction, Reset)>,
    unanswered: u8,
    /// The server has answered.
    is_certain: bool,
}

impl super::Parser for Parser {
    type Fields = Openvpn;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "openvpn",
        transports: &[Transport::Datagram, Transport::Stream],
        port_hints: &[1194],
        max_buffered: LENGTH + MAX_PACKET,
        max_inspected: 8 * MAX_PACKET as u32,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::from(0..=4).and(&[8, 0x38, 0x50])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if input.snapped {
            return Probe::No;
        }
        match input.transport {
            Transport::Datagram => match Reset::read(input.bytes) {
                Some(reset) if reset.is_of_client => Probe::Yes,
                _ => Probe::No,
            },
            Transport::Stream => {
                let Some((len, rest)) = split_length(input.bytes) else {
                    return if input.bytes.first().is_none_or(|&high| high < 5) { Probe::More } else { Probe::No };
                };
                if !(packet::LEAST..=MAX_PACKET).contains(&len) || rest.first().is_some_and(|&b| !packet::is_client(b))
                {
                    return Probe::No;
                }
                match rest.get(..len).map(Reset::read) {
                    None => Probe::More,
                    Some(reset) if reset.is_some_and(|reset| reset.is_of_client) => Probe::Yes,
                    Some(_) => Probe::No,
                }
            }
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Openvpn>, (): &mut ()) -> Step {
        let (packet, step) = match input.transport {
            Transport::Datagram => (input.bytes, Step::Consumed(input.bytes.len())),
            Transport::Stream => {
                let Some((len, rest)) = split_length(input.bytes) else { return Step::More };
                let Some(packet) = rest.get(..len.min(MAX_PACKET)) else { return Step::More };
                (packet, Step::Skip((LENGTH + len) as u64))
            }
        };
        self.unanswered += 1;
        match (Reset::read(packet), self.client) {
            (Some(reset), _) if reset.is_of_client => self.client = Some((input.direction, reset)),
            (Some(reset), Some((direction, client))) if direction != input.direction && reset.answers(&client) => {
                let (index, fields) = transactions.open();
                write(&client, &reset, fields);
                transactions.complete(index);
                self.is_certain = true;
                return Step::Done;
            }
            _ => {}
        }
        if self.unanswered < MAX_UNANSWERED { step } else { Step::Reject }
    }

    fn is_certain(&self) -> bool {
        self.is_certain
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Done
    }
}

fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*len)), rest))
}

fn write(client: &Reset, server: &Reset, fields: &mut Openvpn) {
    let protection: &[u8] = match (client.protection, client.has_key) {
        (Protection::None, _) => b"none",
        (Protection::Auth, _) => b"tls-auth",
        (Protection::Crypt, false) => b"tls-crypt",
        (Protection::Crypt, true) => b"tls-crypt-v2",
    };
    fields.confidence = Some(if client.protection == Protection::Crypt { 90 } else { 100 });
    fields.operation = Some(client.operation);
    fields.protection.set(protection);
    fields.client_session = Some(client.session);
    fields.server_session = Some(server.session);
}
