// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines and header fields, as the text protocols share them (RFC 5322 section 2.2, RFC 9112 section 2.2).
//!
//! A line ends with LF; a CR in front of it belongs to the end. Nothing is copied.

use super::Octets;

/// Index of an octet where it stands first.
pub(super) fn find(bytes: &[u8], octet: u8) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        // Octets that are the one looked for become zero; the lowest zero gets the lowest high bit.
        let differs = u64::from_le_bytes(*word) ^ (ONES * u64::from(octet));
        let found = differs.wrapping_sub(ONES) & !differs & HIGH;
        if found != 0 {
            return Some(8 * i + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&b| b == octet).map(|at| 8 * words.len() + at)
}

/// Index of the first LF that is followed by a dot.
pub(super) fn dot_line(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let is_it = |lf: u8, dot: u8| (lf == b'\n') & (dot == b'.');
    let mut at = 0;
    // Without a branch for each octet, so that many are compared at once.
    while let (Some(lfs), Some(dots)) = (bytes.get(at..at + BLOCK), bytes.get(at + 1..=at + BLOCK)) {
        if lfs.iter().zip(dots).fold(false, |any, (&lf, &dot)| any | is_it(lf, dot)) {
            break;
        }
        at += BLOCK;
    }
    bytes.get(at..)?.windows(2).position(|w| matches!(w, [lf, dot] if is_it(*lf, *dot))).map(|found| at + found)
}

/// Appends a number in decimal digits.
pub(super) fn decimal(mut number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut first = digits.len();
    for (i, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        first = i;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Appends octets in hexadecimal digits.
pub(super) fn hexadecimal(octets: &[u8], out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for octet in octets {
        out.extend([octet >> 4, octet & 0x0f].map(|half| DIGITS[usize::from(half)]));
    }
}

/// Whether there is a control character other than CR.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |any, &b| any | (b.is_ascii_control() & (b != b'\r')))
}

/// What a method of HTTP or SIP is made of. The standards allow more, but nobody uses it, and it would look like anything.
pub(super) const METHOD: Octets = Octets::from(b'A'..=b'Z').and_from(b'0'..=b'9').and(b"-_");

/// What may stand in the target of a request, and around it.
pub(super) const TARGET: Octets = Octets::TEXT.and_from(0x80..=0xff);

/// Whether these octets can be a method of HTTP or SIP.
pub(super) const fn is_method_octet(octet: u8) -> bool {
    METHOD.has(octet)
}

/// Whether a request line may begin so: a word of at most `max` octets, and then nothing, a space or the end of the line.
pub(super) fn may_begin_with_method(bytes: &[u8], max: usize) -> bool {
    let len = bytes.iter().take(max + 1).take_while(|&&b| is_method_octet(b)).count();
    (1..=max).contains(&len) && matches!(bytes.get(len), None | Some(b' ' | b'\r' | b'\n'))
}

/// Whether octets begin with a word of letters and digits that is longer than `max`: so that nobody looks for its end.
pub(super) fn has_longer_word(bytes: &[u8], max: usize) -> bool {
    bytes.get(..=max).is_some_and(|word| word.iter().all(u8::is_ascii_alphanumeric))
}

/// Whether octets without the end of a line may become this word, in any case, or are it with what follows it.
pub(super) fn may_become(bytes: &[u8], word: &[u8]) -> bool {
    let len = bytes.len().min(word.len());
    let is_same = bytes.get(..len).is_some_and(|b| word.get(..len).is_some_and(|w| w.eq_ignore_ascii_case(b)));
    is_same && matches!(bytes.get(word.len()), None | Some(b' ' | b'\r'))
}

/// The first line without its end, and its length with it; `None` while there is no LF.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let lf = find(bytes, b'\n')?;
    let line = bytes.get(..lf)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), lf + 1))
}

