// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow records in Parquet files, and what analysts ask of them.
//!
//! - [`StoreWriter`] takes records and keeps them in segments ([`segment`]), one directory for every five minutes.
//! - [`filter`]: the language of nfdump's filters, with application fields.
//! - [`Store`] answers: lists, statistics and aggregations in nfdump's shapes, SQL, and the records themselves in the
//!   order of time.
//! - [`schema`]: the columns. Application columns are made from the mapping tables of `weir-ipfix`.
//!
//! No socket and no clock: time comes from records and from the caller.
#![forbid(unsafe_code)]

mod error;
pub mod filter;
mod names;
mod output;
mod query;
mod rows;
pub mod schema;
pub mod segment;
mod sql;
mod stat;
mod store;
mod stored;
pub mod window;
mod writer;

pub use error::Error;
pub use filter::{Filter, FilterError};
pub use output::{Format, Segment as FormatSegment};
pub use query::QueryOptions;
pub use sql::SqlFormat;
pub use stat::{Fields, Order, Stat};
pub use store::{Store, StoreOptions};
pub use stored::StoredRecord;
pub use window::Window;
pub use writer::{Retention, StoreCounters, StoreWriter, WriterOptions};
