// SPDX-License-Identifier: MIT OR Apache-2.0
//! First lines, and what is taken for a message: odd octets and broken lines are in use, allowed or not.

use std::ops::Range;

use crate::app::line;

/// Octets of a message by which it is known. Together with empty lines in front, no more than what a session keeps for probes.
const MAX_SHAPE: usize = 500;
/// Longest method.
const MAX_METHOD: usize = 32;

/// What a message is, by its first line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Request,
    Response,
    /// What a client of HTTP/2 sends first.
    Preface,
    Neither,
    /// Cannot be told yet.
    More,
}

/// What a client of HTTP/2 sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Tells a message by its beginning. `is_all`: more will not come.
///
/// The answer for a beginning holds for all that begins like it, so that it does not depend on how a stream is cut.
pub(super) fn shape(bytes: &[u8], is_all: bool) -> Shape {
    let bytes = bytes.get(..MAX_SHAPE).unwrap_or(bytes);
    let is_all = is_all || bytes.len() == MAX_SHAPE;
    match status_shape(bytes) {
        Shape::Neither => {}
        Shape::More if is_all => return Shape::Neither,
        told => return told,
    }
    match bytes.get(..PREFACE.len()) {
        Some(first) if first == PREFACE => return Shape::Preface,
        None if PREFACE.starts_with(bytes) && !is_all => return Shape::More,
        Some(_) | None => {}
    }
    if !line::may_begin_with_method(bytes, MAX_METHOD) {
        return Shape::Neither;
    }
    if let Some((line, _)) = line::first(bytes) {
        let is_one =
            |request: RequestLine<'_>| !line::has_control(line.get(request.method.len()..).unwrap_or_default());
        return if RequestLine::parse(line).is_some_and(is_one) { Shape::Request } else { Shape::Neither };
    }
    let end = line::find(bytes, b' ');
    let method = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    let target = bytes.get(method.len() + 1..).unwrap_or_default();
    if !is_method(method) || line::has_control(target) {
        return Shape::Neither;
    }
    match is_all {
        false => Shape::More,
        true if is_known(method) && starts_a_target(target) => Shape::Request,
        true => Shape::Neither,
    }
}

fn status_shape(bytes: &[u8]) -> Shape {
    const PATTERN: &[u8] = b"HTTP/1.d ddd";
    let fits = bytes.iter().zip(PATTERN).all(|(b, p)| if *p == b'd' { b.is_ascii_digit() } else { b == p });
    match (fits, bytes.len() >= PATTERN.len()) {
        (false, _) => Shape::Neither,
        (true, true) => Shape::Response,
        (true, false) => Shape::More,
    }
}

/// Whether these octets can be a method. RFC 9110 allows more, but nobody uses it, and it would look like anything.
fn is_method(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.len() <= MAX_METHOD
        && bytes.iter().all(|&b| line::is_method_octet(b))
}

/// Methods that are believed without having seen the version: it may be far behind a long target.
///
/// The registry of RFC 9110 section 16.1, and those of UPnP, of Microsoft's RPC, SSTP, BITS and Configuration Manager.
#[rustfmt::skip]
const KNOWN: &[&[u8]] = &[
    b"ACL", b"BASELINE-CONTROL", b"BIND", b"BITS_POST", b"CCM_POST", b"CHECKIN", b"CHECKOUT", b"CONNECT", b"COPY", b"DELETE", b"GET",
    b"HEAD", b"LABEL", b"LINK", b"LOCK", b"M-SEARCH", b"MERGE", b"MKACTIVITY", b"MKCALENDAR", b"MKCOL", b"MKREDIRECTREF",
    b"MKWORKSPACE", b"MOVE", b"NOTIFY", b"OPTIONS", b"ORDERPATCH", b"PATCH", b"POST", b"PROPFIND", b"PROPPATCH", b"PURGE", b"PUT",
    b"QUERY", b"REBIND", b"REPORT", b"RPC_IN_DATA", b"RPC_OUT_DATA", b"SEARCH", b"SSTP_DUPLEX_POST", b"SUBSCRIBE", b"TRACE",
    b"UNBIND", b"UNCHECKOUT", b"UNLINK", b"UNLOCK", b"UNSUBSCRIBE", b"UPDATE", b"UPDATEREDIRECTREF", b"VERSION-CONTROL",
];

fn is_known(method: &[u8]) -> bool {
    KNOWN.contains(&method)
}

/// Whether a message that begins so has a version, as far as its first line is there.
pub(super) fn has_version(bytes: &[u8]) -> bool {
    let request = line::first(bytes).and_then(|(line, _)| RequestLine::parse(line));
    request.is_none_or(|request| !request.version.is_empty())
}

