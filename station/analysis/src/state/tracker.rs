// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of attacks, the same for every detector: cases under observation, attacks opened, updated and closed.
//!
//! A case collects what is known about one key. Records only add to cases; whether a case is an attack is judged on the
//! tick of the event clock, in the order of the keys, so that the order of records between two ticks does not matter. A
//! case ends when nothing was added for the idle timeout, or when room is needed: then it is judged before it is dropped.

use std::{collections::BTreeSet, hash::Hash};

use weir_flow::Timestamp;

use super::Table;
use crate::{
    alert::{Alert, AlertId, AlertState},
    detector::{Activity, Limits},
};

/// What one detector makes of its cases.
pub trait Rules {
    /// What a case is about.
    type Key: Copy + Eq + Hash + Ord;
    /// What is known about it.
    type Case: Default;

    /// Whether the case, which was worth judging, is an attack at `now`. If not, it must give back what a suspect needs.
    fn is_attack(&self, key: &Self::Key, case: &mut Self::Case, now: Timestamp) -> bool;

    /// Told when an attack is opened, before its first alert.
    fn opened(&self, _key: &Self::Key, _case: &mut Self::Case) {}

    /// Told when an attack was not opened because too many are open.
    fn suppressed(&self, _case: &mut Self::Case) {}

    /// Whether an open attack goes on at `now`; if not, it is ended and [`Self::calmed`]. A scan goes on until it is idle.
    fn goes_on(&self, _key: &Self::Key, _case: &mut Self::Case, _now: Timestamp) -> bool {
        true
    }

    /// Told when an attack has ended while its case remains.
    fn calmed(&self, _case: &mut Self::Case) {}

    /// Whether one more attack may be opened beside those that are open.
    fn admits(&self, _key: &Self::Key, _open: &BTreeSet<Self::Key>) -> bool {
        true
    }

    /// The key as text, for the identifier of the attack.
    fn identity(&self, key: &Self::Key) -> String;

    /// The alert of an open attack, all but identifier, sequence, state and time of detection.
    fn alert(&self, key: &Self::Key, case: &Self::Case) -> Alert;
}

/// Bounds and times of a tracker.
pub type TrackerLimits = Limits;

struct Life {
    id: AlertId,
    sequence: u32,
    reported: Timestamp,
    changed: bool,
}

struct Tracked<C> {
    case: C,
    life: Option<Life>,
}

/// Cases and attacks of one kind.
pub struct Tracker<R: Rules> {
    rules: R,
    limits: TrackerLimits,
    table: Table<R::Key, Tracked<R::Case>>,
    /// To be judged at the next tick.
    pending: BTreeSet<R::Key>,
    open: BTreeSet<R::Key>,
    activity: Activity,
}

