// SPDX-License-Identifier: MIT OR Apache-2.0
//! QUIC over UDP (RFC 9000, 9001, 9369, their drafts, and Google's before them), recognised by content: what the two sides say
//! before they have keys that nobody else has.
//!
//! The beginning of one connection is one transaction. Of the client its hello is wanted, of the server its hello or that it
//! went on without one that could be read; then the flow costs nothing any more. Which side is the client is told by whose
//! packet can be read with the keys that its own destination gives.
//!
//! - **Parsed**: long headers of version 1, version 2 (RFC 9369) and drafts 17 to 34, of Google's Q044 to Q050, T050 and T051 and
//!   Facebook's first two; any number of packets in a datagram; Initial packets with their protection taken off (RFC 9001
//!   section 5), CRYPTO frames put together over frames, packets and datagrams in any order; ClientHello with its
//!   extensions, Google's user agent among the transport parameters; ServerHello; Retry and the keys that follow it; Version
//!   Negotiation and the hello that follows it; 0-RTT packets, by number. Google's CHLO, also of the versions until Q043,
//!   which have another header.
//! - **Not parsed**: anything under keys of the handshake or later; authentication tags (see `keys.rs`); integrity tags of
//!   Retry; the second ClientHello after a HelloRetryRequest, which has the name of the first; raw extensions; connections that
//!   begin between the same ports after the first one was read, those that move to other addresses, and what short headers
//!   hold. A flow whose first datagrams have short headers is not recognised: nothing in them says QUIC.
//! - **Recognised** by a long header with a version that is known and lengths that fit; by a Version Negotiation that offers
//!   a version that is known; by a version reserved for negotiation (RFC 9000 section 15) in an Initial packet of a client's
//!   size, which is read as in version 1 or draft 29; by a public header of Google with its version. Initial packets away from the usual
//!   ports must be of a client's size; so must be packets without the fixed bit (RFC 9287).
//! - **Bounds**: 16 KiB and 64 pieces of a hello, told to the budget, and given back when nothing more is waited for; 32
//!   datagrams until the client's hello is there, 16 more for the server's; 16 packets in a datagram.
//! - **Odd input**: a packet that cannot be read is passed over with the rest of its datagram. A hello that is longer than the
//!   bound, or does not get whole, gives what there is of its beginning, and no fingerprint.
//! - **Fields**: all of `weir_flow::app::Quic`.
//! - **Fixtures**: the samples of RFC 9001 and RFC 9369, and packets made by the tests, which put the protection on;
//!   `pcaps/quic/http3.pcap` with ngtcp2.

mod frames;
mod header;
mod hello;
mod keys;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use weir_flow::{
    ShortOctets, allocated,
    app::{Quic, quic::MAX_CID},
};

use self::{
    frames::{MAX_MESSAGE, Message},
    header::{FIXED, Kind, LONG, Long, Rules},
    hello::Extent,
    keys::Keys,
};
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport};

/// Datagrams that are read until the client's hello is there.
const MAX_DATAGRAMS: u8 = 32;

/// Datagrams that are read after it.
const MAX_MORE: u8 = 16;

/// States of connections that are kept for the next ones: with their pieces of hellos 70 KiB, which the budget's reserve has
/// room for.
const MAX_SPARE: usize = 16;

/// Octets of memory for a packet without its protection that are kept: few networks have longer ones.
const KEPT: usize = 8 << 10;

/// Datagrams in the list of packets.
const MAX_LISTED: usize = 30;

/// Packets of a datagram that are read.
const MAX_PACKETS: usize = 16;

/// Reads the beginning of one connection.
#[derive(Debug)]
pub struct Parser {
    /// From the first datagram on, until nothing is waited for.
    connection: Option<Box<Connection>>,
    client: Option<Direction>,
    stage: Stage,
    /// Datagrams that may still be read.
    patience: u8,
}

impl Default for Parser {
    fn default() -> Self {
        Self { connection: None, client: None, stage: Stage::ClientHello, patience: MAX_DATAGRAMS }
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    ClientHello,
    ServerHello,
    /// Nothing.
    Over,
}

/// What is known of a connection beside its fields.
#[derive(Debug, Default)]
struct Connection {
    /// What the keys of Initial packets are made of: the client's first destination, or what a Retry put in its place.
    cid: ShortOctets<MAX_CID>,
    /// Keys of the packets of the stage, once they were right.
    keys: Option<Keys>,
    /// What there is of the stage's hello.
    message: Message,
}

/// What is needed while a datagram is read.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A packet without its protection.
    text: Vec<u8>,
    /// Kept for their memory.
    #[allow(clippy::vec_box, reason = "the boxes move to and from the flows")]
    spare: Vec<Box<Connection>>,
    hello: hello::Scratch,
}

