// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMTP (RFC 5321), with pipelining (RFC 2920), BDAT (RFC 3030), AUTH (RFC 4954) and STARTTLS (RFC 3207); LMTP (RFC 2033) alike.
//!
//! One transaction per mail: a MAIL after another MAIL opens the next. A connection without a mail is one transaction. The
//! names that client and server give themselves, and the mechanism of AUTH, belong to every mail of the connection. After the
//! reply 220 to STARTTLS another protocol begins, and is recognised anew.
//!
//! - **Parsed**: the greeting; commands known by name, with the domain of HELO, EHLO and LHLO, paths and size of MAIL and RCPT,
//!   the mechanism of AUTH; codes of replies; of messages sent with DATA or in chunks with BDAT the header section (RFC 5322)
//!   with Subject, From, To, Cc, Bcc, Message-ID, X-Mailer and User-Agent, unfolded, as encoded on the wire; the header
//!   sections of their parts, and of parts and messages within them (RFC 2045, 2046), with the names of files, decoded (RFC
//!   2231, RFC 2047) from UTF-8, US-ASCII and ISO 8859-1.
//! - **Not parsed**: contents of messages, other parameters of commands, texts of replies but the greeting, what is no known
//!   command. XCLIENT, XFORWARD and the extensions 8BITMIME and SMTPUTF8 need nothing of their own. Credentials are never
//!   recorded: what answers a challenge of AUTH is passed over, and so is all of AUTH but the mechanism.
//! - **Missing octets**: the next line with a known command or a reply code goes on; within a message, the rest is passed over
//!   up to the terminating dot or the server's reply, and within a chunk up to that reply or a command that cannot be text.
//! - **Bounds**: a line is read up to `MAX_LINE` octets, the rest of it is passed over; four multiparts within each other; 2048
//!   octets of a field that tells of the structure; chunks of less than `syntax::MAX_CHUNK`. Bodies are passed over octet by octet, since
//!   only a dot ends them, but for those in chunks and without parts.
//! - **Odd input**: BDAT without a proper size is a command like any other, as it is to a server.
//! - **Fields**: all of `weir_flow::app::Smtp`.
//! - **Fixtures**: hand-made messages in `tests.rs`, conversations in `tests/splits.rs`, recorded ones in `pcaps/smtp/`.

mod message;
mod mime;
mod probe;
mod syntax;
#[cfg(test)]
mod tests;

use weir_flow::{Field as _, Memory, Text, allocated, app::Smtp};

pub(super) use self::{
    probe::is_of_mail_server,
    syntax::{MAX_MECHANISM, is_base64, mechanism},
};

use self::{
    message::{Position, Structure},
    probe::{probe_command, probe_reply},
    syntax::{chunk, is_enhanced, is_unlike_text, path, reply_code, size, split_command},
};
use super::{
    AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport,
    line::{self, Stepped},
};

/// Most octets of a line that are read; RFC 5321 section 4.5.3.1 allows 1000.
const MAX_LINE: usize = 4096;

/// Most octets of a line that may be a delimiter of parts: two hyphens, 70 octets, two hyphens, and white space.
const MAX_DELIMITER: usize = 256;

/// Reply codes with a bit of their own, from the lowest bit on.
const CODES: [u16; 24] = [
    211, 214, 220, 221, 250, 251, 252, 354, 421, 450, 451, 452, 455, 500, 501, 502, 503, 504, 550, 551, 552, 553, 554,
    555,
];

/// The bit of refusals that speak of spam.
const SPAM: u32 = 1 << 30;

/// The bit of codes without one of their own.
const OTHER_CODE: u32 = 1 << 31;

/// What the client is sending.
#[derive(Clone, Copy, Debug, Default)]
enum Sending {
    /// Octets of a chunk.
    Chunk {
        /// The message ends with it.
        is_last: bool,
    },
    #[default]
    Commands,
    /// A message after DATA.
    Message,
    /// A chunk of which octets are missing: where it ends cannot be told.
    TornChunk,
}

