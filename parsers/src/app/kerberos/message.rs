// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of RFC 4120: whether octets are one, and its fields.
//!
//! ```text
//!   [APPLICATION n] SEQUENCE { [i] INTEGER 5, [i + 1] INTEGER n, ... }    i is 1 in requests, 0 elsewhere
//! ```

use weir_flow::app::Kerberos;

use super::super::{
    Probe,
    ber::{self, Begins},
    line,
};
use crate::Cursor;

const AS_REQ: u8 = 10;
const AS_REP: u8 = 11;
const TGS_REQ: u8 = 12;
const TGS_REP: u8 = 13;
const ERROR: u8 = 30;

/// The class of a message's tag, with the bit of what has others inside.
const APPLICATION: u8 = 0x60;
/// The same of what a sequence has inside.
const CONTEXT: u8 = 0xa0;

const VERSION: u8 = 5;
const GENERAL_STRING: u8 = 0x1b;

/// Most parts of a name that are written.
const MAX_PARTS: usize = 8;

/// Most encryption types that are written.
const MAX_CIPHERS: usize = 32;

/// Most octets of version and type, each with its explicit tag.
const MAX_SMALL: usize = 10;

/// Most octets of a message until its type, without the outer header: a header, and two that have a small number inside.
const MOST: usize = 6 + 2 * (6 + MAX_SMALL);

/// Least octets of a message: two headers, version and type.
pub(super) const LEAST: usize = 14;

/// A message, whose first two values are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    kind: u8,
    /// The values that follow.
    rest: Cursor<'a>,
}

/// Whether a message of `len` octets may begin so.
pub(super) fn begins(bytes: &[u8], len: usize) -> Probe {
    let is_kind = |tag: &u8| matches!(tag ^ APPLICATION, AS_REQ | AS_REP | TGS_REQ | TGS_REP | ERROR);
    match bytes.first() {
        None => return Probe::More,
        Some(tag) if !is_kind(tag) => return Probe::No,
        Some(_) => {}
    }
    let outer = match ber::begins(bytes) {
        Begins::TooShort => return Probe::More,
        Begins::With(header) if header.own + header.len == len => header,
        _ => return Probe::No,
    };
    let inner = bytes.get(outer.own..).unwrap_or_default();
    match ber::begins(inner) {
        Begins::TooShort => return Probe::More,
        Begins::With(header) if header.tag == ber::SEQUENCE && header.own + header.len == outer.len => {}
        _ => return Probe::No,
    }
    match Message::read(bytes) {
        Some(_) => Probe::Yes,
        None if bytes.len() < len.min(outer.own + MOST) => Probe::More,
        None => Probe::No,
    }
}

/// A cursor over what a value has inside, as far as it is there.
fn inside<'a>(c: &mut Cursor<'a>, tag: u8) -> Option<Cursor<'a>> {
    match ber::begins(c.rest()) {
        Begins::With(header) if header.tag == tag => {
            c.take(header.own)?;
            c.sub(header.len.min(c.remaining()))
        }
        _ => None,
    }
}

/// The same behind an explicit tag: `[number] tag { ... }`, of which the octets are these.
fn sequence(content: &[u8]) -> Option<Cursor<'_>> {
    inside(&mut Cursor::new(content), ber::SEQUENCE)
}

/// The next value of a sequence: number of its tag, and its content as far as it is there.
fn next<'a>(c: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let Begins::With(header) = ber::begins(c.rest()) else { return None };
    c.take(header.own)?;
    let content = c.take(header.len.min(c.remaining()))?;
    Some((header.tag ^ CONTEXT, content))
}

fn number(content: &[u8]) -> Option<i32> {
    ber::integer(ber::only(content, ber::INTEGER)?)
}

/// The next value of a sequence, if it has this number and holds a small integer, which must be there to its end.
fn small(c: &mut Cursor<'_>, wanted: u8) -> Option<i32> {
    match ber::begins(c.rest()) {
        Begins::With(header) if header.tag == CONTEXT | wanted && header.len <= MAX_SMALL => {
            c.take(header.own)?;
            number(c.take(header.len)?)
        }
        _ => None,
    }
}

fn text(content: &[u8]) -> Option<&[u8]> {
    ber::only(content, GENERAL_STRING)
}

