// SPDX-License-Identifier: MIT OR Apache-2.0
//! Structure of a message: boundaries (RFC 2046 section 5.1) and parameters (RFC 2045 section 5.1, RFC 2231, RFC 2047).

use crate::app::line;

/// Multiparts within multiparts that are followed.
const MAX_NESTED: usize = 4;

/// Longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// Most pieces of one parameter value (RFC 2231 section 3) that are put together.
const MAX_PIECES: usize = 20;

/// What a boundary is known by. Two that are the same by chance cost a part that is none, no more.
#[derive(Clone, Copy, Debug, Default)]
struct Boundary {
    hash: u64,
    len: u8,
}

/// Boundaries of the multiparts that are open, outermost first.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    open: [Boundary; MAX_NESTED],
    depth: usize,
}

/// What a line that begins with two hyphens is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delimiter {
    /// A multipart ends.
    Close,
    /// Text.
    None,
    /// A part begins, with its header section.
    Part,
}

impl Boundaries {
    /// Whether any line can be a delimiter.
    pub(super) const fn is_open(&self) -> bool {
        self.depth > 0
    }

    pub(super) fn clear(&mut self) {
        self.depth = 0;
    }

    /// Opens a multipart within the last one. One that is too deep is a part like any other.
    fn push(&mut self, boundary: &[u8]) {
        if let Some(place) = self.open.get_mut(self.depth)
            && (1..=MAX_BOUNDARY).contains(&boundary.len())
        {
            // At most 70, which fits.
            *place = Boundary { hash: hash(boundary), len: boundary.len() as u8 };
            self.depth += 1;
        }
    }

