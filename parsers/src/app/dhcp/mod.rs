// SPDX-License-Identifier: MIT OR Apache-2.0
//! DHCP (RFC 2131, RFC 2132) over UDP, recognised by content.
//!
//! A message of a client and the answer of a server with the same identifier, in the same flow, are one transaction; its
//! fields are those of both. Most conversations begin with addresses that both sides change, so that request and answer are
//! in two flows: then each stands alone. A request that comes again belongs to the same transaction, and so does a second
//! answer, unless another transaction began since.
//!
//! - **Parsed**: the header (RFC 2131 section 2), the options of `weir_flow::app::Dhcp`, in `options`, `file` and `sname`
//!   where option 52 says so; of an option that is there twice (RFC 3396) the first. A name of option 81 (RFC 4702) in either
//!   encoding.
//! - **Not parsed**: BOOTP without a message type, other options, relay agent information (RFC 3046), authentication.
//! - **Recognised** on any port: 240 octets at least, `op` 1 or 2, a hardware type and length that exist, the magic cookie,
//!   and as an option a message type that fits to `op`. So few as one random datagram in 2^50 passes for one.
//! - **Bounds**: 16 open transactions, 255 octets of an option; a datagram is walked once.
//! - **Odd input**: an option whose length lies ends the options; a datagram that is no message is passed over, eight in a
//!   row end the flow.
//! - **Fields**: all of `weir_flow::app::Dhcp`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/dhcp/dhcp.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Dhcp;

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, line};
use crate::Cursor;

/// Datagrams in a row that are no messages, after which the flow is given up.
const MAX_BAD: u8 = 8;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

const PAD: u8 = 0;
const HOST_NAME: u8 = 12;
const DOMAIN_NAME: u8 = 15;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const SERVER_ADDRESS: u8 = 54;
const PARAMETERS: u8 = 55;
const MESSAGE: u8 = 56;
const VENDOR_CLASS: u8 = 60;
const CLIENT_ID: u8 = 61;
const FQDN: u8 = 81;
const END: u8 = 255;

/// Reads DHCP messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Datagrams in a row that were no messages.
    bad: u8,
}

impl super::Parser for Parser {
    type Fields = Dhcp;
    /// A text that is being written.
    type Scratch = Vec<u8>;

    const IDENTITY: Identity = Identity {
        slug: "dhcp",
        transports: &[Transport::Datagram],
        port_hints: &[67, 68, 4011],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 16,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[REQUEST, REPLY])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        // Most datagrams that are none end here.
        if !matches!(input.bytes.first(), Some(&(REQUEST | REPLY))) {
            return Probe::No;
        }
        if Message::read(input.bytes).is_some() { Probe::Yes } else { Probe::No }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Dhcp>, scratch: &mut Vec<u8>) -> Step {
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

/// A message that has a type.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    is_reply: bool,
    kind: u8,
    mac: Option<[u8; 6]>,
    id: u32,
    client: [u8; 4],
    offered: [u8; 4],
    relay: [u8; 4],
    areas: Areas<'a>,
}

/// Where options are: after the cookie, and where option 52 says so in `file` and `sname`, in that order (RFC 2131 section
/// 4.1).
#[derive(Clone, Copy, Debug)]
struct Areas<'a> {
    options: &'a [u8],
    file: &'a [u8],
    name: &'a [u8],
}

impl<'a> Areas<'a> {
    fn options(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let find = |code| Options(self.options).find(|option| option.0 == code);
        let overload = find(OVERLOAD).and_then(|option| option.1.first().copied()).unwrap_or(0);
        let in_file = if overload & 1 != 0 { self.file } else { &[] };
        let in_name = if overload & 2 != 0 { self.name } else { &[] };
        Options(self.options).chain(Options(in_file)).chain(Options(in_name))
    }
}

/// The options of an area, to the end of the last whole one.
#[derive(Clone, Copy, Debug)]
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut c = Cursor::new(self.0);
        let mut code = c.u8()?;
        while code == PAD {
            code = c.u8()?;
        }
        if code == END {
            self.0 = &[];
            return None;
        }
        let len = c.u8()?;
        let value = c.take(len.into())?;
        self.0 = c.rest();
        Some((code, value))
    }
}

