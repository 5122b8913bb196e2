// SPDX-License-Identifier: MIT OR Apache-2.0
//! LDAP (RFC 4511) over TCP, and over UDP without a connection, recognised by content.
//!
//! A connection is one transaction. After the answer to StartTLS (section 4.14) TLS follows, and is recognised anew.
//!
//! - **Parsed**: envelopes (section 4.1.1); of binds version, name and mechanism, of searches the base, of extended requests
//!   the name, of all responses the result code.
//! - **Not parsed**: passwords and credentials, filters, attributes, entries, controls; what a security layer of SASL wraps:
//!   with it, nothing more is wanted.
//! - **Recognised** by sequence, identifier and operation, whose lengths agree, and the operation's first value; operations
//!   without one on port 389 only. One random datagram in 2^45 at most.
//! - **Bounds**: 4 KiB of a message, of which entries are not waited for; 16 MiB for the length of a message. 32 bases, 16
//!   codes, 8 names.
//! - **Odd input**: what is cut or lies within a message leaves its fields out; what frames no message ends the flow, and so
//!   do missing octets.
//! - **Fields**: all of `weir_flow::app::Ldap`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/ldap/ldap.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Ldap;

use super::{
    AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport,
    ber::{self, Begins},
};
use crate::Cursor;

/// Most octets of a message that are looked at.
const MAX_MESSAGE: usize = 4096;

/// Most octets of a message.
const MAX_DECLARED: usize = 16 << 20;

/// Octets that hold all headers, and the number between them.
const HEADERS: usize = 6 + (6 + 5) + 6;

/// Tags of operations.
const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND: u8 = 0x42;
const SEARCH: u8 = 0x63;
const ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const MODIFY: u8 = 0x66;
const MODIFY_RESPONSE: u8 = 0x67;
const ADD: u8 = 0x68;
const ADD_RESPONSE: u8 = 0x69;
const DELETE: u8 = 0x4a;
const DELETE_RESPONSE: u8 = 0x6b;
const RENAME: u8 = 0x6c;
const RENAME_RESPONSE: u8 = 0x6d;
const COMPARE: u8 = 0x6e;
const COMPARE_RESPONSE: u8 = 0x6f;
const ABANDON: u8 = 0x50;
const REFERENCE: u8 = 0x73;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE: u8 = 0x79;

/// Primitive and constructed alternatives of a bind's credentials.
const SIMPLE: u8 = 0x80;
const SASL: u8 = 0xa3;
/// The name of an extended request.
const NAME: u8 = 0x80;

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// StartTLS was asked for.
    starttls: bool,
}

/// The headers of a message.
#[derive(Clone, Copy, Debug)]
struct Message {
    /// Octets of all.
    len: usize,
    operation: u8,
    /// Where what the operation says begins, and how long it is.
    at: usize,
    operation_len: usize,
}

/// What octets begin with.
enum Headers {
    Read(Message),
    TooShort,
    Bad,
}

impl super::Parser for Parser {
    type Fields = Ldap;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "ldap",
        transports: &[Transport::Stream, Transport::Datagram],
        port_hints: &[389, 3268],
        max_buffered: MAX_MESSAGE,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[ber::SEQUENCE])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if input.bytes.first() != Some(&ber::SEQUENCE) {
            return Probe::No;
        }
        let is_whole = input.transport == Transport::Datagram;
        match read(input.bytes) {
            Headers::Read(message) if is_whole && message.len > input.bytes.len() => Probe::No,
            Headers::Read(message) => match message.is_telling(input.bytes, input.hinted) {
                Probe::More if is_whole => Probe::No,
                told => told,
            },
            Headers::TooShort if !is_whole => Probe::More,
            Headers::TooShort | Headers::Bad => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Ldap>, (): &mut ()) -> Step {
        // TLS after an answer that was not seen: no message begins so.
        match input.bytes {
            [0x16, 3, ..] if self.starttls => return Step::Handover(0),
            [0x16] if self.starttls && !input.snapped => return Step::More,
            _ => {}
        }
        let message = match read(input.bytes) {
            Headers::Read(message) => message,
            Headers::TooShort => return Step::More,
            // What a security layer wraps begins with its length.
            Headers::Bad => return Step::Done,
        };
        let wanted = if message.is_of_interest() { message.len.min(MAX_MESSAGE) } else { 0 };
        if input.bytes.len() < wanted && !input.snapped && input.transport == Transport::Stream {
            return Step::More;
        }
        let index = transactions.oldest_open().unwrap_or_else(|| transactions.open().0);
        let Some(fields) = transactions.fields_mut(index) else { return Step::Done };
        let operation = 1 << (message.operation & 0x1f);
        fields.operations = Some(fields.operations.unwrap_or(0) | operation);
        let within = input.bytes.get(..message.len.min(MAX_MESSAGE)).unwrap_or(input.bytes);
        let is_over = self.take(message, within, fields);
        match input.transport {
            Transport::Stream if is_over => Step::Handover(message.len),
            Transport::Stream => Step::Skip(message.len as u64),
            Transport::Datagram => Step::Consumed(message.len),
        }
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        // Nothing marks the beginning of a message but the length of the one before.
        AfterGap::Done
    }
}

