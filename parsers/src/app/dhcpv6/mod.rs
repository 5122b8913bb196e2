// SPDX-License-Identifier: MIT OR Apache-2.0
//! DHCPv6 (RFC 8415) over UDP, recognised by content.
//!
//! A message of a client and the answer of a server with the same identifier, in the same flow, are one transaction. Clients
//! speak to a group and servers answer from an address of their own, so that most messages stand alone. One that comes again
//! belongs to the same transaction. What relay agents pass on is read as if it came without them.
//!
//! - **Parsed**: type and identifier (section 8), the options of `weir_flow::app::Dhcpv6`, those within an association of addresses
//!   (sections 21.4 to 21.6) and within a relayed message (section 21.10).
//! - **Not parsed**: prefixes, other options, authentication.
//! - **Recognised** on any port: a type that exists, options that end with the datagram, among them an identifier of client or
//!   server with a kind that exists: one random datagram in 2^40; on ports 546 and 547 one without an identifier, too.
//! - **Bounds**: 16 open transactions, 64 options, 4 relay agents, 8 addresses.
//! - **Odd input**: an option whose length lies makes a datagram none on the first look, and ends the options later; eight
//!   datagrams in a row that are no messages end the flow.
//! - **Fields**: all of `weir_flow::app::Dhcpv6`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/dhcpv6/dhcpv6.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Dhcpv6;

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, dhcp, line};
use crate::Cursor;

/// Datagrams in a row that are no messages, after which the flow is given up.
const MAX_BAD: u8 = 8;

/// Most options of a message.
const MAX_OPTIONS: usize = 64;

/// Most relay agents on a message's way.
const MAX_RELAYS: usize = 4;

const ADVERTISE: u8 = 2;
const REPLY: u8 = 7;
const RECONFIGURE: u8 = 10;
const RELAY_FORWARD: u8 = 12;
const RELAY_REPLY: u8 = 13;
/// The last of the types that are in use: those of RFC 5007, RFC 5460, RFC 7341 and RFC 8156 behind them.
const LAST_TYPE: u8 = 36;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const ADDRESSES: u16 = 3;
const TEMPORARY_ADDRESSES: u16 = 4;
const ADDRESS: u16 = 5;
const ASKED_FOR: u16 = 6;
const RELAYED: u16 = 9;
const STATUS: u16 = 13;
const VENDOR_CLASS: u16 = 16;
const FQDN: u16 = 39;

/// Octets of a relay agent's message before its options: type, hops, two addresses.
const RELAY_HEADER: usize = 34;

/// Reads DHCPv6 messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Datagrams in a row that were no messages.
    bad: u8,
}

impl super::Parser for Parser {
    type Fields = Dhcpv6;
    /// A text that is being written.
    type Scratch = Vec<u8>;

    const IDENTITY: Identity = Identity {
        slug: "dhcpv6",
        transports: &[Transport::Datagram],
        port_hints: &[546, 547],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 16,
    };

    const BEGINS: &[Octets] = &[Octets::from(1..=LAST_TYPE)];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if !matches!(input.bytes.first(), Some(1..=LAST_TYPE)) || input.snapped {
            return Probe::No;
        }
        match Message::read(input.bytes) {
            Some(message) if message.is_walked() && (input.hinted || message.has_identifier()) => Probe::Yes,
            _ => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Dhcpv6>, scratch: &mut Vec<u8>) -> Step {
        match Message::read(input.bytes) {
            Some(message) => {
                self.bad = 0;
                message.file(transactions, scratch);
            }
            None => self.bad += 1,
        }
        if self.bad < MAX_BAD { Step::Consumed(input.bytes.len()) } else { Step::Reject }
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }
}

/// Options, to the end of the last whole one.
#[derive(Clone, Copy, Debug)]
struct Options<'a>(Cursor<'a>);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut c = self.0;
        let (code, len) = (c.u16()?, c.u16()?);
        let value = c.take(len.into())?;
        self.0 = c;
        Some((code, value))
    }
}

/// A message of a client or a server.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    kind: u8,
    id: u32,
    options: Options<'a>,
}

