// SPDX-License-Identifier: MIT OR Apache-2.0
//! NetBIOS over UDP: its name service (RFC 1002 section 4.2) and its datagram service (section 4.4).
//!
//! A request about a name and its answer are one transaction, matched by identifier and name. Of the datagram service, each
//! datagram that says something else than the one before is one.
//!
//! - **Parsed**: of the name service the header, the name asked about, addresses of a name (section 4.2.1.3), names of a node
//!   (section 4.2.18); of the datagram service the header, the names of source and destination, errors.
//! - **Not parsed**: scopes, statistics of a node, authority records; what datagrams carry (mail slots of SMB); the session service,
//!   which is looked at with SMB.
//! - **Recognised** by content, the name service on port 137, where all of it is: the format is that of DNS, but the first name is
//!   one of 32 letters from A to P, and its type NB or NBSTAT. The datagram service on any port by its type, four flags that are
//!   zero, and one or two names of that kind; an error, which has none, on ports 137 and 138.
//! - **Bounds**: 16 open transactions, 16 addresses, 32 names.
//! - **Odd input**: a record that is cut gives what came before; a datagram that is no message is passed over, eight in a row end
//!   the flow.
//! - **Fields**: all of `weir_flow::app::Netbios`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/netbios/netbios.pcap`.

mod datagram;
#[cfg(test)]
mod tests;

use weir_flow::app::Netbios;

use self::datagram::Datagram;
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport};
use crate::Cursor;

/// Datagrams in a row that are no messages, after which the flow is given up.
const MAX_BAD: u8 = 8;

/// Octets of an encoded name.
const ENCODED: usize = 32;

/// Types of questions and records.
const NB: u16 = 0x20;
const NBSTAT: u16 = 0x21;
/// A record without data: no such name.
const NULL: u16 = 0x0a;
const CLASS_IN: u16 = 1;

/// Octets of a name of a node: 15 of the name, suffix, two of flags.
const NODE_NAME: usize = 18;

/// Reads the messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Datagrams in a row that were no messages.
    bad: u8,
}

impl super::Parser for Parser {
    type Fields = Netbios;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "netbios",
        transports: &[Transport::Datagram],
        port_hints: &[137, 138],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 16,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let is_datagram = || Datagram::read(input.bytes).is_some_and(|datagram| input.hinted || datagram.is_certain());
        let is_it = (input.hinted && Message::read(input.bytes).is_some()) || is_datagram();
        if is_it { Probe::Yes } else { Probe::No }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Netbios>, (): &mut ()) -> Step {
        self.bad += 1;
        if let Some(message) = Message::read(input.bytes) {
            self.bad = 0;
            message.file(transactions);
        } else if let Some(datagram) = Datagram::read(input.bytes) {
            self.bad = 0;
            datagram.file(transactions);
        }
        if self.bad < MAX_BAD { Step::Consumed(input.bytes.len()) } else { Step::Reject }
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }
}

/// A message, whose first question or record is read.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    id: u16,
    flags: u16,
    /// 15 octets, and the suffix.
    name: [u8; 16],
    /// What follows the first name, its type and its class.
    rest: Cursor<'a>,
    /// Whether that is the rest of a record.
    is_record: bool,
    kind: u16,
}

