// SPDX-License-Identifier: MIT OR Apache-2.0
//! SSH (RFC 4253) over TCP, recognised by content: what is said before encryption.
//!
//! One connection is one transaction, complete when both sides have sent their SSH_MSG_KEXINIT; after it the flow costs
//! nothing. Who is the client is told by the names that only one side may list (`ext-info-c`, RFC 8308 section 2.1, and the
//! markers of OpenSSH's strict key exchange), else by who began.
//!
//! - **Parsed**: identification strings (section 4.2), the name-lists of SSH_MSG_KEXINIT (section 7.1); from them HASSH and
//!   HASSH server (key exchange, cipher, code and compression lists of the side's own direction, joined by semicolons, MD5),
//!   and what both sides agree on: the first name of the client that the server has, too.
//! - **Not parsed**: host keys, the key exchange itself, anything encrypted; SSH 1 has its identification strings only. A
//!   key exchange guessed wrongly or repeated changes nothing.
//! - **Bounds**: 255 octets of an identification string, 64 lines of a server before it, 35,000 octets of a packet
//!   (section 6.1), 8 packets before SSH_MSG_KEXINIT; the client's lists wait for the server's, and theirs for the client's,
//!   in memory that the budget knows.
//! - **Odd input**: what is no packet of the protocol ends its direction; so do octets that are missing.
//! - **Fields**: all of `weir_flow::app::Ssh`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/ssh/ssh.pcap`.

#[cfg(test)]
mod tests;

use md5::{Digest, Md5};
use weir_flow::{allocated, app::Ssh};

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, line};
use crate::Cursor;

/// Most octets of an identification string with its end (section 4.2).
const MAX_LINE: usize = 255;

/// Most lines before the identification string of a server.
const MAX_LINES: u8 = 64;

/// Most octets of a packet behind its length (section 6.1).
const MAX_PACKET: usize = 35_000;

/// Octets of the length of a packet.
const LENGTH: usize = 4;

/// Packets of one direction that may come before SSH_MSG_KEXINIT.
const MAX_EARLIER: u8 = 8;

const DISCONNECT: u8 = 1;
const IGNORE: u8 = 2;
const DEBUG: u8 = 4;
const KEXINIT: u8 = 20;

/// Name-lists of SSH_MSG_KEXINIT.
const LISTS: usize = 10;
const KEX: usize = 0;
const HOST_KEY: usize = 1;
const CIPHER_TO_SERVER: usize = 2;
const MAC_TO_SERVER: usize = 4;

/// Names that only a client lists, and those that only a server lists.
const OF_CLIENTS: [&[u8]; 2] = [b"ext-info-c", b"kex-strict-c-v00@openssh.com"];
const OF_SERVERS: [&[u8]; 2] = [b"ext-info-s", b"kex-strict-s-v00@openssh.com"];

/// What one direction is about to say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Identification,
    Packets,
    Over,
}

/// Reads the beginning of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    stage: [Stage; 2],
    /// Lines before the identification string, then packets before SSH_MSG_KEXINIT.
    earlier: [u8; 2],
    /// The client's direction, once it is told by more than who began.
    client: Option<Direction>,
    /// The lists of the side that sent them first: those that are compared, each behind its length.
    first: Option<Lists>,
}

/// What the first side has sent, until the other side's lists come.
#[derive(Debug)]
struct Lists {
    names: Box<[u8]>,
}

impl super::Parser for Parser {
    type Fields = Ssh;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "ssh",
        transports: &[Transport::Stream],
        port_hints: &[22],
        max_buffered: LENGTH + MAX_PACKET,
        max_inspected: 4 * MAX_PACKET as u32,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::TEXT, Octets::TEXT, Octets::TEXT, Octets::TEXT];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match begins(input.bytes) {
            Probe::No if input.hinted => begins_later(input.bytes),
            told => told,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Ssh>, (): &mut ()) -> Step {
        match self.stage[input.direction.index()] {
            Stage::Identification => self.identification(input, transactions),
            Stage::Packets => self.packet(input, transactions),
            Stage::Over => Step::Skip(u64::MAX),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.stage[direction.index()] = Stage::Over;
        if self.stage == [Stage::Over; 2] { AfterGap::Done } else { AfterGap::Resume }
    }

    fn held(&self) -> usize {
        self.first.as_ref().map_or(0, |lists| allocated(lists.names.len()))
    }
}

