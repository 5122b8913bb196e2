// SPDX-License-Identifier: MIT OR Apache-2.0
//! From header fields to the fields of a transaction, for all versions of HTTP.

use std::ops::Range;

use weir_flow::{Memory, OnceText, OnceTexts, app::Http};

use super::{lines::Found, names::Name};
use crate::app::line;

/// Fields of requests that most requests do not have.
const RARE_IN_REQUESTS: u32 = Name::Authorization.bit()
    | Name::ContentLength.bit()
    | Name::ContentType.bit()
    | Name::Cookie.bit()
    | Name::ProxyAuthorization.bit()
    | Name::Via.bit()
    | Name::XForwardedFor.bit();

/// Fields of responses that most responses do not have.
const RARE_IN_RESPONSES: u32 = Name::Location.bit()
    | Name::ProxyAuthenticate.bit()
    | Name::SetCookie.bit()
    | Name::Via.bit()
    | Name::WwwAuthenticate.bit();

/// The header fields of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    /// What they are pieces of.
    pub(super) bytes: &'a [u8],
    pub(super) found: &'a Found,
}

impl<'a> Values<'a> {
    /// The first value of this name, perhaps folded; empty if there is none.
    #[inline]
    pub(super) fn value(self, name: Name) -> &'a [u8] {
        self.bytes.get(self.trimmed(self.found.piece(name))).unwrap_or_default()
    }

    /// All values of this name.
    fn values(self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        self.found.pieces(name).map(move |piece| self.bytes.get(self.trimmed(piece)).unwrap_or_default())
    }

    #[inline]
    fn trimmed(self, piece: Range<usize>) -> Range<usize> {
        let whole = self.bytes.get(piece.clone()).unwrap_or_default();
        let ending = whole.trim_ascii_start();
        let start = piece.start + (whole.len() - ending.len());
        start..start + ending.trim_ascii_end().len()
    }

    fn has(self, names: u32) -> bool {
        self.found.present() & names != 0
    }

    /// Sets a field to the first value of this name, if there is one.
    #[inline]
    fn set<const MAX: usize>(self, field: &mut OnceText<MAX>, name: Name, memory: &mut Memory) {
        if !self.has(name.bit()) {
            return;
        }
        if self.found.is_folded {
            let unfolded = line::parts(self.value(name)).collect::<Vec<_>>().join(&b' ');
            return field.set(&unfolded, memory);
        }
        field.set_piece(self.bytes, self.trimmed(self.found.piece(name)), memory);
    }

    /// Sets a field to all values of this name, with a comma between them (RFC 9110 section 5.3).
    fn set_joined<const MAX: usize>(self, field: &mut OnceText<MAX>, name: Name, memory: &mut Memory) {
        if !self.has(name.bit()) {
            return;
        }
        if self.found.pieces(name).nth(1).is_none() {
            return self.set(field, name, memory);
        }
        let joined = self.values(name).collect::<Vec<_>>().join(&b", "[..]);
        if !joined.is_empty() {
            field.set(&line::parts(&joined).collect::<Vec<_>>().join(&b' '), memory);
        }
    }

    /// Content-Length; `None` if there is none that is a number. Several that are the same count as one (RFC 9110 section
    /// 8.6), and of others the first is as good as any.
    #[inline]
    pub(super) fn content_length(self) -> Option<u64> {
        if !self.has(Name::ContentLength.bit()) {
            return None;
        }
        number(self.value(Name::ContentLength)).or_else(|| self.values(Name::ContentLength).find_map(number))
    }

    /// Whether the last transfer coding is `chunked` (RFC 9112 section 6.1).
    #[inline]
    pub(super) fn is_chunked(self) -> bool {
        const LAST: &[u8] = b"chunked";
        self.has(Name::TransferEncoding.bit())
            && self.values(Name::TransferEncoding).any(|value| {
                let end = value.len().saturating_sub(LAST.len());
                value.get(end..).is_some_and(|last| last.eq_ignore_ascii_case(LAST))
            })
    }

    /// Writes the fields of a request, but for those of its first line.
    #[inline]
    pub(super) fn request(self, http: &mut Http) {
        self.set(&mut http.request_host, Name::Host, &mut http.memory);
        self.set(&mut http.user_agent, Name::UserAgent, &mut http.memory);
        self.set(&mut http.referer, Name::Referer, &mut http.memory);
        if self.has(RARE_IN_REQUESTS) {
            self.rare_request(http);
        }
    }

    #[inline(never)]
    fn rare_request(self, http: &mut Http) {
        self.set(&mut http.request_content_type, Name::ContentType, &mut http.memory);
        self.content_length().into_iter().for_each(|length| http.request_content_length.set(length));
        self.set_joined(&mut http.forwarded_for, Name::XForwardedFor, &mut http.memory);
        self.set_joined(&mut http.via, Name::Via, &mut http.memory);
        if self.found.is_full() {
            http.memory.mark_cut();
        }
        let of_proxy = scheme(self.value(Name::ProxyAuthorization));
        let scheme = scheme(self.value(Name::Authorization)).or(of_proxy);
        http.authorization_scheme.set(scheme.unwrap_or_default(), &mut http.memory);
        for value in self.values(Name::Cookie) {
            for cookie in value.split(|&b| b == b';') {
                cookie_name(&mut http.cookie_names, cookie, &mut http.memory);
            }
        }
    }

    /// Writes the fields of a final response, but for those of its first line.
    #[inline]
    pub(super) fn response(self, http: &mut Http) {
        self.set(&mut http.content_type, Name::ContentType, &mut http.memory);
        self.set(&mut http.server, Name::Server, &mut http.memory);
        if self.has(RARE_IN_RESPONSES) {
            self.rare_response(http);
        }
    }

    #[inline(never)]
    fn rare_response(self, http: &mut Http) {
        self.set(&mut http.location, Name::Location, &mut http.memory);
        if http.via.is_empty() {
            self.set_joined(&mut http.via, Name::Via, &mut http.memory);
        }
        if self.found.is_full() {
            http.memory.mark_cut();
        }
        let of_proxy = challenge(self.value(Name::ProxyAuthenticate));
        let scheme = challenge(self.value(Name::WwwAuthenticate)).or(of_proxy);
        http.challenge_scheme.set(scheme.unwrap_or_default(), &mut http.memory);
        for value in self.values(Name::SetCookie) {
            let cookie = value.split(|&b| b == b';').next().unwrap_or_default();
            cookie_name(&mut http.set_cookie_names, cookie, &mut http.memory);
        }
    }

    /// Writes the protocol that a response changes to.
    pub(super) fn upgrade(self, http: &mut Http) {
        self.set(&mut http.upgrade, Name::Upgrade, &mut http.memory);
    }
}

