// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP API over a store, and the web console.
//!
//! [`Console`] answers on a thread of its own: questions to the store in nfdump's language, alerts, and what the other
//! stages count, which the program hands in ([`StatusSource`]) so that this room knows none of them. The page is plain
//! HTML, one script and one style sheet, within the program; it loads nothing from elsewhere.
//!
//! Limits: HTTP without TLS and without a login, so on a loopback address unless told otherwise. Nothing can be
//! changed through it. `docs/console.md` has the API.
#![forbid(unsafe_code)]

mod alerts;
mod api;
mod guard;
mod server;
mod status;

pub use server::{Config, Console, StartError};
pub use status::{Counter, Exporter, Stage, Status, StatusSource};

#[cfg(test)]
mod tests;
