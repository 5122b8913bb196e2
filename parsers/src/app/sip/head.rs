// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start lines, header fields, and the addresses within them.

use crate::app::line;

/// Octets of a message by which it is known. Together with empty lines in front, no more than what a session keeps for probes.
const MAX_SHAPE: usize = 500;
/// Longest method.
const MAX_METHOD: usize = 64;
const VERSION: &[u8] = b"SIP/2.0";

/// Which methods are taken for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Methods {
    /// Those in upper case, as in all standards: for octets of which nothing else is known, and more may come.
    Usual,
    /// Any token (RFC 3261 section 25.1).
    Any,
}

impl Methods {
    fn has(self, octet: u8) -> bool {
        let is_usual = line::is_method_octet(octet);
        is_usual || (self == Self::Any && (octet.is_ascii_lowercase() || b".!%*+`'~".contains(&octet)))
    }

    /// Whether a request line may begin so: a method, and then nothing, a space or the end of the line.
    fn may_begin(self, bytes: &[u8]) -> bool {
        let len = bytes.iter().take(MAX_METHOD + 1).take_while(|&&b| self.has(b)).count();
        (1..=MAX_METHOD).contains(&len) && matches!(bytes.get(len), None | Some(b' ' | b'\r' | b'\n'))
    }

    fn is_method(self, bytes: &[u8]) -> bool {
        !bytes.is_empty() && bytes.len() <= MAX_METHOD && bytes.iter().all(|&b| self.has(b))
    }
}

/// Whether octets begin as a version does, as far as they reach. Its case does not matter (RFC 3261 section 7.1).
fn may_begin_with_version(bytes: &[u8]) -> bool {
    bytes.iter().zip(VERSION).all(|(b, v)| b.eq_ignore_ascii_case(v))
}

/// What follows a version.
fn after_version(line: &[u8]) -> Option<&[u8]> {
    let (version, rest) = line.split_at_checked(VERSION.len())?;
    version.eq_ignore_ascii_case(VERSION).then_some(rest)
}

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
pub(super) fn shape(bytes: &[u8], is_all: bool, methods: Methods) -> Shape {
    let bytes = bytes.get(..MAX_SHAPE).unwrap_or(bytes);
    if bytes.is_empty() && !is_all {
        return Shape::More;
    }
    if !may_begin_with_version(bytes) && !methods.may_begin(bytes) {
        return Shape::None;
    }
    let is_all = is_all || bytes.len() == MAX_SHAPE;
    if is_all && !bytes.contains(&b' ') {
        // Either kind of first line has one.
        return Shape::None;
    }
    let line = line::first(bytes).map(|(line, _)| line);
    let beginning = line.unwrap_or(bytes);
    let may_be_response = may_begin_with_version(beginning);
    let method = beginning.split(|&b| b == b' ').next().unwrap_or_default();
    let uri = beginning.get(method.len() + 1..).unwrap_or_default();
    let may_be_request = methods.is_method(method) && !line::has_control(uri);
    match (line, is_all) {
        _ if !may_be_request && !may_be_response => Shape::None,
        (Some(line), _) if Start::parse(line, methods).is_some() => Shape::Message,
        (Some(_), _) => Shape::None,
        (None, false) => Shape::More,
        // A Request-URI that is longer than what is looked at.
        (None, true) if may_be_request && [&b"sip:"[..], b"sips:", b"tel:"].iter().any(|s| uri.starts_with(s)) => {
            Shape::Message
        }
        (None, true) => Shape::None,
    }
}

/// What the first line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start<'a> {
    Request { method: &'a [u8], uri: &'a [u8] },
    Response { status: u16 },
}

