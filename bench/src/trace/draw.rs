// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers drawn from a seed (splitmix64): the same seed gives the same numbers on every machine.

/// Draws numbers.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// All that is drawn follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number of 64 bits.
    #[inline]
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero if that is zero.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        // The upper half of the product is below the bound.
        u32::try_from(((self.any() >> 32) * u64::from(bound)) >> 32).unwrap_or(0)
    }

    /// True `per_mille` times out of a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }

    /// A number from 0 up to, but not, 1.
    #[inline]
    pub fn fraction(&mut self) -> f64 {
        // 53 bits are what a float of this size holds.
        (self.any() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from `least` to `most` of which few are large: bounded Pareto.
    pub fn heavy_tail(&mut self, least: f64, most: f64, shape: f64) -> f64 {
        let ratio = (least / most).powf(shape);
        least / (1.0 - self.fraction() * (1.0 - ratio)).powf(1.0 / shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut draw = Draw::new(1);
        assert_eq!(draw.below(0), 0);
        for _ in 0..10_000 {
            assert!(draw.below(7) < 7);
            assert!((0.0..1.0).contains(&draw.fraction()));
            assert!((2.0..=50.001).contains(&draw.heavy_tail(2.0, 50.0, 1.2)));
        }
        let many = (0..10_000).filter(|_| draw.chance(250)).count();
        assert!((2300..2700).contains(&many), "{many}");
    }
}
