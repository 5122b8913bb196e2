// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metering of a trace, beside the floor: what any program must do that counts packets in flows.

pub mod report;

use std::{hint::black_box, sync::Arc, time::Duration, time::Instant};

use anyhow::{Result, ensure};
use weir_flow::{FlowRecord, RecordSink, ledger::Ledger};
use weir_ipfix::{
    encode::{RecordEncoder, Templates},
    message::SetWriter,
};
use weir_metering::{MeterConfig, Share, Worker};

use crate::{machine, trace::Trace};

/// Most octets of an IPFIX message: fits into an Ethernet frame.
const MAX_MESSAGE: usize = 1420;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// Walks over the packets and counts each in the cache line of its flow, which it is told.
    Floor,
    /// A worker whose records are only counted.
    Meter,
    /// A worker whose records are encoded into IPFIX messages.
    MeterAndEncode,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Floor, Self::Meter, Self::MeterAndEncode];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Meter => "meter",
            Self::MeterAndEncode => "meter+ipfix",
        }
    }
}

/// What something took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Time on the wall.
    pub wall: Duration,
    /// Time on a processor, where that is known.
    pub cpu: Option<Duration>,
}

/// One run of a subject over a trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// All packets once, from an empty cache to the last record.
    pub whole: Taken,
    /// All packets once more, before the records are closed: no flow is new.
    pub again: Taken,
    /// Records; of the floor, lines that were counted in.
    pub records: u64,
    /// Octets of IPFIX messages, without their headers.
    pub encoded_octets: u64,
    /// Octets of memory that the process held at most, where that is known.
    pub memory: Option<u64>,
}

/// Runs a subject once.
///
/// # Errors
///
/// What was counted is not what is in the trace.
pub fn run(subject: Subject, trace: &Trace, config: &MeterConfig) -> Result<Run> {
    let is_peak_ours = machine::forget_peak();
    let mut run = match subject {
        Subject::Floor => floor(trace)?,
        Subject::Meter => {
            let (run, ledger, _) = meter(trace, config, Count::default())?;
            check(trace, &run, &ledger)?;
            run
        }
        Subject::MeterAndEncode => {
            let (mut run, ledger, sink) = meter(trace, config, Encode::new())?;
            run.encoded_octets = sink.octets;
            check(trace, &run, &ledger)?;
            ensure!(sink.records == run.records, "{} records in messages, not {}", sink.records, run.records);
            run
        }
    };
    run.memory = machine::peak_resident().filter(|_| is_peak_ours);
    Ok(run)
}

fn check(trace: &Trace, run: &Run, ledger: &Ledger) -> Result<()> {
    let metered = &ledger.metered;
    let packets = 2 * trace.packets() as u64;
    let octets = 2 * trace.ip_octets();
    let flows = trace.flows() as u64;
    ensure!(ledger.closes(), "the ledger does not close: {ledger:?}");
    ensure!(metered.metered_packets == packets, "{} packets metered, not {packets}", metered.metered_packets);
    ensure!(metered.metered_octets == octets, "{} octets metered, not {octets}", metered.metered_octets);
    ensure!(run.records == flows, "{} records of {flows} flows: {metered:?}", run.records);
    Ok(())
}

/// Measures what is done.
fn timed<T>(what: impl FnOnce() -> T) -> (Taken, T) {
    let (cpu, wall) = (machine::cpu_time(), Instant::now());
    let result = what();
    let wall = wall.elapsed();
    let cpu = cpu.zip(machine::cpu_time()).map(|(before, after)| after.saturating_sub(before));
    (Taken { wall, cpu }, result)
}

impl Taken {
    fn and(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu.zip(other.cpu).map(|(a, b)| a + b) }
    }
}

fn meter<S: Sink>(trace: &Trace, config: &MeterConfig, sink: S) -> Result<(Run, Ledger, S)> {
    let mut worker = Worker::new(config, Share::ALL, sink)?;
    let mut pass = |pass| timed(|| trace.replay(pass, 0, &mut |batch| worker.packets(batch))).0;
    let (first, again) = (pass(0), pass(1));
    let (last, (ledger, sink)) = timed(|| {
        let (ledger, mut sink) = worker.finish();
        sink.finish();
        (ledger, sink)
    });
    let run = Run { whole: first.and(last), again, records: ledger.metered.records_created, ..Run::default() };
    Ok((run, ledger, sink))
}

