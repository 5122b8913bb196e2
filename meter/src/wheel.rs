// SPDX-License-Identifier: MIT OR Apache-2.0
//! When to look at which flow again: a timer wheel of one-second spokes over the slots of the flow table.
//!
//! A flow is hung where its record may be due at the earliest, and is not moved when it gets a packet. When the clock
//! passes a spoke, each flow on it is looked at: it is due, or it is hung further on. So a packet costs nothing here, and
//! an idle flow is looked at once.

use crate::{memory::prefetch, table::NONE};

/// Spokes; a power of two. Longer timeouts go round more than once.
const SPOKES: usize = 512;

/// Where a flow hangs: what comes after it, and what comes before it, which for the first is `FIRST` and its spoke.
#[derive(Clone, Copy, Debug)]
struct Links {
    next: u32,
    prev: u32,
}

/// Added to a spoke, to tell it from a slot. Tables are smaller.
const FIRST: u32 = NONE - 1 - SPOKES as u32;

/// A timer wheel. Times are nanoseconds.
#[derive(Debug)]
pub struct Wheel {
    heads: Vec<u32>,
    links: Vec<Links>,
    /// The second up to which spokes were emptied, this one not included.
    second: u64,
    /// The second up to which spokes are passed, this one not included.
    to: u64,
    /// What is left of the spoke that is being emptied.
    passed: u32,
}

impl Wheel {
    /// A wheel for slots below `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let links = Vec::with_capacity(capacity);
        Self { heads: vec![NONE; SPOKES], links, second: 0, to: 0, passed: NONE }
    }

    /// Octets of memory that a wheel for so many slots takes at most.
    #[must_use]
    pub fn octets(capacity: usize) -> usize {
        capacity.saturating_mul(size_of::<Links>())
    }

    /// Takes down everything.
    pub fn clear(&mut self) {
        self.heads.fill(NONE);
        self.links.clear();
        self.passed = NONE;
    }

    /// Hangs a slot that hangs nowhere where `due` falls.
    pub fn hang(&mut self, slot: u32, due: u64) {
        let spoke = spoke(due / 1_000_000_000);
        let index = slot as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, Links { next: NONE, prev: NONE });
        }
        let head = self.heads[spoke];
        self.links[index] = Links { next: head, prev: FIRST + spoke as u32 };
        if let Some(links) = self.links.get_mut(head as usize) {
            links.prev = slot;
        }
        self.heads[spoke] = slot;
    }

    /// Takes down a slot that hangs somewhere.
    pub fn take_down(&mut self, slot: u32) {
        let Some(&Links { next, prev }) = self.links.get(slot as usize) else { return };
        match self.links.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => {
                if let Some(head) = self.heads.get_mut(prev.saturating_sub(FIRST) as usize) {
                    *head = next;
                }
            }
        }
        if let Some(after) = self.links.get_mut(next as usize) {
            after.prev = prev;
        }
    }

    /// Asks for what is needed to take down a slot.
    pub fn prefetch(&self, slot: u32) {
        if let Some(links) = self.links.get(slot as usize) {
            prefetch(links);
        }
    }

    /// Moves the clock to `now`. What hangs on the spokes passed is then to be taken down by [`Wheel::take_passed`], all of it
    /// before the clock is moved again. The clock never goes back.
    pub fn turn(&mut self, now: u64) {
        self.to = self.to.max(now / 1_000_000_000);
        // Once round is everything.
        self.second = self.second.max(self.to.saturating_sub(SPOKES as u64));
    }

    /// Takes down what hangs on the spokes passed, as many as there is room for, and gives their number; zero: that was all.
    /// Each is to be looked at, and hung again if it is not due.
    pub fn take_passed(&mut self, slots: &mut [u32]) -> usize {
        let mut taken = 0;
        while let Some(place) = slots.get_mut(taken) {
            if let Some(links) = self.links.get(self.passed as usize) {
                *place = self.passed;
                self.passed = links.next;
                taken += 1;
            } else if self.second < self.to {
                self.passed = std::mem::replace(&mut self.heads[spoke(self.second)], NONE);
                self.second += 1;
            } else {
                break;
            }
        }
        taken
    }
}

fn spoke(second: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits are kept")]
    let second = second as usize;
    second & (SPOKES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// What comes down when the clock is moved.
    fn turn(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        wheel.turn(now);
        let (mut down, mut some) = (Vec::new(), [NONE; 3]);
        loop {
            match wheel.take_passed(&mut some) {
                0 => return down,
                taken => down.extend(&some[..taken]),
            }
        }
    }

    #[test]
    fn a_slot_comes_down_when_its_second_has_passed() {
        let mut wheel = Wheel::new(8);
        assert_eq!(turn(&mut wheel, 100 * SECOND), []);
        for slot in 0..4 {
            wheel.hang(slot, 103 * SECOND + u64::from(slot));
        }
        assert_eq!(turn(&mut wheel, 103 * SECOND), []);
        wheel.take_down(3);
        wheel.take_down(1);
        assert_eq!(turn(&mut wheel, 104 * SECOND), [2, 0]);
        wheel.hang(1, 105 * SECOND);
        assert_eq!(turn(&mut wheel, 50 * SECOND), []);
        assert_eq!(turn(&mut wheel, 100_000 * SECOND), [1]);
    }

    #[test]
    fn a_slot_hung_before_the_first_turn_comes_down() {
        let mut wheel = Wheel::new(8);
        wheel.hang(0, 30 * SECOND);
        assert_eq!(turn(&mut wheel, 31 * SECOND), [0]);
    }

    #[test]
    fn what_is_hung_again_on_a_spoke_that_is_being_emptied_comes_down_a_round_later() {
        let mut wheel = Wheel::new(8);
        (0..4).for_each(|slot| wheel.hang(slot, 10 * SECOND));
        wheel.turn(11 * SECOND);
        let mut one = [NONE];
        for slot in (0..4).rev() {
            assert_eq!((wheel.take_passed(&mut one), one), (1, [slot]));
            wheel.hang(slot, (10 + SPOKES as u64) * SECOND);
        }
        assert_eq!(wheel.take_passed(&mut one), 0);
        assert_eq!(turn(&mut wheel, (11 + SPOKES as u64) * SECOND), [0, 1, 2, 3]);
    }
}
