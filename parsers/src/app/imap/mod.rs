// SPDX-License-Identifier: MIT OR Apache-2.0
//! IMAP (RFC 9051, RFC 3501), with literals without waiting (RFC 7888) and COMPRESS (RFC 4978).
//!
//! One transaction per connection. After OK to STARTTLS another protocol begins, and is recognised anew; after OK to COMPRESS
//! nothing can be read.
//!
//! - **Parsed**: the greeting; commands known by name behind any tag, with the user of LOGIN, the mechanism of AUTHENTICATE, the mailbox
//!   of SELECT and EXAMINE; literals of both sides, by their length; the status of tagged responses, with the command that the
//!   last one answers.
//! - **Not parsed**: other parameters (passwords and what AUTHENTICATE exchanges never), responses without a tag, contents of literals but
//!   for the name of a user, what is no known command.
//! - **Missing octets**: the next line with a known command or a tagged response goes on. What the rest of a literal says is then read as
//!   lines.
//! - **Bounds**: a line is read up to `MAX_LINE` octets, the rest of it is passed over, a literal at its end too.
//! - **Fields**: all of `weir_flow::app::Imap`.
//! - **Fixtures**: hand-made conversations in `tests.rs`, a recorded one in `pcaps/mail/`.

#[cfg(test)]
mod tests;

use weir_flow::app::Imap;

use super::{
    AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport,
    line::{self, Stepped},
    smtp::{MAX_MECHANISM, mechanism},
};

/// Most octets of a line that are read. Clients name many messages in one.
const MAX_LINE: usize = 4096;

/// Octets of a beginning among which it must tell what it is.
const MAX_GREETING: usize = 480;

/// Most octets of a tag.
const MAX_TAG: usize = 32;

/// Octets of a tag among which a digit must be, for a probe.
const MAX_PREFIX: usize = 8;

/// Most octets of a user's name that is sent as a literal.
const MAX_USER: u64 = 256;

/// Commands, those of extensions too. What is not here is not recorded.
const COMMANDS: &[&[u8]] = &[
    b"APPEND",
    b"AUTHENTICATE",
    b"CAPABILITY",
    b"CHECK",
    b"CLOSE",
    b"COMPRESS",
    b"COPY",
    b"CREATE",
    b"DELETE",
    b"DELETEACL",
    b"ENABLE",
    b"EXAMINE",
    b"EXPUNGE",
    b"FETCH",
    b"GETACL",
    b"GETMETADATA",
    b"GETQUOTA",
    b"GETQUOTAROOT",
    b"ID",
    b"IDLE",
    b"LIST",
    b"LISTRIGHTS",
    b"LOGIN",
    b"LOGOUT",
    b"LSUB",
    b"MOVE",
    b"MYRIGHTS",
    b"NAMESPACE",
    b"NOOP",
    b"NOTIFY",
    b"RENAME",
    b"REPLACE",
    b"SEARCH",
    b"SELECT",
    b"SETACL",
    b"SETMETADATA",
    b"SETQUOTA",
    b"SORT",
    b"STARTTLS",
    b"STATUS",
    b"STORE",
    b"SUBSCRIBE",
    b"THREAD",
    b"UID",
    b"UNAUTHENTICATE",
    b"UNSELECT",
    b"UNSUBSCRIBE",
    b"XLIST",
];

/// Commands that a client gives early, and that nobody else gives behind a tag.
const TELLING: &[&[u8]] = &[
    b"AUTHENTICATE",
    b"CAPABILITY",
    b"ENABLE",
    b"EXAMINE",
    b"ID",
    b"IDLE",
    b"LIST",
    b"LOGIN",
    b"LOGOUT",
    b"LSUB",
    b"NAMESPACE",
    b"NOOP",
    b"SELECT",
    b"STARTTLS",
    b"STATUS",
    b"UID",
];

/// What the last command asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Asked {
    Compression,
    Login,
    #[default]
    Other,
    Tls,
}

/// A literal of the client that has not come yet.
#[derive(Clone, Copy, Debug, Default)]
enum Literal {
    #[default]
    None,
    Other(u64),
    User(u64),
}

/// Reads one connection.
#[derive(Debug, Default)]
pub struct Parser {
    literal: Literal,
    /// What the tag of the last command is known by.
    tag: u32,
    asked: Asked,
    /// The direction of commands, once known.
    client: Option<Direction>,
    /// Whether the rest of an overlong line is to be passed over, for each direction.
    in_line: [bool; 2],
    /// Whether a line goes on behind a literal, for each direction.
    goes_on: [bool; 2],
    server_heard: bool,
    client_heard: bool,
}

