// SPDX-License-Identifier: MIT OR Apache-2.0
//! The collecting process (RFC 5470): messages of exporters to flow records.
//!
//! ```text
//!  UDP sockets ──┐                       ┌─ template state, times, sequence numbers ─┐
//!                ├─ messages ─ bounded ─▶│                 Decoder                   │─ records ─▶ RecordSink
//!  TCP sessions ─┘              queue    └───────────────────────────────────────────┘
//! ```
//!
//! - [`Collector::start`] listens and gives a [`Handle`]; one thread takes messages from sockets, one decodes them and calls
//!   the sink. A sink that is slow makes TCP exporters wait, and the kernel drop datagrams, which it counts.
//! - [`read_file`] reads IPFIX files (RFC 5655).
//! - [`Decoder`] is what both use: messages in, records out, no socket and no clock.
//!
//! Nobody is trusted: whatever a peer can make grow has a cap in [`Limits`] and a counter. Identities that hold at any
//! time are in [`Decoded::closes`]; what cannot be decoded is counted by reason and never takes the rest of its message
//! along, as long as it can be known where the rest begins.
//!
//! Not here: TLS, SCTP, template state that outlives the process.
#![forbid(unsafe_code)]

mod config;
mod decoder;
mod domain;
mod file;
mod handle;
mod intake;
mod kernel;
mod sequence;
mod status;

pub use config::{Config, Limits, Listen, ListenError};
pub use decoder::{Decoder, Peer};
pub use file::{FileError, read, read_file};
pub use handle::{Collector, Handle, StartError, StopError};
pub use status::{Decoded, Exporter, Held, Protocol, Received, Snapshot, Transport};
