// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record layer of TLS (RFC 8446 section 5.1), and handshake messages cut over any number of records.
//!
//! ```text
//!   record: type 1, version 2, length 2, fragment          handshake message: type 1, length 3, body
//! ```

use super::{CERTIFICATE, HANDSHAKE_HEADER, certificate_span};
use crate::Cursor;

/// Most octets on the wire from the first of a message to the last that is wanted.
pub(super) const MAX_SPAN: usize = 32 * 1024;

/// Most octets of a record's fragment: those of plain text, and what encryption may add (RFC 5246 section 6.2.3).
const MAX_FRAGMENT: usize = (1 << 14) + 2048;

/// Octets of a record's header.
const RECORD_HEADER: usize = 5;

/// Octets that tell how much of a message is wanted: its header, and of a Certificate the lengths of the list and of the first.
const MOST_TELLING: usize = HANDSHAKE_HEADER + 6;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// A record: content type and fragment.
pub(super) enum Record<'a> {
    Whole(u8, &'a [u8]),
    /// So many octets of the fragment are not there.
    Partial(u8, &'a [u8], usize),
    /// Not even the header is there.
    Header,
    Bad,
}

/// Reads the next record; what there is of one that is not complete is read as well.
pub(super) fn record<'a>(c: &mut Cursor<'a>) -> Record<'a> {
    let rest = c.rest();
    // Each octet is judged when it is there, so that the answer does not depend on how many follow.
    let plausible = rest.first().is_none_or(|kind| (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(kind))
        && rest.get(1).is_none_or(|&major| major == 3)
        && rest.get(2).is_none_or(|&minor| minor <= 4);
    if !plausible {
        return Record::Bad;
    }
    let (Some(kind), Some(_version), Some(len)) = (c.u8(), c.u16(), c.u16()) else {
        c.take(c.remaining());
        return Record::Header;
    };
    let len = usize::from(len);
    if len > MAX_FRAGMENT || (len == 0 && kind != APPLICATION_DATA) {
        return Record::Bad;
    }
    if let Some(fragment) = c.take(len) {
        return Record::Whole(kind, fragment);
    }
    let there = c.take(c.remaining()).unwrap_or_default();
    Record::Partial(kind, there, len - there.len())
}

/// A handshake message, as far as it is there.
pub(super) enum Message<'a> {
    /// All that is wanted of it: type, and the first octets of the body; where that ends, and how many octets of the same record
    /// follow, there or not.
    Whole { kind: u8, body: &'a [u8], end: usize, within: usize },
    /// More octets are needed.
    Incomplete,
    /// None, or one that is too long.
    Bad,
}

/// Fragments of records of handshake messages.
#[derive(Clone, Copy)]
struct Fragments<'a> {
    c: Cursor<'a>,
    /// Octets of a record that began earlier.
    within: usize,
}

impl<'a> Fragments<'a> {
    /// What is there of the next fragment, and how many of its octets are not; `None`: the next record is of another type.
    fn next(&mut self) -> Option<(&'a [u8], usize)> {
        let within = std::mem::take(&mut self.within);
        if within > 0 {
            let octets = self.c.take(within.min(self.c.remaining())).unwrap_or_default();
            return Some((octets, within - octets.len()));
        }
        match record(&mut self.c) {
            Record::Whole(HANDSHAKE, fragment) => Some((fragment, 0)),
            Record::Partial(HANDSHAKE, fragment, missing) => Some((fragment, missing)),
            Record::Header => Some((&[], 0)),
            _ => None,
        }
    }
}

/// Puts together the handshake message at the start of `bytes`: within a record of which so many octets are left, or with a record
/// of its own.
///
/// What is wrong is found from left to right, so that it is found at the same octet however many follow.
pub(super) fn assemble<'a>(bytes: &'a [u8], within: usize, assembled: &'a mut Vec<u8>) -> Message<'a> {
    let start = Fragments { c: Cursor::new(bytes), within };
    let mut fragments = start;
    let mut telling = [0; MOST_TELLING];
    let mut needed = None;
    let (mut have, mut count, mut missing) = (0, 0, 0);
    while needed.is_none_or(|needed| have < needed) {
        if count > 0 && fragments.c.is_at_end() {
            return if bytes.len() >= MAX_SPAN { Message::Bad } else { Message::Incomplete };
        }
        let Some((fragment, not_there)) = fragments.next() else { return Message::Bad };
        for (to, from) in telling.iter_mut().skip(have).zip(fragment) {
            *to = *from;
        }
        have += fragment.len();
        count += 1;
        missing = not_there;
        needed = wanted(telling.get(..have).unwrap_or(&telling));
        if needed.is_some_and(|needed| needed > MAX_SPAN) {
            return Message::Bad;
        }
    }
    let needed = needed.unwrap_or_default();
    // Of the last fragment, what lies behind the message does not count.
    let behind = have - needed;
    let end = fragments.c.offset() - behind;
    if end > MAX_SPAN {
        return Message::Bad;
    }
    let message = if count == 1 {
        bytes.get(if within > 0 { 0 } else { RECORD_HEADER }..).unwrap_or_default()
    } else {
        let mut fragments = start;
        assembled.clear();
        for _ in 0..count {
            assembled.extend_from_slice(fragments.next().unwrap_or_default().0);
        }
        assembled
    };
    let body = message.get(HANDSHAKE_HEADER..needed).unwrap_or_default();
    Message::Whole { kind: telling[0], body, end, within: behind + missing }
}

/// How many octets of a message are wanted, header included; `None` if its first octets do not tell yet.
fn wanted(first: &[u8]) -> Option<usize> {
    let mut c = Cursor::new(first);
    let (kind, length) = (c.u8()?, c.u24()? as usize);
    if kind == CERTIFICATE {
        return Some(HANDSHAKE_HEADER + certificate_span(length, c.rest())?);
    }
    Some(HANDSHAKE_HEADER + length)
}