impl super::Parser for Parser {
    type Fields = Quic;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "quic",
        transports: &[Transport::Datagram],
        port_hints: &[80, 443, 784, 853, 4433, 4434, 8443, 8853],
        max_buffered: 0,
        max_inspected: 1 << 16,
        max_open: 1,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if header::is_quic(input.bytes, input.hinted, input.snapped) { Probe::Yes } else { Probe::No }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Quic>, scratch: &mut Scratch) -> Step {
        let index = transactions.oldest_open().unwrap_or_else(|| transactions.open().0);
        let Some(fields) = transactions.fields_mut(index) else { return Step::Reject };
        let mut connection = self.connection.take().or_else(|| scratch.spare.pop()).unwrap_or_default();
        Reading { parser: self, connection: &mut connection, fields, scratch, input }.datagram();
        if self.stage != Stage::Over {
            self.connection = Some(connection);
            return Step::Consumed(input.bytes.len());
        }
        if scratch.spare.len() < MAX_SPARE {
            connection.begin(&[]);
            scratch.spare.push(connection);
        }
        transactions.complete(index);
        Step::Done
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }

    fn held(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| allocated(size_of::<Connection>()) + connection.message.held())
    }
}

impl Connection {
    /// Forgets all, and takes this identifier for the keys.
    fn begin(&mut self, cid: &[u8]) {
        self.cid.set(cid);
        self.keys = None;
        self.message.clear();
    }

    /// Forgets what belongs to a stage that is over.
    fn end_stage(&mut self) {
        self.keys = None;
        self.message.clear();
    }
}

/// One datagram, and all that it may change.
struct Reading<'a> {
    parser: &'a mut Parser,
    connection: &'a mut Connection,
    fields: &'a mut Quic,
    scratch: &'a mut Scratch,
    input: Input<'a>,
}

impl<'a> Reading<'a> {
    fn datagram(&mut self) {
        let bytes = self.input.bytes;
        if let Some((cid, version)) = header::public(bytes) {
            self.google(bytes, cid, version);
        } else if bytes.first().is_some_and(|first| first & LONG != 0) {
            self.packets(bytes);
        } else {
            self.short_header();
        }
        self.scratch.text.clear();
        self.scratch.text.shrink_to(KEPT);
        self.parser.patience = self.parser.patience.saturating_sub(1);
        if self.parser.patience == 0 && self.parser.stage != Stage::Over {
            self.give_up();
        }
    }

    /// Reads the packets of a datagram.
    fn packets(&mut self, bytes: &'a [u8]) {
        let mut rest = bytes;
        let mut packets = 0;
        let mut nth = 0;
        while let Some(packet) = Long::read(rest, self.input.snapped).filter(|_| nth < MAX_PACKETS) {
            let fixed = if nth == 0 { (packet.first & FIXED) << 1 } else { 0 };
            packets |= fixed | flag(packet.kind);
            self.packet(&packet);
            if self.parser.stage == Stage::Over {
                break;
            }
            rest = packet.rest;
            nth += 1;
        }
        if packets & !(FIXED << 1) != 0 && self.fields.packets.iter(&self.fields.memory).count() < MAX_LISTED {
            self.fields.packets.push(packets, &mut self.fields.memory);
        }
        // Behind the others may stand one with a short header (RFC 9000 section 12.2).
        if nth > 0 && rest.first().is_some_and(|first| first & (LONG | FIXED) == FIXED) {
            self.short_header();
        }
    }

    fn packet(&mut self, packet: &Long<'a>) {
        let is_client = self.parser.client == Some(self.input.direction);
        if packet.kind != Kind::Negotiation {
            self.fields.version.get_or_insert(packet.version);
        }
        match packet.kind {
            Kind::Negotiation if !is_client => self.negotiation(packet),
            Kind::Retry if !is_client => self.retry(packet),
            Kind::Negotiation | Kind::Retry => {}
            Kind::Plain => self.google(packet.body, packet.destination, packet.version),
            Kind::ZeroRtt => {
                self.is_of_client(packet);
                let count = &mut self.fields.zero_rtt;
                *count = Some(count.unwrap_or(0).saturating_add(1));
            }
            Kind::Handshake if self.is_of_server() => self.note_server(packet),
            // A client has keys for it only after the ServerHello.
            Kind::Handshake => self.short_header(),
            Kind::Initial(token) => {
                let Some(rules) = header::rules(packet.version) else { return };
                if self.is_of_server() {
                    self.server_initial(packet, &rules);
                } else {
                    self.client_initial(packet, &rules, token);
                }
            }
        }
    }

