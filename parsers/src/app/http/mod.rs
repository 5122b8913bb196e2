// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112), HTTP/2 in the clear (RFC 9113, RFC 7541).
//!
//! Parsed: request line, status line, and the header fields that the fields name; message framing (RFC 9112 section 6:
//! Content-Length, chunked with extensions and trailers, until close, no body), so that every message of a connection is found,
//! pipelined ones too. Responses belong to the oldest request that has none; 1xx are not final. A response without a request
//! opens a transaction of its own. A request line without a version is taken if its method is known and an empty line follows
//! in the end, as after any head.
//! After a 2xx to CONNECT only TLS and SSH are looked for; after 101 another protocol begins, and is recognised anew; WebSocket
//! is only named.
//!
//! HTTP/2 is known by the client's preface, or follows an upgrade to h2c: header blocks are decompressed, each stream is a
//! transaction. Its content, pushed or not, is passed over.
//!
//! Not parsed: bodies, trailers, HTTP/0.9 as it was meant (a line, and no empty one), other protocols in tunnels, HTTP/2 inside TLS, HTTP/2 whose beginning was not captured, lower-case methods, SSDP and other
//! HTTP over UDP. Not exported: credentials (of Authorization the scheme only, not even the name of a Basic user), values of
//! cookies, name and password in front of a host. A target is exported as it stands, with all that a client writes there.
//!
//! After octets are missing, and where a message does not begin where the one before it ends, the octets are passed over
//! until a line looks like a request line or a status line. Of HTTP/2, a direction with missing octets is given up.
//!
//! Bounds: a head is read up to `MAX_HEAD`; one that is longer is read as far as that, and its body is passed over like
//! lost octets. 32 requests may wait for their responses. 63 wanted header fields of a message are kept. HTTP/2: a header
//! block of 32 KiB, frames of it of 16 KiB, a dynamic table of 64 KiB for each direction.
//!
//! Fields: all of `weir_flow::app::Http`.
//!
//! Fixtures: hand-made messages in `tests.rs` and `tests_h2.rs`, examples of RFC 7541, conversations in `tests/splits.rs`,
//! recorded ones in `pcaps/http/`.

mod fields;
mod h2;
mod head;
mod hpack;
mod huffman;
mod lines;
mod names;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_h2;

use std::ops::Range;

use weir_flow::app::Http;

use self::{
    fields::Values,
    h2::Connection,
    head::{RequestLine, Shape, Start, authority, has_version, is_plain, shape},
    lines::{Outline, Reader},
};
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, line};

/// Most octets of a head. Servers refuse more than 8 to 32 KiB.
const MAX_HEAD: usize = 32 << 10;
/// Most octets of a line that gives a chunk's size, and of a trailer line.
const MAX_CHUNK_LINE: usize = 4096;

/// What one direction is about to send.
#[derive(Clone, Copy, Debug, Default)]
enum Next {
    /// A message.
    #[default]
    Message,
    /// The size of a chunk, then the chunk.
    Chunk,
    /// What follows the last chunk, up to an empty line.
    Trailer,
    /// What a proxy passes on after CONNECT.
    Tunnel,
    /// Unknown: a message begins at the start of some line.
    Lost {
        /// At the start of a line, as far as is known.
        at_line: bool,
    },
}

/// State of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    next: [Next; 2],
    /// The direction in which requests go.
    client: Option<Direction>,
    /// The direction whose last request was a CONNECT.
    connecting: Option<Direction>,
    /// Responses were among missing octets: which request the next one answers is not known by counting.
    lost_responses: bool,
    /// What HTTP/2 needs.
    h2: Option<Box<Connection>>,
}

/// Memory for reading messages.
#[derive(Debug, Default)]
pub struct Scratch {
    reader: Reader,
    /// Decompressed values of HTTP/2.
    values: Vec<u8>,
}