/// Whether octets begin with an identification string.
fn begins(bytes: &[u8]) -> Probe {
    const START: &[u8] = b"SSH-";
    let known = bytes.len().min(START.len());
    match bytes.get(START.len()) {
        _ if bytes.get(..known) != START.get(..known) => Probe::No,
        None => Probe::More,
        Some(b'1' | b'2') => Probe::Yes,
        Some(_) => Probe::No,
    }
}

/// Whether they do after lines of text, which a server may say before it (section 4.2).
fn begins_later(bytes: &[u8]) -> Probe {
    let is_it = |w: &[u8]| matches!(w, [b'\n', b'S', b'S', b'H', b'-', b'1' | b'2']);
    let at = bytes.windows(6).position(is_it);
    let before = bytes.get(..at.unwrap_or(bytes.len())).unwrap_or_default();
    match before.iter().all(|octet| matches!(octet, b' '..=b'~' | b'\t' | b'\r' | b'\n')) {
        false => Probe::No,
        true if at.is_some() => Probe::Yes,
        true => Probe::More,
    }
}

impl Parser {
    fn identification(&mut self, input: Input<'_>, transactions: &mut Transactions<Ssh>) -> Step {
        let side = input.direction.index();
        let within = input.bytes.get(..MAX_LINE).unwrap_or(input.bytes);
        let Some((text, len)) = line::first(within) else {
            return if within.len() < MAX_LINE { Step::More } else { self.end(input.direction, transactions) };
        };
        if !text.starts_with(b"SSH-") {
            self.earlier[side] += 1;
            return if self.earlier[side] < MAX_LINES {
                Step::Consumed(len)
            } else {
                self.end(input.direction, transactions)
            };
        }
        let is_client = self.is_client(input.direction);
        if let Some(fields) = fields(transactions) {
            let version = if is_client { &mut fields.client_version } else { &mut fields.server_version };
            version.set(text, &mut fields.memory);
        }
        self.earlier[side] = 0;
        // 1.99 is a server that speaks 2.0 as well (section 5.1).
        if !text.starts_with(b"SSH-2.") && !text.starts_with(b"SSH-1.99-") {
            return self.end(input.direction, transactions);
        }
        self.stage[side] = Stage::Packets;
        Step::Consumed(len)
    }

    fn packet(&mut self, input: Input<'_>, transactions: &mut Transactions<Ssh>) -> Step {
        let side = input.direction.index();
        let mut c = Cursor::new(input.bytes);
        let Some(len) = c.u32() else { return Step::More };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if !(8..=MAX_PACKET).contains(&len) {
            return self.end(input.direction, transactions);
        }
        let (Some(padding), Some(kind)) = (c.u8(), c.u8()) else { return Step::More };
        let payload = (len - 1).checked_sub(padding.into());
        match (kind, payload) {
            (KEXINIT, Some(payload)) => {
                if input.bytes.len() < LENGTH + len && !input.snapped {
                    return Step::More;
                }
                let body = input.bytes.get(LENGTH + 2..).unwrap_or_default();
                let body = body.get(..payload.saturating_sub(1)).unwrap_or(body);
                self.key_exchange(input.direction, body, transactions);
            }
            (DISCONNECT | IGNORE | DEBUG, Some(_)) if self.earlier[side] < MAX_EARLIER => {
                self.earlier[side] += 1;
                return Step::Skip((LENGTH + len) as u64);
            }
            _ => {}
        }
        self.end(input.direction, transactions)
    }