    /// Whether it is known that the datagram is the server's.
    fn is_of_server(&self) -> bool {
        self.parser.client == Some(self.input.direction.opposite())
    }

    /// Notes what the client's first packet says.
    fn is_of_client(&mut self, packet: &Long<'_>) {
        if self.is_of_server() {
            return;
        }
        self.parser.client = Some(self.input.direction);
        let Quic { client_version, client_cid, original_cid, memory, .. } = &mut *self.fields;
        if client_version.is_none() {
            *client_version = Some(packet.version);
            client_cid.set(packet.source, memory);
            original_cid.set(packet.destination, memory);
        }
    }

    /// Notes what the server's first packet says.
    fn note_server(&mut self, packet: &Long<'_>) {
        let Quic { server_version, server_cid, memory, .. } = &mut *self.fields;
        if server_version.is_none() {
            *server_version = Some(packet.version);
            server_cid.set(packet.source, memory);
        }
    }

    /// The server does not speak the client's version: another hello is to come.
    fn negotiation(&mut self, packet: &Long<'_>) {
        self.parser.client = Some(self.input.direction.opposite());
        let Quic { offered_versions, memory, .. } = &mut *self.fields;
        if offered_versions.iter(memory).next().is_none() {
            offered_versions.extend(packet.versions(), memory);
        }
        self.parser.stage = Stage::ClientHello;
        self.connection.begin(&[]);
    }

    /// The server wants to see a token with the client's hello, under keys made of another identifier.
    fn retry(&mut self, packet: &Long<'_>) {
        if self.fields.retry_cid.as_bytes(&self.fields.memory).is_empty() {
            self.parser.client = Some(self.input.direction.opposite());
            self.fields.retry_cid.set(packet.source, &mut self.fields.memory);
            self.connection.begin(packet.source);
        }
    }

    /// Neither hello is in it, and those who send it have both.
    fn short_header(&mut self) {
        if self.parser.stage == Stage::ServerHello && !self.is_of_server() {
            self.parser.stage = Stage::Over;
        }
    }

    fn client_initial(&mut self, packet: &Long<'a>, rules: &Rules, token: usize) {
        if self.is_of_another(packet) {
            self.fields.multiplexed = Some(1);
            return;
        }
        let is_over = self.parser.stage == Stage::ServerHello && self.fields.version == Some(packet.version);
        let is_read = is_over
            || self.client_hello(packet, rules)
            || header::other_rules(packet.version).is_some_and(|rules| self.client_hello(packet, &rules));
        if !is_read {
            return;
        }
        if token > 0 {
            let token = u32::try_from(token).unwrap_or(u32::MAX);
            self.fields.token_length = self.fields.token_length.max(Some(token));
        }
    }

    /// Whether a client that names itself has another name than the first one.
    fn is_of_another(&self, packet: &Long<'_>) -> bool {
        let Quic { client_cid, offered_versions, memory, .. } = &*self.fields;
        let first = client_cid.as_bytes(memory);
        // Who begins again, in another version, may take another name.
        !first.is_empty() && first != packet.source && offered_versions.iter(memory).next().is_none()
    }

    /// Takes the pieces of the ClientHello out of a packet. False if it cannot be read with the keys of a client.
    fn client_hello(&mut self, packet: &Long<'a>, rules: &Rules) -> bool {
        let known = self.connection.keys.filter(|_| self.parser.stage == Stage::ClientHello);
        if !known.is_some_and(|keys| self.opens(packet, rules, &keys)) {
            // The first packet, or the first after a Retry or a Version Negotiation.
            let keys = Keys::of_client(rules, packet.destination);
            if !self.opens(packet, rules, &keys) {
                return false;
            }
            self.parser.stage = Stage::ClientHello;
            self.connection.begin(packet.destination);
            self.connection.keys = Some(keys);
        }
        self.take_pieces(packet, rules);
        self.is_of_client(packet);
        self.fields.version = Some(packet.version);
        self.read_client_hello(packet, rules);
        true
    }

