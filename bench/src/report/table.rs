// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table to read.

use std::fmt::Write;

use super::{MAX_STEAL, Report};
use crate::{
    compare::{Line, OnTrace},
    subject::{ACTIVE_TIMEOUT, IDLE_TIMEOUT},
    trace::Kind,
};

impl Report {
    /// What is exact and what is not, for a check.
    #[must_use]
    pub fn check(&self) -> String {
        let mut out = String::new();
        for trace in &self.traces {
            let truth = &trace.truth;
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "{}: {} packets, {} biflows, {} uniflows",
                trace.planned.name,
                grouped(truth.packets),
                grouped(truth.biflows),
                grouped(truth.uniflows)
            );
            for line in &trace.lines {
                let how = if line.verdict.by_flow { "exact, flow by flow" } else { "exact" };
                let _ = writeln!(
                    out,
                    "  {:<36} {}",
                    line.name,
                    line.fault().map_or(how.into(), |f| format!("NOT EXACT: {f}"))
                );
            }
        }
        let missing = if self.missing.is_empty() { "none".into() } else { self.missing.join(", ") };
        let _ = writeln!(out, "peers that are not installed: {missing}");
        out
    }

    /// A text of lines of up to 160 columns.
    #[must_use]
    pub fn table(&self) -> String {
        let machine = &self.machine;
        let mut out = format!("machine: {}, {} cores; Linux {}\n", machine.cpu, machine.cores, machine.kernel);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "medians of up to {} interleaved runs, fewer once a subject has taken {} s; runs with more than {:.0} % steal \
             left out",
            self.settings.rounds,
            self.settings.patience.as_secs(),
            100.0 * MAX_STEAL
        );
        if !self.missing.is_empty() {
            let _ = writeln!(out, "not installed: {}", self.missing.join(", "));
        }
        let least =
            self.traces.iter().filter(|t| t.planned.spec.kind == Kind::Uniform).min_by_key(|t| t.truth.open_flows);
        for trace in &self.traces {
            section(&mut out, trace, least);
        }
        out.push_str("\nratios\n");
        self.ratios(&mut out);
        out
    }

    /// What is asked of the meter, in ratios.
    fn ratios(&self, out: &mut String) {
        let mut ratio = |what: &str, trace: &OnTrace, over: Option<f64>, under: Option<f64>| {
            if let Some((over, under)) = over.zip(under) {
                let _ = writeln!(out, "  {what:<62} {:<9} {:.2}", trace.planned.name, over / under);
            }
        };
        for trace in &self.traces {
            for line in trace.lines.iter().filter(|line| line.is_ours && !line.is_bound) {
                let sibling = |suffix: &str| trace.line(&format!("{}{suffix}", line.name));
                if let Some(other) = sibling(" --app-flows 0") {
                    let what = format!("{}: parsers on / off, CPU time", line.name);
                    ratio(&what, trace, line.cpu(), other.cpu());
                }
                let plain = self.traces.iter().find(|t| t.planned.name == "u100k").and_then(|t| t.line(&line.name));
                if let Some(plain) = plain.filter(|_| trace.planned.name == "collision") {
                    ratio(&format!("{}: CPU time / that of u100k", line.name), trace, line.cpu(), plain.cpu());
                }
                if let Some(other) = sibling(" --workers 2") {
                    let what = format!("{}: one worker / two, wall time", line.name);
                    ratio(&what, trace, line.wall(), other.wall());
                }
            }
        }
    }
}

fn section(out: &mut String, trace: &OnTrace, least: Option<&OnTrace>) {
    let truth = &trace.truth;
    let mean = truth.wire_octets as f64 / truth.packets as f64 + 4.0;
    let _ = writeln!(
        out,
        "\n{}: {}\n  {} packets of {mean:.0} octets on average (with frame check sequence) in {:.1} s of trace time; load {}",
        trace.planned.name,
        truth.made_from,
        grouped(truth.packets),
        truth.duration as f64 / 1e9,
        trace.load
    );
    let _ = writeln!(
        out,
        "  RFC 6645: {} active flows; records to export: {} biflows, {} uniflows; cache: room for all; timeouts: {IDLE_TIMEOUT} s idle, \
         {ACTIVE_TIMEOUT} s active; no sampling",
        grouped(truth.open_flows),
        grouped(truth.biflows),
        grouped(truth.uniflows)
    );
    let is_mix = trace.planned.spec.kind == Kind::Mix;
    let _ = writeln!(
        out,
        "  {:<36} {:>4} {:>8} {:>10} {:>7} {:>10} {:>8} {:>7} {:>12} {:>8} {:>6} {:>7} {:>7}",
        "",
        "runs",
        "Mpps",
        "Mpps/CPU s",
        "spread",
        if is_mix { "Gb/s/CPU s" } else { "Mflows/CPU" },
        "user %",
        "steal %",
        "records",
        "MiB",
        "B/flow",
        "floor %",
        "x peer"
    );
    for line in &trace.lines {
        row(out, trace, line, least, is_mix);
    }
}

fn row(out: &mut String, trace: &OnTrace, line: &Line, least: Option<&OnTrace>, is_mix: bool) {
    let truth = &trace.truth;
    if let Some(failure) = &line.failure {
        let _ = writeln!(out, "  {:<36} failed: {failure}", line.name);
        return;
    }
    let per_cpu = |amount: f64| line.cpu().map(|seconds| amount / seconds);
    let wall = trace.mega_packets(line.wall()).filter(|_| line.sleeps.is_none());
    let third = if is_mix {
        per_cpu(truth.wire_octets as f64 * 8e-9)
    } else {
        per_cpu(truth.biflows as f64 * 1e-6).filter(|_| !line.is_bound)
    };
    let floor = trace.line("floor").and_then(Line::cpu).zip(line.cpu()).map(|(floor, cpu)| 100.0 * floor / cpu);
    let peer = trace.fastest_exact_peer().and_then(Line::cpu).zip(line.cpu()).map(|(peer, cpu)| peer / cpu);
    let user = line.median(|run| run.user.as_secs_f64()).zip(line.cpu()).map(|(user, cpu)| 100.0 * user / cpu);
    let runs = match line.left_out() {
        0 => line.runs.len().to_string(),
        left => format!("{}-{left}", line.runs.len()),
    };
    let records = line.verdict.true_records.map(|_| grouped(line.verdict.records));
    let _ = writeln!(
        out,
        "  {:<36} {runs:>4} {:>8} {:>10} {:>7} {:>10} {:>8} {:>7} {:>12} {:>8} {:>6} {:>7} {:>7}",
        line.name,
        number(wall, 2),
        number(trace.mega_packets(line.cpu()), 2),
        number(line.spread().map(|part| 100.0 * part), 0) + "%",
        number(third, 2),
        number(user, 0),
        number(line.median(|run| 100.0 * run.steal), 1),
        records.unwrap_or_default(),
        number(line.memory().map(|octets| octets / f64::from(1 << 20)), 0),
        number(trace.memory_per_flow(line, least).filter(|_| !line.is_bound), 0),
        number(floor, 1),
        number(peer.filter(|_| !line.is_bound), 1)
    );
    if let Some(fault) = line.fault() {
        let _ = writeln!(out, "  {:<36}   NOT EXACT: {fault}", "");
    }
    if let Some(why) = line.sleeps {
        let _ = writeln!(out, "  {:<36}   no time on the wall: {why}", "");
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

/// With commas.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
