// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where it is asked for. Bursts: packets with payload of one direction, each less than a second after the one before,
//! three of them at least, as CESNET's exporter counts them.

use weir_flow::{List, Memory, Statistics, Timestamp, statistics::MAX_BURSTS};

use super::Sample;

/// Fewest packets of a burst.
const LEAST: u32 = 3;
/// A burst is over when there was no packet for so many nanoseconds.
const SILENCE: u64 = 1_000_000_000;

/// A burst, or what may become one.
#[derive(Clone, Copy, Debug, Default)]
struct Burst {
    start: u64,
    end: u64,
    packets: u32,
    octets: u32,
}

/// What the open record has so far. All zero at first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Bursts {
    // What a packet needs is in one line of memory.
    open: [Burst; 2],
    count: [u64; 2],
    done: [[Burst; MAX_BURSTS]; 2],
}

impl Bursts {
    /// The next record begins.
    pub fn begin_record(&mut self) {
        (self.open, self.count) = Default::default();
    }

    /// Takes a packet with payload.
    pub fn packet(&mut self, sample: &Sample<'_>) {
        let side = sample.side;
        if self.count[side] as usize >= MAX_BURSTS {
            return;
        }
        if self.open[side].packets > 0 && sample.ts.saturating_sub(self.open[side].end) >= SILENCE {
            self.end_open(side);
        }
        let open = &mut self.open[side];
        if open.packets == 0 {
            (open.start, open.end) = (sample.ts, sample.ts);
        }
        open.start = open.start.min(sample.ts);
        open.end = open.end.max(sample.ts);
        open.packets = open.packets.saturating_add(sample.packets);
        open.octets = open.octets.saturating_add(sample.payload_octets);
    }

    /// Ends the open burst of a direction.
    fn end_open(&mut self, side: usize) {
        let open = std::mem::take(&mut self.open[side]);
        if open.packets >= LEAST
            && let Some(place) = self.done[side].get_mut(self.count[side] as usize)
        {
            *place = open;
            self.count[side] += 1;
        }
    }

    /// No more packets come for this record.
    pub fn end(&mut self) {
        self.end_open(0);
        self.end_open(1);
    }

    fn list<T>(&self, side: usize, get: impl Fn(&Burst) -> T, out: &mut List<T, MAX_BURSTS>, memory: &mut Memory)
    where
        T: weir_flow::Item,
    {
        self.done[side].iter().take(self.count[side] as usize).for_each(|burst| out.push(get(burst), memory));
    }

    /// What the record has of a direction, as its forward one.
    pub fn forward(&self, side: usize, out: &mut Statistics) {
        let memory = &mut out.memory;
        self.list(side, |burst| burst.packets, &mut out.burst_packets, memory);
        self.list(side, |burst| burst.octets, &mut out.burst_octets, memory);
        self.list(side, |burst| Timestamp::from_nanos(burst.start), &mut out.burst_starts, memory);
        self.list(side, |burst| Timestamp::from_nanos(burst.end), &mut out.burst_ends, memory);
    }

    /// The same as its reverse one.
    pub fn reverse(&self, side: usize, out: &mut Statistics) {
        let memory = &mut out.memory;
        self.list(side, |burst| burst.packets, &mut out.reverse_burst_packets, memory);
        self.list(side, |burst| burst.octets, &mut out.reverse_burst_octets, memory);
        self.list(side, |burst| Timestamp::from_nanos(burst.start), &mut out.reverse_burst_starts, memory);
        self.list(side, |burst| Timestamp::from_nanos(burst.end), &mut out.reverse_burst_ends, memory);
    }
}
