// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! Parsed: request line, status line, and a few header fields; message framing (RFC 9112 section 6: Content-Length, chunked,
//! until close, no body), so that every message of a connection is found, pipelined ones too. Responses belong to the
//! oldest request that has none; 1xx are not final. A response without a request opens a transaction of its own.
//! After a 2xx to CONNECT only TLS is looked for; after 101 another protocol begins, and is recognised anew.
//!
//! Not parsed: bodies, trailers, HTTP/0.9, HTTP/2 (its preface is not taken for HTTP/1), SSDP and other HTTP over UDP,
//! credentials (Authorization, Cookie, and user information in targets' authority is not taken for a host).
//!
//! After octets are missing, and where a message does not begin where the one before it ends, the octets are passed over
//! until a line looks like a request line or a status line.
//!
//! Bounds: a head is read up to `MAX_HEAD`; one that is longer is read as far as that, and its body is passed over like
//! lost octets. 32 requests may wait for their responses.
//!
//! Fields: all of `weir_flow::app::Http`. The version is that of the request, if there is one.
//!
//! Fixtures: hand-made messages in `tests.rs`, conversations in `tests/splits.rs`, recorded ones in `pcaps/http/`.

mod head;
#[cfg(test)]
mod tests;

use weir_flow::{Memory, Text, app::Http};

use self::head::{Head, RequestLine, Shape, Start, authority, shape};
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport, line};

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
}

impl super::Parser for Parser {
    type Fields = Http;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "http",
        transports: &[Transport::Stream],
        port_hints: &[80, 8080, 8000, 8888, 3128, 8008, 8081],
        max_buffered: MAX_HEAD,
        // A kept-alive connection may go on for ever, and bodies, which are most of it, are skipped.
        max_inspected: u32::MAX,
        max_open: 32,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match shape(line::after_empty(input.bytes), input.snapped) {
            Shape::Request | Shape::Response => Probe::Yes,
            Shape::Neither => Probe::No,
            Shape::More => Probe::More,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>, (): &mut ()) -> Step {
        match self.next[input.direction.index()] {
            Next::Message => self.message(input, transactions),
            Next::Chunk => self.chunk(input, transactions),
            Next::Trailer => self.trailer(input, transactions),
            Next::Tunnel => tunnel(input),
            Next::Lost { at_line } => self.lost(input, at_line, transactions),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.next[direction.index()] = Next::Lost { at_line: true };
        self.lost_responses |= self.client != Some(direction);
        AfterGap::Resume
    }
}

impl Parser {
    fn message(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>) -> Step {
        let empty = line::empty_lines(input.bytes);
        if empty > 0 {
            return Step::Consumed(empty);
        }
        match shape(input.bytes, input.snapped) {
            Shape::More => return Step::More,
            // The response to CONNECT was not seen; the tunnel is there nevertheless.
            Shape::Neither if self.connecting == Some(input.direction) => return tunnel(input),
            Shape::Neither => return self.lost(input, false, transactions),
            Shape::Request | Shape::Response => {}
        }
        let within = input.bytes.get(..MAX_HEAD).unwrap_or(input.bytes);
        let is_all = within.len() == MAX_HEAD || input.snapped;
        let head = match Head::parse(within) {
            Some(head) if head.is_whole || is_all => head,
            None if is_all || line::end_of_head(within).is_some() => return self.lost(input, false, transactions),
            Some(_) | None => return Step::More,
        };
        let after = match head.start {
            Start::Request(request) => self.request(request, &head, input.direction, transactions),
            Start::Response { version, status, reason } => self.response(version, status, reason, &head, transactions),
        };
        if !head.is_whole {
            self.next[input.direction.index()] = Next::Lost { at_line: false };
            return Step::Consumed(head.octets);
        }
        match after {
            After::Message => Step::Consumed(head.octets),
            After::Body(length) => Step::Skip((head.octets as u64).saturating_add(length)),
            After::Chunks => {
                self.next[input.direction.index()] = Next::Chunk;
                Step::Consumed(head.octets)
            }
            After::Tunnel => {
                self.next = [Next::Tunnel; 2];
                Step::Consumed(head.octets)
            }
            After::Upgrade => Step::Handover(head.octets),
        }
    }

