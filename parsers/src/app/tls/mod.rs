// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS 1.0 to 1.3 (RFC 2246, 4346, 5246, 8446) over TCP: what the two hellos say in the clear.
//!
//! One handshake is one transaction. Only the first handshake message of each direction is of interest; after it, that
//! direction is passed over, and after both the flow costs nothing. Where the server asks for another ClientHello
//! (HelloRetryRequest, RFC 8446 section 4.1.4), its ServerHello is waited for as well and replaces what the request said;
//! the fields of the client are those of its first hello, which no server has shaped.
//!
//! - **Parsed**: the record layer, handshake messages cut over any number of records, ClientHello and ServerHello
//!   (RFC 8446 section 4.1), the extensions server_name (RFC 6066 section 3), supported_versions,
//!   application_layer_protocol_negotiation (RFC 7301), what the fingerprints JA3, JA3S and JA4 need, without the values
//!   reserved by RFC 8701 (GREASE); alerts before the ServerHello. Drafts of TLS 1.3 give their raw version.
//! - **Not parsed**: certificates, anything encrypted (Encrypted Client Hello gives the outer hello), hellos in SSL 2.0
//!   form, a second handshake on the same connection, DTLS.
//! - **Bounds**: 32 KiB from the first octet of a hello to its last, record headers included.
//! - **Odd input**: a hello that lies about a length gives what came before, and no fingerprint.
//! - **Fields**: all of `weir_flow::app::Tls`.
//! - **Fixtures**: hand-made hellos in `tests.rs`; any split of a stream in `tests/splits_dns_tls.rs`.

pub(super) mod fingerprint;
pub(super) mod hello;
#[cfg(test)]
mod tests;

use weir_flow::app::Tls;

use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport};
use crate::Cursor;

/// Most octets on the wire from the first of a hello to its last.
const MAX_SPAN: usize = 32 * 1024;

/// Most octets of a record's fragment: those of plain text, and what encryption may add (RFC 5246 section 6.2.3).
const MAX_FRAGMENT: usize = (1 << 14) + 2048;

/// Octets of a record's header: type, version, length.
const RECORD_HEADER: usize = 5;

/// Octets of a handshake message's header: type, length.
const HANDSHAKE_HEADER: usize = 4;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// Until draft 22 of TLS 1.3 a message of its own.
const DRAFT_HELLO_RETRY_REQUEST: u8 = 6;

const FATAL: u8 = 2;

/// Reads the hellos of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Directions in which nothing of interest is expected any more.
    over: [bool; 2],
    /// Directions in which a HelloRetryRequest was seen, and a ServerHello is expected.
    retried: [bool; 2],
}

/// What is needed while a message is read.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A handshake message that came in several records.
    assembled: Vec<u8>,
    fingerprint: fingerprint::Scratch,
}

/// The handshake message at the start of a record, as far as it is there.
enum Message<'a> {
    /// All of it: type, body, and the end of its last record.
    Whole { kind: u8, body: &'a [u8], end: usize },
    /// More records are needed.
    Incomplete,
    /// None, or one that is too long.
    Bad,
}

impl super::Parser for Parser {
    type Fields = Tls;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "tls",
        transports: &[Transport::Stream],
        port_hints: &[443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 5223, 6514, 8443, 8883],
        max_buffered: MAX_SPAN,
        max_inspected: 2 * MAX_SPAN as u32,
        max_open: 1,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let mut first = [0; HANDSHAKE_HEADER + 2];
        let mut filled = 0;
        let mut c = Cursor::new(input.bytes);
        while filled < first.len() {
            let fragment = match record(&mut c) {
                Record::Whole(HANDSHAKE, fragment) | Record::Partial(HANDSHAKE, fragment) => fragment,
                Record::Header => &[],
                _ => return Probe::No,
            };
            for (to, from) in first.iter_mut().skip(filled).zip(fragment) {
                *to = *from;
            }
            filled = first.len().min(filled + fragment.len());
            if filled > 0 && !matches!(first[0], CLIENT_HELLO | SERVER_HELLO) {
                return Probe::No;
            }
            if c.is_at_end() {
                break;
            }
        }
        if filled < first.len() {
            return Probe::More;
        }
        let [_, a, b, c, major, minor] = first;
        let len = u24([a, b, c]);
        // Version, random, and at least one octet of session, cipher suite and compression: drafts have no more.
        yes_if((36..=MAX_SPAN).contains(&len) && hello::is_version(u16::from_be_bytes([major, minor])))
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Tls>, scratch: &mut Scratch) -> Step {
        let side = input.direction.index();
        if self.over[side] {
            return Step::Skip(u64::MAX);
        }
        let mut c = Cursor::new(input.bytes);
        match record(&mut c) {
            Record::Header => Step::More,
            Record::Bad => Step::Reject,
            Record::Whole(ALERT, &[level, description]) => {
                let index = index(transactions);
                if let Some(fields) = transactions.fields_mut(index)
                    && (fields.alert.is_none() || level == FATAL)
                {
                    fields.alert = Some(description);
                }
                if level == FATAL { finish(transactions) } else { Step::Consumed(c.offset()) }
            }
            Record::Partial(ALERT, _) => Step::More,
            // Of no meaning in TLS 1.3 (RFC 8446 appendix D.4); a client may send it before its second hello, a server
            // before its ServerHello.
            Record::Whole(CHANGE_CIPHER_SPEC, _) if self.retried[side] => Step::Consumed(c.offset()),
            Record::Partial(CHANGE_CIPHER_SPEC, _) if self.retried[side] => Step::More,
            Record::Whole(HANDSHAKE, _) | Record::Partial(HANDSHAKE, _) => self.handshake(input, transactions, scratch),
            // Without a hello before it: its hello was not captured.
            Record::Whole(..) | Record::Partial(..) => self.end_side(input.direction, transactions),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.over[direction.index()] = true;
        if self.over == [true; 2] { AfterGap::Done } else { AfterGap::Resume }
    }
}

