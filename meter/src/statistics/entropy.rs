// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where it is asked for. Entropy of the first octets of payload of each direction.
//!
//! Of n octets, of which each value o is there c(o) times, it is `log2(n) - sum(c(o) * log2(c(o))) / n` bits for each octet
//! (Shannon). It is counted in integers, so that it is the same on every machine.

use weir_flow::{Statistics, statistics::MAX_ENTROPY_OCTETS, tcp_flags::SYN};

use super::Sample;

/// What the open record has so far. All zero at first.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entropy {
    // What a packet needs is in front.
    /// Of TCP, the sequence number behind the last octet seen, where `has_next` is not zero.
    next: [u32; 2],
    has_next: [u16; 2],
    len: [u16; 2],
    octets: [[u8; MAX_ENTROPY_OCTETS]; 2],
}

impl Default for Entropy {
    fn default() -> Self {
        Self { next: [0; 2], has_next: [0; 2], len: [0; 2], octets: [[0; MAX_ENTROPY_OCTETS]; 2] }
    }
}

impl Entropy {
    /// A flow begins, in a place where another one was.
    pub fn begin(&mut self) {
        self.begin_record();
        self.has_next = [0; 2];
    }

    /// The next record begins.
    pub fn begin_record(&mut self) {
        self.len = [0; 2];
    }

    /// Takes what was captured of a packet's payload, but for what was there before.
    pub fn packet(&mut self, sample: &Sample<'_>) {
        let side = sample.side;
        let known = if sample.is_tcp { self.known(sample) } else { 0 };
        let (at, fresh) = (usize::from(self.len[side]), sample.payload.get(known..).unwrap_or_default());
        let room = self.octets[side].get_mut(at..).unwrap_or_default();
        let taken = fresh.len().min(room.len());
        if let (Some(room), Some(fresh)) = (room.get_mut(..taken), fresh.get(..taken)) {
            room.copy_from_slice(fresh);
        }
        // At most as many as there is room for.
        self.len[side] += taken as u16;
    }

    /// Octets at the beginning of a segment that were seen before.
    fn known(&mut self, sample: &Sample<'_>) -> usize {
        let side = sample.side;
        // SYN takes one sequence number.
        let begin = sample.sequence.wrapping_add(u32::from(sample.flags & SYN != 0));
        let end = begin.wrapping_add(sample.payload_octets);
        if self.has_next[side] == 0 || sample.flags & SYN != 0 {
            (self.has_next[side], self.next[side]) = (1, end);
            return 0;
        }
        let known = self.next[side].wrapping_sub(begin).cast_signed();
        if end.wrapping_sub(self.next[side]).cast_signed() > 0 {
            self.next[side] = end;
        }
        usize::try_from(known).unwrap_or(0)
    }

    /// Entropy of a direction in thousandths of a bit, and of how many octets.
    fn result(&self, side: usize) -> (Option<u16>, Option<u16>) {
        let octets = self.octets[side].get(..usize::from(self.len[side])).unwrap_or_default();
        if octets.is_empty() {
            return (None, None);
        }
        (Some(entropy(octets)), Some(self.len[side]))
    }

    /// What the record has of a direction, as its forward one.
    pub fn forward(&self, side: usize, out: &mut Statistics) {
        (out.entropy, out.entropy_octets) = self.result(side);
    }

    /// The same as its reverse one.
    pub fn reverse(&self, side: usize, out: &mut Statistics) {
        (out.reverse_entropy, out.reverse_entropy_octets) = self.result(side);
    }
}

/// Entropy of at most [`MAX_ENTROPY_OCTETS`] octets, in thousandths of a bit for each.
fn entropy(octets: &[u8]) -> u16 {
    let mut counts = [0_u16; 256];
    for octet in octets {
        counts[usize::from(*octet)] += 1;
    }
    let n_log_n = |n: usize| N_LOG_N.get(n).copied().unwrap_or_default();
    let sum: u64 = counts.iter().map(|count| n_log_n((*count).into())).sum();
    let bits = n_log_n(octets.len()).saturating_sub(sum);
    let unit = (octets.len() as u64) << FRACTION;
    u16::try_from((bits * 1000 + unit / 2).checked_div(unit).unwrap_or(0)).unwrap_or(u16::MAX)
}

/// Bits behind the point.
const FRACTION: u32 = 32;

/// `n * log2(n)`, in units of 2^-32.
static N_LOG_N: [u64; MAX_ENTROPY_OCTETS + 1] = {
    let mut table = [0; MAX_ENTROPY_OCTETS + 1];
    let mut n = 1;
    while n < table.len() {
        table[n] = n as u64 * log2(n as u64);
        n += 1;
    }
    table
};

/// Logarithm of a number from 1 to 2^31, in units of 2^-32: digit by digit, each the first bit of the square.
const fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    let mut result = (whole as u64) << FRACTION;
    // From 1 to 2, in units of 2^-31.
    let mut rest = number << (31 - whole);
    let mut digit = FRACTION;
    while digit > 0 {
        digit -= 1;
        rest = (rest * rest) >> 31;
        if rest >= 1 << 32 {
            rest >>= 1;
            result |= 1 << digit;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_known_octets() {
        assert_eq!(entropy(b"a"), 0);
        assert_eq!(entropy(&[7; 256]), 0);
        assert_eq!(entropy(b"ab"), 1000);
        assert_eq!(entropy(b"abcd"), 2000);
        // 3/4 and 1/4: 0.811278 bits.
        assert_eq!(entropy(b"aaab"), 811);
        // log2(3) = 1.584963.
        assert_eq!(entropy(b"abc"), 1585);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(entropy(&all), 8000);
    }

    #[test]
    fn integers_are_as_good_as_floating_point() {
        for (n, &integer) in N_LOG_N.iter().enumerate().skip(1) {
            let exact = (n as f64) * (n as f64).log2() * f64::from(1 << 16) * f64::from(1 << 16);
            assert!((integer as f64 - exact).abs() < 300.0 * n as f64, "{n}");
        }
    }
}
