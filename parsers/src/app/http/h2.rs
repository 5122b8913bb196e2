// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of HTTP/2 in the clear (RFC 9113), for the header fields in them.
//!
//! HEADERS, CONTINUATION and PUSH_PROMISE are read whole and decompressed; of all others only the length is looked at, and
//! RST_STREAM ends its stream. A direction that breaks the rules, or of which octets are missing, cannot be read any more,
//! since its table of header fields is lost: it is passed over.

use weir_flow::{OnceText, allocated, app::Http};

use super::{
    Scratch,
    fields::Values,
    head::{self, PREFACE},
    hpack::{Broken, Table},
    names::Name,
};
use crate::app::{Direction, Input, Step, Transactions};

/// Octets of a frame's header (section 4.1).
const HEADER: usize = 9;
/// Most octets of a frame that is read: what may be sent unless more is agreed on (section 4.2), which hardly anybody does.
const MAX_FRAME: usize = 16 << 10;
/// Most octets of a message's header block.
const MAX_BLOCK: usize = 32 << 10;

const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// State of one direction.
#[derive(Debug, Default)]
struct Side {
    table: Table,
    /// The beginning of a header block that goes on in the next frame.
    block: Vec<u8>,
    /// The stream of that block, or of the request that it promises; 0 if there is none.
    stream: u32,
    is_lost: bool,
}

/// State of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    sides: [Side; 2],
    /// The direction in which requests go.
    client: Direction,
    /// Whether the client's preface was read.
    has_begun: bool,
}

/// A frame's header.
struct Frame {
    len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s, t, u, v] = bytes.first_chunk::<HEADER>()?;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        // The highest bit is reserved.
        Some(Self { len, kind, flags, stream: u32::from_be_bytes([s, t, u, v]) & !(1 << 31) })
    }
}

impl Connection {
    pub(super) fn new(client: Direction) -> Self {
        Self { sides: Default::default(), client, has_begun: false }
    }

    /// Bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        let sides = self.sides.iter().map(|side| side.table.held() + allocated(side.block.capacity()));
        allocated(size_of::<Self>()) + sides.sum::<usize>()
    }

    /// Octets of a direction are missing.
    pub(super) fn lose(&mut self, direction: Direction) {
        self.sides[direction.index()] = Side { is_lost: true, ..Side::default() };
    }

    /// Whether nothing more can be read.
    pub(super) fn is_over(&self) -> bool {
        self.sides.iter().all(|side| side.is_lost)
    }

    /// Reads one frame.
    pub(super) fn step(
        &mut self,
        input: Input<'_>,
        transactions: &mut Transactions<Http>,
        scratch: &mut Scratch,
    ) -> Step {
        if self.is_over() {
            return Step::Done;
        }
        if self.sides[input.direction.index()].is_lost {
            return Step::Skip(u64::MAX);
        }
        if input.direction == self.client && !self.has_begun {
            return self.preface(input);
        }
        let Some(frame) = Frame::read(input.bytes) else { return Step::More };
        let whole = HEADER + frame.len;
        match self.frame(&frame, input, transactions, scratch) {
            Ok(true) => Step::Skip(whole as u64),
            Ok(false) => Step::More,
            Err(Broken) => {
                self.lose(input.direction);
                Step::Skip(u64::MAX)
            }
        }
    }

    fn preface(&mut self, input: Input<'_>) -> Step {
        if input.bytes.starts_with(PREFACE) {
            self.has_begun = true;
            return Step::Consumed(PREFACE.len());
        }
        if PREFACE.starts_with(input.bytes) { Step::More } else { Step::Done }
    }

    /// Reads a frame, if it is of interest; false if it is not all there.
    fn frame(
        &mut self,
        frame: &Frame,
        input: Input<'_>,
        transactions: &mut Transactions<Http>,
        scratch: &mut Scratch,
    ) -> Result<bool, Broken> {
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const PUSH_PROMISE: u8 = 5;
        const CONTINUATION: u8 = 9;
        let side = &mut self.sides[input.direction.index()];
        // Nothing comes between the frames of one header block (section 6.10).
        if (side.stream != 0) != (frame.kind == CONTINUATION) {
            return Err(Broken);
        }
        if frame.kind == RST_STREAM {
            let reset = transactions.find_open(|http| http.stream_id.get() == Some(frame.stream));
            reset.into_iter().for_each(|index| transactions.complete(index));
        }
        if !matches!(frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            return Ok(true);
        }
        if frame.len > MAX_FRAME || frame.stream == 0 {
            return Err(Broken);
        }
        let Some(payload) = input.bytes.get(HEADER..HEADER + frame.len) else { return Ok(false) };
        let (stream, fragment) = match frame.kind {
            HEADERS => (frame.stream, fragment(payload, frame.flags, if frame.flags & PRIORITY == 0 { 0 } else { 5 })?),
            PUSH_PROMISE => promised(fragment(payload, frame.flags, 0)?)?,
            _ => (side.stream, payload),
        };
        if frame.flags & END_HEADERS == 0 {
            if side.block.len() + fragment.len() > MAX_BLOCK {
                return Err(Broken);
            }
            side.block.extend_from_slice(fragment);
            side.stream = stream;
            return Ok(true);
        }
        let Scratch { reader, values, .. } = scratch;
        if side.block.is_empty() {
            side.table.decode(fragment, values, &mut reader.found)?;
        } else {
            side.block.extend_from_slice(fragment);
            let block = std::mem::take(&mut side.block);
            side.table.decode(&block, values, &mut reader.found)?;
        }
        side.stream = 0;
        message(stream, Values { bytes: values, found: &reader.found }, transactions);
        Ok(true)
    }
}

