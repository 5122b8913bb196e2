// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bounded state: what detectors remember, and what happens when there is too much of it.
//!
//! Nothing in here depends on a seed of the process in a way that shows: the same records give the same estimates.

mod distinct;
mod samples;
mod table;
mod tracker;

pub use distinct::{Distinct, Sketch, Window, hash};
pub use samples::{Coverage, Ports, Samples, Spread};
pub use table::Table;
pub use tracker::{Rules, Tracker, TrackerLimits};