/// What the floor counts of a flow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Line {
    packets: u64,
    octets: u64,
}

fn floor(trace: &Trace) -> Result<Run> {
    let flows = trace.frames().map(|(id, _)| id as usize + 1).max().unwrap_or(0);
    let mut lines = Vec::with_capacity(flows);
    let (first, ()) = timed(|| {
        // As memory of the cache is: reserved before, touched for the first time here.
        lines.resize(flows, Line::default());
        walk(trace, &mut lines);
    });
    let (again, ()) = timed(|| walk(trace, &mut lines));
    let (packets, octets) = lines.iter().fold((0, 0), |(p, o), line| (p + line.packets, o + line.octets));
    ensure!(packets == 2 * trace.packets() as u64 && octets == 2 * trace.ip_octets(), "the floor has counted wrongly");
    let records = lines.iter().filter(|line| line.packets > 0).count() as u64;
    Ok(Run { whole: first, again, records, ..Run::default() })
}

fn walk(trace: &Trace, lines: &mut [Line]) {
    for (id, frame) in trace.frames() {
        // Total length, in the IP header.
        let octets = frame.get(16..18).and_then(|o| o.first_chunk()).map_or(0, |o| u16::from_be_bytes(*o));
        if let Some(line) = lines.get_mut(id as usize) {
            line.packets += 1;
            line.octets += u64::from(octets);
        }
    }
    black_box(lines);
}

/// A sink that has something left to do at the end.
trait Sink: RecordSink {
    fn finish(&mut self) {}
}

/// Counts records.
#[derive(Debug, Default)]
struct Count {
    records: u64,
}

impl RecordSink for Count {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.records += 1;
        black_box(record);
    }
}

impl Sink for Count {}

/// Encodes records, and forgets each message when it is full.
#[derive(Debug)]
struct Encode {
    encoder: RecordEncoder,
    writer: SetWriter,
    scratch: Vec<u8>,
    records: u64,
    octets: u64,
}

impl Encode {
    fn new() -> Self {
        Self {
            encoder: RecordEncoder::new(Arc::new(Templates::default())),
            writer: SetWriter::new(MAX_MESSAGE),
            scratch: Vec::with_capacity(MAX_MESSAGE),
            records: 0,
            octets: 0,
        }
    }
}

impl RecordSink for Encode {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.scratch.clear();
        let id = self.encoder.encode(record, &mut self.scratch);
        if !self.writer.push(id, &self.scratch) {
            Sink::finish(self);
            self.writer.push(id, &self.scratch);
        }
    }
}

impl Sink for Encode {
    fn finish(&mut self) {
        let (body, records) = self.writer.take();
        self.records += u64::from(records);
        self.octets += black_box(body).len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Order, TraceSpec};

    #[test]
    fn every_subject_counts_what_is_in_the_trace() {
        for order in [Order::Burst, Order::Random, Order::Sequential] {
            let spec = TraceSpec { flows: 300, packets: 3_000, size: 100, has_payload: true, order, seed: 1 };
            let trace = Trace::new(spec);
            for subject in Subject::ALL {
                let run = run(subject, &trace, &MeterConfig::default()).unwrap();
                assert_eq!(run.records, trace.flows() as u64, "{order:?} {subject:?}");
                assert_eq!(run.encoded_octets > 0, subject == Subject::MeterAndEncode);
            }
        }
    }

    #[test]
    fn a_wrong_number_of_records_fails() {
        let spec =
            TraceSpec { flows: 300, packets: 3_000, size: 60, has_payload: false, order: Order::Random, seed: 1 };
        let config = MeterConfig { flows: 100, ..MeterConfig::default() };
        let error = run(Subject::Meter, &Trace::new(spec), &config).unwrap_err();
        assert!(error.to_string().contains("records of 300 flows"), "{error}");
    }
}
