// SPDX-License-Identifier: MIT OR Apache-2.0
//! DNS (RFC 1035) over UDP and over TCP (RFC 7766), multicast DNS (RFC 6762) and LLMNR (RFC 4795), recognised by content.
//!
//! A query and its response are one transaction, matched by identifier and question. A message with several questions is
//! one transaction for each; the answers stand with the first. Messages over TCP follow a length of two octets.
//!
//! - **Parsed**: header, question section, answer section (RFC 1035 section 4), compressed names, EDNS (RFC 6891) with the
//!   client subnet (RFC 7871) and extended errors (RFC 8914); data of A, AAAA, AFSDB, CAA, CDNSKEY, CDS, CNAME, DNAME, DNSKEY, DS,
//!   HINFO, HTTPS, KEY, MX, NAPTR, NS, PTR, RP, RRSIG, SIG, SOA, SPF, SRV, SSHFP, SVCB, TLSA, TXT and URI records in
//!   presentation form, that of others in the generic form of RFC 3597 section 5. Times of signatures are seconds since 1970.
//! - **Not parsed**: records of the authority and additional sections other than that of EDNS, and of multicast DNS those that are
//!   added to its answers, except that a message on an unexpected port must walk to its last octet; NetBIOS names, which share the format; stateful operations (RFC 8490).
//! - **Multicast DNS and LLMNR** look the same, but for details. On port 5353 a message that does not ask for recursion is
//!   multicast DNS, and on port 5355 any is LLMNR, unless the other port is 53.
//! - **Names** are in presentation form without the final dot; a dot or backslash within a label is escaped by a
//!   backslash, an octet that is not printable by its three decimal digits (RFC 4343 section 2.1). In a record, where a space ends a
//!   name, so is a space.
//! - **Repetitions**: a query that comes again while its first is open belongs to it, and is counted; after the response it is a new
//!   transaction. The first response ends the transaction; one that comes again with the same response code adds its
//!   answers, unless another transaction began since: then it is one of its own. Of multicast DNS, a query with the identifier
//!   zero, to which nobody promises a response, is complete at once, and every response after the first is one of its own.
//! - **Missing octets** of a stream: its direction goes on with the first message that is ordinary and good from its length to the
//!   last octet, wherever it begins; 64 KiB are searched, and eight that only began like one.
//! - **Bounds**: 32 questions, 16 KiB of a message (the rest is passed over), 64 compression pointers in a name, each of which
//!   must point backwards; 32 open transactions.
//! - **Updates** (RFC 2136) ask nothing: what the header and EDNS say, only.
//! - **Odd input**: a question with a bad name in a message that is whole otherwise has no name; a record with bad data is
//!   given in generic form, the owner of one with a bad owner name as `?`; an option of EDNS that is odd is passed over; a
//!   message that ends early gives what came before. Eight bad messages in a row end the flow.
//! - **Fields**: all of `weir_flow::app::Dns`.
//! - **Fixtures**: hand-made messages in `tests.rs`; messages made at random and read by the crate `dns-parser` as well, and in
//!   `fuzz/tests/` by `hickory-proto`; any split of a stream in `tests/splits_dns_tls.rs`; `pcaps/dns/`.

mod edns;
mod message;
mod rdata;
#[cfg(test)]
mod tests;

use weir_flow::app::{
    Dns,
    dns::{MAX_ANSWERS, Variant},
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

/// Octets of a stream that are searched for a message after some are missing, before the direction is given up.
const MAX_SEARCHED: u16 = u16::MAX;

/// The same of places where an ordinary header stands, but no message that is good to the end: each costs a walk.
const MAX_MISTAKEN: u8 = 8;

const CLASS_IN: u16 = 1;

/// The bit of a class that multicast DNS uses for itself (RFC 6762 sections 5.4 and 10.2).
const CLASS_BIT: u16 = 0x8000;

const PORT: u16 = 53;
const MDNS_PORT: u16 = 5353;
const LLMNR_PORT: u16 = 5355;

/// Reads DNS messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    last: Last,
    /// What the ports say.
    variant: Variant,
    /// Bad messages in a row.
    bad: u8,
    searches: [Search; 2],
}

/// The search of one direction for the next message, after octets that are missing. What it finds does not depend on how the
/// octets are divided.
#[derive(Clone, Copy, Debug, Default)]
struct Search {
    is_on: bool,
    /// Places that may look like the beginning of a message yet, and are not.
    mistakes: u8,
    /// Octets that may be searched yet; none once it was given up.
    octets: u16,
}

/// What is needed while a message is read.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Name of the question that is being read.
    name: Vec<u8>,
    /// The record that is being written.
    text: Vec<u8>,
}