impl super::Parser for Parser {
    type Fields = Imap;
    /// A text that is put together.
    type Scratch = Vec<u8>;

    const IDENTITY: Identity = Identity {
        slug: "imap",
        transports: &[Transport::Stream],
        port_hints: &[143],
        max_buffered: MAX_LINE,
        // A connection may last for days; literals, which are most of it, are skipped.
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::from(b'!'..=b'~'), Octets::TEXT, Octets::TEXT];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let Input { bytes, hinted, snapped, .. } = input;
        match bytes {
            [b'*', ..] => probe_server(bytes, hinted, snapped),
            [b'!'..=b'~', ..] => probe_tagged(bytes, hinted, snapped),
            _ => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Imap>, scratch: &mut Vec<u8>) -> Step {
        let side = input.direction.index();
        if self.client == Some(input.direction)
            && let Some(step) = self.literal(input.bytes, input.direction, transactions)
        {
            return step;
        }
        // TLS, whether or not STARTTLS and its reply were seen: nothing else begins like its handshake record.
        if !self.in_line[side] && !self.goes_on[side] && input.bytes.starts_with(&[0x16, 3]) {
            return Step::Handover(0);
        }
        let (line, len) = match line::step(input.bytes, MAX_LINE, &mut self.in_line[side]) {
            Stepped::Line(line, len) => (line, len),
            Stepped::More => return Step::More,
            Stepped::Rest(len) => return Step::Consumed(len),
        };
        let client = *self.client.get_or_insert_with(|| {
            let is_server = matches!(line, [b'*' | b'+', b' ', ..]) || tagged(line).is_some();
            if is_server { input.direction.opposite() } else { input.direction }
        });
        let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
        let Some(imap) = transactions.fields_mut(index) else { return Step::Consumed(len) };
        let step = if client == input.direction {
            self.client_line(line, len, imap, scratch)
        } else {
            self.server_line(line, len, imap)
        };
        if matches!(step, Step::Done) {
            transactions.complete(index);
        }
        step
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.in_line[direction.index()] = false;
        self.goes_on[direction.index()] = false;
        if self.client != Some(direction.opposite()) {
            self.literal = Literal::None;
        }
        AfterGap::Resume
    }
}

impl Parser {
    /// Takes the literal that was announced, if there is one.
    fn literal(&mut self, bytes: &[u8], direction: Direction, transactions: &mut Transactions<Imap>) -> Option<Step> {
        let len = match self.literal {
            Literal::None => return None,
            Literal::Other(len) => len,
            Literal::User(len) => {
                let Some(user) = bytes.get(..usize::try_from(len).unwrap_or(usize::MAX)) else {
                    return Some(Step::More);
                };
                let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
                if let Some(imap) = transactions.fields_mut(index) {
                    imap.user.set(user, &mut imap.memory);
                }
                len
            }
        };
        self.literal = Literal::None;
        self.goes_on[direction.index()] = true;
        (len > 0).then_some(Step::Skip(len))
    }

    fn client_line(&mut self, line: &[u8], len: usize, imap: &mut Imap, text: &mut Vec<u8>) -> Step {
        self.client_heard = true;
        let client = usize::from(self.client == Some(Direction::Reverse));
        let is_continued = std::mem::take(&mut self.goes_on[client]);
        let user_follows = !is_continued
            && match command(line) {
                Some((tag, command, parameter)) => self.command(tag, command, parameter, imap, text),
                // What answers a challenge, or ends IDLE.
                None => return Step::Consumed(len),
            };
        let Some((octets, waits)) = announced(line).filter(|_| !self.in_line[client]) else {
            return Step::Consumed(len);
        };
        if user_follows && octets <= MAX_USER {
            self.literal = Literal::User(octets);
        } else if waits {
            // It may be refused.
            self.literal = Literal::Other(octets);
        } else {
            self.goes_on[client] = true;
            return Step::Skip(octets.saturating_add(len as u64));
        }
        Step::Consumed(len)
    }

    /// Takes a command. Whether a literal behind it is the name of a user.
    fn command(
        &mut self,
        tag: &[u8],
        command: &'static [u8],
        parameter: &[u8],
        imap: &mut Imap,
        text: &mut Vec<u8>,
    ) -> bool {
        self.tag = hash(tag);
        self.asked = match command {
            b"AUTHENTICATE" | b"LOGIN" => Asked::Login,
            b"COMPRESS" => Asked::Compression,
            b"STARTTLS" => Asked::Tls,
            _ => Asked::Other,
        };
        text.clear();
        if command == b"UID"
            && let Some(inner) = known(parameter)
        {
            text.extend_from_slice(b"UID ");
            text.extend_from_slice(inner);
            imap.command.push_new(text, &mut imap.memory);
            return false;
        }
        imap.command.push_new(command, &mut imap.memory);
        match command {
            b"AUTHENTICATE" => imap.auth_mechanism.set(mechanism(parameter, &mut [0; MAX_MECHANISM]), &mut imap.memory),
            b"LOGIN" => {
                if parameter.starts_with(b"{") {
                    return true;
                }
                unquote(parameter, text);
                imap.user.set(text, &mut imap.memory);
            }
            b"SELECT" | b"EXAMINE" if !parameter.starts_with(b"{") => {
                unquote(parameter, text);
                imap.mailbox.push_new(text, &mut imap.memory);
            }
            _ => {}
        }
        false
    }

