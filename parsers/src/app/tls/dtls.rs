// SPDX-License-Identifier: MIT OR Apache-2.0
//! DTLS 1.0 to 1.3 (RFC 4347, 6347, 9147): records in datagrams, and handshake messages in fragments that come in any order, and
//! again.
//!
//! ```text
//!   record: type 1, version 2, epoch 2, sequence number 6, length 2, fragment
//!   fragment of a handshake message: type 1, length 3, number 2, offset 3, length 3, octets
//!   record of DTLS 1.3 that is encrypted: 001xxxxx, ...
//! ```

use weir_flow::{allocated, app::Tls};

use super::{
    CERTIFICATE, CLIENT_HELLO, Input, NEW_SESSION_TICKET, Parser, Probe, SERVER_HELLO, SUPPLEMENTAL_DATA, Side, Step,
    Transactions, alert, certificate, certificate_span,
    fingerprint::{self, Carrier},
    finish, hello, read_certificate,
    records::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE},
};
use crate::Cursor;

const HELLO_VERIFY_REQUEST: u8 = 3;

/// Most octets of a message that is put together of fragments; of a longer Certificate the first.
const MAX_MESSAGE: usize = 8 * 1024;

/// Most messages of a flow that are put together at once; one more takes the place of the oldest.
const MAX_MESSAGES: usize = 4;

/// Most pieces of a message with gaps between them. A fragment that would be one more is dropped: it will come again.
const MAX_PIECES: usize = 32;

/// Messages of which not all fragments have come.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    messages: Vec<Partial>,
}

/// A message of which not all fragments have come.
#[derive(Debug)]
struct Partial {
    side: usize,
    kind: u8,
    number: u16,
    length: u32,
    /// All of it, or as much as is kept; where nothing has come yet, zeros.
    octets: Vec<u8>,
    /// Offsets between which all octets have come.
    pieces: Vec<(u16, u16)>,
}

impl Assembly {
    /// Bytes that it takes.
    pub(super) fn held(&self) -> usize {
        let of_messages = self.messages.iter().map(Partial::held).sum::<usize>();
        allocated(size_of::<Self>()) + allocated(self.messages.capacity() * size_of::<Partial>()) + of_messages
    }

    /// Takes a fragment. Gives the message if all that is wanted of it has come.
    fn add(&mut self, side: usize, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        let is_it = |m: &Partial| {
            (m.side, m.kind, m.number, m.length) == (side, fragment.kind, fragment.number, fragment.length)
        };
        let index = self.messages.iter().position(is_it).unwrap_or_else(|| {
            if self.messages.len() >= MAX_MESSAGES {
                self.messages.remove(0);
            }
            self.messages.push(Partial::new(side, fragment));
            self.messages.len() - 1
        });
        let message = self.messages.get_mut(index)?;
        message.add(fragment);
        message.is_complete().then(|| self.messages.remove(index).octets)
    }
}

impl Partial {
    fn new(side: usize, fragment: &Fragment<'_>) -> Self {
        let &Fragment { kind, number, length, .. } = fragment;
        let octets = vec![0; MAX_MESSAGE.min(length as usize)];
        Self { side, kind, number, length, octets, pieces: Vec::new() }
    }

    fn held(&self) -> usize {
        allocated(self.octets.capacity()) + allocated(self.pieces.capacity() * size_of::<(u16, u16)>())
    }

    fn add(&mut self, fragment: &Fragment<'_>) {
        let room = self.octets.get_mut(fragment.offset as usize..).unwrap_or_default();
        let fitting = room.len().min(fragment.octets.len());
        // Both below `MAX_MESSAGE`.
        let (start, end) = (fragment.offset as u16, fragment.offset as u16 + fitting as u16);
        if fitting == 0 {
            return;
        }
        let mut piece = (start, end);
        let touches = |&(a, b): &(u16, u16)| a <= end && start <= b;
        if self.pieces.len() >= MAX_PIECES && !self.pieces.iter().any(touches) {
            return;
        }
        room.iter_mut().zip(fragment.octets).for_each(|(to, from)| *to = *from);
        self.pieces.retain(|&other| {
            let joined = touches(&other);
            if joined {
                piece = (piece.0.min(other.0), piece.1.max(other.1));
            }
            !joined
        });
        self.pieces.push(piece);
    }

