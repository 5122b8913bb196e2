// SPDX-License-Identifier: MIT OR Apache-2.0
//! The event clock: what time it is, as told by records alone.
//!
//! Event time is the latest end of a record so far. A single record with a wrong time must not move it: one that ends more
//! than `max_ahead` after it, or more than `max_behind` before it, is held back. If so many records in a row agree on the
//! other time ([`CONFIRMATIONS`], within `max_ahead` of each other), the stream really is there (a gap in a file, another
//! file): the clock is set to it and the held records count. If a record of the present time comes first, the held ones are
//! ignored. Where the caller knows the wall clock, records more than a day off it are ignored at once.

use serde::{Deserialize, Serialize};
use weir_flow::Timestamp;

use crate::prefix::Span;

/// Records in a row that set the clock to another time.
pub const CONFIRMATIONS: usize = 8;

/// Parameters of the event clock.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockConfig {
    /// Most that a record may be ahead of the clock.
    pub max_ahead: Span,
    /// Most that a record may be behind the clock.
    pub max_behind: Span,
    /// Most that a record may be off the wall clock, where there is one.
    pub max_off_wall: Span,
    /// Detectors judge, report and expire this often, in event time.
    pub tick: Span,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self {
            max_ahead: Span::secs(600),
            max_behind: Span::secs(3_600),
            max_off_wall: Span::secs(86_400),
            tick: Span::secs(10),
        }
    }
}

/// What the clock says of a record's time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It counts.
    Now,
    /// It is to be held back.
    Hold,
    /// It is to be held back, and those held before it are refuted.
    HoldAlone,
    /// It completes those held back: the stream is at another time, which begins at the earliest of them.
    Moved(Timestamp),
    /// It is too far off the wall clock.
    OffWall,
}

/// Event time.
#[derive(Clone, Debug)]
pub struct EventClock {
    config: ClockConfig,
    now: Option<Timestamp>,
    wall: Option<Timestamp>,
    /// How many are held back, and the earliest and the latest of their times.
    held: Option<(usize, Timestamp, Timestamp)>,
}

impl EventClock {
    /// A clock that no record has set.
    #[must_use]
    pub const fn new(config: ClockConfig) -> Self {
        Self { config, now: None, wall: None, held: None }
    }

    /// The time; the epoch before the first record.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now.unwrap_or_default()
    }

    /// Whether a record or a timer has set it.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.now.is_some()
    }

    /// Tells the wall clock; `None`: it says nothing about the records, as with files.
    pub const fn set_wall(&mut self, wall: Option<Timestamp>) {
        self.wall = wall;
    }

    /// Judges the time at which a record ended, without moving the clock.
    pub fn judge(&mut self, end: Timestamp) -> Verdict {
        let within = |a: Timestamp, b: Timestamp, span: Span| a.since(b).max(b.since(a)) <= span.duration();
        if self.wall.is_some_and(|wall| !within(wall, end, self.config.max_off_wall)) {
            return Verdict::OffWall;
        }
        let Some(now) = self.now else { return Verdict::Now };
        if end.since(now) <= self.config.max_ahead.duration() && now.since(end) <= self.config.max_behind.duration() {
            return Verdict::Now;
        }
        let (held, earliest, latest) = match self.held {
            Some((n, first, last)) if within(first.min(end), last.max(end), self.config.max_ahead) => {
                (n + 1, first.min(end), last.max(end))
            }
            held => {
                self.held = Some((1, end, end));
                return if held.is_some() { Verdict::HoldAlone } else { Verdict::Hold };
            }
        };
        if held < CONFIRMATIONS {
            self.held = Some((held, earliest, latest));
            return Verdict::Hold;
        }
        self.held = None;
        Verdict::Moved(earliest)
    }

    /// Forgets those held back; true if there were any.
    pub const fn refute(&mut self) -> bool {
        self.held.take().is_some()
    }

    /// Moves forward; never backwards.
    pub fn advance(&mut self, to: Timestamp) {
        self.now = Some(self.now.map_or(to, |now| now.max(to)));
    }

    /// Sets the clock anew.
    pub const fn set(&mut self, to: Timestamp) {
        self.now = Some(to);
    }

    /// As if no record had been seen; the wall clock remains.
    pub const fn reset(&mut self) {
        self.now = None;
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn clock(now: u64) -> EventClock {
        let mut clock = EventClock::new(ClockConfig::default());
        clock.advance(at(now));
        clock
    }

    #[test]
    fn one_wrong_time_does_not_move_the_clock() {
        let mut clock = clock(1_000_000);
        assert_eq!(clock.judge(at(1_000_600)), Verdict::Now);
        assert_eq!(clock.judge(at(1_000_601)), Verdict::Hold);
        assert_eq!(clock.judge(at(999_000)), Verdict::Now, "late, but not too late");
        assert!(clock.refute());
        assert_eq!(clock.judge(at(1_000_000 - 3_601)), Verdict::Hold);
        assert_eq!(clock.judge(at(9_000_000)), Verdict::HoldAlone, "does not agree with the one before");
        assert_eq!(clock.now(), at(1_000_000));
    }

    #[test]
    fn many_that_agree_move_it() {
        let mut clock = clock(1_000_000);
        for i in 1..CONFIRMATIONS as u64 {
            assert_eq!(clock.judge(at(2_000_000 - i)), Verdict::Hold);
        }
        assert_eq!(clock.judge(at(2_000_000)), Verdict::Moved(at(2_000_001 - CONFIRMATIONS as u64)));
    }

    #[test]
    fn the_wall_clock_bounds_both_ways() {
        let mut clock = clock(1_000_000);
        clock.set_wall(Some(at(1_000_000)));
        assert_eq!(clock.judge(at(1_000_000 + 86_401)), Verdict::OffWall);
        assert_eq!(clock.judge(at(1_000_000 - 86_401)), Verdict::OffWall);
        assert_eq!(clock.judge(at(1_000_000)), Verdict::Now);
    }
}