    fn server_line(&mut self, line: &[u8], len: usize, imap: &mut Imap) -> Step {
        let server = usize::from(self.client == Some(Direction::Forward));
        let is_continued = std::mem::take(&mut self.goes_on[server]);
        let is_greeting = !std::mem::replace(&mut self.server_heard, true) && !self.client_heard;
        if !is_continued {
            if let Some((tag, is_good)) = tagged(line) {
                return self.tagged(tag, is_good, len, imap);
            }
            if let Some(text) = untagged_status(line) {
                if is_greeting {
                    imap.banner.set(text, &mut imap.memory);
                }
                return Step::Consumed(len);
            }
            if line.starts_with(b"+") {
                return Step::Consumed(len);
            }
        }
        let Some((octets, _)) = announced(line).filter(|_| !self.in_line[server]) else { return Step::Consumed(len) };
        self.goes_on[server] = true;
        Step::Skip(octets.saturating_add(len as u64))
    }

    fn tagged(&mut self, tag: &[u8], is_good: bool, len: usize, imap: &mut Imap) -> Step {
        let count = if is_good { &mut imap.ok_count } else { &mut imap.error_count };
        *count = Some(count.unwrap_or(0).saturating_add(1));
        if self.tag != hash(tag) || !self.client_heard {
            return Step::Consumed(len);
        }
        // Whatever was announced is not wanted.
        self.literal = Literal::None;
        match std::mem::take(&mut self.asked) {
            Asked::Compression if is_good => return Step::Done,
            Asked::Tls if is_good => return Step::Handover(len),
            Asked::Login if !is_good => {
                imap.failed_login_count = Some(imap.failed_login_count.unwrap_or(0).saturating_add(1));
            }
            _ => {}
        }
        Step::Consumed(len)
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// Word and rest of a text that has a space.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    match line::find(text, b' ') {
        Some(space) => (text.get(..space).unwrap_or_default(), text.get(space + 1..).unwrap_or_default()),
        None => (text, b""),
    }
}

/// A tag, and what follows it (RFC 9051 section 9).
fn split_tag(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, rest) = split_word(line.get(..line.len().min(MAX_LINE))?);
    let is_octet =
        |&b: &u8| b.is_ascii_graphic() && !matches!(b, b'+' | b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\');
    ((1..=MAX_TAG).contains(&tag.len()) && tag.iter().all(is_octet) && !rest.is_empty()).then_some((tag, rest))
}

/// The command at the beginning, if it is a known one.
fn known(text: &[u8]) -> Option<&'static [u8]> {
    let (word, _) = split_word(text);
    COMMANDS.iter().find(|c| c.eq_ignore_ascii_case(word)).copied()
}

/// Tag, command and what follows it.
fn command(line: &[u8]) -> Option<(&[u8], &'static [u8], &[u8])> {
    let (tag, rest) = split_tag(line)?;
    let command = known(rest)?;
    Some((tag, command, rest.get(command.len()..).unwrap_or_default().trim_ascii()))
}

/// Tag of a tagged response, and whether its status is OK (RFC 9051 section 7.1).
fn tagged(line: &[u8]) -> Option<(&[u8], bool)> {
    let (tag, rest) = split_tag(line)?;
    let is = |status: &[u8]| split_word(rest).0.eq_ignore_ascii_case(status);
    match () {
        () if is(b"OK") => Some((tag, true)),
        () if is(b"NO") || is(b"BAD") => Some((tag, false)),
        () => None,
    }
}

/// What follows the status of a response without a tag.
fn untagged_status(line: &[u8]) -> Option<&[u8]> {
    let (status, text) = split_word(line.strip_prefix(b"* ")?);
    let is_one = [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|s| s.eq_ignore_ascii_case(status));
    is_one.then(|| text.trim_ascii())
}

