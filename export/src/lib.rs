// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exporting process (RFC 7011 section 2): records in, messages out.
//!
//! ```text
//!   worker ─► ExportSink: encodes at once ─► full message ─► bounded queue of each destination ─► its thread ─► wire
//!                              ▲                                                     numbers, sends, gives back │
//!                              └───────────────────────────────── memory of messages ◄─────────────────────────┘
//! ```
//!
//! Messages, not records, travel between threads. Each destination has messages of its own, encoded into memory that it
//! gives back when they are sent, and numbers them, so that a gap in the sequence is just what this destination was not
//! given. Templates are announced at the beginning of every transport session and, over UDP, again every
//! [`TEMPLATE_REFRESH`]. [`ExporterConfig::memory`] says how much all that takes at most.
//!
//! A full queue holds up an offline run, which loses nothing ([`WhenFull::Wait`]), and costs a live one the message, which
//! is counted ([`WhenFull::Drop`]).
#![forbid(unsafe_code)]

mod channel;
mod destination;
mod exporter;
mod passive_dns;
mod queue;
mod sender;
mod sink;

pub use destination::{Destination, DestinationError, Format, Transport};
pub use exporter::{DestinationReport, Exporter, ExporterConfig, MIN_QUEUE, Opened, StartError};
pub use queue::WhenFull;
pub use sender::{SendCounters, TEMPLATE_REFRESH};
pub use sink::{ExportSink, SinkCounters};
