// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures the metering process on packets made in memory. `docs/performance.md` says what the figures mean.
#![forbid(unsafe_code)]

pub mod encode;
pub mod machine;
pub mod meter;
pub mod report;
pub mod trace;