impl<'a> Start<'a> {
    fn parse(line: &'a [u8], methods: Methods) -> Option<Self> {
        let line = line.trim_ascii_end();
        if let Some(rest) = after_version(line).and_then(|rest| rest.strip_prefix(b" ")) {
            let [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = rest.trim_ascii_start() else {
                return None;
            };
            let status = [a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
            return matches!(rest.first(), None | Some(b' ')).then_some(Self::Response { status });
        }
        let (rest, version) = line.split_at_checked(line.len().checked_sub(VERSION.len())?)?;
        let rest = rest.strip_suffix(b" ").filter(|_| version.eq_ignore_ascii_case(VERSION))?;
        let space = rest.iter().position(|&b| b == b' ')?;
        let (method, uri) = rest.split_at_checked(space)?;
        let uri = uri.trim_ascii();
        (methods.is_method(method) && !uri.is_empty()).then_some(Self::Request { method, uri })
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
    pub(super) authorization: &'a [u8],
    pub(super) proxy_authorization: &'a [u8],
    pub(super) content_type: &'a [u8],
    /// Content-Length; `None` if there is none that is a number.
    pub(super) content_length: Option<u64>,
    /// Octets behind the empty line.
    pub(super) behind: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads from the first line to the empty one, which may be missing.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        // A datagram may end within its first line.
        let (line, len) = line::first(bytes).unwrap_or((bytes, bytes.len()));
        let mut head = Self {
            start: Start::parse(line, Methods::Any)?,
            from: b"",
            to: b"",
            call_id: b"",
            cseq: b"",
            via: b"",
            contact: b"",
            user_agent: b"",
            server: b"",
            authorization: b"",
            proxy_authorization: b"",
            content_type: b"",
            content_length: None,
            behind: b"",
        };
        let mut lines = line::Lines::new(bytes.get(len..)?, true);
        lines.by_ref().for_each(|line| head.note(line));
        head.behind = lines.rest();
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
            Some(b'a') => (&mut self.authorization, line::value(line, b"authorization")),
            Some(b'p') => (&mut self.proxy_authorization, line::value(line, b"proxy-authorization")),
            Some(b'c') => {
                let (cseq, call_id) = (line::value(line, b"cseq"), line::value(line, b"call-id"));
                match (cseq, call_id, line::value(line, b"content-length")) {
                    (Some(_), ..) => (&mut self.cseq, cseq),
                    (_, Some(_), _) => (&mut self.call_id, call_id),
                    (.., length @ Some(_)) => return self.length(length),
                    _ => match line::value(line, b"contact") {
                        contact @ Some(_) => (&mut self.contact, contact),
                        None => {
                            let kind = line::value(line, b"content-type").or_else(|| line::value(line, b"c"));
                            (&mut self.content_type, kind)
                        }
                    },
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
            self.content_length = str::from_utf8(value).ok().and_then(|v| v.parse().ok());
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

/// The user name of credentials (RFC 7616 section 3.4), as it stands between the quotation marks; empty if there is none.
pub(super) fn user(credentials: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"username";
    // The scheme ends with a space.
    let scheme = credentials.iter().position(u8::is_ascii_whitespace).unwrap_or(credentials.len());
    let mut rest = credentials.get(scheme..).unwrap_or_default();
    while !rest.is_empty() {
        let comma = unquoted(rest).find(|&(_, b)| b == b',').map_or(rest.len(), |(at, _)| at);
        let (parameter, others) = rest.split_at_checked(comma).unwrap_or_default();
        rest = others.get(1..).unwrap_or_default();
        let parameter = parameter.trim_ascii();
        let Some((name, value)) = parameter.split_at_checked(NAME.len()) else { continue };
        if name.eq_ignore_ascii_case(NAME)
            && let Some(value) = value.trim_ascii_start().strip_prefix(b"=")
        {
            let value = value.trim_ascii_start();
            // No further than the value goes, whatever is not closed: a digest may follow.
            let (value, end) = match value.strip_prefix(b"\"") {
                Some(quoted) => (quoted, end_of_quoted(quoted)),
                None => (value, Some(value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len()))),
            };
            return end.and_then(|end| value.get(..end)).unwrap_or_default();
        }
    }
    b""
}

/// Where a quoted string ends that began before these octets.
fn end_of_quoted(value: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    value.iter().position(|&b| {
        let ends = b == b'"' && !is_escaped;
        is_escaped = b == b'\\' && !is_escaped;
        ends
    })
}

/// Whether a From or To has a tag: a request without one in To begins a dialogue (RFC 3261 section 12.1).
pub(super) fn has_tag(value: &[u8]) -> bool {
    let mut in_brackets = false;
    let mut parameters = unquoted(value).filter(|&(_, b)| {
        match b {
            b'<' => in_brackets = true,
            b'>' => in_brackets = false,
            _ => {}
        }
        b == b';' && !in_brackets
    });
    parameters.any(|(at, _)| {
        let name = value.get(at + 1..).unwrap_or_default().trim_ascii_start();
        name.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"tag"))
            && name.get(3..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
    })
}

/// The number that ipfixprobe gives to a method.
pub(super) fn message_type(method: &[u8]) -> Option<u16> {
    Some(match method {
        b"INVITE" => 1,
        b"ACK" => 2,
        b"CANCEL" => 3,
        b"BYE" => 4,
        b"REGISTER" => 5,
        b"OPTIONS" => 6,
        b"PUBLISH" => 7,
        b"NOTIFY" => 8,
        b"INFO" => 9,
        b"SUBSCRIBE" => 10,
        _ => return None,
    })
}
