// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sink for tests.

use weir_flow::{FlowRecord, RecordSink};

/// Records as JSON lines.
#[derive(Debug, Default)]
pub struct Lines(pub Vec<u8>);

impl RecordSink for Lines {
    fn record(&mut self, record: &FlowRecord<'_>) {
        weir_ipfix::json::write_line(record, &mut self.0);
    }
}
