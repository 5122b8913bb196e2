// SPDX-License-Identifier: MIT OR Apache-2.0
//! The transactions of one flow that are not in a record yet.

use std::{
    fmt::{self, Debug},
    ops::Range,
};

use weir_flow::{Timestamp, allocated, app::Fields};

use super::Budget;

/// Phase of a transaction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    /// There is no transaction here.
    #[default]
    None,
    /// Something is still expected.
    Open,
    /// All that was expected has come, in the packet that is being read.
    Complete,
    /// Complete since an earlier packet: the packets that follow still belong to it, until another transaction stirs.
    Current,
}

/// Most transactions that are kept until the packet that is being read is settled. More than any packet of its own completes.
const MAX_KEPT: usize = 128;

/// A transaction, or room for one.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Entry<F> {
    phase: Phase,
    /// Completions before its own.
    rank: u32,
    /// Bytes with which the memory of the fields is in the budget: far less than four gigabytes.
    charged: u32,
    started: Timestamp,
    fields: F,
}

impl<F: Fields> Entry<F> {
    /// Bytes of one beside the others, with its place in a list of spare ones, which doubles when it grows.
    const BOX: usize = allocated(size_of::<Self>()) + 2 * size_of::<usize>();

    /// Brings the budget up to date.
    fn charge(&mut self, budget: &mut Budget) {
        let now = self.fields.memory().held();
        if now != self.charged as usize {
            budget.change(self.charged as usize, now);
            self.charged = now as u32;
        }
    }

    /// Bytes with which a spare one is in the budget.
    pub(super) const fn charged(&self) -> usize {
        Self::BOX + self.charged as usize
    }

    /// Makes it a record, and room for the next one.
    fn close(&mut self, close: &mut impl FnMut(Closed<'_, F>)) {
        close(Closed { fields: &self.fields, started: self.started });
        self.fields.clear();
        self.phase = Phase::None;
    }
}

/// What transactions need only while a packet is read or records are closed. The flows of a worker share it: a state has it
/// for that time.
#[derive(Debug)]
#[allow(clippy::vec_box, reason = "the boxes move to and from the lists of flows")]
pub(super) struct Loan<F> {
    /// Room for transactions, kept for its memory.
    pub(super) spare: Vec<Box<Entry<F>>>,
    max_open: u32,
    /// Boxes among the others that are not in the budget yet.
    fresh: u32,
    /// First and last of the entries that a parser may have written to since they were charged.
    touched: Option<(u32, u32)>,
    pub(super) now: Timestamp,
    /// Transactions opened.
    pub(super) opened: u64,
    /// Transactions that were dropped without a record, since one packet completed too many.
    pub(super) dropped: u64,
}

impl<F> Loan<F> {
    /// At most `max_open` transactions, at least one, may be open at once.
    pub(super) const fn new(max_open: u32) -> Self {
        let max_open = if max_open == 0 { 1 } else { max_open };
        Self { spare: Vec::new(), max_open, fresh: 0, touched: None, now: Timestamp::ZERO, opened: 0, dropped: 0 }
    }
}

/// A transaction that is to become a record now.
#[derive(Clone, Copy, Debug)]
pub struct Closed<'a, F> {
    /// Its fields.
    pub fields: &'a F,
    /// When the packet that opened it was observed.
    pub started: Timestamp,
}

/// The transactions of one flow that are not in a record yet, oldest first.
///
/// A parser opens one when it sees it begin, and completes it when the answer is there. The metering process closes them:
/// each becomes a record of its own, and the packets between one closing and the next are counted in that record.
///
/// The oldest, which most flows have alone, is in one piece with the parser's state. What each packet needs comes first: memory that
/// is asked for arrives from its beginning.
#[allow(clippy::vec_box, reason = "the boxes move to and from what is spare")]
#[repr(C)]
pub struct Transactions<F> {
    loan: Option<Box<Loan<F>>>,
    /// In this flow; it may begin at zero again.
    opened: u32,
    completions: u32,
    /// Whether one was opened since the last settling.
    stirred: bool,
    /// Whether one was completed since the last settling.
    completed: bool,
    others: Vec<Box<Entry<F>>>,
    oldest: Entry<F>,
}

impl<F: Fields> Default for Transactions<F> {
    /// None yet. Before one is opened, there must be a loan.
    fn default() -> Self {
        Self {
            oldest: Entry::default(),
            others: Vec::new(),
            loan: None,
            opened: 0,
            completions: 0,
            stirred: false,
            completed: false,
        }
    }
}