    fn is_complete(&self) -> bool {
        let Some(&(_, end)) = self.pieces.iter().find(|(start, _)| *start == 0) else { return false };
        let there = self.octets.get(..usize::from(end)).unwrap_or_default();
        // What does not fit cannot be waited for.
        self.wanted(there).is_some_and(|wanted| wanted <= there.len() || there.len() == self.octets.len())
    }

    /// How many octets are wanted; `None` if those that are there do not tell.
    fn wanted(&self, there: &[u8]) -> Option<usize> {
        let length = self.length as usize;
        if self.kind == CERTIFICATE { certificate_span(length, there) } else { Some(length) }
    }
}

/// A fragment of a handshake message.
struct Fragment<'a> {
    kind: u8,
    length: u32,
    number: u16,
    offset: u32,
    octets: &'a [u8],
}

/// Reads the next fragment; `None` at the end, and at one that is none.
fn fragment<'a>(c: &mut Cursor<'a>) -> Option<Fragment<'a>> {
    let (kind, length, number, offset) = (c.u8()?, c.u24()?, c.u16()?, c.u24()?);
    let octets_len = c.u24()?;
    let octets = c.take(octets_len as usize)?;
    (offset + octets_len <= length).then_some(Fragment { kind, length, number, offset, octets })
}

/// Reads the next record in the clear: content type and fragment. Encrypted ones have none; `None` is the end, and what is none.
fn record<'a>(c: &mut Cursor<'a>) -> Option<(u8, Option<&'a [u8]>)> {
    let first = c.rest().first()?;
    if (0x20..=0x3f).contains(first) {
        // Where it ends depends on what both agreed on.
        c.take(c.remaining())?;
        return Some((APPLICATION_DATA, None));
    }
    let (kind, version, epoch) = (c.u8()?, c.u16()?, c.u16()?);
    c.take(6)?;
    let length = c.u16()?;
    let fragment = c.take(length.into())?;
    if !hello::is_dtls_version(version) {
        return None;
    }
    Some((kind, (epoch == 0 && kind != APPLICATION_DATA).then_some(fragment)))
}

/// Whether a datagram begins with a hello.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    // Most datagrams are told by their first octet.
    if bytes.first() != Some(&HANDSHAKE) {
        return Probe::No;
    }
    let is_hello = |fragment: &Fragment<'_>| {
        let claims_version = |body: &[u8]| Cursor::new(body).u16().is_some_and(hello::is_dtls_version);
        matches!(fragment.kind, CLIENT_HELLO | SERVER_HELLO | HELLO_VERIFY_REQUEST)
            && fragment.length as usize <= MAX_MESSAGE
            && (fragment.offset > 0 || claims_version(fragment.octets))
    };
    let Some((HANDSHAKE, Some(first))) = record(&mut Cursor::new(bytes)) else { return Probe::No };
    if fragment(&mut Cursor::new(first)).is_some_and(|fragment| is_hello(&fragment)) { Probe::Yes } else { Probe::No }
}

impl Parser {
    /// Reads a datagram: records, one behind the other.
    pub(super) fn datagram(
        &mut self,
        input: Input<'_>,
        transactions: &mut Transactions<Tls>,
        scratch: &mut fingerprint::Scratch,
    ) -> Step {
        let side = input.direction.index();
        if self.sides[side] == Side::Over && matches!(input.bytes.first(), Some(128..=191)) {
            return Step::Handover(0);
        }
        if self.sides == [Side::Over; 2] {
            return self.before_media(input.bytes.len());
        }
        let mut c = Cursor::new(input.bytes);
        while self.sides[side] != Side::Over
            && let Some(record) = record(&mut c)
        {
            let is_finished = match record {
                (HANDSHAKE, Some(octets)) => self.fragments(side, octets, transactions, scratch),
                (ALERT, Some(&[level, description])) if alert(level, description, transactions) => {
                    return finish(transactions);
                }
                (CHANGE_CIPHER_SPEC, _) | (_, None) => self.encrypted(side, transactions),
                _ => false,
            };
            if is_finished {
                self.assembly = None;
                return self.before_media(input.bytes.len());
            }
        }
        // What else comes between the two, such as STUN and media (RFC 7983), is passed over.
        Step::Consumed(input.bytes.len())
    }

