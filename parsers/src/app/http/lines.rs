// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The lines of a head, and the wanted header fields among them.
//!
//! A branch for each line that depends on how long it is, or on what its name is, is foreseen wrongly half of the time, and
//! costs more than the rest of the line. So the ends of lines are found 64 octets at a time, as bits of a number, and noted
//! four at once; each line is asked for its name in the same steps ([`super::names`]), and is noted where the next one that is
//! wanted belongs, to be overwritten by it if it is not.

use std::ops::Range;

use super::names::{self, Beginning, NAMES, Name, WINDOW};

/// Octets that are looked at together.
const BLOCK: usize = 64;
/// Lines that are noted before they are read.
const LINES: usize = 64;
/// Most header fields of a message that are kept. More are passed over; the first of each name is kept always.
const MOST: usize = 63;

/// A piece of a message: its beginning, and its end in the upper half.
type Piece = u64;

fn piece(range: Range<usize>) -> Piece {
    // A head has far less than four gigabytes.
    range.start as u64 | (range.end as u64) << 32
}

fn range(piece: Piece) -> Range<usize> {
    start(piece) as usize..end(piece) as usize
}

fn start(piece: Piece) -> u32 {
    piece as u32
}

fn end(piece: Piece) -> u32 {
    (piece >> 32) as u32
}

/// Header fields of a message, by name: pieces of its octets.
#[derive(Debug)]
pub(super) struct Found {
    /// The first of each name.
    first: [Piece; NAMES],
    /// All in their order, as far as there is room.
    all: [(Name, Piece); MOST + 1],
    count: usize,
    /// A bit for each name that is there.
    present: u32,
    /// Whether values go on in lines of their own.
    pub(super) is_folded: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self { first: [0; NAMES], all: [(Name::Unwanted, 0); MOST + 1], count: 0, present: 0, is_folded: false }
    }
}

impl Found {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        // What is not present is not looked at.
        self.count = 0;
        self.present = 0;
        self.is_folded = false;
    }

    /// Bits of the names that are there.
    pub(super) const fn present(&self) -> u32 {
        self.present & !Name::Unwanted.bit()
    }

    /// Whether there may be more than are kept.
    pub(super) const fn is_full(&self) -> bool {
        self.count == MOST
    }

    /// Notes a field. What is not wanted is overwritten by the next one.
    #[inline(always)]
    pub(super) fn note(&mut self, name: Name, range: Range<usize>) {
        let piece = piece(range);
        // All ones if there is one already. By arithmetic, since nobody can foresee it.
        let is_there = 0_u64.wrapping_sub(u64::from(self.present >> (name as u32) & 1));
        let first = &mut self.first[name as usize];
        *first = *first & is_there | piece & !is_there;
        self.present |= name.bit();
        self.all[self.count % (MOST + 1)] = (name, piece);
        self.count = (self.count + usize::from(name != Name::Unwanted)).min(MOST);
    }

    /// The field that ends where this line begins goes on to the end of it.
    #[cold]
    fn extend(&mut self, line: Range<usize>) {
        self.is_folded = true;
        let last = self.all.get_mut(self.count.wrapping_sub(1));
        if let Some((name, last)) = last.filter(|last| end(last.1) as usize == line.start) {
            *last = piece(start(*last) as usize..line.end);
            let first = &mut self.first[*name as usize];
            if end(*first) as usize == line.start {
                *first = *last;
            }
        }
    }

    /// The first field of this name; empty if there is none.
    #[inline]
    pub(super) fn piece(&self, name: Name) -> Range<usize> {
        if self.present & name.bit() == 0 { 0..0 } else { range(self.first[name as usize]) }
    }

    /// All fields of this name in their order.
    pub(super) fn pieces(&self, name: Name) -> impl Iterator<Item = Range<usize>> {
        let all = self.all.get(..self.count).unwrap_or_default();
        all.iter().filter(move |one| one.0 == name).map(|one| range(one.1))
    }
}

/// Ends of lines, found a few at a time.
#[derive(Debug)]
struct Ends {
    /// Index behind the LF of each; room for a whole block beyond those that are waited for.
    at: [u32; LINES + BLOCK],
    count: usize,
    /// Where the next block begins.
    next: usize,
    /// Line feeds of the block before, a bit for each octet.
    before: u64,
    /// The empty line was found: the last one is its end.
    has_ended: bool,
}

impl Default for Ends {
    fn default() -> Self {
        Self { at: [0; LINES + BLOCK], count: 0, next: 0, before: 0, has_ended: false }
    }
}

/// Bits of the octets that are LF.
#[inline(always)]
fn feeds(block: &[u8; BLOCK]) -> u64 {
    // Each octet becomes 0 or 1, many at a time; a multiplication brings the ones of eight octets together.
    let mut is_feed = [0; BLOCK];
    for (is_feed, octet) in is_feed.iter_mut().zip(block) {
        *is_feed = u8::from(*octet == b'\n');
    }
    let (words, _) = is_feed.as_chunks::<8>();
    let mut bits = 0;
    for (i, word) in words.iter().enumerate() {
        bits |= u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * i);
    }
    bits
}

