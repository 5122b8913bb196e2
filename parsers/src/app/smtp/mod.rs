// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMTP (RFC 5321), with pipelining (RFC 2920), BDAT (RFC 3030), and STARTTLS (RFC 3207); LMTP (RFC 2033) alike.
//!
//! Parsed: commands known by name, reply codes, and of the message's header section (RFC 5322) Subject, From, To, Cc and
//! Message-ID, unfolded, as encoded on the wire. One transaction per mail: a MAIL after another MAIL opens the next. A
//! connection without a mail is one transaction. The name given with HELO belongs to every mail of the connection.
//! After the reply 220 to STARTTLS another protocol begins, and is recognised anew.
//!
//! Not parsed: message bodies and MIME parts, messages sent in chunks with BDAT (skipped), parameters of commands other than paths and names, texts of replies, what is
//! no known command. Credentials are never recorded: what answers a challenge of AUTH is passed over, and so are the parameters
//! of AUTH.
//!
//! After octets are missing, the next line with a known command or a reply code goes on; within a message, the body is
//! passed over up to the terminating dot or the server's reply.
//!
//! Bounds: a line is read up to `MAX_LINE` octets, the rest of it is passed over. Bodies are passed over octet by octet,
//! since only a dot ends them.
//!
//! Fields: all of `weir_flow::app::Smtp`.
//!
//! Fixtures: hand-made messages in `tests.rs`, conversations in `tests/splits.rs`, recorded ones in `pcaps/smtp/`.

mod message;
#[cfg(test)]
mod tests;

use weir_flow::{allocated, app::Smtp};

use self::message::HeaderSection;
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport, line};

/// Most octets of a line that are read; RFC 5321 section 4.5.3.1 allows 1000.
const MAX_LINE: usize = 4096;

/// Most octets of a client's name that are recorded.
const MAX_NAME: usize = 256;

/// Commands: of RFC 5321, of extensions, and some that are in use without one. What is not here is not recorded.
const COMMANDS: &[&[u8]] = &[
    b"ATRN",
    b"AUTH",
    b"BDAT",
    b"BURL",
    b"DATA",
    b"EHLO",
    b"ETRN",
    b"EXPN",
    b"HELO",
    b"HELP",
    b"LHLO",
    b"MAIL",
    b"NOOP",
    b"QUIT",
    b"RCPT",
    b"RSET",
    b"SAML",
    b"SEND",
    b"SOML",
    b"STARTTLS",
    b"TURN",
    b"VRFY",
    b"XCLIENT",
    b"XFORWARD",
];

/// What the client is sending.
#[derive(Clone, Copy, Debug, Default)]
enum Sending {
    #[default]
    Commands,
    /// A message after DATA.
    Message {
        /// Within the lines of its header section.
        in_header: bool,
    },
    /// A chunk of unknown size: where the next command begins cannot be told.
    Unknown,
}

/// State of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// The direction of commands, once known.
    client: Option<Direction>,
    /// Whether the rest of an overlong line is to be passed over, for each direction.
    in_line: [bool; 2],
    sending: Sending,
    header: HeaderSection,
    helo: Vec<u8>,
    /// The last command was DATA, or it may have been.
    data_asked: bool,
    /// Something of the message has come since DATA.
    message_begun: bool,
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
    starttls: bool,
}

