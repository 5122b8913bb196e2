// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP (RFC 3261), over UDP and TCP, with the descriptions of sessions in it (SDP, RFC 8866).
//!
//! Parsed: request line, status line, and the header fields From, To, Call-ID, CSeq, topmost Via, first Contact, User-Agent,
//! Server, Content-Type and Content-Length, in long and compact form, unfolded; of Authorization and Proxy-Authorization the
//! user name, and nothing else. Of a body of the type application/sdp, alone or within a multipart body: addresses (`c=`),
//! ports and static payload types (`m=`) and names of codecs (`a=rtpmap`), of offer and answer together.
//!
//! One transaction per request and its responses, found by Call-ID and CSeq; ACK, which has no response, is one by itself. A
//! response without its request opens a transaction of its own. Retransmitted messages join theirs while it is not closed.
//! Over TCP, Content-Length ends a message (RFC 3261 section 18.3); keep-alives (RFC 5626) are passed over.
//!
//! **A call is several records.** That of INVITE has the times to the first response, to ringing and to the answer; it may be
//! two of them, with a challenge (401, 407) between. That of ACK has no times. That of BYE has the time from the first INVITE
//! to the end, and from the answer to the end, if the INVITE went over the same flow (as with a proxy that stays in between, or a
//! trunk) while it was known; then it may have been the other side that said BYE. All have the same Call-ID. What else happens
//! within the call (re-INVITE, INFO, UPDATE) is a record each, and changes none of these times. A call that is refused or
//! cancelled ends with the response in INVITE's record.
//!
//! Not parsed: bodies of other types, in SDP names of hosts, ICE candidates, attributes other than `rtpmap`; all but the first
//! value of Via and Contact, escapes in URIs and quoted strings; secrets and digests.
//!
//! After octets are missing, and where a message does not begin where the one before it ends, lines are passed over until
//! one looks like a request line or a status line.
//!
//! Bounds: a head is read up to `MAX_HEAD`, a body up to `MAX_BODY`; 32 transactions may be open; of `calls::MAX_CALLS` calls
//! the times are remembered. Of a body that comes after its head over TCP, what comes when the record is closed already is
//! passed over.
//!
//! Fields: all of `weir_flow::app::Sip`. A To gets its tag only with a response, and some write a From in another way than
//! the request, so that these are lists.
//!
//! Fixtures: hand-made messages in `tests.rs`, conversations in `tests/splits.rs`, recorded ones in `pcaps/sip/`.

mod calls;
mod head;
mod sdp;
#[cfg(test)]
mod tests;

use weir_flow::{Field, Memory, Text, TextList, Timestamp, app::Sip};

use self::{
    calls::Calls,
    head::{Head, Methods, Shape, Start, first_value, has_tag, message_type, shape, uri, user},
    sdp::Body,
};
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, line};

/// Most octets of a head: what fits into a datagram is read whole.
const MAX_HEAD: usize = 64 << 10;

/// Most octets of a body that is read; a longer one is passed over.
const MAX_BODY: u64 = 32 << 10;

/// State of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    calls: Calls,
    /// What is left of the body that is being read, for each direction of a stream.
    bodies: [Rest; 2],
    /// Whether a message is looked for at the starts of lines, for each direction of a stream.
    lost: [Option<AtLine>; 2],
}

/// Whether the next octet begins a line, as far as is known.
type AtLine = bool;

/// What is left of a body.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    octets: u32,
    /// Which transaction it is of: see [`mark`].
    mark: u32,
    body: Body,
}

/// Values of the message that is being read.
#[derive(Debug, Default)]
pub struct Scratch {
    call_id: Text<256>,
    cseq: Text<80>,
    address: Text<512>,
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

    const BEGINS: &[Octets] = &[
        Octets::from(b'!'..=b'~').and(b"\r\n\0"),
        Octets::TEXT.and(b"\0"),
        line::TARGET.and(b"\0"),
        line::TARGET.and(b"\0"),
    ];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let is_all = input.snapped || input.transport == Transport::Datagram;
        if input.hinted && input.transport == Transport::Datagram && is_keep_alive(input.bytes) {
            return Probe::More;
        }
        let methods = if input.transport == Transport::Datagram { Methods::Any } else { Methods::Usual };
        match shape(line::after_empty(input.bytes), is_all, methods) {
            Shape::Message => Probe::Yes,
            Shape::None => Probe::No,
            Shape::More => Probe::More,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) -> Step {
        match input.transport {
            Transport::Datagram => self.datagram(input, transactions, scratch),
            Transport::Stream => self.stream(input, transactions, scratch),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.lost[direction.index()] = Some(true);
        self.bodies[direction.index()] = Rest::default();
        AfterGap::Resume
    }

    fn clear(&mut self) {
        self.calls.clear();
        self.bodies = Default::default();
        self.lost = Default::default();
    }

    fn held(&self) -> usize {
        self.calls.held()
    }
}

/// Double CR LF, or, as some send, zeros.
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 4 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0))
}

