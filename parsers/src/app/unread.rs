// SPDX-License-Identifier: MIT OR Apache-2.0
//! Octets of one direction that were offered to a parser, which left them until more have come.
//!
//! They lie in chunks of one size, whatever their number: what one flow gives back serves any other. Buffers that grow
//! would leave holes between them that the allocator can use for nothing that is as large.

use weir_flow::allocated;

use super::Budget;

/// Octets of a chunk: with what is beside them, and what an allocator notes of a block, two kilobytes.
const CHUNK: usize = 2016;

/// Chunks that are kept for later use.
const MAX_SPARE: usize = 1024;

/// Bytes that a chunk takes.
const HELD: usize = allocated(size_of::<Chunk>());

/// Part of what is unread.
#[derive(Debug)]
pub(super) struct Chunk {
    next: Option<Box<Self>>,
    /// Where the octets begin and end.
    start: u16,
    end: u16,
    bytes: [u8; CHUNK],
}

const _: () = assert!(HELD <= 2048);

impl Chunk {
    fn octets(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    /// Takes as many octets as there is room for; gives the others.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = self.bytes.get_mut(usize::from(self.end)..).unwrap_or_default();
        let (here, rest) = bytes.split_at(bytes.len().min(room.len()));
        room.iter_mut().zip(here).for_each(|(to, from)| *to = *from);
        self.end += here.len() as u16;
        rest
    }
}

/// Chunks that nobody uses, and the memory in which unread octets and those that follow them are put together.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    #[allow(clippy::vec_box, reason = "the boxes move to and from the lists")]
    spare: Vec<Box<Chunk>>,
    pub joined: Vec<u8>,
}

impl Chunks {
    /// Bytes charged for what is kept for later use.
    pub const fn spare(&self) -> usize {
        self.spare.len() * HELD
    }

    /// Gives up what is spare, until so many bytes fit.
    pub fn shrink(&mut self, budget: &mut Budget, bytes: usize) {
        while !budget.fits(bytes) && self.spare.pop().is_some() {
            budget.refund(HELD);
        }
    }

    /// An empty chunk, charged already.
    fn take(&mut self, budget: &mut Budget) -> Box<Chunk> {
        let mut chunk = self.spare.pop().unwrap_or_else(|| {
            budget.charge(HELD);
            Box::new(Chunk { next: None, start: 0, end: 0, bytes: [0; CHUNK] })
        });
        (chunk.start, chunk.end) = (0, 0);
        chunk
    }

    fn give_back(&mut self, chunk: Box<Chunk>, budget: &mut Budget) {
        if self.spare.len() < MAX_SPARE && !budget.is_tight() {
            self.spare.push(chunk);
        } else {
            budget.refund(HELD);
        }
    }
}

/// Unread octets, none at first.
#[derive(Debug, Default)]
pub(super) struct Unread {
    first: Option<Box<Chunk>>,
}

impl Unread {
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        std::iter::successors(self.first.as_deref(), |chunk| chunk.next.as_deref())
    }

    /// Number of octets. There are few chunks, and mostly none.
    pub fn len(&self) -> usize {
        self.chunks().map(|chunk| chunk.octets().len()).sum()
    }

    /// Bytes that must be charged before so many octets can be appended.
    pub fn needed(&self, octets: usize, chunks: &Chunks) -> usize {
        let room = self.chunks().last().map_or(0, |last| CHUNK - usize::from(last.end));
        let wanted = octets.saturating_sub(room).div_ceil(CHUNK);
        wanted.saturating_sub(chunks.spare.len()) * HELD
    }

    /// Appends octets; there must be memory for them ([`Self::needed`]).
    pub fn append(&mut self, mut bytes: &[u8], chunks: &mut Chunks, budget: &mut Budget) {
        let mut link = &mut self.first;
        while !bytes.is_empty() {
            let chunk = link.get_or_insert_with(|| chunks.take(budget));
            // Only the last one may have room, and there is one behind it only if it has none.
            if chunk.next.is_none() {
                bytes = chunk.fill(bytes);
            }
            link = &mut chunk.next;
        }
    }

    /// Copies all octets behind others.
    pub fn copy_to(&self, to: &mut Vec<u8>) {
        self.chunks().for_each(|chunk| to.extend_from_slice(chunk.octets()));
    }

    /// Forgets so many octets at the beginning, or all.
    pub fn advance(&mut self, mut octets: usize, chunks: &mut Chunks, budget: &mut Budget) {
        while let Some(first) = &mut self.first {
            let here = first.octets().len();
            if octets < here {
                first.start += octets as u16;
                return;
            }
            octets -= here;
            let next = first.next.take();
            if let Some(empty) = std::mem::replace(&mut self.first, next) {
                chunks.give_back(empty, budget);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_appended_is_there_until_it_is_passed(
            steps in prop::collection::vec((0..3 * CHUNK, 0..3 * CHUNK), 1..20),
        ) {
            let (mut unread, mut chunks, mut budget) = (Unread::default(), Chunks::default(), Budget::default());
            let mut model = Vec::new();
            let mut octet = 0_u8;
            for (appended, passed) in steps {
                let bytes: Vec<u8> = (0..appended).map(|_| { octet = octet.wrapping_mul(5).wrapping_add(1); octet }).collect();
                let expected = budget.charged() + unread.needed(bytes.len(), &chunks);
                unread.append(&bytes, &mut chunks, &mut budget);
                prop_assert_eq!(budget.charged(), expected);
                model.extend(bytes);
                unread.advance(passed, &mut chunks, &mut budget);
                model.drain(..passed.min(model.len()));
                let mut there = Vec::new();
                unread.copy_to(&mut there);
                prop_assert_eq!((&there, unread.len(), unread.is_empty()), (&model, model.len(), model.is_empty()));
            }
            unread.advance(usize::MAX, &mut chunks, &mut budget);
            prop_assert_eq!(budget.charged(), chunks.spare());
            let all = Budget::default().limit();
            let mut none = Budget::new(0);
            none.charge(chunks.spare());
            chunks.shrink(&mut none, all);
            prop_assert_eq!((chunks.spare(), none.charged()), (0, 0));
        }
    }
}
