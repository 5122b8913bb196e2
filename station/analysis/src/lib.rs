// SPDX-License-Identifier: MIT OR Apache-2.0
//! Analysis: streaming detectors over flow records.
//!
//! An [`Engine`] takes records ([`weir_flow::RecordSink`]), keeps event time, and hands each record to every
//! [`Detector`]. Detectors own bounded state and yield [`Alert`]s, which go to an [`AlertSink`]: JSON lines, IDEA, or
//! whatever the caller makes of them. The same records in the same order give the same alerts, octet for octet; whatever
//! their order between two ticks, they give the same attacks.
//!
//! ```
//! use weir_analysis::{Config, Engine, Lines};
//!
//! let mut engine = Engine::new(&Config::default(), Box::new(Lines::json(std::io::stdout())));
//! // engine.record(&record) for each record; engine.tick(now) from a timer if the input is live
//! engine.finish();
//! ```
//!
//! A detector is a folder: `horizontal_scan/`, `vertical_scan/`, `dns_amplification/`. To add one: the folder, a section
//! in [`Config`], a line in [`Config::detectors`], a section in `docs/detectors.md`. What tells an attack from other traffic
//! goes into [`state::Rules`]; [`state::Tracker`] does the rest.

pub mod alert;
pub mod civil;
pub mod clock;
pub mod contact;
mod detector;
pub mod dns_amplification;
mod engine;
pub mod horizontal_scan;
mod idea;
pub mod prefix;
mod report;
pub mod state;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
pub mod vertical_scan;

pub use self::{
    alert::{Alert, AlertId, AlertState, Endpoints, Evidence, Figure, Quantity, Severity},
    detector::{Activity, Allow, Detector, Limits, sampling},
    engine::{Config, DetectorStatus, Engine, EngineCounters},
    idea::idea,
    prefix::{PortRange, Prefix, Span},
    report::{AlertSink, Fanout, Lines},
};