impl super::Parser for Parser {
    type Fields = Http;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "http",
        transports: &[Transport::Stream],
        port_hints: &[80, 8080, 8000, 8888, 3128, 8008, 8081],
        max_buffered: MAX_HEAD,
        // A kept-alive connection may go on for ever, and bodies, which are most of it, are skipped.
        max_inspected: u32::MAX,
        max_open: 32,
    };

    const BEGINS: &[Octets] = &[line::METHOD.and(b"\r\n"), line::METHOD.and(b" \r\n"), line::TARGET, line::TARGET];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match shape(line::after_empty(input.bytes), input.snapped) {
            Shape::Request | Shape::Response | Shape::Preface => Probe::Yes,
            Shape::Neither => Probe::No,
            Shape::More => Probe::More,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>, scratch: &mut Scratch) -> Step {
        if let Some(h2) = &mut self.h2 {
            return h2.step(input, transactions, scratch);
        }
        match self.next[input.direction.index()] {
            Next::Message => self.message(input, transactions, scratch),
            Next::Chunk => self.chunk(input, transactions, scratch),
            Next::Trailer => self.trailer(input, transactions, scratch),
            Next::Tunnel => tunnel(input),
            Next::Lost { at_line } => self.lost(input, at_line, transactions, scratch),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        if let Some(h2) = &mut self.h2 {
            h2.lose(direction);
            return if h2.is_over() { AfterGap::Done } else { AfterGap::Resume };
        }
        self.next[direction.index()] = Next::Lost { at_line: true };
        self.lost_responses |= self.client != Some(direction);
        AfterGap::Resume
    }

    fn held(&self) -> usize {
        self.h2.as_ref().map_or(0, |h2| h2.held())
    }
}

impl Parser {
    fn message(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>, scratch: &mut Scratch) -> Step {
        let empty = line::empty_lines(input.bytes);
        if empty > 0 {
            return Step::Consumed(empty);
        }
        let within = input.bytes.get(..MAX_HEAD).unwrap_or(input.bytes);
        // What begins like a message mostly is one, and whole.
        if within.first().is_some_and(u8::is_ascii_uppercase)
            && let Some(outline) = scratch.reader.read(within)
            && outline.is_whole
            && let Some(first) = within.get(..outline.first)
            && let Some(start) = Start::parse(without_end(first))
            && is_plain(first, &start)
        {
            return self.head(within, outline, start, input.direction, transactions, scratch);
        }
        self.odd(input, within, transactions, scratch)
    }

    /// Reads what may be no message, or not a whole one.
    #[inline(never)]
    fn odd(
        &mut self,
        input: Input<'_>,
        within: &[u8],
        transactions: &mut Transactions<Http>,
        scratch: &mut Scratch,
    ) -> Step {
        match shape(input.bytes, input.snapped) {
            Shape::More => return Step::More,
            // The response to CONNECT was not seen; the tunnel is there nevertheless.
            Shape::Neither if self.connecting == Some(input.direction) => return tunnel(input),
            Shape::Neither => return self.lost(input, false, transactions, scratch),
            Shape::Preface => {
                self.h2 = Some(Box::new(Connection::new(input.direction)));
                return self.parse_h2(input, transactions, scratch);
            }
            Shape::Request | Shape::Response => {}
        }
        let is_all = within.len() == MAX_HEAD || input.snapped;
        let Some((line, len)) = line::first(within) else {
            return if is_all { self.lost(input, false, transactions, scratch) } else { Step::More };
        };
        let outline = scratch.reader.read(within).unwrap_or(Outline { first: len, octets: len, is_whole: false });
        match Start::parse(line) {
            Some(start) if outline.is_whole || is_all => {
                self.head(within, outline, start, input.direction, transactions, scratch)
            }
            None if outline.is_whole || is_all => self.lost(input, false, transactions, scratch),
            Some(_) | None => Step::More,
        }
    }

    fn parse_h2(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>, scratch: &mut Scratch) -> Step {
        self.h2.as_mut().map_or(Step::Done, |h2| h2.step(input, transactions, scratch))
    }

