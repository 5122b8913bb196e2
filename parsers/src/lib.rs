// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes in, fields out.
//!
//! [`packet`] are checked views of the headers from the link layer to the transport layer; [`app`] are the application
//! protocols. Nothing here knows where bytes come from, what time it is, or where fields go.
#![forbid(unsafe_code)]

pub mod app;
mod cursor;
pub mod packet;

pub use cursor::Cursor;