/// Reads the headers of a message. Each octet is judged when it is there.
fn read(bytes: &[u8]) -> Headers {
    macro_rules! header {
        ($at:expr) => {
            match ber::begins(bytes.get($at..).unwrap_or_default()) {
                Begins::With(header) => header,
                Begins::TooShort if bytes.len() < HEADERS => return Headers::TooShort,
                _ => return Headers::Bad,
            }
        };
    }
    if bytes.first().is_some_and(|&tag| tag != ber::SEQUENCE) {
        return Headers::Bad;
    }
    let outer = header!(0);
    let len = outer.own + outer.len;
    if len > MAX_DECLARED {
        return Headers::Bad;
    }
    let id = header!(outer.own);
    if id.tag != ber::INTEGER || !(1..=5).contains(&id.len) {
        return Headers::Bad;
    }
    let operation_at = outer.own + id.own + id.len;
    let operation = header!(operation_at);
    let at = operation_at + operation.own;
    if !is_operation(operation.tag) || at + operation.len > len {
        return Headers::Bad;
    }
    Headers::Read(Message { len, operation: operation.tag, at, operation_len: operation.len })
}

const fn is_operation(tag: u8) -> bool {
    matches!(
        tag,
        BIND_REQUEST..=COMPARE_RESPONSE | UNBIND | DELETE | ABANDON | REFERENCE | EXTENDED..=INTERMEDIATE
    ) && !matches!(tag, 0x62 | 0x6a)
}

impl Message {
    /// What the operation says, as far as it is there.
    fn body(self, bytes: &[u8]) -> Cursor<'_> {
        let body = bytes.get(self.at..).unwrap_or_default();
        Cursor::new(body.get(..self.operation_len).unwrap_or(body))
    }

    const fn has_result(self) -> bool {
        matches!(
            self.operation,
            BIND_RESPONSE
                | SEARCH_DONE
                | MODIFY_RESPONSE
                | ADD_RESPONSE
                | DELETE_RESPONSE
                | RENAME_RESPONSE
                | COMPARE_RESPONSE
                | EXTENDED_RESPONSE
        )
    }

    const fn is_of_interest(self) -> bool {
        matches!(self.operation, BIND_REQUEST | SEARCH | EXTENDED) || self.has_result()
    }

    /// Whether the first value of the operation is one that it has.
    fn is_telling(self, bytes: &[u8], hinted: bool) -> Probe {
        let body = self.body(bytes).rest();
        let fits: &[&[u8]] = match self.operation {
            // Version.
            BIND_REQUEST => &[&[ber::INTEGER], &[1], &[1, 2, 3]],
            EXTENDED => &[&[NAME], &[], b"012"],
            _ if self.has_result() => &[&[ber::ENUMERATED], &[1], &[]],
            // A name; one of an ordinary search has fewer octets than a long length says.
            SEARCH | ENTRY => &[&[ber::OCTET_STRING]],
            MODIFY | ADD | RENAME | COMPARE | REFERENCE if hinted => &[],
            _ if hinted => return Probe::Yes,
            _ => return Probe::No,
        };
        for (allowed, octet) in fits.iter().zip(body) {
            if !allowed.is_empty() && !allowed.contains(octet) {
                return Probe::No;
            }
        }
        if body.len() < fits.len() {
            return if self.operation_len < fits.len() { Probe::No } else { Probe::More };
        }
        if self.operation != SEARCH {
            return Probe::Yes;
        }
        // Behind the base: scope.
        let base = match ber::begins(body) {
            Begins::With(base) => base,
            Begins::TooShort => return Probe::More,
            Begins::Bad => return Probe::No,
        };
        let scope = body.get(base.own + base.len..).unwrap_or_default();
        match scope {
            [ber::ENUMERATED, 1, 0..=3, ..] => Probe::Yes,
            [] | [ber::ENUMERATED] | [ber::ENUMERATED, 1] if base.own + base.len + 3 <= self.operation_len => {
                Probe::More
            }
            _ => Probe::No,
        }
    }
}

impl Parser {
    /// Takes what a message says. Whether another protocol follows it.
    fn take(&mut self, message: Message, bytes: &[u8], fields: &mut Ldap) -> bool {
        let mut body = message.body(bytes);
        let memory = &mut fields.memory;
        match message.operation {
            BIND_REQUEST => bind(body, fields),
            SEARCH => {
                let base = ber::expect(&mut body, ber::OCTET_STRING).filter(|base| !base.is_empty());
                base.into_iter().for_each(|base| fields.search_base.push_new(base, memory));
            }
            EXTENDED => {
                if let Some(name) = ber::expect(&mut body, NAME) {
                    self.starttls |= name == START_TLS;
                    fields.extended.push_new(name, memory);
                }
            }
            _ if message.has_result() => {
                let code = ber::expect(&mut body, ber::ENUMERATED).and_then(ber::unsigned);
                if let Some(code) = code.and_then(|code| u16::try_from(code).ok()).filter(|&code| code != 0) {
                    fields.result_code.push_new(code, memory);
                }
                if message.operation == EXTENDED_RESPONSE {
                    return std::mem::take(&mut self.starttls) && code == Some(0);
                }
            }
            _ => {}
        }
        false
    }
}

/// A bind (section 4.2). Its credentials are not read.
fn bind(mut body: Cursor<'_>, fields: &mut Ldap) {
    let memory = &mut fields.memory;
    fields.version = ber::expect(&mut body, ber::INTEGER).and_then(ber::unsigned).and_then(|v| v.try_into().ok());
    let Some(name) = ber::expect(&mut body, ber::OCTET_STRING) else { return };
    fields.bind_name.set(name, memory);
    match body.rest().first() {
        Some(&SIMPLE) => fields.bind_mechanism.set(b"simple", memory),
        Some(&SASL) => {
            let Begins::With(header) = ber::begins(body.rest()) else { return };
            let mechanism = body.take(header.own).and_then(|_| ber::expect(&mut body, ber::OCTET_STRING));
            mechanism.into_iter().for_each(|mechanism| fields.bind_mechanism.set(mechanism, memory));
        }
        _ => {}
    }
}
