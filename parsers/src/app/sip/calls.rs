// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of one flow that have begun and not ended, for the times that lie between transactions.

use weir_flow::{Timestamp, allocated};

/// Most calls that are remembered. Of more, those that began first are forgotten: a trunk may carry thousands.
pub(super) const MAX_CALLS: usize = 256;

/// A call by the hash of its Call-ID.
#[derive(Clone, Copy, Debug)]
struct Call {
    id: u64,
    invited: Timestamp,
    answered: Option<Timestamp>,
}

/// Times of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Times {
    pub(super) invited: Timestamp,
    pub(super) answered: Option<Timestamp>,
}

/// Calls, in no order.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

impl Calls {
    /// A call is asked for; that again, as with credentials, changes nothing.
    pub(super) fn invite(&mut self, call_id: &[u8], now: Timestamp) {
        let id = hash(call_id);
        if self.0.iter().any(|call| call.id == id) {
            return;
        }
        if self.0.len() >= MAX_CALLS
            && let Some(first) = (0..self.0.len()).min_by_key(|&index| self.0.get(index).map(|call| call.invited))
        {
            self.0.swap_remove(first);
        }
        self.0.push(Call { id, invited: now, answered: None });
    }

    /// It is answered; that again changes nothing.
    pub(super) fn answer(&mut self, call_id: &[u8], now: Timestamp) {
        let id = hash(call_id);
        self.0.iter_mut().filter(|call| call.id == id).for_each(|call| {
            call.answered.get_or_insert(now);
        });
    }

    /// It is over, or failed.
    pub(super) fn end(&mut self, call_id: &[u8]) -> Option<Times> {
        let id = hash(call_id);
        let Call { invited, answered, .. } = self.0.swap_remove(self.0.iter().position(|call| call.id == id)?);
        Some(Times { invited, answered })
    }

    /// Forgets all, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Bytes of memory that they take.
    pub(super) fn held(&self) -> usize {
        allocated(self.0.capacity() * size_of::<Call>())
    }
}

/// FNV-1a. Who makes two the same gets a wrong duration, of calls of his own flow.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_calls_are_forgotten_when_there_are_too_many() {
        let mut calls = Calls::default();
        for call in 0..2 * MAX_CALLS as u64 {
            calls.invite(&call.to_be_bytes(), Timestamp::from_secs(call));
        }
        assert_eq!(calls.0.len(), MAX_CALLS);
        assert_eq!(calls.end(&0_u64.to_be_bytes()), None);
        let last = 2 * MAX_CALLS as u64 - 1;
        let times = Times { invited: Timestamp::from_secs(last), answered: None };
        assert_eq!(calls.end(&last.to_be_bytes()), Some(times));
        assert_eq!(calls.end(&last.to_be_bytes()), None);
    }
}