/// Of the transaction that was completed last. What comes for it after that, such as a repeated response or the next message
/// of a zone transfer, is added to it, unless another transaction stirred: then its record may be gone, and whether it is
/// must not depend on how the stream was split.
#[derive(Debug, Default)]
struct Last {
    /// Transactions opened at that time, at least one; zero if there is none.
    opened: u32,
    /// Whether its responses come in reverse.
    in_reverse: bool,
}

impl super::Parser for Parser {
    type Fields = Dns;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "dns",
        transports: &[Transport::Datagram, Transport::Stream],
        port_hints: &[PORT, MDNS_PORT, LLMNR_PORT],
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
            (Transport::Stream, true) => {
                let Some((len, rest)) = message::split_length(input.bytes) else { return Probe::More };
                if len < message::HEADER {
                    return Probe::No;
                }
                let message = rest.get(..len);
                match message::begins(message.unwrap_or(rest), false) {
                    // The whole message is there, yet the question is not.
                    Probe::More if message.is_some() => Probe::No,
                    answer => answer,
                }
            }
            (Transport::Stream, false) => message::begins_stream(input.bytes, MAX_FIRST),
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Dns>, scratch: &mut Scratch) -> Step {
        let direction = input.direction;
        if input.transport == Transport::Datagram {
            let read = self.message(input.bytes, input.bytes.len(), direction, transactions, scratch);
            return self.judge(read, Step::Consumed(input.bytes.len()));
        }
        if self.searches[direction.index()].is_on
            && let Some(step) = self.find_message(input.bytes, direction, input.snapped)
        {
            return step;
        }
        let Some((len, rest)) = message::split_length(input.bytes) else { return Step::More };
        let wanted = len.min(MAX_MESSAGE);
        if rest.len() < wanted && !input.snapped {
            return Step::More;
        }
        let read = self.message(rest.get(..wanted).unwrap_or(rest), len, direction, transactions, scratch);
        let step = if rest.len() < len { Step::Skip((LENGTH + len) as u64) } else { Step::Consumed(LENGTH + len) };
        self.judge(read, step)
    }

    fn begin(&mut self, ports: [u16; 2]) {
        self.variant = match ports {
            _ if ports.contains(&PORT) => Variant::Unicast,
            _ if ports.contains(&MDNS_PORT) => Variant::Mdns,
            _ if ports.contains(&LLMNR_PORT) => Variant::Llmnr,
            _ => Variant::Unicast,
        };
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.searches[direction.index()] = Search { is_on: true, mistakes: MAX_MISTAKEN, octets: MAX_SEARCHED };
        AfterGap::Resume
    }
}

fn yes_if(yes: bool) -> Probe {
    if yes { Probe::Yes } else { Probe::No }
}

/// Whether the octets are a message although its first name cannot be read.
fn odd_but_whole(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some_and(|h| h.is_plausible() && h.questions > 0) && message::fits(bytes)
}

impl Search {
    /// The step that brings the next message to the front of what is read; `None` if it is there, or the search is given up.
    fn step(&mut self, bytes: &[u8], snapped: bool) -> Option<Step> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match message::begins_somewhere(rest, MAX_MESSAGE) {
                Probe::Yes if at == 0 => return None,
                Probe::More if at == 0 && !snapped => return Some(Step::More),
                Probe::Yes => break,
                Probe::More if !snapped => break,
                Probe::More | Probe::No => {}
            }
            if message::has_ordinary_header(rest) {
                self.mistakes = self.mistakes.saturating_sub(1);
            }
            self.octets = if self.mistakes > 0 { self.octets.saturating_sub(1) } else { 0 };
            if self.octets == 0 {
                return None;
            }
            at += 1;
        }
        Some(Step::Consumed(at))
    }
}

impl Parser {
    /// What to do instead of reading a message, while the next one is searched.
    #[cold]
    fn find_message(&mut self, bytes: &[u8], direction: Direction, snapped: bool) -> Option<Step> {
        let search = self.searches.get_mut(direction.index())?;
        if let Some(step) = search.step(bytes, snapped) {
            return Some(step);
        }
        if search.octets > 0 {
            search.is_on = false;
            return None;
        }
        let given_up = self.searches.iter().all(|search| search.is_on && search.octets == 0);
        Some(if given_up { Step::Done } else { Step::Skip(u64::MAX) })
    }

    fn judge(&mut self, read: bool, step: Step) -> Step {
        self.bad = if read { 0 } else { self.bad + 1 };
        if self.bad < MAX_BAD { step } else { Step::Reject }
    }

