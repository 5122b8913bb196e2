// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock: what time it is, as told by packets alone, whichever of their timestamps are wrong.
//!
//! Time is the latest timestamp so far. A timestamp that is wrong must not move it, so one that is more than [`FAR`] from it
//! has to be confirmed by others:
//!
//! - **Ahead.** The packet is held back, and so are those after it, in their order. Of those, the ones that are not far behind
//!   it are for it; those that are, but not far behind the clock, against it. With [`CONFIRMED`] for it, itself one of them,
//!   time did pass: nothing was captured meanwhile, and the clock goes on with it. With as many against it, or a single one
//!   that is of the present, it is dated ahead: it is metered at the present, and the clock has not moved. Then the next one
//!   that waits is judged in the same way. What waits when the source ends is believed if more are for it than against it.
//!   So the last packet is believed: silence before it is more usual than a wrong timestamp in it.
//! - **Behind.** The packet is late; it is metered at the present, and moves nothing. If packets come from there alone until
//!   [`FAR`] has passed there, of which no packet counts for more than [`STEP`], the clock was ahead, or was set back: it goes
//!   on with them.
//!
//! What workers are told never goes back. It is the timestamps' own time until the clock is set back; from then on it goes on
//! with theirs from where it stood. So nothing that a worker remembers is ever of the future, and to set the clock back ends
//! no record; it makes timeouts longer once, by as long as it took to confirm. Whoever deals packets out has the clock, so
//! what it says does not depend on the number of workers, nor on how packets came in batches.

use std::{collections::VecDeque, ops::Range};

use weir_flow::{BATCH, LinkType, Merged, Packet, SharedOctets, Timestamp, ledger::Metered};

use crate::capture::MAX_CAPTURED;

/// Nanoseconds by which a timestamp may be off without being confirmed: less than any usual timeout, and more than packets
/// of one capture are out of order.
pub const FAR: u64 = 10_000_000_000;

/// Packets that move the clock by more than that.
pub const CONFIRMED: usize = 4;

/// Most that a packet which is far behind counts for: [`FAR`] has passed after [`CONFIRMED`] of them at the earliest.
const STEP: u64 = FAR.div_ceil(CONFIRMED as u64 - 1);

/// Packets that are held back at most: with so many, as many are for the first one as it takes, or against it, or the others
/// are far behind the clock.
const WAITING: usize = 2 * CONFIRMED - 1;

/// Longest silence that workers are told of, in nanoseconds; it ends every record. Told as they are, a few wrong timestamps
/// could use up the time that there is, which ends in the year 2554.
const LONGEST: u64 = 30 * 24 * 3_600 * 1_000_000_000;

/// Latest time that workers are told of first: it leaves as much.
const BEGIN: u64 = u64::MAX / 2;

/// Where packets go, in the order observed: with the memory that they lie in, if that may be kept, and the clock at each.
pub type Take<'a> = dyn FnMut(&[Packet<'_>], Option<&SharedOctets>, &[Timestamp]) + 'a;

/// The clock of a source of packets.
#[derive(Debug, Default)]
pub struct Clock {
    /// The latest timestamp that was believed.
    latest: u64,
    /// What workers are told at that time.
    now: u64,
    /// Packets that are held back, and memory for the octets of further ones.
    waiting: VecDeque<Waiting>,
    spare: Vec<Vec<u8>>,
    /// Packets in a row that are far behind, as far as they go on from one another.
    behind: Option<Run>,
    /// The earliest and the latest timestamp that was believed.
    span: Option<(Timestamp, Timestamp)>,
    packets_dated_ahead: u64,
    steps_forward: u64,
    steps_back: u64,
}

/// A packet that is held back.
#[derive(Debug)]
struct Waiting {
    octets: Vec<u8>,
    wire_octets: u32,
    ts: Timestamp,
    interface: u32,
    link: LinkType,
    merged: Merged,
}

/// Packets in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    latest: u64,
    passed: u64,
}

impl Clock {
    /// Octets that the packets take which are held back.
    pub const OCTETS: usize = WAITING * (size_of::<Waiting>() + MAX_CAPTURED as usize);

