// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metering of a capture within a test.

use std::path::Path;

use weir_flow::{FlowRecord, RecordSink};
use weir_metering::{MeterConfig, Outcome, capture, meter};

/// Records as JSON lines.
#[derive(Debug, Default)]
pub struct Lines(pub Vec<u8>);

impl RecordSink for Lines {
    fn record(&mut self, record: &FlowRecord<'_>) {
        weir_ipfix::json::write_line(record, &mut self.0);
    }
}

/// Meters a capture with some workers; `None` if it cannot even be opened.
pub fn play(path: &Path, workers: usize, config: &MeterConfig) -> Option<Outcome<Lines>> {
    let path = path.to_str().unwrap();
    let sources: Result<Vec<_>, _> = (0..workers).map(|_| capture::open(path)).collect();
    let sinks = (0..workers).map(|_| Lines::default()).collect();
    Some(meter(sources.ok()?, config, sinks, &|_| ()))
}

/// The records of an outcome, one a line, in the order of their text: workers finish in any order.
pub fn sorted_lines(outcome: &Outcome<Lines>) -> Vec<String> {
    let texts = outcome.sinks.iter().map(|s| String::from_utf8(s.0.clone()).unwrap());
    let mut lines: Vec<String> = texts.flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}