/// What belongs to all of a connection, or is kept since the next message needs it again.
#[derive(Debug, Default)]
struct Lasting {
    /// What the names lie in.
    memory: Memory,
    // One octet more than the fields have room for tells them that they are cut.
    helo: Text<257>,
    server_name: Text<257>,
    auth_mechanism: Text<21>,
    structure: Structure,
}

impl Lasting {
    fn clear(&mut self) {
        self.helo.clear();
        self.server_name.clear();
        self.auth_mechanism.clear();
        self.memory.clear();
        self.structure.clear();
    }

    /// What every mail of the connection says.
    fn tell(&self, smtp: &mut Smtp) {
        smtp.helo.set(self.helo.as_bytes(&self.memory), &mut smtp.memory);
        smtp.server_name.set(self.server_name.as_bytes(&self.memory), &mut smtp.memory);
        smtp.auth_mechanism.set(self.auth_mechanism.as_bytes(&self.memory), &mut smtp.memory);
    }
}

/// Where that is: in memory of its own, which is not looked at after each line to see how much it has become.
#[derive(Debug, Default)]
struct Kept {
    lasting: Option<Box<Lasting>>,
    /// Bytes that it holds: far less than four gigabytes.
    held: u32,
    /// Whether it may have become more.
    is_touched: bool,
}

impl Kept {
    fn get(&self) -> Option<&Lasting> {
        self.lasting.as_deref()
    }

    fn get_mut(&mut self) -> &mut Lasting {
        self.is_touched = true;
        self.lasting.get_or_insert_default()
    }

    fn measure(&mut self) {
        if std::mem::take(&mut self.is_touched) {
            let held = |kept: &Lasting| allocated(size_of::<Lasting>()) + kept.memory.held() + kept.structure.held();
            self.held = self.get().map_or(0, |kept| held(kept) as u32);
        }
    }
}

/// State of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// Octets of the chunk that are still to come.
    chunk: u64,
    kept: Kept,
    /// The direction of commands, once known.
    client: Option<Direction>,
    /// Whether the rest of an overlong line is to be passed over, for each direction.
    in_line: [bool; 2],
    sending: Sending,
    position: Position,
    /// The rest of a line of the message is to be passed over.
    in_message_line: bool,
    /// The last command was seen, and was not DATA.
    no_data_asked: bool,
    /// Something of the message has come since DATA.
    message_begun: bool,
    /// Chunks of the message have come, and the last one has not.
    in_chunks: bool,
    /// Octets of the client are missing since the message began.
    message_torn: bool,
    /// All of the message has come; the next reply is its own.
    message_ended: bool,
    /// The youngest transaction has its MAIL.
    mail_seen: bool,
    /// AUTH is under way.
    authenticating: bool,
    /// The server has asked, with 334, for the next line.
    challenged: bool,
    /// The server has been heard: what it did not ask for is no answer.
    server_heard: bool,
    client_heard: bool,
    /// A reply of several lines is under way.
    in_reply: bool,
    starttls: bool,
}

/// Memory that one step needs.
#[derive(Debug, Default)]
pub struct Scratch {
    text: mime::Text,
}

/// How far a step through a message has come.
enum Read {
    /// At its end, so many octets on.
    End(usize),
    /// A line is not complete.
    More,
    To(usize),
}

impl super::Parser for Parser {
    type Fields = Smtp;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "smtp",
        transports: &[Transport::Stream],
        port_hints: &[25, 587, 2525, 24],
        max_buffered: MAX_LINE,
        // A relay sends one mail after another on a connection.
        max_inspected: u32::MAX - 1,
        max_open: 2,
    };

    const BEGINS: &[Octets] =
        &[Octets::LETTERS.and_from(b'2'..=b'5').and(b"\r"), Octets::TEXT, Octets::TEXT, Octets::TEXT];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        // A command begins with a letter, a reply with a digit; a CR alone is an octet of neither.
        if !input.bytes.first().is_none_or(|&b| b.is_ascii_alphabetic() || matches!(b, b'2'..=b'5' | b'\r')) {
            return Probe::No;
        }
        let line = line::first(input.bytes).map(|(line, _)| line);
        match probe_reply(input.bytes, line, input.hinted, input.snapped) {
            Probe::No => probe_command(input.bytes, line, input.hinted, input.snapped),
            told => told,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) -> Step {
        let step = self.step(input, transactions, scratch);
        self.kept.measure();
        step
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.in_line[direction.index()] = false;
        self.in_reply &= self.client == Some(direction);
        if self.client.is_none_or(|client| client == direction) {
            self.message_torn = true;
            self.in_message_line = false;
            let structure = &mut self.kept.get_mut().structure;
            structure.carry.clear();
            match self.sending {
                Sending::Message => self.position.lose(structure),
                Sending::Chunk { .. } => self.sending = Sending::TornChunk,
                Sending::Commands | Sending::TornChunk => {}
            }
            self.no_data_asked = false;
        }
        AfterGap::Resume
    }

    fn clear(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.lasting.iter_mut().for_each(|kept| kept.clear());
        *self = Self { kept, ..Self::default() };
    }

    fn held(&self) -> usize {
        self.kept.held as usize
    }
}

