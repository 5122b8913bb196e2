// SPDX-License-Identifier: MIT OR Apache-2.0
//! The vocabulary of Weir: what is named once and spoken of in every room.
//!
//! A [`Packet`] is borrowed bytes with a time and an origin. Packets that share a [`FlowKey`] are summed into a
//! [`FlowRecord`], which may carry the fields of one application transaction ([`app`]). Whoever makes records hands them,
//! borrowed, to a [`RecordSink`]: the metering process to the exporter, the collecting process to the store and the
//! detectors. What could not be counted is counted by reason in the [`ledger`].
//!
//! This crate does no input or output, reads no clock, and depends on nothing.

pub mod app;
mod key;
pub mod ledger;
mod packet;
mod record;
pub mod statistics;
mod time;
mod value;

pub use key::{FlowKey, IpVersion, protocol};
pub use packet::{BATCH, LinkType, Merged, Packet, PacketSource, SharedOctets, SourceError, SourceState};
pub use record::{Counters, EndReason, ExtraElement, FlowRecord, Origin, RecordSink, tcp_flags};
pub use statistics::Statistics;
pub use time::Timestamp;
pub use value::{
    Compact, Field, Item, List, Memory, OnceList, OnceOctets, OnceText, OnceTexts, ShortOctets, ShortText, Text,
    TextList, Value, Values, allocated,
};