impl<'a> Message<'a> {
    /// Reads a message; `None` if the octets are none.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        let [op, hardware, len, hops] = c.array()?;
        if !matches!(op, REQUEST | REPLY) || hardware == 0 || len > 16 || hops > 16 {
            return None;
        }
        let id = c.u32()?;
        let _seconds_and_flags = c.u32()?;
        let (client, offered, _next, relay) = (c.array()?, c.array()?, c.u32()?, c.array()?);
        let address = c.array::<16>()?;
        let (name, file) = (c.take(64)?, c.take(128)?);
        if c.array()? != COOKIE {
            return None;
        }
        let areas = Areas { options: c.rest(), file, name };
        let kind = areas
            .options()
            .find(|option| option.0 == MESSAGE_TYPE)
            .and_then(|option| <[u8; 1]>::try_from(option.1).ok());
        let [kind] = kind?;
        // OFFER, ACK, NAK of RFC 2131; 10 to 18 of RFC 4388, 6926, 7724, which servers send with REPLY as well.
        let is_reply = op == REPLY;
        let fits = match kind {
            2 | 5 | 6 => is_reply,
            1 | 3 | 4 | 7 | 8 => !is_reply,
            9..=18 => true,
            _ => false,
        };
        let mac = (hardware == ETHERNET && len == 6).then(|| address.first_chunk::<6>().copied()).flatten();
        fits.then_some(Self { is_reply, kind, mac, id, client, offered, relay, areas })
    }

    /// Puts the message into its transaction.
    fn file(&self, transactions: &mut Transactions<Dhcp>, scratch: &mut Vec<u8>) {
        let is_it = |d: &Dhcp| d.transaction_id == Some(self.id);
        let found = if self.is_reply {
            let is_again = |d: &Dhcp| is_it(d) && d.message_type == Some(self.kind);
            transactions.find_open(is_it).or_else(|| transactions.find_any(is_again))
        } else {
            transactions.find_open(|d| is_it(d) && d.message_type == Some(self.kind))
        };
        let index = found.unwrap_or_else(|| transactions.open().0);
        if let Some(fields) = transactions.fields_mut(index) {
            self.write(fields, scratch);
        }
        if self.is_reply {
            transactions.complete(index);
        }
    }

    fn write(&self, fields: &mut Dhcp, scratch: &mut Vec<u8>) {
        let known = |address: [u8; 4]| (address != [0; 4]).then_some(address);
        fields.message_type = Some(self.kind);
        fields.transaction_id = Some(self.id);
        if let Some(mac) = self.mac {
            fields.client_mac.set(&mac);
        }
        fields.client_address = fields.client_address.or(known(self.client));
        fields.relay_address = fields.relay_address.or(known(self.relay));
        fields.offered_address = known(self.offered).or(fields.offered_address);
        for (code, value) in self.areas.options() {
            write_option(code, value, fields, scratch);
        }
    }
}

/// Writes an option, unless it is there already: the client's word before the server's.
fn write_option(code: u8, value: &[u8], fields: &mut Dhcp, scratch: &mut Vec<u8>) {
    let memory = &mut fields.memory;
    let text = match code {
        HOST_NAME => &mut fields.host_name,
        DOMAIN_NAME => &mut fields.domain_name,
        MESSAGE => &mut fields.message,
        VENDOR_CLASS => &mut fields.vendor_class,
        FQDN if fields.fqdn.is_empty() => {
            write_fqdn(value, scratch);
            fields.fqdn.set(scratch, memory);
            return;
        }
        CLIENT_ID if fields.client_id.is_empty() => {
            scratch.clear();
            line::hexadecimal(value, scratch);
            fields.client_id.set(scratch, memory);
            return;
        }
        PARAMETERS if fields.fingerprint.is_empty() => {
            scratch.clear();
            for (i, &number) in value.iter().enumerate() {
                if i > 0 {
                    scratch.push(b',');
                }
                line::decimal(number.into(), scratch);
            }
            fields.fingerprint.set(scratch, memory);
            return;
        }
        REQUESTED_ADDRESS => return fields.requested_address = fields.requested_address.or(value.try_into().ok()),
        SERVER_ADDRESS => return fields.server_address = value.try_into().ok().or(fields.server_address),
        // The server's word before the client's wish.
        LEASE_TIME => return fields.lease_time = value.try_into().ok().map(u32::from_be_bytes).or(fields.lease_time),
        _ => return,
    };
    if text.is_empty() {
        // Some end texts with a zero, which is none of theirs (RFC 2132 section 2).
        let end = value.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        text.set(value.get(..end).unwrap_or(value), memory);
    }
}

/// Writes the name of option 81 (RFC 4702 section 2): behind flags and two octets without meaning, in the form of DNS where a
/// flag says so, else as text.
fn write_fqdn(value: &[u8], out: &mut Vec<u8>) {
    const ENCODED: u8 = 0x04;
    out.clear();
    let Some(([flags, _, _], name)) = value.split_first_chunk() else { return };
    if flags & ENCODED == 0 {
        out.extend_from_slice(name);
        return;
    }
    write_name(name, out);
}

/// Appends a name in the form of DNS, without compression, to the end of its last whole label.
pub(super) fn write_name(name: &[u8], out: &mut Vec<u8>) {
    let mut c = Cursor::new(name);
    let start = out.len();
    while let Some(len) = c.u8().filter(|len| (1..64).contains(len)) {
        let Some(label) = c.take(len.into()) else { break };
        if out.len() > start {
            out.push(b'.');
        }
        out.extend_from_slice(label);
    }
}