impl Parser {
    #[inline(always)]
    fn step(&mut self, input: Input<'_>, transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) -> Step {
        if self.client == Some(input.direction) {
            match self.sending {
                Sending::Message => return self.message(input.bytes, transactions, scratch),
                Sending::Chunk { is_last } => return self.chunk(input.bytes, is_last, transactions, scratch),
                Sending::Commands | Sending::TornChunk => {}
            }
        }
        let in_line = &mut self.in_line[input.direction.index()];
        // TLS, whether or not STARTTLS and its reply were seen: nothing else begins like its handshake record.
        if !*in_line && input.bytes.starts_with(&[0x16, 3]) {
            return self.hand_over(0, transactions);
        }
        let (line, len) = match line::step(input.bytes, MAX_LINE, in_line) {
            Stepped::Line(line, len) => (line, len),
            Stepped::More => return Step::More,
            Stepped::Rest(len) => return Step::Consumed(len),
        };
        let client = *self.client.get_or_insert_with(|| match reply_code(line) {
            Some(_) => input.direction.opposite(),
            None => input.direction,
        });
        if client != input.direction {
            return self.reply(line, len, transactions);
        }
        if matches!(self.sending, Sending::TornChunk) && !is_unlike_text(line) {
            return Step::Consumed(len);
        }
        self.sending = Sending::Commands;
        self.command(line, len, transactions, scratch)
    }

    /// Takes what a command says. What is no known command is passed over.
    fn command(
        &mut self,
        line: &[u8],
        len: usize,
        transactions: &mut Transactions<Smtp>,
        scratch: &mut Scratch,
    ) -> Step {
        let is_answer = std::mem::take(&mut self.challenged) || !self.server_heard;
        self.client_heard = true;
        if self.authenticating && is_answer && is_base64(line) {
            return Step::Consumed(len);
        }
        let Some((command, flag, parameter)) = split_command(line) else { return Step::Consumed(len) };
        self.authenticating = command == b"AUTH";
        self.starttls = command == b"STARTTLS";
        self.no_data_asked = command != b"DATA";
        if command == b"MAIL" && self.mail_seen {
            self.next_mail(transactions);
        }
        let Some(smtp) = self.current(transactions) else { return Step::Consumed(len) };
        smtp.command.push_new(command, &mut smtp.memory);
        smtp.command_flags = Some(smtp.command_flags.unwrap_or(0) | flag);
        match command {
            b"AUTH" => {
                let kept = self.kept.get_mut();
                kept.auth_mechanism.set(mechanism(parameter, &mut [0; MAX_MECHANISM]), &mut kept.memory);
                kept.tell(smtp);
            }
            b"EHLO" | b"HELO" | b"LHLO" => {
                let kept = self.kept.get_mut();
                kept.helo.set(parameter, &mut kept.memory);
                kept.tell(smtp);
            }
            b"MAIL" => {
                count(&mut smtp.mail_count);
                self.mail_seen = true;
                self.in_chunks = false;
                smtp.mail_from.set(path(parameter, b"FROM"), &mut smtp.memory);
                smtp.size = size(parameter);
            }
            b"RCPT" => {
                count(&mut smtp.rcpt_count);
                let path = path(parameter, b"TO");
                if !path.is_empty() {
                    smtp.rcpt_to.push(path, &mut smtp.memory);
                }
            }
            b"DATA" => {
                self.begin_message();
                self.sending = Sending::Message;
            }
            b"BDAT" => self.begin_chunk(parameter, transactions, scratch),
            b"RSET" => self.in_chunks = false,
            _ => {}
        }
        Step::Consumed(len)
    }

