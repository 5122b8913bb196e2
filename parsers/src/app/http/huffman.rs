// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Huffman code of HPACK (RFC 7541 section 5.2, appendix B).
//!
//! The code is canonical: codes of one length are numbers that follow each other in the order of their symbols, and each length
//! goes on where the one before it ends. So the lengths of the appendix say all.

/// Symbols: the octets, and the end of a string.
const SYMBOLS: usize = 257;
const END: u16 = 256;
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// Bits of the code of each symbol.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Codes of one length.
#[derive(Clone, Copy)]
struct Row {
    bits: u8,
    /// The first one, at the upper end of 32 bits.
    first: u32,
    /// What the last one and all below it are less than, likewise; more than fits for the longest.
    end: u64,
    /// Index of its symbol among [`BY_CODE`].
    index: u16,
}

/// Symbols in the order of their codes.
const BY_CODE: [u16; SYMBOLS] = {
    let mut symbols = [0; SYMBOLS];
    let (mut at, mut bits) = (0, SHORTEST);
    while bits <= LONGEST {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == bits {
                symbols[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    symbols
};

const ROWS: [Row; LONGEST - SHORTEST + 1] = {
    let mut rows = [Row { bits: 0, first: 0, end: 0, index: 0 }; LONGEST - SHORTEST + 1];
    let (mut code, mut index, mut bits) = (0_u64, 0, SHORTEST);
    while bits <= LONGEST {
        let (mut count, mut symbol) = (0, 0);
        while symbol < SYMBOLS {
            count += (LENGTHS[symbol] as usize == bits) as u64;
            symbol += 1;
        }
        let left = 32 - bits;
        rows[bits - SHORTEST] =
            Row { bits: bits as u8, first: (code << left) as u32, end: (code + count) << left, index };
        index += count as u16;
        code = (code + count) << 1;
        bits += 1;
    }
    rows
};

/// Appends what a string says. `None` if it is no such string: what was appended then means nothing.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut octets = coded.iter();
    // Bits that are not read yet, at the upper end.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        while count <= u64::BITS - u8::BITS
            && let Some(&octet) = octets.next()
        {
            bits |= u64::from(octet) << (u64::BITS - u8::BITS - count);
            count += u8::BITS;
        }
        // What is left is less than an octet, and the beginning of the end of a string.
        if count < u8::BITS && bits == !(u64::MAX.checked_shr(count).unwrap_or(0)) {
            return Some(());
        }
        let next = (bits >> 32) as u32;
        let row = ROWS.iter().find(|row| u64::from(next) < row.end)?;
        let symbol = *BY_CODE.get(usize::from(row.index) + ((next - row.first) >> (32 - row.bits)) as usize)?;
        if u32::from(row.bits) > count || symbol == END {
            return None;
        }
        bits <<= row.bits;
        count -= u32::from(row.bits);
        out.push(u8::try_from(symbol).ok()?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_the_standard() {
        // RFC 7541 appendices C.4.1, C.4.3, C.6.1, C.6.3.
        let strings: [(&[u8], &[u8]); 5] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", b"www.example.com"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", b"custom-key"),
            (b"\x64\x02", b"302"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                b"Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (b"", b""),
        ];
        for (coded, plain) in strings {
            let mut out = Vec::new();
            assert_eq!((decode(coded, &mut out), &out[..]), (Some(()), plain));
        }
    }

    #[test]
    fn the_code_is_complete() {
        assert_eq!(ROWS[ROWS.len() - 1].end, 1 << 32);
        let mut seen = BY_CODE;
        seen.sort_unstable();
        assert!(seen.iter().enumerate().all(|(i, &symbol)| usize::from(symbol) == i));
    }

    #[test]
    fn padding_that_is_none_and_the_end_of_a_string() {
        // A symbol (0) and three bits that are not all one; eight bits of padding; the end of a string.
        for coded in [&b"\x00"[..], b"\x07\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc"] {
            assert_eq!(decode(coded, &mut Vec::new()), None, "{}", coded.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_end(coded in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            decode(&coded, &mut out);
            proptest::prop_assert!(out.len() <= coded.len() * 8 / SHORTEST);
        }
    }
}
