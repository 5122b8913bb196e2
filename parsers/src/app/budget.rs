// SPDX-License-Identifier: MIT OR Apache-2.0
//! One limit for the memory that the application state of a worker takes.
//!
//! Whatever holds memory says so here when its capacity changes: what is counted are capacities, as an allocator sees them,
//! not lengths. What would pass the limit is refused, or, where it is known only afterwards, given back at once. A step of a
//! parser may therefore pass the limit for a moment, by less than [`RESERVE`], which is kept free for that.

/// Bytes of a budget that are left for what is not charged: what one step of a parser may add before it is counted, the
/// scratch memory of each parser, and a buffer that is copied into a larger one. The most of each: 420 KiB, for the recipients
/// of a mail, whose memory is copied as it grows; 305 KiB, for the fingerprints of known hellos.
pub const RESERVE: usize = 1 << 20;

/// Bytes between two looks at what they really take ([`Budget::has_grown`]).
pub const STEP: usize = 1 << 18;

/// A limit, and what is charged against it.
#[derive(Debug)]
pub struct Budget {
    whole: usize,
    limit: usize,
    charged: usize,
    /// Bytes charged since [`Self::has_grown`] said so last.
    grown: usize,
}

impl Budget {
    /// A budget of this many bytes, [`RESERVE`] among them.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        let whole = bytes.saturating_sub(RESERVE);
        Self { whole, limit: whole, charged: 0, grown: STEP }
    }

    /// Bytes that may be charged, unless the limit was lowered.
    #[must_use]
    pub const fn whole(&self) -> usize {
        self.whole
    }

    /// Lowers the limit to so many bytes, in place of what it was lowered to before.
    pub const fn lower(&mut self, limit: usize) {
        self.limit = if limit < self.whole { limit } else { self.whole };
    }

    /// Whether a quarter of a mebibyte more was charged since this was said last, or the first bytes; refunds do not count.
    pub const fn has_grown(&mut self) -> bool {
        let has_grown = self.grown > STEP;
        if has_grown {
            self.grown = 0;
        }
        has_grown
    }

    /// Bytes that may be charged.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are charged.
    #[must_use]
    pub const fn charged(&self) -> usize {
        self.charged
    }

    /// Whether this many more bytes stay within the limit.
    #[must_use]
    pub const fn fits(&self, bytes: usize) -> bool {
        self.charged.saturating_add(bytes) <= self.limit
    }

    /// Whether so little is left that nothing should be kept for later use.
    #[must_use]
    pub const fn is_tight(&self) -> bool {
        self.charged > self.limit / 16 * 15
    }

    /// Charges bytes, whether they fit or not.
    pub const fn charge(&mut self, bytes: usize) {
        self.charged = self.charged.saturating_add(bytes);
        self.grown = self.grown.saturating_add(bytes);
    }

    /// Takes back what was charged.
    pub const fn refund(&mut self, bytes: usize) {
        self.charged = self.charged.saturating_sub(bytes);
    }

    /// What was charged as `before` is `now` from now on.
    pub const fn change(&mut self, before: usize, now: usize) {
        self.refund(before);
        self.charge(now);
    }
}

impl Default for Budget {
    /// One without limit: for tests, and whoever reads a single flow.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}