    /// Takes over a head, whole or as far as it goes.
    #[inline]
    fn head(
        &mut self,
        bytes: &[u8],
        outline: Outline,
        start: Start<'_>,
        direction: Direction,
        transactions: &mut Transactions<Http>,
        scratch: &Scratch,
    ) -> Step {
        let values = Values { bytes, found: &scratch.reader.found };
        let after = match start {
            Start::Request(request) => self.request(request, values, direction, transactions),
            Start::Response { version, status, reason } => self.response(version, status, reason, values, transactions),
        };
        if !outline.is_whole {
            self.next[direction.index()] = Next::Lost { at_line: false };
            return Step::Consumed(outline.octets);
        }
        match after {
            After::Message => Step::Consumed(outline.octets),
            After::Body(length) => Step::Skip((outline.octets as u64).saturating_add(length)),
            After::Chunks => {
                self.next[direction.index()] = Next::Chunk;
                Step::Consumed(outline.octets)
            }
            After::Tunnel => {
                self.next = [Next::Tunnel; 2];
                Step::Consumed(outline.octets)
            }
            After::Other => Step::Handover(outline.octets),
            After::H2 => {
                self.h2 = Some(Box::new(Connection::new(direction.opposite())));
                Step::Consumed(outline.octets)
            }
            After::Nothing => Step::Done,
        }
    }

    fn request(
        &mut self,
        line: RequestLine<'_>,
        values: Values<'_>,
        direction: Direction,
        transactions: &mut Transactions<Http>,
    ) -> After {
        self.client = Some(direction);
        self.connecting = (line.method == b"CONNECT").then_some(direction);
        let (_, http) = transactions.open();
        http.request_method.set_piece(values.bytes, 0..line.method.len(), &mut http.memory);
        let target = line.target_at..line.target_at + line.target.len();
        http.request_target.set_piece(values.bytes, target, &mut http.memory);
        if !line.version.is_empty() {
            http.message_version.push(line.version, &mut http.memory);
        }
        values.request(http);
        if http.request_host.is_empty()
            && let Some(authority) = authority(line.target)
        {
            http.request_host.set(authority, &mut http.memory);
        }
        match values.content_length() {
            _ if values.is_chunked() => After::Chunks,
            Some(length) if length > 0 => After::Body(length),
            _ => After::Message,
        }
    }

    fn response(
        &mut self,
        version: &[u8],
        status: u16,
        reason: Range<usize>,
        values: Values<'_>,
        transactions: &mut Transactions<Http>,
    ) -> After {
        let is_interim = (100..200).contains(&status) && status != 101;
        if !is_interim
            && std::mem::take(&mut self.lost_responses)
            && let Some(youngest) = transactions.youngest_open()
        {
            // Few clients pipeline: it is the last request that waits.
            while let Some(oldest) = transactions.oldest_open().filter(|&oldest| oldest < youngest) {
                transactions.complete(oldest);
            }
        }
        let open = transactions.oldest_open();
        if is_interim {
            if let Some(http) = open.and_then(|index| transactions.fields_mut(index)) {
                http.interim_responses.push_new(status, &mut http.memory);
            }
            return After::Message;
        }
        let index = open.unwrap_or_else(|| transactions.open().0);
        let length = values.content_length();
        let Some(http) = transactions.fields_mut(index) else { return After::Message };
        if !http.message_version.iter(&http.memory).any(|known| known == version) {
            http.message_version.push(version, &mut http.memory);
        }
        http.status_code = Some(status);
        http.reason_phrase.set_piece(values.bytes, reason, &mut http.memory);
        values.response(http);
        length.into_iter().for_each(|length| http.content_length.set(length));
        let method = http.request_method.as_bytes(&http.memory);
        let (is_connect, is_head) = (method == b"CONNECT", method == b"HEAD");
        let after = match status {
            101 => upgrade(values, http),
            200..300 if is_connect => After::Tunnel,
            204 | 304 => After::Message,
            _ if is_head => After::Message,
            _ if values.is_chunked() => After::Chunks,
            _ => match length {
                Some(0) => After::Message,
                Some(length) => After::Body(length),
                None => After::Body(u64::MAX),
            },
        };
        if !matches!(after, After::H2) {
            transactions.complete(index);
        }
        after
    }

