// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the program tells the console of its other stages, in plain numbers: the console knows no collector.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

/// Asked for on every request of `/api/status`; answers at once, from memory.
pub type StatusSource = Arc<dyn Fn() -> Status + Send + Sync>;

/// The other stages at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Stages in the order in which records pass them.
    pub stages: Vec<Stage>,
    /// Exporters in the order in which they were first seen.
    pub exporters: Vec<Exporter>,
}

/// One stage.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// What it is called.
    pub name: &'static str,
    /// What it counts.
    pub counters: Vec<Counter>,
}

impl Stage {
    /// Pairs definitions, name and meaning, with values, as [`weir_flow::counters!`] gives them.
    #[must_use]
    pub fn new(name: &'static str, definitions: &[(&'static str, &'static str)], values: &[u64]) -> Self {
        let pairs = definitions.iter().zip(values);
        let counters = pairs.map(|(&(name, meaning), &value)| Counter { name, meaning: meaning.trim(), value });
        Self { name, counters: counters.collect() }
    }
}

/// One counter since the start of the program.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counter {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub meaning: &'static str,
    /// How many.
    pub value: u64,
}

/// One exporter, since the start of the program.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Exporter {
    /// Its address; `None` for files.
    pub address: Option<IpAddr>,
    /// Observation domain.
    pub domain: u32,
    /// What it speaks: `IPFIX`, `NetFlow v9`.
    pub protocol: &'static str,
    /// How it comes: `udp`, `tcp`.
    pub transport: &'static str,
    /// Messages read.
    pub messages: u64,
    /// Flow records read.
    pub records: u64,
    /// What is missing by sequence numbers, in units of `lost_unit`.
    pub lost: u64,
    /// `records`, or `messages` where the protocol numbers only those.
    pub lost_unit: &'static str,
    /// One of how many packets it samples, as it says; zero if it does not say.
    pub sampling_interval: u32,
    /// When its latest message came, milliseconds since 1970.
    pub last_seen_milliseconds: u64,
}
