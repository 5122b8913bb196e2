// SPDX-License-Identifier: MIT OR Apache-2.0
//! The metering process: packets in, flow records out.
//!
//! ```text
//!   capture::open ─► batches of packets ─► Worker ─► FlowCache ─► records ─► RecordSink
//!                                            │          ├─ FlowTable, Wheel: what is counted, when to look again
//!                                            │          ├─ Measures: flow statistics, if they are asked for
//!                                            │          └─ Apps: streams put into order, sessions of the parsers
//!                                            └─ Clock, FragmentPorts, Ledger
//! ```
//!
//! Time is that of the packets, so a capture gives the same records on every machine and with any number of workers; and a
//! wrong timestamp moves nothing but the time of its own packet, unless it is the first or the last one, or there are several
//! in a row that agree.

mod apps;
mod cache;
pub mod capture;
mod clock;
mod config;
mod fragments;
mod handover;
mod hash;
pub mod heap;
pub mod live;
mod memory;
mod offline;
mod present;
mod reader;
mod shard;
mod statistics;
mod stream;
mod table;
mod wheel;
mod worker;

pub use cache::CLOSE_WAIT;
pub use config::{KeyFields, MeterConfig, TooLittleMemory};
pub use offline::{Outcome, meter, reading_memory};
pub use present::Timing;
pub use statistics::Groups;
pub use worker::{Held, Share, Worker};