    fn reply(&mut self, line: &[u8], len: usize, transactions: &mut Transactions<Smtp>) -> Step {
        let Some((code, is_last)) = reply_code(line) else { return Step::Consumed(len) };
        let is_first = !std::mem::replace(&mut self.server_heard, true);
        let begins = !std::mem::replace(&mut self.in_reply, !is_last);
        let Some(smtp) = self.current(transactions) else { return Step::Consumed(len) };
        smtp.reply_code.push_new(code, &mut smtp.memory);
        if code == 220 && begins && !self.starttls {
            let text = line.get(4..).unwrap_or_default().trim_ascii();
            if is_first && !is_enhanced(text) {
                self.greeting(text, smtp);
            } else if !self.client_heard {
                // A second one, without a client that could have asked for it with XCLIENT: STARTTLS was not captured.
                self.starttls = true;
            }
        }
        if !is_last {
            return Step::Consumed(len);
        }
        count_reply(smtp, code, line);
        let is_refused_auth = code == 535 || (code >= 400 && self.authenticating);
        if is_refused_auth {
            smtp.failed_auth_count = Some(smtp.failed_auth_count.unwrap_or(0).saturating_add(1));
        }
        let starttls = std::mem::take(&mut self.starttls);
        match code {
            220 if starttls => return self.hand_over(len, transactions),
            334 => {
                self.challenged = true;
                return Step::Consumed(len);
            }
            354 => {
                if !self.no_data_asked && matches!(self.sending, Sending::Commands | Sending::TornChunk) {
                    self.begin_message();
                    self.sending = Sending::Message;
                }
                return Step::Consumed(len);
            }
            _ => self.authenticating = false,
        }
        match self.sending {
            Sending::Message if self.message_torn => {
                // The dot was among the missing octets.
                self.sending = Sending::Commands;
                self.message_ended = true;
            }
            // DATA is refused, or a command before it; then 354 is still to come, and is that of DATA.
            Sending::Message if !self.message_begun && code >= 400 => self.sending = Sending::Commands,
            Sending::TornChunk => self.sending = Sending::Commands,
            _ => {}
        }
        let has_ended = std::mem::take(&mut self.message_ended) || matches!(code, 221 | 421);
        if has_ended && let Some(index) = transactions.find_any(|_| true) {
            transactions.complete(index);
        }
        Step::Consumed(len)
    }

    fn greeting(&mut self, text: &[u8], smtp: &mut Smtp) {
        smtp.greeting.set(text, &mut smtp.memory);
        let name = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let kept = self.kept.get_mut();
        kept.server_name.set(name, &mut kept.memory);
        kept.tell(smtp);
    }

    /// TLS follows after so many octets.
    fn hand_over(&mut self, len: usize, transactions: &mut Transactions<Smtp>) -> Step {
        if let Some(smtp) = self.current(transactions) {
            smtp.is_encrypted = Some(1);
        }
        Step::Handover(len)
    }