    fn chunk(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>, scratch: &mut Scratch) -> Step {
        let within = input.bytes.get(..MAX_CHUNK_LINE).unwrap_or(input.bytes);
        match httparse::parse_chunk_size(within) {
            Ok(httparse::Status::Complete((line, 0))) => {
                self.next[input.direction.index()] = Next::Trailer;
                Step::Consumed(line)
            }
            // The chunk is followed by CR LF.
            Ok(httparse::Status::Complete((line, size))) => Step::Skip(size.saturating_add(line as u64 + 2)),
            Ok(httparse::Status::Partial) if within.len() < MAX_CHUNK_LINE => Step::More,
            Ok(httparse::Status::Partial) | Err(_) => self.lost(input, true, transactions, scratch),
        }
    }

    fn trailer(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>, scratch: &mut Scratch) -> Step {
        let within = input.bytes.get(..MAX_CHUNK_LINE).unwrap_or(input.bytes);
        match line::first(within) {
            Some((line, len)) => {
                if line.is_empty() {
                    self.next[input.direction.index()] = Next::Message;
                }
                Step::Consumed(len)
            }
            None if within.len() < MAX_CHUNK_LINE => Step::More,
            None => self.lost(input, false, transactions, scratch),
        }
    }

    /// Passes over the rest of a line, or finds a message at its start.
    fn lost(
        &mut self,
        input: Input<'_>,
        mut at_line: bool,
        transactions: &mut Transactions<Http>,
        scratch: &mut Scratch,
    ) -> Step {
        let side = input.direction.index();
        let mut at = 0;
        while let Some(rest) = input.bytes.get(at..).filter(|r| !r.is_empty()) {
            if at_line {
                let told = match shape(rest, input.snapped) {
                    // Within what is no message, a line without version is no sign of one.
                    Shape::Request if !has_version(rest) => Shape::Neither,
                    told => told,
                };
                if told != Shape::Neither && at > 0 {
                    break;
                }
                match told {
                    Shape::Neither => {}
                    Shape::More => return Step::More,
                    Shape::Request | Shape::Response | Shape::Preface => {
                        self.next[side] = Next::Message;
                        return self.message(input, transactions, scratch);
                    }
                }
            }
            let line = line::first(rest);
            at += line.map_or(rest.len(), |(_, len)| len);
            at_line = line.is_some();
        }
        self.next[side] = Next::Lost { at_line };
        Step::Consumed(at)
    }
}

/// What follows a head.
enum After {
    Message,
    Body(u64),
    Chunks,
    Tunnel,
    /// Another protocol.
    Other,
    /// HTTP/2.
    H2,
    /// Nothing of interest.
    Nothing,
}

/// What follows a response with status 101 (RFC 9110 section 7.8): WebSocket says nothing that is read; the first request is
/// answered again in HTTP/2 (RFC 7540 section 3.2), on stream 1.
fn upgrade(values: Values<'_>, http: &mut Http) -> After {
    values.upgrade(http);
    let protocol = http.upgrade.as_bytes(&http.memory);
    if protocol.eq_ignore_ascii_case(b"websocket") {
        return After::Nothing;
    }
    if !protocol.eq_ignore_ascii_case(b"h2c") {
        return After::Other;
    }
    http.stream_id.set(1);
    After::H2
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// In a tunnel only what begins with certainty is looked for: TLS, which is what proxies are asked to pass on, and SSH.
fn tunnel(input: Input<'_>) -> Step {
    const HANDSHAKE: u8 = 22;
    const SSH: &[u8] = b"SSH-";
    match input.bytes {
        [HANDSHAKE, ..] => Step::Handover(0),
        bytes if bytes.starts_with(SSH) => Step::Handover(0),
        bytes if SSH.starts_with(bytes) => Step::More,
        _ => Step::Done,
    }
}
