// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS 1.0 to 1.3 (RFC 2246, 4346, 5246, 8446) over TCP, and DTLS 1.0 to 1.3 (RFC 4347, 6347, 9147) over UDP: what is said in the
//! clear.
//!
//! A ClientHello and its answer are one transaction. Where the server asks for another ClientHello (HelloRetryRequest,
//! RFC 8446 section 4.1.4), that one and its answer are a second transaction, since their fingerprints differ; if the second hello
//! is not seen, the ServerHello replaces what the request said. A hello that DTLS repeats with a cookie (HelloVerifyRequest) is the
//! same hello. After both hellos, and until TLS 1.2 what the client answers to the server's certificate, the flow costs nothing.
//!
//! DTLS has no name of its own: it has the same fields, and the flow's transport and its versions (0xfeff, 0xfefd, 0xfefc) tell it.
//!
//! - **Parsed**: the record layer, handshake messages cut over any number of records, ClientHello and ServerHello
//!   (RFC 8446 section 4.1), the extensions server_name (RFC 6066 section 3), supported_versions,
//!   application_layer_protocol_negotiation (RFC 7301), what the fingerprints JA3, JA3S and JA4 need, without the values
//!   reserved by RFC 8701 (GREASE); which way a session was resumed; the first certificate of the server (RFC 5280) and of the
//!   client (RFC 5246 section 7.4.6), the others are not looked at; alerts in the clear. Drafts of TLS 1.3 give their raw version.
//!   Of DTLS, fragments of messages in any order. What a server says that does not speak TLS is recognised anew.
//! - **What follows**: media on the same ports, for which DTLS has made the keys (RFC 5764), are recognised anew: a datagram that
//!   begins with an octet from 128 to 191 (RFC 7983 section 7), of a side whose handshake is over. Where the client offers use_srtp,
//!   64 datagrams after the handshake are waited for; STUN may be among them.
//! - **Not parsed**: anything encrypted (Encrypted Client Hello gives the outer hello; certificates from
//!   TLS 1.3 on), hellos in SSL 2.0 form, a second handshake on the same connection. Not recorded: random values, identifiers of
//!   sessions.
//! - **Bounds**: 32 KiB from the first octet of a message to the last that is wanted, record headers included; in DTLS 8 KiB of each of
//!   four messages, in 32 pieces.
//! - **Odd input**: a hello that lies about a length gives what came before, and no fingerprint; an odd value in a certificate is left
//!   out.
//! - **Fields**: all of `weir_flow::app::Tls`.
//! - **Fixtures**: hand-made messages in `tests.rs`; any split of a stream, any order of fragments in `tests/splits_dns_tls.rs`.

mod certificate;
mod dtls;
pub(super) mod fingerprint;
pub(super) mod hello;
mod records;
#[cfg(test)]
mod tests;

use weir_flow::app::Tls;

use self::{
    dtls::Assembly,
    fingerprint::Carrier,
    records::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, MAX_SPAN, Message, Record, assemble, record},
};
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};
use crate::Cursor;

/// Octets of a handshake message's header: type, length.
const HANDSHAKE_HEADER: usize = 4;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const NEW_SESSION_TICKET: u8 = 4;
/// Until draft 22 of TLS 1.3 a message of its own.
const DRAFT_HELLO_RETRY_REQUEST: u8 = 6;
const CERTIFICATE: u8 = 11;
/// May come before the Certificate (RFC 4680).
const SUPPLEMENTAL_DATA: u8 = 23;

const FATAL: u8 = 2;

/// Most records of early data that are passed over to find a second hello.
const MAX_EARLY: u8 = 16;

/// Most datagrams between a handshake and media.
const MAX_BEFORE_MEDIA: u8 = 64;

/// Values of `Tls::resumption`.
mod resumption {
    pub(super) const NONE: u8 = 0;
    pub(super) const SESSION: u8 = 1;
    pub(super) const TICKET: u8 = 2;
    pub(super) const PRE_SHARED_KEY: u8 = 3;
}

/// What is expected of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Side {
    /// A hello.
    #[default]
    Fresh,
    /// It sent a ClientHello, and may be asked for another.
    Client,
    /// It asked for another ClientHello; its ServerHello.
    Retry,
    /// It sent a ServerHello; its Certificate.
    Certificate,
    /// It got a ServerHello; its Certificate, if it is asked for one, or what comes in place of it.
    Answer,
    /// Nothing of interest.
    Over,
}