    /// A datagram of which nothing is wanted, now that the handshake is over: what may follow is media.
    fn before_media(&mut self, octets: usize) -> Step {
        match self.early.checked_sub(1) {
            Some(left) => {
                self.early = left;
                Step::Consumed(octets)
            }
            None => Step::Done,
        }
    }

    /// What comes from now on from this side is encrypted.
    fn encrypted(&mut self, side: usize, transactions: &mut Transactions<Tls>) -> bool {
        // Without a ticket, the Certificate is only late or lost.
        if self.sides[side] == Side::Certificate && self.has_ticket {
            return self.resumed(side, transactions);
        }
        self.end(side, transactions)
    }

    fn fragments(
        &mut self,
        side: usize,
        octets: &[u8],
        transactions: &mut Transactions<Tls>,
        scratch: &mut fingerprint::Scratch,
    ) -> bool {
        let mut c = Cursor::new(octets);
        while let Some(fragment) = fragment(&mut c) {
            if !self.wants(side, &fragment) {
                continue;
            }
            let is_read = matches!(fragment.kind, CLIENT_HELLO | SERVER_HELLO | CERTIFICATE);
            let is_finished = if !is_read || fragment.octets.len() == fragment.length as usize {
                self.message(side, &fragment, fragment.octets, transactions, scratch)
            } else {
                let message = self.assembly.get_or_insert_default().add(side, &fragment);
                message.is_some_and(|body| self.message(side, &fragment, &body, transactions, scratch))
            };
            if is_finished {
                return true;
            }
        }
        false
    }

    /// Whether a message of this kind is of interest, and not too long.
    fn wants(&self, side: usize, fragment: &Fragment<'_>) -> bool {
        let state = self.sides[side];
        let fits = fragment.length as usize <= MAX_MESSAGE;
        match fragment.kind {
            CLIENT_HELLO => fits && (state == Side::Fresh || (state == Side::Client && fragment.number > 0)),
            SERVER_HELLO => fits && matches!(state, Side::Fresh | Side::Retry),
            // It may come before the ServerHello.
            CERTIFICATE if state == Side::Answer => true,
            CERTIFICATE => !self.has_certificate && matches!(state, Side::Fresh | Side::Retry | Side::Certificate),
            SUPPLEMENTAL_DATA => false,
            // The Certificate would have this number.
            _ => {
                matches!(state, Side::Certificate | Side::Answer)
                    && fragment.number == self.within[side].wrapping_add(1)
            }
        }
    }

    /// Reads a message, or what is wanted of it.
    fn message(
        &mut self,
        side: usize,
        fragment: &Fragment<'_>,
        body: &[u8],
        transactions: &mut Transactions<Tls>,
        scratch: &mut fingerprint::Scratch,
    ) -> bool {
        if matches!(fragment.kind, CLIENT_HELLO | SERVER_HELLO) {
            self.within[side] = fragment.number;
        }
        match fragment.kind {
            // The answer to a HelloVerifyRequest is the first hello again, with a cookie.
            CLIENT_HELLO if self.sides[side] == Side::Client && hello::has_cookie(body) => false,
            CLIENT_HELLO => self.client_hello(side, Carrier::Dtls, body, transactions, scratch),
            SERVER_HELLO => {
                let is_finished = self.server_hello(side, body, transactions, scratch);
                // The Certificate may have come before.
                let is_known = self.sides[side] == Side::Certificate && self.has_certificate;
                if is_known { self.full_handshake(side, transactions) } else { is_finished }
            }
            CERTIFICATE if self.sides[side] == Side::Answer => {
                read_certificate(body, certificate::read_client, transactions, scratch);
                self.end(side, transactions)
            }
            _ if self.sides[side] == Side::Answer => self.end(side, transactions),
            CERTIFICATE => {
                self.has_certificate = true;
                read_certificate(body, certificate::read, transactions, scratch);
                self.sides[side] == Side::Certificate && self.full_handshake(side, transactions)
            }
            NEW_SESSION_TICKET => self.resumed(side, transactions),
            _ => self.full_handshake(side, transactions),
        }
    }
}
