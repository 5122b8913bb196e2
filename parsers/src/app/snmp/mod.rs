// SPDX-License-Identifier: MIT OR Apache-2.0
//! SNMP 1 (RFC 1157), 2c (RFC 1901, RFC 3416) and 3 (RFC 3412, RFC 3414) over UDP, recognised by content.
//!
//! A request and its response are one transaction, matched by identifier; notifications stand alone. A request that comes
//! again belongs to the same transaction.
//!
//! - **Parsed**: version, kind, identifiers, error status, names of variables; of version 3 engine and user; of traps of version 1
//!   the enterprise.
//! - **Not parsed**: communities, but for whether there is one, since they are passwords; values; what is encrypted;
//!   authentication; SNMP over TCP, TLS or DTLS.
//! - **Recognised** on any port: a sequence that is the datagram, a version that exists, then a community and a kind of message that
//!   exists and ends with the datagram, or the header of version 3 and its parts. One random datagram in 2^50 at most.
//! - **Bounds**: 16 open requests, 8 object identifiers of 128 characters.
//! - **Odd input**: what is cut or lies within gives what came before; a datagram that is no message is passed over, eight in a row end
//!   the flow.
//! - **Fields**: all of `weir_flow::app::Snmp`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/snmp/snmp.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Snmp;

use super::{
    AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport,
    ber::{self, Begins},
};
use crate::Cursor;

/// Datagrams in a row that are no messages, after which the flow is given up.
const MAX_BAD: u8 = 8;

/// Tag of the first kind of message.
const FIRST_KIND: u8 = 0xa0;
const RESPONSE: u8 = 2;
const TRAP_V1: u8 = 4;
const TRAP: u8 = 7;
const REPORT: u8 = 8;

/// Most object identifiers of a message that are written.
const MAX_OBJECTS: usize = 8;

/// Reads the messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Datagrams in a row that were no messages.
    bad: u8,
}

impl super::Parser for Parser {
    type Fields = Snmp;
    /// A text that is being written.
    type Scratch = Vec<u8>;

    const IDENTITY: Identity = Identity {
        slug: "snmp",
        transports: &[Transport::Datagram],
        port_hints: &[161, 162],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 16,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[ber::SEQUENCE])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if input.bytes.first() == Some(&ber::SEQUENCE) && Message::read(input.bytes, input.snapped).is_some() {
            Probe::Yes
        } else {
            Probe::No
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Snmp>, scratch: &mut Vec<u8>) -> Step {
        match Message::read(input.bytes, input.snapped) {
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

/// A message.
#[derive(Clone, Copy, Debug, Default)]
struct Message<'a> {
    version: u8,
    has_community: bool,
    /// Unset where it is encrypted.
    kind: Option<u8>,
    id: u32,
    engine: &'a [u8],
    user: &'a [u8],
    /// What follows the tag of the kind.
    pdu: Option<Cursor<'a>>,
}

/// Header of a value with others inside, and what of it is there.
fn inside<'a>(c: &mut Cursor<'a>, tag: u8, may_be_cut: bool) -> Option<Cursor<'a>> {
    let Begins::With(header) = ber::begins(c.rest()) else { return None };
    c.take(header.own).filter(|_| header.tag == tag)?;
    let is_there = header.len <= c.remaining() || may_be_cut;
    c.sub(header.len.min(c.remaining())).filter(|_| is_there)
}

impl<'a> Message<'a> {
    /// Reads a message; `None` if the octets are none.
    fn read(bytes: &'a [u8], snapped: bool) -> Option<Self> {
        let mut outer = Cursor::new(bytes);
        let mut c = inside(&mut outer, ber::SEQUENCE, snapped)?;
        if !outer.is_at_end() {
            return None;
        }
        match ber::expect(&mut c, ber::INTEGER)? {
            [version @ 0..=1] => {
                let community = ber::expect(&mut c, ber::OCTET_STRING)?;
                let message = Self { version: version + 1, has_community: !community.is_empty(), ..Self::default() };
                message.read_pdu(c, snapped)
            }
            [3] => Self { version: 3, ..Self::default() }.read_third(c, snapped),
            _ => None,
        }
    }

