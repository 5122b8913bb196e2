// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sequence numbers: what is missing, what came late, and when an exporter began anew.
//!
//! The number of a message says how many units were sent before it: data records in IPFIX, flows in NetFlow version 5,
//! messages in version 9. Some exporters have another habit, and one whose numbers fit that and not the rule is taken at
//! it: in version 9, to count records; in IPFIX, to count the flows of the message itself too, and no options (softflowd).
//!
//! A number that goes back is a late message if it was exported no later than the newest one, since the clock of an
//! exporter goes on; else the exporter began anew. Two messages of the same second around a restart are told apart only
//! by the exporter's own uptime, where the protocol has it.

use weir_flow::Timestamp;

/// A gap beyond this is no loss but another counter.
const MAX_GAP: u32 = 1 << 28;

/// A way to count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Units before the message, as it says; `None` if that is not known.
    pub before: Option<u32>,
    /// Units in it; `None` if that is not known.
    pub units: Option<u32>,
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// By the rule, and by the other habit.
    pub views: [View; 2],
    /// Its export time.
    pub exported: Timestamp,
    /// The exporter's uptime says that it began anew.
    pub restarted: bool,
}

/// What its number means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// The one that had to come, or the first of all.
    InOrder,
    /// Units are missing before it.
    Gap(u32),
    /// It came late or twice; so many missing units are not missing any more.
    Late(u32),
    /// The exporter counts anew.
    Restart,
    /// The number of units before it is unknown.
    Unchecked,
}

/// The sequence numbers of one observation domain in one session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    begun: bool,
    /// Units before the next message, in each view.
    expected: [Option<u32>; 2],
    /// The exporter has the other habit.
    other: bool,
    newest: Timestamp,
    missing: u32,
}

impl Sequence {
    /// Takes note of a message.
    pub(crate) fn message(&mut self, seen: Seen) -> Verdict {
        let ([rule, habit], [by_rule, by_habit]) = (self.expected, seen.views);
        let (rule, habit) = ((rule, by_rule), (habit, by_habit));
        let (view, alternative) = if self.other { (habit, rule) } else { (rule, habit) };
        let verdict = self.judge(view, alternative, &seen);
        if !matches!(verdict, Verdict::Late(_)) {
            self.expected = seen.views.map(|view| Some(view.before?.wrapping_add(view.units?)));
            self.newest = seen.exported;
        }
        self.begun = true;
        verdict
    }

    fn judge(&mut self, view: (Option<u32>, View), alternative: (Option<u32>, View), seen: &Seen) -> Verdict {
        if !self.begun {
            return Verdict::InOrder;
        }
        let fits = |(expected, view): (Option<u32>, View)| expected.is_some() && expected == view.before;
        if fits(view) {
            return Verdict::InOrder;
        }
        if fits(alternative) {
            self.other = !self.other;
            return Verdict::InOrder;
        }
        let (Some(expected), Some(before)) = (view.0, view.1.before) else { return Verdict::Unchecked };
        if seen.restarted {
            return Verdict::Restart;
        }
        let (ahead, behind) = (before.wrapping_sub(expected), expected.wrapping_sub(before));
        if ahead <= MAX_GAP {
            self.missing = self.missing.saturating_add(ahead);
            Verdict::Gap(ahead)
        } else if behind <= MAX_GAP && seen.exported <= self.newest {
            let found = view.1.units.unwrap_or(0).min(self.missing);
            self.missing -= found;
            Verdict::Late(found)
        } else {
            self.missing = 0;
            Verdict::Restart
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: &mut Sequence, number: u32, second: u64, units: u32) -> Verdict {
        let exported = Timestamp::from_secs(second);
        sequence.message(Seen { views: [by_rule(number, Some(units)), NONE], exported, restarted: false })
    }

    const NONE: View = View { before: None, units: None };

    fn by_rule(number: u32, units: Option<u32>) -> View {
        View { before: Some(number), units }
    }

    #[test]
    fn gaps_are_counted_and_late_messages_are_not_lost() {
        let mut sequence = Sequence::default();
        assert_eq!(at(&mut sequence, 1_000, 10, 10), Verdict::InOrder);
        assert_eq!(at(&mut sequence, 1_010, 10, 5), Verdict::InOrder);
        assert_eq!(at(&mut sequence, 1_035, 11, 5), Verdict::Gap(20));
        assert_eq!(at(&mut sequence, 1_015, 10, 15), Verdict::Late(15));
        assert_eq!(at(&mut sequence, 1_030, 11, 5), Verdict::Late(5));
        assert_eq!(at(&mut sequence, 1_030, 11, 5), Verdict::Late(0), "twice");
        assert_eq!(at(&mut sequence, 1_040, 12, 1), Verdict::InOrder);
    }

    #[test]
    fn numbers_wrap() {
        let mut sequence = Sequence::default();
        at(&mut sequence, u32::MAX - 1, 10, 4);
        assert_eq!(at(&mut sequence, 2, 10, 1), Verdict::InOrder);
        at(&mut sequence, u32::MAX, 9, 1);
        assert_eq!(at(&mut sequence, 3, 11, 1), Verdict::InOrder, "a late message moves nothing");
    }

    #[test]
    fn an_exporter_that_begins_anew_has_lost_nothing() {
        let mut sequence = Sequence::default();
        at(&mut sequence, 500, 10, 10);
        assert_eq!(at(&mut sequence, 0, 12, 3), Verdict::Restart);
        assert_eq!(at(&mut sequence, 3, 12, 3), Verdict::InOrder);
        assert_eq!(at(&mut sequence, 3_000_000_000, 13, 3), Verdict::Restart);
        let views = [by_rule(3_000_000_100, Some(1)), NONE];
        let seen = Seen { views, exported: Timestamp::from_secs(13), restarted: true };
        assert_eq!(sequence.message(seen), Verdict::Restart);
    }

    #[test]
    fn version_9_that_counts_records_is_understood() {
        let mut sequence = Sequence::default();
        let mut v9 = |number, records| {
            let exported = Timestamp::from_secs(10);
            let views = [by_rule(number, Some(1)), by_rule(number, Some(records))];
            sequence.message(Seen { views, exported, restarted: false })
        };
        assert_eq!(v9(0, 20), Verdict::InOrder);
        assert_eq!(v9(20, 1), Verdict::InOrder);
        assert_eq!(v9(21, 7), Verdict::InOrder);
        assert_eq!(v9(30, 7), Verdict::Gap(2));
        assert_eq!(v9(37, 7), Verdict::InOrder);
    }

    #[test]
    fn a_number_that_includes_the_message_itself_is_understood() {
        let mut sequence = Sequence::default();
        let mut at = |number: u32, records| {
            let views = [by_rule(number, Some(records)), by_rule(number - records, Some(records))];
            sequence.message(Seen { views, exported: Timestamp::from_secs(10), restarted: false })
        };
        assert_eq!(at(20, 20), Verdict::InOrder);
        assert_eq!(at(27, 7), Verdict::InOrder);
        assert_eq!(at(30, 3), Verdict::InOrder);
        assert_eq!(at(40, 7), Verdict::Gap(3));
    }

    #[test]
    fn after_a_message_of_unknown_size_nothing_is_claimed() {
        let mut sequence = Sequence::default();
        let exported = Timestamp::from_secs(10);
        sequence.message(Seen { views: [by_rule(0, None), NONE], exported, restarted: false });
        assert_eq!(at(&mut sequence, 70, 10, 1), Verdict::Unchecked);
        assert_eq!(at(&mut sequence, 72, 10, 1), Verdict::Gap(1));
    }
}
