// SPDX-License-Identifier: MIT OR Apache-2.0
//! FTP's control connection (RFC 959), with its extensions in RFC 2228, 2389, 2428, 3659 and 7151, and TLS (RFC 4217).
//!
//! One transaction per connection. After the reply 234 to AUTH TLS another protocol begins, and is recognised anew.
//!
//! - **Parsed**: the greeting; commands known by name, with the user of USER, the endpoint of PORT and EPRT, the file of RETR,
//!   STOR, STOU and APPE; codes of replies, with the endpoint of 227 and 229.
//! - **Not parsed**: other parameters (passwords never), texts of replies, data connections, what is no known command, commands
//!   that RFC 2228 protects.
//! - **Missing octets**: the next line with a known command or a reply code goes on.
//! - **Bounds**: a line is read up to `MAX_LINE` octets, the rest of it is passed over.
//! - **Fields**: all of `weir_flow::app::Ftp`.
//! - **Fixtures**: hand-made conversations in `tests.rs`, a recorded one in `pcaps/ftp/`.

#[cfg(test)]
mod tests;

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use weir_flow::app::Ftp;

use super::{
    AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport,
    line::{self, Stepped},
    smtp::is_of_mail_server,
};

/// Most octets of a line that are read.
const MAX_LINE: usize = 2048;

/// Octets of a beginning among which it must tell what it is.
const MAX_GREETING: usize = 480;

/// Commands, in the order of the alphabet. What is not here is not recorded.
const COMMANDS: &[&[u8]] = &[
    b"ABOR", b"ACCT", b"ADAT", b"ALLO", b"APPE", b"AUTH", b"CCC", b"CDUP", b"CLNT", b"CONF", b"CWD", b"DELE", b"ENC",
    b"EPRT", b"EPSV", b"FEAT", b"HASH", b"HELP", b"HOST", b"LANG", b"LIST", b"LPRT", b"LPSV", b"MDTM", b"MFCT", b"MFF",
    b"MFMT", b"MIC", b"MKD", b"MLSD", b"MLST", b"MODE", b"NLST", b"NOOP", b"OPTS", b"PASS", b"PASV", b"PBSZ", b"PORT",
    b"PROT", b"PWD", b"QUIT", b"REIN", b"REST", b"RETR", b"RMD", b"RNFR", b"RNTO", b"SITE", b"SIZE", b"SMNT", b"STAT",
    b"STOR", b"STOU", b"STRU", b"SYST", b"TYPE", b"USER", b"XCRC", b"XCUP", b"XCWD", b"XMD5", b"XMKD", b"XPWD",
    b"XRMD", b"XSHA1",
];

/// Octets of the longest of them.
const MAX_COMMAND: usize = 5;

/// Commands that no other protocol has, which a client gives early.
const TELLING: &[&[u8]] =
    &[b"CWD", b"EPSV", b"FEAT", b"MLSD", b"NLST", b"OPTS", b"PASV", b"PBSZ", b"PROT", b"PWD", b"SYST", b"XPWD"];

/// Reads one control connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// The direction of commands, once known.
    client: Option<Direction>,
    /// Whether the rest of an overlong line is to be passed over, for each direction.
    in_line: [bool; 2],
    /// Code of a reply whose last line has not come.
    unfinished: Option<u16>,
    server_heard: bool,
    client_heard: bool,
    /// The last command was PASS.
    password_given: bool,
    /// The last command was AUTH TLS, or the like.
    tls_asked: bool,
}

impl super::Parser for Parser {
    type Fields = Ftp;
    /// A text that is put together.
    type Scratch = Vec<u8>;

    const IDENTITY: Identity = Identity {
        slug: "ftp",
        transports: &[Transport::Stream],
        port_hints: &[21, 2121],
        max_buffered: MAX_LINE,
        // A connection may last for days.
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::LETTERS.and_from(b'1'..=b'5'), Octets::TEXT, Octets::TEXT, Octets::TEXT];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        let Input { bytes, hinted, snapped, .. } = input;
        match bytes {
            [b'1'..=b'5', ..] => probe_reply(bytes, hinted, snapped),
            [b'A'..=b'Z' | b'a'..=b'z', ..] => probe_command(bytes, hinted, snapped),
            _ => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Ftp>, scratch: &mut Vec<u8>) -> Step {
        // TLS, whether or not AUTH and its reply were seen: nothing else begins like its handshake record.
        if input.bytes.starts_with(&[0x16, 3]) {
            return Step::Handover(0);
        }
        let (line, len) = match line::step(input.bytes, MAX_LINE, &mut self.in_line[input.direction.index()]) {
            Stepped::Line(line, len) => (line, len),
            Stepped::More => return Step::More,
            Stepped::Rest(len) => return Step::Consumed(len),
        };
        let client = *self.client.get_or_insert_with(|| match reply_code(line) {
            Some(_) => input.direction.opposite(),
            None => input.direction,
        });
        let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
        let Some(ftp) = transactions.fields_mut(index) else { return Step::Consumed(len) };
        if client == input.direction {
            self.command(line, ftp, scratch);
            return Step::Consumed(len);
        }
        match self.reply(line, ftp, scratch) {
            After::Reply => Step::Consumed(len),
            After::End => {
                transactions.complete(index);
                Step::Consumed(len)
            }
            After::Tls => Step::Handover(len),
        }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.in_line[direction.index()] = false;
        if self.client != Some(direction) {
            self.unfinished = None;
        }
        AfterGap::Resume
    }
}