impl<F: Fields> Debug for Transactions<F> {
    /// What was found; not what is kept for its memory, which depends on how the octets came.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries().map(|e| (&e.fields, e.phase, e.rank, e.started));
        f.debug_list().entries(entries).entry(&(self.opened, self.completions)).finish()
    }
}

impl<F: Fields> Transactions<F> {
    /// None yet; at most `max_open`, at least one, may be open at once. They have a loan of their own.
    #[must_use]
    pub fn new(max_open: u32) -> Self {
        Self { loan: Some(Box::new(Loan::new(max_open))), ..Self::default() }
    }

    fn loan(&mut self) -> &mut Loan<F> {
        self.loan.get_or_insert_with(|| Box::new(Loan::new(1)))
    }

    fn len(&self) -> usize {
        if self.is_empty() { 0 } else { 1 + self.others.len() }
    }

    fn entry(&self, index: usize) -> Option<&Entry<F>> {
        let Some(other) = index.checked_sub(1) else { return Some(&self.oldest).filter(|_| !self.is_empty()) };
        self.others.get(other).map(|other| &**other)
    }

    fn entry_mut(&mut self, index: usize) -> Option<&mut Entry<F>> {
        let Some(other) = index.checked_sub(1) else {
            return Some(&mut self.oldest).filter(|oldest| oldest.phase != Phase::None);
        };
        self.others.get_mut(other).map(|other| &mut **other)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry<F>> {
        (0..self.len()).filter_map(|index| self.entry(index))
    }

    fn position(&self, is_it: impl Fn(&Entry<F>) -> bool) -> Option<usize> {
        (0..self.len()).find(|&index| self.entry(index).is_some_and(&is_it))
    }

    fn rposition(&self, is_it: impl Fn(&Entry<F>) -> bool) -> Option<usize> {
        (0..self.len()).rev().find(|&index| self.entry(index).is_some_and(&is_it))
    }

    /// Begins a transaction and gives its index and its empty fields. If too many are open, the oldest counts as complete.
    pub fn open(&mut self) -> (usize, &mut F) {
        let max_open = self.loan().max_open as usize;
        if self.len() >= max_open
            && self.entries().filter(|e| e.phase == Phase::Open).count() >= max_open
            && let Some(oldest) = self.oldest_open()
        {
            self.complete(oldest);
        }
        let index = self.len();
        self.stirred = true;
        self.opened = self.opened.wrapping_add(1);
        self.touch(index);
        let loan = self.loan.get_or_insert_with(|| Box::new(Loan::new(1)));
        loan.opened += 1;
        if index > 0 {
            let other = loan.spare.pop().unwrap_or_else(|| {
                loan.fresh += 1;
                Box::default()
            });
            self.others.push(other);
        }
        let entry = self.others.last_mut().map_or(&mut self.oldest, |other| &mut **other);
        (entry.phase, entry.rank, entry.started) = (Phase::Open, 0, loan.now);
        (index, &mut entry.fields)
    }

    fn touch(&mut self, index: usize) {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let touched = &mut self.loan().touched;
        *touched = Some(touched.map_or((index, index), |(first, last)| (first.min(index), last.max(index))));
    }

    /// Charges what a parsing step has added.
    pub(super) fn charge(&mut self, budget: &mut Budget) {
        let Some(loan) = &mut self.loan else { return };
        if let Some((first, last)) = loan.touched.take() {
            budget.charge(std::mem::take(&mut loan.fresh) as usize * Entry::<F>::BOX);
            for index in first..=last {
                self.entry_mut(index as usize).into_iter().for_each(|entry| entry.charge(budget));
            }
        }
    }

    /// Bytes of memory that the list of others takes, without them.
    pub(super) fn held(&self) -> usize {
        allocated(self.others.capacity() * size_of::<Box<Entry<F>>>())
    }

    /// Bytes with which the memory of the oldest is in the budget, be there one or not.
    pub(super) const fn charged(&self) -> usize {
        self.oldest.charged as usize
    }

    /// Exchanges the loan.
    pub(super) const fn lend(&mut self, loan: &mut Option<Box<Loan<F>>>) {
        std::mem::swap(&mut self.loan, loan);
    }

    /// Whether there is none left.
    pub(super) fn is_empty(&self) -> bool {
        self.oldest.phase == Phase::None
    }

    /// Index of the oldest open transaction.
    #[must_use]
    pub fn oldest_open(&self) -> Option<usize> {
        self.find_open(|_| true)
    }

    /// Index of the youngest open transaction.
    #[must_use]
    pub fn youngest_open(&self) -> Option<usize> {
        self.rposition(|e| e.phase == Phase::Open)
    }

    /// Index of the oldest open transaction for which `is_it` holds.
    #[must_use]
    pub fn find_open(&self, is_it: impl Fn(&F) -> bool) -> Option<usize> {
        self.position(|e| e.phase == Phase::Open && is_it(&e.fields))
    }

    /// Index of the youngest transaction, open or complete, for which `is_it` holds: for what comes after completion, such
    /// as a repeated answer.
    #[must_use]
    pub fn find_any(&self, is_it: impl Fn(&F) -> bool) -> Option<usize> {
        self.rposition(|e| is_it(&e.fields))
    }

    /// Fields of a transaction by index; `None` if there is none. Indices hold for one parsing step.
    pub fn fields_mut(&mut self, index: usize) -> Option<&mut F> {
        self.touch(index);
        Some(&mut self.entry_mut(index)?.fields)
    }

    /// When the packet that is being read was observed.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.loan.as_ref().map_or(Timestamp::ZERO, |loan| loan.now)
    }