impl super::Parser for Parser {
    type Fields = Smtp;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "smtp",
        transports: &[Transport::Stream],
        port_hints: &[25, 587, 2525, 24],
        max_buffered: MAX_LINE,
        // A relay sends one mail after another on a connection.
        max_inspected: u32::MAX - 1,
        max_open: 2,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        // A command begins with a letter, a reply with a digit; a CR alone is an octet of neither.
        if !input.bytes.first().is_none_or(|&b| b.is_ascii_alphabetic() || matches!(b, b'2'..=b'5' | b'\r')) {
            return Probe::No;
        }
        let line = line::first(input.bytes).map(|(line, _)| line);
        match probe_reply(input, line) {
            Probe::No => probe_command(input, line),
            told => told,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Smtp>, (): &mut ()) -> Step {
        let side = input.direction.index();
        if self.in_line[side] {
            let end = line::first(input.bytes).map(|(_, len)| len);
            self.in_line[side] = end.is_none();
            return Step::Consumed(end.unwrap_or(input.bytes.len()));
        }
        if self.client == Some(input.direction) {
            match self.sending {
                Sending::Message { in_header: false } => return self.body(input),
                Sending::Unknown => return Step::Consumed(input.bytes.len()),
                Sending::Commands | Sending::Message { in_header: true } => {}
            }
        }
        // TLS after STARTTLS whose reply was not seen: no command begins like its handshake record.
        if self.starttls && input.bytes.starts_with(&[0x16, 3]) {
            return Step::Handover(0);
        }
        let within = input.bytes.get(..MAX_LINE).unwrap_or(input.bytes);
        let (line, len) = match line::first(within) {
            Some(line) => line,
            None if within.len() == MAX_LINE => {
                self.in_line[side] = true;
                (within, within.len())
            }
            None => return Step::More,
        };
        let client = *self.client.get_or_insert_with(|| match reply_code(line) {
            Some(_) => input.direction.opposite(),
            None => input.direction,
        });
        match self.sending {
            _ if client != input.direction => self.reply(line, len, transactions),
            Sending::Message { .. } => {
                self.header_line(line, transactions);
                Step::Consumed(len)
            }
            _ => self.command(line, len, transactions),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.in_line[direction.index()] = false;
        if self.client.is_none_or(|client| client == direction) {
            self.message_torn = true;
            self.sending = match self.sending {
                Sending::Message { .. } => Sending::Message { in_header: false },
                Sending::Commands | Sending::Unknown => {
                    self.data_asked = true;
                    Sending::Commands
                }
            };
        }
        AfterGap::Resume
    }

    fn clear(&mut self) {
        let mut helo = std::mem::take(&mut self.helo);
        helo.clear();
        *self = Self { helo, ..Self::default() };
    }

    fn held(&self) -> usize {
        allocated(self.helo.capacity())
    }
}

impl Parser {
    /// Takes what a command says. What is no known command is passed over.
    fn command(&mut self, line: &[u8], len: usize, transactions: &mut Transactions<Smtp>) -> Step {
        let is_answer = std::mem::take(&mut self.challenged) || !self.server_heard;
        if self.authenticating && is_answer && is_base64(line) {
            return Step::Consumed(len);
        }
        let Some((command, parameter)) = split_command(line) else { return Step::Consumed(len) };
        self.authenticating = command == b"AUTH";
        self.starttls = command == b"STARTTLS";
        self.data_asked = command == b"DATA";
        if command == b"MAIL" && self.mail_seen {
            self.next_mail(transactions);
        }
        let chunk = if command == b"BDAT" { chunk(parameter) } else { None };
        if command == b"BDAT" && chunk.is_none() {
            self.sending = Sending::Unknown;
            return Step::Consumed(len);
        }
        let Some(smtp) = self.current(transactions) else { return Step::Consumed(len) };
        smtp.command.push_new(command, &mut smtp.memory);
        match command {
            b"EHLO" | b"HELO" | b"LHLO" => {
                smtp.helo.set(parameter, &mut smtp.memory);
                self.helo.clear();
                // One octet too many, if there is one, tells the next mail that its name is cut, too.
                self.helo.extend_from_slice(parameter.get(..=MAX_NAME).unwrap_or(parameter));
            }
            b"MAIL" => {
                self.mail_seen = true;
                smtp.mail_from.set(path(parameter, b"FROM"), &mut smtp.memory);
            }
            b"RCPT" => {
                let path = path(parameter, b"TO");
                if !path.is_empty() {
                    smtp.rcpt_to.push(path, &mut smtp.memory);
                }
            }
            b"DATA" => self.begin_message(),
            _ => {}
        }
        // The chunk follows at once.
        let Some((size, is_last)) = chunk else { return Step::Consumed(len) };
        self.message_ended = is_last;
        self.message_torn = false;
        Step::Skip(size.saturating_add(len as u64))
    }