/// What comes after a line of the server.
enum After {
    /// Perhaps nothing.
    End,
    Reply,
    Tls,
}

impl Parser {
    fn command(&mut self, line: &[u8], ftp: &mut Ftp, text: &mut Vec<u8>) {
        self.client_heard = true;
        let Some((command, parameter)) = split_command(line) else { return };
        ftp.command.push_new(command, &mut ftp.memory);
        self.password_given = command == b"PASS";
        self.tls_asked = command == b"AUTH" && is_tls(parameter);
        text.clear();
        match command {
            b"USER" => ftp.user.set(parameter, &mut ftp.memory),
            b"PORT" | b"EPRT" => {
                let endpoint = if command == b"PORT" { six_numbers(parameter) } else { extended_endpoint(parameter) };
                if let Some((address, port)) = endpoint {
                    write_endpoint(address, port, text);
                    ftp.data_endpoint.push_new(text, &mut ftp.memory);
                }
            }
            b"RETR" | b"STOR" | b"STOU" | b"APPE" if !parameter.is_empty() => {
                text.extend_from_slice(command);
                text.push(b' ');
                text.extend_from_slice(parameter);
                ftp.file.push_new(text, &mut ftp.memory);
            }
            _ => {}
        }
    }

    fn reply(&mut self, line: &[u8], ftp: &mut Ftp, text: &mut Vec<u8>) -> After {
        let code = reply_code(line);
        // Between the lines of a reply there may be any (RFC 959 section 4.2).
        let (code, is_last) = match (self.unfinished, code) {
            (Some(unfinished), Some((code, true))) if code == unfinished => {
                self.unfinished = None;
                return self.after(code);
            }
            (None, Some(code)) => code,
            _ => return After::Reply,
        };
        self.unfinished = Some(code).filter(|_| !is_last);
        let rest = line.get(4..).unwrap_or_default().trim_ascii();
        if !std::mem::replace(&mut self.server_heard, true) && matches!(code, 120 | 220) && !self.client_heard {
            ftp.banner.set(rest, &mut ftp.memory);
        }
        ftp.reply_code.push_new(code, &mut ftp.memory);
        ftp.reply_count = Some(ftp.reply_count.unwrap_or(0).saturating_add(1));
        if code >= 400 {
            ftp.error_count = Some(ftp.error_count.unwrap_or(0).saturating_add(1));
        }
        if matches!(code, 430 | 530) && (self.password_given || !self.client_heard) {
            ftp.failed_login_count = Some(ftp.failed_login_count.unwrap_or(0).saturating_add(1));
        }
        text.clear();
        if code == 227
            && let Some((address, port)) = from_first_digit(rest).and_then(six_numbers)
        {
            write_endpoint(address, port, text);
        } else if code == 229
            && let Some(port) = extended_port(rest)
        {
            text.push(b':');
            line::decimal(port.into(), text);
        }
        if !text.is_empty() {
            ftp.data_endpoint.push_new(text, &mut ftp.memory);
        }
        if is_last { self.after(code) } else { After::Reply }
    }

    /// What comes after a whole reply.
    fn after(&mut self, code: u16) -> After {
        let was_tls_asked = std::mem::take(&mut self.tls_asked);
        match code {
            // Older servers say 334 for what RFC 4217 calls 234.
            234 | 334 if was_tls_asked => After::Tls,
            234 if !self.client_heard => After::Tls,
            221 => After::End,
            _ => After::Reply,
        }
    }
}

/// Whether AUTH asks for TLS (RFC 4217 section 4); SSL and the others are older names.
fn is_tls(parameter: &[u8]) -> bool {
    [&b"TLS"[..], b"SSL", b"TLS-C", b"TLS-P"].iter().any(|name| parameter.eq_ignore_ascii_case(name))
}

/// A known command, and what follows it.
fn split_command(line: &[u8]) -> Option<(&'static [u8], &[u8])> {
    // Telnet's signals, which come in front of ABOR (RFC 959 section 4.1.3): an octet 255 and one more.
    let mut line = line;
    while let [0xff, _, rest @ ..] = line {
        line = rest;
    }
    let (word, parameter) = match line::find(line, b' ') {
        Some(space) => (line.get(..space)?, line.get(space + 1..)?),
        None => (line, &b""[..]),
    };
    // In order, but few octets decide: no search is faster than this one.
    let command = COMMANDS.iter().find(|c| c.eq_ignore_ascii_case(word))?;
    Some((command, parameter.trim_ascii_end()))
}