    /// Takes a line of a body. A delimiter of an outer multipart ends the inner ones (RFC 2046 section 5.1.2).
    pub(super) fn line(&mut self, line: &[u8]) -> Delimiter {
        let Some(line) = line.trim_ascii_end().strip_prefix(b"--") else { return Delimiter::None };
        let open = self.open.get(..self.depth).unwrap_or_default();
        let matches = |b: &Boundary| {
            line.split_at_checked(b.len.into()).filter(|(begins, _)| hash(begins) == b.hash).map(|(_, rest)| rest)
        };
        let found = open.iter().enumerate().rev().find_map(|(depth, b)| Some((depth, matches(b)?)));
        match found {
            Some((depth, b"")) => {
                self.depth = depth + 1;
                Delimiter::Part
            }
            Some((depth, b"--")) => {
                self.depth = depth;
                Delimiter::Close
            }
            _ => Delimiter::None,
        }
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Memory that decoding needs.
#[derive(Debug, Default)]
pub struct Text {
    plain: Vec<u8>,
    /// What was decoded last.
    pub(super) decoded: Vec<u8>,
}

/// What a Content-Type says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A part with content.
    Leaf,
    /// A message with a header section of its own (RFC 2046 section 5.2.1, RFC 6532 section 3.7).
    Message,
    /// Parts, whose boundary is open now.
    Parts,
}

/// Takes the value of a Content-Type.
pub(super) fn content_type(value: &[u8], boundaries: &mut Boundaries, text: &mut Text) -> Kind {
    let kind = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let starts = |start: &[u8]| kind.get(..start.len()).is_some_and(|k| k.eq_ignore_ascii_case(start));
    if starts(b"message/rfc822") || starts(b"message/global") && kind.len() == 14 {
        return Kind::Message;
    }
    if !starts(b"multipart/") {
        return Kind::Leaf;
    }
    if parameter(value, b"boundary", text) {
        boundaries.push(&text.decoded);
    }
    Kind::Parts
}

/// Puts the value of a parameter into `text`, decoded. False if there is none.
pub(super) fn parameter(value: &[u8], name: &[u8], text: &mut Text) -> bool {
    text.decoded.clear();
    if !extended(value, name, &mut text.decoded)
        && let Some((_, plain)) = Parameters::of(value).find(|(n, _)| n.eq_ignore_ascii_case(name))
    {
        text.plain.clear();
        text.plain.extend(unquoted(plain));
        // What RFC 2047 section 5 forbids in a parameter is what many programs send.
        decode_words(&text.plain, &mut text.decoded);
    }
    !text.decoded.is_empty()
}

/// The value in the form of RFC 2231: `name*`, or `name*0`, `name*1` and so on, with an asterisk behind those that are encoded.
fn extended(value: &[u8], name: &[u8], decoded: &mut Vec<u8>) -> bool {
    // What follows the first asterisk of the name, and the value.
    let pieces = || {
        Parameters::of(value).filter_map(|(n, v)| {
            let (begins, rest) = n.split_at_checked(name.len())?;
            Some((rest.strip_prefix(b"*").filter(|_| begins.eq_ignore_ascii_case(name))?, v))
        })
    };
    if let Some((_, whole)) = pieces().find(|(rest, _)| rest.is_empty()) {
        let (charset, text) = charset_of(whole);
        append(text, charset, decoded);
        return true;
    }
    let mut charset = None;
    for number in 0..MAX_PIECES {
        let is_encoded = |rest: &[u8]| {
            let digits = rest.strip_suffix(b"*").unwrap_or(rest);
            (str::from_utf8(digits).ok()?.parse() == Ok(number)).then_some(digits.len() < rest.len())
        };
        let found = pieces().find_map(|(rest, piece)| Some((is_encoded(rest)?, piece)));
        let Some((is_encoded, mut piece)) = found else { return number > 0 };
        if number == 0 && is_encoded {
            (charset, piece) = charset_of(piece);
        }
        append(piece, charset.filter(|_| is_encoded), decoded);
    }
    true
}

/// Character set and text of an encoded value. Without a known character set, the text is all of it.
fn charset_of(value: &[u8]) -> (Option<Charset>, &[u8]) {
    let mut parts = value.splitn(3, |&b| b == b'\'');
    let (Some(name), Some(_), Some(text)) = (parts.next(), parts.next(), parts.next()) else { return (None, value) };
    match Charset::by_name(name) {
        None => (None, value),
        charset => (charset, text),
    }
}

/// Appends a value that is percent-encoded in a character set, or one that is not encoded.
fn append(value: &[u8], charset: Option<Charset>, decoded: &mut Vec<u8>) {
    match charset {
        None => decoded.extend(unquoted(value)),
        Some(charset) => escaped(value, b'%').for_each(|b| charset.push(b, decoded)),
    }
}

/// Character sets that are turned into UTF-8.
#[derive(Clone, Copy, Debug)]
enum Charset {
    Latin1,
    Utf8,
}

impl Charset {
    fn by_name(name: &[u8]) -> Option<Self> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match () {
            () if is(b"utf-8") || is(b"us-ascii") || is(b"utf8") || name.is_empty() => Some(Self::Utf8),
            () if is(b"iso-8859-1") => Some(Self::Latin1),
            () => None,
        }
    }

    fn push(self, octet: u8, decoded: &mut Vec<u8>) {
        match self {
            Self::Latin1 => decoded.extend_from_slice(char::from(octet).encode_utf8(&mut [0; 4]).as_bytes()),
            Self::Utf8 => decoded.push(octet),
        }
    }
}

/// Appends a text with its encoded words (RFC 2047 section 2) decoded, as far as their character set is known.
fn decode_words(text: &[u8], decoded: &mut Vec<u8>) {
    let mut rest = text;
    let mut is_behind_word = false;
    while let Some(at) = rest.windows(2).position(|w| w == b"=?") {
        let (before, word) = rest.split_at(at);
        if let Some(read) = Word::first(word) {
            // White space between two encoded words belongs to neither (RFC 2047 section 6.2).
            if !is_behind_word || !before.trim_ascii().is_empty() {
                decoded.extend_from_slice(before);
            }
            read.decode(decoded);
            rest = word.get(read.len..).unwrap_or_default();
            is_behind_word = true;
        } else {
            let (begins, behind) = rest.split_at(at + 2);
            decoded.extend_from_slice(begins);
            rest = behind;
            is_behind_word = false;
        }
    }
    decoded.extend_from_slice(rest);
}

/// An encoded word in a known character set.
struct Word<'a> {
    charset: Charset,
    is_base64: bool,
    text: &'a [u8],
    /// Octets of all of it.
    len: usize,
}

