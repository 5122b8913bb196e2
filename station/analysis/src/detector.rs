// SPDX-License-Identifier: MIT OR Apache-2.0
//! The contract of detectors, and what all their configurations share.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use weir_flow::{FlowRecord, Timestamp};

use crate::{
    alert::Alert,
    prefix::{PortRange, Prefix, Span},
};

weir_flow::counters! {
    /// What one detector did.
    pub struct Activity {
        #[doc = "records handed to the detector"]
        pub records_seen,
        #[doc = "records that the detector left out because an allow-list names their addresses or ports"]
        pub records_allowed,
        #[doc = "entries of state that were made"]
        pub entries_created,
        #[doc = "entries of state that were dropped after the idle timeout or at the end of the input"]
        pub entries_expired,
        #[doc = "entries of state that were judged and dropped early because the table was full"]
        pub entries_evicted,
        #[doc = "times that an attack was not opened because too many were open, of one source or in all"]
        pub attacks_suppressed,
        #[doc = "attacks opened"]
        pub alerts_new,
        #[doc = "updates of open attacks"]
        pub alerts_update,
        #[doc = "attacks ended"]
        pub alerts_ended,
        #[doc = "panics; after one the detector is disabled until the next start"]
        pub panics,
    }
}

/// Something that sees records in event time and finds attacks.
///
/// State is bounded. The clock is the engine's: `now` is event time and never runs backwards between two calls of
/// [`Self::finish`]. A detector does no input or output and reads no clock.
pub trait Detector: Send {
    /// Its name in configuration, alerts and counters; also the name of its folder.
    fn slug(&self) -> &'static str;

    /// Takes a record that has at least one packet. Alerts are pushed to `out`.
    fn record(&mut self, record: &FlowRecord<'_>, now: Timestamp, out: &mut Vec<Alert>);

    /// Told at least once per tick of event time: judge, report, expire.
    fn tick(&mut self, now: Timestamp, out: &mut Vec<Alert>);

    /// The input is over: ends every attack and forgets everything, ready for another input.
    fn finish(&mut self, now: Timestamp, out: &mut Vec<Alert>);

    /// Entries of state that it holds.
    fn entries(&self) -> usize;

    /// What it did; the engine adds records, alerts and panics.
    fn activity(&self) -> Activity;
}

/// Bounds and times that every detector has.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most entries of state in each of the detector's tables. The entry updated least recently makes room.
    pub max_entries: usize,
    /// Most attacks that are open at a time; what is beyond is counted and not reported.
    pub max_open_attacks: usize,
    /// An entry that nothing was added to for this long is dropped, and its attack ended.
    pub idle_timeout: Span,
    /// An open attack is reported again after this long, if anything was added.
    pub report_interval: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 200_000,
            max_open_attacks: 4_096,
            idle_timeout: Span::secs(300),
            report_interval: Span::secs(300),
        }
    }
}

/// What a detector looks away from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Sources: own scanners, monitoring.
    pub sources: Vec<Prefix>,
    /// Targets: honeypots, addresses that are expected to be probed.
    pub targets: Vec<Prefix>,
    /// Destination ports (of an amplification: ports of the service).
    pub ports: Vec<PortRange>,
}

impl Allow {
    /// Whether any list names it.
    #[must_use]
    pub fn allows(&self, source: IpAddr, target: IpAddr, port: u16) -> bool {
        self.ports.iter().any(|r| r.contains(port))
            || self.sources.iter().any(|p| p.contains(source))
            || self.targets.iter().any(|p| p.contains(target))
    }
}

/// One in how many packets the exporter looked at, where the record says so: samplingInterval (34) or
/// samplingPacketInterval (305, with samplingPacketSpace 306). 1 otherwise.
#[must_use]
pub fn sampling(record: &FlowRecord<'_>) -> u64 {
    let element = |id: u16| {
        let element = record.extra.iter().find(|e| e.enterprise == 0 && e.id == id && e.octets.len() <= 8)?;
        Some(element.octets.iter().fold(0_u64, |v, &o| v << 8 | u64::from(o)))
    };
    let by_interval = || {
        let (taken, space) = (element(305)?, element(306)?);
        space.checked_add(taken)?.checked_div(taken)
    };
    if record.extra.is_empty() { 1 } else { element(34).or_else(by_interval).unwrap_or(1).max(1) }
}

/// What an alert says when its records were sampled.
#[must_use]
pub fn sampled(rate: u64) -> Option<String> {
    (rate > 1).then(|| format!("packets were sampled 1:{rate}"))
}
