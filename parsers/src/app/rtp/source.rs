// SPDX-License-Identifier: MIT OR Apache-2.0
//! One source of media: the order of its packets, and their jitter.

use weir_flow::{Compact, Timestamp, app::Rtp};

use super::packet::{Header, clock_rate};

/// Distance in sequence numbers from which on it is no loss, but another beginning (RFC 3550 appendix A.1).
const MAX_DROPOUT: i16 = 3000;

/// Distance backwards of which it is known whether a packet has come already.
const WINDOW: u16 = u64::BITS as u16;

/// Distance between two packets of which the first may be the neighbour of the second.
const NEAR: i16 = 3;

/// Most microseconds that one packet adds to 16 times the jitter.
const MAX_DIFFERENCE: u64 = 1 << 27;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Clock rates that are in use, of which an estimate takes the nearest.
const RATES: [u32; 10] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000];

/// Whether one sequence number may be that of a neighbour of the other.
pub(super) fn are_near(one: u16, other: u16) -> bool {
    let distance = distance(one, other);
    distance != 0 && (-NEAR..=NEAR).contains(&distance)
}

const fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from).cast_signed()
}

/// Numbers of one direction.
pub(super) struct Numbers<'a> {
    pub(super) packets: &'a mut Compact<u32>,
    lost: &'a mut Compact<u32>,
    late: &'a mut Compact<u32>,
    duplicates: &'a mut Compact<u32>,
    jitter: &'a mut Compact<u32>,
    max_jitter: &'a mut Compact<u32>,
    clock_rate: &'a mut Compact<u32>,
}

impl<'a> Numbers<'a> {
    /// Those of this direction, by its index.
    #[inline(always)]
    pub(super) fn of(rtp: &'a mut Rtp, side: usize) -> Self {
        if side == 0 {
            Self {
                packets: &mut rtp.packets,
                lost: &mut rtp.lost,
                late: &mut rtp.late,
                duplicates: &mut rtp.duplicates,
                jitter: &mut rtp.jitter,
                max_jitter: &mut rtp.max_jitter,
                clock_rate: &mut rtp.clock_rate,
            }
        } else {
            Self {
                packets: &mut rtp.reverse_packets,
                lost: &mut rtp.reverse_lost,
                late: &mut rtp.reverse_late,
                duplicates: &mut rtp.reverse_duplicates,
                jitter: &mut rtp.reverse_jitter,
                max_jitter: &mut rtp.reverse_max_jitter,
                clock_rate: &mut rtp.reverse_clock_rate,
            }
        }
    }
}

/// How much is known of a source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Phase {
    #[default]
    None,
    /// One packet has come that looks like it.
    Likely,
    /// Another packet has confirmed it.
    Followed,
}

/// A source.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// When the last packet came that the jitter is of, in nanoseconds.
    arrived: u64,
    /// When the estimate of the clock rate began.
    since: u64,
    /// Which numbers up to the highest have come, a bit for each, the lowest that of the highest.
    window: u64,
    pub(super) ssrc: u32,
    /// Timestamp of the last packet that the jitter is of.
    timestamp: u32,
    /// Timestamp where the estimate of the clock rate began.
    first: u32,
    /// 16 times the jitter in microseconds.
    jitter: u32,
    /// Length of a unit of timestamps in 1/16 of a nanosecond; 0 while that is not known.
    unit: u32,
    highest: u16,
    /// The number that would confirm another beginning.
    restart: Option<u16>,
    pub(super) payload_type: u8,
    pub(super) phase: Phase,
}

impl Source {
    /// A source by its first packet.
    pub(super) fn new(header: Header, now: Timestamp) -> Self {
        let now = now.as_nanos();
        Self {
            arrived: now,
            since: now,
            window: 1,
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            first: header.timestamp,
            unit: clock_rate(header.payload_type).map_or(0, unit),
            highest: header.sequence,
            payload_type: header.payload_type,
            phase: Phase::Likely,
            ..Self::default()
        }
    }

    /// Whether this is a packet of it that is not its first.
    pub(super) fn is_confirmed_by(&self, header: Header) -> bool {
        self.phase == Phase::Likely && self.ssrc == header.ssrc && are_near(self.highest, header.sequence)
    }

    /// Whether nothing has come of it for so many nanoseconds.
    pub(super) fn is_silent(&self, now: Timestamp, nanos: u64) -> bool {
        now.as_nanos().saturating_sub(self.arrived) >= nanos
    }

    /// Whether this is the next of its usual packets.
    #[inline(always)]
    pub(super) fn is_next(&self, header: Header) -> bool {
        (self.phase == Phase::Followed)
            & (self.ssrc == header.ssrc)
            & (self.payload_type == header.payload_type)
            & (self.highest.wrapping_add(1) == header.sequence)
    }

    /// Counts the next of its usual packets.
    #[inline(always)]
    pub(super) fn count_next(&mut self, header: Header, now: Timestamp, numbers: Numbers<'_>) {
        self.highest = header.sequence;
        self.window = self.window << 1 | 1;
        numbers.packets.add(1);
        self.time(header.timestamp, now.as_nanos(), numbers);
    }