    /// The fields that are being filled: those of the youngest transaction.
    fn current<'t>(&self, transactions: &'t mut Transactions<Smtp>) -> Option<&'t mut Smtp> {
        let index = transactions.find_any(|_| true).unwrap_or_else(|| {
            let (index, smtp) = transactions.open();
            self.tell(smtp);
            index
        });
        transactions.fields_mut(index)
    }

    fn tell(&self, smtp: &mut Smtp) {
        self.kept.get().iter().for_each(|kept| kept.tell(smtp));
    }

    fn next_mail(&mut self, transactions: &mut Transactions<Smtp>) {
        if let Some(index) = transactions.find_any(|_| true) {
            transactions.complete(index);
        }
        let (_, smtp) = transactions.open();
        self.tell(smtp);
        self.message_ended = false;
    }

    fn structure(&mut self) -> &mut Structure {
        &mut self.kept.get_mut().structure
    }

    fn has_parts(&self) -> bool {
        self.kept.get().is_some_and(|kept| kept.structure.has_parts())
    }

    fn begin_message(&mut self) {
        self.position = Position::default();
        self.structure().clear();
        self.in_message_line = false;
        self.message_begun = false;
        self.message_torn = false;
        self.message_ended = false;
    }

    /// Octets of the client while it sends a message after DATA.
    fn message(&mut self, bytes: &[u8], transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) -> Step {
        // DATA was refused, but the server's octets were not captured: no message begins with a command.
        if !self.message_begun
            && !self.server_heard
            && let Some((line, len)) = line::first(bytes)
            && split_command(line).is_some()
            && line::header(line).is_none()
        {
            self.sending = Sending::Commands;
            return self.command(line, len, transactions, scratch);
        }
        let read = match self.read(bytes, true, transactions, scratch) {
            Read::More => return Step::More,
            Read::To(read) => read,
            Read::End(read) => {
                self.sending = Sending::Commands;
                self.no_data_asked = true;
                self.end_message(transactions, scratch);
                read
            }
        };
        self.message_begun = true;
        Step::Consumed(read)
    }

    fn end_message(&mut self, transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) {
        self.message_ended = true;
        if let Some(smtp) = self.current(transactions) {
            let structure = &mut self.kept.get_mut().structure;
            self.position.end_field(structure, smtp, &mut scratch.text);
        }
    }

    fn begin_chunk(&mut self, parameter: &[u8], transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) {
        let Some((size, is_last)) = chunk(parameter) else { return };
        if !std::mem::replace(&mut self.in_chunks, true) {
            self.begin_message();
        }
        self.message_torn = false;
        self.chunk = size;
        self.sending = Sending::Chunk { is_last };
        self.end_chunk_if_over(is_last, transactions, scratch);
    }

    fn end_chunk_if_over(&mut self, is_last: bool, transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) {
        if self.chunk > 0 {
            return;
        }
        self.sending = Sending::Commands;
        if is_last {
            self.carried_line(transactions, scratch);
            self.end_message(transactions, scratch);
            self.in_chunks = false;
        }
    }

    /// Octets of the client while it sends a chunk.
    fn chunk(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        transactions: &mut Transactions<Smtp>,
        scratch: &mut Scratch,
    ) -> Step {
        let within = usize::try_from(self.chunk).ok().and_then(|left| bytes.get(..left));
        let (bytes, ends_here) = within.map_or((bytes, false), |within| (within, true));
        if !self.structure().carry.is_empty() {
            let read = self.carry(bytes);
            return self.chunk_read(read, is_last, transactions, scratch);
        }
        if self.position.is_body() && !self.has_parts() {
            let left = std::mem::take(&mut self.chunk);
            self.end_chunk_if_over(is_last, transactions, scratch);
            return Step::Skip(left);
        }
        let read = match self.read(bytes, false, transactions, scratch) {
            Read::End(read) | Read::To(read) => read,
            Read::More if ends_here => {
                // The line goes on in the next chunk.
                self.structure().carry.extend_from_slice(bytes);
                bytes.len()
            }
            Read::More => return Step::More,
        };
        self.chunk_read(read, is_last, transactions, scratch)
    }

    /// So many octets of a chunk are read.
    fn chunk_read(
        &mut self,
        read: usize,
        is_last: bool,
        transactions: &mut Transactions<Smtp>,
        scratch: &mut Scratch,
    ) -> Step {
        self.chunk -= (read as u64).min(self.chunk);
        if self.structure().carry.ends_with(b"\n") {
            self.carried_line(transactions, scratch);
        }
        self.end_chunk_if_over(is_last, transactions, scratch);
        Step::Consumed(read)
    }

    /// Continues the line that began in an earlier chunk, and gives how many octets of it there are. All after `MAX_LINE` is
    /// dropped.
    fn carry(&mut self, bytes: &[u8]) -> usize {
        let (line, has_end) = match line::find(bytes, b'\n') {
            Some(lf) => (bytes.get(..lf).unwrap_or_default(), true),
            None => (bytes, false),
        };
        let carry = &mut self.structure().carry;
        let room = MAX_LINE.saturating_sub(carry.len());
        carry.extend_from_slice(line.get(..room).unwrap_or(line));
        if has_end {
            carry.push(b'\n');
        }
        line.len() + usize::from(has_end)
    }

    /// Takes the line that is carried from chunk to chunk.
    fn carried_line(&mut self, transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) {
        let mut carry = std::mem::take(&mut self.structure().carry);
        if !carry.is_empty() {
            self.message_line(carry.trim_ascii_end(), transactions, scratch);
        }
        carry.clear();
        self.structure().carry = carry;
    }

    fn message_line(&mut self, line: &[u8], transactions: &mut Transactions<Smtp>, scratch: &mut Scratch) {
        if let Some(smtp) = self.current(transactions) {
            let structure = &mut self.kept.get_mut().structure;
            self.position.line(line, structure, smtp, &mut scratch.text);
        }
    }

    /// One step through a message. `has_dots`: a line that is a dot ends it.
    fn read(
        &mut self,
        bytes: &[u8],
        has_dots: bool,
        transactions: &mut Transactions<Smtp>,
        scratch: &mut Scratch,
    ) -> Read {
        if has_dots && !self.in_message_line {
            match bytes {
                [b'.', b'\n', ..] => return Read::End(2),
                [b'.', b'\r', b'\n', ..] => return Read::End(3),
                [b'.'] | [b'.', b'\r'] => return Read::More,
                _ => {}
            }
        }
        let max = match bytes {
            _ if !self.position.is_body() => MAX_LINE,
            [b'-'] | [b'-', b'-', ..] if self.has_parts() => MAX_DELIMITER,
            _ if self.in_message_line => MAX_LINE,
            _ => return self.body(bytes),
        };
        let (line, len) = match line::step(bytes, max, &mut self.in_message_line) {
            Stepped::Line(line, len) => (line, len),
            Stepped::More => return Read::More,
            Stepped::Rest(len) => return Read::To(len),
        };
        self.message_line(line, transactions, scratch);
        Read::To(len)
    }

    /// Passes over a body, up to a line that may be of interest. Begins at the start of a line.
    fn body(&mut self, bytes: &[u8]) -> Read {
        let found = if self.has_parts() { line_with_mark(bytes) } else { line::dot_line(bytes) };
        if let Some(lf) = found {
            return Read::To(lf + 1);
        }
        self.in_message_line = !bytes.ends_with(b"\n");
        Read::To(bytes.len())
    }
}