    /// Reads one message, of which `bytes` are the first of `wire_len` octets. False if it is none.
    fn message(
        &mut self,
        bytes: &[u8],
        wire_len: usize,
        direction: Direction,
        transactions: &mut Transactions<Dns>,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(header) = Header::read(bytes) else { return false };
        if !header.is_plausible() || wire_len < message::HEADER {
            return false;
        }
        let Scratch { name, text } = scratch;
        let variant = self.variant_of(header);
        let mut at = message::HEADER;
        let mut first = None;
        for _ in 0..header.questions {
            name.clear();
            let Some(mut question) = message::question(bytes, at) else { break };
            at = question.end;
            if variant == Variant::Mdns {
                question.class &= !CLASS_BIT;
            }
            if !message::write_name(bytes, question.name_at, name) {
                if first.is_none() && !odd_but_whole(bytes) {
                    return false;
                }
                name.clear();
            }
            if !header.is_update() {
                let asked = Asked { header, variant, question: Some(question), name };
                let found = self.transaction(&asked, direction, transactions);
                first = first.or(Some(found));
            }
        }
        // A message without a question is not much to go by, and must be whole.
        if first.is_none() && (at > message::HEADER || message::fits(bytes)) {
            name.clear();
            first = Some(self.transaction(&Asked { header, variant, question: None, name }, direction, transactions));
        }
        let Some((index, is_first)) = first else { return false };
        let Some(fields) = transactions.fields_mut(index) else { return false };
        // What records are mostly of.
        let asked = if header.questions == 1 { &name[..] } else { &[] };
        Sections { bytes, header, is_first, asked }.read(at, fields, text);
        true
    }

    /// In what is for one link only, nobody is asked to recurse: what does is DNS on a port that is usual for something else.
    const fn variant_of(&self, header: Header) -> Variant {
        match self.variant {
            Variant::Mdns if header.has(message::RECURSION_DESIRED) => Variant::Unicast,
            variant => variant,
        }
    }

    /// Finds or opens the transaction of a question. Gives its index, and whether this is its first message, or its first
    /// response.
    fn transaction(
        &mut self,
        asked: &Asked<'_>,
        direction: Direction,
        transactions: &mut Transactions<Dns>,
    ) -> (usize, bool) {
        let Asked { header, variant, question, name } = *asked;
        let mut found = transactions.find_open(|d| asked.is_it(d));
        if found.is_none() && header.is_response() && self.last.expects(direction, transactions.opened()) {
            found = transactions.last_completed().filter(|&index| {
                // What is sent to all by multicast answers nobody's question for a second time.
                let again = |code| code == header.response_code() && variant != Variant::Mdns;
                transactions.fields_mut(index).is_some_and(|d| asked.is_it(d) && d.response_code.is_none_or(again))
            });
        }
        let waited = found.and_then(|index| transactions.started(index));
        let index = found.unwrap_or_else(|| {
            let (index, fields) = transactions.open();
            fields.transaction_id = Some(header.id);
            fields.variant = variant;
            if let Some(q) = question {
                fields.query_name.set(name, &mut fields.memory);
                fields.query_type = Some(q.kind);
                fields.query_class = Some(q.class);
            }
            index
        });
        let now = transactions.now();
        let mut is_first = false;
        if let Some(fields) = transactions.fields_mut(index) {
            is_first = fields.flags.is_none() || (header.is_response() && fields.response_code.is_none());
            match (header.is_response(), waited) {
                (true, Some(since)) if is_first => {
                    let micros = now.as_nanos().saturating_sub(since.as_nanos()) / 1000;
                    fields.response_time_micros.set(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                (false, Some(_)) => fields.repeated_queries.add(1),
                _ => {}
            }
            if is_first {
                note(header, fields);
            } else if header.is_response() {
                fields.answer_count = fields.answer_count.max(Some(header.answers));
            }
        }
        // Nobody promises a response to a multicast query, and its identifier is zero (RFC 6762 section 18.1).
        if header.is_response() || (variant == Variant::Mdns && header.id == 0) {
            transactions.complete(index);
            let answers = if header.is_response() { direction } else { direction.opposite() };
            self.last = Last { opened: transactions.opened(), in_reverse: answers == Direction::Reverse };
        }
        (index, is_first)
    }
}

/// What a transaction is found by, or begins with.
struct Asked<'a> {
    header: Header,
    variant: Variant,
    question: Option<Question>,
    name: &'a [u8],
}

impl Asked<'_> {
    fn is_it(&self, d: &Dns) -> bool {
        d.transaction_id == Some(self.header.id)
            && match self.question {
                // A response may leave the question out; a query without one is matched by the same only.
                None => self.header.is_response() || d.query_type.is_none(),
                Some(q) => {
                    d.query_type == Some(q.kind) && d.query_name.as_bytes(&d.memory).eq_ignore_ascii_case(self.name)
                }
            }
    }
}