    fn read_client_hello(&mut self, packet: &Long<'a>, rules: &Rules) {
        let Self { parser, connection, fields, scratch, .. } = self;
        let start = connection.message.start();
        match hello::extent_of_client(start, rules.is_google, MAX_MESSAGE) {
            Extent::Whole(len) => {
                let is_last = read_client(start.get(..len).unwrap_or(start), true, fields, &mut scratch.hello);
                parser.stage = if is_last { Stage::Over } else { Stage::ServerHello };
                parser.patience = parser.patience.min(MAX_MORE);
                connection.end_stage();
            }
            // The rest of it was on the wire, but was not captured.
            Extent::Part if !packet.is_whole => {
                read_client(start, false, fields, &mut scratch.hello);
            }
            Extent::Part => {}
            Extent::Never => self.give_up(),
        }
    }

    fn server_initial(&mut self, packet: &Long<'a>, rules: &Rules) {
        self.note_server(packet);
        if self.parser.stage != Stage::ServerHello {
            return;
        }
        let known = self.connection.keys;
        if !known.is_some_and(|keys| self.opens(packet, rules, &keys)) {
            let keys = Keys::of_server(rules, self.connection.cid.as_bytes());
            if !self.opens(packet, rules, &keys) {
                return;
            }
            self.connection.keys = Some(keys);
        }
        self.take_pieces(packet, rules);
        let start = self.connection.message.start();
        match hello::extent_of_server(start, MAX_MESSAGE) {
            Extent::Whole(len) => {
                let message = start.get(..len).unwrap_or(start);
                hello::read_server(message, self.fields, &mut self.scratch.hello);
                self.parser.stage = Stage::Over;
            }
            Extent::Part => {}
            Extent::Never => self.parser.stage = Stage::Over,
        }
    }

    /// Takes the protection off a packet. False if what is under it is no frames: then the keys are not the right ones.
    fn opens(&mut self, packet: &Long<'_>, rules: &Rules, keys: &Keys) -> bool {
        keys.open(packet.first, packet.body, packet.is_whole, &mut self.scratch.text)
            .is_some_and(|text| frames::walk(text, rules.is_google, packet.is_whole, |_, _| ()).is_ok())
    }

    /// Takes the pieces of a hello out of the packet that was opened last.
    fn take_pieces(&mut self, packet: &Long<'_>, rules: &Rules) {
        let message = &mut self.connection.message;
        // It was walked over before, to its end.
        let _ = frames::walk(&self.scratch.text, rules.is_google, packet.is_whole, |offset, octets| {
            message.insert(offset, octets);
        });
    }

    /// A packet of Google without protection: only of the client's first message there is something to say.
    fn google(&mut self, bytes: &[u8], cid: &[u8], version: u32) {
        if self.is_of_server() {
            return;
        }
        self.fields.version.get_or_insert(version);
        let Some(message) = hello::find_chlo(bytes) else { return };
        let Quic { client_version, original_cid, memory, .. } = &mut *self.fields;
        client_version.get_or_insert(version);
        original_cid.set(cid, memory);
        self.parser.client = Some(self.input.direction);
        hello::read_chlo(message, self.fields);
        self.parser.stage = Stage::Over;
    }

    /// Nothing more is to be expected. What there is of a hello is better than nothing.
    fn give_up(&mut self) {
        let start = self.connection.message.start();
        if self.parser.stage == Stage::ClientHello && !start.is_empty() {
            read_client(start, false, self.fields, &mut self.scratch.hello);
        }
        self.parser.stage = Stage::Over;
    }
}

/// Reads the first message of a client, or what there is of it. Whether nothing of the server is wanted.
fn read_client(message: &[u8], is_whole: bool, fields: &mut Quic, scratch: &mut hello::Scratch) -> bool {
    let is_chlo = hello::is_chlo(message);
    if is_chlo {
        hello::read_chlo(message, fields);
    } else {
        hello::read_client(message, is_whole, fields, scratch);
    }
    is_chlo
}

/// What a packet is in the list of packets; 0 for what has no place there.
const fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::Initial(_) => 1,
        Kind::ZeroRtt => 2,
        Kind::Handshake => 4,
        Kind::Retry => 8,
        Kind::Negotiation => 16,
        Kind::Plain => 0,
    }
}
