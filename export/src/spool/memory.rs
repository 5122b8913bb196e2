// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of one connection in memory, in their order: those that the other side has acknowledged and that might have to be sent
//! again all the same, those that it has not, and those that were not sent yet.
//!
//! ```text
//!   first ──────────────► acknowledged ──────────► sent ───────────► end
//!     acknowledged, kept       sent, perhaps there        not sent yet
//! ```
//!
//! Octets lie one behind the other in blocks of one size, so that many small messages take no more than they have, and are written
//! with one call. A block goes back when its last octet does, and is the next one to be used: memory beyond the need is not touched.

use std::{collections::VecDeque, io::IoSlice};

use super::disk::Take;

/// Octets of a block.
const BLOCK: usize = 64 * 1024;
/// Octets that a message takes beside its own, in the budget.
const ENTRY: usize = size_of::<Entry>();
/// The fewest octets of memory: any message fits at least once.
pub const MIN_MEMORY: usize = 4 * BLOCK;

/// Where something is that was not written yet.
const NOWHERE: u64 = u64::MAX;

/// A message that is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Its octets.
    pub octets: &'a [u8],
    /// Records in it.
    pub records: u32,
    /// Templates that must be announced before it.
    pub templates: usize,
}

/// Where a message is.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Behind its last octet, counted from the first octet that ever was here.
    end: u64,
    /// Behind its last octet, counted in what was written to the connection; nothing before it is written.
    written_until: u64,
    records: u32,
    templates: u32,
}

/// How many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
}

impl Amount {
    /// So many more.
    pub const fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.records += other.records;
    }

    /// So many less.
    pub const fn subtract(&mut self, other: Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.records = self.records.saturating_sub(other.records);
    }

    fn count(&mut self, entry: &Entry) {
        self.messages += 1;
        self.records += u64::from(entry.records);
    }
}

/// Messages in their order.
#[derive(Debug)]
pub struct Memory {
    blocks: VecDeque<Box<[u8]>>,
    spare: Vec<Box<[u8]>>,
    entries: VecDeque<Entry>,
    /// Entries that were acknowledged, and, counted with them, those that were written whole.
    acknowledged: usize,
    sent: usize,
    /// Where the first block begins, where the first message does, up to where was written, where the last message ends.
    blocks_from: u64,
    from: u64,
    written: u64,
    end: u64,
    /// What the connection had taken when something was written last.
    taken: u64,
    /// Most octets, and most of acknowledged messages. Of these, as many as that, but no more than half of all, make no way for
    /// others: a collector that does not keep up has read least of what it has acknowledged.
    capacity: usize,
    keep: usize,
}

impl Memory {
    /// Room for so many octets, book-keeping included, of which acknowledged messages take so many at most.
    pub fn new(capacity: usize, keep: usize) -> Self {
        Self {
            blocks: VecDeque::new(),
            spare: Vec::new(),
            entries: VecDeque::new(),
            acknowledged: 0,
            sent: 0,
            blocks_from: 0,
            from: 0,
            written: 0,
            end: 0,
            taken: 0,
            capacity: capacity.max(MIN_MEMORY),
            keep,
        }
    }

    /// Whether there is room for such a message, if acknowledged ones make way beyond those that are kept whatever comes. What is
    /// longer than all there is finds room alone.
    pub fn has_room(&self, octets: usize) -> bool {
        let acknowledged = (self.entry_end(self.acknowledged) - self.from) as usize;
        let makes_way = acknowledged.saturating_sub(self.keep.min(self.capacity / 2));
        let is_settled = self.acknowledged == self.entries.len();
        is_settled || self.used() - makes_way + octets + ENTRY <= self.capacity
    }

