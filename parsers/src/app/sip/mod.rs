// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP (RFC 3261), over UDP and TCP.
//!
//! Parsed: request line, status line, and the header fields From, To, Call-ID, CSeq, topmost Via, first Contact, User-Agent
//! and Server, in long and compact form, unfolded. One transaction per request and its responses, found by Call-ID and CSeq;
//! ACK, which has no response, is one by itself. A response without its request opens a transaction of its own. Retransmitted
//! messages join theirs while it is not closed. Over TCP, Content-Length ends a message (RFC 3261 section 18.3); keep-alives
//! (RFC 5626) are passed over.
//!
//! Not parsed: bodies (SDP), all but the first value of Via and Contact, escapes in URIs, credentials.
//!
//! After octets are missing, and where a message does not begin where the one before it ends, lines are passed over until
//! one looks like a request line or a status line.
//!
//! Bounds: a head is read up to `MAX_HEAD`; 32 transactions may be open.
//!
//! Fields: all of `weir_flow::app::Sip`. A To gets its tag only with a response, so both are kept.
//!
//! Fixtures: hand-made messages in `tests.rs`, conversations in `tests/splits.rs`, recorded ones in `pcaps/sip/`.

mod head;
#[cfg(test)]
mod tests;

use weir_flow::{Field, Memory, Text, app::Sip};

use self::head::{Head, Shape, Start, first_value, shape, uri};
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport, line};

/// Most octets of a head: what fits into a datagram is read whole.
const MAX_HEAD: usize = 64 << 10;

/// State of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Whether a message is looked for at the starts of lines, for each direction of a stream.
    lost: [Option<AtLine>; 2],
}

/// Whether the next octet begins a line, as far as is known.
type AtLine = bool;

/// Values of the message that is being read.
#[derive(Debug, Default)]
pub struct Scratch {
    call_id: Text<256>,
    cseq: Text<64>,
    to: Text<512>,
    memory: Memory,
}

impl super::Parser for Parser {
    type Fields = Sip;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "sip",
        transports: &[Transport::Datagram, Transport::Stream],
        port_hints: &[5060, 5062, 5070, 5080],
        max_buffered: MAX_HEAD,
        // Trunks keep their ports for days.
        max_inspected: u32::MAX,
        max_open: 32,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let is_all = input.snapped || input.transport == Transport::Datagram;
        if input.hinted && input.transport == Transport::Datagram && is_keep_alive(input.bytes) {
            return Probe::More;
        }
        match shape(line::after_empty(input.bytes), is_all) {
            Shape::Message => Probe::Yes,
            Shape::None => Probe::No,
            Shape::More => Probe::More,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) -> Step {
        match input.transport {
            Transport::Datagram => datagram(input, transactions, scratch),
            Transport::Stream => self.stream(input, transactions, scratch),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.lost[direction.index()] = Some(true);
        AfterGap::Resume
    }
}

/// Double CR LF, or, as some send, zeros.
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 4 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0))
}

/// A datagram holds one message; what is none, is passed over.
fn datagram(input: Input<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) -> Step {
    let message = input.bytes.get(line::empty_lines(input.bytes)..).unwrap_or_default();
    // Where octets were not captured, the last line may lack some.
    let message = if input.snapped { line::whole(message) } else { message };
    if shape(message, true) == Shape::Message
        && let Some(head) = Head::parse(message)
    {
        record(&head, transactions, scratch);
    }
    Step::Consumed(input.bytes.len().max(1))
}

impl Parser {
    fn stream(&mut self, input: Input<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) -> Step {
        if let Some(at_line) = self.lost[input.direction.index()] {
            return self.lost(input, at_line, transactions, scratch);
        }
        let empty = line::empty_lines(input.bytes);
        if empty > 0 {
            return Step::Consumed(empty);
        }
        match shape(input.bytes, input.snapped) {
            Shape::More => return Step::More,
            Shape::None => return self.lost(input, false, transactions, scratch),
            Shape::Message => {}
        }
        let within = input.bytes.get(..MAX_HEAD).unwrap_or(input.bytes);
        let (bytes, is_whole) = match line::end_of_head(within) {
            Some(end) => (within.get(..end).unwrap_or_default(), true),
            None if within.len() == MAX_HEAD || input.snapped => (line::whole(within), false),
            None => return Step::More,
        };
        let Some(head) = Head::parse(bytes) else { return self.lost(input, false, transactions, scratch) };
        record(&head, transactions, scratch);
        if !is_whole {
            self.lost[input.direction.index()] = Some(false);
        }
        Step::Skip((bytes.len() as u64).saturating_add(if is_whole { head.content_length } else { 0 }))
    }

