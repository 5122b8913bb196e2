// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The clock of live capture: packets' time, held to the time that really passes.
//!
//! Timestamps of the kernel are the wall clock's, which may be set at any time. What passes is told by the monotonic clock.
//! So the meter's time begins as the wall clock's and goes on as the monotonic clock does; a packet's place in it is its
//! timestamp less what the wall clock is ahead by now, held between the present and [`LATE`] before it. So
//!
//! - where nobody sets a clock, flows expire by packets' timestamps, as they do in a file;
//! - a wall clock that is set, forward or back, moves no timeout; it is counted when it goes by more than [`STEP`] at once;
//! - timestamps of an interface's own clock, however wrong, move timeouts by two seconds at most.
//!
//! Records have the timestamps as they came. While the machine sleeps, the monotonic clock stands still; the wall clock is then
//! set forward.

use std::time::Duration;

use weir_flow::Timestamp;

/// Longest time before the present that a packet may be of: more than packets wait in a ring.
const LATE: u64 = 2_000_000_000;
/// Least that the wall clock is set by: time servers correct smaller errors by a clock that runs faster or slower.
const STEP: i64 = 100_000_000;

weir_flow::counters! {
    /// What the clocks of a live source did.
    pub struct Timing {
        #[doc = "times that the wall clock was set forward by more than 100 ms; no timeout moved"]
        pub wall_clock_steps_forward,
        #[doc = "times that the wall clock was set back by more than 100 ms; no timeout moved"]
        pub wall_clock_steps_back,
    }
}

/// The time of a live source. Times that it is given are nanoseconds of the wall clock, and time that passed since it was made.
#[derive(Debug)]
pub struct Present {
    /// The wall clock at the beginning.
    begin: u64,
    now: u64,
    /// What the wall clock is ahead of this one by.
    ahead: i64,
    /// What it did.
    pub timing: Timing,
}

impl Present {
    /// Begins at a time of the wall clock.
    pub fn new(wall: Timestamp) -> Self {
        // So late a time that none is left is no time that a clock shows.
        let begin = wall.as_nanos().min(u64::MAX / 2);
        Self { begin, now: begin, ahead: 0, timing: Timing::default() }
    }

    /// So much time has passed since the beginning.
    #[inline]
    pub fn goes_on(&mut self, passed: Duration) {
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        self.now = self.now.max(self.begin.saturating_add(passed));
    }

    /// Looks at the wall clock, which must be read when [`Self::goes_on`] is told the time. How far it was set since it was
    /// looked at last, in nanoseconds, if it was.
    pub fn look_at(&mut self, wall: Timestamp) -> Option<i64> {
        let ahead = wall.as_nanos().wrapping_sub(self.now).cast_signed();
        let set_by = ahead.saturating_sub(self.ahead);
        self.ahead = ahead;
        self.timing.wall_clock_steps_forward += u64::from(set_by > STEP);
        self.timing.wall_clock_steps_back += u64::from(set_by < -STEP);
        (set_by.unsigned_abs() > STEP.unsigned_abs()).then_some(set_by)
    }

    /// The present.
    #[inline]
    pub const fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    /// When a packet with this timestamp was observed.
    #[inline]
    pub fn of(&self, ts: Timestamp) -> Timestamp {
        let here = ts.as_nanos().saturating_sub_signed(self.ahead);
        Timestamp::from_nanos(here.clamp(self.now.saturating_sub(LATE), self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const DAY: u64 = 1_700_000_000 * S;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn a_clock_that_is_set_moves_nothing_and_is_counted() {
        let mut present = Present::new(at(DAY));
        present.goes_on(Duration::from_secs(10));
        assert_eq!(present.look_at(at(DAY + 10 * S + 1_000_000)), None, "it runs a little faster");
        // An hour forward: before and after anybody has looked.
        present.goes_on(Duration::from_secs(11));
        assert_eq!(present.of(at(DAY + 3_611 * S)), at(DAY + 11 * S));
        assert!(present.look_at(at(DAY + 3_611 * S)).is_some());
        present.goes_on(Duration::from_secs(12));
        assert_eq!(present.of(at(DAY + 3_612 * S - 5)), at(DAY + 12 * S - 5));
        // What still waited is of before.
        assert_eq!(present.of(at(DAY + 10 * S)), at(DAY + 10 * S));
        // Two hours back.
        assert_eq!(present.of(at(DAY - 3_588 * S)), at(DAY + 10 * S));
        assert!(present.look_at(at(DAY - 3_588 * S)).is_some());
        assert_eq!(present.of(at(DAY - 3_588 * S)), at(DAY + 12 * S));
        let Timing { wall_clock_steps_forward, wall_clock_steps_back } = present.timing;
        assert_eq!((wall_clock_steps_forward, wall_clock_steps_back), (1, 1));
    }

    #[test]
    fn no_timestamp_is_of_the_future_or_long_ago() {
        for wall in [0, DAY, u64::MAX] {
            let mut present = Present::new(at(wall));
            present.goes_on(Duration::from_secs(100));
            let now = present.now().as_nanos();
            for ts in [0, 1, DAY, now, u64::MAX / 2, u64::MAX] {
                let told = present.of(at(ts)).as_nanos();
                assert!((now - 2 * S..=now).contains(&told), "{wall} {ts}");
                present.look_at(at(ts));
            }
            present.goes_on(Duration::ZERO);
            assert_eq!(present.now().as_nanos(), now, "it does not go back");
        }
    }
}