    /// Keeps a message, for which there must be room.
    pub fn push(&mut self, piece: &Piece<'_>) {
        while self.acknowledged > 0 && self.used() + piece.octets.len() + ENTRY > self.capacity {
            self.drop_first();
        }
        let mut left = piece.octets;
        while !left.is_empty() {
            let at = (self.end - self.blocks_from) as usize;
            if at / BLOCK == self.blocks.len() {
                let block = self.spare.pop().unwrap_or_else(|| vec![0; BLOCK].into());
                self.blocks.push_back(block);
            }
            let Some(place) = self.blocks.back_mut().and_then(|block| block.get_mut(at % BLOCK..)) else { return };
            let (now, later) = left.split_at(place.len().min(left.len()));
            if let Some(place) = place.get_mut(..now.len()) {
                place.copy_from_slice(now);
            }
            self.end += now.len() as u64;
            left = later;
        }
        let templates = u32::try_from(piece.templates).unwrap_or(u32::MAX);
        self.entries.push_back(Entry { end: self.end, written_until: 0, records: piece.records, templates });
    }

    /// Whether all that is here was written.
    pub const fn is_written(&self) -> bool {
        self.written == self.end
    }

    /// Whether all that was written was acknowledged, and no message was written in part.
    pub fn is_quiet(&self) -> bool {
        self.acknowledged == self.sent && self.is_at_boundary()
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        self.acknowledged = self.entries.len();
        self.sent = self.acknowledged;
        self.written = self.end;
    }

    /// Whether all that is here was acknowledged.
    pub fn is_settled(&self) -> bool {
        self.acknowledged == self.entries.len()
    }

    /// What was not acknowledged.
    pub fn unsettled(&self) -> Amount {
        self.amount(self.acknowledged, self.entries.len())
    }

    /// Templates that the next messages to be written need, and how many octets may be written before more are needed: whole
    /// messages, `limit` octets or a little more.
    pub fn ready(&self, limit: usize) -> (usize, usize) {
        let mut entries = self.entries.range(self.sent.min(self.entries.len())..);
        let Some(first) = entries.next() else { return (0, 0) };
        let mut end = first.end;
        for entry in entries {
            if entry.templates > first.templates || (end - self.written) as usize >= limit {
                break;
            }
            end = entry.end;
        }
        (first.templates as usize, (end - self.written) as usize)
    }

    /// The first octets of the message that is written, or is to be written next.
    pub fn header<const N: usize>(&self) -> [u8; N] {
        let start = self.entry_end(self.sent);
        let mut octets = Vec::with_capacity(N);
        self.copy(start, self.end.min(start + N as u64), &mut octets);
        octets.try_into().unwrap_or([0; N])
    }

    /// Whether the next octet to be written is the first of a message.
    pub fn is_at_boundary(&self) -> bool {
        self.written == self.entry_end(self.sent)
    }

