// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of header fields that are wanted, and how a line is asked for its name without a branch that nobody can foresee.
//!
//! The first four octets of a line, in lower case, choose one candidate; where two names begin alike, one octet more decides.
//! All octets of the candidate are then compared at once, and that a colon follows. White space in front of the colon is
//! tolerated, but not of `Via`, of which the colon is one of the four. Most lines have a name that is not wanted: they take
//! the same way, and end with [`Name::Unwanted`].

/// A field that is wanted; those with a colon in front are of HTTP/2 (RFC 9113 section 8.3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Name {
    #[default]
    Unwanted,
    Authorization,
    ContentLength,
    ContentType,
    Cookie,
    Host,
    Location,
    ProxyAuthenticate,
    ProxyAuthorization,
    Referer,
    Server,
    SetCookie,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Via,
    WwwAuthenticate,
    XForwardedFor,
    /// `:authority`.
    Authority,
    /// `:method`.
    Method,
    /// `:path`.
    Path,
    /// `:scheme`.
    Scheme,
    /// `:status`.
    Status,
}

/// Number of names.
pub(super) const NAMES: usize = Name::Status as usize + 1;

impl Name {
    /// A bit for each name.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Those of header fields. Two that begin alike stand beside each other.
const FIELDS: [(&[u8], Name); 17] = [
    (b"authorization", Name::Authorization),
    (b"content-type", Name::ContentType),
    (b"content-length", Name::ContentLength),
    (b"cookie", Name::Cookie),
    (b"host", Name::Host),
    (b"location", Name::Location),
    (b"proxy-authenticate", Name::ProxyAuthenticate),
    (b"proxy-authorization", Name::ProxyAuthorization),
    (b"referer", Name::Referer),
    (b"server", Name::Server),
    (b"set-cookie", Name::SetCookie),
    (b"transfer-encoding", Name::TransferEncoding),
    (b"upgrade", Name::Upgrade),
    (b"user-agent", Name::UserAgent),
    (b"via", Name::Via),
    (b"www-authenticate", Name::WwwAuthenticate),
    (b"x-forwarded-for", Name::XForwardedFor),
];

const PSEUDO: [(&[u8], Name); 5] = [
    (b":authority", Name::Authority),
    (b":method", Name::Method),
    (b":path", Name::Path),
    (b":scheme", Name::Scheme),
    (b":status", Name::Status),
];

/// The name that these octets are, in lower case, as HTTP/2 has them.
pub(super) fn exact(name: &[u8]) -> Name {
    FIELDS.iter().chain(&PSEUDO).find(|known| known.0 == name).map_or(Name::Unwanted, |known| known.1)
}

/// Octets of a line that are compared: the longest name has 19, and a colon.
pub(super) const WINDOW: usize = 24;

/// The bit that makes letters lower, in each octet. It changes nothing of `-` and the colon.
const LOWER: u64 = u64::MAX / 0xff * 0x20;

/// What a line is compared with.
#[derive(Clone, Copy)]
struct Rule {
    words: [u64; WINDOW / 8],
    masks: [u64; WINDOW / 8],
    len: u8,
    name: Name,
}

/// A candidate.
#[derive(Clone, Copy)]
struct Candidate {
    /// Index among the rules; the next one is meant if the octet that stands `shift` bits above the ninth is this one.
    rule: u8,
    shift: u8,
    octet: u8,
}

/// Matches nothing: no octet with [`LOWER`] is zero.
const NOTHING: Rule = Rule { words: [0; 3], masks: [u64::MAX; 3], len: 0, name: Name::Unwanted };

const RULES: [Rule; 32] = {
    let mut rules = [NOTHING; 32];
    let mut i = 0;
    while i < FIELDS.len() {
        rules[i + 1] = rule(FIELDS[i].0, FIELDS[i].1);
        i += 1;
    }
    rules
};

const fn rule(name: &[u8], meaning: Name) -> Rule {
    let (mut words, mut masks) = ([0; WINDOW / 8], [0; WINDOW / 8]);
    let mut i = 0;
    while i < name.len() {
        words[i / 8] |= (name[i] as u64) << (i % 8 * 8);
        masks[i / 8] |= 0xff << (i % 8 * 8);
        i += 1;
    }
    Rule { words, masks, len: name.len() as u8, name: meaning }
}

/// The first four octets of a name with its colon.
const fn beginning(name: &[u8]) -> u32 {
    u32::from_le_bytes([name[0], name[1], name[2], if name.len() > 3 { name[3] } else { b':' }])
}

const BITS: u32 = 6;

const fn place(beginning: u32, factor: u32) -> usize {
    (beginning.wrapping_mul(factor) >> (32 - BITS)) as usize
}

/// Takes each beginning to a place of its own.
const FACTOR: u32 = {
    let mut factor: u32 = 0x9e37_79b1;
    while !separates(factor) {
        factor = factor.wrapping_add(0x0001_0002);
    }
    factor
};

const fn separates(factor: u32) -> bool {
    let mut i = 0;
    while i < FIELDS.len() {
        let mut j = i + 1;
        while j < FIELDS.len() {
            let (a, b) = (beginning(FIELDS[i].0), beginning(FIELDS[j].0));
            if a != b && place(a, factor) == place(b, factor) {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}

const CANDIDATES: [Candidate; 1 << BITS] = {
    let mut candidates = [Candidate { rule: 0, shift: 0, octet: 0 }; 1 << BITS];
    let mut i = 0;
    while i < FIELDS.len() {
        let at = place(beginning(FIELDS[i].0), FACTOR);
        if candidates[at].rule == 0 {
            candidates[at].rule = i as u8 + 1;
        } else {
            // The second of two: the first octet in which it differs tells it.
            let (one, other) = (FIELDS[i - 1].0, FIELDS[i].0);
            let mut differs = 0;
            while one[differs] == other[differs] {
                differs += 1;
            }
            assert!(differs >= 8 && differs < 16);
            candidates[at].shift = 8 * (differs as u8 - 8);
            candidates[at].octet = other[differs];
        }
        i += 1;
    }
    candidates
};

/// What a line begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Beginning {
    pub(super) name: Name,
    /// Octets of the name.
    pub(super) len: usize,
    /// The name is there, but another octet than a colon follows it.
    pub(super) is_odd: bool,
}

/// The name at the beginning of a line. A carriage return passes for a hyphen.
#[inline(always)]
pub(super) fn at(window: &[u8; WINDOW]) -> Beginning {
    let (words, _) = window.as_chunks::<8>();
    let [a, b, c] = [0, 1, 2].map(|i| words.get(i).map_or(0, |word| u64::from_le_bytes(*word) | LOWER));
    // The lower half, which is what is asked for.
    let candidate = CANDIDATES[place(a as u32, FACTOR) % CANDIDATES.len()];
    let octet = (b >> (candidate.shift % 64)) as u8;
    let index = usize::from(candidate.rule) + usize::from(octet == candidate.octet);
    let rule = &RULES[index % RULES.len()];
    let differs = ((a ^ rule.words[0]) & rule.masks[0])
        | ((b ^ rule.words[1]) & rule.masks[1])
        | ((c ^ rule.words[2]) & rule.masks[2]);
    // Without a branch, since what a line is called is hard to foresee: what is not wanted has the name of the first rule.
    let is_wanted = differs == 0;
    let name = RULES[index * usize::from(is_wanted) % RULES.len()].name;
    let len = usize::from(rule.len);
    let is_odd = is_wanted & (window[len.min(WINDOW - 1)] != b':');
    Beginning { name, len, is_odd }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(line: &[u8]) -> [u8; WINDOW] {
        let mut window = [0; WINDOW];
        window[..line.len()].copy_from_slice(line);
        window
    }

    #[test]
    fn every_name_is_found_in_any_case_and_nothing_else() {
        for (name, meaning) in FIELDS {
            let line = [name, b":"].concat();
            let expected = Beginning { name: meaning, len: name.len(), is_odd: false };
            assert_eq!(at(&window(&line)), expected, "{}", name.escape_ascii());
            assert_eq!(at(&window(&line.to_ascii_uppercase())), expected);
            // Of three letters the colon is one of the four octets that choose.
            assert_eq!(at(&window(name)).is_odd, name != b"via");
            assert_eq!(exact(name), meaning);
            for i in 0..name.len() {
                let mut other = line.clone();
                other[i] = if name[i] == b'!' { b'"' } else { b'!' };
                assert_eq!(at(&window(&other)).name, Name::Unwanted, "{}", other.escape_ascii());
            }
        }
        for other in
            [&b"accept:"[..], b"content-encoding:", b"content-language:", b"proxy-connection:", b"etag:", b"x: y", b""]
        {
            assert_eq!(at(&window(other)).name, Name::Unwanted, "{}", other.escape_ascii());
        }
    }
}
