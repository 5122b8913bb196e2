// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and replies, line by line (RFC 5321 sections 4.1 and 4.2).

use crate::app::line;

/// Chunks are smaller than this. Nobody sends a tebioctet; what says so is a lie, and no server takes it.
const MAX_CHUNK: u64 = 1 << 40;

/// Commands: of RFC 5321, of extensions, and some that are in use without one, with their bits in the field. What is not here is
/// not recorded.
pub(super) const COMMANDS: &[(&[u8], u16)] = &[
    (b"ATRN", OTHER),
    (b"AUTH", OTHER),
    (b"BDAT", OTHER),
    (b"BURL", OTHER),
    (b"DATA", 0x10),
    (b"EHLO", 1),
    (b"ETRN", OTHER),
    (b"EXPN", 0x80),
    (b"HELO", 2),
    (b"HELP", 0x100),
    (b"LHLO", OTHER),
    (b"MAIL", 4),
    (b"NOOP", 0x200),
    (b"QUIT", 0x400),
    (b"RCPT", 8),
    (b"RSET", 0x20),
    (b"SAML", OTHER),
    (b"SEND", OTHER),
    (b"SOML", OTHER),
    (b"STARTTLS", OTHER),
    (b"TURN", OTHER),
    (b"VRFY", 0x40),
    (b"XCLIENT", OTHER),
    (b"XFORWARD", OTHER),
];

/// The bit of commands without one of their own.
const OTHER: u16 = 0x8000;

/// Size of a chunk, and whether it is the last (RFC 3030 section 2).
pub(super) fn chunk(parameter: &[u8]) -> Option<(u64, bool)> {
    let mut words = parameter.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    let size = number(words.next()?).filter(|&size| size < MAX_CHUNK)?;
    match words.next() {
        None => Some((size, false)),
        Some(word) => word.eq_ignore_ascii_case(b"LAST").then_some((size, true)),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.first().filter(|b| b.is_ascii_digit())?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The value of SIZE among the parameters of MAIL.
pub(super) fn size(parameter: &[u8]) -> Option<u32> {
    let mut words = parameter.split(u8::is_ascii_whitespace);
    let digits = words.find_map(|w| {
        let (keyword, digits) = w.split_at_checked(5)?;
        keyword.eq_ignore_ascii_case(b"SIZE=").then_some(digits)
    });
    digits.and_then(number).map(|size| u32::try_from(size).unwrap_or(u32::MAX))
}

/// Most octets of a mechanism's name (RFC 4422 section 3.1).
pub(in crate::app) const MAX_MECHANISM: usize = 20;

/// The mechanism of an AUTH command, put in upper case into `name`. What can be none is not recorded, since it may be a secret.
pub(in crate::app) fn mechanism<'a>(parameter: &[u8], name: &'a mut [u8; MAX_MECHANISM]) -> &'a [u8] {
    let word = parameter.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let is_one = word.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let Some(name) = name.get_mut(..word.len()).filter(|_| is_one) else { return b"" };
    name.copy_from_slice(word);
    name.make_ascii_uppercase();
    name
}

/// Whether a line can be what an AUTH exchange sends: base64, or a lone `*`, which ends it.
pub(in crate::app) fn is_base64(line: &[u8]) -> bool {
    line == b"*" || line.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
}

/// Whether a line is a command that no text has by chance.
pub(super) fn is_unlike_text(line: &[u8]) -> bool {
    match split_command(line) {
        Some((b"MAIL", _, parameter)) => !path(parameter, b"FROM").is_empty(),
        Some((b"BDAT", _, parameter)) => chunk(parameter).is_some(),
        Some((b"RCPT", _, parameter)) => !path(parameter, b"TO").is_empty(),
        Some((b"DATA" | b"QUIT" | b"RSET", _, b"")) => line.first().is_some_and(u8::is_ascii_uppercase),
        _ => false,
    }
}

/// Whether a text begins with an enhanced status code (RFC 3463), as that of no greeting does.
pub(super) fn is_enhanced(text: &[u8]) -> bool {
    matches!(text, [b'2' | b'4' | b'5', b'.', b'0'..=b'9', b'.', b'0'..=b'9', ..])
}

/// A known command, its bit, and what follows it.
pub(super) fn split_command(line: &[u8]) -> Option<(&'static [u8], u16, &[u8])> {
    let line = line.trim_ascii();
    let end = line.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end)?;
    let (command, flag) = COMMANDS.iter().find(|(c, _)| c.eq_ignore_ascii_case(word))?;
    (rest.is_empty() || rest.starts_with(b" ") || rest.starts_with(b"\t")).then(|| (*command, *flag, rest.trim_ascii()))
}

/// The path of a MAIL or RCPT command, without its brackets; empty if there is none.
pub(super) fn path<'a>(parameter: &'a [u8], keyword: &[u8]) -> &'a [u8] {
    let Some((word, rest)) = parameter.split_at_checked(keyword.len()) else { return b"" };
    let rest = rest.trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b":").filter(|_| word.eq_ignore_ascii_case(keyword)) else { return b"" };
    let rest = rest.trim_ascii_start();
    match rest.strip_prefix(b"<") {
        Some(inner) => {
            let end = closing_bracket(inner).or_else(|| line::find(inner, b'>')).unwrap_or(inner.len());
            inner.get(..end).unwrap_or_default()
        }
        None => rest.split(u8::is_ascii_whitespace).next().unwrap_or_default(),
    }
}

/// Index of the first bracket that is not within quotes, where a local part may have any (RFC 5321 section 4.1.2).
fn closing_bracket(inner: &[u8]) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    inner.iter().position(|&b| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && !was_escaped && b == b'\\';
        is_quoted ^= b == b'"' && !was_escaped;
        b == b'>' && !is_quoted
    })
}

/// Code of a reply line, and whether the line is the last of the reply (RFC 5321 section 4.2).
pub(super) fn reply_code(line: &[u8]) -> Option<(u16, bool)> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else { return None };
    let code = [a, b, c].into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}