/// Code of a reply line, and whether the line is the last of the reply (RFC 959 section 4.2).
fn reply_code(line: &[u8]) -> Option<(u16, bool)> {
    let [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else { return None };
    let code = [a, b, c].into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

/// What is behind the words of a reply 227; its form is not the same everywhere (RFC 1123 section 4.1.2.6).
fn from_first_digit(text: &[u8]) -> Option<&[u8]> {
    text.get(text.iter().position(u8::is_ascii_digit)?..)
}

/// Address and port as six decimal numbers with commas between them, each an octet; what follows them is of no meaning.
fn six_numbers(text: &[u8]) -> Option<(IpAddr, u16)> {
    let mut numbers = text.splitn(6, |&b| b == b',');
    let mut next = || -> Option<u8> {
        let digits = numbers.next()?.trim_ascii();
        let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
        str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
    };
    let address = Ipv4Addr::new(next()?, next()?, next()?, next()?);
    Some((address.into(), u16::from_be_bytes([next()?, next()?])))
}

/// Address and port of EPRT: `|1|192.0.2.1|20480|`, the first octet being the one between all of them (RFC 2428 section 2).
fn extended_endpoint(text: &[u8]) -> Option<(IpAddr, u16)> {
    let (&mark, rest) = text.split_first()?;
    let mut parts = rest.split(|&b| b == mark).map(|part| str::from_utf8(part).ok());
    let (_family, address, port) = (parts.next()??, parts.next()??, parts.next()??);
    Some((address.parse().ok()?, port.parse().ok()?))
}

/// Port of a reply 229: `(|||20480|)` behind any words (RFC 2428 section 3).
fn extended_port(text: &[u8]) -> Option<u16> {
    let open = line::find(text, b'(')?;
    let [mark, second, third, rest @ ..] = text.get(open + 1..)? else { return None };
    let end = rest.iter().position(|b| b == mark).filter(|_| mark == second && mark == third)?;
    str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

fn write_endpoint(address: IpAddr, port: u16, text: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = match address {
        IpAddr::V4(address) => write!(text, "{address}:{port}"),
        IpAddr::V6(address) => write!(text, "[{address}]:{port}"),
    };
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word))
}

/// A server speaks: its greeting, or what no other server says, or, where the port says so, any reply.
fn probe_reply(bytes: &[u8], hinted: bool, snapped: bool) -> Probe {
    let bytes = bytes.get(..MAX_GREETING).unwrap_or(bytes);
    let is_open = bytes.len() < MAX_GREETING && !snapped;
    let Some((first, _)) = line::first(bytes) else {
        let fits =
            bytes.iter().take(3).all(u8::is_ascii_digit) && matches!(bytes.get(3), None | Some(b' ' | b'-' | b'\r'));
        return if fits && is_open { Probe::More } else { Probe::No };
    };
    let Some((code, _)) = reply_code(first) else { return Probe::No };
    let text = first.get(4..).unwrap_or_default();
    if code == 220 {
        return probe_greeting(bytes, is_open, hinted);
    }
    let is_it = match code {
        _ if hinted => true,
        227 => from_first_digit(text).and_then(six_numbers).is_some(),
        229 => extended_port(text).is_some(),
        230 => contains(text, b"logged in"),
        331 => contains(text, b"password"),
        _ => false,
    };
    if is_it { Probe::Yes } else { Probe::No }
}

/// A greeting: the first whole line of it that tells what it is, tells it for all that may come behind.
fn probe_greeting(bytes: &[u8], is_open: bool, hinted: bool) -> Probe {
    let told_by_port = if hinted { Probe::Yes } else { Probe::No };
    let mut rest = bytes;
    while let Some((line, len)) = line::first(rest) {
        let text = line.get(4..).unwrap_or_default();
        if is_of_mail_server(text) {
            return Probe::No;
        }
        if contains(text, b"FTP") || contains(text, b"FileZilla") {
            return Probe::Yes;
        }
        if reply_code(line) == Some((220, true)) {
            return told_by_port;
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    if is_open { Probe::More } else { told_by_port }
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
        if hinted || is_telling(command, parameter) {
            return Probe::Yes;
        }
        if !matches!(command, b"USER" | b"PASS") || !(is_user_given || command == b"USER") {
            return Probe::No;
        }
        is_user_given = true;
        rest = rest.get(len..).unwrap_or_default();
    }
    let may_be = |commands: &[&[u8]]| commands.iter().any(|c| line::may_become(rest, c));
    let may_tell = may_be(TELLING) || may_be(&[b"USER", b"AUTH", b"PORT", b"EPRT", b"TYPE"]);
    let is_open = may_tell || may_be(&[b"PASS"]) && is_user_given || hinted && may_be(COMMANDS);
    if is_open && bytes.len() < MAX_GREETING && !snapped { Probe::More } else { Probe::No }
}

fn is_telling(command: &[u8], parameter: &[u8]) -> bool {
    match command {
        b"AUTH" => is_tls(parameter),
        b"PORT" => six_numbers(parameter).is_some(),
        b"EPRT" => extended_endpoint(parameter).is_some(),
        b"TYPE" => matches!(parameter, [b'A' | b'E' | b'I' | b'a' | b'e' | b'i'] | [b'A' | b'a', b' ', _]),
        _ => TELLING.contains(&command),
    }
}
