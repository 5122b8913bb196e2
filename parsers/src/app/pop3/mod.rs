// SPDX-License-Identifier: MIT OR Apache-2.0
//! POP3 (RFC 1939), with CAPA and pipelining (RFC 2449), STLS (RFC 2595) and AUTH (RFC 5034).
//!
//! One transaction per connection. After the reply `+OK` to STLS another protocol begins, and is recognised anew.
//!
//! - **Parsed**: the greeting; commands known by name, with the name of USER and APOP and the mechanism of AUTH; replies `+OK` and
//!   `-ERR`, with the command that they answer.
//! - **Not parsed**: other parameters (passwords, digests and what AUTH exchanges never), texts of replies, mails and other replies of
//!   several lines, which are passed over up to their dot, what is no known command.
//! - **Missing octets**: the next line with a known command or a reply goes on. Where those of the server are missing, which command a
//!   reply answers is not known until the next command.
//! - **Bounds**: a line is read up to `MAX_LINE` octets, the rest of it is passed over; of commands that wait for a reply, 32 are
//!   remembered.
//! - **Fields**: all of `weir_flow::app::Pop3`.
//! - **Fixtures**: hand-made conversations in `tests.rs`, a recorded one in `pcaps/mail/`.

#[cfg(test)]
mod tests;

use weir_flow::app::Pop3;

use super::{
    AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport,
    line::{self, Stepped},
    smtp::{MAX_MECHANISM, is_base64, mechanism},
};

/// Most octets of a line that are read; RFC 2449 section 4 allows 255 of a command, 512 of a reply.
const MAX_LINE: usize = 1024;

/// Octets of a beginning among which it must tell what it is.
const MAX_GREETING: usize = 480;

/// Commands. What is not here is not recorded.
const COMMANDS: &[&[u8]] = &[
    b"APOP", b"AUTH", b"CAPA", b"DELE", b"LANG", b"LAST", b"LIST", b"NOOP", b"PASS", b"QUIT", b"RETR", b"RSET",
    b"STAT", b"STLS", b"TOP", b"UIDL", b"USER", b"UTF8", b"XTND",
];

/// Octets of the longest of them.
const MAX_COMMAND: usize = 5;

/// What a reply answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Other = 0,
    /// A command whose reply, if it is good, has several lines.
    Lines = 1,
    Login = 2,
    Tls = 3,
}

/// Commands that wait for a reply, in two bits each, oldest in the lowest.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    asked: u64,
    count: u32,
}

impl Waiting {
    fn push(&mut self, asked: Asked) {
        if self.count < u64::BITS / 2 {
            self.asked |= (asked as u64) << (2 * self.count);
            self.count += 1;
        }
    }

    fn pop(&mut self) -> Asked {
        if self.count == 0 {
            return Asked::Other;
        }
        let asked = match self.asked & 3 {
            1 => Asked::Lines,
            2 => Asked::Login,
            3 => Asked::Tls,
            _ => Asked::Other,
        };
        self.asked >>= 2;
        self.count -= 1;
        asked
    }
}

/// Reads one connection.
#[derive(Debug, Default)]
pub struct Parser {
    waiting: Waiting,
    /// The direction of commands, once known.
    client: Option<Direction>,
    /// Whether the rest of an overlong line is to be passed over, for each direction.
    in_line: [bool; 2],
    /// A reply of several lines is under way.
    in_lines: bool,
    /// Octets of it are missing, perhaps its end.
    lines_torn: bool,
    server_heard: bool,
    client_heard: bool,
    /// AUTH is under way.
    authenticating: bool,
    /// The server has asked for the next line of it.
    challenged: bool,
    quit: bool,
}

