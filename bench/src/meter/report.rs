// SPDX-License-Identifier: MIT OR Apache-2.0
//! Medians of runs, as a table and as JSON.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use super::{Run, Subject};
use crate::{
    machine::Machine,
    trace::{Trace, TraceSpec},
};

/// Medians of the runs of one subject.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// What was measured.
    pub subject: Subject,
    /// Nanoseconds on the wall for each packet, from an empty cache to the last record.
    pub ns_per_packet: f64,
    /// The least and the most of them.
    pub ns_range: (f64, f64),
    /// Nanoseconds on a processor for each packet.
    pub cpu_ns_per_packet: Option<f64>,
    /// Nanoseconds on the wall for each packet of the second pass.
    pub ns_per_packet_again: f64,
    /// Records of each run.
    pub records: u64,
    /// Octets of IPFIX for each record.
    pub octets_per_record: f64,
    /// Octets of memory beside what the process held before the first run.
    pub memory: Option<u64>,
}

impl Summary {
    /// Of at least one run over `packets` packets; `held` are octets of memory that the process held before the first one.
    #[must_use]
    pub fn new(subject: Subject, packets: usize, held: Option<u64>, runs: &[Run]) -> Self {
        let sorted = |value: &dyn Fn(&Run) -> Option<Duration>| {
            let each = runs.iter().filter_map(value).map(|taken| taken.as_secs_f64() * 1e9 / packets as f64);
            let mut each: Vec<f64> = each.collect();
            each.sort_by(f64::total_cmp);
            each
        };
        let wall = sorted(&|run| Some(run.whole.wall));
        let last = runs.last().copied().unwrap_or_default();
        Self {
            subject,
            ns_per_packet: median(&wall).unwrap_or(f64::NAN),
            ns_range: wall.first().copied().zip(wall.last().copied()).unwrap_or((f64::NAN, f64::NAN)),
            // Zero: shorter than a tick of the kernel's clock.
            cpu_ns_per_packet: median(&sorted(&|run| run.whole.cpu)).filter(|ns| *ns > 0.0),
            ns_per_packet_again: median(&sorted(&|run| Some(run.again.wall))).unwrap_or(f64::NAN),
            records: last.records,
            octets_per_record: last.encoded_octets as f64 / last.records.max(1) as f64,
            // Memory that was given back to the allocator is still held in later runs: the least is what was needed.
            memory: runs
                .iter()
                .filter_map(|run| run.memory)
                .min()
                .zip(held)
                .map(|(peak, held)| peak.saturating_sub(held)),
        }
    }
}

/// The middle of sorted values, or the mean of the two that are.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Millions per second of what takes so many nanoseconds.
fn mega_per_second(ns: f64) -> f64 {
    1e3 / ns
}

fn mebioctets(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// What was measured, on what, and where.
#[derive(Debug)]
pub struct Report<'a> {
    /// The machine, before the runs.
    pub machine: &'a Machine,
    /// What the trace was made from.
    pub spec: &'a TraceSpec,
    /// The trace.
    pub trace: &'a Trace,
    /// Runs of each subject.
    pub runs: usize,
    /// The floor first.
    pub summaries: &'a [Summary],
    /// Peak memory of the whole process, the trace included.
    pub peak_memory: Option<u64>,
}