/// One step through lines of which not all is read.
pub(super) enum Stepped<'a> {
    /// A line without its end, or the beginning of one that is too long, and the octets with the end.
    Line(&'a [u8], usize),
    /// The line has not ended yet.
    More,
    /// So many octets are the rest of a line that was too long.
    Rest(usize),
}

/// The next line, of which at most `max` octets are read. `in_line` is whether the rest of one is to be passed over.
pub(super) fn step<'a>(bytes: &'a [u8], max: usize, in_line: &mut bool) -> Stepped<'a> {
    if *in_line {
        let end = find(bytes, b'\n').map(|lf| lf + 1);
        *in_line = end.is_none();
        return Stepped::Rest(end.unwrap_or(bytes.len()));
    }
    let within = bytes.get(..max).unwrap_or(bytes);
    match first(within) {
        Some((line, len)) => Stepped::Line(line, len),
        None if within.len() == max => {
            *in_line = true;
            Stepped::Line(within, max)
        }
        None => Stepped::More,
    }
}

/// Length of a head with the empty line that ends it; `None` while it is not there.
pub(super) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let (line, len) = first(bytes.get(at..)?)?;
        at += len;
        if line.is_empty() {
            return Some(at);
        }
    }
}

/// The whole lines at the beginning: all up to the last LF.
pub(super) fn whole(bytes: &[u8]) -> &[u8] {
    bytes.iter().rposition(|&b| b == b'\n').and_then(|lf| bytes.get(..=lf)).unwrap_or_default()
}

/// Number of CR and LF at the beginning.
pub(super) fn empty_lines(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count()
}

/// What follows a few empty lines, as some put them in front of a message (RFC 9112 section 2.2, RFC 5626 section 4.4.1).
pub(super) fn after_empty(bytes: &[u8]) -> &[u8] {
    bytes.get(empty_lines(bytes).min(8)..).unwrap_or_default()
}

/// Name and value of a header line; `None` if it is none. White space between name and colon is tolerated.
pub(super) fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| (name, line.get(colon + 1..).unwrap_or_default().trim_ascii()))
}

/// The value of a header line that has this name, in lower case; `None` if it has another, or is none. As [`header`] tells
/// them, but most lines need no more than a look at their beginning.
#[inline(always)]
pub(super) fn value<'a, const N: usize>(line: &'a [u8], name: &[u8; N]) -> Option<&'a [u8]> {
    let (begins, rest) = line.split_first_chunk::<N>()?;
    // Without a branch for each octet, so that all are compared at once.
    let differs = begins.iter().zip(name).fold(0, |differs, (octet, wanted)| {
        let case = if wanted.is_ascii_lowercase() { 0x20 } else { 0 };
        differs | ((octet | case) ^ wanted)
    });
    if differs != 0 {
        return None;
    }
    Some(rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii())
}

/// Whether a line continues the one before it.
pub(super) fn is_folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// The parts of a folded value, each without the white space around it; a space belongs between them.
pub(super) fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).filter(|p| !p.is_empty())
}

/// Lines of a head after its first, in order, each with its folds. An empty line ends it.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    may_be_cut: bool,
    has_ended: bool,
}

impl<'a> Lines<'a> {
    /// The lines of a head, of which these octets follow the first line. `may_be_cut`: the last one may lack its end.
    pub(super) fn new(rest: &'a [u8], may_be_cut: bool) -> Self {
        Self { rest, may_be_cut, has_ended: false }
    }

