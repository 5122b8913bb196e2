// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where it is asked for. Histograms of sizes of payload and of times between packets.
//!
//! Bins are those of CESNET's exporter: below 16, then as wide as all before, and the last one for the rest.

use weir_flow::{List, Memory, Statistics, statistics::BINS};

use super::Sample;

/// What the open record has so far of one direction. All zero at first.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    sizes: [u32; BINS],
    times: [u32; BINS],
    last: u64,
    has_packet: u64,
}

/// What the open record has so far. All zero at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Histograms([Side; 2]);

/// The bin of a value.
fn bin(value: u64) -> usize {
    const FIRST: u32 = 16;
    (value.max(1).ilog2() + 1).saturating_sub(FIRST.ilog2()).min(BINS as u32 - 1) as usize
}

fn add(bins: &mut [u32; BINS], value: u64, packets: u32) {
    if let Some(bin) = bins.get_mut(bin(value)) {
        *bin = bin.saturating_add(packets);
    }
}

impl Histograms {
    /// Takes a packet. Those that the system merged came at one time, and had as much payload each as is possible.
    pub fn packet(&mut self, sample: &Sample<'_>) {
        const MILLISECOND: u64 = 1_000_000;
        let Side { sizes, times, last, has_packet } = &mut self.0[sample.side];
        let (smaller, larger) = sample.lengths();
        add(sizes, smaller.0.into(), smaller.1);
        add(sizes, larger.0.into(), larger.1);
        if *has_packet != 0 {
            add(times, sample.ts.saturating_sub(*last) / MILLISECOND, 1);
        }
        add(times, 0, sample.packets - 1);
        (*last, *has_packet) = (sample.ts, 1);
    }

    /// What the record has of a direction, as its forward one.
    pub fn forward(&self, side: usize, out: &mut Statistics) {
        if self.0[side].has_packet != 0 {
            list(&self.0[side].sizes, &mut out.size_histogram, &mut out.memory);
            list(&self.0[side].times, &mut out.time_histogram, &mut out.memory);
        }
    }

    /// The same as its reverse one.
    pub fn reverse(&self, side: usize, out: &mut Statistics) {
        if self.0[side].has_packet != 0 {
            list(&self.0[side].sizes, &mut out.reverse_size_histogram, &mut out.memory);
            list(&self.0[side].times, &mut out.reverse_time_histogram, &mut out.memory);
        }
    }
}

fn list(bins: &[u32; BINS], out: &mut List<u32, BINS>, memory: &mut Memory) {
    bins.iter().for_each(|packets| out.push(*packets, memory));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_double() {
        let bounds = [(0, 0), (15, 0), (16, 1), (31, 1), (32, 2), (64, 3), (128, 4), (256, 5), (511, 5), (512, 6)];
        for (value, at) in bounds.into_iter().chain([(1023, 6), (1024, 7), (1 << 20, 7), (u64::MAX, 7)]) {
            assert_eq!(bin(value), at, "{value}");
        }
    }
}