impl super::Parser for Parser {
    type Fields = Pop3;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "pop3",
        transports: &[Transport::Stream],
        port_hints: &[110],
        max_buffered: MAX_LINE,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::LETTERS.and(b"+-"), Octets::TEXT, Octets::TEXT, Octets::TEXT];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let Input { bytes, hinted, snapped, .. } = input;
        match bytes {
            [b'+' | b'-', ..] => probe_reply(bytes, hinted, snapped),
            [b'A'..=b'Z' | b'a'..=b'z', ..] => probe_command(bytes, hinted, snapped),
            _ => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Pop3>, (): &mut ()) -> Step {
        let is_client = self.client == Some(input.direction);
        let in_line = &mut self.in_line[input.direction.index()];
        if !is_client && self.in_lines && !*in_line {
            return self.lines(input.bytes, input.direction);
        }
        // TLS, whether or not STLS and its reply were seen: nothing else begins like its handshake record.
        if !*in_line && input.bytes.starts_with(&[0x16, 3]) {
            return Step::Handover(0);
        }
        let (line, len) = match line::step(input.bytes, MAX_LINE, in_line) {
            Stepped::Line(line, len) => (line, len),
            Stepped::More => return Step::More,
            Stepped::Rest(len) => return Step::Consumed(len),
        };
        let client = *self.client.get_or_insert_with(|| match reply(line) {
            Some(_) => input.direction.opposite(),
            None => input.direction,
        });
        let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
        let Some(pop3) = transactions.fields_mut(index) else { return Step::Consumed(len) };
        if client == input.direction {
            self.command(line, pop3);
            return Step::Consumed(len);
        }
        let is_tls = self.reply(line, pop3);
        if self.quit && self.waiting.count == 0 {
            transactions.complete(index);
        }
        if is_tls { Step::Handover(len) } else { Step::Consumed(len) }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.in_line[direction.index()] = false;
        if self.client != Some(direction) {
            self.lines_torn = self.in_lines;
            self.waiting = Waiting::default();
        }
        AfterGap::Resume
    }
}

impl Parser {
    fn command(&mut self, line: &[u8], pop3: &mut Pop3) {
        let is_answer = std::mem::take(&mut self.challenged) || !self.server_heard;
        self.client_heard = true;
        if self.authenticating && is_answer && is_base64(line) {
            return;
        }
        if std::mem::take(&mut self.lines_torn) {
            // Who asks for the next has read the last to its end.
            self.in_lines = false;
        }
        let Some((command, parameter)) = split_command(line) else { return };
        pop3.command.push_new(command, &mut pop3.memory);
        self.authenticating = false;
        self.waiting.push(match command {
            b"APOP" | b"PASS" => Asked::Login,
            b"AUTH" if !parameter.is_empty() => {
                self.authenticating = true;
                pop3.auth_mechanism.set(mechanism(parameter, &mut [0; MAX_MECHANISM]), &mut pop3.memory);
                Asked::Login
            }
            b"AUTH" | b"CAPA" | b"RETR" | b"TOP" => Asked::Lines,
            b"LANG" | b"LIST" | b"UIDL" if parameter.is_empty() => Asked::Lines,
            b"STLS" => Asked::Tls,
            _ => Asked::Other,
        });
        self.quit = command == b"QUIT";
        match command {
            b"USER" => pop3.user.set(parameter, &mut pop3.memory),
            // A digest of the password follows.
            b"APOP" => pop3.user.set(first_word(parameter), &mut pop3.memory),
            _ => {}
        }
    }

    /// Takes a line of the server. Whether TLS follows.
    fn reply(&mut self, line: &[u8], pop3: &mut Pop3) -> bool {
        let Some((status, text)) = reply(line) else { return false };
        let is_greeting = !std::mem::replace(&mut self.server_heard, true) && !self.client_heard;
        let count = match status {
            Status::Challenge => {
                self.challenged = true;
                return false;
            }
            Status::Good if is_greeting => {
                pop3.banner.set(text, &mut pop3.memory);
                return false;
            }
            Status::Bad => &mut pop3.error_count,
            Status::Good => &mut pop3.ok_count,
        };
        *count = Some(count.unwrap_or(0).saturating_add(1));
        self.authenticating = false;
        match (self.waiting.pop(), status) {
            (Asked::Lines, Status::Good) => self.in_lines = true,
            (Asked::Login, Status::Bad) => {
                pop3.failed_login_count = Some(pop3.failed_login_count.unwrap_or(0).saturating_add(1));
            }
            (Asked::Tls, Status::Good) => return true,
            _ => {}
        }
        false
    }

