// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was measured, as a table, as a plot and for programs.

mod json;
mod plot;
pub(crate) mod table;

use crate::{
    compare::{Line, OnTrace, Settings},
    machine::Machine,
    run::Run,
    subject,
    trace::Kind,
};

/// A run during which another machine took a greater part of the time is left out, if others are left.
pub const MAX_STEAL: f64 = 0.02;

/// Everything.
#[derive(Debug)]
pub struct Report {
    /// The machine, before the first run.
    pub machine: Machine,
    /// How it was done.
    pub settings: Settings,
    /// Whether it was a check that says nothing about speed.
    pub is_quick: bool,
    /// Peers that are not installed.
    pub missing: Vec<&'static str>,
    /// Trace by trace.
    pub traces: Vec<OnTrace>,
}

impl Report {
    /// What is wrong with subjects that are ours.
    #[must_use]
    pub fn faults_of_ours(&self) -> Vec<String> {
        self.faults(|_, line| line.is_ours)
    }

    /// What is wrong with peers on traces on which all agree what a flow is, and that Debian's packages are missing.
    #[must_use]
    pub fn faults_of_peers(&self) -> Vec<String> {
        let missing = self.missing.iter().filter(|name| !subject::NOT_IN_DEBIAN.contains(name));
        let missing = missing.map(|name| format!("{name} is not installed"));
        missing.chain(self.faults(|kind, line| !line.is_ours && kind != Kind::Tunnel)).collect()
    }

    fn faults(&self, of: impl Fn(Kind, &Line) -> bool) -> Vec<String> {
        let lines = self.traces.iter().flat_map(|trace| trace.lines.iter().map(move |line| (&trace.planned, line)));
        let faulty = lines.filter(|(planned, line)| of(planned.spec.kind, line));
        faulty
            .filter_map(|(planned, line)| Some(format!("{} on {}: {}", line.name, planned.name, line.fault()?)))
            .collect()
    }
}

impl Line {
    /// Runs that count: those with little steal, or all if there are none.
    fn kept(&self) -> Vec<&Run> {
        let good: Vec<&Run> = self.runs.iter().filter(|run| run.steal <= MAX_STEAL).collect();
        if good.is_empty() { self.runs.iter().collect() } else { good }
    }

    /// The middle of a value of all runs that count.
    fn median(&self, value: impl Fn(&Run) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self.kept().into_iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let upper = values.get(values.len() / 2)?;
        let lower = values.get(values.len().saturating_sub(1) / 2)?;
        Some(f64::midpoint(*lower, *upper))
    }

    /// Seconds on the wall.
    fn wall(&self) -> Option<f64> {
        self.median(|run| run.wall.as_secs_f64())
    }

    /// Seconds on a processor.
    fn cpu(&self) -> Option<f64> {
        self.median(|run| run.cpu().as_secs_f64()).filter(|seconds| *seconds > 0.0)
    }

    /// Octets of memory.
    fn memory(&self) -> Option<f64> {
        self.median(|run| run.memory as f64)
    }

    /// Part by which the slowest run that counts is slower than the fastest, by time on a processor.
    fn spread(&self) -> Option<f64> {
        let kept = self.kept();
        let seconds = kept.iter().map(|run| run.cpu().as_secs_f64());
        let (least, most) = (seconds.clone().reduce(f64::min)?, seconds.reduce(f64::max)?);
        Some(most / least - 1.0)
    }

    /// Runs that are left out.
    fn left_out(&self) -> usize {
        self.runs.len() - self.kept().len()
    }

    /// Whether it is a meter whose records are all right.
    fn is_exact_meter(&self) -> bool {
        !self.is_bound && self.failure.is_none() && !self.runs.is_empty() && self.verdict.is_exact()
    }

    /// What is wrong, if anything.
    fn fault(&self) -> Option<String> {
        self.failure.clone().or_else(|| (!self.verdict.is_exact()).then(|| self.verdict.faults.join(", ")))
    }
}

impl OnTrace {
    /// Millions of packets for each second that a line took.
    fn mega_packets(&self, seconds: Option<f64>) -> Option<f64> {
        seconds.map(|seconds| self.truth.packets as f64 / seconds / 1e6)
    }

    fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// The peer whose records are right and that takes least time on a processor.
    fn fastest_exact_peer(&self) -> Option<&Line> {
        let peers = self.lines.iter().filter(|line| !line.is_ours && line.is_exact_meter());
        peers
            .filter(|line| line.cpu().is_some())
            .min_by(|a, b| a.cpu().partial_cmp(&b.cpu()).unwrap_or(std::cmp::Ordering::Equal))
    }

    /// Octets of memory for each flow, beyond what the same subject holds on the trace with the fewest flows.
    fn memory_per_flow(&self, line: &Line, least: Option<&Self>) -> Option<f64> {
        const ENOUGH: u64 = 50_000;
        let base = least.and_then(|trace| Some((trace.line(&line.name)?.memory()?, trace.truth.open_flows)));
        let (base, flows) = base.unwrap_or((0.0, 0));
        let more = self.truth.open_flows.checked_sub(flows).filter(|more| *more >= ENOUGH)?;
        Some((line.memory()? - base) / more as f64)
    }
}
