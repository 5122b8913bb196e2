// SPDX-License-Identifier: MIT OR Apache-2.0
//! When to look at which flow again: a timer wheel of one-second spokes over the slots of the flow table.
//!
//! A flow is hung where its record may be due at the earliest, and is not moved when it gets a packet. When the clock
//! passes a spoke, each flow on it is looked at: it is due, or it is hung further on. So a packet costs nothing here, and
//! an idle flow is looked at once.

use crate::table::NONE;

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
    /// The second up to which spokes were passed, this one not included.
    second: u64,
}

impl Wheel {
    /// A wheel for slots below `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { heads: vec![NONE; SPOKES], links: Vec::with_capacity(capacity), second: 0 }
    }

    /// Takes down everything.
    pub fn clear(&mut self) {
        self.heads.fill(NONE);
        self.links.clear();
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

    /// Moves the clock to `now`, and takes down all that hangs on the spokes passed: they are appended to `slots`, to be
    /// looked at and hung again if they are not due. The clock never goes back.
    pub fn turn(&mut self, now: u64, slots: &mut Vec<u32>) {
        let to = now / 1_000_000_000;
        let from = self.second;
        if to <= from {
            return;
        }
        self.second = to;
        for second in from..to.min(from + SPOKES as u64) {
            let mut slot = std::mem::replace(&mut self.heads[spoke(second)], NONE);
            while let Some(links) = self.links.get(slot as usize) {
                slots.push(slot);
                slot = links.next;
            }
        }
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

    #[test]
    fn a_slot_comes_down_when_its_second_has_passed() {
        let (mut wheel, mut down) = (Wheel::new(8), Vec::new());
        wheel.turn(100 * SECOND, &mut down);
        for slot in 0..4 {
            wheel.hang(slot, 103 * SECOND + u64::from(slot));
        }
        wheel.turn(103 * SECOND, &mut down);
        assert_eq!(down, []);
        wheel.take_down(3);
        wheel.take_down(1);
        wheel.turn(104 * SECOND, &mut down);
        assert_eq!(down, [2, 0]);
        wheel.hang(1, 105 * SECOND);
        wheel.turn(50 * SECOND, &mut down);
        assert_eq!(down, [2, 0]);
        wheel.turn(100_000 * SECOND, &mut down);
        assert_eq!(down, [2, 0, 1]);
    }

    #[test]
    fn a_slot_hung_before_the_first_turn_comes_down() {
        let (mut wheel, mut down) = (Wheel::new(8), Vec::new());
        wheel.hang(0, 30 * SECOND);
        wheel.turn(31 * SECOND, &mut down);
        assert_eq!(down, [0]);
    }
}
