// SPDX-License-Identifier: MIT OR Apache-2.0
//! BitTorrent, recognised by content: the handshake of peers over TCP (BEP 3), the distributed hash table (BEP 5) and trackers
//! (BEP 15) over UDP.
//!
//! A flow is one transaction. Of a connection the two handshakes are read; of datagrams the first sixteen. Then the flow costs
//! nothing.
//!
//! - **Parsed**: of handshakes torrent and peers; of the hash table the kind of queries, the torrent they are about, the nodes; of
//!   trackers actions, torrent, peer.
//! - **Not parsed**: what peers say after the handshake, connections that are encrypted from the first octet, uTP (BEP 29), whose
//!   header is too much like anything, trackers over HTTP, which are HTTP.
//! - **Recognised** by the 20 octets of a handshake's name; by a dictionary that ends with its datagram and names a transaction
//!   and a kind of message (`1:t`, `1:y1:q`): far below one random datagram in 2^60; by the number with which every exchange with a
//!   tracker begins (8 octets), action 0 and a length of 16: one in 2^96.
//! - **Bounds**: 512 values of a dictionary, 16 deep; a datagram is walked once.
//! - **Odd input**: what is no message is passed over.
//! - **Fields**: all of `weir_flow::app::Bittorrent`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/bittorrent/bittorrent.pcap`.

mod dictionary;
#[cfg(test)]
mod tests;

use weir_flow::app::Bittorrent;

use self::dictionary::Dictionary;
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};
use crate::Cursor;

/// With what a handshake begins: length of the name, and the name.
const NAME: &[u8; 20] = b"\x13BitTorrent protocol";

/// Octets of a handshake: name, extensions, torrent, peer.
const HANDSHAKE: usize = 20 + 8 + 20 + 20;

/// With what an exchange with a tracker begins.
const TRACKER: [u8; 8] = 0x0417_2710_1980_u64.to_be_bytes();

/// Octets of a request of a tracker's client.
const CONNECT: usize = 16;
const ANNOUNCE: usize = 98;

/// Datagrams that are read.
const MAX_DATAGRAMS: u8 = 16;

/// What is on the way.
#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    #[default]
    Table,
    /// The client's direction.
    Tracker(Direction),
}

/// Reads the beginning of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Directions whose handshake is read.
    greeted: [bool; 2],
    kind: Kind,
    datagrams: u8,
}

impl super::Parser for Parser {
    type Fields = Bittorrent;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "bittorrent",
        transports: &[Transport::Stream, Transport::Datagram],
        port_hints: &[6881],
        max_buffered: HANDSHAKE,
        max_inspected: 16 * 1500,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[0, 0x13, b'd'])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match (input.transport, input.bytes.first()) {
            (Transport::Stream, Some(0x13)) => {
                let known = input.bytes.len().min(NAME.len());
                match input.bytes.get(..known) == NAME.get(..known) {
                    false => Probe::No,
                    true if known < NAME.len() => Probe::More,
                    true => Probe::Yes,
                }
            }
            (Transport::Datagram, Some(b'd')) if Dictionary::read(input.bytes).is_some() => Probe::Yes,
            (Transport::Datagram, Some(0)) if is_connect(input.bytes) => Probe::Yes,
            _ => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Bittorrent>, (): &mut ()) -> Step {
        if input.transport == Transport::Stream {
            return self.handshake(input, transactions);
        }
        if is_connect(input.bytes) {
            self.kind = Kind::Tracker(input.direction);
            if let Some(fields) = fields(transactions, b"tracker") {
                fields.query.push_new(b"connect", &mut fields.memory);
            }
        } else if let Kind::Tracker(client) = self.kind {
            if client == input.direction {
                tracker(input, transactions);
            }
        } else if let Some(message) = Dictionary::read(input.bytes)
            && let Some(fields) = fields(transactions, b"dht")
        {
            message.write(input.direction, fields);
        }
        self.datagrams += 1;
        if self.datagrams < MAX_DATAGRAMS { Step::Consumed(input.bytes.len()) } else { finish(transactions) }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.greeted[direction.index()] = true;
        if self.greeted == [true; 2] { AfterGap::Done } else { AfterGap::Resume }
    }
}

fn is_connect(bytes: &[u8]) -> bool {
    bytes.len() == CONNECT && bytes.starts_with(&TRACKER) && bytes.get(8..12) == Some(&[0; 4])
}

/// The fields of the flow, which is of this kind.
fn fields<'t>(transactions: &'t mut Transactions<Bittorrent>, kind: &[u8]) -> Option<&'t mut Bittorrent> {
    let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
    let fields = transactions.fields_mut(index)?;
    fields.kind.set(kind);
    Some(fields)
}

fn finish(transactions: &mut Transactions<Bittorrent>) -> Step {
    if let Some(index) = transactions.oldest_open() {
        transactions.complete(index);
    }
    Step::Done
}

/// Writes who the sender of a message is.
fn write_sender(direction: Direction, id: &[u8], fields: &mut Bittorrent) {
    match direction {
        Direction::Forward => fields.source_id.set(id),
        Direction::Reverse => fields.destination_id.set(id),
    }
}

impl Parser {
    fn handshake(&mut self, input: Input<'_>, transactions: &mut Transactions<Bittorrent>) -> Step {
        let side = input.direction.index();
        if self.greeted[side] {
            return Step::Skip(u64::MAX);
        }
        if let Some(handshake) = input.bytes.first_chunk::<HANDSHAKE>() {
            if let Some((name, rest)) = handshake.split_first_chunk::<20>()
                && name == NAME
                && let Some(fields) = fields(transactions, b"peer")
            {
                fields.info_hash.set(rest.get(8..28).unwrap_or_default());
                write_sender(input.direction, rest.get(28..).unwrap_or_default(), fields);
            }
        } else if !input.snapped && input.bytes.iter().zip(NAME).all(|(a, b)| a == b) {
            return Step::More;
        }
        self.greeted[side] = true;
        if self.greeted == [true; 2] { finish(transactions) } else { Step::Skip(u64::MAX) }
    }
}

/// A request of a tracker's client after the first (BEP 15): connection, action, transaction; of an announcement torrent and
/// peer.
fn tracker(input: Input<'_>, transactions: &mut Transactions<Bittorrent>) {
    let mut c = Cursor::new(input.bytes);
    let (Some(_), Some(action), Some(_)) = (c.u64(), c.u32(), c.u32()) else { return };
    let Some(fields) = fields(transactions, b"tracker") else { return };
    match action {
        1 if input.bytes.len() >= ANNOUNCE => {
            fields.query.push_new(b"announce", &mut fields.memory);
            c.take(20).into_iter().for_each(|hash| fields.info_hash.set(hash));
            c.take(20).into_iter().for_each(|peer| write_sender(input.direction, peer, fields));
        }
        2 => {
            fields.query.push_new(b"scrape", &mut fields.memory);
            c.take(20).into_iter().for_each(|hash| fields.info_hash.set(hash));
        }
        _ => {}
    }
}