impl<'a> Word<'a> {
    /// The word at the beginning, with its `=?`.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = bytes.get(2..)?.splitn(4, |&b| b == b'?');
        let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next()?.strip_prefix(b"=")?;
        let before = 2 + charset.len() + 1 + encoding.len() + 1;
        // A language may follow the character set (RFC 2231 section 5).
        let charset = Charset::by_name(charset.split(|&b| b == b'*').next()?)?;
        let is_base64 = match encoding {
            b"B" | b"b" => true,
            b"Q" | b"q" => false,
            _ => return None,
        };
        Some(Self { charset, is_base64, text, len: before + text.len() + 2 })
    }

    fn decode(&self, decoded: &mut Vec<u8>) {
        if self.is_base64 {
            base64(self.text).for_each(|b| self.charset.push(b, decoded));
        } else {
            escaped(self.text, b'=').for_each(|b| self.charset.push(if b == b'_' { b' ' } else { b }, decoded));
        }
    }
}

/// Octets of which some are written as two hexadecimal digits behind a mark.
fn escaped(text: &[u8], mark: u8) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digit = |b: &u8| char::from(*b).to_digit(16);
        let (octet, behind) = match rest {
            [first, high, low, behind @ ..] if *first == mark && digit(high).is_some() && digit(low).is_some() => {
                let value = digit(high).unwrap_or(0) << 4 | digit(low).unwrap_or(0);
                // Two digits, which fit.
                (value as u8, behind)
            }
            [first, behind @ ..] => (*first, behind),
            [] => return None,
        };
        rest = behind;
        Some(octet)
    })
}

/// Octets of a text in base64 (RFC 4648 section 4); what is not of its alphabet is passed over.
fn base64(text: &[u8]) -> impl Iterator<Item = u8> {
    let (mut bits, mut count) = (0u32, 0);
    let values = text.iter().filter_map(|&b| {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        Some(u32::from(value))
    });
    values.filter_map(move |value| {
        bits = bits << 6 | value;
        count += 6;
        (count >= 8).then(|| {
            count -= 8;
            // The eight bits that are complete.
            (bits >> count) as u8
        })
    })
}

/// A value without its quotes, and without the backslashes within them.
fn unquoted(value: &[u8]) -> impl Iterator<Item = u8> {
    let (inner, is_quoted) = value.strip_prefix(b"\"").map_or((value, false), |inner| (inner, true));
    let mut is_escaped = false;
    let mut has_ended = false;
    inner.iter().copied().filter(move |&b| {
        if is_quoted && !is_escaped && !has_ended {
            has_ended = b == b'"';
            is_escaped = b == b'\\';
            return !has_ended && !is_escaped;
        }
        is_escaped = false;
        !has_ended
    })
}