    /// When the packet that opened a transaction was observed; `None` if there is none of this index.
    #[must_use]
    pub fn started(&self, index: usize) -> Option<Timestamp> {
        Some(self.entry(index)?.started)
    }

    /// Says that all that was expected of a transaction has come.
    pub fn complete(&mut self, index: usize) {
        let completions = self.completions;
        if let Some(entry) = self.entry_mut(index)
            && entry.phase == Phase::Open
        {
            (entry.phase, entry.rank) = (Phase::Complete, completions);
            self.completions = completions.wrapping_add(1);
            self.completed = true;
        }
    }

    /// Index of the transaction that was completed last. It is there until another one is opened or completed, or a timeout
    /// takes it.
    #[must_use]
    pub fn last_completed(&self) -> Option<usize> {
        let complete = self.entries().enumerate().filter(|(_, e)| matches!(e.phase, Phase::Complete | Phase::Current));
        complete.max_by_key(|(_, e)| e.rank).map(|(index, _)| index)
    }

    /// Memory of the oldest that is most likely needed next: its texts, once it is complete, or else the room for more: as
    /// much of it as one packet fills mostly.
    pub(super) fn memory(&self) -> Range<*const u8> {
        const ROOM: usize = 128;
        let memory = self.oldest.fields.memory();
        match self.oldest.phase {
            Phase::None | Phase::Open => {
                let Range { start, end } = memory.room();
                start..start.wrapping_add(ROOM.min(end.addr() - start.addr()))
            }
            Phase::Complete | Phase::Current => memory.as_bytes().as_ptr_range(),
        }
    }

    /// Transactions opened since the flow began, modulo 2^32.
    #[must_use]
    pub const fn opened(&self) -> u32 {
        self.opened
    }

    /// Keeps the number of entries bounded between two parsing steps. One packet may bring in order what came in many before
    /// it, and complete more than any packet of its own could: then the oldest go, and are counted.
    #[inline]
    pub(super) fn bound(&mut self) {
        if self.others.len() >= MAX_KEPT {
            self.drop_complete();
        }
    }

    #[inline(never)]
    fn drop_complete(&mut self) {
        let most = MAX_KEPT.max(2 * self.loan().max_open as usize);
        while self.len() > most
            && let Some(oldest) = self.first_complete()
        {
            self.close(oldest, &mut |_| ());
            self.loan().dropped += 1;
        }
    }

    /// Whether settling would change nothing.
    pub(super) const fn is_settled(&self) -> bool {
        !self.stirred && !self.completed
    }

    /// The transaction that packets now belong to, if it is the oldest and complete, and no other waits to be settled. Its texts
    /// and lists must not be changed.
    #[inline]
    pub(super) fn current_mut(&mut self) -> Option<&mut F> {
        (self.oldest.phase == Phase::Current && self.is_settled()).then_some(&mut self.oldest.fields)
    }

