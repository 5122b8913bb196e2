// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of several destinations gets a record.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
};

use weir_flow::FlowKey;

/// Which of several destinations gets a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// Each.
    #[default]
    All,
    /// The first that takes messages now. What was given to one before it failed waits for it in its spool.
    Failover,
    /// One by the addresses, ports and protocol of the flow, both directions the same, as long as there are as many destinations.
    Hash,
    /// One after the other, a message each, of those that take messages now.
    RoundRobin,
}

/// Names, as an operator writes them.
const NAMES: &[(&str, Policy)] = &[
    ("all", Policy::All),
    ("round-robin", Policy::RoundRobin),
    ("failover", Policy::Failover),
    ("hash", Policy::Hash),
];

/// A policy that does not exist.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is none of all, round-robin, failover and hash")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, policy)| *policy).ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, policy)| policy == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// Where round-robin of the next worker begins: else all would begin with the same destination.
static BEGIN: AtomicUsize = AtomicUsize::new(0);

/// Chooses, for one worker.
#[derive(Debug)]
pub struct Chooser {
    policy: Policy,
    count: usize,
    current: usize,
}

impl Chooser {
    /// Among so many; none if each gets each record. `is_ready` tells which of them takes messages.
    pub fn new(policy: Policy, count: usize, is_ready: impl Fn(usize) -> bool) -> Option<Self> {
        if policy == Policy::All || count < 2 {
            return None;
        }
        let begin = if policy == Policy::RoundRobin { BEGIN.fetch_add(1, Ordering::Relaxed) % count } else { 0 };
        let mut chooser = Self { policy, count, current: begin };
        if policy == Policy::Failover {
            chooser.message_is_done(is_ready);
        }
        Some(chooser)
    }

    /// Which one gets this record.
    #[inline]
    pub fn choose(&self, key: &FlowKey) -> usize {
        match self.policy {
            Policy::Hash => hash(key) % self.count,
            _ => self.current,
        }
    }

    /// The message to which the last record came is on its way: which one gets the next.
    pub fn message_is_done(&mut self, is_ready: impl Fn(usize) -> bool) {
        match self.policy {
            Policy::All | Policy::Hash => {}
            // If none is ready, the first has the best spool that there is: its own.
            Policy::Failover => self.current = (0..self.count).find(|index| is_ready(*index)).unwrap_or(0),
            Policy::RoundRobin => {
                let next = |step: &usize| (self.current + step) % self.count;
                let ready = (1..=self.count).find(|step| is_ready(next(step)));
                self.current = next(&ready.unwrap_or(1));
            }
        }
    }
}

/// The same for both directions, on each machine and in each run.
fn hash(key: &FlowKey) -> usize {
    let end = |ip: [u8; 16], port: u16| {
        let ip = u128::from_be_bytes(ip);
        #[expect(clippy::cast_possible_truncation, reason = "halves")]
        let ip = ((ip >> 64) as u64).wrapping_mul(MIX).rotate_left(31).wrapping_add(ip as u64);
        (ip ^ u64::from(port) << 40).wrapping_mul(MIX)
    };
    let both = end(key.src, key.src_port).wrapping_add(end(key.dst, key.dst_port));
    let mixed = (both ^ both >> 32 ^ u64::from(key.protocol)).wrapping_mul(MIX);
    usize::try_from(mixed >> 40).unwrap_or(0)
}

/// 2^64 divided by the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, policy) in NAMES {
            assert_eq!((name.parse::<Policy>(), policy.to_string().as_str()), (Ok(*policy), *name));
        }
        assert!("some".parse::<Policy>().is_err());
    }

    #[test]
    fn one_is_chosen_among_those_that_are_ready() {
        let key = FlowKey::default();
        let mut failover = Chooser::new(Policy::Failover, 3, |n| n == 2).unwrap();
        let chosen = |chooser: &mut Chooser, ready: &[usize]| {
            chooser.message_is_done(|n| ready.contains(&n));
            chooser.choose(&key)
        };
        assert_eq!(failover.choose(&key), 2);
        assert_eq!(chosen(&mut failover, &[1, 2]), 1);
        assert_eq!(chosen(&mut failover, &[]), 0);
        let mut turn = Chooser::new(Policy::RoundRobin, 3, |_| true).unwrap();
        turn.current = 0;
        let turns: Vec<_> = (0..4).map(|_| chosen(&mut turn, &[0, 2])).collect();
        assert_eq!(turns, [2, 0, 2, 0]);
        assert_eq!([(); 3].map(|()| chosen(&mut turn, &[])), [1, 2, 0]);
        assert!(Chooser::new(Policy::All, 3, |_| true).is_none());
        assert!(Chooser::new(Policy::Hash, 1, |_| true).is_none());
    }

    #[test]
    fn directions_stay_together_and_flows_are_spread() {
        let mut counts = [0; 3];
        for n in 0..3000_u16 {
            let [a, b] = n.to_be_bytes();
            let (client, server) = ([10, 0, a, b].into(), [192, 0, 2, 1].into());
            let there = hash(&FlowKey::new(client, server, 1024 + n % 7, 80, 6));
            assert_eq!(there, hash(&FlowKey::new(server, client, 80, 1024 + n % 7, 6)));
            counts[there % 3] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