impl<'a> Message<'a> {
    /// Reads a message; `None` if the octets are none.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let kind = bytes.first()? ^ APPLICATION;
        let first = match kind {
            AS_REQ | TGS_REQ => 1,
            AS_REP | TGS_REP | ERROR => 0,
            _ => return None,
        };
        let mut outer = inside(&mut Cursor::new(bytes), kind ^ APPLICATION)?;
        let mut rest = inside(&mut outer, ber::SEQUENCE)?;
        let is_it = small(&mut rest, first) == Some(VERSION.into()) && small(&mut rest, first + 1) == Some(kind.into());
        is_it.then_some(Self { kind, rest })
    }

    pub(super) const fn is_request(&self) -> bool {
        matches!(self.kind, AS_REQ | TGS_REQ)
    }

    /// Writes all that it says.
    pub(super) fn write(&self, fields: &mut Kerberos, scratch: &mut Vec<u8>) {
        let values = std::iter::successors(Some((0, &[][..], self.rest)), |(_, _, c)| {
            let mut c = *c;
            next(&mut c).map(|(number, content)| (number, content, c))
        });
        let mut values = values.skip(1).map(|(number, content, _)| (number, content));
        if self.is_request() {
            fields.request_type = Some(self.kind);
            let body = values.find(|value| value.0 == 4).and_then(|value| sequence(value.1));
            body.into_iter().for_each(|body| write_body(body, fields, scratch));
            return;
        }
        fields.response_type = Some(self.kind);
        for (number, content) in values {
            match (self.kind, number) {
                (ERROR, 7) | (AS_REP | TGS_REP, 3) => write_realm(content, fields),
                (ERROR, 8) | (AS_REP | TGS_REP, 4) => write_client(content, fields, scratch),
                (ERROR, 9) if fields.realm.is_empty() => write_realm(content, fields),
                (ERROR, 10) => write_service(content, fields, scratch),
                (ERROR, 6) => fields.error_code = self::number(content).map(i32::cast_unsigned),
                (ERROR, 11) => {
                    text(content).into_iter().for_each(|text| fields.error_text.set(text, &mut fields.memory));
                }
                (AS_REP | TGS_REP, 5) => write_ticket(content, fields, scratch),
                _ => {}
            }
        }
    }
}

/// The body of a request (RFC 4120 section 5.4.1).
fn write_body(mut body: Cursor<'_>, fields: &mut Kerberos, scratch: &mut Vec<u8>) {
    while let Some((number, content)) = next(&mut body) {
        match number {
            1 => write_client(content, fields, scratch),
            2 => write_realm(content, fields),
            3 => write_service(content, fields, scratch),
            8 => write_ciphers(content, fields, scratch),
            _ => {}
        }
    }
}

fn write_realm(content: &[u8], fields: &mut Kerberos) {
    text(content).into_iter().for_each(|text| fields.realm.set(text, &mut fields.memory));
}

fn write_client(content: &[u8], fields: &mut Kerberos, scratch: &mut Vec<u8>) {
    if write_name(content, scratch) {
        fields.client_name.set(scratch, &mut fields.memory);
    }
}

fn write_service(content: &[u8], fields: &mut Kerberos, scratch: &mut Vec<u8>) {
    if write_name(content, scratch) {
        fields.service_name.set(scratch, &mut fields.memory);
    }
}

/// A ticket (section 5.3): realm, service, and how it is encrypted.
fn write_ticket(content: &[u8], fields: &mut Kerberos, scratch: &mut Vec<u8>) {
    const TICKET: u8 = APPLICATION | 1;
    let Some(mut outer) = inside(&mut Cursor::new(content), TICKET) else { return };
    let Some(mut ticket) = inside(&mut outer, ber::SEQUENCE) else { return };
    while let Some((number, content)) = next(&mut ticket) {
        match number {
            2 => write_service(content, fields, scratch),
            3 => {
                let cipher = sequence(content).and_then(|mut data| next(&mut data)).filter(|value| value.0 == 0);
                if let Some(cipher) = cipher.and_then(|value| self::number(value.1)) {
                    scratch.clear();
                    write_signed(cipher, scratch);
                    fields.ticket_cipher.set(scratch);
                }
            }
            _ => {}
        }
    }
}

/// Writes a name (section 5.2.2): a kind, and its parts.
fn write_name(content: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Some(mut name) = sequence(content) else { return false };
    while let Some((number, content)) = next(&mut name) {
        let Some(mut parts) = sequence(content).filter(|_| number == 1) else { continue };
        for i in 0..MAX_PARTS {
            let Some(part) = ber::expect(&mut parts, GENERAL_STRING) else { break };
            if i > 0 {
                out.push(b'/');
            }
            out.extend_from_slice(part);
        }
    }
    !out.is_empty()
}

fn write_ciphers(content: &[u8], fields: &mut Kerberos, scratch: &mut Vec<u8>) {
    let Some(mut list) = sequence(content) else { return };
    scratch.clear();
    for _ in 0..MAX_CIPHERS {
        let Some(cipher) = ber::expect(&mut list, ber::INTEGER).and_then(ber::integer) else { break };
        if !scratch.is_empty() {
            scratch.push(b',');
        }
        write_signed(cipher, scratch);
    }
    fields.offered_ciphers.set(scratch, &mut fields.memory);
}

fn write_signed(number: i32, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    line::decimal(number.unsigned_abs(), out);
}
