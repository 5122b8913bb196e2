// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bounded queue from several workers to one sending thread.
//!
//! Pushing and popping take no lock. A side that finds nothing to do sleeps on a condition; the other side takes the lock
//! only to wake it. Each call into the kernel for that is worth several messages: the receiver, as long as it is busy,
//! is not woken before a batch is there, and wakes those who wait for room after it has taken a batch.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use crossbeam_queue::ArrayQueue;

/// Most items that the receiver takes at once.
pub const BATCH: usize = 16;
/// How long items may wait for others, to be taken together.
const LINGER: Duration = Duration::from_millis(20);

/// What becomes of a message that finds its queue full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenFull {
    /// It waits: for files, where nothing is in a hurry.
    Wait,
    /// It is dropped and counted: for live capture, which must not stall.
    Drop,
}

/// A bounded queue with one receiver.
#[derive(Debug)]
pub struct Queue<T> {
    items: ArrayQueue<T>,
    closed: AtomicBool,
    /// Whether the receiver shall look up though there may be nothing.
    nudged: AtomicBool,
    /// How many items the sleeping receiver waits for; [`NOBODY`] if it does not sleep.
    wanted: AtomicUsize,
    /// Workers that wait for room.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    filled: Condvar,
    drained: Condvar,
}

/// More items than there can be.
const NOBODY: usize = usize::MAX;

/// The receiver is gone; the item comes back.
#[derive(Debug, Eq, PartialEq)]
pub struct Refused<T>(pub T);

impl<T> Queue<T> {
    /// A queue of at most `capacity` items, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            items: ArrayQueue::new(capacity.max(1)),
            closed: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
            wanted: AtomicUsize::new(NOBODY),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            filled: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    /// Appends an item.
    ///
    /// # Errors
    ///
    /// Gives the item back if the queue is closed, or if it is full and `when_full` says so.
    pub fn push(&self, item: T, when_full: WhenFull) -> Result<(), Refused<T>> {
        let mut item = item;
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(Refused(item));
            }
            match self.items.push(item) {
                Ok(()) => {
                    self.wake_receiver();
                    return Ok(());
                }
                Err(back) if when_full == WhenFull::Drop => return Err(Refused(back)),
                Err(back) => item = back,
            }
            self.wait_for_room();
        }
    }

    /// Moves the oldest items to the end of `batch`, up to [`BATCH`] of them; waits until some are there. None if none came
    /// within `patience` or before a nudge, or if the queue is closed and empty.
    pub fn pop_batch(&self, batch: &mut Vec<T>, patience: Duration) {
        let full = BATCH.min(self.items.capacity().div_ceil(2));
        // Who was busy may soon be again: first for a batch, then for anything.
        self.wait_for_items(full, LINGER.min(patience));
        if self.items.is_empty() {
            self.wait_for_items(1, patience);
        }
        self.nudged.store(false, Ordering::SeqCst);
        batch.extend(std::iter::from_fn(|| self.items.pop()).take(BATCH));
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.drained.notify_all();
        }
    }

    /// Waits for a nudge, that long at most, whatever is in the queue.
    pub fn sleep(&self, patience: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |(): &mut ()| !self.nudged.load(Ordering::SeqCst);
        drop(self.filled.wait_timeout_while(guard, patience, is_quiet));
        self.nudged.store(false, Ordering::SeqCst);
    }

    /// Has the receiver look up.
    pub fn nudge(&self) {
        self.nudged.store(true, Ordering::SeqCst);
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.filled.notify_all();
    }

    /// Nothing more may be pushed; what is there can still be taken.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Whether nothing more may be pushed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether the queue is closed and empty.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.closed.load(Ordering::Acquire) && self.items.is_empty()
    }

    fn wait_for_items(&self, wanted: usize, patience: Duration) {
        let is_enough = || {
            let is_called = self.closed.load(Ordering::SeqCst) || self.nudged.load(Ordering::SeqCst);
            self.items.len() >= wanted || is_called
        };
        if is_enough() {
            return;
        }
        // A time too far away to be named is never.
        let deadline = Instant::now().checked_add(patience);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Sequentially consistent with `wake_receiver`: either it sees what is wanted, or this sees its item.
            self.wanted.store(wanted, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let left = deadline.map_or(patience, |deadline| deadline.saturating_duration_since(Instant::now()));
            if is_enough() || left.is_zero() {
                break;
            }
            guard = self.filled.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.wanted.store(NOBODY, Ordering::SeqCst);
    }

    fn wake_receiver(&self) {
        fence(Ordering::SeqCst);
        // Whoever takes the wish away wakes: one worker, once.
        if self.items.len() >= self.wanted.load(Ordering::SeqCst)
            && self.wanted.swap(NOBODY, Ordering::SeqCst) != NOBODY
        {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.filled.notify_one();
        }
    }

    fn wait_for_room(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Sequentially consistent with `pop_batch`: either it sees who waits, or who waits sees the room.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let is_full = |(): &mut ()| self.items.is_full() && !self.closed.load(Ordering::SeqCst);
        drop(self.drained.wait_while(guard, is_full));
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn all_that_is_pushed_is_popped_once_though_the_queue_is_small() {
        let queue = Arc::new(Queue::new(2));
        let pushers: Vec<_> = (0..3)
            .map(|p| {
                let queue = queue.clone();
                thread::spawn(move || (0..1000).for_each(|i| queue.push(p * 1000 + i, WhenFull::Wait).unwrap()))
            })
            .collect();
        let mut all: Vec<i32> = Vec::new();
        while all.len() < 3000 {
            queue.pop_batch(&mut all, Duration::MAX);
        }
        pushers.into_iter().for_each(|p| p.join().unwrap());
        all.sort_unstable();
        assert_eq!(all, (0..3000).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_gives_back_and_a_closed_one_too() {
        let queue = Queue::new(1);
        queue.push(1, WhenFull::Drop).unwrap();
        assert_eq!(queue.push(2, WhenFull::Drop), Err(Refused(2)));
        queue.close();
        assert_eq!(queue.push(3, WhenFull::Wait), Err(Refused(3)));
        let mut taken = Vec::new();
        queue.pop_batch(&mut taken, Duration::MAX);
        queue.pop_batch(&mut taken, Duration::MAX);
        assert_eq!(taken, [1]);
        assert!(queue.is_finished());
    }

    #[test]
    fn a_batch_is_taken_in_order_and_no_more() {
        let queue = Queue::new(4 * BATCH);
        (0..2 * BATCH).for_each(|i| queue.push(i, WhenFull::Drop).unwrap());
        let mut taken = Vec::new();
        queue.pop_batch(&mut taken, Duration::MAX);
        assert_eq!(taken, (0..BATCH).collect::<Vec<_>>());
    }

    #[test]
    fn fewer_items_than_a_batch_are_taken_too_and_patience_ends() {
        let queue = Queue::new(4 * BATCH);
        queue.push(1, WhenFull::Drop).unwrap();
        let mut taken = Vec::new();
        queue.pop_batch(&mut taken, Duration::MAX);
        queue.pop_batch(&mut taken, Duration::from_nanos(1));
        assert_eq!(taken, [1]);
    }
}