/// Names and values of the parameters behind a value; quotes are still there.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    fn of(value: &'a [u8]) -> Self {
        let mut parameters = Self { rest: value };
        parameters.part();
        parameters
    }

    /// What comes before the next semicolon that is not within quotes.
    fn part(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut is_quoted, mut is_escaped) = (false, false);
        let ends = |&b: &u8| {
            let was_escaped = is_escaped;
            is_escaped = is_quoted && !was_escaped && b == b'\\';
            is_quoted ^= b == b'"' && !was_escaped;
            b == b';' && !is_quoted
        };
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(part)
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = self.part()?;
            if let Some(equals) = line::find(part, b'=') {
                let (name, value) = part.split_at_checked(equals)?;
                return Some((name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(field: &str, name: &str) -> Option<String> {
        let mut text = Text::default();
        let found = parameter(field.as_bytes(), name.as_bytes(), &mut text);
        found.then(|| String::from_utf8(text.decoded).unwrap())
    }

    #[test]
    fn parameters_with_and_without_quotes() {
        let field = r#"attachment; size=1 ; FileName = "a;b \"c\" \\.txt" ; other=x; flag; name=plain.txt"#;
        assert_eq!(value(field, "filename").unwrap(), r#"a;b "c" \.txt"#);
        assert_eq!(value(field, "name").unwrap(), "plain.txt");
        assert_eq!(value(field, "flag"), None);
        assert_eq!(value("attachment; filename=\"not closed", "filename").unwrap(), "not closed");
        assert_eq!(value("filename=first is no parameter", "filename"), None);
        assert_eq!(value("a; filename=", "filename"), None);
    }

    /// The examples of RFC 2231 sections 3 and 4, and of RFC 5987.
    #[test]
    fn values_in_pieces_and_in_character_sets() {
        let url =
            r#"message/external-body; access-type=URL; URL*0="ftp://"; URL*1="cs.utk.edu/pub/moore/bulk-mailer.tar""#;
        assert_eq!(value(url, "url").unwrap(), "ftp://cs.utk.edu/pub/moore/bulk-mailer.tar");
        let title = "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A";
        assert_eq!(value(title, "title").unwrap(), "This is ***fun***");
        let all = r#"a/b; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2="isn't it!""#;
        assert_eq!(value(all, "title").unwrap(), "This is even more ***fun*** isn't it!");
        // In another order, beside a plain form, which is for those who cannot read this one.
        let both = "a; filename=_.txt; filename*1=.txt; filename*0*=UTF-8''%c3%bc%e2%82%ac";
        assert_eq!(value(both, "filename").unwrap(), "ü€.txt");
        assert_eq!(value("a; filename*=iso-8859-1'en'%A3%20rates", "filename").unwrap(), "£ rates");
        // Of a character set that is not known, nothing is decoded; a broken escape stays.
        assert_eq!(value("a; filename*=koi8-r''%F0", "filename").unwrap(), "koi8-r''%F0");
        assert_eq!(value("a; filename*=utf-8''%zz%4", "filename").unwrap(), "%zz%4");
    }

    #[test]
    fn encoded_words() {
        let words = |text: &str| {
            let mut decoded = Vec::new();
            decode_words(text.as_bytes(), &mut decoded);
            String::from_utf8(decoded).unwrap()
        };
        assert_eq!(words("=?utf-8?b?R3LDvMOfZSBhdXMgZGVtIELDvHJv?="), "Grüße aus dem Büro");
        assert_eq!(words("=?ISO-8859-1?Q?a?= =?ISO-8859-1*en?q?=FC_b?=.txt"), "aü b.txt");
        assert_eq!(words("a =?utf-8?Q?b?= c"), "a b c");
        for raw in ["=?koi8-r?B?8A==?=", "=?utf-8?X?a?=", "=?utf-8?Q?open", "=?", "=?=?", "a=?b", "100 %"] {
            assert_eq!(words(raw), raw);
        }
    }

    #[test]
    fn delimiters() {
        let mut b = Boundaries::default();
        let mut text = Text::default();
        assert_eq!(content_type(b"text/plain; boundary=x", &mut b, &mut text), Kind::Leaf);
        assert!(!b.is_open());
        assert_eq!(content_type(b"multipart/mixed; boundary=\"out er\"", &mut b, &mut text), Kind::Parts);
        assert_eq!(content_type(b"Multipart/Alternative; boundary=inner", &mut b, &mut text), Kind::Parts);
        assert_eq!(b.line(b"--inner"), Delimiter::Part);
        assert_eq!(b.line(b"--inner2"), Delimiter::None);
        assert_eq!(b.line(b"--inne"), Delimiter::None);
        assert_eq!(b.line(b"-- "), Delimiter::None);
        assert_eq!(b.line(b"--inner-- "), Delimiter::Close);
        assert_eq!(b.line(b"--inner"), Delimiter::None);
        assert_eq!(content_type(b"multipart/x; boundary=third", &mut b, &mut text), Kind::Parts);
        assert_eq!(b.line(b"--out er \t"), Delimiter::Part);
        assert_eq!(b.line(b"--third"), Delimiter::None);
        assert_eq!(b.line(b"--out er--"), Delimiter::Close);
        assert!(!b.is_open());
        for _ in 0..100 {
            content_type(b"multipart/x; boundary=deep", &mut b, &mut text);
        }
        assert_eq!(b.depth, MAX_NESTED);
        assert_eq!(content_type(b"message/rfc822", &mut b, &mut text), Kind::Message);
    }
}
