// SPDX-License-Identifier: MIT OR Apache-2.0
//! DNS (RFC 1035) over UDP and over TCP (RFC 7766), recognised by content.
//!
//! A query and its response are one transaction, matched by identifier and question. A message with several questions is
//! one transaction for each; the answers stand with the first. Messages over TCP follow a length of two octets.
//!
//! - **Parsed**: header, question section, answer section (RFC 1035 section 4), compressed names; multicast DNS
//!   (RFC 6762) and LLMNR (RFC 4795), which look the same; data of A, AAAA, CNAME, DNAME, MX, NS, PTR, SOA, SPF, SRV and TXT
//!   records, that of others in the generic form of RFC 3597 section 5.
//! - **Not parsed**: authority and additional sections, hence no EDNS, except that a message on an unexpected port must
//!   walk to its last octet; NetBIOS names, which share the format; stateful operations (RFC 8490).
//! - **Names** are in presentation form without the final dot; a dot or backslash within a label is escaped by a
//!   backslash, an octet that is not printable by its three decimal digits (RFC 4343 section 2.1).
//! - **Bounds**: 32 questions, 16 KiB of a message (the rest is passed over), 64 compression pointers in a name, each of which
//!   must point backwards; 32 open transactions.
//! - **Updates** (RFC 2136) ask nothing: identifier and response code only.
//! - **Odd input**: a question with a bad name in a message that is whole otherwise has no name; a record with bad data is
//!   given in generic form, one with a bad owner name gives its address only; a message that ends early gives what came
//!   before. Eight bad messages in a row end the flow, and so do missing octets of a stream.
//! - **Fields**: all of `weir_flow::app::Dns`.
//! - **Fixtures**: hand-made messages in `tests.rs`; messages made at random and read by the crate `dns-parser` as well;
//!   any split of a stream in `tests/splits_dns_tls.rs`.

mod message;
mod rdata;
#[cfg(test)]
mod tests;

use weir_flow::{
    allocated,
    app::{Dns, dns::MAX_ANSWERS},
};

use self::message::{Header, Question, Record};
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport};

/// Most octets of a message that are looked at.
const MAX_MESSAGE: usize = 16 * 1024;

/// Octets of the length before a message over TCP.
const LENGTH: usize = 2;

/// Most octets of the first message of a stream on an unexpected port: a session keeps no more while it probes.
const MAX_FIRST: usize = 510;

/// Bad messages in a row after which the flow is given up.
const MAX_BAD: u8 = 8;

const CLASS_IN: u16 = 1;

/// Reads DNS messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bad messages in a row.
    bad: u8,
    last: Last,
}

/// What is needed while a message is read.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Name of the question that is being read.
    name: Vec<u8>,
    /// The record that is being written.
    text: Vec<u8>,
}

/// The transaction that was completed last. What comes for it after that, such as a repeated response or the next message
/// of a zone transfer, is added to it, unless another transaction stirred: then its record may be gone, and whether it is
/// must not depend on how the stream was split.
#[derive(Debug, Default)]
struct Last {
    /// Transactions opened at that time, at least one.
    opened: u32,
    id: u16,
    name: Vec<u8>,
    kind: u16,
}

impl super::Parser for Parser {
    type Fields = Dns;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "dns",
        transports: &[Transport::Datagram, Transport::Stream],
        port_hints: &[53, 5353, 5355],
        max_buffered: LENGTH + MAX_MESSAGE,
        max_inspected: u32::MAX,
        max_open: 32,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match (input.transport, input.hinted) {
            (Transport::Datagram, true) => match message::begins(input.bytes, false) {
                Probe::More => yes_if(input.snapped && input.bytes.len() >= message::HEADER),
                Probe::No => yes_if(odd_but_whole(input.bytes)),
                Probe::Yes => Probe::Yes,
            },
            (Transport::Datagram, false) => yes_if(!input.snapped && message::walks(input.bytes)),
            (Transport::Stream, hinted) => {
                let Some((len, rest)) = split_length(input.bytes) else { return Probe::More };
                if len < message::HEADER {
                    return Probe::No;
                }
                let message = rest.get(..len);
                match message::begins(message.unwrap_or(rest), !hinted) {
                    // The whole message is there, yet the question is not.
                    Probe::More if message.is_some() => Probe::No,
                    Probe::Yes if !hinted && len > MAX_FIRST => Probe::No,
                    Probe::Yes if !hinted => message.map_or(Probe::More, |m| yes_if(message::walks(m))),
                    answer => answer,
                }
            }
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Dns>, scratch: &mut Scratch) -> Step {
        if input.transport == Transport::Datagram {
            let read = self.message(input.bytes, input.bytes.len(), transactions, scratch);
            return self.judge(read, Step::Consumed(input.bytes.len()));
        }
        let Some((len, rest)) = split_length(input.bytes) else { return Step::More };
        let wanted = len.min(MAX_MESSAGE);
        if rest.len() < wanted && !input.snapped {
            return Step::More;
        }
        let read = self.message(rest.get(..wanted).unwrap_or(rest), len, transactions, scratch);
        let step = if rest.len() < len { Step::Skip((LENGTH + len) as u64) } else { Step::Consumed(LENGTH + len) };
        self.judge(read, step)
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        // Nothing marks the beginning of a message but the length of the one before.
        AfterGap::Done
    }

    fn clear(&mut self) {
        self.bad = 0;
        self.last.opened = 0;
    }

    fn held(&self) -> usize {
        allocated(self.last.name.capacity())
    }
}

fn yes_if(yes: bool) -> Probe {
    if yes { Probe::Yes } else { Probe::No }
}