    /// Passes over a reply of several lines, up to the one that is a dot. Begins at the start of a line.
    fn lines(&mut self, bytes: &[u8], direction: Direction) -> Step {
        let end = match bytes {
            [b'.', b'\n', ..] => 2,
            [b'.', b'\r', b'\n', ..] => 3,
            [b'.'] | [b'.', b'\r'] => return Step::More,
            _ => {
                if let Some(lf) = line::dot_line(bytes) {
                    return Step::Consumed(lf + 1);
                }
                self.in_line[direction.index()] = !bytes.ends_with(b"\n");
                return Step::Consumed(bytes.len());
            }
        };
        (self.in_lines, self.lines_torn) = (false, false);
        Step::Consumed(end)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    Bad,
    /// The next line of AUTH is asked for.
    Challenge,
    Good,
}

/// Status of a reply, and what follows it (RFC 1939 section 3, RFC 5034 section 4).
fn reply(line: &[u8]) -> Option<(Status, &[u8])> {
    let ends = |rest: &[u8]| matches!(rest.first(), None | Some(b' '));
    let (status, rest) = if let Some(rest) = line.strip_prefix(b"+OK").filter(|rest| ends(rest)) {
        (Status::Good, rest)
    } else if let Some(rest) = line.strip_prefix(b"-ERR").filter(|rest| ends(rest)) {
        (Status::Bad, rest)
    } else {
        (Status::Challenge, line.strip_prefix(b"+").filter(|rest| ends(rest))?)
    };
    Some((status, rest.trim_ascii()))
}

fn first_word(text: &[u8]) -> &[u8] {
    text.split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

/// A known command, and what follows it.
fn split_command(line: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let word = first_word(line);
    let command = COMMANDS.iter().find(|c| c.eq_ignore_ascii_case(word))?;
    Some((command, line.get(word.len()..).unwrap_or_default().trim_ascii()))
}

/// A server speaks: a greeting that says so, or, where the port says so, any reply. Others say `+OK` too.
fn probe_reply(bytes: &[u8], hinted: bool, snapped: bool) -> Probe {
    let bytes = bytes.get(..MAX_GREETING).unwrap_or(bytes);
    let is_open = bytes.len() < MAX_GREETING && !snapped;
    let Some((line, _)) = line::first(bytes) else {
        let fits = |status: &[u8]| bytes.iter().zip(status).all(|(a, b)| a == b);
        return if is_open && (fits(b"+OK ") || fits(b"+OK\r") || fits(b"-ERR ")) { Probe::More } else { Probe::No };
    };
    let says = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    let is_it = match reply(line) {
        Some((Status::Challenge, _)) | None => false,
        Some(_) if hinted => true,
        Some((Status::Bad, _)) => false,
        Some((Status::Good, text)) => {
            // With what APOP needs (RFC 1939 section 7), or in words.
            let stamp = text.split(|&b| b == b'<').nth(1).and_then(|s| s.split(|&b| b == b'>').next());
            [&b"POP"[..], b"ready", b"hello", b"welcome"].iter().any(|word| says(text, word))
                || stamp.is_some_and(|stamp| stamp.contains(&b'@'))
        }
    };
    if is_it { Probe::Yes } else { Probe::No }
}

/// A client speaks: it gives a command that no other has, perhaps behind its name and password; or, where the port says so, any.
fn probe_command(bytes: &[u8], hinted: bool, snapped: bool) -> Probe {
    if line::has_longer_word(bytes, MAX_COMMAND) {
        return Probe::No;
    }
    let mut rest = bytes;
    let mut is_user_given = false;
    while let Some((line, len)) = line::first(rest) {
        let Some((command, parameter)) = split_command(line) else { return Probe::No };
        let is_telling = match command {
            b"CAPA" | b"STLS" | b"UIDL" => true,
            b"APOP" => is_apop(parameter),
            b"STAT" => is_user_given,
            _ => false,
        };
        if hinted || is_telling {
            return Probe::Yes;
        }
        if !matches!(command, b"USER" | b"PASS") || !(is_user_given || command == b"USER") {
            return Probe::No;
        }
        is_user_given = true;
        rest = rest.get(len..).unwrap_or_default();
    }
    let may_be = |commands: &[&[u8]]| commands.iter().any(|c| line::may_become(rest, c));
    let is_open = may_be(&[b"APOP", b"CAPA", b"STLS", b"UIDL", b"USER"])
        || is_user_given && may_be(&[b"PASS", b"STAT"])
        || hinted && may_be(COMMANDS);
    if is_open && bytes.len() < MAX_GREETING && !snapped { Probe::More } else { Probe::No }
}

/// Whether this is a name and a digest (RFC 1939 section 7).
fn is_apop(parameter: &[u8]) -> bool {
    let mut words = parameter.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    words.next().is_some() && words.next().is_some_and(|w| w.len() == 32 && w.iter().all(u8::is_ascii_hexdigit))
}
