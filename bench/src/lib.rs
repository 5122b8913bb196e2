// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures the metering process: on packets made in memory (`docs/performance.md` says what those figures mean), and the
//! whole program beside its peers, on capture files and on a wire (`docs/benchmark.md`).

pub mod check;
pub mod collector;
pub mod compare;
pub mod encode;
pub mod ipfix;
pub mod machine;
pub mod meter;
pub mod parsers;
pub mod plan;
pub mod receive;
pub mod report;
pub mod run;
pub mod send;
pub mod subject;
mod sys;
pub mod trace;
pub mod truth;
pub mod wire;