/// Length of the literal that a line announces at its end, and whether who sends it waits to be asked: `{310}`, `{310+}`.
fn announced(line: &[u8]) -> Option<(u64, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|&b| b == b'{')?;
    let inner = inner.get(open + 1..)?;
    let (digits, waits) = inner.strip_suffix(b"+").map_or((inner, true), |digits| (digits, false));
    digits.first().filter(|b| b.is_ascii_digit())?;
    Some((str::from_utf8(digits).ok()?.parse().ok()?, waits))
}

/// Appends the first of some words, without its quotes.
fn unquote(words: &[u8], text: &mut Vec<u8>) {
    let Some(quoted) = words.strip_prefix(b"\"") else {
        text.extend_from_slice(split_word(words).0);
        return;
    };
    let mut octets = quoted.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'"' => return,
            b'\\' => text.extend(octets.next()),
            _ => text.push(octet),
        }
    }
}

/// A server speaks: its greeting, or, where the port says so, anything without a tag.
fn probe_server(bytes: &[u8], hinted: bool, snapped: bool) -> Probe {
    let fits = |begin: &[u8]| {
        let same = bytes.iter().zip(begin).all(|(a, b)| a.eq_ignore_ascii_case(b));
        same.then_some(if bytes.len() < begin.len() { Probe::More } else { Probe::Yes })
    };
    let told = fits(b"* OK ").or_else(|| fits(b"* PREAUTH ")).or_else(|| fits(b"* OK\r\n"));
    match (told, bytes) {
        (Some(Probe::More), _) if snapped => Probe::No,
        (Some(told), _) => told,
        (None, [b'*', b' ', b'0'..=b'9' | b'A'..=b'Z', ..]) if hinted => Probe::Yes,
        (None, _) => Probe::No,
    }
}

/// A client gives a command behind its tag; or, where the port says so, a server answers one.
fn probe_tagged(bytes: &[u8], hinted: bool, snapped: bool) -> Probe {
    let bytes = bytes.get(..MAX_GREETING).unwrap_or(bytes);
    let is_open = bytes.len() < MAX_GREETING && !snapped;
    let Some((line, _)) = line::first(bytes) else {
        return if is_open && may_become_command(bytes, hinted) { Probe::More } else { Probe::No };
    };
    let is_it = match command(line) {
        Some((tag, command, parameter)) => is_tag(tag, true, hinted) && is_telling(command, parameter, hinted),
        None => hinted && tagged(line).is_some_and(|(tag, _)| is_tag(tag, true, true)),
    };
    if is_it { Probe::Yes } else { Probe::No }
}

/// Whether programs use such a tag, or may go on so: with a digit among the first octets, or a single octet. A verb of another
/// protocol is none.
fn is_tag(tag: &[u8], is_whole: bool, hinted: bool) -> bool {
    const VERBS: &[&[u8]] = &[b"APOP", b"AUTH", b"EHLO", b"HELO", b"HELP", b"LHLO", b"PASS", b"RCPT", b"USER", b"VRFY"];
    let is_octet =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') || hinted && b.is_ascii_graphic();
    let is_verb = || VERBS.iter().any(|v| v.eq_ignore_ascii_case(tag));
    let has_digit = || tag.iter().take(MAX_PREFIX).any(u8::is_ascii_digit);
    let is_usual = match tag.len() {
        1 => true,
        len if !is_whole && len < MAX_PREFIX => true,
        _ => has_digit() || hinted && !(is_whole && is_verb()),
    };
    is_usual && tag.len() <= MAX_TAG && tag.iter().all(is_octet)
}

/// Whether a command looks as nothing else does.
fn is_telling(command: &[u8], parameter: &[u8], hinted: bool) -> bool {
    let is_alone = matches!(
        command,
        b"CAPABILITY" | b"CHECK" | b"CLOSE" | b"IDLE" | b"LOGOUT" | b"NAMESPACE" | b"NOOP" | b"STARTTLS" | b"UNSELECT"
    );
    // A method of HTTP or SIP would have a version at its end.
    let is_other = parameter.ends_with(b"HTTP/1.1") || parameter.ends_with(b"SIP/2.0");
    is_alone == parameter.is_empty() && !is_other && (hinted || TELLING.contains(&command))
}

/// Whether octets without the end of a line may become a command that tells.
fn may_become_command(bytes: &[u8], hinted: bool) -> bool {
    const STATUSES: &[&[u8]] = &[b"OK", b"NO", b"BAD"];
    let (tag, rest) = split_word(bytes);
    let is_whole = tag.len() < bytes.len();
    let may_be = |words: &[&[u8]]| words.iter().any(|word| line::may_become(rest, word));
    let is_known = || if hinted { may_be(COMMANDS) || may_be(STATUSES) } else { may_be(TELLING) };
    is_tag(tag, is_whole, hinted) && (!is_whole || is_known())
}