    /// Closes what is over now that a packet has been read, oldest completion first: `close` is called for each.
    ///
    /// The packets before this one belong to the first that is closed; this packet to the one that stays.
    pub(super) fn settle(&mut self, mut close: impl FnMut(Closed<'_, F>)) {
        if self.is_settled() {
            return;
        }
        self.completed = false;
        let completed = self.entries().filter(|e| e.phase == Phase::Complete).count();
        self.stirred = false;
        if let Some(current) = self.position(|e| e.phase == Phase::Current) {
            self.close(current, &mut close);
        }
        for _ in 1..completed {
            if let Some(index) = self.first_complete() {
                self.close(index, &mut close);
            }
        }
        if let Some(entry) = self.first_complete().and_then(|index| self.entry_mut(index)) {
            entry.phase = Phase::Current;
        }
    }

    /// Index of the transaction that was completed first, of those completed in the packet that is being read.
    fn first_complete(&self) -> Option<usize> {
        let complete = self.entries().enumerate().filter(|(_, e)| e.phase == Phase::Complete);
        complete.min_by_key(|(_, e)| e.rank).map(|(index, _)| index)
    }

    /// The transaction that packets now belong to, if it is complete: taken by a record that is cut by a timeout.
    pub(super) fn close_current(&mut self, mut close: impl FnMut(Closed<'_, F>)) {
        if let Some(index) = self.position(|e| e.phase == Phase::Current) {
            self.close(index, &mut close);
        }
    }

    /// Closes all, complete or not: the flow has ended.
    pub(super) fn finish(&mut self, mut close: impl FnMut(Closed<'_, F>)) {
        self.close_current(&mut close);
        while !self.is_empty() {
            self.close(0, &mut close);
        }
        self.stirred = false;
    }

    /// Makes it as new, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.finish(|_| ());
        self.completed = false;
        self.opened = 0;
        self.completions = 0;
    }

    fn close(&mut self, index: usize, close: &mut impl FnMut(Closed<'_, F>)) {
        if let Some(other) = index.checked_sub(1) {
            let mut other = self.others.remove(other);
            other.close(close);
            self.loan().spare.push(other);
            return;
        }
        self.oldest.close(close);
        if !self.others.is_empty() {
            let mut other = self.others.remove(0);
            std::mem::swap(&mut self.oldest, &mut *other);
            self.loan().spare.push(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_flow::app::Dns;

    use super::*;

    fn open(transactions: &mut Transactions<Dns>, id: u16) {
        transactions.open().1.transaction_id = Some(id);
    }

    fn complete(transactions: &mut Transactions<Dns>, id: u16) {
        let index = transactions.find_open(|d| d.transaction_id == Some(id)).unwrap();
        transactions.complete(index);
    }

    fn settle(transactions: &mut Transactions<Dns>) -> Vec<u16> {
        let mut ids = Vec::new();
        transactions.settle(|closed| ids.extend(closed.fields.transaction_id));
        ids
    }

    #[test]
    fn a_complete_transaction_stays_until_another_one_stirs() {
        let mut t = Transactions::new(4);
        open(&mut t, 1);
        assert_eq!(settle(&mut t), []);
        complete(&mut t, 1);
        assert_eq!(settle(&mut t), []);
        assert_eq!(settle(&mut t), []);
        open(&mut t, 2);
        assert_eq!(settle(&mut t), [1]);
    }

    #[test]
    fn answers_out_of_order_close_in_the_order_of_the_answers() {
        let mut t = Transactions::new(4);
        open(&mut t, 1);
        open(&mut t, 2);
        assert_eq!(settle(&mut t), []);
        complete(&mut t, 2);
        assert_eq!(settle(&mut t), []);
        complete(&mut t, 1);
        assert_eq!(settle(&mut t), [2]);
        let mut rest = Vec::new();
        t.finish(|closed| rest.extend(closed.fields.transaction_id));
        assert_eq!(rest, [1]);
    }

    #[test]
    fn several_in_one_packet_leave_one() {
        let mut t = Transactions::new(4);
        for id in 1..=3 {
            open(&mut t, id);
            complete(&mut t, id);
        }
        assert_eq!(settle(&mut t), [1, 2]);
    }

    #[test]
    fn what_was_completed_last_stays_whatever_was_opened_first() {
        let mut t = Transactions::new(4);
        open(&mut t, 1);
        open(&mut t, 2);
        complete(&mut t, 2);
        complete(&mut t, 1);
        assert_eq!(settle(&mut t), [2]);
    }

    #[test]
    fn what_one_packet_completes_is_bounded_and_the_rest_is_counted() {
        let mut t = Transactions::new(2);
        for id in 0..1000 {
            t.bound();
            open(&mut t, id);
            complete(&mut t, id);
        }
        let kept = settle(&mut t).len() as u64 + 1;
        assert!(kept <= MAX_KEPT as u64 + 1, "{kept}");
        assert_eq!(kept + t.loan().dropped, u64::from(t.opened()));
    }

    #[test]
    fn one_too_many_completes_the_oldest() {
        let mut t = Transactions::new(2);
        for id in 1..=3 {
            open(&mut t, id);
        }
        settle(&mut t);
        assert_eq!(t.find_open(|d| d.transaction_id == Some(1)), None);
        assert!(t.find_any(|d| d.transaction_id == Some(1)).is_some());
    }
}