    /// What follows the version, of the third (RFC 3412 section 6).
    fn read_third(mut self, mut c: Cursor<'a>, snapped: bool) -> Option<Self> {
        const USER_BASED: u32 = 3;
        let mut header = inside(&mut c, ber::SEQUENCE, snapped)?;
        let number = |c: &mut Cursor<'_>| ber::expect(c, ber::INTEGER).and_then(ber::unsigned);
        self.id = number(&mut header)?;
        let _most_octets = number(&mut header)?;
        let [flags] = *ber::expect(&mut header, ber::OCTET_STRING)? else { return None };
        let model = number(&mut header)?;
        let security = ber::expect(&mut c, ber::OCTET_STRING)?;
        if model == USER_BASED {
            let mut c = inside(&mut Cursor::new(security), ber::SEQUENCE, false)?;
            self.engine = ber::expect(&mut c, ber::OCTET_STRING)?;
            let _boots_and_time = (number(&mut c)?, number(&mut c)?);
            self.user = ber::expect(&mut c, ber::OCTET_STRING)?;
        }
        let is_encrypted = flags & 2 != 0;
        if is_encrypted {
            return (c.rest().first() == Some(&ber::OCTET_STRING)).then_some(self);
        }
        let mut scoped = inside(&mut c, ber::SEQUENCE, snapped)?;
        let engine = ber::expect(&mut scoped, ber::OCTET_STRING)?;
        if self.engine.is_empty() {
            self.engine = engine;
        }
        let _context = ber::expect(&mut scoped, ber::OCTET_STRING)?;
        let id = self.id;
        let read = self.read_pdu(scoped, snapped)?;
        Some(Self { id, ..read })
    }

    /// The message itself: kind, and identifier where there is one.
    fn read_pdu(mut self, mut c: Cursor<'a>, snapped: bool) -> Option<Self> {
        let kind = c.rest().first()?.checked_sub(FIRST_KIND).filter(|&kind| kind <= REPORT)?;
        let mut pdu = inside(&mut c, FIRST_KIND + kind, snapped)?;
        if !c.is_at_end() || (kind == TRAP_V1) != (kind == TRAP_V1 && self.version == 1) {
            return None;
        }
        if kind != TRAP_V1 {
            let id = ber::expect(&mut pdu, ber::INTEGER).filter(|id| (1..=5).contains(&id.len()))?;
            self.id = id.iter().fold(0, |number, &octet| number << 8 | u32::from(octet));
        } else if pdu.rest().first() != Some(&ber::OBJECT_IDENTIFIER) {
            return None;
        }
        self.kind = Some(kind);
        self.pdu = Some(pdu);
        Some(self)
    }

    /// Puts the message into its transaction.
    fn file(&self, transactions: &mut Transactions<Snmp>, scratch: &mut Vec<u8>) {
        let is_it = |s: &Snmp| s.request_id == Some(self.id) && s.version == Some(self.version);
        // An encrypted message does not say its kind: the second with an identifier answers the first.
        let (is_answer, is_alone) = match self.kind {
            None => (true, false),
            Some(kind) => (matches!(kind, RESPONSE | REPORT), matches!(kind, TRAP_V1 | TRAP)),
        };
        let found = if is_alone { None } else { transactions.find_open(is_it) };
        let index = found.unwrap_or_else(|| transactions.open().0);
        if let Some(fields) = transactions.fields_mut(index) {
            self.write(fields, scratch);
        }
        if is_alone || (is_answer && (found.is_some() || self.kind.is_some())) {
            transactions.complete(index);
        }
    }

    fn write(&self, fields: &mut Snmp, scratch: &mut Vec<u8>) {
        let is_first = fields.version.is_none();
        fields.version = Some(self.version);
        if self.has_community {
            fields.has_community = Some(1);
        }
        if !self.user.is_empty() {
            fields.user.set(self.user, &mut fields.memory);
        }
        if !self.engine.is_empty() {
            fields.engine_id.set(self.engine);
        }
        if is_first {
            fields.pdu_type = self.kind;
        }
        if self.kind != Some(TRAP_V1) {
            fields.request_id = Some(self.id);
        }
        let Some(mut c) = self.pdu else { return };
        if self.kind == Some(TRAP_V1) {
            scratch.clear();
            ber::expect(&mut c, ber::OBJECT_IDENTIFIER).into_iter().for_each(|oid| ber::write_oid(oid, scratch));
            fields.enterprise.set(scratch, &mut fields.memory);
            // Address of the agent, generic and specific trap, time.
            (0..4).for_each(|_| _ = ber::next(&mut c));
        } else {
            let status = ber::expect(&mut c, ber::INTEGER).and_then(ber::unsigned);
            if self.kind == Some(RESPONSE) {
                fields.error_status = status.and_then(|status| status.try_into().ok());
            }
            ber::expect(&mut c, ber::INTEGER);
        }
        if is_first {
            write_objects(c, fields, scratch);
        }
    }
}

/// Writes the names of a list of variables.
fn write_objects(mut c: Cursor<'_>, fields: &mut Snmp, scratch: &mut Vec<u8>) {
    let Some(mut list) = inside(&mut c, ber::SEQUENCE, true) else { return };
    for _ in 0..MAX_OBJECTS {
        let Some(mut variable) = inside(&mut list, ber::SEQUENCE, true) else { return };
        let Some(oid) = ber::expect(&mut variable, ber::OBJECT_IDENTIFIER) else { return };
        scratch.clear();
        ber::write_oid(oid, scratch);
        fields.object.push_new(scratch, &mut fields.memory);
    }
}
