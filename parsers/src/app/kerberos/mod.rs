// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kerberos 5 (RFC 4120) over UDP and over TCP (section 7.2.2), recognised by content.
//!
//! A request (AS-REQ, TGS-REQ) and the answer that follows it (AS-REP, TGS-REP, KRB-ERROR) are one transaction; answers do
//! not say what they answer, so each is that of the oldest request. A request that comes again unanswered, octet for octet
//! as long, belongs to the same transaction over UDP.
//!
//! - **Parsed**: of requests the body (section 5.4.1): client, realm, service, encryption types; of answers (section 5.4.2)
//!   client and its realm, the ticket's service and encryption type; of errors (section 5.9.1) all names, code and text.
//! - **Not parsed**: preauthentication, anything encrypted, messages between clients and services (AP-REQ and others), changes
//!   of passwords, Kerberos 4.
//! - **Recognised** on any port: the tags of the message, its sequence, the version 5 and the message's type, twelve octets at
//!   least, with lengths that agree: one random datagram in 2^80 at most.
//! - **Bounds**: 32 KiB of a message (one that is longer gives what its first part says), 16 open requests, 8 parts of a name,
//!   32 encryption types.
//! - **Odd input**: what is cut or lies about a length gives what came before. Over TCP a message with a bad length ends the
//!   flow, and so do missing octets.
//! - **Fields**: all of `weir_flow::app::Kerberos`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/kerberos/kerberos.pcap`.

mod message;
#[cfg(test)]
mod tests;

use weir_flow::app::Kerberos;

use self::message::Message;
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};

/// Octets of the length before a message over TCP.
const LENGTH: usize = 4;

/// Most octets of a message that are looked at.
const MAX_MESSAGE: usize = 32 * 1024;

/// Most octets of a message over TCP: a ticket with everything in it is far below.
const MAX_DECLARED: usize = 1 << 20;

/// Datagrams in a row that are no messages, after which the flow is given up.
const MAX_BAD: u8 = 8;

/// Reads the messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Messages in a row that were none.
    bad: u8,
    /// Octets of the last request.
    request_len: u32,
}

impl super::Parser for Parser {
    type Fields = Kerberos;
    /// A text that is being written.
    type Scratch = Vec<u8>;

    const IDENTITY: Identity = Identity {
        slug: "kerberos",
        transports: &[Transport::Datagram, Transport::Stream],
        port_hints: &[88],
        max_buffered: LENGTH + MAX_MESSAGE,
        max_inspected: u32::MAX,
        max_open: 16,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[0, 0x6a, 0x6b, 0x6c, 0x6d, 0x7e])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match input.transport {
            Transport::Datagram => match message::begins(input.bytes, input.bytes.len()) {
                Probe::More => Probe::No,
                told => told,
            },
            Transport::Stream => {
                // No message is so long that the first octet of its length is not zero.
                if input.bytes.first() != Some(&0) {
                    return Probe::No;
                }
                match split_length(input.bytes) {
                    None => Probe::More,
                    Some((len, _)) if !(message::LEAST..=MAX_DECLARED).contains(&len) => Probe::No,
                    Some((len, rest)) => message::begins(rest, len),
                }
            }
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Kerberos>, scratch: &mut Vec<u8>) -> Step {
        if input.transport == Transport::Datagram {
            self.message(input.bytes, input.bytes.len(), true, transactions, scratch);
            return if self.bad < MAX_BAD { Step::Consumed(input.bytes.len()) } else { Step::Reject };
        }
        let Some((len, rest)) = split_length(input.bytes) else { return Step::More };
        if len > MAX_DECLARED {
            return Step::Reject;
        }
        let wanted = len.min(MAX_MESSAGE);
        if rest.len() < wanted && !input.snapped {
            return Step::More;
        }
        self.message(rest.get(..wanted).unwrap_or(rest), len, false, transactions, scratch);
        if self.bad < MAX_BAD { Step::Skip((LENGTH + len) as u64) } else { Step::Reject }
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        // Nothing marks the beginning of a message but the length of the one before.
        AfterGap::Done
    }
}

/// The length before a message over TCP, and what follows it.
fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX), rest))
}

impl Parser {
    /// Takes a message, of which `bytes` are the first of `len`.
    fn message(
        &mut self,
        bytes: &[u8],
        len: usize,
        may_come_again: bool,
        transactions: &mut Transactions<Kerberos>,
        scratch: &mut Vec<u8>,
    ) {
        let Some(message) = Message::read(bytes) else {
            self.bad += 1;
            return;
        };
        self.bad = 0;
        let index = if message.is_request() {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            let is_again = may_come_again && std::mem::replace(&mut self.request_len, len) == len;
            transactions.oldest_open().filter(|_| is_again)
        } else {
            transactions.oldest_open()
        };
        let index = index.unwrap_or_else(|| transactions.open().0);
        if let Some(fields) = transactions.fields_mut(index) {
            message.write(fields, scratch);
        }
        if !message.is_request() {
            transactions.complete(index);
        }
    }
}
