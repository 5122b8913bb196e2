// SPDX-License-Identifier: MIT OR Apache-2.0
//! What live capture has to hold, through each layer, on interfaces in network namespaces of the tests' own.
//!
//! Without the rights for that tests say so and pass, and likewise where a program of somebody else's is missing, unless
//! `WEIR_REQUIRE_PEERS=1`. Those that take minutes are left out, unless asked for: docs/live.md has the commands.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod flood;
mod generator;
mod idle;
mod killed;
mod peers;
mod programs;
mod replay;

use std::time::Duration;

use common::{Meter, netns::Wire, number};
use serde_json::Value;

/// A way of capture, as `--capture` has it.
const LAYERS: [&str; 3] = ["packet", "pcap", "xdp"];

/// A meter at the right end of a wire, which writes JSON lines to `flows.json` in its folder.
fn meter_of(wire: &Wire, layer: &str, more: &str) -> Meter {
    let arguments = format!("-i {} --capture {layer} --export json:DIR/flows.json {more}", Wire::RIGHT);
    Meter::start(&wire.right, arguments.trim_end())
}

/// Ends a meter, which must succeed: its ledger, and the records in `flows.json`.
fn ended(meter: Meter) -> (Value, Vec<Value>) {
    // Its folder goes with it.
    let copy = tempfile::tempdir().unwrap();
    let kept = copy.path().join("flows.json");
    std::fs::hard_link(meter.path("flows.json"), &kept).unwrap();
    let ledger = ledger_of(meter);
    let text = std::fs::read_to_string(kept).unwrap();
    (ledger, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Ends a meter, which must succeed, and whose sums must hold: its ledger.
fn ledger_of(meter: Meter) -> Value {
    let (status, ledger, said) = meter.end("TERM");
    assert!(status.success() && !said.contains('✗'), "{said}");
    ledger
}

/// Packets lost below the meter, for any reason.
fn lost(ledger: &Value) -> u64 {
    let all = ledger["capture"].as_object().unwrap();
    all.iter().filter(|(name, _)| name.starts_with("lost")).map(|(_, value)| value.as_u64().unwrap()).sum()
}

/// Packets that were ignored, for any reason.
fn ignored(ledger: &Value) -> u64 {
    ledger["ignored"].as_object().unwrap().values().map(|value| value.as_u64().unwrap()).sum()
}

/// Every packet that came is metered, ignored or lost, and every record sent or counted.
fn assert_closes(ledger: &Value, name: &str) {
    let count = |section, counter| number(ledger, section, counter);
    let delivered = count("metered", "delivered_packets");
    assert_eq!(count("source", "waiting_packets"), 0, "{name}: {ledger:#}");
    assert_eq!(count("capture", "offered_packets") + merged(ledger), delivered + lost(ledger), "{name}: {ledger:#}");
    assert_eq!(delivered, count("metered", "metered_packets") + ignored(ledger), "{name}: {ledger:#}");
    let records = count("records", "records");
    assert_eq!(count("metered", "records_created"), records, "{name}: {ledger:#}");
    let not_sent = count("sent", "records_not_sent") + count("records", "records_dropped_queue");
    assert_eq!(records, count("sent", "records_sent") + not_sent, "{name}: {ledger:#}");
}

/// Packets beyond the first in each of those that the system merged: delivered, and not offered.
fn merged(ledger: &Value) -> u64 {
    if number(ledger, "capture", "merged_packets") == 0 {
        return 0;
    }
    number(ledger, "metered", "delivered_packets") + lost(ledger) - number(ledger, "capture", "offered_packets")
}

/// How long the long form of a test takes.
const MINUTE: Duration = Duration::from_secs(60);