/// Reads the handshake of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    sides: [Side; 2],
    /// Octets of a record that come next, of each direction: the message before ended within the record. Of DTLS, where that
    /// cannot be: the number of the hello, of each direction.
    within: [u16; 2],
    /// A hash of the identifier of the session that the client wants to resume; 0 without one.
    session: u32,
    /// The client has a ticket for a session.
    has_ticket: bool,
    /// The server has given the session an identifier.
    has_session: bool,
    /// Records of early data that may still come; of DTLS, datagrams before media.
    early: u8,
    /// Of DTLS: the server's Certificate was read.
    has_certificate: bool,
    /// Of DTLS: messages of which not all fragments have come.
    assembly: Option<Box<Assembly>>,
}

/// What is needed while a message is read.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A handshake message that came in several records.
    assembled: Vec<u8>,
    fingerprint: fingerprint::Scratch,
}

impl super::Parser for Parser {
    type Fields = Tls;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "tls",
        transports: &[Transport::Stream, Transport::Datagram],
        port_hints: &[443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 5223, 5349, 5684, 6514, 8443, 8883],
        max_buffered: MAX_SPAN,
        max_inspected: 2 * MAX_SPAN as u32,
        max_open: 1,
    };

    /// Of the second, 1 is that of DTLS in OpenSSL before RFC 4347.
    const BEGINS: &[Octets] = &[Octets::from(CHANGE_CIPHER_SPEC..=APPLICATION_DATA), Octets::of(&[1, 3, 0xfe])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if input.transport == Transport::Datagram { dtls::probe(input.bytes) } else { probe(input.bytes) }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Tls>, scratch: &mut Scratch) -> Step {
        let side = input.direction.index();
        let state = self.sides[side];
        if input.transport == Transport::Datagram {
            return self.datagram(input, transactions, &mut scratch.fingerprint);
        }
        if state == Side::Over {
            return Step::Skip(u64::MAX);
        }
        if self.within[side] > 0 {
            return self.handshake(input, transactions, scratch);
        }
        let mut c = Cursor::new(input.bytes);
        match record(&mut c) {
            Record::Header => Step::More,
            // A server that does not know TLS answers in its own protocol, nearly always a line of text.
            Record::Bad
                if state == Side::Fresh
                    && self.sides[side ^ 1] == Side::Client
                    && input.bytes.first().is_some_and(u8::is_ascii_graphic)
                    && current(transactions).is_some_and(|fields| fields.alert.is_none()) =>
            {
                Step::Handover(0)
            }
            Record::Whole(ALERT, &[level, description]) => {
                if alert(level, description, transactions) {
                    return finish(transactions);
                }
                Step::Consumed(c.offset())
            }
            // Of no meaning in TLS 1.3 (RFC 8446 appendix D.4); a client may send it before its second hello, a server
            // before its ServerHello.
            Record::Whole(CHANGE_CIPHER_SPEC, _) if matches!(state, Side::Client | Side::Retry) => {
                Step::Consumed(c.offset())
            }
            Record::Partial(CHANGE_CIPHER_SPEC, ..) if matches!(state, Side::Client | Side::Retry) => Step::More,
            Record::Partial(ALERT, ..) => Step::More,
            Record::Whole(CHANGE_CIPHER_SPEC, _) | Record::Partial(CHANGE_CIPHER_SPEC, ..)
                if state == Side::Certificate =>
            {
                let is_finished = self.resumed(side, transactions);
                self.after(side, is_finished, 0)
            }
            Record::Whole(HANDSHAKE, _) | Record::Partial(HANDSHAKE, ..) => {
                self.handshake(input, transactions, scratch)
            }
            Record::Partial(APPLICATION_DATA, _, missing) if state == Side::Client && self.early > 0 => {
                self.early -= 1;
                Step::Skip((c.offset() + missing) as u64)
            }
            Record::Whole(APPLICATION_DATA, _) if state == Side::Client && self.early > 0 => {
                self.early -= 1;
                Step::Skip(c.offset() as u64)
            }
            // Without a hello before it: its hello was not captured.
            Record::Bad | Record::Whole(..) | Record::Partial(..) => {
                let is_finished = self.end(side, transactions);
                self.after(side, is_finished, 0)
            }
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.sides[direction.index()] = Side::Over;
        self.within[direction.index()] = 0;
        if self.sides == [Side::Over; 2] { AfterGap::Done } else { AfterGap::Resume }
    }

    fn held(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.held())
    }
}

