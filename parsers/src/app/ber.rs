// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values in the basic encoding rules of ASN.1 (X.690), as Kerberos, LDAP and SNMP have them: tag, length, content.
//!
//! Read one at a time, never nested by itself, so neither depth nor number is anybody's choice but the caller's. Tags of one
//! octet and lengths of at most four, definite, are all that those protocols have.

use crate::Cursor;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;

/// Tag and length of a value, and the octets that both take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) tag: u8,
    /// Octets of the content, which need not be there.
    pub(super) len: usize,
    /// Octets of tag and length.
    pub(super) own: usize,
}

/// What stands at the beginning of octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Begins {
    With(Header),
    /// Tag and length are not there to their end.
    TooShort,
    /// This is no value.
    Bad,
}

/// Reads tag and length. Each octet is judged when it is there.
pub(super) fn begins(bytes: &[u8]) -> Begins {
    let mut c = Cursor::new(bytes);
    let Some(tag) = c.u8() else { return Begins::TooShort };
    if tag & 0x1f == 0x1f {
        return Begins::Bad;
    }
    let Some(first) = c.u8() else { return Begins::TooShort };
    let more = match first {
        0..=0x7f => return Begins::With(Header { tag, len: first.into(), own: 2 }),
        0x81..=0x84 => usize::from(first & 0x7f),
        _ => return Begins::Bad,
    };
    let Some(octets) = c.take(more) else { return Begins::TooShort };
    let len = octets.iter().fold(0_u64, |len, &octet| len << 8 | u64::from(octet));
    match usize::try_from(len) {
        // Sums of few of them fit, wherever this runs.
        Ok(len) if len <= i32::MAX as usize => Begins::With(Header { tag, len, own: 2 + more }),
        _ => Begins::Bad,
    }
}

/// The next value: its tag and its content, which must be there to its end.
pub(super) fn next<'a>(c: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let Begins::With(header) = begins(c.rest()) else { return None };
    c.take(header.own)?;
    Some((header.tag, c.take(header.len)?))
}

/// The content of the next value, if it has this tag; else nothing is read.
pub(super) fn expect<'a>(c: &mut Cursor<'a>, tag: u8) -> Option<&'a [u8]> {
    if c.rest().first() != Some(&tag) {
        return None;
    }
    next(c).map(|value| value.1)
}

/// The content of the only value in these octets, if it has this tag: of one within an explicit tag.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    expect(&mut Cursor::new(bytes), tag)
}

/// An integer of at most four octets.
pub(super) fn integer(content: &[u8]) -> Option<i32> {
    let (&first, rest) = content.split_first()?;
    if rest.len() > 3 {
        return None;
    }
    Some(rest.iter().fold(i32::from(first.cast_signed()), |number, &octet| number << 8 | i32::from(octet)))
}

/// An integer of at most four octets that is not negative; a fifth, which is zero, may stand before them.
pub(super) fn unsigned(content: &[u8]) -> Option<u32> {
    let digits = content.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(content);
    if digits.is_empty() || digits.len() > 4 || content.first().is_some_and(|first| first & 0x80 != 0) {
        return None;
    }
    Some(digits.iter().fold(0, |number, &octet| number << 8 | u32::from(octet)))
}

/// Most numbers of an object identifier that are written.
const MAX_ARCS: usize = 64;

/// Appends an object identifier in dotted form; what is cut or too large ends it.
pub(super) fn write_oid(content: &[u8], out: &mut Vec<u8>) {
    let mut number = 0_u32;
    let mut arcs = 0;
    for &octet in content {
        if number > u32::MAX >> 7 {
            return;
        }
        number = number << 7 | u32::from(octet & 0x7f);
        if octet & 0x80 != 0 {
            continue;
        }
        if arcs == 0 {
            let first = (number / 40).min(2);
            super::line::decimal(first, out);
            number -= 40 * first;
        }
        out.push(b'.');
        super::line::decimal(number, out);
        number = 0;
        arcs += 1;
        if arcs == MAX_ARCS {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_lengths() {
        let with = |tag, len, own| Begins::With(Header { tag, len, own });
        for (bytes, expected) in [
            (&[][..], Begins::TooShort),
            (&[0x30], Begins::TooShort),
            (&[0x30, 5], with(0x30, 5, 2)),
            (&[0x30, 0x82, 1], Begins::TooShort),
            (&[0x30, 0x82, 1, 2], with(0x30, 258, 4)),
            (&[0x30, 0x84, 0, 0, 0, 1], with(0x30, 1, 6)),
            (&[0x30, 0x80], Begins::Bad),
            (&[0x30, 0x85], Begins::Bad),
            (&[0x1f], Begins::Bad),
        ] {
            assert_eq!(begins(bytes), expected, "{bytes:?}");
        }
        let mut c = Cursor::new(&[2, 1, 7, 4, 2, b'a']);
        assert_eq!(expect(&mut c, OCTET_STRING), None);
        assert_eq!(expect(&mut c, INTEGER), Some(&[7][..]));
        assert_eq!(next(&mut c), None);
    }

    #[test]
    fn integers() {
        for (content, signed, not_negative) in [
            (&[][..], None, None),
            (&[0], Some(0), Some(0)),
            (&[0x80], Some(-128), None),
            (&[0, 0x80], Some(128), Some(128)),
            (&[0xff, 0x7b], Some(-133), None),
            (&[0, 0xff, 0xff, 0xff, 0xff], None, Some(u32::MAX)),
            (&[1, 0, 0, 0, 0], None, None),
        ] {
            assert_eq!((integer(content), unsigned(content)), (signed, not_negative), "{content:?}");
        }
    }

    #[test]
    fn object_identifiers() {
        for (content, expected) in [
            (&[0x2b, 6, 1, 4, 1, 0x8b, 0x3a, 0x82, 0x94, 0x15][..], "1.3.6.1.4.1.1466.35349"),
            (&[0x88, 0x37], "2.999"),
            (&[0x2b, 0x86], "1.3"),
            (&[0x2b, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "1.3"),
            (&[], ""),
        ] {
            let mut out = Vec::new();
            write_oid(content, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