impl Ends {
    fn begin(&mut self) {
        (self.count, self.next, self.before, self.has_ended) = (0, 0, 0, false);
    }

    /// Finds more ends. False if there are none left.
    fn find(&mut self, bytes: &[u8]) -> bool {
        self.count = 0;
        while self.count < LINES && !self.has_ended {
            let Some(rest) = bytes.get(self.next..).filter(|rest| !rest.is_empty()) else { break };
            match rest.first_chunk() {
                Some(block) => self.mark(bytes, feeds(block)),
                None => self.mark(bytes, last_feeds(bytes, rest)),
            }
        }
        self.count > 0
    }

    /// Notes the ends of one block.
    #[inline(always)]
    fn mark(&mut self, bytes: &[u8], mut feeds: u64) {
        // The LF behind one, or behind one and another octet, may end the empty line.
        let behind_one = feeds & (feeds << 1 | self.before >> (BLOCK - 1));
        let behind_two = feeds & (feeds << 2 | self.before >> (BLOCK - 2));
        self.before = feeds;
        if behind_one | behind_two != 0 {
            feeds = self.up_to_empty(bytes, feeds, behind_one, behind_two);
        }
        let mut count = feeds.count_ones();
        loop {
            // Four at once, be there so many or not.
            if let Some(four) = self.at.get_mut(self.count..).and_then(|room| room.first_chunk_mut::<4>()) {
                for at in four {
                    *at = (self.next + feeds.trailing_zeros() as usize + 1) as u32;
                    feeds &= feeds.wrapping_sub(1);
                }
            }
            self.count += count.min(4) as usize;
            if count <= 4 {
                break;
            }
            count -= 4;
        }
        self.next += BLOCK;
    }

    /// The bits up to the first empty line, if there is one.
    fn up_to_empty(&mut self, bytes: &[u8], feeds: u64, behind_one: u64, behind_two: u64) -> u64 {
        let mut candidates = behind_one | behind_two;
        while candidates != 0 {
            let bit = candidates.trailing_zeros();
            let is_cr = bytes.get((self.next + bit as usize).wrapping_sub(1)) == Some(&b'\r');
            if behind_one & 1 << bit != 0 || is_cr {
                self.has_ended = true;
                return feeds & u64::MAX >> (BLOCK as u32 - 1 - bit);
            }
            candidates &= candidates - 1;
        }
        feeds
    }
}

/// [`feeds`] of what is left and is no whole block.
fn last_feeds(bytes: &[u8], rest: &[u8]) -> u64 {
    if let Some(block) = bytes.last_chunk() {
        return feeds(block) >> (BLOCK - rest.len());
    }
    let mut block = [0; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    feeds(&block)
}

/// How far a head was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    /// Octets of the first line, with its end.
    pub(super) first: usize,
    /// Octets of all its lines.
    pub(super) octets: usize,
    /// Whether the empty line that ends it is among them.
    pub(super) is_whole: bool,
}

/// Memory for reading heads.
#[derive(Debug, Default)]
pub(super) struct Reader {
    ends: Ends,
    pub(super) found: Found,
}

impl Reader {
    /// Reads the whole lines up to the empty one. `None` if there is none yet.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Outline> {
        let Self { ends, found } = self;
        ends.begin();
        found.clear();
        let (mut first, mut at) = (None, 0);
        while ends.find(bytes) {
            let lines = ends.count - usize::from(ends.has_ended);
            for &end in ends.at.get(..lines).unwrap_or_default() {
                let end = end as usize;
                if first.is_none() {
                    first = Some(end);
                } else {
                    line(bytes, at..end, found);
                }
                at = end;
            }
            if ends.has_ended {
                at = ends.at.get(lines).map_or(at, |&end| end as usize);
            }
        }
        Some(Outline { first: first?, octets: at, is_whole: ends.has_ended })
    }
}

/// Notes one line.
#[inline(always)]
fn line(bytes: &[u8], line: Range<usize>, found: &mut Found) {
    let rest = bytes.get(line.start..).unwrap_or_default();
    let last;
    let window = match rest.first_chunk::<WINDOW>() {
        Some(window) => window,
        None => {
            last = last_window(rest);
            &last
        }
    };
    let Beginning { mut name, len, is_odd } = names::at(window);
    if matches!(window[0], b' ' | b'\t') {
        return found.extend(line);
    }
    let mut colon = line.start + len;
    if is_odd {
        match behind_space(bytes, colon..line.end) {
            Some(at) => colon = at,
            None => name = Name::Unwanted,
        }
    }
    found.note(name, colon + 1..line.end);
}

/// The index of a colon that only white space stands in front of.
#[cold]
fn behind_space(bytes: &[u8], within: Range<usize>) -> Option<usize> {
    let rest = bytes.get(within.clone())?;
    let at = rest.iter().position(|b| !b.is_ascii_whitespace())?;
    (rest.get(at) == Some(&b':')).then_some(within.start + at)
}

/// The last octets, with nothing behind them.
#[cold]
fn last_window(rest: &[u8]) -> [u8; WINDOW] {
    let mut window = [0; WINDOW];
    window.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    window
}