impl<'a> Message<'a> {
    /// Reads a message; `None` if the octets are none.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        let (id, flags) = (c.u16()?, c.u16()?);
        let [questions, answers, _, additional] = [c.u16()?, c.u16()?, c.u16()?, c.u16()?];
        if !matches!((questions, answers), (1, 0) | (0, 1)) || additional > 1 {
            return None;
        }
        let name = name(&mut c)?;
        let (kind, class) = (c.u16()?, c.u16()?);
        // Of a registration, the record is behind the question, and refers to its name.
        let is_it = matches!((kind, answers), (NB | NBSTAT, _) | (NULL, 1)) && class == CLASS_IN;
        let mut rest = c;
        if questions == 1 && additional == 1 {
            let is_pointer = rest.u16()? >> 14 == 3;
            let _kind_and_class = rest.u32()?;
            return (is_it && is_pointer).then_some(Self { id, flags, name, rest, is_record: true, kind });
        }
        is_it.then_some(Self { id, flags, name, rest, is_record: answers == 1, kind })
    }

    const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// The name without the spaces or zeros at its end.
    fn text(&self) -> &[u8] {
        text(self.name.get(..15).unwrap_or_default())
    }

    /// Puts the message into its transaction.
    fn file(&self, transactions: &mut Transactions<Netbios>) {
        let is_it = |n: &Netbios| n.transaction_id == Some(self.id) && n.name.as_bytes(&n.memory) == self.text();
        let found = match self.is_response() {
            true => transactions
                .find_open(is_it)
                .or_else(|| transactions.find_any(|n| is_it(n) && n.response_code.get().is_some())),
            // Asked again, as it is over broadcast.
            false => transactions.find_open(is_it),
        };
        let index = found.unwrap_or_else(|| transactions.open().0);
        if let Some(fields) = transactions.fields_mut(index) {
            self.write(fields);
        }
        if self.is_response() {
            transactions.complete(index);
        }
    }

    fn write(&self, fields: &mut Netbios) {
        let memory = &mut fields.memory;
        if fields.transaction_id.is_none() {
            fields.name.set(self.text(), memory);
            fields.suffix = self.name.last().copied();
            fields.transaction_id = Some(self.id);
            fields.opcode.set((self.flags >> 11 & 0x0f) as u8);
        }
        if self.is_response() {
            fields.response_code.set((self.flags & 0x0f) as u8);
        }
        let mut c = self.rest;
        if !self.is_record {
            return;
        }
        let (Some(_time_to_live), Some(len)) = (c.u32(), c.u16()) else { return };
        let Some(mut data) = c.sub(usize::from(len).min(c.remaining())) else { return };
        if self.kind == NBSTAT {
            let count = data.u8().unwrap_or(0);
            for _ in 0..count {
                let Some(name) = data.array::<NODE_NAME>() else { return };
                push_name(&name, fields);
            }
            return;
        }
        while let (Some(_flags), Some(address)) = (data.u16(), data.array()) {
            fields.address.push_new(address, memory);
        }
    }
}

/// What is in front of the spaces or zeros at the end.
fn text(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|octet| !matches!(octet, b' ' | 0)).map_or(0, |last| last + 1);
    name.get(..end).unwrap_or_default()
}

/// Appends a name of a node, with its suffix.
fn push_name(name: &[u8; NODE_NAME], fields: &mut Netbios) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let (name, [suffix, ..]) = name.split_at(15) else { return };
    let name = text(name);
    let mut out = [0; 19];
    let suffix = [b'<', DIGITS[usize::from(suffix >> 4)], DIGITS[usize::from(suffix & 0x0f)], b'>'];
    for (to, from) in out.iter_mut().zip(name.iter().chain(&suffix)) {
        *to = *from;
    }
    fields.names.push_new(out.get(..name.len() + 4).unwrap_or_default(), &mut fields.memory);
}

/// A name in the encoding of RFC 1001 section 14.1: a label of 32 letters, each half an octet, then labels of a scope.
fn name(c: &mut Cursor<'_>) -> Option<[u8; 16]> {
    if usize::from(c.u8()?) != ENCODED {
        return None;
    }
    let encoded = c.array::<ENCODED>()?;
    let mut name = [0; 16];
    for (octet, [high, low]) in name.iter_mut().zip(encoded.as_chunks::<2>().0) {
        if !(b'A'..=b'P').contains(high) || !(b'A'..=b'P').contains(low) {
            return None;
        }
        *octet = (high - b'A') << 4 | (low - b'A');
    }
    // No name has more labels than this.
    for _ in 0..127 {
        match c.u8()? {
            0 => return Some(name),
            len @ 1..=63 => _ = c.take(len.into())?,
            _ => return None,
        }
    }
    None
}
