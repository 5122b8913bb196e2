// SPDX-License-Identifier: MIT OR Apache-2.0
//! What hellos say: those of TLS (RFC 8446 section 4.1) with the parameters of QUIC (RFC 9000 section 18), and Google's.
//!
//! ```text
//!   ClientHello: type 1, length 3, body as in TLS
//!   quic_transport_parameters: <v> parameters: number v, <v> value
//!   CHLO: "CHLO", entries 2, 0 2, then tag 4, end of its value 4 for each, then the values; from the smallest octet on
//! ```

use weir_flow::app::{Fields, Quic, Tls};

use super::header::variable;
use crate::{
    Cursor,
    app::tls::{fingerprint, hello},
};

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// Octets of the header of a handshake message.
const HEADER: usize = 4;

/// RFC 9001 section 8.2.
const TRANSPORT_PARAMETERS: u16 = 0x39;
/// The same in drafts.
const DRAFT_TRANSPORT_PARAMETERS: u16 = 0xffa5;
/// Of Google: the program and its version.
const USER_AGENT: u64 = 0x3129;

/// Most entries of a CHLO.
const MAX_ENTRIES: usize = 128;

/// What is needed while a hello is read.
#[derive(Debug)]
pub(super) struct Scratch {
    tls: Tls,
    fingerprint: fingerprint::Scratch,
    types: Vec<u16>,
    lengths: Vec<u16>,
}

impl Default for Scratch {
    fn default() -> Self {
        // Browsers shuffle their extensions, so that a hello hardly ever comes again.
        let fingerprint = fingerprint::Scratch::forgetful();
        Self { tls: Tls::default(), fingerprint, types: Vec::new(), lengths: Vec::new() }
    }
}

/// What there is of a handshake message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    /// All: so many octets.
    Whole(usize),
    /// It may become whole.
    Part,
    /// It is longer than what is kept, or not the one that is expected.
    Never,
}

/// How much of the first message of a client there is.
pub(super) fn extent_of_client(start: &[u8], is_google: bool, max: usize) -> Extent {
    if is_google && start.first() == Some(&b'C') {
        extent_of_chlo(start, max)
    } else {
        extent(CLIENT_HELLO, start, max)
    }
}

/// How much of the first message of a server there is.
pub(super) fn extent_of_server(start: &[u8], max: usize) -> Extent {
    extent(SERVER_HELLO, start, max)
}

fn extent(expected: u8, start: &[u8], max: usize) -> Extent {
    let mut c = Cursor::new(start);
    match (c.u8(), c.u24()) {
        (Some(kind), _) if kind != expected => Extent::Never,
        (Some(_), Some(len)) => match HEADER + len as usize {
            len if len > max => Extent::Never,
            len if len > start.len() => Extent::Part,
            len => Extent::Whole(len),
        },
        _ => Extent::Part,
    }
}

/// Reads the ClientHello that a message begins with, or what there is of it.
pub(super) fn read_client(message: &[u8], is_whole: bool, fields: &mut Quic, scratch: &mut Scratch) {
    let Scratch { tls, fingerprint, types, lengths } = scratch;
    let body = message.get(HEADER..).unwrap_or_default();
    tls.clear();
    hello::read_client(body, tls, fingerprint);
    // There may be those of an earlier hello, which the server refused.
    fields.alpn = Default::default();
    set(tls.server_name.as_bytes(&tls.memory), |name| fields.server_name.set(name, &mut fields.memory));
    tls.alpn.iter(&tls.memory).for_each(|protocol| fields.alpn.push(protocol, &mut fields.memory));
    if is_whole {
        set_fingerprints(tls, fields);
    }
    types.clear();
    lengths.clear();
    let is_read = extensions(body, |kind, data| {
        types.push(kind);
        // So many octets are in no message.
        lengths.push(u16::try_from(data.len()).unwrap_or(u16::MAX));
        if matches!(kind, TRANSPORT_PARAMETERS | DRAFT_TRANSPORT_PARAMETERS)
            && let Some(agent) = parameter(data, USER_AGENT)
        {
            set(agent, |agent| fields.user_agent.set(agent, &mut fields.memory));
        }
    });
    fields.extensions = Default::default();
    fields.extensions.extend(types.iter().copied(), &mut fields.memory);
    fields.extension_lengths = Default::default();
    fields.extension_lengths.extend(lengths.iter().copied(), &mut fields.memory);
    fields.hello_read = (is_whole && is_read.is_some()).then_some(1);
}

