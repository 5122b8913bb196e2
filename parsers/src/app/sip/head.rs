// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start lines, header fields, and the addresses within them.

use crate::app::line;

/// Octets of a message by which it is known. Together with empty lines in front, no more than what a session keeps for probes.
const MAX_SHAPE: usize = 500;
/// Longest method.
const MAX_METHOD: usize = 32;
const VERSION: &[u8] = b"SIP/2.0";

/// Whether octets are a message, by its first line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Message,
    None,
    /// Cannot be told yet.
    More,
}

/// Tells a message by its beginning. `is_all`: more will not come.
///
/// The answer for a beginning holds for all that begins like it, so that it does not depend on how a stream is cut.
pub(super) fn shape(bytes: &[u8], is_all: bool) -> Shape {
    let bytes = bytes.get(..MAX_SHAPE).unwrap_or(bytes);
    if bytes.is_empty() && !is_all {
        return Shape::More;
    }
    let may_be_response = bytes.iter().zip(VERSION).all(|(b, v)| b == v);
    if !may_be_response && !line::may_begin_with_method(bytes, MAX_METHOD) {
        return Shape::None;
    }
    let is_all = is_all || bytes.len() == MAX_SHAPE;
    if is_all && !bytes.contains(&b' ') {
        // Either kind of first line has one.
        return Shape::None;
    }
    let line = line::first(bytes).map(|(line, _)| line);
    let beginning = line.unwrap_or(bytes);
    let may_be_response = beginning.iter().zip(VERSION).all(|(b, v)| b == v);
    let method = beginning.split(|&b| b == b' ').next().unwrap_or_default();
    let uri = beginning.get(method.len() + 1..).unwrap_or_default();
    let may_be_request = is_method(method) && !line::has_control(uri);
    match (line, is_all) {
        _ if !may_be_request && !may_be_response => Shape::None,
        (Some(line), _) if Start::parse(line).is_some() => Shape::Message,
        (Some(_), _) => Shape::None,
        (None, false) => Shape::More,
        // A Request-URI that is longer than what is looked at.
        (None, true) if may_be_request && [&b"sip:"[..], b"sips:", b"tel:"].iter().any(|s| uri.starts_with(s)) => {
            Shape::Message
        }
        (None, true) => Shape::None,
    }
}

/// Whether these octets can be a method: RFC 3261 allows more, but nobody uses it.
fn is_method(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() <= MAX_METHOD && bytes.iter().all(|&b| line::is_method_octet(b))
}

/// What the first line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start<'a> {
    Request { method: &'a [u8], uri: &'a [u8] },
    Response { status: u16 },
}

impl<'a> Start<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii_end();
        if let Some(rest) = line.strip_prefix(VERSION).and_then(|l| l.strip_prefix(b" ")) {
            let [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = rest.trim_ascii_start() else {
                return None;
            };
            let status = [a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
            return matches!(rest.first(), None | Some(b' ')).then_some(Self::Response { status });
        }
        let rest = line.strip_suffix(VERSION)?.strip_suffix(b" ")?;
        let space = rest.iter().position(|&b| b == b' ')?;
        let (method, uri) = rest.split_at_checked(space)?;
        let uri = uri.trim_ascii();
        (is_method(method) && !uri.is_empty()).then_some(Self::Request { method, uri })
    }
}

/// A head: first line, and the header fields of interest, each as it stood first, perhaps folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) start: Start<'a>,
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
    pub(super) call_id: &'a [u8],
    pub(super) cseq: &'a [u8],
    pub(super) via: &'a [u8],
    pub(super) contact: &'a [u8],
    pub(super) user_agent: &'a [u8],
    pub(super) server: &'a [u8],
    /// Content-Length; 0 if there is none that is a number.
    pub(super) content_length: u64,
}

impl<'a> Head<'a> {
    /// Reads from the first line to the empty one, which may be missing.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        // A datagram may end within its first line.
        let (line, len) = line::first(bytes).unwrap_or((bytes, bytes.len()));
        let mut head = Self {
            start: Start::parse(line)?,
            from: b"",
            to: b"",
            call_id: b"",
            cseq: b"",
            via: b"",
            contact: b"",
            user_agent: b"",
            server: b"",
            content_length: 0,
        };
        line::Lines::new(bytes.get(len..)?, true).for_each(|line| head.note(line));
        Some(head)
    }

    /// RFC 3261 section 7.3.3 has the compact forms.
    fn note(&mut self, line: &'a [u8]) {
        let (field, value) = match line.first().map(u8::to_ascii_lowercase) {
            Some(b'f') => (&mut self.from, line::value(line, b"from").or_else(|| line::value(line, b"f"))),
            Some(b't') => (&mut self.to, line::value(line, b"to").or_else(|| line::value(line, b"t"))),
            Some(b'i') => (&mut self.call_id, line::value(line, b"i")),
            Some(b'v') => (&mut self.via, line::value(line, b"via").or_else(|| line::value(line, b"v"))),
            Some(b'm') => (&mut self.contact, line::value(line, b"m")),
            Some(b's') => (&mut self.server, line::value(line, b"server")),
            Some(b'u') => (&mut self.user_agent, line::value(line, b"user-agent")),
            Some(b'l') => return self.length(line::value(line, b"l")),
            Some(b'c') => {
                let (cseq, call_id) = (line::value(line, b"cseq"), line::value(line, b"call-id"));
                match (cseq, call_id, line::value(line, b"content-length")) {
                    (Some(_), ..) => (&mut self.cseq, cseq),
                    (_, Some(_), _) => (&mut self.call_id, call_id),
                    (.., length @ Some(_)) => return self.length(length),
                    _ => (&mut self.contact, line::value(line, b"contact")),
                }
            }
            _ => return,
        };
        if field.is_empty() {
            *field = value.unwrap_or_default();
        }
    }

    fn length(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.content_length = str::from_utf8(value).ok().and_then(|v| v.parse().ok()).unwrap_or(0);
        }
    }
}

/// The octets outside of quoted strings, with their offsets.
fn unquoted(value: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut in_quotes = false;
    let mut is_escaped = false;
    value.iter().copied().enumerate().filter(move |&(_, b)| {
        let was_in_quotes = in_quotes;
        match b {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_quotes => is_escaped = true,
            b'"' => in_quotes = !in_quotes,
            _ => {}
        }
        !in_quotes && !was_in_quotes
    })
}

/// The URI of a name-addr, with its parameters, or of an addr-spec, after which parameters are the header field's
/// (RFC 3261 section 20.10); empty if there is none.
pub(super) fn uri(value: &[u8]) -> &[u8] {
    let bracket = unquoted(value).find(|&(_, b)| b == b'<').map(|(at, _)| at);
    let rest = value.get(bracket.map_or(0, |at| at + 1)..).unwrap_or_default().trim_ascii_start();
    let ends = |&b: &u8| b == b'>' || b.is_ascii_whitespace() || (bracket.is_none() && matches!(b, b';' | b'?'));
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    let uri = rest.get(..end).unwrap_or_default();
    if uri.contains(&b':') { uri } else { b"" }
}

/// The first of several values that commas separate.
pub(super) fn first_value(value: &[u8]) -> &[u8] {
    let mut in_brackets = false;
    let comma = unquoted(value).find(|&(_, b)| {
        match b {
            b'<' => in_brackets = true,
            b'>' => in_brackets = false,
            _ => {}
        }
        b == b',' && !in_brackets
    });
    value.get(..comma.map_or(value.len(), |(at, _)| at)).unwrap_or_default().trim_ascii_end()
}