fn starts_a_target(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'/' | b'*')) || bytes.get(..4).is_some_and(|s| s.eq_ignore_ascii_case(b"http"))
}

/// A request line in its parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    /// Whatever stands between method and version, which may be nothing. After CONNECT no more than one word.
    pub(super) target: &'a [u8],
    /// Where in the line it begins.
    pub(super) target_at: usize,
    /// Empty if there is none, as before HTTP/1.0 (RFC 1945 section 4.1): then no header fields follow either, or should not.
    pub(super) version: &'a [u8],
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii_end();
        let first = line::find(line, b' ')?;
        let method = line.get(..first)?;
        if !is_method(method) {
            return None;
        }
        let last = line.iter().rposition(|&b| b == b' ')?;
        let version = line.get(last + 1..)?;
        if last > first && version.starts_with(b"HTTP/1.") {
            let target = line.get(first..last)?.trim_ascii_start();
            let target_at = last - target.len();
            let target = target.trim_ascii_end();
            return Some(Self {
                method,
                target: if method == b"CONNECT" { word(target) } else { target },
                target_at,
                version,
            });
        }
        let target = line.get(first..)?.trim_ascii_start();
        let target_at = line.len() - target.len();
        let is_simple = is_known(method) && starts_a_target(target) && word(target).len() == target.len();
        is_simple.then_some(Self { method, target, target_at, version: b"" })
    }
}

fn word(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == b' ').next().unwrap_or_default()
}

/// What the first line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Start<'a> {
    Request(RequestLine<'a>),
    /// The reason phrase is a piece of the line.
    Response {
        version: &'a [u8],
        status: u16,
        reason: Range<usize>,
    },
}

impl<'a> Start<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        if !line.starts_with(b"HTTP/") {
            return RequestLine::parse(line).map(Self::Request);
        }
        let version = line.split(|&b| b == b' ').next()?;
        let (status, reason) = line.get(version.len()..)?.trim_ascii_start().split_at_checked(3)?;
        let reason = reason.strip_prefix(b" ").unwrap_or(reason);
        Some(Self::Response { version, status: status_code(status)?, reason: line.len() - reason.len()..line.len() })
    }
}

/// Three digits.
pub(super) fn status_code(digits: &[u8]) -> Option<u16> {
    let &[a, b, c] = digits else { return None };
    let is_digits = a.is_ascii_digit() & b.is_ascii_digit() & c.is_ascii_digit();
    is_digits.then(|| 100 * u16::from(a - b'0') + 10 * u16::from(b - b'0') + u16::from(c - b'0'))
}

/// Whether a first line, with its LF, is that of a message beyond doubt, so that [`shape`] need not be asked.
pub(super) fn is_plain(line: &[u8], start: &Start<'_>) -> bool {
    match start {
        // `HTTP/1.1 200`, with one space: what [`status_shape`] asks for.
        Start::Response { version, .. } => {
            let is_digit = version.get(7).is_some_and(u8::is_ascii_digit);
            version.len() == 8
                && version.starts_with(b"HTTP/1.")
                && is_digit
                && line.get(9).is_some_and(u8::is_ascii_digit)
        }
        Start::Request(request) => {
            let rest = line.get(request.method.len()..line.len().saturating_sub(1)).unwrap_or_default();
            line.len() < MAX_SHAPE && !request.version.is_empty() && !has_control(rest)
        }
    }
}

/// Whether there is a control character other than CR: eight octets at a time, and the last eight once more.
fn has_control(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let Some(last) = bytes.last_chunk::<8>() else { return line::has_control(bytes) };
    let (words, _) = bytes.as_chunks::<8>();
    let seen = words.iter().chain([last]).fold(0, |seen, word| {
        let word = u64::from_le_bytes(*word);
        // Borrows may say yes for octets above one that is less than a space, never where there is none.
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        seen | below_space | (delete.wrapping_sub(ONES) & !delete)
    });
    seen & HIGH != 0 && line::has_control(bytes)
}

/// Host and port of a target in absolute form; `None` if it has another form.
pub(super) fn authority(target: &[u8]) -> Option<&[u8]> {
    let colon = target.windows(3).position(|w| w == b"://")?;
    let scheme = target.get(..colon)?;
    if !scheme.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let rest = target.get(colon + 3..)?;
    let authority = rest.split(|b| matches!(b, b'/' | b'?' | b'#')).next()?;
    // RFC 9110 section 4.2.4: a name and password in front of the host are no part of it, and nobody's business.
    authority.rsplit(|&b| b == b'@').next().filter(|a| !a.is_empty())
}
