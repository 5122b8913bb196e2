// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start lines and header fields, line by line: folded lines, odd octets and broken header lines are in use, allowed or not.

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
    Neither,
    /// Cannot be told yet.
    More,
}

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
fn is_known(method: &[u8]) -> bool {
    const KNOWN: &[&[u8]] = &[
        b"CONNECT",
        b"DELETE",
        b"GET",
        b"HEAD",
        b"OPTIONS",
        b"PATCH",
        b"POST",
        b"PROPFIND",
        b"PUT",
        b"REPORT",
        b"TRACE",
    ];
    KNOWN.contains(&method)
}

fn starts_a_target(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'/' | b'*')) || bytes.get(..4).is_some_and(|s| s.eq_ignore_ascii_case(b"http"))
}

/// A request line in its parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    /// Whatever stands between method and version, which may be nothing.
    pub(super) target: &'a [u8],
    pub(super) version: &'a [u8],
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii_end();
        let first = line::find(line, b' ')?;
        let last = line.iter().rposition(|&b| b == b' ')?;
        let (method, version) = (line.get(..first)?, line.get(last + 1..)?);
        let target = line.get(first..last)?.trim_ascii();
        (is_method(method) && version.starts_with(b"HTTP/1.")).then_some(Self { method, target, version })
    }
}

/// What the first line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start<'a> {
    Request(RequestLine<'a>),
    Response { version: &'a [u8], status: u16, reason: &'a [u8] },
}

impl<'a> Start<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        if !line.starts_with(b"HTTP/") {
            return RequestLine::parse(line).map(Self::Request);
        }
        let version = line.split(|&b| b == b' ').next()?;
        let (status, reason) = line.get(version.len()..)?.trim_ascii_start().split_at_checked(3)?;
        let reason = reason.strip_prefix(b" ").unwrap_or(reason);
        Some(Self::Response { version, status: str::from_utf8(status).ok()?.parse().ok()?, reason })
    }
}

/// A head: first line, and the header fields of interest, each as it stood first, perhaps folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) start: Start<'a>,
    pub(super) host: &'a [u8],
    pub(super) user_agent: &'a [u8],
    pub(super) referer: &'a [u8],
    pub(super) content_type: &'a [u8],
    pub(super) server: &'a [u8],
    /// Content-Length; `None` if there is none that is a number.
    pub(super) content_length: Option<u64>,
    pub(super) is_chunked: bool,
    /// Octets of its lines.
    pub(super) octets: usize,
    /// Whether the empty line that ends it is among them.
    pub(super) is_whole: bool,
}

impl<'a> Head<'a> {
    /// Reads from the first line to the empty one, or to the last whole line.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (line, len) = line::first(bytes)?;
        let mut head = Self {
            start: Start::parse(line)?,
            host: b"",
            user_agent: b"",
            referer: b"",
            content_type: b"",
            server: b"",
            content_length: None,
            is_chunked: false,
            octets: 0,
            is_whole: false,
        };
        let mut lines = line::Lines::new(bytes.get(len..)?, false);
        lines.by_ref().for_each(|line| head.note(line));
        head.octets = bytes.len() - lines.rest().len();
        head.is_whole = lines.has_ended();
        Some(head)
    }

    fn note(&mut self, line: &'a [u8]) {
        let (field, value) = match line.first().map(u8::to_ascii_lowercase) {
            Some(b'h') => (&mut self.host, line::value(line, b"host")),
            Some(b's') => (&mut self.server, line::value(line, b"server")),
            Some(b'r') => (&mut self.referer, line::value(line, b"referer")),
            Some(b'u') => (&mut self.user_agent, line::value(line, b"user-agent")),
            Some(b'c') => match line::value(line, b"content-length") {
                Some(length) => return self.length(length),
                None => (&mut self.content_type, line::value(line, b"content-type")),
            },
            Some(b't') => return self.coding(line::value(line, b"transfer-encoding").unwrap_or_default()),
            _ => return,
        };
        if field.is_empty() {
            *field = value.unwrap_or_default();
        }
    }

    fn length(&mut self, value: &[u8]) {
        let number = str::from_utf8(value).ok().and_then(|v| v.trim().parse().ok());
        self.content_length = self.content_length.or(number);
    }

    fn coding(&mut self, value: &[u8]) {
        const LAST: &[u8] = b"chunked";
        let end = value.len().saturating_sub(LAST.len());
        self.is_chunked |= value.get(end..).is_some_and(|last| last.eq_ignore_ascii_case(LAST));
    }
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
