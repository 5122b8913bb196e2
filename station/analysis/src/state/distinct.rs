// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counting distinct values: exactly within a sliding window while there are few, by sketch when there are many.
//!
//! Values are 64 bits. What is longer, as an IPv6 address, is told apart by 64 bits of a fixed hash: two values that
//! collide are counted once. Somebody who crafts collisions hides targets of his own attack only by choosing targets that he
//! does not want.

use weir_flow::Timestamp;

/// A 64-bit hash of `octets`, the same on every machine.
#[must_use]
pub fn hash(seed: u64, octets: &[u8]) -> u64 {
    let mut h = finish(seed ^ (octets.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for chunk in octets.chunks(8) {
        let word = chunk.iter().fold(0_u64, |word, &octet| word << 8 | u64::from(octet));
        h = finish(h.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word);
    }
    h
}

/// The finaliser of splitmix64: every bit of the input changes half of the output.
const fn finish(mut h: u64) -> u64 {
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// HyperLogLog (Flajolet et al. 2007) with 2^`p` registers of one octet; standard error 1.04 / sqrt(2^`p`).
#[derive(Clone, Debug)]
pub struct Sketch {
    registers: Box<[u8]>,
    p: u8,
}

impl Sketch {
    /// An empty sketch; `p` from 4 to 16: 8 gives 256 octets and 6.5 %, 10 gives 1 KiB and 3.3 %.
    #[must_use]
    pub fn new(p: u8) -> Self {
        let p = p.clamp(4, 16);
        Self { registers: vec![0; 1 << p].into_boxed_slice(), p }
    }

    /// Adds a value by its [`hash()`].
    pub fn insert(&mut self, hash: u64) {
        let register = hash >> (64 - self.p);
        // The bit that is put in ends the count of zeros where the hash has no more bits.
        let rank = ((hash << self.p) | (1 << (self.p - 1))).leading_zeros() + 1;
        if let Some(r) = usize::try_from(register).ok().and_then(|i| self.registers.get_mut(i)) {
            *r = (*r).max(u8::try_from(rank).unwrap_or(u8::MAX));
        }
    }

    /// Estimated number of distinct values.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let m = f64::from(1_u32 << self.p);
        let sum: f64 = self.registers.iter().map(|&r| (-f64::from(r)).exp2()).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let zeros = self.registers.iter().filter(|&&r| r == 0).count();
        let estimate = if raw <= 2.5 * m && zeros > 0 { m * (m / zeros as f64).ln() } else { raw };
        estimate.round() as u64
    }
}

/// Distinct values: exact up to [`Distinct::EXACT`], a sketch beyond.
#[derive(Clone, Debug)]
pub enum Distinct {
    /// Values in ascending order.
    Exact(Vec<u64>),
    /// Too many to keep.
    Sketch(Sketch),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Distinct {
    /// Most values that are counted exactly: a /24 is.
    pub const EXACT: usize = 256;

    /// Adds a value.
    pub fn insert(&mut self, value: u64) {
        match self {
            Self::Sketch(sketch) => sketch.insert(finish(value)),
            Self::Exact(values) => {
                let Err(at) = values.binary_search(&value) else { return };
                if values.len() < Self::EXACT {
                    values.insert(at, value);
                    return;
                }
                let mut sketch = Sketch::new(10);
                values.iter().for_each(|&v| sketch.insert(finish(v)));
                sketch.insert(finish(value));
                *self = Self::Sketch(sketch);
            }
        }
    }

    /// Number of distinct values; estimated beyond [`Self::EXACT`].
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Exact(values) => values.len() as u64,
            Self::Sketch(sketch) => sketch.estimate(),
        }
    }

    /// Whether [`Self::count`] is exact.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

/// What a window knows of one value.
#[derive(Clone, Copy, Debug)]
struct Seen {
    value: u64,
    /// Latest event, in seconds since the epoch.
    secs: u32,
    flows: u32,
}

/// Distinct values of the last while, exactly, up to a bound.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// By value, ascending.
    seen: Vec<Seen>,
}

impl Window {
    /// Counts an event of a value at `ts`. At `max` values, one more takes the place of the one not seen for longest.
    pub fn insert(&mut self, value: u64, ts: Timestamp, max: usize) {
        let secs = u32::try_from(ts.as_secs()).unwrap_or(u32::MAX);
        match self.seen.binary_search_by_key(&value, |s| s.value) {
            Ok(at) => {
                if let Some(seen) = self.seen.get_mut(at) {
                    seen.secs = seen.secs.max(secs);
                    seen.flows = seen.flows.saturating_add(1);
                }
            }
            Err(mut at) => {
                if self.seen.len() >= max.max(1) {
                    let oldest = self.seen.iter().enumerate().min_by_key(|(_, s)| (s.secs, s.value)).map(|(i, _)| i);
                    let Some(oldest) = oldest else { return };
                    self.seen.remove(oldest);
                    at -= usize::from(oldest < at);
                }
                self.seen.insert(at, Seen { value, secs, flows: 1 });
            }
        }
    }

    /// Forgets values not seen since `limit`; true if there were any.
    pub fn forget_before(&mut self, limit: Timestamp) -> bool {
        let limit = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
        let before = self.seen.len();
        self.seen.retain(|s| s.secs >= limit);
        self.seen.len() < before
    }

    /// Number of distinct values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Events of the values that are still known.
    #[must_use]
    pub fn flows(&self) -> u64 {
        self.seen.iter().map(|s| u64::from(s.flows)).sum()
    }

    /// Time of the value not seen for longest, rounded down to a second.
    #[must_use]
    pub fn earliest(&self) -> Option<Timestamp> {
        self.seen.iter().map(|s| s.secs).min().map(|secs| Timestamp::from_secs(secs.into()))
    }

    /// The values in ascending order.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        self.seen.iter().map(|s| s.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sketch_is_within_its_error() {
        for (p, allowed) in [(8, 0.2), (10, 0.1)] {
            let mut sketch = Sketch::new(p);
            let mut added = 0_u64;
            for target in [10_u64, 100, 1_000, 10_000, 200_000] {
                while added < target {
                    sketch.insert(hash(1, &added.to_be_bytes()));
                    sketch.insert(hash(1, &(added / 2).to_be_bytes()));
                    added += 1;
                }
                let error = (sketch.estimate() as f64 / target as f64 - 1.0).abs();
                assert!(error < allowed, "p {p}: {} of {target}", sketch.estimate());
            }
        }
    }

    #[test]
    fn a_count_is_exact_until_it_is_large() {
        let mut distinct = Distinct::default();
        for round in 0..3 {
            for value in 0..256_u32 {
                distinct.insert(hash(0, &value.to_be_bytes()));
            }
            assert_eq!(distinct.count(), 256, "round {round}");
        }
        assert!(distinct.is_exact());
        for value in 0..10_000_u32 {
            distinct.insert(hash(0, &value.to_be_bytes()));
        }
        assert!(!distinct.is_exact() && (9_000..11_000).contains(&distinct.count()));
    }

    #[test]
    fn a_window_forgets_and_keeps_its_bound() {
        let mut window = Window::default();
        for value in 0..10 {
            window.insert(value, Timestamp::from_secs(100 + value), 4);
        }
        assert_eq!((window.len(), window.earliest()), (4, Some(Timestamp::from_secs(106))));
        window.insert(9, Timestamp::from_secs(105), 4);
        assert_eq!((window.len(), window.flows()), (4, 5));
        assert!(window.forget_before(Timestamp::from_secs(109)));
        assert_eq!((window.len(), window.flows()), (1, 2));
        assert!(!window.forget_before(Timestamp::from_secs(109)));
    }
}
