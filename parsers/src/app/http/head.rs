// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start lines and header fields: by `httparse`, and where that refuses, line by line.

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Status};

use crate::app::line;

/// Octets of a message by which it is known. Together with empty lines in front, no more than what a session keeps for probes.
const MAX_SHAPE: usize = 500;
/// Header fields that are read; more make the slower way necessary.
const MAX_HEADERS: usize = 128;
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
    let line = line::first(bytes).map(|(line, _)| line);
    let beginning = line.unwrap_or(bytes);
    let end = line::find(beginning, b' ');
    let method = beginning.get(..end.unwrap_or(beginning.len())).unwrap_or_default();
    if !is_method(method) {
        return Shape::Neither;
    }
    let target = beginning.get(method.len() + 1..).unwrap_or_default();
    if line::has_control(target) {
        return Shape::Neither;
    }
    if let Some(line) = line {
        return if RequestLine::parse(line).is_some() { Shape::Request } else { Shape::Neither };
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
        let first = line.iter().position(|&b| b == b' ')?;
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
}

impl<'a> Head<'a> {
    /// Reads whole lines, from the first line to the empty one, which may be missing.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        if bytes.starts_with(b"HTTP/") {
            let mut response = httparse::Response::new(&mut []);
            let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut slots);
            if let (Ok(Status::Complete(_)), Some(version), Some(status)) = (parsed, response.version, response.code) {
                let reason = response.reason.unwrap_or_default().as_bytes();
                return Some(Self::new(
                    Start::Response { version: version_text(version), status, reason },
                    response.headers,
                ));
            }
        } else {
            let mut request = httparse::Request::new(&mut []);
            let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut slots);
            if let (Ok(Status::Complete(_)), Some(method), Some(target), Some(version)) =
                (parsed, request.method, request.path, request.version)
            {
                let line = RequestLine {
                    method: method.as_bytes(),
                    target: target.as_bytes(),
                    version: version_text(version),
                };
                return Some(Self::new(Start::Request(line), request.headers));
            }
        }
        Self::parse_leniently(bytes)
    }

    fn new(start: Start<'a>, headers: &[httparse::Header<'a>]) -> Self {
        let mut head = Self::empty(start);
        for header in headers {
            head.note(header.name.as_bytes(), header.value);
        }
        head
    }

    /// For what is in use and yet not allowed: folded lines, odd octets, broken header lines, very many of them.
    fn parse_leniently(bytes: &'a [u8]) -> Option<Self> {
        let (line, len) = line::first(bytes)?;
        let start = if line.starts_with(b"HTTP/") {
            let version = line.split(|&b| b == b' ').next()?;
            let rest = line.get(version.len()..)?.trim_ascii();
            let status = rest.get(..3)?;
            let reason = rest.get(3..)?.trim_ascii();
            Start::Response { version, status: str::from_utf8(status).ok()?.parse().ok()?, reason }
        } else {
            Start::Request(RequestLine::parse(line)?)
        };
        let mut head = Self::empty(start);
        for (name, value) in line::Headers::new(bytes.get(len..)?) {
            head.note(name, value);
        }
        Some(head)
    }

    fn empty(start: Start<'a>) -> Self {
        Self {
            start,
            host: b"",
            user_agent: b"",
            referer: b"",
            content_type: b"",
            server: b"",
            content_length: None,
            is_chunked: false,
        }
    }

    fn note(&mut self, name: &[u8], value: &'a [u8]) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let field = match name.len() {
            4 if is(b"host") => &mut self.host,
            6 if is(b"server") => &mut self.server,
            7 if is(b"referer") => &mut self.referer,
            10 if is(b"user-agent") => &mut self.user_agent,
            12 if is(b"content-type") => &mut self.content_type,
            14 if is(b"content-length") => {
                let number = str::from_utf8(value).ok().and_then(|v| v.trim().parse().ok());
                self.content_length = self.content_length.or(number);
                return;
            }
            17 if is(b"transfer-encoding") => {
                const LAST: &[u8] = b"chunked";
                let end = value.len().saturating_sub(LAST.len());
                self.is_chunked |= value.get(end..).is_some_and(|last| last.eq_ignore_ascii_case(LAST));
                return;
            }
            _ => return,
        };
        if field.is_empty() {
            *field = value;
        }
    }
}

fn version_text(minor: u8) -> &'static [u8] {
    if minor == 0 { b"HTTP/1.0" } else { b"HTTP/1.1" }
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
