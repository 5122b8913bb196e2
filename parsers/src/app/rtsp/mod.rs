// SPDX-License-Identifier: MIT OR Apache-2.0
//! RTSP 1.0 (RFC 2326) and 2.0 (RFC 7826) over TCP, recognised by content.
//!
//! A request and its response are one transaction, matched by `CSeq`, which each direction counts by itself; a response without
//! one answers the oldest request.
//!
//! - **Parsed**: first lines, the header fields that `weir_flow::app::Rtsp` has.
//! - **Not parsed**: bodies, hence no descriptions of media; what is interleaved (RFC 2326 section 10.12), which is passed over;
//!   RTSP over HTTP or UDP.
//! - **Recognised** by a first line that ends or begins with `RTSP/` and a version, which no other protocol's does.
//! - **Bounds**: 8 KiB of a head; 16 open requests.
//! - **Odd input**: what is neither message nor interleaved is passed over up to the next line that begins a message, and so is what
//!   follows missing octets.
//! - **Fields**: all of `weir_flow::app::Rtsp`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/rtsp/rtsp.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Rtsp;

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, line};

/// Most octets of a head.
const MAX_HEAD: usize = 8192;

/// Octets of a message by which it is known: no more than what a session keeps for probes.
const MAX_SHAPE: usize = 500;

/// Longest method.
const MAX_METHOD: usize = 32;

const VERSION: &[u8] = b"RTSP/";

/// What stands before interleaved octets: this, a channel, a length of two octets.
const INTERLEAVED: u8 = b'$';

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    lost: [Lost; 2],
    /// The direction of the first request that was seen.
    client: Option<Direction>,
}

/// Whether the beginning of the next message of a direction is not known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Lost {
    #[default]
    No,
    /// It is not, and here a line begins.
    AtLine,
    InLine,
}

/// The first line.
#[derive(Clone, Copy, Debug)]
enum Start<'a> {
    Request { method: &'a [u8], uri: &'a [u8] },
    Response { status: u16 },
}

/// Whether octets are a message, by its first line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    Message,
    None,
    More,
}

impl super::Parser for Parser {
    type Fields = Rtsp;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "rtsp",
        transports: &[Transport::Stream],
        port_hints: &[554, 8554],
        max_buffered: MAX_HEAD,
        max_inspected: u32::MAX,
        max_open: 16,
    };

    const BEGINS: &[Octets] = &[line::METHOD, line::METHOD.and(b" \r")];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match shape(input.bytes, input.snapped) {
            Shape::Message => Probe::Yes,
            Shape::None => Probe::No,
            Shape::More => Probe::More,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Rtsp>, (): &mut ()) -> Step {
        let side = input.direction.index();
        if self.lost[side] != Lost::No {
            match shape(input.bytes, input.snapped) {
                Shape::Message if self.lost[side] == Lost::AtLine => {}
                Shape::More if self.lost[side] == Lost::AtLine => return Step::More,
                _ => return self.lost(input),
            }
        }
        let empty = line::empty_lines(input.bytes);
        if empty > 0 {
            return Step::Consumed(empty);
        }
        if let [INTERLEAVED, rest @ ..] = input.bytes {
            let [_channel, high, low, ..] = *rest else { return Step::More };
            return Step::Skip(4 + u64::from(u16::from_be_bytes([high, low])));
        }
        match shape(input.bytes, input.snapped) {
            Shape::More => return Step::More,
            Shape::None => return self.lost(input),
            Shape::Message => {}
        }
        let within = input.bytes.get(..MAX_HEAD).unwrap_or(input.bytes);
        let head = match line::end_of_head(within) {
            Some(end) => within.get(..end).unwrap_or_default(),
            None if within.len() == MAX_HEAD || input.snapped => line::whole(within),
            None => return Step::More,
        };
        let Some((start, rest)) = Start::of(head) else { return self.lost(input) };
        self.lost[side] = Lost::No;
        let body = self.message(start, rest, input.direction, transactions);
        Step::Skip((head.len() as u64).saturating_add(body).max(1))
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.lost[direction.index()] = Lost::AtLine;
        AfterGap::Resume
    }
}

/// Tells a message by its beginning. `is_all`: more will not come. The answer for a beginning holds for all that begins like it.
fn shape(bytes: &[u8], is_all: bool) -> Shape {
    let bytes = bytes.get(..MAX_SHAPE).unwrap_or(bytes);
    let may_be_response = bytes.iter().zip(VERSION).all(|(octet, wanted)| octet == wanted);
    if !may_be_response && !line::may_begin_with_method(bytes, MAX_METHOD) {
        return Shape::None;
    }
    let line = match line::first(bytes) {
        Some((line, _)) => line,
        // The first line of a request may be longer than what is looked at; its version is at the end.
        None if bytes.len() == MAX_SHAPE && has_scheme(bytes) => return Shape::Message,
        None => return if is_all || bytes.len() == MAX_SHAPE { Shape::None } else { Shape::More },
    };
    if Start::parse(line).is_some() { Shape::Message } else { Shape::None }
}