    /// Begins to count in a record: what is known of the source, and nothing lost.
    pub(super) fn begin(&self, numbers: &mut Numbers<'_>) {
        numbers.packets.set(0);
        numbers.lost.set(0);
        if self.unit != 0 {
            numbers.clock_rate.set(rate(self.unit));
        }
    }

    /// Counts any of its packets.
    pub(super) fn count(&mut self, header: Header, now: Timestamp, numbers: Numbers<'_>) {
        numbers.packets.add(1);
        match self.order(header.sequence) {
            Order::Ahead { missing } => numbers.lost.add(missing),
            Order::Late => {
                numbers.late.add(1);
                // If it was lost in a record that is closed, that stays.
                numbers.lost.set(numbers.lost.get().unwrap_or(0).saturating_sub(1));
            }
            Order::Again => numbers.duplicates.add(1),
            Order::Elsewhere => {}
        }
        if header.payload_type == self.payload_type {
            self.time(header.timestamp, now.as_nanos(), numbers);
        } else if self.is_silent(now, super::SILENCE) {
            self.change(header, now.as_nanos());
        }
    }

    /// Takes the jitter of another payload type from now on.
    fn change(&mut self, header: Header, now: u64) {
        (self.arrived, self.since) = (now, now);
        (self.timestamp, self.first) = (header.timestamp, header.timestamp);
        self.unit = clock_rate(header.payload_type).map_or(0, unit);
        self.payload_type = header.payload_type;
    }

    /// Finds out what a sequence number tells of lost, late and repeated packets.
    fn order(&mut self, sequence: u16) -> Order {
        let distance = distance(self.highest, sequence);
        let back = distance.unsigned_abs();
        if (1..MAX_DROPOUT).contains(&distance) {
            self.window = self.window.checked_shl(back.into()).unwrap_or(0) | 1;
            self.highest = sequence;
            self.restart = None;
            return Order::Ahead { missing: u32::from(back) - 1 };
        }
        if distance <= 0 && back < WINDOW {
            let bit = 1 << back;
            let has_come = self.window & bit != 0;
            self.window |= bit;
            return if has_come { Order::Again } else { Order::Late };
        }
        if self.restart == Some(sequence) {
            (self.highest, self.window, self.restart) = (sequence, 1, None);
        } else {
            self.restart = Some(sequence.wrapping_add(1));
        }
        Order::Elsewhere
    }

    /// RFC 3550 section 6.4.1, in microseconds.
    #[inline(always)]
    fn time(&mut self, timestamp: u32, now: u64, numbers: Numbers<'_>) {
        if self.unit == 0 {
            return self.estimate(timestamp, now, numbers);
        }
        let units = timestamp.wrapping_sub(self.timestamp).cast_signed();
        let sent = (i64::from(units) * i64::from(self.unit)) >> 4;
        let passed = now.wrapping_sub(self.arrived).cast_signed();
        let difference = (passed.wrapping_sub(sent).unsigned_abs() / 1000).min(MAX_DIFFERENCE);
        // At most 16 times the largest difference, which fits.
        self.jitter = self.jitter + difference as u32 - ((self.jitter + 8) >> 4);
        (self.timestamp, self.arrived) = (timestamp, now);
        let jitter = self.jitter >> 4;
        numbers.jitter.set(jitter);
        if numbers.max_jitter.get().is_none_or(|max| jitter > max) {
            numbers.max_jitter.set(jitter);
        }
    }

    /// Compares timestamps with the time that has passed, second by second, until they agree with a rate that is in use.
    #[inline(never)]
    fn estimate(&mut self, timestamp: u32, now: u64, numbers: Numbers<'_>) {
        (self.timestamp, self.arrived) = (timestamp, now);
        let passed = now.saturating_sub(self.since);
        if passed < SECOND {
            return;
        }
        let units = u64::from(timestamp.wrapping_sub(self.first));
        let estimate = units.saturating_mul(SECOND) / passed;
        let is_it = |rate: &&u32| estimate.abs_diff(u64::from(**rate)) * 32 < u64::from(**rate);
        if let Some(&found) = RATES.iter().find(is_it) {
            self.unit = unit(found);
            numbers.clock_rate.set(found);
        }
        (self.since, self.first) = (now, timestamp);
    }
}

/// What a sequence number tells.
enum Order {
    /// Beyond all, with so many missing before it.
    Ahead {
        missing: u32,
    },
    Late,
    Again,
    /// Far from all.
    Elsewhere,
}

/// Length of a unit of timestamps in 1/16 of a nanosecond.
const fn unit(rate: u32) -> u32 {
    // Of the least rate it fits.
    (16 * SECOND / rate as u64) as u32
}

/// The rate with units of this length.
fn rate(unit: u32) -> u32 {
    RATES.into_iter().find(|&rate| self::unit(rate) == unit).unwrap_or(0)
}