    /// Takes the lists of one side: `body` follows the message number.
    fn key_exchange(&mut self, direction: Direction, body: &[u8], transactions: &mut Transactions<Ssh>) {
        let Some(lists) = lists(body) else { return };
        if let Some(client) = client_by_names(direction, lists[KEX])
            && self.client.is_none()
        {
            if !self.is_client(client) {
                swap_versions(transactions);
            }
            self.client = Some(client);
        }
        let is_client = self.is_client(direction);
        let Some(fields) = fields(transactions) else { return };
        let own = if is_client { [0, 2, 4, 6] } else { [0, 3, 5, 7] };
        let mut hash = Md5::new();
        for (i, list) in own.into_iter().enumerate() {
            if i > 0 {
                hash.update(b";");
            }
            hash.update(lists[list]);
        }
        let fingerprint = if is_client { &mut fields.hassh } else { &mut fields.hassh_server };
        fingerprint.set(&hash.finalize());
        match self.first.take() {
            None => self.first = Some(Lists::new(&lists)),
            Some(first) => agree(&first, &lists, is_client, fields),
        }
    }

    fn is_client(&self, direction: Direction) -> bool {
        self.client.unwrap_or(Direction::Forward) == direction
    }

    /// Nothing more of interest comes in this direction.
    fn end(&mut self, direction: Direction, transactions: &mut Transactions<Ssh>) -> Step {
        self.stage[direction.index()] = Stage::Over;
        if self.stage != [Stage::Over; 2] {
            return Step::Skip(u64::MAX);
        }
        if let Some(index) = transactions.oldest_open() {
            transactions.complete(index);
        }
        Step::Done
    }
}

/// The fields of the connection.
fn fields(transactions: &mut Transactions<Ssh>) -> Option<&mut Ssh> {
    let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
    transactions.fields_mut(index)
}

/// The side that was taken for the client is the server.
fn swap_versions(transactions: &mut Transactions<Ssh>) {
    if let Some(fields) = fields(transactions) {
        std::mem::swap(&mut fields.client_version, &mut fields.server_version);
    }
}

/// The name-lists of SSH_MSG_KEXINIT, whose cookie comes first.
fn lists(body: &[u8]) -> Option<[&[u8]; LISTS]> {
    let mut c = Cursor::new(body);
    c.take(16)?;
    let mut lists = [&b""[..]; LISTS];
    for list in &mut lists {
        let len = c.u32()?;
        *list = c.take(usize::try_from(len).ok()?)?;
    }
    Some(lists)
}

fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&octet| octet == b',')
}

/// The client's direction, if the key exchange methods of one side tell it.
fn client_by_names(direction: Direction, methods: &[u8]) -> Option<Direction> {
    let has = |telling: [&[u8]; 2]| names(methods).any(|name| telling.contains(&name));
    match (has(OF_CLIENTS), has(OF_SERVERS)) {
        (true, false) => Some(direction),
        (false, true) => Some(direction.opposite()),
        _ => None,
    }
}

impl Lists {
    const COMPARED: [usize; 4] = [KEX, HOST_KEY, CIPHER_TO_SERVER, MAC_TO_SERVER];

    fn new(lists: &[&[u8]; LISTS]) -> Self {
        let mut names = Vec::with_capacity(Self::COMPARED.iter().map(|&i| lists[i].len() + 1).sum());
        for i in Self::COMPARED {
            names.extend_from_slice(lists[i]);
            // No name has it (RFC 4251 section 6).
            names.push(0);
        }
        Self { names: names.into_boxed_slice() }
    }
}

/// Writes what both sides agree on: the first name of the client that the server has.
fn agree(first: &Lists, second: &[&[u8]; LISTS], second_is_client: bool, fields: &mut Ssh) {
    let Ssh { kex_algorithm, host_key_algorithm, cipher, mac, memory, .. } = fields;
    let texts = [kex_algorithm, host_key_algorithm, cipher, mac];
    let firsts = first.names.split(|&octet| octet == 0);
    for ((text, first), second) in texts.into_iter().zip(firsts).zip(Lists::COMPARED.map(|i| second[i])) {
        let (client, server) = if second_is_client { (second, first) } else { (first, second) };
        let agreed =
            names(client).take(MAX_NAMES).find(|name| names(server).take(MAX_NAMES).any(|other| other == *name));
        if let Some(name) = agreed {
            text.set(name, memory);
        }
    }
}

/// Most names of a list that are compared: 100 times 100 comparisons at worst.
const MAX_NAMES: usize = 100;