    fn reply(&mut self, line: &[u8], len: usize, transactions: &mut Transactions<Smtp>) -> Step {
        let Some((code, is_last)) = reply_code(line) else { return Step::Consumed(len) };
        self.server_heard = true;
        let Some(smtp) = self.current(transactions) else { return Step::Consumed(len) };
        smtp.reply_code.push_new(code, &mut smtp.memory);
        if !is_last {
            return Step::Consumed(len);
        }
        let starttls = std::mem::take(&mut self.starttls);
        match code {
            220 if starttls => return Step::Handover(len),
            334 => {
                self.challenged = true;
                return Step::Consumed(len);
            }
            354 => {
                if self.data_asked && matches!(self.sending, Sending::Commands) {
                    self.begin_message();
                }
                return Step::Consumed(len);
            }
            _ => self.authenticating = false,
        }
        if let Sending::Message { .. } = self.sending {
            if self.message_torn {
                // The dot was among the missing octets.
                self.sending = Sending::Commands;
                self.message_ended = true;
            } else if !self.message_begun && code >= 400 {
                // DATA is refused, or a command before it; then 354 is still to come, and data_asked says so.
                self.sending = Sending::Commands;
            }
        }
        let has_ended = std::mem::take(&mut self.message_ended) || matches!(code, 221 | 421);
        if has_ended && let Some(index) = transactions.find_any(|_| true) {
            transactions.complete(index);
        }
        Step::Consumed(len)
    }

    /// The fields that are being filled: those of the youngest transaction.
    fn current<'t>(&self, transactions: &'t mut Transactions<Smtp>) -> Option<&'t mut Smtp> {
        let index = transactions.find_any(|_| true).unwrap_or_else(|| {
            let (index, smtp) = transactions.open();
            smtp.helo.set(&self.helo, &mut smtp.memory);
            index
        });
        transactions.fields_mut(index)
    }

    fn next_mail(&mut self, transactions: &mut Transactions<Smtp>) {
        if let Some(index) = transactions.find_any(|_| true) {
            transactions.complete(index);
        }
        let (_, smtp) = transactions.open();
        smtp.helo.set(&self.helo, &mut smtp.memory);
        self.message_ended = false;
        self.header = HeaderSection::default();
    }

    fn begin_message(&mut self) {
        self.sending = Sending::Message { in_header: true };
        self.header = HeaderSection::default();
        self.message_begun = false;
        self.message_torn = false;
        self.message_ended = false;
    }

    fn end_message(&mut self) {
        self.sending = Sending::Commands;
        self.message_ended = true;
        self.data_asked = false;
    }

    fn header_line(&mut self, line: &[u8], transactions: &mut Transactions<Smtp>) {
        self.message_begun = true;
        if line == b"." {
            self.end_message();
            return;
        }
        if let Some(smtp) = self.current(transactions) {
            self.header.line(line, smtp);
        }
        if self.header.has_ended() {
            self.sending = Sending::Message { in_header: false };
        }
    }

    /// Passes over a body, up to a line that is a dot. Begins at the start of a line.
    fn body(&mut self, input: Input<'_>) -> Step {
        self.message_begun = true;
        match input.bytes {
            [b'.', b'\n', ..] => {
                self.end_message();
                return Step::Consumed(2);
            }
            [b'.', b'\r', b'\n', ..] => {
                self.end_message();
                return Step::Consumed(3);
            }
            [b'.'] | [b'.', b'\r'] => return Step::More,
            _ => {}
        }
        if let Some(lf) = line::dot_line(input.bytes) {
            return Step::Consumed(lf + 1);
        }
        self.in_line[input.direction.index()] = !input.bytes.ends_with(b"\n");
        Step::Consumed(input.bytes.len())
    }
}