    /// Octets that were not read: those after the empty line, if there is one.
    #[allow(dead_code, reason = "not every set of parsers goes on behind a head")]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether the empty line was read.
    #[allow(dead_code, reason = "not every set of parsers goes on behind a head")]
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Length of a line, with its end.
    fn line(&self, bytes: &[u8]) -> Option<usize> {
        match find(bytes, b'\n') {
            Some(lf) => Some(lf + 1),
            None if self.may_be_cut && !bytes.is_empty() => Some(bytes.len()),
            None => None,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.has_ended {
            return None;
        }
        let mut len = self.line(self.rest)?;
        self.has_ended = matches!(self.rest, [b'\n', ..] | [b'\r', b'\n', ..]);
        while !self.has_ended
            && let Some(next) = self.rest.get(len..).filter(|next| is_folded(next))
            && let Some(more) = self.line(next)
        {
            len += more;
        }
        let (line, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        (!self.has_ended).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_lf_with_or_without_cr() {
        assert_eq!(first(b"a\r\nb"), Some((&b"a"[..], 3)));
        assert_eq!(first(b"a\nb"), Some((&b"a"[..], 2)));
        assert_eq!(first(b"a\r"), None);
        assert_eq!(end_of_head(b"a\r\nb: c\r\n\r\nbody"), Some(11));
        assert_eq!(end_of_head(b"a\nb: c\n\nbody"), Some(8));
        assert_eq!(end_of_head(b"a\r\nb: c\r\n\r"), None);
        assert_eq!(whole(b"a\nb\nc"), b"a\nb\n");
    }

    #[test]
    fn what_is_found_is_found_first_wherever_it_is() {
        for len in 0..200 {
            for at in 0..len {
                let mut bytes: Vec<u8> = (0..len).map(|i| if i % 3 == 0 { b'\n' ^ 0x80 } else { b'\n' + 1 }).collect();
                assert_eq!((find(&bytes, b'\n'), dot_line(&bytes)), (None, None));
                bytes[at] = b'\n';
                assert_eq!(find(&bytes, b'\n'), Some(at));
                assert_eq!(dot_line(&bytes), None);
                if let Some(next) = bytes.get_mut(at + 1) {
                    *next = b'.';
                    assert_eq!(dot_line(&bytes), Some(at));
                }
                bytes[len - 1] = b'\n';
                assert_eq!(find(&bytes, b'\n'), Some(at));
            }
        }
    }

    #[test]
    fn decimal_digits() {
        for number in [0, 9, 10, 65_535, 4_294_967_295] {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn folded_and_broken_header_lines() {
        let head = b"A: 1\r\nno header\r\nB : 2\r\n\t3 \r\n  4\r\n: 5\r\nC:\r\n\r\nD: 6\r\n";
        let mut lines = Lines::new(head, false);
        let fields: Vec<_> = lines
            .by_ref()
            .filter_map(header)
            .map(|(name, value)| (name.to_vec(), parts(value).map(<[u8]>::to_vec).collect::<Vec<_>>()))
            .collect();
        assert!(lines.has_ended());
        assert_eq!(lines.rest(), b"D: 6\r\n");
        let expected: Vec<(Vec<u8>, Vec<Vec<u8>>)> = vec![
            (b"A".to_vec(), vec![b"1".to_vec()]),
            (b"B".to_vec(), vec![b"2".to_vec(), b"3".to_vec(), b"4".to_vec()]),
            (b"C".to_vec(), vec![]),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn the_last_line_counts_only_where_it_may_be_cut() {
        for (head, whole, all) in [("A: 1\n 2\nB: 3", 1, 2), ("A: 1\n 2", 1, 1), ("A: 1", 0, 1), ("", 0, 0)] {
            assert_eq!(Lines::new(head.as_bytes(), false).count(), whole, "{head}");
            assert_eq!(Lines::new(head.as_bytes(), true).count(), all, "{head}");
        }
    }

    #[test]
    fn a_value_by_its_name_is_that_of_the_header_line() {
        for line in ["Via: x \r\n", "vIA \t: x\r\n", "via:", "Via", "Vi a: x", "Via-2: x", " via: x", "Via x: y"] {
            let read = header(line.as_bytes()).filter(|(name, _)| name.eq_ignore_ascii_case(b"via"));
            assert_eq!(value(line.as_bytes(), b"via"), read.map(|(_, value)| value), "{line}");
        }
    }
}