/// Whether the octets are a message although its first name cannot be read.
fn odd_but_whole(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some_and(|h| h.is_plausible() && h.questions > 0) && message::fits(bytes)
}

/// The length before a message over TCP, and what follows it.
fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*len)), rest))
}

impl Parser {
    fn judge(&mut self, read: bool, step: Step) -> Step {
        self.bad = if read { 0 } else { self.bad + 1 };
        if self.bad < MAX_BAD { step } else { Step::Reject }
    }

    /// Reads one message, of which `bytes` are the first of `wire_len` octets. False if it is none.
    fn message(
        &mut self,
        bytes: &[u8],
        wire_len: usize,
        transactions: &mut Transactions<Dns>,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(header) = Header::read(bytes) else { return false };
        if !header.is_plausible() || wire_len < message::HEADER {
            return false;
        }
        let mut at = message::HEADER;
        let mut first = None;
        for _ in 0..header.questions {
            scratch.name.clear();
            let Some(question) = message::question(bytes, at) else { break };
            at = question.end;
            if !message::write_name(bytes, question.name_at, &mut scratch.name) {
                if first.is_none() && !odd_but_whole(bytes) {
                    return false;
                }
                scratch.name.clear();
            }
            if !header.is_update() {
                let index = self.transaction(header, Some(question), transactions, &scratch.name);
                first = first.or(Some(index));
            }
        }
        // A message without a question is not much to go by, and must be whole.
        if first.is_none() && (at > message::HEADER || message::fits(bytes)) {
            scratch.name.clear();
            first = Some(self.transaction(header, None, transactions, &scratch.name));
        }
        let Some(fields) = first.and_then(|index| transactions.fields_mut(index)) else { return false };
        if header.is_response() {
            fields.answer_count = fields.answer_count.max(Some(header.answers));
            answers(bytes, at, header.answers, fields, &mut scratch.text);
        }
        true
    }

    /// Finds or opens the transaction of a question and gives its index.
    fn transaction(
        &mut self,
        header: Header,
        question: Option<Question>,
        transactions: &mut Transactions<Dns>,
        name: &Vec<u8>,
    ) -> usize {
        let is_it = |d: &Dns| {
            d.transaction_id == Some(header.id)
                && match question {
                    // A response may leave the question out; a query without one is matched by the same only.
                    None => header.is_response() || d.query_type.is_none(),
                    Some(q) => {
                        d.query_type == Some(q.kind) && d.query_name.as_bytes(&d.memory).eq_ignore_ascii_case(name)
                    }
                }
        };
        let mut found = transactions.find_open(is_it);
        if found.is_none() && header.is_response() && self.last.is_it(header.id, question, name, transactions.opened())
        {
            found = transactions
                .find_any(|d| is_it(d) && d.response_code.is_none_or(|code| code == header.response_code()));
        }
        let index = found.unwrap_or_else(|| {
            let (index, fields) = transactions.open();
            fields.transaction_id = Some(header.id);
            if let Some(q) = question {
                fields.query_name.set(name, &mut fields.memory);
                fields.query_type = Some(q.kind);
                fields.query_class = Some(q.class);
            }
            index
        });
        if header.is_response()
            && let Some(fields) = transactions.fields_mut(index)
        {
            fields.response_code = Some(header.response_code());
        }
        // Nobody promises a response to a multicast query, and its identifier is zero (RFC 6762 section 18.1).
        if header.is_response() || header.id == 0 {
            transactions.complete(index);
            self.last.opened = transactions.opened();
            self.last.id = header.id;
            self.last.kind = question.map_or(0, |q| q.kind);
            self.last.name.clone_from(name);
        }
        index
    }
}

/// First the addresses, then the texts: lists that grow in turns need more memory.
fn answers(bytes: &[u8], at: usize, count: u16, fields: &mut Dns, text: &mut Vec<u8>) {
    let each = |answer: &mut dyn FnMut(&Record<'_>)| {
        let mut at = at;
        for _ in 0..count {
            let Some(record) = message::record(bytes, at) else { break };
            at = record.end;
            answer(&record);
        }
    };
    each(&mut |record| address(record, fields));
    each(&mut |record| presentation(bytes, record, fields, text));
}

fn address(record: &Record<'_>, fields: &mut Dns) {
    let memory = &mut fields.memory;
    // Multicast DNS uses the first bit of the class for itself (RFC 6762 section 10.2).
    if record.class & 0x7fff == CLASS_IN {
        match record.kind {
            rdata::A => record.data.try_into().into_iter().for_each(|a| fields.answer_ipv4.push_new(a, memory)),
            rdata::AAAA => record.data.try_into().into_iter().for_each(|a| fields.answer_ipv6.push_new(a, memory)),
            _ => {}
        }
    }
}

fn presentation(bytes: &[u8], record: &Record<'_>, fields: &mut Dns, text: &mut Vec<u8>) {
    let memory = &mut fields.memory;
    // What does not fit is not written, but for the one that tells the list that it was cut.
    if fields.answers.len() < MAX_ANSWERS {
        text.clear();
        if rdata::write_record(bytes, record, text) {
            fields.answers.push_new(text, memory);
        }
    } else {
        fields.answers.push(b"", memory);
    }
}

impl Last {
    fn is_it(&self, id: u16, question: Option<Question>, name: &[u8], opened: u32) -> bool {
        self.opened == opened
            && self.opened > 0
            && self.id == id
            && question.is_none_or(|q| q.kind == self.kind && self.name.eq_ignore_ascii_case(name))
    }
}