fn set_fingerprints(tls: &Tls, fields: &mut Quic) {
    set(tls.ja3.as_bytes(), |ja3| fields.ja3.set(ja3, &mut fields.memory));
    set(tls.ja4.as_bytes(), |ja4| {
        let mut own = [0; 40];
        own.iter_mut().zip(ja4).for_each(|(to, from)| *to = *from);
        // In place of `t`: not over TCP.
        own[0] = b'q';
        fields.ja4.set(own.get(..ja4.len()).unwrap_or_default(), &mut fields.memory);
    });
}

/// Sets what is not empty.
fn set(octets: &[u8], set: impl FnOnce(&[u8])) {
    if !octets.is_empty() {
        set(octets);
    }
}

/// Hands over each extension of a ClientHello. `None` if a length goes beyond the end.
fn extensions<'a>(body: &'a [u8], mut each: impl FnMut(u16, &'a [u8])) -> Option<()> {
    let mut c = Cursor::new(body);
    // Version and random.
    c.take(2 + 32)?;
    let session = c.u8()?;
    c.take(session.into())?;
    let suites = c.u16()?;
    c.take(suites.into())?;
    let compressions = c.u8()?;
    c.take(compressions.into())?;
    let len = c.u16()?;
    let lies = usize::from(len) > c.remaining();
    let mut list = Cursor::new(c.take(c.remaining().min(len.into()))?);
    while !list.is_at_end() {
        let (kind, len) = (list.u16()?, list.u16()?);
        each(kind, list.take(len.into())?);
    }
    (!lies).then_some(())
}

/// The value of a transport parameter.
fn parameter(data: &[u8], wanted: u64) -> Option<&[u8]> {
    let mut c = Cursor::new(data);
    loop {
        let number = variable(&mut c)?;
        let len = usize::try_from(variable(&mut c)?).ok()?;
        let value = c.take(len)?;
        if number == wanted {
            return Some(value);
        }
    }
}

/// Reads the ServerHello that a message begins with.
pub(super) fn read_server(message: &[u8], fields: &mut Quic, scratch: &mut Scratch) {
    let Scratch { tls, fingerprint, .. } = scratch;
    tls.clear();
    let is_retry = hello::read_server(message.get(HEADER..).unwrap_or_default(), tls, fingerprint);
    fields.cipher_suite = tls.cipher_suite;
    // What asks for another ClientHello chooses the cipher suite, but is no ServerHello yet.
    if !is_retry {
        set(tls.ja3s.as_bytes(), |ja3s| fields.ja3s.set(ja3s, &mut fields.memory));
    }
}

/// What comes after the tag `CHLO` in a packet without protection; `None` if there is none.
pub(super) fn find_chlo(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(CHLO.len()).position(|tag| tag == CHLO)?;
    bytes.get(at..)
}

const CHLO: &[u8] = b"CHLO";

/// Whether a client's first message is Google's.
pub(super) fn is_chlo(message: &[u8]) -> bool {
    message.starts_with(CHLO)
}

fn extent_of_chlo(start: &[u8], max: usize) -> Extent {
    if start.len() < 8 {
        return Extent::Part;
    }
    let Some(entries) = entries(start) else { return Extent::Never };
    let last = 8 * entries;
    let Some(end) = start.get(last..).and_then(|last| number(last.get(4..)?)) else { return Extent::Part };
    match (8 + last).saturating_add(end) {
        len if len > max => Extent::Never,
        len if len > start.len() => Extent::Part,
        len => Extent::Whole(len),
    }
}

/// Number of entries of a CHLO; `None` if it is none, or has no entries or too many.
fn entries(message: &[u8]) -> Option<usize> {
    let rest = message.strip_prefix(CHLO)?;
    let entries = usize::from(u16::from_le_bytes(*rest.first_chunk()?));
    (1..=MAX_ENTRIES).contains(&entries).then_some(entries)
}

/// Four octets from the smallest on.
fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()
}

/// Reads a CHLO, or what there is of it.
pub(super) fn read_chlo(message: &[u8], fields: &mut Quic) {
    let Some(entries) = entries(message) else { return };
    let values = message.get(8 + 8 * entries..).unwrap_or_default();
    let mut start = 0;
    let mut whole = 0;
    for entry in message.get(8..).unwrap_or_default().chunks_exact(8).take(entries) {
        let (tag, end) = entry.split_at(4);
        let value = number(end).and_then(|end| values.get(std::mem::replace(&mut start, end)..end));
        whole += usize::from(value.is_some());
        match (tag, value) {
            (b"SNI\0", Some(name)) => set(name, |name| fields.server_name.set(name, &mut fields.memory)),
            (b"UAID", Some(agent)) => set(agent, |agent| fields.user_agent.set(agent, &mut fields.memory)),
            _ => {}
        }
    }
    fields.hello_read = (whole == entries).then_some(1);
}
