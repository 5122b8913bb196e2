// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an SMTP connection begins with.

use super::syntax::{COMMANDS, reply_code, split_command};
use crate::app::Probe;

/// Octets of a greeting among which it must tell what it is.
const MAX_GREETING: usize = 300;

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word))
}

/// Whether the text of a greeting says that a mail server speaks. Its first word is a domain, which may be called anything: it
/// counts only where nothing after it says something else.
pub(in crate::app) fn is_of_mail_server(text: &[u8]) -> bool {
    let says = |text: &[u8]| contains(text, b"SMTP") || contains(text, b"LMTP");
    let domain = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (domain, rest) = text.split_at_checked(domain).unwrap_or((text, b""));
    says(rest) || (says(domain) && !contains(rest, b"FTP"))
}

/// A server speaks: its greeting, or, where the port says so, any reply but the greeting of a file server.
pub(super) fn probe_reply(bytes: &[u8], line: Option<&[u8]>, hinted: bool, snapped: bool) -> Probe {
    // A CR may be half of the line's end.
    let bytes = line.unwrap_or_else(|| bytes.strip_suffix(b"\r").unwrap_or(bytes));
    let is_cut = line.is_none() && !snapped;
    if bytes.len() < 4 && is_cut {
        let fits = bytes.iter().zip([b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']).all(|(b, range)| range.contains(b));
        return if fits { Probe::More } else { Probe::No };
    }
    let Some((code, _)) = reply_code(bytes) else { return Probe::No };
    let text = bytes.get(4..MAX_GREETING.min(bytes.len())).unwrap_or_default();
    match () {
        () if code != 220 && hinted => Probe::Yes,
        () if code != 220 => Probe::No,
        () if is_cut && bytes.len() < MAX_GREETING => Probe::More,
        () if is_of_mail_server(text) => Probe::Yes,
        () if hinted && !contains(text, b"FTP") => Probe::Yes,
        () => Probe::No,
    }
}

/// A client speaks: it says its name, or names a path, or, where the port says so, gives any command.
pub(super) fn probe_command(bytes: &[u8], line: Option<&[u8]>, hinted: bool, snapped: bool) -> Probe {
    const TELLING: &[&[u8]] = &[b"EHLO ", b"HELO ", b"LHLO ", b"MAIL FROM:", b"RCPT TO:"];
    let bytes = line.unwrap_or(bytes);
    let is_cut = line.is_none() && !snapped;
    let starts = |start: &[u8]| bytes.get(..start.len()).is_some_and(|b| b.eq_ignore_ascii_case(start));
    // Nothing begins with white space that is not known by its first octets.
    let is_command = || bytes.first().is_some_and(u8::is_ascii_alphabetic) && split_command(bytes).is_some();
    if TELLING.iter().any(|t| starts(t)) || (line.is_some() && hinted && is_command()) {
        return Probe::Yes;
    }
    let may_become =
        |word: &&[u8]| word.get(..bytes.len()).map_or_else(|| starts(word), |w| w.eq_ignore_ascii_case(bytes));
    let is_open = TELLING.iter().any(|t| bytes.len() < t.len() && may_become(t))
        || (hinted && COMMANDS.iter().any(|(command, _)| may_become(command)));
    if is_cut && is_open { Probe::More } else { Probe::No }
}