/// The part of a payload that belongs to the header block (section 6.2), without so many octets in front of it.
fn fragment(payload: &[u8], flags: u8, front: usize) -> Result<&[u8], Broken> {
    let (padding, payload) = match payload.split_first() {
        Some((&padding, rest)) if flags & PADDED != 0 => (usize::from(padding), rest),
        _ if flags & PADDED != 0 => return Err(Broken),
        _ => (0, payload),
    };
    let end = payload.len().checked_sub(padding).ok_or(Broken)?;
    payload.get(front..end).ok_or(Broken)
}

/// The stream of a promised request, and its part of the header block (section 6.6).
fn promised(payload: &[u8]) -> Result<(u32, &[u8]), Broken> {
    let (stream, fragment) = payload.split_first_chunk().ok_or(Broken)?;
    Ok((u32::from_be_bytes(*stream) & !(1 << 31), fragment))
}

/// What a header block says: a request, a response, or what follows their content (section 8.1).
fn message(stream: u32, values: Values<'_>, transactions: &mut Transactions<Http>) {
    let present = values.found.present();
    if present & Name::Method.bit() != 0 {
        request(stream, values, transactions);
    } else if let Some(status) = head::status_code(values.value(Name::Status)) {
        response(stream, status, values, transactions);
    }
}

fn request(stream: u32, values: Values<'_>, transactions: &mut Transactions<Http>) {
    let (_, http) = transactions.open();
    http.stream_id.set(stream);
    http.request_method.set(values.value(Name::Method), &mut http.memory);
    http.request_target.set(values.value(Name::Path), &mut http.memory);
    http.request_scheme.set(values.value(Name::Scheme), &mut http.memory);
    http.message_version.push(VERSION, &mut http.memory);
    values.request(http);
    let authority = values.value(Name::Authority);
    if !authority.is_empty() {
        // As of an absolute target: RFC 9113 section 8.3.1 forbids name and password, which stops nobody.
        http.request_host.set(authority.rsplit(|&b| b == b'@').next().unwrap_or_default(), &mut http.memory);
    }
}

fn response(stream: u32, status: u16, values: Values<'_>, transactions: &mut Transactions<Http>) {
    let index = transactions.find_open(|http| http.stream_id.get() == Some(stream)).unwrap_or_else(|| {
        let (index, http) = transactions.open();
        http.stream_id.set(stream);
        index
    });
    let Some(http) = transactions.fields_mut(index) else { return };
    if !http.message_version.iter(&http.memory).any(|version| version == VERSION) {
        http.message_version.push(VERSION, &mut http.memory);
    }
    if (100..200).contains(&status) {
        http.interim_responses.push_new(status, &mut http.memory);
        return;
    }
    // After an upgrade they are those of the 101, and HTTP/2 has no reason phrase.
    http.status_code = Some(status);
    http.reason_phrase = OnceText::default();
    values.response(http);
    values.content_length().into_iter().for_each(|length| http.content_length.set(length));
    transactions.complete(index);
}

const VERSION: &[u8] = b"HTTP/2";
