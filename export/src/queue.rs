// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bounded queue from several workers to one sending thread.
//!
//! Pushing and popping take no lock. A side that finds nothing to do sleeps on a condition; the other side takes the lock
//! only when somebody sleeps.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crossbeam_queue::ArrayQueue;

/// What becomes of a message that finds its queue full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenFull {
    /// It waits: for files, where nothing is in a hurry.
    Wait,
    /// It is dropped and counted: for live capture, which must not stall.
    Drop,
}

/// A bounded queue.
#[derive(Debug)]
pub struct Queue<T> {
    items: ArrayQueue<T>,
    closed: AtomicBool,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

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
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            changed: Condvar::new(),
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
                    self.wake();
                    return Ok(());
                }
                Err(back) if when_full == WhenFull::Drop => return Err(Refused(back)),
                Err(back) => item = back,
            }
            self.sleep_while(|| self.items.is_full() && !self.closed.load(Ordering::Acquire), Duration::MAX);
        }
    }

    /// Takes the oldest item. `None` if none came within `patience`, or if the queue is closed and empty.
    pub fn pop(&self, patience: Duration) -> Option<T> {
        if self.items.is_empty() {
            self.sleep_while(|| self.items.is_empty() && !self.closed.load(Ordering::Acquire), patience);
        }
        let item = self.items.pop();
        if item.is_some() {
            self.wake();
        }
        item
    }

    /// Nothing more may be pushed; what is there can still be taken.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the queue is closed and empty.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.closed.load(Ordering::Acquire) && self.items.is_empty()
    }

    fn sleep_while(&self, mut idle: impl FnMut() -> bool, patience: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Sequentially consistent with `wake`: either it sees the sleeper, or the sleeper sees the change.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        if patience == Duration::MAX {
            drop(self.changed.wait_while(guard, |()| idle()));
        } else {
            drop(self.changed.wait_timeout_while(guard, patience, |()| idle()));
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.changed.notify_all();
        }
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
        let mut all: Vec<i32> = (0..3000).map(|_| queue.pop(Duration::MAX).unwrap()).collect();
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
        assert_eq!((queue.pop(Duration::MAX), queue.pop(Duration::MAX)), (Some(1), None));
        assert!(queue.is_finished());
    }
}
