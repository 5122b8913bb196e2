// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines and header fields, as the text protocols share them (RFC 5322 section 2.2, RFC 9112 section 2.2).
//!
//! A line ends with LF; a CR in front of it belongs to the end. Nothing is copied.

/// The first line without its end, and its length with it; `None` while there is no LF.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let lf = bytes.iter().position(|&b| b == b'\n')?;
    let line = bytes.get(..lf)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), lf + 1))
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

/// Whether a line continues the one before it.
pub(super) fn is_folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// The parts of a folded value, each without the white space around it; a space belongs between them.
pub(super) fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).filter(|p| !p.is_empty())
}

/// Header fields of a head, in order: name, and value with its folds. What is no header line is passed over; an empty line
/// ends it.
#[derive(Clone, Debug)]
pub(super) struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The fields of these lines, which begin after the start line. The last line may lack its end.
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (line, mut len) = first(self.rest).unwrap_or((self.rest, self.rest.len()));
            if line.is_empty() {
                return None;
            }
            loop {
                let rest = self.rest.get(len..).unwrap_or_default();
                if !is_folded(rest) {
                    break;
                }
                len += first(rest).map_or(rest.len(), |(_, len)| len);
            }
            let (whole, rest) = self.rest.split_at_checked(len)?;
            self.rest = rest;
            if !is_folded(whole)
                && let Some(field) = header(whole)
            {
                return Some(field);
            }
        }
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
    fn folded_and_broken_header_lines() {
        let head = b"A: 1\r\nno header\r\nB : 2\r\n\t3 \r\n  4\r\n: 5\r\nC:\r\n\r\nD: 6\r\n";
        let fields: Vec<_> = Headers::new(head)
            .map(|(name, value)| (name.to_vec(), parts(value).map(<[u8]>::to_vec).collect::<Vec<_>>()))
            .collect();
        let expected: Vec<(Vec<u8>, Vec<Vec<u8>>)> = vec![
            (b"A".to_vec(), vec![b"1".to_vec()]),
            (b"B".to_vec(), vec![b"2".to_vec(), b"3".to_vec(), b"4".to_vec()]),
            (b"C".to_vec(), vec![]),
        ];
        assert_eq!(fields, expected);
    }
}
