// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long to wait between attempts: twice as long each time, up to a limit, and never as long as others do.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Waiting time before the first repetition.
const FIRST: Duration = Duration::from_millis(100);
/// Longest waiting time.
const LONGEST: Duration = Duration::from_secs(30);

/// The state of one destination's attempts.
#[derive(Debug)]
pub struct BackOff {
    failures: u32,
    chance: RandomState,
}

impl BackOff {
    /// No attempt has failed yet.
    pub fn new() -> Self {
        Self { failures: 0, chance: RandomState::new() }
    }

    /// Attempts that failed in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt was worth it: the next failure is the first again.
    pub const fn succeed(&mut self) {
        self.failures = 0;
    }

    /// An attempt has failed: how long to wait for the next one. Of the doubled time, a half at least; how much of the other
    /// half is left to chance, so that exporters of one collector do not all come back at the same moment.
    pub fn fail(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = doubled / 2;
        let chance = self.chance.hash_one(self.failures) % 1024;
        half + half * u32::try_from(chance).unwrap_or(0) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit_and_starts_anew() {
        let mut back_off = BackOff::new();
        for failure in 0..40 {
            let doubled = FIRST.saturating_mul(1 << failure.min(16)).min(LONGEST);
            let pause = back_off.fail();
            assert!(pause >= doubled / 2 && pause <= doubled, "{failure}: {pause:?}");
        }
        assert_eq!(back_off.failures(), 40);
        back_off.succeed();
        assert!(back_off.fail() <= FIRST);
    }

    #[test]
    fn exporters_do_not_come_back_together() {
        let pauses = |mut back_off: BackOff| (0..8).map(|_| back_off.fail()).collect::<Vec<_>>();
        assert_ne!(pauses(BackOff::new()), pauses(BackOff::new()));
    }
}