fn yes_if(yes: bool) -> Probe {
    if yes { Probe::Yes } else { Probe::No }
}

/// A record of the record layer: content type and fragment.
enum Record<'a> {
    Whole(u8, &'a [u8]),
    /// The fragment is longer than what is there.
    Partial(u8, &'a [u8]),
    /// Not even the header is there.
    Header,
    Bad,
}

/// Reads the next record; what there is of one that is not complete is read as well.
fn record<'a>(c: &mut Cursor<'a>) -> Record<'a> {
    let rest = c.rest();
    // Each octet is judged when it is there, so that the answer does not depend on how many follow.
    let plausible = rest.first().is_none_or(|kind| (CHANGE_CIPHER_SPEC..=23).contains(kind))
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
    if len > MAX_FRAGMENT || (len == 0 && kind != 23) {
        return Record::Bad;
    }
    match c.take(len) {
        Some(fragment) => Record::Whole(kind, fragment),
        None => Record::Partial(kind, c.take(c.remaining()).unwrap_or_default()),
    }
}

/// The transaction is over.
fn finish(transactions: &mut Transactions<Tls>) -> Step {
    if let Some(index) = transactions.oldest_open() {
        transactions.complete(index);
    }
    Step::Done
}

/// Index of the handshake's transaction, which is opened if it is not there yet.
fn index(transactions: &mut Transactions<Tls>) -> usize {
    transactions.oldest_open().unwrap_or_else(|| transactions.open().0)
}

impl Parser {
    /// Reads the handshake message that begins with the first record.
    fn handshake(&mut self, input: Input<'_>, transactions: &mut Transactions<Tls>, scratch: &mut Scratch) -> Step {
        let side = input.direction.index();
        let (kind, body, end) = match assemble(input.bytes, &mut scratch.assembled) {
            Message::Whole { kind, body, end } => (kind, body, end),
            Message::Incomplete => return Step::More,
            Message::Bad => return self.end_side(input.direction, transactions),
        };
        let index = index(transactions);
        let Some(fields) = transactions.fields_mut(index) else { return Step::Reject };
        let is_retry = match kind {
            CLIENT_HELLO => {
                hello::read_client(body, fields, &mut scratch.fingerprint);
                false
            }
            SERVER_HELLO => hello::read_server(body, fields, &mut scratch.fingerprint),
            _ => true,
        };
        if is_retry && !self.retried[side] {
            self.retried[side] = true;
            // The last record may hold more, of which nothing is wanted, and may not be there to its end.
            return Step::Skip(end as u64);
        }
        self.end_side(input.direction, transactions)
    }

    /// Nothing more of interest comes in this direction.
    fn end_side(&mut self, direction: Direction, transactions: &mut Transactions<Tls>) -> Step {
        self.over[direction.index()] = true;
        if self.over == [true; 2] { finish(transactions) } else { Step::Skip(u64::MAX) }
    }
}

/// Puts together the handshake message that begins with the first record.
///
/// What is wrong is found from left to right, so that it is found at the same octet however many follow.
fn assemble<'a>(bytes: &'a [u8], assembled: &'a mut Vec<u8>) -> Message<'a> {
    let mut c = Cursor::new(bytes);
    let mut header = [0; HANDSHAKE_HEADER];
    let mut have = 0;
    let mut needed = usize::MAX;
    let mut records = 0;
    let mut end = 0;
    while have < needed {
        let start = c.offset();
        let fragment = match record(&mut c) {
            Record::Whole(HANDSHAKE, fragment) | Record::Partial(HANDSHAKE, fragment) => fragment,
            Record::Header => &[],
            _ => return Message::Bad,
        };
        for (to, from) in header.iter_mut().skip(have).zip(fragment) {
            *to = *from;
        }
        have += fragment.len();
        records += 1;
        if have >= HANDSHAKE_HEADER {
            let [kind, len @ ..] = header;
            needed = HANDSHAKE_HEADER + u24(len);
            if needed > MAX_SPAN || !matches!(kind, CLIENT_HELLO | SERVER_HELLO | DRAFT_HELLO_RETRY_REQUEST) {
                return Message::Bad;
            }
        }
        if have < needed && c.is_at_end() {
            return if bytes.len() >= MAX_SPAN { Message::Bad } else { Message::Incomplete };
        }
        let declared = bytes.get(start + 3..).and_then(|b| Cursor::new(b).u16()).unwrap_or_default();
        end = start + RECORD_HEADER + usize::from(declared);
    }
    // Of the last fragment, what lies behind the message does not count.
    if c.offset() - (have - needed) > MAX_SPAN {
        return Message::Bad;
    }
    let message = if records == 1 {
        bytes.get(RECORD_HEADER..).unwrap_or_default()
    } else {
        assembled.clear();
        let mut c = Cursor::new(bytes);
        for _ in 0..records {
            if let Record::Whole(_, fragment) | Record::Partial(_, fragment) = record(&mut c) {
                assembled.extend(fragment);
            }
        }
        assembled
    };
    Message::Whole { kind: header[0], body: message.get(HANDSHAKE_HEADER..needed).unwrap_or_default(), end }
}

fn u24([a, b, c]: [u8; 3]) -> usize {
    u32::from_be_bytes([0, a, b, c]) as usize
}