/// The first number of a list.
fn number(value: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    let mut count = 0;
    for digit in value.iter().map_while(|b| b.is_ascii_digit().then(|| u64::from(b - b'0'))) {
        number = number.checked_mul(10)?.checked_add(digit)?;
        count += 1;
    }
    let ends = value.get(count).is_none_or(|&b| b == b',' || b.is_ascii_whitespace());
    (count > 0 && ends).then_some(number)
}

/// What stands in front of an equals sign. A cookie without one is a value without a name (RFC 6265 section 5.2), and
/// nobody's business.
fn cookie_name<const ITEMS: usize, const MAX: usize>(
    names: &mut OnceTexts<ITEMS, MAX>,
    cookie: &[u8],
    memory: &mut Memory,
) {
    let name = cookie.split(|&b| b == b'=').next().unwrap_or_default();
    if name.len() < cookie.len() && !name.trim_ascii().is_empty() {
        names.push(name.trim_ascii(), memory);
    }
}

/// The scheme of credentials; `None` if there is none. A word that nothing follows may be the credentials themselves.
fn scheme(credentials: &[u8]) -> Option<&[u8]> {
    let word = challenge(credentials)?;
    (word.len() < credentials.len()).then_some(word)
}

/// The scheme of a challenge; `None` if there is none.
fn challenge(value: &[u8]) -> Option<&[u8]> {
    const MOST: usize = 24;
    let word = value.split(u8::is_ascii_whitespace).next()?;
    let is_one = word.first().is_some_and(u8::is_ascii_alphabetic)
        && word.len() <= MOST
        && word.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    is_one.then_some(word)
}