impl<R: Rules> Tracker<R> {
    /// A tracker without cases.
    #[must_use]
    pub fn new(rules: R, limits: TrackerLimits) -> Self {
        Self {
            table: Table::new(limits.max_entries),
            rules,
            limits,
            pending: BTreeSet::new(),
            open: BTreeSet::new(),
            activity: Activity::default(),
        }
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> &R {
        &self.rules
    }

    /// What it did so far; alerts and records are counted by the engine.
    #[must_use]
    pub const fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Cases under observation, attacks included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Attacks that are open.
    #[must_use]
    pub const fn open(&self) -> &BTreeSet<R::Key> {
        &self.open
    }

    /// Adds to the case of `key`, which is made if there is none. `add` says whether the case is worth judging.
    pub fn update(
        &mut self,
        key: R::Key,
        now: Timestamp,
        out: &mut Vec<Alert>,
        add: impl FnOnce(&R, &mut R::Case) -> bool,
    ) {
        if let Some((old, tracked)) = self.table.make_room(&key) {
            self.activity.entries_evicted += 1;
            self.close(old, tracked, now, out);
        }
        let Some((tracked, new)) = self.table.update(key, now, || Tracked { case: R::Case::default(), life: None })
        else {
            return;
        };
        self.activity.entries_created += u64::from(new);
        let worth_judging = add(&self.rules, &mut tracked.case);
        if let Some(life) = &mut tracked.life {
            life.changed = true;
        } else if worth_judging && self.pending.len() < self.limits.max_open_attacks {
            self.pending.insert(key);
        } else if worth_judging {
            // A suspect costs more memory than other cases: there are never more than of attacks.
            let (open, activity) = (&mut self.open, &mut self.activity);
            open_if_attack(&self.rules, &self.limits, open, activity, key, tracked, now, out);
        }
    }

    /// The case of `key` if there is one; looking at it does not keep it from expiring.
    pub fn case(&mut self, key: &R::Key) -> Option<&mut R::Case> {
        self.table.get_mut(key).map(|t| &mut t.case)
    }

    /// Judges, reports, and drops what is idle, as of `now`.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        for key in std::mem::take(&mut self.pending) {
            let Some(tracked) = self.table.get_mut(&key) else { continue };
            open_if_attack(&self.rules, &self.limits, &mut self.open, &mut self.activity, key, tracked, now, out);
        }
        let idle = self.limits.idle_timeout.duration();
        let limit = now.as_nanos().saturating_sub(u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX));
        while let Some((key, tracked)) = self.table.expire(Timestamp::from_nanos(limit)) {
            self.activity.entries_expired += 1;
            self.close(key, tracked, now, out);
        }
        let keys: Vec<_> = self.open.iter().copied().collect();
        for key in keys {
            let Some(tracked) = self.table.get_mut(&key) else { continue };
            let Some(life) = &mut tracked.life else { continue };
            if !self.rules.goes_on(&key, &mut tracked.case, now) {
                out.push(next_alert(&self.rules, &key, &tracked.case, life, AlertState::Ended, now));
                tracked.life = None;
                self.open.remove(&key);
                self.rules.calmed(&mut tracked.case);
            } else if life.changed && now.since(life.reported) >= self.limits.report_interval.duration() {
                out.push(next_alert(&self.rules, &key, &tracked.case, life, AlertState::Update, now));
            }
        }
    }

    /// Judges all that is pending, ends all attacks in the order of their keys, and forgets everything.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        self.tick(now, out);
        for key in std::mem::take(&mut self.open) {
            let Some(tracked) = self.table.get_mut(&key) else { continue };
            if let Some(life) = &mut tracked.life {
                out.push(next_alert(&self.rules, &key, &tracked.case, life, AlertState::Ended, now));
            }
        }
        self.activity.entries_expired += self.table.len() as u64;
        self.table.clear();
    }

    fn close(&mut self, key: R::Key, mut tracked: Tracked<R::Case>, now: Timestamp, out: &mut Vec<Alert>) {
        if self.pending.remove(&key) {
            let (open, activity) = (&mut self.open, &mut self.activity);
            open_if_attack(&self.rules, &self.limits, open, activity, key, &mut tracked, now, out);
        }
        self.open.remove(&key);
        if let Some(life) = &mut tracked.life {
            out.push(next_alert(&self.rules, &key, &tracked.case, life, AlertState::Ended, now));
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of a tracker, one of which lends the case")]
fn open_if_attack<R: Rules>(
    rules: &R,
    limits: &TrackerLimits,
    open: &mut BTreeSet<R::Key>,
    activity: &mut Activity,
    key: R::Key,
    tracked: &mut Tracked<R::Case>,
    now: Timestamp,
    out: &mut Vec<Alert>,
) {
    if tracked.life.is_some() || !rules.is_attack(&key, &mut tracked.case, now) {
        return;
    }
    if open.len() >= limits.max_open_attacks || !rules.admits(&key, open) {
        activity.attacks_suppressed += 1;
        rules.suppressed(&mut tracked.case);
        return;
    }
    rules.opened(&key, &mut tracked.case);
    let draft = rules.alert(&key, &tracked.case);
    let id = AlertId::derive(&draft.detector, &draft.kind, &rules.identity(&key), draft.first_time);
    let life = tracked.life.insert(Life { id, sequence: 0, reported: now, changed: false });
    out.push(finished(draft, life, AlertState::New, now));
    open.insert(key);
}

fn next_alert<R: Rules>(
    rules: &R,
    key: &R::Key,
    case: &R::Case,
    life: &mut Life,
    state: AlertState,
    now: Timestamp,
) -> Alert {
    life.sequence += 1;
    life.reported = now;
    life.changed = false;
    finished(rules.alert(key, case), life, state, now)
}

fn finished(draft: Alert, life: &Life, state: AlertState, now: Timestamp) -> Alert {
    Alert { id: life.id, sequence: life.sequence, state, detect_time: now, ..draft }
}