/// Whether what follows the method is an address of this protocol.
fn has_scheme(bytes: &[u8]) -> bool {
    let uri = bytes.splitn(2, |&octet| octet == b' ').nth(1).unwrap_or_default();
    [&b"rtsp:"[..], b"rtspu:", b"rtsps:"].iter().any(|scheme| uri.starts_with(scheme))
}

impl<'a> Start<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii_end();
        if let Some(rest) = line.strip_prefix(VERSION) {
            let [b'0'..=b'9', b'.', b'0'..=b'9', b' ', a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] =
                rest
            else {
                return None;
            };
            let status = [a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
            return matches!(rest.first(), None | Some(b' ')).then_some(Self::Response { status });
        }
        let mut words = line.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
        let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
        let is_method = method.len() <= MAX_METHOD && method.iter().all(|&octet| line::is_method_octet(octet));
        let is_version = matches!(version.strip_prefix(VERSION), Some([b'0'..=b'9', b'.', b'0'..=b'9']));
        (is_method && is_version && words.next().is_none()).then_some(Self::Request { method, uri })
    }

    /// The first line of a head, and what follows it. One that is longer than a head is a request.
    fn of(head: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (line, len) = line::first(head)?;
        Some((Self::parse(line)?, head.get(len..)?))
    }
}

impl Parser {
    /// Passes over what is none, up to the next line.
    fn lost(&mut self, input: Input<'_>) -> Step {
        let lost = &mut self.lost[input.direction.index()];
        match line::find(input.bytes, b'\n') {
            Some(lf) => {
                *lost = Lost::AtLine;
                Step::Consumed(lf + 1)
            }
            None => {
                *lost = Lost::InLine;
                Step::Consumed(input.bytes.len())
            }
        }
    }

    /// Takes a message, whose fields are `rest`. Gives the octets of its body.
    fn message(
        &mut self,
        start: Start<'_>,
        rest: &[u8],
        direction: Direction,
        transactions: &mut Transactions<Rtsp>,
    ) -> u64 {
        let (mut body, mut cseq) = (0, None);
        let lines = || line::Lines::new(rest, true).filter_map(line::header);
        for (name, value) in lines() {
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"cseq") => cseq = number(value),
                14 if name.eq_ignore_ascii_case(b"content-length") => body = number(value).unwrap_or(0),
                _ => {}
            }
        }
        let (index, is_response) = match start {
            Start::Request { method, uri } => {
                let client = *self.client.get_or_insert(direction);
                let (index, fields) = transactions.open();
                fields.method.set(method, &mut fields.memory);
                fields.uri.set(uri, &mut fields.memory);
                // The numbers of a server's own requests are others.
                fields.cseq = cseq.filter(|_| client == direction);
                (index, false)
            }
            Start::Response { status } => {
                let found = match cseq.filter(|_| self.client == Some(direction.opposite())) {
                    Some(cseq) => transactions.find_open(|rtsp| rtsp.cseq == Some(cseq)),
                    None if self.client == Some(direction) => transactions.find_open(|rtsp| rtsp.cseq.is_none()),
                    None => transactions.oldest_open(),
                };
                let index = found.unwrap_or_else(|| transactions.open().0);
                if let Some(fields) = transactions.fields_mut(index) {
                    fields.status_code = Some(status);
                    fields.cseq = fields.cseq.or(cseq);
                }
                (index, true)
            }
        };
        if let Some(fields) = transactions.fields_mut(index) {
            lines().for_each(|field| write(field, is_response, fields));
        }
        if is_response {
            transactions.complete(index);
        }
        body.into()
    }
}

fn number(value: &[u8]) -> Option<u32> {
    str::from_utf8(value).ok()?.parse().ok()
}

fn write((name, value): (&[u8], &[u8]), is_response: bool, fields: &mut Rtsp) {
    let memory = &mut fields.memory;
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        6 if is(b"server") => fields.server.set(value, memory),
        7 if is(b"session") => {
            let id = value.split(|&octet| octet == b';').next().unwrap_or_default();
            fields.session.set(id.trim_ascii(), memory);
        }
        9 if is(b"transport") => fields.transport.set(value, memory),
        10 if is(b"user-agent") => fields.user_agent.set(value, memory),
        12 if is(b"content-type") && (is_response || fields.content_type.is_empty()) => {
            fields.content_type.set(value, memory);
        }
        _ => {}
    }
}