/// Whether a stream begins with a hello.
fn probe(bytes: &[u8]) -> Probe {
    let mut first = [0; HANDSHAKE_HEADER + 2];
    let mut filled = 0;
    let mut c = Cursor::new(bytes);
    while filled < first.len() {
        let fragment = match record(&mut c) {
            Record::Whole(HANDSHAKE, fragment) | Record::Partial(HANDSHAKE, fragment, _) => fragment,
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
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    // Version, random, and at least one octet of session, cipher suite and compression: drafts have no more.
    let is_hello = (36..=MAX_SPAN).contains(&len) && hello::is_version(u16::from_be_bytes([major, minor]));
    if is_hello { Probe::Yes } else { Probe::No }
}

/// The transaction is over.
fn finish(transactions: &mut Transactions<Tls>) -> Step {
    if let Some(index) = transactions.oldest_open() {
        transactions.complete(index);
    }
    Step::Done
}

/// The open transaction, which is opened if it is not there yet.
fn current(transactions: &mut Transactions<Tls>) -> Option<&mut Tls> {
    let index = transactions.oldest_open().unwrap_or_else(|| transactions.open().0);
    transactions.fields_mut(index)
}

/// Takes an alert. Says whether it ends the connection.
fn alert(level: u8, description: u8, transactions: &mut Transactions<Tls>) -> bool {
    let is_fatal = level == FATAL;
    if let Some(fields) = current(transactions)
        && (fields.alert.is_none() || is_fatal)
    {
        fields.alert = Some(description);
    }
    is_fatal
}

/// How many octets of the body of a Certificate of this length are wanted: the lengths of the list and of the first certificate, and
/// that certificate (RFC 5246 section 7.4.2). `None` if the first octets do not tell yet.
fn certificate_span(length: usize, first: &[u8]) -> Option<usize> {
    const LENGTH: usize = 3;
    if length < 2 * LENGTH {
        return Some(0);
    }
    let mut c = Cursor::new(first);
    let (list, leaf) = (c.u24()? as usize, c.u24()? as usize);
    let is_there = LENGTH + list <= length && LENGTH + leaf <= list;
    Some(if is_there { 2 * LENGTH + leaf } else { 0 })
}

impl Parser {
    /// Reads the next handshake message.
    fn handshake(&mut self, input: Input<'_>, transactions: &mut Transactions<Tls>, scratch: &mut Scratch) -> Step {
        let side = input.direction.index();
        let Scratch { assembled, fingerprint } = scratch;
        let (kind, body, end, within) = match assemble(input.bytes, self.within[side].into(), assembled) {
            Message::Whole { kind, body, end, within } => (kind, body, end, within),
            Message::Incomplete => return Step::More,
            Message::Bad => {
                let is_finished = self.end(side, transactions);
                return self.after(side, is_finished, 0);
            }
        };
        // No longer than a record.
        self.within[side] = within as u16;
        let is_finished = match (kind, self.sides[side]) {
            (CLIENT_HELLO, Side::Fresh | Side::Client) => {
                self.client_hello(side, Carrier::Tcp, body, transactions, fingerprint)
            }
            (SERVER_HELLO, Side::Fresh | Side::Retry) => self.server_hello(side, body, transactions, fingerprint),
            (DRAFT_HELLO_RETRY_REQUEST, Side::Fresh) => {
                current(transactions).into_iter().for_each(|fields| fields.hello_retry = Some(1));
                self.sides[side] = Side::Retry;
                false
            }
            (SUPPLEMENTAL_DATA, Side::Certificate | Side::Answer) => false,
            (NEW_SESSION_TICKET, Side::Certificate) => self.resumed(side, transactions),
            (CERTIFICATE, Side::Certificate) => {
                read_certificate(body, certificate::read, transactions, fingerprint);
                self.full_handshake(side, transactions)
            }
            (CERTIFICATE, Side::Answer) => {
                read_certificate(body, certificate::read_client, transactions, fingerprint);
                self.end(side, transactions)
            }
            (_, Side::Certificate) => self.full_handshake(side, transactions),
            _ => self.end(side, transactions),
        };
        self.after(side, is_finished, end)
    }

    /// The step after a message that ends after so many octets.
    fn after(&self, side: usize, is_finished: bool, end: usize) -> Step {
        match self.sides[side] {
            _ if is_finished => Step::Done,
            Side::Over => Step::Skip(u64::MAX),
            _ => Step::Consumed(end),
        }
    }

    /// Reads a ClientHello. Says whether everything of interest is known now.
    fn client_hello(
        &mut self,
        side: usize,
        carrier: Carrier,
        body: &[u8],
        transactions: &mut Transactions<Tls>,
        scratch: &mut fingerprint::Scratch,
    ) -> bool {
        let is_second = self.sides[side] == Side::Client;
        if is_second && let Some(first) = transactions.oldest_open() {
            transactions.complete(first);
        }
        let Some(fields) = current(transactions) else { return false };
        hello::read_client_of(carrier, body, fields, scratch);
        self.session = scratch.seen.session;
        self.has_ticket = scratch.seen.ticket;
        self.early = match carrier {
            Carrier::Dtls if scratch.seen.srtp => MAX_BEFORE_MEDIA,
            Carrier::Tcp if scratch.seen.early_data => MAX_EARLY,
            _ => 0,
        };
        if is_second || self.sides[side ^ 1] == Side::Over {
            return self.end(side, transactions);
        }
        self.sides[side] = if self.sides[side ^ 1] == Side::Certificate { Side::Answer } else { Side::Client };
        false
    }

    /// Reads a ServerHello. Says whether everything of interest is known now.
    fn server_hello(
        &mut self,
        side: usize,
        body: &[u8],
        transactions: &mut Transactions<Tls>,
        scratch: &mut fingerprint::Scratch,
    ) -> bool {
        let Some(fields) = current(transactions) else { return false };
        let is_retry = hello::read_server(body, fields, scratch);
        if is_retry && self.sides[side] == Side::Fresh {
            self.sides[side] = Side::Retry;
            return false;
        }
        let seen = scratch.seen;
        let hides_certificates = fields.version.is_none_or(hello::hides_certificates);
        // No other hello is asked for.
        if self.sides[side ^ 1] == Side::Client {
            self.sides[side ^ 1] = if hides_certificates { Side::Over } else { Side::Answer };
        }
        if hides_certificates {
            let resumption = if seen.pre_shared_key { resumption::PRE_SHARED_KEY } else { resumption::NONE };
            fields.resumption = seen.is_whole.then_some(resumption);
            return self.end(side, transactions);
        }
        self.has_session = seen.session != 0;
        self.sides[side] = Side::Certificate;
        // Who has a ticket makes an identifier up, to see it again if the ticket is good (RFC 5077 section 3.4).
        if self.has_session && seen.session == self.session { self.resumed(side, transactions) } else { false }
    }

    /// The server resumes a session.
    fn resumed(&mut self, side: usize, transactions: &mut Transactions<Tls>) -> bool {
        if let Some(fields) = current(transactions) {
            // Where the ClientHello was not seen, the identifier is a guess.
            let by_session = self.has_session && !self.has_ticket;
            fields.resumption = Some(if by_session { resumption::SESSION } else { resumption::TICKET });
        }
        // There are no certificates then.
        if self.sides[side ^ 1] == Side::Answer {
            self.sides[side ^ 1] = Side::Over;
        }
        self.end(side, transactions)
    }

    /// The server does not resume a session.
    fn full_handshake(&mut self, side: usize, transactions: &mut Transactions<Tls>) -> bool {
        current(transactions).into_iter().for_each(|fields| fields.resumption = Some(resumption::NONE));
        self.end(side, transactions)
    }

    /// Nothing more of interest comes from this side. Says whether that is so of both.
    fn end(&mut self, side: usize, transactions: &mut Transactions<Tls>) -> bool {
        self.sides[side] = Side::Over;
        let is_finished = self.sides == [Side::Over; 2];
        if is_finished {
            finish(transactions);
        }
        is_finished
    }
}

/// Reads the first certificate of a Certificate, of which all that is wanted is there.
fn read_certificate(
    body: &[u8],
    read: impl FnOnce(&[u8], &mut Tls, &mut Vec<u8>),
    transactions: &mut Transactions<Tls>,
    scratch: &mut fingerprint::Scratch,
) {
    let mut c = Cursor::new(body);
    let leaf = c.u24().and_then(|_| c.u24()).and_then(|len| c.take(len as usize));
    if let Some(leaf) = leaf
        && let Some(fields) = current(transactions)
    {
        read(leaf, fields, &mut scratch.text);
    }
}
