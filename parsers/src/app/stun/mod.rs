// SPDX-License-Identifier: MIT OR Apache-2.0
//! STUN (RFC 8489), and with it what goes the same way (ICE, RFC 8445; TURN, RFC 8656), over UDP, recognised by content.
//!
//! One transaction is all that is seen of a flow until the record is closed, by the active timeout, the flow's end, or another
//! protocol on the same path: checks of ICE come by the dozen and say the same. What is said twice is written once.
//!
//! - **Recognised** by the cookie, the first two bits and the length; on the ports 3478, 19302 and 19305 also without the cookie,
//!   as of RFC 3489, if it is a binding message and its attributes fill it.
//! - **Parsed**: types of messages, SOFTWARE, USERNAME, REALM, XOR-MAPPED-ADDRESS, MAPPED-ADDRESS, ERROR-CODE.
//! - **Not parsed**: integrity, nonces and tickets; relayed and peer addresses and data of TURN; TCP.
//! - **What follows**: media that begin on the same path (RFC 7983 section 7) are recognised anew, as is DTLS if it is
//!   read over UDP.
//! - **Bounds**: 64 attributes of a message; 16 types, 4 addresses.
//! - **Odd input**: a datagram that is none of these is passed over; 64 in a row end the flow.
//! - **Fields**: all of `weir_flow::app::Stun`.
//! - **Fixtures**: hand-made messages and those of RFC 5769 in `tests.rs`.

mod message;
#[cfg(test)]
mod tests;

use weir_flow::app::Stun;

use self::message::Message;
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};

/// Datagrams in a row that are nothing that belongs to STUN, after which the flow is given up.
const MAX_STRAYS: u8 = 64;

/// Whether DTLS over UDP is read, so that it is to be recognised anew.
const HAS_DTLS: bool = {
    let transports = <super::tls::Parser as super::Parser>::IDENTITY.transports;
    let mut index = 0;
    let mut has = false;
    while index < transports.len() {
        has |= matches!(transports[index], Transport::Datagram);
        index += 1;
    }
    has
};

/// State of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    strays: u8,
}

impl super::Parser for Parser {
    type Fields = Stun;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "stun",
        transports: &[Transport::Datagram],
        port_hints: &[3478, 19302, 19305],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::from(0..=0x3f)];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match Message::read(input.bytes, input.snapped, input.hinted) {
            Some(_) => Probe::Yes,
            None => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Stun>, (): &mut ()) -> Step {
        let Input { bytes, snapped, hinted, .. } = input;
        if let Some(message) = Message::read(bytes, snapped, hinted) {
            self.strays = 0;
            write(&message, transactions);
        } else if bytes.first().is_some_and(|&first| is_followed(first, bytes.len())) {
            return Step::Handover(0);
        } else if !matches!(bytes, [64..=79, ..]) && bytes.len() > super::KEEP_ALIVE {
            self.strays = self.strays.saturating_add(1);
        }
        if self.strays < MAX_STRAYS { Step::Consumed(bytes.len().max(1)) } else { Step::Reject }
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }
}

/// Whether another protocol begins, by its first octet: RTP or ZRTP, and DTLS.
const fn is_followed(first: u8, octets: usize) -> bool {
    octets > super::KEEP_ALIVE && (matches!(first, 128..=191 | 16..=19) || (HAS_DTLS && matches!(first, 20..=63)))
}

/// Puts a message into the transaction of the time.
fn write(message: &Message<'_>, transactions: &mut Transactions<Stun>) {
    let index = transactions.find_any(|_| true).unwrap_or_else(|| {
        let (index, _) = transactions.open();
        transactions.complete(index);
        index
    });
    if let Some(stun) = transactions.fields_mut(index) {
        message.write(stun);
    }
}
