// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything, for programs.

use serde_json::{Value, json};

use super::Report;
use crate::{
    compare::{Line, OnTrace},
    subject::{ACTIVE_TIMEOUT, IDLE_TIMEOUT},
};

impl Report {
    /// All runs, all sums, all command lines.
    #[must_use]
    pub fn json(&self) -> Value {
        let machine = &self.machine;
        json!({
            "machine": machine.json(),
            "is_quick": self.is_quick,
            "rounds": self.settings.rounds,
            "patience_seconds": self.settings.patience.as_secs(),
            "idle_timeout_seconds": IDLE_TIMEOUT,
            "active_timeout_seconds": ACTIVE_TIMEOUT,
            "not_installed": self.missing,
            "traces": self.traces.iter().map(trace_json).collect::<Vec<_>>(),
        })
    }
}

fn trace_json(trace: &OnTrace) -> Value {
    json!({
        "name": trace.planned.name,
        "truth": trace.truth.json(),
        "load": trace.load,
        "subjects": trace.lines.iter().map(|line| line_json(trace, line)).collect::<Vec<_>>(),
    })
}

fn line_json(trace: &OnTrace, line: &Line) -> Value {
    let runs = line.runs.iter().map(|run| {
        json!({
            "wall_seconds": run.wall.as_secs_f64(),
            "user_seconds": run.user.as_secs_f64(),
            "system_seconds": run.system.as_secs_f64(),
            "memory_octets": run.memory,
            "max_resident_octets": run.max_resident,
            "steal": run.steal,
        })
    });
    let packets = trace.truth.packets as f64;
    json!({
        "subject": line.name,
        "command": line.command,
        "is_bound": line.is_bound,
        "is_ours": line.is_ours,
        "sleeps": line.sleeps,
        "failure": line.failure,
        "is_exact": line.failure.is_none() && line.verdict.is_exact(),
        "faults": line.verdict.faults,
        "compared_by_flow": line.verdict.by_flow,
        "records": line.verdict.records,
        "true_records": line.verdict.true_records,
        "packets_per_second": line.wall().map(|seconds| packets / seconds),
        "packets_per_cpu_second": line.cpu().map(|seconds| packets / seconds),
        "memory_octets": line.memory(),
        "ratio_to_floor": trace.line("floor").and_then(Line::cpu).zip(line.cpu()).map(|(floor, cpu)| floor / cpu),
        "runs_left_out": line.left_out(),
        "runs": runs.collect::<Vec<_>>(),
    })
}