    /// Passes over the rest of a line, or finds a message at its start.
    fn lost(
        &mut self,
        input: Input<'_>,
        mut at_line: AtLine,
        transactions: &mut Transactions<Sip>,
        scratch: &mut Scratch,
    ) -> Step {
        let side = input.direction.index();
        let mut at = 0;
        while let Some(rest) = input.bytes.get(at..).filter(|r| !r.is_empty()) {
            if at_line {
                let told = shape(rest, input.snapped);
                if told != Shape::None && at > 0 {
                    break;
                }
                match told {
                    Shape::None => {}
                    Shape::More => return Step::More,
                    Shape::Message => {
                        self.lost[side] = None;
                        return self.stream(input, transactions, scratch);
                    }
                }
            }
            let line = line::first(rest);
            at += line.map_or(rest.len(), |(_, len)| len);
            at_line = line.is_some();
        }
        self.lost[side] = Some(at_line);
        Step::Consumed(at)
    }
}

/// Puts a message into its transaction.
fn record(head: &Head<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) {
    let Scratch { call_id, cseq, to, memory: read } = scratch;
    read.clear();
    (*call_id, *cseq, *to) = (Text::default(), Text::default(), Text::default());
    unfold(call_id, read, head.call_id);
    words(cseq, read, head.cseq);
    let is_same = |sip: &Sip| {
        sip.call_id.as_bytes(&sip.memory) == call_id.as_bytes(read)
            && sip.cseq.as_bytes(&sip.memory) == cseq.as_bytes(read)
    };
    let known = if call_id.is_empty() { None } else { transactions.find_any(is_same) };
    let index = known.unwrap_or_else(|| transactions.open().0);
    let Some(sip) = transactions.fields_mut(index) else { return };
    let memory = &mut sip.memory;
    if known.is_none() {
        unfold(&mut sip.call_id, memory, head.call_id);
        words(&mut sip.cseq, memory, head.cseq);
    }
    let is_complete = match head.start {
        Start::Request { method, uri } => {
            if sip.method.is_empty() {
                sip.method.set(method);
            }
            first(&mut sip.request_uri, memory, uri);
            method == b"ACK"
        }
        Start::Response { status } => {
            sip.status_code.push_new(status, memory);
            status >= 200
        }
    };
    first(&mut sip.from, memory, head.from);
    first_of(&mut sip.from_uri, memory, || uri(head.from));
    first_of(&mut sip.to_uri, memory, || uri(head.to));
    first(&mut sip.user_agent, memory, head.user_agent);
    first(&mut sip.server, memory, head.server);
    first_of(&mut sip.via, memory, || first_value(head.via));
    first_of(&mut sip.contact, memory, || first_value(head.contact));
    if !head.to.is_empty() {
        unfold(to, read, head.to);
        sip.to.push_new(to.as_bytes(read), memory);
        if to.is_cut() {
            memory.mark_cut();
        }
    }
    if is_complete {
        transactions.complete(index);
    }
}

/// Sets what is not set yet.
fn first<const MAX: usize>(text: &mut Text<MAX>, memory: &mut Memory, value: &[u8]) {
    first_of(text, memory, || value);
}

/// The same, of a value that is to be looked for.
fn first_of<'a, const MAX: usize>(text: &mut Text<MAX>, memory: &mut Memory, value: impl FnOnce() -> &'a [u8]) {
    if text.is_empty() {
        unfold(text, memory, value());
    }
}

fn unfold<const MAX: usize>(text: &mut Text<MAX>, memory: &mut Memory, value: &[u8]) {
    if text.is_empty() && line::find(value, b'\n').is_none() {
        text.set(value.trim_ascii(), memory);
        return;
    }
    line::parts(value).for_each(|part| append(text, memory, part));
}

/// Appends words with one space between two.
fn words<const MAX: usize>(text: &mut Text<MAX>, memory: &mut Memory, value: &[u8]) {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).for_each(|word| append(text, memory, word));
}

fn append<const MAX: usize>(text: &mut Text<MAX>, memory: &mut Memory, part: &[u8]) {
    if !text.is_empty() {
        text.extend(b" ", memory);
    }
    text.extend(part, memory);
}
