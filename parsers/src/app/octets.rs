// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sets of octets.

use std::ops::RangeInclusive;

/// A set of octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Octets([bool; 256]);

impl Octets {
    /// None.
    pub const NONE: Self = Self([false; 256]);
    /// What lines of text are made of, in ASCII: with blanks and ends of lines.
    pub const TEXT: Self = Self::from(b' '..=b'~').and(b"\t\r\n");
    /// Upper and lower case.
    pub const LETTERS: Self = Self::NONE.and_from(b'A'..=b'Z').and_from(b'a'..=b'z');

    /// These.
    #[must_use]
    pub const fn of(octets: &[u8]) -> Self {
        Self::NONE.and(octets)
    }

    /// Those of a range.
    #[must_use]
    pub const fn from(range: RangeInclusive<u8>) -> Self {
        Self::NONE.and_from(range)
    }

    /// These as well.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "an octet is always an index of 256, and constants have no iterators")]
    pub const fn and(mut self, octets: &[u8]) -> Self {
        let mut i = 0;
        while i < octets.len() {
            self.0[octets[i] as usize] = true;
            i += 1;
        }
        self
    }

    /// Those of a range as well.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "an octet is always an index of 256, and constants have no iterators")]
    pub const fn and_from(mut self, range: RangeInclusive<u8>) -> Self {
        let mut octet = *range.start() as usize;
        while octet <= *range.end() as usize {
            self.0[octet] = true;
            octet += 1;
        }
        self
    }

    /// Whether an octet is one of them.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "an octet is always an index of 256")]
    pub const fn has(&self, octet: u8) -> bool {
        self.0[octet as usize]
    }
}
