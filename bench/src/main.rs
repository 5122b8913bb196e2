// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `weir-bench`.
#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use weir_bench::{
    encode,
    machine::{self, Machine},
    meter::{
        self, Subject,
        report::{Report, Summary},
    },
    trace::{Kind, MAX_FLOWS, MAX_FRAME, MIN_FRAME, Order, Spec, Trace, TraceSpec},
};
use weir_export::Format;
use weir_metering::MeterConfig;

/// Measures Weir on packets made in memory.
#[derive(Debug, Parser)]
#[command(name = "weir-bench", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The metering process: one worker, beside the floor.
    Meter(MeterOptions),
    /// The exporting process: records to an IPFIX file.
    Encode(EncodeOptions),
    /// Writes a capture file from a seed, and the truth about it beside it.
    Trace(TraceOptions),
}

#[derive(Debug, Parser)]
struct EncodeOptions {
    /// What records are of; all kinds if none is named.
    #[arg(long)]
    kind: Vec<encode::Kind>,
    /// Records of a run.
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    records: u64,
    /// Runs of each kind, interleaved, of which medians are given.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Where records go; the file is made anew for each run, and stays.
    #[arg(long, value_name = "PATH", default_value = "/dev/shm/weir-bench.ipfix")]
    file: std::path::PathBuf,
    /// Write JSON, one record a line, in place of IPFIX.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
struct TraceOptions {
    /// Kind of traffic.
    kind: Kind,
    /// Flows that packets are of; of the mix, conversations that are open at a time [default: 100000; mix: 10000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    flows: Option<u32>,
    /// Packets.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    packets: u64,
    /// Seed of all that is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The capture file.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Parser)]
struct MeterOptions {
    /// Flows that packets are of.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    flows: u32,
    /// Packets of a pass.
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// Octets of a frame, the frame check sequence left out.
    #[arg(long, value_name = "OCTETS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(MIN_FRAME as i64..=MAX_FRAME as i64))]
    size: u16,
    /// Which flow comes next.
    #[arg(long, default_value = "random")]
    order: Order,
    /// Seed of the trace.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Runs, of which medians are given.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Fill frames with padding in place of payload: nothing for the parsers to look at.
    #[arg(long)]
    no_payload: bool,
    /// Print one JSON object in place of the table.
    #[arg(long)]
    json: bool,
    /// Few packets, one run: checks what is counted, and measures nothing.
    #[arg(long, conflicts_with_all = ["flows", "packets", "runs"])]
    smoke: bool,
}

fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Meter(options) => bench_meter(&options),
        Command::Encode(options) => bench_encode(&options),
        Command::Trace(options) => write_trace(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn bench_encode(options: &EncodeOptions) -> Result<()> {
    let kinds = if options.kind.is_empty() { &encode::Kind::ALL[..] } else { &options.kind };
    let format = if options.json { Format::Json } else { Format::Ipfix };
    let mut results: Vec<_> = kinds.iter().map(|kind| (*kind, Vec::new())).collect();
    for _ in 0..options.runs {
        for (kind, runs) in &mut results {
            runs.push(encode::run(*kind, options.records, format, &options.file)?);
        }
    }
    print!("{}", encode::table(options.records, &results));
    Ok(())
}

fn write_trace(options: &TraceOptions) -> Result<()> {
    let &TraceOptions { kind, flows, packets, seed, .. } = options;
    let flows = flows.unwrap_or(if kind == Kind::Mix { 10_000 } else { 100_000 });
    let spec = Spec { kind, flows, packets, seed };
    eprintln!("weir-bench: {}: about {} MiB", options.out.display(), spec.expected_octets() >> 20);
    let summary = spec.write(&options.out)?;
    println!("{:#}", summary.json());
    Ok(())
}

fn bench_meter(options: &MeterOptions) -> Result<()> {
    let (flows, packets, runs) =
        if options.smoke { (1_000, 50_000, 1) } else { (options.flows, options.packets, options.runs) };
    let spec = TraceSpec {
        flows,
        packets: usize::try_from(packets)?,
        size: usize::from(options.size),
        has_payload: !options.no_payload,
        order: options.order,
        seed: options.seed,
    };
    if let Some(available) = machine::available_memory() {
        let needed = spec.octets() >> 20;
        let available = available >> 20;
        ensure!(needed < available, "the trace needs {needed} MiB of memory, and {available} are available");
    }
    let machine = Machine::here();
    let trace = Trace::new(spec);
    let defaults = MeterConfig::default();
    let config = MeterConfig { flows: defaults.flows.max(trace.flows()), ..defaults };
    let mut of_subject = Subject::ALL.map(|subject| (subject, Vec::new()));
    let held = machine::resident();
    let mut peak_memory = machine::peak_resident();
    for _ in 0..runs {
        for (subject, runs) in &mut of_subject {
            runs.push(meter::run(*subject, &trace, &config)?);
            peak_memory = peak_memory.max(machine::peak_resident());
        }
    }
    let summaries = of_subject.map(|(subject, runs)| Summary::new(subject, trace.packets(), held, &runs));
    let report = Report {
        machine: &machine,
        spec: &spec,
        trace: &trace,
        runs: usize::from(runs),
        summaries: &summaries,
        peak_memory,
    };
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}
