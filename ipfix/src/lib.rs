// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPFIX (RFC 7011) as bytes, and what they mean.
//!
//! - [`Element`], [`AbstractType`], [`registry`]: information elements (RFC 7012) by number and name.
//! - [`mapping`]: which element carries which field of a flow record. One table for each protocol, read by both ends.
//! - [`encode`]: flow records to templates and data records; [`message`] puts them into messages.
//! - [`decode`]: messages, templates and data records back to flow records.
//! - [`netflow`]: NetFlow versions 5 and 9, read as if they were IPFIX.
//!
//! Nothing here opens a socket or reads a clock.
#![forbid(unsafe_code)]

pub mod decode;
mod element;
pub mod encode;
pub mod json;
pub mod mapping;
pub mod message;
pub mod netflow;
pub mod registry;

pub use element::{AbstractType, Element, FieldSpecifier, REVERSE, Template, VARIABLE, WEIR};