    fn request(
        &mut self,
        line: RequestLine<'_>,
        head: &Head<'_>,
        direction: Direction,
        transactions: &mut Transactions<Http>,
    ) -> After {
        self.client = Some(direction);
        self.connecting = (line.method == b"CONNECT").then_some(direction);
        let (_, http) = transactions.open();
        http.request_method.set(line.method);
        http.request_target.set(line.target, &mut http.memory);
        http.message_version.set(line.version);
        unfold(&mut http.request_host, &mut http.memory, head.host);
        if http.request_host.is_empty()
            && let Some(authority) = authority(line.target)
        {
            http.request_host.set(authority, &mut http.memory);
        }
        unfold(&mut http.user_agent, &mut http.memory, head.user_agent);
        unfold(&mut http.referer, &mut http.memory, head.referer);
        match head.content_length {
            _ if head.is_chunked => After::Chunks,
            Some(length) if length > 0 => After::Body(length),
            _ => After::Message,
        }
    }

    fn response(
        &mut self,
        version: &[u8],
        status: u16,
        reason: &[u8],
        head: &Head<'_>,
        transactions: &mut Transactions<Http>,
    ) -> After {
        if (100..200).contains(&status) && status != 101 {
            return After::Message;
        }
        if std::mem::take(&mut self.lost_responses)
            && let Some(youngest) = transactions.youngest_open()
        {
            // Few clients pipeline: it is the last request that waits.
            while let Some(oldest) = transactions.oldest_open().filter(|&oldest| oldest < youngest) {
                transactions.complete(oldest);
            }
        }
        let index = transactions.oldest_open().unwrap_or_else(|| transactions.open().0);
        transactions.complete(index);
        let Some(http) = transactions.fields_mut(index) else { return After::Message };
        if http.message_version.is_empty() {
            http.message_version.set(version);
        }
        http.status_code = Some(status);
        http.reason_phrase.set(reason, &mut http.memory);
        unfold(&mut http.content_type, &mut http.memory, head.content_type);
        unfold(&mut http.server, &mut http.memory, head.server);
        let method = http.request_method.as_bytes();
        match status {
            101 => After::Upgrade,
            200..300 if method == b"CONNECT" => After::Tunnel,
            204 | 304 => After::Message,
            _ if method == b"HEAD" => After::Message,
            _ if head.is_chunked => After::Chunks,
            _ => match head.content_length {
                Some(0) => After::Message,
                Some(length) => After::Body(length),
                None => After::Body(u64::MAX),
            },
        }
    }

    fn chunk(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>) -> Step {
        let within = input.bytes.get(..MAX_CHUNK_LINE).unwrap_or(input.bytes);
        match httparse::parse_chunk_size(within) {
            Ok(httparse::Status::Complete((line, 0))) => {
                self.next[input.direction.index()] = Next::Trailer;
                Step::Consumed(line)
            }
            // The chunk is followed by CR LF.
            Ok(httparse::Status::Complete((line, size))) => Step::Skip(size.saturating_add(line as u64 + 2)),
            Ok(httparse::Status::Partial) if within.len() < MAX_CHUNK_LINE => Step::More,
            Ok(httparse::Status::Partial) | Err(_) => self.lost(input, true, transactions),
        }
    }

    fn trailer(&mut self, input: Input<'_>, transactions: &mut Transactions<Http>) -> Step {
        let within = input.bytes.get(..MAX_CHUNK_LINE).unwrap_or(input.bytes);
        match line::first(within) {
            Some((line, len)) => {
                if line.is_empty() {
                    self.next[input.direction.index()] = Next::Message;
                }
                Step::Consumed(len)
            }
            None if within.len() < MAX_CHUNK_LINE => Step::More,
            None => self.lost(input, false, transactions),
        }
    }

    /// Passes over the rest of a line, or finds a message at its start.
    fn lost(&mut self, input: Input<'_>, mut at_line: bool, transactions: &mut Transactions<Http>) -> Step {
        let side = input.direction.index();
        let mut at = 0;
        while let Some(rest) = input.bytes.get(at..).filter(|r| !r.is_empty()) {
            if at_line {
                let told = shape(rest, input.snapped);
                if told != Shape::Neither && at > 0 {
                    break;
                }
                match told {
                    Shape::Neither => {}
                    Shape::More => return Step::More,
                    Shape::Request | Shape::Response => {
                        self.next[side] = Next::Message;
                        return self.message(input, transactions);
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
    Upgrade,
}

/// In a tunnel only TLS is looked for: it is what proxies are asked to pass on.
fn tunnel(input: Input<'_>) -> Step {
    const HANDSHAKE: u8 = 22;
    if input.bytes.first() == Some(&HANDSHAKE) { Step::Handover(0) } else { Step::Done }
}

fn unfold<const MAX: usize>(text: &mut Text<MAX>, memory: &mut Memory, value: &[u8]) {
    if text.is_empty() && line::find(value, b'\n').is_none() {
        text.set(value.trim_ascii(), memory);
        return;
    }
    for part in line::parts(value) {
        if !text.is_empty() {
            text.extend(b" ", memory);
        }
        text.extend(part, memory);
    }
}