/// Size of a chunk, and whether it is the last (RFC 3030 section 2).
fn chunk(parameter: &[u8]) -> Option<(u64, bool)> {
    let mut words = parameter.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    let size = words.next().filter(|w| w.iter().all(u8::is_ascii_digit))?;
    let size = str::from_utf8(size).ok()?.parse().ok()?;
    match words.next() {
        None => Some((size, false)),
        Some(word) => word.eq_ignore_ascii_case(b"LAST").then_some((size, true)),
    }
}

/// Whether a line can be what an AUTH exchange sends: base64, or a lone `*`, which ends it.
fn is_base64(line: &[u8]) -> bool {
    line == b"*" || line.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
}

/// A known command, and what follows it.
fn split_command(line: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let line = line.trim_ascii();
    let end = line.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end)?;
    let command = COMMANDS.iter().find(|c| c.eq_ignore_ascii_case(word))?;
    (rest.is_empty() || rest.starts_with(b" ") || rest.starts_with(b"\t")).then(|| (*command, rest.trim_ascii()))
}

/// The path of a MAIL or RCPT command, without its brackets; empty if there is none.
fn path<'a>(parameter: &'a [u8], keyword: &[u8]) -> &'a [u8] {
    let Some((word, rest)) = parameter.split_at_checked(keyword.len()) else { return b"" };
    let rest = rest.trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b":").filter(|_| word.eq_ignore_ascii_case(keyword)) else { return b"" };
    let rest = rest.trim_ascii_start();
    match rest.strip_prefix(b"<") {
        Some(inner) => inner.split(|&b| b == b'>').next().unwrap_or_default(),
        None => rest.split(u8::is_ascii_whitespace).next().unwrap_or_default(),
    }
}

/// Code of a reply line, and whether the line is the last of the reply (RFC 5321 section 4.2).
fn reply_code(line: &[u8]) -> Option<(u16, bool)> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else { return None };
    let code = [a, b, c].into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

/// A server speaks: its greeting, or, where the port says so, any reply.
fn probe_reply(input: Input<'_>, line: Option<&[u8]>) -> Probe {
    // A CR may be half of the line's end.
    let bytes = line.unwrap_or_else(|| input.bytes.strip_suffix(b"\r").unwrap_or(input.bytes));
    let is_cut = line.is_none() && !input.snapped;
    if bytes.len() < 4 && is_cut {
        let fits = bytes.iter().zip([b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']).all(|(b, range)| range.contains(b));
        return if fits { Probe::More } else { Probe::No };
    }
    let Some((code, _)) = reply_code(bytes) else { return Probe::No };
    let names_itself = || bytes.windows(4).any(|w| w.eq_ignore_ascii_case(b"SMTP") || w.eq_ignore_ascii_case(b"LMTP"));
    match () {
        () if input.hinted => Probe::Yes,
        () if code != 220 => Probe::No,
        () if names_itself() => Probe::Yes,
        () if is_cut => Probe::More,
        () => Probe::No,
    }
}

/// A client speaks: it says its name, or names a path, or, where the port says so, gives any command.
fn probe_command(input: Input<'_>, line: Option<&[u8]>) -> Probe {
    const TELLING: &[&[u8]] = &[b"EHLO ", b"HELO ", b"LHLO ", b"MAIL FROM:", b"RCPT TO:"];
    let bytes = line.unwrap_or(input.bytes);
    let is_cut = line.is_none() && !input.snapped;
    let starts = |start: &[u8]| bytes.get(..start.len()).is_some_and(|b| b.eq_ignore_ascii_case(start));
    // Nothing begins with white space that is not known by its first octets.
    let is_command = || bytes.first().is_some_and(u8::is_ascii_alphabetic) && split_command(bytes).is_some();
    if TELLING.iter().any(|t| starts(t)) || (line.is_some() && input.hinted && is_command()) {
        return Probe::Yes;
    }
    let may_become =
        |word: &&[u8]| word.get(..bytes.len()).map_or_else(|| starts(word), |w| w.eq_ignore_ascii_case(bytes));
    let is_open = TELLING.iter().any(|t| bytes.len() < t.len() && may_become(t))
        || (input.hinted && COMMANDS.iter().any(may_become));
    if is_cut && is_open { Probe::More } else { Probe::No }
}