/// Index of the first LF that is followed by a dot or a hyphen.
fn line_with_mark(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let is_it = |lf: u8, next: u8| (lf == b'\n') & ((next == b'.') | (next == b'-'));
    let mut at = 0;
    // Without a branch for each octet, so that many are compared at once.
    while let (Some(lfs), Some(next)) = (bytes.get(at..at + BLOCK), bytes.get(at + 1..=at + BLOCK)) {
        if lfs.iter().zip(next).fold(false, |any, (&lf, &next)| any | is_it(lf, next)) {
            break;
        }
        at += BLOCK;
    }
    bytes.get(at..)?.windows(2).position(|w| matches!(w, [lf, next] if is_it(*lf, *next))).map(|found| at + found)
}

fn count(field: &mut Option<u16>) {
    *field = Some(field.unwrap_or(0).saturating_add(1));
}

fn count_reply(smtp: &mut Smtp, code: u16, line: &[u8]) {
    let mut flags = CODES.iter().position(|&c| c == code).map_or(OTHER_CODE, |bit| 1 << bit);
    if code >= 400 && line.windows(4).any(|w| w == b"SPAM") {
        flags |= SPAM;
    }
    smtp.reply_flags = Some(smtp.reply_flags.unwrap_or(0) | flags);
    count(match code {
        200..300 => &mut smtp.reply_2xx_count,
        300..400 => &mut smtp.reply_3xx_count,
        400..500 => &mut smtp.reply_4xx_count,
        _ => &mut smtp.reply_5xx_count,
    });
}