impl Report<'_> {
    /// A table to read.
    #[must_use]
    pub fn table(&self) -> String {
        let Self { spec, trace, runs, .. } = self;
        let order = format!("{:?}", spec.order).to_lowercase();
        let mut out = format!("{}\n", self.machine.line());
        // Writing into a string does not fail.
        let _ = writeln!(
            out,
            "trace:   {} packets of {} octets in {} flows, {order} order, seed {}; median of {runs} interleaved runs\n",
            trace.packets(),
            spec.size,
            trace.flows(),
            spec.seed
        );
        let _ = writeln!(
            out,
            "{:<12} {:>8} {:>10} {:>9} {:>15} {:>9} {:>8} {:>9} {:>9} {:>9}",
            "", "Mpkt/s", "Mpkt/CPU s", "ns/pkt", "least..most", "x floor", "again", "x floor", "records", "MiB"
        );
        let floor = self.summaries.first();
        for summary in self.summaries {
            let ratio = |value: &dyn Fn(&Summary) -> f64| floor.map_or(f64::NAN, |floor| value(summary) / value(floor));
            let cpu = summary.cpu_ns_per_packet.map_or_else(|| "?".into(), |ns| format!("{:.2}", mega_per_second(ns)));
            let memory = summary.memory.map_or_else(|| "?".into(), |octets| format!("{:.1}", mebioctets(octets)));
            let _ = writeln!(
                out,
                "{:<12} {:>8.2} {:>10} {:>9.1} {:>15} {:>9.1} {:>8.1} {:>9.1} {:>9} {:>9}",
                summary.subject.name(),
                mega_per_second(summary.ns_per_packet),
                cpu,
                summary.ns_per_packet,
                format!("{:.1}..{:.1}", summary.ns_range.0, summary.ns_range.1),
                ratio(&|s| s.ns_per_packet),
                summary.ns_per_packet_again,
                ratio(&|s| s.ns_per_packet_again),
                summary.records,
                memory
            );
        }
        let peak = self.peak_memory.map_or_else(|| "?".into(), |octets| format!("{:.1}", mebioctets(octets)));
        let _ = writeln!(out, "\npeak memory: {peak} MiB, of which the trace {:.1}", mebioctets(spec.octets()));
        out
    }

    /// The same for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { machine, spec, trace, runs, .. } = self;
        let floor = self.summaries.first();
        let subjects = self.summaries.iter().map(|s| {
            json!({
                "subject": s.subject.name(),
                "ns_per_packet": s.ns_per_packet,
                "ns_per_packet_least": s.ns_range.0,
                "ns_per_packet_most": s.ns_range.1,
                "cpu_ns_per_packet": s.cpu_ns_per_packet,
                "packets_per_second": 1e9 / s.ns_per_packet,
                "packets_per_cpu_second": s.cpu_ns_per_packet.map(|ns| 1e9 / ns),
                "ratio_to_floor": floor.map(|f| s.ns_per_packet / f.ns_per_packet),
                "ns_per_packet_again": s.ns_per_packet_again,
                "ratio_to_floor_again": floor.map(|f| s.ns_per_packet_again / f.ns_per_packet_again),
                "records": s.records,
                "encoded_octets_per_record": s.octets_per_record,
                "memory_octets": s.memory,
            })
        });
        json!({
            "machine": machine.json(),
            "trace": {
                "flows": trace.flows(),
                "packets": trace.packets(),
                "size_octets": spec.size,
                "has_payload": spec.has_payload,
                "order": format!("{:?}", spec.order).to_lowercase(),
                "seed": spec.seed,
                "memory_octets": spec.octets(),
            },
            "runs": runs,
            "subjects": subjects.collect::<Vec<_>>(),
            "peak_memory_octets": self.peak_memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Taken;

    #[test]
    fn summaries_are_medians_for_each_packet() {
        let run = |wall| Run {
            whole: Taken { wall: Duration::from_micros(wall), cpu: Some(Duration::from_micros(wall / 2)) },
            records: 7,
            memory: Some(wall),
            ..Run::default()
        };
        let summary = Summary::new(Subject::Meter, 1000, Some(15), &[run(40), run(1000), run(60)]);
        assert_eq!((summary.ns_per_packet, summary.ns_range), (60.0, (40.0, 1000.0)));
        assert_eq!((summary.cpu_ns_per_packet, summary.records, summary.memory), (Some(30.0), 7, Some(25)));
        let summary = Summary::new(Subject::Meter, 1000, None, &[run(40), run(60)]);
        assert_eq!(summary.ns_per_packet, 50.0);
    }
}
