// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a run came to: for people on standard error, for programs as JSON.

use std::fmt::Write;

use weir_export::{DestinationReport, SendCounters, SinkCounters};
use weir_flow::{
    Timestamp,
    ledger::{Ignored, Ledger, Metered},
};

/// All that is known at the end of a run.
#[derive(Debug)]
pub struct Report {
    /// Capture files that were read, to their end or to their damage.
    pub files: usize,
    /// What became of every packet.
    pub ledger: Ledger,
    /// Earliest and latest timestamp, wrong ones left out.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What became of every record.
    pub sink: SinkCounters,
    /// The same for each destination.
    pub destinations: Vec<DestinationReport>,
}

impl Report {
    /// A few lines for people; only what is not zero.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let metered = &self.ledger.metered;
        let octets = grouped(metered.delivered_octets);
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "{} packets, {octets} octets", grouped(metered.delivered_packets));
        if let Some((first, last)) = self.span {
            let _ = write!(text, ", over {:.3} s", last.since(first).as_secs_f64());
        }
        let _ = writeln!(text);
        let _ = writeln!(
            text,
            "  {} metered + {} ignored",
            grouped(metered.metered_packets),
            grouped(self.ledger.ignored_packets())
        );
        for ((name, meaning), value) in Ignored::DEFINITIONS.iter().zip(self.ledger.ignored.values()) {
            if value > 0 {
                let _ = writeln!(text, "    {value} {name}: {meaning}");
            }
        }
        let _ =
            writeln!(text, "{} flows, {} records", grouped(metered.flows_created), grouped(metered.records_created));
        for (value, what) in [
            (metered.packets_dated_ahead, "packets dated far ahead of those around them, which moved no timeout"),
            (metered.clock_steps_back, "times that the clock of the packets went back"),
        ] {
            if value > 0 {
                let _ = writeln!(text, "  {} {what}", grouped(value));
            }
        }
        let refused = [
            metered.application_states_refused,
            metered.application_unread_refused,
            metered.application_segments_refused,
        ];
        for (value, what) in [
            (
                metered.ended_lack_of_resources,
                "records closed early, since the cache was full: more --flows, or more --memory, would help",
            ),
            (
                metered.flows_without_app_state,
                "flows that no parser looked at, since more had state than --app-flows or --memory allows",
            ),
            (
                metered.flows_without_statistics,
                "flows without statistics, since --memory allows no more: more --memory, or fewer --statistics, would help",
            ),
            (
                refused.iter().sum(),
                "times that application state could not grow: more --memory, or fewer --flows, would help",
            ),
        ] {
            if value > 0 {
                let _ = writeln!(text, "  {} {what}", grouped(value));
            }
        }
        for report in &self.destinations {
            let counters = &report.counters;
            let _ = write!(text, "  {} records to {}", grouped(counters.records_sent), report.destination);
            if counters.lost_records() > 0 {
                let _ = write!(text, ", {} not sent", grouped(counters.lost_records()));
            }
            if counters.records_left_in_spool > 0 {
                let _ = write!(text, ", {} left in the spool", grouped(counters.records_left_in_spool));
            }
            if report.reader_had_enough() {
                text.push_str(", since their reader had enough");
            } else if let Some(error) = report.error.as_ref().or(report.refusal.as_ref()) {
                let _ = write!(text, " ({error})");
            }
            let _ = writeln!(text);
        }
        for (name, value) in [
            ("dropped before their destination", self.sink.records_dropped_queue),
            ("too large for any message", self.sink.records_dropped_size),
            ("sent without statistics or application fields, too large", self.sink.records_without_fields),
        ] {
            if value > 0 {
                let _ = writeln!(text, "  {value} records {name}");
            }
        }
        text
    }

    /// Every counter as one JSON object.
    pub fn json(&self) -> String {
        let mut text = String::from("{\n");
        let _ = write!(text, "  \"files\": {}", self.files);
        if let Some((first, last)) = self.span {
            let _ = write!(
                text,
                ",\n  \"first_packet_ns\": {},\n  \"last_packet_ns\": {}",
                first.as_nanos(),
                last.as_nanos()
            );
        }
        let mut section = |name: &str, definitions: &[(&str, &str)], values: Vec<u64>| {
            let _ = write!(text, ",\n  \"{name}\": {{");
            for (i, ((name, _), value)) in definitions.iter().zip(values).enumerate() {
                let _ = write!(text, "{}\n    \"{name}\": {value}", if i == 0 { "" } else { "," });
            }
            text.push_str("\n  }");
        };
        section("metered", Metered::DEFINITIONS, self.ledger.metered.values());
        section("ignored", Ignored::DEFINITIONS, self.ledger.ignored.values());
        section("records", SinkCounters::DEFINITIONS, self.sink.values());
        let mut sent = SendCounters::default();
        self.destinations.iter().for_each(|d| sent.add(&d.counters));
        section("sent", SendCounters::DEFINITIONS, sent.values());
        text.push_str("\n}\n");
        text
    }
}

/// A number with its thousands set apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