impl<'a> Message<'a> {
    /// Reads a message, out of those of relay agents; `None` if the octets are none.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = bytes;
        for _ in 0..=MAX_RELAYS {
            let mut c = Cursor::new(bytes);
            match c.u8()? {
                RELAY_FORWARD | RELAY_REPLY => {
                    let options = Options(Cursor::new(bytes.get(RELAY_HEADER..)?));
                    bytes = options.take(MAX_OPTIONS).find(|option| option.0 == RELAYED)?.1;
                }
                kind @ 1..=LAST_TYPE => return Some(Self { kind, id: c.u24()?, options: Options(c) }),
                _ => return None,
            }
        }
        None
    }

    /// Whether the options end where the message ends.
    fn is_walked(&self) -> bool {
        let mut options = self.options;
        options.by_ref().take(MAX_OPTIONS).for_each(drop);
        options.0.is_at_end()
    }

    /// Whether there is an identifier of a kind that exists (section 11): by time, by vendor, by address, by number.
    fn has_identifier(&self) -> bool {
        self.options.take(MAX_OPTIONS).any(|(code, value)| {
            matches!(code, CLIENT_ID | SERVER_ID) && (4..=130).contains(&value.len()) && matches!(value, [0, 1..=4, ..])
        })
    }

    /// Puts the message into its transaction.
    fn file(&self, transactions: &mut Transactions<Dhcpv6>, scratch: &mut Vec<u8>) {
        let is_answer = matches!(self.kind, ADVERTISE | REPLY | RECONFIGURE);
        let is_it = |d: &Dhcpv6| d.transaction_id == Some(self.id);
        let is_again = |d: &Dhcpv6| is_it(d) && d.message_type == Some(self.kind);
        let found = match is_answer {
            true => transactions.find_open(is_it).or_else(|| transactions.find_any(is_again)),
            false => transactions.find_open(is_again),
        };
        let index = found.unwrap_or_else(|| transactions.open().0);
        if let Some(fields) = transactions.fields_mut(index) {
            fields.message_type = Some(self.kind);
            fields.transaction_id = Some(self.id);
            self.options.take(MAX_OPTIONS).for_each(|option| write(option, fields, scratch));
        }
        if is_answer {
            transactions.complete(index);
        }
    }
}

fn write((code, value): (u16, &[u8]), fields: &mut Dhcpv6, scratch: &mut Vec<u8>) {
    let memory = &mut fields.memory;
    scratch.clear();
    match code {
        CLIENT_ID | SERVER_ID => {
            let text = if code == CLIENT_ID { &mut fields.client_duid } else { &mut fields.server_duid };
            if text.is_empty() {
                line::hexadecimal(value, scratch);
                text.set(scratch, memory);
            }
        }
        ASKED_FOR if fields.fingerprint.is_empty() => {
            for (i, number) in value.as_chunks::<2>().0.iter().enumerate() {
                if i > 0 {
                    scratch.push(b',');
                }
                line::decimal(u16::from_be_bytes(*number).into(), scratch);
            }
            fields.fingerprint.set(scratch, memory);
        }
        VENDOR_CLASS if fields.vendor_class.is_empty() => {
            let mut c = Cursor::new(value);
            let Some(enterprise) = c.u32() else { return };
            line::decimal(enterprise, scratch);
            if let Some(text) = c.u16().and_then(|len| c.take(len.into())) {
                scratch.push(b':');
                scratch.extend_from_slice(text);
            }
            fields.vendor_class.set(scratch, memory);
        }
        FQDN if fields.fqdn.is_empty() => {
            // Behind flags: in the form of DNS (RFC 4704 section 4.2).
            dhcp::write_name(value.get(1..).unwrap_or_default(), scratch);
            fields.fqdn.set(scratch, memory);
        }
        STATUS => write_status(value, fields),
        ADDRESSES => association(value.get(12..).unwrap_or_default(), fields),
        TEMPORARY_ADDRESSES => association(value.get(4..).unwrap_or_default(), fields),
        _ => {}
    }
}

fn write_status(value: &[u8], fields: &mut Dhcpv6) {
    let status = value.first_chunk().map(|code| u16::from_be_bytes(*code));
    fields.status = status.filter(|&status| status != 0).or(fields.status);
}

/// Addresses, or why there are none.
fn association(options: &[u8], fields: &mut Dhcpv6) {
    for (code, value) in Options(Cursor::new(options)).take(MAX_OPTIONS) {
        match code {
            ADDRESS => {
                value
                    .first_chunk()
                    .into_iter()
                    .for_each(|address| fields.address.push_new(*address, &mut fields.memory));
            }
            STATUS => write_status(value, fields),
            _ => {}
        }
    }
}