    /// The next octets to be written, up to so many, as far as there are slices.
    pub fn slices<'a>(&'a self, octets: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut at = (self.written - self.blocks_from) as usize;
        let (mut left, mut count) = (octets.min((self.end - self.written) as usize), 0);
        for slice in slices {
            let Some(part) = self.blocks.get(at / BLOCK).and_then(|block| block.get(at % BLOCK..)) else { break };
            let part = part.get(..part.len().min(left)).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            *slice = IoSlice::new(part);
            (at, left, count) = (at + part.len(), left - part.len(), count + 1);
        }
        count
    }

    /// Puts this export time into the headers of IPFIX messages, of which not an octet was written yet, up to so many octets.
    pub fn stamp(&mut self, octets: usize, export_time: u32) {
        const EXPORT_TIME: u64 = 4;
        let until = self.written + octets as u64;
        let mut start = self.entry_end(self.sent);
        for index in self.sent..self.entries.len() {
            if start >= until {
                break;
            }
            if start >= self.written {
                for (octet, place) in export_time.to_be_bytes().into_iter().zip(start + EXPORT_TIME..) {
                    self.set(place, octet);
                }
            }
            start = self.entry_end(index + 1);
        }
    }

    /// So many octets were written; the connection had taken `before` until then.
    pub fn advance(&mut self, octets: usize, before: u64) {
        self.taken = before + octets as u64;
        self.advance_by(octets, |in_front| before + in_front);
    }

    /// So many octets were taken to be encrypted: [`Self::locate`] tells where they end.
    pub fn advance_somewhere(&mut self, octets: usize) {
        self.advance_by(octets, |_| NOWHERE);
    }

    fn advance_by(&mut self, octets: usize, position: impl Fn(u64) -> u64) {
        let from = self.written;
        self.written += octets as u64;
        while let Some(entry) = self.entries.get_mut(self.sent).filter(|entry| entry.end <= self.written) {
            entry.written_until = position(entry.end - from);
            self.sent += 1;
        }
    }

    /// What was taken to be encrypted was written: the connection has taken so much with it.
    pub fn locate(&mut self, position: u64) {
        for entry in self.entries.range_mut(..self.sent).rev().take_while(|entry| entry.written_until == NOWHERE) {
            entry.written_until = position;
        }
    }

    /// So many octets of what was written to the connection are acknowledged: which messages that completes.
    pub fn acknowledge(&mut self, octets: u64) -> Amount {
        let mut amount = Amount::default();
        while self.acknowledged < self.sent
            && let Some(entry) = self.entries.get(self.acknowledged).filter(|entry| entry.written_until <= octets)
        {
            amount.count(entry);
            self.acknowledged += 1;
        }
        while self.acknowledged > 0 && self.entry_end(self.acknowledged) - self.from > self.keep as u64 {
            self.drop_first();
        }
        amount
    }

    /// Begins again on a new connection: with what was not acknowledged, or with all that is here, if the other side may have
    /// acknowledged what nobody read. What was acknowledged before and is sent again, and what else is sent again.
    pub fn begin_again(&mut self, in_doubt: bool) -> (Amount, Amount) {
        let is_begun = self.written > self.entry_end(self.sent);
        let others = self.amount(self.acknowledged, self.sent + usize::from(is_begun));
        let acknowledged = if in_doubt { self.amount(0, self.acknowledged) } else { Amount::default() };
        if in_doubt {
            self.acknowledged = 0;
        }
        // Otherwise they were read: nobody will ever want them.
        while self.acknowledged > 0 {
            self.drop_first();
        }
        self.sent = self.acknowledged;
        self.written = self.entry_end(self.acknowledged);
        (acknowledged, others)
    }

    /// Takes the lines that the other side has acknowledged off a piece of several that it has a part of: lines, other than
    /// messages, mean something one by one. `octets` of what was written to the connection are acknowledged. To be called when
    /// that has broken.
    pub fn acknowledge_lines(&mut self, octets: u64) -> Amount {
        let start = self.entry_end(self.acknowledged);
        let Some(entry) = self.entries.get(self.acknowledged).copied() else { return Amount::default() };
        // Where it begins in what was written.
        let is_whole = self.acknowledged < self.sent;
        let begin =
            if is_whole { entry.written_until - (entry.end - start) } else { self.taken - (self.written - start) };
        let there = octets.saturating_sub(begin).min(entry.end - start);
        let mut text = Vec::new();
        self.copy(start, start + there, &mut text);
        let Some(last) = text.iter().rposition(|octet| *octet == b'\n') else { return Amount::default() };
        let lines = text.iter().filter(|octet| **octet == b'\n').count();
        let records = u32::try_from(lines).unwrap_or(u32::MAX).min(entry.records);
        let written_until = begin + last as u64 + 1;
        let first = Entry { end: start + last as u64 + 1, written_until, records, templates: 0 };
        if let Some(rest) = self.entries.get_mut(self.acknowledged) {
            rest.records -= records;
        }
        self.entries.insert(self.acknowledged, first);
        self.acknowledged += 1;
        self.sent += 1;
        Amount { messages: 0, records: records.into() }
    }

    /// Hands out each message that was not acknowledged, in order, and forgets it.
    pub fn drain(&mut self, take: &mut Take<'_>) {
        let mut octets = Vec::new();
        for index in self.acknowledged..self.entries.len() {
            let Some(entry) = self.entries.get(index).copied() else { break };
            octets.clear();
            self.copy(self.entry_end(index), entry.end, &mut octets);
            take(&Piece { octets: &octets, records: entry.records, templates: entry.templates as usize });
        }
        self.forget();
    }

    /// Appends octets from one place to another.
    fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        let mut at = from;
        while at < to {
            let place = (at - self.blocks_from) as usize;
            let Some(part) = self.blocks.get(place / BLOCK).and_then(|block| block.get(place % BLOCK..)) else { break };
            let len = part.len().min((to - at) as usize);
            out.extend(part.get(..len).unwrap_or_default());
            at += len as u64;
        }
    }

    fn amount(&self, from: usize, to: usize) -> Amount {
        let mut amount = Amount::default();
        self.entries.range(from..to.min(self.entries.len())).for_each(|entry| amount.count(entry));
        amount
    }

    /// Where the first so many entries end.
    fn entry_end(&self, count: usize) -> u64 {
        match count.checked_sub(1) {
            None => self.from,
            Some(last) => self.entries.get(last).map_or(self.end, |entry| entry.end),
        }
    }

    fn used(&self) -> usize {
        (self.end - self.from) as usize + self.entries.len() * ENTRY
    }

    /// Forgets the first message, which was acknowledged.
    fn drop_first(&mut self) {
        let Some(first) = self.entries.pop_front() else { return };
        self.from = first.end;
        self.acknowledged -= 1;
        self.sent -= 1;
        while self.from - self.blocks_from >= BLOCK as u64
            && let Some(block) = self.blocks.pop_front()
        {
            self.blocks_from += BLOCK as u64;
            self.spare.push(block);
        }
    }

    fn set(&mut self, place: u64, octet: u8) {
        let at = (place - self.blocks_from) as usize;
        if let Some(place) = self.blocks.get_mut(at / BLOCK).and_then(|block| block.get_mut(at % BLOCK)) {
            *place = octet;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of so many octets, each of them `n`, with `n` records.
    fn push(memory: &mut Memory, n: u8, len: usize, templates: usize) {
        memory.push(&Piece { octets: &vec![n; len], records: n.into(), templates });
    }

    fn written(memory: &Memory, octets: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = memory.slices(octets, &mut slices);
        slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    fn amount(messages: u64, records: u64) -> Amount {
        Amount { messages, records }
    }

    #[test]
    fn what_is_written_comes_out_in_order_across_blocks() {
        let mut memory = Memory::new(1 << 20, 0);
        for n in 1..=5 {
            push(&mut memory, n, 50_000, 0);
        }
        let mut all = Vec::new();
        while !memory.is_written() {
            let part = written(&memory, 30_001);
            memory.advance(part.len(), all.len() as u64);
            all.extend(part);
        }
        let expected: Vec<u8> = (1..=5).flat_map(|n| vec![n; 50_000]).collect();
        assert!(all == expected);
        assert_eq!(memory.acknowledge(49_999), amount(0, 0));
        assert_eq!(memory.acknowledge(150_000), amount(3, 6));
        assert_eq!(memory.unsettled(), amount(2, 9));
        assert_eq!(memory.acknowledge(250_000), amount(2, 9));
        assert!(memory.is_settled());
    }

    #[test]
    fn a_message_that_was_cut_is_sent_again_from_its_beginning() {
        let mut memory = Memory::new(1 << 20, 0);
        (1..=4).for_each(|n| push(&mut memory, n, 100, 0));
        memory.advance(250, 1000);
        assert!(!memory.is_at_boundary());
        assert_eq!(memory.acknowledge(1150), amount(1, 1));
        assert_eq!(memory.begin_again(false), (amount(0, 0), amount(2, 5)));
        assert_eq!(written(&memory, 150), [vec![2; 100], vec![3; 50]].concat());
        assert!(memory.is_at_boundary());
    }

    #[test]
    fn in_doubt_what_was_acknowledged_is_sent_again_as_far_as_it_was_kept() {
        let mut memory = Memory::new(1 << 20, 250);
        (1..=4).for_each(|n| push(&mut memory, n, 100, 0));
        memory.advance(400, 0);
        assert_eq!(memory.acknowledge(300), amount(3, 6));
        // Of three, two are kept.
        assert_eq!(memory.begin_again(true), (amount(2, 5), amount(1, 4)));
        assert_eq!(written(&memory, 100), [2; 100]);
    }

    #[test]
    fn what_is_kept_in_case_makes_way_and_what_was_not_acknowledged_does_not() {
        let mut memory = Memory::new(MIN_MEMORY, usize::MAX);
        let len = MIN_MEMORY / 4 - ENTRY;
        (1..=4).for_each(|n| push(&mut memory, n, len, 0));
        assert!(!memory.has_room(1));
        memory.advance(4 * len, 0);
        assert!(!memory.has_room(1));
        // Half of the memory is for those that were acknowledged.
        memory.acknowledge(2 * len as u64);
        assert!(!memory.has_room(len));
        memory.acknowledge(3 * len as u64);
        assert!(memory.has_room(len / 2) && !memory.has_room(len + 1));
        push(&mut memory, 5, len / 2, 0);
        assert_eq!(memory.unsettled(), amount(2, 9));
        assert_eq!(memory.begin_again(true).0, amount(2, 5));
        assert!(memory.blocks.len() + memory.spare.len() <= 5);
        // What is longer than all there is goes alone.
        let mut memory = Memory::new(MIN_MEMORY, 0);
        assert!(memory.has_room(10 * MIN_MEMORY));
        push(&mut memory, 1, 10 * MIN_MEMORY, 0);
        assert!(!memory.has_room(1));
    }

    #[test]
    fn a_message_that_needs_more_templates_waits_for_them() {
        let mut memory = Memory::new(1 << 20, 0);
        for (n, templates) in [(1, 3), (2, 3), (3, 4)] {
            push(&mut memory, n, 100, templates);
        }
        assert_eq!(memory.ready(1 << 16), (3, 200));
        memory.advance(150, 0);
        assert_eq!(memory.ready(1 << 16), (3, 50));
        memory.advance(50, 150);
        assert_eq!(memory.ready(1 << 16), (4, 100));
        assert_eq!(memory.ready(1), (4, 100));
    }

    #[test]
    fn headers_get_the_time_at_which_they_leave() {
        let mut memory = Memory::new(1 << 20, 0);
        (1..=3).for_each(|n| push(&mut memory, n, BLOCK - 6, 0));
        memory.stamp(BLOCK, 0x0102_0304);
        let octets = written(&memory, 3 * BLOCK);
        let time = |start: usize| octets[start + 4..start + 8].to_vec();
        // The second one's lies in two blocks; the third is not written yet.
        assert_eq!((time(0), time(BLOCK - 6)), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
        assert_eq!(time(2 * BLOCK - 12), [3; 4]);
        memory.advance(10, 0);
        memory.stamp(100, 9);
        assert_eq!(written(&memory, 1), [1]);
    }

    #[test]
    fn lines_are_acknowledged_one_by_one() {
        for taken in [18, 13] {
            let mut memory = Memory::new(1 << 20, 0);
            memory.push(&Piece { octets: b"one\ntwo\nthree\nfour", records: 4, templates: 0 });
            memory.advance(taken, 100);
            assert_eq!(memory.acknowledge(112), amount(0, 0));
            assert_eq!(memory.acknowledge_lines(112), amount(0, 2), "{taken}");
            memory.begin_again(false);
            assert_eq!(written(&memory, 10), b"three\nfour");
            assert_eq!(memory.unsettled(), amount(1, 2));
        }
    }

    #[test]
    fn what_is_encrypted_is_acknowledged_when_all_of_it_was_written() {
        let mut memory = Memory::new(1 << 20, 0);
        (1..=3).for_each(|n| push(&mut memory, n, 100, 0));
        memory.advance_somewhere(100);
        memory.locate(130);
        memory.advance_somewhere(150);
        assert_eq!(memory.acknowledge(280), amount(1, 1));
        memory.locate(290);
        assert_eq!(memory.acknowledge(289), amount(0, 0));
        assert_eq!(memory.acknowledge(290), amount(1, 2));
        assert!(!memory.is_quiet());
    }

    #[test]
    fn what_is_left_is_handed_out() {
        let mut memory = Memory::new(1 << 20, usize::MAX);
        (1..=3).for_each(|n| push(&mut memory, n, 70_000, 0));
        memory.advance(70_000, 0);
        memory.acknowledge(70_000);
        let mut left = Vec::new();
        memory.drain(&mut |piece| left.push((piece.octets.to_vec(), piece.records)));
        assert!(left == [(vec![2; 70_000], 2), (vec![3; 70_000], 3)]);
        assert!(memory.is_settled() && memory.is_written());
    }
}