/// What is known of a body without its lines: its octets, and what is to be read of it.
fn body_of(head: &Head<'_>) -> Option<Body> {
    Body::of_type(head.content_type).filter(|_| head.content_length.is_none_or(|octets| octets <= MAX_BODY))
}

impl Parser {
    /// A datagram holds one message; what is none, is passed over.
    fn datagram(&mut self, input: Input<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) -> Step {
        let message = input.bytes.get(line::empty_lines(input.bytes)..).unwrap_or_default();
        // Where octets were not captured, the last line may lack some.
        let message = if input.snapped { line::whole(message) } else { message };
        if shape(message, true, Methods::Any) == Shape::Message
            && let Some(head) = Head::parse(message)
        {
            let index = self.record(&head, transactions, scratch);
            if let Some(body) = body_of(&head)
                && let Some(sip) = transactions.fields_mut(index)
            {
                let octets = head.content_length.and_then(|octets| usize::try_from(octets).ok());
                let octets = octets.unwrap_or(usize::MAX).min(MAX_BODY as usize);
                read_lines(body, head.behind.get(..octets).unwrap_or(head.behind), sip);
            }
        }
        Step::Consumed(input.bytes.len().max(1))
    }

    fn stream(&mut self, input: Input<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) -> Step {
        if let Some(at_line) = self.lost[input.direction.index()] {
            return self.lost(input, at_line, transactions, scratch);
        }
        if self.bodies[input.direction.index()].octets > 0 {
            return self.body(input, transactions);
        }
        let empty = line::empty_lines(input.bytes);
        if empty > 0 {
            return Step::Consumed(empty);
        }
        match shape(input.bytes, input.snapped, Methods::Any) {
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
        let index = self.record(&head, transactions, scratch);
        if !is_whole {
            self.lost[input.direction.index()] = Some(false);
            return Step::Skip(bytes.len() as u64);
        }
        let length = head.content_length.unwrap_or(0);
        match (body_of(&head), u32::try_from(length)) {
            (Some(body), Ok(octets)) if octets > 0 => {
                let mark = transactions.fields_mut(index).map_or(0, |sip| mark(sip));
                self.bodies[input.direction.index()] = Rest { octets, mark, body };
                Step::Consumed(bytes.len())
            }
            _ => Step::Skip((bytes.len() as u64).saturating_add(length)),
        }
    }

    /// Reads the lines of a body that have come.
    fn body(&mut self, input: Input<'_>, transactions: &mut Transactions<Sip>) -> Step {
        let rest = &mut self.bodies[input.direction.index()];
        let part = input.bytes.get(..rest.octets as usize).unwrap_or(input.bytes);
        let is_all = part.len() == rest.octets as usize;
        let lines = if is_all { part } else { line::whole(part) };
        if lines.is_empty() {
            return Step::More;
        }
        let Rest { mark: of, body, .. } = *rest;
        if let Some(index) = transactions.find_any(|sip| mark(sip) == of)
            && let Some(sip) = transactions.fields_mut(index)
        {
            rest.body = read_lines(body, lines, sip);
        }
        // No more than there are left.
        rest.octets -= lines.len() as u32;
        Step::Consumed(lines.len())
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
                let told = shape(rest, input.snapped, Methods::Any);
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

/// Reads the lines of a body, and says of which body the next one is.
fn read_lines(body: Body, lines: &[u8], sip: &mut Sip) -> Body {
    lines.split(|&b| b == b'\n').fold(body, |body, line| body.read(line.trim_ascii_end(), sip))
}

/// What tells a transaction of a flow from the others, most likely.
fn mark(sip: &Sip) -> u32 {
    let hash =
        calls::hash(sip.call_id.as_bytes(&sip.memory)) ^ calls::hash(sip.cseq.as_bytes(&sip.memory)).rotate_left(1);
    (hash ^ hash >> 32) as u32
}

/// Microseconds from one time to another.
fn micros(from: Timestamp, to: Timestamp) -> u64 {
    to.as_nanos().saturating_sub(from.as_nanos()) / 1000
}

impl Parser {
    /// Puts a message into its transaction, and gives the index of that.
    fn record(&mut self, head: &Head<'_>, transactions: &mut Transactions<Sip>, scratch: &mut Scratch) -> usize {
        let Scratch { call_id, cseq, address, memory: read } = scratch;
        read.clear();
        (*call_id, *cseq) = (Text::default(), Text::default());
        unfold(call_id, read, head.call_id);
        words(cseq, read, head.cseq);
        let is_same = |sip: &Sip| {
            sip.call_id.as_bytes(&sip.memory) == call_id.as_bytes(read)
                && sip.cseq.as_bytes(&sip.memory) == cseq.as_bytes(read)
        };
        let known = if call_id.is_empty() { None } else { transactions.find_any(is_same) };
        let index = known.unwrap_or_else(|| transactions.open().0);
        let (now, started) = (transactions.now(), transactions.started(index).unwrap_or_default());
        let Some(sip) = transactions.fields_mut(index) else { return index };
        let memory = &mut sip.memory;
        if known.is_none() {
            unfold(&mut sip.call_id, memory, head.call_id);
            words(&mut sip.cseq, memory, head.cseq);
        }
        first(&mut sip.user_agent, memory, head.user_agent);
        first(&mut sip.server, memory, head.server);
        first_of(&mut sip.from_uri, memory, || uri(head.from));
        first_of(&mut sip.to_uri, memory, || uri(head.to));
        first_of(&mut sip.via, memory, || first_value(head.via));
        first_of(&mut sip.contact, memory, || first_value(head.contact));
        first_of(&mut sip.auth_user, memory, || user(head.authorization));
        first_of(&mut sip.auth_user, memory, || user(head.proxy_authorization));
        each(&mut sip.from, memory, head.from, (&mut *address, &mut *read));
        each(&mut sip.to, memory, head.to, (address, read));
        let is_complete = match head.start {
            Start::Request { method, uri } => {
                self.request(sip, method, head, now);
                first(&mut sip.request_uri, &mut sip.memory, uri);
                method == b"ACK"
            }
            Start::Response { status } => {
                self.response(sip, status, started, now);
                status >= 200
            }
        };
        if is_complete {
            transactions.complete(index);
        }
        index
    }

    /// Notes what a request says; repeated, it says nothing new.
    fn request(&mut self, sip: &mut Sip, method: &[u8], head: &Head<'_>, now: Timestamp) {
        if !sip.method.is_empty() {
            return;
        }
        sip.method.set(method, &mut sip.memory);
        sip.message_type = message_type(method);
        let call_id = sip.call_id.as_bytes(&sip.memory);
        if method == b"INVITE" && !has_tag(head.to) {
            self.calls.invite(call_id, now);
        } else if method == b"BYE"
            && let Some(calls::Times { invited, answered }) = self.calls.end(call_id)
        {
            sip.time_to_end.set(micros(invited, now));
            answered.into_iter().for_each(|answered| sip.call_duration.set(micros(answered, now)));
        }
    }

    /// Notes what a response says.
    fn response(&mut self, sip: &mut Sip, status: u16, started: Timestamp, now: Timestamp) {
        sip.status_code.push_new(status, &mut sip.memory);
        if sip.method.is_empty() {
            sip.message_type = Some(RESPONSE);
            return;
        }
        let taken = micros(started, now);
        if sip.response_time.get().is_none() {
            sip.response_time.set(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        if sip.message_type != message_type(b"INVITE") {
            return;
        }
        let call_id = sip.call_id.as_bytes(&sip.memory);
        match status {
            180..=189 if sip.time_to_ring.get().is_none() => sip.time_to_ring.set(taken),
            200..=299 if sip.time_to_answer.get().is_none() => {
                sip.time_to_answer.set(taken);
                self.calls.answer(call_id, now);
            }
            // With credentials it will be asked for again.
            300.. if !matches!(status, 401 | 407) && !sip.to.iter(&sip.memory).next().is_some_and(has_tag) => {
                self.calls.end(call_id);
            }
            _ => {}
        }
    }
}

/// The number that ipfixprobe gives to a response.
const RESPONSE: u16 = 99;

/// Adds a value to a list unless it is there already.
fn each<const ITEMS: usize>(
    list: &mut TextList<ITEMS, 512>,
    memory: &mut Memory,
    value: &[u8],
    (unfolded, read): (&mut Text<512>, &mut Memory),
) {
    if value.is_empty() {
        return;
    }
    *unfolded = Text::default();
    unfold(unfolded, read, value);
    list.push_new(unfolded.as_bytes(read), memory);
    if unfolded.is_cut() {
        memory.mark_cut();
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