impl Last {
    const fn expects(&self, direction: Direction, opened: u32) -> bool {
        self.opened == opened && opened > 0 && self.in_reverse == matches!(direction, Direction::Reverse)
    }
}

/// Notes what the header says, in place of what that of the query said.
fn note(header: Header, fields: &mut Dns) {
    fields.flags = Some(header.flags);
    fields.opcode.set(header.opcode());
    fields.question_count.set(header.questions);
    fields.authority_count.set(header.authorities);
    fields.additional_count.set(header.additionals);
    if header.is_response() {
        fields.response_code = Some(header.response_code());
        fields.authoritative.set(header.has(message::AUTHORITATIVE).into());
        fields.truncated.set(header.has(message::TRUNCATED).into());
        fields.recursion_available.set(header.has(message::RECURSION_AVAILABLE).into());
        fields.authentic_data.set(header.has(message::AUTHENTIC_DATA).into());
        fields.answer_count = Some(header.answers);
    }
}

/// What follows the questions of a message.
struct Sections<'m> {
    bytes: &'m [u8],
    header: Header,
    /// Whether the transaction has no answers yet.
    is_first: bool,
    /// The name of the one question; empty if there are several, or none.
    asked: &'m [u8],
}

impl Sections<'_> {
    /// First the addresses, then the texts: lists that grow in turns need more memory.
    fn read(&self, at: usize, fields: &mut Dns, text: &mut Vec<u8>) {
        let Self { bytes, header, .. } = *self;
        let mut end = Some(at);
        if header.is_response() && header.answers > 0 {
            end = message::records(bytes, at, header.answers, |record| self.address(record, fields));
            self.texts(at, fields, text);
        } else if header.answers > 0 {
            end = message::records(bytes, at, header.answers, |_| ());
        }
        if header.additionals > 0
            && let Some(at) = end.and_then(|at| message::records(bytes, at, header.authorities, |_| ()))
        {
            let mut seen = false;
            message::records(bytes, at, header.additionals, |record| {
                if record.kind == edns::OPT && !std::mem::replace(&mut seen, true) {
                    edns::read(record, header, fields, text);
                }
            });
            if fields.variant == Variant::Mdns && header.is_response() && self.is_first {
                self.additional(at, fields, text);
            }
        }
    }

    /// What multicast DNS adds to its answers, since it will be asked for next (RFC 6762 section 7.2, RFC 6763 section 12).
    fn additional(&self, at: usize, fields: &mut Dns, text: &mut Vec<u8>) {
        message::records(self.bytes, at, self.header.additionals, |record| {
            if !matches!(record.kind, edns::OPT | rdata::NSEC) {
                text.clear();
                rdata::write_record(self.bytes, record, self.asked, text);
                fields.additional.push(text, &mut fields.memory);
            }
        });
    }

    fn address(&self, record: &Record<'_>, fields: &mut Dns) {
        let memory = &mut fields.memory;
        if record.class & !CLASS_BIT != CLASS_IN {
            return;
        }
        match record.kind {
            rdata::A => {
                if let Ok(address) = record.data.try_into() {
                    match self.is_first {
                        true => fields.answer_ipv4.push(address, memory),
                        false => fields.answer_ipv4.push_new(address, memory),
                    }
                }
            }
            rdata::AAAA => {
                if let Ok(address) = record.data.try_into() {
                    match self.is_first {
                        true => fields.answer_ipv6.push(address, memory),
                        false => fields.answer_ipv6.push_new(address, memory),
                    }
                }
            }
            _ => {}
        }
    }

    fn texts(&self, mut at: usize, fields: &mut Dns, text: &mut Vec<u8>) {
        for nth in 0..self.header.answers {
            let Some(record) = message::record(self.bytes, at) else { return };
            at = record.end;
            let memory = &mut fields.memory;
            if fields.answers.len() >= MAX_ANSWERS {
                // What does not fit is not written, but the list has to know.
                memory.mark_cut();
                return;
            }
            text.clear();
            let data = rdata::write_record(self.bytes, &record, self.asked, text);
            if !self.is_first {
                fields.answers.push_new(text, memory);
                continue;
            }
            if nth == 0 {
                fields.answer_type = Some(record.kind);
                fields.answer_ttl = Some(record.ttl);
                fields.answer_data_length.set(record.data.len() as u16);
                fields.answer_data.set(text.get(data..).unwrap_or_default(), memory);
            }
            fields.answers.push(text, memory);
        }
    }
}
