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
//! given. Templates are announced at the beginning of every transport session and, over UDP, again and again ([`Refresh`]).
//! [`ExporterConfig::memory`] says how much all that takes at most.
//!
//! A full queue holds up an offline run, which loses nothing ([`WhenFull::Wait`]), and costs a live one the message, which
//! is counted ([`WhenFull::Drop`]). Behind the queue of a destination that is reached by TCP or TLS there is a spool
//! ([`SpoolConfig`]), in which messages stay until the other side has acknowledged them. No destination waits for another, and none
//! need be there at the start.

mod announce;
mod back_off;
mod channel;
mod clock;
mod datagram;
mod destination;
mod exporter;
mod file;
mod passive_dns;
mod policy;
mod queue;
mod rotation;
mod sender;
mod sink;
mod split;
mod spool;
mod stream;
mod sys;
mod tcp;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

pub use clock::Clock;
pub use datagram::Refresh;
pub use destination::{Destination, DestinationError, Format, TlsOptions, Transport};
pub use exporter::{DestinationReport, Exporter, ExporterConfig, MIN_QUEUE, Opened, StartError};
pub use policy::{Policy, UnknownPolicy};
pub use queue::WhenFull;
pub use rotation::{Rotation, UnknownConversion};
pub use sender::SendCounters;
pub use sink::{ExportSink, SinkCounters};
pub use spool::SpoolConfig;
