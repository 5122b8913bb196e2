// SPDX-License-Identifier: MIT OR Apache-2.0
//! The search for the highest rate without loss, in the manner of RFC 2544, section 26.1: a trial at a rate; a lower rate if a
//! packet was lost, a higher one if none was.
//!
//! The first trial is flat out: whoever loses nothing then is limited by the sender, and there is nothing to search. After that each trial
//! halves what is between the highest rate that passed and the lowest that failed, until that is within the resolution.

/// Part of the rate asked for that a sender must reach; who reaches less is at its limit.
const REACHED: f64 = 0.98;
/// Packets per second below which nothing is searched.
const LEAST: f64 = 1000.0;

/// A search, between two trials.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    resolution: f64,
    passed: Option<f64>,
    failed: Option<f64>,
    is_limited_by_sender: bool,
}

/// The rate of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Offer {
    /// As many as there can be.
    FlatOut,
    /// Packets per second.
    Rate(u64),
}

impl Search {
    /// A search that ends when it is exact to this part of the rate, such as 0.02.
    #[must_use]
    pub const fn new(resolution: f64) -> Self {
        Self { resolution, passed: None, failed: None, is_limited_by_sender: false }
    }

    /// The next trial; `None` if there is none to be made.
    #[must_use]
    pub fn next(&self) -> Option<Offer> {
        if self.is_limited_by_sender {
            return None;
        }
        let Some(failed) = self.failed else { return Some(Offer::FlatOut) };
        let passed = self.passed.unwrap_or(0.0);
        if failed < LEAST || failed - passed <= self.resolution * failed {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two rates")]
        let middle = f64::midpoint(passed, failed) as u64;
        Some(Offer::Rate(middle))
    }

    /// Takes in a trial: the rate at which packets were sent, and whether none was lost.
    pub fn note(&mut self, offer: Offer, sent_rate: f64, is_loss_free: bool) {
        let is_short = match offer {
            Offer::FlatOut => true,
            Offer::Rate(rate) => sent_rate < REACHED * rate as f64,
        };
        if is_loss_free {
            self.passed = Some(self.passed.map_or(sent_rate, |passed| passed.max(sent_rate)));
            self.is_limited_by_sender = is_short;
        } else {
            // A machine that was busy elsewhere may have failed below what had passed: then that was luck.
            self.failed = Some(self.failed.map_or(sent_rate, |failed| failed.min(sent_rate)));
            self.passed = self.passed.filter(|passed| *passed < sent_rate);
        }
    }

    /// Highest rate at which no packet was lost, in packets per second; `None` if there was none.
    #[must_use]
    pub const fn loss_free_rate(&self) -> Option<f64> {
        self.passed
    }

    /// Whether the sender cannot do more with this receiver at work.
    #[must_use]
    pub const fn is_limited_by_sender(&self) -> bool {
        self.is_limited_by_sender
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search with a sender of such a limit and a receiver of such a one: the result, and how many trials it took.
    fn search(sender: f64, receiver: f64) -> (Search, usize) {
        let mut search = Search::new(0.02);
        let mut trials = 0;
        while let Some(offer) = search.next() {
            let rate = match offer {
                Offer::FlatOut => sender,
                Offer::Rate(rate) => sender.min(rate as f64),
            };
            search.note(offer, rate, rate <= receiver);
            trials += 1;
            assert!(trials < 50, "{search:?}");
        }
        (search, trials)
    }

    #[test]
    fn a_receiver_that_takes_everything_needs_one_trial() {
        let (search, trials) = search(700_000.0, 1e9);
        assert_eq!((trials, search.loss_free_rate()), (1, Some(700_000.0)));
        assert!(search.is_limited_by_sender());
    }

    #[test]
    fn the_limit_of_the_receiver_is_found_within_the_resolution() {
        for limit in [695_000.0, 350_000.0, 123_456.0, 20_000.0] {
            let (search, trials) = search(700_000.0, limit);
            let found = search.loss_free_rate().unwrap();
            assert!(found <= limit && found > 0.97 * limit, "{limit}: {found}");
            assert!(!search.is_limited_by_sender() && trials < 14, "{limit}: {trials}");
        }
    }

    #[test]
    fn who_loses_at_any_rate_has_none() {
        let (search, _) = search(700_000.0, 0.0);
        assert_eq!(search.loss_free_rate(), None);
    }

    #[test]
    fn a_rate_that_the_sender_does_not_reach_ends_the_search() {
        let mut search = Search::new(0.02);
        search.note(Offer::FlatOut, 500_000.0, false);
        search.note(Offer::Rate(250_000), 200_000.0, true);
        assert!(search.is_limited_by_sender() && search.next().is_none());
        assert_eq!(search.loss_free_rate(), Some(200_000.0));
    }
}