    /// The earliest and the latest timestamp that was believed; `None` if there was no packet.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    /// Adds what became of timestamps to the counters of their source.
    pub fn count(&self, metered: &mut Metered) {
        metered.packets_dated_ahead += self.packets_dated_ahead;
        metered.clock_steps_forward += self.steps_forward;
        metered.clock_steps_back += self.steps_back;
    }

    /// Goes on with a batch, if there is nothing to its timestamps. The clock at each packet is then the latest of them so
    /// far, or what it was before; to each of them is added what is given here, wrapping: nothing, unless the clock was set
    /// back, or silence was longer than workers are told of. If there is something to them, the batch is for [`Self::tell`].
    #[inline]
    pub fn go_on_with(&mut self, batch: &[Packet<'_>]) -> Option<u64> {
        let Some(first) = batch.first() else { return Some(0) };
        let (mut earliest, mut latest) = (first.ts, first.ts);
        for packet in batch {
            earliest = earliest.min(packet.ts);
            latest = latest.max(packet.ts);
        }
        if self.span.is_none() {
            // There is nothing to compare it with.
            self.latest = first.ts.as_nanos();
            self.now = self.latest.min(BEGIN);
        }
        let end = latest.as_nanos().max(self.latest);
        let passed = end - self.latest;
        let is_settled = self.waiting.is_empty() && self.behind.is_none() && self.now <= u64::MAX - FAR;
        if !is_settled || passed > FAR || is_far(earliest.as_nanos(), end) {
            return None;
        }
        self.believe(earliest, latest);
        (self.latest, self.now) = (end, self.now + passed);
        Some(self.now.wrapping_sub(end))
    }

    /// Gives out a batch that [`Self::go_on_with`] did not go on with, with the clock at each packet; and before it, what was
    /// held back. Of `packets`, it may hold some back.
    #[cold]
    #[inline(never)]
    pub fn tell(&mut self, packets: &[Packet<'_>], shared: Option<&SharedOctets>, take: &mut Take<'_>) {
        for batch in packets.chunks(BATCH) {
            let mut clocks = [Timestamp::ZERO; BATCH];
            // Those before this one are given out, or held back.
            let mut begin = 0;
            for (index, packet) in batch.iter().enumerate() {
                if !self.waiting.is_empty() || is_far(self.latest, packet.ts.as_nanos()) {
                    give(batch, &clocks, begin..index, shared, take);
                    self.hold(packet);
                    self.release(false, take);
                    begin = index + 1;
                } else if let Some(clock) = clocks.get_mut(index) {
                    *clock = self.at_present(packet.ts);
                }
            }
            give(batch, &clocks, begin..batch.len(), shared, take);
        }
    }

    /// Gives out what is held back: the source has ended.
    pub fn finish(&mut self, take: &mut Take<'_>) {
        self.release(true, take);
    }

    fn hold(&mut self, packet: &Packet<'_>) {
        let Packet { data, wire_octets, ts, interface, link, merged } = *packet;
        let mut octets = self.spare.pop().unwrap_or_default();
        octets.clear();
        // No more than it takes: the bound counts on it.
        octets.reserve_exact(data.len());
        octets.extend_from_slice(data);
        self.waiting.push_back(Waiting { octets, wire_octets, ts, interface, link, merged });
    }

    /// Gives out those held back of which it is known what to make.
    fn release(&mut self, is_end: bool, take: &mut Take<'_>) {
        while let Some(ts) = self.waiting.front().map(|first| first.ts) {
            let clock = if !is_far(self.latest, ts.as_nanos()) {
                self.at_present(ts)
            } else {
                match self.judge(ts.as_nanos(), is_end) {
                    Some(true) => self.go_on(ts),
                    Some(false) => self.packets_dated_ahead += 1,
                    None => return,
                }
                self.behind = None;
                self.now()
            };
            if let Some(first) = self.waiting.pop_front() {
                take(&[first.packet()], None, &[clock]);
                self.spare.push(first.octets);
            }
        }
    }

    /// Whether the first that waits, which is far ahead, is to be believed, as told by the others; `None` if it is not known
    /// yet.
    fn judge(&self, ts: u64, is_end: bool) -> Option<bool> {
        let (mut confirming, mut refuting) = (1, 0);
        for other in self.waiting.iter().skip(1).map(|other| other.ts.as_nanos()) {
            if !is_far(other, ts) {
                confirming += 1;
            } else if !is_far(other, self.latest) {
                refuting += if is_far(self.latest, other) { 1 } else { CONFIRMED };
            }
        }
        match (confirming, refuting) {
            (_, CONFIRMED..) => Some(false),
            (CONFIRMED.., _) => Some(true),
            _ if is_end => Some(confirming > refuting),
            _ => (self.waiting.len() >= WAITING).then_some(false),
        }
    }

    /// The clock at a packet that is not far ahead.
    fn at_present(&mut self, ts: Timestamp) -> Timestamp {
        if is_far(ts.as_nanos(), self.latest) {
            self.fall_behind(ts.as_nanos());
        } else {
            self.behind = None;
            self.go_on(ts);
        }
        self.now()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    fn believe(&mut self, earliest: Timestamp, latest: Timestamp) {
        let (begin, end) = self.span.unwrap_or((earliest, latest));
        self.span = Some((begin.min(earliest), end.max(latest)));
    }

    fn go_on(&mut self, ts: Timestamp) {
        self.believe(ts, ts);
        let Some(passed) = ts.as_nanos().checked_sub(self.latest) else { return };
        self.steps_forward += u64::from(passed > FAR);
        self.latest = ts.as_nanos();
        self.now = self.now.saturating_add(passed.min(LONGEST));
    }

    fn fall_behind(&mut self, ts: u64) {
        let run = match self.behind {
            Some(Run { latest, passed }) if !is_far(ts, latest) => {
                Run { latest: latest.max(ts), passed: passed + ts.saturating_sub(latest).min(STEP) }
            }
            _ => Run { latest: ts, passed: 0 },
        };
        self.behind = Some(run);
        if run.passed >= FAR {
            self.behind = None;
            self.latest = run.latest;
            self.steps_back += 1;
        }
    }
}

impl Waiting {
    fn packet(&self) -> Packet<'_> {
        let Self { wire_octets, ts, interface, link, merged, .. } = *self;
        Packet { data: &self.octets, wire_octets, ts, interface, link, merged }
    }
}

/// What the clock is at a timestamp, as [`Clock::go_on_with`] gave it.
#[inline]
pub fn later(ts: Timestamp, offset: u64) -> Timestamp {
    Timestamp::from_nanos(ts.as_nanos().wrapping_add(offset))
}

/// Whether a time is far before another one.
fn is_far(from: u64, to: u64) -> bool {
    to.saturating_sub(from) > FAR
}

/// Gives out a part of a batch, if it has packets.
fn give(
    batch: &[Packet<'_>],
    clocks: &[Timestamp],
    part: Range<usize>,
    shared: Option<&SharedOctets>,
    take: &mut Take<'_>,
) {
    if let (Some(packets @ [_, ..]), Some(clocks)) = (batch.get(part.clone()), clocks.get(part)) {
        take(packets, shared, clocks);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const S: u64 = 1_000_000_000;
    const YEAR: u64 = 365 * 86_400;
    /// 2023-11-14.
    const DAY: u64 = 1_700_000_000;

    /// The clock at each packet of these times, which come in batches of these sizes, over and over.
    fn clocks(times: &[u64], sizes: &[usize]) -> (Vec<u64>, Metered) {
        let at = |(index, ts): (usize, &u64)| Packet {
            data: &[],
            wire_octets: index as u32,
            ts: Timestamp::from_nanos(*ts),
            interface: 0,
            link: LinkType::NULL,
            merged: Merged::NOT,
        };
        let packets: Vec<_> = times.iter().enumerate().map(at).collect();
        let (mut clock, mut told) = (Clock::default(), Vec::new());
        let mut take = |packets: &[Packet<'_>], clocks: &[Timestamp]| {
            assert_eq!(packets.len(), clocks.len());
            for (packet, clock) in packets.iter().zip(clocks) {
                assert_eq!(packet.wire_octets as usize, told.len(), "the order of observation");
                assert!(told.last() <= Some(&clock.as_nanos()), "it never goes back");
                told.push(clock.as_nanos());
            }
        };
        let mut rest = &packets[..];
        for size in sizes.iter().cycle() {
            let (batch, behind) = rest.split_at(rest.len().min(*size));
            let mut now = if clock.span.is_some() { clock.now } else { 0 };
            if let Some(offset) = clock.go_on_with(batch) {
                for packet in batch {
                    now = now.max(later(packet.ts, offset).as_nanos());
                    take(std::slice::from_ref(packet), &[Timestamp::from_nanos(now)]);
                }
                assert!(batch.is_empty() || clock.now == now);
            } else {
                clock.tell(batch, None, &mut |packets, _, clocks| take(packets, clocks));
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        clock.finish(&mut |packets, _, clocks| take(packets, clocks));
        assert_eq!(told.len(), times.len());
        let mut metered = Metered::default();
        clock.count(&mut metered);
        (told, metered)
    }

    /// The same in seconds, and how many were dated ahead, the steps forward, and those back.
    fn seconds(times: &[u64]) -> (Vec<u64>, [u64; 3]) {
        let times: Vec<_> = times.iter().map(|time| time * S).collect();
        let (told, metered) = clocks(&times, &[64]);
        let counters = [metered.packets_dated_ahead, metered.clock_steps_forward, metered.clock_steps_back];
        (told.iter().map(|time| time / S).collect(), counters)
    }

    #[test]
    fn a_few_packets_far_ahead_do_not_move_it() {
        let times = [100, 100 + YEAR, 101, 102 + YEAR, 103 + YEAR, 104 + YEAR, 105, 106 + YEAR, 111];
        assert_eq!(seconds(&times), (vec![100, 100, 101, 101, 101, 101, 105, 105, 111], [5, 0, 0]));
    }

    #[test]
    fn silence_is_believed_once_packets_go_on_behind_it() {
        let times = [100, 700, 699, 701, 703, 704];
        assert_eq!(seconds(&times), (vec![100, 700, 700, 701, 703, 704], [0, 1, 0]));
        // A wrong timestamp right before does not hide it, nor one among them.
        let times = [100, YEAR, 700, 701, 702, 703];
        assert_eq!(seconds(&times), (vec![100, 100, 700, 701, 702, 703], [1, 1, 0]));
        let right = vec![100, 700, 701, 702, 703];
        for (wrong, ahead) in [(YEAR, 1), (300, 0), (50, 0)] {
            for at in 2..right.len() {
                let (mut times, mut told) = (right.clone(), right.clone());
                times.insert(at, wrong);
                told.insert(at, right[at - 1]);
                assert_eq!(seconds(&times), (told, [ahead, 1, 0]), "{times:?}");
            }
        }
    }

    #[test]
    fn packets_may_be_far_from_one_another() {
        let times: Vec<_> = (0..10).map(|hour| 100 + 3_600 * hour).collect();
        assert_eq!(seconds(&times), (times.clone(), [0, 9, 0]));
        assert_eq!(seconds(&[100, 700]), (vec![100, 700], [0, 1, 0]), "the last packet is believed");
        assert_eq!(seconds(&[100, YEAR, 700, 701]), (vec![100, 100, 700, 701], [1, 1, 0]), "others refute it");
    }

    #[test]
    fn it_goes_on_with_packets_that_stay_behind() {
        // For a while somebody's clock is an hour ahead.
        let times = [100, 3_701, 3_702, 3_703, 3_704, 105, 107, 110, 112, 115, 116, 117];
        let told = vec![100, 3_701, 3_702, 3_703, 3_704, 3_704, 3_704, 3_704, 3_704, 3_704, 3_705, 3_706];
        assert_eq!(seconds(&times), (told, [0, 1, 1]));
        // The first packet is wrong.
        let times = [DAY + YEAR, DAY, DAY + 4, DAY + 8, DAY + 12, DAY + 41, DAY + 42, DAY + 43, DAY + 44];
        let told = [0, 0, 0, 0, 0, 29, 30, 31, 32].map(|second| DAY + YEAR + second);
        assert_eq!(seconds(&times), (told.to_vec(), [0, 1, 1]));
    }

    #[test]
    fn late_packets_do_not_set_it_back() {
        // Never alone for ten seconds of theirs: another one comes between, or they do not go on from one another.
        let mut times = vec![100, 50, 51, 52, 100, 53, 70, 85, 100, 40, 41, 42, 43, 20, 21, 30, 101];
        // Nor does a jump there count as time that passed.
        times.extend([40, 85, 86, 87, 20, 55, 85, 101]);
        let (told, counters) = seconds(&times);
        assert_eq!((told.last(), counters), (Some(&101), [0, 0, 0]));
    }

    #[test]
    fn the_end_of_all_time_leaves_time() {
        let end = u64::MAX;
        for first in [end, DAY * S] {
            let mut times = vec![first, end, end, end, end];
            times.extend((0..60).map(|second| (DAY + second) * S));
            let (told, _) = clocks(&times, &[64]);
            assert_eq!(told[64] - told[34], 30 * S, "{told:?}");
        }
    }

    /// Times that go on, at most five seconds at a time and out of order by at most five.
    fn steady() -> impl Strategy<Value = Vec<u64>> {
        vec((0..5 * S, 0..5 * S), 1..50).prop_map(|steps| {
            let mut now = DAY * S;
            steps.into_iter().map(|(step, late)| (now += step, now - late).1).collect()
        })
    }

    fn latest_so_far(times: &[u64]) -> Vec<u64> {
        times
            .iter()
            .scan(0, |latest, time| {
                *latest = *time.max(latest);
                Some(*latest)
            })
            .collect()
    }

    proptest! {
        /// A wrong timestamp moves nothing, unless there are as many in a row as confirm one another.
        #[test]
        fn wrong_timestamps_move_nothing(
            steady in steady(),
            wrong in vec(vec(prop_oneof![0..DAY * S - 60 * S, DAY * S + 300 * S..=u64::MAX], 0..CONFIRMED), 50),
            sizes in vec(1..100_usize, 1..10),
        ) {
            let mut times = Vec::new();
            for (right, wrong) in steady.iter().zip(&wrong) {
                times.extend([*right].iter().chain(wrong));
            }
            let (told, metered) = clocks(&times, &sizes);
            let at_right = told.iter().zip(&times).filter(|(_, time)| steady.contains(time)).map(|(told, _)| *told);
            prop_assert_eq!(at_right.collect::<Vec<_>>(), latest_so_far(&steady));
            prop_assert_eq!(metered.clock_steps_back, 0);
        }

        #[test]
        fn where_time_goes_on_it_is_the_latest_timestamp(
            steps in vec(prop_oneof![0..S, 0..12 * S, 0..86_400 * S], 1..50),
            sizes in vec(1..100_usize, 1..10),
        ) {
            let mut now = DAY * S;
            let times: Vec<_> = steps.into_iter().map(|step| { now += step; now }).collect();
            prop_assert_eq!(clocks(&times, &sizes).0, times);
        }

        #[test]
        fn it_does_not_matter_how_packets_come_in_batches(
            times in vec(prop_oneof![4 => DAY..DAY + 40, 1 => DAY + 100..DAY + 140, 1 => 0..u64::MAX / S], 1..200),
            sizes in vec(1..100_usize, 1..10),
        ) {
            let times: Vec<_> = times.into_iter().map(|time| time * S).collect();
            prop_assert_eq!(clocks(&times, &sizes), clocks(&times, &[1]));
        }

        /// However it came there, within thirty seconds of packets that go on it is right again about how much time passes.
        #[test]
        fn it_is_right_again_soon(before in vec(any::<u64>(), 0..40), steady in steady()) {
            let times: Vec<_> = before.iter().chain(&steady).copied().collect();
            let (told, _) = clocks(&times, &[64]);
            let latest = latest_so_far(&steady);
            let soon = latest.iter().position(|time| time - latest[0] > 3 * FAR).filter(|soon| *soon > CONFIRMED);
            if let Some(soon) = soon {
                let passed = told[times.len() - 1] - told[before.len() + soon];
                prop_assert_eq!(passed, latest[steady.len() - 1] - latest[soon]);
            }
        }
    }
}
